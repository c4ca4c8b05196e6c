/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_answer.c - what a route answers by itself (redirect, fixed response, files): the types of
 * its keys, what must fit together, and the folder.
 *
 * May touch:  base, files (opens folders).
 * Trusts:     nothing. What becomes a header field holds no line end, so that no value can split an
 *             answer; a target cannot be made to name another host by a request's path.
 * Follows:    RFC 9110 sections 5.1, 5.5, 10.2.2 and 15.4.
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_folder.h"
#include "base/fr_mem.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* ---- header fields ---------------------------------------------------------------------- */

/* They frame the message, concern the connection, or are made where the answer is. */
static bool
header_is_ours(struct fr_view name)
{
    static const char *const ours[] = {
        "accept-ranges",
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "date",
        "etag",
        "keep-alive",
        "last-modified",
        "location",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    };
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (fr_view_ieq(name, fr_view_of(ours[i])))
            return true;
    return false;
}

static bool
header_name_valid(struct fr_view name)
{
    for (size_t i = 0; i < name.len; i++) {
        unsigned char c = (unsigned char)name.ptr[i];
        if (c >= 0x80 || (!isalnum(c) && !strchr("!#$%&'*+-.^_`|~", c)) || c == '\0')
            return false;
    }
    return name.len > 0 && name.len <= 128;
}

static bool
header_value_valid(struct fr_view value)
{
    for (size_t i = 0; i < value.len; i++) {
        unsigned char c = (unsigned char)value.ptr[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return value.len <= CONFIG_TEXT_BYTES_MAX;
}

bool
config__parse_headers(struct config__reader *reader, const struct config__row *row,
                      const struct config_node *node, void *field)
{
    char ***headers = field;
    size_t bytes = 0, count = 0;
    if (node->kind != CONFIG_MAPPING || node->child_count > CONFIG_HEADERS_MAX)
        return config__bad_value(reader, row, node);
    for (const struct config_node *item = node->first_child; item; item = item->next) {
        if (item->kind != CONFIG_SCALAR || !header_value_valid(item->value))
            return config__bad_value(reader, row, item);
        if (!header_name_valid(item->key) || header_is_ours(item->key)) {
            int len = (int)(item->key.len < 100 ? item->key.len : 100);
            config_diag_add(reader->diag, item->key_line, item->key_column,
                            "%s.%s has \"%.*s\", expected names of header fields that neither "
                            "frame the answer nor are made here",
                            reader->where, row->path, len, item->key.ptr);
            return false;
        }
        bytes += item->key.len + item->value.len + 4;
    }
    if (bytes > CONFIG_HEADERS_BYTES_MAX)
        return config__bad(reader, row, node, "has %zu bytes, expected at most %d", bytes,
                           CONFIG_HEADERS_BYTES_MAX);
    config__words_free(headers);
    *headers = node->child_count ? fr_xalloc((node->child_count + 1) * sizeof(**headers)) : NULL;
    for (const struct config_node *item = node->first_child; item; item = item->next)
        (*headers)[count++] = fr_xprintf("%.*s: %.*s", FR_VIEW_ARG(item->key),
                                         FR_VIEW_ARG(fr_view_trim(item->value)));
    return true;
}

enum fr_err
config__print_headers(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    return config__print_pairs(*(char **const *)field, ": ", out);
}

/* ---- targets, bodies, names of files ---------------------------------------------------- */

/* Length of the placeholder at the start of text; 0 when it is none. */
static size_t
placeholder_bytes(struct fr_view text)
{
    static const char *const known[] = {"{host}", "{path}", "{query}"};
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
        if (fr_view_starts(text, fr_view_of(known[i])))
            return strlen(known[i]);
    return 0;
}

static bool
location_chars_valid(struct fr_view text)
{
    for (size_t i = 0; i < text.len;) {
        struct fr_view rest = fr_view_make(text.ptr + i, text.len - i);
        unsigned char c = (unsigned char)text.ptr[i];
        size_t used = c == '{' ? placeholder_bytes(rest) : 1;
        if (used == 0 || c <= 0x20 || c >= 0x7f || strchr("\"<>\\^`|}", c))
            return false;
        i += used;
    }
    return true;
}

bool
config__parse_location(struct config__reader *reader, const struct config__row *row,
                       const struct config_node *node, void *field)
{
    struct fr_view text = node->value;
    if (node->kind != CONFIG_SCALAR || text.len > CONFIG_TEXT_BYTES_MAX ||
        !location_chars_valid(text))
        return config__bad_value(reader, row, node);
    bool path = fr_view_starts(text, FR_VIEW("/")) && !fr_view_starts(text, FR_VIEW("//"));
    bool url = (fr_view_starts(text, FR_VIEW("https://")) && text.len > 8) ||
               (fr_view_starts(text, FR_VIEW("http://")) && text.len > 7);
    if (!path && !url && !fr_view_starts(text, FR_VIEW("{path}")))
        return config__bad_value(reader, row, node);
    config__set_text(field, text);
    /* "/{path}" would be "//…", and that names another host (RFC 3986 section 4.2). */
    if (strstr(*(char **)field, "/{path}"))
        return config__bad(reader, row, node,
                           "has \"/{path}\", expected \"{path}\", which has a '/' of its own");
    return true;
}

bool
config__parse_body(struct config__reader *reader, const struct config__row *row,
                   const struct config_node *node, void *field)
{
    struct fr_view text = node->value;
    if (node->kind != CONFIG_SCALAR || text.len > CONFIG_BODY_BYTES_MAX)
        return config__bad_value(reader, row, node);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if ((c < 0x20 && c != '\t' && c != '\n' && c != '\r') || c == 0x7f)
            return config__bad_value(reader, row, node);
    }
    config__set_text(field, text);
    return true;
}

bool
config__parse_file_name(struct config__reader *reader, const struct config__row *row,
                        const struct config_node *node, void *field)
{
    struct fr_view text = node->value, rest, segment;
    if (node->kind != CONFIG_SCALAR || text.len == 0 || text.len > CONFIG_TEXT_BYTES_MAX)
        return config__bad_value(reader, row, node);
    if (text.ptr[0] == '/') /* as others write it: the folder is the root of what is served */
        text = fr_view_make(text.ptr + 1, text.len - 1);
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < 0x20 || text.ptr[i] == 0x7f)
            return config__bad_value(reader, row, node);
    rest = text;
    while (fr_view_split(&rest, '/', &segment))
        if (segment.len == 0 || fr_view_is(segment, ".") || fr_view_is(segment, ".."))
            return config__bad_value(reader, row, node);
    config__set_text(field, text);
    return true;
}

