/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_store.c - finding, variants, eviction, the budget, invalidation.
 *
 * Follows:    RFC 9111 sections 2, 4, 4.1, 4.4.
 */
#include "cache_help.h"

#include <stdio.h>
#include <stdlib.h>

#define MEMORY (1024 * 1024)
#define FRESH_60 OK("Cache-Control: max-age=60\r\nContent-Length: 5\r\n")

static void
hit_until_stale(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    assert_int_equal(help_answer(store, GET(""), NOW), CACHE_MISS);
    assert_true(help_put(store, GET(""), FRESH_60, "hello", NOW));
    assert_true(help_body_is(store, GET(""), NOW + 59 * S, "hello"));
    assert_int_equal(help_answer(store, GET(""), NOW + 60 * S - 1), CACHE_FRESH);
    assert_int_equal(help_answer(store, GET(""), NOW + 60 * S), CACHE_MISS);
    assert_int_equal(help_counters(store).stored, 1);
    assert_int_equal(help_counters(store).entries, 1);
    cache__store_check(store);
    cache_store_free(&store);
    assert_null(store);
}

static void
keys_differ(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    assert_true(help_put(store, GET(""), FRESH_60, "hello", NOW));
    assert_int_equal(help_answer(store, "GET /x? HTTP/1.1\r\nHost: a\r\n\r\n", NOW), CACHE_MISS);
    assert_int_equal(help_answer(store, "GET /X HTTP/1.1\r\nHost: a\r\n\r\n", NOW), CACHE_MISS);
    assert_int_equal(help_answer(store, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", NOW), CACHE_FRESH);
    struct http_head head;
    help_request(&head, GET(""));
    struct cache_request ask = help_ask(&head, NOW);
    struct cache_entry *entry;
    ask.host = FR_VIEW("a:8080");
    assert_int_equal(help_lookup(store, &ask, &entry), CACHE_MISS);
    ask.host = FR_VIEW("a");
    ask.scheme = FR_VIEW("https");
    assert_int_equal(help_lookup(store, &ask, &entry), CACHE_MISS);
    assert_null(entry);
    cache_store_free(&store);
}

static void
newer_replaces(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    assert_true(help_put(store, GET(""), FRESH_60, "hello", NOW));
    uint64_t bytes = help_live(store);
    struct cache_entry *old;
    assert_int_equal(help_get(store, GET(""), NOW, &old), CACHE_FRESH);
    assert_true(help_put(store, GET(""), FRESH_60, "world", NOW));
    assert_true(help_body_is(store, GET(""), NOW, "world"));
    assert_int_equal(help_counters(store).entries, 1);
    /* The reader of the old one keeps it, and it keeps counting. */
    struct fr_view body;
    assert_true(cache_entry_body(old, 0, &body));
    assert_true(fr_view_is(body, "hello"));
    assert_true(help_live(store) > bytes);
    cache_entry_unref(&old);
    assert_int_equal(help_live(store), bytes);
    cache_store_free(&store);
}

/* Ages are kept in milliseconds, and nothing may become younger by that. */
static void
parts_of_a_millisecond_count(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    struct http_head request, response;
    help_request(&request, GET(""));
    help_response(&response, FRESH_60);
    struct cache_request ask = help_ask(&request, NOW);
    struct cache_filler *filler =
        cache_fill_begin(store, &ask, &response, HTTP_BODY_LENGTH, NOW - 900, NOW);
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("hello")), FR_OK);
    cache_fill_commit(&filler);
    assert_int_equal(help_answer(store, GET(""), NOW + 60 * S - 2000), CACHE_FRESH);
    assert_int_equal(help_answer(store, GET(""), NOW + 60 * S - 500), CACHE_MISS);
    cache_store_free(&store);
}

#define VARIED() OK("Cache-Control: max-age=60\r\nVary: Accept-Encoding\r\nContent-Length: 5\r\n")
#define GET_AE(value) GET("Accept-Encoding: " value "\r\n")

