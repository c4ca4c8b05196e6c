/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_agent_check.c - the line's parser at its edges, and whole checks over a socket.
 */
#include "cluster/cluster_health.h"

#include "base/fr_mem.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void
parse_knows_what_haproxy_knows(void **state)
{
    (void)state;
    static const struct {
        const char *line;
        bool known;
        double utilization;
        enum cluster_agent_state state;
    } rows[] = {
        {"75%\n", true, 0.25, CLUSTER_AGENT_NONE},
        {"75%", true, 0.25, CLUSTER_AGENT_NONE},
        {"0%\r\n", true, 1.0, CLUSTER_AGENT_NONE},
        {"100%", true, 0.0, CLUSTER_AGENT_NONE},
        {"250%", true, 0.0, CLUSTER_AGENT_NONE},
        {"up", true, -1, CLUSTER_AGENT_UP},
        {"UP\n", true, -1, CLUSTER_AGENT_UP},
        {"ready up 40%\n", true, 0.6, CLUSTER_AGENT_UP},
        {"drain;10%", true, 0.9, CLUSTER_AGENT_DRAIN},
        {"maint", true, -1, CLUSTER_AGENT_DRAIN},
        {"up,drain", true, -1, CLUSTER_AGENT_DRAIN},
        {"drain down", true, -1, CLUSTER_AGENT_DOWN},
        {"down#disk full, 50% up\n", true, -1, CLUSTER_AGENT_DOWN},
        {"stopped", true, -1, CLUSTER_AGENT_DOWN},
        {"fail", true, -1, CLUSTER_AGENT_DOWN},
        {"failed", true, -1, CLUSTER_AGENT_DOWN},
        {"maxconn:30 up", true, -1, CLUSTER_AGENT_UP},
        {"up\ndown", true, -1, CLUSTER_AGENT_UP},
        {"maxconn:30", false, 0, 0},
        {"", false, 0, 0},
        {"\n", false, 0, 0},
        {" ,;\t", false, 0, 0},
        {"%", false, 0, 0},
        {"-5%", false, 0, 0},
        {"5.5%", false, 0, 0},
        {"99999999999999999999999%", false, 0, 0},
        {"upp", false, 0, 0},
        {"u", false, 0, 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        double utilization = 42;
        enum cluster_agent_state found = CLUSTER_AGENT_NONE;
        bool known = cluster_agent_check_parse(fr_view_of(rows[i].line), &utilization, &found);
        if (known != rows[i].known)
            fail_msg("\"%s\": known %d", rows[i].line, known);
        if (!known) {
            assert_true(utilization == 42); /* written on success only */
            continue;
        }
        if (fabs(utilization - rows[i].utilization) > 1e-9 || found != rows[i].state)
            fail_msg("\"%s\": %f %d", rows[i].line, utilization, (int)found);
    }
}

/* A listener whose every connection gets these bytes, some of them one by one. */
struct fixture {
    struct loop *loop;
    struct loop_listener listener;
    const char *says;
    unsigned accepted, told;
    unsigned stop_after;
    double utilization;
    enum cluster_agent_state state;
    struct loop_timer guard;
};

static void
on_accept(void *ctx, int fd, const struct loop_addr *peer)
{
    struct fixture *fix = ctx;
    (void)peer;
    fix->accepted++;
    assert_int_equal(send(fd, fix->says, strlen(fix->says), MSG_NOSIGNAL),
                     (ssize_t)strlen(fix->says));
    close(fd);
    if (fix->stop_after && fix->accepted == fix->stop_after)
        loop_stop(fix->loop);
}

static void
on_told(void *ctx, double utilization, enum cluster_agent_state state)
{
    struct fixture *fix = ctx;
    fix->told++;
    fix->utilization = utilization;
    fix->state = state;
    loop_stop(fix->loop);
}

static void
on_guard(void *ctx)
{
    (void)ctx;
    fail_msg("nothing happened for ten seconds");
}

static void
fixture_start(struct fixture *fix, const char *says)
{
    struct loop_addr any;
    int fd;
    *fix = (struct fixture){.says = says};
    assert_int_equal(loop_new(NULL, &fix->loop), FR_OK);
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:0"), &any), FR_OK);
    assert_int_equal(loop_bind(&any, false, &fd, NULL), FR_OK);
    assert_int_equal(loop_listen(&fix->listener, fix->loop, fd, on_accept, fix), FR_OK);
    loop_timer_start(fix->loop, &fix->guard, 10000000, on_guard, NULL);
}

static void
fixture_end(struct fixture *fix)
{
    loop_timer_stop(&fix->guard);
    loop_listener_close(&fix->listener);
    loop_free(&fix->loop);
}

static void
check_tells_the_line(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix, "up 30%\n");
    struct cluster_agent_check *check =
        cluster_agent_check_new(fix.loop, &fix.listener.addr, 5000, on_told, &fix);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_true(fabs(fix.utilization - 0.7) < 1e-9);
    assert_int_equal(fix.state, CLUSTER_AGENT_UP);
    /* And again, by itself. */
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.told, 2);
    cluster_agent_check_free(&check);
    assert_null(check);
    fixture_end(&fix);
}

static void
check_says_nothing_of_nonsense(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix, "hello\n");
    fix.stop_after = 3;
    struct cluster_agent_check *check =
        cluster_agent_check_new(fix.loop, &fix.listener.addr, 1000, on_told, &fix);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_int_equal(fix.told, 0);
    cluster_agent_check_free(&check); /* in the middle of a check */
    fixture_end(&fix);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parse_knows_what_haproxy_knows),
        cmocka_unit_test(check_tells_the_line),
        cmocka_unit_test(check_says_nothing_of_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
