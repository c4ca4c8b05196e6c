/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_disk_marks.c - whose file it is, and whether what is noted in it makes sense.
 */
#include "disk_help.h"

static void
marks_that_make_no_sense_are_anothers(void **state)
{
    (void)state;
    struct help_disk help = help_disk_new();
    struct cache__disk_map map;
    struct fr_view boot = FR_VIEW("boot");
    cache__disk_map(help.file, &help.layout, &map);
    assert_int_equal(cache_disk_judge(help.file, &help.layout, boot), CACHE_DISK_FITS);
    cache_disk_in_use(help.file, boot);
    assert_int_equal(cache_disk_judge(help.file, &help.layout, boot), CACHE_DISK_FITS);
    assert_int_equal(cache_disk_judge(help.file, &help.layout, FR_VIEW("other")),
                     CACHE_DISK_UNSURE);
    assert_int_equal(cache_disk_judge(help.file, &help.layout, FR_VIEW("")), CACHE_DISK_UNSURE);
    cache_disk_at_rest(help.file);
    assert_int_equal(cache_disk_judge(help.file, &help.layout, FR_VIEW("other")), CACHE_DISK_FITS);
    uint64_t *words[] = {&map.slots[5].hard, &map.slots[6].soft, &map.gone[7],
                         &map.prefixes[1].serial, &map.marks->all_hard};
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        *words[i] = 1000;
        assert_int_equal(cache_disk_judge(help.file, &help.layout, boot), CACHE_DISK_OTHER);
        *words[i] = 0;
    }
    *map.left = UINT64_MAX;
    assert_int_equal(cache_disk_judge(help.file, &help.layout, boot), CACHE_DISK_OTHER);
    *map.left = 0;
    for (size_t i = 0; i < 64; i++) { /* of the super, up to its check */
        help.file[i] ^= 1;
        assert_int_equal(cache_disk_judge(help.file, &help.layout, boot), CACHE_DISK_OTHER);
        help.file[i] ^= 1;
    }
    struct cache_disk_layout other;
    assert_true(cache_disk_layout(2 * DISK_BYTES, &other));
    assert_false(cache_disk_layout(CACHE_DISK_FILE_BYTES_MIN - 1, &other));
    help_disk_free(&help);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(marks_that_make_no_sense_are_anothers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
