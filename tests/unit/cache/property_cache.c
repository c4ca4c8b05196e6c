/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_cache.c - random origins, clients, clocks, purges and restarts against a small model of
 * RFC 9111 written for this test. Whatever the cache answers with must be something that the model
 * allows: never stale where fresh was demanded, never another user's, never a mixed body, never
 * what was invalidated or purged before.
 *
 * The model judges answers only: that nothing is stored would satisfy it, so that hits are counted.
 * Steps: FRESHET_STEPS (a million); seed: FRESHET_SEED, printed.
 *
 * Every response carries X-Id, and its body repeats "<id:path:language:user>": from an answer alone
 * the model finds what it was made of.
 */
#include "cache_help.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define PATHS 24
#define LANGUAGES 3
#define USERS 3 /* 0: nobody */
#define PENDING 4
#define RECORDS 4096 /* of the newest responses; older ones are not stored any more, see trim */
#define MEMORY (768 * 1024)
#define NONE INT64_C(-1)

struct said { /* by a response */
    int64_t max_age_s, s_maxage_s, expires_s; /* expires: after Date */
    int64_t while_revalidate_s, age_s, skew_s; /* skew: how far Date lies behind */
    bool no_store, no_cache, is_private, is_public, must_revalidate, varies;
};

struct record {
    uint64_t id;
    uint64_t body_id; /* of the response that brought the body */
    uint64_t body_bytes;
    uint64_t asked_step;
    int path, language, user;
    int64_t request_us, response_us;
    struct said said;
    uint64_t joined; /* what it updated was asked for in this step */
};

struct wish { /* of a request */
    int path, language, user;
    int64_t max_age_s, min_fresh_s, max_stale_s;
    bool no_cache, no_store;
};

struct pending {
    bool used;
    struct wish wish;
    struct record record;
    struct cache_filler *filler;
    char text[512];
    uint64_t serial;
    size_t sent;
};

struct world {
    struct cache_store *store;
    struct cache_reader *reader;
    struct fr_rand rand;
    int64_t now_us;
    uint64_t step, next_id;
    struct record records[RECORDS];
    struct pending pending[PENDING];
    uint64_t gone_step[PATHS], soft_step[PATHS]; /* what was asked for before is gone, is stale */
    uint64_t hits, stale, validated, not_modified, errors_served, stored;
    char head[1024], text[512];
    struct http_head request, response;
};

static bool
chance(struct world *w, uint32_t of)
{
    return fr_rand_below(&w->rand, of) == 0;
}

static int64_t
some_seconds(struct world *w)
{
    static const int64_t choices[] = {0, 1, 5, 10, 30, 60, 120, 600};
    return choices[fr_rand_below(&w->rand, 8)];
}

/* ---- texts ----------------------------------------------------------------------------------- */

static struct wish
wish_random(struct world *w)
{
    struct wish wish = {
        .path = (int)fr_rand_below(&w->rand, PATHS),
        .language = (int)fr_rand_below(&w->rand, LANGUAGES),
        .user = chance(w, 3) ? (int)fr_rand_below(&w->rand, USERS) : 0,
        .max_age_s = chance(w, 8) ? some_seconds(w) : NONE,
        .min_fresh_s = chance(w, 10) ? some_seconds(w) : NONE,
        .max_stale_s = chance(w, 6) ? some_seconds(w) : NONE,
        .no_cache = chance(w, 20),
        .no_store = chance(w, 40),
    };
    return wish;
}

static int
put_seconds(char *out, size_t bytes, const char *name, int64_t s)
{
    return s == NONE ? 0 : snprintf(out, bytes, "%s=%" PRId64 ", ", name, s);
}

/* Into w->text and w->request. */
static struct cache_request
request_make(struct world *w, const struct wish *wish, const char *method, char *text, size_t bytes)
{
    char control[256] = "";
    size_t at = 0;
    at += (size_t)put_seconds(control + at, sizeof(control) - at, "max-age", wish->max_age_s);
    at += (size_t)put_seconds(control + at, sizeof(control) - at, "min-fresh", wish->min_fresh_s);
    at += (size_t)put_seconds(control + at, sizeof(control) - at, "max-stale", wish->max_stale_s);
    (void)snprintf(control + at, sizeof(control) - at, "%s%sx", wish->no_cache ? "no-cache, " : "",
                   wish->no_store ? "no-store, " : "");
    char user[64] = "";
    if (wish->user)
        (void)snprintf(user, sizeof(user), "Authorization: user-%d\r\n", wish->user);
    (void)snprintf(text, bytes,
                   "%s /%d HTTP/1.1\r\nHost: a\r\nCache-Control: %s\r\n%sAccept-Language: "
                   "%d\r\n\r\n",
                   method, wish->path, control, user, wish->language);
    help_request(&w->request, text);
    struct cache_request ask = help_ask(&w->request, w->now_us);
    ask.reader = w->reader;
    return ask;
}

