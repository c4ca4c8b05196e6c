/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy.h - deciding, as pure functions of observations. No clock, no I/O, no allocation, so that
 * the manager, a test and the simulator call the very same code.
 *
 * May touch: base.
 * Bounded:  nonsense (NaN, negative, stale, half the members missing) holds still or grows, never
 *           shrinks.
 */
#ifndef POLICY_H
#define POLICY_H

#include "base/fr_cron.h"
#include "base/fr_err.h"
#include "base/fr_view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct policy_member {
    const char *id;
    double utilization; /* NaN: unknown */
    uint64_t in_flight;
    uint32_t weight, weight_normal; /* in force, and the configured one; 0: left alone */
    bool stale;                     /* its source fell silent */
    bool starting, draining, healthy;
    bool allocated; /* from a pool: may be given back */
    int64_t age_us; /* since it became ready */
    /* for the choice of who leaves */
    const char *pool;  /* it came from; NULL or "": none */
    uint32_t cost;     /* of that pool */
    uint32_t rank;     /* of that pool among the cluster's, 0 the preferred one */
    uint64_t sessions; /* sticky ones that would have to move */
};

/* Which engine decides how many: a row of policy_kinds.def. */
enum policy_kind {
#define POLICY_KIND_ROW(NAME, name, tick, sentence) POLICY_##NAME,
#include "policy/policy_kinds.def"
#undef POLICY_KIND_ROW
    POLICY_KIND_COUNT
};
const char *policy_kind_name(enum policy_kind kind);
FR_MUST_USE bool policy_kind_parse(struct fr_view name, enum policy_kind *out);

struct policy_settings {
    enum policy_kind kind;
    double target;             /* of utilization, for POLICY_TARGET; 0: a default */
    double late_max;           /* share of requests that may be later than the goal; 0: no goal */
    int64_t slo_latency_us;    /* the goal, for words */
    uint32_t spare;            /* members beyond what the engine wants */
    double flaps_per_hour;     /* releases that follow a start; 0: no budget */
    double changes_per_minute; /* members started or released; 0: none */
    double upper, lower;       /* < 0: not set */
    int64_t upper_for_us, lower_for_us;
    uint32_t min, max, step_max;
    int64_t cooldown_up_us, cooldown_down_us;
    bool relieve_by_weight, allocate;
    bool single;          /* no pool: weights only */
    bool demand;          /* requests are parked: there is nobody to serve them */
    int64_t idle_for_us;  /* with min 0: no exchange is open since then; 0: not so, or not known */
    int64_t idle_us;      /* ... after which it has no member any more */
    bool available_known; /* the pool's owner said how many servers it has left */
    uint64_t available;
    uint64_t reserved; /* of what the pool had left: kept for clusters of higher priority */
    uint32_t priority; /* over others of the same pool */
    const char *min_words, *max_words; /* of the window that set them; NULL: none did */
};

/* A floor and a ceiling at certain times; whoever decides, min and max stand. */
struct policy_window {
    const struct fr_cron *cron;
    const struct fr_zone *zone;
    int64_t for_s;
    uint32_t min, max; /* 0: says nothing of it */
    const char *words;
};
/* Of the windows open at wall_s the highest min and the lowest max, where they go beyond those of
 * the settings. A min counts ahead_s before its window opens, so that its members are there in
 * time. min wins over max. */
void policy_schedule(const struct policy_window *windows, size_t count, int64_t wall_s,
                     int64_t ahead_s, struct policy_settings *settings);

#define POLICY_TARGET_SLICES 30

/* What must be remembered from one call to the next; the caller keeps it, zero-initialised. The
 * functions here write the two `since`, looked_at_us and what engines and budgets remember, and
 * mend what lies in the future; all else is the caller's to say. */
struct policy_state {
    int64_t upper_since_us, lower_since_us; /* 0: not the case */
    int64_t changed_at_us;                  /* last change of membership that finished or failed */
    int64_t grown_at_us;                    /* last allocation that finished or failed */
    /* Asked for and not answered yet. A server that is among the members as starting already is
     * counted there and not here. */
    uint32_t pending_up, pending_down;
    uint32_t pending_down_shown; /* of those: not among the ready any more */
    bool grow_failed; /* the last allocation was refused: below min, wait for the cooldown too */
    int64_t looked_at_us; /* the last look; 0: none */
    struct policy_guard {
        int64_t at_us; /* 0: not begun */
        double flaps_left, changes_left;
        bool has_grown; /* a member was started since the last release */
    } guard;
    struct policy_slo {
        double factor;   /* of the levels: what of them counts; 0: not begun, all of it */
        double late;     /* share of the last tick that said one */
        uint32_t misses; /* ticks in a row that missed the goal */
        bool is_known;
    } slo;
    struct policy_target {
        uint32_t wish[POLICY_TARGET_SLICES]; /* the highest of each slice of the window */
        int64_t slice_us;                    /* when the newest began; 0: none did */
        uint32_t slice;
    } target;
    /* For POLICY_FORECAST: policy_forecast_bytes() of the caller's, after its _init. */
    struct policy_forecast *forecast;
};
struct policy_forecast;
size_t policy_forecast_bytes(void);
void policy_forecast_init(struct policy_forecast *self);

