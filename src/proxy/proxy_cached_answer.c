/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_cached_answer.c - sends what is stored: whole, a range of it, or the word that the client
 * has it; and says in Cache-Status how it came about.
 *
 * May touch:  base, http, cache.
 * Memory:     stored heads and bodies go out by reference; the entry is held until the kernel took
 *             the last byte. A body that is on disk: proxy_disk_body.c.
 * Follows:    RFC 9111 sections 4.3.2 and 5.1, RFC 9110 sections 14.4 and 15.4.5, RFC 9211.
 */
#include "proxy/proxy_priv.h"

#include "base/fr_put.h"

#include <assert.h>
#include <inttypes.h>

/* The longest value of Cache-Status, and all lines that are the same in every answer from it. */
#define CACHE_STATUS_BYTES 128
#define OWN_FIELDS_BYTES (CACHE_STATUS_BYTES + 128)

#define HEAD_206 "HTTP/1.1 206 Partial Content\r\n"

/* ---- Cache-Status ---------------------------------------------------------------------------- */

static const char *const forward_words[] = {
    [CACHE_FORWARD_BYPASS] = "bypass",     [CACHE_FORWARD_METHOD] = "method",
    [CACHE_FORWARD_URI_MISS] = "uri-miss", [CACHE_FORWARD_VARY_MISS] = "vary-miss",
    [CACHE_FORWARD_REQUEST] = "request",   [CACHE_FORWARD_STALE] = "stale",
    [CACHE_FORWARD_PARTIAL] = "partial",
};

/* Reserved for it: CACHE_STATUS_BYTES. */
static char *
put_forwarded(const struct proxy_exchange *x, char *at)
{
    at = FR_PUT(at, "; fwd=");
    at = fr_put(at, fr_view_of(forward_words[x->forward]));
    if (x->member_status > 0) {
        at = FR_PUT(at, "; fwd-status=");
        at = fr_put_u64(at, (uint64_t)x->member_status);
    }
    if (x->stored)
        at = FR_PUT(at, "; stored");
    if (x->collapsed)
        at = FR_PUT(at, "; collapsed");
    if (x->stale_on_error)
        at = FR_PUT(at, "; detail=stale-if-error");
    return at;
}

static char *
put_signed(char *at, int64_t number)
{
    if (number >= 0)
        return fr_put_u64(at, (uint64_t)number);
    *at++ = '-';
    return fr_put_u64(at, -(uint64_t)number);
}

static char *
put_status(const struct proxy_exchange *x, int64_t now_us, char *at)
{
    at = FR_PUT(at, CACHE_NAME);
    if (x->forwarded)
        return put_forwarded(x, at);
    if (!x->entry) /* neither a hit nor forwarded: 504 */
        return FR_PUT(at, "; detail=only-if-cached");
    at = FR_PUT(at, "; hit; ttl=");
    at = put_signed(at, cache_entry_left_s(x->entry, now_us));
    if (x->laddered && x->refreshed)
        return FR_PUT(at, "; detail=ladder-refresh");
    if (x->laddered)
        return FR_PUT(at, "; detail=ladder");
    if (x->relieved)
        return FR_PUT(at, "; detail=relief");
    return x->disk_came ? FR_PUT(at, "; detail=disk") : at;
}

struct fr_view
proxy_cached_status(const struct proxy_exchange *x)
{
    char *out = x->worker->cache_status;
    static_assert(sizeof(x->worker->cache_status) >= CACHE_STATUS_BYTES, "room for all of it");
    if (x->cached)
        return fr_view_make(out, (size_t)(put_status(x, proxy_cache_now_us(x->worker), out) - out));
    return x->worker->cache ? FR_VIEW(CACHE_NAME "; fwd=bypass") : (struct fr_view){NULL, 0};
}

enum fr_err
proxy_cached_put_status(const struct proxy_exchange *x, struct fr_buf *out)
{
    struct fr_view status = proxy_cached_status(x);
    if (status.len == 0)
        return FR_OK;
    if (!x->cached)
        status = FR_VIEW(CACHE_NAME "; detail=local");
    return fr_buf_printf(out, "Cache-Status: %.*s\r\n", FR_VIEW_ARG(status));
}

/* ---- heads ----------------------------------------------------------------------------------- */

