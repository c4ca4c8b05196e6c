/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_head.c - fields of HTTP/2 written as the text of an HTTP/1.1 head.
 *
 * May touch:  base.
 * Limits:     the buffer's ceiling, field_count_max. Cookie crumbs that stand side by side are one
 *             field, as they are in HTTP/1.1; others count.
 * Trusts:     nothing. A value that could end a line, a name that holds a colon or a space, a
 *             method or path with a space in it, a second length, a transfer coding: each is
 *             malformed, so that no field becomes two on the way to a member.
 * Follows:    RFC 9113 sections 8.1 to 8.5, RFC 8441 sections 4 and 5.
 *
 *     buffer:  GET https example.org /a | GET /a HTTP/1.1 CRLF Host: example.org CRLF ... CRLF CRLF
 *              pseudo-fields as they came, then the head: all of them are known when it begins
 *
 * A field that must never be indexed has no blank behind its colon (RFC 7541 section 6.2.3). Of
 * pseudo-fields that is kept for :authority; of :path whoever opens a stream assumes it, and the
 * others have a few values that everybody knows.
 */
#include "http/http2_head.h"

#include "http/http_scan.h"

#include "base/fr_put.h"

#include <assert.h> /* static_assert */

#define LINE_MORE_BYTES (sizeof(": \r\n") - 1)

enum seen {
    SEEN_METHOD = 1,
    SEEN_SCHEME = 2,
    SEEN_AUTHORITY = 4,
    SEEN_PATH = 8,
    SEEN_PROTOCOL = 16,
    SEEN_STATUS = 32,
};

static enum http2_verdict
malformed(struct http2_writer *writer, const char *words)
{
    writer->words = words;
    return HTTP2_MALFORMED;
}

static enum http2_verdict
verdict_of(struct http2_writer *writer, enum fr_err err)
{
    if (err == FR_OK)
        return HTTP2_FINE;
    writer->words = "the head is too long";
    return err == FR_ERR_NOMEM ? HTTP2_NO_MEMORY : HTTP2_TOO_LARGE;
}

static inline enum http2_verdict
reserve(struct http2_writer *writer, size_t bytes)
{
    enum fr_err err = fr_buf_reserve(writer->out, bytes);
    return err == FR_OK ? HTTP2_FINE : verdict_of(writer, err);
}

static inline enum http2_verdict
put(struct http2_writer *writer, struct fr_view view)
{
    struct fr_buf *out = writer->out;
    enum http2_verdict verdict = reserve(writer, view.len);
    if (verdict == HTTP2_FINE)
        out->len = (size_t)(fr_put(out->data + out->len, view) - out->data);
    return verdict;
}

static struct fr_view
part_view(const struct http2_writer *writer, struct http2_part part)
{
    return part.len ? fr_view_make(writer->out->data + part.at, part.len) : (struct fr_view){0};
}

/* ---- lines ----------------------------------------------------------------------------------- */

static inline enum http2_verdict
note_line(struct http2_writer *writer, struct http2_line line)
{
    struct fr_buf *lines = writer->lines;
    if (!lines)
        return HTTP2_FINE;
    enum fr_err err = fr_buf_reserve(lines, sizeof(line));
    if (err != FR_OK)
        return verdict_of(writer, err);
    memcpy(lines->data + lines->len, &line, sizeof(line));
    lines->len += sizeof(line);
    return HTTP2_FINE;
}

/* A part of the buffer can be the value once there is room for the line. */
static enum http2_verdict
put_line(struct http2_writer *writer, enum http_known known, struct fr_view name,
         struct fr_view value, bool never_indexed)
{
    struct fr_buf *out = writer->out;
    struct fr_view colon = http_colon(never_indexed);
    enum http2_verdict verdict = reserve(writer, name.len + value.len + LINE_MORE_BYTES);
    if (verdict == HTTP2_FINE)
        verdict = note_line(writer, (struct http2_line){.at = (uint32_t)out->len,
                                                        .name_len = (uint32_t)name.len,
                                                        .value_len = (uint32_t)value.len,
                                                        .known = (uint8_t)known,
                                                        .colon_len = (uint8_t)colon.len});
    if (verdict != HTTP2_FINE)
        return verdict;
    char *at = fr_put(out->data + out->len, name);
    at = fr_put(at, colon);
    at = fr_put(at, value);
    at = FR_PUT(at, "\r\n");
    out->len = (size_t)(at - out->data);
    return HTTP2_FINE;
}

