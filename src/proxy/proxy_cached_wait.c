/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_cached_wait.c - an exchange waits for what another one fetches, and streams it as it comes.
 *
 * May touch:  base, loop, http, cache.
 * Threads:    the leader may be on another worker. News come as a message; what a waiter needs for
 *             that outlives its exchange until the last message is in.
 * Memory:     one struct a waiter. Bytes go out from where they are stored; who is slow keeps
 *             nobody waiting, unless what comes is too much to be stored: then it goes by in the
 *             flight's window, each copies its next piece (PROXY_SEND_BYTES_MAX), and the leader
 *             waits for the slowest, PROXY_STALL_US at a time at most.
 * Follows:    RFC 9111 section 4 (collapsed requests), RFC 9110 section 8.6.
 *
 * On news that the response is not for it, an exchange begins again, from its route on, with the
 * head that it kept: all it decided before may have changed meanwhile.
 */
#include "proxy/proxy_h2.h"

#include <inttypes.h>

struct proxy_wait {
    struct cache_waiter waiter;
    struct cache_flight *flight;
    struct proxy_worker *worker;
    struct proxy_exchange *x; /* NULL: it left; freed with the message under way */
    struct loop_msg msg;
    bool posted; /* atomic */
    uint64_t at; /* byte of the whole that is next */
    char *piece; /* of what goes by, being sent; NULL until it does */
};

static void on_news(void *ctx);
static void stream(struct proxy_exchange *x);

static void
wait_free(struct proxy_wait *wait)
{
    fr_free(wait->piece);
    fr_free(wait);
}

/* On any thread, under the flight's lock. */
static void
wake(void *ctx)
{
    struct proxy_wait *wait = ctx;
    if (!__atomic_exchange_n(&wait->posted, true, __ATOMIC_ACQ_REL))
        loop_post(wait->worker->loop, &wait->msg, on_news, wait);
}

void
proxy_wait_leave(struct proxy_exchange *x)
{
    struct proxy_wait *wait = x->wait;
    if (!wait)
        return;
    x->wait = NULL;
    wait->x = NULL;
    cache_flight_quit(&wait->flight, &wait->waiter); /* nobody wakes it any more */
    if (!__atomic_load_n(&wait->posted, __ATOMIC_ACQUIRE))
        wait_free(wait);
}

enum cache_board
proxy_wait_board(struct proxy_exchange *x, const struct cache_flight_id *id, int64_t now_us)
{
    struct cache_flight *flight = NULL;
    struct proxy_wait *wait = fr_alloc(sizeof(*wait));
    if (!wait)
        return CACHE_BOARD_ALONE;
    *wait = (struct proxy_wait){
        .waiter = {.wake = wake, .ctx = wait},
        .worker = x->worker,
        .x = x,
    };
    enum cache_board board =
        cache_flight_board(x->worker->cache, id, now_us, &wait->waiter, &flight);
    if (board == CACHE_BOARD_WAIT) {
        wait->flight = flight;
        x->wait = wait;
        x->flight_id = *id;
        wake(wait); /* it may be coming already */
        return board;
    }
    fr_free(wait);
    x->flight = flight;
    return board;
}

/* ---- streaming ------------------------------------------------------------------------------- */

/* True: the part that was sent to its end grows no more. Parts may be there before they are
 * filled, and are filled in order: one is full once the next has bytes. Meanwhile it may have
 * grown, too. */
static bool
part_is_over(struct proxy_exchange *x)
{
    struct fr_view part, next;
    if (!cache_flight_part(x->wait->flight, x->part_index + 1, &next) || next.len == 0)
        return false;
    return cache_flight_part(x->wait->flight, x->part_index, &part) && part.len == x->part_offset;
}

