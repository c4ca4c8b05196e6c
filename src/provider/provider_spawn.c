/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider_spawn.c - starts one server process with its words filled in and its log opened.
 *
 * May touch:  base, config, files of the state folder, processes.  Never: the loop.
 * Threads:    the control thread. posix_spawn returns once the new program is loaded, or can't be.
 * Memory:     argv and environment for the length of a call; WORD_BYTES_MAX a word.
 * Trusts:     the configuration's command; not what the server writes.
 */
#include "provider/provider_spawn.h"

#include "base/fr_buf.h"
#include "base/fr_mem.h"
#include "provider/provider_proc.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define WORD_BYTES_MAX 65536

extern char **environ;

struct word_list {
    char **words; /* NULL-terminated, each ours */
    size_t count, cap;
};

static void
list_take(struct word_list *list, char *word)
{
    fr_xgrow((void **)&list->words, &list->cap, list->count + 2, sizeof(list->words[0]));
    list->words[list->count++] = word;
    list->words[list->count] = NULL;
}

static void
list_fini(struct word_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        fr_free(list->words[i]);
    fr_free(list->words);
}

/* The value of a placeholder's name, or false: then its braces stand for themselves. */
static bool
placeholder_value(const struct provider_spawn *spawn, struct fr_view name, char *out,
                  size_t out_bytes)
{
    if (fr_view_is(name, "port"))
        return snprintf(out, out_bytes, "%d", loop_addr_port(&spawn->server->addr)) > 0;
    if (fr_view_is(name, "id"))
        return fr_view_copy(fr_view_of(spawn->server->id), out, out_bytes);
    if (fr_view_is(name, "cluster"))
        return fr_view_copy(fr_view_of(spawn->server->cluster), out, out_bytes);
    if (fr_view_is(name, "pool"))
        return fr_view_copy(fr_view_of(spawn->pool->name), out, out_bytes);
    return false;
}

/* "--port={port}" with its placeholders filled in; NULL when the result would be too long. */
static char *
word_fill(const struct provider_spawn *spawn, const char *word)
{
    struct fr_buf buf;
    char value[CONFIG_NAME_BYTES];
    char *filled = NULL;
    enum fr_err err = FR_OK;
    fr_buf_init(&buf, WORD_BYTES_MAX);
    while (*word && !err) {
        const char *close = *word == '{' ? strchr(word, '}') : NULL;
        if (close && placeholder_value(spawn, fr_view_make(word + 1, (size_t)(close - word - 1)),
                                       value, sizeof(value))) {
            err = fr_buf_append_view(&buf, fr_view_of(value));
            word = close + 1;
        } else {
            err = fr_buf_append(&buf, word++, 1);
        }
    }
    if (!err)
        filled = fr_xstrndup(buf.len ? buf.data : "", buf.len);
    fr_buf_fini(&buf);
    return filled;
}

static enum fr_err
list_fill(const struct provider_spawn *spawn, char *const *words, struct word_list *list)
{
    for (size_t i = 0; words && words[i]; i++) {
        char *word = word_fill(spawn, words[i]);
        if (!word)
            return FR_ERR_FULL;
        list_take(list, word);
    }
    return FR_OK;
}

static bool
same_name(const char *a, const char *b)
{
    size_t len = strcspn(a, "=");
    return len == strcspn(b, "=") && memcmp(a, b, len) == 0;
}

static bool
list_names(const struct word_list *list, const char *entry)
{
    for (size_t i = 0; i < list->count; i++)
        if (same_name(list->words[i], entry))
            return true;
    return false;
}

/* The marker stands first, where whoever looks for it finds it soonest; then the pool's own
 * settings, then what we have ourselves and those did not name. */
static enum fr_err
environment_make(const struct provider_spawn *spawn, struct word_list *list)
{
    list_take(list, fr_xprintf("%s=%s", PROVIDER_MARKER_NAME, spawn->marker));
    enum fr_err err = list_fill(spawn, spawn->pool->environment, list);
    if (err)
        return err;
    for (char **entry = environ; entry && *entry; entry++)
        if (!list_names(list, *entry))
            list_take(list, fr_xstrdup(*entry));
    return FR_OK;
}

/* A descriptor to append by, or -1 with errno. */
static int
log_open(const char *path, int64_t *out_from)
{
    struct stat status;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0640);
    if (fd < 0)
        return -1;
    if (fstat(fd, &status) ||
        (status.st_size > (off_t)PROVIDER_LOG_BYTES_MAX && ftruncate(fd, 0))) {
        int error = errno;
        (void)close(fd); /* nothing was written through it */
        errno = error;
        return -1;
    }
    *out_from = status.st_size > (off_t)PROVIDER_LOG_BYTES_MAX ? 0 : status.st_size;
    return fd;
}

