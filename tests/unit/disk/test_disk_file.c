/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk_file.c - the file: its room, and whose it is.
 */
#include "disk_world.h"

#include "base/fr_buf.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>

static volatile sig_atomic_t calls;
static volatile sig_atomic_t answer;

/* Instead of fallocate: every first time a signal came, every second time it is the answer. */
static void
on_fallocate(int number, siginfo_t *info, void *ctx)
{
    ucontext_t *at = ctx;
    (void)number;
    (void)info;
    int result = calls++ % 2 == 0 ? -EINTR : -answer;
#if defined(__x86_64__)
    at->uc_mcontext.gregs[REG_RAX] = result;
#elif defined(__aarch64__)
    at->uc_mcontext.regs[0] = (unsigned long long)(long long)result;
#endif
}

/* From here on this process has a file system that promises nothing and, perhaps, is full. */
static bool
refuse_room(int error, bool full)
{
    struct sigaction act = {.sa_sigaction = on_fallocate, .sa_flags = SA_SIGINFO};
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwrite64, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, full ? SECCOMP_RET_ERRNO | ENOSPC : SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(rules) / sizeof(rules[0]), .filter = rules};
    answer = error;
    return sigaction(SIGSYS, &act, NULL) == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Opens the file in a process of its own, where fallocate says this. Its errno, or 0. */
static int
open_without_room(struct world *world, int refusal, bool full)
{
    pid_t child = fork();
    if (child == 0) {
        int error = 0;
        struct disk_options options = {world->path, BYTES, MEMORY, tell, world};
        if (!refuse_room(refusal, full))
            _exit(255);
        if (disk_open(&options, &world->disk, &error) != FR_OK)
            _exit(error);
        off_t hole = lseek(world->disk->fd, 0, SEEK_HOLE);
        _exit(hole >= (off_t)world->disk->layout.mapped_bytes ? 0 : 254);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

/* A write that finds no room is an error, but one into a mapping is the end of the process. */
static void
what_is_mapped_is_there_before(void **state)
{
    struct world *world = *state;
    static const int nothing[] = {EOPNOTSUPP, ENOSYS};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(open_without_room(world, nothing[i], true), ENOSPC);
        assert_int_equal(truncate(world->path, 0), 0);
        assert_int_equal(open_without_room(world, nothing[i], false), 0);
    }
    start(world); /* and what it holds is as it was */
    stop(world);
    assert_int_equal(world->told[DISK_NEWS_ANEW], 0);
}

/* Whether the file has its length already or not. */
static void
room_that_is_refused_is_an_error(void **state)
{
    struct world *world = *state;
    assert_int_equal(open_without_room(world, ENOSPC, false), ENOSPC);
    start(world);
    stop(world);
    assert_int_equal(open_without_room(world, EIO, false), EIO);
}

static void
two_do_not_share(void **state)
{
    struct world *world = *state;
    struct disk *other = NULL;
    int error;
    struct disk_options options = {world->path, BYTES, MEMORY, tell, world};
    begin(world);
    assert_int_equal(disk_open(&options, &other, &error), FR_ERR_EXISTS);
    assert_null(other);
    options.bytes = 1000;
    assert_int_equal(disk_open(&options, &other, &error), FR_ERR_RANGE);
    options.bytes = BYTES;
    options.path = "/proc/none/such";
    assert_int_equal(disk_open(&options, &other, &error), FR_ERR_IO);
    assert_true(error != 0);
    put(world, 1); /* nobody writes it */
    stop(world);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_mapped_is_there_before),
        TEST(room_that_is_refused_is_an_error),
        TEST(two_do_not_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
