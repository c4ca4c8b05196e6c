/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_log.c - the worker's side of the access log: notes taken while a request lives, and one
 * record in the worker's ring at its end.
 *
 * May touch:  base, loop, http, cluster (names).
 * Threads:    a ring has one writer, its worker, and one reader, the control thread: two positions,
 *             each written by one of them, release and acquire.
 * Memory:     one ring a worker, made when a log is first wanted; one note an exchange under way,
 *             from a free list.
 * When full:  drops the record and counts it. A text that is too long is cut and marked.
 * Cost:       of a request: two copies of its texts and two clock readings; a message to the
 *             control thread when it is not awake already. Nothing where there is no log.
 *
 *     data  [ . . . . record record record gap | ]
 *                     ^ taken               ^ written    (both only grow; the place is modulo size)
 */
#include "proxy/proxy_priv.h"

#include <stdatomic.h>

static const uint16_t text_bytes_max[PROXY_LOG_TEXTS] = {
    [PROXY_LOG_ADDRESS] = 46, [PROXY_LOG_PEER] = 46,
    [PROXY_LOG_METHOD] = 32,  [PROXY_LOG_TARGET] = 2048,
    [PROXY_LOG_HOST] = 255,   [PROXY_LOG_REFERER] = 1024,
    [PROXY_LOG_AGENT] = 512,  [PROXY_LOG_REQUEST_ID] = HTTP_REQUEST_ID_BYTES_MAX,
    [PROXY_LOG_TRACE] = 32,   [PROXY_LOG_ROUTE] = 64,
    [PROXY_LOG_CLUSTER] = 64, [PROXY_LOG_MEMBER] = 64,
};
#define TEXTS_BYTES_MAX 4352 /* their sum, rounded up */
#define RING_BYTES_MIN 65536 /* several of the longest records */

struct proxy_note {
    struct fr_list link;
    int64_t begun_us;
    uint64_t head_bytes;
    char member[CONFIG_NAME_BYTES];
    struct proxy_log_record record;
    char texts[TEXTS_BYTES_MAX]; /* the record's */
};

struct proxy_ring {
    /* set once */
    size_t size; /* a power of two */
    struct loop *control;
    proxy_log_fn fn;
    void *ctx;
    /* the worker's */
    _Alignas(FR_CACHE_LINE) _Atomic uint64_t written;
    uint64_t taken_seen;
    /* the control thread's */
    _Alignas(FR_CACHE_LINE) _Atomic uint64_t taken;
    unsigned heard; /* calls that arrived since it last came */
    /* both */
    _Alignas(FR_CACHE_LINE) atomic_uint called;
    struct loop_msg soon_msg, now_msg;
    _Alignas(FR_CACHE_LINE) char data[];
};

enum { CALL_SOON = 1, CALL_NOW = 2 };

/* ---- the ring ------------------------------------------------------------------------------- */

struct proxy_ring *
proxy_ring_new(size_t bytes, struct loop *control, proxy_log_fn fn, void *ctx)
{
    size_t size = RING_BYTES_MIN;
    while (size < bytes)
        size *= 2;
    struct proxy_ring *ring = fr_xalloc_lines(sizeof(*ring) + size);
    ring->size = size;
    ring->control = control;
    ring->fn = fn;
    ring->ctx = ctx;
    return ring;
}

static void
on_soon(void *ctx)
{
    struct proxy_ring *ring = ctx;
    ring->heard |= CALL_SOON;
    ring->fn(ring->ctx, false);
}

static void
on_now(void *ctx)
{
    struct proxy_ring *ring = ctx;
    ring->heard |= CALL_NOW;
    ring->fn(ring->ctx, true);
}

/* A message that was not run yet is still the other loop's. So each is posted once, and again only
 * after the control thread has heard it and come. */
static void
call_control(struct proxy_ring *ring)
{
    uint64_t at = atomic_load_explicit(&ring->written, memory_order_relaxed);
    if (at - ring->taken_seen > ring->size / 2)
        ring->taken_seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
    unsigned wanted = at - ring->taken_seen > ring->size / 2 ? CALL_NOW : CALL_SOON;
    /* Either we see that it came, or it sees what was written. */
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_load_explicit(&ring->called, memory_order_relaxed) >= wanted)
        return;
    (void)atomic_fetch_or_explicit(&ring->called, wanted, memory_order_acq_rel);
    if (wanted == CALL_NOW)
        loop_post(ring->control, &ring->now_msg, on_now, ring);
    else
        loop_post(ring->control, &ring->soon_msg, on_soon, ring);
}

