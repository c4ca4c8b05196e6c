/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_tls.c - what listeners and clusters say of TLS: what must hold together, and the server or
 * client that comes of it.
 *
 * May touch:  base, tls, and by that the files that are named.
 */
#include "config/config_priv.h"

#include "base/fr_mem.h"

static void
need_both(struct config__reader *reader, const struct config_node *node, const char *where,
          const struct config_certificate *pair)
{
    if (!pair->certificate == !pair->key)
        return;
    config_diag_add(reader->diag, node->line, node->column,
                    "%s%s has a %s without its %s, expected both files", reader->where, where,
                    pair->key ? "key" : "certificate", pair->key ? "certificate" : "key");
}

void
config__check_certificate(struct config__reader *reader, const struct config_node *node,
                          const struct config_certificate *certificate)
{
    if (certificate->certificate || certificate->key)
        need_both(reader, node, "", certificate);
    else
        config_diag_add(reader->diag, node->line, node->column,
                        "%s has no certificate, expected certificate and key", reader->where);
}

static void
check_acme(struct config__reader *reader, const struct config_node *node,
           const struct config_listen_tls *tls)
{
    const struct config_node *place = config__place(node, "tls.acme");
    const struct config_acme *acme = &tls->acme;
    const char *wrong = NULL;
    if (tls->first.certificate || tls->first.key)
        wrong = "a certificate beside it, expected one of them";
    else if (!acme->domains || !acme->domains[0])
        wrong = "no domains, expected at least one";
    else if (!acme->key_id != !acme->hmac_key)
        wrong = "one of key-id and hmac-key, expected both or neither";
    else if (strncmp(acme->directory, "https://", 8) != 0)
        wrong = "a directory that is no https URL, expected one";
    for (size_t i = 0; !wrong && acme->domains[i]; i++)
        if (strchr(acme->domains[i], '*') || !strchr(acme->domains[i], '.'))
            wrong = "a domain that cannot be proved this way, expected host names with a dot and "
                    "without '*'";
    if (wrong)
        config_diag_add(reader->diag, place->line, place->column, "%s.tls.acme has %s",
                        reader->where, wrong);
}

void
config__check_tls(struct config__reader *reader, const struct config_node *node,
                  const struct config_listen *listen)
{
    const struct config_listen_tls *tls = &listen->tls;
    if (!tls->enabled)
        return;
    const struct config_node *place = config__place(node, "tls");
    size_t errors = reader->diag->error_count;
    need_both(reader, place, ".tls", &tls->first);
    if (tls->acme.enabled)
        check_acme(reader, node, tls);
    else if (!tls->first.certificate && !tls->first.key)
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.tls has no certificate, expected certificate and key", reader->where);
    if ((tls->client_auth == TLS_CLIENT_AUTH_OFF) != !tls->client_ca)
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.tls has %s, expected client-auth and client-ca together", reader->where,
                        tls->client_ca ? "client-ca without client-auth"
                                       : "client-auth without client-ca");
    if (tls->client_crl && !tls->client_ca)
        config_diag_add(reader->diag, place->line, place->column,
                        "%s.tls has client-crl without client-ca, expected both", reader->where);
    if (errors != reader->diag->error_count || !reader->world || reader->restoring ||
        tls->acme.enabled) /* whose files are named when the state folder is known */
        return;
    struct tls_server *server = NULL;
    char *why = NULL;
    enum fr_err err = config_tls_server(listen, NULL, &server, &why);
    if (err == FR_ERR_NOT_FOUND)
        config_diag_warn(reader->diag, place->line, place->column,
                         "%s.tls: %.300s: the listener stays closed until it is there",
                         reader->where, why);
    else if (err)
        config_diag_add(reader->diag, place->line, place->column, "%s.tls: %.300s", reader->where,
                        why);
    tls_server_unref(&server);
    fr_free(why);
}

/* What is set but not asked for, which a reader would take for in force. */
static void
check_idle_keys(struct config__reader *reader, const struct config_node *node,
                const struct config_member_tls *tls)
{
    if (tls->verify || !tls->ca)
        return;
    const struct config_node *place = config__place(node, "tls.ca");
    config_diag_add(reader->diag, place->line, place->column,
                    "%s.tls has ca and verify: false, expected one of them: nothing is verified",
                    reader->where);
}

