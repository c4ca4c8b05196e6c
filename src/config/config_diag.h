/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_diag.h - errors with a place and a remedy, collected, so that one run shows all of them.
 *
 *     freshet.yaml:12:9: unknown key "uper" in clusters.web.scale, expected one of from, min, …
 *     (did you mean "upper"?)
 *             uper: 0.8
 *             ^
 *
 * May touch:  base.
 * Memory:     owns copies of the name, the source and every text; 100 entries at most.
 * Trusts:     nothing that is quoted: control characters are replaced.
 */
#ifndef CONFIG_DIAG_H
#define CONFIG_DIAG_H

#include "base/fr_buf.h"

#define CONFIG_DIAG_ENTRIES_MAX 100

struct config_diag_entry {
    unsigned line, column; /* from 1; 0: the file as a whole */
    bool warning;          /* loads all the same */
    char *text;            /* what was found, what was expected, what to do */
};

struct config_diag {
    char *name;   /* the file's, as in messages */
    char *source; /* its text, for the quoted line; may be NULL */
    struct config_diag_entry *entries;
    size_t entry_count;
    size_t entry_cap;
    size_t error_count; /* warnings are not counted; those dropped are */
    size_t dropped;     /* entries past the first CONFIG_DIAG_ENTRIES_MAX */
};

void config_diag_init(struct config_diag *diag);
void config_diag_fini(struct config_diag *diag);
void config_diag_source(struct config_diag *diag, const char *name, struct fr_view source);
__attribute__((format(printf, 4, 5))) void
config_diag_add(struct config_diag *diag, unsigned line, unsigned column, const char *format, ...);
/* The same, but nothing that stops the file from loading; printed with "warning: ". */
__attribute__((format(printf, 4, 5))) void
config_diag_warn(struct config_diag *diag, unsigned line, unsigned column, const char *format, ...);
/* All entries in order of place, each with its line and a caret. The one printer. */
FR_MUST_USE enum fr_err config_diag_print(const struct config_diag *diag, struct fr_buf *out);
/* The first error (if there is none, the first warning) without its quoted line, for logs, results
 * and HTTP answers. */
FR_MUST_USE enum fr_err config_diag_print_first(const struct config_diag *diag, struct fr_buf *out);

#endif
