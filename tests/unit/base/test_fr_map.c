/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_map.c - maps, against a plain array that knows what should be there.
 */
#include "base/fr_map.h"
#include "base/fr_hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(map_against_an_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
