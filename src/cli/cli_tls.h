/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_tls.h - TLS under the command-line tools' blocking sockets.
 *
 * May touch:  base, OpenSSL. Blocks: tools only. Time-outs are the socket's own.
 */
#ifndef CLI_TLS_H
#define CLI_TLS_H

#include "base/fr_err.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct cli_tls;

/* How to show who we are and whom to believe; each may be NULL. As options of every command that
 * talks to a running Freshet, or as variables of the environment (FRESHET_CA, FRESHET_CERT,
 * FRESHET_KEY, FRESHET_NAME, FRESHET_TOKEN_FILE). */
struct cli_access {
    const char *ca;          /* PEM file; else the system's authorities */
    const char *certificate; /* PEM files */
    const char *key;
    const char *name; /* that the other's certificate must have; else the host */
    const char *token_file;
    const char *fingerprint; /* of the authority, SHA-256: the one believed instead of `ca` */
};
struct cli_access cli_access_of_environment(void);

/* Shakes hands; SIGPIPE is ignored from then on. On failure out_why says why, in words. */
FR_MUST_USE enum fr_err cli_tls_open(int fd, const struct cli_access *access, const char *host,
                                     struct cli_tls **out, char *out_why, size_t why_bytes);
/* As send and recv: -1 and errno, 0 at the other's proper end. EPROTO: cli_tls_why says what. */
ssize_t cli_tls_send(struct cli_tls *tls, const void *bytes, size_t count);
ssize_t cli_tls_recv(struct cli_tls *tls, void *bytes, size_t count);
const char *cli_tls_why(const struct cli_tls *tls);
void cli_tls_close(struct cli_tls **tls); /* NULL inside is allowed; fd stays open */

#endif
