/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_fixture.h - a proxy on a control thread of its own, with scripted origins and clients on
 * real sockets, for the tests of this room.
 *
 * The test's thread plays the clients (blocking sockets with a deadline); each origin is a thread
 * that accepts connections and gives each to a handler thread.
 */
#ifndef PROXY_FIXTURE_H
#define PROXY_FIXTURE_H

#include "proxy/proxy.h"

#include "base/fr_mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define FIXTURE_MEMBERS_MAX 8
#define FIXTURE_IO_TIMEOUT_S 10
#define FIXTURE_CONNECTIONS_MAX 4096

/* ---- blocking sockets ----------------------------------------------------------------------- */

static inline void
sock_deadline(int fd)
{
    struct timeval limit = {.tv_sec = FIXTURE_IO_TIMEOUT_S};
    int one = 1;
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)), 0);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* only slower without */
}

/* A process that is stopped and goes on has its calls with a time limit end in EINTR. */
static inline ssize_t
sock_recv(int fd, void *into, size_t len)
{
    ssize_t got;
    do
        got = recv(fd, into, len, 0);
    while (got < 0 && errno == EINTR);
    return got;
}

static inline bool
sock_write(int fd, const void *bytes, size_t len)
{
    const char *at = bytes;
    while (len > 0) {
        ssize_t sent = send(fd, at, len, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        len -= (size_t)sent;
    }
    return true;
}

static inline bool
sock_text(int fd, const char *text)
{
    return sock_write(fd, text, strlen(text));
}

/* Reads until `mark` stands in buf, or `len` bytes with mark NULL, or the end. NUL-terminated. */
static inline size_t
sock_read(int fd, char *buf, size_t cap, const char *mark, size_t len)
{
    size_t got = 0;
    buf[0] = '\0';
    while (got < cap - 1) {
        if (mark ? strstr(buf, mark) != NULL : got >= len)
            break;
        size_t want = mark ? 1 : (len - got < cap - 1 - got ? len - got : cap - 1 - got);
        ssize_t n = sock_recv(fd, buf + got, want);
        if (n <= 0)
            break;
        got += (size_t)n;
        buf[got] = '\0';
    }
    return got;
}

static inline int
sock_connect(const struct loop_addr *addr)
{
    int fd = socket(addr->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    sock_deadline(fd);
    if (connect(fd, &addr->sa.any, addr->len) != 0) {
        struct pollfd made = {.fd = fd, .events = POLLOUT};
        int error = 0;
        socklen_t len = sizeof(error);
        assert_int_equal(errno, EINTR); /* it goes on by itself */
        assert_int_equal(poll(&made, 1, FIXTURE_IO_TIMEOUT_S * 1000), 1);
        assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &len), 0);
        assert_int_equal(error, 0);
    }
    return fd;
}

/* ---- origins -------------------------------------------------------------------------------- */

struct origin;
typedef void (*origin_fn)(struct origin *origin, int fd);

struct origin {
    int listen_fd;
    struct loop_addr addr;
    origin_fn fn; /* one connection; closes nothing: the caller does */
    void *ctx;
    pthread_t thread;
    pthread_t handlers[FIXTURE_CONNECTIONS_MAX];
    int fds[FIXTURE_CONNECTIONS_MAX];
    _Atomic unsigned connections; /* accepted so far */
    _Atomic unsigned requests;    /* counted by handlers that want to */
};

struct origin_handler {
    struct origin *origin;
    int fd;
};

static inline void *
origin_handler_main(void *ctx)
{
    struct origin_handler handler = *(struct origin_handler *)ctx;
    free(ctx);
    handler.origin->fn(handler.origin, handler.fd);
    (void)shutdown(handler.fd, SHUT_RDWR); /* the fixture closes it, so that no fd is reused */
    return NULL;
}