void
config__check_member_tls(struct config__reader *reader, const struct config_node *node,
                         struct config_cluster *cluster)
{
    struct config_member_tls *tls = &cluster->tls;
    if (!tls->enabled)
        return;
    const struct config_node *place = config__place(node, "tls");
    const struct config_certificate ours = {.certificate = tls->certificate, .key = tls->key};
    size_t errors = reader->diag->error_count;
    need_both(reader, place, ".tls", &ours);
    check_idle_keys(reader, node, tls);
    if (errors != reader->diag->error_count || (!reader->world && !reader->restoring))
        return;
    const struct tls_client_options options = {
        .verify = tls->verify,
        .ca = tls->ca,
        .name = tls->name,
        .certificate = tls->certificate,
        .key = tls->key,
        .h2 = cluster->protocol != CONFIG_PROTOCOL_HTTP1,
    };
    if (tls_client_new(&options, &tls->client, &tls->why) == FR_OK)
        return;
    (reader->restoring ? config_diag_warn : config_diag_add)(
        reader->diag, place->line, place->column, "%s.tls: %.300s", reader->where, tls->why);
}

void
config__member_tls_free(struct config_member_tls *tls)
{
    tls_client_unref(&tls->client);
    fr_free(tls->ca);
    fr_free(tls->name);
    fr_free(tls->certificate);
    fr_free(tls->key);
    fr_free(tls->why);
}

static struct tls_pair
pair_of(const struct config_certificate *certificate)
{
    return (struct tls_pair){certificate->certificate, certificate->key, certificate->ocsp};
}

enum fr_err
config_tls_server(const struct config_listen *listen, struct tls_tickets *tickets,
                  struct tls_server **out, char **out_why)
{
    const struct config_listen_tls *tls = &listen->tls;
    size_t count = 1 + tls->certificate_count;
    struct tls_pair *pairs = fr_xalloc(count * sizeof(*pairs));
    pairs[0] = pair_of(&tls->first);
    for (size_t i = 1; i < count; i++)
        pairs[i] = pair_of(&tls->certificates[i - 1]);
    const struct tls_server_options options = {
        .pairs = pairs,
        .pair_count = count,
        .version_min = tls->version_min,
        .ciphers = tls->ciphers,
        .client_auth = tls->client_auth,
        .client_ca = tls->client_ca,
        .client_crl = tls->client_crl,
        .h2 = listen->http2,
        .tickets = tickets,
    };
    enum fr_err err = tls_server_new(&options, out, out_why);
    fr_free(pairs);
    return err;
}

static void
certificate_free(struct config_certificate *certificate)
{
    fr_free(certificate->certificate);
    fr_free(certificate->key);
    fr_free(certificate->ocsp);
}

void
config__tls_free(struct config_listen_tls *tls)
{
    certificate_free(&tls->first);
    for (size_t i = 0; i < tls->certificate_count; i++)
        certificate_free(&tls->certificates[i]);
    fr_free(tls->certificates);
    fr_free(tls->ciphers);
    fr_free(tls->client_ca);
    fr_free(tls->client_crl);
    fr_free(tls->acme.directory);
    fr_free(tls->acme.email);
    fr_free(tls->acme.ca);
    fr_free(tls->acme.key_id);
    fr_free(tls->acme.hmac_key);
    config__names_free(&tls->acme.domains);
}

void
config__acme_finish(struct config *config)
{
    for (size_t i = 0; i < config->listen_count; i++) {
        struct config_listen_tls *tls = &config->listen[i].tls;
        if (!tls->enabled || !tls->acme.enabled || tls->first.certificate || tls->first.key ||
            !tls->acme.domains || !tls->acme.domains[0])
            continue;
        const char *state = config->state ? config->state : ".";
        tls->first.certificate = fr_xprintf("%s/acme/%s.pem", state, tls->acme.domains[0]);
        tls->first.key = fr_xprintf("%s/acme/%s.key", state, tls->acme.domains[0]);
    }
}
