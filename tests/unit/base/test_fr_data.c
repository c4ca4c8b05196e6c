/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_data.c - maps, histograms, hashes, random numbers, files.
 */
#include "base/fr_file.h"
#include "base/fr_hash.h"
#include "base/fr_hist.h"
#include "base/fr_list.h"
#include "base/fr_map.h"
#include "base/fr_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>

static void
map_against_an_array(void **state)
{
    (void)state;
    struct fr_map *map = fr_map_new();
    struct fr_rand rand;
    int values[64];
    bool there[64] = {false};
    size_t live = 0;
    fr_rand_init(&rand, 42);
    for (int step = 0; step < 20000; step++) {
        uint32_t i = fr_rand_below(&rand, 64);
        char key[16];
        (void)snprintf(key, sizeof(key), "key-%u", i);
        if (fr_rand_below(&rand, 2)) {
            assert_ptr_equal(fr_map_put(map, fr_view_of(key), &values[i]),
                             there[i] ? &values[i] : NULL);
            live += there[i] ? 0 : 1;
            there[i] = true;
        } else {
            assert_ptr_equal(fr_map_remove(map, fr_view_of(key)), there[i] ? &values[i] : NULL);
            live -= there[i] ? 1 : 0;
            there[i] = false;
        }
        assert_int_equal(fr_map_count(map), live);
        assert_ptr_equal(fr_map_get(map, fr_view_of(key)), there[i] ? &values[i] : NULL);
    }
    size_t cursor = 0, walked = 0;
    while (fr_map_next(map, &cursor, NULL, NULL))
        walked++;
    assert_int_equal(walked, live);
    fr_map_free(&map, NULL);
    assert_null(map);
}

static void
histogram_quantiles(void **state)
{
    (void)state;
    struct fr_hist a = {0}, b = {0}, c = {0};
    for (uint64_t us = 1; us <= 100000; us++)
        fr_hist_record(us % 2 ? &a : &b, us);
    fr_hist_add(&a, &b);
    assert_int_equal(fr_hist_count(&a), 100000);
    const double wanted[] = {0.5, 0.9, 0.99};
    for (size_t i = 0; i < 3; i++) {
        double got = (double)fr_hist_quantile_us(&a, wanted[i]);
        double exact = wanted[i] * 100000;
        assert_true(got > exact * 0.93 && got < exact * 1.07);
    }
    fr_hist_since(&c, &a, &b);
    assert_int_equal(fr_hist_count(&c), 50000);
    fr_hist_record(&c, UINT64_MAX);
    assert_true(fr_hist_quantile_us(&c, 1) > FR_HIST_MAX_US / 2);
    struct fr_hist empty = {0};
    assert_int_equal(fr_hist_quantile_us(&empty, 0.5), 0);
    /* Every value lies within 6.25 % of the middle given for its bucket. */
    for (uint64_t us = 0; us < FR_HIST_MAX_US; us = us * 9 / 8 + 1) {
        struct fr_hist one = {0};
        fr_hist_record(&one, us);
        double middle = (double)fr_hist_quantile_us(&one, 0);
        assert_true(middle >= (double)us * 0.9374 - 1 && middle <= (double)us * 1.0626 + 1);
    }
}

static void
hash_known_answers(void **state)
{
    (void)state;
    /* The key of the paper; the answer of other SipHash-1-3 implementations for no bytes. */
    struct fr_hash_key key = {0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull};
    assert_true(fr_hash64(&key, "", 0) == 0xabac0158050fc4dcull);
    char text[64];
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (char)i;
    for (size_t len = 1; len < sizeof(text); len++) {
        assert_true(fr_hash64(&key, text, len) != fr_hash64(&key, text, len - 1));
        struct fr_hash128 wide = fr_hash128(&key, text, len);
        assert_true(wide.lo != wide.hi);
    }
}

static void
random_numbers(void **state)
{
    (void)state;
    struct fr_rand rand;
    unsigned seen[10] = {0};
    fr_rand_init(&rand, 1);
    for (int i = 0; i < 10000; i++) {
        seen[fr_rand_below(&rand, 10)]++;
        double unit = fr_rand_unit(&rand);
        assert_true(unit >= 0 && unit < 1);
    }
    for (int i = 0; i < 10; i++)
        assert_true(seen[i] > 800 && seen[i] < 1200);
}

static void
lists(void **state)
{
    (void)state;
    struct fr_list list, nodes[3];
    size_t count = 0;
    fr_list_init(&list);
    for (int i = 0; i < 3; i++)
        fr_list_push_back(&list, &nodes[i]);
    fr_list_remove(&nodes[1]);
    FR_LIST_EACH(&list, node)
        count++;
    assert_int_equal(count, 2);
    assert_ptr_equal(fr_list_pop_front(&list), &nodes[0]);
    FR_LIST_EACH_SAFE(&list, node)
        fr_list_remove(node);
    assert_null(fr_list_pop_front(&list));
}

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
        cmocka_unit_test(map_against_an_array), cmocka_unit_test(histogram_quantiles),
        cmocka_unit_test(hash_known_answers),   cmocka_unit_test(random_numbers),
        cmocka_unit_test(lists),                cmocka_unit_test(files_are_replaced_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
