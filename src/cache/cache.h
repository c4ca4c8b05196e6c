/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache.h - RFC 9111: which responses may be stored and reused (rules), and the shelf they stand on
 * (store).
 *
 * May touch:  base, http. Never: sockets, clocks, files, logs.
 * Threads:    the store is shared by all workers; an entry is immutable once complete and lives
 *             until its last reader lets go.
 * Memory:     memory_bytes in all, heads, bodies, index and slack counted. When full: evict
 *             (SIEVE); if that is not enough, answer without storing.
 * Follows:    RFC 9111 sections 3, 4, 5; Zhang et al., "SIEVE is Simpler than LRU" (NSDI 2024).
 */
#ifndef CACHE_H
#define CACHE_H

#include "base/fr_err.h"
#include "base/fr_hash.h"
#include "base/fr_list.h"
#include "http/http.h"

struct cache_store;
struct cache_entry;  /* complete: held by a reader, or a counted reference */
struct cache_reader; /* one worker's way in */
struct cache_filler; /* one worker's, while a response comes in */
struct cache_flight; /* one fetch for many: counted reference */

#define CACHE_MEMORY_BYTES_MIN (256 * 1024) /* less than this is FR_ERR_RANGE */
#define CACHE_OWNERS_MAX 32768
#define CACHE_PURGES_MAX 64 /* not swept yet; then purges by prefix are refused */

struct cache_disk;
struct cache_options {
    uint64_t memory_bytes;
    uint64_t object_bytes_max;
    struct cache_disk *disk; /* borrowed, outlives the store; its memory is of memory_bytes. NULL:
                                none */
};
struct cache_counters {
    /* bytes are those of tables and of pages in use, in all: index + head + body + slack. With free
     * they are the budget, less a rest of a page. */
    uint64_t bytes, index_bytes, head_bytes, body_bytes, slack_bytes, free_bytes;
    uint64_t metadata_bytes; /* a part of these: what objects take besides key, head and body */
    uint64_t waiting;        /* evicted, and not free until readers say so */
    uint64_t entries, stored, evicted, refused_full, refused_large, refused_tags, refused_purged,
        refused_once;
};

FR_MUST_USE enum fr_err cache_store_new(const struct cache_options *options,
                                        struct cache_store **out);
void cache_store_free(struct cache_store **store); /* after every entry was let go */
void cache_store_counters(const struct cache_store *store, struct cache_counters *out);
/* Has what is stale for good leave first, when memory is short: looks at so many buckets of the
 * index, round and round. One thread, always the same. */
void cache_store_age(struct cache_store *store, size_t buckets, int64_t now_us);

/* The clock by which everything here tells how old it is, from that of the day and one that nobody
 * sets. Where the clock of the day is set back it runs on: nothing becomes younger by that. Any
 * thread. */
int64_t cache_clock_us(struct cache_store *store, int64_t wall_us, int64_t steady_us);

/* Look-ups by a reader take no lock and write nothing that other readers touch. What they find is
 * the reader's until it lets go; a reader and all it holds are one thread's.
 * wake (may be NULL) is called on any thread, at most once before the next cache_reader_turn, which
 * it is to bring about soon, on the reader's thread: memory waits for it. */
typedef void (*cache_wake_fn)(void *ctx);
FR_MUST_USE enum fr_err cache_reader_new(struct cache_store *store, cache_wake_fn wake, void *ctx,
                                         struct cache_reader **out);
void cache_reader_turn(struct cache_reader *reader);
void cache_reader_free(struct cache_reader **reader); /* it holds nothing any more */

