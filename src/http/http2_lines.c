/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_lines.c - a request's head out of the lines that were written of its fields.
 *
 * May touch:  base.
 * Limits:     those of a head that is read (struct http_limits), with the same answers.
 * Memory:     views into the text.
 * Trusts:     that text and lines are http2_head.c's, which refuses what no line may be, so that
 *             here only the rules are left that are about the whole of a request.
 * Cost:       a step for each line, whatever its length; the target's octets are looked at.
 */
#include "http/http2_head.h"
#include "http/http_priv.h"

static enum http_step
too_much(int status, enum http_limit limit, const char *words, struct http_err *out_err)
{
    enum http_step step = http__bad(NULL, NULL, status, words, out_err);
    out_err->limit = limit;
    return step;
}

static enum http_step
limits_check(const struct http_head *head, size_t count, const struct http_limits *limits,
             struct http_err *out_err)
{
    size_t first = head->method_text.len + head->target.len + sizeof("  HTTP/1.1\r\n") - 1;
    if (first > limits->request_line_bytes_max)
        return too_much(414, HTTP_LIMIT_LINE, "the request line is too long", out_err);
    if (head->head_bytes > limits->head_bytes_max)
        return too_much(431, HTTP_LIMIT_HEAD, "the head is too long", out_err);
    if (count > limits->field_count_max || count > HTTP_FIELDS_MAX)
        return too_much(431, HTTP_LIMIT_FIELDS, "too many fields", out_err);
    return HTTP_DONE;
}

enum http_step
http2_lines_head(struct fr_view text, const struct fr_buf *lines, const struct http_limits *limits,
                 struct http_head *out, struct http_err *out_err)
{
    const struct http2_line *line = (const struct http2_line *)(const void *)lines->data;
    const struct http2_line *end = line + lines->len / sizeof(*line);
    const char *buf = text.ptr - line->at;
    http__head_reset(out);
    out->method_text = fr_view_make(text.ptr, line->name_len);
    out->target = fr_view_make(text.ptr + line->name_len + 1, line->value_len);
    out->version_minor = 1;
    out->head_bytes = text.len;
    enum http_step step = limits_check(out, (size_t)(end - line) - 1, limits, out_err);
    if (step != HTTP_DONE)
        return step;
    while (++line < end) {
        struct http_field *field = &out->fields[out->field_count];
        const char *name = buf + line->at;
        field->name = fr_view_make(name, line->name_len);
        field->value = fr_view_make(name + line->name_len + line->colon_len, line->value_len);
        http__field_note(out, (enum http_known)line->known);
    }
    return http__request_check(text.ptr, out, true, out_err);
}
