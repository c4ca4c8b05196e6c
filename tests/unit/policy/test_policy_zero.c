/* SPDX-License-Identifier: Apache-2.0 */
/* test_policy_zero.c - to no member when nobody uses any, back with the first request, not else. */
#include "policy_case.h"

#define IDLE (300 * SECOND)

static struct policy_settings
zero_settings(void)
{
    struct policy_settings settings = policy_case_settings();
    settings.min = 0;
    settings.idle_us = IDLE;
    return settings;
}

static void
test_demand_wakes(void **state_)
{
    struct policy_settings settings = zero_settings();
    struct policy_state state = {0};
    (void)state_;
    struct policy_decision decision = policy_case_one(&settings, &state, NULL, 0, NOW);
    assert_int_equal(decision.verdict, POLICY_HOLD);
    assert_int_equal(decision.rule, POLICY_RULE_ASLEEP);
    settings.demand = true;
    decision = policy_case_one(&settings, &state, NULL, 0, NOW);
    assert_int_equal(decision.verdict, POLICY_ALLOCATE);
    assert_int_equal(decision.rule, POLICY_RULE_WAKE);
    assert_int_equal(decision.count, 1);
}

static void
test_one_is_enough_and_one_answer_is_waited_for(void **state_)
{
    struct policy_settings settings = zero_settings();
    struct policy_state state = {.pending_up = 1};
    struct policy_member starting = policy_case_member("a", NAN);
    (void)state_;
    settings.demand = true;
    assert_int_equal(policy_case_one(&settings, &state, NULL, 0, NOW).verdict, POLICY_HOLD);
    state.pending_up = 0;
    starting.healthy = false;
    starting.starting = true;
    assert_int_equal(policy_case_one(&settings, &state, &starting, 1, NOW).verdict, POLICY_HOLD);
    /* One that drains serves nobody who comes now. */
    starting.starting = false;
    starting.draining = true;
    assert_int_equal(policy_case_one(&settings, &state, &starting, 1, NOW).rule, POLICY_RULE_WAKE);
}

static void
test_what_keeps_it_asleep(void **state_)
{
    struct policy_settings settings = zero_settings();
    struct policy_state state = {.grow_failed = true, .grown_at_us = NOW - SECOND};
    (void)state_;
    settings.demand = true;
    struct policy_decision decision = policy_case_one(&settings, &state, NULL, 0, NOW);
    assert_int_equal(decision.rule, POLICY_RULE_UPPER_COOLDOWN);
    assert_int_equal(decision.wait_us, SECOND);
    assert_int_equal(policy_case_one(&settings, &state, NULL, 0, NOW + SECOND).rule,
                     POLICY_RULE_WAKE);
    settings.available_known = true;
    assert_int_equal(policy_case_one(&settings, &state, NULL, 0, NOW).rule, POLICY_RULE_POOL_EMPTY);
    settings.available = 1;
    settings.allocate = false;
    assert_int_equal(policy_case_one(&settings, &state, NULL, 0, NOW).rule,
                     POLICY_RULE_UPPER_NO_POOL);
}

static void
test_idle_gives_all_back(void **state_)
{
    struct policy_settings settings = zero_settings();
    struct policy_state state = {0};
    struct policy_decision decisions[20];
    /* Whether their utilization is known does not matter; where they come from does. */
    struct policy_member members[] = {policy_case_member("a", 0), policy_case_member("b", NAN),
                                      policy_case_member("own", 0)};
    (void)state_;
    members[2].allocated = false;
    settings.idle_for_us = IDLE - 1;
    assert_int_equal(policy_case_one(&settings, &state, members, 3, NOW).verdict, POLICY_HOLD);
    settings.idle_for_us = IDLE;
    size_t made = policy_decide(&settings, &state, members, 3, NULL, NOW, decisions, 20);
    assert_int_equal(made, 2);
    assert_string_equal(decisions[0].member, "a");
    assert_string_equal(decisions[1].member, "b");
    for (size_t i = 0; i < made; i++) {
        assert_int_equal(decisions[i].verdict, POLICY_DEALLOCATE);
        assert_int_equal(decisions[i].rule, POLICY_RULE_IDLE);
    }
}

