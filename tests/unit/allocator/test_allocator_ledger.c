/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_allocator_ledger.c - the ledger that can't be written: what is refused, what waits.
 */
#include "allocator_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

/* A folder in the ledger's place makes every write fail, root or not. */
static void
ledger_block(struct fixture *fix)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/ledger.yaml", fix->folder);
    (void)unlink(path);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void
ledger_unblock(struct fixture *fix)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/ledger.yaml", fix->folder);
    assert_int_equal(rmdir(path), 0);
}

static bool
until_settled(struct fixture *fix)
{
    return access(fix->folder, F_OK) == 0 && fix->allocator && !fix->allocator->dirty;
}

static void
allocation_is_refused_and_undone(void **state)
{
    (void)state;
    struct fixture fix;
    struct fixture_census census;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_run(&fix, until_settled);
    ledger_block(&fix);
    fixture_allocate(&fix, "api", 3);
    assert_int_equal(fix.err, FR_ERR_IO);
    assert_string_equal(fix.why, "the ledger can't be written");
    assert_int_equal(fix.answers, 1);
    assert_int_equal(fix.allocator->server_count, 0);
    assert_int_equal(allocator_ledger(fix.allocator)->server_count, 0);
    fixture_census_take(&fix, &census);
    assert_int_equal(census.leaders, 0); /* nothing was touched before the ledger knew */
    ledger_unblock(&fix);
    fixture_allocate(&fix, "api", 3);
    assert_int_equal(fix.err, FR_OK);
    fixture_close(&fix);
}

static void
deallocation_is_refused_and_undone(void **state)
{
    (void)state;
    struct fixture fix;
    struct allocator_server server;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    ledger_block(&fix);
    fixture_deallocate(&fix, "local-1");
    assert_int_equal(fix.err, FR_ERR_IO);
    assert_false(fixture_has_seen(&fix, "leave local-1"));
    assert_true(fixture_server(&fix, "local-1", &server));
    assert_int_equal(server.state, CLUSTER_SERVER_READY);
    allocator_move(fix.allocator, FR_VIEW("local-1"), FR_VIEW("web"), fixture_done, &fix);
    fixture_answer(&fix);
    assert_int_equal(fix.err, FR_ERR_IO);
    assert_true(fixture_server(&fix, "local-1", &server));
    assert_string_equal(server.cluster, "api");
    assert_int_equal(allocator_weight(fix.allocator, FR_VIEW("local-1"), 50), FR_ERR_IO);
    assert_true(fixture_server(&fix, "local-1", &server));
    assert_int_equal(server.weight, 100);
    assert_false(fixture_has_seen(&fix, "weight local-1 50"));
    ledger_unblock(&fix);
    fixture_deallocate(&fix, "local-1");
    assert_int_equal(fix.err, FR_OK);
    fixture_close(&fix);
}

static bool
until_starting(struct fixture *fix)
{
    struct allocator_server server;
    return fixture_server_at(fix, 0, &server) && server.state == CLUSTER_SERVER_STARTING &&
           strstr(fix->note, "can't be written");
}

static bool
until_joined_twice(struct fixture *fix)
{
    return fix->seen_count == 3;
}

static void
death_waits_for_the_ledger(void **state)
{
    (void)state;
    struct fixture fix;
    struct cluster_ledger ledger;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    pid_t pid = (pid_t)allocator_ledger(fix.allocator)->servers[0].pid;
    ledger_block(&fix);
    assert_int_equal(kill(pid, SIGKILL), 0);
    fixture_run(&fix, until_starting);
    ledger_unblock(&fix);
    fixture_run(&fix, until_joined_twice);
    assert_string_equal(fix.seen[2], "join local-1");
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.servers[0].state, CLUSTER_SERVER_READY);
    assert_int_not_equal(ledger.servers[0].pid, pid);
    cluster_ledger_fini(&ledger);
    fixture_close(&fix);
}

/* A server of the rack that refuses connections until somebody calls listen(). */
static int
rack_bind(struct fixture *fix, size_t index)
{
    struct config_member *member = &fix->rack->servers[index];
    struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(addr);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&addr, len), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &len), 0);
    fr_free(member->address);
    member->address = fr_xprintf("127.0.0.1:%u", ntohs(addr.sin_port));
    assert_int_equal(loop_addr_parse(fr_view_of(member->address), &member->addr), FR_OK);
    return fd;
}

