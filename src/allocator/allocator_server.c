/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_server.c - one server: the state table, and what each transition does to the world.
 *
 * May touch:  base, loop, config, cluster, provider.  Never: logs, files (allocator_ledger.c's).
 * Threads:    the control thread's loop.
 * Memory:     one allocation a server; ALLOCATOR_SERVERS_MAX of them.
 *
 * state_write alone changes a state. It is called by allocator__event, which finds the row in
 * allocator_states.def, and by allocator__undo, when the ledger could not be written. The world is
 * touched in allocator__act alone, which runs behind the ledger's write.
 */
#include "allocator/allocator_priv.h"

#include "cluster/cluster_member.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_unit.h"

#include <stdio.h>

static const struct state_row {
    enum cluster_server_state state;
    enum allocator_event event;
    enum cluster_server_state next;
    enum allocator_action action;
} state_rows[] = {
#define ALLOCATOR_STATE_ROW(state, event, next, action)                                            \
    {CLUSTER_SERVER_##state, ALLOCATOR_##event, CLUSTER_SERVER_##next, ALLOCATOR_##action},
#include "allocator/allocator_states.def"
#undef ALLOCATOR_STATE_ROW
};

static void
state_write(struct allocator__server *server, enum cluster_server_state state)
{
    if (server->state != state)
        server->since_us = loop_now_us(server->allocator->loop);
    server->state = state;
}

bool
allocator__event(struct allocator__server *server, enum allocator_event event, bool refusable)
{
    for (size_t i = 0; i < sizeof(state_rows) / sizeof(state_rows[0]); i++) {
        const struct state_row *row = &state_rows[i];
        if (row->state != server->state || row->event != event)
            continue;
        enum cluster_server_state from = server->state;
        state_write(server, row->next);
        /* What the ledger says of an adopted server is true already. */
        allocator__change_queue(server, from, row->action, refusable, event != ALLOCATOR_ADOPTED);
        return true;
    }
    return false;
}

void
allocator__undo(struct allocator__change *change)
{
    struct allocator__server *server = change->server;
    if (change->action == ALLOCATOR_LEAVE)
        server->move_to[0] = 0;
    state_write(server, change->from);
}

/* ---- the list ------------------------------------------------------------------------------- */

struct allocator__server *
allocator__server_new(struct allocator *allocator, struct allocator__pool *pool, const char *id,
                      const char *cluster, enum cluster_server_state state)
{
    struct allocator__server *server = fr_xalloc(sizeof(*server));
    server->allocator = allocator;
    server->pool = pool;
    server->weight = server->weight_normal = ALLOCATOR_WEIGHT_DEFAULT;
    (void)fr_view_copy(fr_view_of(id), server->provided.id, sizeof(server->provided.id));
    (void)fr_view_copy(fr_view_of(cluster), server->provided.cluster,
                       sizeof(server->provided.cluster));
    state_write(server, state);
    server->since_us = loop_now_us(allocator->loop);
    allocator__pool_id_seen(pool, id);
    fr_list_push_back(&allocator->servers, &server->link);
    allocator->server_count++;
    return server;
}

void
allocator__server_free(struct allocator__server *server)
{
    fr_insist(server->changes == 0);
    cluster_health_free(&server->health);
    loop_timer_stop(&server->timer);
    allocator__address_release(server);
    fr_list_remove(&server->link);
    server->allocator->server_count--;
    fr_free(server);
}

struct allocator__server *
allocator__server_find(struct allocator *allocator, struct fr_view id)
{
    FR_LIST_EACH(&allocator->servers, node) {
        struct allocator__server *server = FR_CONTAINER(node, struct allocator__server, link);
        if (server->state != CLUSTER_SERVER_AVAILABLE && fr_view_is(id, server->provided.id))
            return server;
    }
    return NULL;
}

void
allocator__server_show(const struct allocator__server *server, struct allocator_server *out)
{
    *out = (struct allocator_server){
        .id = server->provided.id,
        .cluster = server->provided.cluster,
        .pool = server->pool->name,
        .address = server->provided.address,
        .addr = &server->provided.addr,
        .state = server->state,
        .weight = server->weight,
        .weight_normal = server->weight_normal,
        .since_us = server->since_us,
    };
}

void
allocator__note(struct allocator *allocator, const struct allocator__server *server,
                const char *format, ...)
{
    char words[ALLOCATOR_WHY_BYTES];
    struct allocator_server shown;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof(words), format, args); /* cut is fine: words */
    va_end(args);
    if (server)
        allocator__server_show(server, &shown);
    if (allocator->events.note)
        allocator->events.note(allocator->events.ctx, server ? &shown : NULL, words);
}

/* ---- what happens to it ------------------------------------------------------------------------
 */

static bool
restart_allowed(struct allocator__server *server)
{
    int64_t now_us = loop_now_us(server->allocator->loop);
    int64_t since_us = now_us - server->pool->config->restart_window_us;
    size_t kept = 0;
    for (size_t i = 0; i < server->restart_count; i++)
        if (server->restarts_us[i] > since_us)
            server->restarts_us[kept++] = server->restarts_us[i];
    server->restart_count = kept;
    if (kept >= server->pool->config->restart_max || kept == ALLOCATOR_RESTARTS_MAX)
        return false;
    server->restarts_us[server->restart_count++] = now_us;
    return true;
}

void
allocator__server_replace(struct allocator__server *server)
{
    struct allocator *allocator = server->allocator;
    size_t before = allocator->server_count;
    allocator__note(allocator, server, "is replaced by another server");
    allocator_allocate(allocator, fr_view_of(server->provided.cluster), 1, FR_VIEW(""), NULL, NULL);
    /* Nothing to be had now: its own place in the pool may be the only one. */
    server->replace = allocator->server_count == before;
}

/* It does not serve and won't: it goes back, and whoever waits for it hears why. */
static void
server_fail(struct allocator__server *server, const char *why)
{
    struct allocator__request *request = server->request;
    bool waited_for = request && request->kind == ALLOCATOR_REQUEST_ALLOCATE;
    (void)snprintf(server->why, sizeof(server->why), "%s", why);
    bool wanted = server->state == CLUSTER_SERVER_STARTING || server->state == CLUSTER_SERVER_READY;
    if (server->state == CLUSTER_SERVER_STARTING)
        server->pool->rests_until_us =
            loop_now_us(server->allocator->loop) + ALLOCATOR_POOL_REST_US;
    if (!allocator__event(server, ALLOCATOR_FAILED, false))
        return;
    server->asked[0] = '\0'; /* it is no answer to whoever asked for it */
    if (waited_for)
        allocator__request_fail(request, FR_ERR_PROVIDER, server->why);
    else if (wanted)
        allocator__server_replace(server);
}

void
allocator__server_lost(struct allocator__server *server, const char *why)
{
    bool wanted = server->state == CLUSTER_SERVER_STARTING || server->state == CLUSTER_SERVER_READY;
    cluster_health_free(&server->health);
    if (wanted && !server->request && restart_allowed(server)) {
        allocator__note(server->allocator, server, "died, is started again: %s", why);
        (void)allocator__event(server, ALLOCATOR_RESTART, false);
        return;
    }
    allocator__note(server->allocator, server, "died: %s", why);
    server_fail(server, why);
}

static void
on_start_timeout(void *ctx)
{
    struct allocator__server *server = ctx;
    char time[FR_UNIT_TEXT_BYTES], why[ALLOCATOR_WHY_BYTES];
    const char *health = server->health ? cluster_health_why(server->health) : "";
    const char *last = server->pool->ops->last_words(server->pool->provider, &server->provided);
    fr_unit_format_duration(server->pool->config->start_timeout_us, time);
    (void)snprintf(why, sizeof(why), "start timed out after %s%s%s%s%s", time,
                   health[0] ? ": " : "", health, last[0] ? "; last log line: " : "", last);
    cluster_health_free(&server->health);
    server_fail(server, why);
}

/* Whether its cluster has nobody else: then clients wait for this very one (parked requests). */
static bool
is_first(const struct allocator__server *server)
{
    const struct allocator *allocator = server->allocator;
    const struct config_cluster *cluster =
        allocator__settings_cluster(&allocator->settings, server->provided.cluster);
    if (!cluster || cluster->member_count > 0)
        return false;
    FR_LIST_EACH(&allocator->servers, node) {
        const struct allocator__server *other = FR_CONTAINER(node, struct allocator__server, link);
        if (other->joined && strcmp(other->provided.cluster, cluster->name) == 0)
            return false;
    }
    return true;
}

/* Into the cluster before the ledger says ready, which takes two waits for the disk. It is there as
 * starting, with its pool and process: a crash in between loses nothing, the next life checks it
 * and has it join. Who asked for it is answered after the write, as ever. */
static void
join_early(struct allocator__server *server)
{
    struct allocator *allocator = server->allocator;
    struct allocator_server shown;
    server->joined = true;
    allocator->write_yields = true;
    allocator__server_show(server, &shown);
    allocator->events.join(allocator->events.ctx, &shown);
}

static void
on_health(void *ctx, bool healthy, const char *why)
{
    struct allocator__server *server = ctx;
    (void)why; /* an unhealthy verdict only says "not yet": checking goes on */
    if (!healthy)
        return;
    cluster_health_free(&server->health);
    loop_timer_stop(&server->timer);
    server->pool->rests_until_us = 0;
    if (allocator__event(server, ALLOCATOR_PASSED, false) && is_first(server))
        join_early(server);
}

static void
on_drain_deadline(void *ctx)
{
    struct allocator__server *server = ctx;
    server->deadline_passed = true;
    allocator__note(server->allocator, server,
                    server->allocator->needs_release && !server->released
                        ? "drain deadline passed; it stays until everybody has released it"
                        : "drain deadline passed; it goes with requests still on it");
    allocator__drain_check(server);
}

void
allocator__drain_check(struct allocator__server *server)
{
    if (server->state != CLUSTER_SERVER_DRAINING)
        return;
    if (!server->drained && !server->deadline_passed)
        return;
    /* One that moves is not stopped, so nobody's late request can be lost with it. */
    if (server->allocator->needs_release && !server->released && !server->move_to[0])
        return;
    loop_timer_stop(&server->timer);
    if (server->move_to[0] &&
        !allocator__settings_cluster(&server->allocator->settings, server->move_to))
        server->move_to[0] = 0; /* removed meanwhile: back into the pool */
    if (server->move_to[0])
        (void)fr_view_copy(fr_view_of(server->move_to), server->provided.cluster,
                           sizeof(server->provided.cluster));
    (void)allocator__event(server, server->move_to[0] ? ALLOCATOR_MOVED : ALLOCATOR_DRAINED, false);
    server->move_to[0] = 0;
}

/* ---- acting on the world -----------------------------------------------------------------------
 */

static void
act_start(struct allocator__server *server)
{
    if (server->state != CLUSTER_SERVER_STARTING)
        return; /* given back in the same turn: stopping what was never started is nothing */
    server->provided.pid = 0;
    server->provided.started = 0;
    loop_timer_start(server->allocator->loop, &server->timer,
                     server->pool->config->start_timeout_us, on_start_timeout, server);
    server->pool->ops->start(server->pool->provider, &server->provided);
}

static void
act_check(struct allocator__server *server)
{
    const struct config_cluster *cluster =
        allocator__settings_cluster(&server->allocator->settings, server->provided.cluster);
    static const struct config_health none = {.kind = CONFIG_HEALTH_NONE, .rise = 1, .fall = 1};
    struct config_health health = cluster ? cluster->health : none;
    if (server->state != CLUSTER_SERVER_STARTING)
        return;
    if (!loop_timer_running(&server->timer)) /* adopted while it was starting */
        loop_timer_start(server->allocator->loop, &server->timer,
                         server->pool->config->start_timeout_us, on_start_timeout, server);
    cluster_health_free(&server->health);
    server->health = cluster_health_new(server->allocator->loop, &health, &server->provided.addr, 0,
                                        health.starting_interval_us, on_health, server);
    if (cluster && cluster->send_proxy != CONFIG_SEND_PROXY_OFF)
        cluster_health_send_proxy(server->health);
    if (cluster)
        cluster_health_speak(server->health, cluster->protocol);
    if (cluster && cluster->tls.enabled) {
        char host[CLUSTER_HOST_BYTES];
        cluster_host_of(&server->provided.addr, host);
        cluster_health_use_tls(server->health, &cluster->tls, host);
    }
}

static void
act_join(struct allocator__server *server)
{
    struct allocator *allocator = server->allocator;
    struct allocator_server shown;
    if (server->state != CLUSTER_SERVER_READY)
        return; /* wanted back in the same turn: it never was in the cluster */
    if (!server->joined) {
        server->joined = true;
        allocator__server_show(server, &shown);
        allocator->events.join(allocator->events.ctx, &shown);
    }
    allocator__request_ready(server);
}

static void
server_leave(struct allocator__server *server)
{
    struct allocator *allocator = server->allocator;
    struct allocator_server shown;
    cluster_health_free(&server->health);
    loop_timer_stop(&server->timer);
    if (!server->joined)
        return;
    server->joined = false;
    allocator__server_show(server, &shown);
    allocator->events.leave(allocator->events.ctx, &shown);
}

static void
on_drain_begins(void *ctx)
{
    struct allocator__server *server = ctx;
    loop_timer_start(server->allocator->loop, &server->timer, server->drain_us + ALLOCATOR_CUT_US,
                     on_drain_deadline, server);
}

static void
act_leave(struct allocator__server *server)
{
    struct allocator *allocator = server->allocator;
    const struct config_cluster *cluster =
        allocator__settings_cluster(&allocator->settings, server->provided.cluster);
    server->drain_us = cluster ? cluster->drain_us : ALLOCATOR_DRAIN_DEFAULT_US;
    server->deadline_passed = false;
    server->drained = server->released = !server->joined; /* nothing is on what nobody saw */
    /* The owner may answer from inside the event: all is set before. */
    server_leave(server);
    if (server->state == CLUSTER_SERVER_DRAINING)
        /* In the next turn, as its owner does: this one may have lasted longer than the drain. */
        loop_timer_start(allocator->loop, &server->timer, 0, on_drain_begins, server);
    allocator__drain_check(server);
}

static void
act_stop(struct allocator__server *server)
{
    cluster_health_free(&server->health);
    loop_timer_stop(&server->timer);
    server->pool->ops->stop(server->pool->provider, &server->provided);
}

static void
act_forget(struct allocator__server *server)
{
    struct allocator *allocator = server->allocator;
    bool replace = server->replace;
    char cluster[CONFIG_NAME_BYTES];
    memcpy(cluster, server->provided.cluster, sizeof(cluster));
    allocator__request_gone(server);
    allocator__server_free(server);
    allocator__pools_sweep(allocator);
    if (replace && !allocator->closing)
        allocator_allocate(allocator, fr_view_of(cluster), 1, FR_VIEW(""), NULL, NULL);
}

void
allocator__act(struct allocator__server *server, enum allocator_action action)
{
    struct allocator *allocator = server->allocator;
    switch (action) {
    case ALLOCATOR_START:
        act_start(server);
        break;
    case ALLOCATOR_CHECK:
        act_check(server);
        break;
    case ALLOCATOR_JOIN:
    case ALLOCATOR_MOVE_JOIN:
        act_join(server);
        break;
    case ALLOCATOR_LEAVE:
        act_leave(server);
        break;
    case ALLOCATOR_LEAVE_START:
        server_leave(server);
        act_start(server);
        break;
    case ALLOCATOR_LEAVE_STOP:
        server_leave(server);
        act_stop(server);
        break;
    case ALLOCATOR_STOP:
        act_stop(server);
        break;
    case ALLOCATOR_FORGET:
        act_forget(server);
        break;
    case ALLOCATOR_ACTIONS:
        break;
    }
    allocator__notify(allocator, false);
}

/* ---- the provider's events ------------------------------------------------------------------- */

static struct allocator__server *
server_of(struct provider_server *provided)
{
    return FR_CONTAINER(provided, struct allocator__server, provided);
}

static void
on_started(void *ctx, struct provider_server *provided, enum fr_err err, const char *why)
{
    struct allocator__server *server = server_of(provided);
    (void)ctx;
    if (err)
        allocator__server_lost(server, why);
    else
        (void)allocator__event(server, ALLOCATOR_STARTED, false);
}

static void
on_stopped(void *ctx, struct provider_server *provided)
{
    (void)ctx;
    (void)allocator__event(server_of(provided), ALLOCATOR_STOPPED, false);
}

static void
on_died(void *ctx, struct provider_server *provided, const char *why)
{
    (void)ctx;
    allocator__server_lost(server_of(provided), why);
}

const struct provider_events allocator__provider_events = {
    .started = on_started, .stopped = on_stopped, .died = on_died, .ctx = NULL};
