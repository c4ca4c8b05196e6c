/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_schedule.c - floors and ceilings by the clock, under every engine.
 */
#include "policy_case.h"

#define EIGHT (20000LL * 86400 + 8 * 3600) /* in UTC */

static struct fr_zone utc;
static struct fr_cron at_eight;

static struct policy_window
window(uint32_t min, uint32_t max)
{
    struct fr_view word;
    if (!fr_cron_parse(FR_VIEW("0 8 * * *"), &at_eight, &word))
        fail();
    return (struct policy_window){
        .cron = &at_eight, .zone = &utc, .for_s = 3600, .min = min, .max = max, .words = "eight"};
}

static struct policy_settings
settings_at(const struct policy_window *windows, size_t count, int64_t wall_s, int64_t ahead_s)
{
    struct policy_settings settings = policy_case_settings();
    policy_schedule(windows, count, wall_s, ahead_s, &settings);
    return settings;
}

static void
opens_and_closes(void **state)
{
    (void)state;
    struct policy_window one = window(4, 6);
    struct policy_settings settings = settings_at(&one, 1, EIGHT - 1, 0);
    assert_int_equal(settings.min, 1);
    assert_int_equal(settings.max, 8);
    assert_null(settings.min_words);
    settings = settings_at(&one, 1, EIGHT, 0);
    assert_int_equal(settings.min, 4);
    assert_int_equal(settings.max, 6);
    assert_string_equal(settings.min_words, "eight");
    settings = settings_at(&one, 1, EIGHT + 3599, 0);
    assert_int_equal(settings.min, 4);
    settings = settings_at(&one, 1, EIGHT + 3600, 0);
    assert_int_equal(settings.min, 1);
}

static void
a_floor_counts_a_startup_earlier_and_a_ceiling_does_not(void **state)
{
    (void)state;
    struct policy_window one = window(4, 6);
    struct policy_settings settings = settings_at(&one, 1, EIGHT - 60, 60);
    assert_int_equal(settings.min, 4);
    assert_int_equal(settings.max, 8);
    settings = settings_at(&one, 1, EIGHT - 61, 60);
    assert_int_equal(settings.min, 1);
}

static void
the_highest_min_and_the_lowest_max_and_min_before_max(void **state)
{
    (void)state;
    struct policy_window some[] = {window(2, 5), window(4, 0), window(3, 7), window(0, 3)};
    struct policy_settings settings = settings_at(some, 3, EIGHT, 0);
    assert_int_equal(settings.min, 4);
    assert_int_equal(settings.max, 5);
    settings = settings_at(some, 4, EIGHT, 0);
    assert_int_equal(settings.min, 4);
    assert_int_equal(settings.max, 4);
}

static void
clocks_that_cannot_be_open_nothing(void **state)
{
    (void)state;
    struct policy_window one = window(4, 6);
    static const int64_t walls[] = {INT64_MIN, -1, INT64_MAX, INT64_MAX / 2};
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(settings_at(&one, 1, walls[i], INT64_MAX).min, 1);
    assert_int_equal(settings_at(&one, 1, EIGHT, INT64_MIN).min, 4);
}

static void
every_engine_keeps_to_it(void **state)
{
    (void)state;
    struct policy_window one = window(4, 6);
    struct policy_member members[8];
    char ids[8][8];
    for (size_t kind = 0; kind < POLICY_KIND_COUNT; kind++) {
        struct policy_settings settings = settings_at(&one, 1, EIGHT, 0);
        struct policy_state memory = {.forecast = NULL};
        struct policy_decision decision;
        settings.kind = (enum policy_kind)kind;
        memory.forecast = calloc(1, policy_forecast_bytes());
        policy_forecast_init(memory.forecast);
        for (size_t i = 0; i < 8; i++) {
            (void)snprintf(ids[i], sizeof(ids[i]), "web-%zu", i);
            members[i] = policy_case_member(ids[i], 0.01);
        }
        /* Two idle ones: up to the floor at once. */
        (void)policy_decide(&settings, &memory, members, 2, NULL, NOW, &decision, 1);
        assert_int_equal(decision.verdict, POLICY_ALLOCATE);
        assert_int_equal(decision.rule, POLICY_RULE_BELOW_MIN);
        assert_int_equal(decision.count, 2);
        char words[POLICY_SENTENCE_BYTES];
        policy_sentence(&settings, &decision, words, sizeof(words));
        assert_non_null(strstr(words, "scheduled: at least 4 (eight)"));
        assert_non_null(strstr(words, "scheduled: at most 6 (eight)"));
        /* Four idle ones: none is given back, however long it lasts. */
        for (int64_t s = 0; s < 3600; s += 5) {
            (void)policy_decide(&settings, &memory, members, 4, NULL, NOW + s * SECOND, &decision,
                                1);
            assert_int_equal(decision.verdict, POLICY_HOLD);
        }
        /* Six busy ones: no more are asked for. */
        for (size_t i = 0; i < 6; i++)
            members[i].utilization = 0.99;
        (void)policy_decide(&settings, &memory, members, 6, NULL, NOW + 3700 * SECOND, &decision,
                            1);
        assert_int_equal(decision.verdict, POLICY_HOLD);
        free(memory.forecast);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_and_closes),
        cmocka_unit_test(a_floor_counts_a_startup_earlier_and_a_ceiling_does_not),
        cmocka_unit_test(the_highest_min_and_the_lowest_max_and_min_before_max),
        cmocka_unit_test(clocks_that_cannot_be_open_nothing),
        cmocka_unit_test(every_engine_keeps_to_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
