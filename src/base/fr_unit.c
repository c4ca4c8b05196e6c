/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_unit.c - durations, byte counts and ratios as people write them.
 */
#include "base/fr_unit.h"

#include <math.h>
#include <stdio.h>

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit duration_units[] = {
    {"d", 86400000000LL}, {"h", 3600000000LL}, {"min", 60000000LL},
    {"s", 1000000LL},     {"ms", 1000LL},      {"us", 1LL},
};
static const struct unit byte_units[] = {
    {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10},
    {"GB", 1000000000LL}, {"MB", 1000000LL}, {"kB", 1000LL}, {"B", 1LL},
};
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

/* Splits "1.5s" into its number and its unit's factor; false when either is missing. */
static bool
parse_with_unit(struct fr_view text, const struct unit *units, size_t unit_count, int64_t *out)
{
    size_t digits = 0;
    double number = 0;
    while (digits < text.len &&
           ((text.ptr[digits] >= '0' && text.ptr[digits] <= '9') || text.ptr[digits] == '.'))
        digits++;
    if (!fr_view_f64(fr_view_make(text.ptr, digits), &number))
        return false;
    struct fr_view name = fr_view_make(text.ptr + digits, text.len - digits);
    for (size_t i = 0; i < unit_count; i++) {
        if (!fr_view_is(name, units[i].name))
            continue;
        double value = round(number * (double)units[i].factor);
        if (value > 9.0e18)
            return false;
        *out = (int64_t)value;
        return true;
    }
    return false;
}

bool
fr_unit_parse_duration(struct fr_view text, int64_t *out_us)
{
    if (fr_view_is(text, "0")) {
        *out_us = 0;
        return true;
    }
    return parse_with_unit(text, duration_units, COUNT_OF(duration_units), out_us);
}

bool
fr_unit_parse_bytes(struct fr_view text, uint64_t *out_bytes)
{
    if (fr_view_u64(text, out_bytes))
        return true;
    int64_t bytes = 0;
    if (!parse_with_unit(text, byte_units, COUNT_OF(byte_units), &bytes))
        return false;
    *out_bytes = (uint64_t)bytes;
    return true;
}

bool
fr_unit_parse_ratio(struct fr_view text, double *out)
{
    bool percent = text.len && text.ptr[text.len - 1] == '%';
    double value = 0;
    if (percent)
        text.len--;
    if (!fr_view_f64(text, &value) || value < 0)
        return false;
    *out = percent ? value / 100 : value;
    return true;
}

static void
format_exact(int64_t value, const struct unit *units, size_t unit_count, char *out)
{
    for (size_t i = 0; i < unit_count; i++) {
        if (value % units[i].factor != 0)
            continue;
        (void)snprintf(out, FR_UNIT_TEXT_BYTES, "%lld%s", (long long)(value / units[i].factor),
                       units[i].name);
        return;
    }
}

void
fr_unit_format_duration(int64_t us, char out[FR_UNIT_TEXT_BYTES])
{
    if (us == 0)
        (void)snprintf(out, FR_UNIT_TEXT_BYTES, "0s");
    else
        format_exact(us, duration_units, COUNT_OF(duration_units), out);
}

void
fr_unit_format_bytes(uint64_t bytes, char out[FR_UNIT_TEXT_BYTES])
{
    static const struct unit binary[] = {
        {"GiB", 1LL << 30}, {"MiB", 1LL << 20}, {"KiB", 1LL << 10}, {"B", 1LL}};
    if (bytes == 0 || bytes > (uint64_t)INT64_MAX)
        (void)snprintf(out, FR_UNIT_TEXT_BYTES, "%llu", (unsigned long long)bytes);
    else
        format_exact((int64_t)bytes, binary, COUNT_OF(binary), out);
}
