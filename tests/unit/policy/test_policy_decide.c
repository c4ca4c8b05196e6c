/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_decide.c - what must hold for every engine, whatever the load: played against the
 * model of a cluster, and among members of which one lies.
 */
#include "policy_case.h"

#include "base/fr_mem.h"
#include "policy/policy_model.h"

#include <math.h>

#define TICK_S 5.0
#define FLAPS 12.0

struct play {
    struct policy_settings settings;
    struct policy_state state;
    struct policy_model model;
    struct policy_decision decision;
    uint32_t have;
};

static struct play *
play_new(enum policy_kind kind, double startup_s)
{
    struct play *play = fr_xalloc(sizeof(*play));
    struct policy_model_settings settings = policy_model_settings_default;
    double first = 1000;

    settings.startup_s = startup_s;
    play->settings = (struct policy_settings){
        .kind = kind,
        .upper = kind == POLICY_THRESHOLD ? 0.75 : -1,
        .lower = kind == POLICY_THRESHOLD ? 0.45 : -1,
        .lower_for_us = 30 * SECOND,
        .cooldown_up_us = 2 * SECOND,
        .cooldown_down_us = 30 * SECOND,
        .step_max = 4,
        .min = 2,
        .max = settings.pool,
        .allocate = true,
        .flaps_per_hour = FLAPS,
    };
    play->state.forecast = fr_xalloc(policy_forecast_bytes());
    policy_forecast_init(play->state.forecast);
    policy_model_init(&play->model, &settings, &first, 1);
    return play;
}

static void
play_free(struct play *play)
{
    fr_free(play->state.forecast);
    fr_free(play);
}

static void
observe(struct play *play, struct policy_observation *out)
{
    const struct policy_model_view *view = policy_model_look(&play->model);

    policy_survey_equals(view->ready, view->starting, view->draining, view->utilization,
                         NOW + (int64_t)(view->at_s * 1e6), out);
    out->traffic = (struct policy_traffic){
        .is_known = true,
        .dt_s = TICK_S,
        .rate = view->rate,
        .slow = view->slow,
        .dropped = view->dropped,
        .queue = view->queue,
        .startup_s = view->last_startup_s,
        .drain_s = play->model.settings.drain_s,
    };
    play->have = view->ready + view->starting;
}

static void
decide(struct play *play, const struct policy_observation *seen)
{
    policy_tick(&play->settings, &play->state, seen, &play->decision);
    if (play->decision.verdict != POLICY_HOLD)
        play->state.changed_at_us = seen->now_us;
    if (play->decision.verdict == POLICY_ALLOCATE)
        play->state.grown_at_us = seen->now_us;
}

/* Decides, checks what always holds, and lets the tick happen. */
static void
play_tick(struct play *play, double rate)
{
    struct policy_observation seen;
    observe(play, &seen);
    decide(play, &seen);
    assert_in_range(play->decision.desired, play->settings.min, play->settings.max);
    if (play->decision.desired < play->have && seen.traffic.is_known) /* never over the brim */
        assert_true(seen.traffic.rate <= 100.0 * play->decision.desired);
    policy_model_step(&play->model, play->decision.desired, rate);
}

static const enum policy_kind kinds[] = {POLICY_FORECAST, POLICY_TARGET, POLICY_THRESHOLD};

/* ---- no flapping under any periodic load ---------------------------------------------------- */

static double
wave(unsigned shape, double phase)
{
    switch (shape) {
    case 0: return phase < 0.5 ? 3000 : 300;            /* square */
    case 1: return 1600 + 1400 * sin(phase * 6.283185); /* sine */
    case 2: return 300 + 2700 * phase;                  /* saw */
    default: return phase < 0.05 ? 3200 : 400;          /* spikes */
    }
}

