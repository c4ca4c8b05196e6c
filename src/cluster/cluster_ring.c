/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_ring.c - builds the circle of points, changes it, and finds in it.
 *
 *     arcs    [ a0 | a1 | a2 | ... ]     by the top bits of a hash; NULL: it has no points
 *                     |
 *     starts  [ 0 | 1 | 1 | 3 | ... ]    by its next bits: the first point not below them
 *                         |
 *     points  [ p0 | p1 | p2 | ... ]     sorted; 48 bits of position over 16 bits of index in the
 *                                        roster. Where positions are the same, by the order of ids.
 *
 * Arcs are counted and immutable: a ring shares with the one before those that no point has come to
 * or gone from.
 *
 * May touch:  base. Never: sockets, clocks.
 * Follows:    Karger and others, "Consistent Hashing and Random Trees" (1997), with points in
 *             proportion to the weights.
 */
#include "cluster/cluster_ring.h"

#include "base/fr_check.h"
#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "cluster/cluster_roster.h"

#include <stdlib.h>
#include <string.h>

#define POINTS_PER_WEIGHT 8 /* 800 for the usual weight of 100: shares spread by about 4 % */
#define WEIGHT_FEW 64       /* when the greatest weight is below this, all get more points */
#define ARC_POINTS 256      /* about as many when a ring is built, and down to half of it */
#define ARC_POINTS_MAX (4 * ARC_POINTS) /* past it, or below the least, a ring is built anew */
#define ARC_POINTS_MIN (ARC_POINTS / 8)
#define INDEX_BITS 16
#define RADIX_BITS 8
#define RADIX_SIZE (1 << RADIX_BITS)

struct arc {
    atomic_uint refs;
    uint32_t count;
    uint32_t start_bits;
    uint32_t *starts; /* behind the points, by the next bits: the first that is not below them */
    uint64_t points[];
};

/* How many points a weight stands for. Point number n of a member is always at the same place, so
 * that more points only add to those there were; and the scale follows the greatest weight by
 * doublings, so that a member that joins or leaves seldom changes it. */
struct scale {
    uint32_t left, right; /* shifts */
};

struct cluster_ring {
    atomic_uint refs;
    struct scale scale;
    uint32_t point_count;
    uint64_t finer_count;
    uint32_t arc_bits;
    struct arc *arcs[];
};

/* "freshet consist." as two numbers: any constant would do, but every edge has to have the same. */
static const struct fr_hash_key ring_key = {0x6674656873657266ull, 0x2e7473697366f363ull};

uint64_t
cluster_ring_key(const void *ptr, uint64_t len)
{
    return fr_hash64(&ring_key, ptr, (size_t)len);
}

uint64_t
cluster_ring_mix(uint64_t value)
{
    value += 0x9e3779b97f4a7c15ull;
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
    return value ^ (value >> 31);
}

/* ---- how many points ------------------------------------------------------------------------ */

static uint64_t
points_of(uint32_t weight, struct scale scale)
{
    if (weight == 0)
        return 0;
    uint64_t points = (((uint64_t)weight * POINTS_PER_WEIGHT) << scale.left) >> scale.right;
    return points ? points : 1;
}

static struct scale
finer_than(struct scale scale)
{
    return (struct scale){scale.left, scale.right > 0 ? scale.right - 1 : 0};
}

static uint64_t
points_of_all(const struct cluster_roster *roster, struct scale scale)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < roster->count; i++)
        sum += points_of(cluster_roster_at(roster, i)->weight, scale);
    return sum;
}

static uint32_t
left_of(uint32_t weight_max)
{
    uint32_t left = 0;
    while (weight_max > 0 && (weight_max << left) < WEIGHT_FEW)
        left++;
    return left;
}

static struct scale
choose_scale(const struct cluster_roster *roster)
{
    struct scale scale = {left_of(roster->weight_max), 0};
    while (points_of_all(roster, scale) > CLUSTER_RING_POINTS_MAX)
        scale.right++;
    return scale;
}

/* How many points a ring has; finer: were there twice as many. */
struct sums {
    uint64_t points, finer;
};

/* The scale is the one that would be chosen. */
static bool
scale_fits(struct scale scale, struct sums sums, const struct cluster_roster *roster)
{
    return scale.left == left_of(roster->weight_max) && sums.points <= CLUSTER_RING_POINTS_MAX &&
           (scale.right == 0 || sums.finer > CLUSTER_RING_POINTS_MAX);
}