/* What a route changes of the rules. */
#define CACHE_UNSET INT64_C(-1)
#define CACHE_NAME "freshet" /* in Cache-Status and as the target of Surrogate-Control */
enum cache_set_cookie {
    CACHE_SET_COOKIE_EXPLICIT, /* stored where the response itself says how long, or public */
    CACHE_SET_COOKIE_PUBLIC,   /* ... where it says public */
    CACHE_SET_COOKIE_NEVER,
};
enum cache_query { CACHE_QUERY_WHOLE, CACHE_QUERY_SORTED, CACHE_QUERY_NONE };
struct cache_policy {
    int64_t ttl_us;           /* in the place of what the response says; or CACHE_UNSET */
    int64_t negative_us;      /* for errors that say nothing and may be reused; 0 = not */
    int64_t grace_us;         /* how far past freshness it may answer when no member does */
    int64_t heuristic_max_us; /* the most that is guessed from Last-Modified; 0 = nothing is */
    enum cache_set_cookie set_cookie;
    bool ignore_cookies; /* neither Cookie nor Set-Cookie is anything to the cache */
    bool surrogate;      /* Surrogate-Control is obeyed */
    /* the key */
    bool key_any_host;
    enum cache_query key_query;
    struct fr_view key_headers; /* a list of names */
};
extern const struct cache_policy cache_policy_default;

/* What is looked up: the request and the host it is for. */
struct cache_request {
    const struct http_head *head;
    struct fr_view scheme;       /* "http", in lower case */
    struct fr_view host;         /* in lower case, port kept */
    int64_t now_us;              /* cache_clock_us, as all times here */
    int64_t ahead_us;            /* ... so far ahead of the clock of the day, which dates are by */
    struct cache_reader *reader; /* who holds what is found; NULL: a counted reference */
    uint64_t serial; /* filling: cache_purge_serial() when the request went out; 0 = it does now */
    uint32_t owner;  /* filling: whose requests these are, below CACHE_OWNERS_MAX */
    const struct cache_policy *policy; /* NULL: the default */
    int64_t stale_max_us; /* serve a stale response up to this far past freshness without asking
                             (the edge is relieving itself); 0 = never */
    bool takes_part; /* looking up: the beginning of it is of use, too: found->part, in memory */
    bool near_only;  /* what has its body on disk is as if it was not there */
};

enum cache_answer {
    CACHE_BYPASS,        /* neither look nor store: method, If-Match, no-store … */
    CACHE_MISS,          /* forward, store if allowed */
    CACHE_FRESH,         /* found->entry answers */
    CACHE_STALE_ALLOWED, /* max-stale, stale-while-revalidate or stale_max_us allow it: likewise */
    CACHE_VALIDATE,      /* forward; found->entry may be validated, or answer if that fails */
    CACHE_GATEWAY_TIMEOUT, /* only-if-cached, and nothing is: 504 (RFC 9111 section 5.2.1.7) */
};
/* Why a request goes on (RFC 9211 section 2.2). */
enum cache_forward {
    CACHE_FORWARD_BYPASS,
    CACHE_FORWARD_METHOD,
    CACHE_FORWARD_URI_MISS,
    CACHE_FORWARD_VARY_MISS,
    CACHE_FORWARD_REQUEST,
    CACHE_FORWARD_STALE,
    CACHE_FORWARD_PARTIAL,
};
/* Requests with the same are for the same response, as far as is known. */
struct cache_flight_id {
    struct fr_hash128 key, select;
};
struct cache_found {
    struct cache_flight_id flight; /* of MISS and VALIDATE, and with refresh */
    struct cache_entry *entry;     /* referenced for FRESH, STALE_ALLOWED and VALIDATE, else NULL */
    enum cache_forward forward;    /* when it is forwarded */
    bool refresh;                  /* STALE_ALLOWED, and a new one should be fetched meanwhile */
    bool relieved;                 /* STALE_ALLOWED by stale_max_us, and by nothing else */
    struct cache_entry *part;      /* referenced, of MISS: its beginning, see _rest; else NULL */
    bool absent; /* MISS and GATEWAY_TIMEOUT: nothing of it is in memory; it may be on disk */
};
enum cache_answer cache_lookup(struct cache_store *store, const struct cache_request *request,
                               struct cache_found *out);
