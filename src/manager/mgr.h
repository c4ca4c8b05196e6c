/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr.h - the manager: takes reports, decides, sends reconfiguration requests, keeps the journal.
 *
 * May touch:  base, loop, wire, config, policy, stream, admin, SQLite. Never: edge, proxy, cluster.
 * Threads:    one loop; everything here runs on its thread.
 * Promise:    its absence never hurts traffic: an edge goes on with what its ledger says.
 */
#ifndef MGR_H
#define MGR_H

#include "base/fr_err.h"
#include "loop/loop.h"

struct config;
struct mgr;

/* Takes the bound descriptors (loop_bind) of config->manager.listen, even on failure. XML streams
 * and HTTP share each of them: the first byte tells which it is.
 * Borrows:  config, until mgr_reload gave another or mgr_free returned.
 * Journal:  STATE/journal.sqlite; a damaged or locked one is reported and done without.
 */
FR_MUST_USE enum fr_err mgr_new(struct loop *loop, const struct config *config, const int *fds,
                                size_t fd_count, struct mgr **out);
/* All or nothing was decided by config_load: levels, relief and limits are in force at once and
 * changed levels go out to every session. Listeners stay as they are. */
void mgr_reload(struct mgr *mgr, const struct config *config);
/* Says goodbye on every stream, then calls fn (once, never inside this call). mgr_free follows. */
void mgr_stop(struct mgr *mgr, loop_fn fn, void *ctx);
/* Open streams end without a goodbye; pending observations are written. NULL is allowed. */
void mgr_free(struct mgr **mgr);

/* The address listener `index` is bound to; NULL past the end. */
const struct loop_addr *mgr_addr(const struct mgr *mgr, size_t index);

#endif
