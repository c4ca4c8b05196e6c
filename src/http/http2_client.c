/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_client.c - see http2_client.h.
 *
 * May touch:  base, libnghttp2.
 * Shape:      one head is gathered at a time: its frames follow one another on the whole
 *             connection (RFC 9113 section 6.10).
 */
#include "http/http2_client.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <nghttp2/nghttp2.h>

struct http2_client {
    /* set once */
    const struct http2_client_ops *ops;
    void *ctx;
    const struct http_limits *limits;
    nghttp2_session *session;
    /* owner */
    uint32_t open_count; /* until libnghttp2 has closed them */
    bool settled, goaway_came, flooded, broken, http1_required;
    int64_t now_us, idle_from_us;
    int32_t idle_frames;
    struct http2_writer writer;
    struct fr_buf text;
    struct http2_split split;
    nghttp2_nv pairs[HTTP2_SPLIT_MAX]; /* ... as libnghttp2 takes it */
};

/* ---- memory --------------------------------------------------------------------------------- */

static void *
mem_alloc(size_t bytes, void *ctx)
{
    (void)ctx;
    return fr_alloc(bytes);
}

static void
mem_free(void *ptr, void *ctx)
{
    (void)ctx;
    fr_free(ptr);
}

static void *
mem_calloc(size_t count, size_t bytes, void *ctx)
{
    size_t total;
    (void)ctx;
    return __builtin_mul_overflow(count, bytes, &total) ? NULL : fr_alloc(total);
}

static void *
mem_realloc(void *ptr, size_t bytes, void *ctx)
{
    (void)ctx;
    return fr_realloc(ptr, bytes);
}

/* ---- floods --------------------------------------------------------------------------------- */

/* A frame that carries nothing to anybody. An upload is answered with WINDOW_UPDATEs, so that what
 * is sent pays for some. */
static bool
idle_frame(struct http2_client *client)
{
    int64_t passed_us = client->now_us - client->idle_from_us;
    int64_t paid = passed_us * HTTP2_CLIENT_IDLE_FRAMES_A_S / FR_US_PER_S;
    if (paid > 0) {
        client->idle_from_us = client->now_us;
        client->idle_frames -= paid < client->idle_frames ? (int32_t)paid : client->idle_frames;
    }
    client->flooded = ++client->idle_frames > HTTP2_CLIENT_IDLE_FRAMES_MAX;
    return !client->flooded;
}

static void
useful_frame(struct http2_client *client)
{
    client->idle_frames -= client->idle_frames < 8 ? client->idle_frames : 8;
}

static int
on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *hd, void *ctx)
{
    struct http2_client *client = ctx;
    (void)session;
    bool useful =
        hd->type == NGHTTP2_HEADERS || hd->type == NGHTTP2_CONTINUATION ||
        (hd->type == NGHTTP2_DATA && (hd->length > 0 || (hd->flags & NGHTTP2_FLAG_END_STREAM)));
    if (useful)
        useful_frame(client);
    else if (!idle_frame(client))
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    return 0;
}

/* ---- what comes ------------------------------------------------------------------------------ */

static struct http2_call *
stream_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

/* The stream ends, and for that; the first fault tells. */
static int
fault(struct http2_call *stream, enum http2_call_end why)
{
    if (stream->fault == HTTP2_CALL_NONE)
        stream->fault = why;
    return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
}

static int
verdict_fault(struct http2_call *stream, enum http2_verdict verdict)
{
    switch (verdict) {
    case HTTP2_FINE:
        return 0;
    case HTTP2_MALFORMED:
        break;
    case HTTP2_TOO_LARGE:
        return fault(stream, HTTP2_CALL_TOO_LARGE);
    case HTTP2_NO_MEMORY:
        return fault(stream, HTTP2_CALL_NO_MEMORY);
    }
    return fault(stream, HTTP2_CALL_BAD);
}

