/* SPDX-License-Identifier: Apache-2.0 */
/*
 * agent.c - reads /proc at every interval and sends what it saw.
 *
 * Follows:  proc(5), /proc/stat and /proc/meminfo.
 */
#include "agent/agent.h"

#include "base/fr_file.h"
#include "base/fr_log.h"
#include "base/fr_mem.h"
#include "stream/stream_session.h"

#include <math.h>

#define PROC_BYTES_MAX ((size_t)1 << 20)

struct agent {
    struct loop *loop;
    struct config *config;
    struct stream_session *stream;
    struct tls_identity identity; /* zeroed: no TLS */
    struct loop_timer timer;
    struct agent_cpu cpu;
    uint64_t seq;
    bool stopping;
    loop_fn stop_fn;
    void *stop_ctx;
};

bool
agent_cpu_parse(struct fr_view stat, struct agent_cpu *out)
{
    struct fr_view line, word;
    uint64_t ticks[8] = {0};
    size_t count = 0;
    if (!fr_view_split(&stat, '\n', &line) || !fr_view_split(&line, ' ', &word) ||
        !fr_view_is(word, "cpu"))
        return false;
    while (count < 8 && fr_view_split(&line, ' ', &word)) {
        if (word.len == 0) /* two spaces follow "cpu" */
            continue;
        if (!fr_view_u64(word, &ticks[count++]))
            return false;
    }
    if (count < 4)
        return false;
    out->total = 0;
    for (size_t i = 0; i < 8; i++) /* user nice system idle iowait irq softirq steal */
        out->total += ticks[i];
    out->busy = out->total - ticks[3] - ticks[4];
    return true;
}

double
agent_cpu_share(const struct agent_cpu *older, const struct agent_cpu *newer)
{
    if (newer->total <= older->total || newer->busy < older->busy)
        return NAN;
    return (double)(newer->busy - older->busy) / (double)(newer->total - older->total);
}

static bool
meminfo_line(struct fr_view line, const char *name, uint64_t *out_kib)
{
    struct fr_view head;
    if (!fr_view_split(&line, ':', &head) || !fr_view_is(head, name))
        return false;
    line = fr_view_trim(line);
    return fr_view_split(&line, ' ', &head) && fr_view_u64(head, out_kib);
}

bool
agent_memory_parse(struct fr_view meminfo, uint64_t *out_bytes)
{
    uint64_t total = 0, available = 0;
    bool has_total = false, has_available = false;
    struct fr_view line;
    while (fr_view_split(&meminfo, '\n', &line)) {
        has_total |= meminfo_line(line, "MemTotal", &total);
        has_available |= meminfo_line(line, "MemAvailable", &available);
    }
    if (!has_total || !has_available || available > total || total > UINT64_MAX / 1024)
        return false;
    *out_bytes = (total - available) * 1024;
    return true;
}

static bool
read_proc(const char *path, struct fr_buf *out)
{
    fr_buf_init(out, PROC_BYTES_MAX);
    return fr_file_read(path, out, NULL) == FR_OK;
}

static double
measure_cpu(struct agent *agent)
{
    struct fr_buf text;
    struct agent_cpu now;
    double share = NAN;
    if (read_proc("/proc/stat", &text) && agent_cpu_parse(fr_buf_view(&text), &now)) {
        share = agent_cpu_share(&agent->cpu, &now);
        agent->cpu = now;
    }
    fr_buf_fini(&text);
    return share;
}

static uint64_t
measure_memory(void)
{
    struct fr_buf text;
    uint64_t bytes = WIRE_NONE;
    if (read_proc("/proc/meminfo", &text))
        (void)agent_memory_parse(fr_buf_view(&text), &bytes); /* absent when it is not there */
    fr_buf_fini(&text);
    return bytes;
}

