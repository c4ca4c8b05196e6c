/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_options.c - what the commands' command lines have in common.
 */
#include "cli/cli.h"

#include "base/fr_log.h"

#include <stdio.h>
#include <stdlib.h>

/* How to talk over TLS to a running Freshet: known to every command that says so, and kept where
 * the environment may have put them, so that no command has to carry them. */
static const struct {
    const char *option, *variable, *words;
} access_rows[] = {
    {"--ca", "FRESHET_CA", "https: PEM file of the authorities to believe"},
    {"--cert", "FRESHET_CERT", "https: PEM file of our certificate"},
    {"--key", "FRESHET_KEY", "https: PEM file of its key"},
    {"--name", "FRESHET_NAME", "https: the name its certificate must have, not the host"},
    {"--token-file", "FRESHET_TOKEN_FILE", "file with a bearer token"},
};

static bool
talks_https(const struct cli_option *options)
{
    for (; options->name != NULL; options++)
        if (options->name[0] == '\0')
            return true;
    return false;
}

static void
print_options(const struct cli_option *options)
{
    bool talks = talks_https(options);
    printf("\noptions:\n");
    for (; options->name != NULL; options++) {
        char spelling[64];
        if (options->name[0] == '\0')
            continue;
        (void)snprintf(spelling, sizeof(spelling), "%s%s%s%s", options->other ? options->other : "",
                       options->other ? ", " : "", options->name, options->flag ? "" : " VALUE");
        printf("  %-24s %s\n", spelling, options->words);
    }
    for (size_t i = 0; talks && i < sizeof(access_rows) / sizeof(access_rows[0]); i++) {
        char spelling[64];
        (void)snprintf(spelling, sizeof(spelling), "%s VALUE", access_rows[i].option);
        printf("  %-24s %s\n", spelling, access_rows[i].words);
    }
}

static bool
spelled(const struct cli_option *option, const char *text, const char **out_value)
{
    size_t len = strlen(option->name);
    *out_value = NULL;
    if (strcmp(text, option->name) == 0 ||
        (option->other != NULL && strcmp(text, option->other) == 0))
        return true;
    if (strncmp(text, option->name, len) != 0 || text[len] != '=')
        return false;
    *out_value = text + len + 1;
    return true;
}

static int
take_option(const char *command, const struct cli_option *option, const char *inline_value,
            int argc, char **argv, int *at)
{
    if (option->flag != NULL) {
        if (inline_value != NULL)
            return cli_usage(command, "%s takes no value", option->name);
        *option->flag = true;
        return CLI_DONE;
    }
    const char *value = inline_value;
    if (value == NULL && *at + 1 < argc)
        value = argv[++*at];
    if (value == NULL)
        return cli_usage(command, "%s needs a value", option->name);
    if (option->list == NULL) {
        *option->text = value;
        return CLI_DONE;
    }
    if (*option->list_count == option->list_max)
        return cli_usage(command, "%s is given too often (at most %zu)", option->name,
                         option->list_max);
    option->list[(*option->list_count)++] = value;
    return CLI_DONE;
}

/* False: it is none of them. */
static bool
take_access(const struct cli_option *options, int argc, char **argv, int *index, int *out_status)
{
    const char *text = argv[*index];
    for (size_t i = 0; i < sizeof(access_rows) / sizeof(access_rows[0]); i++) {
        size_t len = strlen(access_rows[i].option);
        if (strncmp(text, access_rows[i].option, len) != 0 ||
            (text[len] != '\0' && text[len] != '=') || !talks_https(options))
            continue;
        const char *value = text[len] == '='    ? text + len + 1
                            : *index + 1 < argc ? argv[++*index]
                                                : NULL;
        *out_status = CLI_DONE;
        if (value == NULL)
            *out_status = cli_usage(argv[0], "%s needs a value", access_rows[i].option);
        else if (setenv(access_rows[i].variable, value, 1) != 0)
            *out_status = CLI_FAILED;
        return true;
    }
    return false;
}

int
cli_options(int argc, char **argv, const struct cli_option *options, int *out_operand_count)
{
    const char *command = argv[0];
    int operands = 0;
    bool only_operands = false;
    for (int i = 1; i < argc; i++) {
        const char *value = NULL;
        if (only_operands || argv[i][0] != '-' || argv[i][1] == '\0') {
            argv[++operands] = argv[i];
            continue;
        }
        if (strcmp(argv[i], "--") == 0) {
            only_operands = true;
            continue;
        }
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            print_options(options);
            exit(CLI_DONE);
        }
        int status = CLI_DONE;
        if (take_access(options, argc, argv, &i, &status)) {
            if (status != CLI_DONE)
                return status;
            continue;
        }
        const struct cli_option *option = options;
        while (option->name != NULL && !spelled(option, argv[i], &value))
            option++;
        if (option->name == NULL)
            return cli_usage(command, "unknown option: %s", argv[i]);
        status = take_option(command, option, value, argc, argv, &i);
        if (status != CLI_DONE)
            return status;
    }
    *out_operand_count = operands;
    return CLI_DONE;
}

bool
cli_number(const char *command, const char *option, const char *text, uint64_t low, uint64_t high,
           uint64_t *out)
{
    if (fr_view_u64(fr_view_of(text), out) && *out >= low && *out <= high)
        return true;
    (void)cli_usage(command, "%s: found \"%s\", expected a whole number from %llu to %llu", option,
                    text, (unsigned long long)low, (unsigned long long)high);
    return false;
}

void
cli_print_diag(const struct config_diag *diag)
{
    struct fr_buf text;
    fr_buf_init(&text, (size_t)1 << 20);
    if (config_diag_print(diag, &text) == FR_OK && text.len)
        fputs(text.data, stderr);
    fr_buf_fini(&text);
}

struct config *
cli_load(const char *path, enum config_role role, int *out_exit)
{
    struct config_diag diag;
    struct config *config = NULL;
    config_diag_init(&diag);
    enum fr_err err = config_load(path, role, &diag, &config);
    cli_print_diag(&diag);
    config_diag_fini(&diag);
    if (err == FR_OK)
        return config;
    *out_exit = CLI_CONFIG;
    return NULL;
}

bool
cli_log_options(const char *command, const char *format, const char *level)
{
    static const char *const formats[] = {"auto", "human", "json"};
    static const char *const levels[] = {"debug", "info", "warn", "error"};
    int shape = 0, least = 1;
    if (format != NULL)
        for (shape = 2; shape >= 0 && strcmp(formats[shape], format) != 0; shape--)
            ;
    if (level != NULL)
        for (least = 3; least >= 0 && strcmp(levels[least], level) != 0; least--)
            ;
    if (shape < 0)
        (void)cli_usage(command, "--log-format: found \"%s\", expected auto, human or json",
                        format);
    if (least < 0)
        (void)cli_usage(command, "--log-level: found \"%s\", expected debug, info, warn or error",
                        level);
    if (shape < 0 || least < 0)
        return false;
    fr_log_setup((enum fr_log_level)least, (enum fr_log_shape)shape);
    return true;
}
