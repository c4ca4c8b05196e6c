/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_h2.c - an HTTP/2 session: any bytes, cut anywhere, with memory that fails.
 *
 * Input:      an octet of flags: how it comes, when its owner answers, how much the client takes;
 *             the allocation that fails (0: none; times 4), then bytes: as they are, or behind a
 *             greeting, or as frames: type, flags, stream, length, payload.
 * Holds:      every head that comes out is one request to the parser of HTTP/1.1 and no more, and
 * is the same out of its lines; every stream is opened and closed once; what was sent is taken, in
 * order; a body is read no more once it was taken or its stream is closed, when it is freed.
 */
#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "http/http2_session.h"

#include "../unit/http/head_same.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define STREAMS_MAX 32
#define FLAG_GREETING 1
#define FLAG_FRAMES 2
#define FLAG_BYTEWISE 4
#define FLAG_LITTLE 8  /* is taken at a time */
#define FLAG_AT_END 16 /* answers then, not at the head */
#define FLAG_RESETS 32 /* every other stream, when its body begins */
#define FLAG_LONG 64   /* bodies */
#define FLAG_HEAD_ALONE 128
#define LONG_BYTES 50000

struct owner {
    struct http2_session *session;
    struct http_head parsed, built;
    struct http2_split split;
    unsigned flags;
    struct one {
        struct http2_stream http2;
        struct fr_buf head, lines;
        bool open, told, ended;
        size_t held; /* of its body */
        char *body;  /* of the answer; NULL: it was taken, or there is none */
        struct owner *owner;
    } streams[STREAMS_MAX];
};

static struct one *
one_of(struct http2_stream *http2)
{
    return FR_CONTAINER(http2, struct one, http2);
}

static struct http2_stream *
on_open(void *ctx)
{
    struct owner *owner = ctx;
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        struct one *one = &owner->streams[i];
        if (one->open)
            continue;
        memset(one, 0, sizeof(*one));
        one->owner = owner;
        one->open = true;
        fr_buf_init(&one->head, 8192);
        fr_buf_init(&one->lines, HTTP2_LINES_MAX * sizeof(struct http2_line));
        one->http2.head = &one->head;
        one->http2.lines = &one->lines;
        return &one->http2;
    }
    return NULL;
}

static void
answer(struct one *one)
{
    size_t bytes = one->owner->flags & FLAG_LONG ? LONG_BYTES : 30;
    bool alone = one->owner->flags & FLAG_HEAD_ALONE;
    struct http2_split *split = &one->owner->split;
    struct fr_view head =
        FR_VIEW("HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n");
    size_t used;
    if (one->http2.answered || one->http2.reset)
        return;
    http2_stream_split(&one->http2, split);
    fr_insist(http2_split_read(split, head, &used) == HTTP_DONE && used == head.len);
    if (!http2_stream_head(&one->http2, split, alone)) {
        http2_stream_reset(&one->http2, HTTP2_INTERNAL_ERROR);
    } else if (!alone) {
        one->body = fr_xalloc(bytes);
        http2_stream_body(&one->http2, &(struct iovec){one->body, bytes}, 1, true,
                          FR_VIEW("x-t: y\r\n\r\n"));
    }
}

static void
on_head(void *ctx, struct http2_stream *http2, struct fr_view text, bool end_stream)
{
    struct owner *owner = ctx;
    struct one *one = one_of(http2);
    struct http_err err;
    size_t scanned = 0;
    fr_insist(one->open && !one->told);
    one->told = true;
    one->ended = end_stream;
    enum http_step step =
        http_request_parse(text, &http_limits_default, &scanned, &owner->parsed, &err);
    fr_insist(step != HTTP_MORE);
    fr_insist(step ==
              http2_lines_head(text, &one->lines, &http_limits_default, &owner->built, &err));
    if (step == HTTP_DONE) {
        fr_insist(!heads_differ(&owner->parsed, &owner->built));
        fr_insist(owner->parsed.head_bytes == text.len);
        fr_insist(!end_stream || owner->parsed.framing != HTTP_BODY_CHUNKED);
    }
    if (end_stream || !(owner->flags & FLAG_AT_END))
        answer(one);
}

static void
on_refused(void *ctx, struct http2_stream *http2, const char *words)
{
    (void)ctx;
    fr_insist(words && words[0]);
    http2_stream_reset(http2, HTTP2_ENHANCE_YOUR_CALM);
}

static void
on_data(void *ctx, struct http2_stream *http2, struct fr_view data)
{
    (void)ctx;
    struct one *one = one_of(http2);
    fr_insist(one->told && !one->ended);
    one->held += data.len;
    if ((one->owner->flags & FLAG_RESETS) && http2->id % 4 == 1)
        http2_stream_reset(http2, HTTP2_CANCEL);
    fr_insist(one->held <= 65535); /* no more than its window, which nobody opened yet */
    if (one->held > 10000) {
        http2_stream_consume(one->owner->session, http2, one->held);
        one->held = 0;
    }
}

