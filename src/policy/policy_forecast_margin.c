/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_forecast_margin.c - from a voice's past errors to the capacity that is held for what it
 * says: the margin widens with errors and narrows without.
 *
 * May touch:  base.
 * Follows:    Vovk, Gammerman, Shafer, "Algorithmic Learning in a Random World", 2005 (margins from
 *             one's own errors, kept apart by category); Gibbs and Candes, "Adaptive Conformal
 *             Inference Under Distribution Shift", NeurIPS 2021 (steered by the misses seen: here
 *             the price of a late request); Arrow, Harris, Marschak, "Optimal Inventory Policy",
 *             Econometrica 1951 (hold what costs least on average, not a fixed quantile).
 */
#include "policy/policy_forecast_priv.h"

#include <math.h>

#define ERROR_SPAN 5.3      /* of asinh(2 z) that the bins cover, either way */
#define HORIZON_USUAL 8.0   /* ticks ahead: what the memories of errors are for */
#define ERROR_MEMORY 4000.0 /* errors; older ones fade */
#define ERROR_MAX 0.7       /* counted of one error for the scale, in logarithms */
#define SCALE_USUAL 0.05    /* an ordinary error before any was seen */
#define SCALE_LEAST 0.003
#define SCALE_FAST 0.02   /* share of the newest error */
#define SCALE_SLOW 0.0001 /* a flood in half a day of ticks is not forgotten between two */
#define LOSS_FAST 0.004
#define LOSS_SLOW 0.0002
#define LOSS_MAX 60.0
#define FACTOR_START 1.35
#define FACTOR_MIN 0.8
#define FACTOR_MAX 6.0
#define GROWTH_MAX 2.0 /* logarithm of the greatest error that is believed */
#define LEARNT 60      /* errors after which the search is local */
#define POINTS_MAX (POLICY__ERROR_BINS + 6)

void
policy__margin_init(struct policy__margin *margin, enum policy__mood mood)
{
    static const double scale[POLICY__MOODS] = {0.05, 0.10, 0.25};
    *margin = (struct policy__margin){
        .scale_fast = scale[mood],
        .scale_slow = scale[mood],
        .loss_fast = 2,
        .loss_slow = 2,
        .factor = FACTOR_START,
    };
}

void
policy__margin_begin(struct policy__margin *margin, const struct policy__margin *like)
{
    *margin = *like;
    margin->own = 0;
}

/* Forecasts of 60 ticks that are made at each tick share 59 of them: one flood is 60 errors and one
 * piece of news. The errors that are remembered are therefore counted in ways ahead, not in ticks.
 */
static double
ways(uint32_t ticks)
{
    return fmax(1, ticks / HORIZON_USUAL);
}

/* What counts as one unit of error now: halfway, in logarithms, between how it errs lately and what
 * is usual. A scale that followed the last hour alone would forget a flood between two of them. */
double
policy__margin_scale(const struct policy__margin *margin)
{
    double scale = fmax((margin->scale_fast + margin->scale_slow) / 2, SCALE_LEAST);
    return sqrt(scale * SCALE_USUAL);
}

static void
update(double *mean, double share, double value)
{
    *mean += share * (value - *mean);
}

