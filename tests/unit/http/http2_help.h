/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_help.h - both ends of an HTTP/2 connection in raw frames, for the tests of its server's
 * side.
 */
#ifndef HTTP2_HELP_H
#define HTTP2_HELP_H

#include "http/http2_session.h"
#include "http_help.h"

#include "base/fr_mem.h"

#include <stdio.h>

#define STREAMS_MAX 8

/* ---- what the owner of the session sees ----------------------------------------------------- */

struct one {
    struct http2_stream http2;
    struct fr_buf head;
    bool open;
    uint32_t code; /* it was closed with */
};

struct owner {
    struct http2_session *session;
    struct one streams[STREAMS_MAX];
    bool refuses; /* whatever is opened */
    bool deaf;    /* to bodies */
    void (*act)(struct owner *owner, struct http2_stream *stream, char seen); /* H R D E, or NULL */
    char seen[2048];
    size_t len;
    char wire[8 * HTTP2_ROOM_BYTES]; /* what was filled, and not yet looked at */
    size_t wire_bytes, taken;
};

static inline void
add(struct owner *owner, const char *kind, struct fr_view view)
{
    int room = (int)(sizeof(owner->seen) - owner->len);
    int more = snprintf(owner->seen + owner->len, (size_t)room, "%s%.*s|", kind, FR_VIEW_ARG(view));
    assert_in_range(more, 0, room - 1);
    owner->len += (size_t)more;
}

static inline void
act(struct owner *owner, struct http2_stream *stream, char seen)
{
    if (owner->act)
        owner->act(owner, stream, seen);
}

static inline struct http2_stream *
on_open(void *ctx)
{
    struct owner *owner = ctx;
    for (size_t i = 0; i < STREAMS_MAX && !owner->refuses; i++) {
        struct one *one = &owner->streams[i];
        if (one->open)
            continue;
        memset(one, 0, sizeof(*one));
        one->open = true;
        fr_buf_init(&one->head, 8192);
        one->http2.head = &one->head;
        return &one->http2;
    }
    return NULL;
}

static inline void
on_head(void *ctx, struct http2_stream *stream, struct fr_view text, bool end_stream)
{
    add(ctx, end_stream ? "H." : "H:", text);
    act(ctx, stream, 'H');
}

static inline void
on_refused(void *ctx, struct http2_stream *stream, const char *words)
{
    struct owner *owner = ctx;
    add(owner, "R:", fr_view_of(words));
    if (owner->act)
        owner->act(owner, stream, 'R');
    else
        http2_stream_reset(stream, HTTP2_ENHANCE_YOUR_CALM);
}

static inline void
on_data(void *ctx, struct http2_stream *stream, struct fr_view data)
{
    struct owner *owner = ctx;
    if (owner->deaf)
        return;
    if (owner->len > 2 && strstr(owner->seen, "D:"))
        owner->len--; /* however it was cut */
    else
        add(owner, "D:", (struct fr_view){0}), owner->len--;
    add(owner, "", data);
    act(owner, stream, 'D');
}

static inline void
on_end(void *ctx, struct http2_stream *stream, struct fr_view trailers)
{
    add(ctx, "E:", trailers);
    act(ctx, stream, 'E');
}

static inline void
on_closed(void *ctx, struct http2_stream *stream, uint32_t code)
{
    struct one *one = FR_CONTAINER(stream, struct one, http2);
    (void)ctx;
    assert_true(one->open && !stream->session);
    one->open = false;
    one->code = code;
    fr_buf_fini(&one->head);
}

static const struct http2_handlers handlers = {on_open, on_head, on_refused,
                                               on_data, on_end,  on_closed};

/* ---- both ends ------------------------------------------------------------------------------ */

#define SETTINGS "\0\0\0\4\0\0\0\0\0"
#define GREETING HTTP2_PREFACE SETTINGS
#define GET "\x82\x86\x84\x41\1h" /* GET, http, /, authority h */
#define POST "\x83\x86\x84\x41\1h"
#define GET_1 "\0\0\6\1\5\0\0\0\1" GET
#define GET_3 "\0\0\6\1\5\0\0\0\3" GET

static inline void
say(struct owner *owner, struct fr_view bytes)
{
    http2_session_receive(owner->session, bytes, 1);
}

/* One frame: its payload may hold zeros. */
static inline void
say_frame(struct owner *owner, unsigned type, unsigned flags, int32_t id, struct fr_view payload)
{
    char head[HTTP2_FRAME_HEAD_BYTES];
    (void)http2_frame_put(head, (struct http2_frame){.length = (uint32_t)payload.len,
                                                     .type = (uint8_t)type,
                                                     .flags = (uint8_t)flags,
                                                     .stream_id = id});
    say(owner, fr_view_make(head, sizeof(head)));
    say(owner, payload);
}

static inline void
say_number(struct owner *owner, unsigned type, int32_t id, uint32_t number)
{
    char payload[4];
    (void)http2_u32_put(payload, number);
    say_frame(owner, type, 0, id, fr_view_make(payload, sizeof(payload)));
}

/* A request, whole; what was seen before is forgotten. */
static inline void
get(struct owner *owner, int32_t id)
{
    owner->len = 0;
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS | HTTP2_FLAG_END_STREAM, id,
              FR_VIEW(GET));
}

