/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_fill.c - filling, entries, conditions, and memory that is out at every point.
 *
 * Follows:    RFC 9111 sections 3.1, 3.3 and 4.3.2, RFC 9110 sections 8.8.3 and 13.1.
 */
#include "cache_help.h"

#include <stdio.h>

#define MEMORY (8 * 1024 * 1024)

static struct http_head req;
static struct http_head res;

static struct cache_filler *
begin(struct cache_store *store, const char *response)
{
    help_request(&req, GET(""));
    help_response(&res, response);
    struct cache_request ask = help_ask(&req, NOW);
    return cache_fill_begin(store, &ask, &res, http_response_framing(&res, HTTP_GET), NOW, NOW);
}

static void
stored_head(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    assert_true(help_put(store, GET(""),
                         "HTTP/1.0 200 Fine\r\nX-A: 1\r\nContent-Length: 2\r\nAge: 3\r\n"
                         "Connection: X-Hop\r\nX-Hop: 4\r\nKeep-Alive: 5\r\nx-a:\r\n"
                         "Endpoint-Load-Metrics: TEXT cpu=1\r\n"
                         "Content-Range: bytes 0-1/5\r\n"
                         "Cache-Control: max-age=60\r\n\r\n",
                         "hi", NOW));
    struct cache_entry *entry;
    assert_int_equal(help_get(store, GET(""), NOW + 2 * S, &entry), CACHE_FRESH);
    struct fr_view head = cache_entry_head(entry);
    const char *want = "HTTP/1.1 200 Fine\r\nX-A: 1\r\nx-a:\r\nContent-Range: bytes 0-1/5\r\n"
                       "Cache-Control: max-age=60\r\nDate: " NOW_TEXT "\r\n";
    if (!fr_view_is(head, want))
        fail_msg("got: %.*s", FR_VIEW_ARG(head));
    assert_int_equal(cache_entry_status(entry), 200);
    assert_int_equal(cache_entry_age_s(entry, NOW + 2 * S), 5);
    assert_int_equal(cache_entry_body_bytes(entry), 2);
    struct fr_view body;
    assert_true(cache_entry_body(entry, 0, &body));
    assert_true(fr_view_is(body, "hi"));
    assert_false(cache_entry_body(entry, 1, &body));
    struct cache_entry *second = cache_entry_ref(entry);
    cache_entry_unref(&entry);
    assert_null(entry);
    assert_int_equal(cache_entry_status(second), 200);
    cache_entry_unref(&second);
    cache_entry_unref(&second); /* NULL is allowed */
    cache_store_free(&store);
}

/* However long it is said to be: 17 years are enough. */
static void
the_longest_lifetime(void **state)
{
    (void)state;
    const int64_t year_us = 365 * 86400 * S;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    assert_true(help_put(store, GET(""),
                         "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
                         "Cache-Control: max-age=2147483647\r\n\r\n",
                         "hi", NOW));
    assert_int_equal(help_answer(store, GET(""), NOW + 17 * year_us), CACHE_FRESH);
    assert_int_equal(help_answer(store, GET(""), NOW + 18 * year_us), CACHE_MISS);
    cache_store_free(&store);
}

/* Bodies that come in pieces of every size around those of the parts. */
static void
chunked_bodies(void **state)
{
    (void)state;
    static char data[200000];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)(i * 31 % 251);
    static const size_t totals[] = {0, 1, 16383, 16384, 16385, 49152, 49153, sizeof(data)};
    static const size_t pieces[] = {1000, 16384, 65536, sizeof(data)};
    for (size_t t = 0; t < 8; t++) {
        for (size_t p = 0; p < 4; p++) {
            struct cache_store *store = help_store(MEMORY, MEMORY);
            uint64_t empty = help_live(store);
            struct cache_filler *filler =
                begin(store, OK("Cache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n"));
            assert_non_null(filler);
            for (size_t at = 0; at < totals[t]; at += pieces[p]) {
                size_t bytes = totals[t] - at < pieces[p] ? totals[t] - at : pieces[p];
                assert_int_equal(cache_fill_add(&filler, fr_view_make(data + at, bytes)), FR_OK);
            }
            cache_fill_commit(&filler);
            assert_null(filler);
            struct cache_entry *entry;
            assert_int_equal(help_get(store, GET(""), NOW, &entry), CACHE_FRESH);
            assert_int_equal(cache_entry_body_bytes(entry), totals[t]);
            size_t seen = 0;
            struct fr_view part;
            for (size_t i = 0; cache_entry_body(entry, i, &part); i++) {
                assert_memory_equal(part.ptr, data + seen, part.len);
                seen += part.len;
            }
            assert_int_equal(seen, totals[t]);
            /* nothing but the index, the entry and its exact bytes is counted */
            assert_true(help_live(store) < empty + 2048 + totals[t]);
            cache_entry_unref(&entry);
            cache_store_free(&store);
        }
    }
}

