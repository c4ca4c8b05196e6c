/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_scale.c - what a policy is given besides members: the traffic of a tick; and what stands
 * between its decision and the act: a person's word, in mode supervised.
 *
 * May touch:  base, admin, config, policy.
 * Threads:    the manager's loop.
 * Memory:     policy_forecast_bytes() a cluster that forecasts.
 * Trusts:     nothing: while one source is silent the rate is unknown, not small.
 * Limits:     one look every TICK_US; a drain counts up to DRAIN_MAX_S; one proposal at a time.
 */
#include "manager/mgr_priv.h"

#include <math.h>

#define TICK_S 5.0
#define TICK_US 5000000LL
#define DRAIN_MAX_S 3600.0

/* ---- traffic -------------------------------------------------------------------------------- */

void
mgr_scale_late(struct mgr_cluster *cluster, const struct wire_server *said, uint64_t requests)
{
    const struct config_cluster *config = cluster->config;
    if (!config || config->scale.slo_latency_us <= 0 || requests == 0)
        return;
    double late = policy_late_share(said->p50_ms, said->p90_ms, said->p99_ms,
                                    (double)config->scale.slo_latency_us / 1e3);
    if (isnan(late))
        return;
    cluster->answered += (double)requests;
    cluster->late += late * (double)requests;
}

/* Reports of a crossing come when a member is busy: over them the mean would be too high by as much
 * as the load swings, and a member would seem to do too little. */
void
mgr_scale_look(struct mgr_cluster *cluster, int64_t now_us, const struct policy_member *members,
               size_t count)
{
    /* What a purge announced is in their utilization, and is not done yet. */
    double foreseen = mgr_purge_foresee(cluster, 1, now_us);
    if (!cluster->is_look_due)
        return;
    cluster->is_look_due = false;
    cluster->looks++;
    for (size_t i = 0; i < count; i++) {
        bool counts = members[i].healthy && !members[i].starting && !members[i].draining;
        bool is_known = !members[i].stale && members[i].utilization >= 0;
        /* What a member does that starts, or drains, is in the rate too. What is above 1 waits
         * there, and is not being done. */
        double busy = is_known ? fmin(members[i].utilization / foreseen, 1) : 0;
        cluster->busy += busy;
        cluster->busy_usable += counts ? busy : 0;
        if (!is_known && counts)
            cluster->busy = (double)NAN;
    }
}

void
mgr_scale_count(struct mgr_view *view, const struct wire_cluster *said)
{
    struct mgr_cluster *cluster = view->cluster;
    const struct config_cluster *config = cluster->config;
    bool is_same = said->goal_us == view->goal_us;
    uint64_t timed = said->timed - view->timed;
    uint64_t late = said->late - view->late;
    bool is_more = said->timed >= view->timed && said->late >= view->late;

    view->is_timed = config && said->goal_us > 0 &&
                     said->goal_us == (uint64_t)config->scale.slo_latency_us;
    view->goal_us = said->goal_us;
    view->timed = said->timed;
    view->late = said->late;
    /* The first report of a goal, or of a life, is where counting begins. More late ones than there
     * were requests are nobody's. */
    if (!view->is_timed || !is_same || !is_more || late > timed)
        return;
    cluster->answered += (double)timed;
    cluster->late += (double)late;
}

struct count {
    double came, served;  /* requests/s that came, and that were finished; NaN: not known */
    double waiting, late; /* for a place at a member; there, and not begun */
};

/* Requests that have come and are not finished: at members, or waiting for a place there.
 * *out_late: those of them that members have and are not at yet. */
static double
pending_of(const struct mgr_view *view, double *out_late)
{
    double pending = (double)view->waiting;
    *out_late = 0;
    for (size_t i = 0; i < view->series_count; i++) {
        const struct mgr_series *series = view->series[i];
        const struct mgr_sight *sight = &series->member->sights[series->sight_index];
        pending += (double)sight->in_flight;
        if (sight->utilization > 1)
            *out_late += (double)sight->in_flight * (1 - 1 / sight->utilization);
    }
    return pending;
}

static void
count_view(struct mgr_view *view, int64_t now_us, struct count *count)
{
    int64_t passed_us = view->at_us - view->ticked_at_us;

    if (view->source->role == WIRE_ROLE_AGENT)
        return; /* a host's word on itself: no traffic of the cluster */
    /* Where its process began anew the next tick knows more. */
    bool is_known = !mgr_source_is_stale(view->source, now_us) && view->ticked_at_us != 0 &&
                    passed_us > 0 && view->requests >= view->requests_ticked;
    double passed_s = (double)passed_us / 1e6;
    double finished = (double)(view->requests - view->requests_ticked);
    double late, pending = pending_of(view, &late);
    double more = pending - view->pending_ticked;
    count->served += is_known ? finished / passed_s : (double)NAN;
    /* Members that are full finish as much however many come. */
    count->came += is_known ? fmax(0, finished + more) / passed_s : (double)NAN;
    count->waiting += (double)view->waiting;
    count->late += late;
    view->requests_ticked = view->requests;
    view->pending_ticked = pending;
    view->ticked_at_us = view->at_us;
}

