/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_balance.h - picks the member for one exchange.
 *
 * May touch:  base. Never: sockets, clocks.
 * Threads:    a worker's own state: judgements, and its cluster_load, whose marks a pick takes away
 *             once they are over. Reads nothing shared but the view.
 * Seam:       one operations struct a balancer and one line in the registry; nothing else to edit.
 * Cost:       constant, but for small clusters, where round-robin and least-request take one pass
 *             over the endpoints.
 */
#ifndef CLUSTER_BALANCE_H
#define CLUSTER_BALANCE_H

#include "base/fr_hash.h"
#include "cluster/cluster_snapshot.h"

#define CLUSTER_LATENCY_SAMPLES 16 /* kept of one member by one worker */

/* One worker's judgement of one member, indexed by the member's slot. Zero = fresh. */
struct cluster_judgement {
    uint32_t failures_in_row;
    uint32_t ejections_in_row;
    int64_t ejected_until_us; /* 0: not ejected */
    bool unhealthy;           /* by active checks, as last shown */
    uint64_t rr_current;      /* smooth weighted round-robin's running value (signed, biased) */
    uint32_t rr_at;           /* of a cluster's first endpoint: where its large round goes on */
    /* cluster_prequal.c */
    double failing;           /* share of its latest requests that failed, fading */
    int64_t failing_at_us;
    uint32_t sample_count, sample_next;
    struct cluster_latency_sample {
        uint32_t latency_us; /* of a request that ended */
        uint32_t in_flight;  /* on the member when it began */
    } samples[CLUSTER_LATENCY_SAMPLES];
};

enum cluster_pick_way { /* how balance: hash came by its answer */
    CLUSTER_PICK_HOME,    /* the member that the key belongs to */
    CLUSTER_PICK_NEXT,    /* one further on: that one cannot take it now */
    CLUSTER_PICK_SPILLED, /* one further on: that one has more than its share in flight */
    CLUSTER_PICK_KEYLESS, /* the request has no key */
};

struct cluster_pick {
    uint32_t worker;
    int64_t now_us;
    struct fr_rand *rand;
    struct cluster_judgement *judgements; /* by member slot */
    const struct cluster_member *const *avoid; /* tried already by this exchange */
    size_t avoid_count;
    /* balance: hash */
    bool keyed;
    uint64_t key;       /* cluster_ring_key */
    uint64_t in_flight; /* of this worker, on the whole cluster */
    struct cluster_prequal *prequal; /* balance: prequal; NULL: p2c decides */
    enum cluster_pick_way *out_way; /* may be NULL */
};

/* The weight in force: configured weight times the slow-start ramp (from 10 % up, linear). */
uint32_t cluster_endpoint_weight(const struct cluster_view *view,
                                 const struct cluster_endpoint *endpoint, int64_t now_us);

/* NULL when no endpoint can take a request. An endpoint whose active check failed is never picked:
 * the check asked, and got its answer. An ejected one is passed over as long as there is another:
 * ejection is a guess from traffic, and a doubtful member is better than a sure 503. */
const struct cluster_endpoint *cluster_balance_pick(const struct cluster_view *view,
                                                    const struct cluster_pick *pick);

/* Whether a session's member may take its next request. A weight of 0 ends no session, if the
 * cluster's settings say so. */
bool cluster_balance_session(const struct cluster_view *view, const struct cluster_pick *pick,
                             const struct cluster_endpoint *endpoint);

/* Passive ejection: reports how an exchange on `endpoint` went (failed: connect failure, broken or
 * missing response, or 5xx of 502, 503, 504). True when this one ejected the member. */
bool cluster_judge(const struct cluster_view *view, const struct cluster_endpoint *endpoint,
                   uint32_t worker, struct cluster_judgement *judgements, int64_t now_us,
                   bool failed);
/* Picks of that worker leave the member out until then, as long as there is another one. */
void cluster_eject(const struct cluster_member *member, uint32_t worker,
                   struct cluster_judgement *judgements, int64_t until_us);

/* ---- balance: prequal ----------------------------------------------------------------------- */

/* What one worker knows of one cluster. */
struct cluster_prequal;
struct cluster_prequal *cluster_prequal_new(void);
void cluster_prequal_free(struct cluster_prequal **prequal);

/* Requests in flight on the member, of all workers: what a probe would have answered. */
uint32_t cluster_prequal_in_flight(const struct cluster_member *member);

/* An exchange ended that had begun with `in_flight` on its member. */
void cluster_prequal_observe(struct cluster_judgement *judgement, uint32_t in_flight,
                             int64_t latency_us, bool failed, int64_t now_us);

#endif