static void
incomplete_is_never_seen(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    uint64_t empty = help_live(store);
    const char *response = OK("Cache-Control: max-age=60\r\nContent-Length: 5\r\n");
    struct cache_filler *filler = begin(store, response);
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("hell")), FR_OK);
    assert_int_equal(help_answer(store, GET(""), NOW), CACHE_MISS);
    assert_true(help_live(store) > empty);
    cache_fill_drop(&filler);
    assert_null(filler);
    cache_fill_drop(&filler);
    assert_int_equal(help_live(store), empty);

    filler = begin(store, response); /* committed one byte short */
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("hell")), FR_OK);
    cache_fill_commit(&filler);
    assert_int_equal(help_answer(store, GET(""), NOW), CACHE_MISS);

    filler = begin(store, response); /* one byte over */
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("hell")), FR_OK);
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("oo")), FR_ERR_FULL);
    assert_null(filler);
    assert_int_equal(help_live(store), empty);
    assert_int_equal(help_counters(store).stored, 0);
    cache_store_free(&store);
}

static void
too_large(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, 100);
    uint64_t empty = help_live(store);
    static char data[101];
    assert_non_null(memset(data, 'x', sizeof(data)));
    struct cache_filler *filler =
        begin(store, OK("Cache-Control: max-age=60\r\nContent-Length: 101\r\n"));
    assert_null(filler);
    assert_int_equal(help_counters(store).refused_large, 1);
    filler = begin(store, OK("Cache-Control: max-age=60\r\nContent-Length: 100\r\n"));
    assert_non_null(filler);
    cache_fill_drop(&filler);
    const char *chunked = OK("Cache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n");
    filler = begin(store, chunked);
    assert_int_equal(cache_fill_add(&filler, fr_view_make(data, 100)), FR_OK);
    assert_int_equal(cache_fill_add(&filler, fr_view_make(data, 1)), FR_ERR_FULL);
    assert_null(filler);
    assert_int_equal(help_counters(store).refused_large, 2);
    assert_int_equal(help_live(store), empty);
    /* A length that no budget holds takes nothing from anybody. */
    struct cache_store *wide = help_store(MEMORY, UINT64_MAX);
    assert_true(
        help_put(wide, GET(""), OK("Cache-Control: max-age=60\r\nContent-Length: 0\r\n"), "", NOW));
    filler =
        begin(wide, OK("Cache-Control: max-age=60\r\nContent-Length: 9223372036854775807\r\n"));
    assert_null(filler);
    assert_int_equal(help_counters(wide).entries, 1);
    assert_int_equal(help_counters(wide).refused_full, 1);
    cache_store_free(&wide);
    cache_store_free(&store);
}

/* Each allocation fails in turn: nothing leaks, nothing stays counted, nothing half is shelved. */
static void
memory_is_out(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, MEMORY);
    uint64_t empty = help_live(store);
    static char data[40000];
    bool whole = false;
    for (uint64_t countdown = 1; !whole; countdown++) {
        assert_true(countdown < 50);
        fr_mem_fail_after(countdown);
        struct cache_filler *filler =
            begin(store, OK("Cache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n"));
        if (filler && cache_fill_add(&filler, fr_view_make(data, sizeof(data))) == FR_OK) {
            cache_fill_commit(&filler);
            whole = countdown > 7;
        }
        fr_mem_fail_after(0);
        struct http_head head;
        help_request(&head, "PUT /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
        struct cache_request put = help_ask(&head, NOW - S);
        cache_invalidate(store, &put);
        assert_int_equal(help_live(store), empty);
        cache__store_check(store);
    }
    cache_store_free(&store);
}

