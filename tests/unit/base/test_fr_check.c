/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_check.c - counted checks.
 */
#include "base/fr_check.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
count_visit(void *ctx, const struct fr_count_site *site)
{
    *(uint64_t *)ctx += site->count;
}

static void
strange_events_are_counted(void **state)
{
    (void)state;
    uint64_t seen = 0;
    for (int i = 0; i < 5; i++)
        (void)fr_count_if(i > 2);
    fr_count_each(count_visit, &seen);
    assert_int_equal(seen, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strange_events_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
