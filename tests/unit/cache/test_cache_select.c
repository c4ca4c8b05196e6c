/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_select.c - what of a stored response a request gets.
 *
 * Follows:    RFC 9110 section 14; RFC 9111 sections 3.3 and 3.4.
 */
#include "cache_help.h"

#define PART(first, last)                                                                          \
    "HTTP/1.1 206 X\r\nCache-Control: max-age=60\r\nETag: \"v\"\r\nContent-Length: 5\r\n"          \
    "Content-Range: bytes " first "-" last "/20\r\n\r\n"

/* What was put together answered no one range, so that it is not the answer to an empty one. */
static void
an_empty_range_is_none(void **state)
{
    (void)state;
    struct cache_store *store = help_store(1024 * 1024, 65536);
    assert_true(help_put(store, GET("Range: bytes=0-4\r\n"), PART("0", "4"), "hello", NOW));
    assert_true(help_put(store, GET("Range: bytes=5-9\r\n"), PART("5", "9"), "world", NOW));
    assert_int_equal(help_answer(store, GET("Range: bytes=3-7\r\n"), NOW), CACHE_FRESH);
    assert_int_equal(help_answer(store, GET("Range:\r\n"), NOW), CACHE_MISS);
    assert_int_equal(help_answer(store, GET(""), NOW), CACHE_MISS);
    cache_store_free(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(an_empty_range_is_none)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
