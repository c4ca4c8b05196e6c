/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator.h - pools, and the state machine that moves a server between them and the clusters.
 *
 * Life of a server (allocator_states.def is the table; one function alone writes the state):
 *
 *   available -> starting -> ready -> draining -> stopping -> available
 *                   |  ^
 *                   |  +-- died while ready: starting again (restart_max), else replaced
 *                   +----> stopping -> available      (start failed or timed out)
 *
 * Threads:   the control thread's loop.
 * Crash:     every transition is in the ledger before the world is touched and again after it; on
 *            start the ledger is reconciled with what the providers find. Transitions of one turn
 *            share one write (loop_defer), and what they do to the world follows that write.
 * Owner:     an edge or the allocator role; it publishes the membership and tells when a member has
 *            drained.
 */
#ifndef ALLOCATOR_H
#define ALLOCATOR_H

#include "cluster/cluster_ledger.h"
#include "provider/provider.h"

struct allocator;

struct allocator_server { /* as others see it; borrowed until the next call */
    const char *id, *cluster, *pool, *address;
    const struct loop_addr *addr;
    enum cluster_server_state state;
    uint32_t weight, weight_normal; /* in force; and what configuration or operator said */
    int64_t since_us;               /* monotonic: in this state since */
};

struct allocator_events {
    /* Its health check passed and the ledger says ready: put it into the cluster. */
    void (*join)(void *ctx, const struct allocator_server *server);
    /* Take it out of the cluster (after a restart possibly without a join before it); call
     * allocator_drained once nothing is on it any more, at the drain deadline because the rest was
     * cut. Shortly behind it the server is stopped anyway, unless a release is missing. */
    void (*leave)(void *ctx, const struct allocator_server *server);
    void (*weight)(void *ctx, const struct allocator_server *server);
    /* Something to report or to show changed (states, pools). */
    void (*changed)(void *ctx);
    /* Routes, clusters or pools in force changed, by a hand edit of the ledger or by the calls
     * below: rebuild. */
    void (*settings)(void *ctx);
    /* A hand edit of the ledger was refused as a whole: the content in force stays. The user's file
     * is left alone until the allocator's own next write, which first keeps it as
     * ledger.yaml.refused beside the ledger. */
    void (*refused)(void *ctx, const struct config_diag *diag);
    /* Worth a line in the log: a server died, was restarted or replaced, a drain deadline passed.
     * server may be NULL (the ledger can't be written). */
    void (*note)(void *ctx, const struct allocator_server *server, const char *words);
    void *ctx;
    /* May be NULL. Words (fr_free) when this ledger, laid over the owner's file, contradicts it,
     * with a name to look for in the ledger's text; NULL when fine. A contradiction is an error in
     * the ledger, at the start as in an edit. */
    char *(*conflict)(void *ctx, const struct cluster_ledger *ledger, const char **out_name);
};

struct allocator_options {
    const char *state_folder; /* the ledger is STATE/ledger.yaml */
    bool needs_release; /* a draining server waits for allocator_release too (DESIGN section 6) */
    struct cluster_ledger_shown shown; /* only serves is used; the rest is ours */
};

/* Loads and reconciles the ledger: servers that run are adopted (join follows for the ready ones),
 * others are started again or forgotten, orphans stopped. Errors in the ledger file are in diag and
 * nothing was touched. `clusters` and `pools` are those of the file; the ledger's own are added. */
FR_MUST_USE enum fr_err allocator_new(struct loop *loop, const struct allocator_options *options,
                                      struct config_cluster *const *clusters, size_t cluster_count,
                                      struct config_pool *const *pools, size_t pool_count,
                                      const struct allocator_events *events,
                                      struct config_diag *diag, struct allocator **out);
/* leave_running: servers go on, to be adopted by the next life. Otherwise processes are stopped;
 * the ledger goes on naming them, and the next life starts them again. */
void allocator_free(struct allocator **allocator, bool leave_running);

/* The answer to a request, exactly once, possibly from inside the call (a refusal) or from
 * allocator_free. Servers are those concerned. */
struct allocator_answer {
    enum fr_err err;
    const char *why; /* in words when err */
    const struct allocator_server *servers;
    size_t server_count;
    uint64_t generation;
};
typedef void (*allocator_done_fn)(void *ctx, const struct allocator_answer *answer);

