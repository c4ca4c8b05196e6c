/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_priv.h - what the allocator's files share.
 *
 * Who does what: allocator_server.c knows the state table and acts on the world; allocator_ledger.c
 * collects a turn's changes and writes them; allocator_request.c counts until a request is
 * answered; allocator_settings.c keeps clusters and pools in force, allocator_weight.c the weights;
 * allocator_reconcile.c does the start and the minimum; allocator_edit.c reads what people wrote
 * into the ledger; allocator_addresses.c knows who has which address.
 */
#ifndef ALLOCATOR_PRIV_H
#define ALLOCATOR_PRIV_H

#include "allocator/allocator.h"
#include "cluster/cluster_health.h"

#include "base/fr_buf.h"
#include "base/fr_list.h"
#include "base/fr_map.h"
#include "base/fr_time.h"

#define ALLOCATOR_WHY_BYTES 512
#define ALLOCATOR_LEDGER_BYTES_MAX CONFIG_TREE_BYTES_MAX
#define ALLOCATOR_SERVERS_MAX 16384 /* in all pools together; more are refused as FR_ERR_FULL */
#define ALLOCATOR_WRITE_US (30 * FR_US_PER_MS)    /* between two writes, in the long run */
#define ALLOCATOR_WRITE_BURST 16                  /* writes that need not wait for that */
#define ALLOCATOR_RETRY_US (1 * FR_US_PER_S)      /* of a ledger write that must be done */
#define ALLOCATOR_FILL_RETRY_US (5 * FR_US_PER_S) /* of a cluster below its minimum; doubles */
#define ALLOCATOR_FILL_RETRY_MAX_US (60 * FR_US_PER_S)
#define ALLOCATOR_POOL_REST_US (30 * FR_US_PER_S) /* of a pool whose server could not start */
#define ALLOCATOR_RESCAN_US (2 * FR_US_PER_S)     /* orphans are looked for once more after this */
#define ALLOCATOR_RESTARTS_MAX 64                 /* remembered of one server */
#define ALLOCATOR_WEIGHT_DEFAULT 100
#define ALLOCATOR_DRAIN_DEFAULT_US (30 * FR_US_PER_S) /* of a cluster that is gone */
/* Behind the drain: its owner cuts what is left and says so, before the server is stopped. */
#define ALLOCATOR_CUT_US (FR_US_PER_S / 2)

enum allocator_event {
    ALLOCATOR_ALLOCATE,
    ALLOCATOR_STARTED,
    ALLOCATOR_PASSED,
    ALLOCATOR_FAILED,
    ALLOCATOR_GIVE_BACK,
    ALLOCATOR_ABANDON,
    ALLOCATOR_RESTART,
    ALLOCATOR_ADOPTED,
    ALLOCATOR_MOVE,
    ALLOCATOR_MOVED,
    ALLOCATOR_DRAINED,
    ALLOCATOR_STOPPED,
};

enum allocator_action {
    ALLOCATOR_START,
    ALLOCATOR_CHECK,
    ALLOCATOR_JOIN,
    ALLOCATOR_LEAVE,
    ALLOCATOR_LEAVE_START,
    ALLOCATOR_LEAVE_STOP,
    ALLOCATOR_MOVE_JOIN,
    ALLOCATOR_STOP,
    ALLOCATOR_FORGET,
    ALLOCATOR_ACTIONS
};

/* Clusters and pools in force: the file's, with the ledger's laid over them. */
struct allocator__settings {
    struct config_cluster **clusters;
    size_t cluster_count, cluster_cap;
    struct config_pool **pools;
    size_t pool_count, pool_cap;
};

struct allocator__pool {
    struct fr_list link;
    char name[CONFIG_NAME_BYTES];
    struct allocator *allocator;
    struct config_pool *config;
    const struct provider_ops *ops;
    struct provider *provider;
    uint64_t id_next;
    int64_t rests_until_us; /* a start failed: other pools come first until then */
    bool retired;           /* not in force any more: kept until its last server has gone back */
};

struct allocator__request;

struct allocator__server {
    struct fr_list link;
    struct allocator *allocator;
    struct allocator__pool *pool;
    struct provider_server provided; /* id, cluster, address, process */
    enum cluster_server_state state; /* written by state_write alone */
    uint32_t weight, weight_normal;
    int64_t since_us;
    uint64_t born; /* the ledger's generation that first named it; 0: none yet */
    struct allocator__request *request; /* the one that waits for it; NULL: none */
    struct cluster_health *health;      /* while starting */
    struct loop_timer timer;            /* start timeout, or drain deadline */
    bool joined;                        /* the owner was told to show it */
    bool drained, released, deadline_passed;
    int64_t drain_us;                  /* of its cluster, which may be gone */
    bool replace;                      /* another one takes its place when it has gone */
    char move_to[CONFIG_NAME_BYTES];   /* "" unless it drains to move */
    char asked[CLUSTER_REQUEST_BYTES]; /* the manager's request that brought it; "" if it failed */
    int64_t restarts_us[ALLOCATOR_RESTARTS_MAX];
    size_t restart_count;
    char why[ALLOCATOR_WHY_BYTES];
    unsigned changes; /* in the queue: it may not be freed before they are done */
};