/* NULL: none is kept. */
static struct http2_line *
line_at(const struct http2_writer *writer, size_t nth)
{
    return writer->lines ? (struct http2_line *)(void *)writer->lines->data + nth : NULL;
}

static size_t
line_count(const struct http2_writer *writer)
{
    return writer->lines ? writer->lines->len / sizeof(struct http2_line) : 0;
}

void
http2_writer_begin(struct http2_writer *writer, enum http2_kind kind, struct fr_buf *out,
                   struct fr_buf *lines, size_t field_count_max)
{
    *writer = (struct http2_writer){
        .kind = kind,
        .out = out,
        .lines = lines,
        .field_count_max = field_count_max,
        .regular = kind == HTTP2_TRAILERS,
        .words = "",
    };
    fr_buf_clear(out);
    if (lines)
        fr_buf_clear(lines);
}

/* ---- what a field may be --------------------------------------------------------------------- */

static bool
all_of(struct fr_view text, enum http__class class)
{
    return text.len == 0 || http__run(text.ptr, text.ptr + text.len, class) == text.ptr + text.len;
}

/* RFC 9113 section 8.2.1, and a token at that: RFC 9110 section 5.1. */
static bool
is_name(struct fr_view name)
{
    bool upper = false;
    for (size_t i = 0; i < name.len; i++)
        upper |= (uint8_t)(name.ptr[i] - 'A') <= 'Z' - 'A';
    return name.len > 0 && !upper && all_of(name, HTTP__TOKEN);
}

static bool
is_value(struct fr_view value)
{
    if (value.len == 0)
        return true;
    return !http__is_blank(value.ptr[0]) && !http__is_blank(value.ptr[value.len - 1]) &&
           all_of(value, HTTP__TEXT);
}

/* ---- pseudo-fields --------------------------------------------------------------------------- */

static bool
is_status(struct fr_view value)
{
    return value.len == 3 && all_of(value, HTTP__DIGIT) && value.ptr[0] >= '1' &&
           value.ptr[0] <= '5';
}

static bool
is_scheme(struct fr_view value)
{
    return fr_view_is(value, "http") || fr_view_is(value, "https");
}

static bool
is_path(struct fr_view value)
{
    return value.len > 0 && all_of(value, HTTP__TARGET) &&
           (value.ptr[0] == '/' || fr_view_is(value, "*"));
}

struct pseudo {
    struct fr_view name;
    enum http2_kind kind;
    enum seen bit;
    bool (*is_good)(struct fr_view value);
    size_t part_offset;
    const char *words; /* when it is not good */
};

#define PART(member) offsetof(struct http2_writer, member)
enum { METHOD, SCHEME, AUTHORITY, PATH, PROTOCOL, STATUS };
static const struct pseudo pseudos[] = {
    [METHOD] = {{":method", sizeof(":method") - 1},
                HTTP2_REQUEST,
                SEEN_METHOD,
                http_is_token,
                PART(method),
                ":method is no token"},
    [SCHEME] = {{":scheme", sizeof(":scheme") - 1},
                HTTP2_REQUEST,
                SEEN_SCHEME,
                is_scheme,
                PART(scheme),
                ":scheme is not served"},
    [AUTHORITY] = {{":authority", sizeof(":authority") - 1},
                   HTTP2_REQUEST,
                   SEEN_AUTHORITY,
                   http_is_authority,
                   PART(authority),
                   ":authority is no host"},
    [PATH] = {{":path", sizeof(":path") - 1},
              HTTP2_REQUEST,
              SEEN_PATH,
              is_path,
              PART(path),
              ":path is none"},
    [PROTOCOL] = {{":protocol", sizeof(":protocol") - 1},
                  HTTP2_REQUEST,
                  SEEN_PROTOCOL,
                  http_is_token,
                  PART(protocol),
                  ":protocol is no token"},
    [STATUS] = {{":status", sizeof(":status") - 1},
                HTTP2_RESPONSE,
                SEEN_STATUS,
                is_status,
                PART(method),
                ":status is none"},
};

