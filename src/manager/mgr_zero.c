/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_zero.c - what the edges say about a cluster beside its members' load: whether anybody uses it
 * at all, whether requests wait for a first member, and which rung of its ladder is in force.
 *
 * May touch:  base, policy.
 * Threads:    the manager's loop.
 * Trusts:     nothing: while one edge is silent a cluster is not idle, only unknown.
 */
#include "manager/mgr_priv.h"

#include <math.h>

struct use {
    bool is_known; /* at least one edge shows it, and none is silent */
    bool is_open;  /* an exchange, a stream, a tunnel; or somebody waits */
    bool is_awaited;
    uint64_t requests;
};

static void
count_view(const struct mgr_view *view, struct use *use)
{
    if (view->source->role != WIRE_ROLE_EDGE)
        return; /* without a data plane, or of a host */
    use->is_known = true;
    use->requests += view->requests;
    use->is_awaited |= view->waiting > 0;
    for (size_t i = 0; i < view->series_count; i++) {
        const struct mgr_series *series = view->series[i];
        use->is_open |= series->member->sights[series->sight_index].in_flight > 0;
    }
}

void
mgr_zero_look(struct mgr_cluster *cluster, int64_t now_us, struct policy_settings *settings)
{
    struct use use = {0};
    bool is_silent = false;

    FR_LIST_EACH(&cluster->views, node) {
        const struct mgr_view *view = FR_CONTAINER(node, struct mgr_view, cluster_link);
        is_silent |=
            view->source->role == WIRE_ROLE_EDGE && mgr_source_is_stale(view->source, now_us);
        count_view(view, &use);
    }
    settings->demand = use.is_awaited;
    settings->idle_us = cluster->config->scale.idle_us;
    settings->idle_for_us = 0;
    bool is_idle = use.is_known && !is_silent && !use.is_open && !use.is_awaited &&
                   use.requests == cluster->idle_requests;
    cluster->idle_requests = use.requests;
    if (!is_idle) {
        cluster->idle_since_us = 0;
        return;
    }
    if (cluster->idle_since_us == 0)
        cluster->idle_since_us = now_us;
    settings->idle_for_us = now_us - cluster->idle_since_us;
}

/* What the rung that is left, or built upon, did. An edge that began anew counts from 0. */
static void
put_served(const struct mgr_view *view, const struct wire_cluster *said, char *out, size_t bytes)
{
    uint64_t stale = said->stale, refreshes = said->refreshes;
    if (stale >= view->rung_stale && refreshes >= view->rung_refreshes) {
        stale -= view->rung_stale;
        refreshes -= view->rung_refreshes;
    }
    out[0] = '\0';
    if (stale > 0)
        (void)snprintf(out, bytes, "; %llu answered stale meanwhile, %llu fetched anew",
                       (unsigned long long)stale, (unsigned long long)refreshes);
}

void
mgr_zero_rung(struct mgr_view *view, const struct wire_cluster *said)
{
    struct fr_view rung = said->rung;
    char served[96] = "";
    struct mgr_cluster *cluster = view->cluster;
    struct mgr *mgr = cluster->mgr;
    char before[sizeof(view->rung)];
    char sentence[MGR_SENTENCE_BYTES];

    if (rung.len >= sizeof(view->rung) || fr_view_is(rung, view->rung))
        return;
    memcpy(before, view->rung, sizeof(before));
    (void)fr_view_copy(rung, view->rung, sizeof(view->rung)); /* it fits */
    view->rung_since_wall_us = loop_wall_us(mgr->loop);
    if (before[0])
        put_served(view, said, served, sizeof(served));
    view->rung_stale = said->stale;
    view->rung_refreshes = said->refreshes;
    struct policy_decision numbers = {
        .mean = (double)NAN, .highest = (double)NAN, .after = (double)NAN};
    double sum = 0;
    for (size_t i = 0; i < view->series_count; i++) {
        const struct mgr_series *series = view->series[i];
        double value = series->member->sights[series->sight_index].utilization;
        if (series->state != MGR_STATE_READY || isnan(value))
            continue;
        sum += value;
        numbers.ready++;
        if (!(value <= numbers.highest)) {
            numbers.highest = value;
            (void)fr_view_copy(fr_view_of(series->member->id), numbers.highest_id,
                               sizeof(numbers.highest_id)); /* same size */
        }
    }
    if (numbers.ready > 0)
        numbers.mean = sum / numbers.ready;
    (void)snprintf(sentence, sizeof(sentence),
                   "ladder of %s: from %s to %s, mean %.2f, highest %.2f%s", view->source->id,
                   before[0] ? before : "the ground", view->rung[0] ? view->rung : "the ground",
                   isnan(numbers.mean) ? 0 : numbers.mean,
                   isnan(numbers.highest) ? 0 : numbers.highest, served);
    struct mgr_journal_decision row = {
        .cluster = cluster->name,
        .verdict = "ladder",
        .rule = "ladder",
        .sentence = sentence,
        .numbers = &numbers,
        .upper = cluster->config ? cluster->config->scale.upper.value : (double)NAN,
        .lower = cluster->config ? cluster->config->scale.lower.value : (double)NAN,
        .wall_us = view->rung_since_wall_us,
    };
    mgr_decide_flush(cluster);
    cluster->hold_row = 0;
    (void)mgr_journal_decision(mgr->journal, &row); /* a failure is counted */
    fr_log(FR_LOG_INFO, "manager", "ladder", FR_S("cluster", cluster->name),
           FR_S("sentence", sentence));
}
