/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_allocator_request.c - allocate, deallocate, move: what is done, what is refused, and why.
 */
#include "allocator_fixture.h"

static void
allocates_and_gives_back(void **state)
{
    (void)state;
    struct fixture fix;
    struct cluster_ledger ledger;
    struct fixture_census census;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 2);
    assert_int_equal(fix.err, FR_OK);
    assert_int_equal(fix.id_count, 2);
    assert_string_equal(fix.ids[0], "local-1");
    assert_true(fixture_has_seen(&fix, "join local-1"));
    assert_true(fixture_has_seen(&fix, "join local-2"));
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.server_count, 2);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(ledger.servers[i].state, CLUSTER_SERVER_READY);
        assert_int_equal(kill((pid_t)ledger.servers[i].pid, 0), 0);
        assert_true(ledger.servers[i].started > 0);
        assert_false(ledger.servers[i].edited);
    }
    cluster_ledger_fini(&ledger);
    fixture_deallocate(&fix, "local-1");
    assert_int_equal(fix.err, FR_OK);
    assert_string_equal(fix.ids[0], "local-1");
    assert_true(fixture_has_seen(&fix, "leave local-1"));
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.server_count, 1);
    assert_string_equal(ledger.servers[0].id, "local-2");
    cluster_ledger_fini(&ledger);
    fixture_census_take(&fix, &census);
    assert_int_equal(census.leaders, 1);
    fixture_allocate(&fix, "api", 1); /* a number is not used again */
    assert_string_equal(fix.ids[0], "local-3");
    fixture_close(&fix);
}

static void
refusals_say_why(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fix.web->scale.min = 1;
    fix.web->members = fr_xalloc(sizeof(struct config_member));
    fix.web->member_count = 1;
    (void)snprintf(fix.web->members[0].id, CONFIG_NAME_BYTES, "web-file");
    fix.web->members[0].address = fr_xstrdup("127.0.0.1:7");
    fix.web->members[0].weight = 100;
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:7"), &fix.web->members[0].addr), FR_OK);
    fixture_open(&fix);
    fixture_allocate(&fix, "nowhere", 1);
    assert_int_equal(fix.err, FR_ERR_NOT_FOUND);
    assert_string_equal(fix.why, "there is no cluster \"nowhere\"");
    fixture_allocate(&fix, "api", 5);
    assert_int_equal(fix.err, FR_ERR_AT_MAX);
    assert_string_equal(fix.why,
                        "members of cluster api: 0, and 5 more would exceed its maximum of 4");
    fixture_allocate(&fix, "api", 0);
    assert_int_equal(fix.err, FR_ERR_RANGE);
    fixture_allocate(&fix, "web", 3); /* the list has two */
    assert_int_equal(fix.err, FR_ERR_POOL_EMPTY);
    assert_int_equal(fix.allocator->server_count, 0);
    fixture_allocate(&fix, "web", 2);
    assert_int_equal(fix.err, FR_OK);
    fixture_allocate(&fix, "web", 1);
    assert_int_equal(fix.err, FR_ERR_POOL_EMPTY);
    fixture_deallocate(&fix, "web-file");
    assert_int_equal(fix.err, FR_ERR_STATE);
    assert_string_equal(fix.why, "web-file is not allocated from a pool");
    fixture_deallocate(&fix, "nobody");
    assert_int_equal(fix.err, FR_ERR_NOT_FOUND);
    fix.web->scale.min = 3;
    struct allocator_server server;
    assert_true(fixture_server_at(&fix, 0, &server));
    fixture_deallocate(&fix, server.id);
    assert_int_equal(fix.err, FR_ERR_AT_MIN);
    fixture_close(&fix);
}

static void
wanted_address_is_given(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_server server;
    fixture_make(&fix);
    fixture_open(&fix);
    allocator_allocate(fix.allocator, FR_VIEW("web"), 1, FR_VIEW("127.0.0.1:10"), fixture_done,
                       &fix);
    fixture_answer(&fix);
    assert_int_equal(fix.err, FR_OK);
    assert_true(fixture_server(&fix, fix.ids[0], &server));
    assert_string_equal(server.address, "127.0.0.1:10");
    assert_int_equal(server.weight, 70); /* as the list says */
    unsigned before = fix.answers;
    allocator_allocate(fix.allocator, FR_VIEW("web"), 1, FR_VIEW("127.0.0.1:10"), fixture_done,
                       &fix);
    assert_int_equal(fix.answers, before + 1);
    assert_int_equal(fix.err, FR_ERR_NOT_FOUND);
    fixture_close(&fix);
}

