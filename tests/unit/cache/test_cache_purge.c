/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_purge.c - by URL, prefix and tag, and all; hard and soft; what is on its way; counts.
 */
#include "cache_help.h"

#include <stdio.h>

#define MEMORY (1024 * 1024)
#define TAGGED(fields) OK("Cache-Control: max-age=60\r\n" fields "Content-Length: 5\r\n")
#define GET_PATH(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

static uint64_t
purge(struct cache_store *store, enum cache_purge_kind kind, const char *text, bool soft)
{
    uint64_t serial = 0;
    const struct cache_purge what = {kind, soft, fr_view_of(text)};
    assert_int_equal(cache_purge(store, &what, NOW + S, &serial), FR_OK);
    return serial;
}

static struct cache_purged
swept(struct cache_store *store, uint64_t serial)
{
    struct cache_purged out;
    while (!cache_purge_sweep(store, 100, NOW + S))
        continue;
    assert_true(cache_purge_swept(store, serial, &out));
    cache__store_check(store);
    return out;
}

static void
put(struct cache_store *store, const char *path, const char *response)
{
    char request[256];
    (void)snprintf(request, sizeof(request), GET_PATH("%s"), path);
    assert_true(help_put(store, request, response, "hello", NOW));
}

static enum cache_answer
get(struct cache_store *store, const char *path)
{
    char request[256];
    (void)snprintf(request, sizeof(request), GET_PATH("%s"), path);
    return help_answer(store, request, NOW + S);
}

static void
by_url(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    static const char *const same[] = {"http://a/x", "https://A/x#part", "//a/x", " //a/x "};
    static const char *const others[] = {"http://a/", "//a/x/", "//a/X", "//a/x?", "//b/x"};
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        put(store, "/x", TAGGED(""));
        put(store, "/y", TAGGED(""));
        struct cache_purged out;
        uint64_t serial = purge(store, CACHE_PURGE_URL, same[i], false);
        assert_true(cache_purge_swept(store, serial, &out)); /* at once */
        assert_int_equal(out.objects, 1);
        assert_int_equal(help_counters(store).entries, 1);
        assert_int_equal(get(store, "/x"), CACHE_MISS);
        assert_int_equal(get(store, "/y"), CACHE_FRESH);
    }
    put(store, "/x", TAGGED(""));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        (void)purge(store, CACHE_PURGE_URL, others[i], false);
    assert_int_equal(get(store, "/x"), CACHE_FRESH);
    put(store, "/", TAGGED(""));
    (void)purge(store, CACHE_PURGE_URL, "http://a", false); /* RFC 9110 section 4.2.3 */
    assert_int_equal(get(store, "/"), CACHE_MISS);
    put(store, "/?q", TAGGED(""));
    (void)purge(store, CACHE_PURGE_URL, "http://a?q", false);
    assert_int_equal(get(store, "/?q"), CACHE_MISS);
    cache__store_check(store);
    cache_store_free(&store);
}

static void
by_url_all_variants(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    char request[128];
    for (int i = 0; i < 5; i++) {
        (void)snprintf(request, sizeof(request), GET("Accept-Encoding: %d\r\n"), i);
        assert_true(help_put(store, request, TAGGED("Vary: Accept-Encoding\r\n"), "hello", NOW));
    }
    struct cache_purged out;
    assert_true(cache_purge_swept(store, purge(store, CACHE_PURGE_URL, "//a/x", false), &out));
    assert_int_equal(out.objects, 5);
    assert_int_equal(help_counters(store).entries, 0);
    cache_store_free(&store);
}

/* A host that a trusted proxy claims stands in the key behind the one asked for. */
static void
by_url_claimed_host(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    static const enum cache_purge_kind kinds[] = {CACHE_PURGE_URL, CACHE_PURGE_PREFIX};
    for (size_t i = 0; i < 2; i++) {
        struct http_head request, response;
        struct cache_entry *entry;
        help_request(&request, GET(""));
        help_response(&response, TAGGED(""));
        struct cache_request ask = help_ask(&request, NOW);
        ask.host = FR_VIEW("a claimed");
        struct cache_filler *filler =
            cache_fill_begin(store, &ask, &response, HTTP_BODY_LENGTH, NOW, NOW);
        assert_non_null(filler);
        assert_int_equal(cache_fill_add(&filler, FR_VIEW("hello")), FR_OK);
        cache_fill_commit(&filler);
        assert_int_equal(help_lookup(store, &ask, &entry), CACHE_FRESH);
        cache_entry_unref(&entry);
        (void)purge(store, kinds[i], "http://a/x", false);
        assert_int_equal(help_lookup(store, &ask, &entry), CACHE_MISS);
    }
    cache_store_free(&store);
}