/* The one that the name can be, by its length and a letter. */
static const struct pseudo *
pseudo_of(struct fr_view name)
{
    switch (name.len) {
    case sizeof(":path") - 1:
        return &pseudos[PATH];
    case sizeof(":method") - 1: /* :scheme, :status */
        return &pseudos[name.ptr[1] == 'm' ? METHOD : name.ptr[2] == 'c' ? SCHEME : STATUS];
    case sizeof(":protocol") - 1:
        return &pseudos[PROTOCOL];
    default:
        return &pseudos[AUTHORITY];
    }
}

static enum http2_verdict
pseudo_field(struct http2_writer *writer, const struct pseudo *pseudo, struct fr_view value)
{
    if (writer->regular) /* RFC 9113 section 8.3; of trailers too: section 8.1 */
        return malformed(writer, "a pseudo-field behind other fields");
    if (pseudo->kind != writer->kind)
        return malformed(writer, "a pseudo-field that does not belong here");
    if (writer->seen & pseudo->bit)
        return malformed(writer, "a pseudo-field twice");
    writer->seen |= pseudo->bit;
    if (pseudo->bit == SEEN_AUTHORITY)
        writer->authority_never_indexed = writer->never_indexed;
    struct http2_part *part = (struct http2_part *)((char *)writer + pseudo->part_offset);
    *part = (struct http2_part){writer->out->len, value.len};
    return put(writer, value);
}

/* RFC 9113 sections 8.3.1 and 8.5, RFC 8441 section 4: what a request must and may have. NULL: it
 * has. */
static const char *
request_lacks(const struct http2_writer *writer, bool connect)
{
    unsigned seen = writer->seen;
    if (!(seen & SEEN_METHOD))
        return "no :method";
    if (connect && !(seen & SEEN_PROTOCOL)) {
        if (seen & (SEEN_SCHEME | SEEN_PATH))
            return "CONNECT has no :scheme and no :path";
        return seen & SEEN_AUTHORITY ? NULL : "CONNECT without :authority";
    }
    if (!connect && (seen & SEEN_PROTOCOL))
        return ":protocol is for CONNECT";
    if (!(seen & SEEN_SCHEME) || !(seen & SEEN_PATH))
        return "no :scheme or no :path";
    if (connect && !(seen & SEEN_AUTHORITY))
        return "CONNECT without :authority";
    return NULL;
}

/* From the parts in front of it, which move with the buffer: room is made first. */
static enum http2_verdict
put_request_line(struct http2_writer *writer)
{
    static const char literals[] = "GET  HTTP/1.1\r\nHost: \r\n";
    struct fr_buf *out = writer->out;
    struct http2_part target = writer->path;
    if ((writer->seen & SEEN_PATH) == 0)
        target = writer->authority; /* CONNECT */
    size_t bytes = sizeof(literals) + writer->method.len + target.len + writer->authority.len;
    enum http2_verdict verdict = reserve(writer, bytes);
    if (verdict != HTTP2_FINE)
        return verdict;
    writer->start = out->len;
    /* RFC 9113 has no Upgrade; HTTP/1.1 has no other way into a tunnel */
    struct fr_view method = writer->tunnel ? FR_VIEW("GET") : part_view(writer, writer->method);
    verdict = note_line(writer, (struct http2_line){.at = (uint32_t)out->len,
                                                    .name_len = (uint32_t)method.len,
                                                    .value_len = (uint32_t)target.len});
    char *at = out->data + out->len;
    at = fr_put(at, method);
    at = FR_PUT(at, " ");
    at = fr_put(at, part_view(writer, target));
    at = FR_PUT(at, " HTTP/1.1\r\n");
    out->len = (size_t)(at - out->data);
    if (verdict == HTTP2_FINE && (writer->seen & SEEN_AUTHORITY))
        verdict = put_line(writer, HTTP_FIELD_HOST, FR_VIEW("Host"),
                           part_view(writer, writer->authority), writer->authority_never_indexed);
    return verdict;
}

static enum http2_verdict
request_line(struct http2_writer *writer)
{
    struct fr_view method = part_view(writer, writer->method);
    bool connect = (writer->seen & SEEN_METHOD) && fr_view_is(method, "CONNECT");
    const char *lacks = request_lacks(writer, connect);
    if (lacks)
        return malformed(writer, lacks);
    struct fr_view path = part_view(writer, writer->path);
    if (fr_view_is(path, "*") && !fr_view_is(method, "OPTIONS"))
        return malformed(writer, "the path * is for OPTIONS");
    writer->https = fr_view_is(part_view(writer, writer->scheme), "https");
    writer->tunnel = connect && (writer->seen & SEEN_PROTOCOL);
    return put_request_line(writer);
}

