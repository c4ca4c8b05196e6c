/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_cache.c - `freshet cache stat`, and `freshet cache purge`: of one edge by its admin socket,
 * or of every edge by the manager, with a receipt from each.
 */
#include "cli/cli.h"

#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

struct cache_args {
    const char *file, *admin, *manager;
    const char *url, *prefix, *tag;
    bool all, soft, everywhere, json;
};

static int64_t
integer_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

/* Everything but what people's names and addresses are made of, as %XX. */
static enum fr_err
put_encoded(struct fr_buf *out, const char *text)
{
    enum fr_err err = FR_OK;
    for (; *text && err == FR_OK; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     strchr("-._~", c);
        err = plain ? fr_buf_append(out, text, 1) : fr_buf_printf(out, "%%%02X", c);
    }
    return err;
}

/* ---- stat ------------------------------------------------------------------------------------ */

static int
print_stat(const struct fr_buf *body)
{
    json_error_t error;
    const char *key;
    json_t *value;
    json_t *root = json_loadb(body->data, body->len, 0, &error);
    if (!json_is_object(root)) {
        json_decref(root);
        return CLI_FAILED;
    }
    json_object_foreach (root, key, value) {
        char name[32];
        size_t i = 0;
        for (; key[i] && i + 1 < sizeof(name); i++)
            name[i] = key[i];
        name[i] = '\0';
        for (char *c = name; *c; c++)
            *c = *c == '_' ? ' ' : *c;
        printf("%-16s %20" PRId64 "\n", name, (int64_t)json_integer_value(value));
    }
    json_decref(root);
    return CLI_DONE;
}

static int
stat_run(const struct cache_args *args, const char *address)
{
    struct fr_buf body;
    int status = CLI_FAILED;
    fr_buf_init(&body, (size_t)1 << 20);
    if (cli_call(address, "GET", "/cache", 5 * FR_US_PER_S, &body) && body.len) {
        if (args->json)
            printf("%s", body.data);
        status = args->json ? CLI_DONE : print_stat(&body);
    }
    fr_buf_fini(&body);
    return status;
}

/* ---- purge ----------------------------------------------------------------------------------- */

static void
print_counts(const json_t *object)
{
    printf("%" PRId64 " objects, %" PRId64 " bytes, %.1f requests/s",
           integer_of(object, "objects"), integer_of(object, "bytes"),
           json_number_value(json_object_get(object, "requests_per_s")));
}

/* True when every edge purged. */
static bool
print_receipts(const json_t *root)
{
    size_t i;
    const json_t *receipt;
    const json_t *receipts = json_object_get(root, "receipts");
    if (json_array_size(receipts) == 0)
        printf("no edge is known to this manager\n");
    json_array_foreach (receipts, i, receipt) {
        const char *status = json_string_value(json_object_get(receipt, "status"));
        const char *words = json_string_value(json_object_get(receipt, "reason"));
        printf("%s: %s", json_string_value(json_object_get(receipt, "edge")), status);
        if (status && strcmp(status, "done") == 0) {
            printf(", ");
            print_counts(receipt);
        } else if (words && words[0]) {
            printf(": %s", words);
        }
        printf("\n");
    }
    return json_array_size(receipts) > 0 && json_is_true(json_object_get(root, "complete"));
}

static int
print_purged(const struct cache_args *args, const struct fr_buf *body)
{
    json_error_t error;
    json_t *root = body->len ? json_loadb(body->data, body->len, 0, &error) : NULL;
    bool done = json_is_object(root);
    if (args->json && body->len)
        printf("%s", body->data);
    if (done && args->everywhere) {
        done = args->json ? json_is_true(json_object_get(root, "complete")) : print_receipts(root);
    } else if (done && !args->json) {
        printf("purged: ");
        print_counts(root);
        printf("\n");
    }
    json_decref(root);
    return done ? CLI_DONE : CLI_FAILED;
}

static int
purge_run(const struct cache_args *args, const char *address)
{
    struct fr_buf path, body;
    const char *kind = args->url ? "url" : args->prefix ? "prefix" : args->tag ? "tag" : "all";
    const char *text = args->url ? args->url : args->prefix ? args->prefix : args->tag;
    int status = CLI_FAILED;
    fr_buf_init(&path, 16384);
    fr_buf_init(&body, (size_t)1 << 20);
    enum fr_err err = fr_buf_printf(&path, "/cache/purge?%s%s=", args->soft ? "soft=1&" : "", kind);
    if (err == FR_OK && text)
        err = put_encoded(&path, text);
    if (err != FR_OK)
        status = cli_usage("cache", "what is to be purged is too long");
    else if (cli_call(address, "POST", path.data, 60 * FR_US_PER_S, &body))
        status = print_purged(args, &body);
    fr_buf_fini(&path);
    fr_buf_fini(&body);
    return status;
}

int
cli_cache(int argc, char **argv)
{
    struct cache_args args = {.file = CLI_FILE_DEFAULT};
    char address[LOOP_ADDR_TEXT_BYTES];
    int operands = 0;
    const struct cli_option options[] = {
        {"--config", "-c", .text = &args.file, .words = "the configuration file (freshet.yaml)"},
        {"--admin", NULL, .text = &args.admin, .words = "the edge's admin address, not the file's"},
        {"--manager", NULL, .text = &args.manager,
         .words = "purge: the manager's address, not the file's; every edge purges"},
        {"--everywhere", NULL, .flag = &args.everywhere,
         .words = "purge: by the file's manager, on every edge"},
        {"--url", NULL, .text = &args.url, .words = "purge: //host/path?query, or with http:"},
        {"--prefix", NULL, .text = &args.prefix, .words = "purge: what URLs begin with"},
        {"--tag", NULL, .text = &args.tag, .words = "purge: one of Surrogate-Key or Cache-Tag"},
        {"--all", NULL, .flag = &args.all, .words = "purge: everything"},
        {"--soft", NULL, .flag = &args.soft, .words = "purge: make stale, keep"},
        CLI_OPTIONS_OF_HTTPS,
        {"--json", NULL, .flag = &args.json, .words = "the answer as JSON"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    bool stat = operands == 1 && strcmp(argv[1], "stat") == 0;
    if (operands != 1 || (!stat && strcmp(argv[1], "purge") != 0))
        return cli_usage("cache", "expected stat or purge");
    int said = (args.url != NULL) + (args.prefix != NULL) + (args.tag != NULL) + args.all;
    if (!stat && said != 1)
        return cli_usage("cache", "purge: expected one of --url, --prefix, --tag and --all");
    args.everywhere |= args.manager != NULL;
    bool found = !stat && args.everywhere
                     ? cli_manager_address(args.manager, args.file, address, sizeof(address))
                     : cli_admin_address(args.admin, args.file, address, sizeof(address));
    if (!found)
        return CLI_FAILED;
    return stat ? stat_run(&args, address) : purge_run(&args, address);
}
