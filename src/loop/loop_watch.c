/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop_watch.c - changes of files, by inotify on their folders.
 *
 * The folder is watched, not the file: an editor or fr_file_replace puts a new file in the old
 * one's place, and a watch on the file would stay with the old one.
 */
#include "loop/loop_priv.h"

#include "base/fr_check.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#define WATCH_EVENTS (IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_ONLYDIR)
#define WATCH_READ_BYTES 4096

static_assert(sizeof(((struct loop_watch *)0)->name) > NAME_MAX, "a name must fit");

/* False when a part is too long for any file. */
static bool
split_path(const char *path, char folder[PATH_MAX], char name[NAME_MAX + 1])
{
    const char *slash = strrchr(path, '/');
    struct fr_view before = slash ? fr_view_make(path, (size_t)(slash - path)) : FR_VIEW(".");
    struct fr_view behind = fr_view_of(slash ? slash + 1 : path);
    if (slash == path)
        before = FR_VIEW("/");
    return behind.len > 0 && fr_view_copy(before, folder, PATH_MAX) &&
           fr_view_copy(behind, name, NAME_MAX + 1);
}

enum fr_err
loop_file_watch(struct loop *loop, struct loop_watch *watch, const char *path, loop_fn fn,
                void *ctx)
{
    char folder[PATH_MAX];
    memset(watch, 0, sizeof(*watch));
    if (!split_path(path, folder, watch->name))
        return FR_ERR_RANGE;
    if (loop->watch_fd < 0) {
        int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
        if (fd < 0)
            return fr_err_from_errno(errno);
        if (!loop__ctl(loop, EPOLL_CTL_ADD, fd, EPOLLIN, loop, LOOP_KIND_WATCH)) {
            enum fr_err err = fr_err_from_errno(errno);
            close(fd);
            return err;
        }
        loop->watch_fd = fd;
    }
    watch->wd = inotify_add_watch(loop->watch_fd, folder, WATCH_EVENTS);
    if (watch->wd < 0)
        return errno == ENOENT ? FR_ERR_NOT_FOUND : fr_err_from_errno(errno);
    watch->loop = loop;
    watch->fn = fn;
    watch->ctx = ctx;
    fr_list_push_back(&loop->watches, &watch->link);
    return FR_OK;
}

void
loop_file_unwatch(struct loop_watch *watch)
{
    struct loop *loop = watch->loop;
    if (!loop)
        return;
    watch->loop = NULL;
    fr_list_remove(&watch->link);
    /* Files of one folder share its descriptor. */
    FR_LIST_EACH(&loop->watches, link)
        if (FR_CONTAINER(link, struct loop_watch, link)->wd == watch->wd)
            return;
    if (watch->wd >= 0)
        (void)inotify_rm_watch(loop->watch_fd, watch->wd); /* gone already with its folder */
}

static void
mark(struct loop *loop, const struct inotify_event *event)
{
    FR_LIST_EACH(&loop->watches, link) {
        struct loop_watch *watch = FR_CONTAINER(link, struct loop_watch, link);
        if (event->mask & IN_Q_OVERFLOW) {
            watch->changed = true; /* events were lost: anything may have happened */
        } else if (watch->wd != event->wd) {
            continue;
        } else if (event->mask & IN_IGNORED) {
            watch->changed = true; /* the folder is gone, and its watch with it */
            watch->wd = -1;
        } else if (event->len > 0 && strcmp(event->name, watch->name) == 0) {
            watch->changed = true;
        }
    }
}

static struct loop_watch *
next_changed(struct loop *loop)
{
    FR_LIST_EACH(&loop->watches, link) {
        struct loop_watch *watch = FR_CONTAINER(link, struct loop_watch, link);
        if (watch->changed)
            return watch;
    }
    return NULL;
}

void
loop__watch_event(struct loop *loop)
{
    _Alignas(struct inotify_event) char bytes[WATCH_READ_BYTES];
    ssize_t got = read(loop->watch_fd, bytes, sizeof(bytes)); /* more are told again */
    for (ssize_t at = 0; at < got;) {
        const struct inotify_event *event = (const void *)(bytes + at);
        mark(loop, event);
        at += (ssize_t)(sizeof(*event) + event->len);
    }
    /* A callback may end any watch, so the search starts anew behind each. */
    struct loop_watch *watch;
    while ((watch = next_changed(loop))) {
        watch->changed = false;
        watch->fn(watch->ctx);
    }
}
