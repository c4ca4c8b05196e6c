/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_client.c - a blocking HTTP client for one request.
 *
 * May touch:  base, loop (addresses), http. Reads the clock.
 * Threads:    any; blocks, so tools only.
 * Limits:     the answer's head by http_limits_default, its body by the caller's buffer, all of it
 *             by timeout_us; HTTP_INTERIM_MAX interim answers.
 * Trusts:     nothing the server sends.
 * Follows:    RFC 9112.
 */
#include "cli/cli_client.h"

#include "base/fr_file.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "http/http.h"
#include "loop/loop_addr.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/time.h>
#include <unistd.h>

#define CLIENT_READ_BYTES 16384
#define CLIENT_IN_BYTES_MAX ((size_t)1 << 20)
#define CLIENT_HEAD_BYTES_MAX 16384 /* of the request */

struct client {
    const char *address_text; /* without "https://" */
    bool https;
    struct cli_access access;
    struct cli_tls *tls; /* NULL: in the clear */
    int fd;
    int64_t deadline_us;
    bool sent_head;
    struct fr_buf in;
    struct http_head head;
    struct http_body body;
    char *why;
    size_t why_bytes;
};

static enum fr_err
failed(struct client *client, enum fr_err err, const char *what, const char *words)
{
    (void)snprintf(client->why, client->why_bytes, "%s %s: %s", what, client->address_text, words);
    return err;
}

static enum fr_err
failed_errno(struct client *client, const char *what, int error)
{
    char words[128];
    /* What a blocking socket says when its time is over (socket(7), SO_RCVTIMEO). */
    if (error == EAGAIN || error == EINPROGRESS || error == ETIMEDOUT)
        return failed(client, FR_ERR_TIMEOUT, what, "no answer in time");
    enum fr_err err = fr_err_from_errno(error);
    if (error == ECONNREFUSED)
        err = FR_ERR_REFUSED;
    else if (error == EPIPE || error == ECONNRESET)
        err = FR_ERR_CLOSED;
    return failed(client, err, what, strerror_r(error, words, sizeof(words)));
}

/* Of TLS it says the reason: who is refused after a handshake of TLS 1.3 learns it here. */
static enum fr_err
failed_call(struct client *client, const char *what, int error)
{
    return client->tls && error == EPROTO
               ? failed(client, FR_ERR_BAD_PEER, what, cli_tls_why(client->tls))
               : failed_errno(client, what, error);
}

/* Gives the next call on the socket the time that is left; false when none is. */
static bool
arm(struct client *client)
{
    int64_t left_us = client->deadline_us - fr_clock_mono_us();
    struct timeval left = {.tv_sec = left_us / FR_US_PER_S, .tv_usec = left_us % FR_US_PER_S};
    return left_us > 0 &&
           setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &left, sizeof(left)) == 0 &&
           setsockopt(client->fd, SOL_SOCKET, SO_SNDTIMEO, &left, sizeof(left)) == 0;
}

/* ":8080" is where a server listens, on every interface; asked, it is this machine. */
static void
point_at_loopback(struct loop_addr *addr)
{
    struct sockaddr_in6 six;
    struct sockaddr_in four;
    if (addr->sa.any.sa_family == AF_INET6) {
        memcpy(&six, &addr->sa, sizeof(six));
        if (!IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr))
            return;
        four = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = six.sin6_port};
    } else if (addr->sa.any.sa_family == AF_INET) {
        memcpy(&four, &addr->sa, sizeof(four));
        if (four.sin_addr.s_addr != htonl(INADDR_ANY))
            return;
    } else {
        return;
    }
    four.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(addr, 0, sizeof(*addr));
    memcpy(&addr->sa, &four, sizeof(four));
    addr->len = sizeof(four);
}

static enum fr_err
secure(struct client *client)
{
    char host[256], words[200];
    struct fr_view rest = fr_view_of(client->address_text);
    const char *colon = strrchr(client->address_text, ':');
    if (colon)
        rest.len = (size_t)(colon - client->address_text);
    if (rest.len > 1 && rest.ptr[0] == '[') /* of an IPv6 address */
        rest = fr_view_make(rest.ptr + 1, rest.len - 2);
    if (rest.len == 0)
        rest = FR_VIEW("localhost");
    if (!fr_view_copy(rest, host, sizeof(host)))
        return failed(client, FR_ERR_SYNTAX, "cannot connect to", "not an address");
    enum fr_err err =
        cli_tls_open(client->fd, &client->access, host, &client->tls, words, sizeof(words));
    return err ? failed(client, err, "cannot connect to", words) : FR_OK;
}

