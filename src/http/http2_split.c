/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_split.c - the text of a head, printed here, as fields of HTTP/2.
 *
 * May touch:  base.
 * Memory:     views into the text. Pseudo-fields come first, in the places kept for them.
 * Cost:       one pass, nothing copied. Lines that the last head had too are compared with it, and
 *             not taken apart, since no field that is left out gets in there.
 * Follows:    RFC 9113 sections 8.2.2, 8.3.1 and 8.3.2, RFC 8441 section 4.
 */
#include "http/http2_head.h"
#include "http/http_scan.h"

#define REQUEST_PSEUDOS 5 /* :method, :scheme, :path, :authority, :protocol */

static struct hpack_field
field_of(struct fr_view name, struct fr_view value, bool never_indexed)
{
    return (struct hpack_field){.name = name, .value = value, .never_indexed = never_indexed};
}

void
http2_split_begin(struct http2_split *split, enum http2_kind kind)
{
    split->status = 0;
    split->count = 0;
    split->has_length = false;
    split->length = 0;
    split->kind = kind;
    split->encoder = NULL;
    split->line = 0;
    split->started = kind == HTTP2_TRAILERS;
    split->upgrade = (struct fr_view){0};
}

#define STATUS_AT (sizeof("HTTP/1.1 ") - 1)
#define STATUS_BYTES 3

static bool
status_line(struct http2_split *split, struct fr_view line)
{
    if (line.len < STATUS_AT + STATUS_BYTES || !fr_view_starts(line, FR_VIEW("HTTP/1.1 ")))
        return false;
    struct fr_view digits = fr_view_make(line.ptr + STATUS_AT, STATUS_BYTES);
    int status = 0;
    for (size_t i = 0; i < STATUS_BYTES; i++) {
        if (!http__is(digits.ptr[i], HTTP__DIGIT))
            return false;
        status = 10 * status + digits.ptr[i] - '0';
    }
    if (line.len > STATUS_AT + STATUS_BYTES && digits.ptr[STATUS_BYTES] != ' ')
        return false;
    split->status = status;
    split->fields[split->count++] = field_of(FR_VIEW(":status"), digits, false);
    return true;
}

static bool
request_line(struct http2_split *split, struct fr_view line)
{
    struct fr_view word, target;
    if (!fr_view_split(&line, ' ', &word) || !fr_view_split(&line, ' ', &target) || target.len == 0)
        return false;
    split->fields[0] = field_of(FR_VIEW(":method"), word, false);
    split->fields[1] = field_of(FR_VIEW(":scheme"), split->scheme, false);
    split->fields[2] = field_of(FR_VIEW(":path"), target, true); /* this line cannot say so */
    split->fields[3] = field_of(FR_VIEW(":authority"), FR_VIEW(""), false); /* with Host */
    split->fields[4] = field_of(FR_VIEW(":protocol"), FR_VIEW(""), false);
    split->count = REQUEST_PSEUDOS;
    return true;
}

static bool
first_line(struct http2_split *split, struct fr_view line)
{
    split->started = true;
    return split->kind == HTTP2_RESPONSE ? status_line(split, line) : request_line(split, line);
}

/* The lengths of the names below: most fields of a head need no further look. */
#define LENGTH_BIT(name) ((uint32_t)1 << (sizeof(name) - 1))
static const uint32_t lengths_left_out =
    LENGTH_BIT("connection") | LENGTH_BIT("keep-alive") | LENGTH_BIT("proxy-connection") |
    LENGTH_BIT("transfer-encoding") | LENGTH_BIT("upgrade") | LENGTH_BIT("te") |
    LENGTH_BIT("host") | LENGTH_BIT("content-length") | LENGTH_BIT("set-cookie");

/* True: told otherwise, or not at all. What is secret whoever sends it is never indexed. Requests
 * go out through nghttp2, which knows of authorization, and of cookies that are short enough to be
 * guessed, by itself; responses, through hpack_encode.c, have neither. */
static bool
is_left_out(struct http2_split *split, struct fr_view name, struct fr_view value,
            bool *never_indexed)
{
    if (name.len >= 32 || !(lengths_left_out >> name.len & 1))
        return false;
    switch (http__known_of_token(name)) {
    case HTTP_FIELD_CONNECTION:
    case HTTP_FIELD_KEEP_ALIVE:
    case HTTP_FIELD_PROXY_CONNECTION:
    case HTTP_FIELD_TRANSFER_ENCODING:
        return true;
    case HTTP_FIELD_UPGRADE:
        split->upgrade = value;
        return true;
    case HTTP_FIELD_TE:
        return !fr_view_ieq(value, FR_VIEW("trailers"));
    case HTTP_FIELD_HOST:
        if (split->kind == HTTP2_REQUEST)
            split->fields[3] = field_of(FR_VIEW(":authority"), value, *never_indexed);
        return true;
    case HTTP_FIELD_SET_COOKIE:
        *never_indexed = true;
        return false;
    case HTTP_FIELD_CONTENT_LENGTH:
        split->has_length = fr_view_u64(value, &split->length);
        return false;
    default:
        return false;
    }
}

