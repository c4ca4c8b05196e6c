/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_head.c - heads as they go on: the request to a member, the response to the client.
 *
 * May touch:  base, http, cluster (addresses).
 * Memory:     written into a buffer of the exchange that is reserved once, for the most needed.
 * Trusts:     the parser: names are tokens, values hold no line end, so copying them is safe.
 * Cost:       one pass over the fields, one copy of all lines that go on as they came and stand
 *             behind each other.
 * Follows:    RFC 9110 sections 6.6.1, 7.6, 7.7 and 7.8; RFC 9112 sections 3.2 and 6.
 */
#include "proxy/proxy_priv.h"

#include "base/fr_put.h"

#define HEAD_SLACK_BYTES 1024 /* the lines that are ours, names and numbers */

struct writer {
    struct fr_buf *buf;
    char *at;
};

static void
put(struct writer *w, struct fr_view view)
{
    w->at = fr_put(w->at, view);
}

#define PUT(w, literal) put((w), FR_VIEW(literal))

static void
put_number(struct writer *w, uint64_t number)
{
    w->at = fr_put_u64(w->at, number);
}

static void
put_value(struct writer *w, struct fr_view value)
{
    put(w, value);
    PUT(w, "\r\n");
}

#define PUT_FIELD(w, name, value) (PUT((w), name ": "), put_value((w), (value)))

/* Lines that came behind each other and go on unchanged; put before anything else is. */
struct lines {
    const char *from, *end;
};

static void
put_lines_so_far(struct writer *w, struct lines *lines)
{
    put(w, fr_view_make(lines->from, (size_t)(lines->end - lines->from)));
    lines->from = lines->end = NULL;
}

/* Written anew it would be the same: no more blanks than the one behind the colon. */
static bool
line_is_plain(const struct http_field *field)
{
    const char *colon = field->name.ptr + field->name.len;
    return field->value.ptr[field->value.len] == '\r' &&
           (field->value.ptr == colon + 1 || (field->value.ptr == colon + 2 && colon[1] == ' '));
}

/* One that came, as it came: see http_field_is_never_indexed. */
static inline void
pass_field(struct writer *w, struct lines *lines, const struct http_field *field)
{
    if (!line_is_plain(field)) {
        put_lines_so_far(w, lines);
        put(w, field->name);
        put(w, http_field_colon(field));
        put(w, field->value);
        PUT(w, "\r\n");
        return;
    }
    if (field->name.ptr != lines->end) {
        put_lines_so_far(w, lines);
        lines->from = field->name.ptr;
    }
    lines->end = field->value.ptr + field->value.len + 2;
}

static enum fr_err
writer_begin(struct writer *w, struct fr_buf *buf, size_t bytes_max)
{
    fr_buf_clear(buf);
    enum fr_err err = fr_buf_reserve(buf, bytes_max);
    if (err)
        return err;
    *w = (struct writer){buf, buf->data};
    return FR_OK;
}

static void
writer_end(struct writer *w)
{
    size_t len = (size_t)(w->at - w->buf->data);
    fr_insist(len < w->buf->cap);
    w->buf->len = len;
    w->buf->data[len] = '\0';
}

#define VIA_HTTP2 (-1)

/* RFC 9110 section 7.6.3: the version that the message came in. */
static void
put_via(struct writer *w, const struct proxy_exchange *x, int version_minor)
{
    if (version_minor == VIA_HTTP2)
        PUT(w, "Via: 2 ");
    else if (version_minor == 0)
        PUT(w, "Via: 1.0 ");
    else
        PUT(w, "Via: 1.1 ");
    put(w, x->worker->via);
    PUT(w, "\r\n");
}

/* ---- to the member -------------------------------------------------------------------------- */

/* Fields by which a proxy speaks of its client; believed of trusted ones only. The first three are
 * known by number, and ours whoever sent them. */
static bool
is_claim(struct fr_view name)
{
    return (name.ptr[0] | 0x20) == 'x' && (fr_view_istarts(name, FR_VIEW("x-forwarded-")) ||
                                           fr_view_ieq(name, FR_VIEW("x-real-ip")));
}

static bool
is_certificate_claim(struct fr_view name)
{
    return (name.ptr[0] | 0x20) == 'x' && fr_view_istarts(name, FR_VIEW("x-client-cert-"));
}

