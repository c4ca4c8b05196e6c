/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_body.c - bodies, cut at every offset; chunk lines and trailers on both sides of each
 * rule.
 *
 * Follows:    RFC 9112 sections 6.3, 7.1 and 8.
 */
#include "http_help.h"

#include <stdio.h>

/* What came out of one decoding. */
struct outcome {
    enum http_step step;
    char data[70000];
    size_t data_len;
    size_t used;
    bool closed; /* a close here would be a proper end */
    const char *words;
};

/* Feeds `in` up to `end`; like a reader, it calls again while bytes are left. */
static void
feed(struct http_body *body, struct fr_view in, size_t end, struct outcome *out)
{
    struct http_err err = {0};
    while (out->step == HTTP_MORE && out->used < end) {
        size_t used = 0;
        struct fr_view run;
        out->step = http_body_decode(body, fr_view_make(in.ptr + out->used, end - out->used), &used,
                                     &run, &err);
        assert_true(used <= end - out->used);
        assert_true(out->data_len + run.len <= sizeof(out->data));
        if (run.len) {
            assert_true(run.ptr >= in.ptr + out->used);
            assert_true(run.ptr + run.len <= in.ptr + out->used + used);
            memcpy(out->data + out->data_len, run.ptr, run.len);
        }
        out->data_len += run.len;
        out->used += used;
        assert_true(used > 0 || out->step != HTTP_MORE);
        out->words = err.words;
        if (out->step == HTTP_BAD)
            assert_int_equal(err.status, 400);
    }
    out->closed = http_body_closed(body);
}

static void
decode(enum http_framing framing, uint64_t length, struct fr_view in, struct outcome *out)
{
    struct http_body body;
    memset(out, 0, offsetof(struct outcome, data));
    out->step = HTTP_MORE;
    out->data_len = out->used = 0;
    http_body_init(&body, framing, length);
    feed(&body, in, in.len, out);
    assert_int_equal(body.received, out->data_len);
}

/* The outcome of the whole; the same in two pieces, cut anywhere, and in pieces of one byte. */
static void
decode_cut(enum http_framing framing, uint64_t length, struct fr_view in, struct outcome *out)
{
    static struct outcome cut;
    decode(framing, length, in, out);
    for (size_t at = 0; at <= in.len + 1; at++) {
        struct http_body body;
        memset(&cut, 0, offsetof(struct outcome, data));
        cut.step = HTTP_MORE;
        cut.data_len = cut.used = 0;
        http_body_init(&body, framing, length);
        if (at <= in.len)
            feed(&body, in, at, &cut);
        else
            for (size_t end = 1; end <= in.len; end++)
                feed(&body, in, end, &cut);
        feed(&body, in, in.len, &cut);
        assert_int_equal(cut.step, out->step);
        assert_int_equal(cut.used, out->used);
        assert_int_equal(cut.data_len, out->data_len);
        assert_memory_equal(cut.data, out->data, out->data_len);
        assert_int_equal(cut.closed, out->closed);
        if (out->step == HTTP_BAD)
            assert_string_equal(cut.words, out->words);
    }
}

static struct outcome got;

static void
good(const char *text, const char *data, const char *rest)
{
    decode_cut(HTTP_BODY_CHUNKED, 0, fr_view_of(text), &got);
    if (got.step != HTTP_DONE)
        fail_msg("%s: %s", got.words ? got.words : "not done", text);
    assert_view(fr_view_make(got.data, got.data_len), data);
    assert_string_equal(text + got.used, rest);
    assert_true(got.closed);
    /* Any shorter one is no proper end. */
    for (size_t len = 0; len < got.used; len++) {
        static struct outcome shorter;
        decode(HTTP_BODY_CHUNKED, 0, fr_view_make(text, len), &shorter);
        assert_int_equal(shorter.step, HTTP_MORE);
        assert_false(shorter.closed);
    }
}

static void
bad_view(struct fr_view text)
{
    decode_cut(HTTP_BODY_CHUNKED, 0, text, &got);
    if (got.step != HTTP_BAD)
        fail_msg("accepted: %.*s", FR_VIEW_ARG(text));
    assert_false(got.closed);
}
#define BAD(literal) bad_view(FR_VIEW(literal))

static void
chunked(void **state)
{
    (void)state;
    good("0\r\n\r\n", "", "");
    good("5\r\nhello\r\n0\r\n\r\n", "hello", "");
    good("5\r\nhello\r\n0\r\n\r\nGET /", "hello", "GET /");
    good("1\r\na\r\nA\r\n0123456789\r\n0a\r\n0123456789\r\n000\r\n\r\n", "a01234567890123456789",
         "");
    good("0000000000000005\r\nhello\r\n0\r\n\r\n", "hello", "");
    good("2\r\n\r\n\r\n0\r\n\r\n", "\r\n", "");
}

