/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_client.c - our end of a connection to a member: frames in, text out, at every cut.
 */
#include "http/http2_client.h"
#include "http_help.h"

#include "base/fr_mem.h"

#include <stdio.h>

struct seen {
    char text[4096];
    size_t len;
    int sent, ended;
};

static void
add(struct seen *seen, const char *kind, struct fr_view view)
{
    int room = (int)(sizeof(seen->text) - seen->len);
    int more = snprintf(seen->text + seen->len, (size_t)room, "%s%.*s|", kind, FR_VIEW_ARG(view));
    assert_in_range(more, 0, room - 1);
    seen->len += (size_t)more;
}

static bool
on_head(void *ctx, struct http2_call *call, struct fr_view text, bool switched)
{
    (void)call;
    add(ctx, switched ? "S:" : "H:", text);
    return true;
}

static bool
on_data(void *ctx, struct http2_call *call, struct fr_view bytes)
{
    struct seen *seen = ctx;
    (void)call;
    if (seen->len > 2 && seen->text[seen->len - 1] == '|' && strstr(seen->text, "D:"))
        seen->len--; /* however it was cut */
    else
        add(seen, "D:", (struct fr_view){0}), seen->len--;
    add(seen, "", bytes);
    return true;
}

static bool
on_trailers(void *ctx, struct http2_call *call, struct fr_view section)
{
    (void)call;
    add(ctx, "T:", section);
    return true;
}

static void
on_ended(void *ctx, struct http2_call *call)
{
    struct seen *seen = ctx;
    (void)call;
    seen->ended++;
}

static void
on_sent(void *ctx, struct http2_call *call)
{
    struct seen *seen = ctx;
    (void)call;
    seen->sent++;
}

static const struct http2_client_ops ops = {on_head, on_data, on_trailers, on_ended, on_sent};

#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define HEAD_200 "\0\0\1\1\4\0\0\0\1\x88"
#define GET "GET /a HTTP/1.1\r\nHost: h\r\nConnection: TE\r\nTE: trailers\r\n\r\n"

static size_t
drain(struct http2_client *client)
{
    struct fr_view out;
    size_t total = 0;
    do {
        assert_true(http2_client_output(client, &out));
        total += out.len;
    } while (out.len > 0);
    return total;
}

static struct http2_client *
asked(struct seen *seen, struct http2_call *call)
{
    struct http2_client *client;
    struct http2_request request = {.head = FR_VIEW(GET), .bodiless = true};
    memset(seen, 0, sizeof(*seen));
    memset(call, 0, sizeof(*call));
    assert_int_equal(http2_client_new(&ops, seen, &http_limits_default, &client), FR_OK);
    assert_int_equal(http2_client_room(client), 1);
    assert_int_equal(http2_client_open(client, call, &request), FR_OK);
    assert_true(drain(client) > 24);
    assert_int_equal(seen->sent, 1);
    assert_int_equal(http2_client_room(client), 0);
    return client;
}

/* At every cut: what is seen is the same. */
static void
check(struct fr_view frames, const char *want, enum http2_call_end end)
{
    for (size_t cut = 0; cut <= frames.len; cut++) {
        struct seen seen;
        struct http2_call call;
        struct http2_client *client = asked(&seen, &call);
        bool fine = http2_client_receive(client, fr_view_make(frames.ptr, cut), 1);
        if (fine)
            fine =
                http2_client_receive(client, fr_view_make(frames.ptr + cut, frames.len - cut), 1);
        assert_true(fine);
        (void)drain(client);
        assert_string_equal(seen.text, want);
        assert_int_equal(call.end, end);
        http2_client_free(&client);
        assert_null(client);
    }
}

static void
a_response(void **state)
{
    (void)state;
    check(FR_VIEW(SETTINGS HEAD_200 "\0\0\5\0\1\0\0\0\1hello"),
          "H:HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n|D:hello|", HTTP2_CALL_OK);
    check(FR_VIEW(SETTINGS "\0\0\1\1\5\0\0\0\1\x88"),
          "H:HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n|", HTTP2_CALL_OK);
    check(FR_VIEW(SETTINGS HEAD_200 "\0\0\5\1\5\0\0\0\1\0\1a\1b"),
          "H:HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n|T:a: b\r\n\r\n|", HTTP2_CALL_OK);
}

