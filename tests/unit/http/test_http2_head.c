/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_head.c - fields of HTTP/2 become the text of a head, or are refused.
 */
#include "base/fr_mem.h"
#include "http2_feed.h"

#include <stdio.h>

#define GET ":method=GET|:scheme=https|:authority=a.example|:path=/p?q"

static void
check(enum http2_kind kind, const char *fields, bool end_stream, const char *want)
{
    struct fr_buf buf;
    struct http2_writer writer;
    struct fr_view text = {0};
    fr_buf_init(&buf, 4096);
    http2_writer_begin(&writer, kind, &buf, NULL, 20);
    enum http2_verdict verdict = feed(&writer, fields);
    if (verdict == HTTP2_FINE)
        verdict = http2_writer_end(&writer, end_stream, &text);
    if (!want)
        assert_int_equal(verdict, HTTP2_MALFORMED);
    else if (verdict != HTTP2_FINE)
        fail_msg("%s: %s", fields, writer.words);
    else
        assert_view(text, want);
    fr_buf_fini(&buf);
}

static void
request(const char *fields, const char *want)
{
    check(HTTP2_REQUEST, fields, true, want);
}

#define HEAD "GET /p?q HTTP/1.1\r\nHost: a.example\r\n"

static void
requests(void **state)
{
    (void)state;
    request(GET, HEAD "\r\n");
    request(GET "|accept=*/*|x-y=", HEAD "accept: */*\r\nx-y: \r\n\r\n");
    request(":path=/|:method=PUT|:scheme=http|host=b:81", "PUT / HTTP/1.1\r\nHost: b:81\r\n\r\n");
    request(GET "|host=A.Example", HEAD "\r\n");
    request(":method=OPTIONS|:scheme=https|:authority=a|:path=*",
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n");
    request(":method=CONNECT|:authority=a:443", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n");
    request(GET "|te=trailers", HEAD "te: trailers\r\nConnection: TE\r\n\r\n");
    request(GET "|content-length=0", HEAD "content-length: 0\r\n\r\n");
    check(HTTP2_REQUEST, GET, false, HEAD "Transfer-Encoding: chunked\r\n\r\n");
    check(HTTP2_REQUEST, GET "|content-length=5", false, HEAD "content-length: 5\r\n\r\n");
    request(GET "|http2-settings=AAMA", HEAD "\r\n");
}

/* The length stays, wherever it stands among what moves: its owner knows who is to be told. */
static void
lengths_and_announced_trailers(void **state)
{
    (void)state;
    check(HTTP2_REQUEST, GET "|content-length=5|trailer=x-t|a=b", false,
          HEAD "content-length: 5\r\ntrailer: x-t\r\na: b\r\n\r\n");
    check(HTTP2_REQUEST, GET "|trailer=x-t", false,
          HEAD "trailer: x-t\r\nTransfer-Encoding: chunked\r\n\r\n");
    request(GET "|trailer=x-t|content-length=0", HEAD "trailer: x-t\r\ncontent-length: 0\r\n\r\n");
    check(HTTP2_REQUEST, GET "|cookie=a=1|x-real=secret|content-length=5|cookie=b=2|trailer=x-t",
          false,
          HEAD "cookie: a=1; b=2\r\nx-real: secret\r\ncontent-length: 5\r\ntrailer: x-t\r\n\r\n");
    check(HTTP2_REQUEST, GET "|cookie=a=1|connectionx=|content-length=1|cookie=xxx|trailer=x-t",
          false,
          HEAD "cookie: a=1; xxx\r\nconnectionx: \r\ncontent-length: 1\r\ntrailer: x-t\r\n\r\n");
    check(HTTP2_REQUEST, GET "|trailer=x-t|content-length=5|cookie=a=1|b=c|cookie=b=2", false,
          HEAD "trailer: x-t\r\ncontent-length: 5\r\ncookie: a=1; b=2\r\nb: c\r\n\r\n");
}

/* RFC 7541 section 6.2.3: the text keeps it by the blank that is not there. */
static void
never_indexed(void **state)
{
    (void)state;
    request(GET "|^a=b|c=d", HEAD "a:b\r\nc: d\r\n\r\n");
    request(GET "|^a=|c=", HEAD "a:\r\nc: \r\n\r\n");
    request(":method=GET|:scheme=https|^:authority=a.example|^:path=/p?q|a=b",
            "GET /p?q HTTP/1.1\r\nHost:a.example\r\na: b\r\n\r\n");
    request(":method=GET|:scheme=https|:path=/|^host=b", "GET / HTTP/1.1\r\nHost:b\r\n\r\n");
    check(HTTP2_REQUEST, GET "|^content-length=5", false, HEAD "content-length:5\r\n\r\n");
    check(HTTP2_RESPONSE, ":status=200|^set-cookie=a|content-length=5|x=y", false,
          "HTTP/1.1 200 \r\nset-cookie:a\r\ncontent-length: 5\r\nx: y\r\n\r\n");
    check(HTTP2_TRAILERS, "^a=b|c=d", true, "a:b\r\nc: d\r\n\r\n");
    /* One crumb makes all of them so, wherever it stands. */
    request(GET "|^cookie=a=1|x=y|cookie=b=2", HEAD "cookie:a=1; b=2\r\nx: y\r\n\r\n");
    request(GET "|cookie=a=1|x=y|^cookie=b=2|z=", HEAD "cookie:a=1; b=2\r\nx: y\r\nz: \r\n\r\n");
    request(GET "|cookie=a=1|^x=y|^cookie=b=2|cookie=c=3|^cookie=d",
            HEAD "cookie:a=1; b=2; c=3; d\r\nx:y\r\n\r\n");
    request(GET "|cookie=|^cookie=", HEAD "cookie:; \r\n\r\n");
}

static void
check_announced(const char *fields, bool want)
{
    struct fr_buf buf;
    struct http2_writer writer;
    struct fr_view text;
    fr_buf_init(&buf, 4096);
    http2_writer_begin(&writer, HTTP2_REQUEST, &buf, NULL, 20);
    assert_int_equal(feed(&writer, fields), HTTP2_FINE);
    assert_int_equal(http2_writer_end(&writer, false, &text), HTTP2_FINE);
    assert_int_equal(writer.announces, want);
    assert_true(writer.has_length && writer.length == 5);
    fr_buf_fini(&buf);
}

static void
announced(void **state)
{
    static const struct {
        const char *fields;
        bool want;
    } rows[] = {{"trailer=x-t", true}, {"trailer=", false}, {"te=trailers", false}};
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[128];
        (void)snprintf(text, sizeof(text), GET "|content-length=5|%s", rows[i].fields);
        check_announced(text, rows[i].want);
    }
}

static void
tunnels(void **state)
{
    (void)state;
    check(HTTP2_REQUEST,
          ":method=CONNECT|:protocol=websocket|:scheme=https|:authority=a|:path=/chat"
          "|sec-websocket-version=13|sec-websocket-key=theirs",
          false,
          "GET /chat HTTP/1.1\r\nHost: a\r\nsec-websocket-version: 13\r\n"
          "Connection: upgrade\r\nUpgrade: websocket\r\n\r\n");
    request(":method=CONNECT|:protocol=websocket|:scheme=https|:path=/chat", NULL);
    request(":method=GET|:protocol=websocket|:scheme=https|:authority=a|:path=/chat", NULL);
    request(":method=CONNECT|:authority=a:1|:path=/", NULL);
    request(":method=CONNECT", NULL);
}

static void
cookies_are_joined(void **state)
{
    (void)state;
    request(GET "|cookie=a=1|cookie=b=2", HEAD "cookie: a=1; b=2\r\n\r\n");
    request(GET "|cookie=a=1|x=y|cookie=b=2|z=z|cookie=c",
            HEAD "cookie: a=1; b=2; c\r\nx: y\r\nz: z\r\n\r\n");
}

static void
malformed_requests(void **state)
{
    static const char *const rows[] = {
        /* pseudo-fields */
        ":scheme=https|:authority=a|:path=/",
        ":method=GET|:authority=a|:path=/",
        ":method=GET|:scheme=https|:authority=a",
        ":method=GET|:scheme=https|:path=/",
        GET "|:method=GET",
        GET "|:path=/",
        GET "|x=y|:authority=a",
        "x=y|" GET,
        GET "|:status=200",
        GET "|:other=1",
        GET "|:=1",
        ":method=G T|:scheme=https|:authority=a|:path=/",
        ":method=|:scheme=https|:authority=a|:path=/",
        ":method=GET|:scheme=ftp|:authority=a|:path=/",
        ":method=GET|:scheme=HTTPS|:authority=a|:path=/",
        ":method=GET|:scheme=https|:authority=|:path=/",
        ":method=GET|:scheme=https|:authority=u@a|:path=/",
        ":method=GET|:scheme=https|:authority=a b|:path=/",
        ":method=GET|:scheme=https|:authority=a|:path=",
        ":method=GET|:scheme=https|:authority=a|:path=p",
        ":method=GET|:scheme=https|:authority=a|:path=*",
        ":method=GET|:scheme=https|:authority=a|:path=/ HTTP/1.1",
        ":method=GET|:scheme=https|:authority=a|:path=/\r\nx: y",
        ":method=GET|:scheme=https|:authority=a|:path=/a#b",
        ":method=GET|:scheme=https|:authority=a|:path=http://a/",
        /* names */
        GET "|Upper=1",
        GET "|a b=1",
        GET "|a:b=1",
        GET "|a\r\nb=1",
        GET "|a\x80=1",
        GET "|=1",
        /* values */
        GET "|a=b\r\nc: d",
        GET "|a=b\nc",
        GET "|a=b\rc",
        GET "|a=b\x01",
        GET "|a= b",
        GET "|a=b ",
        GET "|a=\tb",
        /* of the connection */
        GET "|connection=close",
        GET "|keep-alive=1",
        GET "|proxy-connection=close",
        GET "|transfer-encoding=chunked",
        GET "|upgrade=h2c",
        GET "|te=gzip",
        GET "|te=trailers, deflate",
        /* host and length */
        GET "|host=b.example",
        GET "|host=a.example|host=a.example",
        GET "|content-length=1",
        GET "|content-length=0|content-length=0",
        GET "|content-length=0, 0",
        GET "|content-length=+1",
        GET "|content-length=",
        GET "|content-length=99999999999999999999",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        request(rows[i], NULL);
}

static void
nul_is_refused(void **state)
{
    struct fr_buf buf;
    struct http2_writer writer;
    (void)state;
    fr_buf_init(&buf, 4096);
    http2_writer_begin(&writer, HTTP2_REQUEST, &buf, NULL, 20);
    assert_int_equal(feed(&writer, GET), HTTP2_FINE);
    assert_int_equal(feed_one(&writer, FR_VIEW("a"), fr_view_make("b\0c", 3), false),
                     HTTP2_MALFORMED);
    fr_buf_fini(&buf);
}

static void
responses(void **state)
{
    (void)state;
    check(HTTP2_RESPONSE, ":status=200|a=b", false,
          "HTTP/1.1 200 \r\na: b\r\nTransfer-Encoding: chunked\r\n\r\n");
    check(HTTP2_RESPONSE, ":status=200|content-length=3", false,
          "HTTP/1.1 200 \r\ncontent-length: 3\r\n\r\n");
    check(HTTP2_RESPONSE, ":status=200", true, "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n");
    check(HTTP2_RESPONSE, ":status=204", true, "HTTP/1.1 204 \r\n\r\n");
    check(HTTP2_RESPONSE, ":status=103|link=x", false, "HTTP/1.1 103 \r\nlink: x\r\n\r\n");
    check(HTTP2_RESPONSE, "a=b", true, NULL);
    check(HTTP2_RESPONSE, ":status=101", true, NULL);
    check(HTTP2_RESPONSE, ":status=20", true, NULL);
    check(HTTP2_RESPONSE, ":status=2000", true, NULL);
    check(HTTP2_RESPONSE, ":status=600", true, NULL);
    check(HTTP2_RESPONSE, ":status=200|te=trailers", true, NULL);
    check(HTTP2_RESPONSE, ":status=200|:path=/", true, NULL);
}

static void
trailers(void **state)
{
    (void)state;
    check(HTTP2_TRAILERS, "grpc-status=0|x=", true, "grpc-status: 0\r\nx: \r\n\r\n");
    check(HTTP2_TRAILERS, ":status=200", true, NULL);
    check(HTTP2_TRAILERS, "x=y", false, NULL);
    check(HTTP2_TRAILERS, "content-length=1", true, NULL);
    check(HTTP2_TRAILERS, "transfer-encoding=chunked", true, NULL);
}

static void
limits(void **state)
{
    struct fr_buf buf;
    struct http2_writer writer;
    char long_value[300];
    (void)state;
    memset(long_value, 'x', sizeof(long_value));
    fr_buf_init(&buf, 200);
    http2_writer_begin(&writer, HTTP2_REQUEST, &buf, NULL, 2);
    assert_int_equal(feed(&writer, GET "|a=1|b=2"), HTTP2_FINE);
    assert_int_equal(feed(&writer, "c=3"), HTTP2_TOO_LARGE);
    http2_writer_begin(&writer, HTTP2_REQUEST, &buf, NULL, 2);
    assert_int_equal(feed(&writer, GET), HTTP2_FINE);
    struct fr_view value = fr_view_make(long_value, sizeof(long_value));
    assert_int_equal(feed_one(&writer, FR_VIEW("a"), value, false), HTTP2_TOO_LARGE);
    /* Crumbs side by side are one field, apart they are not. */
    http2_writer_begin(&writer, HTTP2_REQUEST, &buf, NULL, 3);
    assert_int_equal(feed(&writer, GET "|cookie=a|cookie=b|cookie=c|cookie=d"), HTTP2_FINE);
    assert_int_equal(feed(&writer, "x=1|cookie=e"), HTTP2_FINE);
    assert_int_equal(feed(&writer, "cookie=f"), HTTP2_TOO_LARGE);
    fr_buf_fini(&buf);
}

static void
memory_fails(void **state)
{
    struct fr_buf buf, lines;
    struct http2_writer writer;
    struct fr_view text;
    (void)state;
    for (uint64_t at = 1;; at++) {
        fr_buf_init(&buf, 4096);
        fr_buf_init(&lines, HTTP2_LINES_MAX * sizeof(struct http2_line));
        http2_writer_begin(&writer, HTTP2_REQUEST, &buf, &lines, 20);
        fr_mem_fail_after(at);
        enum http2_verdict verdict = feed(&writer, GET "|cookie=a=1|x=y|cookie=b=2");
        if (verdict == HTTP2_FINE)
            verdict = http2_writer_end(&writer, true, &text);
        fr_mem_fail_after(0);
        fr_buf_fini(&buf);
        fr_buf_fini(&lines);
        if (verdict == HTTP2_FINE)
            break;
        assert_int_equal(verdict, HTTP2_NO_MEMORY);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests),
        cmocka_unit_test(tunnels),
        cmocka_unit_test(announced),
        cmocka_unit_test(lengths_and_announced_trailers),
        cmocka_unit_test(never_indexed),
        cmocka_unit_test(cookies_are_joined),
        cmocka_unit_test(malformed_requests),
        cmocka_unit_test(nul_is_refused),
        cmocka_unit_test(responses),
        cmocka_unit_test(trailers),
        cmocka_unit_test(limits),
        cmocka_unit_test(memory_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
