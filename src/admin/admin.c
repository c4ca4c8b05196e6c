/* SPDX-License-Identifier: Apache-2.0 */
/*
 * admin.c - the admin server: connections and their exchanges.
 *
 * May touch:  base, loop, tls, http, config.
 * Threads:    one control loop.
 * Memory:     a connection holds what it received and not yet understood (a head and one receive
 *             buffer at most) and its answer; an exchange holds copies of its request.
 * When full:  at ADMIN_CONNECTIONS_MAX the listener pauses; others wait in its backlog.
 * Trusts:     nothing a client sends.
 * Follows:    RFC 9110, RFC 9112.
 *
 *   first -> head -> body -> handling -> sending -> head (kept) | lingering -> closed
 *     `-> given to admin_other_fn
 *
 * An exchange goes to its handler once the request is whole. From then on either side may go
 * first: a client that leaves clears exchange->conn, and the answer is dropped.
 */
#include "admin/admin_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "http/http.h"

#include <stdarg.h>
#include <stdio.h>

#define ADMIN_CONNECTIONS_MAX 256
#define ADMIN_HEAD_BYTES_MAX 16384
#define ADMIN_IN_BYTES_MAX ((size_t)1 << 20) /* never reached: a head and a receive buffer */
#define ADMIN_ANSWER_BYTES_MAX ((size_t)64 << 20)
#define ADMIN_REQUEST_US (30 * FR_US_PER_S) /* idle time between two requests as well */
#define ADMIN_HANDSHAKE_US (10 * FR_US_PER_S)
#define ADMIN_LINGER_US (2 * FR_US_PER_S)
#define ADMIN_ERROR_BYTES_MAX 4096
#define ADMIN_ALLOW_BYTES_MAX 128

enum conn_state {
    CONN_FIRST,
    CONN_HEAD,
    CONN_BODY,
    CONN_HANDLING,
    CONN_SENDING,
    CONN_LINGERING,
    CONN_CLOSED,
};

struct admin_conn {
    struct admin *admin;
    struct fr_list link;
    struct loop_sock sock;
    struct loop_timer deadline;
    enum conn_state state;
    bool keep;       /* for another request after this one */
    bool continuing; /* "100 Continue" is on its way */
    size_t scanned;
    struct fr_buf in;
    struct fr_buf out;
    struct http_body body;
    struct admin_exchange *exchange;
    struct tls_session *tls; /* NULL: none */
    struct admin_peer peer;
};

struct admin_exchange {
    struct fr_list link;
    struct admin_conn *conn; /* NULL: nobody waits for the answer any more */
    const struct admin_route *route;
    bool handed; /* the handler has it */
    bool head_only;
    char *head; /* the request's views point into these */
    char *path;
    struct fr_buf body;
    struct admin_request request;
    struct admin_peer peer;
};

struct admin {
    struct loop *loop;
    struct loop_listener listener;
    const struct admin_route *routes;
    size_t body_bytes_max;
    int64_t request_us;
    void *ctx;
    admin_other_fn other;
    admin_allow_fn allow;
    admin_refused_fn refused;
    struct tls_server *tls; /* one reference, or NULL */
    const struct config_users *users;
    struct admin_counters counters;
    struct fr_list conns;
    size_t conn_count;
    struct fr_list exchanges;
    struct http_limits limits;
    struct http_head head; /* of the request being taken apart */
};

static void advance(struct admin_conn *conn);

/* ---- exchanges ---------------------------------------------------------------------------- */

static void
exchange_free(struct admin_exchange *exchange)
{
    if (exchange->conn)
        exchange->conn->exchange = NULL;
    fr_list_remove(&exchange->link);
    fr_buf_fini(&exchange->body);
    fr_free(exchange->head);
    fr_free(exchange->path);
    fr_free(exchange);
}

/* The connection parts with its exchange: the handler's lives on until it is answered. */
static void
exchange_leave(struct admin_conn *conn)
{
    struct admin_exchange *exchange = conn->exchange;
    if (!exchange)
        return;
    if (!exchange->handed) {
        exchange_free(exchange);
        return;
    }
    exchange->conn = NULL;
    conn->exchange = NULL;
}

/* ---- the end of a connection -------------------------------------------------------------- */

static void
on_conn_closed(void *ctx)
{
    struct admin_conn *conn = ctx;
    fr_buf_fini(&conn->in);
    fr_buf_fini(&conn->out);
    fr_free(conn);
}

