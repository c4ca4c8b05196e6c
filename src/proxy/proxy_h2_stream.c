/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_h2_stream.c - one request on a stream: a client without a socket, on which an exchange
 * runs as on any.
 *
 * May touch:  base, loop (buffers), http.
 * Life:       opened with the request's HEADERS; freed once its exchange is over and the session
 *             has closed the stream, whichever comes last.
 * Memory:     a body waits in receive buffers, at most its window's worth; the window opens only
 *             as the exchange takes them. A response waits where the exchange has it.
 * Limits:     those of http2_session.c and of exchanges.
 * Follows:    RFC 9113 sections 8.1, 5.2 and 8.6, RFC 8441.
 *
 * To its exchange a stream looks like HTTP/1.1: the head is text, and a body whose length is not
 * told comes in chunks, which are made here; so what is strict there is strict for both. The answer
 * is text too, whose body has no chunks: its end is told by the exchange's (HTTP_BODY_TO_CLOSE).
 */
#include "proxy/proxy_h2.h"

#include "base/fr_check.h"

#include <assert.h> /* static_assert */
#include <stdio.h>
#include <unistd.h>

#define FILE_WINDOW_BYTES_MIN 1024
#define CHUNK_SLACK_BYTES (PROXY_H2_CHUNK_HEAD_BYTES + 2 + sizeof(HTTP_CHUNK_LAST) - 1)

/* ---- life ------------------------------------------------------------------------------------ */

static void
take_identity(struct proxy_client *client, const struct proxy_client *connection)
{
    client->peer = connection->peer;
    client->serial = connection->serial;
    client->address_len = connection->address_len;
    memcpy(client->address, connection->address, sizeof(client->address));
    client->https = connection->https;
    client->spoken_for_unknown = connection->spoken_for_unknown;
    client->trusted = connection->trusted;
    client->trusted_by = connection->trusted_by;
    client->certificate = connection->certificate;
    client->tls = connection->tls;
}

/* For the next request: its client's socket, which nobody opens, stays as it is, and so does what
 * is good only as far as something else tells. */
static void
clear(struct proxy_stream *stream)
{
    size_t from = offsetof(struct proxy_stream, client.worker);
    size_t to = offsetof(struct proxy_stream, http2.writer);
    static_assert(offsetof(struct proxy_client, worker) ==
                      offsetof(struct proxy_client, sock) + sizeof(struct loop_sock),
                  "in front of it are the socket, and what is set");
    memset((char *)stream + from, 0, to - from);
}

static struct http2_stream *
on_open(void *ctx)
{
    struct proxy_h2 *h2 = ctx;
    struct proxy_worker *worker = h2->client->worker;
    size_t offset = offsetof(struct proxy_stream, link);
    struct proxy_stream *stream = proxy_free_list_take(&worker->free_streams, offset);
    size_t head_bytes_max = 2 * worker->http_limits.head_bytes_max + PROXY_KEPT_BUF_BYTES;
    struct fr_buf head, lines;
    fr_buf_init(&head, head_bytes_max);
    fr_buf_init(&lines, HTTP2_LINES_MAX * sizeof(struct http2_line));
    if (stream) {
        head = stream->head;
        lines = stream->lines;
        clear(stream);
    } else {
        stream = fr_alloc(sizeof(*stream));
    }
    if (!stream) {
        PROXY_COUNT(worker, memory_refusals);
        return NULL;
    }
    stream->head = head;
    stream->lines = lines;
    stream->h2 = h2;
    stream->client.worker = worker;
    stream->client.magic = PROXY_CLIENT_MAGIC;
    stream->client.stream = true;
    stream->client.state = PROXY_CLIENT_HEAD;
    stream->client.sock.fd = -1;
    take_identity(&stream->client, h2->client);
    fr_buf_init(&stream->client.partial.buf, head_bytes_max);
    fr_buf_init(&stream->down_trailers, HTTP_TRAILER_BYTES_MAX + sizeof(PROXY_TRAILERS_LEAD));
    fr_list_init(&stream->client.link);
    fr_list_init(&stream->client.idle_link);
    fr_list_init(&stream->bufs);
    fr_list_init(&stream->due_link);
    fr_list_push_back(&h2->streams, &stream->link);
    stream->http2.head = &stream->head;
    stream->http2.lines = &stream->lines;
    PROXY_COUNT(worker, h2_streams);
    return &stream->http2;
}

