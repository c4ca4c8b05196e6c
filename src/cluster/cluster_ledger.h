/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_ledger.h - the configuration file that Freshet itself keeps: which servers each cluster
 * has now, where each stands, and the routes, clusters and pools introduced at run time.
 *
 * Notation: YAML that people may edit; a bad edit is refused with line and column and the content
 *           in force stays. Written whole: temporary file, fsync, rename, fsync of the folder.
 * Threads:  control thread. Blocking.
 * Trusts:   nothing: numbers, names and addresses are checked, ids and addresses come once. Nothing
 *           outside the file is asked.
 *
 *     # Freshet's ledger. Edit it if you like: a change is picked up at once.
 *     generation: 13
 *     clusters:
 *       api:
 *         serves: [ "example.com/api/" ]         # request types; follows the routes
 *         servers:
 *           - { id: local-1, address: "127.0.0.1:9101", pool: local, state: ready, weight: 20,
 *               normal: 100, pid: 4711, started: 88123, request: "3:81" }
 *     pools:
 *       rack: { available: ["10.0.0.5:8080"] }    # follows the servers
 *     weights:                                    # of members of the configuration
 *       web-127.0.0.1-9001: 50                    # said by a person: its normal weight
 *       web-127.0.0.1-9002: { weight: 20 }        # relieved; normal: N where a person gave one
 *     routes: [ … ]                               # introduced at run time
 *     new-clusters: { … }
 *     new-pools: { … }
 *     removed: { routes: [], clusters: [], pools: [] }
 */
#ifndef CLUSTER_LEDGER_H
#define CLUSTER_LEDGER_H

#include "base/fr_map.h"
#include "config/config.h"

/* Where an allocated server stands. available is not in the ledger's servers: it is in its pool. */
enum cluster_server_state {
    CLUSTER_SERVER_AVAILABLE,
    CLUSTER_SERVER_STARTING, /* the provider was, or is about to be, asked to start it */
    CLUSTER_SERVER_READY,    /* healthy, in the cluster */
    CLUSTER_SERVER_DRAINING, /* out of the snapshots, finishing */
    CLUSTER_SERVER_STOPPING, /* the provider was, or is about to be, asked to stop it */
};
const char *cluster_server_state_name(enum cluster_server_state state);

#define CLUSTER_REQUEST_BYTES 48 /* "EPOCH:SEQUENCE" and its end */

struct cluster_ledger_server {
    char id[CONFIG_NAME_BYTES];
    char cluster[CONFIG_NAME_BYTES];
    char pool[CONFIG_NAME_BYTES];
    char address[LOOP_ADDR_TEXT_BYTES];
    enum cluster_server_state state;
    uint32_t weight;
    uint32_t weight_normal; /* what configuration or operator said; differs while it is relieved */
    int64_t pid;            /* process provider; 0 = none */
    uint64_t started;   /* the process's start time in clock ticks since boot: tells a reused pid */
    bool edited;        /* set when read: it has no state, so people put it in (state: starting) */
    /* The manager's request that allocated it; "" if nobody's, or if it failed. It stays with the
     * server, so that the request asked again after a crash is answered and not done twice. */
    char request[CLUSTER_REQUEST_BYTES];
};

#define CLUSTER_WEIGHT_OF_FILE UINT32_MAX

struct cluster_ledger { /* the content, as values */
    uint64_t generation;
    struct cluster_ledger_server *servers;
    size_t server_count, server_cap;
    /* weights that differ from the configuration's, by member id, for members of the file */
    struct cluster_ledger_weight {
        char id[CONFIG_NAME_BYTES];
        uint32_t weight;
        uint32_t weight_normal; /* an operator's word; CLUSTER_WEIGHT_OF_FILE: nobody gave one */
    } *weights;
    size_t weight_count, weight_cap;
    struct config_route **routes; /* introduced at run time, or replaced; referenced */
    size_t route_count, route_cap;
    struct config_cluster **clusters;
    size_t cluster_count, cluster_cap;
    struct config_pool **pools;
    size_t pool_count, pool_cap;
    char (*removed_routes)[CONFIG_NAME_BYTES]; /* of the file, removed at run time */
    size_t removed_route_count, removed_route_cap;
    char (*removed_clusters)[CONFIG_NAME_BYTES];
    size_t removed_cluster_count, removed_cluster_cap;
    char (*removed_pools)[CONFIG_NAME_BYTES];
    size_t removed_pool_count, removed_pool_cap;
};

/* What the file shows besides, for people and for tools: not read back. */
struct cluster_ledger_shown {
    /* request types of a cluster: NULL-terminated texts, or NULL; valid until the next call */
    const char *const *(*serves)(void *ctx, const char *cluster);
    /* addresses available in a pool, likewise; NULL for pools without a list (processes) */
    const char *const *(*available)(void *ctx, const char *pool);
    const char *const *clusters; /* every cluster's name in force, NULL-terminated */
    const char *const *pools;
    void *ctx;
};

void cluster_ledger_init(struct cluster_ledger *ledger);
void cluster_ledger_fini(struct cluster_ledger *ledger);
/* A file that is not there is an empty ledger. On FR_ERR_CONFIG the errors are in diag. */
FR_MUST_USE enum fr_err cluster_ledger_load(const char *path, struct config_diag *diag,
                                            struct cluster_ledger *out);
FR_MUST_USE enum fr_err cluster_ledger_parse(struct fr_view text, const char *name,
                                             struct config_diag *diag, struct cluster_ledger *out);
FR_MUST_USE enum fr_err cluster_ledger_print(const struct cluster_ledger *ledger,
                                             const struct cluster_ledger_shown *shown,
                                             struct fr_buf *out);
FR_MUST_USE enum fr_err cluster_ledger_save(const struct cluster_ledger *ledger,
                                            const struct cluster_ledger_shown *shown,
                                            const char *path, int *out_errno);
struct cluster_ledger_server *cluster_ledger_find(struct cluster_ledger *ledger, const char *id);
/* It is not there yet. */
struct cluster_ledger_server *cluster_ledger_add(struct cluster_ledger *ledger, const char *id);
void cluster_ledger_drop(struct cluster_ledger *ledger, const char *id);

#endif
