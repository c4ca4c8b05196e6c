/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider_process.c - servers that are processes of this machine: a command started with a port.
 *
 * May touch:  base, loop, config, processes, files of the state folder.  Never: threads, logs.
 * Threads:    the control thread's loop.
 * Memory:     one handle a server that is started or adopted.
 * When full:  FR_ERR_POOL_EMPTY once every port of the range is taken, by a server or a stranger.
 * Trusts:     the configuration's command; /proc only as far as the marker and start time agree.
 *
 * Life of a handle:
 *
 *   start -> starting --task--> running --pidfd--> (died, forgotten)
 *              |  `--task (could not start)--> (forgotten)
 *   adopt ---------------------> running
 *   stop ----> stopping: SIGTERM to the group --stop_timeout--> SIGKILL --pidfd--> (forgotten)
 *
 * A server is a whole session: its leader is watched, and when the leader has gone whatever it left
 * behind is killed, because it would hold the port. Who belongs to a server is told by the marker
 * in the environment, never by a process id alone: ids are used again.
 */
#include "base/fr_check.h"
#include "base/fr_file.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "provider/provider_priv.h"
#include "provider/provider_proc.h"
#include "provider/provider_spawn.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define WHY_BYTES 512
#define PATH_BYTES 4096
#define FINI_STEP_MS 20

enum handle_state { HANDLE_STARTING, HANDLE_FAILED, HANDLE_RUNNING, HANDLE_STOPPING };

struct provider {
    struct config_pool *pool;
    struct loop *loop;
    struct provider_events events;
    char *log_folder;
    char instance[PROVIDER_INSTANCE_BYTES];
    struct fr_list handles;
    char last_words[PROVIDER_LAST_WORDS_BYTES];
    /* orphans that were told to stop, and are killed if they did not listen */
    struct orphan {
        pid_t pid;
        uint64_t started;
    } * orphans;
    size_t orphan_count, orphan_cap;
    struct loop_timer orphan_timer;
};

struct process_handle {
    struct fr_list link;
    struct provider *provider;
    struct provider_server *server;
    enum handle_state state;
    bool watched;
    struct loop_process watch;
    struct loop_task task;
    struct loop_timer kill_timer;
    int64_t log_from;
    char why[WHY_BYTES];
};

/* ---- handles -------------------------------------------------------------------------------- */

static struct process_handle *
handle_new(struct provider *provider, struct provider_server *server, enum handle_state state)
{
    struct process_handle *handle = fr_xalloc(sizeof(*handle));
    handle->provider = provider;
    handle->server = server;
    handle->state = state;
    fr_list_push_back(&provider->handles, &handle->link);
    server->handle = handle;
    return handle;
}

static void
handle_free(struct process_handle *handle)
{
    loop_defer_cancel(&handle->task);
    loop_timer_stop(&handle->kill_timer);
    if (handle->watched)
        loop_process_unwatch(&handle->watch);
    fr_list_remove(&handle->link);
    handle->server->handle = NULL;
    fr_free(handle);
}

static void
marker_print(const struct provider *provider, const char *id, char out[PROVIDER_MARKER_BYTES])
{
    /* 32 + 1 + 63 + 1 + 63 bytes at most: it always fits. */
    (void)snprintf(out, PROVIDER_MARKER_BYTES, "%s/%s/%s", provider->instance, provider->pool->name,
                   id);
}

static void
log_path_print(const struct provider *provider, const char *id, char out[PATH_BYTES])
{
    (void)snprintf(out, PATH_BYTES, "%s/%s.log", provider->log_folder, id);
}

static void
leftover_kill(void *ctx, const struct provider_proc *proc)
{
    const char *marker = ctx;
    if (strcmp(proc->marker, marker) == 0)
        (void)kill(proc->pid, SIGKILL); /* ESRCH: gone by itself */
}

/* What is left of a server whose leader has gone: children that would hold its port. */
static void
leftovers_kill(struct provider *provider, const char *id)
{
    char marker[PROVIDER_MARKER_BYTES];
    marker_print(provider, id, marker);
    provider_proc_each(fr_view_of(marker), leftover_kill, marker);
}

static void
why_print(const struct process_handle *handle, int exit_code, int exit_signal, char out[WHY_BYTES])
{
    char path[PATH_BYTES], last[PROVIDER_LAST_WORDS_BYTES], how[96];
    const char *name = exit_signal > 0 ? strsignal(exit_signal) : NULL;
    log_path_print(handle->provider, handle->server->id, path);
    provider_log_last(path, handle->log_from, last);
    if (exit_signal > 0)
        (void)snprintf(how, sizeof(how), "killed by signal %d (%s)", exit_signal,
                       name ? name : "unknown");
    else if (exit_code >= 0)
        (void)snprintf(how, sizeof(how), "exited with status %d", exit_code);
    else
        (void)snprintf(how, sizeof(how), "ended, started in an earlier life");
    (void)snprintf(out, WHY_BYTES, "%s%s%s", how, last[0] ? "; last log line: " : "", last);
}

static void
on_exit_seen(void *ctx, pid_t pid, int exit_code, int exit_signal)
{
    struct process_handle *handle = ctx;
    struct provider *provider = handle->provider;
    struct provider_server *server = handle->server;
    enum handle_state state = handle->state;
    char why[WHY_BYTES];
    (void)pid;
    why_print(handle, exit_code, exit_signal, why);
    leftovers_kill(provider, server->id);
    if (state == HANDLE_STARTING) {
        /* It ended before `started` was told: that event says so, as its failure. */
        handle->state = HANDLE_FAILED;
        memcpy(handle->why, why, sizeof(handle->why));
        return;
    }
    handle_free(handle);
    if (state == HANDLE_STOPPING)
        provider->events.stopped(provider->events.ctx, server);
    else
        provider->events.died(provider->events.ctx, server, why);
}

static void
on_start_told(void *ctx)
{
    struct process_handle *handle = ctx;
    struct provider *provider = handle->provider;
    struct provider_server *server = handle->server;
    if (handle->state == HANDLE_FAILED) {
        char why[WHY_BYTES];
        memcpy(why, handle->why, sizeof(why));
        server->pid = 0;
        server->started = 0;
        handle_free(handle);
        provider->events.started(provider->events.ctx, server, FR_ERR_PROVIDER, why);
        return;
    }
    handle->state = HANDLE_RUNNING;
    provider->events.started(provider->events.ctx, server, FR_OK, "");
}

static void
on_stop_told(void *ctx)
{
    struct process_handle *handle = ctx;
    struct provider *provider = handle->provider;
    struct provider_server *server = handle->server;
    handle_free(handle);
    provider->events.stopped(provider->events.ctx, server);
}

/* ---- the operations ---------------------------------------------------------------------------
 */

static enum fr_err
process_init(const struct config_pool *pool, struct loop *loop,
             const struct provider_events *events, const char *state_folder, struct provider **out)
{
    struct provider *provider = fr_xalloc(sizeof(*provider));
    enum fr_err err = provider_instance_read(state_folder, provider->instance);
    provider->log_folder = fr_xprintf("%s/log", state_folder);
    if (!err)
        err = fr_file_make_folder(provider->log_folder, NULL);
    if (err) {
        fr_free(provider->log_folder);
        fr_free(provider);
        return err;
    }
    provider->pool = config_pool_ref((struct config_pool *)(uintptr_t)pool);
    provider->loop = loop;
    provider->events = *events;
    fr_list_init(&provider->handles);
    *out = provider;
    return FR_OK;
}

static void
process_configure(struct provider *provider, const struct config_pool *pool)
{
    struct config_pool *old = provider->pool;
    provider->pool = config_pool_ref((struct config_pool *)(uintptr_t)pool);
    config_pool_unref(&old);
}

/* The canonical address of one port of the range. */
static bool
port_address(const struct provider *provider, unsigned port, struct loop_addr *out,
             char text[LOOP_ADDR_TEXT_BYTES])
{
    const char *host = provider->pool->host[0] ? provider->pool->host : "127.0.0.1";
    bool bare_v6 = strchr(host, ':') && host[0] != '[';
    (void)snprintf(text, LOOP_ADDR_TEXT_BYTES, bare_v6 ? "[%s]:%u" : "%s:%u", host, port);
    if (loop_addr_parse(fr_view_of(text), out))
        return false;
    loop_addr_format(out, text);
    return true;
}

/* A stranger may sit on a port of ours. Only the kernel knows, so it is asked; the socket is gone
 * again before anybody could connect, since it never listens. */
static bool
port_is_free(const struct loop_addr *addr)
{
    int on = 1;
    int fd = socket(addr->sa.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return false;
    /* As servers do: connections of the last life in TIME_WAIT are no obstacle. */
    bool bound = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
                 bind(fd, &addr->sa.any, addr->len) == 0;
    (void)close(fd); /* nothing was sent through it */
    return bound;
}

static enum fr_err
process_choose(struct provider *provider, struct fr_view wanted,
               bool (*is_taken)(void *ctx, const char *address), void *ctx,
               struct provider_server *server)
{
    struct loop_addr addr;
    char text[LOOP_ADDR_TEXT_BYTES];
    for (unsigned port = provider->pool->port_first; port <= provider->pool->port_last; port++) {
        if (port == 0 || !port_address(provider, port, &addr, text))
            continue;
        if (wanted.len && !fr_view_is(wanted, text))
            continue;
        if (is_taken(ctx, text) || !port_is_free(&addr))
            continue;
        server->addr = addr;
        memcpy(server->address, text, sizeof(text));
        return FR_OK;
    }
    return wanted.len ? FR_ERR_NOT_FOUND : FR_ERR_POOL_EMPTY;
}

static enum fr_err
handle_watch(struct process_handle *handle, pid_t pid)
{
    enum fr_err err =
        loop_process_watch(handle->provider->loop, &handle->watch, pid, on_exit_seen, handle);
    handle->watched = !err;
    return err;
}

static void
process_start(struct provider *provider, struct provider_server *server)
{
    char marker[PROVIDER_MARKER_BYTES], log_path[PATH_BYTES];
    pid_t pid = 0;
    fr_require(!server->handle);
    struct process_handle *handle = handle_new(provider, server, HANDLE_STARTING);
    marker_print(provider, server->id, marker);
    log_path_print(provider, server->id, log_path);
    struct provider_spawn spawn = {
        .pool = provider->pool, .server = server, .marker = marker, .log_path = log_path};
    loop_defer(provider->loop, &handle->task, on_start_told, handle);
    if (provider_spawn(&spawn, &pid, &handle->log_from, handle->why, sizeof(handle->why))) {
        handle->state = HANDLE_FAILED;
        return;
    }
    struct provider_proc proc = {0};
    /* A child is at least a zombie until it is waited for, so its id is still its own. */
    (void)provider_proc_read(pid, &proc); /* a zombie already: the watch tells at once */
    server->pid = pid;
    server->started = proc.started;
    enum fr_err err = handle_watch(handle, pid);
    if (err) {
        (void)kill(-pid, SIGKILL);
        (void)waitpid(pid, NULL, 0); /* ours, and dead */
        handle->state = HANDLE_FAILED;
        (void)snprintf(handle->why, sizeof(handle->why), "can't watch the process: %s",
                       fr_err_words(err));
    }
}

/* The living leader of the session that bears the marker. */
struct leader_search {
    const char *marker;
    struct provider_proc found;
};

static void
leader_seen(void *ctx, const struct provider_proc *proc)
{
    struct leader_search *search = ctx;
    if (strcmp(proc->marker, search->marker) == 0 && proc->pid == proc->group)
        search->found = *proc;
}

static bool
leader_find(struct provider *provider, const struct provider_server *server,
            struct provider_proc *out)
{
    char marker[PROVIDER_MARKER_BYTES];
    marker_print(provider, server->id, marker);
    if (server->pid > 0 && server->pid <= INT32_MAX &&
        provider_proc_read((pid_t)server->pid, out) && out->started == server->started &&
        strcmp(out->marker, marker) == 0)
        return true;
    /* The crash may have come between the fork and the ledger's second write. */
    struct leader_search search = {.marker = marker};
    provider_proc_each(fr_view_of(marker), leader_seen, &search);
    *out = search.found;
    return out->pid > 0;
}

static enum fr_err
process_adopt(struct provider *provider, struct provider_server *server)
{
    struct provider_proc proc = {0}, again = {0};
    fr_require(!server->handle);
    if (!leader_find(provider, server, &proc)) {
        leftovers_kill(provider, server->id);
        return FR_ERR_NOT_FOUND;
    }
    struct process_handle *handle = handle_new(provider, server, HANDLE_RUNNING);
    /* Looked at again behind the watch: from then on the id can't change hands unseen. */
    if (handle_watch(handle, proc.pid) || !provider_proc_read(proc.pid, &again) ||
        again.started != proc.started) {
        handle_free(handle);
        leftovers_kill(provider, server->id);
        return FR_ERR_NOT_FOUND;
    }
    server->pid = proc.pid;
    server->started = proc.started;
    return FR_OK;
}

static void
on_stop_timeout(void *ctx)
{
    struct process_handle *handle = ctx;
    (void)kill(-(pid_t)handle->server->pid, SIGKILL); /* its end is seen by the watch */
}

static void
process_stop(struct provider *provider, struct provider_server *server)
{
    struct process_handle *handle = server->handle;
    if (!handle)
        handle = handle_new(provider, server, HANDLE_FAILED);
    loop_defer_cancel(&handle->task);
    if (handle->state == HANDLE_FAILED) {
        handle->state = HANDLE_STOPPING;
        loop_defer(provider->loop, &handle->task, on_stop_told, handle);
        return;
    }
    if (handle->state == HANDLE_STOPPING)
        return;
    handle->state = HANDLE_STOPPING;
    (void)kill(-(pid_t)server->pid, SIGTERM); /* the watch holds the id: it is still its own */
    loop_timer_start(provider->loop, &handle->kill_timer, provider->pool->stop_timeout_us,
                     on_stop_timeout, handle);
}

/* ---- orphans ----------------------------------------------------------------------------------
 */

struct orphan_search {
    struct provider *provider;
    size_t prefix_len;
    bool (*is_known)(void *ctx, const char *id);
    void *ctx;
    size_t leaders;
};

static bool
orphan_noted(const struct provider *provider, const struct provider_proc *proc)
{
    for (size_t i = 0; i < provider->orphan_count; i++)
        if (provider->orphans[i].pid == proc->pid && provider->orphans[i].started == proc->started)
            return true;
    return false;
}

static void
orphan_seen(void *ctx, const struct provider_proc *proc)
{
    struct orphan_search *search = ctx;
    struct provider *provider = search->provider;
    if (search->is_known(search->ctx, proc->marker + search->prefix_len) ||
        orphan_noted(provider, proc))
        return;
    fr_xgrow((void **)&provider->orphans, &provider->orphan_cap, provider->orphan_count + 1,
             sizeof(provider->orphans[0]));
    provider->orphans[provider->orphan_count++] =
        (struct orphan){.pid = proc->pid, .started = proc->started};
    search->leaders += proc->pid == proc->group;
    (void)kill(proc->pid, SIGTERM); /* ESRCH: gone by itself */
}

static void
on_orphan_timeout(void *ctx)
{
    struct provider *provider = ctx;
    for (size_t i = 0; i < provider->orphan_count; i++) {
        struct provider_proc proc;
        if (provider_proc_read(provider->orphans[i].pid, &proc) &&
            proc.started == provider->orphans[i].started)
            (void)kill(proc.pid, SIGKILL);
    }
    provider->orphan_count = 0;
}

static size_t
process_stop_orphans(struct provider *provider, bool (*is_known)(void *ctx, const char *id),
                     void *ctx)
{
    char prefix[PROVIDER_MARKER_BYTES];
    marker_print(provider, "", prefix);
    struct orphan_search search = {
        .provider = provider, .prefix_len = strlen(prefix), .is_known = is_known, .ctx = ctx};
    provider_proc_each(fr_view_of(prefix), orphan_seen, &search);
    if (provider->orphan_count && !loop_timer_running(&provider->orphan_timer))
        loop_timer_start(provider->loop, &provider->orphan_timer, provider->pool->stop_timeout_us,
                         on_orphan_timeout, provider);
    return search.leaders;
}

/* ---- what is left -----------------------------------------------------------------------------
 */

static uint64_t
process_available(const struct provider *provider, bool (*is_taken)(void *ctx, const char *address),
                  void *ctx)
{
    struct loop_addr addr;
    char text[LOOP_ADDR_TEXT_BYTES];
    uint64_t count = 0;
    for (unsigned port = provider->pool->port_first; port <= provider->pool->port_last; port++)
        count += port != 0 && port_address(provider, port, &addr, text) && !is_taken(ctx, text);
    return count;
}

static const char *const *
process_list(struct provider *provider, bool (*is_taken)(void *ctx, const char *address), void *ctx)
{
    (void)provider;
    (void)is_taken;
    (void)ctx;
    return NULL; /* a range, not a list */
}

static const char *
process_last_words(struct provider *provider, const struct provider_server *server)
{
    char path[PATH_BYTES];
    const struct process_handle *handle = server->handle;
    log_path_print(provider, server->id, path);
    provider_log_last(path, handle ? handle->log_from : 0, provider->last_words);
    return provider->last_words;
}

static bool
handle_alive(const struct process_handle *handle)
{
    struct pollfd end = {.fd = handle->watch.pidfd, .events = POLLIN};
    return handle->watched && end.fd >= 0 && poll(&end, 1, 0) == 0;
}

/* Waits until every watched process has ended, step by step, or the time is over. */
static bool
handles_wait(struct provider *provider, int wait_ms)
{
    for (int waited_ms = 0;; waited_ms += FINI_STEP_MS) {
        bool running = false;
        FR_LIST_EACH(&provider->handles, node) {
            struct process_handle *handle = FR_CONTAINER(node, struct process_handle, link);
            running = running || handle_alive(handle);
        }
        if (!running || waited_ms >= wait_ms)
            return !running;
        (void)poll(NULL, 0, FINI_STEP_MS);
    }
}

static void
handles_signal(struct provider *provider, int signal_number)
{
    FR_LIST_EACH(&provider->handles, node) {
        struct process_handle *handle = FR_CONTAINER(node, struct process_handle, link);
        if (handle_alive(handle))
            (void)kill(-(pid_t)handle->server->pid, signal_number);
    }
}

static void
process_fini(struct provider **provider_ref, bool leave_running)
{
    struct provider *provider = *provider_ref;
    *provider_ref = NULL;
    if (!provider)
        return;
    if (!leave_running) {
        handles_signal(provider, SIGTERM);
        if (!handles_wait(provider, PROVIDER_FINI_WAIT_MS)) {
            handles_signal(provider, SIGKILL);
            (void)handles_wait(provider, PROVIDER_FINI_WAIT_MS); /* the kernel may take its time */
        }
    }
    FR_LIST_EACH_SAFE(&provider->handles, node) {
        struct process_handle *handle = FR_CONTAINER(node, struct process_handle, link);
        pid_t pid = (pid_t)handle->server->pid;
        if (!leave_running) {
            leftovers_kill(provider, handle->server->id);
            if (pid > 0)
                (void)waitpid(pid, NULL, WNOHANG); /* not ours to reap: ECHILD */
        }
        handle_free(handle);
    }
    loop_timer_stop(&provider->orphan_timer);
    config_pool_unref(&provider->pool);
    fr_free(provider->log_folder);
    fr_free(provider->orphans);
    fr_free(provider);
}

const struct provider_ops provider_process_ops = {
    .name = "process",
    .init = process_init,
    .configure = process_configure,
    .choose = process_choose,
    .start = process_start,
    .adopt = process_adopt,
    .stop = process_stop,
    .stop_orphans = process_stop_orphans,
    .available = process_available,
    .list = process_list,
    .last_words = process_last_words,
    .fini = process_fini,
};
