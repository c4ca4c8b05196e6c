/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_status.c - `freshet status` and `freshet cluster list`: tables for people, JSON for tools.
 */
#include "cli/cli.h"

#include "base/fr_time.h"
#include "cli/cli_tables.h"

#include <jansson.h>
#include <stdio.h>

#define STATUS_BYTES_MAX ((size_t)64 << 20)
#define STATUS_TIMEOUT_US (5 * FR_US_PER_S)

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text != NULL && *text != '\0' ? text : "-";
}

static void
print_number(const json_t *object, const char *key, const char *format)
{
    const json_t *value = json_object_get(object, key);
    char text[32] = "-";
    if (json_is_number(value))
        (void)snprintf(text, sizeof(text), format, json_number_value(value));
    printf(" %9s", text);
}

static void
print_server(const char *cluster, const json_t *server)
{
    printf("%-14s %-24s %-21s %-10s %-10s", cluster, text_of(server, "id"),
           text_of(server, "address"), text_of(server, "state"), text_of(server, "pool"));
    print_number(server, "weight", "%.0f");
    print_number(server, "utilization", "%.2f");
    print_number(server, "in_flight", "%.0f");
    print_number(server, "requests", "%.0f");
    print_number(server, "errors", "%.0f");
    print_number(server, "p50_ms", "%.1f");
    print_number(server, "p99_ms", "%.1f");
    printf("\n");
}

/* What stands out: who waits, and what is done about a high load. */
static void
print_waiting(const json_t *cluster)
{
    long long parked = (long long)json_integer_value(json_object_get(cluster, "parked"));
    long long queued = (long long)json_integer_value(json_object_get(cluster, "queued"));
    const char *rung = text_of(cluster, "rung");
    if (parked > 0)
        printf("%-14s %lld requests parked: no member yet\n", text_of(cluster, "name"), parked);
    if (queued > 0)
        printf("%-14s %lld requests queued\n", text_of(cluster, "name"), queued);
    if (rung[0] != '-')
        printf("%-14s ladder at rung %s\n", text_of(cluster, "name"), rung);
}

static void
clusters_print(const json_t *root)
{
    size_t i, j;
    const json_t *cluster, *server;
    printf("%-14s %-24s %-21s %-10s %-10s %9s %9s %9s %9s %9s %9s %9s\n", "CLUSTER", "SERVER",
           "ADDRESS", "STATE", "POOL", "WEIGHT", "UTIL", "IN-FLIGHT", "REQUESTS", "ERRORS", "P50ms",
           "P99ms");
    json_array_foreach (json_object_get(root, "clusters"), i, cluster) {
        const json_t *servers = json_object_get(cluster, "servers");
        if (json_array_size(servers) == 0)
            printf("%-14s (no servers)\n", text_of(cluster, "name"));
        print_waiting(cluster);
        json_array_foreach (servers, j, server)
            print_server(text_of(cluster, "name"), server);
    }
}

static void
print_pools(const json_t *root)
{
    size_t i;
    const json_t *pool;
    if (json_array_size(json_object_get(root, "pools")) == 0)
        return;
    printf("\n%-14s %9s %9s %9s\n", "POOL", "AVAILABLE", "ALLOCATED", "COST");
    json_array_foreach (json_object_get(root, "pools"), i, pool)
        printf("%-14s %9lld %9lld %9lld\n", text_of(pool, "name"),
               (long long)json_integer_value(json_object_get(pool, "available")),
               (long long)json_integer_value(json_object_get(pool, "allocated")),
               (long long)json_integer_value(json_object_get(pool, "cost")));
}

static void
print_head(const json_t *root)
{
    const json_t *counters = json_object_get(root, "counters");
    const char *manager = !json_is_true(json_object_get(root, "manager_configured")) ? "none"
                          : json_is_true(json_object_get(root, "manager_connected")) ? "connected"
                                                                                     : "AWAY";
    printf("%s %s, version %s, manager %s, ledger generation %lld\n", text_of(root, "role"),
           text_of(root, "id"), text_of(root, "version"), manager,
           (long long)json_integer_value(json_object_get(root, "generation")));
    if (counters != NULL)
        printf("requests %lld, errors %lld, connections open %lld, cache hits %lld\n",
               (long long)json_integer_value(json_object_get(counters, "requests")),
               (long long)json_integer_value(json_object_get(counters, "errors")),
               (long long)json_integer_value(json_object_get(counters, "connections_open")),
               (long long)json_integer_value(json_object_get(counters, "cache_hits")));
    printf("\n");
}

int
cli_print_status(const char *address, bool json, bool clusters_only)
{
    struct fr_buf body;
    json_error_t error;
    int status = CLI_FAILED;
    json_t *root = NULL;
    fr_buf_init(&body, STATUS_BYTES_MAX);
    if (!cli_call(address, "GET", "/status", STATUS_TIMEOUT_US, &body))
        goto out;
    if (json) {
        fwrite(body.data, 1, body.len, stdout);
        status = CLI_DONE;
        goto out;
    }
    root = json_loadb(body.data, body.len, 0, &error);
    if (root == NULL) {
        fprintf(stderr, "freshet: %s did not answer with JSON: %s\n", address, error.text);
        goto out;
    }
    if (!clusters_only)
        print_head(root);
    clusters_print(root);
    if (!clusters_only)
        print_pools(root);
    status = CLI_DONE;
out:
    json_decref(root);
    fr_buf_fini(&body);
    return status;
}

int
cli_status(int argc, char **argv)
{
    const char *file = CLI_FILE_DEFAULT, *admin = NULL;
    char address[LOOP_ADDR_TEXT_BYTES];
    bool json = false;
    int operands = 0;
    const struct cli_option options[] = {
        {"--config", "-c", .text = &file, .words = "the configuration file (freshet.yaml)"},
        {"--admin", NULL, .text = &admin, .words = "the admin address, instead of the file's"},
        CLI_OPTIONS_OF_HTTPS,
        {"--json", NULL, .flag = &json, .words = "everything, as JSON"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands > 0)
        return cli_usage("status", "unexpected: %s", argv[1]);
    if (!cli_admin_address(admin, file, address, sizeof(address)))
        return CLI_FAILED;
    return cli_print_status(address, json, false);
}
