/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_arena.c - arenas: chunks, their limit, reuse.
 */
#include "base/fr_arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
arenas(void **state)
{
    (void)state;
    struct fr_arena arena;
    fr_arena_init(&arena, 64, 256);
    char *a = fr_arena_dup(&arena, FR_VIEW("hello"));
    assert_string_equal(a, "hello");
    assert_non_null(fr_arena_alloc(&arena, 128));
    assert_null(fr_arena_alloc(&arena, 128));
    assert_null(fr_arena_alloc(&arena, 257));
    fr_arena_reset(&arena);
    assert_non_null(fr_arena_alloc(&arena, 192));
    fr_arena_fini(&arena);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arenas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
