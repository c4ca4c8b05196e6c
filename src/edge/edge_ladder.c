/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_ladder.c - what the edge does by itself for a cluster at its upper level, until the server
 * that the manager has asked for is ready: rung by rung, up and down.
 *
 * May touch:  policy, which says when. Here is what each rung means to a view.
 * When:       with every sample of the members, EDGE_SAMPLE_US apart. It needs no manager.
 * Threads:    control loop.
 */
#include "edge/edge_priv.h"

#include "policy/policy.h"

#include <math.h>
#include <stdio.h>

#define WEIGHTS_US FR_US_PER_S /* between two looks at the weights of hot members */

static const char *const rung_names[CONFIG_RUNGS] = {"weight", "stale", "queue", "shed"};

const char *
edge_ladder_rung(const struct edge_cluster *cluster)
{
    const char *name = "";
    for (unsigned i = 0; i < CONFIG_RUNGS; i++)
        if (cluster->ladder.rungs & (1u << i))
            name = rung_names[i];
    return name;
}

struct seen {
    double highest; /* with all of its weight; NaN: of none is anything known */
    double mean;
    uint32_t healthy;
    uint64_t in_flight;
};

static uint32_t
weight_now(const struct edge_member *member)
{
    return member->ladder_weight > 0 ? member->ladder_weight : member->weight;
}

static struct seen
look(struct edge_cluster *cluster)
{
    struct seen seen = {.highest = NAN, .mean = NAN};
    double sum = 0;
    uint32_t known = 0;
    FR_LIST_EACH(&cluster->members, node) {
        struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
        double value = edge_member_utilization(member);
        if (!member->healthy)
            continue;
        seen.healthy++;
        seen.in_flight += member->in_flight;
        if (isnan(value))
            continue;
        sum += value;
        known++;
        double full = policy_ladder_full(member->weight, weight_now(member), value);
        if (!(full <= seen.highest))
            seen.highest = full;
    }
    if (known > 0)
        seen.mean = sum / known;
    return seen;
}

/* Each member's share as the rung wants it; in_force: it is climbed, else all have their own. */
static void
weigh(struct edge_cluster *cluster, double mean, bool in_force)
{
    FR_LIST_EACH(&cluster->members, node) {
        struct edge_member *member = FR_CONTAINER(node, struct edge_member, link);
        uint32_t now = weight_now(member);
        uint32_t wanted =
            in_force ? policy_ladder_weight(member->weight, now, edge_member_utilization(member),
                                            mean, cluster->upper)
                     : member->weight;
        member->ladder_weight = wanted == member->weight ? 0 : wanted;
        if (wanted != now)
            edge_member_show(member);
    }
}

/* What may be under way on one member: its limit, or as much as there was when the level was met.
 */
static void
set_places(struct edge_cluster *cluster, const struct seen *seen)
{
    uint32_t limit = cluster->config->utilization.limit;
    uint64_t each = seen->healthy > 0 ? seen->in_flight / seen->healthy : 0;
    if (limit == 0)
        limit = each < UINT32_MAX ? (uint32_t)each : UINT32_MAX;
    cluster->ladder_places = limit > 0 ? limit : 1;
}

static void
tell(struct edge_cluster *cluster, const struct seen *seen, bool up)
{
    char mean[16], highest[16];
    (void)snprintf(mean, sizeof(mean), "%.2f", seen->mean);
    (void)snprintf(highest, sizeof(highest), "%.2f", seen->highest);
    *(up ? &cluster->ladder_climbs : &cluster->ladder_descents) += 1;
    const char *rung = edge_ladder_rung(cluster);
    fr_log(up ? FR_LOG_WARN : FR_LOG_INFO, "edge", up ? "ladder climbed" : "ladder descended",
           FR_S("cluster", cluster->config->name), FR_S("rung", rung[0] ? rung : "none"),
           FR_S("mean", mean), FR_S("highest", highest));
}

void
edge_ladder_look(struct edge_cluster *cluster, int64_t now_us)
{
    struct edge *edge = cluster->edge;
    unsigned before = cluster->ladder.rungs;
    /* The configuration's, or, where another server is responsible, as the manager said. */
    double upper = cluster->upper >= 0 ? cluster->upper : -1;
    if (edge->proxy == NULL || (upper < 0 && before == 0))
        return;
    struct seen seen = look(cluster);
    const struct policy_ladder_settings settings = {
        .upper = upper,
        .rungs = cluster->config->ladder.rungs,
        .climb_us = cluster->config->ladder.climb_us,
        .descend_us = cluster->config->ladder.descend_us,
    };
    bool changed = policy_ladder(&settings, &cluster->ladder, seen.highest, seen.mean, now_us);
    unsigned now = cluster->ladder.rungs;
    if (changed && (now & ~before & CONFIG_RUNG_QUEUE))
        set_places(cluster, &seen);
    if (changed || ((now & CONFIG_RUNG_WEIGHT) && now_us >= cluster->ladder_weigh_at_us)) {
        weigh(cluster, seen.mean, now & CONFIG_RUNG_WEIGHT);
        cluster->ladder_weigh_at_us = now_us + WEIGHTS_US;
    }
    if (changed) {
        cluster->dirty = true;
        edge_publish_soon(edge);
        tell(cluster, &seen, now > before);
        edge_report_soon(edge, false);
    }
}

void
edge_ladder_apply(const struct edge_cluster *cluster, struct cluster_view *view)
{
    uint64_t places = (uint64_t)view->roster.healthy * cluster->ladder_places;
    view->rungs = cluster->ladder.rungs;
    view->queue_limit = places < UINT32_MAX ? (uint32_t)places : UINT32_MAX;
}
