/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_session.c - the life of a stream: connecting, opening, sending, ending, and again.
 *
 * May touch:  base, loop, wire.
 * Threads:    the loop's.
 * Memory:     see stream_queue.h for what waits; the decoder's own limits for what arrives.
 * When full:  see stream_queue.h.
 * Trusts:     nothing that arrives: the decoder's verdict, the rate and the silence end a stream.
 *
 * Who writes the state: set_state alone. Who ends: every end of a connection passes end_stream, and
 * every proper or improper goodbye begin_closing before it. Callbacks run only between enter and
 * leave, so that a session freed inside one lives until it is over.
 */
#include "stream/stream_session.h"

#include "base/fr_check.h"
#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "stream/stream_queue.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define MAGIC 0x73747273u
#define CONNECT_US 5000000LL    /* how long a connection may take to be made */
#define KEEP_BYTES 65536        /* a sent buffer larger than this is not kept for the next */
#define TEXT_BYTES 129          /* of an id; the wire's limit and a NUL */
#define STANZA_CREDIT 1000000LL /* of the rate, counted in millionths of a stanza */

enum state {
    WAITING,    /* connecting only: for the backoff, or for the old socket's storage */
    CONNECTING,
    OPENING,    /* our <stream> is on its way, the peer's not here yet */
    OPEN,
    CLOSING,    /* our goodbye is on its way; what arrives is thrown away */
    CLOSED,
};

struct stream_session {
    uint32_t magic;
    /* set once */
    struct loop *loop;
    bool connects;
    struct loop_addr addr;
    struct stream_options options; /* texts of `open` in open_id and open_boot */
    char open_id[TEXT_BYTES], open_boot[TEXT_BYTES];
    struct stream_callbacks callbacks;
    void *ctx;
    /* life */
    enum state state;
    unsigned entered;   /* callbacks of ours that are running */
    bool freed;         /* by the owner */
    bool leaving;       /* the owner said close: no more streams */
    bool has_socket;    /* from opening until its storage is ours again */
    bool socket_open;
    struct loop_sock sock;
    struct loop_timer timer; /* backoff, connecting, keep-alive or linger, as the state has it */
    struct loop_task task;
    struct fr_rand rand;
    /* one stream */
    struct wire_decoder *decoder;
    struct wire_open peer;
    char peer_id[TEXT_BYTES], peer_boot[TEXT_BYTES];
    struct loop_buf *first; /* bytes read before we were made */
    int64_t opened_at_us;
    int64_t last_in_us, last_out_us;
    int64_t credit, credit_at_us;
    uint64_t stanzas_spent;
    bool peer_done;  /* it sent all it will */
    bool all_sent;   /* our goodbye is with the kernel */
    bool improper;   /* how it ends */
    char why[400];
    struct fr_buf sending;
    struct stream_queue queue;
    /* over all streams */
    unsigned failures; /* in a row */
    bool told;         /* the owner knows that there is no stream */
    struct stream_counters counters;
};

static void on_timer(void *ctx);
static void on_task(void *ctx);
static void on_recv(void *ctx, struct loop_buf *buf, int status);
static void begin_closing(struct stream_session *session, const char *code, const char *words);
static void end_stream(struct stream_session *session);

/* ---- life and death ------------------------------------------------------------------------- */

static void
set_state(struct stream_session *session, enum state state)
{
    session->state = state;
}

static void
enter(struct stream_session *session)
{
    fr_require(session->magic == MAGIC);
    session->entered++;
}

static void
destroy_if_over(struct stream_session *session)
{
    if (!session->freed || session->entered > 0 || session->has_socket)
        return;
    wire_decoder_free(&session->decoder);
    stream_queue_fini(&session->queue);
    fr_buf_fini(&session->sending);
    session->magic = 0;
    fr_free(session);
}

static void
leave(struct stream_session *session)
{
    session->entered--;
    destroy_if_over(session);
}

static void
on_socket_closed(void *ctx)
{
    struct stream_session *session = ctx;
    session->has_socket = false;
    destroy_if_over(session);
}

static void
close_socket(struct stream_session *session)
{
    loop_timer_stop(&session->timer);
    loop_buf_give_back(session->first);
    session->first = NULL;
    if (session->socket_open) {
        session->socket_open = false;
        loop_close(&session->sock, on_socket_closed, session);
    }
}

