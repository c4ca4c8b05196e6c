/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_edge_reconfigure.c - every operation: what "done" means, what is refused and with which
 * words, and that what is refused changes nothing.
 */
#include "edge_bed.h"

static size_t
size_of(const struct bed *bed, const char *cluster)
{
    const struct edge_cluster *found = edge_cluster_find(bed->edge, fr_view_of(cluster));
    return found ? found->member_count : 0;
}

static uint64_t
available(const struct bed *bed, const char *name)
{
    struct allocator_pool pool;
    for (const void *at = NULL; allocator_pool_next(bed->edge->allocator, &at, &pool);)
        if (strcmp(pool.name, name) == 0)
            return pool.available;
    return UINT64_MAX;
}

/* ---- allocate and deallocate ---------------------------------------------------------------- */

static void
allocate_and_give_back(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    struct said_result two = *bed_ask(bed, "api", "<allocate count='2'/>");
    assert_int_equal(two.status, WIRE_DONE);
    assert_int_equal(two.server_count, 2);
    assert_int_equal(size_of(bed, "api"), 2); /* done is: in the cluster, for every worker */
    assert_true(proxy_generation(bed->edge->proxy) >= bed->edge->generation);
    assert_int_equal(available(bed, "rack"), 2);
    assert_int_equal(bed->edge->allocations, 2);
    /* Nobody is loaded: the newest goes. */
    const struct said_result *least = bed_ask(bed, "api", "<deallocate/>");
    assert_int_equal(least->status, WIRE_DONE);
    assert_int_equal(least->server_count, 1);
    assert_string_equal(least->servers[0], two.servers[1]);
    char named[128];
    (void)snprintf(named, sizeof(named), "<deallocate server='%s'/>", two.servers[0]);
    bed_done(bed, "api", named);
    assert_int_equal(size_of(bed, "api"), 0);
    assert_int_equal(available(bed, "rack"), 4);
    assert_int_equal(bed->edge->deallocations, 2);
    bed_refused(bed, "api", named, "not-found", "no such server");
    bed_refused(bed, "api", "<deallocate/>", "not-found", "came from a pool");
    bed_close(bed);
}

static void
a_given_server_is_allocated(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_refused(bed, "api", "<allocate count='2' server='127.0.0.1:13'/>", "range", "one address");
    bed_refused(bed, "api", "<allocate count='1' server='127.0.0.1:99'/>", "not-found", "rack");
    struct said_result one = *bed_ask(bed, "api", "<allocate count='1' server='127.0.0.1:13'/>");
    assert_int_equal(one.status, WIRE_DONE);
    assert_string_equal(bed_member(bed, "api", one.servers[0])->shared->address, "127.0.0.1:13");
    bed_refused(bed, "api", "<allocate count='1' server='127.0.0.1:13'/>", "not-found", "rack");
    assert_int_equal(size_of(bed, "api"), 1);
    bed_close(bed);
}

#define MORE_THAN_THE_POOL                                                                         \
    "routes: [{ cluster: api }]\n"                                                                 \
    "clusters:\n"                                                                                  \
    "  api: { health: { type: none }, scale: { from: rack, min: 1, max: 9 } }\n"                   \
    "  web: { members: [\"127.0.0.1:9\"] }\n"                                                      \
    "pools:\n"                                                                                     \
    "  rack: { provider: static, servers: [\"127.0.0.1:11\", \"127.0.0.1:12\"] }\n"

