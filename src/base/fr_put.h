/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_put.h - text written into room that was reserved for the most needed: no format is read.
 *
 * Each returns where what it wrote ends. There is no NUL.
 */
#ifndef FR_PUT_H
#define FR_PUT_H

#include "base/fr_view.h"

#include <stdint.h>
#include <string.h>

#define FR_PUT_U64_BYTES 20 /* the longest number */

static inline char *
fr_put(char *at, struct fr_view view)
{
    if (view.len)
        memcpy(at, view.ptr, view.len);
    return at + view.len;
}

/* A literal, whose length the compiler knows. */
#define FR_PUT(at, literal) fr_put((at), FR_VIEW(literal))

static inline char *
fr_put_u64(char *at, uint64_t number)
{
    size_t count = 1;
    for (uint64_t limit = 10; number >= limit && count < FR_PUT_U64_BYTES; limit *= 10)
        count++; /* the last limit wraps, which no one looks at */
    for (size_t i = count; i-- > 0; number /= 10)
        at[i] = (char)('0' + number % 10);
    return at + count;
}

/* Eight octets; letters of ASCII in lower case, what is not ASCII as it is. */
static inline uint64_t
fr_lower8(uint64_t x)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t low = x & ones * 0x7f; /* so that no sum reaches the next octet */
    uint64_t from_a = low + ones * (0x80 - 'A'), past_z = low + ones * (0x7f - 'Z');
    return x | (from_a & ~past_z & ~x & ones * 0x80) >> 2;
}

static inline void
fr_put_lower_some(char *at, const char *from, size_t bytes)
{
    uint64_t x = 0;
    memcpy(&x, from, bytes);
    x = fr_lower8(x);
    memcpy(at, &x, bytes);
}

/* A view in steps of a fixed length, of which the last one takes some octets once more. */
static inline __attribute__((always_inline)) char *
fr_put_lower(char *at, struct fr_view view)
{
    size_t i = 0;
    if (view.len >= 8) {
        for (; view.len - i > 8; i += 8)
            fr_put_lower_some(at + i, view.ptr + i, 8);
        fr_put_lower_some(at + view.len - 8, view.ptr + view.len - 8, 8);
    } else if (view.len >= 4) {
        fr_put_lower_some(at, view.ptr, 4);
        fr_put_lower_some(at + view.len - 4, view.ptr + view.len - 4, 4);
    } else {
        for (; i < view.len; i++)
            fr_put_lower_some(at + i, view.ptr + i, 1);
    }
    return at + view.len;
}

/* Two digits an octet, lower case. */
static inline char *
fr_put_hex(char *at, const void *bytes, size_t count)
{
    const unsigned char *from = bytes;
    for (size_t i = 0; i < count; i++) {
        *at++ = "0123456789abcdef"[from[i] >> 4];
        *at++ = "0123456789abcdef"[from[i] & 15];
    }
    return at;
}

typedef uint8_t fr_octets16 __attribute__((vector_size(16)));
typedef uint64_t fr_words2 __attribute__((vector_size(16)));

/* Sixteen digits, lower case: one nibble an octet, all made digits at once. */
static inline char *
fr_put_hex64(char *at, uint64_t number)
{
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    number = __builtin_bswap64(number);
#endif
    fr_octets16 octets = (fr_octets16)(fr_words2){number, 0};
    fr_octets16 high = octets >> 4, low = octets & 15;
    fr_octets16 digits =
        __builtin_shufflevector(high, low, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    digits += '0' + ((fr_octets16)(digits > 9) & ('a' - '9' - 1));
    memcpy(at, &digits, sizeof(digits));
    return at + sizeof(digits);
}

#endif
