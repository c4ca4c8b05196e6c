/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_acme.c - listeners whose certificates come by themselves: what is wanted, and the news of
 * it.
 *
 * The files that acme writes are the listeners' files, so that what watches certificates takes a
 * new one as it takes any other; here it is only told to look at once.
 *
 * Threads:  control loop.
 */
#include "edge/edge_priv.h"

#include "tls/tls_pem.h"

#include <string.h>
#include <unistd.h>

static void
on_news(void *ctx, enum acme_news news, const char *domain, const char *words, int64_t next_us)
{
    struct edge *edge = ctx;
    int64_t next_s = next_us / FR_US_PER_S;
    if (news == ACME_CERTIFIED) {
        fr_log(FR_LOG_INFO, "edge", "certificate fetched", FR_S("domain", domain),
               FR_I("next-seconds", next_s));
        edge_tls_look_soon(edge);
    } else if (!edge->stopping) {
        fr_log(FR_LOG_ERROR, "edge", "no certificate fetched, what is there stays",
               FR_S("domain", domain), FR_S("why", words), FR_I("next-seconds", next_s));
    }
}

void
edge_acme_apply(struct edge *edge)
{
    const struct config *config = edge->config;
    size_t count = 0;
    struct acme_order *orders = fr_xalloc((config->listen_count + 1) * sizeof(*orders));
    for (size_t i = 0; i < config->listen_count; i++) {
        const struct config_listen_tls *tls = &config->listen[i].tls;
        const struct config_acme *acme = &tls->acme;
        bool twice = false; /* two addresses of one site share its files */
        if (!tls->enabled || !acme->enabled)
            continue;
        for (size_t k = 0; k < count; k++)
            twice |= strcmp(orders[k].certificate, tls->first.certificate) == 0;
        if (!twice)
            orders[count++] = (struct acme_order){
                .directory = acme->directory,
                .email = acme->email,
                .ca = acme->ca,
                .key_id = acme->key_id,
                .hmac_key = acme->hmac_key,
                .domains = acme->domains,
                .challenge = acme->challenge == CONFIG_ACME_HTTP ? ACME_HTTP : ACME_TLS_ALPN,
                .certificate = tls->first.certificate,
                .key = tls->first.key,
            };
    }
    if (count > 0 && edge->tls.acme == NULL) {
        char *folder = fr_xprintf("%s/acme", config->state);
        const struct acme_options options = {
            .loop = edge->loop,
            .folder = folder,
            .challenges = edge->tls.challenges,
            .answers = edge->tls.answers,
            .fn = on_news,
            .ctx = edge,
        };
        edge->tls.acme = acme_new(&options);
        fr_free(folder);
    }
    if (edge->tls.acme != NULL)
        acme_set(edge->tls.acme, orders, count);
    fr_free(orders);
}

/* Whether a listener of ours has read that pair already, and goes on with what it read. */
static bool
is_shown(const struct edge *edge, const char *certificate)
{
    for (size_t i = 0; i < edge->listener_count; i++) {
        const struct tls_server *server = edge->listeners[i].manner.tls;
        if (server && strcmp(tls_server_certificate_name(server, 0), certificate) == 0)
            return true;
    }
    return false;
}

/* Whether a pair can be lost: it is not there, or was read and is no good. Of one that cannot be
 * read (permissions, a disk that fails) nobody knows how good it is. */
static bool
is_lost(const struct tls_pair *pair, enum fr_err err)
{
    if (err != FR_ERR_NOT_FOUND && err != FR_ERR_CONFIG)
        return false;
    char *why = NULL;
    EVP_PKEY *key = NULL;
    err = tls_pem_key_read(pair->key, &key, &why); /* which may not have come to be read */
    EVP_PKEY_free(key);
    fr_free(why);
    return err == FR_OK || err == FR_ERR_NOT_FOUND || err == FR_ERR_CONFIG;
}

/* A pair that is not there, or is no good (half of a backup, a disk that was full), is to be
 * fetched anew, and until then the listener shows one that nobody signed. */
enum fr_err
edge_acme_placeholder(struct edge *edge, const struct config_listen_tls *tls, char **out_why)
{
    const struct tls_pair pair = {.certificate = tls->first.certificate, .key = tls->first.key};
    char *why = NULL;
    if (!tls->acme.enabled || is_shown(edge, pair.certificate))
        return FR_OK;
    enum fr_err err = tls_pair_check(&pair, &why);
    if (err == FR_OK)
        return FR_OK;
    if (!is_lost(&pair, err)) {
        *out_why = fr_xprintf("a fetched certificate or its key cannot be read, and is not "
                              "replaced: %s",
                              why);
        err = FR_ERR_IO;
    } else {
        if (access(pair.certificate, F_OK) == 0)
            fr_log(FR_LOG_WARN, "edge", "a fetched certificate is no good, another is asked for",
                   FR_S("why", why));
        err = acme_placeholder(pair.certificate, pair.key, tls->acme.domains[0],
                               loop_wall_us(edge->loop) / FR_US_PER_S, out_why);
    }
    fr_free(why);
    return err;
}
