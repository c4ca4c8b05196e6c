/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_disk_marks.c - the mapped beginning of the file: whose it is, and what was taken back.
 *
 * May touch:  base.
 * Threads:    marks are single words, written and read atomically by any thread; the super is the
 *             owner's at start and end.
 * Memory:     the owner's mapping. A store into it outlives the process without a system call; only
 *             the system itself stopping can lose it, which `boot` shows afterwards.
 * Trusts:     nothing that stands there: a serial that was never given out, or a wrong check, is
 *             another's file.
 *
 *     [super 4096][marks, stamp, left 4096][slots][gone][soft times][prefixes]
 */
#include "cache/cache_disk_priv.h"

#include "base/fr_check.h"

#define SUPER_MAGIC 0x31444346u /* "FCD1" */
#define VERSION 4
#define STAMP_MAX (UINT64_C(1) << 47) /* never given out */
#define SEQUENCE_MAX STAMP_MAX        /* nor is one of these */
#define BLOCK 4096
#define SEGMENT_BYTES_MIN (2 * 1024 * 1024)
#define SEGMENT_BYTES_MAX (64 * 1024 * 1024)
#define SEGMENTS_WANTED 32
#define SLOT_BYTES 65536 /* one slot for so many bytes of the file */
#define SLOTS_MIN 1024
#define SLOTS_MAX (256 * 1024)
#define GONE_BYTES 16384
#define GONE_MAX (1024 * 1024)

struct super {
    uint32_t magic;
    uint32_t version;
    uint64_t file_bytes;
    uint64_t segment_bytes;
    uint64_t mapped_bytes;
    uint32_t sizes[4]; /* of what is stored as it lies in memory */
    struct fr_hash_key key;
    uint64_t check; /* of all above */
    /* changes */
    uint32_t in_use;
    char boot[CACHE_DISK_BOOT_BYTES];
};
struct numbers {
    struct cache__marks marks;
    uint64_t stamp;
    uint64_t left;
};
_Static_assert(sizeof(struct super) <= BLOCK, "the super is one block");
_Static_assert(sizeof(struct numbers) <= BLOCK, "so are the numbers");
_Static_assert(sizeof(struct cache__prefix_mark) == 1024, "no holes");

/* ---- layout ---------------------------------------------------------------------------------- */

static uint64_t
up_to_block(uint64_t bytes)
{
    return (bytes + BLOCK - 1) / BLOCK * BLOCK;
}

/* The largest power of two up to this, within bounds that are such. */
static uint64_t
power_for(uint64_t wanted, uint64_t min, uint64_t max)
{
    uint64_t power = min;
    while (power < max && power * 2 <= wanted)
        power *= 2;
    return power;
}

static uint64_t
slots_at(void)
{
    return BLOCK + BLOCK;
}

static uint64_t
gone_at(const struct cache_disk_layout *layout)
{
    return slots_at() + up_to_block(layout->slot_count * sizeof(struct cache__slot));
}

static uint64_t
times_at(const struct cache_disk_layout *layout)
{
    return gone_at(layout) + up_to_block(layout->gone_count * sizeof(uint64_t));
}

static uint64_t
prefixes_at(const struct cache_disk_layout *layout)
{
    return times_at(layout) + up_to_block(CACHE__SOFT_TIMES * sizeof(struct cache__soft_time));
}

