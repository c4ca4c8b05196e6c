/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_window.c - the windows of a schedule: read, checked, printed; and the rules of their time
 * zones.
 *
 * May touch:  base; the files of the time zone database, in FOLDER.
 * Memory:     a struct fr_zone a window.
 * When full:  an error with the bound in it (CONFIG_WINDOWS_MAX).
 */
#include "config/config_priv.h"

#include "base/fr_check.h"
#include "base/fr_file.h"
#include "base/fr_mem.h"

#define FOLDER "/usr/share/zoneinfo"
#define ZONE_NAME_MAX 64

void
config__windows_free(struct config_window **windows, size_t *count)
{
    for (size_t i = 0; i < *count; i++) {
        struct config_window *window = &(*windows)[i];
        fr_free(window->at);
        fr_free(window->zone_name);
        fr_free(window->zone);
        fr_free(window->words);
    }
    fr_free(*windows);
    *windows = NULL;
    *count = 0;
}

/* Names are paths below the folder, and must not lead out of it. */
static bool
is_zone_name(const char *name)
{
    if (name[0] == '\0' || strlen(name) > ZONE_NAME_MAX)
        return false;
    for (const char *c = name; *c; c++) {
        bool is_letter = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z');
        bool is_other = (*c >= '0' && *c <= '9') || strchr("_+-", *c) != NULL;
        bool is_joint = *c == '/' && c > name && c[-1] != '/';
        if (!is_letter && !is_other && !is_joint)
            return false;
    }
    return true;
}

static bool
read_zone(const char *name, struct fr_zone *out)
{
    struct fr_buf file;

    if (!is_zone_name(name))
        return false;
    char *path = fr_xprintf("%s/%s", FOLDER, name);
    fr_buf_init(&file, FR_ZONE_FILE_BYTES_MAX);
    enum fr_err err = fr_file_read(path, &file, NULL);
    if (!err)
        err = fr_zone_parse(fr_buf_view(&file), out);
    fr_buf_fini(&file);
    fr_free(path);
    return !err;
}

static void
find_zone(struct config__reader *reader, const struct config_node *item,
          struct config_window *window)
{
    const struct config_node *place = config__place(item, "zone");

    window->zone = fr_xalloc(sizeof(*window->zone)); /* zeroed: UTC */
    if (strcmp(window->zone_name, "UTC") == 0 || (!reader->world && !reader->restoring) ||
        read_zone(window->zone_name, window->zone))
        return;
    /* A ledger is read whatever became of the machine's files. */
    (reader->restoring ? config_diag_warn : config_diag_add)(
        reader->diag, place->line, place->column,
        "%s.zone is \"%.100s\", expected a time zone that is in " FOLDER
        " (package tzdata), such as Europe/Berlin or UTC",
        reader->where, window->zone_name);
}

static void
finish_window(struct config__reader *reader, const struct config_node *item,
              struct config_window *window)
{
    struct fr_view word;
    const struct config_node *place = config__place(item, "at");

    if (item->kind != CONFIG_MAPPING)
        return; /* said so already */
    if (!config__given(item, "at"))
        config_diag_add(reader->diag, item->line, item->column,
                        "%s has no at, expected when it opens, such as \"0 8 * * mon-fri\"",
                        reader->where);
    else if (window->at && !fr_cron_parse(fr_view_of(window->at), &window->cron, &word))
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.at is \"%.100s\" and \"%.*s\" is not understood, expected minute, "
                        "hour, day of the month, month and day of the week, such as "
                        "\"0 8 * * mon-fri\"",
                        reader->where, window->at, (int)(word.len < 40 ? word.len : 40),
                        word.len ? word.ptr : "");
    if (!config__given(item, "for"))
        config_diag_add(reader->diag, item->line, item->column,
                        "%s has no for, expected how long it stays open, such as 10h",
                        reader->where);
    if (window->min == 0 && window->max == 0)
        config_diag_add(reader->diag, item->line, item->column,
                        "%s has neither min nor max, expected at least one of them", reader->where);
    if (window->max > 0 && window->min > window->max) {
        place = config__place(item, "min");
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.min is %u and max is %u, expected min to be at most max", reader->where,
                        window->min, window->max);
    }
    find_zone(reader, item, window);
    window->words = fr_xprintf("%s %s", window->at ? window->at : "", window->zone_name);
}

bool
config__parse_windows(struct config__reader *reader, const struct config__row *row,
                      const struct config_node *node, void *field)
{
    struct config__array *array = field;
    if (node->kind != CONFIG_SEQUENCE)
        return config__bad_value(reader, row, node);
    if (node->child_count > CONFIG_WINDOWS_MAX)
        return config__bad(reader, row, node, "has %zu entries, expected at most %d",
                           node->child_count, CONFIG_WINDOWS_MAX);
    size_t count = node->child_count;
    struct config_window *list = count ? fr_xalloc(count * sizeof(*list)) : NULL;
    const struct config_node *item = node->first_child;
    for (size_t i = 0; i < count; i++, item = item->next) {
        size_t saved;
        config__where_into(reader, &saved, "%s[%zu]", row->path, i);
        config__defaults(CONFIG_SCOPE_WINDOW, &list[i]);
        config__read_scope(reader, CONFIG_SCOPE_WINDOW, item, &list[i]);
        finish_window(reader, item, &list[i]);
        config__where_back(reader, saved);
    }
    fr_insist(array->items == NULL); /* config__read_scope takes a key once */
    array->items = list;
    array->count = count;
    return true;
}

enum fr_err
config__print_windows(const struct config__row *row, const void *field, struct fr_buf *out)
{
    (void)row;
    const struct config__array *array = field;
    const struct config_window *list = array->items;
    struct config_window defaults = {0};
    enum fr_err err = FR_OK;
    if (array->count == 0)
        return FR_OK;
    config__defaults(CONFIG_SCOPE_WINDOW, &defaults);
    err = fr_buf_append(out, "[", 1);
    for (size_t i = 0; i < array->count && !err; i++) {
        if (i)
            err = fr_buf_append(out, ", ", 2);
        if (!err)
            err = config__print_scope(CONFIG_SCOPE_WINDOW, &list[i], &defaults, out);
    }
    fr_free(defaults.zone_name);
    return err ? err : fr_buf_append(out, "]", 1);
}

void
config__check_windows(struct config__reader *reader, const struct config_node *node,
                      const struct config_scale *scale)
{
    const struct config_node *list = config__given(node, "scale.schedule");
    const struct config_node *item = list ? list->first_child : NULL;

    for (size_t i = 0; i < scale->window_count && item; i++, item = item->next) {
        const struct config_node *place = config__place(item, "min");
        if (scale->windows[i].min > scale->max)
            config_diag_add(reader->diag, place->line, place->column,
                            "%s.scale.schedule[%zu].min is %u and scale.max is %u, expected min "
                            "to be at most max",
                            reader->where, i, scale->windows[i].min, scale->max);
        place = config__place(item, "max");
        if (scale->windows[i].max > 0 && scale->windows[i].max < scale->min)
            config_diag_add(reader->diag, place->line, place->column,
                            "%s.scale.schedule[%zu].max is %u and scale.min is %u, expected max "
                            "to be at least min",
                            reader->where, i, scale->windows[i].max, scale->min);
    }
}
