/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_edge_requests.c - a request is carried out once, however often it comes: remembered while it
 * is under way and after it was answered, up to stated bounds.
 */
#include "edge_bed.h"

static uint64_t
weight_of(const struct bed *bed, const char *id)
{
    const struct edge_member *member = bed_member(bed, "web", id);
    assert_non_null(member);
    return member->weight;
}

static void
weigh(struct bed *bed, uint64_t sequence, unsigned weight)
{
    bed_say(bed, "<reconfigure id='3:%llu' cluster='web'><weight server='web-1' weight='%u'/>"
                 "</reconfigure>",
            (unsigned long long)sequence, weight);
}

static void
answered_again_not_redone(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    weigh(bed, 1, 10);
    weigh(bed, 2, 20);
    weigh(bed, 1, 10); /* out of order, and in one go with the others */
    bed_until(bed, bed_results_of(bed, 3, 2) == 1 && bed_results_of(bed, 3, 1) >= 1);
    assert_int_equal(weight_of(bed, "web-1"), 20);
    size_t before = bed_results_of(bed, 3, 1);
    weigh(bed, 1, 10);
    bed_until(bed, bed_results_of(bed, 3, 1) == before + 1);
    assert_int_equal(weight_of(bed, "web-1"), 20);
    const struct said_result *again = bed_result(bed, 1);
    assert_int_equal(again->status, WIRE_DONE);
    /* What stands under the id counts, not what else the repetition says. */
    weigh(bed, 2, 77);
    bed_until(bed, bed_results_of(bed, 3, 2) == 2);
    assert_int_equal(weight_of(bed, "web-1"), 20);
    bed_close(bed);
}

static void
a_repeated_allocation_gives_the_same_servers(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    struct said_result first = *bed_ask(bed, "api", "<allocate count='2'/>");
    assert_int_equal(first.status, WIRE_DONE);
    assert_int_equal(first.server_count, 2);
    assert_string_not_equal(first.servers[0], first.servers[1]);
    bed_say(bed, "<reconfigure id='3:1' cluster='api'><allocate count='2'/></reconfigure>");
    bed_until(bed, bed_results_of(bed, 3, 1) == 2);
    const struct said_result *again = bed_result(bed, 1);
    assert_int_equal(again->server_count, 2);
    assert_string_equal(again->servers[0], first.servers[0]);
    assert_string_equal(again->servers[1], first.servers[1]);
    assert_int_equal(again->generation, first.generation);
    assert_int_equal(edge_cluster_find(bed->edge, FR_VIEW("api"))->member_count, 2);
    bed_close(bed);
}

static void
a_refusal_is_remembered_too(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    bed_refused(bed, "api", "<allocate count='4'/>", "at-max", "maximum of 3");
    bed_say(bed, "<reconfigure id='3:1' cluster='api'><allocate count='1'/></reconfigure>");
    bed_until(bed, bed_results_of(bed, 3, 1) == 2);
    assert_string_equal(bed_result(bed, 1)->code, "at-max");
    assert_int_equal(edge_cluster_find(bed->edge, FR_VIEW("api"))->member_count, 0);
    bed_close(bed);
}

/* ---- under way ------------------------------------------------------------------------------ */

struct held { /* a member with a request on it that does not end */
    char address[32];
    int listen_fd, server_fd, client_fd;
};

static void
hold(struct bed *bed, struct held *held)
{
    char join[160];
    held->listen_fd = bed_silent_server(held->address, sizeof(held->address));
    (void)snprintf(join, sizeof(join), "<join server='far-1' address='%s' weight='100'/>",
                   held->address);
    bed_done(bed, "far", join);
    held->client_fd = bed_client(bed, "GET /far/ HTTP/1.1\r\nHost: a\r\n\r\n");
    held->server_fd = bed_server_take(bed, held->listen_fd);
    assert_int_equal(bed_in_flight(bed_member(bed, "far", "far-1")), 1);
}

static void
let_go(struct held *held)
{
    close(held->server_fd);
    close(held->listen_fd);
    close(held->client_fd);
}

#define LEAVE "<leave server='far-1'/>"

static void
repeated_under_way_answered_once(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    struct held held;
    (void)state;
    hold(bed, &held);
    uint64_t asked = bed_request(bed, "far", LEAVE);
    bed_say(bed, "<reconfigure id='3:%llu' cluster='far'>" LEAVE "</reconfigure>",
            (unsigned long long)asked);
    bed_done(bed, "web", "<weight server='web-1' weight='1'/>"); /* later ones pass it */
    assert_int_equal(bed_results_of(bed, 3, asked), 0);
    assert_int_equal(bed->edge->pending_count, 1);
    let_go(&held);
    bed_until(bed, bed_results_of(bed, 3, asked) > 0);
    bed_done(bed, "web", "<weight server='web-1' weight='2'/>");
    assert_int_equal(bed_results_of(bed, 3, asked), 1);
    assert_int_equal(bed->edge->pending_count, 0);
    bed_close(bed);
}

static void
two_that_wait_for_one_end_are_both_answered(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    struct held held;
    (void)state;
    hold(bed, &held);
    uint64_t first = bed_request(bed, "far", LEAVE);
    uint64_t second = bed_request(bed, "far", LEAVE); /* is leaving already, and not gone */
    bed_done(bed, "web", "<weight server='web-1' weight='1'/>");
    assert_null(bed_result(bed, second));
    let_go(&held);
    bed_until(bed, bed_result(bed, first) != NULL && bed_result(bed, second) != NULL);
    assert_int_equal(bed_result(bed, first)->status, WIRE_DONE);
    assert_int_equal(bed_result(bed, second)->status, WIRE_DONE);
    bed_close(bed);
}

