/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_forecast.c - steps straight to the number of members that the load will need when a
 * member asked for now would serve.
 *
 * May touch:  base.
 * Memory:     one struct policy_forecast, fixed; nothing is allocated here.
 * Bounded:    what cannot be (NaN, negative, a clock that jumps) teaches nothing, and holds or
 *             grows; between min and max whatever is forecast.
 * Calm:       two answers, not one: fewer than `rise` grows, more than `enough` shrinks, and what
 *             lies between stays. Giving back waits for a start-up plus a drain, the time after
 *             which keeping a member costs more than starting it again (ski rental: Karlin,
 *             Manasse, Rudolph, Sleator, "Competitive Snoopy Caching", Algorithmica 1988).
 * Follows:    Rzadca et al., "Autopilot", EuroSys 2020 (the price of being wrong picks among
 *             forecasters); Knative's panic window for what no forecast saw.
 */
#include "policy/policy_forecast_priv.h"

#include "base/fr_check.h"

#include <math.h>

#define SIZE_EVERY 8 /* ticks between two looks at a voice nobody follows */
#define CURVE_EVERY 12
#define WARM_UP 64           /* ticks in which every margin is looked at each time */
#define ERROR_FLOOR 0.5      /* members: errors below this are nobody's business */
#define VOICE_SHARPNESS 20.0 /* how much dearer a voice must be to be hardly heard */
#define MOOD_LEARNT 60       /* errors after which a mood is trusted alone */
#define ALIKE 4              /* ways ahead are, that differ by one in so many */
#define PEAK_SHARE 0.35      /* a peak does not last as long as the way to it */
#define MOVE_USUAL 0.08
#define MOVE_MEMORY 0.0007
#define RISING_FROM 1.7 /* times the usual short-term change */
#define JUMPING_FROM 4.0
#define HOLD_SPANS 1.5   /* of a start-up plus a drain */
#define ROUND_MAX 0.45   /* of a member that may lack: less is not worth one more ... */
#define ROUND_SHARE 0.08 /* ... unless it is more than this of what is needed */
#define RISE_EXTRA 0.3   /* of a member more when growing anyway */
#define BUSY_MAX 0.95    /* nothing is given back that would leave the rest busier */

static const char *const voice_words[POLICY__VOICES] = {
    "the last seconds",
    "a line through 4 looks",
    "a line through 8 looks",
    "a line through 16 looks",
    "a line through 40 looks",
    "a line through 120 looks",
    "the highest of 36 looks",
    "the highest of 240 looks",
    "the day, in proportion",
    "the day, in difference",
    "the season found, in proportion",
    "the season found, in difference",
    "another season found, in proportion",
    "another season found, in difference",
    "line and season together",
    "the mean of 12 looks",
    "the mean of 60 looks",
    "the mean of 240 looks",
};

void
policy_forecast_init(struct policy_forecast *self)
{
    *self = (struct policy_forecast){
        .lead = POLICY__VOICE_NOW,
    };
    policy__member_init(&self->member);
    policy__price_init(&self->price);
    for (size_t mood = 0; mood < POLICY__MOODS; mood++)
        for (size_t voice = 0; voice < POLICY__VOICES; voice++) {
            policy__margin_init(&self->far[mood][voice], (enum policy__mood)mood);
            policy__margin_init(&self->peak[mood][voice], (enum policy__mood)mood);
        }
}

size_t
policy_forecast_bytes(void)
{
    return sizeof(struct policy_forecast);
}

/* ---- learning ------------------------------------------------------------------------------- */

static double
members_to_rate(const struct policy_forecast *self)
{
    return ERROR_FLOOR * fmax(policy__member_capacity(&self->member), 1e-3);
}

