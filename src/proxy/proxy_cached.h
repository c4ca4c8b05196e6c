/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_cached.h - the exchange and the cache: looking up, answering, filling, waiting for others,
 * fetching without a client.
 *
 * May touch:  base, http, cache, config. Included by proxy_priv.h.
 */
#ifndef PROXY_CACHED_H
#define PROXY_CACHED_H

#include "base/fr_err.h"
#include "base/fr_time.h"
#include "base/fr_view.h"
#include "cache/cache.h"
#include "http/http.h"

#include <sys/uio.h>

struct cache_disk_place;
struct iovec;
struct config_route;
struct proxy;
struct proxy_client;
struct proxy_exchange;

#define PROXY_STALL_US (10 * FR_US_PER_S) /* a response waits so long for one who streams along */
#define PROXY_STALL_LOOK_US 2000          /* ... and looks so often whether it still has to */

/* proxy.c */
/* One more fetch of what the cluster's ladder answers stale, of at most `max` on all workers; to be
 * given back when true. */
bool proxy_refresh_take(struct proxy *proxy, uint32_t cluster_slot, uint32_t max);
void proxy_refresh_give(struct proxy *proxy, uint32_t cluster_slot);

/* proxy_cached.c */
/* Looks the request up. HIT: x->entry answers it, by proxy_cached_answer. FORWARD: x->storing or
 * x->unsafe tell what its response means to the cache. REFUSED: it wants the cache or nothing. */
enum proxy_cached {
    PROXY_CACHED_HIT,
    PROXY_CACHED_WAIT, /* another one fetches it */
    PROXY_CACHED_FORWARD,
    PROXY_CACHED_REFUSED,
};
enum proxy_cached proxy_cached_look_up(struct proxy_exchange *x, const struct http_head *request,
                                       struct fr_view raw, const struct config_route *route);
/* An exchange without a client that fetches anew what x answers stale; NULL: one does already, or
 * the cluster's ladder has enough such fetches under way. */
struct proxy_exchange *proxy_cached_refresh(struct proxy_exchange *x,
                                            const struct http_head *request, struct fr_view raw);
struct proxy_worker;
int64_t proxy_cache_now_us(const struct proxy_worker *worker); /* cache_clock_us */
struct cache_request proxy_cached_request(const struct proxy_exchange *x,
                                          const struct http_head *request);
/* The request's head again, from the copy of its bytes, in worker->request_head. False: there is
 * none. */
bool proxy_cached_parse_again(struct proxy_exchange *x);
void proxy_cached_end(struct proxy_exchange *x); /* lets go of everything */

/* proxy_cached_answer.c */
void proxy_cached_answer(struct proxy_exchange *x, const struct http_head *request);
/* The head of an answer with this of x->entry, as iovecs behind *count of them. False: no memory.
 */
bool proxy_cached_put_head(struct proxy_exchange *x, const struct cache_selection *what,
                           struct iovec *iov, int *count);
/* The lines that the entry does not hold and the empty one; length < 0: it is not known. */
enum fr_err proxy_cached_put_fields(struct proxy_exchange *x, int64_t length);
/* Where byte `first` of x->entry's body is, of which `bytes` are to be sent; and the next slice. */
void proxy_cached_seek(struct proxy_exchange *x, uint64_t first, uint64_t bytes);
int proxy_cached_gather(struct proxy_exchange *x, struct iovec *iov, int count);
/* The value of Cache-Status of what a member answered or the store holds, in the worker's room;
 * empty where the edge has no cache. */
struct fr_view proxy_cached_status(const struct proxy_exchange *x);
/* The line of Cache-Status of an answer of the edge's own. */
enum fr_err proxy_cached_put_status(const struct proxy_exchange *x, struct fr_buf *out);

/* proxy_cached_fill.c */
/* A final response head came, before anything of it goes on. True: the client gets something else,
 * from what is stored; the member is done with. */
bool proxy_cached_takes(struct proxy_exchange *x, const struct http_head *response);
/* It goes on: begins storing, updates or invalidates. */
void proxy_cached_response(struct proxy_exchange *x, const struct http_head *response);
void proxy_cached_add(struct proxy_exchange *x, struct fr_view data);
/* Others stream along, and the slowest of them has to take some first: proxy_relay is called again.
 */
bool proxy_cached_stalls(struct proxy_exchange *x);
/* No member gave an answer. True: the client gets a stale one. Else *status may change. */
bool proxy_cached_rescues(struct proxy_exchange *x, int *status);
/* The conditions that the member is asked with. */
bool proxy_cached_replaces(const struct proxy_exchange *x, const struct http_field *field);

/* The member said all it had to say; `whole`: and its connection may be used again. */
void proxy_cached_member_done(struct proxy_exchange *x, bool whole);

/* proxy_cached_rest.c */
/* A final response head came to a request for the rest of x->part. True: it is another's, and the
 * member is asked anew; x may be gone. */
bool proxy_rest_takes(struct proxy_exchange *x, const struct http_head *response);
enum fr_err proxy_rest_head(struct proxy_exchange *x); /* of both: into down_head */
bool proxy_rest_send(struct proxy_exchange *x);        /* True: the beginning goes out now */

/* proxy_cached_wait.c */
/* LEAD: x->flight. WAIT: x->wait, and news come. */
enum cache_board proxy_wait_board(struct proxy_exchange *x, const struct cache_flight_id *id,
                                  int64_t now_us);
void proxy_wait_leave(struct proxy_exchange *x);

/* proxy_disk.c */
/* True: it begins again when the record is in memory, or has turned out to be of no use. */
bool proxy_disk_wait(struct proxy_exchange *x, const struct cache_disk_place *place);
void proxy_disk_leave(struct proxy_exchange *x);

/* proxy_disk_body.c */
/* x->entry is far: sends these bytes of it, and the head once the first of them are there. Where
 * they cannot be read the exchange begins again, as if the entry was not there. */
void proxy_disk_body_send(struct proxy_exchange *x, const struct cache_selection *what);
void proxy_disk_body_leave(struct proxy_exchange *x);

/* proxy_sink.c */
struct proxy_client *proxy_sink_new(const struct proxy_client *client); /* in whose name; or NULL */
void proxy_sink_free(struct proxy_client *sink);
void proxy_sink_send(struct proxy_exchange *x, void (*after)(struct proxy_exchange *));
/* True: others wait for what x fetches, so that it goes on without its client, who is closed. */
bool proxy_sink_take_over(struct proxy_exchange *x);

#endif
