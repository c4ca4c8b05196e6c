/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_put.c - numbers and texts by hand are what printf would have made.
 */
#include "base/fr_put.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static void
put_is(uint64_t number)
{
    char decimal[FR_PUT_U64_BYTES + 1] = {0}, hex[17] = {0}, want[32];
    char *end = fr_put_u64(decimal, number);
    (void)snprintf(want, sizeof(want), "%llu", (unsigned long long)number);
    assert_string_equal(decimal, want);
    assert_ptr_equal(end, decimal + strlen(want));
    assert_ptr_equal(fr_put_hex64(hex, number), hex + 16);
    (void)snprintf(want, sizeof(want), "%016llx", (unsigned long long)number);
    assert_string_equal(hex, want);
}

static void
octets(void **state)
{
    static const unsigned char bytes[] = {0x00, 0x0f, 0x9a, 0xf0, 0xff};
    char hex[12] = "............";
    (void)state;
    assert_ptr_equal(fr_put_hex(hex, bytes, 0), hex);
    assert_ptr_equal(fr_put_hex(hex, bytes, sizeof(bytes)), hex + 10);
    assert_memory_equal(hex, "000f9af0ff..", 12);
}

static void
numbers(void **state)
{
    (void)state;
    uint64_t number = 1;
    put_is(0);
    put_is(UINT64_MAX);
    put_is(0x0123456789abcdefu);
    put_is(0xfedcba9876543210u);
    for (int i = 0; i < 64; i++) {
        put_is((uint64_t)1 << i);
        put_is(((uint64_t)1 << i) - 1);
        number = number * 6364136223846793005u + 1442695040888963407u;
        put_is(number >> i);
    }
    for (uint64_t power = 1; power < UINT64_MAX / 10; power *= 10) {
        put_is(power);
        put_is(power - 1);
    }
}

static void
texts(void **state)
{
    (void)state;
    char out[16] = "................";
    char *at = FR_PUT(out, "abc");
    at = fr_put(at, (struct fr_view){NULL, 0});
    at = fr_put(at, FR_VIEW("de"));
    assert_ptr_equal(at, out + 5);
    assert_memory_equal(out, "abcde...", 8);
}

/* Every octet at every place of a step, and what does not fill one. */
static void
lower(void **state)
{
    (void)state;
    char in[256 + 7], out[sizeof(in)], want[sizeof(in)];
    for (size_t shift = 0; shift < 8; shift++) {
        for (size_t i = 0; i < sizeof(in); i++)
            in[i] = (char)(i + shift);
        for (size_t len = 0; len < sizeof(in); len++) {
            for (size_t i = 0; i < len; i++)
                want[i] = (char)(in[i] >= 'A' && in[i] <= 'Z' ? in[i] + 'a' - 'A' : in[i]);
            assert_ptr_equal(fr_put_lower(out, (struct fr_view){in, len}), out + len);
            assert_int_equal(memcmp(out, want, len), 0);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(octets), cmocka_unit_test(numbers),
                                       cmocka_unit_test(texts), cmocka_unit_test(lower)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
