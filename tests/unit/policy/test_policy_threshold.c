/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_threshold.c - growing and giving back: each rule by itself, then what must hold for
 * whatever is observed.
 */
#include "policy_case.h"

static struct policy_decision
decide(const struct policy_settings *settings, struct policy_state *state,
       const struct policy_member *members, size_t count)
{
    return policy_case_one(settings, state, members, count, NOW);
}

#define EXPECT(decision, a_verdict, a_rule)                                                        \
    do {                                                                                           \
        assert_string_equal(policy_rule_name((decision).rule), policy_rule_name(a_rule));          \
        assert_int_equal((decision).verdict, (a_verdict));                                         \
    } while (0)

/* ---- growing -------------------------------------------------------------------------------- */

static void
test_within(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member members[] = {policy_case_member("a", 0.5), policy_case_member("b", 0.79)};
    (void)state_;
    struct policy_decision decision = decide(&settings, &state, members, 2);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_WITHIN);
    assert_int_equal(decision.ready, 2);
    assert_string_equal(decision.highest_id, "b");
    assert_true(fabs(decision.mean - 0.645) < 1e-9);
    assert_true(isnan(decision.after));
}

static void
test_upper(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member one = policy_case_member("a", 0.8);
    (void)state_;
    struct policy_decision decision = decide(&settings, &state, &one, 1);
    EXPECT(decision, POLICY_ALLOCATE, POLICY_RULE_UPPER); /* at the level is reached */
    assert_int_equal(decision.count, 1);
    assert_int_equal(decision.needed, 2); /* ceil(0.8 / 0.55) */
    one.utilization = 3.0;                /* far above: several at once, at most step_max */
    decision = decide(&settings, &state, &one, 1);
    assert_int_equal(decision.needed, 6);
    assert_int_equal(decision.count, 4);
    settings.max = 3;
    decision = decide(&settings, &state, &one, 1);
    assert_int_equal(decision.count, 2);
    one.utilization = 1e300;
    decision = decide(&settings, &state, &one, 1);
    assert_int_equal(decision.count, 2);
}

static void
test_one_hot_member_among_cool_ones(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member members[] = {policy_case_member("a", 0.9), policy_case_member("b", 0.1),
                                      policy_case_member("c", 0.1)};
    (void)state_;
    struct policy_decision decision = decide(&settings, &state, members, 3);
    EXPECT(decision, POLICY_ALLOCATE, POLICY_RULE_UPPER);
    assert_int_equal(decision.count, 1);
    assert_string_equal(decision.highest_id, "a");
}

static void
test_upper_must_last(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member one = policy_case_member("a", 0.9);
    (void)state_;
    settings.upper_for_us = 3 * SECOND;
    struct policy_decision decision = policy_case_one(&settings, &state, &one, 1, NOW);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_UPPER_WAIT);
    assert_int_equal(decision.wait_us, 3 * SECOND);
    decision = policy_case_one(&settings, &state, &one, 1, NOW + 3 * SECOND - 1);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_UPPER_WAIT);
    assert_int_equal(decision.wait_us, 1);
    decision = policy_case_one(&settings, &state, &one, 1, NOW + 3 * SECOND);
    EXPECT(decision, POLICY_ALLOCATE, POLICY_RULE_UPPER);
    one.utilization = 0.5; /* a dip begins it anew */
    (void)policy_case_one(&settings, &state, &one, 1, NOW + 4 * SECOND);
    one.utilization = 0.9;
    decision = policy_case_one(&settings, &state, &one, 1, NOW + 5 * SECOND);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_UPPER_WAIT);
    assert_int_equal(decision.wait_us, 3 * SECOND);
    decision = policy_case_one(&settings, &state, &one, 1, NOW); /* a clock that went back */
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_UPPER_WAIT);
    assert_int_equal(decision.wait_us, 3 * SECOND);
}

static void
test_the_clock_may_begin_at_zero(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member one = policy_case_member("a", 0.9);
    (void)state_;
    settings.upper_for_us = SECOND;
    EXPECT(policy_case_one(&settings, &state, &one, 1, 0), POLICY_HOLD, POLICY_RULE_UPPER_WAIT);
    EXPECT(policy_case_one(&settings, &state, &one, 1, SECOND + 1), POLICY_ALLOCATE,
           POLICY_RULE_UPPER);
}

