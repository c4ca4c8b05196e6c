/* SPDX-License-Identifier: Apache-2.0 */
/*
 * own_clock.c - a clock of its own for a test of one thread and one loop: it passes where the loop
 * would sleep, and nowhere else, so that no busy machine makes anything late.
 *
 * How:      the linker puts these in the place of what the loop calls (own_clock in meson.build).
 */
#include "base/fr_time.h"

#include <sys/epoll.h>

int64_t __wrap_fr_clock_mono_us(void);
int __real_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms);
int __wrap_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms);

static int64_t now_us = 1000 * FR_US_PER_S;

int64_t
__wrap_fr_clock_mono_us(void)
{
    return now_us;
}

/* A millisecond is for what the kernel still has on its way. */
int
__wrap_epoll_wait(int fd, struct epoll_event *events, int count, int timeout_ms)
{
    int found = __real_epoll_wait(fd, events, count, timeout_ms > 0 ? 1 : timeout_ms);
    if (found == 0 && timeout_ms > 0)
        now_us += timeout_ms * FR_US_PER_MS;
    return found;
}
