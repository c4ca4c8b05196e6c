/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_priv.h - what the manager's files share, and nobody else sees.
 *
 * Shape:
 *
 *     mgr ── sources (by id) ── source ── views ──┐      a source: who reports
 *      │                          └ session       │        a view: a cluster as one source shows it
 *      ├── clusters (by name) ── cluster ── views ┘
 *      │                            └ members (by id) ── sights ── series
 *      │                                                   a sight: a member's newest numbers
 *      ├── requests: asked for, not answered yet           a series: the ring behind it
 *      └── journal
 *
 * Threads:  one loop.
 * Limits:   the MGR_…_MAX below; at each of them the newcomer is left out and counted.
 */
#ifndef MGR_PRIV_H
#define MGR_PRIV_H

#include "admin/admin.h"
#include "base/fr_list.h"
#include "base/fr_log.h"
#include "base/fr_map.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "config/config.h"
#include "loop/loop.h"
#include "manager/mgr.h"
#include "policy/policy.h"
#include "stream/stream_session.h"
#include "tls/tls.h"
#include "wire/wire.h"

#include <assert.h>
#include <stdio.h>

#define MGR_ID_BYTES CONFIG_NAME_BYTES
#define MGR_ADDRESS_BYTES LOOP_ADDR_TEXT_BYTES
#define MGR_SENTENCE_BYTES POLICY_SENTENCE_BYTES
#define MGR_WORDS_BYTES 160
#define MGR_REFUSAL_BYTES 400 /* a rule, and who broke it */

#define MGR_SAMPLES 120            /* of one ring: two minutes at a report a second */
#define MGR_SOURCES_MAX 8192       /* connected or remembered */
#define MGR_POOLS_MAX 16384        /* reported, summed over sources */
#define MGR_CLUSTERS_MAX 16384     /* configured or reported */
#define MGR_SERIES_MAX 100000      /* a source's servers, summed over sources: about 110 MiB */
#define MGR_REQUESTS_MAX 4096      /* unanswered at a time */
#define MGR_MEMBERS_DECIDED 20000  /* of one cluster that are looked at in one decision */
#define MGR_EPOCH_MAX (1ULL << 40) /* a peer cannot push ours past this */

#define MGR_TICK_US 250000LL          /* durations, cooldowns, silence, the journal */
#define MGR_STALE_INTERVALS 3         /* silent for so many report intervals: stale */
#define MGR_INTERVALS_OBSERVED_MAX 10 /* a slow source's pace counts, up to this */
/* A source without a stream is forgotten after this, or twice the longest drain if that is more. */
#define MGR_FORGET_US 60000000LL
#define MGR_GIVE_UP_US 600000000LL    /* a request unanswered on an open stream */
#define MGR_AGAIN_US 5000000LL        /* least time between two equal requests of mgr_sync */
#define MGR_WEIGHT_REST_US 1000000LL  /* from a weight's answer until the next is thought of */
#define MGR_RELIEVE_AFTER_US 500000LL /* at the upper level before load is shifted */
#define MGR_GRACE_US 8000000LL        /* longer than a peer waits before it connects again */
#define MGR_WHY_ROWS_DEFAULT 20
#define MGR_WHY_ROWS_MAX 1000
#define MGR_POST_BYTES_MAX ((size_t)1 << 20)
#define MGR_ANSWER_BYTES_MAX ((size_t)32 << 20)

struct mgr_session;
struct mgr_source;
struct mgr_view;
struct mgr_member;
struct mgr_cluster;
struct mgr_journal;

/* ---- telemetry (mgr_telemetry.c) ------------------------------------------------------------ */

enum mgr_state {
    MGR_STATE_READY, /* also when none is said */
    MGR_STATE_STARTING,
    MGR_STATE_DRAINING,
    MGR_STATE_UNHEALTHY,
    MGR_STATE_EJECTED,
    MGR_STATE_OTHER, /* a word of a newer peer: neither healthy nor ours to judge */
};
const char *mgr_state_name(enum mgr_state state);

