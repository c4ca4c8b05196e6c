/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_queue.c - places in a cluster: at most max-in-flight requests, of all workers together, are
 * under way in it, or as many as the ladder's rung `queue` says; the others wait in a line of their
 * worker.
 *
 * May touch:  base, loop, cluster, config.
 * Order:      first come, first served, until requests have waited longer than queue.target for
 *             PROXY_QUEUE_INTERVAL_US: then the newest goes first. Under such load not everyone can
 *             be served in time, and the newest client is the likeliest to be still there (CoDel's
 *             test for a standing queue, Nichols and Jacobson, ACM Queue 2012; the newest first as
 *             in "Fail at Scale", Maurer, ACM Queue 2015).
 * Limits:     queue.length requests a worker and cluster; queue.wait for each. Past them: 503 with
 *             Retry-After. In the newest-first order a full line loses its oldest.
 * Sharing:    each worker writes the count of its own places and reads those of the others, only
 *             in clusters with a limit. Two workers that read at once may overshoot it by one each.
 *             A worker whose line waits for a place of another one looks every PROXY_QUEUE_LOOK_US.
 */
#include "proxy/proxy_priv.h"

#define PROXY_QUEUE_INTERVAL_US 100000
#define PROXY_QUEUE_LOOK_US 2000
#define PROXY_QUEUE_RETRY_AFTER_S 1

static void queue_serve(void *ctx);

static bool
has_place(const struct proxy_exchange *x)
{
    struct proxy_cluster *current =
        x->cluster->current ? x->cluster : proxy_cluster_current(x->worker, x->cluster);
    const struct cluster_view *view = current ? current->view : x->cluster->view;
    uint32_t places = view->config->max_in_flight;
    if ((view->rungs & CONFIG_RUNG_QUEUE) && (places == 0 || view->queue_limit < places))
        places = view->queue_limit > 0 ? view->queue_limit : 1;
    return places == 0 || proxy_places_taken(x->worker->proxy, view->slot) < places;
}

static void
place_take(struct proxy_exchange *x)
{
    x->placed = true;
    cluster_count_add(&x->cluster->state->in_flight, 1);
}

static struct proxy_exchange *
waiter_of(struct fr_list *node)
{
    return FR_CONTAINER(node, struct proxy_exchange, queue_link);
}

static void
line_leave(struct proxy_exchange *x)
{
    struct proxy_cluster_state *state = x->cluster->state;
    x->queued = false;
    x->queued_for_us = loop_now_us(x->worker->loop) - x->queued_us;
    fr_list_remove(&x->queue_link);
    state->queue_length--;
    cluster_count_add(&state->counters.queued_now, (uint64_t)-1);
    cluster_count_add(&x->worker->counters.queue_waiting, (uint64_t)-1);
    if (state->queue_length == 0)
        loop_timer_stop(&state->queue_timer);
}

static void
refuse(struct proxy_exchange *x, const char *words)
{
    struct proxy_answer answer = {
        .status = 503, .words = words, .retry_after_s = PROXY_QUEUE_RETRY_AFTER_S};
    proxy_local_answer(x, &answer);
}

/* It waited in vain. One that would have been late by now is counted so; another says nothing. */
static void
give_up(struct proxy_exchange *x, const char *words)
{
    line_leave(x);
    if (x->queued_for_us > x->cluster->state->goal_us)
        proxy_forward_timed(x, 0);
    refuse(x, words);
}

/* Whether a queue has stood above its target for so long that it will not go away by itself. */
static bool
newest_first(struct proxy_cluster_state *state, int64_t now_us)
{
    if (state->queue_length == 0)
        return false;
    const struct proxy_exchange *oldest = waiter_of(state->queue.next);
    if (now_us - oldest->queued_us <= oldest->cluster->view->config->queue.target_us) {
        state->over_since_us = 0;
        return false;
    }
    if (state->over_since_us == 0)
        state->over_since_us = now_us;
    return now_us - state->over_since_us >= PROXY_QUEUE_INTERVAL_US;
}

static void
line_join(struct proxy_exchange *x)
{
    struct proxy_worker *worker = x->worker;
    struct proxy_cluster_state *state = x->cluster->state;
    if (!state->queue.next)
        fr_list_init(&state->queue);
    x->queued = true;
    x->queued_us = loop_now_us(worker->loop);
    fr_list_push_back(&state->queue, &x->queue_link);
    state->queue_length++;
    cluster_count_add(&state->counters.queued_now, 1);
    PROXY_COUNT(worker, queued);
    PROXY_COUNT(worker, queue_waiting);
    if (!loop_timer_running(&state->queue_timer))
        loop_timer_start(worker->loop, &state->queue_timer, PROXY_QUEUE_LOOK_US, queue_serve,
                         state);
}

bool
proxy_queue_enter(struct proxy_exchange *x)
{
    struct proxy_cluster_state *state = x->cluster->state;
    const struct config_queue *limits = &x->cluster->view->config->queue;
    /* Whoever waits already goes before whoever comes, even if a place is free right now. */
    if (state->queue_length == 0 && has_place(x)) {
        place_take(x);
        return true;
    }
    if (state->queue_length >= limits->length) {
        PROXY_COUNT(x->worker, queue_refusals);
        if (limits->length == 0 || !newest_first(state, loop_now_us(x->worker->loop))) {
            refuse(x, "too many requests are waiting: try again");
            return false;
        }
        struct proxy_exchange *oldest = waiter_of(state->queue.next);
        give_up(oldest, "too many requests are waiting: try again");
    }
    line_join(x);
    return false;
}

/* Those who have waited too long are answered, oldest first. */
static void
expire(struct proxy_cluster_state *state, int64_t now_us)
{
    while (state->queue_length > 0) {
        struct proxy_exchange *oldest = waiter_of(state->queue.next);
        if (now_us - oldest->queued_us < oldest->cluster->view->config->queue.wait_us)
            return;
        PROXY_COUNT(state->worker, queue_timeouts);
        give_up(oldest, "no place came free in time: try again");
    }
}

static void
queue_serve(void *ctx)
{
    struct proxy_cluster_state *state = ctx;
    int64_t now_us = loop_now_us(state->worker->loop);
    expire(state, now_us);
    (void)newest_first(state, now_us); /* a queue can stand while nothing leaves it, too */
    while (state->queue_length > 0 && has_place(waiter_of(state->queue.next))) {
        bool newest = newest_first(state, now_us);
        struct proxy_exchange *x = waiter_of(newest ? state->queue.prev : state->queue.next);
        line_leave(x);
        place_take(x);
        proxy_forward_resume(x); /* may end it, and so free its place: that only starts the timer */
    }
    if (state->queue_length > 0 && !loop_timer_running(&state->queue_timer))
        loop_timer_start(state->worker->loop, &state->queue_timer, PROXY_QUEUE_LOOK_US, queue_serve,
                         state);
}

void
proxy_queue_leave(struct proxy_exchange *x)
{
    if (x->queued)
        line_leave(x);
    if (!x->placed)
        return;
    struct proxy_cluster_state *state = x->cluster->state;
    x->placed = false;
    cluster_count_add(&state->in_flight, (uint64_t)-1);
    /* Not from in here: serving may end an exchange, whose end would serve again, and so on. */
    if (state->queue_length > 0)
        loop_timer_start(x->worker->loop, &state->queue_timer, 0, queue_serve, state);
}
