/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_hpack_decode.c - blocks of RFC 7541's appendix C, of nghttp2's making, and of nobody's.
 */
#include "http/hpack.h"
#include "http_help.h"

#include "base/fr_hash.h"
#include "base/fr_mem.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

/* "name: value|" for each field; "BAD" at the end of what is none. */
static void
check(struct hpack_decoder *decoder, struct fr_view bytes, const char *want)
{
    char got[1024] = "";
    size_t len = 0;
    struct hpack_block block = hpack_block_begin(bytes);
    struct hpack_field field;
    enum hpack_step step;
    while ((step = hpack_decode(decoder, &block, &field)) == HPACK_FIELD)
        len +=
            (size_t)snprintf(got + len, sizeof(got) - len, "%.*s:%s%.*s|", FR_VIEW_ARG(field.name),
                             field.never_indexed ? "" : " ", FR_VIEW_ARG(field.value));
    if (step == HPACK_BAD)
        (void)snprintf(got + len, sizeof(got) - len, "BAD");
    assert_string_equal(got, want);
    hpack_decoder_rest(decoder);
}

static void
requests_of_the_rfc(void **state)
{
    struct hpack_decoder decoder;
    (void)state;
    hpack_decoder_init(&decoder);
    check(&decoder, FR_VIEW("\x82\x86\x84\x41\x0fwww.example.com"), /* C.3 */
          ":method: GET|:scheme: http|:path: /|:authority: www.example.com|");
    check(&decoder, FR_VIEW("\x82\x86\x84\xbe\x58\x08no-cache"),
          ":method: GET|:scheme: http|:path: /|:authority: www.example.com|"
          "cache-control: no-cache|");
    check(&decoder,
          FR_VIEW("\x82\x87\x85\xbf\x40\x0a"
                  "custom-key\x0c"
                  "custom-value"),
          ":method: GET|:scheme: https|:path: /index.html|:authority: www.example.com|"
          "custom-key: custom-value|");
    assert_int_equal(decoder.table.size, 164);
    hpack_decoder_fini(&decoder);
    hpack_decoder_init(&decoder);
    check(&decoder, FR_VIEW("\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"),
          ":method: GET|:scheme: http|:path: /|:authority: www.example.com|");  /* C.4 */
    check(&decoder, FR_VIEW("\x04\x0c/sample/path"), ":path: /sample/path|");   /* C.2.2 */
    check(&decoder, FR_VIEW("\x10\x08password\x06secret"), "password:secret|"); /* C.2.3 */
    assert_int_equal(decoder.table.count, 1);
    hpack_decoder_fini(&decoder);
}

static void
sizes_of_the_table(void **state)
{
    struct hpack_decoder decoder;
    (void)state;
    hpack_decoder_init(&decoder);
    check(&decoder, FR_VIEW("\x40\1a\1b\x40\1c\1d"), "a: b|c: d|");
    check(&decoder, FR_VIEW("\x3f\x03\xbe"), "c: d|"); /* 34 bytes: the newest stays */
    check(&decoder, FR_VIEW("\xbf"), "BAD");
    check(&decoder, FR_VIEW("\x20\x3f\xe1\x1f\x82"), ":method: GET|"); /* 0, then 4096 again */
    check(&decoder, FR_VIEW("\xbe"), "BAD");
    check(&decoder, FR_VIEW("\x3f\xe2\x1f"), "BAD");          /* 4097 */
    check(&decoder, FR_VIEW("\x82\x20"), ":method: GET|BAD"); /* behind a field */
    hpack_decoder_fini(&decoder);
}

static void
no_blocks(void **state)
{
    static const struct fr_view rows[] = {
        {"\x80", 1},                         /* index 0 */
        {"\xbe", 1},                         /* of an empty table */
        {"\xff\xff\xff\xff\xff\x0f", 6},     /* a number beyond 32 bits */
        {"\xff\x80\x80\x80\x80\x80\x01", 7}, /* ... in too many octets */
        {"\xff", 1},                         /* ... and one that is cut */
        {"\xff\x80", 2},
        {"\x40", 1},            /* no name */
        {"\x40\1", 2},          /* ... or one that is cut */
        {"\x40\1a", 3},         /* no value */
        {"\x40\1a\2b", 4},      /* ... or one that is cut */
        {"\x7e\1b", 3},         /* a name of an empty table */
        {"\x40\x81\xff\1b", 5}, /* a name that is padding alone */
        {"\0\1a\x81\x00", 5},   /* a value's padding that is not ones */
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hpack_decoder decoder;
        struct hpack_field field;
        hpack_decoder_init(&decoder);
        char *copy = test_malloc(rows[i].len); /* so that one octet read too many is seen */
        memcpy(copy, rows[i].ptr, rows[i].len);
        struct hpack_block block = hpack_block_begin(fr_view_make(copy, rows[i].len));
        if (hpack_decode(&decoder, &block, &field) != HPACK_BAD)
            fail_msg("row %zu", i);
        test_free(copy);
        hpack_decoder_fini(&decoder);
    }
}

