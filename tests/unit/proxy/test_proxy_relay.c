/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_proxy_relay.c - large bodies under back-pressure, bodies that break off, interim and early
 * responses, lines of heads.
 */
#include "proxy_fixture.h"

#define LARGE_BYTES (24u << 20)
#define BUFFERS_MAX 8 /* two a direction and socket, and one in transit */

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
fill_pattern(char *block, size_t len, size_t from)
{
    for (size_t i = 0; i < len; i++)
        block[i] = (char)((from + i) * 31 >> 3);
}

static bool
read_head(int fd, char *head, size_t cap)
{
    (void)sock_read(fd, head, cap, "\r\n\r\n", 0);
    return strstr(head, "\r\n\r\n") != NULL;
}

/* ---- large responses to a slow client -------------------------------------------------------- */

static void
send_large(struct origin *origin, int fd)
{
    char head[4096], *block = malloc(65536);
    bool chunked = origin->ctx != NULL;
    if (read_head(fd, head, sizeof(head)) &&
        sock_text(fd, chunked ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                              : "HTTP/1.1 200 OK\r\nContent-Length: 25165824\r\n\r\n")) {
        for (size_t at = 0; at < LARGE_BYTES; at += 65536) {
            fill_pattern(block, 65536, at);
            if (chunked && !sock_text(fd, "10000\r\n"))
                break;
            if (!sock_write(fd, block, 65536))
                break;
            if (chunked && !sock_text(fd, "\r\n"))
                break;
        }
        if (chunked)
            (void)sock_text(fd, "0\r\n\r\n");
    }
    free(block);
}

static uint64_t
buffers_in_use(const struct fixture *f)
{
    struct loop_counters c;
    proxy_read_loop_counters(f->proxy, 0, &c);
    return c.buf_in_use;
}

static void
a_slow_reader_holds_the_member_back(void **state)
{
    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct world w;
        world_start(&w, send_large, chunked ? "" : NULL);
        int fd = sock_connect(&w.f.bound);
        assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        struct cluster_member_stats *stats = &w.f.members[0]->stats[0];
        /* Nobody reads: what comes in stops far short of the whole, and stays there. */
        uint64_t before = 0;
        for (int same = 0; same < 20;) {
            uint64_t now = cluster_count_get(&stats->bytes_in);
            same = now == before && now > 0 ? same + 1 : 0;
            before = now;
            assert_true(buffers_in_use(&w.f) <= BUFFERS_MAX);
            (void)poll(NULL, 0, 5);
        }
        assert_true(before < LARGE_BYTES);
        struct answer answer;
        answer_read(fd, "GET", &answer);
        assert_true(answer.whole);
        assert_int_equal(answer.body_len, LARGE_BYTES);
        char *block = malloc(65536);
        for (size_t at = 0; at < LARGE_BYTES; at += 65536) {
            fill_pattern(block, 65536, at);
            assert_memory_equal(answer.body + at, block, 65536);
        }
        free(block);
        answer_free(&answer);
        close(fd);
        world_fini(&w);
    }
}

/* ---- large requests to a slow member --------------------------------------------------------- */

struct gate { /* the member reads on when the test says so */
    _Atomic bool open;
    bool chunked;
    size_t got;
    bool right;
};