/* Every step may fail for want of memory only. Returns an errno value, 0 when all is well. */
static int
actions_fill(posix_spawn_file_actions_t *actions, posix_spawnattr_t *attr, const char *folder,
             int log_fd)
{
    sigset_t all, none;
    (void)sigfillset(&all);
    (void)sigemptyset(&none);
    int error = posix_spawn_file_actions_addopen(actions, 0, "/dev/null", O_RDONLY, 0);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, log_fd, 1);
    if (!error)
        error = posix_spawn_file_actions_adddup2(actions, log_fd, 2);
    if (!error)
        error = posix_spawn_file_actions_addclosefrom_np(actions, 3);
    if (!error && folder)
        error = posix_spawn_file_actions_addchdir_np(actions, folder);
    if (!error)
        error = posix_spawnattr_setsigdefault(attr, &all);
    if (!error)
        error = posix_spawnattr_setsigmask(attr, &none);
    if (!error)
        error = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGDEF |
                                                   POSIX_SPAWN_SETSIGMASK);
    return error;
}

static int
spawn_now(const struct provider_spawn *spawn, char **argv, char **envp, int log_fd, pid_t *out_pid)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attr;
    int error = posix_spawn_file_actions_init(&actions);
    if (error)
        return error;
    error = posix_spawnattr_init(&attr);
    if (!error) {
        error = actions_fill(&actions, &attr, spawn->pool->folder, log_fd);
        if (!error)
            error = posix_spawnp(out_pid, argv[0], &actions, &attr, argv, envp);
        (void)posix_spawnattr_destroy(&attr); /* can't fail */
    }
    (void)posix_spawn_file_actions_destroy(&actions);
    return error;
}

enum fr_err
provider_spawn(const struct provider_spawn *spawn, pid_t *out_pid, int64_t *out_log_from, char *why,
               size_t why_bytes)
{
    struct word_list argv = {0}, envp = {0};
    int error, log_fd = -1;
    enum fr_err err = list_fill(spawn, spawn->pool->command, &argv);
    if (!err)
        err = environment_make(spawn, &envp);
    if (err || argv.count == 0) {
        (void)snprintf(why, why_bytes, "command: %s", err ? fr_err_words(err) : "empty");
        err = FR_ERR_PROVIDER;
        goto out;
    }
    log_fd = log_open(spawn->log_path, out_log_from);
    if (log_fd < 0) {
        (void)snprintf(why, why_bytes, "%s: %s", spawn->log_path, strerrordesc_np(errno));
        err = FR_ERR_PROVIDER;
        goto out;
    }
    error = spawn_now(spawn, argv.words, envp.words, log_fd, out_pid);
    if (error) {
        (void)snprintf(why, why_bytes, "%s%s%s: %s", argv.words[0],
                       spawn->pool->folder ? " in " : "",
                       spawn->pool->folder ? spawn->pool->folder : "", strerrordesc_np(error));
        err = FR_ERR_PROVIDER;
    }
out:
    if (log_fd >= 0)
        (void)close(log_fd); /* the server has its own */
    list_fini(&argv);
    list_fini(&envp);
    return err;
}

void
provider_log_last(const char *log_path, int64_t from, char out[PROVIDER_LAST_WORDS_BYTES])
{
    char tail[PROVIDER_LAST_WORDS_BYTES];
    struct stat status;
    out[0] = 0;
    int fd = open(log_path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return;
    if (fstat(fd, &status) == 0 && status.st_size > from) {
        int64_t begin = status.st_size - (int64_t)sizeof(tail) + 1;
        ssize_t got = pread(fd, tail, sizeof(tail) - 1, begin > from ? begin : from);
        while (got > 0 && (tail[got - 1] == '\n' || tail[got - 1] == '\r'))
            got--;
        const char *newline = got > 0 ? memrchr(tail, '\n', (size_t)got) : NULL;
        const char *line = newline ? newline + 1 : tail;
        size_t len = got > 0 ? (size_t)(tail + got - line) : 0;
        /* Foreign bytes on their way into logs, XML and JSON: only what is printable passes. */
        for (size_t i = 0; i < len; i++)
            out[i] = line[i] >= 0x20 && line[i] < 0x7f ? line[i] : '?';
        out[len] = 0;
    }
    (void)close(fd); /* read only */
}
