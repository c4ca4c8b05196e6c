/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_route.c - finds the route of a request among many.
 *
 * May touch:  base, config. Never: sockets, clocks.
 * Threads:    built on the control thread; read by workers; dropped anywhere (atomic counts).
 * Memory:     80 bytes a route, and 32 a host, in one allocation each.
 * Cost:       one hash of the host, whatever the number of hosts; a search by halves among the
 *             paths of a host, then up the prefixes of the one found. No allocation, no copy.
 *             Building sorts.
 *
 *     hosts (hashed)          paths of a host, sorted         routes of a path, by precedence
 *     a.example.com ------->  /                <---.
 *     .example.com (*)        /api/            <-. |  ------> POST; with a header; any
 *     "" (any)                /api/v1/  --- up --' |
 *                             /img/     --- up ----'
 *
 * The longest of the paths that a request's path begins with is the last one that is not behind it
 * in the order, or one that this begins with: what lies between begins with it as well.
 */
#include "cluster/cluster_route.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdlib.h>

#define NONE UINT32_MAX
#define LABELS_MAX 128 /* of a host: 255 octets */
#define FNV_BASIS 0xcbf29ce484222325u
#define FNV_PRIME 0x100000001b3u

struct path_node {
    const char *text;
    uint32_t len;
    uint32_t up;           /* the longest other one that this begins with */
    uint32_t first, count; /* in by_path */
};

struct host_group {
    const char *text; /* a wildcard's with its dot, without its star */
    uint32_t len;
    bool wildcard;
    uint64_t hash;
    uint32_t first, count; /* of nodes */
};

struct cluster_routes {
    atomic_uint refs;
    size_t count;
    struct config_route **given;   /* as configured; each referenced */
    struct config_route **ordered; /* by precedence */
    uint32_t *by_path;             /* places in `ordered`; by host, path, precedence */
    struct path_node *nodes;
    uint32_t node_count;
    struct host_group *groups;
    uint32_t group_count;
    uint32_t *table; /* of groups, by hash; a power of two */
    uint32_t table_mask;
    uint32_t any; /* the group of routes for any host */
    bool hosts, wildcards;
};

/* ---- precedence ---------------------------------------------------------------------------- */

struct sort_key { /* a route with its place in the configuration, so that the sort is stable */
    struct config_route *config;
    uint32_t index;
};

static size_t
text_len(const char *text)
{
    return text ? strlen(text) : 0;
}

static const char *
text_of(const char *text)
{
    return text ? text : "";
}

static bool
host_is_wildcard(const char *host)
{
    return host[0] == '*' && host[1] == '.';
}

/* Exact host 2, wildcard 1, any 0. */
static int
host_rank(const struct config_route *route)
{
    if (text_len(route->host) == 0)
        return 0;
    return host_is_wildcard(route->host) ? 1 : 2;
}

/* > 0 when a is more specific. */
static int
route_compare(const struct config_route *a, const struct config_route *b)
{
    int rank_a = host_rank(a), rank_b = host_rank(b);
    if (rank_a != rank_b)
        return rank_a - rank_b;
    size_t pairs[][2] = {
        /* Among wildcards the longer one names more labels. */
        {rank_a == 1 ? text_len(a->host) : 0, rank_b == 1 ? text_len(b->host) : 0},
        {text_len(a->path), text_len(b->path)},
        {text_len(a->method) > 0, text_len(b->method) > 0},
        {text_len(a->header_name) > 0, text_len(b->header_name) > 0},
        /* A header with its value asks more than its presence. */
        {a->header_value != NULL, b->header_value != NULL},
    };
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        if (pairs[i][0] != pairs[i][1])
            return pairs[i][0] > pairs[i][1] ? 1 : -1;
    return 0;
}

static int
by_precedence(const void *left, const void *right)
{
    const struct sort_key *a = left, *b = right;
    int order = route_compare(b->config, a->config);
    if (order != 0)
        return order;
    return a->index < b->index ? -1 : a->index > b->index;
}

static int
by_host_and_path(const void *left, const void *right)
{
    const struct sort_key *a = left, *b = right;
    int order = strcmp(text_of(a->config->host), text_of(b->config->host));
    if (order == 0)
        order = strcmp(text_of(a->config->path), text_of(b->config->path));
    if (order != 0)
        return order;
    return a->index < b->index ? -1 : a->index > b->index;
}

/* ---- building ------------------------------------------------------------------------------ */

/* From the end, so that those of a host's ends come along with its own. */
static uint64_t
hash_more(uint64_t hash, char c)
{
    return (hash ^ (uint8_t)c) * FNV_PRIME;
}

