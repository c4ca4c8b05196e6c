/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_snapshot.c - builds snapshots and finds the route of a request in one.
 *
 * May touch:  base, config. Never: sockets, clocks.
 * Threads:    built on the control thread; read by workers; dropped anywhere (atomic counts).
 * Memory:     one allocation a view, three a snapshot.
 * Cost:       routing is linear in the routes; no allocation, no copy.
 */
#include "cluster/cluster_snapshot.h"

#include "base/fr_check.h"

#include <stdlib.h>

struct cluster_view *
cluster_view_new(uint32_t slot, struct config_cluster *config,
                 const struct cluster_endpoint *endpoints, uint32_t count)
{
    struct cluster_view *view = fr_xalloc(sizeof(*view));
    atomic_init(&view->refs, 1);
    view->slot = slot;
    view->config = config_cluster_ref(config);
    view->endpoints = fr_xalloc((count ? count : 1) * sizeof(*endpoints));
    view->endpoint_count = count;
    for (uint32_t i = 0; i < count; i++) {
        view->endpoints[i] = endpoints[i];
        (void)cluster_member_ref(endpoints[i].member); /* the pointer is stored already */
        if (endpoints[i].weight > view->weight_max)
            view->weight_max = endpoints[i].weight;
        if (endpoints[i].healthy)
            view->weight_sum += endpoints[i].weight;
    }
    return view;
}

static void
complete_ring(struct cluster_view *view, const struct cluster_view *before)
{
    if (view->config->balance != CONFIG_BALANCE_HASH)
        return;
    bool fits = before && before->ring &&
                cluster_ring_fits(before->ring, view->endpoints, view->endpoint_count);
    view->ring = fits ? cluster_ring_ref(before->ring)
                      : cluster_ring_new(view->endpoints, view->endpoint_count);
}

static void
complete_sticky(struct cluster_view *view, const struct cluster_view *before,
                const struct cluster_sticky_keys *keys)
{
    if (!view->config->sticky.cookie)
        return;
    bool fits = before && before->sticky &&
                cluster_sticky_fits(before->sticky, keys, view->config, view->endpoints,
                                    view->endpoint_count);
    view->sticky =
        fits ? cluster_sticky_ref(before->sticky)
             : cluster_sticky_new(keys, view->config, view->endpoints, view->endpoint_count);
}

void
cluster_view_complete(struct cluster_view *view, const struct cluster_view *before,
                      const struct cluster_sticky_keys *keys)
{
    complete_ring(view, before);
    complete_sticky(view, before, keys);
}

struct cluster_view *
cluster_view_ref(struct cluster_view *view)
{
    atomic_fetch_add_explicit(&view->refs, 1, memory_order_relaxed);
    return view;
}

void
cluster_view_unref(struct cluster_view **view)
{
    struct cluster_view *v = *view;
    *view = NULL;
    if (!v || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < v->endpoint_count; i++)
        cluster_member_unref(&v->endpoints[i].member);
    cluster_ring_unref(&v->ring);
    cluster_sticky_unref(&v->sticky);
    fr_free(v->endpoints);
    config_cluster_unref(&v->config);
    fr_free(v);
}

/* ---- routes ------------------------------------------------------------------------------- */

struct sort_key { /* a route with its place in the configuration, so that the sort is stable */
    struct config_route *config;
    size_t index;
};

static size_t
text_len(const char *text)
{
    return text ? strlen(text) : 0;
}

static bool
host_is_wildcard(const char *host)
{
    return host[0] == '*' && host[1] == '.';
}

/* Exact host 2, wildcard 1, any 0. */
static int
host_rank(const struct config_route *route)
{
    if (text_len(route->host) == 0)
        return 0;
    return host_is_wildcard(route->host) ? 1 : 2;
}

/* > 0 when a is more specific. */
static int
route_compare(const struct config_route *a, const struct config_route *b)
{
    int rank_a = host_rank(a), rank_b = host_rank(b);
    if (rank_a != rank_b)
        return rank_a - rank_b;
    size_t pairs[][2] = {
        /* Among wildcards the longer one names more labels. */
        {rank_a == 1 ? text_len(a->host) : 0, rank_b == 1 ? text_len(b->host) : 0},
        {text_len(a->path), text_len(b->path)},
        {text_len(a->method) > 0, text_len(b->method) > 0},
        {text_len(a->header_name) > 0, text_len(b->header_name) > 0},
        /* A header with its value asks more than its presence. */
        {a->header_value != NULL, b->header_value != NULL},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] > pairs[i][1] ? 1 : -1;
    return 0;
}