static void
variants(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    assert_true(help_put(store, GET_AE("gzip"), VARIED(), "gzipd", NOW));
    assert_true(help_put(store, GET(""), VARIED(), "plain", NOW));
    assert_true(help_put(store, GET("Accept-Encoding:\r\n"), VARIED(), "empty", NOW));
    assert_true(help_body_is(store, GET_AE("gzip"), NOW, "gzipd"));
    assert_true(help_body_is(store, GET("accept-encoding:  gzip \r\n"), NOW, "gzipd"));
    assert_true(help_body_is(store, GET(""), NOW, "plain"));
    assert_true(help_body_is(store, GET("Accept-Encoding:\r\n"), NOW, "empty"));
    assert_int_equal(help_answer(store, GET_AE("br"), NOW), CACHE_MISS);
    assert_int_equal(help_counters(store).entries, 3);
    /* The resource varies by nothing now: what varied is gone. */
    assert_true(help_put(store, GET_AE("br"), FRESH_60, "hello", NOW));
    assert_int_equal(help_counters(store).entries, 1);
    assert_true(help_body_is(store, GET_AE("gzip"), NOW, "hello"));
    cache__store_check(store);
    cache_store_free(&store);
}

static void
variants_are_bounded(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    char request[128];
    for (int i = 0; i < 40; i++) {
        (void)snprintf(request, sizeof(request), GET("Accept-Encoding: %d\r\n"), i);
        assert_true(help_put(store, request, VARIED(), "hello", NOW));
        assert_int_equal(help_counters(store).entries, i < 16 ? i + 1 : 16);
    }
    assert_int_equal(help_answer(store, GET_AE("23"), NOW), CACHE_MISS);
    assert_int_equal(help_answer(store, GET_AE("24"), NOW), CACHE_FRESH);
    cache__store_check(store);
    cache_store_free(&store);
}

