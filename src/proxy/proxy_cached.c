/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_cached.c - the exchange asks the cache: what it is looked up by, and what comes of it.
 *
 * May touch:  base, http, cache, config.
 * Memory:     for a request that may be stored its head is copied, because Vary and the key are
 *             asked for again when the response is there.
 * Limits:     while rung `stale` of a cluster's ladder is in force, ladder.refreshes fetches of the
 *             cache's own at a time, of all workers. When full: what is stale is answered, and not
 *             fetched.
 * Cost:       a hit: no allocation, one send where the body is at most PROXY_SEND_BYTES_MAX.
 * Follows:    RFC 9111 section 4.
 *
 * The rest of it: proxy_cached_answer.c sends what is stored, proxy_cached_fill.c looks at
 * responses, proxy_cached_rest.c completes what is stored in part.
 */
#include "proxy/proxy_priv.h"

#include "base/fr_put.h"

int64_t
proxy_cache_now_us(const struct proxy_worker *worker)
{
    return cache_clock_us(worker->cache, loop_wall_us(worker->loop), loop_now_us(worker->loop));
}

struct cache_request
proxy_cached_request(const struct proxy_exchange *x, const struct http_head *request)
{
    int64_t now_us = proxy_cache_now_us(x->worker);
    return (struct cache_request){
        .head = request,
        .scheme = x->https ? FR_VIEW("https") : FR_VIEW("http"),
        .host = fr_view_make(x->host, x->host_len),
        .now_us = now_us,
        .ahead_us = now_us - loop_wall_us(x->worker->loop),
        .serial = x->request_serial,
        .owner = x->cache_owner,
        .policy = &x->policy,
        .reader = x->worker->cache_reader,
    };
}

/* Members see a host that a trusted proxy names, and may write it into their answers. */
static bool
add_claimed_host(struct proxy_exchange *x)
{
    struct fr_view claimed = x->worker->trust.host;
    if (claimed.len == 0 || fr_view_ieq(claimed, fr_view_make(x->host, x->host_len)))
        return true;
    if (claimed.len + 1 > sizeof(x->host) - x->host_len)
        return false;
    x->host[x->host_len] = ' '; /* stands in no host */
    (void)fr_put_lower(x->host + x->host_len + 1, claimed);
    x->host_len += claimed.len + 1;
    return true;
}

bool
proxy_cached_parse_again(struct proxy_exchange *x)
{
    struct proxy_worker *worker = x->worker;
    struct http_err err;
    size_t scanned = 0;
    return x->raw_head.len > 0 &&
           http_request_parse(fr_buf_view(&x->raw_head), &worker->http_limits, &scanned,
                              &worker->request_head, &err) == HTTP_DONE;
}

/* It goes to a member, and what comes back concerns the cache. Without memory it is just forwarded.
 */
static bool
keep_head(struct proxy_exchange *x, struct fr_view raw, int64_t now_us)
{
    x->request_wall_us = now_us;
    x->request_serial = cache_purge_serial(x->worker->cache);
    if (raw.ptr == x->raw_head.data) /* it was kept before it waited */
        return true;
    fr_buf_clear(&x->raw_head);
    return fr_buf_append_view(&x->raw_head, raw) == FR_OK;
}

static struct proxy_cluster *
cluster_of(const struct proxy_exchange *x)
{
    return x->worker->clusters[x->cache_owner];
}

/* Rung `stale` of its ladder is in force: its members are at their upper level. */
static bool
is_laddered(const struct proxy_exchange *x)
{
    return cluster_of(x)->view->rungs & CONFIG_RUNG_STALE;
}

static enum proxy_cached
hit(struct proxy_exchange *x, const struct cache_found *found, bool stale)
{
    x->laddered = found->relieved && is_laddered(x);
    x->relieved = found->relieved && !x->laddered;
    x->refresh = found->refresh || x->laddered;
    x->flight_id = found->flight;
    if (x->laddered)
        cluster_count_add(&cluster_of(x)->state->counters.ladder_stale, 1);
    PROXY_COUNT(x->worker, cache_hits);
    if (stale)
        PROXY_COUNT(x->worker, cache_stale);
    proxy_note_cache(x, stale ? PROXY_LOG_CACHE_STALE : PROXY_LOG_CACHE_HIT);
    x->entry = found->entry;
    x->from_cache = true;
    return PROXY_CACHED_HIT;
}

/* Whether the response may be for others who ask now, and theirs for this one: what is asked for
 * with credentials, in part, on a condition or for its newness is not. */
static bool
may_board(const struct proxy_exchange *x, const struct http_head *request)
{
    static const enum http_known own[] = {HTTP_FIELD_AUTHORIZATION, HTTP_FIELD_RANGE};
    static const enum http_known conditions[] = {HTTP_FIELD_IF_NONE_MATCH,
                                                 HTTP_FIELD_IF_MODIFIED_SINCE};
    if (!x->storing || x->alone || x->method != HTTP_GET || x->forward == CACHE_FORWARD_REQUEST)
        return false;
    for (size_t i = 0; i < 2; i++)
        if (http_head_find(request, own[i]) ||
            (!x->validating && http_head_find(request, conditions[i])))
            return false;
    return true;
}

