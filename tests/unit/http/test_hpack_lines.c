/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_hpack_lines.c - lines that the last head had too are found, and written as what they are in
 * the table; nghttp2 reads what was written.
 */
#include "http/http2_head.h"
#include "http_help.h"

#include "base/fr_hash.h"
#include "base/fr_mem.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

#define TEXT_BYTES 8000

struct pair {
    struct hpack_encoder encoder;
    nghttp2_hd_inflater *inflater;
    struct http2_split split;
    char wire[2 * TEXT_BYTES], read[2 * TEXT_BYTES]; /* fields as "name:value\n" */
    size_t wire_bytes;
};

static struct pair *
pair_new(void)
{
    struct pair *pair = test_calloc(1, sizeof(*pair));
    hpack_encoder_init(&pair->encoder);
    assert_int_equal(nghttp2_hd_inflate_new(&pair->inflater), 0);
    return pair;
}

static void
pair_free(struct pair *pair)
{
    nghttp2_hd_inflate_del(pair->inflater);
    hpack_encoder_fini(&pair->encoder);
    test_free(pair);
}

static void
inflate(struct pair *pair)
{
    const uint8_t *at = (const uint8_t *)pair->wire, *end = at + pair->wire_bytes;
    size_t len = 0;
    int flags = 0;
    pair->read[0] = '\0';
    while (!(flags & NGHTTP2_HD_INFLATE_FINAL)) {
        nghttp2_nv nv;
        flags = 0;
        ssize_t used =
            nghttp2_hd_inflate_hd2(pair->inflater, &nv, &flags, at, (size_t)(end - at), 1);
        assert_true(used >= 0);
        at += used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            len += (size_t)snprintf(pair->read + len, sizeof(pair->read) - len, "%.*s:%.*s\n",
                                    (int)nv.namelen, (char *)nv.name, (int)nv.valuelen,
                                    (char *)nv.value);
    }
    nghttp2_hd_inflate_end_headers(pair->inflater);
}

static void
split_text(struct pair *pair, struct fr_view text)
{
    size_t used;
    http2_split_begin(&pair->split, HTTP2_RESPONSE);
    pair->split.encoder = &pair->encoder;
    assert_int_equal(http2_split_read(&pair->split, text, &used), HTTP_DONE);
    assert_int_equal(used, text.len);
}

static void
write_split(struct pair *pair)
{
    size_t room = HPACK_BEGIN_BYTES_MAX;
    for (size_t i = 0; i < pair->split.count; i++)
        room += hpack_bytes_max(&pair->split.fields[i]);
    char *end = hpack_put_head(&pair->encoder, pair->wire, pair->split.fields, pair->split.count);
    pair->wire_bytes = (size_t)(end - pair->wire);
    assert_true(pair->wire_bytes <= room);
    inflate(pair);
}