/* What passed through the cluster in the tick that just ended. NaN: not known. */
struct policy_traffic {
    bool is_known; /* false: counts and utilization only, between two ticks */
    double dt_s;   /* how long the tick was */
    double rate;   /* requests/s that came */
    double served; /* ... and that were finished; 0: as many */
    double busy;   /* sum over the members that served, each 1 at most, as a mean over the tick;
                    * 0: as at its end; NaN: no word on it. One moment says little of a tick */
    double busy_usable; /* ... over the usable ones only; 0: over as many as busy */
    double slow;        /* share of them outside the latency goal */
    double dropped;     /* requests/s refused */
    double queue;       /* requests waiting at its end */
    double startup_s;   /* of the latest member that became useful; 0: none yet */
    double drain_s;     /* how long a released one is still paid for */
};

/* What an engine sees. Usable: ready, healthy, not stale, with a number. */
struct policy_observation {
    int64_t now_us;
    uint32_t total; /* all but the draining */
    uint32_t ready; /* healthy ones that are not starting */
    uint32_t starting, draining;
    uint32_t stale; /* of the ready: without a usable number */
    uint32_t usable;
    uint32_t removable;        /* of the usable: came from a pool */
    uint32_t pooled;           /* of the ready, with a number or without */
    double sum, mean, highest; /* over the usable; mean and highest NaN if there are none */
    const struct policy_member *highest_member; /* NULL: not known one by one */
    struct policy_traffic traffic;
};
/* What a cluster of equals looks like from counts alone; utilization NaN: not known. */
void policy_survey_equals(uint32_t ready, uint32_t starting, uint32_t draining, double utilization,
                          int64_t now_us, struct policy_observation *out);

/* The share of requests that took longer than goal_ms, from quantiles as edges report them (p90 may
 * be unknown). NaN: not known. */
double policy_late_share(double p50_ms, double p90_ms, double p99_ms, double goal_ms);

enum policy_verdict {
    POLICY_HOLD,
    POLICY_ALLOCATE,   /* count */
    POLICY_DEALLOCATE, /* victim */
    POLICY_WEIGHT,     /* member, weight */
};

/* Why; also for every hold. A row of policy_rules.def: name and a sentence. */
enum policy_rule {
#define POLICY_RULE_ROW(NAME, name, sentence) POLICY_RULE_##NAME,
#include "policy/policy_rules.def"
#undef POLICY_RULE_ROW
    POLICY_RULE_COUNT
};
const char *policy_rule_name(enum policy_rule rule); /* "upper-wait" */
const char *policy_rule_words(enum policy_rule rule);

#define POLICY_ID_BYTES 64        /* of a decision's ids; a longer one is never acted on */
#define POLICY_WEIGHTS_MAX 16     /* weight decisions of one call */
#define POLICY_SENTENCE_BYTES 768 /* holds every sentence whole */

struct policy_decision {
    enum policy_verdict verdict;
    enum policy_rule rule;
    uint32_t count;
    char member[POLICY_ID_BYTES]; /* victim, or whose weight */
    uint32_t weight;
    /* the numbers it saw */
    uint32_t ready, starting, draining, stale;
    double mean, highest; /* utilization over ready members with a number; NaN if none */
    char highest_id[POLICY_ID_BYTES];
    double after;              /* mean after the removal that was considered; NaN if none */
    uint32_t needed;           /* members that the load needs at the target level */
    int64_t wait_us;           /* how long until a wait, cooldown or budget ends; 0: not known */
    uint32_t desired;          /* members, ready and starting, after this */
    double late, level_factor; /* with a goal: its misses, and what of the levels counts; 0: all */
    uint32_t held_back;        /* members more that the limit of changes a minute kept from it */
    /* of an engine that looks ahead; 0: it does not */
    double rate, forecast, margin; /* requests/s now, expected; capacity held for one expected */
    double ahead_s;                /* how far it looked: a start-up */
    double capacity;               /* requests/s of one member */
    const char *voice;             /* who forecast; static */
    /* between clusters: who gives (POLICY_RULE_TAKE), or who is given (POLICY_RULE_TAKEN) */
    char other[POLICY_ID_BYTES];
    uint32_t priority; /* of that one */
    /* of a deallocate: what chose the victim */
    struct policy_victim {
        bool is_said;
        char pool[POLICY_ID_BYTES];
        uint32_t cost;
        double utilization;
        uint64_t sessions;
        int64_t age_us;
    } victim;
};

/* One look of settings->kind: observation in, desired count and reason out. The verdict is a hold,
 * an allocate or a deallocate of out->count; nobody is named. The same for the manager, `decide`
 * and `simulate`. */
void policy_tick(const struct policy_settings *settings, struct policy_state *state,
                 const struct policy_observation *seen, struct policy_decision *out);

