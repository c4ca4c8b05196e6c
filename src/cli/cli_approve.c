/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_approve.c - `freshet approve` and `freshet deny`: a person on what the manager proposes
 * in mode supervised.
 */
#include "cli/cli.h"

#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <stdio.h>

#define ANSWER_BYTES_MAX 65536

static int
say(const char *command, int argc, char **argv)
{
    const char *file = CLI_FILE_DEFAULT, *manager = NULL;
    char address[LOOP_ADDR_TEXT_BYTES];
    struct fr_buf body;
    int operands = 0;
    const struct cli_option options[] = {
        {"--config", "-c", .text = &file, .words = "the configuration file (freshet.yaml)"},
        {"--manager", NULL, .text = &manager, .words = "the manager's address, not the file's"},
        CLI_OPTIONS_OF_HTTPS,
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands != 1)
        return cli_usage(command, "which cluster? one name is needed");
    if (!config_name_valid(fr_view_of(argv[1])))
        return cli_usage(command, "\"%s\" is not a cluster's name", argv[1]);
    if (!cli_manager_address(manager, file, address, sizeof(address)))
        return CLI_FAILED;
    fr_buf_init(&body, ANSWER_BYTES_MAX);
    char *path = fr_xprintf("/%s?cluster=%s", command, argv[1]);
    bool ok = cli_call(address, "POST", path, 5 * FR_US_PER_S, &body);
    if (ok && body.len)
        fwrite(body.data, 1, body.len, stdout);
    fr_free(path);
    fr_buf_fini(&body);
    return ok ? CLI_DONE : CLI_FAILED;
}

int
cli_approve(int argc, char **argv)
{
    return say("approve", argc, argv);
}

int
cli_deny(int argc, char **argv)
{
    return say("deny", argc, argv);
}
