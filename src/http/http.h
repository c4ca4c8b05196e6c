/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http.h - HTTP/1.1 heads and bodies: bytes in, values out; values in, bytes out.
 *
 * May touch:  base. Never: sockets, clocks, the heap, logs.
 * Trusts:     nothing. What RFC 9112 leaves ambiguous is HTTP_BAD.
 * Memory:     views in a parsed head point into the bytes it was parsed from and die with them.
 * Follows:    RFC 9110, RFC 9112.
 */
#ifndef HTTP_H
#define HTTP_H

#include "base/fr_buf.h"
#include "base/fr_err.h"
#include "base/fr_view.h"

#define HTTP_FIELDS_MAX 256               /* the most a limit may allow */
#define HTTP_EMPTY_LINES_MAX 4            /* before a request line (RFC 9112 section 2.2) */
#define HTTP_CONNECTION_OPTIONS_MAX 32    /* in all Connection fields of a head: more is 400 */
#define HTTP_CHUNK_LINE_BYTES_MAX 4096    /* a chunk's size and extensions */
#define HTTP_CHUNK_EXCESS_BYTES_MAX 16384 /* chunk lines beyond what their payload explains */
#define HTTP_INTERIM_MAX 16               /* 1xx responses to one request: more is a fault */
#define HTTP_TRAILER_BYTES_MAX 16384      /* all trailer fields of a body */

enum http_step { HTTP_DONE, HTTP_MORE, HTTP_BAD };

struct http_limits {
    size_t head_bytes_max;
    size_t request_line_bytes_max;
    size_t field_count_max; /* <= HTTP_FIELDS_MAX */
};
extern const struct http_limits http_limits_default; /* 32 KiB, 8 KiB, 100 */

/* Which limit a refused head ran into. */
enum http_limit { HTTP_LIMIT_NONE, HTTP_LIMIT_LINE, HTTP_LIMIT_HEAD, HTTP_LIMIT_FIELDS };

struct http_err {
    int status;        /* what a server answers: 400, 414, 431, 501, 505; 502 for response heads */
    size_t offset;     /* of the offending byte */
    const char *words; /* which rule, static text */
    enum http_limit limit;
};

/* Fields we must look at are known by number (http_known.def: name), others are 0. */
enum http_known {
    HTTP_UNKNOWN,
#define HTTP_KNOWN_ROW(symbol, name) HTTP_FIELD_##symbol,
#include "http/http_known.def"
#undef HTTP_KNOWN_ROW
    HTTP_KNOWN_COUNT
};
/* Sets of them: HTTP_SET(RANGE) | HTTP_SET(IF_RANGE). */
#define HTTP_SET(symbol) ((uint64_t)1 << HTTP_FIELD_##symbol)

struct http_field {
    struct fr_view name;  /* as received */
    struct fr_view value; /* trimmed */
    enum http_known known;
    bool hop; /* hop-by-hop: by RFC 9110 section 7.6.1 or because Connection names it */
};

/* Its line has no blank behind the colon. To HTTP/1.1 that is nothing; where a head came over
 * HTTP/2 or goes on over it, it says that the field must stay out of every table of HPACK on its
 * way (RFC 7541 section 6.2.3). Who writes a field that came writes it as it came: http_colon. */
static inline bool
http_field_is_never_indexed(const struct http_field *field)
{
    return field->value.ptr == field->name.ptr + field->name.len + 1;
}
static inline struct fr_view
http_colon(bool never_indexed)
{
    return never_indexed ? FR_VIEW(":") : FR_VIEW(": ");
}
static inline struct fr_view
http_field_colon(const struct http_field *field)
{
    return http_colon(http_field_is_never_indexed(field));
}

/* The ones with rules of their own; OTHER is forwarded as it is. */
enum http_method {
    HTTP_GET,
    HTTP_HEAD,
    HTTP_POST,
    HTTP_PUT,
    HTTP_DELETE,
    HTTP_CONNECT,
    HTTP_OPTIONS,
    HTTP_TRACE,
    HTTP_PATCH,
    HTTP_METHOD_OTHER,
};