__attribute__((format(printf, 3, 4))) static void
set_why(struct stream_session *session, bool improper, const char *format, ...)
{
    va_list args;
    if (session->why[0] != '\0')
        return; /* the first cause is the cause */
    session->improper = improper;
    va_start(args, format);
    (void)vsnprintf(session->why, sizeof(session->why), format, args); /* cut where too long */
    va_end(args);
}

static void
defer(struct stream_session *session)
{
    if (!session->task.queued)
        loop_defer(session->loop, &session->task, on_task, session);
}

/* ---- sending -------------------------------------------------------------------------------- */

/* Frames have room kept free; where memory is out, the stream ends by the peer's patience. */
static void
queue_alive(struct stream_session *session)
{
    size_t before = session->queue.buf.len;
    enum fr_err err = wire_put_alive(&session->queue.buf);
    if (stream_queue_commit(&session->queue, before, STREAM_MARK_FRAME, err) == FR_OK)
        defer(session);
}

static void
queue_open(struct stream_session *session)
{
    size_t before = session->queue.buf.len;
    enum fr_err err = wire_put_open(&session->queue.buf, &session->options.open);
    if (stream_queue_commit(&session->queue, before, STREAM_MARK_FRAME, err) == FR_OK)
        defer(session);
}

static void
queue_goodbye(struct stream_session *session, const char *code, const char *words)
{
    size_t before = session->queue.buf.len;
    enum fr_err err = FR_OK;
    if (code != NULL)
        err = wire_put_error(&session->queue.buf, code, words);
    if (err == FR_OK)
        err = wire_put_close(&session->queue.buf);
    if (stream_queue_commit(&session->queue, before, STREAM_MARK_FRAME, err) == FR_OK)
        defer(session);
}

static void
on_sent(void *ctx, int status)
{
    struct stream_session *session = ctx;
    enter(session);
    if (status < 0) {
        set_why(session, true, "the connection broke: %s", strerrordesc_np(-status));
        end_stream(session);
    } else {
        session->counters.bytes_out += session->sending.len;
        if (session->sending.cap > KEEP_BYTES)
            fr_buf_fini(&session->sending);
        else
            fr_buf_clear(&session->sending);
        defer(session);
    }
    leave(session);
}

/* All that waits goes to the kernel at once; what is queued meanwhile waits for that to be taken. */
static void
flush(struct stream_session *session)
{
    if (!session->socket_open || loop_send_pending(&session->sock))
        return;
    if (session->queue.buf.len > 0) {
        session->counters.stanzas_out += stream_queue_take(&session->queue, &session->sending);
        session->counters.sends++;
        session->last_out_us = loop_now_us(session->loop);
        struct iovec part = {session->sending.data, session->sending.len};
        loop_send(&session->sock, &part, 1, on_sent, session);
    } else if (session->state == CLOSING && !session->all_sent) {
        session->all_sent = true;
        loop_shutdown_send(&session->sock);
        if (session->peer_done)
            end_stream(session);
    }
}

static enum fr_err
commit(struct stream_session *session, size_t before, enum stream_mark_kind kind, enum fr_err err)
{
    err = stream_queue_commit(&session->queue, before, kind, err);
    if (err == FR_OK)
        defer(session);
    return err;
}

enum fr_err
stream_session_send_report(struct stream_session *session, const struct wire_report *report)
{
    size_t before = session->queue.buf.len;
    if (session->state != OPEN)
        return FR_ERR_CLOSED;
    return commit(session, before, STREAM_MARK_REPORT,
                  wire_put_report(&session->queue.buf, report));
}

enum fr_err
stream_session_send_reconfigure(struct stream_session *session,
                                const struct wire_reconfigure *request)
{
    size_t before = session->queue.buf.len;
    if (session->state != OPEN)
        return FR_ERR_CLOSED;
    return commit(session, before, STREAM_MARK_STANZA,
                  wire_put_reconfigure(&session->queue.buf, request));
}

enum fr_err
stream_session_send_result(struct stream_session *session, const struct wire_result *result)
{
    size_t before = session->queue.buf.len;
    if (session->state != OPEN)
        return FR_ERR_CLOSED;
    return commit(session, before, STREAM_MARK_STANZA,
                  wire_put_result(&session->queue.buf, result));
}

/* ---- ending --------------------------------------------------------------------------------- */

/* Our goodbye, with an <error> when there is a code; set_why was called before. Goes on in flush,
 * on_recv and on_timer. */
