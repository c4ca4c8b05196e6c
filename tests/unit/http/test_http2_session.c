/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_session.c - the server's side of a connection in raw frames: requests at every cut,
 * answers as the windows allow, refusals, floods, leaving.
 */
#include "http2_help.h"

/* ---- requests ------------------------------------------------------------------------------- */

static void
check(struct fr_view frames, const char *want)
{
    for (size_t cut = 0; cut <= frames.len; cut++) {
        struct owner *owner = begin(NULL);
        say(owner, fr_view_make(frames.ptr, cut));
        say(owner, fr_view_make(frames.ptr + cut, frames.len - cut));
        pull(owner);
        assert_string_equal(owner->seen, want);
        end(owner);
    }
}

static void
requests_at_every_cut(void **state)
{
    (void)state;
    check(FR_VIEW(GREETING GET_1), "H.GET / HTTP/1.1\r\nHost: h\r\n\r\n|");
    check(FR_VIEW(GREETING "\0\0\6\1\4\0\0\0\1" POST "\0\0\3\0\0\0\0\0\1abc"
                           "\0\0\2\0\1\0\0\0\1de"),
          "H:POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n|D:abcde|E:|");
    /* A head in two frames, and trailers. */
    check(FR_VIEW(GREETING "\0\0\3\1\0\0\0\0\1\x83\x86\x84\0\0\3\x9\4\0\0\0\1\x41\1h"
                           "\0\0\5\1\5\0\0\0\1\0\1a\1b"),
          "H:POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n|E:a: b\r\n\r\n|");
}

static void
a_head_that_is_not_whole(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING "\0\0\3\1\1\0\0\0\1\x82\x86\x84"));
    assert_true(http2_session_in_head(owner->session));
    assert_string_equal(owner->seen, "");
    say(owner, FR_VIEW("\0\0\3\x9\4\0\0\0\1\x41\1h"));
    assert_false(http2_session_in_head(owner->session));
    assert_int_equal(http2_session_requests(owner->session), 1);
    assert_int_equal(http2_session_streams(owner->session), 1);
    end(owner);
}

static void
malformed_and_too_large(void **state)
{
    (void)state;
    const struct {
        struct fr_view frames;
        uint32_t code;
    } rows[] = {
        {FR_VIEW("\0\0\4\1\5\0\0\0\1\x82\x86\x84\x84"), HTTP2_PROTOCOL_ERROR}, /* two paths */
        {FR_VIEW("\0\0\2\1\5\0\0\0\1\x82\x86"), HTTP2_PROTOCOL_ERROR},
        {FR_VIEW("\0\0\xb\1\5\0\0\0\1" GET "\0\1A\1b"), HTTP2_PROTOCOL_ERROR}, /* upper case */
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct owner *owner = begin(NULL);
        say(owner, FR_VIEW(GREETING));
        say(owner, rows[i].frames);
        const struct frame *reset = sent(owner, HTTP2_RST_STREAM, 1);
        assert_non_null(reset);
        assert_int_equal(number(reset->payload.ptr, 4), rows[i].code);
        assert_string_equal(owner->seen, "");
        assert_int_equal(http2_session_streams(owner->session), 0);
        assert_false(http2_session_over(owner->session)); /* the others go on */
        end(owner);
    }
    /* A value of 9000 bytes: the owner is told, who may answer it. */
    struct owner *owner = begin(NULL);
    static char frames[9100];
    const size_t len = 21; /* up to the value */
    memcpy(frames, "\0\0\0\1\5\0\0\0\1" GET "\0\1a\x7f\xa9\x45", len);
    memset(frames + len, 'v', 9000);
    frames[1] = (char)((len - 9 + 9000) >> 8);
    frames[2] = (char)((len - 9 + 9000) & 255);
    say(owner, FR_VIEW(GREETING));
    say(owner, fr_view_make(frames, len + 9000));
    if (strncmp(owner->seen, "R:", 2) != 0)
        fail_msg("%s", owner->seen);
    end(owner);
}

static void
streams_that_are_refused(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    owner->refuses = true;
    say(owner, FR_VIEW(GREETING GET_1));
    const struct frame *reset = sent(owner, HTTP2_RST_STREAM, 1);
    assert_non_null(reset);
    assert_int_equal(number(reset->payload.ptr, 4), HTTP2_REFUSED_STREAM);
    /* Of five at once where four may be, the fifth is. */
    owner->refuses = false;
    for (int i = 0; i < 5; i++) {
        char get[] = "\0\0\6\1\5\0\0\0\0" GET;
        get[8] = (char)(3 + 2 * i);
        say(owner, fr_view_make(get, sizeof(get) - 1));
    }
    assert_null(sent(owner, HTTP2_RST_STREAM, 9));
    assert_non_null(sent(owner, HTTP2_RST_STREAM, 11));
    assert_int_equal(http2_session_streams(owner->session), 4);
    end(owner);
}