static struct said
said_random(struct world *w)
{
    return (struct said){
        .max_age_s = chance(w, 4) ? NONE : some_seconds(w),
        .s_maxage_s = chance(w, 6) ? some_seconds(w) : NONE,
        .expires_s = chance(w, 4) ? some_seconds(w) - 20 : NONE,
        .while_revalidate_s = chance(w, 6) ? some_seconds(w) : NONE,
        .age_s = chance(w, 6) ? some_seconds(w) : NONE,
        .skew_s = chance(w, 6) ? some_seconds(w) : 0,
        .no_store = chance(w, 20),
        .no_cache = chance(w, 12),
        .is_private = chance(w, 8),
        .is_public = chance(w, 3),
        .must_revalidate = chance(w, 8),
    };
}

static void
response_make(struct world *w, const struct record *record, int status)
{
    const struct said *said = &record->said;
    char control[256] = "", more[256] = "", date[HTTP_DATE_BYTES], expires[HTTP_DATE_BYTES];
    size_t at = 0;
    int64_t date_s = record->response_us / FR_US_PER_S - said->skew_s;
    at += (size_t)put_seconds(control + at, sizeof(control) - at, "max-age", said->max_age_s);
    at += (size_t)put_seconds(control + at, sizeof(control) - at, "s-maxage", said->s_maxage_s);
    at += (size_t)put_seconds(control + at, sizeof(control) - at, "stale-while-revalidate",
                              said->while_revalidate_s);
    (void)snprintf(control + at, sizeof(control) - at, "%s%s%s%s%sx",
                   said->no_store ? "no-store, " : "", said->no_cache ? "no-cache, " : "",
                   said->is_private ? "private, " : "", said->is_public ? "public, " : "",
                   said->must_revalidate ? "must-revalidate, " : "");
    http_date_format(date_s, date);
    at = 0;
    if (said->expires_s != NONE) {
        http_date_format(date_s + said->expires_s, expires);
        at += (size_t)snprintf(more + at, sizeof(more) - at, "Expires: %s\r\n", expires);
    }
    if (said->age_s != NONE)
        at += (size_t)snprintf(more + at, sizeof(more) - at, "Age: %" PRId64 "\r\n", said->age_s);
    if (said->varies)
        at += (size_t)snprintf(more + at, sizeof(more) - at, "Vary: Accept-Language\r\n");
    if (status == 200)
        (void)snprintf(more + at, sizeof(more) - at,
                       "Content-Length: %" PRIu64 "\r\nETag: \"%" PRIu64 "\"\r\n",
                       record->body_bytes, record->body_id);
    (void)snprintf(w->head, sizeof(w->head),
                   "HTTP/1.1 %d X\r\nX-Id: %" PRIu64 "\r\nDate: %s\r\nCache-Control: "
                   "%s\r\nSurrogate-Key: path-%d\r\n%s\r\n",
                   status, record->id, date, control, record->path, more);
    help_response(&w->response, w->head);
}

/* One piece of a body; whole pieces only. */
static size_t
piece_make(const struct record *record, char out[64])
{
    (void)memset(out, '.', 64);
    int len = snprintf(out, 64, "<%" PRIu64 ":%d:%d:%d", record->body_id, record->path,
                       record->language, record->user);
    out[len] = '.';
    out[63] = '>';
    return 64;
}

/* ---- the model ------------------------------------------------------------------------------- */

static const struct record *
record_find(const struct world *w, uint64_t id)
{
    const struct record *record = &w->records[id % RECORDS];
    return record->id == id ? record : NULL;
}

static int64_t
model_age_us(const struct record *record, int64_t now_us)
{
    const struct said *said = &record->said;
    int64_t date_s = record->response_us / FR_US_PER_S - said->skew_s;
    int64_t apparent_us = (record->response_us / FR_US_PER_S - date_s) * FR_US_PER_S;
    int64_t delay_us = record->response_us - record->request_us;
    int64_t corrected_us = (said->age_s == NONE ? 0 : said->age_s) * FR_US_PER_S;
    corrected_us += delay_us > 0 ? delay_us : 0;
    int64_t initial_us = apparent_us > corrected_us ? apparent_us : corrected_us;
    int64_t resident_us = now_us - record->response_us;
    return initial_us + (resident_us > 0 ? resident_us : 0);
}

