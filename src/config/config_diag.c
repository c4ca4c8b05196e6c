/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_diag.c - collects what is wrong with a file, and prints it with the line and a caret.
 *
 * May touch:  base.
 * When full:  further entries are counted, not kept; one line at the end says how many.
 * Trusts:     nothing that is quoted: control characters never reach a terminal.
 */
#include "config/config_diag.h"

#include "base/fr_mem.h"

#include <stdio.h>
#include <stdlib.h>

#define QUOTE_BYTES_MAX 160 /* of the source line; a long line is shown around its column */
#define QUOTE_BEFORE 100

void
config_diag_init(struct config_diag *diag)
{
    *diag = (struct config_diag){0};
}

void
config_diag_fini(struct config_diag *diag)
{
    for (size_t i = 0; i < diag->entry_count; i++)
        fr_free(diag->entries[i].text);
    fr_free(diag->entries);
    fr_free(diag->name);
    fr_free(diag->source);
    *diag = (struct config_diag){0};
}

void
config_diag_source(struct config_diag *diag, const char *name, struct fr_view source)
{
    char *new_name = fr_xstrdup(name);
    char *new_source = source.ptr ? fr_xstrndup(source.ptr, source.len) : NULL;
    fr_free(diag->name);
    fr_free(diag->source);
    diag->name = new_name;
    diag->source = new_source;
}

/* Foreign text is quoted in messages: what could move a terminal's cursor is replaced. */
static void
make_printable(char *text)
{
    for (; *text; text++)
        if ((unsigned char)*text < 0x20 || *text == 0x7f)
            *text = '?';
}

static void
entry_add(struct config_diag *diag, unsigned line, unsigned column, bool warning,
          const char *format, va_list args)
{
    if (!warning)
        diag->error_count++;
    if (diag->entry_count >= CONFIG_DIAG_ENTRIES_MAX) {
        diag->dropped++;
        return;
    }
    char text[1024];
    (void)vsnprintf(text, sizeof(text), format, args); /* cut off is good enough for a message */
    make_printable(text);
    fr_xgrow((void **)&diag->entries, &diag->entry_cap, diag->entry_count + 1,
             sizeof(*diag->entries));
    diag->entries[diag->entry_count++] = (struct config_diag_entry){
        .line = line, .column = column, .warning = warning, .text = fr_xstrdup(text)};
}

void
config_diag_add(struct config_diag *diag, unsigned line, unsigned column, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    entry_add(diag, line, column, false, format, args);
    va_end(args);
}

void
config_diag_warn(struct config_diag *diag, unsigned line, unsigned column, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    entry_add(diag, line, column, true, format, args);
    va_end(args);
}

static const char *
name_of(const struct config_diag *diag)
{
    return diag->name ? diag->name : "configuration";
}

static enum fr_err
print_text(const struct config_diag *diag, const struct config_diag_entry *entry,
           struct fr_buf *out)
{
    const char *level = entry->warning ? "warning: " : "";
    if (entry->line == 0)
        return fr_buf_printf(out, "%s: %s%s", name_of(diag), level, entry->text);
    return fr_buf_printf(out, "%s:%u:%u: %s%s", name_of(diag), entry->line, entry->column, level,
                         entry->text);
}

/* The source line of that number, without its end; ptr NULL when there is none. */
static struct fr_view
source_line(const struct config_diag *diag, unsigned line)
{
    const char *at = diag->source;
    for (unsigned i = 1; at && i < line; i++) {
        at = strchr(at, '\n');
        if (at)
            at++;
    }
    if (!at || line == 0)
        return (struct fr_view){0};
    size_t len = strcspn(at, "\r\n");
    return fr_view_make(at, len);
}

static bool
is_continuation(char byte)
{
    return ((unsigned char)byte & 0xc0) == 0x80;
}