/* Room for a record in one piece, or NULL. */
static struct proxy_log_record *
ring_reserve(struct proxy_ring *ring, size_t bytes, uint64_t *out_at)
{
    uint64_t at = atomic_load_explicit(&ring->written, memory_order_relaxed);
    size_t place = at & (ring->size - 1), left = ring->size - place;
    size_t needed = left < bytes ? left + bytes : bytes;
    if (ring->size - (at - ring->taken_seen) < needed) {
        ring->taken_seen = atomic_load_explicit(&ring->taken, memory_order_acquire);
        if (ring->size - (at - ring->taken_seen) < needed)
            return NULL;
    }
    if (left < bytes) {
        struct proxy_log_record *gap = (void *)(ring->data + place);
        gap->bytes = (uint32_t)left; /* at least 8 bytes: all lengths are multiples */
        gap->gap = true;
        at += left;
        place = 0;
    }
    *out_at = at;
    return (void *)(ring->data + place);
}

bool
proxy_ring_put(struct proxy_ring *ring, const struct proxy_log_record *record, const char *texts,
               size_t text_bytes)
{
    uint64_t at;
    size_t bytes = (sizeof(*record) + text_bytes + 7) & ~(size_t)7;
    struct proxy_log_record *to = ring_reserve(ring, bytes, &at);
    if (to) {
        memcpy(to, record, sizeof(*record));
        if (text_bytes)
            memcpy(to + 1, texts, text_bytes);
        to->bytes = (uint32_t)bytes;
        atomic_store_explicit(&ring->written, at + bytes, memory_order_release);
    }
    call_control(ring);
    return to != NULL;
}

const struct proxy_log_record *
proxy_ring_peek(struct proxy_ring *ring)
{
    uint64_t at = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    while (at != atomic_load_explicit(&ring->written, memory_order_acquire)) {
        struct proxy_log_record *record = (void *)(ring->data + (at & (ring->size - 1)));
        if (!record->gap)
            return record;
        at += record->bytes;
        atomic_store_explicit(&ring->taken, at, memory_order_release);
    }
    return NULL;
}

void
proxy_ring_take(struct proxy_ring *ring, const struct proxy_log_record *record)
{
    uint64_t at = atomic_load_explicit(&ring->taken, memory_order_relaxed);
    atomic_store_explicit(&ring->taken, at + record->bytes, memory_order_release);
}

void
proxy_ring_came(struct proxy_ring *ring)
{
    (void)atomic_fetch_and_explicit(&ring->called, ~ring->heard, memory_order_acq_rel);
    ring->heard = 0;
    atomic_thread_fence(memory_order_seq_cst);
}

/* ---- notes ---------------------------------------------------------------------------------- */

static void
note_text(struct proxy_note *note, enum proxy_log_text text, struct fr_view value, size_t *at)
{
    size_t len = value.len;
    if (len > text_bytes_max[text]) {
        len = text_bytes_max[text];
        note->record.cut |= (uint16_t)(1u << text);
    }
    if (len)
        memcpy(note->texts + *at, value.ptr, len);
    note->record.lens[text] = (uint16_t)len;
    *at += len;
}

static struct proxy_note *
note_new(struct proxy_exchange *x)
{
    struct proxy_worker *worker = x->worker;
    if (!worker->ring)
        return NULL;
    struct proxy_note *note =
        proxy_free_list_take(&worker->free_notes, offsetof(struct proxy_note, link));
    if (!note)
        note = fr_alloc(sizeof(*note));
    if (!note) {
        PROXY_COUNT(worker, access_log_dropped);
        return NULL;
    }
    memset(note, 0, offsetof(struct proxy_note, texts));
    note->begun_us = loop_now_us(worker->loop);
    note->record.wall_us = loop_wall_us(worker->loop);
    note->record.first_byte_us = -1;
    return note;
}

static struct fr_view
value_of(const struct http_head *request, enum http_known known)
{
    const struct http_field *field = http_head_find(request, known);
    return field ? field->value : (struct fr_view){0};
}