/* Section 4.2.1; NONE: it says nothing, and no Last-Modified is there to guess from. */
static int64_t
model_lifetime_s(const struct said *said)
{
    if (said->s_maxage_s != NONE)
        return said->s_maxage_s;
    if (said->max_age_s != NONE)
        return said->max_age_s;
    if (said->expires_s != NONE)
        return said->expires_s > 0 ? said->expires_s : 0;
    return NONE;
}

static bool
model_shared(const struct record *record)
{
    const struct said *said = &record->said;
    if (said->no_store || said->is_private)
        return false;
    return record->user == 0 || said->is_public || said->must_revalidate ||
           said->s_maxage_s != NONE;
}

/* How an answer may have come about; words for what is wrong, NULL when it is right. */
static const char *
model_judges(const struct world *w, const struct wish *wish, const struct record *record,
             enum cache_answer answer)
{
    const struct said *said = &record->said;
    int64_t lifetime_s = model_lifetime_s(said);
    int64_t age_us = model_age_us(record, w->now_us);
    int64_t left_us = (lifetime_s == NONE ? 0 : lifetime_s) * FR_US_PER_S - age_us;
    if (record->path != wish->path)
        return "of another target";
    if (said->varies && record->language != wish->language)
        return "of another variant";
    if (!model_shared(record))
        return "of somebody alone";
    if (wish->no_store)
        return "where nothing is to be stored or taken";
    if (record->asked_step < w->gone_step[record->path])
        return "what was invalidated or purged";
    if (answer == CACHE_VALIDATE)
        return NULL; /* it does not answer yet */
    if (said->no_cache)
        return "without asking, although it said no-cache";
    if (wish->no_cache)
        return "without asking, although the request said no-cache";
    if (wish->max_age_s != NONE && age_us > wish->max_age_s * FR_US_PER_S)
        return "older than the request allows";
    if (wish->min_fresh_s != NONE && left_us < wish->min_fresh_s * FR_US_PER_S)
        return "not fresh for as long as the request wants";
    bool soft = record->asked_step < w->soft_step[record->path];
    if (answer == CACHE_FRESH)
        return soft           ? "as fresh what was made stale"
               : left_us <= 0 ? "as fresh what is stale"
                              : NULL;
    if (said->must_revalidate || said->s_maxage_s != NONE)
        return "stale, although it must be validated";
    int64_t allowed_s = wish->max_stale_s;
    if (said->while_revalidate_s > allowed_s)
        allowed_s = said->while_revalidate_s;
    if (allowed_s == NONE)
        return "stale, and nobody allowed it";
    /* Softly purged, it may have been stale since the purge only. */
    return !soft && -left_us > allowed_s * FR_US_PER_S ? "staler than allowed" : NULL;
}

/* ---- looking at answers ---------------------------------------------------------------------- */

static uint64_t
id_of(const struct cache_entry *entry)
{
    struct fr_view rest = cache_entry_head(entry), line;
    uint64_t id = 0;
    while (fr_view_split(&rest, '\n', &line))
        if (fr_view_istarts(line, FR_VIEW("x-id: ")))
            (void)fr_view_u64(fr_view_trim(fr_view_make(line.ptr + 6, line.len - 7)), &id);
    return id;
}

static const char *
body_wrong(const struct world *w, const struct cache_entry *entry, const struct record *record)
{
    const struct record *origin = record_find(w, record->body_id);
    char want[64], got[64];
    size_t filled = 0;
    uint64_t seen = 0;
    struct fr_view part;
    if (!origin)
        return "a body that nobody gave";
    (void)piece_make(origin, want);
    for (size_t i = 0; cache_entry_body(entry, i, &part); i++) {
        for (size_t at = 0; at < part.len; at++) {
            got[filled++] = part.ptr[at];
            seen++;
            if (filled < sizeof(got))
                continue;
            if (memcmp(got, want, sizeof(got)) != 0)
                return "a mixed body";
            filled = 0;
        }
    }
    return seen != origin->body_bytes || filled > 0 ? "a body that is not whole" : NULL;
}

static void
check(const struct world *w, const struct wish *wish, const struct cache_entry *entry,
      enum cache_answer answer)
{
    uint64_t id = id_of(entry);
    const struct record *record = record_find(w, id);
    const char *wrong = record ? model_judges(w, wish, record, answer) : "what nobody gave";
    if (!wrong)
        wrong = body_wrong(w, entry, record);
    if (wrong)
        fail_msg("step %" PRIu64 ": answers %d with %s (response %" PRIu64 ")\nrequest: %s",
                 w->step, (int)answer, wrong, id, w->text);
}

/* ---- what happens ---------------------------------------------------------------------------- */

