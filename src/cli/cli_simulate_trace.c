/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_simulate_trace.c - a recorded rate out of a file: CSV, or an access log's times.
 *
 * Limits: LINE_BYTES_MAX a line, CLI_SIMULATE_TICKS_MAX ticks.
 * Trusts: nothing: a line that is not understood is skipped and counted.
 */
#include "cli/cli_simulate.h"

#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define LINE_BYTES_MAX 65536

struct sample {
    double at_s, rate;
};

struct reader {
    const char *path;
    double dt_s;
    struct cli_trace *trace;
    /* CSV */
    struct sample *samples;
    size_t sample_count, sample_capacity;
    double interval_s;
    /* a log */
    int64_t first_s;
    bool is_begun;
};

static bool
complain(const struct reader *reader, const char *what)
{
    fprintf(stderr, "freshet simulate: %s: %s\n", reader->path, what);
    return false;
}

/* ---- access logs ---------------------------------------------------------------------------- */

/* 10/Oct/2000:13:55:36 -0700 */
static bool
parse_clf(const char *text, int64_t *out_s)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm tm = {0};
    char month[4] = "";
    char sign = '+';
    int zone = 0;

    if (sscanf(text, "%2d/%3[A-Za-z]/%4d:%2d:%2d:%2d %c%4d", &tm.tm_mday, month, &tm.tm_year,
               &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &sign, &zone) < 6)
        return false;
    const char *found = strlen(month) == 3 ? strstr(months, month) : NULL;
    if (!found || (found - months) % 3 != 0 || tm.tm_year < 1970)
        return false;
    tm.tm_mon = (int)(found - months) / 3;
    tm.tm_year -= 1900;
    int offset_s = (zone / 100 * 60 + zone % 100) * 60;
    *out_s = (int64_t)timegm(&tm) - (sign == '-' ? -offset_s : offset_s);
    return true;
}

static bool
parse_json(const char *line, size_t len, int64_t *out_s)
{
    static const char *const keys[] = {"time", "ts", "timestamp", "@timestamp", "time_iso8601"};
    json_t *object = json_loadb(line, len, 0, NULL);
    int64_t at_us = 0;
    bool ok = false;

    for (size_t i = 0; !ok && i < sizeof(keys) / sizeof(keys[0]); i++) {
        const json_t *value = json_object_get(object, keys[i]);
        double number = json_is_number(value) ? json_number_value(value) : -1;
        const char *text = json_string_value(value);
        if (number >= 0 && number < 1e14) { /* seconds, or milliseconds */
            *out_s = (int64_t)(number > 1e11 ? number / 1000 : number);
            ok = true;
        } else if (text) {
            ok = fr_time_parse_iso(fr_view_of(text), &at_us);
            if (ok)
                *out_s = at_us / 1000000;
            else
                ok = parse_clf(text, out_s);
        }
    }
    json_decref(object);
    return ok;
}

static bool
grow(struct cli_trace *trace, size_t count)
{
    if (count > CLI_SIMULATE_TICKS_MAX)
        return false;
    if (count > trace->count) {
        fr_xgrow((void **)&trace->rate, &trace->capacity, count, sizeof(trace->rate[0]));
        for (; trace->count < count; trace->count++)
            trace->rate[trace->count] = 0;
    }
    return true;
}

/* A log is written when exchanges end, so lines are not quite in order: what is older than the
 * first counts to the first. */
static bool
take_log_line(struct reader *reader, const char *line, size_t len)
{
    int64_t at_s = 0;
    const char *bracket = line[0] == '{' ? NULL : strchr(line, '[');
    bool ok = line[0] == '{' ? parse_json(line, len, &at_s)
                             : bracket != NULL && parse_clf(bracket + 1, &at_s);

    if (!ok) {
        reader->trace->lines_skipped++;
        return true;
    }
    if (!reader->is_begun) {
        reader->first_s = at_s;
        reader->trace->begin_s = (double)at_s;
    }
    reader->is_begun = true;
    double tick = at_s > reader->first_s ? (double)(at_s - reader->first_s) / reader->dt_s : 0;
    if (tick >= CLI_SIMULATE_TICKS_MAX || !grow(reader->trace, (size_t)tick + 1))
        return complain(reader, "more than a year");
    reader->trace->rate[(size_t)tick] += 1 / reader->dt_s;
    return true;
}

/* ---- CSV ------------------------------------------------------------------------------------ */