void
proxy_note_begin(struct proxy_exchange *x, const struct http_head *request)
{
    size_t at = 0;
    struct proxy_note *note = x->note = note_new(x);
    if (!note)
        return;
    note->record.version_minor = (uint8_t)request->version_minor;
    note->record.http2 = x->client->stream;
    note->record.https = x->https;
    note_text(note, PROXY_LOG_ADDRESS, fr_view_make(x->address, x->address_len), &at);
    note_text(note, PROXY_LOG_PEER, fr_view_of(x->client->address), &at);
    note_text(note, PROXY_LOG_METHOD, request->method_text, &at);
    note_text(note, PROXY_LOG_TARGET, request->target, &at);
    note_text(note, PROXY_LOG_HOST, request->host, &at);
    note_text(note, PROXY_LOG_REFERER, value_of(request, HTTP_FIELD_REFERER), &at);
    note_text(note, PROXY_LOG_AGENT, value_of(request, HTTP_FIELD_USER_AGENT), &at);
    note_text(note, PROXY_LOG_REQUEST_ID, fr_view_make(x->request_id, x->request_id_len), &at);
    if (x->trace_passed || x->trace_made)
        note_text(note, PROXY_LOG_TRACE,
                  fr_view_make(x->traceparent + HTTP_TRACE_ID_AT, HTTP_TRACE_ID_BYTES), &at);
}

void
proxy_note_refused(struct proxy_exchange *x, struct fr_view raw)
{
    size_t at = 0, line = 0;
    struct proxy_note *note = x->note = note_new(x);
    if (!note)
        return;
    while (line < raw.len && raw.ptr[line] != '\r' && raw.ptr[line] != '\n')
        line++;
    note_text(note, PROXY_LOG_ADDRESS, fr_view_of(x->client->address), &at);
    note_text(note, PROXY_LOG_PEER, fr_view_of(x->client->address), &at);
    note_text(note, PROXY_LOG_TARGET, fr_view_make(raw.ptr, line), &at);
}

void
proxy_note_route(struct proxy_exchange *x, const char *name)
{
    size_t at = 0;
    if (!x->note)
        return;
    for (int i = 0; i < PROXY_LOG_ROUTE; i++)
        at += x->note->record.lens[i];
    note_text(x->note, PROXY_LOG_ROUTE, fr_view_of(name), &at);
}

void
proxy_note_member(struct proxy_exchange *x, const struct cluster_member *member)
{
    if (x->note)
        (void)fr_view_copy(fr_view_of(member->id), x->note->member, sizeof(x->note->member));
}

void
proxy_note_head(struct proxy_exchange *x, size_t bytes, bool final)
{
    struct proxy_note *note = x->note;
    if (!note)
        return;
    note->head_bytes += bytes;
    if (final)
        note->record.first_byte_us = loop_clock_us(x->worker->loop) - note->begun_us;
}

void
proxy_note_answer(struct proxy_exchange *x)
{
    struct fr_view text = fr_buf_view(&x->down_head);
    const char *end = x->note ? memmem(text.ptr, text.len, "\r\n\r\n", 4) : NULL;
    proxy_note_head(x, end ? (size_t)(end - text.ptr) + 4 : text.len, true);
}

void
proxy_note_sent(struct proxy_exchange *x, size_t bytes)
{
    if (x->note)
        x->note->record.response_bytes += bytes;
}

void
proxy_note_cache(struct proxy_exchange *x, enum proxy_log_cache cache)
{
    if (x->note)
        x->note->record.cache = (uint8_t)cache;
}

void
proxy_note_end(struct proxy_exchange *x, enum proxy_log_end end)
{
    struct proxy_worker *worker = x->worker;
    struct proxy_note *note = x->note;
    size_t at = 0;
    if (!note)
        return;
    struct proxy_log_record *record = &note->record;
    x->note = NULL;
    record->end = (uint8_t)end;
    record->status = (uint16_t)(end == PROXY_LOG_DROPPED && !x->begun ? 499 : x->status);
    record->attempts = (uint16_t)x->tried_count;
    record->duration_us = loop_clock_us(worker->loop) - note->begun_us;
    record->request_bytes = x->request_body.received;
    record->body_bytes =
        record->response_bytes > note->head_bytes ? record->response_bytes - note->head_bytes : 0;
    for (int i = 0; i < PROXY_LOG_CLUSTER; i++)
        at += record->lens[i];
    if (x->cluster)
        note_text(note, PROXY_LOG_CLUSTER, fr_view_of(x->cluster->view->config->name), &at);
    note_text(note, PROXY_LOG_MEMBER, fr_view_of(note->member), &at);
    if (worker->ring && proxy_ring_put(worker->ring, record, note->texts, at))
        PROXY_COUNT(worker, access_log_records);
    else
        PROXY_COUNT(worker, access_log_dropped);
    if (!proxy_free_list_give(&worker->free_notes, &note->link))
        fr_free(note);
}

void
proxy_notes_free(struct proxy_worker *worker)
{
    struct proxy_note *note;
    while ((note = proxy_free_list_take(&worker->free_notes, offsetof(struct proxy_note, link))))
        fr_free(note);
}
