/* SPDX-License-Identifier: Apache-2.0 */
/*
 * disk_piece.c - one piece of a body that is sent from disk, straight into its sender's room.
 *
 * May touch:  base, cache.
 * Threads:    disk_read_piece on any; the reading on the readers.
 * Memory:     the sender's room.
 *
 * Segments move and are written over while they are read. A piece that fails its check may stand
 * somewhere else by now: then it is read there. One that fails where it should be is damaged.
 */
#include "disk/disk_priv.h"

#include <errno.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOVES_MAX 4 /* while one piece is read */

/* False: the system refused; *out_error. */
static bool
read_two(int fd, char *room, size_t bytes, uint64_t *out_check, uint64_t at, int *out_error)
{
    struct iovec iov[2] = {{room, bytes}, {out_check, sizeof(*out_check)}};
    size_t first = 0;
    while (first < 2) {
        ssize_t got = preadv(fd, &iov[first], (int)(2 - first), (off_t)at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) { /* it ends too soon: somebody cut it */
            *out_error = got < 0 ? errno : EIO;
            return false;
        }
        at += (uint64_t)got;
        for (size_t left = (size_t)got; first < 2 && left > 0;) {
            size_t part = left < iov[first].iov_len ? left : iov[first].iov_len;
            iov[first].iov_base = (char *)iov[first].iov_base + part;
            iov[first].iov_len -= part;
            left -= part;
            first += iov[first].iov_len == 0;
        }
    }
    return true;
}

static enum disk_piece_end
lost(struct disk *disk, struct disk_piece *piece, int error)
{
    bool there = cache_disk_holds(disk->cache, &piece->place);
    if (error) {
        cache_disk_count_error(disk->cache);
        disk__tell_error(disk, error);
    } else if (there) {
        disk__tell_bad(disk, &piece->place);
    }
    cache_disk_body_lost(disk->cache, piece->entry, &piece->place, there && !error);
    return error || there ? DISK_PIECE_BAD : DISK_PIECE_GONE;
}

static enum disk_piece_end
read_piece(struct disk *disk, struct disk_piece *piece)
{
    int error = 0;
    for (int tries = 0; tries < MOVES_MAX; tries++) {
        size_t bytes;
        uint64_t check;
        uint64_t at =
            cache_disk_piece_at(disk->cache, piece->entry, &piece->place, piece->number, &bytes);
        if (!read_two(disk->fd, piece->room, bytes, &check, at, &error))
            break;
        if (cache_disk_piece_right(disk->cache, &piece->place, piece->number,
                                   fr_view_make(piece->room, bytes), check))
            return DISK_PIECE_GOOD;
        if (!cache_disk_body_again(disk->cache, piece->entry, &piece->place))
            break;
    }
    return lost(disk, piece, error);
}

void
disk__read_piece(struct disk *disk, struct disk_piece *piece)
{
    piece->end = read_piece(disk, piece);
    piece->done(piece->ctx);
}

bool
disk_read_piece(struct disk *disk, struct disk_piece *piece)
{
    (void)pthread_mutex_lock(&disk->lock);
    bool taken = !disk->stopping && disk->reader_count > 0;
    if (taken) {
        fr_list_push_back(&disk->pieces, &piece->link);
        (void)pthread_cond_signal(&disk->more_reads);
    }
    (void)pthread_mutex_unlock(&disk->lock);
    return taken;
}
