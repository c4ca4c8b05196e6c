/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_demo.c - `freshet demo`: the main job on real input, in about a minute.
 *
 * It writes a configuration into a folder of its own, starts `freshet run` on it, sends a load that
 * climbs, holds and falls, and shows what happens. Everything it started is ended and removed.
 */
#include "cli/cli.h"

#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "cli/cli_client.h"
#include "cli/cli_demo.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <jansson.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CLIENTS_MAX 36
#define MEMBERS_MAX 6
#define TICK_MS 250
#define START_TIMEOUT_US (20 * FR_US_PER_S)
#define CALL_TIMEOUT_US (2 * FR_US_PER_S)
#define BODY_BYTES_MAX ((size_t)4 << 20)

struct demo {
    char *folder, *file, *admin, *manager;
    pid_t pid;
    struct loop_addr target;
    struct cli_load *load;
    bool terminal;
    /* as last seen */
    uint32_t members, members_peak, members_first;
    double utilization;
    uint64_t hits, allocated, deallocated;
    uint64_t allocated_first; /* before the load: what filled the cluster up to its minimum */
    char decided_at[64]; /* of the last decision shown */
    char error[256];
};

static void
pause_ms(long ms)
{
    struct timespec left = {ms / 1000, ms % 1000 * 1000000};
    while (nanosleep(&left, &left) != 0 && errno == EINTR)
        ;
}

/* A run of loopback ports that nobody holds now: the pool's. */
static uint16_t
free_ports(uint16_t count)
{
    for (int tries = 0; tries < 50; tries++) {
        struct sockaddr_in addr = {.sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t len = sizeof(addr);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&addr, len) == 0 &&
                  getsockname(fd, (struct sockaddr *)&addr, &len) == 0;
        if (fd >= 0)
            (void)close(fd); /* only its number was wanted */
        uint16_t first = ntohs(addr.sin_port);
        if (ok && first < 65535 - count)
            return first;
    }
    return 0;
}

static bool
write_config(struct demo *demo, const char *self)
{
    uint16_t port = free_ports(40);
    char *text = fr_xprintf(
        "state: %s/state\n"
        "admin: %s\n"
        "manager:\n  listen: %s\n"
        "listen:\n  - 127.0.0.1:0\n"
        "cache:\n  memory: 16MiB\n"
        "stream: { report-interval: 500ms }\n"
        "routes:\n  - cluster: web\n"
        "clusters:\n"
        "  web:\n"
        "    members: []\n"
        "    limit: 8                 # a demo server works on eight requests at a time\n"
        "    utilization: { window: 400ms }\n"
        "    health: { path: /healthz }\n"
        "    slow-start: 1s\n"
        "    scale:\n"
        "      from: local\n"
        "      min: 1\n"
        "      max: %d\n"
        "      upper: { level: 0.75, for: 0s }\n"
        "      lower: { level: 0.30, for: 1500ms }\n"
        "      cooldown: { up: 1s, down: 1s }\n"
        "      step: 2\n"
        "pools:\n"
        "  local:\n"
        "    provider: process\n"
        "    command: [\"%s\", \"demo-server\", \"--port\", \"{port}\"]\n"
        "    ports: %u-%u\n"
        "    stop-timeout: 3s\n",
        demo->folder, demo->admin, demo->manager, MEMBERS_MAX, self, port, port + 39u);
    FILE *out = port != 0 ? fopen(demo->file, "we") : NULL;
    bool ok = out != NULL && fputs(text, out) >= 0;
    if (out != NULL && fclose(out) != 0)
        ok = false;
    fr_free(text);
    return ok;
}

static bool
start_freshet(struct demo *demo)
{
    char *log = fr_xprintf("%s/freshet.log", demo->folder);
    demo->pid = fork();
    if (demo->pid == 0) {
        int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd >= 0)
            (void)dup2(fd, STDERR_FILENO);
        setpgid(0, 0); /* a ^C is the demo's to pass on */
        execl("/proc/self/exe", "freshet", "run", "-c", demo->file, (char *)NULL);
        _exit(CLI_FAILED);
    }
    fr_free(log);
    return demo->pid > 0;
}

