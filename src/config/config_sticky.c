/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_sticky.c - sessions: their keys as text, and what must hold between their settings.
 *
 * May touch:  base.
 * Note:       a key stands in no message.
 */
#include "config/config_priv.h"

bool
config_sticky_key_parse(struct fr_view text, unsigned char out[CONFIG_STICKY_KEY_BYTES])
{
    if (text.len != CONFIG_STICKY_KEY_BYTES * 2)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = fr_view_hex_digit(text.ptr[i]);
        if (digit < 0)
            return false;
        out[i / 2] = (unsigned char)(i % 2 ? out[i / 2] << 4 | digit : digit);
    }
    return true;
}

bool
config__parse_secret(struct config__reader *reader, const struct config__row *row,
                     const struct config_node *node, void *field)
{
    unsigned char key[CONFIG_STICKY_KEY_BYTES];
    if (node->kind != CONFIG_SCALAR || !config_sticky_key_parse(node->value, key))
        return config__bad(reader, row, node,
                           "is no key (%zu characters), expected %d hexadecimal digits, as "
                           "`openssl rand -hex %d` prints them",
                           node->kind == CONFIG_SCALAR ? node->value.len : 0,
                           CONFIG_STICKY_KEY_BYTES * 2, CONFIG_STICKY_KEY_BYTES);
    config__set_text(field, node->value);
    return true;
}

void
config__check_sticky_keys(struct config__reader *reader, const struct config_node *root,
                          const struct config *config)
{
    if (config->sticky_keys.key || !config->sticky_keys.previous_key)
        return;
    const struct config_node *place = config__place(root, "sticky.previous-key");
    config_diag_add(reader->diag, place->key_line, place->key_column,
                    "sticky.previous-key is given without key, expected both: the keys of the "
                    "state folder stand in its file sticky.key, the previous one on the second "
                    "line");
}

void
config__check_sticky(struct config__reader *reader, const struct config_node *node,
                     const struct config_cluster *cluster)
{
    const struct config_sticky *sticky = &cluster->sticky;
    const struct config_node *place = config__place(node, "sticky");
    if (!sticky->cookie && place->kind == CONFIG_MAPPING && !config__given(place, "cookie"))
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.sticky has no cookie, expected its name", reader->where);
    if (sticky->path && strchr(sticky->path, ';')) { /* it would end the attribute */
        place = config__place(node, "sticky.path");
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.sticky.path is \"%.100s\", expected a path without ';'", reader->where,
                        sticky->path);
    }
    if (sticky->same_site == CONFIG_SAME_SITE_NONE && !sticky->secure) {
        place = config__place(node, "sticky.same-site");
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.sticky.same-site is none without secure, expected secure: true: "
                        "browsers drop the cookie otherwise",
                        reader->where);
    }
}
