/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_folder.c - opening below a folder, with the kernel as the guard.
 *
 * May touch:  files.
 * Trusts:     nothing about names; the kernel resolves them.
 */
#include "base/fr_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TRIES_MAX 8 /* while somebody renames what is being walked through */

static int
open_beneath(int folder_fd, const char *name, int flags, bool symlinks)
{
    struct open_how how = {
        .flags = (unsigned)(flags | O_CLOEXEC),
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | (symlinks ? 0 : RESOLVE_NO_SYMLINKS),
    };
    long fd = -1;
    /* EAGAIN: something was renamed while a ".." of a symbolic link was resolved. */
    for (int i = 0; i < TRIES_MAX; i++) {
        fd = syscall(SYS_openat2, folder_fd, name, &how, sizeof(how));
        if (fd >= 0 || (errno != EINTR && errno != EAGAIN))
            break;
    }
    return fd < 0 ? -errno : (int)fd;
}

int
fr_folder_open(const char *path)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int probe = open_beneath(fd, ".", O_PATH | O_DIRECTORY, true);
    if (probe < 0) {
        (void)close(fd);
        /* Old confinements answer EPERM to calls they do not know. */
        return probe == -EPERM ? -ENOSYS : probe;
    }
    (void)close(probe);
    return fd;
}

int
fr_folder_file(int folder_fd, const char *name, bool symlinks)
{
    if (!name[0])
        name = ".";
    return open_beneath(folder_fd, name, O_RDONLY | O_NONBLOCK | O_NOCTTY, symlinks);
}