/* ---- points --------------------------------------------------------------------------------- */

struct points {
    uint64_t *at;
    size_t count, capacity;
};

/* Of an endpoint, from number `first` up to `end`. */
static void
add_points(struct points *points, const struct cluster_endpoint *endpoint, uint64_t first,
           uint64_t end)
{
    const char *id = endpoint->member->id;
    uint64_t base = cluster_ring_key(id, strlen(id));
    if (first >= end)
        return;
    void *grown = points->at;
    fr_xgrow(&grown, &points->capacity, points->count + (size_t)(end - first), sizeof(uint64_t));
    points->at = grown;
    for (uint64_t n = first; n < end; n++) {
        uint64_t place = cluster_ring_mix(base + n * 0x9e3779b97f4a7c15ull);
        points->at[points->count++] = (place >> INDEX_BITS << INDEX_BITS) | endpoint->index;
    }
}

static uint64_t
place_of(uint64_t point)
{
    return point >> INDEX_BITS;
}

static uint32_t
index_of(uint64_t point)
{
    return (uint32_t)(point % (1u << INDEX_BITS));
}

/* Indexes are of this roster. */
static bool
stands_before(const struct cluster_roster *roster, uint64_t a, uint64_t b)
{
    if (place_of(a) != place_of(b))
        return a < b;
    return strcmp(cluster_roster_at(roster, index_of(a))->member->id,
                  cluster_roster_at(roster, index_of(b))->member->id) < 0;
}

/* Of places, least significant byte first: linear, and the same everywhere. */
static void
sort_points(const struct cluster_roster *roster, uint64_t *points, size_t count)
{
    uint64_t *from = points, *to = fr_xalloc(count * sizeof(*to)), *spare = to;
    for (unsigned shift = INDEX_BITS; shift < 64; shift += RADIX_BITS) {
        size_t at[RADIX_SIZE] = {0}, sum = 0;
        for (size_t i = 0; i < count; i++)
            at[(from[i] >> shift) % RADIX_SIZE]++;
        for (unsigned k = 0; k < RADIX_SIZE; k++) {
            size_t here = at[k];
            at[k] = sum;
            sum += here;
        }
        for (size_t i = 0; i < count; i++)
            to[at[(from[i] >> shift) % RADIX_SIZE]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    fr_insist(from == points); /* an even number of passes */
    fr_free(spare);
    for (size_t i = 1; i < count; i++)
        for (size_t k = i; k > 0 && place_of(points[k]) == place_of(points[k - 1]) &&
                           stands_before(roster, points[k], points[k - 1]);
             k--) {
            uint64_t swap = points[k];
            points[k] = points[k - 1];
            points[k - 1] = swap;
        }
}

/* ---- arcs ----------------------------------------------------------------------------------- */

static void
arc_unref(struct arc *arc)
{
    if (arc && atomic_fetch_sub_explicit(&arc->refs, 1, memory_order_acq_rel) == 1)
        fr_free(arc);
}

static struct cluster_ring *
ring_new(struct scale scale, uint32_t arc_bits)
{
    struct cluster_ring *ring =
        fr_xalloc(sizeof(*ring) + ((size_t)1 << arc_bits) * sizeof(struct arc *));
    atomic_init(&ring->refs, 1);
    ring->scale = scale;
    ring->arc_bits = arc_bits;
    return ring;
}

/* How many points, sorted, are of that arc. */
static size_t
count_of_arc(const struct points *points, size_t from, uint64_t arc, uint32_t arc_bits)
{
    size_t end = from;
    while (end < points->count && points->at[end] >> (64 - arc_bits) == arc)
        end++;
    return end - from;
}

static bool
is_among(uint64_t point, const uint64_t *points, size_t count)
{
    for (size_t i = 0; i < count && place_of(points[i]) == place_of(point); i++)
        if (points[i] == point)
            return true;
    return false;
}

static struct arc *
arc_new(size_t count)
{
    uint32_t bits = 0;
    while (((size_t)1 << bits) < count)
        bits++;
    struct arc *arc =
        fr_xalloc(sizeof(*arc) + count * sizeof(uint64_t) + ((size_t)1 << bits) * sizeof(uint32_t));
    atomic_init(&arc->refs, 1);
    arc->start_bits = bits;
    arc->starts = (uint32_t *)(void *)(arc->points + count);
    return arc;
}

/* Which of its starts a hash belongs to. */
static uint32_t
start_of(const struct arc *arc, uint32_t arc_bits, uint64_t hash)
{
    return arc->start_bits ? (uint32_t)((hash << arc_bits) >> (64 - arc->start_bits)) : 0;
}

/* Counted, and then added up: no branch depends on where the points are. */
static void
index_arc(struct arc *arc, uint32_t arc_bits)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < arc->count; i++)
        arc->starts[start_of(arc, arc_bits, arc->points[i])]++;
    for (uint32_t i = 0; i < 1u << arc->start_bits; i++) {
        uint32_t here = arc->starts[i];
        arc->starts[i] = sum;
        sum += here;
    }
}

