/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_sock.c - stream sockets: connect, receive, send, close.
 *
 * Shape:      a socket is registered with epoll when it first has to wait, once, edge-triggered for
 *             everything; what has happened by then epoll tells at once. One that never waits is
 *             never registered. What the kernel told is kept as hints in flags; an operation is
 *             tried when its hint stands, and a hint falls when the kernel had no more (EAGAIN, or
 *             a read that left room in its buffer).
 * Names:      an event names descriptor and serial, not an address. So a socket is not taken off
 *             epoll before it is closed, which the kernel does by itself: where a child between
 *             fork and exec holds the description too, what epoll still tells of it names nobody.
 * Callbacks:  one a step, from the ready queue. A callback may close or detach its socket, so a
 *             step touches the socket no more once it called.
 * Cost:       a request and its answer on a kept connection: one recv, one sendmsg. A connection:
 *             one epoll_ctl, unless it never waits, and one close.
 * Memory:     8 bytes for each descriptor up to the highest of its registered sockets.
 *
 *      open ------ recv, send, ... ------ close ------ (end of the turn) close callback
 *      connecting -- open | failed ---'
 */
#include "loop/loop_priv.h"

#include "base/fr_check.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <unistd.h>

enum sock_flag {
    SOCK_READABLE = 1u << 0, /* hint: recv will not say EAGAIN */
    SOCK_WRITABLE = 1u << 1,
    SOCK_ENDING = 1u << 2,    /* the other side's end or an error was signalled: no edge follows */
    SOCK_RECEIVING = 1u << 3, /* operations under way */
    SOCK_SENDING = 1u << 4,
    SOCK_CONNECTING = 1u << 5,
    SOCK_DONE = 1u << 6,  /* the send or connect under way has its status */
    SOCK_WOKEN = 1u << 7, /* a buffer was given back for it */
    SOCK_CLOSED = 1u << 8,
    SOCK_ENDED = 1u << 9,   /* the end was delivered */
    SOCK_GONE = 1u << 10,   /* neither direction works any more */
    SOCK_JOINED = 1u << 11, /* epoll knows it */
    SOCK_MORE = 1u << 12,   /* the next send may wait for the one behind it */
};

#define SERIAL_SHIFT 3 /* LOOP_KIND_MASK */
#define SOCKS_CAP_MIN 64
#define SOCK_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

static void
enqueue(struct loop_sock *sock)
{
    if (fr_list_empty(&sock->ready_link))
        fr_list_push_back(&sock->loop->ready, &sock->ready_link);
}

static void
sock_init(struct loop_sock *sock, struct loop *loop, int fd)
{
    memset(sock, 0, sizeof(*sock));
    sock->loop = loop;
    sock->fd = fd;
    fr_list_init(&sock->ready_link);
    fr_list_init(&sock->wait_link);
    fr_list_init(&sock->held_link);
}