static void
begin_closing(struct stream_session *session, const char *code, const char *words)
{
    fr_insist(session->state == OPENING || session->state == OPEN);
    set_state(session, CLOSING);
    session->all_sent = false;
    queue_goodbye(session, code, words);
    defer(session);
    loop_timer_start(session->loop, &session->timer, STREAM_LINGER_US, on_timer, session);
}

static int64_t
backoff_us(struct stream_session *session)
{
    unsigned doublings = session->failures > 0 ? session->failures - 1 : 0;
    int64_t delay_us = STREAM_BACKOFF_MIN_US;
    while (doublings-- > 0 && delay_us < STREAM_BACKOFF_MAX_US)
        delay_us *= 2;
    if (delay_us > STREAM_BACKOFF_MAX_US)
        delay_us = STREAM_BACKOFF_MAX_US;
    /* Many edges lose one manager at one moment; they should not come back at one moment too. */
    return (int64_t)((double)delay_us * (0.75 + fr_rand_unit(&session->rand) / 2));
}

/* The connection is over, for whatever reason: into waiting or closed, and tells the owner. */
static void
end_stream(struct stream_session *session)
{
    char why[sizeof(session->why)];
    bool was_open = session->opened_at_us != 0;
    close_socket(session);
    loop_defer_cancel(&session->task);
    wire_decoder_free(&session->decoder);
    stream_queue_clear(&session->queue);
    fr_buf_fini(&session->sending);
    memcpy(why, session->why, sizeof(why));
    if (session->improper)
        session->counters.failures++;
    /* A peer that opens and ends at once must not be asked ten times a second for ever. */
    int64_t lasted_us = was_open ? loop_now_us(session->loop) - session->opened_at_us : 0;
    session->failures = lasted_us > STREAM_BACKOFF_MAX_US ? 1 : session->failures + 1;
    session->opened_at_us = 0;
    session->peer = (struct wire_open){0};
    bool over = session->leaving || !session->connects;
    bool tell = over || was_open || !session->told;
    session->told = true;
    set_state(session, over ? CLOSED : WAITING);
    if (!over)
        loop_timer_start(session->loop, &session->timer, backoff_us(session), on_timer, session);
    if (tell && !session->freed && session->callbacks.ended != NULL)
        session->callbacks.ended(session->ctx, why);
}

void
stream_session_close(struct stream_session *session)
{
    fr_require(session->magic == MAGIC);
    if (session->leaving || session->state == CLOSED)
        return;
    session->leaving = true;
    if (session->state == OPENING || session->state == OPEN) {
        set_why(session, false, "closed");
        begin_closing(session, NULL, NULL);
    } else {
        /* Nothing was said yet that would deserve a goodbye: the task ends it. */
        defer(session);
    }
}

void
stream_session_fail(struct stream_session *session, const char *code, const char *words)
{
    fr_require(session->magic == MAGIC);
    if (session->state != OPENING && session->state != OPEN)
        return;
    set_why(session, true, "refused by this side: %s: %s", code, words);
    begin_closing(session, code, words);
}

