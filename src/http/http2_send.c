/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_send.c - responses into frames: heads, bodies by reference, trailers, resets.
 *
 * May touch:  base.
 * Memory:     frames are written into the room of whoever fills. What nghttp2 made and did not fit
 *             stays with it until the next fill.
 * Cost:       one copy of a body, whose frames are as long as the room allows.
 * Follows:    RFC 9113 sections 6.1, 6.9 and 8.1.
 */
#include "http/http2_priv.h"

#include "base/fr_check.h"

#define FRAME_HEAD_BYTES 9
#define DATA_BYTES_MAX 16384
#define DATA_BYTES_MIN 1024

/* ---- what nghttp2 asks for ------------------------------------------------------------------- */

static void
note_taken(struct http2_stream *stream)
{
    fr_list_push_back(&stream->session->taken, &stream->taken_link);
}

/* Behind the last byte: the stream's end, or its trailers, which are that end. */
static void
mark_end(struct http2_stream *stream, uint32_t *flags)
{
    struct http2_session *session = stream->session;
    struct http2_split *split = &session->split;
    size_t used;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    stream->finished = true;
    if (stream->trailing.len == 0)
        return;
    http2_split_begin(split, HTTP2_TRAILERS);
    if (http2_split_read(split, stream->trailing, &used) == HTTP_DONE && split->count > 0 &&
        nghttp2_submit_trailer(session->ng, stream->id, split->pairs, split->count) == 0)
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
}

ssize_t
http2__read_length(nghttp2_session *ng, uint8_t type, int32_t id, int32_t session_window,
                   int32_t stream_window, uint32_t frame_bytes_max, void *user)
{
    struct http2_session *session = user;
    (void)ng, (void)type, (void)id;
    size_t room = session->room_bytes - session->room_used;
    size_t bytes = frame_bytes_max < DATA_BYTES_MAX ? frame_bytes_max : DATA_BYTES_MAX;
    if (session_window < stream_window)
        stream_window = session_window;
    if (stream_window >= 0 && bytes > (size_t)stream_window)
        bytes = (size_t)stream_window;
    /* What is left over would make a frame hardly worth its head: the next room's first. */
    if (room >= DATA_BYTES_MIN + FRAME_HEAD_BYTES && bytes > room - FRAME_HEAD_BYTES)
        bytes = room - FRAME_HEAD_BYTES;
    return (ssize_t)bytes;
}

static ssize_t
read_parts(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t length, uint32_t *flags,
           nghttp2_data_source *source, void *user)
{
    struct http2_stream *stream = source->ptr;
    (void)ng, (void)id, (void)buf, (void)user;
    if (stream->reset || (stream->left == 0 && !(stream->sending && stream->last))) {
        stream->deferred = true;
        return NGHTTP2_ERR_DEFERRED;
    }
    size_t bytes = stream->left < length ? stream->left : length;
    if (bytes == stream->left && stream->last)
        mark_end(stream, flags);
    if (bytes == 0) { /* the end alone, for which there may be no frame */
        stream->sending = false;
        note_taken(stream);
        return 0;
    }
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    return (ssize_t)bytes;
}

static void
put(struct http2_session *session, const void *bytes, size_t len)
{
    memcpy(session->room + session->room_used, bytes, len);
    session->room_used += len;
}

int
http2__send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *framehd, size_t length,
                 nghttp2_data_source *source, void *user)
{
    struct http2_session *session = user;
    struct http2_stream *stream = source->ptr;
    (void)ng, (void)frame;
    if (stream->reset) /* its parts are gone */
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    if (session->room_used + FRAME_HEAD_BYTES + length > session->room_bytes)
        return NGHTTP2_ERR_WOULDBLOCK;
    put(session, framehd, FRAME_HEAD_BYTES);
    stream->left -= length;
    stream->taken_bytes += length;
    while (length > 0) {
        struct iovec *part = &stream->parts[stream->part_first];
        size_t bytes = part->iov_len < length ? part->iov_len : length;
        put(session, part->iov_base, bytes);
        part->iov_base = (char *)part->iov_base + bytes;
        part->iov_len -= bytes;
        length -= bytes;
        stream->part_first += part->iov_len == 0;
    }
    http2__give_back(&session->idle_frames, 2);
    if (stream->left == 0 && stream->sending) {
        stream->sending = false;
        note_taken(stream);
    }
    return 0;
}

/* ---- what streams are given ------------------------------------------------------------------ */

