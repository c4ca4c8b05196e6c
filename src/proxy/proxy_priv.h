/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_priv.h - what the files of this room share: worker, client connection, exchange, member
 * connection.
 *
 *     proxy (control thread)
 *       └ worker (one thread, one loop)
 *           ├ client     one client connection; at most one exchange at a time
 *           │   └ exchange   one request and its response
 *           ├ cluster    one version of one cluster's view, while it is current or in use
 *           └ pool       one member's connections on this worker
 *               └ upstream  one connection to a member; idle in the pool, or of one exchange
 *
 * An exchange ends exactly once, in proxy_exchange_reply, _fail or _drop.
 *
 * Sharing:    exchanges hold clusters and pools by counts of their worker's own. The atomic counts
 *             of views and members are touched only when a snapshot is adopted.
 * Memory:     clients, exchanges and upstreams come from free lists of their worker.
 */
#ifndef PROXY_PRIV_H
#define PROXY_PRIV_H

#include "base/fr_buf.h"
#include "base/fr_check.h"
#include "base/fr_list.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "http/http.h"
#include "http/http_select.h"
#include "http/http_trace.h"
#include "proxy/proxy.h"
#include "disk/disk.h"
#include "proxy/proxy_answer.h"
#include "proxy/proxy_cached.h"
#include "proxy/proxy_lot.h"

#include <assert.h>
#include <pthread.h>

#define PROXY_CLIENT_MAGIC 0x70636c69u
#define PROXY_EXCHANGE_MAGIC 0x70657863u
#define PROXY_UPSTREAM_MAGIC 0x70757073u

#define PROXY_ATTEMPTS_MAX 3     /* members tried for one request, refused connections aside */
#define PROXY_TRIES_MAX 8        /* ... and with them: a refusal costs next to nothing */
#define PROXY_TRIES_UNSAFE_MAX 2 /* ... of a request that must not be sent twice */
#define PROXY_PROBE_US 500000    /* how often a member that took no connection is tried */
#define PROXY_DRIP_US 5000000    /* the least rate of responses is judged over this much waiting */
#define PROXY_FAULT_QUIET_US 1000000 /* between two log lines on one fault of one member */
#define PROXY_HTTP1_REQUIRED_US 60000000 /* a member that asked for HTTP/1.1 gets it for so long */
#define PROXY_UPGRADE_BYTES 64  /* protocols offered in one Upgrade; more are not passed on */
#define PROXY_LINGER_US 2000000 /* how long a closed connection is still read from */
#define PROXY_HALF_CLOSED_US 5000000   /* of waiting with one who may be gone */
#define PROXY_LINGER_BYTES_MAX 1048576 /* how much: the client must see the answer, not a reset */
#define PROXY_UNREAD_BYTES_MAX 16384   /* of an answer: past it, whether it was read is asked */
#define PROXY_SEND_BYTES_MAX 131072    /* one send of a stored body: progress is judged by sends */
#define PROXY_KEPT_BUF_BYTES 16384     /* a free-listed buffer that grew larger is let go */
#define PROXY_FREE_MAX 1024            /* objects kept on one free list */
#define PROXY_RECLAIM_TRIES_MAX 16     /* idle clients looked at to find one that may be closed */
#define PROXY_BUDGET_HALF_US 5000000   /* the retry budget looks at the last two of these */
#define PROXY_BUDGET_FLOOR 30          /* retries that are always allowed in them: 3 a second */
#define PROXY_HOPS_MAX 16              /* proxies in front of us that are looked through */
#define PROXY_ADDRESS_BYTES 48         /* an address without a port, and its NUL */
#define PROXY_CLUSTER_BLOCK 64         /* clusters a block of counters */
#define PROXY_CLUSTER_BLOCKS (PROXY_CLUSTERS_MAX / PROXY_CLUSTER_BLOCK)

/* Received bytes, in order: buf[0] is read from (and sent from), buf[1] waits behind it. Receiving
 * goes on only while buf[1] is free, which is the whole of the back-pressure. */
struct proxy_input {
    struct loop_buf *buf[2];
    uint32_t pos; /* in buf[0] */
};

/* A head that may lie across receive buffers. */
struct proxy_partial {
    struct fr_buf buf; /* used only from the second buffer on */
    size_t scanned;
};

/* How a try on a member ended. Behind the first three, what members do wrong. */
enum proxy_attempt_end {
    PROXY_ATTEMPT_OK,
    PROXY_ATTEMPT_DROPPED,   /* our client went away: not the member's doing */
    PROXY_ATTEMPT_WITHDRAWN, /* the drain deadline of the member passed */
#define PROXY_FAULT_ROW(name, status, counter, words) PROXY_ATTEMPT_##name,
#include "proxy/proxy_faults.def"
#undef PROXY_FAULT_ROW
    PROXY_FAULT_COUNT, /* the three included */
};

/* ---- a cluster as a worker knows it ---------------------------------------------------------- */

