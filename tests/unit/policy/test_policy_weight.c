/* SPDX-License-Identifier: Apache-2.0 */
/* test_policy_weight.c - shifting load away from a member at its level, and back. */
#include "policy_case.h"

static struct policy_settings
weights_only(void)
{
    struct policy_settings settings = policy_case_settings();
    settings.relieve_by_weight = true;
    settings.allocate = false;
    settings.single = true;
    return settings;
}

static size_t
decide(const struct policy_settings *settings, const struct policy_member *members, size_t count,
       struct policy_decision *out, size_t max)
{
    struct policy_state state = {0};
    return policy_decide(settings, &state, members, count, NULL, NOW, out, max);
}

static void
test_load_is_shifted_away(void **state_)
{
    struct policy_settings settings = weights_only();
    struct policy_decision out[4];
    struct policy_member members[] = {policy_case_member("hot", 0.9), policy_case_member("b", 0.45),
                                      policy_case_member("c", 0.45)};
    (void)state_;
    assert_int_equal(decide(&settings, members, 3, out, 4), 1);
    assert_int_equal(out[0].verdict, POLICY_WEIGHT);
    assert_int_equal(out[0].rule, POLICY_RULE_RELIEVE_WEIGHT);
    assert_string_equal(out[0].member, "hot");
    assert_int_equal(out[0].weight, 50);
    members[1].utilization = members[2].utilization = 0;
    assert_int_equal(decide(&settings, members, 3, out, 4), 1);
    assert_int_equal(out[0].weight, 10); /* the floor */
    members[0].weight = 10;
    assert_int_equal(decide(&settings, members, 3, out, 4), 1);
    assert_int_equal(out[0].verdict, POLICY_HOLD);
}

static void
test_no_use_in_shifting(void **state_)
{
    struct policy_settings settings = weights_only();
    struct policy_decision out[4];
    struct policy_member members[] = {policy_case_member("a", 0.9), policy_case_member("b", 0.79)};
    (void)state_;
    /* All are busy: within 15 %. */
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_UPPER_NO_POOL);
    /* The others are at the level too. */
    members[0].utilization = 2;
    members[1].utilization = 0.85;
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_UPPER_NO_POOL);
    /* There are no others, or none that can be trusted. */
    assert_int_equal(decide(&settings, members, 1, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_UPPER_NO_POOL);
    members[1].utilization = 0.1;
    members[1].stale = true;
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_UPPER_NO_POOL);
    /* Its weight is nobody's business. */
    members[1].stale = false;
    members[0].weight = 0;
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_UPPER_NO_POOL);
    members[0].weight = 100;
    settings.relieve_by_weight = false;
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_UPPER_NO_POOL);
}

static void
test_not_before_the_level_has_lasted(void **state_)
{
    struct policy_settings settings = weights_only();
    struct policy_decision out[4];
    struct policy_state state = {0};
    struct policy_member members[] = {policy_case_member("a", 0.9), policy_case_member("b", 0.2)};
    (void)state_;
    settings.upper_for_us = SECOND;
    assert_int_equal(policy_decide(&settings, &state, members, 2, NULL, NOW, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_UPPER_WAIT);
    assert_int_equal(policy_decide(&settings, &state, members, 2, NULL, NOW + SECOND, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_RELIEVE_WEIGHT);
}

static void
test_weight_and_allocation_together(void **state_)
{
    struct policy_settings settings = weights_only();
    struct policy_decision out[4];
    struct policy_member members[] = {policy_case_member("a", 0.95), policy_case_member("b", 0.5)};
    (void)state_;
    settings.single = false;
    settings.allocate = true;
    assert_int_equal(decide(&settings, members, 2, out, 4), 2);
    assert_int_equal(out[0].verdict, POLICY_WEIGHT);
    assert_int_equal(out[1].verdict, POLICY_ALLOCATE);
    assert_int_equal(decide(&settings, members, 2, out, 1), 1); /* the members come first */
    assert_int_equal(out[0].verdict, POLICY_ALLOCATE);
}

static void
test_weight_is_given_back(void **state_)
{
    struct policy_settings settings = weights_only();
    struct policy_decision out[4];
    struct policy_member members[] = {policy_case_member("a", 0.35), policy_case_member("b", 0.5)};
    static const uint32_t steps[] = {15, 20, 25, 32, 40, 50, 63, 79, 100};
    (void)state_;
    members[0].weight = 10;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        assert_int_equal(decide(&settings, members, 2, out, 4), 1);
        assert_int_equal(out[0].rule, POLICY_RULE_RESTORE_WEIGHT);
        assert_string_equal(out[0].member, "a");
        assert_int_equal(out[0].weight, steps[i]);
        members[0].weight = out[0].weight;
    }
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_WITHIN);
}

