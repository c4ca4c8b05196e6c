/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_control.c - the frames that carry nothing of a message.
 *
 * May touch:  base.
 * Limits:     each of them is charged to a budget before it is read: http2_limits.c.
 * Trusts:     nothing.
 * Follows:    RFC 9113 sections 6.3 to 6.9, RFC 9218 section 7.
 */
#include "http/http2_priv.h"

#define SETTING_BYTES 6
#define SETTINGS_MAX 32 /* in one frame; there are not that many */
#define PING_BYTES 8
#define GOAWAY_BYTES_MIN 8
#define PRIORITY_BYTES 5
#define FRAME_BYTES_CEILING 16777215

/* ---- settings -------------------------------------------------------------------------------- */

/* Every stream's window moves by what they begin with; false: one went too high. */
static bool
move_send_windows(struct http2_session *session, int32_t window)
{
    int64_t delta = (int64_t)window - session->stream_send_window;
    session->stream_send_window = window;
    FR_LIST_EACH(&session->streams, link) {
        struct http2_stream *stream = FR_CONTAINER(link, struct http2_stream, order_link);
        int64_t moved = stream->send_window + delta;
        if (moved > HTTP2_WINDOW_BYTES_MAX)
            return false;
        stream->send_window = (int32_t)moved;
        http2__unready(stream);
    }
    /* In this order none has to look for its place among those that are ready. */
    for (int incremental = 0; incremental < 2; incremental++)
        FR_LIST_EACH(&session->streams, link) {
            struct http2_stream *stream = FR_CONTAINER(link, struct http2_stream, order_link);
            if (stream->incremental == incremental)
                http2__stream_look(stream);
        }
    return true;
}

/* One that the client may have said. What we do not know, or do not need, is passed over; windows
 * are moved behind the last. */
static enum http2_code
setting(struct http2_session *session, unsigned id, uint32_t value, int32_t *out_window)
{
    switch (id) {
    case HTTP2_SETTINGS_HEADER_TABLE_SIZE:
        hpack_encoder_resize(&session->encoder, value);
        return HTTP2_NO_ERROR;
    case HTTP2_SETTINGS_ENABLE_PUSH:
    case HTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL:
    case HTTP2_SETTINGS_NO_RFC7540_PRIORITIES:
        return value > 1 ? HTTP2_PROTOCOL_ERROR : HTTP2_NO_ERROR;
    case HTTP2_SETTINGS_INITIAL_WINDOW_SIZE:
        if (value > HTTP2_WINDOW_BYTES_MAX)
            return HTTP2_FLOW_CONTROL_ERROR;
        *out_window = (int32_t)value;
        return HTTP2_NO_ERROR;
    case HTTP2_SETTINGS_MAX_FRAME_SIZE: /* ours are never longer than the least of it */
        return value < HTTP2_FRAME_BYTES_MAX || value > FRAME_BYTES_CEILING ? HTTP2_PROTOCOL_ERROR
                                                                            : HTTP2_NO_ERROR;
    default:
        return HTTP2_NO_ERROR;
    }
}

/* It knows our settings: from now on its windows are those. */
static enum http2_code
settings_ack(struct http2_session *session)
{
    if (session->acked)
        return HTTP2_PROTOCOL_ERROR; /* we send them once */
    session->acked = true;
    int32_t window = (int32_t)session->limits.stream_window_bytes;
    FR_LIST_EACH(&session->streams, link)
        FR_CONTAINER(link, struct http2_stream, order_link)->receive_window +=
            window - session->stream_receive_window;
    session->stream_receive_window = window;
    return HTTP2_NO_ERROR;
}

static enum http2_code
settings(struct http2_session *session, const struct http2_frame *frame, struct fr_view payload)
{
    if (frame->stream_id != 0)
        return HTTP2_PROTOCOL_ERROR;
    if (frame->flags & HTTP2_FLAG_ACK)
        return payload.len > 0 ? HTTP2_FRAME_SIZE_ERROR : settings_ack(session);
    if (payload.len % SETTING_BYTES != 0)
        return HTTP2_FRAME_SIZE_ERROR;
    if (payload.len > SETTINGS_MAX * SETTING_BYTES) {
        http2__calm(session, HTTP2_CALM_FRAMES);
        return HTTP2_NO_ERROR;
    }
    int32_t window = session->stream_send_window;
    for (const char *at = payload.ptr; at < payload.ptr + payload.len; at += SETTING_BYTES) {
        unsigned id = (unsigned)fr_be_get(at, 2);
        enum http2_code code = setting(session, id, http2_u32_read(at + 2), &window);
        if (code != HTTP2_NO_ERROR)
            return code;
    }
    if (window != session->stream_send_window && !move_send_windows(session, window))
        return HTTP2_FLOW_CONTROL_ERROR;
    session->settled = true;
    session->acks++;
    http2__put_frame(session, (struct http2_frame){.type = HTTP2_SETTINGS, .flags = HTTP2_FLAG_ACK},
                     (struct fr_view){0});
    return HTTP2_NO_ERROR;
}

/* ---- the others ------------------------------------------------------------------------------ */

