/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_victim.c - who leaves first, rule by rule, and never one that must not.
 */
#include "policy_case.h"

#include <string.h>

#define ROUNDS 20000
#define MEMBERS 12

/* A deallocate of `count`, as a surplus of the threshold engine's kind would be. */
static const char *
leaves(struct policy_member *members, size_t count)
{
    static char id[POLICY_ID_BYTES];
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    settings.lower = 0.7; /* all of them are below it */
    struct policy_decision decision = policy_case_one(&settings, &state, members, count, NOW);
    assert_int_equal(decision.verdict, POLICY_DEALLOCATE);
    assert_true(decision.victim.is_said);
    memcpy(id, decision.member, sizeof(id));
    return id;
}

static void
test_the_costliest_pool_before_the_least_loaded(void **state)
{
    struct policy_member members[] = {policy_case_member("own", 0.1),
                                      policy_case_member("rented", 0.3),
                                      policy_case_member("spot", 0.2)};
    (void)state;
    members[1].cost = 9;
    members[2].cost = 3;
    assert_string_equal(leaves(members, 3), "rented");
    /* Of equal cost the one of the pool that is named later. */
    members[1].cost = 3;
    members[1].rank = 1;
    members[2].rank = 2;
    assert_string_equal(leaves(members, 3), "spot");
}

static void
test_then_the_least_loaded(void **state)
{
    struct policy_member members[] = {policy_case_member("a", 0.3), policy_case_member("b", 0.1),
                                      policy_case_member("c", 0.2)};
    (void)state;
    members[1].sessions = 1000;
    assert_string_equal(leaves(members, 3), "b");
}

static void
test_then_the_fewest_sessions_and_the_coldest(void **state)
{
    struct policy_member members[] = {policy_case_member("a", 0.20), policy_case_member("b", 0.22),
                                      policy_case_member("c", 0.24)};
    (void)state;
    members[0].sessions = 7;
    members[1].sessions = 5;
    members[2].sessions = 9;
    assert_string_equal(leaves(members, 3), "b");
    members[0].sessions = members[1].sessions = members[2].sessions = 4;
    members[2].age_us = 3 * SECOND;
    assert_string_equal(leaves(members, 3), "c");
    members[2].age_us = members[0].age_us;
    members[0].in_flight = members[2].in_flight = 2;
    assert_string_equal(leaves(members, 3), "b");
}

static void
test_words_say_why(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_state state = {0};
    struct policy_member members[] = {policy_case_member("a", 0.2), policy_case_member("b", 0.2)};
    char words[POLICY_SENTENCE_BYTES];
    (void)state_;
    members[1].pool = "rented";
    members[1].cost = 12;
    members[1].sessions = 3;
    members[1].age_us = 41 * SECOND;
    struct policy_decision decision = policy_case_one(&settings, &state, members, 2, NOW);
    policy_sentence(&settings, &decision, words, sizeof(words));
    assert_non_null(strstr(words, "deallocate b: "));
    assert_non_null(strstr(words, "; chosen: of pool rented (cost 12), at 0.20, 3 sticky sessions, "
                                  "ready for 41 s"));
}

/* Whatever they are like: the victims are different ones, of pools and healthy; none that stays is
 * of a costlier pool; and nobody leaves while somebody is silent. */
static void
test_whatever_they_are_like(void **state_)
{
    struct fr_rand rand;
    size_t all = 0;
    (void)state_;
    fr_rand_init(&rand, 31);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct policy_settings settings = policy_case_settings();
        struct policy_state state = {0};
        struct policy_member members[MEMBERS];
        struct policy_decision out[POLICY_RELEASES_MAX];
        char ids[MEMBERS][16];
        size_t count = 1 + fr_rand_below(&rand, MEMBERS);
        for (size_t i = 0; i < count; i++) {
            (void)snprintf(ids[i], sizeof(ids[i]), "m%zu", i);
            members[i] = policy_case_member(ids[i], fr_rand_unit(&rand));
            members[i].cost = fr_rand_below(&rand, 3);
            members[i].rank = fr_rand_below(&rand, 3);
            members[i].sessions = fr_rand_below(&rand, 3);
            members[i].age_us = fr_rand_below(&rand, 3) * SECOND;
            members[i].allocated = fr_rand_below(&rand, 4) > 0;
            members[i].draining = fr_rand_below(&rand, 8) == 0;
            members[i].healthy = fr_rand_below(&rand, 8) > 0;
        }
        struct policy_member *quiet = &members[fr_rand_below(&rand, (uint32_t)count)];
        quiet->stale = fr_rand_below(&rand, 8) == 0;
        bool silent =
            quiet->stale && quiet->healthy && !quiet->draining; /* it serves, unmeasured */
        const struct policy_claim claim = {.taker = "t", .priority = 1, .count = 3};
        size_t made =
            policy_give(&settings, &state, members, count, &claim, NOW, out, POLICY_RELEASES_MAX);
        all += made;
        assert_true(!silent || made == 0);
        for (size_t i = 0; i < made; i++) {
            const struct policy_member *victim = &members[strtoul(out[i].member + 1, NULL, 10)];
            assert_true(victim->allocated && victim->healthy && !victim->draining);
            for (size_t k = 0; k < i; k++)
                assert_string_not_equal(out[k].member, out[i].member);
            for (size_t k = 0; k < count; k++) {
                bool goes = false;
                for (size_t j = 0; j < made; j++)
                    goes |= strcmp(out[j].member, members[k].id) == 0;
                if (!goes && members[k].allocated && members[k].healthy && !members[k].draining)
                    assert_true(members[k].cost <= victim->cost);
            }
        }
    }
    assert_true(all > ROUNDS / 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_costliest_pool_before_the_least_loaded),
        cmocka_unit_test(test_then_the_least_loaded),
        cmocka_unit_test(test_then_the_fewest_sessions_and_the_coldest),
        cmocka_unit_test(test_words_say_why),
        cmocka_unit_test(test_whatever_they_are_like),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
