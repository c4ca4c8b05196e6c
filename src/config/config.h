/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config.h - freshet.yaml as typed, validated, immutable values.
 *
 * May touch:  base, loop (addresses), files. Never: sockets, threads.
 * Memory:     routes, clusters and pools are counted one by one (atomic), because each can be
 *             replaced at run time by itself and snapshots keep those they show.
 * Units:      in the names. Every string is NUL-terminated and owned by its struct.
 */
#ifndef CONFIG_H
#define CONFIG_H

#include "base/fr_cron.h"
#include "base/fr_err.h"
#include "base/fr_view.h"
#include "config/config_diag.h"
#include "config/config_tree.h"
#include "loop/loop_net.h"
#include "tls/tls.h"

#include <stdatomic.h>
#include <stdint.h>

/* Of one file, and of what one ledger lays over it. */
#define CONFIG_ROUTES_MAX 100000
#define CONFIG_CLUSTERS_MAX 10000
#define CONFIG_POOLS_MAX 1024

#define CONFIG_NAME_BYTES 64 /* names and ids: [A-Za-z0-9][A-Za-z0-9._-]*, NUL included */

enum config_balance {
    CONFIG_BALANCE_P2C,
    CONFIG_BALANCE_ROUND_ROBIN,
    CONFIG_BALANCE_LEAST_REQUEST,
    CONFIG_BALANCE_HASH,
    CONFIG_BALANCE_PREQUAL
};

enum config_hash_by {
    CONFIG_HASH_URL,
    CONFIG_HASH_PATH,
    CONFIG_HASH_HEADER,
    CONFIG_HASH_COOKIE,
    CONFIG_HASH_ADDRESS
};

struct config_hash {        /* balance: hash */
    enum config_hash_by by; /* default URL */
    char *name;             /* of the header or cookie; NULL otherwise */
    double bound;           /* times the mean load; default 1.25; 0 = none */
};

enum config_priority { CONFIG_PRIORITY_LOW, CONFIG_PRIORITY_NORMAL, CONFIG_PRIORITY_HIGH };

enum config_cache_use { CONFIG_CACHE_INHERIT, CONFIG_CACHE_OFF, CONFIG_CACHE_ON };
enum config_set_cookie {
    CONFIG_SET_COOKIE_EXPLICIT,
    CONFIG_SET_COOKIE_PUBLIC,
    CONFIG_SET_COOKIE_NEVER,
};
enum config_key_query { CONFIG_KEY_QUERY_WHOLE, CONFIG_KEY_QUERY_SORTED, CONFIG_KEY_QUERY_NONE };

/* What a route changes of the cache's rules. */
struct config_caching {
    int64_t ttl_us;      /* 0: as responses say */
    int64_t negative_us; /* 0: none */
    int64_t grace_us;
    int64_t heuristic_max_us;
    enum config_set_cookie set_cookie;
    bool ignore_cookies;
    bool surrogate;
    bool key_host;
    enum config_key_query key_query;
    char *key_headers; /* lists of names, as written; NULL: none */
    char *bypass_headers;
    uint64_t bypass_lengths; /* of the names in it: bit 63 for all from there on */
    char *bypass_cookies;
};

/* What answers the requests of a route. */
enum config_action {
    CONFIG_ACTION_CLUSTER,
    CONFIG_ACTION_REDIRECT,
    CONFIG_ACTION_RESPOND,
    CONFIG_ACTION_FILES,
};

struct config_redirect {
    bool enabled;
    char *to;        /* with {host}, {path}, {query}; no other braces */
    uint32_t status; /* 301, 302, 303, 307 or 308 */
    char *strip;     /* prefix taken off the path before {path} is filled in */
    char **headers;  /* "Name: value", NULL-terminated; checked, so that nothing can be split */
};

struct config_respond {
    bool enabled;
    uint32_t status; /* 200..599 */
    char *type;
    char *body;
    char **headers;
};