static enum proxy_cached
miss(struct proxy_exchange *x, const struct http_head *request, const struct cache_found *found,
     struct fr_view raw, int64_t now_us)
{
    struct cache_validators validators = {0};
    struct cache_flight_id id = found->flight;
    proxy_note_cache(x, PROXY_LOG_CACHE_MISS);
    x->storing = keep_head(x, raw, now_us);
    x->stale = found->entry;
    if (x->stale)
        cache_entry_validators(x->stale, &validators);
    x->validating = x->storing && (validators.etag.len > 0 || validators.modified.len > 0);
    if (!may_board(x, request))
        return PROXY_CACHED_FORWARD;
    if (x->select_known)
        id.select = x->flight_id.select;
    if (proxy_wait_board(x, &id, now_us) == CACHE_BOARD_WAIT)
        return PROXY_CACHED_WAIT;
    if (found->part)
        x->part = cache_entry_hold(x->worker->cache_reader, found->part);
    return PROXY_CACHED_FORWARD;
}

/* Members at their upper level are not asked for many things at once that nobody waits for. */
static bool
refresh_enter(struct proxy_exchange *x)
{
    struct proxy_cluster *cluster = cluster_of(x);
    if (proxy_refresh_take(x->worker->proxy, x->cache_owner,
                           cluster->view->config->ladder.refreshes))
        return true;
    cluster_count_add(&cluster->state->counters.ladder_refreshes_held, 1);
    return false;
}

/* The one that leads the flight, which it takes, in x's name; NULL: no memory. */
static struct proxy_exchange *
refresh_begin(struct proxy_exchange *x, struct cache_flight *take_flight, struct fr_view raw)
{
    struct proxy_worker *worker = x->worker;
    struct cache_validators validators;
    struct proxy_exchange *fetch = proxy_exchange_new_background(x);
    if (!fetch) {
        cache_flight_lost(&take_flight);
        return NULL;
    }
    PROXY_COUNT(worker, cache_fetches);
    fetch->flight = take_flight;
    fetch->stale = cache_entry_hold(worker->cache_reader, x->entry);
    fetch->forward = CACHE_FORWARD_STALE;
    fetch->storing = keep_head(fetch, raw, proxy_cache_now_us(worker));
    cache_entry_validators(fetch->stale, &validators);
    fetch->validating = fetch->storing && (validators.etag.len > 0 || validators.modified.len > 0);
    return fetch;
}

struct proxy_exchange *
proxy_cached_refresh(struct proxy_exchange *x, const struct http_head *request, struct fr_view raw)
{
    struct proxy_worker *worker = x->worker;
    struct cache_flight *flight = NULL;
    struct proxy_exchange *fetch = NULL;
    bool bounded = is_laddered(x);
    if (request->method != HTTP_GET || (bounded && !refresh_enter(x)))
        return NULL;
    if (cache_flight_board(worker->cache, &x->flight_id, proxy_cache_now_us(worker), NULL,
                           &flight) == CACHE_BOARD_LEAD)
        fetch = refresh_begin(x, flight, raw);
    x->refreshed = fetch != NULL;
    if (fetch && bounded) {
        fetch->counted = true;
        cluster_count_add(&cluster_of(x)->state->counters.ladder_refreshes, 1);
    } else if (bounded) {
        proxy_refresh_give(worker->proxy, x->cache_owner);
    }
    return fetch;
}

/* What the route changes of the rules, copied: the exchange may outlive this version of it. False:
 * it does not fit. */
static bool
take_policy(struct proxy_exchange *x, const struct config_caching *caching)
{
    x->policy = (struct cache_policy){
        .ttl_us = caching->ttl_us > 0 ? caching->ttl_us : CACHE_UNSET,
        .negative_us = caching->negative_us,
        .grace_us = caching->grace_us,
        .heuristic_max_us = caching->heuristic_max_us,
        .set_cookie = (enum cache_set_cookie)caching->set_cookie,
        .ignore_cookies = caching->ignore_cookies,
        .surrogate = caching->surrogate,
        .key_any_host = !caching->key_host,
        .key_query = (enum cache_query)caching->key_query,
    };
    if (!caching->key_headers)
        return true;
    if (!fr_view_copy(fr_view_of(caching->key_headers), x->key_headers, sizeof(x->key_headers)))
        return false;
    x->policy.key_headers = fr_view_of(x->key_headers);
    return true;
}