static bool
not_modified(const char *response, const char *request)
{
    struct cache_store *store = help_store(MEMORY, MEMORY);
    assert_true(help_put(store, GET(""), response, "", NOW));
    struct cache_entry *entry;
    assert_int_equal(help_get(store, request, NOW, &entry), CACHE_FRESH);
    struct http_head head;
    help_request(&head, request);
    struct cache_selection what;
    assert_true(cache_entry_select(entry, &head, NOW, &what));
    bool same = what.status == 304;
    cache_entry_unref(&entry);
    cache_store_free(&store);
    return same;
}

#define TAGGED(fields) OK("Cache-Control: max-age=60\r\nContent-Length: 0\r\n" fields)

static void
if_none_match(void **state)
{
    (void)state;
    const char *strong = TAGGED("ETag: \"a\"\r\n");
    const char *weak = TAGGED("ETag: W/\"a\"\r\n");
    assert_true(not_modified(strong, GET("If-None-Match: \"a\"\r\n")));
    assert_true(not_modified(strong, GET("If-None-Match: W/\"a\"\r\n")));
    assert_true(not_modified(weak, GET("If-None-Match: \"a\"\r\n")));
    assert_true(not_modified(strong, GET("If-None-Match: \"b\", \"a\"\r\n")));
    assert_true(not_modified(strong, GET("If-None-Match: \"b\"\r\nIf-None-Match: \"a\"\r\n")));
    assert_true(
        not_modified(TAGGED("ETag: \"a,\\\"\r\n"), GET("If-None-Match: \"x\", \"a,\\\"\r\n")));
    assert_true(not_modified(strong, GET("If-None-Match: *\r\n")));
    assert_false(not_modified(strong, GET("If-None-Match: \"A\"\r\n")));
    assert_false(not_modified(strong, GET("If-None-Match: a\r\n")));
    assert_false(not_modified(strong, GET("If-None-Match: \"a\r\n")));
    assert_false(not_modified(strong, GET("If-None-Match:\r\n")));
    assert_false(not_modified(TAGGED(""), GET("If-None-Match: \"a\"\r\n")));
    assert_false(not_modified(strong, GET("")));
    /* If-Modified-Since is ignored beside it */
    assert_false(not_modified(TAGGED("ETag: \"a\"\r\nLast-Modified: " NOW_TEXT "\r\n"),
                              GET("If-None-Match: \"b\"\r\nIf-Modified-Since: " NOW_TEXT "\r\n")));
}

static void
if_modified_since(void **state)
{
    (void)state;
    const char *stamped = TAGGED("Last-Modified: " NOW_TEXT "\r\n");
    assert_true(not_modified(stamped, GET("If-Modified-Since: " NOW_TEXT "\r\n")));
    assert_true(not_modified(stamped, GET("If-Modified-Since: Sun, 06 Nov 1994 08:49:38 GMT\r\n")));
    assert_false(
        not_modified(stamped, GET("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n")));
    assert_false(not_modified(stamped, GET("If-Modified-Since: yesterday\r\n")));
    /* without it Date counts, and without that the time it came */
    assert_true(not_modified(TAGGED("Date: Sun, 06 Nov 1994 08:49:36 GMT\r\n"),
                             GET("If-Modified-Since: Sun, 06 Nov 1994 08:49:36 GMT\r\n")));
    assert_true(not_modified(TAGGED(""), GET("If-Modified-Since: " NOW_TEXT "\r\n")));
    /* only a success can be "not modified" */
    assert_false(not_modified("HTTP/1.1 404 No\r\nCache-Control: max-age=9\r\nContent-Length: 0\r\n"
                              "ETag: \"a\"\r\n\r\n",
                              GET("If-None-Match: \"a\"\r\n")));
}

/* ---- the rest of what is there in part --------------------------------------------------------
 */

#define PART(fields)                                                                               \
    "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\nETag: \"a\"\r\n" fields "\r\n"
#define FIRST PART("Content-Range: bytes 0-4/10\r\nContent-Length: 5\r\nX-A: 1\r\nX-B: 1\r\n")

