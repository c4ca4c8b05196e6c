/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_send.c - responses into frames: heads longer than a frame, trailers, what waits for a
 * client that does not read, owners who answer within a handler.
 */
#include "http2_help.h"

#define HEAD_TEXT_BYTES 20000

/* An answer whose head has so many octets of one value. */
static void
answer_long(struct http2_stream *stream, size_t bytes, bool whole)
{
    static char text[HEAD_TEXT_BYTES + 64];
    int front = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nX-A: ");
    memset(text + front, 'v', bytes);
    memcpy(text + front + bytes, "\r\n\r\n", 5);
    answer(stream, text, whole);
}

static void
answer_whole(struct owner *owner, struct http2_stream *stream, char seen)
{
    (void)owner;
    if (seen == 'H')
        answer(stream, "HTTP/1.1 304 Not Modified\r\n\r\n", true);
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

/* An interim head of 60 kB. */
static const char *
large_head(void)
{
    static char text[60000];
    memset(text, 'y', sizeof(text) - 1);
    memcpy(text, "HTTP/1.1 103 H\r\na: ", 19);
    memcpy(text + sizeof(text) - 5, "\r\n\r\n", 5);
    return text;
}

/* Interim heads, until there is no room for one more: it is not told, being who does not read, and
 * nothing of what waits is sent. */
static void
heads_that_nobody_reads(void **state)
{
    struct owner *owner = begin(NULL);
    int heads = 0;
    (void)state;
    say(owner, FR_VIEW(GREETING));
    post(owner, 1);
    while (heads < 2000 && could_answer(stream_of(owner, 1), large_head(), false))
        heads++;
    assert_in_range(heads, 1100, 1120); /* 64 MiB of them */
    assert_int_equal(http2_session_calm(owner->session), HTTP2_CALM_UNREAD);
    assert_false(http2_session_wants(owner->session));
    assert_true(http2_session_over(owner->session));
    end(owner);
}

static void
a_head_without_memory(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING));
    post(owner, 1);
    fr_mem_fail_after(1);
    assert_false(could_answer(stream_of(owner, 1), large_head(), false));
    fr_mem_fail_after(0);
    assert_int_equal(http2_session_calm(owner->session), HTTP2_CALM_MEMORY);
    assert_true(http2_session_over(owner->session));
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
    answer_long(&owner->streams[0].http2, HEAD_TEXT_BYTES, true);
    for (int32_t id = 3; id < 8000; id += 2) { /* 80 MB in all */
        get(owner, id);
        answer_long(&owner->streams[id / 2 % 2].http2, HEAD_TEXT_BYTES, true);
        while (http2_session_streams(owner->session) > 1)
            assert_in_range(http2_session_fill(owner->session, room, sizeof(room)), 1, 1000);
        assert_false(http2_session_over(owner->session));
    }
    end(owner);
}

/* ---- heads and trailers --------------------------------------------------------------------- */

/* HEADERS and CONTINUATION of one stream from there on: how many, how many octets, the flags of the
 * first and of the last. */
struct block {
    size_t frames, bytes;
    unsigned first_flags, last_flags;
};

static struct block
block_at(struct owner *owner, size_t *at)
{
    struct block block = {0};
    struct frame frame;
    while (next(owner, at, &frame)) {
        bool begins = frame.type == HTTP2_HEADERS;
        if (!begins && block.frames == 0)
            continue;
        assert_int_equal(frame.type, block.frames ? HTTP2_CONTINUATION : HTTP2_HEADERS);
        assert_in_range(frame.payload.len, 1, HTTP2_FRAME_BYTES_MAX);
        if (begins)
            block.first_flags = frame.flags;
        block.frames++;
        block.bytes += frame.payload.len;
        block.last_flags = frame.flags;
        if (frame.flags & HTTP2_FLAG_END_HEADERS)
            break;
    }
    return block;
}

/* A block of exactly a frame is one, of an octet more two; so are trailers, which end the stream.
 */
static void
long_blocks_are_split(void **state)
{
    static const struct {
        size_t bytes, frames;
    } rows[] = {{16375, 1}, {16376, 2}, {16377, 2}};
    static char trailers[HEAD_TEXT_BYTES + 16];
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct owner *owner = begin(NULL);
        size_t at = 0, bytes = rows[i].bytes;
        say(owner, FR_VIEW(GREETING));
        get(owner, 1);
        answer_long(stream_of(owner, 1), bytes, false);
        memcpy(trailers, "X-T: ", 5);
        memset(trailers + 5, 't', bytes);
        memcpy(trailers + 5 + bytes, "\r\n\r\n", 4);
        http2_stream_body(stream_of(owner, 1), NULL, 0, true, fr_view_make(trailers, bytes + 9));
        pull(owner);
        struct block head = block_at(owner, &at), tail = block_at(owner, &at);
        assert_int_equal(head.frames, rows[i].frames);
        assert_int_equal(head.bytes, bytes + 9); /* :status, a name of three, a length of three */
        assert_int_equal(head.first_flags & HTTP2_FLAG_END_STREAM, 0);
        assert_int_equal(head.last_flags & HTTP2_FLAG_END_HEADERS, HTTP2_FLAG_END_HEADERS);
        assert_int_equal(tail.frames, bytes + 8 > HTTP2_FRAME_BYTES_MAX ? 2 : 1);
        assert_int_equal(tail.bytes, bytes + 8);
        assert_int_equal(tail.first_flags & HTTP2_FLAG_END_STREAM, HTTP2_FLAG_END_STREAM);
        assert_int_equal(http2_session_streams(owner->session), 0);
        end(owner);
    }
}

