/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_route.c - finds the route of a request among many.
 *
 * May touch:  base, config. Never: sockets, clocks.
 * Threads:    changed on the control thread; read by workers; dropped anywhere (atomic counts).
 * Memory:     about 130 bytes a route.
 * Cost:       finding: a step for each byte of the host, if any route asks for one, and for each
 *             place where paths part; a look at what else they ask for, of each route whose path
 *             the request's begins with. No allocation, no copy. A change: the nodes on the way to
 *             it, whatever the number of routes.
 *
 * All routes are in one trie. The key is the host from its end, a mark, and the path; the value is
 * the list of the routes for just that host and path, by precedence:
 *
 *     moc.elpmaxe.a  EXACT  /api/      a.example.com, /api/
 *     moc.elpmaxe.   WILD   /          *.example.com, /
 *                    EXACT  /          any host, /
 *
 * So the longest of the paths that a request's path begins with is the last on the walk along it,
 * and the wildcards that its host ends with are on the way to its own place.
 */
#include "cluster/cluster_route.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#define LABELS_MAX 128 /* of a host: 255 octets */
#define EXACT '\0'
#define WILD '\1'

struct route_list { /* immutable, counted */
    atomic_uint refs;
    uint32_t count;
    struct cluster_route routes[]; /* by precedence; settings referenced */
};

/* ---- lists --------------------------------------------------------------------------------- */

static struct route_list *
list_new(uint32_t count)
{
    struct route_list *list = fr_xalloc(sizeof(*list) + count * sizeof(list->routes[0]));
    atomic_init(&list->refs, 1);
    list->count = count;
    return list;
}

static void
list_set(struct route_list *list, uint32_t at, const struct cluster_route *route)
{
    list->routes[at] = *route;
    (void)config_route_ref(route->config); /* the pointer is stored already */
}

static void
list_hold(void *value)
{
    struct route_list *list = value;
    atomic_fetch_add_explicit(&list->refs, 1, memory_order_relaxed);
}

