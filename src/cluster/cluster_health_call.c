/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_health_call.c - one check over HTTP/2: a GET, or a call of the gRPC health protocol.
 *
 * May touch:  base, config, http.  Never: sockets, clocks.
 * Memory:     a session of libnghttp2's for each check, and CALL_MESSAGE_BYTES_MAX of an answer.
 * When full:  a longer answer fails the check, and so does a head over the HTTP limits.
 * Trusts:     nothing that the member says: heads go through http_response_parse as any other's.
 * Follows:    RFC 9113; the gRPC health protocol: grpc.health.v1.Health/Check is asked for a
 *             service with a message { 1: service } and answers { 1: status }, of which 1 is
 *             SERVING.
 *
 * An outcome other than SERVING fails, UNIMPLEMENTED as well: who asks for this check has a member
 * that is to have an opinion.
 */
#include "cluster/cluster_health_call.h"

#include "base/fr_be.h"
#include "base/fr_mem.h"
#include "http/http2_client.h"

#include <stdio.h>

#define CALL_MESSAGE_BYTES_MAX 4096
#define GRPC_PREFIX_BYTES 5 /* compressed or not, length */
#define GRPC_SERVING 1
#define GRPC_WORDS_BYTES 80 /* of grpc-message, shown */

struct cluster_health_call {
    /* set once */
    const struct config_health *settings;
    bool grpc;
    struct fr_buf message; /* ours, then theirs */
    struct fr_buf answer;
    struct http2_client *client;
    /* owner */
    struct http2_call call;
    enum cluster_health_step step;
    char why[CLUSTER_HEALTH_WHY_BYTES];
    unsigned interim_count;
    int status; /* of HTTP */
    bool told;  /* grpc-status came: in the trailers, or in a head that is all there is */
    uint64_t grpc_status;
    char grpc_words[GRPC_WORDS_BYTES];
    struct http_head head; /* large: kept off the stack */
};

__attribute__((format(printf, 3, 4))) static void
conclude(struct cluster_health_call *call, bool passed, const char *format, ...)
{
    va_list args;
    if (call->step != CLUSTER_HEALTH_MORE)
        return; /* the first word counts */
    call->step = passed ? CLUSTER_HEALTH_PASSED : CLUSTER_HEALTH_FAILED;
    va_start(args, format);
    (void)vsnprintf(call->why, sizeof(call->why), format, args); /* cut is fine: words */
    va_end(args);
}

/* ---- either version's ------------------------------------------------------------------------ */

bool
cluster_health_status(const struct config_health *settings, int status,
                      char why[CLUSTER_HEALTH_WHY_BYTES])
{
    bool passes =
        (unsigned)status >= settings->status_min && (unsigned)status <= settings->status_max;
    if (passes)
        (void)snprintf(why, CLUSTER_HEALTH_WHY_BYTES, "status %d", status);
    else
        (void)snprintf(why, CLUSTER_HEALTH_WHY_BYTES, "status %d, expected %u-%u", status,
                       settings->status_min, settings->status_max);
    return passes;
}

bool
cluster_health_interim(int status)
{
    return status >= 100 && status < 200 && status != 101;
}

/* ---- gRPC ------------------------------------------------------------------------------------ */

static const char *
grpc_name(uint64_t status)
{
    static const char *const names[] = {
        "OK",
        "CANCELLED",
        "UNKNOWN",
        "INVALID_ARGUMENT",
        "DEADLINE_EXCEEDED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED",
        "FAILED_PRECONDITION",
        "ABORTED",
        "OUT_OF_RANGE",
        "UNIMPLEMENTED",
        "INTERNAL",
        "UNAVAILABLE",
        "DATA_LOSS",
        "UNAUTHENTICATED",
    };
    return status < sizeof(names) / sizeof(names[0]) ? names[status] : "unknown";
}

/* A number of seven bits a byte, the lowest first. */
static bool
take_varint(struct fr_view *bytes, uint64_t *out)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && bytes->len > 0; shift += 7) {
        uint8_t byte = (uint8_t)bytes->ptr[0];
        *bytes = fr_view_make(bytes->ptr + 1, bytes->len - 1);
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return true;
        }
    }
    return false;
}

static bool
skip(struct fr_view *bytes, uint64_t count)
{
    if (count > bytes->len)
        return false;
    *bytes = fr_view_make(bytes->ptr + count, bytes->len - (size_t)count);
    return true;
}

