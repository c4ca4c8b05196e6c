/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_condition.c - conditional requests against what is there.
 *
 * May touch:  base.
 * Trusts:     nothing. A malformed If-Match fails, because the client wanted to be sure; the other
 *             fields only save work and are ignored when they are malformed.
 * Follows:    RFC 9110 sections 8.8.3 and 13.
 */
#include "http/http_select.h"

/* ---- entity tags ---------------------------------------------------------------------------- */

/* etagc of RFC 9110 section 8.8.3. */
static bool
may_stand(char c)
{
    unsigned char u = (unsigned char)c;
    return u == 0x21 || (u >= 0x23 && u != 0x7f);
}

enum tag_step { TAG_END, TAG_ONE, TAG_BAD };

/* Takes the next tag of a list off *rest. Tags are no quoted strings: a backslash in one is just
 * that, so http_list_next would misread them. */
static enum tag_step
next_tag(struct fr_view *rest, struct fr_view *out)
{
    size_t i = 0;
    while (i < rest->len && (rest->ptr[i] == ' ' || rest->ptr[i] == '\t' || rest->ptr[i] == ','))
        i++;
    size_t from = i;
    if (i == rest->len)
        return TAG_END;
    if (rest->len - i >= 2 && rest->ptr[i] == 'W' && rest->ptr[i + 1] == '/')
        i += 2;
    if (i == rest->len || rest->ptr[i] != '"')
        return TAG_BAD;
    for (i++; i < rest->len && may_stand(rest->ptr[i]); i++)
        ;
    if (i == rest->len || rest->ptr[i] != '"')
        return TAG_BAD;
    i++;
    *out = fr_view_make(rest->ptr + from, i - from);
    *rest = fr_view_make(rest->ptr + i, rest->len - i);
    *rest = fr_view_trim(*rest);
    return rest->len == 0 || rest->ptr[0] == ',' ? TAG_ONE : TAG_BAD;
}

static bool
is_weak(struct fr_view tag)
{
    return tag.len > 0 && tag.ptr[0] == 'W';
}

static struct fr_view
opaque(struct fr_view tag)
{
    return is_weak(tag) ? fr_view_make(tag.ptr + 2, tag.len - 2) : tag;
}

/* RFC 9110 section 8.8.3.2. */
static bool
tags_equal(struct fr_view a, struct fr_view b, bool strong)
{
    if (strong && (is_weak(a) || is_weak(b)))
        return false;
    return fr_view_eq(opaque(a), opaque(b));
}

/* Whether any field of this name lists the tag, or is "*". */
static bool
listed(const struct http_head *request, const struct http_field *field, struct fr_view etag,
       bool strong)
{
    for (; field; field = http_head_next(request, field)) {
        struct fr_view rest = field->value, tag;
        if (fr_view_is(rest, "*"))
            return true;
        while (next_tag(&rest, &tag) == TAG_ONE)
            if (tags_equal(tag, etag, strong))
                return true;
    }
    return false;
}

/* ---- dates ---------------------------------------------------------------------------------- */

/* The date of a field that stands once and is a date; false: it is to be ignored. */
static bool
date_of(const struct http_head *request, enum http_known known, int64_t now_s, int64_t *out_s)
{
    const struct http_field *field = http_head_find(request, known);
    return field && !http_head_next(request, field) && http_date_parse(field->value, now_s, out_s);
}

/* ---- section 13.2.2 ------------------------------------------------------------------------- */

enum http_condition
http_condition_judge(const struct http_head *request, const struct http_validators *is,
                     int64_t now_s)
{
    const struct http_field *field = http_head_find(request, HTTP_FIELD_IF_MATCH);
    bool reading = request->method == HTTP_GET || request->method == HTTP_HEAD;
    int64_t date_s;
    if (field) {
        if (!listed(request, field, is->etag, true))
            return HTTP_CONDITION_FAILED;
    } else if (date_of(request, HTTP_FIELD_IF_UNMODIFIED_SINCE, now_s, &date_s)) {
        if (is->modified_s > date_s)
            return HTTP_CONDITION_FAILED;
    }
    field = http_head_find(request, HTTP_FIELD_IF_NONE_MATCH);
    if (field) {
        if (listed(request, field, is->etag, false))
            return reading ? HTTP_CONDITION_NOT_MODIFIED : HTTP_CONDITION_FAILED;
    } else if (reading && date_of(request, HTTP_FIELD_IF_MODIFIED_SINCE, now_s, &date_s)) {
        if (is->modified_s <= date_s)
            return HTTP_CONDITION_NOT_MODIFIED;
    }
    return HTTP_CONDITION_GO_ON;
}

bool
http_condition_if_range(const struct http_head *request, const struct http_validators *is,
                        int64_t now_s)
{
    const struct http_field *field = http_head_find(request, HTTP_FIELD_IF_RANGE);
    int64_t date_s;
    if (!field)
        return true;
    if (http_head_next(request, field))
        return false;
    struct fr_view rest = field->value, tag;
    if (next_tag(&rest, &tag) == TAG_ONE)
        return rest.len == 0 && tags_equal(tag, is->etag, true);
    /* A date is strong when the second it names is over (section 8.8.2.2): within it the file may
     * have changed twice. */
    return http_date_parse(field->value, now_s, &date_s) && date_s == is->modified_s &&
           now_s > is->modified_s;
}
