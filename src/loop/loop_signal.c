/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_signal.c - the process's signals as events of one loop, by signalfd.
 */
#include "loop/loop_priv.h"

#include "base/fr_check.h"

#include <errno.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define SIGNALS_AT_ONCE 16

enum fr_err
loop_signal(struct loop *loop, int signal_number, loop_signal_fn fn, void *ctx)
{
    sigset_t wanted = loop->signals;
    fr_require(signal_number > 0 && signal_number < LOOP_SIGNALS);
    sigaddset(&wanted, signal_number);
    int error = pthread_sigmask(SIG_BLOCK, &wanted, NULL);
    if (error)
        return fr_err_from_errno(error);
    int fd = signalfd(loop->signal_fd, &wanted, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return fr_err_from_errno(errno);
    if (loop->signal_fd < 0) {
        if (!loop__ctl(loop, EPOLL_CTL_ADD, fd, EPOLLIN, loop, LOOP_KIND_SIGNAL)) {
            enum fr_err err = fr_err_from_errno(errno);
            close(fd);
            return err;
        }
        loop->signal_fd = fd;
    }
    loop->signals = wanted;
    loop->signal_rows[signal_number] = (struct loop_signal_row){fn, ctx};
    return FR_OK;
}

void
loop__signal_event(struct loop *loop)
{
    struct signalfd_siginfo infos[SIGNALS_AT_ONCE];
    ssize_t got = read(loop->signal_fd, infos, sizeof(infos)); /* more are told again */
    for (size_t i = 0; got > 0 && i < (size_t)got / sizeof(infos[0]); i++) {
        uint32_t number = infos[i].ssi_signo;
        if (number < LOOP_SIGNALS && loop->signal_rows[number].fn)
            loop->signal_rows[number].fn(loop->signal_rows[number].ctx, (int)number);
    }
}