/* A head that waits when its stream is reset goes out in front of the reset: the table of whoever
 * reads it has its fields. */
static void
a_reset_behind_a_waiting_head(void **state)
{
    struct owner *owner = begin(NULL);
    struct frame frame;
    char order[8] = "";
    (void)state;
    say(owner, FR_VIEW(GREETING));
    pull(owner);
    owner->wire_bytes = 0;
    get(owner, 1);
    answer(stream_of(owner, 1), "HTTP/1.1 200 OK\r\nX-A: b\r\n\r\n", false);
    http2_stream_reset(stream_of(owner, 1), HTTP2_CANCEL);
    answer(stream_of(owner, 1), "HTTP/1.1 200 OK\r\n\r\n", false); /* passed over */
    http2_stream_body(stream_of(owner, 1), NULL, 0, true, (struct fr_view){0});
    pull(owner);
    for (size_t at = 0, i = 0; next(owner, &at, &frame);)
        order[i++] = (char)('0' + frame.type);
    assert_string_equal(order, "13");
    assert_int_equal(owner->streams[0].code, HTTP2_CANCEL);
    end(owner);
}

/* ---- ends ----------------------------------------------------------------------------------- */

static void
answer_refused(struct owner *owner, struct http2_stream *stream, char seen)
{
    (void)owner;
    if (seen == 'R')
        answer(stream, "HTTP/1.1 431 Too Large\r\nContent-Length: 0\r\n\r\n", true);
}

/* A request that had its end is over with its answer, though its head was refused. */
static void
a_refused_head_that_was_whole(void **state)
{
    static char block[9100] = GET "\0\1a\x7f\xa9\x45"; /* a value of 9000 octets */
    (void)state;
    memset(block + 12, 'v', 9000);
    for (unsigned ends = 0; ends <= HTTP2_FLAG_END_STREAM; ends++) {
        struct owner *owner = begin(NULL);
        owner->act = answer_refused;
        say(owner, FR_VIEW(GREETING));
        say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | ends, 1,
                  fr_view_make(block, 12 + 9000));
        assert_non_null(sent(owner, HTTP2_HEADERS, 1));
        assert_int_equal(code_of(owner, 1), ends ? -1 : HTTP2_NO_ERROR);
        assert_int_equal(http2_session_streams(owner->session), 0);
        end(owner);
    }
}

/* A tunnel goes on behind our end until its client's; one that was refused is none. */
static void
tunnels_end_on_both_sides(void **state)
{
    static const char connect[] = "\x42\7CONNECT\x87\x84\x41\1h\0\x9:protocol\x9websocket";
    (void)state;
    for (int refused = 0; refused < 2; refused++) {
        struct owner *owner = begin(NULL);
        say(owner, FR_VIEW(GREETING));
        say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS, 1,
                  fr_view_make(connect, sizeof(connect) - 1));
        struct http2_stream *stream = stream_of(owner, 1);
        if (refused) {
            answer(stream, "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n", true);
            assert_int_equal(code_of(owner, 1), HTTP2_NO_ERROR);
        } else {
            answer(stream, "HTTP/1.1 101 Switching Protocols\r\n\r\n", false);
            http2_stream_body(stream, NULL, 0, true, (struct fr_view){0});
            assert_int_equal(code_of(owner, 1), -1);
            assert_int_equal(http2_session_streams(owner->session), 1);
            say_frame(owner, HTTP2_DATA, HTTP2_FLAG_END_STREAM, 1, FR_VIEW("x"));
            pull(owner);
        }
        assert_int_equal(http2_session_streams(owner->session), 0);
        end(owner);
    }
}

/* More may be given as soon as nothing is being sent, whether or not it was asked what was taken.
 */
