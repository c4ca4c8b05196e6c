/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_edge_publish.c - one snapshot a turn of everything that changed in it, and nobody is told
 * "done" before every worker routes by it.
 */
#include "edge_bed.h"

static const struct cluster_view *
view_of(const struct bed *bed, const char *cluster)
{
    return edge_cluster_find(bed->edge, fr_view_of(cluster))->view;
}

static void
one_generation_a_turn(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    struct fr_buf text;
    (void)state;
    bed_done(bed, "web", "<weight server='web-1' weight='1'/>");
    uint64_t before = bed->edge->generation;
    fr_buf_init(&text, 65536);
    for (unsigned i = 1; i <= 10; i++)
        assert_int_equal(fr_buf_printf(&text,
                                       "<reconfigure id='3:%u' cluster='far'><join server='far-%u'"
                                       " address='127.0.0.1:%u'/></reconfigure>",
                                       100 + i, i, 100 + i),
                         FR_OK);
    bed_send(bed, text.data, text.len); /* one write, and so one read */
    bed->sequence = 110;
    bed_until(bed, bed_result(bed, 110) != NULL);
    fr_buf_fini(&text);
    assert_int_equal(bed->edge->generation, before + 1);
    assert_int_equal(view_of(bed, "far")->roster.count, 11);
    bed_close(bed);
}

static void
what_did_not_change_is_not_built_again(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    (void)state;
    const struct cluster_view *web = view_of(bed, "web"), *far = view_of(bed, "far");
    uint64_t generation = bed->edge->generation;
    bed_done(bed, "far", "<join server='far-1' address='127.0.0.1:15'/>");
    assert_ptr_equal(view_of(bed, "web"), web);
    assert_ptr_not_equal(view_of(bed, "far"), far);
    assert_int_equal(bed->edge->generation, generation + 1);
    /* What changes nothing publishes nothing. */
    bed_done(bed, "far", "<join server='far-1' address='127.0.0.1:15'/>");
    bed_done(bed, "web", "<weight server='web-1' weight='100'/>");
    bed_done(bed, "api", "<levels upper='0.5'/>");
    bed_refused(bed, "web", "<weight server='web-9' weight='1'/>", "not-found", "web-9");
    assert_int_equal(bed->edge->generation, generation + 1);
    bed_close(bed);
}

struct order {
    struct bed *bed;
    char seen[16];
    uint64_t adopted;
};

static void
see(struct order *order, char what)
{
    size_t len = strlen(order->seen);
    assert_true(len < sizeof(order->seen) - 1);
    order->seen[len] = what;
}

static void
on_second_round(void *ctx)
{
    see(ctx, 'c');
}

static void
on_first(void *ctx)
{
    struct order *order = ctx;
    order->adopted = proxy_generation(order->bed->edge->proxy);
    see(order, 'a');
    edge_when_in_force(order->bed->edge, on_second_round, order); /* from inside of one */
}

static void
on_second(void *ctx)
{
    see(ctx, 'b');
}

static void
waiters_run_in_order_once_it_is_in_force(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    struct order order = {.bed = bed};
    (void)state;
    edge_member_weight(bed_member(bed, "web", "web-1"), 3);
    uint64_t wanted = bed->edge->generation + 1;
    edge_when_in_force(bed->edge, on_first, &order);
    edge_when_in_force(bed->edge, on_second, &order);
    assert_string_equal(order.seen, ""); /* never inside the call */
    bed_until(bed, strlen(order.seen) == 3);
    assert_string_equal(order.seen, "abc");
    assert_true(order.adopted >= wanted);
    bed_close(bed);
}

/* An end does not swallow who waits; before the start there is nothing to wait for. */
static void
waiters_are_told_at_the_end_too(void **state)
{
    struct bed *bed = bed_new();
    struct order order = {.bed = bed};
    (void)state;
    bed_turn(bed);
    assert_int_equal(edge_new(bed->loop, bed_config(bed, CONFIG_ROLE_EDGE, false, BED_SETTINGS),
                              WIRE_ROLE_EDGE, &bed->diag, &bed->edge, &bed->why),
                     FR_OK);
    edge_when_in_force(bed->edge, on_second, &order);
    assert_string_equal(order.seen, "b");
    assert_int_equal(edge_start(bed->edge, &bed->why), FR_OK);
    edge_when_in_force(bed->edge, on_second, &order);
    edge_free(&bed->edge);
    assert_string_equal(order.seen, "bb");
    bed_close(bed);
}