/* Columns count characters, as libyaml does; this is the byte where one begins. */
static size_t
byte_of_column(struct fr_view line, unsigned column)
{
    size_t at = 0;
    for (unsigned i = 1; i < column && at < line.len; i++) {
        at++;
        while (at < line.len && is_continuation(line.ptr[at]))
            at++;
    }
    return at;
}

static enum fr_err
append_char(struct fr_buf *out, char c)
{
    return fr_buf_append(out, &c, 1);
}

/* The quoted line, and under its column the caret. Tabs stay tabs in both, so that they line up. */
static enum fr_err
print_quote(const struct config_diag *diag, const struct config_diag_entry *entry,
            struct fr_buf *out)
{
    struct fr_view line = source_line(diag, entry->line);
    if (!line.ptr)
        return FR_OK;
    size_t caret = byte_of_column(line, entry->column);
    size_t from = caret > QUOTE_BEFORE && line.len > QUOTE_BYTES_MAX ? caret - QUOTE_BEFORE : 0;
    while (from > 0 && from < line.len && is_continuation(line.ptr[from]))
        from--;
    size_t to = line.len - from > QUOTE_BYTES_MAX ? from + QUOTE_BYTES_MAX : line.len;
    while (to < line.len && is_continuation(line.ptr[to]))
        to++;
    enum fr_err err = fr_buf_append(out, "    ", 4);
    for (size_t i = from; i < to && !err; i++) {
        char c = line.ptr[i];
        err = append_char(out, ((unsigned char)c < 0x20 && c != '\t') || c == 0x7f ? '?' : c);
    }
    if (!err)
        err = fr_buf_append(out, "\n    ", 5);
    for (size_t i = from; i < caret && !err; i++)
        if (!is_continuation(line.ptr[i]))
            err = append_char(out, line.ptr[i] == '\t' ? '\t' : ' ');
    if (!err)
        err = fr_buf_append(out, "^\n", 2);
    return err;
}

/* Orders by place; equal places stay in the order in which they were found. */
static int
entry_compare(const void *a, const void *b)
{
    const struct config_diag_entry *x = *(const struct config_diag_entry *const *)a;
    const struct config_diag_entry *y = *(const struct config_diag_entry *const *)b;
    if (x->line != y->line)
        return x->line < y->line ? -1 : 1;
    if (x->column != y->column)
        return x->column < y->column ? -1 : 1;
    return x < y ? -1 : x > y;
}

/* Pointers to the entries in order of place; the caller frees. NULL when there are none. */
static const struct config_diag_entry **
sorted(const struct config_diag *diag)
{
    if (diag->entry_count == 0)
        return NULL;
    const struct config_diag_entry **list = fr_xalloc(diag->entry_count * sizeof(const void *));
    for (size_t i = 0; i < diag->entry_count; i++)
        list[i] = &diag->entries[i];
    qsort(list, diag->entry_count, sizeof(*list), entry_compare);
    return list;
}

enum fr_err
config_diag_print(const struct config_diag *diag, struct fr_buf *out)
{
    const struct config_diag_entry **list = sorted(diag);
    enum fr_err err = FR_OK;
    for (size_t i = 0; i < diag->entry_count && !err; i++) {
        err = print_text(diag, list[i], out);
        if (!err)
            err = append_char(out, '\n');
        if (!err)
            err = print_quote(diag, list[i], out);
    }
    if (!err && diag->dropped > 0)
        err = fr_buf_printf(out, "%s: and %zu more\n", name_of(diag), diag->dropped);
    fr_free(list);
    return err;
}

enum fr_err
config_diag_print_first(const struct config_diag *diag, struct fr_buf *out)
{
    const struct config_diag_entry **list = sorted(diag);
    const struct config_diag_entry *first = list ? list[0] : NULL;
    for (size_t i = 0; i < diag->entry_count; i++) {
        if (!list[i]->warning) {
            first = list[i];
            break;
        }
    }
    enum fr_err err = first ? print_text(diag, first, out) : FR_OK;
    fr_free(list);
    return err;
}