/* Eight bytes; what does not fit saturates. */
struct mgr_sample {
    uint16_t utilization; /* in 1/10000; UINT16_MAX: none */
    uint16_t in_flight;
    uint16_t requests; /* since the sample before */
    uint16_t gap_ms;   /* since the sample before */
};
#define MGR_SAMPLE_SCALE 10000.0
struct mgr_ring {
    uint16_t head, count; /* head: where the next one goes */
    struct mgr_sample sample[MGR_SAMPLES];
};

/* One server as one source shows it, over time. */
struct mgr_series {
    struct mgr_member *member;
    struct mgr_view *view;
    uint32_t sight_index; /* in member->sights */
    uint32_t seen;        /* view->serial of the last report that showed it */
    enum mgr_state state;
    uint32_t weight, weight_normal;              /* UINT32_MAX: not said */
    uint64_t requests, errors, connect_failures; /* cumulative, as last said */
    float p50_ms, p99_ms;
    uint32_t sessions;
    int64_t at_us;
    int64_t synced_at_us; /* the last time mgr_sync asked this source something about it */
    struct mgr_ring ring;
};
/* "Fixed memory per server": one of these and one sight. */
static_assert(sizeof(struct mgr_series) <= 1088, "a series has outgrown its budget");

/* The newest numbers of a series, side by side with those of the other sources of the member,
 * because deciding reads nothing else. */
struct mgr_sight {
    struct mgr_series *series;
    struct mgr_view *view; /* series->view, at hand */
    int64_t fresh_until_us;
    double utilization; /* NaN: none */
    uint64_t in_flight;
};

struct mgr_member {
    struct mgr_cluster *cluster;
    char id[MGR_ID_BYTES];
    char address[MGR_ADDRESS_BYTES]; /* as the responsible server says it, else as anybody does */
    char pool[MGR_ID_BYTES];         /* empty: of the configuration */
    struct mgr_sight *sights;
    size_t sight_count, sight_capacity;
    int64_t ready_since_us;       /* 0: not ready */
    uint32_t weight_normal;       /* configured; UINT32_MAX: not looked up yet */
    uint32_t weight_ordered;      /* what policy asked for last; UINT32_MAX: nothing */
    int64_t weight_rest_until_us; /* a change of weight must show before the next */
    int64_t over_since_us;        /* at its upper level since; 0: it is not */
    int64_t released_at_us;       /* when the responsible server was told so; 0: not yet */
};

struct mgr_view {
    struct mgr_source *source;
    struct mgr_cluster *cluster;
    struct fr_list cluster_link;
    bool is_responsible;
    bool is_resent; /* this stream's unanswered requests went out again */
    bool is_whole;  /* a full report came on this stream */
    bool is_dirty;  /* reported since followers were last looked at */
    int64_t join_refused_at_us;
    double levels_upper, levels_lower; /* as sent on this stream; NaN: not sent */
    uint64_t followers_sent, goal_sent_us;
    uint64_t goal_us, timed, late; /* as last said */
    bool is_timed; /* it counts who is late, against our goal: nothing has to be estimated */
    uint64_t requests, waiting, generation;
    char rung[16];                       /* of its ladder; "": none */
    int64_t rung_since_wall_us;          /* told first then; 0: never on one */
    uint64_t rung_stale, rung_refreshes; /* as told when it came into force */
    double rate; /* requests a second, over the last interval that was long enough; NaN: none yet */
    int64_t rate_at_us;
    uint64_t rate_requests;
    uint64_t requests_ticked; /* as they were when the last tick of the policy began */
    double pending_ticked;    /* begun by then, and not finished */
    int64_t ticked_at_us;     /* 0: not counted yet */
    uint32_t serial;
    uint64_t shown_in; /* source->reports of the last report that showed it */
    int64_t at_us;
    struct mgr_series **series; /* in the order of the last report */
    size_t series_count, series_capacity;
};

