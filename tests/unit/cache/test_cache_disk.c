/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_disk.c - what is found on disk, what must not be found any more, over restarts too.
 *
 * Follows:    RFC 9111 sections 4.1, 4.4; docs/decisions/0022.
 */
#include "disk_help.h"

#include <stdio.h>

#define FRESH(fields) OK("Cache-Control: max-age=60\r\n" fields "Content-Length: 5\r\n")
#define START CACHE_DISK_SEGMENT_HEAD_BYTES

static struct cache_disk_counters
counters(const struct help_disk *help)
{
    struct cache_disk_counters out;
    cache_disk_read_counters(help->disk, &out);
    return out;
}

/* What most tests begin with: one response, in memory and on disk. */
static void
write_hello(struct help_disk *help, uint64_t *at)
{
    assert_true(help_put(help->store, GET(""), FRESH(""), "hello", NOW));
    assert_int_equal(help_write(help, 0, 1, at), 1);
}

/* The process ends and another one begins. */
static void
restart(struct help_disk *help)
{
    help_disk_end(help);
    help_disk_begin(help);
    (void)help_scan(help, 0, 1);
}

static void
written_is_found_and_loaded(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    uint64_t at = START;
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET(""), FRESH(""), "hello", NOW));
    assert_false(help_find(&help, GET(""), &place)); /* on its way */
    assert_int_equal(help_write(&help, 0, 1, &at), 1);
    assert_true(help_find(&help, GET(""), &place));
    assert_false(help_find(&help, "GET /y HTTP/1.1\r\nHost: a\r\n\r\n", &place));
    restart(&help);
    assert_int_equal(help_answer(help.store, GET(""), NOW), CACHE_MISS);
    assert_true(help_find(&help, GET(""), &place));
    assert_true(help_load(&help, &place));
    assert_true(help_body_is(help.store, GET(""), NOW + 59 * S, "hello"));
    assert_int_equal(help_answer(help.store, GET(""), NOW + 60 * S), CACHE_MISS);
    assert_int_equal(counters(&help).hits, 1);
    /* What memory holds already stays. */
    assert_true(help_load(&help, &place));
    assert_int_equal(help_counters(help.store).entries, 1);
    assert_true(cache_disk_is_there(help.disk, &place));
    cache__store_check(help.store);
    help_disk_free(&help);
}

static void
a_store_counts_its_disk(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    assert_true(help_counters(help.store).index_bytes > cache_disk_bytes(help.disk));
    assert_true(cache_disk_bytes(help.disk) > help.layout.mapped_bytes);
    struct cache_options small = {1024 * 1024, 1024, help.disk};
    struct cache_store *none = NULL;
    assert_int_equal(cache_store_new(&small, &none), FR_ERR_RANGE);
    assert_null(none);
    help_disk_free(&help);
}

static void
newer_takes_the_place(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    uint64_t at = START;
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET(""), FRESH(""), "older", NOW));
    (void)help_write(&help, 0, 1, &at);
    assert_true(help_find(&help, GET(""), &place));
    struct cache_disk_place older = place;
    assert_true(help_put(help.store, GET(""), FRESH(""), "newer", NOW));
    assert_false(help_find(&help, GET(""), &place)); /* neither the old one nor, yet, the new one */
    assert_false(help_load(&help, &older) && help_body_is(help.store, GET(""), NOW, "older"));
    (void)help_write(&help, 0, 1, &at);
    restart(&help);
    assert_int_equal(counters(&help).entries, 1);
    assert_true(help_find(&help, GET(""), &place));
    assert_true(help_load(&help, &place));
    assert_true(help_body_is(help.store, GET(""), NOW, "newer"));
    help_disk_free(&help);
}