bool
cache_disk_layout(uint64_t file_bytes, struct cache_disk_layout *out)
{
    struct cache_disk_layout layout = {
        .file_bytes = file_bytes,
        .segment_bytes =
            power_for(file_bytes / SEGMENTS_WANTED, SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
        .slot_count = (uint32_t)power_for(file_bytes / SLOT_BYTES, SLOTS_MIN, SLOTS_MAX),
        .gone_count = (uint32_t)power_for(file_bytes / GONE_BYTES, SLOTS_MIN, GONE_MAX),
    };
    if (file_bytes < CACHE_DISK_FILE_BYTES_MIN)
        return false;
    layout.mapped_bytes =
        prefixes_at(&layout) + up_to_block(CACHE__PREFIXES * sizeof(struct cache__prefix_mark));
    uint64_t count = (file_bytes - layout.mapped_bytes) / layout.segment_bytes;
    layout.segment_count = count > UINT16_MAX ? UINT16_MAX : (uint32_t)count;
    *out = layout;
    return true;
}

uint64_t
cache_disk_segment_at(const struct cache_disk_layout *layout, uint32_t segment)
{
    return layout->mapped_bytes + segment * layout->segment_bytes;
}

void
cache__disk_map(void *mapped, const struct cache_disk_layout *layout, struct cache__disk_map *out)
{
    char *base = mapped;
    struct numbers *numbers = (struct numbers *)(void *)(base + BLOCK);
    *out = (struct cache__disk_map){
        .marks = &numbers->marks,
        .stamp = &numbers->stamp,
        .left = &numbers->left,
        .slots = (struct cache__slot *)(void *)(base + slots_at()),
        .gone = (uint64_t *)(void *)(base + gone_at(layout)),
        .soft_times = (struct cache__soft_time *)(void *)(base + times_at(layout)),
        .prefixes = (struct cache__prefix_mark *)(void *)(base + prefixes_at(layout)),
        .hash_key = &((struct super *)mapped)->key,
    };
}

/* ---- the super ------------------------------------------------------------------------------- */

static struct super
super_for(const struct cache_disk_layout *layout, const struct fr_hash_key *key)
{
    static const struct fr_hash_key check_key = {0x66726573686574u, VERSION};
    struct super super;
    memset(&super, 0, sizeof(super)); /* holes too: it is hashed */
    super.magic = SUPER_MAGIC;
    super.version = VERSION;
    super.file_bytes = layout->file_bytes;
    super.segment_bytes = layout->segment_bytes;
    super.mapped_bytes = layout->mapped_bytes;
    super.sizes[0] = sizeof(struct numbers);
    super.sizes[1] = sizeof(struct cache__prefix_mark);
    super.sizes[2] = sizeof(struct cache__freshness);
    super.sizes[3] = sizeof(void *);
    super.key = *key;
    super.check = fr_hash64(&check_key, &super, offsetof(struct super, check));
    return super;
}

void
cache_disk_format(void *mapped, const struct cache_disk_layout *layout)
{
    struct fr_hash_key key;
    fr_hash_key_random(&key);
    memset(mapped, 0, layout->mapped_bytes);
    struct super super = super_for(layout, &key);
    struct cache__disk_map map;
    cache__disk_map(mapped, layout, &map);
    map.marks->last = 1; /* 0 in a request: nobody asked */
    memcpy(mapped, &super, sizeof(super));
}

/* No serial and no stamp that was never given out; one more may be of a purge that was cut off. */
static bool
marks_make_sense(const struct cache__disk_map *map, const struct cache_disk_layout *layout)
{
    const struct cache__marks *marks = map->marks;
    uint64_t most = marks->last + 1;
    bool good = *map->stamp <= STAMP_MAX && *map->left <= SEQUENCE_MAX && marks->last > 0 &&
                marks->all_hard <= most && marks->all_soft <= most && marks->prefix_last <= most &&
                marks->prefix_floor <= most;
    for (size_t i = 0; good && i < layout->slot_count; i++)
        good = map->slots[i].hard <= most && map->slots[i].soft <= most;
    for (size_t i = 0; good && i < layout->gone_count; i++)
        good = map->gone[i] <= *map->stamp;
    for (size_t i = 0; good && i < CACHE__PREFIXES; i++)
        good = map->prefixes[i].serial <= most && map->prefixes[i].len <= CACHE__PREFIX_BYTES_MAX;
    return good;
}

enum cache_disk_fit
cache_disk_judge(const void *mapped, const struct cache_disk_layout *layout, struct fr_view boot)
{
    struct super is;
    struct cache__disk_map map;
    memcpy(&is, mapped, sizeof(is));
    struct super should = super_for(layout, &is.key);
    if (memcmp(&is, &should, offsetof(struct super, check)) != 0 || is.check != should.check)
        return CACHE_DISK_OTHER;
    cache__disk_map((void *)(uintptr_t)mapped, layout, &map);
    if (!marks_make_sense(&map, layout))
        return CACHE_DISK_OTHER;
    is.boot[sizeof(is.boot) - 1] = '\0';
    if (is.in_use && (boot.len == 0 || !fr_view_is(boot, is.boot)))
        return CACHE_DISK_UNSURE;
    return CACHE_DISK_FITS;
}

void
cache_disk_in_use(void *mapped, struct fr_view boot)
{
    struct super *super = mapped;
    (void)fr_view_copy(boot, super->boot, sizeof(super->boot)); /* empty: never the same again */
    super->in_use = 1;
}

void
cache_disk_at_rest(void *mapped)
{
    struct super *super = mapped;
    super->in_use = 0;
}