static inline void *
origin_main(void *ctx)
{
    struct origin *origin = ctx;
    for (;;) {
        int fd = accept4(origin->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            return NULL;
        unsigned index = origin->connections;
        if (index == FIXTURE_CONNECTIONS_MAX)
            abort();
        struct timeval limit = {.tv_sec = FIXTURE_IO_TIMEOUT_S};
        int one = 1;
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        struct origin_handler *handler = malloc(sizeof(*handler));
        *handler = (struct origin_handler){origin, fd};
        origin->fds[index] = fd;
        if (pthread_create(&origin->handlers[index], NULL, origin_handler_main, handler) != 0)
            abort();
        origin->connections = index + 1;
    }
}

static inline void
origin_listen(struct origin *origin)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    origin->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(origin->listen_fd >= 0);
    memcpy(&origin->addr.sa, &in, sizeof(in));
    origin->addr.len = sizeof(in);
    assert_int_equal(bind(origin->listen_fd, &origin->addr.sa.any, origin->addr.len), 0);
    assert_int_equal(getsockname(origin->listen_fd, &origin->addr.sa.any, &origin->addr.len), 0);
}

static inline struct origin *
origin_new(origin_fn fn, void *ctx)
{
    struct origin *origin = calloc(1, sizeof(*origin));
    assert_non_null(origin);
    origin->fn = fn;
    origin->ctx = ctx;
    origin_listen(origin);
    assert_int_equal(listen(origin->listen_fd, 1024), 0);
    assert_int_equal(pthread_create(&origin->thread, NULL, origin_main, origin), 0);
    return origin;
}

static inline void
origin_free(struct origin *origin)
{
    (void)shutdown(origin->listen_fd, SHUT_RDWR); /* wakes accept */
    assert_int_equal(pthread_join(origin->thread, NULL), 0);
    for (unsigned i = 0; i < origin->connections; i++)
        (void)shutdown(origin->fds[i], SHUT_RDWR);
    for (unsigned i = 0; i < origin->connections; i++) {
        assert_int_equal(pthread_join(origin->handlers[i], NULL), 0);
        close(origin->fds[i]);
    }
    close(origin->listen_fd);
    free(origin);
}

/* ---- the proxy ------------------------------------------------------------------------------ */

struct fixture {
    struct config *config; /* change before fixture_start */
    struct config_cluster *cluster;
    struct config_route *route;
    struct cache_store *cache;
    uint32_t worker_count;
    struct cluster_slots *slots;
    struct cluster_member *members[FIXTURE_MEMBERS_MAX];
    uint32_t member_count;
    uint64_t generation;
    unsigned relief;
    struct loop *control;
    pthread_t control_thread;
    bool control_halted;
    struct proxy *proxy;
    struct loop_addr bound;
};

static inline void
fixture_init(struct fixture *f)
{
    memset(f, 0, sizeof(*f));
    f->config = config_new_default();
    f->cluster = config_cluster_new(FR_VIEW("web"));
    f->cluster->slow_start_us = 0;
    f->cluster->balance = CONFIG_BALANCE_ROUND_ROBIN;
    f->route = config_route_new();
    assert_true(fr_view_copy(FR_VIEW("all"), f->route->name, sizeof(f->route->name)));
    assert_true(fr_view_copy(FR_VIEW("web"), f->route->cluster, sizeof(f->route->cluster)));
    f->worker_count = 1;
    f->slots = cluster_slots_new();
    assert_int_equal(loop_new(NULL, &f->control), FR_OK);
}

static inline uint32_t
fixture_member_at(struct fixture *f, const struct loop_addr *addr)
{
    char id[32];
    uint32_t index = f->member_count++;
    assert_true(index < FIXTURE_MEMBERS_MAX);
    (void)snprintf(id, sizeof(id), "web-%u", index);
    f->members[index] =
        cluster_member_new(f->slots, fr_view_of(id), FR_VIEW(""), addr, f->worker_count);
    assert_non_null(f->members[index]);
    return index;
}

