/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop_events.c - listeners, signals, processes and watched files.
 */
#include "loop/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_US 20000000LL

struct bed {
    struct loop *loop;
    struct loop_timer watchdog, pause;
    char folder[64];
};

static void
on_watchdog(void *ctx)
{
    (void)ctx;
    fail_msg("the loop waited in vain");
}

static void
bed_open(struct bed *bed)
{
    memset(bed, 0, sizeof(*bed));
    assert_int_equal(loop_new(NULL, &bed->loop), FR_OK);
    loop_timer_start(bed->loop, &bed->watchdog, WATCHDOG_US, on_watchdog, NULL);
    (void)snprintf(bed->folder, sizeof(bed->folder), "/tmp/test-loop-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
}

static void
bed_close(struct bed *bed)
{
    loop_free(&bed->loop);
    (void)rmdir(bed->folder);
}

static void
on_pause(void *ctx)
{
    loop_stop(ctx);
}

static void
bed_settle(struct bed *bed, int64_t us)
{
    loop_timer_start(bed->loop, &bed->pause, us, on_pause, bed->loop);
    assert_int_equal(loop_run(bed->loop), FR_OK);
}

/* ---- listeners ----------------------------------------------------------------------------- */

struct door {
    struct bed *bed;
    struct loop_listener listener;
    int accepted;
    int fd;
    bool close_at_first;
    char peer[LOOP_ADDR_TEXT_BYTES];
};

static void
on_accept(void *ctx, int fd, const struct loop_addr *peer)
{
    struct door *door = ctx;
    door->accepted++;
    door->fd = fd;
    loop_addr_format_host(peer, door->peer);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    if (door->close_at_first) {
        loop_listener_close(&door->listener);
        memset(&door->listener, 0xff, sizeof(door->listener)); /* nobody may touch it any more */
    }
    loop_stop(door->bed->loop);
}

static void
door_open(struct door *door, struct bed *bed, const char *text)
{
    struct loop_addr addr;
    int fd, error;
    memset(door, 0, sizeof(*door));
    door->bed = bed;
    assert_int_equal(loop_addr_parse(fr_view_of(text), &addr), FR_OK);
    assert_int_equal(loop_bind(&addr, false, &fd, &error), FR_OK);
    assert_int_equal(loop_listen(&door->listener, bed->loop, fd, on_accept, door), FR_OK);
}

static int
knock(const struct loop_addr *addr)
{
    int fd = socket(addr->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect(fd, &addr->sa.any, addr->len) == 0)
        return fd;
    close(fd);
    return -1;
}

static void
test_listen_tcp(void **state)
{
    struct bed bed;
    struct door door;
    int on = 0;
    socklen_t len = sizeof(on);
    (void)state;
    bed_open(&bed);
    door_open(&door, &bed, "127.0.0.1:0");
    assert_true(loop_addr_port(&door.listener.addr) > 0);
    int fd = knock(&door.listener.addr);
    assert_true(fd >= 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(door.accepted, 1);
    assert_string_equal(door.peer, "127.0.0.1");
    assert_int_equal(getsockopt(door.fd, IPPROTO_TCP, TCP_NODELAY, &on, &len), 0);
    assert_true(on); /* inherited from the listener */
    close(fd);
    close(door.fd);
    /* A pause keeps them in the backlog. */
    loop_listener_pause(&door.listener, true);
    fd = knock(&door.listener.addr);
    bed_settle(&bed, 5000);
    assert_int_equal(door.accepted, 1);
    loop_listener_pause(&door.listener, false);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(door.accepted, 2);
    close(fd);
    close(door.fd);
    loop_listener_close(&door.listener);
    bed_close(&bed);
}

static void
test_listen_dual_stack(void **state)
{
    struct bed bed;
    struct door door;
    struct loop_addr addr;
    char text[64];
    (void)state;
    bed_open(&bed);
    door_open(&door, &bed, ":0"); /* with or without IPv6 on this machine */
    (void)snprintf(text, sizeof(text), "127.0.0.1:%d", loop_addr_port(&door.listener.addr));
    assert_int_equal(loop_addr_parse(fr_view_of(text), &addr), FR_OK);
    int fd = knock(&addr);
    assert_true(fd >= 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_string_equal(door.peer, "127.0.0.1"); /* not ::ffff:127.0.0.1 */
    close(fd);
    close(door.fd);
    loop_listener_close(&door.listener);
    bed_close(&bed);
}

static void
test_bind_in_use_and_shared(void **state)
{
    struct bed bed;
    struct door door;
    int fd = -1, other = -1, error = 0;
    (void)state;
    bed_open(&bed);
    door_open(&door, &bed, "127.0.0.1:0");
    assert_int_equal(loop_bind(&door.listener.addr, false, &fd, &error), FR_ERR_ADDRESS_IN_USE);
    assert_int_equal(error, EADDRINUSE);
    loop_listener_close(&door.listener);
    assert_int_equal(loop_bind(&door.listener.addr, true, &fd, &error), FR_OK);
    assert_int_equal(loop_bind(&door.listener.addr, true, &other, &error), FR_OK);
    close(fd);
    close(other);
    bed_close(&bed);
}

static void
test_listen_unix(void **state)
{
    struct bed bed;
    struct door door;
    struct loop_addr addr;
    struct stat file;
    char text[96];
    const char *path = text + 5;
    int fd = -1, error = 0;
    (void)state;
    bed_open(&bed);
    (void)snprintf(text, sizeof(text), "unix:%s/sock", bed.folder);
    mode_t mask = umask(0);
    door_open(&door, &bed, text);
    (void)umask(mask);
    assert_int_equal(stat(path, &file), 0);
    assert_int_equal(file.st_mode & 07777, 0600);
    /* A living one is not replaced. */
    assert_int_equal(loop_addr_parse(fr_view_of(text), &addr), FR_OK);
    assert_int_equal(loop_bind(&addr, false, &fd, &error), FR_ERR_ADDRESS_IN_USE);
    bed_settle(&bed, 5000); /* the question knocked */
    if (door.accepted)
        close(door.fd);
    loop_listener_close(&door.listener);
    assert_int_not_equal(stat(path, &file), 0);
    /* A dead one is. */
    assert_int_equal(loop_bind(&addr, false, &fd, &error), FR_OK);
    close(fd);
    assert_int_equal(stat(path, &file), 0);
    door_open(&door, &bed, text);
    fd = knock(&addr);
    assert_true(fd >= 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    close(fd);
    close(door.fd);
    /* A successor has taken the name: closing leaves its file alone. */
    assert_int_equal(unlink(path), 0);
    struct door next;
    door_open(&next, &bed, text);
    loop_listener_close(&door.listener);
    assert_int_equal(stat(path, &file), 0);
    loop_listener_close(&next.listener);
    /* What is no socket is not ours to remove. */
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(loop_bind(&addr, false, &fd, &error), FR_ERR_ADDRESS_IN_USE);
    assert_int_equal(unlink(path), 0);
    bed_close(&bed);
}

static void
test_close_inside_accept(void **state)
{
    struct bed bed;
    struct door door;
    (void)state;
    bed_open(&bed);
    door_open(&door, &bed, "127.0.0.1:0");
    door.close_at_first = true;
    int one = knock(&door.listener.addr), two = knock(&door.listener.addr);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    bed_settle(&bed, 5000);
    assert_int_equal(door.accepted, 1);
    close(one);
    close(two);
    close(door.fd);
    bed_close(&bed);
}

static void
test_out_of_descriptors_pauses(void **state)
{
    struct bed bed;
    struct door door;
    struct loop_counters counters;
    struct rlimit limit, tight;
    (void)state;
    bed_open(&bed);
    door_open(&door, &bed, "127.0.0.1:0");
    int fd = knock(&door.listener.addr);
    int lowest = dup(fd);
    close(lowest);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    tight = limit;
    tight.rlim_cur = (rlim_t)lowest;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &tight), 0);
    bed_settle(&bed, 50000);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    loop_read_counters(bed.loop, &counters);
    assert_int_equal(counters.accept_errors, 1);
    assert_true(counters.turns < 20); /* it did not spin */
    assert_int_equal(door.accepted, 0);
    assert_int_equal(loop_run(bed.loop), FR_OK); /* the retry lets it in */
    assert_int_equal(door.accepted, 1);
    close(fd);
    close(door.fd);
    loop_listener_close(&door.listener);
    bed_close(&bed);
}

/* ---- signals ------------------------------------------------------------------------------- */

struct signals {
    struct bed *bed;
    int usr1, usr2;
};

static void
on_signal(void *ctx, int number)
{
    struct signals *signals = ctx;
    signals->usr1 += number == SIGUSR1;
    signals->usr2 += number == SIGUSR2;
    if (signals->usr1 && signals->usr2)
        loop_stop(signals->bed->loop);
}

static void
test_signals(void **state)
{
    struct bed bed;
    sigset_t before;
    (void)state;
    assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &before), 0);
    bed_open(&bed);
    struct signals signals = {.bed = &bed};
    assert_int_equal(loop_signal(bed.loop, SIGUSR1, on_signal, &signals), FR_OK);
    assert_int_equal(loop_signal(bed.loop, SIGUSR2, on_signal, &signals), FR_OK);
    assert_int_equal(kill(getpid(), SIGUSR1), 0);
    assert_int_equal(kill(getpid(), SIGUSR2), 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(signals.usr1, 1);
    assert_int_equal(signals.usr2, 1);
    bed_close(&bed);
    assert_int_equal(sigprocmask(SIG_SETMASK, &before, NULL), 0);
}

/* ---- processes ----------------------------------------------------------------------------- */

struct ending {
    struct bed *bed;
    struct loop_process process;
    int calls, exit_code, exit_signal;
    pid_t pid;
};

static void
on_exit_of(void *ctx, pid_t pid, int exit_code, int exit_signal)
{
    struct ending *ending = ctx;
    ending->calls++;
    ending->pid = pid;
    ending->exit_code = exit_code;
    ending->exit_signal = exit_signal;
    memset(&ending->process, 0xff, sizeof(ending->process)); /* ours again */
    loop_stop(ending->bed->loop);
}

static pid_t
child_waiting(int *out_pipe)
{
    int fds[2];
    char byte;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        close(fds[1]);
        (void)!read(fds[0], &byte, 1); /* until the test lets go */
        _exit(7);
    }
    close(fds[0]);
    *out_pipe = fds[1];
    return pid;
}