static struct record *
record_new(struct world *w, const struct wish *wish)
{
    uint64_t id = w->next_id++;
    struct record *record = &w->records[id % RECORDS];
    *record = (struct record){
        .id = id,
        .body_id = id,
        .body_bytes = 64 * (uint64_t)(1 + fr_rand_below(&w->rand, chance(w, 10) ? 800 : 20)),
        .asked_step = w->step,
        .path = wish->path,
        .language = wish->language,
        .user = wish->user,
        .request_us = w->now_us,
        .said = said_random(w),
    };
    record->said.varies = wish->path % 3 == 0; /* always or never: see RFC 9111 section 4.1 */
    return record;
}

/* A request goes to the origin; its answer comes in later. */
static void
forward(struct world *w, const struct wish *wish)
{
    struct pending *pending = &w->pending[fr_rand_below(&w->rand, PENDING)];
    if (pending->used)
        return;
    *pending = (struct pending){.used = true, .wish = *wish};
    pending->record = *record_new(w, wish);
    pending->serial = cache_purge_serial(w->store);
}

static void
receive(struct world *w, struct pending *pending)
{
    struct record *record = &pending->record;
    char piece[64];
    if (!pending->filler && pending->sent == 0) {
        record->response_us = w->now_us;
        w->records[record->id % RECORDS] = *record;
        struct cache_request ask =
            request_make(w, &pending->wish, "GET", pending->text, sizeof(pending->text));
        ask.serial = pending->serial;
        response_make(w, record, 200);
        pending->filler = cache_fill_begin(w->store, &ask, &w->response, w->response.framing,
                                           record->request_us, record->response_us);
        if (!pending->filler) {
            pending->used = false;
            return;
        }
    }
    size_t bytes = piece_make(record, piece);
    bool cut = chance(w, 40);
    uint64_t now = 1 + fr_rand_below(&w->rand, 400);
    for (; now > 0 && pending->filler && pending->sent < record->body_bytes; now--) {
        if (cache_fill_add(&pending->filler, fr_view_make(piece, bytes)) != FR_OK)
            break;
        pending->sent += bytes;
    }
    if (pending->filler && pending->sent < record->body_bytes && !cut)
        return;
    if (pending->filler && cut)
        cache_fill_drop(&pending->filler);
    else if (pending->filler)
        cache_fill_commit(&pending->filler);
    w->stored++;
    pending->used = false;
}

/* The origin confirms what is stored, with new fields. */
static void
confirm(struct world *w, const struct wish *wish, struct cache_entry *entry,
        const struct cache_request *ask)
{
    bool other = false;
    const struct record *old = record_find(w, id_of(entry));
    struct record *record = record_new(w, wish);
    record->body_id = old->body_id;
    record->body_bytes = old->body_bytes;
    record->language = wish->language;
    record->response_us = w->now_us;
    /* What a 304 does not repeat stays; so that all is known, it repeats or drops everything. */
    if (record->said.expires_s == NONE)
        record->said.expires_s = old->said.expires_s != NONE ? 0 : NONE;
    if (record->said.age_s == NONE && old->said.age_s != NONE)
        record->said.age_s = 0;
    if (record->user == 0 && !model_shared(old))
        record->said.is_private = true;
    response_make(w, record, 304);
    struct cache_entry *fresh = cache_entry_freshen(entry, ask, &w->response, record->request_us,
                                                    record->response_us, &other);
    assert_false(other);
    w->not_modified++;
    cache_entry_unref(&fresh);
}

static void
ask_once(struct world *w)
{
    struct cache_found found;
    struct wish wish = wish_random(w);
    struct cache_request ask = request_make(w, &wish, "GET", w->text, sizeof(w->text));
    enum cache_answer answer = cache_lookup(w->store, &ask, &found);
    if (found.entry)
        check(w, &wish, found.entry, answer);
    w->hits += answer == CACHE_FRESH;
    w->stale += answer == CACHE_STALE_ALLOWED;
    w->validated += answer == CACHE_VALIDATE;
    if (answer == CACHE_VALIDATE && chance(w, 2))
        confirm(w, &wish, found.entry, &ask);
    else if (answer == CACHE_VALIDATE || answer == CACHE_MISS)
        forward(w, &wish);
    cache_entry_let_go(w->reader, &found.entry);
}

static void
change(struct world *w)
{
    struct wish wish = wish_random(w);
    struct cache_request ask = request_make(w, &wish, "POST", w->text, sizeof(w->text));
    cache_invalidate(w->store, &ask);
    w->gone_step[wish.path] = w->step;
}