/* The writer was behind: what it did not write replaced something. */
static void
a_dropped_one_takes_back_what_it_replaced(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    struct cache_disk_job job;
    uint64_t at = START;
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET(""), FRESH(""), "older", NOW));
    (void)help_write(&help, 0, 1, &at);
    assert_true(help_put(help.store, GET(""), FRESH(""), "newer", NOW));
    assert_true(cache_disk_next(help.disk, &job));
    assert_true(job.replaces);
    cache_disk_unwritten(help.disk, &job);
    assert_false(help_find(&help, GET(""), &place));
    restart(&help);
    assert_false(help_find(&help, GET(""), &place));
    help_disk_free(&help);
}

/* ... also something that is not on disk yet: before or after it comes there. */
static void
a_dropped_one_takes_back_what_is_on_its_way(void **state)
{
    (void)state;
    for (int before = 0; before < 2; before++) {
        struct help_disk help = help_disk_new();
        struct cache_disk_place place;
        struct cache_disk_job older, newer;
        uint64_t at = START;
        cache_disk_ready(help.disk);
        assert_true(help_put(help.store, GET(""), FRESH(""), "older", NOW));
        assert_true(cache_disk_next(help.disk, &older));
        assert_true(help_put(help.store, GET(""), FRESH(""), "newer", NOW));
        assert_true(cache_disk_next(help.disk, &newer));
        if (before)
            help_write_job(&help, &older, 0, 1, &at);
        cache_disk_unwritten(help.disk, &newer);
        if (!before)
            help_write_job(&help, &older, 0, 1, &at);
        assert_false(help_find(&help, GET(""), &place));
        assert_int_equal(counters(&help).entries, 0);
        restart(&help);
        assert_false(help_find(&help, GET(""), &place));
        help_disk_free(&help);
    }
}

static void
the_queue_has_an_end(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    static char body[100001];
    memset(body, 'x', 100000);
    cache_disk_ready(help.disk);
    for (int i = 0; i < 60; i++) {
        char request[64], response[96];
        (void)snprintf(request, sizeof(request), "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
        (void)snprintf(response, sizeof(response),
                       "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: "
                       "100000\r\n\r\n");
        assert_true(help_put(help.store, request, response, body, NOW));
    }
    /* An eighth of the memory. */
    assert_true(counters(&help).queued >= 18 && counters(&help).queued <= 20);
    assert_int_equal(counters(&help).queued + counters(&help).dropped, 60);
    uint64_t at = START;
    struct cache_disk_job job;
    while (cache_disk_next(help.disk, &job)) { /* a segment has room for fewer */
        if (at + cache_disk_record_bytes(job.entry) > help.layout.segment_bytes) {
            cache_disk_unwritten(help.disk, &job);
            continue;
        }
        at += cache_disk_record_bytes(job.entry);
        assert_true(cache_disk_written(help.disk, &job, 0, at));
    }
    assert_int_equal(counters(&help).queued, 0);
    help_disk_free(&help);
}

#define HERE 300
#define QUEUED 3900

static const char *
numbered(int number)
{
    static char request[64];
    (void)snprintf(request, sizeof(request), "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", number);
    return request;
}

/* What waits to be written hides what may be older than it, and next to nothing else. */
static void
a_full_queue_hides_nothing_else(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    uint64_t at = START;
    size_t hidden = 0;
    cache_disk_ready(help.disk);
    for (int i = 0; i < HERE; i++)
        assert_true(help_put(help.store, numbered(i), FRESH(""), "hello", NOW));
    assert_int_equal(help_write(&help, 0, 1, &at), HERE);
    for (int i = HERE; i < HERE + QUEUED; i++)
        assert_true(help_put(help.store, numbered(i), FRESH(""), "hello", NOW));
    assert_int_equal(counters(&help).queued, QUEUED);
    for (int i = 0; i < HERE; i++)
        hidden += !help_find(&help, numbered(i), &place);
    assert_in_range(hidden, 0, 20); /* 4 are to be expected, with one row of places 35 */
    for (int i = HERE; i < HERE + QUEUED; i++)
        assert_false(help_find(&help, numbered(i), &place));
    help_disk_free(&help);
}

static void
variants_are_found_each(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    uint64_t at = START;
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET("A: 1\r\n"), FRESH("Vary: A\r\n"), "first", NOW));
    assert_true(help_put(help.store, GET("A: 2\r\n"), FRESH("Vary: A\r\n"), "other", NOW));
    (void)help_write(&help, 0, 1, &at);
    restart(&help);
    assert_int_equal(counters(&help).entries, 2);
    assert_false(help_find(&help, GET("A: 3\r\n"), &place));
    assert_true(help_find(&help, GET("A: 1\r\n"), &place));
    assert_true(help_load(&help, &place));
    assert_true(help_body_is(help.store, GET("A: 1\r\n"), NOW, "first"));
    assert_int_equal(help_answer(help.store, GET("A: 2\r\n"), NOW), CACHE_MISS);
    /* One that varies by something else takes the place of all. */
    at = START + 65536;
    assert_true(help_put(help.store, GET("B: 1\r\n"), FRESH("Vary: B\r\n"), "newer", NOW));
    (void)help_write(&help, 0, 1, &at);
    assert_int_equal(counters(&help).entries, 1);
    assert_false(help_find(&help, GET("A: 1\r\n"), &place) && help_load(&help, &place) &&
                 help_body_is(help.store, GET("A: 1\r\n"), NOW, "first"));
    help_disk_free(&help);
}

