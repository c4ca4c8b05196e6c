/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.c - the control thread's side: workers made, fed with snapshots and listeners, read, ended.
 *
 * May touch:  base, loop, cluster, config.
 * Threads:    every function is the control thread's, but the readers, which are anybody's.
 * Order:      a worker sees listeners, snapshots, watches and cuts in the order they were asked.
 */
#include "proxy/proxy_park.h"
#include "proxy/proxy_priv.h"

#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

struct proxy {
    struct loop *control;
    struct config_limits limits;
    struct fr_hash_key addresses_key;
    char via[CONFIG_NAME_BYTES];
    uint32_t worker_count;
    bool started;
    struct proxy_ring **rings; /* one a worker, or NULL; they outlive the workers */
    uint32_t ring_count;
    proxy_log_fn log_fn;
    void *log_ctx;
    void (*fault_fn)(void *ctx, const struct proxy_fault_report *report);
    void *fault_ctx;
    void (*demand_fn)(void *ctx, uint32_t cluster_slot);
    void *demand_ctx;
    /* By cluster slot, of all workers: what its ladder has fetched anew now. Atomic; written only
     * when such a fetch begins or ends. */
    uint32_t refreshing[PROXY_CLUSTERS_MAX];
    struct proxy_worker *workers[];
};

struct loop *
proxy_control(struct proxy *proxy)
{
    return proxy->control;
}

uint32_t
proxy_worker_count(const struct proxy *proxy)
{
    return proxy->worker_count;
}

struct proxy_worker *
proxy_worker_at(struct proxy *proxy, uint32_t index)
{
    return proxy->workers[index];
}

/* ---- life --------------------------------------------------------------------------------- */

static enum fr_err
worker_set_up(struct proxy *proxy, struct proxy_worker *worker, const struct proxy_options *options)
{
    struct cache_store *cache = options->cache;
    struct loop_limits loop_limits = {.buf_count_max = proxy->limits.buffers};
    worker->limits = proxy->limits;
    worker->http_limits = (struct http_limits){
        .head_bytes_max = proxy->limits.head_bytes,
        .request_line_bytes_max = proxy->limits.request_line_bytes,
        .field_count_max = proxy->limits.field_count,
    };
    worker->cache = cache;
    worker->disk = options->disk;
    worker->answers = options->answers;
    worker->via = fr_view_of(proxy->via);
    if (proxy->limits.connections_per_address > 0)
        worker->addresses = proxy_addresses_new(&proxy->addresses_key);
    enum fr_err err = loop_new(&loop_limits, &worker->loop);
    if (err == FR_OK && cache)
        err = cache_reader_new(cache, proxy_worker_wake, worker, &worker->cache_reader);
    return err;
}

enum fr_err
proxy_new(const struct proxy_options *options, struct proxy **out)
{
    uint32_t count = options->worker_count;
    fr_require(count > 0 && options->control && options->limits);
    struct proxy *proxy = fr_xalloc(sizeof(*proxy) + count * sizeof(struct proxy_worker *));
    enum fr_err err = FR_OK;
    proxy->control = options->control;
    proxy->fault_fn = options->fault_fn;
    proxy->fault_ctx = options->fault_ctx;
    proxy->demand_fn = options->demand_fn;
    proxy->demand_ctx = options->demand_ctx;
    proxy->limits = *options->limits;
    fr_hash_key_random(&proxy->addresses_key);
    if (!fr_view_copy(fr_view_of(options->via ? options->via : "freshet"), proxy->via,
                      sizeof(proxy->via))) {
        err = FR_ERR_RANGE;
        goto out;
    }
    for (uint32_t i = 0; i < count; i++) {
        proxy->workers[i] = proxy_worker_new(proxy, i);
        proxy->worker_count++;
        err = worker_set_up(proxy, proxy->workers[i], options);
        if (err)
            goto out;
    }
    *out = proxy;
    proxy = NULL;
out:
    proxy_free(&proxy);
    return err;
}