/* A head of these lines goes through; what is found of it is "field"s and numbers of lines. */
static void
check(struct pair *pair, const char *lines, const char *found)
{
    char text[TEXT_BYTES], want[TEXT_BYTES] = ":status:200\n", got[200] = "";
    size_t len = strlen(want), got_len = 0;
    struct fr_view rest = fr_view_of(lines), line, name;
    int bytes = snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\n%s\r\n", lines);
    split_text(pair, fr_view_make(text, (size_t)bytes));
    for (size_t i = 1; i < pair->split.count; i++)
        got_len += (size_t)snprintf(got + got_len, sizeof(got) - got_len, "%s%u", i > 1 ? " " : "",
                                    (unsigned)pair->split.fields[i].lines);
    if (found)
        assert_string_equal(got, found);
    write_split(pair);
    while (fr_view_split(&rest, '\n', &line)) {
        if (line.len == 0)
            continue;
        line = fr_view_trim(fr_view_make(line.ptr, line.len - 1));
        (void)fr_view_split(&line, ':', &name);
        for (size_t i = 0; i < name.len; i++) {
            char c = name.ptr[i];
            want[len++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        }
        len += (size_t)snprintf(want + len, sizeof(want) - len, ":%.*s\n",
                                FR_VIEW_ARG(fr_view_trim(line)));
    }
    assert_string_equal(pair->read, want);
}

#define HEAD "Server: a\r\nX-Own: some value\r\nETag: \"x\"\r\nAge: 17\r\n"

static struct pair *
learnt(const char *lines)
{
    struct pair *pair = pair_new();
    check(pair, lines, NULL); /* seen */
    check(pair, lines, NULL); /* into the table */
    return pair;
}

static void
a_head_that_comes_again(void **state)
{
    struct pair *pair = pair_new();
    (void)state;
    check(pair, HEAD, "0 0 0 0");
    check(pair, HEAD, "0 0 0 0");
    check(pair, HEAD, "4");
    assert_int_equal(pair->wire_bytes, 5);
    check(pair, HEAD, "4");
    pair_free(pair);
}

static void
a_line_is_another_one(void **state)
{
    struct pair *pair = learnt(HEAD);
    (void)state;
    check(pair, "Server: a\r\nX-Own: some value\r\nETag: \"y\"\r\nAge: 17\r\n", "2 0 1");
    check(pair, HEAD "More: b\r\n", "4 0");
    check(pair, "Front: c\r\n" HEAD, "0 4");
    check(pair, HEAD, "4");
    /* Its second time it enters the table, and the next head is looked at with it. */
    check(pair, "Server: a\r\nX-Own: some value\r\nETag: \"y\"\r\nAge: 17\r\n", "2 0 1");
    check(pair, "Server: a\r\nX-Own: some value\r\nETag: \"y\"\r\nAge: 17\r\n", "4");
    pair_free(pair);
}

static void
lines_may_be_missing(void **state)
{
    struct pair *pair = learnt("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nF: 6\r\n");
    (void)state;
    check(pair, "A: 1\r\nC: 3\r\nD: 4\r\n", "1 2");
    check(pair, "A: 1\r\nE: 5\r\n", "1 1");
    check(pair, "E: 5\r\n", "0"); /* too many in a row */
    check(pair, "E: 5\r\n", "1"); /* and learnt by that */
    pair_free(pair);
}

/* Not the same in all its octets, cut, or in another order. */
static void
other_lines_are_looked_at(void **state)
{
    static const char *const others[] = {
        "X-Own:some value\r\n",  "X-Own: some-value\r\n",  "X-Own:  some value\r\n",
        "X-Owm: some value\r\n", "X-Own: some value.\r\n", "X-Own: some valu\r\n",
    };
    struct pair *pair = learnt("X-Own: some value\r\n");
    struct hpack_field found;
    uint32_t at = 0;
    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        assert_int_equal(hpack_find_lines(&pair->encoder, fr_view_of(others[i]), &at, &found), 0);
        assert_int_equal(at, 0);
        check(pair, others[i], "0");
    }
    struct fr_view line = FR_VIEW("X-Own: some value\r\n");
    for (size_t len = 0; len < line.len; len++) {
        struct fr_view cut = fr_view_make(line.ptr, len);
        assert_int_equal(hpack_find_lines(&pair->encoder, cut, &at, &found), 0);
    }
    assert_int_equal(hpack_find_lines(&pair->encoder, line, &at, &found), line.len);
    /* In the table it is the same, and takes the other's place. */
    check(pair, "X-own: some value\r\n", "0");
    assert_int_equal(pair->wire_bytes, 2);
    check(pair, "X-own: some value\r\n", "1");
    pair_free(pair);
}

/* What must not be in a table is nothing to be known by, nor what ends with this connection. */
static void
what_is_not_learnt(void **state)
{
    struct pair *pair = learnt("Set-Cookie: s\r\nX:y\r\nServer: a\r\nE:\r\n");
    char text[] = "HTTP/1.1 101 Switching Protocols\r\nServer: a\r\n\r\n";
    (void)state;
    check(pair, "Set-Cookie: s\r\nX:y\r\nServer: a\r\nE:\r\n", "0 0 1 0");
    assert_int_equal(pair->encoder.lines->count, 1);
    split_text(pair, fr_view_of(text)); /* of a switch each field is looked at */
    assert_int_equal(pair->split.fields[1].lines, 0);
    write_split(pair);
    pair_free(pair);
}

static void
a_length_is_told(void **state)
{
    struct pair *pair = learnt("Server: a\r\nContent-Length: 1234\r\nAge: 1\r\n");
    (void)state;
    check(pair, "Server: a\r\nContent-Length: 1234\r\nAge: 1\r\n", "3");
    assert_true(pair->split.has_length);
    assert_int_equal(pair->split.length, 1234);
    check(pair, "Server: a\r\nContent-Length: 12345\r\nAge: 1\r\n", "1 0 1");
    assert_true(pair->split.has_length);
    assert_int_equal(pair->split.length, 12345);
    check(pair, "Server: a\r\nAge: 1\r\n", "1 1");
    assert_false(pair->split.has_length);
    /* Learnt in another place, and found as part of what is. */
    check(pair, "B: c\r\nServer: a\r\nContent-Length: 1234\r\nAge: 1\r\n", "0 3");
    check(pair, "B: c\r\nServer: a\r\nContent-Length: 1234\r\nAge: 1\r\n", "0 3");
    check(pair, "B: c\r\nServer: a\r\nContent-Length: 1234\r\nAge: 1\r\n", "4");
    assert_true(pair->split.has_length);
    assert_int_equal(pair->split.length, 1234);
    pair_free(pair);
}