bool
http2_stream_head(struct http2_stream *stream, const struct http2_split *head, bool end)
{
    struct http2_session *session = stream->session;
    nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_parts};
    if (!session || session->mute)
        return true; /* its end is on its way to the owner */
    if (head->status < 200 && head->status != 101)
        return nghttp2_submit_headers(session->ng, NGHTTP2_FLAG_NONE, stream->id, NULL, head->pairs,
                                      head->count, NULL) == 0;
    stream->answered = true;
    if (end)
        stream->last = stream->finished = true;
    return nghttp2_submit_response(session->ng, stream->id, head->pairs, head->count,
                                   end ? NULL : &provider) == 0;
}

void
http2_stream_body(struct http2_stream *stream, const struct iovec *parts, int count, bool last,
                  struct fr_view trailers)
{
    fr_require(!stream->sending && count <= HTTP2_PARTS_MAX);
    stream->part_first = stream->part_count = 0;
    stream->left = 0;
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len == 0)
            continue;
        stream->parts[stream->part_count++] = parts[i];
        stream->left += parts[i].iov_len;
    }
    stream->trailing = trailers;
    stream->last = last;
    stream->sending = true;
    if (stream->session && stream->deferred && !stream->session->mute) {
        stream->deferred = false;
        /* Else it fails for a stream that is being closed; its owner will hear of that. */
        int result = nghttp2_session_resume_data(stream->session->ng, stream->id);
        (void)http2__mem_ran_out(stream->session, result);
    }
}

void
http2_stream_reset(struct http2_stream *stream, uint32_t code)
{
    if (!stream->session || stream->reset || stream->session->mute)
        return;
    stream->reset = true;
    int result =
        nghttp2_submit_rst_stream(stream->session->ng, NGHTTP2_FLAG_NONE, stream->id, code);
    (void)http2__mem_ran_out(stream->session, result);
}

size_t
http2_stream_window(const struct http2_stream *stream)
{
    if (!stream->session || stream->session->mute)
        return 0;
    nghttp2_session *ng = stream->session->ng;
    int32_t all = nghttp2_session_get_remote_window_size(ng);
    int32_t own = nghttp2_session_get_stream_remote_window_size(ng, stream->id);
    int32_t least = own < all ? own : all;
    return least > 0 ? (size_t)least : 0; /* below zero by SETTINGS: RFC 9113 section 6.9.2 */
}

void
http2_stream_consume(struct http2_session *session, struct http2_stream *stream, size_t bytes)
{
    if (bytes == 0 || session->mute)
        return;
    int result = stream->session ? nghttp2_session_consume(session->ng, stream->id, bytes)
                                 : nghttp2_session_consume_connection(session->ng, bytes);
    (void)http2__mem_ran_out(session, result);
}

/* ---- filling --------------------------------------------------------------------------------- */

/* nghttp2 ends the connection where a client opens a stream too many, and RFC 9113 section 5.1.2
 * asks for a stream error. So nghttp2 is told of no limit, the client of the true one, and the
 * counting is done here: 00 03, then four bytes. */
static void
tell_streams(const struct http2_session *session, char *settings, size_t bytes)
{
    for (size_t at = FRAME_HEAD_BYTES; at + 6 <= bytes; at += 6) {
        uint32_t streams = session->limits.streams;
        if (settings[at] != 0 || settings[at + 1] != NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS)
            continue;
        for (size_t i = 0; i < 4; i++)
            settings[at + 2 + i] = (char)(uint8_t)(streams >> (24 - 8 * i));
        return;
    }
}

/* False: it did not all fit. */
static bool
put_pending(struct http2_session *session)
{
    size_t room = session->room_bytes - session->room_used;
    size_t bytes = session->pending.len < room ? session->pending.len : room;
    if (bytes == 0)
        return session->pending.len == 0;
    char *at = session->room + session->room_used;
    put(session, session->pending.ptr, bytes);
    if (!session->settled) { /* the first frame of all, and much shorter than the room */
        session->settled = true;
        tell_streams(session, at, bytes);
    }
    session->pending.ptr += bytes;
    session->pending.len -= bytes;
    return session->pending.len == 0;
}

size_t
http2_session_fill(struct http2_session *session, char *room, size_t room_bytes)
{
    fr_require(room_bytes >= FRAME_HEAD_BYTES);
    session->room = room;
    session->room_bytes = room_bytes;
    session->room_used = 0;
    while (!session->mute && put_pending(session)) {
        const uint8_t *data = NULL;
        ssize_t bytes = nghttp2_session_mem_send(session->ng, &data);
        if (http2__mem_ran_out(session, bytes) || bytes <= 0)
            break;
        session->pending = fr_view_make((const char *)data, (size_t)bytes);
    }
    session->room = NULL;
    session->room_bytes = 0;
    return session->room_used;
}

struct http2_stream *
http2_session_taken(struct http2_session *session)
{
    struct fr_list *link = fr_list_pop_front(&session->taken);
    return link ? FR_CONTAINER(link, struct http2_stream, taken_link) : NULL;
}