static void
by_tag(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    put(store, "/1", TAGGED("Surrogate-Key: red  green\r\n"));
    put(store, "/2", TAGGED("Cache-Tag: green, blue sky\r\nSurrogate-Key: x\r\n"));
    put(store, "/3", TAGGED("cache-tag: Red\r\nCache-Tag: blue\r\n"));
    uint64_t serial = purge(store, CACHE_PURGE_TAG, "green", false);
    assert_int_equal(get(store, "/1"), CACHE_MISS); /* before any sweep */
    assert_int_equal(get(store, "/2"), CACHE_MISS);
    assert_int_equal(get(store, "/3"), CACHE_FRESH);
    assert_int_equal(swept(store, serial).objects, 2);
    assert_int_equal(help_counters(store).entries, 1);
    serial = purge(store, CACHE_PURGE_TAG, "red", false); /* a tag is taken as it is spelt */
    assert_int_equal(swept(store, serial).objects, 0);
    put(store, "/2", TAGGED("Cache-Tag: green, blue sky\r\n"));
    assert_int_equal(swept(store, purge(store, CACHE_PURGE_TAG, "blue", false)).objects, 1);
    assert_int_equal(swept(store, purge(store, CACHE_PURGE_TAG, "blue sky", false)).objects, 1);
    /* What comes after a purge stays. */
    put(store, "/1", TAGGED("Surrogate-Key: red green\r\n"));
    assert_int_equal(get(store, "/1"), CACHE_FRESH);
    cache_store_free(&store);
}

static void
too_many_tags(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    char response[4096];
    for (int tags = 255; tags <= 256; tags++) { /* and the URL's */
        int len = snprintf(response, sizeof(response),
                           "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: "
                           "5\r\nSurrogate-Key:");
        for (int i = 0; i < tags; i++)
            len += snprintf(response + len, sizeof(response) - (size_t)len, " t%d", i);
        (void)snprintf(response + len, sizeof(response) - (size_t)len, "\r\n\r\n");
        assert_int_equal(help_put(store, GET(""), response, "hello", NOW), tags == 255);
    }
    assert_int_equal(help_counters(store).refused_tags, 1);
    (void)purge(store, CACHE_PURGE_TAG, "t254", false);
    assert_int_equal(help_answer(store, GET(""), NOW), CACHE_MISS);
    cache_store_free(&store);
}

static void
by_prefix(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    put(store, "/img/1", TAGGED(""));
    put(store, "/img/2?x", TAGGED(""));
    put(store, "/imp", TAGGED(""));
    uint64_t serial = purge(store, CACHE_PURGE_PREFIX, "http://a/img/", false);
    assert_int_equal(get(store, "/img/1"), CACHE_MISS);
    assert_int_equal(get(store, "/imp"), CACHE_FRESH);
    assert_int_equal(swept(store, serial).objects, 2);
    assert_int_equal(swept(store, purge(store, CACHE_PURGE_PREFIX, "//b", false)).objects, 0);
    assert_int_equal(swept(store, purge(store, CACHE_PURGE_PREFIX, "//a/im", false)).objects, 1);
    cache_store_free(&store);
}

static void
of_all(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    put(store, "/1", TAGGED(""));
    put(store, "/2", TAGGED("Cache-Tag: x\r\n"));
    uint64_t empty_entries = 0;
    uint64_t serial = purge(store, CACHE_PURGE_ALL, "", false);
    assert_int_equal(get(store, "/1"), CACHE_MISS);
    assert_int_equal(swept(store, serial).objects, 2);
    assert_int_equal(help_counters(store).entries, empty_entries);
    cache_store_free(&store);
}

