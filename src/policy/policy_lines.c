/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_lines.c - `freshet decide`, line by line.
 *
 * May touch:  base.
 * Memory:     one engine; what Jansson needs for a line of at most POLICY_LINE_BYTES_MAX.
 * Trusts:     nothing: what is missing is unknown, what cannot be holds the count.
 */
#include "policy/policy_lines.h"

#include "base/fr_mem.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

#define MEMBERS_MAX 1000000
#define AT_MAX_S 1e11 /* three thousand years: seconds fit microseconds */

struct policy_lines {
    struct policy_settings settings;
    struct policy_state state;
    double dt_s, drain_s;
    uint32_t desired; /* as answered last */
};

struct policy_lines *
policy_lines_new(enum policy_kind kind)
{
    struct policy_lines *lines = fr_xalloc(sizeof(*lines));

    lines->settings = (struct policy_settings){
        .kind = kind,
        .upper = kind == POLICY_THRESHOLD ? 0.75 : -1,
        .lower = kind == POLICY_THRESHOLD ? 0.45 : -1,
        .cooldown_up_us = 2000000,
        .cooldown_down_us = 30000000,
        .min = 1,
        .max = MEMBERS_MAX,
        .step_max = 4,
        .allocate = true,
        .flaps_per_hour = POLICY_FLAPS_PER_HOUR,
    };
    lines->dt_s = 5;
    lines->drain_s = 30;
    if (kind == POLICY_FORECAST) {
        lines->state.forecast = fr_xalloc(policy_forecast_bytes());
        policy_forecast_init(lines->state.forecast);
    }
    return lines;
}

void
policy_lines_free(struct policy_lines **lines)
{
    if (*lines == NULL)
        return;
    fr_free((*lines)->state.forecast);
    fr_free(*lines);
    *lines = NULL;
}

static double
number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

/* False: no count at all, or one that cannot be. */
static bool
count(const json_t *object, const char *key, uint32_t *out)
{
    double value = number(object, key);
    if (!(value >= 0) || value > MEMBERS_MAX)
        return false;
    *out = (uint32_t)value;
    return true;
}

static void
take_hello(struct policy_lines *lines, const json_t *hello)
{
    uint32_t value;
    double seconds = number(hello, "dt");

    if (seconds >= 0.1 && seconds <= 3600)
        lines->dt_s = seconds;
    seconds = number(hello, "drain");
    if (seconds >= 0 && seconds <= 86400)
        lines->drain_s = seconds;
    double quantile = number(hello, "slo_quantile");
    double latency_s = number(hello, "slo_latency");
    if (quantile > 0 && quantile < 1 && latency_s > 0 && latency_s <= 3600) {
        lines->settings.late_max = 1 - quantile;
        lines->settings.slo_latency_us = (int64_t)(latency_s * 1e6);
    }
    if (count(hello, "min", &value))
        lines->settings.min = value;
    if (count(hello, "max", &value) && value > 0)
        lines->settings.max = value;
    if (lines->settings.min > lines->settings.max)
        lines->settings.min = lines->settings.max;
}

/* Growing takes effect at once here: members asked for are the caller's `starting` next time. */
static void
remember_change(struct policy_state *state, const struct policy_decision *decision, int64_t now_us)
{
    if (decision->verdict == POLICY_HOLD)
        return;
    state->changed_at_us = now_us;
    if (decision->verdict == POLICY_ALLOCATE)
        state->grown_at_us = now_us;
}

static bool
take_tick(struct policy_lines *lines, const json_t *tick)
{
    struct policy_observation seen;
    struct policy_decision decision;
    uint32_t ready, starting, draining = 0;
    double at_s = number(tick, "t");

    if (!count(tick, "ready", &ready) || !count(tick, "starting", &starting) ||
        !(at_s >= -AT_MAX_S && at_s <= AT_MAX_S))
        return false;
    (void)count(tick, "draining", &draining); /* or none */
    int64_t now_us = (int64_t)(at_s * 1e6) + 1000000;
    double utilization = number(tick, "util");
    double rate = number(tick, "rate");
    policy_survey_equals(ready, starting, draining, utilization, now_us, &seen);
    seen.traffic = (struct policy_traffic){
        .is_known = true,
        .dt_s = lines->dt_s,
        .rate = rate,
        .slow = number(tick, "slow"),
        .dropped = number(tick, "dropped"),
        .queue = number(tick, "queue"),
        .startup_s = number(tick, "last_startup"),
        .drain_s = lines->drain_s,
    };
    policy_tick(&lines->settings, &lines->state, &seen, &decision);
    remember_change(&lines->state, &decision, seen.now_us);
    lines->desired = decision.desired;
    return true;
}

enum policy_line
policy_lines_take(struct policy_lines *lines, struct fr_view line, char out[POLICY_ANSWER_BYTES])
{
    json_t *object = NULL;
    enum policy_line result = POLICY_LINE_BAD;

    if (line.len <= POLICY_LINE_BYTES_MAX)
        object = json_loadb(line.ptr, line.len, 0, NULL);
    const char *type = json_string_value(json_object_get(object, "type"));
    if (type != NULL && strcmp(type, "hello") == 0) {
        take_hello(lines, object);
        result = POLICY_LINE_SILENT;
    } else if (type != NULL && strcmp(type, "tick") == 0) {
        if (take_tick(lines, object))
            result = POLICY_LINE_ANSWER;
    } else if (type != NULL) {
        result = POLICY_LINE_SILENT;
    }
    json_decref(object);
    if (result != POLICY_LINE_SILENT) {
        uint32_t desired = lines->desired;
        desired = desired > lines->settings.min ? desired : lines->settings.min;
        desired = desired < lines->settings.max ? desired : lines->settings.max;
        (void)snprintf(out, POLICY_ANSWER_BYTES, "%u\n", desired);
    }
    return result;
}