struct proxy_cluster_state { /* outlives versions of the view; by view slot */
    /* shared, atomic: read by any thread */
    struct proxy_cluster_counters counters;
    /* owner */
    int64_t half_from_us, goal_us; /* goal: of the newest view; 0: none */
    uint64_t half_requests[2], half_retries[2]; /* [0] now, [1] the half before */
    uint64_t on_members;                        /* exchanges of this worker that have one */
    /* proxy_queue.c */
    uint64_t in_flight;          /* places taken by this worker; read by the others */
    struct proxy_worker *worker; /* set with the first that waits, as is queue */
    struct fr_list queue;        /* of proxy_exchange, oldest first */
    uint32_t queue_length;
    int64_t over_since_us; /* the oldest has waited longer than the target since; 0: has not */
    struct loop_timer queue_timer;
    struct proxy_lot lot;            /* proxy_park.c */
    struct cluster_prequal *prequal; /* NULL: the cluster is not balanced so */
};

struct proxy_cluster {
    struct cluster_view *view; /* one reference */
    struct proxy_cluster_state *state;
    uint32_t uses; /* exchanges */
    bool current;
};

#define PROXY_TLS_WHY_BYTES 120

struct proxy_pool { /* one member's connections on one worker */
    struct proxy_worker *worker;
    struct cluster_member *member; /* one reference */
    struct cluster_member_stats *stats;
    struct fr_list idle; /* of proxy_upstream; the latest used first */
    struct fr_list busy;
    uint32_t idle_count;
    uint32_t connection_count;
    uint32_t in_flight;
    struct fr_list carriers; /* of proxy_upstream, SHARED; see proxy_carrier.h */
    uint32_t carriers_idle;
    bool speaks_h2;         /* it chose HTTP/2 in its last handshake */
    int64_t http1_until_us; /* it said HTTP_1_1_REQUIRED: it is not offered HTTP/2 until then */
    uint32_t shown;         /* clusters of the snapshot that show it */
    struct fr_list watches; /* of proxy_watch_leg */
    /* proxy_probe.c */
    bool probing;    /* the socket is in use; counts in connection_count */
    bool probe_gone; /* it took no connection since it was left out: one now means it is back */
    struct proxy_trouble *trouble; /* NULL: there was none; see proxy_trouble.h */
    /* proxy_secure.c */
    struct tls_resume resume;
};
static_assert(sizeof(struct proxy_pool) <= 192, "there is one for each member and worker");

enum proxy_upstream_state {
    PROXY_UPSTREAM_CONNECTING,
    PROXY_UPSTREAM_BUSY,
    PROXY_UPSTREAM_IDLE,
    PROXY_UPSTREAM_SHARED, /* carries the streams of many: proxy_carrier.h */
    PROXY_UPSTREAM_CLOSED,
};

struct proxy_upstream {
    uint32_t magic;
    enum proxy_upstream_state state;
    struct loop_sock sock;
    struct proxy_worker *worker;
    struct proxy_pool *pool;
    struct proxy_exchange *exchange; /* NULL while idle */
    struct fr_list link;
    struct proxy_input in;
    struct proxy_partial partial;
    struct loop_timer timer; /* runs until due_us, or less long */
    int64_t due_us;          /* when what is waited for is late; 0: nothing is */
    uint64_t requests;
    uint64_t response_bytes; /* of this exchange */
    bool ended;              /* the member closed, or the connection broke */
    bool broken;             /* ... in an error, so that this is no proper end of anything */
    bool send_failed;
    /* proxy_secure.c */
    const struct tls_client *tls_client; /* held by the session under the socket; NULL: no TLS */
    bool alerted;                        /* it ended in an error of TLS */
    struct loop_task secured_task;
    struct tls_session *tls;
    /* proxy_carrier.h */
    struct proxy_carrier *h2; /* SHARED: what it carries */
    struct proxy_lane *lane;  /* it is a stream of such a connection, and has no socket */
    struct fr_list followers; /* of proxy_lane: wait until it can carry them */
    uint32_t follower_count;
    bool http1_only;            /* it must not become such a connection */
    enum proxy_attempt_end why; /* it ended for; OK: as connections end */
    /* send-proxy */
    uint64_t owner; /* serial of the only client connection that may use it; 0: any */
    uint32_t preface_len;
    uint8_t preface[52];
};

/* ---- clients --------------------------------------------------------------------------------- */

/* How much a client has moved while it was waited for. */
struct proxy_pace {
    int64_t from_us;   /* it is waited for since then; 0: it is not */
    int64_t waited_us; /* and was before, in this half of the window */
    uint64_t marks[2]; /* bytes moved when the half before this one began, and when this one did */
    uint32_t halves;   /* begun; counted to 2 */
};

enum proxy_client_state {
    PROXY_CLIENT_PREFACE, /* its PROXY header has not come, or not all of it */
    PROXY_CLIENT_IDLE,    /* between requests, nothing of the next one has come */
    PROXY_CLIENT_HEAD,    /* a part of a head has come */
    PROXY_CLIENT_BUSY,    /* an exchange is under way */
    PROXY_CLIENT_H2,      /* it speaks HTTP/2: see proxy_h2.h */
    PROXY_CLIENT_LINGER,  /* answered and half closed: reading what still comes, unseen */
    PROXY_CLIENT_CLOSED,
};

