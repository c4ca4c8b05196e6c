/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_hist.c - histograms: quantiles within their error, sums, differences.
 */
#include "base/fr_hist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
histogram_quantiles(void **state)
{
    (void)state;
    struct fr_hist a = {0}, b = {0}, c = {0};
    for (uint64_t us = 1; us <= 100000; us++)
        fr_hist_record(us % 2 ? &a : &b, us);
    fr_hist_add(&a, &b);
    assert_int_equal(fr_hist_count(&a), 100000);
    const double wanted[] = {0.5, 0.9, 0.99};
    for (size_t i = 0; i < 3; i++) {
        double got = (double)fr_hist_quantile_us(&a, wanted[i]);
        double exact = wanted[i] * 100000;
        assert_true(got > exact * 0.93 && got < exact * 1.07);
    }
    fr_hist_since(&c, &a, &b);
    assert_int_equal(fr_hist_count(&c), 50000);
    fr_hist_record(&c, UINT64_MAX);
    assert_true(fr_hist_quantile_us(&c, 1) > FR_HIST_MAX_US / 2);
    struct fr_hist empty = {0};
    assert_int_equal(fr_hist_quantile_us(&empty, 0.5), 0);
    /* Every value lies within 6.25 % of the middle given for its bucket. */
    for (uint64_t us = 0; us < FR_HIST_MAX_US; us = us * 9 / 8 + 1) {
        struct fr_hist one = {0};
        fr_hist_record(&one, us);
        double middle = (double)fr_hist_quantile_us(&one, 0);
        assert_true(middle >= (double)us * 0.9374 - 1 && middle <= (double)us * 1.0626 + 1);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(histogram_quantiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
