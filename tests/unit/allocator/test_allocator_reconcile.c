/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_allocator_reconcile.c - the start after a clean end, and after a death at every fault point:
 * no server lost, none twice, the ledger always readable, orphans adopted or stopped.
 */
#include "allocator_fixture.h"

#include <assert.h>
#include <sys/prctl.h>

static bool
until_joined_local_1(struct fixture *fix)
{
    return fixture_has_seen(fix, "join local-1");
}

static void
servers_go_on_and_are_adopted(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_server server;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("local-1"), 20), FR_OK);
    int64_t pid = allocator_ledger(fix.allocator)->servers[0].pid;
    allocator_free(&fix.allocator, true);
    assert_int_equal(kill((pid_t)pid, 0), 0);
    fix.seen_count = 0;
    fixture_open(&fix);
    assert_int_equal(fix.seen_count, 0); /* from the loop, not from inside the call */
    fixture_run(&fix, until_joined_local_1);
    assert_int_equal(allocator_ledger(fix.allocator)->servers[0].pid, pid);
    assert_true(fixture_server(&fix, "local-1", &server));
    assert_int_equal(server.weight, 20);
    fixture_close(&fix);
}

static void
ended_servers_are_started_again(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    pid_t pid = (pid_t)allocator_ledger(fix.allocator)->servers[0].pid;
    allocator_free(&fix.allocator, true);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    fix.seen_count = 0;
    fixture_open(&fix);
    fixture_run(&fix, until_joined_local_1);
    assert_int_not_equal(allocator_ledger(fix.allocator)->servers[0].pid, pid);
    fixture_close(&fix);
}

static void
bad_ledger_touches_nothing(void **state)
{
    (void)state;
    struct fixture fix;
    struct fixture_census census;
    struct fr_buf text;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    allocator_free(&fix.allocator, true);
    fixture_file_read(&fix, "ledger.yaml", &text);
    fixture_file_write(&fix, "ledger.yaml", "clusters: [ nonsense\n");
    assert_int_equal(fixture_try(&fix), FR_ERR_CONFIG);
    assert_null(fix.allocator);
    assert_true(fix.diag.error_count > 0);
    fixture_census_take(&fix, &census);
    assert_int_equal(census.leaders, 1);
    fixture_file_write(&fix, "ledger.yaml", text.data);
    fr_buf_fini(&text);
    fixture_open(&fix);
    fixture_close(&fix);
}

static void
server_of_a_pool_that_is_gone_can_be_stopped(void **state)
{
    (void)state;
    struct fixture fix;
    struct fixture_census census;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    allocator_free(&fix.allocator, true);
    struct allocator_options options = {.state_folder = fix.folder};
    struct allocator_events events = {
        fixture_join,     fixture_leave,   fixture_weight, fixture_changed,
        fixture_settings, fixture_refused, fixture_note,   &fix};
    assert_int_equal(allocator_new(fix.loop, &options, &fix.api, 1, &fix.rack, 1, &events,
                                   &fix.diag, &fix.allocator),
                     FR_OK);
    fixture_deallocate(&fix, "local-1");
    assert_int_equal(fix.err, FR_OK);
    fixture_census_take(&fix, &census);
    assert_int_equal(census.leaders, 0);
    fixture_close(&fix);
}

static bool
until_left_local_1(struct fixture *fix)
{
    return fixture_has_seen(fix, "leave local-1");
}

static bool
until_none(struct fixture *fix)
{
    return fix->allocator->server_count == 0;
}

static void
draining_is_released_again_after_a_start(void **state)
{
    (void)state;
    struct fixture fix;
    struct fr_view ids[] = {FR_VIEW("local-1")};
    fixture_make(&fix);
    fix.keeps = fix.needs_release = true;
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    allocator_deallocate(fix.allocator, FR_VIEW("api"), ids, 1, fixture_done, &fix);
    fixture_run(&fix, until_left_local_1);
    allocator_free(&fix.allocator, true);
    assert_int_equal(fix.err, FR_ERR_CANCELLED);
    fix.seen_count = 0;
    fixture_open(&fix);
    fixture_run(&fix, until_left_local_1); /* other edges may still use it */
    allocator_drained(fix.allocator, ids[0]);
    assert_int_equal(fix.allocator->server_count, 1);
    allocator_release(fix.allocator, ids[0]);
    fixture_run(&fix, until_none);
    fixture_close(&fix);
}

static bool
until_none_runs(struct fixture *fix)
{
    struct fixture_census census;
    fixture_census_take(fix, &census);
    return census.leaders == 0;
}

static void
servers_without_a_ledger_are_orphans(void **state)
{
    (void)state;
    struct fixture fix;
    char path[128];
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 2);
    allocator_free(&fix.allocator, true);
    (void)snprintf(path, sizeof(path), "%s/ledger.yaml", fix.folder);
    assert_int_equal(unlink(path), 0);
    assert_false(until_none_runs(&fix));
    fixture_open(&fix);
    assert_string_equal(fix.note,
                        "-: pool local: 2 servers of an earlier life that the ledger does "
                        "not know are stopped");
    fixture_run(&fix, until_none_runs);
    fixture_close(&fix);
}

/* ---- death at every fault point -----------------------------------------------------------------
 */

