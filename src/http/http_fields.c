/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_fields.c - field lines: read, numbered, found again, and told hop-by-hop from end-to-end.
 *
 * May touch:  base.
 * Trusts:     nothing. A line ends in CRLF only, a name is a token and touches its colon, a value
 *             holds no control but HTAB, and no line is folded: what one reader forgives the next
 *             one reads differently.
 * Cost:       one pass; sixteen octets a step (http_scan.h); no allocation.
 * Follows:    RFC 9112 sections 2.2 and 5, RFC 9110 sections 5.5, 5.6.2 and 7.6.1.
 */
#include "http/http_scan.h"

#include <assert.h>

static_assert(HTTP_KNOWN_COUNT <= 64, "sets of them are bits of one number");

const struct http_limits http_limits_default = {
    .head_bytes_max = 32 * 1024,
    .request_line_bytes_max = 8 * 1024,
    .field_count_max = 100,
};

static const struct fr_view known_names[HTTP_KNOWN_COUNT] = {
#define HTTP_KNOWN_ROW(symbol, text) [HTTP_FIELD_##symbol] = {(text), sizeof(text) - 1},
#include "http/http_known.def"
#undef HTTP_KNOWN_ROW
};

enum http_step
http__bad(const char *start, const char *at, int status, const char *words,
          struct http_err *out_err)
{
    out_err->status = status;
    out_err->offset = (size_t)(at - start);
    out_err->words = words;
    out_err->limit = HTTP_LIMIT_NONE;
    return HTTP_BAD;
}

enum http_step
http__ran_out(const struct http__reader *reader, struct http_err *out_err)
{
    if (!reader->limited)
        return HTTP_MORE;
    enum http_step step =
        http__bad(reader->start, reader->end, reader->limit_status, reader->limit_words, out_err);
    out_err->limit = reader->limit;
    return step;
}

struct http__reader
http__reader_of(struct fr_view in, const struct http_limits *limits, int limit_status)
{
    bool limited = in.len >= limits->head_bytes_max;
    return (struct http__reader){
        .start = in.ptr,
        .at = in.ptr,
        .end = in.ptr + (limited ? limits->head_bytes_max : in.len),
        .limited = limited,
        .limit_status = limit_status,
        .limit = HTTP_LIMIT_HEAD,
        .limit_words = "the head is too long",
    };
}

bool
http__worth_parsing(struct fr_view in, const struct http_limits *limits, size_t *scanned)
{
    size_t from = *scanned;
    *scanned = in.len;
    /* The first bytes are always tried, so that garbage is refused at once. Later ones wait for an
     * LF that may end the head (or ends a line it must not end), and for the two limits. */
    if (from == 0)
        return in.len > 0;
    if (in.len >= limits->head_bytes_max)
        return true;
    size_t line_max = limits->request_line_bytes_max + 2 * HTTP_EMPTY_LINES_MAX;
    if (from <= line_max && in.len > line_max)
        return true;
    while (from < in.len) {
        const char *lf = memchr(in.ptr + from, '\n', in.len - from);
        if (!lf)
            return false;
        size_t at = (size_t)(lf - in.ptr);
        if (at == 0 || lf[-1] != '\r')
            return true;
        if (at < 2 || lf[-2] == '\n')
            return true;
        from = at + 1;
    }
    return false;
}

void
http__head_reset(struct http_head *head)
{
    /* Not the arrays, which field_count and known_set bound: ten kilobytes a request saved. */
    memset(head, 0, offsetof(struct http_head, first_known));
}

/* Octets of a token against those of a name in lower case: setting bit 5 folds case and nothing
 * else, since no tchar but a letter becomes a letter, and none but '-' itself becomes '-'. */
static inline bool
eight_are(const char *name, const char *want)
{
    uint64_t x, y;
    memcpy(&x, name, 8);
    memcpy(&y, want, 8);
    return (x | 0x2020202020202020u) == y;
}

static inline bool
four_are(const char *name, const char *want)
{
    uint32_t x, y;
    memcpy(&x, name, 4);
    memcpy(&y, want, 4);
    return (x | 0x20202020u) == y;
}

