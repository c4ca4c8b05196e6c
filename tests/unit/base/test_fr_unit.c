/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_unit.c - units: what a person writes, and nothing beside it.
 */
#include "base/fr_unit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