struct cache_entry *cache_entry_ref(struct cache_entry *entry);
void cache_entry_unref(struct cache_entry **entry);
/* Once more: to be let go as often. */
struct cache_entry *cache_entry_hold(struct cache_reader *reader, struct cache_entry *entry);
/* Of what was found with this reader; reader NULL: the same as _unref. NULL entries are allowed. It
 * may be a counted reference, too: whichever of both ends first, the other one keeps the entry. */
void cache_entry_release(struct cache_reader *reader, struct cache_entry **entry);
static inline void
cache_entry_let_go(struct cache_reader *reader, struct cache_entry **entry)
{
    if (*entry)
        cache_entry_release(reader, entry);
}

/* The stored head as it goes to a client: status line and end-to-end fields, each ending in CRLF,
 * without Age, Connection, Content-Length and the empty line, which the sender adds. Date is there.
 */
struct fr_view cache_entry_head(const struct cache_entry *entry);
int cache_entry_status(const struct cache_entry *entry);
uint64_t cache_entry_body_bytes(const struct cache_entry *entry);
/* Part `index` of the body (immutable memory, valid while referenced); false past the end. */
bool cache_entry_body(const struct cache_entry *entry, size_t index, struct fr_view *out);
/* Its body is on disk, and read from there piece by piece (cache_disk.h): it has no parts here. */
bool cache_entry_is_far(const struct cache_entry *entry);
int64_t cache_entry_age_s(const struct cache_entry *entry, int64_t now_us);  /* RFC 9111 4.2.3 */
int64_t cache_entry_left_s(const struct cache_entry *entry, int64_t now_us); /* < 0: stale */

/* Which bytes of what representation a stored body is. */
#define CACHE_LENGTH_UNKNOWN UINT64_MAX
struct cache_piece {
    uint64_t first;
    uint64_t last;  /* as told */
    uint64_t total; /* or CACHE_LENGTH_UNKNOWN */
};
/* What an entry answers a request with. */
struct cache_selection {
    int status;                  /* of the entry; 206, 304 or 416 */
    uint64_t first, bytes;       /* of the stored body */
    uint64_t range_first, total; /* 206 and 416, for Content-Range */
};
/* True: it is the beginning of a representation whose rest is worth asking for, from *out_first on.
 * *out_etag: for If-Range; empty where it has no validator at all. */
bool cache_entry_rest(const struct cache_entry *entry, uint64_t *out_first,
                      struct fr_view *out_etag);
/* False: it holds not all that is asked for. */
bool cache_entry_select(const struct cache_entry *entry, const struct http_head *request,
                        int64_t now_us, struct cache_selection *out);

/* ---- validation ------------------------------------------------------------------------------ */

/* What a request with this entry in hand asks the member: the values for If-None-Match and
 * If-Modified-Since; empty ones are not sent. */
struct cache_validators {
    struct fr_view etag, modified;
};
void cache_entry_validators(const struct cache_entry *entry, struct cache_validators *out);
/* A 304 came to a request that asked with the entry's validators, or a 200 to a HEAD (RFC 9111
 * sections 4.3.4 and 4.3.5). Returns an entry with the old body and the fields updated, stored in
 * its place if that is still allowed: a counted reference; NULL when memory is out or the response
 * is about something else (*out_other). */
struct cache_entry *cache_entry_freshen(struct cache_entry *entry,
                                        const struct cache_request *request,
                                        const struct http_head *response, int64_t request_us,
                                        int64_t response_us, bool *out_other);
/* Whether the entry may answer although it is stale, because the member could not be asked
 * (answered: it gave an error of its own). RFC 9111 section 4.2.4, RFC 5861 section 4. */
bool cache_entry_serves_error(struct cache_entry *entry, const struct cache_request *request,
                              bool answered);
bool cache_entry_must_validate(const struct cache_entry *entry); /* else an error: 504 */

/* A response to a request that was a MISS or a VALIDATE. NULL: not storable by RFC 9111 section 3,
 * too large, or no room. A body that only the close ends is not stored: nobody could tell whether
 * it came whole. Exactly one of _commit, _drop, or an _add that says FULL ends a filler.
 * request_time/response_time as in section 4.2.3. */