/* A cluster of an earlier one's name gets a slot of its own: nobody counts on the other's. */
static void
slots_are_not_given_again_at_once(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    static const char put[] = "<cluster name='extra'><members><item>127.0.0.1:20</item></members>"
                              "</cluster>";
    (void)state;
    uint32_t slots[3];
    for (int i = 0; i < 3; i++) {
        bed_done(bed, NULL, put);
        slots[i] = edge_cluster_find(bed->edge, FR_VIEW("extra"))->slot;
        bed_done(bed, NULL, put); /* replaced: the same one */
        assert_int_equal(edge_cluster_find(bed->edge, FR_VIEW("extra"))->slot, slots[i]);
        bed_done(bed, NULL, "<remove-cluster name='extra'/>");
        assert_false(bed->edge->cluster_slots[slots[i]]);
    }
    assert_true(slots[0] != slots[1] && slots[1] != slots[2] && slots[0] != slots[2]);
    bed_close(bed);
}

/* What left and what came while nothing could be published is in the next one that can be. */
static void
what_failed_is_made_up_for(void **state)
{
    struct bed *bed = bed_open(BED_SETTINGS);
    struct edge *edge = bed->edge;
    struct config_route *bad = config_route_new();
    (void)state;
    bed_done(bed, NULL,
             "<cluster name='one'><members><item>127.0.0.1:20</item></members></cluster>");
    uint32_t one = edge_cluster_find(edge, FR_VIEW("one"))->slot;
    assert_non_null(cluster_snapshot_view(edge->published, one));
    assert_true(fr_view_copy(FR_VIEW("bad"), bad->name, sizeof(bad->name)));
    assert_true(fr_view_copy(FR_VIEW("nowhere"), bad->cluster, sizeof(bad->cluster)));
    edge->routes[edge->route_count++] = bad; /* there is room for one more */
    edge->routes_changed = true;
    uint64_t generation = edge->generation;
    edge_cluster_remove(edge, edge_cluster_find(edge, FR_VIEW("one")));
    edge_publish(edge);
    assert_int_equal(edge->generation, generation);
    assert_int_equal(edge->gone_count, 1);
    assert_non_null(cluster_snapshot_view(edge->published, one)); /* what stands stays */
    /* Settings anew have no such route; another cluster comes with them. */
    bed_done(bed, NULL,
             "<cluster name='two'><members><item>127.0.0.1:21</item></members></cluster>");
    uint32_t two = edge_cluster_find(edge, FR_VIEW("two"))->slot;
    assert_int_equal(edge->gone_count, 0);
    const struct cluster_view *shown = cluster_snapshot_view(edge->published, two);
    assert_ptr_equal(shown, view_of(bed, "two"));
    if (one != two)
        assert_null(cluster_snapshot_view(edge->published, one));
    assert_ptr_equal(cluster_snapshot_view(edge->published, view_of(bed, "web")->slot),
                     view_of(bed, "web"));
    bed_close(bed);
}

static void
relief_steps_reach_the_snapshot(void **state)
{
    struct bed *bed = bed_open("edge: { relief: { steps: [stale, shed] } }\n" BED_SETTINGS);
    (void)state;
    uint64_t before = bed->edge->generation;
    bed_done(bed, NULL, "<relieve step='1'/>");
    assert_int_equal(bed->edge->generation, before + 1);
    bed_done(bed, NULL, "<relieve step='1'/>");
    assert_int_equal(bed->edge->generation, before + 1);
    bed_close(bed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_generation_a_turn),
        cmocka_unit_test(what_did_not_change_is_not_built_again),
        cmocka_unit_test(waiters_run_in_order_once_it_is_in_force),
        cmocka_unit_test(waiters_are_told_at_the_end_too),
        cmocka_unit_test(slots_are_not_given_again_at_once),
        cmocka_unit_test(what_failed_is_made_up_for),
        cmocka_unit_test(relief_steps_reach_the_snapshot),
    };
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_HUMAN);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