struct proxy_client {
    uint32_t magic;
    enum proxy_client_state state;
    struct loop_sock sock;
    struct proxy_worker *worker;
    struct proxy_exchange *exchange;
    struct fr_list link;
    struct fr_list idle_link; /* in its worker's idle list, or in none */
    struct proxy_input in;
    struct proxy_partial partial;
    struct loop_timer timer;
    struct proxy_pace reading;
    uint64_t idle_sent_bytes; /* when it was idle last */
    int64_t idle_until_us;
    uint32_t requests;
    uint32_t linger_bytes;
    bool ended; /* it has said its last word, and may still be reading */
    /* Who speaks here: the other end of the connection, or whom a PROXY header names. */
    struct loop_addr peer;
    struct tls_server *tls_next; /* to shake hands with once the PROXY header is read; or NULL */
    struct tls_session *tls;     /* NULL: without */
    char *certificate;           /* lines that tell members of the client's; NULL: it has none */
    uint64_t serial;             /* of this worker's connections, from 1 on */
    uint32_t address_len;
    char address[PROXY_ADDRESS_BYTES]; /* of it; "" when it has none */
    bool https;                        /* towards a proxy in front, as its PROXY header says */
    bool sink;                         /* nobody: see proxy_sink.c */
    bool stream;                       /* of an HTTP/2 connection: see proxy_h2.h */
    bool may_h2;                       /* it may yet turn out to speak HTTP/2 */
    struct proxy_h2 *h2;               /* it does; NULL: it does not */
    bool spoken_for_unknown;           /* ... which does not say for whom it speaks */
    bool counted;                      /* among the connections of its address */
    bool trusted;                      /* as of settings number trusted_by */
    uint32_t trusted_by;
};

/* ---- exchanges ------------------------------------------------------------------------------- */

struct proxy_exchange {
    uint32_t magic;
    struct proxy_worker *worker;
    struct proxy_client *client;
    struct fr_list free_link;

    /* the request */
    enum http_method method;
    bool http10;
    bool keep_alive;    /* towards the client, after this */
    bool client_closes; /* the client itself asked for the close */
    bool te_trailers;   /* the client takes trailers */
    bool tunnel;        /* the member said 101: bytes go both ways unread */
    bool client_ended;  /* ... and the client has sent its last */
    bool up_closed;     /* ... which the member was told */
    bool down_closed;   /* ... and the other way round */
    uint32_t upgrade_len;
    bool expecting;    /* Expect: 100-continue, and nothing of the body has come */
    bool request_done; /* decoded to its end */
    bool request_sent; /* ... and taken by the kernel */
    bool hold;         /* the first buffer of the body is kept, in case of a second try */
    bool replayable;   /* ... and the body stands whole in it, from replay_pos on */
    uint32_t replay_pos;
    enum http_framing request_framing; /* as it comes in here */
    bool length_told;                  /* ... in chunks too, behind which trailers may be */
    uint64_t request_length;
    uint64_t body_bytes_max; /* of the route; 0: no limit */
    uint64_t body_bytes;     /* that came behind the head's buffer, framing included */
    struct proxy_pace sending;
    struct http_body request_body;
    size_t up_length_at; /* in up_head: a length that HTTP/1.1 is not told; 0: there is none */
    bool up_head_sent;
    size_t up_sending_bytes;

    /* who asks, and what the request is called */
    bool trusted; /* the connection's other end */
    bool https;   /* at the client */
    uint8_t address_len, request_id_len;
    bool trace_passed, trace_made; /* the client's traceparent goes on; ours does */
    bool id_due, trace_due;        /* they are to be ours, and nobody has needed them yet */
    struct proxy_note *note;       /* NULL: nothing is written down */

    /* the member */
    struct proxy_cluster *cluster;
    bool keyed; /* balance: hash, and it has the key */
    uint64_t key;
    bool session_cookies; /* it has cookies of the name of the cluster's sessions */
    bool in_session;      /* ... and one of them is good */
    bool gives_session;   /* the response has a new cookie */
    const struct cluster_endpoint *endpoint; /* of cluster->view */
    struct proxy_pool *pool;
    struct proxy_upstream *up;
    bool reused; /* the connection had carried a request before */
    uint32_t tried_count;
    uint32_t refused_count; /* of them, members that refused the connection */
    bool forgiven; /* the try that ends found a kept connection dead, and another is made */
    bool retried;  /* after the request was sent */
    bool stale_retried;
    bool fresh_only; /* no kept connection for this try */
    bool http1_only; /* ... and none of HTTP/2 */
    int64_t sent_us;
    bool placed;               /* counts in its cluster's in_flight */
    bool queued;               /* waits for that */
    struct fr_list queue_link; /* likewise of those parked */
    int64_t queued_us, queued_for_us; /* since then; it waited so long, and goes on */
    bool parked; /* its cluster has no member */
    bool wants_page;
    size_t parked_bytes;
    int64_t asked_us;          /* it began */
    uint32_t in_flight_before; /* on its member, when this try began */
    int64_t attempt_us;        /* ... and when that was */

