/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_thread.h - what a thread does for others that want its core.
 *
 * The control thread may have the core of a worker, and what it does at once (a file that is read
 * again, a snapshot, a sweep of the cache) may be milliseconds of work for which no request should
 * wait. So it gives way in between: after each callback (loop_give_way_between), and in loops over
 * what there may be many of.
 *
 * Cost:  a system call of some 100 ns when nobody else wants the core. Not for the data path.
 */
#ifndef FR_THREAD_H
#define FR_THREAD_H

#include <sched.h>

static inline void
fr_give_way(void)
{
    (void)sched_yield(); /* cannot fail on Linux */
}

#endif