/* Everything but the socket. */
static void
conn_leave(struct admin_conn *conn)
{
    struct admin *admin = conn->admin;
    exchange_leave(conn);
    loop_timer_stop(&conn->deadline);
    fr_list_remove(&conn->link);
    admin->conn_count--;
    conn->state = CONN_CLOSED;
    loop_listener_pause(&admin->listener, false);
}

static void
conn_close(struct admin_conn *conn)
{
    conn_leave(conn);
    loop_close(&conn->sock, on_conn_closed, conn);
}

static void
on_lingering(void *ctx, struct loop_buf *buf, int status)
{
    struct admin_conn *conn = ctx;
    loop_buf_give_back(buf);
    if (status > 0)
        loop_recv(&conn->sock, on_lingering, conn);
    else
        conn_close(conn);
}

static void on_deadline(void *ctx);
static void tell_refused(struct admin_conn *conn, const char *what, const char *why);

static void
deadline_start(struct admin_conn *conn, int64_t delay_us)
{
    loop_timer_start(conn->admin->loop, &conn->deadline, delay_us, on_deadline, conn);
}

/* RFC 9112 section 9.6: closing at once while the client still sends would reset the connection,
 * and the client might never see the answer. */
static void
conn_linger(struct admin_conn *conn)
{
    conn->state = CONN_LINGERING;
    deadline_start(conn, ADMIN_LINGER_US);
    loop_shutdown_send(&conn->sock);
    loop_recv(&conn->sock, on_lingering, conn);
}

/* ---- answering ---------------------------------------------------------------------------- */

static void
on_sent(void *ctx, int status)
{
    struct admin_conn *conn = ctx;
    fr_buf_fini(&conn->out); /* may have been large */
    if (status < 0) {
        conn_close(conn);
    } else if (!conn->keep) {
        conn_linger(conn);
    } else {
        conn->state = CONN_HEAD;
        conn->scanned = 0;
        deadline_start(conn, conn->admin->request_us);
        advance(conn);
    }
}

static void
send_out(struct admin_conn *conn)
{
    struct iovec part = {conn->out.data, conn->out.len};
    loop_send(&conn->sock, &part, 1, on_sent, conn);
}

static enum fr_err
write_head(struct admin_conn *conn, int status, const char *content_type, const char *allow,
           size_t body_bytes)
{
    char date[HTTP_DATE_BYTES];
    http_date_format(loop_wall_us(conn->admin->loop) / FR_US_PER_S, date);
    enum fr_err err = fr_buf_printf(&conn->out,
                                    "HTTP/1.1 %d %s\r\n"
                                    "Date: %s\r\n"
                                    "Cache-Control: no-store\r\n"
                                    "X-Content-Type-Options: nosniff\r\n",
                                    status, http_reason(status), date);
    if (!err && allow)
        err = fr_buf_printf(&conn->out, "Allow: %s\r\n", allow);
    if (!err && status == 401) /* RFC 9110 section 15.5.2 */
        err = fr_buf_printf(&conn->out, "WWW-Authenticate: Bearer\r\n");
    if (!err && !conn->keep)
        err = fr_buf_printf(&conn->out, "Connection: close\r\n");
    /* RFC 9110 section 8.6: neither 204 nor 304 says the length of a body it cannot have. */
    if (!err && status != 204 && status != 304)
        err = fr_buf_printf(&conn->out, "Content-Type: %s\r\nContent-Length: %zu\r\n", content_type,
                            body_bytes);
    return err ? err : fr_buf_append(&conn->out, "\r\n", 2);
}

static void
conn_answer(struct admin_conn *conn, bool head_only, int status, const char *content_type,
            const char *allow, struct fr_view body)
{
    loop_recv_cancel(&conn->sock);
    conn->state = CONN_SENDING;
    deadline_start(conn, conn->admin->request_us);
    fr_buf_clear(&conn->out);
    if (status == 204 || status == 304)
        body = fr_view_make(NULL, 0);
    enum fr_err err =
        write_head(conn, status, content_type ? content_type : "application/json", allow, body.len);
    if (!err && !head_only) /* RFC 9110 section 9.3.2 */
        err = fr_buf_append_view(&conn->out, body);
    if (err) {
        conn_close(conn);
        return;
    }
    if (!conn->continuing)
        send_out(conn);
}

