/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_edit.c - what people write into the ledger: applied as a whole, or refused as a whole.
 *
 * May touch:  base, loop, config, cluster, files of the state folder.  Never: logs.
 * Threads:    the control thread.
 * Trusts:     nothing in the file; what it says of pids and start times is ours and not read.
 *
 * Our own writes are known by their bytes. What may be edited: a server's line removed (it is
 * drained and given back), added (allocated, checked, joined), moved to another cluster, its
 * weight, its state to draining; weights of members; routes, clusters and pools. A refused edit
 * stands in the file, untouched, until our own next write, which keeps it as ledger.yaml.refused.
 *
 * While somebody edits, servers come and go. The generation in the file tells what he had before
 * him: a server that came later is not missing, and one that has gone since is not new.
 */
#include "allocator/allocator_priv.h"

#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <errno.h>
#include <stdio.h>

struct edit {
    struct allocator *allocator;
    struct fr_view text;
    struct cluster_ledger ledger;
    struct allocator__settings settings; /* as they would be */
    struct config_diag diag;
    uint64_t seen; /* the generation that the editor had before him */
};

static bool
buf_is(const struct fr_buf *buf, struct fr_view text)
{
    return buf->data && fr_view_eq(fr_buf_view(buf), text);
}

static void
buf_set(struct fr_buf *buf, struct fr_view text)
{
    fr_buf_fini(buf);
    fr_buf_init(buf, ALLOCATOR_LEDGER_BYTES_MAX + 1);
    if (fr_buf_append_view(buf, text))
        fr_buf_fini(buf); /* no memory: then it is told as new once more */
}

void
allocator__edit_keep_refused(struct allocator *allocator)
{
    if (!allocator->refused_text.len)
        return;
    if (fr_file_replace(allocator->refused_path, fr_buf_view(&allocator->refused_text), 0600, NULL))
        allocator__note(allocator, NULL, "the refused edit of the ledger can't be kept as %s",
                        allocator->refused_path);
    fr_buf_fini(&allocator->refused_text);
}

static void
edit_refuse(struct edit *edit)
{
    struct allocator *allocator = edit->allocator;
    buf_set(&allocator->refused_text, edit->text);
    if (allocator->events.refused)
        allocator->events.refused(allocator->events.ctx, &edit->diag);
}

/* ---- checking
 * -------------------------------------------------------------------------------------- */

static bool
is_word_byte(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '.' ||
           c == '_' || c == '-';
}

/* The place of the id in the text: where the reader stopped knowing places, people still want one.
 */
static void
place_of(struct fr_view text, const char *id, unsigned *out_line, unsigned *out_column)
{
    size_t len = strlen(id);
    unsigned line = 1;
    *out_line = *out_column = 0;
    for (size_t i = 0, start = 0; i + len <= text.len; i++) {
        if (text.ptr[i] == '\n') {
            line++;
            start = i + 1;
        }
        if (memcmp(text.ptr + i, id, len) != 0 || (i > 0 && is_word_byte(text.ptr[i - 1])) ||
            (i + len < text.len && is_word_byte(text.ptr[i + len])))
            continue;
        *out_line = line;
        *out_column = (unsigned)(i - start) + 1;
        return;
    }
}

__attribute__((format(printf, 3, 4))) static void
edit_complain(struct edit *edit, const char *id, const char *format, ...)
{
    char words[ALLOCATOR_WHY_BYTES];
    unsigned line, column;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(words, sizeof(words), format, args); /* cut is fine: words */
    va_end(args);
    place_of(edit->text, id, &line, &column);
    config_diag_add(&edit->diag, line, column, "server %s: %s", id, words);
}

