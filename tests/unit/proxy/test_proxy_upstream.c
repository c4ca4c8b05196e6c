/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_proxy_upstream.c - members that refuse, vanish or are slow; what is tried again and what
 * never.
 */
#include "proxy_fixture.h"

struct world {
    struct fixture f;
    struct origin *good, *bad;
};

static void
serve(struct origin *origin, int fd)
{
    char head[4096], body[64];
    while (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) > 0 && strstr(head, "\r\n\r\n")) {
        const char *length = strcasestr(head, "\r\nContent-Length: ");
        size_t len = length ? strtoul(length + 18, NULL, 10) : 0;
        if (sock_read(fd, body, sizeof(body), NULL, len) != len)
            return;
        origin->requests++;
        char text[256];
        (void)snprintf(text, sizeof(text), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s", len,
                       body);
        if (!sock_text(fd, text))
            return;
    }
}

/* Reads a request and closes without a word. */
static void
swallow(struct origin *origin, int fd)
{
    char head[4096];
    if (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) > 0)
        origin->requests++;
}

/* Two members; the first pick of round-robin is member 0, the bad one. */
static void
world_start(struct world *w, origin_fn bad)
{
    fixture_init(&w->f);
    w->good = origin_new(serve, NULL);
    w->bad = bad ? origin_new(bad, NULL) : NULL;
    if (w->bad) {
        (void)fixture_member(&w->f, w->bad);
    } else {
        struct origin closed = {0};
        origin_listen(&closed); /* a port that nobody listens on */
        (void)fixture_member_at(&w->f, &closed.addr);
        close(closed.listen_fd);
    }
    (void)fixture_member(&w->f, w->good);
}

static void
world_fini(struct world *w)
{
    fixture_fini(&w->f);
    origin_free(w->good);
    if (w->bad)
        origin_free(w->bad);
}

static void
ask_status(struct fixture *f, const char *request, int status)
{
    struct answer answer;
    ask(f, request, &answer);
    assert_int_equal(answer.status, status);
    answer_free(&answer);
}

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
#define PUT "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
#define CHUNKED_PUT                                                                                \
    "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"

static void
a_refused_connection_is_retried_for_any_method(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, NULL);
    fixture_start(&w.f);
    for (int i = 0; i < 2; i++) {
        ask_status(&w.f, GET, 200);
        ask_status(&w.f, POST, 200);
    }
    struct cluster_member_stats sum;
    cluster_member_sum(w.f.members[0], 0, &sum);
    assert_true(sum.connect_failures >= 2);
    assert_int_equal(sum.retries, sum.connect_failures);
    assert_int_equal(sum.requests, sum.connect_failures);
    assert_int_equal(sum.errors, sum.connect_failures);
    assert_int_equal(fixture_counters(&w.f).errors, 0);
    struct proxy_cluster_counters c;
    proxy_read_cluster(w.f.proxy, 0, &c);
    assert_int_equal(c.retries, sum.retries);
    fixture_publish(&w.f, 1); /* only the one that refuses */
    fixture_until(proxy_generation(w.f.proxy) == w.f.generation);
    ask_status(&w.f, GET, 503);
    fixture_publish(&w.f, 0);
    fixture_until(proxy_generation(w.f.proxy) == w.f.generation);
    ask_status(&w.f, GET, 503);
    assert_int_equal(fixture_counters(&w.f).no_member, 1);
    world_fini(&w);
}

static void
a_silent_close_is_retried_once_if_safe(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        int status;
    } rows[] = {{GET, 200}, {PUT, 200}, {POST, 502}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        world_start(&w, swallow);
        fixture_start(&w.f);
        ask_status(&w.f, rows[i].request, rows[i].status);
        assert_int_equal(w.bad->requests, 1);
        assert_int_equal(w.good->requests, rows[i].status == 200);
        assert_int_equal(fixture_counters(&w.f).retries, rows[i].status == 200);
        world_fini(&w);
    }
}

static void
a_replayed_body_is_the_same(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_start(&w, swallow);
    fixture_start(&w.f);
    ask(&w.f, PUT, &answer);
    assert_string_equal(answer.body, "hello");
    answer_free(&answer);
    world_fini(&w);
    world_start(&w, swallow);
    fixture_start(&w.f);
    ask(&w.f, CHUNKED_PUT, &answer); /* serve() reads no chunks: 200 without a body will do */
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    world_fini(&w);
}

