/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_again.c - a request whose block came before is the same request, as long as the block
 * means the same.
 */
#include "http/http2_priv.h"
#include "head_same.h"
#include "http2_help.h"

#define INDEXED "\x82\x86\x84\xbe" /* GET, http, /, authority h from the table */
#define HEAD "H.GET / HTTP/1.1\r\nHost: h\r\n"

/* The head of one request is seen; whether it was copied is told by what the session keeps. */
static void
ask_with(struct owner *owner, int32_t id, struct fr_view block, const char *want)
{
    owner->len = 0;
    owner->seen[0] = '\0';
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, id, block);
    assert_string_equal(owner->seen, want);
    if (stream_of(owner, id)->begun && want[0] == 'H')
        answer(stream_of(owner, id), "HTTP/1.1 204 No Content\r\n\r\n", true);
    pull(owner);
}

static bool
is_kept(const struct owner *owner)
{
    return owner->session->again.written;
}

static struct owner *
greeted(void)
{
    struct owner *owner = begin(NULL);
    say(owner, FR_VIEW(GREETING));
    ask_with(owner, 1, FR_VIEW(GET), HEAD "\r\n|"); /* the authority enters the table */
    assert_false(is_kept(owner));
    return owner;
}

static void
kept_from_its_second_time(void **state)
{
    struct owner *owner = greeted();
    (void)state;
    ask_with(owner, 3, FR_VIEW(INDEXED), HEAD "\r\n|");
    assert_false(is_kept(owner));
    for (int32_t id = 5; id < 12; id += 2) {
        ask_with(owner, id, FR_VIEW(INDEXED), HEAD "\r\n|");
        assert_true(is_kept(owner));
    }
    ask_with(owner, 13, FR_VIEW(INDEXED "\x0f\x04\1b"), HEAD "accept: b\r\n\r\n|");
    assert_false(is_kept(owner)); /* another one took its place */
    ask_with(owner, 15, FR_VIEW(INDEXED), HEAD "\r\n|");
    end(owner);
}

/* What it names has changed its place, and what else it names is gone. */
static void
the_table_has_changed(void **state)
{
    struct owner *owner = greeted();
    (void)state;
    ask_with(owner, 3, FR_VIEW(INDEXED), HEAD "\r\n|");
    ask_with(owner, 5, FR_VIEW(INDEXED), HEAD "\r\n|");
    assert_true(is_kept(owner));
    /* authority i enters */
    ask_with(owner, 7, FR_VIEW("\x82\x86\x84\x41\1i"), "H.GET / HTTP/1.1\r\nHost: i\r\n\r\n|");
    ask_with(owner, 9, FR_VIEW(INDEXED), "H.GET / HTTP/1.1\r\nHost: i\r\n\r\n|");
    ask_with(owner, 11, FR_VIEW(INDEXED), "H.GET / HTTP/1.1\r\nHost: i\r\n\r\n|");
    assert_true(is_kept(owner));
    /* The size is none, and as before: the table is empty. */
    ask_with(owner, 13, FR_VIEW("\x20\x3f\xe1\x1f\x82\x86\x84\x01\1k"),
             "H.GET / HTTP/1.1\r\nHost: k\r\n\r\n|");
    owner->len = 0;
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, 15,
              FR_VIEW(INDEXED));
    assert_int_equal(code_of(owner, 0), HTTP2_COMPRESSION_ERROR);
    end(owner);
}

/* A block that changes the size does that each time. */
static void
a_change_of_the_size_is_not_kept(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING));
    for (int32_t id = 1; id < 8; id += 2) {
        ask_with(owner, id, FR_VIEW("\x3f\x01\x82\x86\x84\x01\1h"), HEAD "\r\n|");
        assert_int_equal(owner->session->decoder.table.size_max, 32);
        assert_false(is_kept(owner));
        hpack_table_resize(&owner->session->decoder.table, 64);
    }
    end(owner);
}

static void
secrets_are_not_kept(void **state)
{
    struct owner *owner = greeted();
    (void)state;
    for (int32_t id = 3; id < 10; id += 2) {
        ask_with(owner, id, FR_VIEW(INDEXED "\x1f\x08\1s"), HEAD "authorization:s\r\n\r\n|");
        assert_false(is_kept(owner));
        assert_int_equal(owner->session->again.block_bytes, 0);
    }
    end(owner);
}

/* Malformed each time; and what is longer than is kept is read each time. */
static void
what_else_is_not_kept(void **state)
{
    static char block[HTTP2__AGAIN_BYTES_MAX + 64] = INDEXED "\x0f\x04\x7f\x81\x07";
    struct owner *owner = greeted();
    (void)state;
    for (int32_t id = 3; id < 10; id += 2) {
        owner->len = 0;
        say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, id,
                  FR_VIEW("\x82\x82\x86\xbe"));
        assert_int_equal(code_of(owner, (uint32_t)id), HTTP2_PROTOCOL_ERROR);
        assert_false(is_kept(owner));
    }
    memset(block + 9, 'v', 1024); /* on the wire and as text it is more than that in all */
    for (int32_t id = 11; id < 18; id += 2) {
        owner->len = 0;
        say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, id,
                  fr_view_make(block, 9 + 1024));
        assert_false(is_kept(owner));
        http2_stream_reset(stream_of(owner, id), HTTP2_CANCEL);
        pull(owner);
    }
    end(owner);
}

