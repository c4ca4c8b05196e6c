/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_weight.c - weights: of allocated servers, and of the file's members.
 *
 * May touch:  base, config, cluster.  Never: files (allocator_ledger.c's), logs.
 * Threads:    the control thread.
 *
 * A weight is in the ledger before the owner hears of it; one that can't be written is refused.
 */
#include "allocator/allocator_priv.h"

#include "base/fr_mem.h"

static const struct config_member *
member_find(const struct allocator *allocator, struct fr_view id,
            const struct config_cluster **out_cluster)
{
    for (size_t i = 0; i < allocator->settings.cluster_count; i++) {
        const struct config_cluster *cluster = allocator->settings.clusters[i];
        for (size_t k = 0; k < cluster->member_count; k++)
            if (fr_view_is(id, cluster->members[k].id)) {
                *out_cluster = cluster;
                return &cluster->members[k];
            }
    }
    return NULL;
}

static struct cluster_ledger_weight
member_weight_in(const struct cluster_ledger *ledger, const struct config_member *member)
{
    for (size_t i = 0; i < ledger->weight_count; i++)
        if (strcmp(ledger->weights[i].id, member->id) == 0)
            return ledger->weights[i];
    return (struct cluster_ledger_weight){.weight = member->weight,
                                          .weight_normal = CLUSTER_WEIGHT_OF_FILE};
}

/* by_hand: it is the normal weight from now on. */
static void
member_weight_put(struct cluster_ledger *ledger, const struct config_member *member,
                  uint32_t weight, bool by_hand)
{
    size_t i = 0;
    struct cluster_ledger_weight row = member_weight_in(ledger, member);
    row.weight = weight;
    if (by_hand)
        row.weight_normal = weight == member->weight ? CLUSTER_WEIGHT_OF_FILE : weight;
    while (i < ledger->weight_count && strcmp(ledger->weights[i].id, member->id) != 0)
        i++;
    if (weight == member->weight && row.weight_normal == CLUSTER_WEIGHT_OF_FILE) {
        if (i < ledger->weight_count) /* as the file has it: nothing to remember */
            ledger->weights[i] = ledger->weights[--ledger->weight_count];
        return;
    }
    if (i == ledger->weight_count) {
        fr_xgrow((void **)&ledger->weights, &ledger->weight_cap, i + 1, sizeof(ledger->weights[0]));
        ledger->weight_count++;
        memcpy(row.id, member->id, sizeof(row.id));
    }
    ledger->weights[i] = row;
}

static void
member_weight_tell(struct allocator *allocator, const struct config_cluster *cluster,
                   const struct config_member *member, const struct cluster_ledger *ledger)
{
    struct cluster_ledger_weight row = member_weight_in(ledger, member);
    bool of_file = row.weight_normal == CLUSTER_WEIGHT_OF_FILE;
    struct allocator_server shown = {.id = member->id,
                                     .cluster = cluster->name,
                                     .pool = "",
                                     .address = member->address,
                                     .addr = &member->addr,
                                     .state = CLUSTER_SERVER_READY,
                                     .weight = row.weight,
                                     .weight_normal =
                                         of_file ? member->weight : row.weight_normal};
    allocator->events.weight(allocator->events.ctx, &shown);
}

void
allocator__weights_tell(struct allocator *allocator, const struct cluster_ledger *before,
                        const struct cluster_ledger *after)
{
    for (size_t i = 0; i < allocator->settings.cluster_count; i++) {
        const struct config_cluster *cluster = allocator->settings.clusters[i];
        for (size_t k = 0; k < cluster->member_count; k++) {
            const struct config_member *member = &cluster->members[k];
            struct cluster_ledger_weight was = member_weight_in(before, member);
            struct cluster_ledger_weight is = member_weight_in(after, member);
            if (is.weight != was.weight || is.weight_normal != was.weight_normal)
                member_weight_tell(allocator, cluster, member, after);
        }
    }
}

static enum fr_err
member_weight(struct allocator *allocator, struct fr_view id, uint32_t weight, bool by_hand)
{
    const struct config_cluster *cluster = NULL;
    const struct config_member *member = member_find(allocator, id, &cluster);
    struct cluster_ledger next;
    if (!member)
        return FR_ERR_NOT_FOUND;
    allocator__ledger_copy(&allocator->ledger, &next);
    member_weight_put(&next, member, weight, by_hand);
    struct cluster_ledger_weight was = member_weight_in(&allocator->ledger, member);
    struct cluster_ledger_weight is = member_weight_in(&next, member);
    if (is.weight == was.weight && is.weight_normal == was.weight_normal) {
        cluster_ledger_fini(&next); /* as it stands there: nothing to write, nobody to tell */
        return FR_OK;
    }
    enum fr_err err = allocator__write(allocator, &next);
    if (err) {
        cluster_ledger_fini(&next);
        return err;
    }
    cluster_ledger_fini(&allocator->ledger);
    allocator->ledger = next;
    member_weight_tell(allocator, cluster, member, &allocator->ledger);
    return FR_OK;
}

static enum fr_err
weight_set(struct allocator *allocator, struct fr_view id, uint32_t weight, bool by_hand)
{
    struct allocator__server *server = allocator__server_find(allocator, id);
    struct allocator_server shown;
    if (weight > UINT16_MAX)
        return FR_ERR_RANGE;
    if (!server)
        return member_weight(allocator, id, weight, by_hand);
    uint32_t before = server->weight, normal_before = server->weight_normal;
    server->weight = weight;
    if (by_hand)
        server->weight_normal = weight;
    if (server->weight == before && server->weight_normal == normal_before)
        return FR_OK;
    enum fr_err err = allocator__write(allocator, &allocator->ledger);
    if (err) {
        server->weight = before;
        server->weight_normal = normal_before;
        allocator__servers_print(allocator, &allocator->ledger);
        return err;
    }
    allocator__server_show(server, &shown);
    allocator->events.weight(allocator->events.ctx, &shown);
    allocator__notify(allocator, false);
    return FR_OK;
}

enum fr_err
allocator_weight(struct allocator *allocator, struct fr_view id, uint32_t weight)
{
    return weight_set(allocator, id, weight, false);
}

enum fr_err
allocator_weight_normal(struct allocator *allocator, struct fr_view id, uint32_t weight)
{
    return weight_set(allocator, id, weight, true);
}
