/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_edge_members.c - a member's way: joined, checked, told by its agent-check, drained, gone;
 * and what each of these does to the choice that workers have.
 */
#include "edge_bed.h"

/* A member or its agent-check, played by the test on the edge's own loop. */
struct server {
    struct loop *loop;
    struct loop_listener listener;
    char address[32];
    const char *answer; /* then the connection is closed */
    bool speaks_first;  /* an agent is not asked anything */
    unsigned asked;
};

struct visit {
    struct server *server;
    struct loop_sock sock;
};

static void
visit_free(void *ctx)
{
    fr_free(ctx);
}

static void
visit_answer(struct visit *visit)
{
    struct server *server = visit->server;
    server->asked++;
    if (server->answer[0] != '\0')
        (void)send(visit->sock.fd, server->answer, strlen(server->answer), MSG_NOSIGNAL);
    loop_close(&visit->sock, visit_free, visit);
}

static void
on_request(void *ctx, struct loop_buf *buf, int status)
{
    struct visit *visit = ctx;
    loop_buf_give_back(buf);
    if (status > 0)
        visit_answer(visit);
    else
        loop_close(&visit->sock, visit_free, visit);
}

static void
on_accept(void *ctx, int fd, const struct loop_addr *peer)
{
    struct server *server = ctx;
    struct visit *visit = fr_xalloc(sizeof(*visit));
    (void)peer;
    visit->server = server;
    loop_sock_open(&visit->sock, server->loop, fd);
    if (server->speaks_first)
        visit_answer(visit);
    else
        loop_recv(&visit->sock, on_request, visit);
}

static void
server_up(struct bed *bed, struct server *server, const char *answer)
{
    struct loop_addr addr;
    int fd = -1;
    memset(server, 0, sizeof(*server));
    server->loop = bed->loop;
    server->answer = answer;
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:0"), &addr), FR_OK);
    assert_int_equal(loop_bind(&addr, false, &fd, NULL), FR_OK);
    assert_int_equal(loop_listen(&server->listener, bed->loop, fd, on_accept, server), FR_OK);
    (void)snprintf(server->address, sizeof(server->address), "127.0.0.1:%u",
                   loop_addr_port(&server->listener.addr));
}

/* As one endpoint of its cluster's view, which is what workers choose from. */
static const struct cluster_endpoint *
endpoint(const struct bed *bed, const char *cluster, const char *id)
{
    const struct cluster_view *view = edge_cluster_find(bed->edge, fr_view_of(cluster))->view;
    for (uint32_t i = 0; i < view->roster.count; i++)
        if (strcmp(cluster_view_at(view, i)->member->id, id) == 0)
            return cluster_view_at(view, i);
    return NULL;
}

static struct bed *
open_with(struct bed *bed, const char *cluster, const char *format, const char *address)
{
    char *tail = fr_xprintf("routes: [{ cluster: web }]\nclusters: { web: { %s, %s%s } }\n",
                            cluster, format, address);
    bed_manager_up(bed);
    bed_start(bed, bed_config(bed, CONFIG_ROLE_EDGE, true, tail), WIRE_ROLE_EDGE);
    bed_meet(bed, 3);
    fr_free(tail);
    return bed;
}

static void
agent_up(struct bed *bed, struct server *agent, const char *line)
{
    server_up(bed, agent, line);
    agent->speaks_first = true;
}

static char *
one_member(const struct server *server)
{
    return fr_xprintf("members: [{ id: web-1, address: \"%s\" }]", server->address);
}