static size_t
idle_releases(struct policy_state *state, double changes, size_t members_count, int64_t now_us)
{
    struct policy_settings settings = zero_settings();
    struct policy_decision decisions[40];
    struct policy_member members[30];
    char ids[30][24];
    settings.idle_for_us = IDLE;
    settings.changes_per_minute = changes;
    for (size_t i = 0; i < members_count; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "m%zu", i);
        members[i] = policy_case_member(ids[i], 0);
    }
    size_t made =
        policy_decide(&settings, state, members, members_count, NULL, now_us, decisions, 40);
    return decisions[0].verdict == POLICY_DEALLOCATE ? made : 0;
}

/* As many leave as the limit of changes allows, and as many are charged as leave. */
static void
test_idle_keeps_to_the_limit_of_changes(void **state_)
{
    struct policy_state state = {0};
    struct policy_state many = {0};
    (void)state_;
    assert_int_equal(idle_releases(&state, 2, 5, NOW), 2);
    assert_int_equal(idle_releases(&state, 2, 3, NOW + SECOND), 0);
    assert_int_equal(idle_releases(&state, 2, 3, NOW + 61 * SECOND), 2);
    assert_int_equal(idle_releases(&many, 12, 20, NOW), POLICY_RELEASES_MAX);
    assert_int_equal(idle_releases(&many, 12, 12, NOW + 1000), 12 - POLICY_RELEASES_MAX);
}

static void
test_what_keeps_it_awake(void **state_)
{
    (void)state_;
    for (int i = 0; i < 6; i++) {
        struct policy_settings settings = zero_settings();
        struct policy_state state = {0};
        struct policy_member members[] = {policy_case_member("a", 0), policy_case_member("b", 0)};
        settings.idle_for_us = 10 * IDLE;
        settings.demand = i == 0;
        settings.min = i == 1;
        state.pending_up = i == 2;
        state.pending_down = i == 3;
        members[1].starting = i == 4;
        members[1].draining = i == 5;
        struct policy_decision decision = policy_case_one(&settings, &state, members, 2, NOW);
        if (decision.rule == POLICY_RULE_IDLE)
            fail_msg("case %d", i);
    }
}

/* Little load is not none: whatever the engine, the last one stays until nobody is there. */
static void
test_engines_keep_the_last_one(void **state_)
{
    struct fr_rand rand;
    (void)state_;
    fr_rand_init(&rand, 20260107);
    for (int kind = 0; kind < POLICY_KIND_COUNT; kind++) {
        struct policy_settings settings = zero_settings();
        struct policy_state state = {0};
        struct policy_decision decisions[20];
        if (kind == POLICY_FORECAST) {
            state.forecast = malloc(policy_forecast_bytes());
            policy_forecast_init(state.forecast);
        }
        settings.kind = (enum policy_kind)kind;
        settings.target = 0.7;
        for (int i = 0; i < 2000; i++) {
            struct policy_member member = policy_case_member("a", fr_rand_unit(&rand) * 0.01);
            struct policy_traffic traffic = {
                .is_known = true, .dt_s = 5, .rate = fr_rand_unit(&rand), .startup_s = 5};
            settings.idle_for_us = fr_rand_below(&rand, IDLE);
            size_t made = policy_decide(&settings, &state, &member, 1, &traffic,
                                        NOW + i * 5 * SECOND, decisions, 20);
            for (size_t k = 0; k < made; k++)
                if (decisions[k].verdict == POLICY_DEALLOCATE)
                    fail_msg("%s gave back the last one", policy_kind_name(settings.kind));
        }
        free(state.forecast);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_demand_wakes),
        cmocka_unit_test(test_one_is_enough_and_one_answer_is_waited_for),
        cmocka_unit_test(test_what_keeps_it_asleep),
        cmocka_unit_test(test_idle_gives_all_back),
        cmocka_unit_test(test_idle_keeps_to_the_limit_of_changes),
        cmocka_unit_test(test_what_keeps_it_awake),
        cmocka_unit_test(test_engines_keep_the_last_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