    /* the response */
    int status;
    enum http_framing response_framing; /* as it comes */
    enum http_framing client_framing;   /* as it goes */
    bool head_ready; /* down_head holds a final head */
    bool begun;      /* a byte of the final response went to the client */
    bool response_done;
    bool interim; /* what is being sent is a 1xx */
    unsigned interim_count;
    uint8_t orphaned_count; /* connections that ended while it waited for them */
    struct loop_buf *tail; /* the last receive buffer, taken off the upstream */
    size_t down_sending_bytes;
    void (*after)(struct proxy_exchange *x); /* of the send under way; else NULL */
    int fail_status;               /* to be answered once the 1xx under way is out; 0: none */
    const char *fail_words;
    bool grpc;           /* a gRPC call: proxy_grpc.h */
    uint8_t grpc_status; /* its outcome; 0: well, or not told */
    bool response_keep; /* the member's connection may be used again after this response */
    /* proxy_drip.c: the member's rate while nothing but the member is waited for */
    int64_t drip_from_us;  /* it is waited for since; 0: it is not */
    int64_t drip_until_us; /* ... and its silence ends the response then */
    int64_t drip_waited_us;
    uint64_t drip_bytes; /* of response_bytes, judged already */

    /* the cache */
    bool cached;       /* its route caches: it looked, and says so in Cache-Status */
    bool storing;      /* the response may be stored */
    bool unsafe;       /* success invalidates what is stored for the target */
    bool validating;   /* the member is asked with the validators of `stale` */
    bool from_cache;   /* answered from an entry */
    bool forwarded;    /* ... or not, or not without asking a member */
    bool stored;       /* ... whose response is being stored */
    bool collapsed;    /* ... that another request fetched */
    bool alone;        /* it does not wait for others, nor they for it */
    bool background;   /* fetched for the cache: has no client, and had none */
    bool refresh;      /* what answers is stale, and a new one should be fetched */
    bool relieved;     /* ... stale for the edge's own sake */
    bool laddered;     /* ... or for its cluster's: rung stale is in force */
    bool refreshed;    /* ... and is being fetched anew on its behalf */
    bool counted;      /* it is such a fetch, and one of ladder.refreshes */
    bool select_known; /* flight_id is of the variant that another response named */
    struct cache_flight_id flight_id;
    struct cache_flight *flight;       /* it leads */
    struct proxy_disk_wait *disk_wait; /* what it asked for comes from disk */
    struct proxy_disk_body *disk_body; /* ... and is sent from there; NULL: it is not */
    bool disk_asked, disk_came;
    bool near_only;          /* what is on disk cannot be had */
    bool disk_waited;        /* ... since it looked last */
    struct proxy_wait *wait; /* it waits, or streams what another one fetches */
    bool stale_on_error;     /* answered stale, because the member gave no answer, or an error */
    enum cache_forward forward;
    int member_status;      /* of the member's response, when another answer was given */
    size_t host_len;
    uint32_t cache_owner;    /* slot of the route's cluster */
    uint64_t request_serial; /* purges up to this one were before the request */
    int64_t request_wall_us;
    struct cache_filler *filler;
    int64_t stalled_us;             /* others who stream along are waited for since; 0: are not */
    bool timed; /* one of its timers was started: proxy_exchange_timer */
    bool outgrown;                  /* a fetch without a client that can be stored no more */
    struct cache_entry *entry;      /* that answers */
    bool entry_counted;             /* a reference; else our reader holds it */
    struct cache_entry *stale;      /* that may, once the member was asked */
    struct cache_entry *part;       /* the beginning, of which the rest is asked for */
    bool completes;                 /* ... and comes: both go out, rest_total bytes */
    bool rest_refused;              /* it was something else's: all of it is asked for */
    uint64_t rest_total;
    size_t part_index, part_offset; /* of the entry's body, next to send */
    uint64_t part_left;             /* of what is sent of it */

    struct proxy_file *file; /* being sent; NULL: none */

    /* Not cleared for the next request: they come back empty, and stopped. */
    struct fr_buf down_head, raw_head; /* raw: the request's own, for what comes later */
    struct fr_buf up_head;             /* as the member gets it; kept for a second try */
    struct fr_buf up_trailers, down_trailers; /* see proxy_head_trailers */
    struct loop_timer half_closed; /* runs while nothing was sent to a client that has ended */
    struct loop_timer park_timer, grpc_timer, stall; /* stall: of others who stream along */

    /* Nor these: something above tells how much of each is good. */
    struct cache_policy policy;     /* cached */
    struct http_body response_body; /* head_ready */
    struct cluster_session session; /* in_session */
    char up_chunk[HTTP_CHUNK_HEAD_BYTES], down_chunk[HTTP_CHUNK_HEAD_BYTES];
    const struct cluster_member *tried[PROXY_TRIES_MAX]; /* tried_count; the first of these */
    char upgrade[PROXY_UPGRADE_BYTES];                   /* what the member may switch to */
    char address[PROXY_ADDRESS_BYTES];
    char request_id[HTTP_REQUEST_ID_BYTES_MAX];
    char traceparent[HTTP_TRACEPARENT_BYTES + 1]; /* the client's first bytes, or ours */
    char session_text[CLUSTER_STICKY_TEXT_BYTES]; /* of the new cookie */
    char host[256]; /* authority of the request, in lower case, and what is claimed behind it */
    char key_headers[256]; /* of the policy */
};

/* ---- workers --------------------------------------------------------------------------------- */

struct proxy_listener {
    struct fr_list link;
    struct loop_listener listener;
    struct proxy_worker *worker;
    struct proxy_manner manner; /* one reference */
    struct loop_timer leave_timer; /* runs while the kernel may have silent connections of it */
};

struct proxy_free_list {
    struct fr_list items;
    uint32_t count;
};

