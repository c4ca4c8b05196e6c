/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_take.c - clusters that share a pool: who gives, how many, and that it comes to rest.
 */
#include "policy_case.h"

#include <string.h>

#define TICK (SECOND / 4)

static struct policy_taker
taker_of(uint32_t priority, uint64_t lacking)
{
    return (struct policy_taker){.priority = priority,
                                 .lacking = lacking,
                                 .step_max = 4,
                                 .cooldown_up_us = 2 * SECOND,
                                 .cooldown_down_us = 30 * SECOND};
}

static struct policy_rival
rival_of(uint32_t priority, uint32_t ready, uint32_t min)
{
    return (struct policy_rival){
        .is_known = true, .priority = priority, .ready = ready, .min = min, .givable = ready};
}

/* How many the only rival gives; 0: none. */
static uint32_t
given(const struct policy_taker *taker, const struct policy_rival *rival, int64_t now_us)
{
    size_t giver;
    uint32_t count;
    if (!policy_take(taker, rival, 1, now_us, &giver, &count))
        return 0;
    assert_true(count > 0);
    return count;
}

static void
test_the_lowest_priority_gives(void **state)
{
    struct policy_rival rivals[] = {rival_of(3, 5, 1), rival_of(1, 3, 1), rival_of(1, 4, 1),
                                    rival_of(9, 9, 1)};
    struct policy_taker taker = taker_of(5, 1);
    size_t giver = 99;
    uint32_t count = 0;
    (void)state;
    assert_true(policy_take(&taker, rivals, 4, NOW, &giver, &count));
    assert_int_equal(giver, 2); /* of equals the one that has most to give */
    assert_int_equal(count, 1);
    taker.lacking = 9;
    assert_true(policy_take(&taker, rivals, 4, NOW, &giver, &count));
    assert_int_equal(count, 3); /* down to its minimum, and no further */
    taker.step_max = 2;
    assert_true(policy_take(&taker, rivals, 4, NOW, &giver, &count));
    assert_int_equal(count, 2);
}

static void
test_who_gives_nothing(void **state)
{
    struct policy_rival rival = rival_of(1, 4, 1);
    struct policy_taker taker = taker_of(2, 1);
    (void)state;
    assert_true(given(&taker, &rival, NOW) > 0);
    taker.priority = 1; /* an equal */
    assert_int_equal(given(&taker, &rival, NOW), 0);
    taker.priority = 2;
    rival.min = 4;
    assert_int_equal(given(&taker, &rival, NOW), 0);
    rival = rival_of(1, 1, 0); /* its last one */
    assert_int_equal(given(&taker, &rival, NOW), 0);
    rival = rival_of(1, 4, 1);
    rival.givable = 0; /* of other pools, or the configuration's */
    assert_int_equal(given(&taker, &rival, NOW), 0);
    rival = rival_of(1, 4, 1);
    rival.is_known = false;
    assert_int_equal(given(&taker, &rival, NOW), 0);
}

static void
test_what_comes_anyway_is_not_taken_twice(void **state)
{
    struct policy_rival rival = rival_of(0, 6, 1);
    struct policy_taker taker = taker_of(1, 2);
    (void)state;
    taker.coming = 1;
    assert_int_equal(given(&taker, &rival, NOW), 1);
    taker.coming = 2;
    assert_int_equal(given(&taker, &rival, NOW), 0);
}

static void
test_rests(void **state)
{
    struct policy_rival rival = rival_of(0, 6, 1);
    struct policy_taker taker = taker_of(1, 2);
    (void)state;
    taker.taken_at_us = NOW - SECOND;
    assert_int_equal(given(&taker, &rival, NOW), 0);
    assert_true(given(&taker, &rival, NOW + SECOND) > 0);
    taker.released_at_us = NOW - 59 * SECOND; /* twice the cooldown */
    assert_int_equal(given(&taker, &rival, NOW + 10000), 0);
    assert_true(given(&taker, &rival, NOW + SECOND) > 0);
    taker.released_at_us = NOW;
    taker.is_bare = true; /* somebody is parked: that cannot wait */
    assert_true(given(&taker, &rival, NOW + SECOND) > 0);
}

static void
test_wishes_that_count(void **state)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_decision decision = {
        .verdict = POLICY_HOLD, .rule = POLICY_RULE_POOL_EMPTY, .highest = 0.5};
    (void)state;
    assert_false(policy_wants_taken(&settings, &decision, 3)); /* a forecast's only */
    decision.highest = 0.8;
    assert_true(policy_wants_taken(&settings, &decision, 3));
    decision.rule = POLICY_RULE_UPPER_COOLDOWN;
    assert_false(policy_wants_taken(&settings, &decision, 3));
    decision.rule = POLICY_RULE_POOL_EMPTY;
    decision.highest = NAN;
    assert_false(policy_wants_taken(&settings, &decision, 3));
    assert_true(policy_wants_taken(&settings, &decision, 0)); /* below min */
    settings.min = 0;
    assert_false(policy_wants_taken(&settings, &decision, 0));
    settings.demand = true;
    assert_true(policy_wants_taken(&settings, &decision, 0));
}

