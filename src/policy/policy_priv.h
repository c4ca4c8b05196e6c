/* SPDX-License-Identifier: Apache-2.0 */
/*
 * policy_priv.h - what the files of this room share.
 */
#ifndef POLICY_PRIV_H
#define POLICY_PRIV_H

#include "policy/policy.h"

void policy__survey(const struct policy_member *members, size_t count, int64_t now_us,
                    struct policy_observation *out);
bool policy__is_usable(const struct policy_member *member);
bool policy__can_name(const struct policy_member *member);
void policy__copy_id(const char *id, char out[POLICY_ID_BYTES]);
/* The numbers it saw; a hold. */
void policy__fill(const struct policy_observation *seen, struct policy_decision *out);
void policy__hold(struct policy_decision *out, enum policy_rule rule, int64_t wait_us);
/* How much of `span` since `from` (0: never) is still to wait; never negative. */
int64_t policy__remaining(int64_t from_us, int64_t span_us, int64_t now_us);
/* What the pool can still give, less what was asked of it already. */
uint64_t policy__left_in_pool(const struct policy_settings *settings,
                              const struct policy_state *state);
/* How many more the maximum allows. */
uint64_t policy__room_below_max(const struct policy_settings *settings,
                                const struct policy_state *state,
                                const struct policy_observation *seen);
/* Ready, starting, and asked for. */
uint32_t policy__have(const struct policy_state *state, const struct policy_observation *seen);
/* True when the cluster is below its minimum: *out says what is done about it. */
bool policy__below_min(const struct policy_settings *settings, const struct policy_state *state,
                       const struct policy_observation *seen, struct policy_decision *out);

/* The engines. *out is filled as a hold. */
void policy__threshold(const struct policy_settings *settings, struct policy_state *state,
                       const struct policy_observation *seen, struct policy_decision *out);
void policy__target(const struct policy_settings *settings, struct policy_state *state,
                    const struct policy_observation *seen, struct policy_decision *out);
void policy__target_forget(struct policy_target *target, uint32_t have, int64_t now_us);
void policy__forecast(const struct policy_settings *settings, struct policy_state *state,
                      const struct policy_observation *seen, struct policy_decision *out);
/* Clusters of min 0. An engine sees a minimum of 1 while there is a member; scratch holds that. */
const struct policy_settings *policy__zero_floor(const struct policy_settings *settings,
                                                 const struct policy_state *state,
                                                 const struct policy_observation *seen,
                                                 struct policy_settings *scratch);
/* ... and what it says is not the last word. */
void policy__zero(const struct policy_settings *settings, const struct policy_state *state,
                  const struct policy_observation *seen, struct policy_decision *out);
/* Of those that came from a pool and are ready release->count; returns how many, at most `max`. */
size_t policy__zero_victims(const struct policy_decision *release,
                            const struct policy_member *members, size_t count,
                            struct policy_decision *out, size_t max);
/* For engines that name a number: makes it a verdict, within min, max and pool. */
void policy__settle(const struct policy_settings *settings, const struct policy_state *state,
                    const struct policy_observation *seen, uint32_t desired,
                    struct policy_decision *out);

/* Learns from the misses of the goal; the levels that an engine sees are those that count then. */
const struct policy_settings *policy__slo(const struct policy_settings *settings,
                                          struct policy_state *state,
                                          const struct policy_observation *seen,
                                          struct policy_settings *scratch);
/* Trims what any engine decided to the flap budget and the change limit, and writes it down. */
void policy__guard(const struct policy_settings *settings, struct policy_state *state,
                   const struct policy_observation *seen, struct policy_decision *out);
/* One decision for each of release->count that leave; returns how many, at most `max`. */
size_t policy__victims(const struct policy_decision *release, const struct policy_member *members,
                       size_t count, struct policy_decision *out, size_t max);

/* Weight decisions, at most `max` of them; returns how many. held: the upper level was reached for
 * long enough. */
size_t policy__weights(const struct policy_settings *settings,
                       const struct policy_observation *seen, const struct policy_member *members,
                       size_t count, bool held, struct policy_decision *out, size_t max);

#endif