/* Forwarded to a member are these only as our own words say them. */
static bool
request_field_is_ours(const struct proxy_exchange *x, const struct http_field *field)
{
    switch (field->known) {
    case HTTP_FIELD_HOST:
    case HTTP_FIELD_CONTENT_LENGTH:
    case HTTP_FIELD_X_FORWARDED_FOR:
    case HTTP_FIELD_X_FORWARDED_PROTO:
    case HTTP_FIELD_X_FORWARDED_HOST:
    case HTTP_FIELD_FORWARDED:
    case HTTP_FIELD_X_REQUEST_ID:
        return true;
    case HTTP_FIELD_TRACEPARENT: /* W3C Trace Context section 3.3: both or neither */
    case HTTP_FIELD_TRACESTATE:
        return !x->trace_passed;
    case HTTP_FIELD_EXPECT: /* RFC 9110 section 10.1.1: a 1.0 client cannot wait for a 100 */
        return x->http10 || !x->expecting;
    default:
        /* Section 7.6.2: counted down where it means anything. */
        if (x->method == HTTP_OPTIONS && fr_view_ieq(field->name, FR_VIEW("max-forwards")))
            return true;
        if (is_certificate_claim(field->name))
            return !x->trusted || x->client->certificate;
        return !x->trusted && is_claim(field->name);
    }
}

/* RFC 7239 section 6: an IPv6 address stands in brackets and quotes. */
static void
put_forwarded_node(struct writer *w, struct fr_view address)
{
    bool six = memchr(address.ptr, ':', address.len) != NULL;
    PUT(w, "for=");
    if (six)
        PUT(w, "\"[");
    put(w, address);
    if (six)
        PUT(w, "]\"");
}

/* What the elements before ours said is repeated, or made from X-Forwarded-For; ours comes last. */
static void
put_forwarded(struct writer *w, const struct proxy_exchange *x, const struct http_head *request)
{
    const struct proxy_trust *trust = &x->worker->trust;
    struct fr_view rest = fr_view_make(trust->chain, trust->chain_len), address;
    size_t index = 0;
    PUT(w, "Forwarded: ");
    for (; trust->chain_len > 0 && fr_view_split(&rest, ',', &address); index++) {
        if (index > 0)
            PUT(w, ", ");
        if (index < trust->kept_count) {
            put(w, trust->kept[index]);
            continue;
        }
        put_forwarded_node(w, fr_view_trim(address));
        bool first = index == 0 && rest.ptr; /* what a trusted proxy saw of the client */
        if (first)
            put(w, x->https ? FR_VIEW(";proto=https") : FR_VIEW(";proto=http"));
        if (first && trust->host.len) {
            PUT(w, ";host=\"");
            put(w, trust->host);
            PUT(w, "\"");
        }
    }
    if (x->client->address_len == 0)
        put(w, index > 0 ? FR_VIEW(", for=unknown") : FR_VIEW("for=unknown"));
    put(w, x->client->https ? FR_VIEW(";proto=https") : FR_VIEW(";proto=http"));
    if (request->host.len) {
        PUT(w, ";host=\"");
        put(w, request->host);
        PUT(w, "\"");
    }
    PUT(w, "\r\n");
}

static void
put_claims(struct writer *w, const struct proxy_exchange *x, const struct http_head *request)
{
    const struct proxy_trust *trust = &x->worker->trust;
    unsigned wanted = x->worker->settings.forwarded;
    struct fr_view host = trust->host.len ? trust->host : request->host;
    if (wanted & CONFIG_FORWARDED_X) {
        if (trust->chain_len > 0)
            PUT_FIELD(w, "X-Forwarded-For", fr_view_make(trust->chain, trust->chain_len));
        PUT_FIELD(w, "X-Forwarded-Proto", x->https ? FR_VIEW("https") : FR_VIEW("http"));
        if (host.len)
            PUT_FIELD(w, "X-Forwarded-Host", host);
    }
    if ((wanted & CONFIG_FORWARDED_RFC7239) || trust->kept_count > 0)
        put_forwarded(w, x, request);
    if (x->client->certificate)
        put(w, fr_view_of(x->client->certificate));
}

#define RANGE_BYTES_MAX 64 /* "Range: bytes=N-" with its end */

/* Of what is stored the rest is asked for, if it is still the same (RFC 9110 section 13.1.5). */
static void
put_rest(struct writer *w, const struct proxy_exchange *x)
{
    uint64_t first;
    struct fr_view etag;
    if (!x->part || !cache_entry_rest(x->part, &first, &etag))
        return;
    PUT(w, "Range: bytes=");
    w->at = fr_put_u64(w->at, first);
    PUT(w, "-\r\n");
    if (etag.len)
        PUT_FIELD(w, "If-Range", etag);
}

