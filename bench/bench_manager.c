/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_manager.c - what telemetry costs the manager.
 *
 *     bench-manager [SECONDS]
 *
 * decode+store:  server samples a second through the wire decoder and into the rings, on one core,
 *                by the bytes of reports (50 members, each with the ten attributes that DESIGN
 *                section 7 shows).
 * load:          200 edges on Unix sockets, 50 members each, a report a second: the manager's share
 *                of a core (its whole process: loop, decoding, deciding, journal). Once with a
 *                cluster for each edge, once with one cluster that all of them show.
 */
#include "manager/mgr_priv.h"

#include "base/fr_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define EDGES 200
#define MEMBERS 50

static void
must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "bench-manager: %s\n", what);
    exit(1);
}

static double
cpu_seconds(void)
{
    struct rusage usage;

    must(getrusage(RUSAGE_SELF, &usage) == 0, "getrusage");
    return (double)usage.ru_utime.tv_sec + (double)usage.ru_utime.tv_usec / 1e6 +
           (double)usage.ru_stime.tv_sec + (double)usage.ru_stime.tv_usec / 1e6;
}

/* ---- a manager ------------------------------------------------------------------------------- */

struct stage {
    char folder[64];
    struct loop *loop;
    struct config *config;
    struct mgr *mgr;
};

static void
stop_loop(void *ctx)
{
    loop_stop(ctx);
}

static void
turns(struct stage *stage, int64_t us)
{
    struct loop_timer timer = {0};

    loop_timer_start(stage->loop, &timer, us, stop_loop, stage->loop);
    must(loop_run(stage->loop) == FR_OK, "loop_run");
    loop_timer_stop(&timer);
}

static void
stage_open(struct stage *stage, unsigned clusters)
{
    struct fr_buf yaml;
    struct config_diag diag;
    int fd = -1;
    int errno_value = 0;

    memset(stage, 0, sizeof(*stage));
    strcpy(stage->folder, "/tmp/bench-manager-XXXXXX");
    must(mkdtemp(stage->folder) != NULL, "mkdtemp");
    fr_buf_init(&yaml, (size_t)1 << 20);
    enum fr_err err =
        fr_buf_printf(&yaml, "state: %s\nmanager: { listen: \"unix:%s/m.sock\" }\n"
                             "pools: { rack: { provider: static, servers: [\"127.0.0.1:1\"] } }\n"
                             "clusters:\n",
                      stage->folder, stage->folder);
    for (unsigned i = 0; i < clusters && err == FR_OK; i++)
        err = fr_buf_printf(&yaml, "  c%u: { limit: 1000, scale: { from: rack, max: 100 } }\n", i);
    must(err == FR_OK, "yaml");
    config_diag_init(&diag);
    must(config_parse(fr_buf_view(&yaml), "bench", CONFIG_ROLE_MANAGER, &diag, &stage->config) ==
             FR_OK,
         "configuration");
    config_diag_fini(&diag);
    fr_buf_fini(&yaml);
    must(loop_new(NULL, &stage->loop) == FR_OK, "loop_new");
    turns(stage, 1000);
    must(loop_bind(&stage->config->manager.listen[0].addr, false, &fd, &errno_value) == FR_OK,
         "loop_bind");
    must(mgr_new(stage->loop, stage->config, &fd, 1, &stage->mgr) == FR_OK, "mgr_new");
}

static void
stage_close(struct stage *stage)
{
    char command[128];

    mgr_free(&stage->mgr);
    turns(stage, 1000);
    loop_free(&stage->loop);
    config_free(&stage->config);
    snprintf(command, sizeof(command), "rm -rf -- %s", stage->folder);
    must(system(command) == 0, "rm");
}

/* ---- reports --------------------------------------------------------------------------------- */

