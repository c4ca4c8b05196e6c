/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load.c - loads a server over HTTP/1.1: a fixed number of requests, or a constant rate.
 *
 * usage: load [-c CONNECTIONS] [-n REQUESTS] [-d SECONDS] [-r RATE] [-x] [-t] [-R]
 *                   [-z OBJECTS | -s OBJECTS] [-w SECONDS] ADDRESS PATH
 *   -r  requests a second, sent when they are due whether or not others are answered; 0: each
 *       connection sends its next when it has its answer
 *   -x  a connection for each request: says Connection: close
 *   -z  PATH is a prefix; six digits follow, drawn by Zipf's law (0.9) among so many objects
 *   -s  likewise, but one after the other, again and again
 *   -t  TLS over connections that are kept; nobody's certificate is checked
 *   -R  real-time priority, and at a rate sends and receives every TICK_US and sleeps between: for
 *       a core that others need as well
 *   -w  the first so many seconds are not counted
 * Prints one line: requests, seconds, errors, then p50, p90, p99, p99.9 and the highest in us.
 *
 * Omission:   at a rate, a latency counts from when the request was due, so that one which could
 *             not be sent because the server held every connection is late by that, too
 *             ("coordinated omission"; see wrk2).
 * Shape:      one thread, epoll; while a request is due within SPIN_US it spins, for timers of the
 *             kernel are late by more; those of a real-time thread (-R) are not.
 * Limits:     responses need a Content-Length; RESPONSE_HEAD_BYTES of head.
 */
#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "base/fr_unit.h"
#include "loop/loop_addr.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define RESPONSE_HEAD_BYTES 8192
#define RECV_BYTES 262144
#define EVENTS 256
#define SPIN_US 60
#define PRIORITY 2
#define TICK_US 100
#define DRAWS 150000u
#define PATH_BYTES 512
#define REQUEST_BYTES 1024
#define ZIPF_EXPONENT 0.9
#define HIST_SUB_BITS 6 /* 64 steps to each power of two: 1.6 % */
#define HIST_BUCKETS (40 << HIST_SUB_BITS)

struct options {
    struct loop_addr addr;
    const char *address, *path;
    uint64_t requests, rate, objects;
    unsigned connections;
    double seconds, warm_seconds;
    bool close_each, in_turn, tls, realtime;
};

struct conn {
    int fd;
    SSL *ssl; /* or NULL */
    bool busy, connecting;
    int64_t due_us; /* of the request under way */
    char head[RESPONSE_HEAD_BYTES];
    size_t head_len;
    bool in_body;
    uint64_t body_left;
    struct conn *next_idle;
};

struct load {
    struct options options;
    int epoll_fd;
    SSL_CTX *tls;
    struct conn *conns, *idle;
    char (*texts)[REQUEST_BYTES]; /* objects of them, or one */
    uint32_t *draws;
    uint64_t sent, answered, counted, errors;
    int64_t start_us, count_from_us, end_us;
    uint64_t hist[HIST_BUCKETS];
    char received[RECV_BYTES];
};

/* ---- latencies ----------------------------------------------------------------------------- */

static unsigned
hist_bucket(uint64_t us)
{
    if (us < (2u << HIST_SUB_BITS))
        return (unsigned)us;
    unsigned shift = 63u - (unsigned)__builtin_clzll(us) - HIST_SUB_BITS;
    unsigned bucket = (shift << HIST_SUB_BITS) + (unsigned)(us >> shift);
    return bucket < HIST_BUCKETS ? bucket : HIST_BUCKETS - 1;
}

static uint64_t
hist_value(unsigned bucket)
{
    if (bucket < (2u << HIST_SUB_BITS))
        return bucket;
    unsigned shift = (bucket >> HIST_SUB_BITS) - 1;
    return (uint64_t)(bucket - (shift << HIST_SUB_BITS)) << shift;
}

static uint64_t
quantile_us(const struct load *load, double q)
{
    uint64_t want = (uint64_t)ceil(q * (double)load->counted), seen = 0;
    for (unsigned i = 0; i < HIST_BUCKETS; i++) {
        seen += load->hist[i];
        if (seen >= want && load->hist[i] > 0)
            return hist_value(i);
    }
    return 0;
}

/* ---- what is asked ------------------------------------------------------------------------- */

