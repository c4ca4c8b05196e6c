/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_balance_load.c - what clients get from each balancer when members are not alike: a
 * simulation of members and arrivals around the real balancers and the real ejection.
 *
 * usage: bench-balance-load [SEED]
 *
 * Members (each serves SLOTS requests at a time, the others wait in a line of its own):
 *     2 of speed 1, 2 of speed 0.5;
 *     1 of speed 1 that has a neighbour: every other two seconds it runs at a third of its speed;
 *     1 of speed 1 that answers half of its requests within a millisecond, with a 500.
 * Service times are exponential, SERVICE_US on average at speed 1. The capacity that the load is a
 * share of is that of the first five. Arrivals are random (Poisson) and spread over WORKERS worker
 * threads, of which each knows what a worker of an edge knows.
 *
 * Prints: balancer, load, requests, the latency of good answers (p50, p99, p99.9), the share of
 * errors, and that of good answers later than LATE_US.
 */
#include "cluster/cluster_balance.h"

#include "base/fr_check.h"
#include "base/fr_hist.h"
#include "base/fr_mem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MEMBERS 6u
#define WORKERS 4u
#define SLOTS 8u
#define SERVICE_US 20000.0
#define FAIL_US 1000
#define NEIGHBOUR_US 2000000
#define NEIGHBOUR_FACTOR 3.0
#define LATE_US 1000000
#define WARM_UP_US 5000000
#define RUN_US 65000000
#define LINE_MAX 200000u

enum kind { KIND_PLAIN, KIND_NEIGHBOUR, KIND_FAILING };

struct request {
    int64_t asked_us;
    uint32_t worker;
    uint32_t before; /* in flight on the member when it came */
    bool fails;
};

struct server {
    enum kind kind;
    double speed;
    struct request *line; /* a ring: served in order; the first `busy` are being served */
    uint32_t first, count, busy;
};

struct event { /* the end of a service; of member MEMBERS: an arrival */
    int64_t at_us;
    uint32_t member;
    struct request request;
};

struct world {
    struct cluster_slots *slots;
    struct config_cluster *config;
    struct cluster_view *view;
    struct cluster_member *members[MEMBERS];
    struct server servers[MEMBERS];
    struct cluster_judgement judgements[WORKERS][MEMBERS];
    struct cluster_prequal *prequal[WORKERS];
    uint64_t on_cluster[WORKERS];
    struct fr_rand rand;
    struct event *heap;
    size_t heap_count, heap_cap;
    struct fr_hist latency;
    uint64_t requests, errors, late;
};

/* ---- events --------------------------------------------------------------------------------- */

static void
heap_push(struct world *w, struct event event)
{
    size_t at = w->heap_count;
    fr_xgrow((void **)&w->heap, &w->heap_cap, w->heap_count + 1, sizeof(*w->heap));
    w->heap_count++;
    while (at > 0 && w->heap[(at - 1) / 2].at_us > event.at_us) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = event;
}

static struct event
heap_pop(struct world *w)
{
    struct event top = w->heap[0], last = w->heap[--w->heap_count];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= w->heap_count)
            break;
        if (child + 1 < w->heap_count && w->heap[child + 1].at_us < w->heap[child].at_us)
            child++;
        if (w->heap[child].at_us >= last.at_us)
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}

static double
exponential(struct fr_rand *rand, double mean)
{
    return -mean * log(1 - fr_rand_unit(rand));
}

/* ---- members -------------------------------------------------------------------------------- */

static int64_t
service_us(struct world *w, const struct server *server, const struct request *request,
           int64_t now_us)
{
    bool slowed = server->kind == KIND_NEIGHBOUR && (now_us / NEIGHBOUR_US) % 2 == 1;
    if (request->fails)
        return FAIL_US;
    double mean = SERVICE_US / server->speed * (slowed ? NEIGHBOUR_FACTOR : 1);
    return 1 + (int64_t)exponential(&w->rand, mean);
}

