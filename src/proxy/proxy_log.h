/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_log.h - what a worker writes down about a request, for the control thread to read.
 *
 * Threads:    one ring a worker: the worker alone appends, the control thread alone reads and
 *             takes. Neither ever waits for the other.
 * When full:  the record is dropped and counted (access_log_dropped).
 */
#ifndef PROXY_LOG_H
#define PROXY_LOG_H

#include "base/fr_view.h"

#include <stdbool.h>
#include <stdint.h>

/* The texts of a record, in the order they stand in it. */
enum proxy_log_text {
    PROXY_LOG_ADDRESS, /* the client's, as far as it is believed */
    PROXY_LOG_PEER,    /* of the connection */
    PROXY_LOG_METHOD,
    PROXY_LOG_TARGET, /* as received; of a refused request its first line */
    PROXY_LOG_HOST,
    PROXY_LOG_REFERER,
    PROXY_LOG_AGENT,
    PROXY_LOG_REQUEST_ID,
    PROXY_LOG_TRACE, /* trace-id of traceparent */
    PROXY_LOG_ROUTE,
    PROXY_LOG_CLUSTER,
    PROXY_LOG_MEMBER, /* the last one tried */
    PROXY_LOG_TEXTS
};

enum proxy_log_cache { /* rows of proxy_log_cache_words */
                       PROXY_LOG_CACHE_NONE,
                       PROXY_LOG_CACHE_HIT,
                       PROXY_LOG_CACHE_STALE,
                       PROXY_LOG_CACHE_MISS,
                       PROXY_LOG_CACHE_BYPASS,
};

enum proxy_log_end {
    PROXY_LOG_DONE,    /* the whole of an answer was sent */
    PROXY_LOG_CUT,     /* the answer broke off, and the client saw that */
    PROXY_LOG_DROPPED, /* the client went away, or we were told to stop */
};

struct proxy_log_record {
    uint32_t bytes; /* of the whole; a multiple of 8 */
    bool gap;       /* no record: the space to the ring's end */
    uint8_t version_minor;
    uint8_t cache, end; /* the enums above */
    uint16_t status;    /* 499: the client went away before there was one */
    uint16_t attempts;  /* members tried */
    uint16_t cut;       /* bit a text: it was too long, and its end is missing */
    bool http2;         /* of the client; version_minor means nothing then */
    bool https;         /* at the client, as far as it is believed */
    uint16_t lens[PROXY_LOG_TEXTS];
    int64_t wall_us;         /* when the head was there, since 1970 */
    int64_t duration_us;     /* until the last byte was taken by the kernel */
    int64_t first_byte_us;   /* until the first byte of the answer was; -1: none was */
    uint64_t request_bytes;  /* of the request's body */
    uint64_t response_bytes; /* to the client, heads included */
    uint64_t body_bytes;     /* ... without them, framing of chunks included */
    /* the texts follow, without anything between them */
};

struct proxy;
struct loop;
struct proxy_ring;

/* Runs on the control loop: there is something to read, `now` where the ring is filling up. Else
 * some milliseconds' patience gathers a whole write's worth. */
typedef void (*proxy_log_fn)(void *ctx, bool now);

/* The oldest record of a worker, or NULL; it stays until it is taken. */
const struct proxy_log_record *proxy_log_peek(struct proxy *proxy, uint32_t worker);
void proxy_log_take(struct proxy *proxy, uint32_t worker, const struct proxy_log_record *record);
/* To be called before a round of reading: from then on workers call again. */
void proxy_log_came(struct proxy *proxy);

/* Inside the room: a ring of records from one worker to the control thread. */
struct proxy_ring *proxy_ring_new(size_t bytes, struct loop *control, proxy_log_fn fn, void *ctx);
/* False: it is full. */
bool proxy_ring_put(struct proxy_ring *ring, const struct proxy_log_record *record,
                    const char *texts, size_t text_bytes);
const struct proxy_log_record *proxy_ring_peek(struct proxy_ring *ring);
void proxy_ring_take(struct proxy_ring *ring, const struct proxy_log_record *record);
void proxy_ring_came(struct proxy_ring *ring);

#endif
