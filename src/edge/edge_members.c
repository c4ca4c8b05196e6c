/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_members.c - who is in which cluster, from the control thread's point of view.
 *
 * Life of a member:  join -> (weight, health)* -> leave -> drained -> freed. It leaves the
 *                    snapshots first; drained means that no worker has a connection to it any more.
 * Threads:           control loop.
 */
#include "edge/edge_priv.h"

#include "base/fr_check.h"

#include <stdio.h>

struct edge_cluster *
edge_cluster_find(struct edge *edge, struct fr_view name)
{
    return fr_map_get(edge->clusters, name);
}

void
edge_cluster_free(struct edge_cluster *cluster)
{
    cluster_view_unref(&cluster->view);
    cluster_roster_fini(&cluster->roster);
    config_cluster_unref(&cluster->config);
    fr_free(cluster);
}

void
edge_cluster_remove(struct edge *edge, struct edge_cluster *cluster)
{
    FR_LIST_EACH_SAFE(&cluster->members, node)
        edge_member_leave(FR_CONTAINER(node, struct edge_member, link));
    (void)fr_map_remove(edge->clusters, fr_view_of(cluster->config->name));
    edge->cluster_slots[cluster->slot] = false;
    edge_publish_without(cluster);
    edge_cluster_free(cluster);
    edge_publish_soon(edge);
}

#define MEMBER_KEY_BYTES (2 * CONFIG_NAME_BYTES)

static struct fr_view
member_key(char out[MEMBER_KEY_BYTES], const struct edge_cluster *cluster, struct fr_view id)
{
    int len = snprintf(out, MEMBER_KEY_BYTES, "%s\n%.*s", cluster->config->name, FR_VIEW_ARG(id));
    return fr_view_make(out, len < MEMBER_KEY_BYTES ? (size_t)len : MEMBER_KEY_BYTES - 1);
}

struct edge_member *
edge_member_find(struct edge_cluster *cluster, struct fr_view id)
{
    char key[MEMBER_KEY_BYTES];
    if (id.len >= CONFIG_NAME_BYTES) /* what a manager asks for may be; no member has such a name */
        return NULL;
    return fr_map_get(cluster->edge->members, member_key(key, cluster, id));
}

static struct edge_member *
member_find_any(struct edge *edge, struct fr_view id)
{
    size_t cursor = 0;
    void *value = NULL;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
        struct edge_member *member = edge_member_find(value, id);
        if (member != NULL)
            return member;
    }
    return NULL;
}

/* ---- the roster --------------------------------------------------------------------------- */

void
edge_member_show(struct edge_member *member)
{
    const struct cluster_endpoint endpoint = {
        .member = member->shared,
        .weight = member->told_to_drain       ? 0
                  : member->ladder_weight > 0 ? member->ladder_weight
                                              : member->weight,
        .healthy = member->healthy,
        .ramp_from_us = member->ramp_from_us,
    };
    cluster_roster_put(&member->cluster->roster, member->place, &endpoint);
    member->cluster->dirty = true;
    edge_publish_soon(member->edge);
}

/* The last of the roster takes its place there. */
static void
displace(struct edge_member *member)
{
    struct edge_cluster *cluster = member->cluster;
    struct cluster_roster *roster = &cluster->roster;
    const struct cluster_member *last = cluster_roster_at(roster, roster->count - 1)->member;
    struct edge_member *moved = edge_member_find(cluster, fr_view_of(last->id));
    fr_insist(moved != NULL && moved->shared == last);
    moved->place = member->place;
    cluster_roster_remove(roster, member->place);
    cluster->dirty = true;
    edge_publish_soon(member->edge);
}

/* ---- checks ------------------------------------------------------------------------------- */

/* Healthy is who passes its active checks and is not told down by its agent-check. */
static void
settle_health(struct edge_member *member, const char *why)
{
    bool healthy = member->passes && !member->told_down;
    if (healthy == member->healthy)
        return;
    member->healthy = healthy;
    member->unhealthy_since_us = healthy ? 0 : loop_now_us(member->edge->loop);
    fr_log(healthy ? FR_LOG_INFO : FR_LOG_WARN, "edge",
           healthy ? "member healthy" : "member unhealthy, taken out of the choice",
           FR_S("cluster", member->cluster_name), FR_S("member", member->shared->id),
           FR_S("why", why));
    edge_member_show(member);
    edge_report_soon(member->edge, true);
    if (!healthy && member->origin == EDGE_FROM_POOL)
        allocator_unhealthy(member->edge->allocator, fr_view_of(member->shared->id), why);
}

static void
on_health(void *ctx, bool passes, const char *why)
{
    struct edge_member *member = ctx;
    member->passes = passes;
    settle_health(member, why);
}