static json_t *
get_json(const char *address, const char *path)
{
    struct fr_buf body;
    char why[256];
    int status = 0;
    json_t *root = NULL;
    fr_buf_init(&body, BODY_BYTES_MAX);
    if (cli_http(address, "GET", path, FR_VIEW(""), CALL_TIMEOUT_US, &status, &body, why,
                 sizeof(why)) == FR_OK &&
        status == 200)
        root = json_loadb(body.data, body.len, 0, NULL);
    fr_buf_fini(&body);
    return root;
}

static uint64_t
integer_of(const json_t *object, const char *key)
{
    return (uint64_t)json_integer_value(json_object_get(object, key));
}

static void
see_members(struct demo *demo, const json_t *root)
{
    size_t i;
    const json_t *server;
    const json_t *cluster = json_array_get(json_object_get(root, "clusters"), 0);
    double sum = 0;
    uint32_t ready = 0;
    json_array_foreach (json_object_get(cluster, "servers"), i, server) {
        const char *state = json_string_value(json_object_get(server, "state"));
        if (state == NULL || (strcmp(state, "ready") != 0 && strcmp(state, "ejected") != 0))
            continue;
        ready++;
        sum += json_number_value(json_object_get(server, "utilization"));
    }
    demo->members = ready;
    if (ready > demo->members_peak)
        demo->members_peak = ready;
    demo->utilization = ready ? sum / ready : 0;
}

/* Prints each decision to act once, as it happens. */
static void
show_decisions(struct demo *demo)
{
    size_t i;
    const json_t *row;
    char shown_until[sizeof(demo->decided_at)];
    json_t *rows = get_json(demo->manager, "/why?cluster=web&n=8&format=json");
    memcpy(shown_until, demo->decided_at, sizeof(shown_until)); /* two may share a moment */
    json_array_foreach (rows, i, row) {
        const char *verdict = json_string_value(json_object_get(row, "verdict"));
        const char *at = json_string_value(json_object_get(row, "at"));
        const char *sentence = json_string_value(json_object_get(row, "sentence"));
        if (verdict == NULL || sentence == NULL || at == NULL || strcmp(verdict, "hold") == 0 ||
            strcmp(at, shown_until) <= 0)
            continue;
        (void)fr_view_copy(fr_view_of(at), demo->decided_at, sizeof(demo->decided_at)); /* fits */
        printf("%s        > %s\n", demo->terminal ? "\r\033[K" : "", sentence);
    }
    json_decref(rows);
}

static bool
see(struct demo *demo)
{
    json_t *root = get_json(demo->admin, "/status");
    if (root == NULL)
        return false;
    const json_t *counters = json_object_get(root, "counters");
    const char *listen = json_string_value(json_array_get(json_object_get(root, "listen"), 0));
    if (listen != NULL && demo->target.len == 0 &&
        loop_addr_parse(fr_view_of(listen), &demo->target) != FR_OK)
        demo->target.len = 0;
    demo->hits = integer_of(counters, "cache_hits");
    demo->allocated = integer_of(root, "allocations") - demo->allocated_first;
    demo->deallocated = integer_of(root, "deallocations");
    see_members(demo, root);
    json_decref(root);
    return true;
}

static bool
child_ended(struct demo *demo)
{
    int status = 0;
    if (demo->pid <= 0 || waitpid(demo->pid, &status, WNOHANG) != demo->pid)
        return false;
    demo->pid = 0;
    return true;
}

static bool
wait_for_first_member(struct demo *demo)
{
    int64_t deadline_us = fr_clock_mono_us() + START_TIMEOUT_US;
    while (fr_clock_mono_us() < deadline_us) {
        if (child_ended(demo)) {
            (void)snprintf(demo->error, sizeof(demo->error), "freshet run ended at its start");
            return false;
        }
        if (access(demo->admin + strlen("unix:"), F_OK) == 0 && see(demo) && demo->members >= 1 &&
            demo->target.len != 0)
            return true;
        pause_ms(50);
    }
    (void)snprintf(demo->error, sizeof(demo->error), "no server was ready within 20 s");
    return false;
}