enum fr_err
proxy_start(struct proxy *proxy)
{
    sigset_t all, before;
    enum fr_err err = FR_OK;
    fr_require(!proxy->started);
    /* Signals are the control thread's: workers inherit a mask that blocks every one. */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    for (uint32_t i = 0; i < proxy->worker_count && !err; i++) {
        struct proxy_worker *worker = proxy->workers[i];
        char name[16];
        if (pthread_create(&worker->thread, NULL, proxy_worker_main, worker) != 0) {
            err = FR_ERR_SYSTEM;
            continue;
        }
        worker->running = true;
        (void)snprintf(name, sizeof(name), "worker-%u", i % 10000);
        (void)pthread_setname_np(worker->thread, name); /* for top and perf only */
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    proxy->started = true;
    return err;
}

void
proxy_tell_fault(struct proxy *proxy, const struct proxy_fault_report *report)
{
    if (proxy->fault_fn)
        proxy->fault_fn(proxy->fault_ctx, report);
}

void
proxy_tell_demand(struct proxy *proxy, uint32_t cluster_slot)
{
    if (proxy->demand_fn)
        proxy->demand_fn(proxy->demand_ctx, cluster_slot);
}

void
proxy_free(struct proxy **proxy)
{
    struct proxy *p = *proxy;
    *proxy = NULL;
    if (!p)
        return;
    for (uint32_t i = 0; i < p->worker_count; i++)
        if (p->workers[i]->running)
            loop_post(p->workers[i]->loop, &p->workers[i]->stop_msg, proxy_worker_stop,
                      p->workers[i]);
    for (uint32_t i = 0; i < p->worker_count; i++) /* they read each other's counts */
        if (p->workers[i]->running)
            (void)pthread_join(p->workers[i]->thread, NULL); /* fails only for no thread */
    p->demand_fn = NULL;                                     /* nobody waits any more */
    for (uint32_t i = 0; i < p->worker_count; i++) {
        p->workers[i]->stopping = true;
        if (p->workers[i]->loop)
            loop_drain_posts(p->workers[i]->loop); /* snapshots and legs that came too late */
    }
    if (p->control)
        loop_drain_posts(p->control); /* some messages lie in what a worker owns */
    for (uint32_t i = 0; i < p->worker_count; i++) {
        if (p->workers[i]->loop)
            loop_drain_posts(p->workers[i]->loop); /* what these have brought */
        proxy_worker_free(&p->workers[i]);
    }
    if (p->control)
        loop_drain_posts(p->control); /* legs on their way home, calls to read the log */
    if (p->log_fn)
        p->log_fn(p->log_ctx, true);
    for (uint32_t i = 0; p->rings && i < p->ring_count; i++)
        fr_free(p->rings[i]);
    fr_free(p->rings);
    fr_free(p);
}

/* ---- the log ------------------------------------------------------------------------------ */

struct proxy_ring *
proxy_log_ring(struct proxy *proxy, uint32_t index, const struct proxy_settings *settings)
{
    if (!proxy->rings)
        proxy->rings = fr_xalloc(proxy->worker_count * sizeof(struct proxy_ring *));
    proxy->ring_count = proxy->worker_count;
    proxy->log_fn = settings->log_fn;
    proxy->log_ctx = settings->log_ctx;
    if (!proxy->rings[index])
        proxy->rings[index] = proxy_ring_new(settings->log_bytes, proxy->control, settings->log_fn,
                                             settings->log_ctx);
    return proxy->rings[index];
}

const struct proxy_log_record *
proxy_log_peek(struct proxy *proxy, uint32_t worker)
{
    return worker < proxy->ring_count && proxy->rings[worker]
               ? proxy_ring_peek(proxy->rings[worker])
               : NULL;
}

void
proxy_log_take(struct proxy *proxy, uint32_t worker, const struct proxy_log_record *record)
{
    proxy_ring_take(proxy->rings[worker], record);
}

void
proxy_log_came(struct proxy *proxy)
{
    for (uint32_t i = 0; i < proxy->ring_count; i++)
        if (proxy->rings[i])
            proxy_ring_came(proxy->rings[i]);
}

/* ---- listeners ---------------------------------------------------------------------------- */

enum listen_act { LISTEN_OPEN, LISTEN_CHANGE, LISTEN_CLOSE };

struct listen_msg {
    struct loop_msg msg;
    struct proxy_worker *worker;
    enum listen_act act;
    int fd;                     /* OPEN */
    struct proxy_manner manner; /* one reference */
    struct loop_addr addr;
};

static void
on_listen_msg(void *ctx)
{
    struct listen_msg *message = ctx;
    switch (message->act) {
    case LISTEN_OPEN:
        proxy_worker_listen(message->worker, message->fd, &message->manner);
        break;
    case LISTEN_CHANGE:
        proxy_worker_listen_change(message->worker, &message->addr, &message->manner);
        break;
    case LISTEN_CLOSE:
        proxy_worker_unlisten(message->worker, &message->addr);
        break;
    }
    tls_server_unref(&message->manner.tls);
    fr_free(message);
}

static void
post_listen(struct proxy_worker *worker, enum listen_act act, int fd,
            const struct proxy_manner *manner, const struct loop_addr *addr)
{
    struct listen_msg *message = fr_xalloc(sizeof(*message));
    message->worker = worker;
    message->act = act;
    message->fd = fd;
    message->manner = *manner;
    (void)tls_server_ref(manner->tls);
    message->addr = *addr;
    loop_post(worker->loop, &message->msg, on_listen_msg, message);
}

enum fr_err
proxy_listen(struct proxy *proxy, const struct loop_addr *addr, const struct proxy_manner *manner,
             struct loop_addr *out_bound, int *out_errno)
{
    /* Unix sockets know no SO_REUSEPORT: one worker takes them all. */
    uint32_t count = addr->sa.any.sa_family == AF_UNIX ? 1 : proxy->worker_count;
    struct loop_addr bound = *addr;
    int *fds = fr_xalloc(count * sizeof(*fds));
    uint32_t made = 0;
    enum fr_err err = FR_OK;
    for (; made < count; made++) {
        err = loop_bind(&bound, count > 1 || addr->sa.any.sa_family != AF_UNIX, &fds[made],
                        out_errno);
        if (err)
            break;
        bound.len = sizeof(bound.sa); /* a port that the kernel chose is for all of them */
        if (getsockname(fds[made], &bound.sa.any, &bound.len) != 0)
            bound = *addr;
    }
    for (uint32_t i = 0; i < made; i++) {
        if (err)
            (void)close(fds[i]);
        else
            post_listen(proxy->workers[i], LISTEN_OPEN, fds[i], manner, &bound);
    }
    if (!err && out_bound)
        *out_bound = bound;
    fr_free(fds);
    return err;
}

void
proxy_unlisten(struct proxy *proxy, const struct loop_addr *bound)
{
    const struct proxy_manner none = {0};
    for (uint32_t i = 0; i < proxy->worker_count; i++)
        post_listen(proxy->workers[i], LISTEN_CLOSE, -1, &none, bound);
}

void
proxy_listen_change(struct proxy *proxy, const struct loop_addr *bound,
                    const struct proxy_manner *manner)
{
    for (uint32_t i = 0; i < proxy->worker_count; i++)
        post_listen(proxy->workers[i], LISTEN_CHANGE, -1, manner, bound);
}

/* ---- snapshots ---------------------------------------------------------------------------- */

struct publish_msg {
    struct loop_msg msg;
    struct proxy_worker *worker;
    struct cluster_snapshot *snapshot; /* one reference */
};

static void
on_publish_msg(void *ctx)
{
    struct publish_msg *message = ctx;
    if (message->worker->stopping)
        cluster_snapshot_unref(&message->snapshot);
    else
        proxy_adopt(message->worker, message->snapshot);
    fr_free(message);
}

void
proxy_publish(struct proxy *proxy, struct cluster_snapshot *snapshot)
{
    for (uint32_t i = 0; i < proxy->worker_count; i++) {
        struct publish_msg *message = fr_xalloc(sizeof(*message));
        message->worker = proxy->workers[i];
        message->snapshot = cluster_snapshot_ref(snapshot);
        loop_post(message->worker->loop, &message->msg, on_publish_msg, message);
    }
}

uint64_t
proxy_generation(const struct proxy *proxy)
{
    uint64_t least = UINT64_MAX;
    for (uint32_t i = 0; i < proxy->worker_count; i++) {
        uint64_t got = __atomic_load_n(&proxy->workers[i]->generation, __ATOMIC_ACQUIRE);
        if (got < least)
            least = got;
    }
    return least;
}

/* ---- reading ------------------------------------------------------------------------------ */

void
proxy_read_counters(const struct proxy *proxy, uint32_t worker, struct proxy_counters *out)
{
    fr_require(worker < proxy->worker_count);
    const struct proxy_counters *from = &proxy->workers[worker]->counters;
#define PROXY_COUNTER_ROW(name, help) out->name = cluster_count_get(&from->name);
#include "proxy/proxy_counters.def"
#undef PROXY_COUNTER_ROW
}

void
proxy_sum_counters(const struct proxy *proxy, struct proxy_counters *out)
{
    *out = (struct proxy_counters){0};
    for (uint32_t i = 0; i < proxy->worker_count; i++) {
        struct proxy_counters one;
        proxy_read_counters(proxy, i, &one);
#define PROXY_COUNTER_ROW(name, help) out->name += one.name;
#include "proxy/proxy_counters.def"
#undef PROXY_COUNTER_ROW
    }
}

void
proxy_read_loop_counters(const struct proxy *proxy, uint32_t worker, struct loop_counters *out)
{
    fr_require(worker < proxy->worker_count);
    loop_read_counters(proxy->workers[worker]->loop, out);
}

int64_t
proxy_worker_cpu_us(const struct proxy *proxy, uint32_t worker)
{
    fr_require(worker < proxy->worker_count);
    const struct proxy_worker *w = proxy->workers[worker];
    clockid_t clock_id;
    if (!w->running || pthread_getcpuclockid(w->thread, &clock_id) != 0)
        return 0;
    return fr_clock_cpu_us(clock_id);
}

/* What a worker keeps for the cluster of a slot; NULL before its first snapshot with it. */
static const struct proxy_cluster_state *
state_of(const struct proxy_worker *worker, uint32_t slot)
{
    const struct proxy_cluster_state *block =
        __atomic_load_n(&worker->cluster_blocks[slot / PROXY_CLUSTER_BLOCK], __ATOMIC_ACQUIRE);
    return block ? &block[slot % PROXY_CLUSTER_BLOCK] : NULL;
}

uint64_t
proxy_places_taken(const struct proxy *proxy, uint32_t cluster_slot)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < proxy->worker_count; i++) {
        const struct proxy_cluster_state *state = state_of(proxy->workers[i], cluster_slot);
        sum += state ? cluster_count_get(&state->in_flight) : 0;
    }
    return sum;
}

