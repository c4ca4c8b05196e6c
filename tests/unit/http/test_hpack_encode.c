/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_hpack_encode.c - blocks as they are written, and as nghttp2 reads them.
 */
#include "http/hpack.h"
#include "http_help.h"

#include "base/fr_hash.h"
#include "base/fr_mem.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>

static struct hpack_field
field_of(const char *name, const char *value)
{
    return (struct hpack_field){.name = fr_view_of(name), .value = fr_view_of(value)};
}

static void
check(struct hpack_encoder *encoder, const struct hpack_field *fields, size_t count,
      struct fr_view want)
{
    char out[4096];
    char *at = hpack_put_begin(encoder, out);
    for (size_t i = 0; i < count; i++)
        at = hpack_put_field(encoder, at, &fields[i]);
    if (!fr_view_eq(fr_view_make(out, (size_t)(at - out)), want))
        fail_msg("other octets than wanted, %zu of them", (size_t)(at - out));
}

/* First as it is, then into the table, then by its index there. */
static void
a_field_enters_at_its_second_time(void **state)
{
    struct hpack_encoder encoder;
    const struct hpack_field fields[] = {field_of(":status", "200"), field_of("Server", "a"),
                                         field_of("X-Own", "b")};
    (void)state;
    hpack_encoder_init(&encoder);
    check(&encoder, fields, 3, FR_VIEW("\x88\x0f\x27\1a\0\5x-own\1b"));
    check(&encoder, fields, 3, FR_VIEW("\x88\x76\1a\x40\5x-own\1b"));
    check(&encoder, fields, 3, FR_VIEW("\x88\xbf\xbe"));
    hpack_encoder_fini(&encoder);
}

/* ^ and ~ differ as the cases of a letter do, and are two. */
static void
marks_are_no_letters(void **state)
{
    struct hpack_encoder encoder;
    const struct hpack_field low = field_of("x~", "a"), high = field_of("X^", "a");
    (void)state;
    hpack_encoder_init(&encoder);
    for (int i = 0; i < 3; i++) {
        check(&encoder, &low, 1, FR_VIEW("\0\2x~\1a"));
        check(&encoder, &high, 1, FR_VIEW("\0\2x^\1a"));
    }
    hpack_encoder_fini(&encoder);
}

static void
secrets_enter_nothing(void **state)
{
    struct hpack_encoder encoder;
    struct hpack_field secret = field_of("set-cookie", "s");
    secret.never_indexed = true;
    (void)state;
    hpack_encoder_init(&encoder);
    for (int i = 0; i < 4; i++)
        check(&encoder, &secret, 1, FR_VIEW("\x1f\x28\1s"));
    assert_int_equal(encoder.table.count, 0);
    hpack_encoder_fini(&encoder);
}

static void
statuses(void **state)
{
    static const struct {
        const char *status;
        struct fr_view want;
    } rows[] = {
        {"200", {"\x88", 1}},
        {"204", {"\x89", 1}},
        {"206", {"\x8a", 1}},
        {"304", {"\x8b", 1}},
        {"400", {"\x8c", 1}},
        {"404", {"\x8d", 1}},
        {"500", {"\x8e", 1}},
        {"103",
         {"\x08\x03"
          "103",
          5}},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct hpack_encoder encoder;
        struct hpack_field field = field_of(":status", rows[i].status);
        hpack_encoder_init(&encoder);
        check(&encoder, &field, 1, rows[i].want);
        hpack_encoder_fini(&encoder);
    }
}

/* Section 4.2: how low it went is told, then what it is now; 4096 are the most we use. */
static void
sizes_are_told(void **state)
{
    struct hpack_encoder encoder;
    struct hpack_field field = field_of("x", "y");
    (void)state;
    hpack_encoder_init(&encoder);
    check(&encoder, &field, 1, FR_VIEW("\0\1x\1y"));
    check(&encoder, &field, 1, FR_VIEW("\x40\1x\1y"));
    hpack_encoder_resize(&encoder, 0);
    hpack_encoder_resize(&encoder, 100000);
    check(&encoder, &field, 1, FR_VIEW("\x20\x3f\xe1\x1f\x40\1x\1y"));
    check(&encoder, &field, 1, FR_VIEW("\xbe"));
    hpack_encoder_resize(&encoder, 0);
    check(&encoder, &field, 1, FR_VIEW("\x20\0\1x\1y")); /* nothing fits */
    check(&encoder, &field, 1, FR_VIEW("\0\1x\1y"));
    hpack_encoder_fini(&encoder);
}

