/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_addresses.c - who has which address: servers by theirs, and the file's members.
 *
 * May touch:  base.
 * Threads:    the control thread.
 * Memory:     an entry a server and a member of the file.
 * Cost:       constant; after other settings came, the first question looks at all members.
 */
#include "allocator/allocator_priv.h"

#include "base/fr_check.h"

void
allocator__addresses_init(struct allocator *allocator)
{
    allocator->servers_by_address = fr_map_new();
}

void
allocator__addresses_fini(struct allocator *allocator)
{
    fr_map_free(&allocator->servers_by_address, NULL);
    fr_map_free(&allocator->members_by_address, NULL);
}

void
allocator__address_hold(struct allocator__server *server)
{
    fr_insist(server->provided.address[0] != 0);
    (void)fr_map_put(server->allocator->servers_by_address, fr_view_of(server->provided.address),
                     server);
}

void
allocator__address_release(struct allocator__server *server)
{
    if (allocator__address_holder(server->allocator, server->provided.address) == server)
        (void)fr_map_remove(server->allocator->servers_by_address,
                            fr_view_of(server->provided.address));
}

void
allocator__addresses_stale(struct allocator *allocator)
{
    fr_map_free(&allocator->members_by_address, NULL);
}

struct allocator__server *
allocator__address_holder(const struct allocator *allocator, const char *address)
{
    return fr_map_get(allocator->servers_by_address, fr_view_of(address));
}

/* What the index says, by looking at everybody. */
static bool
is_taken_by_looking(const struct allocator *allocator, const char *address)
{
    FR_LIST_EACH(&allocator->servers, node) {
        struct allocator__server *server = FR_CONTAINER(node, struct allocator__server, link);
        if (strcmp(server->provided.address, address) == 0)
            return true;
    }
    for (size_t i = 0; i < allocator->settings.cluster_count; i++) {
        const struct config_cluster *cluster = allocator->settings.clusters[i];
        for (size_t k = 0; k < cluster->member_count; k++)
            if (strcmp(cluster->members[k].address, address) == 0)
                return true;
    }
    return false;
}

static void
members_index(struct allocator *allocator)
{
    allocator->members_by_address = fr_map_new();
    for (size_t i = 0; i < allocator->settings.cluster_count; i++) {
        struct config_cluster *cluster = allocator->settings.clusters[i];
        for (size_t k = 0; k < cluster->member_count; k++)
            (void)fr_map_put(allocator->members_by_address, fr_view_of(cluster->members[k].address),
                             cluster);
    }
}

bool
allocator__address_taken(void *ctx, const char *address)
{
    struct allocator *allocator = ctx;
    if (allocator->members_by_address == NULL)
        members_index(allocator);
    /* A member of the file is in its cluster whatever a pool says: never twice. */
    bool taken = allocator__address_holder(allocator, address) != NULL ||
                 fr_map_get(allocator->members_by_address, fr_view_of(address)) != NULL;
    fr_slow_check(taken == is_taken_by_looking(allocator, address));
    return taken;
}
