/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_date.c - fuzzes the reader of HTTP dates.
 *
 * Shape:  8 bytes of a clock, then the text of a date.
 * Judged: by the C library's calendar, which was written by others; and by what is written of a
 *         time being read as that time again.
 */
#include "http/http.h"

#include "base/fr_check.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define DATE_BYTES_MAX 64 /* the longest date has 33 */
#define LAST_S INT64_C(253402300799)
#define DAY_S 86400

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int
month_of(const char *name)
{
    static const char names[] = "janfebmaraprmayjunjulaugsepoctnovdec";
    for (int i = 0; i < 12; i++)
        if (strncasecmp(name, names + (size_t)i * 3, 3) == 0)
            return i;
    fr_insist(false); /* no month */
    return 0;
}

static int64_t
seconds_of(int year, const char *month, int day, const int clock[3])
{
    struct tm tm = {.tm_year = year - 1900, .tm_mon = month_of(month), .tm_mday = day};
    return (int64_t)timegm(&tm) + clock[0] * 3600 + clock[1] * 60 + clock[2];
}

/* Of two digits: the year that lies at most 50 years ahead of the clock. */
static int
century_of(int two, int64_t now_s)
{
    struct tm now;
    time_t t = (time_t)now_s;
    fr_insist(gmtime_r(&t, &now));
    int year = now.tm_year + 1900;
    int full = year - year % 100 + two;
    return full > year + 50 ? full - 100 : full;
}

/* The text, which was read, by another reader. */
static int64_t
other_reading(const char *text, int64_t now_s)
{
    char month[8];
    int day, year, clock[3];
    if (sscanf(text, "%*3[a-zA-Z], %d %3s %d %d:%d:%d", &day, month, &year, &clock[0], &clock[1],
               &clock[2]) == 6)
        return seconds_of(year, month, day, clock);
    if (sscanf(text, "%*[a-zA-Z], %d-%3s-%d %d:%d:%d", &day, month, &year, &clock[0], &clock[1],
               &clock[2]) == 6)
        return seconds_of(century_of(year, now_s), month, day, clock);
    fr_insist(sscanf(text, "%*3s %3s %d %d:%d:%d %d", month, &day, &clock[0], &clock[1], &clock[2],
                     &year) == 6);
    return seconds_of(year, month, day, clock);
}

static void
check_written(int64_t s)
{
    char text[HTTP_DATE_BYTES];
    int64_t again = -1;
    http_date_format(s, text);
    fr_insist(strlen(text) == HTTP_DATE_BYTES - 1);
    fr_insist(http_date_parse(fr_view_of(text), 0, &again));
    fr_insist(again == (s < 0 ? 0 : s > LAST_S ? LAST_S : s));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t now_s, s;
    char text[DATE_BYTES_MAX + 1];
    if (size < sizeof(now_s) || size - sizeof(now_s) > DATE_BYTES_MAX)
        return 0;
    memcpy(&now_s, data, sizeof(now_s));
    check_written(now_s);
    now_s = (int64_t)((uint64_t)now_s % (uint64_t)LAST_S); /* what a clock of the day shows */
    size_t len = size - sizeof(now_s);
    memcpy(text, data + sizeof(now_s), len);
    text[len] = '\0';
    if (!http_date_parse(fr_view_make((const char *)data + sizeof(now_s), len), now_s, &s))
        return 0;
    fr_insist(!memchr(text, '\0', len));
    fr_insist(s == other_reading(text, now_s));
    if (s >= 0 && s <= LAST_S)
        check_written(s);
    return 0;
}
