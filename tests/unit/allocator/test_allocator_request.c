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
    assert_string_equal(fix.why, "cluster api has 0 members, 5 more are over its maximum of 4");
    fixture_allocate(&fix, "api", 0);
    assert_int_equal(fix.err, FR_ERR_RANGE);
    fixture_allocate(&fix, "web", 3); /* the list has two */
    assert_int_equal(fix.err, FR_ERR_POOL_EMPTY);
    assert_int_equal(allocator_server_count(fix.allocator), 0);
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
    assert_true(allocator_server_at(fix.allocator, 0, &server));
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
    assert_int_equal(allocator_server_count(fix.allocator), 0);
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
    assert_int_equal(allocator_server_count(fix.allocator), 0);
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
    assert_int_equal(allocator_server_count(fix.allocator), 0);
    fixture_close(&fix);
}

static bool
until_draining(struct fixture *fix)
{
    struct allocator_server server;
    return allocator_server_at(fix->allocator, 0, &server) &&
           server.state == CLUSTER_SERVER_DRAINING && fixture_has_seen(fix, "leave local-1");
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
    fixture_run(&fix, until_deadline);
    assert_true(until_draining(&fix));
    assert_int_equal(fix.answers, 2);
    allocator_release(fix.allocator, ids[0]);
    fixture_answer(&fix);
    assert_int_equal(fix.err, FR_OK);
    assert_int_equal(allocator_server_count(fix.allocator), 0);
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(allocates_and_gives_back),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(wanted_address_is_given),
        cmocka_unit_test(one_failure_gives_all_back),
        cmocka_unit_test(one_failure_takes_the_joined_back_too),
        cmocka_unit_test(start_times_out_with_its_reasons),
        cmocka_unit_test(drains_until_drained_and_released),
        cmocka_unit_test(moves_without_a_stop),
        cmocka_unit_test(closing_answers_what_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