/* web allocates from the list of two, then from processes. */
static void
fixture_two_pools(struct fixture *fix)
{
    fixture_make(fix);
    (void)snprintf(fix->web->scale.from[1], CONFIG_NAME_BYTES, "local");
    fix->local->cost = 3;
    fixture_open(fix);
}

static void
pools_are_asked_in_their_order(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_server server;
    struct allocator_pool pool;
    fixture_two_pools(&fix);
    fixture_allocate(&fix, "web", 3); /* filled from both */
    assert_int_equal(fix.err, FR_OK);
    assert_string_equal(fix.ids[0], "rack-1");
    assert_string_equal(fix.ids[1], "rack-2");
    assert_string_equal(fix.ids[2], "local-1");
    assert_true(fixture_server(&fix, "local-1", &server));
    assert_string_equal(server.pool, "local");
    fixture_deallocate(&fix, "rack-1"); /* back to where it came from */
    for (const void *at = NULL; allocator_pool_next(fix.allocator, &at, &pool);) {
        bool is_rack = strcmp(pool.name, "rack") == 0;
        assert_int_equal(pool.allocated, 1);
        assert_int_equal(pool.cost, is_rack ? 0 : 3);
        if (is_rack)
            assert_int_equal(pool.available, 1);
    }
    fixture_allocate(&fix, "web", 1);
    assert_string_equal(fix.ids[0], "rack-3");
    fixture_close(&fix);
}

static void
one_pool_alone_may_be_asked(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_asked asked = {
        .cluster = FR_VIEW("web"), .count = 1, .pool = FR_VIEW("local")};
    fixture_two_pools(&fix);
    allocator_allocate_asked(fix.allocator, &asked, fixture_done, &fix);
    fixture_answer(&fix);
    assert_string_equal(fix.ids[0], "local-1");
    asked.pool = FR_VIEW("rack");
    asked.count = 3; /* it has two */
    allocator_allocate_asked(fix.allocator, &asked, fixture_done, &fix);
    assert_int_equal(fix.err, FR_ERR_POOL_EMPTY);
    assert_int_equal(fix.allocator->server_count, 1);
    asked.pool = FR_VIEW("other");
    allocator_allocate_asked(fix.allocator, &asked, fixture_done, &fix);
    assert_int_equal(fix.err, FR_ERR_STATE);
    assert_string_equal(fix.why, "cluster web has no pool other to allocate from");
    fixture_close(&fix);
}

/* A pool whose server does not come up is passed over, and not for ever. */
static void
a_failing_pool_comes_last(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    memcpy(fix.web->scale.from[1], fix.web->scale.from[0], CONFIG_NAME_BYTES);
    (void)snprintf(fix.web->scale.from[0], CONFIG_NAME_BYTES, "local");
    fixture_command(&fix, "exit 1");
    fix.local->restart_max = 0;
    fix.web->health.kind = CONFIG_HEALTH_TCP; /* nobody listens: only its end is heard of */
    fixture_open(&fix);
    fixture_allocate(&fix, "web", 1);
    assert_int_equal(fix.err, FR_ERR_PROVIDER);
    fix.web->health.kind = CONFIG_HEALTH_NONE;
    fixture_allocate(&fix, "web", 2);
    assert_int_equal(fix.err, FR_OK);
    assert_string_equal(fix.ids[0], "rack-1");
    assert_string_equal(fix.ids[1], "rack-2");
    fixture_allocate(&fix, "web", 1); /* better than nothing: the others are dry */
    assert_string_equal(fix.ids[0], "local-2");
    fixture_close(&fix);
}

static void
one_failure_gives_all_back(void **state)
{
    (void)state;
    struct fixture fix;
    struct fixture_census census;
    struct cluster_ledger ledger;
    fixture_make(&fix);
    fixture_command(&fix, "if [ $0 = local-2 ]; then sleep 0.05; echo no luck; exit 3; fi; "
                          "exec sleep 1000");
    fix.api->health.kind = CONFIG_HEALTH_TCP; /* nobody passes before local-2 has failed */
    fix.api->health.starting_interval_us = 5000;
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 3);
    assert_int_equal(fix.err, FR_ERR_PROVIDER);
    assert_string_equal(fix.why, "exited with status 3; last log line: no luck");
    assert_int_equal(fix.id_count, 3);
    assert_int_equal(fix.allocator->server_count, 0);
    fixture_census_take(&fix, &census);
    assert_int_equal(census.leaders, 0);
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.server_count, 0);
    cluster_ledger_fini(&ledger);
    fixture_close(&fix);
}

