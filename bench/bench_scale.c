/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_scale.c - how cost grows: of one request or one change, against the size of what it is
 * among. Prints a line for each: what, size, nanoseconds, and how much dearer than the smallest.
 *
 * usage: bench-scale [OBJECTS_MAX [members | routes | objects]]
 */
#include "cache/cache_priv.h"
#include "cluster/cluster_balance.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <stdio.h>
#include <stdlib.h>

#define NS_PER_US 1000.0
#define LEAST_US 100000 /* measured for so long, at least */
#define ROUTES_MAX 100000u
#define MEMBERS_MAX 10000u
#define CLUSTERS_MAX 10000u
#define OBJECTS_MAX 1000000u
#define NOW (INT64_C(784111777) * FR_US_PER_S)

/* One figure of a row: `fn` does what is measured `times` times. */
typedef void (*work_fn)(void *ctx, uint64_t times);

static double
cost_ns(work_fn fn, void *ctx)
{
    fn(ctx, 1); /* warm */
    for (uint64_t times = 1;; times *= 2) {
        int64_t from_us = fr_clock_process_cpu_us();
        fn(ctx, times);
        int64_t took_us = fr_clock_process_cpu_us() - from_us;
        if (took_us >= LEAST_US)
            return (double)took_us * NS_PER_US / (double)times;
    }
}

static void
row(const char *what, uint64_t size, double ns, double *first)
{
    if (*first == 0)
        *first = ns;
    printf("%-34s %8llu %12.1f ns  x %.2f\n", what, (unsigned long long)size, ns, ns / *first);
    (void)fflush(stdout);
}

/* ---- members ------------------------------------------------------------------------------- */

struct cast {
    struct cluster_slots *slots;
    struct config_cluster *config;
    struct cluster_endpoint *endpoints;
    struct cluster_judgement *judgements;
    struct cluster_view *view;
    struct cluster_roster roster;
    struct cluster_endpoint away; /* its member is one of those above */
    struct cluster_pick pick;
    struct fr_rand rand;
    uint32_t count;
    uint64_t sum;
};

static void
cast_init(struct cast *cast, uint32_t count)
{
    struct loop_addr addr;
    char id[32];
    *cast = (struct cast){.count = count};
    cast->slots = cluster_slots_new();
    cast->config = config_cluster_new(FR_VIEW("scale"));
    cast->endpoints = fr_xalloc(count * sizeof(*cast->endpoints));
    cast->judgements = fr_xalloc((count + 1) * sizeof(*cast->judgements));
    fr_require(loop_addr_parse(FR_VIEW("127.0.0.1:80"), &addr) == FR_OK);
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(id, sizeof(id), "scale-%u", i);
        struct cluster_member *member =
            cluster_member_new(cast->slots, fr_view_of(id), FR_VIEW(""), &addr, 1);
        fr_require(member != NULL);
        cast->endpoints[i] = (struct cluster_endpoint){member, 100, true, 0};
    }
    fr_rand_init(&cast->rand, 1);
    cast->pick = (struct cluster_pick){
        .now_us = 1, .rand = &cast->rand, .judgements = cast->judgements, .keyed = true};
}

static void
cast_fini(struct cast *cast)
{
    for (uint32_t i = 0; i < cast->count; i++)
        cluster_member_unref(&cast->endpoints[i].member);
    config_cluster_unref(&cast->config);
    cluster_slots_free(&cast->slots);
    fr_free(cast->endpoints);
    fr_free(cast->judgements);
}

static void
do_pick(void *ctx, uint64_t times)
{
    struct cast *cast = ctx;
    for (uint64_t i = 0; i < times; i++) {
        cast->pick.key = cluster_ring_mix(i);
        cast->sum += cluster_balance_pick(cast->view, &cast->pick)->slot;
    }
}

static const struct cluster_sticky_keys sticky_keys = {.count = 1};