static void
allocate_is_all_or_nothing(void **state)
{
    struct bed *bed = bed_open(MORE_THAN_THE_POOL);
    (void)state;
    bed_until(bed, size_of(bed, "api") == 1); /* its minimum, by itself */
    bed_refused(bed, "api", "<allocate count='2'/>", "pool-empty", "asked for 2, 1 to be had");
    assert_int_equal(available(bed, "rack"), 1);
    bed_refused(bed, "api", "<allocate count='9'/>", "at-max", "maximum of 9");
    bed_refused(bed, "api", "<allocate count='1001'/>", "range", "1 to 1000");
    bed_refused(bed, "web", "<allocate/>", "state", "no pool");
    bed_refused(bed, "nowhere", "<allocate/>", "not-found", "unknown cluster: nowhere");
    assert_int_equal(size_of(bed, "api"), 1);
    bed_refused(bed, "api", "<deallocate/>", "at-min", "minimum of 1");
    assert_int_equal(size_of(bed, "api"), 1);
    bed_refused(bed, "web", "<deallocate server='web-127.0.0.1-9'/>", "state", "not allocated");
    assert_int_equal(size_of(bed, "web"), 1);
    bed_done(bed, "api", "<allocate count='1'/>");
    bed_refused(bed, "api", "<allocate count='1'/>", "pool-empty", "0 to be had");
    bed_close(bed);
}

/* Other edges may use it: it is stopped only after the manager said that they let go. */
static void
a_release_is_waited_for(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    struct said_result one = *bed_ask(bed, "api", "<allocate/>");
    char release[128];
    (void)snprintf(release, sizeof(release), "<release server='%s'/>", one.servers[0]);
    bed_done(bed, "api", "<levels upper='0.8' lower='0.2' followers='1'/>");
    uint64_t asked = bed_request(bed, "api", "<deallocate/>");
    bed_until(bed, size_of(bed, "api") == 0 && fr_list_empty(&bed->edge->leaving));
    bed_done(bed, NULL, "<release server='nobody'/>"); /* of another one: harmless */
    assert_null(bed_result(bed, asked));
    assert_int_equal(available(bed, "rack"), 3);
    bed_done(bed, NULL, release);
    bed_until(bed, bed_result(bed, asked) != NULL);
    assert_int_equal(bed_result(bed, asked)->status, WIRE_DONE);
    assert_int_equal(available(bed, "rack"), 4);
    bed_close(bed);
}

/* ---- weight, move, join, leave -------------------------------------------------------------- */

static uint32_t
weight_in_view(const struct bed *bed, const char *cluster, const char *id)
{
    const struct cluster_view *view = edge_cluster_find(bed->edge, fr_view_of(cluster))->view;
    for (uint32_t i = 0; i < view->roster.count; i++)
        if (strcmp(cluster_view_at(view, i)->member->id, id) == 0)
            return cluster_view_at(view, i)->weight;
    fail_msg("%s is not in the view of %s", id, cluster);
    return 0;
}

static void
weight_of_every_kind_of_member(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    char weigh[128];
    struct said_result one = *bed_ask(bed, "api", "<allocate/>");
    bed_done(bed, "far", "<join server='far-1' address='127.0.0.1:15'/>");
    bed_done(bed, "web", "<weight server='web-1' weight='0'/>");
    bed_done(bed, "far", "<weight server='far-1' weight='65535'/>");
    (void)snprintf(weigh, sizeof(weigh), "<weight server='%s' weight='7'/>", one.servers[0]);
    bed_done(bed, "api", weigh);
    assert_int_equal(weight_in_view(bed, "web", "web-1"), 0);
    assert_int_equal(weight_in_view(bed, "web", "web-2"), 50);
    assert_int_equal(weight_in_view(bed, "far", "far-1"), 65535);
    assert_int_equal(weight_in_view(bed, "api", one.servers[0]), 7);
    /* What is normal did not change by it. */
    assert_int_equal(bed_member(bed, "web", "web-1")->weight_normal, 100);
    assert_int_equal(bed_member(bed, "api", one.servers[0])->weight_normal, 100);
    bed_refused(bed, "web", "<weight server='far-1' weight='1'/>", "not-found", "far-1");
    bed_refused(bed, "no", "<weight server='web-1' weight='1'/>", "not-found", "unknown cluster");
    bed_close(bed);
}

