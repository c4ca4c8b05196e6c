/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_text.c - numbers and escaped text, both ways.
 *
 * May touch:  base.
 * Trusts:     nothing: any bytes may be asked to be written, any text to be read as a number.
 * Follows:    XML 1.0 section 2.2 (characters), section 2.4 (escaping).
 * Cost:       numbers are read without a call into the C library and without a copy: the manager
 *             reads some fifteen of them for each server of each report.
 */
#include "wire/wire_priv.h"

/* ---- numbers -------------------------------------------------------------------------------- */

bool
wire__parse_u64(const char *text, size_t len, uint64_t max, uint64_t *out)
{
    /* Leading zeros are allowed, as XML Schema's unsignedLong allows them; 40 digits are enough. */
    if (len == 0 || len > 40)
        return false;
    uint64_t value = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit > 9)
            return false;
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    if (value > max)
        return false;
    *out = value;
    return true;
}

static const double powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8, 1e9,
                                1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18};

bool
wire__parse_f64(const char *text, size_t len, uint64_t max, double *out)
{
    /* Up to 15 significant digits the quotient is correctly rounded, since both its parts are exact
     * doubles; further decimals are read but carry nothing that we could use. */
    uint64_t mantissa = 0;
    unsigned decimals = 0, digits = 0;
    bool point = false;
    if (len == 0 || len > 64)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '.' && !point && digits > 0) {
            point = true;
            continue;
        }
        unsigned digit = (unsigned)(unsigned char)text[i] - '0';
        if (digit > 9)
            return false;
        digits++;
        if (mantissa < 1000000000000000ULL && decimals < 18) {
            mantissa = mantissa * 10 + digit;
            decimals += point;
        } else if (!point) {
            return false; /* greater than any maximum of ours */
        }
    }
    double value = (double)mantissa / powers[decimals];
    if (!(value <= (double)max))
        return false;
    *out = value;
    return true;
}

size_t
wire__format_u64(uint64_t value, char *out)
{
    char digits[24];
    size_t count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    for (size_t i = 0; i < count; i++)
        out[i] = digits[count - 1 - i];
    out[count] = '\0';
    return count;
}

size_t
wire__format_f64(double value, char *out)
{
    /* The caller bounds value by a table's maximum, far below where this product would overflow. */
    uint64_t millionths = (uint64_t)(value * 1e6 + 0.5);
    size_t len = wire__format_u64(millionths / 1000000, out);
    unsigned rest = (unsigned)(millionths % 1000000);
    if (rest == 0)
        return len;
    out[len++] = '.';
    for (unsigned scale = 100000; rest > 0; scale /= 10) {
        out[len++] = (char)('0' + rest / scale);
        rest %= scale;
    }
    out[len] = '\0';
    return len;
}

/* ---- text ----------------------------------------------------------------------------------- */

bool
wire__text_has_control(struct fr_view text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c < 0x20 || c == 0x7f)
            return true;
        /* U+0080..U+009F: the C1 controls, which move cursors on some terminals. */
        if (c == 0xc2 && i + 1 < text.len && (unsigned char)text.ptr[i + 1] < 0xa0)
            return true;
    }
    return false;
}

/* The length of the well-formed UTF-8 character at ptr that XML 1.0 may carry, or 0. */
static size_t
character_bytes(const unsigned char *ptr, size_t len)
{
    unsigned char c = ptr[0];
    size_t need = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (need == 0 || need > len)
        return 0;
    if (need == 1)
        return c >= 0x20 || c == '\t' || c == '\n' || c == '\r' ? 1 : 0;
    for (size_t i = 1; i < need; i++) {
        if ((ptr[i] & 0xc0) != 0x80)
            return 0;
    }
    /* Overlong forms, surrogates, above U+10FFFF, and the two non-characters that XML excludes. */
    if ((c == 0xe0 && ptr[1] < 0xa0) || (c == 0xed && ptr[1] > 0x9f))
        return 0;
    if ((c == 0xf0 && ptr[1] < 0x90) || (c == 0xf4 && ptr[1] > 0x8f))
        return 0;
    if (c == 0xef && ptr[1] == 0xbf && ptr[2] >= 0xbe)
        return 0;
    return need;
}

bool
wire__text_is_good(struct fr_view text)
{
    for (size_t i = 0; i < text.len;) {
        size_t bytes = character_bytes((const unsigned char *)text.ptr + i, text.len - i);
        if (bytes == 0)
            return false;
        i += bytes;
    }
    return true;
}

struct fr_view
wire__text_cut(struct fr_view text, size_t max_bytes)
{
    size_t taken = 0, arriving = 0;
    while (taken < text.len) {
        const unsigned char *ptr = (const unsigned char *)text.ptr + taken;
        size_t bytes = character_bytes(ptr, text.len - taken);
        size_t cost = bytes > 0 ? bytes : 3; /* U+FFFD in its stead */
        if (arriving + cost > max_bytes)
            break;
        arriving += cost;
        taken += bytes > 0 ? bytes : 1;
    }
    return fr_view_make(text.ptr, taken);
}

static const char *
escape_of(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    /* As references, or attribute-value normalisation makes spaces of them (XML 1.0, 3.3.3). */
    case '\t':
        return "&#9;";
    case '\n':
        return "&#10;";
    case '\r':
        return "&#13;";
    default:
        return NULL;
    }
}

void
wire__out_escaped(struct wire__out *out, struct fr_view text)
{
    const unsigned char *ptr = (const unsigned char *)text.ptr;
    size_t plain = 0; /* start of what has not been written yet */
    for (size_t i = 0; i < text.len;) {
        const char *escape = ptr[i] < 0x80 ? escape_of(ptr[i]) : NULL;
        size_t bytes = escape != NULL ? 1 : character_bytes(ptr + i, text.len - i);
        if (escape == NULL && bytes > 0) {
            i += bytes;
            continue;
        }
        wire__out_raw(out, text.ptr + plain, i - plain);
        wire__out_str(out, escape != NULL ? escape : "\xef\xbf\xbd");
        i++;
        plain = i;
    }
    if (plain < text.len)
        wire__out_raw(out, text.ptr + plain, text.len - plain);
}

/* ---- output --------------------------------------------------------------------------------- */

void
wire__out_begin(struct wire__out *out, struct fr_buf *buf)
{
    out->buf = buf;
    out->mark = buf->len;
    out->err = FR_OK;
}

enum fr_err
wire__out_end(struct wire__out *out)
{
    if (out->err != FR_OK && out->buf->len > out->mark) {
        out->buf->len = out->mark;
        out->buf->data[out->mark] = '\0';
    }
    return out->err;
}

void
wire__out_fail(struct wire__out *out, enum fr_err err)
{
    if (out->err == FR_OK)
        out->err = err;
}

void
wire__out_raw(struct wire__out *out, const char *ptr, size_t len)
{
    if (out->err == FR_OK && len > 0)
        out->err = fr_buf_append(out->buf, ptr, len);
}

void
wire__out_str(struct wire__out *out, const char *text)
{
    wire__out_raw(out, text, strlen(text));
}
