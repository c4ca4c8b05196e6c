/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli_run_lock.c - one run a state folder, and what is left of an earlier one is waited for.
 */
#include "base/fr_log.h"
#include "base/fr_mem.h"
#include "cli/cli.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct folder {
    char path[64];
    char *state;
};

static int
set_up(void **state)
{
    struct folder *folder = fr_xalloc(sizeof(*folder));
    (void)snprintf(folder->path, sizeof(folder->path), "/tmp/test-lock-XXXXXX");
    if (mkdtemp(folder->path) == NULL)
        return -1;
    folder->state = fr_xprintf("%s/a/state", folder->path); /* is made */
    *state = folder;
    return 0;
}

static int
tear_down(void **state)
{
    struct folder *folder = *state;
    char command[96];
    (void)snprintf(command, sizeof(command), "rm -rf -- %s", folder->path);
    fr_free(folder->state);
    fr_free(folder);
    return system(command) == 0 ? 0 : -1;
}

static void
one_run_at_a_time(void **state)
{
    const struct folder *folder = *state;
    int parent = -1, children = -1, parent2 = -1, children2 = -1;
    assert_true(cli_run_lock(folder->state, &parent, &children));
    assert_true(parent >= 0 && children >= 0);
    assert_true(fcntl(parent, F_GETFD) & FD_CLOEXEC); /* the parent's alone */
    assert_false(cli_run_lock(folder->state, &parent2, &children2));
    assert_false(cli_run_lock(folder->state, &parent2, &children2)); /* asking took nothing */
    close(parent);
    close(children);
    assert_true(cli_run_lock(folder->state, &parent, &children));
    close(parent);
    close(children);
}

static void
another_folder_is_no_matter(void **state)
{
    const struct folder *folder = *state;
    char *other = fr_xprintf("%s/other", folder->path);
    int fds[4];
    assert_true(cli_run_lock(folder->state, &fds[0], &fds[1]));
    assert_true(cli_run_lock(other, &fds[2], &fds[3]));
    for (int i = 0; i < 4; i++)
        close(fds[i]);
    fr_free(other);
}

/* Trying the lock ourselves could be what the other one fails at: the kernel's list is read. */
static bool
has_lock(const struct folder *folder, pid_t pid)
{
    char *path = fr_xprintf("%s/run.lock", folder->state), line[256];
    struct stat about;
    bool found = false;
    assert_int_equal(stat(path, &about), 0);
    FILE *locks = fopen("/proc/locks", "r");
    assert_non_null(locks);
    while (fgets(line, sizeof(line), locks) != NULL) {
        int owner = 0;
        unsigned long long inode = 0;
        if (sscanf(line, "%*s FLOCK %*s WRITE %d %*x:%*x:%llu", &owner, &inode) == 2)
            found |= owner == pid && inode == about.st_ino;
    }
    assert_int_equal(fclose(locks), 0);
    fr_free(path);
    return found;
}

/* The parent was killed; its child lives on with the lock it inherited until it is told to end. */
static void
what_is_left_is_waited_for(void **state)
{
    const struct folder *folder = *state;
    int parent = -1, children = -1, hold[2], status = 0;
    assert_true(cli_run_lock(folder->state, &parent, &children));
    assert_int_equal(pipe(hold), 0);
    close(parent); /* before the fork: no child ever has it */
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) { /* has children's lock by inheritance */
        char byte;
        close(hold[1]);
        (void)!read(hold[0], &byte, 1);
        _exit(0);
    }
    close(hold[0]);
    close(children);
    pid_t waiter = fork();
    assert_true(waiter >= 0);
    if (waiter == 0) {
        int mine = -1, theirs = -1;
        close(hold[1]);
        _exit(cli_run_lock(folder->state, &mine, &theirs) ? 0 : 1);
    }
    while (!has_lock(folder, waiter)) { /* and then it waits for the other one */
        assert_int_equal(waitpid(waiter, &status, WNOHANG), 0);
        usleep(1000);
    }
    assert_int_equal(waitpid(waiter, &status, WNOHANG), 0);
    close(hold[1]); /* the child ends */
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(waitpid(waiter, &status, 0), waiter);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void
a_folder_that_cannot_be_is_told(void **state)
{
    const struct folder *folder = *state;
    char *file = fr_xprintf("%s/file", folder->path);
    char *below = fr_xprintf("%s/file/state", folder->path);
    int parent = -1, children = -1;
    FILE *out = fopen(file, "w");
    assert_non_null(out);
    assert_int_equal(fclose(out), 0);
    assert_false(cli_run_lock(below, &parent, &children));
    fr_free(below);
    fr_free(file);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_FOLDER(one_run_at_a_time),
        IN_FOLDER(another_folder_is_no_matter),
        IN_FOLDER(what_is_left_is_waited_for),
        IN_FOLDER(a_folder_that_cannot_be_is_told),
    };
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_HUMAN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
