/* SPDX-License-Identifier: Apache-2.0 */
/*
 * floor.c - the least that this kernel lets a server spend: a canned answer to whatever ends in an
 * empty line. Nothing is parsed, nothing is looked up, nothing times out.
 *
 * usage: floor epoll|sendfile|relay PORT BYTES [ORIGIN_PORT]
 *   epoll     recv and send
 *   sendfile  recv, and head and body from a file in memory
 *   relay     recv and send both ways, a connection to the origin for each client
 */
#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define FDS 65536
#define RECV_BYTES 16384
#define HEAD_BYTES 512

struct floor {
    char how; /* the first letter of it */
    int epoll_fd, listener, file;
    uint16_t origin_port;
    char *answers[2]; /* kept, closed */
    size_t answer_bytes[2];
    int peer[FDS]; /* of a relayed connection: the other one; else 0 */
};

static struct sockaddr_in
local(uint16_t port)
{
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void
make_answers(struct floor *f, size_t body_bytes)
{
    for (int i = 0; i < 2; i++) {
        f->answers[i] = fr_xalloc(HEAD_BYTES + body_bytes);
        int head = snprintf(f->answers[i], HEAD_BYTES,
                            "HTTP/1.1 200 OK\r\nServer: floor\r\n"
                            "Date: Mon, 01 Jan 2024 00:00:00 GMT\r\nContent-Type: text/plain\r\n"
                            "Content-Length: %zu\r\nCache-Control: max-age=86400\r\nAge: 1\r\n"
                            "Connection: %s\r\n\r\n",
                            body_bytes, i ? "close" : "keep-alive");
        memset(f->answers[i] + head, 'x', body_bytes);
        f->answer_bytes[i] = (size_t)head + body_bytes;
    }
    f->file = memfd_create("answer", MFD_CLOEXEC);
    fr_require(write(f->file, f->answers[0], f->answer_bytes[0]) == (ssize_t)f->answer_bytes[0]);
}

static void
watch(const struct floor *f, int fd)
{
    int on = 1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    struct epoll_event event = {EPOLLIN | EPOLLET, {.fd = fd}};
    fr_require(epoll_ctl(f->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void
on_accept(struct floor *f)
{
    int fd;
    while ((fd = accept4(f->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        fr_require(fd < FDS);
        f->peer[fd] = 0;
        watch(f, fd);
        if (f->how != 'r')
            continue;
        struct sockaddr_in origin = local(f->origin_port);
        int up = socket(AF_INET, SOCK_STREAM, 0);
        fr_require(up >= 0 && up < FDS);
        fr_require(connect(up, (struct sockaddr *)&origin, sizeof(origin)) == 0);
        f->peer[fd] = up;
        f->peer[up] = fd;
        watch(f, up);
    }
}

static void
end(struct floor *f, int fd)
{
    int other = f->peer[fd];
    close(fd);
    if (other > 0)
        close(other);
    f->peer[fd] = f->peer[other] = 0;
}

/* An answer that the kernel does not take at once waits in this thread: its reader is next door. */
static void
send_all(struct floor *f, int fd, const char *data, size_t bytes)
{
    off_t at = 0;
    while ((size_t)at < bytes) {
        ssize_t sent = f->how == 's' ? sendfile(fd, f->file, &at, bytes - (size_t)at)
                                     : send(fd, data + at, bytes - (size_t)at, MSG_NOSIGNAL);
        if (sent > 0 && f->how != 's')
            at += sent;
        else if (sent <= 0 && errno != EAGAIN)
            return;
    }
}

static void
on_input(struct floor *f, int fd)
{
    char data[RECV_BYTES];
    ssize_t got = recv(fd, data, sizeof(data), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        end(f, fd);
        return;
    }
    if (f->peer[fd] > 0) {
        send_all(f, f->peer[fd], data, (size_t)got);
        return;
    }
    bool closing = memmem(data, (size_t)got, "\r\nConnection: close", 19) != NULL;
    for (char *at = data; (at = memmem(at, (size_t)(data + got - at), "\r\n\r\n", 4)); at += 4)
        send_all(f, fd, f->answers[closing], f->answer_bytes[closing]);
    if (closing)
        end(f, fd);
}

int
main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    int on = 1;
    (void)signal(SIGPIPE, SIG_IGN); /* sendfile has no way to ask for silence */
    if (argc < 4) {
        (void)fputs("usage: floor epoll|sendfile|relay PORT BYTES [ORIGIN_PORT]\n", stderr);
        return 2;
    }
    struct floor *f = fr_xalloc(sizeof(*f));
    struct sockaddr_in addr = local((uint16_t)strtoul(argv[2], NULL, 10));
    f->how = argv[1][0];
    f->origin_port = argc > 4 ? (uint16_t)strtoul(argv[4], NULL, 10) : 0;
    make_answers(f, strtoul(argv[3], NULL, 10));
    f->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    f->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    (void)setsockopt(f->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    fr_require(bind(f->listener, (struct sockaddr *)&addr, sizeof(addr)) == 0);
    fr_require(listen(f->listener, 4096) == 0);
    watch(f, f->listener);
    for (;;) {
        int count = epoll_wait(f->epoll_fd, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            if (events[i].data.fd == f->listener)
                on_accept(f);
            else
                on_input(f, events[i].data.fd);
        }
    }
}
