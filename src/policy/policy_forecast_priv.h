/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_forecast_priv.h - what the files of the forecasting policy share.
 *
 * Shape: every tick all voices say what the rate will be; each voice's past errors make a margin;
 * the margins that cost least lately weigh most in how many members are wanted.
 */
#ifndef POLICY_FORECAST_PRIV_H
#define POLICY_FORECAST_PRIV_H

#include "policy/policy_priv.h"

#define POLICY__RING 512        /* ticks remembered one by one */
#define POLICY__HORIZON_MAX 240 /* ticks: nobody looks further ahead */
#define POLICY__BIN_S 60.0      /* of the long memory */
#define POLICY__BINS 20160      /* two weeks of them */
#define POLICY__PERIODS 3       /* seasons that are tried at a time */
#define POLICY__ERROR_BINS 64
#define POLICY__CURVE_STEPS 64 /* of utilization, as learnt */
#define POLICY__CURVE_FINE 512 /* of utilization, as used */
#define POLICY__RATE_MAX 1e12  /* requests/s; what is beyond is nonsense */

/* Who forecasts. */
enum policy__voice {
    POLICY__VOICE_NOW,     /* as the last three ticks */
    POLICY__VOICE_TREND_4, /* a line through so many ticks */
    POLICY__VOICE_TREND_8,
    POLICY__VOICE_TREND_16,
    POLICY__VOICE_TREND_40,
    POLICY__VOICE_TREND_120,
    POLICY__VOICE_PEAK_36, /* the highest of so many ticks */
    POLICY__VOICE_PEAK_240,
    POLICY__VOICE_SEASON_RATIO, /* two for each period: times, and plus, what came then */
    POLICY__VOICE_SEASON_PLUS,
    POLICY__VOICE_BLEND = POLICY__VOICE_SEASON_RATIO + 2 * POLICY__PERIODS,
    POLICY__VOICE_MEAN_12,
    POLICY__VOICE_MEAN_60,
    POLICY__VOICE_MEAN_240,
    POLICY__VOICES
};

/* How the rate moves just now: errors are kept apart by it. */
enum policy__mood { POLICY__CALM, POLICY__RISING, POLICY__JUMPING, POLICY__MOODS };

/* What one voice's errors were at one horizon in one mood, and what follows: see
 * policy_forecast_margin.c. */
struct policy__margin {
    float error[POLICY__ERROR_BINS]; /* how often, by size; fades */
    double error_total;
    double scale_fast, scale_slow; /* mean size of an error, lately and in the long run */
    double loss_fast, loss_slow;   /* what following it cost, per request */
    double factor;                 /* capacity to hold per request forecast */
    uint32_t seen;                 /* errors, with those that a voice began with */
    uint32_t own;                  /* errors of its own */
};

/* The long memory. */
struct policy__season {
    float bin[POLICY__BINS];
    uint64_t bin_count;
    double sum;
    uint32_t ticks, ticks_per_bin;
    uint32_t period[POLICY__PERIODS]; /* in bins; 0: none */
};

/* What a member can do. */
struct policy__member_model {
    double log_capacity, weight; /* weight 0: not known yet */
    double queue;                /* requests that waited when the last tick ended; NaN: not known */
    bool is_backlog;             /* more had come in it than could be done */
    double bad[POLICY__CURVE_STEPS], requests[POLICY__CURVE_STEPS];
    float slow[POLICY__CURVE_FINE + 1]; /* share of late requests at a utilization */
    double startup_mean_s, startup_high_s;
    bool is_startup_known;
};

/* What a late request is taken to cost: see policy_forecast_price.c. */
struct policy__price {
    double value;                /* in requests' worth of capacity */
    double came_rate, late_rate; /* requests/s, over the memory; 0: nobody came yet */
};