/* The low bits of this hash depend on the low bits of what went in. */
static uint32_t
hash_place(const struct cluster_routes *set, uint64_t hash)
{
    return (uint32_t)(hash >> 32 ^ hash) & set->table_mask;
}

static void
group_add(struct cluster_routes *set, const struct config_route *route)
{
    struct host_group *group = &set->groups[set->group_count++];
    const char *host = text_of(route->host);
    group->wildcard = host_is_wildcard(host);
    group->text = host + group->wildcard;
    group->len = (uint32_t)strlen(group->text);
    group->first = set->node_count;
    group->hash = FNV_BASIS;
    for (size_t i = group->len; i > 0; i--)
        group->hash = hash_more(group->hash, group->text[i - 1]);
}

/* Sorted neighbours: what a node begins with is before it, and is the one just before it, or what
 * that one begins with. */
static uint32_t
node_up(const struct cluster_routes *set, uint32_t first, const struct path_node *node)
{
    uint32_t up = set->node_count > first ? set->node_count - 1 : NONE;
    while (up != NONE && (set->nodes[up].len > node->len ||
                          memcmp(set->nodes[up].text, node->text, set->nodes[up].len) != 0))
        up = set->nodes[up].up;
    return up;
}

static void
node_add(struct cluster_routes *set, const struct config_route *route, uint32_t place)
{
    struct host_group *group = &set->groups[set->group_count - 1];
    struct path_node node = {.text = text_of(route->path), .first = place};
    node.len = (uint32_t)strlen(node.text);
    node.up = node_up(set, group->first, &node);
    set->nodes[set->node_count++] = node;
    group->count++;
}

static void
index_groups(struct cluster_routes *set)
{
    uint32_t size = 2;
    while (size < 2 * set->group_count)
        size *= 2;
    set->table = fr_xalloc(size * sizeof(*set->table));
    set->table_mask = size - 1;
    set->any = NONE;
    memset(set->table, 0xff, size * sizeof(*set->table)); /* NONE */
    for (uint32_t i = 0; i < set->group_count; i++) {
        const struct host_group *group = &set->groups[i];
        if (group->len == 0) {
            set->any = i;
            continue;
        }
        set->hosts = true;
        set->wildcards |= group->wildcard;
        uint32_t at = hash_place(set, group->hash);
        while (set->table[at] != NONE)
            at = (at + 1) & set->table_mask;
        set->table[at] = i;
    }
}

/* keys: by host, path and precedence; the index of each is its place in `ordered`. */
static void
index_routes(struct cluster_routes *set, const struct sort_key *keys)
{
    const struct config_route *before = NULL;
    for (uint32_t i = 0; i < set->count; i++) {
        const struct config_route *route = keys[i].config;
        bool new_host = !before || strcmp(text_of(before->host), text_of(route->host)) != 0;
        if (new_host)
            group_add(set, route);
        if (new_host || strcmp(text_of(before->path), text_of(route->path)) != 0)
            node_add(set, route, i);
        set->by_path[i] = keys[i].index;
        set->nodes[set->node_count - 1].count++;
        before = route;
    }
    index_groups(set);
}

struct cluster_routes *
cluster__routes_new(struct config_route *const *routes, size_t count)
{
    struct cluster_routes *set = fr_xalloc(sizeof(*set));
    struct sort_key *keys = fr_xalloc((count + 1) * sizeof(*keys));
    fr_require(count < NONE / 2);
    atomic_init(&set->refs, 1);
    set->count = count;
    set->given = fr_xalloc((count + 1) * sizeof(struct config_route *));
    set->ordered = fr_xalloc((count + 1) * sizeof(struct config_route *));
    set->by_path = fr_xalloc((count + 1) * sizeof(*set->by_path));
    set->nodes = fr_xalloc((count + 1) * sizeof(*set->nodes));
    set->groups = fr_xalloc((count + 1) * sizeof(*set->groups));
    for (size_t i = 0; i < count; i++) {
        set->given[i] = config_route_ref(routes[i]);
        keys[i] = (struct sort_key){routes[i], (uint32_t)i};
    }
    if (count > 1)
        qsort(keys, count, sizeof(*keys), by_precedence);
    for (size_t i = 0; i < count; i++) {
        set->ordered[i] = keys[i].config;
        keys[i].index = (uint32_t)i;
    }
    if (count > 1)
        qsort(keys, count, sizeof(*keys), by_host_and_path);
    index_routes(set, keys);
    fr_free(keys);
    return set;
}

