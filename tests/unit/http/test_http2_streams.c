/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_streams.c - which streams are known: many that are open, and those that are gone.
 */
#include "http2_help.h"

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
        cmocka_unit_test(what_is_on_its_way_to_an_old_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
