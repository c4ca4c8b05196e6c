/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_service.c - how a long-running role lives: start, signals, reload, drain, end.
 *
 * Threads:  the main thread is the control thread: its loop takes the signals.
 */
#include "cli/cli.h"

#include "base/fr_log.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

struct service {
    const struct cli_service_ops *ops;
    const struct cli_service_options *options;
    struct loop *loop;
    void *self;
    bool stopping;
};

static void
on_stopped(void *ctx)
{
    struct service *service = ctx;
    loop_stop(service->loop);
}

static void
on_end_signal(void *ctx, int signal_number)
{
    struct service *service = ctx;
    (void)signal_number; /* TERM and INT mean the same here */
    if (service->stopping) {
        fr_log(FR_LOG_WARN, "cli", "second signal, stopping now");
        loop_stop(service->loop);
        return;
    }
    service->stopping = true;
    service->ops->stop(service->self, CLI_STOP_DEADLINE_US, on_stopped, service);
}

static void
log_diag(const char *event, const struct config_diag *diag)
{
    struct fr_buf text;
    fr_buf_init(&text, (size_t)1 << 16);
    if (config_diag_print(diag, &text) == FR_OK)
        fr_log(FR_LOG_ERROR, "cli", event, FR_V("errors", fr_buf_view(&text)));
    fr_buf_fini(&text);
}

static void
on_reload_signal(void *ctx, int signal_number)
{
    struct service *service = ctx;
    struct config_diag diag;
    struct config *config = NULL;
    char *why = NULL;
    (void)signal_number; /* HUP */
    if (service->options->file == NULL || service->stopping)
        return;
    config_diag_init(&diag);
    if (config_load(service->options->file, service->options->role, &diag, &config) != FR_OK)
        log_diag("file refused, the old configuration stays in force", &diag);
    else if (service->ops->reload(service->self, config, &diag, &why) != FR_OK)
        fr_log(FR_LOG_ERROR, "cli", "file refused, the old configuration stays in force",
               FR_S("why", why));
    else
        fr_log(FR_LOG_INFO, "cli", "configuration re-read",
               FR_S("file", service->options->file));
    fr_free(why);
    config_diag_fini(&diag);
}

static void
on_reopen_signal(void *ctx, int signal_number)
{
    struct service *service = ctx;
    (void)signal_number; /* USR1 */
    if (service->ops->reopen != NULL && service->self != NULL)
        service->ops->reopen(service->self);
}

/* A proxy wants as many descriptors as it may have. */
static void
raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit); /* never more than the hard limit, so it is allowed */
}

static enum fr_err
take_signals(struct service *service)
{
    (void)signal(SIGPIPE, SIG_IGN); /* sends report it */
    enum fr_err err = loop_signal(service->loop, SIGTERM, on_end_signal, service);
    if (err == FR_OK)
        err = loop_signal(service->loop, SIGINT, on_end_signal, service);
    if (err == FR_OK)
        err = loop_signal(service->loop, SIGHUP, on_reload_signal, service);
    if (err == FR_OK)
        err = loop_signal(service->loop, SIGUSR1, on_reopen_signal, service);
    return err;
}

static void
tell_ready(int ready_fd)
{
    if (ready_fd < 0)
        return;
    ssize_t written = write(ready_fd, "1", 1);
    (void)written; /* the parent that waited may be gone */
    (void)close(ready_fd);
}

static void
on_last_turn(void *ctx)
{
    loop_stop(ctx);
}

/* What was closed while the service was freed is finished by the loop's next turn. */
static void
finish_loop(struct loop **loop)
{
    struct loop_timer last = {0};
    if (*loop == NULL)
        return;
    loop_timer_start(*loop, &last, FR_US_PER_MS, on_last_turn, *loop);
    if (loop_run(*loop) != FR_OK)
        fr_log(FR_LOG_ERROR, "cli", "the loop did not end in good order");
    loop_drain_posts(*loop);
    loop_free(loop);
}

int
cli_service_run(const struct cli_service_ops *ops, const struct cli_service_options *options)
{
    struct service service = {.ops = ops, .options = options};
    struct config_diag diag;
    char *why = NULL;
    int status = CLI_FAILED;
    struct config *config = options->config;
    config_diag_init(&diag);
    raise_descriptor_limit();
    enum fr_err err = loop_new(NULL, &service.loop);
    if (err == FR_OK)
        err = take_signals(&service);
    if (err == FR_OK) {
        err = ops->create(service.loop, config, &diag, &service.self, &why);
        config = NULL;
    }
    if (err == FR_OK)
        err = ops->start(service.self, &why);
    if (err != FR_OK) {
        cli_print_diag(&diag);
        if (why != NULL || diag.entry_count == 0)
            fr_log(FR_LOG_ERROR, ops->name, "not started",
                   FR_S("why", why != NULL ? why : fr_err_words(err)));
        status = err == FR_ERR_CONFIG ? CLI_CONFIG : CLI_FAILED;
    } else {
        tell_ready(options->ready_fd);
        err = loop_run(service.loop);
        status = err == FR_OK ? CLI_DONE : CLI_FAILED;
        fr_log(FR_LOG_INFO, ops->name, "stopped");
    }
    if (service.self != NULL)
        ops->free(&service.self);
    config_free(&config);
    config_diag_fini(&diag);
    fr_free(why);
    finish_loop(&service.loop);
    return status;
}

int
cli_service_main(int argc, char **argv, const struct cli_service_ops *ops, enum config_role role)
{
    const char *file = CLI_FILE_DEFAULT, *ready = NULL, *format = NULL, *level = NULL;
    bool under_run = false, test = false;
    uint64_t ready_fd = 0;
    int operands = 0;
    const struct cli_option options[] = {
        {"--config", "-c", .text = &file, .words = "the configuration file (freshet.yaml)"},
        {"--test", "-t", .flag = &test, .words = "only check the file"},
        {"--log-format", NULL, .text = &format, .words = "human, json or auto"},
        {"--log-level", NULL, .text = &level, .words = "debug, info, warn or error"},
        {"--under-run", NULL, .flag = &under_run, .words = "started by `freshet run`"},
        {"--ready-fd", NULL, .text = &ready, .words = "descriptor to write to once started"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands > 0)
        return cli_usage(argv[0], "unexpected: %s", argv[1]);
    if (ready != NULL && !cli_number(argv[0], "--ready-fd", ready, 3, 1023, &ready_fd))
        return CLI_USAGE;
    if (!cli_log_options(argv[0], format, level))
        return CLI_USAGE;
    if (under_run)
        role = CONFIG_ROLE_RUN;
    struct config *config = cli_load(file, role, &status);
    if (config == NULL)
        return status;
    if (test) {
        config_free(&config);
        printf("%s: fine\n", file);
        return CLI_DONE;
    }
    const struct cli_service_options service = {
        .file = file, .config = config, .role = role, .ready_fd = ready ? (int)ready_fd : -1};
    return cli_service_run(ops, &service);
}
