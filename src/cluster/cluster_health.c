/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_health.c - active checks of one address: TCP connect, HTTP GET, or a call of the gRPC
 * health protocol, again and again.
 *
 * May touch:  base, config, loop, tls, http (response head parser).  Never: threads, logs.
 * Threads:    the control thread's loop.
 * Memory:     one allocation a checked address; the response buffer lives as long as a check.
 * When full:  a response head over the HTTP limits fails the check.
 * Trusts:     nothing that the checked server says.
 *
 * Life of a check:
 *
 *   waiting --timer--> connecting --> (TLS: handshake) --> (HTTP: asking --> reading) --> closing
 *                      (over HTTP/2 both go on together: cluster_health_call.c)
 *      ^---------------------------------------------------------------------------------'
 *                          any of them --timeout, failure--> closing
 *
 * The verdict is told from the end of `closing`, as the very last act on the object, so that the
 * callee may free it.
 */
#include "cluster/cluster_health.h"

#include "base/fr_check.h"
#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "base/fr_unit.h"
#include "cluster/cluster_health_call.h"
#include "loop/loop_preface.h"

#include <stdio.h>

#define HEALTH_OUT_BYTES_MAX 65536 /* frames of one check that wait to be sent */

enum health_verdict { VERDICT_NONE, VERDICT_HEALTHY, VERDICT_UNHEALTHY };

struct cluster_health {
    /* set once */
    struct loop *loop;
    struct config_health settings; /* path, host and service are ours */
    enum config_protocol protocol;
    struct loop_addr addr;
    cluster_health_fn fn;
    void *ctx;
    struct fr_buf request;
    uint8_t preface[LOOP_PREFACE_OUT_BYTES]; /* of send-proxy, before anything else */
    size_t preface_len;
    bool tls;
    struct tls_client *tls_client; /* one reference; NULL with tls: tls_why */
    char *tls_why;
    char *tls_host;
    /* owner */
    int64_t interval_us;
    struct fr_rand rand;
    enum health_verdict verdict;
    unsigned passes, failures; /* in a row */
    uint64_t checks_total, failures_total;
    char why[CLUSTER_HEALTH_WHY_BYTES];      /* this check's */
    char last_why[CLUSTER_HEALTH_WHY_BYTES]; /* the last failure's */
    bool passed;                             /* this check's result, told once closed */
    bool dying;
    bool sock_used; /* opened or closing */
    const char *doing;
    struct loop_sock sock;
    struct loop_timer wait_timer, timeout_timer;
    struct loop_task task;
    char handshake_why[CLUSTER_HEALTH_WHY_BYTES];
    bool secured; /* this check's handshake is over, and good */
    struct tls_session *session;
    struct cluster_health_call *call; /* this check's, over HTTP/2 */
    struct fr_buf out;                /* ... and of its frames what is being sent */
    struct loop_task secured_task;
    struct fr_buf response;
    size_t response_scanned;
    unsigned interim_count;
    struct http_head head; /* large: kept off the stack */
};

static void check_start(struct cluster_health *health);
static void on_received(void *ctx, struct loop_buf *buf, int status);

static void
health_release(struct cluster_health *health)
{
    fr_buf_fini(&health->request);
    fr_buf_fini(&health->response);
    fr_buf_fini(&health->out);
    cluster_health_call_free(&health->call);
    fr_free(health->settings.path);
    fr_free(health->settings.host);
    fr_free(health->settings.service);
    tls_client_unref(&health->tls_client);
    fr_free(health->tls_why);
    fr_free(health->tls_host);
    fr_free(health);
}

/* ±10 %, so that checks of many servers started together do not stay together. */
static int64_t
interval_with_jitter(struct cluster_health *health)
{
    double factor = 0.9 + 0.2 * fr_rand_unit(&health->rand);
    int64_t interval_us = health->interval_us;
    if (health->verdict == VERDICT_UNHEALTHY &&
        health->settings.unhealthy_interval_us < interval_us)
        interval_us = health->settings.unhealthy_interval_us; /* its return is waited for */
    return (int64_t)((double)interval_us * factor);
}

