/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_loop_watch.c - files written, replaced and removed.
 */
#include "loop_bed.h"

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
    bed_open(&bed, NULL);
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
    bed_open(&bed, NULL);
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
        cmocka_unit_test(test_file_watch),
        cmocka_unit_test(test_watched_folder_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
