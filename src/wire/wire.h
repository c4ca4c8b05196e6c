/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire.h - the XML stream's stanzas as values, their encoder, and a push decoder.
 *
 * May touch:  base, Expat. Never: sockets, clocks, files, logs.
 * Trusts:     nothing. Every decoder error is an enum wire_error and words; none is an assertion.
 * Memory:     a decoded stanza and all it points at live in the decoder's arena until the event
 *             callback returns.
 * Follows:    schema/freshet-stream.rng; XML 1.0; DESIGN section 7.
 *
 * The stream:   <stream xmlns="urn:freshet:stream:1" version="1" role="edge" id="edge-1" epoch="3">
 *               stanzas …  </stream>          each side opens one, and closes it to say goodbye.
 * Stanzas:      report, reconfigure, result, alive (keep-alive, empty), error (why it ends).
 * Counters:     cumulative since the sender's start; its `boot` id tells restarts apart.
 */
#ifndef WIRE_H
#define WIRE_H

#include "base/fr_buf.h"
#include "base/fr_err.h"
#include "base/fr_view.h"

#include <math.h>

#define WIRE_NAMESPACE "urn:freshet:stream:1"
#define WIRE_VERSION 1

enum wire_role { WIRE_ROLE_EDGE, WIRE_ROLE_MANAGER, WIRE_ROLE_AGENT, WIRE_ROLE_ALLOCATOR };
const char *wire_role_name(enum wire_role role);
bool wire_role_parse(struct fr_view text, enum wire_role *out);

struct wire_open {
    enum wire_role role;
    struct fr_view id;
    uint64_t epoch;      /* manager: its epoch, > 0; others: the newest epoch they obeyed, or 0 */
    struct fr_view boot; /* distinguishes two lives of one process; may be empty */
};

/* A server in a report, a cluster or a result. Absent numbers: NaN for doubles, WIRE_NONE for
 * integers; absent text: len 0. */
#define WIRE_NONE UINT64_MAX
struct wire_server {
    struct fr_view id;
    struct fr_view address;
    struct fr_view role;  /* "edge", "allocator", "agent"; empty for members */
    struct fr_view state; /* starting, ready, draining, unhealthy, ejected */
    struct fr_view pool;  /* where it came from; empty for those of the configuration */
    uint64_t weight;
    uint64_t weight_normal; /* as configuration or operator said; the manager goes back to it */
    double utilization; /* 0..1 and above */
    double cpu;         /* share of the host or process, 0..1 */
    uint64_t requests, errors, connect_failures;
    uint64_t in_flight, connections;
    uint64_t bytes_in, bytes_out;
    double p50_ms, p90_ms, p99_ms;
    uint64_t memory_bytes; /* resident */
    uint64_t cache_hits, cache_misses, cache_revalidations, cache_collapses, cache_bytes;
    uint64_t origin_requests; /* what members had to do, the cache's own requests included */
    uint64_t sessions; /* sticky ones that are on it, estimated */
    uint64_t relief; /* an edge's relief step in force, 0 = none */
};
struct wire_server wire_server_none(void); /* all absent */

/* Limits that both ends keep: names, ids and addresses 128 bytes without control characters (the
 * encoder refuses others with FR_ERR_SYNTAX); reasons and words 1024 bytes (the encoder cuts longer
 * ones and replaces what XML cannot carry); one setting 4096 bytes, WIRE_SETTINGS_MAX of them. */
#define WIRE_SETTINGS_MAX 4096

struct wire_worker {
    uint64_t index;
    double cpu;
};

struct wire_cluster {
    struct fr_view name;
    bool responsible; /* the sender allocates for it */
    uint64_t requests, waiting;
    uint64_t generation; /* of the membership shown */
    struct wire_server *servers;
    size_t server_count;
    /* Purged from the sender's cache since its last report, 0 = nothing: objects, and the requests
     * a second that they answered, which its servers are about to get. */
    uint64_t purged;
    double purged_rate;
    struct fr_view rung; /* of its ladder, the highest in force; empty: none */
    /* Ever, 0 = none: requests that rung stale answered, and fetches made of them meanwhile. */
    uint64_t stale, refreshes;
    /* A latency goal, 0 = none; requests timed since there was one, and those that took longer. */
    uint64_t goal_us, timed, late;
};

struct wire_cluster wire_cluster_none(void); /* numbers absent */

struct wire_pool {
    struct fr_view name;
    uint64_t available, allocated, cost;
};

