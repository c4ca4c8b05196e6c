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

/* Two that count at 0.5 and two that drain at 0.5: half busy is what late requests are told of, and
 * it is not full. */
static void
test_who_drains_makes_nobody_busier(void **state_)
{
    struct policy__member_model model;
    struct policy_observation seen = observed(2 * CAPACITY, 0.5, 2);
    (void)state_;

    seen.usable = seen.ready = 2;
    seen.traffic.busy_usable = 1;
    seen.traffic.slow = 0.9;
    policy__member_init(&model);
    double before = policy__member_slow(&model, 0.5);
    for (unsigned i = 0; i < 50; i++)
        policy__member_learn(&model, &seen);
    policy__member_rebuild(&model);
    assert_float_equal(policy__member_capacity(&model), CAPACITY, 0.5);
    assert_true(policy__member_slow(&model, 0.5) > 100 * before);
}

/* 400 come, the queue grows by 80 a second: 320 are done. */
static void
test_what_waits_is_not_done(void **state_)
{
    struct policy__member_model model;
    struct policy_observation seen = observed(400, 1, 0);
    (void)state_;

    policy__member_init(&model);
    for (unsigned i = 0; i < 50; i++) {
        seen.traffic.queue += 80 * seen.traffic.dt_s;
        policy__member_learn(&model, &seen);
    }
    assert_float_equal(policy__member_capacity(&model), CAPACITY, 0.5);
}

/* A queue that is gone was not finished: its requests may have given up, or never have been. */
static void
test_what_leaves_a_queue_is_not_done(void **state_)
{
    struct policy__member_model model;
    struct policy_observation seen = observed(MEMBERS * CAPACITY, 1, 0);
    (void)state_;

    policy__member_init(&model);
    policy__member_learn(&model, &seen);
    for (unsigned i = 0; i < 10; i++) {
        seen.traffic.queue = i % 2 ? 0 : 1e9;
        policy__member_learn(&model, &seen);
    }
    assert_float_equal(policy__member_capacity(&model), CAPACITY, 0.5);
}

/* Half busy, and everybody late, in ticks behind those in which more came than could be done. */
static void
test_an_old_backlog_is_nobodys_utilization(void **state_)
{
    struct policy__member_model model;
    struct policy_observation full = observed(320, 1, 4);
    struct policy_observation after = observed(160, 0.5, 2);
    (void)state_;

    policy__member_init(&model);
    double before = policy__member_slow(&model, 0.5);
    after.traffic.slow = 0.9;
    for (unsigned i = 0; i < 100; i++) {
        policy__member_learn(&model, &full);
        policy__member_learn(&model, &after);
    }
    policy__member_rebuild(&model);
    assert_float_equal(policy__member_slow(&model, 0.5), before, 1e-6);
    policy__member_learn(&model, &after);
    policy__member_rebuild(&model);
    assert_true(policy__member_slow(&model, 0.5) > 100 * before);
}

/* Nobody was late at 90 %: nobody will be at 80 %, where nobody was yet. */
static void
test_a_curve_is_known_below_what_was_seen(void **state_)
{
    struct policy__member_model model;
    struct policy_observation seen = observed(288, 0.9, 3.6);
    (void)state_;

    policy__member_init(&model);
    double before = policy__member_slow(&model, 0.8);
    seen.traffic.slow = 0;
    for (unsigned i = 0; i < 100; i++)
        policy__member_learn(&model, &seen);
    policy__member_rebuild(&model);
    assert_true(policy__member_slow(&model, 0.8) < before / 10);
    assert_true(policy__member_slow(&model, 0.8) <= policy__member_slow(&model, 0.9));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_mean_of_the_tick_counts),
        cmocka_unit_test(test_without_one_its_end_counts),
        cmocka_unit_test(test_more_than_full_is_full),
        cmocka_unit_test(test_others_serve_too),
        cmocka_unit_test(test_who_drains_makes_nobody_busier),
        cmocka_unit_test(test_what_waits_is_not_done),
        cmocka_unit_test(test_what_leaves_a_queue_is_not_done),
        cmocka_unit_test(test_an_old_backlog_is_nobodys_utilization),
        cmocka_unit_test(test_a_curve_is_known_below_what_was_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