static void
unhealthy_is_out_of_the_choice(void **state)
{
    struct bed *bed = bed_new();
    struct server server;
    (void)state;
    server_up(bed, &server, "HTTP/1.1 200 OK\r\n\r\n");
    char *member = one_member(&server);
    open_with(bed, member, "health: { path: /h, interval: 100ms, timeout: 5s, fall: 2, rise: 1 }",
              "");
    bed_until(bed, server.asked >= 2);
    assert_true(endpoint(bed, "web", "web-1")->healthy);
    size_t crossings = bed->crossing_count;
    server.answer = "HTTP/1.1 500 Broken\r\n\r\n";
    unsigned asked = server.asked;
    bed_until(bed, !bed_member(bed, "web", "web-1")->healthy);
    assert_true(server.asked >= asked + 2); /* one failure is none */
    bed_until(bed, bed_said_state(bed, "web", "web-1", "unhealthy"));
    assert_true(bed->crossing_count > crossings); /* told at once */
    assert_false(endpoint(bed, "web", "web-1")->healthy);
    server.answer = "HTTP/1.1 200 OK\r\n\r\n";
    bed_until(bed, bed_said_state(bed, "web", "web-1", "ready"));
    assert_true(endpoint(bed, "web", "web-1")->healthy);
    fr_free(member);
    loop_listener_close(&server.listener);
    bed_close(bed);
}

static struct bed *
open_with_agent(struct bed *bed, const struct server *agent)
{
    char *tail = fr_xprintf("members: [{ id: web-1, address: \"127.0.0.1:9\" }], "
                            "utilization: { agent-check: \"%s\", agent-check-interval: 100ms }",
                            agent->address);
    open_with(bed, tail, "balance: p2c", "");
    fr_free(tail);
    return bed;
}

static void
agent_check_says_down_drain_and_up(void **state)
{
    struct bed *bed = bed_new();
    struct server agent;
    (void)state;
    agent_up(bed, &agent, "up 25%\n");
    open_with_agent(bed, &agent);
    bed_until(bed, agent.asked > 0);
    const struct edge_member *member = bed_member(bed, "web", "web-1");
    bed_until(bed, member->utilization.agent_check_at_us != 0);
    assert_float_equal(edge_member_utilization(member), 0.75, 1e-6);
    agent.answer = "down\n";
    bed_until(bed, bed_said_state(bed, "web", "web-1", "unhealthy"));
    assert_false(endpoint(bed, "web", "web-1")->healthy);
    agent.answer = "drain\n"; /* no new requests, but it is not broken */
    bed_until(bed, member->told_to_drain && endpoint(bed, "web", "web-1")->weight == 0);
    assert_true(endpoint(bed, "web", "web-1")->healthy);
    assert_int_equal(member->weight, 100);
    bed_done(bed, "web", "<weight server='web-1' weight='40'/>"); /* it stays drained */
    assert_int_equal(endpoint(bed, "web", "web-1")->weight, 0);
    agent.answer = "ready\n";
    bed_until(bed, endpoint(bed, "web", "web-1")->weight == 40);
    loop_listener_close(&agent.listener);
    bed_close(bed);
}

/* A line without a state changes none, and one that is no line at all changes nothing. */
static void
agent_check_that_says_nothing(void **state)
{
    struct bed *bed = bed_new();
    struct server agent;
    (void)state;
    agent_up(bed, &agent, "down\n");
    open_with_agent(bed, &agent);
    const struct edge_member *member = bed_member(bed, "web", "web-1");
    bed_until(bed, member->told_down);
    agent.answer = "30%\n";
    bed_until(bed, member->utilization.agent_check_at_us != 0);
    assert_true(member->told_down);
    assert_false(member->healthy);
    agent.answer = "";
    unsigned asked = agent.asked;
    bed_until(bed, agent.asked >= asked + 2);
    assert_true(member->told_down);
    agent.answer = "up\n";
    bed_until(bed, member->healthy);
    loop_listener_close(&agent.listener);
    bed_close(bed);
}

/* Both have a say: passing its checks is no use to a member that its agent-check calls down. */
static void
both_checks_must_agree(void **state)
{
    struct bed *bed = bed_new();
    struct server server, agent;
    (void)state;
    server_up(bed, &server, "HTTP/1.1 200 OK\r\n\r\n");
    agent_up(bed, &agent, "down\n");
    char *tail = fr_xprintf("members: [{ id: web-1, address: \"%s\" }], "
                            "health: { path: /h, interval: 100ms, timeout: 5s, fall: 1 }, "
                            "utilization: { agent-check: \"%s\", agent-check-interval: 100ms }",
                            server.address, agent.address);
    open_with(bed, tail, "balance: p2c", "");
    const struct edge_member *member = bed_member(bed, "web", "web-1");
    bed_until(bed, member->told_down);
    unsigned asked = server.asked;
    bed_until(bed, server.asked >= asked + 2);
    assert_true(member->passes);
    assert_false(member->healthy);
    server.answer = "HTTP/1.1 503 No\r\n\r\n";
    bed_until(bed, !member->passes);
    agent.answer = "up\n";
    bed_until(bed, !member->told_down);
    assert_false(member->healthy);
    server.answer = "HTTP/1.1 200 OK\r\n\r\n";
    bed_until(bed, member->healthy);
    fr_free(tail);
    loop_listener_close(&server.listener);
    loop_listener_close(&agent.listener);
    bed_close(bed);
}

