/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk.c - the cache's file: its threads, their beginning and end.
 *
 * May touch:  base, cache.
 * Threads:    made by disk_start, joined by disk_stop, both on the owner's.
 */
#include "disk/disk_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <signal.h>
#include <string.h>

static void
on_queued(void *ctx)
{
    struct disk *disk = ctx;
    if (__atomic_exchange_n(&disk->awake, true, __ATOMIC_ACQ_REL))
        return;
    (void)pthread_mutex_lock(&disk->lock);
    (void)pthread_cond_signal(&disk->more_writes);
    (void)pthread_mutex_unlock(&disk->lock);
}

enum fr_err
disk_open(const struct disk_options *options, struct disk **out, int *out_errno)
{
    struct disk *disk = fr_xalloc(sizeof(*disk));
    *out_errno = 0;
    disk->tell = options->tell;
    disk->tell_ctx = options->ctx;
    disk->segment = DISK__NO_SEGMENT;
    fr_insist(pthread_mutex_init(&disk->lock, NULL) == 0);
    fr_insist(pthread_cond_init(&disk->more_reads, NULL) == 0);
    fr_insist(pthread_cond_init(&disk->more_writes, NULL) == 0);
    fr_list_init(&disk->waiting);
    fr_list_init(&disk->running);
    fr_list_init(&disk->pieces);
    enum fr_err err = disk__file_open(options, disk, out_errno);
    if (err == FR_OK)
        err = cache_disk_new(disk->mapped, &disk->layout, options->memory_bytes, &disk->cache);
    if (err != FR_OK) {
        disk_free(&disk);
        return err;
    }
    if (options->wall_us > 0)
        cache_disk_starts_at(disk->cache, options->wall_us);
    cache_disk_note_memory(disk->cache, DISK_MEMORY_BYTES);
    cache_disk_on_queued(disk->cache, on_queued, disk);
    disk->write_buf = fr_xalloc(DISK_WRITE_BYTES);
    disk->scan_buf = fr_xalloc(DISK_READ_BYTES);
    for (size_t i = 0; i < DISK_READERS; i++)
        disk->buffers[i] = fr_xalloc(DISK_READ_BYTES);
    disk->sequences = fr_xalloc(disk->layout.segment_count * sizeof(*disk->sequences));
    disk->used = fr_xalloc(disk->layout.segment_count * sizeof(*disk->used));
    disk->batch = fr_xalloc(DISK__BATCH_MAX * sizeof(*disk->batch));
    *out = disk;
    return FR_OK;
}

struct cache_disk *
disk_cache(const struct disk *disk)
{
    return disk->cache;
}

bool
disk__stopping(struct disk *disk)
{
    (void)pthread_mutex_lock(&disk->lock);
    bool stopping = disk->stopping;
    (void)pthread_mutex_unlock(&disk->lock);
    return stopping;
}

void
disk__tell_error(struct disk *disk, int error)
{
    if (!__atomic_exchange_n(&disk->told_error, true, __ATOMIC_RELAXED))
        disk->tell(disk->tell_ctx, DISK_NEWS_ERROR, strerror(error), error);
}

void
disk__tell_bad(struct disk *disk, const struct cache_disk_place *place)
{
    uint64_t at = cache_disk_segment_at(&disk->layout, place->segment) + place->offset;
    if (!__atomic_exchange_n(&disk->told_bad, true, __ATOMIC_RELAXED))
        disk->tell(disk->tell_ctx, DISK_NEWS_BAD, NULL, (int64_t)at);
}

/* ---- the writer ------------------------------------------------------------------------------ */

static void
write_queued(struct disk *disk)
{
    struct cache_disk_job job;
    while (cache_disk_next(disk->cache, &job))
        (void)disk__write_job(disk, &job); /* what failed was counted, and ended */
    disk__write_flush(disk);
}

static void *
write_main(void *ctx)
{
    struct disk *disk = ctx;
    disk__start_scan(disk);
    bool stopping = false;
    while (!stopping) {
        (void)pthread_mutex_lock(&disk->lock);
        while (!disk->stopping && !__atomic_exchange_n(&disk->awake, false, __ATOMIC_ACQ_REL))
            (void)pthread_cond_wait(&disk->more_writes, &disk->lock);
        stopping = disk->stopping;
        (void)pthread_mutex_unlock(&disk->lock);
        write_queued(disk);
    }
    cache_disk_close(disk->cache);
    return NULL;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool
thread_start(pthread_t *out, void *(*fn)(void *), struct disk *disk, const char *name)
{
    if (pthread_create(out, NULL, fn, disk) != 0)
        return false;
    (void)pthread_setname_np(*out, name); /* for top and perf only */
    return true;
}

enum fr_err
disk_start(struct disk *disk, struct cache_store *store)
{
    sigset_t all, before;
    disk->store = store;
    sigfillset(&all); /* signals are the control thread's */
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    disk->writing = thread_start(&disk->writer, write_main, disk, "disk-write");
    size_t made = 0;
    while (disk->writing && made < DISK_READERS &&
           thread_start(&disk->readers[made], disk__read_main, disk, "disk-read"))
        made++;
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_mutex_lock(&disk->lock);
    disk->reader_count = made;
    (void)pthread_mutex_unlock(&disk->lock);
    return made > 0 ? FR_OK : FR_ERR_SYSTEM;
}

void
disk_stop(struct disk *disk)
{
    (void)pthread_mutex_lock(&disk->lock);
    bool first = !disk->stopping;
    disk->stopping = true;
    (void)pthread_cond_broadcast(&disk->more_reads);
    (void)pthread_cond_broadcast(&disk->more_writes);
    (void)pthread_mutex_unlock(&disk->lock);
    if (!first)
        return;
    for (size_t i = 0; i < disk->reader_count; i++)
        (void)pthread_join(disk->readers[i], NULL); /* fails only for no thread */
    disk__reads_fail(disk);
    if (!disk->writing) {
        if (disk->cache)
            cache_disk_close(disk->cache);
        return;
    }
    (void)pthread_join(disk->writer, NULL);
    disk__file_rest(disk);
}

void
disk_free(struct disk **disk)
{
    struct disk *old = *disk;
    *disk = NULL;
    if (!old)
        return;
    disk_stop(old);
    cache_disk_free(&old->cache);
    disk__file_close(old);
    for (size_t i = 0; i < DISK_READERS; i++)
        fr_free(old->buffers[i]);
    fr_free(old->write_buf);
    fr_free(old->scan_buf);
    fr_free(old->sequences);
    fr_free(old->used);
    fr_free(old->batch);
    (void)pthread_mutex_destroy(&old->lock); /* nobody else is left */
    (void)pthread_cond_destroy(&old->more_reads);
    (void)pthread_cond_destroy(&old->more_writes);
    fr_free(old);
}
