/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_hash.c - hashes with known answers, random numbers that are spread.
 */
#include "base/fr_hash.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hash_known_answers),
        cmocka_unit_test(random_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