static void
test_child_exits(void **state)
{
    struct bed bed;
    int go;
    (void)state;
    bed_open(&bed);
    struct ending ending = {.bed = &bed};
    pid_t pid = child_waiting(&go);
    assert_int_equal(loop_process_watch(bed.loop, &ending.process, pid, on_exit_of, &ending),
                     FR_OK);
    bed_settle(&bed, 3000);
    assert_int_equal(ending.calls, 0);
    close(go);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(ending.calls, 1);
    assert_int_equal(ending.pid, pid);
    assert_int_equal(ending.exit_code, 7);
    assert_int_equal(ending.exit_signal, 0);
    assert_int_equal(waitpid(pid, NULL, WNOHANG), -1); /* reaped */
    assert_int_equal(loop_process_watch(bed.loop, &ending.process, pid, on_exit_of, &ending),
                     FR_ERR_NOT_FOUND);
    assert_int_equal(loop_process_watch(bed.loop, &ending.process, -1, on_exit_of, &ending),
                     FR_ERR_NOT_FOUND);
    bed_close(&bed);
}

static void
test_child_killed(void **state)
{
    struct bed bed;
    int go;
    (void)state;
    bed_open(&bed);
    struct ending ending = {.bed = &bed};
    pid_t pid = child_waiting(&go);
    assert_int_equal(loop_process_watch(bed.loop, &ending.process, pid, on_exit_of, &ending),
                     FR_OK);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(ending.exit_code, -1);
    assert_int_equal(ending.exit_signal, SIGKILL);
    close(go);
    bed_close(&bed);
}

