/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_streams.c - the streams of a session: found by id, opened, closed once.
 *
 * May touch:  base.
 * Memory:     their owner's, from on_open to on_closed.
 * Limits:     streams at once; the last HTTP2__PAST_MAX that were opened are known, and as many
 *             that we reset: what is still on its way to one of these is no error.
 * Follows:    RFC 9113 sections 5.1 and 5.4.2.
 *
 *     stream:  on_open -> fields -> on_head -> on_data ... -> on_end
 *                            '----- on_closed, at any time, once -----'
 *
 * An owner is told of an end only while bytes are received or filled, never within a call of its
 * own about that stream: what ends meanwhile waits in `closing`, until all that was said of it is
 * filled. So a client that does not read has no more answers waiting for it than it may have
 * streams.
 */
#include "http/http2_priv.h"

#define SLOTS_MIN 64
#define SLOT_STREAMS 4 /* in a slot, when all are open and their ids follow one another */

static size_t
past_place(int32_t id)
{
    return (uint32_t)id / 2 % HTTP2__PAST_MAX; /* a client's ids are odd */
}

bool
http2__was_opened(const struct http2_session *session, int32_t id)
{
    return session->opened[past_place(id)] == id;
}

bool
http2__was_reset(const struct http2_session *session, int32_t id)
{
    return session->resets_sent[past_place(id)] == id;
}

uint32_t
http2__slot_count(const struct http2_limits *limits)
{
    uint32_t count = SLOTS_MIN;
    while (count < limits->streams / SLOT_STREAMS)
        count *= 2;
    return count;
}

static struct http2_stream **
slot_of(struct http2_session *session, int32_t id)
{
    return &session->slots[(uint32_t)id / 2 & session->slot_mask];
}

struct http2_stream *
http2__stream_of(const struct http2_session *session, int32_t id)
{
    struct http2_stream *stream = session->slots[(uint32_t)id / 2 & session->slot_mask];
    while (stream && stream->id != id)
        stream = stream->next;
    return stream;
}

bool
http2__is_idle(const struct http2_session *session, int32_t id)
{
    if (id % 2 == 0)
        return true;                                   /* we open none */
    return id > session->last_id && !session->leaving; /* what comes too late is passed over */
}

struct http2_stream *
http2__stream_open(struct http2_session *session, int32_t id)
{
    struct http2_stream *stream = NULL;
    session->opened[past_place(id)] = id;
    session->requests++;
    session->last_id = id;
    if (session->open < session->limits.streams)
        stream = session->handlers.on_open(session->ctx);
    if (!stream) {
        http2__stream_error(session, id, HTTP2_REFUSED_STREAM);
        return NULL;
    }
    struct http2__priority priority;
    stream->prioritised = http2__priority_early(session, id, &priority);
    stream->id = id;
    stream->session = session;
    stream->receive_window = session->stream_receive_window;
    stream->send_window = session->stream_send_window;
    stream->urgency = priority.urgency;
    stream->incremental = priority.incremental;
    fr_buf_init(&stream->trailers, HTTP_TRAILER_BYTES_MAX);
    fr_list_init(&stream->taken_link);
    fr_list_init(&stream->link);
    fr_list_push_back(&session->streams, &stream->order_link);
    stream->next = *slot_of(session, id);
    *slot_of(session, id) = stream;
    session->open++;
    return stream;
}

/* The client has been sent all that is said of it. */
static bool
is_told(const struct http2_stream *stream)
{
    const struct http2_session *session = stream->session;
    return session->mute || session->out_gone >= stream->told_at;
}