/* One leaves, and then comes back. */
static void
do_change_member(void *ctx, uint64_t times)
{
    struct cast *cast = ctx;
    for (uint64_t i = 0; i < times; i++) {
        struct cluster_roster *roster = &cast->roster;
        if (roster->count < cast->count) {
            cluster_roster_put(roster, roster->count, &cast->away);
        } else {
            uint32_t index = (uint32_t)(i * 7919 % cast->count);
            cast->away = *cluster_roster_at(roster, index);
            cluster_roster_remove(roster, index);
        }
        struct cluster_view *before = cast->view;
        cast->view = cluster_view_of(0, cast->config, roster);
        cluster_view_complete(cast->view, before, &sticky_keys);
        cluster_view_unref(&before);
    }
}

/* Each has one to three requests in flight, or none again. */
static void
occupy(struct cast *cast, bool busy)
{
    for (uint32_t i = 0; i < cast->count; i++)
        for (uint32_t n = 0; n < 1 + i % 3; n++)
            if (busy)
                cluster_member_enter(cast->endpoints[i].member, 0, 1);
            else
                cluster_member_leave(cast->endpoints[i].member, 0, 1);
}

static void
scale_picks(struct cast *cast, double firsts[])
{
    static const struct {
        const char *name;
        enum config_balance balance;
        bool busy;
    } ways[] = {{"a pick, p2c", CONFIG_BALANCE_P2C, false},
                {"a pick, hash", CONFIG_BALANCE_HASH, false},
                {"a pick, least-request", CONFIG_BALANCE_LEAST_REQUEST, false},
                {"a pick, least-request, all busy", CONFIG_BALANCE_LEAST_REQUEST, true},
                {"a pick, round-robin", CONFIG_BALANCE_ROUND_ROBIN, false}};
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        cast->config->balance = ways[i].balance;
        cast->view = cluster_view_new(0, cast->config, cast->endpoints, cast->count);
        cluster_view_complete(cast->view, NULL, NULL);
        if (ways[i].busy)
            occupy(cast, true);
        row(ways[i].name, cast->count, cost_ns(do_pick, cast), &firsts[i]);
        if (ways[i].busy)
            occupy(cast, false);
        cluster_view_unref(&cast->view);
    }
}

/* Of a cluster with that balancer, with sessions or without. */
static void
scale_change(struct cast *cast, const char *name, enum config_balance balance, bool sticky,
             double *first)
{
    cast->config->balance = balance;
    if (sticky)
        cast->config->sticky.cookie = fr_xstrdup("SRV");
    cast->view = cluster_view_new(0, cast->config, cast->endpoints, cast->count);
    cluster_view_complete(cast->view, NULL, &sticky_keys);
    cluster_roster_copy(&cast->view->roster, &cast->roster);
    row(name, cast->count, cost_ns(do_change_member, cast), first);
    cluster_roster_fini(&cast->roster);
    cluster_view_unref(&cast->view);
    fr_free(cast->config->sticky.cookie);
    cast->config->sticky.cookie = NULL;
}

static void
scale_members(void)
{
    double picks[5] = {0}, changes[3] = {0};
    for (uint32_t count = 2; count <= MEMBERS_MAX; count = count == 2 ? 100 : count * 10) {
        struct cast cast;
        cast_init(&cast, count);
        scale_picks(&cast, picks);
        scale_change(&cast, "a change of members, p2c", CONFIG_BALANCE_P2C, false, &changes[0]);
        scale_change(&cast, "a change of members, hash", CONFIG_BALANCE_HASH, false, &changes[1]);
        scale_change(&cast, "a change of members, sticky", CONFIG_BALANCE_P2C, true, &changes[2]);
        cast_fini(&cast);
    }
}

/* ---- routes and clusters ------------------------------------------------------------------- */

struct ask { /* what is asked for, in the order of asking: reading it costs no miss */
    char text[28];
    uint32_t order; /* of the route that has to be found */
};

struct map {
    struct config_route **routes;
    struct ask *asks;
    size_t route_count;
    struct cluster_view **views;
    size_t view_count;
    struct cluster_snapshot *snapshot;
    bool by_host;
    uint64_t sum;
};

