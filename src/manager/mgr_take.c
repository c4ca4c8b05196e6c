/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_take.c - clusters that share pools: what is kept for whom, and who is asked to give.
 *
 * May touch:  base, config, policy. Who gives how many is policy's to say (policy_take.c).
 * Threads:    the manager's loop.
 * Memory:     one policy_rival a cluster, while one that wants is looked at.
 * Trusts:     nothing: only clusters that one and the same server allocates for share a pool, and
 *             who is silent gives nothing.
 *
 * A wish lasts WANT_US from the look that had it, so that nothing has to be called off: a cluster
 * that wants no more, or whose server is gone, is forgotten by itself. What is on its way back into
 * the pool is not remembered either, but counted anew at every look, from reports and unanswered
 * requests: a manager that starts anew takes no second server for the first one.
 */
#include "manager/mgr_priv.h"

#include "base/fr_check.h"

#define WANT_US (2 * FR_US_PER_S)

static bool
is_served(const struct mgr_cluster *cluster)
{
    return cluster->config && cluster->config->scale.enabled && cluster->responsible;
}

static bool
shares_pool(const struct mgr_cluster *a, const struct mgr_cluster *b)
{
    if (!is_served(a) || !is_served(b) || a->responsible->source != b->responsible->source)
        return false;
    for (size_t i = 0; i < CONFIG_SCALE_POOLS_MAX && a->config->scale.from[i][0]; i++)
        if (config_scale_has_pool(&b->config->scale, a->config->scale.from[i]))
            return true;
    return false;
}

static bool
is_wanting(const struct mgr_cluster *cluster, int64_t now_us)
{
    return cluster->rivalry.wanted > 0 && now_us < cluster->rivalry.wanted_until_us;
}

/* ---- what is kept for others ----------------------------------------------------------------- */

uint64_t
mgr_take_reserved(const struct mgr_cluster *cluster, const char *pool)
{
    const struct mgr *mgr = cluster->mgr;
    int64_t now_us = loop_now_us(mgr->loop);
    size_t cursor = 0;
    void *value;
    uint64_t reserved = 0;

    if (now_us >= mgr->wants_until_us)
        return 0; /* nearly always */
    while (fr_map_next(mgr->clusters, &cursor, NULL, &value)) {
        const struct mgr_cluster *other = value;
        if (other != cluster && is_wanting(other, now_us) && shares_pool(cluster, other) &&
            other->config->scale.priority > cluster->config->scale.priority &&
            config_scale_has_pool(&other->config->scale, pool))
            reserved += other->rivalry.wanted;
    }
    return reserved;
}

const char *
mgr_take_pool(const struct mgr_cluster *cluster, uint32_t *count)
{
    const struct config_scale *scale = &cluster->config->scale;
    const struct mgr_source *source = cluster->responsible->source;
    uint64_t wanted = 0;

    /* Also where nothing is left of it: some may be back before the request is there. */
    for (size_t i = 0; i < CONFIG_SCALE_POOLS_MAX && scale->from[i][0]; i++)
        wanted += mgr_take_reserved(cluster, scale->from[i]);
    if (wanted == 0 || !scale->from[1][0])
        return NULL; /* the server that has the pools knows best which one has any */
    for (size_t i = 0; i < CONFIG_SCALE_POOLS_MAX && scale->from[i][0]; i++) {
        const struct mgr_pool *pool = mgr_pool_find(source, scale->from[i]);
        uint64_t reserved = mgr_take_reserved(cluster, scale->from[i]);
        if (!pool || pool->available == WIRE_NONE || pool->available <= reserved)
            continue;
        uint64_t left = pool->available - reserved;
        *count = left < *count ? (uint32_t)left : *count;
        return scale->from[i];
    }
    return NULL;
}

/* ---- the taker --------------------------------------------------------------------------------
 */

static bool
is_leaving(const struct mgr_series *series)
{
    const struct mgr_cluster *cluster = series->member->cluster;
    return series->state == MGR_STATE_DRAINING ||
           mgr_request_pending(cluster->mgr, NULL, cluster, WIRE_DEALLOCATE, series->member->id);
}

/* Servers of the taker's pools that leave whatever cluster they are in. */
static uint64_t
coming_from(const struct mgr_cluster *taker, const struct mgr_cluster *cluster)
{
    uint64_t coming = 0;
    const struct mgr_view *view = cluster->responsible;
    for (size_t i = 0; i < view->series_count; i++)
        coming += config_scale_has_pool(&taker->config->scale, view->series[i]->member->pool) &&
                  is_leaving(view->series[i]);
    return coming;
}

