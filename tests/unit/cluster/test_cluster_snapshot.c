/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_snapshot.c - precedence of routes, matching, references.
 */
#include "cluster_fixture.h"

#include "base/fr_hash.h"

#define ROUTES_MAX 64

struct world {
    struct fixture f;
    struct cluster_view *view;
    struct config_route *routes[ROUTES_MAX];
    size_t count;
    struct cluster_snapshot *snapshot;
};

static void
world_init(struct world *w)
{
    memset(w, 0, sizeof(*w));
    fixture_init(&w->f, 2, 1);
    w->view = fixture_view(&w->f);
}

static struct config_route *
world_route(struct world *w, const char *name, const char *host, const char *path)
{
    struct config_route *r = config_route_new();
    assert_true(fr_view_copy(fr_view_of(name), r->name, sizeof(r->name)));
    assert_true(fr_view_copy(FR_VIEW("web"), r->cluster, sizeof(r->cluster)));
    fr_free(r->host);
    fr_free(r->path);
    r->host = fr_xstrdup(host);
    r->path = fr_xstrdup(path);
    w->routes[w->count++] = r;
    return r;
}

static void
world_build(struct world *w)
{
    const struct config_route *bad = NULL;
    assert_int_equal(
        cluster_snapshot_new(7, &w->view, 1, w->routes, w->count, 0, &w->snapshot, &bad), FR_OK);
}

static void
world_fini(struct world *w)
{
    cluster_snapshot_unref(&w->snapshot);
    for (size_t i = 0; i < w->count; i++)
        config_route_unref(&w->routes[i]);
    cluster_view_unref(&w->view);
    fixture_fini(&w->f);
}

static bool
one_field(const void *ctx, struct fr_view name, struct fr_view *out_value)
{
    const char *const *pair = ctx;
    if (!pair || !fr_view_is(name, pair[0]))
        return false;
    *out_value = fr_view_of(pair[1]);
    return true;
}

static const char *
routed(const struct world *w, const char *host, const char *path, const char *method,
       const char *const *field)
{
    struct cluster_request request = {fr_view_of(host), fr_view_of(path), fr_view_of(method),
                                      one_field, field};
    const struct cluster_route *route = cluster_snapshot_route(w->snapshot, &request);
    return route ? route->config->name : "none";
}

static void
most_specific_first(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    /* In the worst order on purpose. */
    world_route(&w, "any", NULL, NULL);
    world_route(&w, "any-long-path", "", "/api/v1/");
    world_route(&w, "wild", "*.example.com", NULL);
    world_route(&w, "wilder", "*.eu.example.com", NULL);
    world_route(&w, "exact", "a.example.com", NULL);
    world_route(&w, "exact-path", "a.example.com", "/api/");
    world_route(&w, "exact-path-post", "a.example.com", "/api/")->method = fr_xstrdup("POST");
    struct config_route *header = world_route(&w, "exact-path-header", "a.example.com", "/api/");
    header->header_name = fr_xstrdup("x-beta");
    struct config_route *value = world_route(&w, "exact-path-value", "a.example.com", "/api/");
    value->header_name = fr_xstrdup("x-beta");
    value->header_value = fr_xstrdup("on");
    world_route(&w, "any-twice", NULL, NULL);
    world_build(&w);
    const char *on[] = {"x-beta", "on"}, *off[] = {"x-beta", "off"};
    assert_string_equal(routed(&w, "b.org", "/", "GET", NULL), "any");
    assert_string_equal(routed(&w, "b.org", "/api/v1/x", "GET", NULL), "any-long-path");
    assert_string_equal(routed(&w, "b.org", "/api/v1", "GET", NULL), "any");
    assert_string_equal(routed(&w, "x.example.com", "/api/v1/x", "GET", NULL), "wild");
    assert_string_equal(routed(&w, "x.y.example.com", "/", "GET", NULL), "wild");
    assert_string_equal(routed(&w, "x.eu.example.com", "/", "GET", NULL), "wilder");
    assert_string_equal(routed(&w, "example.com", "/", "GET", NULL), "any");
    assert_string_equal(routed(&w, ".example.com", "/", "GET", NULL), "any");
    assert_string_equal(routed(&w, "badexample.com", "/", "GET", NULL), "any");
    assert_string_equal(routed(&w, "a.example.com", "/x", "GET", NULL), "exact");
    assert_string_equal(routed(&w, "a.example.com", "/api", "GET", NULL), "exact");
    assert_string_equal(routed(&w, "a.example.com", "/api/", "GET", NULL), "exact-path");
    assert_string_equal(routed(&w, "a.example.com", "/api/", "POST", on), "exact-path-post");
    assert_string_equal(routed(&w, "a.example.com", "/api/", "post", NULL), "exact-path");
    assert_string_equal(routed(&w, "a.example.com", "/api/", "GET", off), "exact-path-header");
    assert_string_equal(routed(&w, "a.example.com", "/api/", "GET", on), "exact-path-value");
    world_fini(&w);
}