static void
test_no_flapping(void **state)
{
    static const double periods_s[] = {10, 25, 60, 150, 420, 900, 2700, 10800};
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        for (unsigned shape = 0; shape < 4; shape++)
            for (size_t p = 0; p < sizeof(periods_s) / sizeof(periods_s[0]); p++) {
                struct play *play = play_new(kinds[k], 30);
                double hours = 3;
                unsigned pairs = 0;
                bool has_grown = false;
                for (double t = 0; t < hours * 3600; t += TICK_S) {
                    play_tick(play, wave(shape, fmod(t, periods_s[p]) / periods_s[p]));
                    bool is_release = play->decision.verdict == POLICY_DEALLOCATE;
                    pairs += has_grown && is_release;
                    has_grown = play->decision.verdict == POLICY_ALLOCATE ||
                                (has_grown && !is_release);
                }
                if (pairs > FLAPS * (hours + 1) ||
                    (double)play->model.totals.reversals > 2 * FLAPS * (hours + 1))
                    fail_msg("%s, shape %u, period %.0f s: %u pairs, %u reversals",
                             policy_kind_name(kinds[k]), shape, periods_s[p], pairs,
                             (unsigned)play->model.totals.reversals);
                play_free(play);
            }
}

static void
test_a_constant_load_comes_to_rest(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct play *play = play_new(kinds[k], 30);
        unsigned changes = 0;
        for (unsigned i = 0; i < 4000; i++) {
            play_tick(play, 2000);
            changes += i >= 2000 && play->decision.verdict != POLICY_HOLD;
        }
        if (changes > 12) /* in three hours */
            fail_msg("%s: %u changes", policy_kind_name(kinds[k]), changes);
        assert_in_range(play->decision.desired, 20, 40);
        play_free(play);
    }
}

/* ---- more load never means fewer members ---------------------------------------------------- */

static void
test_monotonic_in_load(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        uint32_t before = 0;
        for (double rate = 100; rate < 5000; rate *= 1.25) {
            struct play *play = play_new(kinds[k], 30);
            for (unsigned i = 0; i < 1500; i++)
                play_tick(play, rate);
            if (play->decision.desired + 1 < before) /* chance moves one by a member */
                fail_msg("%s: %.0f requests/s want %u members, less load wanted %u",
                         policy_kind_name(kinds[k]), rate, play->decision.desired, before);
            before = play->decision.desired;
            play_free(play);
        }
    }
}

/* ---- nonsense never shrinks ----------------------------------------------------------------- */

enum trouble {
    NAN_RATE, NEGATIVE_RATE, HUGE_RATE, NEGATIVE_QUEUE, CLOCK_FORWARD, CLOCK_BACK, COUNTER_RESET,
    LIAR, HALF_SILENT, ALL_SILENT, NAN_DRAIN, ZERO_TICK, TROUBLES
};

static void
cause(enum trouble trouble, struct policy_observation *seen)
{
    switch (trouble) {
    case NAN_RATE: seen->traffic.rate = (double)NAN; break;
    case NEGATIVE_RATE: seen->traffic.rate = -1; break;
    case HUGE_RATE: seen->traffic.rate = 1e300; break;
    case NEGATIVE_QUEUE: seen->traffic.queue = -1e9; break;
    case CLOCK_FORWARD: seen->now_us += 7200 * SECOND; break;
    case CLOCK_BACK: seen->now_us -= 7200 * SECOND; break;
    case COUNTER_RESET: seen->traffic.rate = 0; break;
    case LIAR: seen->traffic.rate *= 1000; break;
    case HALF_SILENT:
        seen->stale = seen->ready / 2;
        seen->usable -= seen->stale;
        seen->traffic.rate /= 2;
        break;
    case ALL_SILENT:
        seen->stale = seen->ready;
        seen->usable = 0;
        seen->mean = seen->highest = (double)NAN;
        seen->traffic.rate = 0;
        break;
    case NAN_DRAIN: seen->traffic.drain_s = (double)NAN; break;
    case ZERO_TICK: seen->traffic.dt_s = 0; break;
    case TROUBLES: break;
    }
}

static void
test_nonsense_never_shrinks(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        for (enum trouble trouble = 0; trouble < TROUBLES; trouble++) {
            struct play *play = play_new(kinds[k], 30);
            struct policy_observation seen;
            for (unsigned i = 0; i < 500; i++)
                play_tick(play, 2000);
            for (unsigned i = 0; i < (trouble == HALF_SILENT ? 300 : 3); i++) {
                observe(play, &seen);
                cause(trouble, &seen);
                decide(play, &seen);
                if (play->decision.desired < play->have)
                    fail_msg("%s shrinks in trouble %d: %u to %u", policy_kind_name(kinds[k]),
                             (int)trouble, play->have, play->decision.desired);
                assert_true(play->decision.desired <= play->settings.max);
                policy_model_step(&play->model, play->decision.desired, 2000);
            }
            for (unsigned i = 0; i < 500; i++) /* and it recovers */
                play_tick(play, 2000);
            assert_true(play->model.view.slow < 0.05);
            play_free(play);
        }
}

