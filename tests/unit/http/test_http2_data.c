/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_data.c - requests' bodies: padding, windows, lengths that were told, and what comes
 * for a stream that takes no more.
 */
#include "http2_help.h"

#define WINDOW 65535 /* of the connection, of which half is given back at once */

static const struct http2_limits narrow = {.streams = 4,
                                           .stream_window_bytes = 100,
                                           .connection_window_bytes = WINDOW,
                                           .resets = 20,
                                           .idle_frames = 100};

static void
data(struct owner *owner, int32_t id, unsigned flags, size_t bytes)
{
    static char payload[HTTP2_FRAME_BYTES_MAX];
    memset(payload, 'd', sizeof(payload));
    say_frame(owner, HTTP2_DATA, flags, id, fr_view_make(payload, bytes));
}

/* As much for the connection as gives half of its window back, on a stream that nobody reads. */
static uint32_t
given_back(struct owner *owner)
{
    const struct frame *update = sent(owner, HTTP2_WINDOW_UPDATE, 0);
    return update ? number(update->payload.ptr, 4) : 0;
}

/* ---- padding -------------------------------------------------------------------------------- */

static void
padding_is_no_body(void **state)
{
    const struct {
        struct fr_view payload;
        const char *seen; /* NULL: the connection's end */
        uint32_t code;
    } rows[] = {
        {FR_VIEW("\2abc\0\0"), "D:abc|E:|", 0},
        {FR_VIEW("\0abc"), "D:abc|E:|", 0},
        {FR_VIEW("\3\0\0\0"), "E:|", 0}, /* nothing else */
        {FR_VIEW("\0"), "E:|", 0},
        {FR_VIEW("\4\0\0\0"), NULL, HTTP2_PROTOCOL_ERROR}, /* longer than what there is */
        {FR_VIEW("\1"), NULL, HTTP2_PROTOCOL_ERROR},
        {FR_VIEW(""), NULL, HTTP2_FRAME_SIZE_ERROR},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (size_t step = 1; step < 20; step += 18) { /* an octet at a time, too */
            struct owner *owner = begin(NULL);
            char frame[32];
            struct fr_view payload = rows[i].payload;
            (void)http2_frame_put(
                frame, (struct http2_frame){(uint32_t)payload.len, HTTP2_DATA,
                                            HTTP2_FLAG_PADDED | HTTP2_FLAG_END_STREAM, 1});
            memcpy(frame + 9, payload.ptr, payload.len);
            say(owner, FR_VIEW(GREETING));
            post(owner, 1);
            owner->len = 0;
            owner->seen[0] = '\0';
            for (size_t at = 0; at < 9 + payload.len; at += step) {
                size_t rest = 9 + payload.len - at;
                say(owner, fr_view_make(frame + at, rest < step ? rest : step));
            }
            if (rows[i].seen)
                assert_string_equal(owner->seen, rows[i].seen);
            else
                assert_int_equal(code_of(owner, 0), rows[i].code);
            end(owner);
        }
}

/* It is the client's to send again, and costs it what empty frames do. */
static void
padding_alone_is_idle(void **state)
{
    struct owner *owner = begin(NULL);
    char payload[256] = "\xff";
    int turns = 0;
    (void)state;
    say(owner, FR_VIEW(GREETING));
    post(owner, 1);
    for (; turns < 2000 && http2_session_calm(owner->session) == HTTP2_CALM_NONE; turns++) {
        say_frame(owner, HTTP2_DATA, HTTP2_FLAG_PADDED, 1, fr_view_make(payload, 256));
        if (turns == 90) /* 23 KB of a stream's window and of the connection's */
            assert_int_equal(given_back(owner), 0);
    }
    assert_in_range(turns, 99, 101);
    assert_int_equal(http2_session_calm(owner->session), HTTP2_CALM_FRAMES);
    end(owner);

    owner = begin(NULL);
    say(owner, FR_VIEW(GREETING));
    post(owner, 1);
    payload[0] = (char)254; /* and an octet of a body */
    for (turns = 0; turns < 140; turns++)
        say_frame(owner, HTTP2_DATA, HTTP2_FLAG_PADDED, 1, fr_view_make(payload, 256)),
            owner->len = 0;
    assert_int_equal(http2_session_calm(owner->session), HTTP2_CALM_NONE);
    assert_in_range(given_back(owner), WINDOW / 2, WINDOW / 2 + 256);
    const struct frame *update = sent(owner, HTTP2_WINDOW_UPDATE, 1);
    assert_non_null(update);
    assert_in_range(number(update->payload.ptr, 4), WINDOW / 2, WINDOW / 2 + 256);
    end(owner);
}

/* ---- windows -------------------------------------------------------------------------------- */

static void
the_connections_window_holds(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    owner->deaf = true;
    say(owner, FR_VIEW(GREETING));
    for (int32_t id = 1; id < 9; id += 2) {
        post(owner, id);
        data(owner, id, 0, 16383);
    }
    data(owner, 1, 0, 3);
    assert_int_equal(code_of(owner, 0), -1);
    data(owner, 3, 0, 1);
    assert_int_equal(code_of(owner, 0), HTTP2_FLOW_CONTROL_ERROR);
    end(owner);
}

/* RFC 9113 section 6.9: the end without an octet needs no window, though our SETTINGS have put it
 * below zero. */
static void
an_end_needs_no_window(void **state)
{
    struct owner *owner = begin(&narrow);
    (void)state;
    say(owner, FR_VIEW(GREETING));
    post(owner, 1);
    data(owner, 1, 0, 150); /* it does not know of the 100 */
    say_frame(owner, HTTP2_SETTINGS, HTTP2_FLAG_ACK, 0, FR_VIEW(""));
    owner->len = 0;
    data(owner, 1, HTTP2_FLAG_END_STREAM, 0);
    assert_string_equal(owner->seen, "E:|");
    assert_int_equal(code_of(owner, 1), -1);
    /* An octet does. */
    post(owner, 3);
    data(owner, 3, 0, 101);
    assert_int_equal(code_of(owner, 3), HTTP2_FLOW_CONTROL_ERROR);
    end(owner);
}

/* ---- lengths -------------------------------------------------------------------------------- */

static void
a_length_that_is_told_is_kept(void **state)
{
    static const struct {
        size_t first, second;
        unsigned flags;
        int code;
    } rows[] = {
        {2, 1, HTTP2_FLAG_END_STREAM, -1},
        {3, 0, HTTP2_FLAG_END_STREAM, -1},
        {2, 0, HTTP2_FLAG_END_STREAM, HTTP2_PROTOCOL_ERROR},
        {2, 2, 0, HTTP2_PROTOCOL_ERROR},
        {4, 0, 0, HTTP2_PROTOCOL_ERROR},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct owner *owner = begin(NULL);
        say(owner, FR_VIEW(GREETING));
        say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS, 1,
                  FR_VIEW(POST "\x5c\1"
                               "3"));
        data(owner, 1, 0, rows[i].first);
        data(owner, 1, rows[i].flags, rows[i].second);
        assert_int_equal(code_of(owner, 1), rows[i].code);
        assert_int_equal(strstr(owner->seen, "E:") != NULL, rows[i].code == -1);
        end(owner);
    }
}

