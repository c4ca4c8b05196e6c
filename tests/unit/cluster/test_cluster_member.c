/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_member.c - slots, references, the in-flight integral, sums over workers.
 */
#include "cluster_fixture.h"

#include <pthread.h>

static void
slots_are_reused_lowest_first(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 3, 1);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(f.members[i]->slot, i);
    struct cluster_member *kept = cluster_member_ref(f.members[1]);
    cluster_member_unref(&f.members[1]);
    assert_null(f.members[1]);
    struct cluster_member *fourth =
        cluster_member_new(f.slots, FR_VIEW("x"), FR_VIEW("p"), &f.members[0]->addr, 1);
    assert_int_equal(fourth->slot, 3); /* slot 1 lives while somebody holds its member */
    cluster_member_unref(&kept);
    f.members[1] = cluster_member_new(f.slots, FR_VIEW("y"), FR_VIEW(""), &f.members[0]->addr, 1);
    assert_int_equal(f.members[1]->slot, 1);
    assert_string_equal(fourth->pool, "p");
    assert_string_equal(fourth->address, "127.0.0.1:9000");
    cluster_member_unref(&fourth);
    fixture_fini(&f);
}

static void
a_name_one_byte_too_long_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1, 1);
    char name[CONFIG_NAME_BYTES];
    memset(name, 'a', sizeof(name));
    struct loop_addr *addr = &f.members[0]->addr;
    assert_null(
        cluster_member_new(f.slots, fr_view_make(name, sizeof(name)), FR_VIEW(""), addr, 1));
    struct cluster_member *fits =
        cluster_member_new(f.slots, fr_view_make(name, sizeof(name) - 1), FR_VIEW(""), addr, 1);
    assert_non_null(fits);
    assert_int_equal(fits->slot, 1); /* the refused one gave its slot back */
    cluster_member_unref(&fits);
    fixture_fini(&f);
}

static void
integral_adds_up(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1, 2);
    struct cluster_member *m = f.members[0];
    struct cluster_member_stats sum;
    cluster_member_enter(m, 0, 1000);
    cluster_member_enter(m, 0, 2000);  /* 1 x 1000 */
    cluster_member_leave(m, 0, 5000);  /* 2 x 3000 */
    cluster_member_enter(m, 1, 4000);  /* another worker */
    cluster_member_sum(m, 6000, &sum); /* 1 x 1000 and 1 x 2000 more */
    assert_int_equal(sum.in_flight, 2);
    assert_int_equal(sum.in_flight_us, 1000 + 6000 + 1000 + 2000);
    assert_int_equal(sum.in_flight_at_us, 6000);
    /* A worker's turn may be a little ahead of the control thread's: time never runs backwards. */
    cluster_member_leave(m, 0, 8000);
    cluster_member_sum(m, 7000, &sum);
    assert_int_equal(sum.in_flight_us, 1000 + 6000 + 3000 + 3000);
    cluster_member_leave(m, 1, 3000);
    cluster_member_sum(m, 7000, &sum);
    assert_int_equal(sum.in_flight, 0);
    assert_int_equal(sum.in_flight_us, 10000);
    fixture_fini(&f);
}

static void
sum_adds_workers_and_takes_the_latest_orca(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1, 3);
    struct cluster_member *m = f.members[0];
    for (uint32_t w = 0; w < 3; w++) {
        struct cluster_member_stats *s = &m->stats[w];
        assert_int_equal((uintptr_t)s % FR_CACHE_LINE, 0);
        cluster_count_add(&s->requests, 10 + w);
        cluster_count_add(&s->errors, w);
        cluster_count_add(&s->bytes_in, 1000);
        cluster_count_set(&s->connections, 4);
        fr_hist_record(&s->latency, 1000 * (w + 1));
        __atomic_store_n(&s->orca_at_us, w == 1 ? 50 : 10, __ATOMIC_RELEASE);
        cluster_count_set(&s->orca_utilization, 100000 * (w + 1));
    }
    struct cluster_member_stats sum;
    cluster_member_sum(m, 100, &sum);
    assert_int_equal(sum.requests, 33);
    assert_int_equal(sum.errors, 3);
    assert_int_equal(sum.bytes_in, 3000);
    assert_int_equal(sum.connections, 12);
    struct fr_hist latency;
    cluster_member_latency(m, &latency);
    assert_int_equal(fr_hist_count(&latency), 3);
    assert_int_equal(sum.orca_utilization, 200000);
    assert_int_equal(sum.orca_at_us, 50);
    fixture_fini(&f);
}

