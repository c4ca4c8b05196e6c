/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_decide.c - from telemetry to policy, and from its verdicts to requests and the journal.
 *
 * May touch:  base, config, policy. It decides nothing itself: policy does.
 * Threads:    the manager's loop.
 * When:       at the end of every turn that brought a report or result of a cluster, and every
 *             MGR_TICK_US for what time alone changes: durations, cooldowns, silence.
 * Absence:    a cluster that the manager's own configuration does not scale, or that no connected
 *             server is responsible for, is shown and left alone.
 */
#include "manager/mgr_priv.h"

#include "base/fr_check.h"

#include <math.h>

#define DECISIONS_MAX (POLICY_WEIGHTS_MAX + POLICY_RELEASES_MAX) /* of one look at one cluster */
#define WEIGHT_DEFAULT 100

/* What the pools of the cluster have left for it, all together, and what is kept for others; false
 * while one does not say. */
static bool
available_of(const struct mgr_cluster *cluster, uint64_t *out, uint64_t *out_reserved)
{
    const struct config_scale *scale = &cluster->config->scale;
    *out = *out_reserved = 0;
    if (!cluster->responsible || !scale->from[0][0])
        return false;
    for (size_t i = 0; i < CONFIG_SCALE_POOLS_MAX && scale->from[i][0]; i++) {
        const struct mgr_pool *pool = mgr_pool_find(cluster->responsible->source, scale->from[i]);
        if (!pool || pool->available == WIRE_NONE)
            return false;
        uint64_t available = pool->available < UINT32_MAX ? pool->available : UINT32_MAX;
        uint64_t reserved = mgr_take_reserved(cluster, scale->from[i]);
        reserved = reserved < available ? reserved : available;
        *out += available - reserved;
        *out_reserved += reserved;
    }
    return true;
}

static struct policy_settings
settings_of(const struct mgr_cluster *cluster)
{
    const struct config_scale *scale = &cluster->config->scale;
    uint64_t available = 0, reserved = 0;
    bool is_known = available_of(cluster, &available, &reserved);

    static_assert((int)CONFIG_POLICY_FORECAST == (int)POLICY_FORECAST, "same order");
    static_assert((int)CONFIG_POLICY_TARGET == (int)POLICY_TARGET, "same order");
    struct policy_settings settings = {
        .kind = (enum policy_kind)scale->policy,
        .target = scale->target,
        .late_max = scale->slo_latency_us > 0 ? 1 - scale->slo_share : 0,
        .slo_latency_us = scale->slo_latency_us,
        .spare = scale->spare,
        .flaps_per_hour = scale->releases,
        .changes_per_minute = scale->changes,
        .available_known = is_known,
        .available = available,
        .reserved = reserved,
        .priority = scale->priority,
        .upper = scale->upper.value,
        .lower = scale->lower.value,
        .upper_for_us = scale->upper.for_us,
        .lower_for_us = scale->lower.for_us,
        .min = scale->min,
        .max = scale->max,
        .step_max = scale->step_max,
        .cooldown_up_us = scale->cooldown_up_us,
        .cooldown_down_us = scale->cooldown_down_us,
        .relieve_by_weight = (scale->relief & CONFIG_RELIEF_WEIGHT) != 0,
        .allocate = (scale->relief & CONFIG_RELIEF_ALLOCATE) != 0 && scale->from[0][0] != '\0',
        .single = scale->from[0][0] == '\0',
    };
    mgr_scale_schedule(cluster, &settings);
    return settings;
}

/* The configured weight: of the cluster's own members, else of the pool's servers. */
static uint32_t
weight_normal(struct mgr_member *member)
{
    const struct config_cluster *config = member->cluster->config;
    const struct mgr *mgr = member->cluster->mgr;

    if (member->weight_normal != UINT32_MAX)
        return member->weight_normal;
    member->weight_normal = WEIGHT_DEFAULT;
    for (size_t i = 0; config && i < config->member_count; i++)
        if (strcmp(config->members[i].id, member->id) == 0)
            member->weight_normal = config->members[i].weight;
    for (size_t i = 0; i < mgr->pools_config_count; i++) {
        const struct config_pool *pool = mgr->pools_config[i];
        for (size_t k = 0; k < pool->server_count; k++)
            if (strcmp(pool->name, member->pool) == 0 && member->address[0] &&
                strcmp(pool->servers[k].address, member->address) == 0)
                member->weight_normal = pool->servers[k].weight;
    }
    return member->weight_normal;
}

