/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hpack_huffman.c - texts in Huffman's code, read.
 *
 * May touch:  base.
 * Trusts:     nothing: padding longer than seven bits or of anything but ones, and the code that
 *             stands for the end of a text, are errors.
 * Cost:       a comparison for each length of code up to the symbol's, one to four as texts go; no
 *             large table, which would take the place of something else in the cache.
 * Follows:    RFC 7541 section 5.2 and appendix B.
 *
 * The code is canonical: of symbols in the order of their codes' lengths, and within a length of
 * their numbers, the codes follow one another. So a length is told by where its codes end, and a
 * symbol by how far its code is from the first of that length.
 */
#include "http/hpack.h"

/* Codes as the upper bits of 32; `end` is the first one behind those of this length. */
static const struct length {
    uint32_t bits, first, end;
    uint32_t symbol; /* where the first one's is in the table below */
} lengths[] = {
    {5, 0x0u, 0x50000000u, 0},           {6, 0x50000000u, 0xb8000000u, 10},
    {7, 0xb8000000u, 0xf8000000u, 36},   {8, 0xf8000000u, 0xfe000000u, 68},
    {10, 0xfe000000u, 0xff400000u, 74},  {11, 0xff400000u, 0xffa00000u, 79},
    {12, 0xffa00000u, 0xffc00000u, 82},  {13, 0xffc00000u, 0xfff00000u, 84},
    {14, 0xfff00000u, 0xfff80000u, 90},  {15, 0xfff80000u, 0xfffe0000u, 92},
    {19, 0xfffe0000u, 0xfffe6000u, 95},  {20, 0xfffe6000u, 0xfffee000u, 98},
    {21, 0xfffee000u, 0xffff4800u, 106}, {22, 0xffff4800u, 0xffffb000u, 119},
    {23, 0xffffb000u, 0xffffea00u, 145}, {24, 0xffffea00u, 0xfffff600u, 174},
    {25, 0xfffff600u, 0xfffff800u, 186}, {26, 0xfffff800u, 0xfffffbc0u, 190},
    {27, 0xfffffbc0u, 0xfffffe20u, 205}, {28, 0xfffffe20u, 0xfffffff0u, 224},
    {30, 0xfffffff0u, 0xfffffffcu, 253},
};

#define BEYOND 0xfffffffcu /* the end of a text, which no text contains */

static const uint8_t symbols[256] = {
    48,  49,  50,  97,  99,  101, 105, 111, 115, 116, 32,  37,  45,  46,  47,  51,  52,  53,  54,
    55,  56,  57,  61,  65,  95,  98,  100, 102, 103, 104, 108, 109, 110, 112, 114, 117, 58,  66,
    67,  68,  69,  70,  71,  72,  73,  74,  75,  76,  77,  78,  79,  80,  81,  82,  83,  84,  85,
    86,  87,  89,  106, 107, 113, 118, 119, 120, 121, 122, 38,  42,  44,  59,  88,  90,  33,  34,
    40,  41,  63,  39,  43,  124, 35,  62,  0,   36,  64,  91,  93,  126, 94,  125, 60,  96,  123,
    92,  195, 208, 128, 130, 131, 162, 184, 194, 224, 226, 153, 161, 167, 172, 176, 177, 179, 209,
    216, 217, 227, 229, 230, 129, 132, 133, 134, 136, 146, 154, 156, 160, 163, 164, 169, 170, 173,
    178, 181, 185, 186, 187, 189, 190, 196, 198, 228, 232, 233, 1,   135, 137, 138, 139, 140, 141,
    143, 147, 149, 150, 151, 152, 155, 157, 158, 165, 166, 168, 174, 175, 180, 182, 183, 188, 191,
    197, 231, 239, 9,   142, 144, 145, 148, 159, 171, 206, 215, 225, 236, 237, 199, 207, 234, 235,
    192, 193, 200, 201, 202, 205, 210, 213, 218, 219, 238, 240, 242, 243, 255, 203, 204, 211, 212,
    214, 221, 222, 223, 241, 244, 245, 246, 247, 248, 250, 251, 252, 253, 254, 2,   3,   4,   5,
    6,   7,   8,   11,  12,  14,  15,  16,  17,  18,  19,  20,  21,  23,  24,  25,  26,  27,  28,
    29,  30,  31,  127, 220, 249, 10,  13,  22,
};

/* What is left when no octet is: less than one, of ones. */
static bool
is_padding(uint64_t bits, unsigned count)
{
    return count < 8 && (count == 0 || bits >> (64 - count) == (1u << count) - 1);
}

bool
hpack_huffman_decode(struct fr_view coded, char *out, size_t *out_len)
{
    const uint8_t *at = (const uint8_t *)coded.ptr, *end = at + coded.len;
    uint64_t bits = 0; /* those that were read and not taken, uppermost */
    unsigned count = 0;
    char *to = out;
    for (;;) {
        for (; count <= 56 && at < end; count += 8)
            bits |= (uint64_t)*at++ << (56 - count);
        if (at == end && is_padding(bits, count))
            break;
        uint32_t code = (uint32_t)(bits >> 32);
        const struct length *length = lengths;
        if (code >= BEYOND)
            return false;
        while (code >= length->end)
            length++;
        if (length->bits > count)
            return false;
        *to++ = (char)symbols[length->symbol + ((code - length->first) >> (32 - length->bits))];
        bits <<= length->bits;
        count -= length->bits;
    }
    *out_len = (size_t)(to - out);
    return true;
}