#define POLICY_RELEASES_MAX 8 /* deallocate decisions of one call */

/* policy_tick, then who: up to `max_decisions` decisions (weights first, then an allocate, or a
 * deallocate for each victim); at least one: a hold if there is nothing to do. traffic NULL: not
 * known. Returns how many. */
size_t policy_decide(const struct policy_settings *settings, struct policy_state *state,
                     const struct policy_member *members, size_t member_count,
                     const struct policy_traffic *traffic, int64_t now_us,
                     struct policy_decision *out, size_t max_decisions);

/* ---- clusters that share a pool which ran dry ---- */

struct policy_taker {
    uint32_t priority;
    uint64_t lacking; /* servers it wants and the pool does not have */
    uint64_t coming;  /* that are on their way back into the pool, for it */
    bool is_bare;     /* without a member, or below its minimum: that cannot wait */
    uint32_t step_max;
    int64_t taken_at_us;    /* the last time one was taken for it; 0: never */
    int64_t released_at_us; /* the last time it gave back by itself; 0: never */
    int64_t cooldown_up_us, cooldown_down_us;
};
struct policy_rival { /* a cluster that has servers of the taker's pools */
    bool is_known;    /* its numbers are fresh, and nothing of it is under way */
    uint32_t priority, min;
    uint32_t ready;   /* healthy members, less those asked to leave */
    uint32_t givable; /* of those, came from a pool of the taker's */
};
/* Whether the decision is one for which a server may be taken elsewhere. have: members, and those
 * asked for. */
bool policy_wants_taken(const struct policy_settings *settings,
                        const struct policy_decision *decision, uint32_t have);
/* How many more it can use: what it needs and its own max still allows. 0: none. */
uint32_t policy_lacking(const struct policy_settings *settings,
                        const struct policy_decision *decision, uint32_t have);
/* True: rivals[*out_giver] is to give *out_count. */
bool policy_take(const struct policy_taker *taker, const struct policy_rival *rivals, size_t count,
                 int64_t now_us, size_t *out_giver, uint32_t *out_count);

struct policy_claim { /* what policy_take said, as the giver is told it */
    const char *taker;
    uint32_t priority; /* of the taker */
    uint32_t count;
};
/* The giver's side: a deallocate for each that leaves, at most `max`; 0: it has none to give. Only
 * members that are `allocated` count, which must be those of the taker's pools. */
size_t policy_give(const struct policy_settings *settings, struct policy_state *state,
                   const struct policy_member *members, size_t member_count,
                   const struct policy_claim *claim, int64_t now_us, struct policy_decision *out,
                   size_t max);

/* One sentence for people, cut between characters where it does not fit:
 * "allocate 2: web-3 at 0.93, upper level 0.80; 3 ready, 0 starting". */
void policy_sentence(const struct policy_settings *settings, const struct policy_decision *decision,
                     char *out, size_t out_bytes);

/* The edge's own relief ladder: step up at upper, down at lower. */
struct policy_relief_settings {
    double upper, lower;
    int64_t upper_for_us, lower_for_us;
    uint32_t steps; /* number of steps there are */
};
struct policy_relief_state {
    int64_t upper_since_us, lower_since_us, changed_at_us;
    uint32_t step;
};
/* True when the step must change; *out_step is the new one, and state->step too. What cannot be
 * used as a number holds the step. Steps are at least POLICY_RELIEF_SETTLE_US apart, since the
 * effect of one must be seen before the next. */
#define POLICY_RELIEF_SETTLE_US 1000000LL
bool policy_relief(const struct policy_relief_settings *settings, struct policy_relief_state *state,
                   double utilization, bool stale, int64_t now_us, uint32_t *out_step);

/* The ladder of one cluster, climbed while it is at its upper level and no new member is there yet.
 * Rungs are bits, climbed from the lowest that is there to the highest. */
struct policy_ladder_settings {
    double upper; /* < 0: not set, which keeps it down */
    unsigned rungs;
    int64_t climb_us, descend_us;
};
struct policy_ladder_state {
    unsigned rungs; /* in force: the lowest ones of those there are */
    int64_t over_since_us, under_since_us;
};
/* One look. The first rung is for one hot member (highest), the others for a cluster that is hot as
 * a whole (mean). NaN climbs and leaves none. True when they changed. */
#define POLICY_LADDER_BELOW 0.9 /* of the upper level: below it the way back begins */
bool policy_ladder(const struct policy_ladder_settings *settings, struct policy_ladder_state *state,
                   double highest, double mean, int64_t now_us);
/* The next weight of a member while CONFIG_RUNG_WEIGHT is in force; `now` is the one in force, with
 * which the utilization was measured. */
uint32_t policy_ladder_weight(uint32_t normal, uint32_t now, double utilization, double mean,
                              double upper);
/* At most so utilized with all of its weight: what policy_ladder() is to see of it as highest. */
double policy_ladder_full(uint32_t normal, uint32_t now, double utilization);

#endif
