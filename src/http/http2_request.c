/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_request.c - HEADERS and CONTINUATION: requests' heads, and their trailers.
 *
 * May touch:  base.
 * Memory:     a head in one frame is read where it lies; others are put together first. Fields go
 *             into their owner's buffer.
 * Limits:     see http2_limits.c; the owner's buffer and field_count_max.
 * Trusts:     nothing. hpack_decode.c checks the block, http2_head.c its fields.
 * Follows:    RFC 9113 sections 5.1, 6.2, 6.10 and 8.1.
 *
 * A block is decoded whatever becomes of its stream: the table is the connection's.
 */
#include "http/http2_priv.h"

#define HEAD_BYTES_FIELD 32 /* RFC 9113 section 6.5.2: what a field counts beside its text */
#define PRIORITY_BYTES 5

/* ---- whose it is ----------------------------------------------------------------------------- */

static void
writer_begin(struct http2_session *session, struct http2_stream *stream, bool trailers)
{
    struct fr_buf *out = trailers ? &stream->trailers : stream->head;
    http2_writer_begin(&stream->writer, trailers ? HTTP2_TRAILERS : HTTP2_REQUEST, out,
                       trailers ? NULL : stream->lines, session->limits.head.field_count_max);
    stream->verdict = HTTP2_FINE;
}

/* The stream that takes the fields; NULL: nobody does. */
static struct http2_stream *
owner_of(struct http2_session *session, int32_t id, bool ends_stream)
{
    struct http2_stream *stream = http2__stream_of(session, id);
    /* It was reset, or comes too late: http2_limits.c has judged the others. */
    if (!stream && (id <= session->last_id || session->leaving)) {
        (void)http2__charge(session, &session->idle_frames, HTTP2_CALM_FRAMES);
        return NULL;
    }
    if (!stream) {
        stream = http2__stream_open(session, id);
        if (stream)
            writer_begin(session, stream, false);
        return stream;
    }
    if (stream->reset || stream->closing)
        return NULL;
    if (stream->ended || !ends_stream) { /* trailers twice, or without an end: section 8.1 */
        http2__stream_blame(stream, stream->ended ? HTTP2_STREAM_CLOSED : HTTP2_PROTOCOL_ERROR);
        return NULL;
    }
    writer_begin(session, stream, true);
    return stream;
}

/* ---- its fields ------------------------------------------------------------------------------ */

static void
field_write(struct http2_stream *stream, const struct hpack_field *field)
{
    struct hpack_table *table = &stream->session->decoder.table;
    uint8_t found = hpack_table_mark(table, field->index);
    if (stream->verdict != HTTP2_FINE)
        return;
    stream->verdict = http2_writer_field(&stream->writer, field->name, field->value,
                                         field->never_indexed, &found);
    if (stream->verdict == HTTP2_FINE)
        hpack_table_set_mark(table, field->index, found);
    if (!stream->begun && !stream->prioritised && field->name.len == 8 &&
        fr_view_is(field->name, "priority")) {
        struct http2__priority priority = http2__priority_read(field->value);
        stream->urgency = priority.urgency;
        stream->incremental = priority.incremental;
    }
}

/* The block begins with a change of the table's size: RFC 7541 section 6.3. */
static bool
is_resize(struct fr_view block)
{
    return ((uint8_t)block.ptr[0] & 0xe0) == 0x20;
}

/* False: the connection is over. */
static bool
block_read(struct http2_session *session, struct fr_view bytes, struct http2_stream *owner)
{
    struct hpack_block block = hpack_block_begin(bytes);
    struct hpack_field field;
    enum hpack_step step;
    const struct hpack_table *table = &session->decoder.table;
    uint32_t added = table->added, count = table->count;
    bool comes_again = owner && !owner->begun;
    if (comes_again && http2__again_write(session, bytes, owner))
        return true;
    session->head_bytes = 0;
    while ((step = hpack_decode(&session->decoder, &block, &field)) == HPACK_FIELD) {
        if (!http2__judge_field(session, field.name.len + field.value.len + HEAD_BYTES_FIELD))
            return false;
        if (owner)
            field_write(owner, &field);
        comes_again &= !field.never_indexed;
    }
    hpack_decoder_rest(&session->decoder);
    if (comes_again && step == HPACK_END && owner->verdict == HTTP2_FINE && bytes.len > 0 &&
        !is_resize(bytes) && table->added == added && table->count == count)
        http2__again_note(session, bytes, owner);
    if (step == HPACK_NO_MEMORY)
        http2__ran_out(session, HTTP2_CALM_MEMORY);
    else if (step == HPACK_BAD)
        http2_session_end(session, HTTP2_COMPRESSION_ERROR);
    return !session->over;
}

