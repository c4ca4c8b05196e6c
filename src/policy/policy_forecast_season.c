/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_forecast_season.c - the long memory, the periods found in it, and what they say.
 *
 * May touch:  base.
 * Memory:     POLICY__BINS minutes; older ones are overwritten.
 * Cost:       a look for periods every half hour of the cluster's time: some milliseconds once the
 *             memory is full.
 * Follows:    autocorrelation as in Box and Jenkins, "Time Series Analysis", 1970; the day is tried
 *             unasked. Whether a period is any good is not decided here: its voice must win.
 */
#include "policy/policy_forecast_priv.h"

#include <math.h>

#define GROUP 5           /* bins that the first look takes together */
#define GROUPS_MAX (POLICY__BINS / GROUP - 1)
#define GROUPS_MIN 40
#define LOOK_EVERY 30     /* bins */
#define LAG_MIN 6         /* groups */
#define LIKENESS_MIN 0.3  /* a peak of the autocorrelation below this is chance */
#define LIKENESS_VALLEY 0.1
#define SAME_PERIOD 3     /* bins: closer ones are one */
#define REFINE_PAIRS 2000
#define CYCLES 3          /* back that are listened to, the last most */
#define STEPS 12          /* at which the way ahead is looked at */
#define DAY_S 86400.0

static double
bin_at(const struct policy__season *season, uint64_t bin)
{
    return (double)season->bin[bin % POLICY__BINS];
}

/* ---- finding periods ------------------------------------------------------------------------ */

static void
remove_line(float *x, size_t count)
{
    double mean = 0;
    double slope = 0;
    double middle = ((double)count - 1) / 2;
    double spread = (double)count * ((double)count * (double)count - 1) / 12;

    for (size_t i = 0; i < count; i++)
        mean += (double)x[i] / (double)count;
    for (size_t i = 0; i < count; i++)
        slope += ((double)i - middle) * ((double)x[i] - mean) / spread;
    for (size_t i = 0; i < count; i++)
        x[i] -= (float)(mean + slope * ((double)i - middle));
}

/* Long lags rest on fewer pairs, and are believed a little less. */
static double
likeness(const float *x, size_t count, size_t lag, size_t step)
{
    double both = 0;
    double now = 0;
    double then = 0;

    for (size_t i = lag; i < count; i += step) {
        both += (double)(x[i] * x[i - lag]);
        now += (double)(x[i] * x[i]);
        then += (double)(x[i - lag] * x[i - lag]);
    }
    return both / sqrt(now * then + 1e-9) * (1 - 0.1 * (double)lag / (double)count);
}

/* The two best peaks after the first valley; 0 where there is none. */
static void
find_peaks(const float *x, size_t count, size_t out_lag[2])
{
    size_t step = count > 1000 ? 2 : 1;
    double best[2] = {0, 0};
    double before = 1;
    double last = 1;
    bool is_past_valley = false;

    out_lag[0] = out_lag[1] = 0;
    for (size_t lag = LAG_MIN; lag < (size_t)((double)count / 1.3); lag += step) {
        double here = likeness(x, count, lag, step);
        is_past_valley = is_past_valley || here < LIKENESS_VALLEY;
        bool is_peak = is_past_valley && last > before && last >= here && last > LIKENESS_MIN;
        if (is_peak && last > best[0] + 0.05) {
            best[1] = best[0];
            out_lag[1] = out_lag[0];
            best[0] = last;
            out_lag[0] = lag - step;
        } else if (is_peak && last > best[1] + 0.02) {
            best[1] = last;
            out_lag[1] = lag - step;
        }
        before = last;
        last = here;
    }
}

/* The period near `guess` under which the newest bins are most like those before. */
static uint32_t
refine(const struct policy__season *season, uint64_t kept, uint64_t guess)
{
    uint64_t best = guess;
    double least = HUGE_VAL;

    for (uint64_t period = guess - 2 * GROUP; period <= guess + 2 * GROUP; period++) {
        uint64_t pairs = kept > period ? kept - period : 0;
        double sum = 0;
        if (pairs > REFINE_PAIRS)
            pairs = REFINE_PAIRS;
        if (pairs == 0)
            continue;
        for (uint64_t i = 1; i <= pairs; i++) {
            uint64_t bin = season->bin_count - i;
            sum += fabs(bin_at(season, bin) - bin_at(season, bin - period));
        }
        if (sum / (double)pairs < least) {
            least = sum / (double)pairs;
            best = period;
        }
    }
    return (uint32_t)best;
}

static bool
is_known(const struct policy__season *season, size_t count, uint32_t period)
{
    for (size_t i = 0; i < count; i++)
        if (period + SAME_PERIOD >= season->period[i] &&
            period <= season->period[i] + SAME_PERIOD)
            return true;
    return false;
}

