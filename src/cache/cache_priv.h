/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cache_priv.h - what rules, keys, entries, store and fillers share.
 *
 * May touch:  base, http. Included by src/cache and its tests only.
 */
#ifndef CACHE_PRIV_H
#define CACHE_PRIV_H

#include "cache/cache.h"

#include "base/fr_list.h"
#include "base/fr_lock.h"
#include "base/fr_mem.h"

/* ---- rules (cache_control.c, cache_rules.c) -------------------------------------------------- */

#define CACHE__ABSENT (-1)
#define CACHE__SECONDS_MAX INT64_C(2147483648) /* overflows are this (RFC 9111 section 1.2.2) */

/* What a head says about caching. Seconds, or CACHE__ABSENT. */
#define CACHE__WITHHELD_MAX 4
struct cache__control {
    int64_t max_age_s;
    int64_t s_maxage_s;
    int64_t min_fresh_s;
    int64_t max_stale_s; /* CACHE__SECONDS_MAX: any staleness */
    int64_t while_revalidate_s;
    int64_t if_error_s;
    bool no_store;
    bool no_cache;
    bool is_private;
    bool is_public;
    bool must_revalidate; /* or proxy-revalidate, or s-maxage, which implies it */
    bool for_others;      /* public, must-revalidate or s-maxage: section 3.5 */
    bool must_understand;
    bool only_if_cached;
    bool targeted;  /* a field meant for us spoke: Expires counts no more than Cache-Control */
    bool surrogate; /* ... Surrogate-Control */
    size_t withheld_count; /* lists of fields that no-cache or private name */
    struct fr_view withheld[CACHE__WITHHELD_MAX];
};
/* Cache-Control alone. */
void cache__control_read(const struct http_head *head, struct cache__control *out);
/* Of a response: Surrogate-Control, CDN-Cache-Control or Cache-Control, the first that speaks. */
void cache__control_read_response(const struct http_head *head, const struct cache_policy *policy,
                                  struct cache__control *out);
/* Whether a field must not be stored, because no-cache or private name it. */
bool cache__control_withholds(const struct cache__control *control, struct fr_view name);

static inline const struct cache_policy *
cache__policy(const struct cache_request *request)
{
    return request->policy ? request->policy : &cache_policy_default;
}

/* What an entry must remember to be judged later. */
struct cache__freshness {
    int64_t lifetime_us;
    int64_t initial_age_us; /* corrected_initial_age, section 4.2.3 */
    int64_t response_us;
    int64_t while_revalidate_s; /* 0: not */
    int64_t if_error_s;         /* or CACHE__ABSENT */
    bool stale_forbidden;       /* section 4.2.4 */
    bool always_validate;       /* section 5.2.2.4 */
    bool authorization_good;    /* section 3.5 */
    bool surrogate;             /* by Surrogate-Control, which is not stored */
};

/* Section 3: may this response to this request be stored, and is it worth it (fresh on arrival, or
 * it can be validated)? *out is set on true. */
bool cache__may_store(const struct http_head *request, const struct http_head *response,
                      enum http_framing framing, const struct cache_policy *policy,
                      int64_t request_us, int64_t response_us, struct cache__freshness *out);
/* Neither look nor store, whatever the store holds. */
bool cache__bypasses(const struct http_head *request, const struct cache__control *control);
int64_t cache__age_us(const struct cache__freshness *freshness, int64_t now_us);
struct cache__verdict {
    enum cache_answer answer; /* FRESH, STALE_ALLOWED, VALIDATE or MISS */
    bool refresh;
    bool relieved; /* STALE_ALLOWED by stale_max_us alone */
    bool refused;  /* VALIDATE, because the request says so */
};
struct cache__verdict cache__judge(const struct cache__freshness *freshness,
                                   const struct cache__control *asked, bool has_authorization,
                                   int64_t now_us, int64_t stale_max_us);
bool cache__stale_serves(const struct cache__freshness *freshness,
                         const struct cache__control *asked, const struct cache_policy *policy,
                         int64_t now_us, bool answered);
/* Content-Range of a 206; false: it has none that can be placed (several parts, unknown unit). */
bool cache__piece_read(const struct http_head *response, struct cache_piece *out);