static void
learn_said(struct policy_forecast *self, const struct policy__said *said, bool is_peak, double came)
{
    struct policy__margin *margin = is_peak ? self->peak[said->mood] : self->far[said->mood];
    const float *values = is_peak ? said->peak : said->far;
    const float *scales = is_peak ? said->peak_scale : said->far_scale;
    double floor_rate = members_to_rate(self);

    for (size_t voice = 0; voice < POLICY__VOICES; voice++) {
        if (!(values[voice] > 0))
            continue;
        struct policy__outcome outcome = {
            .log_error = log((came + floor_rate) / ((double)values[voice] + floor_rate)),
            .scale = (double)scales[voice],
            .price = is_peak ? self->price.value * PEAK_SHARE : self->price.value,
            .ticks = is_peak ? said->peak_ticks : said->far_ticks,
        };
        if (margin[voice].own == 0 && voice != POLICY__VOICE_NOW)
            policy__margin_begin(&margin[voice], &margin[POLICY__VOICE_NOW]);
        policy__margin_learn(&margin[voice], &outcome, &self->member);
    }
}

static double
highest_rate(const struct policy_forecast *self, uint64_t ticks)
{
    double highest = 0;

    for (uint64_t i = 0; i < ticks; i++)
        highest = fmax(highest, policy__rate_at(self, self->tick - i));
    return highest;
}

/* How far ahead is looked changes a little with each member that starts, and those start in a
 * flood: what was said shortly before such a change counts too. What looked ahead for quite another
 * time, before anything was known of starts, does not. */
static bool
is_alike(uint64_t ticks, uint64_t ticks_now)
{
    uint64_t apart = ticks > ticks_now ? ticks - ticks_now : ticks_now - ticks;
    return apart * ALIKE <= ticks_now;
}

/* Who said what about now is known now. */
static void
learn_errors(struct policy_forecast *self)
{
    for (uint64_t ago = 1; ago <= POLICY__HORIZON_MAX && ago <= self->tick; ago++) {
        const struct policy__said *said = &self->said[(self->tick - ago) % POLICY__RING];
        if (said->far_ticks == ago && is_alike(ago, self->far_ticks))
            learn_said(self, said, false, policy__rate_at(self, self->tick));
        if (said->peak_ticks == ago && is_alike(ago, self->peak_ticks))
            learn_said(self, said, true, highest_rate(self, ago));
    }
}

static double
mean_rate(const struct policy_forecast *self, uint64_t skip, uint64_t count)
{
    double sum = 0;
    uint64_t found = 0;

    for (uint64_t i = skip; i < skip + count && i <= self->tick; i++, found++)
        sum += policy__rate_at(self, self->tick - i);
    return found ? sum / (double)found : policy__rate_at(self, self->tick);
}

/* The last two ticks against the six before, in units of what is usual here. */
static void
feel_mood(struct policy_forecast *self)
{
    double floor_rate = members_to_rate(self);
    double move = log((mean_rate(self, 0, 2) + floor_rate) / (mean_rate(self, 2, 6) + floor_rate));
    double usual = sqrt(self->move) + 0.004;

    self->mood = POLICY__CALM;
    if (self->tick <= 8) {
        self->move = MOVE_USUAL * MOVE_USUAL;
        return;
    }
    if (move > RISING_FROM * usual)
        self->mood = move > JUMPING_FROM * usual ? POLICY__JUMPING : POLICY__RISING;
    double share = self->tick < 1000 ? 1.0 / ((double)self->tick + 12) : MOVE_MEMORY;
    double counted = fmin(fabs(move), 5 * usual + 0.02);
    self->move += share * (counted * counted - self->move);
}

/* ---- sizing --------------------------------------------------------------------------------- */

static enum policy__voice
find_lead(const struct policy__margin *margin, const float *said)
{
    enum policy__voice lead = POLICY__VOICES;

    for (enum policy__voice v = 0; v < POLICY__VOICES; v++)
        if (policy__voice_counts(v, said[v], &margin[v]) &&
            (lead == POLICY__VOICES ||
             policy__margin_loss(&margin[v]) < policy__margin_loss(&margin[lead])))
            lead = v;
    return lead;
}

/* How many members all voices together want; the cheaper one's advice was, the more it weighs. */
static double
members_wanted(const struct policy_forecast *self, const struct policy__margin *margin,
               const float *said, enum policy__voice lead)
{
    double floor_rate = members_to_rate(self);
    double sum = 0;
    double total = 0;

    if (lead == POLICY__VOICES)
        return 0;
    for (enum policy__voice v = 0; v < POLICY__VOICES; v++) {
        if (!policy__voice_counts(v, said[v], &margin[v]))
            continue;
        double dearer = policy__margin_loss(&margin[v]) - policy__margin_loss(&margin[lead]);
        double weight = exp(-VOICE_SHARPNESS * fmin(dearer, 30));
        sum += weight * (((double)said[v] + floor_rate) * margin[v].factor - floor_rate);
        total += weight;
    }
    return sum / total / policy__member_capacity(&self->member);
}