static void
make_text(const struct options *options, char *out, uint64_t object)
{
    char name[32] = "";
    if (options->objects > 0)
        (void)snprintf(name, sizeof(name), "%06llu", (unsigned long long)object);
    int len = snprintf(out, REQUEST_BYTES, "GET %s%s HTTP/1.1\r\nHost: %s\r\n%s\r\n", options->path,
                       name, options->address, options->close_each ? "Connection: close\r\n" : "");
    fr_require(len > 0);
    fr_require(len < REQUEST_BYTES);
}

/* The same draws in every run. */
static void
make_draws(struct load *load)
{
    uint64_t objects = load->options.objects, state = 42;
    double *sums = fr_xalloc(objects * sizeof(*sums)), sum = 0;
    for (uint64_t i = 0; i < objects; i++)
        sums[i] = sum += pow((double)(i + 1), -ZIPF_EXPONENT);
    for (uint32_t d = 0; d < DRAWS; d++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        double at = (double)(state >> 11) / (double)((uint64_t)1 << 53) * sum;
        uint64_t low = 0, high = objects - 1;
        while (low < high) {
            uint64_t middle = (low + high) / 2;
            if (sums[middle] < at)
                low = middle + 1;
            else
                high = middle;
        }
        load->draws[d] = (uint32_t)(low * 7919 % objects); /* ranks scattered over the names */
    }
    fr_free(sums);
}

static void
make_requests(struct load *load)
{
    uint64_t objects = load->options.objects;
    load->texts = fr_xalloc((objects > 0 ? objects : 1) * REQUEST_BYTES);
    for (uint64_t i = 0; i == 0 || i < objects; i++)
        make_text(&load->options, load->texts[i], i);
    if (objects > 0) {
        load->draws = fr_xalloc(DRAWS * sizeof(*load->draws));
        for (uint32_t d = 0; load->options.in_turn && d < DRAWS; d++)
            load->draws[d] = (uint32_t)(d % objects);
        if (!load->options.in_turn)
            make_draws(load);
    }
}

/* ---- one connection ------------------------------------------------------------------------ */

/* Waits for the handshake: it is no part of what is measured. */
static void
conn_shake(struct load *load, struct conn *conn)
{
    conn->ssl = SSL_new(load->tls);
    fr_require(conn->ssl != NULL);
    (void)SSL_set_fd(conn->ssl, conn->fd);
    if (SSL_connect(conn->ssl) != 1) {
        (void)fputs("load: no TLS\n", stderr);
        exit(1);
    }
    fr_require(fcntl(conn->fd, F_SETFL, O_NONBLOCK) == 0);
}

static void
conn_open(struct load *load, struct conn *conn)
{
    const struct loop_addr *addr = &load->options.addr;
    int on = 1, waits = load->tls ? 0 : SOCK_NONBLOCK;
    conn->fd = socket(addr->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | waits, 0);
    fr_require(conn->fd >= 0);
    (void)setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    if (connect(conn->fd, &addr->sa.any, addr->len) != 0 && errno != EINPROGRESS) {
        perror("load: connect");
        exit(1);
    }
    if (load->tls)
        conn_shake(load, conn);
    struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = conn}};
    fr_require(epoll_ctl(load->epoll_fd, EPOLL_CTL_ADD, conn->fd, &event) == 0);
    conn->connecting = true;
    conn->head_len = 0;
    conn->in_body = false;
}

static void
conn_close(struct conn *conn)
{
    SSL_free(conn->ssl);
    conn->ssl = NULL;
    close(conn->fd);
}

static ssize_t
conn_write(struct conn *conn, const char *text, size_t len)
{
    return conn->ssl ? SSL_write(conn->ssl, text, (int)len)
                     : send(conn->fd, text, len, MSG_NOSIGNAL);
}

/* What came; 0: the end; -1 and EAGAIN: nothing now. */
static ssize_t
conn_read(struct load *load, struct conn *conn)
{
    if (!conn->ssl)
        return recv(conn->fd, load->received, sizeof(load->received), 0);
    int got = SSL_read(conn->ssl, load->received, sizeof(load->received));
    if (got > 0)
        return got;
    errno = SSL_get_error(conn->ssl, got) == SSL_ERROR_WANT_READ ? EAGAIN : EIO;
    return -1;
}

static void
conn_idle(struct load *load, struct conn *conn)
{
    conn->busy = false;
    conn->next_idle = load->idle;
    load->idle = conn;
}

static void
conn_put(struct load *load, struct conn *conn)
{
    uint64_t number = load->sent - 1;
    const char *text = load->texts[load->draws ? load->draws[number % DRAWS] : 0];
    size_t len = strlen(text);
    /* It is so short that the kernel takes it whole, or the connection is gone. */
    if (conn_write(conn, text, len) != (ssize_t)len)
        load->errors++;
}

