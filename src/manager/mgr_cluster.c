/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_cluster.c - clusters and members as all sources together show them.
 *
 * May touch:  base, config. Never: sockets, files.
 * Threads:    the manager's loop.
 * Memory:     one mgr_series and one mgr_sight a source and server (MGR_SERIES_MAX in all); a
 *             member lives while at least one source shows it.
 * When full:  the newcomer is left out and counted.
 */
#include "manager/mgr_priv.h"

#include "base/fr_check.h"

#include <math.h>

struct mgr_cluster *
mgr_cluster_find(const struct mgr *mgr, struct fr_view name)
{
    return fr_map_get(mgr->clusters, name);
}

struct mgr_cluster *
mgr_cluster_get(struct mgr *mgr, struct fr_view name)
{
    struct mgr_cluster *cluster = mgr_cluster_find(mgr, name);

    if (cluster)
        return cluster;
    if (fr_map_count(mgr->clusters) >= MGR_CLUSTERS_MAX || !config_name_valid(name)) {
        mgr->counters.clusters_ignored++;
        return NULL;
    }
    cluster = fr_xalloc(sizeof(*cluster));
    cluster->mgr = mgr;
    (void)fr_view_copy(name, cluster->name, sizeof(cluster->name)); /* a valid name fits */
    fr_list_init(&cluster->views);
    fr_list_init(&cluster->dirty_link);
    cluster->members = fr_map_new();
    (void)fr_map_put(mgr->clusters, name, cluster); /* it was absent */
    return cluster;
}

/* Without members and views by then. */
static void
cluster_free(struct mgr_cluster *cluster)
{
    fr_insist(fr_map_count(cluster->members) == 0);
    fr_list_remove(&cluster->dirty_link);
    fr_map_free(&cluster->members, NULL);
    config_cluster_unref(&cluster->config);
    fr_free(cluster->policy.forecast);
    fr_free(cluster);
}

void
mgr_cluster_release(struct mgr_cluster *cluster)
{
    if (cluster->config || !fr_list_empty(&cluster->views))
        return;
    (void)fr_map_remove(cluster->mgr->clusters, fr_view_of(cluster->name));
    cluster_free(cluster);
}

void
mgr_cluster_mark(struct mgr_cluster *cluster)
{
    if (fr_list_empty(&cluster->dirty_link))
        fr_list_push_back(&cluster->mgr->dirty, &cluster->dirty_link);
}

struct mgr_member *
mgr_member_find(const struct mgr_cluster *cluster, struct fr_view id)
{
    return fr_map_get(cluster->members, id);
}

static struct mgr_member *
member_get(struct mgr_cluster *cluster, struct fr_view id)
{
    struct mgr_member *member = mgr_member_find(cluster, id);

    if (member)
        return member;
    member = fr_xalloc(sizeof(*member));
    member->cluster = cluster;
    member->weight_ordered = member->weight_normal = UINT32_MAX;
    (void)fr_view_copy(id, member->id, sizeof(member->id)); /* the caller checked the name */
    (void)fr_map_put(cluster->members, id, member);         /* it was absent */
    return member;
}

struct mgr_series *
mgr_series_new(struct mgr_view *view, struct fr_view id)
{
    struct mgr *mgr = view->cluster->mgr;
    if (mgr->series_count >= MGR_SERIES_MAX || !config_name_valid(id))
        return NULL;

    struct mgr_member *member = member_get(view->cluster, id);
    struct mgr_series *series = fr_xalloc(sizeof(*series));
    series->member = member;
    series->view = view;
    series->weight = series->weight_normal = UINT32_MAX;
    series->sight_index = (uint32_t)member->sight_count;
    fr_xgrow((void **)&member->sights, &member->sight_capacity, member->sight_count + 1,
             sizeof(member->sights[0]));
    member->sights[member->sight_count++] =
        (struct mgr_sight){.series = series, .view = view, .utilization = (double)NAN};
    fr_xgrow((void **)&view->series, &view->series_capacity, view->series_count + 1,
             sizeof(view->series[0]));
    view->series[view->series_count++] = series;
    mgr->series_count++;
    return series;
}

void
mgr_series_drop(struct mgr_series *series)
{
    struct mgr_member *member = series->member;
    struct mgr_cluster *cluster = member->cluster;
    struct mgr_view *view = series->view;
    size_t at = view->series_count;

    /* Nearly always the last one: a full report that omits servers drops from the tail. */
    while (at > 0 && view->series[at - 1] != series)
        at--;
    fr_insist(at > 0);
    memmove(&view->series[at - 1], &view->series[at],
            (view->series_count - at) * sizeof(view->series[0]));
    view->series_count--;

    member->sight_count--;
    if (series->sight_index != member->sight_count) {
        struct mgr_sight *moved = &member->sights[series->sight_index];
        *moved = member->sights[member->sight_count];
        moved->series->sight_index = series->sight_index;
    }
    if (member->sight_count == 0) {
        (void)fr_map_remove(cluster->members, fr_view_of(member->id));
        fr_free(member->sights);
        fr_free(member);
    }
    cluster->mgr->series_count--;
    fr_free(series);
}

struct mgr_series *
mgr_view_series(const struct mgr_view *view, const struct mgr_member *member)
{
    for (size_t i = 0; i < member->sight_count; i++)
        if (member->sights[i].view == view)
            return member->sights[i].series;
    return NULL;
}

/* fmax, which no compiler may inline, for numbers that may be NaN. */
static double
higher(double a, double b)
{
    return a >= b || isnan(b) ? a : b;
}

/* The word of an agent on the member's host, by the member's id or by its address. */
static double
host_utilization(const struct mgr *mgr, const struct mgr_member *member, int64_t now_us)
{
    if (fr_map_count(mgr->hosts_by_id) == 0 && fr_map_count(mgr->hosts_by_address) == 0)
        return (double)NAN;
    const struct mgr_source *source = fr_map_get(mgr->hosts_by_id, fr_view_of(member->id));
    if (!source && member->address[0])
        source = fr_map_get(mgr->hosts_by_address, fr_view_of(member->address));
    if (!source || mgr_source_is_stale(source, now_us))
        return (double)NAN;
    return higher(source->self.cpu, source->self.utilization);
}

struct mgr_load
mgr_member_load(const struct mgr_member *member, int64_t now_us)
{
    const struct config_cluster *config = member->cluster->config;
    struct mgr_load load = {.utilization = (double)NAN};
    size_t fresh = 0;

    for (size_t i = 0; i < member->sight_count; i++) {
        const struct mgr_sight *sight = &member->sights[i];
        if (now_us > sight->fresh_until_us) {
            load.is_part_stale = true;
            continue;
        }
        fresh++;
        load.in_flight += sight->in_flight;
        load.utilization = higher(load.utilization, sight->utilization);
    }
    load.is_stale = fresh == 0;
    /* One edge averages its requests in flight over a window, which is better than the moment's
     * count; only the sum over several tells what none of them can know. */
    if (fresh > 1 && config && config->utilization.limit > 0)
        load.utilization =
            higher(load.utilization, (double)load.in_flight / config->utilization.limit);
    if (config && config->utilization.host_cpu)
        load.utilization =
            higher(load.utilization, host_utilization(member->cluster->mgr, member, now_us));
    return load;
}