int
loop__tcp_nodelay(int fd, int family)
{
    int one = 1;
    if (family != AF_INET && family != AF_INET6)
        return 0;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

/* ---- names -------------------------------------------------------------------------------- */

static uint64_t
name_of(const struct loop_sock *sock)
{
    return (uint64_t)(uint32_t)sock->fd << 32 | sock->serial << SERIAL_SHIFT | LOOP_KIND_SOCK;
}

/* NULL: closed meanwhile, whoever has its descriptor now. */
static struct loop_sock *
sock_named(const struct loop *loop, uint64_t name)
{
    size_t fd = (size_t)(name >> 32);
    struct loop_sock *sock = fd < loop->socks_cap ? loop->socks[fd] : NULL;
    return sock && name_of(sock) == name ? sock : NULL;
}

static bool
name_give(struct loop_sock *sock)
{
    struct loop *loop = sock->loop;
    size_t fd = (size_t)sock->fd, cap = loop->socks_cap ? loop->socks_cap : SOCKS_CAP_MIN;
    while (cap <= fd)
        cap *= 2;
    if (cap > loop->socks_cap) {
        struct loop_sock **socks = fr_realloc(loop->socks, cap * sizeof(struct loop_sock *));
        if (!socks)
            return false;
        memset(socks + loop->socks_cap, 0, (cap - loop->socks_cap) * sizeof(struct loop_sock *));
        loop->socks = socks;
        loop->socks_cap = cap;
    }
    loop->sock_serial = (loop->sock_serial + 1) & (UINT32_MAX >> SERIAL_SHIFT);
    sock->serial = loop->sock_serial;
    loop->socks[fd] = sock;
    return true;
}

static void
name_take(struct loop_sock *sock)
{
    if (sock->flags & SOCK_JOINED)
        sock->loop->socks[sock->fd] = NULL;
}

/* From now on the kernel tells what happens to it, beginning with what has happened. 0, or -errno:
 * then it cannot be waited for. */
static int
join(struct loop_sock *sock)
{
    struct loop *loop = sock->loop;
    if (sock->flags & SOCK_JOINED)
        return 0;
    if (!name_give(sock))
        return -ENOMEM;
    struct epoll_event event = {.events = SOCK_EVENTS, .data.u64 = name_of(sock)};
    loop__count(&loop->counters.ctl_calls, 1);
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, sock->fd, &event) != 0) {
        int status = -errno;
        loop->socks[sock->fd] = NULL;
        return status;
    }
    sock->flags |= SOCK_JOINED;
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------ */

void
loop_sock_open(struct loop_sock *sock, struct loop *loop, int fd)
{
    sock_init(sock, loop, fd);
    sock->flags = SOCK_WRITABLE;
    loop->socks_open++;
}

void
loop_sock_expect(struct loop_sock *sock)
{
    sock->flags |= SOCK_READABLE;
}

enum fr_err
loop_connect(struct loop_sock *sock, struct loop *loop, const struct loop_addr *addr,
             loop_connect_fn fn, void *ctx)
{
    int family = addr->sa.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fr_err_from_errno(errno);
    (void)loop__tcp_nodelay(fd, family); /* slower without, not wrong */
    int status = connect(fd, &addr->sa.any, addr->len) == 0 ? 0 : -errno;
    loop_sock_open(sock, loop, fd);
    sock->flags |= SOCK_CONNECTING;
    sock->connect_fn = fn;
    sock->connect_ctx = ctx;
    if (status == -EINPROGRESS)
        status = join(sock);
    else
        sock->flags |= SOCK_DONE;
    if (status != 0)
        sock->flags |= SOCK_DONE;
    if (sock->flags & SOCK_DONE) {
        sock->send_status = status;
        enqueue(sock);
    }
    return FR_OK;
}

void
loop_sock_filter(struct loop_sock *sock, struct loop_filter *filter)
{
    fr_require(!(sock->flags & (SOCK_CLOSED | SOCK_RECEIVING | SOCK_SENDING | SOCK_CONNECTING)));
    fr_require(!sock->filter);
    sock->filter = filter;
    sock->flags |= SOCK_READABLE; /* it may have been given bytes that came before it */
}

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

/* ---- what the kernel says ----------------------------------------------------------------- */

/* Whether a step gets its receive on: by trying it, or by waiting for the kernel's word. */
static bool
can_receive(const struct loop_sock *sock)
{
    return (sock->flags & SOCK_RECEIVING) &&
           ((sock->flags & SOCK_READABLE) || !(sock->flags & SOCK_JOINED)) &&
           fr_list_empty(&sock->wait_link);
}