static struct proxy_stream *
stream_of(struct http2_stream *http2)
{
    return FR_CONTAINER(http2, struct proxy_stream, http2);
}

static void
drop_body(struct proxy_stream *stream)
{
    struct fr_list *link;
    while ((link = fr_list_pop_front(&stream->bufs)))
        loop_buf_give_back(FR_CONTAINER(link, struct loop_buf, link));
    proxy_input_clear(&stream->client.in);
    http2_stream_consume(stream->h2->session, &stream->http2, stream->unconsumed);
    stream->unconsumed = 0;
}

static void
drop_bufs(struct proxy_stream *stream)
{
    for (int i = 0; i < PROXY_H2_FILE_BUFS; i++) {
        loop_buf_give_back(stream->file_bufs[i]);
        stream->file_bufs[i] = NULL;
    }
}

static void
drop_file(struct proxy_stream *stream)
{
    drop_bufs(stream);
    stream->file.bytes = 0;
}

static void
stream_free(struct proxy_stream *stream)
{
    struct proxy_worker *worker = stream->client.worker;
    fr_insist(!stream->client.exchange && !stream->http2.session);
    loop_timer_stop(&stream->client.timer);
    drop_body(stream);
    drop_file(stream);
    proxy_partial_clear(&stream->client.partial);
    fr_buf_fini(&stream->down_trailers);
    fr_list_remove(&stream->due_link);
    fr_list_remove(&stream->link);
    proxy_h2_wake(stream->h2); /* it may have been the last */
    stream->client.magic = 0;
    if (stream->head.cap > PROXY_KEPT_BUF_BYTES)
        fr_buf_fini(&stream->head);
    if (proxy_free_list_give(&worker->free_streams, &stream->link))
        return;
    fr_buf_fini(&stream->head);
    fr_buf_fini(&stream->lines);
    fr_free(stream);
}

static void
on_closed(void *ctx, struct http2_stream *http2, uint32_t code)
{
    struct proxy_stream *stream = stream_of(http2);
    struct proxy_exchange *x = stream->client.exchange;
    (void)ctx;
    if (!x) {
        stream_free(stream);
    } else if (code == HTTP2_NO_ERROR && http2->finished && !http2->sending &&
               (http2->ended || !http2->switched)) {
        proxy_h2_due(stream); /* its answer is whole, and it is about to hear that */
        stream->sent = x->after != NULL;
    } else {
        PROXY_COUNT(x->worker, client_aborts);
        if (code != HTTP2_NO_ERROR)
            PROXY_COUNT(x->worker, h2_streams_reset);
        proxy_exchange_drop(x);
    }
}

/* ---- the request ----------------------------------------------------------------------------- */

/* The log shows the first line of what was refused, where it looks for heads that came in parts. */
static void
show_head(struct proxy_stream *stream, size_t start)
{
    struct fr_buf *shown = &stream->client.partial.buf;
    struct fr_buf head = stream->head;
    stream->head = *shown;
    *shown = head;
    fr_buf_consume(shown, start);
}

/* RFC 6455 section 4.1: a member wants a key, and RFC 8441 section 5 has clients send none. What it
 * makes of it goes no further either. */
static bool
put_websocket_key(struct proxy_client *client, struct http2_writer *writer, struct fr_view *text)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char key[] = "AAAAAAAAAAAAAAAAAAAAAA==";
    for (size_t i = 0; i < 21; i++) /* of the 22nd only two bits count: it stays A */
        key[i] = digits[fr_rand_next(&client->worker->rand) & 63];
    return http2_writer_add(writer, FR_VIEW("Sec-WebSocket-Key"), fr_view_of(key), text) ==
           HTTP2_FINE;
}

