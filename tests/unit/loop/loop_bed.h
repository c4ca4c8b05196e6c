/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_bed.h - what the tests of this room stand on: a loop with a watchdog, and a folder.
 */
#ifndef LOOP_BED_H
#define LOOP_BED_H

#include "loop/loop.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_US 20000000LL

struct bed {
    struct loop *loop;
    struct loop_timer watchdog, pause;
    char folder[64];
};

static inline void
bed_on_watchdog(void *ctx)
{
    (void)ctx;
    fail_msg("the loop waited in vain");
}

static inline void
bed_open(struct bed *bed, const struct loop_limits *limits)
{
    memset(bed, 0, sizeof(*bed));
    assert_int_equal(loop_new(limits, &bed->loop), FR_OK);
    loop_timer_start(bed->loop, &bed->watchdog, WATCHDOG_US, bed_on_watchdog, NULL);
    (void)snprintf(bed->folder, sizeof(bed->folder), "/tmp/test-loop-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
}

static inline void
bed_close(struct bed *bed)
{
    struct loop_counters counters;
    loop_read_counters(bed->loop, &counters);
    assert_int_equal(counters.buf_in_use, 0);
    loop_free(&bed->loop);
    assert_null(bed->loop);
    (void)rmdir(bed->folder);
}

static inline void
make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
}

static inline void
make_tcp_pair(int fds[2])
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(in);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&in, len), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&in, &len), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&in, len), 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fds[1] >= 0);
    close(listener);
    for (int i = 0; i < 2; i++)
        assert_int_equal(fcntl(fds[i], F_SETFL, O_NONBLOCK), 0);
}

static inline void
bed_listen(struct bed *bed, struct loop_listener *listener, const char *text, loop_accept_fn accept,
           void *ctx)
{
    struct loop_addr addr;
    int fd, error;
    assert_int_equal(loop_addr_parse(fr_view_of(text), &addr), FR_OK);
    assert_int_equal(loop_bind(&addr, false, &fd, &error), FR_OK);
    assert_int_equal(loop_listen(listener, bed->loop, fd, accept, ctx), FR_OK);
}

static inline int
knock(const struct loop_addr *addr)
{
    int fd = socket(addr->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, &addr->sa.any, addr->len), 0);
    return fd;
}

static inline void
bed_on_pause(void *ctx)
{
    loop_stop(ctx);
}

/* Lets the loop run for a while, so that everything due has happened. */
static inline void
bed_settle(struct bed *bed, int64_t us)
{
    loop_timer_start(bed->loop, &bed->pause, us, bed_on_pause, bed->loop);
    assert_int_equal(loop_run(bed->loop), FR_OK);
}

#endif
