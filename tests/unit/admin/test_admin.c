/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_admin.c - the admin server over a real Unix socket.
 */
#include "admin/admin_priv.h"
#include "base/fr_mem.h"
#include "http/http.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WATCHDOG_US 40000000LL
#define BODY_BYTES_MAX 1000

struct bed {
    struct loop *loop;
    struct loop_timer watchdog, pause;
    char folder[64];
    struct loop_addr addr;
    struct admin *admin;
    struct admin_exchange *kept; /* by the handler of /later */
    bool free_in_handler;
    int handled;
    char seen[256]; /* by the last handler */
    int other_fd;
    char other_bytes[64];
};

struct client {
    struct bed *bed;
    struct loop_sock sock;
    struct fr_buf in;
    int answers_wanted; /* the loop stops then, or at the end */
    bool head_only;
    bool connected, ended;
};

/* ---- handlers ------------------------------------------------------------------------------ */

static void
on_echo(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct bed *bed = ctx;
    char text[2048];
    bed->handled++;
    (void)snprintf(text, sizeof(text), "%.*s %.*s ?%.*s type=%.*s body=%.*s",
                   FR_VIEW_ARG(request->method), FR_VIEW_ARG(request->path),
                   FR_VIEW_ARG(request->query), FR_VIEW_ARG(request->content_type),
                   FR_VIEW_ARG(request->body));
    admin_answer(exchange, 200, "text/plain", fr_view_of(text));
}

static void
on_later(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct bed *bed = ctx;
    (void)request;
    bed->handled++;
    bed->kept = exchange;
    loop_stop(bed->loop);
}

static void
on_fail(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct bed *bed = ctx;
    bed->handled++;
    admin_answer_error(exchange, 409, "no \"%.*s\" here\n\x01", FR_VIEW_ARG(request->path));
}

static void
on_nothing(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct bed *bed = ctx;
    (void)request;
    bed->handled++;
    admin_answer(exchange, 204, NULL, fr_view_make(NULL, 0));
}

static void
on_big(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct bed *bed = ctx;
    size_t bytes = (size_t)4 << 20;
    char *body = fr_xalloc(bytes);
    (void)request;
    bed->handled++;
    memset(body, 'b', bytes);
    admin_answer(exchange, 200, "text/plain", fr_view_make(body, bytes));
    fr_free(body);
}

static void
on_quit(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct bed *bed = ctx;
    (void)exchange;
    (void)request;
    bed->handled++;
    admin_free(&bed->admin);
}

static const struct admin_route routes[] = {
    {"GET", "/echo", on_echo},    {"POST", "/echo", on_echo},   {"PUT", "/echo", on_echo},
    {"GET", "/files/", on_echo},  {"GET", "/files/deep/", on_nothing},
    {"GET", "/later", on_later},  {"POST", "/later", on_later}, {"GET", "/fail", on_fail},
    {"DELETE", "/nothing", on_nothing},
    {"GET", "/big", on_big},      {"POST", "/quit", on_quit},   {NULL, NULL, NULL},
};

/* ---- the bed ------------------------------------------------------------------------------- */

static void
on_watchdog(void *ctx)
{
    (void)ctx;
    fail_msg("the loop waited in vain");
}

static void
on_pause(void *ctx)
{
    loop_stop(ctx);
}