/* What is stored is asked about (RFC 9111 section 4.3.1). */
static void
put_conditions(struct writer *w, const struct proxy_exchange *x)
{
    struct cache_validators validators;
    put_rest(w, x);
    if (!x->validating)
        return;
    cache_entry_validators(x->stale, &validators);
    if (validators.etag.len)
        PUT_FIELD(w, "If-None-Match", validators.etag);
    if (validators.modified.len)
        PUT_FIELD(w, "If-Modified-Since", validators.modified);
}

static size_t
condition_bytes(const struct proxy_exchange *x)
{
    struct cache_validators validators = {0};
    if (x->validating)
        cache_entry_validators(x->stale, &validators);
    else if (x->part)
        cache_entry_validators(x->part, &validators);
    return validators.etag.len + validators.modified.len + RANGE_BYTES_MAX;
}

static void
put_names(struct writer *w, const struct proxy_exchange *x)
{
    if (x->request_id_len > 0)
        PUT_FIELD(w, "X-Request-Id", fr_view_make(x->request_id, x->request_id_len));
    if (x->trace_made)
        PUT_FIELD(w, "traceparent", fr_view_make(x->traceparent, HTTP_TRACEPARENT_BYTES));
}

/* What put_claims and put_names may need. */
static size_t
claim_bytes_max(const struct proxy_exchange *x, const struct http_head *request)
{
    const struct proxy_trust *trust = &x->worker->trust;
    size_t bytes = 2 * trust->chain_len + 24 * (PROXY_HOPS_MAX + 1) + 2 * trust->host.len +
                   request->host.len + HTTP_REQUEST_ID_BYTES_MAX + HTTP_TRACEPARENT_BYTES;
    for (size_t i = 0; i < trust->kept_count; i++)
        bytes += trust->kept[i].len;
    if (x->client->certificate)
        bytes += strlen(x->client->certificate);
    return bytes;
}

static void
put_max_forwards(struct writer *w, const struct proxy_exchange *x, const struct http_head *request)
{
    uint64_t left;
    if (x->method != HTTP_OPTIONS)
        return;
    const struct http_field *field = http_head_find_name(request, FR_VIEW("max-forwards"));
    if (!field || !fr_view_u64(field->value, &left) || left == 0)
        return;
    PUT(w, "Max-Forwards: ");
    put_number(w, left - 1);
    PUT(w, "\r\n");
}

/* The field as it came, in each of its lines. */
static void
put_lines(struct writer *w, const struct http_head *head, enum http_known id)
{
    const struct http_field *field = http_head_find(head, id);
    struct lines lines = {NULL, NULL};
    for (; field; field = http_head_next(head, field))
        pass_field(w, &lines, field);
    put_lines_so_far(w, &lines);
}

/* Connection is our own word to the member, never the client's. */
static void
put_request_connection(struct writer *w, const struct proxy_exchange *x,
                       const struct http_head *request)
{
    if (x->upgrade_len > 0) { /* RFC 9110 section 7.8 */
        PUT_FIELD(w, "Upgrade", fr_view_make(x->upgrade, x->upgrade_len));
        PUT(w, "Connection: upgrade\r\n");
    }
    if (request->te_trailers) /* RFC 9110 section 10.1.4 */
        PUT(w, "TE: trailers\r\nConnection: TE\r\n");
}

#define CHUNKED_LINE "Transfer-Encoding: chunked\r\n"

/* A told length stands last: proxy_head_request_parts knows it by its place. */
static void
put_request_framing(struct writer *w, struct proxy_exchange *x, const struct http_head *request)
{
    bool chunked = x->request_framing == HTTP_BODY_CHUNKED;
    if (chunked) /* says what follows (RFC 9110 section 6.6.2) */
        put_lines(w, request, HTTP_FIELD_TRAILER);
    x->up_length_at = chunked && x->length_told ? (size_t)(w->at - w->buf->data) : 0;
    if (x->length_told) {
        PUT(w, "Content-Length: ");
        put_number(w, x->request_length);
        PUT(w, "\r\n");
    } else if (chunked) {
        PUT(w, CHUNKED_LINE);
    }
}

/* Which members are asked is known late, and a second may speak what the first does not. Over
 * HTTP/2 a length and trailers go together; over HTTP/1.1 trailers want chunks, which want no
 * length (RFC 9112 sections 7.1.2 and 6.2). */
