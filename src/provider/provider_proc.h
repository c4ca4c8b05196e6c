/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider_proc.h - what /proc says of processes: when they began, and whose servers they are.
 */
#ifndef PROVIDER_PROC_H
#define PROVIDER_PROC_H

#include "base/fr_err.h"
#include "base/fr_view.h"

#include <sys/types.h>

/* The variable that marks every process of a server: FRESHET_SERVER=INSTANCE/POOL/ID. */
#define PROVIDER_MARKER_NAME "FRESHET_SERVER"
#define PROVIDER_MARKER_BYTES 256
#define PROVIDER_INSTANCE_BYTES 33 /* 128 random bits in hexadecimal, and the NUL */

struct provider_proc {
    pid_t pid, group;
    uint64_t started; /* clock ticks since boot: field 22 of /proc/PID/stat */
    bool kernel;      /* a kernel thread */
    char marker[PROVIDER_MARKER_BYTES]; /* the variable's value; "" when it has none */
};

/* False when there is no such process, or only its zombie. The marker is read too. */
bool provider_proc_read(pid_t pid, struct provider_proc *out);

/* Visits every living process whose marker begins with `prefix`. */
void provider_proc_each(struct fr_view prefix,
                        void (*visit)(void *ctx, const struct provider_proc *proc), void *ctx);

/* The name of this state folder's servers, made once and kept in STATE/instance. */
FR_MUST_USE enum fr_err provider_instance_read(const char *state_folder,
                                               char out[PROVIDER_INSTANCE_BYTES]);

#endif