/* ---- what must fit together ------------------------------------------------------------- */

static const char *const actions[] = {"cluster", "redirect", "respond", "files"};
#define ACTION_COUNT (sizeof(actions) / sizeof(actions[0]))

/* A key that nobody knows has been reported, and is likely to be the missing one misspelt. */
static bool
has_unknown_key(const struct config_node *node, const char *prefix)
{
    for (const struct config_node *child = node->first_child; child; child = child->next) {
        const struct config__row *row = NULL;
        do
            row = config__row_next(CONFIG_SCOPE_ROUTE, fr_view_of(prefix), row);
        while (row && !fr_view_eq(config__row_key(row), child->key));
        if (!row)
            return true;
    }
    return false;
}

static void
check_action(struct config__reader *reader, const struct config_node *node)
{
    const char *given[ACTION_COUNT] = {0};
    size_t count = 0;
    for (size_t i = 0; i < ACTION_COUNT; i++)
        if (config_node_get(node, actions[i]))
            given[count++] = actions[i];
    if (count == 0 && !has_unknown_key(node, ""))
        config_diag_add(reader->diag, node->line, node->column,
                        "%s has no cluster, redirect, respond or files, expected exactly one of "
                        "them: what answers it",
                        reader->where);
    if (count > 1) {
        const struct config_node *place = config_node_get(node, given[1]);
        config_diag_add(reader->diag, place->key_line, place->key_column,
                        "%s has %s and %s, expected exactly one of cluster, redirect, respond, "
                        "files",
                        reader->where, given[0], given[1]);
    }
}