static void
size_margins(struct policy_forecast *self, enum policy__voice lead, enum policy__voice peak_lead)
{
    bool is_moving = self->mood != POLICY__CALM;

    for (enum policy__voice v = 0; v < POLICY__VOICES; v++) {
        struct policy__margin *far = &self->far[self->mood][v];
        struct policy__margin *peak = &self->peak[self->mood][v];
        if (!is_moving && v != lead && v != peak_lead && self->tick >= WARM_UP &&
            (uint64_t)v % SIZE_EVERY != self->tick % SIZE_EVERY)
            continue;
        struct policy__sizing sizing = {self->price.value, self->far_ticks, is_moving};
        if (far->seen)
            policy__margin_size(far, &sizing, &self->member);
        sizing.price *= PEAK_SHARE;
        sizing.ticks = self->peak_ticks;
        if (peak->seen)
            policy__margin_size(peak, &sizing, &self->member);
    }
}

/* How long a release must have been right for. */
static double
hold_span_s(const struct policy_forecast *self, double drain_s)
{
    return (policy__member_startup_s(&self->member) + drain_s) * HOLD_SPANS;
}

struct need {
    double rise;   /* fewer than this is too few when a member asked for now would serve */
    double enough; /* more than this is not needed before one released now could be back */
};

/* What is left of a backlog by the time that a member asked for now would serve must be worked off
 * too, and makes all late until it is. Capacity c more takes queue / c seconds, each of which costs
 * rate x price, and is held for a while, which costs c x hold: the sum is least at a root. */
static double
members_against_backlog(const struct policy_forecast *self, const struct policy_traffic *traffic,
                        uint32_t have)
{
    double capacity = policy__member_capacity(&self->member);
    double rate = mean_rate(self, 0, 3);
    double grows = (rate - have * capacity) * policy__member_startup_s(&self->member);
    double queue = fmin(traffic->queue, traffic->queue + grows);

    if (!(queue > 0))
        return 0;
    double more = sqrt(rate * self->price.value * queue / hold_span_s(self, traffic->drain_s));
    return (rate + more) / capacity;
}

static struct need
need_in(const struct policy_forecast *self, enum policy__mood mood, const struct policy__said *said)
{
    const struct policy__margin *far = self->far[mood];
    const struct policy__margin *peak = self->peak[mood];

    return (struct need){
        .rise = members_wanted(self, far, said->far, find_lead(far, said->far)),
        .enough = members_wanted(self, peak, said->peak, find_lead(peak, said->peak)),
    };
}

/* A flood in a mood that hardly anything is known of is no reason to want less than the calmer mood
 * would. */
static struct need
need_of_moods(const struct policy_forecast *self, const struct policy__said *said)
{
    enum policy__mood mood = self->mood;
    struct need need = need_in(self, mood, said);

    while (mood > POLICY__CALM && self->far[mood][POLICY__VOICE_NOW].seen < MOOD_LEARNT) {
        struct need calmer = need_in(self, --mood, said);
        need.rise = fmax(need.rise, calmer.rise);
        need.enough = fmax(need.enough, calmer.enough);
    }
    return need;
}

static struct need
find_need(struct policy_forecast *self, const struct policy_traffic *traffic, uint32_t have)
{
    struct policy__said *said = &self->said[self->tick % POLICY__RING];
    const struct policy__margin *far = self->far[self->mood];

    policy__voices_say(self, said);
    enum policy__voice lead = find_lead(far, said->far);
    size_margins(self, lead, find_lead(self->peak[self->mood], said->peak));
    struct need need = need_of_moods(self, said);
    need.rise = fmax(need.rise, members_against_backlog(self, traffic, have));
    if (lead != POLICY__VOICES) {
        self->lead = lead;
        self->last.forecast = (double)said->far[lead];
        self->last.margin = far[lead].factor;
        self->last.voice = voice_words[lead];
    }
    return need;
}