static void
map_init(struct map *map, size_t routes, size_t clusters, bool by_host)
{
    char text[64];
    const struct config_route *bad = NULL;
    *map = (struct map){.route_count = routes, .view_count = clusters, .by_host = by_host};
    map->routes = fr_xalloc(routes * sizeof(struct config_route *));
    map->views = fr_xalloc(clusters * sizeof(struct cluster_view *));
    for (size_t i = 0; i < clusters; i++) {
        (void)snprintf(text, sizeof(text), "cluster-%zu", i);
        struct config_cluster *config = config_cluster_new(fr_view_of(text));
        map->views[i] = cluster_view_new((uint32_t)i, config, NULL, 0);
        config_cluster_unref(&config);
    }
    for (size_t i = 0; i < routes; i++) {
        struct config_route *route = map->routes[i] = config_route_new();
        (void)snprintf(route->name, sizeof(route->name), "route-%zu", i);
        (void)snprintf(route->cluster, sizeof(route->cluster), "cluster-%zu", i % clusters);
        (void)snprintf(text, sizeof(text), by_host ? "h%zu.example.com" : "/p%zu/", i);
        char **place = by_host ? &route->host : &route->path;
        fr_free(*place);
        *place = fr_xstrdup(text);
    }
    map->asks = fr_xalloc(routes * sizeof(*map->asks));
    for (size_t i = 0; i < routes; i++) {
        struct ask *ask = &map->asks[i];
        ask->order = (uint32_t)(i * 7919 % routes);
        (void)snprintf(ask->text, sizeof(ask->text), by_host ? "h%u.example.com" : "/p%u/",
                       ask->order);
    }
    fr_require(cluster_snapshot_new(1, map->views, clusters, map->routes, routes, 0, &map->snapshot,
                                    &bad) == FR_OK);
}

static void
map_fini(struct map *map)
{
    cluster_snapshot_unref(&map->snapshot);
    for (size_t i = 0; i < map->route_count; i++)
        config_route_unref(&map->routes[i]);
    for (size_t i = 0; i < map->view_count; i++)
        cluster_view_unref(&map->views[i]);
    fr_free(map->asks);
    fr_free(map->routes);
    fr_free(map->views);
}

static void
do_route(void *ctx, uint64_t times)
{
    struct map *map = ctx;
    struct cluster_request request = {.host = FR_VIEW("www.example.com"),
                                      .path = FR_VIEW("/some/where"),
                                      .method = FR_VIEW("GET")};
    for (uint64_t i = 0, at = 0; i < times; i++, at = at + 1 < map->route_count ? at + 1 : 0) {
        const struct ask *ask = &map->asks[at];
        if (map->by_host)
            request.host = fr_view_of(ask->text);
        else
            request.path = fr_view_of(ask->text);
        const struct cluster_route *found = cluster_snapshot_route(map->snapshot, &request);
        fr_require(found && found->order == ask->order);
        map->sum += found->cluster;
    }
}

static void
publish(const struct map *map, const struct cluster_change *change)
{
    const struct config_route *bad = NULL;
    struct cluster_snapshot *next = NULL;
    fr_require(cluster_snapshot_change(map->snapshot, change, &next, &bad) == FR_OK);
    cluster_snapshot_unref(&next);
}

/* A cluster's members or settings change. */
static void
do_change(void *ctx, uint64_t times)
{
    const struct map *map = ctx;
    for (uint64_t i = 0; i < times; i++)
        publish(map, &(struct cluster_change){.views = &map->views[i * 7919 % map->view_count],
                                              .view_count = 1});
}

/* One goes and comes back. */
static void
do_change_route(void *ctx, uint64_t times)
{
    const struct map *map = ctx;
    for (uint64_t i = 0; i < times; i++) {
        struct config_route **route = &map->routes[i * 7919 % map->route_count];
        publish(map, &(struct cluster_change){
                         .dropped = route, .dropped_count = 1, .added = route, .added_count = 1});
    }
}