static int
sort_key_compare(const void *left, const void *right)
{
    const struct sort_key *a = left, *b = right;
    int order = route_compare(b->config, a->config);
    if (order != 0)
        return order;
    return a->index < b->index ? -1 : a->index > b->index;
}

static struct cluster_view *
find_view(struct cluster_view *const *views, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(views[i]->config->name, name) == 0)
            return views[i];
    return NULL;
}

static bool
resolve_route(struct cluster_view *const *views, size_t view_count, struct config_route *config,
              struct cluster_route *out)
{
    bool forwards = config_route_action(config) == CONFIG_ACTION_CLUSTER;
    out->cluster = forwards ? find_view(views, view_count, config->cluster) : NULL;
    out->handover = NULL;
    if (config->handover[0])
        out->handover = find_view(views, view_count, config->handover);
    if ((forwards && !out->cluster) || (config->handover[0] && !out->handover))
        return false;
    out->config = config_route_ref(config);
    return true;
}

enum fr_err
cluster_snapshot_new(uint64_t generation, struct cluster_view *const *views, size_t view_count,
                     struct config_route *const *routes, size_t route_count, unsigned relief,
                     struct cluster_snapshot **out, const struct config_route **out_route)
{
    struct cluster_snapshot *snapshot = fr_xalloc(sizeof(*snapshot));
    struct sort_key *keys = fr_xalloc((route_count + 1) * sizeof(*keys));
    enum fr_err err = FR_OK;
    atomic_init(&snapshot->refs, 1);
    snapshot->generation = generation;
    snapshot->relief = relief;
    snapshot->clusters = fr_xalloc((view_count + 1) * sizeof(struct cluster_view *));
    for (size_t i = 0; i < view_count; i++)
        snapshot->clusters[i] = cluster_view_ref(views[i]);
    snapshot->cluster_count = view_count;
    snapshot->routes = fr_xalloc((route_count + 1) * sizeof(struct cluster_route));
    for (size_t i = 0; i < route_count; i++)
        keys[i] = (struct sort_key){routes[i], i};
    if (route_count > 1)
        qsort(keys, route_count, sizeof(*keys), sort_key_compare);
    for (size_t i = 0; i < route_count; i++) {
        if (!resolve_route(views, view_count, keys[i].config, &snapshot->routes[i])) {
            *out_route = keys[i].config;
            err = FR_ERR_NOT_FOUND;
            goto out;
        }
        snapshot->route_count++;
    }
    *out = snapshot;
    snapshot = NULL;
out:
    fr_free(keys);
    cluster_snapshot_unref(&snapshot);
    return err;
}

struct cluster_snapshot *
cluster_snapshot_ref(struct cluster_snapshot *snapshot)
{
    atomic_fetch_add_explicit(&snapshot->refs, 1, memory_order_relaxed);
    return snapshot;
}

void
cluster_snapshot_unref(struct cluster_snapshot **snapshot)
{
    struct cluster_snapshot *s = *snapshot;
    *snapshot = NULL;
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < s->route_count; i++)
        config_route_unref(&s->routes[i].config);
    for (size_t i = 0; i < s->cluster_count; i++)
        cluster_view_unref(&s->clusters[i]);
    fr_free(s->routes);
    fr_free(s->clusters);
    fr_free(s);
}

/* "*.example.com" takes any number of leading labels, but at least one. */
static bool
host_matches(const char *pattern, struct fr_view host)
{
    size_t len = text_len(pattern);
    if (len == 0)
        return true;
    if (!host_is_wildcard(pattern))
        return fr_view_eq(host, fr_view_make(pattern, len));
    struct fr_view suffix = fr_view_make(pattern + 1, len - 1); /* with its dot */
    return host.len > suffix.len &&
           memcmp(host.ptr + host.len - suffix.len, suffix.ptr, suffix.len) == 0;
}

static bool
route_matches(const struct config_route *route, const struct cluster_request *request)
{
    if (!host_matches(route->host, request->host))
        return false;
    if (text_len(route->path) && !fr_view_starts(request->path, fr_view_of(route->path)))
        return false;
    if (text_len(route->method) && !fr_view_is(request->method, route->method))
        return false;
    if (text_len(route->header_name) == 0)
        return true;
    struct fr_view value;
    if (!request->field ||
        !request->field(request->field_ctx, fr_view_of(route->header_name), &value))
        return false;
    return !route->header_value || fr_view_is(value, route->header_value);
}

const struct cluster_route *
cluster_snapshot_route(const struct cluster_snapshot *snapshot,
                       const struct cluster_request *request)
{
    for (size_t i = 0; i < snapshot->route_count; i++)
        if (route_matches(snapshot->routes[i].config, request))
            return &snapshot->routes[i];
    return NULL;
}
