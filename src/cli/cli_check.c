/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_check.c - `freshet check`: what is wrong with a file, all of it, without starting anything.
 */
#include "cli/cli.h"

#include "base/fr_file.h"

#include <stdio.h>

static const struct {
    const char *name;
    enum config_role role;
} roles[] = {
    {"run", CONFIG_ROLE_RUN},         {"edge", CONFIG_ROLE_EDGE},
    {"manager", CONFIG_ROLE_MANAGER}, {"agent", CONFIG_ROLE_AGENT},
    {"allocator", CONFIG_ROLE_ALLOCATOR},
};

static bool
has_section(const struct config_tree *tree, const char *key)
{
    return tree->root != NULL && tree->root->kind == CONFIG_MAPPING &&
           config_node_get(tree->root, key) != NULL;
}

/* What the file looks like it is for, so that `freshet check` needs no option. */
static enum config_role
role_of_file(const char *file)
{
    struct fr_buf text;
    struct config_diag diag;
    struct config_tree tree;
    enum config_role role = CONFIG_ROLE_RUN;
    fr_buf_init(&text, (size_t)4 << 20);
    config_diag_init(&diag);
    config_tree_init(&tree);
    enum fr_err err = fr_file_read(file, &text, NULL);
    if (err == FR_OK)
        err = config_tree_parse(fr_buf_view(&text), &diag, &tree);
    /* A file with mistakes tells what it is for as well, as long as it makes a tree. */
    if ((err == FR_OK || err == FR_ERR_CONFIG) && tree.root != NULL) {
        if (has_section(&tree, "listen"))
            role = CONFIG_ROLE_RUN;
        else if (has_section(&tree, "agent"))
            role = CONFIG_ROLE_AGENT;
        else if (has_section(&tree, "pools") && has_section(&tree, "manager"))
            role = config_node_get(config_node_get(tree.root, "manager"), "connect") != NULL
                       ? CONFIG_ROLE_ALLOCATOR
                       : CONFIG_ROLE_MANAGER;
        else if (has_section(&tree, "manager"))
            role = CONFIG_ROLE_MANAGER;
    }
    config_tree_fini(&tree);
    config_diag_fini(&diag);
    fr_buf_fini(&text);
    return role;
}

int
cli_check(int argc, char **argv)
{
    const char *file = CLI_FILE_DEFAULT, *role_name = NULL;
    bool test = false;
    int operands = 0;
    const struct cli_option options[] = {
        {"--config", "-c", .text = &file, .words = "the configuration file (freshet.yaml)"},
        {"--role", NULL, .text = &role_name,
         .words = "run, edge, manager, agent or allocator; default: what the file looks like"},
        {"--test", "-t", .flag = &test, .words = "what this command does anyway"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands > 1)
        return cli_usage("check", "unexpected: %s", argv[2]);
    if (operands == 1)
        file = argv[1];
    enum config_role role = role_of_file(file);
    if (role_name != NULL) {
        size_t i = 0;
        while (i < sizeof(roles) / sizeof(roles[0]) && strcmp(roles[i].name, role_name) != 0)
            i++;
        if (i == sizeof(roles) / sizeof(roles[0]))
            return cli_usage("check", "--role: found \"%s\", expected run, edge, manager, agent or "
                                      "allocator", role_name);
        role = roles[i].role;
    }
    struct config *config = cli_load(file, role, &status);
    if (config == NULL)
        return status;
    printf("%s: fine\n", file);
    config_free(&config);
    return CLI_DONE;
}
