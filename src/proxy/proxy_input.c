/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_input.c - received bytes on their way to the parser and to the other side's socket.
 *
 * May touch:  base, loop (buffers), http.
 * Memory:     two receive buffers a direction; a head that lies across buffers is copied into a
 *             buffer of its own, bounded by head_bytes_max and one receive buffer.
 * Cost:       none where the head stands whole in one buffer, the ordinary case.
 *
 *            pos
 *     buf[0] ..xxxxxxxx      read from here, and sent from here without a copy
 *     buf[1] xxxxxxxxxx      received while buf[0] was being sent; then receiving waits
 */
#include "proxy/proxy_priv.h"

void
proxy_input_push(struct proxy_input *in, struct loop_buf *buf)
{
    fr_require(!in->buf[1]);
    if (in->buf[0]) {
        in->buf[1] = buf;
        return;
    }
    in->buf[0] = buf;
    in->pos = 0;
}

struct fr_view
proxy_input_view(const struct proxy_input *in)
{
    if (!in->buf[0])
        return (struct fr_view){0};
    return fr_view_make(in->buf[0]->data + in->pos, in->buf[0]->len - in->pos);
}

void
proxy_input_shift(struct proxy_input *in)
{
    if (!in->buf[0] || in->pos < in->buf[0]->len)
        return;
    loop_buf_give_back(in->buf[0]);
    in->buf[0] = in->buf[1];
    in->buf[1] = NULL;
    in->pos = 0;
}

void
proxy_input_clear(struct proxy_input *in)
{
    loop_buf_give_back(in->buf[0]);
    loop_buf_give_back(in->buf[1]);
    in->buf[0] = in->buf[1] = NULL;
    in->pos = 0;
}

/* ---- heads -------------------------------------------------------------------------------- */

static enum http_step
too_large(struct http_err *out_err)
{
    *out_err = (struct http_err){431, 0, "the head is too large", HTTP_LIMIT_HEAD};
    return HTTP_BAD;
}

/* Takes what is unread over into the partial, so that the buffer can go back. */
static bool
stash(struct proxy_input *in, struct proxy_partial *partial)
{
    struct fr_view view = proxy_input_view(in);
    if (fr_buf_append_view(&partial->buf, view) != FR_OK)
        return false;
    in->pos += (uint32_t)view.len;
    proxy_input_shift(in);
    return true;
}

static enum http_step
head_in_partial(struct proxy_input *in, struct proxy_partial *partial, proxy_parse_fn parse,
                const struct http_limits *limits, struct http_head *out, struct fr_view *out_raw,
                struct http_err *out_err)
{
    while (in->buf[0]) {
        /* What stood in the partial was no whole head, so the head ends in this buffer, if at all,
         * and what follows it is read from there: the copy is for the head alone. */
        size_t before = partial->buf.len;
        struct fr_view view = proxy_input_view(in);
        if (fr_buf_append_view(&partial->buf, view) != FR_OK)
            return too_large(out_err);
        *out_raw = fr_buf_view(&partial->buf);
        enum http_step step = parse(*out_raw, limits, &partial->scanned, out, out_err);
        if (step == HTTP_BAD)
            return step;
        if (step == HTTP_DONE) {
            fr_insist(out->head_bytes > before);
            in->pos += (uint32_t)(out->head_bytes - before);
            out_raw->len = out->head_bytes;
            return step;
        }
        in->pos += (uint32_t)view.len;
        proxy_input_shift(in);
    }
    return HTTP_MORE;
}

enum http_step
proxy_input_head(struct proxy_input *in, struct proxy_partial *partial, proxy_parse_fn parse,
                 const struct http_limits *limits, struct http_head *out, struct fr_view *out_raw,
                 struct http_err *out_err)
{
    if (partial->buf.len > 0)
        return head_in_partial(in, partial, parse, limits, out, out_raw, out_err);
    struct fr_view view = proxy_input_view(in);
    if (view.len == 0)
        return HTTP_MORE;
    partial->scanned = 0;
    enum http_step step = parse(view, limits, &partial->scanned, out, out_err);
    if (step == HTTP_DONE) {
        *out_raw = fr_view_make(view.ptr, out->head_bytes);
        in->pos += (uint32_t)out->head_bytes;
        return step;
    }
    if (step == HTTP_BAD)
        return step;
    if (!stash(in, partial))
        return too_large(out_err);
    return head_in_partial(in, partial, parse, limits, out, out_raw, out_err);
}

void
proxy_partial_clear(struct proxy_partial *partial)
{
    if (partial->buf.cap > 0)
        fr_buf_fini(&partial->buf);
    partial->scanned = 0;
}

/* ---- bodies ------------------------------------------------------------------------------- */

/* An ordinary body has no trailers, and takes no memory for them. */
static bool
gather_trailers(struct fr_buf *buf, struct fr_view trailer, enum http_step step)
{
    if (!buf || trailer.len == 0 || (buf->len == 0 && step == HTTP_DONE && trailer.len == 2))
        return true;
    if (buf->len == 0 && fr_buf_append_view(buf, FR_VIEW(PROXY_TRAILERS_LEAD)) != FR_OK)
        return false;
    return fr_buf_append_view(buf, trailer) == FR_OK;
}

enum http_step
proxy_input_runs(struct proxy_input *in, struct http_body *body, struct proxy_runs *runs)
{
    while (runs->count < runs->max) {
        struct fr_view view = proxy_input_view(in), data = {0};
        struct http_err err;
        size_t used = 0;
        enum http_step step = http_body_decode(body, view, &used, &data, &err);
        if (step == HTTP_BAD || !gather_trailers(runs->trailers, body->trailer, step))
            return HTTP_BAD;
        in->pos += (uint32_t)used;
        if (data.len > 0) {
            runs->iov[runs->count++] = (struct iovec){(char *)(uintptr_t)data.ptr, data.len};
            runs->bytes += data.len;
        }
        if (step == HTTP_DONE)
            return step;
        if (used == view.len || (used == 0 && data.len == 0))
            break;
    }
    return HTTP_MORE;
}