static void
move_and_its_refusals(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    struct said_result one = *bed_ask(bed, "api", "<allocate/>");
    char move[160], back[160];
    (void)snprintf(move, sizeof(move), "<move server='%s' to='web'/>", one.servers[0]);
    (void)snprintf(back, sizeof(back), "<move server='%s' to='nowhere'/>", one.servers[0]);
    bed_refused(bed, "api", back, "not-found", "unknown cluster: nowhere");
    bed_refused(bed, "api", "<move server='web-9' to='web'/>", "not-found", "web-9");
    bed_refused(bed, "web", "<move server='web-1' to='api'/>", "state", "not allocated");
    assert_int_equal(size_of(bed, "api"), 1);
    assert_int_equal(size_of(bed, "web"), 2);
    bed_done(bed, "api", move);
    assert_int_equal(size_of(bed, "api"), 0);
    assert_non_null(bed_member(bed, "web", one.servers[0]));
    bed_done(bed, "api", move); /* a manager that did not hear the answer */
    assert_int_equal(size_of(bed, "web"), 3);
    assert_int_equal(available(bed, "rack"), 3);
    bed_close(bed);
}

#define TWO_THAT_SCALE                                                                             \
    "routes: [{ cluster: api }]\n"                                                                 \
    "clusters:\n"                                                                                  \
    "  api: { health: { type: none }, scale: { from: rack, min: 1, max: 2 } }\n"                   \
    "  web: { health: { type: none }, scale: { from: rack, min: 1, max: 1 } }\n"                   \
    "pools:\n"                                                                                     \
    "  rack: { provider: static, servers: [\"127.0.0.1:11\", \"127.0.0.1:12\",\n"                  \
    "                                      \"127.0.0.1:13\"] }\n"

static size_t
ready_in_ledger(const struct bed *bed)
{
    const struct cluster_ledger *ledger = allocator_ledger(bed->edge->allocator);
    size_t count = 0;
    for (size_t i = 0; i < ledger->server_count; i++)
        count += ledger->servers[i].state == CLUSTER_SERVER_READY;
    return count;
}

static void
move_keeps_minimum_and_maximum(void **state)
{
    struct bed *bed = bed_open(TWO_THAT_SCALE);
    (void)state;
    bed_until(bed, size_of(bed, "api") == 1 && size_of(bed, "web") == 1);
    /* A first member joins before the ledger says ready, and is somebody's until then. */
    bed_until(bed, ready_in_ledger(bed) == 2);
    char move[160];
    const struct edge_cluster *api = edge_cluster_find(bed->edge, FR_VIEW("api"));
    const struct edge_cluster *web = edge_cluster_find(bed->edge, FR_VIEW("web"));
    const struct edge_member *of_api = FR_CONTAINER(api->members.next, struct edge_member, link);
    const struct edge_member *of_web = FR_CONTAINER(web->members.next, struct edge_member, link);
    (void)snprintf(move, sizeof(move), "<move server='%s' to='web'/>", of_api->shared->id);
    /* A first member joins before the ledger has it as ready, and is spoken for until then. */
    bed_until(bed, strcmp(bed_ask(bed, "api", move)->code, "state") != 0);
    bed_refused(bed, "api", move, "at-max", "its maximum");
    (void)snprintf(move, sizeof(move), "<move server='%s' to='api'/>", of_web->shared->id);
    bed_until(bed, strcmp(bed_ask(bed, "web", move)->code, "state") != 0);
    bed_refused(bed, "web", move, "at-min", "minimum of 1");
    assert_int_equal(api->member_count, 1);
    assert_int_equal(web->member_count, 1);
    bed_close(bed);
}

