/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_zone.c - time zones: reads their files, and says what clocks show.
 *
 * May touch:  nothing.
 * Memory:     the caller's struct.
 * When full:  the oldest changes are left out.
 * Trusts:     no byte of the file: counts are checked against its length.
 * Follows:    RFC 8536 (TZif), and POSIX.1-2017 section 8.3 for the rule at its end.
 */
#include "base/fr_zone.h"

#include "base/fr_be.h"

#include <string.h>

#define HEADER_BYTES 44
#define DAY_S 86400
#define OFFSET_MAX_S (26 * 3600) /* RFC 8536 section 3.2: of a type */
#define RULE_HOURS_MAX 167       /* RFC 8536 section 3.3.1 */

/* ---- dates ---------------------------------------------------------------------------------- */

/* Years begin in March, so that the odd day of a leap year comes last: then the days before a month
 * follow a line, and 400 years have 146097 days. */
int64_t
fr_zone_days(int64_t year, unsigned month, unsigned day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t month_from_march = (month + 9) % 12;
    int64_t of_year = (153 * month_from_march + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void
fr_zone_date(int64_t days, int64_t *out_year, unsigned *out_month, unsigned *out_day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t of_era = z - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;

    *out_day = (unsigned)(of_year - (153 * month + 2) / 5 + 1);
    *out_month = (unsigned)(month < 10 ? month + 3 : month - 9);
    *out_year = year + era * 400 + (*out_month <= 2);
}

/* ---- the rule at a file's end --------------------------------------------------------------- */

struct rule_day {
    unsigned month, week, weekday; /* the week-th such weekday of the month; 5: its last */
    int64_t second;                /* of that day, by the clock before the change */
};

struct rule {
    int32_t usual_s, other_s; /* offsets */
    bool has_other;
    struct rule_day begins, ends; /* of the other */
};

static bool
take(struct fr_view *text, char c)
{
    if (text->len == 0 || text->ptr[0] != c)
        return false;
    *text = fr_view_make(text->ptr + 1, text->len - 1);
    return true;
}

static bool
take_number(struct fr_view *text, unsigned high, unsigned *out)
{
    size_t digits = 0;
    unsigned value = 0;

    for (; digits < text->len && digits < 4; digits++) {
        char c = text->ptr[digits];
        if (c < '0' || c > '9')
            break;
        value = value * 10 + (unsigned)(c - '0');
    }
    *text = fr_view_make(text->ptr + digits, text->len - digits);
    *out = value;
    return digits > 0 && value <= high;
}

/* [+-]hh[:mm[:ss]] */
static bool
take_time(struct fr_view *text, int64_t *out_s)
{
    bool is_less = take(text, '-');
    unsigned hours, minutes = 0, seconds = 0;

    if (!is_less)
        (void)take(text, '+');
    if (!take_number(text, RULE_HOURS_MAX, &hours))
        return false;
    if (take(text, ':') &&
        (!take_number(text, 59, &minutes) || (take(text, ':') && !take_number(text, 59, &seconds))))
        return false;
    *out_s = (int64_t)hours * 3600 + minutes * 60 + seconds;
    if (is_less)
        *out_s = -*out_s;
    return true;
}

/* "CET" or "<+03>": what people call it does not matter here. */
static bool
take_name(struct fr_view *text)
{
    size_t len = 0;
    bool is_quoted = take(text, '<');

    while (len < text->len &&
           (is_quoted ? text->ptr[len] != '>'
                      : (text->ptr[len] | 0x20) >= 'a' && (text->ptr[len] | 0x20) <= 'z'))
        len++;
    *text = fr_view_make(text->ptr + len, text->len - len);
    return len > 0 && (!is_quoted || take(text, '>'));
}

/* ",Mm.w.d[/time]": the only form that the tz database uses. */
static bool
take_day(struct fr_view *text, struct rule_day *out)
{
    out->second = 2 * 3600;
    if (!take(text, ',') || !take(text, 'M') || !take_number(text, 12, &out->month) ||
        !take(text, '.') || !take_number(text, 5, &out->week) || !take(text, '.') ||
        !take_number(text, 6, &out->weekday) || out->month == 0 || out->week == 0)
        return false;
    return !take(text, '/') || take_time(text, &out->second);
}

static bool
parse_rule(struct fr_view text, struct rule *out)
{
    int64_t west_s;

    *out = (struct rule){.has_other = false};
    if (!take_name(&text) || !take_time(&text, &west_s) || west_s > OFFSET_MAX_S ||
        west_s < -OFFSET_MAX_S)
        return false;
    out->usual_s = out->other_s = (int32_t)-west_s;
    if (text.len == 0)
        return true;
    out->has_other = true;
    if (!take_name(&text))
        return false;
    west_s -= 3600;
    if (text.len > 0 && text.ptr[0] != ',' && !take_time(&text, &west_s))
        return false;
    if (west_s > OFFSET_MAX_S || west_s < -OFFSET_MAX_S)
        return false;
    out->other_s = (int32_t)-west_s;
    return take_day(&text, &out->begins) && take_day(&text, &out->ends) && text.len == 0;
}

static int64_t
day_of(const struct rule_day *day, int64_t year)
{
    int64_t first = fr_zone_days(year, day->month, 1);
    int64_t next =
        day->month == 12 ? fr_zone_days(year + 1, 1, 1) : fr_zone_days(year, day->month + 1, 1);
    int64_t weekday = ((first + 4) % 7 + 7) % 7; /* 1970-01-01 was a Thursday */
    int64_t at = first + ((int64_t)day->weekday - weekday + 7) % 7 + 7 * ((int64_t)day->week - 1);
    return at < next ? at : at - 7;
}

static void
add(struct fr_zone *zone, int64_t at_s, int32_t offset_s)
{
    if (zone->count > 0 && at_s <= zone->change[zone->count - 1].at_s)
        return;
    if (zone->count == FR_ZONE_CHANGES_MAX) {
        zone->first_offset_s = zone->change[0].offset_s;
        memmove(&zone->change[0], &zone->change[1],
                (FR_ZONE_CHANGES_MAX - 1) * sizeof(zone->change[0]));
        zone->count--;
    }
    zone->change[zone->count++] = (struct fr_zone_change){at_s, offset_s};
}

static void
follow_rule(struct fr_zone *zone, const struct rule *rule)
{
    int64_t year = 1970;
    unsigned month, day;

    if (zone->count == 0)
        zone->first_offset_s = rule->usual_s;
    else
        fr_zone_date(zone->change[zone->count - 1].at_s / DAY_S, &year, &month, &day);
    for (; rule->has_other && year <= FR_ZONE_YEAR_LAST; year++) {
        int64_t begins = day_of(&rule->begins, year) * DAY_S + rule->begins.second - rule->usual_s;
        int64_t ends = day_of(&rule->ends, year) * DAY_S + rule->ends.second - rule->other_s;
        if (begins < ends)
            add(zone, begins, rule->other_s);
        add(zone, ends, rule->usual_s);
        if (begins > ends)
            add(zone, begins, rule->other_s);
    }
}

/* ---- the file ------------------------------------------------------------------------------- */

struct counts {
    uint64_t ut, standard, leap, change, type, letter;
    size_t bytes; /* of the block behind the header */
};

/* False: no header, or a block that the file is too short for. */
static bool
read_header(struct fr_view file, size_t time_bytes, struct counts *out)
{
    if (file.len < HEADER_BYTES || memcmp(file.ptr, "TZif", 4) != 0)
        return false;
    const char *at = file.ptr + 20;
    *out = (struct counts){
        .ut = fr_be_get(at, 4),
        .standard = fr_be_get(at + 4, 4),
        .leap = fr_be_get(at + 8, 4),
        .change = fr_be_get(at + 12, 4),
        .type = fr_be_get(at + 16, 4),
        .letter = fr_be_get(at + 20, 4),
    };
    /* Six numbers of 32 bits: the sum fits. */
    uint64_t bytes = out->change * (time_bytes + 1) + out->type * 6 + out->letter +
                     out->leap * (time_bytes + 4) + out->standard + out->ut;
    if (out->type == 0 || bytes > file.len - HEADER_BYTES)
        return false;
    out->bytes = (size_t)bytes;
    return true;
}

static bool
read_changes(const char *block, const struct counts *counts, struct fr_zone *out)
{
    const char *types = block + counts->change * 9;
    int32_t offset_s[256];

    for (size_t i = 0; i < counts->type && i < 256; i++) {
        offset_s[i] = (int32_t)(uint32_t)fr_be_get(types + i * 6, 4);
        if (offset_s[i] > OFFSET_MAX_S || offset_s[i] < -OFFSET_MAX_S)
            return false;
    }
    out->first_offset_s = offset_s[0];
    for (size_t i = 0; i < counts->change; i++) {
        unsigned char type = (unsigned char)block[counts->change * 8 + i];
        if (type >= counts->type)
            return false;
        add(out, (int64_t)fr_be_get(block + i * 8, 8), offset_s[type]);
    }
    return true;
}

enum fr_err
fr_zone_parse(struct fr_view file, struct fr_zone *out)
{
    struct counts counts;
    struct rule rule;
    struct fr_view rest = file;

    if (file.len > FR_ZONE_FILE_BYTES_MAX || !read_header(file, 4, &counts) || file.ptr[4] < '2')
        return FR_ERR_CONFIG;
    rest = fr_view_make(file.ptr + HEADER_BYTES + counts.bytes,
                        file.len - HEADER_BYTES - counts.bytes);
    if (!read_header(rest, 8, &counts))
        return FR_ERR_CONFIG;
    memset(out, 0, sizeof(*out));
    if (!read_changes(rest.ptr + HEADER_BYTES, &counts, out))
        return FR_ERR_CONFIG;
    struct fr_view footer = fr_view_make(rest.ptr + HEADER_BYTES + counts.bytes,
                                         rest.len - HEADER_BYTES - counts.bytes);
    if (footer.len > 2 && footer.ptr[0] == '\n' && footer.ptr[footer.len - 1] == '\n' &&
        parse_rule(fr_view_make(footer.ptr + 1, footer.len - 2), &rule))
        follow_rule(out, &rule);
    return FR_OK;
}

/* ---- saying --------------------------------------------------------------------------------- */

/* How many changes happened by then. */
static size_t
passed(const struct fr_zone *zone, int64_t utc_s)
{
    size_t low = 0;
    size_t high = zone->count;

    while (low < high) {
        size_t middle = (low + high) / 2;
        if (zone->change[middle].at_s <= utc_s)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int32_t
offset_after(const struct fr_zone *zone, size_t changes)
{
    return changes > 0 ? zone->change[changes - 1].offset_s : zone->first_offset_s;
}

int32_t
fr_zone_offset_s(const struct fr_zone *zone, int64_t utc_s)
{
    return offset_after(zone, passed(zone, utc_s));
}

int64_t
fr_zone_to_utc_s(const struct fr_zone *zone, int64_t local_s)
{
    size_t changes = passed(zone, local_s - 2 * OFFSET_MAX_S);

    for (; changes < zone->count; changes++) {
        int64_t next_s = zone->change[changes].at_s;
        int64_t utc_s = local_s - offset_after(zone, changes);
        if (utc_s < next_s)
            return utc_s;
        if (local_s < next_s + zone->change[changes].offset_s)
            return next_s; /* skipped */
    }
    return local_s - offset_after(zone, changes);
}
