/* SPDX-License-Identifier: Apache-2.0 */
/* test_wire_text.c - numbers and escaped text, the odd ones above all. */
#include "wire/wire_priv.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdlib.h>

#include <cmocka.h>

static bool
u64(const char *text, uint64_t max, uint64_t *out)
{
    return wire__parse_u64(text, strlen(text), max, out);
}

static bool
f64(const char *text, double *out)
{
    return wire__parse_f64(text, strlen(text), 1000, out);
}

static void
test_whole_numbers(void **state)
{
    uint64_t value = 1;
    (void)state;
    assert_true(u64("0", 0, &value));
    assert_int_equal(value, 0);
    assert_true(u64("18446744073709551614", UINT64_MAX - 1, &value));
    assert_true(value == UINT64_MAX - 1);
    assert_true(u64("0007", 10, &value));
    assert_int_equal(value, 7);
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "1.0",
                                      "0x1",
                                      "1e3",
                                      "a",
                                      "18446744073709551615",
                                      "18446744073709551616",
                                      "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(u64(bad[i], UINT64_MAX - 1, &value));
    assert_int_equal(value, 7); /* untouched */
    assert_true(u64("65535", 65535, &value));
    assert_false(u64("65536", 65535, &value));
}

static void
test_decimal_numbers(void **state)
{
    double value = -1;
    (void)state;
    static const char *const good[] = {"0",    "0.41",     "1",          "1000",
                                       "12.",  "0.000001", "999.999999", "0.1234567890123456789",
                                       "000.5"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        assert_true(f64(good[i], &value));
        assert_true(fabs(value - strtod(good[i], NULL)) <= 1e-15 * (value + 1));
    }
    assert_true(f64("0.00000000000000000000000000000000000000000000000001", &value));
    assert_true(value >= 0 && value < 1e-15);
    static const char *const bad[] = {
        "",    ".5",  "-0.1",   "+1",   "1e3",
        "nan", "NaN", "inf",    "INF",  "1.2.3",
        "1,5", " 1",  "1000.1", "0x10", "9999999999999999999999999999",
        "1 ",  "."};
    value = 7;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_false(f64(bad[i], &value));
    assert_true(value > 6.9 && value < 7.1);
}

static void
test_decimal_numbers_come_back(void **state)
{
    char text[32];
    double value;
    (void)state;
    for (uint64_t millionths = 0; millionths < 1000000000; millionths += 999983) {
        size_t len = wire__format_f64((double)millionths / 1e6, text);
        assert_int_equal(len, strlen(text));
        assert_true(f64(text, &value));
        assert_true(value >= (double)millionths / 1e6 && value <= (double)millionths / 1e6);
    }
    assert_int_equal(wire__format_f64(0.5, text), 3);
    assert_string_equal(text, "0.5");
    (void)wire__format_f64(31.0, text); /* the text is looked at */
    assert_string_equal(text, "31");
    (void)wire__format_f64(0.0000001, text);
    assert_string_equal(text, "0");
    (void)wire__format_f64(999.9999999, text);
    assert_string_equal(text, "1000");
}

static void
expect_escaped(struct fr_view text, const char *expected)
{
    struct fr_buf buf;
    struct wire__out out;
    fr_buf_init(&buf, 4096);
    assert_int_equal(fr_buf_append(&buf, "", 0), FR_OK);
    wire__out_begin(&out, &buf);
    wire__out_escaped(&out, text);
    wire__out_raw(&out, "|", 1);
    assert_int_equal(wire__out_end(&out), FR_OK);
    assert_int_equal(buf.len, strlen(expected));
    assert_memory_equal(buf.data, expected, buf.len);
    fr_buf_fini(&buf);
}

static void
test_escapes(void **state)
{
    (void)state;
    expect_escaped(FR_VIEW("a<b>&\"c'\n\t\r"), "a&lt;b&gt;&amp;&quot;c'&#10;&#9;&#13;|");
    expect_escaped(FR_VIEW(""), "|");
    expect_escaped(FR_VIEW("\xc3\xa9\xf0\x9f\x8c\x8a"), "\xc3\xa9\xf0\x9f\x8c\x8a|");
}

static void
test_what_xml_cannot_carry_is_replaced(void **state)
{
    (void)state;
#define BAD "\xef\xbf\xbd"
    expect_escaped(FR_VIEW("a\0b"), "a" BAD "b|");
    expect_escaped(FR_VIEW("\x1b[31m"), BAD "[31m|");
    expect_escaped(FR_VIEW("\xff\xfe"), BAD BAD "|");
    expect_escaped(FR_VIEW("\xc3"), BAD "|");         /* cut */
    expect_escaped(FR_VIEW("\xc0\x80"), BAD BAD "|"); /* overlong */
    expect_escaped(FR_VIEW("\xe0\x80\x80"), BAD BAD BAD "|");
    expect_escaped(FR_VIEW("\xed\xa0\x80"), BAD BAD BAD "|");         /* a surrogate */
    expect_escaped(FR_VIEW("\xf4\x90\x80\x80"), BAD BAD BAD BAD "|"); /* beyond Unicode */
    expect_escaped(FR_VIEW("\xef\xbf\xbf"), BAD BAD BAD "|");         /* U+FFFF */
    expect_escaped(FR_VIEW("\xef\xbf\xbd"), BAD "|");
}

static void
test_cut_before_a_character(void **state)
{
    (void)state;
    struct fr_view text = FR_VIEW("ab\xc3\xa9\xff"
                                  "c");
    static const size_t taken[] = {0, 1, 2, 2, 4, 4, 4, 5, 6, 6};
    for (size_t max = 0; max < sizeof(taken) / sizeof(taken[0]); max++)
        assert_int_equal(wire__text_cut(text, max).len, taken[max]);
}

static void
test_controls(void **state)
{
    (void)state;
    assert_false(wire__text_has_control(FR_VIEW("web-3 \xc3\xa9")));
    assert_true(wire__text_has_control(FR_VIEW("a\n")));
    assert_true(wire__text_has_control(FR_VIEW("\x7f")));
    assert_true(wire__text_has_control(FR_VIEW("\xc2\x9b[31m"))); /* CSI in one character */
    assert_false(wire__text_has_control(FR_VIEW("\xc2\xa0")));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole_numbers),
        cmocka_unit_test(test_decimal_numbers),
        cmocka_unit_test(test_decimal_numbers_come_back),
        cmocka_unit_test(test_escapes),
        cmocka_unit_test(test_what_xml_cannot_carry_is_replaced),
        cmocka_unit_test(test_cut_before_a_character),
        cmocka_unit_test(test_controls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