static bool
until_checked(struct fixture *fix)
{
    struct allocator_server server;
    size_t last = fix->allocator->server_count - 1;
    return !fix->allocator->dirty && fixture_server_at(fix, last, &server) &&
           FR_CONTAINER(fix->allocator->servers.prev, struct allocator__server, link)->health;
}

static bool
until_seen_one(struct fixture *fix)
{
    return fix->seen_count == 1;
}

static bool
until_not_written(struct fixture *fix)
{
    return strstr(fix->note, "can't be written") != NULL;
}

/* Requests are parked for the first member of a cluster: it joins before the write. Whoever asked
 * for it hears of it after the write, and every other member joins after it too. */
static void
only_the_first_joins_before_the_write(void **state)
{
    (void)state;
    struct fixture fix;
    struct cluster_ledger ledger;
    fixture_make(&fix);
    int fds[2] = {rack_bind(&fix, 0), rack_bind(&fix, 1)};
    fix.web->health.kind = CONFIG_HEALTH_TCP;
    fix.web->health.starting_interval_us = 10000;
    fixture_open(&fix);
    allocator_allocate(fix.allocator, FR_VIEW("web"), 1, FR_VIEW(""), fixture_done, &fix);
    fixture_run(&fix, until_checked);
    ledger_block(&fix);
    assert_int_equal(listen(fds[0], 8), 0);
    fixture_run(&fix, until_seen_one);
    assert_string_equal(fix.seen[0], "join rack-1");
    fixture_run(&fix, until_not_written);
    assert_int_equal(fix.answers, 0);
    ledger_unblock(&fix);
    fixture_answer(&fix);
    assert_int_equal(fix.err, FR_OK);
    assert_int_equal(fix.seen_count, 1); /* once */
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.servers[0].state, CLUSTER_SERVER_READY);
    cluster_ledger_fini(&ledger);

    allocator_allocate(fix.allocator, FR_VIEW("web"), 1, FR_VIEW(""), fixture_done, &fix);
    fixture_run(&fix, until_checked);
    fix.note[0] = '\0';
    ledger_block(&fix);
    assert_int_equal(listen(fds[1], 8), 0);
    fixture_run(&fix, until_not_written);
    assert_int_equal(fix.seen_count, 1);
    ledger_unblock(&fix);
    fixture_answer(&fix);
    assert_string_equal(fix.seen[1], "join rack-2");
    fixture_close(&fix);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void
transitions_of_a_turn_share_a_write(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_run(&fix, until_settled);
    uint64_t before = allocator_ledger(fix.allocator)->generation;
    for (int i = 0; i < 4; i++)
        allocator_allocate(fix.allocator, FR_VIEW("api"), 1, FR_VIEW(""), fixture_done, &fix);
    fix.wanted = 4;
    fixture_run(&fix, until_answered);
    /* Starting, with process ids, ready: three writes, each for all four; the processes may be told
     * of in two turns. */
    assert_in_range(allocator_ledger(fix.allocator)->generation - before, 3, 5);
    fixture_close(&fix);
}

static bool
until_file_is_back(struct fixture *fix)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/ledger.yaml", fix->folder);
    return access(path, F_OK) == 0;
}

static void
removed_file_is_written_again(void **state)
{
    (void)state;
    struct fixture fix;
    struct cluster_ledger ledger;
    char path[128];
    fixture_make(&fix);
    fixture_open(&fix);
    fixture_allocate(&fix, "api", 1);
    (void)snprintf(path, sizeof(path), "%s/ledger.yaml", fix.folder);
    assert_int_equal(unlink(path), 0);
    fixture_run(&fix, until_file_is_back);
    fixture_ledger(&fix, &ledger);
    assert_int_equal(ledger.server_count, 1);
    cluster_ledger_fini(&ledger);
    fixture_close(&fix);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_the_first_joins_before_the_write),
        cmocka_unit_test(transitions_of_a_turn_share_a_write),
        cmocka_unit_test(allocation_is_refused_and_undone),
        cmocka_unit_test(deallocation_is_refused_and_undone),
        cmocka_unit_test(death_waits_for_the_ledger),
        cmocka_unit_test(removed_file_is_written_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
