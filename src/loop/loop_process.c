/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_process.c - the end of a process, by pidfd: no SIGCHLD, and no race with a reused number
 * once watched.
 */
#include "loop/loop_priv.h"

#include "base/fr_check.h"

#include <errno.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum fr_err
loop_process_watch(struct loop *loop, struct loop_process *process, pid_t pid, loop_exit_fn fn,
                   void *ctx)
{
    int fd = pid > 0 ? pidfd_open(pid, 0) : -1; /* close-on-exec by itself */
    if (fd < 0)
        return pid <= 0 || errno == ESRCH ? FR_ERR_NOT_FOUND : fr_err_from_errno(errno);
    *process = (struct loop_process){loop, pid, fd, fn, ctx};
    if (!loop__ctl(loop, EPOLL_CTL_ADD, fd, EPOLLIN, process, LOOP_KIND_PROCESS)) {
        enum fr_err err = fr_err_from_errno(errno);
        close(fd);
        process->pidfd = -1;
        return err;
    }
    return FR_OK;
}

void
loop_process_unwatch(struct loop_process *process)
{
    if (!process->loop || process->pidfd < 0)
        return;
    loop__forget(process->loop, process->pidfd, process, LOOP_KIND_PROCESS);
    close(process->pidfd);
    process->pidfd = -1;
}

void
loop__process_event(struct loop_process *process)
{
    siginfo_t info = {0};
    int exit_code = -1, exit_signal = -1;
    int result;
    do {
        result = waitid(P_PIDFD, (id_t)process->pidfd, &info, WEXITED | WNOHANG);
    } while (result != 0 && errno == EINTR);
    if (result == 0 && info.si_pid == 0)
        return; /* not ended yet: told again when it has */
    if (result == 0 && info.si_code == CLD_EXITED) {
        exit_code = info.si_status;
        exit_signal = 0;
    } else if (result == 0) {
        exit_signal = info.si_status;
    }
    loop_process_unwatch(process);
    process->fn(process->ctx, process->pid, exit_code, exit_signal);
}