static uint32_t
cost_of(const struct mgr_member *member)
{
    const struct mgr_view *view = member->cluster->responsible;
    const struct mgr_pool *pool =
        view && member->pool[0] ? mgr_pool_find(view->source, member->pool) : NULL;
    return pool ? pool->cost : 0;
}

/* One of a pool that the cluster does not allocate from any more goes before all others. */
static uint32_t
rank_of(const struct config_scale *scale, const char *pool)
{
    uint32_t rank = 0;
    while (rank < CONFIG_SCALE_POOLS_MAX && scale->from[rank][0] &&
           strcmp(scale->from[rank], pool) != 0)
        rank++;
    return rank;
}

/* Each edge gives cookies of its own. */
static uint64_t
sessions_of(const struct mgr_member *member)
{
    uint64_t sessions = 0;
    for (size_t i = 0; i < member->sight_count; i++)
        sessions += member->sights[i].series->sessions;
    return sessions;
}

static void
observe(const struct mgr_series *series, int64_t now_us, struct policy_member *out)
{
    struct mgr_member *member = series->member;
    struct mgr *mgr = member->cluster->mgr;
    const struct config_scale *scale = &member->cluster->config->scale;
    struct mgr_load load = mgr_member_load(member, now_us);
    const struct mgr_request *asked =
        mgr_request_pending(mgr, series->view->source, member->cluster, WIRE_WEIGHT, member->id);
    /* What the responsible server says counts: an operator may have set it there. */
    uint32_t normal =
        series->weight_normal != UINT32_MAX ? series->weight_normal : weight_normal(member);
    uint32_t weight = asked ? asked->weight : series->weight;
    /* One source's silence hides load, which matters to whoever would shrink. It does not make
     * what the others see at the upper level less true. */
    bool is_over = scale->upper.value >= 0 && load.utilization >= scale->upper.value;
    if (!is_over)
        member->over_since_us = 0;
    else if (member->over_since_us == 0)
        member->over_since_us = now_us;
    /* Utilization that was measured under the old weight would shift the load twice; and a burst
     * that the balancer spreads by itself is over before a weight could help. */
    bool is_resting = asked || now_us < member->weight_rest_until_us ||
                      (is_over && now_us - member->over_since_us < MGR_RELIEVE_AFTER_US);

    *out = (struct policy_member){
        .pool = member->pool,
        .cost = cost_of(member),
        .rank = rank_of(scale, member->pool),
        .sessions = sessions_of(member),
        .id = member->id,
        .utilization = mgr_purge_foresee(member->cluster, load.utilization, now_us),
        .in_flight = load.in_flight,
        .weight = weight == UINT32_MAX ? normal : weight,
        .weight_normal = is_resting ? 0 : normal, /* 0: left alone */
        .stale = load.is_stale || (load.is_part_stale && !is_over),
        .starting = series->state == MGR_STATE_STARTING,
        .draining = series->state == MGR_STATE_DRAINING,
        .healthy = series->state == MGR_STATE_READY,
        .allocated = member->pool[0] != '\0',
        .age_us = member->ready_since_us ? now_us - member->ready_since_us : 0,
    };
}

/* ---- the journal's open hold ---------------------------------------------------------------- */

/* What was decided, and what keeps it from being done. */
static void
hold_sentence(const struct policy_settings *settings, const struct policy_decision *decision,
              const char *verdict, char out[MGR_SENTENCE_BYTES])
{
    static const char *const prefixes[][2] = {
        {"observe", "only observing, else "},
        {"propose", "waiting for approval: "},
        {"denied", "denied, or not answered in time: "},
    };
    size_t used = 0;

    for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
        if (strcmp(verdict, prefixes[i][0]) == 0)
            used = (size_t)snprintf(out, MGR_SENTENCE_BYTES, "%s", prefixes[i][1]);
    policy_sentence(settings, decision, out + used, MGR_SENTENCE_BYTES - used);
}