static void
on_wait_over(void *ctx)
{
    check_start(ctx);
}

/* Counts the result; tells the verdict if it is a new one. The last act: fn may free us. */
static void
check_conclude(struct cluster_health *health)
{
    enum health_verdict before = health->verdict;
    health->checks_total++;
    if (health->passed) {
        health->failures = 0;
        health->passes++;
        if (health->passes >= health->settings.rise)
            health->verdict = VERDICT_HEALTHY;
    } else {
        health->passes = 0;
        health->failures++;
        health->failures_total++;
        memcpy(health->last_why, health->why, sizeof(health->last_why));
        if (health->failures >= health->settings.fall)
            health->verdict = VERDICT_UNHEALTHY;
    }
    if (health->settings.kind != CONFIG_HEALTH_NONE)
        loop_timer_start(health->loop, &health->wait_timer, interval_with_jitter(health),
                         on_wait_over, health);
    if (health->verdict != before)
        health->fn(health->ctx, health->verdict == VERDICT_HEALTHY, health->why);
}

static void
on_closed(void *ctx)
{
    struct cluster_health *health = ctx;
    health->sock_used = false;
    cluster_health_call_free(&health->call); /* not before: we may have been inside it */
    fr_buf_clear(&health->out);
    if (health->dying)
        health_release(health);
    else
        check_conclude(health);
}

static void
on_task(void *ctx)
{
    check_conclude(ctx);
}

/* Ends the check with its result; whoever waits hears of it once the connection is closed. */
static void
check_end(struct cluster_health *health, bool passed)
{
    loop_timer_stop(&health->timeout_timer);
    loop_defer_cancel(&health->secured_task);
    health->passed = passed;
    fr_buf_fini(&health->response);
    if (health->sock_used)
        loop_close(&health->sock, on_closed, health);
    else
        loop_defer(health->loop, &health->task, on_task, health);
}

__attribute__((format(printf, 2, 3))) static void
check_fail(struct cluster_health *health, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(health->why, sizeof(health->why), format, args); /* cut is fine: words */
    va_end(args);
    check_end(health, false);
}

static void
on_timeout(void *ctx)
{
    struct cluster_health *health = ctx;
    char text[FR_UNIT_TEXT_BYTES];
    fr_unit_format_duration(health->settings.timeout_us, text);
    check_fail(health, "%s: timed out after %s", health->doing, text);
}

static void
response_judge(struct cluster_health *health, const struct http_head *head)
{
    check_end(health, cluster_health_status(&health->settings, head->status, health->why));
}

/* True when more bytes are needed; otherwise the check has ended. */
static bool
response_wants_more(struct cluster_health *health)
{
    for (;;) {
        struct http_err err;
        enum http_step step =
            http_response_parse(fr_buf_view(&health->response), &http_limits_default,
                                &health->response_scanned, &health->head, &err);
        if (step == HTTP_MORE)
            return true;
        if (step == HTTP_BAD) {
            check_fail(health, "malformed response: %s", err.words);
            return false;
        }
        if (!cluster_health_interim(health->head.status)) {
            response_judge(health, &health->head);
            return false;
        }
        if (++health->interim_count > CLUSTER_HEALTH_INTERIM_MAX) {
            check_fail(health, "more than %d interim responses", CLUSTER_HEALTH_INTERIM_MAX);
            return false;
        }
        fr_buf_consume(&health->response, health->head.head_bytes);
        health->response_scanned = 0;
    }
}

/* ---- over HTTP/2 ----------------------------------------------------------------------------- */

static bool call_flush(struct cluster_health *health);

static void
on_call_sent(void *ctx, int status)
{
    struct cluster_health *health = ctx;
    if (status < 0) {
        check_fail(health, "send: %s", strerrordesc_np(-status));
        return;
    }
    fr_buf_clear(&health->out);
    (void)call_flush(health); /* else the check has ended, and is not touched again */
}