/* ---- keys (cache_key.c) ---------------------------------------------------------------------- */

/* What does not fit is not cached. */
#define CACHE__KEY_BYTES_MAX 9216    /* scheme, host, target */
#define CACHE__SELECT_BYTES_MAX 4096 /* the values that Vary selects by */
#define CACHE__VARY_BYTES_MAX 512    /* the names in Vary */

struct cache__key {
    struct fr_hash128 hash;
    size_t len;
    size_t url_len; /* up to here it is scheme, host, path and query; then come fields */
    char text[CACHE__KEY_BYTES_MAX];
};
/* In the place of a host or a query that the route leaves out; neither stands in any URL. */
#define CACHE__KEY_ANY_HOST "*"
#define CACHE__KEY_ANY_QUERY "#"
/* False when it does not fit. */
bool cache__key_make(const struct fr_hash_key *hash_key, const struct cache_request *request,
                     struct cache__key *out);

struct cache__vary {
    size_t len;                        /* 0: the response varies by nothing */
    char names[CACHE__VARY_BYTES_MAX]; /* "accept,accept-encoding": lower case, as they came */
};
/* False for "*", for what is no list of names, and when it does not fit. */
bool cache__vary_read(const struct http_head *response, const struct cache_policy *policy,
                      struct cache__vary *out);
/* Hash of the request's values of these fields; false when they do not fit. */
bool cache__select_hash(const struct fr_hash_key *hash_key, struct fr_view vary_names,
                        const struct http_head *request, struct fr_hash128 *out);

/* The URL of the target, from the host on, as cache_purge knows it: a piece of the key. */
struct fr_view cache__key_url(const struct cache__key *key, const struct cache_request *request);

/* ---- tags and purges (cache_tags.c, cache_purge.c) ------------------------------------------- */

/* What is held of a body is copied into the one that a further part continues, by the worker that
 * got the part, at once. A longer one is not continued: all of it is asked for, or the part is
 * stored by itself. */
#define CACHE__JOIN_BYTES_MAX (8 * 1024 * 1024)
#define CACHE__TAGS_MAX 256 /* of one response, with the URL; what has more is not stored */

struct cache__tags {
    size_t count;
    uint32_t tags[CACHE__TAGS_MAX];
};
/* False when there are too many. */
bool cache__tags_read(const struct fr_hash_key *hash_key, const struct http_head *response,
                      struct fr_view url, struct cache__tags *out);

uint32_t cache__tag(const struct fr_hash_key *hash_key, struct fr_view name); /* never 0 */
/* All names that a URL, from its host on, may be stored by; none is 0. */
#define CACHE__URL_TAGS 4
void cache__url_tags(const struct fr_hash_key *hash_key, struct fr_view text,
                     uint32_t out[CACHE__URL_TAGS]);
/* Both from the host on. */
bool cache__url_starts(struct fr_view text, struct fr_view prefix);

struct cache__purges;
enum cache__purged { CACHE__PURGED_NOT, CACHE__PURGED_SOFT, CACHE__PURGED_HARD };
uint64_t cache__purges_bytes(uint64_t memory_bytes);
struct cache_disk;
/* disk NULL: what is known of purges ends with the process. */
struct cache__purges *cache__purges_new(uint64_t memory_bytes, const struct fr_hash_key *hash_key,
                                        const struct cache_disk *disk);
void cache__purges_free(struct cache__purges **purges);
/* What was purged since the entry was judged last concerns it? */
enum cache__purged cache__purges_judge(struct cache__purges *purges, struct cache_entry *entry);
/* Of what comes from disk, before it is seen by others. False: it is purged. One that was made
 * stale is stale since then. */
bool cache__purges_admit(struct cache__purges *purges, struct cache_entry *entry);
/* Of an entry that was made stale: *freshness, a copy of its own, ends when it was. */
void cache__purges_shorten(const struct cache_entry *entry, int64_t now_us,
                           struct cache__freshness *freshness);
/* Before an entry answers. False: it is purged. Else shortens. */
bool cache__purges_apply(struct cache__purges *purges, struct cache_entry *entry, int64_t now_us,
                         struct cache__freshness *freshness);