static void
one_failure_takes_the_joined_back_too(void **state)
{
    (void)state;
    struct fixture fix;
    char path[128];
    fixture_make(&fix);
    /* The first one joins at once; there is no program for the second one. */
    (void)snprintf(path, sizeof(path), "%s/local-1", fix.folder);
    assert_int_equal(symlink("/bin/sh", path), 0);
    fr_free(fix.local->command[0]);
    fix.local->command[0] = fr_xprintf("%s/{id}", fix.folder);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 2);
    assert_int_equal(fix.err, FR_ERR_PROVIDER);
    assert_non_null(strstr(fix.why, "local-2: No such file or directory"));
    assert_int_equal(fix.allocator->server_count, 0);
    assert_int_equal(fixture_has_seen(&fix, "join local-1"),
                     fixture_has_seen(&fix, "leave local-1"));
    fixture_close(&fix);
}

static void
start_times_out_with_its_reasons(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_command(&fix, "echo warming up; exec sleep 1000");
    fix.api->health.kind = CONFIG_HEALTH_TCP;
    fix.api->health.starting_interval_us = 10000;
    fix.local->start_timeout_us = 200000;
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    assert_int_equal(fix.err, FR_ERR_PROVIDER);
    assert_string_equal(fix.why, "start timed out after 200ms: connect: Connection refused; last "
                                 "log line: warming up");
    assert_int_equal(fix.allocator->server_count, 0);
    fixture_close(&fix);
}

static bool
until_draining(struct fixture *fix)
{
    struct allocator_server server;
    return fixture_server_at(fix, 0, &server) && server.state == CLUSTER_SERVER_DRAINING &&
           fixture_has_seen(fix, "leave local-1");
}

static bool
until_deadline(struct fixture *fix)
{
    return strstr(fix->note, "deadline") != NULL;
}

static void
drains_until_drained_and_released(void **state)
{
    (void)state;
    struct fixture fix;
    struct fr_view ids[] = {FR_VIEW("local-1")};
    fixture_make(&fix);
    fix.keeps = fix.needs_release = true;
    fix.api->drain_us = 30000;
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    allocator_deallocate(fix.allocator, FR_VIEW("api"), ids, 1, fixture_done, &fix);
    fixture_run(&fix, until_draining);
    /* Being asked twice is refused, not done twice. */
    allocator_deallocate(fix.allocator, FR_VIEW("api"), ids, 1, fixture_done, &fix);
    assert_int_equal(fix.err, FR_ERR_STATE);
    /* The deadline stands for "drained", but not for the release. */
    int64_t from_us = loop_now_us(fix.loop);
    fixture_run(&fix, until_deadline);
    assert_true(until_draining(&fix));
    /* Its owner had the time to cut what was left, or a server is stopped with requests on it. */
    assert_true(loop_now_us(fix.loop) - from_us >= 500000);
    assert_int_equal(fix.answers, 2);
    allocator_release(fix.allocator, ids[0]);
    fixture_answer(&fix);
    assert_int_equal(fix.err, FR_OK);
    assert_int_equal(fix.allocator->server_count, 0);
    fixture_close(&fix);
}

static void
moves_without_a_stop(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_server server;
    struct cluster_ledger ledger;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    int64_t pid = allocator_ledger(fix.allocator)->servers[0].pid;
    allocator_move(fix.allocator, FR_VIEW("local-1"), FR_VIEW("web"), fixture_done, &fix);
    fixture_answer(&fix);
    assert_int_equal(fix.err, FR_OK);
    assert_true(fixture_server(&fix, "local-1", &server));
    assert_string_equal(server.cluster, "web");
    assert_int_equal(server.state, CLUSTER_SERVER_READY);
    assert_int_equal(fix.seen_count, 3);
    assert_string_equal(fix.seen[1], "leave local-1");
    assert_string_equal(fix.seen[2], "join local-1");
    fixture_ledger(&fix, &ledger);
    assert_string_equal(ledger.servers[0].cluster, "web");
    assert_int_equal(ledger.servers[0].pid, pid);
    cluster_ledger_fini(&ledger);
    allocator_move(fix.allocator, FR_VIEW("local-1"), FR_VIEW("web"), fixture_done, &fix);
    assert_int_equal(fix.err, FR_ERR_STATE);
    fix.api->scale.max = 0;
    allocator_move(fix.allocator, FR_VIEW("local-1"), FR_VIEW("api"), fixture_done, &fix);
    assert_int_equal(fix.err, FR_ERR_AT_MAX);
    fixture_close(&fix);
}

