/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_forecast_margin.c - what is held for a forecast: floods that take minutes to pass are
 * not forgotten, who is new is no better than the others, and far is less certain than near.
 */
#include "policy_case.h"

#include "policy/policy_forecast_priv.h"

#include <math.h>

#define PRICE 60.0
#define NEAR 7 /* ticks ahead: a start-up of half a minute */
#define FAR 67 /* of five */
#define FLOOD 0.9
#define CALM 0.02

struct bench {
    struct policy__margin margin;
    struct policy__member_model member;
    uint32_t ticks;
    float said[FAR]; /* the unit when a forecast was made, until it is known how that one erred */
    unsigned at;
};

static void
bench_init(struct bench *bench, uint32_t ticks)
{
    policy__member_init(&bench->member);
    policy__margin_init(&bench->margin, POLICY__CALM);
    bench->ticks = ticks;
    bench->at = 0;
    for (size_t i = 0; i < FAR; i++)
        bench->said[i] = (float)policy__margin_scale(&bench->margin);
}

static void
see(struct bench *bench, double log_error, unsigned count)
{
    const struct policy__sizing sizing = {.price = PRICE, .ticks = bench->ticks};

    for (unsigned i = 0; i < count; i++) {
        float *said = &bench->said[bench->at++ % bench->ticks];
        const struct policy__outcome outcome = {
            .log_error = log_error,
            .scale = (double)*said,
            .price = PRICE,
            .ticks = bench->ticks,
        };
        policy__margin_learn(&bench->margin, &outcome, &bench->member);
        *said = (float)policy__margin_scale(&bench->margin);
        policy__margin_size(&bench->margin, &sizing, &bench->member);
    }
}

/* A flood is an error for as long as the forecast looked ahead. Three of them in eight hours, and
 * for two hours nothing: it is held for a fourth. */
static void
test_a_flood_is_not_forgotten(void **state_)
{
    struct bench bench;
    (void)state_;
    bench_init(&bench, FAR);
    for (unsigned i = 0; i < 3; i++) {
        see(&bench, CALM, 1000);
        see(&bench, -CALM, 1000);
        see(&bench, FLOOD, FAR);
    }
    see(&bench, CALM, 750);
    see(&bench, -CALM, 750);
    print_message("held for a forecast: %.2f\n", bench.margin.factor);
    assert_true(bench.margin.factor > exp(FLOOD) * 1.2);
}

/* And a load that was never flooded is not held for. */
static void
test_calm_is_narrow(void **state_)
{
    struct bench bench;
    (void)state_;
    bench_init(&bench, FAR);
    for (unsigned i = 0; i < 4; i++) {
        see(&bench, CALM, 1000);
        see(&bench, -CALM, 1000);
    }
    print_message("held for a calm forecast: %.2f\n", bench.margin.factor);
    assert_true(bench.margin.factor < 1.6);
}

static void
test_a_new_voice_is_no_better_than_the_others(void **state_)
{
    struct bench old;
    struct policy__margin voice;
    (void)state_;
    bench_init(&old, FAR);
    see(&old, CALM, 1000);
    see(&old, FLOOD, FAR);
    policy__margin_init(&voice, POLICY__CALM);
    policy__margin_begin(&voice, &old.margin);
    assert_true(voice.factor >= old.margin.factor);
    assert_true(policy__margin_loss(&voice) >= policy__margin_loss(&old.margin));
    assert_false(policy__voice_counts(POLICY__VOICE_SEASON_PLUS, 100, &voice)); /* not yet */

    /* Some good words do not make it the cheapest: it has not been through a flood. */
    double before = policy__margin_loss(&voice);
    const struct policy__outcome outcome = {
        .log_error = CALM, .scale = policy__margin_scale(&voice), .price = PRICE, .ticks = FAR};
    for (unsigned i = 0; i < 70; i++)
        policy__margin_learn(&voice, &outcome, &old.member);
    assert_true(policy__voice_counts(POLICY__VOICE_SEASON_PLUS, 100, &voice));
    assert_true(policy__margin_loss(&voice) > before * 0.8);
}

/* Before anything is known. */
static void
test_far_is_less_certain_than_near(void **state_)
{
    struct bench near;
    struct bench far;
    (void)state_;
    bench_init(&near, NEAR);
    bench_init(&far, FAR);
    for (unsigned i = 0; i < 10; i++) {
        see(&near, i % 2 ? 0.05 : -0.05, 1);
        see(&far, i % 2 ? 0.05 : -0.05, 1);
    }
    print_message("held at first: %.2f near, %.2f far\n", near.margin.factor, far.margin.factor);
    assert_true(far.margin.factor > near.margin.factor * 1.2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_flood_is_not_forgotten),
        cmocka_unit_test(test_calm_is_narrow),
        cmocka_unit_test(test_a_new_voice_is_no_better_than_the_others),
        cmocka_unit_test(test_far_is_less_certain_than_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
