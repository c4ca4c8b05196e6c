/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_lookup.c - a request asks the store: may what is there answer it?
 *
 * May touch:  base, http.
 * Cost:       a hit: one key copied and hashed, one look-up in the store.
 * Follows:    RFC 9111 section 4.
 */
#include "cache/cache_priv.h"

enum cache_answer
cache_lookup(struct cache_store *store, const struct cache_request *request,
             struct cache_entry **out_entry)
{
    const struct http_head *head = request->head;
    *out_entry = NULL;
    if (head->method != HTTP_GET && head->method != HTTP_HEAD)
        return CACHE_BYPASS;
    struct cache__control control;
    struct cache__key key;
    cache__control_read(head, &control);
    /* RFC 9111 section 5.2.1.7: stored, or 504; that we would not even look changes nothing. */
    enum cache_answer answer = control.only_if_cached ? CACHE_GATEWAY_TIMEOUT : CACHE_BYPASS;
    if (cache__bypasses(head, &control) ||
        !cache__key_make(cache__store_hash_key(store), request, &key))
        return answer;
    answer = control.only_if_cached ? CACHE_GATEWAY_TIMEOUT : CACHE_MISS;
    if (control.no_cache)
        return answer;
    struct cache_entry *entry = cache__store_find(store, &key, head);
    if (!entry)
        return answer;
    bool has_authorization = http_head_find(head, HTTP_FIELD_AUTHORIZATION) != NULL;
    struct cache__freshness freshness = entry->freshness;
    enum cache_answer verdict = CACHE_MISS;
    if (cache__purges_apply(cache__store_purges(store), entry, request->now_us, &freshness))
        verdict = cache__judge(&freshness, &control, has_authorization, request->now_us,
                               request->stale_max_us);
    if (verdict != CACHE_MISS) {
        __atomic_fetch_add(&entry->hits, 1, __ATOMIC_RELAXED);
        *out_entry = entry;
        return verdict;
    }
    cache_entry_unref(&entry);
    return answer;
}
