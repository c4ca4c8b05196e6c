/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk_start.c - a start that cannot read all that is there: what it does not know does not
 * come back when it can be read again, and neither does what that replaced.
 */
#include "disk_world.h"

#include <errno.h>
#include <sys/syscall.h>

static uint64_t unread_from, unread_to; /* in the file: nobody can read there */

ssize_t
pread(int fd, void *data, size_t bytes, off_t at)
{
    uint64_t from = (uint64_t)at;
    if (from < unread_to && from + bytes > unread_from) {
        errno = EIO;
        return -1;
    }
    return syscall(SYS_pread64, fd, data, bytes, at);
}

static void
begin_unread(struct world *world, uint64_t from, uint64_t to)
{
    unread_from = from;
    unread_to = to;
    begin_alone(world);
    unread_from = unread_to = 0;
    assert_int_equal(counters(world).errors, 1);
    assert_int_equal(told(world, DISK_NEWS_ERROR), 1);
}

/* Four segments. Where the one of this sequence begins; *out_first: the first key of each. */
static uint64_t
fill(struct world *world, uint64_t sequence, int out_first[4])
{
    uint64_t at = 0;
    int last = 0;
    begin_alone(world);
    for (uint64_t opened = 0; opened < 4; last++) {
        put(world, last);
        assert_int_equal(write_all(world), 1);
        if (world->disk->sequence == opened)
            continue;
        out_first[opened++] = last;
        if (opened == sequence)
            at = cache_disk_segment_at(&world->disk->layout, world->disk->segment);
    }
    stop(world);
    return at;
}

static void
what_is_older_leaves_with_what_is_unread(void **state)
{
    struct world *world = *state;
    int first[4];
    uint64_t at = fill(world, 2, first);
    begin_unread(world, at + 700000, at + 710000);
    for (int again = 0; again < 2; again++) {
        for (int key = 0; key < first[2]; key++)
            assert_false(is_found(world, key));
        for (int key = first[2]; key <= first[3]; key++)
            assert_true(is_found(world, key));
        assert_int_equal(told(world, DISK_NEWS_READY), again + 2);
        stop(world);
        begin_alone(world);
    }
    stop(world);
}

/* Its body is read at a start, too. */
static void
the_last_one_of_a_segment_is_unread(void **state)
{
    struct world *world = *state;
    int first[4];
    uint64_t at = fill(world, 4, first); /* one record in it */
    begin_unread(world, at + 90000, at + 100000);
    assert_int_equal(counters(world).entries, 0);
    forget(world, first[3]);
    stop(world);
    begin_alone(world);
    assert_false(is_found(world, first[3]));
    stop(world);
}

static void
all_leave_with_an_unread_head(void **state)
{
    struct world *world = *state;
    int first[4];
    uint64_t at = fill(world, 4, first);
    begin_unread(world, at, at + 1);
    assert_int_equal(counters(world).entries, 0);
    stop(world);
    begin_alone(world);
    assert_int_equal(counters(world).entries, 0);
    put(world, 1000);
    assert_int_equal(write_all(world), 1);
    stop(world);
    begin_alone(world);
    assert_int_equal(counters(world).entries, 1);
    assert_true(is_found(world, 1000));
    stop(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_older_leaves_with_what_is_unread),
        TEST(the_last_one_of_a_segment_is_unread),
        TEST(all_leave_with_an_unread_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
