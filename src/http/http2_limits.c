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

#define FRAME_BYTES_MAX 16384 /* SETTINGS_MAX_FRAME_SIZE as it is when nobody says otherwise */
#define HEAD_FRAMES_MAX 8     /* HEADERS and its CONTINUATIONs */
#define HEAD_WIRE_SLACK 16384 /* beyond head_bytes_max: HPACK can also make a head longer */
#define HEAD_DECODED_FACTOR 4 /* a head that is this many times too long is made to hurt */
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
    session->over = true;
    session->calm = calm;
    int result = nghttp2_session_terminate_session(session->ng, NGHTTP2_ENHANCE_YOUR_CALM);
    (void)http2__mem_ran_out(session, result);
}

static int
pass_over(nghttp2_session *ng, void **payload, const nghttp2_frame_hd *hd, void *user)
{
    (void)ng, (void)payload, (void)hd, (void)user;
    return NGHTTP2_ERR_CANCEL;
}

void
http2__tell_of_unknown(nghttp2_session_callbacks *callbacks, nghttp2_option *option, unsigned but)
{
    nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, pass_over);
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
        if (type != but)
            nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
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
judge_head_frame(struct http2_session *session, const nghttp2_frame_hd *hd)
{
    if (hd->type == NGHTTP2_HEADERS) {
        session->head_frames = 0;
        session->head_wire_bytes = 0;
    }
    session->head_frames++;
    session->head_wire_bytes += hd->length;
    if (session->head_frames > HEAD_FRAMES_MAX ||
        session->head_wire_bytes > session->limits.head.head_bytes_max + HEAD_WIRE_SLACK)
        http2__calm(session, HTTP2_CALM_HEADS);
}

/* What nghttp2 passes over, and RFC 9113 calls an error of the connection. */
static bool
is_broken(struct http2_session *session, const nghttp2_frame_hd *hd)
{
    int32_t id = hd->stream_id;
    uint32_t code = NGHTTP2_NO_ERROR;
    if (hd->length > FRAME_BYTES_MAX) /* section 4.2 */
        code = NGHTTP2_FRAME_SIZE_ERROR;
    else if (hd->type == NGHTTP2_PRIORITY && id == 0) /* section 6.3 */
        code = NGHTTP2_PROTOCOL_ERROR;
    else if (hd->type == NGHTTP2_HEADERS && id > 0 &&
             id <= nghttp2_session_get_last_proc_stream_id(session->ng) &&
             !nghttp2_session_find_stream(session->ng, id)) {
        const struct http2__past *past = http2__past_of(session, id);
        if (past->id != id) /* section 5.1.1: its turn has passed */
            code = NGHTTP2_PROTOCOL_ERROR;
        else if (!past->reset) /* section 5.1 */
            code = NGHTTP2_STREAM_CLOSED;
    }
    if (code != NGHTTP2_NO_ERROR)
        http2_session_end(session, code);
    return code != NGHTTP2_NO_ERROR;
}

void
http2__judge_frame(struct http2_session *session, const nghttp2_frame_hd *hd)
{
    if (is_broken(session, hd))
        return;
    switch (hd->type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_CONTINUATION:
        judge_head_frame(session, hd);
        return;
    case NGHTTP2_RST_STREAM: /* judged where a stream ends */
        return;
    case NGHTTP2_DATA:
        if (hd->length > 0 || (hd->flags & NGHTTP2_FLAG_END_STREAM))
            return;
        break;
    default: /* SETTINGS, PING, PRIORITY, WINDOW_UPDATE, and what nobody knows */
        break;
    }
    (void)http2__charge(session, &session->idle_frames, HTTP2_CALM_FRAMES);
}

bool
http2__judge_field(struct http2_session *session, struct http2_stream *stream, size_t bytes)
{
    stream->head_bytes += bytes;
    if (stream->head_bytes <= HEAD_DECODED_FACTOR * session->limits.head.head_bytes_max)
        return true;
    http2__calm(session, HTTP2_CALM_HEADS);
    return false;
}