/* ---- answers -------------------------------------------------------------------------------- */

static void
an_answer_with_body_and_trailers(void **state)
{
    struct owner *owner = begin(NULL);
    struct http2_stream *stream = &owner->streams[0].http2;
    char first[] = "hel", second[] = "lo", body[16];
    const struct iovec parts[] = {{first, 3}, {NULL, 0}, {second, 2}};
    bool ended;
    (void)state;
    say(owner, FR_VIEW(GREETING GET_1));
    answer(stream, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", false);
    answer(stream, "HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n", false);
    assert_int_equal(body_of(owner, 1, body, sizeof(body), &ended), 0);
    assert_false(ended);
    http2_stream_body(stream, parts, 3, false, (struct fr_view){0});
    assert_int_equal(body_of(owner, 1, body, sizeof(body), &ended), 5);
    assert_memory_equal(body, "hello", 5);
    assert_false(ended);
    assert_int_equal(owner->taken, 1); /* the parts may be used for other things */
    http2_stream_body(stream, NULL, 0, true, FR_VIEW("x-t: y\r\n\r\n"));
    assert_int_equal(body_of(owner, 1, body, sizeof(body), &ended), 5);
    assert_true(ended);
    assert_int_equal(owner->taken, 1); /* with its end a stream is its owner's again */
    assert_int_equal(sent(owner, HTTP2_HEADERS, 1)->flags & 1, 1); /* the trailers are it */
    assert_false(owner->streams[0].open);
    assert_int_equal(owner->streams[0].code, HTTP2_NO_ERROR);
    end(owner);
}

static void
an_answer_before_the_request_is_whole(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING "\0\0\6\1\4\0\0\0\1" POST));
    answer(&owner->streams[0].http2, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", true);
    const struct frame *reset = sent(owner, HTTP2_RST_STREAM, 1);
    assert_non_null(reset);
    assert_int_equal(number(reset->payload.ptr, 4), HTTP2_NO_ERROR);
    end(owner);
}

/* A response that is cut is reset, and no frame of it says that it is whole. */
static void
a_cut_answer_has_no_end(void **state)
{
    struct owner *owner = begin(NULL);
    struct http2_stream *stream = &owner->streams[0].http2;
    char part[] = "half", body[16];
    const struct iovec parts[] = {{part, 4}};
    bool ended;
    (void)state;
    say(owner, FR_VIEW(GREETING GET_1));
    answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", false);
    http2_stream_body(stream, parts, 1, false, (struct fr_view){0});
    assert_int_equal(body_of(owner, 1, body, sizeof(body), &ended), 4);
    http2_stream_reset(stream, HTTP2_INTERNAL_ERROR);
    assert_int_equal(body_of(owner, 1, body, sizeof(body), &ended), 4);
    assert_false(ended);
    assert_int_equal(number(sent(owner, HTTP2_RST_STREAM, 1)->payload.ptr, 4),
                     HTTP2_INTERNAL_ERROR);
    end(owner);
}