static bool
pool_offers(const struct config_pool *pool, const char *address)
{
    struct loop_addr addr, host;
    char text[LOOP_ADDR_TEXT_BYTES];
    for (size_t i = 0; i < pool->server_count; i++)
        if (strcmp(pool->servers[i].address, address) == 0)
            return true;
    if (pool->port_last == 0 || loop_addr_parse(fr_view_of(address), &addr))
        return false;
    int port = loop_addr_port(&addr);
    const char *name = pool->host[0] ? pool->host : "127.0.0.1";
    bool bare_v6 = strchr(name, ':') && name[0] != '[';
    (void)snprintf(text, sizeof(text), bare_v6 ? "[%s]:%d" : "%s:%d", name, port);
    return port >= pool->port_first && port <= pool->port_last &&
           loop_addr_parse(fr_view_of(text), &host) == FR_OK && loop_addr_equal(&addr, &host);
}

/* A line of ours (it has a state) for a server that went back after the editor had read it. */
static bool
row_is_past(const struct edit *edit, const struct cluster_ledger_server *row)
{
    return !row->edited && edit->seen < edit->allocator->ledger.generation &&
           !allocator__server_find(edit->allocator, fr_view_of(row->id));
}

static void
check_new(struct edit *edit, const struct cluster_ledger_server *row)
{
    const struct config_pool *pool = allocator__settings_pool(&edit->settings, row->pool);
    if (!pool)
        edit_complain(edit, row->id, "there is no pool \"%s\"", row->pool);
    else if (!pool_offers(pool, row->address))
        edit_complain(edit, row->id, "pool %s does not have %s", row->pool, row->address);
    else if (allocator__address_taken(edit->allocator, row->address))
        edit_complain(edit, row->id, "%s is taken, expected an available address", row->address);
}

static void
check_known(struct edit *edit, const struct cluster_ledger_server *row,
            const struct allocator__server *server)
{
    if (strcmp(row->pool, server->pool->name) != 0)
        edit_complain(edit, row->id, "pool is %s, but it is of pool %s, which can't change",
                      row->pool, server->pool->name);
    if (strcmp(row->address, server->provided.address) != 0)
        edit_complain(edit, row->id, "address is %s, but it is at %s, which can't change",
                      row->address, server->provided.address);
    if (strcmp(row->cluster, server->provided.cluster) != 0 &&
        (server->state != CLUSTER_SERVER_READY || server->request))
        edit_complain(edit, row->id, "it is %s and can't move now",
                      cluster_server_state_name(server->state));
}

static void
check_sizes(struct edit *edit)
{
    for (size_t i = 0; i < edit->settings.cluster_count; i++) {
        const struct config_cluster *cluster = edit->settings.clusters[i];
        size_t size = cluster->member_count;
        const char *newcomer = NULL;
        for (size_t k = 0; k < edit->ledger.server_count; k++) {
            const struct cluster_ledger_server *row = &edit->ledger.servers[k];
            if (strcmp(row->cluster, cluster->name) != 0 || row->state == CLUSTER_SERVER_DRAINING ||
                row->state == CLUSTER_SERVER_STOPPING || row_is_past(edit, row))
                continue;
            size++;
            if (!allocator__server_find(edit->allocator, fr_view_of(row->id)))
                newcomer = row->id;
        }
        if (newcomer && cluster->scale.enabled && size > cluster->scale.max)
            edit_complain(edit, newcomer, "cluster %s would have %zu members, at most %u",
                          cluster->name, size, cluster->scale.max);
    }
}

static void
check_owner(struct edit *edit)
{
    const struct allocator_events *events = &edit->allocator->events;
    const char *name = "";
    unsigned line, column;
    char *words = events->conflict ? events->conflict(events->ctx, &edit->ledger, &name) : NULL;
    if (words == NULL)
        return;
    place_of(edit->text, name, &line, &column);
    config_diag_add(&edit->diag, line, column, "%s", words);
    fr_free(words);
}

static void
edit_check(struct edit *edit)
{
    struct allocator *allocator = edit->allocator;
    char why[ALLOCATOR_WHY_BYTES];
    if (allocator__settings_check(allocator, &edit->settings, why, sizeof(why)))
        config_diag_add(&edit->diag, 0, 0, "%s", why);
    for (size_t i = 0; i < edit->ledger.server_count; i++) {
        const struct cluster_ledger_server *row = &edit->ledger.servers[i];
        const struct allocator__server *server =
            allocator__server_find(allocator, fr_view_of(row->id));
        if (row_is_past(edit, row))
            continue;
        if (server)
            check_known(edit, row, server);
        else
            check_new(edit, row);
        if (!allocator__settings_cluster(&edit->settings, row->cluster))
            edit_complain(edit, row->id, "there is no cluster \"%s\"", row->cluster);
    }
    check_sizes(edit);
    check_owner(edit);
}

