/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_priv.h - what the files of this room share.
 *
 * How a change travels:  edge_members.c or edge_settings.c changes what the control thread knows
 * and calls edge_publish_soon; at the end of the turn edge_publish.c builds one snapshot of all
 * that changed and hands it to the workers.
 */
#ifndef EDGE_PRIV_H
#define EDGE_PRIV_H

#include "acme/acme.h"
#include "admin/admin.h"
#include "allocator/allocator.h"
#include "base/fr_list.h"
#include "base/fr_log.h"
#include "base/fr_map.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "cache/cache.h"
#include "disk/disk.h"
#include "cluster/cluster_health.h"
#include "cluster/cluster_snapshot.h"
#include "cluster/cluster_utilization.h"
#include "edge/edge.h"
#include "policy/policy.h"
#include "proxy/proxy.h"
#include "stream/stream_session.h"

#include <assert.h>

#define EDGE_SAMPLE_US (50 * FR_US_PER_MS) /* how often levels are looked at */
#define EDGE_REPORT_US (50 * FR_US_PER_MS) /* between two reports of changes, in the long run */
#define EDGE_REPORT_BURST 16               /* such reports that need not wait for that */
#define EDGE_AGE_BUCKETS 2048              /* of the cache's index, looked at in each sample */
#define EDGE_RESULTS_KEPT 1024             /* answers remembered for repeated requests */
#define EDGE_REQUESTS_PENDING_MAX 8192     /* more are refused until some are answered */
#define EDGE_NAME_ADDRESSES_MAX 64         /* of one name; more are left out */
#define EDGE_ADMIN_BODY_BYTES_MAX ((size_t)1 << 20)

/* Where a member came from, and so who may take it away. */
enum edge_origin {
    EDGE_FROM_FILE,    /* freshet.yaml */
    EDGE_FROM_POOL,    /* the allocator of this process */
    EDGE_FROM_MANAGER, /* another server is responsible; the manager told us to join it */
};

struct edge_cluster {
    struct cache_purged purged_before; /* of its slot, as last reported */
    struct edge *edge;
    struct config_cluster *config; /* referenced */
    uint32_t slot;                 /* used again once PROXY_CLUSTERS_MAX others were */
    struct proxy_cluster_counters before; /* of the clusters that had the slot before */
    struct fr_list members;        /* of edge_member.link */
    size_t member_count;
    struct cluster_roster roster;  /* as they are now, by edge_member.place */
    struct cluster_view *view;     /* as published; NULL before */
    bool dirty;                    /* the view no longer shows what is */
    bool shown;                    /* the view is in the snapshot that is published */
    double upper, lower;           /* levels in force; < 0: none */
    int64_t goal_us;               /* requests that take longer are counted; 0: no goal */
    uint64_t followers;            /* other edges that serve it, as the manager said */
    /* edge_wake.c */
    bool waking; /* a server was asked for by ourselves */
    int64_t wake_rest_until_us;
    int64_t parked_since_us; /* 0: none is parked */
    /* edge_ladder.c */
    struct policy_ladder_state ladder;
    uint32_t ladder_places; /* a member, while requests queue */
    int64_t ladder_weigh_at_us;
    uint64_t ladder_climbs, ladder_descents;
};

struct edge_member {
    struct fr_list link; /* in its cluster's members, or in edge.leaving */
    struct edge *edge;
    struct edge_cluster *cluster; /* NULL while leaving */
    char cluster_name[CONFIG_NAME_BYTES];
    struct cluster_member *shared;
    uint32_t place; /* in its cluster's roster */
    enum edge_origin origin;
    uint32_t weight;        /* in force */
    uint32_t weight_normal; /* as configured, or as an operator said */
    uint32_t ladder_weight; /* while it is hot; 0: `weight` */
    uint64_t in_flight;     /* as of the last sample */
    int64_t ramp_from_us;
    bool healthy;       /* both of the next two */
    bool passes;        /* its active checks, or has none */
    bool told_down;     /* by its agent-check */
    bool told_to_drain; /* by its agent-check */
    struct cluster_health *health;
    struct cluster_agent_check *agent;
    /* measuring */
    struct cluster_utilization utilization;
    bool above_upper;        /* as last reported */
    bool below_lower;
    struct fr_hist *last_latency; /* NULL: no response was timed yet */
    double sessions; /* sticky ones on it, estimated at sessions_at_us */
    uint64_t last_sessions_given;
    int64_t sessions_at_us;
    uint64_t last_ejections;
    int64_t ejected_at_us;   /* when the counter last grew; 0 = never */
    int64_t unhealthy_since_us;
    /* leaving */
    bool drain_watched;
    int64_t drain_us; /* of its cluster, which may be gone */
    struct loop_timer drain_timer;
};
static_assert(sizeof(struct edge_member) <= 384, "most are idle: see last_latency");

