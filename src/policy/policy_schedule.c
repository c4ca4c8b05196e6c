/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_schedule.c - floors and ceilings that hold at certain hours, whoever decides.
 *
 * May touch:  base.
 * Trusts:     any time: one that cannot be opens no window, or one too many; min and max of the
 *             settings stand either way.
 */
#include "policy/policy_priv.h"

#define AHEAD_MAX_S 3600 /* a start-up that takes longer is not waited for any earlier */
#define WALL_MAX_S 1000000000000LL

static bool
is_open(const struct policy_window *window, int64_t wall_s)
{
    int64_t since_s;
    return fr_cron_last(window->cron, window->zone, wall_s, window->for_s, &since_s);
}

void
policy_schedule(const struct policy_window *windows, size_t count, int64_t wall_s, int64_t ahead_s,
                struct policy_settings *settings)
{
    settings->min_words = settings->max_words = NULL;
    if (wall_s < 0 || wall_s > WALL_MAX_S)
        return;
    ahead_s = ahead_s > 0 ? ahead_s : 0;
    ahead_s = ahead_s < AHEAD_MAX_S ? ahead_s : AHEAD_MAX_S;
    for (size_t i = 0; i < count; i++) {
        const struct policy_window *window = &windows[i];
        bool lifts = window->min > settings->min;
        bool lowers = window->max > 0 && window->max < settings->max;
        if (!lifts && !lowers)
            continue;
        bool now = is_open(window, wall_s);
        if (lifts && (now || (ahead_s > 0 && is_open(window, wall_s + ahead_s)))) {
            settings->min = window->min;
            settings->min_words = window->words;
        }
        if (lowers && now) {
            settings->max = window->max;
            settings->max_words = window->words;
        }
    }
    if (settings->min > settings->max)
        settings->max = settings->min;
}
