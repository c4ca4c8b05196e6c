/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_send.c - stream sockets: sending, at once or together with what is sent next.
 *
 * Shape:      a send is tried as it is asked for, and completes from the ready queue: next where
 *             the kernel took all of it, while what it is about is in the processor's caches. One
 *             that may wait is copied and completes likewise, in its turn; it goes out in front of
 *             the next one, or at the end of the turn in which nothing came behind it.
 * Memory:     a receive buffer while something is held.
 * Limits:     what is held fits into that buffer; LOOP_SEND_TRIES_MAX calls in a row.
 * Cost:       one sendmsg for all that is held and the send behind it.
 */
#include "loop/loop_priv.h"

#include "base/fr_check.h"

#include <errno.h>
#include <linux/sockios.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>

/* ---- what is held ------------------------------------------------------------------------- */

static void
let_go(struct loop_sock *sock)
{
    loop_buf_give_back(sock->held);
    sock->held = NULL;
    sock->held_at = 0;
    fr_list_remove(&sock->held_link);
}

/* What is held is no part of a send under way. */
static bool
holds_alone(const struct loop_sock *sock)
{
    return sock->held && (!(sock->flags & SOCK_SENDING) || (sock->flags & SOCK_DONE));
}

/* False: it does not fit. */
static bool
hold(struct loop_sock *sock, const struct iovec *parts, int count)
{
    size_t bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += parts[i].iov_len;
    if (!sock->held)
        sock->held = loop_buf_take(sock->loop);
    if (!sock->held || bytes > sock->held->cap - sock->held->len) {
        if (sock->held && sock->held->len == 0)
            let_go(sock);
        return false;
    }
    for (int i = 0; i < count; i++) {
        if (parts[i].iov_len > 0)
            memcpy(sock->held->data + sock->held->len, parts[i].iov_base, parts[i].iov_len);
        sock->held->len += (uint32_t)parts[i].iov_len;
    }
    if (fr_list_empty(&sock->held_link))
        fr_list_push_back(&sock->loop->held, &sock->held_link);
    return true;
}

static struct iovec
held_part(const struct loop_sock *sock)
{
    return (struct iovec){sock->held->data + sock->held_at, sock->held->len - sock->held_at};
}

/* As much as the kernel takes, while no send is under way. An error is told to the next operation,
 * by the kernel. */
static void
send_held(struct loop_sock *sock)
{
    struct iovec part = held_part(sock);
    loop__count(&sock->loop->counters.send_calls, 1);
    ssize_t sent = sock->filter
                       ? sock->filter->send(sock->filter, &part, 1, false)
                       : send(sock->fd, part.iov_base, part.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN && loop__sock_join(sock) == 0) {
        sock->flags &= ~(uint32_t)SOCK_WRITABLE;
        fr_list_remove(&sock->held_link); /* until there is room */
        return;
    }
    if (sent >= 0) {
        sock->sent_bytes += (uint64_t)sent;
        sock->held_at += (uint32_t)sent;
    }
    if (sock->held_at == sock->held->len || (sent < 0 && errno != EINTR))
        let_go(sock);
}

void
loop__sock_run_held(struct loop *loop)
{
    FR_LIST_EACH_SAFE(&loop->held, link) {
        struct loop_sock *sock = FR_CONTAINER(link, struct loop_sock, held_link);
        if (!(sock->flags & SOCK_DONE))
            send_held(sock);
    }
}

void
loop__sock_held_event(struct loop_sock *sock)
{
    if (holds_alone(sock) && fr_list_empty(&sock->held_link))
        fr_list_push_back(&sock->loop->held, &sock->held_link);
}

void
loop__sock_held_end(struct loop_sock *sock, bool reset)
{
    if (!reset && holds_alone(sock))
        send_held(sock);
    if (sock->held)
        let_go(sock);
}

void
loop_send_more(struct loop_sock *sock)
{
    fr_require(!(sock->flags & (SOCK_CLOSED | SOCK_CONNECTING | SOCK_SENDING)));
    sock->flags |= SOCK_MORE;
}

/* ---- sending ------------------------------------------------------------------------------ */

static void
drop_sent(struct loop_sock *sock, size_t sent)
{
    while (sock->send_iov_count > 0) {
        struct iovec *part = &sock->send_iov[sock->send_iov_first];
        if (sent < part->iov_len) {
            part->iov_base = (char *)part->iov_base + sent;
            part->iov_len -= sent;
            return;
        }
        sent -= part->iov_len;
        sock->send_iov_first++;
        sock->send_iov_count--;
    }
}

static ssize_t
send_parts(struct loop_sock *sock)
{
    struct msghdr message = {.msg_iov = &sock->send_iov[sock->send_iov_first],
                             .msg_iovlen = (size_t)sock->send_iov_count};
    /* What follows from the file goes into the same packets. */
    bool more = sock->send_file_bytes > 0;
    int how = MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0);
    ssize_t sent;
    if (sock->filter)
        sent = sock->filter->send(sock->filter, message.msg_iov, sock->send_iov_count, more);
    else if (message.msg_iovlen == 1) /* the kernel has less to read */
        sent = send(sock->fd, message.msg_iov->iov_base, message.msg_iov->iov_len, how);
    else
        sent = sendmsg(sock->fd, &message, how);
    if (sent >= 0) {
        sock->sent_bytes += (uint64_t)sent;
        drop_sent(sock, (size_t)sent);
    }
    return sent;
}