static void
test_unwatched_child_is_left_alone(void **state)
{
    struct bed bed;
    int go, status = 0;
    (void)state;
    bed_open(&bed);
    struct ending ending = {.bed = &bed};
    pid_t pid = child_waiting(&go);
    assert_int_equal(loop_process_watch(bed.loop, &ending.process, pid, on_exit_of, &ending),
                     FR_OK);
    loop_process_unwatch(&ending.process);
    loop_process_unwatch(&ending.process); /* twice is once */
    close(go);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    bed_settle(&bed, 3000);
    assert_int_equal(ending.calls, 0);
    assert_int_equal(WEXITSTATUS(status), 7);
    bed_close(&bed);
}

/* A grandchild: its end is seen, what it was is its parent's to know. */
static void
test_non_child_exits(void **state)
{
    struct bed bed;
    int report[2], hold[2];
    pid_t grandchild = 0;
    (void)state;
    bed_open(&bed);
    struct ending ending = {.bed = &bed};
    assert_int_equal(pipe2(report, O_CLOEXEC), 0);
    assert_int_equal(pipe2(hold, O_CLOEXEC), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        char byte;
        int ignored;
        close(hold[1]);
        pid_t pid = fork();
        if (pid == 0) {
            (void)!read(hold[0], &byte, 1);
            _exit(3);
        }
        (void)!write(report[1], &pid, sizeof(pid));
        (void)waitpid(pid, &ignored, 0);
        _exit(0);
    }
    close(hold[0]);
    assert_int_equal(read(report[0], &grandchild, sizeof(grandchild)), sizeof(grandchild));
    assert_int_equal(
        loop_process_watch(bed.loop, &ending.process, grandchild, on_exit_of, &ending), FR_OK);
    close(hold[1]);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(ending.pid, grandchild);
    assert_int_equal(ending.exit_code, -1);
    assert_int_equal(ending.exit_signal, -1);
    assert_int_equal(waitpid(child, NULL, 0), child);
    close(report[0]);
    close(report[1]);
    bed_close(&bed);
}