/* Relieved to a trickle, a member may get no request at all, and then has no number. */
static void
test_a_member_that_fell_silent_comes_back(void **state_)
{
    struct policy_settings settings = weights_only();
    struct policy_decision out[4];
    struct policy_member members[] = {policy_case_member("a", NAN), policy_case_member("b", 0.5)};
    (void)state_;
    members[0].weight = 10;
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_RESTORE_WEIGHT);
    members[0].in_flight = 1; /* it has something to do: wait for what it says */
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].verdict, POLICY_HOLD);
    members[0].in_flight = 0;
    members[0].stale = true; /* nobody speaks for it: nothing is known */
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].verdict, POLICY_HOLD);
}

static void
test_not_while_it_would_reach_the_level_again(void **state_)
{
    struct policy_settings settings = weights_only();
    struct policy_decision out[4];
    struct policy_member members[] = {policy_case_member("a", 0.7), policy_case_member("b", 0.7)};
    (void)state_;
    members[0].weight = 50; /* as busy as the others, but 0.7 · 1.25 is above 0.8 */
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].verdict, POLICY_HOLD);
    members[0].utilization = members[1].utilization = 0.62;
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].rule, POLICY_RULE_RESTORE_WEIGHT);
    members[0].utilization = 0.6; /* neither cool nor as busy as the others */
    members[1].utilization = 0.75;
    assert_int_equal(decide(&settings, members, 2, out, 4), 1);
    assert_int_equal(out[0].verdict, POLICY_HOLD);
}

static void
test_a_call_has_its_bound(void **state_)
{
    struct policy_settings settings = weights_only();
    struct policy_decision out[64];
    struct policy_member members[40];
    static char ids[40][8];
    (void)state_;
    for (int i = 0; i < 40; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "m%d", i);
        members[i] = policy_case_member(ids[i], 0.1);
        members[i].weight = 20;
    }
    settings.lower = -1;
    assert_int_equal(decide(&settings, members, 40, out, 64), POLICY_WEIGHTS_MAX);
    assert_int_equal(decide(&settings, members, 40, out, 5), 4); /* one place is kept */
    assert_int_equal(decide(&settings, members, 40, out, 1), 1);
    assert_int_equal(out[0].verdict, POLICY_HOLD);
}

/* Two servers, one of them half as fast: it is brought below the level and stays there. */
static void
test_a_slower_server_settles(void **state_)
{
    struct policy_settings settings = weights_only();
    uint32_t weight = 100;
    unsigned late_changes = 0;
    (void)state_;
    for (unsigned round = 0; round < 200; round++) {
        struct policy_decision out[4];
        double share = weight / (weight + 100.0);
        struct policy_member members[] = {policy_case_member("slow", 1.0 * share / 0.6),
                                          policy_case_member("fast", 1.0 * (1 - share) / 1.2)};
        members[0].weight = weight;
        size_t made = decide(&settings, members, 2, out, 4);
        if (made > 0 && out[0].verdict == POLICY_WEIGHT) {
            weight = out[0].weight;
            late_changes += round > 20;
        }
    }
    assert_true(1.0 * (weight / (weight + 100.0)) / 0.6 < 0.8);
    assert_int_equal(late_changes, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_is_shifted_away),
        cmocka_unit_test(test_no_use_in_shifting),
        cmocka_unit_test(test_not_before_the_level_has_lasted),
        cmocka_unit_test(test_weight_and_allocation_together),
        cmocka_unit_test(test_weight_is_given_back),
        cmocka_unit_test(test_a_member_that_fell_silent_comes_back),
        cmocka_unit_test(test_not_while_it_would_reach_the_level_again),
        cmocka_unit_test(test_a_call_has_its_bound),
        cmocka_unit_test(test_a_slower_server_settles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
