/* SPDX-License-Identifier: Apache-2.0 */
/*
 * property_cache.c - random origins, clients, clocks, purges, restarts and kills against a small
 * model of RFC 9111 written for this test (property_model.c). Whatever the cache answers with must
 * be something that the model allows.
 *
 * Steps: FRESHET_STEPS (a million, half of them with a disk); seed: FRESHET_SEED, printed.
 */
#include "property_world.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMORY (768 * 1024) /* without a disk: a part of all that there is */

/* ---- requests -------------------------------------------------------------------------------- */

/* A request goes to the origin; its answer comes in later. Takes over what is to be validated or
 * completed. */
static void
forward(struct world *w, const struct wish *wish, struct cache_entry **stale,
        struct cache_entry **part)
{
    struct pending *pending = &w->pending[fr_rand_below(&w->rand, PENDING)];
    if (pending->used)
        return;
    *pending = (struct pending){.used = true, .wish = *wish, .stale = *stale, .part = *part};
    *stale = *part = NULL;
    pending->record = (struct record){
        .id = w->next_id++,
        .asked_step = w->step,
        .path = wish->path,
        .language = wish->language,
        .group = wish->group,
        .user = wish->user,
        .request_us = w->now_us,
    };
    pending->serial = cache_purge_serial(w->store);
}

static void
ask_once(struct world *w)
{
    struct cache_found found;
    struct wish wish = wish_random(w);
    struct cache_request ask = request_make(w, &wish, "GET", w->text, sizeof(w->text));
    ask.takes_part = !chance(w, 4);
    enum cache_answer answer = cache_lookup(w->store, &ask, &found);
    if (found.entry)
        check(w, &wish, found.entry, answer);
    if (answer == CACHE_FRESH) {
        const struct record *record = record_of(w, found.entry);
        w->hits++;
        w->ranges += wish.ranged;
        w->joined += record->bytes > 0 && record->bytes < cache_entry_body_bytes(found.entry);
    }
    w->stale += answer == CACHE_STALE_ALLOWED;
    w->validated += answer == CACHE_VALIDATE;
    if (found.absent && w->medium.disk)
        medium_read(w, &ask);
    assert_false(wish.only_if_cached && (answer == CACHE_MISS || answer == CACHE_VALIDATE));
    if (answer == CACHE_VALIDATE || answer == CACHE_MISS)
        forward(w, &wish, &found.entry, &found.part);
    cache_entry_let_go(w->reader, &found.entry);
    cache_entry_let_go(w->reader, &found.part);
}

/* ---- responses ------------------------------------------------------------------------------- */

static void
pending_end(struct world *w, struct pending *pending)
{
    cache_fill_drop(&pending->filler);
    cache_entry_let_go(w->reader, &pending->stale);
    cache_entry_let_go(w->reader, &pending->part);
    pending->used = false;
}

/* What a 304 does not repeat stays; so that all is known, it repeats or drops everything. */
static void
confirm(struct world *w, struct pending *pending, const struct cache_request *ask)
{
    struct record *record = &pending->record;
    const struct record *old = record_of(w, pending->stale);
    bool other = false;
    if (record->said.expires_s == NONE)
        record->said.expires_s = old->said.expires_s != NONE ? 0 : NONE;
    record->body_id = old->body_id;
    w->records[record->id % RECORDS] = *record;
    response_make(w, record, NULL, 304);
    struct cache_entry *fresh = cache_entry_freshen(pending->stale, ask, &w->response,
                                                    record->request_us, w->now_us, &other);
    assert_false(other);
    w->not_modified++;
    cache_entry_unref(&fresh);
}

/* The part of the body that the request is answered with. */
static int
part_choose(struct world *w, struct pending *pending, const struct body *body)
{
    const struct wish *wish = &pending->wish;
    struct record *record = &pending->record;
    record->first = 0;
    record->bytes = body->bytes;
    if (!wish->ranged || (!is_partial(wish->path) && chance(w, 4)))
        return 200;
    uint64_t first = wish->first, last = wish->last;
    if (first > last) {
        first = last < body->bytes ? body->bytes - last : 0;
        last = last == 0 ? 0 : body->bytes - 1;
    }
    if (first >= body->bytes || (wish->first > wish->last && wish->last == 0))
        return 200;
    record->first = first;
    record->bytes = (last < body->bytes ? last : body->bytes - 1) - first + 1;
    return 206;
}