static void
on_agent_check(void *ctx, double utilization, enum cluster_agent_state state)
{
    struct edge_member *member = ctx;
    int64_t now_us = loop_now_us(member->edge->loop);
    if (utilization >= 0) {
        member->utilization.agent_check = utilization;
        member->utilization.agent_check_at_us = now_us;
    }
    bool drain = state == CLUSTER_AGENT_DRAIN;
    if (state != CLUSTER_AGENT_NONE && drain != member->told_to_drain) {
        member->told_to_drain = drain;
        edge_member_show(member);
    }
    if (state != CLUSTER_AGENT_NONE)
        member->told_down = state == CLUSTER_AGENT_DOWN;
    settle_health(member, member->told_down ? "agent-check says down" : "agent-check says up");
}

/* ":PORT" is that port on the member's own address. */
static bool
agent_check_address(const struct edge_member *member, const char *text, struct loop_addr *out)
{
    if (text[0] != ':')
        return loop_addr_parse(fr_view_of(text), out) == FR_OK;
    char host[LOOP_ADDR_TEXT_BYTES];
    loop_addr_format_host(&member->shared->addr, host);
    bool six = strchr(host, ':') != NULL;
    char *whole = fr_xprintf(six ? "[%s]%s" : "%s%s", host, text);
    bool ok = loop_addr_parse(fr_view_of(whole), out) == FR_OK;
    fr_free(whole);
    return ok;
}

static void
start_checks(struct edge_member *member, bool first_now)
{
    const struct config_cluster *config = member->cluster->config;
    struct loop *loop = member->edge->loop;
    if (config->health.kind != CONFIG_HEALTH_NONE)
        member->health = cluster_health_new(loop, &config->health, &member->shared->addr,
                                            first_now ? 0 : config->health.interval_us,
                                            config->health.interval_us, on_health, member);
    if (member->health != NULL && config->send_proxy != CONFIG_SEND_PROXY_OFF)
        cluster_health_send_proxy(member->health);
    if (member->health != NULL)
        cluster_health_speak(member->health, config->protocol);
    if (member->health != NULL && config->tls.enabled)
        cluster_health_use_tls(member->health, &config->tls, member->shared->host);
    struct loop_addr addr;
    const char *check = config->utilization.agent_check;
    if (check != NULL && agent_check_address(member, check, &addr))
        member->agent = cluster_agent_check_new(
            loop, &addr, config->utilization.agent_check_interval_us, on_agent_check, member);
}

/* The settings changed; the verdict so far stands until the new checks say otherwise. */
static void
restart_checks(struct edge_member *member)
{
    cluster_health_free(&member->health);
    cluster_agent_check_free(&member->agent);
    if (member->cluster->config->health.kind == CONFIG_HEALTH_NONE)
        member->passes = true;
    if (member->cluster->config->utilization.agent_check == NULL)
        member->told_down = member->told_to_drain = false;
    edge_member_show(member);
    settle_health(member, "its checks changed");
    start_checks(member, true);
}

/* Round and round: exchanges of the cluster that had a slot last are long done when it is given
 * again. File and ledger name CONFIG_CLUSTERS_MAX each, so that a free one is always there, even
 * while a new file's clusters stand beside the old one's. */
static uint32_t
take_slot(struct edge *edge)
{
    _Static_assert(PROXY_CLUSTERS_MAX > 3 * CONFIG_CLUSTERS_MAX, "clusters without a slot");
    _Static_assert(PROXY_CLUSTERS_MAX <= CACHE_OWNERS_MAX, "clusters whose purges do not count");
    while (edge->cluster_slots[edge->cluster_slot_next])
        edge->cluster_slot_next = (edge->cluster_slot_next + 1) % PROXY_CLUSTERS_MAX;
    uint32_t slot = edge->cluster_slot_next;
    edge->cluster_slots[slot] = true;
    edge->cluster_slot_next = (slot + 1) % PROXY_CLUSTERS_MAX;
    return slot;
}

