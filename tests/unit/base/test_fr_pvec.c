/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_pvec.c - against plain arrays; copies that stay as they were; what differs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/fr_hash.h"
#include "base/fr_pvec.h"

#include <pthread.h>
#include <string.h>

#define ITEMS 3000
#define COPIES 6
#define STEPS 30000

struct item {
    int *refs; /* NULL: none */
    uint64_t number;
};

static void
item_hold(void *at)
{
    const struct item *item = at;
    if (item->refs)
        ++*item->refs;
}

static void
item_drop(void *at)
{
    const struct item *item = at;
    if (item->refs)
        --*item->refs;
}

static const struct fr_pvec_ops ops = {sizeof(struct item), item_hold, item_drop};

struct model {
    struct fr_pvec vec;
    uint64_t numbers[ITEMS]; /* 0: none */
};

static uint64_t
number_at(const struct fr_pvec *vec, uint32_t index)
{
    const struct item *item = fr_pvec_at(vec, index);
    return item ? item->number : 0;
}

static void
put(struct fr_pvec *vec, uint32_t index, int *refs, uint64_t number)
{
    struct item *item = fr_pvec_own(vec, index);
    item_drop(item);
    *item = (struct item){refs, number};
    item_hold(item);
}

struct differing {
    const struct model *before, *after;
    bool seen[ITEMS];
};

static void
on_differing(void *ctx, uint32_t index, const void *before, const void *after)
{
    struct differing *differing = ctx;
    const struct item *old = before, *new = after;
    if (index >= ITEMS) { /* in the same block as the last ones */
        assert_true(!old || !old->number);
        assert_true(!new || !new->number);
        return;
    }
    assert_false(differing->seen[index]);
    differing->seen[index] = true;
    assert_int_equal(old ? old->number : 0, differing->before->numbers[index]);
    assert_int_equal(new ? new->number : 0, differing->after->numbers[index]);
}

static void
compare(const struct model *before, const struct model *after)
{
    static struct differing differing;
    memset(&differing, 0, sizeof(differing));
    differing.before = before;
    differing.after = after;
    fr_pvec_compare(&before->vec, &after->vec, on_differing, &differing);
    for (uint32_t i = 0; i < ITEMS; i++)
        assert_true(differing.seen[i] || before->numbers[i] == after->numbers[i]);
}

static void
copies_keep_what_they_had(void **state)
{
    (void)state;
    static struct model models[COPIES];
    static const uint32_t reach[] = {1, 3, 9, 32, 33, 1024, 1025, ITEMS};
    int refs = 0;
    struct fr_rand rand;
    fr_rand_init(&rand, 11);
    for (size_t i = 0; i < COPIES; i++)
        fr_pvec_init(&models[i].vec, &ops);
    for (uint64_t step = 1; step <= STEPS; step++) {
        struct model *model = &models[fr_rand_below(&rand, COPIES)];
        const struct model *other = &models[fr_rand_below(&rand, COPIES)];
        uint32_t index = fr_rand_below(&rand, reach[fr_rand_below(&rand, 8)]);
        uint32_t act = fr_rand_below(&rand, 60);
        if (act == 0 && model != other) {
            fr_pvec_fini(&model->vec);
            fr_pvec_copy(&other->vec, &model->vec);
            memcpy(model->numbers, other->numbers, sizeof(model->numbers));
        } else if (act == 1) {
            fr_pvec_fini(&model->vec); /* empty, and good for use */
            memset(model->numbers, 0, sizeof(model->numbers));
        } else if (act == 2) {
            compare(model, other);
        } else {
            model->numbers[index] = act < 15 ? 0 : step;
            put(&model->vec, index, act < 15 ? NULL : &refs, model->numbers[index]);
        }
        for (size_t i = 0; step % 500 == 0 && i < COPIES; i++)
            for (uint32_t k = 0; k < ITEMS; k++)
                assert_int_equal(number_at(&models[i].vec, k), models[i].numbers[k]);
    }
    for (size_t i = 0; i < COPIES; i++)
        fr_pvec_fini(&models[i].vec);
    assert_int_equal(refs, 0);
}

