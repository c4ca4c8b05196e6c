/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cluster_roster.c - against a plain array; copies that stay as they were; what differs.
 */
#include "cluster_fixture.h"

#include "base/fr_hash.h"

#define MEMBERS 150
#define COPIES 3
#define STEPS 20000

struct model {
    struct cluster_roster roster;
    struct cluster_endpoint endpoints[MEMBERS];
    uint32_t count;
};

static void
model_is(const struct model *model)
{
    uint32_t healthy = 0, weight_max = 0;
    uint64_t weight_sum = 0;
    assert_int_equal(model->roster.count, model->count);
    for (uint32_t i = 0; i < model->count; i++) {
        const struct cluster_endpoint *is = cluster_roster_at(&model->roster, i);
        const struct cluster_endpoint *wanted = &model->endpoints[i];
        assert_ptr_equal(is->member, wanted->member);
        assert_int_equal(is->weight, wanted->weight);
        assert_int_equal(is->healthy, wanted->healthy);
        assert_int_equal(is->slot, wanted->member->slot);
        assert_int_equal(is->index, i);
        healthy += wanted->healthy;
        weight_sum += wanted->healthy ? wanted->weight : 0;
        weight_max = wanted->weight > weight_max ? wanted->weight : weight_max;
    }
    assert_int_equal(model->roster.healthy, healthy);
    assert_int_equal(model->roster.weight_sum, weight_sum);
    assert_int_equal(model->roster.weight_max, weight_max);
}

/* What a worker does with two: members that came and went, and no other. */
struct shown {
    int balance[MEMBERS]; /* by slot: came minus went */
};

static void
on_differing(void *ctx, const struct cluster_endpoint *before, const struct cluster_endpoint *after)
{
    struct shown *shown = ctx;
    assert_true(before || after);
    if (before)
        shown->balance[before->slot]--;
    if (after)
        shown->balance[after->slot]++;
}

static void
compare(const struct model *before, const struct model *after)
{
    struct shown shown = {{0}};
    cluster_roster_compare(before ? &before->roster : NULL, after ? &after->roster : NULL,
                           on_differing, &shown);
    for (uint32_t i = 0; before && i < before->count; i++)
        shown.balance[before->endpoints[i].member->slot]++;
    for (uint32_t i = 0; after && i < after->count; i++)
        shown.balance[after->endpoints[i].member->slot]--;
    for (uint32_t i = 0; i < MEMBERS; i++)
        assert_int_equal(shown.balance[i], 0);
}

static void
change(struct model *model, struct fixture *f, struct fr_rand *rand)
{
    static const uint32_t weights[] = {0, 1, 100, 100, 100, 1000};
    uint32_t act = fr_rand_below(rand, 3);
    uint32_t index = fr_rand_below(rand, model->count + 1);
    struct cluster_endpoint endpoint = {.weight = weights[fr_rand_below(rand, 6)],
                                        .healthy = fr_rand_below(rand, 2) == 0};
    if (act == 0 && index < model->count) {
        cluster_roster_remove(&model->roster, index);
        model->endpoints[index] = model->endpoints[--model->count];
        return;
    }
    if (act == 1 && index < model->count) {
        endpoint.member = model->endpoints[index].member;
    } else {
        bool taken[MEMBERS] = {false};
        for (uint32_t i = 0; i < model->count; i++)
            taken[model->endpoints[i].member->slot] = i != index;
        for (uint32_t i = 0; i < MEMBERS && !endpoint.member; i++)
            endpoint.member = taken[f->members[i]->slot] ? NULL : f->members[i];
        if (!endpoint.member) /* full, and `index` is the count */
            return;
    }
    cluster_roster_put(&model->roster, index, &endpoint);
    model->endpoints[index] = endpoint;
    model->count += index == model->count;
}

static void
it_is_an_array(void **state)
{
    (void)state;
    static struct fixture f;
    static struct model models[COPIES];
    struct fr_rand rand;
    fixture_init(&f, MEMBERS, 1);
    fr_rand_init(&rand, 5);
    for (size_t i = 0; i < COPIES; i++)
        cluster_roster_init(&models[i].roster);
    for (int step = 0; step < STEPS; step++) {
        struct model *model = &models[fr_rand_below(&rand, COPIES)];
        const struct model *other = &models[fr_rand_below(&rand, COPIES)];
        uint32_t act = fr_rand_below(&rand, 400);
        if (act == 0 && model != other) {
            cluster_roster_fini(&model->roster);
            *model = *other;
            cluster_roster_copy(&other->roster, &model->roster);
        } else if (act < 20) {
            compare(model, act < 10 ? other : NULL);
            compare(NULL, model);
        } else {
            change(model, &f, &rand);
        }
        model_is(model);
        model_is(other);
    }
    for (size_t i = 0; i < COPIES; i++)
        cluster_roster_fini(&models[i].roster);
    fixture_fini(&f); /* which requires that nobody holds a member any more */
}

static uint32_t visits;

static void
count_visits(void *ctx, const struct cluster_endpoint *before, const struct cluster_endpoint *after)
{
    (void)ctx, (void)before, (void)after;
    visits++;
}

/* However many there are: what is shared is neither copied nor looked at. */
static void
a_change_is_of_one_block(void **state)
{
    (void)state;
    static struct fixture f;
    struct cluster_roster roster, copy;
    fixture_init(&f, MEMBERS, 1);
    cluster_roster_init(&roster);
    for (uint32_t i = 0; i < MEMBERS; i++)
        cluster_roster_put(&roster, i, &f.endpoints[i]);
    cluster_roster_copy(&roster, &copy);
    f.endpoints[40].healthy = false;
    cluster_roster_put(&roster, 40, &f.endpoints[40]);
    cluster_roster_compare(&copy, &roster, count_visits, NULL);
    assert_int_equal(visits, FR_PVEC_BLOCK);
    assert_ptr_equal(cluster_roster_at(&copy, 0), cluster_roster_at(&roster, 0));
    assert_true(cluster_roster_at(&copy, 40)->healthy);
    assert_false(cluster_roster_at(&roster, 40)->healthy);
    cluster_roster_fini(&roster);
    cluster_roster_fini(&copy);
    fixture_fini(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_an_array),
        cmocka_unit_test(a_change_is_of_one_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
