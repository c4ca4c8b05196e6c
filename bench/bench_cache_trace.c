/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_cache_trace.c - what share of a trace's requests the store answers, beside LRU and SIEVE of
 * the same bytes. The store is the real one: its shards, pages, admission and SIEVE.
 *
 * usage: bench-cache-trace [FILE [MIB ...]]
 *   FILE   lines "key,bytes", in order; bytes may be missing (1 KiB). `-`: made up, as without one
 *   MIB    budgets; without them 1, 5 and 20 hundredths of all bytes of the trace
 * Made up: a site of 60,000 objects of 200 B to 1 MiB by Zipf's law (0.9), whose favourites change,
 * and one request in eight for what nobody asks for again.
 * Prints a line of JSON for each budget: misses of requests and of bytes.
 */
#include "cache/cache_priv.h"

#include "base/fr_check.h"
#include "base/fr_file.h"
#include "base/fr_map.h"
#include "base/fr_time.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define NOW (INT64_C(784111777) * FR_US_PER_S)
#define MIB ((uint64_t)1 << 20)
#define SITE 60000
#define REQUESTS 600000
#define DRIFT_EACH 2000 /* requests, after which one favourite is another object */
#define FILE_BYTES_MAX ((size_t)2 << 30)
#define OBJECT_EXTRA 500 /* key, stored head and metadata: what LRU is charged as well */
#define BYTES_UNKNOWN 1024
#define NOBODY UINT32_MAX

struct request {
    uint32_t object;
    uint32_t bytes;
};

struct trace {
    struct request *requests;
    size_t count, cap;
    uint32_t objects;
    uint64_t bytes; /* of all objects, once each */
};

static void
trace_add(struct trace *trace, uint32_t object, uint32_t bytes)
{
    if (trace->count == trace->cap) {
        trace->cap = trace->cap ? 2 * trace->cap : 1024;
        trace->requests = fr_xrealloc(trace->requests, trace->cap * sizeof(*trace->requests));
    }
    trace->requests[trace->count++] = (struct request){object, bytes};
}

/* ---- made up --------------------------------------------------------------------------------- */

static uint32_t
size_random(struct fr_rand *rand)
{
    return (uint32_t)(200 * pow(1048576.0 / 200, fr_rand_unit(rand)));
}

static void
trace_make(struct trace *trace)
{
    struct fr_rand rand;
    static double cumulated[SITE];
    static uint32_t object_of[SITE], size_of[SITE];
    double sum = 0;
    fr_rand_init(&rand, 11);
    for (uint32_t i = 0; i < SITE; i++) {
        cumulated[i] = sum += 1.0 / pow(i + 1.0, 0.9);
        object_of[i] = i;
        size_of[i] = size_random(&rand);
    }
    trace->objects = SITE;
    for (uint32_t n = 0; n < REQUESTS; n++) {
        if (n % DRIFT_EACH == 0) {
            uint32_t rank = fr_rand_below(&rand, 1 + fr_rand_below(&rand, SITE));
            uint32_t with = fr_rand_below(&rand, SITE), object = object_of[rank];
            object_of[rank] = object_of[with];
            object_of[with] = object;
        }
        if (fr_rand_below(&rand, 8) == 0) {
            trace_add(trace, trace->objects++, size_random(&rand));
            continue;
        }
        double x = fr_rand_unit(&rand) * sum;
        uint32_t low = 0, high = SITE - 1;
        while (low < high) {
            uint32_t middle = (low + high) / 2;
            if (cumulated[middle] < x)
                low = middle + 1;
            else
                high = middle;
        }
        trace_add(trace, object_of[low], size_of[object_of[low]]);
    }
}

/* ---- read ------------------------------------------------------------------------------------ */