static int
on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct http2_client *client = ctx;
    struct http2_call *stream = stream_of(session, frame->hd.stream_id);
    if (!stream)
        return 0;
    http2_writer_begin(&client->writer, stream->head_came ? HTTP2_TRAILERS : HTTP2_RESPONSE,
                       &client->text, NULL, client->limits->field_count_max);
    client->writer.answers_head = stream->head_only;
    return 0;
}

static int
on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
          size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *ctx)
{
    struct http2_client *client = ctx;
    struct http2_call *stream = stream_of(session, frame->hd.stream_id);
    if (!stream)
        return 0;
    uint8_t found = 0;
    return verdict_fault(stream, http2_writer_field(&client->writer,
                                                    fr_view_make((const char *)name, name_len),
                                                    fr_view_make((const char *)value, value_len),
                                                    flags & NGHTTP2_NV_FLAG_NO_INDEX, &found));
}

/* libnghttp2 would leave the field out; whoever sends one means no good, or is broken. */
static int
on_invalid_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name,
                  size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags, void *ctx)
{
    struct http2_call *stream = stream_of(session, frame->hd.stream_id);
    (void)name;
    (void)name_len;
    (void)value;
    (void)value_len;
    (void)flags;
    (void)ctx;
    return stream ? fault(stream, HTTP2_CALL_BAD) : 0;
}

static void
reset(struct http2_client *client, struct http2_call *stream, uint32_t error)
{
    if (nghttp2_submit_rst_stream(client->session, NGHTTP2_FLAG_NONE, stream->id, error) != 0)
        client->flooded = true; /* no memory even for that: the connection ends */
}

static void
end_stream(struct http2_client *client, struct http2_call *stream, const nghttp2_frame *frame)
{
    if (!(frame->hd.flags & NGHTTP2_FLAG_END_STREAM) || stream->fault != HTTP2_CALL_NONE)
        return;
    stream->ended = true;
    client->ops->ended(client->ctx, stream);
}

/* RFC 8441 section 5: what its client waits for is the answer to an Upgrade. */
static bool
switched(struct http2_client *client, struct http2_call *stream)
{
    int status = client->writer.status;
    return stream->connect && status >= 200 && status <= 299;
}

/* Of an extended CONNECT libnghttp2 checks no length, whatever the status: a refusal has a body as
 * any response has. */
static void
count_body(struct http2_client *client, struct http2_call *stream)
{
    int status = client->writer.status;
    bool bodiless = status == 204 || status == 304;
    if (!stream->connect || switched(client, stream))
        return;
    stream->counted = bodiless || client->writer.has_length;
    stream->body_left = bodiless ? 0 : client->writer.length;
}

static void
break_rule(struct http2_client *client, struct http2_call *stream)
{
    (void)fault(stream, HTTP2_CALL_BAD);
    reset(client, stream, NGHTTP2_PROTOCOL_ERROR);
}

static void
on_headers(struct http2_client *client, struct http2_call *stream, const nghttp2_frame *frame)
{
    struct fr_view text;
    bool last = frame->hd.flags & NGHTTP2_FLAG_END_STREAM;
    bool trailers = client->writer.kind == HTTP2_TRAILERS, taken;
    enum http2_verdict verdict = http2_writer_end(&client->writer, last, &text);
    if (verdict != HTTP2_FINE)
        (void)verdict_fault(stream, verdict);
    bool final = !trailers && client->writer.status >= 200;
    if (verdict == HTTP2_FINE && final)
        count_body(client, stream);
    if (verdict != HTTP2_FINE || (trailers && !last) || (last && stream->body_left > 0)) {
        break_rule(client, stream);
        return;
    }
    stream->head_came |= final;
    if (!trailers && !final && ++stream->interim_count > HTTP_INTERIM_MAX) {
        (void)fault(stream, HTTP2_CALL_INTERIMS);
        reset(client, stream, NGHTTP2_ENHANCE_YOUR_CALM);
        return;
    }
    if (trailers)
        taken = client->ops->trailers(client->ctx, stream, text);
    else
        taken = client->ops->head(client->ctx, stream, text, switched(client, stream));
    if (!taken) {
        (void)fault(stream, HTTP2_CALL_NO_MEMORY);
        reset(client, stream, NGHTTP2_INTERNAL_ERROR);
        return;
    }
    end_stream(client, stream, frame);
}

