/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_why.c - `freshet why CLUSTER`: the manager's last decisions, and decisions not to act, a
 * sentence each.
 */
#include "cli/cli.h"

#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <stdio.h>

int
cli_why(int argc, char **argv)
{
    const char *file = CLI_FILE_DEFAULT, *manager = NULL, *count = "20";
    char address[LOOP_ADDR_TEXT_BYTES];
    bool json = false;
    int operands = 0;
    uint64_t rows = 0;
    const struct cli_option options[] = {
        {"--config", "-c", .text = &file, .words = "the configuration file (freshet.yaml)"},
        {"--manager", NULL, .text = &manager, .words = "the manager's address, not the file's"},
        {"--last", "-n", .text = &count, .words = "how many decisions (20)"},
        CLI_OPTIONS_OF_HTTPS,
        {"--json", NULL, .flag = &json, .words = "as JSON"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands != 1)
        return cli_usage("why", "which cluster? one name is needed");
    if (!config_name_valid(fr_view_of(argv[1])))
        return cli_usage("why", "\"%s\" is not a cluster's name", argv[1]);
    if (!cli_number("why", "--last", count, 1, 1000, &rows))
        return CLI_USAGE;
    if (!cli_manager_address(manager, file, address, sizeof(address)))
        return CLI_FAILED;
    struct fr_buf body;
    fr_buf_init(&body, (size_t)16 << 20);
    char *path = fr_xprintf("/why?cluster=%s&n=%llu%s", argv[1], (unsigned long long)rows,
                            json ? "&format=json" : "");
    bool ok = cli_call(address, "GET", path, 5 * FR_US_PER_S, &body);
    if (ok && body.len)
        fwrite(body.data, 1, body.len, stdout);
    fr_free(path);
    fr_buf_fini(&body);
    return ok ? CLI_DONE : CLI_FAILED;
}