/* False: the check has ended. */
static bool
call_flush(struct cluster_health *health)
{
    if (loop_send_pending(&health->sock))
        return true;
    enum cluster_health_step step =
        cluster_health_call_output(health->call, &health->out, health->why);
    if (step != CLUSTER_HEALTH_MORE) {
        check_end(health, step == CLUSTER_HEALTH_PASSED);
        return false;
    }
    struct iovec part = {health->out.data, health->out.len};
    if (part.iov_len > 0)
        loop_send(&health->sock, &part, 1, on_call_sent, health);
    return true;
}

/* True when more bytes are needed; otherwise the check has ended. */
static bool
call_wants_more(struct cluster_health *health, const struct loop_buf *buf)
{
    enum cluster_health_step step = cluster_health_call_receive(
        health->call, fr_view_make(buf->data, buf->len), loop_now_us(health->loop), health->why);
    if (step == CLUSTER_HEALTH_MORE)
        return call_flush(health);
    check_end(health, step == CLUSTER_HEALTH_PASSED);
    return false;
}

/* False: the check has ended. */
static bool
call_begin(struct cluster_health *health)
{
    enum fr_err err = cluster_health_call_new(&health->settings, fr_buf_view(&health->request),
                                              health->tls, &health->call);
    if (!err && !health->tls)
        err = fr_buf_append(&health->out, health->preface, health->preface_len);
    if (err) {
        check_fail(health, "request: %s", fr_err_words(err));
        return false;
    }
    health->doing = "response";
    return call_flush(health);
}

static bool
needs_h2(const struct cluster_health *health)
{
    return health->settings.kind == CONFIG_HEALTH_GRPC || health->protocol == CONFIG_PROTOCOL_H2 ||
           health->protocol == CONFIG_PROTOCOL_H2C;
}

/* As requests do: what the handshake came to, or, without TLS, what was asked for. */
static bool
speaks_h2(const struct cluster_health *health)
{
    if (health->tls)
        return health->secured && fr_view_is(tls_session_protocol(health->session), "h2");
    return needs_h2(health);
}