/* What a source says of itself (an edge) or of the host it runs on (an agent). */
struct mgr_self {
    bool is_said;
    char id[MGR_ID_BYTES];
    char address[MGR_ADDRESS_BYTES];
    double utilization, cpu;
    uint64_t requests, errors, in_flight, connections;
    uint64_t memory_bytes, cache_hits, cache_misses, cache_bytes, relief;
    uint64_t cache_revalidations, cache_collapses, origin_requests;
    int64_t at_us;
    struct mgr_ring ring;
};

struct mgr_source {
    struct mgr *mgr;
    char id[MGR_ID_BYTES];
    enum wire_role role;
    bool is_poster;              /* reports by POST: never commanded */
    struct mgr_session *session; /* NULL: none open */
    int64_t session_lost_at_us;
    bool is_stale; /* as last logged */
    uint64_t seq, reports;
    int64_t first_at_us, last_at_us, scheduled_at_us; /* scheduled: not because of a crossing */
    int64_t interval_us, fresh_until_us;
    struct mgr_self self;
    struct mgr_view **views; /* in the order of the last report */
    size_t view_count, view_capacity;
    struct fr_list pools; /* of mgr_pool.source_link */
    struct policy_relief_state relief;
};

struct mgr_pool { /* as the newest report of its source says */
    struct fr_list source_link;
    char name[MGR_ID_BYTES];
    char source[MGR_ID_BYTES];
    uint64_t available, allocated; /* WIRE_NONE: not said */
    uint32_t cost;
    uint64_t shown_in; /* source->reports of the newest one that named it */
};

struct mgr_cluster {
    struct mgr *mgr;
    char name[MGR_ID_BYTES];
    struct config_cluster *config; /* NULL: only reported; shown, never acted on */
    struct fr_list views;          /* cluster_link */
    struct fr_map *members;
    struct mgr_view *responsible; /* the view of the session that allocates for it; NULL: none */
    bool is_rival_logged;
    bool is_report_awaited; /* membership changed: the numbers at hand are of before */
    /* Purged from caches, and soon to be asked of the members: how many times as much as they do
     * now, until then. */
    double announced_factor;
    int64_t announced_until_us;
    struct fr_list dirty_link;
    struct policy_state policy;
    int64_t idle_since_us;  /* nobody uses it since then; 0: somebody does */
    uint64_t idle_requests; /* as counted at the last look */
    int64_t tick_at_us;     /* when the policy's tick began; 0: none did */
    double answered, late;  /* requests since then, and those that missed the goal */
    bool is_look_due;       /* a report came by the clock, not because of what it says */
    double busy;            /* summed over the looks since then; NaN: one saw not all members */
    double busy_usable;     /* ... of those that count only */
    uint32_t looks;
    double startup_s;     /* the last server that was allocated took so long; 0: none yet */
    struct mgr_proposal { /* of mode supervised */
        bool is_made;
        struct policy_decision decision;
        int64_t until_us;
        int64_t rest_until_us; /* denied, or not answered in time */
    } proposal;
    struct mgr_rivalry { /* with others of the same pool; mgr_take.c */
        uint32_t wanted; /* servers that its pools do not have */
        int64_t wanted_until_us;
        char giver[MGR_ID_BYTES]; /* who was asked last; empty: it wants none, or nobody */
        int64_t taken_at_us;      /* the last time one was taken for it; 0: never */
        int64_t released_at_us;   /* the last time it gave back by itself; 0: never */
        uint32_t claimed;         /* servers that it is asked to give ... */
        char taker[MGR_ID_BYTES]; /* ... to this one ... */
        int64_t claimed_until_us;
    } rivalry;
    /* the hold that is open in the journal: equal ones that follow only count */
    int64_t hold_row;
    struct policy_decision hold;
    const char *hold_verdict; /* "hold", or what keeps a decision from being carried out */
    uint64_t hold_repeats;
    int64_t hold_last_wall_us;
    bool is_hold_dirty;
};