static void
bed_open(struct bed *bed)
{
    char text[128];
    int fd, error;
    memset(bed, 0, sizeof(*bed));
    bed->other_fd = -1;
    assert_int_equal(loop_new(NULL, &bed->loop), FR_OK);
    loop_timer_start(bed->loop, &bed->watchdog, WATCHDOG_US, on_watchdog, NULL);
    (void)snprintf(bed->folder, sizeof(bed->folder), "/tmp/test-admin-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    (void)snprintf(text, sizeof(text), "unix:%s/sock", bed->folder);
    assert_int_equal(loop_addr_parse(fr_view_of(text), &bed->addr), FR_OK);
    assert_int_equal(loop_bind(&bed->addr, false, &fd, &error), FR_OK);
    assert_int_equal(admin_new(bed->loop, fd, routes, BODY_BYTES_MAX, bed, &bed->admin), FR_OK);
    assert_true(loop_addr_equal(admin_addr(bed->admin), &bed->addr));
}

static void
bed_close(struct bed *bed)
{
    admin_free(&bed->admin);
    admin_free(&bed->admin); /* NULL is accepted */
    loop_free(&bed->loop);
    assert_int_equal(rmdir(bed->folder), 0); /* the socket's file is gone */
}

static void
bed_settle(struct bed *bed)
{
    loop_timer_start(bed->loop, &bed->pause, 5000, on_pause, bed->loop);
    assert_int_equal(loop_run(bed->loop), FR_OK);
}

/* ---- the client ---------------------------------------------------------------------------- */

/* The nth whole answer in what came: its status, 0 while it is not there. *out_body and *out_head
 * may be NULL. */
static int
answer_at(const struct client *client, int n, struct fr_view *out_head, struct fr_view *out_body)
{
    static struct http_head head;
    struct fr_view rest = fr_buf_view(&client->in);
    for (int i = 0; rest.len > 0; i++) {
        struct http_err err;
        size_t scanned = 0;
        enum http_step step =
            http_response_parse(rest, &http_limits_default, &scanned, &head, &err);
        if (step == HTTP_BAD)
            fail_msg("bad answer: %s", err.words);
        if (step == HTTP_MORE)
            return 0;
        size_t body = head.framing == HTTP_BODY_LENGTH && !client->head_only && head.status != 204
                          ? (size_t)head.content_length
                          : 0;
        if (rest.len < head.head_bytes + body)
            return 0;
        if (i == n) {
            if (out_head)
                *out_head = fr_view_make(rest.ptr, head.head_bytes);
            if (out_body)
                *out_body = fr_view_make(rest.ptr + head.head_bytes, body);
            return head.status;
        }
        rest = fr_view_make(rest.ptr + head.head_bytes + body, rest.len - head.head_bytes - body);
    }
    return 0;
}

static void
client_recv(void *ctx, struct loop_buf *buf, int status)
{
    struct client *client = ctx;
    if (status <= 0) {
        client->ended = true;
        loop_stop(client->bed->loop);
        return;
    }
    assert_int_equal(fr_buf_append(&client->in, buf->data, buf->len), FR_OK);
    loop_buf_give_back(buf);
    loop_recv(&client->sock, client_recv, client);
    if (client->answers_wanted && answer_at(client, client->answers_wanted - 1, NULL, NULL))
        loop_stop(client->bed->loop);
}

static void
client_connected(void *ctx, int status)
{
    struct client *client = ctx;
    assert_int_equal(status, 0);
    client->connected = true;
    loop_recv(&client->sock, client_recv, client);
    loop_stop(client->bed->loop);
}

static void
client_open(struct client *client, struct bed *bed)
{
    memset(client, 0, sizeof(*client));
    client->bed = bed;
    fr_buf_init(&client->in, (size_t)16 << 20);
    assert_int_equal(loop_connect(&client->sock, bed->loop, &bed->addr, client_connected, client),
                     FR_OK);
    while (!client->connected)
        assert_int_equal(loop_run(bed->loop), FR_OK);
}

static void
client_close(struct client *client)
{
    loop_close(&client->sock, NULL, NULL);
    fr_buf_fini(&client->in);
    bed_settle(client->bed);
}

static void
client_write(struct client *client, const char *bytes, size_t len)
{
    assert_int_equal(send(client->sock.fd, bytes, len, MSG_NOSIGNAL), len);
}

/* Sends, waits for the answers (or the end, when 0 are wanted), and gives the last one's status. */
static int
ask(struct client *client, const char *text, int answers, struct fr_view *out_body)
{
    client_write(client, text, strlen(text));
    client->answers_wanted = answers;
    fr_buf_clear(&client->in);
    assert_int_equal(loop_run(client->bed->loop), FR_OK);
    return answer_at(client, answers ? answers - 1 : 0, NULL, out_body);
}

static bool
has(const struct client *client, const char *text)
{
    return client->in.data && strstr(client->in.data, text);
}

#define assert_view(view, text)                                                                    \
    do {                                                                                           \
        assert_int_equal((view).len, strlen(text));                                                \
        assert_memory_equal((view).ptr, text, strlen(text));                                       \
    } while (0)

/* ---- tests --------------------------------------------------------------------------------- */

static void
test_keep_alive_and_pipelining(void **state)
{
    struct bed bed;
    struct client client;
    struct fr_view body;
    (void)state;
    bed_open(&bed);
    client_open(&client, &bed);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(&client, "GET /echo?a=1 HTTP/1.1\r\nHost: x\r\n\r\n", 1, &body), 200);
        assert_view(body, "GET /echo ?a=1 type= body=");
        assert_true(has(&client, "\r\nDate: "));
        assert_false(has(&client, "Connection: close"));
    }
    assert_int_equal(ask(&client,
                         "GET /echo?1 HTTP/1.1\r\nHost: x\r\n\r\n"
                         "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
                         "GET /no HTTP/1.1\r\nHost: x\r\n\r\n"
                         "GET /files/a%20b HTTP/1.1\r\nHost: x\r\n\r\n",
                         4, &body),
                     200);
    assert_view(body, "GET /files/a b ? type= body=");
    assert_int_equal(answer_at(&client, 0, NULL, &body), 200);
    assert_view(body, "GET /echo ?1 type= body=");
    assert_int_equal(answer_at(&client, 1, NULL, &body), 200);
    assert_view(body, "POST /echo ? type= body=abc");
    assert_int_equal(answer_at(&client, 2, NULL, &body), 404);
    assert_int_equal(bed.handled, 6);
    /* Asked to close. */
    assert_int_equal(ask(&client, "GET /echo HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 0,
                         &body),
                     200);
    assert_true(client.ended);
    assert_true(has(&client, "Connection: close"));
    client_close(&client);
    bed_close(&bed);
}