static void
on_interval(void *ctx)
{
    struct agent *agent = ctx;
    const struct config_agent *settings = &agent->config->agent;
    double cpu = measure_cpu(agent);
    if (stream_session_is_open(agent->stream) && !isnan(cpu)) {
        struct wire_report report = {
            .seq = ++agent->seq, .at_us = loop_wall_us(agent->loop), .has_self = true};
        report.self = wire_server_none();
        report.self.id = settings->server ? fr_view_of(settings->server)
                                          : fr_view_of(agent->config->id);
        report.self.address = fr_view_of(settings->address);
        report.self.role = fr_view_of(wire_role_name(WIRE_ROLE_AGENT));
        report.self.utilization = cpu;
        report.self.cpu = cpu;
        report.self.memory_bytes = measure_memory();
        enum fr_err err = stream_session_send_report(agent->stream, &report);
        if (err != FR_OK)
            fr_log(FR_LOG_WARN, "agent", "report not sent", FR_S("error", fr_err_words(err)));
    }
    loop_timer_start(agent->loop, &agent->timer, settings->interval_us, on_interval, agent);
}

static void
on_opened(void *ctx, const struct wire_open *open)
{
    (void)ctx;
    fr_log(FR_LOG_INFO, "agent", "manager connected", FR_V("manager", open->id));
}

static void
on_event(void *ctx, const struct wire_event *event)
{
    struct agent *agent = ctx;
    (void)event; /* nothing can be asked of an agent */
    stream_session_fail(agent->stream, "unexpected", "an agent takes no requests");
}

static void
on_ended(void *ctx, const char *why)
{
    struct agent *agent = ctx;
    if (agent->stopping)
        agent->stop_fn(agent->stop_ctx);
    else
        fr_log(FR_LOG_WARN, "agent", "no stream to the manager, trying again", FR_S("why", why));
}

enum fr_err
agent_new(struct loop *loop, struct config *config, struct agent **out)
{
    struct agent *agent = fr_xalloc(sizeof(*agent));
    agent->loop = loop;
    agent->config = config;
    *out = agent;
    return FR_OK;
}

static void
on_identity(void *ctx)
{
    struct agent *agent = ctx;
    stream_session_set_tls(agent->stream, agent->identity.client);
}

static enum fr_err
identity_begin(struct agent *agent, char **out_why)
{
    const struct config_manager *manager = &agent->config->manager;
    const struct tls_control_options options = {.certificate = manager->tls.certificate,
                                                .key = manager->tls.key,
                                                .ca = manager->tls.ca,
                                                .crl = manager->tls.crl,
                                                .name = manager->tls.name};
    if (!manager->tls.enabled || manager->connect_addr.sa.any.sa_family == AF_UNIX)
        return FR_OK;
    return tls_identity_init(&agent->identity, agent->loop, "agent", &options, false, on_identity,
                             agent, out_why);
}

enum fr_err
agent_start(struct agent *agent, char **out_why)
{
    const struct config *config = agent->config;
    enum fr_err err = identity_begin(agent, out_why);
    if (err != FR_OK)
        return err;
    const struct stream_options options = {
        .open = {.role = WIRE_ROLE_AGENT, .id = fr_view_of(config->id)},
        .limits = wire_limits_default,
        .stanza_rate = config->stream.stanza_rate,
        .keepalive_us = config->stream.keepalive_us,
        .tls = agent->identity.client,
    };
    const struct stream_callbacks callbacks = {
        .opened = on_opened, .event = on_event, .ended = on_ended};
    err = stream_session_connect(agent->loop, &config->manager.connect_addr, &options,
                                             &callbacks, agent, &agent->stream);
    if (err != FR_OK)
        return err;
    (void)measure_cpu(agent); /* what the next reading is compared with */
    loop_timer_start(agent->loop, &agent->timer, config->agent.interval_us, on_interval, agent);
    return FR_OK;
}

void
agent_stop(struct agent *agent, loop_fn fn, void *ctx)
{
    agent->stopping = true;
    agent->stop_fn = fn;
    agent->stop_ctx = ctx;
    loop_timer_stop(&agent->timer);
    stream_session_close(agent->stream);
}

void
agent_free(struct agent **out)
{
    struct agent *agent = *out;
    if (agent == NULL)
        return;
    loop_timer_stop(&agent->timer);
    stream_session_free(&agent->stream);
    tls_identity_fini(&agent->identity);
    config_free(&agent->config);
    fr_free(agent);
    *out = NULL;
}
