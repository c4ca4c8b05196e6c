/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_listen.c - listening sockets.
 *
 * Shape:      level-triggered, so that what a turn left in the backlog is told again.
 * Limits:     LOOP_ACCEPTS_MAX a turn and listener; LOOP_DEFER_US_MAX; LISTEN_BACKLOG, for those
 *             whose connections are deferred too: beyond it the kernel defers no more. A listener
 *             is busy from BUSY_ACCEPTS in BUSY_US on, until there were fewer than CALM_ACCEPTS.
 * When full:  out of descriptors or memory, the owner may let go of some (loop_starved_fn); if it
 *             cannot, accepting pauses LOOP_STARVED_US: the backlog keeps its place, and a loop
 *             that cannot accept does not spin.
 */
#include "loop/loop_priv.h"

#include "base/fr_check.h"
#include "base/fr_time.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096
/* What the kernel takes for an accepted socket before it can be sent, so that a slow reader does
 * not hold megabytes. What is on its way does not count: a fast one over a long line is not slowed.
 */
#define LISTEN_UNSENT_BYTES_MAX 131072
#define LISTEN_FILE_MODE 0600
#define BUSY_US FR_US_PER_S
#define BUSY_ACCEPTS 1000 /* what deferring saves of each is then 1 % of a core */
#define CALM_ACCEPTS 250

/* ---- binding ------------------------------------------------------------------------------ */

/* Whether somebody answers behind a Unix socket's file. */
static bool
unix_is_dead(const struct loop_addr *addr)
{
    struct stat file;
    /* Connecting to any other kind of file is refused as well: that one is not ours to remove. */
    if (lstat(addr->sa.local.sun_path, &file) != 0 || !S_ISSOCK(file.st_mode))
        return false;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    bool dead = connect(fd, &addr->sa.any, addr->len) != 0 && errno == ECONNREFUSED;
    close(fd);
    return dead;
}

/* 0 or an errno. */
static int
bind_unix(int fd, const struct loop_addr *addr)
{
    /* Linux gives the file the mode of the socket, so that it is never open to others, not even
     * between bind and chmod, and the process-wide umask stays as it is. */
    if (fchmod(fd, LISTEN_FILE_MODE) != 0)
        return errno;
    if (bind(fd, &addr->sa.any, addr->len) != 0) {
        if (errno != EADDRINUSE)
            return errno;
        if (!unix_is_dead(addr))
            return EADDRINUSE;
        (void)unlink(addr->sa.local.sun_path); /* the next bind tells */
        if (bind(fd, &addr->sa.any, addr->len) != 0)
            return errno;
    }
    return chmod(addr->sa.local.sun_path, LISTEN_FILE_MODE) == 0 ? 0 : errno;
}

static int
bind_inet(int fd, const struct loop_addr *addr, bool reuse_port)
{
    int on = 1, off = 0, unsent = LISTEN_UNSENT_BYTES_MAX;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
        return errno;
    if (reuse_port && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
        return errno;
    if (addr->sa.any.sa_family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)); /* else IPv6 alone */
    /* Accepted sockets inherit it, which saves a system call each. */
    (void)loop__tcp_nodelay(fd, addr->sa.any.sa_family);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof(unsent));
    return bind(fd, &addr->sa.any, addr->len) == 0 ? 0 : errno;
}

static int
bind_one(const struct loop_addr *addr, bool reuse_port, int *out_fd)
{
    int family = addr->sa.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return errno;
    int error = family == AF_UNIX ? bind_unix(fd, addr) : bind_inet(fd, addr, reuse_port);
    if (!error && listen(fd, LISTEN_BACKLOG) != 0)
        error = errno;
    if (error) {
        close(fd);
        return error;
    }
    *out_fd = fd;
    return 0;
}