static void
two_silent_members_are_502(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, swallow);
    w.good->fn = swallow;
    fixture_start(&w.f);
    ask_status(&w.f, GET, 502);
    assert_int_equal(w.bad->requests + w.good->requests, 2);
    world_fini(&w);
}

static void
the_budget_ends_retries(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, swallow);
    w.good->fn = swallow;
    w.f.cluster->ejection.failures = 0;
    fixture_start(&w.f);
    for (int i = 0; i < 40; i++)
        ask_status(&w.f, GET, 502);
    /* 40 requests allow 8 at 20 %; the floor allows 30. */
    struct proxy_counters c = fixture_counters(&w.f);
    assert_int_equal(c.retries, 30);
    assert_int_equal(c.retry_budget_refusals, 10);
    world_fini(&w);
    world_start(&w, swallow);
    w.f.cluster->retry_budget = 0;
    fixture_start(&w.f);
    ask_status(&w.f, GET, 502);
    world_fini(&w);
}

/* ---- connections that died while they were kept ---------------------------------------------- */

/* Serves one request on a connection; on the second it closes without a word. */
static void
serve_once(struct origin *origin, int fd)
{
    char head[4096], byte;
    if (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) == 0)
        return;
    origin->requests++;
    if (sock_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
        (void)sock_recv(fd, &byte, 1);
}

static void
a_stale_connection_does_not_fail_a_request(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, serve_once);
    fixture_start(&w.f);
    fixture_publish(&w.f, 1); /* one member alone: the second try goes to it as well */
    fixture_until(proxy_generation(w.f.proxy) == w.f.generation);
    for (int i = 0; i < 100; i++)
        ask_status(&w.f, GET, 200);
    assert_int_equal(w.bad->requests, 100);
    struct proxy_cluster_counters c;
    proxy_read_cluster(w.f.proxy, 0, &c);
    assert_int_equal(c.retries, 0); /* these do not count against the budget */
    assert_true(fixture_counters(&w.f).retries > 50);
    world_fini(&w);
}

static void
close_after_response(struct origin *origin, int fd)
{
    char head[4096];
    if (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) == 0)
        return;
    origin->requests++;
    (void)sock_text(fd, origin->requests % 2 ? "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
                                             : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nextra");
}

static void
a_closed_idle_connection_leaves_the_pool(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, close_after_response);
    fixture_start(&w.f);
    fixture_publish(&w.f, 1);
    fixture_until(proxy_generation(w.f.proxy) == w.f.generation);
    for (int i = 0; i < 10; i++) {
        ask_status(&w.f, POST, 200); /* a POST must not meet a dead connection */
        fixture_until(cluster_count_get(&w.f.members[0]->stats[0].connections) == 0);
    }
    world_fini(&w);
}

static void
idle_connections_are_bounded_and_grow_old(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, serve);
    w.f.cluster->keepalive_max = 2;
    w.f.cluster->timeouts.keepalive_us = 50000;
    fixture_start(&w.f);
    fixture_publish(&w.f, 1);
    int fds[5];
    for (int i = 0; i < 5; i++) {
        fds[i] = sock_connect(&w.f.bound);
        assert_true(sock_text(fds[i], GET));
    }
    struct answer answer;
    for (int i = 0; i < 5; i++) {
        answer_read(fds[i], "GET", &answer);
        assert_int_equal(answer.status, 200);
        assert_true(cluster_count_get(&w.f.members[0]->stats[0].idle_connections) <= 2);
        answer_free(&answer);
        close(fds[i]);
    }
    fixture_until(cluster_count_get(&w.f.members[0]->stats[0].connections) == 0);
    world_fini(&w);
}

/* ---- time ----------------------------------------------------------------------------------- */

static void
sleep_forever(struct origin *origin, int fd)
{
    char byte;
    if (origin->ctx) {
        char head[4096];
        (void)sock_read(fd, head, sizeof(head), "\r\n\r\n", 0);
        (void)sock_text(fd, origin->ctx);
    }
    while (sock_recv(fd, &byte, 1) > 0)
        continue;
}

