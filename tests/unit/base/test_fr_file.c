/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_file.c - files are replaced whole or not at all.
 */
#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void
files_are_replaced_whole(void **state)
{
    (void)state;
    char folder[] = "/tmp/fr-file-XXXXXX";
    assert_non_null(mkdtemp(folder));
    char *deep = fr_xprintf("%s/a/b", folder);
    char *path = fr_xprintf("%s/file", deep);
    int error = 0;
    assert_int_equal(fr_file_make_folder(deep, &error), FR_OK);
    assert_int_equal(fr_file_make_folder(deep, &error), FR_OK);
    assert_int_equal(fr_file_replace(path, FR_VIEW("one"), 0600, &error), FR_OK);
    assert_int_equal(fr_file_replace(path, FR_VIEW("two"), 0600, &error), FR_OK);
    struct fr_buf buf;
    fr_buf_init(&buf, 3);
    assert_int_equal(fr_file_read(path, &buf, &error), FR_OK);
    assert_string_equal(buf.data, "two");
    assert_int_equal(fr_file_read(path, &buf, &error), FR_ERR_FULL);
    fr_buf_fini(&buf);
    assert_int_equal(fr_file_replace(deep, FR_VIEW("x"), 0600, &error), FR_ERR_IO);
    assert_int_equal(fr_file_make_folder(path, &error), FR_ERR_IO);
    char *temporary = fr_xprintf("%s.tmp", path);
    assert_int_not_equal(access(temporary, F_OK), 0);
    (void)unlink(path);
    (void)rmdir(deep);
    fr_free(temporary);
    fr_free(path);
    fr_free(deep);
}

/* ---- pairs ---------------------------------------------------------------------------------- */

struct pair_bed {
    char folder[32];
    char *first, *second;
    struct fr_file_pair paths;
};

