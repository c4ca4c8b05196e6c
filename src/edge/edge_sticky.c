/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_sticky.c - the keys that sign session cookies: the configuration's, or the state folder's.
 *
 * The file STATE/sticky.key holds one key a line, 64 hexadecimal digits: the current one, then, if
 * there is one, the previous. To change keys, put a new line in front and send SIGHUP.
 *
 * May touch:  files. Threads: control loop.
 * Note:       a key stands in no log and no message.
 */
#include "edge/edge_priv.h"

#include "base/fr_file.h"
#include "base/fr_put.h"

#include <errno.h>
#include <stdio.h>
#include <sys/random.h>

#define KEY_FILE_BYTES_MAX 4096

static bool
wants_keys(const struct config *config)
{
    for (size_t i = 0; i < config->cluster_count; i++)
        if (config->clusters[i]->sticky.cookie)
            return true;
    return false;
}

static enum fr_err
parse_file(struct fr_view text, struct cluster_sticky_keys *out)
{
    struct fr_view line;
    while (fr_view_split(&text, '\n', &line)) {
        line = fr_view_trim(line);
        if (line.len == 0 || line.ptr[0] == '#')
            continue;
        if (out->count == 2 || !config_sticky_key_parse(line, out->keys[out->count]))
            return FR_ERR_CONFIG;
        out->count++;
    }
    return out->count ? FR_OK : FR_ERR_CONFIG;
}

static enum fr_err
make_file(const char *path, struct cluster_sticky_keys *out, int *out_errno)
{
    char text[CONFIG_STICKY_KEY_BYTES * 2 + 1];
    if (getrandom(out->keys[0], CONFIG_STICKY_KEY_BYTES, 0) != CONFIG_STICKY_KEY_BYTES) {
        *out_errno = errno;
        return FR_ERR_IO;
    }
    *fr_put_hex(text, out->keys[0], CONFIG_STICKY_KEY_BYTES) = '\n';
    out->count = 1;
    return fr_file_replace(path, fr_view_make(text, sizeof(text)), 0600, out_errno);
}

static enum fr_err
from_state(const char *state, struct cluster_sticky_keys *out, char **out_why)
{
    int error = 0;
    struct fr_buf text;
    char *path = fr_xprintf("%s/sticky.key", state);
    fr_buf_init(&text, KEY_FILE_BYTES_MAX);
    enum fr_err err = fr_file_read(path, &text, &error);
    if (err == FR_OK)
        err = parse_file(fr_buf_view(&text), out);
    else if (err == FR_ERR_IO && error == ENOENT)
        err = make_file(path, out, &error);
    if (err == FR_ERR_IO)
        *out_why = fr_xprintf("%s: %s", path, strerror(error));
    else if (err != FR_OK)
        *out_why = fr_xprintf("%s: expected one or two lines of %d hexadecimal digits", path,
                              CONFIG_STICKY_KEY_BYTES * 2);
    fr_buf_fini(&text);
    fr_free(path);
    return err;
}

enum fr_err
edge_sticky_keys(const struct edge *edge, const struct config *config,
                 struct cluster_sticky_keys *out, char **out_why)
{
    const struct config_sticky_keys *given = &config->sticky_keys;
    bool needed = edge->role == WIRE_ROLE_EDGE && (wants_keys(config) || edge->sticky_keys.count);
    memset(out, 0, sizeof(*out));
    if (!given->key) /* the folder that is locked: a new one comes with a restart */
        return needed ? from_state(edge->config->state, out, out_why) : FR_OK;
    /* Both were read by this very function when the file was checked. */
    if (config_sticky_key_parse(fr_view_of(given->key), out->keys[0]))
        out->count = 1;
    if (given->previous_key &&
        config_sticky_key_parse(fr_view_of(given->previous_key), out->keys[1]))
        out->count = 2;
    return FR_OK;
}

void
edge_sticky_take(struct edge *edge, const struct cluster_sticky_keys *keys)
{
    size_t cursor = 0;
    void *value = NULL;
    if (memcmp(keys, &edge->sticky_keys, sizeof(*keys)) == 0)
        return;
    edge->sticky_keys = *keys;
    while (fr_map_next(edge->clusters, &cursor, NULL, &value)) {
        struct edge_cluster *cluster = value;
        cluster->dirty = true;
    }
    edge_publish_soon(edge);
}

/* A cluster that has sessions may come at run time: the first one makes the keys. */
const struct cluster_sticky_keys *
edge_sticky_of(struct edge *edge, const struct config_cluster *config)
{
    char *why = NULL;
    if (!config->sticky.cookie || edge->sticky_keys.count > 0)
        return &edge->sticky_keys;
    struct cluster_sticky_keys keys = {.count = 0};
    if (from_state(edge->config->state, &keys, &why) == FR_OK)
        edge->sticky_keys = keys;
    else
        fr_log(FR_LOG_ERROR, "edge", "no key for session cookies, serving without sessions",
               FR_S("cluster", config->name), FR_S("why", why));
    fr_free(why);
    return &edge->sticky_keys;
}
