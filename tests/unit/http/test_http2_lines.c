/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http2_lines.c - a request's head out of its lines is what the parser of HTTP/1.1 reads from
 * its text, and is refused where that refuses it.
 */
#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "head_same.h"
#include "http2_feed.h"

#include <stdio.h>

#define GET ":method=GET|:scheme=https|:authority=a.example|:path=/p?q"
#define FIELDS_MAX 40
#define BUF_BYTES 65536

struct text {
    struct fr_buf buf, lines;
    struct http2_writer writer;
    struct fr_view view;
};

static void
text_init(struct text *text)
{
    fr_buf_init(&text->buf, BUF_BYTES);
    fr_buf_init(&text->lines, HTTP2_LINES_MAX * sizeof(struct http2_line));
    http2_writer_begin(&text->writer, HTTP2_REQUEST, &text->buf, &text->lines, FIELDS_MAX);
}

static void
text_fini(struct text *text)
{
    fr_buf_fini(&text->buf);
    fr_buf_fini(&text->lines);
}

/* Both ways; returns the status of the refusal, 0 where it is none. */
static int
agree(const struct text *text, const struct http_limits *limits, const char *what)
{
    static struct http_head read, built;
    struct http_err read_err = {0}, err = {0};
    size_t scanned = 0;
    enum http_step want = http_request_parse(text->view, limits, &scanned, &read, &read_err);
    enum http_step step = http2_lines_head(text->view, &text->lines, limits, &built, &err);
    assert_int_not_equal(want, HTTP_MORE);
    if (step != want || err.status != read_err.status)
        fail_msg("%s: %d (%s) from text, %d (%s) from lines", what, read_err.status,
                 want == HTTP_BAD ? read_err.words : "fine", err.status,
                 step == HTTP_BAD ? err.words : "fine");
    if (step == HTTP_BAD)
        return err.status;
    const char *differs = heads_differ(&read, &built);
    if (differs)
        fail_msg("%s: %s is not the same", what, differs);
    return 0;
}

static int
status_of(const char *fields, bool end_stream)
{
    struct text text;
    text_init(&text);
    assert_int_equal(feed(&text.writer, fields), HTTP2_FINE);
    assert_int_equal(http2_writer_end(&text.writer, end_stream, &text.view), HTTP2_FINE);
    int status = agree(&text, &http_limits_default, fields);
    text_fini(&text);
    return status;
}

static void
same_as_the_text(void **state)
{
    static const char *const rows[] = {
        GET,
        GET "|accept=*/*|x-y=|user-agent=curl/8|accept=text/html",
        ":path=/|:method=PUT|:scheme=http|host=b:81",
        ":path=/|:method=PUT|:scheme=http|x=y|host=[::1]:81|z=",
        GET "|host=A.Example",
        ":method=OPTIONS|:scheme=https|:authority=a|:path=*",
        ":method=CONNECT|:authority=a:443",
        ":method=HEAD|:scheme=https|:authority=a|:path=/?",
        GET "|te=trailers|te=trailers|trailer=x",
        GET "|expect=100-continue",
        GET "|expect=100-continue, other",
        GET "|^a=b|c=d|^e=",
        ":method=GET|:scheme=https|^:authority=a.example|^:path=/p?q|a=b",
        GET "|cookie=a=1|cookie=b=2",
        GET "|cookie=a=1|x=y|cookie=b=2|z=z|cookie=c",
        GET "|cookie=a=1|x=y|^cookie=b=2|z=|cookie=|^v=w",
        GET "|^cookie=a=1|x=y|cookie=b=2",
        GET "|cookie=|^cookie=|a=b",
        GET "|http2-settings=AAMA|sec-websocket-key=x",
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_int_equal(status_of(rows[i], true), 0);
    assert_int_equal(status_of(GET, false), 0);
    assert_int_equal(status_of(GET "|content-length=5|x=y", false), 0);
    assert_int_equal(status_of(":method=CONNECT|:protocol=websocket|:scheme=https|:authority=a"
                               "|:path=/chat|sec-websocket-version=13",
                               false),
                     0);
}

static void
refused_like_the_text(void **state)
{
    static const char *const paths[] = {"/<", "/>", "/\"", "/a\\b", "/p?<"};
    (void)state;
    for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        char fields[128];
        (void)snprintf(fields, sizeof(fields), ":method=GET|:scheme=https|:authority=a|:path=%s",
                       paths[i]);
        assert_int_equal(status_of(fields, true), 400);
    }
    assert_int_equal(status_of(":method=CONNECT|:authority=a", true), 400);
    assert_int_equal(status_of(":method=CONNECT|:authority=a:", true), 400);
    assert_int_equal(status_of(GET "|content-length=9999999999999999999", false), 400);
}

