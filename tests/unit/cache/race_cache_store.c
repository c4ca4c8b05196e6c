/* SPDX-License-Identifier: Apache-2.0 */
/*
 * race_cache_store.c - four threads look up, fill, invalidate and evict at once. Build it with
 * -Db_sanitize=thread to have the races judged; without, contents and the budget still are.
 */
#include "cache_help.h"

#include <pthread.h>
#include <stdio.h>

#define THREADS 4
#define HELD 8
#define ROUNDS 4000
#define KEYS 200
#define MEMORY (512 * 1024)

struct actor {
    pthread_t thread;
    struct cache_store *store;
    struct cache_reader *reader; /* of every other one; the rest take counted references */
    struct cache_entry *held[HELD]; /* for a while */
    uint64_t seed;
    uint64_t hits;
    uint64_t wrong;
};

/* Every body says its key in every octet, so that a torn or mixed-up one shows. */
static bool
body_right(const struct cache_entry *entry, char want)
{
    struct fr_view part;
    uint64_t seen = 0;
    for (size_t i = 0; cache_entry_body(entry, i, &part); i++) {
        for (size_t at = 0; at < part.len; at++)
            if (part.ptr[at] != want)
                return false;
        seen += part.len;
    }
    return seen == cache_entry_body_bytes(entry);
}

static void
fill(struct actor *self, const struct cache_request *ask, int key, size_t bytes)
{
    static __thread struct http_head response;
    char text[128];
    char piece[512];
    bool chunked = key % 2;
    int len = chunked ? snprintf(text, sizeof(text),
                                 "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                                 "Transfer-Encoding: chunked\r\n\r\n")
                      : snprintf(text, sizeof(text),
                                 "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n"
                                 "Content-Length: %zu\r\n\r\n",
                                 bytes);
    struct http_err err;
    size_t scanned = 0;
    if (http_response_parse(fr_view_make(text, (size_t)len), &http_limits_default, &scanned,
                            &response, &err) != HTTP_DONE) {
        self->wrong++;
        return;
    }
    struct cache_filler *filler =
        cache_fill_begin(self->store, ask, &response, response.framing, ask->now_us, ask->now_us);
    memset(piece, 'a' + key % 26, sizeof(piece));
    while (filler && bytes > 0) {
        size_t now = bytes < sizeof(piece) ? bytes : sizeof(piece);
        if (cache_fill_add(&filler, fr_view_make(piece, now)) != FR_OK)
            return;
        bytes -= now;
    }
    if (filler)
        cache_fill_commit(&filler);
}

/* As a slow send does: what was found stays whole until it is let go, evicted or not. */
static void
hold(struct actor *self, struct cache_entry *entry, size_t place)
{
    struct cache_entry **held = &self->held[place];
    struct fr_view part;
    if (*held && cache_entry_body(*held, 0, &part) && part.len > 0)
        self->wrong += !body_right(*held, part.ptr[0]);
    cache_entry_let_go(self->reader, held);
    *held = entry;
}

static void
act(struct actor *self, struct fr_rand *rand, int round)
{
    static __thread struct http_head request;
    char text[128];
    int key = (int)fr_rand_below(rand, KEYS);
    bool change = fr_rand_below(rand, 50) == 0;
    int len = snprintf(text, sizeof(text), "%s /%d HTTP/1.1\r\nHost: a\r\n\r\n",
                       change ? "DELETE" : "GET", key);
    struct http_err err;
    size_t scanned = 0;
    if (http_request_parse(fr_view_make(text, (size_t)len), &http_limits_default, &scanned,
                           &request, &err) != HTTP_DONE) {
        self->wrong++;
        return;
    }
    struct cache_request ask = help_ask(&request, NOW + round);
    struct cache_entry *entry;
    ask.reader = self->reader;
    if (change && round % 100 == 0) {
        uint64_t serial;
        const struct cache_purge all = {CACHE_PURGE_ALL, false, FR_VIEW("")};
        self->wrong += cache_purge(self->store, &all, NOW + round, &serial) != FR_OK;
    } else if (change) {
        cache_invalidate(self->store, &ask);
    } else if (help_lookup(self->store, &ask, &entry) == CACHE_FRESH) {
        self->hits++;
        self->wrong += !body_right(entry, (char)('a' + key % 26));
        hold(self, entry, fr_rand_below(rand, HELD));
    } else {
        fill(self, &ask, key, 1 + fr_rand_below(rand, 20000));
    }
    if (help_counters(self->store).bytes > MEMORY)
        self->wrong++;
}

static void *
run(void *arg)
{
    struct actor *self = arg;
    struct fr_rand rand;
    fr_rand_init(&rand, self->seed);
    if (self->seed % THREADS != 0 &&
        cache_reader_new(self->store, NULL, NULL, &self->reader) != FR_OK)
        self->wrong++;
    for (int round = 0; round < ROUNDS; round++) {
        act(self, &rand, round);
        if (self->reader && round % 16 == 0)
            cache_reader_turn(self->reader);
    }
    for (size_t i = 0; i < HELD; i++)
        cache_entry_let_go(self->reader, &self->held[i]);
    cache_reader_free(&self->reader);
    return NULL;
}

static void
all_at_once(void **state)
{
    (void)state;
    static struct actor actors[THREADS];
    struct cache_store *store = help_store(MEMORY, MEMORY);
    uint64_t empty = help_live(store);
    for (size_t i = 0; i < THREADS; i++) {
        actors[i] = (struct actor){.store = store, .seed = i + 1};
        assert_int_equal(pthread_create(&actors[i].thread, NULL, run, &actors[i]), 0);
    }
    uint64_t hits = 0;
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(actors[i].thread, NULL), 0);
        assert_int_equal(actors[i].wrong, 0);
        hits += actors[i].hits;
    }
    struct cache_counters counters = help_counters(store);
    assert_true(hits > 0);
    assert_true(counters.evicted > 0);
    assert_true(counters.stored > counters.entries);
    cache__store_check(store);
    /* Let everything go: what is counted must come back to the index alone. */
    for (int key = 0; key < KEYS; key++) {
        char text[128];
        struct http_head head;
        (void)snprintf(text, sizeof(text), "DELETE /%d HTTP/1.1\r\nHost: a\r\n\r\n", key);
        help_request(&head, text);
        struct cache_request ask = help_ask(&head, NOW);
        cache_invalidate(store, &ask);
    }
    assert_int_equal(help_live(store), empty);
    assert_int_equal(help_counters(store).entries, 0);
    cache_store_free(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_at_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