/* What is left of an arc (NULL: nothing was) without some points and with some others. */
static struct arc *
arc_changed(const struct cluster_roster *roster, const struct arc *before, const uint64_t *gone,
            size_t gone_count, const uint64_t *come, size_t come_count)
{
    size_t had = before ? before->count : 0;
    if (had + come_count == gone_count)
        return NULL;
    struct arc *arc = arc_new(had + come_count - gone_count);
    for (size_t i = 0; i < had; i++) {
        uint64_t point = before->points[i];
        while (gone_count > 0 && place_of(*gone) < place_of(point)) {
            gone++;
            gone_count--;
        }
        if (is_among(point, gone, gone_count))
            continue;
        while (come_count > 0 && stands_before(roster, *come, point)) {
            arc->points[arc->count++] = *come++;
            come_count--;
        }
        arc->points[arc->count++] = point;
    }
    while (come_count-- > 0)
        arc->points[arc->count++] = *come++;
    return arc;
}

/* The arcs of `ring` from those of `before` (NULL: it had none) and points sorted. */
static void
fill_arcs(struct cluster_ring *ring, const struct cluster_ring *before,
          const struct cluster_roster *roster, const struct points *gone, const struct points *come)
{
    size_t gone_at = 0, come_at = 0;
    for (uint64_t i = 0; i < (uint64_t)1 << ring->arc_bits; i++) {
        struct arc *arc = before ? before->arcs[i] : NULL;
        size_t gone_count = count_of_arc(gone, gone_at, i, ring->arc_bits);
        size_t come_count = count_of_arc(come, come_at, i, ring->arc_bits);
        if (gone_count + come_count > 0) {
            arc = arc_changed(roster, arc, gone->at + gone_at, gone_count, come->at + come_at,
                              come_count);
            if (arc)
                index_arc(arc, ring->arc_bits);
        } else if (arc) {
            atomic_fetch_add_explicit(&arc->refs, 1, memory_order_relaxed);
        }
        ring->arcs[i] = arc;
        gone_at += gone_count;
        come_at += come_count;
    }
}

/* ---- rings ---------------------------------------------------------------------------------- */

struct cluster_ring *
cluster_ring_new(const struct cluster_roster *roster)
{
    if (roster->count == 0 || roster->count > CLUSTER_RING_MEMBERS_MAX || roster->weight_max == 0)
        return NULL;
    struct scale scale = choose_scale(roster);
    struct points none = {0}, all = {0};
    uint32_t arc_bits = 1;
    for (uint32_t i = 0; i < roster->count; i++) {
        const struct cluster_endpoint *endpoint = cluster_roster_at(roster, i);
        add_points(&all, endpoint, 0, points_of(endpoint->weight, scale));
    }
    while (all.count >> arc_bits > ARC_POINTS)
        arc_bits++;
    struct cluster_ring *ring = ring_new(scale, arc_bits);
    ring->point_count = (uint32_t)all.count;
    ring->finer_count = points_of_all(roster, finer_than(scale));
    sort_points(roster, all.at, all.count);
    fill_arcs(ring, NULL, roster, &none, &all);
    fr_free(all.at);
    return ring;
}

struct changes {
    struct scale scale;
    struct sums gone_sums, come_sums;
    struct points gone, come;
};

static bool
is_same(const struct cluster_endpoint *before, const struct cluster_endpoint *after)
{
    return before && after && before->member == after->member && before->weight == after->weight;
}