static void
test_what_is_on_its_way_counts(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {.pending_up = 1};
    struct policy_member members[] = {policy_case_member("a", 0.9), policy_case_member("b", NAN)};
    (void)state_;
    EXPECT(decide(&settings, &state, members, 1), POLICY_HOLD, POLICY_RULE_UPPER_PENDING);
    state.pending_up = 0;
    members[1].starting = true;
    struct policy_decision decision = decide(&settings, &state, members, 2);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_UPPER_PENDING);
    assert_int_equal(decision.starting, 1);
    members[0].utilization = 2.0; /* needs 4, has 2: the rest at once */
    decision = decide(&settings, &state, members, 2);
    EXPECT(decision, POLICY_ALLOCATE, POLICY_RULE_UPPER);
    assert_int_equal(decision.count, 2);
}

static void
test_upper_cooldown(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {.grown_at_us = NOW - SECOND};
    struct policy_member one = policy_case_member("a", 0.9);
    (void)state_;
    struct policy_decision decision = decide(&settings, &state, &one, 1);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_UPPER_COOLDOWN);
    assert_int_equal(decision.wait_us, SECOND);
    state.grown_at_us = NOW - 2 * SECOND;
    EXPECT(decide(&settings, &state, &one, 1), POLICY_ALLOCATE, POLICY_RULE_UPPER);
}

static void
test_at_the_maximum(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member members[] = {policy_case_member("a", 0.9), policy_case_member("b", 0.9)};
    (void)state_;
    settings.max = 2;
    EXPECT(decide(&settings, &state, members, 2), POLICY_HOLD, POLICY_RULE_UPPER_MAX);
    members[1].healthy = false; /* it takes a place all the same */
    EXPECT(decide(&settings, &state, members, 2), POLICY_HOLD, POLICY_RULE_UPPER_MAX);
    members[1].draining = true; /* it leaves */
    EXPECT(decide(&settings, &state, members, 2), POLICY_ALLOCATE, POLICY_RULE_UPPER);
}

static void
test_without_a_pool(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member one = policy_case_member("a", 0.9);
    (void)state_;
    settings.single = true;
    EXPECT(decide(&settings, &state, &one, 1), POLICY_HOLD, POLICY_RULE_UPPER_NO_POOL);
    settings.single = false;
    settings.allocate = false;
    EXPECT(decide(&settings, &state, &one, 1), POLICY_HOLD, POLICY_RULE_UPPER_NO_POOL);
}

static void
test_below_the_minimum(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {.grown_at_us = NOW - 1};
    struct policy_member one = policy_case_member("a", 0.5);
    (void)state_;
    settings.min = 6;
    settings.upper_for_us = 10 * SECOND;
    struct policy_decision decision = decide(&settings, &state, &one, 1);
    EXPECT(decision, POLICY_ALLOCATE, POLICY_RULE_BELOW_MIN);
    assert_int_equal(decision.count, 5); /* at once, beyond step_max, without waiting */
    decision = decide(&settings, &state, NULL, 0);
    assert_int_equal(decision.count, 6);
    state.pending_up = 5;
    EXPECT(decide(&settings, &state, &one, 1), POLICY_HOLD, POLICY_RULE_WITHIN);
    state.pending_up = 0;
    state.grow_failed = true; /* do not hammer a pool that has nothing */
    decision = decide(&settings, &state, &one, 1);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_UPPER_COOLDOWN);
    assert_int_equal(decision.wait_us, 2 * SECOND - 1);
    state.grown_at_us = NOW - 2 * SECOND;
    EXPECT(decide(&settings, &state, &one, 1), POLICY_ALLOCATE, POLICY_RULE_BELOW_MIN);
}

static void
test_the_pool_is_not_asked_for_more_than_it_has(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member one = policy_case_member("a", 3.0);
    (void)state_;
    settings.available_known = true;
    settings.available = 2;
    assert_int_equal(decide(&settings, &state, &one, 1).count, 2);
    state.pending_up = 1; /* one of the two was asked for already */
    assert_int_equal(decide(&settings, &state, &one, 1).count, 1);
    state.pending_up = 2;
    EXPECT(decide(&settings, &state, &one, 1), POLICY_HOLD, POLICY_RULE_POOL_EMPTY);
    state.pending_up = 0;
    settings.available = 0;
    EXPECT(decide(&settings, &state, &one, 1), POLICY_HOLD, POLICY_RULE_POOL_EMPTY);
    settings.min = 3;
    EXPECT(decide(&settings, &state, &one, 1), POLICY_HOLD, POLICY_RULE_POOL_EMPTY);
    settings.available = 1;
    EXPECT(decide(&settings, &state, &one, 1), POLICY_ALLOCATE, POLICY_RULE_BELOW_MIN);
    assert_int_equal(decide(&settings, &state, &one, 1).count, 1);
}