bool
proxy_refresh_take(struct proxy *proxy, uint32_t cluster_slot, uint32_t max)
{
    uint32_t *count = &proxy->refreshing[cluster_slot];
    uint32_t now = __atomic_load_n(count, __ATOMIC_RELAXED);
    while (now < max)
        if (__atomic_compare_exchange_n(count, &now, now + 1, true, __ATOMIC_RELAXED,
                                        __ATOMIC_RELAXED))
            return true;
    return false;
}

void
proxy_refresh_give(struct proxy *proxy, uint32_t cluster_slot)
{
    __atomic_fetch_sub(&proxy->refreshing[cluster_slot], 1, __ATOMIC_RELAXED);
}

void
proxy_read_cluster(const struct proxy *proxy, uint32_t cluster_slot,
                   struct proxy_cluster_counters *out)
{
    *out = (struct proxy_cluster_counters){0};
    if (cluster_slot >= PROXY_CLUSTER_BLOCK * PROXY_CLUSTER_BLOCKS)
        return;
    for (uint32_t i = 0; i < proxy->worker_count; i++) {
        const struct proxy_cluster_state *state = state_of(proxy->workers[i], cluster_slot);
        if (!state)
            continue;
        const struct proxy_cluster_counters *from = &state->counters;
        out->requests += cluster_count_get(&from->requests);
        out->errors += cluster_count_get(&from->errors);
        out->retries += cluster_count_get(&from->retries);
        out->retry_budget_refusals += cluster_count_get(&from->retry_budget_refusals);
        out->no_member += cluster_count_get(&from->no_member);
        out->queued_now += cluster_count_get(&from->queued_now);
        out->parked_now += cluster_count_get(&from->parked_now);
        out->timed += cluster_count_get(&from->timed);
        out->late += cluster_count_get(&from->late);
        out->ladder_stale += cluster_count_get(&from->ladder_stale);
        out->ladder_refreshes += cluster_count_get(&from->ladder_refreshes);
        out->ladder_refreshes_held += cluster_count_get(&from->ladder_refreshes_held);
    }
}