/* ---- memory (cache_mem.c) -------------------------------------------------------------------- */

enum cache__kind { CACHE__KIND_HEAD, CACHE__KIND_BODY, CACHE__KINDS };
struct cache__mem;
uint64_t cache__mem_tables_bytes(uint64_t bytes); /* that it needs besides */
struct cache__mem *cache__mem_new(uint64_t bytes);
void cache__mem_free(struct cache__mem **mem);
size_t cache__mem_page_bytes(const struct cache__mem *mem);
/* At most a page. The owner, never 0, is what _poorest tells. Not zeroed. NULL: no room. */
void *cache__mem_take(struct cache__mem *mem, size_t bytes, uint32_t owner, enum cache__kind kind);
/* NULL is allowed; bytes as it was taken. */
void cache__mem_give(struct cache__mem *mem, void *ptr, size_t bytes, enum cache__kind kind);
bool cache__mem_fits_less(const struct cache__mem *mem, size_t bytes, size_t less);
/* The owners of what stands in a page that is nearly empty. Returns how many. */
size_t cache__mem_poorest(struct cache__mem *mem, uint32_t *out_owners, size_t max);
struct cache__mem_stat {
    uint64_t live_bytes[CACHE__KINDS]; /* as asked for */
    uint64_t used_bytes;               /* whole pages */
    uint64_t slack_bytes;              /* of them, not live */
    uint64_t free_bytes;
};
void cache__mem_stat(const struct cache__mem *mem, struct cache__mem_stat *out);

/* ---- readers (cache_reader.c) ---------------------------------------------------------------- */

#define CACHE__SAMPLE 64 /* one in so many hits is counted in the entry, and counts for all */

struct cache__limbo {
    struct fr_lock lock;
    struct fr_list readers;
    struct fr_list entries;                                 /* oldest first */
    uint64_t waiting, waiting_bytes;                        /* atomic */
    uint64_t epoch __attribute__((aligned(FR_CACHE_LINE))); /* ... and read without: atomic */
};
void cache__limbo_init(struct cache__limbo *limbo);
void cache__limbo_fini(struct cache__limbo *limbo); /* after the last reader */
/* Takes the reference that the index had; the entry is in no list. */
void cache__limbo_retire(struct cache__limbo *limbo, struct cache_entry *entry);
void cache__limbo_empty(struct cache__limbo *limbo); /* of what no reader can have any more */
void cache__limbo_wake(struct cache__limbo *limbo);  /* those that keep it from that */
struct cache__limbo *cache__store_limbo(struct cache_store *store);
/* False: no memory. */
bool cache__reader_pin(struct cache_reader *reader, struct cache_entry *entry);
void cache__reader_pass(struct cache_reader *reader);       /* a turn, if it is worth one */
uint32_t cache__reader_sample(struct cache_reader *reader); /* a hit: how many to count now */

/* ---- entries (cache_entry.c) ----------------------------------------------------------------- */

struct cache__part {
    char *data;
    uint32_t len;
    uint32_t cap;
};

/* The bytes of one response, shared by the entries that a 304 makes of each other. The first part
 * stands behind the struct. */
struct cache__body {
    uint32_t refs;             /* atomic */
    uint32_t piece_bytes : 31; /* of this struct with its first part */
    uint32_t far : 1;          /* the bytes are on disk alone, in the record of its birth */
    uint64_t bytes;            /* how many are there */
    uint64_t more;             /* atomic: cache_body.c's */
};
/* The birth of the record on disk that has these very bytes; 0: nobody knows of one. Any thread. */
uint64_t cache__body_birth(const struct cache__body *body);
/* Once its entry is stored, or it is far. */
void cache__body_set_birth(struct cache__body *body, uint64_t birth);
/* Behind the struct of a far one. */
struct cache__far {
    struct fr_hash128 hash; /* of the key */
};
/* NULL: no memory. */
struct cache__body *cache__body_new_far(struct cache_store *store, uint32_t owner, uint64_t bytes,
                                        const struct cache__far *far, uint64_t birth);