static int
on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct http2_client *client = ctx;
    struct http2_call *stream = NULL;
    if (frame->hd.stream_id != 0)
        stream = stream_of(session, frame->hd.stream_id);
    switch (frame->hd.type) {
    case NGHTTP2_SETTINGS:
        client->settled |= !(frame->hd.flags & NGHTTP2_FLAG_ACK);
        break;
    case NGHTTP2_GOAWAY:
        client->goaway_came = true;
        client->http1_required |= frame->goaway.error_code == NGHTTP2_HTTP_1_1_REQUIRED;
        break;
    case NGHTTP2_HEADERS:
        if (stream)
            on_headers(client, stream, frame);
        break;
    case NGHTTP2_DATA:
        if (!stream)
            break;
        if ((frame->hd.flags & NGHTTP2_FLAG_END_STREAM) && stream->body_left > 0)
            break_rule(client, stream);
        end_stream(client, stream, frame);
        break;
    case NGHTTP2_RST_STREAM:
        if (stream)
            stream->reset_by_peer = true;
        break;
    default:
        break;
    }
    return client->flooded ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

static int
on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *data, size_t len,
        void *ctx)
{
    struct http2_client *client = ctx;
    struct http2_call *stream = stream_of(session, id);
    (void)flags;
    (void)nghttp2_session_consume_connection(session, len);
    if (!stream || stream->fault != HTTP2_CALL_NONE) {
        (void)nghttp2_session_consume_stream(session, id, len);
        return 0;
    }
    if (stream->counted && len > stream->body_left) {
        break_rule(client, stream);
        return 0;
    }
    if (stream->counted)
        stream->body_left -= len;
    if (!client->ops->data(client->ctx, stream, fr_view_make((const char *)data, len))) {
        (void)fault(stream, HTTP2_CALL_NO_MEMORY);
        reset(client, stream, NGHTTP2_INTERNAL_ERROR);
    }
    return 0;
}

static enum http2_call_end
end_of(const struct http2_client *client, const struct http2_call *stream, uint32_t error)
{
    if (stream->fault != HTTP2_CALL_NONE)
        return stream->fault;
    if (stream->ended) /* what a RST_STREAM behind a whole response says is about the request */
        return HTTP2_CALL_OK;
    if (stream->reset_by_peer)
        return error == NGHTTP2_REFUSED_STREAM ? HTTP2_CALL_REFUSED : HTTP2_CALL_RESET;
    if (!stream->head_sent || (client->goaway_came && error == NGHTTP2_REFUSED_STREAM))
        return HTTP2_CALL_UNPROCESSED;
    return HTTP2_CALL_BAD; /* libnghttp2 found a rule broken */
}

static int
on_close(nghttp2_session *session, int32_t id, uint32_t error, void *ctx)
{
    struct http2_client *client = ctx;
    struct http2_call *stream = stream_of(session, id);
    client->open_count--;
    if (!stream)
        return 0;
    stream->end = end_of(client, stream, error);
    stream->error = error;
    stream->http1_required = client->http1_required || error == NGHTTP2_HTTP_1_1_REQUIRED;
    stream->id = 0;
    stream->part = stream->part_count;
    client->ops->ended(client->ctx, stream);
    return 0;
}

/* ---- what goes ------------------------------------------------------------------------------- */

static void
tell_sent(struct http2_client *client, struct http2_call *stream)
{
    if (!stream->sending)
        return;
    stream->sending = false;
    client->ops->sent(client->ctx, stream);
}

/* By an increment, and not to a size: what the library takes for its own before the member has
 * acknowledged our SETTINGS is not what the member counts from. */
