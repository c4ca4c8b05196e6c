/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_disk_body.c - sends a body from disk: one piece goes out while the next one is read.
 *
 * May touch:  base, loop, cache, disk.
 * Threads:    the disk's tells by a message, as in proxy_disk.c: there is one piece under way at
 *             most, and what it needs outlives the exchange until its message is in.
 * Memory:     CACHE_DISK_WINDOW_PIECES pieces of the store's, however slow the client is. Where
 *             there is room for one alone, it is read once that is sent.
 * When full:  before the first byte: as if it was not on disk. What comes later than LATE_US the
 *             first time: likewise.
 * Errors:     a piece that is wanting after the first byte cuts the answer off, so that the client
 *             sees that it is not whole. No byte is sent before its piece was checked.
 *
 *     rooms:   [being sent] [being read | ready]
 */
#include "proxy/proxy_priv.h"

#define LATE_US (2 * FR_US_PER_S)   /* a member answers sooner than such a disk */
#define STALL_US (10 * FR_US_PER_S) /* nobody else can go on from here */

struct proxy_disk_body {
    struct disk_piece piece;
    struct loop_msg msg;
    struct loop_timer late;
    struct proxy_worker *worker;
    struct proxy_exchange *x; /* NULL: it left, and a piece is under way */
    struct cache_entry *entry;
    struct cache_selection what;
    uint64_t next, end; /* of the stored body: what is read next, and up to where */
    char *rooms[CACHE_DISK_WINDOW_PIECES];
    size_t room; /* being read into, or ready */
    struct fr_view ready;
    bool reading, sending;
};

static void pump(struct proxy_exchange *x);

static void
body_free(struct proxy_disk_body *body)
{
    for (size_t i = 0; i < CACHE_DISK_WINDOW_PIECES; i++)
        cache_disk_room_give(body->entry, body->rooms[i]);
    cache_disk_body_close(disk_cache(body->worker->disk));
    cache_entry_unref(&body->entry);
    fr_free(body);
}

void
proxy_disk_body_leave(struct proxy_exchange *x)
{
    struct proxy_disk_body *body = x->disk_body;
    x->disk_body = NULL;
    if (!body)
        return;
    loop_timer_stop(&body->late);
    body->x = NULL;
    if (!body->reading)
        body_free(body); /* else when its message comes */
}

/* ---- when it cannot be sent ------------------------------------------------------------------ */

/* What a member had been asked, and had answered, counts no more. */
static void
begin_anew(struct proxy_exchange *x)
{
    proxy_disk_body_leave(x);
    if (x->entry_counted)
        cache_entry_unref(&x->entry);
    cache_entry_let_go(x->worker->cache_reader, &x->entry);
    x->entry_counted = x->from_cache = x->collapsed = x->stored = x->stale_on_error = false;
    x->disk_came = x->response_done = x->head_ready = false;
    x->member_status = 0;
    x->tried_count = x->refused_count = 0;
    proxy_cluster_unuse(&x->cluster);
    x->near_only = true;
    proxy_exchange_again(x);
}

static void
on_begin_anew(void *ctx)
{
    begin_anew(ctx);
}

static void
wanting(struct proxy_exchange *x)
{
    if (!x->begun) {
        begin_anew(x);
        return;
    }
    cache_disk_count_cut(disk_cache(x->worker->disk));
    proxy_exchange_fail(x, 502, "what was to be sent from disk cannot be read");
}

static void
on_late(void *ctx)
{
    struct proxy_disk_body *body = ctx;
    cache_disk_count_late(disk_cache(body->worker->disk));
    wanting(body->x);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void
on_news(void *ctx)
{
    struct proxy_disk_body *body = ctx;
    struct proxy_exchange *x = body->x;
    body->reading = false;
    loop_timer_stop(&body->late);
    if (!x) {
        body_free(body);
        return;
    }
    if (body->piece.end != DISK_PIECE_GOOD) {
        wanting(x);
        return;
    }
    size_t skip = (size_t)(body->next % CACHE_DISK_PIECE_BYTES);
    uint64_t bytes = CACHE_DISK_PIECE_BYTES - skip;
    if (bytes > body->end - body->next)
        bytes = body->end - body->next;
    body->ready = fr_view_make(body->rooms[body->room] + skip, (size_t)bytes);
    body->next += bytes;
    pump(x);
}

/* On a thread of the disk's. */
static void
on_done(void *ctx)
{
    struct proxy_disk_body *body = ctx;
    loop_post(body->worker->loop, &body->msg, on_news, body);
}

/* The next piece, if there is room for it. */
static void
read_on(struct proxy_disk_body *body)
{
    if (body->reading || body->ready.len > 0 || body->next == body->end)
        return;
    size_t room = body->sending ? (body->room + 1) % CACHE_DISK_WINDOW_PIECES : body->room;
    if (!body->rooms[room])
        body->rooms[room] = cache_disk_room_take(body->entry);
    if (!body->rooms[room])
        return; /* once this one is sent */
    int64_t within_us = body->x->begun ? STALL_US : LATE_US;
    body->room = room;
    body->piece.room = body->rooms[room];
    body->piece.number = body->next / CACHE_DISK_PIECE_BYTES;
    body->reading = disk_read_piece(body->worker->disk, &body->piece);
    loop_timer_start(body->worker->loop, &body->late, body->reading ? within_us : 0, on_late, body);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void
after_piece(struct proxy_exchange *x)
{
    x->disk_body->sending = false;
    pump(x);
}

static void
pump(struct proxy_exchange *x)
{
    struct iovec iov[LOOP_IOV_MAX];
    struct proxy_disk_body *body = x->disk_body;
    int count = 0;
    if (body->sending)
        return; /* comes back here */
    if (body->ready.len == 0) {
        if (body->next == body->end)
            proxy_exchange_reply(x);
        else
            read_on(body);
        return;
    }
    if (!x->begun) {
        cache_disk_count_streamed(disk_cache(body->worker->disk));
        if (!proxy_cached_put_head(x, &body->what, iov, &count)) {
            proxy_exchange_out_of_memory(x);
            return;
        }
        x->begun = true;
    }
    iov[count++] = (struct iovec){(char *)(uintptr_t)body->ready.ptr, body->ready.len};
    body->ready.len = 0;
    body->sending = true;
    read_on(body);
    proxy_exchange_send(x, iov, count, after_piece);
}

void
proxy_disk_body_send(struct proxy_exchange *x, const struct cache_selection *what)
{
    struct proxy_worker *worker = x->worker;
    struct cache_disk *disk = disk_cache(worker->disk);
    struct proxy_disk_body *body = fr_alloc(sizeof(*body));
    if (body && cache_disk_body_open(disk, x->entry, &body->piece.place)) {
        body->piece.done = on_done;
        body->piece.ctx = body;
        body->worker = worker;
        body->x = x;
        body->entry = body->piece.entry = cache_entry_ref(x->entry);
        body->what = *what;
        body->next = what->first;
        body->end = what->first + what->bytes;
        x->disk_body = body;
        x->disk_came = true;
        read_on(body);
        if (body->reading)
            return;
        cache_disk_count_no_room(disk);
        proxy_disk_body_leave(x);
    } else {
        fr_free(body);
    }
    /* In a later turn: who answers is not prepared that another answer begins. */
    proxy_exchange_timer(x, &x->stall, 0, on_begin_anew);
}
