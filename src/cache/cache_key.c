/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_key.c - what an answer is found by: the target, and the request fields that select a
 * variant.
 *
 * May touch:  base, http.
 * Memory:     the caller's; everything is bounded.
 * Trusts:     a host that the caller normalised. Path and query are taken as they came, unless the
 *             route says otherwise: which spellings mean the same is the member's to know.
 * Follows:    RFC 9111 sections 2 and 4.1.
 */
#include "cache/cache_priv.h"

#include "base/fr_put.h"

#include <stdlib.h>

#define QUERY_PARAMS_MAX 128
#define CHOICES_MAX 64

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
    if (text.len > f->max - f->len) {
        f->ok = false;
        return;
    }
    (void)fr_put_lower(f->out + f->len, text);
    f->len += text.len;
}

static int
compare_text(const void *a, const void *b)
{
    const struct fr_view *one = a, *other = b;
    size_t len = one->len < other->len ? one->len : other->len;
    int order = len ? memcmp(one->ptr, other->ptr, len) : 0;
    return order ? order : (one->len > other->len) - (one->len < other->len);
}

/* ---- values of fields ------------------------------------------------------------------------ */

/* One element of Accept and its like: "de;q=0.5". */
struct choice {
    struct fr_view text;   /* before the first ';' */
    struct fr_view params; /* all but q, as they stand */
    unsigned q;            /* thousandths */
};

/* qvalue of RFC 9110 section 12.4.2; what is none counts as 1. */
static unsigned
quality_of(struct fr_view text)
{
    unsigned q = 0, scale = 1000;
    if (text.len == 0 || text.len > 5 || (text.ptr[0] != '0' && text.ptr[0] != '1'))
        return 1000;
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (i == 1) {
            if (c != '.')
                return 1000;
            continue;
        }
        if (c < '0' || c > '9')
            return 1000;
        q += (unsigned)(c - '0') * scale;
        scale /= 10;
    }
    return q > 1000 ? 1000 : q;
}

static struct choice
choice_of(struct fr_view item)
{
    struct choice out = {.q = 1000};
    struct fr_view rest = item, param;
    (void)fr_view_split(&rest, ';', &out.text); /* items are not empty */
    out.text = fr_view_trim(out.text);
    out.params = rest.ptr ? fr_view_trim(rest) : fr_view_make("", 0);
    while (rest.ptr && fr_view_split(&rest, ';', &param)) {
        param = fr_view_trim(param);
        if (!fr_view_istarts(param, FR_VIEW("q=")))
            continue;
        out.q = quality_of(fr_view_make(param.ptr + 2, param.len - 2));
        if (param.ptr == out.params.ptr)
            out.params = fr_view_make("", 0);
    }
    return out;
}

static int
compare_choices(const void *a, const void *b)
{
    const struct choice *one = a, *other = b;
    if (one->q != other->q)
        return one->q < other->q ? 1 : -1;
    size_t len = one->text.len < other->text.len ? one->text.len : other->text.len;
    for (size_t i = 0; i < len; i++) {
        int x = one->text.ptr[i] | 0x20, y = other->text.ptr[i] | 0x20;
        if (x != y)
            return x - y;
    }
    if (one->text.len != other->text.len)
        return one->text.len < other->text.len ? -1 : 1;
    return compare_text(&one->params, &other->params);
}

/* Fields of preferences: case and order tell nothing, the weights do (RFC 9110 section 12.5).
 * False: too many to sort. */
static bool
put_choices(struct filler *f, const struct http_head *request, const struct http_field *field)
{
    struct choice choices[CHOICES_MAX];
    size_t count = 0;
    for (; field; field = http_head_next(request, field)) {
        struct fr_view rest = field->value, item;
        while (http_list_next(&rest, &item)) {
            if (count == CHOICES_MAX)
                return false;
            choices[count++] = choice_of(item);
        }
    }
    qsort(choices, count, sizeof(choices[0]), compare_choices);
    for (size_t i = 0; i < count; i++) {
        const char q[5] = {';', (char)('0' + choices[i].q / 1000),
                           (char)('0' + choices[i].q / 100 % 10),
                           (char)('0' + choices[i].q / 10 % 10), (char)('0' + choices[i].q % 10)};
        put_lower(f, choices[i].text);
        put(f, fr_view_make(q, sizeof(q)));
        put(f, choices[i].params);
        put(f, FR_VIEW(","));
    }
    return true;
}