/* What a 304 repeats of the fields a 200 would have had (RFC 9110 section 15.4.5). */
static bool
belongs_in_304(struct fr_view line)
{
    static const struct fr_view names[] = {
        {"cache-control:", 14},
        {"content-location:", 17},
        {"date:", 5},
        {"etag:", 5},
        {"expires:", 8},
        {"vary:", 5},
        {"via:", 4},
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (fr_view_istarts(line, names[i]))
            return true;
    return false;
}

static enum fr_err
print_304_fields(const struct proxy_exchange *x, struct fr_buf *out)
{
    struct fr_view rest = cache_entry_head(x->entry), line;
    enum fr_err err = fr_buf_append_view(out, FR_VIEW("HTTP/1.1 304 Not Modified\r\n"));
    while (!err && fr_view_split(&rest, '\n', &line)) {
        if (!belongs_in_304(line))
            continue;
        err = fr_buf_append_view(out, line); /* with its CR */
        if (!err)
            err = fr_buf_append_view(out, FR_VIEW("\n"));
    }
    return err;
}

static enum fr_err
print_range(const struct cache_selection *what, struct fr_buf *out)
{
    if (what->status == 416) /* RFC 9110 section 15.5.17 */
        return fr_buf_printf(out, "Content-Range: bytes */%" PRIu64 "\r\nContent-Length: 0\r\n",
                             what->total);
    uint64_t last = what->range_first + what->bytes - 1;
    if (what->total == CACHE_LENGTH_UNKNOWN)
        return fr_buf_printf(out, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/*\r\n",
                             what->range_first, last);
    return fr_buf_printf(out, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
                         what->range_first, last, what->total);
}

/* The lines that the entry does not hold, because they differ from answer to answer, to the end of
 * the head. What is rare is printed; all else goes into room that is reserved at once. */
static enum fr_err
print_own_fields(const struct proxy_exchange *x, const struct cache_selection *what,
                 struct fr_buf *out)
{
    int64_t now_us = proxy_cache_now_us(x->worker);
    int64_t age_s = cache_entry_age_s(x->entry, now_us);
    enum fr_err err = what->status == 206 || what->status == 416 ? print_range(what, out) : FR_OK;
    if (!err)
        err = proxy_head_put_id(x, out);
    if (!err)
        err = fr_buf_reserve(out, OWN_FIELDS_BYTES + x->worker->via.len);
    if (err)
        return err;
    char *at = out->data + out->len;
    at = FR_PUT(at, "Age: ");
    at = fr_put_u64(at, age_s > 0 ? (uint64_t)age_s : 0);
    at = FR_PUT(at, "\r\nVia: 1.1 ");
    at = fr_put(at, x->worker->via);
    at = FR_PUT(at, "\r\nCache-Status: ");
    if (x->cached)
        at = put_status(x, now_us, at);
    at = FR_PUT(at, "\r\n");
    if (what->status != 304 && what->status != 416 && what->status != 204) {
        at = FR_PUT(at, "Content-Length: ");
        at = fr_put_u64(at, what->bytes);
        at = FR_PUT(at, "\r\n");
    }
    at = fr_put(at, proxy_head_connection(x));
    at = FR_PUT(at, "\r\n");
    *at = '\0';
    out->len = (size_t)(at - out->data);
    return FR_OK;
}

enum fr_err
proxy_cached_put_fields(struct proxy_exchange *x, int64_t length)
{
    struct cache_selection what = {.status = x->status, .bytes = (uint64_t)length};
    if (length >= 0)
        return print_own_fields(x, &what, &x->down_head);
    what.status = 204; /* prints no length */
    enum fr_err err = FR_OK;
    if (x->client_framing == HTTP_BODY_CHUNKED)
        err = fr_buf_append_view(&x->down_head, FR_VIEW("Transfer-Encoding: chunked\r\n"));
    return err ? err : print_own_fields(x, &what, &x->down_head);
}

static bool
has_content_range(struct fr_view head)
{
    struct fr_view line;
    while (fr_view_split(&head, '\n', &line))
        if (fr_view_istarts(line, FR_VIEW("content-range:")))
            return true;
    return false;
}

/* A Content-Range says nothing in a 200 (RFC 9110 section 14.4) and is stored as any other field
 * (RFC 9111 section 3.1); in a 206 made of it, it would contradict ours. */
static enum fr_err
print_206_fields(struct fr_view head, struct fr_buf *out)
{
    struct fr_view line;
    enum fr_err err = fr_buf_append_view(out, FR_VIEW(HEAD_206));
    (void)fr_view_split(&head, '\n', &line); /* its own status line */
    while (!err && fr_view_split(&head, '\n', &line)) {
        if (line.len == 0 || fr_view_istarts(line, FR_VIEW("content-range:")))
            continue;
        err = fr_buf_append_view(out, line); /* with its CR */
        if (!err)
            err = fr_buf_append_view(out, FR_VIEW("\n"));
    }
    return err;
}

/* The stored head, or what of it stands in another answer, as iovecs; what is made goes to
 * down_head first, so that its own fields can follow there. */
static enum fr_err
gather_head(struct proxy_exchange *x, const struct cache_selection *what, struct iovec *iov,
            int *count)
{
    static const struct fr_view partial = {HEAD_206, sizeof(HEAD_206) - 1};
    struct fr_view head = cache_entry_head(x->entry), line;
    fr_buf_clear(&x->down_head);
    if (what->status == 304)
        return print_304_fields(x, &x->down_head);
    if (what->status == 416)
        return fr_buf_printf(&x->down_head, "HTTP/1.1 416 %s\r\nDate: %.*s\r\n", http_reason(416),
                             FR_VIEW_ARG(proxy_worker_date(x->worker)));
    if (what->status == 206 && cache_entry_status(x->entry) != 206) {
        if (has_content_range(head))
            return print_206_fields(head, &x->down_head);
        (void)fr_view_split(&head, '\n', &line);
        iov[(*count)++] = (struct iovec){(char *)(uintptr_t)partial.ptr, partial.len};
    }
    iov[(*count)++] = (struct iovec){(char *)(uintptr_t)head.ptr, head.len};
    return FR_OK;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

void
proxy_cached_seek(struct proxy_exchange *x, uint64_t first, uint64_t bytes)
{
    struct fr_view part;
    x->part_index = 0;
    while (cache_entry_body(x->entry, x->part_index, &part) && first >= part.len && first > 0) {
        first -= part.len;
        x->part_index++;
    }
    x->part_offset = (size_t)first;
    x->part_left = bytes;
}

/* Its size is bounded so that a slow client's progress can be seen. */
int
proxy_cached_gather(struct proxy_exchange *x, struct iovec *iov, int count)
{
    size_t room = PROXY_SEND_BYTES_MAX < x->part_left ? PROXY_SEND_BYTES_MAX : (size_t)x->part_left;
    struct fr_view part;
    while (count < LOOP_IOV_MAX && room > 0 && cache_entry_body(x->entry, x->part_index, &part)) {
        size_t bytes = part.len - x->part_offset;
        if (bytes > room)
            bytes = room;
        if (bytes > 0)
            iov[count++] = (struct iovec){(char *)(uintptr_t)part.ptr + x->part_offset, bytes};
        room -= bytes;
        x->part_left -= bytes;
        x->part_offset += bytes;
        if (x->part_offset == part.len) {
            x->part_index++;
            x->part_offset = 0;
        }
    }
    return count;
}

static void
send_rest(struct proxy_exchange *x)
{
    struct iovec iov[LOOP_IOV_MAX];
    int count = x->client_framing == HTTP_BODY_NONE ? 0 : proxy_cached_gather(x, iov, 0);
    if (count == 0)
        proxy_exchange_reply(x);
    else
        proxy_exchange_send(x, iov, count, send_rest);
}

bool
proxy_cached_put_head(struct proxy_exchange *x, const struct cache_selection *what,
                      struct iovec *iov, int *count)
{
    size_t head_bytes = 0;
    if (gather_head(x, what, iov, count) != FR_OK ||
        print_own_fields(x, what, &x->down_head) != FR_OK)
        return false;
    iov[(*count)++] = (struct iovec){x->down_head.data, x->down_head.len};
    for (int i = 0; x->note && i < *count; i++)
        head_bytes += iov[i].iov_len;
    proxy_note_head(x, head_bytes, true);
    return true;
}

void
proxy_cached_answer(struct proxy_exchange *x, const struct http_head *request)
{
    struct iovec iov[LOOP_IOV_MAX];
    struct cache_selection what;
    int count = 0;
    if (!cache_entry_select(x->entry, request, proxy_cache_now_us(x->worker), &what)) {
        proxy_exchange_fail(x, 500, "the cache holds another part of it");
        return;
    }
    bool bodiless =
        what.status == 304 || what.status == 416 || what.status == 204 || x->method == HTTP_HEAD;
    x->status = what.status;
    x->client_framing = bodiless ? HTTP_BODY_NONE : HTTP_BODY_LENGTH;
    if (!x->request_done)
        x->keep_alive = false; /* a GET with a body, which nobody reads */
    if (x->status >= 500)
        PROXY_COUNT(x->worker, errors);
    if (!bodiless && what.bytes > 0 && cache_entry_is_far(x->entry)) {
        proxy_disk_body_send(x, &what);
        return;
    }
    if (!proxy_cached_put_head(x, &what, iov, &count)) {
        proxy_exchange_out_of_memory(x);
        return;
    }
    proxy_cached_seek(x, what.first, bodiless ? 0 : what.bytes);
    count = proxy_cached_gather(x, iov, count);
    x->begun = true;
    proxy_exchange_send(x, iov, count, send_rest);
}
