/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli.h - the commands: one row in cli_commands.def, one file cli_NAME.c each.
 *
 * Exit codes: 0 done, 1 failed, 2 usage, 3 configuration.
 */
#ifndef CLI_H
#define CLI_H

#include "base/fr_buf.h"
#include "config/config.h"
#include "loop/loop.h"

enum cli_exit { CLI_DONE = 0, CLI_FAILED = 1, CLI_USAGE = 2, CLI_CONFIG = 3 };

#define CLI_FILE_DEFAULT "freshet.yaml"

/* argv[0] is the command's name. */
typedef int (*cli_command_fn)(int argc, char **argv);

#define CLI_COMMAND_ROW(name, fn, hidden, synopsis, words) int fn(int argc, char **argv);
#include "cli/cli_commands.def"
#undef CLI_COMMAND_ROW

/* ---- options ------------------------------------------------------------------------------- */

/* One option of a command. With a value: `text` is set, or `list` appended to. Without: `flag`. */
struct cli_option {
    const char *name;  /* "--count" */
    const char *other; /* a second spelling such as "-n", or NULL */
    const char **text;
    bool *flag;
    const char **list; /* room for list_max entries */
    size_t *list_count;
    size_t list_max;
    const char *words;
};
/* In a table: the command talks to a running Freshet, also over https, and takes --ca, --cert,
 * --key, --name and --token-file (cli_tls.h). */
#define CLI_OPTIONS_OF_HTTPS                                                                       \
    {                                                                                              \
        .name = ""                                                                                 \
    }
/* Takes options out of argv and leaves the operands (*out_operand_count of them, from argv[1] on).
 * -h/--help prints the command's help and exits 0. Returns CLI_DONE, or CLI_USAGE after saying why.
 * options ends with a row whose name is NULL. */
int cli_options(int argc, char **argv, const struct cli_option *options, int *out_operand_count);
int cli_usage(const char *command, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* --log-format and --log-level, NULL for the defaults; false after saying what was expected. */
bool cli_log_options(const char *command, const char *format, const char *level);

/* ---- configuration ------------------------------------------------------------------------- */

/* Prints every error to stderr; NULL and *out_exit on failure. Warnings are printed too. */
struct config *cli_load(const char *path, enum config_role role, int *out_exit);
void cli_print_diag(const struct config_diag *diag);
/* A whole number from low to high; false after saying what was expected. */
bool cli_number(const char *command, const char *option, const char *text, uint64_t low,
                uint64_t high, uint64_t *out);

/* ---- the long-running roles ---------------------------------------------------------------- */

#define CLI_STOP_DEADLINE_US 30000000 /* for finishing what is under way */

struct cli_service_ops {
    const char *name;
    /* Owns config, even on failure; *out_why (fr_free) says what went wrong. */
    enum fr_err (*create)(struct loop *loop, struct config *config, struct config_diag *diag,
                          void **out, char **out_why);
    enum fr_err (*start)(void *self, char **out_why);
    enum fr_err (*reload)(void *self, struct config *config, struct config_diag *diag,
                          char **out_why);
    void (*stop)(void *self, int64_t deadline_us, loop_fn fn, void *ctx);
    void (*reopen)(void *self); /* SIGUSR1: log files; NULL: there are none */
    void (*free)(void **self);
};
struct cli_service_options {
    const char *file; /* NULL: `config` is given and cannot be re-read */
    struct config *config;
    enum config_role role;
    int ready_fd; /* written to and closed once started; -1 = none */
};
/* Until a signal ends it: SIGTERM or SIGINT drains, a second one stops now, SIGHUP re-reads. */
int cli_service_run(const struct cli_service_ops *ops, const struct cli_service_options *options);
/* Parses -c and the log options, loads, and runs: the whole of `freshet edge` and its like. */
int cli_service_main(int argc, char **argv, const struct cli_service_ops *ops,
                     enum config_role role);
extern const struct cli_service_ops cli_edge_ops;

/* Takes the state folder for `freshet run`, waiting for what an earlier one left running; false
 * after saying why not. The children inherit *out_children_fd. */
bool cli_run_lock(const char *state, int *out_parent_fd, int *out_children_fd);

/* ---- talking to a running Freshet ----------------------------------------------------------- */

/* The admin address: --admin, else the file's, else the default of a file-less start. Writes into
 * out; false after saying why. */
bool cli_admin_address(const char *admin, const char *file, char *out, size_t out_bytes);
bool cli_manager_address(const char *manager, const char *file, char *out, size_t out_bytes);
/* One call; prints the error of a failed one. The answer's body is appended to out. */
bool cli_call(const char *address, const char *method, const char *path, int64_t timeout_us,
              struct fr_buf *out);

#endif
