/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_proxy_client.c - what clients get from the proxy itself: refusals, limits, timeouts.
 */
#include "proxy_fixture.h"

static void
serve(struct origin *origin, int fd)
{
    char head[65536];
    while (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) > 0 && strstr(head, "\r\n\r\n")) {
        origin->requests++;
        if (!sock_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
            return;
    }
}

struct world {
    struct fixture f;
    struct origin *origin;
};

static void
world_init(struct world *w)
{
    fixture_init(&w->f);
    w->origin = origin_new(serve, NULL);
    (void)fixture_member(&w->f, w->origin);
}

static void
world_fini(struct world *w)
{
    fixture_fini(&w->f);
    origin_free(w->origin);
}

static void
bad_requests_are_refused_and_closed(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {"GET / HTTP/1.1\r\n\r\n", 400},
        {"nonsense\r\n\r\n", 400},
        {"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505},
        {"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         400},
        {"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501},
    };
    struct world w;
    world_init(&w);
    fixture_start(&w.f);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct answer answer;
        int fd = sock_connect(&w.f.bound);
        assert_true(sock_text(fd, rows[i].request));
        answer_read(fd, "GET", &answer);
        if (answer.status != rows[i].status)
            fail_msg("row %zu: %d", i, answer.status);
        assert_true(answer.whole);
        assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
        assert_non_null(strstr(answer.head, "\r\nDate: "));
        assert_true(sock_ended(fd));
        answer_free(&answer);
        close(fd);
    }
    assert_int_equal(w.origin->requests, 0);
    assert_int_equal(fixture_counters(&w.f).bad_requests, 5);
    world_fini(&w);
}

/* What follows a refused request in flight must not turn the answer into a reset. */
static void
an_answer_survives_what_is_still_sent(void **state)
{
    (void)state;
    struct world w;
    char *junk = malloc(300000);
    memset(junk, 'x', 300000);
    world_init(&w);
    fixture_start(&w.f);
    for (int i = 0; i < 20; i++) {
        struct answer answer;
        int fd = sock_connect(&w.f.bound);
        assert_true(sock_text(fd, "BAD\r\n\r\n"));
        (void)sock_write(fd, junk, 300000); /* taken and thrown away */
        answer_read(fd, "GET", &answer);
        assert_int_equal(answer.status, 400);
        assert_true(answer.whole);
        answer_free(&answer);
        close(fd);
    }
    free(junk);
    world_fini(&w);
}

static void
heads_have_limits(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    w.f.config->limits.head_bytes = 20000;
    w.f.config->limits.request_line_bytes = 100;
    w.f.config->limits.field_count = 10;
    fixture_start(&w.f);
    char *text = malloc(65536);
    (void)snprintf(text, 65536, "GET /%0200d HTTP/1.1\r\nHost: a\r\n\r\n", 1);
    ask(&w.f, text, &answer);
    assert_int_equal(answer.status, 414);
    answer_free(&answer);
    (void)snprintf(text, 65536, "GET / HTTP/1.1\r\nHost: a\r\nX: %019000d\r\n\r\n", 1);
    ask(&w.f, text, &answer); /* lies across receive buffers */
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    (void)snprintf(text, 65536, "GET / HTTP/1.1\r\nHost: a\r\nX: %020000d\r\n\r\n", 1);
    ask(&w.f, text, &answer);
    assert_int_equal(answer.status, 431);
    answer_free(&answer);
    (void)snprintf(text, 65536,
                   "GET / HTTP/1.1\r\nHost: a\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\nA:\r\n"
                   "A:\r\nA:\r\n\r\n");
    ask(&w.f, text, &answer);
    assert_int_equal(answer.status, 431);
    answer_free(&answer);
    free(text);
    world_fini(&w);
}

static void
methods_that_end_here(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    fixture_start(&w.f);
    int fd = sock_connect(&w.f.bound);
    assert_true(sock_text(fd, "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n"));
    answer_read(fd, "TRACE", &answer);
    assert_int_equal(answer.status, 405);
    assert_non_null(strstr(answer.head, "\r\nAllow: GET, "));
    answer_free(&answer);
    assert_true(sock_text(fd, "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 0\r\n\r\n"));
    answer_read(fd, "OPTIONS", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    assert_int_equal(w.origin->requests, 0);
    assert_true(sock_text(fd, "OPTIONS * HTTP/1.1\r\nHost: a\r\nMax-Forwards: 1\r\n\r\n"));
    answer_read(fd, "OPTIONS", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    assert_int_equal(w.origin->requests, 1);
    close(fd);
    world_fini(&w);
}

static void
no_route_is_404_and_the_connection_stays(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    w.f.route->path = fr_xstrdup("/api/");
    fixture_start(&w.f);
    int fd = sock_connect(&w.f.bound);
    /* A body that has come with the head is skipped; the next request is found behind it. */
    assert_true(sock_text(fd, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
                              "HEAD /y HTTP/1.1\r\nHost: a\r\n\r\n"
                              "GET /api/ HTTP/1.1\r\nHost: a\r\n\r\n"));
    answer_read(fd, "POST", &answer);
    assert_int_equal(answer.status, 404);
    assert_non_null(strstr(answer.body, "no route"));
    answer_free(&answer);
    answer_read(fd, "HEAD", &answer);
    assert_int_equal(answer.status, 404);
    assert_null(strstr(answer.head, "Content-Length: 0"));
    answer_free(&answer);
    answer_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    /* One whose body is still to come ends the connection. */
    assert_true(sock_text(fd, "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel"));
    answer_read(fd, "POST", &answer);
    assert_int_equal(answer.status, 404);
    assert_true(sock_ended(fd));
    answer_free(&answer);
    close(fd);
    assert_int_equal(fixture_counters(&w.f).no_route, 3);
    world_fini(&w);
}

static void
clients_have_time_limits(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    w.f.config->limits.header_timeout_us = 50000;
    w.f.config->limits.client_idle_us = 50000;
    w.f.config->limits.body_timeout_us = 50000;
    fixture_start(&w.f);
    int fd = sock_connect(&w.f.bound); /* nothing at all */
    assert_true(sock_ended(fd));
    close(fd);
    fd = sock_connect(&w.f.bound); /* half a head */
    assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHo"));
    answer_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 408);
    answer_free(&answer);
    close(fd);
    fd = sock_connect(&w.f.bound); /* half a body */
    assert_true(sock_text(fd, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe"));
    answer_read(fd, "POST", &answer);
    assert_true(answer.status == 408 || answer.status == 200); /* the member answers heads */
    answer_free(&answer);
    close(fd);
    fd = sock_connect(&w.f.bound); /* nothing after a request */
    assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    answer_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    assert_true(sock_ended(fd));
    close(fd);
    assert_int_equal(fixture_counters(&w.f).header_timeouts, 1);
    world_fini(&w);
}

static void
read_all(struct origin *origin, int fd)
{
    char block[4096];
    (void)origin;
    while (sock_recv(fd, block, sizeof(block)) > 0)
        continue;
}

static void
half_a_body_is_408(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    w.origin->fn = read_all;
    w.f.config->limits.body_timeout_us = 50000;
    fixture_start(&w.f);
    ask(&w.f, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe", &answer);
    assert_int_equal(answer.status, 408);
    answer_free(&answer);
    assert_int_equal(fixture_counters(&w.f).body_timeouts, 1);
    assert_int_equal(cluster_count_get(&w.f.members[0]->stats[0].errors), 0);
    world_fini(&w);
}

static void
a_connection_carries_so_many_requests(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    w.f.config->limits.requests_per_connection = 3;
    fixture_start(&w.f);
    int fd = sock_connect(&w.f.bound);
    for (int i = 1; i <= 3; i++) {
        assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
        answer_read(fd, "GET", &answer);
        assert_int_equal(answer.status, 200);
        assert_int_equal(strstr(answer.head, "\r\nConnection: close\r\n") != NULL, i == 3);
        answer_free(&answer);
    }
    assert_true(sock_ended(fd));
    close(fd);
    world_fini(&w);
}

static void
old_clients_keep_only_what_they_ask_for(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_init(&w);
    fixture_start(&w.f);
    int fd = sock_connect(&w.f.bound);
    for (int i = 0; i < 2; i++) {
        assert_true(sock_text(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
        answer_read(fd, "GET", &answer);
        assert_int_equal(answer.status, 200);
        assert_non_null(strstr(answer.head, "\r\nConnection: keep-alive\r\n"));
        answer_free(&answer);
    }
    assert_true(sock_text(fd, "GET / HTTP/1.0\r\n\r\n"));
    answer_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    assert_true(sock_ended(fd));
    answer_free(&answer);
    close(fd);
    world_fini(&w);
}

/* A client that says it will ask no more still gets every answer, and then the end. */
static void
half_closed_clients_are_answered(void **state)
{
    (void)state;
    static const char *const said[] = {
        "GET /a HTTP/1.1\r\nHost: a\r\n\r\n",
        ("GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
         "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"),
        "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /half",
    };
    struct world w;
    world_init(&w);
    fixture_start(&w.f);
    for (size_t i = 0; i < 3; i++) {
        struct answer answer;
        int fd = sock_connect(&w.f.bound);
        assert_true(sock_text(fd, said[i]));
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        for (size_t k = 0; k < (i == 1 ? 2 : 1); k++) {
            answer_read(fd, "GET", &answer);
            assert_int_equal(answer.status, 200);
            assert_true(answer.whole);
            answer_free(&answer);
        }
        assert_true(sock_ended(fd));
        close(fd);
    }
    assert_int_equal(fixture_counters(&w.f).client_aborts, 0);
    world_fini(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_requests_are_refused_and_closed),
        cmocka_unit_test(an_answer_survives_what_is_still_sent),
        cmocka_unit_test(heads_have_limits),
        cmocka_unit_test(methods_that_end_here),
        cmocka_unit_test(no_route_is_404_and_the_connection_stays),
        cmocka_unit_test(clients_have_time_limits),
        cmocka_unit_test(half_a_body_is_408),
        cmocka_unit_test(a_connection_carries_so_many_requests),
        cmocka_unit_test(old_clients_keep_only_what_they_ask_for),
        cmocka_unit_test(half_closed_clients_are_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
