/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_cache.c - the store by itself: does its memory add up under churn, who should leave first,
 * and what a hit costs when several threads want the same one. Prints one line of JSON a figure.
 *
 * usage: bench-cache [memory [MIB] | policy | hits [THREADS]]
 */
#include "cache/cache_priv.h"

#include "base/fr_file.h"
#include "base/fr_time.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define NOW (INT64_C(784111777) * FR_US_PER_S)
#define MIB ((uint64_t)1 << 20)

static double
seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now); /* tidy: allow clock: a benchmark measures itself */
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static uint64_t
resident_bytes(void)
{
    unsigned long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file || fscanf(file, "%lu %lu", &size, &resident) != 2)
        abort();
    fclose(file);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static struct cache_request
ask_for(struct http_head *head, char *text, size_t bytes, uint64_t number)
{
    struct http_err err;
    size_t scanned = 0;
    int len = snprintf(text, bytes, "GET /object/%llu HTTP/1.1\r\nHost: a\r\n\r\n",
                       (unsigned long long)number);
    if (http_request_parse(fr_view_make(text, (size_t)len), &http_limits_default, &scanned, head,
                           &err) != HTTP_DONE)
        abort();
    return (struct cache_request){
        .head = head, .scheme = FR_VIEW("http"), .host = FR_VIEW("a"), .now_us = NOW};
}

static void
put(struct cache_store *store, uint64_t number, size_t body_bytes)
{
    static struct http_head request, response;
    static char piece[65536];
    char ask_text[128], text[256];
    struct http_err err;
    size_t scanned = 0;
    struct cache_request ask = ask_for(&request, ask_text, sizeof(ask_text), number);
    int len = snprintf(text, sizeof(text),
                       "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\n"
                       "Content-Type: text/plain\r\nETag: \"%llu\"\r\nContent-Length: %zu\r\n\r\n",
                       (unsigned long long)number, body_bytes);
    if (http_response_parse(fr_view_make(text, (size_t)len), &http_limits_default, &scanned,
                            &response, &err) != HTTP_DONE)
        abort();
    struct cache_filler *filler =
        cache_fill_begin(store, &ask, &response, response.framing, NOW, NOW);
    while (filler && body_bytes > 0) {
        size_t bytes = body_bytes < sizeof(piece) ? body_bytes : sizeof(piece);
        if (cache_fill_add(&filler, fr_view_make(piece, bytes)) != FR_OK)
            return;
        body_bytes -= bytes;
    }
    if (filler)
        cache_fill_commit(&filler);
}

static struct cache_store *
store_new(uint64_t bytes)
{
    const struct cache_options options = {bytes, bytes / 4};
    struct cache_store *store = NULL;
    if (cache_store_new(&options, &store) != FR_OK)
        abort();
    return store;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static bool
hit(struct cache_store *store, uint64_t number)
{
    static struct http_head request;
    struct cache_found found;
    char text[128];
    struct cache_request ask = ask_for(&request, text, sizeof(text), number);
    enum cache_answer answer = cache_lookup(store, &ask, &found);
    cache_entry_unref(&found.entry);
    return answer == CACHE_FRESH;
}

static void
memory_line(const char *when, const struct cache_store *store, uint64_t budget)
{
    struct cache_counters c;
    cache_store_counters(store, &c);
    double bound = 1.1 * (double)(budget + 32 * MIB);
    uint64_t resident = resident_bytes();
    printf("{\"bench\": \"cache-memory\", \"when\": \"%s\", \"budget_mib\": %.1f, "
           "\"resident_mib\": %.1f, \"bound_mib\": %.1f, \"within\": %s, \"index_mib\": %.1f, "
           "\"head_mib\": %.1f, \"body_mib\": %.1f, \"slack_mib\": %.1f, \"free_mib\": %.1f, "
           "\"slack_share\": %.3f, \"entries\": %llu, \"evicted\": %llu, \"refused\": %llu}\n",
           when, (double)budget / (double)MIB, (double)resident / (double)MIB, bound / (double)MIB,
           (double)resident <= bound ? "true" : "false", (double)c.index_bytes / (double)MIB,
           (double)c.head_bytes / (double)MIB, (double)c.body_bytes / (double)MIB,
           (double)c.slack_bytes / (double)MIB, (double)c.free_bytes / (double)MIB,
           (double)c.slack_bytes / (double)budget, (unsigned long long)c.entries,
           (unsigned long long)c.evicted, (unsigned long long)c.refused_full);
}

/* Sizes whose logarithm is even between two bounds: as many of 200 B as of 2 MiB. */
static size_t
size_between(struct fr_rand *rand, double low, double high)
{
    return (size_t)(low * pow(high / low, fr_rand_unit(rand)));
}

static void
churn(struct cache_store *store, struct fr_rand *rand, uint64_t volume, double low, double high)
{
    for (uint64_t done = 0; done < volume;) {
        size_t bytes = size_between(rand, low, high);
        put(store, fr_rand_next(rand) >> 40, bytes);
        for (int i = 0; i < 2; i++)
            (void)hit(store, fr_rand_next(rand) >> 40);
        done += bytes + 600;
    }
}

static void
bench_memory(uint64_t budget)
{
    struct fr_rand rand;
    struct cache_store *store = store_new(budget);
    fr_rand_init(&rand, 1);
    churn(store, &rand, 6 * budget, 200, 4.0 * (double)MIB);
    memory_line("all sizes", store, budget);
    churn(store, &rand, 2 * budget, 200, 400);
    memory_line("then only small ones", store, budget);
    churn(store, &rand, 6 * budget, 1.0 * (double)MIB, 4.0 * (double)MIB);
    memory_line("then only large ones", store, budget);
    churn(store, &rand, 6 * budget, 200, 4.0 * (double)MIB);
    memory_line("all sizes again", store, budget);
    printf("{\"bench\": \"cache-metadata\", \"object_bytes\": %zu, \"entry_bytes\": %zu}\n",
           CACHE__OBJECT_BYTES, sizeof(struct cache_entry));
    cache_store_free(&store);
}

/* ---- who leaves ------------------------------------------------------------------------------ */

#define OBJECTS 200000
#define REQUESTS 2000000
#define GHOST_FREE UINT32_MAX

/* Numbers by Zipf's law. */
static double cumulated[OBJECTS];

static void
zipf_make(double skew)
{
    double sum = 0;
    for (size_t i = 0; i < OBJECTS; i++)
        cumulated[i] = sum += 1.0 / pow((double)i + 1.0, skew);
    for (size_t i = 0; i < OBJECTS; i++)
        cumulated[i] /= sum;
}

static uint32_t
zipf_next(struct fr_rand *rand)
{
    double x = fr_rand_unit(rand);
    size_t low = 0, high = OBJECTS - 1;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (cumulated[middle] < x)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint32_t)low;
}

