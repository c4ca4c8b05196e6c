/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_health.c - checks against a scripted server: what passes, what fails, and why.
 */
#include "cluster/cluster_health.h"

#include "base/fr_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define REPLIES_MAX 16

struct fixture {
    struct loop *loop;
    struct loop_listener listener;
    const char *replies[REPLIES_MAX]; /* one a connection; NULL: held open, silent */
    unsigned accepted;
    int held[REPLIES_MAX];
    unsigned held_count;
    char request[2048]; /* the last one */
    struct cluster_health *health;
    bool free_in_callback;
    unsigned told;
    bool healthy;
    char why[256];
    struct loop_timer guard;
};

static void
on_accept(void *ctx, int fd, const struct loop_addr *peer)
{
    struct fixture *fix = ctx;
    const char *reply = fix->replies[fix->accepted % REPLIES_MAX];
    (void)peer;
    fix->accepted++;
    if (!reply) {
        fix->held[fix->held_count++] = fd;
        return;
    }
    if (*reply) {
        /* The answer goes out first: the other side's request has surely not come yet. */
        assert_int_equal(send(fd, reply, strlen(reply), MSG_NOSIGNAL), (ssize_t)strlen(reply));
        fix->held[fix->held_count++] = fd;
    } else {
        close(fd);
    }
}

static void
on_told(void *ctx, bool healthy, const char *why)
{
    struct fixture *fix = ctx;
    fix->told++;
    fix->healthy = healthy;
    (void)fr_view_copy(fr_view_of(why), fix->why, sizeof(fix->why));
    if (fix->free_in_callback)
        cluster_health_free(&fix->health);
    loop_stop(fix->loop);
}

static void
on_guard(void *ctx)
{
    (void)ctx;
    fail_msg("nothing happened for ten seconds");
}

static const struct config_health settings_http = {
    .kind = CONFIG_HEALTH_HTTP,
    .path = (char *)(uintptr_t) "/healthz",
    .interval_us = 1000,
    .timeout_us = 2000000,
    .rise = 1,
    .fall = 1,
    .status_min = 200,
    .status_max = 399,
};

static void
fixture_start(struct fixture *fix)
{
    struct loop_addr any;
    int fd;
    memset(fix, 0, sizeof(*fix));
    for (size_t i = 0; i < REPLIES_MAX; i++)
        fix->replies[i] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    assert_int_equal(loop_new(NULL, &fix->loop), FR_OK);
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:0"), &any), FR_OK);
    assert_int_equal(loop_bind(&any, false, &fd, NULL), FR_OK);
    assert_int_equal(loop_listen(&fix->listener, fix->loop, fd, on_accept, fix), FR_OK);
    loop_timer_start(fix->loop, &fix->guard, 10000000, on_guard, NULL);
}

static void
fixture_check(struct fixture *fix, const struct config_health *settings)
{
    fix->health = cluster_health_new(fix->loop, settings, &fix->listener.addr,
                                     0, settings->interval_us, on_told, fix);
    assert_int_equal(fix->told, 0); /* never from inside the call */
    assert_int_equal(loop_run(fix->loop), FR_OK);
}

static void
fixture_end(struct fixture *fix)
{
    loop_timer_stop(&fix->guard);
    cluster_health_free(&fix->health);
    assert_null(fix->health);
    for (unsigned i = 0; i < fix->held_count; i++)
        close(fix->held[i]);
    if (fix->listener.fd >= 0)
        loop_listener_close(&fix->listener);
    loop_free(&fix->loop);
}

static void
http_passes_and_asks_properly(void **state)
{
    (void)state;
    struct fixture fix;
    char expected_host[LOOP_ADDR_TEXT_BYTES + 16], text[LOOP_ADDR_TEXT_BYTES];
    fixture_start(&fix);
    fixture_check(&fix, &settings_http);
    assert_true(fix.healthy);
    assert_string_equal(fix.why, "status 200");
    assert_int_equal(cluster_health_checks(fix.health), 1);
    assert_int_equal(cluster_health_failures(fix.health), 0);
    ssize_t got = recv(fix.held[0], fix.request, sizeof(fix.request) - 1, 0);
    assert_true(got > 0);
    fix.request[got] = 0;
    assert_ptr_equal(strstr(fix.request, "GET /healthz HTTP/1.1\r\n"), fix.request);
    assert_non_null(strstr(fix.request, "\r\nConnection: close\r\n"));
    loop_addr_format(&fix.listener.addr, text);
    (void)snprintf(expected_host, sizeof(expected_host), "\r\nHost: %s\r\n", text);
    assert_non_null(strstr(fix.request, expected_host));
    fixture_end(&fix);
}