static void forget(struct help_disk *help, const char *request, int64_t now_us);

/* A 304 to what is stored for GET(""), with these fields. */
static void
confirm(struct help_disk *help, const char *fields, int64_t now_us)
{
    static struct http_head req, res;
    char response[512];
    struct cache_found found;
    bool other = false;
    (void)snprintf(response, sizeof(response), "HTTP/1.1 304 Not Modified\r\n%s\r\n", fields);
    help_request(&req, GET(""));
    help_response(&res, response);
    struct cache_request ask = help_ask(&req, now_us);
    (void)cache_lookup(help->store, &ask, &found);
    assert_non_null(found.entry);
    struct cache_entry *fresh =
        cache_entry_freshen(found.entry, &ask, &res, now_us, now_us, &other);
    assert_non_null(fresh);
    cache_entry_unref(&fresh);
    cache_entry_unref(&found.entry);
}

/* As the writer does it. */
static enum cache_disk_heading
write_head(struct help_disk *help)
{
    struct cache_disk_job job;
    struct cache_disk_place place;
    size_t bytes;
    assert_true(cache_disk_next(help->disk, &job));
    assert_true(job.birth > 0);
    enum cache_disk_heading heading = cache_disk_heading(help->disk, &job, &place);
    if (heading == CACHE_DISK_HEADING_WHOLE)
        cache_disk_unwritten(help->disk, &job);
    if (heading != CACHE_DISK_HEADING_HERE)
        return heading;
    char *at = help->file + cache_disk_head_at(help->disk, job.entry, &place, &bytes);
    assert_true(cache_disk_encode_head(help->disk, job.entry, job.stamp, job.birth, bytes, at));
    cache_disk_headed(help->disk, &job, &place, bytes);
    return heading;
}

