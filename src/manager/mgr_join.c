/* SPDX-License-Identifier: Apache-2.0 */
/*
 * mgr_join.c - machines that join by a token, and certificates renewed for those that have one.
 *
 *     POST /join    {"token": SECRET, "request": PEM}    the token's name, once
 *     POST /renew   {"request": PEM}                     the name of the certificate that is shown
 *     POST /tokens?name=NAME&seconds=N                   a new token (role admin)
 *
 * The key never comes here: a request is signed by it, and only what the token or the certificate
 * says is put into the answer. The authority is opened for each call, so that it can be exchanged
 * in its folder, and its key is in memory for as long as a signature takes.
 *
 * May touch:  base, admin, pki; files (the authority's folder).
 * Threads:    the manager's loop: a few signatures made or checked and a few small files a call. A
 *             renewal also reads the list of those revoked, whole: at most TLS_PEM_BYTES_MAX.
 * Limits:     MGR_GUESSES_MAX tokens or bodies that were none, of one network in
 *             MGR_GUESS_PERIOD_US; then 429 without a look at the authority.
 * Trusts:     nothing but a token that is there, or a certificate that the handshake found good.
 */
#include "manager/mgr_priv.h"

#include "pki/pki.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define TOKEN_SECONDS_DEFAULT 3600
#define TOKEN_SECONDS_MAX (30 * 86400ULL)
#define RENEWED_MAX (2 + PKI_ALSO_MAX) /* names, one more than there may be */

static struct pki *
open_authority(struct mgr *mgr, struct admin_exchange *exchange)
{
    struct pki *pki = NULL;
    char *why = NULL;
    int64_t now_s = loop_wall_us(mgr->loop) / FR_US_PER_S;
    if (!mgr->config->manager.pki) {
        admin_answer_error(exchange, 404,
                           "no manager.pki here: machines do not join by this "
                           "manager");
    } else if (pki_open(mgr->config->manager.pki, &pki, &why) != FR_OK) {
        fr_log(FR_LOG_ERROR, "manager", "the authority cannot be used", FR_S("why", why));
        admin_answer_error(exchange, 500, "the manager's authority cannot be used");
    } else if (pki_check(pki, now_s, &why) != FR_OK) { /* before a token is used up */
        fr_log(FR_LOG_ERROR, "manager", "the authority cannot be used", FR_S("why", why));
        admin_answer_error(exchange, 500, "%s", why);
        pki_close(&pki);
    }
    fr_free(why);
    return pki;
}

static void
refuse(struct mgr *mgr, struct admin_exchange *exchange, const struct admin_peer *peer, int status,
       const char *what, const char *why)
{
    char from[LOOP_ADDR_TEXT_BYTES];
    loop_addr_format(&peer->from, from);
    mgr->counters.joins_refused++;
    fr_log(FR_LOG_WARN, "manager", what, FR_S("why", why), FR_S("from", from));
    admin_answer_error(exchange, status, "%s", why);
}

/* ---- guesses -------------------------------------------------------------------------------- */

static int
network_of(const struct admin_peer *peer, uint8_t out[8])
{
    uint8_t bytes[16] = {0};
    struct loop_addr addr = peer->from;
    loop_addr_unmap(&addr);
    int family = loop_addr_bytes(&addr, bytes);
    memcpy(out, bytes, 8);
    return family;
}

/* NULL: of that network no token was wrong in this period. */
static struct mgr_guesser *
find_guesser(struct mgr *mgr, int family, const uint8_t network[8])
{
    int64_t now_us = loop_now_us(mgr->loop);
    for (size_t i = 0; i < MGR_GUESSERS_MAX; i++) {
        struct mgr_guesser *guesser = &mgr->guessers[i];
        if (guesser->guesses > 0 && guesser->family == family &&
            memcmp(guesser->network, network, 8) == 0)
            return now_us - guesser->since_us < MGR_GUESS_PERIOD_US ? guesser : NULL;
    }
    return NULL;
}

static void
note_guess(struct mgr *mgr, const struct admin_peer *peer)
{
    uint8_t network[8];
    int family = network_of(peer, network);
    struct mgr_guesser *guesser = find_guesser(mgr, family, network);
    if (!guesser) {
        guesser = &mgr->guessers[0];
        for (size_t i = 0; i < MGR_GUESSERS_MAX; i++) {
            struct mgr_guesser *one = &mgr->guessers[i];
            if (one->family == family && memcmp(one->network, network, 8) == 0) {
                guesser = one; /* its period is over */
                break;
            }
            if (one->since_us < guesser->since_us)
                guesser = one;
        }
        *guesser = (struct mgr_guesser){.family = family, .since_us = loop_now_us(mgr->loop)};
        memcpy(guesser->network, network, 8);
    }
    if (++guesser->guesses == MGR_GUESSES_MAX) {
        char from[LOOP_ADDR_TEXT_BYTES];
        loop_addr_format_host(&peer->from, from);
        fr_log(FR_LOG_WARN, "manager", "joins are not heard for a while, too many bad tokens",
               FR_S("from", from));
    }
}

