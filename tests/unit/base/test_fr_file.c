/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_file.c - files are replaced whole or not at all.
 */
#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
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

#ifdef FR_FAULT_POINTS
static const char *const fault_points[] = {
#define FR_FAULT_ROW(name) name,
#include "base/fault_points.def"
#undef FR_FAULT_ROW
};

/* Killed at each point: both are old, or both are new once the pair is finished; and whoever comes
 * next replaces both. */
static void
a_pair_whose_writer_was_killed(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(fault_points) / sizeof(fault_points[0]); i++) {
        struct pair_bed bed;
        int status = 0;
        bed_open(&bed);
        assert_int_equal(write_pair(&bed, "k1", "c1"), FR_OK);
        pid_t child = fork();
        if (child == 0) {
            (void)setenv("FRESHET_FAULT", fault_points[i], 1);
            (void)write_pair(&bed, "k2", "c2");
            _exit(0);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
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
#endif

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_replaced_whole),
        cmocka_unit_test(pairs_are_replaced_whole),
#ifdef FR_FAULT_POINTS
        cmocka_unit_test(a_pair_whose_writer_was_killed),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
