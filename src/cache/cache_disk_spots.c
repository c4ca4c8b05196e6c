/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_disk_spots.c - the index in memory: where on disk which response stands.
 *
 * May touch:  base.
 * Threads:    any. A key belongs to one of SHARDS shards, whose lock is held for one operation, or
 *             for a few hundred spots of a walk.
 * Memory:     SPOT_BYTES a response and the buckets, made once: CACHE_DISK_SPOT_BYTES together.
 * When full:  CACHE__SPOT_FULL; the writer lets the oldest segment go and tries again. Values of
 * Vary stay: what has one too many is refused.
 *
 * Of a key only a part is known here: 80 bits of its hash, 32 of what its variant selects by. Who
 * reads the record compares all of it.
 */
#include "cache/cache_disk_priv.h"

#include "base/fr_check.h"
#include "base/fr_lock.h"
#include "base/fr_mem.h"

#define SHARDS 16
#define NONE UINT32_MAX
#define VARIANTS_MAX 16 /* of one key; then the oldest leaves */
#define UNIT 8          /* offsets and sizes are multiples */

#define STAMP_BITS 48
#define STAMP_MAX (((uint64_t)1 << STAMP_BITS) - 1)

struct spot {
    uint64_t hash;
    uint64_t stamp : STAMP_BITS, hash_more : 16; /* stamp 0: free */
    uint64_t birth : STAMP_BITS, segment : 16;
    uint32_t select;
    uint32_t serial;
    uint32_t offset; /* in UNITs */
    uint32_t bytes;
    uint32_t next;
    uint16_t vary : 15;
    uint16_t visited : 1;
    uint16_t more; /* to a multiple of eight */
};
_Static_assert(sizeof(struct spot) == 48, "with its bucket a spot is CACHE_DISK_SPOT_BYTES");
_Static_assert(sizeof(struct spot) + 2 * sizeof(uint32_t) == CACHE_DISK_SPOT_BYTES, "");

_Static_assert(SHARDS == 16, "four bits of the hash");

struct shard {
    struct fr_lock lock;
    struct spot *spots;
    uint32_t *buckets;
    uint32_t free_first, fresh;
    /* written under the lock, read without: atomic */
    uint64_t entries, bytes;
} __attribute__((aligned(FR_CACHE_LINE)));

struct cache__spots {
    /* set once */
    size_t shard_spots, shard_buckets;
    struct spot *spots;
    uint32_t *buckets;
    size_t spots_bytes, buckets_bytes;
    /* under the lock */
    struct fr_lock varies_lock;
    size_t vary_count; /* atomic: those below are constant */
    struct {
        uint16_t len;
        char text[CACHE__VARY_BYTES_MAX];
    } varies[CACHE__VARIES_MAX];
    struct shard shards[SHARDS];
};

static size_t
buckets_for(size_t spots)
{
    size_t buckets = 64;
    while (buckets * 2 <= spots)
        buckets *= 2;
    return buckets;
}

uint64_t
cache__spots_bytes(size_t capacity)
{
    size_t spots = capacity / SHARDS + 1;
    return sizeof(struct cache__spots) +
           SHARDS * (spots * sizeof(struct spot) + buckets_for(spots) * sizeof(uint32_t));
}

struct cache__spots *
cache__spots_new(size_t capacity)
{
    struct cache__spots *self = fr_xalloc_lines(sizeof(*self));
    self->shard_spots = capacity / SHARDS + 1;
    self->shard_buckets = buckets_for(self->shard_spots);
    self->spots_bytes = SHARDS * self->shard_spots * sizeof(struct spot);
    self->buckets_bytes = SHARDS * self->shard_buckets * sizeof(uint32_t);
    self->spots = fr_mem_map(self->spots_bytes);
    self->buckets = self->spots ? fr_mem_map(self->buckets_bytes) : NULL;
    if (!self->buckets) {
        if (self->spots)
            fr_mem_unmap(self->spots, self->spots_bytes);
        fr_free(self);
        return NULL;
    }
    fr_lock_init(&self->varies_lock);
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &self->shards[i];
        fr_lock_init(&shard->lock);
        shard->spots = self->spots + i * self->shard_spots;
        shard->buckets = self->buckets + i * self->shard_buckets; /* 1 + index; 0 = empty */
        shard->free_first = NONE;
    }
    return self;
}