static inline const struct cache__far *
cache__body_far(const struct cache__body *body)
{
    return body->far ? (const struct cache__far *)(const void *)(body + 1) : NULL;
}
/* Of a body that comes in: its filler's. */
struct cache__filling {
    struct cache__part *part; /* being filled; NULL: the first one */
    uint32_t index;
    void *last; /* table */
    uint64_t room;
};
/* `owner`: cache__owner_of the entry. bytes: how long it will be; 0: nobody knows. It may have less
 * room than that: see _reserve. NULL: no memory. */
struct cache__body *cache__body_new(struct cache_store *store, uint32_t owner, uint64_t bytes);
struct cache__body *cache__body_ref(struct cache__body *body);
void cache__body_unref(struct cache_store *store, struct cache__body *body);
uint64_t cache__body_counted(const struct cache__body *body); /* all its pieces */
void cache__filling_init(struct cache__filling *filling, const struct cache__body *body);
/* Room for so many more bytes; false when there is no memory (some may have been taken). */
bool cache__body_reserve(struct cache_store *store, uint32_t owner, struct cache__body *body,
                         struct cache__filling *filling, uint64_t bytes);
/* More room, about as much as there is. */
bool cache__body_grow(struct cache_store *store, uint32_t owner, struct cache__body *body,
                      struct cache__filling *filling);
/* Takes what there is room for, and says how much. */
size_t cache__body_append(struct cache__body *body, struct cache__filling *filling,
                          struct fr_view data);
/* Anywhere within what was reserved; then the length of all that was written. */
void cache__body_write(struct cache__body *body, uint64_t at, struct fr_view data);
void cache__body_set_whole(struct cache__body *body, uint64_t bytes);
void cache__body_trim(struct cache_store *store, uint32_t owner, struct cache__body *body);
bool cache__body_part(const struct cache__body *body, size_t index, struct fr_view *out);

/* Of a stored 206. */
struct cache__part_of {
    struct cache_piece piece;
    struct fr_view range; /* Range of the request that it answered */
};

/* Behind it, in one piece: part_of and select where it has them, tags, range, key, vary, head.
 * Every byte here is one for each object: what can be told from what stands behind is not kept
 * twice. */
struct cache_entry {
    /* set before the entry is seen by others, then constant */
    struct cache_store *store;
    struct cache__body *body; /* a reference */
    uint64_t hash_lo;
    uint64_t lifetime_ms : 39, status : 10, owner : 15;
    uint64_t initial_age_ms : 42, tag_count : 9, vary_len : 10, has_part_of : 1;
    uint64_t response_ms : 42, hash_hi : 16;
    uint64_t stale_forbidden : 1, always_validate : 1, authorization_good : 1, surrogate : 1;
    uint32_t while_revalidate_s;
    uint32_t if_error_s; /* or CACHE__ABSENT, as unsigned */
    uint16_t key_len, head_len;
    uint16_t etag_at; /* in the head; 0 = none */
    uint8_t magic;
    /* shard lock */
    bool visited; /* atomic */
    struct fr_list queue;
    struct cache_entry *chain;
    /* shared, atomic */
    uint32_t refs;
    uint32_t hits;
    uint64_t serial;  /* judged up to this purge */
    uint32_t retired; /* low half of the epoch when it came into the limbo; 0 = it did not */
    uint32_t stale;   /* made stale by a purge: 1 + milliseconds after response_ms; 0 = not */
};
/* What an object takes besides its key, its stored head and its bytes: the struct, its body's, the
 * tag of its URL, the owners of two pieces, and a place in the index. */
#define CACHE__OBJECT_BYTES                                                                        \
    (sizeof(struct cache_entry) + sizeof(struct cache__body) + 3 * sizeof(uint32_t) +              \
     sizeof(struct cache_entry *))

static inline const struct cache__part_of *
cache__entry_part_of(const struct cache_entry *entry)
{
    return entry->has_part_of ? (const struct cache__part_of *)(const void *)(entry + 1) : NULL;
}

static inline const void *
cache__entry_select_at(const struct cache_entry *entry)
{
    return (const char *)(entry + 1) +
           (entry->has_part_of ? sizeof(struct cache__part_of) : (size_t)0);
}

