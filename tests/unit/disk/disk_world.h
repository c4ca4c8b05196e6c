/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_world.h - a cache with a file, which its threads write, or this one.
 */
#ifndef DISK_WORLD_H
#define DISK_WORLD_H

#include "../cache/cache_help.h"
#include "disk/disk_priv.h"

#include "base/fr_mem.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BYTES ((uint64_t)16 * 1024 * 1024)
#define MEMORY ((uint64_t)16 * 1024 * 1024)
#define BODY_BYTES 100000

/* What the disk told, and who waits for it. */
struct world {
    pthread_mutex_t lock;
    pthread_cond_t news;
    unsigned told[DISK_NEWS_OFF + 1];
    size_t done;
    struct disk *disk;
    struct cache_store *store;
    char path[64];
    char body[BODY_BYTES + 1];
};

static inline void
tell(void *ctx, enum disk_news news, const char *words, int64_t number)
{
    struct world *world = ctx;
    (void)words;
    (void)number;
    (void)pthread_mutex_lock(&world->lock);
    world->told[news]++;
    (void)pthread_cond_broadcast(&world->news);
    (void)pthread_mutex_unlock(&world->lock);
}

static inline void
on_done(void *ctx)
{
    struct world *world = ctx;
    (void)pthread_mutex_lock(&world->lock);
    world->done++;
    (void)pthread_cond_broadcast(&world->news);
    (void)pthread_mutex_unlock(&world->lock);
}

static inline unsigned
told(struct world *world, enum disk_news news)
{
    (void)pthread_mutex_lock(&world->lock);
    unsigned n = world->told[news];
    (void)pthread_mutex_unlock(&world->lock);
    return n;
}

static inline void
begin_with(struct world *world, uint64_t index_memory)
{
    int error;
    struct disk_options options = {world->path, BYTES, index_memory, tell, world};
    assert_int_equal(disk_open(&options, &world->disk, &error), FR_OK);
    struct cache_options cache = {MEMORY, 4 << 20, disk_cache(world->disk)};
    assert_int_equal(cache_store_new(&cache, &world->store), FR_OK);
}

static inline void
begin(struct world *world)
{
    begin_with(world, MEMORY);
}

static inline void
start(struct world *world)
{
    unsigned ready = told(world, DISK_NEWS_READY);
    begin(world);
    assert_int_equal(disk_start(world->disk, world->store), FR_OK);
    (void)pthread_mutex_lock(&world->lock);
    while (world->told[DISK_NEWS_READY] == ready)
        (void)pthread_cond_wait(&world->news, &world->lock);
    (void)pthread_mutex_unlock(&world->lock);
}

static inline void
stop(struct world *world)
{
    disk_stop(world->disk);
    cache_store_free(&world->store);
    disk_free(&world->disk);
}

static inline struct cache_disk_counters
counters(const struct world *world)
{
    struct cache_disk_counters out;
    cache_disk_read_counters(disk_cache(world->disk), &out);
    return out;
}

static inline void
request_of(int key, char out[64])
{
    (void)snprintf(out, 64, "GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", key);
}

/* Every body is told from all others. */
static inline void
body_of(struct world *world, int key)
{
    char mark[16];
    memset(world->body, 'a' + key % 26, BODY_BYTES);
    int len = snprintf(mark, sizeof(mark), "%d;", key);
    memcpy(world->body, mark, (size_t)len);
    memcpy(world->body + BODY_BYTES - 16, mark, (size_t)len);
}

static inline void
put(struct world *world, int key)
{
    char request[64];
    request_of(key, request);
    body_of(world, key);
    assert_true(help_put(world->store, request,
                         OK("Cache-Control: max-age=60\r\nContent-Length: 100000\r\n"), world->body,
                         NOW));
}

/* The writer is to follow, so that none is dropped. */
static inline void
put_all(struct world *world, int from, int to)
{
    for (int key = from; key < to; key++) {
        uint64_t before = counters(world).written;
        put(world, key);
        while (counters(world).written == before)
            (void)sched_yield();
    }
}

/* In memory, or brought there from disk. */
static inline bool
get(struct world *world, int key)
{
    char request[64];
    struct http_head head;
    struct cache_disk_place place;
    struct disk_waiter waiter = {.done = on_done, .ctx = world};
    struct cache_entry *entry;
    request_of(key, request);
    if (help_get(world->store, request, NOW, &entry) != CACHE_FRESH) {
        help_request(&head, request);
        struct cache_request ask = help_ask(&head, NOW);
        if (!cache_disk_find(disk_cache(world->disk), &ask, &place))
            return false;
        size_t done = world->done;
        assert_true(disk_read(world->disk, &place, 0, &waiter));
        (void)pthread_mutex_lock(&world->lock);
        while (world->done == done)
            (void)pthread_cond_wait(&world->news, &world->lock);
        (void)pthread_mutex_unlock(&world->lock);
        if (help_get(world->store, request, NOW, &entry) != CACHE_FRESH)
            return false;
    }
    struct fr_view part;
    size_t at = 0;
    body_of(world, key);
    for (size_t i = 0; cache_entry_body(entry, i, &part); at += part.len, i++)
        assert_memory_equal(part.ptr, world->body + at, part.len);
    assert_int_equal(at, BODY_BYTES);
    cache_entry_unref(&entry);
    return true;
}

static inline int
set_up(void **state)
{
    struct world *world = fr_xalloc(sizeof(*world));
    (void)pthread_mutex_init(&world->lock, NULL);
    (void)pthread_cond_init(&world->news, NULL);
    (void)snprintf(world->path, sizeof(world->path), "disk-test-XXXXXX");
    int fd = mkstemp(world->path);
    if (fd < 0)
        return -1;
    (void)close(fd);
    *state = world;
    return 0;
}

static inline int
tear_down(void **state)
{
    struct world *world = *state;
    (void)unlink(world->path);
    (void)pthread_cond_destroy(&world->news);
    (void)pthread_mutex_destroy(&world->lock);
    fr_free(world);
    return 0;
}

/* By this thread: what is queued, and nothing later. Returns how many were written. */
static inline size_t
write_all(struct world *world)
{
    struct cache_disk_job job;
    size_t good = 0;
    while (cache_disk_next(disk_cache(world->disk), &job))
        good += disk__write_job(world->disk, &job);
    disk__write_flush(world->disk);
    return good;
}

/* Without threads of its own. */
static inline void
begin_alone_with(struct world *world, uint64_t index_memory)
{
    begin_with(world, index_memory);
    world->disk->store = world->store;
    disk__start_scan(world->disk);
}

static inline void
begin_alone(struct world *world)
{
    begin_alone_with(world, MEMORY);
}

static inline bool
is_found(struct world *world, int key)
{
    char request[64];
    struct http_head head;
    struct cache_disk_place place;
    request_of(key, request);
    help_request(&head, request);
    struct cache_request ask = help_ask(&head, NOW);
    return cache_disk_find(disk_cache(world->disk), &ask, &place);
}

/* As a POST to its URL does it. */
static inline void
forget(struct world *world, int key)
{
    char request[64];
    struct http_head head;
    request_of(key, request);
    help_request(&head, request);
    struct cache_request ask = help_ask(&head, NOW);
    cache_forget(world->store, &ask);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

#endif
