/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_demo.h - what the demo's server, its load and its view agree on.
 */
#ifndef CLI_DEMO_H
#define CLI_DEMO_H

#include "base/fr_hist.h"
#include "base/fr_view.h"
#include "loop/loop_addr.h"

#include <stdatomic.h>

#define CLI_DEMO_BODY_BYTES 1024

/* The body that answers a path: it names the path and ends with a checksum of all before, so that
 * a reader knows whether it is whole and its own. Returns its length. */
size_t cli_demo_body(struct fr_view path, uint64_t result, char out[CLI_DEMO_BODY_BYTES]);

/* ---- load: closed-loop clients in a thread of their own ------------------------------------- */

struct cli_load;
struct cli_load_counts { /* cumulative */
    uint64_t requests, failed;
    struct fr_hist latency;
    char first_failure[160]; /* in words; empty while there is none */
};
/* Clients come and go with cli_load_clients; each sends one request after another. NULL: no
 * thread could be started. */
struct cli_load *cli_load_new(const struct loop_addr *target, uint32_t clients_max);
void cli_load_clients(struct cli_load *load, uint32_t count); /* any thread */
void cli_load_read(struct cli_load *load, struct cli_load_counts *out);
/* Lets every client finish the request under way, then ends the thread; the counts stay. */
void cli_load_end(struct cli_load *load);
void cli_load_free(struct cli_load **load);

#endif
