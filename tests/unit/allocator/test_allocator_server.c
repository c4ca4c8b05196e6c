/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_allocator_server.c - what befalls servers: deaths, restarts, replacement, bad health; and
 * that the state table says what the ledger can hold.
 */
#include "allocator_fixture.h"

static pid_t
pid_of(struct fixture *fix, const char *id)
{
    const struct cluster_ledger *ledger = allocator_ledger(fix->allocator);
    for (size_t i = 0; i < ledger->server_count; i++)
        if (strcmp(ledger->servers[i].id, id) == 0)
            return (pid_t)ledger->servers[i].pid;
    fail_msg("no server %s in the ledger", id);
    return 0;
}

static bool
until_joined_again(struct fixture *fix)
{
    return fix->seen_count == 3;
}

static void
death_restarts_in_place(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_server server;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    assert_true(fixture_server(&fix, "local-1", &server));
    char address[LOOP_ADDR_TEXT_BYTES];
    (void)fr_view_copy(fr_view_of(server.address), address, sizeof(address));
    pid_t pid = pid_of(&fix, "local-1");
    assert_int_equal(kill(pid, SIGKILL), 0);
    fixture_run(&fix, until_joined_again);
    assert_string_equal(fix.seen[1], "leave local-1"); /* no traffic meanwhile */
    assert_string_equal(fix.seen[2], "join local-1");
    assert_string_equal(fix.note, "local-1: died, is started again: killed by signal 9 (Killed)");
    assert_true(fixture_server(&fix, "local-1", &server));
    assert_string_equal(server.address, address);
    assert_int_not_equal(pid_of(&fix, "local-1"), pid);
    fixture_close(&fix);
}

static bool
until_replaced(struct fixture *fix)
{
    return fixture_has_seen(fix, "join local-2") && fix->allocator->server_count == 1;
}

static void
too_many_deaths_replace(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_server server;
    fixture_make(&fix);
    fix.local->restart_max = 1;
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    assert_int_equal(kill(pid_of(&fix, "local-1"), SIGKILL), 0);
    fixture_run(&fix, until_joined_again);
    assert_true(fixture_server(&fix, "local-1", &server));
    char address[LOOP_ADDR_TEXT_BYTES];
    (void)fr_view_copy(fr_view_of(server.address), address, sizeof(address));
    assert_int_equal(kill(pid_of(&fix, "local-1"), SIGKILL), 0);
    fixture_run(&fix, until_replaced);
    assert_true(fixture_server(&fix, "local-2", &server));
    assert_string_not_equal(server.address, address);
    fixture_close(&fix);
}

static bool
until_two_seen_of_rack(struct fixture *fix)
{
    return fixture_has_seen(fix, "join rack-2") && fix->allocator->server_count == 1;
}

static void
unhealthy_is_replaced_and_drained(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "web", 1);
    allocator_unhealthy(fix.allocator, FR_VIEW("rack-1"), "status 500, expected 200-399");
    fixture_run(&fix, until_two_seen_of_rack);
    assert_true(fixture_has_seen(&fix, "leave rack-1"));
    fixture_close(&fix);
}

static bool
until_place_taken_again(struct fixture *fix)
{
    struct allocator_server server;
    return fixture_server_at(fix, 0, &server) && strcmp(server.id, "rack-1") != 0 &&
           server.state == CLUSTER_SERVER_READY;
}

static void
unhealthy_takes_its_own_place_when_there_is_no_other(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_server server;
    fixture_make(&fix);
    fr_free(fix.rack->servers[1].address);
    fix.rack->server_count = 1;
    fixture_open(&fix);
    fixture_allocate(&fix, "web", 1);
    allocator_unhealthy(fix.allocator, FR_VIEW("rack-1"), "gone");
    fixture_run(&fix, until_place_taken_again);
    assert_true(fixture_server_at(&fix, 0, &server));
    assert_string_equal(server.address, "127.0.0.1:9");
    fixture_close(&fix);
}

static bool
until_two_ready(struct fixture *fix)
{
    return fixture_has_seen(fix, "join local-1") && fixture_has_seen(fix, "join local-2");
}

static void
minimum_is_filled_by_itself(void **state)
{
    (void)state;
    struct fixture fix;
    struct fr_view ids[] = {FR_VIEW("local-1")};
    fixture_make(&fix);
    fix.api->scale.min = 2;
    fixture_open(&fix);
    fixture_run(&fix, until_two_ready);
    allocator_deallocate(fix.allocator, FR_VIEW("api"), ids, 1, fixture_done, &fix);
    assert_int_equal(fix.answers, 1);
    assert_int_equal(fix.err, FR_ERR_AT_MIN);
    assert_string_equal(fix.why,
                        "members of cluster api: 2, and 1 fewer would break its minimum of 2");
    fixture_close(&fix);
}

/* Every state but available can be left towards available, and every action of the table exists. */
static void
table_has_no_dead_end(void **state)
{
    (void)state;
    static const struct {
        enum cluster_server_state from, to;
    } rows[] = {
#define ALLOCATOR_STATE_ROW(state, event, next, action)                                            \
    {CLUSTER_SERVER_##state, CLUSTER_SERVER_##next},
#include "allocator/allocator_states.def"
#undef ALLOCATOR_STATE_ROW
    };
    bool reaches[8] = {[CLUSTER_SERVER_AVAILABLE] = true};
    for (size_t pass = 0; pass < 8; pass++)
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            if (reaches[rows[i].to])
                reaches[rows[i].from] = true;
    for (int s = CLUSTER_SERVER_AVAILABLE; s <= CLUSTER_SERVER_STOPPING; s++)
        assert_true(reaches[s]);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (rows[i].to == CLUSTER_SERVER_AVAILABLE) /* only what is stopped is available */
            assert_int_equal(rows[i].from, CLUSTER_SERVER_STOPPING);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(table_has_no_dead_end),
        cmocka_unit_test(death_restarts_in_place),
        cmocka_unit_test(too_many_deaths_replace),
        cmocka_unit_test(unhealthy_is_replaced_and_drained),
        cmocka_unit_test(unhealthy_takes_its_own_place_when_there_is_no_other),
        cmocka_unit_test(minimum_is_filled_by_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
