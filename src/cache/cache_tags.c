/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_tags.c - the names that a stored response can be taken back by: its URL, its tags.
 *
 * May touch:  base, http.
 * Limits:     CACHE__TAGS_MAX names of one response; what has more is not stored.
 *
 * A purge names a URL; what is stored under it may have a key without the host or the query, or
 * with the parameters sorted, as its route says. So a URL that is purged has several names, and
 * what is stored has one.
 */
#include "cache/cache_priv.h"

/* Kinds of names that must not meet in one hash. */
static uint32_t
name_hash(const struct fr_hash_key *hash_key, char kind, struct fr_view name)
{
    struct fr_hash_key key = {hash_key->k0 ^ (uint64_t)kind, hash_key->k1};
    return (uint32_t)fr_hash64(&key, name.ptr, name.len);
}

/* A key or URL from its host on. Behind the host may stand, after a space, another one that
 * a trusted proxy claimed: purging by the first concerns all of them. */
struct url {
    struct fr_view host, rest;
};

static struct url
url_of(struct fr_view text)
{
    size_t host = 0;
    while (host < text.len && text.ptr[host] != '/' && text.ptr[host] != ' ')
        host++;
    size_t path = host;
    while (path < text.len && text.ptr[path] != '/')
        path++;
    return (struct url){fr_view_make(text.ptr, host),
                        fr_view_make(text.ptr + path, text.len - path)};
}

/* The order of parameters tells nothing here: a route may have sorted them. */
static uint32_t
rest_hash(const struct fr_hash_key *hash_key, struct fr_view rest)
{
    struct fr_view path, param;
    if (memchr(rest.ptr, *CACHE__KEY_ANY_QUERY, rest.len)) {
        (void)fr_view_split(&rest, *CACHE__KEY_ANY_QUERY, &path); /* it is there */
        return name_hash(hash_key, 'n', path);
    }
    (void)fr_view_split(&rest, '?', &path); /* or all of it is the path */
    uint32_t hash = name_hash(hash_key, 'u', path);
    while (rest.ptr && fr_view_split(&rest, '&', &param))
        hash += name_hash(hash_key, 'q', param) | 1;
    return hash;
}

static uint32_t
tag_of(uint32_t host, uint32_t rest)
{
    uint32_t tag = host * 0x9e3779b1u + rest;
    return tag ? tag : 1;
}

static uint32_t
url_hash(const struct fr_hash_key *hash_key, struct fr_view text)
{
    struct url url = url_of(text);
    return tag_of(name_hash(hash_key, 'h', url.host), rest_hash(hash_key, url.rest));
}

/* A URL by all that it may be stored under: a route may leave host or query out of the key. */
void
cache__url_tags(const struct fr_hash_key *hash_key, struct fr_view text,
                uint32_t out[CACHE__URL_TAGS])
{
    struct url url = url_of(text);
    struct fr_view rest = url.rest, path;
    (void)fr_view_split(&rest, '?', &path); /* or all of it is the path */
    uint32_t hosts[2] = {name_hash(hash_key, 'h', url.host),
                         name_hash(hash_key, 'h', FR_VIEW(CACHE__KEY_ANY_HOST))};
    uint32_t rests[2] = {rest_hash(hash_key, url.rest), name_hash(hash_key, 'n', path)};
    for (size_t i = 0; i < CACHE__URL_TAGS; i++)
        out[i] = tag_of(hosts[i / 2], rests[i % 2]);
}

/* What is stored whatever its query: whether some query of it begins so. */
static bool
rest_starts(struct fr_view rest, struct fr_view prefix)
{
    struct fr_view path, query = prefix;
    if (!memchr(rest.ptr, *CACHE__KEY_ANY_QUERY, rest.len) || !memchr(prefix.ptr, '?', prefix.len))
        return fr_view_starts(rest, prefix);
    (void)fr_view_split(&rest, *CACHE__KEY_ANY_QUERY, &path); /* both are there */
    (void)fr_view_split(&query, '?', &prefix);
    return fr_view_eq(path, prefix);
}

bool
cache__url_starts(struct fr_view text, struct fr_view prefix)
{
    struct url url = url_of(text);
    if (fr_view_is(url.host, CACHE__KEY_ANY_HOST)) { /* so it is of this host, too */
        struct url wanted = url_of(prefix);
        return rest_starts(url.rest, wanted.rest);
    }
    if (prefix.len <= url.host.len)
        return fr_view_starts(url.host, prefix);
    if (!fr_view_starts(prefix, url.host))
        return false;
    return rest_starts(url.rest,
                       fr_view_make(prefix.ptr + url.host.len, prefix.len - url.host.len));
}

uint32_t
cache__tag(const struct fr_hash_key *hash_key, struct fr_view name)
{
    return tag_of(0, name_hash(hash_key, 't', name));
}

static bool
tag_add(struct cache__tags *out, const struct fr_hash_key *hash_key, struct fr_view name)
{
    if (name.len == 0)
        return true;
    if (out->count == CACHE__TAGS_MAX)
        return false;
    out->tags[out->count++] = cache__tag(hash_key, name);
    return true;
}

/* Surrogate-Key's tags stand between blanks, Cache-Tag's between commas. */
static bool
tags_add(struct cache__tags *out, const struct fr_hash_key *hash_key, struct fr_view value,
         char separator)
{
    struct fr_view item;
    while (fr_view_split(&value, separator, &item))
        if (!tag_add(out, hash_key, fr_view_trim(item)))
            return false;
    return true;
}

bool
cache__tags_read(const struct fr_hash_key *hash_key, const struct http_head *response,
                 struct fr_view url, struct cache__tags *out)
{
    out->count = 1;
    out->tags[0] = url_hash(hash_key, url);
    for (size_t i = 0; i < response->field_count; i++) {
        const struct http_field *field = &response->fields[i];
        char separator = fr_view_ieq(field->name, FR_VIEW("surrogate-key")) ? ' '
                         : fr_view_ieq(field->name, FR_VIEW("cache-tag"))   ? ','
                                                                            : '\0';
        if (separator && !tags_add(out, hash_key, field->value, separator))
            return false;
    }
    return true;
}