static void
a_304_writes_a_head_alone(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place, other;
    struct cache_entry *entry;
    uint64_t at = START;
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET(""), FRESH("ETag: \"1\"\r\n"), "hello", NOW));
    (void)help_write(&help, 0, 1, &at);
    assert_true(
        help_put(help.store, "GET /y HTTP/1.1\r\nHost: a\r\n\r\n", FRESH(""), "hello", NOW));
    (void)help_write(&help, 0, 1, &at);
    assert_true(help_find(&help, GET(""), &place));
    uint64_t written = counters(&help).written_bytes;
    confirm(&help, "ETag: \"1\"\r\nCache-Control: max-age=90\r\nX-New: 1\r\n", NOW + S);
    assert_false(help_find(&help, GET(""), &other)); /* until it is written */
    assert_int_equal(write_head(&help), CACHE_DISK_HEADING_HERE);
    assert_int_equal(counters(&help).heads, 1);
    assert_true(counters(&help).written_bytes - written < place.bytes);
    assert_true(help_find(&help, GET(""), &other));
    assert_true(other.offset == place.offset && other.birth == place.birth);
    assert_true(other.stamp > place.stamp);
    assert_false(cache_disk_is_there(help.disk, &place)); /* with that head it is not */
    assert_true(cache_disk_holds(help.disk, &place));
    restart(&help);
    assert_int_equal(counters(&help).entries, 2);
    assert_true(help_find(&help, GET(""), &place));
    assert_true(help_load(&help, &place));
    assert_int_equal(help_get(help.store, GET(""), NOW + 80 * S, &entry), CACHE_FRESH);
    assert_true(memmem(cache_entry_head(entry).ptr, cache_entry_head(entry).len, "X-New", 5));
    cache_entry_unref(&entry);
    assert_true(help_body_is(help.store, GET(""), NOW + 80 * S, "hello"));
    /* Half written: it is gone, the one behind it is not. */
    help.file[cache_disk_segment_at(&help.layout, 0) + START + CACHE_DISK_FIRST_BYTES + 9] ^= 1;
    restart(&help);
    assert_int_equal(counters(&help).entries, 1);
    assert_false(help_find(&help, GET(""), &place));
    help_disk_free(&help);
}

/* Between the 304 and its head on disk anything may happen to the record. */
static void
a_head_whose_record_went_is_not_written(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct help_disk help = help_disk_new();
        struct cache_disk_place place;
        uint64_t at = START;
        cache_disk_ready(help.disk);
        assert_true(help_put(help.store, GET(""), FRESH("ETag: \"1\"\r\n"), "hello", NOW));
        (void)help_write(&help, 0, 1, &at);
        assert_true(help_find(&help, GET(""), &place));
        confirm(&help, "ETag: \"1\"\r\n", NOW + S);
        if (way == 0) { /* taken back */
            forget(&help, GET(""), NOW + 2 * S);
            assert_int_equal(write_head(&help), CACHE_DISK_HEADING_NONE);
        } else if (way == 1) { /* its segment left */
            cache_disk_leave(help.disk, 0, 1);
            assert_int_equal(write_head(&help), CACHE_DISK_HEADING_WHOLE);
        } else if (way == 2) { /* and confirmed again: the newer one is written */
            confirm(&help, "ETag: \"1\"\r\nX: 2\r\n", NOW + 2 * S);
            assert_int_equal(write_head(&help), CACHE_DISK_HEADING_NONE);
            assert_int_equal(write_head(&help), CACHE_DISK_HEADING_HERE);
        } else { /* given up: the older head does not come back */
            struct cache_disk_job job;
            assert_true(cache_disk_next(help.disk, &job));
            cache_disk_unwritten(help.disk, &job);
        }
        assert_int_equal(help_find(&help, GET(""), &place), way == 2);
        restart(&help);
        assert_int_equal(help_find(&help, GET(""), &place), way == 2);
        help_disk_free(&help);
    }
}

/* What another response took the place of is confirmed late: its head must not come to stand before
 * the other one's body. */
static void
a_late_304_is_no_head_of_another_body(void **state)
{
    (void)state;
    static struct http_head req, res;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    struct cache_disk_job job;
    struct cache_found old;
    bool other = false;
    uint64_t at = START;
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET(""), FRESH("ETag: \"1\"\r\n"), "older", NOW));
    (void)help_write(&help, 0, 1, &at);
    help_request(&req, GET(""));
    struct cache_request ask = help_ask(&req, NOW);
    assert_int_equal(cache_lookup(help.store, &ask, &old), CACHE_FRESH);
    assert_true(help_put(help.store, GET(""), FRESH("ETag: \"2\"\r\n"), "newer", NOW + S));
    (void)help_write(&help, 0, 1, &at);
    help_response(&res, "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n");
    struct cache_entry *fresh =
        cache_entry_freshen(old.entry, &ask, &res, NOW + 2 * S, NOW + 2 * S, &other);
    cache_entry_unref(&fresh);
    cache_entry_unref(&old.entry);
    assert_true(cache_disk_next(help.disk, &job));
    assert_int_equal(job.birth, 0); /* whole */
    cache_disk_unwritten(help.disk, &job);
    assert_false(help_find(&help, GET(""), &place));
    help_disk_free(&help);
}

