/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_decide.c - what every engine shares: counting what there is, and the limits that hold
 * whatever an engine wants.
 *
 * May touch:  base.
 * Bounded:    never beyond max, never below min, never fewer while a member's number is missing.
 */
#include "policy/policy_priv.h"

#include "base/fr_check.h"

#include <math.h>
#include <string.h>

#define GAP_US 60e6   /* without a look: what was seen before does not go on until now */
#define GAP_TICKS 3.0 /* ... where looks are farther apart */

/* ---- what there is -------------------------------------------------------------------------- */

/* Nobody who works is idle: such a word is worth as much as none. */
static bool
is_contradictory(const struct policy_member *member)
{
    return member->in_flight > 0 && !(member->utilization > 0);
}

bool
policy__is_usable(const struct policy_member *member)
{
    return !member->starting && !member->draining && member->healthy && !member->stale &&
           isfinite(member->utilization) && member->utilization >= 0 && !is_contradictory(member);
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
policy__survey(const struct policy_member *members, size_t count, int64_t now_us,
               struct policy_observation *out)
{
    *out = (struct policy_observation){
        .now_us = now_us > 0 ? now_us : 1, /* 0 says "never" in the state */
        .mean = NAN,
        .highest = NAN,
    };
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
            out->pooled += member->allocated && policy__can_name(member);
        }
        if (!usable)
            continue;
        out->usable++;
        out->removable += member->allocated && policy__can_name(member);
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
policy_survey_equals(uint32_t ready, uint32_t starting, uint32_t draining, double utilization,
                     int64_t now_us, struct policy_observation *out)
{
    bool usable = isfinite(utilization) && utilization >= 0;

    *out = (struct policy_observation){
        .now_us = now_us > 0 ? now_us : 1,
        .total = ready + starting,
        .ready = ready,
        .starting = starting,
        .draining = draining,
        .stale = usable ? 0 : ready,
        .usable = usable ? ready : 0,
        .removable = usable ? ready : 0,
        .pooled = ready,
        .sum = usable ? utilization * ready : 0,
        .mean = usable && ready > 0 ? utilization : (double)NAN,
        .highest = usable && ready > 0 ? utilization : (double)NAN,
    };
}

void
policy__fill(const struct policy_observation *seen, struct policy_decision *out)
{
    *out = (struct policy_decision){
        .verdict = POLICY_HOLD,
        .rule = POLICY_RULE_WITHIN,
        .ready = seen->ready,
        .starting = seen->starting,
        .draining = seen->draining,
        .stale = seen->stale,
        .mean = seen->mean,
        .highest = seen->highest,
        .after = NAN,
    };
    if (seen->highest_member != NULL)
        policy__copy_id(seen->highest_member->id, out->highest_id);
}

/* ---- limits --------------------------------------------------------------------------------- */

int64_t
policy__remaining(int64_t from_us, int64_t span_us, int64_t now_us)
{
    if (from_us == 0 || span_us <= 0)
        return 0;
    int64_t passed = now_us > from_us ? now_us - from_us : 0;
    return passed < span_us ? span_us - passed : 0;
}

void
policy__hold(struct policy_decision *out, enum policy_rule rule, int64_t wait_us)
{
    out->verdict = POLICY_HOLD;
    out->rule = rule;
    out->wait_us = wait_us;
}

uint64_t
policy__left_in_pool(const struct policy_settings *settings, const struct policy_state *state)
{
    if (!settings->available_known)
        return UINT64_MAX;
    return settings->available > state->pending_up ? settings->available - state->pending_up : 0;
}

uint64_t
policy__room_below_max(const struct policy_settings *settings, const struct policy_state *state,
                       const struct policy_observation *seen)
{
    uint64_t taken = (uint64_t)seen->total + state->pending_up;
    return settings->max > taken ? settings->max - taken : 0;
}

bool
policy__below_min(const struct policy_settings *settings, const struct policy_state *state,
                  const struct policy_observation *seen, struct policy_decision *out)
{
    uint64_t have = (uint64_t)seen->total + state->pending_up;
    uint64_t room = policy__room_below_max(settings, state, seen);
    if (settings->single || have >= settings->min || room == 0)
        return false;
    out->needed = settings->min;
    int64_t wait_us = state->grow_failed ? policy__remaining(state->grown_at_us,
                                                             settings->cooldown_up_us, seen->now_us)
                                         : 0;
    if (wait_us > 0) {
        policy__hold(out, POLICY_RULE_UPPER_COOLDOWN, wait_us);
        return true;
    }
    uint64_t left = policy__left_in_pool(settings, state);
    if (left == 0) {
        policy__hold(out, POLICY_RULE_POOL_EMPTY, 0);
        return true;
    }
    uint64_t lacking = settings->min - have;
    room = room < left ? room : left;
    out->verdict = POLICY_ALLOCATE;
    out->rule = POLICY_RULE_BELOW_MIN;
    out->count = (uint32_t)(lacking < room ? lacking : room);
    return true;
}

uint32_t
policy__have(const struct policy_state *state, const struct policy_observation *seen)
{
    uint64_t have = (uint64_t)seen->ready + seen->starting + state->pending_up;
    uint64_t down = state->pending_down;
    down -= state->pending_down_shown < down ? state->pending_down_shown : down;
    uint64_t less = down < have ? down : have;
    return have - less < UINT32_MAX ? (uint32_t)(have - less) : UINT32_MAX;
}

static void
settle_growth(const struct policy_settings *settings, const struct policy_state *state,
              const struct policy_observation *seen, uint64_t count, struct policy_decision *out)
{
    uint64_t room = policy__room_below_max(settings, state, seen);
    uint64_t left = policy__left_in_pool(settings, state);
    int64_t wait_us = state->grow_failed ? policy__remaining(state->grown_at_us,
                                                             settings->cooldown_up_us, seen->now_us)
                                         : 0;

    if (settings->single || !settings->allocate)
        policy__hold(out, POLICY_RULE_UPPER_NO_POOL, 0);
    else if (room == 0)
        policy__hold(out, POLICY_RULE_AT_MAX, 0);
    else if (left == 0)
        policy__hold(out, POLICY_RULE_POOL_EMPTY, 0);
    else if (wait_us > 0)
        policy__hold(out, POLICY_RULE_UPPER_COOLDOWN, wait_us);
    else {
        count = count < room ? count : room;
        out->verdict = POLICY_ALLOCATE;
        out->rule = POLICY_RULE_RISE;
        out->count = (uint32_t)(count < left ? count : left);
    }
}

/* So many of `count` that those who stay do not come to the upper level by it. */
static uint64_t
below_upper(const struct policy_settings *settings, const struct policy_observation *seen,
            uint64_t count)
{
    if (!(settings->upper >= 0))
        return count;
    count = count < seen->usable ? count : seen->usable;
    while (count > 0 && !(seen->sum / (double)(seen->usable - count) < settings->upper))
        count--;
    return count;
}

static void
settle_release(const struct policy_settings *settings, const struct policy_state *state,
               const struct policy_observation *seen, uint64_t count, struct policy_decision *out)
{
    uint32_t have = policy__have(state, seen);
    uint64_t harmless = below_upper(settings, seen, count);

    if (seen->stale > 0)
        policy__hold(out, POLICY_RULE_LOWER_STALE, 0);
    else if (have <= settings->min)
        policy__hold(out, POLICY_RULE_LOWER_MIN, 0);
    else if (settings->single || seen->removable == 0)
        policy__hold(out, POLICY_RULE_LOWER_NONE_OURS, 0);
    else if (harmless == 0)
        policy__hold(out, POLICY_RULE_LOWER_WOULD_CROSS, 0);
    else {
        count = harmless < have - settings->min ? harmless : have - settings->min;
        out->verdict = POLICY_DEALLOCATE;
        out->rule = POLICY_RULE_SURPLUS;
        out->count = (uint32_t)count;
    }
}

void
policy__settle(const struct policy_settings *settings, const struct policy_state *state,
               const struct policy_observation *seen, uint32_t desired, struct policy_decision *out)
{
    uint32_t have = policy__have(state, seen);
    uint32_t wanted = desired;

    out->needed = desired;
    if (policy__below_min(settings, state, seen, out))
        return;
    wanted = wanted > settings->min ? wanted : settings->min;
    wanted = wanted < settings->max ? wanted : settings->max;
    if (desired > settings->max && have >= settings->max)
        policy__hold(out, POLICY_RULE_AT_MAX, 0);
    else if (wanted > have)
        settle_growth(settings, state, seen, wanted - have, out);
    else if (wanted < have)
        settle_release(settings, state, seen, have - wanted, out);
    else
        policy__hold(out, POLICY_RULE_ENOUGH, 0);
}

/* ---- one look ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    void (*tick)(const struct policy_settings *, struct policy_state *,
                 const struct policy_observation *, struct policy_decision *);
} kinds[] = {
#define POLICY_KIND_ROW(NAME, name, tick, sentence) {name, tick},
#include "policy/policy_kinds.def"
#undef POLICY_KIND_ROW
};

const char *
policy_kind_name(enum policy_kind kind)
{
    return (size_t)kind < POLICY_KIND_COUNT ? kinds[kind].name : "unknown";
}

bool
policy_kind_parse(struct fr_view name, enum policy_kind *out)
{
    for (size_t i = 0; i < POLICY_KIND_COUNT; i++)
        if (fr_view_is(name, kinds[i].name)) {
            *out = (enum policy_kind)i;
            return true;
        }
    return false;
}

/* After a jump of the clock, or a time in which nobody looked, what lasted has to last anew before
 * anything is given back; and nothing that happened lies ahead. */
static void
mend_clock(struct policy_state *state, const struct policy_observation *seen)
{
    int64_t now_us = seen->now_us;
    double gap_us = fmax(GAP_US, GAP_TICKS * 1e6 * fmin(fmax(seen->traffic.dt_s, 0), 3600));
    bool is_first = state->looked_at_us == 0;

    if (!is_first &&
        (now_us < state->looked_at_us || (double)(now_us - state->looked_at_us) > gap_us)) {
        state->lower_since_us = 0;
        policy__target_forget(&state->target, policy__have(state, seen), now_us);
    }
    state->looked_at_us = now_us;
    state->changed_at_us = state->changed_at_us < now_us ? state->changed_at_us : now_us;
    state->grown_at_us = state->grown_at_us < now_us ? state->grown_at_us : now_us;
}

void
policy_tick(const struct policy_settings *settings, struct policy_state *state,
            const struct policy_observation *seen, struct policy_decision *out)
{
    fr_require((size_t)settings->kind < POLICY_KIND_COUNT);
    struct policy_settings scratch;
    struct policy_settings levels;
    policy__fill(seen, out);
    mend_clock(state, seen);
    const struct policy_settings *shown = policy__zero_floor(settings, state, seen, &scratch);
    kinds[settings->kind].tick(policy__slo(shown, state, seen, &levels), state, seen, out);
    out->late = state->slo.is_known ? state->slo.late : (double)NAN;
    out->level_factor = state->slo.factor;
    policy__zero(settings, state, seen, out);
    policy__guard(settings, state, seen, out);
    out->desired = policy__have(state, seen);
    if (out->verdict == POLICY_ALLOCATE)
        out->desired += out->count;
    if (out->verdict == POLICY_DEALLOCATE)
        out->desired -= out->count < out->desired ? out->count : out->desired;
}

size_t
policy_decide(const struct policy_settings *settings, struct policy_state *state,
              const struct policy_member *members, size_t member_count,
              const struct policy_traffic *traffic, int64_t now_us, struct policy_decision *out,
              size_t max_decisions)
{
    struct policy_observation seen;
    struct policy_decision scale;

    fr_require(max_decisions > 0);
    policy__survey(members, member_count, now_us, &seen);
    if (traffic)
        seen.traffic = *traffic;
    policy_tick(settings, state, &seen, &scale);

    bool held = settings->upper >= 0 && seen.highest >= settings->upper &&
                policy__remaining(state->upper_since_us, settings->upper_for_us, seen.now_us) == 0;
    size_t count =
        policy__weights(settings, &seen, members, member_count, held, out, max_decisions - 1);
    if (scale.verdict == POLICY_DEALLOCATE) {
        size_t made = scale.rule == POLICY_RULE_IDLE
                          ? policy__zero_victims(&scale, members, member_count, out + count,
                                                 max_decisions - count)
                          : policy__victims(&scale, members, member_count, out + count,
                                            max_decisions - count);
        if (made > 0)
            return count + made;
        policy__hold(&scale, POLICY_RULE_LOWER_NONE_OURS, 0);
    }
    if (count == 0 || scale.verdict != POLICY_HOLD)
        out[count++] = scale;
    return count;
}