static void
test_split_at_every_offset(void **state)
{
    static const char text[] = "POST /echo?q HTTP/1.1\r\nHost: x\r\nContent-Type: a/b\r\n"
                               "Transfer-Encoding: chunked\r\n\r\n"
                               "3;e=1\r\nabc\r\n4\r\ndefg\r\n0\r\nTrail: er\r\n\r\n";
    struct bed bed;
    struct client client;
    struct fr_view body;
    (void)state;
    bed_open(&bed);
    client_open(&client, &bed);
    for (size_t cut = 1; cut < sizeof(text) - 1; cut += cut < 60 ? 7 : 1) {
        client_write(&client, text, cut);
        bed_settle(&bed);
        assert_int_equal(ask(&client, text + cut, 1, &body), 200);
        assert_view(body, "POST /echo ?q type=a/b body=abcdefg");
    }
    client_close(&client);
    bed_close(&bed);
}

static void
test_head(void **state)
{
    struct bed bed;
    struct client client;
    (void)state;
    bed_open(&bed);
    client_open(&client, &bed);
    client.head_only = true;
    assert_int_equal(ask(&client, "HEAD /echo HTTP/1.1\r\nHost: x\r\n\r\n", 1, NULL), 200);
    assert_true(has(&client, "Content-Length: 24\r\n"));
    assert_memory_equal(client.in.data + client.in.len - 4, "\r\n\r\n", 4);
    assert_int_equal(ask(&client, "HEAD /no HTTP/1.1\r\nHost: x\r\n\r\n", 1, NULL), 404);
    assert_memory_equal(client.in.data + client.in.len - 4, "\r\n\r\n", 4);
    client_close(&client);
    bed_close(&bed);
}

