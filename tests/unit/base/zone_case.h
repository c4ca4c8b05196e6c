/* SPDX-License-Identifier: Apache-2.0 */
/*
 * zone_case.h - a file of the tz database without a change in it: two headers, one type, a rule.
 */
#ifndef ZONE_CASE_H
#define ZONE_CASE_H

#include "base/fr_check.h"
#include "base/fr_zone.h"

#include <string.h>

#define ZONE_CASE_BYTES_MAX 256

static inline struct fr_view
zone_case_file(const char *rule, char out[ZONE_CASE_BYTES_MAX])
{
    size_t len = 0;

    memset(out, 0, ZONE_CASE_BYTES_MAX);
    for (size_t half = 0; half < 2; half++) {
        memcpy(out + len, "TZif2", 5);
        out[len + 39] = 1; /* one type */
        out[len + 43] = 4; /* letters of its name */
        memcpy(out + len + 44 + 6, "LMT", 4);
        len += 44 + 6 + 4;
    }
    out[len++] = '\n';
    memcpy(out + len, rule, strlen(rule));
    len += strlen(rule);
    out[len++] = '\n';
    return fr_view_make(out, len);
}

static inline void
zone_case_make(const char *rule, struct fr_zone *out)
{
    char file[ZONE_CASE_BYTES_MAX];
    fr_require(fr_zone_parse(zone_case_file(rule, file), out) == FR_OK);
}

#define ZONE_CASE_BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"

#endif
