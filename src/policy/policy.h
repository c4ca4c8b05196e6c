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

#include "base/fr_err.h"
#include "base/fr_view.h"

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
};

struct policy_settings {
    double upper, lower; /* < 0: not set */
    int64_t upper_for_us, lower_for_us;
    uint32_t min, max, step_max;
    int64_t cooldown_up_us, cooldown_down_us;
    bool relieve_by_weight, allocate;
    bool single;          /* no pool: weights only */
    bool available_known; /* the pool's owner said how many servers it has left */
    uint64_t available;
};

/* What must be remembered from one call to the next; the caller keeps it, zero-initialised. The
 * functions here write only the two `since`; all else is the caller's to say. */
struct policy_state {
    int64_t upper_since_us, lower_since_us; /* 0: not the case */
    int64_t changed_at_us;                  /* last change of membership that finished or failed */
    int64_t grown_at_us;                    /* last allocation that finished or failed */
    /* Asked for and not answered yet. A server that is among the members as starting already is
     * counted there and not here. */
    uint32_t pending_up, pending_down;
    bool grow_failed; /* the last allocation was refused: below min, wait for the cooldown too */
};

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
#define POLICY_SENTENCE_BYTES 512 /* holds every sentence whole */

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
    double after;    /* mean after the removal that was considered; NaN if none */
    uint32_t needed; /* members that the load needs at the target level */
    int64_t wait_us; /* how long until a wait or cooldown ends */
};

/* Up to `max_decisions` decisions (weights first, then at most one allocate or deallocate); at
 * least one: a hold if there is nothing to do. Returns how many. */
size_t policy_threshold(const struct policy_settings *settings, struct policy_state *state,
                        const struct policy_member *members, size_t member_count, int64_t now_us,
                        struct policy_decision *out, size_t max_decisions);

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

#endif