/* What was said at one tick, until it is known who was right. */
struct policy__said {
    float far[POLICY__VOICES];  /* the rate when a member asked for now would serve */
    float peak[POLICY__VOICES]; /* the highest rate until a member released now could be back */
    float far_scale[POLICY__VOICES]; /* what was an ordinary error then: see policy__margin_scale */
    float peak_scale[POLICY__VOICES];
    uint16_t far_ticks, peak_ticks; /* 0: nothing was said */
    uint8_t mood;
};

struct policy_forecast {
    uint64_t tick; /* counted from when a member became known */
    int64_t last_us;
    double dt_s;
    double idle_s; /* nobody has come for so long, before that */
    float rate[POLICY__RING];
    struct policy__season season;
    struct policy__member_model member;
    struct policy__margin far[POLICY__MOODS][POLICY__VOICES];
    struct policy__margin peak[POLICY__MOODS][POLICY__VOICES];
    struct policy__said said[POLICY__RING];
    float release[POLICY__RING]; /* members that seemed enough, tick by tick */
    double move;                 /* mean square of the short-term change */
    struct policy__price price;
    uint32_t far_ticks, peak_ticks;
    enum policy__mood mood;
    enum policy__voice lead;
    struct policy_decision last;
};

static inline double
policy__rate_at(const struct policy_forecast *self, uint64_t tick)
{
    return self->rate[tick % POLICY__RING];
}

/* policy_forecast_member.c */
void policy__member_init(struct policy__member_model *model);
void policy__member_learn(struct policy__member_model *model,
                          const struct policy_observation *seen);
void policy__member_rebuild(struct policy__member_model *model);
double policy__member_capacity(const struct policy__member_model *model); /* requests/s */
double policy__member_slow(const struct policy__member_model *model, double utilization);
double policy__member_startup_s(const struct policy__member_model *model);

/* policy_forecast_price.c: late_max 0: no goal is set. */
void policy__price_init(struct policy__price *price);
void policy__price_learn(struct policy__price *price, const struct policy_traffic *traffic,
                         double late_max);

/* policy_forecast_season.c */
void policy__season_add(struct policy__season *season, double rate, double dt_s);
void policy__season_skip(struct policy__season *season, double seconds);
/* What a period says: the rate far_ticks ahead and the highest within peak_ticks, from `level`
 * now. False: the memory does not reach back so far. */
struct policy__season_ask {
    uint32_t period, smooth;
    double level, dt_s;
    uint32_t far_ticks, peak_ticks;
    bool is_ratio;
};
bool policy__season_say(const struct policy__season *season, const struct policy__season_ask *ask,
                        float *out_far, float *out_peak);

/* policy_forecast_voices.c: fills said; needs self->far_ticks, peak_ticks and mood. */
void policy__voices_say(const struct policy_forecast *self, struct policy__said *out);
/* A voice that may lead: it spoke, and its errors are known or harmless. */
bool policy__voice_counts(enum policy__voice voice, float said,
                          const struct policy__margin *margin);

/* policy_forecast_margin.c */
/* How a forecast turned out, and what it is judged by. */
struct policy__outcome {
    double log_error;
    double scale; /* policy__margin_scale as it was when the forecast was made */
    double price;
    uint32_t ticks; /* how far ahead it looked */
};
void policy__margin_init(struct policy__margin *margin, enum policy__mood mood);
/* A voice that says its first word is taken to be no better than `like` until it is known. */
void policy__margin_begin(struct policy__margin *margin, const struct policy__margin *like);
void policy__margin_learn(struct policy__margin *margin, const struct policy__outcome *outcome,
                          const struct policy__member_model *member);
struct policy__sizing {
    double price;
    uint32_t ticks; /* how far ahead */
    bool is_wide;
};
void policy__margin_size(struct policy__margin *margin, const struct policy__sizing *sizing,
                         const struct policy__member_model *member);
/* What counts as one unit of error now. */
double policy__margin_scale(const struct policy__margin *margin);
double policy__margin_loss(const struct policy__margin *margin);

#endif
