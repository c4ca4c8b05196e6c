/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_session.c - the server's side of one HTTP/2 connection: frames into requests.
 *
 * May touch:  base, nghttp2.
 * Memory:     one struct and what nghttp2 takes (http2_memory.c); heads go into their owner's
 *             buffer.
 * Limits:     see http2_limits.c; streams at once.
 * Trusts:     nothing. nghttp2 checks frames, their order, windows, HPACK and lengths; http2_head.c
 *             checks fields once more, by our own rules.
 * Follows:    RFC 9113 sections 3.4, 5.1, 6 and 8.
 *
 *     stream:  on_open -> fields -> on_head -> on_data ... -> on_end
 *                            '----- on_closed, at any time, once -----'
 */
#include "http/http2_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#define HEAD_BYTES_FIELD 32 /* RFC 9113 section 6.5.2: what a field counts beside its text */

/* ---- streams that are gone --------------------------------------------------------------- */

struct http2__past *
http2__past_of(struct http2_session *session, int32_t id)
{
    return &session->past[(uint32_t)id / 2 % HTTP2__PAST_MAX]; /* a client's ids are odd */
}

/* ---- a request's head ------------------------------------------------------------------------ */

static struct http2_stream *
stream_of(nghttp2_session *ng, int32_t id)
{
    return nghttp2_session_get_stream_user_data(ng, id);
}

static void
head_over(struct http2_session *session)
{
    session->head_stream = 0;
    session->head_owner = NULL;
}

static void
writer_begin(struct http2_session *session, struct http2_stream *stream, bool trailers)
{
    struct fr_buf *out = trailers ? &stream->trailers : stream->head;
    http2_writer_begin(&stream->writer, trailers ? HTTP2_TRAILERS : HTTP2_REQUEST, out,
                       session->limits.head.field_count_max);
    stream->verdict = HTTP2_FINE;
    stream->head_bytes = 0;
}

static int
on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct http2_session *session = user;
    struct http2_stream *stream = stream_of(ng, frame->hd.stream_id);
    session->head_stream = frame->hd.stream_id;
    session->head_owner = NULL;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST) {
        session->head_owner = stream;
        if (stream)
            writer_begin(session, stream, true);
        return 0;
    }
    session->requests++;
    *http2__past_of(session, frame->hd.stream_id) =
        (struct http2__past){frame->hd.stream_id, false};
    if (session->over)
        return 0;
    stream =
        session->open < session->limits.streams ? session->handlers.on_open(session->ctx) : NULL;
    if (!stream) {
        http2__past_of(session, frame->hd.stream_id)->reset = true;
        int result = nghttp2_submit_rst_stream(ng, NGHTTP2_FLAG_NONE, frame->hd.stream_id,
                                               NGHTTP2_REFUSED_STREAM);
        (void)http2__mem_ran_out(session, result);
        (void)http2__charge(session, &session->resets, HTTP2_CALM_RESETS);
        return 0;
    }
    stream->id = frame->hd.stream_id;
    stream->session = session;
    fr_buf_init(&stream->trailers, HTTP_TRAILER_BYTES_MAX);
    fr_list_init(&stream->taken_link);
    session->open++;
    (void)nghttp2_session_set_stream_user_data(ng, stream->id, stream);
    session->head_owner = stream;
    writer_begin(session, stream, false);
    return 0;
}

static int
on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name, size_t name_len,
          const uint8_t *value, size_t value_len, uint8_t flags, void *user)
{
    struct http2_session *session = user;
    struct http2_stream *stream = session->head_owner;
    (void)ng, (void)frame;
    if (session->over)
        return NGHTTP2_ERR_PAUSE;
    if (!stream)
        return 0;
    if (!http2__judge_field(session, stream, name_len + value_len + HEAD_BYTES_FIELD))
        return NGHTTP2_ERR_PAUSE;
    if (stream->verdict == HTTP2_FINE)
        stream->verdict = http2_writer_field(
            &stream->writer, fr_view_make((const char *)name, name_len),
            fr_view_make((const char *)value, value_len), flags & NGHTTP2_NV_FLAG_NO_INDEX);
    return 0;
}

/* nghttp2 would pass over some of them. */
static int
on_invalid_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                  size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                  void *user)
{
    struct http2_stream *stream = stream_of(ng, frame->hd.stream_id);
    (void)name, (void)name_len, (void)value, (void)value_len, (void)flags, (void)user;
    if (stream)
        stream->verdict = HTTP2_MALFORMED;
    return 0;
}