enum fr_err
loop_bind(const struct loop_addr *addr, bool reuse_port, int *out_fd, int *out_errno)
{
    int error = bind_one(addr, reuse_port, out_fd);
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)(const void *)&addr->sa.any;
    if ((error == EAFNOSUPPORT || error == EADDRNOTAVAIL) && six->sin6_family == AF_INET6 &&
        IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr)) {
        /* A machine without IPv6: "every interface" means the IPv4 ones. */
        struct loop_addr four = {.len = sizeof(struct sockaddr_in)};
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)&four.sa.any;
        in->sin_family = AF_INET;
        in->sin_port = six->sin6_port;
        in->sin_addr.s_addr = htonl(INADDR_ANY);
        error = bind_one(&four, reuse_port, out_fd);
    }
    if (!error)
        return FR_OK;
    if (out_errno)
        *out_errno = error;
    return error == EADDRINUSE ? FR_ERR_ADDRESS_IN_USE : fr_err_from_errno(error);
}

enum fr_err
loop_bind_probe(const struct loop_addr *addr, int *out_errno)
{
    int family = addr->sa.any.sa_family;
    if (family == AF_UNIX)
        return FR_OK;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return FR_OK; /* loop_bind knows better what to do about it */
    int error = bind_inet(fd, addr, false);
    close(fd); /* nothing was written */
    if (error != EADDRINUSE)
        return FR_OK;
    *out_errno = error;
    return FR_ERR_ADDRESS_IN_USE;
}

/* ---- accepting ---------------------------------------------------------------------------- */

/* The kernel tells IPv4 peers of a dual-stack socket as ::ffff:a.b.c.d; people and rules know
 * them as a.b.c.d. */
static void
unmap_ipv4(struct loop_addr *addr)
{
    struct sockaddr_in6 six;
    if (addr->sa.any.sa_family != AF_INET6)
        return;
    memcpy(&six, &addr->sa, sizeof(six));
    if (!IN6_IS_ADDR_V4MAPPED(&six.sin6_addr))
        return;
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = six.sin6_port};
    memcpy(&four.sin_addr, &six.sin6_addr.s6_addr[12], sizeof(four.sin_addr));
    memset(addr, 0, sizeof(*addr));
    memcpy(&addr->sa, &four, sizeof(four));
    addr->len = sizeof(four);
}

enum fr_err
loop_listen(struct loop_listener *listener, struct loop *loop, int fd, loop_accept_fn fn, void *ctx)
{
    struct stat file;
    memset(listener, 0, sizeof(*listener));
    listener->loop = loop;
    listener->fd = fd;
    listener->fn = fn;
    listener->ctx = ctx;
    listener->addr.len = sizeof(listener->addr.sa);
    if (getsockname(fd, &listener->addr.sa.any, &listener->addr.len) != 0 ||
        !loop__ctl(loop, EPOLL_CTL_ADD, fd, EPOLLIN, listener, LOOP_KIND_LISTENER)) {
        enum fr_err err = fr_err_from_errno(errno);
        close(fd);
        listener->fd = -1;
        return err;
    }
    if (listener->addr.sa.any.sa_family == AF_UNIX &&
        stat(listener->addr.sa.local.sun_path, &file) == 0) {
        listener->file_dev = file.st_dev;
        listener->file_ino = file.st_ino;
    }
    return FR_OK;
}

static void
set_interest(struct loop_listener *listener)
{
    bool on = !listener->paused && !listener->starved;
    /* Failing would take a descriptor that is not registered, a bug; then it stays as it was. */
    (void)loop__ctl(listener->loop, EPOLL_CTL_MOD, listener->fd, on ? EPOLLIN : 0, listener,
                    LOOP_KIND_LISTENER);
}

static void
on_retry(void *ctx)
{
    struct loop_listener *listener = ctx;
    listener->starved = false;
    set_interest(listener);
}

/* Whether accepting may go on after an error: some belong to the one connection that failed
 * (accept(2), "Error handling"). */
static bool
accept_error_passes(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN:
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
    case EPERM:
        return true;
    default:
        return false;
    }
}

/* ---- deferring ------------------------------------------------------------------------------ */

static void
defer_for(struct loop_listener *listener, int64_t us)
{
    int64_t steps_us = 0;
    while (steps_us < us && steps_us < LOOP_DEFER_US_MAX)
        steps_us = 2 * steps_us + FR_US_PER_S;
    int seconds = (int)(steps_us / FR_US_PER_S);
    if (steps_us == listener->defer_us ||
        setsockopt(listener->fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, &seconds, sizeof(seconds)) != 0)
        return;
    int64_t until_us = loop_now_us(listener->loop) + listener->defer_us;
    if (until_us > listener->kept_until_us)
        listener->kept_until_us = until_us;
    listener->defer_us = steps_us;
}

