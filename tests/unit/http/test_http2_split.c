/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_split.c - heads that were printed here become fields of HTTP/2.
 */
#include "http/http2_head.h"
#include "http_help.h"

#include <stdio.h>

static struct http2_split split;

/* The text is given in two parts, cut behind each of its lines. "^": never to be indexed. */
static void
check(enum http2_kind kind, const char *text, const char *want)
{
    struct fr_view whole = fr_view_of(text);
    for (size_t cut = 0; cut < whole.len; cut++) {
        if (cut > 0 && whole.ptr[cut - 1] != '\n')
            continue;
        size_t used = 0, used_more = 0;
        http2_split_begin(&split, kind);
        split.scheme = FR_VIEW("https");
        struct fr_view first = fr_view_make(whole.ptr, cut);
        struct fr_view second = fr_view_make(whole.ptr + cut, whole.len - cut);
        enum http_step step = http2_split_read(&split, first, &used);
        if (step == HTTP_MORE) {
            assert_int_equal(used, cut);
            step = http2_split_read(&split, second, &used_more);
        }
        if (!want) {
            assert_int_not_equal(step, HTTP_DONE);
            continue;
        }
        assert_int_equal(step, HTTP_DONE);
        assert_int_equal(used + used_more, whole.len);
        char got[512] = "";
        size_t len = 0;
        for (size_t i = 0; i < split.count; i++)
            len += (size_t)snprintf(got + len, sizeof(got) - len, "[%s%.*s=%.*s]",
                                    split.fields[i].never_indexed ? "^" : "",
                                    FR_VIEW_ARG(split.fields[i].name),
                                    FR_VIEW_ARG(split.fields[i].value));
        assert_string_equal(got, want);
    }
}

static void
responses(void **state)
{
    (void)state;
    check(HTTP2_RESPONSE, "HTTP/1.1 200 OK\r\n\r\n", "[:status=200]");
    check(HTTP2_RESPONSE, "HTTP/1.1 404 Not Found\r\nDate: x\r\nA:b\r\nEmpty:\r\n\r\n",
          "[:status=404][Date=x][^A=b][^Empty=]");
    check(HTTP2_RESPONSE,
          "HTTP/1.1 200 OK\r\nConnection: close\r\nKeep-Alive: 1\r\nTransfer-Encoding: chunked\r\n"
          "Upgrade: h2c\r\nProxy-Connection: x\r\nVia: 1.1 f\r\n\r\n",
          "[:status=200][Via=1.1 f]");
    check(HTTP2_RESPONSE, "HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n",
          "[:status=200][Content-Length=12]");
    assert_true(split.has_length);
    assert_int_equal(split.length, 12);
    assert_int_equal(split.status, 200);
}

static void
requests(void **state)
{
    (void)state;
    check(HTTP2_REQUEST, "GET /a?b HTTP/1.1\r\nHost: h:1\r\nTE: trailers\r\nConnection: TE\r\n\r\n",
          "[:method=GET][:scheme=https][^:path=/a?b][:authority=h:1][TE=trailers]");
    check(HTTP2_REQUEST, "GET / HTTP/1.1\r\nTE: gzip\r\nX: y\r\n\r\n",
          "[:method=GET][:scheme=https][^:path=/][X=y]");
    check(HTTP2_REQUEST, "GET /chat HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
          "[:method=CONNECT][:scheme=https][^:path=/chat][:authority=h][:protocol=websocket]");
}

static void
trailers(void **state)
{
    (void)state;
    check(HTTP2_TRAILERS, "grpc-status:0\r\nx:\r\n\r\n", "[^grpc-status=0][^x=]");
    check(HTTP2_TRAILERS, "\r\n", "");
}

/* RFC 7541 section 6.2.3: what came so, which is told by the blank that is not there; and what is
 * secret whoever sends it. */
static void
never_indexed(void **state)
{
    (void)state;
    check(HTTP2_REQUEST, "GET / HTTP/1.1\r\nHost:h\r\na:b\r\nc: d\r\ne:\tf\r\n\r\n",
          "[:method=GET][:scheme=https][^:path=/][^:authority=h][^a=b][c=d][e=f]");
    check(HTTP2_RESPONSE, "HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length:1\r\n\r\n",
          "[:status=200][^Set-Cookie=a=b][^Content-Length=1]");
    check(HTTP2_TRAILERS, "x-a: b\r\nx-c:d\r\nx-e: \r\n\r\n", "[x-a=b][^x-c=d][x-e=]");
}

static void
what_is_no_head(void **state)
{
    (void)state;
    check(HTTP2_RESPONSE, "HTTP/1.1 200 OK\r\nno colon\r\n\r\n", NULL);
    check(HTTP2_RESPONSE, "HTTP/1.1\r\n\r\n", NULL);
    check(HTTP2_RESPONSE, "HTTP/1.1 200 OK\n\n", NULL);
    check(HTTP2_RESPONSE, "HTTP/1.1 200 OK\r\n: x\r\n\r\n", NULL);
    check(HTTP2_RESPONSE, "\r\n", NULL);
    check(HTTP2_RESPONSE, "HTTP/1.1 200 OK\r\nA: b\r\n", NULL);
}

static void
too_many_fields(void **state)
{
    static char text[HTTP2_SPLIT_MAX * 8];
    size_t len = (size_t)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n"), used;
    (void)state;
    for (size_t i = 0; i < HTTP2_SPLIT_MAX; i++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "a:b\r\n");
    http2_split_begin(&split, HTTP2_RESPONSE);
    assert_int_equal(http2_split_read(&split, fr_view_make(text, len), &used), HTTP_BAD);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(responses),       cmocka_unit_test(requests),
        cmocka_unit_test(trailers),        cmocka_unit_test(what_is_no_head),
        cmocka_unit_test(too_many_fields), cmocka_unit_test(never_indexed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