/* The rest of what is stored in part, or what the origin takes for it. False: it is none, and
 * everything is asked for anew. */
static bool
complete(struct world *w, struct pending *pending, const struct cache_request *ask,
         const struct body *body)
{
    struct record *record = &pending->record;
    uint64_t held = cache_entry_body_bytes(pending->part);
    bool same = record_of(w, pending->part)->body_id == body->id; /* it is there */
    if (held >= body->bytes)
        return false;
    record->first = held;
    record->bytes = body->bytes - held;
    if (record->said.expires_s == NONE)
        record->said.expires_s = 0;
    record->body_id = body->id;
    w->records[record->id % RECORDS] = *record;
    response_make(w, record, body, 206);
    pending->filler = cache_fill_rest(pending->part, ask, &w->response, w->response.framing,
                                      record->request_us, record->response_us);
    assert_true(same || !pending->filler);
    w->completed += pending->filler != NULL;
    return pending->filler != NULL;
}

/* The head of an answer. False: it is over. */
static bool
receive_head(struct world *w, struct pending *pending)
{
    struct record *record = &pending->record;
    struct cache_request ask =
        request_make(w, &pending->wish, "GET", pending->text, sizeof(pending->text));
    ask.serial = pending->serial;
    record->response_us = w->now_us;
    record->steady_us = w->steady_us;
    record->date_s = w->wall_us / S;
    record->said = said_random(w);
    const struct record *old = pending->stale ? record_of(w, pending->stale) : NULL;
    if (old && chance(w, 20)) { /* nobody answers, or with an error */
        bool answered = chance(w, 2);
        memcpy(w->text, pending->text, sizeof(w->text));
        if (cache_entry_serves_error(pending->stale, &ask, answered)) {
            check_error(w, &pending->wish, record->asked_step, pending->stale, answered);
            w->errors_served++;
        }
        return false;
    }
    struct body *body = &w->bodies[body_current(w, &pending->wish)->id % RECORDS];
    if (old && old->body_id == body->id) {
        confirm(w, pending, &ask);
        return false;
    }
    /* An origin that heeds If-Range answers with all of what is new. */
    const struct record *begun = pending->part ? record_of(w, pending->part) : NULL;
    if (begun && (begun->body_id == body->id || chance(w, 4))) {
        if (complete(w, pending, &ask, body))
            return true;
        cache_forget(w->store, &ask);
        return false;
    }
    int status = part_choose(w, pending, body);
    if (status == 206 && record->said.expires_s == NONE)
        record->said.expires_s = 0; /* section 3.4: what a further part does not repeat stays */
    record->body_id = body->id;
    w->records[record->id % RECORDS] = *record;
    response_make(w, record, body, status);
    pending->filler = cache_fill_begin(w->store, &ask, &w->response, w->response.framing,
                                       record->request_us, record->response_us);
    if (pending->filler && status == 200)
        body->whole_step = record->asked_step;
    return pending->filler != NULL;
}

static void
receive(struct world *w, struct pending *pending)
{
    struct record *record = &pending->record;
    char piece[1024];
    if (!pending->filler && !receive_head(w, pending)) {
        pending_end(w, pending);
        return;
    }
    uint64_t now = 1 + fr_rand_below(&w->rand, 25000);
    while (now > 0 && pending->filler && pending->sent < record->bytes) {
        size_t bytes = sizeof(piece) < now ? sizeof(piece) : (size_t)now;
        if (bytes > record->bytes - pending->sent)
            bytes = (size_t)(record->bytes - pending->sent);
        octets_make(record->body_id, record->first + pending->sent, piece, bytes);
        if (cache_fill_add(&pending->filler, fr_view_make(piece, bytes)) != FR_OK)
            break;
        pending->sent += bytes;
        now -= bytes;
    }
    bool cut = chance(w, 40);
    if (pending->filler && pending->sent < record->bytes && !cut)
        return;
    if (pending->filler && (pending->sent == record->bytes || chance(w, 2))) {
        /* One that was cut is not whole, whatever is said. */
        cache_fill_commit(&pending->filler);
        w->stored++;
    }
    pending_end(w, pending);
}

/* ---- what takes back ------------------------------------------------------------------------- */

static void
change(struct world *w)
{
    struct wish wish = wish_random(w);
    struct cache_request ask = request_make(w, &wish, "POST", w->text, sizeof(w->text));
    cache_invalidate(w->store, &ask);
    w->changed_step[wish.path] = w->step;
    if (chance(w, 2))
        body_renew(w, wish.path);
}