/* What was enough in each of the last ticks, for as long as a release must be right; before there
 * was an opinion it was what there was. */
static double
enough_for_long(struct policy_forecast *self, double enough, double drain_s, uint32_t have)
{
    double ticks = fmin(hold_span_s(self, drain_s) / self->dt_s, POLICY__RING - 1);
    double highest = (double)self->tick < ticks ? fmax(enough, have) : enough;

    self->release[self->tick % POLICY__RING] = (float)enough;
    for (uint64_t i = 1; (double)i <= ticks && i <= self->tick; i++)
        highest = fmax(highest, (double)self->release[(self->tick - i) % POLICY__RING]);
    return highest;
}

static uint32_t
to_count(double members)
{
    members = ceil(members);
    if (!(members > 0))
        return 0;
    return members < 1e6 ? (uint32_t)members : 1000000;
}

/* ---- one tick ------------------------------------------------------------------------------- */

static void
look_ahead(struct policy_forecast *self, double drain_s)
{
    double startup_s = policy__member_startup_s(&self->member);
    double far = ceil(startup_s / self->dt_s) + 1;
    double peak = ceil((startup_s + drain_s) / self->dt_s) + 1;

    self->far_ticks = (uint32_t)fmin(far, POLICY__HORIZON_MAX);
    self->peak_ticks = (uint32_t)fmin(peak, POLICY__HORIZON_MAX);
}

static uint32_t
desire(struct policy_forecast *self, const struct policy_settings *settings,
       const struct policy_observation *seen, uint32_t have, const struct need *need)
{
    double drain_s = seen->traffic.drain_s;
    double capacity = policy__member_capacity(&self->member);
    double lack = fmin(ROUND_MAX, ROUND_SHARE * need->rise);
    uint32_t rise = to_count(need->rise - lack);
    double long_enough = enough_for_long(self, fmax(need->enough, need->rise), drain_s, have);
    /* A little slack: one member in fifty more or less is no reason to move. */
    uint32_t enough = to_count(long_enough - 0.5 + 0.02 * have);
    double busy = settings->upper >= 0 ? fmin(settings->upper, BUSY_MAX) : BUSY_MAX;
    uint32_t least = to_count(policy__rate_at(self, self->tick) / (capacity * busy));

    /* More came in this tick than all can do, and in both of the last: whatever is forecast. */
    double came = fmin(policy__rate_at(self, self->tick), mean_rate(self, 0, 2));
    uint32_t floor = to_count(came / capacity);
    rise = rise > floor ? rise : floor;
    enough = enough > least ? enough : least;
    rise += settings->spare;
    enough += settings->spare;
    enough = enough > rise ? enough : rise;
    if (have < rise) {
        uint32_t more = to_count(need->rise - lack + RISE_EXTRA) + settings->spare;
        more = more > rise ? more : rise;
        return more < enough ? more : enough;
    }
    if (have > enough && !(seen->traffic.queue > 0))
        return enough;
    return have;
}

static bool
is_sound(const struct policy_observation *seen)
{
    const struct policy_traffic *traffic = &seen->traffic;

    return isfinite(traffic->rate) && traffic->rate >= 0 && traffic->rate <= POLICY__RATE_MAX &&
           traffic->dt_s >= 0.1 && traffic->dt_s <= 3600 && traffic->drain_s >= 0 &&
           traffic->drain_s < 86400 && !(traffic->queue < 0) && seen->ready < 1000000;
}

/* What was said before a gap cannot be held against anybody after it. */
static void
bridge_gap(struct policy_forecast *self, double seconds)
{
    for (size_t i = 0; i < POLICY__RING; i++)
        self->said[i].far_ticks = self->said[i].peak_ticks = 0;
    self->member.queue = (double)NAN;
    if (seconds > 0)
        policy__season_skip(&self->season, seconds);
}

