/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_help.h - what the cache tests share: heads from text, a store, a response stored in one
 * call.
 */
#ifndef CACHE_HELP_H
#define CACHE_HELP_H

#include "cache/cache_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#define S FR_US_PER_S
#define NOW (INT64_C(784111777) * S) /* Sun, 06 Nov 1994 08:49:37 GMT */
#define NOW_TEXT "Sun, 06 Nov 1994 08:49:37 GMT"

/* The text must live as long as the head. */
static inline void
help_request(struct http_head *out, const char *text)
{
    struct http_err err;
    size_t scanned = 0;
    if (http_request_parse(fr_view_of(text), &http_limits_default, &scanned, out, &err) !=
        HTTP_DONE)
        fail_msg("bad request in the test: %s", text);
}

static inline void
help_response(struct http_head *out, const char *text)
{
    struct http_err err;
    size_t scanned = 0;
    if (http_response_parse(fr_view_of(text), &http_limits_default, &scanned, out, &err) !=
        HTTP_DONE)
        fail_msg("bad response in the test: %s", text);
}

#define GET(fields) "GET /x HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define OK(fields) "HTTP/1.1 200 OK\r\n" fields "\r\n"

static inline struct cache_request
help_ask(const struct http_head *head, int64_t now_us)
{
    return (struct cache_request){
        .head = head,
        .scheme = FR_VIEW("http"),
        .host = FR_VIEW("a"),
        .now_us = now_us,
    };
}

static inline struct cache_store *
help_store_with(uint64_t memory_bytes, uint64_t object_bytes_max, struct cache_disk *disk)
{
    struct cache_options options = {memory_bytes, object_bytes_max, disk};
    struct cache_store *store = NULL;
    assert_int_equal(cache_store_new(&options, &store), FR_OK);
    /* The same key in every run: which tags share a slot is no matter of luck. */
    *(struct fr_hash_key *)(uintptr_t)cache__store_hash_key(store) = (struct fr_hash_key){1, 2};
    return store;
}

static inline struct cache_store *
help_store(uint64_t memory_bytes, uint64_t object_bytes_max)
{
    return help_store_with(memory_bytes, object_bytes_max, NULL);
}

/* True when the response was stored, asked for and received at now_us. */
static inline bool
help_put(struct cache_store *store, const char *request, const char *response, const char *body,
         int64_t now_us)
{
    static __thread struct http_head req;
    static __thread struct http_head res;
    help_request(&req, request);
    help_response(&res, response);
    struct cache_request ask = help_ask(&req, now_us);
    struct cache_filler *filler = cache_fill_begin(
        store, &ask, &res, http_response_framing(&res, req.method), now_us, now_us);
    if (!filler)
        return false;
    if (cache_fill_add(&filler, fr_view_of(body)) != FR_OK)
        return false;
    cache_fill_commit(&filler);
    return true;
}

/* An entry that may only be validated does not count: it does not answer. */
static inline enum cache_answer
help_lookup(struct cache_store *store, const struct cache_request *ask,
            struct cache_entry **out_entry)
{
    struct cache_found found;
    enum cache_answer answer = cache_lookup(store, ask, &found);
    if (answer == CACHE_VALIDATE)
        cache_entry_let_go(ask->reader, &found.entry);
    *out_entry = found.entry;
    return answer == CACHE_VALIDATE ? CACHE_MISS : answer;
}

static inline enum cache_answer
help_get(struct cache_store *store, const char *request, int64_t now_us,
         struct cache_entry **out_entry)
{
    static __thread struct http_head req;
    help_request(&req, request);
    struct cache_request ask = help_ask(&req, now_us);
    return help_lookup(store, &ask, out_entry);
}

/* Looks up, lets go, and says the answer only. */
static inline enum cache_answer
help_answer(struct cache_store *store, const char *request, int64_t now_us)
{
    struct cache_entry *entry;
    enum cache_answer answer = help_get(store, request, now_us, &entry);
    assert_int_equal(entry != NULL, answer == CACHE_FRESH || answer == CACHE_STALE_ALLOWED);
    cache_entry_unref(&entry);
    return answer;
}

/* The first part of the body stored for the request; an empty view when there is none. */
static inline bool
help_body_is(struct cache_store *store, const char *request, int64_t now_us, const char *want)
{
    struct cache_entry *entry;
    struct fr_view part, left = fr_view_of(want);
    if (help_get(store, request, now_us, &entry) != CACHE_FRESH)
        return false;
    bool same = cache_entry_body_bytes(entry) == left.len;
    for (size_t i = 0; same && cache_entry_body(entry, i, &part); i++) {
        same = fr_view_starts(left, part);
        left = fr_view_make(left.ptr + part.len, left.len - part.len);
    }
    cache_entry_unref(&entry);
    return same;
}

static inline struct cache_counters
help_counters(const struct cache_store *store)
{
    struct cache_counters counters;
    cache_store_counters(store, &counters);
    return counters;
}

/* Tables, heads and bodies, without the slack of pages. */
static inline uint64_t
help_live(const struct cache_store *store)
{
    struct cache_counters counters = help_counters(store);
    return counters.index_bytes + counters.head_bytes + counters.body_bytes;
}

#endif
