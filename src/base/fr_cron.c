/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_cron.c - reads the five fields of a crontab line, and finds when they were last the case.
 *
 * May touch:  nothing.
 * Cost:       fr_cron_last: a look a day of the span, and one a minute for three hours at most.
 * Follows:    crontab(5) of Debian's cron: a day fits when the day of the month or of the week
 *             does, where both are restricted.
 */
#include "base/fr_cron.h"

#include <string.h>

#define DAY_S 86400
#define SHIFT_MAX_S (3 * 3600) /* clocks are never put back further */

static const char *const month_names = "jan feb mar apr may jun jul aug sep oct nov dec ";
static const char *const weekday_names = "sun mon tue wed thu fri sat ";

/* A number, or a name of three letters out of `names`, the first of which is `low`. */
static bool
take_value(struct fr_view *text, const char *names, unsigned low, unsigned high, unsigned *out)
{
    size_t len = 0;
    unsigned value = 0;

    while (len < text->len && len < 3 && text->ptr[len] >= '0' && text->ptr[len] <= '9')
        value = value * 10 + (unsigned)(text->ptr[len++] - '0');
    for (size_t i = 0; len == 0 && names && text->len >= 3 && names[i * 4]; i++)
        if (fr_view_ieq(fr_view_make(text->ptr, 3), fr_view_make(names + i * 4, 3))) {
            value = low + (unsigned)i;
            len = 3;
        }
    *text = fr_view_make(text->ptr + len, text->len - len);
    *out = value;
    return len > 0 && value >= low && value <= high;
}

/* "*", "5", "1-5", each with "/2" or without. */
static bool
take_range(struct fr_view text, const char *names, unsigned low, unsigned high, uint64_t *bits)
{
    unsigned from = low;
    unsigned to = high;
    unsigned step = 1;

    if (text.len > 0 && text.ptr[0] == '*') {
        text = fr_view_make(text.ptr + 1, text.len - 1);
    } else {
        if (!take_value(&text, names, low, high, &from))
            return false;
        to = from;
        if (text.len > 0 && text.ptr[0] == '-') {
            text = fr_view_make(text.ptr + 1, text.len - 1);
            if (!take_value(&text, names, low, high, &to) || to < from)
                return false;
        }
    }
    if (text.len > 0 && text.ptr[0] == '/') {
        text = fr_view_make(text.ptr + 1, text.len - 1);
        if (!take_value(&text, NULL, 1, high, &step))
            return false;
    }
    for (unsigned value = from; value <= to; value += step)
        *bits |= 1ULL << value;
    return text.len == 0;
}

static bool
take_field(struct fr_view field, const char *names, unsigned low, unsigned high, uint64_t *out)
{
    struct fr_view item;

    *out = 0;
    if (field.len == 0 || field.ptr[field.len - 1] == ',')
        return false;
    while (fr_view_split(&field, ',', &item))
        if (!take_range(item, names, low, high, out))
            return false;
    return true;
}

static bool
next_word(struct fr_view *rest, struct fr_view *out)
{
    *rest = fr_view_trim(*rest);
    size_t len = 0;
    while (len < rest->len && rest->ptr[len] != ' ' && rest->ptr[len] != '\t')
        len++;
    *out = fr_view_make(rest->ptr, len);
    *rest = fr_view_make(rest->ptr + len, rest->len - len);
    return len > 0;
}

bool
fr_cron_parse(struct fr_view text, struct fr_cron *out, struct fr_view *out_word)
{
    static const struct {
        unsigned low, high;
    } bounds[5] = {{0, 59}, {0, 23}, {1, 31}, {1, 12}, {0, 7}};
    uint64_t bits[5];
    bool is_any[5];
    struct fr_view rest = text;

    for (size_t i = 0; i < 5; i++) {
        const char *names = i == 3 ? month_names : i == 4 ? weekday_names : NULL;
        *out_word = text;
        if (!next_word(&rest, out_word))
            return false;
        is_any[i] = out_word->ptr[0] == '*';
        if (!take_field(*out_word, names, bounds[i].low, bounds[i].high, &bits[i]))
            return false;
    }
    *out_word = fr_view_trim(rest);
    if (out_word->len > 0)
        return false;
    *out = (struct fr_cron){
        .minutes = bits[0],
        .hours = (uint32_t)bits[1],
        .days = (uint32_t)bits[2],
        .months = (uint32_t)bits[3],
        .weekdays = (uint8_t)((bits[4] | bits[4] >> 7) & 0x7f), /* 7 is Sunday too */
        .any_day = is_any[2],
        .any_weekday = is_any[4],
    };
    return true;
}

static bool
day_fits(const struct fr_cron *cron, int64_t days)
{
    int64_t year;
    unsigned month, day;

    fr_zone_date(days, &year, &month, &day);
    bool fits_day = cron->days >> day & 1;
    bool fits_weekday = cron->weekdays >> (((days + 4) % 7 + 7) % 7) & 1;
    if (!(cron->months >> month & 1))
        return false;
    return cron->any_day || cron->any_weekday ? fits_day && fits_weekday : fits_day || fits_weekday;
}

static int64_t
day_of(int64_t local_s)
{
    return (local_s >= 0 ? local_s : local_s - DAY_S + 1) / DAY_S;
}

/* The latest on this day, at `latest_s` at the latest by the clocks, and at now_s in truth. */
static bool
last_of_day(const struct fr_cron *cron, const struct fr_zone *zone, int64_t day, int64_t latest_s,
            int64_t now_s, int64_t *out_s)
{
    for (int hour = 23; hour >= 0; hour--) {
        int64_t local_s = day * DAY_S + hour * 3600LL;
        if (!(cron->hours >> hour & 1) || local_s > latest_s)
            continue;
        for (int minute = 59; minute >= 0; minute--) {
            if (!(cron->minutes >> minute & 1) || local_s + minute * 60LL > latest_s)
                continue;
            *out_s = fr_zone_to_utc_s(zone, local_s + minute * 60LL);
            if (*out_s <= now_s)
                return true;
        }
    }
    return false;
}

bool
fr_cron_last(const struct fr_cron *cron, const struct fr_zone *zone, int64_t now_s, int64_t span_s,
             int64_t *out_s)
{
    int64_t local_s = now_s + fr_zone_offset_s(zone, now_s);
    int64_t found_s;

    span_s = span_s < FR_CRON_SPAN_MAX_S ? span_s : FR_CRON_SPAN_MAX_S;
    /* Put back, clocks show less than they did: what comes later by them may have been. */
    int64_t last = day_of(local_s + SHIFT_MAX_S);
    int64_t first = day_of(local_s - span_s - DAY_S);
    for (int64_t day = last; day >= first; day--) {
        if (!day_fits(cron, day) ||
            !last_of_day(cron, zone, day, local_s + SHIFT_MAX_S, now_s, &found_s))
            continue;
        if (found_s <= now_s - span_s)
            return false;
        *out_s = found_s;
        return true;
    }
    return false;
}
