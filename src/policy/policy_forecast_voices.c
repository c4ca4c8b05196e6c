/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_forecast_voices.c - who forecasts: levels, lines, peaks and seasons, each simple. None is
 * right everywhere; which one is heard is decided by what following it cost.
 *
 * May touch:  base.
 * Follows:    Bauer, Herbst, Spinner, Ali-Eldin, Kounev, "Chameleon: A Hybrid, Proactive
 *             Auto-Scaling Mechanism on a Level-Playing Field", IEEE TPDS 2019 (several
 *             forecasters, the one with the least recent error leads); Holt 1957 for the lines.
 */
#include "policy/policy_forecast_priv.h"

#include <math.h>

#define NOW_TICKS 3
#define TREND_GROWTH_MAX 3.0 /* a line never foretells more than this times the rate of now */
#define TREND_LEAST 0.05     /* nor less than this */
#define SEASON_LEVEL_TICKS 12
#define LEARNT 60

static double
mean_of(const struct policy_forecast *self, size_t ticks)
{
    double sum = 0;
    size_t count = 0;

    for (; count < ticks && count <= self->tick; count++)
        sum += policy__rate_at(self, self->tick - count);
    return count ? sum / (double)count : 0;
}

static double
highest_of(const struct policy_forecast *self, size_t ticks)
{
    double highest = 0;

    for (size_t i = 0; i < ticks && i <= self->tick; i++)
        highest = fmax(highest, policy__rate_at(self, self->tick - i));
    return highest;
}

/* Least squares through the last `ticks`; the value at the newest, and what a tick adds. */
static double
line(const struct policy_forecast *self, size_t ticks, double *out_slope)
{
    size_t count = ticks <= self->tick ? ticks : (size_t)self->tick + 1;
    double middle = ((double)count - 1) / 2;
    double mean = mean_of(self, count);
    double spread = (double)count * ((double)count * (double)count - 1) / 12;
    double slope = 0;

    *out_slope = 0;
    if (count < 2)
        return mean;
    for (size_t i = 0; i < count; i++)
        slope += (middle - (double)i) * (policy__rate_at(self, self->tick - i) - mean) / spread;
    *out_slope = slope;
    return mean + slope * middle;
}

static void
say(struct policy__said *out, enum policy__voice voice, double far, double peak)
{
    out->far[voice] = (float)far;
    out->peak[voice] = (float)peak;
}

/* A line holds for about twice as long as it was looked at. */
static void
say_trends(const struct policy_forecast *self, double now, struct policy__said *out)
{
    static const size_t ticks[] = {4, 8, 16, 40, 120};
    double least = now * TREND_LEAST;

    for (size_t i = 0; i < sizeof(ticks) / sizeof(ticks[0]); i++) {
        double slope;
        double value = line(self, ticks[i], &slope);
        double far = value + slope * fmin(self->far_ticks, 2 * (double)ticks[i]);
        double peak = value + slope * fmin(self->peak_ticks, 2 * (double)ticks[i]);
        peak = fmax(now, fmax(value, peak));
        say(out, POLICY__VOICE_TREND_4 + (enum policy__voice)i,
            fmin(fmax(far, least), now * TREND_GROWTH_MAX), fmin(peak, now * TREND_GROWTH_MAX));
    }
}

static void
say_seasons(const struct policy_forecast *self, double now, struct policy__said *out)
{
    for (size_t i = 0; i < POLICY__PERIODS; i++) {
        enum policy__voice voice = POLICY__VOICE_SEASON_RATIO + 2 * (enum policy__voice)i;
        struct policy__season_ask ask = {
            .period = self->season.period[i],
            .smooth = 1,
            .level = now,
            .dt_s = self->dt_s,
            .far_ticks = self->far_ticks,
            .peak_ticks = self->peak_ticks,
            .is_ratio = true,
        };
        if (ask.period == 0)
            continue;
        (void)policy__season_say(&self->season, &ask, &out->far[voice], &out->peak[voice]);
        ask.smooth = 3;
        ask.level = mean_of(self, SEASON_LEVEL_TICKS);
        ask.is_ratio = false;
        (void)policy__season_say(&self->season, &ask, &out->far[voice + 1],
                                 &out->peak[voice + 1]); /* silent, 0, when it knows nothing */
    }
}

/* Halfway between the best of the near past and the best of the seasons. */
static float
blend(const struct policy__margin *margin, const float *said)
{
    enum policy__voice near = POLICY__VOICE_TREND_4;
    enum policy__voice season = POLICY__VOICE_SEASON_RATIO;

    for (enum policy__voice v = POLICY__VOICE_TREND_4; v <= POLICY__VOICE_TREND_120; v++)
        if (policy__margin_loss(&margin[v]) < policy__margin_loss(&margin[near]))
            near = v;
    for (enum policy__voice v = POLICY__VOICE_SEASON_RATIO; v < POLICY__VOICE_BLEND; v++)
        if (said[v] > 0 && (!(said[season] > 0) ||
                            policy__margin_loss(&margin[v]) < policy__margin_loss(&margin[season])))
            season = v;
    return said[season] > 0 ? (said[near] + said[season]) / 2 : 0;
}

void
policy__voices_say(const struct policy_forecast *self, struct policy__said *out)
{
    static const size_t means[] = {12, 60, 240};
    double now = mean_of(self, NOW_TICKS);

    *out = (struct policy__said){
        .far_ticks = (uint16_t)self->far_ticks,
        .peak_ticks = (uint16_t)self->peak_ticks,
        .mood = (uint8_t)self->mood,
    };
    say(out, POLICY__VOICE_NOW, now, now);
    say_trends(self, now, out);
    double high = highest_of(self, 36);
    say(out, POLICY__VOICE_PEAK_36, high, high);
    high = highest_of(self, 240);
    say(out, POLICY__VOICE_PEAK_240, high, high);
    say_seasons(self, now, out);
    for (size_t i = 0; i < sizeof(means) / sizeof(means[0]); i++) {
        double mean = mean_of(self, means[i]);
        say(out, POLICY__VOICE_MEAN_12 + (enum policy__voice)i, mean, mean);
    }
    out->far[POLICY__VOICE_BLEND] = blend(self->far[self->mood], out->far);
    out->peak[POLICY__VOICE_BLEND] = blend(self->peak[self->mood], out->peak);
    for (size_t v = 0; v < POLICY__VOICES; v++) {
        out->far_scale[v] = (float)policy__margin_scale(&self->far[self->mood][v]);
        out->peak_scale[v] = (float)policy__margin_scale(&self->peak[self->mood][v]);
    }
}

bool
policy__voice_counts(enum policy__voice voice, float said, const struct policy__margin *margin)
{
    bool is_harmless = voice == POLICY__VOICE_NOW || voice >= POLICY__VOICE_MEAN_12;
    return said > 0 && (is_harmless || margin->own > LEARNT);
}
