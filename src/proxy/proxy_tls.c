/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_tls.c - TLS under client connections.
 *
 * May touch:  base, loop, tls.
 * Limits:     header_timeout_us for the handshake and the first head together.
 */
#include "proxy/proxy_priv.h"

#include <stdio.h>
#include <string.h>

#define SUBJECT_BYTES_MAX 2048

/* Without memory members are told of no certificate, rather than of one that is not shown. */
static void
take_certificate(struct proxy_client *client)
{
    char subject[SUBJECT_BYTES_MAX], fingerprint[TLS_FINGERPRINT_BYTES];
    if (!tls_session_peer(client->tls, subject, sizeof(subject), fingerprint))
        return;
    size_t bytes = strlen(subject) + sizeof(fingerprint) + 64;
    client->certificate = fr_alloc(bytes);
    if (client->certificate)
        (void)snprintf(client->certificate, bytes,
                       "X-Client-Cert-Subject: %s\r\nX-Client-Cert-SHA256: %s\r\n", subject,
                       fingerprint);
}

static void
on_handshake(void *ctx, enum tls_outcome outcome, const char *words)
{
    struct proxy_client *client = ctx;
    struct proxy_worker *worker = client->worker;
    (void)words;
    fr_insist(client->magic == PROXY_CLIENT_MAGIC);
    if (outcome != TLS_FAILED)
        take_certificate(client);
    switch (outcome) {
    case TLS_FAILED: /* the receive that it was part of fails too, and that closes the client */
        PROXY_COUNT(worker, tls_handshakes_failed);
        if (tls_session_revoked(client->tls))
            PROXY_COUNT(worker, tls_revoked);
        break;
    case TLS_RESUMED:
        PROXY_COUNT(worker, tls_resumptions);
        PROXY_COUNT(worker, tls_handshakes);
        break;
    case TLS_DONE:
        PROXY_COUNT(worker, tls_handshakes);
        break;
    }
}

bool
proxy_tls_begin(struct proxy_client *client, struct tls_server *server)
{
    struct fr_view early = proxy_input_view(&client->in);
    enum fr_err err = tls_accept(server, &client->sock, early, on_handshake, client, &client->tls);
    proxy_input_clear(&client->in);
    client->https = true;
    if (err == FR_OK)
        return true;
    PROXY_COUNT(client->worker, memory_refusals);
    proxy_client_close(client);
    return false;
}
