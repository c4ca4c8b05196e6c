/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_file.c - reading and durably replacing whole files, also two that belong together.
 *
 * Threads:  boot and control only: it blocks.
 * Limits:   one writer of a folder at a time, for whom the others wait FR_FILE_LOCK_MS.
 */
#include "base/fr_file.h"

#include "base/fr_fault.h"
#include "base/fr_mem.h"
#include "base/fr_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TRY_MS 10
#define READ_BYTES 16384

static enum fr_err
fail(int error, int *out_errno)
{
    if (out_errno != NULL)
        *out_errno = error;
    return FR_ERR_IO;
}

/* Room for what is read next, at *out_room of buf's end; 0: the buffer is as full as it may be. */
static enum fr_err
make_room(struct fr_buf *buf, size_t wanted, size_t *out_room)
{
    size_t left = buf->max_bytes - buf->len;
    enum fr_err err = FR_OK;
    if (buf->cap <= buf->len + 1)
        err = fr_buf_reserve(buf, wanted < left ? wanted : left);
    *out_room = buf->cap > buf->len + 1 ? buf->cap - buf->len - 1 : 0;
    return err;
}

/* Straight into the buffer, which is made as large as the file at once: of a key no copy is left on
 * the stack, or where the buffer was before it grew. */
enum fr_err
fr_file_read(const char *path, struct fr_buf *buf, int *out_errno)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail(errno, out_errno);
    struct stat st;
    char beyond;
    size_t room = 0, wanted = READ_BYTES;
    if (fstat(fd, &st) == 0 && st.st_size > 0)
        wanted = (size_t)st.st_size + 1; /* its end is seen without growing */
    enum fr_err err = make_room(buf, wanted, &room);
    while (err == FR_OK) {
        ssize_t got = room ? read(fd, buf->data + buf->len, room) : read(fd, &beyond, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            err = fail(errno, out_errno);
        if (got <= 0)
            break;
        if (!room) {
            err = FR_ERR_FULL;
            break;
        }
        buf->len += (size_t)got;
        buf->data[buf->len] = '\0';
        err = make_room(buf, READ_BYTES, &room);
    }
    (void)close(fd); /* nothing was written through it */
    return err;
}

static int
write_all(int fd, struct fr_view content)
{
    while (content.len) {
        ssize_t put = write(fd, content.ptr, content.len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return errno;
        content = fr_view_make(content.ptr + put, content.len - (size_t)put);
    }
    return 0;
}

static char *
folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL   ? fr_xstrdup(".")
           : slash == path ? fr_xstrdup("/")
                           : fr_xstrndup(path, (size_t)(slash - path));
}

static int
open_folder(const char *folder, int *out_fd)
{
    *out_fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return *out_fd < 0 ? errno : 0;
}

/* A rename is durable only once the folder that holds the name is on disk. */
static int
sync_folder_of(const char *path)
{
    char *folder = folder_of(path);
    int fd = -1;
    int error = open_folder(folder, &fd);
    fr_free(folder);
    if (error != 0)
        return error;
    if (fsync(fd) != 0)
        error = errno;
    (void)close(fd); /* read-only */
    return error;
}

/* One writer of a folder at a time, until *out_fd is closed. Whoever can open the folder can hold
 * it, so the wait has an end. Where the file system has no such locks (folders of NFS) one goes on
 * without. */
static int
lock_folder(const char *folder, int *out_fd)
{
    int fd = -1;
    int error = open_folder(folder, &fd);
    if (error != 0)
        return error;
    for (int waited_ms = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; waited_ms += LOCK_TRY_MS) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            break;
        if (waited_ms >= FR_FILE_LOCK_MS) {
            (void)close(fd); /* read-only */
            return EBUSY;
        }
        (void)poll(NULL, 0, LOCK_TRY_MS);
    }
    *out_fd = fd;
    return 0;
}

static int
lock_folder_of(const char *path, int *out_fd)
{
    char *folder = folder_of(path);
    int error = lock_folder(folder, out_fd);
    fr_free(folder);
    return error;
}

enum fr_err
fr_file_lock_folder(const char *folder, int *out_fd, int *out_errno)
{
    int error = lock_folder(folder, out_fd);
    return error ? fail(error, out_errno) : FR_OK;
}

/* Made, written, on disk. What has the name already is of somebody that was killed, or was put
 * there to receive what is written: it is not written to. */
static int
write_file(const char *path, struct fr_view content, unsigned mode)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return errno;
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, (mode_t)mode);
    if (fd < 0)
        return errno;
    int error = write_all(fd, content);
    fr_give_way();
    if (error == 0 && fsync(fd) != 0)
        error = errno;
    if (close(fd) != 0 && error == 0)
        error = errno;
    if (error != 0)
        (void)unlink(path);
    return error;
}

enum fr_err
fr_file_replace(const char *path, struct fr_view content, unsigned mode, int *out_errno)
{
    int lock = -1;
    int error = lock_folder_of(path, &lock);
    if (error != 0)
        return fail(error, out_errno);
    char *temporary = fr_xprintf("%s.tmp", path);
    error = write_file(temporary, content, mode);
    fr_give_way();
    if (error == 0 && rename(temporary, path) != 0) {
        error = errno;
        (void)unlink(temporary); /* best effort: the next write removes it anyway */
    }
    fr_give_way();
    if (error == 0)
        error = sync_folder_of(path);
    fr_free(temporary);
    (void)close(lock); /* read-only */
    return error ? fail(error, out_errno) : FR_OK;
}