enum config_symlinks { CONFIG_SYMLINKS_INSIDE, CONFIG_SYMLINKS_NONE };
enum config_precompressed { CONFIG_PRECOMPRESSED_BR = 1, CONFIG_PRECOMPRESSED_GZIP = 2 };

struct config_files {
    bool enabled;
    char *folder;
    char *strip;
    char *index;
    char *fallback; /* name of a file below the folder, no '/' in front; NULL = 404 */
    bool hidden;
    enum config_symlinks symlinks;
    unsigned precompressed; /* set of enum config_precompressed */
    char *cache_control;
    uint32_t ranges; /* of one request; 0: none are given */
    char **headers;
    int fd; /* the folder, O_PATH; -1 when it is not open. Closed with the route */
};

struct config_route {
    atomic_uint refs;
    char name[CONFIG_NAME_BYTES]; /* given, or "route-N"; what run-time changes name */
    /* match: an empty string or NULL matches everything */
    char *host;         /* lower case; "*.example.com" matches any number of leading labels */
    char *path;         /* prefix, begins with '/'; "/api/" does not match "/api" */
    char *method;       /* one token */
    char *header_name;  /* lower case */
    char *header_value; /* NULL: present is enough */
    /* action: exactly one of these four */
    char cluster[CONFIG_NAME_BYTES];
    struct config_redirect redirect;
    struct config_respond respond;
    struct config_files files;
    enum config_cache_use cache;
    struct config_caching caching;
    enum config_priority priority;
    char handover[CONFIG_NAME_BYTES]; /* cluster that takes over while the edge is relieved by
                                         handover; "" = none */
    uint64_t body_bytes_max;          /* a longer request body is 413; 0: no limit */
    int64_t stale_us;                 /* how far past freshness relief may serve it; default 60 s */
    bool runtime;                     /* introduced by a reconfiguration, kept in the ledger */
};

static inline enum config_action
config_route_action(const struct config_route *route)
{
    if (route->redirect.enabled)
        return CONFIG_ACTION_REDIRECT;
    if (route->respond.enabled)
        return CONFIG_ACTION_RESPOND;
    return route->files.enabled ? CONFIG_ACTION_FILES : CONFIG_ACTION_CLUSTER;
}
enum config_same_site {
    CONFIG_SAME_SITE_OFF,
    CONFIG_SAME_SITE_LAX,
    CONFIG_SAME_SITE_STRICT,
    CONFIG_SAME_SITE_NONE
};

enum config_sticky_draining { CONFIG_DRAINING_KEEP, CONFIG_DRAINING_MOVE };

struct config_sticky {                    /* sessions */
    char *cookie;                         /* its name; NULL: no sessions */
    int64_t for_us;                       /* default 0: until the browser ends */
    char *path;                           /* default "/" */
    bool secure;                          /* default false */
    enum config_same_site same_site;      /* default LAX */
    enum config_sticky_draining draining; /* what a member of weight 0 does; default KEEP */
    bool forward;                         /* whether members see the cookie; default false */
};

#define CONFIG_STICKY_KEY_BYTES 32

struct config_sticky_keys { /* 64 hexadecimal digits each */
    char *key;              /* NULL: the state folder's */
    char *previous_key;
};

struct config_member {
    char id[CONFIG_NAME_BYTES]; /* given, or CLUSTER-ADDRESS name-safe ("web-127.0.0.1-9001") */
    char *address;              /* as written, canonical */
    struct loop_addr addr;
    uint32_t weight; /* 0..65535, default 100; 0 takes no new requests */
    /* "host:port" where the address is a host's name, else NULL: `addr` is then the first address
     * it had when it was read, or none. */
    char *name;
    bool id_given;
};
/* The id of a member at an address: CLUSTER-ADDRESS, or ID-ADDRESS where a name has several. */
void config_member_id(const char *owner, const char *address, char out[CONFIG_NAME_BYTES]);