static void
softly(void **state)
{
    (void)state;
    static const struct {
        enum cache_purge_kind kind;
        const char *text;
    } rows[] = {{CACHE_PURGE_URL, "//a/x"},
                {CACHE_PURGE_TAG, "t"},
                {CACHE_PURGE_PREFIX, "//a/"},
                {CACHE_PURGE_ALL, ""}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cache_store *store = help_store(MEMORY, MEMORY);
        put(store, "/x", TAGGED("Cache-Tag: t\r\n"));
        uint64_t serial = purge(store, rows[i].kind, rows[i].text, true);
        assert_int_equal(get(store, "/x"), CACHE_MISS);
        assert_int_equal(help_answer(store, GET("Cache-Control: max-stale=10\r\n"), NOW + 2 * S),
                         CACHE_STALE_ALLOWED);
        struct cache_entry *entry = NULL;
        assert_int_equal(
            help_get(store, GET("Cache-Control: max-stale=10\r\n"), NOW + 2 * S, &entry),
            CACHE_STALE_ALLOWED);
        assert_int_equal(cache_entry_left_s(entry, NOW + 2 * S), -1); /* Cache-Status says so */
        cache_entry_unref(&entry);
        /* Stale since the purge: a second then, twelve later. */
        assert_int_equal(help_answer(store, GET("Cache-Control: max-stale=10\r\n"), NOW + 13 * S),
                         CACHE_MISS);
        (void)swept(store, serial);
        assert_int_equal(help_counters(store).entries, 1);
        assert_int_equal(get(store, "/x"), CACHE_MISS);
        /* Hard after soft. */
        assert_int_equal(swept(store, purge(store, rows[i].kind, rows[i].text, false)).objects, 1);
        assert_int_equal(help_counters(store).entries, 0);
        cache_store_free(&store);
    }
}

/* Asked for before the purge, there after it: old news, whichever way it was purged. */
/* It does not become fresh by a clock that is set back, and no older than it was. */
static void
softly_and_the_clock_is_set_back(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    put(store, "/x", TAGGED("Surrogate-Key: a\r\n"));
    (void)purge(store, CACHE_PURGE_TAG, "a", true);
    assert_int_equal(help_answer(store, GET(""), NOW + 30 * S), CACHE_MISS);
    assert_int_equal(help_answer(store, GET(""), NOW + 20 * S), CACHE_MISS);
    assert_int_equal(help_answer(store, GET("Cache-Control: max-stale=5\r\n"), NOW + 20 * S),
                     CACHE_STALE_ALLOWED);
    assert_int_equal(help_answer(store, GET(""), NOW + 40 * S), CACHE_MISS);
    cache_store_free(&store);
}

#define PART(first, last)                                                                          \
    "HTTP/1.1 206 X\r\nCache-Control: max-age=60\r\nETag: \"v\"\r\nContent-Length: 5\r\n"          \
    "Content-Range: bytes " first "-" last "/20\r\n\r\n"

/* A newer part with the same tag does not bring the older one back. */
static void
parts_are_not_joined_to_what_was_purged(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    assert_true(help_put(store, GET("Range: bytes=0-4\r\n"), PART("0", "4"), "wrong", NOW));
    (void)purge(store, CACHE_PURGE_URL, "//a/x", false);
    assert_true(help_put(store, GET("Range: bytes=5-9\r\n"), PART("5", "9"), "right", NOW));
    assert_int_equal(help_answer(store, GET("Range: bytes=5-9\r\n"), NOW), CACHE_FRESH);
    assert_int_equal(help_answer(store, GET("Range: bytes=0-4\r\n"), NOW), CACHE_MISS);
    assert_int_equal(help_answer(store, GET("Range: bytes=0-9\r\n"), NOW), CACHE_MISS);
    cache_store_free(&store);
}

/* A member that cannot be asked does not bring back what was purged meanwhile. */
static void
no_error_brings_it_back(void **state)
{
    (void)state;
    struct http_head request;
    struct cache_found found;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    put(store, "/x", TAGGED("ETag: \"1\"\r\n"));
    help_request(&request, GET(""));
    struct cache_request ask = help_ask(&request, NOW + 61 * S);
    assert_int_equal(cache_lookup(store, &ask, &found), CACHE_VALIDATE);
    assert_true(cache_entry_serves_error(found.entry, &ask, false));
    (void)purge(store, CACHE_PURGE_URL, "//a/x", false);
    assert_false(cache_entry_serves_error(found.entry, &ask, false));
    cache_entry_unref(&found.entry);
    cache_store_free(&store);
}

static void
on_its_way(void **state)
{
    (void)state;
    static const struct {
        enum cache_purge_kind kind;
        const char *text;
    } rows[] = {{CACHE_PURGE_URL, "//a/x"},
                {CACHE_PURGE_TAG, "t"},
                {CACHE_PURGE_PREFIX, "//a/x"},
                {CACHE_PURGE_ALL, ""}};
    struct http_head request, response;
    help_request(&request, GET(""));
    help_response(&response, TAGGED("Cache-Tag: t\r\n"));
    for (size_t i = 0; i < 2 * sizeof(rows) / sizeof(rows[0]); i++) {
        struct cache_store *store = help_store(MEMORY, MEMORY);
        struct cache_request ask = help_ask(&request, NOW);
        ask.serial = cache_purge_serial(store);
        (void)purge(store, rows[i / 2].kind, rows[i / 2].text, i % 2);
        struct cache_filler *filler =
            cache_fill_begin(store, &ask, &response, HTTP_BODY_LENGTH, NOW, NOW);
        assert_non_null(filler);
        assert_int_equal(cache_fill_add(&filler, FR_VIEW("hello")), FR_OK);
        cache_fill_commit(&filler);
        assert_int_equal(help_counters(store).entries, 0);
        assert_int_equal(help_counters(store).refused_purged, 1);
        cache_store_free(&store);
    }
}