/* Of the request whose head is being read or written, no longer. */
struct proxy_trust {
    struct fr_view host; /* the host that the client asked for, as a trusted proxy says */
    size_t chain_len;    /* "client, proxy, peer": all that is believed */
    char chain[(PROXY_HOPS_MAX + 1) * (PROXY_ADDRESS_BYTES + 2)];
    struct fr_view kept[PROXY_HOPS_MAX]; /* elements of Forwarded that are believed */
    size_t kept_count;
};

struct proxy_worker {
    /* set once */
    struct proxy *proxy;
    uint32_t index;
    struct loop *loop;
    pthread_t thread;
    struct http_limits http_limits;
    struct config_limits limits;
    struct cache_store *cache;
    struct disk *disk;                 /* or NULL */
    struct acme_answers *answers;      /* NULL: none */
    struct cache_reader *cache_reader; /* NULL without a cache */
    struct loop_msg cache_msg;         /* memory waits for the reader's turn */
    struct fr_view via;
    bool running; /* its thread was started */
    struct loop_msg stop_msg;

    /* owner */
    struct cluster_snapshot *snapshot;
    struct proxy_cluster **clusters; /* by view slot */
    size_t cluster_cap;
    struct proxy_pool **pools; /* by member slot */
    struct cluster_judgement *judgements;
    size_t slot_cap;
    struct fr_rand rand;
    struct fr_list clients;
    struct fr_list sinks;        /* clients that are none: proxy_sink.c */
    struct fr_list idle_clients; /* kept between two requests, longest idle first */
    uint32_t client_count;
    uint32_t socket_count; /* not yet given back by the loop */
    struct fr_list listeners;
    bool paused; /* listeners, at the limit of connections */
    bool draining;
    bool stopping;
    struct loop_timer drain_timer;
    struct proxy_drain_leg *drain;
    struct fr_list parking; /* of proxy_cluster_state: clusters for whose members some wait */
    struct proxy_free_list free_clients, free_exchanges, free_upstreams, free_notes;
    struct proxy_free_list free_streams, free_rooms; /* of HTTP/2 */
    struct http2_split *split;                       /* inside one call */
    struct proxy_settings settings;
    uint32_t settings_count;
    uint64_t client_serial;
    struct proxy_ring *ring;           /* NULL: nothing is written down */
    struct proxy_addresses *addresses; /* NULL: no limit; asked by all workers */
    int64_t date_s;
    char date[HTTP_DATE_BYTES];
    struct http_head request_head;  /* of the request being begun, this turn only */
    struct http_head response_head; /* likewise */
    struct http_head trailer_head;  /* inside one call */
    struct proxy_trust trust;
    char cache_status[160]; /* inside one call */

    /* shared, atomic: written by the owner */
    struct proxy_counters counters;
    uint64_t generation;
    struct proxy_cluster_state *cluster_blocks[PROXY_CLUSTER_BLOCKS];
};

#define PROXY_COUNT(worker, name) cluster_count_add(&(worker)->counters.name, 1)

/* proxy_input.c */
void proxy_input_push(struct proxy_input *in, struct loop_buf *buf);
static inline bool
proxy_input_full(const struct proxy_input *in)
{
    return in->buf[1] != NULL;
}
struct fr_view proxy_input_view(const struct proxy_input *in); /* unread bytes of buf[0] */
void proxy_input_shift(struct proxy_input *in); /* gives buf[0] back if it is read to its end */
void proxy_input_clear(struct proxy_input *in);
/* Finds a head at the front of `in`, or of the partial that `in` continues. DONE: *out's views live
 * until the partial or the buffer is let go, and `in` stands behind the head. MORE: every byte was
 * taken over into the partial. */
typedef enum http_step (*proxy_parse_fn)(struct fr_view in, const struct http_limits *limits,
                                         size_t *scanned, struct http_head *out,
                                         struct http_err *out_err);
enum http_step proxy_input_head(struct proxy_input *in, struct proxy_partial *partial,
                                proxy_parse_fn parse, const struct http_limits *limits,
                                struct http_head *out, struct fr_view *out_raw,
                                struct http_err *out_err);
void proxy_partial_clear(struct proxy_partial *partial); /* once the head's views are done with */
/* Decodes runs of payload from buf[0] into iov[*count..max). *out_bytes: their sum. Trailers are
 * gathered, if there are any, behind PROXY_TRAILERS_LEAD. */
#define PROXY_TRAILERS_LEAD "\r\n0\r\n"
struct proxy_runs {
    struct iovec *iov;
    int count, max;
    size_t bytes;
    struct fr_buf *trailers; /* NULL: dropped */
};
enum http_step proxy_input_runs(struct proxy_input *in, struct http_body *body,
                                struct proxy_runs *runs);