int
proxy_head_request_parts(const struct proxy_exchange *x, struct iovec *iov)
{
    static const char instead[] = CHUNKED_LINE "\r\n";
    iov[0] = (struct iovec){x->up_head.data, x->up_head.len};
    if (x->up_length_at == 0)
        return 1;
    iov[0].iov_len = x->up_length_at;
    iov[1] = (struct iovec){(char *)(uintptr_t)instead, sizeof(instead) - 1};
    return 2;
}

/* The path of a Unix socket is no host. */
static struct fr_view
host_of(const struct proxy_exchange *x, const struct cluster_member *member)
{
    if (!member) /* it is parked: who will serve it is not known */
        return fr_view_of(x->cluster->view->config->name);
    if (member->addr.sa.any.sa_family == AF_UNIX)
        return FR_VIEW("localhost");
    return fr_view_of(member->address);
}

static void
put_host(struct writer *w, const struct proxy_exchange *x, const struct http_head *request,
         const struct cluster_member *member)
{
    const struct http_field *field = http_head_find(request, HTTP_FIELD_HOST);
    bool as_it_came = field && field->value.ptr == request->host.ptr;
    PUT(w, "Host:");
    if (!as_it_came || !http_field_is_never_indexed(field))
        PUT(w, " ");
    put(w, request->host.len ? request->host : host_of(x, member));
    PUT(w, "\r\n");
}

static void
put_request_fields(struct writer *w, const struct proxy_exchange *x,
                   const struct http_head *request)
{
    struct lines lines = {NULL, NULL};
    for (size_t i = 0; i < request->field_count; i++) {
        const struct http_field *field = &request->fields[i];
        if (proxy_cached_replaces(x, field))
            continue;
        if (field->known == HTTP_FIELD_COOKIE && proxy_sticky_hides(x)) {
            put_lines_so_far(w, &lines);
            w->at = proxy_sticky_put_cookie(x, field, w->at);
        } else if (!field->hop && !request_field_is_ours(x, field)) {
            pass_field(w, &lines, field);
        }
    }
    put_lines_so_far(w, &lines);
}

enum fr_err
proxy_head_request(struct proxy_exchange *x, const struct http_head *request,
                   const struct cluster_member *member)
{
    struct writer w;
    proxy_trust_resolve(x, request); /* from this head: its views end with it */
    proxy_trust_make_names(x);
    size_t bytes_max = request->head_bytes + 4 * request->field_count + 2 * request->host.len +
                       x->worker->via.len + claim_bytes_max(x, request) + condition_bytes(x) +
                       HEAD_SLACK_BYTES;
    enum fr_err err = writer_begin(&w, &x->up_head, bytes_max);
    if (err)
        return err;
    put(&w, request->method_text);
    PUT(&w, " ");
    put(&w, request->path); /* origin-form, whatever form came (RFC 9112 section 3.2) */
    if (request->has_query) {
        PUT(&w, "?");
        put(&w, request->query);
    }
    PUT(&w, " HTTP/1.1\r\n");
    /* Host stands first (RFC 9110 section 7.2). A 1.0 client may have sent none; a 1.1 message
     * needs one, and the member's own address is the one that is true. */
    put_host(&w, x, request, member);
    put_request_fields(&w, x, request);
    put_claims(&w, x, request);
    put_names(&w, x);
    put_conditions(&w, x);
    if (x->cached && x->policy.surrogate)
        PUT(&w, "Surrogate-Capability: " CACHE_NAME "=\"Surrogate/1.0\"\r\n");
    put_via(&w, x, x->client->stream ? VIA_HTTP2 : request->version_minor);
    put_max_forwards(&w, x, request);
    put_request_connection(&w, x, request);
    put_request_framing(&w, x, request);
    PUT(&w, "\r\n");
    writer_end(&w);
    return FR_OK;
}

/* ---- to the client -------------------------------------------------------------------------- */

struct fr_view
proxy_head_connection(const struct proxy_exchange *x)
{
    if (!x->keep_alive)
        return FR_VIEW("Connection: close\r\n");
    if (x->http10) /* RFC 9112 section 9.3: a 1.0 connection stays only where both say so */
        return FR_VIEW("Connection: keep-alive\r\n");
    return FR_VIEW("");
}

static bool
tells_id(const struct proxy_exchange *x)
{
    return x->worker->settings.id_respond && x->request_id_len > 0;
}

