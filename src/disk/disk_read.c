/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_read.c - records back into memory, once for all who wait.
 *
 * May touch:  base, cache.
 * Threads:    disk_read on any; the reading on the readers.
 * Memory:     a buffer a reader; what is read goes into the store's own, piece by piece, and is
 * seen by nobody before all of it proved right.
 */
#include "disk/disk_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

/* ---- streams --------------------------------------------------------------------------------- */

void
disk__stream_open(struct disk__stream *stream, int fd, char *buf, uint64_t at, uint64_t end)
{
    *stream = (struct disk__stream){.fd = fd, .buf = buf, .at = at, .end = end};
}

static void
fill(struct disk__stream *stream)
{
    memmove(stream->buf, stream->buf + stream->first, stream->count);
    stream->first = 0;
    uint64_t from = stream->at + stream->count;
    size_t room = DISK_READ_BYTES - stream->count;
    if (room > stream->end - from)
        room = (size_t)(stream->end - from);
    while (room > 0) {
        ssize_t got = pread(stream->fd, stream->buf + stream->count, room, (off_t)from);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) { /* it ends too soon: somebody cut it */
            stream->failed = true;
            stream->error = got < 0 ? errno : EIO;
            return;
        }
        stream->count += (size_t)got;
        from += (uint64_t)got;
        room -= (size_t)got;
    }
}

struct fr_view
disk__stream_need(struct disk__stream *stream, size_t bytes)
{
    fr_require(bytes <= DISK_READ_BYTES);
    if (stream->count < bytes && !stream->failed && stream->at + stream->count < stream->end)
        fill(stream);
    return fr_view_make(stream->buf + stream->first, stream->count);
}

void
disk__stream_skip(struct disk__stream *stream, uint64_t bytes)
{
    if (bytes > stream->end - stream->at)
        bytes = stream->end - stream->at;
    stream->at += bytes;
    if (bytes >= stream->count) {
        stream->first = stream->count = 0;
    } else {
        stream->first += (size_t)bytes;
        stream->count -= (size_t)bytes;
    }
}

#define ROOM_TRIES 50 /* for memory that workers are about to let go of, at once or when woken */
#define ROOM_WAIT_NS 1000000

/* ---- one record ------------------------------------------------------------------------------ */

static void
load_failed(struct disk *disk, const struct disk__request *request,
            const struct disk__stream *stream)
{
    const struct cache_disk_place *place = &request->place;
    if (stream->failed) {
        cache_disk_count_error(disk->cache);
        disk__tell_error(disk, stream->error);
        cache_disk_drop(disk->cache, place);
    } else if (cache_disk_is_there(disk->cache, place)) {
        disk__tell_bad(disk, place);
        cache_disk_found_bad(disk->cache, place);
    }
}

static enum cache_disk_step
load_begin(struct disk *disk, const struct disk__request *request, struct disk__stream *stream,
           struct cache_disk_loading **out, size_t *out_bytes)
{
    size_t head = cache_disk_head_bytes(disk__stream_need(stream, CACHE_DISK_FIRST_BYTES));
    struct fr_view bytes = disk__stream_need(stream, head);
    if (head == 0 || bytes.len < head)
        return CACHE_DISK_BAD;
    enum cache_disk_step step = CACHE_DISK_FULL;
    for (int i = 0; step == CACHE_DISK_FULL && i < ROOM_TRIES && !disk__stopping(disk); i++) {
        const struct timespec pause = {.tv_nsec = i == 0 ? 0 : ROOM_WAIT_NS};
        (void)nanosleep(&pause, NULL); /* shorter is as good */
        step = cache_disk_load_begin(disk->store, disk->cache, &request->place,
                                     fr_view_make(bytes.ptr, head), request->owner, out, out_bytes);
    }
    if (step == CACHE_DISK_FULL)
        cache_disk_count_no_room(disk->cache);
    disk__stream_skip(stream, head);
    return step;
}

static void
load(struct disk *disk, const struct disk__request *request, char *buf)
{
    const struct cache_disk_place *place = &request->place;
    struct disk__stream stream;
    struct cache_disk_loading *loading = NULL;
    size_t want = 0;
    uint64_t at = cache_disk_segment_at(&disk->layout, place->segment) + place->offset;
    if (!cache_disk_is_there(disk->cache, place))
        return; /* replaced while it waited */
    disk__stream_open(&stream, disk->fd, buf, at, at + place->bytes);
    enum cache_disk_step step = load_begin(disk, request, &stream, &loading, &want);
    while (step == CACHE_DISK_MORE) {
        struct fr_view bytes = disk__stream_need(&stream, want);
        step = CACHE_DISK_BAD;
        if (bytes.len < want)
            continue;
        size_t unit = want;
        step = cache_disk_load_add(loading, fr_view_make(bytes.ptr, unit), &want);
        disk__stream_skip(&stream, unit);
    }
    if (step == CACHE_DISK_WHOLE) {
        (void)cache_disk_load_end(&loading); /* who waits looks for itself */
        return;
    }
    cache_disk_load_drop(&loading);
    if (step == CACHE_DISK_BAD)
        load_failed(disk, request, &stream);
}