/* proxy_worker.c */
void *proxy_worker_main(void *ctx);
struct proxy_worker *proxy_worker_new(struct proxy *proxy, uint32_t index);
void proxy_worker_wake(void *ctx); /* memory waits until this one has looked up */
void proxy_worker_free(struct proxy_worker **worker);
void proxy_worker_sockets(struct proxy_worker *worker, int change);
void proxy_worker_stop(void *ctx); /* closes everything, then ends the loop */
void proxy_worker_close_idle(struct proxy_worker *worker);
struct fr_view proxy_worker_date(struct proxy_worker *worker);
void *proxy_free_list_take(struct proxy_free_list *list, size_t link_offset);
bool proxy_free_list_give(struct proxy_free_list *list, struct fr_list *link);
void proxy_worker_listen(struct proxy_worker *worker, int fd, const struct proxy_manner *manner);
void proxy_worker_listen_change(struct proxy_worker *worker, const struct loop_addr *bound,
                                const struct proxy_manner *manner);
void proxy_worker_unlisten(struct proxy_worker *worker, const struct loop_addr *bound);
void proxy_worker_unlisten_all(struct proxy_worker *worker, bool at_once); /* or: see proxy.h */
void proxy_worker_pause(struct proxy_worker *worker); /* at the limit of connections, or below */
/* Closes the client that has been idle longest; false: there is none to close. */
FR_COLD bool proxy_worker_reclaim(struct proxy_worker *worker);

/* proxy_adopt.c */
void proxy_adopt(struct proxy_worker *worker, struct cluster_snapshot *take_snapshot);
void proxy_adopt_none(struct proxy_worker *worker); /* lets go of everything; at the end */
struct proxy_cluster *proxy_cluster_of(struct proxy_worker *worker,
                                       const struct cluster_view *view);
/* The current version of the cluster that `cluster` is a version of; NULL when it is gone. */
struct proxy_cluster *proxy_cluster_current(struct proxy_worker *worker,
                                            const struct proxy_cluster *cluster);
void proxy_cluster_use(struct proxy_cluster *cluster);
void proxy_cluster_unuse(struct proxy_cluster **cluster);
bool proxy_budget_allows(struct proxy_cluster *cluster, int64_t now_us);
void proxy_budget_request(struct proxy_cluster *cluster, int64_t now_us);
void proxy_pool_settle(struct proxy_pool *pool); /* frees it and reports, if nothing is left */

/* proxy_client.c */
void proxy_client_accept(void *ctx, int fd, const struct loop_addr *peer);
void proxy_client_peer(struct proxy_client *client, const struct loop_addr *peer);
void proxy_client_want(struct proxy_client *client); /* posts a receive if there is room */
void proxy_client_timer(struct proxy_client *client, int64_t delay_us);
void proxy_client_next(struct proxy_client *client); /* an exchange ended well */
void proxy_client_close(struct proxy_client *client);
FR_COLD void proxy_client_abort(struct proxy_client *client);
FR_COLD void proxy_client_linger(struct proxy_client *client);
/* A send towards it is under way, whatever it is: a socket, a stream, nobody. */
bool proxy_client_sending(const struct proxy_client *client);

/* proxy_exchange.c */
void proxy_exchange_await(struct proxy_worker *worker); /* bytes came: one may begin */
/* A head was parsed into worker->request_head; raw is its bytes. */
void proxy_exchange_begin(struct proxy_client *client, struct fr_view raw);
/* What came is no request, or came too slowly: answers and closes. */
FR_COLD void proxy_exchange_refuse(struct proxy_client *client, int status, const char *words);
void proxy_exchange_half_closed(struct proxy_exchange *x); /* its request is in, no more follows */
void proxy_exchange_input(struct proxy_exchange *x, size_t bytes); /* more came from the client */
void proxy_exchange_reply(struct proxy_exchange *x); /* the first of the three ends */
FR_COLD void proxy_exchange_fail(struct proxy_exchange *x, int status, const char *words);
FR_COLD void proxy_exchange_drop(struct proxy_exchange *x);
/* Sends to the client; `after` runs when the kernel took all of it, unless the client is gone. */
typedef void (*proxy_after_fn)(struct proxy_exchange *x);
void proxy_exchange_send(struct proxy_exchange *x, const struct iovec *iov, int count,
                         proxy_after_fn after);
/* Likewise, a piece of x->file behind the parts. */
void proxy_exchange_send_file(struct proxy_exchange *x, const struct iovec *iov, int count,
                              const struct loop_file_piece *piece, proxy_after_fn after);
void proxy_exchange_sent(struct proxy_exchange *x); /* its send is over */
/* Starts one of its timers, which stops with it at the latest. */
void proxy_exchange_timer(struct proxy_exchange *x, struct loop_timer *timer, int64_t delay_us,
                          loop_fn fn);
void proxy_exchange_again(struct proxy_exchange *x); /* from the route on, by the head kept */
/* Another one for the same request, without a client. NULL: no memory. */
struct proxy_exchange *proxy_exchange_new_background(struct proxy_exchange *x);
FR_COLD void proxy_exchange_out_of_memory(struct proxy_exchange *x);
/* True: the request's body, told or counted, is too long for its route, and the exchange failed. */
bool proxy_exchange_body_too_long(struct proxy_exchange *x, uint64_t bytes);

/* proxy_address.c */
struct proxy_addresses *proxy_addresses_new(const struct fr_hash_key *key);
/* Counts the client's connection; false: its address has too many, and it is to be closed. */
bool proxy_address_enter(struct proxy_client *client);
void proxy_address_leave(struct proxy_client *client);

