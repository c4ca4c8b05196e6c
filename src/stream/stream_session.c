/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_session.c - the life of a stream: connecting, opening, ending, and again.
 *
 * May touch:  base, loop, tls, wire.
 * Threads:    the loop's.
 * Trusts:     no peer to speak on, to end, or to let itself be connected to: each has its time.
 *
 * Who writes the state: stream__set_state alone. Who ends: every end of a connection passes
 * stream__end_stream, and every goodbye stream__begin_closing before it. Callbacks run only between
 * stream__enter and stream__leave, so that a session freed inside one lives until it is over.
 */
#include "stream/stream_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CONNECT_US 5000000LL /* how long a connection may take to be made */

static void on_timer(void *ctx);
static void on_task(void *ctx);

/* ---- life and death ------------------------------------------------------------------------- */

void
stream__set_state(struct stream_session *session, enum stream__state state)
{
    session->state = state;
}

void
stream__enter(struct stream_session *session)
{
    fr_require(session->magic == STREAM__MAGIC);
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
    tls_client_unref(&session->tls_client);
    session->magic = 0;
    fr_free(session);
}

void
stream__leave(struct stream_session *session)
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
    session->tls_session = NULL;
    if (session->socket_open) {
        session->socket_open = false;
        loop_close(&session->sock, on_socket_closed, session);
    }
}

__attribute__((format(printf, 3, 4))) void
stream__set_why(struct stream_session *session, bool improper, const char *format, ...)
{
    va_list args;
    if (session->why[0] != '\0')
        return; /* the first cause is the cause */
    session->improper = improper;
    va_start(args, format);
    int len = vsnprintf(session->why, sizeof(session->why), format, args);
    va_end(args);
    if (len < 0 || (size_t)len < sizeof(session->why))
        return;
    /* Cut, and before a character: the peer's words may be of any script. */
    size_t end = sizeof(session->why) - 1;
    while (end > 0 && ((unsigned char)session->why[end - 1] & 0xc0) == 0x80)
        end--;
    if (end > 0 && (unsigned char)session->why[end - 1] >= 0xc0)
        end--;
    session->why[end] = '\0';
}

void
stream__defer(struct stream_session *session)
{
    if (!session->task.queued)
        loop_defer(session->loop, &session->task, on_task, session);
}

/* ---- ending --------------------------------------------------------------------------------- */

/* Goes on in stream__flush, stream__on_recv and on_timer. */
void
stream__begin_closing(struct stream_session *session, const char *code, const char *words)
{
    fr_insist(session->state == STREAM__OPENING || session->state == STREAM__OPEN);
    stream__set_state(session, STREAM__CLOSING);
    session->all_sent = false;
    stream__queue_goodbye(session, code, words);
    stream__defer(session);
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
void
stream__end_stream(struct stream_session *session)
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
    stream__set_state(session, over ? STREAM__CLOSED : STREAM__WAITING);
    if (!over)
        loop_timer_start(session->loop, &session->timer, backoff_us(session), on_timer, session);
    if (tell && !session->freed && session->callbacks.ended != NULL)
        session->callbacks.ended(session->ctx, why);
}

void
stream_session_close(struct stream_session *session)
{
    fr_require(session->magic == STREAM__MAGIC);
    if (session->leaving || session->state == STREAM__CLOSED)
        return;
    session->leaving = true;
    if (session->state == STREAM__OPENING || session->state == STREAM__OPEN) {
        stream__set_why(session, false, "closed");
        stream__begin_closing(session, NULL, NULL);
    } else {
        /* Nothing was said yet that would deserve a goodbye: the task ends it. */
        stream__defer(session);
    }
}

void
stream_session_fail(struct stream_session *session, const char *code, const char *words)
{
    fr_require(session->magic == STREAM__MAGIC);
    if (session->state != STREAM__OPENING && session->state != STREAM__OPEN)
        return;
    stream__set_why(session, true, "refused by this side: %s: %s", code, words);
    stream__begin_closing(session, code, words);
}

void
stream_session_free(struct stream_session **session)
{
    struct stream_session *gone = *session;
    *session = NULL;
    if (gone == NULL)
        return;
    fr_require(gone->magic == STREAM__MAGIC);
    gone->freed = true;
    stream__set_state(gone, STREAM__CLOSED);
    loop_defer_cancel(&gone->task);
    close_socket(gone);
    destroy_if_over(gone);
}

/* ---- beginning ------------------------------------------------------------------------------ */

/* A socket is there: our <stream> goes out, the peer's is awaited. False when memory is out. */
static bool
begin_stream(struct stream_session *session)
{
    session->why[0] = '\0';
    session->improper = false;
    session->peer_done = session->all_sent = false;
    session->last_out_us = loop_now_us(session->loop);
    if (!stream__begin_decoding(session))
        return false;
    stream__set_state(session, STREAM__OPENING);
    stream__queue_open(session);
    loop_timer_start(session->loop, &session->timer, session->options.keepalive_us, on_timer,
                     session);
    return true;
}

