/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_map.c - entries in an array, in order of insertion, behind an open-addressed index.
 *
 * Memory:   process lifetime; fr_xalloc. Removed entries leave holes until the next growth.
 */
#include "base/fr_map.h"

#include "base/fr_check.h"
#include "base/fr_hash.h"
#include "base/fr_mem.h"

struct map_entry {
    char *key; /* NULL: a hole */
    size_t key_len;
    uint64_t hash;
    void *value;
};

struct fr_map {
    struct map_entry *entries;
    size_t entry_count, entry_cap; /* holes included */
    uint32_t *index;               /* entry number + 1; 0 = free; INDEX_HOLE = was used */
    size_t index_size;             /* a power of two, at least twice the entries */
    size_t live_count;
    struct fr_hash_key hash_key;
};

#define INDEX_HOLE UINT32_MAX

struct fr_map *
fr_map_new(void)
{
    struct fr_map *map = fr_xalloc(sizeof(*map));
    fr_hash_key_random(&map->hash_key);
    return map;
}

void
fr_map_free(struct fr_map **map, void (*free_value)(void *value))
{
    if (*map == NULL)
        return;
    for (size_t i = 0; i < (*map)->entry_count; i++) {
        struct map_entry *entry = &(*map)->entries[i];
        if (entry->key != NULL && free_value != NULL)
            free_value(entry->value);
        fr_free(entry->key);
    }
    fr_free((*map)->entries);
    fr_free((*map)->index);
    fr_free(*map);
    *map = NULL;
}

size_t
fr_map_count(const struct fr_map *map)
{
    return map->live_count;
}

/* The index position of a key, or SIZE_MAX. */
static size_t
find(const struct fr_map *map, struct fr_view key, uint64_t hash)
{
    if (map->index_size == 0)
        return SIZE_MAX;
    for (size_t at = hash & (map->index_size - 1);; at = (at + 1) & (map->index_size - 1)) {
        uint32_t number = map->index[at];
        if (number == 0)
            return SIZE_MAX;
        if (number == INDEX_HOLE)
            continue;
        const struct map_entry *entry = &map->entries[number - 1];
        if (entry->hash == hash && fr_view_eq(fr_view_make(entry->key, entry->key_len), key))
            return at;
    }
}

void *
fr_map_get(const struct fr_map *map, struct fr_view key)
{
    size_t at = find(map, key, fr_hash64(&map->hash_key, key.ptr, key.len));
    return at == SIZE_MAX ? NULL : map->entries[map->index[at] - 1].value;
}

static void
index_put(struct fr_map *map, size_t number)
{
    size_t at = map->entries[number].hash & (map->index_size - 1);
    while (map->index[at] != 0)
        at = (at + 1) & (map->index_size - 1);
    map->index[at] = (uint32_t)number + 1;
}

/* Closes the holes and makes room for one more. */
static void
make_room(struct fr_map *map)
{
    size_t kept = 0;
    for (size_t i = 0; i < map->entry_count; i++)
        if (map->entries[i].key != NULL)
            map->entries[kept++] = map->entries[i];
    map->entry_count = kept;
    fr_xgrow((void **)&map->entries, &map->entry_cap, kept * 2 + 8, sizeof(*map->entries));
    size_t size = 16;
    while (size < map->entry_cap * 2)
        size *= 2;
    fr_insist(size < INDEX_HOLE);
    fr_free(map->index);
    map->index = fr_xalloc(size * sizeof(*map->index));
    map->index_size = size;
    for (size_t i = 0; i < kept; i++)
        index_put(map, i);
}

void *
fr_map_put(struct fr_map *map, struct fr_view key, void *value)
{
    fr_require(value != NULL);
    uint64_t hash = fr_hash64(&map->hash_key, key.ptr, key.len);
    size_t at = find(map, key, hash);
    if (at != SIZE_MAX) {
        struct map_entry *entry = &map->entries[map->index[at] - 1];
        void *before = entry->value;
        entry->value = value;
        return before;
    }
    if (map->entry_count == map->entry_cap)
        make_room(map);
    map->entries[map->entry_count] = (struct map_entry){
        .key = fr_xstrndup(key.ptr, key.len), .key_len = key.len, .hash = hash, .value = value};
    index_put(map, map->entry_count);
    map->entry_count++;
    map->live_count++;
    return NULL;
}

void *
fr_map_remove(struct fr_map *map, struct fr_view key)
{
    size_t at = find(map, key, fr_hash64(&map->hash_key, key.ptr, key.len));
    if (at == SIZE_MAX)
        return NULL;
    struct map_entry *entry = &map->entries[map->index[at] - 1];
    void *value = entry->value;
    fr_free(entry->key);
    *entry = (struct map_entry){0};
    map->index[at] = INDEX_HOLE;
    map->live_count--;
    return value;
}

bool
fr_map_next(const struct fr_map *map, size_t *cursor, struct fr_view *out_key, void **out_value)
{
    while (*cursor < map->entry_count) {
        const struct map_entry *entry = &map->entries[(*cursor)++];
        if (entry->key == NULL)
            continue;
        if (out_key != NULL)
            *out_key = fr_view_make(entry->key, entry->key_len);
        if (out_value != NULL)
            *out_value = entry->value;
        return true;
    }
    return false;
}