/* ---- requests -------------------------------------------------------------------------------- */

static bool
is_same(const struct cache_disk_place *a, const struct cache_disk_place *b)
{
    return a->stamp == b->stamp && a->segment == b->segment && a->offset == b->offset;
}

static struct disk__request *
request_find(struct fr_list *list, const struct cache_disk_place *place)
{
    FR_LIST_EACH(list, node) {
        struct disk__request *request = FR_CONTAINER(node, struct disk__request, link);
        if (is_same(&request->place, place))
            return request;
    }
    return NULL;
}

bool
disk_read(struct disk *disk, const struct cache_disk_place *place, uint32_t owner,
          struct disk_waiter *waiter)
{
    struct disk__request *spare = fr_alloc(sizeof(*spare));
    (void)pthread_mutex_lock(&disk->lock);
    struct disk__request *request = request_find(&disk->waiting, place);
    if (!request)
        request = request_find(&disk->running, place);
    if (!request && spare && disk->read_count < DISK_READS_MAX && !disk->stopping &&
        disk->reader_count > 0) {
        request = spare;
        spare = NULL;
        *request = (struct disk__request){.place = *place, .owner = owner};
        fr_list_init(&request->waiters);
        fr_list_push_back(&disk->waiting, &request->link);
        disk->read_count++;
        (void)pthread_cond_signal(&disk->more_reads);
    }
    if (request)
        fr_list_push_back(&request->waiters, &waiter->link);
    (void)pthread_mutex_unlock(&disk->lock);
    fr_free(spare);
    return request != NULL;
}

/* It is in no list any more, so that nobody joins. */
static void
request_end(struct disk__request *request)
{
    for (struct fr_list *node; (node = fr_list_pop_front(&request->waiters)) != NULL;) {
        struct disk_waiter *waiter = FR_CONTAINER(node, struct disk_waiter, link);
        waiter->done(waiter->ctx);
    }
    fr_free(request);
}

void
disk__reads_fail(struct disk *disk)
{
    for (struct fr_list *node; (node = fr_list_pop_front(&disk->waiting)) != NULL;)
        request_end(FR_CONTAINER(node, struct disk__request, link));
    for (struct fr_list *node; (node = fr_list_pop_front(&disk->pieces)) != NULL;) {
        struct disk_piece *piece = FR_CONTAINER(node, struct disk_piece, link);
        piece->end = DISK_PIECE_GONE;
        piece->done(piece->ctx);
    }
}

static char *
buffer_take(struct disk *disk)
{
    size_t i = 0;
    while (!disk->buffers[i])
        i++;
    char *out = disk->buffers[i];
    disk->buffers[i] = NULL;
    return out;
}

/* The lock is held, and given back meanwhile. Records and pieces take turns. False: there is
 * nothing to do. */
static bool
read_one(struct disk *disk, char *buf)
{
    bool wants_piece = !disk->piece_last || fr_list_empty(&disk->waiting);
    struct fr_list *node = wants_piece ? fr_list_pop_front(&disk->pieces) : NULL;
    disk->piece_last = node != NULL;
    if (node) {
        (void)pthread_mutex_unlock(&disk->lock);
        disk__read_piece(disk, FR_CONTAINER(node, struct disk_piece, link));
        (void)pthread_mutex_lock(&disk->lock);
        return true;
    }
    node = fr_list_pop_front(&disk->waiting);
    if (!node)
        return false;
    struct disk__request *request = FR_CONTAINER(node, struct disk__request, link);
    fr_list_push_back(&disk->running, &request->link);
    (void)pthread_mutex_unlock(&disk->lock);
    load(disk, request, buf);
    (void)pthread_mutex_lock(&disk->lock);
    fr_list_remove(&request->link);
    disk->read_count--;
    (void)pthread_mutex_unlock(&disk->lock);
    request_end(request);
    (void)pthread_mutex_lock(&disk->lock);
    return true;
}

void *
disk__read_main(void *ctx)
{
    struct disk *disk = ctx;
    (void)pthread_mutex_lock(&disk->lock);
    char *buf = buffer_take(disk);
    while (!disk->stopping)
        if (!read_one(disk, buf))
            (void)pthread_cond_wait(&disk->more_reads, &disk->lock);
    (void)pthread_mutex_unlock(&disk->lock);
    fr_free(buf);
    return NULL;
}
