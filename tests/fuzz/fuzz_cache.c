/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_cache.c - fuzzes what the cache reads of heads: a request and a response, through the rules,
 * the key, the store, ranges and updates.
 *
 * Shape:  request head, response head, body; each follows the one before.
 */
#include "cache/cache_priv.h"
#include "http/http_reference.h"
#include "http/http_structured.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#define NOW_US (INT64_C(784111777) * FR_US_PER_S)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_values(const struct http_head *head)
{
    struct http_base base = {FR_VIEW("http"), FR_VIEW("a"), FR_VIEW("/x/y")};
    for (size_t i = 0; i < head->field_count; i++) {
        struct fr_view rest = head->fields[i].value, path, query;
        struct http_sf_member member;
        char room[256];
        bool has_query;
        int64_t s;
        while (http_sf_member_next(&rest, &member) == HTTP_MORE)
            fr_insist(member.key.len > 0);
        if (http_date_parse(head->fields[i].value, NOW_US / FR_US_PER_S, &s))
            fr_insist(s > INT64_MIN / 2 && s < INT64_MAX / 2);
        if (http_reference_resolve(&base, head->fields[i].value, room, sizeof(room), &path, &query,
                                   &has_query))
            fr_insist(path.len > 0 && path.ptr[0] == '/');
    }
}

static void
try_lookup(struct cache_store *store, const struct cache_request *ask,
           const struct http_head *response)
{
    struct cache_found found;
    struct cache_selection what;
    bool other = false;
    (void)cache_lookup(store, ask, &found); /* whatever it says */
    if (!found.entry)
        return;
    if (cache_entry_select(found.entry, ask->head, ask->now_us, &what))
        fr_insist(what.first + what.bytes <= cache_entry_body_bytes(found.entry));
    struct cache_entry *fresh =
        cache_entry_freshen(found.entry, ask, response, NOW_US, NOW_US + FR_US_PER_S, &other);
    fr_insist(!fresh || !other);
    cache_entry_unref(&fresh);
    cache_entry_unref(&found.entry);
}

static void
try_both(const struct http_head *request, const struct http_head *response, struct fr_view body)
{
    static const struct cache_options options = {1024 * 1024, 65536};
    struct cache_store *store = NULL;
    struct cache_policy policy = cache_policy_default;
    policy.surrogate = request->version_minor == 0;
    policy.key_query = CACHE_QUERY_SORTED;
    struct cache_request ask = {
        .head = request,
        .scheme = FR_VIEW("http"),
        .host = FR_VIEW("a"),
        .now_us = NOW_US,
        .policy = &policy,
    };
    if (cache_store_new(&options, &store) != FR_OK)
        return;
    enum http_framing framing = http_response_framing(response, request->method);
    struct cache_filler *filler = cache_fill_begin(store, &ask, response, framing, NOW_US, NOW_US);
    if (filler && cache_fill_add(&filler, body) == FR_OK)
        cache_fill_commit(&filler);
    try_lookup(store, &ask, response);
    ask.now_us += 3600 * FR_US_PER_S;
    try_lookup(store, &ask, response);
    cache_invalidate(store, &ask);
    cache__store_check(store);
    cache_store_free(&store);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct http_head request, response;
    struct fr_view in = fr_view_make((const char *)data, size);
    struct http_err err;
    size_t scanned = 0;
    if (http_request_parse(in, &http_limits_default, &scanned, &request, &err) != HTTP_DONE)
        return 0;
    try_values(&request);
    in = fr_view_make(in.ptr + request.head_bytes, in.len - request.head_bytes);
    scanned = 0;
    if (http_response_parse(in, &http_limits_default, &scanned, &response, &err) != HTTP_DONE)
        return 0;
    try_values(&response);
    try_both(&request, &response,
             fr_view_make(in.ptr + response.head_bytes, in.len - response.head_bytes));
    return 0;
}