/* Keys that only a cluster gives a meaning. */
static void
check_meaning(struct config__reader *reader, const struct config_node *node, const char *action)
{
    static const char *const keys[] = {"cache", "handover", "stale"};
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        const struct config_node *place = config_node_get(node, keys[i]);
        if (place)
            config_diag_add(reader->diag, place->key_line, place->key_column,
                            "%s.%s means nothing beside %s, expected it beside cluster",
                            reader->where, keys[i], action);
    }
}

/* The one key that an action cannot do without; text: its value. */
static void
need_key(struct config__reader *reader, const struct config_node *node, const char *action,
         const char *key, const char *text, const char *what)
{
    const struct config_node *section = config_node_get(node, action);
    /* One that was given and is bad has been reported. */
    if (text || !section || section->kind != CONFIG_MAPPING || config_node_get(section, key) ||
        has_unknown_key(section, action))
        return;
    config_diag_add(reader->diag, section->line, section->column, "%s.%s has no %s, expected %s",
                    reader->where, action, key, what);
}

static void
finish_redirect(struct config__reader *reader, const struct config_node *node,
                const struct config_redirect *redirect)
{
    const struct config_node *place = config__given(node, "redirect.status");
    need_key(reader, node, "redirect", "to", redirect->to, "where to");
    if (place && redirect->status >= 304 && redirect->status <= 306)
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.redirect.status is %u, expected one of 301, 302, 303, 307, 308",
                        reader->where, redirect->status);
}

static void
finish_respond(struct config__reader *reader, const struct config_node *node,
               const struct config_respond *respond)
{
    /* RFC 9110 sections 15.3.5, 15.3.6 and 15.4.5. */
    bool bodiless = respond->status == 204 || respond->status == 205 || respond->status == 304;
    const struct config_node *place = config__given(node, "respond.body");
    if (bodiless && place && respond->body && respond->body[0])
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.respond.body cannot be sent with status %u, expected another status "
                        "or no body",
                        reader->where, respond->status);
}

static void
finish_files(struct config__reader *reader, const struct config_node *node,
             struct config_files *files)
{
    need_key(reader, node, "files", "folder", files->folder, "the folder that is served");
    if (!files->folder || !reader->world)
        return;
    int fd = fr_folder_open(files->folder);
    files->fd = fd < 0 ? -1 : fd;
    if (fd >= 0 || reader->restoring)
        return;
    const struct config_node *place = config__place(node, "files.folder");
    config_diag_add(reader->diag, place->line, place->column,
                    "%s.files.folder is \"%.200s\", which cannot be opened: %s", reader->where,
                    files->folder,
                    fd == -ENOSYS ? "this system has no openat2 (Linux 5.6)" : strerror(-fd));
}

void
config__answers_finish(struct config__reader *reader, const struct config_node *node,
                       struct config_route *route)
{
    if (node->kind != CONFIG_MAPPING)
        return; /* said so already */
    check_action(reader, node);
    enum config_action action = config_route_action(route);
    if (action != CONFIG_ACTION_CLUSTER)
        check_meaning(reader, node, actions[action]);
    if (route->redirect.enabled)
        finish_redirect(reader, node, &route->redirect);
    if (route->respond.enabled)
        finish_respond(reader, node, &route->respond);
    if (route->files.enabled)
        finish_files(reader, node, &route->files);
}

void
config__answers_free(struct config_route *route)
{
    fr_free(route->redirect.to);
    fr_free(route->redirect.strip);
    config__words_free(&route->redirect.headers);
    fr_free(route->respond.type);
    fr_free(route->respond.body);
    config__words_free(&route->respond.headers);
    fr_free(route->files.folder);
    fr_free(route->files.strip);
    fr_free(route->files.index);
    fr_free(route->files.fallback);
    fr_free(route->files.cache_control);
    fr_free(route->caching.key_headers);
    fr_free(route->caching.bypass_headers);
    fr_free(route->caching.bypass_cookies);
    config__words_free(&route->files.headers);
    if (route->files.fd >= 0)
        (void)close(route->files.fd); /* it was only a place */
}