/* True when this tick follows the one before, so that both can be compared. */
static bool
follows(struct policy_forecast *self, const struct policy_observation *seen)
{
    double dt_s = seen->traffic.dt_s;
    double passed_s = (double)(seen->now_us - self->last_us) / 1e6;
    bool is_first = self->last_us == 0;
    bool is_regular = passed_s > dt_s / 2 && passed_s < dt_s * 3 && !(fabs(dt_s - self->dt_s) > 0);

    self->last_us = seen->now_us;
    self->dt_s = dt_s;
    if (!is_first && !is_regular)
        bridge_gap(self, passed_s - dt_s);
    return is_first || is_regular;
}

/* Nothing is known yet but that nobody comes, and nobody is there: what was not needed for as long
 * as a release must be right is not needed, whatever it can do. */
static uint32_t
desire_unknown(struct policy_forecast *self, const struct policy_settings *settings,
               const struct policy_observation *seen, uint32_t have)
{
    const struct policy_traffic *traffic = &seen->traffic;
    bool is_idle =
        !(traffic->rate > 0) && !(traffic->queue > 0) && !(seen->sum > 0) && seen->stale == 0;

    self->idle_s = is_idle ? self->idle_s + self->dt_s : 0;
    if (!(self->idle_s > hold_span_s(self, seen->traffic.drain_s)))
        return have;
    return settings->spare < have ? settings->spare : have;
}

static uint32_t
desire_known(struct policy_forecast *self, const struct policy_settings *settings,
             const struct policy_observation *seen, uint32_t have)
{
    const struct policy_traffic *traffic = &seen->traffic;

    self->rate[self->tick % POLICY__RING] = (float)traffic->rate;
    policy__price_learn(&self->price, traffic, settings->late_max);
    feel_mood(self);
    learn_errors(self);
    if (self->tick % CURVE_EVERY == 0)
        policy__member_rebuild(&self->member);
    struct need need = find_need(self, traffic, have);
    uint32_t desired = desire(self, settings, seen, have, &need);
    self->tick++;
    return desired;
}

/* The tick in which a member became known has part of the load only: forecasts begin behind it, or
 * the load's own beginning would be remembered as their greatest error. */
static uint32_t
take_tick(struct policy_forecast *self, const struct policy_settings *settings,
          const struct policy_observation *seen, uint32_t have)
{
    const struct policy_traffic *traffic = &seen->traffic;
    bool is_regular = follows(self, seen);
    bool is_known = policy__member_capacity(&self->member) > 0;

    policy__member_learn(&self->member, seen);
    if (traffic->queue > 0) /* no time to lose */
        is_known = policy__member_capacity(&self->member) > 0;
    look_ahead(self, traffic->drain_s);
    policy__season_add(&self->season, traffic->rate, traffic->dt_s);
    uint32_t desired = is_known ? desire_known(self, settings, seen, have)
                                : desire_unknown(self, settings, seen, have);
    self->last.rate = traffic->rate;
    self->last.ahead_s = self->far_ticks * self->dt_s;
    self->last.capacity = is_known ? policy__member_capacity(&self->member) : 0;
    return is_regular || desired > have ? desired : have;
}

void
policy__forecast(const struct policy_settings *settings, struct policy_state *state,
                 const struct policy_observation *seen, struct policy_decision *out)
{
    struct policy_forecast *self = state->forecast;
    const struct policy_traffic *traffic = &seen->traffic;
    uint32_t have = policy__have(state, seen);
    uint32_t desired = have;

    fr_require(self != NULL);
    bool is_tick = traffic->is_known && is_sound(seen);
    if (is_tick)
        self->last.desired = desired = take_tick(self, settings, seen, have);
    else if (self->last.desired > have) /* a start that failed is still wanted */
        desired = self->last.desired;
    out->rate = self->last.rate;
    out->forecast = self->last.forecast;
    out->margin = self->last.margin;
    out->ahead_s = self->last.ahead_s;
    out->capacity = self->last.capacity;
    out->voice = self->last.voice;
    policy__settle(settings, state, seen, desired, out);
    if (out->rule == POLICY_RULE_ENOUGH && traffic->is_known && !is_tick)
        out->rule = POLICY_RULE_NONSENSE;
    else if (out->rule == POLICY_RULE_ENOUGH && !(self->last.capacity > 0))
        out->rule = POLICY_RULE_LEARNING;
}