void
stream_session_free(struct stream_session **session)
{
    struct stream_session *gone = *session;
    *session = NULL;
    if (gone == NULL)
        return;
    fr_require(gone->magic == MAGIC);
    gone->freed = true;
    set_state(gone, CLOSED);
    loop_defer_cancel(&gone->task);
    close_socket(gone);
    destroy_if_over(gone);
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* True while the peer keeps its rate. Unknown stanzas count too: the decoder has counted them. */
static bool
within_rate(struct stream_session *session)
{
    uint64_t stanzas = wire_decoder_stanzas(session->decoder);
    int64_t rate = session->options.stanza_rate;
    int64_t now_us = loop_now_us(session->loop);
    int64_t passed_us = now_us - session->credit_at_us;
    int64_t full = rate * STANZA_CREDIT;
    /* rate stanzas a second are rate millionths a microsecond. */
    session->credit = passed_us >= FR_US_PER_S || session->credit + passed_us * rate > full
                          ? full
                          : session->credit + passed_us * rate;
    session->credit_at_us = now_us;
    session->counters.stanzas_in += stanzas - session->stanzas_spent;
    session->credit -= (int64_t)(stanzas - session->stanzas_spent) * STANZA_CREDIT;
    session->stanzas_spent = stanzas;
    return session->credit >= 0;
}

static void
fail_rate(struct stream_session *session)
{
    set_why(session, true, "the peer sent more than %u stanzas a second",
            session->options.stanza_rate);
    begin_closing(session, "rate", session->why);
}

static void
take_open(struct stream_session *session, const struct wire_open *open)
{
    session->peer = *open;
    /* The decoder has kept both within the wire's limit. */
    (void)fr_view_copy(open->id, session->peer_id, sizeof(session->peer_id));
    (void)fr_view_copy(open->boot, session->peer_boot, sizeof(session->peer_boot));
    session->peer.id = fr_view_make(session->peer_id, open->id.len);
    session->peer.boot = fr_view_make(session->peer_boot, open->boot.len);
    set_state(session, OPEN);
    session->opened_at_us = loop_now_us(session->loop);
    session->told = false;
    session->counters.streams++;
    if (session->callbacks.opened != NULL)
        session->callbacks.opened(session->ctx, &session->peer);
}

static bool
on_event(void *ctx, const struct wire_event *event)
{
    struct stream_session *session = ctx;
    if (!within_rate(session)) {
        fail_rate(session);
        return false;
    }
    switch (event->kind) {
    case WIRE_EVENT_OPEN:
        take_open(session, event->as.open);
        break;
    case WIRE_EVENT_REPORT:
    case WIRE_EVENT_RECONFIGURE:
    case WIRE_EVENT_RESULT:
        if (session->callbacks.event != NULL)
            session->callbacks.event(session->ctx, event);
        break;
    case WIRE_EVENT_ALIVE:
        break; /* its bytes have shown it */
    case WIRE_EVENT_ERROR:
        set_why(session, true, "the peer ended the stream: %.*s: %.*s",
                FR_VIEW_ARG(event->as.error.code), FR_VIEW_ARG(event->as.error.words));
        begin_closing(session, NULL, NULL);
        break;
    case WIRE_EVENT_CLOSE:
        set_why(session, false, "the peer closed the stream");
        begin_closing(session, NULL, NULL);
        break;
    }
    return session->state == OPEN && !session->freed;
}

static void
decode(struct stream_session *session, struct fr_view bytes)
{
    session->counters.bytes_in += bytes.len;
    session->last_in_us = loop_now_us(session->loop);
    if (session->state != OPENING && session->state != OPEN)
        return; /* we have said goodbye: what still comes is thrown away */
    enum wire_error error = wire_decoder_feed(session->decoder, bytes);
    if (session->freed || (session->state != OPENING && session->state != OPEN))
        return;
    if (error != WIRE_OK) {
        set_why(session, true, "the peer broke the stream: %s: %s", wire_error_code(error),
                wire_decoder_words(session->decoder));
        begin_closing(session, wire_error_code(error), wire_decoder_words(session->decoder));
    } else if (!within_rate(session)) {
        fail_rate(session);
    }
}

static void
on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct stream_session *session = ctx;
    enter(session);
    if (status > 0) {
        decode(session, fr_view_make(buf->data, buf->len));
        loop_buf_give_back(buf);
        if (session->socket_open)
            loop_recv(&session->sock, on_recv, session);
    } else if (session->state == CLOSING && status == 0 && !session->all_sent) {
        session->peer_done = true; /* flush ends it when our goodbye is out */
    } else if (status == 0 && (session->state == OPEN || session->state == OPENING)) {
        /* It sent all it will, in the middle of its stream; it may still read why that is wrong. */
        enum wire_error error = wire_decoder_finish(session->decoder);
        set_why(session, true, "the peer cut the stream");
        session->peer_done = true;
        begin_closing(session, error == WIRE_OK ? NULL : wire_error_code(error),
                      wire_decoder_words(session->decoder));
    } else {
        if (status == 0)
            set_why(session, true, "the peer cut the stream");
        else
            set_why(session, true, "the connection broke: %s", strerrordesc_np(-status));
        end_stream(session);
    }
    leave(session);
}

/* ---- beginning ------------------------------------------------------------------------------ */

/* A socket is there: our <stream> goes out, the peer's is awaited. False when memory is out. */
static bool
begin_stream(struct stream_session *session)
{
    int64_t now_us = loop_now_us(session->loop);
    session->why[0] = '\0';
    session->improper = false;
    session->peer_done = session->all_sent = false;
    session->last_in_us = session->last_out_us = now_us;
    session->credit = (int64_t)session->options.stanza_rate * STANZA_CREDIT;
    session->credit_at_us = now_us;
    session->stanzas_spent = 0;
    if (wire_decoder_new(WIRE_STREAM, &session->options.limits, on_event, session,
                         &session->decoder) != FR_OK)
        return false;
    set_state(session, OPENING);
    queue_open(session);
    loop_timer_start(session->loop, &session->timer, session->options.keepalive_us, on_timer,
                     session);
    return true;
}

