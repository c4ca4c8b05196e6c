/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_file.c - files are replaced whole or not at all.
 */
#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(files_are_replaced_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
