/* SPDX-License-Identifier: Apache-2.0 */
/*
 * way_loop.c - a loop that gives way does so after each of its callbacks, of whatever kind, before
 * the next one; others never do. sched_yield is this program's own and counts.
 */
#include "loop_bed.h"

#include <sched.h>

#define KINDS 3 /* two tasks and a timer, or a message more */

static int yields;

int
sched_yield(void)
{
    yields++;
    return 0;
}

struct seen {
    struct loop *loop;
    int count;
    int yields_at[KINDS + 1]; /* before each callback */
};

static void
on_any(void *ctx)
{
    struct seen *seen = ctx;
    seen->yields_at[seen->count++] = yields;
    if (seen->count == KINDS + 1)
        loop_stop(seen->loop);
}

static void
run(struct seen *seen, bool gives_way)
{
    struct loop_task one = {0}, other = {0};
    struct loop_msg message;
    struct loop_timer timer = {0};
    *seen = (struct seen){0};
    yields = 0;
    assert_int_equal(loop_new(NULL, &seen->loop), FR_OK);
    if (gives_way)
        loop_give_way_between(seen->loop);
    loop_post(seen->loop, &message, on_any, seen);
    loop_defer(seen->loop, &one, on_any, seen);
    loop_defer(seen->loop, &other, on_any, seen);
    loop_timer_start(seen->loop, &timer, 0, on_any, seen);
    assert_int_equal(loop_run(seen->loop), FR_OK);
    assert_int_equal(seen->count, KINDS + 1);
    loop_free(&seen->loop);
}

static void
test_between_callbacks(void **state)
{
    struct seen seen;
    (void)state;
    run(&seen, true);
    for (int i = 1; i <= KINDS; i++)
        assert_true(seen.yields_at[i] > seen.yields_at[i - 1]);
    assert_true(yields > seen.yields_at[KINDS]); /* after the last one, too */
}

static void
test_a_worker_does_not(void **state)
{
    struct seen seen;
    (void)state;
    run(&seen, false);
    assert_int_equal(yields, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_between_callbacks),
        cmocka_unit_test(test_a_worker_does_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
