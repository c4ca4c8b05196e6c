/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_demo_server.c - a small application for the demo to allocate: real CPU work for each request,
 * and a body that its reader can check.
 *
 *     GET /compute/…     hashes for --cpu-us, waits for --wait-us (as if for a database), answers
 *     GET /static/…   the same, cacheable for a minute
 *     GET /healthz    200 at once
 *
 * Threads:  one a connection; --workers of them may work at a time, the others wait their turn.
 * Limits:   CONNECTIONS_MAX, then connections are closed unanswered.
 */
#include "cli/cli.h"

#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "cli/cli_demo.h"
#include "http/http.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 512
#define HEAD_BYTES_MAX 8192

struct demo_server {
    sem_t turns;
    uint64_t rounds; /* of hashing that take --cpu-us here */
    int64_t wait_us;
    atomic_int connections;
};

struct demo_connection {
    struct demo_server *server;
    int fd;
};

static const struct fr_hash_key work_key = {0x66726573686574ull, 0x64656d6full};

static uint64_t
work(uint64_t rounds, uint64_t seed)
{
    for (uint64_t i = 0; i < rounds; i++)
        seed = fr_hash64(&work_key, &seed, sizeof(seed));
    return seed;
}

static uint64_t
calibrate(int64_t cpu_us)
{
    const uint64_t sample = 200000;
    int64_t began_us = fr_clock_process_cpu_us();
    volatile uint64_t sink = work(sample, 1);
    (void)sink; /* the work must not be optimised away */
    int64_t took_us = fr_clock_process_cpu_us() - began_us;
    return (uint64_t)cpu_us * sample / (uint64_t)(took_us > 0 ? took_us : 1);
}

static void
wait_for(int64_t us)
{
    struct timespec left = {us / FR_US_PER_S, us % FR_US_PER_S * 1000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

static bool
send_all(int fd, const char *ptr, size_t len)
{
    while (len > 0) {
        ssize_t put = send(fd, ptr, len, MSG_NOSIGNAL);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return false;
        ptr += put;
        len -= (size_t)put;
    }
    return true;
}

static bool
answer(struct demo_server *server, int fd, const struct http_head *head)
{
    char body[CLI_DEMO_BODY_BYTES], message[CLI_DEMO_BODY_BYTES + 512];
    bool cacheable = fr_view_starts(head->path, FR_VIEW("/static/"));
    bool health = fr_view_is(head->path, "/healthz");
    size_t body_len = 0;
    if (health) {
        body_len = (size_t)snprintf(body, sizeof(body), "ok\n");
    } else {
        while (sem_wait(&server->turns) != 0)
            ;
        uint64_t result = work(server->rounds, head->path.len);
        wait_for(server->wait_us);
        (void)sem_post(&server->turns); /* fails only past SEM_VALUE_MAX */
        body_len = cli_demo_body(head->path, result, body);
    }
    int head_len = snprintf(message, sizeof(message),
                            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nCache-Control: %s\r\n"
                            "Content-Length: %zu\r\n%s\r\n",
                            cacheable ? "max-age=60" : "no-store", body_len,
                            head->keep_alive ? "" : "Connection: close\r\n");
    if (head->method != HTTP_HEAD)
        memcpy(message + head_len, body, body_len);
    else
        body_len = 0;
    return send_all(fd, message, (size_t)head_len + body_len) && head->keep_alive;
}

/* Requests of the demo have no bodies; one that has ends the connection. */
static void
serve(struct demo_server *server, int fd)
{
    char in[HEAD_BYTES_MAX];
    size_t len = 0, scanned = 0;
    struct http_head *head = fr_xalloc(sizeof(*head));
    for (;;) {
        struct http_err err;
        enum http_step step = http_request_parse(fr_view_make(in, len), &http_limits_default,
                                                 &scanned, head, &err);
        if (step == HTTP_DONE) {
            if (head->framing != HTTP_BODY_NONE || !answer(server, fd, head))
                break;
            len -= head->head_bytes;
            memmove(in, in + head->head_bytes, len);
            scanned = 0;
            continue;
        }
        if (step == HTTP_BAD || len == sizeof(in))
            break;
        ssize_t got = recv(fd, in + len, sizeof(in) - len, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        len += (size_t)got;
    }
    fr_free(head);
}

static void *
connection_main(void *arg)
{
    struct demo_connection *connection = arg;
    serve(connection->server, connection->fd);
    (void)close(connection->fd); /* what was to be said is said */
    atomic_fetch_sub(&connection->server->connections, 1);
    fr_free(connection);
    return NULL;
}

static void
take_connection(struct demo_server *server, int fd)
{
    pthread_t thread;
    pthread_attr_t attributes;
    int on = 1;
    if (atomic_fetch_add(&server->connections, 1) >= CONNECTIONS_MAX) {
        atomic_fetch_sub(&server->connections, 1);
        (void)close(fd); /* full */
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* slower without it */
    struct demo_connection *connection = fr_xalloc(sizeof(*connection));
    *connection = (struct demo_connection){server, fd};
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    if (pthread_create(&thread, &attributes, connection_main, connection) != 0) {
        atomic_fetch_sub(&server->connections, 1);
        (void)close(fd); /* no thread for it */
        fr_free(connection);
    }
    pthread_attr_destroy(&attributes);
}

static int
listen_on(uint16_t port)
{
    const struct sockaddr_in addr = {.sin_family = AF_INET,
                                     .sin_port = htons(port),
                                     .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) != 0 || listen(fd, 1024) != 0) {
        fprintf(stderr, "freshet demo-server: port %u: %s\n", port, strerror(errno));
        return -1;
    }
    return fd;
}

static volatile sig_atomic_t ended;

static void
on_term(int signal_number)
{
    (void)signal_number;
    ended = 1;
}

int
cli_demo_server(int argc, char **argv)
{
    const char *port_text = NULL, *workers_text = "8", *cpu_text = "300", *wait_text = "20000";
    uint64_t port = 0, workers = 0, cpu_us = 0, wait_us = 0;
    int operands = 0;
    const struct cli_option options[] = {
        {"--port", NULL, .text = &port_text, .words = "loopback port to listen on"},
        {"--workers", NULL, .text = &workers_text, .words = "requests worked on at a time (8)"},
        {"--cpu-us", NULL, .text = &cpu_text, .words = "CPU time of one request (300)"},
        {"--wait-us", NULL, .text = &wait_text, .words = "waiting time of one request (20000)"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (port_text == NULL || operands > 0)
        return cli_usage("demo-server", "--port is needed");
    if (!cli_number("demo-server", "--port", port_text, 1, 65535, &port) ||
        !cli_number("demo-server", "--workers", workers_text, 1, 256, &workers) ||
        !cli_number("demo-server", "--cpu-us", cpu_text, 0, 10000000, &cpu_us) ||
        !cli_number("demo-server", "--wait-us", wait_text, 0, 10000000, &wait_us))
        return CLI_USAGE;
    static struct demo_server server; /* outlives main's frame: threads are detached */
    const struct sigaction action = {.sa_handler = on_term};
    sigaction(SIGTERM, &action, NULL);
    int fd = listen_on((uint16_t)port);
    if (fd < 0 || sem_init(&server.turns, 0, (unsigned)workers) != 0)
        return CLI_FAILED;
    server.rounds = calibrate((int64_t)cpu_us);
    server.wait_us = (int64_t)wait_us;
    while (!ended) {
        int client = accept(fd, NULL, NULL);
        if (client >= 0)
            take_connection(&server, client);
    }
    (void)close(fd); /* ends with the process anyway */
    return CLI_DONE;
}
