/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_lot.h - where one worker keeps the parked requests of one cluster; proxy_park.c's.
 */
#ifndef PROXY_LOT_H
#define PROXY_LOT_H

#include "base/fr_list.h"
#include "loop/loop.h"

struct proxy_lot {
    struct fr_list parked; /* of proxy_exchange, oldest first */
    struct fr_list link;   /* in worker->parking while any is */
    uint32_t count, slot;
    size_t bytes;
    struct loop_msg demand_msg;
    bool demand_posted; /* atomic */
};

#endif
