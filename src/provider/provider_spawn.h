/* SPDX-License-Identifier: Apache-2.0 */
/*
 * provider_spawn.h - one server process: its words filled in, its log opened, itself started.
 */
#ifndef PROVIDER_SPAWN_H
#define PROVIDER_SPAWN_H

#include "provider/provider.h"

#define PROVIDER_LOG_BYTES_MAX (8u << 20) /* a larger one is emptied when its server starts */
#define PROVIDER_LAST_WORDS_BYTES 256

struct provider_spawn {
    const struct config_pool *pool;
    const struct provider_server *server;
    const char *marker; /* "INSTANCE/POOL/ID" */
    const char *log_path;
};

/* Starts it as the leader of a session of its own, so that a terminal's ^C does not reach it and
 * one signal reaches all of it; nothing is inherited but the environment.
 * *out_log_from: where its own words begin in its log.
 * On failure: why is in words, `why_bytes` long at most. */
FR_MUST_USE enum fr_err provider_spawn(const struct provider_spawn *spawn, pid_t *out_pid,
                                       int64_t *out_log_from, char *why, size_t why_bytes);

/* The last line of a log behind `from`, printable; "" when there is none. */
void provider_log_last(const char *log_path, int64_t from, char out[PROVIDER_LAST_WORDS_BYTES]);

#endif