struct mgr_counters { /* cumulative; GET /metrics */
    uint64_t sessions_accepted, sessions_refused, sessions_replaced;
    uint64_t reports, reports_posted, reports_bad, crossings, samples;
    uint64_t servers_ignored; /* ids that are none, or past a limit */
    uint64_t clusters_ignored, sources_ignored;
    uint64_t decisions, holds;
    uint64_t requests_sent, requests_resent, requests_done, requests_refused, requests_given_up;
    uint64_t results_unknown, intruders, refused_by_peer;
    uint64_t forbidden; /* streams and posted reports that a rule of mgr_access.c refused */
    uint64_t joins, joins_refused, joins_limited, renewals;
    uint64_t journal_failures;
};

/* Tokens that were none, of one network (an IPv4 address, an IPv6 /64). */
#define MGR_GUESSES_MAX 10 /* in one period; then it is heard no more until the next */
#define MGR_GUESS_PERIOD_US (60 * FR_US_PER_S)
#define MGR_GUESSERS_MAX 64 /* remembered; whose period began first gives way */
struct mgr_guesser {
    int family; /* 0: nobody */
    uint8_t network[8];
    unsigned guesses;
    int64_t since_us;
};

struct mgr {
    uint32_t magic;
    struct loop *loop;
    const struct config *config;  /* its owner's; replaced by mgr_reload */
    struct tls_identity identity; /* zeroed: no TLS */
    /* of the configuration */
    struct config_stream stream;
    struct config_edge_relief relief;
    struct config_cluster **clusters_config; /* references */
    size_t clusters_config_count;
    struct config_pool **pools_config; /* references */
    size_t pools_config_count;
    char id[MGR_ID_BYTES];
    char *journal_path;
    uint32_t journal_rows;
    int64_t forget_us;
    /* listeners */
    struct admin **admins;
    size_t admin_count;
    /* state */
    uint64_t epoch, sequence;
    int64_t started_at_us;
    int64_t grace_until_us;  /* after a restart: who is not here may still be on the way */
    struct fr_list sessions; /* mgr_session.link */
    size_t session_count;
    struct fr_map *sources, *clusters, *pools;
    struct fr_map *hosts_by_id, *hosts_by_address; /* mgr_source of agents */
    size_t series_count;
    struct fr_list requests; /* mgr_request.link, oldest first */
    struct fr_list purges;   /* of mgr_purge.c */
    size_t purge_count;
    size_t request_count;
    size_t request_counts[WIRE_OPERATION_COUNT]; /* of each kind: nearly always all are 0 */
    struct fr_map *requests_by_key; /* those that follow from reports; see mgr_request.c */
    struct mgr_journal *journal;
    struct fr_list dirty; /* clusters a report of this turn concerned */
    struct loop_task decide_task;
    struct loop_timer tick;
    int64_t wants_until_us;        /* no cluster wants another's server from then on */
    struct policy_member *scratch; /* MGR_MEMBERS_DECIDED */
    struct mgr_guesser guessers[MGR_GUESSERS_MAX];
    struct mgr_counters counters;
    loop_fn stop_fn; /* set while stopping */
    void *stop_ctx;
    struct loop_timer stop_timer;
};
#define MGR_MAGIC 0x6d677221u

/* The source of that id, made when there is none; NULL at MGR_SOURCES_MAX. */
struct mgr_source *mgr_source_get(struct mgr *mgr, struct fr_view id, enum wire_role role);
struct mgr_source *mgr_source_find(const struct mgr *mgr, struct fr_view id);
void mgr_source_drop(struct mgr *mgr, struct mgr_source *source); /* and all it showed */
/* Stores one report and marks the clusters it concerns for deciding at the end of this turn.
 * Cost: no allocation for what the source showed before in the same order. */
