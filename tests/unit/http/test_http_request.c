/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_request.c - request heads: what is accepted, what is refused, whatever the cuts.
 *
 * Follows:    RFC 9112 sections 2.2, 3, 5, 6, RFC 9110 sections 5.5, 7.2, 7.6.1.
 */
#include "http_help.h"

#define HEAD_11 "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST_11 "POST / HTTP/1.1\r\nHost: a\r\n"

static enum http_step
parse(struct fr_view in, struct http_head *head, struct http_err *err)
{
    size_t scanned = 0;
    return http_request_parse(in, &http_limits_default, &scanned, head, err);
}

static void
refused(struct fr_view in, int status)
{
    struct http_head head;
    struct http_err err = {0};
    help_cut_everywhere(in, true, &http_limits_default);
    if (parse(in, &head, &err) != HTTP_BAD)
        fail_msg("accepted: %.*s", FR_VIEW_ARG(in));
    if (err.status != status)
        fail_msg("%d (%s), wanted %d: %.*s", err.status, err.words, status, FR_VIEW_ARG(in));
    assert_true(err.offset <= in.len);
    assert_non_null(err.words);
}

static void
accepted(struct fr_view in, struct http_head *head)
{
    struct http_err err = {0};
    help_cut_everywhere(in, true, &http_limits_default);
    if (parse(in, head, &err) != HTTP_DONE)
        fail_msg("refused (%s): %.*s", err.words, FR_VIEW_ARG(in));
}

#define REFUSED(literal, status) refused(FR_VIEW(literal), (status))
#define ACCEPTED(literal, head) accepted(FR_VIEW(literal), (head))

static void
plain_request(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED(
        "GET /a/b?c=d HTTP/1.1\r\nHost: Example.com:8080\r\nX-A: \t b c \t\r\nx-b:\r\n\r\nrest",
        &h);
    assert_int_equal(h.method, HTTP_GET);
    assert_view(h.method_text, "GET");
    assert_view(h.target, "/a/b?c=d");
    assert_view(h.path, "/a/b");
    assert_view(h.query, "c=d");
    assert_true(h.has_query);
    assert_view(h.host, "Example.com:8080");
    assert_int_equal(h.version_minor, 1);
    assert_true(h.keep_alive);
    assert_int_equal(h.framing, HTTP_BODY_NONE);
    assert_int_equal(h.field_count, 3);
    assert_view(h.fields[1].name, "X-A");
    assert_view(h.fields[1].value, "b c");
    assert_view(h.fields[2].value, "");
    assert_int_equal(h.head_bytes, strlen("GET /a/b?c=d HTTP/1.1\r\nHost: Example.com:8080\r\n"
                                          "X-A: \t b c \t\r\nx-b:\r\n\r\n"));
}