/* What was found is pushed out before it is written, and by the block that it stands in. */
static void
found_lines_may_be_gone(void **state)
{
    struct pair *pair = learnt(HEAD);
    char text[] = "HTTP/1.1 200 OK\r\n" HEAD "\r\n";
    (void)state;
    split_text(pair, fr_view_of(text));
    assert_int_equal(pair->split.fields[1].lines, 4);
    hpack_encoder_resize(&pair->encoder, 0);
    assert_int_equal(nghttp2_hd_inflate_change_table_size(pair->inflater, 0), 0);
    write_split(pair);
    assert_string_equal(pair->read,
                        ":status:200\nserver:a\nx-own:some value\netag:\"x\"\nage:17\n");
    check(pair, HEAD, "0 0 0 0"); /* they are not looked for any more */
    pair_free(pair);
}

/* More lines, and longer ones, than are kept: the first ones are. */
static void
as_many_as_are_kept(void **state)
{
    char lines[TEXT_BYTES];
    size_t len = 0, found = 0;
    (void)state;
    for (int i = 0; i < 2 * HPACK_LINES_MAX; i++)
        len += (size_t)snprintf(lines + len, sizeof(lines) - len, "X-%02d: v\r\n", i);
    struct pair *pair = learnt(lines);
    check(pair, lines, NULL);
    for (size_t i = 0; i < pair->split.count; i++)
        found += pair->split.fields[i].lines;
    assert_int_equal(found, HPACK_LINES_MAX);
    assert_true(pair->encoder.table.count > HPACK_LINES_MAX);
    pair_free(pair);

    len = (size_t)snprintf(lines, sizeof(lines), "A: %0500d\r\nB: %0500d\r\nC: %0500d\r\nD: e\r\n",
                           1, 2, 3);
    assert_true(len > HPACK_LINES_BYTES);
    pair = learnt(lines);
    check(pair, lines, "2 0 1");
    check(pair, lines, "2 0 1");
    pair_free(pair);
}

static void
without_memory_nothing_is_learnt(void **state)
{
    struct pair *pair = pair_new();
    (void)state;
    check(pair, "A: b\r\n", "0");
    fr_mem_fail_after(2); /* the first is the table's */
    check(pair, "A: b\r\n", "0");
    fr_mem_fail_after(0);
    assert_null(pair->encoder.lines);
    check(pair, "A: b\r\n", "0");
    check(pair, "A: b\r\n", "1");
    pair_free(pair);
}

/* Heads that have some lines of the ones before, through tables that shrink and grow. */
static void
heads_at_random(void **state)
{
    struct pair *pair = pair_new();
    struct fr_rand rand;
    size_t lines_found = 0;
    (void)state;
    fr_rand_init(&rand, 7);
    for (int head = 0; head < 5000; head++) {
        char lines[TEXT_BYTES] = "";
        size_t len = 0, count = fr_rand_below(&rand, 40);
        for (size_t i = 0; i < count; i++) {
            unsigned kind = fr_rand_below(&rand, 20) ? (unsigned)i : fr_rand_below(&rand, 40);
            unsigned value = fr_rand_below(&rand, 12) ? 1 : fr_rand_below(&rand, 100);
            const char *colon = fr_rand_below(&rand, 30) ? ": " : ":";
            len += (size_t)snprintf(lines + len, sizeof(lines) - len, "X-%u%s%0*u\r\n", kind, colon,
                                    (int)(kind % 7 * 9 + 1), value);
        }
        if (fr_rand_below(&rand, 100) == 0) {
            uint32_t bytes = fr_rand_below(&rand, 5000);
            hpack_encoder_resize(&pair->encoder, bytes);
            assert_int_equal(nghttp2_hd_inflate_change_table_size(pair->inflater, bytes), 0);
        }
        check(pair, lines, NULL);
        for (size_t i = 0; i < pair->split.count; i++)
            lines_found += pair->split.fields[i].lines;
    }
    assert_true(lines_found > 10000);
    pair_free(pair);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_head_that_comes_again),
        cmocka_unit_test(a_line_is_another_one),
        cmocka_unit_test(lines_may_be_missing),
        cmocka_unit_test(other_lines_are_looked_at),
        cmocka_unit_test(what_is_not_learnt),
        cmocka_unit_test(a_length_is_told),
        cmocka_unit_test(found_lines_may_be_gone),
        cmocka_unit_test(as_many_as_are_kept),
        cmocka_unit_test(without_memory_nothing_is_learnt),
        cmocka_unit_test(heads_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
