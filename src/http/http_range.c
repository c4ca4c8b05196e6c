/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_range.c - byte ranges of a representation.
 *
 * May touch:  base.
 * Limits:     the caller's number of ranges; together they never ask for more than there is, so
 *             that overlapping ones cannot multiply the bytes (RFC 9110 section 17.15).
 * Follows:    RFC 9110 section 14.
 */
#include "http/http_select.h"

/* Digits at the start of *text, taken off; a number too large for 64 bits is the largest, which is
 * past every end. False: there is none. */
static bool
take_number(struct fr_view *text, uint64_t *out)
{
    uint64_t value = 0;
    size_t i = 0;
    for (; i < text->len && text->ptr[i] >= '0' && text->ptr[i] <= '9'; i++) {
        uint64_t digit = (uint64_t)(text->ptr[i] - '0');
        value = value > (UINT64_MAX - digit) / 10 ? UINT64_MAX : value * 10 + digit;
    }
    *text = fr_view_make(text->ptr + i, text->len - i);
    *out = value;
    return i > 0;
}

enum spec { SPEC_BAD, SPEC_OUTSIDE, SPEC_GOOD };

static enum spec
spec_of(uint64_t first, uint64_t last, uint64_t size, struct http_range *out)
{
    if (last < first)
        return SPEC_BAD;
    if (first >= size)
        return SPEC_OUTSIDE;
    if (last >= size)
        last = size - 1;
    *out = (struct http_range){first, last - first + 1};
    return SPEC_GOOD;
}

/* One of "first-", "first-last", "-suffix". */
static enum spec
parse_spec(struct fr_view text, uint64_t size, struct http_range *out)
{
    uint64_t first, last = UINT64_MAX;
    bool has_first = take_number(&text, &first);
    if (text.len == 0 || text.ptr[0] != '-')
        return SPEC_BAD;
    text = fr_view_make(text.ptr + 1, text.len - 1);
    bool has_last = take_number(&text, &last);
    if (text.len > 0 || (!has_first && !has_last))
        return SPEC_BAD;
    if (has_first)
        return spec_of(first, has_last ? last : UINT64_MAX, size, out);
    if (last == 0 || size == 0) /* the last nothing: section 14.1.1 */
        return SPEC_OUTSIDE;
    *out = last < size ? (struct http_range){size - last, last} : (struct http_range){0, size};
    return SPEC_GOOD;
}

enum http_range_result
http_range_parse(struct fr_view value, uint64_t size, size_t ranges_max,
                 struct http_range out[HTTP_RANGES_MAX], size_t *out_count)
{
    struct fr_view rest = value, unit, item;
    struct http_range range;
    size_t specs = 0, count = 0;
    uint64_t left = size;
    bool too_much = false;
    if (!fr_view_split(&rest, '=', &unit) || !rest.ptr || !fr_view_ieq(unit, FR_VIEW("bytes")))
        return HTTP_RANGE_WHOLE; /* a unit we do not know (section 14.2) */
    while (http_list_next(&rest, &item)) {
        enum spec spec = parse_spec(item, size, &range);
        if (spec == SPEC_BAD || ++specs > ranges_max || specs > HTTP_RANGES_MAX)
            return HTTP_RANGE_WHOLE;
        if (spec == SPEC_OUTSIDE)
            continue;
        too_much |= range.bytes > left;
        left -= range.bytes > left ? left : range.bytes;
        out[count++] = range;
    }
    if (specs == 0 || too_much)
        return HTTP_RANGE_WHOLE;
    if (count == 0)
        return HTTP_RANGE_REFUSED;
    *out_count = count;
    return HTTP_RANGE_PARTS;
}
