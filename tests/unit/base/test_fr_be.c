/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_be.c - numbers of one to eight octets, there and back.
 */
#include "base/fr_be.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define NUMBER UINT64_C(0xf1e2d3c4b5a69788)

static void
each_length_there_and_back(void **state)
{
    static const char octets[] = "\xf1\xe2\xd3\xc4\xb5\xa6\x97\x88";
    (void)state;
    for (size_t bytes = 0; bytes <= 8; bytes++) {
        char at[10] = "..........";
        uint64_t want = bytes < 8 ? NUMBER & ((UINT64_C(1) << 8 * bytes) - 1) : NUMBER;
        fr_be_put(at + 1, NUMBER, bytes);
        assert_memory_equal(at + 1, octets + 8 - bytes, bytes);
        assert_true(at[0] == '.' && at[bytes + 1] == '.');
        assert_int_equal(fr_be_get(at + 1, bytes), want);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_length_there_and_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
