/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk.c - the cache's file with its threads: restarts, laps, torn and refused writes.
 */
#include "disk_world.h"

#include <fcntl.h>

static void
warm_after_a_restart(void **state)
{
    struct world *world = *state;
    start(world);
    put_all(world, 0, 50);
    stop(world);
    assert_int_equal(told(world, DISK_NEWS_ANEW), 0); /* an empty file is no other one's */
    start(world);
    assert_int_equal(counters(world).entries, 50);
    for (int key = 0; key < 50; key++)
        assert_true(get(world, key));
    assert_false(get(world, 50));
    assert_int_equal(counters(world).hits, 50);
    stop(world);
}

/* Three laps; what is asked for outlives them. */
static void
laps_keep_what_is_asked_for(void **state)
{
    struct world *world = *state;
    start(world);
    for (int key = 0; key < 400; key++) {
        put_all(world, key, key + 1);
        assert_true(get(world, 0));
    }
    assert_true(counters(world).kept > 0);
    assert_true(counters(world).bytes <= BYTES);
    assert_true(counters(world).entries > 60);
    stop(world);
    start(world);
    size_t found = 0;
    for (int key = 0; key < 400; key++)
        found += get(world, key);
    assert_true(found > 60);
    assert_true(get(world, 0) && get(world, 399));
    assert_int_equal(counters(world).bad, 0);
    stop(world);
}

static void
write_at(const struct world *world, uint64_t at, const char *data, size_t bytes)
{
    int fd = open(world->path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, data, bytes, (off_t)at), bytes);
    (void)close(fd);
}

/* The last record is cut off at every so many bytes, as by a kill: it is gone, the others stay. */
static void
a_torn_record_is_gone(void **state)
{
    struct world *world = *state;
    struct cache_disk_layout layout;
    static const char zeroes[BODY_BYTES];
    assert_true(cache_disk_layout(BYTES, &layout));
    start(world);
    put_all(world, 0, 2);
    uint64_t each = counters(world).bytes / 2;
    stop(world);
    uint64_t second = cache_disk_segment_at(&layout, 0) + CACHE_DISK_SEGMENT_HEAD_BYTES + each;
    for (uint64_t cut = each - 8;; cut -= 10007) {
        write_at(world, second + cut, zeroes, each - cut < BODY_BYTES ? each - cut : BODY_BYTES);
        start(world);
        assert_true(get(world, 0));
        assert_false(get(world, 1));
        assert_int_equal(counters(world).bad, 0);
        stop(world);
        if (cut < 10007)
            break;
    }
}

static void
damaged_bytes_are_a_miss(void **state)
{
    struct world *world = *state;
    struct cache_disk_layout layout;
    assert_true(cache_disk_layout(BYTES, &layout));
    start(world);
    put_all(world, 0, 3);
    stop(world);
    write_at(world, cache_disk_segment_at(&layout, 0) + 5000, "?", 1);
    start(world);
    assert_false(get(world, 0));
    assert_true(get(world, 1) && get(world, 2));
    assert_int_equal(counters(world).bad, 1);
    assert_int_equal(told(world, DISK_NEWS_BAD), 1);
    assert_false(get(world, 0));
    assert_int_equal(counters(world).bad, 1); /* it is not found any more */
    stop(world);
}

/* A disk that takes nothing more: what is there is there, nothing waits, and it is said once. */
static void
refused_writes_turn_it_off(void **state)
{
    struct world *world = *state;
    start(world);
    put_all(world, 0, 2);
    int full = open("/dev/full", O_RDWR | O_CLOEXEC);
    int was = dup(world->disk->fd);
    assert_true(full >= 0 && was >= 0 && dup2(full, world->disk->fd) >= 0);
    for (int key = 2; told(world, DISK_NEWS_OFF) == 0; key = key < 60 ? key + 1 : 2) {
        put(world, key);
        (void)sched_yield();
    }
    assert_int_equal(told(world, DISK_NEWS_ERROR), 1);
    assert_true(counters(world).errors >= DISK_ERRORS_MAX);
    assert_true(dup2(was, world->disk->fd) >= 0);
    (void)close(full);
    (void)close(was);
    stop(world);
    start(world);
    assert_true(get(world, 0) && get(world, 1));
    assert_int_equal(counters(world).bad, 0);
    stop(world);
}

/* The file is cut while it is in use. */
static void
refused_reads_are_a_miss(void **state)
{
    struct world *world = *state;
    struct cache_disk_layout layout;
    assert_true(cache_disk_layout(BYTES, &layout));
    start(world);
    put_all(world, 0, 3);
    stop(world);
    start(world);
    assert_int_equal(truncate(world->path, (off_t)layout.mapped_bytes + 50000), 0);
    assert_false(get(world, 0));
    assert_false(get(world, 2));
    assert_int_equal(told(world, DISK_NEWS_ERROR), 1);
    assert_int_equal(counters(world).bad, 0);
    stop(world);
    start(world); /* of another size now */
    assert_int_equal(told(world, DISK_NEWS_ANEW), 1);
    assert_int_equal(counters(world).entries, 0);
    stop(world);
}

/* Who waits when it stops is told. */
static void
a_stop_tells_who_waits(void **state)
{
    struct world *world = *state;
    struct disk_waiter waiters[20];
    struct cache_disk_place place = {.stamp = 1, .bytes = 4096};
    start(world);
    size_t asked = 0;
    for (size_t i = 0; i < 20; i++) {
        waiters[i] = (struct disk_waiter){.done = on_done, .ctx = world};
        place.offset = i / 2 * 8;
        asked += disk_read(world->disk, &place, 0, &waiters[i]);
    }
    disk_stop(world->disk);
    assert_int_equal(world->done, asked);
    assert_int_equal(asked, 20);
    assert_false(disk_read(world->disk, &place, 0, &waiters[0]));
    stop(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(warm_after_a_restart),       TEST(laps_keep_what_is_asked_for),
        TEST(a_torn_record_is_gone),      TEST(damaged_bytes_are_a_miss),
        TEST(refused_writes_turn_it_off), TEST(refused_reads_are_a_miss),
        TEST(a_stop_tells_who_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
