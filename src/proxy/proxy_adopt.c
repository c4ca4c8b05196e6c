/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_adopt.c - a worker takes over a published snapshot: versions of clusters, pools of members,
 * retry budgets.
 *
 * May touch:  base, cluster, config.
 * Threads:    the worker's own. Adopting happens in a message's callback, so between exchanges'
 *             steps, never inside one.
 * Memory:     control work on a worker, once a change: fr_xalloc.
 * Cost:       that of what changed: blocks of clusters, and of members, that two snapshots share
 * are not looked at.
 */
#include "proxy/proxy_park.h"
#include "proxy/proxy_trouble.h"

/* ---- clusters ----------------------------------------------------------------------------- */

static struct proxy_cluster_state *
cluster_state(struct proxy_worker *worker, uint32_t slot)
{
    fr_require(slot < PROXY_CLUSTER_BLOCK * PROXY_CLUSTER_BLOCKS);
    struct proxy_cluster_state **place = &worker->cluster_blocks[slot / PROXY_CLUSTER_BLOCK];
    if (!*place) {
        struct proxy_cluster_state *block = fr_xalloc(PROXY_CLUSTER_BLOCK * sizeof(*block));
        for (uint32_t i = 0; i < PROXY_CLUSTER_BLOCK; i++) { /* the control thread reads these */
            block[i].worker = worker;
            block[i].lot.slot = slot / PROXY_CLUSTER_BLOCK * PROXY_CLUSTER_BLOCK + i;
        }
        __atomic_store_n(place, block, __ATOMIC_RELEASE); /* the control thread reads counters */
    }
    return *place + slot % PROXY_CLUSTER_BLOCK;
}

static void
cluster_free_if_done(struct proxy_cluster *cluster)
{
    if (cluster->current || cluster->uses > 0)
        return;
    cluster_view_unref(&cluster->view);
    fr_free(cluster);
}

void
proxy_cluster_use(struct proxy_cluster *cluster)
{
    cluster->uses++;
}

void
proxy_cluster_unuse(struct proxy_cluster **cluster)
{
    struct proxy_cluster *c = *cluster;
    *cluster = NULL;
    if (!c)
        return;
    fr_insist(c->uses > 0);
    c->uses--;
    cluster_free_if_done(c);
}

struct proxy_cluster *
proxy_cluster_of(struct proxy_worker *worker, const struct cluster_view *view)
{
    fr_insist(view->slot < worker->cluster_cap);
    struct proxy_cluster *cluster = worker->clusters[view->slot];
    fr_insist(cluster && cluster->view == view);
    return cluster;
}

struct proxy_cluster *
proxy_cluster_current(struct proxy_worker *worker, const struct proxy_cluster *cluster)
{
    uint32_t slot = cluster->view->slot;
    struct proxy_cluster *current = slot < worker->cluster_cap ? worker->clusters[slot] : NULL;
    /* A slot may have gone to another cluster since. */
    if (!current || strcmp(current->view->config->name, cluster->view->config->name) != 0)
        return NULL;
    return current;
}

static void
grow_clusters(struct proxy_worker *worker, uint32_t slot)
{
    if (slot < worker->cluster_cap)
        return;
    void *array = worker->clusters;
    fr_xgrow(&array, &worker->cluster_cap, slot + 1, sizeof(struct proxy_cluster *));
    worker->clusters = array;
}

static void
take_cluster(struct proxy_worker *worker, struct cluster_view *view)
{
    grow_clusters(worker, view->slot);
    struct proxy_cluster *cluster = fr_xalloc(sizeof(*cluster));
    cluster->view = cluster_view_ref(view);
    cluster->current = true;
    cluster->state = cluster_state(worker, view->slot);
    cluster->state->goal_us = view->goal_us;
    if (view->config->balance == CONFIG_BALANCE_PREQUAL && !cluster->state->prequal)
        cluster->state->prequal = cluster_prequal_new();
    worker->clusters[view->slot] = cluster;
}

