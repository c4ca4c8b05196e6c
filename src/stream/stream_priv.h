/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_priv.h - a session's inside, shared by stream_session.c (its life) and stream_traffic.c
 * (what goes out and what comes in).
 */
#ifndef STREAM_PRIV_H
#define STREAM_PRIV_H

#include "base/fr_hash.h"
#include "stream/stream_queue.h"
#include "stream/stream_session.h"

#define STREAM__MAGIC 0x73747273u
#define STREAM__TEXT_BYTES 129          /* of an id; the wire's limit and a NUL */
#define STREAM__STANZA_CREDIT 1000000LL /* of the rate, counted in millionths of a stanza */

enum stream__state {
    STREAM__WAITING, /* connecting only: for the backoff, or for the old socket's storage */
    STREAM__CONNECTING,
    STREAM__OPENING, /* our <stream> is on its way, the peer's not here yet */
    STREAM__OPEN,
    STREAM__CLOSING, /* our goodbye is on its way; what arrives is thrown away */
    STREAM__CLOSED,
};

struct stream_session {
    uint32_t magic;
    /* set once */
    struct loop *loop;
    bool connects;
    struct loop_addr addr;
    struct stream_options options; /* texts of `open` in open_id and open_boot */
    char open_id[STREAM__TEXT_BYTES], open_boot[STREAM__TEXT_BYTES];
    struct stream_callbacks callbacks;
    void *ctx;
    /* life */
    enum stream__state state;
    unsigned entered; /* callbacks of ours that are running */
    bool freed;       /* by the owner */
    bool leaving;     /* the owner said close: no more streams */
    bool has_socket;  /* from opening until its storage is ours again */
    bool socket_open;
    struct loop_sock sock;
    struct tls_client *tls_client;   /* one reference, or NULL */
    struct tls_session *tls_session; /* of ours, until the socket is closed; NULL: none */
    struct loop_timer timer; /* backoff, connecting, keep-alive or linger, as the state has it */
    struct loop_task task;
    struct fr_rand rand;
    /* one stream */
    struct wire_decoder *decoder;
    struct wire_open peer;
    char peer_id[STREAM__TEXT_BYTES], peer_boot[STREAM__TEXT_BYTES];
    struct loop_buf *first; /* bytes read before we were made */
    int64_t opened_at_us;
    int64_t last_in_us, last_out_us;
    int64_t credit, credit_at_us;
    uint64_t stanzas_spent;
    bool peer_done; /* it sent all it will */
    bool all_sent;  /* our goodbye is with the kernel */
    bool improper;  /* how it ends */
    char why[400];
    struct fr_buf sending;
    struct stream_queue queue;
    /* over all streams */
    unsigned failures; /* in a row */
    bool told;         /* the owner knows that there is no stream */
    struct stream_counters counters;
};

/* ---- stream_session.c ----------------------------------------------------------------------- */

/* Around every callback of the loop: a session freed in between lives until the last leave. */
void stream__enter(struct stream_session *session);
void stream__leave(struct stream_session *session);
void stream__set_state(struct stream_session *session, enum stream__state state);
/* The first cause is the cause; later ones are not heard. */
__attribute__((format(printf, 3, 4))) void stream__set_why(struct stream_session *session,
                                                           bool improper, const char *format, ...);
/* Sends what waits, at the end of this turn. */
void stream__defer(struct stream_session *session);
/* Our goodbye, with an <error> when there is a code; the cause was set before. */
void stream__begin_closing(struct stream_session *session, const char *code, const char *words);
/* The connection is over, for whatever reason: into waiting or closed, and tells the owner. */
void stream__end_stream(struct stream_session *session);

/* ---- stream_traffic.c ----------------------------------------------------------------------- */

void stream__queue_open(struct stream_session *session);
void stream__queue_alive(struct stream_session *session);
void stream__queue_goodbye(struct stream_session *session, const char *code, const char *words);
void stream__flush(struct stream_session *session);
/* Makes the decoder of a new stream; false when memory is out. */
bool stream__begin_decoding(struct stream_session *session);
void stream__decode(struct stream_session *session, struct fr_view bytes);
void stream__on_recv(void *ctx, struct loop_buf *buf, int status);

#endif
