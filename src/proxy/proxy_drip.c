/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_drip.c - how long a member may take over the body of its response.
 *
 * May touch:  base, loop, config.
 * Limits:     timeouts.idle of silence; timeouts.least-rate, if there is one, judged over
 *             PROXY_DRIP_US in which nothing but the member was waited for. What the client takes
 *             for its reading is nobody's fault here.
 */
#include "proxy/proxy_carrier.h"

static const struct config_timeouts *
timeouts_of(const struct proxy_exchange *x)
{
    return &x->cluster->view->config->timeouts;
}

/* Adds what was waited since; true once there is enough of it to judge. */
static bool
take_waiting(struct proxy_exchange *x)
{
    int64_t now_us = loop_now_us(x->worker->loop);
    if (x->drip_from_us != 0)
        x->drip_waited_us += now_us - x->drip_from_us;
    x->drip_from_us = 0;
    return x->drip_waited_us >= PROXY_DRIP_US;
}

static bool
fast_enough(struct proxy_exchange *x)
{
    uint64_t rate = timeouts_of(x)->least_rate;
    if (rate == 0 || !take_waiting(x))
        return true;
    uint64_t bytes = x->up->response_bytes - x->drip_bytes;
    double wanted = (double)rate * (double)x->drip_waited_us / (double)FR_US_PER_S;
    x->drip_bytes = x->up->response_bytes;
    x->drip_waited_us = 0;
    return (double)bytes >= wanted;
}

static void
arm(struct proxy_exchange *x, int64_t now_us)
{
    int64_t delay_us = x->drip_until_us - now_us;
    x->drip_from_us = now_us;
    if (timeouts_of(x)->least_rate > 0 && PROXY_DRIP_US - x->drip_waited_us < delay_us)
        delay_us = PROXY_DRIP_US - x->drip_waited_us;
    proxy_upstream_timer(x->up, delay_us);
}

void
proxy_drip_wait(struct proxy_exchange *x)
{
    int64_t now_us = loop_now_us(x->worker->loop);
    x->drip_until_us = now_us + timeouts_of(x)->idle_us;
    arm(x, now_us);
}

bool
proxy_drip_came(struct proxy_exchange *x)
{
    return fast_enough(x);
}

bool
proxy_drip_timer(struct proxy_exchange *x, enum proxy_attempt_end *out_end)
{
    int64_t now_us = loop_now_us(x->worker->loop);
    if (x->drip_until_us == 0 || now_us >= x->drip_until_us) {
        *out_end = PROXY_ATTEMPT_TIMEOUT;
        return false;
    }
    if (!fast_enough(x)) {
        *out_end = PROXY_ATTEMPT_SLOW;
        return false;
    }
    arm(x, now_us);
    return true;
}