struct wire_report {
    uint64_t seq;  /* 0: absent */
    int64_t at_us; /* wall clock of the sender, to the millisecond; 0: absent */
    bool crossing; /* sent at once because a level was crossed */
    bool full;     /* every cluster is shown; a partial one shows only those that matter now */
    struct wire_server self; /* <server> directly below <report>; id empty if there is none */
    bool has_self;
    struct wire_worker *workers; /* inside self */
    size_t worker_count;
    struct wire_cluster *clusters;
    size_t cluster_count;
    struct wire_pool *pools;
    size_t pool_count;
};

/* A tree of settings: what a <route>, <cluster> or <pool> element says. Attributes are scalars of a
 * mapping, child elements its nested values; <item> children make a sequence. Text stands only in
 * elements without child elements, and is trimmed. For example
 *     <route name="api" cluster="api"><match host="example.com"/></route>
 * is the tree  route { cluster (attribute), match { host (attribute) } }  below name "api". */
struct wire_setting {
    struct fr_view name;  /* letters, digits, "_", "-", "."; begins with a letter or "_" */
    struct fr_view value; /* of an attribute or a text-only element */
    bool is_attribute;
    struct wire_setting *first_child, *next;
};

enum wire_operation {
    WIRE_ALLOCATE,       /* count, optional server (a given one of the pool), optional pool */
    WIRE_DEALLOCATE,     /* server, or empty: the least loaded; count */
    WIRE_WEIGHT,         /* server, weight */
    WIRE_MOVE,           /* server, to (cluster) */
    WIRE_JOIN,           /* follower edges: server, address, weight, pool: a member that exists */
    WIRE_LEAVE,          /* follower edges: server: done once 0 in flight and 0 idle there */
    WIRE_RELEASE,        /* responsible server: every other edge confirmed; server may be stopped */
    WIRE_LEVELS,         /* report at once when a member crosses: upper, lower; followers: how many
                            other edges serve the cluster, so that a deallocation waits for their
                            release */
    WIRE_RELIEVE,        /* an edge's own relief: step (0 = none) */
    WIRE_PUT_ROUTE,      /* settings (add or replace by name) */
    WIRE_REMOVE_ROUTE,   /* name */
    WIRE_PUT_CLUSTER,    /* name, settings */
    WIRE_REMOVE_CLUSTER, /* name */
    WIRE_PUT_POOL,       /* name, settings */
    WIRE_REMOVE_POOL,    /* name */
    WIRE_PURGE,          /* what ("url", "prefix", "tag", "all"), text, soft */
    WIRE_OPERATION_COUNT
};
const char *wire_operation_name(enum wire_operation operation); /* the element's name */

struct wire_request_id {
    uint64_t epoch, sequence; /* "3:81" */
};
bool wire_request_id_parse(struct fr_view text, struct wire_request_id *out);
#define WIRE_REQUEST_ID_BYTES 48
void wire_request_id_format(struct wire_request_id id, char out[WIRE_REQUEST_ID_BYTES]);

/* Start from wire_reconfigure_none. Decoding fills only what the operation has; what it requires is
 * there. operation == WIRE_OPERATION_COUNT: one that this version does not know; answer it with a
 * refusal (unsupported). Element by element the grammar is schema/freshet-stream.rnc. */
struct wire_reconfigure {
    struct wire_request_id id;
    struct fr_view cluster; /* attribute of <reconfigure>; empty where an operation needs none */
    struct fr_view reason;
    enum wire_operation operation;
    uint64_t count; /* at least 1 */
    struct fr_view server, address, pool, to, name;
    uint64_t weight;
    double upper, lower;
    uint64_t step;
    uint64_t followers;
    uint64_t goal_us; /* 0: none */
    struct fr_view what, text; /* of a purge */
    bool soft;
    struct wire_setting *settings; /* puts: the <route>, <cluster> or <pool> itself; its attribute
                                      `name` is only in name above. Encoding: NULL says nothing */
};
struct wire_reconfigure wire_reconfigure_none(void);

enum wire_status { WIRE_DONE, WIRE_REFUSED };
struct wire_result {
    struct wire_request_id id;
    enum wire_status status;
    struct fr_view code; /* refused: an enum fr_err's name in lower case with dashes: pool-empty */
    struct fr_view reason;       /* refused: in words */
    uint64_t generation;         /* of the ledger; WIRE_NONE: absent */
    struct wire_server *servers; /* those allocated or deallocated */
    size_t server_count;
    uint64_t purged; /* objects, bytes, and requests a second that they answered */
    uint64_t purged_bytes;
    double purged_rate;
};

/* ---- encoding: each appends one whole element, well-formed and valid by the schema ----------
 * On failure nothing was appended. FR_ERR_SYNTAX: a name that is empty, too long or has control
 * characters.  FR_ERR_RANGE: a number that the schema excludes (doubles that are negative or no
 * number are left out instead, those above the maximum become it).  FR_ERR_FULL, FR_ERR_NOMEM. */