enum config_health_kind {
    CONFIG_HEALTH_NONE,
    CONFIG_HEALTH_TCP,
    CONFIG_HEALTH_HTTP,
    CONFIG_HEALTH_GRPC,
};

struct config_health {
    enum config_health_kind kind; /* default TCP for clusters that scale, NONE otherwise;
                                     GRPC when `service` is given, HTTP when `path` is */
    char *path;
    char *service;                   /* that a gRPC check asks after; NULL: the whole server */
    char *host;                      /* Host field; NULL = the member's address */
    int64_t interval_us;             /* default 2 s */
    int64_t timeout_us;              /* default 1 s */
    int64_t starting_interval_us;    /* while a server is starting; default 50 ms */
    int64_t unhealthy_interval_us;   /* while a member is unhealthy; default 500 ms */
    unsigned rise;                   /* passes in a row to become healthy; default 1 */
    unsigned fall;                   /* failures in a row to become unhealthy; default 3 */
    unsigned status_min, status_max; /* default 200..399 */
};

struct config_ejection { /* passive */
    unsigned failures;   /* failures in a row; default 5; 0 = off */
    int64_t time_us;     /* how long, times the number of ejections in a row; default 10 s */
    double max_share;    /* of a cluster's members ejected at once; default 0.5 */
};

/* Sources of utilization; the highest of those available counts. */
struct config_utilization {
    uint32_t limit;    /* requests in flight on one member at 1.0; 0 = source off.
                          yaml: `limit` of the cluster */
    bool host_cpu;     /* an agent's report of the member's host; default true */
    char *agent_check; /* "HOST:PORT", or ":PORT" on the member's own address; NULL = off */
    int64_t agent_check_interval_us; /* default 1 s */
    bool orca;                       /* endpoint-load-metrics response field; default true */
    int64_t window_us;               /* in-flight is averaged over this; default 100 ms */
};

struct config_level {
    double value;   /* 0..1; < 0: not set */
    int64_t for_us; /* how long it must hold */
};

enum config_relief { CONFIG_RELIEF_WEIGHT = 1, CONFIG_RELIEF_ALLOCATE = 2 };

enum config_scale_policy {
    CONFIG_POLICY_THRESHOLD,
    CONFIG_POLICY_TARGET,
    CONFIG_POLICY_FORECAST,
};
enum config_scale_mode { CONFIG_MODE_OBSERVE, CONFIG_MODE_SUPERVISED, CONFIG_MODE_AUTO };

#define CONFIG_SCALE_POOLS_MAX 8 /* that one cluster allocates from */
#define CONFIG_WINDOWS_MAX 64    /* of a cluster's schedule */
struct config_window {           /* of a schedule */
    char *at;                    /* as fr_cron_parse reads it */
    char *zone_name;             /* of the tz database; default UTC */
    int64_t for_us;
    uint32_t min, max; /* members; 0: says nothing of it */
    struct fr_cron cron;
    struct fr_zone *zone;
    char *words; /* "0 8 * * mon-fri Europe/Berlin" */
};

struct config_scale {
    bool enabled;
    enum config_scale_policy policy;
    enum config_scale_mode mode;
    int64_t approval_us;    /* supervised: how long a proposal waits; default 10 min */
    double target;          /* of the mean utilization, for CONFIG_POLICY_TARGET; default 0.7 */
    int64_t slo_latency_us; /* which slo_share of requests should meet; 0: none, the default */
    double slo_share;       /* default 0.99 */
    uint32_t spare;         /* members beyond what the policy wants; default 0 */
    uint32_t releases;      /* an hour that follow a start; 0: no budget; default 12 */
    uint32_t changes;       /* members a minute; 0: no limit, the default */
    /* pools, the first that has a server gives it; "" ends them */
    char from[CONFIG_SCALE_POOLS_MAX][CONFIG_NAME_BYTES];
    uint32_t priority;         /* over other clusters of the same pool; default 0 */
    uint32_t min, max;         /* members; defaults 1 and 8 */
    struct config_level upper; /* default 0.80 for 0 s */
    struct config_level lower; /* default 0.30 for 30 s */
    int64_t cooldown_up_us;    /* after an allocation finished; default 2 s */
    int64_t cooldown_down_us;  /* after any change; default 30 s */
    uint32_t step_max;         /* servers asked for at once; default 4 */
    unsigned relief;           /* set of enum config_relief at the upper level; default both */
    struct config_window *windows;
    size_t window_count;
    int64_t idle_us; /* min 0: without an open exchange for so long it has no member; 5 min */
};

