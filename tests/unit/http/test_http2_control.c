/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_control.c - the frames that carry nothing of a message: what they must be, what they
 * may cost, and windows as SETTINGS move them.
 */
#include "http2_help.h"

/* ---- what they must be ---------------------------------------------------------------------- */

/* Behind a request on stream 1. */
static void
what_is_wrong_with_them(void **state)
{
    static const struct {
        unsigned type, flags;
        int32_t id;
        struct fr_view payload;
        int code; /* of the connection's end; -1: none */
    } rows[] = {
        {HTTP2_SETTINGS, 0, 1, {"", 0}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_SETTINGS, 0, 0, {"\0\3\0\0\0", 5}, HTTP2_FRAME_SIZE_ERROR},
        {HTTP2_SETTINGS, HTTP2_FLAG_ACK, 0, {"\0\3\0\0\0\1", 6}, HTTP2_FRAME_SIZE_ERROR},
        {HTTP2_SETTINGS, 0, 0, {"\0\2\0\0\0\2", 6}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_SETTINGS, 0, 0, {"\0\4\x80\0\0\0", 6}, HTTP2_FLOW_CONTROL_ERROR},
        {HTTP2_SETTINGS, 0, 0, {"\0\4\x7f\xff\xff\xff", 6}, -1},
        {HTTP2_SETTINGS, 0, 0, {"\0\5\0\0\x3f\xff", 6}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_SETTINGS, 0, 0, {"\0\5\1\0\0\0", 6}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_SETTINGS, 0, 0, {"\0\5\0\xff\xff\xff", 6}, -1},
        {HTTP2_SETTINGS, 0, 0, {"\x12\x34\0\0\0\1", 6}, -1}, /* nobody knows it */
        {HTTP2_PING, 0, 1, {"12345678", 8}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_PING, 0, 0, {"1234567", 7}, HTTP2_FRAME_SIZE_ERROR},
        {HTTP2_GOAWAY, 0, 1, {"\0\0\0\0\0\0\0\0", 8}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_GOAWAY, 0, 0, {"\0\0\0\0\0\0\0", 7}, HTTP2_FRAME_SIZE_ERROR},
        {HTTP2_RST_STREAM, 0, 0, {"\0\0\0\0", 4}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_RST_STREAM, 0, 3, {"\0\0\0\0", 4}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_RST_STREAM, 0, 1, {"\0\0\0", 3}, HTTP2_FRAME_SIZE_ERROR},
        {HTTP2_PRIORITY, 0, 0, {"\0\0\0\0\0", 5}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_PRIORITY, 0, 5, {"\0\0\0\0\0", 5}, -1},
        {HTTP2_PRIORITY_UPDATE, 0, 1, {"\0\0\0\1", 4}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_PRIORITY_UPDATE, 0, 0, {"\0\0\0", 3}, HTTP2_FRAME_SIZE_ERROR},
        {HTTP2_PRIORITY_UPDATE, 0, 0, {"\0\0\0\0u=1", 7}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_PUSH_PROMISE, 0, 1, {"\0\0\0\2", 4}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_WINDOW_UPDATE, 0, 0, {"\0\0\0\0", 4}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_WINDOW_UPDATE, 0, 0, {"\x7f\xff\xff\xff", 4}, HTTP2_FLOW_CONTROL_ERROR},
        {HTTP2_WINDOW_UPDATE, 0, 0, {"\0\0\0", 3}, HTTP2_FRAME_SIZE_ERROR},
        {HTTP2_WINDOW_UPDATE, 0, 3, {"\0\0\0\1", 4}, HTTP2_PROTOCOL_ERROR},
        {0xfa, 0xff, 3, {"whatever", 8}, -1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct owner *owner = begin(NULL);
        say(owner, FR_VIEW(GREETING));
        get(owner, 1);
        say_frame(owner, rows[i].type, rows[i].flags, rows[i].id, rows[i].payload);
        if (code_of(owner, 0) != rows[i].code)
            fail_msg("row %zu: %d", i, code_of(owner, 0));
        end(owner);
    }
}

static void
settings_come_first_and_are_acknowledged(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(HTTP2_PREFACE));
    get(owner, 1);
    assert_int_equal(code_of(owner, 0), HTTP2_PROTOCOL_ERROR);
    end(owner);

    owner = begin(NULL);
    say(owner, FR_VIEW(GREETING));
    assert_int_equal(sent(owner, HTTP2_SETTINGS, 0)->flags, HTTP2_FLAG_ACK);
    say_frame(owner, HTTP2_SETTINGS, HTTP2_FLAG_ACK, 0, FR_VIEW(""));
    assert_int_equal(code_of(owner, 0), -1);
    say_frame(owner, HTTP2_SETTINGS, HTTP2_FLAG_ACK, 0, FR_VIEW("")); /* of what? */
    assert_int_equal(code_of(owner, 0), HTTP2_PROTOCOL_ERROR);
    end(owner);
}

static void
a_ping_comes_back(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING));
    say_frame(owner, HTTP2_PING, HTTP2_FLAG_ACK, 0, FR_VIEW("not this"));
    assert_null(sent(owner, HTTP2_PING, 0));
    say_frame(owner, HTTP2_PING, 0, 0, FR_VIEW("but this"));
    const struct frame *pong = sent(owner, HTTP2_PING, 0);
    assert_non_null(pong);
    assert_int_equal(pong->flags, HTTP2_FLAG_ACK);
    assert_view(pong->payload, "but this");
    end(owner);
}

