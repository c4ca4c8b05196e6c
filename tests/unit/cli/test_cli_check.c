/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli_check.c - what a file looks like it is for, and the exit codes of `freshet check`.
 */
#include "base/fr_mem.h"
#include "cli/cli.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char said[512]; /* by cli_usage */

int
cli_usage(const char *command, const char *format, ...)
{
    va_list args;
    (void)command;
    va_start(args, format);
    (void)vsnprintf(said, sizeof(said), format, args);
    va_end(args);
    return CLI_USAGE;
}

struct files {
    char folder[64], file[96], out[96];
    char printed[8192]; /* by the last check, both streams */
};

static int
set_up(void **state)
{
    struct files *files = fr_xalloc(sizeof(*files));
    (void)snprintf(files->folder, sizeof(files->folder), "/tmp/test-check-XXXXXX");
    if (mkdtemp(files->folder) == NULL)
        return -1;
    (void)snprintf(files->file, sizeof(files->file), "%s/f.yaml", files->folder);
    (void)snprintf(files->out, sizeof(files->out), "%s/out", files->folder);
    *state = files;
    return 0;
}

static int
tear_down(void **state)
{
    struct files *files = *state;
    char command[96];
    (void)snprintf(command, sizeof(command), "rm -rf -- %s", files->folder);
    fr_free(files);
    return system(command) == 0 ? 0 : -1;
}

static void
write_file(struct files *files, const char *text)
{
    FILE *file = fopen(files->file, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int
run(struct files *files, int argc, char **argv)
{
    int kept[2] = {dup(1), dup(2)};
    int out = open(files->out, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(out >= 0 && kept[0] >= 0 && kept[1] >= 0);
    (void)fflush(stdout);
    assert_true(dup2(out, 1) >= 0 && dup2(out, 2) >= 0);
    said[0] = '\0';
    int status = cli_check(argc, argv);
    (void)fflush(stdout);
    assert_true(dup2(kept[0], 1) >= 0 && dup2(kept[1], 2) >= 0);
    ssize_t len = pread(out, files->printed, sizeof(files->printed) - 1, 0);
    assert_true(len >= 0);
    files->printed[len] = '\0';
    close(kept[0]);
    close(kept[1]);
    close(out);
    return status;
}

static int
check(struct files *files, const char *text, const char *role)
{
    char *argv[] = {"check", "-c", files->file, "--role", (char *)(uintptr_t)role, NULL};
    write_file(files, text);
    return run(files, role ? 5 : 3, argv);
}

#define MANAGER "manager: { listen: \"unix:./m.sock\" }\n"
#define CONNECT "manager: { connect: \"unix:./m.sock\" }\n"
#define CLUSTERS "routes: [{ cluster: web }]\nclusters: { web: { members: [\"127.0.0.1:9\"] } }\n"
#define POOLS                                                                                      \
    "clusters: { api: { scale: { from: rack } } }\n"                                               \
    "pools: { rack: { provider: static, servers: [\"127.0.0.1:9\"] } }\n"
#define AGENT "agent: { server: web-1 }\n" CONNECT

/* Each is fine for what it looks like, and lacks something for another role. */
static void
a_file_tells_what_it_is_for(void **state)
{
    static const struct {
        const char *text, *wrong_role;
    } rows[] = {
        {"listen: 127.0.0.1:8080\n" CLUSTERS, "manager"},
        {MANAGER, "edge"},
        {AGENT, "edge"},
        {CONNECT POOLS, "manager"},
        {MANAGER POOLS, "edge"},
    };
    struct files *files = *state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (check(files, rows[i].text, NULL) != CLI_DONE)
            fail_msg("%s\n%s", rows[i].text, files->printed);
        assert_non_null(strstr(files->printed, "fine"));
        if (check(files, rows[i].text, rows[i].wrong_role) != CLI_CONFIG)
            fail_msg("fine for %s:\n%s", rows[i].wrong_role, rows[i].text);
        assert_null(strstr(files->printed, "fine"));
    }
}

/* A mistake elsewhere does not make it a file for something else, with errors of another role. */
static void
a_file_with_mistakes_too(void **state)
{
    struct files *files = *state;
    assert_int_equal(check(files, "agent: { server: web-1, intervall: 1s }\n" CONNECT, NULL),
                     CLI_CONFIG);
    assert_non_null(strstr(files->printed, "intervall"));
    assert_null(strstr(files->printed, "listen"));
    assert_int_equal(check(files, "a: [\n", NULL), CLI_CONFIG);
    assert_int_equal(check(files, "", NULL), CLI_CONFIG);
    assert_int_equal(check(files, "- just\n- a list\n", NULL), CLI_CONFIG);
    assert_non_null(strstr(files->printed, "f.yaml:1:1"));
}

static void
usage_and_missing_files(void **state)
{
    struct files *files = *state;
    char *no_file[] = {"check", "/nowhere/freshet.yaml", NULL};
    char *two[] = {"check", "a.yaml", "b.yaml", NULL};
    char *role[] = {"check", "--role", "boss", files->file, NULL};
    assert_int_equal(run(files, 2, no_file), CLI_CONFIG);
    assert_non_null(strstr(files->printed, "/nowhere/freshet.yaml"));
    assert_int_equal(run(files, 3, two), CLI_USAGE);
    assert_non_null(strstr(said, "b.yaml"));
    write_file(files, "listen: 127.0.0.1:8080\n" CLUSTERS);
    assert_int_equal(run(files, 4, role), CLI_USAGE);
    assert_non_null(strstr(said, "\"boss\""));
    char *operand[] = {"check", files->file, NULL};
    assert_int_equal(run(files, 2, operand), CLI_DONE);
}

#define WITH_FILES(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_FILES(a_file_tells_what_it_is_for),
        WITH_FILES(a_file_with_mistakes_too),
        WITH_FILES(usage_and_missing_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
