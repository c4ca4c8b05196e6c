/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_trace.c - names of requests, and elements of Forwarded: read strictly, made.
 *
 * May touch:  base.
 * Trusts:     nothing.
 * Follows:    W3C Trace Context section 3.2, RFC 7239 section 4.
 */
#include "http/http_trace.h"

#include "base/fr_put.h"

enum { TRACE_AT = HTTP_TRACE_ID_AT, PARENT_AT = 36, FLAGS_AT = 53, PARENT_BYTES = 16 };

bool
http_request_id_valid(struct fr_view id)
{
    if (id.len == 0 || id.len > HTTP_REQUEST_ID_BYTES_MAX)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        bool word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!word && !memchr("-_.:=+/@~", c, 9))
            return false;
    }
    return true;
}

/* Lower-case hexadecimal digits, as section 3.2.2 demands; *out_zero: all of them are 0. */
static bool
is_hex(const char *at, size_t count, bool *out_zero)
{
    *out_zero = true;
    for (size_t i = 0; i < count; i++) {
        if (!((at[i] >= '0' && at[i] <= '9') || (at[i] >= 'a' && at[i] <= 'f')))
            return false;
        if (at[i] != '0')
            *out_zero = false;
    }
    return true;
}

bool
http_traceparent_valid(struct fr_view value, struct fr_view *out_trace_id)
{
    bool version_zero, trace_zero, parent_zero, flags_zero;
    const char *at = value.ptr;
    if (value.len < HTTP_TRACEPARENT_BYTES || value.len > HTTP_TRACEPARENT_BYTES_MAX ||
        at[TRACE_AT - 1] != '-' || at[PARENT_AT - 1] != '-' || at[FLAGS_AT - 1] != '-')
        return false;
    if (!is_hex(at, 2, &version_zero) ||
        !is_hex(at + TRACE_AT, HTTP_TRACE_ID_BYTES, &trace_zero) ||
        !is_hex(at + PARENT_AT, PARENT_BYTES, &parent_zero) ||
        !is_hex(at + FLAGS_AT, 2, &flags_zero))
        return false;
    if (trace_zero || parent_zero || (at[0] == 'f' && at[1] == 'f'))
        return false;
    /* Section 4: what a later version adds stands behind one more dash. */
    if (value.len > HTTP_TRACEPARENT_BYTES && (version_zero || at[HTTP_TRACEPARENT_BYTES] != '-'))
        return false;
    *out_trace_id = fr_view_make(at + TRACE_AT, HTTP_TRACE_ID_BYTES);
    return true;
}

void
http_traceparent_make(const uint64_t random[3], char out[HTTP_TRACEPARENT_BYTES + 1])
{
    /* Ids of zeros are invalid. */
    (void)fr_put_hex64(fr_put_hex64(out + TRACE_AT, random[0]), random[1] | 1);
    (void)fr_put_hex64(out + PARENT_AT, random[2] | 1);
    out[0] = out[1] = out[FLAGS_AT] = out[FLAGS_AT + 1] = '0';
    out[TRACE_AT - 1] = out[PARENT_AT - 1] = out[FLAGS_AT - 1] = '-';
    out[HTTP_TRACEPARENT_BYTES] = '\0';
}

/* token "=" value; no blanks around the sign (RFC 7239 section 4). */
static bool
pair_read(struct fr_view pair, struct fr_view *out_name, struct fr_view *out_value)
{
    struct fr_view value = pair;
    if (!fr_view_split(&value, '=', out_name) || !value.ptr || !http_is_token(*out_name))
        return false;
    bool quoted = value.len >= 2 && value.ptr[0] == '"' && value.ptr[value.len - 1] == '"';
    if (quoted)
        value = fr_view_make(value.ptr + 1, value.len - 2);
    else if (!http_is_token(value))
        return false;
    if (value.len && (memchr(value.ptr, '"', value.len) || memchr(value.ptr, '\\', value.len)))
        return false;
    *out_value = value;
    return true;
}

/* Up to the next ';' that stands in no quotes. */
static bool
pair_take(struct fr_view *rest, struct fr_view *out)
{
    bool quoted = false;
    size_t i = 0;
    if (!rest->ptr)
        return false;
    for (; i < rest->len && (quoted || rest->ptr[i] != ';'); i++)
        if (rest->ptr[i] == '"')
            quoted = !quoted;
    *out = fr_view_make(rest->ptr, i);
    *rest = i < rest->len ? fr_view_make(rest->ptr + i + 1, rest->len - i - 1)
                          : (struct fr_view){0};
    return true;
}

bool
http_forwarded_read(struct fr_view element, struct http_forwarded *out)
{
    struct fr_view rest = element, pair, name, value;
    *out = (struct http_forwarded){0};
    while (pair_take(&rest, &pair)) {
        struct fr_view *place = NULL;
        if (pair.len == 0)
            continue;
        if (!pair_read(pair, &name, &value))
            return false;
        if (fr_view_ieq(name, FR_VIEW("for")))
            place = &out->node;
        else if (fr_view_ieq(name, FR_VIEW("proto")))
            place = &out->proto;
        else if (fr_view_ieq(name, FR_VIEW("host")))
            place = &out->host;
        if (place && place->ptr)
            return false;
        if (place)
            *place = value;
    }
    return true;
}
