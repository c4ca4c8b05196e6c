/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_case.h - what the policy tests share: ordinary settings, members by the dozen, one call.
 */
#ifndef POLICY_CASE_H
#define POLICY_CASE_H

#include "policy/policy.h"

#include "base/fr_hash.h"

#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define SECOND 1000000LL
#define NOW (1000 * SECOND)

static inline struct policy_settings
policy_case_settings(void)
{
    return (struct policy_settings){
        .upper = 0.8,
        .lower = 0.3,
        .upper_for_us = 0,
        .lower_for_us = 0,
        .min = 1,
        .max = 8,
        .step_max = 4,
        .cooldown_up_us = 2 * SECOND,
        .cooldown_down_us = 30 * SECOND,
        .relieve_by_weight = false,
        .allocate = true,
    };
}

static inline struct policy_member
policy_case_member(const char *id, double utilization)
{
    return (struct policy_member){
        .id = id,
        .utilization = utilization,
        .weight = 100,
        .weight_normal = 100,
        .healthy = true,
        .allocated = true,
        .age_us = 100 * SECOND,
    };
}

/* The one decision of a call that makes one. */
static inline struct policy_decision
policy_case_one(const struct policy_settings *settings, struct policy_state *state,
                const struct policy_member *members, size_t count, int64_t now_us)
{
    struct policy_decision decisions[20];
    size_t made = policy_decide(settings, state, members, count, NULL, now_us, decisions, 20);
    assert_int_equal(made, 1);
    return decisions[0];
}

#endif
