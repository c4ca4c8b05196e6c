/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_proxy_forward.c - requests and responses through the proxy: heads, bodies, framing, order.
 */
#include "proxy_fixture.h"

/* Reads requests and answers each with a body that repeats what came: head and body. */
static bool
echo_body(int fd, const char *head, char *body, size_t cap, size_t *out_len)
{
    const char *length = strcasestr(head, "\r\nContent-Length: ");
    *out_len = 0;
    if (length) {
        *out_len = strtoul(length + 18, NULL, 10);
        return *out_len < cap && sock_read(fd, body, cap, NULL, *out_len) == *out_len;
    }
    if (!strcasestr(head, "\r\nTransfer-Encoding: chunked\r\n"))
        return true;
    struct answer chunked = {0};
    chunked.body = calloc(1, 1);
    bool ok = answer_read_chunked(fd, &chunked) && chunked.body_len < cap;
    if (ok)
        memcpy(body, chunked.body, chunked.body_len);
    *out_len = chunked.body_len;
    answer_free(&chunked);
    return ok;
}

static void
echo(struct origin *origin, int fd)
{
    static const size_t cap = 4 << 20;
    char *head = malloc(65536), *body = malloc(cap), line[128];
    size_t body_len;
    for (;;) {
        if (sock_read(fd, head, 65536, "\r\n\r\n", 0) == 0 || !strstr(head, "\r\n\r\n") ||
            !echo_body(fd, head, body, cap, &body_len))
            break;
        origin->requests++;
        (void)snprintf(line, sizeof(line), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
                       strlen(head) + body_len);
        if (!sock_text(fd, line) || (strncmp(head, "HEAD ", 5) != 0 &&
                                     (!sock_text(fd, head) || !sock_write(fd, body, body_len))))
            break;
    }
    free(head);
    free(body);
}

struct world {
    struct fixture f;
    struct origin *origin;
};

static void
world_start(struct world *w, origin_fn fn, void *ctx)
{
    fixture_init(&w->f);
    w->origin = origin_new(fn, ctx);
    (void)fixture_member(&w->f, w->origin);
    fixture_start(&w->f);
}

static void
world_fini(struct world *w)
{
    fixture_fini(&w->f);
    origin_free(w->origin);
}

static void
a_request_goes_through(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_start(&w, echo, NULL);
    ask(&w.f,
        "GET /a?b=c HTTP/1.1\r\nHost: Example.com:81\r\nX-One: 1\r\nConnection: X-Hop\r\n"
        "X-Hop: no\r\nX-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: spoof\r\n"
        "Via: 1.0 before\r\nTE: trailers\r\n\r\n",
        &answer);
    assert_int_equal(answer.status, 200);
    assert_true(answer.whole);
    assert_string_equal(answer.body,
                        "GET /a?b=c HTTP/1.1\r\nHost: Example.com:81\r\nX-One: 1\r\n"
                        "Via: 1.0 before\r\nX-Forwarded-For: 127.0.0.1\r\n"
                        "X-Forwarded-Proto: http\r\nX-Forwarded-Host: Example.com:81\r\n"
                        "Via: 1.1 freshet\r\nTE: trailers\r\nConnection: TE\r\n\r\n");
    assert_non_null(strstr(answer.head, "\r\nVia: 1.1 freshet\r\n"));
    assert_non_null(strstr(answer.head, "\r\nDate: "));
    answer_free(&answer);
    world_fini(&w);
}

static void
a_connection_is_kept_on_both_sides(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_start(&w, echo, NULL);
    int fd = sock_connect(&w.f.bound);
    for (int i = 0; i < 20; i++) {
        assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        answer_read(fd, "GET", &answer);
        assert_int_equal(answer.status, 200);
        assert_true(answer.whole);
        answer_free(&answer);
    }
    assert_int_equal(w.origin->connections, 1);
    assert_int_equal(w.origin->requests, 20);
    struct proxy_counters c = fixture_counters(&w.f);
    assert_int_equal(c.connections_accepted, 1);
    assert_int_equal(c.member_connects, 1);
    assert_int_equal(c.member_reuses, 19);
    assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
    answer_read(fd, "GET", &answer);
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    assert_true(sock_ended(fd));
    answer_free(&answer);
    close(fd);
    world_fini(&w);
}

static void
pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    char expected[64], *text = malloc(200 * 64);
    size_t len = 0;
    world_start(&w, echo, NULL);
    for (int i = 0; i < 200; i++)
        len += (size_t)sprintf(text + len,
                               "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello", i);
    int fd = sock_connect(&w.f.bound);
    assert_true(sock_write(fd, text, len));
    for (int i = 0; i < 200; i++) {
        answer_read(fd, "POST", &answer);
        (void)snprintf(expected, sizeof(expected), "POST /%d HTTP/1.1\r\n", i);
        assert_int_equal(answer.status, 200);
        assert_memory_equal(answer.body, expected, strlen(expected));
        assert_string_equal(answer.body + answer.body_len - 5, "hello");
        answer_free(&answer);
    }
    close(fd);
    free(text);
    world_fini(&w);
}

