/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_http2_client.c - any bytes for a member's end of an HTTP/2 connection on which three
 * requests wait: what it makes of them is heads that the parser of HTTP/1.1 reads, a stream ends
 * once, and what is shown of its body is no more than its window.
 */
#include "http/http2_client.h"

#include "base/fr_check.h"

#define CALLS 3
#define GET "GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
#define POST "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct member {
    struct http2_client *client;
    struct http2_call calls[CALLS];
    size_t held[CALLS];
    unsigned ends[CALLS];
    struct http_head head;
};

static size_t
index_of(const struct member *member, const struct http2_call *call)
{
    return (size_t)(call - member->calls);
}

static bool
on_head(void *ctx, struct http2_call *call, struct fr_view text, bool switched)
{
    struct member *member = ctx;
    struct http_err err;
    size_t scanned = 0;
    (void)call;
    (void)switched;
    enum http_step step =
        http_response_parse(text, &http_limits_default, &scanned, &member->head, &err);
    fr_insist(step != HTTP_MORE); /* whole, if not well-formed */
    fr_insist(step == HTTP_BAD || member->head.head_bytes == text.len);
    return true;
}

static bool
on_data(void *ctx, struct http2_call *call, struct fr_view bytes)
{
    struct member *member = ctx;
    size_t i = index_of(member, call);
    fr_insist(call->head_came && member->ends[i] == 0);
    member->held[i] += bytes.len;
    fr_insist(member->held[i] <= HTTP2_CALL_WINDOW_BYTES);
    return true;
}

static bool
on_trailers(void *ctx, struct http2_call *call, struct fr_view section)
{
    (void)ctx;
    fr_insist(call->head_came);
    fr_insist(section.len >= 2 && section.ptr[section.len - 1] == '\n');
    return true;
}

static void
on_ended(void *ctx, struct http2_call *call)
{
    struct member *member = ctx;
    size_t i = index_of(member, call);
    if (call->end == HTTP2_CALL_NONE)
        return; /* END_STREAM; the stream's own end follows */
    fr_insist(++member->ends[i] == 1);
    fr_insist(call->end != HTTP2_CALL_OK || call->head_came);
}

static void
on_sent(void *ctx, struct http2_call *call)
{
    (void)ctx;
    (void)call;
}

static const struct http2_client_ops ops = {on_head, on_data, on_trailers, on_ended, on_sent};

static void
drain(struct member *member)
{
    struct fr_view out;
    while (http2_client_output(member->client, &out) && out.len > 0)
        continue;
}

/* The first byte says how the rest is cut; each piece is followed by what there is to send. */
int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct member member;
    struct http2_request get = {.head = FR_VIEW(GET), .bodiless = true};
    struct http2_request post = {.head = FR_VIEW(POST)};
    if (size < 1)
        return 0;
    memset(&member, 0, sizeof(member));
    if (http2_client_new(&ops, &member, &http_limits_default, &member.client) != FR_OK)
        return 0;
    fr_insist(http2_client_open(member.client, &member.calls[0], &get) == FR_OK);
    fr_insist(http2_client_open(member.client, &member.calls[1], &post) == FR_OK);
    fr_insist(http2_client_open(member.client, &member.calls[2], &get) == FR_OK);
    struct iovec part = {"body", 4};
    http2_client_send(member.client, &member.calls[1], &part, 1, data[0] & 1, (struct fr_view){0});
    drain(&member);
    size_t step = data[0] / 2 + 1u;
    bool fine = true;
    for (size_t at = 1; at < size && fine; at += step) {
        size_t len = size - at < step ? size - at : step;
        fine = http2_client_receive(member.client, fr_view_make((const char *)data + at, len),
                                    (int64_t)at);
        drain(&member);
        if (at > size / 2)
            http2_client_cancel(member.client, &member.calls[2], false);
        for (size_t i = 0; i < CALLS; i++) {
            http2_client_consume(member.client, &member.calls[i], member.held[i]);
            member.held[i] = 0;
        }
    }
    http2_client_free(&member.client);
    return 0;
}