void
loop__sock_event(struct loop *loop, uint64_t data, uint32_t events)
{
    struct loop_sock *sock = sock_named(loop, data);
    if (!sock)
        return;
    if (events & (EPOLLHUP | EPOLLERR))
        sock->flags |= SOCK_READABLE | SOCK_GONE;
    if ((events & (EPOLLIN | EPOLLRDHUP)) && !(sock->flags & SOCK_ENDED))
        sock->flags |= SOCK_READABLE;
    if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR))
        sock->flags |= SOCK_ENDING;
    if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
        sock->flags |= SOCK_WRITABLE;
    if (sock->filter) /* a handshake sends to receive, and the other way round */
        sock->flags |= SOCK_READABLE | SOCK_WRITABLE;
    if (sock->flags & SOCK_CONNECTING) {
        if ((sock->flags & SOCK_DONE) || !(events & (EPOLLOUT | EPOLLHUP | EPOLLERR)))
            return;
        int error = 0;
        socklen_t len = sizeof(error);
        if (getsockopt(sock->fd, SOL_SOCKET, SO_ERROR, &error, &len) != 0)
            error = errno;
        sock->flags |= SOCK_DONE;
        sock->send_status = -error;
        enqueue(sock);
        return;
    }
    if (holds_alone(sock) && fr_list_empty(&sock->held_link))
        fr_list_push_back(&loop->held, &sock->held_link);
    if (((sock->flags & SOCK_SENDING) && (sock->flags & SOCK_WRITABLE)) || can_receive(sock))
        enqueue(sock);
}

/* ---- receiving ---------------------------------------------------------------------------- */

void
loop_recv(struct loop_sock *sock, loop_recv_fn fn, void *ctx)
{
    fr_require(!(sock->flags & (SOCK_CLOSED | SOCK_CONNECTING)));
    fr_require(!(sock->flags & SOCK_RECEIVING));
    sock->recv_fn = fn;
    sock->recv_ctx = ctx;
    sock->flags |= SOCK_RECEIVING;
    if (can_receive(sock))
        enqueue(sock);
}

bool
loop_recv_pending(const struct loop_sock *sock)
{
    return sock->flags & SOCK_RECEIVING;
}

void
loop__sock_wake_receiver(struct loop *loop)
{
    struct fr_list *link = fr_list_pop_front(&loop->buf_waiters);
    if (!link)
        return;
    struct loop_sock *sock = FR_CONTAINER(link, struct loop_sock, wait_link);
    sock->flags |= SOCK_WOKEN;
    enqueue(sock);
}

/* Leaves the line for buffers, handing on a buffer that was given back for this socket. */
static void
leave_line(struct loop_sock *sock)
{
    fr_list_remove(&sock->wait_link);
    if (!(sock->flags & SOCK_WOKEN))
        return;
    sock->flags &= ~(uint32_t)SOCK_WOKEN;
    loop__sock_wake_receiver(sock->loop);
}

void
loop_recv_cancel(struct loop_sock *sock)
{
    /* Bytes are read only in the step that delivers them, so none can be in between. */
    if (!(sock->flags & SOCK_RECEIVING))
        return;
    sock->flags &= ~(uint32_t)SOCK_RECEIVING;
    leave_line(sock);
}

static void
finish_recv(struct loop_sock *sock, struct loop_buf *buf, int status)
{
    sock->flags &= ~(uint32_t)SOCK_RECEIVING;
    sock->recv_fn(sock->recv_ctx, buf, status);
}

static void
await_bytes(struct loop_sock *sock)
{
    int status = join(sock);
    if (status != 0)
        finish_recv(sock, NULL, status);
}

/* A buffer, or NULL: the socket then waits in line, or its receive has failed. */
static struct loop_buf *
take_recv_buf(struct loop_sock *sock)
{
    struct loop *loop = sock->loop;
    bool woken = sock->flags & SOCK_WOKEN;
    bool at_limit = true;
    struct loop_buf *buf = NULL;
    sock->flags &= ~(uint32_t)SOCK_WOKEN;
    if (woken || fr_list_empty(&loop->buf_waiters))
        buf = loop__buf_take(loop, sock->account, &at_limit);
    if (buf)
        return buf;
    if (!at_limit) {
        finish_recv(sock, NULL, -ENOMEM);
    } else if (woken) {
        fr_list_push_front(&loop->buf_waiters, &sock->wait_link); /* it was first already */
    } else {
        loop__count(&loop->counters.buf_waits, 1);
        fr_list_push_back(&loop->buf_waiters, &sock->wait_link);
    }
    return NULL;
}

