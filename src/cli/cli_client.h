/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_client.h - one HTTP request, waited for: how the command-line tools ask a running Freshet.
 */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H

#include "base/fr_buf.h"
#include "cli/cli_tls.h"

/* Sends one request to "unix:path", "host:port", ":port" (this machine) or, with TLS,
 * "https://host:port" and waits for the whole
 * answer.
 * path_and_query: as on the wire, percent-encoded; body: may be empty.
 * timeout_us: for all of it.  out_body: initialised; the answer is appended up to its ceiling.
 * On failure out_why says in words for people what happened, with the address; *out_status is set
 * on success only, whatever the status is. */
FR_MUST_USE enum fr_err cli_http(const char *address_text, const char *method,
                                 const char *path_and_query, struct fr_view body,
                                 int64_t timeout_us, int *out_status, struct fr_buf *out_body,
                                 char *out_why, size_t why_bytes);

/* The same with TLS as `access` says, which may be NULL: as the environment says. */
FR_MUST_USE enum fr_err cli_https(const struct cli_access *access, const char *address_text,
                                  const char *method, const char *path_and_query,
                                  struct fr_view body, int64_t timeout_us, int *out_status,
                                  struct fr_buf *out_body, char *out_why,
                                  size_t why_bytes);

#endif
