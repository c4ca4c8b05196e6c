/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_text.c - views, units, times, buffers: the rooms' small change.
 */
#include "base/fr_arena.h"
#include "base/fr_buf.h"
#include "base/fr_check.h"
#include "base/fr_err.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "base/fr_unit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

static void
view_numbers(void **state)
{
    (void)state;
    uint64_t u = 7;
    assert_true(fr_view_u64(FR_VIEW("18446744073709551615"), &u) && u == UINT64_MAX);
    assert_false(fr_view_u64(FR_VIEW("18446744073709551616"), &u));
    assert_false(fr_view_u64(FR_VIEW(""), &u));
    assert_false(fr_view_u64(FR_VIEW("-1"), &u));
    assert_false(fr_view_u64(FR_VIEW("1 "), &u));
    double f = 0;
    assert_true(fr_view_f64(FR_VIEW("0.83"), &f) && f > 0.8299 && f < 0.8301);
    assert_true(fr_view_f64(FR_VIEW("-2"), &f) && f < -1.99);
    assert_false(fr_view_f64(FR_VIEW("nan"), &f));
    assert_false(fr_view_f64(FR_VIEW("1e9"), &f));
    assert_false(fr_view_f64(FR_VIEW("."), &f));
    assert_false(fr_view_f64(FR_VIEW("0x10"), &f));
}

static void
view_text(void **state)
{
    (void)state;
    struct fr_view rest = FR_VIEW("a,,b"), head;
    assert_true(fr_view_split(&rest, ',', &head) && fr_view_is(head, "a"));
    assert_true(fr_view_split(&rest, ',', &head) && head.len == 0);
    assert_true(fr_view_split(&rest, ',', &head) && fr_view_is(head, "b"));
    assert_false(fr_view_split(&rest, ',', &head));
    assert_true(fr_view_ieq(FR_VIEW("Content-Length"), FR_VIEW("content-LENGTH")));
    assert_false(fr_view_ieq(FR_VIEW("a["), FR_VIEW("a{")));
    assert_true(fr_view_is(fr_view_trim(FR_VIEW(" \t x y\t ")), "x y"));
    char small[3];
    assert_true(fr_view_copy(FR_VIEW("ab"), small, sizeof(small)));
    assert_false(fr_view_copy(FR_VIEW("abc"), small, sizeof(small)));
    assert_string_equal(small, "");
}

static void
units(void **state)
{
    (void)state;
    int64_t us = 0;
    uint64_t bytes = 0;
    double ratio = 0;
    char text[FR_UNIT_TEXT_BYTES];
    assert_true(fr_unit_parse_duration(FR_VIEW("1.5s"), &us) && us == 1500000);
    assert_true(fr_unit_parse_duration(FR_VIEW("2min"), &us) && us == 120000000);
    assert_true(fr_unit_parse_duration(FR_VIEW("0"), &us) && us == 0);
    assert_false(fr_unit_parse_duration(FR_VIEW("500"), &us));
    assert_false(fr_unit_parse_duration(FR_VIEW("5 s"), &us));
    assert_false(fr_unit_parse_duration(FR_VIEW("s"), &us));
    assert_false(fr_unit_parse_duration(FR_VIEW("999999999999999d"), &us));
    assert_true(fr_unit_parse_bytes(FR_VIEW("256MiB"), &bytes) && bytes == 256ull << 20);
    assert_true(fr_unit_parse_bytes(FR_VIEW("10kB"), &bytes) && bytes == 10000);
    assert_false(fr_unit_parse_bytes(FR_VIEW("1TB"), &bytes));
    assert_true(fr_unit_parse_ratio(FR_VIEW("80%"), &ratio) && ratio > 0.79 && ratio < 0.81);
    assert_false(fr_unit_parse_ratio(FR_VIEW("-1"), &ratio));
    fr_unit_format_duration(1500000, text);
    assert_string_equal(text, "1500ms");
    fr_unit_format_duration(3600000000LL, text);
    assert_string_equal(text, "1h");
    fr_unit_format_bytes(1536, text);
    assert_string_equal(text, "1536B");
}

