/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_ring.h - the table of consistent hashing: points of the members on a circle of hashes.
 *
 * Promise:    the table depends on the set of (id, weight) alone, not on their order, their state
 *             or the machine: every edge that knows the same members has the same one. When a
 *             member joins, keys move only to it; when one leaves, only its own keys move.
 * Threads:    built on the control thread; immutable once published; counted.
 * Memory:     12 to 16 bytes a point, CLUSTER_RING_POINTS_MAX points at most.
 * Cost:       finding reads three lines: where an arc is, where in it, and a point or two.
 *             Building is linear in the points. A change of members or weights looks at what is
 *             different of the two rosters, copies the arcs to which points come or from which they
 *             go, a few hundred points each, and counts the others once more.
 */
#ifndef CLUSTER_RING_H
#define CLUSTER_RING_H

#include <stdbool.h>
#include <stdint.h>

struct cluster_ring;
struct cluster_roster;

#define CLUSTER_RING_MEMBERS_MAX 65536
#define CLUSTER_RING_POINTS_MAX 262144 /* past it every member gets half, a quarter, ... as many */

/* NULL when no endpoint has a weight, or there are more than CLUSTER_RING_MEMBERS_MAX. */
struct cluster_ring *cluster_ring_new(const struct cluster_roster *roster);
/* That of `after`, which is the same as one built from nothing; before: what `ring` is of. It is
 * `ring` itself, counted, where neither members nor weights have changed. */
struct cluster_ring *cluster_ring_after(struct cluster_ring *ring,
                                        const struct cluster_roster *before,
                                        const struct cluster_roster *after);
struct cluster_ring *cluster_ring_ref(struct cluster_ring *ring);
void cluster_ring_unref(struct cluster_ring **ring); /* NULL is allowed; leaves NULL */

/* The first point at or behind a key's hash; then, point by point around the circle, the endpoints
 * (as indexes of the roster) whose turn it is. */
struct cluster_ring_point {
    uint32_t arc, at;
};
struct cluster_ring_point cluster_ring_find(const struct cluster_ring *ring, uint64_t key);
uint32_t cluster_ring_next(const struct cluster_ring *ring, struct cluster_ring_point *point);
uint32_t cluster_ring_points(const struct cluster_ring *ring);

/* The hash of a key, the same on every edge: not secret, so a client can choose where its key
 * falls. What a crowd on one key can do to a member is limited by the bound on its load. */
uint64_t cluster_ring_key(const void *ptr, uint64_t len);
uint64_t cluster_ring_mix(uint64_t value); /* spreads a number over 64 bits (splitmix64) */

#endif
