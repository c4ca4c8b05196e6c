/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_err.c - errors: names, kinds, and what errno becomes.
 */
#include "base/fr_err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
errors(void **state)
{
    (void)state;
    assert_string_equal(fr_err_name(FR_ERR_POOL_EMPTY), "POOL_EMPTY");
    assert_int_equal(fr_err_kind(FR_ERR_CONFIG), FR_KIND_CONFIG);
    assert_string_equal(fr_err_name((enum fr_err) - 9999), "UNKNOWN");
    assert_int_equal(fr_err_from_errno(-111), FR_ERR_REFUSED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