struct config_timeouts {
    int64_t connect_us;   /* default 2 s */
    int64_t response_us;  /* request sent to first response byte; default 60 s */
    int64_t idle_us;      /* silence in a body either way; default 60 s */
    int64_t keepalive_us; /* idle pooled connection; default 30 s */
    int64_t tunnel_us;    /* silence both ways behind a 101; default 5 min */
    int64_t ping_us;      /* silence on an HTTP/2 connection in use; default 10 s; 0 = off */
    uint64_t least_rate;  /* bytes a second of a response's body; default 0: none */
};

enum config_protocol {
    CONFIG_PROTOCOL_AUTO,
    CONFIG_PROTOCOL_HTTP1,
    CONFIG_PROTOCOL_H2,
    CONFIG_PROTOCOL_H2C,
};
enum config_send_proxy { CONFIG_SEND_PROXY_OFF, CONFIG_SEND_PROXY_V2 };
struct config_queue {
    uint32_t length;   /* requests that wait, a worker; default 1000 */
    int64_t wait_us;   /* longest wait; default 2 s */
    int64_t target_us; /* a wait that is no sign of overload; default 50 ms */
};

/* What an edge does for a cluster at its upper level until a new member is ready, in this order. */
enum config_rung {
    CONFIG_RUNG_WEIGHT = 1, /* less for the hot members */
    CONFIG_RUNG_STALE = 2,  /* cached responses past their freshness */
    CONFIG_RUNG_QUEUE = 4,  /* no more under way than the members can do */
    CONFIG_RUNG_SHED = 8,   /* 503 to routes of low priority */
};
#define CONFIG_RUNGS 4

struct config_ladder {
    unsigned rungs;     /* set of enum config_rung; default weight, stale, shed */
    int64_t climb_us;   /* at the upper level for so long before each rung; default 250 ms */
    int64_t descend_us; /* below it before each way back; default 2 s */
    uint32_t refreshes; /* fetches at a time of what rung stale answers; default 1 */
};

/* Requests that came while a cluster of scale.min 0 had no member. */
struct config_park {
    uint32_t length;       /* a worker; default 1000; 0: none is parked */
    uint64_t bytes_max;    /* of their heads and buffers, a worker; default 16 MiB */
    int64_t wait_us;       /* longest wait; default 1 min */
    int64_t page_after_us; /* browsers are shown a page after this; 0: they are not, the default */
    char *page;            /* its file; NULL: one of ours */
    char *page_text;       /* what stood in it; NULL: not read */
};

struct config_member_tls {
    bool enabled;
    bool verify;
    char *ca;                  /* NULL: the system's */
    char *name;                /* NULL: the member's host */
    char *certificate, *key;   /* ours; NULL: none */
    struct tls_client *client; /* made of these; NULL: not enabled, or `why` */
    char *why;                 /* a file of a ledger's cluster is gone; else NULL */
};