static void
refuse(struct http2_session *session, struct http2_stream *stream, bool trailers)
{
    bool large = stream->verdict == HTTP2_TOO_LARGE;
    if (large && !trailers)
        session->handlers.on_refused(session->ctx, stream, stream->writer.words);
    else if (stream->verdict == HTTP2_NO_MEMORY)
        http2_stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
    else
        http2_stream_reset(stream, large ? NGHTTP2_ENHANCE_YOUR_CALM : NGHTTP2_PROTOCOL_ERROR);
}

/* The whole head, or the whole trailers, have come. */
static void
head_done(struct http2_session *session, struct http2_stream *stream, bool end_stream)
{
    bool trailers = stream->begun;
    struct fr_view text = {0};
    if (stream->verdict == HTTP2_FINE)
        stream->verdict = http2_writer_end(&stream->writer, end_stream, &text);
    if (stream->verdict != HTTP2_FINE) {
        stream->begun = true;
        refuse(session, stream, trailers);
        return;
    }
    stream->begun = true;
    if (trailers) {
        stream->ended = true;
        session->handlers.on_end(session->ctx, stream, text);
        return;
    }
    stream->ended = end_stream;
    session->handlers.on_head(session->ctx, stream, text, end_stream);
}

/* ---- other frames ---------------------------------------------------------------------------- */

static int
on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user)
{
    struct http2_session *session = user;
    (void)ng;
    if (!session->over)
        http2__judge_frame(session, hd);
    return 0;
}

static int
on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct http2_session *session = user;
    struct http2_stream *stream;
    bool end = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        head_over(session);
        stream = stream_of(ng, frame->hd.stream_id);
        if (stream && !session->over && !stream->reset)
            head_done(session, stream, end);
        return 0;
    case NGHTTP2_DATA:
        stream = stream_of(ng, frame->hd.stream_id);
        if (!stream || !end || stream->reset || stream->ended)
            return 0;
        stream->ended = true;
        session->handlers.on_end(session->ctx, stream, (struct fr_view){0});
        return 0;
    case NGHTTP2_PRIORITY_UPDATE:
        if (((const nghttp2_ext_priority_update *)frame->ext.payload)->stream_id == 0)
            http2_session_end(session, NGHTTP2_PROTOCOL_ERROR); /* RFC 9218 section 7.1 */
        return 0;
    default:
        return 0;
    }
}

/* Our own resets, nghttp2's included. */
static int
on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct http2_session *session = user;
    int32_t id = frame->hd.stream_id;
    if (frame->hd.type == NGHTTP2_RST_STREAM && http2__past_of(session, id)->id == id)
        http2__past_of(session, id)->reset = true;
    bool data = frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS;
    if (!data || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    /* The answer is whole and the request is not: the rest is not wanted (RFC 9113 section 8.1).
     * Of a tunnel it is. */
    struct http2_stream *stream = stream_of(ng, id);
    if (stream && !stream->ended && !stream->writer.tunnel)
        http2_stream_reset(stream, NGHTTP2_NO_ERROR);
    return 0;
}

static int
on_invalid_frame(nghttp2_session *ng, const nghttp2_frame *frame, int error, void *user)
{
    struct http2_session *session = user;
    (void)ng, (void)error;
    if (frame->hd.type == NGHTTP2_HEADERS)
        head_over(session);
    return 0;
}

static int
on_data(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *data, size_t len, void *user)
{
    struct http2_session *session = user;
    struct http2_stream *stream = stream_of(ng, id);
    (void)flags;
    if (stream && !stream->reset && !session->over)
        session->handlers.on_data(session->ctx, stream, fr_view_make((const char *)data, len));
    else
        (void)http2__mem_ran_out(session, nghttp2_session_consume(ng, id, len)); /* unread */
    return 0;
}

static int
on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct http2_session *session = user;
    struct http2_stream *stream = stream_of(ng, id);
    if (session->head_stream == id)
        head_over(session);
    if (!stream)
        return 0;
    (void)nghttp2_session_set_stream_user_data(ng, id, NULL);
    /* Whoever resets it, and with whatever code, which is the client's to choose: what the client
     * makes us reset is its doing too. A reset of ours behind a whole answer is none, nor is one
     * that an answer was cut by. */
    bool early = !stream->answered || (!stream->finished && !stream->reset);
    if (early)
        (void)http2__charge(session, &session->resets, HTTP2_CALM_RESETS);
    else if (stream->finished)
        http2__give_back(&session->resets, 1);
    fr_list_remove(&stream->taken_link);
    stream->session = NULL;
    session->open--;
    fr_buf_fini(&stream->trailers);
    session->handlers.on_closed(session->ctx, stream, code);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static enum fr_err
