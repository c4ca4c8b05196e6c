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
put(struct http2_writer *writer, struct fr_view view)
{
    struct fr_buf *out = writer->out;
    enum fr_err err = fr_buf_reserve(out, view.len);
    if (err != FR_OK)
        return verdict_of(writer, err);
    out->len = (size_t)(fr_put(out->data + out->len, view) - out->data);
    return HTTP2_FINE;
}

/* All of them, or the first verdict that is not fine. */
static enum http2_verdict
put_all(struct http2_writer *writer, const struct fr_view *views, size_t count)
{
    enum http2_verdict verdict = HTTP2_FINE;
    for (size_t i = 0; i < count && verdict == HTTP2_FINE; i++)
        if (views[i].len > 0)
            verdict = put(writer, views[i]);
    return verdict;
}

static struct fr_view
part_view(const struct http2_writer *writer, struct http2_part part)
{
    return part.len ? fr_view_make(writer->out->data + part.at, part.len) : (struct fr_view){0};
}

/* A part of the buffer may move while it is being appended to itself. */
static enum http2_verdict
put_part(struct http2_writer *writer, struct http2_part part)
{
    if (part.len == 0)
        return HTTP2_FINE;
    enum http2_verdict verdict = verdict_of(writer, fr_buf_reserve(writer->out, part.len));
    return verdict == HTTP2_FINE ? put(writer, part_view(writer, part)) : verdict;
}