static void
note_purge(struct world *w, const struct cache_purge *what, int path, const char *text)
{
    for (int i = 0; i < PATHS; i++) {
        char other[64];
        (void)snprintf(other, sizeof(other), "//a/%d", i);
        bool hit = i == path || what->kind == CACHE_PURGE_ALL ||
                   (what->kind == CACHE_PURGE_PREFIX && strncmp(other, text, strlen(text)) == 0);
        if (hit)
            *(what->soft ? &w->soft_step[i] : &w->purged_step[i]) = w->step;
    }
}

static void
purge(struct world *w)
{
    char text[64];
    uint64_t serial;
    int path = (int)fr_rand_below(&w->rand, PATHS);
    struct cache_purge what = {.soft = chance(w, 2), .kind = CACHE_PURGE_TAG};
    uint32_t kind = fr_rand_below(&w->rand, 4);
    (void)snprintf(text, sizeof(text), "path-%d", path);
    if (kind == 0) {
        what.kind = CACHE_PURGE_URL;
        (void)snprintf(text, sizeof(text), "http://a/%d", path);
    } else if (kind == 1) {
        what.kind = CACHE_PURGE_PREFIX;
        (void)snprintf(text, sizeof(text), "//a/%d", path);
    } else if (kind == 2 && chance(w, 10)) {
        what.kind = CACHE_PURGE_ALL;
    }
    what.text = fr_view_of(text);
    if (cache_purge(w->store, &what, w->now_us, &serial) == FR_OK)
        note_purge(w, &what, path, text);
}

static void
purge_all(struct world *w, bool soft)
{
    const struct cache_purge all = {.kind = CACHE_PURGE_ALL, .soft = soft};
    uint64_t serial;
    assert_int_equal(cache_purge(w->store, &all, w->now_us, &serial), FR_OK);
    note_purge(w, &all, 0, "");
}

/* No response that is stored may be older than what the model remembers. */
static void
trim(struct world *w)
{
    purge_all(w, false);
    memset(w->current, 0, sizeof(w->current));
}

/* What is evicted for want of room: with a disk there is room for all. */
static void
evict(struct world *w)
{
    struct cache__key key;
    struct wish wish = wish_random(w);
    struct cache_request ask = request_make(w, &wish, "GET", w->text, sizeof(w->text));
    assert_true(cache__key_make(cache__store_hash_key(w->store), &ask, &key));
    cache__store_evict_owner(w->store, cache__owner_of(key.hash));
}

/* ---- clocks and restarts --------------------------------------------------------------------- */

static void
pass(struct world *w, int64_t wall_us, int64_t steady_us)
{
    w->wall_us += wall_us;
    w->steady_us += steady_us;
    w->now_us = cache_clock_us(w->store, w->wall_us, w->steady_us);
}

/* Ahead: what is stored only seems older. Back: it is as old as it was. */
static void
set_clock(struct world *w)
{
    int64_t by_us = (int64_t)(1 + fr_rand_below(&w->rand, 600)) * S;
    pass(w, chance(w, 2) ? -by_us : by_us, 0);
    w->clocks_set++;
}

static void
start(struct world *w)
{
    if (w->medium.file)
        medium_start(w);
    w->store =
        help_store_with(w->medium.disk ? PROPERTY_MEMORY : MEMORY, 128 * 1024, w->medium.disk);
    assert_int_equal(cache_reader_new(w->store, NULL, NULL, &w->reader), FR_OK);
    if (w->medium.disk)
        medium_scan(w);
}

static void
stop(struct world *w, bool killed)
{
    for (size_t i = 0; i < PENDING; i++)
        pending_end(w, &w->pending[i]);
    cache__store_check(w->store);
    if (w->medium.disk) {
        if (killed)
            medium_tear(w);
        else
            medium_write(w, 64);
        medium_stop(w, killed);
    }
    cache_reader_free(&w->reader);
    cache_store_free(&w->store);
    cache_disk_free(&w->medium.disk);
}

/* The clock may be set while nobody looks. */
static void
restart(struct world *w)
{
    stop(w, chance(w, 2));
    if (w->medium.file && chance(w, 4))
        medium_damage(w);
    w->wall_us += (int64_t)fr_rand_below(&w->rand, 100) * S - (chance(w, 2) ? 90 * S : 0);
    w->steady_us += S;
    start(w);
    pass(w, 0, 0);
    model_restarts(w);
    w->restarts++;
}