void
cache__spots_free(struct cache__spots **spots)
{
    struct cache__spots *old = *spots;
    *spots = NULL;
    if (!old)
        return;
    for (size_t i = 0; i < SHARDS; i++)
        fr_lock_fini(&old->shards[i].lock);
    fr_lock_fini(&old->varies_lock);
    fr_mem_unmap(old->spots, old->spots_bytes);
    fr_mem_unmap(old->buckets, old->buckets_bytes);
    fr_free(old);
}

/* ---- values of Vary -------------------------------------------------------------------------- */

static struct fr_view
vary_at(const struct cache__spots *self, size_t index)
{
    return fr_view_make(self->varies[index].text, self->varies[index].len);
}

/* What was seen once stays: few are different. False: there are too many. */
static bool
vary_index(struct cache__spots *self, struct fr_view vary, bool add, uint16_t *out)
{
    bool found = false;
    fr_lock_take(&self->varies_lock);
    size_t count = self->vary_count, at = 0;
    while (at < count && !fr_view_eq(vary_at(self, at), vary))
        at++;
    if (at < count) {
        found = true;
    } else if (add && count < CACHE__VARIES_MAX && vary.len <= CACHE__VARY_BYTES_MAX) {
        self->varies[at].len = (uint16_t)vary.len;
        if (vary.len)
            memcpy(self->varies[at].text, vary.ptr, vary.len);
        __atomic_store_n(&self->vary_count, count + 1, __ATOMIC_RELEASE);
        found = true;
    }
    fr_lock_give(&self->varies_lock);
    *out = (uint16_t)at;
    return found;
}

/* ---- one shard; its lock is held ------------------------------------------------------------- */

static struct shard *
shard_of(struct cache__spots *self, struct fr_hash128 hash)
{
    return &self->shards[hash.lo >> 60];
}

static uint32_t *
bucket_of(const struct cache__spots *self, struct shard *shard, uint64_t hash)
{
    return &shard->buckets[hash & (self->shard_buckets - 1)];
}

static uint32_t
select_of(struct fr_hash128 select)
{
    return (uint32_t)(select.lo >> 32 ^ select.hi);
}

static bool
has_key(const struct spot *spot, struct fr_hash128 hash)
{
    return spot->hash == hash.lo && spot->hash_more == (uint16_t)hash.hi;
}

static struct spot *
next_of(const struct shard *shard, const struct spot *spot)
{
    return spot->next == 0 ? NULL : &shard->spots[spot->next - 1];
}

static struct spot *
first_of(const struct cache__spots *self, struct shard *shard, uint64_t hash)
{
    uint32_t at = *bucket_of(self, shard, hash);
    return at == 0 ? NULL : &shard->spots[at - 1];
}

static void
sum_add(struct shard *shard, const struct spot *spot, bool add)
{
    uint64_t bytes = (uint64_t)spot->bytes * UNIT;
    __atomic_store_n(&shard->entries, shard->entries + (add ? 1 : (uint64_t)-1), __ATOMIC_RELAXED);
    __atomic_store_n(&shard->bytes, shard->bytes + (add ? bytes : (uint64_t)0 - bytes),
                     __ATOMIC_RELAXED);
}

static void
spot_remove(struct cache__spots *self, struct shard *shard, struct spot *spot)
{
    uint32_t index = (uint32_t)(spot - shard->spots);
    uint32_t *link = bucket_of(self, shard, spot->hash);
    while (*link != index + 1)
        link = &shard->spots[*link - 1].next;
    *link = spot->next;
    sum_add(shard, spot, false);
    *spot = (struct spot){.next = shard->free_first};
    shard->free_first = index;
}

static struct spot *
spot_take(struct cache__spots *self, struct shard *shard)
{
    if (shard->free_first != NONE) {
        struct spot *spot = &shard->spots[shard->free_first];
        shard->free_first = spot->next;
        return spot;
    }
    return shard->fresh < self->shard_spots ? &shard->spots[shard->fresh++] : NULL;
}

