/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_condition.c - conditional requests: each field, malformed ones, and their order.
 */
#include "http/http_select.h"

#include "http_help.h"

#include <stdio.h>

#define IS_DATE "Sun, 06 Nov 1994 08:49:37 GMT"
#define BEFORE "Sun, 06 Nov 1994 08:49:36 GMT"
#define AFTER "Sun, 06 Nov 1994 08:49:38 GMT"
#define IS_S 784111777
#define NOW_S 1700000000

static const struct http_validators is = {{"\"a,b\"", 5}, IS_S};

static struct http_head *
parse(const char *method, const char *fields)
{
    static struct http_head head;
    static char text[1024];
    struct http_err err;
    size_t scanned = 0;
    (void)snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: a\r\n%s\r\n", method, fields);
    if (http_request_parse(fr_view_of(text), &http_limits_default, &scanned, &head, &err) !=
        HTTP_DONE)
        fail_msg("not parsed: %s", text);
    return &head;
}

#define GO HTTP_CONDITION_GO_ON
#define NOT HTTP_CONDITION_NOT_MODIFIED
#define FAIL HTTP_CONDITION_FAILED

static const struct {
    const char *fields;
    enum http_condition get, post;
} rows[] = {
    {"", GO, GO},
    /* If-None-Match: weak comparison, lists, several fields */
    {"If-None-Match: \"a,b\"\r\n", NOT, FAIL},
    {"If-None-Match: W/\"a,b\"\r\n", NOT, FAIL},
    {"If-None-Match: *\r\n", NOT, FAIL},
    {"If-None-Match: \"x\", \"a,b\"\r\n", NOT, FAIL},
    {"If-None-Match: , ,\"x\" ,\t\"a,b\",\r\n", NOT, FAIL},
    {"If-None-Match: \"x\"\r\nIf-None-Match: \"a,b\"\r\n", NOT, FAIL},
    {"If-None-Match: \"a\"\r\n", GO, GO},
    {"If-None-Match: \"\"\r\n", GO, GO},
    {"If-None-Match: \"a\",b\"\r\n", GO, GO},
    {"If-None-Match: a,b\r\n", GO, GO},
    {"If-None-Match: w/\"a,b\"\r\n", GO, GO}, /* W is case-sensitive */
    {"If-None-Match: \"a,b\r\n", GO, GO},
    {"If-None-Match:\r\n", GO, GO},
    {"If-None-Match: \"x\\\", \"a,b\"\r\n", NOT, FAIL}, /* a backslash is no escape */
    /* If-Modified-Since: GET and HEAD alone, ignored beside If-None-Match and when no date */
    {"If-Modified-Since: " IS_DATE "\r\n", NOT, GO},
    {"If-Modified-Since: " AFTER "\r\n", NOT, GO},
    {"If-Modified-Since: " BEFORE "\r\n", GO, GO},
    {"If-Modified-Since: Sunday, 06-Nov-94 08:49:37 GMT\r\n", NOT, GO},
    {"If-Modified-Since: yesterday\r\n", GO, GO},
    {"If-Modified-Since: " IS_DATE "\r\nIf-Modified-Since: " IS_DATE "\r\n", GO, GO},
    {"If-None-Match: \"x\"\r\nIf-Modified-Since: " IS_DATE "\r\n", GO, GO},
    {"If-None-Match: \"a,b\"\r\nIf-Modified-Since: " BEFORE "\r\n", NOT, FAIL},
    /* If-Match: strong comparison; malformed ones fail */
    {"If-Match: \"a,b\"\r\n", GO, GO},
    {"If-Match: *\r\n", GO, GO},
    {"If-Match: \"x\", \"a,b\"\r\n", GO, GO},
    {"If-Match: W/\"a,b\"\r\n", FAIL, FAIL},
    {"If-Match: \"x\"\r\n", FAIL, FAIL},
    {"If-Match: junk\r\n", FAIL, FAIL},
    {"If-Match:\r\n", FAIL, FAIL},
    /* If-Unmodified-Since: ignored beside If-Match and when no date */
    {"If-Unmodified-Since: " IS_DATE "\r\n", GO, GO},
    {"If-Unmodified-Since: " AFTER "\r\n", GO, GO},
    {"If-Unmodified-Since: " BEFORE "\r\n", FAIL, FAIL},
    {"If-Unmodified-Since: junk\r\n", GO, GO},
    {"If-Match: \"a,b\"\r\nIf-Unmodified-Since: " BEFORE "\r\n", GO, GO},
    /* the order of section 13.2.2 */
    {"If-Match: \"x\"\r\nIf-None-Match: \"a,b\"\r\n", FAIL, FAIL},
    {"If-Match: \"a,b\"\r\nIf-None-Match: \"a,b\"\r\n", NOT, FAIL},
    {"If-Unmodified-Since: " BEFORE "\r\nIf-None-Match: \"a,b\"\r\n", FAIL, FAIL},
    {"If-Unmodified-Since: " IS_DATE "\r\nIf-Modified-Since: " IS_DATE "\r\n", NOT, GO},
};