/* An older one comes into the index late: it was still on its way when the newer one came, or is
 * found by the start. A 304 to the newer one must not take the older one's record for its own. */
static void
a_304_knows_its_record(void **state)
{
    (void)state;
    static char newer[200001];
    char response[128];
    struct cache_disk_place place;
    for (int way = 0; way < 4; way++) {
        struct help_disk help = help_disk_new();
        struct cache_disk_job older;
        uint64_t at = START;
        size_t bytes = way % 2 ? 5 : 200000; /* as many as the older one has, or many more */
        memset(newer, 'n', bytes);
        newer[bytes] = '\0';
        (void)snprintf(response, sizeof(response),
                       OK("Cache-Control: max-age=60\r\nETag: \"2\"\r\nContent-Length: %zu\r\n"),
                       bytes);
        cache_disk_ready(help.disk);
        assert_true(help_put(help.store, GET(""), FRESH("ETag: \"1\"\r\n"), "older", NOW));
        if (way < 2) {
            assert_true(cache_disk_next(help.disk, &older));
            assert_true(help_put(help.store, GET(""), response, newer, NOW));
            help_write_job(&help, &older, 0, 1, &at);
        } else {
            (void)help_write(&help, 0, 1, &at);
            help_disk_end(&help);
            help_disk_begin(&help);
            assert_true(help_put(help.store, GET(""), response, newer, NOW));
            assert_int_equal(help_scan(&help, 0, 1), 1);
        }
        confirm(&help, "ETag: \"2\"\r\n", NOW + S);
        (void)help_write(&help, 0, 1, &at);
        assert_true(help_find(&help, GET(""), &place));
        restart(&help);
        assert_int_equal(counters(&help).entries, 1);
        assert_true(help_find(&help, GET(""), &place));
        assert_true(help_load(&help, &place));
        assert_true(help_body_is(help.store, GET(""), NOW, newer));
        help_disk_free(&help);
    }
}

/* A body's record is known to all that share it, and to those that come from it: with one piece in
 * memory, or with many. */
static void
a_body_knows_its_record(void **state)
{
    (void)state;
    static char body[200001];
    char response[128];
    memset(body, 'b', sizeof(body) - 1);
    for (size_t bytes = 5; bytes <= 200000; bytes += 199995) {
        struct help_disk help = help_disk_new();
        struct cache_disk_place place;
        uint64_t at = START;
        body[bytes] = '\0';
        (void)snprintf(response, sizeof(response),
                       OK("Cache-Control: max-age=60\r\nETag: \"1\"\r\nContent-Length: %zu\r\n"),
                       bytes);
        cache_disk_ready(help.disk);
        assert_true(help_put(help.store, GET(""), response, body, NOW));
        (void)help_write(&help, 0, 1, &at);
        for (int turn = 1; turn <= 3; turn++) {
            confirm(&help, "ETag: \"1\"\r\n", NOW + turn * S);
            assert_int_equal(write_head(&help), CACHE_DISK_HEADING_HERE);
            restart(&help);
            assert_true(help_find(&help, GET(""), &place) && help_load(&help, &place));
            assert_true(help_body_is(help.store, GET(""), NOW + turn * S, body));
        }
        body[bytes] = 'b';
        help_disk_free(&help);
    }
}

static void
forget(struct help_disk *help, const char *request, int64_t now_us)
{
    static struct http_head req;
    help_request(&req, request);
    struct cache_request ask = help_ask(&req, now_us);
    cache_forget(help->store, &ask);
}

