/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_measure.c - looks at every member's and our own utilization, many times a second, and has a
 * crossed level reported at once.
 *
 * Cost:     reads each worker's counters without a lock; no histogram is touched here.
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include <math.h>

/* A level counts as left only this far on its other side, or noise would send a report a sample. */
#define LEVEL_HYSTERESIS 0.05

double
edge_member_utilization(const struct edge_member *member)
{
    const struct edge_cluster *cluster = member->cluster;
    if (cluster == NULL)
        return NAN;
    return cluster_utilization_value(&member->utilization, &cluster->config->utilization,
                                     loop_now_us(member->edge->loop));
}

const char *
edge_member_state(const struct edge_member *member)
{
    if (member->cluster == NULL)
        return "draining";
    if (!member->healthy)
        return "unhealthy";
    int64_t since_us = loop_now_us(member->edge->loop) - member->ejected_at_us;
    if (member->ejected_at_us != 0 && since_us < member->cluster->config->ejection.time_us)
        return "ejected";
    return "ready";
}

/* True when a level was crossed upwards or downwards since the last look. */
static bool
crossed(double value, double upper, double lower, bool *above, bool *below)
{
    bool was_above = *above, was_below = *below;
    if (isnan(value))
        return false;
    if (upper >= 0)
        *above = value >= upper || (was_above && value > upper - LEVEL_HYSTERESIS);
    if (lower >= 0)
        *below = value < lower || (was_below && value < lower + LEVEL_HYSTERESIS);
    return *above != was_above || (*below && !was_below);
}

static bool
sample_member(struct edge_cluster *cluster, struct edge_member *member, int64_t now_us)
{
    struct cluster_member_stats sum;
    const struct config_utilization *settings = &cluster->config->utilization;
    cluster_member_sum(member->shared, now_us, &sum);
    cluster_utilization_sample(&member->utilization, settings, sum.in_flight_us, now_us);
    member->in_flight = sum.in_flight;
    if (sum.orca_at_us != 0) {
        member->utilization.orca = (double)sum.orca_utilization / 1e6;
        member->utilization.orca_at_us = sum.orca_at_us;
    }
    if (sum.ejections != member->last_ejections) {
        member->last_ejections = sum.ejections;
        member->ejected_at_us = now_us;
    }
    double value = cluster_utilization_value(&member->utilization, settings, now_us);
    return crossed(value, cluster->upper, cluster->lower, &member->above_upper,
                   &member->below_lower);
}

/* The share of a core that the busiest worker used since the last look: one saturated worker
 * already makes its clients wait, whatever the others do. */
void
edge_measure_self(struct edge *edge)
{
    int64_t now_us = loop_now_us(edge->loop);
    int64_t passed_us = now_us - edge->measured_at_us;
    if (passed_us < EDGE_SAMPLE_US)
        return;
    int64_t process_us = fr_clock_process_cpu_us();
    edge->process_cpu_share = (double)(process_us - edge->process_cpu_us) / (double)passed_us;
    edge->process_cpu_us = process_us;
    edge->measured_at_us = now_us;
    edge->self_utilization = edge->proxy == NULL ? edge->process_cpu_share : 0;
    for (uint32_t i = 0; edge->proxy != NULL && i < edge->worker_count; i++) {
        int64_t used_us = proxy_worker_cpu_us(edge->proxy, i);
        double share = (double)(used_us - edge->worker_cpu_us[i]) / (double)passed_us;
        edge->worker_cpu_us[i] = used_us;
        edge->worker_cpu_share[i] = share;
        if (share > edge->self_utilization)
            edge->self_utilization = share;
    }
}

static void
on_sample(void *ctx)
{
    struct edge *edge = ctx;
    int64_t now_us = loop_now_us(edge->loop);
    bool any = false;
    size_t cursor = 0;
    void *value = NULL;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
        struct edge_cluster *cluster = value;
        FR_LIST_EACH(&cluster->members, node) {
            struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
            any |= sample_member(cluster, member, now_us);
        }
        edge_ladder_look(cluster, now_us);
    }
    if (any)
        edge_report_soon(edge, true);
    edge_purge_poll(edge);
    if (edge->cache != NULL)
        cache_store_age(edge->cache, EDGE_AGE_BUCKETS, edge_cache_now_us(edge));
    loop_timer_start(edge->loop, &edge->sample_timer, EDGE_SAMPLE_US, on_sample, edge);
}

void
edge_measure_start(struct edge *edge)
{
    edge->measured_at_us = loop_now_us(edge->loop);
    edge->process_cpu_us = fr_clock_process_cpu_us();
    loop_timer_start(edge->loop, &edge->sample_timer, EDGE_SAMPLE_US, on_sample, edge);
}

void
edge_measure_stop(struct edge *edge)
{
    loop_timer_stop(&edge->sample_timer);
    loop_timer_stop(&edge->report_timer);
    loop_timer_stop(&edge->report_pace_timer);
    loop_timer_stop(&edge->wake_timer);
}
