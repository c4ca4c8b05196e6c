/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_session.c - the server's side of one HTTP/2 connection: its life, and bytes into frames.
 *
 * May touch:  base.
 * Memory:     one struct; what of a frame has come while it is not whole.
 * Limits:     see http2_limits.c.
 * Trusts:     nothing: each file checks what it reads.
 * Follows:    RFC 9113 sections 3.4, 4.1 and 6.8.
 *
 *     bytes -> frame --> http2_request.c, http2_data.c, http2_control.c
 *                              '------------> http2_streams.c <---- http2_send.c -> bytes
 */
#include "http/http2_priv.h"

#include "base/fr_mem.h"

#define PARTIAL_KEPT_BYTES 512

/* ---- life ------------------------------------------------------------------------------------ */

enum fr_err
http2_session_new(const struct http2_limits *limits, const struct http2_handlers *handlers,
                  void *ctx, struct http2_split *split, struct http2_session **out)
{
    uint32_t slots = http2__slot_count(limits);
    struct http2_session *session = fr_alloc(sizeof(*session) + slots * sizeof(session->slots[0]));
    if (!session)
        return FR_ERR_NOMEM;
    session->limits = *limits;
    session->handlers = *handlers;
    session->ctx = ctx;
    session->split = split;
    session->slot_mask = slots - 1;
    fr_buf_init(&session->partial, HTTP2_FRAME_BYTES_MAX);
    fr_buf_init(&session->block, limits->head.head_bytes_max + 2 * HTTP2_FRAME_BYTES_MAX);
    fr_buf_init(&session->out, HTTP2__OUT_BYTES_MAX);
    fr_buf_init(&session->again.kept, HTTP2__AGAIN_BYTES_MAX);
    fr_list_init(&session->streams);
    fr_list_init(&session->closing);
    fr_list_init(&session->taken);
    for (size_t i = 0; i < HTTP2__URGENCIES; i++)
        fr_list_init(&session->ready[i]);
    hpack_decoder_init(&session->decoder);
    hpack_encoder_init(&session->encoder);
    http2__budget_init(&session->resets, limits->resets);
    http2__budget_init(&session->idle_frames, limits->idle_frames);
    session->send_window = session->receive_window = HTTP2_WINDOW_BYTES;
    session->stream_send_window = session->stream_receive_window = HTTP2_WINDOW_BYTES;
    http2__put_settings(session);
    if (limits->connection_window_bytes > HTTP2_WINDOW_BYTES) {
        uint32_t more = limits->connection_window_bytes - HTTP2_WINDOW_BYTES;
        http2__put_window_update(session, 0, more);
        session->receive_window += (int32_t)more;
    }
    if (session->mute)
        http2_session_free(&session);
    *out = session;
    return session ? FR_OK : FR_ERR_NOMEM;
}

void
http2_session_free(struct http2_session **session)
{
    if (!*session)
        return;
    hpack_decoder_fini(&(*session)->decoder);
    hpack_encoder_fini(&(*session)->encoder);
    fr_buf_fini(&(*session)->partial);
    fr_buf_fini(&(*session)->block);
    fr_buf_fini(&(*session)->out);
    fr_buf_fini(&(*session)->again.kept);
    fr_free(*session);
    *session = NULL;
}

/* ---- bytes into frames ----------------------------------------------------------------------- */

static void
skip(struct fr_view *bytes, size_t count)
{
    *bytes = fr_view_make(bytes->ptr + count, bytes->len - count);
}

/* Section 3.4. */
static void
preface(struct http2_session *session, struct fr_view *bytes)
{
    struct fr_view rest = FR_VIEW(HTTP2_PREFACE);
    skip(&rest, session->preface_bytes);
    size_t count = bytes->len < rest.len ? bytes->len : rest.len;
    if (memcmp(bytes->ptr, rest.ptr, count) != 0) {
        http2_session_end(session, HTTP2_PROTOCOL_ERROR);
        return;
    }
    session->preface_bytes += count;
    skip(bytes, count);
}

/* So many octets in one piece, of what came now or put together with what came before; NULL: they
 * are not all there. Valid until the next call. */