/* New settings for a cluster that is there, or a new cluster. */
struct edge_cluster *
edge_cluster_put(struct edge *edge, struct config_cluster *config)
{
    struct edge_cluster *cluster = edge_cluster_find(edge, fr_view_of(config->name));
    if (cluster == NULL) {
        cluster = fr_xalloc(sizeof(*cluster));
        cluster->edge = edge;
        cluster->slot = take_slot(edge);
        if (edge->proxy != NULL)
            proxy_read_cluster(edge->proxy, cluster->slot, &cluster->before);
        if (edge->cache != NULL)
            cache_purge_owner(edge->cache, cluster->slot, &cluster->purged_before);
        cluster->upper = cluster->lower = -1;
        fr_list_init(&cluster->members);
        cluster_roster_init(&cluster->roster);
        fr_map_put(edge->clusters, fr_view_of(config->name), cluster);
    }
    if (cluster->config != config) {
        if (cluster->config != NULL && cluster->config->scale.enabled && !config->scale.enabled) {
            cluster->upper = cluster->lower = -1; /* they were the configuration's */
            cluster->goal_us = 0;
        }
        config_cluster_unref(&cluster->config);
        cluster->config = config_cluster_ref(config);
        if (config->tls.why != NULL)
            fr_log(FR_LOG_ERROR, "edge", "no TLS with members, their cluster is out of service",
                   FR_S("cluster", config->name), FR_S("why", config->tls.why));
        cluster->dirty = true;
        FR_LIST_EACH(&cluster->members, node)
            restart_checks(FR_CONTAINER(node, struct edge_member, link));
        if (config->scale.enabled) {
            cluster->upper = config->scale.upper.value;
            cluster->lower = config->scale.lower.value;
            cluster->goal_us = config->scale.slo_latency_us;
        }
    }
    edge_publish_soon(edge);
    return cluster;
}

struct edge_member *
edge_member_join(struct edge_cluster *cluster, const struct edge_member_init *init)
{
    struct edge *edge = cluster->edge;
    struct cluster_member *shared =
        cluster_member_new(edge->slots, init->id, init->pool, init->addr, edge->worker_count);
    if (shared == NULL) {
        fr_log(FR_LOG_ERROR, "edge", "no room for another member",
               FR_S("cluster", cluster->config->name), FR_V("member", init->id));
        return NULL;
    }
    if (init->name != NULL)
        cluster_member_name(shared, fr_view_of(init->name));
    struct edge_member *member = fr_xalloc(sizeof(*member));
    member->edge = edge;
    member->cluster = cluster;
    (void)fr_view_copy(fr_view_of(cluster->config->name), member->cluster_name,
                       sizeof(member->cluster_name)); /* same size */
    member->shared = shared;
    member->origin = init->origin;
    member->weight = init->weight;
    member->weight_normal = init->weight_normal;
    member->healthy = member->passes = true;
    member->ramp_from_us = init->ramp ? loop_now_us(edge->loop) : 0;
    fr_list_push_back(&cluster->members, &member->link);
    cluster->member_count++;
    char key[MEMBER_KEY_BYTES];
    (void)fr_map_put(edge->members, member_key(key, cluster, init->id), member); /* it was absent */
    member->place = cluster->roster.count;
    edge_member_show(member);
    /* A server that is new from a pool has passed this very check a moment ago. */
    start_checks(member, !(init->origin == EDGE_FROM_POOL && init->ramp));
    edge_report_soon(edge, true);
    return member;
}

void
edge_member_free(struct edge_member *member)
{
    fr_list_remove(&member->link);
    loop_timer_stop(&member->drain_timer);
    cluster_health_free(&member->health);
    cluster_agent_check_free(&member->agent);
    cluster_member_unref(&member->shared);
    fr_free(member->last_latency);
    fr_free(member);
}

static void
on_drained(void *ctx, struct cluster_member *shared)
{
    struct edge_member *member = ctx;
    struct edge *edge = member->edge;
    (void)shared; /* the member's own */
    edge_requests_left(edge, member->cluster_name, member->shared->id);
    if (member->origin == EDGE_FROM_POOL)
        allocator_drained(edge->allocator, fr_view_of(member->shared->id));
    edge_member_free(member);
    edge_report_soon(edge, true);
}

static void
on_drain_deadline(void *ctx)
{
    struct edge_member *member = ctx;
    fr_log(FR_LOG_WARN, "edge", "drain deadline passed, cutting what is left",
           FR_S("cluster", member->cluster_name), FR_S("member", member->shared->id));
    proxy_cut(member->edge->proxy, member->shared);
}

static void
drained_without_a_data_plane(void *ctx)
{
    on_drained(ctx, NULL);
}

static void
on_drain_begins(void *ctx)
{
    struct edge_member *member = ctx;
    loop_timer_start(member->edge->loop, &member->drain_timer, member->drain_us, on_drain_deadline,
                     member);
}

/* After the snapshot without it was published. Its time begins with the next turn: a turn that
 * reads a large configuration may last longer than that, and until its end requests come to the
 * member. */
void
edge_member_watch_drained(struct edge_member *member)
{
    struct edge *edge = member->edge;
    member->drain_watched = true;
    loop_timer_start(edge->loop, &member->drain_timer, 0,
                     edge->proxy != NULL ? on_drain_begins : drained_without_a_data_plane, member);
    if (edge->proxy != NULL)
        proxy_watch_drained(edge->proxy, member->shared, on_drained, member);
}

