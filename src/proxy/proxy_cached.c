/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_cached.c - the exchange and the cache: answers from it, fills it, tells it what is no
 * longer valid.
 *
 * May touch:  base, http, cache.
 * Memory:     stored bodies go out by reference; the entry is held until the kernel took the last
 *             byte. For a request that may be stored its head is copied, because Vary and the key
 *             are asked for again when the response is there.
 * Cost:       a hit: no allocation, one send where the body is at most PROXY_SEND_BYTES_MAX.
 * Follows:    RFC 9111 sections 4 and 5.1, RFC 9110 section 15.4.5.
 */
#include "proxy/proxy_priv.h"

#include <inttypes.h>

static struct cache_request
cache_request_of(const struct proxy_exchange *x, const struct http_head *request)
{
    return (struct cache_request){
        .head = request,
        .scheme = x->https ? FR_VIEW("https") : FR_VIEW("http"),
        .host = fr_view_make(x->host, x->host_len),
        .now_us = loop_wall_us(x->worker->loop),
        .serial = x->request_serial,
        .owner = x->cache_owner,
    };
}

/* Lower case, the port kept: two ports are two origins (RFC 9110 section 4.3.1). */
static bool
take_host(struct proxy_exchange *x, struct fr_view host)
{
    if (host.len > sizeof(x->host))
        return false;
    for (size_t i = 0; i < host.len; i++) {
        char c = host.ptr[i];
        x->host[i] = (char)(c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c);
    }
    x->host_len = host.len;
    return true;
}

/* Members see a host that a trusted proxy names, and may write it into their answers. */
static bool
add_claimed_host(struct proxy_exchange *x)
{
    struct fr_view claimed = x->worker->trust.host;
    if (claimed.len == 0 || fr_view_ieq(claimed, fr_view_make(x->host, x->host_len)))
        return true;
    if (claimed.len + 1 > sizeof(x->host) - x->host_len)
        return false;
    x->host[x->host_len] = ' '; /* stands in no host */
    memcpy(x->host + x->host_len + 1, claimed.ptr, claimed.len);
    x->host_len += claimed.len + 1;
    return true;
}

enum proxy_cached
proxy_cached_look_up(struct proxy_exchange *x, const struct http_head *request, struct fr_view raw,
                     int64_t stale_max_us)
{
    struct proxy_worker *worker = x->worker;
    if (!take_host(x, request->host) || !add_claimed_host(x)) {
        PROXY_COUNT(worker, cache_bypasses);
        return PROXY_CACHED_FORWARD;
    }
    struct cache_request wanted = cache_request_of(x, request);
    wanted.stale_max_us = stale_max_us;
    switch (cache_lookup(worker->cache, &wanted, &x->entry)) {
    case CACHE_FRESH:
        PROXY_COUNT(worker, cache_hits);
        proxy_note_cache(x, PROXY_LOG_CACHE_HIT);
        return PROXY_CACHED_HIT;
    case CACHE_STALE_ALLOWED:
        PROXY_COUNT(worker, cache_hits);
        PROXY_COUNT(worker, cache_stale);
        proxy_note_cache(x, PROXY_LOG_CACHE_STALE);
        return PROXY_CACHED_HIT;
    case CACHE_GATEWAY_TIMEOUT:
        PROXY_COUNT(worker, cache_misses);
        proxy_note_cache(x, PROXY_LOG_CACHE_MISS);
        return PROXY_CACHED_REFUSED;
    case CACHE_MISS:
        PROXY_COUNT(worker, cache_misses);
        proxy_note_cache(x, PROXY_LOG_CACHE_MISS);
        x->request_wall_us = wanted.now_us;
        x->request_serial = cache_purge_serial(worker->cache);
        fr_buf_clear(&x->raw_head);
        x->storing = fr_buf_append_view(&x->raw_head, raw) == FR_OK; /* else it is just forwarded */
        return PROXY_CACHED_FORWARD;
    case CACHE_BYPASS:
        break;
    }
    PROXY_COUNT(worker, cache_bypasses);
    proxy_note_cache(x, PROXY_LOG_CACHE_BYPASS);
    if (!http_method_safe(request->method)) {
        fr_buf_clear(&x->raw_head);
        x->unsafe = fr_buf_append_view(&x->raw_head, raw) == FR_OK;
    }
    return PROXY_CACHED_FORWARD;
}

/* ---- answering ------------------------------------------------------------------------------ */

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