void mgr_source_store(struct mgr *mgr, struct mgr_source *source, const struct wire_report *report);
bool mgr_source_is_stale(const struct mgr_source *source, int64_t now_us);
/* Its stream ended: it is responsible for nothing any more. */
void mgr_source_lost(struct mgr *mgr, struct mgr_source *source);
/* NULL: it reports none of that name. */
const struct mgr_pool *mgr_pool_find(const struct mgr_source *source, const char *name);
/* Logs who fell silent and who came back; forgets who is long gone. */
void mgr_source_tick(struct mgr *mgr, int64_t now_us);
struct mgr_view *mgr_view_find(const struct mgr_source *source, const struct mgr_cluster *cluster);
/* The mean utilization of a ring, and its highest; NaN when it holds none. */
void mgr_ring_summary(const struct mgr_ring *ring, double *out_mean, double *out_highest);

struct mgr_cluster *mgr_cluster_get(struct mgr *mgr, struct fr_view name); /* NULL when full */
struct mgr_cluster *mgr_cluster_find(const struct mgr *mgr, struct fr_view name);
void mgr_cluster_mark(struct mgr_cluster *cluster);
/* Drops it when nobody configures or reports it. */
void mgr_cluster_release(struct mgr_cluster *cluster);
struct mgr_member *mgr_member_find(const struct mgr_cluster *cluster, struct fr_view id);
/* A further source sees the member (made when it is new); NULL at MGR_SERIES_MAX. */
struct mgr_series *mgr_series_new(struct mgr_view *view, struct fr_view id);
/* NULL: the view does not show it. */
struct mgr_series *mgr_view_series(const struct mgr_view *view, const struct mgr_member *member);
void mgr_series_drop(struct mgr_series *series); /* the source shows it no more */

struct mgr_load {
    double utilization; /* the highest fresh one; NaN: none */
    uint64_t in_flight; /* summed over fresh sources */
    bool is_stale;      /* no source is fresh */
    bool is_part_stale; /* at least one is not */
};
/* Utilization of a member over everybody who sees it. An edge sees only its own requests in flight;
 * where several fresh edges show a member and the cluster has a limit, their requests in flight are
 * added and set against the limit too. An agent's word on the host counts where the cluster lets it
 * (host_cpu). The highest of all wins. */
struct mgr_load mgr_member_load(const struct mgr_member *member, int64_t now_us);

/* ---- sessions (mgr_session.c) --------------------------------------------------------------- */

struct mgr_session {
    uint32_t magic;
    struct mgr *mgr;
    struct stream_session *stream;
    struct mgr_source *source; /* NULL until opened */
    struct fr_list link;
    int64_t opened_at_us;
    struct admin_peer peer;
};
#define MGR_SESSION_MAGIC 0x6d677353u

void mgr_session_accept(struct mgr *mgr, const struct admin_handed *handed);
void mgr_session_free(struct mgr_session *session);
/* Sends levels to every session that reports a cluster and has not been told these. */
void mgr_session_send_levels(struct mgr_source *source);

/* ---- access (mgr_access.c) ------------------------------------------------------------------ */

/* False: *out_words names the rule that says no. */
bool mgr_access_open(const struct mgr *mgr, const struct admin_peer *peer,
                     const struct wire_open *open, char out_words[MGR_REFUSAL_BYTES]);
bool mgr_access_report(const struct mgr *mgr, const struct admin_peer *peer, enum wire_role role,
                       const struct wire_report *report, char out_words[MGR_REFUSAL_BYTES]);
bool mgr_access_request(void *ctx, const struct admin_request *request); /* admin_allow_fn */
bool mgr_access_renew(const struct mgr *mgr, const struct admin_request *request,
                      char out_words[MGR_REFUSAL_BYTES]);

/* POST /join, /renew, /tokens (mgr_join.c). */
void mgr_post_join(void *ctx, struct admin_exchange *exchange, const struct admin_request *request);
void mgr_post_renew(void *ctx, struct admin_exchange *exchange,
                    const struct admin_request *request);
