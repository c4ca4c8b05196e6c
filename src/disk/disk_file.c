/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_file.c - the file itself: made at its whole length, judged, its beginning mapped.
 *
 * May touch:  base, cache.
 * Threads:    whoever opens and closes it, before and after the others.
 *
 * Marks go into the mapping without a system call. A killed process loses none of them: the pages
 * are the kernel's. When the system stops they may be lost while records are not, so that a file
 * that was in use then begins anew.
 */
#include "disk/disk_priv.h"

#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define BOOT_ID "/proc/sys/kernel/random/boot_id"

static struct fr_view
boot_id(struct fr_buf *buf)
{
    if (fr_file_read(BOOT_ID, buf, NULL) != FR_OK)
        fr_buf_clear(buf); /* then nothing that was in use is trusted */
    struct fr_view id = fr_buf_view(buf);
    while (id.len > 0 && (id.ptr[id.len - 1] == '\n' || id.len >= CACHE_DISK_BOOT_BYTES))
        id.len--;
    return id;
}

static bool
make_folder(const char *path, int *out_errno)
{
    const char *slash = strrchr(path, '/');
    if (!slash || slash == path)
        return true;
    char *folder = fr_xstrndup(path, (size_t)(slash - path));
    enum fr_err err = fr_file_make_folder(folder, out_errno);
    fr_free(folder);
    return err == FR_OK;
}

enum promise {
    PROMISED,
    PROMISES_NOTHING, /* neither the file system nor, in a sandbox, the kernel */
    PROMISE_FAILED,   /* errno */
};
static enum promise
promise_room(int fd, uint64_t bytes)
{
    while (fallocate(fd, 0, 0, (off_t)bytes) != 0)
        if (errno != EINTR) /* by a signal: it takes a while */
            return errno == EOPNOTSUPP || errno == ENOSYS ? PROMISES_NOTHING : PROMISE_FAILED;
    return PROMISED;
}

/* Every block is there, where that can be promised. */
static bool
take_room(int fd, uint64_t bytes, int *out_errno)
{
    enum promise promise = promise_room(fd, bytes);
    if (promise == PROMISED || (promise == PROMISES_NOTHING && ftruncate(fd, (off_t)bytes) == 0))
        return true;
    *out_errno = errno;
    return false;
}

/* A write that finds no room is an error; into a mapping it is the end of the process. So what will
 * be mapped is made to be there: where it cannot be promised, by writing over it what it holds. */
static bool
take_mapped_room(int fd, uint64_t bytes, int *out_errno)
{
    char block[16384];
    enum promise promise = promise_room(fd, bytes);
    if (promise == PROMISED)
        return true;
    bool good = promise == PROMISES_NOTHING;
    for (uint64_t at = 0; good && at < bytes;) {
        size_t want = bytes - at < sizeof(block) ? (size_t)(bytes - at) : sizeof(block);
        ssize_t got = pread(fd, block, want, (off_t)at);
        ssize_t put = got > 0 ? pwrite(fd, block, (size_t)got, (off_t)at) : got;
        if (put == 0)
            errno = EIO; /* it is shorter than it was */
        good = put > 0 || (put < 0 && errno == EINTR);
        at += put > 0 ? (uint64_t)put : 0;
    }
    if (!good)
        *out_errno = errno;
    return good;
}

static enum fr_err
io_error(int *out_errno)
{
    *out_errno = errno;
    return FR_ERR_IO;
}

/* At the right length; what had another one is emptied. *out_other: there was something. */
static enum fr_err
open_sized(const struct disk_options *options, struct disk *disk, bool *out_other, int *out_errno)
{
    struct stat is;
    if (!make_folder(options->path, out_errno))
        return FR_ERR_IO;
    disk->fd = open(options->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (disk->fd < 0)
        return io_error(out_errno);
    if (flock(disk->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? FR_ERR_EXISTS : io_error(out_errno);
    if (fstat(disk->fd, &is) != 0)
        return io_error(out_errno);
    *out_other = is.st_size != 0 && (uint64_t)is.st_size != options->bytes;
    if ((uint64_t)is.st_size == options->bytes)
        return FR_OK;
    if (ftruncate(disk->fd, 0) != 0)
        return io_error(out_errno);
    return take_room(disk->fd, options->bytes, out_errno) ? FR_OK : FR_ERR_IO;
}

static bool
is_blank(const char *mapped)
{
    for (size_t i = 0; i < CACHE_DISK_SEGMENT_HEAD_BYTES; i++)
        if (mapped[i] != 0)
            return false;
    return true;
}

static void
judge(const struct disk_options *options, struct disk *disk, bool other)
{
    struct fr_buf buf;
    fr_buf_init(&buf, 4096);
    struct fr_view boot = boot_id(&buf);
    const char *why = other ? "it has another size" : NULL;
    enum cache_disk_fit fit = cache_disk_judge(disk->mapped, &disk->layout, boot);
    if (!why && fit == CACHE_DISK_OTHER && !is_blank(disk->mapped))
        why = "it is of another format, version or size, or damaged";
    if (!why && fit == CACHE_DISK_UNSURE)
        why = "the system stopped while it was in use";
    if (why)
        options->tell(options->ctx, DISK_NEWS_ANEW, why, 0);
    if (fit != CACHE_DISK_FITS)
        cache_disk_format(disk->mapped, &disk->layout);
    cache_disk_in_use(disk->mapped, boot);
    (void)msync(disk->mapped, disk->layout.mapped_bytes, MS_SYNC); /* or the medium will tell */
    fr_buf_fini(&buf);
}

enum fr_err
disk__file_open(const struct disk_options *options, struct disk *disk, int *out_errno)
{
    bool other = false;
    disk->fd = -1;
    if (!cache_disk_layout(options->bytes, &disk->layout))
        return FR_ERR_RANGE;
    enum fr_err err = open_sized(options, disk, &other, out_errno);
    if (err != FR_OK)
        return err;
    if (!take_mapped_room(disk->fd, disk->layout.mapped_bytes, out_errno))
        return FR_ERR_IO;
    void *mapped =
        mmap(NULL, disk->layout.mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, disk->fd, 0);
    if (mapped == MAP_FAILED)
        return io_error(out_errno);
    disk->mapped = mapped;
    judge(options, disk, other);
    return FR_OK;
}

void
disk__file_rest(struct disk *disk)
{
    if (fdatasync(disk->fd) != 0 || msync(disk->mapped, disk->layout.mapped_bytes, MS_SYNC) != 0)
        return; /* it is not sure: the next one finds it in use */
    cache_disk_at_rest(disk->mapped);
    (void)msync(disk->mapped, disk->layout.mapped_bytes, MS_SYNC); /* or it is still in use */
}

void
disk__file_close(struct disk *disk)
{
    if (disk->mapped)
        (void)munmap(disk->mapped, disk->layout.mapped_bytes);
    if (disk->fd >= 0)
        (void)close(disk->fd); /* gives up the lock */
    disk->mapped = NULL;
    disk->fd = -1;
}
