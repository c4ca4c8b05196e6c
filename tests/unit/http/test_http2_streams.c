/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_streams.c - which streams are known: many that are open, and those that are gone.
 */
#include "http/http2_priv.h"
#include "http2_help.h"

#define MANY 1000

/* ---- those that are open -----------------------------------------------------------------------
 */

struct many {
    struct http2_stream http2;
    struct fr_buf head;
    size_t octets;
};

static struct http2_stream *
open_one(void *ctx)
{
    struct many *all = ctx;
    while (all->http2.session)
        all++;
    fr_buf_init(&all->head, 8192);
    all->http2.head = &all->head;
    return &all->http2;
}

static void
hear_head(void *ctx, struct http2_stream *stream, struct fr_view text, bool end_stream)
{
    (void)ctx, (void)stream, (void)text, (void)end_stream;
}

static void
hear_data(void *ctx, struct http2_stream *stream, struct fr_view data)
{
    (void)ctx;
    FR_CONTAINER(stream, struct many, http2)->octets += data.len;
}

static void
hear_closed(void *ctx, struct http2_stream *stream, uint32_t code)
{
    (void)ctx, (void)code;
    fr_buf_fini(&FR_CONTAINER(stream, struct many, http2)->head);
}

/* Each of very many is found, and found soon: no slot has more than a few. */
static void
as_many_as_the_limit_are_found(void **state)
{
    static const struct http2_handlers ears = {
        .on_open = open_one, .on_head = hear_head, .on_data = hear_data, .on_closed = hear_closed};
    const struct http2_limits limits = {.head = http_limits_default,
                                        .streams = MANY,
                                        .stream_window_bytes = 65535,
                                        .connection_window_bytes = 65535,
                                        .resets = MANY,
                                        .idle_frames = 100};
    static struct http2_split split;
    struct many *all = fr_xalloc(MANY * sizeof(*all));
    struct owner owner = {0};
    (void)state;
    assert_int_equal(http2_session_new(&limits, &ears, all, &split, &owner.session), FR_OK);
    say(&owner, FR_VIEW(GREETING));
    for (int32_t i = 0; i < MANY; i++)
        say_frame(&owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS, 2 * i + 1, FR_VIEW(POST));
    assert_int_equal(http2_session_streams(owner.session), MANY);
    for (int32_t i = 0; i < MANY; i += 3)
        say_frame(&owner, HTTP2_DATA, 0, 2 * i + 1, FR_VIEW("x"));
    for (int32_t i = 0; i < MANY; i++)
        assert_int_equal(all[i].octets, i % 3 == 0);
    for (uint32_t i = 0; i <= owner.session->slot_mask; i++) {
        size_t length = 0;
        for (const struct http2_stream *at = owner.session->slots[i]; at; at = at->next)
            length++;
        assert_in_range(length, 0, 4);
    }
    for (int32_t i = 0; i < MANY; i++)
        cancel(&owner, 2 * i + 1);
    assert_int_equal(http2_session_streams(owner.session), 0);
    http2_session_free(&owner.session);
    fr_free(all);
}

/* ---- those that are gone ------------------------------------------------------------------------
 */

/* A long upload that is answered before its end, among requests that come and go: its trailers
 * were on their way, and are no error of the connection (RFC 9113 section 5.1), however many
 * streams were opened since it was, or since it was reset. */
static void
what_is_on_its_way_to_an_old_stream(void **state)
{
    struct owner *owner = begin(NULL);
    (void)state;
    say(owner, FR_VIEW(GREETING));
    post(owner, 1);
    for (int32_t id = 3; id < 700; id += 2) {
        if (id == 401) {
            answer(stream_of(owner, 1), "HTTP/1.1 200 OK\r\n\r\n", true);
            assert_int_equal(code_of(owner, 1), HTTP2_NO_ERROR);
        }
        get(owner, id);
        answer(stream_of(owner, id), "HTTP/1.1 204 No Content\r\n\r\n", true);
        pull(owner);
    }
    assert_int_equal(http2_session_streams(owner->session), 0);
    say_frame(owner, HTTP2_DATA, 0, 1, FR_VIEW("x"));
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, 1,
              FR_VIEW("\0\1a\1b"));
    assert_int_equal(code_of(owner, 0), -1);
    get(owner, 701);
    assert_int_equal(http2_session_streams(owner->session), 1);
    /* Of one that ended well it is an error. */
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, 699,
              FR_VIEW("\0\1a\1b"));
    assert_int_equal(code_of(owner, 0), HTTP2_STREAM_CLOSED);
    end(owner);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_many_as_the_limit_are_found),
        cmocka_unit_test(what_is_on_its_way_to_an_old_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