static bool
is_choices(struct fr_view name)
{
    return fr_view_ieq(name, FR_VIEW("accept-language")) ||
           fr_view_ieq(name, FR_VIEW("accept-encoding")) ||
           fr_view_ieq(name, FR_VIEW("accept-charset")) || fr_view_ieq(name, FR_VIEW("accept"));
}

/* Fields that are no lists, or where every octet may matter. */
static bool
is_verbatim(struct fr_view name)
{
    return fr_view_ieq(name, FR_VIEW("cookie")) || fr_view_ieq(name, FR_VIEW("authorization")) ||
           fr_view_ieq(name, FR_VIEW("user-agent"));
}

/* All values of one field as one list. Section 4.1 allows to compare them so: combined (RFC 9110
 * section 5.3), blanks around elements gone. Absence is not emptiness. */
static void
values_put(struct filler *f, const struct http_head *request, struct fr_view name)
{
    const struct http_field *field = http_head_find_name(request, name);
    put(f, field ? FR_VIEW("\n+") : FR_VIEW("\n-"));
    if (field && is_choices(name) && put_choices(f, request, field))
        return;
    for (; field; field = http_head_next(request, field)) {
        struct fr_view rest = field->value, item;
        if (is_verbatim(name)) {
            put(f, field->value);
            put(f, FR_VIEW(","));
            continue;
        }
        while (http_list_next(&rest, &item)) {
            put(f, item);
            put(f, FR_VIEW(","));
        }
    }
}

/* ---- the target ------------------------------------------------------------------------------ */

/* "b=2&a=1" and "a=1&b=2" become one; too many of them stay as they came. */
static void
put_sorted(struct filler *f, struct fr_view query)
{
    struct fr_view params[QUERY_PARAMS_MAX];
    struct fr_view rest = query;
    size_t count = 0;
    while (count < QUERY_PARAMS_MAX && fr_view_split(&rest, '&', &params[count]))
        count++;
    if (rest.ptr) {
        put(f, query);
        return;
    }
    qsort(params, count, sizeof(params[0]), compare_text);
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            put(f, FR_VIEW("&"));
        put(f, params[i]);
    }
}

static void
put_query(struct filler *f, const struct http_head *head, enum cache_query how)
{
    if (how == CACHE_QUERY_NONE)
        put(f, FR_VIEW(CACHE__KEY_ANY_QUERY));
    if (!head->has_query || how == CACHE_QUERY_NONE)
        return;
    put(f, FR_VIEW("?"));
    if (how == CACHE_QUERY_SORTED)
        put_sorted(f, head->query);
    else
        put(f, head->query);
}

bool
cache__key_make(const struct fr_hash_key *hash_key, const struct cache_request *request,
                struct cache__key *out)
{
    const struct cache_policy *policy = cache__policy(request);
    struct filler f = {out->text, 0, sizeof(out->text), true};
    /* HEAD has the key of GET. No separator can stand in the part before it: a scheme has no ':',
     * a host no '/' and no '*', and a path starts with '/'. */
    put(&f, request->scheme);
    put(&f, FR_VIEW("://"));
    if (policy->key_any_host)
        put(&f, FR_VIEW(CACHE__KEY_ANY_HOST));
    else
        put(&f, request->host);
    put(&f, request->head->path);
    put_query(&f, request->head, policy->key_query);
    out->url_len = f.len;
    struct fr_view names = policy->key_headers, name;
    while (http_list_next(&names, &name))
        values_put(&f, request->head, name); /* each begins with a LF */
    if (!f.ok)
        return false;
    out->len = f.len;
    out->hash = fr_hash128(hash_key, out->text, f.len);
    return true;
}

/* ---- variants -------------------------------------------------------------------------------- */

bool
cache__vary_read(const struct http_head *response, const struct cache_policy *policy,
                 struct cache__vary *out)
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
            if (policy->ignore_cookies && fr_view_ieq(name, FR_VIEW("cookie")))
                continue;
            if (f.len)
                put(&f, FR_VIEW(","));
            put_lower(&f, name);
        }
    }
    out->len = f.len;
    return f.ok;
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
    return fr_view_make(key->text + skip, key->url_len - skip);
}
