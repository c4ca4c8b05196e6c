/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_priv.h - what the files of an HTTP/2 session share.
 *
 * May touch:  base. Included by src/http/http2_*.c only.
 */
#ifndef HTTP2_PRIV_H
#define HTTP2_PRIV_H

#include "http/hpack.h"
#include "http/http2_session.h"

#define HTTP2__PAST_MAX 128
#define HTTP2__URGENCIES 8 /* RFC 9218 section 4.1: 0 comes first */
#define HTTP2__URGENCY_USUAL 3
#define HTTP2__EARLY_MAX 8
#define HTTP2__AGAIN_BYTES_MAX 2048
#define HTTP2__OUT_BYTES_MAX (64 * 1048576) /* heads of all streams; budgets bound the rest */

/* So many at once, and a tenth of that a second. */
struct http2__budget {
    uint32_t burst;
    int64_t left_milli; /* thousandths */
};

struct http2__priority {
    uint8_t urgency;
    bool incremental;
};

/* A request's head that may come again: http2_again.c. */
struct http2__again {
    uint32_t added, count; /* of the decoder's table, then */
    bool written;          /* what follows is kept, too */
    uint8_t urgency;
    bool incremental;
    size_t block_bytes, head_bytes;
    struct fr_buf kept; /* the block, what was written of it, its lines */
    struct http2_writer writer;
};

struct http2_session {
    struct http2_limits limits;
    struct http2_handlers handlers;
    void *ctx;
    /* state */
    bool over;        /* what comes is passed over */
    bool mute;        /* nothing can be sent any more */
    bool leaving;     /* our GOAWAY has named the last request */
    bool client_left; /* so has the client's */
    bool settled;     /* its SETTINGS have come */
    bool acked;       /* it knows ours */
    enum http2_calm calm;
    /* what comes in: http2_session.c */
    size_t preface_bytes;
    struct fr_buf partial; /* of a frame that is not whole */
    bool framed;           /* `frame` has begun */
    struct http2_frame frame;
    /* a DATA frame under way: http2_data.c */
    uint32_t data_left, pad_left; /* data_left: padding included */
    bool pad_due;                 /* its length comes first */
    bool data_ignored;
    /* a head under way: http2_request.c */
    int32_t head_stream; /* 0: none */
    bool head_ends_stream;
    struct fr_buf block;
    size_t head_wire_bytes, head_bytes; /* as sent, as decoded */
    uint32_t head_frames;
    struct hpack_decoder decoder;
    struct http2__again again;
    /* streams: http2_streams.c */
    struct fr_list streams; /* open ones, in the order of their ids */
    uint32_t open;
    int32_t last_id;
    uint64_t requests;
    struct fr_list closing; /* their owners are told in a fill */
    /* what became of streams, for frames that come late: an id in the place that is its own */
    int32_t opened[HTTP2__PAST_MAX];
    int32_t resets_sent[HTTP2__PAST_MAX]; /* its client may not know yet */
    /* windows */
    int32_t receive_window; /* what the client may still send */
    uint32_t consumed;      /* of what it sent, not yet given back */
    int32_t send_window;
    int32_t stream_receive_window, stream_send_window; /* new streams begin with */
    /* budgets: http2_limits.c */
    int64_t now_us;
    struct http2__budget resets, idle_frames;
    uint32_t acks; /* of frames, since all was filled */
    /* what goes out: http2_send.c */
    struct fr_buf out; /* all but DATA */
    size_t out_taken;  /* of it */
    uint64_t out_gone; /* ... ever */
    struct hpack_encoder encoder;
    struct fr_list taken;
    struct http2_split *split; /* of trailers: lent, inside one call */
    /* order: http2_priority.c */
    struct fr_list ready[HTTP2__URGENCIES];
    unsigned urgencies; /* a bit for each list that is not empty */
    struct http2__early {
        int32_t id;
        struct http2__priority priority;
    } early[HTTP2__EARLY_MAX]; /* of streams that are yet to come */
    /* open streams by id: http2_streams.c */
    uint32_t slot_mask;
    struct http2_stream *slots[];
};