static void
bodies_go_as_the_window_allows(void **state)
{
    struct owner *owner = begin(NULL);
    struct http2_stream *stream = &owner->streams[0].http2;
    char part[] = "0123456789", body[16];
    const struct iovec parts[] = {{part, 10}};
    bool ended;
    (void)state;
    say(owner, FR_VIEW(HTTP2_PREFACE "\0\0\6\4\0\0\0\0\0\0\4\0\0\0\4" GET_1)); /* a window of 4 */
    answer(stream, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n", false);
    http2_stream_body(stream, parts, 1, true, (struct fr_view){0});
    assert_int_equal(body_of(owner, 1, body, sizeof(body), &ended), 4);
    assert_int_equal(http2_stream_window(stream), 0);
    assert_false(ended);
    assert_int_equal(owner->taken, 0);
    say(owner, FR_VIEW("\0\0\4\x8\0\0\0\0\1\0\0\0\3"));
    assert_int_equal(body_of(owner, 1, body, sizeof(body), &ended), 7);
    /* Below zero by another SETTINGS, then open again. */
    say(owner, FR_VIEW("\0\0\6\4\0\0\0\0\0\0\4\0\0\0\0"));
    assert_int_equal(http2_stream_window(stream), 0);
    say(owner, FR_VIEW("\0\0\4\x8\0\0\0\0\1\0\0\0\x9"));
    assert_int_equal(body_of(owner, 1, body, sizeof(body), &ended), 10);
    assert_true(ended);
    assert_memory_equal(body, "0123456789", 10);
    assert_false(owner->streams[0].open);
    end(owner);
}

/* A client may send again what was taken of its body, and no more. */
static void
windows_open_as_bodies_are_taken(void **state)
{
    static const struct http2_limits small = {.streams = 4,
                                              .stream_window_bytes = 100,
                                              .connection_window_bytes = 65535,
                                              .resets = 20,
                                              .idle_frames = 100};
    struct owner *owner = begin(&small);
    char data[9 + 100] = "\0\0\x64\0\0\0\0\0\1";
    (void)state;
    say(owner, FR_VIEW(GREETING "\0\0\6\1\4\0\0\0\1" POST));
    pull(owner);
    say(owner, FR_VIEW("\0\0\0\4\1\0\0\0\0")); /* our settings are in force */
    say(owner, fr_view_make(data, sizeof(data)));
    assert_null(sent(owner, HTTP2_WINDOW_UPDATE, 1));
    http2_stream_consume(owner->session, &owner->streams[0].http2, 100);
    const struct frame *update = sent(owner, HTTP2_WINDOW_UPDATE, 1);
    assert_non_null(update);
    assert_int_equal(number(update->payload.ptr, 4), 100);
    say(owner, fr_view_make(data, sizeof(data)));
    assert_null(sent(owner, HTTP2_RST_STREAM, 1));
    say(owner, FR_VIEW("\0\0\1\0\0\0\0\0\1x")); /* one too many */
    const struct frame *reset = sent(owner, HTTP2_RST_STREAM, 1);
    assert_non_null(reset);
    assert_int_equal(number(reset->payload.ptr, 4), HTTP2_FLOW_CONTROL_ERROR);
    end(owner);
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void
a_clients_reset_frees_the_stream(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING GET_1 "\0\0\4\3\0\0\0\0\1\0\0\0\x8" GET_3));
    assert_int_equal(owner->streams[0].http2.id, 3); /* in the place of the first */
    assert_int_equal(http2_session_streams(owner->session), 1);
    assert_int_equal(http2_session_requests(owner->session), 2);
    end(owner);
}