/* ---- giving back ---------------------------------------------------------------------------- */

static void
test_lower(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member members[] = {policy_case_member("a", 0.2), policy_case_member("b", 0.1),
                                      policy_case_member("c", 0.1), policy_case_member("d", 0.1)};
    (void)state_;
    members[1].in_flight = 3;
    members[3].age_us = 5;
    struct policy_decision decision = decide(&settings, &state, members, 4);
    EXPECT(decision, POLICY_DEALLOCATE, POLICY_RULE_LOWER);
    assert_string_equal(decision.member, "d"); /* least loaded, fewest in flight, youngest */
    assert_true(fabs(decision.after - 0.5 / 3) < 1e-9);
    members[3].allocated = false;
    assert_string_equal(decide(&settings, &state, members, 4).member, "c");
    members[2].in_flight = 4;
    assert_string_equal(decide(&settings, &state, members, 4).member, "b");
    members[0].utilization = 0.05;
    assert_string_equal(decide(&settings, &state, members, 4).member, "a");
}

static void
test_lower_must_last_and_cool_down(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {.changed_at_us = NOW - SECOND};
    struct policy_member members[] = {policy_case_member("a", 0.1), policy_case_member("b", 0.1)};
    (void)state_;
    settings.lower_for_us = 10 * SECOND;
    struct policy_decision decision = policy_case_one(&settings, &state, members, 2, NOW);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_LOWER_WAIT);
    decision = policy_case_one(&settings, &state, members, 2, NOW + 10 * SECOND);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_LOWER_COOLDOWN);
    assert_int_equal(decision.wait_us, 19 * SECOND);
    decision = policy_case_one(&settings, &state, members, 2, NOW + 29 * SECOND);
    EXPECT(decision, POLICY_DEALLOCATE, POLICY_RULE_LOWER);
}

static void
test_lower_holds(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member members[] = {policy_case_member("a", 0.1), policy_case_member("b", 0.1),
                                      policy_case_member("c", NAN)};
    (void)state_;
    state.pending_down = 1;
    EXPECT(decide(&settings, &state, members, 2), POLICY_HOLD, POLICY_RULE_LOWER_PENDING);
    state.pending_down = 0;
    state.pending_up = 1;
    EXPECT(decide(&settings, &state, members, 2), POLICY_HOLD, POLICY_RULE_LOWER_PENDING);
    state.pending_up = 0;
    members[2].draining = true;
    EXPECT(decide(&settings, &state, members, 3), POLICY_HOLD, POLICY_RULE_LOWER_PENDING);
    members[2].draining = false;
    members[2].starting = true;
    EXPECT(decide(&settings, &state, members, 3), POLICY_HOLD, POLICY_RULE_LOWER_PENDING);
    settings.min = 2;
    EXPECT(decide(&settings, &state, members, 2), POLICY_HOLD, POLICY_RULE_LOWER_MIN);
    settings.min = 1;
    EXPECT(decide(&settings, &state, members, 1), POLICY_HOLD, POLICY_RULE_LOWER_MIN);
    members[0].allocated = members[1].allocated = false;
    EXPECT(decide(&settings, &state, members, 2), POLICY_HOLD, POLICY_RULE_LOWER_NONE_OURS);
    members[0].allocated = true;
    settings.single = true;
    EXPECT(decide(&settings, &state, members, 2), POLICY_HOLD, POLICY_RULE_LOWER_NONE_OURS);
}

static void
test_the_last_one_stays(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member one = policy_case_member("a", 0.0);
    (void)state_;
    settings.min = 0;
    EXPECT(decide(&settings, &state, &one, 1), POLICY_HOLD, POLICY_RULE_LOWER_MIN);
}

