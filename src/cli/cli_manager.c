/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_manager.c - `freshet manager`: binds its listeners and runs it.
 */
#include "cli/cli.h"

#include "base/fr_file.h"
#include "base/fr_log.h"
#include "base/fr_mem.h"
#include "manager/mgr.h"

#include <errno.h>
#include <unistd.h>

struct manager {
    struct loop *loop;
    struct config *config;
    struct mgr *mgr;
};

static void
free_manager(void **self)
{
    struct manager *manager = *self;
    mgr_free(&manager->mgr);
    config_free(&manager->config);
    fr_free(manager);
    *self = NULL;
}

static enum fr_err
create(struct loop *loop, struct config *config, struct config_diag *diag, void **out,
       char **out_why)
{
    int error = 0;
    (void)diag; /* the manager reads no further file */
    struct manager *manager = fr_xalloc(sizeof(*manager));
    manager->loop = loop;
    manager->config = config;
    enum fr_err err = fr_file_make_folder(config->state, &error);
    if (err != FR_OK) {
        *out_why = fr_xprintf("state folder %s: %s", config->state, strerror(error));
        void *self = manager;
        free_manager(&self);
        return err;
    }
    *out = manager;
    return FR_OK;
}

static enum fr_err
start(void *self, char **out_why)
{
    struct manager *manager = self;
    const struct config_manager *settings = &manager->config->manager;
    int *fds = fr_xalloc((settings->listen_count + 1) * sizeof(*fds));
    size_t count = 0;
    int error = 0;
    enum fr_err err = FR_OK;
    for (; count < settings->listen_count && err == FR_OK; count++)
        err = loop_bind(&settings->listen[count].addr, false, &fds[count], &error);
    if (err != FR_OK) {
        *out_why = fr_xprintf("manager listen %s: %s", settings->listen[count - 1].text,
                              error ? strerror(error) : fr_err_words(err));
        for (size_t i = 0; i + 1 < count; i++)
            (void)close(fds[i]); /* nothing was accepted */
    } else {
        err = mgr_new(manager->loop, manager->config, fds, count, &manager->mgr);
        if (err != FR_OK)
            *out_why = fr_xprintf("manager: %s", fr_err_words(err));
    }
    fr_free(fds);
    for (size_t i = 0; err == FR_OK && i < settings->listen_count; i++) {
        char text[LOOP_ADDR_TEXT_BYTES];
        loop_addr_format(mgr_addr(manager->mgr, i), text);
        fr_log(FR_LOG_INFO, "manager", "listening", FR_S("address", text));
    }
    return err;
}

static enum fr_err
reload(void *self, struct config *config, struct config_diag *diag, char **out_why)
{
    struct manager *manager = self;
    (void)diag; /* the file's own errors were found by config_load */
    (void)out_why;
    mgr_reload(manager->mgr, config);
    config_free(&manager->config);
    manager->config = config;
    return FR_OK;
}

static void
stop(void *self, int64_t deadline_us, loop_fn fn, void *ctx)
{
    struct manager *manager = self;
    (void)deadline_us; /* goodbyes take one second at most */
    mgr_stop(manager->mgr, fn, ctx);
}

static const struct cli_service_ops manager_ops = {
    .name = "manager",
    .create = create,
    .start = start,
    .reload = reload,
    .stop = stop,
    .free = free_manager,
};

int
cli_manager(int argc, char **argv)
{
    return cli_service_main(argc, argv, &manager_ops, CONFIG_ROLE_MANAGER);
}