static void
trace_read(struct trace *trace, const char *path)
{
    struct fr_map *names = fr_map_new();
    struct fr_buf text;
    int why = 0;
    fr_buf_init(&text, FILE_BYTES_MAX);
    if (fr_file_read(path, &text, &why)) {
        fprintf(stderr, "bench-cache-trace: %s: %s\n", path, strerror(why));
        exit(1);
    }
    struct fr_view rest = fr_buf_view(&text), line, key;
    while (fr_view_split(&rest, '\n', &line)) {
        uint64_t bytes;
        if (!fr_view_split(&line, ',', &key) || key.len == 0)
            continue;
        if (!line.ptr || !fr_view_u64(fr_view_trim(line), &bytes) || bytes > UINT32_MAX)
            bytes = BYTES_UNKNOWN;
        uintptr_t object = (uintptr_t)fr_map_get(names, key);
        if (object == 0) {
            object = ++trace->objects;
            (void)fr_map_put(names, key, (void *)object); /* it was absent */
        }
        trace_add(trace, (uint32_t)object - 1, (uint32_t)bytes);
    }
    fr_map_free(&names, NULL);
    fr_buf_fini(&text);
}

/* ---- LRU and SIEVE, without pages, shards and readers
 * ------------------------------------------------------------------------------------- */

struct node {
    uint32_t newer, older, bytes; /* bytes 0: it is not there */
    bool visited;
};

struct queue {
    struct node *nodes; /* one more than objects: the ends */
    uint32_t ends, hand;
    uint64_t used, budget;
};

static void
queue_unlink(struct queue *queue, uint32_t at)
{
    struct node *node = &queue->nodes[at];
    queue->nodes[node->newer].older = node->older;
    queue->nodes[node->older].newer = node->newer;
    queue->used -= node->bytes;
    node->bytes = 0;
}

static void
queue_push(struct queue *queue, uint32_t at, uint32_t bytes)
{
    uint32_t first = queue->nodes[queue->ends].older;
    queue->nodes[at] = (struct node){.newer = queue->ends, .older = first, .bytes = bytes};
    queue->nodes[first].newer = at;
    queue->nodes[queue->ends].older = at;
    queue->used += bytes;
}

static bool
lru_ask(struct queue *queue, const struct request *request)
{
    uint32_t bytes = request->bytes + OBJECT_EXTRA;
    bool hit = queue->nodes[request->object].bytes != 0;
    if (hit)
        queue_unlink(queue, request->object);
    if (bytes > queue->budget / 4) /* as the store: see store_new */
        return hit;
    while (queue->used + bytes > queue->budget)
        queue_unlink(queue, queue->nodes[queue->ends].newer);
    queue_push(queue, request->object, bytes);
    return hit;
}

static void
sieve_evict(struct queue *queue)
{
    uint32_t hand = queue->hand;
    for (;; hand = queue->nodes[hand].newer) {
        if (hand == queue->ends)
            hand = queue->nodes[hand].newer; /* the oldest */
        if (!queue->nodes[hand].visited)
            break;
        queue->nodes[hand].visited = false;
    }
    queue->hand = queue->nodes[hand].newer;
    queue_unlink(queue, hand);
}

static bool
sieve_ask(struct queue *queue, const struct request *request)
{
    uint32_t bytes = request->bytes + OBJECT_EXTRA;
    if (queue->nodes[request->object].bytes != 0) {
        queue->nodes[request->object].visited = true;
        return true;
    }
    if (bytes > queue->budget / 4)
        return false;
    while (queue->used + bytes > queue->budget)
        sieve_evict(queue);
    queue_push(queue, request->object, bytes);
    return false;
}

/* ---- the store ------------------------------------------------------------------------------- */

static bool
store_ask(struct cache_store *store, const struct request *request)
{
    static struct http_head ask_head, head;
    static char body[65536];
    char ask_text[128], text[256];
    struct http_err err;
    struct cache_found found;
    size_t scanned = 0, left = request->bytes;
    int len = snprintf(ask_text, sizeof(ask_text), "GET /object/%u HTTP/1.1\r\nHost: a\r\n\r\n",
                       request->object);
    fr_insist(http_request_parse(fr_view_make(ask_text, (size_t)len), &http_limits_default,
                                 &scanned, &ask_head, &err) == HTTP_DONE);
    struct cache_request ask = {
        .head = &ask_head, .scheme = FR_VIEW("http"), .host = FR_VIEW("a"), .now_us = NOW};
    enum cache_answer answer = cache_lookup(store, &ask, &found);
    cache_entry_unref(&found.entry);
    if (answer == CACHE_FRESH)
        return true;
    len = snprintf(text, sizeof(text),
                   "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Type: text/plain\r\n"
                   "Content-Length: %zu\r\n\r\n",
                   left);
    scanned = 0;
    fr_insist(http_response_parse(fr_view_make(text, (size_t)len), &http_limits_default, &scanned,
                                  &head, &err) == HTTP_DONE);
    struct cache_filler *filler = cache_fill_begin(store, &ask, &head, head.framing, NOW, NOW);
    while (filler && left > 0) {
        size_t bytes = left < sizeof(body) ? left : sizeof(body);
        if (cache_fill_add(&filler, fr_view_make(body, bytes)) != FR_OK)
            return false;
        left -= bytes;
    }
    if (filler)
        cache_fill_commit(&filler);
    return false;
}