static int visits;

static void
count_visits(void *ctx, uint32_t index, const void *before, const void *after)
{
    (void)ctx, (void)index, (void)before, (void)after;
    visits++;
}

/* What is shared is not looked at, and a change makes one block and the nodes above its own. */
static void
a_change_touches_one_block(void **state)
{
    (void)state;
    struct fr_pvec vec, copy;
    fr_pvec_init(&vec, &ops);
    for (uint32_t i = 0; i < 100000; i++)
        put(&vec, i, NULL, i + 1);
    fr_pvec_copy(&vec, &copy);
    put(&copy, 77777, NULL, 1);
    visits = 0;
    fr_pvec_compare(&vec, &copy, count_visits, NULL);
    assert_int_equal(visits, FR_PVEC_BLOCK);
    assert_ptr_equal(fr_pvec_at(&vec, 5), fr_pvec_at(&copy, 5));
    assert_int_equal(number_at(&vec, 77777), 77778);
    assert_int_equal(number_at(&copy, 77777), 1);
    assert_null(fr_pvec_at(&vec, 5000000));
    fr_pvec_fini(&vec);
    fr_pvec_fini(&copy);
}

/* An array of few items has no places for many. */
static void
the_first_block_grows_with_its_items(void **state)
{
    (void)state;
    static const uint32_t sizes[][2] = {{0, 1}, {1, 2}, {2, 4}, {5, 8}, {6, 8}, {20, 32}};
    struct fr_pvec vec, copy;
    int refs = 0;
    fr_pvec_init(&vec, &ops);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        fr_pvec_copy(&vec, &copy);
        put(&vec, sizes[i][0], &refs, sizes[i][0] + 1);
        assert_int_equal(vec.size, sizes[i][1]);
        assert_int_equal(vec.root->places, sizes[i][1]);
        fr_pvec_fini(&copy);
    }
    put(&vec, 32, &refs, 33);
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        assert_int_equal(number_at(&vec, sizes[i][0]), sizes[i][0] + 1);
    assert_int_equal(refs, 7);
    fr_pvec_fini(&vec);
    assert_int_equal(refs, 0);
}

static void *
reader_main(void *ctx)
{
    struct fr_pvec *copy = ctx;
    uint64_t sum = 0;
    for (uint32_t i = 0; i < ITEMS; i++)
        sum += number_at(copy, i);
    fr_pvec_fini(copy);
    return sum >= ITEMS ? NULL : ctx;
}

/* What it may change in place it alone has, also when another thread has just let go of it. */
static void
copies_are_read_by_others(void **state)
{
    (void)state;
    struct fr_pvec vec;
    fr_pvec_init(&vec, &ops);
    for (uint32_t i = 0; i < ITEMS; i++)
        put(&vec, i, NULL, 1);
    for (uint64_t round = 0; round < 100; round++) {
        struct fr_pvec copies[2];
        pthread_t threads[2];
        for (size_t i = 0; i < 2; i++) {
            fr_pvec_copy(&vec, &copies[i]);
            assert_int_equal(pthread_create(&threads[i], NULL, reader_main, &copies[i]), 0);
        }
        for (uint32_t i = 0; i < ITEMS; i++)
            put(&vec, i * 31 % ITEMS, NULL, round + 2);
        for (size_t i = 0; i < 2; i++) {
            void *failed = NULL;
            assert_int_equal(pthread_join(threads[i], &failed), 0);
            assert_null(failed);
        }
    }
    fr_pvec_fini(&vec);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_keep_what_they_had),
        cmocka_unit_test(a_change_touches_one_block),
        cmocka_unit_test(the_first_block_grows_with_its_items),
        cmocka_unit_test(copies_are_read_by_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