/* The words as {"error": "..."}; cut short rather than failing. */
static void
write_error(struct fr_buf *out, struct fr_view words)
{
    if (words.len > ADMIN_ERROR_BYTES_MAX / 8)
        words.len = ADMIN_ERROR_BYTES_MAX / 8; /* a byte becomes six at most */
    fr_buf_init(out, ADMIN_ERROR_BYTES_MAX);
    enum fr_err err = fr_buf_append(out, "{\"error\": ", 10);
    if (!err)
        err = admin_json_string(out, words);
    if (!err)
        err = fr_buf_append(out, "}\n", 2);
    if (err)
        fr_buf_clear(out);
}

/* The server's own answer, before a handler was asked or when it takes too long. */
static void
conn_refuse(struct admin_conn *conn, int status, const char *allow, const char *words)
{
    struct fr_buf body;
    bool head_only = conn->exchange && conn->exchange->head_only;
    exchange_leave(conn);
    write_error(&body, fr_view_of(words));
    conn_answer(conn, head_only, status, NULL, allow, fr_buf_view(&body));
    fr_buf_fini(&body);
}

static void
conn_refuse_and_close(struct admin_conn *conn, int status, const char *words)
{
    conn->keep = false;
    conn_refuse(conn, status, NULL, words);
}

void
admin_answer(struct admin_exchange *exchange, int status, const char *content_type,
             struct fr_view body)
{
    struct admin_conn *conn = exchange->conn;
    fr_require(exchange->handed);
    fr_require(status >= 200 && status <= 599);
    if (conn) /* first, since the body may be the request's */
        conn_answer(conn, exchange->head_only, status, content_type, NULL, body);
    exchange_free(exchange);
}

void
admin_answer_error(struct admin_exchange *exchange, int status, const char *format, ...)
{
    char words[ADMIN_ERROR_BYTES_MAX / 8];
    struct fr_buf body;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    write_error(&body, fr_view_of(words));
    admin_answer(exchange, status, NULL, fr_buf_view(&body));
    fr_buf_fini(&body);
}

static void
on_deadline(void *ctx)
{
    struct admin_conn *conn = ctx;
    switch (conn->state) {
    case CONN_FIRST:
    case CONN_HEAD:
        if (conn->tls && !tls_session_ready(conn->tls)) {
            conn->admin->counters.handshakes_failed++;
            tell_refused(conn, "handshake", "it was not over in time");
        }
        if (conn->in.len == 0)
            conn_close(conn); /* idle */
        else
            conn_refuse_and_close(conn, 408, "the request did not arrive in time");
        break;
    case CONN_BODY:
        conn_refuse_and_close(conn, 408, "the request's body did not arrive in time");
        break;
    case CONN_HANDLING:
        conn_refuse_and_close(conn, 504, "no answer in time; what was asked for may still happen");
        break;
    case CONN_SENDING:
        conn_leave(conn);
        loop_abort(&conn->sock, on_conn_closed, conn); /* half an answer must not look whole */
        break;
    case CONN_LINGERING:
        conn_close(conn);
        break;
    case CONN_CLOSED:
        break;
    }
}

/* ---- requests ----------------------------------------------------------------------------- */

static void
hand_over(struct admin_conn *conn)
{
    struct admin_exchange *exchange = conn->exchange;
    loop_recv_cancel(&conn->sock);
    conn->state = CONN_HANDLING;
    exchange->handed = true;
    exchange->request.body = fr_buf_view(&exchange->body);
    exchange->route->fn(conn->admin->ctx, exchange, &exchange->request);
}

static void
on_continued(void *ctx, int status)
{
    struct admin_conn *conn = ctx;
    conn->continuing = false;
    if (status < 0)
        conn_close(conn);
    else if (conn->state == CONN_SENDING)
        send_out(conn);
}

/* The same bytes within the exchange's copy of the head. */
static struct fr_view
moved(struct fr_view view, const char *from, size_t from_bytes, const char *to)
{
    if (view.len == 0 || view.ptr < from || view.ptr + view.len > from + from_bytes)
        return fr_view_make(NULL, 0);
    return fr_view_make(to + (view.ptr - from), view.len);
}