/* proxy_pace.c */
/* The client is waited for from now on; it did what it was waited for. Either may be so already. */
void proxy_pace_wait(struct proxy_client *client, struct proxy_pace *pace);
void proxy_pace_moved(const struct proxy_client *client, struct proxy_pace *pace);
/* The client's timer fired, in an exchange or between two. The exchange or client may be gone. */
void proxy_pace_judge(struct proxy_exchange *x);
void proxy_pace_idle_judge(struct proxy_client *client);
void proxy_pace_linger_judge(struct proxy_client *client);
/* Much of the last answer still lies in the kernel. */
bool proxy_pace_unread(const struct proxy_client *client);
void proxy_pace_idle(struct proxy_client *client); /* starts the timer of an idle client */

/* proxy_local.c */
struct proxy_answer {
    int status;
    const char *words;
    int retry_after_s; /* 0: none */
    const char *allow; /* NULL: none; answers without a body when the status is 200 */
};
void proxy_local_answer(struct proxy_exchange *x, const struct proxy_answer *answer);
/* What every answer made here begins with: decides whether the connection stays, skips the rest of
 * the request, counts. The head is to be printed after it. */
void proxy_local_prepare(struct proxy_exchange *x, int status);

/* proxy_head.c */
enum fr_err proxy_head_request(struct proxy_exchange *x, const struct http_head *request,
                               const struct cluster_member *member);
/* What x->up_head is to a member that speaks HTTP/1.1, in at most two parts; returns how many. */
int proxy_head_request_parts(const struct proxy_exchange *x, struct iovec *iov);
enum fr_err proxy_head_response(struct proxy_exchange *x, const struct http_head *response);
enum fr_err proxy_head_1xx(struct proxy_exchange *x, const struct http_head *response);
/* A gathered trailer section becomes the end of a chunked body: the lead, the fields that may go on
 * (none unless `pass`), the empty line. False: it must not go anywhere. */
bool proxy_head_trailers(struct proxy_worker *worker, struct fr_buf *trailers, bool pass);
/* The framing of a chunk around the runs that iov[0..count) holds: its head goes to iov[head_at],
 * written into `chunk_head` (HTTP_CHUNK_HEAD_BYTES), its end behind the runs; after the `last` one
 * the trailers too. Without bytes only the end is sent. Returns the count then. */
int proxy_head_chunk(struct iovec *iov, int head_at, int count, size_t bytes, char *chunk_head,
                     const struct fr_buf *trailers, bool last);
/* Marks what of the member's response we say ourselves. */
void proxy_head_ours(const struct proxy_exchange *x, struct http_head *response);
/* X-Request-Id towards the client, if it is to be told. */
enum fr_err proxy_head_put_id(const struct proxy_exchange *x, struct fr_buf *out);
/* Whether the client's connection ends or stays, as a field where it must be said. */
struct fr_view proxy_head_connection(const struct proxy_exchange *x);

/* proxy_key.c */
void proxy_key_take(struct proxy_exchange *x, const struct http_head *request,
                    const struct config_cluster *config);

/* proxy_sticky.c */
void proxy_sticky_take(struct proxy_exchange *x, const struct http_head *request);
/* The member of its session, if that can take it; NULL: balance. */
const struct cluster_endpoint *proxy_sticky_choose(struct proxy_exchange *x,
                                                   const struct cluster_pick *pick);
/* Whether Cookie fields are written by _put_cookie: the field without our cookie, or nothing.
 * Takes no more room than the field itself. Returns where it ends. */
bool proxy_sticky_hides(const struct proxy_exchange *x);
char *proxy_sticky_put_cookie(const struct proxy_exchange *x, const struct http_field *field,
                              char *at);
/* True: the response needs the cookie x->session_text. */
bool proxy_sticky_due(struct proxy_exchange *x);

/* proxy.c: requests under way in a cluster, of all workers; any worker may ask. */
uint64_t proxy_places_taken(const struct proxy *proxy, uint32_t cluster_slot);

/* proxy_queue.c */
/* True: the exchange has a place in its cluster and goes on. False: it waits, proxy_forward_resume
 * is called once it has one; or it was refused, and may be gone. */
bool proxy_queue_enter(struct proxy_exchange *x);
void proxy_queue_leave(struct proxy_exchange *x); /* gives its place, or that in the line, back */

/* proxy_forward.c */
/* Picks a member of view and starts; the request's head is serialised now and kept. */
void proxy_forward(struct proxy_exchange *x, const struct http_head *request,
                   const struct cluster_view *view);
void proxy_forward_resume(struct proxy_exchange *x); /* it has waited for a place and has one */
void proxy_forward_connected(struct proxy_exchange *x, int status);
void proxy_forward_pump(struct proxy_exchange *x); /* request bytes towards the member */
/* Ends the try on the member. OK alone may keep the connection. */
void proxy_forward_end(struct proxy_exchange *x, enum proxy_attempt_end end);
void proxy_forward_timed(struct proxy_exchange *x, int64_t took_us); /* against the goal */
/* ... and tries again or answers with the error. */
FR_COLD void proxy_forward_failed(struct proxy_exchange *x, enum proxy_attempt_end end);
/* ... and answers with the error, or cuts off what was begun. */
FR_COLD void proxy_forward_broken(struct proxy_exchange *x, enum proxy_attempt_end end);
void proxy_forward_timeout(struct proxy_exchange *x);  /* of the member */
void proxy_forward_withdraw(struct proxy_exchange *x); /* the member's drain deadline passed */