/* What was told by checks that are no more would stand for ever. */
static void
checks_taken_away_take_their_verdict(void **state)
{
    struct bed *bed = bed_new();
    struct server agent;
    (void)state;
    agent_up(bed, &agent, "down\n");
    open_with_agent(bed, &agent);
    const struct edge_member *member = bed_member(bed, "web", "web-1");
    bed_until(bed, !member->healthy);
    bed_done(bed, NULL,
             "<cluster name='web'><members><item id='web-1' address='127.0.0.1:9'/>"
             "</members></cluster>");
    assert_ptr_equal(bed_member(bed, "web", "web-1"), member); /* the same one */
    assert_true(member->healthy);
    assert_false(member->told_down);
    assert_true(endpoint(bed, "web", "web-1")->healthy);
    loop_listener_close(&agent.listener);
    bed_close(bed);
}

/* ---- draining ------------------------------------------------------------------------------- */

static void
a_member_leaves_when_nothing_is_on_it(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    char address[32], join[128];
    static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    char got[512];
    (void)state;
    int listen_fd = bed_silent_server(address, sizeof(address));
    (void)snprintf(join, sizeof(join), "<join server='far-1' address='%s'/>", address);
    bed_done(bed, "far", join);
    int client = bed_client(bed, "GET /far/ HTTP/1.1\r\nHost: a\r\n\r\n");
    int server = bed_server_take(bed, listen_fd);
    uint64_t asked = bed_request(bed, "far", "<leave server='far-1'/>");
    bed_until(bed, bed_said_state(bed, "far", "far-1", "draining"));
    assert_null(endpoint(bed, "far", "far-1")); /* new requests go elsewhere */
    assert_null(bed_result(bed, asked));
    assert_int_equal(send(server, answer, sizeof(answer) - 1, MSG_NOSIGNAL), sizeof(answer) - 1);
    bed_until(bed, bed_result(bed, asked) != NULL);
    ssize_t len = recv(client, got, sizeof(got) - 1, 0);
    assert_true(len > 0);
    got[len] = '\0';
    assert_non_null(strstr(got, "200")); /* what was under way was finished */
    assert_int_equal(recv(server, got, sizeof(got), MSG_DONTWAIT), 0); /* none idle is left */
    bed_until(bed, bed_said_server(bed, "far", "far-1") == NULL);
    close(client);
    close(server);
    close(listen_fd);
    bed_close(bed);
}

/* A member of a drain of 200 ms, with a request under way that it never answers. */
struct held {
    struct bed *bed;
    int listen_fd, client, server;
};

