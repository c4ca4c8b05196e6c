/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_send.c - responses into frames: heads longer than a frame, trailers, what waits for a
 * client that does not read, owners who answer within a handler.
 */
#include "http2_help.h"

#define HEAD_TEXT_BYTES 20000

/* An answer whose head has so many octets of one value. */
static void
answer_long(struct owner *owner, struct http2_stream *stream, size_t bytes, bool whole)
{
    static char text[HEAD_TEXT_BYTES + 64];
    int front = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nX-A: ");
    memset(text + front, 'v', bytes);
    memcpy(text + front + bytes, "\r\n\r\n", 5);
    answer(owner, stream, text, whole);
}

static void
get(struct owner *owner, int32_t id)
{
    char frame[] = "\0\0\6\1\5\0\0\0\0" GET;
    for (int i = 0; i < 4; i++)
        frame[5 + i] = (char)(id >> (24 - 8 * i));
    owner->len = 0;
    say(owner, fr_view_make(frame, sizeof(frame) - 1));
}

static void
cancel(struct owner *owner, int32_t id)
{
    char frame[] = "\0\0\4\3\0\0\0\0\0\0\0\0\x8";
    for (int i = 0; i < 4; i++)
        frame[5 + i] = (char)(id >> (24 - 8 * i));
    say(owner, fr_view_make(frame, sizeof(frame) - 1));
}

static void
answer_whole(struct owner *owner, struct http2_stream *stream, char seen)
{
    if (seen == 'H')
        answer(owner, stream, "HTTP/1.1 304 Not Modified\r\n\r\n", true);
}

/* ---- a client that does not read ------------------------------------------------------------ */

/* It asks, is answered, cancels and asks again, and reads nothing: each answer that waits for it is
 * a reset. */
static void
answers_that_nobody_reads_are_resets(void **state)
{
    struct owner *owner = begin(NULL);
    int turns = 0;
    (void)state;
    owner->act = answer_whole;
    say(owner, FR_VIEW(GREETING));
    for (; turns < 1000 && http2_session_calm(owner->session) == HTTP2_CALM_NONE; turns++) {
        get(owner, 1 + 2 * turns);
        cancel(owner, 1 + 2 * turns);
    }
    assert_int_equal(turns, 21); /* resets of the limits, and the one too many */
    assert_int_equal(http2_session_calm(owner->session), HTTP2_CALM_RESETS);
    end(owner);
}

/* It reads a little and asks for more: what was answered and not read yet are its streams. */
static void
answers_that_wait_are_streams(void **state)
{
    struct owner *owner = begin(NULL);
    char room[64];
    (void)state;
    owner->act = answer_whole;
    say(owner, FR_VIEW(GREETING));
    pull(owner);
    for (int32_t id = 1; id < 9; id += 2)
        get(owner, id);
    assert_int_equal(http2_session_streams(owner->session), 4);
    while (http2_session_streams(owner->session) == 4)
        assert_in_range(http2_session_fill(owner->session, room, 10), 1, 10);
    assert_false(owner->streams[0].open); /* the first is gone, and no other */
    assert_int_equal(http2_session_streams(owner->session), 3);
    while (http2_session_wants(owner->session))
        assert_in_range(http2_session_fill(owner->session, room, sizeof(room)), 1, sizeof(room));
    assert_int_equal(http2_session_streams(owner->session), 0);
    end(owner);
}

/* What is gone makes room, although some always waits. */
static void
what_goes_out_makes_room(void **state)
{
    struct owner *owner = begin(NULL);
    static char room[1000];
    (void)state;
    say(owner, FR_VIEW(GREETING));
    pull(owner);
    get(owner, 1);
    answer_long(owner, &owner->streams[0].http2, HEAD_TEXT_BYTES, true);
    for (int32_t id = 3; id < 8000; id += 2) { /* 80 MB in all */
        get(owner, id);
        answer_long(owner, &owner->streams[id / 2 % 2].http2, HEAD_TEXT_BYTES, true);
        while (http2_session_streams(owner->session) > 1)
            assert_in_range(http2_session_fill(owner->session, room, sizeof(room)), 1, 1000);
        assert_false(http2_session_over(owner->session));
    }
    end(owner);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_that_nobody_reads_are_resets),
        cmocka_unit_test(answers_that_wait_are_streams),
        cmocka_unit_test(what_goes_out_makes_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