#define LIARS 5

static void
lie(unsigned which, struct policy_member *member)
{
    static const double words[LIARS] = {NAN, -3, INFINITY, 1e300, 0};
    member->utilization = words[which];
    member->in_flight = 5;
}

/* One of six says what cannot be, for longer than any window or wait; the others work. */
static void
test_a_liar_among_the_members_never_shrinks(void **state)
{
    static const char *const ids[] = {"a", "b", "c", "d", "e", "f"};
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        for (unsigned which = 0; which < LIARS; which++) {
            struct play *play = play_new(kinds[k], 30);
            struct policy_member members[6];
            struct policy_decision decisions[20];
            for (unsigned i = 0; i < 400; i++) {
                /* Six at half their capacity is what the load needs. */
                struct policy_traffic traffic = {.is_known = true, .dt_s = TICK_S, .rate = 420,
                                                 .slow = 0.004, .startup_s = 30, .drain_s = 30};
                for (size_t m = 0; m < 6; m++) {
                    members[m] = policy_case_member(ids[m], 0.7);
                    members[m].in_flight = 5;
                }
                play->settings.upper = kinds[k] == POLICY_THRESHOLD ? 0.95 : -1;
                play->settings.lower = kinds[k] == POLICY_THRESHOLD ? 0.65 : -1;
                play->settings.max = 6;
                if (i >= 150)
                    lie(which, &members[2]);
                size_t made = policy_decide(&play->settings, &play->state, members, 6, &traffic,
                                            NOW + i * 5 * SECOND, decisions, 20);
                for (size_t d = 0; d < made; d++)
                    if (i >= 150 && decisions[d].verdict == POLICY_DEALLOCATE)
                        fail_msg("%s gives %s back on lie %u", policy_kind_name(kinds[k]),
                                 decisions[d].member, which);
            }
            play_free(play);
        }
}

/* What had nearly lasted long enough before the clock jumped, or nobody looked, begins anew. */
static void
test_a_jump_of_the_clock_gives_nothing_back(void **state)
{
    static const int64_t jumps[] = {7200 * SECOND, -7200 * SECOND, 90 * SECOND, -SECOND};
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        for (size_t j = 0; j < sizeof(jumps) / sizeof(jumps[0]); j++) {
            struct play *play = play_new(kinds[k], 30);
            struct policy_observation seen;
            unsigned looks = 0;
            for (unsigned i = 0; i < 500; i++)
                play_tick(play, 2000);
            for (unsigned i = 0; i < 4; i++) /* the ebb has begun */
                play_tick(play, 600);
            for (; looks < 300; looks++) {
                observe(play, &seen);
                seen.now_us += jumps[j];
                decide(play, &seen);
                if (looks < 4)
                    assert_true(play->decision.desired >= play->have);
                else if (play->decision.verdict == POLICY_DEALLOCATE)
                    break;
                policy_model_step(&play->model, play->decision.desired, 600);
            }
            if (looks == 300)
                fail_msg("%s never gives back after a jump", policy_kind_name(kinds[k]));
            play_free(play);
        }
}

/* A cooldown that began before the clock went back two hours is not waited for that long. */
static void
test_a_clock_that_went_back_does_not_keep_growth(void **state)
{
    (void)state;
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct play *play = play_new(kinds[k], 30);
        struct policy_observation seen;
        for (unsigned i = 0; i < 500; i++)
            play_tick(play, 2000);
        play->state.grown_at_us = play->state.changed_at_us = NOW + 2500 * SECOND;
        play->state.grow_failed = true;
        uint32_t before = play->have;
        for (unsigned i = 0; i < 6; i++) {
            observe(play, &seen);
            seen.now_us -= 7200 * SECOND;
            decide(play, &seen);
            policy_model_step(&play->model, play->decision.desired, 4000);
        }
        if (play->decision.desired <= before)
            fail_msg("%s does not grow after the clock went back", policy_kind_name(kinds[k]));
        play_free(play);
    }
}

/* ---- a removal never crosses the upper level ------------------------------------------------ */