static const char *
whole(struct http2_session *session, struct fr_view *bytes, size_t count)
{
    struct fr_buf *partial = &session->partial;
    const char *at = bytes->ptr;
    if (partial->len == 0 && bytes->len >= count) {
        skip(bytes, count);
        return at;
    }
    size_t some = count - partial->len < bytes->len ? count - partial->len : bytes->len;
    if (some > 0 && fr_buf_append(partial, at, some) != FR_OK) {
        http2__ran_out(session, HTTP2_CALM_MEMORY);
        return NULL;
    }
    skip(bytes, some);
    if (partial->len < count)
        return NULL;
    partial->len = 0;
    return partial->data;
}

static void
frame_begin(struct http2_session *session, const char *head)
{
    session->frame = http2_frame_read(head);
    session->framed = true;
    http2__judge_frame(session, &session->frame);
    if (session->over)
        return;
    if (session->frame.type == HTTP2_DATA)
        http2__data_begin(session);
    else if (session->frame.type == HTTP2_HEADERS)
        session->head_stream = session->frame.stream_id;
}

static void
frame_done(struct http2_session *session, struct fr_view payload)
{
    struct http2_frame frame = session->frame;
    session->framed = false;
    if (frame.type == HTTP2_HEADERS)
        http2__headers(session, &frame, payload);
    else if (frame.type == HTTP2_CONTINUATION)
        http2__continuation(session, &frame, payload);
    else
        http2__control(session, &frame, payload);
}

static void
data_piece(struct http2_session *session, struct fr_view *bytes)
{
    size_t count = bytes->len < session->data_left ? bytes->len : session->data_left;
    struct fr_view piece = fr_view_make(bytes->ptr, count);
    skip(bytes, count);
    session->framed = session->data_left > count;
    http2__data(session, piece);
}

static void
step(struct http2_session *session, struct fr_view *bytes)
{
    const char *at;
    if (session->preface_bytes < sizeof(HTTP2_PREFACE) - 1) {
        preface(session, bytes);
    } else if (!session->framed) {
        at = whole(session, bytes, HTTP2_FRAME_HEAD_BYTES);
        if (at)
            frame_begin(session, at);
    } else if (session->frame.type == HTTP2_DATA) {
        data_piece(session, bytes);
    } else {
        at = whole(session, bytes, session->frame.length);
        if (at)
            frame_done(session, fr_view_make(at, session->frame.length));
    }
}

void
http2_session_receive(struct http2_session *session, struct fr_view bytes, int64_t now_us)
{
    http2__budgets_refill(session, now_us);
    /* A frame without a payload is whole with its head. */
    while (!session->over && (bytes.len > 0 || (session->framed && session->frame.length == 0)))
        step(session, &bytes);
    if (session->partial.len == 0 && session->partial.cap > PARTIAL_KEPT_BYTES)
        fr_buf_fini(&session->partial);
}

/* ---- how it stands --------------------------------------------------------------------------- */

bool
http2_session_wants(const struct http2_session *session)
{
    if (!fr_list_empty(&session->closing))
        return true;
    if (session->mute)
        return false;
    return session->out.len > session->out_taken ||
           (!session->over && session->urgencies && session->send_window > 0);
}

bool
http2_session_over(const struct http2_session *session)
{
    bool left = session->leaving || session->client_left;
    return !http2_session_wants(session) && (session->over || (left && session->open == 0));
}

enum http2_calm
http2_session_calm(const struct http2_session *session)
{
    return session->calm;
}

bool
http2_session_in_head(const struct http2_session *session)
{
    return session->head_stream != 0;
}

uint32_t
http2_session_streams(const struct http2_session *session)
{
    return session->open;
}

uint64_t
http2_session_requests(const struct http2_session *session)
{
    return session->requests;
}

void
http2_session_warn(struct http2_session *session)
{
    if (!session->over)
        http2__put_goaway(session, HTTP2_ID_MAX, HTTP2_NO_ERROR);
}

void
http2_session_goaway(struct http2_session *session)
{
    if (session->over)
        return;
    session->leaving = true;
    http2__put_goaway(session, session->last_id, HTTP2_NO_ERROR);
}

void
http2_session_end(struct http2_session *session, uint32_t code)
{
    if (session->over)
        return;
    session->over = true;
    http2__put_goaway(session, session->last_id, code);
}
