/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_prequal.c - the balancer that looks at requests in flight and latency of a few members at
 * a time, and avoids those that are slow before it evens out those that are fast.
 *
 * May touch:  base, config. Never: sockets, clocks, shared writes.
 * Probes:     no message: the edge carries all its requests itself, so what a member would answer
 *             is read here. In flight: of all workers, from the counters they publish. Latency:
 *             the median of what this worker saw of the member at a like number in flight.
 * Lanes:      a probe is hot when its requests in flight are among the highest fifth of those seen
 *             lately. Of the cold ones the fastest is picked; if all are hot, the least loaded.
 * Aversion:   a member that fails answers fast and has nothing in flight, which looks like the
 *             best of all. Its failures count as waits (cost_us); they fade, so that it is tried
 *             again.
 * Limits:     POOL_MAX probes, each for AGE_MAX_US and a number of picks.
 * Cost:       POOL_MAX times WINDOW comparisons at most; no allocation.
 * Follows:    Wydrowski, Kleinberg, Rumble and Archer, "Load is not what you should balance:
 *             Introducing Prequal" (NSDI 2024).
 */
#include "cluster/cluster_balance_priv.h"

#include "base/fr_mem.h"

#include <math.h>

#define POOL_MAX 16
#define PROBES 3           /* new ones a pick */
#define PROBES_MORE 8      /* where all that are known fail */
#define AGE_MAX_US 1000000 /* of a probe */
#define REUSE_MAX 8        /* picks by one probe, where the members are few */
#define REUSE_DELTA 1.0    /* the paper's: by how much probes may outgrow their use */
#define WINDOW 64          /* numbers in flight that tell what is high */
#define HOT_SHARE 0.8      /* of them, that are lower than a hot one's */
#define NEAREST 5          /* samples at a like number in flight */
#define ALIKE 0.25         /* latencies nearer than this are equal */
#define FAILING_GAIN 0.1   /* weight of one request in the share of failures */
#define FAILING_MAX 0.1    /* a higher share is avoided */
#define FAILURE_US 5e5     /* what a failure costs, as a wait */
#define SUCCEEDING_MIN 0.02
#define FADE_US 5e6 /* half of that share is forgotten in this time */
#define OLD_US 2e6  /* latency not seen for so long is half believed, and so on */

struct probe {
    uint32_t index, slot; /* of the endpoint, and of its member: views change */
    double load;          /* in flight, for a member of weight 100 */
    double latency_us;
    double failing;
    int64_t at_us;
    uint32_t uses;
};

struct cluster_prequal {
    struct probe pool[POOL_MAX]; /* oldest first */
    uint32_t count;
    float window[WINDOW];
    uint32_t window_count, window_next;
    bool removes_worst; /* this time; else the oldest */
};

struct cluster_prequal *
cluster_prequal_new(void)
{
    return fr_xalloc(sizeof(struct cluster_prequal));
}

void
cluster_prequal_free(struct cluster_prequal **prequal)
{
    fr_free(*prequal);
    *prequal = NULL;
}

/* ---- what is known of a member -------------------------------------------------------------- */

uint32_t
cluster_prequal_in_flight(const struct cluster_member *member)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < member->worker_count; i++)
        sum += cluster_count_get(&member->stats[i].in_flight);
    return sum < UINT32_MAX ? (uint32_t)sum : UINT32_MAX;
}

static double
faded(const struct cluster_judgement *judgement, int64_t now_us)
{
    int64_t passed_us = now_us - judgement->failing_at_us;
    return passed_us > 0 ? judgement->failing * exp2(-(double)passed_us / FADE_US)
                         : judgement->failing;
}

void
cluster_prequal_observe(struct cluster_judgement *judgement, uint32_t in_flight, int64_t latency_us,
                        bool failed, int64_t now_us)
{
    double before = faded(judgement, now_us);
    judgement->failing = before + ((failed ? 1.0 : 0.0) - before) * FAILING_GAIN;
    judgement->failing_at_us = now_us;
    if (failed || latency_us < 0)
        return; /* how fast it fails is nothing to go by */
    judgement->samples[judgement->sample_next] = (struct cluster_latency_sample){
        .latency_us = latency_us < UINT32_MAX ? (uint32_t)latency_us : UINT32_MAX,
        .in_flight = in_flight,
    };
    judgement->sample_next = (judgement->sample_next + 1) % CLUSTER_LATENCY_SAMPLES;
    if (judgement->sample_count < CLUSTER_LATENCY_SAMPLES)
        judgement->sample_count++;
}

