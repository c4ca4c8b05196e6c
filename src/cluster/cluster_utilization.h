/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_utilization.h - the one definition of utilization.
 *
 * The highest of those sources that are available counts:
 *   in flight   average requests in flight over `window` / limit
 *   host CPU    what an agent on the member's host reported, while it is fresh
 *   agent check HAProxy-style text, while it is fresh
 *   ORCA        the endpoint-load-metrics response field (application_utilization, else
 *               cpu_utilization), while it is fresh
 */
#ifndef CLUSTER_UTILIZATION_H
#define CLUSTER_UTILIZATION_H

#include "config/config.h"

struct cluster_utilization { /* one member's, kept by the control thread; zero-initialise */
    uint64_t last_in_flight_us;
    int64_t last_at_us;
    double in_flight;          /* average over the last window; NaN before the first */
    double host_cpu;           /* with its time of arrival */
    int64_t host_cpu_at_us;
    double agent_check;
    int64_t agent_check_at_us;
    double orca;
    int64_t orca_at_us;
};
#define CLUSTER_UTILIZATION_FRESH_US 5000000LL

/* Takes the member's summed integral at now_us; a new average once a window has passed. */
void cluster_utilization_sample(struct cluster_utilization *state,
                                const struct config_utilization *settings, uint64_t in_flight_us,
                                int64_t now_us);
/* NaN when no source is available. Never negative, may exceed 1. */
double cluster_utilization_value(const struct cluster_utilization *state,
                                 const struct config_utilization *settings, int64_t now_us);
/* "cpu_utilization=0.3, application_utilization=0.5", JSON or "TEXT "/"JSON " prefixed: ORCA's text
 * forms. False when there is no usable number in it. */
bool cluster_utilization_parse_orca(struct fr_view value, double *out);

#endif