struct config_cluster {
    atomic_uint refs;
    char name[CONFIG_NAME_BYTES];
    struct config_member *members;
    size_t member_count;
    enum config_balance balance;
    struct config_hash hash;
    struct config_sticky sticky;
    struct config_health health;
    struct config_ejection ejection;
    struct config_utilization utilization;
    struct config_scale scale;
    struct config_timeouts timeouts;
    int64_t slow_start_us;  /* default 10 s for added members; 0 = off */
    int64_t drain_us;       /* deadline; default 30 s */
    uint32_t keepalive_max; /* idle connections per worker and member; default 64 */
    double retry_budget;    /* share of requests; default 0.2 */
    enum config_send_proxy send_proxy;
    enum config_protocol protocol; /* h2: tls.enabled; h2c: not */
    uint32_t streams;              /* on one HTTP/2 connection to a member; default 100 */
    struct config_member_tls tls;
    uint32_t max_in_flight; /* in the whole cluster, of all workers; 0: no limit, the default */
    struct config_queue queue;
    struct config_park park;
    struct config_ladder ladder;
    bool runtime;
};

enum config_provider_kind { CONFIG_PROVIDER_STATIC, CONFIG_PROVIDER_PROCESS };

struct config_pool {
    atomic_uint refs;
    char name[CONFIG_NAME_BYTES];
    char *provider; /* name in the provider registry: "static", "process" */
    /* static */
    struct config_member *servers; /* id "POOL-ADDRESS" */
    size_t server_count;
    /* process */
    char **command; /* argv with {port} {id} {cluster} {pool}; NULL-terminated */
    size_t command_count;
    char **environment; /* "NAME=value", NULL-terminated; same placeholders */
    char *folder;       /* working folder; NULL = the one the program runs in */
    char host[64];      /* address processes listen on; default 127.0.0.1 */
    uint16_t port_first, port_last;
    int64_t start_timeout_us;  /* until the health check passes; default 30 s */
    int64_t stop_timeout_us;   /* SIGTERM to SIGKILL; default 10 s */
    uint32_t restart_max;      /* restarts of one server within restart_window; then replaced;
                                  default 3 */
    int64_t restart_window_us; /* default 60 s */
    uint32_t cost;             /* of a server, in any unit; the costliest leave first; default 0 */
    bool runtime;
};

struct config_certificate { /* files, PEM; ocsp is DER */
    char *certificate;
    char *key;
    char *ocsp; /* NULL: nothing is stapled */
};

enum config_acme_challenge { CONFIG_ACME_TLS_ALPN, CONFIG_ACME_HTTP };

struct config_acme { /* a certificate that is fetched and renewed (RFC 8555) */
    bool enabled;
    char *directory; /* URL of the authority */
    char *email;     /* NULL: none is told */
    char **domains;  /* the first names the files */
    enum config_acme_challenge challenge;
    char *ca;                /* PEM: for the authority's own HTTPS; NULL: the system's */
    char *key_id, *hmac_key; /* of an account elsewhere (section 7.3.4); NULL: none */
};

struct config_listen_tls {
    bool enabled;
    struct config_acme acme;
    struct config_certificate first;         /* shown to who names no host of ours */
    struct config_certificate *certificates; /* more */
    size_t certificate_count;
    enum tls_version version_min;
    char *ciphers; /* of TLS 1.2; NULL: the defaults */
    enum tls_client_auth client_auth;
    char *client_ca;
    char *client_crl; /* NULL: nobody is asked whether a certificate was revoked */
};

/* How long silent connections are left to the kernel. */
enum config_defer {
    CONFIG_DEFER_AUTO, /* the shortest time, while many come: the default */
    CONFIG_DEFER_OFF,
    CONFIG_DEFER_1S,
    CONFIG_DEFER_3S,
    CONFIG_DEFER_7S,
    CONFIG_DEFER_15S
};

struct config_listen {
    struct loop_addr addr;
    char *text;
    unsigned line;
    struct config_listen_tls tls;
    bool proxy_protocol; /* connections begin with a PROXY header */
    bool http2;          /* default true */
    enum config_defer defer;
};

#define CONFIG_DISK_MEMORY_SHARE 256 /* of the disk, that memory is to have at least */
#define CONFIG_DISK_MEMORY_BYTES_MIN (16 * 1024 * 1024)
struct config_cache {
    bool enabled;
    uint64_t memory_bytes;
    uint64_t object_bytes_max; /* default 8 MiB, at most a quarter of memory */
    char *disk_path;           /* NULL: no disk */
    uint64_t disk_bytes;
    struct loop_net *purge_from;
    size_t purge_from_count;
};

