/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_access.c - who may do what: manager.tls, manager.peers, admin.tls, admin.users.
 *
 * May touch:  base, loop (addresses), tls and by that the files that are named.
 * When full:  CONFIG_PEERS_MAX rows; more are an error.
 */
#include "config/config_priv.h"

#include "base/fr_mem.h"

#include <ctype.h>

#define NAME_TEXT_MAX 253 /* of a host, which is the longest of the names */

/* ---- names -------------------------------------------------------------------------------- */

void
config__names_free(char ***names)
{
    for (char **name = *names; name && *name; name++)
        fr_free(*name);
    fr_free(*names);
    *names = NULL;
}

static bool
is_name(struct fr_view text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (!isalnum(c) && c != '.' && c != '_' && c != '-' && !(c == '*' && i + 1 == text.len))
            return false;
    }
    return text.len > 0 && text.len <= NAME_TEXT_MAX;
}

bool
config__parse_names(struct config__reader *reader, const struct config__row *row,
                    const struct config_node *node, void *field)
{
    char ***names = field;
    bool single = node->kind == CONFIG_SCALAR;
    if (node->kind == CONFIG_MAPPING || node->child_count > CONFIG_PEERS_MAX)
        return config__bad_value(reader, row, node);
    size_t count = single ? 1 : node->child_count;
    const struct config_node *item = single ? node : node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next)
        if (item->kind != CONFIG_SCALAR || !is_name(item->value))
            return config__bad_value(reader, row, item);
    config__names_free(names);
    *names = fr_xalloc((count + 1) * sizeof(**names));
    item = single ? node : node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next)
        (*names)[i] = fr_xstrndup(item->value.ptr, item->value.len);
    return true;
}

bool
config_name_matches(const char *pattern, struct fr_view names)
{
    struct fr_view want = fr_view_of(pattern), name;
    bool open = want.len > 0 && want.ptr[want.len - 1] == '*';
    if (open)
        want.len--;
    while (fr_view_split(&names, ' ', &name))
        if (name.len > 0 && (open ? fr_view_starts(name, want) : fr_view_eq(name, want)))
            return true;
    return false;
}

bool
config_names_have(char *const *names, struct fr_view name, bool all)
{
    if (!names)
        return all;
    for (; *names; names++)
        if (strcmp(*names, "*") == 0 || fr_view_is(name, *names))
            return true;
    return false;
}

/* ---- lists -------------------------------------------------------------------------------- */

static size_t
rows_of(struct config__reader *reader, const struct config__row *row,
        const struct config_node *node)
{
    if (node->child_count <= CONFIG_PEERS_MAX)
        return node->child_count;
    (void)config__bad(reader, row, node, "has %zu entries, expected at most %d", node->child_count,
                      CONFIG_PEERS_MAX);
    return CONFIG_PEERS_MAX;
}

static void
check_pattern(struct config__reader *reader, const struct config_node *node, const char *key,
              const char *text)
{
    if (!text || is_name(fr_view_of(text)))
        return;
    const struct config_node *place = config__place(node, key);
    config_diag_add(reader->diag, place->line, place->column,
                    "%s.%s is \"%.100s\", expected a name, or the beginning of one and '*'",
                    reader->where, key, text);
}

bool
config__parse_peers(struct config__reader *reader, const struct config__row *row,
                    const struct config_node *node, void *field)
{
    struct config__array *array = field;
    if (node->kind != CONFIG_SEQUENCE)
        return config__bad_value(reader, row, node);
    size_t count = rows_of(reader, row, node);
    struct config_peer *list = count ? fr_xalloc(count * sizeof(*list)) : NULL;
    const struct config_node *item = node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        size_t saved;
        config__where_into(reader, &saved, "%s[%zu]", row->path, i);
        config__defaults(CONFIG_SCOPE_PEER, &list[i]);
        config__read_scope(reader, CONFIG_SCOPE_PEER, item, &list[i]);
        if (item->kind == CONFIG_MAPPING && !list[i].name)
            config_diag_add(reader->diag, item->line, item->column,
                            "%s has no name, expected that of a certificate", reader->where);
        check_pattern(reader, item, "name", list[i].name);
        config__where_back(reader, saved);
    }
    array->items = list;
    array->count = count;
    return true;
}