/* ---- steps ----------------------------------------------------------------------------------- */

static void
maintain(struct world *w, uint32_t what)
{
    if (what < 4) {
        change(w);
    } else if (what < 8) {
        purge(w);
    } else if (what < 12) {
        (void)cache_purge_sweep(w->store, 1 + fr_rand_below(&w->rand, 3000), w->now_us);
    } else if (what < 14) {
        cache_store_age(w->store, 1 + fr_rand_below(&w->rand, 100), w->now_us);
    } else if (w->medium.disk && what < 28) {
        medium_write(w, fr_rand_below(&w->rand, 30));
    } else if (w->medium.disk && what < 38) {
        medium_arrive(w);
    } else if (w->medium.disk) {
        evict(w);
    }
}

static void
step(struct world *w)
{
    uint32_t what = fr_rand_below(&w->rand, 1000);
    int64_t passes_us = chance(w, 4) ? fr_rand_below(&w->rand, 3000000) : 0;
    if (chance(w, 2)) /* so that what ends, ends at the very moment of a question now and then */
        passes_us = passes_us / S * S;
    w->step++;
    pass(w, passes_us, passes_us);
    if (what < 580) {
        ask_once(w);
    } else if (what < 950) {
        struct pending *pending = &w->pending[fr_rand_below(&w->rand, PENDING)];
        if (pending->used)
            receive(w, pending);
    } else {
        maintain(w, what - 950);
    }
    if (w->next_id % (RECORDS / 2) < 2 && w->next_id > 2) {
        w->next_id += 2;
        trim(w);
    }
    if (chance(w, 4000))
        set_clock(w);
    if (chance(w, w->medium.disk ? 1500 : 20000))
        restart(w);
}

static uint64_t
number_of(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void
walk(struct world *w)
{
    uint64_t steps = number_of("FRESHET_STEPS", 1000000) / 2;
    uint64_t seed = number_of("FRESHET_SEED", 0);
    if (seed == 0) {
        fr_rand_init_random(&w->rand);
        seed = 1 + fr_rand_below(&w->rand, 1000000000);
    }
    print_message("FRESHET_SEED=%" PRIu64 "\n", seed);
    fr_rand_init(&w->rand, seed);
    w->wall_us = w->now_us = NOW;
    w->next_id = 1;
    start(w);
    for (uint64_t i = 0; i < steps; i++)
        step(w);
    stop(w, false);
    print_message("%" PRIu64 " steps: %" PRIu64 " fresh, %" PRIu64 " of them in part, %" PRIu64
                  " stale, %" PRIu64 " to validate, %" PRIu64 " confirmed, %" PRIu64
                  " for errors, %" PRIu64 " responses, %" PRIu64 " joined, %" PRIu64
                  " completed; clock set %" PRIu64 " times\n",
                  steps, w->hits, w->ranges, w->stale, w->validated, w->not_modified,
                  w->errors_served, w->stored, w->joined, w->completed, w->clocks_set);
    /* Not a test of nothing. */
    assert_true(w->hits > steps / 20);
    assert_true(w->ranges > steps / 400);
    assert_true(w->stale > steps / 1000);
    assert_true(w->not_modified > steps / 1000);
    assert_true(w->errors_served > steps / 5000);
    assert_true(w->joined > steps / 10000);
    assert_true(w->completed > steps / 20000);
    assert_true(w->clocks_set > steps / 10000);
}

static void
in_memory(void **state)
{
    (void)state;
    static struct world world;
    walk(&world);
}

static void
with_a_disk(void **state)
{
    (void)state;
    static struct world world;
    struct world *w = &world;
    medium_new(w);
    walk(w);
    print_message("%" PRIu64 " written, %" PRIu64 " heads, %" PRIu64 " moved, %" PRIu64
                  " from disk, %" PRIu64 " restarts, %" PRIu64 " of them kills; damaged %" PRIu64
                  " times\n",
                  w->written, w->heads, w->moved, w->from_disk, w->restarts, w->kills, w->damaged);
    assert_true(w->written > w->step / 50);
    assert_true(w->heads > w->step / 10000);
    assert_true(w->from_disk > w->step / 1000);
    assert_true(w->kills > w->step / 10000);
    medium_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(in_memory), cmocka_unit_test(with_a_disk)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
