/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_key.c - primary keys and the fields Vary selects by.
 *
 * Follows:    RFC 9111 sections 2 and 4.1.
 */
#include "cache_help.h"

static const struct fr_hash_key hash_key = {1, 2};
static struct http_head head;
static struct cache__key key;

static void
primary_key(void **state)
{
    (void)state;
    help_request(&head, "GET http://b/P?q=1 HTTP/1.1\r\nHost: a\r\n\r\n");
    struct cache_request ask = help_ask(&head, NOW);
    ask.scheme = FR_VIEW("http");
    ask.host = FR_VIEW("example.com:80");
    assert_true(cache__key_make(&hash_key, &ask, &key));
    assert_true(fr_view_is(fr_view_make(key.text, key.len), "http://example.com:80/P?q=1"));
}

static void
primary_key_is_bounded(void **state)
{
    (void)state;
    static char host[CACHE__KEY_BYTES_MAX + 1];
    memset(host, 'h', sizeof(host));
    help_request(&head, GET(""));
    struct cache_request ask = help_ask(&head, NOW);
    size_t rest = strlen("http://") + strlen("/x");
    ask.host = fr_view_make(host, CACHE__KEY_BYTES_MAX - rest);
    assert_true(cache__key_make(&hash_key, &ask, &key));
    assert_int_equal(key.len, CACHE__KEY_BYTES_MAX);
    ask.host.len++;
    assert_false(cache__key_make(&hash_key, &ask, &key));
    struct cache_store *store = help_store(1024 * 1024, 1024);
    struct cache_entry *entry;
    assert_int_equal(help_lookup(store, &ask, &entry), CACHE_BYPASS);
    cache_store_free(&store);
}

static bool
vary(const char *response, const char *want)
{
    struct cache__vary out;
    help_response(&head, response);
    if (!cache__vary_read(&head, &cache_policy_default, &out))
        return want == NULL;
    return want && fr_view_is(fr_view_make(out.names, out.len), want);
}

static void
vary_names(void **state)
{
    (void)state;
    assert_true(vary(OK(""), ""));
    assert_true(
        vary(OK("Vary: Accept, ,ACCEPT-Encoding\r\nvary: x\r\n"), "accept,accept-encoding,x"));
    assert_true(vary(OK("Vary: *\r\n"), NULL));
    assert_true(vary(OK("Vary: a, *\r\n"), NULL));
    assert_true(vary(OK("Vary: a b\r\n"), NULL));
    static char long_one[1024] = "HTTP/1.1 200 OK\r\nVary: ";
    size_t start = strlen(long_one);
    memset(long_one + start, 'v', CACHE__VARY_BYTES_MAX);
    memcpy(long_one + start + CACHE__VARY_BYTES_MAX, "\r\n\r\n", 5);
    struct cache__vary out;
    help_response(&head, long_one);
    assert_true(cache__vary_read(&head, &cache_policy_default, &out));
    memcpy(long_one + start + CACHE__VARY_BYTES_MAX, "v\r\n\r\n", 6);
    assert_true(vary(long_one, NULL));
}

static bool
same(const char *names, const char *one, const char *other)
{
    struct fr_hash128 a;
    struct fr_hash128 b;
    help_request(&head, one);
    assert_true(cache__select_hash(&hash_key, fr_view_of(names), &head, &a));
    help_request(&head, other);
    assert_true(cache__select_hash(&hash_key, fr_view_of(names), &head, &b));
    return a.lo == b.lo && a.hi == b.hi;
}

static void
selecting(void **state)
{
    (void)state;
    assert_true(same("accept", GET("Accept: a\r\n"), GET("ACCEPT:   a \r\n")));
    assert_true(same("accept", GET("Accept: a\r\nX: 1\r\n"), GET("Accept: a\r\nX: 2\r\n")));
    assert_true(same("accept", GET("Accept: a\r\n"), GET("Accept: A\r\n")));
    assert_false(same("x", GET("X: a\r\n"), GET("X: A\r\n")));
    assert_false(same("accept", GET("Accept:\r\n"), GET("")));
    assert_false(same("accept", GET("Accept: a\r\nAccept: b\r\n"), GET("Accept: a\r\n")));
    assert_false(same("x,y", GET("X: 1\r\n"), GET("Y: 1\r\n")));
    assert_false(same("x,y", GET("X: 1\r\nY: 2\r\n"), GET("X: 2\r\nY: 1\r\n")));
    assert_true(same("range", GET("Range: a\r\n"), GET("rAnge: a\r\n"))); /* a known field */
}

