/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_text.c - the types that are text: names, paths, hosts, tokens, header fields.
 *
 * May touch:  base.
 * Trusts:     nothing; lengths and alphabets are checked before anything is kept.
 */
#include "config/config_priv.h"

#include "base/fr_mem.h"

#include <ctype.h>

static bool
is_scalar(const struct config_node *node)
{
    return node->kind == CONFIG_SCALAR;
}

void
config__set_text(char **field, struct fr_view value)
{
    char *text = fr_xstrndup(value.ptr, value.len);
    fr_free(*field);
    *field = text;
}

bool
config_name_valid(struct fr_view name)
{
    return name.len < CONFIG_NAME_BYTES && fr_view_is_name(name);
}

bool
config__parse_name(struct config__reader *reader, const struct config__row *row,
                   const struct config_node *node, void *field)
{
    if (!is_scalar(node) || !config_name_valid(node->value))
        return config__bad_value(reader, row, node);
    return fr_view_copy(node->value, field, CONFIG_NAME_BYTES);
}

enum fr_err
config__print_name(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    struct fr_view name = fr_view_of(field);
    return name.len ? config_print_scalar(name, out) : FR_OK;
}

bool
config__parse_pool_names(struct config__reader *reader, const struct config__row *row,
                         const struct config_node *node, void *field)
{
    char(*names)[CONFIG_NAME_BYTES] = field;
    char read[CONFIG_SCALE_POOLS_MAX][CONFIG_NAME_BYTES] = {{0}};
    bool single = is_scalar(node);
    size_t count = 0;
    if (!single && (node->kind != CONFIG_SEQUENCE || node->child_count == 0))
        return config__bad_value(reader, row, node);
    for (const struct config_node *item = single ? node : node->first_child; item;
         item = single ? NULL : item->next) {
        if (!is_scalar(item) || !config_name_valid(item->value) || count == CONFIG_SCALE_POOLS_MAX)
            return config__bad_value(reader, row, item);
        for (size_t i = 0; i < count; i++)
            if (fr_view_is(item->value, read[i]))
                return config__bad_value(reader, row, item);
        (void)fr_view_copy(item->value, read[count++], CONFIG_NAME_BYTES); /* a valid name fits */
    }
    memcpy(names, read, sizeof(read));
    return true;
}

enum fr_err
config__print_pool_names(const struct config__row *row, const void *field, struct fr_buf *out)
{
    const char *name = field;
    if (!name[0] || !name[CONFIG_NAME_BYTES])
        return config__print_name(row, name, out);
    enum fr_err err = fr_buf_append(out, "[", 1);
    for (size_t i = 0; i < CONFIG_SCALE_POOLS_MAX && name[0] && !err; i++) {
        if (i)
            err = fr_buf_append(out, ", ", 2);
        if (!err)
            err = config_print_scalar(fr_view_of(name), out);
        name += CONFIG_NAME_BYTES;
    }
    return err ? err : fr_buf_append(out, "]", 1);
}

bool
config_scale_has_pool(const struct config_scale *scale, const char *name)
{
    for (size_t i = 0; i < CONFIG_SCALE_POOLS_MAX && scale->from[i][0]; i++)
        if (strcmp(scale->from[i], name) == 0)
            return true;
    return false;
}

bool
config__parse_name_text(struct config__reader *reader, const struct config__row *row,
                        const struct config_node *node, void *field)
{
    if (!is_scalar(node) || !config_name_valid(node->value))
        return config__bad_value(reader, row, node);
    config__set_text(field, node->value);
    return true;
}

bool
config__parse_text(struct config__reader *reader, const struct config__row *row,
                   const struct config_node *node, void *field)
{
    if (!is_scalar(node) || node->value.len == 0 || node->value.len > CONFIG_TEXT_BYTES_MAX)
        return config__bad_value(reader, row, node);
    for (size_t i = 0; i < node->value.len; i++)
        if ((unsigned char)node->value.ptr[i] < 0x20 || node->value.ptr[i] == 0x7f)
            return config__bad_value(reader, row, node);
    config__set_text(field, node->value);
    return true;
}