static void
closing_answers_what_waits(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_open(&fix);
    allocator_allocate(fix.allocator, FR_VIEW("api"), 1, FR_VIEW(""), fixture_done, &fix);
    assert_int_equal(fix.answers, 0);
    allocator_free(&fix.allocator, false);
    assert_int_equal(fix.answers, 1);
    assert_int_equal(fix.err, FR_ERR_CANCELLED);
    fixture_close(&fix);
}

/* ---- asked again ----------------------------------------------------------------------------- */

static void
ask(struct fixture *fix, const char *cluster, uint32_t count, const char *request)
{
    const struct allocator_asked asked = {
        .cluster = fr_view_of(cluster), .count = count, .request = fr_view_of(request)};
    fix->wanted = fix->answers + 1;
    allocator_allocate_asked(fix->allocator, &asked, fixture_done, fix);
    fixture_run(fix, until_answered);
}

static void
a_request_of_an_earlier_life_is_answered_and_not_redone(void **state)
{
    (void)state;
    struct fixture fix;
    struct cluster_ledger ledger;
    fixture_make(&fix);
    fixture_open(&fix);
    ask(&fix, "api", 2, "3:81");
    assert_int_equal(fix.err, FR_OK);
    allocator_free(&fix.allocator, true); /* the result is lost with the process */
    fixture_open(&fix);
    ask(&fix, "api", 2, "3:81");
    assert_int_equal(fix.err, FR_OK);
    assert_int_equal(fix.id_count, 2);
    assert_string_equal(fix.ids[0], "local-1");
    assert_string_equal(fix.ids[1], "local-2");
    assert_int_equal(fix.allocator->server_count, 2);
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.server_count, 2);
    assert_string_equal(ledger.servers[1].request, "3:81");
    cluster_ledger_fini(&ledger);
    ask(&fix, "api", 1, "3:82"); /* another one is another one */
    assert_string_equal(fix.ids[0], "local-3");
    fixture_deallocate(&fix, "local-3");
    ask(&fix, "api", 1, "3:82"); /* what it brought is gone: bounded by the servers there are */
    assert_string_equal(fix.ids[0], "local-4");
    fixture_close(&fix);
}

static void
one_that_is_starting_is_waited_for(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_file_write(&fix, "ledger.yaml",
                       "clusters: { api: { servers: [ { id: local-1, address: '127.0.0.1:21001', "
                       "pool: local, state: starting, request: '3:81' } ] } }\n");
    fix.api->scale.min = 1; /* or it would be given back: see the next test */
    fixture_open(&fix);
    ask(&fix, "api", 1, "3:81");
    assert_int_equal(fix.err, FR_OK);
    assert_string_equal(fix.ids[0], "local-1");
    assert_true(fixture_has_seen(&fix, "join local-1"));
    assert_int_equal(fix.allocator->server_count, 1);
    fixture_close(&fix);
}

static void
what_came_to_nothing_is_done_anew(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_file_write(&fix, "ledger.yaml",
                       "clusters: { api: { servers: [ { id: local-1, address: '127.0.0.1:21001', "
                       "pool: local, state: starting, request: '3:81' } ] } }\n");
    fixture_open(&fix); /* it does not run, and nobody needs it: given back */
    ask(&fix, "api", 1, "3:81");
    assert_int_equal(fix.err, FR_OK);
    assert_string_equal(fix.ids[0], "local-2");
    fixture_close(&fix);
}

static void
what_is_missing_of_a_request_is_added(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_open(&fix);
    ask(&fix, "api", 1, "3:81"); /* as if its second server had died with the edge */
    allocator_free(&fix.allocator, true);
    fixture_open(&fix);
    ask(&fix, "api", 2, "3:81");
    assert_int_equal(fix.err, FR_OK);
    assert_int_equal(fix.id_count, 2);
    assert_string_equal(fix.ids[0], "local-1");
    assert_string_equal(fix.ids[1], "local-2");
    allocator_free(&fix.allocator, true);
    fix.api->scale.max = 2;
    fixture_open(&fix);
    ask(&fix, "api", 3, "3:81"); /* all or nothing: what had come goes back */
    assert_int_equal(fix.err, FR_ERR_AT_MAX);
    ask(&fix, "api", 2, "3:81");
    assert_int_equal(fix.err, FR_OK);
    assert_string_equal(fix.ids[0], "local-3");
    fixture_close(&fix);
}

