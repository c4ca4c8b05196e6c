/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_address.c - how many connections a client address has, in all workers.
 *
 * May touch:  base, loop (addresses).
 * Threads:    each worker counts its own connections in a table of its own; whoever asks adds up
 *             all of them. Two newcomers at once may both see the other, or neither, so that the
 *             limit is kept to within one connection a worker.
 * Memory:     a table of fixed size a worker, made only where there is a limit.
 * Limits:     limits.connections_per_address; IPv6 by /64, the least that one client has. Trusted
 *             proxies speak for many and do not count, and Unix sockets have no address.
 * When full:  a newcomer is closed.
 *
 * No address is kept: an address has one cell in each of ADDRESS_ROWS rows, chosen by a keyed hash,
 * and has as many connections as the least of them says. So nothing grows and nothing must be
 * evicted; never too few are counted, and too many only where others share all of its cells.
 */
#include "proxy/proxy_priv.h"

#include <netinet/in.h>

#define ADDRESS_ROWS 4
#define ADDRESS_CELLS 16384 /* a row; hashed to by 16 bits of 64 each */
#define ADDRESS_PREFIX_BYTES 8

struct proxy_addresses {
    struct fr_hash_key key; /* the same in all workers */
    /* shared, atomic: written by the owner */
    uint32_t cells[ADDRESS_ROWS][ADDRESS_CELLS];
};

struct proxy_addresses *
proxy_addresses_new(const struct fr_hash_key *key)
{
    struct proxy_addresses *addresses = fr_xalloc(sizeof(*addresses));
    addresses->key = *key;
    return addresses;
}

/* False: it has no address to count by. */
static bool
hash_address(const struct proxy_addresses *addresses, const struct loop_addr *addr,
             uint64_t *out_hash)
{
    const struct sockaddr *any = &addr->sa.any;
    if (any->sa_family == AF_INET) {
        struct in_addr four = ((const struct sockaddr_in *)(const void *)any)->sin_addr;
        *out_hash = fr_hash64(&addresses->key, &four, sizeof(four));
        return true;
    }
    if (any->sa_family != AF_INET6)
        return false;
    const struct in6_addr *six = &((const struct sockaddr_in6 *)(const void *)any)->sin6_addr;
    *out_hash = fr_hash64(&addresses->key, six, ADDRESS_PREFIX_BYTES);
    return true;
}

static uint32_t
cell_of(uint64_t hash, int row)
{
    return (uint32_t)(hash >> (16 * row)) % ADDRESS_CELLS;
}

static void
change(struct proxy_addresses *addresses, uint64_t hash, int by)
{
    for (int row = 0; row < ADDRESS_ROWS; row++) {
        uint32_t *cell = &addresses->cells[row][cell_of(hash, row)];
        __atomic_store_n(cell, *cell + (uint32_t)by, __ATOMIC_RELAXED);
    }
}

static uint64_t
connections_of(struct proxy *proxy, uint64_t hash)
{
    uint64_t least = UINT64_MAX;
    for (int row = 0; row < ADDRESS_ROWS; row++) {
        uint64_t sum = 0;
        for (uint32_t i = 0; i < proxy_worker_count(proxy); i++)
            sum += __atomic_load_n(
                &proxy_worker_at(proxy, i)->addresses->cells[row][cell_of(hash, row)],
                __ATOMIC_RELAXED);
        if (sum < least)
            least = sum;
    }
    return least;
}

bool
proxy_address_enter(struct proxy_client *client)
{
    struct proxy_worker *worker = client->worker;
    uint64_t hash;
    if (!worker->addresses || client->trusted ||
        !hash_address(worker->addresses, &client->peer, &hash))
        return true;
    change(worker->addresses, hash, 1);
    client->counted = true;
    if (connections_of(worker->proxy, hash) <= worker->limits.connections_per_address)
        return true;
    PROXY_COUNT(worker, connections_refused_address);
    return false;
}

void
proxy_address_leave(struct proxy_client *client)
{
    uint64_t hash;
    if (client->counted && hash_address(client->worker->addresses, &client->peer, &hash))
        change(client->worker->addresses, hash, -1);
    client->counted = false;
}