static struct policy_rival
rival_of(const struct mgr_cluster *taker, const struct mgr_cluster *cluster, int64_t now_us)
{
    const struct mgr_view *view = cluster->responsible;
    const struct config_scale *scale = &cluster->config->scale;
    /* Not all of its settings: what is kept for whom would look at every cluster again. */
    struct policy_settings settings = {
        .min = scale->min, .max = scale->max, .priority = scale->priority};
    mgr_scale_schedule(cluster, &settings);
    struct policy_rival rival = {
        .is_known = view->is_whole && !cluster->is_report_awaited &&
                    !mgr_source_is_stale(view->source, now_us),
        .priority = settings.priority,
        .min = settings.min,
    };
    for (size_t i = 0; i < view->series_count; i++) {
        const struct mgr_series *series = view->series[i];
        if (series->state != MGR_STATE_READY || is_leaving(series))
            continue;
        rival.ready++;
        rival.givable += config_scale_has_pool(&taker->config->scale, series->member->pool);
    }
    return rival;
}

/* True: *out is to give *out_count; *coming is what comes anyway. */
static bool
find_giver(struct mgr_cluster *cluster, const struct policy_settings *settings, bool is_bare,
           uint64_t *coming, struct mgr_cluster **out, uint32_t *out_count)
{
    struct mgr *mgr = cluster->mgr;
    int64_t now_us = loop_now_us(mgr->loop);
    size_t most = fr_map_count(mgr->clusters), count = 0, cursor = 0, giver = 0;
    struct policy_rival *rivals = fr_xalloc((most + 1) * sizeof(*rivals));
    struct mgr_cluster **names = fr_xalloc((most + 1) * sizeof(struct mgr_cluster *));
    void *value;
    uint64_t promised = 0;

    *coming = 0;
    while (fr_map_next(mgr->clusters, &cursor, NULL, &value)) {
        struct mgr_cluster *other = value;
        if (!shares_pool(cluster, other))
            continue;
        *coming += coming_from(cluster, other);
        if (other == cluster)
            continue;
        if (other->config->scale.priority > settings->priority && is_wanting(other, now_us))
            promised += other->rivalry.wanted;
        names[count] = other;
        rivals[count++] = rival_of(cluster, other, now_us);
    }
    *coming = *coming > promised ? *coming - promised : 0;
    const struct policy_taker taker = {
        .priority = settings->priority,
        .lacking = cluster->rivalry.wanted,
        .coming = *coming,
        .is_bare = is_bare,
        .step_max = settings->step_max,
        .taken_at_us = cluster->rivalry.taken_at_us,
        .released_at_us = cluster->rivalry.released_at_us,
        .cooldown_up_us = settings->cooldown_up_us,
        .cooldown_down_us = settings->cooldown_down_us,
    };
    bool found = policy_take(&taker, rivals, count, now_us, &giver, out_count);
    *out = found ? names[giver] : NULL;
    fr_free(rivals);
    fr_free(names);
    return found;
}

static void
say_taking(struct policy_decision *decision, const struct mgr_cluster *giver, uint32_t count)
{
    decision->rule = POLICY_RULE_TAKE;
    decision->count = count;
    decision->priority = giver->config->scale.priority;
    (void)fr_view_copy(fr_view_of(giver->name), decision->other, sizeof(decision->other));
}

static void
claim(struct mgr_cluster *cluster, struct mgr_cluster *giver, uint32_t count, int64_t now_us)
{
    struct mgr_rivalry *of = &giver->rivalry;
    memcpy(of->taker, cluster->name, sizeof(of->taker));
    of->claimed = count;
    of->claimed_until_us = now_us + WANT_US;
    memcpy(cluster->rivalry.giver, giver->name, sizeof(cluster->rivalry.giver));
    mgr_cluster_mark(giver);
}

/* It is going to take what its pool has: others must not be faster in the meantime. One whose last
 * attempt failed, or whose proposal was denied, keeps nobody waiting. */
static bool
will_allocate(const struct mgr_cluster *cluster, const struct policy_decision *decision,
              uint32_t have, int64_t now_us)
{
    if (cluster->config->scale.mode == CONFIG_MODE_SUPERVISED &&
        now_us < cluster->proposal.rest_until_us)
        return false;
    return decision->verdict == POLICY_ALLOCATE ||
           (decision->needed > have &&
            (decision->rule == POLICY_RULE_CHANGE_LIMIT ||
             (decision->rule == POLICY_RULE_UPPER_COOLDOWN && !cluster->policy.grow_failed)));
}

