/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_send.c - responses into frames: heads, bodies by reference, trailers, resets.
 *
 * May touch:  base.
 * Memory:     all frames but DATA wait in one buffer, in the order in which they were made, so that
 *             HPACK's blocks leave in the order of its table. DATA is written straight into the
 *             room of whoever fills.
 * Limits:     HTTP2__OUT_BYTES_MAX; beyond it, as without memory, the session is over.
 * Cost:       one copy of a body, whose frames are as long as the room allows.
 * Follows:    RFC 9113 sections 4.3, 6.1, 6.9 and 8.1.
 */
#include "http/http2_priv.h"

#include "base/fr_check.h"
#include "base/fr_put.h"

#define DATA_BYTES_MIN 1024
#define OUT_KEPT_BYTES 16384 /* while there are streams */
#define OUT_IDLE_BYTES 512

void
http2__ran_out(struct http2_session *session, enum http2_calm calm)
{
    if (session->calm == HTTP2_CALM_NONE)
        session->calm = calm;
    session->over = session->mute = true;
}

uint64_t
http2__out_end(const struct http2_session *session)
{
    return session->out_gone + (session->out.len - session->out_taken);
}

/* Room for so many octets more; NULL: there is none, and the session is over. What is gone makes
 * room for what comes: it may be long before all is gone at once. */
static char *
out_room(struct http2_session *session, size_t bytes)
{
    if (session->mute)
        return NULL;
    if (session->out_taken > OUT_KEPT_BYTES && session->out_taken > session->out.len / 2) {
        fr_buf_consume(&session->out, session->out_taken);
        session->out_taken = 0;
    }
    enum fr_err err = fr_buf_reserve(&session->out, bytes);
    if (err != FR_OK) {
        http2__ran_out(session, err == FR_ERR_FULL ? HTTP2_CALM_UNREAD : HTTP2_CALM_MEMORY);
        return NULL;
    }
    return session->out.data + session->out.len;
}

static void
out_end(struct http2_session *session, const char *end)
{
    session->out.len = (size_t)(end - session->out.data);
}

/* ---- frames ---------------------------------------------------------------------------------- */

void
http2__put_frame(struct http2_session *session, struct http2_frame frame, struct fr_view payload)
{
    char *at = out_room(session, HTTP2_FRAME_HEAD_BYTES + payload.len);
    if (!at)
        return;
    frame.length = (uint32_t)payload.len;
    at = http2_frame_put(at, frame);
    out_end(session, fr_put(at, payload));
}

static void
put_number(struct http2_session *session, uint8_t type, int32_t id, uint32_t number)
{
    char payload[4];
    (void)http2_u32_put(payload, number);
    http2__put_frame(session, (struct http2_frame){.type = type, .stream_id = id},
                     fr_view_make(payload, sizeof(payload)));
}

void
http2__put_reset(struct http2_session *session, int32_t id, uint32_t code)
{
    put_number(session, HTTP2_RST_STREAM, id, code);
}

void
http2__put_window_update(struct http2_session *session, int32_t id, uint32_t bytes)
{
    put_number(session, HTTP2_WINDOW_UPDATE, id, bytes);
}

void
http2__put_goaway(struct http2_session *session, int32_t last_id, uint32_t code)
{
    char payload[8];
    (void)http2_u32_put(http2_u32_put(payload, (uint32_t)last_id), code);
    http2__put_frame(session, (struct http2_frame){.type = HTTP2_GOAWAY},
                     fr_view_make(payload, sizeof(payload)));
}

