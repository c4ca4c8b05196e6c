/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_session.h - the server's side of one HTTP/2 connection: bytes in, requests out; responses
 * in, bytes out.
 *
 * May touch:  base. Never: sockets, clocks (the time is told), logs.
 * Callbacks:  the handlers run inside http2_session_receive and _fill; they may call everything
 *             here that is about a stream, and must not free the session.
 * Memory:     frames that are not whole, and heads to be sent; a stream is its owner's storage. A
 *             body's bytes are copied once, from where they are into the room from which the socket
 *             sends, so that a stream that ends leaves nothing behind in a send under way; TLS
 *             would have to copy them into its records anyway.
 * Limits:     struct http2_limits; http2_calm says which of them ended a connection.
 * Trusts:     nothing.
 * Follows:    RFC 9113, RFC 7541, RFC 8441, RFC 9218.
 */
#ifndef HTTP2_SESSION_H
#define HTTP2_SESSION_H

#include "base/fr_list.h"
#include "http/http2_frame.h"
#include "http/http2_head.h"

#include <sys/uio.h>

#define HTTP2_PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define HTTP2_PARTS_MAX 16     /* of one piece of a body */
#define HTTP2_ROOM_BYTES 49184 /* three whole DATA frames: what is filled and sent at once */

struct http2_session;

struct http2_limits {
    struct http_limits head;
    uint32_t streams;             /* at once */
    uint32_t stream_window_bytes; /* of a body that nobody has taken yet */
    uint32_t connection_window_bytes;
    uint32_t resets;      /* streams that may end early in one go, and a tenth a second */
    uint32_t idle_frames; /* frames that carry nothing, likewise */
};

/* What a client was too much in. */
enum http2_calm {
    HTTP2_CALM_NONE,
    HTTP2_CALM_RESETS,
    HTTP2_CALM_FRAMES,
    HTTP2_CALM_HEADS,
    HTTP2_CALM_UNREAD, /* what waits for it to read: it cannot be told */
    HTTP2_CALM_MEMORY, /* nothing: we have none left, and it cannot be told */
};

struct http2_stream { /* part of its owner's */
    int32_t id;
    struct http2_session *session; /* NULL: closed */
    /* the request */
    struct fr_buf *head;  /* its owner's; takes the head's text */
    struct fr_buf *lines; /* likewise: where its lines are; NULL: nobody asks */
    struct fr_buf trailers;
    enum http2_verdict verdict;
    bool begun;             /* its head was told */
    bool ended;             /* ... and its end */
    bool counted;           /* its body's length is told */
    uint64_t body_left;     /* ... and so much is to come */
    int32_t receive_window; /* what the client may still send */
    uint32_t consumed;      /* of what it sent, not yet given back */
    /* the response */
    int part_first, part_count;
    size_t left;             /* of the parts */
    struct fr_view trailing; /* a section, sent behind the last part */
    bool sending;            /* parts were given that are not all taken */
    bool last;               /* nothing comes behind the parts */
    bool answered;           /* the final head was given */
    bool switched;           /* ... and both sides may go on until each has ended */
    bool finished;           /* END_STREAM is in what was filled */
    bool reset;              /* by us */
    bool blamed;             /* ... for what its client did */
    bool closing;            /* its owner will be told */
    uint32_t code;           /* ... why */
    uint64_t told_at;        /* ... once so much of what goes out is gone */
    int32_t send_window;     /* below zero by SETTINGS: RFC 9113 section 6.9.2 */
    uint64_t taken_bytes;    /* of bodies, ever */
    struct fr_list taken_link;
    /* among others */
    uint8_t urgency;
    bool incremental, is_ready;
    bool prioritised;          /* by a frame, which is above its head's field */
    struct fr_list link;       /* of those that are ready, or closing */
    struct fr_list order_link; /* of all that are open, by id */
    struct http2_stream *next; /* in its slot */
    /* Good as far as what is above tells: storage that is used again is cleared up to here. */
    struct http2_writer writer;
    struct iovec parts[HTTP2_PARTS_MAX];
};

struct http2_handlers {
    /* A request begins: storage for it, cleared, head and lines set; NULL: it is refused. */
    struct http2_stream *(*on_open)(void *ctx);
    /* Its head is whole; text is valid until the stream is closed. */
    void (*on_head)(void *ctx, struct http2_stream *stream, struct fr_view text, bool end_stream);
    /* Its head is too large: it is to be answered, or reset. */
    void (*on_refused)(void *ctx, struct http2_stream *stream, const char *words);
    void (*on_data)(void *ctx, struct http2_stream *stream, struct fr_view data);
    /* Its end: a section of trailers, or nothing. */
    void (*on_end)(void *ctx, struct http2_stream *stream, struct fr_view trailers);
    /* No more of it, in either direction. The storage is its owner's again. */
    void (*on_closed)(void *ctx, struct http2_stream *stream, uint32_t code);
};

/* split: ten kilobytes of room inside one call, which one can lend to all its sessions. */
FR_MUST_USE enum fr_err http2_session_new(const struct http2_limits *limits,
                                          const struct http2_handlers *handlers, void *ctx,
                                          struct http2_split *split, struct http2_session **out);
/* Streams that are open are closed without a word: their owner knows. Not from a handler. */
void http2_session_free(struct http2_session **session);

/* All bytes, the client's preface first. After the connection's end has been decided the rest is
 * passed over. */
void http2_session_receive(struct http2_session *session, struct fr_view bytes, int64_t now_us);

/* Writes frames into the room, as many as fit; returns how many bytes. A room of HTTP2_ROOM_BYTES
 * always takes what there is to begin with. */
size_t http2_session_fill(struct http2_session *session, char *room, size_t room_bytes);
/* The next stream all of whose parts are in what was filled; NULL: none. */
struct http2_stream *http2_session_taken(struct http2_session *session);
bool http2_session_wants(const struct http2_session *session); /* there is something to fill */
/* Nothing will be read or written any more. */
bool http2_session_over(const struct http2_session *session);
enum http2_calm http2_session_calm(const struct http2_session *session);
/* A head that has begun and is not whole. */
bool http2_session_in_head(const struct http2_session *session);
uint32_t http2_session_streams(const struct http2_session *session);  /* open */
uint64_t http2_session_requests(const struct http2_session *session); /* ever */
/* No new requests, in two steps (RFC 9113 section 6.8): a warning, and a while later the end. */
void http2_session_warn(struct http2_session *session);
void http2_session_goaway(struct http2_session *session);
/* The end, at once. */
void http2_session_end(struct http2_session *session, uint32_t code);

/* ---- streams --------------------------------------------------------------------------------- */

/* Bytes of its body were taken: the client may send as many more. Of a stream that is closed they
 * still count for the connection. */
void http2_stream_consume(struct http2_session *session, struct http2_stream *stream, size_t bytes);
/* Begins to split the text of a head for this stream. */
void http2_stream_split(struct http2_stream *stream, struct http2_split *split);
/* An interim head, or the final one; end: nothing follows. False: no memory; reset it. */
FR_MUST_USE bool http2_stream_head(struct http2_stream *stream, struct http2_split *head, bool end);
/* More of the body, after the head and when nothing is being sent. The parts' bytes and the
 * trailers stay valid until http2_session_taken names it. Nothing may be empty: with `last`. */
void http2_stream_body(struct http2_stream *stream, const struct iovec *parts, int count, bool last,
                       struct fr_view trailers);
void http2_stream_reset(struct http2_stream *stream, uint32_t code);
/* What the client allows now: at 0 it is the client that holds it up. */
size_t http2_stream_window(const struct http2_stream *stream);

#endif