/* A neighbour gives no more than the taker may use, whatever its load would need. */
static void
test_nobody_wants_more_than_its_maximum(void **state)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_decision decision = {
        .verdict = POLICY_HOLD, .rule = POLICY_RULE_POOL_EMPTY, .needed = 10};
    (void)state;
    settings.max = 20;
    assert_int_equal(policy_lacking(&settings, &decision, 3), 7);
    settings.max = 4;
    assert_int_equal(policy_lacking(&settings, &decision, 3), 1);
    assert_int_equal(policy_lacking(&settings, &decision, 4), 0);
    assert_int_equal(policy_lacking(&settings, &decision, 5), 0);
    decision.needed = 3; /* one hot member among cool ones */
    assert_int_equal(policy_lacking(&settings, &decision, 3), 1);
}

static void
test_the_limit_of_changes_holds_for_the_giver(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member members[] = {policy_case_member("a", 0.5), policy_case_member("b", 0.5),
                                      policy_case_member("c", 0.5), policy_case_member("d", 0.5)};
    struct policy_decision out[4];
    const struct policy_claim claim = {.taker = "api", .priority = 4, .count = 3};
    char words[POLICY_SENTENCE_BYTES];
    (void)state_;
    settings.changes_per_minute = 2;
    settings.priority = 1;
    assert_int_equal(policy_give(&settings, &state, members, 4, &claim, NOW, out, 4), 2);
    assert_int_equal(policy_give(&settings, &state, members, 4, &claim, NOW + SECOND, out, 4), 0);
    assert_int_equal(policy_give(&settings, &state, members, 4, &claim, NOW + 31 * SECOND, out, 4),
                     1);
    policy_sentence(&settings, &out[0], words, sizeof(words));
    assert_non_null(strstr(words,
                           "api (priority 4, above 1) needs it and their pool has none left; "
                           "3 stay; 2 more held back: no more than 2 may change in a minute; "
                           "4 ready"));
    /* A member whose number is missing: nobody is given on silence. */
    members[3].stale = true;
    assert_int_equal(policy_give(&settings, &state, members, 4, &claim, NOW + 99 * SECOND, out, 4),
                     0);
}

/* ---- a closed loop: clusters, a pool, the threshold engine and takes --------------------------
 */

#define CLUSTERS 4
#define MOST 24

struct town {
    struct {
        struct policy_settings settings;
        struct policy_state state;
        uint32_t ready;
        double demand; /* in members at full use */
        int64_t taken_at_us, released_at_us;
        uint32_t wanted;
    } clusters[CLUSTERS];
    uint32_t pool, takes;
};

static size_t
members_of(const struct town *town, size_t index, struct policy_member *out, char (*ids)[16])
{
    uint32_t ready = town->clusters[index].ready;
    for (uint32_t i = 0; i < ready; i++) {
        (void)snprintf(ids[i], sizeof(ids[i]), "m%u", i);
        out[i] = policy_case_member(ids[i], town->clusters[index].demand / ready);
    }
    return ready;
}

static void
take(struct town *town, size_t index, int64_t now_us)
{
    struct policy_rival rivals[CLUSTERS];
    struct policy_member members[MOST];
    struct policy_decision out[POLICY_RELEASES_MAX];
    char ids[MOST][16];
    size_t giver;
    uint32_t count;
    struct policy_taker taker =
        taker_of(town->clusters[index].settings.priority, town->clusters[index].wanted);
    taker.taken_at_us = town->clusters[index].taken_at_us;
    taker.released_at_us = town->clusters[index].released_at_us;
    taker.is_bare = town->clusters[index].ready < town->clusters[index].settings.min;
    for (size_t i = 0; i < CLUSTERS; i++)
        rivals[i] = rival_of(town->clusters[i].settings.priority, town->clusters[i].ready,
                             town->clusters[i].settings.min);
    if (!policy_take(&taker, rivals, CLUSTERS, now_us, &giver, &count))
        return;
    assert_true(rivals[giver].priority < taker.priority);
    const struct policy_claim claim = {.taker = "t", .priority = taker.priority, .count = count};
    size_t made = policy_give(&town->clusters[giver].settings, &town->clusters[giver].state,
                              members, members_of(town, giver, members, ids), &claim, now_us, out,
                              POLICY_RELEASES_MAX);
    assert_in_range(made, 1, count);
    town->clusters[giver].ready -= (uint32_t)made;
    assert_true(town->clusters[giver].ready >= town->clusters[giver].settings.min);
    town->clusters[index].ready += (uint32_t)made;
    town->clusters[index].taken_at_us = now_us;
    town->takes += (uint32_t)made;
}