static void
count_anew(struct loop_listener *listener)
{
    listener->accepts = 0;
    listener->counted_us = loop_now_us(listener->loop);
}

static void
on_busy(void *ctx)
{
    struct loop_listener *listener = ctx;
    bool calm = listener->accepts < CALM_ACCEPTS;
    count_anew(listener);
    if (calm)
        defer_for(listener, 0);
    else
        loop_timer_start(listener->loop, &listener->busy, BUSY_US, on_busy, listener);
}

static void
judge_busy(struct loop_listener *listener)
{
    if (loop_timer_running(&listener->busy))
        return;
    if (loop_now_us(listener->loop) - listener->counted_us >= BUSY_US) {
        count_anew(listener);
    } else if (listener->accepts >= BUSY_ACCEPTS) {
        defer_for(listener, FR_US_PER_S);
        count_anew(listener);
        loop_timer_start(listener->loop, &listener->busy, BUSY_US, on_busy, listener);
    }
}

void
loop_listener_defer(struct loop_listener *listener, int64_t us)
{
    if (listener->addr.sa.any.sa_family == AF_UNIX)
        return;
    loop_timer_stop(&listener->busy);
    listener->defer_when_busy = us == LOOP_DEFER_WHEN_BUSY;
    defer_for(listener, listener->defer_when_busy ? 0 : us);
    count_anew(listener);
}

int64_t
loop_listener_kept_us(const struct loop_listener *listener)
{
    int64_t rest_us = listener->kept_until_us - loop_now_us(listener->loop);
    return rest_us > listener->defer_us ? rest_us : listener->defer_us;
}

/* ---- events --------------------------------------------------------------------------------- */

void
loop__listener_event(struct loop_listener *listener)
{
    struct loop *loop = listener->loop;
    loop->accepting = listener;
    for (int i = 0; i < LOOP_ACCEPTS_MAX; i++) {
        if (!loop->accepting || listener->paused)
            break;
        struct loop_addr peer = {.len = sizeof(peer.sa)};
        int fd = accept4(listener->fd, &peer.sa.any, &peer.len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            if (peer.len > sizeof(peer.sa))
                peer.len = sizeof(peer.sa);
            unmap_ipv4(&peer);
            listener->accepts++;
            listener->fn(listener->ctx, fd, &peer);
        } else if (errno == EAGAIN) {
            break;
        } else if (!accept_error_passes(errno)) {
            loop__count(&loop->counters.accept_errors, 1);
            if (listener->starved_fn && listener->starved_fn(listener->ctx))
                continue; /* what it let go may be taken by another thread: tries are counted */
            listener->starved = true;
            set_interest(listener);
            loop_timer_start(loop, &listener->retry, LOOP_STARVED_US, on_retry, listener);
            break;
        }
    }
    if (loop->accepting && listener->defer_when_busy)
        judge_busy(listener);
    loop->accepting = NULL;
}

void
loop_listener_on_starved(struct loop_listener *listener, loop_starved_fn fn)
{
    listener->starved_fn = fn;
}

void
loop_listener_pause(struct loop_listener *listener, bool paused)
{
    if (listener->paused == paused)
        return;
    listener->paused = paused;
    set_interest(listener);
}

void
loop_listener_close(struct loop_listener *listener)
{
    struct loop *loop = listener->loop;
    const char *path = listener->addr.sa.local.sun_path;
    struct stat file;
    if (!loop || listener->fd < 0)
        return;
    if (loop->accepting == listener)
        loop->accepting = NULL;
    loop_timer_stop(&listener->retry);
    loop_timer_stop(&listener->busy);
    loop__forget(loop, listener->fd, listener, LOOP_KIND_LISTENER);
    /* Removed before the descriptor is closed: nobody can take it for a dead leftover meanwhile. */
    if (listener->addr.sa.any.sa_family == AF_UNIX && stat(path, &file) == 0 &&
        file.st_dev == listener->file_dev && file.st_ino == listener->file_ino)
        (void)unlink(path);
    close(listener->fd);
    listener->fd = -1;
}
