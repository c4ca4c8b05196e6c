/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_trailers.c - trailer sections: which fields may stand behind a body, and one at a time of a
 * section that has been read.
 *
 * May touch:  base.
 * Memory:     none: what is read points into the section.
 * Limits:     http_limits' fields; how long a section is its reader bounds
 *             (HTTP_TRAILER_BYTES_MAX).
 * Trusts:     nothing. Somebody behind us may merge trailers into the head, so that a name which
 *             means something there is not let through.
 * Follows:    RFC 9110 section 6.5.1, RFC 9112 section 7.1.2.
 */
#include "http/http_priv.h"

/* Message framing and routing: never a trailer, and never by accident. */
static const struct fr_view refused_names[] = {
    {"connection", 10},
    {"content-length", 14},
    {"expect", 6},
    {"forwarded", 9},
    {"host", 4},
    {"keep-alive", 10},
    {"max-forwards", 12},
    {"proxy-connection", 16},
    {"te", 2},
    {"trailer", 7},
    {"transfer-encoding", 17},
    {"upgrade", 7},
    {"via", 3},
    {"x-forwarded-for", 15},
    {"x-forwarded-host", 16},
    {"x-forwarded-proto", 17},
};

/* Request modifiers, authentication, control data, how to read the content: dropped. */
static const struct fr_view dropped_names[] = {
    {"age", 3},
    {"authorization", 13},
    {"cache-control", 13},
    {"content-encoding", 16},
    {"content-location", 16},
    {"content-range", 13},
    {"content-type", 12},
    {"cookie", 6},
    {"date", 4},
    {"expires", 7},
    {"if-match", 8},
    {"if-modified-since", 17},
    {"if-none-match", 13},
    {"if-range", 8},
    {"if-unmodified-since", 19},
    {"location", 8},
    {"pragma", 6},
    {"proxy-authenticate", 18},
    {"proxy-authentication-info", 25},
    {"proxy-authorization", 19},
    {"range", 5},
    {"retry-after", 11},
    {"set-cookie", 10},
    {"traceparent", 11},
    {"tracestate", 10},
    {"vary", 4},
    {"www-authenticate", 16},
    {"x-forwarded-port", 16},
    {"x-real-ip", 9},
    {"x-request-id", 12},
};

static bool
is_one_of(struct fr_view name, const struct fr_view *names, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (fr_view_ieq(name, names[i]))
            return true;
    return false;
}

enum http_step
http_trailers_read(struct fr_view section, const struct http_limits *limits, struct http_head *out,
                   struct http_err *out_err)
{
    struct http__reader reader = {
        .start = section.ptr,
        .at = section.ptr,
        .end = section.ptr + section.len,
        .limited = true, /* the section is whole: more bytes will not come */
        .limit_status = 400,
        .limit_words = "a malformed trailer field",
    };
    http__head_reset(out);
    enum http_step step = http__fields_read(&reader, limits->field_count_max, out, out_err);
    if (step != HTTP_DONE)
        return step;
    for (size_t i = 0; i < out->field_count; i++) {
        struct http_field *field = &out->fields[i];
        if (is_one_of(field->name, refused_names, sizeof(refused_names) / sizeof(refused_names[0])))
            return http__bad(section.ptr, field->name.ptr, 400,
                             "a trailer field that frames or routes the message", out_err);
        field->hop =
            is_one_of(field->name, dropped_names, sizeof(dropped_names) / sizeof(dropped_names[0]));
    }
    return HTTP_DONE;
}

bool
http_section_next(struct fr_view *section, struct fr_view *out_name, struct fr_view *out_value)
{
    struct fr_view line;
    while (fr_view_split(section, '\n', &line)) {
        const char *colon = memchr(line.ptr, ':', line.len);
        if (!colon)
            continue;
        if (line.ptr[line.len - 1] == '\r')
            line.len--;
        size_t name_bytes = (size_t)(colon - line.ptr);
        *out_name = fr_view_make(line.ptr, name_bytes);
        *out_value = fr_view_trim(fr_view_make(colon + 1, line.len - name_bytes - 1));
        return true;
    }
    return false;
}