static const char *const fault_points[] = {
#define FR_FAULT_ROW(name) name,
#include "allocator/fault_points.def"
#undef FR_FAULT_ROW
};
#define FAULT_POINTS (sizeof(fault_points) / sizeof(fault_points[0]))
/* Three an action: before the write, before the act, behind it. Since each is seen to kill, there
 * is no place in the code without a row either. */
static_assert(FAULT_POINTS == 3 * ALLOCATOR_ACTIONS, "a fault point without a row");

static bool
until_replacement(struct fixture *fix)
{
    return fix->allocator->server_count == 2 && fixture_has_seen(fix, "join local-4");
}

static bool
until_rejoined(struct fixture *fix)
{
    unsigned joins = 0;
    for (unsigned i = 0; i < fix->seen_count; i++)
        joins += strcmp(fix->seen[i], "join local-2") == 0;
    return joins == 2;
}

static pid_t
pid_of(struct fixture *fix, const char *id)
{
    const struct cluster_ledger *ledger = allocator_ledger(fix->allocator);
    for (size_t i = 0; i < ledger->server_count; i++)
        if (strcmp(ledger->servers[i].id, id) == 0)
            return (pid_t)ledger->servers[i].pid;
    return 0;
}

/* One life that takes every row of the state table: 3 allocated, 1 given back, 1 moved, 1 dead and
 * started again, and dead again and replaced. It does not come to its end. */
static void
life(struct fixture *fix)
{
    fix->local->restart_max = 1;
    fixture_open(fix);
    fixture_allocate(fix, "api", 3);
    fixture_deallocate(fix, "local-1");
    allocator_move(fix->allocator, FR_VIEW("local-3"), FR_VIEW("web"), fixture_done, fix);
    fixture_answer(fix);
    (void)kill(pid_of(fix, "local-2"), SIGKILL);
    fixture_run(fix, until_rejoined);
    (void)kill(pid_of(fix, "local-2"), SIGKILL);
    fixture_run(fix, until_replacement);
    _exit(77); /* the fault point was not passed */
}

static bool
until_quiet(struct fixture *fix)
{
    struct allocator_server server;
    for (const void *at = NULL; allocator_server_next(fix->allocator, &at, &server);)
        if (server.state != CLUSTER_SERVER_READY)
            return false;
    return !fix->allocator->dirty && fr_list_empty(&fix->allocator->changes);
}

static bool
until_no_orphans(struct fixture *fix)
{
    struct fixture_census census;
    fixture_census_take(fix, &census);
    return census.leaders <= fix->allocator->server_count;
}

static void
invariants_check(struct fixture *fix, const char *name)
{
    struct fixture_census census;
    struct cluster_ledger ledger;
    fixture_ledger(fix, &ledger); /* ids and addresses come once, or it would not read */
    fixture_census_take(fix, &census);
    if (census.leaders != ledger.server_count)
        fail_msg("%s: %u servers run, %zu in the ledger", name, census.leaders,
                 ledger.server_count);
    for (size_t i = 0; i < ledger.server_count; i++) {
        unsigned found = 0;
        for (unsigned k = 0; k < census.leaders; k++)
            found += strcmp(census.ids[k], ledger.servers[i].id) == 0;
        if (found != 1)
            fail_msg("%s: %s runs %u times", name, ledger.servers[i].id, found);
        char joined[SEEN_BYTES];
        (void)snprintf(joined, sizeof(joined), "join %s", ledger.servers[i].id);
        if (!fixture_has_seen(fix, joined))
            fail_msg("%s: %s is ready but not in its cluster", name, ledger.servers[i].id);
    }
    cluster_ledger_fini(&ledger);
}

static void
death_at_every_fault_point(void **state)
{
    (void)state;
#ifndef FR_FAULT_POINTS
    skip(); /* this build has none to die at */
#endif
    for (size_t i = 0; i < FAULT_POINTS; i++) {
        struct fixture fix;
        struct cluster_ledger ledger;
        int status = 0;
        fixture_make(&fix);
        pid_t child = fork();
        if (child == 0) {
            struct fixture own;
            (void)setenv("FRESHET_FAULT", fault_points[i], 1);
            fixture_make(&own);
            (void)rmdir(own.folder);
            (void)memcpy(own.folder, fix.folder, sizeof(own.folder));
            life(&own);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail_msg("%s: the life ended with status %x", fault_points[i], (unsigned)status);
        fixture_ledger(&fix, &ledger); /* it reads as it stands */
        cluster_ledger_fini(&ledger);
        fixture_open(&fix);
        fixture_run(&fix, until_quiet);
        fixture_run(&fix, until_no_orphans);
        invariants_check(&fix, fault_points[i]);
        fixture_allocate(&fix, "api", 1); /* and life goes on */
        if (fix.err)
            fail_msg("%s: %s", fault_points[i], fix.why);
        invariants_check(&fix, fault_points[i]);
        fixture_close(&fix);
    }
}

int
main(void)
{
    /* The servers of a dead life become this process's children, and its alone to wait for. */
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_go_on_and_are_adopted),
        cmocka_unit_test(ended_servers_are_started_again),
        cmocka_unit_test(bad_ledger_touches_nothing),
        cmocka_unit_test(draining_is_released_again_after_a_start),
        cmocka_unit_test(servers_without_a_ledger_are_orphans),
        cmocka_unit_test(server_of_a_pool_that_is_gone_can_be_stopped),
        cmocka_unit_test(death_at_every_fault_point),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