static void
look_for_periods(struct policy__season *season, double bin_s)
{
    float x[GROUPS_MAX];
    size_t lag[2];
    uint64_t kept = season->bin_count < POLICY__BINS ? season->bin_count : POLICY__BINS - GROUP;
    size_t groups = (size_t)(kept / GROUP);
    size_t found = 1;

    season->period[0] = (uint32_t)(DAY_S / bin_s + 0.5);
    if (groups < GROUPS_MIN)
        return;
    groups = groups < GROUPS_MAX ? groups : GROUPS_MAX;
    uint64_t first = season->bin_count - (uint64_t)groups * GROUP;
    for (size_t i = 0; i < groups; i++) {
        x[i] = 0;
        for (size_t k = 0; k < GROUP; k++)
            x[i] += season->bin[(first + i * GROUP + k) % POLICY__BINS] / GROUP;
    }
    remove_line(x, groups);
    find_peaks(x, groups, lag);
    season->period[1] = season->period[2] = 0;
    for (size_t i = 0; i < 2; i++) {
        uint32_t period = lag[i] ? refine(season, kept, lag[i] * GROUP) : 0;
        if (period && !is_known(season, found, period))
            season->period[found++] = period;
    }
}

/* ---- remembering ---------------------------------------------------------------------------- */

static void
push(struct policy__season *season, double rate, double bin_s)
{
    season->bin[season->bin_count % POLICY__BINS] = (float)rate;
    season->bin_count++;
    if (season->bin_count % LOOK_EVERY == 0)
        look_for_periods(season, bin_s);
}

void
policy__season_add(struct policy__season *season, double rate, double dt_s)
{
    if (season->ticks_per_bin == 0)
        season->ticks_per_bin = dt_s < POLICY__BIN_S ? (uint32_t)(POLICY__BIN_S / dt_s + 0.5) : 1;
    season->sum += rate;
    season->ticks++;
    if (season->ticks < season->ticks_per_bin)
        return;
    push(season, season->sum / season->ticks, season->ticks_per_bin * dt_s);
    season->sum = 0;
    season->ticks = 0;
}

/* Nobody looked for a while: the newest value stands for it, so that the hours stay where they
 * were. */
void
policy__season_skip(struct policy__season *season, double seconds)
{
    double last = season->bin_count ? bin_at(season, season->bin_count - 1) : 0;
    double bins = floor(seconds / POLICY__BIN_S + 0.5);

    if (season->bin_count == 0)
        return;
    for (double i = 0; i < bins && i < POLICY__BINS; i++) {
        season->bin[season->bin_count % POLICY__BINS] = (float)last;
        season->bin_count++;
    }
}

/* ---- saying --------------------------------------------------------------------------------- */

static double
mean_around(const struct policy__season *season, double bin, uint32_t smooth)
{
    double sum = 0;
    unsigned count = 0;

    for (double at = bin - smooth; at <= bin + smooth; at++) {
        if (at < 0 || at >= (double)season->bin_count ||
            at <= (double)season->bin_count - POLICY__BINS)
            continue;
        sum += bin_at(season, (uint64_t)at);
        count++;
    }
    return count ? sum / count : 0;
}

/* The remembered rate at a place between bins, joined linearly between their middles. */
static double
remembered(const struct policy__season *season, double place, uint32_t smooth)
{
    double bin = floor(place - 0.5);
    double part = place - 0.5 - bin;

    return (1 - part) * mean_around(season, bin, smooth) +
           part * mean_around(season, bin + 1, smooth);
}

bool
policy__season_say(const struct policy__season *season, const struct policy__season_ask *ask,
                   float *out_far, float *out_peak)
{
    static const double weight[CYCLES] = {0.55, 0.3, 0.15};
    double bin_s = season->ticks_per_bin * ask->dt_s;
    double place = (double)season->bin_count + season->ticks * ask->dt_s / bin_s;
    double here[CYCLES];
    double total = 0;
    size_t cycles = 0;

    for (; cycles < CYCLES; cycles++) {
        double then = place - (double)(cycles + 1) * ask->period;
        if (then < 2 || then < (double)season->bin_count - POLICY__BINS + 5)
            break;
        here[cycles] = remembered(season, then, ask->smooth);
        if (!(here[cycles] > 0))
            break;
        total += weight[cycles];
    }
    if (cycles == 0)
        return false;
    double peak = ask->level;
    for (size_t i = 1; i <= STEPS + 1; i++) {
        double ticks = i <= STEPS ? (double)ask->peak_ticks * (double)i / STEPS : ask->far_ticks;
        double says = 0;
        for (size_t c = 0; c < cycles; c++) {
            double then = remembered(
                season, place + ticks * ask->dt_s / bin_s - (double)(c + 1) * ask->period,
                ask->smooth);
            says += weight[c] / total *
                    (ask->is_ratio ? ask->level * then / here[c] : ask->level + then - here[c]);
        }
        says = fmax(0, fmin(says, POLICY__RATE_MAX));
        if (i > STEPS)
            *out_far = (float)says;
        else
            peak = fmax(peak, says);
    }
    *out_peak = (float)peak;
    return true;
}