/* The edge's own levels and how it relieves itself (MISSION C28). */
enum config_relief_step { CONFIG_STEP_STALE, CONFIG_STEP_HANDOVER, CONFIG_STEP_SHED };
struct config_edge_relief {
    bool enabled;
    struct config_level upper;        /* default 0.90 for 1 s */
    struct config_level lower;        /* default 0.60 for 5 s */
    enum config_relief_step steps[3]; /* in this order; default stale, handover, shed */
    size_t step_count;
};

struct config_limits {
    uint32_t head_bytes;              /* request or response head; default 32 KiB */
    uint32_t request_line_bytes;      /* default 8 KiB */
    uint32_t field_count;             /* default 100 */
    uint32_t connections;             /* client connections per worker; default 16384 */
    uint32_t buffers;                 /* receive buffers lent per worker; default 8192 */
    int64_t header_timeout_us;        /* client's head; default 10 s */
    int64_t client_idle_us;           /* client's keep-alive; default 60 s */
    int64_t body_timeout_us;          /* silence in a body, and window of the rates; default 10 s */
    uint64_t body_rate;               /* least bytes/s of a request's body; default 500 */
    uint64_t read_rate;               /* likewise of a client that reads; default 500 */
    uint32_t requests_per_connection; /* default 100000 */
    uint32_t connections_per_address; /* of all workers; 0: any; default 0 */
    /* of one HTTP/2 connection */
    uint32_t h2_streams;           /* at once; default 100 */
    uint32_t h2_stream_window;     /* bytes of a body that wait; default 256 KiB */
    uint32_t h2_connection_window; /* ... of all its bodies; default 1 MiB */
    uint32_t h2_resets;            /* in one go; default 100 */
    uint32_t h2_idle_frames;       /* likewise; default 1000 */
};

struct config_stream {          /* the XML stream's limits */
    int64_t report_interval_us; /* default 1 s */
    int64_t keepalive_us;       /* default 5 s */
    uint32_t stanza_bytes;      /* default 1 MiB */
    uint32_t stanza_rate;       /* stanzas a second one peer may send; default 2000 */
    uint32_t sessions;          /* manager: default 4096 */
};

/* What a process shows of itself on the control stream or the admin listener, and whom it takes. */
struct config_control_tls {
    bool enabled;
    char *certificate, *key; /* PEM files */
    char *ca;                /* PEM; who may show a certificate */
    char *crl;               /* PEM; who may no more; NULL: nobody is asked */
    char *name;              /* of the manager's certificate; default "manager" */
};

enum config_peer_role {
    CONFIG_PEER_EDGE = 1,
    CONFIG_PEER_ALLOCATOR = 2,
    CONFIG_PEER_AGENT = 4,
};

struct config_peer { /* what holders of a certificate may do at the manager */
    char *name;      /* of the certificate; a '*' at the end stands for anything */
    unsigned roles;  /* set of enum config_peer_role; default all */
    /* Names of clusters up to a NULL; the list itself NULL: every cluster (command: none). */
    char **report, **allocate, **command;
};

struct config_manager {
    struct config_listen *listen; /* where the manager listens (run, manager); default for `run`
                                     unix:STATE/manager.sock */
    size_t listen_count;
    char *connect; /* where an edge, agent or allocator connects; NULL: listen[0] for `run`, none
                      for an edge on its own */
    struct loop_addr connect_addr;
    uint32_t journal_rows; /* kept; default 100000 */
    struct config_control_tls tls;
    struct config_peer *peers; /* none: any certificate may report for every cluster */
    size_t peer_count;
    char *pki; /* folder of the authority that lets machines join; NULL: none may */
};