/* The beginning is stored; *out_part is it as a request for all finds it, or NULL. */
static struct cache_store *
with_part(const char *first, struct cache_entry **out_part)
{
    struct cache_found found;
    struct cache_store *store = help_store(MEMORY, 1000);
    assert_true(help_put(store, GET("Range: bytes=0-4\r\n"), first, "01234", NOW));
    help_request(&req, GET(""));
    struct cache_request ask = help_ask(&req, NOW);
    assert_int_equal(cache_lookup(store, &ask, &found), CACHE_MISS);
    assert_null(found.part); /* it did not ask for it */
    ask.takes_part = true;
    assert_int_equal(cache_lookup(store, &ask, &found), CACHE_MISS);
    assert_int_equal(found.forward, CACHE_FORWARD_PARTIAL);
    *out_part = found.part;
    return store;
}

static struct cache_filler *
rest(struct cache_entry *part, const char *response)
{
    help_request(&req, GET(""));
    help_response(&res, response);
    struct cache_request ask = help_ask(&req, NOW);
    return cache_fill_rest(part, &ask, &res, http_response_framing(&res, HTTP_GET), NOW, NOW);
}

/* RFC 9111 sections 3.3 and 3.4: the fields of both, the newer ones first, and the bytes of both.
 */
static void
the_rest_completes_it(void **state)
{
    (void)state;
    struct cache_entry *part, *entry;
    struct cache_store *store = with_part(FIRST, &part);
    uint64_t first;
    struct fr_view etag;
    assert_true(cache_entry_rest(part, &first, &etag));
    assert_int_equal(first, 5);
    assert_true(fr_view_is(etag, "\"a\""));
    const char *last = PART("Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\nX-B: 2\r\n");
    struct cache_filler *filler = rest(part, last);
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("567")), FR_OK);
    cache_fill_drop(&filler); /* it broke off: the part stays, and no more is there */
    assert_int_equal(help_answer(store, GET(""), NOW), CACHE_MISS);
    filler = rest(part, last);
    struct cache_entry *coming = cache_fill_entry(filler);
    assert_int_equal(cache_entry_body_bytes(coming), 5);
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("567")), FR_OK);
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("89")), FR_OK);
    cache_fill_commit(&filler);
    assert_int_equal(help_get(store, GET(""), NOW, &entry), CACHE_FRESH);
    assert_ptr_equal(entry, coming);
    assert_int_equal(cache_entry_status(entry), 200);
    struct fr_view head = cache_entry_head(entry);
    assert_true(fr_view_istarts(head, FR_VIEW("HTTP/1.1 200 OK\r\n")));
    char text[512];
    assert_true(fr_view_copy(head, text, sizeof(text)));
    assert_non_null(strstr(text, "X-A: 1\r\n"));
    assert_non_null(strstr(text, "X-B: 2\r\n"));
    assert_null(strstr(text, "X-B: 1\r\n"));
    assert_null(strstr(text, "Content-Range"));
    assert_true(help_body_is(store, GET(""), NOW, "0123456789"));
    assert_int_equal(help_counters(store).entries, 1);
    cache_entry_unref(&entry);
    cache_entry_unref(&coming);
    cache_entry_unref(&part);
    cache_store_free(&store);
}

/* Dates are by the clock of the day, which may have been set back since. */
static void
the_rest_is_as_old_as_its_date_says(void **state)
{
    (void)state;
    struct cache_entry *part;
    struct cache_store *store = with_part(FIRST, &part);
    help_request(&req, GET(""));
    help_response(&res, PART("Date: " NOW_TEXT "\r\nContent-Range: bytes 5-9/10\r\n"
                             "Content-Length: 5\r\n"));
    struct cache_request ask = help_ask(&req, NOW + 1000 * S);
    ask.ahead_us = 1000 * S;
    struct cache_filler *filler =
        cache_fill_rest(part, &ask, &res, HTTP_BODY_LENGTH, NOW + 1000 * S, NOW + 1000 * S);
    assert_int_equal(cache_fill_add(&filler, FR_VIEW("56789")), FR_OK);
    cache_fill_commit(&filler);
    assert_int_equal(help_answer(store, GET(""), NOW + 1059 * S), CACHE_FRESH);
    assert_int_equal(help_answer(store, GET(""), NOW + 1061 * S), CACHE_MISS);
    cache_entry_unref(&part);
    cache_store_free(&store);
}

