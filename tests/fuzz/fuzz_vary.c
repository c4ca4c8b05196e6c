/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_vary.c - fuzzes Vary: the names it lists, what two requests are selected by, and whether one
 * gets what the other one was given.
 *
 * Shape:  the value of Vary, the fields of a request, the fields of another one; a NUL ends the
 *         first two.
 * Judged: values that are the same octets select the same; values that differ by more than blanks,
 *         commas, order and case do not; the store says so too.
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <stdio.h>
#include <stdlib.h>

#define NOW_US (INT64_C(784111777) * FR_US_PER_S)
#define PART_BYTES_MAX 4096
#define WORDS_MAX 512

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct asked {
    char text[PART_BYTES_MAX + 64];
    struct http_head head;
};

static bool
request_read(struct fr_view fields, struct asked *out)
{
    struct http_err err;
    size_t scanned = 0;
    if (fields.len > PART_BYTES_MAX)
        return false;
    int len = snprintf(out->text, sizeof(out->text), "GET /x HTTP/1.1\r\nHost: a\r\n%.*s\r\n\r\n",
                       FR_VIEW_ARG(fields));
    return http_request_parse(fr_view_make(out->text, (size_t)len), &http_limits_default, &scanned,
                              &out->head, &err) == HTTP_DONE &&
           out->head.head_bytes == (size_t)len;
}

/* ---- the judge ------------------------------------------------------------------------------- */

/* All that a field's lines have of octets that may count, one behind the other. With `words`, what
 * stands in front of each ';' alone, sorted, in small letters: how preferences may be compared. */
struct octets {
    size_t len;
    char bytes[2 * PART_BYTES_MAX];
};

static int
compare_words(const void *a, const void *b)
{
    return strcasecmp(a, b);
}

static void
words_put(struct octets *out, const struct http_head *head, const struct http_field *field)
{
    static char words[WORDS_MAX][64];
    size_t count = 0;
    for (; field; field = http_head_next(head, field)) {
        struct fr_view rest = field->value, item, word;
        while (http_list_next(&rest, &item) && fr_view_split(&item, ';', &word)) {
            word = fr_view_trim(word);
            if (count == WORDS_MAX || word.len >= sizeof(words[0]))
                return; /* not judged */
            (void)snprintf(words[count++], sizeof(words[0]), "%.*s", FR_VIEW_ARG(word));
        }
    }
    qsort(words, count, sizeof(words[0]), compare_words);
    for (size_t i = 0; i < count; i++)
        for (const char *c = words[i]; *c; c++)
            out->bytes[out->len++] = (char)(*c >= 'A' && *c <= 'Z' ? *c | 0x20 : *c);
}

static void
field_put(struct octets *out, const struct http_head *head, struct fr_view name, bool exact)
{
    static const char *const preferences[] = {"accept", "accept-language", "accept-encoding",
                                              "accept-charset"};
    const struct http_field *field = http_head_find_name(head, name);
    out->len = 0;
    out->bytes[out->len++] = field ? '+' : '-';
    for (size_t i = 0; !exact && i < sizeof(preferences) / sizeof(preferences[0]); i++)
        if (fr_view_is(name, preferences[i])) {
            words_put(out, head, field);
            return;
        }
    for (; field; field = http_head_next(head, field)) {
        for (size_t i = 0; i < field->value.len; i++) {
            char c = field->value.ptr[i];
            if (exact || (c != ' ' && c != '\t' && c != ','))
                out->bytes[out->len++] = c;
        }
        if (exact)
            out->bytes[out->len++] = '\n';
    }
}

static bool
alike(struct fr_view names, const struct asked *a, const struct asked *b, bool exact)
{
    static struct octets one, other;
    struct fr_view name;
    while (http_list_next(&names, &name)) {
        field_put(&one, &a->head, name, exact);
        field_put(&other, &b->head, name, exact);
        if (one.len != other.len || memcmp(one.bytes, other.bytes, one.len) != 0)
            return false;
    }
    return true;
}

/* ---- the store ------------------------------------------------------------------------------- */

static enum cache_answer
look_up(struct cache_store *store, const struct asked *asked)
{
    struct cache_request ask = {
        .head = &asked->head, .scheme = FR_VIEW("http"), .host = FR_VIEW("a"), .now_us = NOW_US};
    struct cache_found found;
    enum cache_answer answer = cache_lookup(store, &ask, &found);
    cache_entry_unref(&found.entry);
    return answer;
}

static void
try_store(const struct http_head *response, const struct asked *a, const struct asked *b, bool same)
{
    static const struct cache_options options = {1024 * 1024, 65536};
    struct cache_store *store = NULL;
    struct cache_request ask = {
        .head = &a->head, .scheme = FR_VIEW("http"), .host = FR_VIEW("a"), .now_us = NOW_US};
    if (cache_store_new(&options, &store) != FR_OK)
        return;
    struct cache_filler *filler =
        cache_fill_begin(store, &ask, response, response->framing, NOW_US, NOW_US);
    if (filler && cache_fill_add(&filler, FR_VIEW("x")) == FR_OK)
        cache_fill_commit(&filler);
    if (look_up(store, b) == CACHE_FRESH)
        fr_insist(same);
    cache_store_free(&store);
}

static void
try_vary(const struct http_head *response, const struct asked *a, const struct asked *b)
{
    static const struct fr_hash_key key = {1, 2};
    struct cache__vary vary;
    struct fr_hash128 one, other;
    if (!cache__vary_read(response, &cache_policy_default, &vary))
        return;
    struct fr_view names = fr_view_make(vary.names, vary.len);
    for (size_t i = 0; i < names.len; i++)
        fr_insist(names.ptr[i] > ' ' && (names.ptr[i] < 'A' || names.ptr[i] > 'Z'));
    bool known = cache__select_hash(&key, names, &a->head, &one);
    if (!known || !cache__select_hash(&key, names, &b->head, &other))
        return;
    bool same = one.lo == other.lo && one.hi == other.hi;
    if (alike(names, a, b, true))
        fr_insist(same);
    if (!alike(names, a, b, false))
        fr_insist(!same);
    try_store(response, a, b, same);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct asked a, b;
    static struct http_head response;
    char text[PART_BYTES_MAX + 128];
    struct fr_view rest = fr_view_make((const char *)data, size), vary, fields;
    struct http_err err;
    size_t scanned = 0;
    if (size == 0 || !fr_view_split(&rest, '\0', &vary) || vary.len > PART_BYTES_MAX ||
        !fr_view_split(&rest, '\0', &fields) || !rest.ptr)
        return 0;
    if (!request_read(fields, &a) || !request_read(rest, &b))
        return 0;
    int len = snprintf(text, sizeof(text),
                       "HTTP/1.1 200 OK\r\nCache-Control: public, max-age=60\r\n"
                       "Content-Length: 1\r\nVary: %.*s\r\n\r\n",
                       FR_VIEW_ARG(vary));
    if (http_response_parse(fr_view_make(text, (size_t)len), &http_limits_default, &scanned,
                            &response, &err) == HTTP_DONE)
        try_vary(&response, &a, &b);
    return 0;
}
