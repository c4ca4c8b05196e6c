/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_disk.c - an exchange waits while what it asked for comes from disk into memory, and then
 * begins again.
 *
 * May touch:  base, loop, cache, disk.
 * Threads:    the disk's tells by a message. What a waiter needs for that outlives its exchange
 *             until the message is in: there is exactly one.
 * Memory:     one struct a waiter, as many as there are exchanges.
 * When full:  no memory, too many reads, or LATE_US without an answer: as if it was not on disk.
 *
 * What comes is not handed over: it is looked up in memory like anything that is there, with every
 * rule that holds for it.
 */
#include "proxy/proxy_priv.h"

#define LATE_US (2 * FR_US_PER_S) /* a member answers sooner than such a disk */

struct proxy_disk_wait {
    struct disk_waiter waiter;
    struct loop_msg msg;
    struct loop_timer late;
    struct proxy_worker *worker;
    struct proxy_exchange *x; /* NULL: it left, or waits no longer */
};

static struct proxy_exchange *
wait_end(struct proxy_disk_wait *wait)
{
    struct proxy_exchange *x = wait->x;
    loop_timer_stop(&wait->late);
    wait->x = NULL;
    if (x)
        x->disk_wait = NULL;
    return x;
}

static void
on_news(void *ctx)
{
    struct proxy_disk_wait *wait = ctx;
    struct proxy_exchange *x = wait_end(wait);
    fr_free(wait);
    if (!x)
        return;
    x->disk_came = true;
    proxy_exchange_again(x);
}

static void
on_late(void *ctx)
{
    struct proxy_disk_wait *wait = ctx;
    cache_disk_count_late(disk_cache(wait->worker->disk));
    proxy_exchange_again(wait_end(wait));
}

/* On a thread of the disk's. */
static void
on_done(void *ctx)
{
    struct proxy_disk_wait *wait = ctx;
    loop_post(wait->worker->loop, &wait->msg, on_news, wait);
}

bool
proxy_disk_wait(struct proxy_exchange *x, const struct cache_disk_place *place)
{
    struct proxy_disk_wait *wait = fr_alloc(sizeof(*wait));
    if (!wait)
        return false;
    wait->waiter = (struct disk_waiter){.done = on_done, .ctx = wait};
    wait->worker = x->worker;
    wait->x = x;
    if (!disk_read(x->worker->disk, place, x->cache_owner, &wait->waiter)) {
        fr_free(wait);
        return false;
    }
    loop_timer_start(x->worker->loop, &wait->late, LATE_US, on_late, wait);
    x->disk_wait = wait;
    x->disk_waited = true;
    return true;
}

void
proxy_disk_leave(struct proxy_exchange *x)
{
    if (x->disk_wait)
        (void)wait_end(x->disk_wait); /* freed when its message comes */
}