static void
test_refusals(void **state)
{
    static const struct {
        const char *text;
        int status;
        bool kept;
        const char *has;
    } rows[] = {
        {"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, true, "no such path"},
        {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 404, true, NULL},
        {"GET /file HTTP/1.1\r\nHost: x\r\n\r\n", 404, true, NULL},
        {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404, true, NULL},
        {"DELETE /echo HTTP/1.1\r\nHost: x\r\n\r\n", 405, true, "Allow: GET, HEAD, POST, PUT\r\n"},
        {"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 405, true, "Allow: DELETE\r\n"},
        {"HEAD /nothing HTTP/1.1\r\nHost: x\r\n\r\n", 405, true, "Allow: DELETE\r\n"},
        {"GET /files/%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400, true, "percent"},
        {"GET /files/%00 HTTP/1.1\r\nHost: x\r\n\r\n", 400, true, "percent"},
        {"GET /files/% HTTP/1.1\r\nHost: x\r\n\r\n", 400, true, "percent"},
        {"POST /no HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", 404, false, NULL},
        {"GET /echo HTTP/1.1\r\n\r\n", 400, false, NULL},
        {"GET /echo\r\n\r\n", 400, false, NULL},
        {"GET /echo HTTP/2.0\r\nHost: x\r\n\r\n", 505, false, NULL},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413, false, NULL},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n",
         413, false, NULL},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400, false,
         NULL},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\nContent-Length: 1\r\n\r\na",
         403, false, NULL},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nOrigin: null\r\n\r\n", 403, true, NULL},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nOrigin: http://X\r\n\r\n", 200, true, NULL},
        {"GET /echo HTTP/1.1\r\nHost: x\r\nOrigin: http://evil\r\n\r\n", 200, true, NULL},
        {"GET /echo HTTP/1.0\r\n\r\n", 200, false, NULL},
        {"<stream/>", 400, false, "not HTTP"},
        {"get /echo HTTP/1.1\r\nHost: x\r\n\r\n", 400, false, "not HTTP"},
    };
    struct bed bed;
    (void)state;
    bed_open(&bed);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client client;
        client_open(&client, &bed);
        client.head_only = strncmp(rows[i].text, "HEAD", 4) == 0;
        if (ask(&client, rows[i].text, rows[i].kept ? 1 : 0, NULL) != rows[i].status)
            fail_msg("row %zu: %s", i, client.in.data ? client.in.data : "nothing");
        assert_int_equal(client.ended, !rows[i].kept);
        assert_int_equal(has(&client, "Connection: close\r\n"), !rows[i].kept);
        if (rows[i].has)
            assert_true(has(&client, rows[i].has));
        client.head_only = false;
        if (rows[i].kept)
            assert_int_equal(ask(&client, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 1, NULL), 200);
        client_close(&client);
    }
    bed_close(&bed);
}

static void
test_routes(void **state)
{
    struct bed bed;
    struct client client;
    (void)state;
    bed_open(&bed);
    client_open(&client, &bed);
    assert_int_equal(ask(&client, "GET /files/ HTTP/1.1\r\nHost: x\r\n\r\n", 1, NULL), 200);
    assert_int_equal(ask(&client, "GET /files/a/b HTTP/1.1\r\nHost: x\r\n\r\n", 1, NULL), 200);
    /* The longer prefix wins. */
    assert_int_equal(ask(&client, "GET /files/deep/b HTTP/1.1\r\nHost: x\r\n\r\n", 1, NULL), 204);
    assert_false(has(&client, "Content-Length"));
    client_close(&client);
    bed_close(&bed);
}

static void
test_limits(void **state)
{
    struct bed bed;
    struct client client;
    char text[20000];
    (void)state;
    bed_open(&bed);
    /* The body's limit to the byte, both framings. */
    for (int over = 0; over < 2; over++) {
        int size = BODY_BYTES_MAX + over, want = over ? 413 : 200;
        client_open(&client, &bed);
        int len = snprintf(text, sizeof(text),
                           "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%0*d", size,
                           size, 1);
        assert_true(len > size);
        assert_int_equal(ask(&client, text, over ? 0 : 1, NULL), want);
        client_close(&client);
        client_open(&client, &bed);
        (void)snprintf(text, sizeof(text),
                       "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "%x\r\n%0*d\r\n0\r\n\r\n",
                       size, size, 1);
        assert_int_equal(ask(&client, text, over ? 0 : 1, NULL), want);
        client_close(&client);
    }
    client_open(&client, &bed);
    (void)snprintf(text, sizeof(text),
                   "GET /echo HTTP/1.1\r\nHost: x\r\nLong: %017000d\r\n\r\n", 1);
    assert_int_equal(ask(&client, text, 0, NULL), 431);
    client_close(&client);
    bed_close(&bed);
}

static void
test_expect_continue(void **state)
{
    struct bed bed;
    struct client client;
    struct fr_view body;
    (void)state;
    bed_open(&bed);
    client_open(&client, &bed);
    assert_int_equal(ask(&client,
                         "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
                         "Expect: 100-continue\r\n\r\n",
                         1, NULL),
                     100);
    assert_int_equal(bed.handled, 0);
    assert_int_equal(ask(&client, "abc", 1, &body), 200);
    assert_view(body, "POST /echo ? type= body=abc");
    /* The body is there already: no need to ask for it. */
    assert_int_equal(ask(&client,
                         "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n"
                         "Expect: 100-continue\r\n\r\nabc",
                         1, NULL),
                     200);
    client_close(&client);
    bed_close(&bed);
}

