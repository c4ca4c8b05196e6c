/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_member.c - slots, counted members, and the in-flight integral.
 *
 * May touch:  base, config (sizes), loop (addresses). Never: sockets, clocks.
 * Threads:    slots are given by the control thread and handed back by whoever drops the last
 *             reference, so a lock guards them; it is off the request path.
 * Memory:     one allocation a member; the slot set outlives every member.
 */
#include "cluster/cluster_member.h"

#include "base/fr_check.h"

#include <pthread.h>

#define SLOTS_MAX 65536 /* living members at once */
#define WORD_BITS 64
#define READ_TRIES_MAX 1000

struct cluster_slots {
    pthread_mutex_t lock;
    uint64_t taken[SLOTS_MAX / WORD_BITS];
    struct cluster_load *loads[CLUSTER_WORKERS_MAX]; /* SLOTS_MAX each; NULL: of no worker yet */
};

#define LOADS_BYTES (SLOTS_MAX * sizeof(struct cluster_load)) /* resident where it is written */

struct cluster_slots *
cluster_slots_new(void)
{
    struct cluster_slots *slots = fr_xalloc(sizeof(*slots));
    fr_insist(pthread_mutex_init(&slots->lock, NULL) == 0);
    return slots;
}

void
cluster_slots_free(struct cluster_slots **slots)
{
    if (!*slots)
        return;
    for (size_t i = 0; i < SLOTS_MAX / WORD_BITS; i++)
        fr_require((*slots)->taken[i] == 0);
    for (size_t i = 0; i < CLUSTER_WORKERS_MAX; i++)
        if ((*slots)->loads[i])
            fr_mem_unmap((*slots)->loads[i], LOADS_BYTES);
    (void)pthread_mutex_destroy(&(*slots)->lock); /* nobody can hold it: every member is gone */
    fr_free(*slots);
    *slots = NULL;
}

static uint32_t
slots_take(struct cluster_slots *slots)
{
    uint32_t slot = SLOTS_MAX;
    (void)pthread_mutex_lock(&slots->lock);
    for (size_t i = 0; i < SLOTS_MAX / WORD_BITS; i++) {
        if (slots->taken[i] == UINT64_MAX)
            continue;
        int bit = __builtin_ctzll(~slots->taken[i]);
        slots->taken[i] |= (uint64_t)1 << bit;
        slot = (uint32_t)(i * WORD_BITS) + (uint32_t)bit;
        break;
    }
    (void)pthread_mutex_unlock(&slots->lock);
    return slot;
}

struct cluster_load *
cluster_slots_loads(const struct cluster_slots *slots, uint32_t worker)
{
    return slots->loads[worker];
}

/* Before the member is shown to its workers; who had the slot before has let go of it. */
static bool
loads_begin(struct cluster_slots *slots, uint32_t slot, uint32_t worker_count)
{
    if (worker_count > CLUSTER_WORKERS_MAX)
        return false;
    for (uint32_t i = 0; i < worker_count; i++) {
        if (!slots->loads[i])
            slots->loads[i] = fr_mem_map(LOADS_BYTES);
        if (!slots->loads[i])
            return false;
        slots->loads[i][slot] = (struct cluster_load){0};
    }
    return true;
}

static void
slots_give(struct cluster_slots *slots, uint32_t slot)
{
    (void)pthread_mutex_lock(&slots->lock);
    slots->taken[slot / WORD_BITS] &= ~((uint64_t)1 << (slot % WORD_BITS));
    (void)pthread_mutex_unlock(&slots->lock);
}

void
cluster_host_of(const struct loop_addr *addr, char out[CLUSTER_HOST_BYTES])
{
    char text[LOOP_ADDR_TEXT_BYTES] = "localhost";
    if (addr->sa.any.sa_family != AF_UNIX)
        loop_addr_format_host(addr, text);
    (void)fr_view_copy(fr_view_of(text), out, CLUSTER_HOST_BYTES); /* it is longer */
}

void
cluster_member_name(struct cluster_member *member, struct fr_view name)
{
    size_t len = name.len;
    while (len > 0 && name.ptr[len - 1] != ':')
        len--;
    if (len > 1) /* too long a name stays an address, which its certificate will not have */
        (void)fr_view_copy(fr_view_make(name.ptr, len - 1), member->host, sizeof(member->host));
}

struct cluster_member *
cluster_member_new(struct cluster_slots *slots, struct fr_view id, struct fr_view pool,
                   const struct loop_addr *addr, uint32_t worker_count)
{
    fr_require(worker_count > 0);
    uint32_t slot = slots_take(slots);
    if (slot == SLOTS_MAX)
        return NULL;
    struct cluster_member *member =
        fr_xalloc_lines(sizeof(*member) + worker_count * sizeof(struct cluster_member_stats));
    member->slots = slots;
    if (!loads_begin(slots, slot, worker_count) ||
        !fr_view_copy(id, member->id, sizeof(member->id)) ||
        !fr_view_copy(pool, member->pool, sizeof(member->pool))) {
        slots_give(slots, slot);
        fr_free(member);
        return NULL;
    }
    member->addr = *addr;
    loop_addr_format(addr, member->address);
    cluster_host_of(addr, member->host);
    member->slot = slot;
    member->worker_count = worker_count;
    atomic_init(&member->refs, 1);
    return member;
}

