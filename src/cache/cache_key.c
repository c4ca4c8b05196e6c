/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_key.c - what an answer is found by: the target, and the request fields that select a
 * variant.
 *
 * May touch:  base, http.
 * Memory:     the caller's; everything is bounded.
 * Trusts:     a host that the caller normalised. Path and query are taken as they came: which
 *             spellings mean the same is the member's to know.
 * Follows:    RFC 9111 sections 2 and 4.1.
 */
#include "cache/cache_priv.h"

/* Bytes into a fixed space; `ok` turns false, and stays so, when they do not fit. */
struct filler {
    char *out;
    size_t len;
    size_t max;
    bool ok;
};

static void
put(struct filler *f, struct fr_view text)
{
    if (text.len > f->max - f->len) {
        f->ok = false;
        return;
    }
    if (text.len)
        memcpy(f->out + f->len, text.ptr, text.len);
    f->len += text.len;
}

static void
put_lower(struct filler *f, struct fr_view text)
{
    size_t start = f->len;
    put(f, text);
    for (size_t i = start; i < f->len; i++)
        if (f->out[i] >= 'A' && f->out[i] <= 'Z')
            f->out[i] = (char)(f->out[i] | 0x20);
}

bool
cache__key_make(const struct fr_hash_key *hash_key, const struct cache_request *request,
                struct cache__key *out)
{
    struct filler f = {out->text, 0, sizeof(out->text), true};
    /* HEAD has the key of GET. No separator can stand in the part before it: a scheme has no ':',
     * a host no '/', and a path starts with one. */
    put_lower(&f, request->scheme);
    put(&f, FR_VIEW("://"));
    put_lower(&f, request->host);
    put(&f, request->head->path);
    if (request->head->has_query) {
        put(&f, FR_VIEW("?"));
        put(&f, request->head->query);
    }
    if (!f.ok)
        return false;
    out->len = f.len;
    out->hash = fr_hash128(hash_key, out->text, f.len);
    return true;
}

bool
cache__vary_read(const struct http_head *response, struct cache__vary *out)
{
    struct filler f = {out->names, 0, sizeof(out->names), true};
    const struct http_field *field = http_head_find(response, HTTP_FIELD_VARY);
    for (; field; field = http_head_next(response, field)) {
        struct fr_view rest = field->value;
        struct fr_view name;
        while (http_list_next(&rest, &name)) {
            /* Section 4.1: "*" never matches. It is a token too. */
            if (fr_view_is(name, "*") || !http_is_token(name))
                return false;
            if (f.len)
                put(&f, FR_VIEW(","));
            put_lower(&f, name);
        }
    }
    out->len = f.len;
    return f.ok;
}

/* All values of one field as one list. Section 4.1 allows to compare them so: combined (RFC 9110
 * section 5.3), blanks around them gone. Absence is not emptiness. */
static void
values_put(struct filler *f, const struct http_head *request, struct fr_view name)
{
    const struct http_field *field = http_head_find_name(request, name);
    put(f, field ? FR_VIEW("\n+") : FR_VIEW("\n-"));
    for (; field; field = http_head_next(request, field)) {
        put(f, field->value);
        put(f, FR_VIEW(","));
    }
}

bool
cache__select_hash(const struct fr_hash_key *hash_key, struct fr_view vary_names,
                   const struct http_head *request, struct fr_hash128 *out)
{
    char text[CACHE__SELECT_BYTES_MAX];
    struct filler f = {text, 0, sizeof(text), true};
    struct fr_view rest = vary_names;
    struct fr_view name;
    /* No value holds a LF, so that names and values cannot run together. */
    while (http_list_next(&rest, &name))
        values_put(&f, request, name);
    if (!f.ok)
        return false;
    *out = fr_hash128(hash_key, text, f.len);
    return true;
}

struct fr_view
cache__key_url(const struct cache__key *key, const struct cache_request *request)
{
    size_t skip = request->scheme.len + 3;
    return fr_view_make(key->text + skip, key->len - skip);
}