void
http2_client_widen(struct http2_client *client, struct http2_call *stream, uint32_t bytes)
{
    if (stream->id == 0 || bytes == 0)
        return;
    if (nghttp2_submit_window_update(client->session, NGHTTP2_FLAG_NONE, stream->id,
                                     (int32_t)bytes) == NGHTTP2_ERR_NOMEM)
        client->flooded = true;
}

static int
on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *ctx)
{
    struct http2_client *client = ctx;
    if (frame->hd.type == NGHTTP2_DATA)
        useful_frame(client);
    if (frame->hd.type == NGHTTP2_GOAWAY && frame->goaway.error_code != NGHTTP2_NO_ERROR)
        client->broken = true; /* only now libnghttp2 lets know that it has given up */
    if (frame->hd.type != NGHTTP2_HEADERS)
        return 0;
    struct http2_call *stream = stream_of(session, frame->hd.stream_id);
    if (!stream)
        return 0;
    stream->head_sent = true;
    http2_client_widen(client, stream, stream->widen_bytes);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        tell_sent(client, stream);
    return 0;
}

/* The fields that were split, which libnghttp2 copies. */
static const nghttp2_nv *
pairs_of(struct http2_client *client)
{
    for (size_t i = 0; i < client->split.count; i++) {
        const struct hpack_field *field = &client->split.fields[i];
        client->pairs[i] = (nghttp2_nv){
            .name = (uint8_t *)(uintptr_t)field->name.ptr,
            .value = (uint8_t *)(uintptr_t)field->value.ptr,
            .namelen = field->name.len,
            .valuelen = field->value.len,
            .flags = field->never_indexed ? NGHTTP2_NV_FLAG_NO_INDEX : NGHTTP2_NV_FLAG_NONE,
        };
    }
    return client->pairs;
}

static int
send_trailers(struct http2_client *client, struct http2_call *stream)
{
    size_t used;
    http2_split_begin(&client->split, HTTP2_TRAILERS);
    if (http2_split_read(&client->split, stream->trailers, &used) != HTTP_DONE)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    return nghttp2_submit_trailer(client->session, stream->id, pairs_of(client),
                                  client->split.count);
}

static ssize_t
on_read(nghttp2_session *session, int32_t id, uint8_t *buf, size_t len, uint32_t *flags,
        nghttp2_data_source *source, void *ctx)
{
    struct http2_client *client = ctx;
    struct http2_call *stream = stream_of(session, id);
    size_t taken = 0;
    (void)source;
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* cancelled: the reset is on its way */
    while (taken < len && stream->part < stream->part_count) {
        struct iovec *part = &stream->parts[stream->part];
        size_t run = part->iov_len < len - taken ? part->iov_len : len - taken;
        if (run > 0)
            memcpy(buf + taken, part->iov_base, run);
        taken += run;
        part->iov_base = (char *)part->iov_base + run;
        part->iov_len -= run;
        stream->part += part->iov_len == 0;
    }
    if (stream->part < stream->part_count)
        return (ssize_t)taken;
    tell_sent(client, stream);
    if (stream->last) {
        *flags |= NGHTTP2_DATA_FLAG_EOF;
        if (stream->trailers.len > 0) {
            *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            int rc = send_trailers(client, stream);
            if (rc != 0)
                return rc;
        }
        return (ssize_t)taken;
    }
    if (taken > 0)
        return (ssize_t)taken;
    stream->deferred = true;
    return NGHTTP2_ERR_DEFERRED;
}

static enum fr_err
err_of(int rc)
{
    return rc == NGHTTP2_ERR_NOMEM ? FR_ERR_NOMEM : FR_ERR_FULL;
}

/* RFC 8441 section 5: the key proves nothing here, and is not sent. */
static void
drop_key(struct http2_split *split)
{
    struct fr_view key = FR_VIEW("sec-websocket-key");
    size_t kept = 0;
    for (size_t i = 0; i < split->count; i++) {
        if (!fr_view_ieq(split->fields[i].name, key))
            split->fields[kept++] = split->fields[i];
    }
    split->count = kept;
}

