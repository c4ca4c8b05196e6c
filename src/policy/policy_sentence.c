/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_sentence.c - decisions in words, for the journal, `freshet why` and logs.
 *
 * May touch:  base.
 * Shape:      "what: why, with the numbers; how many there are".
 */
#include "policy/policy_priv.h"

#include "base/fr_check.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

struct words {
    char text[POLICY_SENTENCE_BYTES];
    size_t len;
};

__attribute__((format(printf, 2, 3))) static void
say(struct words *words, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int len = vsnprintf(words->text + words->len, sizeof(words->text) - words->len, format, args);
    va_end(args);
    /* The longest sentence is far shorter; were it not, its end alone would be missing. */
    if (len > 0)
        words->len += (size_t)len;
    if (words->len >= sizeof(words->text))
        words->len = sizeof(words->text) - 1;
}

const char *
policy_rule_name(enum policy_rule rule)
{
    static const char *const names[] = {
#define POLICY_RULE_ROW(NAME, name, sentence) name,
#include "policy/policy_rules.def"
#undef POLICY_RULE_ROW
    };
    return (size_t)rule < POLICY_RULE_COUNT ? names[rule] : "unknown";
}

const char *
policy_rule_words(enum policy_rule rule)
{
    static const char *const sentences[] = {
#define POLICY_RULE_ROW(NAME, name, sentence) sentence,
#include "policy/policy_rules.def"
#undef POLICY_RULE_ROW
    };
    return (size_t)rule < POLICY_RULE_COUNT ? sentences[rule] : "no such rule";
}

/* Numbers come from other machines, and %.2f of the greatest double has 311 digits. */
static double
shown(double value)
{
    return value > 99999 ? 99999 : value < -1 ? -1 : value;
}

static void
say_verdict(struct words *words, const struct policy_decision *decision)
{
    switch (decision->verdict) {
    case POLICY_HOLD:
        say(words, "hold: ");
        break;
    case POLICY_ALLOCATE:
        say(words, "allocate %u: ", decision->count);
        break;
    case POLICY_DEALLOCATE:
        say(words, "deallocate %s: ", decision->member);
        break;
    case POLICY_WEIGHT:
        say(words, "weight of %s to %u: ", decision->member, decision->weight);
        break;
    }
}

/* What counts of a level: all of it, unless the goal was missed. */
static double
in_force(double level, const struct policy_decision *decision)
{
    return shown(level >= 0 && decision->level_factor > 0 ? level * decision->level_factor : level);
}

static void
say_highest(struct words *words, const struct policy_settings *settings,
            const struct policy_decision *decision)
{
    say(words, "%s at %.2f, upper level %.2f", decision->highest_id, shown(decision->highest),
        in_force(settings->upper, decision));
}

static void
say_mean(struct words *words, const struct policy_settings *settings,
         const struct policy_decision *decision)
{
    say(words, "mean %.2f, lower level %.2f", shown(decision->mean),
        in_force(settings->lower, decision));
}

static void
say_wait(struct words *words, const char *what, int64_t wait_us)
{
    say(words, ", %s for %.1f s more", what, (double)wait_us / 1e6);
}

static void
say_upper(struct words *words, const struct policy_settings *settings,
          const struct policy_decision *decision)
{
    say_highest(words, settings, decision);
    switch (decision->rule) {
    case POLICY_RULE_UPPER_WAIT:
        say_wait(words, "must last", decision->wait_us);
        break;
    case POLICY_RULE_UPPER_PENDING:
        say(words, ", %u needed and on their way", decision->needed);
        break;
    case POLICY_RULE_UPPER_COOLDOWN:
        say_wait(words, "cooling down", decision->wait_us);
        break;
    case POLICY_RULE_UPPER_MAX:
        say(words, ", but the maximum is %u", settings->max);
        break;
    case POLICY_RULE_UPPER_NO_POOL:
        say(words, ", but there is no pool to allocate from");
        break;
    default:
        break;
    }
}

static void
say_lower(struct words *words, const struct policy_settings *settings,
          const struct policy_decision *decision)
{
    say_mean(words, settings, decision);
    switch (decision->rule) {
    case POLICY_RULE_LOWER_WAIT:
        say_wait(words, "must last", decision->wait_us);
        break;
    case POLICY_RULE_LOWER_PENDING:
        say(words, ", but an earlier change is under way");
        break;
    case POLICY_RULE_LOWER_COOLDOWN:
        say_wait(words, "cooling down", decision->wait_us);
        break;
    case POLICY_RULE_LOWER_MIN:
        if (settings->min == 0)
            say(words, ", but the last one stays while it is used");
        else
            say(words, ", but the minimum is %u", settings->min);
        break;
    case POLICY_RULE_LOWER_WOULD_CROSS:
        if (isnan(decision->after))
            say(words, ", but the last one stays");
        else
            say(words, ", but %.2f after it would be too near the upper level %.2f",
                shown(decision->after), in_force(settings->upper, decision));
        break;
    case POLICY_RULE_LOWER_STALE:
        say(words, ", but %u without a usable number: never shrink on silence", decision->stale);
        break;
    case POLICY_RULE_LOWER_NONE_OURS:
        say(words, ", but no member came from a pool");
        break;
    default:
        say(words, ", %.2f after it", shown(decision->after));
        break;
    }
}

