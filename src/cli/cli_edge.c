/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_edge.c - `freshet edge` and `freshet allocator`: one room, with and without a data plane.
 */
#include "cli/cli.h"

#include "edge/edge.h"

static enum fr_err
create_edge(struct loop *loop, struct config *config, struct config_diag *diag, void **out,
            char **out_why)
{
    return edge_new(loop, config, WIRE_ROLE_EDGE, diag, (struct edge **)out, out_why);
}

static enum fr_err
create_allocator(struct loop *loop, struct config *config, struct config_diag *diag, void **out,
                 char **out_why)
{
    return edge_new(loop, config, WIRE_ROLE_ALLOCATOR, diag, (struct edge **)out, out_why);
}

static enum fr_err
start(void *self, char **out_why)
{
    return edge_start(self, out_why);
}

static enum fr_err
reload(void *self, struct config *config, struct config_diag *diag, char **out_why)
{
    return edge_reload(self, config, diag, out_why);
}

static void
stop(void *self, int64_t deadline_us, loop_fn fn, void *ctx)
{
    edge_stop(self, deadline_us, fn, ctx);
}

static void
reopen(void *self)
{
    edge_access_reopen(self);
}

static void
free_edge(void **self)
{
    edge_free((struct edge **)self);
}

const struct cli_service_ops cli_edge_ops = {
    .name = "edge",
    .create = create_edge,
    .start = start,
    .reload = reload,
    .stop = stop,
    .reopen = reopen,
    .free = free_edge,
};

static const struct cli_service_ops allocator_ops = {
    .name = "allocator",
    .create = create_allocator,
    .start = start,
    .reload = reload,
    .stop = stop,
    .free = free_edge,
};

int
cli_edge(int argc, char **argv)
{
    return cli_service_main(argc, argv, &cli_edge_ops, CONFIG_ROLE_EDGE);
}

int
cli_allocator(int argc, char **argv)
{
    return cli_service_main(argc, argv, &allocator_ops, CONFIG_ROLE_ALLOCATOR);
}