static void
test_what_remains_must_not_come_near_upper(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member members[] = {policy_case_member("a", 0.28), policy_case_member("b", 0.28)};
    (void)state_;
    struct policy_decision decision = decide(&settings, &state, members, 2);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_LOWER_WOULD_CROSS); /* 0.56, target 0.55 */
    assert_true(fabs(decision.after - 0.56) < 1e-9);
    members[0].utilization = members[1].utilization = 0.27;
    EXPECT(decide(&settings, &state, members, 2), POLICY_DEALLOCATE, POLICY_RULE_LOWER);
}

static void
test_silence_never_shrinks(void **state_)
{
    static const double nonsense[] = {NAN, -0.1, INFINITY, -INFINITY};
    struct policy_settings settings = policy_case_settings();
    struct policy_member members[] = {policy_case_member("a", 0.1), policy_case_member("b", 0.1),
                                      policy_case_member("c", 0.1)};
    (void)state_;
    settings.lower_for_us = SECOND;
    for (size_t i = 0; i < 5; i++) {
        struct policy_state state = {0};
        members[2].utilization = i < 4 ? nonsense[i] : 0.1;
        members[2].stale = i == 4;
        for (int64_t at = 0; at < 100; at++) {
            struct policy_decision decision =
                policy_case_one(&settings, &state, members, 3, NOW + at * SECOND);
            EXPECT(decision, POLICY_HOLD, POLICY_RULE_LOWER_STALE);
            assert_int_equal(decision.stale, 1);
        }
        /* It speaks again: the time begins only now. */
        members[2].stale = false;
        members[2].utilization = 0.1;
        EXPECT(policy_case_one(&settings, &state, members, 3, NOW + 100 * SECOND), POLICY_HOLD,
               POLICY_RULE_LOWER_WAIT);
        EXPECT(policy_case_one(&settings, &state, members, 3, NOW + 101 * SECOND),
               POLICY_DEALLOCATE, POLICY_RULE_LOWER);
    }
}

static void
test_nothing_known(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {.lower_since_us = 1, .upper_since_us = 1};
    struct policy_member members[] = {policy_case_member("a", NAN), policy_case_member("b", 0.9)};
    (void)state_;
    members[1].stale = true;
    struct policy_decision decision = decide(&settings, &state, members, 2);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_UNKNOWN);
    assert_true(isnan(decision.mean) && isnan(decision.highest));
    assert_string_equal(decision.highest_id, "");
    assert_int_equal(state.lower_since_us, 0);
    assert_int_equal(state.upper_since_us, 0);
}

static void
test_levels_that_are_not_set(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member members[] = {policy_case_member("a", 0.01), policy_case_member("b", 5)};
    (void)state_;
    settings.upper = -1;
    settings.lower = -1;
    EXPECT(decide(&settings, &state, members, 2), POLICY_HOLD, POLICY_RULE_WITHIN);
    EXPECT(decide(&settings, &state, members, 1), POLICY_HOLD, POLICY_RULE_WITHIN);
}

static void
test_an_id_that_is_too_long_is_never_acted_on(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    char longest[100];
    memset(longest, 'x', sizeof(longest));
    longest[64] = '\0';
    memcpy(longest + 62, "\xc3\xa9", 2); /* a character across the place of the cut */
    struct policy_member members[] = {policy_case_member(longest, 0.2),
                                      policy_case_member(longest, 0.1)};
    (void)state_;
    struct policy_decision decision = decide(&settings, &state, members, 2);
    EXPECT(decision, POLICY_HOLD, POLICY_RULE_LOWER_NONE_OURS);
    assert_int_equal(strlen(decision.highest_id), 62); /* cut before the character */
}

/* ---- whatever is observed ------------------------------------------------------------------- */

#define SEED 20260731u
#define MEMBERS_MAX 12

static double
random_utilization(struct fr_rand *rand)
{
    static const double odd[] = {NAN, -1, INFINITY, -INFINITY, 0, 1e308, 1e-308, -0.0, 0.8, 0.3};
    if (fr_rand_below(rand, 6) == 0)
        return odd[fr_rand_below(rand, 10)];
    return fr_rand_unit(rand) * (fr_rand_below(rand, 2) ? 1.2 : 0.3);
}