/* What is too much to be stored, from behind what was. False: it is lost to this one. */
static bool
gather_passing(struct proxy_exchange *x, struct iovec *iov, int *count, size_t room, size_t *bytes)
{
    struct proxy_wait *wait = x->wait;
    size_t taken = 0;
    if (room == 0)
        return true;
    if (!wait->piece)
        wait->piece = fr_alloc(PROXY_SEND_BYTES_MAX);
    if (!wait->piece ||
        !cache_flight_take(wait->flight, &wait->waiter, wait->at, wait->piece, room, &taken))
        return false;
    if (taken > 0)
        iov[(*count)++] = (struct iovec){wait->piece, taken};
    wait->at += taken;
    *bytes += taken;
    return true;
}

/* The next slice of what is there. */
static int
gather(struct proxy_exchange *x, struct iovec *iov, int count, int max, size_t *out_bytes)
{
    size_t room = PROXY_SEND_BYTES_MAX;
    struct fr_view part;
    *out_bytes = 0;
    while (count < max && room > 0 && cache_flight_part(x->wait->flight, x->part_index, &part)) {
        size_t bytes = part.len - x->part_offset;
        if (bytes > room)
            bytes = room;
        if (bytes == 0 && !part_is_over(x))
            break; /* news will come, if there is more to come */
        if (bytes == 0) {
            x->part_index++;
            x->part_offset = 0;
            continue;
        }
        iov[count++] = (struct iovec){(char *)(uintptr_t)part.ptr + x->part_offset, bytes};
        room -= bytes;
        *out_bytes += bytes;
        x->part_offset += bytes;
        x->wait->at += bytes;
    }
    return count;
}

static bool
passes(enum cache_flight_state state)
{
    return state == CACHE_FLIGHT_PASSING || state == CACHE_FLIGHT_PASSED;
}

static void
after_piece(struct proxy_exchange *x)
{
    if (x->response_done)
        proxy_exchange_reply(x);
    else
        stream(x);
}

/* What is there goes out, behind the head where that has not; then what comes is waited for. */
static void
stream(struct proxy_exchange *x)
{
    struct iovec iov[LOOP_IOV_MAX];
    int status;
    size_t bytes;
    bool chunked = x->client_framing == HTTP_BODY_CHUNKED;
    if (proxy_client_sending(x->client))
        return; /* comes back here */
    /* Asked first: what is there is then all there will be. */
    enum cache_flight_state state = cache_flight_look(x->wait->flight, NULL, &status);
    int first = x->begun ? 0 : 2, head_at = first;
    int count = gather(x, iov, first + chunked, LOOP_IOV_MAX - 2, &bytes);
    bool more = bytes == PROXY_SEND_BYTES_MAX || count == LOOP_IOV_MAX - 2;
    if (passes(state) && !more &&
        !gather_passing(x, iov, &count, PROXY_SEND_BYTES_MAX - bytes, &bytes)) {
        PROXY_COUNT(x->worker, cache_left_behind);
        proxy_exchange_fail(x, 502, "what others waited for too went on without this one");
        return;
    }
    more |= bytes == PROXY_SEND_BYTES_MAX;
    x->response_done = (state == CACHE_FLIGHT_WHOLE || state == CACHE_FLIGHT_PASSED) && !more;
    if (state == CACHE_FLIGHT_BROKEN && bytes == 0) {
        proxy_exchange_fail(x, 502, "the response that others waited for too broke off");
        return;
    }
    if (chunked)
        count = proxy_head_chunk(iov, head_at, count, bytes, x->down_chunk, &x->down_trailers,
                                 x->response_done);
    if (bytes == 0 && x->begun && !x->response_done)
        return; /* news will come */
    if (!x->begun) {
        struct fr_view head = cache_entry_head(x->entry);
        iov[0] = (struct iovec){(char *)(uintptr_t)head.ptr, head.len};
        iov[1] = (struct iovec){x->down_head.data, x->down_head.len};
        proxy_note_head(x, head.len + x->down_head.len, true);
        x->begun = true;
    } else if (bytes == 0 && !chunked) {
        proxy_exchange_reply(x);
        return;
    }
    proxy_exchange_send(x, iov, count, after_piece);
}