static void
http_failures_say_why(void **state)
{
    (void)state;
    static const struct {
        const char *reply, *why;
    } rows[] = {
        {"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "status 503, expected 200-399"},
        {"HTTP/1.1 199 Odd\r\n\r\nHTTP/1.1 400 Bad\r\n\r\n", "status 400, expected 200-399"},
        {"nonsense\r\n\r\n", "malformed response: "},
        {"", ""}, /* closed, with or without a reset */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture fix;
        fixture_start(&fix);
        fix.replies[0] = rows[i].reply;
        fixture_check(&fix, &settings_http);
        assert_false(fix.healthy);
        if (!fr_view_starts(fr_view_of(fix.why), fr_view_of(rows[i].why)))
            fail_msg("\"%s\" instead of \"%s\"", fix.why, rows[i].why);
        assert_string_equal(cluster_health_why(fix.health), fix.why);
        fixture_end(&fix);
    }
}

static void
http_silence_times_out(void **state)
{
    (void)state;
    struct fixture fix;
    struct config_health settings = settings_http;
    settings.timeout_us = 20000;
    fixture_start(&fix);
    fix.replies[0] = NULL;
    fixture_check(&fix, &settings);
    assert_false(fix.healthy);
    assert_string_equal(fix.why, "response: timed out after 20ms");
    fixture_end(&fix);
}

static void
http_half_a_head_is_not_enough(void **state)
{
    (void)state;
    struct fixture fix;
    struct config_health settings = settings_http;
    settings.timeout_us = 20000;
    fixture_start(&fix);
    fix.replies[0] = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"; /* two bytes short */
    fixture_check(&fix, &settings);
    assert_false(fix.healthy);
    fixture_end(&fix);
}

static void
tcp_connects_and_is_refused(void **state)
{
    (void)state;
    struct fixture fix;
    struct config_health settings = settings_http;
    settings.kind = CONFIG_HEALTH_TCP;
    fixture_start(&fix);
    fix.replies[0] = NULL;
    fixture_check(&fix, &settings);
    assert_true(fix.healthy);
    /* The same address with nobody behind it. */
    loop_listener_close(&fix.listener);
    fix.listener.fd = -1;
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_false(fix.healthy);
    assert_string_equal(fix.why, "connect: Connection refused");
    assert_int_equal(fix.told, 2);
    fixture_end(&fix);
}

static void
rise_and_fall_count_in_a_row(void **state)
{
    (void)state;
    struct fixture fix;
    struct config_health settings = settings_http;
    const char *bad = "HTTP/1.1 500 No\r\n\r\n", *good = "HTTP/1.1 200 OK\r\n\r\n";
    settings.rise = 2;
    settings.fall = 3;
    fixture_start(&fix);
    /* good bad good good: healthy with the fourth. Then bad bad good bad bad bad: unhealthy with
     * the tenth. */
    const char *script[] = {good, bad, good, good, bad, bad, good, bad, bad, bad};
    memcpy(fix.replies, script, sizeof(script));
    fixture_check(&fix, &settings);
    assert_true(fix.healthy);
    assert_int_equal(fix.accepted, 4);
    assert_int_equal(loop_run(fix.loop), FR_OK);
    assert_false(fix.healthy);
    assert_int_equal(cluster_health_checks(fix.health), 10);
    assert_int_equal(cluster_health_failures(fix.health), 6);
    assert_int_equal(fix.told, 2);
    fixture_end(&fix);
}

static void
none_is_healthy_at_once(void **state)
{
    (void)state;
    struct fixture fix;
    struct config_health settings = {.kind = CONFIG_HEALTH_NONE};
    fixture_start(&fix);
    fixture_check(&fix, &settings);
    assert_true(fix.healthy);
    assert_int_equal(fix.accepted, 0);
    fixture_end(&fix);
}

static void
callee_may_free(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix);
    fix.free_in_callback = true;
    fixture_check(&fix, &settings_http);
    assert_true(fix.healthy);
    assert_null(fix.health);
    fixture_end(&fix);
}

static void
freed_in_the_middle_of_a_check(void **state)
{
    (void)state;
    struct fixture fix;
    fixture_start(&fix);
    fix.health = cluster_health_new(fix.loop, &settings_http, &fix.listener.addr, 0, 1000, on_told,
                                    &fix);
    fixture_end(&fix);
    assert_int_equal(fix.told, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_healthy_at_once),
        cmocka_unit_test(tcp_connects_and_is_refused),
        cmocka_unit_test(http_passes_and_asks_properly),
        cmocka_unit_test(http_failures_say_why),
        cmocka_unit_test(http_silence_times_out),
        cmocka_unit_test(http_half_a_head_is_not_enough),
        cmocka_unit_test(rise_and_fall_count_in_a_row),
        cmocka_unit_test(callee_may_free),
        cmocka_unit_test(freed_in_the_middle_of_a_check),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
