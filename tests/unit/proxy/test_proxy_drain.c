/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_proxy_drain.c - members that leave under load, churn of snapshots, the edge's own end.
 */
#include "proxy_fixture.h"

#define CLIENTS 4

static void
serve(struct origin *origin, int fd)
{
    char head[4096];
    while (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) > 0 && strstr(head, "\r\n\r\n")) {
        origin->requests++;
        if (!sock_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
            return;
    }
}

struct load { /* clients that ask one request after the other on kept connections */
    const struct fixture *f;
    _Atomic bool stop;
    _Atomic unsigned done, failed;
    pthread_t threads[CLIENTS];
};

static void *
client_main(void *ctx)
{
    struct load *load = ctx;
    int fd = sock_connect(&load->f->bound);
    struct answer answer;
    for (unsigned i = 0; !load->stop; i++) {
        bool post = i % 3 == 0;
        bool ok = sock_text(fd, post ? "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"
                                     : "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        answer_read(fd, "GET", &answer);
        if (!ok || answer.status != 200 || !answer.whole || strcmp(answer.body, "hello") != 0)
            load->failed++;
        answer_free(&answer);
        load->done++;
    }
    close(fd);
    return NULL;
}

static void
load_start(struct load *load, const struct fixture *f)
{
    memset(load, 0, sizeof(*load));
    load->f = f;
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_create(&load->threads[i], NULL, client_main, load), 0);
}

static void
load_stop(struct load *load)
{
    load->stop = true;
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(pthread_join(load->threads[i], NULL), 0);
}

/* What the control thread must do itself: a function run there, waited for. */
struct errand {
    struct loop_msg msg;
    struct fixture *f;
    unsigned shown;
    uint32_t watched, cut;
    _Atomic bool watch_done;
    _Atomic uint64_t in_flight_then, connections_then;
};

static void
on_drained(void *ctx, struct cluster_member *member)
{
    struct errand *errand = ctx;
    struct cluster_member_stats sum;
    cluster_member_sum(member, 0, &sum);
    errand->in_flight_then = sum.in_flight;
    errand->connections_then = sum.connections;
    errand->watch_done = true;
}

static void
take_away(void *ctx)
{
    struct errand *errand = ctx;
    fixture_publish(errand->f, errand->shown);
    proxy_watch_drained(errand->f->proxy, errand->f->members[errand->watched], on_drained, errand);
}

static void
members_leave_and_come_back_under_load(void **state)
{
    (void)state;
    struct fixture f;
    struct origin *origins[3];
    struct load load;
    fixture_init(&f);
    f.worker_count = 2;
    for (int i = 0; i < 3; i++) {
        origins[i] = origin_new(serve, NULL);
        (void)fixture_member(&f, origins[i]);
    }
    fixture_start(&f);
    load_start(&load, &f);
    for (unsigned round = 0; round < 60; round++) {
        unsigned before = load.done;
        fixture_until(load.done >= before + 20);
        struct errand errand = {.f = &f, .watched = round % 3, .shown = 7u & ~(1u << round % 3)};
        loop_post(f.control, &errand.msg, take_away, &errand);
        fixture_until(errand.watch_done);
        assert_int_equal(errand.in_flight_then, 0);
        assert_int_equal(errand.connections_then, 0);
        /* It is really out: nothing reaches it any more. */
        unsigned requests = origins[round % 3]->requests;
        before = load.done;
        fixture_until(load.done >= before + 20);
        assert_int_equal(origins[round % 3]->requests, requests);
    }
    load_stop(&load);
    assert_int_equal(load.failed, 0);
    assert_int_equal(fixture_counters(&f).errors, 0);
    fixture_fini(&f);
    for (int i = 0; i < 3; i++)
        origin_free(origins[i]);
}

static void
churn(void *ctx)
{
    struct errand *errand = ctx;
    for (int i = 0; i < 10; i++) {
        errand->shown = errand->shown % 7 + 1; /* 1..7: at least one stays */
        fixture_publish(errand->f, errand->shown);
    }
    errand->watch_done = true;
}