static void
the_rest_of_something_else_does_not(void **state)
{
    (void)state;
    static const char *const others[] = {
        PART("Content-Range: bytes 5-9/11\r\nContent-Length: 5\r\n"),
        PART("Content-Range: bytes 5-9/*\r\nContent-Length: 5\r\n"),
        PART("Content-Range: bytes 6-9/10\r\nContent-Length: 4\r\n"),
        PART("Content-Range: bytes 4-9/10\r\nContent-Length: 6\r\n"),
        PART("Content-Range: bytes 5-8/10\r\nContent-Length: 4\r\n"),
        PART("Content-Range: bytes 5-9/10\r\nContent-Length: 4\r\n"),
        PART("Content-Range: bytes 5-9/10\r\nTransfer-Encoding: chunked\r\n"),
        PART("Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\nCache-Control: no-store\r\n"),
        PART("Content-Length: 5\r\n"),
        "HTTP/1.1 206 Partial Content\r\nETag: \"b\"\r\nCache-Control: max-age=60\r\n"
        "Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 206 Partial Content\r\nCache-Control: max-age=60\r\n"
        "Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\n\r\n",
        OK("Content-Range: bytes 5-9/10\r\nContent-Length: 5\r\nETag: \"a\"\r\n"),
    };
    struct cache_entry *part;
    struct cache_store *store = with_part(FIRST, &part);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        if (rest(part, others[i]))
            fail_msg("completed by: %s", others[i]);
    cache_entry_unref(&part);
    cache_store_free(&store);
}

#define PIECE_BYTES (1024 * 1024)

/* A first part of so many bytes; the entry as a request for all finds it, or NULL. */
static struct cache_entry *
part_of_bytes(struct cache_store *store, uint64_t bytes)
{
    static char piece[PIECE_BYTES];
    char response[256];
    struct cache_found found;
    struct cache_filler *filler = NULL;
    (void)snprintf(response, sizeof(response),
                   PART("Content-Range: bytes 0-%llu/20000000\r\nContent-Length: %llu\r\n"),
                   (unsigned long long)bytes - 1, (unsigned long long)bytes);
    help_request(&req, GET("Range: bytes=0-\r\n"));
    help_response(&res, response);
    struct cache_request ask = help_ask(&req, NOW);
    for (int i = 0; i < 2 && !filler; i++) /* a large one is stored when it is asked for again */
        filler = cache_fill_begin(store, &ask, &res, HTTP_BODY_LENGTH, NOW, NOW);
    assert_non_null(filler);
    for (uint64_t left = bytes; left > 0;) {
        size_t part = left < PIECE_BYTES ? (size_t)left : PIECE_BYTES;
        assert_int_equal(cache_fill_add(&filler, fr_view_make(piece, part)), FR_OK);
        left -= part;
    }
    cache_fill_commit(&filler);
    help_request(&req, GET(""));
    ask = help_ask(&req, NOW);
    ask.takes_part = true;
    assert_int_equal(cache_lookup(store, &ask, &found), CACHE_MISS);
    assert_int_equal(found.forward, CACHE_FORWARD_PARTIAL);
    return found.part;
}

/* Its copy would keep a worker from everything else. */
static void
a_long_beginning_is_not_continued(void **state)
{
    (void)state;
    struct cache_store *store = help_store(128 * 1024 * 1024, 32 * 1024 * 1024);
    struct cache_entry *part = part_of_bytes(store, CACHE__JOIN_BYTES_MAX);
    assert_non_null(part);
    struct cache_filler *filler =
        rest(part, PART("Content-Range: bytes 8388608-19999999/20000000\r\n"
                        "Content-Length: 11611392\r\n"));
    assert_non_null(filler);
    cache_fill_drop(&filler);
    cache_entry_unref(&part);
    assert_null(part_of_bytes(store, CACHE__JOIN_BYTES_MAX + 1));
    cache_store_free(&store);
}

