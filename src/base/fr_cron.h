/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_cron.h - moments that return, as crontab(5) writes them: minute, hour, day of the month,
 * month, day of the week.
 */
#ifndef FR_CRON_H
#define FR_CRON_H

#include "base/fr_zone.h"

#include <stdbool.h>

#define FR_CRON_SPAN_MAX_S (31 * 86400LL) /* nobody asks further back */

struct fr_cron {
    uint64_t minutes;
    uint32_t hours, days, months; /* bit 0 is 0; days and months begin at bit 1 */
    uint8_t weekdays;             /* bit 0 is Sunday */
    bool any_day, any_weekday;    /* "*": if neither is, one of both is enough */
};

/* Numbers, ranges, lists, steps, "*", and mon-sun, jan-dec. False: *out_word is what cannot be. */
bool fr_cron_parse(struct fr_view text, struct fr_cron *out, struct fr_view *out_word);
/* The latest such moment in (now_s - span_s, now_s], by the zone's clocks. A time that they skip
 * comes when they skip it; one that they show twice comes the first time only. */
bool fr_cron_last(const struct fr_cron *cron, const struct fr_zone *zone, int64_t now_s,
                  int64_t span_s, int64_t *out_s);

#endif
