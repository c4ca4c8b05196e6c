/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_folder.h - a folder that nothing leads out of: files are opened below it, and only there.
 *
 * The kernel holds the boundary while it walks the name (openat2, RESOLVE_BENEATH), so there is
 * nothing to check beforehand and no moment in which what was checked can be exchanged. Names from
 * anybody may be given.
 * Blocking as the file system is: a local one is expected.
 */
#ifndef FR_FOLDER_H
#define FR_FOLDER_H

#include <stdbool.h>

/* A descriptor that is good for fr_folder_file alone, or -errno: -ENOSYS when the kernel (or what
 * confines this process) has no openat2. */
int fr_folder_open(const char *path);

/* Opens the file `name` (relative, NUL-terminated) for reading and never waits for anything but the
 * disk: a FIFO opens without its writer, a terminal does not become ours. "" or "." is the folder
 * itself. symlinks: relative ones that stay inside are followed, else none.
 * Returns a descriptor, or -errno: -EXDEV for what would lead out, -ELOOP for a symbolic link that
 * was not to be followed. */
int fr_folder_file(int folder_fd, const char *name, bool symlinks);

#endif