/* ---- files --------------------------------------------------------------------------------- */

struct watcher {
    struct bed *bed;
    struct loop_watch watch;
    struct watcher *other;
    int calls;
};

static void
on_file(void *ctx)
{
    struct watcher *watcher = ctx;
    watcher->calls++;
    if (watcher->other)
        loop_file_unwatch(&watcher->other->watch);
    loop_stop(watcher->bed->loop);
}

static void
write_file(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    (void)fputs("text\n", file);
    assert_int_equal(fclose(file), 0);
}

static void
test_file_watch(void **state)
{
    struct bed bed;
    char path[96], beside[96], nowhere[128];
    (void)state;
    bed_open(&bed);
    struct watcher one = {.bed = &bed}, two = {.bed = &bed};
    (void)snprintf(path, sizeof(path), "%s/ledger", bed.folder);
    (void)snprintf(beside, sizeof(beside), "%s/ledger.new", bed.folder);
    (void)snprintf(nowhere, sizeof(nowhere), "%s/none/file", bed.folder);
    assert_int_equal(loop_file_watch(bed.loop, &one.watch, nowhere, on_file, &one),
                     FR_ERR_NOT_FOUND);
    assert_int_equal(loop_file_watch(bed.loop, &one.watch, path, on_file, &one), FR_OK);
    write_file(path);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(one.calls, 1);
    write_file(beside); /* a neighbour */
    bed_settle(&bed, 3000);
    assert_int_equal(one.calls, 1);
    for (int i = 2; i <= 4; i++) { /* replaced, and watched still */
        write_file(beside);
        assert_int_equal(rename(beside, path), 0);
        assert_int_equal(loop_run(bed.loop), FR_OK);
        assert_int_equal(one.calls, i);
    }
    /* Another of the same folder goes; this one stays. */
    assert_int_equal(loop_file_watch(bed.loop, &two.watch, beside, on_file, &two), FR_OK);
    loop_file_unwatch(&two.watch);
    loop_file_unwatch(&two.watch); /* twice is once */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(one.calls, 5);
    /* Both change in one batch, and the first ends the other. */
    assert_int_equal(loop_file_watch(bed.loop, &two.watch, beside, on_file, &two), FR_OK);
    one.other = &two;
    two.other = &one;
    write_file(path);
    write_file(beside);
    bed_settle(&bed, 3000);
    assert_int_equal(one.calls + two.calls, 6);
    loop_file_unwatch(&one.watch);
    loop_file_unwatch(&two.watch);
    (void)unlink(path);
    (void)unlink(beside);
    bed_close(&bed);
}

static void
test_watched_folder_goes(void **state)
{
    struct bed bed;
    char path[96];
    (void)state;
    bed_open(&bed);
    struct watcher one = {.bed = &bed};
    (void)snprintf(path, sizeof(path), "%s/ledger", bed.folder);
    assert_int_equal(loop_file_watch(bed.loop, &one.watch, path, on_file, &one), FR_OK);
    assert_int_equal(rmdir(bed.folder), 0);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(one.calls, 1);
    loop_file_unwatch(&one.watch);
    bed_close(&bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_listen_tcp),
        cmocka_unit_test(test_listen_dual_stack),
        cmocka_unit_test(test_bind_in_use_and_shared),
        cmocka_unit_test(test_listen_unix),
        cmocka_unit_test(test_close_inside_accept),
        cmocka_unit_test(test_out_of_descriptors_pauses),
        cmocka_unit_test(test_signals),
        cmocka_unit_test(test_child_exits),
        cmocka_unit_test(test_child_killed),
        cmocka_unit_test(test_unwatched_child_is_left_alone),
        cmocka_unit_test(test_non_child_exits),
        cmocka_unit_test(test_file_watch),
        cmocka_unit_test(test_watched_folder_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