static void
ends(void **state)
{
    (void)state;
    check(FR_VIEW(SETTINGS "\0\0\4\3\0\0\0\0\1\0\0\0\7"), "", HTTP2_CALL_REFUSED);
    check(FR_VIEW(SETTINGS "\0\0\4\3\0\0\0\0\1\0\0\0\2"), "", HTTP2_CALL_RESET);
    check(FR_VIEW(SETTINGS "\0\0\10\7\0\0\0\0\0\0\0\0\0\0\0\0\0"), "", HTTP2_CALL_UNPROCESSED);
    check(FR_VIEW(SETTINGS "\0\0\5\1\5\0\0\0\1\0\1a\1b"), "", HTTP2_CALL_BAD); /* no status */
}

/* Nobody's window bounds heads. */
static void
interim_heads_are_counted(void **state)
{
    static const char head[] = "\0\0\5\1\4\0\0\0\1\x48\x03"
                               "103";
    struct seen seen;
    struct http2_call call;
    (void)state;
    struct http2_client *client = asked(&seen, &call);
    assert_true(http2_client_receive(client, FR_VIEW(SETTINGS), 1));
    for (int i = 0; i < HTTP_INTERIM_MAX; i++)
        assert_true(http2_client_receive(client, fr_view_make(head, sizeof(head) - 1), 1));
    (void)drain(client);
    size_t len = seen.len;
    assert_int_equal(call.end, HTTP2_CALL_NONE);
    for (int i = 0; i < 100; i++)
        assert_true(http2_client_receive(client, fr_view_make(head, sizeof(head) - 1), 1));
    (void)drain(client);
    assert_int_equal(call.end, HTTP2_CALL_INTERIMS);
    assert_int_equal(seen.len, len);
    http2_client_free(&client);
}

static void
rules(void **state)
{
    struct seen seen;
    struct http2_call call;
    (void)state;
    struct http2_client *client = asked(&seen, &call);
    assert_true(http2_client_receive(client, FR_VIEW("\0\0\10\6\0\0\0\0\0abcdefgh"), 1));
    (void)drain(client);
    assert_true(http2_client_broken(client)); /* SETTINGS must come first */
    http2_client_free(&client);
    client = asked(&seen, &call);
    assert_true(http2_client_receive(client, FR_VIEW(SETTINGS), 1));
    bool fine = true;
    for (int i = 0; i < HTTP2_CLIENT_IDLE_FRAMES_MAX + 10 && fine; i++) {
        fine = http2_client_receive(client, FR_VIEW("\0\0\10\6\0\0\0\0\0abcdefgh"), 1);
        (void)drain(client);
    }
    assert_false(fine);
    assert_true(http2_client_broken(client));
    http2_client_free(&client);
}

#define SECOND INT64_C(1000000)
#define PING "\0\0\10\6\0\0\0\0\0abcdefgh"
#define UNKNOWN "\0\0\1\x4d\0\0\0\0\0x"

/* How many times a frame is taken at that moment, until the connection is over or `most` is
 * reached. */
static int
takes(struct http2_client *client, struct fr_view frame, int64_t now_us, int most)
{
    int count = 0;
    while (count < most && http2_client_receive(client, frame, now_us)) {
        (void)drain(client);
        count++;
    }
    return count;
}

/* Spends all that the budget allows at once, lets time pass in steps and sees what came back. */
static void
check_budget(struct fr_view frame, int all, int64_t pass_us, int64_t step_us, int want)
{
    struct seen seen;
    struct http2_call call;
    int64_t now_us = 7 * SECOND;
    struct http2_client *client = asked(&seen, &call);
    assert_true(http2_client_receive(client, FR_VIEW(SETTINGS), now_us));
    assert_int_equal(takes(client, frame, now_us, all), all);
    for (int64_t at = 0; at < pass_us; at += step_us)
        assert_true(http2_client_receive(client, FR_VIEW(""), now_us += step_us));
    assert_int_equal(takes(client, frame, now_us, 10 * all), want);
    assert_true(http2_client_broken(client));
    http2_client_free(&client);
}

