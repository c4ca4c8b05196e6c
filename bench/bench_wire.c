/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_wire.c - what the stream's notation costs, by itself.
 *
 *     bench-wire [SECONDS]
 *
 * encode, decode:  server samples a second on one core; reports of 50 members with the ten
 *                  attributes of DESIGN section 7, in pieces of 16 KiB as a socket gives them.
 * decode, full:    the same with every attribute that there is.
 */
#include "wire/wire.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define MEMBERS 50
#define REPORTS 20 /* of one block of bytes */
#define PIECE_BYTES 16384

static double
cpu_seconds(void)
{
    struct timespec now;
    fr_require(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now) == 0);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void
fill_server(struct wire_server *server, unsigned i, bool full)
{
    static const char *const ids[] = {"web-1", "web-22", "web-127.0.0.1-9001"};
    *server = wire_server_none();
    server->id = fr_view_of(ids[i % 3]);
    server->address = FR_VIEW("10.0.0.7:8080");
    server->state = FR_VIEW("ready");
    server->weight = 100;
    server->utilization = 0.001 * i + 0.41;
    server->requests = 88123 + i * 7919;
    server->errors = i;
    server->in_flight = 15 + i;
    server->p50_ms = 4.1 + 0.01 * i;
    server->p99_ms = 31.25;
    if (!full)
        return;
    server->pool = FR_VIEW("rack");
    server->cpu = 0.5;
    server->connect_failures = 3;
    server->connections = 40;
    server->bytes_in = 123456789012;
    server->bytes_out = 98765432101;
    server->p90_ms = 17.003;
    server->memory_bytes = 73400320;
    server->cache_hits = 80113;
    server->cache_misses = 991;
    server->cache_bytes = 268435456;
    server->relief = 0;
}

static void
put_reports(struct fr_buf *out, bool full)
{
    struct wire_server servers[MEMBERS];
    struct wire_cluster cluster = wire_cluster_none();
    for (unsigned i = 0; i < MEMBERS; i++)
        fill_server(&servers[i], i, full);
    cluster.name = FR_VIEW("web");
    cluster.requests = 8010;
    cluster.servers = servers;
    cluster.server_count = MEMBERS;
    struct wire_report report = {.seq = 1,
                                 .at_us = 1767268800123000LL,
                                 .full = true,
                                 .clusters = &cluster,
                                 .cluster_count = 1};
    for (unsigned i = 0; i < REPORTS; i++)
        fr_require(wire_put_report(out, &report) == FR_OK);
}

static bool
on_event(void *ctx, const struct wire_event *event)
{
    uint64_t *samples = ctx;
    if (event->kind == WIRE_EVENT_REPORT)
        *samples += event->as.report->clusters[0].server_count;
    return true;
}

static double
measure_decode(const struct fr_buf *block, double seconds)
{
    static const struct wire_open open = {.role = WIRE_ROLE_EDGE, .id = {"edge-1", 6}};
    struct wire_decoder *decoder;
    struct fr_buf opening;
    uint64_t samples = 0;
    fr_buf_init(&opening, 4096);
    fr_require(wire_decoder_new(WIRE_STREAM, NULL, on_event, &samples, &decoder) == FR_OK);
    fr_require(wire_put_open(&opening, &open) == FR_OK);
    fr_require(wire_decoder_feed(decoder, fr_buf_view(&opening)) == WIRE_OK);
    double began = cpu_seconds(), passed = 0;
    while (passed < seconds) {
        for (size_t at = 0; at < block->len; at += PIECE_BYTES) {
            size_t len = block->len - at < PIECE_BYTES ? block->len - at : PIECE_BYTES;
            fr_require(wire_decoder_feed(decoder, fr_view_make(block->data + at, len)) == WIRE_OK);
        }
        passed = cpu_seconds() - began;
    }
    wire_decoder_free(&decoder);
    fr_buf_fini(&opening);
    return (double)samples / passed;
}

static double
measure_encode(struct fr_buf *block, double seconds)
{
    uint64_t samples = 0;
    double began = cpu_seconds(), passed = 0;
    while (passed < seconds) {
        fr_buf_clear(block);
        put_reports(block, false);
        samples += (uint64_t)MEMBERS * REPORTS;
        passed = cpu_seconds() - began;
    }
    return (double)samples / passed;
}

int
main(int argc, char **argv)
{
    double seconds = 1;
    struct fr_buf block;
    if (argc > 1 && !fr_view_f64(fr_view_of(argv[1]), &seconds)) {
        fprintf(stderr, "usage: bench-wire [SECONDS]\n");
        return 2;
    }
    fr_buf_init(&block, (size_t)16 << 20);
    printf("encode: %.0f samples/s\n", measure_encode(&block, seconds));
    printf("decode: %.0f samples/s, %zu bytes a sample\n", measure_decode(&block, seconds),
           block.len / MEMBERS / REPORTS);
    fr_buf_clear(&block);
    put_reports(&block, true);
    printf("decode, full: %.0f samples/s, %zu bytes a sample\n", measure_decode(&block, seconds),
           block.len / MEMBERS / REPORTS);
    fr_buf_fini(&block);
    return 0;
}
