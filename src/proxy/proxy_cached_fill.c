/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_cached_fill.c - responses and the cache: what is stored, what only updates what is stored,
 * what is no longer valid, and what is answered where no member answers.
 *
 * May touch:  base, http, cache.
 * Follows:    RFC 9111 sections 3, 4.2.4, 4.3 and 4.4; RFC 5861 section 4; RFC 9110 section 9.3.3.
 */
#include "http/http_reference.h"
#include "proxy/proxy_priv.h"

/* ---- validation ------------------------------------------------------------------------------ */

bool
proxy_cached_replaces(const struct proxy_exchange *x, const struct http_field *field)
{
    switch (field->known) {
    case HTTP_FIELD_IF_NONE_MATCH:
    case HTTP_FIELD_IF_MODIFIED_SINCE:
        return x->validating || x->background;
    case HTTP_FIELD_RANGE:
    case HTTP_FIELD_IF_RANGE:
        return x->background || x->part; /* it fetches all of it; or what is missing */
    default:
        return false;
    }
}

void
proxy_cached_member_done(struct proxy_exchange *x, bool whole)
{
    x->member_status = x->status;
    x->response_keep = x->response_keep && whole;
    x->response_done = true;
    proxy_partial_clear(&x->up->partial);
    proxy_input_shift(&x->up->in);
    proxy_forward_end(x, PROXY_ATTEMPT_OK);
}

static void
answer_from(struct proxy_exchange *x, struct cache_entry *take_entry)
{
    x->entry = take_entry;
    x->from_cache = true;
    x->storing = false;
    if (x->client->sink) {
        x->begun = true;
        proxy_exchange_reply(x);
        return;
    }
    proxy_cached_answer(x, &x->worker->request_head);
}

/* A 304 to our own conditions. */
static void
take_304(struct proxy_exchange *x, const struct http_head *response)
{
    struct cache_request wanted = proxy_cached_request(x, &x->worker->request_head);
    bool other = false;
    struct cache_entry *fresh =
        cache_entry_freshen(x->stale, &wanted, response, x->request_wall_us, wanted.now_us, &other);
    PROXY_COUNT(x->worker, cache_validated);
    proxy_cached_member_done(x, true);
    x->stored = fresh != NULL;
    if (x->flight)
        cache_flight_whole(&x->flight, fresh ? fresh : x->stale);
    x->entry_counted = fresh != NULL;
    /* Without memory for a new head the old one is as true as the member says. */
    answer_from(x, fresh ? fresh : cache_entry_hold(x->worker->cache_reader, x->stale));
}

static bool
is_failure(int status) /* RFC 5861 section 4 */
{
    return status == 500 || status == 502 || status == 503 || status == 504;
}

static void
answer_stale(struct proxy_exchange *x)
{
    x->stale_on_error = true;
    PROXY_COUNT(x->worker, cache_stale_on_error);
    proxy_note_cache(x, PROXY_LOG_CACHE_STALE);
    answer_from(x, cache_entry_hold(x->worker->cache_reader, x->stale));
}

bool
proxy_cached_takes(struct proxy_exchange *x, const struct http_head *response)
{
    bool confirmed = x->validating && response->status == 304;
    if (!x->stale || (!confirmed && !is_failure(response->status)) || !proxy_cached_parse_again(x))
        return false;
    if (confirmed) {
        take_304(x, response);
        return true;
    }
    struct cache_request wanted = proxy_cached_request(x, &x->worker->request_head);
    if (!cache_entry_serves_error(x->stale, &wanted, true))
        return false;
    proxy_cached_member_done(x, false);
    if (x->flight)
        cache_flight_fail(&x->flight, x->status);
    answer_stale(x);
    return true;
}

bool
proxy_cached_rescues(struct proxy_exchange *x, int *status)
{
    if (x->flight)
        cache_flight_fail(&x->flight, *status);
    if (!x->stale || *status < 500 || !proxy_cached_parse_again(x))
        return false;
    struct cache_request wanted = proxy_cached_request(x, &x->worker->request_head);
    if (cache_entry_serves_error(x->stale, &wanted, false)) {
        answer_stale(x);
        return true;
    }
    if (cache_entry_must_validate(x->stale)) /* RFC 9111 section 5.2.2.2 */
        *status = 504;
    return false;
}

/* ---- invalidation ---------------------------------------------------------------------------- */

/* Section 4.4: what Location and Content-Location name, of the same origin. True: it is the target.
 */
static bool
invalidate_named(struct proxy_exchange *x, const struct cache_request *wanted,
                 struct fr_view reference)
{
    char room[4096];
    struct http_head named = *wanted->head;
    struct cache_request other = *wanted;
    struct http_base base = {
        .scheme = wanted->scheme,
        .authority = wanted->head->host,
        .path = wanted->head->path,
    };
    other.head = &named;
    if (!http_reference_resolve(&base, reference, room, sizeof(room), &named.path, &named.query,
                                &named.has_query))
        return false;
    if (fr_view_eq(named.path, wanted->head->path) && named.has_query == wanted->head->has_query &&
        (!named.has_query || fr_view_eq(named.query, wanted->head->query)))
        return true;
    cache_invalidate(x->worker->cache, &other);
    return false;
}