/* ---- pairs ---------------------------------------------------------------------------------- */

/*     FIRST.pair  SECOND.pair   means
 *     any         -             nothing: both are what they were (or became)
 *     there       any           not begun: both are what they were
 *     -           there         FIRST is new, and SECOND.pair is to take SECOND's place
 *
 * So FIRST.pair is there from before SECOND.pair is until the latter is whole and on disk. */
#define WAITING ".pair"

static int
move(const char *from, const char *to)
{
    return rename(from, to) == 0 ? sync_folder_of(to) : errno;
}

char *
fr_file_pair_waiting(const struct fr_file_pair *paths)
{
    char *new_first = fr_xprintf("%s" WAITING, paths->first);
    char *new_second = fr_xprintf("%s" WAITING, paths->second);
    if (access(new_first, F_OK) == 0 || access(new_second, F_OK) != 0) {
        fr_free(new_second);
        new_second = NULL;
    }
    fr_free(new_first);
    return new_second;
}

/* What a call before this one left undone since FIRST took its place. */
static int
finish_pair(const struct fr_file_pair *paths)
{
    char *new_second = fr_file_pair_waiting(paths);
    int error = new_second ? move(new_second, paths->second) : 0;
    fr_free(new_second);
    return error == ENOENT ? 0 : error;
}

enum fr_err
fr_file_pair_finish(const struct fr_file_pair *paths, int *out_errno)
{
    int lock = -1;
    int error = lock_folder_of(paths->first, &lock);
    if (error != 0)
        return fail(error, out_errno);
    error = finish_pair(paths);
    (void)close(lock); /* read-only */
    return error ? fail(error, out_errno) : FR_OK;
}

/* What a call that had not begun to move left. SECOND.pair first: alone it would be waiting. */
static int
remove_leavings(const struct fr_file_pair *paths, const char *new_first, const char *new_second)
{
    int error = 0;
    if (unlink(new_second) == 0)
        error = sync_folder_of(paths->second);
    else if (errno != ENOENT)
        error = errno;
    if (error == 0 && unlink(new_first) != 0 && errno != ENOENT)
        error = errno;
    return error;
}

/* Both new, beside their places. On failure neither is there. */
static int
write_both(const struct fr_file_pair *paths, const struct fr_view contents[2], unsigned mode,
           const char *new_first, const char *new_second)
{
    int error = write_file(new_first, contents[0], mode);
    if (error == 0)
        error = sync_folder_of(paths->first);
    FR_FAULT("file-pair-first-written");
    if (error == 0) {
        error = write_file(new_second, contents[1], mode);
        if (error == 0)
            error = sync_folder_of(paths->second);
        if (error != 0)
            (void)unlink(new_second); /* this one first: see above */
    }
    FR_FAULT("file-pair-second-written");
    if (error != 0)
        (void)unlink(new_first);
    return error;
}

static int
move_both(const struct fr_file_pair *paths, const char *new_first, const char *new_second)
{
    if (rename(new_first, paths->first) != 0) {
        int error = errno;
        (void)unlink(new_second);
        (void)unlink(new_first);
        return error;
    }
    int error = sync_folder_of(paths->first);
    FR_FAULT("file-pair-first-moved");
    int moved = move(new_second, paths->second);
    FR_FAULT("file-pair-second-moved");
    return error ? error : moved;
}

enum fr_err
fr_file_replace_pair(const struct fr_file_pair *paths, struct fr_view first, struct fr_view second,
                     unsigned mode, int *out_errno)
{
    const struct fr_view contents[2] = {first, second};
    int lock = -1;
    int error = lock_folder_of(paths->first, &lock);
    if (error != 0)
        return fail(error, out_errno);
    char *new_first = fr_xprintf("%s" WAITING, paths->first);
    char *new_second = fr_xprintf("%s" WAITING, paths->second);
    /* What waits is all there is that fits FIRST: it is in its place before ours are begun. */
    error = finish_pair(paths);
    if (error == 0)
        error = remove_leavings(paths, new_first, new_second);
    if (error == 0)
        error = write_both(paths, contents, mode, new_first, new_second);
    if (error == 0)
        error = move_both(paths, new_first, new_second);
    fr_free(new_first);
    fr_free(new_second);
    (void)close(lock); /* read-only */
    return error ? fail(error, out_errno) : FR_OK;
}

enum fr_err
fr_file_make_folder(const char *path, int *out_errno)
{
    char *partial = fr_xstrdup(path);
    int error = 0;
    for (char *at = partial + 1; error == 0 && *partial != '\0'; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char kept = *at;
        *at = '\0';
        if (mkdir(partial, 0700) != 0 && errno != EEXIST)
            error = errno;
        *at = kept;
        if (kept == '\0')
            break;
    }
    struct stat st;
    if (error == 0 && stat(path, &st) != 0)
        error = errno;
    else if (error == 0 && !S_ISDIR(st.st_mode))
        error = ENOTDIR;
    fr_free(partial);
    return error ? fail(error, out_errno) : FR_OK;
}
