/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_fr_trie.c - keys by prefix, against a plain list; copies that stay as they were.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/fr_hash.h"
#include "base/fr_trie.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define KEYS 64
#define COPIES 8

struct counted { /* a value */
    int refs;
    uint32_t number;
};

static void
counted_hold(void *value)
{
    struct counted *counted = value;
    counted->refs++;
}

static void
counted_drop(void *value)
{
    struct counted *counted = value;
    assert_true(counted->refs > 0);
    counted->refs--;
}

static const struct fr_trie_ops ops = {counted_hold, counted_drop};

static void
finds_what_a_text_begins_with(void **state)
{
    (void)state;
    struct fr_trie trie;
    struct counted values[] = {{1, 0}, {1, 1}, {1, 2}, {1, 3}};
    static const char *const keys[] = {"/", "/api/", "/api/v2", "/att"};
    fr_trie_init(&trie, &ops);
    for (size_t i = 0; i < 4; i++)
        fr_trie_take_put(&trie, fr_view_of(keys[i]), &values[i]);
    struct fr_trie_place place = fr_trie_root(&trie);
    struct fr_view text = FR_VIEW("/api/v2/x");
    void *value = NULL;
    for (size_t i = 0; i < 3; i++) { /* the shortest first */
        assert_true(fr_trie_next(&place, &text, &value));
        assert_ptr_equal(value, &values[i]);
    }
    assert_true(fr_view_is(text, "/x"));
    assert_false(fr_trie_next(&place, &text, &value));
    assert_false(fr_trie_next(&place, &text, &value));
    assert_null(fr_trie_get(&trie, FR_VIEW("/ap")));
    assert_null(fr_trie_get(&trie, FR_VIEW("/api/v")));
    assert_null(fr_trie_get(&trie, FR_VIEW("")));
    assert_false(fr_trie_remove(&trie, FR_VIEW("/a")));
    assert_ptr_equal(fr_trie_get(&trie, FR_VIEW("/att")), &values[3]);
    place = fr_trie_root(&trie); /* byte by byte, into a node's text, and on from there */
    for (const char *at = "/at"; *at; at++)
        place = fr_trie_step(place, *at);
    text = FR_VIEW("t");
    assert_true(fr_trie_next(&place, &text, &value));
    assert_ptr_equal(value, &values[3]);
    place = fr_trie_back(fr_trie_step(fr_trie_root(&trie), '/'), FR_VIEW("pa"));
    text = FR_VIEW("i/");
    assert_true(fr_trie_next(&place, &text, &value));
    assert_ptr_equal(value, &values[1]);
    assert_null(fr_trie_back(fr_trie_root(&trie), FR_VIEW("xpa/")).node);
    assert_null(fr_trie_back(fr_trie_root(&trie), FR_VIEW("ax/")).node);
    assert_ptr_equal(fr_trie_back(fr_trie_root(&trie), FR_VIEW("")).node, fr_trie_root(&trie).node);
    assert_null(fr_trie_step(fr_trie_step(fr_trie_root(&trie), '/'), 'x').node);
    assert_null(fr_trie_step(fr_trie_step(fr_trie_root(&trie), 'x'), '/').node);
    fr_trie_fini(&trie);
    for (size_t i = 0; i < 4; i++)
        assert_int_equal(values[i].refs, 0);
}

static void
a_value_is_replaced(void **state)
{
    (void)state;
    struct fr_trie trie, copy;
    struct counted old = {1, 0}, fresh = {1, 1};
    fr_trie_init(&trie, &ops);
    fr_trie_take_put(&trie, FR_VIEW(""), &old); /* of the root, too */
    fr_trie_copy(&trie, &copy);
    fr_trie_take_put(&trie, FR_VIEW(""), &fresh);
    assert_ptr_equal(fr_trie_get(&trie, FR_VIEW("")), &fresh);
    assert_ptr_equal(fr_trie_get(&copy, FR_VIEW("")), &old);
    fr_trie_fini(&copy);
    assert_int_equal(old.refs, 0);
    assert_true(fr_trie_remove(&trie, FR_VIEW("")));
    assert_int_equal(fresh.refs, 0);
    fr_trie_fini(&trie);
}

/* ---- against a list ------------------------------------------------------------------------ */

struct model { /* a trie, and what should be in it: numbers of values; UINT32_MAX: none */
    struct fr_trie trie;
    uint32_t numbers[KEYS];
};

static void
count_one(void *ctx, void *value)
{
    (void)value;
    (*(size_t *)ctx)++;
}