static void
join_and_leave(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_refused(bed, "far", "<join server='far-1' address='not an address'/>", "syntax",
                "not an address");
    bed_refused(bed, "no", "<join server='far-1' address='127.0.0.1:15'/>", "not-found", "no");
    assert_int_equal(size_of(bed, "far"), 1);
    bed_done(bed, "far", "<leave server='far-1'/>"); /* never here: as good as gone */
    bed_done(bed, "far", "<join server='far-1' address='127.0.0.1:15' weight='30' pool='rack'/>");
    const struct edge_member *member = bed_member(bed, "far", "far-1");
    assert_int_equal(member->weight, 30);
    assert_int_equal(member->origin, EDGE_FROM_MANAGER);
    assert_string_equal(member->shared->pool, "rack");
    bed_done(bed, "far", "<join server='far-1' address='127.0.0.1:15' weight='30' pool='rack'/>");
    bed_refused(bed, "far", "<join server='far-1' address='127.0.0.1:16'/>", "exists", "far-1");
    bed_done(bed, "far", "<join server='far-2' address='[::1]:15'/>"); /* no weight: 100 */
    assert_int_equal(size_of(bed, "far"), 3);
    assert_int_equal(weight_in_view(bed, "far", "far-2"), 100);
    bed_done(bed, "far", "<leave server='far-1'/>");
    assert_null(bed_member(bed, "far", "far-1"));
    assert_true(fr_list_empty(&bed->edge->leaving)); /* done is: nothing is on it any more */
    bed_done(bed, "far", "<leave server='far-1'/>");
    struct said_result one = *bed_ask(bed, "api", "<allocate/>");
    char leave[128];
    (void)snprintf(leave, sizeof(leave), "<leave server='%s'/>", one.servers[0]);
    bed_refused(bed, "api", leave, "state", "deallocate it");
    assert_int_equal(size_of(bed, "api"), 1);
    bed_close(bed);
}

/* ---- levels and relief ---------------------------------------------------------------------- */

static void
levels_replace_what_was(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    const struct edge_cluster *api = edge_cluster_find(bed->edge, FR_VIEW("api"));
    const struct edge_cluster *web = edge_cluster_find(bed->edge, FR_VIEW("web"));
    assert_float_equal(api->upper, 0.80, 1e-9); /* the file's */
    assert_true(web->upper < 0);                /* it does not scale */
    bed_done(bed, "web", "<levels upper='0.7' goal-us='250000'/>");
    assert_int_equal(web->goal_us, 250000);
    assert_int_equal(web->view->goal_us, 250000); /* what the workers count by */
    bed_done(bed, "web", "<levels upper='0.7'/>");
    assert_int_equal(web->view->goal_us, 0);
    bed_done(bed, "api", "<levels upper='0.5' lower='0.1' followers='2'/>");
    assert_float_equal(api->upper, 0.5, 1e-9);
    assert_float_equal(api->lower, 0.1, 1e-9);
    assert_int_equal(api->followers, 2);
    bed_done(bed, "api", "<levels/>"); /* none any more, and nobody follows */
    assert_false(api->upper >= 0);
    assert_false(api->lower >= 0);
    assert_int_equal(api->followers, 0);
    bed_refused(bed, "no", "<levels upper='0.5'/>", "not-found", "unknown cluster");
    bed_close(bed);
}

static void
relief_in_steps(void **state)
{
    struct bed *bed = bed_open("edge: { relief: { steps: [stale, shed] } }\n" BED_SETTINGS);
    (void)state;
    bed_refused(bed, NULL, "<relieve step='3'/>", "range", "no such relief step"); /* one over */
    assert_int_equal(bed->edge->relief_step, 0);
    bed_done(bed, NULL, "<relieve step='2'/>");
    assert_int_equal(bed->edge->relief_step, 2);
    bed_until(bed, bed->report.self.relief == 2);
    bed_done(bed, NULL, "<relieve step='2'/>");
    bed_done(bed, NULL, "<relieve step='0'/>");
    assert_int_equal(bed->edge->relief_step, 0);
    bed_done(bed, NULL, "<relieve step='1'/>");
    bed_hang_up(bed); /* whoever would take it back is gone */
    bed_until(bed, bed->edge->relief_step == 0);
    bed_close(bed);
}

/* ---- routes, clusters, pools at run time ---------------------------------------------------- */