static size_t
random_members(struct fr_rand *rand, struct policy_member *members, char (*ids)[16])
{
    size_t count = fr_rand_below(rand, MEMBERS_MAX + 1);
    unsigned odds = fr_rand_below(rand, 2) ? 30 : 4;
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "m-%zu", i);
        members[i] = policy_case_member(ids[i], random_utilization(rand));
        members[i].stale = fr_rand_below(rand, odds) == 0;
        members[i].starting = fr_rand_below(rand, odds) == 0;
        members[i].draining = fr_rand_below(rand, odds) == 0;
        members[i].healthy = fr_rand_below(rand, odds) != 0;
        members[i].allocated = fr_rand_below(rand, 3) != 0;
        members[i].in_flight = fr_rand_below(rand, 10);
        members[i].weight = fr_rand_below(rand, 200);
        members[i].weight_normal = fr_rand_below(rand, 4) ? 100 : fr_rand_below(rand, 65536);
        members[i].age_us = (int64_t)fr_rand_below(rand, 1000000);
    }
    return count;
}

static void
random_settings(struct fr_rand *rand, struct policy_settings *settings, struct policy_state *state)
{
    *settings = policy_case_settings();
    settings->min = fr_rand_below(rand, 6);
    settings->max = fr_rand_below(rand, 16);
    settings->step_max = fr_rand_below(rand, 6);
    settings->upper = fr_rand_below(rand, 8) ? 0.5 + fr_rand_unit(rand) : -1;
    settings->lower = fr_rand_below(rand, 8) ? fr_rand_unit(rand) : -1;
    settings->relieve_by_weight = fr_rand_below(rand, 2);
    settings->allocate = fr_rand_below(rand, 5) != 0;
    settings->single = fr_rand_below(rand, 8) == 0;
    settings->available_known = fr_rand_below(rand, 3) == 0;
    settings->available = fr_rand_below(rand, 6);
    settings->upper_for_us = fr_rand_below(rand, 3) * SECOND;
    settings->lower_for_us = fr_rand_below(rand, 3) * SECOND;
    *state = (struct policy_state){
        .upper_since_us = fr_rand_below(rand, 2) ? NOW - fr_rand_below(rand, 5) * SECOND : 0,
        .lower_since_us = fr_rand_below(rand, 2) ? NOW - fr_rand_below(rand, 5) * SECOND : 0,
        .changed_at_us = fr_rand_below(rand, 2) ? NOW - fr_rand_below(rand, 60) * SECOND : 0,
        .grown_at_us = fr_rand_below(rand, 2) ? NOW - fr_rand_below(rand, 5) * SECOND : 0,
        .pending_up = fr_rand_below(rand, 4) ? 0 : fr_rand_below(rand, 4),
        .pending_down = fr_rand_below(rand, 4) ? 0 : fr_rand_below(rand, 2),
        .grow_failed = fr_rand_below(rand, 2),
    };
}

struct counted {
    uint32_t present, ready, useful, useless;
    double sum;
};

static struct counted
count_members(const struct policy_member *members, size_t count)
{
    struct counted counted = {0};
    for (size_t i = 0; i < count; i++) {
        const struct policy_member *member = &members[i];
        bool number = isfinite(member->utilization) && member->utilization >= 0;
        counted.present += !member->draining;
        if (member->draining || member->starting || !member->healthy)
            continue;
        counted.ready++;
        if (number && !member->stale) {
            counted.useful++;
            counted.sum += member->utilization;
        } else {
            counted.useless++;
        }
    }
    return counted;
}

static const struct policy_member *
find(const struct policy_member *members, size_t count, const char *id)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(members[i].id, id) == 0)
            return &members[i];
    }
    fail_msg("no member %s", id);
    return NULL;
}

static void
check_deallocation(const struct policy_settings *settings, const struct policy_state *state,
                   const struct policy_member *members, size_t count,
                   const struct policy_decision *decision)
{
    struct counted counted = count_members(members, count);
    const struct policy_member *victim = find(members, count, decision->member);
    assert_true(victim->allocated && victim->healthy && !victim->draining && !victim->starting);
    assert_true(counted.useful > settings->min);
    assert_true(counted.useful > 1);
    assert_int_equal(counted.useless, 0); /* silence and nonsense never shrink */
    assert_int_equal(state->pending_up + state->pending_down, 0);
    if (settings->upper >= 0)
        assert_true(counted.sum / (counted.useful - 1) < settings->upper);
    assert_true(counted.sum / counted.useful < settings->lower);
}

