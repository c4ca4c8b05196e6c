/* SPDX-License-Identifier: Apache-2.0 */
/* test_policy_ladder.c - one rung at a time, up and down, calm at the level, still on nonsense. */
#include "policy_case.h"

#define CLIMB (SECOND / 4)
#define DESCEND (2 * SECOND)

static const struct policy_ladder_settings settings = {
    .upper = 0.8, .rungs = 0xf, .climb_us = CLIMB, .descend_us = DESCEND};

static bool
look(struct policy_ladder_state *state, double utilization, int64_t now_us)
{
    return policy_ladder(&settings, state, utilization, utilization, now_us);
}

static void
test_up_and_down(void **state_)
{
    struct policy_ladder_state state = {0};
    int64_t now_us = NOW;
    (void)state_;
    for (unsigned rungs = 1; rungs <= 15; rungs = 2 * rungs + 1) {
        assert_false(look(&state, 0.8, now_us));
        assert_false(look(&state, 0.8, now_us + CLIMB - 1));
        now_us += CLIMB;
        assert_true(look(&state, 0.8, now_us));
        assert_int_equal(state.rungs, rungs);
    }
    assert_false(look(&state, 2, now_us + 100 * SECOND));
    now_us += 200 * SECOND;
    for (unsigned rungs = 7;; rungs >>= 1) {
        assert_false(look(&state, 0.7, now_us));
        assert_false(look(&state, 0.7, now_us + DESCEND - 1));
        now_us += DESCEND;
        assert_true(look(&state, 0.7, now_us));
        assert_int_equal(state.rungs, rungs);
        if (rungs == 0)
            break;
    }
    assert_false(look(&state, 0, now_us + 100 * SECOND));
}

/* Hot alone, it is given less; nobody else is made to wait for that. */
static void
test_the_first_rung_is_for_one_hot_member(void **state_)
{
    struct policy_ladder_state state = {0};
    (void)state_;
    for (int i = 0; i < 100; i++)
        (void)policy_ladder(&settings, &state, 1.0, 0.5, NOW + i * SECOND);
    assert_int_equal(state.rungs, 1);
}

static void
test_rungs_that_are_not_there_are_passed_over(void **state_)
{
    struct policy_ladder_settings some = settings;
    struct policy_ladder_state state = {0};
    (void)state_;
    some.rungs = 0xa;
    for (int i = 0; i < 10; i++)
        (void)policy_ladder(&some, &state, 0.9, 0.9, NOW + i * SECOND);
    assert_int_equal(state.rungs, 0xa);
    some.rungs = 0x2; /* a reload took one away */
    assert_true(policy_ladder(&some, &state, 0.9, 0.9, NOW + 20 * SECOND));
    assert_int_equal(state.rungs, 0x2);
    some.upper = -1;
    for (int i = 0; i < 10; i++)
        (void)policy_ladder(&some, &state, 0.9, 0.9, NOW + (30 + i) * SECOND);
    assert_int_equal(state.rungs, 0);
}

static void
test_no_flapping_about_the_level(void **state_)
{
    struct policy_ladder_state state = {0};
    unsigned changes = 0;
    (void)state_;
    for (int i = 0; i < 10000; i++)
        changes += look(&state, 0.8 + 0.07 * sin(i / 7.0), NOW + i * SECOND / 20);
    assert_true(changes <= 4); /* what it takes to climb it; it stays there */
}

static void
test_nonsense_holds(void **state_)
{
    static const double nonsense[] = {NAN, -NAN};
    (void)state_;
    for (size_t i = 0; i < 2; i++) {
        struct policy_ladder_state state = {.rungs = 3};
        for (int k = 0; k < 100; k++)
            assert_false(look(&state, nonsense[i], NOW + k * SECOND));
        /* A clock that goes back begins anew. */
        assert_false(look(&state, 0.9, NOW + 1000 * SECOND));
        assert_false(look(&state, 0.9, NOW));
        assert_true(look(&state, 0.9, NOW + CLIMB));
    }
}

static void
test_weights(void **state_)
{
    (void)state_;
    assert_int_equal(policy_ladder_weight(100, 0.7, 0.5, 0.8), 100); /* not hot */
    assert_int_equal(policy_ladder_weight(100, 0.9, 0.9, 0.8), 100); /* not hotter than others */
    assert_int_equal(policy_ladder_weight(100, 1.0, 0.5, 0.8), 50);
    assert_int_equal(policy_ladder_weight(100, 10, 0.1, 0.8), 25); /* it keeps something */
    assert_int_equal(policy_ladder_weight(1, 10, 0.1, 0.8), 1);
    assert_int_equal(policy_ladder_weight(0, 10, 0.1, 0.8), 0);
    assert_int_equal(policy_ladder_weight(100, NAN, 0.5, 0.8), 100);
    assert_int_equal(policy_ladder_weight(100, 1, NAN, 0.8), 100);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_and_down),
        cmocka_unit_test(test_the_first_rung_is_for_one_hot_member),
        cmocka_unit_test(test_rungs_that_are_not_there_are_passed_over),
        cmocka_unit_test(test_no_flapping_about_the_level),
        cmocka_unit_test(test_nonsense_holds),
        cmocka_unit_test(test_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
