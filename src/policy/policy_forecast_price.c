/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_forecast_price.c - what a late request is taken to cost: the more of those that came
 * lately were late, the more.
 *
 * May touch:  base.
 * Memory:     two days of ticks of five seconds; older ones fade.
 * Limits:     at most PRICE_MAX: a flood that nobody could have held for must not make a day of
 *             holding for the next one. At least PRICE_USUAL / e, where nobody was late.
 * Follows:    Gibbs and Candes, "Adaptive Conformal Inference Under Distribution Shift", NeurIPS
 *             2021 (steered by the misses seen), in proportion to them rather than by their sum.
 */
#include "policy/policy_forecast_priv.h"

#include <math.h>

#define BUDGET 0.38      /* of the late requests that the goal allows: aimed at */
#define LATE_USUAL 0.01  /* allowed where no goal is set */
#define PRICE_USUAL 10.0 /* in requests' worth of capacity, while the budget is just met */
#define PRICE_MAX 16.0
#define MEMORY 34560.0 /* ticks */

void
policy__price_init(struct policy__price *price)
{
    *price = (struct policy__price){.value = PRICE_USUAL};
}

/* It begins as if the budget had just been met for as long as the memory reaches. Requests count,
 * not minutes: a bad night with nobody there is no reason to be careful at noon. */
void
policy__price_learn(struct policy__price *price, const struct policy_traffic *traffic,
                    double late_max)
{
    double budget = BUDGET * (late_max > 0 ? late_max : LATE_USUAL);
    double late = traffic->slow >= 0 ? fmin(traffic->slow, 1) : budget;

    if (!(price->came_rate > 0)) {
        price->came_rate = traffic->rate;
        price->late_rate = traffic->rate * budget;
    }
    price->came_rate += (traffic->rate - price->came_rate) / MEMORY;
    price->late_rate += (traffic->rate * late - price->late_rate) / MEMORY;
    if (!(price->came_rate > 0))
        return;
    double spent = price->late_rate / price->came_rate / budget;
    price->value = fmin(PRICE_MAX, PRICE_USUAL * exp(spent - 1));
}