void
http2__stream_close(struct http2_stream *stream, uint32_t code)
{
    struct http2_session *session = stream->session;
    /* Whoever resets it, and with whatever code, which is the client's to choose: what the client
     * makes us reset is its doing too, within an answer as well. A reset of ours behind a whole
     * answer is none, nor is one that an answer was cut by. */
    bool early = !stream->answered || (!stream->finished && !stream->reset) || stream->blamed ||
                 (stream->closing && !is_told(stream)); /* it does not read what it asks for */
    if (early)
        (void)http2__charge(session, &session->resets, HTTP2_CALM_RESETS);
    else if (stream->finished)
        http2__give_back(&session->resets, 1);
    struct http2_stream **at = slot_of(session, stream->id);
    while (*at != stream)
        at = &(*at)->next;
    *at = stream->next;
    http2__unready(stream);
    fr_list_remove(&stream->link);
    fr_list_remove(&stream->taken_link);
    fr_list_remove(&stream->order_link);
    stream->session = NULL;
    session->open--;
    fr_buf_fini(&stream->trailers);
    session->handlers.on_closed(session->ctx, stream, code);
}

void
http2__stream_closes(struct http2_stream *stream, uint32_t code)
{
    if (stream->closing)
        return;
    http2__unready(stream);
    stream->closing = true;
    stream->code = code;
    stream->told_at = http2__out_end(stream->session);
    fr_list_push_back(&stream->session->closing, &stream->link);
}

void
http2__streams_settle(struct http2_session *session)
{
    while (!fr_list_empty(&session->closing)) { /* in the order in which they were decided */
        struct http2_stream *stream =
            FR_CONTAINER(session->closing.next, struct http2_stream, link);
        if (!is_told(stream))
            return;
        http2__stream_close(stream, stream->code);
    }
}

static void
put_reset(struct http2_session *session, int32_t id, uint32_t code)
{
    session->resets_sent[past_place(id)] = id;
    http2__put_reset(session, id, code);
}

void
http2__stream_blame(struct http2_stream *stream, uint32_t code)
{
    stream->blamed |= !stream->closing;
    http2_stream_reset(stream, code);
}

void
http2__stream_error(struct http2_session *session, int32_t id, uint32_t code)
{
    struct http2_stream *stream = http2__stream_of(session, id);
    if (stream) {
        http2__stream_blame(stream, code);
        return;
    }
    put_reset(session, id, code);
    (void)http2__charge(session, &session->resets, HTTP2_CALM_RESETS);
}

void
http2__stream_ended(struct http2_stream *stream, struct fr_view trailers)
{
    struct http2_session *session = stream->session;
    stream->ended = true;
    session->handlers.on_end(session->ctx, stream, trailers);
    if (stream->finished)
        http2__stream_closes(stream, HTTP2_NO_ERROR);
}

/* ---- what its owner asks for ----------------------------------------------------------------- */

void
http2_stream_reset(struct http2_stream *stream, uint32_t code)
{
    struct http2_session *session = stream->session;
    if (!session || stream->reset || stream->closing || session->mute)
        return;
    stream->reset = true;
    put_reset(session, stream->id, code);
    http2__stream_closes(stream, code);
}

/* Half of a window that is used up is given back in one go. */
static bool
is_due(uint32_t consumed, int32_t window)
{
    return consumed > 0 && consumed >= (uint32_t)window / 2;
}

void
http2_stream_consume(struct http2_session *session, struct http2_stream *stream, size_t bytes)
{
    if (bytes == 0 || session->over)
        return;
    session->consumed += (uint32_t)bytes;
    if (is_due(session->consumed, (int32_t)session->limits.connection_window_bytes)) {
        http2__put_window_update(session, 0, session->consumed);
        session->receive_window += (int32_t)session->consumed;
        session->consumed = 0;
    }
    if (!stream->session || stream->ended || stream->closing)
        return;
    stream->consumed += (uint32_t)bytes;
    if (is_due(stream->consumed, session->stream_receive_window)) {
        http2__put_window_update(session, stream->id, stream->consumed);
        stream->receive_window += (int32_t)stream->consumed;
        stream->consumed = 0;
    }
}

size_t
http2_stream_window(const struct http2_stream *stream)
{
    const struct http2_session *session = stream->session;
    if (!session || session->over)
        return 0;
    int32_t least =
        stream->send_window < session->send_window ? stream->send_window : session->send_window;
    return least > 0 ? (size_t)least : 0;
}
