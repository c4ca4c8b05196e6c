/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_zone.h - the rules of one time zone, and wall-clock time to and from UTC by them. Pure: who
 * wants a zone reads its file and gives the bytes.
 */
#ifndef FR_ZONE_H
#define FR_ZONE_H

#include "base/fr_err.h"
#include "base/fr_view.h"

#include <stddef.h>
#include <stdint.h>

#define FR_ZONE_CHANGES_MAX 512      /* kept; a file may have older ones */
#define FR_ZONE_FILE_BYTES_MAX 65536 /* the largest of the tz database has 4 KiB */
#define FR_ZONE_YEAR_LAST 2099       /* rules are followed until then */

/* Zeroed: UTC. */
struct fr_zone {
    size_t count;
    int32_t first_offset_s; /* before the first change; seconds east of UTC */
    struct fr_zone_change {
        int64_t at_s; /* seconds since 1970 */
        int32_t offset_s;
    } change[FR_ZONE_CHANGES_MAX]; /* in order */
};

/* A file of the tz database (TZif, RFC 8536), of version 2 or later. */
FR_MUST_USE enum fr_err fr_zone_parse(struct fr_view file, struct fr_zone *out);
int32_t fr_zone_offset_s(const struct fr_zone *zone, int64_t utc_s);
/* The first moment at which clocks show `local_s` or, where they skip it, the moment at which they
 * skip it. Never falls as local_s rises. */
int64_t fr_zone_to_utc_s(const struct fr_zone *zone, int64_t local_s);

/* Days since 1970-01-01 of a date of the Gregorian calendar, and back. */
int64_t fr_zone_days(int64_t year, unsigned month, unsigned day);
void fr_zone_date(int64_t days, int64_t *out_year, unsigned *out_month, unsigned *out_day);

#endif
