/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_response.c - response heads. A member's bytes are believed no more than a client's.
 *
 * May touch:  base.
 * Trusts:     nothing; what is wrong here is answered with 502.
 * Memory:     none; views into the input.
 * Follows:    RFC 9112 sections 4 and 6.3.
 */
#include "http/http_scan.h"

#include <assert.h> /* static_assert */

static const char status_line_words[] = "not a status line";

#define STATUS_BYTES 12 /* of "HTTP/1.d ddd" */

/* Which octet is none of a status line, if the rest of it has come. */
static enum http_step
status_bad(const struct http__reader *reader, struct http_err *out_err)
{
    static const char shape[] = "HTTP/1.d ddd";
    static_assert(sizeof(shape) - 1 == STATUS_BYTES, "all of it");
    const char *at = reader->at;
    for (size_t i = 0; i < STATUS_BYTES && at < reader->end; i++, at++) {
        bool fits = shape[i] == 'd' ? http__is(*at, HTTP__DIGIT) : *at == shape[i];
        if (!fits)
            return http__bad(reader->start, at, 502, status_line_words, out_err);
    }
    return http__ran_out(reader, out_err);
}

static bool
is_status(const char *at)
{
    return memcmp(at, "HTTP/1.", 7) == 0 && http__is(at[7], HTTP__DIGIT) && at[8] == ' ' &&
           http__is(at[9], HTTP__DIGIT) && http__is(at[10], HTTP__DIGIT) &&
           http__is(at[11], HTTP__DIGIT);
}

static enum http_step
status_read(struct http__reader *reader, struct http_head *head, struct http_err *out_err)
{
    const char *at = reader->at;
    if (reader->end - at < STATUS_BYTES || !is_status(at))
        return status_bad(reader, out_err);
    /* RFC 9110 section 2.5: a later minor version is read as the last that is known. */
    head->version_minor = at[7] == '0' ? 0 : 1;
    head->status = (at[9] - '0') * 100 + (at[10] - '0') * 10 + (at[11] - '0');
    /* RFC 9110 section 15: statuses are 100 to 599. */
    if (head->status < 100 || head->status > 599)
        return http__bad(reader->start, at, 502, "an unknown status", out_err);
    reader->at = at + STATUS_BYTES;
    return HTTP_DONE;
}

/* [ SP reason ] CRLF. The space before no reason is forgotten by many servers; nothing hangs on it.
 */
static enum http_step
reason_read(struct http__reader *reader, struct http_head *head, struct http_err *out_err)
{
    const char *at = reader->at;
    if (at == reader->end)
        return http__ran_out(reader, out_err);
    if (*at == ' ')
        at++;
    else if (*at != '\r')
        return http__bad(reader->start, at, 502, status_line_words, out_err);
    const char *reason = at;
    at = http__run(at, reader->end, HTTP__TEXT);
    if (at == reader->end || (*at == '\r' && at + 1 == reader->end))
        return http__ran_out(reader, out_err);
    if (*at != '\r' || at[1] != '\n')
        return http__bad(reader->start, at, 502, "a control in the reason", out_err);
    head->reason = fr_view_make(reason, (size_t)(at - reason));
    reader->at = at + 2;
    return HTTP_DONE;
}

static enum http_step
response_read(struct http__reader *reader, const struct http_limits *limits, struct http_head *head,
              struct http_err *out_err)
{
    enum http_step step = status_read(reader, head, out_err);
    if (step == HTTP_DONE)
        step = reason_read(reader, head, out_err);
    if (step == HTTP_DONE)
        step = http__fields_read(reader, limits->field_count_max, head, out_err);
    if (step != HTTP_DONE)
        return step;
    head->head_bytes = (size_t)(reader->at - reader->start);
    const char *at = reader->start;
    const char *words = NULL;
    if (!http__connection_apply(head))
        words = "too many connection options";
    else
        words = http__framing_of_response(head, &at);
    return words ? http__bad(reader->start, at, 502, words, out_err) : HTTP_DONE;
}

enum http_step
http_response_parse(struct fr_view in, const struct http_limits *limits, size_t *scanned,
                    struct http_head *out, struct http_err *out_err)
{
    if (!http__worth_parsing(in, limits, scanned))
        return HTTP_MORE;
    struct http__reader reader = http__reader_of(in, limits, 502);
    http__head_reset(out);
    enum http_step step = response_read(&reader, limits, out, out_err);
    if (step == HTTP_BAD)
        out_err->status = 502; /* the rules shared with requests say 400 or 431 */
    return step;
}