static void
a_slow_member_is_504(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, sleep_forever);
    w.f.cluster->timeouts.response_us = 50000;
    fixture_start(&w.f);
    fixture_publish(&w.f, 1);
    fixture_until(proxy_generation(w.f.proxy) == w.f.generation);
    ask_status(&w.f, GET, 504);
    ask_status(&w.f, POST, 504);
    struct proxy_counters c = fixture_counters(&w.f);
    assert_int_equal(c.member_timeouts, 2);
    assert_int_equal(c.retries, 0);
    world_fini(&w);
}

static void
silence_in_a_body_cuts_it(void **state)
{
    (void)state;
    struct world w;
    struct answer answer;
    world_start(&w, sleep_forever);
    w.bad->ctx = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234";
    w.f.cluster->timeouts.idle_us = 50000;
    fixture_start(&w.f);
    fixture_publish(&w.f, 1);
    fixture_until(proxy_generation(w.f.proxy) == w.f.generation);
    ask(&w.f, GET, &answer);
    assert_int_equal(answer.status, 200);
    assert_false(answer.whole);
    assert_int_equal(fixture_counters(&w.f).member_timeouts, 1);
    answer_free(&answer);
    world_fini(&w);
}

/* A listener whose backlog is full takes no more connections: Linux drops the SYN. */
static void
a_connection_that_is_not_taken_is_504(void **state)
{
    (void)state;
    struct fixture f;
    struct origin deaf = {0};
    int fillers[3];
    fixture_init(&f);
    origin_listen(&deaf);
    assert_int_equal(listen(deaf.listen_fd, 0), 0);
    for (int i = 0; i < 3; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fillers[i], &deaf.addr.sa.any, deaf.addr.len); /* one is taken, others wait */
    }
    (void)fixture_member_at(&f, &deaf.addr);
    f.cluster->timeouts.connect_us = 100000;
    fixture_start(&f);
    ask_status(&f, GET, 504);
    assert_int_equal(cluster_count_get(&f.members[0]->stats[0].connect_failures), 1);
    fixture_fini(&f);
    for (int i = 0; i < 3; i++)
        close(fillers[i]);
    close(deaf.listen_fd);
}

static void
failures_eject_a_member(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, NULL);
    w.f.cluster->ejection.failures = 2;
    w.f.cluster->ejection.time_us = 60000000;
    fixture_start(&w.f);
    for (int i = 0; i < 20; i++)
        ask_status(&w.f, GET, 200);
    struct cluster_member_stats sum;
    cluster_member_sum(w.f.members[0], 0, &sum);
    assert_int_equal(sum.connect_failures, 2);
    assert_int_equal(sum.ejections, 1);
    world_fini(&w);
}

static void
orca_is_heard(void **state)
{
    (void)state;
    struct world w;
    world_start(&w, sleep_forever);
    w.bad->ctx = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
                 "endpoint-load-metrics: TEXT cpu_utilization=0.25\r\n\r\n";
    fixture_start(&w.f);
    fixture_publish(&w.f, 1);
    fixture_until(proxy_generation(w.f.proxy) == w.f.generation);
    ask_status(&w.f, GET, 200);
    struct cluster_member_stats sum;
    cluster_member_sum(w.f.members[0], 0, &sum);
    assert_int_equal(sum.orca_utilization, 250000);
    assert_true(sum.orca_at_us > 0);
    world_fini(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_refused_connection_is_retried_for_any_method),
        cmocka_unit_test(a_silent_close_is_retried_once_if_safe),
        cmocka_unit_test(a_replayed_body_is_the_same),
        cmocka_unit_test(two_silent_members_are_502),
        cmocka_unit_test(the_budget_ends_retries),
        cmocka_unit_test(a_stale_connection_does_not_fail_a_request),
        cmocka_unit_test(a_closed_idle_connection_leaves_the_pool),
        cmocka_unit_test(idle_connections_are_bounded_and_grow_old),
        cmocka_unit_test(a_slow_member_is_504),
        cmocka_unit_test(silence_in_a_body_cuts_it),
        cmocka_unit_test(a_connection_that_is_not_taken_is_504),
        cmocka_unit_test(failures_eject_a_member),
        cmocka_unit_test(orca_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