/* Counted each time; logged once, by the guess before. */
static bool
refuse_guesser(struct mgr *mgr, struct admin_exchange *exchange, const struct admin_peer *peer)
{
    uint8_t network[8];
    int family = network_of(peer, network);
    const struct mgr_guesser *guesser = find_guesser(mgr, family, network);
    if (!guesser || guesser->guesses < MGR_GUESSES_MAX)
        return false;
    mgr->counters.joins_refused++;
    mgr->counters.joins_limited++;
    admin_answer_error(exchange, 429,
                       "limit of guesses: %d tokens from there were none; nothing more is heard "
                       "from it for up to %lld s",
                       MGR_GUESSES_MAX, (long long)(MGR_GUESS_PERIOD_US / FR_US_PER_S));
    return true;
}

/* ---- signing -------------------------------------------------------------------------------- */

/* Signs and answers; true when it did. */
static bool
sign(struct mgr *mgr, struct admin_exchange *exchange, const struct admin_peer *peer,
     struct pki *pki, const struct pki_terms *terms, const char *pem)
{
    struct fr_buf out;
    char *why = NULL;
    int64_t now_s = loop_wall_us(mgr->loop) / FR_US_PER_S;
    fr_buf_init(&out, 2 * (size_t)PKI_PEM_BYTES_MAX);
    enum fr_err err = pki_sign(pki, terms, fr_view_of(pem), now_s, &out, &why);
    if (err == FR_OK) {
        json_t *root = json_pack("{s:s, s:s%, s:s}", "name", terms->name, "certificate", out.data,
                                 out.len, "ca", pki_ca_pem(pki));
        char *text = json_dumps(root, 0);
        admin_answer(exchange, 200, NULL, fr_view_of(text));
        free(text); /* tidy: allow call: Jansson's allocation, not ours */
        json_decref(root);
    } else {
        refuse(mgr, exchange, peer, err == FR_ERR_BAD_PEER || err == FR_ERR_SYNTAX ? 400 : 500,
               "certificate refused", why ? why : fr_err_words(err));
    }
    fr_free(why);
    fr_buf_fini(&out);
    return err == FR_OK;
}

static json_t *
read_body(struct mgr *mgr, struct admin_exchange *exchange, const struct admin_request *request)
{
    json_error_t error;
    json_t *root = json_loadb(request->body.ptr, request->body.len, 0, &error);
    if (json_string_value(json_object_get(root, "request")))
        return root;
    json_decref(root);
    refuse(mgr, exchange, request->peer, 400, "join refused",
           "expected JSON with a certificate request");
    return NULL;
}

/* What is no join is a guess as a wrong token is: it costs us as much. The request is looked at
 * before the token is used, which is good for one. */
static json_t *
read_join(struct mgr *mgr, struct admin_exchange *exchange, const struct admin_request *request)
{
    const struct admin_peer peer = *request->peer; /* the request's is gone with an answer */
    char *why = NULL;
    json_t *root = read_body(mgr, exchange, request);
    const char *pem = json_string_value(json_object_get(root, "request"));
    if (root && pki_request_check(fr_view_of(pem), &why) != FR_OK) {
        refuse(mgr, exchange, &peer, 400, "join refused", why);
        json_decref(root);
        root = NULL;
    }
    if (!root)
        note_guess(mgr, &peer);
    fr_free(why);
    return root;
}

/* False: answered. */
static bool
use_token(struct mgr *mgr, struct admin_exchange *exchange, const struct admin_request *request,
          struct pki *pki, const char *secret, char out_name[PKI_NAME_BYTES])
{
    char *why = NULL;
    enum fr_err err = pki_token_use(pki, fr_view_of(secret ? secret : ""),
                                    loop_wall_us(mgr->loop) / FR_US_PER_S, out_name, &why);
    if (err == FR_ERR_REFUSED) {
        note_guess(mgr, request->peer);
        refuse(mgr, exchange, request->peer, 403, "join refused", why);
    } else if (err != FR_OK) {
        fr_log(FR_LOG_ERROR, "manager", "a token cannot be used", FR_S("why", why));
        admin_answer_error(exchange, 500, "the manager's tokens cannot be used");
    }
    fr_free(why);
    return err == FR_OK;
}

void
mgr_post_join(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct mgr *mgr = ctx;
    char name[PKI_NAME_BYTES];
    if (request->peer->way == ADMIN_WAY_CLEAR) {
        refuse(mgr, exchange, request->peer, 403, "join refused", "machines join over TLS only");
        return;
    }
    if (refuse_guesser(mgr, exchange, request->peer))
        return;
    json_t *root = read_join(mgr, exchange, request);
    struct pki *pki = root ? open_authority(mgr, exchange) : NULL;
    const char *secret = json_string_value(json_object_get(root, "token"));
    if (pki && use_token(mgr, exchange, request, pki, secret, name)) {
        const struct pki_terms terms = {.name = name, .days = PKI_DAYS_DEFAULT};
        if (sign(mgr, exchange, request->peer, pki, &terms,
                 json_string_value(json_object_get(root, "request")))) {
            mgr->counters.joins++;
            fr_log(FR_LOG_INFO, "manager", "joined by token", FR_S("name", name));
        }
    }
    json_decref(root);
    pki_close(&pki);
}