/* Whatever nghttp2 makes of heads, some of them secret, some never seen again. */
static void
what_nghttp2_writes(void **state)
{
    static const char *const names[] = {":path", "accept", "cookie", "x-some", "x-other", "date"};
    struct hpack_decoder decoder;
    nghttp2_hd_deflater *deflater;
    struct fr_rand rand;
    (void)state;
    fr_rand_init(&rand, 7);
    hpack_decoder_init(&decoder);
    assert_int_equal(nghttp2_hd_deflate_new(&deflater, 4096), 0);
    for (int head = 0; head < 3000; head++) {
        nghttp2_nv fields[8];
        char values[8][400];
        uint8_t wire[8192];
        size_t count = 1 + fr_rand_below(&rand, 8);
        for (size_t i = 0; i < count; i++) {
            const char *name = names[fr_rand_below(&rand, 6)];
            size_t len = fr_rand_below(&rand, head % 10 ? 20 : 400);
            for (size_t at = 0; at < len; at++)
                values[i][at] = (char)(fr_rand_below(&rand, 2) ? 'a' : fr_rand_next(&rand));
            fields[i] = (nghttp2_nv){(uint8_t *)(uintptr_t)name, (uint8_t *)values[i], strlen(name),
                                     len, fr_rand_below(&rand, 9) ? 0 : NGHTTP2_NV_FLAG_NO_INDEX};
        }
        if (head % 500 == 499)
            assert_int_equal(
                nghttp2_hd_deflate_change_table_size(deflater, fr_rand_below(&rand, 4097)), 0);
        ssize_t bytes = nghttp2_hd_deflate_hd(deflater, wire, sizeof(wire), fields, count);
        assert_true(bytes > 0);
        struct hpack_block block = hpack_block_begin(fr_view_make((char *)wire, (size_t)bytes));
        struct hpack_field field;
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(hpack_decode(&decoder, &block, &field), HPACK_FIELD);
            assert_true(fr_view_is(field.name, (const char *)fields[i].name));
            assert_true(fr_view_eq(field.value, fr_view_make(values[i], fields[i].valuelen)));
            if (fields[i].flags)
                assert_true(field.never_indexed);
        }
        assert_int_equal(hpack_decode(&decoder, &block, &field), HPACK_END);
        hpack_decoder_rest(&decoder);
    }
    nghttp2_hd_deflate_del(deflater);
    hpack_decoder_fini(&decoder);
}

static void
memory(void **state)
{
    struct hpack_decoder decoder;
    struct hpack_field field;
    (void)state;
    hpack_decoder_init(&decoder);
    struct fr_view enters = FR_VIEW("\x40\1a\1b"), coded = FR_VIEW("\x01\x81\x1f");
    struct hpack_block block = hpack_block_begin(enters);
    fr_mem_fail_after(1);
    assert_int_equal(hpack_decode(&decoder, &block, &field), HPACK_NO_MEMORY);
    fr_mem_fail_after(1);
    block = hpack_block_begin(coded);
    assert_int_equal(hpack_decode(&decoder, &block, &field), HPACK_NO_MEMORY);
    fr_mem_fail_after(0);
    /* What was large is let go. */
    static char wire[4005] = "\0\1a\xff\xa0\x1e"; /* a coded value of 3999 octets, of zeros */
    wire[sizeof(wire) - 1] = 3;                   /* ... but for two bits of padding */
    block = hpack_block_begin(fr_view_make(wire, sizeof(wire)));
    assert_int_equal(hpack_decode(&decoder, &block, &field), HPACK_FIELD);
    assert_int_equal(field.value.len, 6398);
    assert_true(decoder.texts.cap > 1024);
    hpack_decoder_rest(&decoder);
    assert_int_equal(decoder.texts.cap, 0);
    hpack_decoder_fini(&decoder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_of_the_rfc),
        cmocka_unit_test(sizes_of_the_table),
        cmocka_unit_test(no_blocks),
        cmocka_unit_test(what_nghttp2_writes),
        cmocka_unit_test(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