static void
sizes_refused(void **state)
{
    (void)state;
    BAD("0x5\r\nhello\r\n0\r\n\r\n");
    BAD("-5\r\nhello\r\n0\r\n\r\n");
    BAD("+5\r\nhello\r\n0\r\n\r\n");
    BAD("0_2e\r\n\r\n");
    BAD(" 5\r\nhello\r\n0\r\n\r\n");
    BAD("5 \r\nhello\r\n0\r\n\r\n");
    BAD("\r\n\r\n");
    BAD(";a=b\r\nhello\r\n");
    BAD("G\r\nhello\r\n0\r\n\r\n");
    BAD("00000000000000005\r\nhello\r\n"); /* 17 digits */
    BAD("10000000000000005\r\nhello\r\n");
    BAD("ffffffffffffffff\r\nhello\r\n");
    BAD("8000000000000000\r\nhello\r\n");
    decode(HTTP_BODY_CHUNKED, 0, FR_VIEW("7fffffffffffffff\r\nhello"), &got);
    assert_int_equal(got.step, HTTP_MORE);
    assert_int_equal(got.data_len, 5);
}

static void
line_ends_refused(void **state)
{
    (void)state;
    BAD("5\nhello\r\n0\r\n\r\n");
    BAD("5\rhello\r\n0\r\n\r\n");
    BAD("5\r\nhello\n0\r\n\r\n");
    BAD("5\r\nhello0\r\n\r\n");
    BAD("5\r\nhelloXX0\r\n\r\n");
    BAD("5\r\nhello\r\r0\r\n\r\n");
    BAD("5\r\nhello\r\n\r\n0\r\n\r\n");
    BAD("0\r\n\n");
    BAD("0\n\r\n");
    BAD("0\r\n\rX");
}

static void
extensions(void **state)
{
    (void)state;
    good("5;a=b;c\r\nhello\r\n0;d\r\n\r\n", "hello", "");
    good("5 ; a = b ; c\r\nhello\r\n0\r\n\r\n", "hello", "");
    good("5;a=\"q;\\\" \\\\ \xff\t\";b\r\nhello\r\n0\r\n\r\n", "hello", "");
    good("5;a=\"\" ;b=c\t;d\r\nhello\r\n0\r\n\r\n", "hello", "");
    BAD("5;\r\nhello\r\n0\r\n\r\n");
    BAD("5;=b\r\nhello\r\n0\r\n\r\n");
    BAD("5;a=\r\nhello\r\n0\r\n\r\n");
    BAD("5;a b\r\nhello\r\n0\r\n\r\n");
    BAD("5;a=b c\r\nhello\r\n0\r\n\r\n");
    BAD("5;a=\"b\"c\r\nhello\r\n0\r\n\r\n");
    BAD("5;a=\"b\r\nhello\r\n0\r\n\r\n");
    BAD("5;a=\"\\\r\n\"\r\nhello\r\n");
    BAD("5;a=b\nhello\r\n0\r\n\r\n");
    BAD("5;a\rb\r\nhello\r\n0\r\n\r\n");
    BAD("5;a\0\r\nhello\r\n0\r\n\r\n");
    BAD("5;a ,\r\nhello\r\n0\r\n\r\n");
    BAD("5,a\r\nhello\r\n0\r\n\r\n");
}

static void
trailers(void **state)
{
    (void)state;
    good("5\r\nhello\r\n0\r\nX-Tr: 1\r\nY:\r\n\r\nrest", "hello", "rest");
    good("0\r\nContent-Length: 9\r\nHost: evil\r\n\r\n", "", "");
    BAD("0\r\nX Y: 1\r\n\r\n");
    BAD("0\r\nX : 1\r\n\r\n");
    BAD("0\r\n: 1\r\n\r\n");
    BAD("0\r\nX\r\n\r\n");
    BAD("0\r\nX: 1\r\n folded\r\n\r\n");
    BAD("0\r\nX: \0\r\n\r\n");
    BAD("0\r\nX: 1\n\r\n");
    BAD("0\r\nX: 1\rY: 2\r\n\r\n");
}

/* A trailer section by itself: what http_trailers_read makes of it. "name,name" of what passes, or
 * "!" when it is refused. */