/* Forgets what one like `place` takes the place of: older ones. *out_newer: there is a newer one.
 * Returns whether there was something. */
static bool
replaced_remove(struct cache__spots *self, struct shard *shard,
                const struct cache__spot_place *place, uint16_t vary, bool *out_newer)
{
    bool any = false;
    struct spot *next = first_of(self, shard, place->hash.lo);
    while (next) {
        struct spot *spot = next;
        next = next_of(shard, spot);
        if (!has_key(spot, place->hash) ||
            (spot->vary == vary && spot->select != select_of(place->select)))
            continue;
        if (spot->stamp > place->stamp) {
            *out_newer = true;
            continue;
        }
        spot_remove(self, shard, spot);
        any = true;
    }
    return any;
}

static void
variants_limit(struct cache__spots *self, struct shard *shard, struct fr_hash128 hash)
{
    struct spot *oldest = NULL;
    size_t count = 0;
    for (struct spot *spot = first_of(self, shard, hash.lo); spot; spot = next_of(shard, spot)) {
        if (!has_key(spot, hash))
            continue;
        count++;
        if (!oldest || spot->stamp < oldest->stamp)
            oldest = spot;
    }
    if (count > VARIANTS_MAX)
        spot_remove(self, shard, oldest);
}

/* Whatever its head is. */
static struct spot *
spot_of(struct cache__spots *self, struct shard *shard, const struct cache_disk_place *place)
{
    struct spot *spot = first_of(self, shard, place->hash.lo);
    while (spot &&
           !(has_key(spot, place->hash) && spot->birth == place->birth &&
             spot->segment == place->segment && spot->offset == (uint32_t)(place->offset / UNIT)))
        spot = next_of(shard, spot);
    return spot;
}

static struct spot *
spot_exactly(struct cache__spots *self, struct shard *shard, const struct cache_disk_place *place)
{
    struct spot *spot = spot_of(self, shard, place);
    return spot && spot->stamp == place->stamp ? spot : NULL;
}

static struct cache_disk_place
place_of(const struct spot *spot)
{
    return (struct cache_disk_place){
        .hash = {spot->hash, spot->hash_more},
        .stamp = spot->stamp,
        .birth = spot->birth,
        .segment = spot->segment,
        .bytes = spot->bytes * UNIT,
        .offset = (uint64_t)spot->offset * UNIT,
    };
}

/* ---- what others call ------------------------------------------------------------------------ */

static uint32_t
serial_of(uint64_t serial)
{
    return serial < UINT32_MAX ? (uint32_t)serial : UINT32_MAX;
}

bool
cache__spots_takes(struct cache__spots *spots, struct fr_view vary)
{
    uint16_t index;
    return vary_index(spots, vary, false, &index) ||
           (index < CACHE__VARIES_MAX && vary.len <= CACHE__VARY_BYTES_MAX);
}

enum cache__spot_put
cache__spots_put(struct cache__spots *spots, const struct cache__spot_place *place)
{
    uint16_t vary;
    bool newer = false;
    struct shard *shard = shard_of(spots, place->hash);
    fr_require(place->offset % UNIT == 0 && place->bytes % UNIT == 0 && place->stamp > 0 &&
               place->stamp <= STAMP_MAX && place->birth > 0);
    if (!vary_index(spots, place->vary, true, &vary))
        return CACHE__SPOT_REFUSED;
    fr_lock_take(&shard->lock);
    (void)replaced_remove(spots, shard, place, vary, &newer);
    struct spot *spot = newer ? NULL : spot_take(spots, shard);
    if (spot) {
        uint32_t *bucket = bucket_of(spots, shard, place->hash.lo);
        *spot = (struct spot){
            .hash = place->hash.lo,
            .hash_more = (uint16_t)place->hash.hi,
            .select = select_of(place->select),
            .stamp = place->stamp & STAMP_MAX,
            .birth = place->birth & STAMP_MAX,
            .serial = serial_of(place->serial),
            .segment = (uint16_t)place->segment,
            .vary = (uint16_t)(vary & 0x7fff),
            .offset = (uint32_t)(place->offset / UNIT),
            .bytes = place->bytes / UNIT,
            .next = *bucket,
        };
        *bucket = (uint32_t)(spot - shard->spots) + 1;
        sum_add(shard, spot, true);
        variants_limit(spots, shard, place->hash);
    }
    fr_lock_give(&shard->lock);
    return newer ? CACHE__SPOT_OLD : spot ? CACHE__SPOT_PUT : CACHE__SPOT_FULL;
}