/* A request of the manager that was, or is being, carried out. */
struct edge_request {
    struct fr_list link; /* in pending or in answered */
    struct edge *edge;
    struct wire_request_id id;
    bool answered;
    bool waits_leave; /* for the end of this member of this cluster */
    char leaves[CONFIG_NAME_BYTES], leaves_cluster[CONFIG_NAME_BYTES];
    enum wire_operation operation;
    enum fr_err err;
    char *why;
    uint64_t generation;
    struct cache_purged purged;
    struct edge_request_server {
        char id[CONFIG_NAME_BYTES];
        char address[LOOP_ADDR_TEXT_BYTES];
        char pool[CONFIG_NAME_BYTES];
    } *servers;
    size_t server_count;
};

struct edge_listener {
    struct loop_addr wanted, bound;
    bool kept; /* scratch of a reload */
    struct proxy_manner manner;
};

struct edge_tls {
    struct tls_tickets *tickets; /* made with the first listener that speaks TLS */
    struct loop_timer poll_timer, rotate_timer;
    uint64_t files;       /* hash of what the files of certificates looked like when last read */
    int64_t warned_at_us; /* of certificates that end soon */
    uint64_t reloads, reloads_failed;
    struct tls_challenges *challenges; /* of acme, and the next; NULL without a data plane */
    struct acme_answers *answers;
    struct acme *acme; /* made with the first listener that wants it */
};

struct edge {
    /* set once */
    struct loop *loop;
    enum wire_role role;
    bool embedded; /* no manager configured */
    char boot[40];
    int lock_fd;
    char *ledger_path;
    /* owner */
    struct config *config;
    struct cache_store *cache; /* NULL = none */
    struct disk *disk;         /* likewise */
    char *disk_path;           /* for the log, constant; or NULL */
    struct fr_list purges; /* of edge_purge.c */
    struct loop_timer purge_timer;
    uint64_t purged_objects; /* as last announced */
    struct proxy *proxy;       /* NULL for the allocator role */
    struct allocator *allocator;
    struct admin *admin;
    struct stream_session *stream;
    struct tls_identity identity, admin_identity; /* zeroed: no TLS */
    struct cluster_slots *slots;
    uint32_t worker_count;
    struct fr_map *members; /* of clusters, by edge_members.c's key; none that leave */
    struct fr_map *clusters; /* name -> struct edge_cluster */
    uint32_t cluster_slot_next;
    bool cluster_slots[PROXY_CLUSTERS_MAX]; /* those in use */
    struct config_route **routes; /* in force; referenced */
    size_t route_count;
    struct cluster_snapshot *published; /* the last one; the next shares what stays the same */
    struct config_route **shown_routes; /* those of that one; referenced */
    size_t shown_route_count;
    bool routes_changed; /* they may differ from those in force */
    uint32_t *gone;      /* slots of clusters that were removed since */
    size_t gone_count, gone_cap;
    struct fr_list leaving; /* of edge_member.link */
    struct cluster_sticky_keys sticky_keys; /* none until they are needed */
    uint64_t generation;
    struct loop_task publish_task, report_task, settle_task;
    struct loop_timer settle_timer;
    struct fr_list waiters; /* of edge_publish.c */
    uint32_t relief_step;
    uint64_t allocations, deallocations; /* servers of pools that joined and left */
    struct edge_listener *listeners;
    size_t listener_count, listener_cap;
    struct edge_tls tls;
    /* measuring */
    struct loop_timer sample_timer, report_timer, report_pace_timer;
    struct fr_pace report_pace;
    int64_t *worker_cpu_us;   /* at the last report */
    double *worker_cpu_share;
    int64_t process_cpu_us, measured_at_us;
    double process_cpu_share, self_utilization;
    uint64_t report_seq;
    struct loop_timer wake_timer; /* runs while requests are parked */
    bool report_crossing; /* why report_task was queued */
    /* requests */
    struct fr_list pending, answered; /* struct edge_request, oldest first */
    size_t pending_count, answered_count;
    struct fr_map *requests_by_id;
    uint64_t manager_epoch; /* the newest one obeyed; STATE/epoch keeps it over a restart */
    struct wire_request_id forgotten; /* the newest that was answered and is not remembered */
    uint64_t requests_refused, requests_stale, managers_refused;
    /* ends */
    bool started, stopping;
    loop_fn stop_fn;
    void *stop_ctx;
    /* members by name */
    struct edge_lookups *lookups; /* NULL: there was no name yet */
    struct fr_list names;         /* of edge_names.c */
    struct loop_timer names_timer;
    uint64_t name_lookups, name_failures, name_changes;
    /* the access log */
    struct edge_sink *access_sink; /* NULL: none */
    struct proxy *access_proxy;    /* `proxy`, and a moment longer: it is read while it ends */
    struct fr_buf access_line;
    struct loop_timer access_timer;
    bool access_ending; /* no turn of the loop is left to wait for */
    /* scratch of what the ledger shows */
    char **serves_texts;
    size_t serves_count, serves_cap;
};

