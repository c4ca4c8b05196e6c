/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_proxy_adopt.c - snapshots made from the one before, as the edge makes them: clusters that
 * come, move, go and share members, in blocks that are shared and in arrays that grow.
 */
#include "proxy_fixture.h"

#define CLUSTERS 3

static void
serve(struct origin *origin, int fd)
{
    char head[4096], text[128];
    while (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) > 0 && strstr(head, "\r\n\r\n")) {
        (void)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n%s",
                       (const char *)origin->ctx);
        if (!sock_text(fd, text))
            return;
    }
}

struct town {
    struct fixture f;
    struct origin *a, *b;
    struct config_cluster *clusters[CLUSTERS];
    struct config_route *routes[CLUSTERS]; /* /0, /1, /2 */
    struct cluster_snapshot *published;
};

static void
town_start(struct town *town)
{
    static char a[] = "a", b[] = "b";
    memset(town, 0, sizeof(*town));
    fixture_init(&town->f);
    town->a = origin_new(serve, a);
    town->b = origin_new(serve, b);
    (void)fixture_member(&town->f, town->a);
    (void)fixture_member(&town->f, town->b);
    for (int i = 0; i < CLUSTERS; i++) {
        char name[8], path[8];
        (void)snprintf(name, sizeof(name), "town-%d", i);
        (void)snprintf(path, sizeof(path), "/%d", i);
        town->clusters[i] = config_cluster_new(fr_view_of(name));
        town->clusters[i]->slow_start_us = 0;
        town->routes[i] = config_route_new();
        struct config_route *route = town->routes[i];
        route->path = fr_xstrdup(path);
        assert_true(fr_view_copy(fr_view_of(name), route->name, sizeof(route->name)));
        assert_true(fr_view_copy(fr_view_of(name), route->cluster, sizeof(route->cluster)));
    }
    fixture_start(&town->f); /* slot 0: all members, for any path */
}

static void
town_fini(struct town *town)
{
    cluster_snapshot_unref(&town->published);
    for (int i = 0; i < CLUSTERS; i++) {
        config_route_unref(&town->routes[i]);
        config_cluster_unref(&town->clusters[i]);
    }
    fixture_fini(&town->f);
    origin_free(town->a);
    origin_free(town->b);
}

/* A cluster at a slot, with the members whose bit is set. */
static struct cluster_view *
view(struct town *town, int cluster, uint32_t slot, unsigned members)
{
    struct cluster_endpoint endpoints[2];
    uint32_t count = 0;
    for (uint32_t i = 0; i < 2; i++)
        if (members & (1u << i))
            endpoints[count++] = (struct cluster_endpoint){town->f.members[i], 100, true, 0, 0};
    return cluster_view_new(slot, town->clusters[cluster], endpoints, count);
}

static void
publish(struct town *town, struct cluster_change change)
{
    struct cluster_snapshot *next = NULL;
    const struct config_route *bad = NULL;
    change.generation = ++town->f.generation;
    assert_int_equal(cluster_snapshot_change(town->published, &change, &next, &bad), FR_OK);
    proxy_publish(town->f.proxy, next);
    cluster_snapshot_unref(&town->published);
    town->published = next;
    fixture_until(proxy_generation(town->f.proxy) >= town->f.generation);
}

/* What answers there: "a" or "b", or NULL with that status. */
static void
check(struct town *town, const char *path, const char *body, int status)
{
    char request[64];
    struct answer answer;
    (void)snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    ask(&town->f, request, &answer);
    assert_int_equal(answer.status, status);
    if (body)
        assert_string_equal(answer.body, body);
    answer_free(&answer);
}