static void
assert_calm(struct owner *owner, enum http2_calm calm)
{
    const struct frame *goaway = sent(owner, HTTP2_GOAWAY, 0);
    assert_non_null(goaway);
    assert_int_equal(number(goaway->payload.ptr + 4, 4), HTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(http2_session_calm(owner->session), calm);
    assert_true(http2_session_over(owner->session));
    uint64_t requests = http2_session_requests(owner->session);
    say(owner, FR_VIEW("\0\0\6\1\5\0\0\1\1" GET)); /* passed over */
    assert_int_equal(http2_session_requests(owner->session), requests);
}

/* The code is the client's to choose: NO_ERROR, INTERNAL_ERROR, REFUSED_STREAM and CANCEL cost the
 * same, before an answer and within it. */
static void
resets_cost_the_same_whatever_their_code(void **state)
{
    static const char codes[] = {0, 2, 7, 8};
    (void)state;
    for (size_t i = 0; i < 2 * sizeof(codes); i++) {
        struct owner *owner = begin(NULL);
        bool answered = i % 2;
        int turns = 0;
        say(owner, FR_VIEW(GREETING));
        for (; turns < 60 && http2_session_calm(owner->session) == HTTP2_CALM_NONE; turns++) {
            char head[] = "\0\0\6\1\5\0\0\0\0" GET, reset[] = "\0\0\4\3\0\0\0\0\0\0\0\0\0";
            head[8] = reset[8] = (char)(1 + 2 * turns);
            reset[12] = codes[i / 2];
            say(owner, fr_view_make(head, sizeof(head) - 1));
            if (answered)
                answer(&owner->streams[0].http2, "HTTP/1.1 200 OK\r\n\r\n", false);
            say(owner, fr_view_make(reset, sizeof(reset) - 1));
        }
        assert_int_equal(turns, 21); /* resets of the limits, and the one too many */
        assert_calm(owner, HTTP2_CALM_RESETS);
        end(owner);
    }
}

static void
floods_are_told_to_be_calm(void **state)
{
    int turns;
    (void)state;
    struct owner *owner = begin(NULL);
    say(owner, FR_VIEW(GREETING));
    for (turns = 0; turns < 1000 && http2_session_calm(owner->session) == HTTP2_CALM_NONE; turns++)
        say(owner, FR_VIEW("\0\0\x8\6\0\0\0\0\0pingping"));
    assert_in_range(turns, 99, 101);
    assert_calm(owner, HTTP2_CALM_FRAMES);
    end(owner);

    owner = begin(NULL);
    say(owner, FR_VIEW(GREETING "\0\0\6\1\1\0\0\0\1" GET));
    for (turns = 0; turns < 1000 && http2_session_calm(owner->session) == HTTP2_CALM_NONE; turns++)
        say(owner, FR_VIEW("\0\0\5\x9\0\0\0\0\1\0\1a\1b"));
    assert_in_range(turns, 1, 8);
    assert_calm(owner, HTTP2_CALM_HEADS);
    end(owner);
}

/* Time makes good for a tenth of the budget a second, and no more than all of it. */
static void
budgets_fill_up_again(void **state)
{
    struct owner *owner = begin(NULL);
    int32_t id = 1;
    int64_t now_us = 1000000;
    (void)state;
    say(owner, FR_VIEW(GREETING));
    for (int round = 0; round < 3; round++) {
        http2_session_receive(owner->session, FR_VIEW(""), now_us);
        for (int i = 0; i < (round ? 2 : 20); i++, id += 2) {
            char pair[] = "\0\0\6\1\5\0\0\0\0" GET "\0\0\4\3\0\0\0\0\0\0\0\0\x8";
            pair[8] = pair[23] = (char)id;
            http2_session_receive(owner->session, fr_view_make(pair, sizeof(pair) - 1), now_us);
        }
        assert_int_equal(http2_session_calm(owner->session), HTTP2_CALM_NONE);
        now_us += 1000000; /* two of twenty */
    }
    end(owner);
}

static void
leaving_in_two_steps(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING GET_1));
    http2_session_warn(owner->session);
    const struct frame *goaway = sent(owner, HTTP2_GOAWAY, 0);
    assert_non_null(goaway);
    assert_int_equal(number(goaway->payload.ptr, 4), INT32_MAX);
    say(owner, FR_VIEW(GET_3)); /* it was on its way */
    assert_int_equal(http2_session_requests(owner->session), 2);
    http2_session_goaway(owner->session);
    goaway = sent(owner, HTTP2_GOAWAY, 0);
    assert_int_equal(number(goaway->payload.ptr, 4), 3);
    assert_int_equal(number(goaway->payload.ptr + 4, 4), HTTP2_NO_ERROR);
    say(owner, FR_VIEW("\0\0\6\1\5\0\0\0\5" GET));
    assert_int_equal(http2_session_streams(owner->session), 2);
    for (int i = 0; i < 2; i++) {
        assert_false(http2_session_over(owner->session));
        answer(&owner->streams[i].http2, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", true);
        pull(owner);
    }
    assert_true(http2_session_over(owner->session)); /* behind the last answer */
    end(owner);
}

static void
no_preface_no_session(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW("GET / HTTP/1.1\r\nHost: h\r\n\r\n"));
    const struct frame *goaway = sent(owner, HTTP2_GOAWAY, 0);
    assert_non_null(goaway);
    assert_int_equal(number(goaway->payload.ptr + 4, 4), HTTP2_PROTOCOL_ERROR);
    assert_true(http2_session_over(owner->session));
    assert_int_equal(http2_session_requests(owner->session), 0);
    end(owner);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_at_every_cut),
        cmocka_unit_test(a_head_that_is_not_whole),
        cmocka_unit_test(malformed_and_too_large),
        cmocka_unit_test(streams_that_are_refused),
        cmocka_unit_test(an_answer_with_body_and_trailers),
        cmocka_unit_test(an_answer_before_the_request_is_whole),
        cmocka_unit_test(a_cut_answer_has_no_end),
        cmocka_unit_test(bodies_go_as_the_window_allows),
        cmocka_unit_test(windows_open_as_bodies_are_taken),
        cmocka_unit_test(a_clients_reset_frees_the_stream),
        cmocka_unit_test(resets_cost_the_same_whatever_their_code),
        cmocka_unit_test(floods_are_told_to_be_calm),
        cmocka_unit_test(budgets_fill_up_again),
        cmocka_unit_test(leaving_in_two_steps),
        cmocka_unit_test(no_preface_no_session),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
