/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_carrier.h - HTTP/2 towards members: one connection, the streams of many exchanges.
 *
 *     pool
 *       └ carriers   proxy_upstream, state SHARED, with a proxy_carrier: socket and session
 *           └ streams    proxy_upstream without a socket, with a proxy_lane: what an exchange has
 *                        where it else would have a connection. They stand in pool->busy.
 *           └ followers  streams that wait: until it is connected, until its SETTINGS came
 *
 * An exchange writes a head, parts of a body and an end, and reads the bytes of an HTTP/1.1 head
 * and of a body whose end is told: it need not know which of the two it has.
 *
 * Shape:      libnghttp2 calls back into proxy_lane.c, which notes; what was noted is told to the
 *             exchanges at the end of the loop's turn (on_task in proxy_carrier.c), outside of
 * every call of the session's. So anything may end, begin or be closed there.
 */
#ifndef PROXY_CARRIER_H
#define PROXY_CARRIER_H

#include "http/http2_client.h"
#include "proxy/proxy_priv.h"

#define PROXY_CARRIER_OUT_BYTES 32768 /* gathered for one send; a frame more at most */

struct proxy_carrier {
    struct proxy_upstream *carrier;
    struct http2_client *client;
    struct fr_list streams; /* of proxy_lane */
    struct fr_list dirty;   /* ... by dirty_link: something is to be told */
    uint32_t count;         /* of streams */
    uint32_t most;          /* of the cluster that asked last */
    int64_t keepalive_us, ping_us;
    uint64_t requests;
    struct fr_buf out; /* being sent, or about to be */
    struct loop_task task;
    struct loop_timer ping_timer;
    bool running;       /* in its task: it may not be freed */
    bool heard, pinged; /* since the timer last ran */
    bool leaving;       /* no new streams, and closed with the last one */
    bool broken;        /* a rule was broken, or a limit met */
};

struct proxy_lane {
    struct http2_call h2s;
    struct proxy_upstream *up;
    struct proxy_carrier *h2;      /* NULL: it waits, or its connection is gone */
    struct proxy_upstream *leader; /* it waits for that */
    struct fr_list link;           /* in the streams of its h2, or the followers of its leader */
    struct fr_list dirty_link;
    struct fr_list queue; /* of loop_buf: came, and up->in is full */
    uint32_t passed[2];   /* bytes of the buffers in up->in, which its window still counts */
    uint32_t window_bytes;
    size_t committed_bytes; /* of it, on the account of its client's connection */
    struct fr_buf trailers;
    loop_send_fn fn; /* of the send under way; NULL: none is */
    void *fn_ctx;
    bool opened, sent, came, over, broken;
    bool websocket;
    char accept[32]; /* Sec-WebSocket-Accept */
};

/* proxy_carrier.c */
/* Whether members are ever spoken to in HTTP/2. */
bool proxy_carrier_may(const struct config_cluster *config);
/* A stream for x, BUSY, or CONNECTING where it has to wait; NULL: x is to make a connection. */
struct proxy_upstream *proxy_carrier_acquire(struct proxy_pool *pool, struct proxy_exchange *x);
/* True: the member is to be spoken to in HTTP/2. False after a handshake that chose otherwise. */
bool proxy_carrier_chosen(const struct proxy_upstream *up);
/* up is connected: it becomes a carrier, and its exchange the first of its streams. */
void proxy_carrier_begin(struct proxy_upstream *up);
void proxy_carrier_received(struct proxy_upstream *carrier, struct loop_buf *buf, int status);
void proxy_carrier_idle_over(struct proxy_upstream *carrier);
void proxy_carrier_close_idle(struct proxy_pool *pool);
void
proxy_carrier_orphan(struct proxy_upstream *leader); /* it goes: its followers look elsewhere */
/* The member is to be asked in HTTP/1.1 for a while (RFC 9113 section 7). */
void proxy_carrier_use_http1(struct proxy_pool *pool);
void proxy_carrier_wake(struct proxy_carrier *h2);   /* there is something to tell or to send */
void proxy_carrier_left(struct proxy_carrier *h2);   /* a stream went */

/* proxy_lane.c */
extern const struct http2_client_ops proxy_lane_ops;
struct proxy_upstream *proxy_lane_new(struct proxy_pool *pool, struct proxy_exchange *x);
void proxy_lane_attach(struct proxy_upstream *up, struct proxy_carrier *h2);
void proxy_lane_tell(struct proxy_lane *lane); /* its exchange what was noted */
void proxy_lane_cut(struct proxy_lane *lane, enum proxy_attempt_end why);
/* What waits goes into up->in while there is room, and up->ended is told behind it. */
void proxy_lane_fill(struct proxy_upstream *up);
/* Sends the head first, where it has not gone; `last`: nothing follows but x->up_trailers. False:
 * no memory, or no room. */
bool proxy_lane_send(struct proxy_exchange *x, const struct iovec *parts, int count,
                     loop_send_fn fn);
void proxy_lane_send_on(struct proxy_upstream *up, const struct iovec *part, bool last,
                        loop_send_fn fn, void *ctx);
/* Behind the body, for a chunked one of the client's; false: no memory. */
bool proxy_lane_trailers(struct proxy_upstream *up, struct fr_buf *out);
void proxy_lane_close(struct proxy_upstream *up);
/* What it may hold counts on its client's account no more, before that client goes. */
void proxy_lane_release(struct proxy_upstream *up);

/* proxy_upstream.c: what is asked of either kind, and by both */
void proxy_pool_count(struct proxy_pool *pool); /* shows how many connections there are */
/* With no state but the caller's, no socket, no pool. NULL: no memory. */
struct proxy_upstream *proxy_upstream_new(struct proxy_worker *worker);
void proxy_upstream_free(struct proxy_upstream *up);
/* The tunnel's, which are a stream's where it is one. */
void proxy_upstream_send(struct proxy_upstream *up, struct iovec part, loop_send_fn fn, void *ctx);
bool proxy_upstream_sending(const struct proxy_upstream *up);
void proxy_upstream_end_sending(struct proxy_upstream *up);

/* proxy_secure.c */
/* Connected: puts TLS under it, behind its preface; its exchange is told. */
void proxy_secure(struct proxy_upstream *up);
/* What came, or the end, while that is under way. */
void proxy_secure_received(struct proxy_upstream *up, struct loop_buf *buf, int status);

/* proxy_drip.c */
/* All that came is passed on: arms the timer for what the member sends next. */
void proxy_drip_wait(struct proxy_exchange *x);
/* It came, or the client is waited for. False: the member is too slow. */
bool proxy_drip_came(struct proxy_exchange *x);
/* The timer ran out. False: the member was silent for too long, or is too slow: *out_end. */
bool proxy_drip_timer(struct proxy_exchange *x, enum proxy_attempt_end *out_end);

#endif