void
mgr_decide_flush(struct mgr_cluster *cluster)
{
    char sentence[MGR_SENTENCE_BYTES];

    if (!cluster->is_hold_dirty || !cluster->config)
        return;
    struct policy_settings settings = settings_of(cluster);
    hold_sentence(&settings, &cluster->hold, cluster->hold_verdict, sentence);
    mgr_journal_repeat(cluster->mgr->journal, cluster->hold_row, cluster->hold_repeats,
                       cluster->hold_last_wall_us, &cluster->hold, sentence);
    cluster->is_hold_dirty = false;
}

static void
hold_end(struct mgr_cluster *cluster)
{
    mgr_decide_flush(cluster);
    cluster->hold_row = 0;
}

static int64_t
journal_decision(struct mgr_cluster *cluster, const char *verdict,
                 const struct policy_settings *settings, const struct policy_decision *decision,
                 const char *sentence, struct wire_request_id request)
{
    struct mgr *mgr = cluster->mgr;
    struct mgr_journal_decision row = {
        .cluster = cluster->name,
        .verdict = verdict,
        .rule = policy_rule_name(decision->rule),
        .sentence = sentence,
        .numbers = decision,
        .upper = settings->upper,
        .lower = settings->lower,
        .wall_us = loop_wall_us(mgr->loop),
        .request = request,
    };
    return mgr_journal_decision(mgr->journal, &row);
}

static void
hold(struct mgr_cluster *cluster, const struct policy_settings *settings,
     const struct policy_decision *decision, const char *verdict)
{
    struct mgr *mgr = cluster->mgr;
    char sentence[MGR_SENTENCE_BYTES];

    mgr->counters.holds++;
    if (cluster->hold_row != 0 && cluster->hold.rule == decision->rule &&
        strcmp(cluster->hold_verdict, verdict) == 0) {
        cluster->hold = *decision;
        cluster->hold_repeats++;
        cluster->hold_last_wall_us = loop_wall_us(mgr->loop);
        cluster->is_hold_dirty = true;
        return;
    }
    hold_end(cluster);
    hold_sentence(settings, decision, verdict, sentence);
    cluster->hold = *decision;
    cluster->hold_verdict = verdict;
    cluster->hold_repeats = 1;
    cluster->hold_row = journal_decision(cluster, verdict, settings, decision, sentence,
                                         (struct wire_request_id){0});
}

/* ---- acting --------------------------------------------------------------------------------- */

/* Weights go to everybody who shows the member: each edge balances by itself. */
static struct wire_request_id
ask_weight(struct mgr_cluster *cluster, struct mgr_member *member, uint32_t weight,
           const char *sentence)
{
    struct wire_request_id first = {0};

    member->weight_ordered = weight;
    for (size_t i = 0; i < member->sight_count; i++) {
        struct mgr_view *view = member->sights[i].view;
        struct mgr_ask ask = {
            .operation = WIRE_WEIGHT,
            .cluster = cluster,
            .target = view->source,
            .server = member->id,
            .weight = weight,
            .reason = sentence,
        };
        struct wire_request_id id;
        if (view->source->session && mgr_request_send(cluster->mgr, &ask, &id) &&
            (view == cluster->responsible || first.sequence == 0))
            first = id;
    }
    return first;
}

