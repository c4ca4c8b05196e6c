/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_structured.c - reads dictionaries of structured fields.
 *
 * May touch:  base.
 * Limits:     those of the grammar: 15 digits of a number; the head's limits bound the rest.
 * Follows:    RFC 9651 section 4.2.
 */
#include "http/http_structured.h"

#include "http/http_priv.h"

#define DIGITS_MAX 15
#define DECIMAL_DIGITS_MAX 12

struct reader {
    const char *at, *end;
};

static bool
is_at(const struct reader *r, char c)
{
    return r->at < r->end && *r->at == c;
}

static bool
take(struct reader *r, char c)
{
    if (!is_at(r, c))
        return false;
    r->at++;
    return true;
}

static void
skip_spaces(struct reader *r, bool tabs)
{
    while (r->at < r->end && (*r->at == ' ' || (tabs && *r->at == '\t')))
        r->at++;
}

static bool
is_lower(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Section 4.2.3.3. */
static bool
key_read(struct reader *r, struct fr_view *out)
{
    const char *start = r->at;
    if (r->at == r->end || (!is_lower(*r->at) && *r->at != '*'))
        return false;
    while (r->at < r->end && (is_lower(*r->at) || is_digit(*r->at) || *r->at == '_' ||
                              *r->at == '-' || *r->at == '.' || *r->at == '*'))
        r->at++;
    *out = fr_view_make(start, (size_t)(r->at - start));
    return true;
}

/* Section 4.2.4. */
static bool
number_read(struct reader *r, struct http_sf_member *out)
{
    bool minus = take(r, '-');
    int64_t value = 0;
    size_t digits = 0, decimals = 0;
    for (; r->at < r->end && is_digit(*r->at); r->at++) {
        if (++digits > DIGITS_MAX)
            return false;
        value = value * 10 + (*r->at - '0');
    }
    if (digits == 0)
        return false;
    out->type = HTTP_SF_INTEGER;
    out->integer = minus ? -value : value;
    if (!take(r, '.'))
        return true;
    for (; r->at < r->end && is_digit(*r->at); r->at++)
        decimals++;
    out->type = HTTP_SF_DECIMAL;
    return digits <= DECIMAL_DIGITS_MAX && decimals >= 1 && decimals <= 3;
}

/* Section 4.2.5; the opening quote is taken. */
static bool
string_read(struct reader *r, struct http_sf_member *out)
{
    const char *start = r->at;
    for (; r->at < r->end; r->at++) {
        char c = *r->at;
        if (c == '"') {
            out->type = HTTP_SF_STRING;
            out->text = fr_view_make(start, (size_t)(r->at - start));
            r->at++;
            return true;
        }
        if (c < 0x20 || c > 0x7e)
            return false;
        if (c == '\\' && (++r->at == r->end || (*r->at != '"' && *r->at != '\\')))
            return false;
    }
    return false;
}

/* Section 4.2.6. */
static bool
token_read(struct reader *r, struct http_sf_member *out)
{
    const char *start = r->at;
    while (r->at < r->end && (http__is(*r->at, HTTP__TOKEN) || *r->at == ':' || *r->at == '/'))
        r->at++;
    out->type = HTTP_SF_TOKEN;
    out->text = fr_view_make(start, (size_t)(r->at - start));
    return true;
}

static bool
is_base64(char c)
{
    return is_lower(c) || (c >= 'A' && c <= 'Z') || is_digit(c) || c == '+' || c == '/' || c == '=';
}

/* Section 4.2.7; the opening colon is taken. */
static bool
bytes_read(struct reader *r, struct http_sf_member *out)
{
    const char *start = r->at;
    while (r->at < r->end && is_base64(*r->at))
        r->at++;
    out->type = HTTP_SF_BYTES;
    out->text = fr_view_make(start, (size_t)(r->at - start));
    return take(r, ':');
}

/* RFC 9651 section 4.2.10; '%' is taken. Whether the octets are UTF-8 is not looked at. */
static bool
display_read(struct reader *r, struct http_sf_member *out)
{
    if (!take(r, '"'))
        return false;
    const char *start = r->at;
    for (; r->at < r->end; r->at++) {
        char c = *r->at;
        if (c == '"') {
            out->type = HTTP_SF_DISPLAY;
            out->text = fr_view_make(start, (size_t)(r->at - start));
            r->at++;
            return true;
        }
        if (c < 0x20 || c > 0x7e)
            return false;
        if (c != '%')
            continue;
        for (int i = 0; i < 2; i++)
            if (++r->at == r->end || !(is_digit(*r->at) || (*r->at >= 'a' && *r->at <= 'f')))
                return false;
    }
    return false;
}

/* Section 4.2.3.1: an item without its parameters. */
static bool
bare_read(struct reader *r, struct http_sf_member *out)
{
    if (r->at == r->end)
        return false;
    char c = *r->at;
    if (c == '-' || is_digit(c))
        return number_read(r, out);
    if (take(r, '"'))
        return string_read(r, out);
    if (take(r, ':'))
        return bytes_read(r, out);
    if (take(r, '%'))
        return display_read(r, out);
    if (take(r, '?')) {
        out->type = HTTP_SF_BOOLEAN;
        out->integer = is_at(r, '1');
        return take(r, '1') || take(r, '0');
    }
    if (take(r, '@')) {
        bool good = number_read(r, out) && out->type == HTTP_SF_INTEGER;
        out->type = HTTP_SF_DATE;
        return good;
    }
    if (is_lower(c | 0x20) || c == '*')
        return token_read(r, out);
    return false;
}

/* Section 4.2.3.2. */
static bool
parameters_pass(struct reader *r)
{
    while (take(r, ';')) {
        struct http_sf_member value;
        skip_spaces(r, false);
        if (!key_read(r, &value.key))
            return false;
        if (take(r, '=') && !bare_read(r, &value))
            return false;
    }
    return true;
}

/* Section 4.2.1.2; the bracket is taken. */
static bool
list_read(struct reader *r, struct http_sf_member *out)
{
    const char *start = r->at;
    while (r->at < r->end) {
        struct http_sf_member item;
        skip_spaces(r, false);
        if (is_at(r, ')')) {
            out->type = HTTP_SF_LIST;
            out->text = fr_view_make(start, (size_t)(r->at - start));
            r->at++;
            return true;
        }
        if (!bare_read(r, &item) || !parameters_pass(r) || (!is_at(r, ' ') && !is_at(r, ')')))
            return false;
    }
    return false;
}

static bool
value_read(struct reader *r, struct http_sf_member *out)
{
    if (!take(r, '=')) { /* section 3.2: a key alone is true */
        out->type = HTTP_SF_BOOLEAN;
        out->integer = 1;
        return true;
    }
    return take(r, '(') ? list_read(r, out) : bare_read(r, out);
}

enum http_step
http_sf_member_next(struct fr_view *rest, struct http_sf_member *out)
{
    struct reader r = {rest->ptr, rest->ptr + rest->len};
    *out = (struct http_sf_member){0};
    skip_spaces(&r, false);
    if (r.at == r.end)
        return HTTP_DONE;
    if (!key_read(&r, &out->key) || !value_read(&r, out) || !parameters_pass(&r))
        return HTTP_BAD;
    skip_spaces(&r, true);
    if (r.at < r.end) {
        if (!take(&r, ','))
            return HTTP_BAD;
        skip_spaces(&r, true);
        if (r.at == r.end) /* section 4.2.2: nothing follows the last comma */
            return HTTP_BAD;
    }
    *rest = fr_view_make(r.at, (size_t)(r.end - r.at));
    return HTTP_MORE;
}