static void
bed_open(struct pair_bed *bed)
{
    (void)snprintf(bed->folder, sizeof(bed->folder), "/tmp/fr-file-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    bed->first = fr_xprintf("%s/key", bed->folder);
    bed->second = fr_xprintf("%s/certificate", bed->folder);
    bed->paths = (struct fr_file_pair){.first = bed->first, .second = bed->second};
}

static void
bed_close(struct pair_bed *bed)
{
    char *command = fr_xprintf("rm -r %s", bed->folder);
    assert_int_equal(system(command), 0);
    fr_free(command);
    fr_free(bed->first);
    fr_free(bed->second);
}

static void
assert_file(const char *path, const char *text)
{
    struct fr_buf buf;
    fr_buf_init(&buf, 100);
    assert_int_equal(fr_file_read(path, &buf, NULL), FR_OK);
    assert_string_equal(buf.data, text);
    fr_buf_fini(&buf);
}

static enum fr_err
write_pair(const struct pair_bed *bed, const char *first, const char *second)
{
    int error = 0;
    return fr_file_replace_pair(&bed->paths, fr_view_of(first), fr_view_of(second), 0600, &error);
}

static void
pairs_are_replaced_whole(void **state)
{
    struct pair_bed bed;
    (void)state;
    bed_open(&bed);
    assert_int_equal(write_pair(&bed, "k1", "c1"), FR_OK);
    assert_int_equal(write_pair(&bed, "k2", "c2"), FR_OK);
    assert_file(bed.first, "k2");
    assert_file(bed.second, "c2");
    assert_null(fr_file_pair_waiting(&bed.paths));
    assert_int_equal(fr_file_pair_finish(&bed.paths, NULL), FR_OK); /* nothing to be done */
    /* A folder in the second's place: neither is replaced, nothing is left. */
    char *in_the_way = fr_xprintf("%s.pair", bed.second);
    assert_int_equal(mkdir(in_the_way, 0700), 0);
    assert_int_equal(write_pair(&bed, "k3", "c3"), FR_ERR_IO);
    assert_file(bed.first, "k2");
    assert_file(bed.second, "c2");
    fr_free(in_the_way);
    bed_close(&bed);
}

/* The second waits, and whoever replaces the pair then cannot write: the two that fit stay. */
static void
what_waits_outlives_a_write_that_fails(void **state)
{
    struct pair_bed bed;
    struct rlimit old, none;
    (void)state;
    bed_open(&bed);
    char *waiting = fr_xprintf("%s.pair", bed.second);
    assert_int_equal(fr_file_replace(bed.first, FR_VIEW("k2"), 0600, NULL), FR_OK);
    assert_int_equal(fr_file_replace(bed.second, FR_VIEW("c1"), 0600, NULL), FR_OK);
    assert_int_equal(fr_file_replace(waiting, FR_VIEW("c2"), 0600, NULL), FR_OK);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    enum fr_err err = write_pair(&bed, "k3", "c3");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(err, FR_ERR_IO);
    assert_int_equal(fr_file_pair_finish(&bed.paths, NULL), FR_OK);
    assert_file(bed.first, "k2");
    assert_file(bed.second, "c2");
    fr_free(waiting);
    bed_close(&bed);
}

/* A link or a file that others may read, where what is written is first: neither receives it. */
static void
what_is_in_the_way_receives_nothing(void **state)
{
    static const char *const in_the_way[] = {"key.tmp", "key.pair", "certificate.pair"};
    (void)state;
    for (size_t i = 0; i < 6; i++) {
        struct pair_bed bed;
        struct stat st;
        bed_open(&bed);
        char *elsewhere = fr_xprintf("%s/elsewhere", bed.folder);
        char *planted = fr_xprintf("%s/%s", bed.folder, in_the_way[i / 2]);
        assert_int_equal(fr_file_replace(elsewhere, FR_VIEW("e"), 0644, NULL), FR_OK);
        if (i % 2)
            assert_int_equal(symlink(elsewhere, planted), 0);
        else
            assert_int_equal(link(elsewhere, planted), 0);
        if (i / 2 == 0)
            assert_int_equal(fr_file_replace(bed.first, FR_VIEW("k1"), 0600, NULL), FR_OK);
        else
            assert_int_equal(write_pair(&bed, "k1", "c1"), FR_OK);
        assert_file(elsewhere, "e");
        assert_file(bed.first, "k1");
        assert_int_equal(lstat(bed.first, &st), 0);
        assert_true(S_ISREG(st.st_mode) && (st.st_mode & 0777) == 0600);
        fr_free(planted);
        fr_free(elsewhere);
        bed_close(&bed);
    }
}

#define WRITERS 4
#define WRITES 10

static void
write_many(const struct pair_bed *bed, int writer)
{
    for (int i = 0; i < WRITES; i++) {
        char *content = fr_xprintf("%d-%d", writer, i);
        enum fr_err err = write_pair(bed, content, content);
        fr_free(content);
        if (err != FR_OK)
            _exit(1);
    }
    _exit(0);
}

/* Two that are written by several at a time are of one of them. */
static void
writers_of_one_pair_take_turns(void **state)
{
    struct pair_bed bed;
    struct fr_buf first, second;
    pid_t children[WRITERS];
    (void)state;
    bed_open(&bed);
    for (int i = 0; i < WRITERS; i++) {
        children[i] = fork();
        if (children[i] == 0)
            write_many(&bed, i);
    }
    for (int i = 0; i < WRITERS; i++) {
        int status = 0;
        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
    }
    fr_buf_init(&first, 100);
    fr_buf_init(&second, 100);
    assert_int_equal(fr_file_read(bed.first, &first, NULL), FR_OK);
    assert_int_equal(fr_file_read(bed.second, &second, NULL), FR_OK);
    assert_string_equal(first.data, second.data);
    fr_buf_fini(&first);
    fr_buf_fini(&second);
    bed_close(&bed);
}

/* Who holds the folder for ever holds up nobody for ever. */
static void
a_held_folder_is_an_error(void **state)
{
    struct pair_bed bed;
    int error = 0;
    (void)state;
    bed_open(&bed);
    assert_int_equal(write_pair(&bed, "k1", "c1"), FR_OK);
    int fd = open(bed.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0 && flock(fd, LOCK_EX) == 0);
    assert_int_equal(fr_file_replace_pair(&bed.paths, FR_VIEW("k2"), FR_VIEW("c2"), 0600, &error),
                     FR_ERR_IO);
    assert_int_equal(error, EBUSY);
    assert_file(bed.first, "k1");
    assert_file(bed.second, "c1");
    assert_int_equal(close(fd), 0);
    assert_int_equal(write_pair(&bed, "k2", "c2"), FR_OK);
    bed_close(&bed);
}

#ifdef FR_FAULT_POINTS
static const char *const fault_points[] = {
#define FR_FAULT_ROW(name) name,
#include "base/fault_points.def"
#undef FR_FAULT_ROW
};

#define POINT_COUNT (sizeof(fault_points) / sizeof(fault_points[0]))

static void
write_and_be_killed(const struct pair_bed *bed, const char *point, const char *first,
                    const char *second)
{
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        (void)setenv("FRESHET_FAULT", point, 1);
        (void)write_pair(bed, first, second);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

/* Killed at each point: both are old, or both are new once the pair is finished; and whoever comes
 * next replaces both. */
static void
a_pair_whose_writer_was_killed(void **state)
{
    (void)state;
    for (size_t i = 0; i < POINT_COUNT; i++) {
        struct pair_bed bed;
        bed_open(&bed);
        assert_int_equal(write_pair(&bed, "k1", "c1"), FR_OK);
        write_and_be_killed(&bed, fault_points[i], "k2", "c2");
        char *waiting = fr_file_pair_waiting(&bed.paths);
        assert_int_equal(waiting != NULL, i == 2);
        fr_free(waiting);
        assert_int_equal(fr_file_pair_finish(&bed.paths, NULL), FR_OK);
        assert_file(bed.first, i < 2 ? "k1" : "k2");
        assert_file(bed.second, i < 2 ? "c1" : "c2");
        assert_null(fr_file_pair_waiting(&bed.paths));
        assert_int_equal(write_pair(&bed, "k3", "c3"), FR_OK);
        assert_file(bed.first, "k3");
        assert_file(bed.second, "c3");
        assert_null(fr_file_pair_waiting(&bed.paths));
        bed_close(&bed);
    }
}

/* And the next one too, at each point, with nobody to finish the pair between the two. */
static void
a_pair_whose_writers_were_killed_in_a_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < POINT_COUNT * POINT_COUNT; i++) {
        struct pair_bed bed;
        size_t former = i / POINT_COUNT, latter = i % POINT_COUNT;
        char key[3] = "k1", certificate[3] = "c1";
        bed_open(&bed);
        assert_int_equal(write_pair(&bed, "k1", "c1"), FR_OK);
        write_and_be_killed(&bed, fault_points[former], "k2", "c2");
        write_and_be_killed(&bed, fault_points[latter], "k3", "c3");
        key[1] = certificate[1] = latter >= 2 ? '3' : former >= 2 ? '2' : '1';
        assert_int_equal(fr_file_pair_finish(&bed.paths, NULL), FR_OK);
        assert_file(bed.first, key);
        assert_file(bed.second, certificate);
        assert_int_equal(write_pair(&bed, "k4", "c4"), FR_OK);
        assert_file(bed.first, "k4");
        assert_file(bed.second, "c4");
        bed_close(&bed);
    }
}
#endif