static void
test_no_removal_crosses_upper(void **state)
{
    struct fr_rand rand;
    unsigned removals[POLICY_KIND_COUNT] = {0};
    (void)state;
    fr_rand_init(&rand, 11);
    print_message("seed 11\n");
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        for (double upper = 0.3; upper < 1; upper += 0.15) {
            struct play *play = play_new(kinds[k], 30);
            play->settings.upper = upper;
            play->settings.lower = upper * 0.6;
            play->settings.target = 0.95; /* beyond upper: what a person may have written */
            play->settings.flaps_per_hour = 0;
            double rate = 2000;
            for (unsigned i = 0; i < 4000; i++) {
                struct policy_observation seen;
                if (i % 150 == 0)
                    rate = 200 + 2500 * fr_rand_unit(&rand);
                observe(play, &seen);
                decide(play, &seen);
                uint32_t left = play->decision.desired - seen.starting;
                if (play->decision.verdict == POLICY_DEALLOCATE) {
                    removals[kinds[k]]++;
                    if (seen.sum / left >= upper)
                        fail_msg("%s: %.2f after a removal, upper level %.2f",
                                 policy_kind_name(kinds[k]), seen.sum / left, upper);
                }
                policy_model_step(&play->model, play->decision.desired, rate);
            }
            play_free(play);
        }
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++)
        if (removals[kinds[k]] < 5)
            fail_msg("%s: only %u removals", policy_kind_name(kinds[k]), removals[kinds[k]]);
}

static void
test_whatever_is_observed(void **state)
{
    struct fr_rand rand;
    (void)state;
    fr_rand_init(&rand, 7);
    print_message("seed 7\n");
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        struct play *play = play_new(kinds[k], 30);
        for (unsigned i = 0; i < 20000; i++) {
            static const double odd[] = {0, 1, -1, 1e-300, 1e300, 50, 3000, 0.5};
            struct policy_observation seen;
            uint32_t ready = (uint32_t)fr_rand_below(&rand, 100);
            policy_survey_equals(ready, (uint32_t)fr_rand_below(&rand, 5), 0,
                                 odd[fr_rand_below(&rand, 8)],
                                 NOW + (int64_t)fr_rand_below(&rand, 1000000000), &seen);
            seen.traffic = (struct policy_traffic){
                .is_known = fr_rand_below(&rand, 4) > 0,
                .dt_s = fr_rand_below(&rand, 9) ? TICK_S : odd[fr_rand_below(&rand, 8)],
                .rate = odd[fr_rand_below(&rand, 8)],
                .slow = fr_rand_below(&rand, 3) ? odd[fr_rand_below(&rand, 8)] : (double)NAN,
                .queue = odd[fr_rand_below(&rand, 8)],
                .startup_s = odd[fr_rand_below(&rand, 8)],
                .drain_s = odd[fr_rand_below(&rand, 8)],
            };
            policy_tick(&play->settings, &play->state, &seen, &play->decision);
            uint32_t have = ready + seen.starting;
            if (play->decision.desired > have)
                assert_true(play->decision.desired <= play->settings.max);
            if (play->decision.desired < have)
                assert_true(play->decision.desired >= play->settings.min);
        }
        play_free(play);
    }
}

/* ---- limits --------------------------------------------------------------------------------- */

static void
test_spare(void **state)
{
    struct policy_settings settings = {
        .kind = POLICY_TARGET, .upper = -1, .lower = -1, .min = 1, .max = 50, .allocate = true};
    struct policy_observation seen;
    struct policy_decision decision;
    (void)state;
    for (uint32_t spare = 0; spare < 4; spare++) {
        struct policy_state fresh = {0};
        settings.spare = spare;
        policy_survey_equals(7, 0, 0, 1.0, NOW, &seen);
        policy_tick(&settings, &fresh, &seen, &decision);
        assert_int_equal(decision.desired, 10 + spare);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_flapping),
        cmocka_unit_test(test_a_constant_load_comes_to_rest),
        cmocka_unit_test(test_monotonic_in_load),
        cmocka_unit_test(test_nonsense_never_shrinks),
        cmocka_unit_test(test_a_liar_among_the_members_never_shrinks),
        cmocka_unit_test(test_a_jump_of_the_clock_gives_nothing_back),
        cmocka_unit_test(test_a_clock_that_went_back_does_not_keep_growth),
        cmocka_unit_test(test_no_removal_crosses_upper),
        cmocka_unit_test(test_whatever_is_observed),
        cmocka_unit_test(test_spare),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