/* Each at its limit, and one beyond. */
static void
limits(void **state)
{
    struct text text;
    (void)state;
    text_init(&text);
    assert_int_equal(feed(&text.writer, GET "|a=b|cookie=a=1|c=d"), HTTP2_FINE);
    assert_int_equal(http2_writer_end(&text.writer, false, &text.view), HTTP2_FINE);
    struct http_limits all = {.head_bytes_max = text.view.len,
                              .request_line_bytes_max = sizeof("GET /p?q HTTP/1.1\r\n") - 1,
                              .field_count_max = 5}; /* with Host and Transfer-Encoding */
    assert_int_equal(agree(&text, &all, "at the limits"), 0);
    all.head_bytes_max--;
    assert_int_equal(agree(&text, &all, "the head"), 431);
    all.head_bytes_max++, all.request_line_bytes_max--;
    assert_int_equal(agree(&text, &all, "its line"), 414);
    all.request_line_bytes_max++, all.field_count_max--;
    assert_int_equal(agree(&text, &all, "its fields"), 431);
    text_fini(&text);
}

/* The line that is put behind the end is a line as others are. */
static void
one_line_more(void **state)
{
    struct text text;
    (void)state;
    text_init(&text);
    assert_int_equal(feed(&text.writer, GET "|a=b"), HTTP2_FINE);
    assert_int_equal(http2_writer_end(&text.writer, true, &text.view), HTTP2_FINE);
    assert_int_equal(
        http2_writer_add(&text.writer, FR_VIEW("Sec-WebSocket-Key"), FR_VIEW("AA=="), &text.view),
        HTTP2_FINE);
    assert_view(text.view, "GET /p?q HTTP/1.1\r\nHost: a.example\r\na: b\r\n"
                           "Sec-WebSocket-Key: AA==\r\n\r\n");
    assert_int_equal(agree(&text, &http_limits_default, "with a line more"), 0);
    text_fini(&text);
}

/* A field whose name and value were looked at before makes the same line. */
static void
found_again(void **state)
{
    static const struct {
        struct fr_view name, value;
    } rows[] = {
#define ROW(name, value)                                                                           \
    {                                                                                              \
        {name, sizeof(name) - 1},                                                                  \
        {                                                                                          \
            value, sizeof(value) - 1                                                               \
        }                                                                                          \
    }
        ROW(":method", "GET"),  ROW(":scheme", "https"),    ROW(":path", "/p"),
        ROW(":authority", "a"), ROW("cookie", "a=1"),       ROW("accept", "*/*"),
        ROW("cookie", "b=2"),   ROW("te", "trailers"),      ROW("x-unknown", "y"),
        ROW("host", "a"),       ROW("content-length", "0"),
#undef ROW
    };
    uint8_t found[sizeof(rows) / sizeof(rows[0])] = {0};
    struct fr_view first = {0};
    struct text texts[2];
    (void)state;
    for (size_t turn = 0; turn < 2; turn++) {
        struct text *text = &texts[turn];
        text_init(text);
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
            uint8_t before = found[i];
            assert_int_equal(
                http2_writer_field(&text->writer, rows[i].name, rows[i].value, false, &found[i]),
                HTTP2_FINE);
            assert_int_not_equal(found[i], 0);
            assert_true(turn == 0 || found[i] == before);
        }
        assert_int_equal(http2_writer_end(&text->writer, true, &text->view), HTTP2_FINE);
        assert_int_equal(agree(text, &http_limits_default, "found"), 0);
        assert_true(turn == 0 || fr_view_eq(first, text->view));
        first = text->view;
    }
    text_fini(&texts[0]);
    text_fini(&texts[1]);
}

static void
heads_at_random(void **state)
{
    static const char *const fields[] = {
        "|cookie=a=1",
        "|cookie=long=0123456789012345678901234567890123456789",
        "|^cookie=s=1",
        "|cookie=",
        "|x-a=b",
        "|^x-b=",
        "|accept=*/*",
        "|via=1.1 else",
        "|te=trailers",
        "|trailer=x-t",
        "|range=bytes=0-1",
        "|x-forwarded-for=10.0.0.1",
        "|expect=100-continue",
        "|if-none-match=\"a\"",
    };
    struct fr_rand rand;
    (void)state;
    fr_rand_init(&rand, 20261130);
    for (int round = 0; round < 3000; round++) {
        char text[4096] = GET;
        size_t len = strlen(text);
        for (uint32_t count = fr_rand_below(&rand, 24); count > 0; count--) {
            const char *field = fields[fr_rand_below(&rand, sizeof(fields) / sizeof(fields[0]))];
            len += (size_t)snprintf(text + len, sizeof(text) - len, "%s", field);
        }
        assert_int_equal(status_of(text, fr_rand_next(&rand) & 1), 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_as_the_text), cmocka_unit_test(refused_like_the_text),
        cmocka_unit_test(limits),           cmocka_unit_test(one_line_more),
        cmocka_unit_test(found_again),      cmocka_unit_test(heads_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