static void
list_drop(void *value)
{
    struct route_list *list = value;
    if (atomic_fetch_sub_explicit(&list->refs, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < list->count; i++)
        config_route_unref(&list->routes[i].config);
    fr_free(list);
}

static const struct fr_trie_ops list_ops = {list_hold, list_drop};

/* ---- keys ---------------------------------------------------------------------------------- */

static size_t
text_len(const char *text)
{
    return text ? strlen(text) : 0;
}

static bool
host_is_wildcard(const struct config_route *route)
{
    return text_len(route->host) > 1 && route->host[0] == '*' && route->host[1] == '.';
}

static struct fr_view
key_of(const struct config_route *route, char **out_text)
{
    bool wild = host_is_wildcard(route);
    size_t host = text_len(route->host) - wild, path = text_len(route->path);
    char *text = *out_text = fr_xalloc(host + 1 + path);
    for (size_t i = 0; i < host; i++)
        text[i] = route->host[wild + host - 1 - i];
    text[host] = wild ? WILD : EXACT;
    if (path)
        memcpy(text + host + 1, route->path, path);
    return fr_view_make(text, host + 1 + path);
}

/* Among routes for one host and path. A header with its value asks more than its presence. */
static unsigned
rank_of(const struct config_route *route)
{
    return (unsigned)(text_len(route->method) > 0) << 2 |
           (unsigned)(text_len(route->header_name) > 0) << 1 |
           (unsigned)(route->header_value != NULL);
}

static bool
comes_before(const struct cluster_route *a, const struct cluster_route *b)
{
    unsigned rank_a = rank_of(a->config), rank_b = rank_of(b->config);
    return rank_a != rank_b ? rank_a > rank_b : a->order < b->order;
}

/* ---- sets ---------------------------------------------------------------------------------- */

void
cluster__routes_init(struct cluster_routes *set)
{
    *set = (struct cluster_routes){0};
    fr_trie_init(&set->by_place, &list_ops);
}

void
cluster__routes_copy(const struct cluster_routes *from, struct cluster_routes *out)
{
    *out = *from;
    fr_trie_copy(&from->by_place, &out->by_place);
}

void
cluster__routes_fini(struct cluster_routes *set)
{
    fr_trie_fini(&set->by_place);
}

static void
count_route(struct cluster_routes *set, const struct config_route *route, bool comes)
{
    size_t change = comes ? 1 : SIZE_MAX; /* which is minus one */
    set->count += change;
    if (text_len(route->host) > 0)
        set->hosts += change;
    if (host_is_wildcard(route))
        set->wildcards += change;
}

void
cluster__routes_add(struct cluster_routes *set, const struct cluster_route *route)
{
    char *text = NULL;
    struct fr_view key = key_of(route->config, &text);
    const struct route_list *before = fr_trie_get(&set->by_place, key);
    uint32_t count = before ? before->count : 0, at = 0;
    struct route_list *list = list_new(count + 1);
    struct cluster_route added = *route;
    added.plain = rank_of(route->config) == 0;
    while (at < count && comes_before(&before->routes[at], &added))
        at++;
    list_set(list, at, &added);
    for (uint32_t i = 0; i < count; i++)
        list_set(list, i + (i >= at), &before->routes[i]);
    fr_trie_take_put(&set->by_place, key, list);
    count_route(set, route->config, true);
    fr_free(text);
}

bool
cluster__routes_drop(struct cluster_routes *set, const struct config_route *config,
                     struct cluster_route *out)
{
    char *text = NULL;
    struct fr_view key = key_of(config, &text);
    const struct route_list *before = fr_trie_get(&set->by_place, key);
    uint32_t at = 0;
    while (before && at < before->count && before->routes[at].config != config)
        at++;
    bool found = before && at < before->count;
    if (found) {
        *out = before->routes[at];
        count_route(set, config, false);
    }
    if (found && before->count == 1) {
        fr_require(fr_trie_remove(&set->by_place, key));
    } else if (found) {
        struct route_list *list = list_new(before->count - 1);
        for (uint32_t i = 0; i < list->count; i++)
            list_set(list, i, &before->routes[i + (i >= at)]);
        fr_trie_take_put(&set->by_place, key, list);
    }
    fr_free(text);
    return found;
}

struct visit {
    void (*fn)(void *ctx, const struct cluster_route *route);
    void *ctx;
};

static void
visit_list(void *ctx, void *value)
{
    const struct visit *visit = ctx;
    const struct route_list *list = value;
    for (uint32_t i = 0; i < list->count; i++)
        visit->fn(visit->ctx, &list->routes[i]);
}

void
cluster__routes_each(const struct cluster_routes *set,
                     void (*fn)(void *ctx, const struct cluster_route *route), void *ctx)
{
    struct visit visit = {fn, ctx};
    fr_trie_each(&set->by_place, visit_list, &visit);
}

/* ---- finding ------------------------------------------------------------------------------- */

/* Host and path fit. */
static bool
rest_matches(const struct cluster_route *found, const struct cluster_request *request)
{
    const struct config_route *route = found->config;
    if (found->plain)
        return true;
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

/* The best of a host's routes: of the longest path that has one which fits. */
static const struct cluster_route *
find_by_path(struct fr_trie_place place, const struct cluster_request *request)
{
    const struct cluster_route *found = NULL;
    struct fr_view path = request->path;
    void *value = NULL;
    while (fr_trie_next(&place, &path, &value)) {
        const struct route_list *list = value;
        for (uint32_t i = 0; i < list->count; i++)
            if (rest_matches(&list->routes[i], request)) {
                found = &list->routes[i];
                break;
            }
    }
    return found;
}

/* "*.example.com" takes any number of leading labels, but at least one. */
static const struct cluster_route *
find_by_host(const struct cluster_routes *set, const struct cluster_request *request)
{
    struct fr_trie_place wild[LABELS_MAX], place = fr_trie_root(&set->by_place);
    size_t wild_count = 0;
    struct fr_view host = request->host;
    size_t end = host.len; /* what is behind it has been walked */
    for (size_t i = end; set->wildcards && i > 1 && place.node && wild_count < LABELS_MAX; i--) {
        if (host.ptr[i - 1] != '.')
            continue;
        place = fr_trie_back(place, fr_view_make(host.ptr + i - 1, end - i + 1));
        end = i - 1;
        wild[wild_count] = fr_trie_step(place, WILD);
        wild_count += wild[wild_count].node != NULL;
    }
    place = fr_trie_back(place, fr_view_make(host.ptr, end));
    const struct cluster_route *found =
        host.len ? find_by_path(fr_trie_step(place, EXACT), request) : NULL;
    while (!found && wild_count > 0) /* the longest came last */
        found = find_by_path(wild[--wild_count], request);
    return found;
}

const struct cluster_route *
cluster__routes_find(const struct cluster_routes *set, const struct cluster_request *request)
{
    const struct cluster_route *found = set->hosts ? find_by_host(set, request) : NULL;
    return found ? found : find_by_path(fr_trie_step(fr_trie_root(&set->by_place), EXACT), request);
}