static void
refuse(struct http2_session *session, struct http2_stream *stream, bool trailers)
{
    bool large = stream->verdict == HTTP2_TOO_LARGE;
    if (large && !trailers)
        session->handlers.on_refused(session->ctx, stream, stream->writer.words);
    else if (stream->verdict == HTTP2_NO_MEMORY)
        http2_stream_reset(stream, HTTP2_INTERNAL_ERROR);
    else
        http2__stream_blame(stream, large ? HTTP2_ENHANCE_YOUR_CALM : HTTP2_PROTOCOL_ERROR);
}

/* Of a body whose length is told no octet may be missing or too many: section 8.1.1. */
static void
count_body(struct http2_stream *stream, bool end_stream)
{
    stream->counted = stream->writer.has_length;
    stream->body_left = stream->writer.length;
    if (end_stream && stream->counted && stream->body_left > 0 && stream->verdict == HTTP2_FINE)
        stream->verdict = HTTP2_MALFORMED;
}

static void
head_done(struct http2_session *session, struct http2_stream *stream, bool end_stream)
{
    bool trailers = stream->begun;
    struct fr_view text = {0};
    if (!trailers) {
        stream->ended = end_stream;
        count_body(stream, end_stream);
    } else if (stream->counted && stream->body_left > 0) {
        stream->verdict = HTTP2_MALFORMED;
    }
    if (stream->verdict == HTTP2_FINE)
        stream->verdict = http2_writer_end(&stream->writer, end_stream, &text);
    stream->begun = true;
    if (stream->verdict != HTTP2_FINE) {
        refuse(session, stream, trailers);
        return;
    }
    if (trailers) {
        http2__stream_ended(stream, text);
        return;
    }
    session->handlers.on_head(session->ctx, stream, text, end_stream);
}

/* ---- its frames ------------------------------------------------------------------------------ */

static void
block_done(struct http2_session *session, struct fr_view block)
{
    int32_t id = session->head_stream;
    session->head_stream = 0;
    struct http2_stream *owner = owner_of(session, id, session->head_ends_stream);
    if (!session->over && block_read(session, block, owner) && owner)
        head_done(session, owner, session->head_ends_stream);
}

/* False: the connection is over. */
static bool
gather(struct http2_session *session, struct fr_view fragment)
{
    if (fr_buf_append_view(&session->block, fragment) == FR_OK)
        return true;
    http2__ran_out(session, HTTP2_CALM_MEMORY);
    return false;
}

/* Takes padding and the old priority off; false: there is less than that. */
static bool
fragment_of(const struct http2_frame *frame, struct fr_view *payload)
{
    size_t front = 0, pad = 0;
    if (frame->flags & HTTP2_FLAG_PADDED) {
        front++;
        pad = payload->len > 0 ? (uint8_t)payload->ptr[0] : 0;
    }
    if (frame->flags & HTTP2_FLAG_PRIORITY)
        front += PRIORITY_BYTES;
    if (front + pad > payload->len)
        return false;
    *payload = fr_view_make(payload->ptr + front, payload->len - front - pad);
    return true;
}

void
http2__headers(struct http2_session *session, const struct http2_frame *frame,
               struct fr_view payload)
{
    if (!fragment_of(frame, &payload)) {
        http2_session_end(session, HTTP2_PROTOCOL_ERROR);
        return;
    }
    session->head_ends_stream = frame->flags & HTTP2_FLAG_END_STREAM;
    if (frame->flags & HTTP2_FLAG_END_HEADERS)
        block_done(session, payload);
    else if (payload.len > 0)
        (void)gather(session, payload);
}

void
http2__continuation(struct http2_session *session, const struct http2_frame *frame,
                    struct fr_view payload)
{
    if (payload.len > 0 && !gather(session, payload))
        return;
    if (!(frame->flags & HTTP2_FLAG_END_HEADERS))
        return;
    block_done(session, fr_buf_view(&session->block));
    fr_buf_fini(&session->block);
}
