/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_timer.c - timers: a hierarchical timing wheel with a grain of 1 ms.
 *
 * Shape:      a timer lives on the level of the highest 6-bit digit in which its time differs from
 *             the wheel's; its slot there is that digit. So a slot's digit is always ahead of the
 *             wheel's, nothing wraps, and the lowest occupied level holds what comes next:
 *
 *             level 0   64 slots of      1 ms: this 64 ms
 *             level 1   64 slots of     64 ms: this 4 s, from here timers move down when their
 *             level 2   64 slots of   4096 ms: this 4 min   slot begins
 *             ...
 *
 * Cost:       start and stop are constant; each timer moves down at most once a level.
 * Follows:    Varghese and Lauck, "Hashed and Hierarchical Timing Wheels", scheme 7.
 */
#include "loop/loop_priv.h"

#include "base/fr_check.h"
#include "base/fr_time.h"

#include <limits.h>

/* 35 years: a longer delay is taken as this one. The clock's zero is the machine's start, so the
 * sum stays within the wheel's 139 years. */
#define TIMER_DELAY_US_MAX (((int64_t)1 << 40) * FR_US_PER_MS)

void
loop__timer_init(struct loop *loop)
{
    struct loop_wheel *wheel = &loop->wheel;
    for (int level = 0; level < LOOP_WHEEL_LEVELS; level++)
        for (int slot = 0; slot < LOOP_WHEEL_SLOTS; slot++)
            fr_list_init(&wheel->slot[level][slot]);
    fr_list_init(&wheel->due);
    wheel->tick_ms = (uint64_t)(loop->now_us / FR_US_PER_MS);
}

void
loop__timer_fini(struct loop *loop)
{
    for (int level = 0; level < LOOP_WHEEL_LEVELS; level++)
        for (int slot = 0; slot < LOOP_WHEEL_SLOTS; slot++)
            while (fr_list_pop_front(&loop->wheel.slot[level][slot]))
                continue;
}

/* Rounded up, so that a timer is never early. */
static uint64_t
due_tick(const struct loop_timer *timer)
{
    return (uint64_t)((timer->due_us + FR_US_PER_MS - 1) / FR_US_PER_MS);
}

static void
place(struct loop_wheel *wheel, struct loop_timer *timer)
{
    uint64_t tick = due_tick(timer);
    if (tick <= wheel->tick_ms)
        tick = wheel->tick_ms + 1;
    int level = (63 - __builtin_clzll(tick ^ wheel->tick_ms)) / LOOP_WHEEL_BITS;
    uint64_t slot = (tick >> (level * LOOP_WHEEL_BITS)) % LOOP_WHEEL_SLOTS;
    fr_insist(level < LOOP_WHEEL_LEVELS);
    wheel->occupied[level] |= (uint64_t)1 << slot;
    fr_list_push_back(&wheel->slot[level][slot], &timer->link);
}

bool
loop_timer_running(const struct loop_timer *timer)
{
    return timer->link.next && timer->link.next != &timer->link;
}

void
loop_timer_stop(struct loop_timer *timer)
{
    if (!loop_timer_running(timer))
        return;
    struct loop_wheel *wheel = &timer->loop->wheel;
    struct fr_list *rest = timer->link.next;
    fr_list_remove(&timer->link);
    /* The last one of a slot takes the slot's bit with it, lest the loop wakes up for nothing. What
     * remains is then the slot's head, whose place tells which it is. */
    struct fr_list *first = &wheel->slot[0][0];
    if (!fr_list_empty(rest) || rest < first ||
        rest >= first + LOOP_WHEEL_LEVELS * LOOP_WHEEL_SLOTS)
        return;
    size_t index = (size_t)(rest - first);
    wheel->occupied[index / LOOP_WHEEL_SLOTS] &= ~((uint64_t)1 << (index % LOOP_WHEEL_SLOTS));
}

void
loop_timer_start(struct loop *loop, struct loop_timer *timer, int64_t delay_us, loop_fn fn,
                 void *ctx)
{
    loop_timer_stop(timer);
    if (delay_us < 0)
        delay_us = 0;
    if (delay_us > TIMER_DELAY_US_MAX)
        delay_us = TIMER_DELAY_US_MAX;
    timer->loop = loop;
    timer->fn = fn;
    timer->ctx = ctx;
    timer->due_us = loop->now_us + delay_us;
    place(&loop->wheel, timer);
}

/* The beginning of the next occupied slot; false when there is none. */
static bool
next_slot(const struct loop_wheel *wheel, uint64_t *out_tick, int *out_level, int *out_slot)
{
    for (int level = 0; level < LOOP_WHEEL_LEVELS; level++) {
        if (!wheel->occupied[level])
            continue;
        int slot = __builtin_ctzll(wheel->occupied[level]);
        int shift = level * LOOP_WHEEL_BITS;
        uint64_t block = wheel->tick_ms >> (shift + LOOP_WHEEL_BITS) << (shift + LOOP_WHEEL_BITS);
        *out_tick = block | (uint64_t)slot << shift;
        *out_level = level;
        *out_slot = slot;
        return true;
    }
    return false;
}

void
loop__timer_run(struct loop *loop)
{
    struct loop_wheel *wheel = &loop->wheel;
    uint64_t now_tick = (uint64_t)(loop->now_us / FR_US_PER_MS);
    uint64_t tick;
    int level, slot;
    while (next_slot(wheel, &tick, &level, &slot) && tick <= now_tick) {
        struct fr_list moved, *link;
        fr_list_init(&moved);
        fr_insist(tick > wheel->tick_ms);
        wheel->tick_ms = tick;
        wheel->occupied[level] &= ~((uint64_t)1 << slot);
        loop__list_move(&moved, &wheel->slot[level][slot]);
        while ((link = fr_list_pop_front(&moved))) {
            struct loop_timer *timer = FR_CONTAINER(link, struct loop_timer, link);
            if (level == 0 || due_tick(timer) <= tick)
                fr_list_push_back(&wheel->due, link);
            else
                place(wheel, timer);
        }
    }
    if (now_tick > wheel->tick_ms)
        wheel->tick_ms = now_tick;
    struct fr_list *link;
    while ((link = fr_list_pop_front(&wheel->due))) {
        struct loop_timer *timer = FR_CONTAINER(link, struct loop_timer, link);
        timer->fn(timer->ctx);
        loop__between(loop);
    }
}

int
loop__timer_wait_ms(const struct loop *loop, int64_t now_us)
{
    uint64_t tick;
    int level, slot;
    if (!next_slot(&loop->wheel, &tick, &level, &slot))
        return -1;
    int64_t wait_us = (int64_t)tick * FR_US_PER_MS - now_us;
    if (wait_us <= 0)
        return 0;
    int64_t wait_ms = (wait_us + FR_US_PER_MS - 1) / FR_US_PER_MS;
    return wait_ms < INT_MAX ? (int)wait_ms : INT_MAX;
}
