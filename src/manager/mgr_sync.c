/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_sync.c - followers: edges that serve a cluster for which another server is responsible.
 *
 * May touch:  base, config.
 * Threads:    the manager's loop.
 * Idea:       the responsible server's reports say how it is; a follower that shows otherwise is
 *             asked to follow. Nothing is remembered that the next reports would not tell again.
 *
 *     responsible shows     follower shows      asked of            what
 *     ready                 nothing             follower            join
 *     ready                 another weight      follower            weight (pool's members, and
 *                                                                   those whose weight we ordered)
 *     draining              it                  follower            leave
 *     nothing (any more)    it, of a pool       follower            leave
 *     draining              nothing, no one     responsible         release
 *
 * Two-phase:  release goes out only when no follower shows the server any more: each let go of it
 *             (its answer to leave, or its report), or its stream has been gone for longer than the
 *             drain deadline. After a restart of the manager, followers get MGR_GRACE_US to come
 *             back before their absence means anything.
 */
#include "manager/mgr_priv.h"

#define DRAIN_US_DEFAULT 30000000LL

static bool
is_follower(const struct mgr_view *view)
{
    const struct mgr_source *source = view->source;

    return view != view->cluster->responsible && !source->is_poster &&
           source->role == WIRE_ROLE_EDGE;
}

uint64_t
mgr_sync_followers(const struct mgr_cluster *cluster)
{
    uint64_t count = 0;

    FR_LIST_EACH(&cluster->views, node) {
        const struct mgr_view *view = FR_CONTAINER(node, struct mgr_view, cluster_link);
        count += is_follower(view) && view->source->session;
    }
    return count;
}

/* series: what the follower shows of it; NULL for a join. */
static void
ask_follower(struct mgr_view *follower, struct mgr_series *series, const struct mgr_member *member,
             enum wire_operation operation, uint32_t weight, const char *reason)
{
    struct mgr_cluster *cluster = follower->cluster;
    struct mgr *mgr = cluster->mgr;
    int64_t now_us = loop_now_us(mgr->loop);
    int64_t asked_at_us = series ? series->synced_at_us : follower->join_refused_at_us;

    if ((asked_at_us && now_us - asked_at_us < MGR_AGAIN_US) ||
        mgr_request_pending(mgr, follower->source, cluster, operation, member->id))
        return;
    struct mgr_ask ask = {
        .operation = operation,
        .cluster = cluster,
        .target = follower->source,
        .server = member->id,
        .address = operation == WIRE_JOIN ? member->address : NULL,
        .pool = operation == WIRE_JOIN ? member->pool : NULL,
        .weight = weight,
        .reason = reason,
    };
    if (mgr_request_send(mgr, &ask, NULL) && series)
        series->synced_at_us = now_us;
}

/* What `view` shows of the member; it nearly always stands where the other view has it. */
static struct mgr_series *
shown_by(const struct mgr_view *view, size_t position, const struct mgr_member *member)
{
    if (position < view->series_count && view->series[position]->member == member)
        return view->series[position];
    return mgr_view_series(view, member);
}

static void
sync_follower(struct mgr_view *leader, struct mgr_view *follower)
{
    follower->is_dirty = false;
    if (!follower->is_whole || !follower->source->session)
        return;
    for (size_t i = 0; i < leader->series_count; i++) {
        const struct mgr_series *truth = leader->series[i];
        struct mgr_member *member = truth->member;
        struct mgr_series *shown = shown_by(follower, i, member);
        uint32_t weight = truth->weight == UINT32_MAX ? 100 : truth->weight;
        if (truth->state == MGR_STATE_READY && !shown && member->address[0])
            ask_follower(follower, NULL, member, WIRE_JOIN, weight,
                         "the responsible server has it");
        else if (truth->state == MGR_STATE_DRAINING && shown)
            ask_follower(follower, shown, member, WIRE_LEAVE, 0, "it is being given back");
        else if (truth->state == MGR_STATE_READY && shown && truth->weight != UINT32_MAX &&
                 shown->weight != UINT32_MAX && shown->weight != truth->weight &&
                 (member->pool[0] || member->weight_ordered != UINT32_MAX))
            ask_follower(follower, shown, member, WIRE_WEIGHT, truth->weight,
                         "the responsible server has this weight");
    }
    if (!leader->is_whole)
        return;
    for (size_t i = 0; i < follower->series_count; i++) {
        struct mgr_series *shown = follower->series[i];
        if (shown->member->pool[0] && !shown_by(leader, i, shown->member))
            ask_follower(follower, shown, shown->member, WIRE_LEAVE, 0,
                         "the responsible server has it no more");
    }
}

/* Somebody may still send requests to it. */
static bool
is_held(const struct mgr_member *member, int64_t now_us)
{
    const struct mgr_cluster *cluster = member->cluster;
    const struct mgr *mgr = cluster->mgr;
    int64_t drain_us = cluster->config ? cluster->config->drain_us : DRAIN_US_DEFAULT;

    if (now_us < mgr->grace_until_us)
        return true;
    for (size_t i = 0; i < member->sight_count; i++) {
        const struct mgr_view *view = member->sights[i].view;
        if (!is_follower(view))
            continue;
        if (view->source->session || now_us - view->source->last_at_us <= drain_us)
            return true;
    }
    return mgr_request_pending(mgr, NULL, cluster, WIRE_JOIN, member->id) != NULL;
}

void
mgr_sync_release(struct mgr_cluster *cluster)
{
    struct mgr_view *leader = cluster->responsible;
    struct mgr *mgr = cluster->mgr;
    int64_t now_us = loop_now_us(mgr->loop);

    for (size_t i = 0; leader && i < leader->series_count; i++) {
        struct mgr_member *member = leader->series[i]->member;
        if (leader->series[i]->state != MGR_STATE_DRAINING || is_held(member, now_us))
            continue;
        if ((member->released_at_us && now_us - member->released_at_us < MGR_AGAIN_US) ||
            mgr_request_pending(mgr, leader->source, cluster, WIRE_RELEASE, member->id))
            continue;
        struct mgr_ask ask = {
            .operation = WIRE_RELEASE,
            .cluster = cluster,
            .target = leader->source,
            .server = member->id,
            .reason = "no other edge shows it any more",
        };
        if (mgr_request_send(mgr, &ask, NULL))
            member->released_at_us = now_us;
    }
}

void
mgr_sync_cluster(struct mgr_cluster *cluster)
{
    struct mgr_view *leader = cluster->responsible;
    int64_t now_us = loop_now_us(cluster->mgr->loop);

    if (!leader || mgr_source_is_stale(leader->source, now_us))
        return;
    FR_LIST_EACH(&cluster->views, node) {
        struct mgr_view *view = FR_CONTAINER(node, struct mgr_view, cluster_link);
        if (is_follower(view) && (view->is_dirty || leader->is_dirty))
            sync_follower(leader, view);
    }
    leader->is_dirty = false;
    mgr_sync_release(cluster);
}