/* Whether a body comes is not the block's to say, and trailers are none of it. */
static void
the_end_and_trailers(void **state)
{
    struct owner *owner = greeted();
    static const char text[] = "H:GET / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n|";
    (void)state;
    ask_with(owner, 3, FR_VIEW(INDEXED), HEAD "\r\n|");
    ask_with(owner, 5, FR_VIEW(INDEXED), HEAD "\r\n|");
    assert_true(is_kept(owner));
    owner->len = 0;
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS, 7, FR_VIEW(INDEXED));
    assert_string_equal(owner->seen, text);
    /* The same as trailers, which no pseudo-field may be. */
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, 7,
              FR_VIEW(INDEXED));
    assert_int_equal(code_of(owner, 7), HTTP2_PROTOCOL_ERROR);
    ask_with(owner, 9, FR_VIEW(INDEXED), HEAD "\r\n|");
    end(owner);
}

/* RFC 9218: a field of the head, and a frame that is above it. */
static void
its_priority(void **state)
{
    struct owner *owner = greeted();
    struct fr_view block = FR_VIEW(INDEXED "\0\x08priority\6u=1, i");
    static const char head[] = HEAD "priority: u=1, i\r\n\r\n|";
    (void)state;
    for (int32_t id = 3; id < 10; id += 2) {
        owner->len = 0;
        say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, id, block);
        assert_string_equal(owner->seen, head);
        assert_int_equal(stream_of(owner, id)->urgency, 1);
        assert_true(stream_of(owner, id)->incremental);
        answer(stream_of(owner, id), "HTTP/1.1 204 No Content\r\n\r\n", true);
        pull(owner);
    }
    assert_true(is_kept(owner));
    say_frame(owner, HTTP2_PRIORITY_UPDATE, 0, 0, FR_VIEW("\0\0\0\x0bu=5"));
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, 11, block);
    assert_int_equal(stream_of(owner, 11)->urgency, 5);
    assert_false(stream_of(owner, 11)->incremental);
    end(owner);
}

static void
without_memory(void **state)
{
    struct owner *owner = greeted();
    (void)state;
    ask_with(owner, 3, FR_VIEW(INDEXED), HEAD "\r\n|");
    ask_with(owner, 5, FR_VIEW(INDEXED), HEAD "\r\n|");
    assert_true(is_kept(owner));
    fr_mem_fail_after(1); /* the head's own: there is no other way to have it */
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, 7,
              FR_VIEW(INDEXED));
    fr_mem_fail_after(0);
    ask_with(owner, 9, FR_VIEW(INDEXED), HEAD "\r\n|");
    end(owner);
}

/* ---- its lines ------------------------------------------------------------------------------- */

struct lined {
    struct http2_stream http2;
    struct fr_buf head, lines;
    size_t heads;
};

static struct http2_stream *
open_lined(void *ctx)
{
    struct lined *one = ctx;
    memset(&one->http2, 0, sizeof(one->http2));
    one->http2.head = &one->head;
    one->http2.lines = &one->lines;
    return &one->http2;
}

static void
hear_lined(void *ctx, struct http2_stream *stream, struct fr_view text, bool end_stream)
{
    static struct http_head read, built;
    struct lined *one = ctx;
    struct http_err err;
    size_t scanned = 0;
    assert_true(end_stream);
    assert_int_equal(http_request_parse(text, &http_limits_default, &scanned, &read, &err),
                     HTTP_DONE);
    assert_int_equal(http2_lines_head(text, stream->lines, &http_limits_default, &built, &err),
                     HTTP_DONE);
    assert_null(heads_differ(&read, &built));
    assert_int_equal(built.field_count, 3);
    one->heads++;
    answer(stream, "HTTP/1.1 204 No Content\r\n\r\n", true);
}

static void
hear_closed(void *ctx, struct http2_stream *stream, uint32_t code)
{
    (void)ctx, (void)stream, (void)code;
}

static void
its_lines_are_the_same(void **state)
{
    static const struct http2_handlers ears = {
        .on_open = open_lined, .on_head = hear_lined, .on_closed = hear_closed};
    const struct http2_limits limits = {.head = http_limits_default,
                                        .streams = 4,
                                        .stream_window_bytes = 65535,
                                        .connection_window_bytes = 65535,
                                        .resets = 10,
                                        .idle_frames = 10};
    static char room[HTTP2_ROOM_BYTES];
    struct lined one = {.heads = 0};
    struct owner *owner = fr_xalloc(sizeof(*owner));
    (void)state;
    fr_buf_init(&one.head, 8192);
    fr_buf_init(&one.lines, HTTP2_LINES_MAX * sizeof(struct http2_line));
    assert_int_equal(http2_session_new(&limits, &ears, &one, NULL, &owner->session), FR_OK);
    say(owner, FR_VIEW(GREETING));
    for (int32_t id = 1; id < 12; id += 2) {
        say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, id,
                  FR_VIEW("\x82\x86\x84\x01\1h\x0f\x04\1b\x0f\x11\1c"));
        assert_int_equal(is_kept(owner), id > 2);
        while (http2_session_wants(owner->session))
            (void)http2_session_fill(owner->session, room, sizeof(room));
    }
    assert_int_equal(one.heads, 6);
    http2_session_free(&owner->session);
    fr_buf_fini(&one.head);
    fr_buf_fini(&one.lines);
    fr_free(owner);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_from_its_second_time),
        cmocka_unit_test(the_table_has_changed),
        cmocka_unit_test(a_change_of_the_size_is_not_kept),
        cmocka_unit_test(secrets_are_not_kept),
        cmocka_unit_test(what_else_is_not_kept),
        cmocka_unit_test(the_end_and_trailers),
        cmocka_unit_test(its_priority),
        cmocka_unit_test(without_memory),
        cmocka_unit_test(its_lines_are_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