static void
on_end(void *ctx, struct http2_stream *http2, struct fr_view trailers)
{
    (void)ctx;
    struct one *one = one_of(http2);
    fr_insist(one->told && !one->ended);
    fr_insist(trailers.len == 0 || memcmp(trailers.ptr + trailers.len - 2, "\r\n", 2) == 0);
    one->ended = true;
    answer(one);
}

static void
on_closed(void *ctx, struct http2_stream *http2, uint32_t code)
{
    (void)code;
    struct owner *owner = ctx;
    struct one *one = one_of(http2);
    fr_insist(one->open && !http2->session);
    http2_stream_consume(owner->session, http2, one->held);
    fr_buf_fini(&one->head);
    fr_buf_fini(&one->lines);
    fr_free(one->body);
    one->body = NULL;
    one->open = false;
}

static void
note_taken(struct http2_session *session)
{
    struct http2_stream *http2;
    while ((http2 = http2_session_taken(session))) {
        fr_insist(one_of(http2)->open && !http2->sending);
        fr_free(one_of(http2)->body);
        one_of(http2)->body = NULL;
    }
}

static void
drain(struct http2_session *session, unsigned flags)
{
    static char room[HTTP2_ROOM_BYTES];
    size_t bytes = flags & FLAG_LITTLE ? 40 : sizeof(room);
    bool wanted = http2_session_wants(session);
    while ((bytes = http2_session_fill(session, room, bytes)) > 0) {
        fr_insist(wanted);
        note_taken(session);
        if (flags & FLAG_LITTLE)
            return;
        bytes = sizeof(room);
    }
    note_taken(session);
}

static void
give(struct owner *owner, struct fr_view bytes, size_t step, int64_t *now_us)
{
    while (bytes.len > 0) {
        size_t len = bytes.len < step ? bytes.len : step;
        http2_session_receive(owner->session, fr_view_make(bytes.ptr, len), *now_us += 100);
        drain(owner->session, owner->flags);
        fr_insist(http2_session_streams(owner->session) <= 16);
        bytes = fr_view_make(bytes.ptr + len, bytes.len - len);
    }
}

/* Octets as frames, so that a mutation hits a frame's meaning and not its length. */
static void
give_frames(struct owner *owner, const uint8_t *data, size_t size, size_t step, int64_t *now_us)
{
    char frame[9 + 255];
    while (size >= 4) {
        size_t len = data[3] < size - 4 ? data[3] : size - 4;
        char head[9] = {0, 0, (char)len, (char)(data[0] % 20), (char)data[1],
                        0, 0, 0,         (char)data[2]};
        memcpy(frame, head, sizeof(head));
        memcpy(frame + sizeof(head), data + 4, len);
        give(owner, fr_view_make(frame, sizeof(head) + len), step, now_us);
        data += 4 + len;
        size -= 4 + len;
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct http2_handlers handlers = {on_open, on_head, on_refused,
                                                   on_data, on_end,  on_closed};
    static struct http2_split split;
    static const char greeting[] = HTTP2_PREFACE "\0\0\0\4\0\0\0\0\0\0\0\0\4\1\0\0\0\0";
    struct http2_limits limits = {http_limits_default, 16, 65535, 65535, 20, 200};
    int64_t now_us = 1000000;
    if (size < 2)
        return 0;
    struct owner *owner = fr_xalloc(sizeof(*owner));
    size_t step = data[0] & FLAG_BYTEWISE ? 1 : 16384;
    owner->flags = data[0];
    fr_mem_fail_after(4u * data[1]);
    if (http2_session_new(&limits, &handlers, owner, &split, &owner->session) == FR_OK) {
        if (data[0] & (FLAG_GREETING | FLAG_FRAMES))
            give(owner, fr_view_make(greeting, sizeof(greeting) - 1), step, &now_us);
        if (data[0] & FLAG_FRAMES)
            give_frames(owner, data + 2, size - 2, step, &now_us);
        else
            give(owner, fr_view_make((const char *)data + 2, size - 2), step, &now_us);
        http2_session_warn(owner->session);
        drain(owner->session, 0);
        http2_session_end(owner->session, HTTP2_NO_ERROR);
        drain(owner->session, 0);
    }
    fr_mem_fail_after(0);
    http2_session_free(&owner->session);
    for (size_t i = 0; i < STREAMS_MAX; i++) {
        if (!owner->streams[i].open)
            continue;
        fr_buf_fini(&owner->streams[i].head);
        fr_buf_fini(&owner->streams[i].lines);
        fr_buf_fini(&owner->streams[i].http2.trailers);
        fr_free(owner->streams[i].body);
    }
    fr_free(owner);
    return 0;
}
