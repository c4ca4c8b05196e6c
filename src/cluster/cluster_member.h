/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_member.h - one server of a cluster: its identity, and what each worker counted on it.
 *
 * Life:     made by the control thread, shared by every snapshot that shows it, freed with the last
 *           reference. Workers hold it through the snapshot they adopted and through exchanges.
 * Threads:  identity is set once. stats[w] is written by worker w alone (relaxed atomics), read by
 *           the control thread. No other shared write on the request path.
 * Memory:   one allocation; a stats block a worker, each on cache lines of its own.
 */
#ifndef CLUSTER_MEMBER_H
#define CLUSTER_MEMBER_H

#include "base/fr_hist.h"
#include "base/fr_mem.h"
#include "config/config.h"
#include "loop/loop_addr.h"

#include <stdatomic.h>

/* Cumulative; written with cluster_count_add / cluster_count_set, read with cluster_count_get. */
struct cluster_member_stats {
    uint32_t sequence;         /* odd while the next three are being changed together */
    uint64_t in_flight;        /* now */
    uint64_t in_flight_us;     /* integral of in_flight over time up to in_flight_at_us */
    int64_t in_flight_at_us;
    uint64_t connections;      /* open to the member now, idle ones included */
    uint64_t idle_connections; /* now */
    uint64_t requests;         /* responses finished or failed */
    uint64_t errors;           /* 5xx from the member, or no proper response */
    uint64_t connect_failures;
    uint64_t retries;          /* taken to another member */
    uint64_t ejections;
    uint64_t sessions_given;   /* session cookies that name it, new ones and renewals */
    uint64_t bytes_out;        /* to the member */
    uint64_t bytes_in;         /* from the member */
    uint64_t orca_utilization; /* last endpoint-load-metrics value, in millionths */
    int64_t orca_at_us;        /* when; 0 = never */
    struct fr_hist latency;    /* request sent to last response byte */
} __attribute__((aligned(FR_CACHE_LINE)));

struct cluster_slots;

/* What one worker's picks read of one member, by slot: eight of them to a cache line, because a
 * pick among many finds none of what it reads in the nearest caches. Written by that worker alone;
 * by the control thread before the member is shown to anybody, and behind the last reference to who
 * had the slot before. */
struct cluster_load {
    uint32_t in_flight; /* as in its stats */
    uint32_t suspect;   /* its judgement may say that it is ejected */
};

#define CLUSTER_WORKERS_MAX 256 /* what `workers` may say, too */
#define CLUSTER_HOST_BYTES 256

struct cluster_member {
    /* set once */
    char id[CONFIG_NAME_BYTES];
    char pool[CONFIG_NAME_BYTES]; /* "" for members of the configuration */
    char address[LOOP_ADDR_TEXT_BYTES];
    char host[CLUSTER_HOST_BYTES]; /* what its certificate must name */
    struct loop_addr addr;
    uint32_t slot;         /* small index, unique among living members: workers' arrays use it */
    uint32_t worker_count;
    struct cluster_slots *slots;
    /* shared, atomic */
    atomic_uint refs;
    /* each worker's own */
    struct cluster_member_stats stats[];
};

static inline void
cluster_count_add(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, __atomic_load_n(counter, __ATOMIC_RELAXED) + n, __ATOMIC_RELAXED);
}
static inline void
cluster_count_set(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}
static inline uint64_t
cluster_count_get(const uint64_t *counter)
{
    return __atomic_load_n(counter, __ATOMIC_RELAXED);
}

/* Allots the slot (lowest free one). Control thread only. */
struct cluster_slots *cluster_slots_new(void);
void cluster_slots_free(struct cluster_slots **slots); /* after every member */
/* One worker's, by slot. There are some for every worker that a member was made for. */
struct cluster_load *cluster_slots_loads(const struct cluster_slots *slots, uint32_t worker);
/* NULL: id or pool too long, every slot is taken, too many workers, or memory is out. */
struct cluster_member *cluster_member_new(struct cluster_slots *slots, struct fr_view id,
                                          struct fr_view pool, const struct loop_addr *addr,
                                          uint32_t worker_count);
/* For a member given by name ("HOST:PORT"), before it is shared; else its host is its address, and
 * "localhost" that of a Unix socket. */
void cluster_member_name(struct cluster_member *member, struct fr_view name);
void cluster_host_of(const struct loop_addr *addr, char out[CLUSTER_HOST_BYTES]);
struct cluster_member *cluster_member_ref(struct cluster_member *member);
void cluster_member_unref(struct cluster_member **member); /* any thread; leaves NULL */

/* Worker w: in_flight goes up or down by one at now_us; keeps the integral. */
void cluster_member_enter(struct cluster_member *member, uint32_t worker, int64_t now_us);
void cluster_member_leave(struct cluster_member *member, uint32_t worker, int64_t now_us);

/* Control thread: the workers' stats added up, all but the latency, which costs more than all the
 * others together and is wanted less often. in_flight_us is brought forward to now_us. */
void cluster_member_sum(const struct cluster_member *member, int64_t now_us,
                        struct cluster_member_stats *out);
void cluster_member_latency(const struct cluster_member *member, struct fr_hist *out);

#endif