/* A file that says nothing at all is an accident (an editor between two steps, a full disk), not
 * the wish to give every server back. */
static bool
says_nothing(struct fr_view text)
{
    while (text.len) {
        struct fr_view line = text;
        const char *end = memchr(text.ptr, '\n', text.len);
        line.len = end ? (size_t)(end - text.ptr) : text.len;
        text =
            fr_view_make(text.ptr + line.len + (end != NULL), text.len - line.len - (end != NULL));
        line = fr_view_trim(line);
        if (line.len && line.ptr[0] != '#')
            return false;
    }
    return true;
}

/* ---- applying
 * -------------------------------------------------------------------------------------- */

static void
apply_new(struct allocator *allocator, const struct cluster_ledger_server *row)
{
    struct allocator__pool *pool = allocator__pool_find(allocator, row->pool);
    struct allocator__server *server =
        allocator__server_new(allocator, pool, row->id, row->cluster, CLUSTER_SERVER_AVAILABLE);
    enum fr_err err = pool->ops->choose(pool->provider, fr_view_of(row->address),
                                        allocator__address_taken, allocator, &server->provided);
    server->weight = row->weight;
    server->weight_normal = row->weight_normal;
    if (err) { /* checked before, but the world may have a say: a stranger on the port */
        allocator__note(allocator, server, "can't be taken from pool %s: %s", pool->name,
                        fr_err_words(err));
        allocator__server_free(server);
        return;
    }
    allocator__address_hold(server);
    (void)allocator__event(server, ALLOCATOR_ALLOCATE, false);
}

static void
apply_known(struct allocator *allocator, const struct cluster_ledger_server *row,
            struct allocator__server *server)
{
    struct allocator_server shown;
    if (server->weight != row->weight || server->weight_normal != row->weight_normal) {
        server->weight = row->weight;
        server->weight_normal = row->weight_normal;
        allocator__server_show(server, &shown);
        if (server->joined)
            allocator->events.weight(allocator->events.ctx, &shown);
    }
    bool leaves = row->state == CLUSTER_SERVER_DRAINING || row->state == CLUSTER_SERVER_STOPPING;
    if (server->state == CLUSTER_SERVER_READY && leaves) {
        (void)allocator__event(server, ALLOCATOR_GIVE_BACK, false);
    } else if (strcmp(row->cluster, server->provided.cluster) != 0) {
        (void)allocator__event(server, ALLOCATOR_MOVE, false);
        memcpy(server->move_to, row->cluster, sizeof(server->move_to));
    }
}

static void
apply_servers(struct edit *edit)
{
    struct allocator *allocator = edit->allocator;
    FR_LIST_EACH(&allocator->servers, node) {
        struct allocator__server *server = FR_CONTAINER(node, struct allocator__server, link);
        bool was_there = server->born && server->born <= edit->seen;
        if (was_there && !cluster_ledger_find(&edit->ledger, server->provided.id))
            (void)allocator__event(server, ALLOCATOR_GIVE_BACK, false);
    }
    for (size_t i = 0; i < edit->ledger.server_count; i++) {
        const struct cluster_ledger_server *row = &edit->ledger.servers[i];
        struct allocator__server *server = allocator__server_find(allocator, fr_view_of(row->id));
        if (row_is_past(edit, row))
            continue;
        if (server)
            apply_known(allocator, row, server);
        else
            apply_new(allocator, row);
    }
}