static void
times(void **state)
{
    (void)state;
    char text[FR_TIME_ISO_BYTES];
    int64_t us = 0;
    fr_time_format_iso(1767268800123000, text);
    assert_string_equal(text, "2026-01-01T12:00:00.123Z");
    assert_true(fr_time_parse_iso(fr_view_of(text), &us) && us == 1767268800123000);
    assert_true(fr_time_parse_iso(FR_VIEW("2026-01-01T12:00:00Z"), &us));
    assert_false(fr_time_parse_iso(FR_VIEW("2026-02-30T12:00:00Z"), &us));
    assert_false(fr_time_parse_iso(FR_VIEW("2026-01-01T12:00:00"), &us));
    assert_false(fr_time_parse_iso(FR_VIEW("2026-01-01T12:00:00.Z"), &us));
    assert_false(fr_time_parse_iso(FR_VIEW("2026-01-01T12:00:60Z"), &us));
    for (size_t cut = 0; cut < 20; cut++)
        assert_false(fr_time_parse_iso(fr_view_make("2026-01-01T12:00:00Z", cut), &us));
}

static void
buffers(void **state)
{
    (void)state;
    struct fr_buf buf;
    fr_buf_init(&buf, 10);
    assert_int_equal(fr_buf_append(&buf, "0123456789", 10), FR_OK);
    assert_int_equal(fr_buf_append(&buf, "x", 1), FR_ERR_FULL);
    assert_int_equal(buf.len, 10);
    fr_buf_consume(&buf, 4);
    assert_string_equal(buf.data, "456789");
    assert_int_equal(fr_buf_printf(&buf, "%s", "abcde"), FR_ERR_FULL);
    assert_int_equal(fr_buf_printf(&buf, "%s", "abcd"), FR_OK);
    assert_string_equal(buf.data, "456789abcd");
    fr_buf_fini(&buf);
    fr_mem_fail_after(1);
    assert_int_equal(fr_buf_append(&buf, "x", 1), FR_ERR_NOMEM);
    assert_int_equal(buf.len, 0);
}

static void
arenas(void **state)
{
    (void)state;
    struct fr_arena arena;
    fr_arena_init(&arena, 64, 256);
    char *a = fr_arena_dup(&arena, FR_VIEW("hello"));
    assert_string_equal(a, "hello");
    assert_non_null(fr_arena_alloc(&arena, 128));
    assert_null(fr_arena_alloc(&arena, 128));
    assert_null(fr_arena_alloc(&arena, 257));
    fr_arena_reset(&arena);
    assert_non_null(fr_arena_alloc(&arena, 192));
    fr_arena_fini(&arena);
}

static void
errors(void **state)
{
    (void)state;
    assert_string_equal(fr_err_name(FR_ERR_POOL_EMPTY), "POOL_EMPTY");
    assert_int_equal(fr_err_kind(FR_ERR_CONFIG), FR_KIND_CONFIG);
    assert_string_equal(fr_err_name((enum fr_err)-9999), "UNKNOWN");
    assert_int_equal(fr_err_from_errno(-111), FR_ERR_REFUSED);
}

static void
count_visit(void *ctx, const struct fr_count_site *site)
{
    *(uint64_t *)ctx += site->count;
}

static void
strange_events_are_counted(void **state)
{
    (void)state;
    uint64_t seen = 0;
    for (int i = 0; i < 5; i++)
        (void)fr_count_if(i > 2);
    fr_count_each(count_visit, &seen);
    assert_int_equal(seen, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(view_numbers), cmocka_unit_test(view_text), cmocka_unit_test(units),
        cmocka_unit_test(times),        cmocka_unit_test(buffers),   cmocka_unit_test(arenas),
        cmocka_unit_test(errors),       cmocka_unit_test(strange_events_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
