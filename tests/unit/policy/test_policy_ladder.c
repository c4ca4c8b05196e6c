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
    assert_int_equal(policy_ladder_weight(100, 100, 0.7, 0.5, 0.8), 100); /* not hot */
    assert_int_equal(policy_ladder_weight(100, 100, 0.9, 0.9, 0.8), 100); /* no hotter than all */
    assert_int_equal(policy_ladder_weight(100, 100, 1.0, 0.5, 0.8), 50);
    assert_int_equal(policy_ladder_weight(100, 50, 1.0, 0.7, 0.8), 35); /* of what is in force */
    assert_int_equal(policy_ladder_weight(100, 100, 10, 0.1, 0.8), 25); /* it keeps something */
    assert_int_equal(policy_ladder_weight(100, 50, 0.5, 0.5, 0.8), 63); /* a bit comes back */
    assert_int_equal(policy_ladder_weight(100, 50, 0.7, 0.5, 0.8), 50); /* 0.88 would be too much */
    assert_int_equal(policy_ladder_weight(100, 50, NAN, 0.5, 0.8), 50);
    assert_int_equal(policy_ladder_weight(40, 50, 0.7, 0.5, 0.8), 40); /* lowered meanwhile */
    assert_int_equal(policy_ladder_weight(40, 50, 0.9, 0.5, 0.8), 40);
    assert_int_equal(policy_ladder_weight(0, 50, 0.9, 0.5, 0.8), 0); /* it drains, hot or not */
    assert_int_equal(policy_ladder_weight(0, 50, 0.9, 0.9, 0.8), 0);
    assert_int_equal(policy_ladder_weight(0, 50, NAN, NAN, 0.8), 0);
    assert_int_equal(policy_ladder_weight(100, 100, 0.5, 0.5, 0.8), 100);
    assert_int_equal(policy_ladder_weight(1, 1, 10, 0.1, 0.8), 1);
    assert_int_equal(policy_ladder_weight(0, 0, 10, 0.1, 0.8), 0);
    assert_int_equal(policy_ladder_weight(100, 100, NAN, 0.5, 0.8), 100);
    assert_int_equal(policy_ladder_weight(100, 100, 1, NAN, 0.8), 100);
}

/* Three members under one load, one of them slow: weights and rungs come to rest, and all weight is
 * back when the load has gone. */
static void
test_weights_do_not_swing(void **state_)
{
    (void)state_;
    for (double slow = 0.3; slow < 0.95; slow += 0.05) {
        struct policy_ladder_state state = {0};
        uint32_t weights[] = {100, 100, 100};
        double values[] = {0.1, 0.1, 0.1};
        unsigned changes = 0;
        for (unsigned i = 0; i < 4000; i++) { /* looks, 50 ms apart */
            double load = i < 3000 ? 1.5 : 0.3, highest = 0, sum = 0, share = 0;
            for (int k = 0; k < 3; k++)
                share += weights[k];
            for (int k = 0; k < 3; k++) {
                double is = load * weights[k] / share / (k == 0 ? slow : 1);
                values[k] += 0.3 * (is - values[k]);
                sum += values[k];
                highest = fmax(highest, policy_ladder_full(100, weights[k], values[k]));
            }
            bool moved = policy_ladder(&settings, &state, highest, sum / 3, NOW + i * SECOND / 20);
            for (int k = 0; k < 3 && (moved || i % 20 == 0); k++) {
                uint32_t next = state.rungs & 1 ? policy_ladder_weight(100, weights[k], values[k],
                                                                       sum / 3, settings.upper)
                                                : 100;
                moved |= next != weights[k];
                weights[k] = next;
            }
            changes += moved && i > 1000 && i < 3000;
            if (i == 2999 && slow < 0.6)
                assert_true(weights[0] < 100 && values[0] < settings.upper);
        }
        if (changes > 0)
            fail_msg("a member of %.2f: %u changes under a load that stays", slow, changes);
        assert_int_equal(weights[0], 100);
        assert_int_equal(state.rungs, 0);
    }
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
        cmocka_unit_test(test_weights_do_not_swing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