/* Routes, clusters and pools of both print alike: then nothing of them was edited. */
static bool
settings_same(const struct cluster_ledger *a, const struct cluster_ledger *b)
{
    struct fr_buf text[2];
    const struct cluster_ledger *both[2] = {a, b};
    bool printed = true;
    for (size_t i = 0; i < 2; i++) {
        struct cluster_ledger plain = *both[i]; /* borrowed: without what is compared elsewhere */
        plain.generation = 0;
        plain.server_count = plain.weight_count = 0;
        fr_buf_init(&text[i], ALLOCATOR_LEDGER_BYTES_MAX);
        printed = cluster_ledger_print(&plain, NULL, &text[i]) == FR_OK && printed;
    }
    bool same = printed && fr_view_eq(fr_buf_view(&text[0]), fr_buf_view(&text[1]));
    fr_buf_fini(&text[0]);
    fr_buf_fini(&text[1]);
    return same;
}

static bool
edit_apply(struct edit *edit)
{
    struct allocator *allocator = edit->allocator;
    struct cluster_ledger next;
    char why[ALLOCATOR_WHY_BYTES];
    if (allocator__settings_apply(allocator, &edit->settings, why, sizeof(why))) {
        config_diag_add(&edit->diag, 0, 0, "%s", why);
        return false;
    }
    allocator__ledger_copy(&edit->ledger, &next);
    next.generation = allocator->ledger.generation;
    bool same = settings_same(&allocator->ledger, &edit->ledger);
    apply_servers(edit);
    allocator__weights_tell(allocator, &allocator->ledger, &next);
    cluster_ledger_fini(&allocator->ledger);
    allocator->ledger = next;
    allocator__servers_print(allocator, &allocator->ledger);
    buf_set(&allocator->disk_text, edit->text);
    fr_buf_fini(&allocator->refused_text);
    allocator__notify(allocator, !same);
    allocator__dirty(allocator);
    allocator__fill_later(allocator);
    return true;
}

static void
edit_read(struct allocator *allocator, struct fr_view text)
{
    struct edit edit = {.allocator = allocator, .text = text};
    bool applied = false;
    config_diag_init(&edit.diag);
    cluster_ledger_init(&edit.ledger);
    if (text.len && says_nothing(text) && allocator->server_count) {
        config_diag_source(&edit.diag, allocator->ledger_path, text);
        config_diag_add(&edit.diag, 1, 1, "the ledger says nothing, but %zu servers are allocated",
                        allocator->server_count);
    } else if (cluster_ledger_parse(text, allocator->ledger_path, &edit.diag, &edit.ledger) ==
               FR_OK) {
        uint64_t now = allocator->ledger.generation, seen = edit.ledger.generation;
        edit.seen = seen && seen < now ? seen : now; /* without one: what there is now */
        allocator__settings_make(&allocator->file, &edit.ledger, &edit.settings);
        edit_check(&edit);
        applied = edit.diag.error_count == 0 && edit_apply(&edit);
    }
    if (!applied)
        edit_refuse(&edit);
    allocator__settings_fini(&edit.settings);
    cluster_ledger_fini(&edit.ledger);
    config_diag_fini(&edit.diag);
}

void
allocator__edit_check(struct allocator *allocator)
{
    struct fr_buf buf;
    int error = 0;
    fr_buf_init(&buf, ALLOCATOR_LEDGER_BYTES_MAX + 1);
    enum fr_err err = fr_file_read(allocator->ledger_path, &buf, &error);
    struct fr_view text = buf.data ? fr_buf_view(&buf) : FR_VIEW("");
    if (err == FR_ERR_IO && error == ENOENT) {
        if (allocator->disk_text.len) { /* removed: what is in force is written again */
            fr_buf_fini(&allocator->disk_text);
            allocator__dirty(allocator);
        }
    } else if (err) {
        allocator__note(allocator, NULL, "the ledger can't be read: %s",
                        error ? strerrordesc_np(error) : fr_err_words(err));
    } else if (buf_is(&allocator->disk_text, text)) {
        fr_buf_fini(&allocator->refused_text); /* put back as it was */
    } else if (text.len && !buf_is(&allocator->refused_text, text)) {
        edit_read(allocator, text);
    }
    /* A file of no bytes is one that is being written: the next event shows what it became. */
    fr_buf_fini(&buf);
}
