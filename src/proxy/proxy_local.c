/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_local.c - answers that are made here: refusals and errors, with a line that says why.
 *
 * May touch:  base, http.
 * Follows:    RFC 9110 sections 10.2.1 (Allow), 10.2.3 (Retry-After) and 15.
 */
#include "proxy/proxy_grpc.h"

#include <stdio.h>

/* What is left of the request's body must go before the next request can be read. If it has come
 * already it is skipped; waiting for it could be waiting for anything, so the connection ends. */
static void
skip_request_body(struct proxy_exchange *x)
{
    struct proxy_input *in = &x->client->in;
    struct iovec iov[LOOP_IOV_MAX];
    while (!x->request_done && x->keep_alive) {
        size_t before = proxy_input_view(in).len;
        struct proxy_runs runs = {iov, 0, LOOP_IOV_MAX, 0, NULL};
        enum http_step step = proxy_input_runs(in, &x->request_body, &runs);
        x->request_done = step == HTTP_DONE;
        if (step == HTTP_BAD || (!x->request_done && proxy_input_view(in).len == before))
            x->keep_alive = false;
        proxy_input_shift(in);
    }
}

static void
count_answer(struct proxy_worker *worker, int status)
{
    if (status >= 500)
        PROXY_COUNT(worker, errors);
    else if (status >= 400)
        PROXY_COUNT(worker, client_errors);
}

static enum fr_err
print_answer(struct proxy_exchange *x, const struct proxy_answer *answer)
{
    struct fr_buf *out = &x->down_head;
    const char *reason = http_reason(answer->status);
    char body[512] = "";
    struct fr_view date = proxy_worker_date(x->worker);
    struct fr_view connection = proxy_head_connection(x);
    if (answer->status >= 400)
        (void)snprintf(body, sizeof(body), "%d %s\n%s\n", answer->status, reason, answer->words);
    fr_buf_clear(out);
    enum fr_err err = fr_buf_printf(out, "HTTP/1.1 %d %s\r\nDate: %.*s\r\n", answer->status, reason,
                                    FR_VIEW_ARG(date));
    if (!err && answer->allow)
        err = fr_buf_printf(out, "Allow: %s\r\n", answer->allow);
    if (!err && answer->retry_after_s > 0)
        err = fr_buf_printf(out, "Retry-After: %d\r\n", answer->retry_after_s);
    if (!err)
        err = proxy_cached_put_status(x, out);
    if (!err)
        err = proxy_head_put_id(x, out);
    if (!err && body[0])
        err = fr_buf_printf(out, "Content-Type: text/plain; charset=utf-8\r\n");
    if (!err)
        err = fr_buf_printf(out, "Content-Length: %zu\r\n%.*s\r\n%s", strlen(body),
                            FR_VIEW_ARG(connection), x->method == HTTP_HEAD ? "" : body);
    return err;
}

void
proxy_local_prepare(struct proxy_exchange *x, int status)
{
    fr_insist(!x->begun && !proxy_client_sending(x->client));
    if (x->expecting || x->worker->draining) /* the body may come or not: nobody can tell */
        x->keep_alive = false;
    skip_request_body(x);
    count_answer(x->worker, status);
    x->status = status;
}

void
proxy_local_answer(struct proxy_exchange *x, const struct proxy_answer *answer)
{
    proxy_local_prepare(x, answer->status);
    x->begun = true;
    bool grpc = x->grpc && answer->status >= 400;
    if ((grpc ? proxy_grpc_print(x, answer) : print_answer(x, answer)) != FR_OK) {
        proxy_exchange_drop(x);
        return;
    }
    struct iovec iov = {x->down_head.data, x->down_head.len};
    proxy_note_answer(x);
    proxy_exchange_send(x, &iov, 1, proxy_exchange_reply);
}
