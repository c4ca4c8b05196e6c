/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_guard.c - the budget of start/stop pairs and the limit of changes a minute, over
 * every engine.
 */
#include "policy_case.h"

#include <string.h>

/* Engines that want `more` members, or fewer: the same numbers for all. */
static struct policy_settings
settings_of(enum policy_kind kind)
{
    struct policy_settings settings = policy_case_settings();
    settings.kind = kind;
    settings.target = 0.5;
    settings.max = 100;
    settings.step_max = 100;
    settings.cooldown_up_us = settings.cooldown_down_us = 0;
    settings.lower_for_us = 0;
    return settings;
}

static const enum policy_kind kinds[] = {POLICY_THRESHOLD, POLICY_TARGET};
#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

static struct policy_decision
look(const struct policy_settings *settings, struct policy_state *state, uint32_t members,
     double utilization, int64_t now_us)
{
    struct policy_observation seen;
    struct policy_decision decision;
    policy_survey_equals(members, 0, 0, utilization, now_us, &seen);
    policy_tick(settings, state, &seen, &decision);
    return decision;
}

static void
test_changes_a_minute(void **state_)
{
    (void)state_;
    for (size_t k = 0; k < KINDS; k++) {
        struct policy_settings settings = settings_of(kinds[k]);
        struct policy_state state = {0};
        char words[POLICY_SENTENCE_BYTES];
        settings.changes_per_minute = 2;
        struct policy_decision decision = look(&settings, &state, 7, 1.0, NOW);
        assert_int_equal(decision.verdict, POLICY_ALLOCATE);
        assert_int_equal(decision.count, 2);
        assert_true(decision.held_back > 0);
        policy_sentence(&settings, &decision, words, sizeof(words));
        if (!strstr(words, "more held back: no more than 2 may change in a minute"))
            fail_msg("\"%s\" does not say what was held back", words);

        decision = look(&settings, &state, 9, 1.0, NOW + SECOND);
        assert_int_equal(decision.verdict, POLICY_HOLD);
        assert_int_equal(decision.rule, POLICY_RULE_CHANGE_LIMIT);
        assert_in_range(decision.wait_us, 28 * SECOND, 30 * SECOND);
        policy_sentence(&settings, &decision, words, sizeof(words));
        if (!strstr(words, "no more than 2 may change in a minute"))
            fail_msg("\"%s\" does not name the limit", words);

        decision = look(&settings, &state, 9, 1.0, NOW + 31 * SECOND);
        assert_int_equal(decision.verdict, POLICY_ALLOCATE);
        assert_int_equal(decision.count, 1);
    }
}

/* The floor, and requests that wait for a first member, are not kept waiting by a limit. */
static void
test_the_minimum_is_not_limited(void **state_)
{
    (void)state_;
    for (size_t k = 0; k < KINDS; k++) {
        struct policy_settings settings = settings_of(kinds[k]);
        struct policy_state state = {0};
        settings.changes_per_minute = 1;
        settings.min = 6;
        struct policy_decision decision = look(&settings, &state, 2, 0.1, NOW);
        assert_int_equal(decision.rule, POLICY_RULE_BELOW_MIN);
        assert_int_equal(decision.count, 4);
        assert_int_equal(decision.held_back, 0);

        /* They count, though: no change is left for this minute. */
        decision = look(&settings, &state, 6, 1.0, NOW + SECOND);
        assert_int_equal(decision.rule, POLICY_RULE_CHANGE_LIMIT);

        struct policy_state empty = {0};
        settings.min = 0;
        settings.demand = true;
        settings.changes_per_minute = 0.001;
        (void)look(&settings, &empty, 3, 1.0, NOW); /* uses it up */
        decision = look(&settings, &empty, 0, (double)NAN, NOW + SECOND);
        assert_int_equal(decision.rule, POLICY_RULE_WAKE);
    }
}

/* Up and down every two minutes for an hour; returns the pairs that were carried out. */
static unsigned
swing(const struct policy_settings *settings, struct policy_state *state, unsigned *out_held)
{
    uint32_t members = 4;
    unsigned pairs = 0;
    bool has_grown = false;
    for (unsigned second = 0; second < 3600; second++) {
        double load = second % 120 < 60 ? 7 : 0.5;
        struct policy_decision decision =
            look(settings, state, members, load / members, NOW + second * SECOND);
        *out_held += decision.rule == POLICY_RULE_FLAP_BUDGET;
        if (decision.verdict == POLICY_ALLOCATE)
            has_grown = true;
        if (decision.verdict == POLICY_DEALLOCATE) {
            pairs += has_grown;
            has_grown = false;
        }
        members = decision.desired;
    }
    return pairs;
}

static void
test_a_swing_is_held_to_the_budget(void **state_)
{
    struct policy_settings settings = settings_of(POLICY_THRESHOLD);
    struct policy_state free_state = {0};
    struct policy_state state = {0};
    unsigned held = 0;
    (void)state_;
    assert_in_range(swing(&settings, &free_state, &held), 29, 31);
    assert_int_equal(held, 0);
    settings.flaps_per_hour = 6;
    unsigned pairs = swing(&settings, &state, &held);
    assert_in_range(pairs, 4, 11); /* the burst, and what the hour refilled */
    assert_true(held > 0);
}

