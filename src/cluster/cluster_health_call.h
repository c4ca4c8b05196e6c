/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_health_call.h - one check over HTTP/2: a GET, or a call of the gRPC health protocol.
 *
 * May touch:  base, config, http.  Never: sockets, clocks.
 * Trusts:     nothing that the member says.
 */
#ifndef CLUSTER_HEALTH_CALL_H
#define CLUSTER_HEALTH_CALL_H

#include "base/fr_buf.h"
#include "config/config.h"
#include "http/http.h"

#define CLUSTER_HEALTH_WHY_BYTES 160
#define CLUSTER_HEALTH_REQUEST_BYTES_MAX 16384
#define CLUSTER_HEALTH_INTERIM_MAX 8 /* 1xx responses before the one that counts */

enum cluster_health_step { CLUSTER_HEALTH_MORE, CLUSTER_HEALTH_PASSED, CLUSTER_HEALTH_FAILED };

struct cluster_health_call;

/* settings and head (the request's, as HTTP/1.1 text) are borrowed. FR_ERR_NOMEM, FR_ERR_FULL: the
 * head has too many fields. */
FR_MUST_USE enum fr_err cluster_health_call_new(const struct config_health *settings,
                                                struct fr_view head, bool https,
                                                struct cluster_health_call **out);
void cluster_health_call_free(struct cluster_health_call **call);
/* PASSED and FAILED are final, with `why` in words. Both may tell: what was wrong with a frame may
 * be known only when the answer to it is written. output appends what is to be sent now. */
enum cluster_health_step cluster_health_call_receive(struct cluster_health_call *call,
                                                     struct fr_view bytes, int64_t now_us,
                                                     char why[CLUSTER_HEALTH_WHY_BYTES]);
enum cluster_health_step cluster_health_call_output(struct cluster_health_call *call,
                                                    struct fr_buf *out,
                                                    char why[CLUSTER_HEALTH_WHY_BYTES]);

/* Of either version: whether the response's status passes, and why or why not. */
bool cluster_health_status(const struct config_health *settings, int status,
                           char why[CLUSTER_HEALTH_WHY_BYTES]);
/* RFC 9110 section 15.2: interim responses precede the one that answers; 101 is an answer. */
bool cluster_health_interim(int status);

#endif
