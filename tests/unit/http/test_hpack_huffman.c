/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_hpack_huffman.c - coded texts: those of RFC 7541, every octet, and what is no text.
 */
#include "http/hpack.h"
#include "http_help.h"

#include <nghttp2/nghttp2.h>

static void
check(struct fr_view coded, const char *want)
{
    char out[256];
    size_t len;
    assert_true(hpack_huffman_max(coded.len) <= sizeof(out));
    assert_true(hpack_huffman_decode(coded, out, &len));
    assert_true(len <= hpack_huffman_max(coded.len));
    assert_view(fr_view_make(out, len), want);
}

/* Appendix C.4 and C.6. */
static void
texts_of_the_rfc(void **state)
{
    (void)state;
    check(FR_VIEW("\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"), "www.example.com");
    check(FR_VIEW("\xa8\xeb\x10\x64\x9c\xbf"), "no-cache");
    check(FR_VIEW("\x25\xa8\x49\xe9\x5b\xa9\x7d\x7f"), "custom-key");
    check(FR_VIEW("\x25\xa8\x49\xe9\x5b\xb8\xe8\xb4\xbf"), "custom-value");
    check(FR_VIEW("\x64\x02"), "302");
    check(FR_VIEW("\xae\xc3\x77\x1a\x4b"), "private");
    check(FR_VIEW("\xd0\x7a\xbe\x94\x10\x54\xd4\x44\xa8\x20\x05\x95\x04\x0b\x81\x66\xe0\x82\xa6"
                  "\x2d\x1b\xff"),
          "Mon, 21 Oct 2013 20:13:21 GMT");
    check(FR_VIEW(""), "");
}

/* Each octet alone, and all of them in one text, as nghttp2 codes them. */
static void
every_octet(void **state)
{
    (void)state;
    char text[4 * 256], coded[4096];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)(i * 7); /* each of them four times, next to others */
    for (size_t first = 0; first < sizeof(text); first += 13) {
        for (size_t bytes = 1; bytes <= sizeof(text) - first; bytes += bytes) {
            nghttp2_hd_deflater *deflater;
            nghttp2_nv nv = {(uint8_t *)text + first, (uint8_t *)"", bytes, 0,
                             NGHTTP2_NV_FLAG_NO_INDEX};
            assert_int_equal(nghttp2_hd_deflate_new(&deflater, 0), 0);
            ssize_t block =
                nghttp2_hd_deflate_hd(deflater, (uint8_t *)coded, sizeof(coded), &nv, 1);
            nghttp2_hd_deflate_del(deflater);
            assert_true(block > 0);
            struct hpack_decoder decoder;
            struct hpack_block read = hpack_block_begin(fr_view_make(coded, (size_t)block));
            struct hpack_field field;
            hpack_decoder_init(&decoder);
            assert_int_equal(hpack_decode(&decoder, &read, &field), HPACK_FIELD);
            assert_int_equal(field.name.len, bytes);
            assert_memory_equal(field.name.ptr, text + first, bytes);
            hpack_decoder_fini(&decoder);
        }
    }
}

static void
no_texts(void **state)
{
    static const struct fr_view rows[] = {
        {"\x00", 1},             /* 0, and three bits of padding that are not ones */
        {"\xff", 1},             /* a whole octet of padding */
        {"\x07\xff", 2},         /* 0, and eleven bits of it */
        {"\xff\xff\xff\xff", 4}, /* the end of a text */
        {"\xff\xff\xff\xfc", 4}, /* ... and with something behind it */
        {"\xfe", 1},             /* a code that is cut */
        {"\xf8", 1},             /* one of eight bits, whole: no padding needed */
    };
    char out[64];
    size_t len;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool whole = i == sizeof(rows) / sizeof(rows[0]) - 1;
        if (hpack_huffman_decode(rows[i], out, &len) != whole)
            fail_msg("row %zu", i);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_of_the_rfc),
        cmocka_unit_test(every_octet),
        cmocka_unit_test(no_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