/* Of the known one's length. The last step takes some octets once more. */
static inline bool
name_is(const char *name, enum http_known known)
{
    struct fr_view want = known_names[known];
    size_t i = 0;
    if (want.len >= 8) {
        for (; want.len - i > 8; i += 8)
            if (!eight_are(name + i, want.ptr + i))
                return false;
        return eight_are(name + want.len - 8, want.ptr + want.len - 8);
    }
    if (want.len >= 4)
        return four_are(name, want.ptr) && four_are(name + want.len - 4, want.ptr + want.len - 4);
    for (; i < want.len; i++)
        if ((name[i] | 0x20) != want.ptr[i])
            return false;
    return true;
}

static inline enum http_known
either(const char *name, enum http_known known)
{
    return name_is(name, known) ? known : HTTP_UNKNOWN;
}

/* The known names of ten octets and fewer. */
static enum http_known
known_short(const char *name, size_t len)
{
    char first = (char)(name[0] | 0x20);
    switch (len) {
    case 2:
        return either(name, HTTP_FIELD_TE);
    case 3:
        return either(name, first == 'v' ? HTTP_FIELD_VIA : HTTP_FIELD_AGE);
    case 4:
        if (first == 'h')
            return either(name, HTTP_FIELD_HOST);
        if (first == 'd')
            return either(name, HTTP_FIELD_DATE);
        return either(name, first == 'v' ? HTTP_FIELD_VARY : HTTP_FIELD_ETAG);
    case 5:
        return either(name, HTTP_FIELD_RANGE);
    case 6:
        if (first == 'e')
            return either(name, HTTP_FIELD_EXPECT);
        if (first == 'c')
            return either(name, HTTP_FIELD_COOKIE);
        return either(name, first == 'p' ? HTTP_FIELD_PRAGMA : HTTP_FIELD_SERVER);
    case 7:
        if (first == 'u')
            return either(name, HTTP_FIELD_UPGRADE);
        if (first == 'r')
            return either(name, HTTP_FIELD_REFERER);
        return either(name, first == 'e' ? HTTP_FIELD_EXPIRES : HTTP_FIELD_TRAILER);
    case 8:
        return either(name, (name[3] | 0x20) == 'm' ? HTTP_FIELD_IF_MATCH : HTTP_FIELD_IF_RANGE);
    case 9:
        return either(name, HTTP_FIELD_FORWARDED);
    case 10:
        if (first == 'c')
            return either(name, HTTP_FIELD_CONNECTION);
        if (first == 'u')
            return either(name, HTTP_FIELD_USER_AGENT);
        if (first == 't')
            return either(name, HTTP_FIELD_TRACESTATE);
        return either(name, first == 's' ? HTTP_FIELD_SET_COOKIE : HTTP_FIELD_KEEP_ALIVE);
    default:
        return HTTP_UNKNOWN;
    }
}

static enum http_known
known_thirteen(const char *name)
{
    switch (name[0] | 0x20) {
    case 'a':
        return either(name, HTTP_FIELD_AUTHORIZATION);
    case 'c':
        return either(name, (name[1] | 0x20) == 'a' ? HTTP_FIELD_CACHE_CONTROL
                                                    : HTTP_FIELD_CONTENT_RANGE);
    case 'i':
        return either(name, HTTP_FIELD_IF_NONE_MATCH);
    default:
        return either(name, HTTP_FIELD_LAST_MODIFIED);
    }
}

/* Length first, then at most one comparison. A test walks http_known.def, so that a row that is
 * missing here cannot stay unnoticed. */
enum http_known
http__known_of_token(struct fr_view text)
{
    const char *name = text.ptr;
    size_t len = text.len;
    if (len <= 10)
        return known_short(name, len);
    char first = (char)(name[0] | 0x20);
    switch (len) {
    case 11:
        return either(name, first == 't' ? HTTP_FIELD_TRACEPARENT : HTTP_FIELD_RETRY_AFTER);
    case 12:
        return either(name, HTTP_FIELD_X_REQUEST_ID);
    case 13:
        return known_thirteen(name);
    case 14:
        return either(name, HTTP_FIELD_CONTENT_LENGTH);
    case 15:
        return either(name, HTTP_FIELD_X_FORWARDED_FOR);
    case 16:
        return either(name,
                      first == 'x' ? HTTP_FIELD_X_FORWARDED_HOST : HTTP_FIELD_PROXY_CONNECTION);
    case 17:
        if (first == 't')
            return either(name, HTTP_FIELD_TRANSFER_ENCODING);
        return either(name,
                      first == 'x' ? HTTP_FIELD_X_FORWARDED_PROTO : HTTP_FIELD_IF_MODIFIED_SINCE);
    case 18:
        return either(name, HTTP_FIELD_PROXY_AUTHENTICATE);
    case 19:
        return either(name, first == 'i' ? HTTP_FIELD_IF_UNMODIFIED_SINCE
                                         : HTTP_FIELD_PROXY_AUTHORIZATION);
    case 21:
        return either(name, HTTP_FIELD_ENDPOINT_LOAD_METRICS);
    case 25:
        return either(name, HTTP_FIELD_PROXY_AUTHENTICATION_INFO);
    default:
        return HTTP_UNKNOWN;
    }
}