static void
check_weight(const struct policy_member *members, size_t count,
             const struct policy_decision *decision)
{
    const struct policy_member *member = find(members, count, decision->member);
    double change = fabs((double)decision->weight - (double)member->weight);
    assert_true(member->weight > 0 && member->weight_normal > 0);
    assert_true(decision->weight > 0);
    assert_true(change >= 0.05 * member->weight_normal);
    if (decision->rule == POLICY_RULE_RELIEVE_WEIGHT) {
        assert_true(decision->weight < member->weight);
        assert_true(decision->weight >= 0.1 * member->weight_normal);
    } else {
        assert_true(decision->weight > member->weight);
        assert_true(decision->weight <= member->weight_normal);
    }
}

static void
check_decisions(const struct policy_settings *settings, const struct policy_state *state,
                const struct policy_member *members, size_t count,
                const struct policy_decision *decisions, size_t made)
{
    struct counted counted = count_members(members, count);
    unsigned scaling = 0;
    for (size_t i = 0; i < made; i++) {
        const struct policy_decision *decision = &decisions[i];
        assert_int_equal(decision->ready, counted.ready);
        assert_true(decision->wait_us >= 0);
        switch (decision->verdict) {
        case POLICY_HOLD:
            assert_int_equal(made, 1);
            break;
        case POLICY_ALLOCATE:
            scaling++;
            assert_true(decision->count > 0);
            assert_true(counted.present + state->pending_up + decision->count <= settings->max);
            assert_false(settings->single);
            if (settings->available_known)
                assert_true(decision->count + state->pending_up <= settings->available);
            break;
        case POLICY_DEALLOCATE:
            scaling++;
            check_deallocation(settings, state, members, count, decision);
            break;
        case POLICY_WEIGHT:
            assert_int_equal(scaling, 0); /* weights come first */
            check_weight(members, count, decision);
            for (size_t j = 0; j < i; j++)
                assert_string_not_equal(decisions[j].member, decision->member);
            break;
        }
    }
    assert_true(scaling <= 1);
}

static void
test_whatever_is_observed(void **state_)
{
    struct fr_rand rand;
    unsigned seen[POLICY_RULE_COUNT] = {0};
    (void)state_;
    print_message("seed %u\n", SEED);
    fr_rand_init(&rand, SEED);
    for (unsigned round = 0; round < 200000; round++) {
        struct policy_settings settings;
        struct policy_state state;
        struct policy_member members[MEMBERS_MAX];
        char ids[MEMBERS_MAX][16];
        struct policy_decision decisions[24];
        random_settings(&rand, &settings, &state);
        size_t count = random_members(&rand, members, ids);
        size_t max = 1 + fr_rand_below(&rand, 24);
        size_t made = policy_decide(&settings, &state, members, count, NULL, NOW, decisions, max);
        assert_in_range(made, 1, max);
        check_decisions(&settings, &state, members, count, decisions, made);
        for (size_t i = 0; i < made; i++)
            seen[decisions[i].rule]++;
    }
    for (int i = 0; i < POLICY_RULE_RISE; i++) { /* from there on they are other engines' */
        if (seen[i] == 0)
            fail_msg("the rule %s was never reached", policy_rule_name((enum policy_rule)i));
    }
}

/* ---- a closed loop -------------------------------------------------------------------------- */

struct world { /* servers that share a load; what is asked for comes after a while */
    struct policy_settings settings;
    struct policy_state state;
    uint32_t servers;
    int64_t arrives_at_us[16], leaves_at_us; /* of those on their way, pending_up of them */
    unsigned grown, shrunk;
    uint32_t most;
};

static void
carry_out(struct world *world, const struct policy_decision *decision, int64_t now_us)
{
    if (decision->verdict == POLICY_ALLOCATE) {
        for (uint32_t i = 0; i < decision->count; i++)
            world->arrives_at_us[world->state.pending_up++] = now_us + SECOND;
        world->grown++;
    } else if (decision->verdict == POLICY_DEALLOCATE) {
        world->state.pending_down = 1;
        world->leaves_at_us = now_us + SECOND;
        world->shrunk++;
    }
}