/* Whatever the ceiling is beside the file's size; and a file that does not say its size. */
static void
files_are_read_up_to_the_ceiling(void **state)
{
    static char content[40000];
    struct pair_bed bed;
    struct fr_buf buf;
    (void)state;
    bed_open(&bed);
    for (size_t i = 0; i < sizeof(content); i++)
        content[i] = (char)('a' + i % 26);
    for (size_t size = 0; size <= sizeof(content); size = size * 3 + 1) {
        assert_int_equal(fr_file_replace(bed.first, fr_view_make(content, size), 0600, NULL),
                         FR_OK);
        for (size_t max = size ? size - 1 : 0; max <= size + 1; max++) {
            fr_buf_init(&buf, max);
            assert_int_equal(fr_file_read(bed.first, &buf, NULL), max < size ? FR_ERR_FULL : FR_OK);
            if (max >= size) {
                assert_int_equal(buf.len, size);
                assert_true(fr_view_eq(fr_buf_view(&buf), fr_view_make(content, size)));
            }
            fr_buf_fini(&buf);
        }
        fr_buf_init(&buf, size + 2); /* behind what is there already */
        assert_int_equal(fr_buf_append(&buf, "zz", 2), FR_OK);
        assert_int_equal(fr_file_read(bed.first, &buf, NULL), FR_OK);
        assert_int_equal(buf.len, size + 2);
        assert_memory_equal(buf.data, "zz", 2);
        fr_buf_fini(&buf);
    }
    fr_buf_init(&buf, 1000000);
    assert_int_equal(fr_file_read("/proc/self/maps", &buf, NULL), FR_OK);
    assert_true(buf.len > 1000 && buf.data[buf.len - 1] == '\n');
    fr_buf_fini(&buf);
    bed_close(&bed);
}