struct cache_filler *cache_fill_begin(struct cache_store *store,
                                      const struct cache_request *request,
                                      const struct http_head *response, enum http_framing framing,
                                      int64_t request_us, int64_t response_us);
/* A 206 came to a request for the rest of `part`: what comes in completes it, and what it holds is
 * there already. NULL: it is the rest of something else, or may not be stored. */
struct cache_filler *cache_fill_rest(const struct cache_entry *part,
                                     const struct cache_request *request,
                                     const struct http_head *response, enum http_framing framing,
                                     int64_t request_us, int64_t response_us);
struct cache_entry *cache_fill_entry(struct cache_filler *filler); /* a counted reference */
/* FR_ERR_FULL: it grew too large or memory is out, and nobody follows; the filler is dropped and
 * set to NULL, the response goes on to the client. Where others stream along it goes on to them,
 * too, unstored: see _stalls. */
FR_MUST_USE enum fr_err cache_fill_add(struct cache_filler **filler, struct fr_view data);
/* What comes in is for the flight's waiters too, as it comes. False: it is nobody else's (it has to
 * be validated before it is used, or is a part), and the flight is still to be ended. Else *flight
 * is NULL, and ends with the filler. */
bool cache_fill_share(struct cache_filler *filler, struct cache_flight **flight);
/* So much goes by at a time: then whoever is slowest is waited for. A caller that adds nonetheless
 * leaves it behind. NULL: no. */
#define CACHE_PASSING_BYTES (1024 * 1024)
#define CACHE_PASSING_ADD_MAX (256 * 1024) /* that is added between two questions */
#define CACHE_PASSING_MAX 64               /* at a time; of more, those who follow are cut off */
bool cache_fill_stalls(const struct cache_filler *filler);
bool
cache_fill_wanted(const struct cache_filler *filler); /* shared, and somebody waits; NULL: no */
/* The body came whole: others may see it, unless the target was invalidated since request_us. */
void cache_fill_commit(struct cache_filler **filler);
void cache_fill_drop(struct cache_filler **filler); /* it did not; NULL is allowed */

/* An unsafe method succeeded: what is stored for its target, or is coming in, is no longer valid
 * (section 4.4). Safe methods invalidate nothing. */
void cache_invalidate(struct cache_store *store, const struct cache_request *request);

/* What is stored for the target is about something else, whatever the method. */
void cache_forget(struct cache_store *store, const struct cache_request *request);

/* ---- one fetch for many ---------------------------------------------------------------------- */

struct cache_waiter {
    struct fr_list link;     /* the flight's */
    void (*wake)(void *ctx); /* from any thread, under a lock: there is news, or there may be */
    void *ctx;
    bool follows; /* the flight's: it streams what comes */
    uint64_t at;  /* ... and has taken all before this, once it goes by */
};
enum cache_board {
    CACHE_BOARD_LEAD,  /* fetch, and end the flight with one of the calls below */
    CACHE_BOARD_WAIT,  /* the waiter is woken; cache_flight_quit ends it */
    CACHE_BOARD_ALONE, /* fetch, for oneself: not for sharing, or no memory, or no waiter given */
};
/* *out is a reference for LEAD and WAIT. waiter NULL: leads or leaves it. */
enum cache_board cache_flight_board(struct cache_store *store, const struct cache_flight_id *id,
                                    int64_t now_us, struct cache_waiter *waiter,
                                    struct cache_flight **out);
/* The leader's ends; each lets go of *flight. cache_fill_share is another. */
void cache_flight_alone(struct cache_store *store, struct cache_flight **flight, bool remember,
                        int64_t now_us); /* remember: nobody waits for this target for a while */
void cache_flight_fail(struct cache_flight **flight, int status);
void cache_flight_whole(struct cache_flight **flight, struct cache_entry *entry);
void cache_flight_lost(struct cache_flight **flight);  /* a waiter takes over */
bool cache_flight_wanted(struct cache_flight *flight); /* somebody waits */

