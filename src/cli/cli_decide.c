/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_decide.c - `freshet decide`: the manager's engine on standard input and output, a line of
 * JSON a tick.
 */
#include "cli/cli.h"

#include "base/fr_mem.h"
#include "policy/policy_lines.h"

#include <stdio.h>
#include <string.h>

#define WORDS "threshold, target or forecast"

/* The next line without its end; what is too long is cut, which no parser will take. */
static bool
read_line(char *line, size_t *out_len)
{
    if (fgets(line, POLICY_LINE_BYTES_MAX + 2, stdin) == NULL)
        return false;
    size_t len = strlen(line);
    for (int c = 0; len > 0 && line[len - 1] != '\n' && c != '\n' && c != EOF;)
        c = getchar();
    while (len > 0 && (line[len - 1] == '\n' || line[len - 1] == '\r'))
        len--;
    *out_len = len;
    return true;
}

static int
decide_lines(struct policy_lines *lines, char *line)
{
    char answer[POLICY_ANSWER_BYTES];
    unsigned long long at = 0;
    size_t len;

    while (read_line(line, &len)) {
        at++;
        if (len == 0)
            continue;
        enum policy_line what = policy_lines_take(lines, (struct fr_view){line, len}, answer);
        if (what == POLICY_LINE_BAD)
            fprintf(stderr, "freshet decide: line %llu is not understood, the count holds\n", at);
        if (what != POLICY_LINE_SILENT && (fputs(answer, stdout) < 0 || fflush(stdout) != 0))
            break;
    }
    return ferror(stdout) || ferror(stdin) ? CLI_FAILED : CLI_DONE;
}

int
cli_decide(int argc, char **argv)
{
    const char *name = "forecast";
    int operands = 0;
    enum policy_kind kind;
    const struct cli_option options[] = {
        {"--policy", NULL, .text = &name, .words = WORDS " (forecast)"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands != 0)
        return cli_usage("decide", "no operand is expected, found \"%s\"", argv[1]);
    if (!policy_kind_parse(fr_view_of(name), &kind))
        return cli_usage("decide", "--policy \"%s\", expected " WORDS, name);
    struct policy_lines *lines = policy_lines_new(kind);
    char *line = fr_xalloc(POLICY_LINE_BYTES_MAX + 2);
    status = decide_lines(lines, line);
    fr_free(line);
    policy_lines_free(&lines);
    return status;
}