static void
leave_cluster(struct proxy_worker *worker, uint32_t slot)
{
    struct proxy_cluster *cluster = worker->clusters[slot];
    worker->clusters[slot] = NULL;
    cluster->current = false;
    cluster_free_if_done(cluster);
}

/* ---- members ------------------------------------------------------------------------------ */

static void
grow_slots(struct proxy_worker *worker, uint32_t slot)
{
    if (slot < worker->slot_cap)
        return;
    size_t judgement_cap = worker->slot_cap;
    void *pools = worker->pools, *judgements = worker->judgements;
    fr_xgrow(&pools, &worker->slot_cap, slot + 1, sizeof(struct proxy_pool *));
    fr_xgrow(&judgements, &judgement_cap, worker->slot_cap, sizeof(struct cluster_judgement));
    worker->pools = pools;
    worker->judgements = judgements;
}

static struct proxy_pool *
pool_new(struct proxy_worker *worker, struct cluster_member *member)
{
    struct proxy_pool *pool = fr_xalloc(sizeof(*pool));
    pool->worker = worker;
    pool->member = cluster_member_ref(member);
    pool->stats = &member->stats[worker->index];
    fr_list_init(&pool->idle);
    fr_list_init(&pool->busy);
    fr_list_init(&pool->watches);
    fr_list_init(&pool->carriers);
    worker->pools[member->slot] = pool;
    worker->judgements[member->slot] = (struct cluster_judgement){0};
    return pool;
}

/* Active checks that find a member well again know more than our memory of its failures. */
static void
heed_checks(struct cluster_judgement *judgement, const struct cluster_endpoint *endpoint)
{
    if (endpoint->healthy && judgement->unhealthy) {
        judgement->ejected_until_us = 0;
        judgement->failures_in_row = 0;
    }
    judgement->unhealthy = !endpoint->healthy;
}

/* Places of a cluster's roster before and after, in blocks that have changed. A view that is shown
 * counts for each of its members. */
static void
show_member(void *ctx, const struct cluster_endpoint *before, const struct cluster_endpoint *after)
{
    struct proxy_worker *worker = ctx;
    if (!after)
        return;
    struct cluster_member *member = after->member;
    fr_require(worker->index < member->worker_count);
    grow_slots(worker, member->slot);
    struct proxy_pool *pool = worker->pools[member->slot];
    if (!pool)
        pool = pool_new(worker, member);
    /* A pool holds its member, and a held member keeps its slot. */
    fr_insist(pool->member == member);
    pool->shown += !before || before->member != member;
    heed_checks(&worker->judgements[member->slot], after);
}

static void
hide_member(void *ctx, const struct cluster_endpoint *before, const struct cluster_endpoint *after)
{
    struct proxy_worker *worker = ctx;
    if (!before || (after && after->member == before->member))
        return;
    struct proxy_pool *pool = worker->pools[before->slot];
    fr_insist(pool->shown > 0);
    if (--pool->shown > 0)
        return;
    proxy_probe_stop(pool);
    proxy_pool_close_idle(pool);
    if (worker->pools[before->slot])
        proxy_pool_settle(pool);
}

void
proxy_pool_settle(struct proxy_pool *pool)
{
    struct proxy_worker *worker = pool->worker;
    if (pool->shown > 0 || pool->connection_count > 0 || pool->in_flight > 0)
        return;
    worker->pools[pool->member->slot] = NULL;
    if (pool->trouble)
        loop_timer_stop(&pool->trouble->probe_timer);
    proxy_watch_settled(pool);
    tls_resume_clear(&pool->resume);
    cluster_member_unref(&pool->member);
    fr_free(pool->trouble);
    fr_free(pool);
}

/* ---- snapshots ---------------------------------------------------------------------------- */

static const struct cluster_roster *
roster_of(const struct cluster_slot *slot)
{
    return slot && slot->view ? &slot->view->roster : NULL;
}

