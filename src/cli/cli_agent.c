/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_agent.c - `freshet agent`: from a file, or from options alone.
 */
#include "cli/cli.h"

#include "agent/agent.h"
#include "base/fr_mem.h"

#include <stdio.h>

static enum fr_err
create(struct loop *loop, struct config *config, struct config_diag *diag, void **out,
       char **out_why)
{
    (void)diag; /* an agent reads no further file */
    (void)out_why;
    return agent_new(loop, config, (struct agent **)out);
}

static enum fr_err
start(void *self, char **out_why)
{
    enum fr_err err = agent_start(self, out_why);
    if (err != FR_OK && *out_why == NULL)
        *out_why = fr_xprintf("stream to the manager: %s", fr_err_words(err));
    return err;
}

static enum fr_err
reload(void *self, struct config *config, struct config_diag *diag, char **out_why)
{
    (void)self;
    (void)diag;
    config_free(&config);
    *out_why = fr_xstrdup("an agent takes a new file at its next start only");
    return FR_ERR_UNSUPPORTED;
}

static void
stop(void *self, int64_t deadline_us, loop_fn fn, void *ctx)
{
    (void)deadline_us; /* a goodbye takes one second at most */
    agent_stop(self, fn, ctx);
}

static void
free_agent(void **self)
{
    agent_free((struct agent **)self);
}

static const struct cli_service_ops agent_ops = {
    .name = "agent",
    .create = create,
    .start = start,
    .reload = reload,
    .stop = stop,
    .free = free_agent,
};

static struct config *
config_from_options(const char *manager, const char *server, const char *address,
                    const char *interval, int *out_status)
{
    struct fr_buf text;
    struct config_diag diag;
    struct config *config = NULL;
    fr_buf_init(&text, 4096);
    config_diag_init(&diag);
    enum fr_err err = fr_buf_printf(&text, "manager: { connect: \"%s\" }\nagent:\n", manager);
    if (err == FR_OK && server != NULL)
        err = fr_buf_printf(&text, "  server: \"%s\"\n", server);
    if (err == FR_OK && address != NULL)
        err = fr_buf_printf(&text, "  address: \"%s\"\n", address);
    if (err == FR_OK)
        err = fr_buf_printf(&text, "  interval: %s\n", interval);
    if (err == FR_OK)
        err = config_parse(fr_buf_view(&text), "command line", CONFIG_ROLE_AGENT, &diag, &config);
    cli_print_diag(&diag);
    config_diag_fini(&diag);
    fr_buf_fini(&text);
    *out_status = err == FR_OK ? CLI_DONE : CLI_CONFIG;
    return config;
}

int
cli_agent(int argc, char **argv)
{
    const char *file = NULL, *manager = NULL, *server = NULL, *address = NULL, *interval = "1s",
               *format = NULL, *level = NULL;
    int operands = 0;
    const struct cli_option options[] = {
        {"--config", "-c", .text = &file, .words = "the configuration file"},
        {"--manager", NULL, .text = &manager, .words = "the manager's address, without a file"},
        {"--server", NULL, .text = &server, .words = "id of the member on this host"},
        {"--address", NULL, .text = &address, .words = "address of the member on this host"},
        {"--interval", NULL, .text = &interval, .words = "between reports (1s)"},
        {"--log-format", NULL, .text = &format, .words = "human, json or auto"},
        {"--log-level", NULL, .text = &level, .words = "debug, info, warn or error"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands > 0)
        return cli_usage("agent", "unexpected: %s", argv[1]);
    if (manager != NULL && file != NULL)
        return cli_usage("agent", "give either -c or --manager");
    if (manager != NULL && server == NULL && address == NULL)
        return cli_usage("agent", "--server or --address must say which member it is");
    if (!cli_log_options("agent", format, level))
        return CLI_USAGE;
    struct config *config =
        manager != NULL
            ? config_from_options(manager, server, address, interval, &status)
            : cli_load(file ? file : CLI_FILE_DEFAULT, CONFIG_ROLE_AGENT, &status);
    if (config == NULL)
        return status;
    const struct cli_service_options service = {
        .file = file, .config = config, .role = CONFIG_ROLE_AGENT, .ready_fd = -1};
    return cli_service_run(&agent_ops, &service);
}
