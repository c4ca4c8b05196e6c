/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_cli_options.c - what a command line may look like, and what is said of one that does not.
 */
#include "cli/cli.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

struct line {
    const char *text;
    bool flag;
    const char *list[2];
    size_t list_count;
    int operands;
    char *argv[16];
    int status;
};

/* Words are separated by single spaces; "_" stands for an empty one. */
static void
take(struct line *line, const char *words)
{
    static char copy[256];
    char *rest = copy;
    int argc = 0;
    memset(line, 0, sizeof(*line));
    said[0] = '\0';
    (void)snprintf(copy, sizeof(copy), "command%s%s", *words ? " " : "", words);
    for (char *word; (word = strsep(&rest, " ")) != NULL;)
        line->argv[argc++] = strcmp(word, "_") == 0 ? word + 1 : word;
    const struct cli_option options[] = {
        {"--text", "-t", .text = &line->text, .words = "a text"},
        {"--flag", "-f", .flag = &line->flag, .words = "a flag"},
        {"--many", NULL, .list = line->list, .list_count = &line->list_count, .list_max = 2,
         .words = "a list"},
        {.name = NULL},
    };
    line->status = cli_options(argc, line->argv, options, &line->operands);
}

static void
options_in_every_spelling(void **state)
{
    static const char *const lines[] = {"--text a --flag", "--flag -t a", "-f --text=a"};
    struct line line;
    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        take(&line, lines[i]);
        assert_int_equal(line.status, CLI_DONE);
        assert_string_equal(line.text, "a");
        assert_true(line.flag);
        assert_int_equal(line.operands, 0);
    }
    take(&line, "");
    assert_int_equal(line.status, CLI_DONE);
    assert_null(line.text);
    assert_false(line.flag);
    take(&line, "--text=");
    assert_string_equal(line.text, "");
    take(&line, "--text _");
    assert_string_equal(line.text, "");
    take(&line, "--text=a=b --text -f"); /* the last counts; a value may look like an option */
    assert_string_equal(line.text, "-f");
    assert_false(line.flag);
}

static void
operands_stand_anywhere(void **state)
{
    struct line line;
    (void)state;
    take(&line, "one -f two --text a - three");
    assert_int_equal(line.status, CLI_DONE);
    assert_int_equal(line.operands, 4);
    assert_string_equal(line.argv[1], "one");
    assert_string_equal(line.argv[2], "two");
    assert_string_equal(line.argv[3], "-"); /* standard input, by custom */
    assert_string_equal(line.argv[4], "three");
    take(&line, "one -- -f --text --");
    assert_int_equal(line.status, CLI_DONE);
    assert_int_equal(line.operands, 4);
    assert_string_equal(line.argv[2], "-f");
    assert_string_equal(line.argv[4], "--");
    assert_false(line.flag);
    take(&line, "_ a");
    assert_int_equal(line.operands, 2);
    assert_string_equal(line.argv[1], "");
}

static void
lists_have_an_end(void **state)
{
    struct line line;
    (void)state;
    take(&line, "--many a --many=b");
    assert_int_equal(line.status, CLI_DONE);
    assert_int_equal(line.list_count, 2);
    assert_string_equal(line.list[0], "a");
    assert_string_equal(line.list[1], "b");
    take(&line, "--many a --many b --many c");
    assert_int_equal(line.status, CLI_USAGE);
    assert_non_null(strstr(said, "at most 2"));
    assert_int_equal(line.list_count, 2);
}

static void
mistakes_are_named(void **state)
{
    static const struct {
        const char *line, *words;
    } rows[] = {
        {"--text", "--text needs a value"},
        {"-t", "--text needs a value"},
        {"--flag=yes", "--flag takes no value"},
        {"--flag=", "--flag takes no value"},
        {"--nope", "unknown option: --nope"},
        {"--tex a", "unknown option: --tex"}, /* no guessing */
        {"--textual a", "unknown option: --textual"},
        {"-t=a", "unknown option: -t=a"},
        {"-ft", "unknown option: -ft"},
        {"--", ""},
    };
    struct line line;
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        take(&line, rows[i].line);
        assert_int_equal(line.status, rows[i].words[0] ? CLI_USAGE : CLI_DONE);
        assert_string_equal(said, rows[i].words);
    }
}

/* Those that every command has that talks https are kept in the environment. */
static void
access_needs_a_value(void **state)
{
    const struct cli_option options[] = {CLI_OPTIONS_OF_HTTPS, {.name = NULL}};
    char command[] = "command", option[] = "--ca", value[] = "a.pem";
    char *argv[] = {command, option, value};
    int operands = 0;
    (void)state;
    said[0] = '\0';
    assert_int_equal(unsetenv("FRESHET_CA"), 0);
    assert_int_equal(cli_options(2, argv, options, &operands), CLI_USAGE);
    assert_string_equal(said, "--ca needs a value");
    assert_null(getenv("FRESHET_CA"));
    assert_int_equal(cli_options(3, argv, options, &operands), CLI_DONE);
    assert_string_equal(getenv("FRESHET_CA"), "a.pem");
}

static void
numbers_within_bounds(void **state)
{
    static const char *const bad[] = {"", "0", "11", "-1", "+5", " 5", "5 ", "5x", "0x5", "1e1",
                                      "18446744073709551616", "99999999999999999999999"};
    uint64_t out = 0;
    (void)state;
    assert_true(cli_number("c", "--n", "1", 1, 10, &out));
    assert_int_equal(out, 1);
    assert_true(cli_number("c", "--n", "10", 1, 10, &out));
    assert_int_equal(out, 10);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        said[0] = '\0';
        if (cli_number("c", "--n", bad[i], 1, 10, &out))
            fail_msg("taken for a number: \"%s\"", bad[i]);
        assert_non_null(strstr(said, "from 1 to 10"));
    }
}

static void
log_options_are_checked(void **state)
{
    (void)state;
    assert_false(cli_log_options("c", "xml", NULL));
    assert_non_null(strstr(said, "\"xml\", expected auto, human or json"));
    assert_false(cli_log_options("c", NULL, "loud"));
    assert_non_null(strstr(said, "\"loud\", expected debug, info, warn or error"));
    assert_false(cli_log_options("c", "", ""));
    assert_true(cli_log_options("c", "json", "error"));
    assert_true(cli_log_options("c", NULL, NULL));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_in_every_spelling), cmocka_unit_test(operands_stand_anywhere),
        cmocka_unit_test(lists_have_an_end),         cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(access_needs_a_value),
        cmocka_unit_test(numbers_within_bounds),     cmocka_unit_test(log_options_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
