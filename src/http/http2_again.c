/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http2_again.c - a request's head that is, octet for octet, one that came before: what was written
 * of it is copied.
 *
 * May touch:  base.
 * Memory:     HTTP2__AGAIN_BYTES_MAX: a block, and what was written of it once it has come twice
 *             in a row. No memory: it is read as any other.
 * Limits:     longer ones are read each time.
 * Cost:       a comparison with a block that is as long; two copies where it is the same.
 * Follows:    RFC 7541 section 2.3.
 *
 * Those who ask for one thing again and again, and callers of gRPC, send the same block each time
 * once all that can be is in HPACK's table. It means the same as long as nothing enters or leaves
 * that table. Blocks with a field that must never be indexed are not kept.
 */
#include "http/http2_priv.h"

#include "base/fr_put.h"

/* Whether the table is as it was. */
static bool
is_of_now(const struct http2__again *again, const struct hpack_table *table)
{
    return again->added == table->added && again->count == table->count;
}

static struct fr_view
kept_block(const struct http2__again *again)
{
    return fr_view_make(again->kept.data, again->block_bytes);
}

bool
http2__again_write(struct http2_session *session, struct fr_view block, struct http2_stream *stream)
{
    const struct http2__again *again = &session->again;
    struct fr_buf *head = stream->head, *lines = stream->lines;
    size_t lines_bytes = again->kept.len - again->block_bytes - again->head_bytes;
    if (!again->written || !is_of_now(again, &session->decoder.table) ||
        !fr_view_eq(kept_block(again), block) || !again->writer.lines != !lines)
        return false;
    if (fr_buf_reserve(head, again->head_bytes) != FR_OK ||
        (lines && fr_buf_reserve(lines, lines_bytes) != FR_OK))
        return false;
    stream->writer = again->writer;
    stream->writer.out = head;
    stream->writer.lines = lines;
    if (!stream->prioritised) {
        stream->urgency = again->urgency;
        stream->incremental = again->incremental;
    }
    const char *at = again->kept.data + again->block_bytes;
    memcpy(head->data, at, again->head_bytes);
    head->len = again->head_bytes;
    if (lines) {
        memcpy(lines->data, at + again->head_bytes, lines_bytes);
        lines->len = lines_bytes;
    }
    return true;
}

/* It came for the first time. */
static void
keep_block(struct http2__again *again, struct fr_view block, const struct hpack_table *table)
{
    fr_buf_clear(&again->kept);
    again->written = false;
    again->added = table->added;
    again->count = table->count;
    again->block_bytes = again->head_bytes = 0;
    if (fr_buf_append_view(&again->kept, block) == FR_OK)
        again->block_bytes = block.len;
}

void
http2__again_note(struct http2_session *session, struct fr_view block,
                  const struct http2_stream *stream)
{
    struct http2__again *again = &session->again;
    struct fr_view head = fr_buf_view(stream->head), lines = {0};
    if (stream->lines)
        lines = fr_buf_view(stream->lines);
    if (block.len + head.len + lines.len >= HTTP2__AGAIN_BYTES_MAX || stream->prioritised)
        return;
    if (!is_of_now(again, &session->decoder.table) || !fr_view_eq(kept_block(again), block)) {
        keep_block(again, block, &session->decoder.table);
        return;
    }
    if (fr_buf_reserve(&again->kept, head.len + lines.len) != FR_OK)
        return;
    char *at = again->kept.data + again->block_bytes;
    at = fr_put(fr_put(at, head), lines);
    again->kept.len = (size_t)(at - again->kept.data);
    again->head_bytes = head.len;
    again->writer = stream->writer;
    again->urgency = stream->urgency;
    again->incremental = stream->incremental;
    again->written = true;
}
