/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_response.c - response heads: a member is believed no more than a client.
 *
 * Follows:    RFC 9112 sections 4, 6.1 and 6.3.
 */
#include "http_help.h"

#include <stdio.h>

#define OK "HTTP/1.1 200 OK\r\n"

static enum http_step
parse(struct fr_view in, struct http_head *head, struct http_err *err)
{
    size_t scanned = 0;
    return http_response_parse(in, &http_limits_default, &scanned, head, err);
}

static void
refused(struct fr_view in)
{
    struct http_head head;
    struct http_err err = {0};
    help_cut_everywhere(in, false, &http_limits_default);
    if (parse(in, &head, &err) != HTTP_BAD)
        fail_msg("accepted: %.*s", FR_VIEW_ARG(in));
    assert_int_equal(err.status, 502);
    assert_true(err.offset <= in.len);
}

static void
accepted(struct fr_view in, struct http_head *head)
{
    struct http_err err = {0};
    help_cut_everywhere(in, false, &http_limits_default);
    if (parse(in, head, &err) != HTTP_DONE)
        fail_msg("refused (%s): %.*s", err.words, FR_VIEW_ARG(in));
}

#define REFUSED(literal) refused(FR_VIEW(literal))
#define ACCEPTED(literal, head) accepted(FR_VIEW(literal), (head))

static void
status_lines(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED("HTTP/1.1 404 Not  \t Found \xc3\xa9\r\nServer: x\r\n\r\nbody", &h);
    assert_int_equal(h.status, 404);
    assert_int_equal(h.version_minor, 1);
    assert_view(h.reason, "Not  \t Found \xc3\xa9");
    assert_int_equal(h.head_bytes,
                     strlen("HTTP/1.1 404 Not  \t Found \xc3\xa9\r\nServer: x\r\n\r\n"));
    ACCEPTED("HTTP/1.1 200 \r\n\r\n", &h);
    assert_int_equal(h.reason.len, 0);
    ACCEPTED("HTTP/1.1 200\r\n\r\n", &h);
    ACCEPTED("HTTP/1.0 200 OK\r\n\r\n", &h);
    assert_false(h.keep_alive);
    ACCEPTED("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\n", &h);
    assert_true(h.keep_alive);
    ACCEPTED(OK "Connection: close\r\n\r\n", &h);
    assert_false(h.keep_alive);
    REFUSED("\r\nHTTP/1.1 200 OK\r\n\r\n");
    ACCEPTED("HTTP/1.2 200 OK\r\n\r\n", &h);
    assert_int_equal(h.version_minor, 1);
    REFUSED("HTTP/2.0 200 OK\r\n\r\n");
    REFUSED("http/1.1 200 OK\r\n\r\n");
    REFUSED("HTTP/1.1  200 OK\r\n\r\n");
    REFUSED("HTTP/1.1 99 OK\r\n\r\n");
    REFUSED("HTTP/1.1 099 OK\r\n\r\n");
    REFUSED("HTTP/1.1 600 OK\r\n\r\n");
    REFUSED("HTTP/1.1 2000 OK\r\n\r\n");
    REFUSED("HTTP/1.1 2x0 OK\r\n\r\n");
    REFUSED("HTTP/1.1 200 O\0K\r\n\r\n");
    REFUSED("HTTP/1.1 200 O\rK\r\n\r\n");
    REFUSED("HTTP/1.1 200 OK\nX: y\r\n\r\n");
    REFUSED("<html>hello</html>\r\n\r\n");
}

static void
fields(void **state)
{
    (void)state;
    struct http_head h;
    REFUSED(OK "X-A: b\r\n c\r\n\r\n");
    REFUSED(OK "X-A: b\0c\r\n\r\n");
    REFUSED(OK "X-A: b\nX-B: c\r\n\r\n");
    REFUSED(OK "X-A : b\r\n\r\n");
    ACCEPTED(OK "Connection: X-Hop, Set-Cookie\r\nX-Hop: 1\r\nSet-Cookie: 2\r\n"
                "Proxy-Authenticate: Basic\r\nTrailer: a\r\n\r\n",
             &h);
    assert_true(h.fields[1].hop);
    assert_false(h.fields[2].hop);
    assert_true(h.fields[3].hop);
    assert_true(h.fields[4].hop);
    struct http_err err;
    char text[4096] = OK;
    for (int i = 0; i < 101; i++)
        strcat(text, "A:b\r\n");
    strcat(text, "\r\n");
    assert_int_equal(parse(fr_view_of(text), &h, &err), HTTP_BAD);
    assert_int_equal(err.status, 502);
}