static const struct config_route *
route_named(const struct bed *bed, const char *name)
{
    const struct config_route *found = NULL;
    for (size_t i = 0; i < bed->edge->route_count; i++)
        if (strcmp(bed->edge->routes[i]->name, name) == 0) {
            assert_null(found); /* never twice */
            found = bed->edge->routes[i];
        }
    return found;
}

static void
routes_put_and_removed(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_refused(bed, NULL, "<route name='new' cluster='no'><match path='/n/'/></route>",
                "not-found", "route new names an unknown cluster: no");
    bed_refused(bed, NULL, "<route name='new' cluster='web' handover='no'/>", "not-found",
                "hands over to an unknown cluster: no");
    bed_refused(bed, NULL, "<route name='new' clutser='web'/>", "config", "clutser");
    bed_refused(bed, NULL, "<route name='new' cluster='web'><match path='n'/></route>", "config",
                "path");
    assert_int_equal(bed->edge->route_count, 3);
    bed_done(bed, NULL, "<route name='new' cluster='api'><match path='/n/'/></route>");
    bed_done(bed, NULL, "<route name='new' cluster='web'><match path='/n/'/></route>");
    assert_int_equal(bed->edge->route_count, 4);
    assert_string_equal(route_named(bed, "new")->cluster, "web");
    bed_done(bed, NULL, "<remove-route name='new'/>");
    bed_refused(bed, NULL, "<remove-route name='new'/>", "not-found", "");
    /* One of the file: replaced, removed altogether, and put back. */
    bed_done(bed, NULL, "<route name='api' cluster='web'><match path='/api/'/></route>");
    assert_string_equal(route_named(bed, "api")->cluster, "web");
    bed_done(bed, NULL, "<remove-route name='api'/>");
    assert_null(route_named(bed, "api"));
    bed_refused(bed, NULL, "<remove-route name='api'/>", "not-found", "");
    bed_done(bed, NULL, "<route name='api' cluster='api'><match path='/api/'/></route>");
    assert_string_equal(route_named(bed, "api")->cluster, "api");
    assert_int_equal(bed->edge->route_count, 3);
    bed_close(bed);
}

#define PUT_EXTRA(address)                                                                         \
    "<cluster name='extra'><members><item>" address "</item></members></cluster>"

static void
clusters_put_and_removed(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_refused(bed, NULL, "<cluster name='extra'><scale from='nowhere'/></cluster>", "not-found",
                "");
    bed_refused(bed, NULL, "<cluster name='extra' balance='fair'/>", "config", "fair");
    assert_null(edge_cluster_find(bed->edge, FR_VIEW("extra")));
    bed_done(bed, NULL, PUT_EXTRA("127.0.0.1:20"));
    assert_non_null(bed_member(bed, "extra", "extra-127.0.0.1-20"));
    bed_done(bed, NULL, PUT_EXTRA("127.0.0.1:21")); /* in its place */
    assert_null(bed_member(bed, "extra", "extra-127.0.0.1-20"));
    assert_non_null(bed_member(bed, "extra", "extra-127.0.0.1-21"));
    bed_done(bed, NULL, "<route name='x' cluster='extra'><match path='/x/'/></route>");
    bed_refused(bed, NULL, "<remove-cluster name='extra'/>", "state", "route x still names");
    bed_done(bed, NULL, "<remove-route name='x'/>");
    bed_done(bed, NULL, "<remove-cluster name='extra'/>");
    assert_null(edge_cluster_find(bed->edge, FR_VIEW("extra")));
    bed_refused(bed, NULL, "<remove-cluster name='extra'/>", "not-found", "");
    bed_refused(bed, NULL, "<remove-cluster name='api'/>", "state", "route api still names");
    struct said_result one = *bed_ask(bed, "api", "<allocate/>");
    assert_int_equal(one.status, WIRE_DONE);
    bed_done(bed, NULL, "<remove-route name='api'/>");
    bed_refused(bed, NULL, "<remove-cluster name='api'/>", "state", ""); /* a server is in it */
    bed_done(bed, "api", "<deallocate/>");
    bed_done(bed, NULL, "<remove-cluster name='api'/>");
    assert_null(edge_cluster_find(bed->edge, FR_VIEW("api")));
    bed_close(bed);
}