enum http_framing {
    HTTP_BODY_NONE,
    HTTP_BODY_LENGTH,
    HTTP_BODY_CHUNKED,
    HTTP_BODY_TO_CLOSE, /* responses only */
};

struct http_head {
    /* request */
    enum http_method method;
    struct fr_view method_text;
    struct fr_view target; /* as received */
    struct fr_view host;   /* authority in force (absolute-form wins), port included, as sent */
    struct fr_view path;   /* origin-form path without the query; "*" for OPTIONS * */
    struct fr_view query;  /* without '?' */
    bool has_query;
    bool https; /* the target is in absolute-form and its scheme is https */
    /* response */
    int status;
    struct fr_view reason;
    /* both */
    int version_minor; /* HTTP/1.x */
    bool keep_alive;   /* by version and Connection: the connection may be used again (not
                        * after HTTP_BODY_TO_CLOSE, whose end is the connection's) */
    bool expect_continue;
    bool expect_other;         /* an expectation that nobody here knows (RFC 9110 section 10.1.1) */
    bool te_trailers;          /* TE: trailers: whoever sent this head takes trailer fields */
    bool upgrade;              /* Connection: upgrade with an Upgrade field */
    bool unknown_coding;       /* of a response: a Transfer-Encoding we cannot take off, around it
                                * chunked or nothing; what is in it must never be stored, and goes
                                * on to those alone who are told of it */
    enum http_framing framing; /* of a response: what the head says, see http_response_framing */
    uint64_t content_length;   /* HTTP_BODY_LENGTH */
    size_t head_bytes;         /* of the input, the empty line included */
    uint64_t known_set;        /* those that are there */
    size_t field_count;
    /* What the two above tell to be good is; the rest is of heads before. */
    uint16_t first_known[HTTP_KNOWN_COUNT]; /* index of its first field */
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* Parses a head from the start of `in`, all bytes received so far. scanned (in/out, start with 0)
 * remembers how far the end was looked for, so that a slow head costs linear time. However the
 * bytes are cut, the same head comes out and the same rule is broken; a broken one may be told
 * later. On BAD: *out is undefined, *out_err says why. */
FR_MUST_USE enum http_step http_request_parse(struct fr_view in, const struct http_limits *limits,
                                              size_t *scanned, struct http_head *out,
                                              struct http_err *out_err);
FR_MUST_USE enum http_step http_response_parse(struct fr_view in, const struct http_limits *limits,
                                               size_t *scanned, struct http_head *out,
                                               struct http_err *out_err);
/* RFC 9112 section 6.3: framing of a response to `request_method`: 1xx, 204, 304 and answers to
 * HEAD have no body whatever their fields say. */
enum http_framing http_response_framing(const struct http_head *response,
                                        enum http_method request_method);

/* Whether any of a set is there. */
static inline bool
http_head_has(const struct http_head *head, uint64_t set)
{
    return (head->known_set & set) != 0;
}
/* The first one; NULL: there is none. */
static inline const struct http_field *
http_head_find(const struct http_head *head, enum http_known known)
{
    return http_head_has(head, (uint64_t)1 << known) ? &head->fields[head->first_known[known]]
                                                      : NULL;
}
/* Next field of the same name behind `after`; NULL at the end. */
const struct http_field *http_head_next(const struct http_head *head,
                                        const struct http_field *after);
/* By name, any case. */
const struct http_field *http_head_find_name(const struct http_head *head, struct fr_view name);

bool http_method_safe(enum http_method method);       /* RFC 9110 section 9.2.1 */
bool http_method_idempotent(enum http_method method); /* section 9.2.2 */
const char *http_reason(int status);                  /* "Not Found"; "" when unknown */

/* ---- bodies ---------------------------------------------------------------------------------- */

struct http_body {
    enum http_framing framing;
    uint64_t left; /* of the length, or of the chunk */
    int state;
    uint64_t received; /* body bytes so far, framing excluded */
    uint32_t line_bytes;
    uint32_t excess_bytes;
    struct fr_view trailer; /* bytes of the trailer section in the call before, its empty line
                             * included; they die with that call's input */
};
void http_body_init(struct http_body *body, enum http_framing framing, uint64_t content_length);
/* Takes framing bytes and finds the next run of payload in `in`.
 * *out_used: bytes of `in` done with, the payload run included.  *out_data: that run (may be
 * empty). DONE: the body ended (possibly with a last run).  MORE: call again with what follows,
 * which may be the rest of `in`: one call gives one run.  BAD: err.status is 400; a response's
 * reader answers 502 instead.  Trailers are checked octet by octet and shown in body->trailer; who
 * passes them on gathers them and asks http_trailers_read. */
FR_MUST_USE enum http_step http_body_decode(struct http_body *body, struct fr_view in,
                                            size_t *out_used, struct fr_view *out_data,
                                            struct http_err *out_err);
/* Reads a whole trailer section, empty line included, into out->fields. Fields that must not be
 * passed on are marked hop: a trailer may not become what a head field is (RFC 9110 section 6.5.1).
 * BAD: one that frames or routes the message, whose only use is to mislead somebody. */
FR_MUST_USE enum http_step http_trailers_read(struct fr_view section,
                                              const struct http_limits *limits,
                                              struct http_head *out, struct http_err *out_err);
/* The next field of a section (whole lines) that was read before, its value trimmed; false behind
 * the last. What is no field is passed over. */
bool http_section_next(struct fr_view *section, struct fr_view *out_name,
                       struct fr_view *out_value);
/* A content-type of gRPC: "application/grpc", "application/grpc+proto". What grpc-web sends is
 * ordinary HTTP. */
bool http_is_grpc(struct fr_view content_type);
/* The other side closed: true when that is a proper end of this body. */
bool http_body_closed(const struct http_body *body);

/* "1a2b\r\n"; returns its length. out must hold HTTP_CHUNK_HEAD_BYTES. */
#define HTTP_CHUNK_HEAD_BYTES 20
size_t http_chunk_head(uint64_t bytes, char *out);
#define HTTP_CHUNK_TAIL "\r\n"
#define HTTP_CHUNK_LAST "0\r\n\r\n"

/* ---- lists, tokens, dates -------------------------------------------------------------------- */

/* Walks a comma-separated list (RFC 9110 section 5.6.1), quoted strings respected: false at the
 * end. */
bool http_list_next(struct fr_view *rest, struct fr_view *out_item);
/* "name" or "name=value" of a directive; the value unquoted when it is a quoted string without
 * escapes. */
void http_directive_split(struct fr_view item, struct fr_view *out_name, struct fr_view *out_value);
/* The next name=value of a Cookie field (RFC 6265 section 4.2); false at the end. `pair` is both
 * with the '=', as they stand. */
struct http_cookie {
    struct fr_view pair, name, value;
};
bool http_cookie_next(struct fr_view *rest, struct http_cookie *out);
/* The first of that name in a request's Cookie fields; false: there is none. */
bool http_cookie_find(const struct http_head *request, struct fr_view name,
                      struct http_cookie *out);
bool http_is_token(struct fr_view text);
/* uri-host [ ":" port ] (RFC 9110 section 7.2), host not empty, no userinfo, port at most 65535. */
bool http_is_authority(struct fr_view text);
/* The number of a field name, any case; HTTP_UNKNOWN when it has none. */
enum http_known http_known_of(struct fr_view name);
/* IMF-fixdate, and the two obsolete forms when parsing (RFC 9110 section 5.6.7). Seconds since
 * 1970. */
bool http_date_parse(struct fr_view text, int64_t now_s, int64_t *out_s);
#define HTTP_DATE_BYTES 30
void http_date_format(int64_t s, char out[HTTP_DATE_BYTES]);
/* Host of an authority without port and trailing dot, lower case, brackets of an IPv6 address kept,
 * into out (not NUL-terminated); false when it is not an authority or does not fit. */
bool http_host_normalise(struct fr_view authority, char *out, size_t out_bytes, size_t *out_len);
/* The same of the authority of a head, which was checked when the head was parsed. False: there is
 * none, or it does not fit. */
bool http_head_host(const struct http_head *head, char *out, size_t out_bytes, size_t *out_len);
/* ... or only how much of such an authority it is. */
size_t http_host_bytes(struct fr_view authority);

#endif