bool
config__parse_users(struct config__reader *reader, const struct config__row *row,
                    const struct config_node *node, void *field)
{
    struct config__array *array = field;
    if (node->kind != CONFIG_SEQUENCE)
        return config__bad_value(reader, row, node);
    size_t count = rows_of(reader, row, node);
    struct config_user *list = count ? fr_xalloc(count * sizeof(*list)) : NULL;
    const struct config_node *item = node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        size_t saved;
        config__where_into(reader, &saved, "%s[%zu]", row->path, i);
        config__defaults(CONFIG_SCOPE_USER, &list[i]);
        config__read_scope(reader, CONFIG_SCOPE_USER, item, &list[i]);
        if (item->kind == CONFIG_MAPPING && !list[i].certificate == !list[i].token)
            config_diag_add(reader->diag, item->line, item->column,
                            "%s has %s, expected either certificate or token-sha256", reader->where,
                            list[i].token ? "both" : "neither");
        check_pattern(reader, item, "certificate", list[i].certificate);
        config__where_back(reader, saved);
    }
    array->items = list;
    array->count = count;
    return true;
}

/* ---- what must hold together -------------------------------------------------------------- */

static bool
check_files(struct config__reader *reader, const struct config_node *root, const char *key,
            const struct config_control_tls *tls, bool ca_needed)
{
    const struct config_node *place = config__place(root, key);
    const char *missing = !tls->certificate       ? "certificate"
                          : !tls->key             ? "key"
                          : !tls->ca && ca_needed ? "ca"
                                                  : NULL;
    if (!missing && tls->crl && !tls->ca)
        config_diag_add(reader->diag, place->line, place->column,
                        "%s has crl without ca, expected both", key);
    if (!missing)
        return !tls->crl || tls->ca;
    config_diag_add(reader->diag, place->line, place->column,
                    "%s has no %s, expected certificate, key%s", key, missing,
                    ca_needed ? " and ca" : ", and ca for clients with certificates");
    return false;
}

/* The files are there, and fit. */
static void
check_world(struct config__reader *reader, const struct config_node *root, const char *key,
            const struct config_control_tls *tls)
{
    const struct tls_control_options options = {
        .certificate = tls->certificate, .key = tls->key, .ca = tls->ca, .crl = tls->crl};
    struct tls_server *server = NULL;
    char *why = NULL;
    const struct config_node *place = config__place(root, key);
    if (tls_control_server(&options, &server, &why) != FR_OK)
        config_diag_add(reader->diag, place->line, place->column, "%s: %.300s", key, why);
    tls_server_unref(&server);
    fr_free(why);
}

void
config__check_control(struct config__reader *reader, const struct config_node *root,
                      const struct config *config)
{
    const struct config_manager *manager = &config->manager;
    const struct config_users *users = &config->users;
    if (manager->tls.enabled && check_files(reader, root, "manager.tls", &manager->tls, true) &&
        reader->world)
        check_world(reader, root, "manager.tls", &manager->tls);
    if (users->tls.enabled && check_files(reader, root, "admin.tls", &users->tls, false) &&
        reader->world)
        check_world(reader, root, "admin.tls", &users->tls);
    const struct config_node *place = config__place(root, "admin");
    if (config->admin && !loop_addr_is_local(&config->admin_addr) && !users->tls.enabled)
        config_diag_add(reader->diag, place->line, place->column,
                        "admin is %s without admin.tls, expected both, or unix:PATH or a loopback "
                        "address: whoever reaches it commands Freshet",
                        config->admin);
    if (manager->peer_count && !manager->tls.enabled && config__given(root, "manager.listen")) {
        place = config__place(root, "manager.peers");
        config_diag_add(reader->diag, place->line, place->column,
                        "manager.peers is there without manager.tls, expected both: names are "
                        "those of certificates");
    }
    if (manager->pki && !manager->tls.enabled && config__given(root, "manager.listen")) {
        place = config__place(root, "manager.pki");
        config_diag_add(reader->diag, place->line, place->column,
                        "manager.pki is there without manager.tls, expected both: machines join "
                        "over TLS");
    }
}

/* ---- the end ------------------------------------------------------------------------------ */

static void
control_free(struct config_control_tls *tls)
{
    fr_free(tls->certificate);
    fr_free(tls->key);
    fr_free(tls->ca);
    fr_free(tls->crl);
    fr_free(tls->name);
}

void
config__access_free(struct config *config)
{
    for (size_t i = 0; i < config->manager.peer_count; i++) {
        struct config_peer *peer = &config->manager.peers[i];
        fr_free(peer->name);
        config__names_free(&peer->report);
        config__names_free(&peer->allocate);
        config__names_free(&peer->command);
    }
    for (size_t i = 0; i < config->users.count; i++) {
        fr_free(config->users.list[i].certificate);
        fr_free(config->users.list[i].token);
    }
    fr_free(config->manager.peers);
    fr_free(config->manager.pki);
    fr_free(config->users.list);
    control_free(&config->manager.tls);
    control_free(&config->users.tls);
}