static void
the_end_before_it_was_asked(void **state)
{
    struct owner *owner = begin(NULL);
    static char room[HTTP2_ROOM_BYTES];
    char text[] = "body";
    const struct iovec part = {text, 4};
    (void)state;
    say(owner, FR_VIEW(GREETING));
    post(owner, 1);
    answer(stream_of(owner, 1), "HTTP/1.1 101 Switching Protocols\r\n\r\n", false);
    struct http2_stream *stream = stream_of(owner, 1);
    http2_stream_body(stream, &part, 1, false, (struct fr_view){0});
    assert_true(http2_session_fill(owner->session, room, sizeof(room)) > 0);
    assert_false(stream->sending);
    http2_stream_body(stream, NULL, 0, true, (struct fr_view){0});
    assert_ptr_equal(http2_session_taken(owner->session), stream);
    assert_null(http2_session_taken(owner->session));
    end(owner);
}

/* Records of TLS are full, and what many streams have to say goes out in one send. */
static void
a_room_takes_three_whole_frames(void **state)
{
    struct owner *owner = begin(NULL);
    static char room[HTTP2_ROOM_BYTES], body[3 * HTTP2_FRAME_BYTES_MAX];
    const struct iovec part = {body, sizeof(body)};
    (void)state;
    say(owner, FR_VIEW(GREETING));
    get(owner, 1);
    answer(stream_of(owner, 1), "HTTP/1.1 200 OK\r\n\r\n", false);
    pull(owner);
    http2_stream_body(stream_of(owner, 1), &part, 1, true, (struct fr_view){0});
    assert_int_equal(http2_session_fill(owner->session, room, sizeof(room)),
                     sizeof(body) + 3 * HTTP2_FRAME_HEAD_BYTES);
    assert_int_equal(http2_session_streams(owner->session), 0);
    end(owner);
}

/* ---- owners who act within a handler -------------------------------------------------------- */

static char acts_at, acts_by;

static void
answer_or_reset(struct http2_stream *stream, const char *text, bool whole)
{
    if (!could_answer(stream, text, whole))
        http2_stream_reset(stream, HTTP2_INTERNAL_ERROR);
}

static void
act_there(struct owner *owner, struct http2_stream *stream, char seen)
{
    static char text[] = "body";
    const struct iovec part = {text, 4};
    if (seen != acts_at || stream->answered || stream->reset)
        return;
    switch (acts_by) {
    case 'r':
        http2_stream_reset(stream, HTTP2_CANCEL);
        break;
    case 'h':
        answer_or_reset(stream, "HTTP/1.1 204 No Content\r\n\r\n", true);
        break;
    case 'b':
        answer_or_reset(stream, "HTTP/1.1 200 OK\r\n\r\n", false);
        http2_stream_body(stream, &part, 1, true, FR_VIEW("x: y\r\n\r\n"));
        break;
    case 'e':
        answer_or_reset(stream, "HTTP/1.1 200 OK\r\n\r\n", false);
        http2_stream_body(stream, NULL, 0, true, (struct fr_view){0});
        http2_stream_reset(stream, HTTP2_CANCEL);
        break;
    default:
        http2_session_end(owner->session, HTTP2_INTERNAL_ERROR);
    }
}

/* A request of all there is, an octet at a time, and the memory failing in turn at each place: the
 * stream is closed once, or the session is over. */
static void
acts_within_handlers(void **state)
{
    static const char all[] = "\0\0\6\1\4\0\0\0\1" POST "\0\0\4\0\x8\0\0\0\1\1xx\0"
                              "\0\0\1\0\0\0\0\0\1z"
                              "\0\0\x5\1\5\0\0\0\1\0\1a\1b";
    (void)state;
    for (const char *at = "HDE"; *at; at++)
        for (const char *by = "rhbex"; *by; by++)
            for (uint64_t fails = 0; fails < 40; fails++) {
                struct owner *owner = begin(NULL);
                acts_at = *at;
                acts_by = *by;
                owner->act = act_there;
                fr_mem_fail_after(fails);
                say(owner, FR_VIEW(GREETING));
                for (size_t i = 0; i < sizeof(all) - 1; i++) {
                    say(owner, fr_view_make(all + i, 1));
                    if (i % 3 == 0)
                        pull(owner);
                }
                pull(owner);
                fr_mem_fail_after(0);
                if (fails == 0 && *by != 'x')
                    assert_int_equal(http2_session_streams(owner->session), 0);
                end(owner);
            }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_that_nobody_reads_are_resets),
        cmocka_unit_test(heads_that_nobody_reads),
        cmocka_unit_test(a_head_without_memory),
        cmocka_unit_test(answers_that_wait_are_streams),
        cmocka_unit_test(what_goes_out_makes_room),
        cmocka_unit_test(long_blocks_are_split),
        cmocka_unit_test(a_reset_behind_a_waiting_head),
        cmocka_unit_test(a_refused_head_that_was_whole),
        cmocka_unit_test(tunnels_end_on_both_sides),
        cmocka_unit_test(a_room_takes_three_whole_frames),
        cmocka_unit_test(the_end_before_it_was_asked),
        cmocka_unit_test(acts_within_handlers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
