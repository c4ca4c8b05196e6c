/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_health.h - active checks of one address over the loop: TCP connect, HTTP GET, or the
 *                    gRPC health protocol.
 *
 * May touch:  base, config, loop, http (response head parser).
 * Threads:    the control thread's loop.
 */
#ifndef CLUSTER_HEALTH_H
#define CLUSTER_HEALTH_H

#include "config/config.h"
#include "loop/loop.h"

struct cluster_health; /* one address, checked again and again */

/* verdict changed, or first verdict: healthy after `rise` passes in a row, unhealthy after `fall`
 * failures. `why` is in words ("connect: Connection refused", "status 503, expected 200-399"). */
typedef void (*cluster_health_fn)(void *ctx, bool healthy, const char *why);

/* The first check is after first_us, or at once; interval_us between ends and starts of checks. The
 * settings are copied.
 * kind NONE gives a healthy verdict at once (in the next turn). */
struct cluster_health *cluster_health_new(struct loop *loop, const struct config_health *settings,
                                          const struct loop_addr *addr, int64_t first_us,
                                          int64_t interval_us, cluster_health_fn fn, void *ctx);
/* For clusters with send-proxy: requests begin with a PROXY header that speaks for nobody. To be
 * called before the first check, in the turn that made it. */
void cluster_health_send_proxy(struct cluster_health *health);
/* As requests to the member do; AUTO without it. A gRPC check is HTTP/2 whatever it says. Likewise.
 */
void cluster_health_speak(struct cluster_health *health, enum config_protocol protocol);
/* For clusters with tls: checks go over it, a TCP check up to the handshake's end. Likewise before
 * the first check. host: the member's, for its certificate. */
void cluster_health_use_tls(struct cluster_health *health, const struct config_member_tls *tls,
                            const char *host);
void cluster_health_free(struct cluster_health **health); /* no callback afterwards */
/* The last failure in words, "" when no check failed yet. Valid until the next turn. */
const char *cluster_health_why(const struct cluster_health *health);
uint64_t cluster_health_checks(const struct cluster_health *health);   /* finished so far */
uint64_t cluster_health_failures(const struct cluster_health *health); /* of them */

/* HAProxy's agent-check: connects, reads one line, closes. utilization < 0: the line gave none.
 * "75%\n" is a weight share: utilization = 1 - 0.75; "up" and "ready" set *state to UP; "down",
 * "stopped" and "fail" to DOWN; "drain" and "maint" (both: no new requests) to DRAIN. The worst
 * wins. A check that fails is not reported: the source goes stale. */
enum cluster_agent_state {
    CLUSTER_AGENT_NONE,
    CLUSTER_AGENT_UP,
    CLUSTER_AGENT_DOWN,
    CLUSTER_AGENT_DRAIN,
};
struct cluster_agent_check;
typedef void (*cluster_agent_check_fn)(void *ctx, double utilization,
                                       enum cluster_agent_state state);
struct cluster_agent_check *cluster_agent_check_new(struct loop *loop, const struct loop_addr *addr,
                                                    int64_t interval_us, cluster_agent_check_fn fn,
                                                    void *ctx);
void cluster_agent_check_free(struct cluster_agent_check **check);
/* The line's parser, pure; false when it says nothing we know. */
bool cluster_agent_check_parse(struct fr_view line, double *out_utilization,
                               enum cluster_agent_state *out_state);

#endif