static void
scale_routes(void)
{
    double firsts[5] = {0};
    struct map map;
    for (size_t count = 1; count <= ROUTES_MAX; count *= 10) {
        map_init(&map, count, 1, false);
        row("a request, by path", count, cost_ns(do_route, &map), &firsts[0]);
        row("a change, same routes", count, cost_ns(do_change, &map), &firsts[1]);
        row("a change of one route", count, cost_ns(do_change_route, &map), &firsts[2]);
        map_fini(&map);
        map_init(&map, count, 1, true);
        row("a request, by host", count, cost_ns(do_route, &map), &firsts[3]);
        map_fini(&map);
    }
    for (size_t count = 1; count <= CLUSTERS_MAX; count *= 10) {
        map_init(&map, count, count, true);
        row("a change among clusters", count, cost_ns(do_change, &map), &firsts[4]);
        map_fini(&map);
    }
}

/* ---- objects ------------------------------------------------------------------------------- */

struct shelf {
    struct cache_store *store;
    struct cache_reader *reader;
    uint64_t count;
    struct http_head request, response;
    char text[128], body[256];
};

static struct cache_request
ask_for(struct shelf *shelf, uint64_t number)
{
    struct http_err err;
    size_t scanned = 0;
    int len =
        snprintf(shelf->text, sizeof(shelf->text), "GET /object/%08llu HTTP/1.1\r\nHost: a\r\n\r\n",
                 (unsigned long long)number);
    fr_require(http_request_parse(fr_view_make(shelf->text, (size_t)len), &http_limits_default,
                                  &scanned, &shelf->request, &err) == HTTP_DONE);
    return (struct cache_request){.head = &shelf->request,
                                  .scheme = FR_VIEW("http"),
                                  .host = FR_VIEW("a"),
                                  .now_us = NOW,
                                  .reader = shelf->reader};
}

static void
shelf_fill(struct shelf *shelf)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"
                               "Content-Length: 100\r\n\r\n";
    struct http_err err;
    size_t scanned = 0;
    fr_require(http_response_parse(fr_view_of(head), &http_limits_default, &scanned,
                                   &shelf->response, &err) == HTTP_DONE);
    for (uint64_t i = 0; i < shelf->count; i++) {
        struct cache_request ask = ask_for(shelf, i);
        struct cache_filler *filler = cache_fill_begin(shelf->store, &ask, &shelf->response,
                                                       shelf->response.framing, NOW, NOW);
        fr_require(filler && cache_fill_add(&filler, fr_view_make(shelf->body, 100)) == FR_OK);
        cache_fill_commit(&filler);
    }
}

/* The request is parsed anew each time: a part of the cost at every size. */
static void
do_hit(void *ctx, uint64_t times)
{
    struct shelf *shelf = ctx;
    struct cache_found found;
    for (uint64_t i = 0; i < times; i++) {
        struct cache_request ask = ask_for(shelf, i * 2654435761u % shelf->count);
        fr_require(cache_lookup(shelf->store, &ask, &found) == CACHE_FRESH);
        cache_entry_let_go(shelf->reader, &found.entry);
    }
}

static void
scale_objects(uint64_t most)
{
    double first = 0;
    for (uint64_t count = 1000; count <= most; count *= 10) {
        struct shelf *shelf = fr_xalloc(sizeof(*shelf));
        struct cache_options options = {.memory_bytes = count * 1024 + ((uint64_t)64 << 20),
                                        .object_bytes_max = 1 << 20};
        shelf->count = count;
        fr_require(cache_store_new(&options, &shelf->store) == FR_OK);
        fr_require(cache_reader_new(shelf->store, NULL, NULL, &shelf->reader) == FR_OK);
        shelf_fill(shelf);
        row("a hit among objects", count, cost_ns(do_hit, shelf), &first);
        cache_reader_free(&shelf->reader);
        cache_store_free(&shelf->store);
        fr_free(shelf);
    }
}

int
main(int argc, char **argv)
{
    unsigned long long most = argc > 1 ? strtoull(argv[1], NULL, 10) : OBJECTS_MAX;
    const char *part = argc > 2 ? argv[2] : "";
    if (!part[0] || strcmp(part, "members") == 0)
        scale_members();
    if (!part[0] || strcmp(part, "routes") == 0)
        scale_routes();
    if (!part[0] || strcmp(part, "objects") == 0)
        scale_objects(most);
    return 0;
}
