/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge.h - the responsible server: ties the data plane, the membership, the allocator and the
 * stream to the manager together. With role allocator it is the same without a data plane.
 *
 * May touch:  base, loop, wire, stream, config, cache, cluster, provider, allocator, proxy, admin.
 *             Never: manager, policy.
 * Threads:    everything here runs on the control loop; the proxy's workers are its own.
 * Life:       edge_new -> edge_start -> (edge_reload)* -> edge_stop -> edge_free.
 */
#ifndef EDGE_H
#define EDGE_H

#include "config/config.h"
#include "loop/loop.h"
#include "wire/wire.h"

struct edge;

/* role is WIRE_ROLE_EDGE or WIRE_ROLE_ALLOCATOR. Reads and reconciles the ledger, builds the first
 * membership; nothing listens yet.
 * Owns:    config, even on failure.
 * Errors:  FR_ERR_CONFIG with the ledger's errors in diag; others with words in *out_why, which the
 *          caller frees with fr_free. */
FR_MUST_USE enum fr_err edge_new(struct loop *loop, struct config *config, enum wire_role role,
                                 struct config_diag *diag, struct edge **out, char **out_why);
/* Binds every listener and the admin socket, starts the workers and the stream to the manager.
 * On failure nothing listens and *out_why (fr_free) names the address and the reason. */
FR_MUST_USE enum fr_err edge_start(struct edge *edge, char **out_why);
/* Takes the file's new content into force, all or nothing; what was added at run time stays. */
FR_MUST_USE enum fr_err edge_reload(struct edge *edge, struct config *config,
                                    struct config_diag *diag, char **out_why);
/* Refuses new connections, finishes what is under way (until the deadline), then calls fn once. */
/* SIGUSR1: the access log's file was moved away. */
void edge_access_reopen(struct edge *edge);
void edge_stop(struct edge *edge, int64_t deadline_us, loop_fn fn, void *ctx);
void edge_free(struct edge **edge);

#endif
