/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_disk_file.c - the file: its room, and whose it is.
 */
#include "disk_world.h"

#include "base/fr_buf.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* From here on this process has a file system that promises nothing and, perhaps, is full. */
static bool
refuse_room(bool full)
{
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_fallocate, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_pwrite64, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, full ? SECCOMP_RET_ERRNO | ENOSPC : SECCOMP_RET_ALLOW),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = sizeof(rules) / sizeof(rules[0]), .filter = rules};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

/* Opens the file in a process of its own, which ends with this code. */
static int
open_without_room(struct world *world, bool full)
{
    pid_t child = fork();
    if (child == 0) {
        int error;
        struct disk_options options = {world->path, BYTES, MEMORY, tell, world};
        if (!refuse_room(full))
            _exit(2);
        if (disk_open(&options, &world->disk, &error) != FR_OK)
            _exit(error == ENOSPC ? 3 : 4);
        off_t hole = lseek(world->disk->fd, 0, SEEK_HOLE);
        _exit(hole >= (off_t)world->disk->layout.mapped_bytes ? 0 : 5);
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
    assert_int_equal(open_without_room(world, true), 3);
    assert_int_equal(open_without_room(world, false), 0);
    start(world); /* and what it holds is as it was */
    stop(world);
    assert_int_equal(world->told[DISK_NEWS_ANEW], 0);
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
        TEST(two_do_not_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