/* Copies what the handler needs; false when the path is malformed. */
static bool
exchange_new(struct admin_conn *conn, const struct http_head *head)
{
    struct admin_exchange *exchange = fr_xalloc(sizeof(*exchange));
    const struct http_field *type = http_head_find_name(head, FR_VIEW("Content-Type"));
    const char *from = conn->in.data;
    exchange->conn = conn;
    conn->exchange = exchange;
    fr_list_push_back(&conn->admin->exchanges, &exchange->link);
    fr_buf_init(&exchange->body, conn->admin->body_bytes_max);
    exchange->head_only = head->method == HTTP_HEAD;
    exchange->head = fr_xstrndup(from, head->head_bytes);
    exchange->path = fr_xalloc(head->path.len + 1);
    struct admin_request *request = &exchange->request;
    exchange->peer = conn->peer;
    request->peer = &exchange->peer;
    request->method = moved(head->method_text, from, head->head_bytes, exchange->head);
    request->query = moved(head->query, from, head->head_bytes, exchange->head);
    if (type)
        request->content_type = moved(type->value, from, head->head_bytes, exchange->head);
    if (!admin__decode(head->path, false, exchange->path, head->path.len + 1))
        return false;
    request->path = fr_view_of(exchange->path);
    return true;
}

/* A page of another site can make a browser send requests here, though not read the answers; what
 * changes something must therefore come from a page of ours, or from no page (RFC 6454 section 7).
 */
static bool
is_foreign_page(const struct http_head *head)
{
    const struct http_field *origin = http_head_find_name(head, FR_VIEW("Origin"));
    if (!origin || http_method_safe(head->method))
        return false;
    struct fr_view authority = origin->value;
    if (fr_view_istarts(authority, FR_VIEW("http://")))
        authority = fr_view_make(authority.ptr + 7, authority.len - 7);
    else if (fr_view_istarts(authority, FR_VIEW("https://")))
        authority = fr_view_make(authority.ptr + 8, authority.len - 8);
    else
        return true;
    return !fr_view_ieq(authority, head->host);
}

static void
tell_refused(struct admin_conn *conn, const char *what, const char *why)
{
    char from[LOOP_ADDR_TEXT_BYTES];
    loop_addr_format(&conn->peer.from, from);
    if (conn->admin->refused)
        conn->admin->refused(conn->admin->ctx, what, from, why);
}

/* True when the request was refused for want of a role. */
static bool
refuse_stranger(struct admin_conn *conn, const struct http_head *head)
{
    struct admin *admin = conn->admin;
    struct admin_request *request = &conn->exchange->request;
    const struct admin_route *route = conn->exchange->route;
    const struct http_field *shown = http_head_find_name(head, FR_VIEW("Authorization"));
    struct fr_view authorization = shown ? shown->value : (struct fr_view){NULL, 0};
    char words[ADMIN_NAMES_BYTES + 128];
    bool known = false;
    request->role = admin__role(admin->users, &conn->peer, authorization, &known);
    if (admin__may(request->role, route->needs) ||
        (admin->allow && admin->allow(admin->ctx, request)))
        return false;
    admin__refusal(&conn->peer, request->role, route->needs, known, words, sizeof(words));
    if (known)
        admin->counters.forbidden++;
    else
        admin->counters.unauthorized++;
    tell_refused(conn, "request", words);
    conn_refuse(conn, known ? 403 : 401, NULL, words);
    return true;
}

/* What is refused before the body is read; true when it was. */
static bool
refuse_early(struct admin_conn *conn, const struct http_head *head, bool path_ok)
{
    struct admin *admin = conn->admin;
    struct fr_buf allow;
    int status = 0;
    bool keep = head->keep_alive && head->version_minor > 0;
    fr_buf_init(&allow, ADMIN_ALLOW_BYTES_MAX);
    /* A body that nobody reads would be taken for the next request. */
    conn->keep = keep && head->framing == HTTP_BODY_NONE;
    if (!path_ok) {
        conn_refuse(conn, 400, NULL, "the path has a broken percent-escape");
    } else if (is_foreign_page(head)) {
        conn_refuse(conn, 403, NULL, "the request comes from a page of another site");
    } else if (!(conn->exchange->route =
                     admin__route(admin->routes, conn->exchange->request.method,
                                  conn->exchange->request.path, &status, &allow))) {
        conn_refuse(conn, status, status == 405 ? allow.data : NULL,
                    status == 405 ? "not a method of this path" : "no such path");
    } else if (refuse_stranger(conn, head)) {
        /* said so */
    } else if (head->framing == HTTP_BODY_LENGTH && head->content_length > admin->body_bytes_max) {
        conn_refuse(conn, 413, NULL, "the request's body is too large");
    }
    fr_buf_fini(&allow);
    if (conn->state != CONN_HEAD)
        return true;
    conn->keep = keep;
    return false;
}

