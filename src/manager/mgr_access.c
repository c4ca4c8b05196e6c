/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_access.c - what the holder of a certificate may do at this manager: manager.peers.
 *
 * Identity is the certificate's name and nothing else. Over a Unix socket, and over loopback
 * without TLS, everybody may report: whoever is on this machine is trusted as far as that.
 *
 * May touch:  base, admin, config, wire.
 * Threads:    the manager's loop.
 * Trusts:     names that a handshake found good; everything that a stream says is compared with
 *             them.
 */
#include "manager/mgr_priv.h"

#include <inttypes.h>

/* The rule that counts; NULL: none is for these names. *out_index tells which. */
static const struct config_peer *
find_rule(const struct mgr *mgr, const struct admin_peer *peer, size_t *out_index)
{
    const struct config_manager *manager = &mgr->config->manager;
    for (size_t i = 0; i < manager->peer_count; i++)
        if (config_name_matches(manager->peers[i].name, fr_view_of(peer->names))) {
            *out_index = i;
            return &manager->peers[i];
        }
    return NULL;
}

static unsigned
flag_of(enum wire_role role)
{
    switch (role) {
    case WIRE_ROLE_EDGE:
        return CONFIG_PEER_EDGE;
    case WIRE_ROLE_ALLOCATOR:
        return CONFIG_PEER_ALLOCATOR;
    default:
        return CONFIG_PEER_AGENT;
    }
}

static bool
has_name(const struct admin_peer *peer, struct fr_view id)
{
    struct fr_view names = fr_view_of(peer->names), name;
    while (fr_view_split(&names, ' ', &name))
        if (name.len > 0 && fr_view_ieq(name, id))
            return true;
    return false;
}

bool
mgr_access_open(const struct mgr *mgr, const struct admin_peer *peer, const struct wire_open *open,
                char out_words[MGR_REFUSAL_BYTES])
{
    size_t index = 0;
    if (peer->way != ADMIN_WAY_TLS)
        return true;
    if (!peer->names[0]) {
        (void)snprintf(out_words, MGR_REFUSAL_BYTES,
                       "manager.tls: a stream needs a client certificate with a name");
        return false;
    }
    if (!has_name(peer, open->id)) {
        (void)snprintf(out_words, MGR_REFUSAL_BYTES,
                       "manager.tls: id \"%.*s\" is not the name of the certificate, which is for "
                       "%.200s",
                       FR_VIEW_ARG(open->id), peer->names);
        return false;
    }
    if (mgr->config->manager.peer_count == 0)
        return true;
    const struct config_peer *rule = find_rule(mgr, peer, &index);
    if (!rule) {
        (void)snprintf(out_words, MGR_REFUSAL_BYTES, "manager.peers: no rule is for %.200s",
                       peer->names);
        return false;
    }
    if (!(rule->roles & flag_of(open->role))) {
        (void)snprintf(out_words, MGR_REFUSAL_BYTES,
                       "manager.peers[%zu] (%.64s): roles does not have %s", index, rule->name,
                       wire_role_name(open->role));
        return false;
    }
    return true;
}

static bool
refuse_cluster(size_t index, const struct config_peer *rule, const char *what,
               struct fr_view cluster, char out_words[MGR_REFUSAL_BYTES])
{
    (void)snprintf(out_words, MGR_REFUSAL_BYTES,
                   "manager.peers[%zu] (%.64s): %s does not have cluster %.*s", index, rule->name,
                   what, (int)(cluster.len < 64 ? cluster.len : 64), cluster.ptr);
    return false;
}

/* An agent speaks of a host: of every member on it. */
static bool
agent_may(const struct mgr *mgr, size_t index, const struct config_peer *rule,
          const struct wire_server *host, char out_words[MGR_REFUSAL_BYTES])
{
    size_t cursor = 0;
    void *value;
    while (fr_map_next(mgr->clusters, &cursor, NULL, &value)) {
        const struct mgr_cluster *cluster = value;
        size_t at = 0;
        void *entry;
        if (config_names_have(rule->report, fr_view_of(cluster->name), true))
            continue;
        while (fr_map_next(cluster->members, &at, NULL, &entry)) {
            const struct mgr_member *member = entry;
            if (fr_view_is(host->id, member->id) ||
                (host->address.len > 0 && fr_view_is(host->address, member->address)))
                return refuse_cluster(index, rule, "report", fr_view_of(cluster->name), out_words);
        }
    }
    return true;
}

bool
mgr_access_report(const struct mgr *mgr, const struct admin_peer *peer, enum wire_role role,
                  const struct wire_report *report, char out_words[MGR_REFUSAL_BYTES])
{
    size_t index = 0;
    if (peer->way != ADMIN_WAY_TLS || mgr->config->manager.peer_count == 0)
        return true;
    const struct config_peer *rule = find_rule(mgr, peer, &index);
    if (!rule) { /* a reload has taken it away */
        (void)snprintf(out_words, MGR_REFUSAL_BYTES, "manager.peers: no rule is for %.200s",
                       peer->names);
        return false;
    }
    for (size_t i = 0; i < report->cluster_count; i++) {
        const struct wire_cluster *cluster = &report->clusters[i];
        if (!config_names_have(rule->report, cluster->name, true))
            return refuse_cluster(index, rule, "report", cluster->name, out_words);
        if (cluster->responsible && rule->allocate &&
            !config_names_have(rule->allocate, cluster->name, true))
            return refuse_cluster(index, rule, "allocate", cluster->name, out_words);
    }
    return role != WIRE_ROLE_AGENT || !rule->report || !report->has_self ||
           agent_may(mgr, index, rule, &report->self, out_words);
}

/* Whoever was taken off the list is shut out for good: his certificate ends, and he gets no other.
 * People have no rule here, but a role. */
bool
mgr_access_renew(const struct mgr *mgr, const struct admin_request *request,
                 char out_words[MGR_REFUSAL_BYTES])
{
    size_t index = 0;
    if (mgr->config->manager.peer_count == 0 || request->role != ADMIN_ROLE_NOBODY ||
        find_rule(mgr, request->peer, &index))
        return true;
    (void)snprintf(out_words, MGR_REFUSAL_BYTES, "manager.peers: no rule is for %.200s",
                   request->peer->names);
    return false;
}

/* For whom admin.users has no role that is enough. */
bool
mgr_access_request(void *ctx, const struct admin_request *request)
{
    const struct mgr *mgr = ctx;
    char cluster[MGR_ID_BYTES];
    size_t index = 0;
    bool approves = fr_view_is(request->path, "/approve") || fr_view_is(request->path, "/deny");
    bool purges = fr_view_is(request->path, "/cache/purge");
    if (fr_view_is(request->path, "/report")) /* judged by what it says */
        return request->peer->way == ADMIN_WAY_CLEAR || request->peer->names[0];
    const struct config_peer *rule =
        approves || purges ? find_rule(mgr, request->peer, &index) : NULL;
    if (!rule || request->peer->way != ADMIN_WAY_TLS)
        return false;
    if (purges) /* of every edge's cache, whatever the cluster */
        return config_names_have(rule->command, FR_VIEW("*"), false);
    return admin_query(request->query, "cluster", cluster, sizeof(cluster)) &&
           config_names_have(rule->command, fr_view_of(cluster), false);
}