static enum http2_verdict
status_line(struct http2_writer *writer)
{
    if (!(writer->seen & SEEN_STATUS))
        return malformed(writer, "no :status");
    struct fr_view status = part_view(writer, writer->method);
    uint64_t number = 0;
    (void)fr_view_u64(status, &number); /* three digits */
    if (number == 101)
        return malformed(writer, "there is no 101 in HTTP/2"); /* RFC 9113 section 8.6 */
    writer->status = (int)number;
    writer->start = writer->out->len;
    char line[] = "HTTP/1.1 000 \r\n";
    memcpy(line + 9, status.ptr, 3);
    return put(writer, fr_view_of(line));
}

/* The pseudo-fields are over. */
static enum http2_verdict
first_line(struct http2_writer *writer)
{
    if (writer->regular)
        return HTTP2_FINE;
    writer->regular = true;
    return writer->kind == HTTP2_REQUEST ? request_line(writer) : status_line(writer);
}

/* ---- other fields ---------------------------------------------------------------------------- */

static enum http2_verdict
put_field(struct http2_writer *writer, enum http_known known, struct fr_view name,
          struct fr_view value)
{
    if (++writer->field_count > writer->field_count_max) {
        writer->words = "too many fields";
        return HTTP2_TOO_LARGE;
    }
    return put_line(writer, known, name, value, writer->never_indexed);
}

/* What is behind the cookie moves, and nothing there is known by its place but lines. */
static void
move_behind_cookie(struct http2_writer *writer, size_t from, size_t to)
{
    struct fr_buf *out = writer->out;
    memmove(out->data + to, out->data + from, out->len - from);
    out->len = out->len + to - from;
    for (size_t i = writer->cookie_line + 1; i < line_count(writer); i++)
        line_at(writer, i)->at += (uint32_t)(to - from);
}

/* One crumb that must never be indexed makes all of them so. */
static void
cookie_never_indexed(struct http2_writer *writer)
{
    size_t blank = writer->cookie.at + sizeof("cookie:") - 1;
    if (writer->cookie_never_indexed)
        return;
    move_behind_cookie(writer, blank + 1, blank);
    if (writer->lines)
        line_at(writer, writer->cookie_line)->colon_len--;
    writer->cookie.len--;
    writer->cookie_never_indexed = true;
}

/* RFC 9113 section 8.2.3: crumbs are joined before anybody else sees them. */
static enum http2_verdict
cookie_field(struct http2_writer *writer, struct fr_view value)
{
    struct fr_buf *out = writer->out;
    if (writer->cookie.len == 0) {
        size_t at = out->len, line = line_count(writer);
        enum http2_verdict verdict = put_field(writer, HTTP_FIELD_COOKIE, FR_VIEW("cookie"), value);
        writer->cookie_never_indexed = writer->never_indexed;
        writer->cookie = (struct http2_part){at, out->len - at - 2};
        writer->cookie_line = line;
        return verdict;
    }
    if (writer->never_indexed)
        cookie_never_indexed(writer);
    size_t end = writer->cookie.at + writer->cookie.len, more = value.len + 2;
    if (out->len - end > 2 && ++writer->field_count > writer->field_count_max) {
        writer->words = "too many fields"; /* each of these costs a move of what is behind */
        return HTTP2_TOO_LARGE;
    }
    enum http2_verdict verdict = reserve(writer, more);
    if (verdict != HTTP2_FINE)
        return verdict;
    move_behind_cookie(writer, end, end + more);
    char *at = FR_PUT(out->data + end, "; ");
    (void)fr_put(at, value);
    writer->cookie.len += more;
    struct http2_line *line = line_at(writer, writer->cookie_line);
    if (line) /* no value ends in a blank */
        line->value_len = (uint32_t)(writer->cookie.len - line->name_len - line->colon_len -
                                     (value.len == 0));
    return HTTP2_FINE;
}

static enum http2_verdict
length_field(struct http2_writer *writer, struct fr_view value)
{
    if (writer->has_length)
        return malformed(writer, "content-length twice");
    if (writer->kind == HTTP2_TRAILERS)
        return malformed(writer, "content-length in a trailer");
    if (!fr_view_u64(value, &writer->length))
        return malformed(writer, "content-length is no number");
    writer->has_length = true;
    return put_field(writer, HTTP_FIELD_CONTENT_LENGTH, FR_VIEW("content-length"), value);
}

