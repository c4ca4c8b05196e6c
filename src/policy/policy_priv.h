/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_priv.h - what the files of this room share.
 */
#ifndef POLICY_PRIV_H
#define POLICY_PRIV_H

#include "policy/policy.h"

/* The members, counted and added up. Usable: ready, healthy, not stale, with a number. */
struct policy__survey {
    uint32_t total; /* all but the draining */
    uint32_t ready; /* healthy ones that are not starting */
    uint32_t starting, draining;
    uint32_t stale; /* of the ready: without a usable number */
    uint32_t usable;
    double sum, mean, highest; /* over the usable; mean and highest NaN if there are none */
    const struct policy_member *highest_member;
};

bool policy__is_usable(const struct policy_member *member);
bool policy__can_name(const struct policy_member *member);
void policy__copy_id(const char *id, char out[POLICY_ID_BYTES]);
void policy__survey(const struct policy_member *members, size_t count, struct policy__survey *out);
void policy__fill(const struct policy__survey *survey, struct policy_decision *out);

/* Weight decisions, at most `max` of them; returns how many. held: the upper level was reached for
 * long enough. */
size_t policy__weights(const struct policy_settings *settings, const struct policy__survey *survey,
                       const struct policy_member *members, size_t count, bool held,
                       struct policy_decision *out, size_t max);

#endif