/* A prefix that is not remembered any more still keeps out what was asked for before it. */
static void
on_its_way_for_long(void **state)
{
    (void)state;
    struct http_head request, response;
    help_request(&request, GET(""));
    help_response(&response, TAGGED(""));
    struct cache_store *store = help_store(MEMORY, MEMORY);
    struct cache_request ask = help_ask(&request, NOW);
    ask.serial = cache_purge_serial(store);
    uint64_t serial = purge(store, CACHE_PURGE_PREFIX, "//a/x", false);
    for (int i = 0; i < CACHE_PURGES_MAX + 1; i++) {
        (void)swept(store, serial);
        serial = purge(store, CACHE_PURGE_PREFIX, "//b/", false);
    }
    struct cache_filler *filler =
        cache_fill_begin(store, &ask, &response, HTTP_BODY_LENGTH, NOW, NOW);
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("hello")), FR_OK);
    cache_fill_commit(&filler);
    assert_int_equal(help_counters(store).refused_purged, 1);
    cache_store_free(&store);
}

static void
more_than_can_be_kept(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    char text[64];
    uint64_t serial;
    put(store, "/x", TAGGED("Cache-Tag: last\r\n"));
    for (int i = 0; i < CACHE_PURGES_MAX; i++) {
        (void)snprintf(text, sizeof(text), "//b/%d", i);
        (void)purge(store, CACHE_PURGE_PREFIX, text, false);
    }
    const struct cache_purge prefix = {CACHE_PURGE_PREFIX, false, FR_VIEW("//a/")};
    assert_int_equal(cache_purge(store, &prefix, NOW, &serial), FR_ERR_FULL);
    assert_int_equal(get(store, "/x"), CACHE_FRESH);
    serial = purge(store, CACHE_PURGE_TAG, "last", false); /* needs no place */
    assert_int_equal(get(store, "/x"), CACHE_MISS);
    (void)swept(store, serial);
    struct cache_purged total;
    cache_purge_total(store, &total);
    assert_int_equal(total.objects, 1);
    assert_int_equal(cache_purge(store, &prefix, NOW, &serial), FR_OK);
    cache_store_free(&store);
}

static void
nonsense(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    static const char *const urls[] = {"",   "/x",   "a/x",    "http:/a/x",
                                       "//", "///x", "x//a/x", "//?q"};
    uint64_t serial;
    for (size_t i = 0; i < sizeof(urls) / sizeof(urls[0]); i++) {
        struct cache_purge what = {CACHE_PURGE_URL, false, fr_view_of(urls[i])};
        assert_int_equal(cache_purge(store, &what, NOW, &serial), FR_ERR_SYNTAX);
        what.kind = CACHE_PURGE_PREFIX;
        assert_int_equal(cache_purge(store, &what, NOW, &serial), FR_ERR_SYNTAX);
    }
    const struct cache_purge tag = {CACHE_PURGE_TAG, false, FR_VIEW("  ")};
    assert_int_equal(cache_purge(store, &tag, NOW, &serial), FR_ERR_SYNTAX);
    assert_int_equal(cache_purge_serial(store), 1);
    cache_store_free(&store);
}

static void
rates_of(uint32_t owner)
{
    struct cache_store *store = help_store(MEMORY, MEMORY);
    struct http_head request, response;
    help_request(&request, GET(""));
    help_response(&response, TAGGED(""));
    struct cache_request ask = help_ask(&request, NOW);
    ask.owner = owner;
    struct cache_filler *filler =
        cache_fill_begin(store, &ask, &response, HTTP_BODY_LENGTH, NOW, NOW - 9 * S);
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("hello")), FR_OK);
    cache_fill_commit(&filler);
    for (int i = 0; i < 40; i++)
        assert_int_equal(get(store, "/x"), CACHE_FRESH);
    struct cache_purged out;
    assert_true(cache_purge_swept(store, purge(store, CACHE_PURGE_URL, "//a/x", false), &out));
    assert_true(out.requests_per_s > 3.9 && out.requests_per_s < 4.1); /* 40 in 10 s */
    cache_purge_owner(store, owner, &out);
    assert_true(out.requests_per_s > 3.9 && out.requests_per_s < 4.1);
    assert_int_equal(out.objects, 1);
    cache_purge_owner(store, owner ^ 1, &out);
    assert_int_equal(out.objects, 0);
    cache_store_free(&store);
}