static void
methods(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED("get / HTTP/1.1\r\nHost: a\r\n\r\n", &h); /* case counts */
    assert_int_equal(h.method, HTTP_METHOD_OTHER);
    ACCEPTED("M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    assert_int_equal(h.method, HTTP_METHOD_OTHER);
    ACCEPTED("PATCH / HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    assert_int_equal(h.method, HTTP_PATCH);
    REFUSED("G=\":<>(e) / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED(" / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET\t/\tHTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("\x80\x81 garbage\r\n\r\n", 400);
    REFUSED("\x16\x03\x01\x02\x00\x01", 400); /* TLS to a plain port: refused from its first byte */
}

static void
empty_lines_first(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED("\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    ACCEPTED("\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    assert_int_equal(h.head_bytes, 8 + strlen("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    REFUSED("\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("\rGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

static void
versions(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED("GET / HTTP/1.0\r\n\r\n", &h);
    assert_int_equal(h.version_minor, 0);
    assert_false(h.keep_alive);
    assert_int_equal(h.host.len, 0);
    ACCEPTED("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", &h);
    assert_true(h.keep_alive);
    REFUSED("GET /\r\n\r\n", 400);
    REFUSED("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505);
    /* RFC 9110 section 2.5: read as the highest minor version that is known. */
    ACCEPTED("GET / HTTP/1.2\r\nHost: a\r\n\r\n", &h);
    assert_int_equal(h.version_minor, 1);
    assert_true(h.keep_alive);
    REFUSED("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505);
    REFUSED("GET / http/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/4294967297.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1 X HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505);
}

static void
targets(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    assert_view(h.path, "*");
    ACCEPTED("GET http://b:81/x?y HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    assert_view(h.host, "b:81"); /* absolute-form wins over Host */
    assert_view(h.path, "/x");
    assert_view(h.query, "y");
    ACCEPTED("GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    assert_view(h.path, "/");
    ACCEPTED("GET https://b?q HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    assert_view(h.path, "/");
    assert_view(h.query, "q");
    assert_true(h.https);
    ACCEPTED("GET /a|b{c}^[d]?\\`{|} HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    assert_false(h.https);
    REFUSED("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /a\"b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /?<b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /?b> HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    ACCEPTED("OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    assert_view(h.path, "*");
    ACCEPTED("GET /? HTTP/1.1\r\nHost: a\r\n\r\n", &h);
    assert_true(h.has_query);
    assert_int_equal(h.query.len, 0);
    ACCEPTED("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n", &h);
    assert_view(h.host, "a:443");
    REFUSED("CONNECT /x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("CONNECT [::1] HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET a:443 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET relative HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET http:///x HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET http://u@b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET ftp://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /#f HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /a\rb HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /a\0b HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /a\x7f HTTP/1.1\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET /a\xc3\xa9 HTTP/1.1\r\nHost: a\r\n\r\n", 400);
}

static void
hosts(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED("GET / HTTP/1.1\r\nHost: [2001:db8::1]:80\r\n\r\n", &h);
    ACCEPTED("GET / HTTP/1.1\r\nhost:a\r\n\r\n", &h);
    REFUSED("GET / HTTP/1.1\r\nX-A: b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", 400);
    REFUSED("GET http://a/ HTTP/1.1\r\n\r\n", 400);
    REFUSED("GET http://a/ HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a:80x\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\0.b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400);
}

static void
line_ends(void **state)
{
    (void)state;
    REFUSED("GET / HTTP/1.1\nHost: a\n\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\n\rX", 400);
    REFUSED("GET / HTTP/1.1\rHost: a\r\r", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rX-B: 1\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\r\n\r\n", 400);
}

static void
field_lines(void **state)
{
    (void)state;
    struct http_head h;
    REFUSED(HEAD_11 "X-A : b\r\n\r\n", 400);
    REFUSED(HEAD_11 "X A: b\r\n\r\n", 400);
    REFUSED(HEAD_11 ": b\r\n\r\n", 400);
    REFUSED(HEAD_11 "no colon\r\n\r\n", 400);
    REFUSED(HEAD_11 "nocolon\r\n\r\n", 400);
    REFUSED(HEAD_11 "X-A: b\r\n c\r\n\r\n", 400); /* obs-fold */
    REFUSED(HEAD_11 "X-A: b\r\n\tc\r\n\r\n", 400);
    REFUSED("GET / HTTP/1.1\r\n X: b\r\nHost: a\r\n\r\n", 400);
    REFUSED(HEAD_11 "X\0A: b\r\n\r\n", 400);
    REFUSED(HEAD_11 "\xefX-A: b\r\n\r\n", 400);
    ACCEPTED(HEAD_11 "X-A: \xef\xbb\xbf\r\n\r\n", &h); /* obs-text is opaque */
    ACCEPTED(HEAD_11 "X-A: a\tb\r\n\r\n", &h);
    assert_view(h.fields[1].value, "a\tb");
}

/* Every control but HTAB, at every place of a value longer than the fast path's step. */
static void
controls_in_values(void **state)
{
    (void)state;
    char text[] = HEAD_11 "X-A: 0123456789abcdefghijk\r\n\r\n";
    size_t start = sizeof(HEAD_11 "X-A: ") - 1;
    for (size_t at = start; at < start + 21; at++) {
        char was = text[at];
        for (int c = 0; c < 256; c++) {
            struct http_head h;
            struct http_err err;
            text[at] = (char)c;
            enum http_step step = parse(fr_view_make(text, sizeof(text) - 1), &h, &err);
            bool good = (c >= 0x20 && c != 0x7f) || c == '\t';
            assert_int_equal(step, good ? HTTP_DONE : HTTP_BAD);
        }
        text[at] = was;
    }
}

static void
content_length(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED(POST_11 "Content-Length: 5\r\n\r\nhello", &h);
    assert_int_equal(h.framing, HTTP_BODY_LENGTH);
    assert_int_equal(h.content_length, 5);
    ACCEPTED(POST_11 "Content-Length: 010\r\n\r\n", &h);
    assert_int_equal(h.content_length, 10);
    ACCEPTED(POST_11 "Content-Length: 0\r\n\r\n", &h);
    assert_int_equal(h.framing, HTTP_BODY_LENGTH);
    ACCEPTED(POST_11 "Content-Length: 9223372036854775807\r\n\r\n", &h);
    REFUSED(POST_11 "Content-Length: 9223372036854775808\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: 18446744073709551621\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: 5, 5\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: +5\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: -5\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: 0x5\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: 1 0\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: 5a\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length:\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: \r\nContent-Length: 5\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length : 5\r\n\r\n", 400);
}

static void
transfer_encoding(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED(POST_11 "Transfer-Encoding: chunked\r\n\r\n", &h);
    assert_int_equal(h.framing, HTTP_BODY_CHUNKED);
    ACCEPTED(POST_11 "tRANSFER-eNCODING: cHuNkEd\r\n\r\n", &h);
    assert_int_equal(h.framing, HTTP_BODY_CHUNKED);
    ACCEPTED(POST_11 "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n", &h);
    assert_int_equal(h.framing, HTTP_BODY_CHUNKED);
    REFUSED(POST_11 "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n", 400);
    REFUSED(POST_11 "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding: xchunked\r\nContent-Length: 4\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding: chunked, chunked\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding: chunked, gzip\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding: gzip, chunked\r\n\r\n", 501);
    REFUSED(POST_11 "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n", 501);
    REFUSED(POST_11 "Transfer-Encoding: gzip\r\n\r\n", 501);
    REFUSED(POST_11 "Transfer-Encoding: gzip;q=1\r\n\r\n", 501);
    REFUSED(POST_11 "Transfer-Encoding: xchunked\r\n\r\n", 501);
    REFUSED(POST_11 "Transfer-Encoding: chunked;a=b\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding: ,chunked\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding: chunked,\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding:\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding: \"chunked\"\r\n\r\n", 400);
    REFUSED(POST_11 "Transfer-Encoding: \xa0"
                    "chunked\xa0\r\n\r\n",
            400);
    REFUSED(POST_11 "Transfer-Encoding: \x0b"
                    "chunked\r\n\r\n",
            400);
    REFUSED("POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 400);
    ACCEPTED(POST_11 "Transfer_Encoding: chunked\r\nContent-Length: 5\r\n\r\n", &h);
    assert_int_equal(h.framing, HTTP_BODY_LENGTH);
}

static void
hop_by_hop(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED(HEAD_11 "Connection: close, X-Hop , host,cache-control\r\nX-Hop: 1\r\nx-hop: 2\r\n"
                     "Cache-Control: no-store\r\nX-Hopper: 3\r\nTE: trailers\r\n"
                     "Keep-Alive: 5\r\nProxy-Connection: x\r\n\r\n",
             &h);
    static const bool hop[] = {false, true, true, true, false, false, true, true, true};
    assert_int_equal(h.field_count, sizeof(hop) / sizeof(hop[0]));
    for (size_t i = 0; i < h.field_count; i++)
        assert_int_equal(h.fields[i].hop, hop[i]);
    assert_false(h.keep_alive);
}

static void
connection_options(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED(HEAD_11 "Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n", &h);
    assert_true(h.upgrade);
    ACCEPTED(HEAD_11 "Upgrade: websocket\r\n\r\n", &h);
    assert_false(h.upgrade);
    ACCEPTED(HEAD_11 "Connection: Upgrade\r\n\r\n", &h);
    assert_false(h.upgrade);
    ACCEPTED("GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", &h);
    assert_false(h.upgrade);
    ACCEPTED(HEAD_11 "Connection: keep-alive\r\nConnection: close\r\n\r\n", &h);
    assert_false(h.keep_alive);
    ACCEPTED(HEAD_11 "Expect: 100-Continue\r\n\r\n", &h);
    assert_true(h.expect_continue);
    ACCEPTED("GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n", &h);
    assert_false(h.expect_continue);

    char text[512] = HEAD_11 "Connection: a";
    for (int i = 1; i < HTTP_CONNECTION_OPTIONS_MAX; i++)
        strcat(text, ",a");
    size_t len = strlen(text);
    strcat(text, "\r\n\r\n");
    accepted(fr_view_of(text), &h);
    text[len] = '\0';
    strcat(text, ",a\r\n\r\n");
    refused(fr_view_of(text), 400);
}

/* One byte under, at and over each limit. */
static void
limits(void **state)
{
    (void)state;
    static const char text[] = "GET /0123456789 HTTP/1.1\r\nHost: a\r\nX-A: b\r\n\r\n";
    struct fr_view in = fr_view_make(text, sizeof(text) - 1);
    struct http_limits lim = {
        .head_bytes_max = sizeof(text) - 1, .request_line_bytes_max = 26, .field_count_max = 2};
    struct http_head h;
    struct http_err err;
    size_t scanned = 0;
    help_cut_everywhere(in, true, &lim);
    assert_int_equal(http_request_parse(in, &lim, &scanned, &h, &err), HTTP_DONE);

    lim.head_bytes_max--;
    scanned = 0;
    help_cut_everywhere(in, true, &lim);
    assert_int_equal(http_request_parse(in, &lim, &scanned, &h, &err), HTTP_BAD);
    assert_int_equal(err.status, 431);
    lim.head_bytes_max++;

    lim.request_line_bytes_max--;
    scanned = 0;
    help_cut_everywhere(in, true, &lim);
    assert_int_equal(http_request_parse(in, &lim, &scanned, &h, &err), HTTP_BAD);
    assert_int_equal(err.status, 414);
    lim.request_line_bytes_max++;

    lim.field_count_max--;
    scanned = 0;
    help_cut_everywhere(in, true, &lim);
    assert_int_equal(http_request_parse(in, &lim, &scanned, &h, &err), HTTP_BAD);
    assert_int_equal(err.status, 431);
}

/* A later piece that breaks a rule at a line end is refused with it, not when the head ends. */
static void
bare_lf_in_a_later_piece(void **state)
{
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\nX: b";
    struct http_head h;
    struct http_err err;
    size_t lf = sizeof("GET / HTTP/1.1\r\nHost: a") - 1;
    for (size_t cut = 1; cut <= lf; cut++) {
        size_t scanned = 0;
        struct fr_view first = fr_view_make(text, cut);
        struct fr_view more = fr_view_make(text, lf + 1);
        assert_int_equal(http_request_parse(first, &http_limits_default, &scanned, &h, &err),
                         HTTP_MORE);
        assert_int_equal(http_request_parse(more, &http_limits_default, &scanned, &h, &err),
                         HTTP_BAD);
        assert_int_equal(err.offset, lf);
    }
}

/* An endless line is refused at its limit although its end never comes. */
static void
limits_without_end(void **state)
{
    (void)state;
    char text[300];
    struct http_limits lim = {100, 50, 10};
    struct http_head h;
    struct http_err err;
    size_t scanned = 0;
    memset(text, 'a', sizeof(text));
    memcpy(text, "GET /", 5);
    enum http_step step = HTTP_MORE;
    size_t len = 0;
    while (step == HTTP_MORE && len < sizeof(text))
        step = http_request_parse(fr_view_make(text, ++len), &lim, &scanned, &h, &err);
    assert_int_equal(step, HTTP_BAD);
    assert_int_equal(err.status, 414);
    assert_true(len <= 60);

    memcpy(text, "GET / HTTP/1.1\r\nX: a", 20);
    scanned = 0;
    len = 0;
    do {
        step = http_request_parse(fr_view_make(text, ++len), &lim, &scanned, &h, &err);
    } while (step == HTTP_MORE && len < sizeof(text));
    assert_int_equal(step, HTTP_BAD);
    assert_int_equal(err.status, 431);
    assert_int_equal(len, 100);
}

/* A head is used again without being cleared: nothing of the first may show in the second. */
static void
reuse(void **state)
{
    (void)state;
    struct http_head h;
    ACCEPTED("POST http://x/?q HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
             "Connection: upgrade\r\nUpgrade: b\r\nExpect: 100-continue\r\n\r\n",
             &h);
    struct http_err err;
    assert_int_equal(parse(FR_VIEW("GET / HTTP/1.0\r\n\r\n"), &h, &err), HTTP_DONE);
    assert_int_equal(h.field_count, 0);
    assert_false(h.has_query);
    assert_false(h.upgrade);
    assert_false(h.expect_continue);
    assert_int_equal(h.host.len, 0);
    assert_int_equal(h.framing, HTTP_BODY_NONE);
    for (int k = 0; k < HTTP_KNOWN_COUNT; k++)
        assert_null(http_head_find(&h, (enum http_known)k));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_request),
        cmocka_unit_test(methods),
        cmocka_unit_test(empty_lines_first),
        cmocka_unit_test(versions),
        cmocka_unit_test(targets),
        cmocka_unit_test(hosts),
        cmocka_unit_test(line_ends),
        cmocka_unit_test(field_lines),
        cmocka_unit_test(controls_in_values),
        cmocka_unit_test(content_length),
        cmocka_unit_test(transfer_encoding),
        cmocka_unit_test(hop_by_hop),
        cmocka_unit_test(connection_options),
        cmocka_unit_test(limits),
        cmocka_unit_test(limits_without_end),
        cmocka_unit_test(bare_lf_in_a_later_piece),
        cmocka_unit_test(reuse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
