/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acme_flow.c - one order, from the directory to the files.
 *
 *     directory -> account -> order -> each authorization: challenge put, asked for, waited for
 *               -> request (CSR) -> waited for -> chain, checked against its key -> two files
 *
 * Threads:    its own; blocks. `cancelled` ends every wait within 100 ms and every call soon.
 * Limits:     FLOW_POLLS polls, NONCE_TRIES bad nonces in a row; the order's whole time is the
 *             control loop's to keep (ACME_ORDER_US), which sets `late` and `cancelled`.
 * Follows:    RFC 8555 sections 6 and 7.
 */
#include "acme/acme_priv.h"

#include "base/fr_time.h"

#include <openssl/sha.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <threads.h>

#define NONCE_TRIES 8
#define FLOW_POLLS 90
#define POLL_MS 1000
#define POLL_FIRST_MS 200
#define POLL_MAX_S 30

struct flow {
    struct acme__job *job;
    EVP_PKEY *account;
    char *kid, *nonce;
    char *new_nonce, *new_account, *new_order; /* of the directory */
    bool binding_required;
    json_t *order;
    char *order_url;
};

__attribute__((format(printf, 3, 4))) static bool
fail(struct flow *flow, enum fr_err err, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)vsnprintf(flow->job->why, sizeof(flow->job->why), format, args);
    va_end(args);
    flow->job->err = err;
    return false;
}

/* ---- calls ---------------------------------------------------------------------------------- */