static void
serve(struct world *w, uint32_t i, int64_t now_us)
{
    struct server *server = &w->servers[i];
    while (server->count > 0 && server->busy < SLOTS) {
        struct request request = server->line[server->first];
        server->first = (server->first + 1) % LINE_MAX;
        server->count--;
        server->busy++;
        heap_push(w, (struct event){now_us + service_us(w, server, &request, now_us), i, request});
    }
}

static void
arrive(struct world *w, int64_t now_us)
{
    struct request request = {.asked_us = now_us, .worker = fr_rand_below(&w->rand, WORKERS)};
    struct cluster_pick pick = {
        .worker = request.worker,
        .now_us = now_us,
        .rand = &w->rand,
        .judgements = w->judgements[request.worker],
        .in_flight = w->on_cluster[request.worker],
        .prequal = w->prequal[request.worker],
    };
    const struct cluster_endpoint *endpoint = cluster_balance_pick(w->view, &pick);
    fr_require(endpoint != NULL);
    uint32_t i = endpoint->index;
    struct server *server = &w->servers[i];
    fr_require(server->count < LINE_MAX);
    request.before = cluster_prequal_in_flight(endpoint->member);
    request.fails = server->kind == KIND_FAILING && fr_rand_below(&w->rand, 2) == 0;
    cluster_member_enter(endpoint->member, request.worker, request.asked_us);
    w->on_cluster[request.worker]++;
    /* A refusal needs no slot: that is what makes it fast. */
    if (request.fails) {
        heap_push(w, (struct event){now_us + FAIL_US, i, request});
        return;
    }
    server->line[(server->first + server->count++) % LINE_MAX] = request;
    serve(w, i, now_us);
}

static void
finish(struct world *w, const struct event *event)
{
    const struct request *request = &event->request;
    struct cluster_judgement *judgements = w->judgements[request->worker];
    const struct cluster_endpoint *endpoint = cluster_view_at(w->view, event->member);
    int64_t took_us = event->at_us - request->asked_us;
    cluster_member_leave(endpoint->member, request->worker, event->at_us);
    w->on_cluster[request->worker]--;
    /* An answer of 500 is the application's word: ejection is for 502 to 504 and broken ones. */
    (void)cluster_judge(w->view, endpoint, request->worker, judgements, event->at_us, false);
    cluster_prequal_observe(&judgements[endpoint->member->slot], request->before, took_us,
                            request->fails, event->at_us);
    if (!request->fails) {
        w->servers[event->member].busy--;
        serve(w, event->member, event->at_us);
    }
    if (request->asked_us < WARM_UP_US)
        return;
    w->requests++;
    w->errors += request->fails;
    if (request->fails)
        return;
    w->late += took_us > LATE_US;
    fr_hist_record(&w->latency, (uint64_t)took_us);
}

/* ---- runs ----------------------------------------------------------------------------------- */

static void
world_init(struct world *w, enum config_balance balance, bool failing, uint64_t seed)
{
    static const struct {
        enum kind kind;
        double speed;
    } cast[MEMBERS] = {{KIND_PLAIN, 1},   {KIND_PLAIN, 1},     {KIND_PLAIN, 0.5},
                       {KIND_PLAIN, 0.5}, {KIND_NEIGHBOUR, 1}, {KIND_FAILING, 1}};
    struct cluster_endpoint endpoints[MEMBERS];
    struct loop_addr addr;
    char id[16];
    memset(w, 0, sizeof(*w));
    w->slots = cluster_slots_new();
    w->config = config_cluster_new(FR_VIEW("bench"));
    w->config->balance = balance;
    fr_rand_init(&w->rand, seed);
    fr_require(loop_addr_parse(FR_VIEW("127.0.0.1:80"), &addr) == FR_OK);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        (void)snprintf(id, sizeof(id), "m%u", i);
        w->members[i] = cluster_member_new(w->slots, fr_view_of(id), FR_VIEW(""), &addr, WORKERS);
        fr_require(w->members[i] != NULL && w->members[i]->slot < MEMBERS);
        endpoints[i] = (struct cluster_endpoint){w->members[i], 100, true, 0};
        w->servers[i] = (struct server){.kind = cast[i].kind, .speed = cast[i].speed};
        if (!failing && cast[i].kind == KIND_FAILING)
            w->servers[i].kind = KIND_PLAIN;
        w->servers[i].line = fr_xalloc(LINE_MAX * sizeof(*w->servers[i].line));
    }
    w->view = cluster_view_new(0, w->config, endpoints, MEMBERS);
    cluster_view_complete(w->view, NULL, NULL);
    for (uint32_t i = 0; i < WORKERS; i++)
        w->prequal[i] = cluster_prequal_new();
}

