/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_time.c - the only place that reads clocks.
 */
#include "base/fr_time.h"

#include <stdio.h>
#include <time.h>

static int64_t
clock_us(clockid_t id)
{
    struct timespec ts = {0};
    (void)clock_gettime(id, &ts); /* fails only for unknown ids */
    return (int64_t)ts.tv_sec * FR_US_PER_S + ts.tv_nsec / 1000;
}

int64_t
fr_clock_mono_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

int64_t
fr_clock_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t
fr_clock_cpu_us(clockid_t id)
{
    return clock_us(id);
}

int64_t
fr_clock_process_cpu_us(void)
{
    return clock_us(CLOCK_PROCESS_CPUTIME_ID);
}

/* Two digits and what follows them. */
static char *
put_two(char *at, unsigned number, char after)
{
    at[0] = (char)('0' + number / 10);
    at[1] = (char)('0' + number % 10);
    at[2] = after;
    return at + 3;
}

/* Without printf: the access log has one a line. */
void
fr_time_format_iso(int64_t wall_us, char out[FR_TIME_ISO_BYTES])
{
    time_t s = (time_t)(wall_us / FR_US_PER_S);
    struct tm tm;
    if (wall_us < 0 || gmtime_r(&s, &tm) == NULL || tm.tm_year > 8099) {
        (void)snprintf(out, FR_TIME_ISO_BYTES, "1970-01-01T00:00:00.000Z");
        return;
    }
    unsigned year = (unsigned)(tm.tm_year + 1900);
    char *at = put_two(out, year / 100, '\0') - 1;
    at = put_two(at, year % 100, '-');
    at = put_two(at, (unsigned)tm.tm_mon + 1, '-');
    at = put_two(at, (unsigned)tm.tm_mday, 'T');
    at = put_two(at, (unsigned)tm.tm_hour, ':');
    at = put_two(at, (unsigned)tm.tm_min, ':');
    at = put_two(at, (unsigned)tm.tm_sec, '.');
    unsigned ms = (unsigned)(wall_us % FR_US_PER_S / FR_US_PER_MS);
    *at++ = (char)('0' + ms / 100);
    *put_two(at, ms % 100, 'Z') = '\0';
}

/* Reads `digits` decimal digits and the byte that must follow them (0: none). */
static bool
take_number(struct fr_view *text, size_t digits, char after, int low, int high, int *out)
{
    uint64_t value = 0;
    size_t used = digits + (after ? 1 : 0);
    if (text->len < used || !fr_view_u64(fr_view_make(text->ptr, digits), &value))
        return false;
    if (after && text->ptr[digits] != after)
        return false;
    if ((int64_t)value < low || (int64_t)value > high)
        return false;
    *text = fr_view_make(text->ptr + used, text->len - used);
    *out = (int)value;
    return true;
}

bool
fr_time_parse_iso(struct fr_view text, int64_t *out_wall_us)
{
    struct tm tm = {0};
    int year = 0;
    if (!take_number(&text, 4, '-', 1970, 9999, &year) ||
        !take_number(&text, 2, '-', 1, 12, &tm.tm_mon) ||
        !take_number(&text, 2, 'T', 1, 31, &tm.tm_mday) ||
        !take_number(&text, 2, ':', 0, 23, &tm.tm_hour) ||
        !take_number(&text, 2, ':', 0, 59, &tm.tm_min) ||
        !take_number(&text, 2, 0, 0, 59, &tm.tm_sec))
        return false;
    int64_t fraction_us = 0;
    if (text.len && text.ptr[0] == '.') {
        int64_t unit = 100000;
        size_t i = 1;
        for (; i < text.len && text.ptr[i] >= '0' && text.ptr[i] <= '9'; i++, unit /= 10)
            fraction_us += (text.ptr[i] - '0') * unit;
        if (i == 1 || i > 10)
            return false;
        text = fr_view_make(text.ptr + i, text.len - i);
    }
    if (!fr_view_is(text, "Z"))
        return false;
    int day = tm.tm_mday;
    tm.tm_year = year - 1900;
    tm.tm_mon -= 1;
    int64_t s = (int64_t)timegm(&tm);
    if (tm.tm_mday != day) /* timegm made 2 March of 30 February */
        return false;
    *out_wall_us = s * FR_US_PER_S + fraction_us;
    return true;
}

int64_t
fr_pace_wait_us(const struct fr_pace *pace, int64_t now_us, int64_t gap_us, unsigned burst)
{
    int64_t credit_us = burst > 0 ? (int64_t)(burst - 1) * gap_us : 0;
    int64_t wait_us = pace->due_us - now_us - credit_us;
    return wait_us > 0 ? wait_us : 0;
}

void
fr_pace_take(struct fr_pace *pace, int64_t now_us, int64_t gap_us)
{
    if (pace->due_us < now_us)
        pace->due_us = now_us;
    pace->due_us += gap_us;
}