static void
purge(struct world *w)
{
    char text[64];
    uint64_t serial;
    int path = (int)fr_rand_below(&w->rand, PATHS);
    struct cache_purge what = {.soft = chance(w, 2), .kind = CACHE_PURGE_TAG};
    switch (fr_rand_below(&w->rand, 4)) {
    case 0:
        what.kind = CACHE_PURGE_URL;
        (void)snprintf(text, sizeof(text), "http://a/%d", path);
        break;
    case 1:
        (void)snprintf(text, sizeof(text), "path-%d", path);
        break;
    case 2:
        what.kind = CACHE_PURGE_PREFIX;
        (void)snprintf(text, sizeof(text), "//a/%d", path);
        break;
    default:
        what.kind = chance(w, 10) ? CACHE_PURGE_ALL : CACHE_PURGE_TAG;
        (void)snprintf(text, sizeof(text), "path-%d", path);
        break;
    }
    what.text = fr_view_of(text);
    if (cache_purge(w->store, &what, w->now_us, &serial) != FR_OK)
        return;
    for (int i = 0; i < PATHS; i++) {
        char other[64];
        (void)snprintf(other, sizeof(other), "//a/%d", i);
        bool hit = i == path || what.kind == CACHE_PURGE_ALL ||
                   (what.kind == CACHE_PURGE_PREFIX && strncmp(other, text, strlen(text)) == 0);
        if (hit)
            *(what.soft ? &w->soft_step[i] : &w->gone_step[i]) = w->step;
    }
}

/* No response that is stored may be older than what the model remembers. */
static void
trim(struct world *w)
{
    const struct cache_purge all = {.kind = CACHE_PURGE_ALL};
    uint64_t serial;
    assert_int_equal(cache_purge(w->store, &all, w->now_us, &serial), FR_OK);
    for (int i = 0; i < PATHS; i++)
        w->gone_step[i] = w->step;
}

static void
stop(struct world *w)
{
    for (size_t i = 0; i < PENDING; i++) {
        cache_fill_drop(&w->pending[i].filler);
        w->pending[i].used = false;
    }
    cache__store_check(w->store);
    cache_reader_free(&w->reader);
    cache_store_free(&w->store);
}

static void
start(struct world *w)
{
    w->store = help_store(MEMORY, 128 * 1024);
    assert_int_equal(cache_reader_new(w->store, NULL, NULL, &w->reader), FR_OK);
}

static void
step(struct world *w)
{
    uint32_t what = fr_rand_below(&w->rand, 1000);
    w->step++;
    w->now_us += chance(w, 4) ? fr_rand_below(&w->rand, 3000000) : 0;
    if (what < 600) {
        ask_once(w);
    } else if (what < 980) {
        struct pending *pending = &w->pending[fr_rand_below(&w->rand, PENDING)];
        if (pending->used)
            receive(w, pending);
    } else if (what < 988) {
        change(w);
    } else if (what < 994) {
        purge(w);
    } else if (what < 998) {
        (void)cache_purge_sweep(w->store, 1 + fr_rand_below(&w->rand, 3000), w->now_us);
    } else {
        cache_store_age(w->store, 1 + fr_rand_below(&w->rand, 100), w->now_us);
    }
    if (w->next_id % (RECORDS / 2) == 0) {
        w->next_id++;
        trim(w);
    }
    if (chance(w, 20000)) { /* a restart, and another clock */
        stop(w);
        start(w);
        w->now_us += (int64_t)fr_rand_below(&w->rand, 600) * FR_US_PER_S - 300 * FR_US_PER_S;
    }
}

static uint64_t
number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void
a_million_steps(void **state)
{
    (void)state;
    static struct world world;
    struct world *w = &world;
    uint64_t steps = number_of("FRESHET_STEPS", 1000000);
    uint64_t seed = number_of("FRESHET_SEED", 0);
    if (seed == 0) {
        fr_rand_init_random(&w->rand);
        seed = 1 + fr_rand_below(&w->rand, 1000000000);
    }
    print_message("FRESHET_SEED=%" PRIu64 "\n", seed);
    fr_rand_init(&w->rand, seed);
    w->now_us = NOW;
    w->next_id = 1;
    start(w);
    for (uint64_t i = 0; i < steps; i++)
        step(w);
    stop(w);
    print_message("%" PRIu64 " fresh, %" PRIu64 " stale, %" PRIu64 " to validate, %" PRIu64
                  " confirmed, %" PRIu64 " responses\n",
                  w->hits, w->stale, w->validated, w->not_modified, w->stored);
    assert_true(w->hits > steps / 20);
    assert_true(w->stale > steps / 1000);
    assert_true(w->not_modified > steps / 1000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_million_steps)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
