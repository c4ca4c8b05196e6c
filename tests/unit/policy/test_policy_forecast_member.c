/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_forecast_member.c - what a member can do is learnt from a whole tick, not from how
 * busy it is at the moment at which the tick ends.
 */
#include "policy_case.h"

#include "policy/policy_forecast_priv.h"

#include <math.h>

#define CAPACITY 80.0
#define MEMBERS 4

static struct policy_observation
observed(double rate, double mean, double busy)
{
    return (struct policy_observation){
        .usable = MEMBERS,
        .ready = MEMBERS,
        .mean = mean,
        .traffic = {.is_known = true, .dt_s = 5, .rate = rate, .busy = busy, .slow = (double)NAN},
    };
}

static void
learn(struct policy__member_model *model, double rate, double mean, double busy, unsigned ticks)
{
    const struct policy_observation seen = observed(rate, mean, busy);
    for (unsigned i = 0; i < ticks; i++)
        policy__member_learn(model, &seen);
}

static void
test_the_mean_of_the_tick_counts(void **state_)
{
    struct policy__member_model model;
    (void)state_;

    policy__member_init(&model);
    learn(&model, 160, 0.95, 2, 50); /* always looked at when it was busiest */
    assert_float_equal(policy__member_capacity(&model), CAPACITY, 0.5);
    learn(&model, 160, 0.95, (double)NAN, 500); /* nobody saw all of them */
    assert_float_equal(policy__member_capacity(&model), CAPACITY, 0.5);
}

static void
test_without_one_its_end_counts(void **state_)
{
    struct policy__member_model model;
    (void)state_;

    policy__member_init(&model);
    learn(&model, 160, 0.5, 0, 50);
    assert_float_equal(policy__member_capacity(&model), CAPACITY, 0.5);
}

/* Requests in flight go on growing above the limit; what is done does not. */
static void
test_more_than_full_is_full(void **state_)
{
    struct policy__member_model model;
    (void)state_;

    policy__member_init(&model);
    learn(&model, MEMBERS * CAPACITY, 1.6, 0, 50);
    assert_float_equal(policy__member_capacity(&model), CAPACITY, 0.5);
}

/* Two that count are busy, and so are two that start or drain: all four are in the rate. */
static void
test_others_serve_too(void **state_)
{
    struct policy__member_model model;
    struct policy_observation seen = observed(4 * CAPACITY, 1, 4);
    (void)state_;

    seen.usable = seen.ready = 2;
    policy__member_init(&model);
    for (unsigned i = 0; i < 50; i++)
        policy__member_learn(&model, &seen);
    assert_float_equal(policy__member_capacity(&model), CAPACITY, 0.5);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_mean_of_the_tick_counts),
        cmocka_unit_test(test_without_one_its_end_counts),
        cmocka_unit_test(test_more_than_full_is_full),
        cmocka_unit_test(test_others_serve_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
