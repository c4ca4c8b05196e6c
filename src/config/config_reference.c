/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_reference.c - the rows as the reference page, docs/configuration.md.
 *
 * May touch:  base.
 */
#include "config/config_priv.h"

static const char intro[] =
    "# Configuration reference\n"
    "\n"
    "<!-- Printed from src/config/options.def; do not edit. -->\n"
    "\n"
    "Freshet reads one YAML file, `freshet.yaml` unless `-c FILE` says otherwise. "
    "`freshet check -c FILE`\n"
    "reads it without starting anything and shows every mistake with its place. After a change,\n"
    "SIGHUP makes a running Freshet read it again, all or nothing.\n"
    "\n"
    "The smallest useful file:\n"
    "\n"
    "```yaml\n"
    "listen: 127.0.0.1:8080\n"
    "routes: [{ cluster: web }]\n"
    "clusters: { web: { members: [\"127.0.0.1:9000\"] } }\n"
    "```\n"
    "\n"
    "## Notation\n"
    "\n"
    "- Durations have a unit: `us`, `ms`, `s`, `min`, `h`, `d`. Only `0` may stand alone.\n"
    "- Bytes may have one: `KiB`, `MiB`, `GiB`, or decimal `kB`, `MB`, `GB`.\n"
    "- Shares are numbers from 0 to 1, or per cent: `0.8` is `80%`.\n"
    "- Names consist of letters, digits, `.`, `_` and `-`, begin with a letter or digit, and have\n"
    "  at most 63 characters.\n"
    "- Addresses are `HOST:PORT`, `[IPV6]:PORT` or `unix:PATH`; where Freshet listens, `:PORT` is\n"
    "  every interface. Relative paths start in the folder Freshet runs in.\n"
    "- Anchors, aliases, tags, a second document and a key given twice are errors.\n";

static const char *const titles[CONFIG_SCOPE_COUNT] = {
    [CONFIG_SCOPE_FILE] = "The file",
    [CONFIG_SCOPE_LISTEN] = "A listener (an item of `listen` and `manager.listen`)",
    [CONFIG_SCOPE_CERTIFICATE] = "A certificate (an item of `tls.certificates`)",
    [CONFIG_SCOPE_ROUTE] = "A route (an item of `routes`)",
    [CONFIG_SCOPE_MEMBER] = "A member (an item of `members` and `servers`)",
    [CONFIG_SCOPE_WINDOW] = "A window (an item of `scale.schedule`)",
    [CONFIG_SCOPE_CLUSTER] = "A cluster (a value of `clusters`)",
    [CONFIG_SCOPE_POOL] = "A pool (a value of `pools`)",
    [CONFIG_SCOPE_PEER] = "A peer (an item of `manager.peers`)",
    [CONFIG_SCOPE_USER] = "A user (an item of `admin.users`)",
};

static enum fr_err
print_row(const struct config__row *row, struct fr_buf *out)
{
    enum fr_err err = fr_buf_printf(out, "\n### `%s`\n\n%s\n\nTakes ", row->path, row->words);
    if (!err)
        err = config__row_expected(row, out);
    if (!err && row->type == CONFIG_TYPE_COUNT)
        err = fr_buf_printf(out, " (%s)", row->unit);
    if (!err && config__row_is_computed(row))
        err = fr_buf_printf(out, ". Default: %.*s", (int)strlen(row->default_text) - 2,
                            row->default_text + 1);
    else if (!err && row->default_text[0])
        err = fr_buf_printf(out, ". Default: `%s`", row->default_text);
    return err ? err
               : fr_buf_printf(out, ". In force after a %s.\n",
                               row->when == CONFIG_WHEN_LIVE ? "reload" : "restart");
}

enum fr_err
config_reference_print(struct fr_buf *out)
{
    enum fr_err err = fr_buf_append(out, intro, sizeof(intro) - 1);
    for (int scope = 0; scope < CONFIG_SCOPE_COUNT && !err; scope++) {
        err = fr_buf_printf(out, "\n## %s\n", titles[scope]);
        for (size_t i = 0; i < config__row_count && !err; i++)
            if (config__rows[i].scope == (enum config__scope)scope)
                err = print_row(&config__rows[i], out);
    }
    return err;
}