static void
framing(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED(OK "Content-Length: 5\r\n\r\n", &h);
    assert_int_equal(h.framing, HTTP_BODY_LENGTH);
    assert_int_equal(h.content_length, 5);
    ACCEPTED(OK "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", &h);
    assert_int_equal(h.content_length, 5);
    assert_false(h.fields[0].hop);
    assert_true(h.fields[1].hop); /* one goes on */
    ACCEPTED(OK "Transfer-Encoding: Chunked\r\n\r\n", &h);
    assert_int_equal(h.framing, HTTP_BODY_CHUNKED);
    assert_false(h.unknown_coding);
    ACCEPTED(OK "\r\n", &h);
    assert_int_equal(h.framing, HTTP_BODY_TO_CLOSE);
    assert_false(h.unknown_coding);
    ACCEPTED(OK "Transfer-Encoding: gzip\r\n\r\n", &h);
    assert_int_equal(h.framing, HTTP_BODY_TO_CLOSE);
    assert_true(h.unknown_coding);
    static const char *const inside[] = {
        OK "Transfer-Encoding: gzip, chunked\r\n\r\n",
        OK "Transfer-Encoding: gzip;q=1,\tCHUNKED\r\n\r\n",
        OK "Transfer-Encoding: x, gzip\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK "Transfer-Encoding: foo ; a=b\t;c=d , chunked\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(inside) / sizeof(inside[0]); i++) {
        accepted(fr_view_of(inside[i]), &h);
        assert_int_equal(h.framing, HTTP_BODY_CHUNKED);
        assert_true(h.unknown_coding);
    }
    REFUSED(OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n");
    REFUSED(OK "Content-Length: 5, 5\r\n\r\n");
    REFUSED(OK "Content-Length: 5x\r\n\r\n");
    REFUSED(OK "Content-Length:\r\n\r\n");
    REFUSED(OK "Content-Length: 9223372036854775808\r\n\r\n");
    REFUSED(OK "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED(OK "Content-Length: 3\r\nTransfer-Encoding: gzip, chunked\r\n\r\n");
    REFUSED(OK "Transfer-Encoding: chunked, gzip\r\n\r\n");
    REFUSED(OK "Transfer-Encoding: chunked, gzip, chunked\r\n\r\n");
    REFUSED(OK "Transfer-Encoding: gzip, chunked;a=b\r\n\r\n");
    REFUSED(OK "Transfer-Encoding: gzip, , chunked\r\n\r\n");
    REFUSED(OK "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n");
    REFUSED(OK "Transfer-Encoding: ,\r\n\r\n");
    REFUSED("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    /* Whether chunked is the last of these is another thing to who knows quotes. */
    static const char *const odd[] = {
        "foo;x=\"", "foo;x=\"a", "foo;x=\"a\"", "foo;x=\\",        "foo;x=a\"", "foo;\"",
        "foo;;=",   "foo;",      "foo;a b c",   "foo;a=b c",       "foo;a =b",  "foo;a= b",
        "foo;a",    "foo;=b",    "foo;a=",      "foo;a=b;",        "foo;a=b=c", "foo;;a=b",
        "foo\"",    "\"foo\"",   "foo;x=\\\"",  "foo;x=\"a, gzip", "foo bar"};
    for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), OK "Transfer-Encoding: %s, chunked\r\n\r\n", odd[i]);
        refused(fr_view_of(text));
        (void)snprintf(text, sizeof(text), OK "Transfer-Encoding: %s\r\n\r\n", odd[i]);
        refused(fr_view_of(text));
    }
}

static void
framing_by_request(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED(OK "Content-Length: 5\r\n\r\n", &h);
    assert_int_equal(http_response_framing(&h, HTTP_GET), HTTP_BODY_LENGTH);
    assert_int_equal(http_response_framing(&h, HTTP_HEAD), HTTP_BODY_NONE);
    assert_int_equal(http_response_framing(&h, HTTP_CONNECT), HTTP_BODY_NONE);
    static const char *const bodiless[] = {
        "HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    };
    for (size_t i = 0; i < 4; i++) {
        accepted(fr_view_of(bodiless[i]), &h);
        assert_int_equal(http_response_framing(&h, HTTP_GET), HTTP_BODY_NONE);
    }
    ACCEPTED("HTTP/1.1 404 No\r\n\r\n", &h);
    assert_int_equal(http_response_framing(&h, HTTP_CONNECT), HTTP_BODY_TO_CLOSE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(status_lines),
        cmocka_unit_test(fields),
        cmocka_unit_test(framing),
        cmocka_unit_test(framing_by_request),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
