/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_ring.c - builds the circle of points and finds in it.
 *
 *     starts   [ 0 | 2 | 2 | 5 | ... ]   by the top bits of a hash: the first point that is not
 *                    |                   below them
 *     points   [ p0 | p1 | p2 | ... ]    sorted; 48 bits of position over 16 bits of rank
 *                         |
 *     members  [ 3 | 0 | 1 | 2 ]         rank (place in the order of ids) -> index of the endpoint
 *
 * May touch:  base. Never: sockets, clocks.
 * Follows:    Karger and others, "Consistent Hashing and Random Trees" (1997), with points in
 *             proportion to the weights.
 */
#include "cluster/cluster_ring.h"

#include "base/fr_check.h"
#include "base/fr_hash.h"
#include "base/fr_mem.h"
#include "cluster/cluster_snapshot.h"

#include <stdlib.h>
#include <string.h>

#define POINTS_PER_WEIGHT 8 /* 800 for the usual weight of 100: shares spread by about 4 % */
#define WEIGHT_FEW 64       /* when the greatest weight is below this, all get more points */
/* Past so many points the index has a place for eight of them each, so that it stays in the nearer
 * caches: eight points are next to one another, and one more place in an index is not. */
#define START_BITS_NEAR 17
#define POINTS_A_START_BITS 3
#define RANK_BITS 16
#define RADIX_BITS 8
#define RADIX_SIZE (1 << RADIX_BITS)

struct ring_member {
    const struct cluster_member *member; /* held by the views that show the ring */
    uint32_t weight;
};

struct cluster_ring {
    atomic_uint refs;
    uint32_t point_count;
    uint32_t start_bits;
    uint32_t endpoint_count;
    uint64_t *points;
    uint32_t *starts;
    uint32_t *members;
    struct ring_member *built_from;
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

/* ---- building ------------------------------------------------------------------------------- */

/* How many points a weight stands for. Point number n of a member is always at the same place, so
 * that more points only add to those there were; and the scale follows the greatest weight by
 * doublings, so that a member that joins or leaves seldom changes it. */
struct scale {
    uint32_t left, right; /* shifts */
};

static uint64_t
points_of(uint32_t weight, struct scale scale)
{
    if (weight == 0)
        return 0;
    uint64_t points = (((uint64_t)weight * POINTS_PER_WEIGHT) << scale.left) >> scale.right;
    return points ? points : 1;
}

static uint64_t
points_of_all(const struct cluster_endpoint *endpoints, uint32_t count, struct scale scale)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += points_of(endpoints[i].weight, scale);
    return sum;
}

static struct scale
choose_scale(const struct cluster_endpoint *endpoints, uint32_t count)
{
    struct scale scale = {0, 0};
    uint32_t weight_max = 0;
    for (uint32_t i = 0; i < count; i++)
        if (endpoints[i].weight > weight_max)
            weight_max = endpoints[i].weight;
    while (weight_max > 0 && (weight_max << scale.left) < WEIGHT_FEW)
        scale.left++;
    while (points_of_all(endpoints, count, scale) > CLUSTER_RING_POINTS_MAX)
        scale.right++;
    return scale;
}

struct named { /* an endpoint on its way into the order of ids */
    const char *id;
    uint32_t index;
};

static int
compare_names(const void *left, const void *right)
{
    const struct named *a = left, *b = right;
    return strcmp(a->id, b->id);
}

static void
rank_members(struct cluster_ring *ring, const struct cluster_endpoint *endpoints, uint32_t count)
{
    struct named *names = fr_xalloc(count * sizeof(*names));
    for (uint32_t i = 0; i < count; i++)
        names[i] = (struct named){endpoints[i].member->id, i};
    qsort(names, count, sizeof(*names), compare_names);
    for (uint32_t i = 0; i < count; i++)
        ring->members[i] = names[i].index;
    fr_free(names);
}