static void
on_connected(void *ctx, int status)
{
    struct stream_session *session = ctx;
    enter(session);
    if (status < 0) {
        char address[LOOP_ADDR_TEXT_BYTES];
        loop_addr_format(&session->addr, address);
        set_why(session, true, "cannot connect to %s: %s", address, strerrordesc_np(-status));
        end_stream(session);
    } else if (!begin_stream(session)) {
        set_why(session, true, "out of memory");
        end_stream(session);
    } else {
        loop_recv(&session->sock, on_recv, session);
    }
    leave(session);
}

static void
start_connecting(struct stream_session *session)
{
    if (session->has_socket) { /* the old one's storage is not ours again yet */
        loop_timer_start(session->loop, &session->timer, 1000, on_timer, session);
        return;
    }
    session->why[0] = '\0';
    set_state(session, CONNECTING);
    enum fr_err err =
        loop_connect(&session->sock, session->loop, &session->addr, on_connected, session);
    if (err != FR_OK) {
        set_why(session, true, "cannot connect: %s", fr_err_words(err));
        end_stream(session);
        return;
    }
    session->has_socket = session->socket_open = true;
    loop_timer_start(session->loop, &session->timer, CONNECT_US, on_timer, session);
}

/* ---- timers and tasks ----------------------------------------------------------------------- */

/* Keeps alive, and finds out that the peer does not. */
static void
watch_silence(struct stream_session *session)
{
    int64_t now_us = loop_now_us(session->loop);
    int64_t patience_us = session->options.keepalive_us * STREAM_SILENT_INTERVALS;
    int64_t until_out_us = session->last_out_us + session->options.keepalive_us - now_us;
    int64_t until_in_us = session->last_in_us + patience_us - now_us;
    if (until_in_us <= 0) {
        set_why(session, true, "the peer was silent for %.1f s", (double)patience_us / 1e6);
        begin_closing(session, "silent", session->why);
        return;
    }
    if (until_out_us <= 0) {
        /* While the kernel has not taken what we sent, more of it would not arrive either. */
        if (session->queue.buf.len == 0 && !loop_send_pending(&session->sock))
            queue_alive(session);
        until_out_us = session->options.keepalive_us;
    }
    loop_timer_start(session->loop, &session->timer,
                     until_in_us < until_out_us ? until_in_us : until_out_us, on_timer, session);
}

static void
on_timer(void *ctx)
{
    struct stream_session *session = ctx;
    enter(session);
    switch (session->state) {
    case WAITING:
        start_connecting(session);
        break;
    case CONNECTING:
        set_why(session, true, "the connection was not made within %.0f s",
                (double)CONNECT_US / 1e6);
        end_stream(session);
        break;
    case OPENING:
    case OPEN:
        watch_silence(session);
        break;
    case CLOSING:
        end_stream(session);
        break;
    case CLOSED:
        break;
    }
    leave(session);
}

static void
on_task(void *ctx)
{
    struct stream_session *session = ctx;
    enter(session);
    if (session->first != NULL) {
        struct loop_buf *first = session->first;
        session->first = NULL;
        decode(session, fr_view_make(first->data, first->len));
        loop_buf_give_back(first);
    }
    if (session->leaving && (session->state == WAITING || session->state == CONNECTING)) {
        session->why[0] = '\0';
        set_why(session, false, "closed");
        end_stream(session);
    } else if (session->socket_open && session->state != CONNECTING) {
        if (!session->connects && !loop_recv_pending(&session->sock) && !session->peer_done)
            loop_recv(&session->sock, on_recv, session);
        flush(session);
    }
    leave(session);
}

/* ---- making --------------------------------------------------------------------------------- */