enum cache_flight_state {
    CACHE_FLIGHT_PENDING,
    CACHE_FLIGHT_LOST,   /* ... and nobody leads: board again */
    CACHE_FLIGHT_COMING, /* the entry grows: cache_flight_part */
    CACHE_FLIGHT_WHOLE,
    CACHE_FLIGHT_ALONE,
    CACHE_FLIGHT_FAILED, /* *out_status */
    CACHE_FLIGHT_BROKEN,
    CACHE_FLIGHT_PASSING, /* too much to be kept: it goes by those who follow it already */
    CACHE_FLIGHT_PASSED,  /* ... and all of it has come */
};
enum cache_flight_state cache_flight_look(struct cache_flight *flight,
                                          struct cache_entry **out_entry, int *out_status);
uint64_t cache_flight_length(const struct cache_flight *flight); /* of what is coming */
/* As cache_entry_body, of an entry that is coming. What is shown stays where it is. */
bool cache_flight_part(struct cache_flight *flight, size_t index, struct fr_view *out);
/* From here on what comes is kept for this waiter until it has taken it. False: it goes by already,
 * or is no longer coming. */
bool cache_flight_follow(struct cache_flight *flight, struct cache_waiter *waiter);
/* What goes by behind the parts, from byte `at` of the whole on: copied, at most `max`. False: the
 * waiter was so slow for so long that it went on without it. */
FR_MUST_USE bool cache_flight_take(struct cache_flight *flight, struct cache_waiter *waiter,
                                   uint64_t at, char *out, size_t max, size_t *out_bytes);
void cache_flight_quit(struct cache_flight **flight, struct cache_waiter *waiter);
/* True when 304 is the answer to this GET or HEAD (If-None-Match, If-Modified-Since). */
bool cache_entry_not_modified(const struct cache_entry *entry, const struct http_head *request);
/* Whether an entry that came for another request answers this one. If only the variant differs, the
 * id becomes that of the right one. */
bool cache_entry_suits(const struct cache_entry *entry, const struct cache_request *request,
                       struct cache_flight_id *id);

/* ---- purging --------------------------------------------------------------------------------- */

/* For http and https alike. URL: "http://host/path?query" or "//host/path?query", all its variants.
 * PREFIX: the beginning of such. TAG: one of the response's Surrogate-Key or Cache-Tag. */
enum cache_purge_kind { CACHE_PURGE_URL, CACHE_PURGE_PREFIX, CACHE_PURGE_TAG, CACHE_PURGE_ALL };
struct cache_purge {
    enum cache_purge_kind kind;
    bool soft; /* stays, but is stale */
    struct fr_view text;
};
/* In force when it returns, for what is stored and for what is coming in; any thread.
 * FR_ERR_SYNTAX: no URL, or no tag.  FR_ERR_FULL, FR_ERR_NOMEM: nothing was purged. */
FR_MUST_USE enum fr_err cache_purge(struct cache_store *store, const struct cache_purge *purge,
                                    int64_t now_us, uint64_t *out_serial);
uint64_t cache_purge_serial(const struct cache_store *store); /* of the newest purge */
/* What purges took: objects stored, and how often they were asked for. */
struct cache_purged {
    uint64_t objects, bytes;
    double requests_per_s;
};
/* Counts what was purged and gives its memory back, so many buckets of the index at a time. One
 * thread, always the same. True: all is done. */
bool cache_purge_sweep(struct cache_store *store, size_t buckets, int64_t now_us);
/* True when this purge has been swept; *out is what it took, 0 when it was too long ago. */
bool cache_purge_swept(const struct cache_store *store, uint64_t serial, struct cache_purged *out);
/* Of all purges so far, and of those that concerned one owner. */
void cache_purge_total(const struct cache_store *store, struct cache_purged *out);
void cache_purge_owner(const struct cache_store *store, uint32_t owner, struct cache_purged *out);

#endif