/* A request stream: Zipf, and a share of scans of numbers that never come again. */
struct stream {
    struct fr_rand rand;
    double scan_share;
    uint32_t scan_next;
};

#define NUMBERS (OBJECTS + REQUESTS)
static struct node {
    uint32_t prev, next;
    uint8_t where; /* 0: not there */
    uint8_t count;
} nodes[NUMBERS + 8];

struct queue {
    uint32_t head; /* a node behind NUMBERS; next: newest first */
    uint32_t length;
};

static void
queue_init(struct queue *queue, uint32_t head)
{
    queue->head = NUMBERS + head;
    queue->length = 0;
    nodes[queue->head].next = nodes[queue->head].prev = queue->head;
}

static void
queue_push(struct queue *queue, uint32_t at, uint8_t where)
{
    uint32_t first = nodes[queue->head].next;
    nodes[at].next = first;
    nodes[at].prev = queue->head;
    nodes[first].prev = at;
    nodes[queue->head].next = at;
    nodes[at].where = where;
    queue->length++;
}

static void
queue_remove(struct queue *queue, uint32_t at)
{
    nodes[nodes[at].prev].next = nodes[at].next;
    nodes[nodes[at].next].prev = nodes[at].prev;
    nodes[at].where = 0;
    queue->length--;
}

static uint32_t
queue_oldest(const struct queue *queue)
{
    return nodes[queue->head].prev;
}

static struct queue small, main_queue, ghost;
static uint32_t sieve_hand;

static bool
lru(uint32_t at, uint32_t size)
{
    bool there = nodes[at].where != 0;
    if (there)
        queue_remove(&main_queue, at);
    else if (main_queue.length == size)
        queue_remove(&main_queue, queue_oldest(&main_queue));
    queue_push(&main_queue, at, 1);
    return there;
}

static bool
sieve(uint32_t at, uint32_t size)
{
    if (nodes[at].where) {
        nodes[at].count = 1;
        return true;
    }
    if (main_queue.length == size) {
        uint32_t hand = sieve_hand;
        for (;;) {
            if (hand == main_queue.head)
                hand = queue_oldest(&main_queue);
            if (!nodes[hand].count)
                break;
            nodes[hand].count = 0;
            hand = nodes[hand].prev;
        }
        sieve_hand = nodes[hand].prev;
        queue_remove(&main_queue, hand);
    }
    nodes[at].count = 0;
    queue_push(&main_queue, at, 1);
    return false;
}

static void
s3_evict_main(void)
{
    for (;;) {
        uint32_t at = queue_oldest(&main_queue);
        queue_remove(&main_queue, at);
        if (nodes[at].count == 0)
            return;
        nodes[at].count--;
        queue_push(&main_queue, at, 2);
    }
}