/* ---- view ----------------------------------------------------------------------------------- */

struct second {
    struct cli_load_counts before, now;
    int64_t at_us;
};

static void
show(struct demo *demo, struct second *second, int64_t began_us, uint32_t clients)
{
    struct fr_hist since;
    int64_t now_us = fr_clock_mono_us();
    double passed_s = (double)(now_us - second->at_us) / 1e6;
    second->before = second->now;
    cli_load_read(demo->load, &second->now);
    fr_hist_since(&since, &second->now.latency, &second->before.latency);
    double rate = (double)(second->now.requests - second->before.requests) / passed_s;
    double p99_ms = (double)fr_hist_quantile_us(&since, 0.99) / 1000;
    second->at_us = now_us;
    char bar[MEMBERS_MAX + 1];
    for (uint32_t i = 0; i < MEMBERS_MAX; i++)
        bar[i] = i < demo->members ? '#' : '.';
    bar[MEMBERS_MAX] = '\0';
    if (demo->terminal)
        printf("\r\033[K");
    printf("%6.1fs  clients %2u  members [%s] %u  utilization %.2f  %6.0f req/s  p99 %6.1f ms  "
           "hits %llu  failed %llu%s",
           (double)(now_us - began_us) / 1e6, clients, bar, demo->members, demo->utilization, rate,
           p99_ms, (unsigned long long)demo->hits, (unsigned long long)second->now.failed,
           demo->terminal ? "" : "\n");
    fflush(stdout);
}

/* Clients at a moment of the demo: climbs for two fifths, holds for one, falls for a tenth, and is
 * nearly gone afterwards, so that what was allocated goes back. */
static uint32_t
clients_at(double share)
{
    if (share < 0.40)
        return 2 + (uint32_t)((CLIENTS_MAX - 2) * share / 0.40);
    if (share < 0.60)
        return CLIENTS_MAX;
    if (share < 0.70)
        return 1 + (uint32_t)((CLIENTS_MAX - 1) * (0.70 - share) / 0.10);
    return 1;
}

static volatile sig_atomic_t interrupted;

static void
on_interrupt(int signal_number)
{
    (void)signal_number;
    interrupted = 1;
}

/* The load's time, and after it as much again at most for the last servers to go back. */
static void
drive(struct demo *demo, int64_t length_us)
{
    struct second second = {.at_us = fr_clock_mono_us()};
    int64_t began_us = second.at_us;
    int ticks = 0;
    for (;;) {
        int64_t passed_us = fr_clock_mono_us() - began_us;
        bool over = passed_us >= length_us;
        uint32_t clients = over ? 1 : clients_at((double)passed_us / (double)length_us);
        bool settled = demo->members == demo->members_first &&
                       demo->allocated == demo->deallocated;
        if (interrupted || (over && settled) || passed_us >= length_us + 20 * FR_US_PER_S ||
            child_ended(demo))
            break;
        cli_load_clients(demo->load, clients);
        pause_ms(TICK_MS);
        if (!see(demo))
            continue;
        show_decisions(demo);
        if (demo->terminal || ++ticks % (1000 / TICK_MS) == 0)
            show(demo, &second, began_us, clients);
    }
    if (demo->terminal)
        printf("\n");
}

/* ---- end ------------------------------------------------------------------------------------ */

static void
stop_freshet(struct demo *demo)
{
    int status = 0;
    if (demo->pid <= 0)
        return;
    (void)kill(demo->pid, SIGTERM); /* it may have ended just now */
    while (waitpid(demo->pid, &status, 0) < 0 && errno == EINTR)
        ;
    demo->pid = 0;
}