/* http2_limits.c */
void http2__budget_init(struct http2__budget *budget, uint32_t burst);
void http2__budgets_refill(struct http2_session *session, int64_t now_us);
void http2__give_back(struct http2__budget *budget, uint32_t count);
/* False: the client is over it, and the connection's end is decided. */
bool http2__charge(struct http2_session *session, struct http2__budget *budget,
                   enum http2_calm calm);
void http2__calm(struct http2_session *session, enum http2_calm calm);
/* A frame begins. */
void http2__judge_frame(struct http2_session *session, const struct http2_frame *frame);
/* A field was decoded. False: its head is a bomb. */
bool http2__judge_field(struct http2_session *session, size_t bytes);

/* http2_streams.c */
/* How many slots a session has: a power of two. */
uint32_t http2__slot_count(const struct http2_limits *limits);
/* Whether it is one of the last that were opened, or that we reset, however long it was open. */
bool http2__was_opened(const struct http2_session *session, int32_t id);
bool http2__was_reset(const struct http2_session *session, int32_t id);
struct http2_stream *http2__stream_of(const struct http2_session *session, int32_t id);
/* One that its client may not name yet: section 5.1. */
bool http2__is_idle(const struct http2_session *session, int32_t id);
/* NULL: it is refused. */
struct http2_stream *http2__stream_open(struct http2_session *session, int32_t id);
/* In the fill that takes what was said of it so far, unless that is decided already. */
void http2__stream_closes(struct http2_stream *stream, uint32_t code);
/* Now. */
void http2__stream_close(struct http2_stream *stream, uint32_t code);
void http2__streams_settle(struct http2_session *session);
/* Reset for an error that its client made. */
void http2__stream_blame(struct http2_stream *stream, uint32_t code);
/* An error of one stream, whether it is open or not. */
void http2__stream_error(struct http2_session *session, int32_t id, uint32_t code);
/* Its request has ended, well. */
void http2__stream_ended(struct http2_stream *stream, struct fr_view trailers);

/* http2_request.c */
void http2__headers(struct http2_session *session, const struct http2_frame *frame,
                    struct fr_view payload);
void http2__continuation(struct http2_session *session, const struct http2_frame *frame,
                         struct fr_view payload);

/* http2_again.c */
/* Whether the block came before: then its fields are written as they were. */
bool http2__again_write(struct http2_session *session, struct fr_view block,
                        struct http2_stream *stream);
/* A block's fields were written, all well, and nothing entered the table; it may come again. */
void http2__again_note(struct http2_session *session, struct fr_view block,
                       const struct http2_stream *stream);

/* http2_data.c */
void http2__data_begin(struct http2_session *session);
/* A piece of its payload; once none is left the frame is over. */
void http2__data(struct http2_session *session, struct fr_view piece);

/* http2_control.c */
void http2__control(struct http2_session *session, const struct http2_frame *frame,
                    struct fr_view payload);

/* http2_priority.c */
struct http2__priority http2__priority_read(struct fr_view value);
void http2__priority_update(struct http2_session *session, int32_t id, struct fr_view value);
/* What was said of it before it came; false: nothing, and *out is the usual. */
bool http2__priority_early(const struct http2_session *session, int32_t id,
                           struct http2__priority *out);
void http2__ready(struct http2_stream *stream); /* has something to send that may be sent */
void http2__unready(struct http2_stream *stream);
struct http2_stream *http2__ready_first(const struct http2_session *session);
/* A frame of it was sent: others of its urgency may be next. */
void http2__ready_turn(struct http2_stream *stream);

/* http2_send.c */
void http2__put_frame(struct http2_session *session, struct http2_frame frame,
                      struct fr_view payload);
void http2__put_settings(struct http2_session *session);
void http2__put_reset(struct http2_session *session, int32_t id, uint32_t code);
void http2__put_goaway(struct http2_session *session, int32_t last_id, uint32_t code);
void http2__put_window_update(struct http2_session *session, int32_t id, uint32_t bytes);
/* There may be something to send, or not any more: its windows or parts have changed. */
void http2__stream_look(struct http2_stream *stream);
/* Of memory, or of room for what goes out: the session is over without a word. */
void http2__ran_out(struct http2_session *session, enum http2_calm calm);
/* How much of what goes out, ever, is in front of what comes next. */
uint64_t http2__out_end(const struct http2_session *session);

#endif