void
mgr_take_want(struct mgr_cluster *cluster, const struct policy_settings *settings,
              struct policy_decision *decision)
{
    struct mgr *mgr = cluster->mgr;
    struct mgr_rivalry *rivalry = &cluster->rivalry;
    enum config_scale_mode mode = cluster->config->scale.mode;
    int64_t now_us = loop_now_us(mgr->loop);
    uint32_t have = decision->ready + decision->starting + cluster->policy.pending_up;
    uint64_t coming = 0;
    uint32_t count = 0;
    struct mgr_cluster *giver = NULL;

    if (decision->verdict == POLICY_WEIGHT)
        return; /* weights hide what else there is to say, for one look */
    bool is_dry = policy_wants_taken(settings, decision, have);
    if (!is_dry && !will_allocate(cluster, decision, have, now_us)) {
        rivalry->wanted = 0;
        rivalry->giver[0] = '\0';
        return;
    }
    rivalry->wanted = policy_lacking(settings, decision, have);
    if (rivalry->wanted == 0) {
        rivalry->giver[0] = '\0';
        return;
    }
    if (mode != CONFIG_MODE_OBSERVE) {
        rivalry->wanted_until_us = now_us + WANT_US;
        mgr->wants_until_us = rivalry->wanted_until_us;
    }
    if (!is_dry || settings->priority == 0)
        return; /* its pool has what it wants; or nobody is below the lowest */
    bool is_bare = have < settings->min || have == 0;
    if (find_giver(cluster, settings, is_bare, &coming, &giver, &count)) {
        say_taking(decision, giver, count);
        if (mode != CONFIG_MODE_OBSERVE)
            claim(cluster, giver, count, now_us);
    } else if (coming > 0 && rivalry->giver[0]) {
        giver = mgr_cluster_find(mgr, fr_view_of(rivalry->giver));
        if (giver && giver->config)
            say_taking(decision, giver, (uint32_t)(coming < UINT32_MAX ? coming : UINT32_MAX));
    }
}

/* ---- the giver --------------------------------------------------------------------------------
 */

static bool
changes_anything(const struct policy_decision *decisions, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (decisions[i].verdict == POLICY_ALLOCATE || decisions[i].verdict == POLICY_DEALLOCATE)
            return true;
    return false;
}

size_t
mgr_take_give(struct mgr_cluster *cluster, const struct policy_settings *settings,
              struct policy_member *members, size_t member_count, struct policy_decision *decisions,
              size_t made, size_t max, enum config_scale_mode *mode)
{
    const struct mgr_rivalry *rivalry = &cluster->rivalry;
    int64_t now_us = loop_now_us(cluster->mgr->loop);
    size_t weights = 0;

    if (rivalry->claimed == 0 || now_us >= rivalry->claimed_until_us ||
        changes_anything(decisions, made))
        return made;
    const struct mgr_cluster *taker = mgr_cluster_find(cluster->mgr, fr_view_of(rivalry->taker));
    if (!taker || !is_wanting(taker, now_us) || !shares_pool(taker, cluster))
        return made;
    const struct config_scale *wanting = &taker->config->scale;
    const struct policy_claim asked = {
        .taker = taker->name, .priority = wanting->priority, .count = rivalry->claimed};
    for (size_t i = 0; i < member_count; i++)
        members[i].allocated =
            members[i].allocated && config_scale_has_pool(wanting, members[i].pool) &&
            !mgr_request_pending(cluster->mgr, NULL, cluster, WIRE_DEALLOCATE, members[i].id);
    while (weights < made && decisions[weights].verdict == POLICY_WEIGHT)
        weights++;
    size_t given = policy_give(settings, &cluster->policy, members, member_count, &asked, now_us,
                               decisions + weights, max - weights);
    if (given == 0)
        return made;
    if (wanting->mode < *mode)
        *mode = wanting->mode; /* the more careful of the two */
    return weights + given;
}

void
mgr_take_note(struct mgr_cluster *cluster, const struct policy_decision *decision)
{
    int64_t now_us = loop_now_us(cluster->mgr->loop);

    if (decision->verdict != POLICY_DEALLOCATE)
        return;
    if (decision->rule != POLICY_RULE_TAKEN) {
        if (decision->rule != POLICY_RULE_IDLE) /* nobody used it: that was surplus */
            cluster->rivalry.released_at_us = now_us;
        return;
    }
    cluster->rivalry.claimed = 0;
    struct mgr_cluster *taker = mgr_cluster_find(cluster->mgr, fr_view_of(decision->other));
    if (taker)
        taker->rivalry.taken_at_us = now_us;
}
