/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_access.h - the access log: lines out of workers' records, and where they go.
 *
 * Threads:    the control thread's.
 */
#ifndef EDGE_ACCESS_H
#define EDGE_ACCESS_H

#include "base/fr_buf.h"
#include "config/config.h"
#include "proxy/proxy.h"

/* One line, its LF included. No field can hold a line end, a quote that is not escaped, or an octet
 * that is not printable ASCII. On failure nothing was appended. */
FR_MUST_USE enum fr_err edge_access_format(enum config_access_format format,
                                           const struct proxy_log_record *record,
                                           struct fr_buf *out);
/* Longest line: every octet of every text escaped. */
#define EDGE_ACCESS_LINE_BYTES_MAX 32768

/* ---- where lines go ------------------------------------------------------------------------ */

struct edge_sink;
struct edge_sink_counters {
    uint64_t lines;  /* written */
    uint64_t lost;   /* not written: the disk or the daemon refused them */
    uint64_t errors; /* refusals */
};
/* Opens it. On failure *out_why (fr_free) says why. */
FR_MUST_USE enum fr_err edge_sink_new(const struct config_access_log *config, const char *id,
                                      struct edge_sink **out, char **out_why);
void edge_sink_free(struct edge_sink **sink);
/* A line is appended to what is to be written; false: there is no room until more was written. */
bool edge_sink_has_room(const struct edge_sink *sink);
void edge_sink_add(struct edge_sink *sink, struct fr_view line, int64_t wall_us);
/* Writes what it can without waiting; true: nothing is left. */
bool edge_sink_write(struct edge_sink *sink, int64_t now_us);
/* Opens the file anew; keeps the old one where that fails. *out_why as above. */
FR_MUST_USE enum fr_err edge_sink_reopen(struct edge_sink *sink, char **out_why);
void edge_sink_read(const struct edge_sink *sink, struct edge_sink_counters *out);

#endif