static void
budgets_come_back_with_time(void **state)
{
    enum { IDLE = HTTP2_CLIENT_IDLE_FRAMES_MAX - 1 }; /* SETTINGS was one */
    struct fr_view unknown = FR_VIEW(UNKNOWN), ping = FR_VIEW(PING);
    (void)state;
    check_budget(ping, IDLE, 0, 1, 0);
    check_budget(ping, IDLE, SECOND, SECOND, HTTP2_CLIENT_IDLE_FRAMES_A_S);
    check_budget(ping, IDLE, 5 * SECOND, SECOND, 5 * HTTP2_CLIENT_IDLE_FRAMES_A_S);
    check_budget(ping, IDLE, 3600 * SECOND, 3600 * SECOND, HTTP2_CLIENT_IDLE_FRAMES_MAX);
    check_budget(unknown, IDLE, 0, 1, 0);
    check_budget(unknown, IDLE, SECOND, SECOND, HTTP2_CLIENT_IDLE_FRAMES_A_S);
}

/* At the rate that is allowed it goes on for ever, and a little above it, it does not. */
static void
a_steady_stream_of_pings(void **state)
{
    struct seen seen;
    struct http2_call call;
    int64_t now_us = 7 * SECOND;
    int turn = 0;
    (void)state;
    struct http2_client *client = asked(&seen, &call);
    assert_true(http2_client_receive(client, FR_VIEW(SETTINGS), now_us));
    for (; turn < 50 * HTTP2_CLIENT_IDLE_FRAMES_MAX; turn++)
        assert_int_equal(takes(client, FR_VIEW(PING), now_us += 10000, 1), 1);
    for (turn = 0; takes(client, FR_VIEW(PING), now_us += 5000, 1) == 1; turn++)
        assert_true(turn < 3 * HTTP2_CLIENT_IDLE_FRAMES_MAX);
    http2_client_free(&client);
}

static void
a_cancelled_one_says_nothing_more(void **state)
{
    struct seen seen;
    struct http2_call call;
    (void)state;
    struct http2_client *client = asked(&seen, &call);
    http2_client_cancel(client, &call, false);
    memset(&call, 0xaa, sizeof(call)); /* it is its owner's again */
    assert_true(http2_client_receive(client, FR_VIEW(SETTINGS HEAD_200 "\0\0\1\0\1\0\0\0\1x"), 1));
    (void)drain(client);
    assert_string_equal(seen.text, "");
    assert_int_equal(seen.ended, 0);
    assert_int_equal(http2_client_room(client) > 1, 1);
    http2_client_free(&client);
}

/* Its body was on its way: a window's worth of each that is cancelled, and no sin of the member. */
static void
what_comes_for_cancelled_ones_is_no_flood(void **state)
{
    enum { FRAME = 9 + 16384, FRAMES = 100 };
    struct seen seen;
    struct http2_call call;
    char *frame = fr_xalloc(FRAME);
    (void)state;
    memcpy(frame, "\0\x40\0\0\0\0\0\0\1", 9);
    struct http2_client *client = asked(&seen, &call);
    assert_true(http2_client_receive(client, FR_VIEW(SETTINGS HEAD_200), 1));
    http2_client_cancel(client, &call, false);
    (void)drain(client);
    assert_int_equal(takes(client, fr_view_make(frame, FRAME), 1, FRAMES), FRAMES);
    http2_client_free(&client);
    fr_free(frame);
}

static void
without_memory(void **state)
{
    (void)state;
    for (uint64_t countdown = 1; countdown < 60; countdown++) {
        struct seen seen = {0};
        struct http2_call call = {0};
        struct http2_client *client = NULL;
        struct http2_request request = {.head = FR_VIEW(GET), .bodiless = true};
        struct fr_view out = {0};
        fr_mem_fail_after(countdown);
        if (http2_client_new(&ops, &seen, &http_limits_default, &client) == FR_OK &&
            http2_client_open(client, &call, &request) == FR_OK)
            while (http2_client_output(client, &out) && out.len > 0)
                continue;
        if (client && !http2_client_receive(client, FR_VIEW(SETTINGS HEAD_200), 1))
            assert_true(http2_client_broken(client));
        fr_mem_fail_after(0);
        http2_client_free(&client);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_response),
        cmocka_unit_test(ends),
        cmocka_unit_test(interim_heads_are_counted),
        cmocka_unit_test(rules),
        cmocka_unit_test(budgets_come_back_with_time),
        cmocka_unit_test(a_steady_stream_of_pings),
        cmocka_unit_test(a_cancelled_one_says_nothing_more),
        cmocka_unit_test(what_comes_for_cancelled_ones_is_no_flood),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