static void
model_check(const struct model *model, char keys[KEYS][12], struct counted *values)
{
    size_t wanted = 0, count = 0;
    assert_true(fr_trie_check(&model->trie));
    for (size_t i = 0; i < KEYS; i++) {
        struct fr_view key = fr_view_of(keys[i]);
        const struct counted *found = fr_trie_get(&model->trie, key);
        uint32_t number = model->numbers[i];
        assert_ptr_equal(found, number == UINT32_MAX ? NULL : &values[number]);
        wanted += number != UINT32_MAX;
    }
    fr_trie_each(&model->trie, count_one, &count);
    assert_int_equal(count, wanted);
}

static void
copies_keep_what_they_had(void **state)
{
    (void)state;
    static struct counted values[20000];
    char keys[KEYS][12] = {{0}};
    struct model models[COPIES];
    struct fr_rand rand;
    uint32_t next = 0;
    fr_rand_init(&rand, 6);
    for (size_t i = 1; i < KEYS;) { /* all different; few letters, so that many share beginnings */
        uint32_t len = 1 + fr_rand_below(&rand, 10);
        memset(keys[i], 0, sizeof(keys[i]));
        for (uint32_t k = 0; k < len; k++)
            keys[i][k] = "ab\1\xff"[fr_rand_below(&rand, 4)];
        bool seen = false;
        for (size_t k = 0; k < i; k++)
            seen |= strcmp(keys[k], keys[i]) == 0;
        i += !seen;
    }
    for (size_t i = 0; i < COPIES; i++) {
        fr_trie_init(&models[i].trie, &ops);
        memset(models[i].numbers, 0xff, sizeof(models[i].numbers));
    }
    while (next < 20000) {
        struct model *model = &models[fr_rand_below(&rand, COPIES)];
        uint32_t at = fr_rand_below(&rand, KEYS), act = fr_rand_below(&rand, 40);
        struct fr_view key = fr_view_of(keys[at]);
        if (act == 0) {
            const struct model *from = &models[fr_rand_below(&rand, COPIES)];
            if (from == model)
                continue;
            fr_trie_fini(&model->trie);
            fr_trie_copy(&from->trie, &model->trie);
            memcpy(model->numbers, from->numbers, sizeof(model->numbers));
        } else if (act < 20) {
            values[next] = (struct counted){1, next};
            fr_trie_take_put(&model->trie, key, &values[next]);
            model->numbers[at] = next++;
        } else {
            assert_int_equal(fr_trie_remove(&model->trie, key), model->numbers[at] != UINT32_MAX);
            model->numbers[at] = UINT32_MAX;
        }
        if (next % 64 == 0)
            for (size_t i = 0; i < COPIES; i++)
                model_check(&models[i], keys, values);
    }
    for (size_t i = 0; i < COPIES; i++)
        fr_trie_fini(&models[i].trie);
    for (uint32_t i = 0; i < next; i++)
        assert_int_equal(values[i].refs, 0);
}

/* ---- threads ------------------------------------------------------------------------------- */

static void
hold_nothing(void *value)
{
    (void)value;
}

static const struct fr_trie_ops plain = {hold_nothing, hold_nothing};

/* Reads the copy it was given, and lets go of it. */
static void *
reader_main(void *ctx)
{
    struct fr_trie *copy = ctx;
    size_t count = 0;
    fr_trie_each(copy, count_one, &count);
    void *found = fr_trie_get(copy, FR_VIEW("/0/"));
    fr_trie_fini(copy);
    return count > 0 && found ? NULL : ctx;
}

/* What it may change in place it alone has, also when another thread has just let go of it. */
static void
copies_are_read_by_others(void **state)
{
    (void)state;
    struct fr_trie trie;
    uint32_t values[16] = {0};
    char key[8];
    fr_trie_init(&trie, &plain);
    fr_trie_take_put(&trie, FR_VIEW("/0/"), &values[0]);
    for (uint32_t round = 0; round < 200; round++) {
        struct fr_trie copies[2];
        pthread_t threads[2];
        for (size_t i = 0; i < 2; i++) {
            fr_trie_copy(&trie, &copies[i]);
            assert_int_equal(pthread_create(&threads[i], NULL, reader_main, &copies[i]), 0);
        }
        for (uint32_t i = 1; i < 16; i++) {
            (void)snprintf(key, sizeof(key), "/%u/", i);
            if ((round + i) % 3 == 0)
                (void)fr_trie_remove(&trie, fr_view_of(key));
            else
                fr_trie_take_put(&trie, fr_view_of(key), &values[i]);
        }
        for (size_t i = 0; i < 2; i++) {
            void *failed = NULL;
            assert_int_equal(pthread_join(threads[i], &failed), 0);
            assert_null(failed);
        }
    }
    fr_trie_fini(&trie);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_what_a_text_begins_with),
        cmocka_unit_test(a_value_is_replaced),
        cmocka_unit_test(copies_keep_what_they_had),
        cmocka_unit_test(copies_are_read_by_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
