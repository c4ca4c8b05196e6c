/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_sock.c - stream sockets: connect, receive, close, and when each gets its turn.
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
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <unistd.h>

#define SERIAL_SHIFT 3 /* LOOP_KIND_MASK */
#define SOCKS_CAP_MIN 64
#define SOCK_EVENTS (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

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

int
loop__sock_join(struct loop_sock *sock)
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
        status = loop__sock_join(sock);
    else
        sock->flags |= SOCK_DONE;
    if (status != 0)
        sock->flags |= SOCK_DONE;
    if (sock->flags & SOCK_DONE) {
        sock->send_status = status;
        loop__sock_enqueue(sock);
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
        loop__sock_enqueue(sock);
        return;
    }
    loop__sock_held_event(sock);
    if (((sock->flags & SOCK_SENDING) && (sock->flags & SOCK_WRITABLE)) || can_receive(sock))
        loop__sock_enqueue(sock);
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
        loop__sock_enqueue(sock);
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
    loop__sock_enqueue(sock);
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
    int status = loop__sock_join(sock);
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
        loop__sock_enqueue(sock); /* before what the next turn brings, so that its time does come */
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
            loop__sock_try_send(sock);
            if (!(sock->flags & SOCK_DONE) && (sock->flags & SOCK_WRITABLE))
                loop__sock_enqueue(sock);
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
    loop__sock_held_end(sock, reset);
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