static void
take_csv_line(struct reader *reader, const char *line)
{
    char *end = NULL;
    struct sample sample;

    if (strncmp(line, "# interval_s:", 13) == 0) {
        reader->interval_s = strtod(line + 13, NULL);
        return;
    }
    sample.at_s = strtod(line, &end);
    if (end == line || *end != ',')
        return; /* a comment or the header */
    sample.rate = strtod(end + 1, NULL);
    if (!isfinite(sample.at_s) || !isfinite(sample.rate) || sample.rate < 0 ||
        (reader->sample_count > 0 &&
         sample.at_s <= reader->samples[reader->sample_count - 1].at_s)) {
        reader->trace->lines_skipped++;
        return;
    }
    fr_xgrow((void **)&reader->samples, &reader->sample_capacity, reader->sample_count + 1,
             sizeof(reader->samples[0]));
    reader->samples[reader->sample_count++] = sample;
}

/* A sample is the mean of its interval: placed at the middle, joined linearly. */
static bool
spread_samples(struct reader *reader)
{
    const struct sample *s = reader->samples;
    size_t last = reader->sample_count - 1;
    size_t j = 0;

    if (reader->sample_count < 2)
        return complain(reader, "expected at least two lines \"seconds,rate\"");
    double interval_s = reader->interval_s > 0 ? reader->interval_s : s[1].at_s - s[0].at_s;
    double ticks = (s[last].at_s + interval_s - s[0].at_s) / reader->dt_s;
    if (!(ticks >= 1) || ticks > CLI_SIMULATE_TICKS_MAX || !grow(reader->trace, (size_t)ticks))
        return complain(reader, "no tick, or more than a year of them");
    reader->trace->begin_s = fmax(-1e11, fmin(1e11, s[0].at_s));
    for (size_t i = 0; i < reader->trace->count; i++) {
        double x = s[0].at_s + ((double)i + 0.5) * reader->dt_s - interval_s / 2;
        while (j < last && s[j + 1].at_s <= x)
            j++;
        double rate = s[j].rate;
        if (x > s[j].at_s && j < last)
            rate += (s[j + 1].rate - rate) * (x - s[j].at_s) / (s[j + 1].at_s - s[j].at_s);
        reader->trace->rate[i] = rate;
    }
    return true;
}

/* ---- a file --------------------------------------------------------------------------------- */

static bool
is_log(const char *line)
{
    return line[0] == '{' || (strchr(line, '[') != NULL && strchr(line, '"') != NULL);
}

/* gzip (RFC 1952), zstd, xz. */
static bool
is_compressed(const char *line)
{
    static const char *const magics[] = {"\x1f\x8b", "\x28\xb5\x2f\xfd", "\xfd\x37zXZ"};
    for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
        if (strncmp(line, magics[i], strlen(magics[i])) == 0)
            return true;
    return false;
}

static bool
read_lines(struct reader *reader, FILE *file, char *line)
{
    bool is_first = true;
    bool log = false;
    bool ok = true;

    while (ok && fgets(line, LINE_BYTES_MAX, file) != NULL) {
        if (line[0] == '\n' || line[0] == '\r')
            continue;
        if (is_first && is_compressed(line))
            return complain(reader, "compressed; unpack it on the way: "
                                    "zcat FILE | freshet simulate /dev/stdin");
        if (is_first)
            log = is_log(line);
        is_first = false;
        if (log)
            ok = take_log_line(reader, line, strlen(line));
        else
            take_csv_line(reader, line);
    }
    if (ok && ferror(file))
        ok = complain(reader, strerror(errno));
    if (ok && !log)
        ok = spread_samples(reader);
    if (ok && reader->trace->count == 0)
        ok = complain(reader, "no request in it");
    return ok;
}

bool
cli_trace_read(const char *path, double dt_s, struct cli_trace *out)
{
    struct reader reader = {.path = path, .dt_s = dt_s, .trace = out};
    FILE *file = fopen(path, "r");

    *out = (struct cli_trace){.rate = NULL};
    if (!file)
        return complain(&reader, strerror(errno));
    char *line = fr_xalloc(LINE_BYTES_MAX);
    bool ok = read_lines(&reader, file, line);
    fr_free(line);
    fr_free(reader.samples);
    (void)fclose(file); /* only read */
    return ok;
}

void
cli_trace_fini(struct cli_trace *trace)
{
    fr_free(trace->rate);
    *trace = (struct cli_trace){.rate = NULL};
}
