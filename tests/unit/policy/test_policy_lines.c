/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_policy_lines.c - the protocol of `freshet decide`: who gets an answer, and that what is not
 * understood holds the count.
 */
#include "policy_case.h"

#include "policy/policy_lines.h"

#define HELLO_ONE "{\"type\":\"hello\",\"version\":1,\"dt\":5.0,\"min\":1,\"max\":80}"
#define HELLO "{\"type\":\"hello\",\"version\":1,\"dt\":5.0,\"min\":2,\"max\":80,\"drain\":30.0}"

static enum policy_line
take(struct policy_lines *lines, const char *text, long *out_count)
{
    char answer[POLICY_ANSWER_BYTES] = "";
    enum policy_line what = policy_lines_take(lines, fr_view_of(text), answer);
    *out_count = what == POLICY_LINE_SILENT ? -1 : strtol(answer, NULL, 10);
    return what;
}

static enum policy_line
tick_of(struct policy_lines *lines, int t_s, const char *load, long *out_count)
{
    char text[256];
    (void)snprintf(text, sizeof(text), "{\"type\":\"tick\",\"t\":%d,\"starting\":0,%s}", t_s, load);
    return take(lines, text, out_count);
}

static enum policy_line
tick(struct policy_lines *lines, int t_s, const char *rate, const char *util, const char *ready,
     long *out_count)
{
    char load[192];
    (void)snprintf(load, sizeof(load),
                   "\"rate\":%s,\"util\":%s,\"slow\":0.0,\"queue\":0,\"ready\":%s", rate, util,
                   ready);
    return tick_of(lines, t_s, load, out_count);
}

static void
test_who_is_answered(void **state)
{
    struct policy_lines *lines = policy_lines_new(POLICY_FORECAST);
    long count;
    (void)state;
    assert_int_equal(take(lines, HELLO, &count), POLICY_LINE_SILENT);
    assert_int_equal(take(lines, "{\"type\":\"later\"}", &count), POLICY_LINE_SILENT);
    assert_int_equal(tick(lines, 0, "500", "0.5", "10", &count), POLICY_LINE_ANSWER);
    assert_in_range(count, 7, 10);
    assert_int_equal(take(lines, "", &count), POLICY_LINE_BAD);
    assert_int_equal(take(lines, "{\"type\":\"tick\"}", &count), POLICY_LINE_BAD);
    assert_int_equal(take(lines, "[1]", &count), POLICY_LINE_BAD);
    assert_in_range(count, 7, 10);
    policy_lines_free(&lines);
    assert_null(lines);
}

/* A member that does 80 requests/s is given 40 for long, then 90: a second one is wanted within
 * three ticks, however little the past makes of it. */
static void
test_more_than_all_can_do_is_a_reason(void **state)
{
    struct policy_lines *lines = policy_lines_new(POLICY_FORECAST);
    long count;
    int t_s = 0;
    (void)state;
    (void)take(lines, HELLO_ONE, &count);
    for (; t_s < 1000; t_s += 5) {
        assert_int_equal(tick(lines, t_s, "40", "0.5", "1", &count), POLICY_LINE_ANSWER);
        assert_int_equal(count, 1);
    }
    for (int i = 0; i < 3; i++, t_s += 5)
        assert_int_equal(tick(lines, t_s, "90", "1", "1", &count), POLICY_LINE_ANSWER);
    assert_int_equal(count, 2);
    policy_lines_free(&lines);
}

/* One member does 100 requests/s, 400 come from the first tick on; what cannot be done waits. */
static void
test_a_cluster_that_begins_overloaded_grows(void **state)
{
    struct policy_lines *lines = policy_lines_new(POLICY_FORECAST);
    long count = 0;
    (void)state;
    (void)take(lines, HELLO_ONE, &count);
    for (int i = 1; i <= 3; i++) {
        char load[128];
        (void)snprintf(load, sizeof(load),
                       "\"rate\":400,\"util\":1,\"slow\":1,\"queue\":%d,\"ready\":1", 1500 * i);
        assert_int_equal(tick_of(lines, 5 * i, load, &count), POLICY_LINE_ANSWER);
    }
    assert_in_range(count, 4, 12);
    policy_lines_free(&lines);
}

/* Ten members and no request; then a few, which tell what a member does: the first opinion gives
 * nothing back before it has lasted. Where nobody comes at all, all but the minimum go. */