void
http2__put_settings(struct http2_session *session)
{
    const struct http2_limits *limits = &session->limits;
    const struct {
        enum http2_setting id;
        uint32_t value;
    } rows[] = {
        {HTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams},
        {HTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits->stream_window_bytes},
        {HTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->head.head_bytes_max},
        {HTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
        {HTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    char payload[sizeof(rows) / sizeof(rows[0]) * 6], *at = payload;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        *at++ = 0;
        *at++ = (char)rows[i].id;
        at = http2_u32_put(at, rows[i].value);
    }
    http2__put_frame(session, (struct http2_frame){.type = HTTP2_SETTINGS},
                     fr_view_make(payload, sizeof(payload)));
}

/* A block that is longer than a frame goes on in CONTINUATION: from the last piece on, each moves
 * by the heads of those in front of it. */
static char *
split_block(char *head, size_t block_bytes, struct http2_frame frame)
{
    size_t more = (block_bytes - 1) / HTTP2_FRAME_BYTES_MAX;
    char *block = head + HTTP2_FRAME_HEAD_BYTES;
    for (size_t i = more; i > 0; i--) {
        size_t from = i * HTTP2_FRAME_BYTES_MAX;
        size_t bytes = i == more ? block_bytes - from : HTTP2_FRAME_BYTES_MAX;
        char *to = block + from + i * HTTP2_FRAME_HEAD_BYTES;
        memmove(to, block + from, bytes);
        (void)http2_frame_put(to - HTTP2_FRAME_HEAD_BYTES,
                              (struct http2_frame){
                                  .length = (uint32_t)bytes,
                                  .type = HTTP2_CONTINUATION,
                                  .flags = i == more ? HTTP2_FLAG_END_HEADERS : 0,
                                  .stream_id = frame.stream_id,
                              });
    }
    frame.flags &= (uint8_t)~HTTP2_FLAG_END_HEADERS;
    frame.length = HTTP2_FRAME_BYTES_MAX;
    (void)http2_frame_put(head, frame);
    return block + block_bytes + more * HTTP2_FRAME_HEAD_BYTES;
}

static bool
put_head(struct http2_stream *stream, struct http2_split *split, bool end)
{
    struct http2_session *session = stream->session;
    size_t bytes = HPACK_BEGIN_BYTES_MAX;
    fr_require(!split->encoder || split->encoder == &session->encoder);
    for (size_t i = 0; i < split->count; i++)
        bytes += hpack_bytes_max(&split->fields[i]);
    bytes += HTTP2_FRAME_HEAD_BYTES * (1 + bytes / HTTP2_FRAME_BYTES_MAX);
    char *head = out_room(session, bytes);
    if (!head)
        return false;
    char *block = head + HTTP2_FRAME_HEAD_BYTES, *at;
    at = hpack_put_head(&session->encoder, block, split->fields, split->count);
    struct http2_frame frame = {
        .length = (uint32_t)(at - block),
        .type = HTTP2_HEADERS,
        .flags = (uint8_t)(HTTP2_FLAG_END_HEADERS | (end ? HTTP2_FLAG_END_STREAM : 0)),
        .stream_id = stream->id,
    };
    if (frame.length > HTTP2_FRAME_BYTES_MAX)
        at = split_block(head, frame.length, frame);
    else
        (void)http2_frame_put(head, frame);
    out_end(session, at);
    return true;
}

/* ---- the end of a response ------------------------------------------------------------------- */

static void
note_taken(struct http2_stream *stream)
{
    stream->sending = false;
    fr_list_remove(&stream->taken_link); /* its owner may not have asked yet for the last time */
    fr_list_push_back(&stream->session->taken, &stream->taken_link);
}

/* END_STREAM is said. Where the answer is whole and the request is not, the rest is not wanted (RFC
 * 9113 section 8.1); of a tunnel it is. */
static void
finish(struct http2_stream *stream)
{
    stream->finished = true;
    if (stream->ended)
        http2__stream_closes(stream, HTTP2_NO_ERROR);
    else if (!stream->switched)
        http2_stream_reset(stream, HTTP2_NO_ERROR);
}

/* Whether trailers follow the last part: they are read into the session's split. */
static bool
read_trailers(struct http2_stream *stream)
{
    struct http2_split *split = stream->session->split;
    size_t used;
    if (stream->trailing.len == 0)
        return false;
    http2_split_begin(split, HTTP2_TRAILERS);
    return http2_split_read(split, stream->trailing, &used) == HTTP_DONE && split->count > 0;
}

/* The end alone. */
static void
put_end(struct http2_stream *stream)
{
    struct http2_session *session = stream->session;
    if (!read_trailers(stream))
        http2__put_frame(session,
                         (struct http2_frame){.type = HTTP2_DATA,
                                              .flags = HTTP2_FLAG_END_STREAM,
                                              .stream_id = stream->id},
                         (struct fr_view){0});
    else if (!put_head(stream, session->split, true))
        return;
    note_taken(stream);
    finish(stream);
}

/* ---- what streams are given ------------------------------------------------------------------ */

void
http2_stream_split(struct http2_stream *stream, struct http2_split *split)
{
    http2_split_begin(split, HTTP2_RESPONSE);
    if (stream->session)
        split->encoder = &stream->session->encoder;
}

bool
http2_stream_head(struct http2_stream *stream, struct http2_split *head, bool end)
{
    if (!stream->session || stream->reset || stream->closing || stream->session->over)
        return true; /* its end is on its way to the owner */
    bool interim = head->status < 200 && head->status != 101;
    if (!put_head(stream, head, end && !interim))
        return false;
    if (interim)
        return true;
    stream->answered = true;
    stream->switched = head->status == 101;
    if (end) {
        stream->last = true;
        finish(stream);
    }
    return true;
}

void
http2__stream_look(struct http2_stream *stream)
{
    if (stream->sending && stream->left > 0 && stream->send_window > 0 && !stream->closing)
        http2__ready(stream);
    else
        http2__unready(stream);
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
    if (!stream->session || stream->closing)
        return; /* its owner will hear of its end */
    if (stream->left == 0 && last)
        put_end(stream);
    else
        http2__stream_look(stream);
}

/* ---- filling --------------------------------------------------------------------------------- */

struct room {
    char *at, *end;
};

static size_t
left_of(const struct room *room)
{
    return (size_t)(room->end - room->at);
}

/* False: it did not all fit. */
static bool
fill_out(struct http2_session *session, struct room *room)
{
    size_t bytes = session->out.len - session->out_taken;
    if (bytes == 0)
        return true;
    if (bytes > left_of(room))
        bytes = left_of(room);
    room->at = fr_put(room->at, fr_view_make(session->out.data + session->out_taken, bytes));
    session->out_taken += bytes;
    session->out_gone += bytes;
    if (session->out_taken < session->out.len)
        return false;
    session->out_taken = 0;
    session->acks = 0;
    if (session->out.cap > (session->open ? OUT_KEPT_BYTES : OUT_IDLE_BYTES))
        fr_buf_fini(&session->out);
    else
        fr_buf_clear(&session->out);
    return true;
}

/* How long the stream's next frame is; 0: the next room's. */
static size_t
frame_bytes(const struct http2_stream *stream, const struct room *room)
{
    size_t bytes = stream->left, window = http2_stream_window(stream), left = left_of(room);
    if (bytes > HTTP2_FRAME_BYTES_MAX)
        bytes = HTTP2_FRAME_BYTES_MAX;
    if (bytes > window)
        bytes = window;
    if (bytes + HTTP2_FRAME_HEAD_BYTES <= left)
        return bytes;
    /* What is left would make a frame hardly worth its head. */
    return left < DATA_BYTES_MIN + HTTP2_FRAME_HEAD_BYTES ? 0 : left - HTTP2_FRAME_HEAD_BYTES;
}

static void
copy_parts(struct http2_stream *stream, struct room *room, size_t bytes)
{
    while (bytes > 0) {
        struct iovec *part = &stream->parts[stream->part_first];
        size_t some = part->iov_len < bytes ? part->iov_len : bytes;
        room->at = fr_put(room->at, fr_view_make(part->iov_base, some));
        part->iov_base = (char *)part->iov_base + some;
        part->iov_len -= some;
        bytes -= some;
        stream->part_first += part->iov_len == 0;
    }
}

static void
put_data(struct http2_stream *stream, struct room *room, size_t bytes)
{
    struct http2_session *session = stream->session;
    bool end = stream->last && bytes == stream->left;
    bool trailers = end && read_trailers(stream);
    room->at = http2_frame_put(room->at, (struct http2_frame){
                                             .length = (uint32_t)bytes,
                                             .type = HTTP2_DATA,
                                             .flags = end && !trailers ? HTTP2_FLAG_END_STREAM : 0,
                                             .stream_id = stream->id,
                                         });
    copy_parts(stream, room, bytes);
    stream->left -= bytes;
    stream->taken_bytes += bytes;
    stream->send_window -= (int32_t)bytes;
    session->send_window -= (int32_t)bytes;
    http2__give_back(&session->idle_frames, 2);
    http2__ready_turn(stream);
    http2__stream_look(stream);
    if (stream->left > 0)
        return;
    note_taken(stream);
    if (end && (!trailers || put_head(stream, session->split, true)))
        finish(stream);
}

size_t
http2_session_fill(struct http2_session *session, char *buf, size_t buf_bytes)
{
    struct room room = {buf, buf + buf_bytes};
    fr_require(buf_bytes > HTTP2_FRAME_HEAD_BYTES);
    http2__streams_settle(session);
    while (!session->mute && fill_out(session, &room) && !session->over &&
           session->send_window > 0) {
        struct http2_stream *stream = http2__ready_first(session);
        size_t bytes = stream ? frame_bytes(stream, &room) : 0;
        if (bytes == 0)
            break;
        put_data(stream, &room, bytes);
    }
    http2__streams_settle(session);
    return (size_t)(room.at - buf);
}

struct http2_stream *
http2_session_taken(struct http2_session *session)
{
    struct fr_list *link = fr_list_pop_front(&session->taken);
    return link ? FR_CONTAINER(link, struct http2_stream, taken_link) : NULL;
}
