/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_http_range.c - byte ranges: forms, ends, junk, overflow, too many, too much.
 */
#include "http/http_select.h"

#include "http_help.h"

#include <inttypes.h>
#include <stdio.h>

#define WHOLE "whole"
#define REFUSED "refused"

static const struct {
    const char *value;
    uint64_t size;
    const char *want; /* "first+bytes ..." */
} rows[] = {
    {"bytes=0-0", 10, "0+1"},
    {"bytes=0-9", 10, "0+10"},
    {"bytes=0-", 10, "0+10"},
    {"bytes=9-", 10, "9+1"},
    {"bytes=9-9", 10, "9+1"},
    {"bytes=9-99", 10, "9+1"},
    {"bytes=3-5", 10, "3+3"},
    {"bytes=-1", 10, "9+1"},
    {"bytes=-10", 10, "0+10"},
    {"bytes=-11", 10, "0+10"},
    {"BYTES=0-0", 10, "0+1"},
    {"bytes= 0-0 , 2-3\t,-1", 10, "0+1 2+2 9+1"},
    {"bytes=,0-0,,", 10, "0+1"},
    {"bytes=5-6,0-1", 10, "5+2 0+2"}, /* in the client's order */
    /* past the end */
    {"bytes=10-", 10, REFUSED},
    {"bytes=10-11", 10, REFUSED},
    {"bytes=-0", 10, REFUSED},
    {"bytes=10-,11-,-0", 10, REFUSED},
    {"bytes=10-,0-1", 10, "0+2"},
    {"bytes=0-", 0, REFUSED},
    {"bytes=0-0", 0, REFUSED},
    {"bytes=-5", 0, REFUSED},
    /* numbers past 64 bits */
    {"bytes=0-18446744073709551615", 10, "0+10"},
    {"bytes=0-18446744073709551616", 10, "0+10"},
    {"bytes=0-99999999999999999999999999999", 10, "0+10"},
    {"bytes=18446744073709551615-", 10, REFUSED},
    {"bytes=99999999999999999999999999999-", 10, REFUSED},
    {"bytes=-99999999999999999999999999999", 10, "0+10"},
    {"bytes=0-", UINT64_MAX, "0+18446744073709551615"},
    {"bytes=00000000000000000000000000000001-2", 10, "1+2"},
    /* no range of bytes at all: ignored */
    {"", 10, WHOLE},
    {"bytes", 10, WHOLE},
    {"bytes=", 10, WHOLE},
    {"bytes=,", 10, WHOLE},
    {"bytes=-", 10, WHOLE},
    {"bytes=5-4", 10, WHOLE},
    {"bytes=1", 10, WHOLE},
    {"bytes=a-b", 10, WHOLE},
    {"bytes=1-2x", 10, WHOLE},
    {"bytes=1 -2", 10, WHOLE},
    {"bytes=1--2", 10, WHOLE},
    {"bytes=+1-2", 10, WHOLE},
    {"bytes=0x1-2", 10, WHOLE},
    {"bytes =0-1", 10, WHOLE},
    {"lines=0-1", 10, WHOLE},
    {"bytes=0-1,junk", 10, WHOLE},
    {"bytes=0-1,5-4", 10, WHOLE},
    /* more than there is, in all */
    {"bytes=0-9,0-0", 10, WHOLE},
    {"bytes=0-,0-,0-", 10, WHOLE},
    {"bytes=0-5,4-9", 10, WHOLE},
    {"bytes=0-5,4-7", 10, "0+6 4+4"}, /* overlapping, yet no more than the whole */
    {"bytes=0-3,1-2,1-1", 10, "0+4 1+2 1+1"},
    /* more than four are too many here */
    {"bytes=0-0,1-1,2-2,3-3", 10, "0+1 1+1 2+1 3+1"},
    {"bytes=0-0,1-1,2-2,3-3,4-4", 10, WHOLE},
    {"bytes=20-,21-,22-,23-,24-", 10, WHOLE},
};

static void
test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct http_range ranges[HTTP_RANGES_MAX];
        size_t count = 0, at = 0;
        char got[256] = "";
        size_t len = strlen(rows[i].value);
        char *copy = test_malloc(len ? len : 1);
        memcpy(copy, rows[i].value, len);
        enum http_range_result result =
            http_range_parse(fr_view_make(copy, len), rows[i].size, 4, ranges, &count);
        test_free(copy);
        if (result != HTTP_RANGE_PARTS)
            (void)snprintf(got, sizeof(got), result == HTTP_RANGE_WHOLE ? WHOLE : REFUSED);
        for (size_t k = 0; result == HTTP_RANGE_PARTS && k < count; k++)
            at += (size_t)snprintf(got + at, sizeof(got) - at, "%s%" PRIu64 "+%" PRIu64,
                                   k ? " " : "", ranges[k].first, ranges[k].bytes);
        if (strcmp(got, rows[i].want) != 0)
            fail_msg("%s of %" PRIu64 ": %s, wanted %s", rows[i].value, rows[i].size, got,
                     rows[i].want);
    }
}

/* However large the caller's bound, the array is the end. */
static void
test_array_is_the_last_bound(void **state)
{
    struct http_range ranges[HTTP_RANGES_MAX];
    char text[1024] = "bytes=";
    size_t count = 0, at = strlen(text);
    (void)state;
    for (int i = 0; i < HTTP_RANGES_MAX; i++)
        at += (size_t)snprintf(text + at, sizeof(text) - at, "%d-%d,", i, i);
    assert_int_equal(http_range_parse(fr_view_of(text), 1000, SIZE_MAX, ranges, &count),
                     HTTP_RANGE_PARTS);
    assert_int_equal(count, HTTP_RANGES_MAX);
    (void)snprintf(text + at, sizeof(text) - at, "900-");
    assert_int_equal(http_range_parse(fr_view_of(text), 1000, SIZE_MAX, ranges, &count),
                     HTTP_RANGE_WHOLE);
    assert_int_equal(http_range_parse(fr_view_of("bytes=0-1"), 1000, 0, ranges, &count),
                     HTTP_RANGE_WHOLE); /* none allowed */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_array_is_the_last_bound),
    };
    return cmocka_run_group_tests_name("http-range", tests, NULL, NULL);
}