static void
step_recv(struct loop_sock *sock)
{
    struct loop_buf *buf = take_recv_buf(sock);
    ssize_t got;
    if (!buf)
        return;
    do {
        loop__count(&sock->loop->counters.recv_calls, 1);
        got = sock->filter ? sock->filter->recv(sock->filter, buf->data, buf->cap)
                           : recv(sock->fd, buf->data, buf->cap, MSG_DONTWAIT);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        buf->len = (uint32_t)got;
        /* Room was left, so the kernel had no more: what comes later makes a new edge. Not so
         * when the end was signalled already; it must still be read. */
        bool again = sock->filter && sock->filter->again;
        if (buf->len < buf->cap && !(sock->flags & SOCK_ENDING) && !again)
            sock->flags &= ~(uint32_t)SOCK_READABLE;
        finish_recv(sock, buf, (int)got);
        return;
    }
    int status = got == 0 ? 0 : -errno;
    loop_buf_give_back(buf);
    if (status == -EAGAIN && sock->filter && sock->filter->later) {
        enqueue(sock); /* before what the next turn brings, so that its time does come */
        return;
    }
    /* The kernel would go on telling of the end, even where a reset followed it. */
    if (status == 0 && (sock->flags & SOCK_ENDED))
        status = -ECONNRESET;
    if (status == 0)
        sock->flags |= SOCK_ENDED;
    if (status == -EAGAIN || (status == 0 && !(sock->flags & SOCK_GONE)))
        sock->flags &= ~(uint32_t)SOCK_READABLE;
    if (status == -EAGAIN)
        await_bytes(sock);
    else
        finish_recv(sock, NULL, status);
}

