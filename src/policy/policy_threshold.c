/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_threshold.c - how many servers a cluster should have: grow at the upper level, give one
 * back below the lower one.
 *
 * May touch:  base.
 * Bounded:    never asks beyond max, never gives back below min, never gives back when what remains
 *             would come near the upper level. A number that is no number, negative or stale can
 *             only hold or grow.
 * Calm:       what growing aims at lies between the levels, and giving back is allowed only when
 *             the rest stays at or below that aim; so under a constant load no decision is followed
 *             by its opposite.
 */
#include "policy/policy_priv.h"

#include "base/fr_check.h"

#include <math.h>

/* ---- what there is -------------------------------------------------------------------------- */

bool
policy__is_usable(const struct policy_member *member)
{
    return !member->starting && !member->draining && member->healthy && !member->stale &&
           isfinite(member->utilization) && member->utilization >= 0;
}

void
policy__copy_id(const char *id, char out[POLICY_ID_BYTES])
{
    size_t len = 0;
    while (id != NULL && id[len] != '\0' && len < POLICY_ID_BYTES - 1)
        len++;
    /* Cut before a character, not inside one. */
    while (id != NULL && id[len] != '\0' && len > 0 && ((unsigned char)id[len] & 0xc0) == 0x80)
        len--;
    if (len > 0)
        memcpy(out, id, len);
    out[len] = '\0';
}

/* A shortened id would be another server's. */
bool
policy__can_name(const struct policy_member *member)
{
    return member->id != NULL && member->id[0] != '\0' &&
           strnlen(member->id, POLICY_ID_BYTES) < POLICY_ID_BYTES;
}

void
policy__survey(const struct policy_member *members, size_t count, struct policy__survey *out)
{
    *out = (struct policy__survey){.mean = NAN, .highest = NAN};
    for (size_t i = 0; i < count; i++) {
        const struct policy_member *member = &members[i];
        if (member->draining) {
            out->draining++;
            continue;
        }
        out->total++;
        if (member->starting) {
            out->starting++;
            continue;
        }
        bool usable = policy__is_usable(member);
        if (member->healthy) {
            out->ready++;
            out->stale += !usable;
        }
        if (!usable)
            continue;
        out->usable++;
        out->sum += member->utilization;
        if (out->highest_member == NULL || member->utilization > out->highest) {
            out->highest = member->utilization;
            out->highest_member = member;
        }
    }
    if (out->usable > 0)
        out->mean = out->sum / out->usable;
}

void
policy__fill(const struct policy__survey *survey, struct policy_decision *out)
{
    *out = (struct policy_decision){
        .verdict = POLICY_HOLD,
        .rule = POLICY_RULE_WITHIN,
        .ready = survey->ready,
        .starting = survey->starting,
        .draining = survey->draining,
        .stale = survey->stale,
        .mean = survey->mean,
        .highest = survey->highest,
        .after = NAN,
    };
    if (survey->highest_member != NULL)
        policy__copy_id(survey->highest_member->id, out->highest_id);
}

/* Where growing aims at. Midway between the levels is farthest from both, so that neither ebb nor
 * flood of an ordinary minute crosses one. But with a lower level far down, midway would keep twice
 * the servers that the load needs: six tenths of the upper level leave room enough. */
static double
pick_target(const struct policy_settings *settings)
{
    double upper = settings->upper >= 0 ? settings->upper : 1.0;
    double lower = settings->lower >= 0 && settings->lower < upper ? settings->lower : 0;
    double midway = (lower + upper) / 2;
    double least = 0.6 * upper;
    return midway > least ? midway : least;
}

/* ---- time ----------------------------------------------------------------------------------- */

/* Keeps *since while the condition holds; 0 says that it does not (the clock's own 0 is made 1). */
static void
track(bool condition, int64_t now_us, int64_t *since_us)
{
    if (!condition)
        *since_us = 0;
    else if (*since_us == 0 || *since_us > now_us)
        *since_us = now_us;
}

/* How much of `span` since `from` (0: never) is still to wait; never negative. */
static int64_t
remaining(int64_t from_us, int64_t span_us, int64_t now_us)
{
    if (from_us == 0 || span_us <= 0)
        return 0;
    int64_t passed = now_us > from_us ? now_us - from_us : 0;
    return passed < span_us ? span_us - passed : 0;
}