static inline void
post(struct owner *owner, int32_t id)
{
    owner->len = 0;
    say_frame(owner, HTTP2_HEADERS, HTTP2_FLAG_END_HEADERS, id, FR_VIEW(POST));
}

static inline void
cancel(struct owner *owner, int32_t id)
{
    say_number(owner, HTTP2_RST_STREAM, id, HTTP2_CANCEL);
}

static inline void
pull(struct owner *owner)
{
    while (http2_session_wants(owner->session)) {
        char *room = owner->wire + owner->wire_bytes;
        assert_true(sizeof(owner->wire) - owner->wire_bytes >= HTTP2_ROOM_BYTES);
        size_t bytes = http2_session_fill(owner->session, room, HTTP2_ROOM_BYTES);
        if (bytes == 0)
            break;
        owner->wire_bytes += bytes;
        while (http2_session_taken(owner->session))
            owner->taken++;
    }
}

struct frame {
    unsigned type, flags;
    uint32_t stream;
    struct fr_view payload;
};

static inline uint32_t
number(const char *at, size_t bytes)
{
    uint32_t value = 0;
    for (size_t i = 0; i < bytes; i++)
        value = value << 8 | (uint8_t)at[i];
    return value;
}

/* The next frame of what was sent; false: no more. */
static inline bool
next(struct owner *owner, size_t *at, struct frame *out)
{
    const char *wire = owner->wire + *at;
    if (*at == owner->wire_bytes)
        return false;
    assert_true(owner->wire_bytes - *at >= 9);
    size_t len = number(wire, 3);
    *out = (struct frame){(uint8_t)wire[3], (uint8_t)wire[4], number(wire + 5, 4),
                          fr_view_make(wire + 9, len)};
    assert_true(owner->wire_bytes - *at >= 9 + len);
    *at += 9 + len;
    return true;
}

/* The last frame of that kind on that stream; NULL: none. Forgets nothing. */
static inline const struct frame *
sent(struct owner *owner, unsigned type, uint32_t stream)
{
    static struct frame found;
    struct frame frame;
    bool any = false;
    pull(owner);
    for (size_t at = 0; next(owner, &at, &frame);)
        if (frame.type == type && frame.stream == stream) {
            found = frame;
            any = true;
        }
    return any ? &found : NULL;
}

/* All bytes of a body, and whether its end was told. */
static inline size_t
body_of(struct owner *owner, uint32_t stream, char *out, size_t max, bool *out_ended)
{
    struct frame frame;
    size_t len = 0;
    pull(owner);
    *out_ended = false;
    for (size_t at = 0; next(owner, &at, &frame);) {
        if (frame.stream != stream || (frame.type != 0 && frame.type != 1))
            continue;
        *out_ended = frame.flags & 1;
        if (frame.type != 0)
            continue;
        assert_true(len + frame.payload.len <= max);
        memcpy(out + len, frame.payload.ptr, frame.payload.len);
        len += frame.payload.len;
    }
    return len;
}

static inline struct owner *
begin(const struct http2_limits *limits)
{
    static const struct http2_limits usual = {.streams = 4,
                                              .stream_window_bytes = 65535,
                                              .connection_window_bytes = 65535,
                                              .resets = 20,
                                              .idle_frames = 100};
    struct owner *owner = fr_xalloc(sizeof(*owner));
    static struct http2_split split;
    struct http2_limits all = limits ? *limits : usual;
    all.head = http_limits_default;
    assert_int_equal(http2_session_new(&all, &handlers, owner, &split, &owner->session), FR_OK);
    return owner;
}

static inline void
end(struct owner *owner)
{
    http2_session_free(&owner->session);
    assert_null(owner->session);
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (owner->streams[i].open) { /* closed without a word: their owner knows */
            fr_buf_fini(&owner->streams[i].head);
            fr_buf_fini(&owner->streams[i].http2.trailers);
        }
    fr_free(owner);
}

/* False: no memory. */
static inline bool
could_answer(struct http2_stream *stream, const char *text, bool whole)
{
    static struct http2_split split;
    size_t used;
    http2_split_begin(&split, HTTP2_RESPONSE);
    assert_int_equal(http2_split_read(&split, fr_view_of(text), &used), HTTP_DONE);
    return http2_stream_head(stream, &split, whole);
}

static inline void
answer(struct http2_stream *stream, const char *text, bool whole)
{
    assert_true(could_answer(stream, text, whole));
}

/* The code of what was sent last: a reset of that stream, or of 0 the connection's end; -1: none.
 */
static inline int
code_of(struct owner *owner, uint32_t stream)
{
    const struct frame *frame = sent(owner, stream ? HTTP2_RST_STREAM : HTTP2_GOAWAY, stream);
    return frame ? (int)number(frame->payload.ptr + (stream ? 0 : 4), 4) : -1;
}

/* The stream that is open under this id. */
static inline struct http2_stream *
stream_of(struct owner *owner, int32_t id)
{
    for (size_t i = 0; i < STREAMS_MAX; i++)
        if (owner->streams[i].open && owner->streams[i].http2.id == id)
            return &owner->streams[i].http2;
    fail_msg("no stream %d is open", id);
    return NULL;
}

#endif