/* The end of the same server in another cluster is not the one that is waited for. */
static void
another_clusters_member_does_not_count(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    struct held held;
    (void)state;
    hold(bed, &held);
    bed_done(bed, "api", "<join server='far-1' address='127.0.0.1:15' weight='100'/>");
    uint64_t asked = bed_request(bed, "far", LEAVE);
    bed_done(bed, "api", LEAVE);
    assert_null(bed_result(bed, asked));
    let_go(&held);
    bed_until(bed, bed_result(bed, asked) != NULL);
    bed_close(bed);
}

static void
the_answer_waits_for_the_managers_return(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    struct held held;
    (void)state;
    hold(bed, &held);
    uint64_t asked = bed_request(bed, "far", LEAVE);
    bed_done(bed, "web", "<weight server='web-1' weight='1'/>");
    bed_hang_up(bed);
    let_go(&held);
    bed_until(bed, bed->edge->pending_count == 0); /* done while nobody listens */
    bed_meet(bed, 3);
    assert_int_equal(bed->obeyed, 3);
    bed_done(bed, "web", "<weight server='web-1' weight='2'/>");
    assert_int_equal(bed_results_of(bed, 3, asked), 0); /* not unasked */
    bed_say(bed, "<reconfigure id='3:%llu' cluster='far'>" LEAVE "</reconfigure>",
            (unsigned long long)asked);
    bed_until(bed, bed_results_of(bed, 3, asked) == 1);
    assert_int_equal(bed_result(bed, asked)->status, WIRE_DONE);
    bed_close(bed);
}

/* ---- bounds --------------------------------------------------------------------------------- */

#define FAST "stream: { rate: 1000000 }\n" BED_SETTINGS

static bool
remembered(struct bed *bed, uint64_t sequence)
{
    return edge_request_find(bed->edge, (struct wire_request_id){3, sequence}) != NULL;
}

static void
the_oldest_answers_are_forgotten(void **state)
{
    struct bed *bed = bed_open(FAST);
    (void)state;
    for (unsigned i = 0; i < EDGE_RESULTS_KEPT; i++)
        (void)bed_request(bed, "web", "<weight server='web-1' weight='5'/>");
    bed_until(bed, bed_result(bed, EDGE_RESULTS_KEPT) != NULL);
    assert_int_equal(bed->edge->answered_count, EDGE_RESULTS_KEPT);
    assert_true(remembered(bed, 1));
    bed_done(bed, "web", "<weight server='web-1' weight='6'/>"); /* one over */
    assert_int_equal(bed->edge->answered_count, EDGE_RESULTS_KEPT);
    assert_false(remembered(bed, 1));
    assert_true(remembered(bed, 2));
    assert_true(remembered(bed, EDGE_RESULTS_KEPT + 1));
    weigh(bed, 2, 99); /* remembered: nothing happens */
    bed_until(bed, bed_results_of(bed, 3, 2) == 2);
    assert_int_equal(weight_of(bed, "web-1"), 6);
    assert_true(remembered(bed, 2)); /* asking again makes it neither younger nor double */
    assert_int_equal(bed->edge->answered_count, EDGE_RESULTS_KEPT);
    bed_close(bed);
}

static void
what_is_under_way_is_never_forgotten(void **state)
{
    struct bed *bed = bed_open(FAST);
    struct held held;
    (void)state;
    hold(bed, &held);
    uint64_t asked = bed_request(bed, "far", LEAVE);
    for (unsigned i = 0; i < EDGE_RESULTS_KEPT + 1; i++)
        (void)bed_request(bed, "web", "<weight server='web-1' weight='5'/>");
    bed_until(bed, bed_result(bed, bed->sequence) != NULL);
    assert_true(remembered(bed, asked));
    assert_false(remembered(bed, 1)); /* the join before it was answered, and is the oldest */
    let_go(&held);
    bed_until(bed, bed_result(bed, asked) != NULL);
    bed_close(bed);
}

static void
too_many_under_way_are_refused(void **state)
{
    struct bed *bed = bed_open(FAST);
    struct held held;
    (void)state;
    hold(bed, &held);
    uint64_t first = bed->sequence + 1;
    for (unsigned i = 0; i < EDGE_REQUESTS_PENDING_MAX; i++)
        (void)bed_request(bed, "far", LEAVE);
    bed_until(bed, bed->edge->pending_count == EDGE_REQUESTS_PENDING_MAX);
    assert_null(bed_result(bed, bed->sequence));
    bed_refused(bed, "far", LEAVE, "full", "under way"); /* one over */
    assert_int_equal(bed->edge->pending_count, EDGE_REQUESTS_PENDING_MAX);
    let_go(&held);
    bed_until(bed, bed->edge->pending_count == 0);
    bed_done(bed, "far", LEAVE); /* there is room again, and the server is gone */
    bed_until(bed, bed_result(bed, first) != NULL);
    for (unsigned i = 0; i < EDGE_REQUESTS_PENDING_MAX; i += 997)
        assert_int_equal(bed_results_of(bed, 3, first + i), 1);
    bed_close(bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answered_again_not_redone),
        cmocka_unit_test(a_repeated_allocation_gives_the_same_servers),
        cmocka_unit_test(a_refusal_is_remembered_too),
        cmocka_unit_test(repeated_under_way_answered_once),
        cmocka_unit_test(two_that_wait_for_one_end_are_both_answered),
        cmocka_unit_test(another_clusters_member_does_not_count),
        cmocka_unit_test(the_answer_waits_for_the_managers_return),
        cmocka_unit_test(the_oldest_answers_are_forgotten),
        cmocka_unit_test(what_is_under_way_is_never_forgotten),
        cmocka_unit_test(too_many_under_way_are_refused),
    };
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_HUMAN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
