/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_body.c - bodies: where the payload is and where it ends.
 *
 * May touch:  base.
 * Trusts:     nothing. A chunk line is size, extensions, CRLF by the grammar; trailers are field
 *             lines by the grammar. One octet a step outside of payload, which goes on in runs.
 * Memory:     none beyond struct http_body.
 * Limits:     HTTP_CHUNK_LINE_BYTES_MAX, HTTP_CHUNK_EXCESS_BYTES_MAX, HTTP_TRAILER_BYTES_MAX, 16
 *             digits a size, 2^63-1 a chunk.
 * Follows:    RFC 9112 sections 6.3, 7.1 and 8.
 *
 *     SIZE_FIRST -> SIZE -> [extensions] -> SIZE_LF -> DATA -> DATA_CR -> DATA_LF -> SIZE_FIRST
 *                                              | (size 0)
 *                                              v
 *                                           TRAILER -> NAME -> VALUE -> TRAILER_LF -> TRAILER
 *                                              | (CR)
 *                                              v
 *                                           LAST_LF -> ENDED              any -> BROKEN
 */
#include "http/http_priv.h"

enum {
    SIZE_FIRST,
    SIZE,
    SIZE_BLANK, /* blanks behind a size or a value: only ';' may follow */
    EXT_FIRST,  /* behind ';' */
    EXT_NAME,
    EXT_NAME_BLANK, /* '=' or ';' may follow */
    EXT_VALUE_FIRST,
    EXT_VALUE,
    EXT_QUOTED,
    EXT_QUOTED_PAIR,
    EXT_QUOTED_END,
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER,
    TRAILER_NAME,
    TRAILER_VALUE,
    TRAILER_LF,
    LAST_LF,
    ENDED,
    BROKEN,
};

#define CHUNK_DIGITS_MAX 16
#define CHUNK_BYTES_MAX ((uint64_t)INT64_MAX)
#define CHUNK_LINE_FREE 16 /* octets of a chunk line that no payload need pay for */

void
http_body_init(struct http_body *body, enum http_framing framing, uint64_t content_length)
{
    memset(body, 0, sizeof(*body));
    body->framing = framing;
    body->left = framing == HTTP_BODY_LENGTH ? content_length : 0;
    body->state = SIZE_FIRST;
}

static unsigned
hex_value(char c)
{
    if (c <= '9')
        return (unsigned)(c - '0');
    return (unsigned)((c | 0x20) - 'a') + 10;
}

/* The chunk's size line is over but for its LF. Extensions are ignored (section 7.1.1). */
static const char *
size_done(struct http_body *body, char c)
{
    switch (c) {
    case ';':
        body->state = EXT_FIRST;
        return NULL;
    case '\r':
        body->state = SIZE_LF;
        return NULL;
    default:
        return "a malformed chunk line";
    }
}

static const char *
size_step(struct http_body *body, char c)
{
    if (!http__is(c, HTTP__HEX)) {
        if (body->state == SIZE_FIRST)
            return "a chunk without a size";
        if (!http__is_blank(c))
            return size_done(body, c);
        body->state = SIZE_BLANK;
        return NULL;
    }
    if (body->state == SIZE_FIRST) {
        body->state = SIZE;
        body->line_bytes = 1;
        body->left = 0;
    }
    if (body->line_bytes > CHUNK_DIGITS_MAX || body->left > CHUNK_BYTES_MAX >> 4)
        return "a chunk size is too large";
    body->left = body->left << 4 | hex_value(c);
    return NULL;
}

/* chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] ) */
static const char *
ext_step(struct http_body *body, char c)
{
    bool blank = http__is_blank(c);
    bool token = http__is(c, HTTP__TOKEN);
    switch (body->state) {
    case SIZE_BLANK:
        if (!blank && c != ';')
            return "a malformed chunk line";
        return blank ? NULL : size_done(body, c);
    case EXT_FIRST:
        if (token)
            body->state = EXT_NAME;
        return token || blank ? NULL : "a chunk extension without a name";
    case EXT_NAME:
    case EXT_NAME_BLANK:
        if (c == '=') {
            body->state = EXT_VALUE_FIRST;
            return NULL;
        }
        if (blank) {
            body->state = EXT_NAME_BLANK;
            return NULL;
        }
        if (body->state == EXT_NAME)
            return token ? NULL : size_done(body, c);
        return c == ';' ? size_done(body, c) : "a malformed chunk extension";
    case EXT_VALUE_FIRST:
        if (token)
            body->state = EXT_VALUE;
        else if (c == '"')
            body->state = EXT_QUOTED;
        return token || blank || c == '"' ? NULL : "a malformed chunk extension";
    default: /* EXT_VALUE, EXT_QUOTED_END */
        if (blank) {
            body->state = SIZE_BLANK;
            return NULL;
        }
        return body->state == EXT_VALUE && token ? NULL : size_done(body, c);
    }
}

static const char *
quoted_step(struct http_body *body, char c)
{
    if (!http__is(c, HTTP__TEXT))
        return "a control in a chunk extension";
    if (body->state == EXT_QUOTED_PAIR)
        body->state = EXT_QUOTED;
    else if (c == '"')
        body->state = EXT_QUOTED_END;
    else if (c == '\\')
        body->state = EXT_QUOTED_PAIR;
    return NULL;
}

/* Extensions cost whoever sends them next to nothing and every reader its time, so that lines
 * beyond what their payload explains add up to a limit. */
static bool
excess_add(struct http_body *body)
{
    uint64_t free_bytes = CHUNK_LINE_FREE + body->left;
    uint64_t excess = (uint64_t)body->excess_bytes + body->line_bytes;
    body->excess_bytes = excess > free_bytes ? (uint32_t)(excess - free_bytes) : 0;
    return body->excess_bytes <= HTTP_CHUNK_EXCESS_BYTES_MAX;
}