static void
test_a_first_opinion_has_to_last(void **state)
{
    struct policy_lines *lines = policy_lines_new(POLICY_FORECAST);
    long count = 0;
    int t_s = 0;
    (void)state;
    (void)take(lines, HELLO, &count);
    for (; t_s < 50; t_s += 5) {
        (void)tick(lines, t_s, "0", "0", "10", &count);
        assert_int_equal(count, 10);
    }
    for (; t_s < 70; t_s += 5) {
        (void)tick(lines, t_s, "100", "0.1", "10", &count);
        assert_int_equal(count, 10);
    }
    for (; t_s < 600; t_s += 5)
        (void)tick(lines, t_s, "100", "0.1", "10", &count);
    assert_in_range(count, 2, 4);
    policy_lines_free(&lines);

    lines = policy_lines_new(POLICY_FORECAST);
    (void)take(lines, HELLO, &count);
    for (t_s = 0; t_s < 600; t_s += 5)
        (void)tick(lines, t_s, "0", "0", "10", &count);
    assert_int_equal(count, 2);
    policy_lines_free(&lines);

    lines = policy_lines_new(POLICY_FORECAST); /* tunnels: nobody comes, and all are busy */
    (void)take(lines, HELLO, &count);
    for (t_s = 0; t_s < 600; t_s += 5)
        (void)tick(lines, t_s, "0", "0.2", "10", &count);
    assert_int_equal(count, 10);
    policy_lines_free(&lines);
}

/* Six members, nobody, half a tick of load, then all of it, steadily: that it began is no error of
 * the forecast, which would be remembered as the greatest of all. */
static void
test_a_load_that_begins_is_no_error(void **state)
{
    struct policy_lines *lines = policy_lines_new(POLICY_FORECAST);
    long count = 0;
    int t_s = 0;
    (void)state;
    (void)take(lines, HELLO, &count);
    for (; t_s < 25; t_s += 5)
        (void)tick(lines, t_s, "0", "0", "6", &count);
    (void)tick(lines, t_s, "150", "0.3125", "6", &count);
    for (t_s += 5; t_s < 300; t_s += 5) {
        (void)tick(lines, t_s, "300", "0.625", "6", &count);
        assert_in_range(count, 4, 7);
    }
    policy_lines_free(&lines);
}

/* A third of a member may lack among thirty, not among one: it is late. */
static void
test_little_lacks_among_few(void **state)
{
    struct policy_lines *lines = policy_lines_new(POLICY_FORECAST);
    long count = 0;
    (void)state;
    (void)take(lines, HELLO_ONE, &count);
    for (int i = 0; i < 60; i++)
        assert_int_equal(tick_of(lines, 5 * i,
                                 "\"rate\":85,\"util\":0.85,\"slow\":0.03,\"queue\":0,\"ready\":1",
                                 &count),
                         POLICY_LINE_ANSWER);
    assert_int_equal(count, 2);
    policy_lines_free(&lines);
}

static void
test_limits_of_the_hello_hold(void **state)
{
    (void)state;
    for (int kind = 0; kind < POLICY_KIND_COUNT; kind++) {
        struct policy_lines *lines = policy_lines_new((enum policy_kind)kind);
        long count;
        (void)take(lines, HELLO, &count);
        assert_int_equal(take(lines, "x", &count), POLICY_LINE_BAD);
        assert_int_equal(count, 2);
        for (int i = 0; i < 2000; i++) {
            (void)tick(lines, 5 * i, i < 1000 ? "1" : "90000", i < 1000 ? "0.001" : "1.0", "10",
                       &count);
            assert_in_range(count, 2, 80);
        }
        policy_lines_free(&lines);
    }
}

static void
test_nonsense_holds(void **state)
{
    static const char *const bad[][3] = {
        {"null", "0.5", "20"},     {"-1", "0.5", "20"},   {"1e300", "0.5", "20"},
        {"\"many\"", "0.5", "20"}, {"0", "null", "20"},   {"0", "-3", "20"},
        {"2000", "1.0", "-1"},     {"2000", "1", "1e99"}, {"2000", "1", "null"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct policy_lines *lines = policy_lines_new(POLICY_FORECAST);
        long count = 0;
        long before = 0;
        (void)take(lines, HELLO, &count);
        for (int k = 0; k < 200; k++)
            (void)tick(lines, 5 * k, "1600", "0.8", "20", &before);
        assert_in_range(before, 16, 24);
        for (int k = 200; k < 205; k++) {
            (void)tick(lines, 5 * k, bad[i][0], bad[i][1], bad[i][2], &count);
            assert_true(count >= before);
        }
        policy_lines_free(&lines);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_answered),
        cmocka_unit_test(test_more_than_all_can_do_is_a_reason),
        cmocka_unit_test(test_a_cluster_that_begins_overloaded_grows),
        cmocka_unit_test(test_little_lacks_among_few),
        cmocka_unit_test(test_a_load_that_begins_is_no_error),
        cmocka_unit_test(test_a_first_opinion_has_to_last),
        cmocka_unit_test(test_limits_of_the_hello_hold),
        cmocka_unit_test(test_nonsense_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
