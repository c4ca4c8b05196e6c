/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_route.c - routes: made, read, counted.
 *
 * May touch:  base.
 * Threads:    counting is atomic; the rest belongs to the control thread.
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdio.h>

struct config_route *
config_route_new(void)
{
    struct config_route *route = fr_xalloc(sizeof(*route));
    config__defaults(CONFIG_SCOPE_ROUTE, route);
    atomic_init(&route->refs, 1);
    return route;
}

struct config_route *
config_route_ref(struct config_route *route)
{
    unsigned before = atomic_fetch_add_explicit(&route->refs, 1, memory_order_relaxed);
    fr_require(before > 0);
    return route;
}

void
config_route_unref(struct config_route **route_ptr)
{
    struct config_route *route = *route_ptr;
    *route_ptr = NULL;
    if (!route || atomic_fetch_sub_explicit(&route->refs, 1, memory_order_acq_rel) != 1)
        return;
    fr_free(route->host);
    fr_free(route->path);
    fr_free(route->method);
    fr_free(route->header_name);
    fr_free(route->header_value);
    fr_free(route);
}

struct config_route *
config__route_read(struct config__reader *reader, const struct config_node *node, size_t index)
{
    size_t saved;
    struct config_route *route = config_route_new();
    route->runtime = reader->runtime;
    config__where_into(reader, &saved, "routes[%zu]", index);
    config__read_scope(reader, CONFIG_SCOPE_ROUTE, node, route);
    if (node->kind == CONFIG_MAPPING && !config_node_get(node, "cluster"))
        config_diag_add(reader->diag, node->line, node->column,
                        "%s has no cluster, expected the name of the one that serves it",
                        reader->where);
    if (!route->name[0])
        (void)snprintf(route->name, sizeof(route->name), "route-%zu", index + 1);
    config__where_back(reader, saved);
    return route;
}

enum fr_err
config_route_from_tree(const struct config_node *node, struct config_diag *diag,
                       struct config_route **out)
{
    struct config__reader reader = {.diag = diag, .world = true, .runtime = true};
    size_t errors = diag->error_count;
    struct config_route *route = config__route_read(&reader, node, 0);
    if (node->kind == CONFIG_MAPPING && !config_node_get(node, "name"))
        config_diag_add(diag, node->line, node->column,
                        "a route without a name, expected one: run-time changes need it");
    if (diag->error_count > errors) {
        config_route_unref(&route);
        return FR_ERR_CONFIG;
    }
    *out = route;
    return FR_OK;
}

enum fr_err
config_route_print(const struct config_route *route, struct fr_buf *out)
{
    struct config_route *defaults = config_route_new();
    enum fr_err err = config__print_scope(CONFIG_SCOPE_ROUTE, route, defaults, out);
    config_route_unref(&defaults);
    return err;
}