static const char cut_request[] = "PUT /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
                                  "5;x=y\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n"
                                  "Cookie: X-T\r\n\r\n";

static void
a_request_cut_at_every_byte_is_the_same(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_start(&w, echo, NULL);
    int fd = sock_connect(&w.f.bound);
    for (size_t at = 1; at < sizeof(cut_request) - 1; at++) {
        assert_true(sock_write(fd, cut_request, at));
        (void)poll(NULL, 0, 2); /* so that the two parts are likely to be two receives */
        assert_true(sock_write(fd, cut_request + at, sizeof(cut_request) - 1 - at));
        answer_read(fd, "PUT", &answer);
        assert_int_equal(answer.status, 200);
        assert_string_equal(answer.body + answer.body_len - 11, "hello world");
        assert_null(strstr(answer.body, "X-T"));
        answer_free(&answer);
    }
    assert_true(sock_text(fd, "GET / HTTP/1.1\r\n"));
    for (const char *c = "Host: a\r\n\r\n"; *c; c++) {
        (void)poll(NULL, 0, 1);
        assert_true(sock_write(fd, c, 1));
    }
    answer_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    close(fd);
    world_fini(&w);
}

/* ---- responses ------------------------------------------------------------------------------ */

struct script { /* what the origin answers to each request, and whether it closes then */
    const char *parts[8];
    bool keep;
};

static void
play(struct origin *origin, int fd)
{
    const struct script *script = origin->ctx;
    char head[65536];
    do {
        if (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) == 0)
            return;
        origin->requests++;
        for (int i = 0; script->parts[i]; i++) {
            if (i > 0)
                (void)poll(NULL, 0, 3);
            if (!sock_text(fd, script->parts[i]))
                return;
        }
    } while (script->keep);
}

/* Asks the same twice on one connection (1.1) and once as 1.0. */
static void
play_and_expect(const struct script *script, const char *method, int status, const char *body,
                bool kept)
{
    struct world w;
    struct answer answer;
    char request[128];
    world_start(&w, play, (void *)(uintptr_t)script);
    int fd = sock_connect(&w.f.bound);
    (void)snprintf(request, sizeof(request), "%s / HTTP/1.1\r\nHost: a\r\n\r\n", method);
    for (int i = 0; i < 2; i++) {
        assert_true(sock_text(fd, request));
        answer_read(fd, method, &answer);
        assert_int_equal(answer.status, status);
        assert_true(answer.whole);
        assert_string_equal(answer.body, body);
        answer_free(&answer);
    }
    close(fd);
    assert_int_equal(w.origin->connections, kept ? 1 : 2);
    (void)snprintf(request, sizeof(request), "%s / HTTP/1.0\r\n\r\n", method);
    ask(&w.f, request, &answer);
    assert_int_equal(answer.status, status);
    assert_true(answer.whole);
    assert_string_equal(answer.body, body);
    assert_null(strcasestr(answer.head, "chunked"));
    answer_free(&answer);
    world_fini(&w);
}

static void
response_framings(void **state)
{
    (void)state;
    static const struct script length = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01", "23456", "789"}, true};
    static const struct script chunked = {
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r", "\n01234\r\n", "5;q=\"x\"\r\n",
         "56789\r\n0\r\n", "\r\n"},
        true};
    static const struct script to_close = {{"HTTP/1.1 200 OK\r\n\r\n01", "23456", "789"}, false};
    static const struct script old = {{"HTTP/1.0 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"},
                                      false};
    static const struct script empty = {{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}, true};
    static const struct script none = {{"HTTP/1.1 204 No Content\r\n\r\n"}, true};
    static const struct script same = {{"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"},
                                       true};
    play_and_expect(&length, "GET", 200, "0123456789", true);
    play_and_expect(&chunked, "GET", 200, "0123456789", true);
    play_and_expect(&to_close, "GET", 200, "0123456789", false);
    play_and_expect(&old, "GET", 200, "0123456789", false);
    play_and_expect(&empty, "GET", 200, "", true);
    play_and_expect(&none, "GET", 204, "", true);
    play_and_expect(&same, "GET", 304, "", true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_goes_through),
        cmocka_unit_test(a_connection_is_kept_on_both_sides),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_request_cut_at_every_byte_is_the_same),
        cmocka_unit_test(response_framings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