void
mgr_decide_act(struct mgr_cluster *cluster, const struct policy_decision *decision)
{
    struct mgr *mgr = cluster->mgr;
    const struct policy_settings settings = settings_of(cluster);
    char sentence[MGR_SENTENCE_BYTES];
    struct wire_request_id id = {0};
    struct mgr_member *member = mgr_member_find(cluster, fr_view_of(decision->member));
    struct mgr_ask ask = {
        .operation = decision->verdict == POLICY_ALLOCATE ? WIRE_ALLOCATE : WIRE_DEALLOCATE,
        .cluster = cluster,
        .target = cluster->responsible->source,
        .server = decision->verdict == POLICY_DEALLOCATE ? decision->member : NULL,
        .count = decision->verdict == POLICY_ALLOCATE && decision->count ? decision->count : 1,
        .reason = sentence,
    };
    const char *verdict = decision->verdict == POLICY_ALLOCATE ? "allocate" : "deallocate";

    policy_sentence(&settings, decision, sentence, sizeof(sentence));
    if (decision->verdict == POLICY_ALLOCATE)
        ask.pool = mgr_take_pool(cluster, &ask.count);
    if (decision->verdict == POLICY_WEIGHT) {
        fr_insist(member != NULL); /* policy names whom we showed it */
        id = ask_weight(cluster, member, decision->weight, sentence);
        verdict = "weight";
    } else {
        (void)mgr_request_send(mgr, &ask, &id); /* if not, the row says so: it has no request */
    }
    mgr_take_note(cluster, decision);
    mgr->counters.decisions++;
    hold_end(cluster);
    (void)journal_decision(cluster, verdict, &settings, decision, sentence, id);
    fr_log(FR_LOG_INFO, "manager", "decision", FR_S("cluster", cluster->name),
           FR_S("verdict", verdict), FR_S("rule", policy_rule_name(decision->rule)),
           FR_S("sentence", sentence));
}

/* Each decision is carried out, only said, or put before a person, as the mode has it. */
static void
carry_out(struct mgr_cluster *cluster, const struct policy_settings *settings,
          enum config_scale_mode mode, const struct policy_decision *decisions, size_t count)
{
    const char *word = NULL;

    for (size_t i = 0; i < count; i++) {
        const struct policy_decision *decision = &decisions[i];
        bool is_supervised = mode == CONFIG_MODE_SUPERVISED && decision->verdict != POLICY_WEIGHT;
        if (decision->verdict == POLICY_HOLD) {
            cluster->proposal.is_made = false; /* what was proposed is not wanted any more */
            bool is_said = decision->rule == POLICY_RULE_TAKE && mode == CONFIG_MODE_OBSERVE;
            hold(cluster, settings, decision, is_said ? "observe" : "hold");
        } else if (mode == CONFIG_MODE_OBSERVE) {
            hold(cluster, settings, decision, "observe");
        } else if (!is_supervised) {
            mgr_decide_act(cluster, decision);
        } else if (!word) { /* one at a time */
            word = mgr_scale_propose(cluster, decision, loop_now_us(cluster->mgr->loop));
            hold(cluster, settings, decision, word);
        }
    }
}

void
mgr_decide_cluster(struct mgr_cluster *cluster)
{
    struct mgr *mgr = cluster->mgr;
    const struct mgr_view *view = cluster->responsible;
    struct policy_decision decisions[DECISIONS_MAX];
    int64_t now_us = loop_now_us(mgr->loop);
    size_t count = 0;
    uint32_t starting = 0;
    struct policy_state *state = &cluster->policy;

    if (!cluster->config || !cluster->config->scale.enabled || !view || !view->is_whole ||
        cluster->is_report_awaited)
        return;
    for (size_t i = 0; i < view->series_count && count < MGR_MEMBERS_DECIDED; i++) {
        observe(view->series[i], now_us, &mgr->scratch[count++]);
        starting += view->series[i]->state == MGR_STATE_STARTING;
    }
    struct policy_settings settings = settings_of(cluster);
    mgr_zero_look(cluster, now_us, &settings);
    mgr_request_count(mgr, cluster, &state->pending_up, &state->pending_down);
    state->pending_down_shown = mgr_request_shown(mgr, view);
    /* What was asked for and is shown as starting already is counted among the members. */
    state->pending_up = state->pending_up > starting ? state->pending_up - starting : 0;
    struct policy_traffic traffic;
    mgr_scale_look(cluster, now_us, mgr->scratch, count);
    bool is_tick = mgr_scale_traffic(cluster, now_us, &traffic);
    mgr_scale_prepare(cluster);
    const struct policy_guard guard = state->guard;
    size_t made = policy_decide(&settings, state, mgr->scratch, count, is_tick ? &traffic : NULL,
                                now_us, decisions, DECISIONS_MAX);
    enum config_scale_mode mode = cluster->config->scale.mode;
    mgr_take_want(cluster, &settings, &decisions[made - 1]);
    made = mgr_take_give(cluster, &settings, mgr->scratch, count, decisions, made, DECISIONS_MAX,
                         &mode);
    if (mode != CONFIG_MODE_AUTO)
        state->guard = guard; /* what is only said costs no budget */
    carry_out(cluster, &settings, mode, decisions, made);
}