static const char *
line_feed_step(struct http_body *body, char c)
{
    if (c != '\n')
        return "a CR without its LF";
    switch (body->state) {
    case SIZE_LF:
        if (!excess_add(body))
            return "chunk lines are too long for what they hold";
        body->state = body->left ? DATA : TRAILER;
        body->line_bytes = 0;
        break;
    case DATA_LF:
        body->state = SIZE_FIRST;
        body->line_bytes = 0;
        break;
    case TRAILER_LF:
        body->state = TRAILER;
        break;
    default: /* LAST_LF */
        body->state = ENDED;
        break;
    }
    return NULL;
}

/* Trailer fields are held to the rules of any field; their names are http_trailers_read's matter.
 */
static const char *
trailer_step(struct http_body *body, char c)
{
    if (body->state == TRAILER_VALUE) {
        if (c == '\r')
            body->state = TRAILER_LF;
        return c == '\r' || http__is(c, HTTP__TEXT) ? NULL : "a control in a trailer field";
    }
    if (http__is(c, HTTP__TOKEN)) {
        body->state = TRAILER_NAME;
        return NULL;
    }
    if (body->state == TRAILER && c == '\r') {
        body->state = LAST_LF;
        return NULL;
    }
    if (body->state == TRAILER_NAME && c == ':') {
        body->state = TRAILER_VALUE;
        return NULL;
    }
    return "a malformed trailer field";
}

/* One octet of framing. NULL, or which rule it breaks. */
static const char *
chunk_step(struct http_body *body, char c)
{
    bool trailer = body->state >= TRAILER;
    if (++body->line_bytes > (trailer ? HTTP_TRAILER_BYTES_MAX : HTTP_CHUNK_LINE_BYTES_MAX))
        return trailer ? "trailers are too long" : "a chunk line is too long";
    switch (body->state) {
    case SIZE_FIRST:
    case SIZE:
        return size_step(body, c);
    case EXT_QUOTED:
    case EXT_QUOTED_PAIR:
        return quoted_step(body, c);
    case SIZE_LF:
    case DATA_LF:
    case TRAILER_LF:
    case LAST_LF:
        return line_feed_step(body, c);
    case DATA_CR:
        body->state = DATA_LF;
        return c == '\r' ? NULL : "a chunk is longer than its size";
    case TRAILER:
    case TRAILER_NAME:
    case TRAILER_VALUE:
        return trailer_step(body, c);
    default:
        return ext_step(body, c);
    }
}

static size_t
run_take(struct http_body *body, struct fr_view in, size_t at, struct fr_view *out_data)
{
    size_t run = in.len - at;
    if (run > body->left)
        run = (size_t)body->left;
    *out_data = fr_view_make(run > 0 ? in.ptr + at : NULL, run); /* nothing may stand nowhere */
    body->left -= run;
    body->received += run;
    return at + run;
}

static enum http_step
chunked_decode(struct http_body *body, struct fr_view in, size_t *out_used,
               struct fr_view *out_data, struct http_err *out_err)
{
    size_t at = 0;
    size_t trailer_at = in.len;
    while (at < in.len && body->state != ENDED) {
        if (body->state >= TRAILER && trailer_at == in.len)
            trailer_at = at;
        if (body->state == DATA) {
            *out_used = run_take(body, in, at, out_data);
            if (body->left == 0)
                body->state = DATA_CR;
            return HTTP_MORE;
        }
        const char *words =
            body->state == BROKEN ? "the body is broken" : chunk_step(body, in.ptr[at]);
        if (words) {
            body->state = BROKEN;
            *out_used = at;
            return http__bad(in.ptr, in.ptr + at, 400, words, out_err);
        }
        at++;
    }
    *out_used = at;
    if (trailer_at < at)
        body->trailer = fr_view_make(in.ptr + trailer_at, at - trailer_at);
    return body->state == ENDED ? HTTP_DONE : HTTP_MORE;
}

enum http_step
http_body_decode(struct http_body *body, struct fr_view in, size_t *out_used,
                 struct fr_view *out_data, struct http_err *out_err)
{
    *out_data = fr_view_make(in.ptr, 0);
    *out_used = 0;
    body->trailer = fr_view_make(NULL, 0);
    switch (body->framing) {
    case HTTP_BODY_CHUNKED:
        return chunked_decode(body, in, out_used, out_data, out_err);
    case HTTP_BODY_LENGTH:
        *out_used = run_take(body, in, 0, out_data);
        return body->left == 0 ? HTTP_DONE : HTTP_MORE;
    case HTTP_BODY_TO_CLOSE:
        *out_data = in;
        *out_used = in.len;
        body->received += in.len;
        return HTTP_MORE;
    case HTTP_BODY_NONE:
        break;
    }
    return HTTP_DONE;
}

bool
http_body_closed(const struct http_body *body)
{
    switch (body->framing) {
    case HTTP_BODY_CHUNKED:
        return body->state == ENDED; /* RFC 9112 section 8: anything less is incomplete */
    case HTTP_BODY_LENGTH:
        return body->left == 0;
    case HTTP_BODY_TO_CLOSE:
    case HTTP_BODY_NONE:
        break;
    }
    return true;
}

size_t
http_chunk_head(uint64_t bytes, char *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t count = 1;
    while (count < CHUNK_DIGITS_MAX && bytes >> (4 * count))
        count++;
    for (size_t i = 0; i < count; i++)
        out[i] = digits[bytes >> (4 * (count - 1 - i)) & 15];
    out[count] = '\r';
    out[count + 1] = '\n';
    return count + 2;
}