static void
what_may_be_completed(void **state)
{
    (void)state;
    static const struct {
        const char *first;
        bool may;
    } rows[] = {
        {FIRST, true},
        /* weakly tagged, or known by its date alone: nothing can be put to it */
        {"HTTP/1.1 206 P\r\nCache-Control: max-age=60\r\nETag: W/\"a\"\r\n"
         "Content-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\n",
         false},
        {"HTTP/1.1 206 P\r\nCache-Control: max-age=60\r\n"
         "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
         "Content-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\n",
         false},
        {"HTTP/1.1 206 P\r\nCache-Control: max-age=60\r\n"
         "Content-Range: bytes 0-4/10\r\nContent-Length: 5\r\n\r\n",
         true},
        /* no beginning; how long it is is not known */
        {PART("Content-Range: bytes 1-5/10\r\nContent-Length: 5\r\n"), false},
        {PART("Content-Range: bytes 0-4/*\r\nContent-Length: 5\r\n"), false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cache_entry *part;
        struct cache_store *store = with_part(rows[i].first, &part);
        assert_int_equal(part != NULL, rows[i].may);
        cache_entry_unref(&part);
        cache_store_free(&store);
    }
}

/* ---- what is too much for the store while others stream along ------------------------------- */

struct stream {
    struct cache_store *store;
    struct cache_flight_id id;
    struct cache_filler *filler; /* the leader's; shared */
    struct cache_waiter waiters[3];
    struct cache_flight *flights[3];
    int news;
    uint64_t empty;
};

static char piece[CACHE_PASSING_ADD_MAX];
static char out[2 * CACHE_PASSING_ADD_MAX];

static void
woken(void *ctx)
{
    ++*(int *)ctx;
}

/* Objects are at most 1000 bytes; three wait, `following` of them stream. */
static void
stream_begin(struct stream *s, size_t following)
{
    struct cache_found found;
    struct cache_flight *lead = NULL;
    *s = (struct stream){.store = help_store(4 << 20, 1000)};
    s->empty = help_live(s->store);
    for (size_t i = 0; i < sizeof(piece); i++)
        piece[i] = (char)(i % 251);
    help_request(&req, GET(""));
    help_response(&res, OK("Cache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n"));
    struct cache_request ask = help_ask(&req, NOW);
    assert_int_equal(cache_lookup(s->store, &ask, &found), CACHE_MISS);
    s->id = found.flight;
    assert_int_equal(cache_flight_board(s->store, &s->id, NOW, NULL, &lead), CACHE_BOARD_LEAD);
    for (size_t i = 0; i < 3; i++) {
        s->waiters[i] = (struct cache_waiter){.wake = woken, .ctx = &s->news};
        assert_int_equal(cache_flight_board(s->store, &s->id, NOW, &s->waiters[i], &s->flights[i]),
                         CACHE_BOARD_WAIT);
    }
    s->filler = cache_fill_begin(s->store, &ask, &res, res.framing, NOW, NOW);
    assert_true(cache_fill_share(s->filler, &lead));
    for (size_t i = 0; i < following; i++)
        assert_true(cache_flight_follow(s->flights[i], &s->waiters[i]));
}

static void
stream_end(struct stream *s)
{
    for (size_t i = 0; i < 3; i++)
        cache_flight_quit(&s->flights[i], &s->waiters[i]);
    assert_int_equal(help_counters(s->store).entries, 0);
    assert_int_equal(help_live(s->store), s->empty);
    cache_store_free(&s->store);
}

/* What waiter `who` takes from `at` on is `bytes` of the piece from `from` on. */
static void
takes(struct stream *s, size_t who, uint64_t at, size_t from, size_t bytes, size_t max)
{
    size_t taken;
    assert_true(cache_flight_take(s->flights[who], &s->waiters[who], at, out, max, &taken));
    assert_int_equal(taken, bytes);
    assert_memory_equal(out, piece + from, bytes);
}

static enum cache_flight_state
state_of(const struct stream *s, size_t who)
{
    struct cache_entry *entry = NULL;
    int status;
    enum cache_flight_state state = cache_flight_look(s->flights[who], &entry, &status);
    assert_true(!entry || state == CACHE_FLIGHT_COMING);
    cache_entry_unref(&entry);
    return state;
}

static void
what_is_too_much_goes_by(void **state)
{
    (void)state;
    struct stream s;
    struct cache_flight *late = NULL;
    stream_begin(&s, 2);
    assert_int_equal(cache_fill_add(&s.filler, fr_view_make(piece, 900)), FR_OK);
    assert_int_equal(state_of(&s, 0), CACHE_FLIGHT_COMING);
    s.news = 0;
    assert_int_equal(cache_fill_add(&s.filler, fr_view_make(piece, 500)), FR_OK);
    assert_true(s.news >= 3);
    assert_int_equal(help_counters(s.store).refused_large, 1);
    assert_int_equal(state_of(&s, 0), CACHE_FLIGHT_PASSING);
    /* Nobody joins any more, and who had not begun goes on alone. */
    assert_false(cache_flight_follow(s.flights[2], &s.waiters[2]));
    assert_int_equal(cache_flight_board(s.store, &s.id, NOW, NULL, &late), CACHE_BOARD_ALONE);
    takes(&s, 0, 10, 0, 0, sizeof(out)); /* stands in the entry, not in the window */
    takes(&s, 0, 900, 0, 300, 300);
    takes(&s, 0, 1200, 300, 200, sizeof(out));
    takes(&s, 1, 900, 0, 500, sizeof(out));
    cache_fill_commit(&s.filler);
    assert_int_equal(state_of(&s, 0), CACHE_FLIGHT_PASSED);
    takes(&s, 0, 1400, 0, 0, sizeof(out));
    stream_end(&s);
}

/* The slowest one is waited for; who adds nonetheless leaves it behind, and it is told. */
static void
who_is_slow_is_left_behind(void **state)
{
    (void)state;
    struct stream s;
    size_t bytes;
    uint64_t at = 1400;
    stream_begin(&s, 2);
    assert_int_equal(cache_fill_add(&s.filler, fr_view_make(piece, 900)), FR_OK);
    assert_false(cache_fill_stalls(s.filler));
    assert_int_equal(cache_fill_add(&s.filler, fr_view_make(piece, 500)), FR_OK);
    takes(&s, 0, 900, 0, 500, sizeof(out));
    for (int i = 0; i < 5; i++) {
        assert_int_equal(cache_fill_stalls(s.filler), i == 3);
        assert_int_equal(cache_fill_add(&s.filler, fr_view_make(piece, sizeof(piece))), FR_OK);
        takes(&s, 0, at, 0, sizeof(piece), sizeof(out));
        at += sizeof(piece);
    }
    assert_false(cache_flight_take(s.flights[1], &s.waiters[1], 900, out, sizeof(out), &bytes));
    assert_false(cache_fill_stalls(s.filler)); /* nobody waits for it any more */
    cache_flight_quit(&s.flights[0], &s.waiters[0]);
    /* Nobody is left whom it could be for. */
    assert_int_equal(cache_fill_add(&s.filler, fr_view_make(piece, 10)), FR_ERR_FULL);
    assert_null(s.filler);
    assert_int_equal(state_of(&s, 1), CACHE_FLIGHT_BROKEN);
    assert_int_equal(
        cache_flight_board(s.store, &s.id, NOW + 200 * S, &s.waiters[0], &s.flights[0]),
        CACHE_BOARD_LEAD);
    cache_flight_lost(&s.flights[0]);
    cache_flight_quit(&s.flights[1], &s.waiters[1]);
    cache_flight_quit(&s.flights[2], &s.waiters[2]);
    assert_int_equal(help_live(s.store), s.empty);
    cache_store_free(&s.store);
}

/* Without anybody who streams along it is given up, and those who wait ask again. */
static void
what_is_too_much_for_nobody_is_dropped(void **state)
{
    (void)state;
    struct stream s;
    stream_begin(&s, 0);
    assert_int_equal(cache_fill_add(&s.filler, fr_view_make(piece, 4000)), FR_ERR_FULL);
    assert_null(s.filler);
    assert_int_equal(state_of(&s, 0), CACHE_FLIGHT_BROKEN);
    stream_end(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stored_head),
        cmocka_unit_test(the_longest_lifetime),
        cmocka_unit_test(chunked_bodies),
        cmocka_unit_test(incomplete_is_never_seen),
        cmocka_unit_test(too_large),
        cmocka_unit_test(memory_is_out),
        cmocka_unit_test(the_rest_completes_it),
        cmocka_unit_test(the_rest_is_as_old_as_its_date_says),
        cmocka_unit_test(the_rest_of_something_else_does_not),
        cmocka_unit_test(a_long_beginning_is_not_continued),
        cmocka_unit_test(what_may_be_completed),
        cmocka_unit_test(what_is_too_much_goes_by),
        cmocka_unit_test(who_is_slow_is_left_behind),
        cmocka_unit_test(what_is_too_much_for_nobody_is_dropped),
        cmocka_unit_test(if_none_match),
        cmocka_unit_test(if_modified_since),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