/* proxy_relay.c */
void proxy_relay(struct proxy_exchange *x); /* response bytes towards the client */

/* proxy_purge.c */
/* A PURGE that is ours to answer. True: answered. */
bool proxy_purge(struct proxy_exchange *x, const struct http_head *request);

/* proxy_tunnel.c */
/* What of the request's Upgrade may go on to a member. */
void proxy_tunnel_offer(struct proxy_exchange *x, const struct http_head *request);
/* A 101 came. False: nobody asked for it. */
bool proxy_tunnel_begin(struct proxy_exchange *x, const struct http_head *response);
void proxy_tunnel_up(struct proxy_exchange *x);   /* the client has bytes, or has ended */
void proxy_tunnel_down(struct proxy_exchange *x); /* the member */
void proxy_tunnel_timeout(struct proxy_exchange *x);

/* proxy_fault.c */
/* What the client is told of it; status 0 for what is no fault. */
struct proxy_fault_answer {
    int status;
    const char *words;
};
struct proxy_fault_answer proxy_fault_answer(enum proxy_attempt_end end);
/* Counts it, and has it logged, not too often; nothing for what is no fault. */
void proxy_fault(struct proxy_pool *pool, enum proxy_attempt_end end);

/* proxy_probe.c */
/* The member is left out, gone: because it took no connection. Tries it until it is back or is not
 * left out any more. */
void proxy_probe_start(struct proxy_pool *pool, int64_t timeout_us, bool gone);
void proxy_probe_stop(struct proxy_pool *pool);

/* proxy_upstream.c */
/* An idle connection that may carry x, or NULL. */
struct proxy_upstream *proxy_upstream_reuse(struct proxy_pool *pool,
                                            const struct proxy_exchange *x);
/* Starts connecting for x; NULL when memory is out or the kernel refuses at once. */
struct proxy_upstream *proxy_upstream_connect(struct proxy_pool *pool, struct proxy_exchange *x,
                                              int64_t timeout_us);
void proxy_upstream_want(struct proxy_upstream *up);
void proxy_upstream_timer(struct proxy_upstream *up, int64_t delay_us);
void proxy_upstream_timer_stop(struct proxy_upstream *up);
void proxy_upstream_keep(struct proxy_upstream *up, const struct config_cluster *config);
void proxy_upstream_close(struct proxy_upstream *up);
void proxy_pool_close_idle(struct proxy_pool *pool);

/* proxy_settings.c */
void proxy_settings_forget(struct proxy_worker *worker);

/* proxy_trust.c */
void proxy_trust_peer(struct proxy_client *client);
/* Fills x->address, x->https, x->trusted and worker->trust. */
void proxy_trust_resolve(struct proxy_exchange *x, const struct http_head *request);
/* Takes x->request_id and x->traceparent from the request where they are believed. */
void proxy_trust_name(struct proxy_exchange *x, const struct http_head *request);
/* Makes what of them is still due. */
void proxy_trust_make_names(struct proxy_exchange *x);

/* proxy_tls.c. False: no memory for it; the client is gone. */
bool proxy_tls_begin(struct proxy_client *client, struct tls_server *server);

/* proxy_preface.c */
bool proxy_preface_allowed(const struct proxy_worker *worker, const struct loop_addr *peer);
/* True: it is there, and the client is idle. False: more is waited for, or the client is closed. */
bool proxy_preface_read(struct proxy_client *client);
/* Whom a connection to a member is for: 0 for anybody. */
uint64_t proxy_preface_owner(const struct proxy_exchange *x);
void proxy_preface_write(const struct proxy_exchange *x, struct proxy_upstream *up);

/* proxy_log.c */
/* Notes of an exchange; they do nothing where nothing is written down. */
void proxy_note_begin(struct proxy_exchange *x, const struct http_head *request);
void proxy_note_refused(struct proxy_exchange *x, struct fr_view raw);
void proxy_note_route(struct proxy_exchange *x, const char *name);
void proxy_note_member(struct proxy_exchange *x, const struct cluster_member *member);
void proxy_note_cache(struct proxy_exchange *x, enum proxy_log_cache cache);
void proxy_note_head(struct proxy_exchange *x, size_t bytes, bool final); /* about to be sent */
void proxy_note_answer(struct proxy_exchange *x); /* ... with its body behind it in down_head */
void proxy_note_sent(struct proxy_exchange *x, size_t bytes);
void proxy_note_end(struct proxy_exchange *x, enum proxy_log_end end);
void proxy_notes_free(struct proxy_worker *worker);

/* proxy_drain.c */
struct proxy_drain_leg;
void proxy_drain_check(struct proxy_worker *worker); /* a client went: was it the last? */
struct proxy_watch_leg;
void proxy_watch_settled(struct proxy_pool *pool); /* answers those who wait for it */

/* proxy.c */
void proxy_tell_fault(struct proxy *proxy, const struct proxy_fault_report *report);
struct loop *proxy_control(struct proxy *proxy);
struct proxy_worker *proxy_worker_at(struct proxy *proxy, uint32_t index);
struct proxy_ring *proxy_log_ring(struct proxy *proxy, uint32_t index,
                                  const struct proxy_settings *settings);

#endif