void
proxy_head_ours(const struct proxy_exchange *x, struct http_head *response)
{
    bool id = tells_id(x), surrogate = x->cached && x->policy.surrogate;
    if (!id && !surrogate)
        return;
    for (size_t i = 0; i < response->field_count; i++) {
        struct http_field *field = &response->fields[i];
        if (id && field->known == HTTP_FIELD_X_REQUEST_ID)
            field->hop = true; /* it goes neither on nor into the cache */
        if (surrogate && fr_view_ieq(field->name, FR_VIEW("surrogate-control")))
            field->hop = true; /* it was for us */
    }
}

enum fr_err
proxy_head_put_id(const struct proxy_exchange *x, struct fr_buf *out)
{
    char line[HTTP_REQUEST_ID_BYTES_MAX + sizeof("X-Request-Id: \r\n")];
    if (!tells_id(x))
        return FR_OK;
    char *at = FR_PUT(line, "X-Request-Id: ");
    at = fr_put(at, fr_view_make(x->request_id, x->request_id_len));
    at = FR_PUT(at, "\r\n");
    return fr_buf_append(out, line, (size_t)(at - line));
}

/* HTTP/2 has no reasons, and there may be none in HTTP/1.1. */
static void
put_status_line(struct writer *w, struct lines *lines, const struct http_head *response)
{
    static const char shape[] = "HTTP/1.1 ddd ";
    const char *line = response->reason.ptr - (sizeof(shape) - 1);
    if (response->reason.len > 0 && memcmp(line, shape, 9) == 0) {
        *lines = (struct lines){line, response->reason.ptr + response->reason.len + 2};
        return;
    }
    PUT(w, "HTTP/1.1 ");
    put_number(w, (uint64_t)response->status);
    PUT(w, " ");
    put(w, response->reason.len ? response->reason : fr_view_of(http_reason(response->status)));
    PUT(w, "\r\n");
}

/* One that cannot be taken off is told to whom it goes on (RFC 9112 section 6.1), with all that are
 * around it. In one line, so that no reader takes the last of several for all. */
static void
put_codings(struct writer *w, const struct http_head *response)
{
    const struct http_field *field = http_head_find(response, HTTP_FIELD_TRANSFER_ENCODING);
    PUT(w, "Transfer-Encoding: ");
    put(w, field->value);
    while ((field = http_head_next(response, field))) {
        PUT(w, ", ");
        put(w, field->value);
    }
    PUT(w, "\r\n");
}

static void
put_response_framing(struct writer *w, const struct proxy_exchange *x,
                     const struct http_head *response)
{
    bool told = response->framing == HTTP_BODY_LENGTH;
    switch (x->client_framing) {
    case HTTP_BODY_CHUNKED:
        if (x->te_trailers)
            put_lines(w, response, HTTP_FIELD_TRAILER);
        if (response->unknown_coding) /* chunked is last in it */
            put_codings(w, response);
        else
            PUT(w, "Transfer-Encoding: chunked\r\n");
        return;
    case HTTP_BODY_LENGTH:
        break;
    case HTTP_BODY_NONE: /* the length a GET would have had; never in a 204 (section 8.6) */
        if (told && response->status != 204)
            break;
        return;
    case HTTP_BODY_TO_CLOSE:
        if (response->unknown_coding)
            put_codings(w, response);
        return;
    }
    PUT(w, "Content-Length: ");
    put_number(w, response->content_length);
    PUT(w, "\r\n");
}

static void
put_response_lines(struct writer *w, const struct http_head *response)
{
    struct lines lines = {NULL, NULL};
    put_status_line(w, &lines, response);
    for (size_t i = 0; i < response->field_count; i++) {
        const struct http_field *field = &response->fields[i];
        if (!field->hop && field->known != HTTP_FIELD_CONTENT_LENGTH)
            pass_field(w, &lines, field);
    }
    put_lines_so_far(w, &lines);
}

static size_t
response_bytes_max(const struct proxy_exchange *x, const struct http_head *response)
{
    return response->head_bytes + 4 * response->field_count + x->worker->via.len +
           HTTP_REQUEST_ID_BYTES_MAX + HEAD_SLACK_BYTES;
}

static void
put_session(struct writer *w, const struct proxy_exchange *x)
{
    const struct cluster_sticky *sticky = x->cluster->view->sticky;
    put(w, cluster_sticky_line_head(sticky));
    put(w, fr_view_make(x->session_text, sizeof(x->session_text)));
    put(w, cluster_sticky_line_tail(sticky));
}

static size_t
session_bytes(const struct proxy_exchange *x)
{
    const struct cluster_sticky *sticky = x->cluster->view->sticky;
    return cluster_sticky_line_head(sticky).len + sizeof(x->session_text) +
           cluster_sticky_line_tail(sticky).len;
}