static enum http2_code
ping(struct http2_session *session, const struct http2_frame *frame, struct fr_view payload)
{
    if (frame->stream_id != 0)
        return HTTP2_PROTOCOL_ERROR;
    if (payload.len != PING_BYTES)
        return HTTP2_FRAME_SIZE_ERROR;
    if (frame->flags & HTTP2_FLAG_ACK)
        return HTTP2_NO_ERROR;
    session->acks++;
    http2__put_frame(session, (struct http2_frame){.type = HTTP2_PING, .flags = HTTP2_FLAG_ACK},
                     payload);
    return HTTP2_NO_ERROR;
}

static enum http2_code
goaway(struct http2_session *session, const struct http2_frame *frame, struct fr_view payload)
{
    if (frame->stream_id != 0)
        return HTTP2_PROTOCOL_ERROR;
    if (payload.len < GOAWAY_BYTES_MIN)
        return HTTP2_FRAME_SIZE_ERROR;
    session->client_left = true;
    return HTTP2_NO_ERROR;
}

static enum http2_code
rst_stream(struct http2_session *session, const struct http2_frame *frame, struct fr_view payload)
{
    if (http2__is_idle(session, frame->stream_id))
        return HTTP2_PROTOCOL_ERROR;
    if (payload.len != 4)
        return HTTP2_FRAME_SIZE_ERROR;
    struct http2_stream *stream = http2__stream_of(session, frame->stream_id);
    if (stream)
        http2__stream_close(stream, http2_u32_read(payload.ptr));
    else /* what crossed its end, or nothing */
        (void)http2__charge(session, &session->idle_frames, HTTP2_CALM_FRAMES);
    return HTTP2_NO_ERROR;
}

/* RFC 9113 section 5.3.2: what it says means nothing any more. */
static enum http2_code
priority(struct http2_session *session, const struct http2_frame *frame, struct fr_view payload)
{
    if (frame->stream_id == 0)
        return HTTP2_PROTOCOL_ERROR;
    if (payload.len != PRIORITY_BYTES) { /* an error of the stream, where there is one */
        if (http2__is_idle(session, frame->stream_id))
            return HTTP2_FRAME_SIZE_ERROR;
        http2__stream_error(session, frame->stream_id, HTTP2_FRAME_SIZE_ERROR);
    }
    return HTTP2_NO_ERROR;
}

static enum http2_code
priority_update(struct http2_session *session, const struct http2_frame *frame,
                struct fr_view payload)
{
    if (frame->stream_id != 0)
        return HTTP2_PROTOCOL_ERROR;
    if (payload.len < 4)
        return HTTP2_FRAME_SIZE_ERROR;
    int32_t id = http2_u31_read(payload.ptr);
    if (id == 0)
        return HTTP2_PROTOCOL_ERROR;
    http2__priority_update(session, id, fr_view_make(payload.ptr + 4, payload.len - 4));
    return HTTP2_NO_ERROR;
}

/* False: it is too high. */
static bool
open_window(int32_t *window, int32_t more)
{
    if ((int64_t)*window + more > HTTP2_WINDOW_BYTES_MAX)
        return false;
    *window += more;
    return true;
}

static enum http2_code
window_update(struct http2_session *session, const struct http2_frame *frame,
              struct fr_view payload)
{
    int32_t id = frame->stream_id;
    if (payload.len != 4)
        return HTTP2_FRAME_SIZE_ERROR;
    int32_t more = http2_u31_read(payload.ptr);
    if (id == 0) {
        if (more == 0)
            return HTTP2_PROTOCOL_ERROR;
        return open_window(&session->send_window, more) ? HTTP2_NO_ERROR : HTTP2_FLOW_CONTROL_ERROR;
    }
    if (http2__is_idle(session, id))
        return HTTP2_PROTOCOL_ERROR;
    struct http2_stream *stream = http2__stream_of(session, id);
    if (!stream || stream->reset)
        return HTTP2_NO_ERROR; /* it was on its way */
    if (more == 0)
        http2__stream_blame(stream, HTTP2_PROTOCOL_ERROR);
    else if (!open_window(&stream->send_window, more))
        http2__stream_blame(stream, HTTP2_FLOW_CONTROL_ERROR);
    else
        http2__stream_look(stream);
    return HTTP2_NO_ERROR;
}

static enum http2_code
control(struct http2_session *session, const struct http2_frame *frame, struct fr_view payload)
{
    switch (frame->type) {
    case HTTP2_PRIORITY:
        return priority(session, frame, payload);
    case HTTP2_RST_STREAM:
        return rst_stream(session, frame, payload);
    case HTTP2_SETTINGS:
        return settings(session, frame, payload);
    case HTTP2_PUSH_PROMISE: /* RFC 9113 section 8.4: only servers push */
        return HTTP2_PROTOCOL_ERROR;
    case HTTP2_PING:
        return ping(session, frame, payload);
    case HTTP2_GOAWAY:
        return goaway(session, frame, payload);
    case HTTP2_WINDOW_UPDATE:
        return window_update(session, frame, payload);
    case HTTP2_PRIORITY_UPDATE:
        return priority_update(session, frame, payload);
    default: /* RFC 9113 section 4.1: of types that nobody knows */
        return HTTP2_NO_ERROR;
    }
}

void
http2__control(struct http2_session *session, const struct http2_frame *frame,
               struct fr_view payload)
{
    enum http2_code code = control(session, frame, payload);
    if (code != HTTP2_NO_ERROR)
        http2_session_end(session, code);
}