/* edge_members.c */
struct edge_cluster *edge_cluster_find(struct edge *edge, struct fr_view name);
struct edge_cluster *edge_cluster_put(struct edge *edge, struct config_cluster *config);
void edge_cluster_remove(struct edge *edge, struct edge_cluster *cluster);
void edge_cluster_free(struct edge_cluster *cluster);
struct edge_member *edge_member_find(struct edge_cluster *cluster, struct fr_view id);
struct edge_member_init {
    struct fr_view id, pool;
    const struct loop_addr *addr;
    const char *name; /* "HOST:PORT", or NULL */
    enum edge_origin origin;
    uint32_t weight, weight_normal;
    bool ramp;
};
/* NULL (logged) when there is no room for it. */
struct edge_member *edge_member_join(struct edge_cluster *cluster,
                                     const struct edge_member_init *init);
/* Out of the cluster; freed once drained, which is told to whom it concerns. */
void edge_member_leave(struct edge_member *member);
/* What the next snapshot shows of it is what it is now. */
void edge_member_show(struct edge_member *member);
void edge_member_weight(struct edge_member *member, uint32_t weight);
void edge_member_watch_drained(struct edge_member *member);
void edge_member_free(struct edge_member *member);
/* A worker met a fault of a member: logged. ctx: the edge. */
void edge_member_fault(void *ctx, const struct proxy_fault_report *report);
const struct allocator_events *edge_allocator_events(void);

/* edge_listen.c */
/* Listeners as in `config`, all or nothing: those that are new are opened first. */
FR_MUST_USE enum fr_err edge_listen_sync(struct edge *edge, const struct config *config,
                                         char **out_why);
void edge_listen_end(struct edge *edge);

/* edge_tls.c */
/* How connections to a listener begin; *out has references of its own. */
FR_MUST_USE enum fr_err edge_tls_manner(struct edge *edge, const struct config_listen *listen,
                                        struct proxy_manner *out, char **out_why);
/* Before the files of certificates are read: what changes meanwhile is seen the next time. True:
 * those of the configuration in force are others than when they were read; that another
 * configuration names others, or more, replaces none. */