/* The kernel cannot send from a file what must be encrypted first. */
static ssize_t
send_filtered_piece(struct loop_sock *sock)
{
    char data[LOOP_FILTERED_FILE_BYTES];
    size_t bytes = sock->send_file_bytes < sizeof(data) ? sock->send_file_bytes : sizeof(data);
    ssize_t got = pread(sock->send_file, data, bytes, sock->send_file_offset);
    if (got <= 0)
        return got;
    struct iovec part = {data, (size_t)got};
    return sock->filter->send(sock->filter, &part, 1, (size_t)got < sock->send_file_bytes);
}

static ssize_t
send_piece(struct loop_sock *sock)
{
    off_t offset = sock->send_file_offset;
    size_t bytes = sock->send_file_bytes < LOOP_SENDFILE_BYTES_MAX ? sock->send_file_bytes
                                                                   : LOOP_SENDFILE_BYTES_MAX;
    ssize_t sent = sock->filter ? send_filtered_piece(sock)
                                : sendfile(sock->fd, sock->send_file, &offset, bytes);
    if (sent == 0) { /* it was longer when the send was started */
        errno = ENODATA;
        return -1;
    }
    if (sent > 0) {
        sock->send_file_offset += sent;
        sock->send_file_bytes -= (uint64_t)sent;
        sock->sent_bytes += (uint64_t)sent;
    }
    return sent;
}

static bool
all_sent(const struct loop_sock *sock)
{
    return sock->send_iov_count == 0 && sock->send_file_bytes == 0;
}

void
loop__sock_try_send(struct loop_sock *sock)
{
    int status = 0;
    for (int i = 0; i < LOOP_SEND_TRIES_MAX && !all_sent(sock); i++) {
        loop__count(&sock->loop->counters.send_calls, 1);
        ssize_t sent = sock->send_iov_count > 0 ? send_parts(sock) : send_piece(sock);
        if (sent >= 0 || errno == EINTR)
            continue;
        status = -errno;
        if (status == -EAGAIN) {
            sock->flags &= ~(uint32_t)SOCK_WRITABLE;
            status = loop__sock_join(sock);
            if (status == 0)
                return;
        }
        sock->send_iov_count = 0;
        sock->send_file_bytes = 0;
    }
    if (all_sent(sock)) {
        if (sock->held)
            let_go(sock);
        sock->send_status = status;
        sock->flags |= SOCK_DONE;
    }
}

/* True: the send is over. Its bytes, or those that were held, go with the next. */
static bool
send_later(struct loop_sock *sock, const struct iovec *parts, int count, uint64_t file_bytes)
{
    bool more = sock->flags & SOCK_MORE;
    sock->flags &= ~(uint32_t)SOCK_MORE;
    if (!more || file_bytes > 0 || !hold(sock, parts, count))
        return false;
    sock->send_status = 0;
    sock->flags |= SOCK_SENDING | SOCK_DONE;
    loop__sock_enqueue(sock);
    return true;
}

void
loop_send_file(struct loop_sock *sock, const struct iovec *parts, int count,
               const struct loop_file_piece *file, loop_send_fn fn, void *ctx)
{
    fr_require(!(sock->flags & (SOCK_CLOSED | SOCK_CONNECTING)));
    fr_require(!(sock->flags & SOCK_SENDING));
    fr_require(count >= 0 && count <= LOOP_IOV_MAX);
    sock->send_fn = fn;
    sock->send_ctx = ctx;
    sock->send_iov_first = 0;
    sock->send_iov_count = 0;
    if (send_later(sock, parts, count, file->bytes))
        return;
    if (sock->held) {
        sock->send_iov[sock->send_iov_count++] = held_part(sock);
        fr_list_remove(&sock->held_link);
    }
    for (int i = 0; i < count; i++)
        if (parts[i].iov_len > 0)
            sock->send_iov[sock->send_iov_count++] = parts[i];
    sock->send_file = file->fd;
    sock->send_file_offset = file->offset;
    sock->send_file_bytes = file->bytes;
    sock->flags |= SOCK_SENDING;
    loop__sock_try_send(sock);
    if (sock->flags & SOCK_DONE)
        loop__sock_enqueue_next(sock);
    else if (sock->flags & SOCK_WRITABLE)
        loop__sock_enqueue(sock);
}

void
loop_send(struct loop_sock *sock, const struct iovec *parts, int count, loop_send_fn fn, void *ctx)
{
    struct loop_file_piece none = {.fd = -1};
    loop_send_file(sock, parts, count, &none, fn, ctx);
}

bool
loop_send_pending(const struct loop_sock *sock)
{
    return sock->flags & SOCK_SENDING;
}

uint64_t
loop_sock_unread(const struct loop_sock *sock)
{
    int queued = 0;
    fr_require(!(sock->flags & SOCK_CLOSED));
    /* It fails only for what is no stream socket. A Unix socket counts its book-keeping too, and
     * TCP its own end. */
    if (ioctl(sock->fd, SIOCOUTQ, &queued) != 0 || queued < 0)
        return 0;
    return (uint64_t)queued < sock->sent_bytes ? (uint64_t)queued : sock->sent_bytes;
}

uint64_t
loop_sock_sent(const struct loop_sock *sock)
{
    return sock->sent_bytes;
}

void
loop_shutdown_send(struct loop_sock *sock)
{
    fr_require(!(sock->flags & SOCK_CLOSED));
    if (holds_alone(sock))
        send_held(sock);
    if (sock->filter)
        sock->filter->shutdown(sock->filter);
    (void)shutdown(sock->fd, SHUT_WR); /* fails only when the connection is gone already */
}