static void
held_open(struct held *held)
{
    char address[32], join[128];
    held->bed = bed_new();
    held->listen_fd = bed_silent_server(address, sizeof(address));
    open_with(held->bed, "members: [{ id: web-0, address: \"127.0.0.1:9\", weight: 0 }]",
              "drain: 200ms, retry-budget: 0", "");
    (void)snprintf(join, sizeof(join), "<join server='web-1' address='%s'/>", address);
    bed_done(held->bed, "web", join);
    held->client =
        bed_client(held->bed, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n");
    held->server = bed_server_take(held->bed, held->listen_fd);
}

/* Its client is told, not just dropped, and not before the whole drain is over. */
static void
held_close(struct held *held, int64_t from_us)
{
    char got[512];
    ssize_t len = -1;
    bed_until(held->bed, (len = recv(held->client, got, sizeof(got) - 1, MSG_DONTWAIT)) >= 0);
    assert_true(loop_clock_us(held->bed->loop) - from_us >= 200 * FR_US_PER_MS);
    assert_true(len > 0);
    got[len] = '\0';
    assert_non_null(strstr(got, "HTTP/1.1 50"));
    close(held->client);
    close(held->server);
    close(held->listen_fd);
    bed_close(held->bed);
}

static void
the_drain_deadline_cuts(void **state)
{
    struct held held;
    (void)state;
    held_open(&held);
    int64_t from_us = loop_clock_us(held.bed->loop);
    const struct said_result *left = bed_ask(held.bed, "web", "<leave server='web-1'/>");
    assert_int_equal(left->status, WIRE_DONE);
    held_close(&held, from_us);
}

/* The turn that removes it may last longer than the drain, and until its end it is in the snapshot
 * and given requests: they have the whole drain behind it. */
static void
the_drain_begins_when_the_snapshot_is_out(void **state)
{
    struct held held;
    (void)state;
    held_open(&held);
    edge_member_leave(bed_member(held.bed, "web", "web-1"));
    usleep(300000);
    held_close(&held, loop_clock_us(held.bed->loop));
}

/* One that comes back while it is still leaving is a new member; both are counted by themselves. */
static void
back_while_still_leaving(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    char address[32], join[128];
    (void)state;
    int listen_fd = bed_silent_server(address, sizeof(address));
    (void)snprintf(join, sizeof(join), "<join server='far-1' address='%s'/>", address);
    bed_done(bed, "far", join);
    int client = bed_client(bed, "GET /far/ HTTP/1.1\r\nHost: a\r\n\r\n");
    int server = bed_server_take(bed, listen_fd);
    const struct edge_member *before = bed_member(bed, "far", "far-1");
    uint64_t asked = bed_request(bed, "far", "<leave server='far-1'/>");
    bed_done(bed, "far", join);
    const struct edge_member *after = bed_member(bed, "far", "far-1");
    assert_ptr_not_equal(after, before);
    assert_null(bed_result(bed, asked));
    assert_int_equal(bed_in_flight(after), 0);
    close(server);
    bed_until(bed, bed_result(bed, asked) != NULL);
    assert_ptr_equal(bed_member(bed, "far", "far-1"), after); /* it stays */
    close(client);
    close(listen_fd);
    bed_close(bed);
}

/* What the manager says counts at once, also where the edge had lowered the weight by itself, less.
 */
static void
a_weight_below_the_ladders_is_in_force_at_once(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    struct edge_member *member = bed_member(bed, "web", "web-1");
    member->ladder_weight = 36;
    edge_member_show(member);
    bed_until(bed, endpoint(bed, "web", "web-1")->weight == 36);
    bed_done(bed, "web", "<weight server='web-1' weight='40'/>");
    assert_int_equal(endpoint(bed, "web", "web-1")->weight, 36);
    bed_done(bed, "web", "<weight server='web-1' weight='21'/>");
    assert_int_equal(endpoint(bed, "web", "web-1")->weight, 21);
    bed_close(bed);
}

static void
slow_start_for_the_added_only(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    assert_int_equal(endpoint(bed, "web", "web-1")->ramp_from_us, 0); /* there from the start */
    bed_done(bed, "far", "<join server='far-1' address='127.0.0.1:15'/>");
    assert_true(endpoint(bed, "far", "far-1")->ramp_from_us > 0);
    bed_close(bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unhealthy_is_out_of_the_choice),
        cmocka_unit_test(agent_check_says_down_drain_and_up),
        cmocka_unit_test(agent_check_that_says_nothing),
        cmocka_unit_test(both_checks_must_agree),
        cmocka_unit_test(checks_taken_away_take_their_verdict),
        cmocka_unit_test(a_member_leaves_when_nothing_is_on_it),
        cmocka_unit_test(the_drain_deadline_cuts),
        cmocka_unit_test(the_drain_begins_when_the_snapshot_is_out),
        cmocka_unit_test(back_while_still_leaving),
        cmocka_unit_test(a_weight_below_the_ladders_is_in_force_at_once),
        cmocka_unit_test(slow_start_for_the_added_only),
    };
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_HUMAN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