/* From inside of a receive or send, which fails next and ends the stream. */
static void
on_handshake(void *ctx, enum tls_outcome outcome, const char *words)
{
    struct stream_session *session = ctx;
    if (outcome == TLS_FAILED)
        stream__set_why(session, true, "no TLS with it: %s", words);
}

static bool
begin_tls(struct stream_session *session)
{
    return session->tls_client == NULL ||
           tls_connect(session->tls_client, &session->sock, "manager", NULL, on_handshake, session,
                       &session->tls_session) == FR_OK;
}

static void
on_connected(void *ctx, int status)
{
    struct stream_session *session = ctx;
    stream__enter(session);
    if (status < 0) {
        char address[LOOP_ADDR_TEXT_BYTES];
        loop_addr_format(&session->addr, address);
        stream__set_why(session, true, "cannot connect to %s: %s", address,
                        strerrordesc_np(-status));
        stream__end_stream(session);
    } else if (!begin_stream(session) || !begin_tls(session)) {
        session->why[0] = '\0';
        stream__set_why(session, true, "out of memory");
        stream__end_stream(session);
    } else {
        loop_recv(&session->sock, stream__on_recv, session);
    }
    stream__leave(session);
}

static void
start_connecting(struct stream_session *session)
{
    if (session->has_socket) { /* the old one's storage is not ours again yet */
        loop_timer_start(session->loop, &session->timer, 1000, on_timer, session);
        return;
    }
    session->why[0] = '\0';
    stream__set_state(session, STREAM__CONNECTING);
    enum fr_err err =
        loop_connect(&session->sock, session->loop, &session->addr, on_connected, session);
    if (err != FR_OK) {
        stream__set_why(session, true, "cannot connect: %s", fr_err_words(err));
        stream__end_stream(session);
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
        stream__set_why(session, true, "the peer was silent for %.1f s", (double)patience_us / 1e6);
        stream__begin_closing(session, "silent", session->why);
        return;
    }
    if (until_out_us <= 0) {
        /* While the kernel has not taken what we sent, more of it would not arrive either. */
        if (session->queue.buf.len == 0 && !loop_send_pending(&session->sock))
            stream__queue_alive(session);
        until_out_us = session->options.keepalive_us;
    }
    loop_timer_start(session->loop, &session->timer,
                     until_in_us < until_out_us ? until_in_us : until_out_us, on_timer, session);
}

static void
on_timer(void *ctx)
{
    struct stream_session *session = ctx;
    stream__enter(session);
    switch (session->state) {
    case STREAM__WAITING:
        start_connecting(session);
        break;
    case STREAM__CONNECTING:
        stream__set_why(session, true, "the connection was not made within %.0f s",
                        (double)CONNECT_US / 1e6);
        stream__end_stream(session);
        break;
    case STREAM__OPENING:
    case STREAM__OPEN:
        watch_silence(session);
        break;
    case STREAM__CLOSING:
        stream__end_stream(session);
        break;
    case STREAM__CLOSED:
        break;
    }
    stream__leave(session);
}

static void
on_task(void *ctx)
{
    struct stream_session *session = ctx;
    stream__enter(session);
    if (session->first != NULL) {
        struct loop_buf *first = session->first;
        session->first = NULL;
        stream__decode(session, fr_view_make(first->data, first->len));
        loop_buf_give_back(first);
    }
    if (session->leaving &&
        (session->state == STREAM__WAITING || session->state == STREAM__CONNECTING)) {
        session->why[0] = '\0';
        stream__set_why(session, false, "closed");
        stream__end_stream(session);
    } else if (session->socket_open && session->state != STREAM__CONNECTING) {
        if (!session->connects && !loop_recv_pending(&session->sock) && !session->peer_done)
            loop_recv(&session->sock, stream__on_recv, session);
        stream__flush(session);
    }
    stream__leave(session);
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
    session->magic = STREAM__MAGIC;
    session->loop = loop;
    session->callbacks = *callbacks;
    session->ctx = ctx;
    session->tls_client = tls_client_ref(options->tls);
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
    stream__set_state(session, STREAM__CLOSED);
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
    stream__set_state(session, STREAM__WAITING);
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
        if (options->filter)
            options->filter->close(options->filter, true);
        close(fd);
        loop_buf_give_back(first);
        return err;
    }
    session->first = first;
    loop_sock_open(&session->sock, loop, fd);
    if (options->filter)
        loop_sock_filter(&session->sock, options->filter);
    session->options.filter = NULL;
    session->has_socket = session->socket_open = true;
    if (!begin_stream(session)) {
        stream_session_free(&session);
        return FR_ERR_NOMEM;
    }
    stream__defer(session);
    *out = session;
    return FR_OK;
}

/* ---- asking --------------------------------------------------------------------------------- */

bool
stream_session_is_open(const struct stream_session *session)
{
    return session->state == STREAM__OPEN;
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

void
stream_session_set_tls(struct stream_session *session, struct tls_client *tls)
{
    tls_client_unref(&session->tls_client);
    session->tls_client = tls_client_ref(tls);
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