static enum fr_err
open_connection(struct client *client)
{
    static const char what[] = "cannot connect to";
    struct loop_addr addr;
    enum fr_err err = loop_addr_resolve(fr_view_of(client->address_text), &addr);
    if (err)
        return failed(client, err, what,
                      err == FR_ERR_SYNTAX ? "not an address" : fr_err_words(err));
    point_at_loopback(&addr);
    client->fd = socket(addr.sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return failed_errno(client, what, errno);
    if (!arm(client))
        return failed_errno(client, what, ETIMEDOUT);
    if (connect(client->fd, &addr.sa.any, addr.len) != 0)
        return failed_errno(client, what, errno);
    return client->https ? secure(client) : FR_OK;
}

static enum fr_err
send_all(struct client *client, struct fr_view bytes)
{
    while (bytes.len > 0) {
        if (!arm(client))
            return failed_errno(client, "cannot send to", ETIMEDOUT);
        ssize_t sent = client->tls ? cli_tls_send(client->tls, bytes.ptr, bytes.len)
                                   : send(client->fd, bytes.ptr, bytes.len, MSG_NOSIGNAL);
        if (sent < 0 && errno != EINTR)
            return failed_call(client, "cannot send to", errno);
        if (sent > 0)
            bytes = fr_view_make(bytes.ptr + sent, bytes.len - (size_t)sent);
    }
    return FR_OK;
}

/* What stands in a request line must not end it. */
static bool
is_clean(const char *text)
{
    for (const char *at = text; *at; at++)
        if ((unsigned char)*at <= 0x20 || (unsigned char)*at >= 0x7f)
            return false;
    return *text != '\0';
}

/* The file's first line, as a bearer token (RFC 6750 section 2.1). */
static enum fr_err
put_token(const struct client *client, struct fr_buf *head)
{
    struct fr_buf text;
    struct fr_view rest, line = {NULL, 0};
    fr_buf_init(&text, 4096);
    enum fr_err err = fr_file_read(client->access.token_file, &text, NULL);
    rest = fr_buf_view(&text);
    if (!err && (!fr_view_split(&rest, '\n', &line) || fr_view_trim(line).len == 0))
        err = FR_ERR_SYNTAX;
    line = fr_view_trim(line);
    if (!err)
        err = fr_buf_printf(head, "Authorization: Bearer %.*s\r\n", FR_VIEW_ARG(line));
    fr_buf_fini(&text);
    return err;
}

static enum fr_err
send_request(struct client *client, const char *method, const char *path_and_query,
             struct fr_view body)
{
    struct fr_buf head;
    bool is_unix = strncmp(client->address_text, "unix:", 5) == 0;
    bool is_xml = body.len > 0 && body.ptr[0] == '<';
    if (!http_is_token(fr_view_of(method)) || !is_clean(path_and_query) || path_and_query[0] != '/')
        return failed(client, FR_ERR_SYNTAX, "cannot ask", "not a method and a path");
    fr_buf_init(&head, CLIENT_HEAD_BYTES_MAX);
    enum fr_err err =
        fr_buf_printf(&head, "%s %s HTTP/1.1\r\nHost: %s%s\r\nConnection: close\r\n", method,
                      path_and_query, !is_unix && client->address_text[0] == ':' ? "localhost" : "",
                      is_unix ? "localhost" : client->address_text);
    if (!err && client->access.token_file)
        err = put_token(client, &head);
    if (!err && body.len > 0)
        err = fr_buf_printf(&head, "Content-Type: application/%s\r\n", is_xml ? "xml" : "json");
    if (!err && (body.len > 0 || strcmp(method, "GET") != 0))
        err = fr_buf_printf(&head, "Content-Length: %zu\r\n", body.len);
    if (!err)
        err = fr_buf_append(&head, "\r\n", 2);
    if (err)
        err = failed(client, err, "cannot ask", fr_err_words(err));
    else
        err = send_all(client, fr_buf_view(&head));
    /* Over TLS the alert may be there that says why it is closed. */
    client->sent_head = err == FR_OK || client->tls;
    if (!err)
        err = send_all(client, body);
    fr_buf_fini(&head);
    return err;
}

/* Appends what comes next; *out_ended when nothing will. */
static enum fr_err
receive(struct client *client, bool *out_ended)
{
    char bytes[CLIENT_READ_BYTES];
    ssize_t got;
    do {
        if (!arm(client))
            return failed_errno(client, "cannot read from", ETIMEDOUT);
        got = client->tls ? cli_tls_recv(client->tls, bytes, sizeof(bytes))
                          : recv(client->fd, bytes, sizeof(bytes), 0);
    } while (got < 0 && errno == EINTR);
    if (got < 0)
        return failed_call(client, "cannot read from", errno);
    *out_ended = got == 0;
    enum fr_err err = fr_buf_append(&client->in, bytes, (size_t)got);
    return err ? failed(client, err, "cannot read from", fr_err_words(err)) : FR_OK;
}

/* The head of the final answer; interim ones are passed over (RFC 9110 section 15.2). */
static enum fr_err
read_head(struct client *client)
{
    size_t scanned = 0;
    int interim = 0;
    for (;;) {
        struct http_err http_err = {0};
        enum http_step step = HTTP_MORE;
        bool ended = false;
        if (client->in.len > 0)
            step = http_response_parse(fr_buf_view(&client->in), &http_limits_default, &scanned,
                                       &client->head, &http_err);
        if (step == HTTP_BAD)
            return failed(client, FR_ERR_BAD_PEER, "bad answer from", http_err.words);
        if (step == HTTP_DONE) {
            fr_buf_consume(&client->in, client->head.head_bytes);
            scanned = 0;
            if (client->head.status >= 200)
                return FR_OK;
            if (++interim > HTTP_INTERIM_MAX)
                return failed(client, FR_ERR_BAD_PEER, "bad answer from", "no final answer");
            continue;
        }
        enum fr_err err = receive(client, &ended);
        if (err)
            return err;
        if (ended)
            return failed(client, FR_ERR_CLOSED, "no answer from", "it closed the connection");
    }
}

/* Takes apart what has arrived of the body. */
static enum fr_err
decode(struct client *client, struct fr_buf *out_body, bool *out_done)
{
    size_t at = 0, used = 0;
    enum http_step step;
    do {
        struct fr_view rest = fr_view_make(client->in.data + at, client->in.len - at), data = {0};
        struct http_err http_err = {0};
        step = http_body_decode(&client->body, rest, &used, &data, &http_err);
        if (step == HTTP_BAD)
            return failed(client, FR_ERR_BAD_PEER, "bad answer from", http_err.words);
        enum fr_err err = fr_buf_append_view(out_body, data);
        if (err)
            return failed(client, err, "too long an answer from", fr_err_words(err));
        at += used;
    } while (step == HTTP_MORE && used > 0 && at < client->in.len);
    fr_buf_consume(&client->in, at);
    *out_done = step == HTTP_DONE;
    return FR_OK;
}

static enum fr_err
read_body(struct client *client, enum http_method method, struct fr_buf *out_body)
{
    enum http_framing framing = http_response_framing(&client->head, method);
    bool done = framing == HTTP_BODY_NONE;
    http_body_init(&client->body, framing, client->head.content_length);
    while (!done) {
        bool ended = false;
        enum fr_err err = decode(client, out_body, &done);
        if (!err && !done)
            err = receive(client, &ended);
        if (err)
            return err;
        if (ended && http_body_closed(&client->body))
            return FR_OK;
        if (ended)
            return failed(client, FR_ERR_CLOSED, "half an answer from", "it closed the connection");
    }
    return FR_OK;
}

enum fr_err
cli_http(const char *address_text, const char *method, const char *path_and_query,
         struct fr_view body, int64_t timeout_us, int *out_status, struct fr_buf *out_body,
         char *out_why, size_t why_bytes)
{
    return cli_https(NULL, address_text, method, path_and_query, body, timeout_us, out_status,
                     out_body, out_why, why_bytes);
}

enum fr_err
cli_https(const struct cli_access *access, const char *address_text, const char *method,
          const char *path_and_query, struct fr_view body, int64_t timeout_us, int *out_status,
          struct fr_buf *out_body, char *out_why, size_t why_bytes)
{
    static const char scheme[] = "https://";
    bool https = strncmp(address_text, scheme, sizeof(scheme) - 1) == 0;
    struct client client = {.address_text = address_text + (https ? sizeof(scheme) - 1 : 0),
                            .https = https,
                            .access = access ? *access : cli_access_of_environment(),
                            .fd = -1,
                            .deadline_us = fr_clock_mono_us() + timeout_us,
                            .why = out_why,
                            .why_bytes = why_bytes};
    bool is_head = strcmp(method, "HEAD") == 0;
    fr_buf_init(&client.in, CLIENT_IN_BYTES_MAX);
    enum fr_err err = open_connection(&client);
    if (!err)
        err = send_request(&client, method, path_and_query, body);
    /* A server that refuses a body closes before it has all of it, yet has answered. */
    if (!err || (err == FR_ERR_CLOSED && client.sent_head))
        err = read_head(&client);
    if (!err)
        err = read_body(&client, is_head ? HTTP_HEAD : HTTP_GET, out_body);
    if (!err)
        *out_status = client.head.status;
    cli_tls_close(&client.tls);
    fr_buf_fini(&client.in);
    if (client.fd >= 0)
        close(client.fd);
    return err;
}