enum config_user_role { CONFIG_USER_READ, CONFIG_USER_OPERATE, CONFIG_USER_ADMIN };

struct config_user {   /* who may use the administration interface over TCP */
    char *certificate; /* its name, as of a peer; NULL: by token */
    char *token;       /* SHA-256 of the bearer token, hexadecimal; NULL: by certificate */
    enum config_user_role role;
};

struct config_users {
    bool given;
    struct config_control_tls tls; /* of `admin` */
    struct config_user *list;
    size_t count;
};

struct config_agent {    /* `freshet agent` */
    char *server;        /* member id it reports for; NULL: by address */
    char *address;       /* address of the member it reports for */
    int64_t interval_us; /* default 1 s */
};

enum config_access_format {
    CONFIG_ACCESS_COMMON,
    CONFIG_ACCESS_COMBINED,
    CONFIG_ACCESS_JSON,
};

struct config_access_log {
    char *to; /* a file, "stderr" or "syslog"; NULL: no access log */
    enum config_access_format format;
    uint64_t buffer_bytes; /* a worker; default 1 MiB */
    char *socket;          /* of the log daemon; default /dev/log */
    unsigned facility;     /* RFC 5424 section 6.2.1 */
};

struct config_request_id {
    bool make;    /* default true */
    bool respond; /* default false */
};

enum config_traceparent { CONFIG_TRACE_PASS, CONFIG_TRACE_MAKE };

enum config_forwarded { CONFIG_FORWARDED_X = 1, CONFIG_FORWARDED_RFC7239 = 2 };

struct config_resolver {
    char *server;        /* address; NULL: the system's resolver */
    int64_t interval_us; /* default 10 s */
};

struct config {
    char *path;   /* the file; NULL for `freshet proxy` */
    char *folder; /* relative paths stand relative to the folder the program runs in, as the
                     shell's do; kept for messages */
    char id[CONFIG_NAME_BYTES]; /* default: "ROLE-HOSTNAME" of the host, name-safe */
    uint32_t workers;           /* 0: one a core */
    char *state;                /* folder; default ./state */
    char *admin;                /* address text; default unix:STATE/admin.sock; NULL = off */
    struct loop_addr admin_addr;
    struct config_users users; /* yaml: admin: { tls: …, users: … } */
    struct config_listen *listen;
    size_t listen_count;
    struct config_manager manager;
    struct config_cache cache;
    struct config_edge_relief relief; /* yaml: edge: { relief: … } */
    struct config_limits limits;
    struct config_access_log access_log;
    struct config_request_id request_id;
    struct config_resolver resolver;
    enum config_traceparent traceparent;
    struct loop_net *trusted; /* yaml: trusted-proxies */
    size_t trusted_count;
    unsigned forwarded; /* set of enum config_forwarded */
    struct config_stream stream;
    struct config_agent agent;
    struct config_sticky_keys sticky_keys;
    struct config_route **routes;
    size_t route_count;
    struct config_cluster **clusters;
    size_t cluster_count;
    struct config_pool **pools;
    size_t pool_count;
};

enum config_role {
    CONFIG_ROLE_RUN,
    CONFIG_ROLE_EDGE,
    CONFIG_ROLE_MANAGER,
    CONFIG_ROLE_AGENT,
    CONFIG_ROLE_ALLOCATOR,
};

/* Reads and checks a file for a role (what a role needs differs: an edge needs `listen`, a manager
 * `manager.listen`). Every error of the file is in *diag; FR_ERR_CONFIG when there is at least one.
 * Resolves names: blocks. On success *out is the caller's. */
FR_MUST_USE enum fr_err config_load(const char *path, enum config_role role,
                                    struct config_diag *diag, struct config **out);
/* The same from bytes; `name` stands in messages. For tests and the fuzzer. */
FR_MUST_USE enum fr_err config_parse(struct fr_view text, const char *name, enum config_role role,
                                     struct config_diag *diag, struct config **out);
void config_free(struct config **config);