/* ---- what they may cost --------------------------------------------------------------------- */

/* What a client makes us reset, it has reset, within an answer too. */
static void
resets_that_a_client_makes_us_send(void **state)
{
    static const struct {
        unsigned type, flags;
        struct fr_view payload;
        int code;
    } rows[] = {
        {HTTP2_WINDOW_UPDATE, 0, {"\0\0\0\0", 4}, HTTP2_PROTOCOL_ERROR},
        {HTTP2_WINDOW_UPDATE, 0, {"\x7f\xff\xff\xff", 4}, HTTP2_FLOW_CONTROL_ERROR},
        {HTTP2_DATA, 0, {"x", 1}, HTTP2_STREAM_CLOSED},
        {HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS, {GET, 6}, HTTP2_STREAM_CLOSED},
        {HTTP2_PRIORITY, 0, {"", 0}, HTTP2_FRAME_SIZE_ERROR},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct owner *owner = begin(NULL);
        int32_t id = 1;
        say(owner, FR_VIEW(GREETING));
        for (; id < 200 && http2_session_calm(owner->session) == HTTP2_CALM_NONE; id += 2) {
            get(owner, id);
            answer(stream_of(owner, id), "HTTP/1.1 200 OK\r\n\r\n", false);
            say_frame(owner, rows[i].type, rows[i].flags, id, rows[i].payload);
            say_frame(owner, HTTP2_PRIORITY, 0, id, FR_VIEW("")); /* a second time */
            assert_int_equal(code_of(owner, (uint32_t)id), rows[i].code);
        }
        assert_int_equal(id / 2, 21); /* resets of the limits, and the one too many */
        assert_int_equal(http2_session_calm(owner->session), HTTP2_CALM_RESETS);
        end(owner);
    }
}

/* What is said to streams that are gone is passed over, and costs what empty frames do. */
static void
frames_for_streams_that_are_gone(void **state)
{
    static const struct {
        unsigned type, flags;
        struct fr_view payload;
    } rows[] = {
        {HTTP2_RST_STREAM, 0, {"\0\0\0\x8", 4}},
        {HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, {GET, 6}},
        {HTTP2_WINDOW_UPDATE, 0, {"\0\0\0\1", 4}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct owner *owner = begin(NULL);
        int turns = 0;
        say(owner, FR_VIEW(GREETING));
        get(owner, 1);
        http2_stream_reset(stream_of(owner, 1), HTTP2_CANCEL);
        pull(owner);
        for (; turns < 1000 && http2_session_calm(owner->session) == HTTP2_CALM_NONE; turns++)
            say_frame(owner, rows[i].type, rows[i].flags, 1, rows[i].payload);
        assert_in_range(turns, 99, 101);
        assert_int_equal(http2_session_calm(owner->session), HTTP2_CALM_FRAMES);
        assert_int_equal(http2_session_requests(owner->session), 1);
        end(owner);
    }
}

/* One frame of SETTINGS may move each stream's window once, not thousands of times. */
static void
a_frame_has_few_settings(void **state)
{
    static char settings[33 * 6];
    (void)state;
    for (size_t count = 32; count <= 33; count++) {
        struct owner *owner = begin(NULL);
        for (size_t i = 0; i < count; i++)
            memcpy(settings + 6 * i, "\0\4\0\0\0", 5), settings[6 * i + 5] = (char)i;
        say(owner, FR_VIEW(GREETING));
        get(owner, 1);
        say_frame(owner, HTTP2_SETTINGS, 0, 0, fr_view_make(settings, 6 * count));
        if (count == 32)
            assert_int_equal(http2_stream_window(stream_of(owner, 1)), 31); /* the last counts */
        assert_int_equal(http2_session_calm(owner->session),
                         count == 32 ? HTTP2_CALM_NONE : HTTP2_CALM_FRAMES);
        end(owner);
    }
}

/* ---- windows -------------------------------------------------------------------------------- */

/* RFC 9113 section 6.9.2: what is open moves by the difference, what comes begins there; past
 * 2^31-1 the connection ends. */
static void
settings_move_every_window(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING));
    get(owner, 1);
    say_number(owner, HTTP2_WINDOW_UPDATE, 1, 10);
    get(owner, 3);
    say_frame(owner, HTTP2_SETTINGS, 0, 0, FR_VIEW("\0\4\0\0\0\x64"));
    get(owner, 5);
    assert_int_equal(http2_stream_window(stream_of(owner, 1)), 110);
    assert_int_equal(http2_stream_window(stream_of(owner, 3)), 100);
    assert_int_equal(http2_stream_window(stream_of(owner, 5)), 100);
    say_frame(owner, HTTP2_SETTINGS, 0, 0, FR_VIEW("\0\4\x7f\xff\xff\xf5"));
    assert_int_equal(code_of(owner, 0), -1);
    say_frame(owner, HTTP2_SETTINGS, 0, 0, FR_VIEW("\0\4\x7f\xff\xff\xf6"));
    assert_int_equal(code_of(owner, 0), HTTP2_FLOW_CONTROL_ERROR);
    end(owner);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_wrong_with_them),
        cmocka_unit_test(settings_come_first_and_are_acknowledged),
        cmocka_unit_test(a_ping_comes_back),
        cmocka_unit_test(resets_that_a_client_makes_us_send),
        cmocka_unit_test(frames_for_streams_that_are_gone),
        cmocka_unit_test(a_frame_has_few_settings),
        cmocka_unit_test(settings_move_every_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