bool
mgr_scale_traffic(struct mgr_cluster *cluster, int64_t now_us, struct policy_traffic *out)
{
    const struct config_cluster *config = cluster->config;
    struct count count = {0};
    bool is_first = cluster->tick_at_us == 0;

    if (!is_first && now_us - cluster->tick_at_us < TICK_US)
        return false;
    cluster->tick_at_us = now_us;
    FR_LIST_EACH(&cluster->views, node)
        count_view(FR_CONTAINER(node, struct mgr_view, cluster_link), now_us, &count);
    double late = cluster->answered > 0 ? cluster->late / cluster->answered : (double)NAN;
    double busy = cluster->looks > 0 ? cluster->busy / cluster->looks : (double)NAN;
    double usable = cluster->looks > 0 ? cluster->busy_usable / cluster->looks : 0;
    cluster->answered = cluster->late = cluster->busy = cluster->busy_usable = 0;
    cluster->looks = 0;
    if (is_first)
        return false; /* a rate needs two looks */
    *out = (struct policy_traffic){
        .is_known = true,
        .dt_s = TICK_S,
        /* What a purge announced is about to come. What members do, and how busy they are with
         * it, is what was seen: it may have been announced in the midst of the tick. */
        .rate = mgr_purge_foresee(cluster, count.came, now_us),
        .served = count.served,
        .busy = busy > 0 ? busy : (double)NAN,
        .busy_usable = usable,
        .slow = late,
        .dropped = 0,
        /* What is done within a second is how requests come, not a backlog. */
        .queue = count.waiting + (count.late > count.served ? count.late : 0),
        .startup_s = cluster->startup_s,
        .drain_s = fmin((double)config->drain_us / 1e6, DRAIN_MAX_S),
    };
    return true;
}

void
mgr_scale_prepare(struct mgr_cluster *cluster)
{
    bool forecasts = cluster->config->scale.policy == CONFIG_POLICY_FORECAST;

    if (forecasts && !cluster->policy.forecast) {
        cluster->policy.forecast = fr_xalloc(policy_forecast_bytes());
        policy_forecast_init(cluster->policy.forecast);
    } else if (!forecasts && cluster->policy.forecast) {
        fr_free(cluster->policy.forecast);
        cluster->policy.forecast = NULL;
    }
}

/* What the clock says of min and max. */
void
mgr_scale_schedule(const struct mgr_cluster *cluster, struct policy_settings *settings)
{
    const struct config_scale *scale = &cluster->config->scale;
    struct policy_window windows[CONFIG_WINDOWS_MAX];
    size_t count = 0;

    for (; count < scale->window_count; count++)
        windows[count] = (struct policy_window){
            .cron = &scale->windows[count].cron,
            .zone = scale->windows[count].zone,
            .for_s = scale->windows[count].for_us / 1000000,
            .min = scale->windows[count].min,
            .max = scale->windows[count].max,
            .words = scale->windows[count].words,
        };
    if (count > 0)
        policy_schedule(windows, count, loop_wall_us(cluster->mgr->loop) / 1000000,
                        (int64_t)cluster->startup_s, settings);
}

/* ---- a person's word ------------------------------------------------------------------------ */

const char *
mgr_scale_propose(struct mgr_cluster *cluster, const struct policy_decision *decision,
                  int64_t now_us)
{
    struct mgr_proposal *proposal = &cluster->proposal;
    int64_t span_us = cluster->config->scale.approval_us;

    if (now_us < proposal->rest_until_us)
        return "denied";
    if (!proposal->is_made) {
        proposal->is_made = true;
        proposal->until_us = now_us + span_us;
        fr_log(FR_LOG_WARN, "manager", "a decision waits for freshet approve",
               FR_S("cluster", cluster->name), FR_S("rule", policy_rule_name(decision->rule)));
    }
    proposal->decision = *decision; /* the numbers of now */
    if (now_us < proposal->until_us)
        return "propose";
    proposal->is_made = false;
    proposal->rest_until_us = now_us + span_us;
    return "denied";
}

static struct mgr_cluster *
asked_cluster(struct mgr *mgr, struct admin_exchange *exchange, const struct admin_request *request)
{
    char name[MGR_ID_BYTES];
    struct mgr_cluster *cluster = NULL;

    if (!admin_query(request->query, "cluster", name, sizeof(name))) {
        admin_answer_error(exchange, 400, "cluster=NAME is missing, or too long");
        return NULL;
    }
    cluster = mgr_cluster_find(mgr, fr_view_of(name));
    if (!cluster)
        admin_answer_error(exchange, 404, "no cluster \"%s\" here", name);
    else if (!cluster->proposal.is_made) {
        admin_answer_error(exchange, 409, "nothing of %s waits for approval", name);
        cluster = NULL;
    }
    return cluster;
}

static void
answer_words(struct admin_exchange *exchange, const char *words)
{
    admin_answer(exchange, 200, "text/plain; charset=utf-8", fr_view_of(words));
}

void
mgr_scale_approve(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct mgr_cluster *cluster = asked_cluster(ctx, exchange, request);

    if (!cluster)
        return;
    const struct policy_decision decision = cluster->proposal.decision;
    bool is_release = decision.verdict == POLICY_DEALLOCATE;
    if (!cluster->config || !cluster->responsible ||
        (is_release && !mgr_member_find(cluster, fr_view_of(decision.member)))) {
        admin_answer_error(exchange, 409, "who would do it, or leave, is not here any more");
        return;
    }
    cluster->proposal.is_made = false;
    mgr_decide_act(cluster, &decision);
    answer_words(exchange, "approved\n");
}

void
mgr_scale_deny(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct mgr_cluster *cluster = asked_cluster(ctx, exchange, request);

    if (!cluster)
        return;
    cluster->proposal.is_made = false;
    if (cluster->config)
        cluster->proposal.rest_until_us =
            loop_now_us(cluster->mgr->loop) + cluster->config->scale.approval_us;
    answer_words(exchange, "denied\n");
}
