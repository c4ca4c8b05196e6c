/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_model_oracle.c - what one who knows the future would do: the bar that others are measured
 * against.
 *
 * May touch:  base.
 * Memory:     two numbers a member, for the time of the call.
 * Follows:    member k serves while need() >= k. Between two such spells it goes only where the gap
 *             is longer than a start-up plus a drain: bridging a shorter one costs more. The levels
 *             are nested, so this choice for each of them is the cheapest of all.
 */
#include "policy/policy_model.h"

#include "base/fr_mem.h"

#include <math.h>

#define NEVER UINT64_MAX

struct spell {
    uint64_t start, end;
};

static void
count_spell(uint32_t *plan, size_t count, const struct spell *spell, uint64_t lead)
{
    uint64_t from = spell->start > lead ? spell->start - lead : 0;

    for (uint64_t i = from; i < spell->end && i < count; i++)
        plan[i]++;
}

void
policy_model_oracle(const struct policy_model *model, const double *rates, size_t rate_count,
                    uint32_t *out_plan)
{
    const struct policy_model_settings *settings = &model->settings;
    double lead_ticks = ceil(settings->startup_s * (1 + settings->startup_jitter) / settings->dt_s);
    uint64_t lead = lead_ticks > 1 ? (uint64_t)lead_ticks : 1;
    uint64_t keep = lead + (uint64_t)(settings->drain_s / settings->dt_s + 0.5);
    struct spell *spells = fr_xalloc(POLICY_MODEL_MEMBERS_MAX * sizeof(*spells));
    uint32_t before = 0;

    for (uint32_t k = 0; k < POLICY_MODEL_MEMBERS_MAX; k++)
        spells[k].start = NEVER;
    for (size_t i = 0; i < rate_count; i++) {
        uint32_t need = policy_model_need(model, rates[i]);
        out_plan[i] = 0;
        for (uint32_t k = before; k < need; k++) { /* these begin to be needed */
            if (spells[k].start == NEVER) {
                spells[k].start = i;
            } else if (i - spells[k].end > keep) {
                count_spell(out_plan, i, &spells[k], lead);
                spells[k].start = i;
            }
        }
        for (uint32_t k = need; k < before; k++)
            spells[k].end = i;
        before = need;
    }
    for (uint32_t k = 0; k < before; k++)
        spells[k].end = rate_count;
    for (uint32_t k = 0; k < POLICY_MODEL_MEMBERS_MAX && spells[k].start != NEVER; k++)
        count_spell(out_plan, rate_count, &spells[k], lead);
    fr_free(spells);
}
