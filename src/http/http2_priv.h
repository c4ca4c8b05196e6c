/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_priv.h - what the files of an HTTP/2 session share.
 *
 * May touch:  base, nghttp2. Included by src/http/http2_*.c only.
 */
#ifndef HTTP2_PRIV_H
#define HTTP2_PRIV_H

#include "http/http2_session.h"

/* So many at once, and a tenth of that a second. */
struct http2__budget {
    uint32_t burst;
    int64_t left_milli; /* thousandths */
};

/* What became of a stream, for frames that come late. */
struct http2__past {
    int32_t id;
    bool reset; /* by us: its client may not know yet */
};
#define HTTP2__PAST_MAX 128

struct http2_session {
    nghttp2_session *ng;
    struct http2_limits limits;
    struct http2_handlers handlers;
    void *ctx;
    /* state */
    bool over;    /* what comes is passed over */
    bool settled; /* our SETTINGS were filled */
    enum http2_calm calm;
    int32_t head_stream; /* whose head is under way; 0: none */
    struct http2_stream *head_owner; /* ... and what we have of it; NULL: nothing */
    size_t head_wire_bytes;
    uint32_t head_frames;
    uint32_t open; /* streams whose owner was not told of their end */
    uint64_t requests;
    struct http2__past past[HTTP2__PAST_MAX]; /* of the last opened, by id */
    int64_t now_us;
    struct http2__budget resets, idle_frames;
    struct fr_list taken;
    struct fr_list blocks; /* of nghttp2's memory */
    /* filling */
    char *room; /* inside http2_session_fill */
    size_t room_bytes, room_used;
    struct fr_view pending;   /* of nghttp2's, until it is asked for more */
    bool mute;                /* nothing can be sent any more */
    struct http2_split split; /* of trailers */
};

/* http2_limits.c */
void http2__budget_init(struct http2__budget *budget, uint32_t burst);
void http2__budgets_refill(struct http2_session *session, int64_t now_us);
void http2__give_back(struct http2__budget *budget, uint32_t count);
/* False: the client is over it, and the connection's end is decided. */
bool http2__charge(struct http2_session *session, struct http2__budget *budget,
                   enum http2_calm calm);
void http2__calm(struct http2_session *session, enum http2_calm calm);
/* Frames of types that nobody knows, but for one, are passed over (RFC 9113 section 4.1) and yet
 * told of as they begin: nghttp2 tells of none that was not asked for, and many of them are a
 * flood. */
void http2__tell_of_unknown(nghttp2_session_callbacks *callbacks, nghttp2_option *option,
                            unsigned but);
/* A frame begins. */
void http2__judge_frame(struct http2_session *session, const nghttp2_frame_hd *hd);
/* A field was decoded. False: its head is a bomb. */
bool http2__judge_field(struct http2_session *session, struct http2_stream *stream, size_t bytes);

/* http2_memory.c */
nghttp2_mem http2__mem(struct http2_session *session);
void http2__mem_free_all(struct http2_session *session);
/* What nghttp2 answered says so: the session is over, nothing of it can be sent. */
bool http2__mem_ran_out(struct http2_session *session, ssize_t result);

/* http2_session.c */
struct http2__past *http2__past_of(struct http2_session *session, int32_t id);

/* http2_send.c */
ssize_t http2__read_length(nghttp2_session *ng, uint8_t type, int32_t id, int32_t session_window,
                           int32_t stream_window, uint32_t frame_bytes_max, void *user);
int http2__send_data(nghttp2_session *ng, nghttp2_frame *frame, const uint8_t *framehd,
                     size_t length, nghttp2_data_source *source, void *user);

#endif
