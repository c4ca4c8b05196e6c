/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_log.c - formats one event and writes it with one call.
 *
 * Threads:  any. Set up once, before threads.
 * Limits:   a line is at most LINE_BYTES; longer texts are cut, and the cut is shown.
 */
#include "base/fr_log.h"

#include "base/fr_time.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LINE_BYTES 4096

static struct {
    enum fr_log_level least;
    bool json;
    bool colour;
} log_setup = {FR_LOG_INFO, false, false};

static const char *const level_names[] = {"debug", "info", "warn", "error"};
static const char *const level_colours[] = {"\033[2m", "\033[32m", "\033[33m", "\033[31m"};

struct line {
    char bytes[LINE_BYTES];
    size_t len;
};

void
fr_log_setup(enum fr_log_level least, enum fr_log_shape shape)
{
    bool terminal = isatty(STDERR_FILENO) == 1;
    const char *no_colour = getenv("NO_COLOR");
    log_setup.least = least;
    log_setup.json = shape == FR_LOG_SHAPE_JSON || (shape == FR_LOG_SHAPE_AUTO && !terminal);
    log_setup.colour = terminal && (no_colour == NULL || *no_colour == '\0');
}

bool
fr_log_on(enum fr_log_level level)
{
    return level >= log_setup.least;
}

static void
put_bytes(struct line *line, const char *ptr, size_t len)
{
    size_t room = LINE_BYTES - 8 - line->len; /* what closes the line always fits */
    if (len > room)
        len = room;
    memcpy(line->bytes + line->len, ptr, len);
    line->len += len;
}

static void
put_text(struct line *line, const char *text)
{
    put_bytes(line, text, strlen(text));
}

/* Into the room that put_bytes leaves: it always fits. */
static void
put_end(struct line *line, const char *text)
{
    size_t len = strlen(text);
    memcpy(line->bytes + line->len, text, len);
    line->len += len;
}

/* RFC 3629 section 4: the length of the well-formed sequence that text begins with; 0: none. */
static size_t
utf8_length(struct fr_view text)
{
    const unsigned char *c = (const unsigned char *)text.ptr;
    size_t len = c[0] < 0x80 ? 1 : c[0] < 0xc2 ? 0 : c[0] < 0xe0 ? 2 : c[0] < 0xf0 ? 3 : 4;
    if (len > text.len || c[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    bool beyond = (c[0] == 0xed && c[1] > 0x9f) || (c[0] == 0xf4 && c[1] > 0x8f);
    return overlong || beyond ? 0 : len;
}

/* Quoted and escaped as JSON wants it; people can read that too. What is no UTF-8 is shown as the
 * replacement character, what controls a terminal as its number. */
static void
put_quoted(struct line *line, struct fr_view text)
{
    size_t i = 0;
    put_text(line, "\"");
    while (i < text.len && line->len < LINE_BYTES - 24) {
        struct fr_view rest = fr_view_make(text.ptr + i, text.len - i);
        unsigned char c = (unsigned char)text.ptr[i];
        size_t len = utf8_length(rest);
        char escaped[8] = "\\ufffd";
        if (c == '"' || c == '\\')
            (void)snprintf(escaped, sizeof(escaped), "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            (void)snprintf(escaped, sizeof(escaped), "\\u%04x", c);
        else if (len == 2 && c == 0xc2 && (unsigned char)rest.ptr[1] < 0xa0)
            (void)snprintf(escaped, sizeof(escaped), "\\u%04x", (unsigned char)rest.ptr[1]);
        else if (len > 0)
            (void)fr_view_copy(fr_view_make(rest.ptr, len), escaped, sizeof(escaped)); /* fits */
        put_text(line, escaped);
        i += len > 0 ? len : 1;
    }
    if (i < text.len)
        put_text(line, "\xe2\x80\xa6");
    put_text(line, "\"");
}

static bool
is_plain(struct fr_view text)
{
    if (text.len == 0)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        if (c <= 0x20 || c == '"' || c == '=' || c == '\\' || c >= 0x7f)
            return false;
    }
    return true;
}

static void
put_value(struct line *line, const struct fr_log_field *field)
{
    char number[32];
    switch (field->type) {
    case FR_LOG_TYPE_TEXT:
        if (!log_setup.json && is_plain(field->value.text))
            put_bytes(line, field->value.text.ptr, field->value.text.len);
        else
            put_quoted(line, field->value.text);
        return;
    case FR_LOG_TYPE_INT:
        (void)snprintf(number, sizeof(number), "%lld", (long long)field->value.integer);
        break;
    case FR_LOG_TYPE_FLOAT:
        if (!isfinite(field->value.number))
            (void)snprintf(number, sizeof(number), "null");
        else
            (void)snprintf(number, sizeof(number), "%.3f", field->value.number);
        break;
    }
    put_text(line, number);
}

static void
format_json(struct line *line, const char *now, enum fr_log_level level, const char *room,
            const char *event, const struct fr_log_field *fields, size_t field_count)
{
    put_text(line, "{\"time\":\"");
    put_text(line, now);
    put_text(line, "\",\"level\":\"");
    put_text(line, level_names[level]);
    put_text(line, "\",\"room\":\"");
    put_text(line, room);
    put_text(line, "\",\"event\":");
    put_quoted(line, fr_view_of(event));
    for (size_t i = 0; i < field_count; i++) {
        if (line->len > LINE_BYTES - 128)
            break;
        put_text(line, ",\"");
        put_text(line, fields[i].key);
        put_text(line, "\":");
        put_value(line, &fields[i]);
    }
    put_end(line, "}\n");
}

static void
format_human(struct line *line, const char *now, enum fr_log_level level, const char *room,
             const char *event, const struct fr_log_field *fields, size_t field_count)
{
    put_bytes(line, now + 11, 12); /* the time of day is enough on a terminal */
    put_text(line, " ");
    if (log_setup.colour)
        put_text(line, level_colours[level]);
    char head[64];
    (void)snprintf(head, sizeof(head), "%-5s", level_names[level]);
    put_text(line, head);
    if (log_setup.colour)
        put_text(line, "\033[0m");
    put_text(line, " ");
    put_text(line, room);
    put_text(line, ": ");
    put_text(line, event);
    for (size_t i = 0; i < field_count; i++) {
        put_text(line, " ");
        put_text(line, fields[i].key);
        put_text(line, "=");
        put_value(line, &fields[i]);
    }
    put_end(line, "\n");
}

void
fr_log_write(enum fr_log_level level, const char *room, const char *event,
             const struct fr_log_field *fields, size_t field_count)
{
    struct line line;
    char now[FR_TIME_ISO_BYTES];
    if (!fr_log_on(level))
        return;
    line.len = 0;
    fr_time_format_iso(fr_clock_wall_us(), now);
    if (log_setup.json)
        format_json(&line, now, level, room, event, fields, field_count);
    else
        format_human(&line, now, level, room, event, fields, field_count);
    /* A log that cannot be written cannot be reported either. */
    ssize_t written = write(STDERR_FILENO, line.bytes, line.len);
    (void)written;
}