static void
invalidation(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    struct http_head head;
    help_request(&head, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    struct cache_request post = help_ask(&head, NOW + S);
    assert_true(help_put(store, GET_AE("gzip"), VARIED(), "gzipd", NOW));
    assert_true(help_put(store, GET(""), VARIED(), "plain", NOW));
    assert_true(help_put(store, "GET /y HTTP/1.1\r\nHost: a\r\n\r\n", FRESH_60, "hello", NOW));
    cache_invalidate(store, &post);
    assert_int_equal(help_counters(store).entries, 1);
    assert_int_equal(help_answer(store, GET(""), NOW + S), CACHE_MISS);
    /* What was asked for before the change, and comes in after it, is old news. */
    (void)help_put(store, GET(""), FRESH_60, "stale", NOW);
    assert_int_equal(help_answer(store, GET(""), NOW + S), CACHE_MISS);
    (void)help_put(store, GET(""), FRESH_60, "newer", NOW + 2 * S);
    assert_true(help_body_is(store, GET(""), NOW + 2 * S, "newer"));
    /* A safe method changes nothing. */
    struct http_head safe;
    help_request(&safe, GET(""));
    struct cache_request get = help_ask(&safe, NOW + 3 * S);
    cache_invalidate(store, &get);
    assert_int_equal(help_answer(store, GET(""), NOW + 3 * S), CACHE_FRESH);
    cache__store_check(store);
    cache_store_free(&store);
}

/* A clock that ran ahead when it invalidated must not keep its targets off the shelf for ever. */
static void
invalidation_from_the_future(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    struct http_head head;
    help_request(&head, "DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n");
    struct cache_request ask = help_ask(&head, NOW + 86400 * S);
    cache_invalidate(store, &ask);
    assert_true(help_put(store, GET(""), FRESH_60, "hello", NOW));
    assert_int_equal(help_answer(store, GET(""), NOW), CACHE_FRESH);
    cache_store_free(&store);
}

static void
put_numbered(struct cache_store *store, int number, const char *body)
{
    char request[128];
    char response[128];
    (void)snprintf(request, sizeof(request), "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", number);
    (void)snprintf(response, sizeof(response),
                   OK("Cache-Control: max-age=60\r\nContent-Length: %zu\r\n"), strlen(body));
    (void)help_put(store, request, response, body, NOW);
}

static enum cache_answer
get_numbered(struct cache_store *store, int number)
{
    char request[128];
    (void)snprintf(request, sizeof(request), "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", number);
    return help_answer(store, request, NOW);
}

/* Ten times as much as fits: the budget holds at every step, and what is asked for again and again
 * stays (SIEVE). */
static void
budget_and_eviction(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    char body[2001];
    memset(body, 'b', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    put_numbered(store, 0, body);
    for (int i = 1; i < 5000; i++) {
        put_numbered(store, i, body);
        assert_int_equal(get_numbered(store, 0), CACHE_FRESH);
        if (i % 16 == 0)
            assert_int_equal(get_numbered(store, i), CACHE_FRESH);
        assert_true(help_counters(store).bytes <= MEMORY);
    }
    struct cache_counters counters = help_counters(store);
    assert_int_equal(counters.stored, 5000);
    assert_int_equal(counters.entries, counters.stored - counters.evicted);
    assert_true(counters.entries > 280);
    assert_int_equal(counters.refused_full, 0);
    cache__store_check(store);
    cache_store_free(&store);
}

/* One that was never asked for again leaves before one that was. */
static void
sieve_spares_the_visited(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    char body[2001];
    memset(body, 'b', sizeof(body) - 1);
    body[sizeof(body) - 1] = '\0';
    int count = 0;
    while (help_counters(store).bytes + 2600 < MEMORY)
        put_numbered(store, count++, body);
    assert_int_equal(help_counters(store).evicted, 0);
    for (int i = 0; i < count; i += 2)
        assert_int_equal(get_numbered(store, i), CACHE_FRESH);
    for (int i = 0; i < count / 4; i++)
        put_numbered(store, 100000 + i, body);
    int gone_visited = 0;
    int gone_other = 0;
    for (int i = 0; i < count; i++) {
        bool gone = get_numbered(store, i) != CACHE_FRESH;
        gone_visited += gone && i % 2 == 0;
        gone_other += gone && i % 2 == 1;
    }
    /* Shards are not alike: one that holds visited ones only must give one of them. */
    assert_true(gone_other > count / 8);
    assert_true(gone_visited * 4 < gone_other);
    cache_store_free(&store);
}

/* What is held by a reader cannot be given back: then nothing is stored, and little is evicted. */
static void
held_memory_is_not_room(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    size_t big = MEMORY / 2;
    char *body = test_malloc(big + 1);
    memset(body, 'b', big);
    body[big] = '\0';
    put_numbered(store, 0, body);
    struct cache_entry *held;
    assert_int_equal(help_get(store, "GET /0 HTTP/1.1\r\nHost: a\r\n\r\n", NOW, &held),
                     CACHE_FRESH);
    put_numbered(store, 1, body); /* large, and asked for once */
    assert_int_equal(help_counters(store).refused_once, 1);
    assert_int_equal(help_counters(store).refused_full, 0);
    put_numbered(store, 1, body);
    assert_int_equal(get_numbered(store, 1), CACHE_MISS);
    assert_true(help_counters(store).refused_full > 0);
    assert_true(help_counters(store).bytes <= MEMORY);
    assert_int_equal(cache_entry_body_bytes(held), big);
    cache_entry_unref(&held);
    put_numbered(store, 1, body);
    assert_int_equal(get_numbered(store, 1), CACHE_FRESH);
    test_free(body);
    cache_store_free(&store);
}

/* A scan of large ones, each asked for once, leaves alone what many ask for. */
static void
large_ones_knock_first(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    static char body[40001];
    int left = 0;
    memset(body, 'b', 2000);
    for (int i = 0; i < 350; i++)
        put_numbered(store, i, body);
    uint64_t evicted = help_counters(store).evicted;
    memset(body, 'b', sizeof(body) - 1);
    for (int i = 1000; i < 1200; i++)
        put_numbered(store, i, body);
    assert_true(help_counters(store).refused_once > 150);
    for (int i = 0; i < 350; i++)
        left += get_numbered(store, i) == CACHE_FRESH;
    assert_true(left > 250);
    assert_true(help_counters(store).evicted < evicted + 60);
    put_numbered(store, 1199, body); /* asked for again */
    assert_int_equal(get_numbered(store, 1199), CACHE_FRESH);
    cache__store_check(store);
    cache_store_free(&store);
}

static void
count_wake(void *ctx)
{
    ++*(int *)ctx;
}

/* What is evicted waits for every reader's turn; then for those that hold it, and for no others. */
static void
readers_keep_what_they_hold(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    struct cache_reader *readers[2];
    struct cache_found found;
    struct http_head get, change;
    struct fr_view body;
    int woken = 0;
    for (size_t i = 0; i < 2; i++)
        assert_int_equal(cache_reader_new(store, count_wake, &woken, &readers[i]), FR_OK);
    uint64_t empty = help_live(store);
    assert_true(help_put(store, GET(""), FRESH_60, "hello", NOW));
    help_request(&get, GET(""));
    help_request(&change, "DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n");
    struct cache_request ask = help_ask(&get, NOW);
    struct cache_request gone = help_ask(&change, NOW);
    ask.reader = readers[0];
    assert_int_equal(cache_lookup(store, &ask, &found), CACHE_FRESH);
    cache_invalidate(store, &gone);
    assert_int_equal(help_counters(store).entries, 0);
    assert_int_equal(help_counters(store).waiting, 1);
    cache__limbo_wake(cache__store_limbo(store));
    cache__limbo_wake(cache__store_limbo(store));
    assert_int_equal(woken, 2); /* each once, until its turn */
    cache_reader_turn(readers[1]);
    assert_int_equal(help_counters(store).waiting, 1);
    cache_reader_turn(readers[0]); /* has it counted from now on */
    assert_int_equal(help_counters(store).waiting, 0);
    assert_true(help_live(store) > empty);
    struct cache_entry *twice = cache_entry_hold(readers[0], found.entry);
    cache_entry_let_go(readers[0], &found.entry);
    assert_true(cache_entry_body(twice, 0, &body) && fr_view_is(body, "hello"));
    cache_entry_let_go(readers[0], &twice);
    assert_null(twice);
    assert_int_equal(help_live(store), empty);
    /* A pin and a counted reference of one entry, let go the other way round. */
    assert_true(help_put(store, GET(""), FRESH_60, "hello", NOW + S));
    ask.now_us = gone.now_us = NOW + S;
    assert_int_equal(cache_lookup(store, &ask, &found), CACHE_FRESH);
    twice = cache_entry_ref(found.entry);
    cache_entry_let_go(readers[0], &twice);
    twice = found.entry;
    cache_invalidate(store, &gone);
    for (size_t i = 0; i < 2; i++)
        cache_reader_turn(readers[i]);
    assert_true(cache_entry_body(twice, 0, &body) && fr_view_is(body, "hello"));
    cache_entry_let_go(readers[0], &found.entry);
    assert_int_equal(help_live(store), empty);
    for (size_t i = 0; i < 2; i++)
        cache_reader_free(&readers[i]);
    cache_store_free(&store);
}

/* What an object takes besides key, stored head and body: at most 160 bytes, and the sum is true.
 */
static void
metadata_of_an_object(void **state)
{
    (void)state;
    struct cache_store *store = help_store(4 << 20, 1 << 20);
    struct cache_counters before = help_counters(store);
    struct http_head req;
    struct cache_found found;
    help_request(&req, GET(""));
    struct cache_request ask = help_ask(&req, NOW);
    assert_true(CACHE__OBJECT_BYTES <= 160);
    assert_int_equal(before.metadata_bytes, 0);
    assert_true(help_put(store, GET(""), FRESH_60, "hello", NOW));
    struct cache_counters after = help_counters(store);
    assert_int_equal(cache_lookup(store, &ask, &found), CACHE_FRESH);
    uint64_t live = after.head_bytes + after.body_bytes - before.head_bytes - before.body_bytes;
    uint64_t own = cache_entry_head(found.entry).len + cache__entry_key(found.entry).len + 5;
    uint64_t owners = 2 * sizeof(uint32_t), bucket = sizeof(struct cache_entry *);
    assert_int_equal(live - own + owners + bucket, CACHE__OBJECT_BYTES);
    assert_int_equal(after.metadata_bytes, CACHE__OBJECT_BYTES);
    cache_entry_unref(&found.entry);
    cache_store_free(&store);
}

/* The low half of an epoch that is 0 would read as "not retired". */
static void
epochs_wrap(void **state)
{
    (void)state;
    struct cache_store *store = help_store(4 << 20, 1 << 20);
    struct cache__limbo *limbo = cache__store_limbo(store);
    struct cache_reader *reader = NULL;
    struct http_head req, post;
    struct cache_found found;
    limbo->epoch = UINT32_MAX - 1;
    assert_int_equal(cache_reader_new(store, NULL, NULL, &reader), FR_OK);
    help_request(&req, GET(""));
    help_request(&post, "POST /x HTTP/1.1\r\nHost: a\r\n\r\n");
    for (int i = 0; i < 4; i++) {
        struct cache_request ask = help_ask(&req, NOW + i * S);
        struct cache_request gone = help_ask(&post, NOW + i * S);
        ask.reader = reader;
        uint64_t empty = help_live(store);
        assert_true(help_put(store, GET(""), FRESH_60, "hello", NOW + i * S));
        assert_int_equal(cache_lookup(store, &ask, &found), CACHE_FRESH);
        cache_invalidate(store, &gone);
        assert_true(found.entry->retired != 0);
        cache__limbo_empty(limbo);
        assert_int_equal(help_counters(store).waiting, 1); /* the reader has not turned */
        cache_reader_turn(reader);
        assert_int_equal(help_counters(store).waiting, 0);
        cache_entry_let_go(reader, &found.entry);
        assert_int_equal(help_live(store), empty);
    }
    assert_true(limbo->epoch > UINT32_MAX);
    cache_reader_free(&reader);
    cache_store_free(&store);
}

static void
the_clock_runs_on_when_it_is_set_back(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    assert_int_equal(cache_clock_us(store, NOW, 5 * S), NOW);
    assert_int_equal(cache_clock_us(store, NOW + S, 6 * S), NOW + S);
    assert_int_equal(cache_clock_us(store, NOW - 3600 * S, 7 * S), NOW + 2 * S); /* set back */
    assert_int_equal(cache_clock_us(store, NOW - 3600 * S, 7 * S), NOW + 2 * S);
    assert_int_equal(cache_clock_us(store, NOW + 60 * S, 8 * S), NOW + 60 * S); /* and ahead */
    assert_int_equal(cache_clock_us(store, NOW, 9 * S), NOW + 61 * S);
    cache_store_free(&store);
}

/* Dates are by the clock of the day; ages by the other one. */
static void
dates_are_by_the_clock_of_the_day(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    struct http_head request, response;
    struct cache_entry *entry;
    int64_t ahead_us = 3600 * S;
    help_request(&request, GET(""));
    help_response(&response, OK("Date: " NOW_TEXT "\r\nExpires: Sun, 06 Nov 1994 08:50:37 GMT\r\n"
                                "Content-Length: 0\r\n"));
    struct cache_request ask = help_ask(&request, NOW + ahead_us);
    ask.ahead_us = ahead_us;
    struct cache_filler *filler =
        cache_fill_begin(store, &ask, &response, HTTP_BODY_LENGTH, ask.now_us, ask.now_us);
    assert_non_null(filler);
    cache_fill_commit(&filler);
    assert_int_equal(help_get(store, GET(""), ask.now_us + 59 * S, &entry), CACHE_FRESH);
    assert_int_equal(cache_entry_age_s(entry, ask.now_us + 59 * S), 59);
    cache_entry_unref(&entry);
    assert_int_equal(help_answer(store, GET(""), ask.now_us + 61 * S), CACHE_MISS);
    cache_store_free(&store);
}

static void
budget_too_small(void **state)
{
    (void)state;
    struct cache_options options = {CACHE_MEMORY_BYTES_MIN - 1, 1};
    struct cache_store *store = NULL;
    assert_int_equal(cache_store_new(&options, &store), FR_ERR_RANGE);
    assert_null(store);
    options.memory_bytes++;
    assert_int_equal(cache_store_new(&options, &store), FR_OK);
    cache_store_free(&store);
    cache_store_free(&store); /* NULL is allowed */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hit_until_stale),
        cmocka_unit_test(keys_differ),
        cmocka_unit_test(newer_replaces),
        cmocka_unit_test(parts_of_a_millisecond_count),
        cmocka_unit_test(variants),
        cmocka_unit_test(variants_are_bounded),
        cmocka_unit_test(invalidation),
        cmocka_unit_test(invalidation_from_the_future),
        cmocka_unit_test(budget_and_eviction),
        cmocka_unit_test(sieve_spares_the_visited),
        cmocka_unit_test(held_memory_is_not_room),
        cmocka_unit_test(large_ones_knock_first),
        cmocka_unit_test(readers_keep_what_they_hold),
        cmocka_unit_test(metadata_of_an_object),
        cmocka_unit_test(epochs_wrap),
        cmocka_unit_test(the_clock_runs_on_when_it_is_set_back),
        cmocka_unit_test(dates_are_by_the_clock_of_the_day),
        cmocka_unit_test(budget_too_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
