/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_be.h - whole numbers on a wire or in a file, the most significant octet first.
 *
 * Cost:       where the count of octets is a constant, as it nearly always is, a load and a swap.
 */
#ifndef FR_BE_H
#define FR_BE_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* At most eight octets. */
static inline uint64_t
fr_be_get(const void *from, size_t bytes)
{
    uint64_t number = 0;
    memcpy((char *)&number + sizeof(number) - bytes, from, bytes);
    return be64toh(number);
}

/* What is above them is left out. */
static inline void
fr_be_put(void *to, uint64_t number, size_t bytes)
{
    number = htobe64(number);
    memcpy(to, (const char *)&number + sizeof(number) - bytes, bytes);
}

#endif
