/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_answer.c - routes that the edge answers by itself: redirects and fixed responses.
 *
 * May touch:  base, http, config.
 * Memory:     the whole answer is printed into the exchange's buffer: its body is at most
 *             CONFIG_BODY_BYTES_MAX, so copying it is cheaper than holding the route.
 * Trusts:     config_answer.c for what stands in the route; nothing of the request: what of it goes
 *             into a Location is encoded anew.
 * Follows:    RFC 9110 sections 6.4.1, 8.6, 10.2.2 and 15.4.
 */
#include "http/http_path.h"
#include "proxy/proxy_priv.h"

/* ---- heads ------------------------------------------------------------------------------ */

enum fr_err
proxy_answer_begin(struct proxy_exchange *x, int status)
{
    fr_buf_clear(&x->down_head);
    return fr_buf_printf(&x->down_head, "HTTP/1.1 %d %s\r\nDate: %.*s\r\n", status,
                         http_reason(status), FR_VIEW_ARG(proxy_worker_date(x->worker)));
}

enum fr_err
proxy_answer_headers(struct proxy_exchange *x, char *const *headers)
{
    enum fr_err err = FR_OK;
    for (; headers && *headers && !err; headers++)
        err = fr_buf_printf(&x->down_head, "%s\r\n", *headers);
    return err;
}

enum fr_err
proxy_answer_end(struct proxy_exchange *x)
{
    enum fr_err err = proxy_head_put_id(x, &x->down_head);
    if (!err)
        err = proxy_cached_put_status(x, &x->down_head);
    if (!err)
        err = fr_buf_append_view(&x->down_head, proxy_head_connection(x));
    return err ? err : fr_buf_append(&x->down_head, "\r\n", 2);
}

void
proxy_answer_send(struct proxy_exchange *x, enum fr_err err)
{
    if (err) {
        proxy_exchange_out_of_memory(x);
        return;
    }
    struct iovec iov = {x->down_head.data, x->down_head.len};
    x->begun = true;
    proxy_note_answer(x);
    proxy_exchange_send(x, &iov, 1, proxy_exchange_reply);
}

/* ---- redirects -------------------------------------------------------------------------- */

/* What of the path a target gets to see. */
static struct fr_view
path_left(const struct http_head *request, const char *strip)
{
    struct fr_view rest = request->path;
    if (strip)
        (void)http_path_strip(request->path, fr_view_of(strip), &rest); /* else it stays whole */
    return rest;
}

static enum fr_err
print_target(struct proxy_exchange *x, const struct http_head *request,
             const struct config_redirect *redirect, struct fr_view host)
{
    struct fr_buf *out = &x->down_head;
    struct fr_view rest = fr_view_of(redirect->to), piece;
    enum fr_err err = FR_OK;
    while (!err && fr_view_split(&rest, '{', &piece)) {
        err = fr_buf_append_view(out, piece);
        if (err || !rest.ptr)
            break;
        (void)fr_view_split(&rest, '}', &piece); /* a target has no other braces */
        if (fr_view_is(piece, "host"))
            err = fr_buf_append_view(out, host);
        else if (fr_view_is(piece, "path"))
            err = http_path_put(path_left(request, redirect->strip), out);
        else
            err = http_query_put(request->query, request->has_query, out);
    }
    return err;
}

static void
answer_redirect(struct proxy_exchange *x, const struct http_head *request,
                const struct config_redirect *redirect, struct fr_view host)
{
    if (host.len == 0 && strstr(redirect->to, "{host}")) { /* HTTP/1.0 may come without */
        struct proxy_answer answer = {.status = 400, .words = "this redirect needs a host"};
        proxy_local_answer(x, &answer);
        return;
    }
    PROXY_COUNT(x->worker, redirects);
    proxy_local_prepare(x, (int)redirect->status);
    enum fr_err err = proxy_answer_begin(x, (int)redirect->status);
    if (!err)
        err = fr_buf_append_view(&x->down_head, FR_VIEW("Location: "));
    if (!err)
        err = print_target(x, request, redirect, host);
    if (!err)
        err = fr_buf_append_view(&x->down_head, FR_VIEW("\r\nContent-Length: 0\r\n"));
    if (!err)
        err = proxy_answer_headers(x, redirect->headers);
    if (!err)
        err = proxy_answer_end(x);
    proxy_answer_send(x, err);
}

/* ---- fixed responses -------------------------------------------------------------------- */

static void
answer_respond(struct proxy_exchange *x, const struct config_respond *respond)
{
    struct fr_view body = fr_view_of(respond->body);
    int status = (int)respond->status;
    bool bodiless = status == 204 || status == 304; /* not even a length (RFC 9110 section 8.6) */
    PROXY_COUNT(x->worker, fixed_responses);
    proxy_local_prepare(x, status);
    enum fr_err err = proxy_answer_begin(x, status);
    if (!err && body.len > 0)
        err = fr_buf_printf(&x->down_head, "Content-Type: %s\r\n", respond->type);
    if (!err && !bodiless)
        err = fr_buf_printf(&x->down_head, "Content-Length: %zu\r\n", body.len);
    if (!err)
        err = proxy_answer_headers(x, respond->headers);
    if (!err)
        err = proxy_answer_end(x);
    if (!err && x->method != HTTP_HEAD)
        err = fr_buf_append_view(&x->down_head, body);
    proxy_answer_send(x, err);
}

void
proxy_answer(struct proxy_exchange *x, const struct http_head *request,
             const struct config_route *route, struct fr_view host)
{
    switch (config_route_action(route)) {
    case CONFIG_ACTION_REDIRECT:
        answer_redirect(x, request, &route->redirect, host);
        return;
    case CONFIG_ACTION_RESPOND:
        answer_respond(x, &route->respond);
        return;
    case CONFIG_ACTION_FILES:
    case CONFIG_ACTION_CLUSTER: /* has a view, so that it does not come here */
        break;
    }
    proxy_files_answer(x, request, route);
}

/* RFC 8555 section 8.3. What is no token of ours is a path like any other: a member may be proving
 * its own name. */
bool
proxy_answer_challenge(struct proxy_exchange *x, const struct http_head *request)
{
    static char type[] = "application/octet-stream";
    char text[ACME_ANSWER_BYTES];
    if (!x->worker->answers || !acme_answers_find(x->worker->answers, request->path, text))
        return false;
    const struct config_respond respond = {.status = 200, .type = type, .body = text};
    answer_respond(x, &respond);
    return true;
}
