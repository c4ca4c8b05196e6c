/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_client.h - our end of an HTTP/2 connection to a member: requests become streams, frames
 * become HTTP/1.1 head texts, runs of body bytes, trailer lines and ends.
 *
 * May touch:  base, libnghttp2. Never: sockets, clocks, logs.
 * Trusts:     nothing. libnghttp2 checks framing, HPACK, the state of streams and the rules of
 *             RFC 9113 section 8; what comes out as text goes through http_response_parse as any
 *             other member's does.
 * Memory:     the session's, through fr_mem; a head is gathered up to head_bytes_max. Body bytes
 *             are shown as they come, and are given back to the stream's window by _consume alone:
 *             who holds them decides how much more may come. No window bounds heads: a response has
 *             one, and HTTP_INTERIM_MAX before it. The connection's window is given
 *             back at once, so that one slow reader holds up no other stream.
 * Limits:     see the constants. Past one the connection is broken (http2_client_receive).
 * Follows:    RFC 9113, RFC 7541, RFC 8441.
 */
#ifndef HTTP_HTTP2_CLIENT_H
#define HTTP_HTTP2_CLIENT_H

#include "http/http2_head.h"

#include <sys/uio.h>

#define HTTP2_CALL_WINDOW_BYTES 65536     /* of a stream, at most: what may wait for its reader */
#define HTTP2_CALL_FIRST_BYTES 1536       /* ... and at least, which is what it begins with */
#define HTTP2_CLIENT_WINDOW_BYTES 1048576 /* of all streams: bytes under way */
#define HTTP2_CALL_PARTS_MAX 16           /* of one send */
#define HTTP2_CLIENT_IDLE_FRAMES_MAX 1000 /* that carry nothing, in a row; then 100 a second */
#define HTTP2_CLIENT_IDLE_FRAMES_A_S 100
#define HTTP2_CLIENT_CONTROL_MAX 1000   /* answers to PING and SETTINGS that wait to be sent */
#define HTTP2_CLIENT_BLOCK_BYTES 262144 /* that we send: more than our own limits let come */

/* Why a stream ended. */
enum http2_call_end {
    HTTP2_CALL_NONE,        /* it has not */
    HTTP2_CALL_OK,          /* a whole response */
    HTTP2_CALL_REFUSED,     /* REFUSED_STREAM: the member did nothing for it */
    HTTP2_CALL_UNPROCESSED, /* above the last stream of a GOAWAY, or never sent: likewise */
    HTTP2_CALL_RESET,       /* RST_STREAM with another error */
    HTTP2_CALL_BAD,         /* the member broke a rule in this stream */
    HTTP2_CALL_INTERIMS,    /* more than HTTP_INTERIM_MAX interim heads */
    HTTP2_CALL_TOO_LARGE,   /* a head or trailers over head_bytes_max */
    HTTP2_CALL_NO_MEMORY,
};

struct http2_call { /* the caller's storage; zero-initialise */
    int32_t id;     /* 0: none, or none any more */
    enum http2_call_end end;
    uint32_t error;      /* of the RST_STREAM that ended it */
    bool ended;          /* END_STREAM came: nothing is missing of the response */
    bool head_came;      /* a final head */
    bool sending;        /* ops->sent is still to come */
    bool http1_required; /* ... and the member wants to be asked in HTTP/1.1 */
    /* private */
    bool head_only; /* the request was a HEAD */
    bool connect;   /* ... or an extended CONNECT */
    bool head_sent, reset_by_peer, deferred, last;
    uint32_t interim_count;
    bool counted; /* body_left is what may still come, and must */
    uint64_t body_left;
    enum http2_call_end fault; /* ours of its frames */
    uint32_t widen_bytes;      /* behind its head */
    struct iovec parts[HTTP2_CALL_PARTS_MAX];
    int part, part_count;
    struct fr_view trailers;
};

/* Called from http2_client_receive and _output; none may call back into the client, but for
 * _consume. */
struct http2_client_ops {
    /* A whole head, interim or final, as HTTP/1.1 text; switched: a 2xx that is consent to an
     * extended CONNECT. False: no memory. */
    bool (*head)(void *ctx, struct http2_call *stream, struct fr_view text, bool switched);
    bool (*data)(void *ctx, struct http2_call *stream, struct fr_view bytes);
    /* The section, with its empty line. */
    bool (*trailers)(void *ctx, struct http2_call *stream, struct fr_view section);
    /* stream->ended, or stream->end, has changed; after an end the stream has no id any more. */
    void (*ended)(void *ctx, struct http2_call *stream);
    /* Every part was taken. */
    void (*sent)(void *ctx, struct http2_call *stream);
};

struct http2_client;

/* ops and limits are borrowed. FR_ERR_NOMEM. */
FR_MUST_USE enum fr_err http2_client_new(const struct http2_client_ops *ops, void *ctx,
                                         const struct http_limits *limits,
                                         struct http2_client **out);
void http2_client_free(struct http2_client **client); /* calls nobody back */

/* False: the connection is broken, and no stream goes on. */
FR_MUST_USE bool http2_client_receive(struct http2_client *client, struct fr_view bytes,
                                      int64_t now_us);
/* So it may turn out in _output, too: the GOAWAY that tells the member is then among the bytes. */
bool http2_client_broken(const struct http2_client *client);
/* Bytes to send, until the next call; empty when there are none. False: no memory. */
FR_MUST_USE bool http2_client_output(struct http2_client *client, struct fr_view *out);

/* How many streams may be opened now; 0 once the member has said GOAWAY. Before its SETTINGS came:
 * one. */
uint32_t http2_client_room(const struct http2_client *client);
bool http2_client_settled(const struct http2_client *client);       /* its SETTINGS came */
bool http2_client_takes_connect(const struct http2_client *client); /* RFC 8441 */
bool http2_client_http1_required(const struct http2_client *client); /* by its GOAWAY */
bool http2_client_leaving(const struct http2_client *client); /* a GOAWAY came, or ids ran out */

struct http2_request {
    struct fr_view head; /* HTTP/1.1 text; what is between two neighbours only stays behind. With an
                          * Upgrade it is an extended CONNECT, and its 2xx comes as a 101. */
    bool https;
    bool bodiless;  /* nothing is sent behind it; ops->sent tells when it is out */
    bool head_only; /* a HEAD */
    bool connect;
    uint32_t window_bytes; /* HTTP2_CALL_FIRST_BYTES or less: that */
};
/* Opens a stream; its body follows by _send. FR_ERR_NOMEM, FR_ERR_FULL: no more of them here. */
FR_MUST_USE enum fr_err http2_client_open(struct http2_client *client, struct http2_call *stream,
                                          const struct http2_request *request);
/* Sends parts, whose bytes stay valid until ops->sent or until the stream has ended. last: nothing
 * follows but `trailers` (a section with its empty line, or nothing; it stays valid likewise). One
 * at a time. */
void http2_client_send(struct http2_client *client, struct http2_call *stream,
                       const struct iovec *parts, int count, bool last, struct fr_view trailers);
/* The window of a stream whose head is out grows by so much. */
void http2_client_widen(struct http2_client *client, struct http2_call *stream, uint32_t bytes);
/* The reader is done with so many bytes. */
void http2_client_consume(struct http2_client *client, struct http2_call *stream, size_t bytes);
/* Nothing more is wanted of it; the stream may be freed. whole: its response was, and this is no
 * complaint. */
void http2_client_cancel(struct http2_client *client, struct http2_call *stream, bool whole);
void http2_client_ping(struct http2_client *client);
void http2_client_goaway(struct http2_client *client); /* we leave, and blame nobody */

#endif
