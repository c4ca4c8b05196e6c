/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_grpc.c - see proxy_grpc.h.
 *
 * May touch:  base, loop, http.
 */
#include "proxy/proxy_grpc.h"

#define TIMEOUT_DIGITS_MAX 8

enum grpc_status {
    GRPC_UNKNOWN = 2,
    GRPC_DEADLINE_EXCEEDED = 4,
    GRPC_PERMISSION_DENIED = 7,
    GRPC_RESOURCE_EXHAUSTED = 8,
    GRPC_UNIMPLEMENTED = 12,
    GRPC_INTERNAL = 13,
    GRPC_UNAVAILABLE = 14,
    GRPC_DATA_LOSS = 15,
    GRPC_UNAUTHENTICATED = 16,
};

/* At most eight digits and a unit. False: it is none, or longer than anybody waits. */
static bool
read_timeout(struct fr_view text, int64_t *out_us)
{
    static const struct {
        char unit;
        int64_t us;
    } units[] = {{'H', 3600000000}, {'M', 60000000}, {'S', 1000000}, {'m', 1000}, {'u', 1}};
    uint64_t number;
    if (text.len < 2 || text.len > TIMEOUT_DIGITS_MAX + 1)
        return false;
    char unit = text.ptr[text.len - 1];
    if (!fr_view_u64(fr_view_make(text.ptr, text.len - 1), &number))
        return false;
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
        if (units[i].unit != unit)
            continue;
        *out_us = (int64_t)number * units[i].us;
        return true;
    }
    *out_us = (int64_t)number / 1000;
    return unit == 'n';
}

static void
on_deadline(void *ctx)
{
    struct proxy_exchange *x = ctx;
    fr_insist(x->magic == PROXY_EXCHANGE_MAGIC);
    PROXY_COUNT(x->worker, grpc_deadlines);
    proxy_exchange_fail(x, 504, "the deadline of the call has passed");
}

void
proxy_grpc_take(struct proxy_exchange *x, const struct http_head *request)
{
    if (request->method != HTTP_POST) /* the protocol has no other, and looking costs */
        return;
    const struct http_field *type = http_head_find_name(request, FR_VIEW("content-type"));
    const struct http_field *timeout = http_head_find_name(request, FR_VIEW("grpc-timeout"));
    int64_t us;
    x->grpc = type && http_is_grpc(type->value);
    if (x->grpc && timeout && read_timeout(timeout->value, &us))
        proxy_exchange_timer(x, &x->grpc_timer, us + PROXY_GRPC_SLACK_US, on_deadline);
}

static void
take_status(struct proxy_exchange *x, struct fr_view text)
{
    uint64_t number;
    if (fr_view_u64(text, &number) && number <= GRPC_UNAUTHENTICATED)
        x->grpc_status = (uint8_t)number;
}

void
proxy_grpc_head(struct proxy_exchange *x, const struct http_head *response)
{
    const struct http_field *field =
        x->grpc ? http_head_find_name(response, FR_VIEW("grpc-status")) : NULL;
    if (field)
        take_status(x, field->value);
}

void
proxy_grpc_trailers(struct proxy_exchange *x)
{
    struct fr_view rest = fr_buf_view(&x->down_trailers), name, value;
    while (x->grpc && http_section_next(&rest, &name, &value))
        if (fr_view_ieq(name, FR_VIEW("grpc-status")))
            take_status(x, value);
}

bool
proxy_grpc_error(const struct proxy_exchange *x)
{
    return x->grpc_status == GRPC_UNKNOWN || x->grpc_status == GRPC_INTERNAL ||
           x->grpc_status == GRPC_UNAVAILABLE || x->grpc_status == GRPC_DATA_LOSS;
}

bool
proxy_grpc_unavailable(const struct proxy_exchange *x)
{
    return x->grpc_status == GRPC_UNAVAILABLE;
}

static enum grpc_status
status_of(int http)
{
    switch (http) {
    case 400:
        return GRPC_INTERNAL;
    case 401:
        return GRPC_UNAUTHENTICATED;
    case 403:
        return GRPC_PERMISSION_DENIED;
    case 404:
        return GRPC_UNIMPLEMENTED;
    case 413:
        return GRPC_RESOURCE_EXHAUSTED;
    case 429:
    case 502:
    case 503:
        return GRPC_UNAVAILABLE;
    case 504: /* of a call that took too long: there is no other here */
        return GRPC_DEADLINE_EXCEEDED;
    default:
        return GRPC_UNKNOWN;
    }
}

enum fr_err
proxy_grpc_print(struct proxy_exchange *x, const struct proxy_answer *answer)
{
    struct fr_buf *out = &x->down_head;
    struct fr_view date = proxy_worker_date(x->worker);
    struct fr_view connection = proxy_head_connection(x);
    fr_buf_clear(out);
    enum fr_err err =
        fr_buf_printf(out,
                      "HTTP/1.1 200 OK\r\nDate: %.*s\r\n"
                      "Content-Type: application/grpc\r\n"
                      "grpc-status: %d\r\ngrpc-message: %s\r\n",
                      FR_VIEW_ARG(date), (int)status_of(answer->status), answer->words);
    if (!err)
        err = proxy_cached_put_status(x, out);
    if (!err)
        err = proxy_head_put_id(x, out);
    if (!err)
        err = fr_buf_printf(out, "Content-Length: 0\r\n%.*s\r\n", FR_VIEW_ARG(connection));
    return err;
}