static void
conn_send(struct load *load, struct conn *conn, int64_t due_us)
{
    conn->due_us = due_us;
    conn->busy = true;
    load->sent++;
    if (load->options.close_each)
        conn_open(load, conn);
    else
        conn_put(load, conn);
}

static void
conn_answered(struct load *load, struct conn *conn, bool good)
{
    int64_t now_us = fr_clock_mono_us();
    load->answered++;
    load->errors += !good;
    if (conn->due_us >= load->count_from_us) {
        load->hist[hist_bucket((uint64_t)(now_us - conn->due_us))]++;
        load->counted++;
    }
    conn->head_len = 0;
    conn->in_body = false;
    if (load->options.close_each)
        conn_close(conn);
    conn_idle(load, conn);
}

/* Takes of the bytes what belongs to the head; true: it is whole. */
static bool
conn_head(struct conn *conn, const char **at, size_t *left)
{
    size_t before = conn->head_len, room = sizeof(conn->head) - 1 - before;
    size_t take = *left < room ? *left : room;
    memcpy(conn->head + before, *at, take);
    conn->head_len += take;
    conn->head[conn->head_len] = '\0';
    char *end = memmem(conn->head, conn->head_len, "\r\n\r\n", 4);
    if (!end) {
        fr_require(take < room);
        *left = 0;
        return false;
    }
    size_t used = (size_t)(end + 4 - conn->head) - before;
    *at += used;
    *left -= used;
    const char *field = strcasestr(conn->head, "\r\ncontent-length:");
    conn->body_left = field ? strtoull(field + 17, NULL, 10) : 0;
    conn->in_body = true;
    return true;
}

static void
conn_bytes(struct load *load, struct conn *conn, const char *at, size_t left)
{
    if (!conn->in_body && !conn_head(conn, &at, &left))
        return;
    conn->body_left -= left < conn->body_left ? left : conn->body_left;
    if (conn->body_left == 0)
        conn_answered(load, conn, strncmp(conn->head + 9, "200", 3) == 0);
}

static void
conn_readable(struct load *load, struct conn *conn)
{
    while (conn->busy) {
        ssize_t got = conn_read(load, conn);
        if (got > 0) {
            conn_bytes(load, conn, load->received, (size_t)got);
            continue;
        }
        if (got < 0 && errno == EAGAIN)
            return;
        if (!load->options.close_each) {
            conn_close(conn);
            conn_open(load, conn);
        }
        conn_answered(load, conn, false);
        return;
    }
}

static void
conn_event(struct load *load, struct conn *conn, uint32_t events)
{
    if (conn->connecting && (events & EPOLLOUT)) {
        conn->connecting = false;
        if (load->options.close_each)
            conn_put(load, conn);
    }
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR))
        conn_readable(load, conn);
}

/* ---- the load ------------------------------------------------------------------------------ */

static bool
may_send(const struct load *load, int64_t now_us)
{
    if (load->options.requests > 0)
        return load->sent < load->options.requests;
    return now_us < load->end_us;
}

static int64_t
due_us(const struct load *load)
{
    return load->start_us +
           (int64_t)((double)load->sent * (double)FR_US_PER_S / (double)load->options.rate);
}

/* Sends what is due; returns how long nothing is, in us. */
static int64_t
send_due(struct load *load)
{
    int64_t now_us = fr_clock_mono_us();
    while (load->idle && may_send(load, now_us)) {
        int64_t due = load->options.rate > 0 ? due_us(load) : now_us;
        if (due > now_us)
            return due - now_us;
        struct conn *conn = load->idle;
        load->idle = conn->next_idle;
        conn_send(load, conn, due);
    }
    return INT64_MAX;
}

/* A thread that sleeps and wakes for each request and each answer costs a virtual machine several
 * times what they do. */