static void
without_memory_it_is_longer(void **state)
{
    struct hpack_encoder encoder;
    struct hpack_field field = field_of("x", "y");
    (void)state;
    hpack_encoder_init(&encoder);
    for (int i = 0; i < 3; i++) {
        fr_mem_fail_after(1);
        check(&encoder, &field, 1, FR_VIEW("\0\1x\1y"));
    }
    fr_mem_fail_after(0);
    hpack_encoder_fini(&encoder);
}

/* Heads of all kinds, with names and values that come again and others that do not, through tables
 * that shrink and grow: nghttp2 reads what was written. */
static void
what_nghttp2_reads(void **state)
{
    struct hpack_encoder encoder;
    nghttp2_hd_inflater *inflater;
    struct fr_rand rand;
    (void)state;
    fr_rand_init(&rand, 3);
    hpack_encoder_init(&encoder);
    assert_int_equal(nghttp2_hd_inflate_new(&inflater), 0);
    for (int head = 0; head < 5000; head++) {
        static char texts[16][2000];
        struct hpack_field fields[16];
        char wire[40000], *at;
        size_t count = 1 + fr_rand_below(&rand, 16), room = HPACK_BEGIN_BYTES_MAX;
        for (size_t i = 0; i < count; i++) {
            uint32_t kind = fr_rand_below(&rand, 12);
            size_t name_len = kind == 0 ? 100 : 1 + kind, len = kind * fr_rand_below(&rand, 20);
            if (head % 50 == 0 && kind == 11)
                len = 1800;
            memset(texts[i], (int)('A' + kind), name_len);
            memset(texts[i] + name_len, (int)('a' + fr_rand_below(&rand, 3)), len);
            fields[i] = (struct hpack_field){
                .name = fr_view_make(texts[i], name_len),
                .value = fr_view_make(texts[i] + name_len, len),
                .never_indexed = fr_rand_below(&rand, 10) == 0,
            };
            room += hpack_field_bytes_max(name_len, len);
        }
        if (head % 300 == 299) {
            uint32_t bytes = fr_rand_below(&rand, 5000);
            hpack_encoder_resize(&encoder, bytes);
            assert_int_equal(nghttp2_hd_inflate_change_table_size(inflater, bytes), 0);
        }
        at = hpack_put_begin(&encoder, wire);
        for (size_t i = 0; i < count; i++)
            at = hpack_put_field(&encoder, at, &fields[i]);
        assert_true((size_t)(at - wire) <= room);
        const uint8_t *read = (const uint8_t *)wire;
        for (size_t i = 0; i < count;) {
            nghttp2_nv nv;
            int flags = 0;
            ssize_t used = nghttp2_hd_inflate_hd2(inflater, &nv, &flags, read,
                                                  (size_t)((const uint8_t *)at - read), 1);
            assert_true(used >= 0);
            read += used;
            if (!(flags & NGHTTP2_HD_INFLATE_EMIT))
                continue;
            assert_true(fr_view_ieq(fields[i].name, fr_view_make((char *)nv.name, nv.namelen)));
            assert_true(fr_view_eq(fields[i].value, fr_view_make((char *)nv.value, nv.valuelen)));
            assert_int_equal(fields[i].never_indexed, !!(nv.flags & NGHTTP2_NV_FLAG_NO_INDEX));
            i++;
        }
        assert_ptr_equal(read, at);
        nghttp2_nv nv;
        int flags = 0;
        assert_int_equal(nghttp2_hd_inflate_hd2(inflater, &nv, &flags, read, 0, 1), 0);
        assert_true(flags & NGHTTP2_HD_INFLATE_FINAL);
        nghttp2_hd_inflate_end_headers(inflater);
    }
    nghttp2_hd_inflate_del(inflater);
    hpack_encoder_fini(&encoder);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_enters_at_its_second_time),
        cmocka_unit_test(marks_are_no_letters),
        cmocka_unit_test(secrets_enter_nothing),
        cmocka_unit_test(statuses),
        cmocka_unit_test(sizes_are_told),
        cmocka_unit_test(without_memory_it_is_longer),
        cmocka_unit_test(what_nghttp2_reads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