#define TURNS 200000
static void *
worker_main(void *ctx)
{
    struct cluster_member *m = ctx;
    for (int64_t i = 1; i <= TURNS; i++) {
        cluster_member_enter(m, 0, i * 10);
        cluster_member_leave(m, 0, i * 10 + 5);
    }
    return NULL;
}

/* The reader must never see a torn triple: at a fixed time far ahead, what it computes is the sum
 * so far plus in_flight times the rest, which a mixed reading would miss by microseconds times
 * 2^20. */
static void
a_reader_never_sees_half_a_change(void **state)
{
    (void)state;
    struct fixture f;
    fixture_init(&f, 1, 1);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, worker_main, f.members[0]), 0);
    struct cluster_member_stats sum;
    uint64_t last = 0;
    for (int i = 0; i < 20000; i++) {
        cluster_member_sum(f.members[0], 0, &sum); /* 0: nothing is brought forward */
        assert_true(sum.in_flight <= 1);
        assert_true(sum.in_flight_us >= last);
        assert_true(sum.in_flight_us % 5 == 0);
        last = sum.in_flight_us;
    }
    assert_int_equal(pthread_join(thread, NULL), 0);
    cluster_member_sum(f.members[0], 0, &sum);
    assert_int_equal(sum.in_flight_us, (uint64_t)TURNS * 5);
    fixture_fini(&f);
}

/* What picks read is what the stats say, each worker's own, and nothing of who had the slot before.
 */
static void
loads_go_with_the_stats(void **state)
{
    (void)state;
    struct loop_addr addr;
    struct cluster_slots *slots = cluster_slots_new();
    assert_int_equal(loop_addr_parse(FR_VIEW("127.0.0.1:80"), &addr), FR_OK);
    struct cluster_member *member = cluster_member_new(slots, FR_VIEW("a"), FR_VIEW(""), &addr, 2);
    uint32_t slot = member->slot;
    cluster_member_enter(member, 1, 0);
    cluster_member_enter(member, 1, 0);
    assert_int_equal(cluster_slots_loads(slots, 1)[slot].in_flight, 2);
    assert_int_equal(cluster_slots_loads(slots, 0)[slot].in_flight, 0);
    cluster_member_leave(member, 1, 0);
    assert_int_equal(cluster_slots_loads(slots, 1)[slot].in_flight, 1);
    cluster_slots_loads(slots, 1)[slot].suspect = 1;
    cluster_member_unref(&member);
    member = cluster_member_new(slots, FR_VIEW("b"), FR_VIEW(""), &addr, 2);
    assert_int_equal(member->slot, slot);
    assert_int_equal(cluster_slots_loads(slots, 1)[slot].in_flight, 0);
    assert_int_equal(cluster_slots_loads(slots, 1)[slot].suspect, 0);
    cluster_member_unref(&member);
    cluster_slots_free(&slots);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(loads_go_with_the_stats),
        cmocka_unit_test(slots_are_reused_lowest_first),
        cmocka_unit_test(a_name_one_byte_too_long_is_refused),
        cmocka_unit_test(integral_adds_up),
        cmocka_unit_test(sum_adds_workers_and_takes_the_latest_orca),
        cmocka_unit_test(a_reader_never_sees_half_a_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