static void
test_deferred_answer(void **state)
{
    struct bed bed;
    struct client client;
    struct fr_view body;
    (void)state;
    bed_open(&bed);
    client_open(&client, &bed);
    /* The next request waits for the answer. */
    assert_int_equal(ask(&client,
                         "POST /later HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"
                         "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
                         2, NULL),
                     0);
    assert_non_null(bed.kept);
    bed_settle(&bed);
    assert_int_equal(bed.handled, 1);
    admin_answer(bed.kept, 202, NULL, FR_VIEW("{}"));
    assert_int_equal(loop_run(bed.loop), FR_OK);
    assert_int_equal(answer_at(&client, 0, NULL, &body), 202);
    assert_view(body, "{}");
    assert_true(has(&client, "Content-Type: application/json\r\n"));
    assert_int_equal(answer_at(&client, 1, NULL, NULL), 200);
    client_close(&client);
    bed_close(&bed);
}

static void
test_client_leaves_before_the_answer(void **state)
{
    struct bed bed;
    struct client client;
    (void)state;
    bed_open(&bed);
    for (int i = 0; i < 3; i++) {
        client_open(&client, &bed);
        (void)ask(&client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n", 1, NULL);
        client_close(&client);
        admin_answer_error(bed.kept, 500, "%s", "nobody listens");
        bed_settle(&bed);
    }
    /* And when the server ends first: the exchange is gone with it. */
    client_open(&client, &bed);
    (void)ask(&client, "GET /later HTTP/1.1\r\nHost: x\r\n\r\n", 1, NULL);
    admin_free(&bed.admin);
    client_close(&client);
    bed_close(&bed);
}

static void
test_server_ends_inside_a_handler(void **state)
{
    struct bed bed;
    struct client client;
    (void)state;
    bed_open(&bed);
    client_open(&client, &bed);
    assert_int_equal(ask(&client,
                         "POST /quit HTTP/1.1\r\nHost: x\r\n\r\n"
                         "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n",
                         0, NULL),
                     0);
    assert_true(client.ended);
    assert_int_equal(bed.handled, 1);
    client_close(&client);
    bed_close(&bed);
}

static void
test_errors_are_json(void **state)
{
    struct bed bed;
    struct client client;
    struct fr_view body;
    (void)state;
    bed_open(&bed);
    client_open(&client, &bed);
    assert_int_equal(ask(&client, "GET /fail HTTP/1.1\r\nHost: x\r\n\r\n", 1, &body), 409);
    assert_view(body, "{\"error\": \"no \\\"/fail\\\" here\\n\\u0001\"}\n");
    client_close(&client);
    bed_close(&bed);
}

static void
test_big_answer(void **state)
{
    struct bed bed;
    struct client client;
    struct fr_view body;
    (void)state;
    bed_open(&bed);
    client_open(&client, &bed);
    assert_int_equal(ask(&client, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n", 1, &body), 200);
    assert_int_equal(body.len, 4 << 20);
    assert_int_equal(ask(&client, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 1, &body), 200);
    client_close(&client);
    bed_close(&bed);
}

static void
on_other(void *ctx, const struct admin_handed *handed)
{
    struct bed *bed = ctx;
    struct loop_buf *first = handed->first;
    assert_null(handed->filter);
    assert_int_equal(handed->peer->way, ADMIN_WAY_LOCAL);
    bed->other_fd = handed->fd;
    assert_true(first->len < sizeof(bed->other_bytes));
    memcpy(bed->other_bytes, first->data, first->len);
    loop_buf_give_back(first);
    loop_stop(bed->loop);
}

static void
test_other_protocol(void **state)
{
    struct bed bed;
    struct client client;
    char bytes[16];
    (void)state;
    bed_open(&bed);
    admin_on_other(bed.admin, on_other);
    client_open(&client, &bed);
    (void)ask(&client, "<stream>", 1, NULL);
    assert_string_equal(bed.other_bytes, "<stream>");
    client_write(&client, "more", 4);
    bed_settle(&bed);
    assert_int_equal(read(bed.other_fd, bytes, sizeof(bytes)), 4);
    close(bed.other_fd);
    client_close(&client);
    /* HTTP is still served, and only a connection's very first byte decides. */
    client_open(&client, &bed);
    assert_int_equal(ask(&client, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 1, NULL), 200);
    assert_int_equal(ask(&client, "<stream>\r\n\r\n", 0, NULL), 400);
    client_close(&client);
    bed_close(&bed);
}

static void
test_connection_limit(void **state)
{
    enum { LIMIT = 256 };
    struct bed bed;
    struct client *clients = fr_xalloc((LIMIT + 1) * sizeof(*clients));
    struct client *last = &clients[LIMIT];
    (void)state;
    bed_open(&bed);
    for (int i = 0; i <= LIMIT; i++)
        client_open(&clients[i], &bed);
    bed_settle(&bed);
    client_write(last, "GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 31);
    last->answers_wanted = 1;
    bed_settle(&bed);
    assert_int_equal(bed.handled, 0); /* it waits in the backlog */
    loop_close(&clients[0].sock, NULL, NULL);
    assert_int_equal(loop_run(bed.loop), FR_OK);
    while (!answer_at(last, 0, NULL, NULL))
        assert_int_equal(loop_run(bed.loop), FR_OK);
    for (int i = 0; i <= LIMIT; i++) {
        fr_buf_fini(&clients[i].in);
        if (i > 0)
            loop_close(&clients[i].sock, NULL, NULL);
    }
    bed_settle(&bed);
    bed_close(&bed);
    fr_free(clients);
}

/* Ends the loop when the server ends the connection. */
static void
wait_end(struct client *client)
{
    client->answers_wanted = 0;
    while (!client->ended)
        assert_int_equal(loop_run(client->bed->loop), FR_OK);
}

static void
test_deadlines(void **state)
{
    static const struct {
        const char *text;
        int status;
    } rows[] = {
        {"", 0},
        {"GET /echo HTTP/1.1\r\nHost: x\r\n\r\n", 200}, /* then idle */
        {"GET /ec", 408},
        {"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\na", 408},
        {"GET /later HTTP/1.1\r\nHost: x\r\n\r\n", 504},
    };
    struct bed bed;
    (void)state;
    bed_open(&bed);
    admin__set_request_us(bed.admin, 30000);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct client client;
        client_open(&client, &bed);
        client_write(&client, rows[i].text, strlen(rows[i].text));
        wait_end(&client);
        assert_int_equal(answer_at(&client, 0, NULL, NULL), rows[i].status);
        assert_int_equal(answer_at(&client, 1, NULL, NULL), 0);
        client_close(&client);
    }
    admin_answer(bed.kept, 200, NULL, FR_VIEW("too late")); /* dropped */
    bed_close(&bed);
}

/* A client that reads nothing ties nothing up for ever. */
static void
test_deadline_of_sending(void **state)
{
    struct bed bed;
    struct client client;
    (void)state;
    bed_open(&bed);
    admin__set_request_us(bed.admin, 30000);
    client_open(&client, &bed);
    loop_recv_cancel(&client.sock);
    client_write(&client, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n", 30);
    for (int i = 0; i < 20; i++)
        bed_settle(&bed);
    assert_int_equal(bed.handled, 1);
    loop_recv(&client.sock, client_recv, &client);
    wait_end(&client);
    assert_int_equal(answer_at(&client, 0, NULL, NULL), 0); /* not whole */
    client_close(&client);
    bed_close(&bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keep_alive_and_pipelining),
        cmocka_unit_test(test_split_at_every_offset),
        cmocka_unit_test(test_head),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_routes),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_expect_continue),
        cmocka_unit_test(test_deferred_answer),
        cmocka_unit_test(test_client_leaves_before_the_answer),
        cmocka_unit_test(test_server_ends_inside_a_handler),
        cmocka_unit_test(test_errors_are_json),
        cmocka_unit_test(test_big_answer),
        cmocka_unit_test(test_other_protocol),
        cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_deadlines),
        cmocka_unit_test(test_deadline_of_sending),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