bool
cache__spots_supersede(struct cache__spots *spots, const struct cache__spot_place *place)
{
    uint16_t vary;
    bool newer = false;
    struct shard *shard = shard_of(spots, place->hash);
    if (!vary_index(spots, place->vary, false, &vary))
        vary = UINT16_MAX; /* none is like it */
    fr_lock_take(&shard->lock);
    bool any = replaced_remove(spots, shard, place, vary, &newer);
    fr_lock_give(&shard->lock);
    return any;
}

size_t
cache__spots_forget(struct cache__spots *spots, struct fr_hash128 hash)
{
    size_t count = 0;
    struct shard *shard = shard_of(spots, hash);
    fr_lock_take(&shard->lock);
    struct spot *next = first_of(spots, shard, hash.lo);
    while (next) {
        struct spot *spot = next;
        next = next_of(shard, spot);
        if (!has_key(spot, hash))
            continue;
        spot_remove(spots, shard, spot);
        count++;
    }
    fr_lock_give(&shard->lock);
    return count;
}

bool
cache__spots_find(struct cache__spots *spots, const struct fr_hash_key *hash_key,
                  struct fr_hash128 hash, const struct http_head *request, uint64_t serial_least,
                  struct cache_disk_place *out)
{
    struct fr_hash128 select = {0, 0};
    bool found = false, selected = false;
    struct shard *shard = shard_of(spots, hash);
    fr_lock_take(&shard->lock);
    for (struct spot *spot = first_of(spots, shard, hash.lo); spot && !found;
         spot = next_of(shard, spot)) {
        if (!has_key(spot, hash) || spot->serial < serial_of(serial_least))
            continue;
        struct fr_view vary = vary_at(spots, spot->vary);
        if (vary.len > 0 && !selected &&
            !(selected = cache__select_hash(hash_key, vary, request, &select)))
            break;
        if (vary.len > 0 && spot->select != select_of(select))
            continue;
        *out = place_of(spot);
        out->hash = hash;
        found = true;
    }
    fr_lock_give(&shard->lock);
    return found;
}

bool
cache__spots_locate(struct cache__spots *spots, struct fr_hash128 hash, uint64_t birth,
                    struct cache_disk_place *out)
{
    struct shard *shard = shard_of(spots, hash);
    fr_lock_take(&shard->lock);
    struct spot *spot = first_of(spots, shard, hash.lo);
    while (spot && !(has_key(spot, hash) && spot->birth == birth))
        spot = next_of(shard, spot);
    if (spot) {
        spot->visited = 1;
        *out = place_of(spot);
        out->hash = hash;
    }
    fr_lock_give(&shard->lock);
    return spot != NULL;
}

uint64_t
cache__spots_restamp(struct cache__spots *spots, const struct cache__spot_place *place)
{
    uint16_t vary;
    struct shard *shard = shard_of(spots, place->hash);
    if (!vary_index(spots, place->vary, false, &vary))
        return 0;
    fr_lock_take(&shard->lock);
    struct spot *spot = first_of(spots, shard, place->hash.lo);
    while (spot && !(has_key(spot, place->hash) && spot->vary == vary &&
                     spot->select == select_of(place->select) && spot->birth == place->birth))
        spot = next_of(shard, spot);
    uint64_t birth = spot ? spot->birth : 0;
    if (spot) {
        spot->stamp = place->stamp & STAMP_MAX;
        spot->serial = serial_of(place->serial);
    }
    fr_lock_give(&shard->lock);
    return birth;
}

bool
cache__spots_holds(struct cache__spots *spots, const struct cache_disk_place *place)
{
    struct shard *shard = shard_of(spots, place->hash);
    fr_lock_take(&shard->lock);
    bool there = spot_of(spots, shard, place) != NULL;
    fr_lock_give(&shard->lock);
    return there;
}