static uint32_t
distance(uint32_t a, uint32_t b)
{
    return a > b ? a - b : b - a;
}

/* The median of the samples whose numbers in flight are nearest. Both are kept sorted by insertion,
 * the near ones by distance first, for they are few. */
static double
latency_at(const struct cluster_judgement *judgement, uint32_t in_flight)
{
    struct cluster_latency_sample near[NEAREST];
    uint32_t count = 0;
    for (uint32_t i = 0; i < judgement->sample_count; i++) {
        struct cluster_latency_sample sample = judgement->samples[i];
        uint32_t far = distance(sample.in_flight, in_flight);
        uint32_t at = count < NEAREST ? count++ : NEAREST;
        while (at > 0 && distance(near[at - 1].in_flight, in_flight) > far) {
            if (at < NEAREST)
                near[at] = near[at - 1];
            at--;
        }
        if (at < NEAREST)
            near[at] = sample;
    }
    for (uint32_t i = 1; i < count; i++)
        for (uint32_t k = i; k > 0 && near[k - 1].latency_us > near[k].latency_us; k--) {
            struct cluster_latency_sample swapped = near[k];
            near[k] = near[k - 1];
            near[k - 1] = swapped;
        }
    return count ? near[count / 2].latency_us : 0; /* unknown: it may be the best */
}

/* ---- the pool of probes --------------------------------------------------------------------- */

static void
pool_remove(struct cluster_prequal *self, uint32_t at)
{
    self->count--;
    memmove(&self->pool[at], &self->pool[at + 1], (self->count - at) * sizeof(self->pool[0]));
}

/* NULL: the member is gone, or must not be picked now. */
static const struct cluster_endpoint *
endpoint_of(const struct cluster__choice *choice, const struct probe *probe)
{
    const struct cluster_view *view = choice->view;
    if (probe->index >= view->roster.count)
        return NULL;
    const struct cluster_endpoint *endpoint = cluster_view_at(view, probe->index);
    if (endpoint->slot != probe->slot || cluster__choice_weight(choice, endpoint) == 0)
        return NULL;
    return endpoint;
}

static void
pool_drop_old(struct cluster_prequal *self, int64_t now_us)
{
    while (self->count > 0 && now_us - self->pool[0].at_us >= AGE_MAX_US)
        pool_remove(self, 0);
}

/* Returns whom it probed; NULL: nobody can be picked but `except`. */
static const struct cluster_endpoint *
probe_add(struct cluster_prequal *self, const struct cluster__choice *choice,
          const struct cluster_endpoint *except)
{
    struct cluster__drawn drawn = cluster__sample(choice, except);
    const struct cluster_endpoint *endpoint = drawn.endpoint;
    if (!endpoint)
        return NULL;
    const struct cluster_judgement *judgement = &choice->pick->judgements[endpoint->slot];
    uint32_t in_flight = cluster_prequal_in_flight(endpoint->member);
    int64_t now_us = choice->pick->now_us;
    int64_t unseen_us = now_us - judgement->failing_at_us;
    struct probe probe = {
        .index = endpoint->index,
        .slot = endpoint->slot,
        .load = (double)in_flight * 100 / drawn.weight,
        .latency_us = latency_at(judgement, in_flight),
        .failing = faded(judgement, now_us),
        .at_us = now_us,
    };
    /* Nobody asks a slow member, so nobody would learn that it is fast again. */
    if (in_flight == 0 && unseen_us > 0)
        probe.latency_us *= exp2(-(double)unseen_us / OLD_US);
    for (uint32_t i = 0; i < self->count; i++)
        if (self->pool[i].slot == probe.slot) {
            pool_remove(self, i);
            break;
        }
    if (self->count == POOL_MAX)
        pool_remove(self, 0);
    self->pool[self->count++] = probe;
    self->window[self->window_next] = (float)probe.load;
    self->window_next = (self->window_next + 1) % WINDOW;
    if (self->window_count < WINDOW)
        self->window_count++;
    return endpoint;
}

/* Equal ones count by half: of three members the busiest can be hot, and none of equals is. */
static bool
is_hot(const struct cluster_prequal *self, double load)
{
    uint32_t twice = 0;
    for (uint32_t i = 0; i < self->window_count; i++)
        twice +=
            (self->window[i] < (float)load ? 1u : 0u) + (self->window[i] <= (float)load ? 1u : 0u);
    return twice > 2 * HOT_SHARE * self->window_count;
}