enum http_known
http_known_of(struct fr_view name)
{
    return http_is_token(name) ? http__known_of_token(name) : HTTP_UNKNOWN;
}

/* What is wrong with a line whose name ends where no colon is. */
static enum http_step
name_bad(const struct http__reader *reader, const char *line, const char *at,
         struct http_err *out_err)
{
    const char *words = "a field name is not a token";
    if (http__is_blank(*at) && at == line)
        words = "a folded or indented field line"; /* RFC 9112 section 5.2 */
    else if (http__is_blank(*at))
        words = "space before the colon of a field"; /* RFC 9112 section 5.1 */
    else if (at == line)
        words = "an empty or invalid field name";
    else if (*at == '\r' || *at == '\n')
        words = "a field line without a colon";
    return http__bad(reader->start, at, 400, words, out_err);
}

/* Reads CRLF at reader->at. DONE moves behind it. */
static enum http_step
line_end_read(struct http__reader *reader, struct http_err *out_err)
{
    const char *at = reader->at;
    if (*at != '\r')
        return http__bad(reader->start, at, 400,
                         *at == '\n' ? "a line ends in a bare LF" : "a control in a field value",
                         out_err);
    if (at + 1 == reader->end)
        return http__ran_out(reader, out_err);
    if (at[1] != '\n')
        return http__bad(reader->start, at, 400, "a bare CR", out_err);
    reader->at = at + 2;
    return HTTP_DONE;
}

/* Reads one field line. */
static enum http_step
field_read(struct http__reader *reader, struct http_field *out, struct http_err *out_err)
{
    const char *end = reader->end;
    const char *line = reader->at;
    const char *at = line;
    at = http__run(at, end, HTTP__TOKEN);
    if (at == end)
        return http__ran_out(reader, out_err);
    if (*at != ':' || at == line)
        return name_bad(reader, line, at, out_err);
    out->name = fr_view_make(line, (size_t)(at - line));
    at++;
    while (at < end && http__is_blank(*at))
        at++;
    const char *value = at;
    at = http__run(at, end, HTTP__TEXT);
    if (at == end)
        return http__ran_out(reader, out_err);
    const char *value_end = at;
    while (value_end > value && http__is_blank(value_end[-1]))
        value_end--;
    out->value = fr_view_make(value, (size_t)(value_end - value));
    if (end - at >= 2 && memcmp(at, "\r\n", 2) == 0) { /* nearly always */
        reader->at = at + 2;
        return HTTP_DONE;
    }
    reader->at = at;
    return line_end_read(reader, out_err);
}

enum http_step
http__fields_read(struct http__reader *reader, size_t field_count_max, struct http_head *head,
                  struct http_err *out_err)
{
    if (field_count_max > HTTP_FIELDS_MAX)
        field_count_max = HTTP_FIELDS_MAX;
    for (;;) {
        if (reader->at == reader->end)
            return http__ran_out(reader, out_err);
        if (*reader->at == '\r')
            return line_end_read(reader, out_err);
        if (head->field_count >= field_count_max) {
            enum http_step step =
                http__bad(reader->start, reader->at, 431, "too many fields", out_err);
            out_err->limit = HTTP_LIMIT_FIELDS;
            return step;
        }
        struct http_field *field = &head->fields[head->field_count];
        enum http_step step = field_read(reader, field, out_err);
        if (step != HTTP_DONE)
            return step;
        http__field_note(head, http__known_of_token(field->name));
    }
}

