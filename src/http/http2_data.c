/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_data.c - DATA: requests' bodies, within the windows they were given.
 *
 * May touch:  base.
 * Memory:     none: pieces go to the stream's owner as they come, who says when they were taken.
 * Limits:     the windows of the stream and of the connection.
 * Trusts:     nothing.
 * Follows:    RFC 9113 sections 5.2, 6.1, 6.9 and 8.1.1.
 *
 * What nobody takes - padding, and what a stream that is gone was sent - is given back to the
 * connection's window at once.
 */
#include "http/http2_priv.h"

/* Whether somebody takes it. What is not is an error of the stream, or of the connection, or the
 * rest of what was on its way. */
static bool
is_wanted(struct http2_session *session, const struct http2_frame *frame)
{
    struct http2_stream *stream = http2__stream_of(session, frame->stream_id);
    if (!stream) {
        if (http2__was_opened(session, frame->stream_id) &&
            !http2__was_reset(session, frame->stream_id))
            http2_session_end(session, HTTP2_STREAM_CLOSED); /* section 5.1 */
        return false;
    }
    if (stream->reset)
        return false;
    if (stream->ended) {
        http2__stream_blame(stream, HTTP2_STREAM_CLOSED);
        return false;
    }
    /* Without an octet it needs no window, which SETTINGS may have put below zero: section 6.9. */
    if (frame->length > 0 && (int64_t)frame->length > stream->receive_window) {
        http2__stream_blame(stream, HTTP2_FLOW_CONTROL_ERROR);
        return false;
    }
    stream->receive_window -= (int32_t)frame->length;
    return true;
}

void
http2__data_begin(struct http2_session *session)
{
    const struct http2_frame *frame = &session->frame;
    if (http2__is_idle(session, frame->stream_id)) {
        http2_session_end(session, HTTP2_PROTOCOL_ERROR);
        return;
    }
    if ((int64_t)frame->length > session->receive_window) {
        http2_session_end(session, HTTP2_FLOW_CONTROL_ERROR);
        return;
    }
    session->receive_window -= (int32_t)frame->length;
    session->data_left = frame->length;
    session->pad_left = 0;
    session->pad_due = frame->flags & HTTP2_FLAG_PADDED;
    session->data_ignored = !is_wanted(session, frame);
    if (session->pad_due && frame->length == 0)
        http2_session_end(session, HTTP2_FRAME_SIZE_ERROR);
}

/* The stream of the frame under way, while it takes anything. */
static struct http2_stream *
taker_of(const struct http2_session *session)
{
    struct http2_stream *stream =
        session->data_ignored ? NULL : http2__stream_of(session, session->frame.stream_id);
    return stream && !stream->reset && !stream->ended ? stream : NULL;
}

/* Taken by nobody. */
static void
give_back(struct http2_session *session, size_t bytes)
{
    struct http2_stream nobody = {.session = NULL};
    struct http2_stream *stream = taker_of(session);
    http2_stream_consume(session, stream ? stream : &nobody, bytes);
}

static void
pass_on(struct http2_session *session, struct fr_view piece)
{
    struct http2_stream *stream = taker_of(session);
    if (stream && stream->counted && piece.len > stream->body_left) {
        http2__stream_blame(stream, HTTP2_PROTOCOL_ERROR);
        stream = NULL;
    }
    if (!stream) {
        give_back(session, piece.len);
        return;
    }
    if (stream->counted)
        stream->body_left -= piece.len;
    session->handlers.on_data(session->ctx, stream, piece);
}

static void
data_end(struct http2_session *session)
{
    struct http2_stream *stream = taker_of(session);
    if (!stream || !(session->frame.flags & HTTP2_FLAG_END_STREAM))
        return;
    if (stream->counted && stream->body_left > 0)
        http2__stream_blame(stream, HTTP2_PROTOCOL_ERROR);
    else
        http2__stream_ended(stream, (struct fr_view){0});
}

void
http2__data(struct http2_session *session, struct fr_view piece)
{
    session->data_left -= (uint32_t)piece.len;
    if (session->pad_due && piece.len > 0) {
        session->pad_due = false;
        session->pad_left = (uint8_t)piece.ptr[0];
        piece = fr_view_make(piece.ptr + 1, piece.len - 1);
        if (session->pad_left > session->data_left + piece.len) {
            http2_session_end(session, HTTP2_PROTOCOL_ERROR);
            return;
        }
        give_back(session, 1);
        if (session->pad_left == session->data_left + piece.len &&
            !(session->frame.flags & HTTP2_FLAG_END_STREAM) &&
            !http2__charge(session, &session->idle_frames, HTTP2_CALM_FRAMES))
            return; /* padding alone */
    }
    /* Of what is left the padding is the end. */
    size_t payload_left = session->data_left + piece.len - session->pad_left;
    struct fr_view payload =
        fr_view_make(piece.ptr, piece.len < payload_left ? piece.len : payload_left);
    size_t padding = piece.len - payload.len;
    if (payload.len > 0)
        pass_on(session, payload);
    if (padding > 0) {
        session->pad_left -= (uint32_t)padding;
        give_back(session, padding);
    }
    if (session->data_left == 0 && !session->over)
        data_end(session);
}