static void
clusters_come_move_and_go(void **state)
{
    struct town town;
    (void)state;
    town_start(&town);
    check(&town, "/anything", NULL, 200);

    /* From nothing, in the first block and far behind it. */
    struct cluster_view *near_a = view(&town, 0, 1, 1), *far_b = view(&town, 1, 40, 2);
    struct cluster_view *both[] = {near_a, far_b};
    publish(&town, (struct cluster_change){
                       .views = both, .view_count = 2, .added = town.routes, .added_count = 2});
    check(&town, "/0", "a", 200);
    check(&town, "/1", "b", 200);
    check(&town, "/anything", NULL, 404); /* the fixture's own is there no more */

    /* One changes; the other's block is shared. */
    struct cluster_view *near_b = view(&town, 0, 1, 2);
    publish(&town, (struct cluster_change){.views = &near_b, .view_count = 1});
    check(&town, "/0", "b", 200);
    check(&town, "/1", "b", 200);

    /* Nobody shows the first member any more: its connections are not kept. */
    struct cluster_member_stats sum;
    fixture_until((cluster_member_sum(town.f.members[0], 0, &sum), sum.connections == 0));

    /* A higher array, and the slot of one that goes is another's in the same change. */
    struct cluster_view *third = view(&town, 2, 1, 1), *moved = view(&town, 0, 2000, 3);
    struct cluster_view *two[] = {third, moved};
    const uint32_t gone[] = {1};
    publish(&town, (struct cluster_change){.gone = gone,
                                           .gone_count = 1,
                                           .views = two,
                                           .view_count = 2,
                                           .added = &town.routes[2],
                                           .added_count = 1});
    check(&town, "/2", "a", 200);
    check(&town, "/0", NULL, 200);
    check(&town, "/1", "b", 200);

    /* What two showed and one shows still serves. */
    const uint32_t far[] = {2000, 40};
    struct config_route *dropped[] = {town.routes[0], town.routes[1]};
    publish(&town, (struct cluster_change){
                       .gone = far, .gone_count = 2, .dropped = dropped, .dropped_count = 2});
    check(&town, "/2", "a", 200);
    check(&town, "/0", NULL, 404);
    check(&town, "/1", NULL, 404);
    fixture_until((cluster_member_sum(town.f.members[1], 0, &sum), sum.connections == 0));

    cluster_view_unref(&near_a);
    cluster_view_unref(&far_b);
    cluster_view_unref(&near_b);
    cluster_view_unref(&third);
    cluster_view_unref(&moved);
    town_fini(&town);
}

/* One cluster's members come, change places and go, one block of its roster shared all along. */
static void
members_come_move_and_go(void **state)
{
    struct town town;
    struct cluster_roster roster;
    struct cluster_member_stats sum;
    (void)state;
    town_start(&town);
    cluster_roster_init(&roster);
    struct cluster_endpoint a = {town.f.members[0], 100, true, 0, 0, 0};
    struct cluster_endpoint b = {town.f.members[1], 100, true, 0, 0, 0};
    const struct step {
        const struct cluster_endpoint *put; /* NULL: the one there is removed */
        uint32_t index;
        const char *answers;
    } steps[] = {
        {&a, 0, "a"}, {&b, 1, NULL}, {NULL, 0, "b"}, {&a, 1, NULL}, {NULL, 1, "b"}, {&a, 0, "a"},
    };
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        if (steps[i].put)
            cluster_roster_put(&roster, steps[i].index, steps[i].put);
        else
            cluster_roster_remove(&roster, steps[i].index);
        struct cluster_view *view = cluster_view_of(1, town.clusters[0], &roster);
        publish(&town, (struct cluster_change){.views = &view,
                                               .view_count = 1,
                                               .added = town.routes,
                                               .added_count = i == 0 ? 1 : 0});
        cluster_view_unref(&view);
        check(&town, "/0", steps[i].answers, 200);
        check(&town, "/0", steps[i].answers, 200);
        if (steps[i].answers) { /* nobody shows the other: its connections are not kept */
            struct cluster_member *other = town.f.members[steps[i].answers[0] == 'a'];
            fixture_until((cluster_member_sum(other, 0, &sum), sum.connections == 0));
        }
    }
    cluster_roster_fini(&roster);
    town_fini(&town);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clusters_come_move_and_go),
        cmocka_unit_test(members_come_move_and_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