enum fr_err
config__print_text(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    const char *text = *(char *const *)field;
    return text ? config_print_scalar(fr_view_of(text), out) : FR_OK;
}

/* A host name or a wildcard; kept in lower case, as requests are compared. */
bool
config__parse_host(struct config__reader *reader, const struct config__row *row,
                   const struct config_node *node, void *field)
{
    struct fr_view text = node->value;
    if (!is_scalar(node) || text.len == 0 || text.len > 255)
        return config__bad_value(reader, row, node);
    size_t from = fr_view_starts(text, FR_VIEW("*.")) ? 2 : 0;
    bool bracketed = text.ptr[0] == '[' && text.ptr[text.len - 1] == ']';
    if (from == text.len)
        return config__bad_value(reader, row, node);
    for (size_t i = from; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (!isalnum(c) && c != '.' && c != '-' && c != '_' &&
            !(bracketed && (c == ':' || c == '[' || c == ']')))
            return config__bad_value(reader, row, node);
    }
    config__set_text(field, text);
    for (char *c = *(char **)field; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    return true;
}

/* RFC 3986 section 3.3: no space, no control, no query or fragment in it. */
bool
config__parse_path(struct config__reader *reader, const struct config__row *row,
                   const struct config_node *node, void *field)
{
    struct fr_view text = node->value;
    if (!is_scalar(node) || text.len == 0 || text.len > CONFIG_TEXT_BYTES_MAX || text.ptr[0] != '/')
        return config__bad_value(reader, row, node);
    bool query = strcmp(row->path, "health.path") == 0; /* what is sent may have a query */
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= 0x20 || c == 0x7f || c == '#' || (c == '?' && !query))
            return config__bad_value(reader, row, node);
    }
    config__set_text(field, text);
    return true;
}

/* RFC 9110 section 5.6.2. */
static bool
is_token(struct fr_view text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c >= 0x80 || (!isalnum(c) && !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return text.len > 0 && text.len <= 128;
}

bool
config__parse_token(struct config__reader *reader, const struct config__row *row,
                    const struct config_node *node, void *field)
{
    if (!is_scalar(node) || !is_token(node->value))
        return config__bad_value(reader, row, node);
    config__set_text(field, node->value);
    return true;
}

/* "Name", or {Name: value}; field is header_name, header_value follows it. */
bool
config__parse_header(struct config__reader *reader, const struct config__row *row,
                     const struct config_node *node, void *field)
{
    char **header = field;
    struct fr_view name = node->value, value = {0};
    if (node->kind == CONFIG_MAPPING && node->child_count == 1 && is_scalar(node->first_child)) {
        name = node->first_child->key;
        value = node->first_child->value;
        if (value.len > CONFIG_TEXT_BYTES_MAX)
            return config__bad_value(reader, row, node->first_child);
        for (size_t i = 0; i < value.len; i++)
            if ((unsigned char)value.ptr[i] < 0x20 || value.ptr[i] == 0x7f)
                return config__bad_value(reader, row, node->first_child);
    } else if (!is_scalar(node)) {
        return config__bad_value(reader, row, node);
    }
    if (!is_token(name))
        return config__bad_value(reader, row, node);
    config__set_text(&header[0], name);
    for (char *c = header[0]; *c; c++)
        *c = (char)tolower((unsigned char)*c);
    fr_free(header[1]);
    header[1] = NULL;
    if (value.ptr)
        config__set_text(&header[1], value);
    return true;
}

enum fr_err
config__print_header(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    char *const *header = field;
    if (!header[0])
        return FR_OK;
    if (!header[1])
        return config_print_scalar(fr_view_of(header[0]), out);
    enum fr_err err = fr_buf_append(out, "{", 1);
    if (!err)
        err = config_print_scalar(fr_view_of(header[0]), out);
    if (!err)
        err = fr_buf_append(out, ": ", 2);
    if (!err)
        err = config_print_scalar(fr_view_of(header[1]), out);
    return err ? err : fr_buf_append(out, "}", 1);
}