static void
forgotten_stays_forgotten(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    struct cache_disk_job job;
    uint64_t at = START;
    cache_disk_ready(help.disk);
    write_hello(&help, &at);
    assert_true(help_find(&help, GET(""), &place));
    forget(&help, GET(""), NOW + S);
    struct cache_disk_place gone = place;
    assert_false(help_find(&help, GET(""), &place));
    assert_false(help_load(&help, &gone)); /* it was being read meanwhile */
    assert_int_equal(help_answer(help.store, GET(""), NOW), CACHE_MISS);
    restart(&help);
    assert_false(help_find(&help, GET(""), &place));
    /* One that is on its way to the disk. */
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET(""), FRESH(""), "hello", NOW + 2 * S));
    assert_true(cache_disk_next(help.disk, &job));
    forget(&help, GET(""), NOW + 3 * S);
    assert_true(cache_disk_written(help.disk, &job, 0, at));
    assert_false(help_find(&help, GET(""), &place));
    /* What is stored after that is found. */
    at = START;
    assert_true(help_put(help.store, GET(""), FRESH(""), "again", NOW + 4 * S));
    (void)help_write(&help, 0, 1, &at);
    restart(&help);
    assert_true(help_find(&help, GET(""), &place));
    assert_true(help_load(&help, &place));
    help_disk_free(&help);
}

static void
purge(struct help_disk *help, enum cache_purge_kind kind, bool soft, const char *text)
{
    uint64_t serial;
    struct cache_purge purge = {kind, soft, fr_view_of(text)};
    assert_int_equal(cache_purge(help->store, &purge, NOW + 10 * S, &serial), FR_OK);
}

static void
purged_stays_purged(void **state)
{
    (void)state;
    static const struct {
        enum cache_purge_kind kind;
        const char *text;
    } purges[] = {
        {CACHE_PURGE_URL, "http://a/x"},
        {CACHE_PURGE_PREFIX, "//a/"},
        {CACHE_PURGE_TAG, "red"},
        {CACHE_PURGE_ALL, ""},
    };
    for (size_t i = 0; i < 2 * sizeof(purges) / sizeof(purges[0]); i++) {
        struct help_disk help = help_disk_new();
        struct cache_disk_place place;
        uint64_t at = START;
        bool soft = i % 2;
        cache_disk_ready(help.disk);
        assert_true(help_put(help.store, GET(""), FRESH("ETag: \"1\"\r\nCache-Tag: red\r\n"),
                             "hello", NOW));
        (void)help_write(&help, 0, 1, &at);
        purge(&help, purges[i / 2].kind, soft, purges[i / 2].text);
        for (int turn = 0; turn < 2; turn++) {
            restart(&help);
            bool there = help_find(&help, GET(""), &place) && help_load(&help, &place);
            assert_int_equal(there, soft);
            assert_int_equal(help_answer(help.store, GET(""), NOW + 11 * S), CACHE_MISS);
        }
        /* What was fetched before the purge came is refused, what comes after it is not. */
        assert_true(
            help_put(help.store, GET(""), FRESH("Cache-Tag: red\r\n"), "newer", NOW + 12 * S));
        assert_true(help_body_is(help.store, GET(""), NOW + 12 * S, "newer"));
        help_disk_free(&help);
    }
}

/* A prefix that is longer than what the file keeps of one takes what begins with that. */
static void
a_long_prefix_takes_what_begins_with_its_beginning(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    char prefix[CACHE__PREFIX_BYTES_MAX + 64], request[sizeof(prefix) + 64];
    memset(prefix, 'x', sizeof(prefix) - 1);
    prefix[sizeof(prefix) - 1] = '\0';
    memcpy(prefix, "//a/", 4);
    (void)snprintf(request, sizeof(request), "GET %syz HTTP/1.1\r\nHost: a\r\n\r\n", prefix + 3);
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, request, FRESH(""), "hello", NOW));
    assert_true(help_put(help.store, GET(""), FRESH(""), "hello", NOW));
    purge(&help, CACHE_PURGE_PREFIX, false, prefix);
    assert_int_equal(help_answer(help.store, request, NOW), CACHE_MISS);
    assert_int_equal(help_answer(help.store, GET(""), NOW), CACHE_FRESH);
    help_disk_free(&help);
}