static void
world_fini(struct world *w)
{
    for (uint32_t i = 0; i < WORKERS; i++)
        cluster_prequal_free(&w->prequal[i]);
    cluster_view_unref(&w->view);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        fr_free(w->servers[i].line);
        cluster_member_unref(&w->members[i]);
    }
    fr_free(w->heap);
    config_cluster_unref(&w->config);
    cluster_slots_free(&w->slots);
}

/* Requests a second: of those that do not fail. */
static double
capacity(const struct world *w)
{
    double sum = 0;
    for (uint32_t i = 0; i < MEMBERS; i++) {
        const struct server *server = &w->servers[i];
        double each = SLOTS * 1e6 / SERVICE_US * server->speed;
        if (server->kind == KIND_NEIGHBOUR)
            each *= (1 + 1 / NEIGHBOUR_FACTOR) / 2;
        sum += server->kind == KIND_FAILING ? 0 : each;
    }
    return sum;
}

static void
run(const char *name, enum config_balance balance, bool failing, unsigned percent, uint64_t seed)
{
    struct world w;
    world_init(&w, balance, failing, seed);
    double gap_us = 1e6 / (capacity(&w) * percent / 100);
    heap_push(&w, (struct event){.member = MEMBERS});
    while (w.heap_count > 0) {
        struct event event = heap_pop(&w);
        if (event.member < MEMBERS) {
            finish(&w, &event);
        } else if (event.at_us < RUN_US) {
            arrive(&w, event.at_us);
            event.at_us += 1 + (int64_t)exponential(&w.rand, gap_us);
            heap_push(&w, event);
        }
    }
    printf("%-14s %4u %% %8llu %9.1f %9.1f %9.1f %8.2f %% %8.2f %%\n", name, percent,
           (unsigned long long)w.requests, (double)fr_hist_quantile_us(&w.latency, 0.5) / 1e3,
           (double)fr_hist_quantile_us(&w.latency, 0.99) / 1e3,
           (double)fr_hist_quantile_us(&w.latency, 0.999) / 1e3,
           100.0 * (double)w.errors / (double)w.requests,
           100.0 * (double)w.late / (double)w.requests);
    world_fini(&w);
}

int
main(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum config_balance balance;
    } balancers[] = {{"round-robin", CONFIG_BALANCE_ROUND_ROBIN},
                     {"p2c", CONFIG_BALANCE_P2C},
                     {"least-request", CONFIG_BALANCE_LEAST_REQUEST},
                     {"prequal", CONFIG_BALANCE_PREQUAL}};
    static const unsigned loads[] = {50, 75, 90, 110};
    uint64_t seed = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    for (int failing = 1; failing >= 0; failing--) {
        printf(
            "%s\n%-14s %6s %8s %9s %9s %9s %10s %10s\n",
            failing ? "one member fails half of its requests, fast" : "\nthe same, and none fails",
            "balancer", "load", "requests", "p50 ms", "p99 ms", "p99.9 ms", "errors", "over 1 s");
        for (size_t k = 0; k < sizeof(loads) / sizeof(loads[0]); k++)
            for (size_t i = 0; i < sizeof(balancers) / sizeof(balancers[0]); i++)
                run(balancers[i].name, balancers[i].balance, failing, loads[k], seed);
    }
    return 0;
}