static void
step_head(struct admin_conn *conn)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct admin *admin = conn->admin;
    struct http_head *head = &admin->head;
    struct http_err http_err = {0};
    if (conn->in.len == 0)
        return;
    switch (http_request_parse(fr_buf_view(&conn->in), &admin->limits, &conn->scanned, head,
                               &http_err)) {
    case HTTP_MORE:
        return;
    case HTTP_BAD:
        conn_refuse_and_close(conn, http_err.status, http_err.words);
        return;
    case HTTP_DONE:
        break;
    }
    bool path_ok = exchange_new(conn, head);
    bool refused = refuse_early(conn, head, path_ok);
    fr_buf_consume(&conn->in, head->head_bytes);
    if (refused)
        return;
    http_body_init(&conn->body, head->framing, head->content_length);
    conn->state = CONN_BODY;
    /* RFC 9110 section 10.1.1: not when the body is on its way already. */
    if (head->expect_continue && head->framing != HTTP_BODY_NONE && conn->in.len == 0) {
        struct iovec part = {(void *)(uintptr_t)go_on, sizeof(go_on) - 1};
        conn->continuing = true;
        loop_send(&conn->sock, &part, 1, on_continued, conn);
    }
}

/* Moves what has arrived of the body into the exchange; HTTP_BAD: *out_status and *out_words. */
static enum http_step
collect_body(struct admin_conn *conn, int *out_status, const char **out_words)
{
    enum http_step step;
    size_t at = 0, used = 0;
    do {
        struct fr_view rest = fr_view_make(conn->in.data + at, conn->in.len - at), data = {0};
        struct http_err http_err = {0};
        step = http_body_decode(&conn->body, rest, &used, &data, &http_err);
        *out_status = 400;
        *out_words = http_err.words;
        at += used;
        if (step != HTTP_BAD && fr_buf_append_view(&conn->exchange->body, data)) {
            *out_status = 413;
            *out_words = "the request's body is too large";
            step = HTTP_BAD;
        }
    } while (step == HTTP_MORE && used > 0 && at < conn->in.len);
    fr_buf_consume(&conn->in, at);
    return step;
}

static void
step_body(struct admin_conn *conn)
{
    enum http_step step = HTTP_DONE;
    int status = 0;
    const char *words = NULL;
    if (conn->body.framing != HTTP_BODY_NONE)
        step = collect_body(conn, &status, &words);
    if (step == HTTP_DONE)
        hand_over(conn);
    else if (step == HTTP_BAD)
        conn_refuse_and_close(conn, status, words);
}

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct admin_conn *conn = ctx;
    struct admin *admin = conn->admin;
    if (status <= 0) {
        conn_close(conn);
        return;
    }
    bool is_http = buf->data[0] >= 'A' && buf->data[0] <= 'Z';
    if (conn->state == CONN_FIRST && !is_http && admin->other) {
        conn_leave(conn);
        struct admin_peer peer = conn->peer;
        struct admin_handed handed = {.first = buf, .peer = &peer};
        handed.fd = loop_detach_filtered(&conn->sock, &handed.filter);
        on_conn_closed(conn);
        admin->other(admin->ctx, &handed);
        return;
    }
    if (conn->state == CONN_FIRST && !is_http) {
        loop_buf_give_back(buf);
        conn_refuse_and_close(conn, 400, "not HTTP");
        return;
    }
    if (conn->state == CONN_FIRST) {
        conn->state = CONN_HEAD;
    } else if (conn->state == CONN_HEAD && conn->in.len == 0) {
        /* The deadline of a request counts from its first byte. */
        deadline_start(conn, admin->request_us);
    }
    enum fr_err err = fr_buf_append(&conn->in, buf->data, buf->len);
    loop_buf_give_back(buf);
    if (err)
        conn_close(conn); /* out of memory: the ceiling is above all we ask for */
    else
        advance(conn);
}

/* Does what the bytes at hand allow, one request at a time, then asks for more. */
static void
advance(struct admin_conn *conn)
{
    if (conn->state == CONN_HEAD)
        step_head(conn);
    if (conn->state == CONN_BODY)
        step_body(conn);
    if ((conn->state == CONN_HEAD || conn->state == CONN_BODY) && !loop_recv_pending(&conn->sock))
        loop_recv(&conn->sock, on_recv, conn);
}

/* ---- the server --------------------------------------------------------------------------- */