static void
look(struct town *town, size_t index, int64_t now_us)
{
    struct policy_settings *settings = &town->clusters[index].settings;
    struct policy_state *state = &town->clusters[index].state;
    struct policy_member members[MOST];
    struct policy_decision out[20];
    char ids[MOST][16];
    uint64_t reserved = 0;
    for (size_t i = 0; i < CLUSTERS; i++)
        if (town->clusters[i].settings.priority > settings->priority)
            reserved += town->clusters[i].wanted;
    settings->available_known = true;
    settings->available = town->pool > reserved ? town->pool - reserved : 0;
    size_t made = policy_decide(settings, state, members, members_of(town, index, members, ids),
                                NULL, now_us, out, 20);
    const struct policy_decision *last = &out[made - 1];
    uint32_t ready = town->clusters[index].ready;
    town->clusters[index].wanted = 0;
    if (last->verdict == POLICY_ALLOCATE) {
        town->clusters[index].ready += last->count;
        town->pool -= last->count;
        state->grown_at_us = state->changed_at_us = now_us;
    } else if (last->verdict == POLICY_DEALLOCATE) {
        town->clusters[index].ready -= (uint32_t)made;
        town->pool += (uint32_t)made;
        state->changed_at_us = town->clusters[index].released_at_us = now_us;
    } else if (policy_wants_taken(settings, last, ready)) {
        town->clusters[index].wanted = policy_lacking(settings, last, ready);
        take(town, index, now_us);
    }
}

static void
town_make(struct fr_rand *rand, struct town *town)
{
    *town = (struct town){.pool = fr_rand_below(rand, 5)};
    for (size_t i = 0; i < CLUSTERS; i++) {
        struct policy_settings *settings = &town->clusters[i].settings;
        *settings = policy_case_settings();
        settings->priority = fr_rand_below(rand, 3);
        settings->min = 1 + fr_rand_below(rand, 3);
        settings->max = settings->min + fr_rand_below(rand, 12);
        settings->lower = 0.05 + 0.7 * fr_rand_unit(rand);
        town->clusters[i].ready = settings->min + fr_rand_below(rand, 3);
        if (town->clusters[i].ready > settings->max)
            town->clusters[i].ready = settings->max;
        town->clusters[i].demand = 8 * fr_rand_unit(rand);
    }
}

/* Under any demand that stays: servers are neither lost nor made, nobody leaves what its minimum
 * and maximum allow, and after a while nothing is taken any more. */
static void
test_constant_demand_comes_to_rest(void **state)
{
    struct fr_rand rand;
    uint32_t taken = 0;
    (void)state;
    fr_rand_init(&rand, 7);
    for (unsigned round = 0; round < 300; round++) {
        struct town town;
        uint32_t servers = 0, settled = 0;
        int64_t now_us = NOW;
        town_make(&rand, &town);
        for (size_t i = 0; i < CLUSTERS; i++)
            servers += town.clusters[i].ready;
        servers += town.pool;
        for (unsigned tick = 0; tick < 4000; tick++, now_us += TICK) { /* a thousand seconds */
            for (size_t i = 0; i < CLUSTERS; i++)
                look(&town, (i + tick) % CLUSTERS, now_us);
            for (size_t i = 0; i < CLUSTERS; i++)
                assert_in_range(town.clusters[i].ready, town.clusters[i].settings.min,
                                town.clusters[i].settings.max);
            if (tick == 2000)
                settled = town.takes;
        }
        uint32_t sum = town.pool;
        for (size_t i = 0; i < CLUSTERS; i++)
            sum += town.clusters[i].ready;
        assert_int_equal(sum, servers);
        assert_int_equal(town.takes, settled);
        taken += town.takes;
    }
    assert_true(taken > 100); /* it did happen */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_lowest_priority_gives),
        cmocka_unit_test(test_who_gives_nothing),
        cmocka_unit_test(test_what_comes_anyway_is_not_taken_twice),
        cmocka_unit_test(test_rests),
        cmocka_unit_test(test_wishes_that_count),
        cmocka_unit_test(test_nobody_wants_more_than_its_maximum),
        cmocka_unit_test(test_the_limit_of_changes_holds_for_the_giver),
        cmocka_unit_test(test_constant_demand_comes_to_rest),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
