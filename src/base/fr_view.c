/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_view.c - comparing, splitting and reading borrowed bytes.
 *
 * May touch:  nothing but the bytes.
 * Trusts:     nothing: numbers are checked digit by digit.
 */
#include "base/fr_put.h"

#include <math.h>
#include <stdlib.h>

static unsigned char
ascii_lower(char c)
{
    return (unsigned char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
}

bool
fr_view_is_name(struct fr_view name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        bool word = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
        if (!word && (i == 0 || (c != '.' && c != '_' && c != '-')))
            return false;
    }
    return name.len > 0;
}

bool
fr_view_ieq(struct fr_view a, struct fr_view b)
{
    return a.len == b.len && fr_view_istarts(a, b);
}

bool
fr_view_istarts(struct fr_view a, struct fr_view prefix)
{
    if (a.len < prefix.len)
        return false;
    size_t i = 0;
    for (; prefix.len - i >= 8; i += 8) {
        uint64_t x, y;
        memcpy(&x, a.ptr + i, 8);
        memcpy(&y, prefix.ptr + i, 8);
        if (x != y && fr_lower8(x) != fr_lower8(y))
            return false;
    }
    for (; i < prefix.len; i++)
        if (a.ptr[i] != prefix.ptr[i] && ascii_lower(a.ptr[i]) != ascii_lower(prefix.ptr[i]))
            return false;
    return true;
}

struct fr_view
fr_view_trim(struct fr_view a)
{
    while (a.len && (a.ptr[0] == ' ' || a.ptr[0] == '\t')) {
        a.ptr++;
        a.len--;
    }
    while (a.len && (a.ptr[a.len - 1] == ' ' || a.ptr[a.len - 1] == '\t'))
        a.len--;
    return a;
}

bool
fr_view_split(struct fr_view *rest, char sep, struct fr_view *out_head)
{
    if (rest->ptr == NULL)
        return false;
    const char *at = rest->len ? memchr(rest->ptr, sep, rest->len) : NULL;
    if (at == NULL) {
        *out_head = *rest;
        *rest = (struct fr_view){NULL, 0};
        return true;
    }
    size_t head_len = (size_t)(at - rest->ptr);
    *out_head = fr_view_make(rest->ptr, head_len);
    *rest = fr_view_make(at + 1, rest->len - head_len - 1);
    return true;
}

bool
fr_view_u64(struct fr_view a, uint64_t *out)
{
    uint64_t value = 0;
    if (a.len == 0)
        return false;
    for (size_t i = 0; i < a.len; i++) {
        if (a.ptr[i] < '0' || a.ptr[i] > '9')
            return false;
        uint64_t digit = (uint64_t)(a.ptr[i] - '0');
        if (__builtin_mul_overflow(value, 10, &value) ||
            __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return true;
}

/* Locale-free on purpose: strtod would read "0,5" in some locales, and hexadecimal in all. */
bool
fr_view_f64(struct fr_view a, double *out)
{
    size_t i = 0;
    size_t digits = 0;
    double value = 0;
    double scale = 1;
    bool negative = a.len && a.ptr[0] == '-';
    if (negative)
        i++;
    for (; i < a.len && a.ptr[i] >= '0' && a.ptr[i] <= '9'; i++, digits++)
        value = value * 10 + (a.ptr[i] - '0');
    if (i < a.len && a.ptr[i] == '.') {
        for (i++; i < a.len && a.ptr[i] >= '0' && a.ptr[i] <= '9'; i++, digits++) {
            value = value * 10 + (a.ptr[i] - '0');
            scale *= 10;
        }
    }
    if (digits == 0 || digits > 300 || i != a.len)
        return false;
    value /= scale;
    if (!isfinite(value))
        return false;
    *out = negative ? -value : value;
    return true;
}

bool
fr_view_copy(struct fr_view a, char *out, size_t out_bytes)
{
    if (out_bytes == 0)
        return false;
    if (a.len >= out_bytes) {
        out[0] = '\0';
        return false;
    }
    if (a.len)
        memcpy(out, a.ptr, a.len);
    out[a.len] = '\0';
    return true;
}

int
fr_view_hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}
