/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop_timer.c - timers and deferred tasks: order, never early, restart and stop inside
 * callbacks, many, far away.
 */
#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "loop/loop_priv.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct item {
    struct loop *loop;
    struct loop_timer timer;
    int fired;
    int order;
    int64_t fired_us;
    int64_t wanted_us;
    int *counter;
    struct item *other;
    int64_t again_us;
    int stop_at; /* count */
};

static void
on_item(void *ctx)
{
    struct item *item = ctx;
    assert_false(loop_timer_running(&item->timer));
    item->fired++;
    item->fired_us = loop_now_us(item->loop);
    item->order = (*item->counter)++;
    assert_true(item->fired_us >= item->timer.due_us); /* never early */
    if (item->stop_at == *item->counter)
        loop_stop(item->loop);
}

static void
item_start(struct item *item, struct loop *loop, int64_t delay_us, int *counter, int stop_at)
{
    item->loop = loop;
    item->counter = counter;
    item->stop_at = stop_at;
    loop_timer_start(loop, &item->timer, delay_us, on_item, item);
    assert_true(loop_timer_running(&item->timer));
}

static struct loop *
new_loop(void)
{
    struct loop *loop;
    assert_int_equal(loop_new(NULL, &loop), FR_OK);
    return loop;
}

static void
test_order(void **state)
{
    static const int64_t delays_ms[] = {90, 3, 65, 1, 30, 64, 63, 10};
    enum { COUNT = 8 };
    struct item items[COUNT];
    int counter = 0;
    (void)state;
    struct loop *loop = new_loop();
    memset(items, 0, sizeof(items));
    int64_t start_us = fr_clock_mono_us();
    for (int i = 0; i < COUNT; i++)
        item_start(&items[i], loop, delays_ms[i] * 1000, &counter, COUNT);
    assert_int_equal(loop_run(loop), FR_OK);
    assert_true(fr_clock_mono_us() - start_us >= 89000);
    for (int i = 0; i < COUNT; i++) {
        assert_int_equal(items[i].fired, 1);
        for (int j = 0; j < COUNT; j++)
            if (delays_ms[i] < delays_ms[j])
                assert_true(items[i].order < items[j].order);
    }
    loop_free(&loop);
}

static void
on_again(void *ctx)
{
    struct item *item = ctx;
    item->fired++;
    int64_t now_us = loop_now_us(item->loop);
    assert_true(now_us >= item->timer.due_us);
    assert_true(now_us > item->fired_us); /* once a turn, even with no delay */
    item->fired_us = now_us;
    if (item->fired == 20)
        loop_stop(item->loop);
    else
        loop_timer_start(item->loop, &item->timer, item->fired % 3 * 1000, on_again, item);
}

static void
test_restart_inside_its_callback(void **state)
{
    struct item item = {0};
    (void)state;
    struct loop *loop = item.loop = new_loop();
    loop_timer_start(loop, &item.timer, 0, on_again, &item);
    assert_int_equal(loop_run(loop), FR_OK);
    assert_int_equal(item.fired, 20);
    loop_free(&loop);
}

static void
on_stopper(void *ctx)
{
    struct item *item = ctx;
    item->fired++;
    loop_timer_stop(&item->other->timer);
    loop_timer_stop(&item->timer); /* not running: allowed */
}

static void
test_stop_inside_a_callback(void **state)
{
    struct item one = {0}, two = {0}, last = {0};
    int counter = 0;
    (void)state;
    struct loop *loop = new_loop();
    one.loop = two.loop = loop;
    one.other = &two;
    two.other = &one;
    /* Due in the same millisecond: the first to run stops the other. */
    loop_timer_start(loop, &one.timer, 5000, on_stopper, &one);
    loop_timer_start(loop, &two.timer, 5000, on_stopper, &two);
    item_start(&last, loop, 12000, &counter, 1);
    assert_int_equal(loop_run(loop), FR_OK);
    assert_int_equal(one.fired + two.fired, 1);
    assert_false(loop_timer_running(&one.timer));
    assert_false(loop_timer_running(&two.timer));
    loop_free(&loop);
}

static void
test_restart_moves(void **state)
{
    struct item moved = {0}, last = {0};
    int counter = 0;
    (void)state;
    struct loop *loop = new_loop();
    item_start(&last, loop, 20000, &counter, 2);
    item_start(&moved, loop, 1000, &counter, 2);
    item_start(&moved, loop, 3600 * FR_US_PER_S, &counter, 2);
    item_start(&moved, loop, 8000, &counter, 2);
    assert_int_equal(loop_run(loop), FR_OK);
    assert_int_equal(moved.fired, 1);
    assert_int_equal(moved.order, 0);
    loop_free(&loop);
}

/* The wheel alone, its clock set by hand: years pass. */
static void
run_at(struct loop *loop, int64_t now_us)
{
    loop->now_us = now_us;
    loop__timer_run(loop);
}

static void
test_far_future(void **state)
{
    static const int64_t delays_ms[] = {
        1, 63, 64, 65, 4095, 4096, 4097, 3600000, 36000000, 262143, 262144, 86400000LL * 400,
        86400000LL * 3650};
    enum { COUNT = 13 };
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        struct item item = {0};
        int counter = 0;
        struct loop *loop = new_loop();
        int64_t start_us = loop->now_us = loop->now_us / 1000 * 1000;
        item_start(&item, loop, delays_ms[i] * 1000, &counter, -1);
        run_at(loop, start_us + delays_ms[i] * 500);
        run_at(loop, start_us + delays_ms[i] * 1000 - 1);
        assert_int_equal(item.fired, 0);
        run_at(loop, start_us + delays_ms[i] * 1000);
        assert_int_equal(item.fired, 1);
        assert_int_equal(loop__timer_wait_ms(loop, loop->now_us), -1);
        loop_free(&loop);
    }
}

