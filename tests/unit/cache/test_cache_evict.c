/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_evict.c - who leaves: with pages, shards and objects of all sizes between them, the
 * store still keeps what is asked for better than LRU of the same bytes would.
 */
#include "cache_help.h"

#include <math.h>
#include <stdio.h>

#define OBJECTS 20000
#define REQUESTS 60000 /* the first half warms up */
#define MEMORY ((uint64_t)16 * 1024 * 1024)
#define EXTRA 400 /* what an object takes besides its body */

static double cumulated[OBJECTS];
static uint32_t bytes_of[OBJECTS];

/* By Zipf's law. */
static uint32_t
draw(struct fr_rand *rand)
{
    double x = fr_rand_unit(rand) * cumulated[OBJECTS - 1];
    uint32_t low = 0, high = OBJECTS - 1;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (cumulated[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool
store_ask(struct cache_store *store, uint32_t object)
{
    static char body[65536];
    struct http_head request, response;
    char ask_text[128], text[256];
    (void)snprintf(ask_text, sizeof(ask_text), "GET /%u HTTP/1.1\r\nHost: a\r\n\r\n", object);
    if (help_answer(store, ask_text, NOW) == CACHE_FRESH)
        return true;
    (void)snprintf(text, sizeof(text), OK("Cache-Control: max-age=60\r\nContent-Length: %u\r\n"),
                   bytes_of[object]);
    help_request(&request, ask_text);
    help_response(&response, text);
    struct cache_request ask = help_ask(&request, NOW);
    struct cache_filler *filler =
        cache_fill_begin(store, &ask, &response, HTTP_BODY_LENGTH, NOW, NOW);
    if (filler && cache_fill_add(&filler, fr_view_make(body, bytes_of[object])) == FR_OK)
        cache_fill_commit(&filler);
    return false;
}

/* Who was asked for longest ago leaves; slow, and small enough for that. */
static bool
lru_ask(uint32_t object, uint32_t now)
{
    static uint32_t asked[OBJECTS]; /* 0: it is not there */
    static uint64_t used;
    bool hit = asked[object] != 0;
    if (!hit)
        used += bytes_of[object] + EXTRA;
    asked[object] = now + 1;
    while (used > MEMORY) {
        uint32_t oldest = object;
        for (uint32_t i = 0; i < OBJECTS; i++)
            if (asked[i] != 0 && asked[i] < asked[oldest])
                oldest = i;
        asked[oldest] = 0;
        used -= bytes_of[oldest] + EXTRA;
    }
    return hit;
}

static void
fewer_misses_than_lru(void **state)
{
    (void)state;
    struct cache_store *store = help_store(MEMORY, 128 * 1024);
    struct fr_rand rand;
    uint32_t misses = 0, lru_misses = 0;
    double sum = 0;
    fr_rand_init(&rand, 5);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        cumulated[i] = sum += 1 / pow(i + 1, 0.9);
        bytes_of[i] = (uint32_t)(200 * pow(300, fr_rand_unit(&rand))); /* to 60 kB */
    }
    for (uint32_t i = 0; i < REQUESTS; i++) {
        uint32_t object = draw(&rand);
        bool hit = store_ask(store, object), lru_hit = lru_ask(object, i);
        misses += i >= REQUESTS / 2 && !hit;
        lru_misses += i >= REQUESTS / 2 && !lru_hit;
    }
    print_message("%u of %u missed; %u by LRU\n", misses, (unsigned)REQUESTS / 2, lru_misses);
    assert_true(misses < lru_misses);
    cache__store_check(store);
    cache_store_free(&store);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(fewer_misses_than_lru)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