make_ng(struct http2_session *session)
{
    nghttp2_mem mem = http2__mem(session);
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    int failed = nghttp2_session_callbacks_new(&callbacks) || nghttp2_option_new(&option);
    if (!failed) {
        nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
        nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
        nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
        nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
        nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame_recv);
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
        nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_send);
        nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
        nghttp2_session_callbacks_set_send_data_callback(callbacks, http2__send_data);
        nghttp2_session_callbacks_set_data_source_read_length_callback(callbacks,
                                                                       http2__read_length);
        http2__tell_of_unknown(callbacks, option, NGHTTP2_PRIORITY_UPDATE);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_builtin_recv_extension_type(option, NGHTTP2_PRIORITY_UPDATE);
        nghttp2_option_set_max_send_header_block_length(option, UINT16_MAX + 1u);
        failed = nghttp2_session_server_new3(&session->ng, callbacks, session, option, &mem);
    }
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_option_del(option);
    return failed ? FR_ERR_NOMEM : FR_OK;
}

static int
submit_settings(struct http2_session *session)
{
    const struct http2_limits *limits = &session->limits;
    nghttp2_settings_entry settings[] = {
        /* The true number is written over this one: see http2_send.c. */
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, INT32_MAX},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits->stream_window_bytes},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)limits->head.head_bytes_max},
        {NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL, 1},
        {NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
    };
    int failed = nghttp2_submit_settings(session->ng, NGHTTP2_FLAG_NONE, settings,
                                         sizeof(settings) / sizeof(settings[0]));
    if (!failed)
        failed = nghttp2_session_set_local_window_size(session->ng, NGHTTP2_FLAG_NONE, 0,
                                                       (int32_t)limits->connection_window_bytes);
    return failed;
}

enum fr_err
http2_session_new(const struct http2_limits *limits, const struct http2_handlers *handlers,
                  void *ctx, struct http2_session **out)
{
    struct http2_session *session = fr_alloc(sizeof(*session));
    if (!session)
        return FR_ERR_NOMEM;
    session->limits = *limits;
    session->handlers = *handlers;
    session->ctx = ctx;
    fr_list_init(&session->taken);
    fr_list_init(&session->blocks);
    http2__budget_init(&session->resets, limits->resets);
    http2__budget_init(&session->idle_frames, limits->idle_frames);
    if (make_ng(session) != FR_OK || submit_settings(session) != 0) {
        http2_session_free(&session);
        return FR_ERR_NOMEM;
    }
    *out = session;
    return FR_OK;
}

void
http2_session_free(struct http2_session **session)
{
    if (!*session)
        return;
    if (!(*session)->mute)
        nghttp2_session_del((*session)->ng);
    http2__mem_free_all(*session);
    fr_free(*session);
    *session = NULL;
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static uint32_t
code_of(ssize_t error)
{
    switch (error) {
    case NGHTTP2_ERR_FLOODED:
        return NGHTTP2_ENHANCE_YOUR_CALM;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        return NGHTTP2_PROTOCOL_ERROR;
    default:
        return NGHTTP2_INTERNAL_ERROR;
    }
}

void
http2_session_receive(struct http2_session *session, struct fr_view bytes, int64_t now_us)
{
    http2__budgets_refill(session, now_us);
    while (bytes.len > 0 && !session->over) {
        ssize_t used = nghttp2_session_mem_recv(session->ng, (const uint8_t *)bytes.ptr, bytes.len);
        if (http2__mem_ran_out(session, used))
            return;
        if (used < 0) {
            if (used == NGHTTP2_ERR_FLOODED)
                http2__calm(session, HTTP2_CALM_FRAMES);
            else
                http2_session_end(session, code_of(used));
            return;
        }
        bytes.ptr += used;
        bytes.len -= (size_t)used;
    }
}

/* ---- how it stands --------------------------------------------------------------------------- */

bool
http2_session_wants(const struct http2_session *session)
{
    return !session->mute &&
           (session->pending.len > 0 || nghttp2_session_want_write(session->ng) != 0);
}

bool
http2_session_over(const struct http2_session *session)
{
    return !http2_session_wants(session) &&
           (session->over || nghttp2_session_want_read(session->ng) == 0);
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
    if (!session->mute)
        (void)http2__mem_ran_out(session, nghttp2_submit_shutdown_notice(session->ng));
}

void
http2_session_goaway(struct http2_session *session)
{
    if (session->mute)
        return;
    int32_t last = nghttp2_session_get_last_proc_stream_id(session->ng);
    int result =
        nghttp2_submit_goaway(session->ng, NGHTTP2_FLAG_NONE, last, NGHTTP2_NO_ERROR, NULL, 0);
    (void)http2__mem_ran_out(session, result);
}

void
http2_session_end(struct http2_session *session, uint32_t code)
{
    if (session->over)
        return;
    session->over = true;
    (void)http2__mem_ran_out(session, nghttp2_session_terminate_session(session->ng, code));
}