/* A tenth for what is new; what was asked for there again moves on, the rest is remembered only. */
static bool
s3_fifo(uint32_t at, uint32_t size)
{
    if (nodes[at].where == 1 || nodes[at].where == 2) {
        if (nodes[at].count < 3)
            nodes[at].count++;
        return true;
    }
    while (small.length + main_queue.length >= size) {
        if (small.length <= size / 10) {
            s3_evict_main();
            continue;
        }
        uint32_t old = queue_oldest(&small);
        queue_remove(&small, old);
        if (nodes[old].count > 0) {
            nodes[old].count = 0;
            queue_push(&main_queue, old, 2);
            continue;
        }
        if (ghost.length >= size)
            queue_remove(&ghost, queue_oldest(&ghost));
        queue_push(&ghost, old, 3);
    }
    bool known = nodes[at].where == 3;
    if (known)
        queue_remove(&ghost, at);
    nodes[at].count = 0;
    queue_push(known ? &main_queue : &small, at, known ? 2 : 1);
    return false;
}

static double
miss_ratio(bool (*policy)(uint32_t, uint32_t), uint32_t size, double scan_share)
{
    struct stream stream = {.scan_share = scan_share, .scan_next = OBJECTS};
    uint64_t misses = 0;
    memset(nodes, 0, sizeof(nodes));
    queue_init(&small, 0);
    queue_init(&main_queue, 1);
    queue_init(&ghost, 2);
    sieve_hand = main_queue.head;
    fr_rand_init(&stream.rand, 7);
    for (uint32_t i = 0; i < REQUESTS; i++) {
        bool scan = fr_rand_unit(&stream.rand) < stream.scan_share;
        uint32_t at = scan ? stream.scan_next++ : zipf_next(&stream.rand);
        misses += !policy(at, size) && i >= REQUESTS / 2; /* the first half warms up */
    }
    return (double)misses / (REQUESTS / 2.0);
}

static void
bench_policy(void)
{
    static const double skews[] = {0.7, 0.9, 1.1}, scans[] = {0, 0.2};
    static const uint32_t sizes[] = {OBJECTS / 100, OBJECTS / 10};
    for (size_t s = 0; s < 3; s++) {
        zipf_make(skews[s]);
        for (size_t c = 0; c < 2; c++)
            for (size_t n = 0; n < 2; n++)
                printf("{\"bench\": \"cache-policy\", \"zipf\": %.1f, \"scan_share\": %.1f, "
                       "\"size_share\": %.2f, \"miss_lru\": %.4f, \"miss_sieve\": %.4f, "
                       "\"miss_s3_fifo\": %.4f}\n",
                       skews[s], scans[c], (double)sizes[n] / OBJECTS,
                       miss_ratio(lru, sizes[n], scans[c]), miss_ratio(sieve, sizes[n], scans[c]),
                       miss_ratio(s3_fifo, sizes[n], scans[c]));
    }
}

/* ---- hits ------------------------------------------------------------------------------------ */

#define HITS 2000000

struct hitter {
    pthread_t thread;
    struct cache_store *store;
    bool pins;
};

static void *
hit_much(void *arg)
{
    struct hitter *self = arg;
    struct cache_reader *reader = NULL;
    struct http_head request;
    struct cache_found found;
    char text[128];
    struct cache_request ask = ask_for(&request, text, sizeof(text), 1);
    if (self->pins && cache_reader_new(self->store, NULL, NULL, &reader) != FR_OK)
        abort();
    ask.reader = reader;
    for (int i = 0; i < HITS; i++) {
        if (cache_lookup(self->store, &ask, &found) != CACHE_FRESH)
            abort();
        cache_entry_let_go(reader, &found.entry);
    }
    cache_reader_free(&reader);
    return NULL;
}

static void
bench_hits(size_t threads, bool pins)
{
    struct hitter hitters[64];
    struct cache_store *store = store_new(16 * MIB);
    put(store, 1, 1000);
    double start = seconds();
    for (size_t i = 0; i < threads; i++) {
        hitters[i] = (struct hitter){.store = store, .pins = pins};
        if (pthread_create(&hitters[i].thread, NULL, hit_much, &hitters[i]) != 0)
            abort();
    }
    for (size_t i = 0; i < threads; i++)
        pthread_join(hitters[i].thread, NULL);
    double took = seconds() - start;
    printf("{\"bench\": \"cache-hits\", \"threads\": %zu, \"readers\": %s, "
           "\"million_a_second\": %.2f}\n",
           threads, pins ? "true" : "false", (double)threads * HITS / took / 1e6);
    cache_store_free(&store);
}

int
main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    unsigned long number = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    bool all = what[0] == '\0';
    if (all || strcmp(what, "memory") == 0)
        bench_memory((number ? number : 128) * MIB);
    if (all || strcmp(what, "policy") == 0)
        bench_policy();
    if (all || strcmp(what, "hits") == 0)
        for (size_t threads = 1; threads <= (number && number <= 64 ? number : 2); threads *= 2) {
            bench_hits(threads, false);
            bench_hits(threads, true);
        }
    return 0;
}
