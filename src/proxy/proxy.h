/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.h - the data plane: worker threads that take client connections and carry exchanges.
 *
 * May touch:  base, loop, http, cache, cluster, config.
 * Threads:    each worker owns its loop, connections, exchanges, upstream pools and counters. The
 *             control thread talks to it by messages, and reads its counters (relaxed atomics).
 * Life:       proxy_new -> proxy_publish … -> proxy_drain -> proxy_free.
 */
#ifndef PROXY_H
#define PROXY_H

#include "acme/acme.h"
#include "cache/cache.h"
#include "cluster/cluster_balance.h"
#include "cluster/cluster_snapshot.h"
#include "loop/loop.h"
#include "proxy/proxy_log.h"
#include "tls/tls.h"

struct proxy;

#define PROXY_CLUSTERS_MAX 32768 /* slots of cluster views: 0 to one less */

/* Rows of proxy_counters.def: name, one line for people. One block a worker. */
struct proxy_counters {
#define PROXY_COUNTER_ROW(name, help) uint64_t name;
#include "proxy/proxy_counters.def"
#undef PROXY_COUNTER_ROW
} __attribute__((aligned(FR_CACHE_LINE)));

/* What a reload changes. */
struct proxy_settings {
    const struct loop_net *trusted; /* copied */
    size_t trusted_count;
    const struct loop_net *purge_from; /* copied; clients whose PURGE is obeyed, none: no method of
                                          ours */
    size_t purge_from_count;
    unsigned forwarded; /* set of enum config_forwarded */
    bool id_make, id_respond, trace_make;
    /* NULL: requests are not written down. Called on the control loop, a last time by proxy_free,
     * when the workers have ended. */
    proxy_log_fn log_fn;
    void *log_ctx;
    size_t log_bytes; /* of each worker; those of the first time stay */
};

/* One fault of one member, and how often it was seen since it was last told. */
struct proxy_fault_report {
    const char *member, *address; /* until fault_fn returns */
    const char *words;            /* static */
    const char *why;              /* of a failed handshake; else "" */
    uint64_t count;
};

struct proxy_options {
    uint32_t worker_count;
    const struct config_limits *limits; /* copied */
    struct cache_store *cache;          /* borrowed; NULL = no cache */
    struct disk *disk;            /* borrowed; stopped, not freed, before proxy_free. NULL = none */
    struct acme_answers *answers; /* borrowed; NULL = no challenges are answered */
    const char *via;              /* our name in Via, default "freshet" */
    struct loop *control;         /* where callbacks run */
    /* A member did something wrong; on the control loop. May be NULL. */
    void (*fault_fn)(void *ctx, const struct proxy_fault_report *report);
    void *fault_ctx;
    /* A request was parked: the cluster of this slot has no member. On the control loop, once for
     * those of one turn. May be NULL. */
    void (*demand_fn)(void *ctx, uint32_t cluster_slot);
    void *demand_ctx;
};

FR_MUST_USE enum fr_err proxy_new(const struct proxy_options *options, struct proxy **out);
/* In force for requests that begin after the workers got it. */
void proxy_configure(struct proxy *proxy, const struct proxy_settings *settings);
/* How connections that are accepted begin. */
struct proxy_manner {
    bool preface;           /* with a PROXY header */
    bool h2;                /* HTTP/2 is spoken: by ALPN, or by prior knowledge without TLS */
    int64_t defer_us;       /* silent ones are left to the kernel so long (loop_listener_defer) */
    struct tls_server *tls; /* then with a TLS handshake; NULL: without. References are taken */
};
/* Binds one socket a worker (SO_REUSEPORT) and starts accepting; *out_bound tells a port that the
 * kernel chose. Also used at run time (reload). */
FR_MUST_USE enum fr_err proxy_listen(struct proxy *proxy, const struct loop_addr *addr,
                                     const struct proxy_manner *manner, struct loop_addr *out_bound,
                                     int *out_errno);
/* For connections accepted there from now on. */
void proxy_listen_change(struct proxy *proxy, const struct loop_addr *bound,
                         const struct proxy_manner *manner);
/* Stops accepting there; connections that stand go on. Where they are deferred it stops only after
 * that time: the kernel may have silent ones, which believe that they stand. */
void proxy_unlisten(struct proxy *proxy, const struct loop_addr *bound);
FR_MUST_USE enum fr_err proxy_start(struct proxy *proxy); /* threads; a snapshot was published */

/* Hands a snapshot to every worker (a reference is taken). Never waits. */
void proxy_publish(struct proxy *proxy, struct cluster_snapshot *snapshot);
/* Runs fn on the control loop once no worker has an exchange or a connection, idle or not, on
 * `member`, which the published snapshot no longer shows (idle ones are closed by the workers when
 * they adopt it). `member` is referenced meanwhile. */
typedef void (*proxy_drained_fn)(void *ctx, struct cluster_member *member);
void proxy_watch_drained(struct proxy *proxy, struct cluster_member *member, proxy_drained_fn fn,
                         void *ctx);
/* The drain deadline passed: cut what is left on it. */
void proxy_cut(struct proxy *proxy, struct cluster_member *member);

/* Refuses new connections, answers what is under way (Connection: close), then calls fn on the
 * control loop; at the deadline what is left is cut. */
void proxy_drain(struct proxy *proxy, int64_t deadline_us, void (*fn)(void *ctx), void *ctx);
void proxy_free(struct proxy **proxy); /* joins the threads */

/* The generation that every worker has adopted, or gone past. */
uint64_t proxy_generation(const struct proxy *proxy);

uint32_t proxy_worker_count(const struct proxy *proxy);
void proxy_read_counters(const struct proxy *proxy, uint32_t worker, struct proxy_counters *out);
void proxy_sum_counters(const struct proxy *proxy, struct proxy_counters *out); /* of all workers */
/* Of its loop: turns, busy time, receive buffers in use. */
void proxy_read_loop_counters(const struct proxy *proxy, uint32_t worker,
                              struct loop_counters *out);
/* CPU time its thread has used, from its CPU clock. */
int64_t proxy_worker_cpu_us(const struct proxy *proxy, uint32_t worker);
/* Per cluster (by view slot), summed over workers. */
struct proxy_cluster_counters {
    uint64_t requests, errors, retries, retry_budget_refusals, no_member;
    uint64_t queued_now, parked_now;
    uint64_t timed, late;           /* against the cluster's latency goal; slower than it */
    uint64_t ladder_stale;          /* answered stale because of its ladder */
    uint64_t ladder_refreshes;      /* ... and fetched anew */
    uint64_t ladder_refreshes_held; /* ... and not: enough were under way */
};
void proxy_read_cluster(const struct proxy *proxy, uint32_t cluster_slot,
                        struct proxy_cluster_counters *out);

#endif
