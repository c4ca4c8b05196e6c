/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_text.c - what the property test's clients ask and its origin says, as text.
 *
 * Every response carries X-Id, and every octet of a body is a function of its id and its place:
 * from an answer alone the model finds what it was made of.
 */
#include "property_world.h"

#include <inttypes.h>
#include <stdio.h>

#define UNIT 8

static int64_t
some_seconds(struct world *w)
{
    static const int64_t choices[] = {0, 1, 5, 10, 30, 60, 120, 600, 86400};
    return choices[fr_rand_below(&w->rand, 9)];
}

static int64_t
maybe_seconds(struct world *w, uint32_t of)
{
    return chance(w, of) ? some_seconds(w) : NONE;
}

bool
is_partial(int path)
{
    return path % 6 == 5;
}

struct wish
wish_random(struct world *w)
{
    struct wish wish = {
        .path = (int)fr_rand_below(&w->rand, chance(w, 6) ? PATHS : PATHS_HOT),
        .language = (int)fr_rand_below(&w->rand, LANGUAGES),
        .group = (int)fr_rand_below(&w->rand, GROUPS),
        .user = chance(w, 3) ? (int)fr_rand_below(&w->rand, USERS) : 0,
        .max_age_s = maybe_seconds(w, 8),
        .min_fresh_s = maybe_seconds(w, 10),
        .max_stale_s = maybe_seconds(w, 6),
        .if_error_s = maybe_seconds(w, 10),
        .relief_s = chance(w, 20) ? some_seconds(w) : 0,
        .no_cache = chance(w, 20),
        .no_store = chance(w, 40),
        .only_if_cached = chance(w, 40),
        .ranged = chance(w, 6),
    };
    if (is_partial(wish.path)) { /* in pieces that overlap, so that they are put together */
        wish.ranged = !chance(w, 6);
        wish.first = chance(w, 3) ? 0 : 64 * fr_rand_below(&w->rand, 6);
        wish.last = wish.first + 63 + fr_rand_below(&w->rand, 100);
    } else if (wish.ranged) {
        wish.first = fr_rand_below(&w->rand, chance(w, 3) ? 2000 : 300);
        wish.last = wish.first + fr_rand_below(&w->rand, 400);
        if (chance(w, 5))
            wish.first = wish.last + 1; /* a suffix */
    }
    return wish;
}

static int
put_seconds(char *out, size_t bytes, const char *name, int64_t s)
{
    return s == NONE ? 0 : snprintf(out, bytes, "%s=%" PRId64 ", ", name, s);
}

static void
range_put(const struct wish *wish, char *out, size_t bytes)
{
    out[0] = '\0';
    if (wish->ranged && wish->first <= wish->last)
        (void)snprintf(out, bytes, "Range: bytes=%" PRIu64 "-%" PRIu64 "\r\n", wish->first,
                       wish->last);
    else if (wish->ranged)
        (void)snprintf(out, bytes, "Range: bytes=-%" PRIu64 "\r\n", wish->last);
}

struct cache_request
request_make(struct world *w, const struct wish *wish, const char *method, char *text, size_t bytes)
{
    char control[256] = "", user[64] = "", range[80];
    size_t at = 0;
    at += (size_t)put_seconds(control + at, sizeof(control) - at, "max-age", wish->max_age_s);
    at += (size_t)put_seconds(control + at, sizeof(control) - at, "min-fresh", wish->min_fresh_s);
    at += (size_t)put_seconds(control + at, sizeof(control) - at, "max-stale", wish->max_stale_s);
    at +=
        (size_t)put_seconds(control + at, sizeof(control) - at, "stale-if-error", wish->if_error_s);
    (void)snprintf(control + at, sizeof(control) - at, "%s%s%sx",
                   wish->no_cache ? "no-cache, " : "", wish->no_store ? "no-store, " : "",
                   wish->only_if_cached ? "only-if-cached, " : "");
    if (wish->user)
        (void)snprintf(user, sizeof(user), "Authorization: user-%d\r\n", wish->user);
    range_put(wish, range, sizeof(range));
    (void)snprintf(text, bytes,
                   "%s /%d HTTP/1.1\r\nHost: a\r\nCache-Control: %s\r\n%s%sAccept-Language: %d\r\n"
                   "X-Group: %d\r\n\r\n",
                   method, wish->path, control, user, range, wish->language, wish->group);
    help_request(&w->request, text);
    struct cache_request ask = help_ask(&w->request, w->now_us);
    ask.reader = w->reader;
    ask.ahead_us = w->now_us - w->wall_us;
    ask.stale_max_us = wish->relief_s * S;
    return ask;
}

struct said
said_random(struct world *w)
{
    return (struct said){
        .max_age_s = chance(w, 4) ? NONE : some_seconds(w),
        .s_maxage_s = maybe_seconds(w, 6),
        .expires_s = chance(w, 4) ? some_seconds(w) - 20 : NONE,
        .while_revalidate_s = maybe_seconds(w, 6),
        .if_error_s = maybe_seconds(w, 6),
        .age_s = maybe_seconds(w, 6),
        .skew_s = chance(w, 6) ? some_seconds(w) - 60 : 0,
        .no_store = chance(w, 20),
        .no_cache = chance(w, 12),
        .is_private = chance(w, 8),
        .is_public = chance(w, 3),
        .must_revalidate = chance(w, 8),
    };
}