/* A long ebb gives back one after the other; that is no flapping, however long it takes. */
static void
test_an_ebb_costs_one_pair(void **state_)
{
    struct policy_settings settings = settings_of(POLICY_THRESHOLD);
    struct policy_state state = {0};
    uint32_t members = 4;
    (void)state_;
    settings.flaps_per_hour = 1;
    members = look(&settings, &state, members, 8, NOW).desired;
    assert_true(members > 40);
    for (unsigned second = 1; second < 100 && members > 1; second++) {
        struct policy_decision decision =
            look(&settings, &state, members, 0.01, NOW + second * SECOND);
        assert_int_equal(decision.verdict, POLICY_DEALLOCATE);
        members = decision.desired;
    }
    assert_int_equal(members, 1);
    /* The next one has to wait for the hour, and says how long. */
    members = look(&settings, &state, members, 8, NOW + 100 * SECOND).desired;
    struct policy_decision decision = look(&settings, &state, members, 0.01, NOW + 101 * SECOND);
    char words[POLICY_SENTENCE_BYTES];
    assert_int_equal(decision.rule, POLICY_RULE_FLAP_BUDGET);
    assert_in_range(decision.wait_us, 3400 * SECOND, 3600 * SECOND);
    policy_sentence(&settings, &decision, words, sizeof(words));
    if (!strstr(words, "budget of 1 start/stop pair"))
        fail_msg("\"%s\" does not name the budget", words);
}

/* A burst of one is not spent by halves: an hour's budget of one is one pair an hour. */
static void
test_a_small_budget_is_not_overdrawn(void **state_)
{
    struct policy_settings settings = settings_of(POLICY_THRESHOLD);
    (void)state_;
    for (unsigned flaps = 1; flaps <= 2; flaps++) {
        struct policy_state state = {0};
        unsigned pairs = 0;
        bool has_grown = false;
        settings.flaps_per_hour = flaps;
        uint32_t members = 4;
        for (unsigned minute = 0; minute < 600; minute++) {
            double load = minute % 2 ? 0.5 : 7;
            struct policy_decision decision =
                look(&settings, &state, members, load / members, NOW + minute * 60 * SECOND);
            pairs += decision.verdict == POLICY_DEALLOCATE && has_grown;
            if (decision.verdict != POLICY_HOLD)
                has_grown = decision.verdict == POLICY_ALLOCATE;
            assert_true(state.guard.flaps_left >= 0);
            members = decision.desired;
        }
        assert_in_range(pairs, 9 * flaps, 10 * flaps + 2); /* of ten hours */
    }
}

/* What others took is no flapping of the giver: its budget is whole when it needs it, and the
 * members it started still make the release that follows a pair. */
static void
test_what_is_taken_costs_no_pair(void **state_)
{
    struct policy_settings settings = settings_of(POLICY_THRESHOLD);
    struct policy_state state = {0};
    struct policy_decision out[4];
    const struct policy_claim claim = {.taker = "api", .priority = 4, .count = 1};
    struct policy_member members[] = {policy_case_member("a", 0.5), policy_case_member("b", 0.5),
                                      policy_case_member("c", 0.5), policy_case_member("d", 0.5)};
    (void)state_;
    settings.flaps_per_hour = 2;
    for (int i = 0; i < 10; i++) {
        int64_t now_us = NOW + i * 10 * SECOND;
        assert_int_equal(look(&settings, &state, 4, 1.0, now_us).verdict, POLICY_ALLOCATE);
        assert_int_equal(
            policy_give(&settings, &state, members, 4, &claim, now_us + SECOND, out, 4), 1);
    }
    double whole = state.guard.flaps_left;
    assert_true(whole > 1.6); /* as at first */
    assert_int_equal(look(&settings, &state, 9, 0.01, NOW + 101 * SECOND).verdict,
                     POLICY_DEALLOCATE);
    assert_true(state.guard.flaps_left < whole - 0.9);
}

static void
test_a_clock_that_goes_back_refills_nothing(void **state_)
{
    struct policy_settings settings = settings_of(POLICY_TARGET);
    struct policy_state state = {0};
    (void)state_;
    settings.changes_per_minute = 2;
    (void)look(&settings, &state, 7, 1.0, NOW);
    for (int i = 1; i < 5; i++) {
        struct policy_decision decision = look(&settings, &state, 9, 1.0, NOW - i * 600 * SECOND);
        assert_int_equal(decision.rule, POLICY_RULE_CHANGE_LIMIT);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_changes_a_minute),
        cmocka_unit_test(test_the_minimum_is_not_limited),
        cmocka_unit_test(test_a_swing_is_held_to_the_budget),
        cmocka_unit_test(test_an_ebb_costs_one_pair),
        cmocka_unit_test(test_a_small_budget_is_not_overdrawn),
        cmocka_unit_test(test_what_is_taken_costs_no_pair),
        cmocka_unit_test(test_a_clock_that_goes_back_refills_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
