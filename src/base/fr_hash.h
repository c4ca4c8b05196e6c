/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_hash.h - keyed hashing that foreign keys cannot flood, and random numbers.
 *
 * Follows:  Aumasson and Bernstein, "SipHash" (SipHash-1-3, 64 and 128 bits);
 *           Blackman and Vigna, xoshiro256**.
 */
#ifndef FR_HASH_H
#define FR_HASH_H

#include <stddef.h>
#include <stdint.h>

struct fr_hash_key {
    uint64_t k0, k1;
};
struct fr_hash128 {
    uint64_t lo, hi;
};

void fr_hash_key_random(struct fr_hash_key *out); /* from the kernel */
uint64_t fr_hash64(const struct fr_hash_key *key, const void *ptr, size_t len);
struct fr_hash128 fr_hash128(const struct fr_hash_key *key, const void *ptr, size_t len);

/* Not for secrets. One a thread. */
struct fr_rand {
    uint64_t s[4];
};
void fr_rand_init(struct fr_rand *rand, uint64_t seed);
void fr_rand_init_random(struct fr_rand *rand);
uint64_t fr_rand_next(struct fr_rand *rand);
uint32_t fr_rand_below(struct fr_rand *rand, uint32_t limit); /* 0 <= x < limit, limit > 0 */
double fr_rand_unit(struct fr_rand *rand);                    /* 0 <= x < 1 */

#endif