/* ---- sends that wait for others ----------------------------------------------------------- */

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
    ssize_t sent =
        sock->filter ? sock->filter->send(sock->filter, &part, 1, false)
                     : send(sock->fd, part.iov_base, part.iov_len, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno == EAGAIN) {
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

/* Of a socket whose send has just completed the next one may be about to come. */
void
loop__sock_run_held(struct loop *loop)
{
    FR_LIST_EACH_SAFE(&loop->held, link)
    {
        struct loop_sock *sock = FR_CONTAINER(link, struct loop_sock, held_link);
        if (!(sock->flags & SOCK_DONE))
            send_held(sock);
    }
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
    ssize_t sent =
        sock->filter
            ? sock->filter->send(sock->filter, message.msg_iov, sock->send_iov_count, more)
            : sendmsg(sock->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT | (more ? MSG_MORE : 0));
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

/* Sets SOCK_DONE when the send has its status; drops the hint when the kernel takes no more. */
static void
try_send(struct loop_sock *sock)
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
            status = join(sock);
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
    enqueue(sock);
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
    try_send(sock);
    if (sock->flags & (SOCK_DONE | SOCK_WRITABLE))
        enqueue(sock);
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

/* ---- the ready queue ---------------------------------------------------------------------- */

/* Calls back at most once and touches the socket no more after that. */
void
loop__sock_step(struct loop_sock *sock)
{
    if (sock->flags & SOCK_CONNECTING) {
        if (!(sock->flags & SOCK_DONE))
            return;
        sock->flags &= ~(uint32_t)(SOCK_CONNECTING | SOCK_DONE);
        sock->connect_fn(sock->connect_ctx, sock->send_status);
        return;
    }
    if (sock->flags & SOCK_SENDING) {
        if (!(sock->flags & SOCK_DONE) && (sock->flags & SOCK_WRITABLE)) {
            try_send(sock);
            if (!(sock->flags & SOCK_DONE) && (sock->flags & SOCK_WRITABLE))
                enqueue(sock);
        }
        if (sock->flags & SOCK_DONE) {
            if (can_receive(sock)) /* its turn comes next */
                fr_list_push_front(&sock->loop->pass, &sock->ready_link);
            sock->flags &= ~(uint32_t)(SOCK_SENDING | SOCK_DONE);
            sock->send_fn(sock->send_ctx, sock->send_status);
            return;
        }
    }
    if (!can_receive(sock))
        return;
    if (sock->flags & SOCK_READABLE)
        step_recv(sock);
    else
        await_bytes(sock);
}

/* ---- the end ------------------------------------------------------------------------------ */

static void
take_off(struct loop_sock *sock)
{
    leave_line(sock);
    fr_list_remove(&sock->ready_link);
    name_take(sock);
}

static void
sock_close(struct loop_sock *sock, bool reset, loop_close_fn fn, void *ctx)
{
    fr_require(sock->loop != NULL);
    fr_require(!(sock->flags & SOCK_CLOSED));
    if (!reset && holds_alone(sock))
        send_held(sock);
    if (sock->held)
        let_go(sock);
    take_off(sock);
    if (sock->filter)
        sock->filter->close(sock->filter, reset);
    sock->filter = NULL;
    close(sock->fd);
    sock->fd = -1;
    sock->flags = SOCK_CLOSED;
    sock->close_fn = fn;
    sock->close_ctx = ctx;
    fr_list_push_back(&sock->loop->closed, &sock->ready_link);
}

void
loop_close(struct loop_sock *sock, loop_close_fn fn, void *ctx)
{
    sock_close(sock, false, fn, ctx);
}

void
loop_abort(struct loop_sock *sock, loop_close_fn fn, void *ctx)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    fr_require(!(sock->flags & SOCK_CLOSED));
    (void)setsockopt(sock->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
    sock_close(sock, true, fn, ctx);
}

void
loop__sock_run_closed(struct loop *loop)
{
    struct fr_list now, *link;
    fr_list_init(&now);
    loop__list_move(&now, &loop->closed);
    while ((link = fr_list_pop_front(&now))) {
        struct loop_sock *sock = FR_CONTAINER(link, struct loop_sock, ready_link);
        loop->socks_open--;
        if (sock->close_fn)
            sock->close_fn(sock->close_ctx);
    }
}

int
loop_detach(struct loop_sock *sock)
{
    fr_require(!sock->filter);
    struct loop_filter *none = NULL;
    return loop_detach_filtered(sock, &none);
}

int
loop_detach_filtered(struct loop_sock *sock, struct loop_filter **out_filter)
{
    int fd = sock->fd;
    fr_require(!(sock->flags & (SOCK_CLOSED | SOCK_RECEIVING | SOCK_SENDING | SOCK_CONNECTING)));
    fr_require(!sock->held);
    *out_filter = sock->filter;
    sock->filter = NULL;
    take_off(sock);
    if (sock->flags & SOCK_JOINED) {
        loop__count(&sock->loop->counters.ctl_calls, 1);
        (void)epoll_ctl(sock->loop->epoll_fd, EPOLL_CTL_DEL, fd, NULL); /* it stays open */
    }
    sock->loop->socks_open--;
    sock->flags = SOCK_CLOSED;
    sock->fd = -1;
    return fd;
}

enum loop_waiting
loop_sock_waiting(const struct loop_sock *sock)
{
    char byte;
    if (sock->filter)
        return sock->filter->waiting(sock->filter);
    ssize_t got = recv(sock->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    if (got > 0)
        return LOOP_WAITING_BYTES;
    return got < 0 && errno == EAGAIN ? LOOP_WAITING_NOTHING : LOOP_WAITING_END;
}

bool
loop_sock_quiet(const struct loop_sock *sock)
{
    return loop_sock_waiting(sock) == LOOP_WAITING_NOTHING;
}