static void
snapshots_change_while_requests_run(void **state)
{
    (void)state;
    struct fixture f;
    struct origin *origins[3];
    struct load load;
    fixture_init(&f);
    f.worker_count = 2;
    f.cluster->balance = CONFIG_BALANCE_P2C;
    for (int i = 0; i < 3; i++) {
        origins[i] = origin_new(serve, NULL);
        (void)fixture_member(&f, origins[i]);
    }
    fixture_start(&f);
    load_start(&load, &f);
    struct errand errand = {.f = &f, .shown = 7};
    for (int i = 0; i < 100; i++) {
        errand.watch_done = false;
        loop_post(f.control, &errand.msg, churn, &errand);
        fixture_until(errand.watch_done);
        (void)poll(NULL, 0, 1);
    }
    load_stop(&load);
    assert_int_equal(load.failed, 0);
    assert_true(load.done > 0);
    fixture_until(proxy_generation(f.proxy) == f.generation);
    assert_int_equal(fixture_counters(&f).errors, 0);
    assert_int_equal(fixture_counters(&f).snapshots, 2 * f.generation);
    fixture_fini(&f);
    for (int i = 0; i < 3; i++)
        origin_free(origins[i]);
}

/* ---- the deadline of a member ---------------------------------------------------------------- */

static void
hang(struct origin *origin, int fd)
{
    char head[4096], byte;
    if (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) == 0)
        return;
    origin->requests++;
    if (origin->ctx)
        (void)sock_text(fd, origin->ctx);
    while (sock_recv(fd, &byte, 1) > 0)
        continue;
}

static void
take_away_and_cut(void *ctx)
{
    struct errand *errand = ctx;
    take_away(ctx);
    proxy_cut(errand->f->proxy, errand->f->members[errand->cut]);
}

static void
the_deadline_cuts_what_is_left(void **state)
{
    (void)state;
    /* Nothing of the response yet: a GET goes to the other member, a POST cannot. */
    static const struct {
        const char *said, *request;
        int status;
        bool whole;
    } rows[] = {
        {NULL, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 200, true},
        {NULL, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 503, true},
        {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n012", "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
         200, false},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct fixture f;
        struct answer answer;
        fixture_init(&f);
        struct origin *slow = origin_new(hang, (void *)(uintptr_t)rows[i].said);
        struct origin *good = origin_new(serve, NULL);
        (void)fixture_member(&f, slow);
        (void)fixture_member(&f, good);
        fixture_start(&f);
        int fd = sock_connect(&f.bound);
        assert_true(sock_text(fd, rows[i].request));
        fixture_until(slow->requests == 1);
        struct pollfd begun = {.fd = fd, .events = POLLIN};
        if (rows[i].said) /* before it has gone on, it is as if nothing were there */
            assert_int_equal(poll(&begun, 1, FIXTURE_IO_TIMEOUT_S * 1000), 1);
        struct errand errand = {.f = &f, .shown = 2};
        loop_post(f.control, &errand.msg, take_away_and_cut, &errand);
        answer_read(fd, "GET", &answer);
        assert_int_equal(answer.status, rows[i].status);
        assert_int_equal(answer.whole, rows[i].whole);
        fixture_until(errand.watch_done);
        assert_int_equal(cluster_count_get(&f.members[0]->stats[0].errors), 0);
        answer_free(&answer);
        close(fd);
        fixture_fini(&f);
        origin_free(slow);
        origin_free(good);
    }
}

/* ---- the edge's own end ---------------------------------------------------------------------- */

struct end {
    struct loop_msg msg;
    struct fixture *f;
    int64_t deadline_us;
    _Atomic bool done;
};

static void
on_end(void *ctx)
{
    ((struct end *)ctx)->done = true;
}

static void
end_it(void *ctx)
{
    struct end *end = ctx;
    proxy_drain(end->f->proxy, end->deadline_us, on_end, end);
}

struct gate {
    _Atomic bool open;
};