/* What precedence means, said as a list that is read from the front. */
static bool
fits_plainly(const struct config_route *route, const char *host, const char *path,
             const char *method)
{
    const char *want = route->host ? route->host : "", *prefix = route->path ? route->path : "";
    size_t host_len = strlen(host), len = strlen(want);
    if (want[0] == '*' && (host_len <= len - 1 || strcmp(host + host_len - len + 1, want + 1) != 0))
        return false;
    if (want[0] != '*' && len > 0 && strcmp(host, want) != 0)
        return false;
    return strncmp(path, prefix, strlen(prefix)) == 0 &&
           (!route->method || strcmp(route->method, method) == 0);
}

static size_t
rank_plainly(const struct config_route *route)
{
    size_t host = route->host ? strlen(route->host) : 0;
    bool wildcard = host > 0 && route->host[0] == '*';
    size_t path = route->path ? strlen(route->path) : 0;
    return (host == 0  ? 0
            : wildcard ? host
                       : 1000) *
               1000000 +
           path * 1000 + (route->method != NULL);
}

static const char *
routed_plainly(const struct world *w, const char *host, const char *path, const char *method)
{
    const struct config_route *best = NULL;
    for (size_t i = 0; i < w->count; i++)
        if (fits_plainly(w->routes[i], host, path, method) &&
            (!best || rank_plainly(w->routes[i]) > rank_plainly(best)))
            best = w->routes[i];
    return best ? best->name : "none";
}

static const char *const methods[] = {"GET", "POST"};

/* A text of few letters, so that many begin with one another. */
static void
some_text(struct fr_rand *rand, const char *first, const char *letters, char out[8])
{
    uint32_t len = fr_rand_below(rand, 5);
    size_t at = strlen(first);
    memcpy(out, first, at);
    while (len-- > 0)
        out[at++] = letters[fr_rand_below(rand, (uint32_t)strlen(letters))];
    out[at] = '\0';
}

static void
some_routes(struct world *w, struct fr_rand *rand, uint32_t count)
{
    static const char *const hosts[] = {"", "", "a", "b.a", "c.b.a", "*.a", "*.b.a", "*.c.b.a"};
    char name[16], path[8];
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(name, sizeof(name), "r%u", i);
        some_text(rand, "/", "/x\xc3", path);
        struct config_route *route =
            world_route(w, name, hosts[fr_rand_below(rand, 8)], fr_rand_below(rand, 4) ? path : "");
        if (fr_rand_below(rand, 3) == 0)
            route->method = fr_xstrdup(methods[fr_rand_below(rand, 2)]);
    }
}

static void
ask_some(const struct world *w, struct fr_rand *rand)
{
    static const char *const asked[] = {"", "a", "b.a", "c.b.a", "d.c.b.a", ".a", "x.a", "ab.a"};
    char path[8];
    for (int i = 0; i < 100; i++) {
        const char *host = asked[fr_rand_below(rand, 8)];
        const char *method = methods[fr_rand_below(rand, 2)];
        some_text(rand, "/", "/x\xc3", path);
        assert_string_equal(routed(w, host, path, method, NULL),
                            routed_plainly(w, host, path, method));
    }
}

static void
any_set_goes_by_precedence(void **state)
{
    (void)state;
    struct fr_rand rand;
    fr_rand_init(&rand, 20);
    for (int round = 0; round < 300; round++) {
        struct world w;
        world_init(&w);
        some_routes(&w, &rand, fr_rand_below(&rand, ROUTES_MAX));
        world_build(&w);
        ask_some(&w, &rand);
        world_fini(&w);
    }
}