/* A member may begin with its SETTINGS in the very bytes that end the handshake. */
static bool
call_is_early(struct cluster_health *health)
{
    return health->settings.kind != CONFIG_HEALTH_TCP && !health->call && speaks_h2(health);
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void
on_received(void *ctx, struct loop_buf *buf, int status)
{
    struct cluster_health *health = ctx;
    if (status <= 0 && health->tls && !health->secured) {
        check_fail(health, "TLS: %s", health->handshake_why);
        return;
    }
    if (status < 0) {
        check_fail(health, "receive: %s", strerrordesc_np(-status));
        return;
    }
    if (status == 0) {
        check_fail(health, "closed before a whole %s", health->call ? "answer" : "response head");
        return;
    }
    if (health->settings.kind == CONFIG_HEALTH_TCP) { /* the end of the handshake follows */
        loop_buf_give_back(buf);
        return;
    }
    if (call_is_early(health)) {
        loop_defer_cancel(&health->secured_task);
        if (!call_begin(health)) {
            loop_buf_give_back(buf);
            return;
        }
    }
    if (health->call) {
        bool more = call_wants_more(health, buf);
        loop_buf_give_back(buf);
        if (more)
            loop_recv(&health->sock, on_received, health);
        return;
    }
    enum fr_err err = fr_buf_append(&health->response, buf->data, buf->len);
    loop_buf_give_back(buf);
    if (err == FR_ERR_FULL) {
        /* What fits the ceiling was a head without an end, or has been judged already. */
        check_fail(health, "response head over %zu bytes", http_limits_default.head_bytes_max);
        return;
    }
    if (err) {
        check_fail(health, "response: %s", fr_err_words(err));
        return;
    }
    if (response_wants_more(health))
        loop_recv(&health->sock, on_received, health);
}

static void
on_sent(void *ctx, int status)
{
    struct cluster_health *health = ctx;
    if (status < 0) {
        check_fail(health, "send: %s", strerrordesc_np(-status));
        return;
    }
    health->doing = "response";
    if (!loop_recv_pending(&health->sock)) /* the handshake's goes on */
        loop_recv(&health->sock, on_received, health);
}

static void
ask(struct cluster_health *health)
{
    if (health->settings.kind == CONFIG_HEALTH_TCP) {
        (void)snprintf(health->why, sizeof(health->why), "connected");
        check_end(health, true);
        return;
    }
    if (health->tls && needs_h2(health) && !speaks_h2(health)) {
        check_fail(health, "TLS: the member did not choose HTTP/2");
        return;
    }
    if (speaks_h2(health)) {
        if (call_begin(health) && !loop_recv_pending(&health->sock))
            loop_recv(&health->sock, on_received, health);
        return;
    }
    health->doing = "request";
    struct iovec parts[] = {
        {health->preface, health->tls ? 0 : health->preface_len},
        {health->request.data, health->request.len},
    };
    loop_send(&health->sock, parts, 2, on_sent, health);
}

static void
on_secured(void *ctx)
{
    ask(ctx);
}

static void
on_handshake(void *ctx, enum tls_outcome outcome, const char *words)
{
    struct cluster_health *health = ctx;
    if (outcome == TLS_FAILED) { /* the receive that it is part of fails with it */
        (void)snprintf(health->handshake_why, sizeof(health->handshake_why), "%s", words);
        return;
    }
    health->secured = true;
    loop_defer(health->loop, &health->secured_task, on_secured, health);
}

/* No session is resumed: each check sees the certificate. */
static void
handshake(struct cluster_health *health)
{
    if (!health->tls_client) {
        check_fail(health, "TLS: %s", health->tls_why ? health->tls_why : "files not read");
        return;
    }
    health->doing = "handshake";
    if (tls_connect(health->tls_client, &health->sock, health->tls_host, NULL, on_handshake, health,
                    &health->session)) {
        check_fail(health, "TLS: out of memory");
        return;
    }
    if (health->protocol == CONFIG_PROTOCOL_HTTP1)
        tls_session_http1_only(health->session);
    loop_recv(&health->sock, on_received, health);
}

static void
on_preface_sent(void *ctx, int status)
{
    struct cluster_health *health = ctx;
    if (status < 0)
        check_fail(health, "send: %s", strerrordesc_np(-status));
    else
        handshake(health);
}

static void
on_connected(void *ctx, int status)
{
    struct cluster_health *health = ctx;
    if (status < 0) {
        check_fail(health, "connect: %s", strerrordesc_np(-status));
    } else if (!health->tls) {
        ask(health);
    } else if (health->preface_len > 0) {
        struct iovec preface = {health->preface, health->preface_len};
        loop_send(&health->sock, &preface, 1, on_preface_sent, health);
    } else {
        handshake(health);
    }
}

static void
check_start(struct cluster_health *health)
{
    /* Room for a whole head and for what the last receive brought behind it. */
    fr_buf_init(&health->response, http_limits_default.head_bytes_max + 65536);
    health->response_scanned = 0;
    health->interim_count = 0;
    health->secured = false;
    (void)snprintf(health->handshake_why, sizeof(health->handshake_why), "closed by the member");
    health->doing = "connect";
    enum fr_err err =
        loop_connect(&health->sock, health->loop, &health->addr, on_connected, health);
    if (err) {
        check_fail(health, "connect: %s", fr_err_words(err));
        return;
    }
    health->sock_used = true;
    loop_timer_start(health->loop, &health->timeout_timer, health->settings.timeout_us, on_timeout,
                     health);
}

/* The request is the same each time. FR_ERR_FULL for an absurdly long path. */
static enum fr_err
request_print(struct cluster_health *health)
{
    char host[LOOP_ADDR_TEXT_BYTES];
    const char *path = health->settings.path ? health->settings.path : "/";
    loop_addr_format(&health->addr, host);
    if (health->addr.sa.any.sa_family == AF_UNIX)
        (void)snprintf(host, sizeof(host), "localhost");
    const char *named = health->settings.host ? health->settings.host : host;
    if (health->settings.kind == CONFIG_HEALTH_GRPC) {
        int64_t timeout_ms = health->settings.timeout_us / FR_US_PER_MS;
        return fr_buf_printf(&health->request,
                             "POST /grpc.health.v1.Health/Check HTTP/1.1\r\nHost: %s\r\n"
                             "User-Agent: freshet-health/%s\r\nTE: trailers\r\n"
                             "Content-Type: application/grpc\r\ngrpc-timeout: %lldm\r\n\r\n",
                             named, FRESHET_VERSION, (long long)(timeout_ms > 0 ? timeout_ms : 1));
    }
    return fr_buf_printf(&health->request,
                         "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: freshet-health/%s\r\n"
                         "Accept: */*\r\nConnection: close\r\n\r\n",
                         path, named, FRESHET_VERSION);
}

struct cluster_health *
cluster_health_new(struct loop *loop, const struct config_health *settings,
                   const struct loop_addr *addr, int64_t first_us, int64_t interval_us,
                   cluster_health_fn fn, void *ctx)
{
    struct cluster_health *health = fr_xalloc(sizeof(*health));
    health->loop = loop;
    health->settings = *settings;
    health->settings.path = fr_xstrdup(settings->path);
    health->settings.host = fr_xstrdup(settings->host);
    health->settings.service = fr_xstrdup(settings->service);
    health->addr = *addr;
    health->interval_us = interval_us;
    health->fn = fn;
    health->ctx = ctx;
    health->sock.fd = -1;
    fr_rand_init_random(&health->rand);
    fr_buf_init(&health->request, CLUSTER_HEALTH_REQUEST_BYTES_MAX);
    fr_buf_init(&health->response, 0);
    fr_buf_init(&health->out, HEALTH_OUT_BYTES_MAX);
    if (settings->kind == CONFIG_HEALTH_NONE) {
        health->settings.rise = 1;
        (void)snprintf(health->why, sizeof(health->why), "not checked");
        check_end(health, true);
    } else if (settings->kind >= CONFIG_HEALTH_HTTP && request_print(health)) {
        check_fail(health, "request over %d bytes", CLUSTER_HEALTH_REQUEST_BYTES_MAX);
    } else if (first_us > 0) {
        loop_timer_start(loop, &health->wait_timer, first_us, on_wait_over, health);
    } else {
        check_start(health);
    }
    return health;
}

const char *
cluster_health_why(const struct cluster_health *health)
{
    return health->last_why;
}

uint64_t
cluster_health_checks(const struct cluster_health *health)
{
    return health->checks_total;
}

uint64_t
cluster_health_failures(const struct cluster_health *health)
{
    return health->failures_total;
}

void
cluster_health_send_proxy(struct cluster_health *health)
{
    health->preface_len = loop_preface_write(true, NULL, NULL, health->preface);
}

void
cluster_health_speak(struct cluster_health *health, enum config_protocol protocol)
{
    health->protocol = protocol;
}

void
cluster_health_use_tls(struct cluster_health *health, const struct config_member_tls *tls,
                       const char *host)
{
    health->tls = true;
    health->tls_client = tls_client_ref(tls->client);
    health->tls_why = fr_xstrdup(tls->why);
    health->tls_host = fr_xstrdup(host);
}

void
cluster_health_free(struct cluster_health **health_ref)
{
    struct cluster_health *health = *health_ref;
    *health_ref = NULL;
    if (!health)
        return;
    fr_insist(!health->dying);
    loop_timer_stop(&health->wait_timer);
    loop_timer_stop(&health->timeout_timer);
    loop_defer_cancel(&health->task);
    loop_defer_cancel(&health->secured_task);
    if (!health->sock_used) {
        health_release(health);
        return;
    }
    health->dying = true;
    /* A close may be under way already: closing twice only changes who is told, which is us. */
    if (health->sock.fd >= 0)
        loop_close(&health->sock, on_closed, health);
}