/* False: it was refused. */
static bool
begin_tunnel(struct proxy_client *client, struct http2_stream *http2, struct fr_view *text)
{
    if (!fr_view_ieq(http2_writer_protocol(&http2->writer), FR_VIEW("websocket"))) {
        /* RFC 8441 section 4 */
        proxy_exchange_refuse(client, 501, "no tunnels of this protocol here");
        return false;
    }
    if (put_websocket_key(client, &http2->writer, text))
        return true;
    PROXY_COUNT(client->worker, memory_refusals);
    proxy_exchange_refuse(client, 503, "out of memory");
    return false;
}

/* Its exchange begins: once, with the head that came. */
static void
begin(struct proxy_stream *stream)
{
    struct proxy_client *client = &stream->client;
    struct proxy_worker *worker = client->worker;
    struct fr_view text = stream->text;
    struct http_err err = {0};
    proxy_exchange_await(worker);
    stream->text = (struct fr_view){0};
    enum http_step step =
        http2_lines_head(text, &stream->lines, &worker->http_limits, &worker->request_head, &err);
    if (step != HTTP_DONE) {
        show_head(stream, stream->text_start);
        proxy_count_refusal(worker, err.limit);
        proxy_exchange_refuse(client, err.status ? err.status : 400, err.words ? err.words : "");
        return;
    }
    /* Trailers that are announced lie behind the last of a told length: chunks show where. */
    stream->chunked =
        worker->request_head.framing == HTTP_BODY_CHUNKED ||
        (worker->request_head.framing == HTTP_BODY_LENGTH && stream->announces && !stream->ended);
    proxy_exchange_begin(client, text);
    if (stream->h2->client->ended && client->exchange)
        proxy_exchange_half_closed(client->exchange);
}

/* A client that resets at once what it asks for, or has us do it, costs no exchange: that begins
 * once all that came with the head is read, or with its body. */
static void
on_head(void *ctx, struct http2_stream *http2, struct fr_view text, bool end_stream)
{
    struct proxy_stream *stream = stream_of(http2);
    struct proxy_client *client = &stream->client;
    (void)ctx;
    stream->ended = end_stream;
    stream->tunnel = http2->writer.tunnel;
    client->requests = 1;
    client->state = PROXY_CLIENT_BUSY;
    if (stream->tunnel && !begin_tunnel(client, http2, &text))
        return;
    stream->text = text;
    stream->text_start = http2->writer.start;
    stream->announces = http2->writer.announces;
    proxy_h2_due(stream);
}

static void
on_refused(void *ctx, struct http2_stream *http2, const char *words)
{
    struct proxy_client *client = &stream_of(http2)->client;
    (void)ctx;
    show_head(stream_of(http2), http2->writer.start);
    proxy_count_refusal(client->worker, HTTP_LIMIT_HEAD);
    client->state = PROXY_CLIENT_BUSY;
    proxy_exchange_refuse(client, 431, words);
}

/* A buffer on an account of the connection; a small one where much is held already. */
static struct loop_buf *
take_buf(struct proxy_stream *stream, struct loop_account *account)
{
    struct loop *loop = stream->client.worker->loop;
    struct loop_buf *buf =
        loop_account_full(account) ? loop_buf_take_small(loop) : loop_buf_take(loop);
    loop_buf_charge(buf, account);
    if (buf && buf->cap <= LOOP_BUF_SMALL_BYTES)
        PROXY_COUNT(stream->client.worker, h2_held_small);
    return buf;
}

/* Room for payload in the last buffer, or in a new one. */
static struct loop_buf *
buf_with_room(struct proxy_stream *stream)
{
    size_t head = stream->chunked ? PROXY_H2_CHUNK_HEAD_BYTES : 0;
    if (!fr_list_empty(&stream->bufs)) {
        struct loop_buf *last = FR_CONTAINER(stream->bufs.prev, struct loop_buf, link);
        if (last->len + CHUNK_SLACK_BYTES < last->cap)
            return last;
    }
    struct loop_buf *buf = take_buf(stream, &stream->h2->unread);
    if (!buf)
        return NULL;
    buf->len = (uint32_t)head; /* written when it is passed on */
    fr_list_push_back(&stream->bufs, &buf->link);
    return buf;
}