/* What an engine that names a number wants, and whose word that is. */
static void
say_wanted(struct words *words, const struct policy_decision *decision)
{
    say(words, "%u wanted", decision->needed);
    if (decision->capacity > 0 && decision->voice != NULL) {
        say(words,
            ": %.0f requests/s expected in %.0f s, when a new member would serve (%.0f now; "
            "by %s)",
            shown(decision->forecast), shown(decision->ahead_s), shown(decision->rate),
            decision->voice);
        if (decision->margin > 1)
            say(words, ", with %.0f %% to spare for its errors and for latency",
                shown(100 * (decision->margin - 1)));
        say(words, ", and a member does %.0f", shown(decision->capacity));
    } else if (!isnan(decision->mean))
        say(words, " at a mean of %.2f", shown(decision->mean));
}

static void
say_engine(struct words *words, const struct policy_settings *settings,
           const struct policy_decision *decision)
{
    switch (decision->rule) {
    case POLICY_RULE_LEARNING:
        say(words, "what a member can do is not known yet");
        return;
    case POLICY_RULE_NONSENSE:
        say(words, "what was reported cannot be: nothing is given back on it");
        return;
    default:
        say_wanted(words, decision);
        break;
    }
    switch (decision->rule) {
    case POLICY_RULE_ENOUGH:
        say(words, ", which is what there is");
        break;
    case POLICY_RULE_AT_MAX:
        say(words, ", but the maximum is %u", settings->max);
        break;
    default:
        break;
    }
}

/* The budgets hold back what any engine wants. */
static void
say_guard(struct words *words, const struct policy_settings *settings,
          const struct policy_decision *decision)
{
    say_wanted(words, decision);
    if (decision->rule == POLICY_RULE_FLAP_BUDGET)
        say(words, ", but the budget of %.0f start/stop pair%s an hour is nearly used up",
            shown(settings->flaps_per_hour), settings->flaps_per_hour > 1 ? "s" : "");
    else
        say(words, ", but no more than %.0f may change in a minute",
            shown(settings->changes_per_minute));
    if (decision->wait_us > 0)
        say(words, ", the next in %.0f s", ceil((double)decision->wait_us / 1e6));
}

static unsigned
shown_count(uint64_t value)
{
    return value > 99999 ? 99999 : (unsigned)value;
}

/* Why this one of all that could leave. */
static void
say_victim(struct words *words, const struct policy_victim *victim)
{
    if (!victim->is_said)
        return;
    say(words, "; chosen: ");
    if (victim->pool[0])
        say(words, "of pool %s (cost %u), ", victim->pool, victim->cost);
    say(words, "at %.2f, %u sticky sessions, ready for %u s", shown(victim->utilization),
        shown_count(victim->sessions), shown_count((uint64_t)(victim->age_us / 1000000)));
}

static void
say_too_few(struct words *words, const struct policy_settings *settings)
{
    if (settings->min == 0)
        say(words, "%s", policy_rule_words(POLICY_RULE_WAKE));
    else
        say(words, "fewer than the minimum of %u", settings->min);
}

static void
say_dry(struct words *words, const struct policy_settings *settings,
        const struct policy_decision *decision)
{
    if (isnan(decision->highest) || decision->highest < in_force(settings->upper, decision))
        say_too_few(words, settings);
    else
        say_highest(words, settings, decision);
    if (decision->rule == POLICY_RULE_TAKE) {
        say(words, ", the pool has no server left: %s (priority %u, below %u) gives %u",
            decision->other, decision->priority, settings->priority, decision->count);
        return;
    }
    say(words, ", but the pool has no server left");
    if (settings->reserved > 0)
        say(words, " for it: %u kept for higher priority", shown_count(settings->reserved));
}