/* One space in front and none behind is how nearly all of them are printed. */
static struct fr_view
value_of(struct fr_view text)
{
    bool usual = text.len > 1 && text.ptr[0] == ' ' && (uint8_t)text.ptr[1] > ' ' &&
                 (uint8_t)text.ptr[text.len - 1] > ' ';
    return usual ? fr_view_make(text.ptr + 1, text.len - 1) : fr_view_trim(text);
}

static bool
field_line(struct http2_split *split, struct fr_view line, const char *colon)
{
    if (!colon || colon == line.ptr || colon >= line.ptr + line.len)
        return false;
    size_t name_len = (size_t)(colon - line.ptr);
    struct fr_view name = fr_view_make(line.ptr, name_len);
    struct fr_view value = value_of(fr_view_make(colon + 1, line.len - name_len - 1));
    bool never_indexed = value.ptr == colon + 1; /* http_field_is_never_indexed */
    if (is_left_out(split, name, value, &never_indexed))
        return true;
    if (split->count == HTTP2_SPLIT_MAX)
        return false;
    struct hpack_field *field = &split->fields[split->count++];
    *field = field_of(name, value, never_indexed);
    field->printed = split->status >= 200 && !never_indexed && value.ptr == colon + 2 &&
                     value.ptr + value.len == line.ptr + line.len;
    return true;
}

/* Takes out the places that were kept for nothing; with an Upgrade it is an extended CONNECT. */
static void
close_up(struct http2_split *split)
{
    if (split->kind != HTTP2_REQUEST)
        return;
    if (split->upgrade.len > 0) {
        split->fields[0] = field_of(FR_VIEW(":method"), FR_VIEW("CONNECT"), false);
        split->fields[4] = field_of(FR_VIEW(":protocol"), split->upgrade, false);
    }
    for (size_t at = REQUEST_PSEUDOS; at-- > 3;) {
        if (split->fields[at].value.len > 0)
            continue;
        memmove(&split->fields[at], &split->fields[at + 1],
                (split->count - at - 1) * sizeof(split->fields[0]));
        split->count--;
    }
}

/* Passes lines that the encoder knows. Returns where another one is. */
static const char *
known_lines(struct http2_split *split, const char *at, const char *end)
{
    if (!split->encoder || split->status == 101)
        return at;
    while (at < end && split->count < HTTP2_SPLIT_MAX) {
        struct hpack_field *field = &split->fields[split->count];
        struct fr_view rest = fr_view_make(at, (size_t)(end - at));
        size_t bytes = hpack_find_lines(split->encoder, rest, &split->line, field);
        if (bytes == 0)
            break;
        split->count++;
        split->has_length |= hpack_lines_length(split->encoder, field, &split->length);
        at += bytes;
    }
    return at;
}

/* Reads a line that is not empty; *at moves behind it. False: none ends here, or it is none of
 * ours. */
static bool
line_read(struct http2_split *split, struct fr_view part, const char **at)
{
    const char *line = *at;
    const char *lf = http__find(part, line, '\n');
    if (!lf || lf == line || lf[-1] != '\r')
        return false;
    struct fr_view text = fr_view_make(line, (size_t)(lf - 1 - line));
    *at = lf + 1;
    if (!split->started)
        return first_line(split, text);
    return field_line(split, text, http__find(part, line, ':'));
}

enum http_step
http2_split_read(struct http2_split *split, struct fr_view part, size_t *out_used)
{
    const char *at = part.ptr, *end = part.ptr + part.len;
    bool empty = false;
    while (!empty) {
        if (split->started)
            at = known_lines(split, at, end);
        if (at == end)
            break;
        empty = split->started && end - at >= 2 && memcmp(at, "\r\n", 2) == 0;
        if (empty)
            at += 2;
        else if (!line_read(split, part, &at))
            return HTTP_BAD;
    }
    *out_used = (size_t)(at - part.ptr);
    if (!empty)
        return HTTP_MORE;
    close_up(split);
    return HTTP_DONE;
}