static void
on_data(void *ctx, struct http2_stream *http2, struct fr_view data)
{
    struct proxy_stream *stream = stream_of(http2);
    (void)ctx;
    if (stream->text.len > 0)
        begin(stream);
    stream->unconsumed += data.len;
    if (!stream->client.exchange) { /* it is answered: nobody reads this */
        drop_body(stream);
        return;
    }
    while (data.len > 0) {
        struct loop_buf *buf = buf_with_room(stream);
        if (!buf) {
            PROXY_COUNT(stream->client.worker, memory_refusals);
            http2_stream_reset(http2, HTTP2_INTERNAL_ERROR);
            proxy_exchange_drop(stream->client.exchange);
            return;
        }
        size_t room = buf->cap - buf->len - CHUNK_SLACK_BYTES + PROXY_H2_CHUNK_HEAD_BYTES;
        size_t bytes = data.len < room ? data.len : room;
        memcpy(buf->data + buf->len, data.ptr, bytes);
        buf->len += (uint32_t)bytes;
        data = fr_view_make(data.ptr + bytes, data.len - bytes);
    }
    proxy_h2_due(stream);
}

static void
on_end(void *ctx, struct http2_stream *http2, struct fr_view trailers)
{
    struct proxy_stream *stream = stream_of(http2);
    (void)ctx;
    if (stream->text.len > 0)
        begin(stream);
    stream->ended = true;
    stream->trailers = trailers;
    if (trailers.len > 2 && !stream->chunked && stream->client.exchange)
        PROXY_COUNT(stream->client.worker, trailers_dropped);
    proxy_h2_due(stream);
}

const struct http2_handlers proxy_stream_handlers = {
    .on_open = on_open,
    .on_head = on_head,
    .on_refused = on_refused,
    .on_data = on_data,
    .on_end = on_end,
    .on_closed = on_closed,
};

/* ---- its body, to the exchange --------------------------------------------------------------- */

/* What the exchange has done with goes back to the client as window. */
static void
consume(struct proxy_stream *stream)
{
    struct proxy_input *in = &stream->client.in;
    int held = (in->buf[0] != NULL) + (in->buf[1] != NULL);
    int passed = (stream->passed[0] > 0) + (stream->passed[1] > 0);
    for (; passed > held; passed--) {
        http2_stream_consume(stream->h2->session, &stream->http2, stream->passed[0]);
        stream->unconsumed -= stream->passed[0];
        stream->passed[0] = stream->passed[1];
        stream->passed[1] = 0;
    }
}

/* What ends a body in chunks. */
static struct fr_view
tail_part(const struct proxy_stream *stream, size_t *skip)
{
    struct fr_view parts[] = {FR_VIEW("0\r\n"),
                              stream->trailers.len > 0 ? stream->trailers : FR_VIEW("\r\n")};
    for (size_t i = 0; i < 2; i++) {
        if (*skip < parts[i].len)
            return fr_view_make(parts[i].ptr + *skip, parts[i].len - *skip);
        *skip -= parts[i].len;
    }
    return (struct fr_view){0};
}

static void
put_tail(struct proxy_stream *stream, struct loop_buf *buf)
{
    for (;;) {
        size_t skip = stream->tail_passed;
        struct fr_view part = tail_part(stream, &skip);
        size_t room = buf->cap - buf->len;
        size_t bytes = part.len < room ? part.len : room;
        if (bytes == 0)
            return;
        memcpy(buf->data + buf->len, part.ptr, bytes);
        buf->len += (uint32_t)bytes;
        stream->tail_passed += bytes;
    }
}

static bool
tail_is_due(const struct proxy_stream *stream)
{
    size_t skip = stream->tail_passed;
    return stream->chunked && stream->ended && tail_part(stream, &skip).len > 0;
}