/* It is stale since the purge, not since somebody asked. */
static void
softly_purged_is_as_old_as_its_purge(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    uint64_t at = START;
    const char *response = OK("Cache-Control: max-age=600, stale-while-revalidate=30\r\n"
                              "Content-Length: 5\r\n");
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET(""), response, "hello", NOW));
    (void)help_write(&help, 0, 1, &at);
    purge(&help, CACHE_PURGE_ALL, true, "");
    restart(&help);
    assert_true(help_find(&help, GET(""), &place) && help_load(&help, &place));
    assert_int_equal(help_answer(help.store, GET(""), NOW + 39 * S), CACHE_STALE_ALLOWED);
    assert_int_equal(help_answer(help.store, GET(""), NOW + 41 * S), CACHE_MISS);
    help_disk_free(&help);
}

/* More prefixes than are kept: what is older than those that were forgotten goes, too. */
static void
forgotten_prefixes_take_all_before_them(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    uint64_t at = START;
    cache_disk_ready(help.disk);
    write_hello(&help, &at);
    for (int i = 0; i <= CACHE__PREFIXES; i++) {
        char text[32];
        (void)snprintf(text, sizeof(text), "//b/%d", i);
        purge(&help, CACHE_PURGE_PREFIX, false, text);
        while (!cache_purge_sweep(help.store, 1000, NOW))
            ;
        bool kept = i < CACHE__PREFIXES;
        if (i + 1 < CACHE__PREFIXES)
            continue;
        restart(&help);
        assert_int_equal(help_find(&help, GET(""), &place) && help_load(&help, &place), kept);
    }
    help_disk_free(&help);
}

/* Nothing is known of what is on disk before it was looked through. */
/* The clock was set back before the restart: what seems to come from the future is of no known age,
 * and what it replaced stays replaced. */
static void
what_came_later_than_now_is_forgotten(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    uint64_t at = START;
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET(""), FRESH(""), "older", NOW));
    assert_true(help_put(help.store, GET("X: 1\r\n"), FRESH(""), "newer", NOW + 50 * S));
    assert_true(
        help_put(help.store, "GET /y HTTP/1.1\r\nHost: a\r\n\r\n", FRESH(""), "other", NOW));
    (void)help_write(&help, 0, 1, &at);
    help_disk_end(&help);
    help_disk_begin(&help);
    cache_disk_starts_at(help.disk, NOW + 10 * S);
    (void)help_scan(&help, 0, 1);
    assert_false(help_find(&help, GET(""), &place));
    assert_true(help_find(&help, "GET /y HTTP/1.1\r\nHost: a\r\n\r\n", &place));
    restart(&help); /* nor is it when the clock has come so far */
    assert_false(help_find(&help, GET(""), &place));
    help_disk_free(&help);
}

static void
nothing_is_found_before_it_is_ready(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    uint64_t at = START;
    cache_disk_ready(help.disk);
    write_hello(&help, &at);
    help_disk_end(&help);
    help_disk_begin(&help);
    assert_false(help_find(&help, GET(""), &place));
    forget(&help, GET(""), NOW + S); /* and is to be forgotten all the same */
    assert_int_equal(help_scan(&help, 0, 1), 1);
    assert_false(help_find(&help, GET(""), &place));
    help_disk_free(&help);
}