static void
report_put(struct fr_buf *out, unsigned edge, unsigned cluster, uint64_t seq, bool is_responsible)
{
    struct wire_server servers[MEMBERS];
    struct wire_cluster shown = {.responsible = is_responsible, .servers = servers,
                                 .server_count = MEMBERS, .requests = seq * 5000};
    struct wire_report report = {.seq = seq, .at_us = fr_clock_wall_us(), .full = true,
                                 .has_self = true, .clusters = &shown, .cluster_count = 1};
    char ids[MEMBERS][64];
    char addresses[MEMBERS][64];
    char name[32];
    char id[32];

    snprintf(name, sizeof(name), "c%u", cluster);
    snprintf(id, sizeof(id), "edge-%u", edge);
    shown.name = fr_view_of(name);
    shown.waiting = 0;
    shown.generation = 7;
    report.self = wire_server_none();
    report.self.id = fr_view_of(id);
    report.self.role = FR_VIEW("edge");
    report.self.utilization = 0.4;
    report.self.requests = seq * 5000;
    for (unsigned i = 0; i < MEMBERS; i++) {
        snprintf(ids[i], sizeof(ids[i]), "c%u-%u", cluster, i);
        snprintf(addresses[i], sizeof(addresses[i]), "10.%u.%u.%u:8080", cluster / 256,
                 cluster % 256, i);
        servers[i] = wire_server_none();
        servers[i].id = fr_view_of(ids[i]);
        servers[i].address = fr_view_of(addresses[i]);
        servers[i].state = FR_VIEW("ready");
        servers[i].weight = 100;
        servers[i].utilization = 0.50 + (double)((i + seq) % 10) / 100;
        servers[i].requests = seq * 100 + i;
        servers[i].errors = 0;
        servers[i].in_flight = i % 2;
        servers[i].p50_ms = 4.1;
        servers[i].p99_ms = 31.0;
    }
    must(wire_put_report(out, &report) == FR_OK, "wire_put_report");
}

/* ---- decode and store ------------------------------------------------------------------------ */

static bool
store(void *ctx, const struct wire_event *event)
{
    struct mgr_source *source = ctx;

    if (event->kind == WIRE_EVENT_REPORT)
        mgr_source_store(source->mgr, source, event->as.report);
    return true;
}

static void
bench_decode_store(double seconds)
{
    struct stage stage;
    struct wire_decoder *decoder = NULL;
    struct wire_open open = {.role = WIRE_ROLE_EDGE, .id = FR_VIEW("edge-0")};
    struct fr_buf bytes;
    uint64_t fed = 0;

    stage_open(&stage, 1);
    struct mgr_source *source = mgr_source_get(stage.mgr, FR_VIEW("edge-0"), WIRE_ROLE_EDGE);
    must(source != NULL, "mgr_source_get");
    must(wire_decoder_new(WIRE_STREAM, &wire_limits_default, store, source, &decoder) == FR_OK,
         "wire_decoder_new");
    fr_buf_init(&bytes, (size_t)16 << 20);
    must(wire_put_open(&bytes, &open) == FR_OK, "wire_put_open");
    must(wire_decoder_feed(decoder, fr_buf_view(&bytes)) == WIRE_OK, "feed");
    fr_buf_clear(&bytes);
    for (uint64_t seq = 1; seq <= 64; seq++)
        report_put(&bytes, 0, 0, seq, false);

    double start = cpu_seconds();
    double spent = 0;
    while (spent < seconds) { /* in pieces as a socket gives them */
        for (size_t at = 0; at < bytes.len; at += 16384) {
            size_t left = bytes.len - at;
            must(wire_decoder_feed(decoder, fr_view_make(bytes.data + at,
                                                         left < 16384 ? left : 16384)) == WIRE_OK,
                 wire_decoder_words(decoder));
        }
        fed += bytes.len;
        spent = cpu_seconds() - start;
    }
    uint64_t samples = stage.mgr->counters.samples;
    printf("decode+store: %.0f server samples/s on one core (target 300000), %.0f MB/s,"
           " %zu bytes of memory a server and source\n",
           (double)samples / spent, (double)fed / spent / 1e6,
           sizeof(struct mgr_series) + sizeof(struct mgr_sight));
    wire_decoder_free(&decoder);
    fr_buf_fini(&bytes);
    stage_close(&stage);
}