/* The list is taken apart as config_route.c does, which noted the lengths. */
static bool
has_field(const struct http_head *request, const struct config_caching *caching)
{
    struct fr_view names = fr_view_of(caching->bypass_headers), name;
    bool may = false;
    for (size_t i = 0; i < request->field_count && !may; i++) {
        size_t len = request->fields[i].name.len;
        may = caching->bypass_lengths >> (len < 63 ? len : 63) & 1;
    }
    while (may && fr_view_split(&names, ',', &name))
        if (http_head_find_name(request, fr_view_trim(name)))
            return true;
    return false;
}

/* Whether the route keeps this request away from the cache. */
static bool
passes_by(const struct http_head *request, const struct config_caching *caching)
{
    struct fr_view names, name;
    struct http_cookie cookie;
    if (has_field(request, caching))
        return true;
    names = fr_view_of(caching->bypass_cookies);
    while (http_list_next(&names, &name))
        if (http_cookie_find(request, name, &cookie))
            return true;
    return false;
}

/* What memory does not hold may be on disk. True: the exchange waits for it. */
static bool
waits_for_disk(struct proxy_exchange *x, const struct cache_found *found,
               const struct cache_request *wanted, struct fr_view raw)
{
    struct cache_disk_place place;
    struct disk *disk = x->worker->disk;
    if (!disk || !found->absent || x->disk_asked || x->near_only)
        return false;
    x->disk_asked = true;
    return cache_disk_find(disk_cache(disk), wanted, &place) && keep_head(x, raw, wanted->now_us) &&
           proxy_disk_wait(x, &place);
}

enum proxy_cached
proxy_cached_look_up(struct proxy_exchange *x, const struct http_head *request, struct fr_view raw,
                     const struct config_route *route)
{
    struct proxy_worker *worker = x->worker;
    struct cache_found found = {.forward = CACHE_FORWARD_BYPASS};
    bool again = x->cached && !x->disk_waited; /* it has waited for another one's response */
    bool relieved = (worker->snapshot->relief & (1u << CONFIG_STEP_STALE)) || is_laddered(x);
    x->cached = x->forwarded = true;
    x->disk_waited = false;
    x->forward = CACHE_FORWARD_BYPASS;
    if (!take_policy(x, &route->caching) || !add_claimed_host(x) ||
        (passes_by(request, &route->caching) && http_method_safe(request->method))) {
        proxy_note_cache(x, PROXY_LOG_CACHE_BYPASS);
        PROXY_COUNT(worker, cache_bypasses);
        return PROXY_CACHED_FORWARD;
    }
    struct cache_request wanted = proxy_cached_request(x, request);
    wanted.stale_max_us = relieved ? route->stale_us : 0;
    wanted.takes_part = !x->rest_refused;
    wanted.near_only = x->near_only;
    enum cache_answer answer = cache_lookup(worker->cache, &wanted, &found);
    x->forward = found.forward;
    if (waits_for_disk(x, &found, &wanted, raw))
        return PROXY_CACHED_WAIT;
    switch (answer) {
    case CACHE_FRESH:
    case CACHE_STALE_ALLOWED:
        x->forwarded = false;
        /* A body on disk may turn out to be no more there: then all begins again. */
        if (cache_entry_is_far(found.entry) && !keep_head(x, raw, wanted.now_us))
            fr_buf_clear(&x->raw_head);
        return hit(x, &found, answer == CACHE_STALE_ALLOWED);
    case CACHE_GATEWAY_TIMEOUT:
        x->forwarded = false;
        PROXY_COUNT(worker, cache_misses);
        proxy_note_cache(x, PROXY_LOG_CACHE_MISS);
        return PROXY_CACHED_REFUSED;
    case CACHE_MISS:
    case CACHE_VALIDATE:
        break;
    case CACHE_BYPASS:
        PROXY_COUNT(worker, cache_bypasses);
        proxy_note_cache(x, PROXY_LOG_CACHE_BYPASS);
        if (!http_method_safe(request->method))
            x->unsafe = keep_head(x, raw, wanted.now_us);
        return PROXY_CACHED_FORWARD;
    }
    if (!again)
        PROXY_COUNT(worker, cache_misses);
    enum proxy_cached cached = miss(x, request, &found, raw, wanted.now_us);
    cache_entry_let_go(worker->cache_reader, &found.part);
    return cached;
}

void
proxy_cached_end(struct proxy_exchange *x)
{
    proxy_wait_leave(x);
    proxy_disk_leave(x);
    proxy_disk_body_leave(x);
    if (x->flight)
        cache_flight_lost(&x->flight);
    cache_fill_drop(&x->filler);
    if (x->counted)
        proxy_refresh_give(x->worker->proxy, x->cache_owner);
    if (x->entry_counted)
        cache_entry_unref(&x->entry);
    cache_entry_let_go(x->worker->cache_reader, &x->entry);
    cache_entry_let_go(x->worker->cache_reader, &x->stale);
    cache_entry_let_go(x->worker->cache_reader, &x->part);
}
