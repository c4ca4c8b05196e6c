/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_snapshot.c - precedence of routes, matching, references.
 */
#include "cluster_fixture.h"

#define ROUTES_MAX 16

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
    assert_string_equal(second->routes[0].cluster->endpoints[1].member->id, "web-1");
    assert_int_equal(second->clusters[0]->weight_max, 100);
    cluster_snapshot_unref(&second);
    world_fini(&w); /* cluster_slots_free inside requires that all members are gone */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(most_specific_first),
        cmocka_unit_test(nothing_matches),
        cmocka_unit_test(an_unknown_cluster_is_named),
        cmocka_unit_test(a_snapshot_keeps_what_it_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