void
policy__margin_learn(struct policy__margin *margin, const struct policy__outcome *outcome,
                     const struct policy__member_model *member)
{
    double log_error = outcome->log_error;
    double stretch = ways(outcome->ticks);
    double memory = ERROR_MEMORY * stretch;
    double came = exp(fmin(log_error, 20));
    double first = 1.0 / (margin->seen + 2.0);
    double size = fmin(fabs(log_error), ERROR_MAX);

    /* What it would have cost to follow it, per request that came. */
    double late = policy__member_slow(member, came / margin->factor);
    double loss = fmin(LOSS_MAX, margin->factor / came + outcome->price * late);
    update(&margin->loss_fast, LOSS_FAST, loss);
    update(&margin->loss_slow, fmax(LOSS_SLOW, 1.0 / (margin->seen + 50.0)), loss);

    /* Bins grow with distance, so that a rare flood has a place of its own size. The unit is that
     * of when the forecast was made: by the time a flood is an error, it has widened the unit
     * itself, and would be put down as nothing special. */
    double at = (asinh(2 * log_error / outcome->scale) / ERROR_SPAN + 1) / 2;
    int bin = (int)(fmax(0, fmin(at, 0.999)) * POLICY__ERROR_BINS);
    if (margin->error_total > memory) {
        float keep = (float)(memory / margin->error_total);
        for (size_t i = 0; i < POLICY__ERROR_BINS; i++)
            margin->error[i] *= keep;
        margin->error_total = memory;
    }
    margin->error[bin] += 1;
    margin->error_total += 1;
    update(&margin->scale_fast, fmax(SCALE_FAST / stretch, first), size);
    update(&margin->scale_slow, fmax(SCALE_SLOW, first), size);
    if (margin->seen < UINT32_MAX)
        margin->seen++;
    if (margin->own < UINT32_MAX)
        margin->own++;
}

struct points {
    double ratio[POINTS_MAX], weight[POINTS_MAX];
    size_t count;
    double total;
};

/* Neighbours that are rare and alike become one: fewer to look at. */
static void
add_point(struct points *points, double units, double weight, double scale)
{
    double ratio = exp(fmin(GROWTH_MAX, units * scale));
    size_t last = points->count - 1;

    points->total += weight;
    if (points->count > 0 && points->weight[last] < 0.01 * points->total &&
        ratio < points->ratio[last] * 1.08 && ratio > points->ratio[last]) {
        double both = points->weight[last] + weight;
        points->ratio[last] = (points->ratio[last] * points->weight[last] + ratio * weight) / both;
        points->weight[last] = both;
        return;
    }
    points->ratio[points->count] = ratio;
    points->weight[points->count++] = weight;
}

static void
gather(const struct policy__margin *margin, uint32_t ticks, struct points *points)
{
    /* Twenty errors that were never made: a lopsided bell with a long upper tail, so that a short
     * past is not taken for a calm one. It is the wider the farther the look goes, as the way of a
     * random walk is: with the square root of the time. */
    static const double prior[6][2] = {{-1.5, 4},  {-0.5, 6}, {0.5, 5},
                                       {1.5, 3.4}, {3, 1.2},  {5, 0.4}};
    double scale = policy__margin_scale(margin);
    double spread = sqrt(ways(ticks));

    points->count = 0;
    points->total = 0;
    for (size_t i = 0; i < POLICY__ERROR_BINS; i++) {
        double middle = (((double)i + 0.5) / POLICY__ERROR_BINS * 2 - 1) * ERROR_SPAN;
        if (margin->error[i] > 0)
            add_point(points, sinh(middle) / 2, (double)margin->error[i], scale);
    }
    for (size_t i = 0; i < 6; i++)
        add_point(points, prior[i][0] * spread, prior[i][1], scale);
}

/* The capacity per request forecast at which capacity and late requests together cost least. */
void
policy__margin_size(struct policy__margin *margin, const struct policy__sizing *sizing,
                    const struct policy__member_model *member)
{
    struct points points;
    double best = HUGE_VAL;
    double factor = margin->factor;
    bool is_new = sizing->is_wide || margin->seen < LEARNT;
    double low = is_new ? 1.0 : fmax(FACTOR_MIN, margin->factor / 1.062);
    double high = is_new ? 4.0 : fmin(FACTOR_MAX, margin->factor * 1.062);
    double step = is_new ? 1.04 : 1.02;

    gather(margin, sizing->ticks, &points);
    for (double g = low; g <= high; g *= step) {
        double late = 0;
        for (size_t i = 0; i < points.count; i++)
            late += points.weight[i] * points.ratio[i] *
                    policy__member_slow(member, points.ratio[i] / g);
        double cost = g + sizing->price * late / points.total;
        if (cost < best) {
            best = cost;
            factor = g;
        }
    }
    margin->factor = factor;
}

double
policy__margin_loss(const struct policy__margin *margin)
{
    return (margin->loss_fast + margin->loss_slow) / 2;
}