/* Names one after the other; what is too many is left to pki_sign, which refuses it. */
static void
split_words(char *text, const char *words[RENEWED_MAX], size_t *count)
{
    for (char *at = text, *word; *count < RENEWED_MAX && (word = strsep(&at, " "));)
        if (word[0] != '\0')
            words[(*count)++] = word;
}

/* Whether the list is asked in the handshake or not: who was shut out cannot come back by a
 * renewal, also on a connection that stood before. False: answered. */
static bool
may_renew(struct mgr *mgr, struct admin_exchange *exchange, const struct admin_peer *peer,
          struct pki *pki)
{
    char *why = NULL;
    enum fr_err err = pki_renewable(pki, peer->serial, &why);
    if (err == FR_ERR_REFUSED) {
        mgr->counters.forbidden++;
        refuse(mgr, exchange, peer, 403, "renewal refused", why);
    } else if (err != FR_OK) {
        fr_log(FR_LOG_ERROR, "manager", "the authority cannot be used", FR_S("why", why));
        admin_answer_error(exchange, 500, "the manager's authority cannot be used");
    }
    fr_free(why);
    return err == FR_OK;
}

void
mgr_post_renew(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct mgr *mgr = ctx;
    char names[ADMIN_NAMES_BYTES], addresses[ADMIN_ADDRESSES_BYTES], words_no[MGR_REFUSAL_BYTES];
    const char *words[RENEWED_MAX];
    size_t count = 0;
    if (request->peer->way != ADMIN_WAY_TLS || !request->peer->names[0]) {
        refuse(mgr, exchange, request->peer, 401, "renewal refused",
               "a certificate is renewed for who shows it, over TLS");
        return;
    }
    if (!mgr_access_renew(mgr, request, words_no)) {
        mgr->counters.forbidden++;
        refuse(mgr, exchange, request->peer, 403, "renewal refused", words_no);
        return;
    }
    if (!request->peer->whole) {
        refuse(mgr, exchange, request->peer, 400, "renewal refused",
               "the certificate has more names than can be renewed");
        return;
    }
    (void)fr_view_copy(fr_view_of(request->peer->names), names, sizeof(names)); /* as large */
    (void)fr_view_copy(fr_view_of(request->peer->addresses), addresses, sizeof(addresses));
    split_words(names, words, &count);
    split_words(addresses, words, &count);
    const struct pki_terms terms = {
        .name = words[0], .also = words + 1, .also_count = count - 1, .days = PKI_DAYS_DEFAULT};
    struct pki *pki = open_authority(mgr, exchange);
    bool may = pki && may_renew(mgr, exchange, request->peer, pki);
    json_t *root = may ? read_body(mgr, exchange, request) : NULL;
    if (root && sign(mgr, exchange, request->peer, pki, &terms,
                     json_string_value(json_object_get(root, "request")))) {
        mgr->counters.renewals++;
        fr_log(FR_LOG_INFO, "manager", "certificate renewed", FR_S("name", names));
    }
    json_decref(root);
    pki_close(&pki);
}

void
mgr_post_tokens(void *ctx, struct admin_exchange *exchange, const struct admin_request *request)
{
    struct mgr *mgr = ctx;
    char name[PKI_NAME_BYTES], text[16], token[PKI_TOKEN_BYTES];
    uint64_t seconds = TOKEN_SECONDS_DEFAULT;
    char *why = NULL;
    if (!admin_query(request->query, "name", name, sizeof(name)) ||
        !pki_name_valid(fr_view_of(name))) {
        admin_answer_error(exchange, 400, "name=NAME is missing, or is not a name");
        return;
    }
    if (admin_query(request->query, "seconds", text, sizeof(text)) &&
        (!fr_view_u64(fr_view_of(text), &seconds) || seconds < 1 || seconds > TOKEN_SECONDS_MAX)) {
        admin_answer_error(exchange, 400, "seconds=\"%s\", expected a number from 1 to %llu", text,
                           (unsigned long long)TOKEN_SECONDS_MAX);
        return;
    }
    struct pki *pki = open_authority(mgr, exchange);
    if (!pki)
        return;
    int64_t now_s = loop_wall_us(mgr->loop) / FR_US_PER_S;
    if (pki_token_make(pki, name, now_s, now_s + (int64_t)seconds, token, &why) == FR_OK) {
        char *body = fr_xprintf("{\"token\": \"%s\"}\n", token); /* nothing in it to escape */
        fr_log(FR_LOG_INFO, "manager", "join token made", FR_S("name", name));
        admin_answer(exchange, 200, NULL, fr_view_of(body));
        explicit_bzero(body, strlen(body));
        explicit_bzero(token, sizeof(token));
        fr_free(body);
    } else {
        admin_answer_error(exchange, 500, "%s", why);
    }
    fr_free(why);
    pki_close(&pki);
}
