/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_file.h - whole files. Blocking: boot and control threads only.
 */
#ifndef FR_FILE_H
#define FR_FILE_H

#include "base/fr_buf.h"

/* Appends the file's bytes to buf (whose ceiling is the limit). *out_errno (may be NULL) says why
 * on FR_ERR_IO. */
FR_MUST_USE enum fr_err fr_file_read(const char *path, struct fr_buf *buf, int *out_errno);

/* What writers of one folder wait for each other; then FR_ERR_IO and EBUSY. */
#define FR_FILE_LOCK_MS 5000

/* For who reads a file, and replaces it by what it read. Writers (below) take the lock of their
 * folder themselves, so that who holds it cannot write there: a folder beside serves. Free by
 * close(*out_fd). */
FR_MUST_USE enum fr_err fr_file_lock_folder(const char *folder, int *out_fd, int *out_errno);

/* Atomic and durable: temporary file beside it, fsync, rename, fsync of the folder. The old file
 * stays whole on every failure. Nothing that has the temporary name already is written to. */
FR_MUST_USE enum fr_err fr_file_replace(const char *path, struct fr_view content, unsigned mode,
                                        int *out_errno);

/* Two files that belong together (a key, and its certificate). Whoever is killed at any point
 * leaves both old or both new, but for a moment in which the first is new and the second waits
 * beside its place, whole: fr_file_pair_waiting. Who replaces such a pair finishes it first. That
 * the two fit is the caller's to see to. */
struct fr_file_pair {
    const char *first, *second; /* paths, of two files */
};
FR_MUST_USE enum fr_err fr_file_replace_pair(const struct fr_file_pair *paths, struct fr_view first,
                                             struct fr_view second, unsigned mode, int *out_errno);
/* What waits for the second's place since the first took its own (fr_free); NULL: nothing does.
 * Whoever finds that it fits finishes the pair by fr_file_pair_finish. */
char *fr_file_pair_waiting(const struct fr_file_pair *paths);
FR_MUST_USE enum fr_err fr_file_pair_finish(const struct fr_file_pair *paths, int *out_errno);

/* mkdir -p, mode 0700 for what it makes. */
FR_MUST_USE enum fr_err fr_file_make_folder(const char *path, int *out_errno);

#endif
