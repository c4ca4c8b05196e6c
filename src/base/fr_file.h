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

/* Atomic and durable: temporary file beside it, fsync, rename, fsync of the folder. The old file
 * stays whole on every failure. */
FR_MUST_USE enum fr_err fr_file_replace(const char *path, struct fr_view content, unsigned mode,
                                        int *out_errno);

/* mkdir -p, mode 0700 for what it makes. */
FR_MUST_USE enum fr_err fr_file_make_folder(const char *path, int *out_errno);

#endif
