/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk_write.c - what is in the file and not in the index does not come back, whatever kept
 * it out: its segment left, the index was full, a write failed half way.
 */
#include "disk_world.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>

static void
put_hello(struct world *world, int key, const char *response)
{
    char request[64];
    request_of(key, request);
    assert_true(help_put(world->store, request, response, "hello", NOW));
}

static void
put_small(struct world *world, int key)
{
    put_hello(world, key, OK("Cache-Control: max-age=60\r\nContent-Length: 5\r\n"));
    assert_int_equal(write_all(world), 1);
}

/* No two of them have the same Vary. It is queued, if there is room for one more. */
static void
put_varying(struct world *world, int key)
{
    char response[128];
    (void)snprintf(response, sizeof(response),
                   OK("Cache-Control: max-age=60\r\nVary: x-%d\r\nContent-Length: 5\r\n"), key);
    put_hello(world, key, response);
}

/* The segment that stands free is as it was written, but what was in it is not found any more. So
 * nobody notes that it is taken back; a restart does not find it either. */
static void
what_left_does_not_come_back(void **state)
{
    struct world *world = *state;
    begin_alone(world);
    int last = 0;
    for (; last == 0 || is_found(world, 0); last++) {
        put(world, last);
        assert_int_equal(write_all(world), 1);
    }
    size_t entries = counters(world).entries;
    uint64_t sequence = world->disk->sequence;
    assert_true(is_found(world, last - 1));
    forget(world, 0);
    stop(world);
    begin_alone(world);
    assert_false(is_found(world, 0));
    assert_true(is_found(world, last - 1));
    assert_int_equal(counters(world).entries, entries);
    assert_int_equal(world->disk->sequence, sequence);
    stop(world);
}

/* More different values of Vary than there is room for: they are not on disk, and nothing else
 * leaves for them. First some that are queued before the table is full, then one behind it. */
static void
too_many_values_of_vary_cost_nothing(void **state)
{
    struct world *world = *state;
    begin_alone(world);
    for (int key = 0; key < 30; key++) { /* into more than one segment */
        put(world, key);
        assert_int_equal(write_all(world), 1);
    }
    assert_true(world->disk->sequence > 1);
    for (int key = 100; key < 401; key++) {
        put_varying(world, key);
        if (key == 399)
            assert_int_equal(write_all(world), 300);
    }
    assert_int_equal(counters(world).entries, 30 + 255); /* by nothing is a value, too */
    assert_int_equal(counters(world).queued, 0);         /* the last one was refused at once */
    assert_int_equal(counters(world).refused, 300 + 1 - 255);
    assert_int_equal(counters(world).dropped, 0);
    stop(world);
}

/* Whole in the file, and refused by the index: who takes it back finds nothing to note. A restart
 * does not find it either, although others have left and there is room. */
static void
what_was_refused_does_not_come_back(void **state)
{
    struct world *world = *state;
    begin_alone(world);
    for (int key = 0; key < 400; key++)
        put_varying(world, key);
    assert_int_equal(write_all(world), 400);
    assert_int_equal(counters(world).entries, 256);
    assert_int_equal(counters(world).refused, 400 - 256);
    for (int key = 256; key < 400; key++)
        forget(world, key);
    for (int key = 0; key < 20; key++)
        forget(world, key);
    stop(world);
    begin_alone(world);
    assert_true(counters(world).entries > 0);
    for (int key = 256; key < 400; key++)
        assert_false(is_found(world, key));
    stop(world);
}

/* An index that is smaller than the last one: the oldest segments leave for the newer ones, and do
 * not come back when it is larger again. */
static void
a_small_index_holds_the_newest(void **state)
{
    struct world *world = *state;
    int last = 0;
    begin_alone(world);
    for (; world->disk->sequence < 3; last++)
        put_small(world, last);
    assert_int_equal(counters(world).entries, last);
    stop(world);
    begin_alone_with(world, (uint64_t)last / 2 * 6 * CACHE_DISK_SPOT_BYTES);
    size_t entries = counters(world).entries;
    assert_true(entries > 0 && entries <= (size_t)last / 2 + 16);
    assert_false(is_found(world, 0));
    assert_true(is_found(world, last - 1));
    forget(world, 0);
    stop(world);
    begin_alone(world);
    assert_false(is_found(world, 0));
    assert_true(is_found(world, last - 1));
    stop(world);
}

/* ... and where one segment is more than it holds, what came first stays, and what is refused is
 * refused for good: when it is written, or at a start. */
static void
an_index_of_less_than_a_segment(void **state)
{
    struct world *world = *state;
    uint64_t small = (uint64_t)200 * 6 * CACHE_DISK_SPOT_BYTES;
    bool found[600];
    for (int early = 0; early < 2; early++) {
        begin_alone_with(world, early ? small : MEMORY);
        for (int key = 0; key < 600; key++)
            put_small(world, key);
        assert_int_equal(world->disk->sequence, 1);
        if (!early) {
            stop(world);
            begin_alone_with(world, small);
            assert_int_equal(counters(world).refused, 600 - counters(world).entries);
        }
        assert_true(counters(world).entries > 0 && counters(world).entries <= 216);
        for (int key = 0; key < 600; key++)
            if (!(found[key] = is_found(world, key)))
                forget(world, key);
        stop(world);
        begin_alone(world);
        for (int key = 0; key < 600; key++)
            assert_false(!found[key] && is_found(world, key));
        stop(world);
        assert_int_equal(truncate(world->path, 0), 0);
    }
}

