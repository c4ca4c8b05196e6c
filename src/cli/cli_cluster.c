/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_cluster.c - `freshet cluster VERB`: each returns when what it asked for is true.
 */
#include "cli/cli.h"

#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "cli/cli_tables.h"

#include <jansson.h>
#include <stdio.h>

struct cluster_args {
    const char *address, *name, *server, *count, *weight;
    int64_t timeout_us;
    bool json;
};

/* What may stand in a path or query as it is: names and addresses need nothing else. */
static bool
plain(const char *text)
{
    for (; *text != '\0'; text++)
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.:-_[]/",
                   *text) == NULL)
            return false;
    return true;
}

static void
print_done(const struct cluster_args *args, const char *verb, const struct fr_buf *body)
{
    json_error_t error;
    size_t i;
    const json_t *server;
    json_t *root = body->len ? json_loadb(body->data, body->len, 0, &error) : NULL;
    const json_t *servers = json_object_get(root, "servers");
    if (args->json && body->len)
        printf("%s\n", body->data);
    else if (json_array_size(servers) == 0)
        printf("%s %s: done\n", verb, args->name);
    json_array_foreach (servers, i, server)
        if (!args->json)
            printf("%s %s: %s at %s\n", verb, args->name,
                   json_string_value(json_object_get(server, "id")),
                   json_string_value(json_object_get(server, "address")));
    json_decref(root);
}

static int
post(const struct cluster_args *args, const char *verb, const char *query)
{
    struct fr_buf body;
    int status = CLI_FAILED;
    fr_buf_init(&body, (size_t)1 << 20);
    char *path = fr_xprintf("/clusters/%s/%s%s", args->name, verb, query);
    if (cli_call(args->address, "POST", path, args->timeout_us, &body)) {
        print_done(args, verb, &body);
        status = CLI_DONE;
    }
    fr_free(path);
    fr_buf_fini(&body);
    return status;
}

static int
allocate(const struct cluster_args *args)
{
    char *query = fr_xprintf("?count=%s%s%s", args->count ? args->count : "1",
                             args->server ? "&server=" : "", args->server ? args->server : "");
    int status = post(args, "allocate", query);
    fr_free(query);
    return status;
}

static int
deallocate(const struct cluster_args *args)
{
    char *query =
        fr_xprintf("%s%s", args->server ? "?server=" : "", args->server ? args->server : "");
    int status = post(args, "deallocate", query);
    fr_free(query);
    return status;
}

static int
drain(const struct cluster_args *args)
{
    if (args->server == NULL)
        return cli_usage("cluster", "drain NAME SERVER: which server?");
    char *query = fr_xprintf("?server=%s", args->server);
    int status = post(args, "drain", query);
    fr_free(query);
    return status;
}

static int
weight(const struct cluster_args *args)
{
    uint64_t value = 0;
    if (args->server == NULL || args->weight == NULL)
        return cli_usage("cluster", "weight NAME SERVER N: which server, what weight?");
    if (!cli_number("cluster", "weight", args->weight, 0, 65535, &value))
        return CLI_USAGE;
    char *query = fr_xprintf("?server=%s&weight=%s", args->server, args->weight);
    int status = post(args, "weight", query);
    fr_free(query);
    return status;
}

static int
run_verb(const char *verb, const struct cluster_args *args)
{
    if (strcmp(verb, "allocate") == 0)
        return allocate(args);
    if (strcmp(verb, "deallocate") == 0)
        return deallocate(args);
    if (strcmp(verb, "drain") == 0)
        return drain(args);
    if (strcmp(verb, "weight") == 0)
        return weight(args);
    return cli_usage("cluster",
                     "no such verb: %s, expected list, allocate, deallocate, drain or weight",
                     verb);
}

int
cli_cluster(int argc, char **argv)
{
    const char *file = CLI_FILE_DEFAULT, *admin = NULL, *timeout = "60";
    char address[LOOP_ADDR_TEXT_BYTES];
    struct cluster_args args = {0};
    uint64_t timeout_s = 0, count = 0;
    int operands = 0;
    const struct cli_option options[] = {
        {"--config", "-c", .text = &file, .words = "the configuration file (freshet.yaml)"},
        {"--admin", NULL, .text = &admin, .words = "the admin address, instead of the file's"},
        {"--count", "-n", .text = &args.count, .words = "allocate: how many servers (1)"},
        {"--server", NULL, .text = &args.server, .words = "which server: its id or address"},
        {"--timeout", NULL, .text = &timeout, .words = "seconds to wait for it to be done (60)"},
        CLI_OPTIONS_OF_HTTPS,
        {"--json", NULL, .flag = &args.json, .words = "the answer as JSON"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands == 0)
        return cli_usage("cluster", "expected list, allocate, deallocate, drain or weight");
    if (operands > 4)
        return cli_usage("cluster", "unexpected: %s", argv[5]);
    if (!cli_number("cluster", "--timeout", timeout, 1, 86400, &timeout_s))
        return CLI_USAGE;
    bool list = strcmp(argv[1], "list") == 0;
    if (!list && operands < 2)
        return cli_usage("cluster", "%s: which cluster?", argv[1]);
    if (!cli_admin_address(admin, file, address, sizeof(address)))
        return CLI_FAILED;
    if (list)
        return cli_print_status(address, args.json, true);
    args.address = address;
    args.name = argv[2];
    args.timeout_us = (int64_t)timeout_s * FR_US_PER_S;
    if (operands > 2)
        args.server = argv[3];
    if (operands > 3)
        args.weight = argv[4];
    if (!plain(args.name) || (args.server != NULL && !plain(args.server)))
        return cli_usage("cluster", "a name holds a character that no name has");
    if (args.count != NULL && !cli_number("cluster", "--count", args.count, 1, 1000, &count))
        return CLI_USAGE;
    return run_verb(argv[1], &args);
}