static void
hold(struct policy_decision *out, enum policy_rule rule, int64_t wait_us)
{
    out->verdict = POLICY_HOLD;
    out->rule = rule;
    out->wait_us = wait_us;
}

/* ---- growing -------------------------------------------------------------------------------- */

static uint32_t
count_needed(const struct policy_settings *settings, const struct policy__survey *survey)
{
    double target = pick_target(settings);
    double needed = target > 0 ? ceil(survey->sum / target) : (double)UINT32_MAX;
    /* Utilization is foreign: a sum beyond all servers in the world must not wrap. */
    return needed < (double)UINT32_MAX ? (uint32_t)needed : UINT32_MAX;
}

/* What the pool can still give, less what was asked of it already. */
static uint64_t
left_in_pool(const struct policy_settings *settings, const struct policy_state *state)
{
    if (!settings->available_known)
        return UINT64_MAX;
    return settings->available > state->pending_up ? settings->available - state->pending_up : 0;
}

/* How many more the maximum allows. */
static uint64_t
room_below_max(const struct policy_settings *settings, const struct policy_state *state,
               const struct policy__survey *survey)
{
    uint64_t taken = (uint64_t)survey->total + state->pending_up;
    return settings->max > taken ? settings->max - taken : 0;
}

static void
allocate(struct policy_decision *out, enum policy_rule rule, uint64_t count)
{
    out->verdict = POLICY_ALLOCATE;
    out->rule = rule;
    out->count = (uint32_t)count;
}

/* True when the cluster is below its minimum: *out says what is done about it. */
static bool
decide_below_min(const struct policy_settings *settings, const struct policy_state *state,
                 const struct policy__survey *survey, int64_t now_us, struct policy_decision *out)
{
    uint64_t have = (uint64_t)survey->total + state->pending_up;
    uint64_t room = room_below_max(settings, state, survey);
    if (settings->single || have >= settings->min || room == 0)
        return false;
    out->needed = settings->min;
    int64_t wait_us =
        state->grow_failed ? remaining(state->grown_at_us, settings->cooldown_up_us, now_us) : 0;
    if (wait_us > 0) {
        hold(out, POLICY_RULE_UPPER_COOLDOWN, wait_us);
        return true;
    }
    uint64_t left = left_in_pool(settings, state);
    if (left == 0) {
        hold(out, POLICY_RULE_POOL_EMPTY, 0);
        return true;
    }
    uint64_t lacking = settings->min - have;
    room = room < left ? room : left;
    allocate(out, POLICY_RULE_BELOW_MIN, lacking < room ? lacking : room);
    return true;
}

static void
decide_upper(const struct policy_settings *settings, const struct policy_state *state,
             const struct policy__survey *survey, int64_t now_us, struct policy_decision *out)
{
    out->needed = count_needed(settings, survey);
    uint64_t have = (uint64_t)survey->ready + survey->starting + state->pending_up;
    uint64_t room = room_below_max(settings, state, survey);
    int64_t wait_us = remaining(state->upper_since_us, settings->upper_for_us, now_us);
    if (wait_us > 0) {
        hold(out, POLICY_RULE_UPPER_WAIT, wait_us);
        return;
    }
    if (settings->single || !settings->allocate) {
        hold(out, POLICY_RULE_UPPER_NO_POOL, 0);
        return;
    }
    /* Before the maximum: while the last ones are on their way, that is the truer answer. */
    if (have > survey->ready && have >= out->needed) {
        hold(out, POLICY_RULE_UPPER_PENDING, 0);
        return;
    }
    if (room == 0) {
        hold(out, POLICY_RULE_UPPER_MAX, 0);
        return;
    }
    uint64_t left = left_in_pool(settings, state);
    if (left == 0) {
        hold(out, POLICY_RULE_POOL_EMPTY, 0);
        return;
    }
    wait_us = remaining(state->grown_at_us, settings->cooldown_up_us, now_us);
    if (wait_us > 0) {
        hold(out, POLICY_RULE_UPPER_COOLDOWN, wait_us);
        return;
    }
    uint64_t count = out->needed > have ? out->needed - have : 1;
    uint64_t step = settings->step_max > 0 ? settings->step_max : 1;
    if (count > step)
        count = step;
    room = room < left ? room : left;
    allocate(out, POLICY_RULE_UPPER, count < room ? count : room);
}

/* ---- giving back ---------------------------------------------------------------------------- */

