/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_limits.c - what one connection may cost before it is told to be calm.
 *
 * May touch:  base.
 * Limits:     resets: streams that end before their answer, whoever resets them, so that a client
 *             gains nothing by making us do it, or that it ends within its answer. idle_frames:
 *             frames that ask for work and carry nothing. Heads: their frames, their bytes as sent
 *             and as decoded.
 * When full:  GOAWAY with ENHANCE_YOUR_CALM, and nothing more is read.
 * Follows:    RFC 9113 section 10.5.
 *
 * A budget holds what is allowed at once and fills up again by a tenth of that a second. What a
 * client does that is of use gives some back: an answer that it took to its end, and a DATA frame
 * of ours, which it has to answer with WINDOW_UPDATE.
 */
#include "http/http2_priv.h"

#define HEAD_FRAMES_MAX 8     /* HEADERS and its CONTINUATIONs */
#define HEAD_WIRE_SLACK 16384 /* beyond head_bytes_max: HPACK can also make a head longer */
#define HEAD_DECODED_FACTOR 4 /* a head that is this many times too long is made to hurt */
#define ACKS_MAX 1000         /* of SETTINGS and PING that the client has not read yet */
#define MILLI 1000
#define US_PER_MILLI_OF_TENTH 10000 /* a tenth of the burst a second, in thousandths */

void
http2__budget_init(struct http2__budget *budget, uint32_t burst)
{
    *budget = (struct http2__budget){burst, (int64_t)burst * MILLI};
}

static void
refill(struct http2__budget *budget, int64_t passed_us)
{
    int64_t full = (int64_t)budget->burst * MILLI;
    if (passed_us > 10000000)
        passed_us = 10000000; /* it is full by then */
    budget->left_milli += (int64_t)budget->burst * passed_us / US_PER_MILLI_OF_TENTH;
    if (budget->left_milli > full)
        budget->left_milli = full;
}

void
http2__budgets_refill(struct http2_session *session, int64_t now_us)
{
    int64_t passed_us = now_us - session->now_us;
    if (passed_us < US_PER_MILLI_OF_TENTH)
        return;
    session->now_us = now_us;
    refill(&session->resets, passed_us);
    refill(&session->idle_frames, passed_us);
}

void
http2__give_back(struct http2__budget *budget, uint32_t count)
{
    int64_t full = (int64_t)budget->burst * MILLI;
    budget->left_milli += (int64_t)count * MILLI;
    if (budget->left_milli > full)
        budget->left_milli = full;
}

void
http2__calm(struct http2_session *session, enum http2_calm calm)
{
    if (session->over)
        return;
    session->calm = calm;
    http2_session_end(session, HTTP2_ENHANCE_YOUR_CALM);
}

bool
http2__charge(struct http2_session *session, struct http2__budget *budget, enum http2_calm calm)
{
    budget->left_milli -= MILLI;
    if (budget->left_milli >= 0)
        return true;
    http2__calm(session, calm);
    return false;
}

static void
judge_head_frame(struct http2_session *session, const struct http2_frame *frame)
{
    if (frame->type == HTTP2_HEADERS) {
        session->head_frames = 0;
        session->head_wire_bytes = 0;
    }
    session->head_frames++;
    session->head_wire_bytes += frame->length;
    if (session->head_frames > HEAD_FRAMES_MAX ||
        session->head_wire_bytes > session->limits.head.head_bytes_max + HEAD_WIRE_SLACK)
        http2__calm(session, HTTP2_CALM_HEADS);
}

/* Where a head may begin: sections 5.1 and 5.1.1. */
static enum http2_code
judge_head_stream(struct http2_session *session, int32_t id)
{
    if (id % 2 == 0)
        return HTTP2_PROTOCOL_ERROR;
    if (id > session->last_id || http2__stream_of(session, id) || http2__was_reset(session, id))
        return HTTP2_NO_ERROR;
    return http2__was_opened(session, id) ? HTTP2_STREAM_CLOSED
                                          : HTTP2_PROTOCOL_ERROR; /* its turn has passed */
}

/* What is wrong with a frame where it comes, whatever it says. */
static enum http2_code
judge_place(struct http2_session *session, const struct http2_frame *frame)
{
    bool in_head = session->head_stream != 0, continues = frame->type == HTTP2_CONTINUATION;
    if (frame->length > HTTP2_FRAME_BYTES_MAX) /* section 4.2 */
        return HTTP2_FRAME_SIZE_ERROR;
    if (!session->settled && (frame->type != HTTP2_SETTINGS || (frame->flags & HTTP2_FLAG_ACK)))
        return HTTP2_PROTOCOL_ERROR; /* section 3.4 */
    if (in_head != continues || (in_head && frame->stream_id != session->head_stream))
        return HTTP2_PROTOCOL_ERROR; /* section 6.10 */
    return frame->type == HTTP2_HEADERS ? judge_head_stream(session, frame->stream_id)
                                        : HTTP2_NO_ERROR;
}

static bool
is_head(const struct http2_frame *frame)
{
    return frame->type == HTTP2_HEADERS || frame->type == HTTP2_CONTINUATION;
}

/* It asks for work and carries nothing: SETTINGS, PING, PRIORITY, WINDOW_UPDATE, and what nobody
 * knows. A reset is judged where its stream ends. */
static bool
is_idle(const struct http2_frame *frame)
{
    if (frame->type == HTTP2_DATA)
        return frame->length == 0 && !(frame->flags & HTTP2_FLAG_END_STREAM);
    return frame->type != HTTP2_RST_STREAM;
}

void
http2__judge_frame(struct http2_session *session, const struct http2_frame *frame)
{
    enum http2_code code = judge_place(session, frame);
    if (code != HTTP2_NO_ERROR)
        http2_session_end(session, code);
    else if (is_head(frame))
        judge_head_frame(session, frame);
    else if (is_idle(frame) && http2__charge(session, &session->idle_frames, HTTP2_CALM_FRAMES) &&
             session->acks > ACKS_MAX)
        http2__calm(session, HTTP2_CALM_FRAMES);
}

bool
http2__judge_field(struct http2_session *session, size_t bytes)
{
    session->head_bytes += bytes;
    if (session->head_bytes <= HEAD_DECODED_FACTOR * session->limits.head.head_bytes_max)
        return true;
    http2__calm(session, HTTP2_CALM_HEADS);
    return false;
}