static size_t
control_put(const struct said *said, char *out, size_t bytes)
{
    size_t at = 0;
    at += (size_t)put_seconds(out + at, bytes - at, "max-age", said->max_age_s);
    at += (size_t)put_seconds(out + at, bytes - at, "s-maxage", said->s_maxage_s);
    at += (size_t)put_seconds(out + at, bytes - at, "stale-while-revalidate",
                              said->while_revalidate_s);
    at += (size_t)put_seconds(out + at, bytes - at, "stale-if-error", said->if_error_s);
    at += (size_t)snprintf(out + at, bytes - at, "%s%s%s%s%sx", said->no_store ? "no-store, " : "",
                           said->no_cache ? "no-cache, " : "", said->is_private ? "private, " : "",
                           said->is_public ? "public, " : "",
                           said->must_revalidate ? "must-revalidate, " : "");
    return at;
}

/* The fields that not every response has. */
static void
more_put(const struct record *record, const struct body *body, int status, int64_t date_s,
         char *out, size_t bytes)
{
    const struct said *said = &record->said;
    char expires[HTTP_DATE_BYTES];
    size_t at = 0;
    out[0] = '\0';
    if (said->expires_s != NONE) {
        http_date_format(date_s + said->expires_s, expires);
        at += (size_t)snprintf(out + at, bytes - at, "Expires: %s\r\n", expires);
    }
    if (said->age_s != NONE)
        at += (size_t)snprintf(out + at, bytes - at, "Age: %" PRId64 "\r\n", said->age_s);
    if (varies_by_language(record->path))
        at += (size_t)snprintf(out + at, bytes - at, "Vary: Accept-Language\r\n");
    if (varies_by_group(record->path))
        at += (size_t)snprintf(out + at, bytes - at, "Vary: x-group\r\n");
    if (status == 206)
        at += (size_t)snprintf(out + at, bytes - at,
                               "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
                               record->first, record->first + record->bytes - 1, body->bytes);
    if (status != 304)
        (void)snprintf(out + at, bytes - at,
                       "Content-Length: %" PRIu64 "\r\nETag: \"%" PRIu64 "\"\r\n", record->bytes,
                       body->id);
}

void
response_make(struct world *w, const struct record *record, const struct body *body, int status)
{
    char control[256], more[512], date[HTTP_DATE_BYTES];
    int64_t date_s = record->date_s - record->said.skew_s;
    http_date_format(date_s, date);
    (void)control_put(&record->said, control, sizeof(control));
    more_put(record, body, status, date_s, more, sizeof(more));
    (void)snprintf(w->head, sizeof(w->head),
                   "HTTP/1.1 %d X\r\nX-Id: %" PRIu64 "\r\nDate: %s\r\nCache-Control: "
                   "%s\r\nSurrogate-Key: path-%d\r\n%s\r\n",
                   status, record->id, date, control, record->path, more);
    help_response(&w->response, w->head);
}

/* ---- bodies ---------------------------------------------------------------------------------- */

bool
varies_by_language(int path)
{
    return path % 4 <= 1; /* always or never: see RFC 9111 section 4.1 */
}

bool
varies_by_group(int path)
{
    return path % 4 == 1;
}

static bool
is_personal(int path)
{
    return path % 5 == 4;
}

void
octets_make(uint64_t body_id, uint64_t at, char *out, size_t bytes)
{
    for (size_t done = 0; done < bytes;) {
        uint64_t unit = (at + done) / UNIT, skip = (at + done) % UNIT;
        uint64_t word =
            (body_id * UINT64_C(0x9e3779b97f4a7c15)) ^ ((unit + 1) * UINT64_C(0xd6e8feb86659fd93));
        word ^= word >> 29;
        size_t now = UNIT - skip < bytes - done ? UNIT - (size_t)skip : bytes - done;
        memcpy(out + done, (const char *)&word + skip, now);
        done += now;
    }
}

static uint64_t *
current_of(struct world *w, const struct wish *wish)
{
    int language = varies_by_language(wish->path) ? wish->language : 0;
    int group = varies_by_group(wish->path) ? wish->group : 0;
    int user = is_personal(wish->path) ? wish->user : 0;
    return &w->current[wish->path][language][group][user];
}

const struct body *
body_current(struct world *w, const struct wish *wish)
{
    uint64_t *id = current_of(w, wish);
    if (*id != 0 && !chance(w, 30))
        return &w->bodies[*id % RECORDS];
    *id = w->next_id++;
    uint64_t bytes = 1 + fr_rand_below(&w->rand, chance(w, w->medium.disk ? 4 : 20) ? 50000 : 1200);
    if (is_partial(wish->path)) /* as long as the one before: their tags alone differ */
        bytes = 700;
    struct body *body = &w->bodies[*id % RECORDS];
    *body = (struct body){
        .id = *id,
        .bytes = bytes,
        .path = wish->path,
        .language = varies_by_language(wish->path) ? wish->language : -1,
        .group = varies_by_group(wish->path) ? wish->group : -1,
        .user = is_personal(wish->path) ? wish->user : -1,
    };
    return body;
}

void
body_renew(struct world *w, int path)
{
    memset(w->current[path], 0, sizeof(w->current[path]));
}
