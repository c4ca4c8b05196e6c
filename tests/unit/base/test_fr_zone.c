/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_zone.c - zones: what their clocks show, skip and show twice; and files that lie.
 */
#include "zone_case.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int64_t
at(int64_t year, unsigned month, unsigned day, int64_t hour, int64_t minute)
{
    return fr_zone_days(year, month, day) * 86400 + hour * 3600 + minute * 60;
}

static void
dates_there_and_back(void **state)
{
    (void)state;
    assert_int_equal(fr_zone_days(1970, 1, 1), 0);
    assert_int_equal(fr_zone_days(2000, 3, 1), 11017);
    for (int64_t days = -800000; days < 800000; days += 97) {
        int64_t year;
        unsigned month, day;
        fr_zone_date(days, &year, &month, &day);
        assert_int_equal(fr_zone_days(year, month, day), days);
    }
}

static void
skipped_and_shown_twice(void **state)
{
    (void)state;
    static struct fr_zone berlin;
    zone_case_make(ZONE_CASE_BERLIN, &berlin);
    assert_int_equal(fr_zone_offset_s(&berlin, at(2026, 1, 15, 12, 0)), 3600);
    assert_int_equal(fr_zone_offset_s(&berlin, at(2026, 7, 15, 12, 0)), 7200);
    /* 2026-03-29: 02:00 to 03:00 is skipped, at 01:00 UTC. */
    assert_int_equal(fr_zone_to_utc_s(&berlin, at(2026, 3, 29, 1, 59)), at(2026, 3, 29, 0, 59));
    assert_int_equal(fr_zone_to_utc_s(&berlin, at(2026, 3, 29, 2, 0)), at(2026, 3, 29, 1, 0));
    assert_int_equal(fr_zone_to_utc_s(&berlin, at(2026, 3, 29, 2, 59)), at(2026, 3, 29, 1, 0));
    assert_int_equal(fr_zone_to_utc_s(&berlin, at(2026, 3, 29, 3, 0)), at(2026, 3, 29, 1, 0));
    /* 2026-10-25: 02:00 to 03:00 is shown twice; the first time counts. */
    assert_int_equal(fr_zone_to_utc_s(&berlin, at(2026, 10, 25, 2, 30)), at(2026, 10, 25, 0, 30));
    assert_int_equal(fr_zone_to_utc_s(&berlin, at(2026, 10, 25, 3, 0)), at(2026, 10, 25, 2, 0));
}

static void
never_falls(void **state)
{
    (void)state;
    static const char *const rules[] = {ZONE_CASE_BERLIN, "EST5EDT,M3.2.0,M11.1.0",
                                        "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0", "<+05>-5",
                                        "IST-1GMT0,M10.5.0,M3.5.0/1"};
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        static struct fr_zone zone;
        zone_case_make(rules[i], &zone);
        int64_t before = INT64_MIN;
        for (int64_t local = at(2026, 1, 1, 0, 0); local < at(2027, 1, 1, 0, 0); local += 900) {
            int64_t utc = fr_zone_to_utc_s(&zone, local);
            assert_true(utc >= before);
            before = utc;
            /* What clocks show then is what was asked for, or more where it was skipped. */
            assert_true(utc + fr_zone_offset_s(&zone, utc) >= local);
        }
    }
}

static void
files_that_lie(void **state)
{
    (void)state;
    static struct fr_zone zone;
    char file[ZONE_CASE_BYTES_MAX];
    struct fr_view whole = zone_case_file(ZONE_CASE_BERLIN, file);
    /* Cut anywhere in its blocks; with counts of all sizes. */
    for (size_t len = 0; len < 108; len++)
        assert_int_equal(fr_zone_parse(fr_view_make(file, len), &zone), FR_ERR_CONFIG);
    for (size_t i = 20; i < 44; i++) {
        char byte = file[i];
        file[i] = (char)0xff;
        enum fr_err err = fr_zone_parse(whole, &zone); /* ASan is the judge */
        assert_true(err == FR_OK || err == FR_ERR_CONFIG);
        file[i] = byte;
        file[54 + i] = (char)0xff;
        err = fr_zone_parse(whole, &zone);
        assert_true(err == FR_OK || err == FR_ERR_CONFIG);
        file[54 + i] = i == 39 ? 1 : i == 43 ? 4 : 0;
    }
    assert_int_equal(fr_zone_parse(whole, &zone), FR_OK);
    file[54 + 44] = 0x7f; /* an offset of 67 years */
    assert_int_equal(fr_zone_parse(whole, &zone), FR_ERR_CONFIG);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dates_there_and_back),
        cmocka_unit_test(skipped_and_shown_twice),
        cmocka_unit_test(never_falls),
        cmocka_unit_test(files_that_lie),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