static const char *
text_in(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

static json_t *
parse(const struct acme__reply *reply)
{
    return reply->body.len ? json_loadb(reply->body.data, reply->body.len, 0, NULL) : NULL;
}

static void
take_nonce(struct flow *flow, struct acme__reply *reply)
{
    if (!reply->nonce)
        return;
    fr_free(flow->nonce);
    flow->nonce = reply->nonce;
    reply->nonce = NULL;
}

static bool
need_nonce(struct flow *flow)
{
    struct acme__reply reply;
    struct acme__job *job = flow->job;
    if (flow->nonce)
        return true;
    enum fr_err err =
        acme__http(flow->new_nonce, job->ca, NULL, true, &job->cancelled, &reply, job->why);
    take_nonce(flow, &reply);
    acme__reply_fini(&reply);
    if (err != FR_OK) {
        job->err = err;
        return false;
    }
    return flow->nonce || fail(flow, FR_ERR_BAD_PEER, "%s gave no nonce", flow->new_nonce);
}

static bool
fail_reply(struct flow *flow, const char *url, const struct acme__reply *reply)
{
    json_t *problem = parse(reply);
    flow->job->retry_after_s = reply->retry_after_s;
    (void)fail(flow, FR_ERR_BAD_PEER, "%.150s answered %ld %.60s %.150s", url, reply->status,
               text_in(problem, "type"), text_in(problem, "detail"));
    json_decref(problem);
    return false;
}

static bool
is_bad_nonce(const struct acme__reply *reply)
{
    if (reply->status != 400)
        return false;
    json_t *problem = parse(reply);
    bool bad = strcmp(text_in(problem, "type"), "urn:ietf:params:acme:error:badNonce") == 0;
    json_decref(problem);
    return bad;
}

/* A signed call; payload "" is POST-as-GET (section 6.3). The reply is the caller's on success. */
static bool
post(struct flow *flow, const char *url, const char *payload, struct acme__reply *out)
{
    struct acme__job *job = flow->job;
    for (int i = 0; i < NONCE_TRIES; i++) {
        if (!need_nonce(flow))
            return false;
        char *body = acme__jws(flow->account, flow->kid, flow->nonce, url, payload);
        fr_free(flow->nonce);
        flow->nonce = NULL;
        if (!body)
            return fail(flow, FR_ERR_NOMEM, "out of memory");
        enum fr_err err = acme__http(url, job->ca, body, false, &job->cancelled, out, job->why);
        fr_free(body);
        take_nonce(flow, out);
        if (err == FR_OK && out->status >= 200 && out->status < 300)
            return true;
        if (err != FR_OK)
            job->err = err;
        bool again = err == FR_OK && is_bad_nonce(out);
        if (err == FR_OK && !again)
            (void)fail_reply(flow, url, out);
        acme__reply_fini(out);
        if (!again)
            return false;
    }
    return fail(flow, FR_ERR_BAD_PEER, "%.150s minded %d nonces in a row", url, NONCE_TRIES);
}

static json_t *
post_json(struct flow *flow, const char *url, const char *payload, int64_t *out_retry_s)
{
    struct acme__reply reply;
    if (!post(flow, url, payload, &reply))
        return NULL;
    json_t *root = parse(&reply);
    if (out_retry_s)
        *out_retry_s = reply.retry_after_s;
    if (!root)
        (void)fail(flow, FR_ERR_BAD_PEER, "%.150s answered without JSON", url);
    acme__reply_fini(&reply);
    return root;
}

/* In steps, so that the process's end need not wait for it; false when it ends. */
static bool
rest(struct flow *flow, int64_t ms)
{
    for (; ms > 0 && !atomic_load(&flow->job->cancelled); ms -= 100) {
        const struct timespec step = {.tv_nsec = (ms < 100 ? ms : 100) * 1000000L};
        (void)thrd_sleep(&step, NULL); /* shorter is fine */
    }
    return !atomic_load(&flow->job->cancelled) || fail(flow, FR_ERR_CANCELLED, "cancelled");
}

/* ---- directory and account ------------------------------------------------------------------ */

static bool
read_directory(struct flow *flow)
{
    struct acme__reply reply;
    struct acme__job *job = flow->job;
    enum fr_err err =
        acme__http(job->directory, job->ca, NULL, false, &job->cancelled, &reply, job->why);
    json_t *root = err == FR_OK && reply.status == 200 ? parse(&reply) : NULL;
    bool good = false;
    if (err != FR_OK) {
        job->err = err;
    } else if (reply.status != 200) {
        (void)fail_reply(flow, job->directory, &reply);
    } else if (!text_in(root, "newNonce")[0] || !text_in(root, "newAccount")[0] ||
               !text_in(root, "newOrder")[0]) {
        (void)fail(flow, FR_ERR_BAD_PEER, "%.200s is no ACME directory", job->directory);
    } else {
        flow->new_nonce = fr_xstrdup(text_in(root, "newNonce"));
        flow->new_account = fr_xstrdup(text_in(root, "newAccount"));
        flow->new_order = fr_xstrdup(text_in(root, "newOrder"));
        flow->binding_required =
            json_is_true(json_object_get(json_object_get(root, "meta"), "externalAccountRequired"));
        good = true;
    }
    json_decref(root);
    acme__reply_fini(&reply);
    return good;
}

static bool
account_key(struct flow *flow)
{
    char *why = NULL;
    enum fr_err err = tls_pem_key_read(flow->job->account_path, &flow->account, &why);
    if (err == FR_ERR_NOT_FOUND || err == FR_ERR_CONFIG) { /* one that cannot be read stays */
        fr_free(why);
        why = NULL;
        flow->account = tls_pem_key_new();
        err = flow->account ? tls_pem_key_write(flow->job->account_path, flow->account, &why)
                            : FR_ERR_NOMEM;
    }
    if (err == FR_OK)
        return true;
    (void)fail(flow, FR_ERR_IO, "account key: %s", why ? why : "out of memory");
    fr_free(why);
    return false;
}

/* The account of our key, made when there is none (section 7.3). */
static bool
account(struct flow *flow)
{
    struct acme__reply reply;
    struct acme__job *job = flow->job;
    if (flow->binding_required && !job->key_id)
        return fail(flow, FR_ERR_CONFIG, "%.150s wants key-id and hmac-key of an account",
                    job->directory);
    json_t *root = json_pack("{s:b}", "termsOfServiceAgreed", 1);
    if (job->email) {
        char *contact = fr_xprintf("mailto:%s", job->email);
        (void)json_object_set_new(root, "contact", json_pack("[s]", contact));
        fr_free(contact);
    }
    if (job->key_id) {
        char *binding =
            acme__jws_binding(flow->account, job->key_id, job->hmac_key, flow->new_account);
        if (binding)
            (void)json_object_set_new(root, "externalAccountBinding", json_loads(binding, 0, NULL));
        fr_free(binding);
    }
    char *payload = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    bool good = post(flow, flow->new_account, payload, &reply);
    free(payload); /* tidy: allow call: Jansson's allocation, not ours */
    if (!good)
        return false;
    if (reply.location) {
        flow->kid = reply.location;
        reply.location = NULL;
    }
    acme__reply_fini(&reply);
    return flow->kid || fail(flow, FR_ERR_BAD_PEER, "%.150s named no account", flow->new_account);
}

/* ---- the order ------------------------------------------------------------------------------ */

static bool
new_order(struct flow *flow)
{
    struct acme__reply reply;
    json_t *names = json_array();
    for (char **domain = flow->job->domains; *domain; domain++)
        (void)json_array_append_new(names,
                                    json_pack("{s:s, s:s}", "type", "dns", "value", *domain));
    json_t *root = json_pack("{s:o}", "identifiers", names);
    char *payload = json_dumps(root, JSON_COMPACT);
    json_decref(root);
    bool good = post(flow, flow->new_order, payload, &reply);
    free(payload); /* tidy: allow call: Jansson's allocation, not ours */
    if (!good)
        return false;
    flow->order = parse(&reply);
    flow->order_url = reply.location;
    reply.location = NULL;
    acme__reply_fini(&reply);
    if (!flow->order_url || !json_is_array(json_object_get(flow->order, "authorizations")))
        return fail(flow, FR_ERR_BAD_PEER, "%.150s made no order", flow->new_order);
    return true;
}

/* Asks again until the status is none of `going`. */
static json_t *
wait_for(struct flow *flow, const char *url, const char *going, const char *also_going)
{
    int64_t retry_s = 0;
    for (int i = 0; i < FLOW_POLLS; i++) {
        json_t *root = post_json(flow, url, "", &retry_s);
        if (!root)
            return NULL;
        const char *status = text_in(root, "status");
        if (strcmp(status, going) != 0 && strcmp(status, also_going) != 0)
            return root;
        json_decref(root);
        int64_t ms = i < 5 ? POLL_FIRST_MS : POLL_MS;
        if (retry_s > 0 && i >= 5)
            ms = (retry_s < POLL_MAX_S ? retry_s : POLL_MAX_S) * 1000;
        if (!rest(flow, ms))
            return NULL;
    }
    (void)fail(flow, FR_ERR_TIMEOUT, "%.150s is not done with it in time", url);
    return NULL;
}

/* ---- challenges ----------------------------------------------------------------------------- */

static bool
put_challenge(struct flow *flow, const char *domain, const char *token, const char *text)
{
    struct acme__job *job = flow->job;
    unsigned char digest[SHA256_DIGEST_LENGTH];
    if (job->challenge == ACME_HTTP)
        return acme__answers_put(job->answers, token, text);
    EVP_PKEY *key = tls_pem_key_new();
    X509 *certificate = NULL;
    if (key && SHA256((const unsigned char *)text, strlen(text), digest))
        certificate = acme__self_signed(key, domain, digest, job->now_s, 2);
    bool good = certificate && tls_challenges_put(job->challenges, domain, certificate, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return good;
}

static void
take_challenge_back(struct flow *flow, const char *domain, const char *token)
{
    if (flow->job->challenge == ACME_HTTP)
        acme__answers_remove(flow->job->answers, token);
    else
        tls_challenges_remove(flow->job->challenges, domain);
}

/* Put, asked for and waited for; taken back whatever came of it. */
static bool
prove(struct flow *flow, const char *url, const char *domain, const json_t *challenge)
{
    const char *token = text_in(challenge, "token");
    char *thumbprint = acme__thumbprint(flow->account);
    if (!thumbprint || strlen(token) > 200 ||
        strspn(token, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghij"
                      "klmnopqrstuvwxyz0123456789-_") != strlen(token)) {
        fr_free(thumbprint);
        return fail(flow, FR_ERR_BAD_PEER, "%.200s: the challenge's token is no token", domain);
    }
    char *text = fr_xprintf("%s.%s", token, thumbprint);
    bool good = put_challenge(flow, domain, token, text);
    json_t *authorization = NULL;
    if (!good) {
        (void)fail(flow, FR_ERR_FULL, "%.200s: no room for the challenge", domain);
    } else {
        json_t *asked = post_json(flow, text_in(challenge, "url"), "{}", NULL);
        if (asked)
            authorization = wait_for(flow, url, "pending", "processing");
        json_decref(asked);
        take_challenge_back(flow, domain, token);
    }
    good = authorization && strcmp(text_in(authorization, "status"), "valid") == 0;
    if (authorization && !good) {
        const json_t *error = NULL, *one;
        size_t i;
        json_array_foreach(json_object_get(authorization, "challenges"), i,
                           one) if (json_object_get(one, "error")) error =
            json_object_get(one, "error");
        (void)fail(flow, FR_ERR_REFUSED, "%.100s is not proved: %.80s: %.180s", domain,
                   text_in(error, "type"), text_in(error, "detail"));
    }
    json_decref(authorization);
    fr_free(text);
    fr_free(thumbprint);
    return good;
}

static bool
authorize(struct flow *flow, const char *url)
{
    const char *wanted = flow->job->challenge == ACME_HTTP ? "http-01" : "tls-alpn-01";
    json_t *root = post_json(flow, url, "", NULL);
    const json_t *one;
    size_t i;
    bool good = false;
    if (!root)
        return false;
    const char *domain = text_in(json_object_get(root, "identifier"), "value");
    const json_t *challenge = NULL;
    json_array_foreach(json_object_get(root, "challenges"), i,
                       one) if (strcmp(text_in(one, "type"), wanted) == 0) challenge = one;
    if (strcmp(text_in(root, "status"), "valid") == 0) /* proved not long ago */
        good = true;
    else if (!challenge)
        (void)fail(flow, FR_ERR_UNSUPPORTED, "%.200s: the authority offers no %s", domain, wanted);
    else
        good = prove(flow, url, domain, challenge);
    json_decref(root);
    return good;
}

/* ---- the certificate ------------------------------------------------------------------------ */

static bool
finalize(struct flow *flow, EVP_PKEY *key)
{
    char *request = acme__request(key, flow->job->domains);
    if (!request)
        return fail(flow, FR_ERR_NOMEM, "no certificate request: out of memory");
    char *payload = fr_xprintf("{\"csr\":\"%s\"}", request);
    json_t *root = post_json(flow, text_in(flow->order, "finalize"), payload, NULL);
    fr_free(payload);
    fr_free(request);
    if (!root)
        return false;
    json_decref(root);
    root = wait_for(flow, flow->order_url, "processing", "ready");
    if (!root)
        return false;
    json_decref(flow->order);
    flow->order = root;
    return strcmp(text_in(root, "status"), "valid") == 0 ||
           fail(flow, FR_ERR_REFUSED, "the order became \"%.50s\": %.200s", text_in(root, "status"),
                text_in(json_object_get(root, "error"), "detail"));
}

static bool
download(struct flow *flow, EVP_PKEY *key)
{
    struct acme__reply reply;
    struct acme__job *job = flow->job;
    const struct tls_pem_pair paths = {.certificate = job->certificate, .key = job->key};
    char *why = NULL;
    if (!post(flow, text_in(flow->order, "certificate"), "", &reply))
        return false;
    bool good = tls_pem_chain_fits(fr_buf_view(&reply.body), key);
    if (!good)
        (void)fail(flow, FR_ERR_BAD_PEER, "the authority sent a certificate for another key");
    if (good && tls_pem_pair_write(&paths, key, fr_buf_view(&reply.body), &why) != FR_OK)
        good = fail(flow, FR_ERR_IO, "%s", why);
    fr_free(why);
    acme__reply_fini(&reply);
    return good;
}

static bool
run(struct flow *flow)
{
    const json_t *url;
    size_t i;
    if (!read_directory(flow) || !account_key(flow) || !account(flow) || !new_order(flow))
        return false;
    json_array_foreach(json_object_get(flow->order, "authorizations"), i, url)
    {
        const char *text = json_string_value(url);
        if (!authorize(flow, text ? text : ""))
            return false;
    }
    EVP_PKEY *key = tls_pem_key_new();
    bool good = key ? finalize(flow, key) && download(flow, key)
                    : fail(flow, FR_ERR_NOMEM, "no key: out of memory");
    EVP_PKEY_free(key);
    return good;
}

void
acme__flow(struct acme__job *job)
{
    struct flow flow = {.job = job};
    job->err = FR_OK;
    /* Once its files are there an order is done, whoever had no more time for it meanwhile. */
    if (!run(&flow)) {
        if (atomic_load(&job->late))
            (void)fail(&flow, FR_ERR_TIMEOUT, "the authority is not done with it within %d s",
                       (int)(ACME_ORDER_US / FR_US_PER_S));
        else if (atomic_load(&job->cancelled))
            job->err = FR_ERR_CANCELLED;
        else if (job->err == FR_OK)
            job->err = FR_ERR_BAD_PEER;
    }
    EVP_PKEY_free(flow.account);
    fr_free(flow.kid);
    fr_free(flow.nonce);
    fr_free(flow.new_nonce);
    fr_free(flow.new_account);
    fr_free(flow.new_order);
    fr_free(flow.order_url);
    json_decref(flow.order);
}
