/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_forecast_price.c - what a late request is taken to cost follows the share of those
 * that were late: up with a flood, not beyond what holding is worth, and down again.
 */
#include "policy_case.h"

#include "policy/policy_forecast_priv.h"

#include <math.h>

#define GOAL 0.01
#define HOUR 720 /* ticks */

static void
learn(struct policy__price *price, double rate, double slow, unsigned ticks)
{
    const struct policy_traffic traffic = {.is_known = true, .dt_s = 5, .rate = rate, .slow = slow};

    for (unsigned i = 0; i < ticks; i++)
        policy__price_learn(price, &traffic, GOAL);
}

static void
test_late_requests_make_it_dearer(void **state_)
{
    struct policy__price price;
    (void)state_;
    policy__price_init(&price);
    learn(&price, 100, 0.001, HOUR);
    double before = price.value;
    learn(&price, 100, 1, 60);
    assert_true(price.value > before * 1.3);
}

/* A quarter of an hour in which all were late, at six times the load, is not held against the next
 * days more than holding can be worth. */
static void
test_one_flood_does_not_make_it_boundless(void **state_)
{
    struct policy__price price;
    (void)state_;
    policy__price_init(&price);
    learn(&price, 100, 0.001, HOUR);
    learn(&price, 600, 1, HOUR / 4);
    print_message("after a flood: %.1f\n", price.value);
    assert_true(price.value <= 20);
}

/* None of what came later was late: of much more that came, the flood is a smaller share. */
static void
test_a_growing_load_dilutes_an_early_flood(void **state_)
{
    struct policy__price same;
    struct policy__price grown;
    (void)state_;
    policy__price_init(&same);
    learn(&same, 100, 0, HOUR);
    learn(&same, 100, 1, 80);
    grown = same;
    learn(&same, 100, 0, 10 * HOUR);
    learn(&grown, 1000, 0, 10 * HOUR);
    print_message("as before: %.1f, ten times as many: %.1f\n", same.value, grown.value);
    assert_true(grown.value < same.value * 0.8);
}

static void
test_without_late_requests_it_falls_to_a_least(void **state_)
{
    struct policy__price price;
    (void)state_;
    policy__price_init(&price);
    double begin = price.value;
    learn(&price, 100, 0, 24 * HOUR);
    assert_true(price.value < begin * 0.8);
    learn(&price, 100, 0, 240 * HOUR);
    assert_true(price.value >= 2.9);
}

/* Three hours of a night in which everybody was late, and hardly anybody came. */
static void
test_requests_count_and_not_minutes(void **state_)
{
    struct policy__price price;
    (void)state_;
    policy__price_init(&price);
    learn(&price, 1000, 0.0038, 12 * HOUR);
    double before = price.value;
    learn(&price, 1, 1, 3 * HOUR);
    assert_true(price.value < before * 1.1);
}

static void
test_nobody_and_nothing_known_teach_nothing(void **state_)
{
    struct policy__price price;
    (void)state_;
    policy__price_init(&price);
    double begin = price.value;
    learn(&price, 0, 0, 100);
    assert_float_equal(price.value, begin, 0);
    learn(&price, 100, (double)NAN, 1000);
    assert_float_equal(price.value, begin, 1e-6);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_late_requests_make_it_dearer),
        cmocka_unit_test(test_one_flood_does_not_make_it_boundless),
        cmocka_unit_test(test_a_growing_load_dilutes_an_early_flood),
        cmocka_unit_test(test_without_late_requests_it_falls_to_a_least),
        cmocka_unit_test(test_requests_count_and_not_minutes),
        cmocka_unit_test(test_nobody_and_nothing_known_teach_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