static void
live(struct world *world, double load, int64_t *now_us, unsigned seconds, struct fr_rand *noise)
{
    for (unsigned tick = 0; tick < seconds * 4; tick++) {
        struct policy_member members[16];
        static const char *const ids[] = {"0", "1", "2", "3", "4", "5", "6", "7",
                                          "8", "9", "a", "b", "c", "d", "e", "f"};
        *now_us += SECOND / 4;
        while (world->state.pending_up > 0 && *now_us >= world->arrives_at_us[0]) {
            world->servers++;
            world->state.pending_up--;
            memmove(world->arrives_at_us, world->arrives_at_us + 1,
                    world->state.pending_up * sizeof(world->arrives_at_us[0]));
            world->state.grown_at_us = world->state.changed_at_us = *now_us;
        }
        if (world->state.pending_down > 0 && *now_us >= world->leaves_at_us) {
            world->servers--;
            world->state.pending_down = 0;
            world->state.changed_at_us = *now_us;
        }
        assert_in_range(world->servers, world->settings.min, world->settings.max);
        world->most = world->servers > world->most ? world->servers : world->most;
        for (uint32_t i = 0; i < world->servers; i++) {
            double jitter = noise != NULL ? 0.96 + 0.08 * fr_rand_unit(noise) : 1;
            members[i] = policy_case_member(ids[i], load / world->servers * jitter);
            members[i].allocated = i > 0;
        }
        struct policy_decision decision =
            policy_case_one(&world->settings, &world->state, members, world->servers, *now_us);
        carry_out(world, &decision, *now_us);
    }
}

/* Any constant load settles: after a while nothing more is decided, in either direction. */
static void
test_constant_load_does_not_oscillate(void **state_)
{
    struct fr_rand noise;
    (void)state_;
    print_message("seed %u\n", SEED);
    fr_rand_init(&noise, SEED);
    for (double lower = 0.1; lower < 0.75; lower += 0.1) {
        for (double load = 0.05; load < 9; load += 0.13) {
            struct world world = {.settings = policy_case_settings(), .servers = 1};
            int64_t now_us = NOW;
            world.settings.max = 16;
            world.settings.lower = lower;
            world.settings.cooldown_down_us = 2 * SECOND;
            live(&world, load, &now_us, 90, &noise);
            unsigned grown = world.grown, shrunk = world.shrunk;
            assert_true(shrunk <= 1); /* noise may have asked for one too many */
            live(&world, load, &now_us, 200, &noise);
            if (world.grown != grown || world.shrunk != shrunk)
                fail_msg("load %.2f, lower %.1f: grew %u and shrank %u times more, %u servers",
                         load, lower, world.grown - grown, world.shrunk - shrunk, world.servers);
        }
    }
}

static void
test_up_with_the_load_and_down_again(void **state_)
{
    struct world world = {.settings = policy_case_settings(), .servers = 1};
    int64_t now_us = NOW;
    (void)state_;
    world.settings.cooldown_down_us = 2 * SECOND;
    live(&world, 0.5, &now_us, 20, NULL);
    assert_int_equal(world.servers, 1);
    live(&world, 3.2, &now_us, 60, NULL);
    assert_in_range(world.servers, 5, 6);
    unsigned grown = world.grown;
    live(&world, 0.2, &now_us, 120, NULL);
    assert_int_equal(world.servers, 1);
    assert_int_equal(world.grown, grown);
    live(&world, 100, &now_us, 60, NULL);
    assert_int_equal(world.servers, world.settings.max);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_within),
        cmocka_unit_test(test_upper),
        cmocka_unit_test(test_one_hot_member_among_cool_ones),
        cmocka_unit_test(test_upper_must_last),
        cmocka_unit_test(test_the_clock_may_begin_at_zero),
        cmocka_unit_test(test_what_is_on_its_way_counts),
        cmocka_unit_test(test_upper_cooldown),
        cmocka_unit_test(test_at_the_maximum),
        cmocka_unit_test(test_without_a_pool),
        cmocka_unit_test(test_below_the_minimum),
        cmocka_unit_test(test_the_pool_is_not_asked_for_more_than_it_has),
        cmocka_unit_test(test_lower),
        cmocka_unit_test(test_lower_must_last_and_cool_down),
        cmocka_unit_test(test_lower_holds),
        cmocka_unit_test(test_the_last_one_stays),
        cmocka_unit_test(test_what_remains_must_not_come_near_upper),
        cmocka_unit_test(test_silence_never_shrinks),
        cmocka_unit_test(test_nothing_known),
        cmocka_unit_test(test_levels_that_are_not_set),
        cmocka_unit_test(test_an_id_that_is_too_long_is_never_acted_on),
        cmocka_unit_test(test_whatever_is_observed),
        cmocka_unit_test(test_constant_load_does_not_oscillate),
        cmocka_unit_test(test_up_with_the_load_and_down_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
