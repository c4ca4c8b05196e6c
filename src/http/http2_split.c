/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_split.c - the text of a head, printed here, as fields of HTTP/2.
 *
 * May touch:  base.
 * Memory:     views into the text. Pseudo-fields come first, in the places kept for them.
 * Cost:       one pass, nothing copied.
 * Follows:    RFC 9113 sections 8.2.2, 8.3.1 and 8.3.2, RFC 8441 section 4.
 */
#include "http/http2_head.h"

#define REQUEST_PSEUDOS 5 /* :method, :scheme, :path, :authority, :protocol */

static nghttp2_nv
pair(struct fr_view name, struct fr_view value, bool never_indexed)
{
    return (nghttp2_nv){(uint8_t *)(uintptr_t)name.ptr, (uint8_t *)(uintptr_t)value.ptr, name.len,
                        value.len, never_indexed ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE};
}

void
http2_split_begin(struct http2_split *split, enum http2_kind kind)
{
    split->status = 0;
    split->count = 0;
    split->has_length = false;
    split->length = 0;
    split->kind = kind;
    split->started = kind == HTTP2_TRAILERS;
    split->upgrade = (struct fr_view){0};
}

static bool
first_line(struct http2_split *split, struct fr_view line)
{
    struct fr_view word, target;
    uint64_t status;
    split->started = true;
    if (!fr_view_split(&line, ' ', &word))
        return false;
    if (split->kind == HTTP2_RESPONSE) {
        if (!fr_view_split(&line, ' ', &target) || !fr_view_u64(target, &status))
            return false;
        split->status = (int)status;
        split->pairs[split->count++] = pair(FR_VIEW(":status"), target, false);
        return true;
    }
    if (!fr_view_split(&line, ' ', &target) || target.len == 0)
        return false;
    split->pairs[0] = pair(FR_VIEW(":method"), word, false);
    split->pairs[1] = pair(FR_VIEW(":scheme"), split->scheme, false);
    split->pairs[2] = pair(FR_VIEW(":path"), target, true);            /* this line cannot say so */
    split->pairs[3] = pair(FR_VIEW(":authority"), FR_VIEW(""), false); /* comes with Host */
    split->pairs[4] = pair(FR_VIEW(":protocol"), FR_VIEW(""), false);
    split->count = REQUEST_PSEUDOS;
    return true;
}

/* The lengths of the names below: most fields of a head need no further look. */
#define LENGTH_BIT(name) ((uint32_t)1 << (sizeof(name) - 1))
static const uint32_t lengths_left_out =
    LENGTH_BIT("connection") | LENGTH_BIT("keep-alive") | LENGTH_BIT("proxy-connection") |
    LENGTH_BIT("transfer-encoding") | LENGTH_BIT("upgrade") | LENGTH_BIT("te") |
    LENGTH_BIT("host") | LENGTH_BIT("content-length") | LENGTH_BIT("set-cookie");

/* True: told otherwise, or not at all. What is secret whoever sends it is never indexed; of
 * authorization, and of cookies that are short enough to be guessed, nghttp2 knows that itself. */
static bool
is_left_out(struct http2_split *split, struct fr_view name, struct fr_view value,
            bool *never_indexed)
{
    if (name.len >= 32 || !(lengths_left_out >> name.len & 1))
        return false;
    switch (http_known_of(name)) {
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
            split->pairs[3] = pair(FR_VIEW(":authority"), value, *never_indexed);
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
field_line(struct http2_split *split, struct fr_view line)
{
    const char *colon = memchr(line.ptr, ':', line.len);
    if (!colon || colon == line.ptr)
        return false;
    struct fr_view name = fr_view_make(line.ptr, (size_t)(colon - line.ptr));
    struct fr_view value = value_of(fr_view_make(colon + 1, line.len - name.len - 1));
    bool never_indexed = value.ptr == colon + 1; /* http_field_is_never_indexed */
    if (is_left_out(split, name, value, &never_indexed))
        return true;
    if (split->count == HTTP2_PAIRS_MAX)
        return false;
    split->pairs[split->count++] = pair(name, value, never_indexed);
    return true;
}

/* Takes out the places that were kept for nothing; with an Upgrade it is an extended CONNECT. */
static void
close_up(struct http2_split *split)
{
    if (split->kind != HTTP2_REQUEST)
        return;
    if (split->upgrade.len > 0) {
        split->pairs[0] = pair(FR_VIEW(":method"), FR_VIEW("CONNECT"), false);
        split->pairs[4] = pair(FR_VIEW(":protocol"), split->upgrade, false);
    }
    for (size_t at = REQUEST_PSEUDOS; at-- > 3;) {
        if (split->pairs[at].valuelen > 0)
            continue;
        memmove(&split->pairs[at], &split->pairs[at + 1],
                (split->count - at - 1) * sizeof(split->pairs[0]));
        split->count--;
    }
}

enum http_step
http2_split_read(struct http2_split *split, struct fr_view part, size_t *out_used)
{
    struct fr_view rest = part;
    while (rest.len > 0) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        if (!end || end == rest.ptr || end[-1] != '\r')
            return HTTP_BAD;
        struct fr_view line = fr_view_make(rest.ptr, (size_t)(end - rest.ptr) - 1);
        rest = fr_view_make(end + 1, rest.len - line.len - 2);
        if (line.len == 0) {
            if (!split->started)
                return HTTP_BAD;
            close_up(split);
            *out_used = part.len - rest.len;
            return HTTP_DONE;
        }
        if (!(split->started ? field_line(split, line) : first_line(split, line)))
            return HTTP_BAD;
    }
    *out_used = part.len;
    return HTTP_MORE;
}
