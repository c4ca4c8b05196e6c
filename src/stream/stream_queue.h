/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_queue.h - stanzas, encoded and waiting to be sent, under a limit in bytes.
 *
 * May touch:  base.
 * Threads:    its owner's.
 * When full:  the oldest reports are dropped, until what is new fits; what is no report never is.
 */
#ifndef STREAM_QUEUE_H
#define STREAM_QUEUE_H

#include "base/fr_buf.h"

enum stream_mark_kind {
    STREAM_MARK_FRAME,  /* <stream>, </stream>, <error>, <alive/>: has room kept free for it */
    STREAM_MARK_REPORT, /* may be dropped */
    STREAM_MARK_STANZA, /* a request or a result */
};

struct stream_mark { /* one element in the buffer; they stand there without gaps */
    size_t bytes;
    enum stream_mark_kind kind;
};

struct stream_queue {
    struct fr_buf buf;
    struct stream_mark *marks;
    size_t mark_count, mark_cap;
    size_t queue_bytes;  /* limit of all that waits */
    size_t stanza_bytes; /* limit of one stanza */
    uint64_t reports_dropped, refused;
};

void stream_queue_init(struct stream_queue *queue, size_t queue_bytes, size_t stanza_bytes);
void stream_queue_fini(struct stream_queue *queue);
void stream_queue_clear(struct stream_queue *queue); /* all is gone, uncounted */

/* Encode into queue->buf between these two; `before` is buf.len before, `err` what the encoder
 * said. On failure nothing was queued: FR_ERR_RANGE (more than stanza_bytes), FR_ERR_FULL,
 * FR_ERR_NOMEM. */
FR_MUST_USE enum fr_err stream_queue_commit(struct stream_queue *queue, size_t before,
                                            enum stream_mark_kind kind, enum fr_err err);
/* All that waits becomes the content of *out, which is empty; returns how many elements. */
size_t stream_queue_take(struct stream_queue *queue, struct fr_buf *out);
void stream_queue_check(const struct stream_queue *queue);

#endif