struct cluster_member *
cluster_member_ref(struct cluster_member *member)
{
    atomic_fetch_add_explicit(&member->refs, 1, memory_order_relaxed);
    return member;
}

void
cluster_member_unref(struct cluster_member **member)
{
    struct cluster_member *m = *member;
    *member = NULL;
    if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) > 1)
        return;
    slots_give(m->slots, m->slot);
    fr_free(m);
}

/* Brings the integral forward and changes in_flight as one step: readers on another thread must not
 * see the new sum with the old time, or a level would be crossed that nobody crossed. `sequence` is
 * odd while the three are being written; fields are released one by one because a fence is
 * invisible to the thread sanitizer (Boehm, "Can seqlocks get along with programming language
 * memory models?", 2012). */
static void
stats_move(struct cluster_member_stats *stats, int64_t now_us, int64_t change)
{
    uint64_t in_flight = stats->in_flight;
    int64_t at_us = stats->in_flight_at_us;
    uint64_t sum_us = stats->in_flight_us;
    uint32_t sequence = stats->sequence;
    if (now_us > at_us) {
        sum_us += in_flight * (uint64_t)(now_us - at_us);
        at_us = now_us;
    }
    __atomic_store_n(&stats->sequence, sequence + 1, __ATOMIC_RELAXED);
    __atomic_store_n(&stats->in_flight, in_flight + (uint64_t)change, __ATOMIC_RELEASE);
    __atomic_store_n(&stats->in_flight_us, sum_us, __ATOMIC_RELEASE);
    __atomic_store_n(&stats->in_flight_at_us, at_us, __ATOMIC_RELEASE);
    __atomic_store_n(&stats->sequence, sequence + 2, __ATOMIC_RELEASE);
}

void
cluster_member_enter(struct cluster_member *member, uint32_t worker, int64_t now_us)
{
    fr_require(worker < member->worker_count);
    stats_move(&member->stats[worker], now_us, 1);
    member->slots->loads[worker][member->slot].in_flight++;
}

void
cluster_member_leave(struct cluster_member *member, uint32_t worker, int64_t now_us)
{
    fr_require(worker < member->worker_count);
    fr_require(member->stats[worker].in_flight > 0);
    stats_move(&member->stats[worker], now_us, -1);
    member->slots->loads[worker][member->slot].in_flight--;
}

/* The three that belong together, as one moment saw them. The writer needs nanoseconds, so the
 * tries are a bound in name only; past it the last reading is good enough. */
static void
stats_read_in_flight(const struct cluster_member_stats *stats, uint64_t *out_in_flight,
                     uint64_t *out_sum_us, int64_t *out_at_us)
{
    for (int i = 0; i < READ_TRIES_MAX; i++) {
        uint32_t before = __atomic_load_n(&stats->sequence, __ATOMIC_ACQUIRE);
        *out_in_flight = __atomic_load_n(&stats->in_flight, __ATOMIC_ACQUIRE);
        *out_sum_us = __atomic_load_n(&stats->in_flight_us, __ATOMIC_ACQUIRE);
        *out_at_us = __atomic_load_n(&stats->in_flight_at_us, __ATOMIC_ACQUIRE);
        uint32_t after = __atomic_load_n(&stats->sequence, __ATOMIC_RELAXED);
        if (before == after && before % 2 == 0)
            return;
    }
}

void
cluster_member_sum(const struct cluster_member *member, int64_t now_us,
                   struct cluster_member_stats *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < member->worker_count; i++) {
        const struct cluster_member_stats *s = &member->stats[i];
        uint64_t in_flight = 0, sum_us = 0;
        int64_t at_us = 0;
        stats_read_in_flight(s, &in_flight, &sum_us, &at_us);
        if (now_us > at_us)
            sum_us += in_flight * (uint64_t)(now_us - at_us);
        out->in_flight += in_flight;
        out->in_flight_us += sum_us;
        out->connections += cluster_count_get(&s->connections);
        out->idle_connections += cluster_count_get(&s->idle_connections);
        out->requests += cluster_count_get(&s->requests);
        out->errors += cluster_count_get(&s->errors);
        out->connect_failures += cluster_count_get(&s->connect_failures);
        out->retries += cluster_count_get(&s->retries);
        out->ejections += cluster_count_get(&s->ejections);
        out->sessions_given += cluster_count_get(&s->sessions_given);
        out->bytes_out += cluster_count_get(&s->bytes_out);
        out->bytes_in += cluster_count_get(&s->bytes_in);
        int64_t orca_at_us = __atomic_load_n(&s->orca_at_us, __ATOMIC_ACQUIRE);
        if (orca_at_us > out->orca_at_us) { /* the latest word of the member, whoever heard it */
            out->orca_at_us = orca_at_us;
            out->orca_utilization = cluster_count_get(&s->orca_utilization);
        }
    }
    out->in_flight_at_us = now_us;
}

void
cluster_member_latency(const struct cluster_member *member, struct fr_hist *out)
{
    memset(out, 0, sizeof(*out));
    for (uint32_t i = 0; i < member->worker_count; i++) {
        struct fr_hist copy;
        fr_hist_read(&member->stats[i].latency, &copy);
        fr_hist_add(out, &copy);
    }
}
