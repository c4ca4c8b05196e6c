/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_run_lock.c - one `freshet run` on a state folder, and never beside what is left of another.
 *
 * Two locks. STATE/run.lock is the parent's alone: while another parent has it, we are one too
 * many. STATE/run.children.lock is inherited by its edge and manager, so that it is free only once
 * the last of the three has ended: when a parent was killed, its children still finish what is
 * under way, on the ports, sockets and files that we would need, and are waited for.
 *
 * Threads:  before there are any. Blocking.
 */
#include "cli/cli.h"

#include "base/fr_file.h"
#include "base/fr_log.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#define WAIT_STEP_US (20 * FR_US_PER_MS)
#define WAIT_AT_MOST_US (CLI_STOP_DEADLINE_US + 5 * FR_US_PER_S)

/* A descriptor that has the lock; -1 with *out_errno, EWOULDBLOCK when another has it. */
static int
lock_take(const char *state, const char *name, int *out_errno)
{
    char *path = fr_xprintf("%s/%s", state, name);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    *out_errno = fd < 0 ? errno : 0;
    fr_free(path);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    *out_errno = errno;
    (void)close(fd); /* nothing was written */
    return -1;
}

static int
lock_await(const char *state, const char *name, int *out_errno)
{
    const struct timespec step = {.tv_nsec = WAIT_STEP_US * 1000};
    bool said = false;
    for (int64_t left_us = WAIT_AT_MOST_US;; left_us -= WAIT_STEP_US) {
        int fd = lock_take(state, name, out_errno);
        if (fd >= 0 || *out_errno != EWOULDBLOCK || left_us <= 0)
            return fd;
        if (!said)
            fr_log(FR_LOG_WARN, "run", "waiting for the processes of an earlier run to end",
                   FR_S("state", state));
        said = true;
        (void)nanosleep(&step, NULL); /* a signal ends us, or shortens one step */
    }
}

bool
cli_run_lock(const char *state, int *out_parent_fd, int *out_children_fd)
{
    int error = 0;
    const char *name = "run.lock";
    if (fr_file_make_folder(state, &error) != FR_OK) {
        fr_log(FR_LOG_ERROR, "run", "not started", FR_S("state", state),
               FR_S("why", strerror(error)));
        return false;
    }
    *out_children_fd = -1;
    *out_parent_fd = lock_take(state, name, &error);
    if (*out_parent_fd >= 0) {
        name = "run.children.lock";
        *out_children_fd = lock_await(state, name, &error);
    }
    if (*out_children_fd >= 0)
        return true;
    if (*out_parent_fd >= 0)
        (void)close(*out_parent_fd); /* gives up the lock */
    fr_log(FR_LOG_ERROR, "run", "not started", FR_S("state", state), FR_S("lock", name),
           FR_S("why", error == EWOULDBLOCK ? "the state folder is in use by another freshet run"
                                            : strerror(error)));
    return false;
}