void
http2_writer_begin(struct http2_writer *writer, enum http2_kind kind, struct fr_buf *out,
                   size_t field_count_max)
{
    *writer = (struct http2_writer){
        .kind = kind,
        .out = out,
        .field_count_max = field_count_max,
        .regular = kind == HTTP2_TRAILERS,
        .words = "",
    };
    fr_buf_clear(out);
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
pseudo_field(struct http2_writer *writer, struct fr_view name, struct fr_view value, bool checked)
{
    if (writer->regular) /* RFC 9113 section 8.3; of trailers too: section 8.1 */
        return malformed(writer, "a pseudo-field behind other fields");
    const struct pseudo *pseudo = pseudo_of(name);
    if (pseudo->kind != writer->kind || !fr_view_eq(name, pseudo->name))
        return malformed(writer, "a pseudo-field that does not belong here");
    if (writer->seen & pseudo->bit)
        return malformed(writer, "a pseudo-field twice");
    if (!checked && !pseudo->is_good(value))
        return malformed(writer, pseudo->words);
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

/* From the parts in front of it, which move with the buffer. */
static enum http2_verdict
put_request_line(struct http2_writer *writer)
{
    static const char literals[] = "GET  HTTP/1.1\r\nHost: \r\n";
    struct fr_buf *out = writer->out;
    struct http2_part target = writer->path;
    if ((writer->seen & SEEN_PATH) == 0)
        target = writer->authority; /* CONNECT */
    size_t bytes = sizeof(literals) + writer->method.len + target.len + writer->authority.len;
    enum http2_verdict verdict = verdict_of(writer, fr_buf_reserve(out, bytes));
    if (verdict != HTTP2_FINE)
        return verdict;
    writer->start = out->len;
    char *at = out->data + out->len;
    /* RFC 9113 has no Upgrade; HTTP/1.1 has no other way into a tunnel */
    at = fr_put(at, writer->tunnel ? FR_VIEW("GET") : part_view(writer, writer->method));
    at = FR_PUT(at, " ");
    at = fr_put(at, part_view(writer, target));
    at = FR_PUT(at, " HTTP/1.1\r\n");
    if (writer->seen & SEEN_AUTHORITY) {
        at = FR_PUT(at, "Host");
        at = fr_put(at, http_colon(writer->authority_never_indexed));
        at = fr_put(at, part_view(writer, writer->authority));
        at = FR_PUT(at, "\r\n");
    }
    out->len = (size_t)(at - out->data);
    return HTTP2_FINE;
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
put_field(struct http2_writer *writer, struct fr_view name, struct fr_view value)
{
    if (++writer->field_count > writer->field_count_max) {
        writer->words = "too many fields";
        return HTTP2_TOO_LARGE;
    }
    struct fr_buf *out = writer->out;
    enum http2_verdict verdict = verdict_of(writer, fr_buf_reserve(out, name.len + value.len + 4));
    if (verdict != HTTP2_FINE)
        return verdict;
    char *at = fr_put(out->data + out->len, name);
    at = fr_put(at, http_colon(writer->never_indexed));
    at = fr_put(at, value);
    at = FR_PUT(at, "\r\n");
    out->len = (size_t)(at - out->data);
    return HTTP2_FINE;
}

/* One crumb that must never be indexed makes all of them so. What is behind moves, and nothing
 * there is known by its place. */
static void
cookie_never_indexed(struct http2_writer *writer)
{
    struct fr_buf *out = writer->out;
    size_t blank = writer->cookie.at + sizeof("cookie:") - 1;
    if (writer->cookie_never_indexed)
        return;
    memmove(out->data + blank, out->data + blank + 1, out->len - blank - 1);
    out->len--;
    writer->cookie.len--;
    writer->cookie_never_indexed = true;
}

/* RFC 9113 section 8.2.3: crumbs are joined before anybody else sees them. */
static enum http2_verdict
cookie_field(struct http2_writer *writer, struct fr_view value)
{
    struct fr_buf *out = writer->out;
    struct fr_view views[] = {FR_VIEW("; "), value};
    if (writer->cookie.len == 0) {
        enum http2_verdict verdict = put_field(writer, FR_VIEW("cookie"), value);
        size_t len = sizeof("cookie") - 1 + http_colon(writer->never_indexed).len + value.len;
        writer->cookie_never_indexed = writer->never_indexed;
        if (verdict == HTTP2_FINE)
            writer->cookie = (struct http2_part){out->len - 2 - len, len};
        return verdict;
    }
    if (writer->never_indexed)
        cookie_never_indexed(writer);
    size_t end = writer->cookie.at + writer->cookie.len;
    size_t behind = out->len - end, more = value.len + 2;
    if (behind > 2 && ++writer->field_count > writer->field_count_max) {
        writer->words = "too many fields"; /* each of these costs a move of what is behind */
        return HTTP2_TOO_LARGE;
    }
    enum http2_verdict verdict = put_all(writer, views, 2); /* makes room, wherever it is */
    if (verdict != HTTP2_FINE)
        return verdict;
    memmove(out->data + end + more, out->data + end, behind);
    memcpy(out->data + end, "; ", 2);
    if (value.len > 0)
        memcpy(out->data + end + 2, value.ptr, value.len);
    writer->cookie.len += more;
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
    return put_field(writer, FR_VIEW("content-length"), value);
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
        return put_field(writer, FR_VIEW("Host"), value);
    if (!fr_view_ieq(value, part_view(writer, writer->authority))) /* RFC 9113 section 8.3.1 */
        return malformed(writer, "host is not :authority");
    return HTTP2_FINE;
}

/* RFC 9113 section 8.2.2: of this connection, and there is no such thing here. */
static bool
is_of_connection(struct fr_view name)
{
    switch (name.len) { /* it is in lower case */
    case sizeof("upgrade") - 1:
        return memcmp(name.ptr, "upgrade", name.len) == 0;
    case sizeof("connection") - 1:
        return memcmp(name.ptr, "connection", name.len) == 0 ||
               memcmp(name.ptr, "keep-alive", name.len) == 0;
    case sizeof("proxy-connection") - 1:
        return memcmp(name.ptr, "proxy-connection", name.len) == 0;
    case sizeof("transfer-encoding") - 1:
        return memcmp(name.ptr, "transfer-encoding", name.len) == 0;
    default:
        return false;
    }
}

enum http2_verdict
http2_writer_field(struct http2_writer *writer, struct fr_view name, struct fr_view value,
                   unsigned marks)
{
    bool checked = marks & HTTP2_FIELD_CHECKED;
    writer->never_indexed = marks & HTTP2_FIELD_NEVER_INDEXED;
    if (!checked && !is_value(value))
        return malformed(writer, "a field's value has what it must not");
    if (name.len > 0 && name.ptr[0] == ':')
        return pseudo_field(writer, name, value, checked);
    if (!checked && !is_name(name))
        return malformed(writer, "a field's name has what it must not");
    if (is_of_connection(name))
        return malformed(writer, "a field that is of one connection");
    enum http2_verdict verdict = first_line(writer);
    if (verdict != HTTP2_FINE)
        return verdict;
    if (fr_view_is(name, "host"))
        return host_field(writer, value);
    if (fr_view_is(name, "content-length"))
        return length_field(writer, value);
    if (fr_view_is(name, "cookie") && writer->kind == HTTP2_REQUEST)
        return cookie_field(writer, value);
    if (fr_view_is(name, "te")) {
        if (writer->kind != HTTP2_REQUEST || !fr_view_ieq(value, FR_VIEW("trailers")))
            return malformed(writer, "te is not trailers");
        if (writer->has_te)
            return HTTP2_FINE;
        writer->has_te = true;
        struct fr_view views[] = {FR_VIEW("te: trailers\r\nConnection: TE\r\n")};
        return put_all(writer, views, 1);
    }
    if (fr_view_is(name, "http2-settings")) /* RFC 7540 section 3.2.1: of an Upgrade */
        return HTTP2_FINE;
    writer->announces |= fr_view_is(name, "trailer") && value.len > 0;
    if (writer->tunnel && (fr_view_is(name, "sec-websocket-key")))
        return HTTP2_FINE; /* RFC 8441 section 5: not used; whoever asks a member has its own */
    return put_field(writer, name, value);
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
static struct fr_view
framing_line(const struct http2_writer *writer, bool end_stream)
{
    if (writer->has_length || writer->kind == HTTP2_TRAILERS || writer->tunnel)
        return FR_VIEW("");
    if (writer->kind == HTTP2_RESPONSE && has_no_body(writer))
        return FR_VIEW("");
    if (!end_stream)
        return FR_VIEW("Transfer-Encoding: chunked\r\n");
    if (writer->kind == HTTP2_RESPONSE && !writer->answers_head)
        return FR_VIEW("Content-Length: 0\r\n");
    return FR_VIEW("");
}

static enum http2_verdict
upgrade_lines(struct http2_writer *writer)
{
    enum http2_verdict verdict = put(writer, FR_VIEW("Connection: upgrade\r\nUpgrade: "));
    if (verdict == HTTP2_FINE)
        verdict = put_part(writer, writer->protocol);
    return verdict == HTTP2_FINE ? put(writer, FR_VIEW("\r\n")) : verdict;
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
    if (writer->tunnel)
        verdict = upgrade_lines(writer);
    struct fr_view views[] = {framing_line(writer, end_stream), FR_VIEW("\r\n")};
    if (verdict == HTTP2_FINE)
        verdict = put_all(writer, views, 2);
    if (verdict == HTTP2_FINE)
        *out_text =
            fr_view_make(writer->out->data + writer->start, writer->out->len - writer->start);
    return verdict;
}
