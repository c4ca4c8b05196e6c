/* SPDX-License-Identifier: Apache-2.0 */
/* test_policy_sentence.c - decisions in words: exact for some, whole for all. */
#include "policy_case.h"

static struct policy_decision
full_decision(void)
{
    return (struct policy_decision){
        .verdict = POLICY_ALLOCATE,
        .rule = POLICY_RULE_UPPER,
        .count = 2,
        .member = "web-1",
        .weight = 50,
        .ready = 3,
        .mean = 0.7,
        .highest = 0.93,
        .highest_id = "web-3",
        .after = 0.66,
        .needed = 5,
        .wait_us = 1500000,
    };
}

static void
expect(enum policy_verdict verdict, enum policy_rule rule, const char *expected)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_decision decision = full_decision();
    char text[POLICY_SENTENCE_BYTES];
    decision.verdict = verdict;
    decision.rule = rule;
    policy_sentence(&settings, &decision, text, sizeof(text));
    assert_string_equal(text, expected);
}

static void
test_sentences(void **state_)
{
    (void)state_;
    expect(POLICY_ALLOCATE, POLICY_RULE_UPPER,
           "allocate 2: web-3 at 0.93, upper level 0.80; 3 ready, 0 starting");
    expect(POLICY_DEALLOCATE, POLICY_RULE_LOWER,
           "deallocate web-1: mean 0.70, lower level 0.30, 0.66 after it; 3 ready, 0 starting");
    expect(POLICY_HOLD, POLICY_RULE_UPPER_WAIT,
           "hold: web-3 at 0.93, upper level 0.80, must last for 1.5 s more; 3 ready, 0 starting");
    expect(POLICY_HOLD, POLICY_RULE_LOWER_WOULD_CROSS,
           "hold: mean 0.70, lower level 0.30, but 0.66 after it would be too near the upper level "
           "0.80; 3 ready, 0 starting");
    expect(POLICY_WEIGHT, POLICY_RULE_RELIEVE_WEIGHT,
           "weight of web-1 to 50: at or above the upper level 0.80, mean 0.70; 3 ready, "
           "0 starting");
    expect(POLICY_HOLD, POLICY_RULE_UNKNOWN,
           "hold: no member has a usable number; 3 ready, 0 starting");
}

/* Whoever reads it knows neither margins nor factors. */
static void
test_a_forecast_in_words(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_decision decision = full_decision();
    char text[POLICY_SENTENCE_BYTES];
    (void)state_;
    decision.verdict = POLICY_ALLOCATE;
    decision.rule = POLICY_RULE_RISE;
    decision.needed = 5;
    decision.rate = 320;
    decision.forecast = 340;
    decision.margin = 1.25;
    decision.ahead_s = 35;
    decision.capacity = 100;
    decision.voice = "a line through 8 looks";
    policy_sentence(&settings, &decision, text, sizeof(text));
    assert_string_equal(
        text, "allocate 2: 5 wanted: 340 requests/s expected in 35 s, when a new member would "
              "serve (320 now; by a line through 8 looks), with 25 % to spare for its errors and "
              "for latency, and a member does 100; 3 ready, 0 starting");
    decision.margin = 0.9;
    policy_sentence(&settings, &decision, text, sizeof(text));
    assert_null(strstr(text, "to spare"));
    decision.held_back = 3;
    settings.changes_per_minute = 2;
    policy_sentence(&settings, &decision, text, sizeof(text));
    assert_non_null(strstr(text, "; 3 more held back: no more than 2 may change in a minute; 3 "));
}

static void
test_the_others_are_counted(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_decision decision = full_decision();
    char text[POLICY_SENTENCE_BYTES];
    (void)state_;
    decision.starting = 1;
    decision.draining = 2;
    decision.stale = 3;
    policy_sentence(&settings, &decision, text, sizeof(text));
    assert_non_null(strstr(text, "; 3 ready, 1 starting, 2 draining, 3 stale"));
}

static bool
is_utf8(const char *text)
{
    for (size_t i = 0; text[i] != '\0';) {
        unsigned char c = (unsigned char)text[i];
        size_t bytes = c < 0x80 ? 1 : c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 0;
        if (bytes == 0)
            return false;
        for (size_t j = 1; j < bytes; j++) {
            if (((unsigned char)text[i + j] & 0xc0) != 0x80)
                return false;
        }
        i += bytes;
    }
    return true;
}

/* Every rule with every verdict and the longest values: whole where there is room, cut between
 * characters where there is not. */
static void
test_never_cut_inside_a_character(void **state_)
{
    struct policy_settings settings = policy_case_settings();
    struct policy_decision decision = full_decision();
    char text[POLICY_SENTENCE_BYTES], cut[POLICY_SENTENCE_BYTES];
    (void)state_;
    for (size_t i = 0; i < 21; i++) {
        memcpy(decision.member + 3 * i, "\xe6\xb0\xb4", 4); /* 63 bytes and a NUL */
        memcpy(decision.highest_id + 3 * i, "\xe6\xb0\xb4", 4);
    }
    decision.highest = decision.mean = decision.after = 1e308;
    decision.wait_us = INT64_MAX;
    decision.count = decision.needed = decision.weight = decision.ready = decision.starting =
        decision.draining = decision.stale = settings.max = settings.min = UINT32_MAX;
    settings.upper = settings.lower = 1e308;
    for (int verdict = POLICY_HOLD; verdict <= POLICY_WEIGHT; verdict++) {
        for (int rule = 0; rule < POLICY_RULE_COUNT; rule++) {
            decision.verdict = (enum policy_verdict)verdict;
            decision.rule = (enum policy_rule)rule;
            policy_sentence(&settings, &decision, text, sizeof(text));
            assert_true(strlen(text) < sizeof(text) - 1);
            assert_true(is_utf8(text));
            assert_non_null(strstr(text, " stale"));
            for (size_t bytes = 1; bytes <= strlen(text) + 1; bytes++) {
                memset(cut, '#', sizeof(cut));
                policy_sentence(&settings, &decision, cut, bytes);
                assert_true(strlen(cut) < bytes);
                assert_true(strlen(cut) + 3 >= bytes - 1);
                assert_memory_equal(cut, text, strlen(cut));
                assert_true(is_utf8(cut));
            }
        }
    }
}

static void
test_rules_have_names_and_words(void **state_)
{
    (void)state_;
    for (int i = 0; i < POLICY_RULE_COUNT; i++) {
        assert_true(strlen(policy_rule_name((enum policy_rule)i)) > 0);
        assert_true(strlen(policy_rule_words((enum policy_rule)i)) > 10);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(policy_rule_name((enum policy_rule)i),
                                    policy_rule_name((enum policy_rule)j));
    }
    assert_string_equal(policy_rule_name(POLICY_RULE_LOWER_WOULD_CROSS), "lower-would-cross");
    assert_string_equal(policy_rule_name(POLICY_RULE_COUNT), "unknown");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sentences),
        cmocka_unit_test(test_a_forecast_in_words),
        cmocka_unit_test(test_the_others_are_counted),
        cmocka_unit_test(test_never_cut_inside_a_character),
        cmocka_unit_test(test_rules_have_names_and_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