bool edge_tls_look(struct edge *edge, const struct config *config);
void edge_tls_replaced(struct edge *edge); /* counts and logs it, whoever had them read */
/* Listeners have changed: their certificates are watched from now on, and warned of. */
void edge_tls_watch(struct edge *edge);
void edge_tls_stop(struct edge *edge);
void edge_tls_look_soon(struct edge *edge); /* a file is new */

/* edge_acme.c */
/* The certificates that the configuration in force wants fetched. */
void edge_acme_apply(struct edge *edge);
/* A self-signed pair where there is none yet, so that the listener can prove its name. */
FR_MUST_USE enum fr_err edge_acme_placeholder(struct edge *edge,
                                              const struct config_listen_tls *tls, char **out_why);

/* edge_publish.c */
void edge_publish_soon(struct edge *edge);
void edge_publish_without(const struct edge_cluster *cluster); /* it is about to be freed */
void edge_publish_free(struct edge *edge);
/* Now; for the start. */
void edge_publish(void *ctx);
/* Runs fn once every worker routes by what is known now: whoever was told "done" can rely on it. */
void edge_when_in_force(struct edge *edge, loop_fn fn, void *ctx);
void edge_waiters_free(struct edge *edge);

/* edge_settings.c: routes and clusters in force = the file's, less what was removed or replaced at
 * run time, plus what was introduced. */
void edge_settings_apply(struct edge *edge);
bool edge_settings_has_route(const struct edge *edge, struct fr_view name);
bool edge_settings_file_has_route(const struct edge *edge, struct fr_view name);
void edge_settings_shown(struct edge *edge, struct cluster_ledger_shown *out);
/* Words (fr_free) when the settings that would result contradict themselves; NULL when fine. */
char *edge_settings_conflict(struct edge *edge, const struct config_route *new_route,
                             struct fr_view removed_cluster);
/* The same of a whole file with a ledger laid over it; *out_name: what to look for in that. */
char *edge_settings_contradiction(const struct config *config, const struct cluster_ledger *ledger,
                                  const char **out_name);
void edge_settings_free(struct edge *edge);

/* edge_names.c */
struct edge_wanted { /* a member that the settings name, at one of its addresses */
    char id[CONFIG_NAME_BYTES];
    struct loop_addr addr;
    const struct config_member *from;
};
struct edge_wanted_list {
    struct edge_wanted *items;
    size_t count, cap;
    struct fr_map *by_id; /* number of the item, from 1 */
};
/* What a cluster's settings come to, by the addresses known now. */
void edge_names_expand(struct edge *edge, const struct config_cluster *config,
                       struct edge_wanted_list *out);
const struct edge_wanted *edge_wanted_find(const struct edge_wanted_list *list, const char *id);
void edge_wanted_free(struct edge_wanted_list *list);
void edge_names_sync(struct edge *edge); /* the settings changed */
void edge_names_boot(struct edge *edge); /* ... and waits for the first answers */
void edge_names_free(struct edge *edge);

/* edge_measure.c */
void edge_measure_start(struct edge *edge);
void edge_measure_stop(struct edge *edge);
void edge_measure_self(struct edge *edge);
double edge_member_utilization(const struct edge_member *member);
const char *edge_member_state(const struct edge_member *member);

/* edge_wake.c: proxy_options' demand_fn; ctx: the edge. */
void edge_wake_demand(void *ctx, uint32_t cluster_slot);

/* edge_ladder.c */
void edge_ladder_look(struct edge_cluster *cluster, int64_t now_us);
void edge_ladder_apply(const struct edge_cluster *cluster, struct cluster_view *view);
const char *edge_ladder_rung(const struct edge_cluster *cluster); /* the highest; "": none */

/* edge_report.c */
void edge_report_soon(struct edge *edge, bool crossing);
void edge_report_start(struct edge *edge);

/* edge_requests.c, edge_reconfigure.c */
void edge_reconfigure(struct edge *edge, const struct wire_reconfigure *request);
void edge_request_answer(struct edge_request *request, enum fr_err err, const char *why);
void edge_request_add_server(struct edge_request *request, const char *id, const char *address,
                             const char *pool);