/* From inside of a receive, which fails next when this failed. */
static void
on_handshake(void *ctx, enum tls_outcome outcome, const char *words)
{
    struct admin_conn *conn = ctx;
    if (outcome == TLS_FAILED) {
        conn->admin->counters.handshakes_failed++;
        tell_refused(conn, "handshake", words);
    } else {
        struct admin_peer *peer = &conn->peer;
        (void)tls_session_peer_serial(conn->tls, peer->serial); /* or "" */
        bool names = tls_session_peer_names(conn->tls, peer->names, sizeof(peer->names));
        peer->whole =
            tls_session_peer_addresses(conn->tls, peer->addresses, sizeof(peer->addresses)) &&
            names;
        deadline_start(conn, conn->admin->request_us);
    }
}

/* False: without memory for it. */
static bool
begin_tls(struct admin_conn *conn)
{
    struct admin *admin = conn->admin;
    bool local = admin->listener.addr.sa.any.sa_family == AF_UNIX;
    conn->peer.way = local ? ADMIN_WAY_LOCAL : admin->tls ? ADMIN_WAY_TLS : ADMIN_WAY_CLEAR;
    if (conn->peer.way != ADMIN_WAY_TLS)
        return true;
    return tls_accept(admin->tls, &conn->sock, (struct fr_view){NULL, 0}, on_handshake, conn,
                      &conn->tls) == FR_OK;
}

static void
on_accept(void *ctx, int fd, const struct loop_addr *peer)
{
    struct admin *admin = ctx;
    struct admin_conn *conn = fr_xalloc(sizeof(*conn));
    loop_sock_open(&conn->sock, admin->loop, fd);
    conn->admin = admin;
    conn->peer.from = *peer;
    fr_buf_init(&conn->in, ADMIN_IN_BYTES_MAX);
    fr_buf_init(&conn->out, ADMIN_ANSWER_BYTES_MAX);
    fr_list_push_back(&admin->conns, &conn->link);
    if (++admin->conn_count >= ADMIN_CONNECTIONS_MAX)
        loop_listener_pause(&admin->listener, true);
    if (!begin_tls(conn)) {
        conn_close(conn);
        return;
    }
    deadline_start(conn, conn->tls && admin->request_us > ADMIN_HANDSHAKE_US ? ADMIN_HANDSHAKE_US
                                                                             : admin->request_us);
    loop_recv(&conn->sock, on_recv, conn);
}

enum fr_err
admin_new(struct loop *loop, int fd, const struct admin_route *routes, size_t body_bytes_max,
          void *ctx, struct admin **out)
{
    struct admin *admin = fr_xalloc(sizeof(*admin));
    admin->loop = loop;
    admin->routes = routes;
    admin->body_bytes_max = body_bytes_max;
    admin->request_us = ADMIN_REQUEST_US;
    admin->ctx = ctx;
    admin->limits = http_limits_default;
    admin->limits.head_bytes_max = ADMIN_HEAD_BYTES_MAX;
    fr_list_init(&admin->conns);
    fr_list_init(&admin->exchanges);
    enum fr_err err = loop_listen(&admin->listener, loop, fd, on_accept, admin);
    if (err) {
        fr_free(admin);
        return err;
    }
    *out = admin;
    return FR_OK;
}

void
admin_on_other(struct admin *admin, admin_other_fn fn)
{
    admin->other = fn;
}

void
admin_on_allow(struct admin *admin, admin_allow_fn fn)
{
    admin->allow = fn;
}

void
admin_on_refused(struct admin *admin, admin_refused_fn fn)
{
    admin->refused = fn;
}

void
admin_set_tls(struct admin *admin, struct tls_server *tls)
{
    struct tls_server *old = admin->tls;
    admin->tls = tls_server_ref(tls);
    tls_server_unref(&old);
}

void
admin_set_users(struct admin *admin, const struct config_users *users)
{
    admin->users = users;
}

void
admin_read_counters(const struct admin *admin, struct admin_counters *out)
{
    *out = admin->counters;
}

void
admin__set_request_us(struct admin *admin, int64_t request_us)
{
    admin->request_us = request_us;
}

const struct loop_addr *
admin_addr(const struct admin *admin)
{
    return &admin->listener.addr;
}

void
admin_free(struct admin **admin_ptr)
{
    struct admin *admin = *admin_ptr;
    *admin_ptr = NULL;
    if (!admin)
        return;
    while (!fr_list_empty(&admin->conns))
        conn_close(FR_CONTAINER(admin->conns.next, struct admin_conn, link));
    while (!fr_list_empty(&admin->exchanges))
        exchange_free(FR_CONTAINER(admin->exchanges.next, struct admin_exchange, link));
    loop_listener_close(&admin->listener);
    tls_server_unref(&admin->tls);
    fr_free(admin);
}