static void
test_longest_delay(void **state)
{
    struct item item = {0};
    int counter = 0;
    (void)state;
    struct loop *loop = new_loop();
    item_start(&item, loop, INT64_MAX, &counter, -1);
    assert_true(loop__timer_wait_ms(loop, loop->now_us) > 0);
    item_start(&item, loop, INT64_MIN, &counter, -1); /* at once */
    run_at(loop, loop->now_us + 1000);
    assert_int_equal(item.fired, 1);
    loop_free(&loop);
}

static void
test_stopped_timer_wakes_nobody(void **state)
{
    static const int64_t delays_ms[] = {5, 100, 10000, 1000000};
    struct item item = {0};
    int counter = 0;
    (void)state;
    struct loop *loop = new_loop();
    for (size_t i = 0; i < 4; i++) {
        item_start(&item, loop, delays_ms[i] * 1000, &counter, -1);
        int wait_ms = loop__timer_wait_ms(loop, loop->now_us);
        assert_true(wait_ms > 0 && wait_ms <= delays_ms[i] + 1);
        loop_timer_stop(&item.timer);
        assert_int_equal(loop__timer_wait_ms(loop, loop->now_us), -1);
    }
    loop_free(&loop);
}

/* Against a plain model: 3000 timers, random delays, steps, stops and restarts. */
static void
test_many_random(void **state)
{
    enum { COUNT = 3000 };
    struct item *items = fr_xalloc(COUNT * sizeof(*items));
    struct fr_rand rand;
    int counter = 0, running = 0;
    (void)state;
    struct loop *loop = new_loop();
    fr_rand_init(&rand, 7);
    for (int i = 0; i < COUNT; i++) {
        uint32_t shift = fr_rand_below(&rand, 34);
        item_start(&items[i], loop, (int64_t)(fr_rand_next(&rand) % ((uint64_t)1 << shift)),
                   &counter, -1);
    }
    for (int step = 0; step < 2000; step++) {
        int64_t before_us = loop->now_us;
        struct item *some = &items[fr_rand_below(&rand, COUNT)];
        if (step % 3 == 0 && some->fired == 0)
            loop_timer_stop(&some->timer), some->fired = -1;
        if (step % 3 == 1 && some->fired == 0)
            item_start(some, loop, fr_rand_below(&rand, 1u << 30), &counter, -1);
        run_at(loop, before_us + (int64_t)fr_rand_below(&rand, 1u << (step % 25)));
    }
    run_at(loop, loop->now_us + ((int64_t)1 << 35));
    for (int i = 0; i < COUNT; i++) {
        running += loop_timer_running(&items[i].timer);
        assert_true(items[i].fired == 1 || items[i].fired == -1);
    }
    assert_int_equal(running, 0);
    assert_int_equal(loop__timer_wait_ms(loop, loop->now_us), -1);
    loop_free(&loop);
    fr_free(items);
}

/* No later than the turn in which its millisecond is over. */
static void
test_never_late(void **state)
{
    (void)state;
    for (int64_t delay_us = 0; delay_us < 9000; delay_us += 137) {
        struct item item = {0};
        int counter = 0;
        struct loop *loop = new_loop();
        int64_t start_us = loop->now_us;
        item_start(&item, loop, delay_us, &counter, -1);
        while (!item.fired)
            run_at(loop, loop->now_us + 100);
        assert_true(item.fired_us - start_us < delay_us + 1100);
        loop_free(&loop);
    }
}

static void
test_free_forgets_running_timers(void **state)
{
    struct item item = {0};
    struct loop_task task = {0};
    int counter = 0;
    (void)state;
    struct loop *loop = new_loop();
    item_start(&item, loop, 1000000, &counter, -1);
    loop_defer(loop, &task, on_item, &item);
    loop_free(&loop);
    assert_false(loop_timer_running(&item.timer));
    assert_false(task.queued);
    loop_timer_stop(&item.timer); /* touches no freed loop */
    loop_defer_cancel(&task);
}

/* ---- tasks ---------------------------------------------------------------------------------- */

struct task_item {
    struct loop *loop;
    struct loop_task task;
    struct task_item *other;
    int ran;
};

static void
on_task(void *ctx)
{
    struct task_item *item = ctx;
    item->ran++;
    if (item->other)
        loop_defer_cancel(&item->other->task);
    if (item->ran < 3)
        loop_defer(item->loop, &item->task, on_task, item); /* the next turn's */
    else
        loop_stop(item->loop);
}

static void
test_tasks(void **state)
{
    struct task_item one = {0}, two = {0};
    struct loop_counters counters;
    (void)state;
    struct loop *loop = one.loop = two.loop = new_loop();
    one.other = &two;
    loop_defer(loop, &one.task, on_task, &one);
    loop_defer(loop, &one.task, on_task, &one); /* asked twice, runs once */
    loop_defer(loop, &two.task, on_task, &two); /* cancelled by the first */
    assert_int_equal(loop_run(loop), FR_OK);
    loop_read_counters(loop, &counters);
    assert_int_equal(one.ran, 3);
    assert_int_equal(two.ran, 0);
    assert_int_equal(counters.turns, 3);
    loop_free(&loop);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_restart_inside_its_callback),
        cmocka_unit_test(test_stop_inside_a_callback),
        cmocka_unit_test(test_restart_moves),
        cmocka_unit_test(test_far_future),
        cmocka_unit_test(test_longest_delay),
        cmocka_unit_test(test_stopped_timer_wakes_nobody),
        cmocka_unit_test(test_many_random),
        cmocka_unit_test(test_never_late),
        cmocka_unit_test(test_free_forgets_running_timers),
        cmocka_unit_test(test_tasks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
