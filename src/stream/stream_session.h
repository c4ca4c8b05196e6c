/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_session.h - one XML stream over one socket, for either end of it.
 *
 * May touch:  base, loop, tls, wire. Never: what the stanzas mean.
 * Threads:    a session belongs to its loop's thread, calls and callbacks alike.
 * Callbacks:  always from loop_run, never inside a call of this header. Every call below, also
 *             stream_session_free, may be made from inside a callback.
 * Memory:     queue_bytes of stanzas waiting, and at most as much again under way to the kernel.
 * When full:  the oldest reports go first (their counters are cumulative, the next says it all);
 *             requests and results are never dropped: the sender is told FR_ERR_FULL instead.
 * Trusts:     nothing that arrives. What breaks a limit or the grammar ends the stream with an
 *             <error> that says which and where.
 *
 * Life of one stream (a connecting session goes round until it is closed):
 *
 *     waiting --timer--> connecting --connected--> opening --peer's <stream>--> open
 *        ^                   |                        |                          |
 *        +----- failed ------+-------- ended ---------+-------- ended -----------+
 *                                                     open --close--> closing --> closed
 *
 * An accepting session begins in `opening` and is `closed` once its stream ended.
 */
#ifndef STREAM_SESSION_H
#define STREAM_SESSION_H

#include "loop/loop.h"
#include "tls/tls.h"
#include "wire/wire.h"

#define STREAM_QUEUE_BYTES_DEFAULT ((size_t)4 << 20)
#define STREAM_STANZA_RATE_DEFAULT 2000u
#define STREAM_KEEPALIVE_US_DEFAULT 5000000LL
#define STREAM_SILENT_INTERVALS 3       /* keep-alive intervals without a byte: ended */
#define STREAM_BACKOFF_MIN_US 100000LL  /* doubles with every failure in a row … */
#define STREAM_BACKOFF_MAX_US 2000000LL /* … up to this, each time 75 to 125 % of it */
#define STREAM_LINGER_US 1000000LL      /* how long a closing end waits for the other */

struct stream_session;

struct stream_options {        /* zero in a number: its default */
    struct wire_open open;     /* ours; its texts are copied */
    struct wire_limits limits; /* of what the peer sends */
    uint32_t stanza_rate;      /* stanzas a second the peer may send, with bursts of as many */
    int64_t keepalive_us;      /* silence of ours after which <alive/> is sent */
    size_t queue_bytes;
    uint64_t seed; /* of the backoff's jitter; 0: random */
    /* Connecting: TLS under the stream, a reference is taken. NULL: in the clear. */
    struct tls_client *tls;
    /* Accepting: TLS whose handshake is over and which stands under the descriptor already. NULL:
     * in the clear. Taken, even on failure. */
    struct loop_filter *filter;
};

struct stream_callbacks {
    /* The peer opened its stream and both versions agree: from now on stanzas can be sent. Texts in
     * *open live until the stream ends (stream_session_peer). */
    void (*opened)(void *ctx, const struct wire_open *open);
    /* A report, reconfigure or result. It and all it points at live until this returns. */
    void (*event)(void *ctx, const struct wire_event *event);
    /* The stream is over, or could not be had; `why` is a sentence that lives until this returns.
     * Stanzas still queued are gone. Accepting: called once, then only free is left to do.
     * Connecting: called when an open stream ended and at the first of several failures in a row;
     * the session goes on trying by itself. After stream_session_close: called once, at last. */
    void (*ended)(void *ctx, const char *why);
};

struct stream_counters { /* since the session was made, over all its streams */
    uint64_t stanzas_in, stanzas_out;
    uint64_t bytes_in, bytes_out;
    uint64_t reports_dropped; /* for want of room */
    uint64_t refused;         /* requests and results that found no room: FR_ERR_FULL */
    uint64_t streams;         /* opened by both ends */
    uint64_t failures;        /* streams and attempts that ended otherwise than by a proper close */
    uint64_t sends;           /* what was handed to the kernel at once */
    uint64_t tls_failures;    /* handshakes that failed, alerts behind them included */
    uint64_t refusals;        /* streams that the other side ended with an <error> */
};

/* Connects, and connects again whenever the stream ends, until closed or freed. `callbacks` is
 * copied. */
FR_MUST_USE enum fr_err stream_session_connect(struct loop *loop, const struct loop_addr *addr,
                                               const struct stream_options *options,
                                               const struct stream_callbacks *callbacks, void *ctx,
                                               struct stream_session **out);
/* Takes an accepted descriptor, and the bytes that were read from it before (`first`, NULL: none).
 * Owns:  both, even on failure. */
FR_MUST_USE enum fr_err stream_session_accept(struct loop *loop, int fd, struct loop_buf *first,
                                              const struct stream_options *options,
                                              const struct stream_callbacks *callbacks, void *ctx,
                                              struct stream_session **out);
/* Says goodbye: what is queued goes out, then </stream>; ended follows when the peer did the same,
 * or after STREAM_LINGER_US. */
void stream_session_close(struct stream_session *session);
/* Says why the peer's stream is refused (code in lower-case-with-dashes), then ends as after an
 * error of the decoder: <error>, </stream>, ended. A connecting session tries again later. */
void stream_session_fail(struct stream_session *session, const char *code, const char *words);
/* Ends at once, without a callback. Accepts NULL, leaves NULL behind. The loop must run one more
 * turn before loop_free. */
void stream_session_free(struct stream_session **session);

/* ---- sending: encoded at once, handed to the kernel together at the end of this turn ---------
 * FR_ERR_CLOSED: no stream is open.  FR_ERR_FULL: no room.  FR_ERR_RANGE: larger than
 * limits.stanza_bytes, the peer would refuse it.  FR_ERR_NOMEM. */
FR_MUST_USE enum fr_err stream_session_send_report(struct stream_session *session,
                                                   const struct wire_report *report);
FR_MUST_USE enum fr_err stream_session_send_reconfigure(struct stream_session *session,
                                                        const struct wire_reconfigure *request);
FR_MUST_USE enum fr_err stream_session_send_result(struct stream_session *session,
                                                   const struct wire_result *result);

bool stream_session_is_open(const struct stream_session *session);
/* The peer's opening; NULL while no stream is open. */
const struct wire_open *stream_session_peer(const struct stream_session *session);
/* What our next <stream> says as its epoch. */
void stream_session_set_epoch(struct stream_session *session, uint64_t epoch);
/* The next connection is made with this one (a reference is taken); the one that stands goes on. */
void stream_session_set_tls(struct stream_session *session, struct tls_client *tls);
size_t stream_session_queued_bytes(const struct stream_session *session);
void stream_session_read_counters(const struct stream_session *session,
                                  struct stream_counters *out);

#endif
