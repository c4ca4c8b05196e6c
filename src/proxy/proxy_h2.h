/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_h2.h - clients that speak HTTP/2: one connection, many streams.
 *
 *     proxy_client (the connection: socket, TLS, address, limits)
 *       └ proxy_h2     its session
 *           └ proxy_stream   one request; begins with a proxy_client that has no socket, on which
 *                            an exchange runs that knows nothing of all this
 *
 * A stream's client answers the same calls as any (proxy_client_want, _sending, _close ...), and
 * what its exchange sends comes here as the text of a head and parts of a body.
 */
#ifndef PROXY_H2_H
#define PROXY_H2_H

#include "http/http2_session.h"
#include "proxy/proxy_priv.h"

#define PROXY_H2_MAGIC 0x70683263u
#define PROXY_H2_GOAWAY_US 200000   /* between the warning and the end: requests are on their way */
#define PROXY_H2_CHUNK_HEAD_BYTES 6 /* "3fe0\r\n" */
#define PROXY_H2_FILE_BIT_BYTES 64
#define PROXY_H2_HELD_BYTES_MAX 524288   /* of responses, for a connection; then: little each */
#define PROXY_H2_UNREAD_BYTES_MAX 524288 /* of requests' bodies, likewise */
#define PROXY_H2_FILE_BUFS 2             /* of a file, read ahead of its frames */

struct proxy_h2 {
    uint32_t magic;
    struct proxy_client *client;
    struct http2_session *session;
    struct fr_list streams; /* of proxy_stream */
    struct fr_list due;     /* likewise: something is to be done with it, outside its exchange */
    struct loop_task task;
    char *room; /* what is being sent; NULL: nothing is */
    bool in_head, idle, warned;
    bool broken;         /* there is no memory to say more */
    int64_t deadline_us; /* of the head, or of idleness; 0: none */
    struct loop_timer leave_timer;
    struct loop_account held;   /* of responses that its streams have not taken */
    struct loop_account unread; /* of requests that nobody has taken from them */
};

struct proxy_stream {
    struct proxy_client client; /* first: see proxy_client_of */
    /* The request's head, as text and by its lines; kept with the free-listed struct. */
    struct fr_buf head, lines;
    struct proxy_h2 *h2;
    struct fr_list link, due_link;
    /* the request, until its exchange begins */
    struct fr_view text; /* of its head; empty: it has begun */
    size_t text_start;   /* in `head` */
    bool announces;      /* trailers */
    /* the request's body: what came and was not passed on */
    struct fr_list bufs; /* of loop_buf */
    size_t unconsumed;   /* payload bytes that its window still counts */
    size_t passed[2];    /* payload of the buffers in client.in */
    bool chunked;        /* its length is not told: passed on in chunks */
    bool wanting;        /* its exchange has room */
    bool ended;          /* nothing follows what came */
    struct fr_view trailers;
    size_t tail_passed; /* of the last chunk and the trailers */
    /* the response */
    bool headed;       /* the final head is out */
    bool tunnel;       /* behind a 101: its length is not known, ends are told */
    bool counted_body; /* body_left is known */
    uint64_t body_left;
    bool sent;   /* the exchange is to be told */
    bool broken; /* ... that nothing can be sent */
    struct fr_buf down_trailers;
    struct loop_file_piece file;
    struct loop_buf *file_bufs[PROXY_H2_FILE_BUFS];
    /* Its end is not cleared for the next request. */
    struct http2_stream http2;
    char file_bit[PROXY_H2_FILE_BIT_BYTES]; /* for the client that allows nothing yet */
};

/* proxy_h2.c */
/* The client's bytes so far are a part of the preface, or all of it. */
enum proxy_h2_look { PROXY_H2_NO, PROXY_H2_MORE, PROXY_H2_YES };
enum proxy_h2_look proxy_h2_look(const struct proxy_client *client);
/* The connection speaks HTTP/2 from here on, what has come included. */
void proxy_h2_begin(struct proxy_client *client);
void proxy_h2_received(struct proxy_client *client, struct loop_buf *buf, int status);
void proxy_h2_timer(struct proxy_client *client);
void proxy_h2_drain(struct proxy_client *client); /* no new requests; closes behind the last */
void proxy_h2_say_goodbye(struct proxy_client *client); /* GOAWAY, as far as the kernel takes it */
void proxy_h2_free(struct proxy_client *client);        /* the socket is closed */
void proxy_h2_wake(struct proxy_h2 *h2);                /* something is due, or to be sent */
void proxy_h2_due(struct proxy_stream *stream);

/* proxy_client.c, proxy_pace.c: what a connection of many streams needs of them */
void proxy_client_idle(struct proxy_client *client, bool idle); /* it may be closed by that */
void proxy_count_refusal(struct proxy_worker *worker, enum http_limit limit);
bool proxy_pace_stalled(struct proxy_client *client); /* it takes too little: reset it */
void proxy_pace_arm(struct proxy_client *client);

/* proxy_h2_stream.c */
extern const struct http2_handlers proxy_stream_handlers;
static inline struct proxy_stream *
proxy_stream_of(const struct proxy_client *client)
{
    return (struct proxy_stream *)(uintptr_t)client;
}
void proxy_stream_send(struct proxy_exchange *x, const struct iovec *iov, int count,
                       const struct loop_file_piece *piece);
void proxy_stream_taken(struct http2_stream *http2); /* all that was sent is in frames */
bool proxy_stream_sending(const struct proxy_client *client);
void proxy_stream_want(struct proxy_client *client);
/* The exchange ends well: before it lets go of its buffers, and after. */
void proxy_stream_finish(struct proxy_exchange *x);
void proxy_stream_over(struct proxy_client *client, bool well);
void proxy_stream_work(struct proxy_stream *stream);   /* what is due */
void proxy_stream_orphan(struct proxy_stream *stream); /* its session is no more */

/* On whose account the response is held; NULL: nobody's but its own two buffers'. */
static inline struct loop_account *
proxy_exchange_account(const struct proxy_exchange *x)
{
    return x->client->stream ? &proxy_stream_of(x->client)->h2->held : NULL;
}

/* Of a response whose length is not told: on a stream the end needs no chunks. */
static inline enum http_framing
proxy_exchange_open_framing(const struct proxy_exchange *x)
{
    return x->http10 || x->client->stream ? HTTP_BODY_TO_CLOSE : HTTP_BODY_CHUNKED;
}

#endif