enum fr_err
http2_client_open(struct http2_client *client, struct http2_call *stream,
                  const struct http2_request *request)
{
    size_t used;
    nghttp2_data_provider body = {.read_callback = on_read};
    client->split.scheme = request->https ? FR_VIEW("https") : FR_VIEW("http");
    http2_split_begin(&client->split, HTTP2_REQUEST);
    if (http2_split_read(&client->split, request->head, &used) != HTTP_DONE)
        return FR_ERR_FULL; /* more fields than there is room for */
    if (request->connect)
        drop_key(&client->split);
    int32_t id =
        nghttp2_submit_request(client->session, NULL, pairs_of(client), client->split.count,
                               request->bodiless ? NULL : &body, stream);
    if (id < 0)
        return err_of(id);
    client->open_count++;
    *stream = (struct http2_call){
        .id = id,
        .head_only = request->head_only,
        .connect = request->connect,
        .sending = request->bodiless,
        .last = request->bodiless,
        .widen_bytes = request->window_bytes > HTTP2_CALL_FIRST_BYTES
                           ? request->window_bytes - HTTP2_CALL_FIRST_BYTES
                           : 0,
    };
    return FR_OK;
}

void
http2_client_send(struct http2_client *client, struct http2_call *stream, const struct iovec *parts,
                  int count, bool last, struct fr_view trailers)
{
    fr_require(count <= HTTP2_CALL_PARTS_MAX);
    fr_require(!stream->sending && !stream->last);
    if (count > 0)
        memcpy(stream->parts, parts, (size_t)count * sizeof(*parts));
    stream->part = 0;
    stream->part_count = count;
    stream->last = last;
    stream->trailers = trailers;
    stream->sending = true;
    if (!stream->deferred)
        return;
    stream->deferred = false;
    if (nghttp2_session_resume_data(client->session, stream->id) == NGHTTP2_ERR_NOMEM)
        client->flooded = true;
}

void
http2_client_consume(struct http2_client *client, struct http2_call *stream, size_t bytes)
{
    if (stream->id != 0 && bytes > 0)
        (void)nghttp2_session_consume_stream(client->session, stream->id, bytes);
}

void
http2_client_cancel(struct http2_client *client, struct http2_call *stream, bool whole)
{
    if (stream->id == 0)
        return;
    reset(client, stream, whole ? NGHTTP2_NO_ERROR : NGHTTP2_CANCEL);
    (void)nghttp2_session_set_stream_user_data(client->session, stream->id, NULL);
    stream->id = 0;
}

void
http2_client_ping(struct http2_client *client)
{
    (void)nghttp2_submit_ping(client->session, NGHTTP2_FLAG_NONE, NULL);
}

void
http2_client_goaway(struct http2_client *client)
{
    (void)nghttp2_submit_goaway(client->session, NGHTTP2_FLAG_NONE, 0, NGHTTP2_NO_ERROR, NULL, 0);
}

/* ---- the connection -------------------------------------------------------------------------- */

static void
set_callbacks(nghttp2_session_callbacks *callbacks)
{
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_invalid_header_callback(callbacks, on_invalid_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
}

static int
greet(struct http2_client *client)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, HTTP2_CALL_FIRST_BYTES},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)client->limits->head_bytes_max},
    };
    int rc = nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, settings,
                                     sizeof(settings) / sizeof(settings[0]));
    if (rc != 0)
        return rc;
    return nghttp2_session_set_local_window_size(client->session, NGHTTP2_FLAG_NONE, 0,
                                                 HTTP2_CLIENT_WINDOW_BYTES);
}

static int
pass_over(nghttp2_session *ng, void **payload, const nghttp2_frame_hd *hd, void *user)
{
    (void)ng, (void)payload, (void)hd, (void)user;
    return NGHTTP2_ERR_CANCEL;
}

/* Frames of types that nobody knows are passed over (RFC 9113 section 4.1) and yet told of as they
 * begin: nghttp2 tells of none that was not asked for, and many of them are a flood. */