static inline uint32_t
fixture_member(struct fixture *f, const struct origin *origin)
{
    return fixture_member_at(f, &origin->addr);
}

/* Publishes a snapshot with the members whose bit stands in `shown`. */
static inline void
fixture_publish(struct fixture *f, unsigned shown)
{
    struct cluster_endpoint endpoints[FIXTURE_MEMBERS_MAX];
    uint32_t count = 0;
    for (uint32_t i = 0; i < f->member_count; i++)
        if (shown & (1u << i))
            endpoints[count++] = (struct cluster_endpoint){f->members[i], 100, true, 0};
    struct cluster_view *view = cluster_view_new(0, f->cluster, endpoints, count);
    struct cluster_snapshot *snapshot = NULL;
    const struct config_route *bad = NULL;
    f->generation++;
    assert_int_equal(
        cluster_snapshot_new(f->generation, &view, 1, &f->route, 1, f->relief, &snapshot, &bad),
        FR_OK);
    proxy_publish(f->proxy, snapshot);
    cluster_snapshot_unref(&snapshot);
    cluster_view_unref(&view);
}

static inline void *
fixture_control_main(void *ctx)
{
    struct loop *loop = ctx;
    return loop_run(loop) == FR_OK ? NULL : ctx;
}

static inline void
fixture_start(struct fixture *f)
{
    struct proxy_options options = {
        .worker_count = f->worker_count,
        .limits = &f->config->limits,
        .cache = f->cache,
        .control = f->control,
    };
    struct loop_addr any;
    assert_int_equal(proxy_new(&options, &f->proxy), FR_OK);
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:0"), &any), FR_OK);
    const struct proxy_manner plain = {0};
    assert_int_equal(proxy_listen(f->proxy, &any, &plain, &f->bound, NULL), FR_OK);
    fixture_publish(f, ~0u);
    assert_int_equal(proxy_start(f->proxy), FR_OK);
    assert_int_equal(pthread_create(&f->control_thread, NULL, fixture_control_main, f->control), 0);
}

static inline void
fixture_stop_control(void *ctx)
{
    loop_stop(ctx);
}

/* What is posted to it from now on is not read before the proxy's end. */
static inline void
fixture_halt_control(struct fixture *f)
{
    struct loop_msg stop;
    void *result = NULL;
    loop_post(f->control, &stop, fixture_stop_control, f->control);
    assert_int_equal(pthread_join(f->control_thread, &result), 0);
    assert_null(result);
    f->control_halted = true;
}

static inline void
fixture_fini(struct fixture *f)
{
    if (!f->control_halted)
        fixture_halt_control(f);
    proxy_free(&f->proxy);
    loop_free(&f->control);
    for (uint32_t i = 0; i < f->member_count; i++) {
        struct cluster_member_stats sum;
        cluster_member_sum(f->members[i], 0, &sum);
        assert_int_equal(sum.in_flight, 0);
        assert_int_equal(sum.connections, 0);
        assert_int_equal(sum.idle_connections, 0);
        cluster_member_unref(&f->members[i]);
    }
    config_route_unref(&f->route);
    config_cluster_unref(&f->cluster);
    config_free(&f->config);
    cache_store_free(&f->cache);
    cluster_slots_free(&f->slots); /* requires that no member is held any more */
}

static inline struct proxy_counters
fixture_counters(const struct fixture *f)
{
    struct proxy_counters sum = {0};
    for (uint32_t i = 0; i < f->worker_count; i++) {
        struct proxy_counters one;
        proxy_read_counters(f->proxy, i, &one);
#define PROXY_COUNTER_ROW(name, help) sum.name += one.name;
#include "proxy/proxy_counters.def"
#undef PROXY_COUNTER_ROW
    }
    return sum;
}