bool
cluster__routes_are(const struct cluster_routes *set, struct config_route *const *routes,
                    size_t count)
{
    return set->count == count &&
           (count == 0 || memcmp(set->given, routes, count * sizeof(struct config_route *)) == 0);
}

struct cluster_routes *
cluster__routes_ref(struct cluster_routes *set)
{
    atomic_fetch_add_explicit(&set->refs, 1, memory_order_relaxed);
    return set;
}

void
cluster__routes_unref(struct cluster_routes **set)
{
    struct cluster_routes *s = *set;
    *set = NULL;
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < s->count; i++)
        config_route_unref(&s->given[i]);
    fr_free(s->given);
    fr_free(s->ordered);
    fr_free(s->by_path);
    fr_free(s->nodes);
    fr_free(s->groups);
    fr_free(s->table);
    fr_free(s);
}

struct config_route *
cluster__routes_at(const struct cluster_routes *set, size_t place)
{
    return set->ordered[place];
}

/* ---- finding ------------------------------------------------------------------------------- */

/* Host and path fit. */
static bool
rest_matches(const struct config_route *route, const struct cluster_request *request)
{
    if (text_len(route->method) && !fr_view_is(request->method, route->method))
        return false;
    if (text_len(route->header_name) == 0)
        return true;
    struct fr_view value;
    if (!request->field ||
        !request->field(request->field_ctx, fr_view_of(route->header_name), &value))
        return false;
    return !route->header_value || fr_view_is(value, route->header_value);
}

static int
path_compare(const struct path_node *node, struct fr_view path)
{
    size_t len = node->len < path.len ? node->len : path.len;
    int order = len ? memcmp(node->text, path.ptr, len) : 0;
    if (order != 0)
        return order;
    return node->len <= path.len ? 0 : 1; /* 0: the path begins with it */
}

/* The last node of the group that is not behind the path; NONE: all are. */
static uint32_t
path_search(const struct cluster_routes *set, const struct host_group *group, struct fr_view path)
{
    uint32_t low = 0, high = group->count; /* those below `low` are not behind it */
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (path_compare(&set->nodes[group->first + middle], path) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low > 0 ? group->first + low - 1 : NONE;
}

static size_t
group_find(const struct cluster_routes *set, uint32_t index, const struct cluster_request *request)
{
    if (index == NONE)
        return SIZE_MAX;
    uint32_t at = path_search(set, &set->groups[index], request->path);
    for (; at != NONE; at = set->nodes[at].up) {
        const struct path_node *node = &set->nodes[at];
        if (path_compare(node, request->path) != 0)
            continue;
        for (uint32_t i = 0; i < node->count; i++) {
            uint32_t place = set->by_path[node->first + i];
            if (rest_matches(set->ordered[place], request))
                return place;
        }
    }
    return SIZE_MAX;
}

static uint32_t
group_of(const struct cluster_routes *set, uint64_t hash, struct fr_view text, bool wildcard)
{
    uint32_t at = hash_place(set, hash);
    for (; set->table[at] != NONE; at = (at + 1) & set->table_mask) {
        const struct host_group *group = &set->groups[set->table[at]];
        if (group->hash == hash && group->wildcard == wildcard && group->len == text.len &&
            memcmp(group->text, text.ptr, text.len) == 0)
            return set->table[at];
    }
    return NONE;
}

/* "*.example.com" takes any number of leading labels, but at least one. */
static size_t
host_find(const struct cluster_routes *set, const struct cluster_request *request)
{
    uint32_t wild[LABELS_MAX];
    size_t wild_count = 0;
    struct fr_view host = request->host;
    uint64_t hash = FNV_BASIS;
    for (size_t i = host.len; i > 0; i--) {
        hash = hash_more(hash, host.ptr[i - 1]);
        if (host.ptr[i - 1] != '.' || i == 1 || !set->wildcards || wild_count == LABELS_MAX)
            continue;
        struct fr_view end = fr_view_make(host.ptr + i - 1, host.len - i + 1);
        wild[wild_count] = group_of(set, hash, end, true);
        wild_count += wild[wild_count] != NONE;
    }
    size_t found = host.len ? group_find(set, group_of(set, hash, host, false), request) : SIZE_MAX;
    while (found == SIZE_MAX && wild_count > 0) /* the longest came last */
        found = group_find(set, wild[--wild_count], request);
    return found;
}

size_t
cluster__routes_find(const struct cluster_routes *set, const struct cluster_request *request)
{
    size_t found = set->hosts ? host_find(set, request) : SIZE_MAX;
    return found != SIZE_MAX ? found : group_find(set, set->any, request);
}