static void
rates_by_owner(void **state)
{
    (void)state;
    rates_of(7);
    rates_of(CACHE_OWNERS_MAX - 1);
}

/* What a route leaves out of the key is named by every URL that could have been asked for. */
static void
by_url_of_another_key(void **state)
{
    (void)state;
    static const struct {
        bool any_host;
        enum cache_query query;
        enum cache_purge_kind kind;
        const char *purge;
        bool gone;
    } rows[] = {
        {true, CACHE_QUERY_WHOLE, CACHE_PURGE_URL, "//b/x?b=2&a=1", true},
        {true, CACHE_QUERY_WHOLE, CACHE_PURGE_URL, "//b/x", false},
        {true, CACHE_QUERY_WHOLE, CACHE_PURGE_PREFIX, "//b/x", true},
        {true, CACHE_QUERY_WHOLE, CACHE_PURGE_PREFIX, "//b", true},
        {true, CACHE_QUERY_WHOLE, CACHE_PURGE_PREFIX, "//b/y", false},
        {false, CACHE_QUERY_NONE, CACHE_PURGE_URL, "//a/x?c", true},
        {false, CACHE_QUERY_NONE, CACHE_PURGE_URL, "//a/x", true},
        {false, CACHE_QUERY_NONE, CACHE_PURGE_URL, "//b/x", false},
        {false, CACHE_QUERY_NONE, CACHE_PURGE_PREFIX, "//a/x?c", true},
        {false, CACHE_QUERY_NONE, CACHE_PURGE_PREFIX, "//a/x/y?c", false},
        {true, CACHE_QUERY_NONE, CACHE_PURGE_URL, "//b/x?c", true},
        {false, CACHE_QUERY_SORTED, CACHE_PURGE_URL, "//a/x?b=2&a=1", true},
        {false, CACHE_QUERY_SORTED, CACHE_PURGE_URL, "//a/x?a=1&b=2", true},
        {false, CACHE_QUERY_SORTED, CACHE_PURGE_URL, "//a/x?a=1", false},
        {false, CACHE_QUERY_WHOLE, CACHE_PURGE_URL, "//a/x", false},
        {false, CACHE_QUERY_WHOLE, CACHE_PURGE_URL, "//a/x?b=2", false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        static struct http_head req, res;
        struct cache_store *store = help_store(MEMORY, MEMORY);
        struct cache_policy policy = cache_policy_default;
        struct cache_found found;
        policy.key_any_host = rows[i].any_host;
        policy.key_query = rows[i].query;
        help_request(&req, GET_PATH("/x?b=2&a=1"));
        help_response(&res, TAGGED(""));
        struct cache_request ask = help_ask(&req, NOW);
        ask.policy = &policy;
        struct cache_filler *filler =
            cache_fill_begin(store, &ask, &res, HTTP_BODY_LENGTH, NOW, NOW);
        assert_int_equal(cache_fill_add(&filler, FR_VIEW("hello")), FR_OK);
        cache_fill_commit(&filler);
        uint64_t serial = purge(store, rows[i].kind, rows[i].purge, false);
        bool there = cache_lookup(store, &ask, &found) == CACHE_FRESH;
        cache_entry_unref(&found.entry);
        if (there == rows[i].gone)
            fail_msg("row %zu: %s", i, there ? "it is still there" : "it is gone");
        if (rows[i].query != CACHE_QUERY_SORTED && swept(store, serial).objects != rows[i].gone)
            fail_msg("row %zu: not counted", i);
        cache_store_free(&store);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_url),
        cmocka_unit_test(by_url_all_variants),
        cmocka_unit_test(by_url_of_another_key),
        cmocka_unit_test(by_url_claimed_host),
        cmocka_unit_test(by_tag),
        cmocka_unit_test(too_many_tags),
        cmocka_unit_test(by_prefix),
        cmocka_unit_test(of_all),
        cmocka_unit_test(softly),
        cmocka_unit_test(softly_and_the_clock_is_set_back),
        cmocka_unit_test(parts_are_not_joined_to_what_was_purged),
        cmocka_unit_test(no_error_brings_it_back),
        cmocka_unit_test(on_its_way),
        cmocka_unit_test(on_its_way_for_long),
        cmocka_unit_test(more_than_can_be_kept),
        cmocka_unit_test(nonsense),
        cmocka_unit_test(rates_by_owner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
