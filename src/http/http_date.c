/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_date.c - HTTP dates: one form written, three read.
 *
 * May touch:  base. Never: the C library's locale or time zone.
 * Follows:    RFC 9110 section 5.6.7; Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"
 *             (days from civil and back).
 *
 *     Sun, 06 Nov 1994 08:49:37 GMT     IMF-fixdate
 *     Sunday, 06-Nov-94 08:49:37 GMT    RFC 850, obsolete
 *     Sun Nov  6 08:49:37 1994          asctime, obsolete
 *
 * Upper and lower case are alike: RFC 9111 section 4.2 asks that of caches, and RFC 9110 section
 * 5.6.7 encourages everybody to read robustly. Zones other than GMT are not (same section).
 */
#include "http/http_priv.h"

#define DAY_S 86400

static const char month_names[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
static const char day_names[7][10] = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                      "Thursday", "Friday", "Saturday"};

struct civil {
    int64_t year;
    int month; /* 1..12 */
    int day;
    int hour;
    int minute;
    int second;
};

/* Days since 1970-01-01 of a day of the proleptic Gregorian calendar, year >= 0. */
static int64_t
days_of(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static void
civil_of(int64_t days, struct civil *out)
{
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted = (5 * day_of_year + 2) / 153;
    out->day = (int)(day_of_year - (153 * shifted + 2) / 5 + 1);
    out->month = (int)(shifted < 10 ? shifted + 3 : shifted - 9);
    out->year = year_of_era + era * 400 + (out->month <= 2);
}

/* Takes `count` digits. */
static bool
digits_take(struct fr_view *text, size_t count, int *out)
{
    int n = 0;
    if (text->len < count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (!http__is(text->ptr[i], HTTP__DIGIT))
            return false;
        n = n * 10 + (text->ptr[i] - '0');
    }
    *text = fr_view_make(text->ptr + count, text->len - count);
    *out = n;
    return true;
}

static bool
text_take(struct fr_view *text, struct fr_view want)
{
    if (!fr_view_istarts(*text, want))
        return false;
    *text = fr_view_make(text->ptr + want.len, text->len - want.len);
    return true;
}

static bool
month_take(struct fr_view *text, int *out)
{
    for (int i = 0; i < 12; i++) {
        if (text_take(text, fr_view_make(month_names[i], 3))) {
            *out = i + 1;
            return true;
        }
    }
    return false;
}

/* "08:49:37" */
static bool
clock_take(struct fr_view *text, struct civil *out)
{
    return digits_take(text, 2, &out->hour) && text_take(text, FR_VIEW(":")) &&
           digits_take(text, 2, &out->minute) && text_take(text, FR_VIEW(":")) &&
           digits_take(text, 2, &out->second);
}

/* Takes a day's name, short or (with its comma) long. *out_length: 3, or that of the long name. */
static bool
day_name_take(struct fr_view *text, size_t *out_length)
{
    for (int i = 0; i < 7; i++) {
        size_t len = strlen(day_names[i]);
        if (text_take(text, fr_view_make(day_names[i], len))) {
            *out_length = len;
            return true;
        }
        if (text_take(text, fr_view_make(day_names[i], 3))) {
            *out_length = 3;
            return true;
        }
    }
    return false;
}

static bool
imf_take(struct fr_view *text, struct civil *out)
{
    int year;
    if (!digits_take(text, 2, &out->day) || !text_take(text, FR_VIEW(" ")) ||
        !month_take(text, &out->month) || !text_take(text, FR_VIEW(" ")) ||
        !digits_take(text, 4, &year) || !text_take(text, FR_VIEW(" ")) || !clock_take(text, out))
        return false;
    out->year = year;
    return text_take(text, FR_VIEW(" GMT"));
}

/* A two-digit year that looks more than 50 years ahead is the most recent one with these digits. */
static int64_t
year_from_two(int two, int64_t now_s)
{
    struct civil now;
    int64_t days = now_s / DAY_S - (now_s % DAY_S < 0);
    civil_of(days, &now);
    int64_t year = now.year - now.year % 100 + two;
    if (year > now.year + 50)
        year -= 100;
    return year;
}

static bool
rfc850_take(struct fr_view *text, int64_t now_s, struct civil *out)
{
    int two;
    if (!digits_take(text, 2, &out->day) || !text_take(text, FR_VIEW("-")) ||
        !month_take(text, &out->month) || !text_take(text, FR_VIEW("-")) ||
        !digits_take(text, 2, &two) || !text_take(text, FR_VIEW(" ")) || !clock_take(text, out))
        return false;
    out->year = year_from_two(two, now_s);
    return text_take(text, FR_VIEW(" GMT"));
}

/* "Nov  6 08:49:37 1994": the day is padded with a space. */
static bool
asctime_take(struct fr_view *text, struct civil *out)
{
    int year;
    if (!month_take(text, &out->month) || !text_take(text, FR_VIEW(" ")))
        return false;
    size_t day_digits = text_take(text, FR_VIEW(" ")) ? 1 : 2;
    if (!digits_take(text, day_digits, &out->day) || !text_take(text, FR_VIEW(" ")) ||
        !clock_take(text, out) || !text_take(text, FR_VIEW(" ")) || !digits_take(text, 4, &year))
        return false;
    out->year = year;
    return true;
}

static bool
civil_valid(const struct civil *c)
{
    static const int lengths[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (c->year % 4 == 0 && c->year % 100 != 0) || c->year % 400 == 0;
    int length = lengths[c->month - 1] + (leap && c->month == 2);
    /* A leap second is a second: 60 reads as the first of the next minute. */
    return c->day >= 1 && c->day <= length && c->hour < 24 && c->minute < 60 && c->second <= 60;
}

bool
http_date_parse(struct fr_view text, int64_t now_s, int64_t *out_s)
{
    struct civil c;
    size_t name_len;
    if (!day_name_take(&text, &name_len))
        return false;
    bool ok;
    if (text_take(&text, FR_VIEW(", ")))
        ok = name_len == 3 ? imf_take(&text, &c) : rfc850_take(&text, now_s, &c);
    else
        ok = name_len == 3 && text_take(&text, FR_VIEW(" ")) && asctime_take(&text, &c);
    if (!ok || text.len != 0 || !civil_valid(&c))
        return false;
    *out_s = days_of(c.year, c.month, c.day) * DAY_S + c.hour * 3600 + c.minute * 60 + c.second;
    return true;
}

static char *
two_put(char *out, int n)
{
    out[0] = (char)('0' + n / 10 % 10);
    out[1] = (char)('0' + n % 10);
    return out + 2;
}

void
http_date_format(int64_t s, char out[HTTP_DATE_BYTES])
{
    /* Four digits hold no year past 9999 and no wall clock shows one; clamp, so that the form
     * holds. */
    const int64_t last = 253402300799;
    if (s < 0)
        s = 0;
    if (s > last)
        s = last;
    struct civil c;
    int64_t days = s / DAY_S;
    civil_of(days, &c);
    int clock = (int)(s % DAY_S);
    char *at = out;
    memcpy(at, day_names[(days + 4) % 7], 3); /* 1970-01-01 was a Thursday */
    memcpy(at + 3, ", ", 2);
    at = two_put(at + 5, c.day);
    *at++ = ' ';
    memcpy(at, month_names[c.month - 1], 3);
    at[3] = ' ';
    at = two_put(at + 4, (int)(c.year / 100));
    at = two_put(at, (int)(c.year % 100));
    *at++ = ' ';
    at = two_put(at, clock / 3600);
    *at++ = ':';
    at = two_put(at, clock / 60 % 60);
    *at++ = ':';
    at = two_put(at, clock % 60);
    memcpy(at, " GMT", 5);
}