/* What it was selected by; 0 where it does not vary. */
static inline struct fr_hash128
cache__entry_select(const struct cache_entry *entry)
{
    const struct fr_hash128 none = {0, 0};
    return entry->vary_len ? *(const struct fr_hash128 *)cache__entry_select_at(entry) : none;
}

static inline const uint32_t * /* the URL's first */
cache__entry_tags(const struct cache_entry *entry)
{
    const char *at = cache__entry_select_at(entry);
    return (const uint32_t *)(const void *)(at + (entry->vary_len ? sizeof(struct fr_hash128) : 0));
}

static inline struct fr_view
cache__entry_key(const struct cache_entry *entry)
{
    const struct cache__part_of *part_of = cache__entry_part_of(entry);
    const char *at = (const char *)(cache__entry_tags(entry) + entry->tag_count);
    return fr_view_make(at + (part_of ? part_of->range.len : 0), entry->key_len);
}

static inline struct fr_view
cache__entry_vary(const struct cache_entry *entry)
{
    struct fr_view key = cache__entry_key(entry);
    return fr_view_make(key.ptr + key.len, entry->vary_len);
}

/* The low bits of its key's hash: all that bucket, shard, mark and owner are found by. */
static inline struct fr_hash128
cache__entry_hash(const struct cache_entry *entry)
{
    return (struct fr_hash128){.lo = entry->hash_lo, .hi = entry->hash_hi};
}

struct cache__freshness cache__entry_freshness(const struct cache_entry *entry);
struct fr_view cache__entry_etag(const struct cache_entry *entry);
struct fr_view cache__entry_modified(const struct cache_entry *entry); /* where it is a date */
/* Last-Modified, else Date, else when it came: RFC 9111 section 4.3.2. */
int64_t cache__entry_modified_s(const struct cache_entry *entry);

/* What becomes an entry that nobody sees yet, with one reference. */
struct cache__entry_plan {
    const struct cache__key *key;
    struct fr_view vary;
    const struct cache__tags *tags;
    struct fr_hash128 select;
    const struct http_head *response;
    const struct cache__control *said; /* by the response */
    const struct cache_policy *policy;
    const struct cache__freshness *freshness;
    const struct cache__part_of *part_of; /* NULL: it is whole */
    uint32_t owner;
    uint64_t serial;
    int64_t ahead_us;         /* of the request */
    struct cache__body *body; /* shared with the new entry; NULL: it gets an empty one */
    uint64_t body_bytes;      /* how long that will be; 0: unknown */
};
/* Fills key, vary, select, tags, owner and serial, in the caller's storage. False: it has no key,
 * matches nothing, or has too many tags, which is counted. */
struct cache__plan_room {
    struct cache__key key;
    struct cache__vary vary;
    struct cache__tags tags;
};
bool cache__entry_plan(struct cache__entry_plan *plan, struct cache_store *store,
                       const struct cache_request *request, struct cache__plan_room *room);
/* Reserves, makes, counts a refusal. NULL: no room. */
struct cache_entry *cache__entry_make(struct cache_store *store,
                                      const struct cache__entry_plan *plan);
void cache__entry_free(struct cache_entry *entry); /* the last reference, or never seen */
/* By which memory knows whose it is: the bucket and the shard. Never 0. */
#define CACHE__SHARDS 32 /* by hash.hi; see cache_store.c */
#define CACHE__OWNER_BITS 26
#define CACHE__BUCKETS_MAX (1 << 24) /* a shard: their number is part of an owner */
static inline uint32_t
cache__owner_of(struct fr_hash128 hash)
{
    return (uint32_t)(hash.lo & ((1u << CACHE__OWNER_BITS) - 1)) |
           (uint32_t)(hash.hi % CACHE__SHARDS) << CACHE__OWNER_BITS | 1u << 31;
}
/* What it takes of the budget with its body: what an eviction gives back if nobody holds either. */
uint64_t cache__entry_counted(const struct cache_entry *entry);

/* ---- updates (cache_update.c) ---------------------------------------------------------------- */

/* The stored head with a newer response's fields over it; freed with fr_free. NULL: no memory, or
 * it is no head any more. */
struct cache__merged {
    struct http_head head;
    char text[];
};
struct cache__merged *cache__merge(const struct cache_entry *entry,
                                   const struct http_head *response, struct fr_view status_line);

