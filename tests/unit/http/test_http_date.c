/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_date.c - the three forms, their near misses, and every day for five centuries.
 *
 * Follows:    RFC 9110 section 5.6.7.
 */
#include "http_help.h"

#define THE_DATE INT64_C(784111777)
#define Y2026 INT64_C(1767225600) /* 2026-01-01 */

static bool
date(const char *text, int64_t now_s, int64_t want_s)
{
    int64_t s = -1;
    return http_date_parse(fr_view_of(text), now_s, &s) && s == want_s;
}

static void
forms(void **state)
{
    (void)state;
    assert_true(date("Sun, 06 Nov 1994 08:49:37 GMT", Y2026, THE_DATE));
    assert_true(date("Sunday, 06-Nov-94 08:49:37 GMT", Y2026, THE_DATE));
    assert_true(date("SUN, 06 NOV 1994 08:49:37 gMT", Y2026, THE_DATE)); /* RFC 9111 section 4.2 */
    assert_true(date("sunday, 06-nov-94 08:49:37 gmt", Y2026, THE_DATE));
    assert_true(date("Sun Nov  6 08:49:37 1994", Y2026, THE_DATE));
    assert_true(date("Wed Nov 16 08:49:37 1994", Y2026, THE_DATE + 10 * 86400));
    assert_true(date("Thu, 01 Jan 1970 00:00:00 GMT", Y2026, 0));
    assert_true(date("Thu, 29 Feb 2024 00:00:00 GMT", Y2026, 1709164800));
    assert_true(date("Sat, 31 Dec 2016 23:59:60 GMT", Y2026, 1483228800)); /* a leap second */
    assert_true(date("Fri, 31 Dec 9999 23:59:59 GMT", Y2026, 253402300799));
}

static void
two_digit_years(void **state)
{
    (void)state;
    /* Seen from 2026: 76 is 50 years ahead and stays, 77 is more and was 1977. */
    assert_true(date("Wednesday, 01-Jan-76 00:00:00 GMT", Y2026, 3345062400));
    assert_true(date("Saturday, 01-Jan-77 00:00:00 GMT", Y2026, 220924800));
    assert_true(date("Thursday, 01-Jan-26 00:00:00 GMT", Y2026, Y2026));
}

static void
refused(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "0",
        "-1",
        "Sun",
        "Sun,",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        " Sun, 06 Nov 1994 08:49:37 GMT",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun 06 Nov 1994 08:49:37 GMT",
        "Sun,06 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 94 08:49:37 GMT",
        "Sunday, 06 Nov 1994 08:49:37 GMT",
        "Sun, 06-Nov-94 08:49:37 GMT",
        "Sun, 00 Nov 1994 08:49:37 GMT",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Tue, 29 Feb 2023 00:00:00 GMT",
        "Thu, 29 Feb 1900 00:00:00 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49:61 GMT",
        "Sun, 06 Nov 1994 8:49:37 GMT",
        "Xun, 06 Nov 1994 08:49:37 GMT",
        "Sun Nov 6 08:49:37 1994",
        "Sun Nov  6 08:49:37 1994 GMT",
        "Sunday Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 -8:49:37 GMT",
        "1994-11-06T08:49:37Z",
    };
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        int64_t s = -7;
        if (http_date_parse(fr_view_of(texts[i]), Y2026, &s))
            fail_msg("accepted: %s", texts[i]);
        assert_int_equal(s, -7);
    }
    /* Every shorter one, on the heap so that a read too far shows. */
    const char *whole = "Sun, 06 Nov 1994 08:49:37 GMT";
    for (size_t len = 0; len < strlen(whole); len++) {
        char *copy = test_malloc(len + 1);
        int64_t s;
        memcpy(copy, whole, len);
        assert_false(http_date_parse(fr_view_make(copy, len), Y2026, &s));
        test_free(copy);
    }
}

static void
there_and_back(void **state)
{
    (void)state;
    char text[HTTP_DATE_BYTES];
    http_date_format(THE_DATE, text);
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT");
    for (int64_t day = 0; day < 500 * 366; day++) {
        int64_t s = day * 86400 + day % 86400;
        int64_t back;
        http_date_format(s, text);
        assert_true(http_date_parse(fr_view_of(text), Y2026, &back));
        assert_int_equal(back, s);
    }
    http_date_format(-5, text);
    assert_string_equal(text, "Thu, 01 Jan 1970 00:00:00 GMT");
    http_date_format(INT64_MAX, text);
    assert_string_equal(text, "Fri, 31 Dec 9999 23:59:59 GMT");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(two_digit_years),
        cmocka_unit_test(refused),
        cmocka_unit_test(there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
