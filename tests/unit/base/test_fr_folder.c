/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_folder.c - what can be opened below a folder, and every way out of it that there is.
 */
#include "base/fr_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct place {
    char top[64];
    char path[128]; /* the folder inside top */
    int at;         /* of path */
    int fd;
};

static void
put(int at, const char *name)
{
    int fd = openat(at, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, name, strlen(name)), strlen(name));
    close(fd);
}

static void
place_open(struct place *place)
{
    (void)snprintf(place->top, sizeof(place->top), "/tmp/test-folder-XXXXXX");
    assert_non_null(mkdtemp(place->top));
    (void)snprintf(place->path, sizeof(place->path), "%s/in", place->top);
    assert_int_equal(mkdir(place->path, 0700), 0);
    place->at = open(place->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(place->at >= 0);
    put(place->at, "../secret");
    put(place->at, "file");
    assert_int_equal(mkdirat(place->at, "sub", 0700), 0);
    put(place->at, "sub/deep");
    place->fd = fr_folder_open(place->path);
    assert_true(place->fd >= 0);
}

static void
place_close(struct place *place)
{
    char command[256];
    close(place->fd);
    close(place->at);
    (void)snprintf(command, sizeof(command), "rm -r %s", place->top);
    assert_int_equal(system(command), 0);
}

static void
gives(const struct place *place, const char *name, bool symlinks, int want)
{
    int fd = fr_folder_file(place->fd, name, symlinks);
    if ((want == 0) != (fd >= 0) || (want < 0 && fd != want))
        fail_msg("%s: %d, wanted %d", name, fd, want);
    if (fd >= 0)
        close(fd);
}

static void
test_what_is_inside(void **state)
{
    struct place place;
    char text[16] = "";
    (void)state;
    place_open(&place);
    gives(&place, "file", false, 0);
    gives(&place, "sub/deep", false, 0);
    gives(&place, "sub", false, 0); /* folders open; the caller looks what it got */
    gives(&place, "", false, 0);
    gives(&place, "none", false, -ENOENT);
    gives(&place, "file/x", false, -ENOTDIR);
    gives(&place, "sub/../file", false, 0); /* still inside */
    int fd = fr_folder_file(place.fd, "sub/deep", false);
    assert_int_equal(read(fd, text, sizeof(text)), strlen("sub/deep"));
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    close(fd);
    place_close(&place);
}

static void
test_ways_out(void **state)
{
    struct place place;
    char absolute[160];
    (void)state;
    place_open(&place);
    gives(&place, "../secret", true, -EXDEV);
    gives(&place, "sub/../../secret", true, -EXDEV);
    gives(&place, "/etc/passwd", true, -EXDEV);
    (void)snprintf(absolute, sizeof(absolute), "%s/file", place.path);
    gives(&place, absolute, true, -EXDEV); /* absolute is out, even where it leads back in */
    assert_int_equal(symlinkat("../secret", place.at, "up"), 0);
    assert_int_equal(symlinkat("/etc", place.at, "etc"), 0);
    assert_int_equal(symlinkat("/proc/self/root", place.at, "root"), 0);
    assert_int_equal(symlinkat("sub", place.at, "same"), 0);
    assert_int_equal(symlinkat("../file", place.at, "sub/back"), 0);
    assert_int_equal(symlinkat("loop", place.at, "loop"), 0);
    gives(&place, "up", true, -EXDEV);
    gives(&place, "etc/passwd", true, -EXDEV);
    gives(&place, "root/etc/passwd", true, -EXDEV);
    gives(&place, "same/deep", true, 0);
    gives(&place, "sub/back", true, 0);
    gives(&place, "loop", true, -ELOOP);
    gives(&place, "same/deep", false, -ELOOP);
    gives(&place, "sub/back", false, -ELOOP);
    gives(&place, "up", false, -ELOOP);
    place_close(&place);
}

/* A FIFO without a writer would hold the worker for ever. */
static void
test_nothing_is_waited_for(void **state)
{
    struct place place;
    (void)state;
    place_open(&place);
    assert_int_equal(mkfifoat(place.at, "fifo", 0600), 0);
    gives(&place, "fifo", false, 0);
    place_close(&place);
}

/* The folder is the one that was opened, whatever its name leads to later. */
static void
test_the_folder_stays_what_it_was(void **state)
{
    struct place place;
    char moved[160];
    (void)state;
    place_open(&place);
    (void)snprintf(moved, sizeof(moved), "%s/moved", place.top);
    assert_int_equal(rename(place.path, moved), 0);
    assert_int_equal(symlink("/etc", place.path), 0);
    gives(&place, "file", false, 0);
    gives(&place, "passwd", true, -ENOENT);
    place_close(&place);
}

static void
test_no_folder(void **state)
{
    struct place place;
    char path[160];
    (void)state;
    place_open(&place);
    (void)snprintf(path, sizeof(path), "%s/file", place.path);
    assert_int_equal(fr_folder_open(path), -ENOTDIR);
    (void)snprintf(path, sizeof(path), "%s/none", place.path);
    assert_int_equal(fr_folder_open(path), -ENOENT);
    place_close(&place);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_inside),
        cmocka_unit_test(test_ways_out),
        cmocka_unit_test(test_nothing_is_waited_for),
        cmocka_unit_test(test_the_folder_stays_what_it_was),
        cmocka_unit_test(test_no_folder),
    };
    return cmocka_run_group_tests_name("base-folder", tests, NULL, NULL);
}