static bool
is_less_loaded(const struct policy_member *a, const struct policy_member *b)
{
    if (a->utilization < b->utilization || a->utilization > b->utilization)
        return a->utilization < b->utilization;
    if (a->in_flight != b->in_flight)
        return a->in_flight < b->in_flight;
    return a->age_us < b->age_us; /* the youngest has the coldest caches */
}

static const struct policy_member *
choose_victim(const struct policy_member *members, size_t count)
{
    const struct policy_member *victim = NULL;
    for (size_t i = 0; i < count; i++) {
        const struct policy_member *member = &members[i];
        if (!policy__is_usable(member) || !member->allocated || !policy__can_name(member))
            continue;
        if (victim == NULL || is_less_loaded(member, victim))
            victim = member;
    }
    return victim;
}

static void
decide_lower(const struct policy_settings *settings, struct policy_state *state,
             const struct policy__survey *survey, const struct policy_member *victim,
             int64_t now_us, struct policy_decision *out)
{
    out->needed = count_needed(settings, survey);
    /* What does not pass by itself comes before what does: it is the better answer to "why not". */
    if (survey->stale > 0) {
        state->lower_since_us = 0; /* silence does not count as quiet */
        hold(out, POLICY_RULE_LOWER_STALE, 0);
        return;
    }
    if (survey->starting + survey->draining > 0 || state->pending_up > 0 ||
        state->pending_down > 0) {
        hold(out, POLICY_RULE_LOWER_PENDING, 0);
        return;
    }
    if (survey->usable <= settings->min) {
        hold(out, POLICY_RULE_LOWER_MIN, 0);
        return;
    }
    if (settings->single || victim == NULL) {
        hold(out, POLICY_RULE_LOWER_NONE_OURS, 0);
        return;
    }
    /* The last one is never given back: there would be nobody to see the load return. */
    if (survey->usable > 1)
        out->after = survey->sum / (survey->usable - 1);
    if (!(out->after <= pick_target(settings))) {
        hold(out, POLICY_RULE_LOWER_WOULD_CROSS, 0);
        return;
    }
    int64_t wait_us = remaining(state->lower_since_us, settings->lower_for_us, now_us);
    if (wait_us > 0) {
        hold(out, POLICY_RULE_LOWER_WAIT, wait_us);
        return;
    }
    wait_us = remaining(state->changed_at_us, settings->cooldown_down_us, now_us);
    if (wait_us > 0) {
        hold(out, POLICY_RULE_LOWER_COOLDOWN, wait_us);
        return;
    }
    out->verdict = POLICY_DEALLOCATE;
    out->rule = POLICY_RULE_LOWER;
    out->count = 1;
    policy__copy_id(victim->id, out->member);
}

/* ---- all of it ------------------------------------------------------------------------------ */

size_t
policy_threshold(const struct policy_settings *settings, struct policy_state *state,
                 const struct policy_member *members, size_t member_count, int64_t now_us,
                 struct policy_decision *out, size_t max_decisions)
{
    struct policy__survey survey;
    struct policy_decision scale;
    fr_require(max_decisions > 0);
    if (now_us <= 0)
        now_us = 1;
    policy__survey(members, member_count, &survey);
    policy__fill(&survey, &scale);

    /* Comparisons with NaN are false: an unknown highest or mean is neither up nor down. */
    bool up = settings->upper >= 0 && survey.highest >= settings->upper;
    bool down = !up && settings->lower >= 0 && survey.mean < settings->lower;
    track(up, now_us, &state->upper_since_us);
    track(down, now_us, &state->lower_since_us);

    if (decide_below_min(settings, state, &survey, now_us, &scale)) {
        /* Said already. */
    } else if (survey.usable == 0) {
        hold(&scale, POLICY_RULE_UNKNOWN, 0);
    } else if (up) {
        decide_upper(settings, state, &survey, now_us, &scale);
    } else if (down) {
        decide_lower(settings, state, &survey, choose_victim(members, member_count), now_us,
                     &scale);
    } else {
        scale.needed = count_needed(settings, &survey);
    }

    bool held = up && remaining(state->upper_since_us, settings->upper_for_us, now_us) == 0;
    size_t count =
        policy__weights(settings, &survey, members, member_count, held, out, max_decisions - 1);
    if (count == 0 || scale.verdict != POLICY_HOLD)
        out[count++] = scale;
    return count;
}
