/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_queue.c - the bounded queue of a stream session.
 *
 * May touch:  base.
 * Cost:       stanzas are encoded where they wait and handed on by exchanging two buffers: no copy.
 *             Dropping moves what stays, once for all that is dropped.
 */
#include "stream/stream_queue.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

/* Room beyond the limit for an <error> and a </stream>, so that a full queue can still say why it
 * ends. */
#define FRAME_BYTES 16384

void
stream_queue_init(struct stream_queue *queue, size_t queue_bytes, size_t stanza_bytes)
{
    *queue = (struct stream_queue){.queue_bytes = queue_bytes, .stanza_bytes = stanza_bytes};
    /* A new stanza stands in the buffer before the old ones make room for it. */
    fr_buf_init(&queue->buf, queue_bytes + stanza_bytes + FRAME_BYTES);
}

void
stream_queue_fini(struct stream_queue *queue)
{
    fr_buf_fini(&queue->buf);
    fr_free(queue->marks);
    queue->marks = NULL;
    queue->mark_count = queue->mark_cap = 0;
}

void
stream_queue_clear(struct stream_queue *queue)
{
    fr_buf_fini(&queue->buf);
    queue->mark_count = 0;
}

static void
cut(struct fr_buf *buf, size_t len)
{
    if (buf->data == NULL)
        return;
    buf->len = len;
    buf->data[len] = '\0';
}

static bool
add_mark(struct stream_queue *queue, size_t bytes, enum stream_mark_kind kind)
{
    if (queue->mark_count == queue->mark_cap) {
        size_t cap = queue->mark_cap > 0 ? queue->mark_cap * 2 : 16;
        struct stream_mark *marks = fr_realloc(queue->marks, cap * sizeof(*marks));
        if (marks == NULL)
            return false;
        queue->marks = marks;
        queue->mark_cap = cap;
    }
    queue->marks[queue->mark_count++] = (struct stream_mark){bytes, kind};
    return true;
}

/* Drops the oldest reports until `excess` bytes are free or none is left but the newest element.
 * Returns the bytes freed. */
static size_t
drop_reports(struct stream_queue *queue, size_t excess)
{
    size_t from = 0, to = 0, kept = 0, freed = 0;
    for (size_t i = 0; i < queue->mark_count; i++) {
        struct stream_mark mark = queue->marks[i];
        bool newest = i + 1 == queue->mark_count;
        if (freed < excess && mark.kind == STREAM_MARK_REPORT && !newest) {
            freed += mark.bytes;
            queue->reports_dropped++;
        } else {
            memmove(queue->buf.data + to, queue->buf.data + from, mark.bytes);
            to += mark.bytes;
            queue->marks[kept++] = mark;
        }
        from += mark.bytes;
    }
    queue->mark_count = kept;
    cut(&queue->buf, to);
    return freed;
}

enum fr_err
stream_queue_commit(struct stream_queue *queue, size_t before, enum stream_mark_kind kind,
                    enum fr_err err)
{
    size_t bytes = queue->buf.len - before;
    if (err == FR_OK && kind != STREAM_MARK_FRAME && bytes > queue->stanza_bytes)
        err = FR_ERR_RANGE;
    if (err == FR_OK && !add_mark(queue, bytes, kind))
        err = FR_ERR_NOMEM;
    if (err != FR_OK) {
        cut(&queue->buf, before);
        /* The buffer's ceiling lies a whole stanza above the limit: what passes it is too large. */
        return err == FR_ERR_FULL && kind != STREAM_MARK_FRAME ? FR_ERR_RANGE : err;
    }
    if (kind == STREAM_MARK_FRAME || queue->buf.len <= queue->queue_bytes)
        return FR_OK;
    (void)drop_reports(queue, queue->buf.len - queue->queue_bytes); /* the length tells */
    if (queue->buf.len <= queue->queue_bytes)
        return FR_OK;
    queue->mark_count--;
    cut(&queue->buf, queue->buf.len - bytes);
    if (kind == STREAM_MARK_REPORT)
        queue->reports_dropped++;
    else
        queue->refused++;
    return FR_ERR_FULL;
}

size_t
stream_queue_take(struct stream_queue *queue, struct fr_buf *out)
{
    struct fr_buf taken = queue->buf;
    size_t count = queue->mark_count;
    fr_require(out->len == 0);
    fr_slow_check((stream_queue_check(queue), 1));
    queue->buf = *out;
    queue->buf.max_bytes = taken.max_bytes;
    *out = taken;
    queue->mark_count = 0;
    return count;
}

void
stream_queue_check(const struct stream_queue *queue)
{
    size_t bytes = 0;
    for (size_t i = 0; i < queue->mark_count; i++)
        bytes += queue->marks[i].bytes;
    fr_insist(bytes == queue->buf.len);
    fr_insist(queue->buf.len <= queue->buf.max_bytes);
    fr_insist(queue->mark_count <= queue->mark_cap);
}