/* What came about by changes is as if it had been built at once. */
static void
changes_go_by_precedence(void **state)
{
    (void)state;
    struct fr_rand rand;
    fr_rand_init(&rand, 21);
    for (int round = 0; round < 20; round++) {
        struct world w;
        struct config_route *all[ROUTES_MAX], *out = NULL;
        const struct config_route *bad = NULL;
        world_init(&w);
        some_routes(&w, &rand, ROUTES_MAX);
        memcpy(all, w.routes, sizeof(all));
        w.count = ROUTES_MAX / 2;
        world_build(&w);
        for (uint32_t next = ROUTES_MAX / 2; next < ROUTES_MAX; next++) {
            uint32_t at = fr_rand_below(&rand, (uint32_t)w.count);
            struct cluster_snapshot *before = w.snapshot;
            struct cluster_change change = {.generation = next,
                                            .dropped = &out,
                                            .dropped_count = fr_rand_below(&rand, 2),
                                            .added = &all[next],
                                            .added_count = 1};
            out = w.routes[at];
            if (change.dropped_count) {
                w.count--;
                memmove(&w.routes[at], &w.routes[at + 1], (w.count - at) * sizeof(w.routes[0]));
            }
            w.routes[w.count++] = all[next];
            assert_int_equal(cluster_snapshot_change(before, &change, &w.snapshot, &bad), FR_OK);
            cluster_snapshot_unref(&before);
            assert_int_equal(w.snapshot->routes.count, w.count);
            ask_some(&w, &rand);
        }
        w.count = ROUTES_MAX;
        memcpy(w.routes, all, sizeof(all));
        world_fini(&w);
    }
}

/* The cluster that a route of the snapshot names, as it shows it. */
static const struct cluster_view *
view_for(const struct cluster_snapshot *snapshot, const char *path)
{
    struct cluster_request request = {.path = fr_view_of(path), .method = FR_VIEW("GET")};
    const struct cluster_route *route = cluster_snapshot_route(snapshot, &request);
    return route ? cluster_snapshot_view(snapshot, route->cluster) : NULL;
}

static struct cluster_snapshot *
changed(const struct cluster_snapshot *before, const struct cluster_change *change)
{
    struct cluster_snapshot *out = NULL;
    const struct config_route *bad = NULL;
    assert_int_equal(cluster_snapshot_change(before, change, &out, &bad), FR_OK);
    return out;
}

/* The next snapshot shows its own clusters by the routes that stay, and each by itself holds what
 * it shows. */
static void
a_change_leaves_the_one_before(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_route(&w, "any", NULL, NULL);
    struct config_route *path = world_route(&w, "path", NULL, "/x");
    world_build(&w);
    struct config_route *late = world_route(&w, "late", NULL, "/x");
    struct cluster_view *fresh = fixture_view(&w.f);
    struct cluster_snapshot *next = changed(
        w.snapshot, &(struct cluster_change){.generation = 8, .views = &fresh, .view_count = 1});
    assert_ptr_equal(view_for(next, "/"), fresh);
    assert_ptr_equal(view_for(next, "/x"), fresh);
    assert_ptr_equal(view_for(w.snapshot, "/x"), w.view);
    assert_ptr_equal(next->routes.by_place.root, w.snapshot->routes.by_place.root);
    struct cluster_snapshot *after = changed(next, &(struct cluster_change){.generation = 9,
                                                                            .dropped = &path,
                                                                            .dropped_count = 1,
                                                                            .added = &late,
                                                                            .added_count = 1});
    assert_int_equal(after->routes.count, 2);
    assert_int_equal(after->generation, 9);
    cluster_snapshot_unref(&w.snapshot);
    w.snapshot = after;
    assert_string_equal(routed(&w, "a", "/xy", "GET", NULL), "late");
    cluster_snapshot_unref(&w.snapshot);
    w.snapshot = next;
    assert_string_equal(routed(&w, "a", "/xy", "GET", NULL), "path");
    cluster_view_unref(&fresh);
    world_fini(&w);
}

static struct cluster_view *
view_named(const char *name, uint32_t slot)
{
    struct config_cluster *config = config_cluster_new(fr_view_of(name));
    struct cluster_view *view = cluster_view_new(slot, config, NULL, 0);
    config_cluster_unref(&config);
    return view;
}