const struct http_field *
http_head_next(const struct http_head *head, const struct http_field *after)
{
    const struct http_field *end = head->fields + head->field_count;
    for (const struct http_field *field = after + 1; field < end; field++) {
        if (field->known != after->known)
            continue;
        if (field->known || fr_view_ieq(field->name, after->name))
            return field;
    }
    return NULL;
}

const struct http_field *
http_head_find_name(const struct http_head *head, struct fr_view name)
{
    enum http_known known = http_known_of(name);
    if (known)
        return http_head_find(head, known);
    for (size_t i = 0; i < head->field_count; i++)
        if (!head->fields[i].known && fr_view_ieq(head->fields[i].name, name))
            return &head->fields[i];
    return NULL;
}

/* ---- hop-by-hop ------------------------------------------------------------------------------ */

/* RFC 9110 section 7.6.1 names Proxy-Connection, Keep-Alive, TE, Transfer-Encoding and Upgrade as
 * gone at each hop whether or not Connection lists them. Four of ours are added: Trailer, because
 * trailers are dropped here and must not be announced; Proxy-Authenticate, Proxy-Authorization and
 * Proxy-Authentication-Info, because they are between a client and a forward proxy (section 11.7),
 * which no member may play, and must not be stored (RFC 9111 section 3.1). */
static const uint64_t always_hop = HTTP_SET(CONNECTION) | HTTP_SET(KEEP_ALIVE) |
                                   HTTP_SET(PROXY_CONNECTION) | HTTP_SET(TE) | HTTP_SET(TRAILER) |
                                   HTTP_SET(TRANSFER_ENCODING) | HTTP_SET(UPGRADE) |
                                   HTTP_SET(PROXY_AUTHENTICATE) | HTTP_SET(PROXY_AUTHORIZATION) |
                                   HTTP_SET(PROXY_AUTHENTICATION_INFO);

static void
hop_mark_always(struct http_head *head)
{
    for (size_t i = 0; http_head_has(head, always_hop) && i < head->field_count; i++)
        if (always_hop >> head->fields[i].known & 1)
            head->fields[i].hop = true;
}

/* Fields with rules of their own (framing, routing, validation, caching, credentials) are meant for
 * every recipient: naming them in Connection is forbidden (RFC 9110 section 7.6.1), and obeying it
 * would let a client strip what the next hop relies on. Only unknown names are marked. */
static void
hop_mark_named(struct http_head *head, struct fr_view name)
{
    for (size_t i = 0; i < head->field_count; i++)
        if (!head->fields[i].known && fr_view_ieq(head->fields[i].name, name))
            head->fields[i].hop = true;
}

bool
http__connection_apply(struct http_head *head)
{
    bool close = false;
    bool keep = false;
    bool upgrade = false;
    size_t option_count = 0;
    hop_mark_always(head);
    const struct http_field *field = http_head_find(head, HTTP_FIELD_CONNECTION);
    for (; field; field = http_head_next(head, field)) {
        struct fr_view rest = field->value;
        struct fr_view option;
        while (http_list_next(&rest, &option)) {
            if (++option_count > HTTP_CONNECTION_OPTIONS_MAX)
                return false;
            if (fr_view_ieq(option, FR_VIEW("close")))
                close = true;
            else if (fr_view_ieq(option, FR_VIEW("keep-alive")))
                keep = true;
            else if (fr_view_ieq(option, FR_VIEW("upgrade")))
                upgrade = true;
            else
                hop_mark_named(head, option);
        }
    }
    /* RFC 9112 section 9.3: close wins; 1.1 persists by default, 1.0 only where it was asked. */
    head->keep_alive = !close && (head->version_minor >= 1 || keep);
    /* RFC 9110 section 7.8: an Upgrade in HTTP/1.0 is to be ignored. */
    head->upgrade =
        upgrade && head->version_minor >= 1 && http_head_find(head, HTTP_FIELD_UPGRADE) != NULL;
    return true;
}

/* RFC 9110 section 10.1.4. Weights and other codings do not matter: none is ever applied here. */
void
http__te_read(struct http_head *head)
{
    const struct http_field *field = http_head_find(head, HTTP_FIELD_TE);
    for (; field; field = http_head_next(head, field)) {
        struct fr_view rest = field->value, item;
        while (http_list_next(&rest, &item))
            if (fr_view_ieq(item, FR_VIEW("trailers")))
                head->te_trailers = head->version_minor >= 1;
    }
}
