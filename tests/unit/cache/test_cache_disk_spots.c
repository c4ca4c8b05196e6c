/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cache_disk_spots.c - the index of the disk: against a list of what should be in it, and
 * full.
 */
#include "disk_help.h"

#include "base/fr_hash.h"

#define KEYS 300
#define STEPS 40000

/* What a key has, by the value that its variant selects by. */
struct model {
    uint64_t stamp[3]; /* 0: none */
    uint32_t segment[3];
};

static struct cache__spot_place
place_at(uint32_t key, uint32_t variant, uint64_t stamp, uint32_t segment)
{
    return (struct cache__spot_place){
        .hash = {(uint64_t)key << 60 | key % 7, key},
        .select = {(uint64_t)variant << 32, 0},
        .stamp = stamp,
        .birth = stamp,
        .serial = 1,
        .vary = FR_VIEW("a"),
        .segment = segment,
        .bytes = 64,
        .offset = stamp % 1000 * 8,
    };
}

static struct cache_disk_place
found_at(const struct cache__spot_place *place)
{
    return (struct cache_disk_place){.hash = place->hash,
                                     .stamp = place->stamp,
                                     .birth = place->birth,
                                     .segment = place->segment,
                                     .bytes = place->bytes,
                                     .offset = place->offset};
}

static void
check(struct cache__spots *spots, const struct model *model)
{
    uint64_t entries, bytes, want = 0;
    for (uint32_t key = 0; key < KEYS; key++)
        for (uint32_t v = 0; v < 3; v++) {
            if (model[key].stamp[v] == 0)
                continue;
            struct cache__spot_place place =
                place_at(key, v, model[key].stamp[v], model[key].segment[v]);
            struct cache_disk_place at = found_at(&place);
            assert_true(cache__spots_has(spots, &at));
            want++;
        }
    cache__spots_sum(spots, &entries, &bytes);
    assert_int_equal(entries, want);
    assert_int_equal(bytes, want * 64);
    cache__spots_check(spots);
}

static void
sweep(struct cache__spots *spots, struct model *model, uint32_t segment)
{
    struct cache__spot_seen seen[64];
    size_t cursor = 0, count;
    for (bool more = true; more;) {
        more = cache__spots_walk(spots, segment, &cursor, 64, seen, &count);
        for (size_t i = 0; i < count; i++)
            assert_true(cache__spots_drop(spots, &seen[i].place));
    }
    for (size_t key = 0; key < KEYS; key++)
        for (size_t v = 0; v < 3; v++)
            if (model[key].segment[v] == segment)
                model[key].stamp[v] = 0;
}

static void
as_a_list_would(void **state)
{
    (void)state;
    struct cache__spots *spots = cache__spots_new(4096);
    struct fr_rand rand;
    static struct model model[KEYS];
    uint64_t stamp = 0;
    fr_rand_init(&rand, 22);
    for (int step = 0; step < STEPS; step++) {
        uint32_t key = fr_rand_below(&rand, KEYS), v = fr_rand_below(&rand, 3);
        uint32_t segment = fr_rand_below(&rand, 5);
        struct cache__spot_place place = place_at(key, v, ++stamp, segment);
        switch (fr_rand_below(&rand, 8)) {
        case 0:
            (void)cache__spots_forget(spots, place.hash);
            memset(&model[key], 0, sizeof(model[key]));
            break;
        case 1:
            assert_int_equal(cache__spots_supersede(spots, &place), model[key].stamp[v] != 0);
            model[key].stamp[v] = 0;
            break;
        case 2: /* one that is older than what is there */
            place.stamp = 1;
            if (model[key].stamp[v] > 1)
                assert_int_equal(cache__spots_put(spots, &place), CACHE__SPOT_OLD);
            break;
        case 3:
            if (step % 100 == 0)
                sweep(spots, model, segment);
            break;
        default:
            assert_int_equal(cache__spots_put(spots, &place), CACHE__SPOT_PUT);
            model[key].stamp[v] = stamp;
            model[key].segment[v] = segment;
        }
        if (step % 1000 == 0)
            check(spots, model);
    }
    check(spots, model);
    cache__spots_free(&spots);
    assert_null(spots);
}

static void
full_is_told(void **state)
{
    (void)state;
    struct cache__spots *spots = cache__spots_new(160);
    uint64_t entries, bytes;
    size_t put = 0;
    for (uint32_t key = 0; key < 1000; key++) {
        struct cache__spot_place place = place_at(key, 0, key + 1, 0);
        if (cache__spots_put(spots, &place) == CACHE__SPOT_PUT)
            put++;
    }
    cache__spots_sum(spots, &entries, &bytes);
    assert_int_equal(entries, put);
    assert_int_equal(put, 16 * 11);
    cache__spots_check(spots);
    cache__spots_free(&spots);
}

static void
values_of_vary_are_few(void **state)
{
    (void)state;
    struct cache__spots *spots = cache__spots_new(4096);
    char name[8];
    for (uint32_t i = 0; i <= CACHE__VARIES_MAX; i++) {
        struct cache__spot_place place = place_at(i, 0, i + 1, 0);
        name[0] = (char)('a' + i / 26);
        name[1] = (char)('a' + i % 26);
        place.vary = fr_view_make(name, 2);
        assert_int_equal(cache__spots_takes(spots, place.vary), i < CACHE__VARIES_MAX);
        assert_int_equal(cache__spots_put(spots, &place),
                         i < CACHE__VARIES_MAX ? CACHE__SPOT_PUT : CACHE__SPOT_REFUSED);
        assert_int_equal(cache__spots_takes(spots, place.vary), i < CACHE__VARIES_MAX);
    }
    cache__spots_free(&spots);
}

static void
variants_of_a_key_are_few(void **state)
{
    (void)state;
    struct cache__spots *spots = cache__spots_new(4096);
    uint64_t entries, bytes;
    for (uint32_t v = 0; v < 40; v++) {
        struct cache__spot_place place = place_at(1, v, v + 1, 0);
        assert_int_equal(cache__spots_put(spots, &place), CACHE__SPOT_PUT);
    }
    cache__spots_sum(spots, &entries, &bytes);
    assert_int_equal(entries, 16);
    struct cache__spot_place newest = place_at(1, 39, 40, 0);
    struct cache_disk_place at = found_at(&newest);
    assert_true(cache__spots_has(spots, &at));
    cache__spots_free(&spots);
}

static void
a_spot_is_as_large_as_is_said(void **state)
{
    (void)state;
    size_t capacity = 1 << 20;
    uint64_t each = cache__spots_bytes(capacity) / capacity;
    assert_true(each <= CACHE_DISK_SPOT_BYTES);
    assert_true(each <= 64);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_a_list_would),
        cmocka_unit_test(full_is_told),
        cmocka_unit_test(values_of_vary_are_few),
        cmocka_unit_test(variants_of_a_key_are_few),
        cmocka_unit_test(a_spot_is_as_large_as_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