void mgr_post_tokens(void *ctx, struct admin_exchange *exchange,
                     const struct admin_request *request);

/* ---- requests (mgr_request.c) --------------------------------------------------------------- */

struct mgr_request {
    struct fr_list link;
    struct wire_request_id id;
    enum wire_operation operation;
    char cluster[MGR_ID_BYTES];
    char target[MGR_ID_BYTES]; /* id of the source asked */
    char server[MGR_ID_BYTES], address[MGR_ADDRESS_BYTES], pool[MGR_ID_BYTES];
    uint32_t count, weight;
    double upper, lower;
    uint64_t step, followers, goal_us;
    char reason[MGR_SENTENCE_BYTES];
    int64_t sent_at_us; /* on the stream open now; 0: on none */
    uint32_t sends;
    char what[8]; /* of a purge */
    char *text;   /* ours; NULL: none */
    bool soft;
    struct mgr_purge *purge; /* who waits for the receipt; NULL: nobody any more */
};

/* What to ask for; texts are copied. */
struct mgr_ask {
    enum wire_operation operation;
    const struct mgr_cluster *cluster; /* NULL: none */
    struct mgr_source *target;
    const char *server, *address, *pool; /* NULL: none */
    uint32_t count, weight;
    double upper, lower;
    uint64_t step, followers, goal_us;
    const char *reason;
    const char *what, *text; /* of a purge */
    bool soft;
    struct mgr_purge *purge;
};
/* Journals, then sends. False: nothing was asked for (limit, no stream). *out_id may be NULL. */
bool mgr_request_send(struct mgr *mgr, const struct mgr_ask *ask, struct wire_request_id *out_id);
/* An equal one that is unanswered, or NULL. target and server NULL: whichever. */
struct mgr_request *mgr_request_pending(const struct mgr *mgr, const struct mgr_source *target,
                                        const struct mgr_cluster *cluster,
                                        enum wire_operation operation, const char *server);
/* Servers asked for, and asked to be given back, without an answer yet. */
void mgr_request_count(const struct mgr *mgr, const struct mgr_cluster *cluster, uint32_t *out_up,
                       uint32_t *out_down);
/* Of the unanswered deallocations those that the view shows: their server drains, or is gone. */
uint32_t mgr_request_shown(const struct mgr *mgr, const struct mgr_view *view);
void mgr_request_result(struct mgr *mgr, struct mgr_source *source,
                        const struct wire_result *result);
/* The stream is gone: what outlives it waits, what follows from reports anyway is dropped. */
void mgr_request_stream_lost(struct mgr *mgr, struct mgr_source *source);
/* The responsible server is (again) there: what it has not answered goes out with its old ids. */
void mgr_request_resend(struct mgr *mgr, struct mgr_view *view);
void mgr_request_tick(struct mgr *mgr, int64_t now_us);

/* ---- purges (mgr_purge.c) -------------------------------------------------------------------- */

#define MGR_RATE_US (500 * FR_US_PER_MS) /* rates are told over at least this */
#define MGR_ANNOUNCED_US (10 * FR_US_PER_S)
#define MGR_ANNOUNCED_FACTOR_MAX 10.0 /* more is no forecast */
#define MGR_PURGES_MAX 256            /* calls whose receipts are still coming in */
void mgr_post_purge(void *ctx, struct admin_exchange *exchange,
                    const struct admin_request *request);
/* What came of a request that may belong to a purge; result may be NULL. */
void mgr_purge_receipt(struct mgr_request *request, const char *status, struct fr_view words,
                       const struct wire_result *result);
void mgr_purges_free(struct mgr *mgr);
/* A report showed the view: keeps its rate, and takes in what was purged behind it. */
void mgr_purge_announced(struct mgr_view *view, const struct wire_cluster *said, int64_t now_us);
/* What utilization is about to be, as far as purges tell. */
double mgr_purge_foresee(const struct mgr_cluster *cluster, double utilization, int64_t now_us);
/* Takes a request read from the journal of an earlier epoch. */
void mgr_request_restore(struct mgr *mgr, const struct mgr_request *request);
void mgr_request_free_all(struct mgr *mgr);

