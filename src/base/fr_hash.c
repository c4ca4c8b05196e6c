/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_hash.c - SipHash-1-3 with 64 and 128 bits of output, and xoshiro256**.
 *
 * Follows:  Aumasson and Bernstein, "SipHash: a fast short-input PRF" (2012), one compression and
 *           three finalisation rounds; Blackman and Vigna, "Scrambled Linear Pseudorandom Number
 *           Generators" (2021), seeded by splitmix64.
 */
#include "base/fr_hash.h"

#include "base/fr_check.h"

#include <string.h>
#include <sys/random.h>

static uint64_t
rotl(uint64_t x, int bits)
{
    return (x << bits) | (x >> (64 - bits));
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static inline void
sip_round(struct sip *s)
{
    s->v0 += s->v1;
    s->v1 = rotl(s->v1, 13) ^ s->v0;
    s->v0 = rotl(s->v0, 32);
    s->v2 += s->v3;
    s->v3 = rotl(s->v3, 16) ^ s->v2;
    s->v0 += s->v3;
    s->v3 = rotl(s->v3, 21) ^ s->v0;
    s->v2 += s->v1;
    s->v1 = rotl(s->v1, 17) ^ s->v2;
    s->v2 = rotl(s->v2, 32);
}

static inline void
sip_take(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_round(s);
    s->v0 ^= word;
}

/* Fewer than eight, by copies of lengths that the compiler knows: no call. */
static inline uint64_t
last_bytes(const unsigned char *at, size_t count)
{
    uint64_t word = 0;
    unsigned char *into = (unsigned char *)&word;
    if (count & 4) {
        memcpy(into, at, 4);
        into += 4;
        at += 4;
    }
    if (count & 2) {
        memcpy(into, at, 2);
        into += 2;
        at += 2;
    }
    if (count & 1)
        *into = *at;
    return word;
}

static struct sip
sip_absorb(const struct fr_hash_key *key, const void *ptr, size_t len, uint64_t v1_tweak)
{
    struct sip s = {
        .v0 = key->k0 ^ 0x736f6d6570736575ull,
        .v1 = key->k1 ^ 0x646f72616e646f6dull ^ v1_tweak,
        .v2 = key->k0 ^ 0x6c7967656e657261ull,
        .v3 = key->k1 ^ 0x7465646279746573ull,
    };
    const unsigned char *at = ptr;
    for (size_t left = len; left >= 8; left -= 8, at += 8) {
        uint64_t word;
        memcpy(&word, at, 8);
        sip_take(&s, word);
    }
    sip_take(&s, last_bytes(at, len & 7) | (uint64_t)len << 56);
    return s;
}

static inline uint64_t
sip_squeeze(struct sip *s)
{
    sip_round(s);
    sip_round(s);
    sip_round(s);
    return s->v0 ^ s->v1 ^ s->v2 ^ s->v3;
}

void
fr_hash_key_random(struct fr_hash_key *out)
{
    /* 16 bytes never come short; it fails only before the kernel's pool is up, long before us. */
    ssize_t got = getrandom(out, sizeof(*out), 0);
    fr_insist(got == (ssize_t)sizeof(*out));
}

uint64_t
fr_hash64(const struct fr_hash_key *key, const void *ptr, size_t len)
{
    struct sip s = sip_absorb(key, ptr, len, 0);
    s.v2 ^= 0xff;
    return sip_squeeze(&s);
}

struct fr_hash128
fr_hash128(const struct fr_hash_key *key, const void *ptr, size_t len)
{
    struct sip s = sip_absorb(key, ptr, len, 0xee);
    struct fr_hash128 out;
    s.v2 ^= 0xee;
    out.lo = sip_squeeze(&s);
    s.v1 ^= 0xdd;
    out.hi = sip_squeeze(&s);
    return out;
}

void
fr_rand_init(struct fr_rand *rand, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15ull;
        uint64_t z = seed;
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
        rand->s[i] = z ^ (z >> 31);
    }
}

void
fr_rand_init_random(struct fr_rand *rand)
{
    struct fr_hash_key seed;
    fr_hash_key_random(&seed);
    fr_rand_init(rand, seed.k0 ^ seed.k1);
}

uint64_t
fr_rand_next(struct fr_rand *rand)
{
    uint64_t *s = rand->s;
    uint64_t result = rotl(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint32_t
fr_rand_below(struct fr_rand *rand, uint32_t limit)
{
    fr_require(limit > 0);
    return (uint32_t)(((fr_rand_next(rand) >> 32) * limit) >> 32);
}

double
fr_rand_unit(struct fr_rand *rand)
{
    return (double)(fr_rand_next(rand) >> 11) * 0x1.0p-53;
}