static const char *
passing(const char *section)
{
    static struct http_head head;
    static char names[256];
    struct http_err err;
    struct fr_view view = fr_view_of(section);
    names[0] = '\0';
    if (http_trailers_read(view, &http_limits_default, &head, &err) != HTTP_DONE)
        return "!";
    for (size_t i = 0; i < head.field_count; i++)
        if (!head.fields[i].hop)
            (void)snprintf(names + strlen(names), sizeof(names) - strlen(names), "%s%.*s",
                           names[0] ? "," : "", FR_VIEW_ARG(head.fields[i].name));
    return names;
}

static void
trailer_names(void **state)
{
    (void)state;
    assert_string_equal(passing("\r\n"), "");
    assert_string_equal(passing("grpc-status: 0\r\nDigest:x\r\n\r\n"), "grpc-status,Digest");
    assert_string_equal(passing("X: 1\r\nSet-Cookie: a\r\nAUTHORIZATION: b\r\nY: 2\r\n\r\n"),
                        "X,Y");
    static const char *const refused[] = {
        "Content-Length", "transfer-encoding", "HOST",      "Te",
        "Connection",     "X-Forwarded-For",   "Forwarded", "Via",
        "Trailer",        "Upgrade",           "Expect",    "Max-Forwards"};
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        char section[64];
        (void)snprintf(section, sizeof(section), "X: 1\r\n%s: 1\r\n\r\n", refused[i]);
        assert_string_equal(passing(section), "!");
    }
    /* A section that is not whole, or no fields at all. */
    assert_string_equal(passing("X: 1\r\n"), "!");
    assert_string_equal(passing("X : 1\r\n\r\n"), "!");
    assert_string_equal(passing(""), "!");
}

/* The bytes a reader gathers are the section, however the body is cut. */
static void
trailer_bytes(void **state)
{
    (void)state;
    struct fr_view in = FR_VIEW("3\r\nabc\r\n0;x\r\nA: 1\r\nB:2\r\n\r\nGET /");
    for (size_t cut = 0; cut <= in.len; cut++) {
        struct http_body body;
        char section[64];
        size_t len = 0, at = 0;
        enum http_step step = HTTP_MORE;
        http_body_init(&body, HTTP_BODY_CHUNKED, 0);
        while (step == HTTP_MORE) {
            size_t end = at < cut ? cut : in.len, used;
            struct fr_view run;
            struct http_err err;
            step = http_body_decode(&body, fr_view_make(in.ptr + at, end - at), &used, &run, &err);
            if (body.trailer.len)
                memcpy(section + len, body.trailer.ptr, body.trailer.len);
            len += body.trailer.len;
            at += used;
        }
        assert_int_equal(step, HTTP_DONE);
        assert_int_equal(at, in.len - 5);
        assert_int_equal(len, strlen("A: 1\r\nB:2\r\n\r\n"));
        assert_memory_equal(section, "A: 1\r\nB:2\r\n\r\n", len);
    }
}

/* `before`, `fill` times 'a', `after`. */
static enum http_step
filled(const char *before, size_t fill, const char *after)
{
    static char text[40000];
    size_t len = strlen(before);
    memcpy(text, before, len);
    memset(text + len, 'a', fill);
    len += fill;
    memcpy(text + len, after, strlen(after));
    len += strlen(after);
    decode(HTTP_BODY_CHUNKED, 0, fr_view_make(text, len), &got);
    return got.step;
}

static void
limits(void **state)
{
    (void)state;
    /* The size is digit 1, the CR and LF count too. */
    size_t room = HTTP_CHUNK_LINE_BYTES_MAX - 4;
    assert_int_equal(filled("5;", room, "\r\nhello\r\n0\r\n\r\n"), HTTP_DONE);
    assert_int_equal(filled("5;", room + 1, "\r\nhello\r\n0\r\n\r\n"), HTTP_BAD);
    assert_int_equal(filled("5;", 20000, ""), HTTP_BAD);
    room = HTTP_TRAILER_BYTES_MAX - 6;
    assert_int_equal(filled("0\r\nX:", room, "\r\n\r\n"), HTTP_DONE);
    assert_int_equal(filled("0\r\nX:", room + 1, "\r\n\r\n"), HTTP_BAD);
    assert_int_equal(filled("0\r\n", 20000, ""), HTTP_BAD);
    /* Each chunk has its own line: many of them are no long one. */
    static char many[60000];
    size_t len = 0;
    for (int i = 0; i < 5000; i++) {
        memcpy(many + len, "1;a\r\nx\r\n", 8);
        len += 8;
    }
    memcpy(many + len, "0\r\n\r\n", 5);
    decode(HTTP_BODY_CHUNKED, 0, fr_view_make(many, len + 5), &got);
    assert_int_equal(got.step, HTTP_DONE);
    assert_int_equal(got.data_len, 5000);
    /* Lines that cost far more than they carry do end. */
    len = 0;
    for (int i = 0; i < 20; i++) {
        memset(many + len, 'a', 1500);
        memcpy(many + len, "1;", 2);
        memcpy(many + len + 1500, "\r\nx\r\n", 5);
        len += 1505;
    }
    memcpy(many + len, "0\r\n\r\n", 5);
    decode(HTTP_BODY_CHUNKED, 0, fr_view_make(many, len + 5), &got);
    assert_int_equal(got.step, HTTP_BAD);
}

