/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_park.h - requests whose cluster has no member are kept until it has one.
 */
#ifndef PROXY_PARK_H
#define PROXY_PARK_H

#include "proxy/proxy_priv.h"

/* Whether a request of its cluster that finds no member is kept until there is one. */
bool proxy_park_wants(const struct proxy_exchange *x);
/* While its head is there: whether it is shown the page. */
void proxy_park_look(struct proxy_exchange *x, const struct http_head *request);
void proxy_park_enter(struct proxy_exchange *x); /* or it was answered, and may be gone */
void proxy_park_leave(struct proxy_exchange *x);
void proxy_park_release(struct proxy_worker *worker); /* a snapshot was adopted */

/* proxy_forward.c: sends a parked one on. False: there is still no member. */
bool proxy_forward_unpark(struct proxy_exchange *x);
/* proxy.c: any turn of the control loop; somebody waits for a member. */
void proxy_tell_demand(struct proxy *proxy, uint32_t cluster_slot);

#endif
