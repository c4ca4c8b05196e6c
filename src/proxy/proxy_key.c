/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_key.c - the key of a request, for clusters that balance by hash.
 *
 * May touch:  base, http, cluster.
 * Cost:       one pass over the key; only where the cluster asks for one.
 */
#include "proxy/proxy_priv.h"

#define URL_KEY_BYTES 4096 /* of host, path and query: what is behind them tells no more */

struct key_writer {
    char bytes[URL_KEY_BYTES];
    size_t len;
};

static void
add(struct key_writer *w, struct fr_view text)
{
    size_t room = sizeof(w->bytes) - w->len;
    size_t len = text.len < room ? text.len : room;
    if (len)
        memcpy(w->bytes + w->len, text.ptr, len);
    w->len += len;
}

/* Host without port and in lower case, so that what is one site is one key. */
static uint64_t
url_key(const struct http_head *request)
{
    struct key_writer w;
    char host[256];
    size_t host_len = 0;
    w.len = 0;
    if (http_head_host(request, host, sizeof(host), &host_len))
        add(&w, fr_view_make(host, host_len));
    add(&w, request->path);
    if (request->has_query) {
        add(&w, FR_VIEW("?"));
        add(&w, request->query);
    }
    return cluster_ring_key(w.bytes, w.len);
}

static struct fr_view
key_of(const struct proxy_exchange *x, const struct http_head *request,
       const struct config_hash *hash)
{
    const struct http_field *field;
    struct http_cookie cookie;
    switch (hash->by) {
    case CONFIG_HASH_PATH:
        return request->path;
    case CONFIG_HASH_HEADER:
        field = http_head_find_name(request, fr_view_of(hash->name));
        return field ? field->value : fr_view_make("", 0);
    case CONFIG_HASH_COOKIE:
        return http_cookie_find(request, fr_view_of(hash->name), &cookie) ? cookie.value
                                                                          : fr_view_make("", 0);
    case CONFIG_HASH_ADDRESS:
        return fr_view_make(x->address, x->address_len);
    case CONFIG_HASH_URL:
        break;
    }
    return fr_view_make("", 0);
}

void
proxy_key_take(struct proxy_exchange *x, const struct http_head *request,
               const struct config_cluster *config)
{
    if (config->balance != CONFIG_BALANCE_HASH)
        return;
    if (config->hash.by == CONFIG_HASH_URL) {
        x->key = url_key(request);
        x->keyed = true;
        return;
    }
    struct fr_view key = key_of(x, request, &config->hash);
    x->keyed = key.len > 0;
    if (x->keyed)
        x->key = cluster_ring_key(key.ptr, key.len);
}