static void
a_failed_request_leaves_no_id(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fix.api->health.kind = CONFIG_HEALTH_TCP; /* or it could join before its end is seen */
    fixture_command(&fix, "exit 3");
    fixture_open(&fix);
    ask(&fix, "api", 1, "3:81");
    assert_int_equal(fix.err, FR_ERR_PROVIDER);
    fix.api->health.kind = CONFIG_HEALTH_NONE;
    fixture_command(&fix, "exec sleep 1000");
    allocator_free(&fix.allocator, true);
    fixture_open(&fix);
    ask(&fix, "api", 1, "3:81");
    assert_int_equal(fix.err, FR_OK);
    fixture_close(&fix);
}

/* Nobody else would ever answer: one of two is taken away while the other still starts. */
static void
an_edit_that_takes_one_of_two_ends_the_request(void **state)
{
    (void)state;
    struct fixture fix;
    struct fixture_census census;
    fixture_make(&fix);
    fixture_open(&fix);
    fix.wanted = fix.answers + 1;
    allocator_allocate(fix.allocator, FR_VIEW("api"), 2, FR_VIEW(""), fixture_done, &fix);
    struct allocator__server *first =
        FR_CONTAINER(fix.allocator->servers.next, struct allocator__server, link);
    (void)allocator__event(first, ALLOCATOR_GIVE_BACK, false);
    fixture_run(&fix, until_answered);
    assert_int_equal(fix.err, FR_ERR_PROVIDER);
    assert_int_equal(fix.allocator->server_count, 0);
    fixture_census_take(&fix, &census);
    assert_int_equal(census.leaders, 0);
    fixture_close(&fix);
}

static bool
until_first_drains(struct fixture *fix)
{
    return allocator_ledger(fix->allocator)->servers[0].state == CLUSTER_SERVER_DRAINING;
}

static bool
until_first_left(struct fixture *fix)
{
    return fixture_has_seen(fix, "leave local-1");
}

/* A request to give back, repeated after a crash in its middle. */
static void
one_that_leaves_already_is_waited_for(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fix.needs_release = true;
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    struct fr_view ids[] = {FR_VIEW("local-1")};
    allocator_deallocate(fix.allocator, FR_VIEW("api"), ids, 1, fixture_done, &fix);
    fixture_run(&fix, until_first_drains);
    allocator_free(&fix.allocator, true); /* answers the first: cancelled */
    fix.seen_count = 0;
    fixture_open(&fix);
    unsigned before = fix.answers;
    allocator_deallocate(fix.allocator, FR_VIEW("api"), ids, 1, fixture_done, &fix);
    assert_int_equal(fix.answers, before); /* not refused, and not done */
    fix.wanted = before + 1;
    fixture_run(&fix, until_first_left);
    allocator_release(fix.allocator, FR_VIEW("local-1"));
    fixture_run(&fix, until_answered);
    assert_int_equal(fix.err, FR_OK);
    assert_int_equal(fix.allocator->server_count, 0);
    fixture_close(&fix);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocates_and_gives_back),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(wanted_address_is_given),
        cmocka_unit_test(pools_are_asked_in_their_order),
        cmocka_unit_test(one_pool_alone_may_be_asked),
        cmocka_unit_test(a_failing_pool_comes_last),
        cmocka_unit_test(one_failure_gives_all_back),
        cmocka_unit_test(one_failure_takes_the_joined_back_too),
        cmocka_unit_test(start_times_out_with_its_reasons),
        cmocka_unit_test(drains_until_drained_and_released),
        cmocka_unit_test(moves_without_a_stop),
        cmocka_unit_test(closing_answers_what_waits),
        cmocka_unit_test(a_request_of_an_earlier_life_is_answered_and_not_redone),
        cmocka_unit_test(one_that_is_starting_is_waited_for),
        cmocka_unit_test(what_came_to_nothing_is_done_anew),
        cmocka_unit_test(what_is_missing_of_a_request_is_added),
        cmocka_unit_test(a_failed_request_leaves_no_id),
        cmocka_unit_test(an_edit_that_takes_one_of_two_ends_the_request),
        cmocka_unit_test(one_that_leaves_already_is_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