#define STACK_BYTES ((size_t)1 << 20)
#define SECRET "-a-secret-that-is-nowhere-but-in-its-file-and-its-buffer-"

static void *
read_secret(void *ctx)
{
    struct fr_buf buf;
    fr_buf_init(&buf, 100000);
    enum fr_err err = fr_file_read(ctx, &buf, NULL);
    bool whole = err == FR_OK && strstr(buf.data, SECRET) != NULL;
    fr_buf_fini(&buf);
    return whole ? ctx : NULL;
}

/* What a thread has left there is nobody's, whatever the sanitizer says of it. */
__attribute__((no_sanitize_address)) static bool
holds_secret(const volatile char *stack)
{
    for (size_t i = 0; i + sizeof(SECRET) <= STACK_BYTES; i++) {
        size_t k = 0;
        while (k + 1 < sizeof(SECRET) && stack[i + k] == SECRET[k])
            k++;
        if (k + 1 == sizeof(SECRET))
            return true;
    }
    return false;
}

static void
what_is_read_is_not_left_on_the_stack(void **state)
{
    struct pair_bed bed;
    pthread_t thread;
    pthread_attr_t attr;
    void *whole = NULL;
    (void)state;
    bed_open(&bed);
    assert_int_equal(fr_file_replace(bed.first, FR_VIEW("key:" SECRET "\n"), 0600, NULL), FR_OK);
    char *stack =
        mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(stack != MAP_FAILED);
    assert_int_equal(pthread_attr_init(&attr), 0);
    assert_int_equal(pthread_attr_setstack(&attr, stack, STACK_BYTES), 0);
    assert_int_equal(pthread_create(&thread, &attr, read_secret, bed.first), 0);
    assert_int_equal(pthread_join(thread, &whole), 0);
    assert_ptr_equal(whole, bed.first);
    assert_false(holds_secret(stack));
    assert_int_equal(munmap(stack, STACK_BYTES), 0);
    assert_int_equal(pthread_attr_destroy(&attr), 0);
    bed_close(&bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_read_up_to_the_ceiling),
        cmocka_unit_test(what_is_read_is_not_left_on_the_stack),
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(pairs_are_replaced_whole),
        cmocka_unit_test(what_waits_outlives_a_write_that_fails),
        cmocka_unit_test(what_is_in_the_way_receives_nothing),
        cmocka_unit_test(writers_of_one_pair_take_turns),
        cmocka_unit_test(a_held_folder_is_an_error),
#ifdef FR_FAULT_POINTS
        cmocka_unit_test(a_pair_whose_writer_was_killed),
        cmocka_unit_test(a_pair_whose_writers_were_killed_in_a_row),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
