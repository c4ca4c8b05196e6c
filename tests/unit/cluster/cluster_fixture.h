/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_fixture.h - members and views for the tests of this room.
 */
#ifndef CLUSTER_FIXTURE_H
#define CLUSTER_FIXTURE_H

#include "cluster/cluster_snapshot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define FIXTURE_MEMBERS 200

struct fixture {
    struct cluster_slots *slots;
    struct config_cluster *config;
    struct cluster_member *members[FIXTURE_MEMBERS];
    struct cluster_endpoint endpoints[FIXTURE_MEMBERS]; /* fill in, then fixture_view */
    uint32_t count;
};

static inline void
fixture_init(struct fixture *f, uint32_t count, uint32_t workers)
{
    memset(f, 0, sizeof(*f));
    f->slots = cluster_slots_new();
    f->config = config_cluster_new(FR_VIEW("web"));
    f->config->slow_start_us = 0;
    f->count = count;
    for (uint32_t i = 0; i < count; i++) {
        char id[32], address[32];
        (void)snprintf(id, sizeof(id), "web-%u", i);
        (void)snprintf(address, sizeof(address), "127.0.0.1:%u", 9000 + i);
        struct loop_addr addr;
        assert_int_equal(loop_addr_parse(fr_view_of(address), &addr), FR_OK);
        f->members[i] = cluster_member_new(f->slots, fr_view_of(id), FR_VIEW(""), &addr, workers);
        f->endpoints[i] = (struct cluster_endpoint){f->members[i], 100, true, 0};
    }
}

static inline struct cluster_view *
fixture_view(struct fixture *f)
{
    return cluster_view_new(0, f->config, f->endpoints, f->count);
}

/* Of just these; initialised here. */
static inline void
fixture_roster(struct cluster_roster *roster, const struct cluster_endpoint *endpoints,
               uint32_t count)
{
    cluster_roster_init(roster);
    for (uint32_t i = 0; i < count; i++)
        cluster_roster_put(roster, i, &endpoints[i]);
}

static inline void
fixture_fini(struct fixture *f)
{
    for (uint32_t i = 0; i < f->count; i++)
        cluster_member_unref(&f->members[i]);
    config_cluster_unref(&f->config);
    cluster_slots_free(&f->slots); /* requires that nobody holds a member any more */
}

#endif
