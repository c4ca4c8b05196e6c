/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_tables.h - a running edge's status as tables.
 */
#ifndef CLI_TABLES_H
#define CLI_TABLES_H

#include <stdbool.h>

/* Asks and prints; an exit code. */
int cli_print_status(const char *address, bool json, bool clusters_only);

#endif