/* Routes name clusters, not slots. */
static void
routes_follow_their_clusters(void **state)
{
    (void)state;
    struct world w;
    const struct config_route *bad = NULL;
    struct cluster_snapshot *none = NULL;
    const uint32_t slots[] = {0, 5};
    world_init(&w);
    world_route(&w, "one", NULL, "/one");
    struct config_route *two = world_route(&w, "two", NULL, "/two");
    world_build(&w);
    struct cluster_view *moved = view_named("web", 5), *other = view_named("other", 0);
    struct cluster_view *both[] = {moved, other};
    /* It is at another place, and its slot goes to another cluster. */
    struct cluster_snapshot *next = changed(
        w.snapshot,
        &(struct cluster_change){.gone = slots, .gone_count = 1, .views = both, .view_count = 2});
    assert_ptr_equal(view_for(next, "/one"), moved);
    assert_ptr_equal(view_for(next, "/two"), moved);
    assert_ptr_equal(view_for(w.snapshot, "/one"), w.view);
    assert_int_equal(((const struct cluster_slot *)fr_pvec_at(&next->clusters, 5))->uses, 2);
    /* It cannot go while a route names it, but together with its routes. */
    assert_int_equal(cluster_snapshot_change(next,
                                             &(struct cluster_change){.gone = &slots[1],
                                                                      .gone_count = 1,
                                                                      .dropped = &two,
                                                                      .dropped_count = 1},
                                             &none, &bad),
                     FR_ERR_NOT_FOUND);
    assert_ptr_equal(bad, w.routes[0]);
    struct cluster_snapshot *empty =
        changed(next, &(struct cluster_change){
                          .gone = slots, .gone_count = 2, .dropped = w.routes, .dropped_count = 2});
    assert_null(view_for(empty, "/one"));
    assert_null(cluster_snapshot_view(empty, 0));
    assert_null(cluster_snapshot_view(empty, 5));
    /* Its name is free again. */
    assert_int_equal(
        cluster_snapshot_change(empty, &(struct cluster_change){.added = &two, .added_count = 1},
                                &none, &bad),
        FR_ERR_NOT_FOUND);
    cluster_snapshot_unref(&empty);
    cluster_snapshot_unref(&next);
    cluster_view_unref(&moved);
    cluster_view_unref(&other);
    world_fini(&w);
}

static void
nothing_matches(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_route(&w, "only", "a.example.com", "/api/");
    world_build(&w);
    assert_string_equal(routed(&w, "a.example.com", "/", "GET", NULL), "none");
    assert_string_equal(routed(&w, "", "/api/", "GET", NULL), "none");
    world_fini(&w);
}

static void
an_unknown_cluster_is_named(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_route(&w, "good", NULL, NULL);
    struct config_route *bad = world_route(&w, "bad", NULL, "/x");
    assert_true(fr_view_copy(FR_VIEW("nobody"), bad->cluster, sizeof(bad->cluster)));
    const struct config_route *named = NULL;
    assert_int_equal(cluster_snapshot_new(1, &w.view, 1, w.routes, w.count, 0, &w.snapshot, &named),
                     FR_ERR_NOT_FOUND);
    assert_ptr_equal(named, bad);
    assert_null(w.snapshot);
    assert_true(fr_view_copy(FR_VIEW("web"), bad->cluster, sizeof(bad->cluster)));
    assert_true(fr_view_copy(FR_VIEW("other"), bad->handover, sizeof(bad->handover)));
    assert_int_equal(cluster_snapshot_new(1, &w.view, 1, w.routes, w.count, 0, &w.snapshot, &named),
                     FR_ERR_NOT_FOUND);
    world_fini(&w);
}

static void
a_snapshot_keeps_what_it_shows(void **state)
{
    (void)state;
    struct world w;
    world_init(&w);
    world_route(&w, "only", NULL, NULL);
    world_build(&w);
    struct cluster_snapshot *second = cluster_snapshot_ref(w.snapshot);
    cluster_view_unref(&w.view); /* the makers let go; the snapshot holds on */
    for (uint32_t i = 0; i < w.f.count; i++)
        cluster_member_unref(&w.f.members[i]);
    cluster_snapshot_unref(&w.snapshot);
    assert_int_equal(second->generation, 7);
    assert_string_equal(cluster_view_at(view_for(second, "/"), 1)->member->id, "web-1");
    assert_int_equal(view_for(second, "/")->roster.weight_max, 100);
    cluster_snapshot_unref(&second);
    world_fini(&w); /* cluster_slots_free inside requires that all members are gone */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(most_specific_first),
        cmocka_unit_test(any_set_goes_by_precedence),
        cmocka_unit_test(changes_go_by_precedence),
        cmocka_unit_test(a_change_leaves_the_one_before),
        cmocka_unit_test(routes_follow_their_clusters),
        cmocka_unit_test(nothing_matches),
        cmocka_unit_test(an_unknown_cluster_is_named),
        cmocka_unit_test(a_snapshot_keeps_what_it_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