/* slots of a snapshot before and after, in blocks that have changed */
static void
adopt_new(void *ctx, uint32_t number, const void *before, const void *after)
{
    struct proxy_worker *worker = ctx;
    const struct cluster_slot *old = before, *new = after;
    struct cluster_view *left = old ? old->view : NULL, *came = new ? new->view : NULL;
    if (left == came)
        return;
    if (left)
        leave_cluster(worker, number);
    if (came)
        take_cluster(worker, came);
    cluster_roster_compare(roster_of(old), roster_of(new), show_member, worker);
}

static void
adopt_loss(void *ctx, uint32_t number, const void *before, const void *after)
{
    (void)number;
    cluster_roster_compare(roster_of(before), roster_of(after), hide_member, ctx);
}

void
proxy_adopt(struct proxy_worker *worker, struct cluster_snapshot *take_snapshot)
{
    struct cluster_snapshot *old = worker->snapshot;
    struct fr_pvec none;
    fr_pvec_init(&none, take_snapshot->clusters.ops);
    worker->snapshot = take_snapshot;
    const struct fr_pvec *before = old ? &old->clusters : &none;
    /* Members that stay are never without a view that shows them: all that came are seen first. */
    fr_pvec_compare(before, &take_snapshot->clusters, adopt_new, worker);
    fr_pvec_compare(before, &take_snapshot->clusters, adopt_loss, worker);
    cluster_snapshot_unref(&old);
    PROXY_COUNT(worker, snapshots);
    __atomic_store_n(&worker->generation, take_snapshot->generation, __ATOMIC_RELEASE);
    proxy_park_release(worker);
}

void
proxy_adopt_none(struct proxy_worker *worker)
{
    cluster_snapshot_unref(&worker->snapshot);
    for (uint32_t i = 0; i < worker->cluster_cap; i++)
        if (worker->clusters[i])
            leave_cluster(worker, i);
    for (size_t i = 0; i < worker->slot_cap; i++) {
        struct proxy_pool *pool = worker->pools[i];
        if (!pool)
            continue;
        pool->shown = 0;
        proxy_pool_settle(pool);
    }
}

/* ---- retry budget ------------------------------------------------------------------------- */

static void
budget_turn(struct proxy_cluster_state *state, int64_t now_us)
{
    int64_t passed_us = now_us - state->half_from_us;
    if (passed_us < PROXY_BUDGET_HALF_US)
        return;
    bool next = passed_us < 2 * PROXY_BUDGET_HALF_US;
    state->half_requests[1] = next ? state->half_requests[0] : 0;
    state->half_retries[1] = next ? state->half_retries[0] : 0;
    state->half_requests[0] = state->half_retries[0] = 0;
    state->half_from_us = now_us;
}

void
proxy_budget_request(struct proxy_cluster *cluster, int64_t now_us)
{
    budget_turn(cluster->state, now_us);
    cluster->state->half_requests[0]++;
}

/* Retries may be retry_budget of the requests of the last 5 to 10 s, and always PROXY_BUDGET_FLOOR:
 * else a quiet cluster could never retry. True counts one. */
bool
proxy_budget_allows(struct proxy_cluster *cluster, int64_t now_us)
{
    struct proxy_cluster_state *state = cluster->state;
    budget_turn(state, now_us);
    double allowed = cluster->view->config->retry_budget *
                     (double)(state->half_requests[0] + state->half_requests[1]);
    /* A budget of 0 is a wish not to retry at all. */
    if (cluster->view->config->retry_budget > 0 && allowed < PROXY_BUDGET_FLOOR)
        allowed = PROXY_BUDGET_FLOOR;
    if ((double)(state->half_retries[0] + state->half_retries[1]) + 1 > allowed) {
        cluster_count_add(&state->counters.retry_budget_refusals, 1);
        return false;
    }
    state->half_retries[0]++;
    cluster_count_add(&state->counters.retries, 1);
    return true;
}