static void
say_reason(struct words *words, const struct policy_settings *settings,
           const struct policy_decision *decision)
{
    switch (decision->rule) {
    case POLICY_RULE_WITHIN:
        say(words, "mean %.2f, highest %.2f (%s), between the levels", shown(decision->mean),
            shown(decision->highest), decision->highest_id);
        break;
    case POLICY_RULE_BELOW_MIN:
        say(words, "fewer than the minimum of %u", settings->min);
        break;
    case POLICY_RULE_RELIEVE_WEIGHT:
        say(words, "at or above the upper level %.2f, mean %.2f",
            in_force(settings->upper, decision), shown(decision->mean));
        break;
    case POLICY_RULE_RESTORE_WEIGHT:
        say(words, "it cooled down, mean %.2f", shown(decision->mean));
        break;
    case POLICY_RULE_UPPER_COOLDOWN:
        if (isnan(decision->highest) || decision->highest < in_force(settings->upper, decision)) {
            say_too_few(words, settings);
            say_wait(words, "and the last attempt failed: waiting", decision->wait_us);
            break;
        }
        say_upper(words, settings, decision);
        break;
    case POLICY_RULE_POOL_EMPTY:
    case POLICY_RULE_TAKE:
        say_dry(words, settings, decision);
        break;
    case POLICY_RULE_TAKEN:
        say(words, "%s (priority %u, above %u) needs it and their pool has none left; %u stay",
            decision->other, decision->priority, settings->priority, decision->desired);
        break;
    case POLICY_RULE_UPPER:
    case POLICY_RULE_UPPER_WAIT:
    case POLICY_RULE_UPPER_PENDING:
    case POLICY_RULE_UPPER_MAX:
    case POLICY_RULE_UPPER_NO_POOL:
        say_upper(words, settings, decision);
        break;
    case POLICY_RULE_UNKNOWN:
    case POLICY_RULE_COUNT:
        say(words, "no member has a usable number");
        break;
    case POLICY_RULE_WAKE:
    case POLICY_RULE_ASLEEP:
    case POLICY_RULE_IDLE:
        say(words, "%s", policy_rule_words(decision->rule));
        break;
    case POLICY_RULE_RISE:
    case POLICY_RULE_SURPLUS:
    case POLICY_RULE_ENOUGH:
    case POLICY_RULE_AT_MAX:
    case POLICY_RULE_LEARNING:
    case POLICY_RULE_NONSENSE:
        say_engine(words, settings, decision);
        break;
    case POLICY_RULE_FLAP_BUDGET:
    case POLICY_RULE_CHANGE_LIMIT:
        say_guard(words, settings, decision);
        break;
    default:
        say_lower(words, settings, decision);
        break;
    }
}

/* 0.5, 12 or 0.08: two digits that say something. */
static void
say_percent(struct words *words, double share)
{
    say(words, "%.*f %%",
        share >= 0.1 || !(share > 0) ? 0
        : share >= 0.001             ? 1
                                     : 2,
        shown(100 * share));
}

static void
say_goal(struct words *words, const struct policy_settings *settings,
         const struct policy_decision *decision)
{
    if (!(settings->late_max > 0) || settings->slo_latency_us <= 0)
        return;
    say(words, "; slower than %.0f ms: ", shown((double)settings->slo_latency_us / 1e3));
    if (isnan(decision->late))
        say(words, "not known");
    else
        say_percent(words, decision->late);
    say(words, ", may be ");
    say_percent(words, settings->late_max);
    if (decision->level_factor > 0 && decision->level_factor < 0.995)
        say(words, ", so only %.0f %% of the level counts", 100 * decision->level_factor);
}

void
policy_sentence(const struct policy_settings *settings, const struct policy_decision *decision,
                char *out, size_t out_bytes)
{
    struct words words = {.len = 0};
    fr_require(out_bytes > 0);
    say_verdict(&words, decision);
    say_reason(&words, settings, decision);
    if (decision->held_back > 0)
        say(&words, "; %u more held back: no more than %.0f may change in a minute",
            decision->held_back, shown(settings->changes_per_minute));
    say(&words, "; %u ready, %u starting", decision->ready, decision->starting);
    if (decision->draining > 0)
        say(&words, ", %u draining", decision->draining);
    if (decision->stale > 0)
        say(&words, ", %u stale", decision->stale);
    if (decision->verdict == POLICY_DEALLOCATE)
        say_victim(&words, &decision->victim);
    say_goal(&words, settings, decision);
    if (settings->min_words)
        say(&words, "; scheduled: at least %u (%.80s)", settings->min, settings->min_words);
    if (settings->max_words)
        say(&words, "; scheduled: at most %u (%.80s)", settings->max, settings->max_words);
    size_t len = words.len;
    if (len >= out_bytes) {
        len = out_bytes - 1;
        /* Before a character, not inside one. */
        while (len > 0 && ((unsigned char)words.text[len] & 0xc0) == 0x80)
            len--;
    }
    memcpy(out, words.text, len);
    out[len] = '\0';
}