static enum http2_verdict
host_field(struct http2_writer *writer, struct fr_view value)
{
    if (writer->kind != HTTP2_REQUEST)
        return malformed(writer, "host where there is none");
    if (writer->has_host)
        return malformed(writer, "host twice");
    writer->has_host = true;
    if (!http_is_authority(value))
        return malformed(writer, "host is none");
    if (!(writer->seen & SEEN_AUTHORITY))
        return put_field(writer, HTTP_FIELD_HOST, FR_VIEW("Host"), value);
    if (!fr_view_ieq(value, part_view(writer, writer->authority))) /* RFC 9113 section 8.3.1 */
        return malformed(writer, "host is not :authority");
    return HTTP2_FINE;
}

static enum http2_verdict
te_field(struct http2_writer *writer, struct fr_view value)
{
    if (writer->kind != HTTP2_REQUEST || !fr_view_ieq(value, FR_VIEW("trailers")))
        return malformed(writer, "te is not trailers");
    if (writer->has_te)
        return HTTP2_FINE;
    writer->has_te = true;
    enum http2_verdict verdict =
        put_line(writer, HTTP_FIELD_TE, FR_VIEW("te"), FR_VIEW("trailers"), false);
    if (verdict != HTTP2_FINE)
        return verdict;
    return put_line(writer, HTTP_FIELD_CONNECTION, FR_VIEW("Connection"), FR_VIEW("TE"), false);
}

/* Names that no set has a number for, and that go no further. */
static bool
is_passed_over(const struct http2_writer *writer, struct fr_view name)
{
    return fr_view_is(name, "http2-settings") || /* RFC 7540 section 3.2.1: of an Upgrade */
           /* RFC 8441 section 5: not used; whoever asks a member has its own */
           (writer->tunnel && fr_view_is(name, "sec-websocket-key"));
}

/* RFC 9113 section 8.2.2: of this connection, and there is no such thing here. */
static const uint64_t of_connection = HTTP_SET(CONNECTION) | HTTP_SET(KEEP_ALIVE) |
                                      HTTP_SET(PROXY_CONNECTION) | HTTP_SET(TRANSFER_ENCODING) |
                                      HTTP_SET(UPGRADE);

static enum http2_verdict
other_field(struct http2_writer *writer, enum http_known known, struct fr_view name,
            struct fr_view value)
{
    if (of_connection >> known & 1)
        return malformed(writer, "a field that is of one connection");
    enum http2_verdict verdict = first_line(writer);
    if (verdict != HTTP2_FINE)
        return verdict;
    switch (known) {
    case HTTP_FIELD_HOST:
        return host_field(writer, value);
    case HTTP_FIELD_CONTENT_LENGTH:
        return length_field(writer, value);
    case HTTP_FIELD_TE:
        return te_field(writer, value);
    case HTTP_FIELD_COOKIE:
        if (writer->kind == HTTP2_REQUEST)
            return cookie_field(writer, value);
        break;
    case HTTP_FIELD_TRAILER:
        writer->announces |= value.len > 0;
        break;
    case HTTP_UNKNOWN:
        if (is_passed_over(writer, name))
            return HTTP2_FINE;
        break;
    default:
        break;
    }
    return put_field(writer, known, name, value);
}

/* ---- what a field is ------------------------------------------------------------------------- */

#define FOUND_OTHER 1     /* and its number */
#define FOUND_PSEUDO 0x80 /* and its place */
static_assert(FOUND_OTHER + HTTP_KNOWN_COUNT <= FOUND_PSEUDO, "a byte tells them apart");

/* NULL, or what is wrong with it, wherever it comes. */
static const char *
find(struct fr_view name, struct fr_view value, uint8_t *out)
{
    if (!is_value(value))
        return "a field's value has what it must not";
    if (name.len == 0 || name.ptr[0] != ':') {
        if (!is_name(name))
            return "a field's name has what it must not";
        *out = (uint8_t)(FOUND_OTHER + http__known_of_token(name));
        return NULL;
    }
    const struct pseudo *pseudo = pseudo_of(name);
    if (!fr_view_eq(name, pseudo->name))
        return "a pseudo-field that nobody knows";
    *out = (uint8_t)(FOUND_PSEUDO + (pseudo - pseudos));
    return pseudo->is_good(value) ? NULL : pseudo->words;
}