/* One transition on its way: into the ledger, then into the world. */
struct allocator__change {
    struct fr_list link;
    struct allocator__server *server;
    enum cluster_server_state from;
    enum allocator_action action;
    bool refusable;   /* a request's: undone when the ledger can't be written */
    bool needs_write; /* the ledger does not say it yet */
};

enum allocator__request_kind {
    ALLOCATOR_REQUEST_ALLOCATE,
    ALLOCATOR_REQUEST_DEALLOCATE,
    ALLOCATOR_REQUEST_MOVE,
};

/* A server of a request, remembered until the answer, when the server may be gone already. */
struct allocator__slot {
    struct allocator__server *server; /* NULL once it left the request */
    bool settled;                     /* it stands where the request wants it */
    char id[CONFIG_NAME_BYTES], cluster[CONFIG_NAME_BYTES], pool[CONFIG_NAME_BYTES];
    char address[LOOP_ADDR_TEXT_BYTES];
    struct loop_addr addr;
    uint32_t weight, weight_normal;
    int64_t since_us;
    enum cluster_server_state state;
};

struct allocator__request {
    struct fr_list link;
    struct allocator *allocator;
    enum allocator__request_kind kind;
    allocator_done_fn fn; /* NULL: the allocator's own */
    void *ctx;
    struct allocator__slot *slots;
    size_t slot_count;
    enum fr_err err; /* the first failure: then everything goes back */
    char why[ALLOCATOR_WHY_BYTES];
};

struct allocator {
    struct loop *loop;
    struct allocator_events events;
    struct cluster_ledger_shown shown; /* the owner's */
    bool needs_release;
    bool closing;
    char *state_folder, *ledger_path, *refused_path;
    /* what the configuration file says */
    struct allocator__settings file;
    /* and what is in force */
    struct allocator__settings settings;
    struct cluster_ledger ledger; /* its servers follow the list below with each write */
    struct fr_list pools;         /* struct allocator__pool */
    struct fr_list servers;       /* struct allocator__server */
    size_t server_count;
    struct fr_map *servers_by_address; /* the same */
    struct fr_map *members_by_address; /* of the file's clusters; NULL: to be made anew */
    struct fr_list requests;
    /* the turn's changes */
    struct fr_list changes;
    bool dirty; /* something changed that the ledger does not say */
    struct loop_task flush_task;
    struct loop_timer retry_timer;
    struct fr_pace write_pace;
    bool write_yields; /* once: what a join of this turn leads to comes before the write */
    bool write_failed; /* told once, until a write succeeds */
    struct loop_task notify_task;
    bool settings_changed;
    /* the ledger file as we last wrote or read it */
    struct fr_buf disk_text;
    struct fr_buf refused_text; /* a bad edit that still stands in the file */
    struct loop_watch watch;
    bool watching;
    struct loop_timer fill_timer, rescan_timer;
    int64_t fill_retry_us;
    /* for the ledger's shown part, while it is printed */
    const char **shown_clusters, **shown_pools;
    size_t shown_clusters_cap, shown_pools_cap;
};

/* ---- allocator_server.c ---- */
struct allocator__server *allocator__server_new(struct allocator *allocator,
                                                struct allocator__pool *pool, const char *id,
                                                const char *cluster,
                                                enum cluster_server_state state);
void allocator__server_free(struct allocator__server *server);
struct allocator__server *allocator__server_find(struct allocator *allocator, struct fr_view id);
void allocator__server_show(const struct allocator__server *server, struct allocator_server *out);
/* Looks the event up in the table, changes the state and queues the action. False: no such row. */
bool allocator__event(struct allocator__server *server, enum allocator_event event, bool refusable);
void allocator__act(struct allocator__server *server, enum allocator_action action);
void allocator__undo(struct allocator__change *change);
void allocator__drain_check(struct allocator__server *server);
/* It ended, or never came up: restarts it, gives it up, or fails the request that waits. */
void allocator__server_lost(struct allocator__server *server, const char *why);
/* Another server for the cluster of one that goes: at once, or in its place once it has gone. */
void allocator__server_replace(struct allocator__server *server);
extern const struct provider_events allocator__provider_events;
__attribute__((format(printf, 3, 4))) void allocator__note(struct allocator *allocator,
                                                           const struct allocator__server *server,
                                                           const char *format, ...);

