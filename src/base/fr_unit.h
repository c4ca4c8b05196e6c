/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_unit.h - quantities with units, as people write them.
 */
#ifndef FR_UNIT_H
#define FR_UNIT_H

#include "base/fr_view.h"

/* "250us" "10ms" "1.5s" "2min" "1h" "7d"; a bare 0 is allowed, any other bare number is not. */
bool fr_unit_parse_duration(struct fr_view text, int64_t *out_us);
/* "4096" "64KiB" "256MiB" "1GiB" "10kB" "5MB" "1GB" (decimal for kB, MB, GB). */
bool fr_unit_parse_bytes(struct fr_view text, uint64_t *out_bytes);
/* "0.8" or "80%": 0.8. Not bounded to 1. */
bool fr_unit_parse_ratio(struct fr_view text, double *out);

#define FR_UNIT_TEXT_BYTES 32
/* The shortest exact notation: 1500000 us is "1500ms". */
void fr_unit_format_duration(int64_t us, char out[FR_UNIT_TEXT_BYTES]);
void fr_unit_format_bytes(uint64_t bytes, char out[FR_UNIT_TEXT_BYTES]);

#endif