void
edge_member_leave(struct edge_member *member)
{
    struct edge_cluster *cluster = member->cluster;
    struct edge *edge = member->edge;
    fr_list_remove(&member->link);
    cluster->member_count--;
    displace(member);
    char key[MEMBER_KEY_BYTES];
    (void)fr_map_remove(edge->members, member_key(key, cluster, fr_view_of(member->shared->id)));
    cluster_health_free(&member->health);
    cluster_agent_check_free(&member->agent);
    member->cluster = NULL;
    member->drain_us = cluster->config->drain_us;
    fr_list_push_back(&edge->leaving, &member->link);
    edge_report_soon(edge, true);
}

void
edge_member_weight(struct edge_member *member, uint32_t weight)
{
    if (member->weight == weight)
        return;
    member->weight = weight;
    if (member->ladder_weight >= weight)
        member->ladder_weight = 0; /* not until its next step: it is a part of this weight */
    edge_member_show(member);
    edge_report_soon(member->edge, false);
}

void
edge_member_fault(void *ctx, const struct proxy_fault_report *report)
{
    const struct edge_member *member = member_find_any(ctx, fr_view_of(report->member));
    fr_log(FR_LOG_WARN, "edge", "member misbehaves",
           FR_S("cluster", member != NULL ? member->cluster_name : ""),
           FR_S("member", report->member), FR_S("address", report->address),
           FR_S("what", report->words), FR_S("why", report->why), FR_I("times", report->count));
}

/* ---- the allocator's events -------------------------------------------------------------- */

static void
on_join(void *ctx, const struct allocator_server *server)
{
    struct edge *edge = ctx;
    struct edge_cluster *cluster = edge_cluster_find(edge, fr_view_of(server->cluster));
    if (cluster == NULL || edge_member_find(cluster, fr_view_of(server->id)) != NULL)
        return; /* its cluster was removed in this very turn, or it never left */
    fr_log(FR_LOG_INFO, "edge", "member joins", FR_S("cluster", server->cluster),
           FR_S("member", server->id), FR_S("address", server->address));
    edge->allocations++;
    (void)edge_member_join(cluster, &(struct edge_member_init){
                                        .id = fr_view_of(server->id),
                                        .pool = fr_view_of(server->pool),
                                        .addr = server->addr,
                                        .origin = EDGE_FROM_POOL,
                                        .weight = server->weight,
                                        .weight_normal = server->weight_normal,
                                        .ramp = edge->started,
                                    }); /* logged when it fails */
}

static void
on_leave(void *ctx, const struct allocator_server *server)
{
    struct edge *edge = ctx;
    struct edge_cluster *cluster = edge_cluster_find(edge, fr_view_of(server->cluster));
    struct edge_member *member = cluster ? edge_member_find(cluster, fr_view_of(server->id)) : NULL;
    if (member == NULL)
        return; /* it never joined: still starting, or its cluster is gone and it leaves already */
    fr_log(FR_LOG_INFO, "edge", "member leaves", FR_S("cluster", server->cluster),
           FR_S("member", server->id), FR_S("address", server->address));
    edge->deallocations++;
    edge_member_leave(member);
}

static void
on_weight(void *ctx, const struct allocator_server *server)
{
    struct edge_member *member = member_find_any(ctx, fr_view_of(server->id));
    if (member == NULL)
        return;
    if (member->weight_normal != server->weight_normal)
        edge_report_soon(ctx, false);
    member->weight_normal = server->weight_normal;
    edge_member_weight(member, server->weight);
}

static void
on_changed(void *ctx)
{
    edge_report_soon(ctx, true);
}

static void
on_settings(void *ctx)
{
    edge_settings_apply(ctx);
}

static void
on_refused(void *ctx, const struct config_diag *diag)
{
    struct fr_buf words;
    (void)ctx;
    fr_buf_init(&words, 4096);
    if (config_diag_print_first(diag, &words) == FR_OK)
        fr_log(FR_LOG_WARN, "edge", "edit of the ledger refused, the old content stays in force",
               FR_V("error", fr_buf_view(&words)));
    fr_buf_fini(&words);
}

static void
on_note(void *ctx, const struct allocator_server *server, const char *words)
{
    (void)ctx;
    fr_log(FR_LOG_WARN, "allocator", words, FR_S("server", server ? server->id : ""),
           FR_S("cluster", server ? server->cluster : ""),
           FR_S("address", server ? server->address : ""));
}

static char *
on_conflict(void *ctx, const struct cluster_ledger *ledger, const char **out_name)
{
    const struct edge *edge = ctx;
    return edge_settings_contradiction(edge->config, ledger, out_name);
}

const struct allocator_events *
edge_allocator_events(void)
{
    static const struct allocator_events events = {
        .join = on_join,
        .leave = on_leave,
        .weight = on_weight,
        .changed = on_changed,
        .settings = on_settings,
        .refused = on_refused,
        .note = on_note,
        .conflict = on_conflict,
    };
    return &events;
}
