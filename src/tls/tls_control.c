/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls_control.c - TLS of the control stream and the admin interface: what a process shows there,
 * whom it takes, and certificates that are replaced while streams go on.
 *
 * Threads:    the control loop's. Handshakes of a few peers, not of clients by the thousand.
 * Limits:     TLS 1.3 alone; no tickets: whose certificate has ended or was taken off the list must
 *             not come back by a session that was begun before.
 * Follows:    RFC 8446, RFC 6125 section 6.
 */
#include "tls/tls_priv.h"

#include "base/fr_hash.h"
#include "base/fr_log.h"
#include "base/fr_time.h"

#include <string.h>
#include <sys/stat.h>

#define POLL_US 2000000
#define WARN_BEFORE_S (14 * 86400LL)
#define WARN_AGAIN_US (86400 * 1000000LL)

/* ---- servers and clients ------------------------------------------------------------------ */

enum fr_err
tls_control_server(const struct tls_control_options *options, struct tls_server **out,
                   char **out_why)
{
    const struct tls_pair pair = {.certificate = options->certificate, .key = options->key};
    const struct tls_server_options server = {
        .pairs = &pair,
        .pair_count = 1,
        .version_min = TLS_VERSION_1_3,
        .client_auth = options->ca ? TLS_CLIENT_AUTH_OPTIONAL : TLS_CLIENT_AUTH_OFF,
        .client_ca = options->ca,
        .client_crl = options->crl,
    };
    return tls_server_new(&server, out, out_why);
}

static enum fr_err
control_client(const struct tls_control_options *options, struct tls_client **out, char **out_why)
{
    const struct tls_client_options client = {
        .verify = true,
        .ca = options->ca,
        .crl = options->crl,
        .name = options->name,
        .certificate = options->certificate,
        .key = options->key,
    };
    enum fr_err err = tls_client_new(&client, out, out_why);
    if (err == FR_OK)
        (void)SSL_CTX_set_min_proto_version((*out)->ctx, TLS1_3_VERSION);
    return err;
}

/* ---- files -------------------------------------------------------------------------------- */

uint64_t
tls_files_look(uint64_t sum, const char *path)
{
    static const struct fr_hash_key key = {0x66696c65, 0x6c6f6f6b};
    struct stat status;
    if (path == NULL)
        return sum;
    if (stat(path, &status) != 0)
        memset(&status, 0, sizeof(status));
    const uint64_t seen[] = {
        sum,
        (uint64_t)status.st_ino,
        (uint64_t)status.st_dev,
        (uint64_t)status.st_size,
        (uint64_t)status.st_mtim.tv_sec,
        (uint64_t)status.st_mtim.tv_nsec,
        (uint64_t)status.st_ctim.tv_sec, /* chmod may be all that a file needed */
        (uint64_t)status.st_ctim.tv_nsec,
    };
    return fr_hash64(&key, seen, sizeof(seen));
}

/* ---- identity ----------------------------------------------------------------------------- */

static uint64_t
look(const struct tls_identity *identity)
{
    uint64_t sum = tls_files_look(0, identity->certificate);
    sum = tls_files_look(tls_files_look(sum, identity->key), identity->ca);
    return tls_files_look(sum, identity->crl);
}

/* Makes what the files say now. */
static enum fr_err
make(struct tls_identity *identity, char **out_why)
{
    const struct tls_control_options options = {.certificate = identity->certificate,
                                                .key = identity->key,
                                                .ca = identity->ca,
                                                .crl = identity->crl,
                                                .name = identity->name};
    struct tls_server *server = NULL;
    struct tls_client *client = NULL;
    identity->files = look(identity);
    enum fr_err err = tls_control_server(&options, &server, out_why);
    if (err == FR_OK && !identity->serves)
        err = control_client(&options, &client, out_why);
    if (err != FR_OK) {
        tls_server_unref(&server);
        return err;
    }
    identity->ends_s = tls_server_certificate_ends_s(server, 0);
    tls_server_unref(&identity->server);
    tls_client_unref(&identity->client);
    identity->server = server;
    identity->client = client;
    return FR_OK;
}

