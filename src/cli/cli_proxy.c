/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_proxy.c - `freshet proxy --from :8080 --to 127.0.0.1:9000`: no file, no manager, nothing left
 * behind.
 *
 * The options become the text of a configuration, so that their errors and defaults are the file's.
 */
#include "cli/cli.h"

#include "base/fr_mem.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define TO_MAX 64

static enum fr_err
print_config(struct fr_buf *out, const char *state, const char *const *from, size_t from_count,
             const char *const *to, size_t to_count, const char *cache, const char *workers)
{
    enum fr_err err = fr_buf_printf(out, "state: %s\nlisten:\n", state);
    for (size_t i = 0; i < from_count && err == FR_OK; i++)
        err = fr_buf_printf(out, "  - \"%s\"\n", from[i]);
    if (err == FR_OK && cache != NULL)
        err = fr_buf_printf(out, "cache: { memory: \"%s\" }\n", cache);
    if (err == FR_OK && workers != NULL)
        err = fr_buf_printf(out, "workers: %s\n", workers);
    if (err == FR_OK)
        err = fr_buf_printf(out, "routes:\n  - cluster: to\nclusters:\n  to:\n    members:\n");
    for (size_t i = 0; i < to_count && err == FR_OK; i++)
        err = fr_buf_printf(out, "      - \"%s\"\n", to[i]);
    return err;
}

static bool
has_quote(const char *const *texts, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strpbrk(texts[i], "\"\\\n") != NULL)
            return true;
    return false;
}

static void
remove_state(const char *state)
{
    static const char *const names[] = {"ledger.yaml", "edge.lock", "admin.sock", "instance"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char *path = fr_xprintf("%s/%s", state, names[i]);
        (void)unlink(path); /* whichever of them there are */
        fr_free(path);
    }
    if (rmdir(state) != 0)
        fprintf(stderr, "freshet proxy: %s stays: %s\n", state, strerror(errno));
}

static int
run_proxy(struct fr_view text)
{
    struct config_diag diag;
    struct config *config = NULL;
    config_diag_init(&diag);
    enum fr_err err = config_parse(text, "command line", CONFIG_ROLE_EDGE, &diag, &config);
    cli_print_diag(&diag);
    config_diag_fini(&diag);
    if (err != FR_OK)
        return CLI_CONFIG;
    const struct cli_service_options service = {
        .config = config, .role = CONFIG_ROLE_EDGE, .ready_fd = -1};
    int status = cli_service_run(&cli_edge_ops, &service);
    return status;
}

int
cli_proxy(int argc, char **argv)
{
    const char *from[8], *to[TO_MAX], *cache = NULL, *workers = NULL, *format = NULL,
                *level = NULL;
    size_t from_count = 0, to_count = 0;
    int operands = 0;
    const struct cli_option options[] = {
        {"--from", NULL, .list = from, .list_count = &from_count, .list_max = 8,
         .words = "address to listen on, e.g. :8080"},
        {"--to", NULL, .list = to, .list_count = &to_count, .list_max = TO_MAX,
         .words = "server to forward to; give it once a server"},
        {"--cache", NULL, .text = &cache, .words = "memory for a cache, e.g. 64MiB"},
        {"--workers", NULL, .text = &workers, .words = "threads; default one a core"},
        {"--log-format", NULL, .text = &format, .words = "human, json or auto"},
        {"--log-level", NULL, .text = &level, .words = "debug, info, warn or error"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands > 0)
        return cli_usage("proxy", "unexpected: %s", argv[1]);
    if (from_count == 0 || to_count == 0)
        return cli_usage("proxy", "--from and --to are both needed");
    if (has_quote(from, from_count) || has_quote(to, to_count) ||
        (cache != NULL && has_quote(&cache, 1)) || (workers != NULL && has_quote(&workers, 1)))
        return cli_usage("proxy", "an address or size holds a quote or a backslash");
    if (!cli_log_options("proxy", format, level))
        return CLI_USAGE;
    const char *base = getenv("TMPDIR");
    char *state = fr_xprintf("%s/freshet-proxy-XXXXXX", base != NULL ? base : "/tmp");
    if (mkdtemp(state) == NULL) {
        fprintf(stderr, "freshet proxy: %s: %s\n", state, strerror(errno));
        fr_free(state);
        return CLI_FAILED;
    }
    struct fr_buf text;
    fr_buf_init(&text, 65536);
    if (print_config(&text, state, from, from_count, to, to_count, cache, workers) == FR_OK)
        status = run_proxy(fr_buf_view(&text));
    else
        status = cli_usage("proxy", "the options are too long");
    remove_state(state);
    fr_buf_fini(&text);
    fr_free(state);
    return status;
}