/* ---- from zero, and the ladder (mgr_zero.c) -------------------------------------------------- */

/* Once a look: who waits, and for how long nobody has used it. */
void mgr_zero_look(struct mgr_cluster *cluster, int64_t now_us, struct policy_settings *settings);
/* A report says which rung is in force: a change is written down. */
void mgr_zero_rung(struct mgr_view *view, const struct wire_cluster *said);

/* ---- what a policy needs besides members (mgr_scale.c) --------------------------------------- */

/* True when a tick of the policy ended: *out says what passed in it. */
bool mgr_scale_traffic(struct mgr_cluster *cluster, int64_t now_us, struct policy_traffic *out);
/* How busy the members are, at a time that was not chosen for how busy they are. */
void mgr_scale_look(struct mgr_cluster *cluster, int64_t now_us,
                    const struct policy_member *members, size_t count);
/* A report says how many requests missed the goal. */
void mgr_scale_count(struct mgr_view *view, const struct wire_cluster *said);
/* One that does not shows so many requests more of a server: how many of them may have. */
void mgr_scale_late(struct mgr_cluster *cluster, const struct wire_server *said, uint64_t requests);
/* What the configured policy remembers is there, and nothing else is. */
void mgr_scale_prepare(struct mgr_cluster *cluster);
void mgr_scale_schedule(const struct mgr_cluster *cluster, struct policy_settings *settings);
/* Mode supervised: notes what is proposed. Returns the word for what becomes of it now. */
const char *mgr_scale_propose(struct mgr_cluster *cluster, const struct policy_decision *decision,
                              int64_t now_us);
/* POST /approve, /deny. */
void mgr_scale_approve(void *ctx, struct admin_exchange *exchange,
                       const struct admin_request *request);
void mgr_scale_deny(void *ctx, struct admin_exchange *exchange,
                    const struct admin_request *request);

/* ---- clusters that share a pool (mgr_take.c) ------------------------------------------------ */

/* Servers of that pool that are kept for clusters of higher priority. */
uint64_t mgr_take_reserved(const struct mgr_cluster *cluster, const char *pool);
/* Of which pool an allocation must be so that it takes none of those; *count may become less. NULL:
 * whichever. */
const char *mgr_take_pool(const struct mgr_cluster *cluster, uint32_t *count);
/* After its decision: notes what it wants, and asks another cluster where its pools are dry; then
 * the decision says so. */
void mgr_take_want(struct mgr_cluster *cluster, const struct policy_settings *settings,
                   struct policy_decision *decision);
/* In place of its own hold: what it is asked to give. members are changed. *mode becomes the more
 * careful one of both clusters. Returns how many decisions there are now. */
size_t mgr_take_give(struct mgr_cluster *cluster, const struct policy_settings *settings,
                     struct policy_member *members, size_t member_count,
                     struct policy_decision *decisions, size_t made, size_t max,
                     enum config_scale_mode *mode);
/* A decision is carried out. */
void mgr_take_note(struct mgr_cluster *cluster, const struct policy_decision *decision);

/* ---- deciding (mgr_decide.c), followers (mgr_sync.c) ---------------------------------------- */

/* Runs what was marked, at the end of this turn, once for however many reports and results. */
void mgr_decide_soon(struct mgr *mgr);
/* Carries a decision out: journals it and asks for it. */
void mgr_decide_act(struct mgr_cluster *cluster, const struct policy_decision *decision);
void mgr_decide_cluster(struct mgr_cluster *cluster);
void mgr_decide_flush(struct mgr_cluster *cluster); /* the open hold's count, to the journal */
void mgr_decide_relief(struct mgr_source *source);
/* Tells followers what the responsible server shows, and the responsible server who has let go. */
uint64_t mgr_sync_followers(const struct mgr_cluster *cluster);
void mgr_sync_cluster(struct mgr_cluster *cluster);
/* Only the second half: also when nobody reports, because who is gone has a deadline. */
void mgr_sync_release(struct mgr_cluster *cluster);