/* Reads a listener's certificates. listen->tls.enabled; tickets (borrowed) may be NULL.
 * Errors as of tls_server_new. */
FR_MUST_USE enum fr_err config_tls_server(const struct config_listen *listen,
                                          struct tls_tickets *tickets, struct tls_server **out,
                                          char **out_why);

/* One route, cluster or pool from a tree (a reconfiguration or the ledger); runtime = true in what
 * they give. Errors as above. The result has one reference, the caller's. */
FR_MUST_USE enum fr_err config_route_from_tree(const struct config_node *node,
                                               struct config_diag *diag, struct config_route **out);
/* The same from a ledger: a folder that is gone is no error, its route then answers 500. */
FR_MUST_USE enum fr_err config_route_restore(const struct config_node *node,
                                             struct config_diag *diag, struct config_route **out);
FR_MUST_USE enum fr_err config_cluster_from_tree(struct fr_view name,
                                                 const struct config_node *node,
                                                 struct config_diag *diag,
                                                 struct config_cluster **out);
FR_MUST_USE enum fr_err config_pool_from_tree(struct fr_view name, const struct config_node *node,
                                              struct config_diag *diag, struct config_pool **out);
/* The same from a ledger: nothing outside is asked (no resolver, no look for the program), so that
 * a ledger that was good when it was written is good after the world has changed. Certificates are
 * read; without them the cluster has no tls.client, and tls.why. */
FR_MUST_USE enum fr_err config_cluster_restore(struct fr_view name, const struct config_node *node,
                                               struct config_diag *diag,
                                               struct config_cluster **out);
FR_MUST_USE enum fr_err config_pool_restore(struct fr_view name, const struct config_node *node,
                                            struct config_diag *diag, struct config_pool **out);
/* The way back: YAML flow text on one line that the functions above read to an equal value. */
FR_MUST_USE enum fr_err config_route_print(const struct config_route *route, struct fr_buf *out);
FR_MUST_USE enum fr_err config_cluster_print(const struct config_cluster *cluster,
                                             struct fr_buf *out);
FR_MUST_USE enum fr_err config_pool_print(const struct config_pool *pool, struct fr_buf *out);

/* What the rows of options.def say: schema/freshet-config.schema.json and docs/configuration.md, to
 * the byte (a unit test compares). */
FR_MUST_USE enum fr_err config_schema_print(struct fr_buf *out);
FR_MUST_USE enum fr_err config_reference_print(struct fr_buf *out);

/* All defaults, no members; for `freshet proxy`, tests, and the demo. One reference. */
struct config *config_new_default(void);
struct config_route *config_route_new(void);
struct config_cluster *config_cluster_new(struct fr_view name);
struct config_pool *config_pool_new(struct fr_view name);

struct config_route *config_route_ref(struct config_route *route);
void config_route_unref(struct config_route **route); /* NULL is allowed; leaves NULL */
struct config_cluster *config_cluster_ref(struct config_cluster *cluster);
void config_cluster_unref(struct config_cluster **cluster);
struct config_pool *config_pool_ref(struct config_pool *pool);
void config_pool_unref(struct config_pool **pool);

struct config_cluster *config_find_cluster(const struct config *config, struct fr_view name);
struct config_pool *config_find_pool(const struct config *config, struct fr_view name);
/* Whether a cluster may allocate from that pool. */
bool config_scale_has_pool(const struct config_scale *scale, const char *name);
bool config_name_valid(struct fr_view name);
/* Whether a pattern (a name, or the beginning of one and '*') means one of the words of `names`. */
bool config_name_matches(const char *pattern, struct fr_view names);
/* Whether a list of clusters up to a NULL has this one; NULL: `all`. */
bool config_names_have(char *const *names, struct fr_view name, bool all);
/* 64 hexadecimal digits. */
bool config_sticky_key_parse(struct fr_view text, unsigned char out[CONFIG_STICKY_KEY_BYTES]);

#endif