void edge_requests_free(struct edge *edge);
/* The request remembered under an id; NULL when it is new. */
struct edge_request *edge_request_find(struct edge *edge, struct wire_request_id id);
/* A member's last connection is gone: whoever asked that it leave is answered. */
void edge_requests_left(struct edge *edge, const char *cluster, const char *id);
/* As old as what was answered and forgotten: it may have been carried out already, so that it must
 * not be again. */
bool edge_request_is_old(const struct edge *edge, struct wire_request_id id);
struct edge_request *edge_request_new(struct edge *edge, const struct wire_reconfigure *from);
void edge_request_send(struct edge_request *request);
void edge_set_relief(struct edge *edge, uint32_t step);
/* "The least loaded" that may be given back; NULL when there is none. */
struct edge_member *edge_pick_victim(struct edge_cluster *cluster);

/* edge_sticky.c */
/* The keys that a configuration gives, or the state folder's, which are made if one of its
 * clusters needs them and they are not there. On failure *out_why says why. */
FR_MUST_USE enum fr_err edge_sticky_keys(const struct edge *edge, const struct config *config,
                                         struct cluster_sticky_keys *out, char **out_why);
void edge_sticky_take(struct edge *edge, const struct cluster_sticky_keys *keys);
/* For a cluster that is about to be shown. */
const struct cluster_sticky_keys *edge_sticky_of(struct edge *edge,
                                                 const struct config_cluster *config);
/* edge_access.c */
struct edge_sink;
/* What the file's access-log asks for, opened; NULL without one. */
FR_MUST_USE enum fr_err edge_access_open(struct edge *edge, const struct config *config,
                                         struct edge_sink **out, char **out_why);
/* edge->config is in force: its trust, names and log for the workers. */
void edge_access_apply(struct edge *edge, struct edge_sink *take_sink);
void edge_access_round(struct edge *edge);
void edge_access_end(struct edge *edge);

/* edge_purge.c */
/* purged is NULL when the edge ends before it is known: ctx is to be freed, nobody to be answered.
 */
typedef void (*edge_purged_fn)(void *ctx, const struct cache_purged *purged);
/* On failure fn is not called. FR_ERR_STATE: this edge has no cache. */
FR_MUST_USE enum fr_err edge_purge(struct edge *edge, const struct cache_purge *purge,
                                   edge_purged_fn fn, void *ctx);
bool edge_purge_kind(struct fr_view text, enum cache_purge_kind *out); /* "url", "tag", … */
int64_t edge_cache_now_us(const struct edge *edge); /* cache_clock_us */
void edge_purge_poll(struct edge *edge); /* workers may have purged */
void edge_purge_stop(struct edge *edge);

/* edge_disk.c */
void edge_disk_open(struct edge *edge); /* before the cache is made; edge->disk NULL: none */
void edge_disk_start(struct edge *edge);
void edge_disk_stop(struct edge *edge); /* before the workers end */
void edge_disk_free(struct edge *edge); /* after the store */
FR_MUST_USE enum fr_err edge_disk_print(const struct edge *edge, struct fr_buf *out);

/* edge_cache_admin.c */
void edge_admin_get_cache(void *ctx, struct admin_exchange *exchange,
                          const struct admin_request *request);
void edge_admin_post_purge(void *ctx, struct admin_exchange *exchange,
                           const struct admin_request *request);

/* edge_stream.c */
FR_MUST_USE enum fr_err edge_stream_start(struct edge *edge, char **out_why);
/* SIGHUP: certificates are read again. out_why: as tls_identity_reload's, as is the next. */
enum fr_err edge_stream_reload(struct edge *edge, char **out_why);

/* edge_admin.c, edge_metrics.c, edge_status.c */
FR_MUST_USE enum fr_err edge_admin_start(struct edge *edge, char **out_why);
enum fr_err edge_admin_reload(struct edge *edge, char **out_why);
FR_MUST_USE enum fr_err edge_metrics_print(struct edge *edge, struct fr_buf *out);
FR_MUST_USE enum fr_err edge_status_print(struct edge *edge, struct fr_buf *out);

#endif
