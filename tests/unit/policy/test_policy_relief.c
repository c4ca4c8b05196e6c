/* SPDX-License-Identifier: Apache-2.0 */
/* test_policy_relief.c - the edge's ladder: one step at a time, and never on nonsense. */
#include "policy_case.h"

static const struct policy_relief_settings settings = {
    .upper = 0.9, .lower = 0.6, .upper_for_us = SECOND, .lower_for_us = 5 * SECOND, .steps = 3};

static void
test_up_and_down(void **state_)
{
    struct policy_relief_state state = {0};
    uint32_t step = 77;
    int64_t now_us = NOW;
    (void)state_;
    assert_false(policy_relief(&settings, &state, 0.95, false, now_us, &step));
    assert_false(policy_relief(&settings, &state, 0.95, false, now_us + SECOND - 1, &step));
    assert_int_equal(step, 77);
    for (uint32_t expected = 1; expected <= 3; expected++) {
        now_us += SECOND;
        assert_true(policy_relief(&settings, &state, 0.95, false, now_us, &step));
        assert_int_equal(step, expected);
        assert_false(policy_relief(&settings, &state, 0.95, false, now_us + 1, &step));
    }
    assert_false(policy_relief(&settings, &state, 0.95, false, now_us + 100 * SECOND, &step));
    now_us += 200 * SECOND;
    assert_false(policy_relief(&settings, &state, 0.5, false, now_us, &step));
    for (uint32_t expected = 3; expected-- > 0;) {
        assert_false(policy_relief(&settings, &state, 0.5, false, now_us + 5 * SECOND - 1, &step));
        now_us += 5 * SECOND;
        assert_true(policy_relief(&settings, &state, 0.5, false, now_us, &step));
        assert_int_equal(step, expected);
    }
    assert_false(policy_relief(&settings, &state, 0.0, false, now_us + 100 * SECOND, &step));
}

static void
test_between_the_levels_holds(void **state_)
{
    struct policy_relief_state state = {.step = 2};
    uint32_t step;
    (void)state_;
    for (int i = 0; i < 100; i++)
        assert_false(
            policy_relief(&settings, &state, 0.6 + 0.29 * (i % 2), false, NOW + i * SECOND, &step));
}

static void
test_nonsense_holds(void **state_)
{
    static const double nonsense[] = {NAN, -1, INFINITY, -INFINITY};
    uint32_t step;
    (void)state_;
    for (size_t i = 0; i < 5; i++) {
        struct policy_relief_state state = {.step = 2};
        for (int at = 0; at < 100; at++)
            assert_false(policy_relief(&settings, &state, i < 4 ? nonsense[i] : 0.1, i == 4,
                                       NOW + at * SECOND, &step));
    }
}

static void
test_steps_are_apart_even_without_a_duration(void **state_)
{
    struct policy_relief_settings at_once = settings;
    struct policy_relief_state state = {0};
    uint32_t step = 0;
    unsigned changes = 0;
    (void)state_;
    at_once.upper_for_us = 0;
    assert_true(policy_relief(&at_once, &state, 0.9, false, 0, &step)); /* at once, at 0 too */
    for (int64_t at = 1; at <= 1500; at++)
        changes += policy_relief(&at_once, &state, 0.9, false, at * 1000, &step);
    assert_int_equal(changes, 1);
    assert_int_equal(step, 2);
}

static void
test_a_shorter_ladder(void **state_)
{
    struct policy_relief_settings shorter = settings;
    struct policy_relief_state state = {.step = 3};
    uint32_t step = 9;
    (void)state_;
    shorter.steps = 1;
    assert_true(policy_relief(&shorter, &state, 0.95, false, NOW, &step));
    assert_int_equal(step, 1);
    shorter.steps = 0;
    assert_true(policy_relief(&shorter, &state, NAN, true, NOW, &step));
    assert_int_equal(step, 0);
    assert_false(policy_relief(&shorter, &state, 5, false, NOW + 100 * SECOND, &step));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_and_down),
        cmocka_unit_test(test_between_the_levels_holds),
        cmocka_unit_test(test_nonsense_holds),
        cmocka_unit_test(test_steps_are_apart_even_without_a_duration),
        cmocka_unit_test(test_a_shorter_ladder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