static int
next_tick(struct load *load, struct epoll_event *events)
{
    int64_t passed_us = fr_clock_mono_us() - load->start_us;
    int64_t at_us = load->start_us + (passed_us / TICK_US + 1) * TICK_US;
    const struct timespec at = {at_us / FR_US_PER_S, at_us % FR_US_PER_S * 1000};
    (void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    return epoll_wait(load->epoll_fd, events, EVENTS, 0);
}

static int
wait_for_events(struct load *load, struct epoll_event *events, int64_t wait_us)
{
    if (load->options.realtime && load->options.rate > 0)
        return next_tick(load, events);
    int wait_ms = wait_us == INT64_MAX ? 100 : (int)((wait_us - SPIN_US) / FR_US_PER_MS);
    return epoll_wait(load->epoll_fd, events, EVENTS, wait_ms > 0 ? wait_ms : 0);
}

static void
run(struct load *load)
{
    struct epoll_event events[EVENTS];
    load->start_us = fr_clock_mono_us();
    load->count_from_us =
        load->start_us + (int64_t)(load->options.warm_seconds * (double)FR_US_PER_S);
    load->end_us = load->count_from_us + (int64_t)(load->options.seconds * (double)FR_US_PER_S);
    for (;;) {
        int64_t wait_us = send_due(load);
        if (load->answered == load->sent && !may_send(load, fr_clock_mono_us()))
            break;
        int count = wait_for_events(load, events, wait_us);
        for (int i = 0; i < count; i++)
            conn_event(load, events[i].data.ptr, events[i].events);
    }
    load->end_us = fr_clock_mono_us();
}

static void
print(const struct load *load)
{
    unsigned top = HIST_BUCKETS;
    while (top > 0 && load->hist[top - 1] == 0)
        top--;
    printf("%llu %.3f %llu %llu %llu %llu %llu %llu\n", (unsigned long long)load->counted,
           (double)(load->end_us - load->count_from_us) / (double)FR_US_PER_S,
           (unsigned long long)load->errors, (unsigned long long)quantile_us(load, 0.5),
           (unsigned long long)quantile_us(load, 0.9), (unsigned long long)quantile_us(load, 0.99),
           (unsigned long long)quantile_us(load, 0.999),
           (unsigned long long)hist_value(top > 0 ? top - 1 : 0));
}

static int
usage(void)
{
    (void)fputs("usage: load [-c CONNECTIONS] [-n REQUESTS] [-d SECONDS] [-r RATE] [-x] [-t] "
                "[-R] [-z OBJECTS | -s OBJECTS] [-w SECONDS] ADDRESS PATH\n",
                stderr);
    return 2;
}

static bool
options_read(int argc, char **argv, struct options *out)
{
    int option;
    *out = (struct options){.connections = 64, .seconds = 1};
    while ((option = getopt(argc, argv, "c:n:d:r:z:s:w:xtR")) != -1) {
        switch (option) {
        case 'c':
            out->connections = (unsigned)strtoul(optarg, NULL, 10);
            break;
        case 'n':
            out->requests = strtoull(optarg, NULL, 10);
            break;
        case 'd':
            out->seconds = strtod(optarg, NULL);
            break;
        case 'r':
            out->rate = strtoull(optarg, NULL, 10);
            break;
        case 's':
        case 'z':
            out->in_turn = option == 's';
            out->objects = strtoull(optarg, NULL, 10);
            break;
        case 'w':
            out->warm_seconds = strtod(optarg, NULL);
            break;
        case 'x':
            out->close_each = true;
            break;
        case 't':
            out->tls = true;
            break;
        case 'R':
            out->realtime = true;
            break;
        default:
            return false;
        }
    }
    if (argc - optind != 2 || out->connections == 0 || (out->tls && out->close_each) ||
        strlen(argv[optind + 1]) > PATH_BYTES)
        return false;
    out->address = argv[optind];
    out->path = argv[optind + 1];
    return loop_addr_parse(fr_view_of(out->address), &out->addr) == FR_OK;
}

int
main(int argc, char **argv)
{
    struct load *load = fr_xalloc(sizeof(*load));
    if (!options_read(argc, argv, &load->options))
        return usage();
    const struct sched_param first = {.sched_priority = PRIORITY};
    if (load->options.realtime && sched_setscheduler(0, SCHED_FIFO, &first) != 0) {
        perror("load: real-time priority");
        return 1;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    load->tls = load->options.tls ? SSL_CTX_new(TLS_client_method()) : NULL;
    load->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    fr_require(load->epoll_fd >= 0);
    make_requests(load);
    load->conns = fr_xalloc(load->options.connections * sizeof(*load->conns));
    for (unsigned i = 0; i < load->options.connections; i++) {
        if (!load->options.close_each)
            conn_open(load, &load->conns[i]);
        conn_idle(load, &load->conns[i]);
    }
    run(load);
    print(load);
    for (unsigned i = 0; i < load->options.connections; i++)
        if (!load->options.close_each)
            conn_close(&load->conns[i]);
    close(load->epoll_fd);
    SSL_CTX_free(load->tls);
    fr_free(load->draws);
    fr_free(load->texts);
    fr_free(load->conns);
    fr_free(load);
    return 0;
}