/* Waits until `condition` holds, looking again each millisecond: for what no event tells. */
#define fixture_until(condition)                                                                   \
    do {                                                                                           \
        int fixture_tries_ = 0;                                                                    \
        while (!(condition)) {                                                                     \
            if (++fixture_tries_ > FIXTURE_IO_TIMEOUT_S * 1000)                                    \
                fail_msg("never came true: %s", #condition);                                       \
            (void)poll(NULL, 0, 1);                                                                \
        }                                                                                          \
    } while (0)

/* ---- requests of clients -------------------------------------------------------------------- */

struct answer {
    int status;
    char head[16384];
    char *body; /* malloc'ed; NUL-terminated */
    size_t body_len, body_cap;
    bool whole; /* framed to its proper end */
};

static inline void
answer_free(struct answer *answer)
{
    free(answer->body);
    answer->body = NULL;
}

static inline void
answer_body_add(struct answer *answer, const char *bytes, size_t len)
{
    if (answer->body_len + len + 1 > answer->body_cap) {
        answer->body_cap = 2 * (answer->body_len + len + 1);
        answer->body = realloc(answer->body, answer->body_cap);
    }
    memcpy(answer->body + answer->body_len, bytes, len);
    answer->body_len += len;
    answer->body[answer->body_len] = '\0';
}

static inline bool
answer_read_bytes(int fd, struct answer *answer, size_t len)
{
    char block[16384];
    while (len > 0) {
        ssize_t n = sock_recv(fd, block, len < sizeof(block) ? len : sizeof(block));
        if (n <= 0)
            return false;
        answer_body_add(answer, block, (size_t)n);
        len -= (size_t)n;
    }
    return true;
}

static inline bool
answer_read_chunked(int fd, struct answer *answer)
{
    char line[64];
    for (;;) {
        size_t got = sock_read(fd, line, sizeof(line), "\r\n", 0);
        if (got < 3)
            return false;
        size_t size = strtoul(line, NULL, 16);
        if (!answer_read_bytes(fd, answer, size))
            return false;
        if (sock_read(fd, line, sizeof(line), NULL, 2) != 2)
            return false;
        if (size == 0)
            return true;
    }
}

static inline void
answer_read_head(int fd, struct answer *answer)
{
    memset(answer, 0, sizeof(*answer));
    answer->body = calloc(1, 1);
    (void)sock_read(fd, answer->head, sizeof(answer->head), "\r\n\r\n", 0);
    if (sscanf(answer->head, "HTTP/1.%*d %d", &answer->status) != 1)
        answer->status = 0; /* closed without an answer */
}

/* Reads one response as an HTTP/1.1 client would. */
static inline void
answer_read(int fd, const char *method, struct answer *answer)
{
    answer_read_head(fd, answer);
    const char *length = strcasestr(answer->head, "\r\nContent-Length: ");
    if (answer->status == 0)
        return;
    if (strcmp(method, "HEAD") == 0 || answer->status < 200 || answer->status == 204 ||
        answer->status == 304) {
        answer->whole = true;
    } else if (strcasestr(answer->head, "\r\nTransfer-Encoding: chunked\r\n")) {
        answer->whole = answer_read_chunked(fd, answer);
    } else if (length) {
        answer->whole = answer_read_bytes(fd, answer, strtoul(length + 18, NULL, 10));
    } else {
        char block[4096];
        ssize_t n;
        while ((n = sock_recv(fd, block, sizeof(block))) > 0)
            answer_body_add(answer, block, (size_t)n);
        answer->whole = n == 0;
    }
}

/* True when the other side has closed (or closes within the deadline) without another byte. */
static inline bool
sock_ended(int fd)
{
    char byte;
    return sock_recv(fd, &byte, 1) == 0;
}

/* One request on a connection of its own. */
static inline void
ask(const struct fixture *f, const char *request, struct answer *answer)
{
    int fd = sock_connect(&f->bound);
    char method[16] = "";
    (void)sscanf(request, "%15s", method);
    assert_true(sock_text(fd, request));
    answer_read(fd, method, answer);
    close(fd);
}

#endif
