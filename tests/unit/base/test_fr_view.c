/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_view.c - views: numbers within their bounds, text taken apart.
 */
#include "base/fr_view.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

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
    static const char digits[] = "0123456789abcdef", upper[] = "0123456789ABCDEF";
    int found = 0;
    for (int i = 0; i < 16; i++) {
        assert_int_equal(fr_view_hex_digit(digits[i]), i);
        assert_int_equal(fr_view_hex_digit(upper[i]), i);
    }
    for (int c = -128; c < 128; c++)
        found += fr_view_hex_digit((char)c) >= 0;
    assert_int_equal(found, 22); /* and nothing else is one */
    char small[3];
    assert_true(fr_view_copy(FR_VIEW("ab"), small, sizeof(small)));
    assert_false(fr_view_copy(FR_VIEW("abc"), small, sizeof(small)));
    assert_string_equal(small, "");
}

static void
view_names(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "9", "web-1.eu_west", "A--"};
    static const char *const others[] = {"", "-a", ".a", "_a", "a b", "a/b", "a:1", "\xc3\xa9"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        assert_true(fr_view_is_name(fr_view_of(names[i])));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(fr_view_is_name(fr_view_of(others[i])));
}

/* Every two octets, at places that are compared together with others and at those that are not. */
static void
view_cases(void **state)
{
    char a[19], b[19];
    (void)state;
    memset(a, 'x', sizeof(a));
    memset(b, 'X', sizeof(b));
    for (size_t at = 0; at < sizeof(a); at++) {
        for (int c = 0; c < 256; c++) {
            for (int d = 0; d < 256; d++) {
                bool letters = (c | 32) >= 'a' && (c | 32) <= 'z' && c < 128;
                bool same = c == d || (letters && (c ^ 32) == d);
                a[at] = (char)c;
                b[at] = (char)d;
                struct fr_view one = fr_view_make(a, sizeof(a)), other = {b, sizeof(b)};
                assert_int_equal(fr_view_ieq(one, other), same);
                assert_int_equal(fr_view_istarts(one, fr_view_make(b, at + 1)), same);
                assert_true(fr_view_istarts(one, fr_view_make(b, at)));
            }
        }
        a[at] = 'x';
        b[at] = 'X';
    }
    assert_false(fr_view_ieq(fr_view_make(a, 8), fr_view_make(b, 9)));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(view_numbers),
        cmocka_unit_test(view_text),
        cmocka_unit_test(view_names),
        cmocka_unit_test(view_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
