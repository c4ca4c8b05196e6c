/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_access_sink.c - where the access log goes: a file, stderr, or the local log daemon.
 *
 * Threads:    the control thread's. It never waits: a pipe that nobody empties and a daemon that is
 *             busy are asked again later, and meanwhile the workers' rings fill up and drop.
 * Memory:     SINK_BYTES_MAX of lines not written yet.
 * When full:  takes no more (edge_sink_has_room). What the disk or the daemon refuses is lost and
 *             counted; a line of which a part was written is ended before the next one.
 * Follows:    RFC 5424 section 6, one message a datagram.
 */
#include "edge/edge_access.h"

#include "base/fr_mem.h"
#include "base/fr_time.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SINK_BYTES_MAX 262144
#define SINK_WRITE_BYTES_MAX 65536
#define SINK_RETRY_US FR_US_PER_S /* between two looks whether the file or the daemon is there */
#define SYSLOG_SEVERITY_INFO 6

struct edge_sink {
    enum { SINK_FILE, SINK_STDERR, SINK_SYSLOG } kind;
    char *path; /* of the file, or of the daemon's socket */
    int fd;     /* -1: none now */
    dev_t dev;
    ino_t ino;
    int64_t looked_us;
    struct fr_buf out; /* lines; for syslog each behind its length */
    bool inside;       /* the last octet written was inside a line */
    bool torn;         /* ... whose rest was lost */
    unsigned priority;
    char host[256], app[64];
    struct edge_sink_counters counters;
};

/* ---- opening -------------------------------------------------------------------------------- */

/* Not blocking, for it may be a named pipe: one without a reader is an error. */
static int
open_file(const char *path)
{
    return open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0640);
}

static int
open_daemon(const char *path)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    if (!fr_view_copy(fr_view_of(path), local.sun_path, sizeof(local.sun_path))) {
        errno = ENAMETOOLONG;
        return -1;
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, (const struct sockaddr *)&local, sizeof(local)) != 0) {
        int error = errno;
        (void)close(fd);
        errno = error;
        fd = -1;
    }
    return fd;
}

static enum fr_err
sink_open(struct edge_sink *sink, char **out_why)
{
    struct stat file;
    if (sink->kind == SINK_STDERR)
        return FR_OK;
    int fd = sink->kind == SINK_FILE ? open_file(sink->path) : open_daemon(sink->path);
    if (fd < 0) {
        *out_why = fr_xprintf("access-log %s: %s", sink->path, strerror(errno));
        return FR_ERR_IO;
    }
    if (sink->fd >= 0)
        (void)close(sink->fd);
    sink->fd = fd;
    if (fstat(fd, &file) == 0) {
        sink->dev = file.st_dev;
        sink->ino = file.st_ino;
    }
    sink->torn = false; /* it began in another file */
    return FR_OK;
}

/* RFC 5424 section 6.2: names are printable ASCII without spaces; "-" where there is none. */
static void
set_name(char *out, size_t out_bytes, const char *from)
{
    size_t len = 0;
    for (; from[len] && len + 1 < out_bytes; len++)
        out[len] = (char)(from[len] > 0x20 && from[len] < 0x7f ? from[len] : '_');
    out[len] = '\0';
    if (len == 0)
        (void)snprintf(out, out_bytes, "-");
}

enum fr_err
edge_sink_new(const struct config_access_log *config, const char *id, struct edge_sink **out,
              char **out_why)
{
    struct edge_sink *sink = fr_xalloc(sizeof(*sink));
    char host[256] = "";
    bool daemon = strcmp(config->to, "syslog") == 0, error = strcmp(config->to, "stderr") == 0;
    sink->kind = daemon ? SINK_SYSLOG : error ? SINK_STDERR : SINK_FILE;
    sink->path = fr_xstrdup(daemon ? config->socket : config->to);
    sink->fd = error ? STDERR_FILENO : -1;
    sink->priority = config->facility * 8 + SYSLOG_SEVERITY_INFO;
    fr_buf_init(&sink->out, SINK_BYTES_MAX);
    if (gethostname(host, sizeof(host) - 1) != 0)
        host[0] = '\0';
    set_name(sink->host, sizeof(sink->host), host);
    set_name(sink->app, 49, id); /* APP-NAME has at most 48 */
    enum fr_err err = sink_open(sink, out_why);
    if (err)
        edge_sink_free(&sink);
    else
        *out = sink;
    return err;
}

void
edge_sink_free(struct edge_sink **sink_ptr)
{
    struct edge_sink *sink = *sink_ptr;
    *sink_ptr = NULL;
    if (!sink)
        return;
    if (sink->fd >= 0 && sink->kind != SINK_STDERR)
        (void)close(sink->fd);
    fr_buf_fini(&sink->out);
    fr_free(sink->path);
    fr_free(sink);
}

enum fr_err
edge_sink_reopen(struct edge_sink *sink, char **out_why)
{
    return sink_open(sink, out_why);
}

/* ---- taking lines --------------------------------------------------------------------------- */

bool
edge_sink_has_room(const struct edge_sink *sink)
{
    return sink->out.len + EDGE_ACCESS_LINE_BYTES_MAX + 1024 < SINK_BYTES_MAX;
}

static void
lose(struct edge_sink *sink, uint64_t lines)
{
    sink->counters.lost += lines;
}

