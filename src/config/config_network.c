/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_network.c - the type that is a list of networks, and what the file must say about whom it
 * believes.
 *
 * May touch:  base, loop (addresses).
 * When full:  an error with the bound in it.
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <sys/un.h>

static bool
parse_one(struct config__reader *reader, const struct config__row *row,
          const struct config_node *node, struct loop_net *out)
{
    char meant[LOOP_NET_TEXT_BYTES];
    enum fr_err err =
        node->kind == CONFIG_SCALAR ? loop_net_parse(node->value, out) : FR_ERR_SYNTAX;
    if (!err)
        return true;
    if (err != FR_ERR_RANGE)
        return config__bad_value(reader, row, node);
    loop_net_format(out, meant);
    return config__bad(reader, row, node,
                       "is \"%.*s\", which has bits behind its prefix, expected %s or a single "
                       "address",
                       FR_VIEW_ARG(node->value), meant);
}

bool
config__parse_networks(struct config__reader *reader, const struct config__row *row,
                       const struct config_node *node, void *field)
{
    struct config__array *array = field;
    bool single = node->kind != CONFIG_SEQUENCE, good = true;
    size_t count = single ? 1 : node->child_count;
    if (count > CONFIG_NETWORKS_MAX)
        return config__bad(reader, row, node, "has %zu entries, expected at most %d", count,
                           CONFIG_NETWORKS_MAX);
    if (count == 0)
        return true; /* nobody, said aloud */
    struct loop_net *list = fr_xalloc(count * sizeof(*list));
    const struct config_node *item = single ? node : node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next)
        good = parse_one(reader, row, item, &list[i]) && good;
    fr_insist(array->items == NULL); /* config__read_scope takes a key once */
    array->items = list;
    array->count = count;
    return good;
}

/* An item of a list of listeners, or the value that stands for the only one. */
static void
refuse_listener(struct config__reader *reader, const struct config_node *list, size_t index,
                const char *words)
{
    const struct config_node *node = list;
    if (node && node->kind == CONFIG_SEQUENCE)
        for (node = node->first_child; node && index > 0; index--)
            node = node->next;
    config_diag_add(reader->diag, node ? node->line : 0, node ? node->column : 0, "%s", words);
}

static void
check_listeners(struct config__reader *reader, const struct config_node *root,
                const struct config *config)
{
    const struct config_manager *manager = &config->manager;
    for (size_t i = 0; i < config->listen_count; i++)
        if (config->listen[i].proxy_protocol && config->trusted_count == 0)
            refuse_listener(reader, config__given(root, "listen"), i,
                            "listen has proxy-protocol, but nobody is trusted to use it, expected "
                            "trusted-proxies");
    for (size_t i = 0; i < manager->listen_count; i++)
        if (manager->listen[i].proxy_protocol)
            refuse_listener(reader, config__given(root, "manager.listen"), i,
                            "manager.listen has proxy-protocol, which the stream does not know, "
                            "expected it in listen only");
    for (size_t i = 0; i < manager->listen_count; i++)
        if (manager->listen[i].defer > CONFIG_DEFER_OFF)
            refuse_listener(reader, config__given(root, "manager.listen"), i,
                            "manager.listen has defer-accept, which would save it nothing, "
                            "expected it in listen only");
}

void
config__check_trust(struct config__reader *reader, const struct config_node *root,
                    const struct config *config)
{
    const size_t socket_max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    const char *socket = config->access_log.socket;
    check_listeners(reader, root, config);
    const struct config_node *log = config__given(root, "access-log");
    if (log && log->kind == CONFIG_MAPPING && !config_node_get(log, "to"))
        config_diag_add(reader->diag, log->line, log->column,
                        "access-log has no to, expected a file, stderr, syslog or off");
    if (root && socket && strlen(socket) > socket_max) {
        const struct config_node *place = config__place(root, "access-log.socket");
        config_diag_add(reader->diag, place->line, place->column,
                        "access-log.socket has %zu bytes, expected at most %zu", strlen(socket),
                        socket_max);
    }
}
