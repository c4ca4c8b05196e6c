/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.h - runs on a member's host and reports that host's load to the manager.
 *
 * May touch:  base, loop, tls, wire, stream, config; /proc.
 * Threads:    one loop.
 */
#ifndef AGENT_H
#define AGENT_H

#include "config/config.h"
#include "loop/loop.h"

struct agent;

/* Owns config, even on failure. */
FR_MUST_USE enum fr_err agent_new(struct loop *loop, struct config *config, struct agent **out);
/* Connects, and reports every agent.interval from then on. *out_why (fr_free) may say why not. */
FR_MUST_USE enum fr_err agent_start(struct agent *agent, char **out_why);
/* Says goodbye, then calls fn once. */
void agent_stop(struct agent *agent, loop_fn fn, void *ctx);
void agent_free(struct agent **agent);

/* The "cpu" line of /proc/stat: what all processors did, in ticks. False when it is not one. */
struct agent_cpu {
    uint64_t busy, total;
};
bool agent_cpu_parse(struct fr_view stat, struct agent_cpu *out);
/* Share of the host's processors in use between two readings, 0..1; NaN when no time passed. */
double agent_cpu_share(const struct agent_cpu *older, const struct agent_cpu *newer);
/* Used memory of the host in bytes, from /proc/meminfo (MemTotal - MemAvailable). */
bool agent_memory_parse(struct fr_view meminfo, uint64_t *out_bytes);

#endif
