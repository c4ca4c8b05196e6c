/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_utilization.c - the sources of utilization, and the highest of them.
 *
 * May touch:  base, config. Never: sockets, clocks, the heap.
 * Trusts:     nothing of what members say: numbers outside 0..ORCA_MAX are no numbers.
 * Follows:    Open Request Cost Aggregation, the text and JSON forms of the response field.
 */
#include "cluster/cluster_utilization.h"

#include <math.h>
#include <stdlib.h>

#define ORCA_MAX 1000.0 /* a utilization past this is an error of the member's */
#define ORCA_NUMBER_BYTES 40

void
cluster_utilization_sample(struct cluster_utilization *state,
                           const struct config_utilization *settings, uint64_t in_flight_us,
                           int64_t now_us)
{
    if (state->last_at_us == 0) {
        state->in_flight = NAN;
        state->last_in_flight_us = in_flight_us;
        state->last_at_us = now_us;
        return;
    }
    int64_t passed_us = now_us - state->last_at_us;
    if (passed_us <= 0 || passed_us < settings->window_us)
        return;
    /* The workers' turns began at moments of their own, so the sum may stand a turn back. */
    int64_t grown_us = (int64_t)(in_flight_us - state->last_in_flight_us);
    state->in_flight = grown_us > 0 ? (double)grown_us / (double)passed_us : 0;
    state->last_in_flight_us = in_flight_us;
    state->last_at_us = now_us;
}

static bool
fresh(int64_t at_us, int64_t now_us)
{
    return at_us != 0 && now_us - at_us <= CLUSTER_UTILIZATION_FRESH_US;
}

static double
higher(double a, double b)
{
    if (isnan(b))
        return a;
    if (b < 0)
        b = 0;
    return isnan(a) || b > a ? b : a;
}

double
cluster_utilization_value(const struct cluster_utilization *state,
                          const struct config_utilization *settings, int64_t now_us)
{
    double value = NAN;
    if (settings->limit > 0 && state->last_at_us != 0)
        value = higher(value, state->in_flight / settings->limit);
    if (settings->host_cpu && fresh(state->host_cpu_at_us, now_us))
        value = higher(value, state->host_cpu);
    if (settings->agent_check && fresh(state->agent_check_at_us, now_us))
        value = higher(value, state->agent_check);
    if (settings->orca && fresh(state->orca_at_us, now_us))
        value = higher(value, state->orca);
    return value;
}

/* ---- ORCA ----------------------------------------------------------------------------------- */

enum orca_key { ORCA_OTHER, ORCA_CPU, ORCA_APPLICATION };

static enum orca_key
orca_key_of(struct fr_view name)
{
    if (fr_view_is(name, "application_utilization") || fr_view_is(name, "applicationUtilization"))
        return ORCA_APPLICATION;
    if (fr_view_is(name, "cpu_utilization") || fr_view_is(name, "cpuUtilization"))
        return ORCA_CPU;
    return ORCA_OTHER;
}

/* Numbers with an exponent are usual here ("3e-05"), hexadecimal ones and infinities are not. */
static bool
orca_number(struct fr_view text, double *out)
{
    char copy[ORCA_NUMBER_BYTES];
    if (text.len == 0 || !fr_view_copy(text, copy, sizeof(copy)))
        return false;
    if (strspn(copy, "0123456789.eE+-") != text.len)
        return false;
    char *end = NULL;
    double value = strtod(copy, &end);
    if (end != copy + text.len || !isfinite(value) || value < 0 || value > ORCA_MAX)
        return false;
    *out = value;
    return true;
}

struct orca_found {
    bool has[3];
    double value[3];
};

static void
orca_take(struct orca_found *found, struct fr_view name, struct fr_view number)
{
    enum orca_key key = orca_key_of(name);
    if (key != ORCA_OTHER && orca_number(number, &found->value[key]))
        found->has[key] = true;
}

static void
orca_parse_text(struct fr_view rest, struct orca_found *found)
{
    struct fr_view pair;
    while (fr_view_split(&rest, ',', &pair)) {
        struct fr_view name;
        char sign = pair.len && memchr(pair.ptr, '=', pair.len) ? '=' : ':';
        if (fr_view_split(&pair, sign, &name) && pair.ptr)
            orca_take(found, fr_view_trim(name), fr_view_trim(pair));
    }
}

static size_t
skip_space(struct fr_view in, size_t i)
{
    while (i < in.len && memchr(" \t\r\n", in.ptr[i], 4))
        i++;
    return i;
}

/* From the opening quote to behind the closing one; in.len when there is none. */
static size_t
skip_string(struct fr_view in, size_t i, struct fr_view *out)
{
    size_t start = ++i;
    while (i < in.len && in.ptr[i] != '"')
        i += in.ptr[i] == '\\' ? 2 : 1;
    if (i >= in.len)
        return in.len;
    *out = fr_view_make(in.ptr + start, i - start);
    return i + 1;
}

/* Only the members of the outermost object matter; what is nested (named metrics) is walked over by
 * depth. This is a search, not a validator: a broken text yields what stands before the break. */
static void
orca_parse_json(struct fr_view in, struct orca_found *found)
{
    int depth = 0;
    struct fr_view name = {0};
    for (size_t i = 0; i < in.len;) {
        char c = in.ptr[i];
        if (c == '"') {
            i = skip_string(in, i, &name);
        } else if (c == ':' && depth == 1) {
            size_t start = skip_space(in, i + 1), end = start;
            while (end < in.len && memchr("0123456789.eE+-", in.ptr[end], 15))
                end++;
            orca_take(found, name, fr_view_make(in.ptr + start, end - start));
            i = end > i + 1 ? end : i + 1;
        } else {
            depth += c == '{' || c == '[';
            depth -= c == '}' || c == ']';
            i++;
        }
    }
}

bool
cluster_utilization_parse_orca(struct fr_view value, double *out)
{
    struct orca_found found = {0};
    value = fr_view_trim(value);
    if (fr_view_istarts(value, FR_VIEW("TEXT ")))
        value = fr_view_make(value.ptr + 5, value.len - 5);
    else if (fr_view_istarts(value, FR_VIEW("JSON ")))
        value = fr_view_make(value.ptr + 5, value.len - 5);
    value = fr_view_trim(value);
    if (value.len && value.ptr[0] == '{')
        orca_parse_json(value, &found);
    else if (value.len)
        orca_parse_text(value, &found);
    /* The application's own word stands above its processor's; 0 is how ORCA says "not set". */
    if (found.has[ORCA_APPLICATION] && (found.value[ORCA_APPLICATION] > 0 || !found.has[ORCA_CPU]))
        *out = found.value[ORCA_APPLICATION];
    else if (found.has[ORCA_CPU])
        *out = found.value[ORCA_CPU];
    else
        return false;
    return true;
}