static void
serve_at_gate(struct origin *origin, int fd)
{
    struct gate *gate = origin->ctx;
    char head[4096];
    while (sock_read(fd, head, sizeof(head), "\r\n\r\n", 0) > 0 && strstr(head, "\r\n\r\n")) {
        origin->requests++;
        fixture_until(gate->open);
        if (!sock_text(fd, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"))
            return;
    }
}

static void
draining_answers_what_is_under_way(void **state)
{
    (void)state;
    struct fixture f;
    struct gate gate = {true};
    struct answer answer;
    fixture_init(&f);
    struct origin *origin = origin_new(serve_at_gate, &gate);
    (void)fixture_member(&f, origin);
    fixture_start(&f);
    int idle = sock_connect(&f.bound), busy = sock_connect(&f.bound),
        young = sock_connect(&f.bound);
    assert_true(sock_text(idle, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    answer_read(idle, "GET", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    gate.open = false;
    assert_true(sock_text(busy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    fixture_until(origin->requests == 2);
    struct end end = {.f = &f, .deadline_us = 8000000};
    loop_post(f.control, &end.msg, end_it, &end);
    assert_true(sock_ended(idle)); /* closed at once */
    assert_false(end.done);
    int late = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(late, &f.bound.sa.any, f.bound.len), -1);
    gate.open = true;
    answer_read(busy, "GET", &answer);
    assert_int_equal(answer.status, 200);
    assert_true(answer.whole);
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    answer_free(&answer);
    /* One that was connected, but had not asked yet. */
    assert_true(sock_text(young, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    answer_read(young, "GET", &answer);
    assert_int_equal(answer.status, 200);
    assert_non_null(strstr(answer.head, "\r\nConnection: close\r\n"));
    answer_free(&answer);
    close(busy);
    close(young);
    fixture_until(end.done);
    close(idle);
    close(late);
    fixture_fini(&f);
    origin_free(origin);
}

static void
the_drain_deadline_ends_the_rest(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    struct origin *slow = origin_new(hang, NULL);
    (void)fixture_member(&f, slow);
    fixture_start(&f);
    int fd = sock_connect(&f.bound);
    assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    fixture_until(slow->requests == 1);
    struct end end = {.f = &f, .deadline_us = 30000};
    loop_post(f.control, &end.msg, end_it, &end);
    assert_true(sock_ended(fd));
    fixture_until(end.done);
    close(fd);
    fixture_fini(&f);
    origin_free(slow);
}

static void
the_backlog_is_served_before_a_listener_closes(void **state)
{
    (void)state;
    struct fixture f;
    struct gate gate = {true};
    fixture_init(&f);
    f.config->limits.connections = 1; /* accepting pauses: others wait in the backlog */
    struct origin *origin = origin_new(serve_at_gate, &gate);
    (void)fixture_member(&f, origin);
    fixture_start(&f);
    int first = sock_connect(&f.bound), waiting = sock_connect(&f.bound);
    struct answer answer;
    fixture_until(fixture_counters(&f).connections_open == 1);
    assert_true(sock_text(waiting, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    (void)poll(NULL, 0, 20);
    assert_int_equal(origin->requests, 0);
    assert_int_equal(fixture_counters(&f).connections_accepted, 1);
    struct end end = {.f = &f, .deadline_us = 8000000};
    loop_post(f.control, &end.msg, end_it, &end);
    answer_read(waiting, "GET", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
    close(first);
    close(waiting);
    fixture_until(end.done);
    fixture_fini(&f);
    origin_free(origin);
}

static void
at_the_limit_connections_wait_their_turn(void **state)
{
    (void)state;
    struct fixture f;
    struct gate gate = {true};
    struct answer answer;
    fixture_init(&f);
    f.config->limits.connections = 2;
    struct origin *origin = origin_new(serve_at_gate, &gate);
    (void)fixture_member(&f, origin);
    fixture_start(&f);
    for (int i = 0; i < 10; i++) {
        int fds[4];
        for (int k = 0; k < 4; k++) {
            fds[k] = sock_connect(&f.bound);
            assert_true(
                sock_text(fds[k], "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"));
        }
        for (int k = 0; k < 4; k++) {
            answer_read(fds[k], "GET", &answer);
            assert_int_equal(answer.status, 200);
            answer_free(&answer);
            close(fds[k]);
        }
    }
    fixture_fini(&f);
    origin_free(origin);
}

static void
ask_on(int fd)
{
    struct answer answer;
    assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    answer_read(fd, "GET", &answer);
    assert_int_equal(answer.status, 200);
    answer_free(&answer);
}

static void
at_the_limit_the_longest_idle_makes_room(void **state)
{
    (void)state;
    struct fixture f;
    struct gate gate = {true};
    int fds[6];
    fixture_init(&f);
    f.config->limits.connections = 3;
    struct origin *origin = origin_new(serve_at_gate, &gate);
    (void)fixture_member(&f, origin);
    fixture_start(&f);
    for (int i = 0; i < 3; i++) {
        fds[i] = sock_connect(&f.bound);
        ask_on(fds[i]);
    }
    ask_on(fds[0]); /* now 1 is idle for longest, then 2, then 0 */
    for (int i = 3; i < 5; i++) {
        fds[i] = sock_connect(&f.bound);
        ask_on(fds[i]);
        assert_true(sock_ended(fds[i - 2]));
        assert_int_equal(fixture_counters(&f).connections_reclaimed, i - 2);
        assert_int_equal(fixture_counters(&f).connections_open, 3);
    }
    ask_on(fds[0]); /* it was not touched */
    /* All busy: a newcomer waits, and takes the place of the first that is idle again. */
    static const int busy[] = {0, 3, 4};
    gate.open = false;
    for (int k = 0; k < 3; k++)
        assert_true(sock_text(fds[busy[k]], "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    fixture_until(fixture_counters(&f).requests_active == 3);
    fds[5] = sock_connect(&f.bound);
    assert_true(sock_text(fds[5], "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    (void)poll(NULL, 0, 20);
    assert_int_equal(fixture_counters(&f).connections_accepted, 5);
    assert_int_equal(fixture_counters(&f).connections_reclaimed, 2);
    gate.open = true;
    struct answer answer;
    static const int all[] = {0, 3, 4, 5};
    for (int k = 0; k < 4; k++) {
        answer_read(fds[all[k]], "GET", &answer);
        assert_int_equal(answer.status, 200);
        answer_free(&answer);
    }
    assert_int_equal(fixture_counters(&f).connections_reclaimed, 3);
    for (int i = 0; i < 6; i++)
        close(fds[i]);
    fixture_fini(&f);
    origin_free(origin);
}

/* A client that has not asked yet is owed its first answer: it is not idle. */
static void
at_the_limit_clients_that_have_not_asked_stay(void **state)
{
    (void)state;
    struct fixture f;
    struct gate gate = {true};
    fixture_init(&f);
    f.config->limits.connections = 2;
    struct origin *origin = origin_new(serve_at_gate, &gate);
    (void)fixture_member(&f, origin);
    fixture_start(&f);
    int one = sock_connect(&f.bound), two = sock_connect(&f.bound);
    fixture_until(fixture_counters(&f).connections_open == 2);
    int three = sock_connect(&f.bound);
    (void)poll(NULL, 0, 20);
    assert_int_equal(fixture_counters(&f).connections_accepted, 2);
    ask_on(two);
    ask_on(three);
    assert_true(sock_ended(two));
    ask_on(one);
    close(one);
    close(two);
    close(three);
    fixture_fini(&f);
    origin_free(origin);
}

/* The word that there is demand lies in what the worker keeps, which goes with it. */
static void
the_end_comes_before_demand_was_told(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f);
    f.cluster->scale.enabled = true;
    f.cluster->scale.min = 0;
    assert_true(
        fr_view_copy(FR_VIEW("rack"), f.cluster->scale.from[0], sizeof(f.cluster->scale.from[0])));
    fixture_start(&f);
    fixture_halt_control(&f);
    int fd = sock_connect(&f.bound);
    assert_true(sock_text(fd, "GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    fixture_until(fixture_counters(&f).parked == 1);
    fixture_fini(&f);
    close(fd);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_leave_and_come_back_under_load),
        cmocka_unit_test(snapshots_change_while_requests_run),
        cmocka_unit_test(the_deadline_cuts_what_is_left),
        cmocka_unit_test(draining_answers_what_is_under_way),
        cmocka_unit_test(the_drain_deadline_ends_the_rest),
        cmocka_unit_test(the_backlog_is_served_before_a_listener_closes),
        cmocka_unit_test(at_the_limit_connections_wait_their_turn),
        cmocka_unit_test(at_the_limit_the_longest_idle_makes_room),
        cmocka_unit_test(at_the_limit_clients_that_have_not_asked_stay),
        cmocka_unit_test(the_end_comes_before_demand_was_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