/* ---- both ------------------------------------------------------------------------------------ */

static struct queue
queue_new(const struct trace *trace, uint64_t budget)
{
    struct queue queue = {.ends = trace->objects, .hand = trace->objects, .budget = budget};
    queue.nodes = fr_xalloc(((size_t)trace->objects + 1) * sizeof(*queue.nodes));
    queue.nodes[queue.ends] = (struct node){.newer = queue.ends, .older = queue.ends};
    return queue;
}

static void
run(const struct trace *trace, uint64_t budget)
{
    const struct cache_options options = {budget, budget / 4};
    struct cache_store *store = NULL;
    struct queue lru = queue_new(trace, budget), sieve = queue_new(trace, budget);
    uint64_t asked = 0, asked_bytes = 0, misses[3] = {0}, missed_bytes[3] = {0};
    if (cache_store_new(&options, &store) != FR_OK) {
        printf("{\"bench\": \"cache-trace\", \"budget_mib\": %.1f, \"error\": \"too small\"}\n",
               (double)budget / (double)MIB);
        return;
    }
    for (size_t i = 0; i < trace->count; i++) {
        const struct request *request = &trace->requests[i];
        bool hits[] = {lru_ask(&lru, request), sieve_ask(&sieve, request),
                       store_ask(store, request)};
        if (i < trace->count / 4) /* the first quarter warms up */
            continue;
        asked++;
        asked_bytes += request->bytes;
        for (int k = 0; k < 3; k++) {
            misses[k] += !hits[k];
            missed_bytes[k] += hits[k] ? 0 : request->bytes;
        }
    }
    static const char *const names[] = {"lru", "sieve", "store"};
    printf("{\"bench\": \"cache-trace\", \"requests\": %zu, \"objects\": %u, \"budget_mib\": %.1f",
           trace->count, trace->objects, (double)budget / (double)MIB);
    for (int k = 0; k < 3; k++)
        printf(", \"miss_%s\": %.4f, \"miss_bytes_%s\": %.4f", names[k],
               (double)misses[k] / (double)asked, names[k],
               (double)missed_bytes[k] / (double)asked_bytes);
    printf("}\n");
    fr_free(lru.nodes);
    fr_free(sieve.nodes);
    cache_store_free(&store);
}

/* Each object as large as it was first. */
static void
measure(struct trace *trace)
{
    uint32_t *seen = fr_xalloc(((size_t)trace->objects + 1) * sizeof(*seen));
    for (size_t i = 0; i < trace->count; i++) {
        const struct request *request = &trace->requests[i];
        if (seen[request->object])
            continue;
        seen[request->object] = 1;
        trace->bytes += request->bytes + OBJECT_EXTRA;
    }
    fr_free(seen);
}

int
main(int argc, char **argv)
{
    static const uint64_t hundredths[] = {1, 5, 20};
    struct trace trace = {.count = 0};
    if (argc > 1 && strcmp(argv[1], "-") != 0)
        trace_read(&trace, argv[1]);
    else
        trace_make(&trace);
    if (trace.count < 4) {
        fprintf(stderr, "bench-cache-trace: no requests in it\n");
        return 1;
    }
    measure(&trace);
    for (int i = 2; i < argc; i++)
        run(&trace, strtoull(argv[i], NULL, 10) * MIB);
    for (size_t i = 0; argc <= 2 && i < sizeof(hundredths) / sizeof(hundredths[0]); i++)
        run(&trace, trace.bytes / 100 * hundredths[i]);
    fr_free(trace.requests);
    return 0;
}