/* RFC 9111 section 4.1: what is known to mean the same. */
static void
selecting_normalises(void **state)
{
    (void)state;
    const char *al = "accept-language";
    assert_true(same("x", GET("X: 1,2\r\n"), GET("X:  1, 2 \r\n")));
    assert_true(same("x", GET("X: 1, 2\r\n"), GET("X: 1\r\nX: 2\r\n")));
    assert_false(same("x", GET("X: 1, 2\r\n"), GET("X: 2, 1\r\n")));
    assert_false(same("x", GET("X: \"1,2\"\r\n"), GET("X: \"1, 2\"\r\n")));
    assert_false(same("cookie", GET("Cookie: a=1,2\r\n"), GET("Cookie: a=1, 2\r\n")));
    assert_true(same(al, GET("Accept-Language: en, de\r\n"), GET("Accept-Language: DE,en\r\n")));
    assert_true(same(al, GET("Accept-Language: en;q=1.0, de;q=0.5\r\n"),
                     GET("Accept-Language: de ; q=0.50, EN\r\n")));
    assert_false(same(al, GET("Accept-Language: en, de;q=0.5\r\n"),
                      GET("Accept-Language: de, en;q=0.5\r\n")));
    assert_false(same(al, GET("Accept-Language: en\r\n"), GET("Accept-Language: en, de;q=0\r\n")));
    assert_false(same("accept", GET("Accept: a/b;level=1\r\n"), GET("Accept: a/b;level=2\r\n")));
    assert_true(same("accept-encoding", GET("Accept-Encoding: gzip, br\r\n"),
                     GET("Accept-Encoding: BR,gzip\r\n")));
}

static void
key_is(const struct cache_policy *policy, const char *request, const char *host, const char *want)
{
    struct cache__key made;
    help_request(&head, request);
    struct cache_request ask = help_ask(&head, NOW);
    ask.host = fr_view_of(host);
    ask.policy = policy;
    assert_true(cache__key_make(&hash_key, &ask, &made));
    if (!fr_view_is(fr_view_make(made.text, made.len), want))
        fail_msg("got %.*s", (int)made.len, made.text);
}

static void
keys_by_policy(void **state)
{
    (void)state;
    struct cache_policy policy = cache_policy_default;
    const char *request = "GET /p?b=2&a=1&b HTTP/1.1\r\nHost: a\r\nX-Device: m\r\n\r\n";
    key_is(&policy, request, "a:80", "http://a:80/p?b=2&a=1&b");
    policy.key_query = CACHE_QUERY_SORTED;
    key_is(&policy, request, "a", "http://a/p?a=1&b&b=2");
    policy.key_query = CACHE_QUERY_NONE;
    policy.key_any_host = true;
    key_is(&policy, request, "a", "http://*/p#");
    policy.key_headers = FR_VIEW("X-Device");
    key_is(&policy, request, "a", "http://*/p#\n+m,");
    key_is(&policy, "GET /p HTTP/1.1\r\nHost: a\r\n\r\n", "a", "http://*/p#\n-");
}

static void
selecting_is_bounded(void **state)
{
    (void)state;
    static char text[CACHE__SELECT_BYTES_MAX + 256] = "GET /x HTTP/1.1\r\nHost: a\r\nX: ";
    size_t start = strlen(text);
    memset(text + start, 'v', CACHE__SELECT_BYTES_MAX);
    memcpy(text + start + CACHE__SELECT_BYTES_MAX, "\r\n\r\n", 5);
    struct cache_store *store = help_store(1024 * 1024, 1024);
    const char *response = OK("Vary: x\r\nCache-Control: max-age=60\r\nContent-Length: 0\r\n");
    assert_false(help_put(store, text, response, "", NOW));
    assert_true(help_put(store, GET("X: 1\r\n"), response, "", NOW));
    assert_int_equal(help_answer(store, text, NOW), CACHE_MISS);
    assert_false(help_put(store, GET(""),
                          OK("Vary: *\r\nCache-Control: max-age=60\r\n"
                             "Content-Length: 0\r\n"),
                          "", NOW));
    cache_store_free(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(primary_key),          cmocka_unit_test(primary_key_is_bounded),
        cmocka_unit_test(vary_names),           cmocka_unit_test(selecting),
        cmocka_unit_test(selecting_normalises), cmocka_unit_test(keys_by_policy),
        cmocka_unit_test(selecting_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
