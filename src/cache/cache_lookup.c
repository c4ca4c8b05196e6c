/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_lookup.c - a request asks the store: may what is there answer it?
 *
 * May touch:  base, http.
 * Cost:       a hit: one key copied and hashed, one look-up in the store.
 * Follows:    RFC 9111 section 4.
 */
#include "cache/cache_priv.h"

/* Whether the target itself is there, in another variant (RFC 9211 section 2.2). */
static enum cache_forward
miss_of(struct cache_store *store, struct cache_reader *reader, const struct cache__key *key,
        const struct http_head *request, struct fr_hash128 *out_select)
{
    if (cache__store_has(store, reader, key, request, out_select))
        return CACHE_FORWARD_VARY_MISS;
    return CACHE_FORWARD_URI_MISS;
}

/* The first ones exactly; then one of many is written down, for all of them: the line is that of
 * everybody. */
static void
count_hit(struct cache_entry *entry, struct cache_reader *reader)
{
    uint32_t hits = 1;
    if (reader && __atomic_load_n(&entry->hits, __ATOMIC_RELAXED) >= CACHE__SAMPLE)
        hits = cache__reader_sample(reader);
    if (hits > 0)
        __atomic_fetch_add(&entry->hits, hits, __ATOMIC_RELAXED);
}

static enum cache_answer
judge(const struct cache_request *request, const struct cache__control *asked,
      struct cache_entry *entry, struct cache_found *out)
{
    const struct http_head *head = request->head;
    struct cache_selection selection;
    struct cache__freshness freshness = cache__entry_freshness(entry);
    out->forward = CACHE_FORWARD_URI_MISS;
    if (!cache__purges_apply(cache__store_purges(entry->store), entry, request->now_us, &freshness))
        return CACHE_MISS;
    bool has_authorization = http_head_find(head, HTTP_FIELD_AUTHORIZATION) != NULL;
    struct cache__verdict verdict =
        cache__judge(&freshness, asked, has_authorization, request->now_us, request->stale_max_us);
    out->refresh = verdict.refresh;
    out->relieved = verdict.relieved;
    /* MISS: it was asked for without these credentials. */
    out->forward = verdict.refused || verdict.answer == CACHE_MISS ? CACHE_FORWARD_REQUEST
                                                                   : CACHE_FORWARD_STALE;
    if (verdict.answer == CACHE_MISS ||
        cache_entry_select(entry, head, request->now_us, &selection))
        return verdict.answer;
    /* A part of it is there, but not this one; or not all, which can be mended. */
    uint64_t first;
    struct fr_view etag;
    out->forward = CACHE_FORWARD_PARTIAL;
    if (request->takes_part && !verdict.refused && !asked->only_if_cached &&
        head->method == HTTP_GET && !http_head_find(head, HTTP_FIELD_RANGE) &&
        cache_entry_rest(entry, &first, &etag))
        out->part = entry;
    return CACHE_MISS;
}

enum cache_answer
cache_lookup(struct cache_store *store, const struct cache_request *request,
             struct cache_found *out)
{
    const struct http_head *head = request->head;
    *out = (struct cache_found){.forward = CACHE_FORWARD_METHOD};
    if (head->method != HTTP_GET && head->method != HTTP_HEAD)
        return CACHE_BYPASS;
    struct cache__control asked;
    struct cache__key key;
    cache__control_read(head, &asked);
    out->forward = CACHE_FORWARD_REQUEST;
    /* RFC 9111 section 5.2.1.7: stored, or 504; that we would not even look changes nothing. */
    enum cache_answer answer = asked.only_if_cached ? CACHE_GATEWAY_TIMEOUT : CACHE_BYPASS;
    if (cache__bypasses(head, &asked) ||
        !cache__key_make(cache__store_hash_key(store), request, &key))
        return answer;
    if (request->reader)
        cache__reader_pass(request->reader);
    struct cache_entry *entry = cache__store_find(store, request->reader, &key, head);
    bool unwanted = entry && request->near_only && entry->body->far;
    if (unwanted)
        cache_entry_let_go(request->reader, &entry);
    answer = asked.only_if_cached ? CACHE_GATEWAY_TIMEOUT : CACHE_MISS;
    out->flight.key = key.hash;
    if (!entry) {
        out->absent = !unwanted;
        out->forward = miss_of(store, request->reader, &key, head, &out->flight.select);
        return answer;
    }
    out->flight.select = cache__entry_select(entry);
    enum cache_answer verdict = judge(request, &asked, entry, out);
    bool answers = verdict == CACHE_FRESH || verdict == CACHE_STALE_ALLOWED;
    if (answers)
        count_hit(entry, request->reader);
    if (answers || (verdict == CACHE_VALIDATE && !asked.only_if_cached)) {
        out->entry = entry;
        return verdict;
    }
    if (!out->part)
        cache_entry_let_go(request->reader, &entry);
    return answer;
}

bool
cache_entry_suits(const struct cache_entry *entry, const struct cache_request *request,
                  struct cache_flight_id *id)
{
    struct fr_hash128 select = {0, 0};
    struct cache__control asked;
    struct fr_hash128 entry_select = cache__entry_select(entry);
    if (entry->has_part_of)
        return false;
    if (entry->vary_len > 0 &&
        !cache__select_hash(cache__store_hash_key(entry->store), cache__entry_vary(entry),
                            request->head, &select))
        return false;
    if (select.lo != entry_select.lo || select.hi != entry_select.hi) {
        id->select = select;
        return false;
    }
    struct cache__freshness freshness = cache__entry_freshness(entry);
    cache__control_read(request->head, &asked);
    bool has_authorization = http_head_find(request->head, HTTP_FIELD_AUTHORIZATION) != NULL;
    struct cache__verdict verdict =
        cache__judge(&freshness, &asked, has_authorization, request->now_us, 0);
    return verdict.answer == CACHE_FRESH;
}