/* The message's field 1; fields that are not known are passed over. False: it is none. */
static bool
serving_status(struct fr_view message, uint64_t *out)
{
    *out = 0; /* what is not there has its default */
    while (message.len > 0) {
        uint64_t tag, number;
        bool fine = take_varint(&message, &tag);
        if (!fine)
            return false;
        switch (tag & 7) {
        case 0:
            fine = take_varint(&message, &number);
            if (fine && tag >> 3 == 1)
                *out = number;
            break;
        case 1:
            fine = skip(&message, 8);
            break;
        case 2:
            fine = take_varint(&message, &number) && skip(&message, number);
            break;
        case 5:
            fine = skip(&message, 4);
            break;
        default:
            fine = false;
        }
        if (!fine)
            return false;
    }
    return true;
}

static void
judge_answer(struct cluster_health_call *call)
{
    static const char *const states[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
    struct fr_view answer = fr_buf_view(&call->answer);
    uint64_t state = 0;
    bool whole = answer.len >= GRPC_PREFIX_BYTES &&
                 fr_be_get(answer.ptr + 1, 4) == answer.len - GRPC_PREFIX_BYTES;
    if (!whole || answer.ptr[0] != 0 || !skip(&answer, GRPC_PREFIX_BYTES) ||
        !serving_status(answer, &state))
        conclude(call, false, "an answer that is no HealthCheckResponse");
    else if (state == GRPC_SERVING)
        conclude(call, true, "SERVING");
    else
        conclude(call, false, "%s, expected SERVING",
                 state < sizeof(states) / sizeof(states[0]) ? states[state] : "another state");
}

static void
judge_grpc(struct cluster_health_call *call)
{
    if (!call->told)
        conclude(call, false, "an answer without grpc-status");
    else if (call->grpc_status != 0)
        conclude(call, false, "grpc-status %llu (%s)%s%s", (unsigned long long)call->grpc_status,
                 grpc_name(call->grpc_status), call->grpc_words[0] ? ": " : "", call->grpc_words);
    else
        judge_answer(call);
}

static void
take_grpc(struct cluster_health_call *call, struct fr_view name, struct fr_view value)
{
    if (fr_view_ieq(name, FR_VIEW("grpc-status")))
        call->told = fr_view_u64(value, &call->grpc_status);
    else if (fr_view_ieq(name, FR_VIEW("grpc-message")))
        (void)fr_view_copy(
            value.len < GRPC_WORDS_BYTES ? value : fr_view_make(value.ptr, GRPC_WORDS_BYTES - 1),
            call->grpc_words, sizeof(call->grpc_words));
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void
take_head(struct cluster_health_call *call)
{
    const struct http_field *type;
    call->status = call->head.status;
    if (!call->grpc) {
        char why[CLUSTER_HEALTH_WHY_BYTES];
        bool passes = cluster_health_status(call->settings, call->status, why);
        conclude(call, passes, "%s", why);
        return;
    }
    for (size_t i = 0; i < call->head.field_count; i++)
        take_grpc(call, call->head.fields[i].name, call->head.fields[i].value);
    type = http_head_find_name(&call->head, FR_VIEW("content-type"));
    if (call->status != 200)
        conclude(call, false, "status %d, expected 200", call->status);
    else if (!type || !http_is_grpc(type->value))
        conclude(call, false, "an answer that is not gRPC");
}

static bool
on_head(void *ctx, struct http2_call *h2s, struct fr_view text, bool switched)
{
    struct cluster_health_call *call = ctx;
    struct http_err err;
    size_t scanned = 0;
    (void)h2s;
    (void)switched; /* no CONNECT was asked for */
    if (http_response_parse(text, &http_limits_default, &scanned, &call->head, &err) != HTTP_DONE)
        conclude(call, false, "malformed response");
    else if (!cluster_health_interim(call->head.status))
        take_head(call);
    else if (++call->interim_count > CLUSTER_HEALTH_INTERIM_MAX)
        conclude(call, false, "more than %d interim responses", CLUSTER_HEALTH_INTERIM_MAX);
    return true;
}

static bool
on_data(void *ctx, struct http2_call *h2s, struct fr_view bytes)
{
    struct cluster_health_call *call = ctx;
    if (call->grpc && fr_buf_append_view(&call->answer, bytes) != FR_OK)
        conclude(call, false, "an answer over %d bytes", CALL_MESSAGE_BYTES_MAX);
    http2_client_consume(call->client, h2s, bytes.len);
    return true;
}

static bool
on_trailers(void *ctx, struct http2_call *h2s, struct fr_view section)
{
    struct cluster_health_call *call = ctx;
    struct fr_view name, value;
    (void)h2s;
    while (http_section_next(&section, &name, &value))
        take_grpc(call, name, value);
    return true;
}

static void
on_ended(void *ctx, struct http2_call *h2s)
{
    struct cluster_health_call *call = ctx;
    if (h2s->ended && call->grpc)
        judge_grpc(call);
    switch (h2s->end) {
    case HTTP2_CALL_NONE:
    case HTTP2_CALL_OK:
        break;
    case HTTP2_CALL_REFUSED:
    case HTTP2_CALL_UNPROCESSED:
        conclude(call, false, "the member refused the stream");
        break;
    case HTTP2_CALL_RESET:
        conclude(call, false, "the member reset the stream: error %u", h2s->error);
        break;
    case HTTP2_CALL_TOO_LARGE:
        conclude(call, false, "response head over %zu bytes", http_limits_default.head_bytes_max);
        break;
    case HTTP2_CALL_NO_MEMORY:
        conclude(call, false, "out of memory");
        break;
    case HTTP2_CALL_INTERIMS: /* fewer end the check */
    case HTTP2_CALL_BAD:
        conclude(call, false, "malformed response");
    }
}

static void
on_sent(void *ctx, struct http2_call *h2s)
{
    (void)ctx;
    (void)h2s; /* what was sent stays where it is */
}

static const struct http2_client_ops ops = {on_head, on_data, on_trailers, on_ended, on_sent};

/* ---- a call ---------------------------------------------------------------------------------- */

/* { 1: service }, behind the five bytes that precede each message. */
static enum fr_err
write_message(struct fr_buf *out, struct fr_view service)
{
    uint8_t head[GRPC_PREFIX_BYTES + 6] = {0};
    size_t len = GRPC_PREFIX_BYTES;
    if (service.len > 0) {
        size_t left = service.len;
        head[len++] = 1 << 3 | 2;
        for (; left >= 0x80; left >>= 7)
            head[len++] = (uint8_t)(left | 0x80);
        head[len++] = (uint8_t)left;
    }
    size_t bytes = len - GRPC_PREFIX_BYTES + service.len; /* of a key's text: far below 2^32 */
    fr_be_put(head + 1, bytes, 4);
    enum fr_err err = fr_buf_append(out, head, len);
    return err ? err : fr_buf_append_view(out, service);
}

static enum fr_err
ask(struct cluster_health_call *call, struct fr_view head, bool https)
{
    struct http2_request request = {.head = head, .https = https, .bodiless = !call->grpc};
    enum fr_err err = http2_client_open(call->client, &call->call, &request);
    if (err || !call->grpc)
        return err;
    struct iovec part = {call->message.data, call->message.len};
    http2_client_send(call->client, &call->call, &part, 1, true, (struct fr_view){0});
    return FR_OK;
}

enum fr_err
cluster_health_call_new(const struct config_health *settings, struct fr_view head, bool https,
                        struct cluster_health_call **out)
{
    struct cluster_health_call *call = fr_alloc(sizeof(*call));
    if (!call)
        return FR_ERR_NOMEM;
    call->settings = settings;
    call->grpc = settings->kind == CONFIG_HEALTH_GRPC;
    fr_buf_init(&call->message, CLUSTER_HEALTH_REQUEST_BYTES_MAX);
    fr_buf_init(&call->answer, CALL_MESSAGE_BYTES_MAX);
    enum fr_err err = http2_client_new(&ops, call, &http_limits_default, &call->client);
    if (!err && call->grpc)
        err = write_message(&call->message,
                            settings->service ? fr_view_of(settings->service) : FR_VIEW(""));
    if (!err)
        err = ask(call, head, https);
    if (err)
        cluster_health_call_free(&call);
    else
        *out = call;
    return err;
}

void
cluster_health_call_free(struct cluster_health_call **call_ref)
{
    struct cluster_health_call *call = *call_ref;
    *call_ref = NULL;
    if (!call)
        return;
    http2_client_free(&call->client);
    fr_buf_fini(&call->message);
    fr_buf_fini(&call->answer);
    fr_free(call);
}

static enum cluster_health_step
told(const struct cluster_health_call *call, char why[CLUSTER_HEALTH_WHY_BYTES])
{
    memcpy(why, call->why, CLUSTER_HEALTH_WHY_BYTES);
    return call->step;
}

enum cluster_health_step
cluster_health_call_output(struct cluster_health_call *call, struct fr_buf *out,
                           char why[CLUSTER_HEALTH_WHY_BYTES])
{
    struct fr_view bytes;
    enum fr_err err;
    do {
        err = http2_client_output(call->client, &bytes) ? FR_OK : FR_ERR_NOMEM;
        if (!err)
            err = fr_buf_append_view(out, bytes);
    } while (!err && bytes.len > 0);
    if (http2_client_broken(call->client))
        conclude(call, false, "the member broke a rule of HTTP/2");
    if (err)
        conclude(call, false, "request: %s", fr_err_words(err));
    return told(call, why);
}

enum cluster_health_step
cluster_health_call_receive(struct cluster_health_call *call, struct fr_view bytes, int64_t now_us,
                            char why[CLUSTER_HEALTH_WHY_BYTES])
{
    if (!http2_client_receive(call->client, bytes, now_us))
        conclude(call, false, "the member broke a rule of HTTP/2");
    return told(call, why);
}
