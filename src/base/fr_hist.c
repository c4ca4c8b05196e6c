/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_hist.c - buckets of a log-linear histogram.
 *
 *     value 0..7         bucket = value
 *     value 2^k..2^k+1   bucket = 8 * (k - 2) + the three bits below the highest
 */
#include "base/fr_hist.h"

#include "base/fr_check.h"

#include <assert.h> /* static_assert */
#include <stddef.h>

#define SUB_BITS 3
#define SUB_COUNT (1u << SUB_BITS)

static_assert(FR_HIST_BUCKETS == SUB_COUNT * (30 - SUB_BITS) + SUB_COUNT, "up to 2^30 us");

static uint32_t
bucket_of(uint64_t value_us)
{
    if (value_us < SUB_COUNT)
        return (uint32_t)value_us;
    if (value_us > FR_HIST_MAX_US)
        value_us = FR_HIST_MAX_US;
    uint32_t high = 63u - (uint32_t)__builtin_clzll(value_us);
    return SUB_COUNT * (high - SUB_BITS) + (uint32_t)(value_us >> (high - SUB_BITS));
}

static uint64_t
bucket_middle_us(uint32_t bucket)
{
    if (bucket < 2 * SUB_COUNT)
        return bucket;
    uint32_t shift = bucket / SUB_COUNT - 1;
    uint64_t low = (uint64_t)(SUB_COUNT + bucket % SUB_COUNT) << shift;
    return low + (1ull << shift) / 2;
}

void
fr_hist_record(struct fr_hist *hist, uint64_t value_us)
{
    uint32_t *count = &hist->bucket[bucket_of(value_us)];
    __atomic_store_n(count, __atomic_load_n(count, __ATOMIC_RELAXED) + 1, __ATOMIC_RELAXED);
}

void
fr_hist_read(const struct fr_hist *shared, struct fr_hist *out)
{
    for (size_t i = 0; i < FR_HIST_BUCKETS; i++)
        out->bucket[i] = __atomic_load_n(&shared->bucket[i], __ATOMIC_RELAXED);
}

void
fr_hist_add(struct fr_hist *into, const struct fr_hist *other)
{
    for (size_t i = 0; i < FR_HIST_BUCKETS; i++)
        into->bucket[i] += other->bucket[i];
}

void
fr_hist_since(struct fr_hist *into, const struct fr_hist *newer, const struct fr_hist *older)
{
    for (size_t i = 0; i < FR_HIST_BUCKETS; i++)
        into->bucket[i] = newer->bucket[i] - older->bucket[i];
}

uint64_t
fr_hist_count(const struct fr_hist *hist)
{
    uint64_t count = 0;
    for (size_t i = 0; i < FR_HIST_BUCKETS; i++)
        count += hist->bucket[i];
    return count;
}

uint64_t
fr_hist_quantile_us(const struct fr_hist *hist, double q)
{
    fr_require(q >= 0 && q <= 1);
    uint64_t count = fr_hist_count(hist);
    if (count == 0)
        return 0;
    uint64_t rank = (uint64_t)(q * (double)count);
    if (rank >= count)
        rank = count - 1;
    uint64_t seen = 0;
    for (uint32_t i = 0; i < FR_HIST_BUCKETS; i++) {
        seen += hist->bucket[i];
        if (seen > rank)
            return bucket_middle_us(i);
    }
    return FR_HIST_MAX_US;
}