static void
tell_of_unknown(nghttp2_session_callbacks *callbacks, nghttp2_option *option)
{
    nghttp2_session_callbacks_set_unpack_extension_callback(callbacks, pass_over);
    for (unsigned type = NGHTTP2_CONTINUATION + 1; type <= UINT8_MAX; type++)
        nghttp2_option_set_user_recv_extension_type(option, (uint8_t)type);
}

enum fr_err
http2_client_new(const struct http2_client_ops *ops, void *ctx, const struct http_limits *limits,
                 struct http2_client **out)
{
    nghttp2_mem mem = {NULL, mem_alloc, mem_free, mem_calloc, mem_realloc};
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    struct http2_client *client = fr_alloc(sizeof(*client));
    if (!client)
        return FR_ERR_NOMEM;
    client->ops = ops;
    client->ctx = ctx;
    client->limits = limits;
    fr_buf_init(&client->text, limits->head_bytes_max);
    int rc = nghttp2_session_callbacks_new(&callbacks);
    if (rc == 0)
        rc = nghttp2_option_new(&option);
    if (rc == 0) {
        set_callbacks(callbacks);
        tell_of_unknown(callbacks, option);
        nghttp2_option_set_no_auto_window_update(option, 1);
        nghttp2_option_set_max_outbound_ack(option, HTTP2_CLIENT_CONTROL_MAX);
        nghttp2_option_set_max_send_header_block_length(option, HTTP2_CLIENT_BLOCK_BYTES);
        rc = nghttp2_session_client_new3(&client->session, callbacks, client, option, &mem);
    }
    if (rc == 0)
        rc = greet(client);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    if (rc != 0) {
        http2_client_free(&client);
        return FR_ERR_NOMEM;
    }
    *out = client;
    return FR_OK;
}

void
http2_client_free(struct http2_client **client)
{
    struct http2_client *c = *client;
    *client = NULL;
    if (!c)
        return;
    nghttp2_session_del(c->session);
    fr_buf_fini(&c->text);
    fr_free(c);
}

bool
http2_client_receive(struct http2_client *client, struct fr_view bytes, int64_t now_us)
{
    client->now_us = now_us;
    ssize_t rc = nghttp2_session_mem_recv(client->session, (const uint8_t *)bytes.ptr, bytes.len);
    if (rc >= 0 && !client->flooded)
        return true;
    bool flood = client->flooded || rc == NGHTTP2_ERR_FLOODED;
    client->broken = true;
    (void)nghttp2_session_terminate_session(client->session, flood ? NGHTTP2_ENHANCE_YOUR_CALM
                                                                   : NGHTTP2_INTERNAL_ERROR);
    return false;
}

bool
http2_client_broken(const struct http2_client *client)
{
    return client->broken;
}

bool
http2_client_output(struct http2_client *client, struct fr_view *out)
{
    const uint8_t *bytes = NULL;
    ssize_t len = nghttp2_session_mem_send(client->session, &bytes);
    if (len < 0)
        return false;
    *out = fr_view_make((const char *)bytes, (size_t)len);
    return true;
}

uint32_t
http2_client_room(const struct http2_client *client)
{
    if (http2_client_leaving(client))
        return 0;
    uint32_t most = nghttp2_session_get_remote_settings(client->session,
                                                        NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS);
    if (!client->settled)
        most = 1;
    return most > client->open_count ? most - client->open_count : 0;
}

bool
http2_client_settled(const struct http2_client *client)
{
    return client->settled;
}

bool
http2_client_takes_connect(const struct http2_client *client)
{
    return nghttp2_session_get_remote_settings(client->session,
                                               NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL) == 1;
}

bool
http2_client_http1_required(const struct http2_client *client)
{
    return client->http1_required;
}

bool
http2_client_leaving(const struct http2_client *client)
{
    return client->goaway_came || nghttp2_session_check_request_allowed(client->session) == 0;
}