static void
warn_of_end(struct tls_identity *identity)
{
    int64_t left_s = identity->ends_s - loop_wall_us(identity->loop) / FR_US_PER_S;
    identity->warned_at_us = loop_now_us(identity->loop);
    tls_revocations_warn(identity->room, tls_server_revocations(identity->server),
                         loop_wall_us(identity->loop) / FR_US_PER_S);
    if (left_s < WARN_BEFORE_S)
        fr_log(FR_LOG_WARN, identity->room,
               left_s < 0 ? "a certificate has ended" : "a certificate ends soon",
               FR_S("file", identity->certificate), FR_I("seconds-left", left_s));
}

/* out_why may be NULL. */
static enum fr_err
replace(struct tls_identity *identity, char **out_why)
{
    char *why = NULL;
    enum fr_err err = make(identity, &why);
    if (err == FR_OK) {
        identity->reloads++;
        fr_log(FR_LOG_INFO, identity->room, "certificate replaced, new connections use it",
               FR_S("file", identity->certificate));
        warn_of_end(identity);
        if (identity->changed)
            identity->changed(identity->ctx);
    } else {
        identity->reloads_failed++;
        fr_log(FR_LOG_ERROR, identity->room, "a certificate changed and is refused, the old stays",
               FR_S("why", why));
    }
    if (out_why && err != FR_OK)
        *out_why = why;
    else
        fr_free(why);
    return err;
}

static void
on_poll(void *ctx)
{
    struct tls_identity *identity = ctx;
    if (look(identity) != identity->files)
        (void)replace(identity, NULL);
    else if (loop_now_us(identity->loop) - identity->warned_at_us > WARN_AGAIN_US)
        warn_of_end(identity);
    loop_timer_start(identity->loop, &identity->timer, POLL_US, on_poll, identity);
}

static void
set_text(char **field, const char *text)
{
    char *copy = text ? fr_xstrdup(text) : NULL;
    fr_free(*field);
    *field = copy;
}

static void
take_options(struct tls_identity *identity, const struct tls_control_options *options)
{
    set_text(&identity->certificate, options->certificate);
    set_text(&identity->key, options->key);
    set_text(&identity->ca, options->ca);
    set_text(&identity->crl, options->crl);
    set_text(&identity->name, options->name);
}

enum fr_err
tls_identity_init(struct tls_identity *identity, struct loop *loop, const char *room,
                  const struct tls_control_options *options, bool serves, loop_fn changed,
                  void *ctx, char **out_why)
{
    identity->loop = loop;
    identity->room = room;
    identity->serves = serves;
    identity->changed = changed;
    identity->ctx = ctx;
    take_options(identity, options);
    enum fr_err err = make(identity, out_why);
    if (err != FR_OK)
        return err;
    warn_of_end(identity);
    loop_timer_start(loop, &identity->timer, POLL_US, on_poll, identity);
    return FR_OK;
}

enum fr_err
tls_identity_reload(struct tls_identity *identity, const struct tls_control_options *options,
                    char **out_why)
{
    if (identity->loop == NULL)
        return FR_OK;
    if (options->certificate != NULL && options->key != NULL)
        take_options(identity, options);
    return replace(identity, out_why);
}

void
tls_identity_fini(struct tls_identity *identity)
{
    if (identity->loop == NULL)
        return;
    loop_timer_stop(&identity->timer);
    tls_server_unref(&identity->server);
    tls_client_unref(&identity->client);
    fr_free(identity->certificate);
    fr_free(identity->key);
    fr_free(identity->ca);
    fr_free(identity->crl);
    fr_free(identity->name);
    memset(identity, 0, sizeof(*identity));
}
