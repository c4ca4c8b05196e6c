/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_traffic.c - what a session sends and what it receives.
 *
 * May touch:  base, loop, wire.
 * Threads:    the loop's.
 * Memory:     see stream_queue.h for what waits; the decoder's own limits for what arrives.
 * When full:  see stream_queue.h.
 * Trusts:     nothing that arrives: the decoder's verdict and the rate end a stream.
 * Cost:       one send a turn for all that was queued in it; no copy of it.
 */
#include "stream/stream_priv.h"

#include "base/fr_time.h"

#include <string.h>

#define KEEP_BYTES 65536 /* a sent buffer larger than this is not kept for the next */

/* ---- sending -------------------------------------------------------------------------------- */

/* Frames have room kept free; where memory is out, the stream ends by the peer's patience. */
void
stream__queue_alive(struct stream_session *session)
{
    size_t before = session->queue.buf.len;
    enum fr_err err = wire_put_alive(&session->queue.buf);
    if (stream_queue_commit(&session->queue, before, STREAM_MARK_FRAME, err) == FR_OK)
        stream__defer(session);
}

void
stream__queue_open(struct stream_session *session)
{
    size_t before = session->queue.buf.len;
    enum fr_err err = wire_put_open(&session->queue.buf, &session->options.open);
    if (stream_queue_commit(&session->queue, before, STREAM_MARK_FRAME, err) == FR_OK)
        stream__defer(session);
}

void
stream__queue_goodbye(struct stream_session *session, const char *code, const char *words)
{
    size_t before = session->queue.buf.len;
    enum fr_err err = FR_OK;
    if (code != NULL)
        err = wire_put_error(&session->queue.buf, code, words);
    if (err == FR_OK)
        err = wire_put_close(&session->queue.buf);
    if (stream_queue_commit(&session->queue, before, STREAM_MARK_FRAME, err) == FR_OK)
        stream__defer(session);
}

/* With TLS the other side tells by an alert what it minds, and in TLS 1.3 it judges our certificate
 * when for us the handshake is over. */
static void
set_broken(struct stream_session *session, int status)
{
    const char *why = session->tls_session ? tls_session_why(session->tls_session) : "";
    if (why[0] != '\0') {
        session->counters.tls_failures++;
        stream__set_why(session, true, "TLS ended by it: %s", why);
    }
    stream__set_why(session, true, "the connection broke: %s", strerrordesc_np(-status));
}

static void
on_sent(void *ctx, int status)
{
    struct stream_session *session = ctx;
    stream__enter(session);
    if (status < 0) {
        set_broken(session, status);
        stream__end_stream(session);
    } else {
        session->counters.bytes_out += session->sending.len;
        if (session->sending.cap > KEEP_BYTES)
            fr_buf_fini(&session->sending);
        else
            fr_buf_clear(&session->sending);
        stream__defer(session);
    }
    stream__leave(session);
}

/* All that waits goes to the kernel at once; what is queued meanwhile waits for that to be taken.
 */
void
stream__flush(struct stream_session *session)
{
    if (!session->socket_open || loop_send_pending(&session->sock))
        return;
    if (session->queue.buf.len > 0) {
        session->counters.stanzas_out += stream_queue_take(&session->queue, &session->sending);
        session->counters.sends++;
        session->last_out_us = loop_now_us(session->loop);
        struct iovec part = {session->sending.data, session->sending.len};
        loop_send(&session->sock, &part, 1, on_sent, session);
    } else if (session->state == STREAM__CLOSING && !session->all_sent) {
        session->all_sent = true;
        loop_shutdown_send(&session->sock);
        if (session->peer_done)
            stream__end_stream(session);
    }
}

static enum fr_err
commit(struct stream_session *session, size_t before, enum stream_mark_kind kind, enum fr_err err)
{
    err = stream_queue_commit(&session->queue, before, kind, err);
    if (err == FR_OK)
        stream__defer(session);
    return err;
}

enum fr_err
stream_session_send_report(struct stream_session *session, const struct wire_report *report)
{
    size_t before = session->queue.buf.len;
    if (session->state != STREAM__OPEN)
        return FR_ERR_CLOSED;
    return commit(session, before, STREAM_MARK_REPORT,
                  wire_put_report(&session->queue.buf, report));
}