/* What a request costs its client there: it is asked again until it succeeds, and each failure
 * counts as a wait of FAILURE_US. So a member that fails half of its requests is used once the
 * others make their clients wait for about as long, and one that fails all hardly ever. */
static double
cost_us(const struct probe *probe)
{
    double succeeding = fmax(1 - probe->failing, SUCCEEDING_MIN);
    return (probe->latency_us + probe->failing * FAILURE_US) / succeeding;
}

/* A median of a few samples is no nearer than that. Of members alike the least loaded for its
 * weight is picked, which keeps the shares that weights ask for; one that is really slow stands out
 * by more. */
static bool
is_alike(double a_us, double b_us)
{
    return fabs(a_us - b_us) <= fmax(1, ALIKE * fmax(a_us, b_us));
}

/* Whether a is the better one to pick. */
static bool
is_better(const struct cluster_prequal *self, const struct probe *a, const struct probe *b)
{
    bool a_fails = a->failing > FAILING_MAX, b_fails = b->failing > FAILING_MAX;
    if (a_fails || b_fails)
        return cost_us(a) < cost_us(b);
    bool a_hot = is_hot(self, a->load), b_hot = is_hot(self, b->load);
    if (a_hot != b_hot)
        return b_hot;
    if (a_hot || is_alike(a->latency_us, b->latency_us))
        return a->load < b->load;
    return a->latency_us < b->latency_us;
}

/* Probes pile up where nothing but age ends them, and those that nobody picks are the worst: they
 * would be all that is left. So each pick takes one away, the worst and the oldest in turn. */
static void
pool_thin(struct cluster_prequal *self)
{
    uint32_t worst = 0;
    self->removes_worst = !self->removes_worst;
    for (uint32_t i = 1; self->removes_worst && i < self->count; i++)
        if (is_better(self, &self->pool[worst], &self->pool[i]))
            worst = i;
    if (self->count > 1)
        pool_remove(self, worst);
}

static uint32_t
reuse_max(uint32_t members)
{
    double fresh = (1 - (double)POOL_MAX / members) * PROBES - 1;
    double uses = fresh > 0 ? ceil((1 + REUSE_DELTA) / fresh) : REUSE_MAX;
    return uses < REUSE_MAX ? (uint32_t)uses : REUSE_MAX;
}

static void
probe(struct cluster_prequal *self, const struct cluster__choice *choice, int count)
{
    const struct cluster_endpoint *last = NULL;
    for (int i = 0; i < count; i++) {
        const struct cluster_endpoint *probed = probe_add(self, choice, last);
        last = probed; /* two in a row tell no more than one */
    }
}

/* NULL: no probe is of a member that may be picked. */
static const struct cluster_endpoint *
choose(struct cluster_prequal *self, const struct cluster__choice *choice, uint32_t *out_at)
{
    const struct cluster_endpoint *picked = NULL;
    /* The newest of equals: members are drawn for probes in proportion to their weights. */
    for (uint32_t i = self->count; i-- > 0;) {
        const struct cluster_endpoint *endpoint = endpoint_of(choice, &self->pool[i]);
        if (endpoint && (!picked || is_better(self, &self->pool[i], &self->pool[*out_at]))) {
            picked = endpoint;
            *out_at = i;
        }
    }
    return picked;
}

const struct cluster_endpoint *
cluster__pick_prequal(const struct cluster__choice *choice)
{
    struct cluster_prequal *self = choice->pick->prequal;
    uint32_t best = 0;
    if (!self)
        return cluster__pick_p2c(choice);
    pool_drop_old(self, choice->pick->now_us);
    probe(self, choice, PROBES);
    const struct cluster_endpoint *picked = choose(self, choice, &best);
    if (picked && self->pool[best].failing > FAILING_MAX) { /* is there really no other? */
        probe(self, choice, PROBES_MORE);
        picked = choose(self, choice, &best);
    }
    if (!picked)
        return cluster__pick_p2c(choice);
    struct probe *used = &self->pool[best];
    /* It has one more now, which the probe does not know. */
    used->load += 100.0 / cluster__choice_weight(choice, picked);
    if (++used->uses >= reuse_max(choice->view->roster.count))
        pool_remove(self, best);
    pool_thin(self);
    return picked;
}