static void
decide_run(void *ctx)
{
    struct mgr *mgr = ctx;
    struct fr_list *node;

    while ((node = fr_list_pop_front(&mgr->dirty)) != NULL) {
        struct mgr_cluster *cluster = FR_CONTAINER(node, struct mgr_cluster, dirty_link);
        /* Deciding first: it is what somebody waits for. */
        mgr_decide_cluster(cluster);
        mgr_sync_cluster(cluster);
    }
}

void
mgr_decide_soon(struct mgr *mgr)
{
    if (!fr_list_empty(&mgr->dirty))
        loop_defer(mgr->loop, &mgr->decide_task, decide_run, mgr);
}

/* ---- the edge's own level ------------------------------------------------------------------- */

static const char *
step_words(const struct config_edge_relief *relief, uint32_t step)
{
    if (step == 0 || step > relief->step_count)
        return "none";
    switch (relief->steps[step - 1]) {
    case CONFIG_STEP_STALE:
        return "serve stale";
    case CONFIG_STEP_HANDOVER:
        return "hand over";
    case CONFIG_STEP_SHED:
        return "shed";
    }
    return "none";
}

void
mgr_decide_relief(struct mgr_source *source)
{
    struct mgr *mgr = source->mgr;
    const struct config_edge_relief *relief = &mgr->relief;
    const struct mgr_self *self = &source->self;
    double utilization = isnan(self->utilization) ? self->cpu : self->utilization;
    int64_t now_us = loop_now_us(mgr->loop);
    char sentence[MGR_SENTENCE_BYTES];
    uint32_t step = 0;

    if (!relief->enabled || relief->step_count == 0 || !self->is_said || !source->session ||
        mgr_request_pending(mgr, source, NULL, WIRE_RELIEVE, NULL))
        return;
    if (self->relief <= relief->step_count) /* what the edge says is in force is */
        source->relief.step = (uint32_t)self->relief;
    struct policy_relief_settings settings = {
        .upper = relief->upper.value,
        .lower = relief->lower.value,
        .upper_for_us = relief->upper.for_us,
        .lower_for_us = relief->lower.for_us,
        .steps = (uint32_t)relief->step_count,
    };
    uint32_t before = source->relief.step;
    if (!policy_relief(&settings, &source->relief, utilization, mgr_source_is_stale(source, now_us),
                       now_us, &step))
        return;
    (void)snprintf(sentence, sizeof(sentence), "relieve step %u (%s): %s at %.2f, %s level %.2f",
                   step, step_words(relief, step), source->id, utilization,
                   step > before ? "upper" : "lower",
                   step > before ? settings.upper : settings.lower);
    struct wire_request_id id = {0};
    struct mgr_ask ask = {
        .operation = WIRE_RELIEVE, .target = source, .step = step, .reason = sentence};
    (void)mgr_request_send(mgr, &ask, &id); /* if not, the row says so: it has no request */
    mgr->counters.decisions++;
    struct policy_decision numbers = {
        .mean = utilization, .highest = utilization, .after = (double)NAN};
    struct mgr_journal_decision row = {
        .cluster = source->id,
        .verdict = "relieve",
        .rule = step > before ? "edge-upper" : "edge-lower",
        .sentence = sentence,
        .numbers = &numbers,
        .upper = settings.upper,
        .lower = settings.lower,
        .wall_us = loop_wall_us(mgr->loop),
        .request = id,
    };
    (void)fr_view_copy(fr_view_of(source->id), numbers.highest_id, sizeof(numbers.highest_id));
    (void)mgr_journal_decision(mgr->journal, &row); /* a failure is counted */
    fr_log(FR_LOG_INFO, "manager", "decision", FR_S("source", source->id),
           FR_S("sentence", sentence));
}