/* The head of what is coming; its end may be far away. */
static void
stream_begin(struct proxy_exchange *x, struct cache_entry *take_entry)
{
    uint64_t length = cache_flight_length(x->wait->flight);
    bool told = length != CACHE_LENGTH_UNKNOWN;
    x->entry = take_entry;
    x->status = cache_entry_status(x->entry);
    x->client_framing = told ? HTTP_BODY_LENGTH : proxy_exchange_open_framing(x);
    if (x->client_framing == HTTP_BODY_TO_CLOSE)
        x->keep_alive = false;
    fr_buf_clear(&x->down_head);
    if (proxy_cached_put_fields(x, told ? (int64_t)length : -1) != FR_OK) {
        proxy_exchange_out_of_memory(x);
        return;
    }
    stream(x);
}

/* ---- news ------------------------------------------------------------------------------------ */

static void
ask_alone(struct proxy_exchange *x)
{
    proxy_wait_leave(x);
    x->alone = true;
    proxy_exchange_again(x);
}

/* It answers: as a stored one once it is whole, or when no body is sent. */
static void
answer(struct proxy_exchange *x, struct cache_entry *take_entry, bool whole)
{
    const struct http_head *request = &x->worker->request_head;
    bool bodiless =
        cache_entry_not_modified(take_entry, request) || cache_entry_status(take_entry) == 204;
    if (!whole && !bodiless && !cache_flight_follow(x->wait->flight, &x->wait->waiter)) {
        cache_entry_unref(&take_entry); /* it goes by already, or broke off */
        ask_alone(x);
        return;
    }
    PROXY_COUNT(x->worker, cache_collapsed);
    x->collapsed = x->from_cache = x->entry_counted = true;
    if (whole || bodiless) {
        proxy_wait_leave(x);
        x->entry = take_entry;
        proxy_cached_answer(x, request);
        return;
    }
    stream_begin(x, take_entry);
}

static void
came(struct proxy_exchange *x, struct cache_entry *take_entry, bool whole)
{
    struct cache_request wanted = proxy_cached_request(x, &x->worker->request_head);
    struct cache_flight_id id = x->flight_id;
    if (cache_entry_suits(take_entry, &wanted, &id)) {
        answer(x, take_entry, whole);
        return;
    }
    cache_entry_unref(&take_entry);
    proxy_wait_leave(x);
    /* Another variant: with those who want the same one. Else for itself. */
    x->alone = memcmp(&id, &x->flight_id, sizeof(id)) == 0;
    x->select_known = true;
    x->flight_id = id;
    proxy_exchange_again(x);
}

static void
woken(struct proxy_exchange *x)
{
    struct cache_entry *entry = NULL;
    int status = 0;
    if (x->begun) {
        stream(x);
        return;
    }
    enum cache_flight_state state = cache_flight_look(x->wait->flight, &entry, &status);
    if (state == CACHE_FLIGHT_PENDING)
        return;
    if (!proxy_cached_parse_again(x)) { /* it was kept before it began to wait */
        cache_entry_unref(&entry);
        proxy_exchange_fail(x, 500, "the request is gone");
        return;
    }
    if (entry) {
        came(x, entry, state == CACHE_FLIGHT_WHOLE);
        return;
    }
    proxy_wait_leave(x);
    if (state == CACHE_FLIGHT_FAILED) {
        proxy_exchange_fail(x, status, "the request that this one waited for failed");
        return;
    }
    x->alone = state != CACHE_FLIGHT_LOST;
    proxy_exchange_again(x);
}

static void
on_news(void *ctx)
{
    struct proxy_wait *wait = ctx;
    __atomic_store_n(&wait->posted, false, __ATOMIC_RELEASE);
    if (wait->x)
        woken(wait->x);
    else
        wait_free(wait);
}
