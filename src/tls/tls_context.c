/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_context.c - the settings that servers and clients share.
 */
#include "tls/tls_priv.h"

SSL_CTX *
tls__context_new(const SSL_METHOD *method, enum tls_version version_min)
{
    SSL_CTX *ctx = SSL_CTX_new(method);
    if (!ctx)
        return NULL;
    int least = version_min == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    (void)SSL_CTX_set_min_proto_version(ctx, least); /* both are versions that it knows */
    (void)SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
    /* Writes may be cut and their memory may move between tries; buffers go when nothing is in
     * them, as most connections are idle most of the time. */
    (void)SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                    SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(ctx, 1); /* one recv a record, not two */
    return ctx;
}
