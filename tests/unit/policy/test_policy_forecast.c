/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_forecast.c - what the forecasting policy learns from a flood, and what it wants while
 * one begins.
 */
#include "policy_case.h"

#include "policy/policy_forecast_priv.h"

#include <math.h>

#define CAPACITY 100.0
#define MEMBERS 20
#define RATE 800.0

struct bench {
    struct policy_settings settings;
    struct policy_state state;
    int64_t now_us;
    double startup_s, queue;
};

static struct policy_forecast *
forecast_of(const struct bench *bench)
{
    return bench->state.forecast;
}

static void
bench_init(struct bench *bench)
{
    *bench = (struct bench){
        .settings = {.kind = POLICY_FORECAST, .upper = -1, .lower = -1, .min = 1, .max = 100},
        .now_us = NOW,
        .startup_s = 60,
    };
    bench->settings.allocate = true;
    bench->state.forecast = calloc(1, policy_forecast_bytes());
    assert_non_null(bench->state.forecast);
    policy_forecast_init(bench->state.forecast);
}

static void
bench_fini(struct bench *bench)
{
    free(bench->state.forecast);
}

/* Always the same members, whatever is decided: it is the wishes that count here. */
static void
tick(struct bench *bench, double rate)
{
    struct policy_observation seen;
    struct policy_decision decision;

    bench->now_us += 5 * SECOND;
    policy_survey_equals(MEMBERS, 0, 0, fmin(1, rate / (MEMBERS * CAPACITY)), bench->now_us, &seen);
    seen.traffic = (struct policy_traffic){
        .is_known = true,
        .dt_s = 5,
        .rate = rate,
        .queue = bench->queue,
        .startup_s = bench->startup_s,
        .drain_s = 30,
    };
    policy_tick(&bench->settings, &bench->state, &seen, &decision);
}

static unsigned
errors_known(const struct bench *bench, bool is_peak)
{
    unsigned sum = 0;

    for (size_t mood = 0; mood < POLICY__MOODS; mood++) {
        const struct policy_forecast *self = forecast_of(bench);
        sum += is_peak ? self->peak[mood][POLICY__VOICE_NOW].own
                       : self->far[mood][POLICY__VOICE_NOW].own;
    }
    return sum;
}

/* Members that start tell anew how long a start takes, tick by tick: in a flood. What was said
 * before is known all the same. */
static void
test_a_start_up_that_changes_loses_no_error(void **state_)
{
    struct bench bench;
    (void)state_;
    bench_init(&bench);
    for (unsigned i = 0; i < 60; i++)
        tick(&bench, RATE);
    unsigned far = errors_known(&bench, false);
    unsigned peak = errors_known(&bench, true);
    for (unsigned i = 0; i < 40; i++) {
        bench.startup_s += 1;
        tick(&bench, RATE);
    }
    for (unsigned i = 0; i < 60; i++) /* until it is known who was right */
        tick(&bench, RATE);
    print_message("known: %u and %u more\n", errors_known(&bench, false) - far,
                  errors_known(&bench, true) - peak);
    assert_true(errors_known(&bench, false) - far >= 60);
    assert_true(errors_known(&bench, true) - peak >= 60);
    bench_fini(&bench);
}

/* Nobody has started yet, and a minute is taken for it; then one is there after five seconds. What
 * was said for a minute ahead is no measure of what is said for five seconds. */
static void
test_quite_another_way_ahead_teaches_nothing(void **state_)
{
    struct bench bench;
    (void)state_;
    bench_init(&bench);
    bench.startup_s = 0;
    for (unsigned i = 0; i < 12; i++)
        tick(&bench, RATE);
    assert_int_equal(errors_known(&bench, false), 0);
    bench.startup_s = 5;
    for (unsigned i = 0; i < 12; i++)
        tick(&bench, RATE);
    assert_true(errors_known(&bench, false) <= 12);
    bench_fini(&bench);
}

static double
wanted(const struct bench *bench)
{
    const struct policy_forecast *self = forecast_of(bench);
    return (double)self->release[(self->tick - 1) % POLICY__RING];
}

/* Waves that rise slowly have made the calm mood careful. The first jump is a mood of its own, in
 * which nothing was learnt: it wants no less. */
static void
test_a_first_jump_wants_no_less_than_before(void **state_)
{
    struct bench bench;
    (void)state_;
    bench_init(&bench);
    bench.startup_s = 300;
    for (unsigned i = 0; i < 1500; i++)
        tick(&bench, RATE * (1 + 0.7 * sin(i / 80.0)));
    assert_int_equal(forecast_of(&bench)->mood, POLICY__CALM);
    assert_int_equal(forecast_of(&bench)->far[POLICY__JUMPING][POLICY__VOICE_NOW].seen, 0);
    double rate = (double)forecast_of(&bench)->rate[(forecast_of(&bench)->tick - 1) % POLICY__RING];
    double before = wanted(&bench);
    tick(&bench, rate * 1.3);
    tick(&bench, rate * 1.5);
    print_message("wanted: %.2f, then %.2f\n", before, wanted(&bench));
    assert_int_equal(forecast_of(&bench)->mood, POLICY__JUMPING);
    assert_true(wanted(&bench) >= before);
    bench_fini(&bench);
}

/* Who waits when the first tick ends may have come long before it: a member is not taken to do
 * less for it. Nor after a time in which nobody looked. */
static void
test_a_queue_from_before_is_nobodys_work(void **state_)
{
    struct bench bench;
    (void)state_;
    bench_init(&bench);
    bench.queue = 5000;
    for (unsigned i = 0; i < 3; i++)
        tick(&bench, MEMBERS * CAPACITY);
    assert_float_equal(policy__member_capacity(&forecast_of(&bench)->member), CAPACITY, 0.5);
    bench.now_us += 3600 * SECOND;
    bench.queue = 9000;
    tick(&bench, MEMBERS * CAPACITY);
    assert_float_equal(policy__member_capacity(&forecast_of(&bench)->member), CAPACITY, 0.5);
    bench_fini(&bench);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_start_up_that_changes_loses_no_error),
        cmocka_unit_test(test_quite_another_way_ahead_teaches_nothing),
        cmocka_unit_test(test_a_first_jump_wants_no_less_than_before),
        cmocka_unit_test(test_a_queue_from_before_is_nobodys_work),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