/* No write reaches beyond this in the file, until `was` is set again. */
static void
limit_writes(uint64_t at, struct rlimit *was)
{
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, was), 0);
    const struct rlimit limit = {at, was->rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A write that fails half way: some records are whole in the file, and none is found. */
static void
half_a_write_does_not_come_back(void **state)
{
    struct world *world = *state;
    struct rlimit was;
    begin_alone(world);
    put(world, 9);
    assert_int_equal(write_all(world), 1);
    for (int key = 0; key < 5; key++)
        put(world, key);
    limit_writes(cache_disk_segment_at(&world->disk->layout, world->disk->segment) +
                     world->disk->flushed + (uint64_t)3 * (BODY_BYTES + 1000),
                 &was);
    (void)write_all(world);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_true(counters(world).errors > 0);
    assert_int_equal(counters(world).entries, 1);
    for (int key = 0; key < 5; key++)
        forget(world, key);
    stop(world);
    begin_alone(world);
    for (int key = 0; key < 5; key++)
        assert_false(is_found(world, key));
    stop(world);
}

static uint32_t
count_free(const struct world *world)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < world->disk->layout.segment_count; i++)
        count += !world->disk->used[i];
    return count;
}

/* The same of what moves: the segment that it moved from leaves. */
static void
half_a_move_does_not_come_back(void **state)
{
    struct world *world = *state;
    struct disk *disk;
    struct rlimit was;
    uint32_t next = 0;
    int last = 0;
    begin_alone(world);
    disk = world->disk;
    while (count_free(world) > 1 ||
           disk->flushed + BODY_BYTES + 1000 <= disk->layout.segment_bytes) {
        put(world, last++);
        assert_int_equal(write_all(world), 1);
    }
    for (int key = 0; key < 10; key++)
        assert_true(get(world, key));
    put(world, last);
    while (disk->used[next])
        next++;
    limit_writes(cache_disk_segment_at(&disk->layout, next) + BODY_BYTES * 3 / 2, &was);
    (void)write_all(world);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    assert_true(disk->used[next] && counters(world).errors > 0);
    for (int key = 0; key < 10; key++) {
        assert_false(is_found(world, key));
        forget(world, key);
    }
    stop(world);
    begin_alone(world);
    for (int key = 0; key < 10; key++)
        assert_false(is_found(world, key));
    stop(world);
}

/* What cannot be read for now is taken back before it can be read again. */
static void
what_was_unreadable_does_not_come_back(void **state)
{
    struct world *world = *state;
    start(world);
    put_all(world, 0, 1);
    stop(world);
    start(world);
    int was = dup(world->disk->fd);
    int blind = open(world->path, O_WRONLY | O_CLOEXEC);
    assert_true(was >= 0 && blind >= 0 && dup2(blind, world->disk->fd) >= 0);
    assert_false(get(world, 0));
    assert_true(dup2(was, world->disk->fd) >= 0);
    (void)close(was);
    (void)close(blind);
    assert_int_equal(told(world, DISK_NEWS_ERROR), 1);
    assert_int_equal(counters(world).entries, 0);
    forget(world, 0);
    stop(world);
    start(world);
    assert_false(is_found(world, 0));
    stop(world);
}

/* A segment is full of one record, and a 304 brings a head that is too long for both. */
static void
what_outgrows_a_segment_is_refused(void **state)
{
    struct world *world = *state;
    struct http_head request, response;
    struct cache_entry *entry;
    struct cache_disk_layout layout;
    char text[4096], x[2001];
    bool other;
    assert_true(cache_disk_layout(BYTES, &layout));
    size_t bytes = layout.segment_bytes - 4096;
    char *large = fr_xalloc(bytes + 1);
    memset(large, 'l', bytes);
    memset(x, 'x', sizeof(x) - 1);
    x[sizeof(x) - 1] = '\0';
    begin_alone(world);
    put(world, 1);
    assert_int_equal(write_all(world), 1);
    (void)snprintf(text, sizeof(text),
                   OK("Cache-Control: max-age=60\r\nETag: \"1\"\r\nX: %s\r\n"
                      "Content-Length: %zu\r\n"),
                   x, bytes);
    assert_true(help_put(world->store, GET(""), text, large, NOW));
    assert_int_equal(write_all(world), 1);
    assert_int_equal(counters(world).entries, 2);
    uint64_t sequence = world->disk->sequence;
    (void)snprintf(text, sizeof(text), "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\nY: %s\r\n\r\n",
                   x);
    help_request(&request, GET(""));
    help_response(&response, text);
    struct cache_request ask = help_ask(&request, NOW);
    assert_int_equal(help_get(world->store, GET(""), NOW, &entry), CACHE_FRESH);
    struct cache_entry *fresh = cache_entry_freshen(entry, &ask, &response, NOW, NOW, &other);
    assert_non_null(fresh);
    cache_entry_unref(&fresh);
    cache_entry_unref(&entry);
    assert_int_equal(write_all(world), 0);
    assert_int_equal(world->disk->sequence, sequence); /* no segment was begun for it */
    assert_int_equal(counters(world).refused, 1);
    assert_int_equal(counters(world).entries, 1); /* its older head is not found either */
    fr_free(large);
    stop(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_left_does_not_come_back),        TEST(too_many_values_of_vary_cost_nothing),
        TEST(what_was_refused_does_not_come_back), TEST(a_small_index_holds_the_newest),
        TEST(an_index_of_less_than_a_segment),     TEST(half_a_write_does_not_come_back),
        TEST(half_a_move_does_not_come_back),      TEST(what_was_unreadable_does_not_come_back),
        TEST(what_outgrows_a_segment_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