/* Least significant byte first: linear, and the same everywhere. */
static void
sort_points(uint64_t *points, uint32_t count)
{
    uint64_t *from = points, *to = fr_xalloc(count * sizeof(*to)), *spare = to;
    for (unsigned shift = 0; shift < 64; shift += RADIX_BITS) {
        uint32_t at[RADIX_SIZE] = {0}, sum = 0;
        for (uint32_t i = 0; i < count; i++)
            at[(from[i] >> shift) % RADIX_SIZE]++;
        for (unsigned k = 0; k < RADIX_SIZE; k++) {
            uint32_t here = at[k];
            at[k] = sum;
            sum += here;
        }
        for (uint32_t i = 0; i < count; i++)
            to[at[(from[i] >> shift) % RADIX_SIZE]++] = from[i];
        uint64_t *swap = from;
        from = to;
        to = swap;
    }
    fr_insist(from == points); /* an even number of passes */
    fr_free(spare);
}

static void
place_points(struct cluster_ring *ring, const struct cluster_endpoint *endpoints,
             struct scale scale)
{
    uint32_t at = 0;
    for (uint32_t rank = 0; rank < ring->endpoint_count; rank++) {
        const struct cluster_endpoint *endpoint = &endpoints[ring->members[rank]];
        const char *id = endpoint->member->id;
        uint64_t base = cluster_ring_key(id, strlen(id));
        uint64_t count = points_of(endpoint->weight, scale);
        for (uint64_t n = 0; n < count; n++) {
            uint64_t place = cluster_ring_mix(base + n * 0x9e3779b97f4a7c15ull);
            ring->points[at++] = (place >> RANK_BITS << RANK_BITS) | rank;
        }
    }
    fr_insist(at == ring->point_count);
    sort_points(ring->points, ring->point_count);
}

static void
index_points(struct cluster_ring *ring)
{
    uint32_t bits = 1;
    while ((1u << bits) < ring->point_count)
        bits++;
    if (bits > START_BITS_NEAR)
        bits -= POINTS_A_START_BITS;
    ring->start_bits = bits;
    ring->starts = fr_xalloc((size_t)(1u << bits) * sizeof(*ring->starts));
    uint32_t point = 0;
    for (uint64_t i = 0; i < 1u << bits; i++) {
        while (point < ring->point_count && ring->points[point] >> (64 - bits) < i)
            point++;
        ring->starts[i] = point;
    }
}

struct cluster_ring *
cluster_ring_new(const struct cluster_endpoint *endpoints, uint32_t count)
{
    if (count == 0 || count > CLUSTER_RING_MEMBERS_MAX)
        return NULL;
    struct scale scale = choose_scale(endpoints, count);
    uint64_t points = points_of_all(endpoints, count, scale);
    if (points == 0)
        return NULL;
    struct cluster_ring *ring = fr_xalloc(sizeof(*ring));
    atomic_init(&ring->refs, 1);
    ring->endpoint_count = count;
    ring->point_count = (uint32_t)points;
    ring->points = fr_xalloc((size_t)points * sizeof(*ring->points));
    ring->members = fr_xalloc(count * sizeof(*ring->members));
    ring->built_from = fr_xalloc(count * sizeof(*ring->built_from));
    for (uint32_t i = 0; i < count; i++)
        ring->built_from[i] = (struct ring_member){endpoints[i].member, endpoints[i].weight};
    rank_members(ring, endpoints, count);
    place_points(ring, endpoints, scale);
    index_points(ring);
    return ring;
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
    fr_free(r->points);
    fr_free(r->starts);
    fr_free(r->members);
    fr_free(r->built_from);
    fr_free(r);
}

bool
cluster_ring_fits(const struct cluster_ring *ring, const struct cluster_endpoint *endpoints,
                  uint32_t count)
{
    if (ring->endpoint_count != count)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (ring->built_from[i].member != endpoints[i].member ||
            ring->built_from[i].weight != endpoints[i].weight)
            return false;
    return true;
}

/* ---- finding -------------------------------------------------------------------------------- */

uint32_t
cluster_ring_find(const struct cluster_ring *ring, uint64_t key)
{
    uint32_t point = ring->starts[key >> (64 - ring->start_bits)];
    while (point < ring->point_count && ring->points[point] < key)
        point++;
    return point < ring->point_count ? point : 0;
}

uint32_t
cluster_ring_next(const struct cluster_ring *ring, uint32_t *point)
{
    uint32_t rank = (uint32_t)(ring->points[*point] % (1u << RANK_BITS));
    *point = *point + 1 < ring->point_count ? *point + 1 : 0;
    return ring->members[rank];
}

uint32_t
cluster_ring_points(const struct cluster_ring *ring)
{
    return ring->point_count;
}