/* ---- 200 edges ------------------------------------------------------------------------------- */

static int
edge_connect(const struct stage *stage, unsigned edge)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    char open[256];

    snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/m.sock", stage->folder);
    must(fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0, "connect");
    int bytes = snprintf(open, sizeof(open),
                         "<stream xmlns=\"" WIRE_NAMESPACE "\" version=\"1\" role=\"edge\""
                         " id=\"edge-%u\">",
                         edge);
    must(write(fd, open, (size_t)bytes) == bytes, "write");
    return fd;
}

/* The child: all edges, their reports spread over each second. */
static void
play_edges(const struct stage *stage, bool is_shared, double seconds)
{
    int fds[EDGES];
    char junk[65536];
    struct fr_buf bytes;

    fr_buf_init(&bytes, (size_t)1 << 20);
    for (unsigned i = 0; i < EDGES; i++)
        fds[i] = edge_connect(stage, i);
    int64_t start_us = fr_clock_mono_us();
    for (uint64_t n = 0; n < (uint64_t)(seconds * EDGES); n++) {
        unsigned edge = (unsigned)(n % EDGES);
        int64_t wait_us = start_us + (int64_t)(n * 1000000 / EDGES) - fr_clock_mono_us();
        if (wait_us > 0)
            (void)usleep((useconds_t)wait_us); /* cut short: a little early */
        while (recv(fds[edge], junk, sizeof(junk), MSG_DONTWAIT) > 0)
            continue;
        fr_buf_clear(&bytes);
        report_put(&bytes, edge, is_shared ? 0 : edge, n / EDGES + 1, !is_shared || edge == 0);
        if (send(fds[edge], bytes.data, bytes.len, MSG_NOSIGNAL) != (ssize_t)bytes.len)
            _exit(1);
    }
    _exit(0);
}

static void
bench_load(bool is_shared, double seconds)
{
    struct stage stage;
    int status = 0;

    stage_open(&stage, is_shared ? 1 : EDGES);
    pid_t child = fork();
    must(child >= 0, "fork");
    if (child == 0)
        play_edges(&stage, is_shared, seconds + 4);
    turns(&stage, 1500000); /* everybody is connected and has reported once */
    double cpu = cpu_seconds();
    int64_t start_us = fr_clock_mono_us();
    uint64_t samples = stage.mgr->counters.samples;
    turns(&stage, (int64_t)(seconds * 1e6));
    double wall = (double)(fr_clock_mono_us() - start_us) / 1e6;
    cpu = cpu_seconds() - cpu;
    samples = stage.mgr->counters.samples - samples;
    printf("load: %d edges x %d members a second, %s: %.1f %% of a core (target < 25 %%),"
           " %.0f samples/s, %" PRIu64 " decisions looked at\n",
           EDGES, MEMBERS, is_shared ? "one cluster for all" : "a cluster each",
           100 * cpu / wall, (double)samples / wall,
           stage.mgr->counters.holds + stage.mgr->counters.decisions);
    must((double)samples / wall > 0.8 * EDGES * MEMBERS, "the edges did not keep their pace");
    while (waitpid(child, &status, WNOHANG) == 0)
        turns(&stage, 100000);
    must(status == 0, "an edge was refused");
    stage_close(&stage);
}

int
main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 5;

    must(seconds > 0 && seconds <= 3600, "usage: bench-manager [SECONDS]");
    fr_log_setup(FR_LOG_ERROR, FR_LOG_SHAPE_AUTO);
    bench_decode_store(seconds);
    bench_load(false, seconds);
    bench_load(true, seconds);
    return 0;
}