/* An older one is written after the newer one, so that it leaves after it, too. */
static void
what_came_late_does_not_come_back(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place;
    struct cache_disk_job older, newer;
    uint64_t at = START, behind = START;
    cache_disk_ready(help.disk);
    assert_true(help_put(help.store, GET(""), FRESH(""), "older", NOW));
    assert_true(help_put(help.store, GET(""), FRESH(""), "newer", NOW));
    assert_true(cache_disk_next(help.disk, &older));
    assert_true(cache_disk_next(help.disk, &newer));
    help_write_job(&help, &newer, 0, 1, &at);
    help_write_job(&help, &older, 1, 2, &behind);
    assert_int_equal(counters(&help).entries, 1);
    cache_disk_leave(help.disk, 0, 1);
    forget(&help, GET(""), NOW + S);
    help_disk_end(&help);
    help_disk_begin(&help);
    assert_int_equal(help_scan(&help, 1, 2), 1);
    assert_false(help_find(&help, GET(""), &place));
    help_disk_free(&help);
}

static void
a_sweep_keeps_what_is_asked_for(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache_disk_place place, kept[CACHE_DISK_SWEEP_SPOTS];
    uint64_t at = START;
    cache_disk_ready(help.disk);
    for (int i = 0; i < 100; i++) {
        char request[64];
        (void)snprintf(request, sizeof(request), "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
        assert_true(help_put(help.store, request, FRESH(""), "hello", NOW));
    }
    assert_int_equal(help_write(&help, 0, 1, &at), 100);
    restart(&help); /* none is in memory */
    assert_true(help_find(&help, "GET /7 HTTP/1.1\r\nHost: a\r\n\r\n", &place));
    assert_true(help_load(&help, &place));
    struct cache_disk_sweep sweep = {.segment = 0, .keep_bytes = 1 << 20};
    size_t count, sum = 0;
    for (bool more = true; more; sum += count) {
        more = cache_disk_sweep(help.disk, help.store, &sweep, kept + sum, &count);
    }
    assert_int_equal(sum, 1);
    assert_int_equal(kept[0].stamp, place.stamp);
    assert_int_equal(counters(&help).entries, 100);
    assert_true(cache_disk_moved(help.disk, &kept[0], 3, 4096));
    cache_disk_leave(help.disk, 0, 1);
    assert_int_equal(counters(&help).entries, 1);
    assert_int_equal(cache_disk_left(help.disk), 1);
    assert_true(help_find(&help, "GET /7 HTTP/1.1\r\nHost: a\r\n\r\n", &place));
    assert_int_equal(place.segment, 3);
    assert_int_equal(place.offset, 4096);
    help_disk_free(&help);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_found_and_loaded),
        cmocka_unit_test(a_store_counts_its_disk),
        cmocka_unit_test(newer_takes_the_place),
        cmocka_unit_test(a_dropped_one_takes_back_what_it_replaced),
        cmocka_unit_test(a_dropped_one_takes_back_what_is_on_its_way),
        cmocka_unit_test(the_queue_has_an_end),
        cmocka_unit_test(a_full_queue_hides_nothing_else),
        cmocka_unit_test(variants_are_found_each),
        cmocka_unit_test(a_304_writes_a_head_alone),
        cmocka_unit_test(a_head_whose_record_went_is_not_written),
        cmocka_unit_test(a_late_304_is_no_head_of_another_body),
        cmocka_unit_test(a_304_knows_its_record),
        cmocka_unit_test(a_body_knows_its_record),
        cmocka_unit_test(forgotten_stays_forgotten),
        cmocka_unit_test(purged_stays_purged),
        cmocka_unit_test(a_long_prefix_takes_what_begins_with_its_beginning),
        cmocka_unit_test(softly_purged_is_as_old_as_its_purge),
        cmocka_unit_test(forgotten_prefixes_take_all_before_them),
        cmocka_unit_test(what_came_later_than_now_is_forgotten),
        cmocka_unit_test(nothing_is_found_before_it_is_ready),
        cmocka_unit_test(what_came_late_does_not_come_back),
        cmocka_unit_test(a_sweep_keeps_what_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