/* ---- streams that take no more -------------------------------------------------------------- */

static void
reset_at_once(struct owner *owner, struct http2_stream *stream, char seen)
{
    (void)owner;
    if (seen == 'D')
        http2_stream_reset(stream, HTTP2_CANCEL);
}

/* Its owner resets it within a frame: the rest of that frame, its padding, its end and the frames
 * behind it go nowhere but back to the connection's window. */
static void
a_reset_within_a_frame(void **state)
{
    struct owner *owner = begin(NULL);
    char payload[1000] = "\x9";
    (void)state;
    owner->act = reset_at_once;
    say(owner, FR_VIEW(GREETING));
    post(owner, 1);
    owner->len = 0;
    owner->seen[0] = '\0';
    memset(payload + 1, 'x', 990);
    say(owner, FR_VIEW("\0\3\xe8\0\x9\0\0\0\1"));
    say(owner, fr_view_make(payload, 3));
    pull(owner); /* it is closed, and told */
    assert_false(owner->streams[0].open);
    say(owner, fr_view_make(payload + 3, 997));
    assert_string_equal(owner->seen, "D:xx|");
    for (int i = 0; i < 2; i++)
        data(owner, 1, 0, 16000);
    assert_in_range(given_back(owner), 32767, 33000); /* all but what was taken */
    assert_int_equal(code_of(owner, 0), -1);
    end(owner);
}

/* RFC 9113 section 5.1: behind its end a stream takes nothing, and once it is closed on both sides
 * that is the connection's error. */
static void
data_behind_the_end(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING));
    get(owner, 1);
    data(owner, 1, 0, 1);
    assert_int_equal(code_of(owner, 1), HTTP2_STREAM_CLOSED);
    data(owner, 1, 0, 1); /* it may have been on its way */
    assert_int_equal(code_of(owner, 0), -1);
    get(owner, 3);
    answer(stream_of(owner, 3), "HTTP/1.1 204 No Content\r\n\r\n", true);
    pull(owner);
    data(owner, 3, 0, 1);
    assert_int_equal(code_of(owner, 0), HTTP2_STREAM_CLOSED);
    end(owner);
}

/* A stream that is reset long after it was opened says nothing of the one that has its place. */
static void
a_reset_marks_no_other_stream(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING));
    get(owner, 1);
    get(owner, 257); /* so many later that the places are one */
    answer(stream_of(owner, 257), "HTTP/1.1 204 No Content\r\n\r\n", true);
    http2_stream_reset(stream_of(owner, 1), HTTP2_CANCEL);
    pull(owner);
    data(owner, 257, 0, 1);
    assert_int_equal(code_of(owner, 0), HTTP2_STREAM_CLOSED);
    end(owner);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(padding_is_no_body),
        cmocka_unit_test(padding_alone_is_idle),
        cmocka_unit_test(the_connections_window_holds),
        cmocka_unit_test(an_end_needs_no_window),
        cmocka_unit_test(a_length_that_is_told_is_kept),
        cmocka_unit_test(a_reset_within_a_frame),
        cmocka_unit_test(data_behind_the_end),
        cmocka_unit_test(a_reset_marks_no_other_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