/* Upgrade is between two neighbours, so that it is said anew. */
static void
put_upgrade(struct writer *w, const struct http_head *response)
{
    const struct http_field *field = http_head_find(response, HTTP_FIELD_UPGRADE);
    if (!field)
        return;
    PUT(w, "Connection: upgrade\r\n");
    for (; field; field = http_head_next(response, field))
        PUT_FIELD(w, "Upgrade", field->value);
}

enum fr_err
proxy_head_response(struct proxy_exchange *x, const struct http_head *response)
{
    struct writer w;
    size_t bytes_max = response_bytes_max(x, response) + (x->gives_session ? session_bytes(x) : 0);
    enum fr_err err = writer_begin(&w, &x->down_head, bytes_max);
    if (err)
        return err;
    put_response_lines(&w, response);
    if (!http_head_find(response, HTTP_FIELD_DATE)) /* RFC 9110 section 6.6.1 */
        PUT_FIELD(&w, "Date", proxy_worker_date(x->worker));
    put_via(&w, x, x->up && x->up->lane ? VIA_HTTP2 : response->version_minor);
    struct fr_view cache_status = proxy_cached_status(x);
    if (cache_status.len > 0)
        PUT_FIELD(&w, "Cache-Status", cache_status);
    if (x->gives_session)
        put_session(&w, x);
    if (tells_id(x))
        PUT_FIELD(&w, "X-Request-Id", fr_view_make(x->request_id, x->request_id_len));
    put_response_framing(&w, x, response);
    if (response->status == 426) /* RFC 9110 section 15.5.22 */
        put_upgrade(&w, response);
    put(&w, proxy_head_connection(x));
    PUT(&w, "\r\n");
    writer_end(&w);
    return FR_OK;
}

enum fr_err
proxy_head_1xx(struct proxy_exchange *x, const struct http_head *response)
{
    struct writer w;
    enum fr_err err = writer_begin(&w, &x->down_head, response_bytes_max(x, response));
    if (err)
        return err;
    put_response_lines(&w, response);
    if (response->status == 101)
        put_upgrade(&w, response);
    PUT(&w, "\r\n");
    writer_end(&w);
    return FR_OK;
}

/* ---- behind a body ----------------------------------------------------------------------------
 */

bool
proxy_head_trailers(struct proxy_worker *worker, struct fr_buf *trailers, bool pass)
{
    struct http_head *head = &worker->trailer_head;
    struct http_err err;
    size_t lead = sizeof(PROXY_TRAILERS_LEAD) - 1;
    if (trailers->len == 0)
        return true;
    fr_insist(trailers->len > lead);
    struct fr_view section = fr_view_make(trailers->data + lead, trailers->len - lead);
    if (http_trailers_read(section, &worker->http_limits, head, &err) != HTTP_DONE)
        return false;
    /* Written over what was read: no line grows, so that none is overtaken. */
    char *at = trailers->data + lead;
    for (size_t i = 0; pass && i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (field->hop)
            continue;
        memmove(at, field->name.ptr, field->name.len);
        at += field->name.len;
        *at++ = ':';
        if (!http_field_is_never_indexed(field))
            *at++ = ' ';
        if (field->value.len)
            memmove(at, field->value.ptr, field->value.len);
        at += field->value.len;
        *at++ = '\r';
        *at++ = '\n';
    }
    *at++ = '\r';
    *at++ = '\n';
    fr_insist((size_t)(at - trailers->data) <= trailers->len);
    trailers->len = (size_t)(at - trailers->data);
    return true;
}

int
proxy_head_chunk(struct iovec *iov, int head_at, int count, size_t bytes, char *chunk_head,
                 const struct fr_buf *trailers, bool last)
{
    struct fr_view tail =
        trailers->len > 0 ? fr_buf_view(trailers) : FR_VIEW(HTTP_CHUNK_TAIL HTTP_CHUNK_LAST);
    size_t skip = bytes > 0 ? 0 : sizeof(HTTP_CHUNK_TAIL) - 1;
    size_t end = last ? tail.len : sizeof(HTTP_CHUNK_TAIL) - 1;
    iov[head_at] = (struct iovec){chunk_head, bytes > 0 ? http_chunk_head(bytes, chunk_head) : 0};
    if (end > skip)
        iov[count++] = (struct iovec){(char *)(uintptr_t)tail.ptr + skip, end - skip};
    return count;
}
