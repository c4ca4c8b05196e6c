/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_buf.c - buffers: their limit, and memory that runs out.
 */
#include "base/fr_buf.h"
#include "base/fr_mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void
buffers(void **state)
{
    (void)state;
    struct fr_buf buf;
    fr_buf_init(&buf, 10);
    assert_int_equal(fr_buf_append(&buf, "0123456789", 10), FR_OK);
    assert_int_equal(fr_buf_append(&buf, "x", 1), FR_ERR_FULL);
    assert_int_equal(buf.len, 10);
    fr_buf_consume(&buf, 4);
    assert_string_equal(buf.data, "456789");
    assert_int_equal(fr_buf_printf(&buf, "%s", "abcde"), FR_ERR_FULL);
    assert_int_equal(fr_buf_printf(&buf, "%s", "abcd"), FR_OK);
    assert_string_equal(buf.data, "456789abcd");
    fr_buf_fini(&buf);
    fr_mem_fail_after(1);
    assert_int_equal(fr_buf_append(&buf, "x", 1), FR_ERR_NOMEM);
    assert_int_equal(buf.len, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