/* ---- the journal (mgr_journal.c) ------------------------------------------------------------ */

struct mgr_journal_decision {
    const char *cluster; /* or the edge's id, for its relief */
    const char *verdict, *rule, *sentence;
    const struct policy_decision *numbers;
    double upper, lower;
    int64_t wall_us;
    struct wire_request_id request; /* sequence 0: none */
};

/* path NULL: in memory. Never fails: what cannot be opened is reported (log) and done without, in
 * memory. *out_epoch is one more than the newest in it. */
void mgr_journal_open(const char *path, uint32_t rows_max, int64_t wall_us,
                      struct mgr_journal **out, uint64_t *out_epoch);
void mgr_journal_close(struct mgr_journal **journal); /* commits what waits */
bool mgr_journal_on_disk(const struct mgr_journal *journal);
uint64_t mgr_journal_failures(const struct mgr_journal *journal);
/* Remembers a raised epoch. */
void mgr_journal_epoch(struct mgr_journal *journal, uint64_t epoch, int64_t wall_us);
/* Committed at the latest with the next mgr_journal_commit. Returns the row, 0 on failure. */
int64_t mgr_journal_decision(struct mgr_journal *journal,
                             const struct mgr_journal_decision *decision);
/* One more hold of the same kind: repeat count, last time and newest numbers of its row. */
void mgr_journal_repeat(struct mgr_journal *journal, int64_t row, uint64_t repeats, int64_t wall_us,
                        const struct policy_decision *numbers, const char *sentence);
/* Durable when it returns (synchronous FULL), as far as the disk can be had at all. */
void mgr_journal_request(struct mgr_journal *journal, const struct mgr_request *request,
                         int64_t wall_us);
/* status: "done", "refused", "given-up", "superseded". servers: "web-4 10.0.0.9:80, …". */
void mgr_journal_answer(struct mgr_journal *journal, struct wire_request_id id, const char *status,
                        struct fr_view code, struct fr_view reason, const char *servers,
                        int64_t wall_us);
void mgr_journal_sent(struct mgr_journal *journal, struct wire_request_id id, uint32_t sends,
                      int64_t wall_us);
void mgr_journal_commit(struct mgr_journal *journal);
/* Every MGR_TICK_US: commits, and tries again where a lock stood in the way. */
void mgr_journal_tick(struct mgr_journal *journal);
/* Visits what earlier epochs left unanswered, oldest first. */
void mgr_journal_unanswered(struct mgr_journal *journal,
                            void (*visit)(void *ctx, const struct mgr_request *request), void *ctx);

struct mgr_why {
    int64_t at_us, last_at_us;
    uint64_t repeats;
    struct fr_view verdict, rule, sentence;
    double mean, highest;
    uint64_t ready, starting, draining, stale;
    struct wire_request_id request;               /* sequence 0: none */
    struct fr_view status, code, reason, servers; /* of the request */
    int64_t answered_at_us;                       /* 0: not yet */
};
/* The last `rows` of a cluster (or edge), oldest first. False: none at all. */
bool mgr_journal_why(struct mgr_journal *journal, struct fr_view cluster, unsigned rows,
                     void (*visit)(void *ctx, const struct mgr_why *why), void *ctx);
uint64_t mgr_journal_rows(struct mgr_journal *journal);

/* ---- HTTP (mgr_http.c) ---------------------------------------------------------------------- */

extern const struct admin_route mgr_http_routes[];
/* Append the whole answer; FR_ERR_FULL past the buffer's ceiling. */
FR_MUST_USE enum fr_err mgr_status_json(struct mgr *mgr, struct fr_buf *out);
FR_MUST_USE enum fr_err mgr_metrics_text(struct mgr *mgr, struct fr_buf *out);

#endif
