/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_ring.h - the table of consistent hashing: points of the members on a circle of hashes.
 *
 * Promise:    the table depends on the set of (id, weight) alone, not on their order, their state
 *             or the machine: every edge that knows the same members has the same one. When a
 *             member joins, keys move only to it; when one leaves, only its own keys move.
 * Threads:    built on the control thread; immutable once published; counted.
 * Memory:     about 12 bytes a point, RING_POINTS_MAX points at most.
 * Cost:       building is linear in the points; finding reads one index and about two points, of a
 *             large ring about five that are next to one another.
 */
#ifndef CLUSTER_RING_H
#define CLUSTER_RING_H

#include <stdbool.h>
#include <stdint.h>

struct cluster_endpoint;
struct cluster_ring;

#define CLUSTER_RING_MEMBERS_MAX 65536
#define CLUSTER_RING_POINTS_MAX 262144 /* past it every member gets half, a quarter, ... as many */

/* NULL when no endpoint has a weight, or there are more than CLUSTER_RING_MEMBERS_MAX. */
struct cluster_ring *cluster_ring_new(const struct cluster_endpoint *endpoints, uint32_t count);
struct cluster_ring *cluster_ring_ref(struct cluster_ring *ring);
void cluster_ring_unref(struct cluster_ring **ring); /* NULL is allowed; leaves NULL */

/* Whether it was built from just these members with these weights, in this order. The endpoints it
 * was built from must still be held. */
bool cluster_ring_fits(const struct cluster_ring *ring, const struct cluster_endpoint *endpoints,
                       uint32_t count);

/* The first point at or behind a key's hash; then, point by point around the circle, the endpoints
 * (as indexes of the array it was built from) whose turn it is. */
uint32_t cluster_ring_find(const struct cluster_ring *ring, uint64_t key);
uint32_t cluster_ring_next(const struct cluster_ring *ring, uint32_t *point);
uint32_t cluster_ring_points(const struct cluster_ring *ring);

/* The hash of a key, the same on every edge: not secret, so a client can choose where its key
 * falls. What a crowd on one key can do to a member is limited by the bound on its load. */
uint64_t cluster_ring_key(const void *ptr, uint64_t len);
uint64_t cluster_ring_mix(uint64_t value); /* spreads a number over 64 bits (splitmix64) */

#endif
