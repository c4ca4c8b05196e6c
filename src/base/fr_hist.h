/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_hist.h - mergeable latency histograms: log-linear buckets over microseconds.
 *
 * Shape:    eight buckets to each power of two: a quantile is at most 6.25 % off (the middle of
 *           its bucket is given). Values over FR_HIST_MAX_US count as that.
 * Threads:  one writer (the worker); any thread may read a copy: relaxed atomics.
 * Memory:   896 bytes.
 * Follows:  Tene, HdrHistogram (bucket layout).
 */
#ifndef FR_HIST_H
#define FR_HIST_H

#include <stdint.h>

#define FR_HIST_BUCKETS 224
#define FR_HIST_MAX_US ((uint64_t)((1u << 30) - 1))

/* Cumulative counts; wraps are harmless to differences. */
struct fr_hist {
    uint32_t bucket[FR_HIST_BUCKETS]; /* relaxed atomics while shared */
};

void fr_hist_record(struct fr_hist *hist, uint64_t value_us);         /* Cost: no call, no lock */
void fr_hist_read(const struct fr_hist *shared, struct fr_hist *out); /* copy of a shared one */
void fr_hist_add(struct fr_hist *into, const struct fr_hist *other);
/* into = newer - older, bucket by bucket: what happened in between. */
void fr_hist_since(struct fr_hist *into, const struct fr_hist *newer, const struct fr_hist *older);
uint64_t fr_hist_count(const struct fr_hist *hist);
/* q in 0..1; 0 when empty. */
uint64_t fr_hist_quantile_us(const struct fr_hist *hist, double q);

#endif