/* Before any is made: by a scale that fits no more there might be too many. */
static void
count_change(void *ctx, const struct cluster_endpoint *before, const struct cluster_endpoint *after)
{
    struct changes *changes = ctx;
    struct scale finer = finer_than(changes->scale);
    if (is_same(before, after))
        return;
    changes->gone_sums.points += before ? points_of(before->weight, changes->scale) : 0;
    changes->gone_sums.finer += before ? points_of(before->weight, finer) : 0;
    changes->come_sums.points += after ? points_of(after->weight, changes->scale) : 0;
    changes->come_sums.finer += after ? points_of(after->weight, finer) : 0;
}

static void
make_change(void *ctx, const struct cluster_endpoint *before, const struct cluster_endpoint *after)
{
    struct changes *changes = ctx;
    bool stays = before && after && before->member == after->member;
    uint64_t had = before ? points_of(before->weight, changes->scale) : 0;
    uint64_t has = after ? points_of(after->weight, changes->scale) : 0;
    if (is_same(before, after))
        return;
    if (before)
        add_points(&changes->gone, before, stays ? has : 0, had);
    if (after)
        add_points(&changes->come, after, stays ? had : 0, has);
}

struct cluster_ring *
cluster_ring_after(struct cluster_ring *ring, const struct cluster_roster *before,
                   const struct cluster_roster *after)
{
    struct changes changes = {.scale = ring->scale};
    struct sums *gone = &changes.gone_sums, *come = &changes.come_sums;
    cluster_roster_compare(before, after, count_change, &changes);
    if (gone->finer == 0 && come->finer == 0)
        return cluster_ring_ref(ring);
    struct sums sums = {ring->point_count + come->points - gone->points,
                        ring->finer_count + come->finer - gone->finer};
    uint64_t each = sums.points >> ring->arc_bits;
    bool built_well = each <= ARC_POINTS_MAX && (each >= ARC_POINTS_MIN || ring->arc_bits == 1);
    if (sums.points == 0 || !built_well || !scale_fits(ring->scale, sums, after))
        return cluster_ring_new(after);
    struct cluster_ring *next = ring_new(ring->scale, ring->arc_bits);
    next->point_count = (uint32_t)sums.points;
    next->finer_count = sums.finer;
    cluster_roster_compare(before, after, make_change, &changes);
    sort_points(before, changes.gone.at, changes.gone.count);
    sort_points(after, changes.come.at, changes.come.count);
    fill_arcs(next, ring, after, &changes.gone, &changes.come);
    fr_free(changes.gone.at);
    fr_free(changes.come.at);
    return next;
}

struct cluster_ring *
cluster_ring_ref(struct cluster_ring *ring)
{
    atomic_fetch_add_explicit(&ring->refs, 1, memory_order_relaxed);
    return ring;
}

void
cluster_ring_unref(struct cluster_ring **ring)
{
    struct cluster_ring *r = *ring;
    *ring = NULL;
    if (!r || atomic_fetch_sub_explicit(&r->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < (size_t)1 << r->arc_bits; i++)
        arc_unref(r->arcs[i]);
    fr_free(r);
}

/* ---- finding -------------------------------------------------------------------------------- */

/* The first point of the arc, or of the next one around the circle that has any. */
static struct cluster_ring_point
first_from(const struct cluster_ring *ring, uint32_t arc)
{
    uint32_t mask = (1u << ring->arc_bits) - 1;
    arc &= mask;
    while (!ring->arcs[arc]) /* some arc has points */
        arc = (arc + 1) & mask;
    return (struct cluster_ring_point){arc, 0};
}

struct cluster_ring_point
cluster_ring_find(const struct cluster_ring *ring, uint64_t key)
{
    uint32_t number = (uint32_t)(key >> (64 - ring->arc_bits));
    const struct arc *arc = ring->arcs[number];
    if (!arc)
        return first_from(ring, number);
    uint32_t at = arc->starts[start_of(arc, ring->arc_bits, key)];
    while (at < arc->count && place_of(arc->points[at]) < place_of(key))
        at++;
    return at < arc->count ? (struct cluster_ring_point){number, at} : first_from(ring, number + 1);
}

uint32_t
cluster_ring_next(const struct cluster_ring *ring, struct cluster_ring_point *point)
{
    const struct arc *arc = ring->arcs[point->arc];
    uint32_t index = index_of(arc->points[point->at]);
    if (++point->at == arc->count)
        *point = first_from(ring, point->arc + 1);
    return index;
}

uint32_t
cluster_ring_points(const struct cluster_ring *ring)
{
    return ring->point_count;
}