/* The next buffer for the exchange, framed; NULL: there is none. */
static struct loop_buf *
next_buf(struct proxy_stream *stream, size_t *out_payload)
{
    struct fr_list *link = fr_list_pop_front(&stream->bufs);
    struct loop_buf *buf = link ? FR_CONTAINER(link, struct loop_buf, link) : NULL;
    *out_payload = 0;
    if (buf) {
        size_t head = stream->chunked ? PROXY_H2_CHUNK_HEAD_BYTES : 0;
        size_t payload = buf->len - head;
        *out_payload = payload;
        if (stream->chunked) {
            char text[PROXY_H2_CHUNK_HEAD_BYTES + 1];
            (void)snprintf(text, sizeof(text), "%04zx\r\n", payload & 0xffff);
            memcpy(buf->data, text, PROXY_H2_CHUNK_HEAD_BYTES);
            memcpy(buf->data + buf->len, "\r\n", 2);
            buf->len += 2;
        }
    } else if (tail_is_due(stream)) {
        buf = take_buf(stream, &stream->h2->unread);
    }
    if (buf && fr_list_empty(&stream->bufs) && tail_is_due(stream))
        put_tail(stream, buf);
    return buf;
}

static void
feed(struct proxy_stream *stream)
{
    struct proxy_client *client = &stream->client;
    struct proxy_exchange *x = client->exchange;
    size_t payload;
    consume(stream);
    if (!x || !stream->wanting || proxy_input_full(&client->in))
        return;
    struct loop_buf *buf = next_buf(stream, &payload);
    if (buf) {
        stream->wanting = false;
        stream->passed[client->in.buf[0] ? 1 : 0] = payload;
        cluster_count_add(&client->worker->counters.bytes_in, buf->len);
        proxy_input_push(&client->in, buf);
        proxy_exchange_input(x, buf->len);
    } else if (stream->ended && x->tunnel && !x->client_ended) {
        x->client_ended = true; /* half closed: the member may still be talking */
        proxy_tunnel_up(x);
    } else if (tail_is_due(stream)) {
        PROXY_COUNT(client->worker, memory_refusals);
        http2_stream_reset(&stream->http2, HTTP2_INTERNAL_ERROR);
        proxy_exchange_drop(x);
    }
}

void
proxy_stream_want(struct proxy_client *client)
{
    struct proxy_stream *stream = proxy_stream_of(client);
    stream->wanting = true;
    if (stream->unconsumed > 0 || stream->ended)
        proxy_h2_due(stream);
}

/* ---- the response ---------------------------------------------------------------------------- */

bool
proxy_stream_sending(const struct proxy_client *client)
{
    const struct proxy_stream *stream = proxy_stream_of(client);
    return stream->http2.sending || stream->sent || stream->file.bytes > 0;
}

/* A tunnel's 101 is a 200 here, and has nothing of the handshake (RFC 8441 section 5). */
static void
translate_switch(struct http2_split *split)
{
    size_t kept = 0;
    for (size_t i = 0; i < split->count; i++) {
        if (!fr_view_ieq(split->fields[i].name, FR_VIEW("sec-websocket-accept")))
            split->fields[kept++] = split->fields[i];
    }
    split->count = kept;
    split->fields[0].value = FR_VIEW("200");
}

/* A member that passes over an Upgrade answers as to any request, and a client would take its 200
 * for the tunnel. */
static void
translate_no_switch(struct http2_split *split)
{
    split->status = 502;
    split->fields[0].value = FR_VIEW("502");
}

/* Trailers may follow a body of told length: the member's END_STREAM has not come. */
static bool
awaits_end(const struct proxy_exchange *x)
{
    return x->up && x->up->lane && !x->response_done;
}

/* Whether a body follows this head, and how long it is if that is told. */
static bool
has_body(struct proxy_stream *stream, const struct http2_split *split)
{
    const struct proxy_exchange *x = stream->client.exchange;
    if (split->status == 101)
        return true;
    if (x->method == HTTP_HEAD || split->status == 204 || split->status == 304)
        return false;
    stream->counted_body = split->has_length;
    stream->body_left = split->length;
    return split->has_length ? split->length > 0 || awaits_end(x)
                             : x->client_framing != HTTP_BODY_NONE;
}

