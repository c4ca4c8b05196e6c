/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_disk.c - fuzzes what is read of the cache's file: its super and marks, a segment's head,
 * records, and their way back into memory.
 *
 * Shape:  one byte tells what the rest is. 0: the super and the marks. 1: records of a segment, as
 *         they are. 2: the same, and every check is made right before, so that what is behind the
 *         checks is reached.
 */
#include "cache/cache_disk_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#define SEQUENCE 1
#define MEMORY_BYTES ((uint64_t)16 * 1024 * 1024)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
try_super(const struct cache_disk_layout *layout, char *mapped, struct fr_view bytes)
{
    if (bytes.len > layout->mapped_bytes)
        return;
    cache_disk_format(mapped, layout);
    memcpy(mapped, bytes.ptr, bytes.len);
    enum cache_disk_fit fit = cache_disk_judge(mapped, layout, FR_VIEW("boot"));
    fr_insist(fit != CACHE_DISK_FITS || bytes.len < 100); /* nobody finds the check by chance */
}

/* The check of the unit at `at`, made right. */
static void
seal(const struct fr_hash_key *hash_key, char *at, size_t bytes, uint64_t birth, uint64_t number)
{
    struct fr_hash_key key = {hash_key->k0 ^ birth, hash_key->k1 + (number << 1 | 1)};
    uint64_t check = fr_hash64(&key, at, bytes - sizeof(check));
    memcpy(at + bytes - sizeof(check), &check, sizeof(check));
}

static void
seal_record(const struct fr_hash_key *hash_key, char *at, size_t left)
{
    uint64_t birth;
    size_t front = CACHE_DISK_FIRST_BYTES;
    size_t head = cache_disk_head_bytes(fr_view_make(at, left));
    if (head == 0 || head > left || left < front)
        return;
    memcpy(&birth, at + 24, sizeof(birth));
    seal(hash_key, at, front, birth, UINT64_C(1) << 62);
    seal(hash_key, at + front, head - front, birth, 0);
    uint64_t number = 0;
    for (size_t done = head; done < left;) {
        size_t unit = cache_disk_piece_bytes(left - done > 8 ? left - done - 8 : 1);
        if (unit > left - done)
            break;
        seal(hash_key, at + done, unit, birth, ++number);
        done += unit;
    }
}

static void
load(struct cache_store *store, struct cache_disk *disk, const struct cache_disk_place *place,
     struct fr_view bytes)
{
    struct cache_disk_loading *loading = NULL;
    size_t want = 0, at = cache_disk_head_bytes(bytes);
    enum cache_disk_step step =
        cache_disk_load_begin(store, disk, place, bytes, 0, &loading, &want);
    while (step == CACHE_DISK_MORE) {
        size_t unit = want < bytes.len - at ? want : bytes.len - at;
        step = cache_disk_load_add(loading, fr_view_make(bytes.ptr + at, unit), &want);
        at += unit;
    }
    if (step == CACHE_DISK_WHOLE)
        (void)cache_disk_load_end(&loading); /* whatever it says */
    cache_disk_load_drop(&loading);
    cache__store_check(store);
}

static void
try_records(const struct cache_disk_layout *layout, char *mapped, struct fr_view bytes, bool sealed)
{
    struct cache_disk *disk = NULL;
    struct cache_store *store = NULL;
    struct cache_disk_record_view record;
    uint64_t offset = CACHE_DISK_SEGMENT_HEAD_BYTES;
    size_t want;
    char *copy = fr_xalloc(bytes.len + 1);
    memcpy(copy, bytes.ptr, bytes.len);
    cache_disk_format(mapped, layout);
    struct cache__disk_map map;
    cache__disk_map(mapped, layout, &map);
    *(struct fr_hash_key *)(uintptr_t)map.hash_key = (struct fr_hash_key){1, 2};
    *map.stamp = UINT32_MAX;
    fr_insist(cache_disk_new(mapped, layout, MEMORY_BYTES, &disk) == FR_OK);
    struct cache_options options = {MEMORY_BYTES, 1 << 20, disk};
    fr_insist(cache_store_new(&options, &store) == FR_OK);
    (void)cache_disk_segment_sequence(disk, 0, bytes);
    for (size_t at = 0; at < bytes.len;) {
        if (sealed)
            seal_record(map.hash_key, copy + at, bytes.len - at);
        struct fr_view rest = fr_view_make(copy + at, bytes.len - at);
        if (cache_disk_scan(disk, 0, SEQUENCE, offset + at, rest, &record, &want) !=
            CACHE_DISK_SCAN_RECORD)
            break;
        if (!record.torn)
            load(store, disk, &record.place, rest);
        at += record.place.bytes;
    }
    cache_disk_close(disk);
    cache_store_free(&store);
    cache_disk_free(&disk);
    fr_free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct cache_disk_layout layout;
    if (size < 1 || size > 512 * 1024 || !cache_disk_layout(CACHE_DISK_FILE_BYTES_MIN, &layout))
        return 0;
    char *mapped = fr_xalloc(layout.mapped_bytes);
    struct fr_view bytes = fr_view_make((const char *)data + 1, size - 1);
    if (data[0] == 0)
        try_super(&layout, mapped, bytes);
    else
        try_records(&layout, mapped, bytes, data[0] == 2);
    fr_free(mapped);
    return 0;
}
