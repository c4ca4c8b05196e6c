/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_simulate_plot.c - demand and members over time: blocks for a terminal, SVG for a file.
 */
#include "cli/cli_simulate.h"

#include "base/fr_mem.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#define BLOCK_COLUMNS 72
#define WIDTH 960
#define ROW_HEIGHT 180
#define PICTURE_BYTES_MAX ((size_t)4 << 20)

static double
highest(const struct cli_picture *picture)
{
    double top = 1;

    for (size_t i = 0; i < CLI_SIMULATE_COLUMNS; i++) {
        top = fmax(top, (double)picture->need[i]);
        for (size_t r = 0; r < picture->run_count; r++)
            top = fmax(top, (double)picture->runs[r].members[i]);
    }
    return top;
}

static void
print_row(const char *name, const float *values, double top)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    size_t step = CLI_SIMULATE_COLUMNS / BLOCK_COLUMNS;

    printf("%-10s |", name);
    for (size_t i = 0; i < BLOCK_COLUMNS; i++) {
        double sum = 0;
        for (size_t k = 0; k < step; k++)
            sum += (double)values[i * step + k] / (double)step;
        double level = sum / top * 8;
        printf("%s", blocks[level < 0 ? 0 : level > 8 ? 8 : (size_t)(level + 0.5)]);
    }
    printf("|\n");
}

void
cli_picture_blocks(const struct cli_picture *picture)
{
    double top = highest(picture);

    printf("\nmembers over %.1f h, full height %.0f\n", picture->hours, top);
    print_row("demand", picture->need, top);
    for (size_t r = 0; r < picture->run_count; r++)
        print_row(picture->runs[r].name, picture->runs[r].members, top);
}

/* ---- SVG ------------------------------------------------------------------------------------ */

struct sketch {
    struct fr_buf buf;
    enum fr_err err;
};

__attribute__((format(printf, 2, 3))) static void
put(struct sketch *sketch, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    if (sketch->err == FR_OK)
        sketch->err = fr_buf_vprintf(&sketch->buf, format, args);
    va_end(args);
}

static void
put_points(struct sketch *sketch, const float *values, double top, double base)
{
    for (size_t i = 0; i < CLI_SIMULATE_COLUMNS; i++)
        put(sketch, "%.1f,%.1f ", (double)i * WIDTH / (CLI_SIMULATE_COLUMNS - 1),
            base - (double)values[i] / top * (ROW_HEIGHT - 30));
}

/* One row a policy: demand as a grey area, its members as a line over it. */
static void
put_svg(struct sketch *sketch, const struct cli_picture *picture)
{
    double top = highest(picture);
    size_t height = picture->run_count * ROW_HEIGHT + 10;

    put(sketch,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %zu\" "
        "font-family=\"sans-serif\" font-size=\"13\">\n<title>demand and members</title>\n",
        WIDTH, height);
    for (size_t r = 0; r < picture->run_count; r++) {
        const struct cli_run *run = &picture->runs[r];
        double base = (double)(r + 1) * ROW_HEIGHT;
        put(sketch, "<polygon fill=\"#ccd\" points=\"0,%.1f ", base);
        put_points(sketch, picture->need, top, base);
        put(sketch, "%d,%.1f\"/>\n<polyline fill=\"none\" stroke=\"#c30\" points=\"", WIDTH, base);
        put_points(sketch, run->members, top, base);
        put(sketch, "\"/>\n<text x=\"4\" y=\"%.1f\">%s: %.0f server-hours, ",
            base - ROW_HEIGHT + 24, run->name, run->hours);
        put(sketch, "%.2f %% violations</text>\n", 100 * run->viol_share);
    }
    put(sketch, "</svg>\n");
}

bool
cli_picture_write(const struct cli_picture *picture, const char *path)
{
    struct sketch sketch = {.err = FR_OK};
    size_t len = strlen(path);
    bool is_page = len > 5 && strcmp(path + len - 5, ".html") == 0;

    fr_buf_init(&sketch.buf, PICTURE_BYTES_MAX);
    if (is_page)
        put(&sketch,
            "<!doctype html>\n<meta charset=\"utf-8\">\n<title>freshet simulate</title>\n"
            "<p>Grey: members that the load needs. Line: members that served. %.1f h.</p>\n",
            picture->hours);
    put_svg(&sketch, picture);
    FILE *file = sketch.err == FR_OK ? fopen(path, "w") : NULL;
    bool ok = file && fwrite(sketch.buf.data, 1, sketch.buf.len, file) == sketch.buf.len;
    if (file && fclose(file) != 0)
        ok = false;
    if (!ok)
        fprintf(stderr, "freshet simulate: %s: %s\n", path, strerror(errno));
    fr_buf_fini(&sketch.buf);
    return ok;
}
