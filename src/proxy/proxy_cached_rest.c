/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_cached_rest.c - a request for all of what the cache holds the beginning of: the member is
 * asked for the rest, and the client gets both behind each other.
 *
 * May touch:  base, http, cache.
 * Memory:     the entry that the beginning was copied into, and the rest comes into. The beginning
 *             goes out from there before the member is read on.
 * Limits:     one such try a request: a rest that does not fit is given up, with what it was to
 *             complete, and all of it is asked for. What would not be stored is not completed.
 * Follows:    RFC 9111 sections 3.3 and 3.4; RFC 9110 sections 13.1.5, 14.2 and 15.3.7.3.
 *
 *     206, the same strong ETag, and exactly the rest    200: the beginning and the rest, stored
 *     206 of something else, 416                         both forgotten, all of it asked for
 *     anything else                                      as if there had been no beginning
 */
#include "proxy/proxy_priv.h"

static void
after_beginning(struct proxy_exchange *x)
{
    struct iovec iov[LOOP_IOV_MAX];
    int count = proxy_cached_gather(x, iov, 0);
    if (count > 0)
        proxy_exchange_send(x, iov, count, after_beginning);
    else
        proxy_relay(x);
}

bool
proxy_rest_send(struct proxy_exchange *x)
{
    struct iovec iov[LOOP_IOV_MAX];
    if (!x->completes || x->begun)
        return false;
    /* While the client takes what is stored, silence is not the member's. */
    proxy_upstream_timer_stop(x->up);
    iov[0] = (struct iovec){x->down_head.data, x->down_head.len};
    proxy_note_head(x, x->down_head.len, true);
    x->begun = true;
    int count = proxy_cached_gather(x, iov, 1);
    proxy_exchange_send(x, iov, count, after_beginning);
    return true;
}

enum fr_err
proxy_rest_head(struct proxy_exchange *x)
{
    struct fr_view head = cache_entry_head(x->entry);
    fr_buf_clear(&x->down_head);
    enum fr_err err = fr_buf_append_view(&x->down_head, head);
    return err ? err : proxy_cached_put_fields(x, (int64_t)x->rest_total);
}

/* The member is done with, and asked anew, for all of it. */
static void
give_up(struct proxy_exchange *x)
{
    struct cache_request wanted = proxy_cached_request(x, &x->worker->request_head);
    wanted.now_us = x->request_wall_us; /* what is asked for from now on may be stored */
    PROXY_COUNT(x->worker, cache_rests_refused);
    proxy_cached_member_done(x, false);
    cache_forget(x->worker->cache, &wanted);
    cache_entry_let_go(x->worker->cache_reader, &x->part);
    if (x->flight)
        cache_flight_lost(&x->flight); /* those who wait find nothing to complete any more */
    proxy_cluster_unuse(&x->cluster);
    x->response_done = false;
    x->status = x->member_status = 0;
    x->tried_count = x->refused_count = 0;
    x->rest_refused = true;
    proxy_exchange_again(x);
}

bool
proxy_rest_takes(struct proxy_exchange *x, const struct http_head *response)
{
    if (!x->part || (response->status != 206 && response->status != 416) ||
        !proxy_cached_parse_again(x))
        return false;
    struct cache_request wanted = proxy_cached_request(x, &x->worker->request_head);
    if (response->status == 206)
        x->filler = cache_fill_rest(x->part, &wanted, response, x->response_framing,
                                    x->request_wall_us, wanted.now_us);
    if (!x->filler) {
        give_up(x);
        return true;
    }
    uint64_t held = cache_entry_body_bytes(x->part);
    PROXY_COUNT(x->worker, cache_rests);
    x->completes = x->stored = true;
    x->member_status = response->status;
    x->entry = cache_fill_entry(x->filler);
    x->entry_counted = true;
    x->status = cache_entry_status(x->entry);
    x->client_framing = HTTP_BODY_LENGTH;
    x->rest_total = held + response->content_length;
    proxy_cached_seek(x, 0, held);
    cache_entry_let_go(x->worker->cache_reader, &x->part);
    if (x->flight && !cache_fill_share(x->filler, &x->flight))
        cache_flight_alone(x->worker->cache, &x->flight, false, wanted.now_us);
    return false;
}