/* ---- flights (cache_flight.c) ---------------------------------------------------------------- */

struct cache__flights;
struct cache__flights *cache__flights_new(void);
void cache__flights_free(struct cache__flights **flights);
struct cache__flights *cache__store_flights(const struct cache_store *store);
/* Nobody is to join what was asked for before this. */
void cache__flights_forget(struct cache_store *store, struct fr_hash128 key);
/* The entry is seen from here on, and changed between lock and unlock only. */
void cache__flight_share(struct cache_flight *flight, struct cache_entry *entry, uint64_t length);
void cache__flight_lock(struct cache_flight *flight);
bool cache__flight_read(const struct cache_flight *flight); /* by anybody; locked */
void cache__flight_unlock(struct cache_flight *flight);
void cache__flight_end(struct cache_flight **flight, bool whole);
/* The entry holds all that it ever will: nobody is to wait for this target for a while. False:
 * nobody follows, or no memory. */
bool cache__flight_pass(struct cache_flight *flight, const struct cache_entry *entry);
/* What comes then. False: nobody follows any more. */
bool cache__flight_pass_on(struct cache_flight *flight, struct fr_view data);
bool cache__flight_stalls(struct cache_flight *flight);

/* ---- store (cache_store.c) ------------------------------------------------------------------- */

enum cache__refusal {
    CACHE__REFUSED_FULL,
    CACHE__REFUSED_LARGE,
    CACHE__REFUSED_TAGS,
    CACHE__REFUSED_ONCE,
};

const struct fr_hash_key *cache__store_hash_key(const struct cache_store *store);
uint64_t cache__store_object_max(const struct cache_store *store);
/* Of the budget, evicting for it; NULL when that is not enough. At most _piece_max bytes. */
void *cache__store_alloc(struct cache_store *store, size_t bytes, uint32_t owner,
                         enum cache__kind kind);
void cache__store_give(struct cache_store *store, void *ptr, size_t bytes, enum cache__kind kind);
bool cache__store_could_hold(const struct cache_store *store, uint64_t bytes); /* if it was empty */
/* Whether what would drive out many others has been asked for before, or there is room. */
bool cache__store_admits(struct cache_store *store, struct fr_hash128 hash, uint64_t bytes);
size_t cache__store_piece_max(const struct cache_store *store);
/* Whether `less` bytes would take less memory than `bytes` do. */
bool cache__store_fits_less(const struct cache_store *store, size_t bytes, size_t less);
/* Evicts who owns a piece. */
void cache__store_evict_owner(struct cache_store *store, uint32_t owner);
void cache__store_refused(struct cache_store *store, enum cache__refusal refusal);
/* The variant of `key` that the request selects, NULL when there is none: pinned by the reader, or
 * without one referenced. */
struct cache_entry *cache__store_find(struct cache_store *store, struct cache_reader *reader,
                                      const struct cache__key *key,
                                      const struct http_head *request);
/* Whether any variant of it is there; *out_select is then what the request selects by. */
bool cache__store_has(struct cache_store *store, struct cache_reader *reader,
                      const struct cache__key *key, const struct http_head *request,
                      struct fr_hash128 *out_select);
/* Keeps the caller's reference whatever happens. request_us: when it was asked for. */
void cache__store_take(struct cache_store *store, struct cache_entry *entry, int64_t request_us);
struct cache__purges *cache__store_purges(const struct cache_store *store);
/* Visits what is stored, so many buckets from *cursor on; true from fn unlinks. The shard is
 * locked: fn calls nothing of the store. False: that was the last bucket, the cursor is at the
 * first. */
struct cache__cursor {
    size_t shard, bucket;
};
typedef bool (*cache__walk_fn)(void *ctx, struct cache_entry *entry);
bool cache__store_walk(struct cache_store *store, struct cache__cursor *cursor, size_t buckets,
                       cache__walk_fn fn, void *ctx);
/* The same of all that has this key. */
void cache__store_walk_key(struct cache_store *store, struct fr_view key, cache__walk_fn fn,
                           void *ctx);
/* Asserts what must hold of every shard. Tests only: it takes every lock. */
void cache__store_check(struct cache_store *store);

#endif