static void
take_large(struct origin *origin, int fd)
{
    struct gate *gate = origin->ctx;
    char head[4096];
    if (!read_head(fd, head, sizeof(head)))
        return;
    fixture_until(gate->open);
    struct answer body = {0};
    body.body = calloc(1, 1);
    bool ok =
        gate->chunked ? answer_read_chunked(fd, &body) : answer_read_bytes(fd, &body, LARGE_BYTES);
    char *block = malloc(65536);
    gate->got = body.body_len;
    gate->right = ok && body.body_len == LARGE_BYTES;
    for (size_t at = 0; gate->right && at < LARGE_BYTES; at += 65536) {
        fill_pattern(block, 65536, at);
        gate->right = memcmp(body.body + at, block, 65536) == 0;
    }
    free(block);
    answer_free(&body);
    (void)sock_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

struct upload {
    int fd;
    bool chunked;
    _Atomic size_t sent;
};

static void *
upload_main(void *ctx)
{
    struct upload *upload = ctx;
    char *block = malloc(65536);
    for (size_t at = 0; at < LARGE_BYTES; at += 65536) {
        fill_pattern(block, 65536, at);
        if (upload->chunked && !sock_text(upload->fd, "10000\r\n"))
            break;
        if (!sock_write(upload->fd, block, 65536))
            break;
        if (upload->chunked && !sock_text(upload->fd, "\r\n"))
            break;
        upload->sent = at + 65536;
    }
    if (upload->chunked)
        (void)sock_text(upload->fd, "0\r\n\r\n");
    free(block);
    return NULL;
}

static void
a_slow_member_holds_the_client_back(void **state)
{
    (void)state;
    for (int chunked = 0; chunked < 2; chunked++) {
        struct world w;
        struct gate gate = {.chunked = chunked};
        world_start(&w, take_large, &gate);
        int fd = sock_connect(&w.f.bound);
        assert_true(sock_text(fd, chunked ? "POST / HTTP/1.1\r\nHost: a\r\n"
                                            "Transfer-Encoding: chunked\r\n\r\n"
                                          : "POST / HTTP/1.1\r\nHost: a\r\n"
                                            "Content-Length: 25165824\r\n\r\n"));
        struct upload upload = {.fd = fd, .chunked = chunked};
        pthread_t thread;
        assert_int_equal(pthread_create(&thread, NULL, upload_main, &upload), 0);
        size_t before = 0;
        for (int same = 0; same < 20;) {
            size_t now = upload.sent;
            same = now == before && now > 0 ? same + 1 : 0;
            before = now;
            assert_true(buffers_in_use(&w.f) <= BUFFERS_MAX);
            (void)poll(NULL, 0, 5);
        }
        assert_true(before < LARGE_BYTES);
        gate.open = true;
        struct answer answer;
        answer_read(fd, "POST", &answer);
        assert_int_equal(answer.status, 200);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(gate.got, LARGE_BYTES);
        assert_true(gate.right);
        answer_free(&answer);
        close(fd);
        world_fini(&w);
    }
}

/* ---- bodies that break off ------------------------------------------------------------------- */

static void
say_and_close(struct origin *origin, int fd)
{
    char head[4096];
    if (read_head(fd, head, sizeof(head)))
        (void)sock_text(fd, origin->ctx);
}

static void
a_cut_response_never_looks_whole(void **state)
{
    (void)state;
    static const char *const cuts[] = {
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012345678",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n0\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\nzz\r\n",
    };
    for (size_t i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
        for (int old = 0; old < 2; old++) {
            struct world w;
            struct answer answer;
            world_start(&w, say_and_close, (void *)(uintptr_t)cuts[i]);
            ask(&w.f, old ? "GET / HTTP/1.0\r\n\r\n" : "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
                &answer);
            assert_false(answer.status == 200 && answer.whole);
            answer_free(&answer);
            fixture_until(fixture_counters(&w.f).errors == 1);
            struct cluster_member_stats sum;
            cluster_member_sum(w.f.members[0], 0, &sum);
            assert_int_equal(sum.errors, 1);
            assert_int_equal(sum.requests, 1);
            world_fini(&w);
        }
    }
}

static void
a_broken_head_is_502(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "HTTP/1.1 200 OK\r\nContent-Le",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx",
        "SSH-2.0-nothing\r\n",
        "HTTP/1.1 101 Switching Protocols\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    };
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        struct world w;
        struct answer answer;
        world_start(&w, say_and_close, (void *)(uintptr_t)heads[i]);
        ask(&w.f, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", &answer);
        assert_int_equal(answer.status, 502);
        assert_true(answer.whole);
        struct proxy_counters c = fixture_counters(&w.f);
        assert_int_equal(c.member_heads_cut, i == 0);
        assert_int_equal(c.member_unasked_switches, i == 3);
        assert_int_equal(c.member_bad_responses, i != 0 && i != 3);
        answer_free(&answer);
        world_fini(&w);
    }
}

/* Counts in `requests` only what came whole. */
static void
count_whole(struct origin *origin, int fd)
{
    char head[4096];
    while (read_head(fd, head, sizeof(head))) {
        struct answer body = {0};
        body.body = calloc(1, 1);
        bool whole = strstr(head, "chunked") ? answer_read_chunked(fd, &body)
                                             : answer_read_bytes(fd, &body, 10);
        answer_free(&body);
        if (!whole)
            break;
        origin->requests++;
        if (!sock_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
            break;
    }
}

static void
a_broken_request_body_never_becomes_whole(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_start(&w, count_whole, NULL);
    ask(&w.f, "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n",
        &answer);
    assert_int_equal(answer.status, 400);
    answer_free(&answer);
    static const char *const halves[] = {
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n012345678",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n"};
    for (size_t i = 0; i < 2; i++) {
        int fd = sock_connect(&w.f.bound);
        assert_true(sock_text(fd, halves[i]));
        (void)poll(NULL, 0, 20);
        close(fd);
        fixture_until(fixture_counters(&w.f).client_aborts == i + 1);
    }
    ask(&w.f, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    assert_int_equal(w.origin->requests, 1);
    struct cluster_member_stats sum;
    cluster_member_sum(w.f.members[0], 0, &sum);
    assert_int_equal(sum.errors, 0); /* none of it was the member's doing */
    world_fini(&w);
}

/* ---- interim and early responses ------------------------------------------------------------- */

static void
say_100(struct origin *origin, int fd)
{
    char head[4096], body[16];
    (void)origin;
    if (!read_head(fd, head, sizeof(head)) || !strcasestr(head, "\r\nExpect: 100-continue\r\n"))
        return;
    if (!sock_text(fd,
                   "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"))
        return;
    if (sock_read(fd, body, sizeof(body), NULL, 5) == 5)
        (void)sock_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

static void
a_client_that_expects_gets_its_100(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_start(&w, say_100, NULL);
    int fd = sock_connect(&w.f.bound);
    assert_true(sock_text(fd, "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
                              "Expect: 100-continue\r\n\r\n"));
    answer_read(fd, "PUT", &answer);
    assert_int_equal(answer.status, 103);
    assert_non_null(strstr(answer.head, "\r\nLink: </x>\r\n"));
    answer_free(&answer);
    answer_read(fd, "PUT", &answer);
    assert_int_equal(answer.status, 100);
    answer_free(&answer);
    assert_true(sock_text(fd, "hello"));
    answer_read(fd, "PUT", &answer);
    assert_int_equal(answer.status, 200);
    assert_string_equal(answer.body, "ok");
    assert_null(strcasestr(answer.head, "\r\nConnection: close"));
    answer_free(&answer);
    close(fd);
    world_fini(&w);
}

static void
say_413(struct origin *origin, int fd)
{
    char head[4096];
    origin->requests++;
    if (read_head(fd, head, sizeof(head)))
        (void)sock_text(fd, "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nno\n");
    (void)sock_read(fd, head, sizeof(head), NULL, 1); /* until we are let go */
}

static void
an_early_response_ends_both_connections(void **state)
{
    (void)state;
    static const char *const requests[] = {
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel"};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        struct answer answer;
        world_start(&w, say_413, NULL);
        int fd = sock_connect(&w.f.bound);
        assert_true(sock_text(fd, requests[i]));
        answer_read(fd, "PUT", &answer);
        assert_int_equal(answer.status, 413);
        assert_true(answer.whole);
        assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
        assert_true(sock_ended(fd));
        answer_free(&answer);
        close(fd);
        fixture_until(cluster_count_get(&w.f.members[0]->stats[0].connections) == 0);
        world_fini(&w);
    }
}

static void
too_many_interim_responses_are_502(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    char text[1024] = "";
    for (int i = 0; i < 17; i++)
        strcat(text, "HTTP/1.1 102 Processing\r\n\r\n");
    strcat(text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    world_start(&w, say_and_close, text);
    ask(&w.f, "GET / HTTP/1.0\r\n\r\n", &answer); /* a 1.0 client sees none of them */
    assert_int_equal(answer.status, 502);
    answer_free(&answer);
    int fd = sock_connect(&w.f.bound);
    assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    for (int i = 0; i < 16; i++) {
        answer_read(fd, "GET", &answer);
        assert_int_equal(answer.status, 102);
        answer_free(&answer);
    }
    answer_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 502);
    answer_free(&answer);
    close(fd);
    world_fini(&w);
}

static void
wait_for_the_end(struct origin *origin, int fd)
{
    char head[4096], byte;
    if (!read_head(fd, head, sizeof(head)))
        return;
    origin->requests++;
    if (origin->ctx && !sock_text(fd, origin->ctx))
        return;
    (void)sock_recv(fd, &byte, 1); /* until we are let go */
}

static void
a_client_that_leaves_lets_the_member_go(void **state)
{
    (void)state;
    static const char *const said[] = {NULL, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012"};
    for (size_t i = 0; i < 2; i++) {
        struct world w;
        world_start(&w, wait_for_the_end, (void *)(uintptr_t)said[i]);
        int fd = sock_connect(&w.f.bound);
        assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        fixture_until(w.origin->requests == 1);
        assert_int_equal(cluster_count_get(&w.f.members[0]->stats[0].in_flight), 1);
        close(fd);
        fixture_until(cluster_count_get(&w.f.members[0]->stats[0].in_flight) == 0);
        fixture_until(cluster_count_get(&w.f.members[0]->stats[0].connections) == 0);
        assert_int_equal(fixture_counters(&w.f).client_aborts, 1);
        assert_int_equal(cluster_count_get(&w.f.members[0]->stats[0].errors), 0);
        world_fini(&w);
    }
}

/* Answers with what only the close ends, before it has read the body, and resets once told to. */
static void
part_then_reset(struct origin *origin, int fd)
{
    _Atomic bool *reset = origin->ctx;
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    char head[4096];
    if (!read_head(fd, head, sizeof(head)) || !sock_text(fd, "HTTP/1.1 200 OK\r\n\r\npart"))
        return;
    fixture_until(*reset);
    (void)connect(fd, &none, sizeof(none)); /* dissolves the connection: a reset goes out */
}

/* The kernel tells of a reset once. When a send was the first to hear of it, what is received next
 * looks like a proper end. */
static void
a_reset_that_a_send_saw_is_no_end_of_a_body(void **state)
{
    (void)state;
    _Atomic bool reset = false;
    struct world w;
    char block[65536] = {0}, got[8192];
    world_start(&w, part_then_reset, (void *)(uintptr_t)&reset);
    int fd = sock_connect(&w.f.bound);
    assert_true(sock_text(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999\r\n\r\n"));
    assert_true(sock_read(fd, got, sizeof(got), "part\r\n", 0) > 0);
    /* Until neither the kernel nor the proxy takes more, so that a send is under way. */
    for (int quiet = 0; quiet < 20;) {
        ssize_t sent = send(fd, block, sizeof(block), MSG_DONTWAIT | MSG_NOSIGNAL);
        quiet = sent > 0 ? 0 : quiet + 1;
        (void)poll(NULL, 0, sent > 0 ? 0 : 5);
    }
    reset = true;
    (void)sock_read(fd, got, sizeof(got), NULL, sizeof(got) - 1);
    assert_null(strstr(got, "0\r\n\r\n"));
    close(fd);
    world_fini(&w);
}

/* ---- lines of heads -------------------------------------------------------------------------- */

struct lines_case {
    const char *sent, *gotten; /* up to what is the edge's own */
};

static void
send_lines(struct origin *origin, int fd)
{
    const struct lines_case *lines = origin->ctx;
    char head[4096];
    if (read_head(fd, head, sizeof(head)) && sock_text(fd, lines->sent))
        (void)sock_text(fd, "Content-Length: 2\r\n\r\nok");
}

/* They are copied in one piece where nothing of them changes. */
static void
lines_go_on_without_what_is_too_much_in_them(void **state)
{
    static const struct lines_case cases[] = {
        {"HTTP/1.1 200 All Fine\r\nA: 1\r\nB:2\r\nC:\r\n",
         "HTTP/1.1 200 All Fine\r\nA: 1\r\nB:2\r\nC:\r\nDate: "},
        {"HTTP/1.1 200 OK\r\nA: \t1 \r\nB: 2\r\nC:\t3\r\nD: 4\t\r\nE: 5\r\n",
         "HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5\r\nDate: "},
        {"HTTP/1.1 200 OK\r\nConnection: X, Y\r\nA: 1\r\nX: 2\r\nB: 3\r\nC: 4\r\nY:5\r\n",
         "HTTP/1.1 200 OK\r\nA: 1\r\nB: 3\r\nC: 4\r\nDate: "},
        {"HTTP/1.0 200 Old\r\nA: 1\r\n", "HTTP/1.1 200 Old\r\nA: 1\r\nDate: "},
        {"HTTP/1.7 200 New\r\nA: 1\r\n", "HTTP/1.1 200 New\r\nA: 1\r\nDate: "},
        {"HTTP/1.1 200 \r\nA: 1\r\n", "HTTP/1.1 200 OK\r\nA: 1\r\nDate: "},
        {"HTTP/1.1 200\r\nA: 1\r\n", "HTTP/1.1 200 OK\r\nA: 1\r\nDate: "},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct world w;
        struct lines_case lines = cases[i];
        world_start(&w, send_lines, &lines);
        int fd = sock_connect(&w.f.bound);
        assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        struct answer answer;
        answer_read(fd, "GET", &answer);
        assert_true(answer.whole);
        answer.head[strlen(lines.gotten)] = '\0';
        assert_string_equal(answer.head, lines.gotten);
        answer_free(&answer);
        close(fd);
        world_fini(&w);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_reader_holds_the_member_back),
        cmocka_unit_test(a_slow_member_holds_the_client_back),
        cmocka_unit_test(a_cut_response_never_looks_whole),
        cmocka_unit_test(a_broken_head_is_502),
        cmocka_unit_test(a_broken_request_body_never_becomes_whole),
        cmocka_unit_test(a_client_that_expects_gets_its_100),
        cmocka_unit_test(an_early_response_ends_both_connections),
        cmocka_unit_test(too_many_interim_responses_are_502),
        cmocka_unit_test(a_client_that_leaves_lets_the_member_go),
        cmocka_unit_test(a_reset_that_a_send_saw_is_no_end_of_a_body),
        cmocka_unit_test(lines_go_on_without_what_is_too_much_in_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
