/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_time.c - times in text, cut at every place.
 */
#include "base/fr_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
times(void **state)
{
    (void)state;
    char text[FR_TIME_ISO_BYTES];
    int64_t us = 0;
    fr_time_format_iso(1767268800123000, text);
    assert_string_equal(text, "2026-01-01T12:00:00.123Z");
    assert_true(fr_time_parse_iso(fr_view_of(text), &us) && us == 1767268800123000);
    for (int64_t at = 0; at < 253402300800LL * FR_US_PER_S;
         at += 86399LL * 977 * FR_US_PER_S + 7000) {
        fr_time_format_iso(at, text); /* to the last day of four digits */
        assert_true(fr_time_parse_iso(fr_view_of(text), &us));
        assert_int_equal(us, at);
    }
    assert_true(fr_time_parse_iso(FR_VIEW("2026-01-01T12:00:00Z"), &us));
    assert_false(fr_time_parse_iso(FR_VIEW("2026-02-30T12:00:00Z"), &us));
    assert_false(fr_time_parse_iso(FR_VIEW("2026-01-01T12:00:00"), &us));
    assert_false(fr_time_parse_iso(FR_VIEW("2026-01-01T12:00:00.Z"), &us));
    assert_false(fr_time_parse_iso(FR_VIEW("2026-01-01T12:00:60Z"), &us));
    for (size_t cut = 0; cut < 20; cut++)
        assert_false(fr_time_parse_iso(fr_view_make("2026-01-01T12:00:00Z", cut), &us));
}

static void
paces(void **state)
{
    struct fr_pace pace = {0};
    (void)state;
    /* A burst of three at once, then one a gap. */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fr_pace_wait_us(&pace, 1000, 20, 3), 0);
        fr_pace_take(&pace, 1000, 20);
    }
    assert_int_equal(fr_pace_wait_us(&pace, 1000, 20, 3), 20);
    assert_int_equal(fr_pace_wait_us(&pace, 1019, 20, 3), 1);
    assert_int_equal(fr_pace_wait_us(&pace, 1020, 20, 3), 0);
    fr_pace_take(&pace, 1020, 20);
    assert_int_equal(fr_pace_wait_us(&pace, 1020, 20, 3), 20);
    /* Rest brings the burst back, and never more than that. */
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(fr_pace_wait_us(&pace, 90000, 20, 3), 0);
        fr_pace_take(&pace, 90000, 20);
    }
    assert_int_equal(fr_pace_wait_us(&pace, 90000, 20, 3), 20);
    assert_int_equal(fr_pace_wait_us(&pace, 90000, 20, 1), 60);
    assert_int_equal(fr_pace_wait_us(&pace, 90000, 20, 0), 60);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),
        cmocka_unit_test(paces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
