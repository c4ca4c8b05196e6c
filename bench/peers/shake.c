/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shake.c - loads a server with handshakes: a new TLS 1.3 connection for each request, in full or
 * resumed.
 *
 * usage: shake [-c CLIENTS] [-d SECONDS] [-r] ADDRESS PATH
 *   -c  clients at once, a thread each (16)
 *   -r  every connection but a client's first is resumed by the ticket of the one before; one that
 *       is not is an error
 * Prints one line: requests, seconds, errors, then p50 and p99 of a connection in us.
 *
 * Shape:      threads that block: what they wait for is the other end, and TLS is most of the work.
 * Limits:     SAMPLES_MAX latencies of a client; answers are read to the server's end.
 */
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "base/fr_unit.h"
#include "loop/loop_addr.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 256
#define SAMPLES_MAX 65536
#define REQUEST_BYTES 1024
#define TIMEOUT_S 5

struct bench { /* set once */
    struct loop_addr addr;
    SSL_CTX *ctx;
    char request[REQUEST_BYTES];
    int request_bytes;
    bool resume;
    int64_t until_us;
};

struct client {
    const struct bench *bench;
    pthread_t thread;
    SSL_SESSION *session;
    uint64_t done, errors;
    uint32_t samples[SAMPLES_MAX];
    size_t sample_count;
};

static int64_t
now_us(void)
{
    struct timespec at;
    (void)clock_gettime(CLOCK_MONOTONIC, &at);
    return (int64_t)at.tv_sec * FR_US_PER_S + at.tv_nsec / 1000;
}

static int
dial(const struct loop_addr *addr)
{
    const struct timeval limit = {.tv_sec = TIMEOUT_S};
    int one = 1;
    int fd = socket(addr->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    if (connect(fd, &addr->sa.any, addr->len) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

/* The request and its whole answer. */
static bool
ask(const struct bench *bench, SSL *ssl)
{
    static const char good[] = "HTTP/1.1 200";
    char bytes[16384], start[sizeof(good) - 1];
    size_t started = 0;
    int got;
    if (SSL_write(ssl, bench->request, bench->request_bytes) != bench->request_bytes)
        return false;
    while ((got = SSL_read(ssl, bytes, sizeof(bytes))) > 0) {
        size_t take = (size_t)got < sizeof(start) - started ? (size_t)got : sizeof(start) - started;
        memcpy(start + started, bytes, take);
        started += take;
    }
    return started == sizeof(start) && memcmp(start, good, sizeof(start)) == 0;
}

static bool
once(struct client *client)
{
    const struct bench *bench = client->bench;
    bool good = false;
    int fd = dial(&bench->addr);
    SSL *ssl = fd >= 0 ? SSL_new(bench->ctx) : NULL;
    if (!ssl)
        goto out;
    (void)SSL_set_fd(ssl, fd);
    if (bench->resume && client->session)
        (void)SSL_set_session(ssl, client->session);
    if (SSL_connect(ssl) != 1 || !ask(bench, ssl))
        goto out;
    good = !bench->resume || !client->session || SSL_session_reused(ssl);
    SSL_SESSION_free(client->session);
    client->session = bench->resume ? SSL_get1_session(ssl) : NULL;
    SSL_set_quiet_shutdown(ssl, 1); /* a session of one that was cut would not be resumed */
    (void)SSL_shutdown(ssl);
out:
    SSL_free(ssl);
    if (fd >= 0)
        (void)close(fd);
    return good;
}

static void *
work(void *ctx)
{
    struct client *client = ctx;
    for (int64_t at = now_us(), after; at < client->bench->until_us; at = after) {
        bool good = once(client);
        after = now_us();
        client->done += good;
        client->errors += !good;
        if (good && client->sample_count < SAMPLES_MAX)
            client->samples[client->sample_count++] = (uint32_t)(after - at);
    }
    SSL_SESSION_free(client->session);
    return NULL;
}

static int
compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void
run(struct bench *bench, unsigned count, double seconds)
{
    struct client *clients = fr_xalloc(count * sizeof(*clients));
    uint64_t done = 0, errors = 0;
    size_t samples = 0;
    int64_t began_us = now_us();
    bench->until_us = began_us + (int64_t)(seconds * (double)FR_US_PER_S);
    for (unsigned i = 0; i < count; i++) {
        clients[i].bench = bench;
        if (pthread_create(&clients[i].thread, NULL, work, &clients[i]) != 0)
            exit(1);
    }
    for (unsigned i = 0; i < count; i++) {
        (void)pthread_join(clients[i].thread, NULL);
        done += clients[i].done;
        errors += clients[i].errors;
        samples += clients[i].sample_count;
    }
    double took = (double)(now_us() - began_us) / (double)FR_US_PER_S;
    uint32_t *all = fr_xalloc((samples + 1) * sizeof(*all));
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        memcpy(all + at, clients[i].samples, clients[i].sample_count * sizeof(*all));
        at += clients[i].sample_count;
    }
    qsort(all, samples, sizeof(*all), compare);
    printf("%llu %.3f %llu %u %u\n", (unsigned long long)done, took, (unsigned long long)errors,
           all[samples / 2], all[samples * 99 / 100]);
    fr_free(all);
    fr_free(clients);
}

static int
usage(void)
{
    fprintf(stderr, "usage: shake [-c CLIENTS] [-d SECONDS] [-r] ADDRESS PATH\n");
    return 2;
}

int
main(int argc, char **argv)
{
    static struct bench bench;
    uint64_t count = 16;
    double seconds = 1;
    int letter;
    while ((letter = getopt(argc, argv, "c:d:r")) != -1) {
        if (letter == 'c' &&
            (!fr_view_u64(fr_view_of(optarg), &count) || count < 1 || count > CLIENTS_MAX))
            return usage();
        if (letter == 'd')
            seconds = strtod(optarg, NULL);
        if (letter == 'r')
            bench.resume = true;
        if (letter == '?')
            return usage();
    }
    if (argc - optind != 2 || loop_addr_parse(fr_view_of(argv[optind]), &bench.addr) != FR_OK ||
        !(seconds > 0))
        return usage();
    bench.request_bytes = snprintf(bench.request, sizeof(bench.request),
                                   "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n",
                                   argv[optind + 1], argv[optind]);
    if (bench.request_bytes >= (int)sizeof(bench.request))
        return usage();
    (void)signal(SIGPIPE, SIG_IGN);
    bench.ctx = SSL_CTX_new(TLS_client_method());
    (void)SSL_CTX_set_min_proto_version(bench.ctx, TLS1_3_VERSION);
    (void)SSL_CTX_set_session_cache_mode(bench.ctx, SSL_SESS_CACHE_OFF);
    /* Some servers close without a close_notify: the length is what tells that it is whole. */
    (void)SSL_CTX_set_options(bench.ctx, SSL_OP_IGNORE_UNEXPECTED_EOF);
    run(&bench, (unsigned)count, seconds);
    SSL_CTX_free(bench.ctx);
    return 0;
}