bool
cache__spots_has(struct cache__spots *spots, const struct cache_disk_place *place)
{
    struct shard *shard = shard_of(spots, place->hash);
    fr_lock_take(&shard->lock);
    bool there = spot_exactly(spots, shard, place) != NULL;
    fr_lock_give(&shard->lock);
    return there;
}

bool
cache__spots_visit(struct cache__spots *spots, const struct cache_disk_place *place)
{
    struct shard *shard = shard_of(spots, place->hash);
    fr_lock_take(&shard->lock);
    struct spot *spot = spot_exactly(spots, shard, place);
    if (spot)
        spot->visited = 1;
    fr_lock_give(&shard->lock);
    return spot != NULL;
}

bool
cache__spots_drop(struct cache__spots *spots, const struct cache_disk_place *place)
{
    struct shard *shard = shard_of(spots, place->hash);
    fr_lock_take(&shard->lock);
    struct spot *spot = spot_of(spots, shard, place);
    if (spot)
        spot_remove(spots, shard, spot);
    fr_lock_give(&shard->lock);
    return spot != NULL;
}

bool
cache__spots_move(struct cache__spots *spots, const struct cache_disk_place *place,
                  uint32_t segment, uint64_t offset)
{
    struct shard *shard = shard_of(spots, place->hash);
    fr_lock_take(&shard->lock);
    struct spot *spot = spot_of(spots, shard, place);
    if (spot) {
        spot->segment = (uint16_t)segment;
        spot->offset = (uint32_t)(offset / UNIT);
        spot->visited = 0;
    }
    fr_lock_give(&shard->lock);
    return spot != NULL;
}

bool
cache__spots_walk(struct cache__spots *spots, uint32_t segment, size_t *cursor, size_t count,
                  struct cache__spot_seen *out, size_t *out_count)
{
    size_t total = SHARDS * spots->shard_spots;
    size_t index = *cursor / spots->shard_spots;
    struct shard *shard = &spots->shards[index];
    size_t at = *cursor % spots->shard_spots;
    *out_count = 0;
    fr_lock_take(&shard->lock);
    size_t end = at + count < shard->fresh ? at + count : shard->fresh;
    for (size_t i = at; i < end; i++) {
        const struct spot *spot = &shard->spots[i];
        if (spot->stamp == 0 || spot->segment != segment)
            continue;
        struct cache__spot_seen *seen = &out[(*out_count)++];
        seen->place = place_of(spot);
        seen->visited = spot->visited;
    }
    bool over = end == shard->fresh; /* of this shard */
    fr_lock_give(&shard->lock);
    *cursor = over ? (index + 1) * spots->shard_spots : *cursor + count;
    return *cursor < total;
}

void
cache__spots_sum(const struct cache__spots *spots, uint64_t *out_entries, uint64_t *out_bytes)
{
    *out_entries = *out_bytes = 0;
    for (size_t i = 0; i < SHARDS; i++) {
        *out_entries += __atomic_load_n(&spots->shards[i].entries, __ATOMIC_RELAXED);
        *out_bytes += __atomic_load_n(&spots->shards[i].bytes, __ATOMIC_RELAXED);
    }
}

void
cache__spots_check(struct cache__spots *spots)
{
    for (size_t i = 0; i < SHARDS; i++) {
        struct shard *shard = &spots->shards[i];
        uint64_t chained = 0, bytes = 0;
        size_t unused = 0;
        fr_lock_take(&shard->lock);
        for (size_t b = 0; b < spots->shard_buckets; b++) {
            for (uint32_t at = shard->buckets[b]; at != 0; at = shard->spots[at - 1].next) {
                const struct spot *spot = &shard->spots[at - 1];
                fr_insist(spot->stamp != 0);
                fr_insist(bucket_of(spots, shard, spot->hash) == &shard->buckets[b]);
                chained++;
                bytes += (uint64_t)spot->bytes * UNIT;
            }
        }
        for (uint32_t at = shard->free_first; at != NONE; at = shard->spots[at].next) {
            fr_insist(shard->spots[at].stamp == 0);
            unused++;
        }
        fr_insist(chained == shard->entries);
        fr_insist(bytes == shard->bytes);
        fr_insist(chained + unused == shard->fresh);
        fr_lock_give(&shard->lock);
    }
}