/* The lines that the entry does not hold, because they differ from answer to answer. */
static enum fr_err
print_own_fields(const struct proxy_exchange *x, bool modified, struct fr_buf *out)
{
    struct fr_view connection = proxy_head_connection(x);
    int64_t age_s = cache_entry_age_s(x->entry, loop_wall_us(x->worker->loop));
    enum fr_err err = fr_buf_printf(out, "Age: %" PRId64 "\r\nVia: 1.1 %.*s\r\n",
                                    age_s > 0 ? age_s : 0, FR_VIEW_ARG(x->worker->via));
    if (!err && modified && x->status != 204)
        err =
            fr_buf_printf(out, "Content-Length: %" PRIu64 "\r\n", cache_entry_body_bytes(x->entry));
    if (!err)
        err = proxy_head_put_id(x, out);
    if (!err)
        err = fr_buf_append_view(out, connection);
    if (!err)
        err = fr_buf_append_view(out, FR_VIEW("\r\n"));
    return err;
}

/* The next slice of the body; its size is bounded so that a slow client's progress can be seen. */
static int
gather_body(struct proxy_exchange *x, struct iovec *iov, int count)
{
    size_t room = PROXY_SEND_BYTES_MAX;
    struct fr_view part;
    while (count < LOOP_IOV_MAX && room > 0 && cache_entry_body(x->entry, x->part_index, &part)) {
        size_t bytes = part.len - x->part_offset;
        if (bytes > room)
            bytes = room;
        if (bytes > 0)
            iov[count++] = (struct iovec){(char *)(uintptr_t)part.ptr + x->part_offset, bytes};
        room -= bytes;
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
    int count = x->client_framing == HTTP_BODY_NONE ? 0 : gather_body(x, iov, 0);
    if (count == 0)
        proxy_exchange_reply(x);
    else
        proxy_exchange_send(x, iov, count, send_rest);
}

void
proxy_cached_answer(struct proxy_exchange *x, const struct http_head *request)
{
    struct iovec iov[LOOP_IOV_MAX];
    int count = 0;
    bool modified = !cache_entry_not_modified(x->entry, request);
    x->status = modified ? cache_entry_status(x->entry) : 304;
    x->client_framing =
        modified && x->method != HTTP_HEAD && x->status != 204 ? HTTP_BODY_LENGTH : HTTP_BODY_NONE;
    if (!x->request_done)
        x->keep_alive = false; /* a GET with a body, which nobody reads */
    fr_buf_clear(&x->down_head);
    enum fr_err err = modified ? FR_OK : print_304_fields(x, &x->down_head);
    if (!err)
        err = print_own_fields(x, modified, &x->down_head);
    if (err) {
        proxy_exchange_out_of_memory(x);
        return;
    }
    if (modified) {
        struct fr_view head = cache_entry_head(x->entry);
        iov[count++] = (struct iovec){(char *)(uintptr_t)head.ptr, head.len};
    }
    iov[count++] = (struct iovec){x->down_head.data, x->down_head.len};
    proxy_note_head(x, iov[0].iov_len + (count > 1 ? iov[1].iov_len : 0), true);
    if (x->client_framing != HTTP_BODY_NONE)
        count = gather_body(x, iov, count);
    if (x->status >= 500)
        PROXY_COUNT(x->worker, errors);
    x->begun = true;
    proxy_exchange_send(x, iov, count, send_rest);
}

/* ---- filling -------------------------------------------------------------------------------- */

/* The request's head again, from the copy of its bytes. */
static bool
parse_again(struct proxy_exchange *x)
{
    struct proxy_worker *worker = x->worker;
    struct http_err err;
    size_t scanned = 0;
    return http_request_parse(fr_buf_view(&x->raw_head), &worker->http_limits, &scanned,
                              &worker->request_head, &err) == HTTP_DONE;
}

void
proxy_cached_response(struct proxy_exchange *x, const struct http_head *response)
{
    struct proxy_worker *worker = x->worker;
    /* RFC 9111 section 4.4: a success is 2xx or 3xx. */
    bool invalidates = x->unsafe && response->status >= 200 && response->status < 400;
    if ((!x->storing && !invalidates) || !parse_again(x))
        return;
    struct cache_request wanted = cache_request_of(x, &worker->request_head);
    if (invalidates)
        cache_invalidate(worker->cache, &wanted);
    else
        x->filler = cache_fill_begin(worker->cache, &wanted, response, x->response_framing,
                                     x->request_wall_us, wanted.now_us);
}

void
proxy_cached_add(struct proxy_exchange *x, struct fr_view data)
{
    /* Too large after all: the filler is gone then, and the response goes on unstored. */
    if (x->filler && cache_fill_add(&x->filler, data) != FR_OK)
        x->storing = false;
}