enum fr_err
stream_session_send_reconfigure(struct stream_session *session,
                                const struct wire_reconfigure *request)
{
    size_t before = session->queue.buf.len;
    if (session->state != STREAM__OPEN)
        return FR_ERR_CLOSED;
    return commit(session, before, STREAM_MARK_STANZA,
                  wire_put_reconfigure(&session->queue.buf, request));
}

enum fr_err
stream_session_send_result(struct stream_session *session, const struct wire_result *result)
{
    size_t before = session->queue.buf.len;
    if (session->state != STREAM__OPEN)
        return FR_ERR_CLOSED;
    return commit(session, before, STREAM_MARK_STANZA,
                  wire_put_result(&session->queue.buf, result));
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
    int64_t full = rate * STREAM__STANZA_CREDIT;
    /* rate stanzas a second are rate millionths a microsecond. */
    session->credit = passed_us >= FR_US_PER_S || session->credit + passed_us * rate > full
                          ? full
                          : session->credit + passed_us * rate;
    session->credit_at_us = now_us;
    session->counters.stanzas_in += stanzas - session->stanzas_spent;
    session->credit -= (int64_t)(stanzas - session->stanzas_spent) * STREAM__STANZA_CREDIT;
    session->stanzas_spent = stanzas;
    return session->credit >= 0;
}

static void
fail_rate(struct stream_session *session)
{
    stream__set_why(session, true, "the peer sent more than %u stanzas a second",
                    session->options.stanza_rate);
    stream__begin_closing(session, "rate", session->why);
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
    stream__set_state(session, STREAM__OPEN);
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
        session->counters.refusals++;
        stream__set_why(session, true, "the peer ended the stream: %.*s: %.*s",
                        FR_VIEW_ARG(event->as.error.code), FR_VIEW_ARG(event->as.error.words));
        stream__begin_closing(session, NULL, NULL);
        break;
    case WIRE_EVENT_CLOSE:
        stream__set_why(session, false, "the peer closed the stream");
        stream__begin_closing(session, NULL, NULL);
        break;
    }
    return session->state == STREAM__OPEN && !session->freed;
}

void
stream__decode(struct stream_session *session, struct fr_view bytes)
{
    session->counters.bytes_in += bytes.len;
    session->last_in_us = loop_now_us(session->loop);
    if (session->state != STREAM__OPENING && session->state != STREAM__OPEN)
        return; /* we have said goodbye: what still comes is thrown away */
    enum wire_error error = wire_decoder_feed(session->decoder, bytes);
    if (session->freed || (session->state != STREAM__OPENING && session->state != STREAM__OPEN))
        return;
    if (error != WIRE_OK) {
        stream__set_why(session, true, "the peer broke the stream: %s: %s", wire_error_code(error),
                        wire_decoder_words(session->decoder));
        stream__begin_closing(session, wire_error_code(error),
                              wire_decoder_words(session->decoder));
    } else if (!within_rate(session)) {
        fail_rate(session);
    }
}

void
stream__on_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct stream_session *session = ctx;
    stream__enter(session);
    if (status > 0) {
        stream__decode(session, fr_view_make(buf->data, buf->len));
        loop_buf_give_back(buf);
        if (session->socket_open)
            loop_recv(&session->sock, stream__on_recv, session);
    } else if (session->state == STREAM__CLOSING && status == 0 && !session->all_sent) {
        session->peer_done = true; /* flush ends it when our goodbye is out */
    } else if (status == 0 &&
               (session->state == STREAM__OPEN || session->state == STREAM__OPENING)) {
        /* It sent all it will, in the middle of its stream; it may still read why that is wrong. */
        enum wire_error error = wire_decoder_finish(session->decoder);
        stream__set_why(session, true, "the peer cut the stream");
        session->peer_done = true;
        stream__begin_closing(session, error == WIRE_OK ? NULL : wire_error_code(error),
                              wire_decoder_words(session->decoder));
    } else {
        if (status == 0)
            stream__set_why(session, true, "the peer cut the stream");
        else
            set_broken(session, status);
        stream__end_stream(session);
    }
    stream__leave(session);
}

bool
stream__begin_decoding(struct stream_session *session)
{
    session->credit = (int64_t)session->options.stanza_rate * STREAM__STANZA_CREDIT;
    session->credit_at_us = session->last_in_us = loop_now_us(session->loop);
    session->stanzas_spent = 0;
    return wire_decoder_new(WIRE_STREAM, &session->options.limits, on_event, session,
                            &session->decoder) == FR_OK;
}
