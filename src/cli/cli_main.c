/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_main.c - finds the command and runs it.
 *
 * Fingers:  -t is check, a bare -c FILE is run, as with the neighbours.
 */
#include "cli/cli.h"

#include <stdio.h>

static const struct command {
    const char *name;
    cli_command_fn fn;
    bool hidden;
    const char *synopsis, *words;
} commands[] = {
#define CLI_COMMAND_ROW(name, fn, hidden, synopsis, words) {name, fn, hidden, synopsis, words},
#include "cli/cli_commands.def"
#undef CLI_COMMAND_ROW
};
#define COMMAND_COUNT (sizeof(commands) / sizeof(commands[0]))

static const struct command *
find_command(const char *name)
{
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static void
print_help(FILE *out)
{
    fprintf(out, "Freshet %s: an HTTP edge that grows and shrinks its own clusters.\n\n"
                 "usage: freshet COMMAND [OPTIONS]\n\n",
            FRESHET_VERSION);
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        if (!commands[i].hidden)
            fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].words);
    fprintf(out, "\n`freshet help COMMAND` shows its options. A first try, without a file:\n\n"
                 "  freshet proxy --from :8080 --to 127.0.0.1:9000\n");
}

int
cli_help(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stdout);
        return CLI_DONE;
    }
    const struct command *command = find_command(argv[1]);
    if (command == NULL)
        return cli_usage("help", "no such command: %s", argv[1]);
    char help[] = "--help";
    char *help_argv[] = {argv[1], help, NULL};
    printf("usage: freshet %s %s\n\n%s\n", command->name, command->synopsis, command->words);
    return strcmp(command->name, "help") == 0 || strcmp(command->name, "version") == 0
               ? CLI_DONE
               : command->fn(2, help_argv);
}

int
cli_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("freshet %s\n", FRESHET_VERSION);
    return CLI_DONE;
}

int
cli_usage(const char *command, const char *format, ...)
{
    va_list args;
    fprintf(stderr, "freshet %s: ", command);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "\ntry `freshet help %s`\n", find_command(command) ? command : "");
    return CLI_USAGE;
}

/* `freshet -t -c FILE` and `freshet -c FILE`. */
static const char *
implied_command(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "-t") == 0)
            return "check";
    return "run";
}

int
main(int argc, char **argv)
{
    if (argc < 2) {
        print_help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "--help") == 0)
        return cli_help(1, argv);
    if (strcmp(argv[1], "-v") == 0 || strcmp(argv[1], "-V") == 0 ||
        strcmp(argv[1], "--version") == 0)
        return cli_version(1, argv);
    if (argv[1][0] == '-')
        return find_command(implied_command(argc, argv))->fn(argc, argv);
    const struct command *command = find_command(argv[1]);
    if (command == NULL) {
        fprintf(stderr, "freshet: no such command: %s\ntry `freshet help`\n", argv[1]);
        return CLI_USAGE;
    }
    return command->fn(argc - 1, argv + 1);
}