static int
remove_entry(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

static void
print_log_tail(const struct demo *demo)
{
    char *path = fr_xprintf("%s/freshet.log", demo->folder);
    FILE *in = fopen(path, "re");
    char line[1024];
    if (in != NULL) {
        if (fseek(in, -4000, SEEK_END) == 0 && fgets(line, sizeof(line), in) == NULL)
            line[0] = '\0'; /* the rest of a cut line */
        while (fgets(line, sizeof(line), in) != NULL)
            fputs(line, stderr);
        (void)fclose(in); /* read-only */
    }
    fr_free(path);
}

static int
result(struct demo *demo, const struct cli_load_counts *counts)
{
    bool good = counts->failed == 0 && demo->members_peak >= 4 &&
                demo->members == demo->members_first && demo->members_first == 1 &&
                demo->allocated == demo->deallocated && demo->error[0] == '\0' && !interrupted;
    if (counts->first_failure[0] != '\0')
        fprintf(stderr, "demo: the first failure was %s\n", counts->first_failure);
    if (demo->error[0] != '\0')
        fprintf(stderr, "demo: %s\n", demo->error);
    if (!good)
        print_log_tail(demo);
    printf("demo: requests=%llu failed=%llu hits=%llu members=%u->%u->%u allocated=%llu "
           "deallocated=%llu\n",
           (unsigned long long)counts->requests, (unsigned long long)counts->failed,
           (unsigned long long)demo->hits, demo->members_first, demo->members_peak, demo->members,
           (unsigned long long)demo->allocated, (unsigned long long)demo->deallocated);
    fflush(stdout);
    return good ? CLI_DONE : CLI_FAILED;
}

static int
run_demo(struct demo *demo, int64_t length_us)
{
    static char self[4096];
    struct cli_load_counts counts = {0};
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len <= 0 || !write_config(demo, self) || !start_freshet(demo))
        (void)snprintf(demo->error, sizeof(demo->error), "cannot start in %s: %s", demo->folder,
                       strerror(errno));
    else if (wait_for_first_member(demo)) {
        demo->members_first = demo->members_peak = demo->members;
        demo->allocated_first = demo->allocated;
        demo->allocated = 0;
        demo->load = cli_load_new(&demo->target, CLIENTS_MAX);
        char edge[LOOP_ADDR_TEXT_BYTES];
        loop_addr_format(&demo->target, edge);
        printf("an edge on %s, a manager, and a pool of servers, one of them in the cluster\n",
               edge);
        if (demo->load != NULL) {
            drive(demo, length_us);
            cli_load_end(demo->load);
            cli_load_read(demo->load, &counts);
        }
    }
    return result(demo, &counts);
}

int
cli_demo(int argc, char **argv)
{
    const char *seconds_text = "50";
    uint64_t seconds = 0;
    int operands = 0;
    struct demo demo = {0};
    const struct cli_option options[] = {
        {"--seconds", NULL, .text = &seconds_text, .words = "length of the load (50)"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands > 0)
        return cli_usage("demo", "unexpected: %s", argv[1]);
    if (!cli_number("demo", "--seconds", seconds_text, 10, 3600, &seconds))
        return CLI_USAGE;
    const struct sigaction action = {.sa_handler = on_interrupt};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    demo.terminal = isatty(STDOUT_FILENO) == 1;
    demo.folder = fr_xstrdup("/tmp/freshet-demo-XXXXXX");
    if (mkdtemp(demo.folder) == NULL) {
        fprintf(stderr, "demo: %s: %s\n", demo.folder, strerror(errno));
        fr_free(demo.folder);
        return CLI_FAILED;
    }
    demo.file = fr_xprintf("%s/freshet.yaml", demo.folder);
    demo.admin = fr_xprintf("unix:%s/admin.sock", demo.folder);
    demo.manager = fr_xprintf("unix:%s/manager.sock", demo.folder);
    status = run_demo(&demo, (int64_t)seconds * FR_US_PER_S);
    cli_load_free(&demo.load);
    stop_freshet(&demo);
    (void)nftw(demo.folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS); /* best effort */
    fr_free(demo.folder);
    fr_free(demo.file);
    fr_free(demo.admin);
    fr_free(demo.manager);
    return status;
}