FR_MUST_USE enum fr_err wire_put_open(struct fr_buf *out, const struct wire_open *open);
FR_MUST_USE enum fr_err wire_put_report(struct fr_buf *out, const struct wire_report *report);
/* The same as a document of its own (with the namespace), for POST /report. */
FR_MUST_USE enum fr_err wire_put_report_document(struct fr_buf *out,
                                                 const struct wire_report *report);
FR_MUST_USE enum fr_err wire_put_reconfigure(struct fr_buf *out,
                                             const struct wire_reconfigure *request);
FR_MUST_USE enum fr_err wire_put_result(struct fr_buf *out, const struct wire_result *result);
FR_MUST_USE enum fr_err wire_put_alive(struct fr_buf *out);
FR_MUST_USE enum fr_err wire_put_error(struct fr_buf *out, const char *code, const char *words);
FR_MUST_USE enum fr_err wire_put_close(struct fr_buf *out); /* </stream> */

/* ---- decoding ------------------------------------------------------------------------------- */

struct wire_limits {
    size_t stanza_bytes; /* default 1 MiB */
    size_t depth;        /* default 16 */
    size_t attributes;   /* of one element; default 64 */
    size_t servers;      /* in one stanza, and workers, clusters, pools; default 10000 */
};
extern const struct wire_limits wire_limits_default;
#define WIRE_TAG_BYTES 65536       /* one tag or comment; Expat holds it until it is whole */
#define WIRE_STRANGE_NAMES_MAX 512 /* different names in one stream that are not known here */
#define WIRE_PREFIXES_MAX 16       /* different namespace prefixes in one stream */

enum wire_event_kind {
    WIRE_EVENT_OPEN,
    WIRE_EVENT_REPORT,
    WIRE_EVENT_RECONFIGURE,
    WIRE_EVENT_RESULT,
    WIRE_EVENT_ALIVE,
    WIRE_EVENT_ERROR, /* the peer's parting words */
    WIRE_EVENT_CLOSE, /* </stream> */
};
struct wire_peer_error {
    struct fr_view code, words;
};
struct wire_event {
    enum wire_event_kind kind;
    union {
        const struct wire_open *open;
        const struct wire_report *report;
        const struct wire_reconfigure *reconfigure;
        const struct wire_result *result;
        struct wire_peer_error error;
    } as;
};
/* Returns false to stop the decoder at once (wire_decoder_feed then gives WIRE_STOPPED). */
typedef bool (*wire_event_fn)(void *ctx, const struct wire_event *event);

enum wire_error {
    WIRE_OK,
    WIRE_STOPPED, /* by the callback */
    WIRE_NOT_WELL_FORMED,
    WIRE_DOCTYPE,       /* document type declaration, entity declaration or undeclared entity */
    WIRE_INSTRUCTION,   /* processing instruction (the XML declaration alone is allowed) */
    WIRE_NAMESPACE_BAD, /* root is not stream (or report) of our namespace */
    WIRE_VERSION_BAD,
    WIRE_TOO_DEEP,
    WIRE_TOO_LARGE,
    WIRE_TOO_MANY, /* attributes or servers */
    WIRE_INVALID,  /* a required attribute is missing, a value is not what it must be */
    WIRE_NO_MEMORY,
};
const char *wire_error_code(enum wire_error error); /* "too-deep", as in <error code="…"> */

enum wire_document { WIRE_STREAM, WIRE_REPORT_DOCUMENT };

struct wire_decoder;
/* limits may be NULL: the defaults. */
FR_MUST_USE enum fr_err wire_decoder_new(enum wire_document document,
                                         const struct wire_limits *limits, wire_event_fn fn,
                                         void *ctx, struct wire_decoder **out);
void wire_decoder_free(struct wire_decoder **decoder);
/* After anything but WIRE_OK the decoder takes no more and says the same again. Neither feed nor
 * free may be called from inside the event callback. */
enum wire_error wire_decoder_feed(struct wire_decoder *decoder, struct fr_view bytes);
/* The bytes ended here. A WIRE_REPORT_DOCUMENT's report comes only now, so that what follows it
 * wrongly can still spoil it. */
enum wire_error wire_decoder_finish(struct wire_decoder *decoder);
/* Words with line and column for the last error; valid until free. */
const char *wire_decoder_words(const struct wire_decoder *decoder);
uint64_t wire_decoder_stanzas(const struct wire_decoder *decoder); /* counted so far */

#endif