/* count servers for the cluster; done when every one is ready (in the cluster) or the request
 * failed as a whole. All or nothing: each joins as soon as it is ready; when a later one fails,
 * those that joined leave by the ordinary drain. wanted: a given server's address. */
void allocator_allocate(struct allocator *allocator, struct fr_view cluster, uint32_t count,
                        struct fr_view wanted, allocator_done_fn fn, void *ctx);
/* The same for somebody who may ask twice: `request` ("3:81") stays in the ledger with the servers
 * until they are gone. Those that stand there under it already, started by an earlier life of this
 * process, are not started again: they are waited for, and are the answer. */
struct allocator_asked {
    struct fr_view cluster;
    uint32_t count;
    struct fr_view wanted, request;
    struct fr_view pool; /* of this one of the cluster's only; empty: by preference */
};
void allocator_allocate_asked(struct allocator *allocator, const struct allocator_asked *asked,
                              allocator_done_fn fn, void *ctx);
/* Named servers; done when every one is back in its pool. */
void allocator_deallocate(struct allocator *allocator, struct fr_view cluster,
                          const struct fr_view *ids, size_t id_count, allocator_done_fn fn,
                          void *ctx);
/* From its cluster to another without a stop: leaves the one, drained, joins the other. */
void allocator_move(struct allocator *allocator, struct fr_view id, struct fr_view to,
                    allocator_done_fn fn, void *ctx);
/* Weight of an allocated server, or of a member of the file (kept in the ledger). By the first the
 * manager relieves it for a while; by the second an operator says what is normal from now on. */
FR_MUST_USE enum fr_err allocator_weight(struct allocator *allocator, struct fr_view id,
                                         uint32_t weight);
FR_MUST_USE enum fr_err allocator_weight_normal(struct allocator *allocator, struct fr_view id,
                                                uint32_t weight);
void allocator_drained(struct allocator *allocator, struct fr_view id);
void allocator_release(struct allocator *allocator, struct fr_view id);
void allocator_set_needs_release(struct allocator *allocator, bool needs_release);
/* The health of a ready member failed for good (its active check): replace it. */
void allocator_unhealthy(struct allocator *allocator, struct fr_view id, const char *why);

/* Run-time settings: in the ledger before they are in force. References are taken.
 * put replaces by name; FR_ERR_FULL past CONFIG_ROUTES_MAX and the like. remove:
 * FR_ERR_NOT_FOUND; FR_ERR_STATE while servers are allocated from the pool or to the cluster, or
 * (checked by the caller) a route still names the cluster. */
FR_MUST_USE enum fr_err allocator_put_route(struct allocator *allocator,
                                            struct config_route *route);
FR_MUST_USE enum fr_err allocator_remove_route(struct allocator *allocator, struct fr_view name,
                                               bool in_file);
FR_MUST_USE enum fr_err allocator_put_cluster(struct allocator *allocator,
                                              struct config_cluster *cluster);
FR_MUST_USE enum fr_err allocator_remove_cluster(struct allocator *allocator, struct fr_view name);
FR_MUST_USE enum fr_err allocator_put_pool(struct allocator *allocator, struct config_pool *pool);
FR_MUST_USE enum fr_err allocator_remove_pool(struct allocator *allocator, struct fr_view name);
/* A re-read file (SIGHUP): these are the file's clusters and pools now. All or nothing: an error
 * leaves what was. */
FR_MUST_USE enum fr_err allocator_reload(struct allocator *allocator,
                                         struct config_cluster *const *clusters,
                                         size_t cluster_count, struct config_pool *const *pools,
                                         size_t pool_count);

const struct cluster_ledger *allocator_ledger(const struct allocator *allocator);
/* Walks over servers, and over pools: *at is NULL at first. Nothing may change meanwhile. */
bool allocator_server_next(const struct allocator *allocator, const void **at,
                           struct allocator_server *out);
struct allocator_pool {
    const char *name;
    uint64_t available, allocated;
    uint32_t cost;
};
size_t allocator_pool_count(const struct allocator *allocator);
bool allocator_pool_next(const struct allocator *allocator, const void **at,
                         struct allocator_pool *out);
uint32_t allocator_pool_cost(const struct allocator *allocator, const char *name); /* 0: no such */

#endif