static void
pools_put_and_removed(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_refused(bed, NULL, "<pool name='spare' provider='cloud'/>", "config", "cloud");
    assert_int_equal(available(bed, "spare"), UINT64_MAX);
    bed_done(bed, NULL,
             "<pool name='spare' provider='static'><servers><item>127.0.0.1:30</item></servers>"
             "</pool>");
    assert_int_equal(available(bed, "spare"), 1);
    bed_done(bed, NULL,
             "<cluster name='extra'><health type='none'/>"
             "<scale from='spare' min='0'/></cluster>");
    bed_refused(bed, NULL, "<remove-pool name='spare'/>", "state", ""); /* extra scales from it */
    bed_done(bed, "extra", "<allocate/>");
    assert_int_equal(available(bed, "spare"), 0);
    bed_done(bed, "extra", "<deallocate/>");
    bed_done(bed, NULL, "<remove-cluster name='extra'/>");
    bed_done(bed, NULL, "<remove-pool name='spare'/>");
    bed_refused(bed, NULL, "<remove-pool name='spare'/>", "not-found", "");
    assert_int_equal(available(bed, "rack"), 4);
    bed_close(bed);
}

/* ---- who may say it, and when --------------------------------------------------------------- */

static void
strange_and_stale_requests(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_refused(bed, "web", "<transmogrify/>", "unsupported", "no such operation");
    bed_say(bed, "<reconfigure id='2:1' cluster='web'><weight server='web-1' weight='1'/>"
                 "</reconfigure>");
    bed_until(bed, bed_results_of(bed, 2, 1) == 1);
    assert_string_equal(bed->results[bed->result_count - 1].code, "state");
    assert_non_null(strstr(bed->results[bed->result_count - 1].reason, "older epoch"));
    assert_int_equal(bed_member(bed, "web", "web-1")->weight, 100);
    bed_close(bed);
}

static void
an_older_manager_is_refused(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_meet_as(bed, "manager", 2);
    bed_until(bed, bed->error_code[0] != '\0');
    assert_string_equal(bed->error_code, "stale-epoch");
    bed_meet_as(bed, "edge", 9);
    bed_until(bed, bed->error_code[0] != '\0');
    assert_string_equal(bed->error_code, "role");
    assert_int_equal(bed->edge->manager_epoch, 3); /* what was no manager's does not count */
    bed_meet(bed, 3);
    assert_int_equal(bed->obeyed, 3);
    bed_meet(bed, 4);
    bed_done(bed, "web", "<weight server='web-1' weight='1'/>");
    bed_close(bed);
}

static void
an_edge_takes_requests_only(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_say(bed, "<report seq='1'/>");
    bed_until(bed, bed->error_code[0] != '\0');
    assert_string_equal(bed->error_code, "unexpected");
    bed_close(bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocate_and_give_back),
        cmocka_unit_test(a_given_server_is_allocated),
        cmocka_unit_test(allocate_is_all_or_nothing),
        cmocka_unit_test(a_release_is_waited_for),
        cmocka_unit_test(weight_of_every_kind_of_member),
        cmocka_unit_test(move_and_its_refusals),
        cmocka_unit_test(move_keeps_minimum_and_maximum),
        cmocka_unit_test(join_and_leave),
        cmocka_unit_test(levels_replace_what_was),
        cmocka_unit_test(relief_in_steps),
        cmocka_unit_test(routes_put_and_removed),
        cmocka_unit_test(clusters_put_and_removed),
        cmocka_unit_test(pools_put_and_removed),
        cmocka_unit_test(strange_and_stale_requests),
        cmocka_unit_test(an_older_manager_is_refused),
        cmocka_unit_test(an_edge_takes_requests_only),
    };
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_HUMAN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