/* Takes the head off the front of the parts. Returns where the body begins; false: it cannot be
 * sent. */
static bool
send_head(struct proxy_stream *stream, struct iovec *iov, int count, int *out_first)
{
    struct http2_split *split = stream->client.worker->split;
    enum http_step step = HTTP_MORE;
    int i = 0;
    http2_stream_split(&stream->http2, split);
    for (; i < count && step == HTTP_MORE; i++) {
        size_t used;
        struct fr_view part = fr_view_make(iov[i].iov_base, iov[i].iov_len);
        step = http2_split_read(split, part, &used);
        if (step == HTTP_DONE && used < part.len) {
            iov[i].iov_base = (char *)iov[i].iov_base + used;
            iov[i].iov_len -= used;
            i--;
        }
    }
    if (step != HTTP_DONE)
        return false;
    *out_first = i;
    bool interim = split->status < 200 && split->status != 101;
    bool end = !interim && !has_body(stream, split);
    if (split->status == 101)
        translate_switch(split);
    else if (stream->tunnel && split->status >= 200 && split->status < 300)
        translate_no_switch(split);
    stream->headed = !interim;
    return http2_stream_head(&stream->http2, split, end);
}

static struct fr_view
take_trailers(struct proxy_stream *stream, struct proxy_exchange *x)
{
    size_t lead = sizeof(PROXY_TRAILERS_LEAD) - 1;
    if (x->down_trailers.len > lead) {
        stream->down_trailers = x->down_trailers;
        fr_buf_init(&x->down_trailers, x->down_trailers.max_bytes);
    }
    if (stream->down_trailers.len <= lead)
        return (struct fr_view){0};
    return fr_view_make(stream->down_trailers.data + lead, stream->down_trailers.len - lead);
}

static bool
read_piece(struct proxy_stream *stream, char *to, size_t room, struct iovec *out)
{
    struct loop_file_piece *file = &stream->file;
    size_t bytes = file->bytes < room ? (size_t)file->bytes : room;
    ssize_t got = pread(file->fd, to, bytes, file->offset);
    if (got <= 0)
        return false;
    *out = (struct iovec){to, (size_t)got};
    file->offset += got;
    file->bytes -= (uint64_t)got;
    return true;
}

/* Reads what of the file comes next, behind the parts: as much as the client allows, and a bit
 * where that is next to nothing, which needs no buffer. False: it ended too soon, or there is none.
 */
static bool
read_file(struct proxy_stream *stream, struct iovec *iov, int *count)
{
    struct loop_file_piece *file = &stream->file;
    size_t window = http2_stream_window(&stream->http2);
    if (window < FILE_WINDOW_BYTES_MIN)
        return read_piece(stream, stream->file_bit, sizeof(stream->file_bit), &iov[(*count)++]);
    for (int i = 0; i < PROXY_H2_FILE_BUFS && file->bytes > 0 && window > 0; i++) {
        struct loop_buf *buf = stream->file_bufs[i];
        if (!buf)
            buf = stream->file_bufs[i] = take_buf(stream, &stream->h2->held);
        if (!buf)
            return i > 0;
        if (!read_piece(stream, buf->data, window < buf->cap ? window : buf->cap, &iov[*count]))
            return false;
        window -= iov[(*count)++].iov_len;
    }
    return true;
}

static bool
send_parts(struct proxy_stream *stream, struct iovec *iov, int count)
{
    struct proxy_exchange *x = stream->client.exchange;
    if (stream->file.bytes > 0 && !read_file(stream, iov, &count))
        return false;
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += iov[i].iov_len;
    bool last = false;
    if (stream->counted_body) {
        fr_insist(bytes <= stream->body_left);
        stream->body_left -= bytes;
        last = stream->body_left == 0 && !awaits_end(x);
    } else if (!x->tunnel && stream->file.bytes == 0) {
        last = x->response_done;
    }
    struct fr_view trailers = last ? take_trailers(stream, x) : (struct fr_view){0};
    if (bytes > 0 || last)
        http2_stream_body(&stream->http2, iov, count, last, trailers);
    else
        stream->sent = true;
    return true;
}

