/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_purge.c - the method PURGE, for clients of cache.purge-from: takes what is stored for the
 * target out of the cache of this edge.
 *
 *     PURGE /path?query                  that URL, all its variants
 *     PURGE /path*                       all that begins with it
 *     Surrogate-Key: a b                 these tags instead
 *     Cache-Tag: a, b
 *     Soft-Purge: 1                      stale instead of gone
 *
 * May touch:  base, loop (addresses), http, cache.
 * Cost:       a comparison of the method for what no cache knows.
 * Trusts:     whom proxy_trust.c believes the client to be, and only if its address is a number.
 */
#include "proxy/proxy_priv.h"

#include "base/fr_buf.h"

#define URL_BYTES_MAX 16384

/* Whether the client is one of cache.purge-from. A name that a proxy made up is nobody. */
static bool
may_purge(const struct proxy_exchange *x)
{
    const struct proxy_settings *settings = &x->worker->settings;
    const struct proxy_client *client = x->client;
    struct loop_addr addr;
    bool itself = x->address_len == client->address_len &&
                  memcmp(x->address, client->address, x->address_len) == 0;
    if (itself)
        addr = client->peer;
    else if (loop_addr_parse_host(fr_view_make(x->address, x->address_len), &addr) != FR_OK)
        return false;
    return loop_nets_have(settings->purge_from, settings->purge_from_count, &addr);
}

/* Tags of a field; the first failure stays. Returns how many there were. */
static size_t
purge_tags(struct proxy_exchange *x, struct fr_view value, char separator, bool soft,
           enum fr_err *err)
{
    struct fr_view item;
    size_t count = 0;
    uint64_t serial;
    while (fr_view_split(&value, separator, &item)) {
        struct cache_purge purge = {CACHE_PURGE_TAG, soft, fr_view_trim(item)};
        if (purge.text.len == 0)
            continue;
        count++;
        enum fr_err one =
            cache_purge(x->worker->cache, &purge, proxy_cache_now_us(x->worker), &serial);
        if (*err == FR_OK)
            *err = one;
    }
    return count;
}

static enum fr_err
purge_target(struct proxy_exchange *x, const struct http_head *request, bool soft)
{
    struct fr_buf url;
    uint64_t serial;
    fr_buf_init(&url, URL_BYTES_MAX);
    struct fr_view query = request->has_query ? request->query : FR_VIEW("");
    enum fr_err err = fr_buf_printf(&url, "//%.*s%.*s%s%.*s", FR_VIEW_ARG(request->host),
                                    FR_VIEW_ARG(request->path), request->has_query ? "?" : "",
                                    FR_VIEW_ARG(query));
    struct cache_purge purge = {CACHE_PURGE_URL, soft, fr_buf_view(&url)};
    if (err == FR_OK && purge.text.ptr[purge.text.len - 1] == '*') {
        purge.kind = CACHE_PURGE_PREFIX;
        purge.text.len--;
    }
    if (err == FR_OK)
        err = cache_purge(x->worker->cache, &purge, proxy_cache_now_us(x->worker), &serial);
    fr_buf_fini(&url);
    return err;
}

static enum fr_err
purge(struct proxy_exchange *x, const struct http_head *request)
{
    const struct http_field *field = http_head_find_name(request, FR_VIEW("soft-purge"));
    bool soft = field && !fr_view_is(field->value, "0");
    enum fr_err err = FR_OK;
    size_t tags = 0;
    for (size_t i = 0; i < request->field_count; i++) {
        field = &request->fields[i];
        if (fr_view_ieq(field->name, FR_VIEW("surrogate-key")))
            tags += purge_tags(x, field->value, ' ', soft, &err);
        else if (fr_view_ieq(field->name, FR_VIEW("cache-tag")))
            tags += purge_tags(x, field->value, ',', soft, &err);
    }
    return tags ? err : purge_target(x, request, soft);
}

bool
proxy_purge(struct proxy_exchange *x, const struct http_head *request)
{
    struct proxy_worker *worker = x->worker;
    if (!fr_view_is(request->method_text, "PURGE") || worker->settings.purge_from_count == 0 ||
        !worker->cache)
        return false;
    struct proxy_answer answer = {.status = 200};
    if (!may_purge(x)) {
        PROXY_COUNT(worker, purges_refused);
        answer = (struct proxy_answer){.status = 403, .words = "not allowed to purge from there"};
    } else {
        enum fr_err err = purge(x, request);
        PROXY_COUNT(worker, purges);
        if (err == FR_ERR_SYNTAX)
            answer = (struct proxy_answer){.status = 400, .words = "nothing that can be purged"};
        else if (err != FR_OK)
            answer = (struct proxy_answer){
                .status = 503, .words = "too many purges at once: try again", .retry_after_s = 1};
    }
    proxy_local_answer(x, &answer);
    return true;
}
