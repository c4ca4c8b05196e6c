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

/* So that a request none of whose names is as long as one of the list is told by that alone. Names
 * stand between commas, without the blanks: whoever looks for them reads the list so too. */
static void
note_bypass_lengths(struct config_caching *caching)
{
    struct fr_view rest = fr_view_of(caching->bypass_headers), name;
    caching->bypass_lengths = 0;
    while (fr_view_split(&rest, ',', &name)) {
        name = fr_view_trim(name);
        caching->bypass_lengths |= (uint64_t)1 << (name.len < 63 ? name.len : 63);
    }
}

struct config_route *
config_route_new(void)
{
    struct config_route *route = fr_xalloc(sizeof(*route));
    config__defaults(CONFIG_SCOPE_ROUTE, route);
    route->files.fd = -1;
    note_bypass_lengths(&route->caching);
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
    config__answers_free(route);
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
    config__answers_finish(reader, node, route);
    note_bypass_lengths(&route->caching);
    if (!route->name[0])
        (void)snprintf(route->name, sizeof(route->name), "route-%zu", index + 1);
    config__where_back(reader, saved);
    return route;
}

static enum fr_err
route_at_run_time(const struct config_node *node, bool restoring, struct config_diag *diag,
                  struct config_route **out)
{
    struct config__reader reader = {
        .diag = diag, .world = true, .runtime = true, .restoring = restoring};
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
config_route_from_tree(const struct config_node *node, struct config_diag *diag,
                       struct config_route **out)
{
    return route_at_run_time(node, false, diag, out);
}

enum fr_err
config_route_restore(const struct config_node *node, struct config_diag *diag,
                     struct config_route **out)
{
    return route_at_run_time(node, true, diag, out);
}

enum fr_err
config_route_print(const struct config_route *route, struct fr_buf *out)
{
    struct config_route *defaults = config_route_new();
    enum fr_err err = config__print_scope(CONFIG_SCOPE_ROUTE, route, defaults, out);
    config_route_unref(&defaults);
    return err;
}