static void
send_failed(struct proxy_stream *stream)
{
    http2_stream_reset(&stream->http2, HTTP2_INTERNAL_ERROR);
    proxy_exchange_drop(stream->client.exchange);
}

void
proxy_stream_send(struct proxy_exchange *x, const struct iovec *iov, int count,
                  const struct loop_file_piece *piece)
{
    struct proxy_stream *stream = proxy_stream_of(x->client);
    struct iovec parts[LOOP_IOV_MAX];
    int first = 0;
    fr_require(!proxy_stream_sending(x->client));
    memcpy(parts, iov, (size_t)count * sizeof(parts[0]));
    stream->file = *piece;
    bool had_head = stream->headed;
    bool ok = had_head || send_head(stream, parts, count, &first);
    if (ok && (!stream->headed || stream->http2.last))
        stream->sent = true; /* a head alone */
    else if (ok)
        ok = send_parts(stream, parts + first, count - first);
    if (!ok) { /* in a later turn: whoever sends is not prepared to be gone */
        http2_stream_reset(&stream->http2, HTTP2_INTERNAL_ERROR);
        stream->broken = true;
    }
    proxy_pace_wait(x->client, &x->client->reading);
    proxy_h2_due(stream);
}

void
proxy_stream_taken(struct http2_stream *http2)
{
    struct proxy_stream *stream = stream_of(http2);
    struct iovec parts[LOOP_IOV_MAX];
    if (!stream->client.exchange || !stream->client.exchange->after)
        return; /* of a tunnel that goes on its end alone was taken, of which nobody is told */
    if (stream->file.bytes > 0) {
        drop_bufs(stream); /* it may be for long that nothing more is allowed */
        if (!send_parts(stream, parts, 0)) {
            PROXY_COUNT(stream->client.worker, files_shrunk);
            send_failed(stream);
        }
        return;
    }
    drop_file(stream);
    proxy_exchange_sent(stream->client.exchange);
}

void
proxy_stream_finish(struct proxy_exchange *x)
{
    struct proxy_stream *stream = proxy_stream_of(x->client);
    if (stream->headed && !stream->http2.last && !stream->http2.sending)
        http2_stream_body(&stream->http2, NULL, 0, true, take_trailers(stream, x));
    if (stream->http2.session)
        proxy_h2_wake(stream->h2);
}

void
proxy_stream_over(struct proxy_client *client, bool well)
{
    struct proxy_stream *stream = proxy_stream_of(client);
    loop_timer_stop(&client->timer);
    if (!stream->http2.session) {
        stream_free(stream);
        return;
    }
    /* Parts that are not all taken lie where the exchange has let go of them. */
    if (!well || !stream->headed || stream->http2.sending)
        http2_stream_reset(&stream->http2, stream->headed ? HTTP2_INTERNAL_ERROR : HTTP2_CANCEL);
    else if (stream->tunnel) /* nobody takes what the client may still say */
        http2_stream_reset(&stream->http2, HTTP2_NO_ERROR);
    drop_body(stream);
    drop_file(stream);
    proxy_h2_wake(stream->h2);
}

void
proxy_stream_work(struct proxy_stream *stream)
{
    struct proxy_exchange *x = stream->client.exchange;
    if (stream->text.len > 0) {
        if (!stream->http2.closing)
            begin(stream);
        return;
    }
    if (x && stream->broken) {
        proxy_exchange_drop(x);
        return;
    }
    if (x && stream->sent) {
        stream->sent = false;
        proxy_h2_due(stream); /* for what came meanwhile, unless it ends now */
        proxy_exchange_sent(x);
        return;
    }
    if (x)
        feed(stream);
}

void
proxy_stream_orphan(struct proxy_stream *stream)
{
    fr_insist(!stream->client.exchange);
    fr_list_remove(&stream->http2.taken_link);
    stream->http2.session = NULL;
    fr_buf_fini(&stream->http2.trailers);
    stream_free(stream);
}