/* RFC 9110 section 9.3.3: a POST's answer that says it is the target's representation, and for how
 * long, answers later GETs. */
static void
store_post(struct proxy_exchange *x, const struct cache_request *wanted,
           const struct http_head *response)
{
    struct http_head get = *wanted->head;
    struct cache_request as_get = *wanted;
    struct cache_policy policy = x->policy;
    get.method = HTTP_GET;
    get.framing = HTTP_BODY_NONE;
    policy.heuristic_max_us = policy.negative_us = 0;
    as_get.head = &get;
    as_get.policy = &policy;
    /* It was asked for before the invalidation, and is what came of it. */
    x->filler = cache_fill_begin(x->worker->cache, &as_get, response, x->response_framing,
                                 wanted->now_us + 1, wanted->now_us + 1);
}

static void
after_unsafe(struct proxy_exchange *x, const struct http_head *response)
{
    struct cache_request wanted = proxy_cached_request(x, &x->worker->request_head);
    const struct http_field *location = http_head_find_name(response, FR_VIEW("location"));
    const struct http_field *content = http_head_find_name(response, FR_VIEW("content-location"));
    cache_invalidate(x->worker->cache, &wanted);
    if (location)
        (void)invalidate_named(x, &wanted, location->value); /* the target is already */
    if (content && invalidate_named(x, &wanted, content->value) && x->method == HTTP_POST &&
        response->status == 200)
        store_post(x, &wanted, response);
}

/* ---- storing --------------------------------------------------------------------------------- */

/* RFC 9111 section 4.3.5. An error of the member's says nothing of what is stored. */
static void
after_head(struct proxy_exchange *x, const struct cache_request *wanted,
           const struct http_head *response)
{
    bool other = false;
    if (!x->stale || response->status < 200 || response->status == 304 || response->status >= 500)
        return;
    struct cache_entry *fresh =
        cache_entry_freshen(x->stale, wanted, response, x->request_wall_us, wanted->now_us, &other);
    if (other)
        cache_forget(x->worker->cache, wanted);
    cache_entry_unref(&fresh);
}

/* Those who wait get it as it comes, or are told that it is nothing for them. */
static void
store_get(struct proxy_exchange *x, const struct cache_request *wanted,
          const struct http_head *response)
{
    struct cache_store *store = x->worker->cache;
    x->filler = cache_fill_begin(store, wanted, response, x->response_framing, x->request_wall_us,
                                 wanted->now_us);
    /* What was asked about is outdated by any full answer; one that is stored takes its place. */
    if ((x->stale || x->part) && !x->filler && response->status < 500 && response->status != 304 &&
        response->status != 206)
        cache_forget(store, wanted);
    if (x->flight && (!x->filler || !cache_fill_share(x->filler, &x->flight)))
        cache_flight_alone(store, &x->flight, response->status < 500, wanted->now_us);
}

void
proxy_cached_response(struct proxy_exchange *x, const struct http_head *response)
{
    struct proxy_worker *worker = x->worker;
    if (x->completes)
        return; /* it is being stored already */
    x->member_status = response->status;
    /* RFC 9111 section 4.4: a success is 2xx or 3xx. */
    bool invalidates = x->unsafe && response->status >= 200 && response->status < 400;
    if ((!x->storing && !invalidates) || !proxy_cached_parse_again(x)) {
        if (x->flight) /* it was to be stored, and is for one client alone after all */
            cache_flight_alone(worker->cache, &x->flight, false, proxy_cache_now_us(worker));
        return;
    }
    struct cache_request wanted = proxy_cached_request(x, &worker->request_head);
    if (invalidates)
        after_unsafe(x, response);
    else if (x->method == HTTP_HEAD)
        after_head(x, &wanted, response);
    else
        store_get(x, &wanted, response);
    x->stored = x->filler != NULL;
}

void
proxy_cached_add(struct proxy_exchange *x, struct fr_view data)
{
    /* Too large after all: the filler is gone then, and the response goes on unstored; where there
     * is no client it is for nobody. */
    if (!x->filler || cache_fill_add(&x->filler, data) == FR_OK)
        return;
    x->storing = false;
    x->outgrown = x->client->sink;
}

static void
on_stall_look(void *ctx)
{
    struct proxy_exchange *x = ctx;
    fr_insist(x->magic == PROXY_EXCHANGE_MAGIC);
    if (x->up)
        proxy_relay(x);
}

bool
proxy_cached_stalls(struct proxy_exchange *x)
{
    int64_t now_us = loop_now_us(x->worker->loop);
    if (!cache_fill_stalls(x->filler)) {
        x->stalled_us = 0;
        return false;
    }
    if (x->stalled_us == 0)
        x->stalled_us = now_us;
    if (now_us - x->stalled_us >= PROXY_STALL_US)
        return false; /* the next bytes leave the slowest behind */
    if (x->up)
        loop_timer_stop(&x->up->timer); /* the silence is not the member's */
    proxy_exchange_timer(x, &x->stall, PROXY_STALL_LOOK_US, on_stall_look);
    return true;
}