static void
broken_stays_broken(void **state)
{
    (void)state;
    struct http_body body;
    size_t used;
    struct fr_view run;
    struct http_err err;
    http_body_init(&body, HTTP_BODY_CHUNKED, 0);
    assert_int_equal(http_body_decode(&body, FR_VIEW("X"), &used, &run, &err), HTTP_BAD);
    assert_int_equal(used, 0);
    assert_int_equal(http_body_decode(&body, FR_VIEW("0\r\n\r\n"), &used, &run, &err), HTTP_BAD);
    http_body_init(&body, HTTP_BODY_CHUNKED, 0);
    assert_int_equal(http_body_decode(&body, FR_VIEW("0\r\n\r\n"), &used, &run, &err), HTTP_DONE);
    assert_int_equal(http_body_decode(&body, FR_VIEW("5\r\n"), &used, &run, &err), HTTP_DONE);
    assert_int_equal(used, 0);
}

static void
lengths(void **state)
{
    (void)state;
    decode_cut(HTTP_BODY_LENGTH, 5, FR_VIEW("hello"), &got);
    assert_int_equal(got.step, HTTP_DONE);
    assert_true(got.closed);
    decode_cut(HTTP_BODY_LENGTH, 5, FR_VIEW("hello!"), &got);
    assert_int_equal(got.used, 5);
    decode_cut(HTTP_BODY_LENGTH, 5, FR_VIEW("hell"), &got);
    assert_int_equal(got.step, HTTP_MORE);
    assert_false(got.closed);
    struct http_body body;
    size_t used;
    struct fr_view run;
    struct http_err err;
    http_body_init(&body, HTTP_BODY_LENGTH, 0);
    assert_int_equal(http_body_decode(&body, FR_VIEW("GET"), &used, &run, &err), HTTP_DONE);
    assert_int_equal(used, 0);
    http_body_init(&body, HTTP_BODY_NONE, 7);
    assert_int_equal(http_body_decode(&body, FR_VIEW("GET"), &used, &run, &err), HTTP_DONE);
    assert_int_equal(used, 0);
    assert_true(http_body_closed(&body));
    decode_cut(HTTP_BODY_TO_CLOSE, 0, FR_VIEW("hello"), &got);
    assert_int_equal(got.step, HTTP_MORE);
    assert_int_equal(got.data_len, 5);
    assert_true(got.closed);
}

static void
chunk_heads(void **state)
{
    (void)state;
    static const struct {
        uint64_t bytes;
        const char *text;
    } rows[] = {
        {0, "0\r\n"},
        {1, "1\r\n"},
        {15, "f\r\n"},
        {16, "10\r\n"},
        {0x1a2b, "1a2b\r\n"},
        {INT64_MAX, "7fffffffffffffff\r\n"},
        {UINT64_MAX, "ffffffffffffffff\r\n"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char out[HTTP_CHUNK_HEAD_BYTES];
        size_t len = http_chunk_head(rows[i].bytes, out);
        assert_view(fr_view_make(out, len), rows[i].text);
    }
}

static void
sections_are_walked(void **state)
{
    struct fr_view rest = FR_VIEW("0\r\ngrpc-status:0\r\nx: \r\na: b:c \r\n\r\n"), name, value;
    (void)state;
    assert_true(http_section_next(&rest, &name, &value)); /* behind a line that is no field */
    assert_view(name, "grpc-status");
    assert_view(value, "0");
    assert_true(http_section_next(&rest, &name, &value));
    assert_view(name, "x");
    assert_view(value, "");
    assert_true(http_section_next(&rest, &name, &value));
    assert_view(name, "a");
    assert_view(value, "b:c");
    assert_false(http_section_next(&rest, &name, &value));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunked),
        cmocka_unit_test(sizes_refused),
        cmocka_unit_test(line_ends_refused),
        cmocka_unit_test(extensions),
        cmocka_unit_test(trailers),
        cmocka_unit_test(trailer_names),
        cmocka_unit_test(trailer_bytes),
        cmocka_unit_test(limits),
        cmocka_unit_test(broken_stays_broken),
        cmocka_unit_test(lengths),
        cmocka_unit_test(chunk_heads),
        cmocka_unit_test(sections_are_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