void
edge_sink_add(struct edge_sink *sink, struct fr_view line, int64_t wall_us)
{
    size_t before = sink->out.len;
    if (sink->kind != SINK_SYSLOG) {
        if (fr_buf_append_view(&sink->out, line) != FR_OK)
            lose(sink, 1);
        return;
    }
    char iso[FR_TIME_ISO_BYTES];
    uint32_t bytes = 0;
    fr_time_format_iso(wall_us, iso);
    enum fr_err err = fr_buf_append(&sink->out, &bytes, sizeof(bytes));
    if (!err)
        err = fr_buf_printf(&sink->out, "<%u>1 %s %s %s %ld access - %.*s", sink->priority, iso,
                            sink->host, sink->app, (long)getpid(), (int)line.len - 1, line.ptr);
    if (err) {
        sink->out.len = before;
        lose(sink, 1);
        return;
    }
    bytes = (uint32_t)(sink->out.len - before - sizeof(bytes));
    memcpy(sink->out.data + before, &bytes, sizeof(bytes));
}

/* ---- writing -------------------------------------------------------------------------------- */

static uint64_t
count_lines(const char *at, size_t bytes)
{
    uint64_t lines = 0;
    for (const char *end = at + bytes; at < end && (at = memchr(at, '\n', (size_t)(end - at)));
         at++)
        lines++;
    return lines;
}

/* The log was moved or removed: whoever did that wants a new one there. */
static void
look_for_file(struct edge_sink *sink, int64_t now_us)
{
    struct stat file;
    char *why = NULL;
    if (sink->kind != SINK_FILE || now_us - sink->looked_us < SINK_RETRY_US)
        return;
    sink->looked_us = now_us;
    bool there = stat(sink->path, &file) == 0;
    if (there && file.st_dev == sink->dev && file.st_ino == sink->ino)
        return;
    if (sink_open(sink, &why) != FR_OK)
        sink->counters.errors++; /* the old one goes on being written */
    fr_free(why);
}

/* The next piece: for stderr, which others write to and which may be a pipe, only what goes out at
 * once and in one piece (POSIX write: PIPE_BUF). */
static size_t
piece(const struct edge_sink *sink)
{
    size_t max = sink->kind == SINK_STDERR ? 4096 : SINK_WRITE_BYTES_MAX;
    if (sink->out.len <= max)
        return sink->out.len;
    const char *lf = memrchr(sink->out.data, '\n', max);
    return lf ? (size_t)(lf - sink->out.data) + 1 : max;
}

static bool
may_write(const struct edge_sink *sink)
{
    struct pollfd fd = {.fd = sink->fd, .events = POLLOUT};
    return sink->kind != SINK_STDERR || (poll(&fd, 1, 0) == 1 && (fd.revents & POLLOUT));
}

static bool
write_bytes(struct edge_sink *sink)
{
    while (sink->out.len > 0) {
        size_t bytes = piece(sink);
        if (!may_write(sink))
            return false;
        if (sink->torn) {
            if (write(sink->fd, "\n", 1) != 1)
                return false;
            sink->torn = false;
        }
        ssize_t written = write(sink->fd, sink->out.data, bytes);
        if (written < 0 && (errno == EAGAIN || errno == EINTR))
            return false;
        if (written < 0) {
            sink->counters.errors++;
            lose(sink, count_lines(sink->out.data, sink->out.len));
            fr_buf_clear(&sink->out);
            sink->torn = sink->torn || sink->inside;
            sink->inside = false;
            return true;
        }
        sink->counters.lines += count_lines(sink->out.data, (size_t)written);
        if (written > 0)
            sink->inside = sink->out.data[written - 1] != '\n';
        fr_buf_consume(&sink->out, (size_t)written);
    }
    return true;
}

static bool
write_messages(struct edge_sink *sink, int64_t now_us)
{
    char *why = NULL;
    size_t at = 0;
    bool later = false;
    if (sink->fd < 0 && now_us - sink->looked_us >= SINK_RETRY_US) {
        sink->looked_us = now_us;
        if (sink_open(sink, &why) != FR_OK)
            sink->counters.errors++;
        fr_free(why);
    }
    while (at < sink->out.len && !later) {
        uint32_t bytes;
        memcpy(&bytes, sink->out.data + at, sizeof(bytes));
        const char *message = sink->out.data + at + sizeof(bytes);
        ssize_t sent = -1;
        if (sink->fd >= 0)
            sent = send(sink->fd, message, bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && sink->fd >= 0 && (errno == EAGAIN || errno == ENOBUFS)) {
            later = true;
            continue;
        }
        if (sent >= 0) {
            sink->counters.lines++;
        } else {
            lose(sink, 1);
            if (sink->fd >= 0 && errno != EMSGSIZE) { /* the daemon went away */
                sink->counters.errors++;
                (void)close(sink->fd);
                sink->fd = -1;
            }
        }
        at += sizeof(bytes) + bytes;
    }
    fr_buf_consume(&sink->out, at);
    return !later;
}

bool
edge_sink_write(struct edge_sink *sink, int64_t now_us)
{
    if (sink->out.len == 0)
        return true;
    look_for_file(sink, now_us);
    return sink->kind == SINK_SYSLOG ? write_messages(sink, now_us) : write_bytes(sink);
}

void
edge_sink_read(const struct edge_sink *sink, struct edge_sink_counters *out)
{
    *out = sink->counters;
}