static bool
copy_options(struct stream_session *session, const struct stream_options *options)
{
    struct stream_options *mine = &session->options;
    *mine = *options;
    if (!fr_view_copy(options->open.id, session->open_id, sizeof(session->open_id)) ||
        !fr_view_copy(options->open.boot, session->open_boot, sizeof(session->open_boot)))
        return false;
    mine->open.id.ptr = session->open_id;
    mine->open.boot.ptr = session->open_boot;
    if (mine->stanza_rate == 0)
        mine->stanza_rate = STREAM_STANZA_RATE_DEFAULT;
    if (mine->keepalive_us <= 0)
        mine->keepalive_us = STREAM_KEEPALIVE_US_DEFAULT;
    if (mine->queue_bytes == 0)
        mine->queue_bytes = STREAM_QUEUE_BYTES_DEFAULT;
    if (mine->limits.stanza_bytes == 0)
        mine->limits.stanza_bytes = wire_limits_default.stanza_bytes;
    if (mine->limits.depth == 0)
        mine->limits.depth = wire_limits_default.depth;
    if (mine->limits.attributes == 0)
        mine->limits.attributes = wire_limits_default.attributes;
    if (mine->limits.servers == 0)
        mine->limits.servers = wire_limits_default.servers;
    return true;
}

/* What both makers have in common. FR_ERR_SYNTAX: our own opening could not be sent. */
static enum fr_err
make(struct loop *loop, const struct stream_options *options,
     const struct stream_callbacks *callbacks, void *ctx, struct stream_session **out)
{
    struct fr_buf trial;
    struct stream_session *session = fr_alloc(sizeof(*session));
    if (session == NULL)
        return FR_ERR_NOMEM;
    session->magic = MAGIC;
    session->loop = loop;
    session->callbacks = *callbacks;
    session->ctx = ctx;
    enum fr_err err = copy_options(session, options) ? FR_OK : FR_ERR_SYNTAX;
    stream_queue_init(&session->queue, session->options.queue_bytes,
                      session->options.limits.stanza_bytes);
    fr_buf_init(&session->sending, session->queue.buf.max_bytes);
    fr_buf_init(&trial, 4096);
    if (err == FR_OK)
        err = wire_put_open(&trial, &session->options.open);
    fr_buf_fini(&trial);
    if (options->seed != 0)
        fr_rand_init(&session->rand, options->seed);
    else
        fr_rand_init_random(&session->rand);
    set_state(session, CLOSED);
    if (err == FR_OK)
        *out = session;
    else
        stream_session_free(&session);
    return err;
}

enum fr_err
stream_session_connect(struct loop *loop, const struct loop_addr *addr,
                       const struct stream_options *options,
                       const struct stream_callbacks *callbacks, void *ctx,
                       struct stream_session **out)
{
    struct stream_session *session;
    enum fr_err err = make(loop, options, callbacks, ctx, &session);
    if (err != FR_OK)
        return err;
    session->connects = true;
    session->addr = *addr;
    set_state(session, WAITING);
    loop_timer_start(loop, &session->timer, 0, on_timer, session);
    *out = session;
    return FR_OK;
}

enum fr_err
stream_session_accept(struct loop *loop, int fd, struct loop_buf *first,
                      const struct stream_options *options,
                      const struct stream_callbacks *callbacks, void *ctx,
                      struct stream_session **out)
{
    struct stream_session *session = NULL;
    enum fr_err err = make(loop, options, callbacks, ctx, &session);
    if (err != FR_OK) {
        close(fd);
        loop_buf_give_back(first);
        return err;
    }
    session->first = first;
    err = loop_sock_open(&session->sock, loop, fd); /* closes fd when it fails */
    if (err == FR_OK) {
        session->has_socket = session->socket_open = true;
        if (!begin_stream(session))
            err = FR_ERR_NOMEM;
    }
    if (err != FR_OK) {
        stream_session_free(&session);
        return err;
    }
    defer(session);
    *out = session;
    return FR_OK;
}

/* ---- asking --------------------------------------------------------------------------------- */

bool
stream_session_is_open(const struct stream_session *session)
{
    return session->state == OPEN;
}

const struct wire_open *
stream_session_peer(const struct stream_session *session)
{
    return session->opened_at_us != 0 ? &session->peer : NULL;
}

void
stream_session_set_epoch(struct stream_session *session, uint64_t epoch)
{
    session->options.open.epoch = epoch;
}

size_t
stream_session_queued_bytes(const struct stream_session *session)
{
    return session->queue.buf.len;
}

void
stream_session_read_counters(const struct stream_session *session, struct stream_counters *out)
{
    *out = session->counters;
    out->reports_dropped = session->queue.reports_dropped;
    out->refused = session->queue.refused;
}