static void
test_judge(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        enum http_condition get = http_condition_judge(parse("GET", rows[i].fields), &is, NOW_S);
        enum http_condition head = http_condition_judge(parse("HEAD", rows[i].fields), &is, NOW_S);
        enum http_condition post = http_condition_judge(parse("POST", rows[i].fields), &is, NOW_S);
        if (get != rows[i].get || head != rows[i].get || post != rows[i].post)
            fail_msg("%s: GET %d, HEAD %d, POST %d", rows[i].fields, (int)get, (int)head,
                     (int)post);
    }
}

static void
test_a_weak_tag_matches_weakly_only(void **state)
{
    const struct http_validators weak = {{"W/\"a,b\"", 7}, IS_S};
    (void)state;
    assert_int_equal(http_condition_judge(parse("GET", "If-None-Match: \"a,b\"\r\n"), &weak, NOW_S),
                     NOT);
    assert_int_equal(http_condition_judge(parse("GET", "If-Match: \"a,b\"\r\n"), &weak, NOW_S),
                     FAIL);
    assert_int_equal(http_condition_judge(parse("GET", "If-Match: W/\"a,b\"\r\n"), &weak, NOW_S),
                     FAIL);
    assert_false(http_condition_if_range(parse("GET", "If-Range: W/\"a,b\"\r\n"), &weak, NOW_S));
}

static void
test_if_range(void **state)
{
    static const struct {
        const char *fields;
        bool want;
    } ifs[] = {
        {"", true},
        {"If-Range: \"a,b\"\r\n", true},
        {"If-Range: W/\"a,b\"\r\n", false},
        {"If-Range: \"x\"\r\n", false},
        {"If-Range: \"a,b\", \"x\"\r\n", false}, /* one tag, no list */
        {"If-Range: \"a,b\r\n", false},
        {"If-Range: *\r\n", false},
        {"If-Range:\r\n", false},
        {"If-Range: " IS_DATE "\r\n", true},
        {"If-Range: " AFTER "\r\n", false}, /* exact, not "since" */
        {"If-Range: " BEFORE "\r\n", false},
        {"If-Range: \"a,b\"\r\nIf-Range: \"a,b\"\r\n", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(ifs) / sizeof(ifs[0]); i++)
        if (http_condition_if_range(parse("GET", ifs[i].fields), &is, NOW_S) != ifs[i].want)
            fail_msg("%s", ifs[i].fields);
    /* Within the second of the change a date proves nothing. */
    assert_false(http_condition_if_range(parse("GET", "If-Range: " IS_DATE "\r\n"), &is, IS_S));
    assert_true(http_condition_if_range(parse("GET", "If-Range: " IS_DATE "\r\n"), &is, IS_S + 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),
        cmocka_unit_test(test_a_weak_tag_matches_weakly_only),
        cmocka_unit_test(test_if_range),
    };
    return cmocka_run_group_tests_name("http-condition", tests, NULL, NULL);
}