/* ---- allocator_addresses.c ---- */
void allocator__addresses_init(struct allocator *allocator);
void allocator__addresses_fini(struct allocator *allocator);
/* Its address has been chosen; it has it until it is freed. */
void allocator__address_hold(struct allocator__server *server);
void allocator__address_release(struct allocator__server *server);
void allocator__addresses_stale(struct allocator *allocator); /* other members are in force */
struct allocator__server *allocator__address_holder(const struct allocator *allocator,
                                                    const char *address);
bool allocator__address_taken(void *ctx, const char *address); /* ctx is the allocator */

/* ---- allocator_ledger.c ---- */
void allocator__change_queue(struct allocator__server *server, enum cluster_server_state from,
                             enum allocator_action action, bool refusable, bool needs_write);
void allocator__dirty(struct allocator *allocator); /* write at the end of this turn */
/* Writes now what is in force, with `settings` (may be &allocator->ledger) as its settings part. On
 * failure the ledger file is as before. */
FR_MUST_USE enum fr_err allocator__write(struct allocator *allocator,
                                         struct cluster_ledger *settings);
void allocator__servers_print(struct allocator *allocator, struct cluster_ledger *ledger);
void allocator__notify(struct allocator *allocator, bool settings);
void allocator__changes_drop(struct allocator *allocator);

/* ---- allocator_request.c ---- */
void allocator__request_ready(struct allocator__server *server);
void allocator__request_gone(struct allocator__server *server);
/* The first failure of a request (NULL is allowed): kept for its answer. */
void allocator__request_mark(struct allocator__request *request, enum fr_err err, const char *why);
/* The same, and what it has started goes back. */
void allocator__request_fail(struct allocator__request *request, enum fr_err err, const char *why);
void allocator__requests_cancel(struct allocator *allocator);
/* Members of the file plus servers that are, or will be, in the cluster. */
size_t allocator__cluster_size(const struct allocator *allocator,
                               const struct config_cluster *cluster);

/* ---- allocator_settings.c ---- */
void allocator__settings_fini(struct allocator__settings *settings);
void allocator__settings_copy(struct config_cluster *const *clusters, size_t cluster_count,
                              struct config_pool *const *pools, size_t pool_count,
                              struct allocator__settings *out);
void allocator__settings_make(const struct allocator__settings *file,
                              const struct cluster_ledger *ledger, struct allocator__settings *out);
struct config_cluster *allocator__settings_cluster(const struct allocator__settings *settings,
                                                   const char *name);
struct config_pool *allocator__settings_pool(const struct allocator__settings *settings,
                                             const char *name);
/* Could these be in force? why is in words. */
FR_MUST_USE enum fr_err allocator__settings_check(struct allocator *allocator,
                                                  const struct allocator__settings *settings,
                                                  char *why, size_t why_bytes);
/* All or nothing; on success takes what is in *settings and leaves it empty. why is in words. */
FR_MUST_USE enum fr_err allocator__settings_apply(struct allocator *allocator,
                                                  struct allocator__settings *settings, char *why,
                                                  size_t why_bytes);
struct allocator__pool *allocator__pool_find(struct allocator *allocator, const char *name);
/* A pool that is only known by its servers, so that they can be stopped. */
FR_MUST_USE enum fr_err allocator__pool_retired(struct allocator *allocator, const char *name,
                                                bool processes, struct allocator__pool **out);
void allocator__pools_sweep(struct allocator *allocator); /* retired ones without servers go */
void allocator__pools_free(struct allocator *allocator, bool leave_running);
/* The settings part only: referenced routes, clusters, pools; names removed; weights. */
void allocator__ledger_copy(const struct cluster_ledger *from, struct cluster_ledger *out);
void allocator__pool_id(struct allocator__pool *pool, char out[CONFIG_NAME_BYTES]);
void allocator__pool_id_seen(struct allocator__pool *pool, const char *id);
size_t allocator__pool_servers(const struct allocator__pool *pool);
uint32_t allocator__pool_weight(const struct allocator__pool *pool, const char *address);
/* Tells the owner the weight of every member of the file whose weight differs between the two. */
void allocator__weights_tell(struct allocator *allocator, const struct cluster_ledger *before,
                             const struct cluster_ledger *after);

/* ---- allocator_reconcile.c ---- */
FR_MUST_USE enum fr_err allocator__reconcile(struct allocator *allocator, struct config_diag *diag);
/* Clusters below their minimum, at the end of this turn's work. */
void allocator__fill_later(struct allocator *allocator);
void allocator__fill_failed(struct allocator *allocator);

/* ---- allocator_edit.c ---- */
/* Reads the ledger file; what somebody else wrote there is applied or refused as a whole. */
void allocator__edit_check(struct allocator *allocator);
/* Before our own write over a refused edit: keeps it beside the ledger. */
void allocator__edit_keep_refused(struct allocator *allocator);

#endif
