/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_hpack_table.c - the dynamic table beside a plain list of what should be in it.
 */
#include "http/hpack.h"
#include "http_help.h"

#include "base/fr_hash.h"
#include "base/fr_mem.h"

#define LIST_MAX 4096

/* What should be in it: newest last. */
struct list {
    struct one {
        char *name, *value;
        size_t name_len, value_len;
    } ones[LIST_MAX];
    size_t first, count, size, size_max;
};

static void
list_fit(struct list *list, size_t size_max)
{
    while (list->size > size_max) {
        struct one *one = &list->ones[list->first];
        list->size -= one->name_len + one->value_len + 32;
        test_free(one->name);
        test_free(one->value);
        list->first++;
        list->count--;
    }
}

static char *
copy(struct fr_view text)
{
    char *bytes = test_malloc(text.len + 1);
    if (text.len)
        memcpy(bytes, text.ptr, text.len);
    return bytes;
}

static void
list_add(struct list *list, struct fr_view name, struct fr_view value)
{
    size_t bytes = name.len + value.len + 32;
    struct one one = {copy(name), copy(value), name.len, value.len};
    list_fit(list, bytes > list->size_max ? 0 : list->size_max - bytes);
    if (bytes > list->size_max) {
        test_free(one.name);
        test_free(one.value);
        return;
    }
    assert_true(list->first + list->count < LIST_MAX);
    list->ones[list->first + list->count++] = one;
    list->size += bytes;
}

static void
assert_same(const struct hpack_table *table, const struct list *list)
{
    struct hpack_field field;
    assert_int_equal(table->count, list->count);
    assert_int_equal(table->size, list->size);
    for (size_t i = 0; i < list->count; i++) {
        const struct one *one = &list->ones[list->first + list->count - 1 - i];
        assert_true(hpack_table_get(table, HPACK_STATIC_COUNT + 1 + i, &field));
        assert_true(fr_view_eq(field.name, fr_view_make(one->name, one->name_len)));
        assert_true(fr_view_eq(field.value, fr_view_make(one->value, one->value_len)));
    }
    assert_false(hpack_table_get(table, HPACK_STATIC_COUNT + 1 + list->count, &field));
    assert_false(hpack_table_get(table, 0, &field));
    assert_false(hpack_table_get(table, SIZE_MAX, &field));
}

/* Entries of all lengths, a third of them with a name out of the table itself, and sizes that
 * change: at each step all of it is as the list has it. */
static void
as_a_list_has_it(void **state)
{
    static char text[HPACK_TABLE_BYTES + 64];
    (void)state;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct fr_rand rand;
        struct list *list = test_calloc(1, sizeof(*list));
        struct hpack_table table;
        fr_rand_init(&rand, seed);
        hpack_table_init(&table);
        list->size_max = HPACK_TABLE_BYTES;
        uint32_t longest = seed % 4 == 0 ? (uint32_t)sizeof(text) : seed % 4 == 1 ? 1 : 200;
        for (int step = 0; step < 1500; step++) {
            struct hpack_field field = {0};
            for (int i = 0; i < 8; i++)
                text[fr_rand_below(&rand, (uint32_t)sizeof(text))] = (char)fr_rand_next(&rand);
            field.value = fr_view_make(text, fr_rand_below(&rand, longest));
            field.name = fr_view_make(text + 7, fr_rand_below(&rand, longest < 60 ? longest : 60));
            if (table.count > 0 && fr_rand_below(&rand, 3) == 0) {
                struct hpack_field old;
                size_t nth = fr_rand_below(&rand, table.count);
                assert_true(hpack_table_get(&table, HPACK_STATIC_COUNT + 1 + nth, &old));
                field.name = old.name;
            }
            if (fr_rand_below(&rand, 100) == 0) {
                list->size_max = fr_rand_below(&rand, HPACK_TABLE_BYTES + 1);
                list_fit(list, list->size_max);
                hpack_table_resize(&table, (uint32_t)list->size_max);
            }
            list_add(list, field.name, field.value);
            assert_true(hpack_table_add(&table, field.name, field.value));
            assert_same(&table, list);
        }
        assert_true(table.arena_bytes <= HPACK_ARENA_BYTES);
        hpack_table_fini(&table);
        list_fit(list, 0);
        test_free(list);
    }
}

static void
without_memory_nothing_has_changed(void **state)
{
    struct hpack_table table;
    struct hpack_field field;
    char value[900];
    (void)state;
    memset(value, 'v', sizeof(value));
    hpack_table_init(&table);
    fr_mem_fail_after(1);
    assert_false(hpack_table_add(&table, FR_VIEW("a"), FR_VIEW("b")));
    fr_mem_fail_after(0);
    assert_int_equal(table.count, 0);
    assert_true(hpack_table_add(&table, FR_VIEW("a"), fr_view_make(value, sizeof(value))));
    fr_mem_fail_after(1); /* it would have to grow */
    assert_false(hpack_table_add(&table, FR_VIEW("b"), fr_view_make(value, sizeof(value))));
    fr_mem_fail_after(0);
    assert_int_equal(table.count, 1);
    assert_true(hpack_table_get(&table, HPACK_STATIC_COUNT + 1, &field));
    assert_view(field.name, "a");
    assert_int_equal(field.value.len, sizeof(value));
    hpack_table_fini(&table);
}

static void
names_of_the_static_table(void **state)
{
    struct hpack_table table;
    struct hpack_field field, first;
    (void)state;
    hpack_table_init(&table);
    for (size_t index = 1; index <= HPACK_STATIC_COUNT; index++) {
        assert_true(hpack_table_get(&table, index, &field));
        size_t found = hpack_static_name(field.name);
        assert_in_range(found, 1, index);
        assert_true(hpack_table_get(&table, found, &first));
        assert_true(fr_view_eq(first.name, field.name));
    }
    assert_int_equal(hpack_static_name(FR_VIEW("")), 0);
    assert_int_equal(hpack_static_name(FR_VIEW("x-any")), 0);
    assert_int_equal(hpack_static_name(FR_VIEW("a-name-that-is-longer-than-any-of-them")), 0);
    assert_false(hpack_table_get(&table, HPACK_STATIC_COUNT + 1, &field));
    hpack_table_fini(&table);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_a_list_has_it),
        cmocka_unit_test(without_memory_nothing_has_changed),
        cmocka_unit_test(names_of_the_static_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