enum http2_verdict
http2_writer_field(struct http2_writer *writer, struct fr_view name, struct fr_view value,
                   bool never_indexed, uint8_t *found)
{
    const char *wrong = *found ? NULL : find(name, value, found);
    if (wrong)
        return malformed(writer, wrong);
    writer->never_indexed = never_indexed;
    if (*found >= FOUND_PSEUDO)
        return pseudo_field(writer, &pseudos[*found - FOUND_PSEUDO], value);
    return other_field(writer, (enum http_known)(*found - FOUND_OTHER), name, value);
}

struct fr_view
http2_writer_protocol(const struct http2_writer *writer)
{
    return part_view(writer, writer->protocol);
}

/* ---- the end --------------------------------------------------------------------------------- */

static bool
has_no_body(const struct http2_writer *writer)
{
    return writer->status < 200 || writer->status == 204 || writer->status == 304;
}

/* What HTTP/1.1 must be told of the body, if the fields do not. */
static enum http2_verdict
put_framing(struct http2_writer *writer, bool end_stream)
{
    if (writer->has_length || writer->kind == HTTP2_TRAILERS || writer->tunnel)
        return HTTP2_FINE;
    if (writer->kind == HTTP2_RESPONSE && has_no_body(writer))
        return HTTP2_FINE;
    if (!end_stream)
        return put_line(writer, HTTP_FIELD_TRANSFER_ENCODING, FR_VIEW("Transfer-Encoding"),
                        FR_VIEW("chunked"), false);
    if (writer->kind == HTTP2_RESPONSE && !writer->answers_head)
        return put_line(writer, HTTP_FIELD_CONTENT_LENGTH, FR_VIEW("Content-Length"), FR_VIEW("0"),
                        false);
    return HTTP2_FINE;
}

static enum http2_verdict
put_upgrade(struct http2_writer *writer)
{
    enum http2_verdict verdict =
        put_line(writer, HTTP_FIELD_CONNECTION, FR_VIEW("Connection"), FR_VIEW("upgrade"), false);
    if (verdict == HTTP2_FINE)
        verdict = reserve(writer, sizeof("Upgrade: \r\n") + writer->protocol.len);
    if (verdict != HTTP2_FINE)
        return verdict;
    return put_line(writer, HTTP_FIELD_UPGRADE, FR_VIEW("Upgrade"),
                    part_view(writer, writer->protocol), false);
}

/* The empty line. */
static enum http2_verdict
end(struct http2_writer *writer, struct fr_view *out_text)
{
    struct fr_buf *out = writer->out;
    enum http2_verdict verdict = put(writer, FR_VIEW("\r\n"));
    if (verdict == HTTP2_FINE)
        *out_text = fr_view_make(out->data + writer->start, out->len - writer->start);
    return verdict;
}

enum http2_verdict
http2_writer_add(struct http2_writer *writer, struct fr_view name, struct fr_view value,
                 struct fr_view *out_text)
{
    writer->out->len -= 2;
    enum http2_verdict verdict = put_line(writer, http_known_of(name), name, value, false);
    return verdict == HTTP2_FINE ? end(writer, out_text) : verdict;
}

enum http2_verdict
http2_writer_end(struct http2_writer *writer, bool end_stream, struct fr_view *out_text)
{
    enum http2_verdict verdict = first_line(writer);
    if (verdict != HTTP2_FINE)
        return verdict;
    bool request = writer->kind == HTTP2_REQUEST;
    if (request && !(writer->seen & SEEN_AUTHORITY) && !writer->has_host)
        return malformed(writer, "neither :authority nor host");
    if (writer->tunnel && (end_stream || writer->has_length))
        return malformed(writer, "a tunnel with a body, or without an end");
    if (request && end_stream && writer->has_length && writer->length > 0)
        return malformed(writer, "content-length without a body");
    if (writer->kind == HTTP2_TRAILERS && !end_stream)
        return malformed(writer, "trailers that do not end the stream");
    verdict = writer->tunnel ? put_upgrade(writer) : put_framing(writer, end_stream);
    return verdict == HTTP2_FINE ? end(writer, out_text) : verdict;
}
