/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_join.c - `freshet join`: from a one-time token to a working certificate, and its renewal.
 *
 * The key is made here and stays here: a request signed by it goes to the manager. The token pins
 * the authority, so that the secret is told to nobody else.
 */
#include "cli/cli.h"

#include "base/fr_file.h"
#include "base/fr_mem.h"
#include "base/fr_time.h"
#include "cli/cli_client.h"
#include "pki/pki.h"
#include "tls/tls_pem.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX (4 * (size_t)PKI_PEM_BYTES_MAX)
#define JOIN_TIMEOUT_US (20 * FR_US_PER_S)

static int
say_why(char *why)
{
    fprintf(stderr, "freshet join: %s\n", why ? why : "failed");
    fr_free(why);
    return CLI_FAILED;
}

/* One call of the manager; NULL after saying why. */
static json_t *
ask(const struct cli_access *how, const char *address, const char *path, const char *secret,
    const char *request)
{
    struct fr_buf body;
    json_error_t error;
    char why[400];
    int status = 0;
    fr_buf_init(&body, ANSWER_BYTES_MAX);
    json_t *root = json_pack("{s:s, s:s*}", "request", request, "token", secret);
    char *text = json_dumps(root, 0);
    json_decref(root);
    enum fr_err err = cli_https(how, address, "POST", path, fr_view_of(text), JOIN_TIMEOUT_US,
                                &status, &body, why, sizeof(why));
    free(text); /* tidy: allow call: Jansson's allocation, not ours */
    root = err == FR_OK && body.len ? json_loadb(body.data, body.len, 0, &error) : NULL;
    const char *words = json_string_value(json_object_get(root, "error"));
    if (err != FR_OK)
        fprintf(stderr, "freshet join: %s\n", why);
    else if (status != 200)
        fprintf(stderr, "freshet join: the manager refuses: %s\n", words ? words : "no reason");
    else if (!json_string_value(json_object_get(root, "certificate")))
        fprintf(stderr, "freshet join: %s answered without a certificate\n", address);
    fr_buf_fini(&body);
    if (err == FR_OK && status == 200 && json_string_value(json_object_get(root, "certificate")))
        return root;
    json_decref(root);
    return NULL;
}

static bool
write_file(const char *path, const char *text)
{
    int error = 0;
    if (fr_file_replace(path, fr_view_of(text), 0600, &error) == FR_OK)
        return true;
    fprintf(stderr, "freshet join: %s: %s\n", path, strerror(error));
    return false;
}

static bool
is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* ---- the token ------------------------------------------------------------------------------ */

/* What stands on a command line is there for everybody who lists processes: once it is read it is
 * there no more. From a file, or standard input, it never was. */
static bool
take_token(const char *text, const char *path, struct pki_token *out)
{
    struct fr_buf buf;
    bool good = false;
    if (text != NULL) {
        good = pki_token_parse(text, out);
        memset((char *)(uintptr_t)text, '*', strlen(text)); /* argv's own bytes may be written */
        return good;
    }
    fr_buf_init(&buf, PKI_TOKEN_BYTES);
    if (fr_file_read(strcmp(path, "-") == 0 ? "/dev/stdin" : path, &buf, NULL) == FR_OK) {
        struct fr_view token = fr_view_trim(fr_buf_view(&buf));
        while (token.len > 0 && token.ptr[token.len - 1] == '\n')
            token.len--;
        char *line = fr_xstrndup(token.ptr, token.len);
        good = pki_token_parse(line, out);
        fr_free(line);
    }
    fr_buf_fini(&buf);
    return good;
}

/* ---- joining -------------------------------------------------------------------------------- */

static int
join(const char *manager, const char *name, const struct pki_token *token, const char *folder)
{
    struct fr_buf request;
    char *why = NULL;
    int status = CLI_FAILED, error = 0;
    char *address = fr_xprintf("https://%s", manager);
    char *key = fr_xprintf("%s/%s.key", folder, token->name);
    char *pem = fr_xprintf("%s/%s.pem", folder, token->name);
    char *ca = fr_xprintf("%s/ca.pem", folder);
    const struct cli_access how = {.fingerprint = token->fingerprint, .name = name};
    json_t *answer = NULL;
    fr_buf_init(&request, PKI_PEM_BYTES_MAX);
    if (fr_file_make_folder(folder, &error) != FR_OK)
        status = say_why(fr_xprintf("%s: %s", folder, strerror(error)));
    else if (is_there(key) && is_there(pem))
        status = say_why(fr_xprintf("%s is there already: this machine has joined; "
                                    "`freshet join --renew` renews",
                                    key));
    else if (pki_request_make(token->name, key, &request, &why) != FR_OK)
        status = say_why(why);
    else
        answer = ask(&how, address, "/join", token->secret, request.data);
    /* The certificate last: it is what says that this machine has joined. */
    if (answer && write_file(ca, json_string_value(json_object_get(answer, "ca"))) &&
        write_file(pem, json_string_value(json_object_get(answer, "certificate"))))
        status = CLI_DONE;
    if (status == CLI_DONE)
        printf("joined as %s. In freshet.yaml:\n\n"
               "manager:\n"
               "  connect: %s\n"
               "  tls: { certificate: %s, key: %s, ca: %s%s%s }\n",
               token->name, manager, pem, key, ca, strcmp(name, "manager") ? ", name: " : "",
               strcmp(name, "manager") ? name : "");
    else if (request.len > 0 && !answer)
        (void)unlink(key); /* nobody has certified it */
    json_decref(answer);
    fr_buf_fini(&request);
    fr_free(address);
    fr_free(key);
    fr_free(pem);
    fr_free(ca);
    return status;
}

/* ---- renewing ------------------------------------------------------------------------------- */

static int
replace_pair(const struct config_control_tls *tls, const char *new_key, json_t *answer)
{
    const struct tls_pem_pair paths = {.certificate = tls->certificate, .key = tls->key};
    const char *chain = json_string_value(json_object_get(answer, "certificate"));
    EVP_PKEY *key = NULL;
    char *why = NULL;
    enum fr_err err = FR_ERR_CONFIG;
    if (strcmp(tls->certificate, tls->key) == 0)
        why = fr_xprintf("%s: certificate and key are one file, which is not renewed", tls->key);
    else
        err = tls_pem_key_read(new_key, &key, &why);
    if (err == FR_OK && !tls_pem_chain_fits(fr_view_of(chain), key)) {
        why = fr_xstrdup("the manager sent a certificate for another key");
        err = FR_ERR_BAD_PEER;
    }
    if (err == FR_OK)
        err = tls_pem_pair_write(&paths, key, fr_view_of(chain), &why);
    EVP_PKEY_free(key);
    (void)unlink(new_key);
    if (err != FR_OK)
        return say_why(why);
    printf("%s: renewed as %s\n", tls->certificate,
           json_string_value(json_object_get(answer, "name")));
    return CLI_DONE;
}

static int
renew(const char *file)
{
    struct fr_buf request;
    char name[PKI_NAME_BYTES];
    char *why = NULL;
    int status = CLI_FAILED;
    struct config *config = cli_load(file, CONFIG_ROLE_AGENT, &status);
    if (config == NULL)
        return status;
    status = CLI_FAILED;
    const struct config_control_tls *tls = &config->manager.tls;
    fr_buf_init(&request, PKI_PEM_BYTES_MAX);
    if (!tls->enabled || config->manager.connect == NULL ||
        !tls_certificate_first_name(tls->certificate, name, sizeof(name))) {
        status = say_why(fr_xprintf("%s has no manager.connect with manager.tls", file));
    } else {
        const struct cli_access how = {
            .ca = tls->ca, .certificate = tls->certificate, .key = tls->key, .name = tls->name};
        char *address = fr_xprintf("https://%s", config->manager.connect);
        char *new_key = fr_xprintf("%s.new", tls->key);
        json_t *answer = NULL;
        if (pki_request_make(name, new_key, &request, &why) != FR_OK)
            status = say_why(why);
        else
            answer = ask(&how, address, "/renew", NULL, request.data);
        if (answer)
            status = replace_pair(tls, new_key, answer);
        else
            (void)unlink(new_key); /* nobody has certified it */
        json_decref(answer);
        fr_free(new_key);
        fr_free(address);
    }
    fr_buf_fini(&request);
    config_free(&config);
    return status;
}

/* ---- the command ---------------------------------------------------------------------------- */

int
cli_join(int argc, char **argv)
{
    const char *manager = NULL, *token_text = NULL, *folder = "./pki", *file = CLI_FILE_DEFAULT;
    const char *name = "manager", *token_file = NULL;
    bool renews = false;
    int operands = 0;
    struct pki_token token;
    const struct cli_option options[] = {
        {"--manager", NULL, .text = &manager, .words = "the manager's HOST:PORT"},
        {"--token", NULL, .text = &token_text, .words = "what `freshet pki token NAME` printed"},
        {"--token-file", NULL, .text = &token_file, .words = "the file it stands in, - for stdin"},
        {"--dir", "-d", .text = &folder, .words = "where key and certificates go (./pki)"},
        {"--manager-name", NULL, .text = &name,
         .words = "the name of the manager's certificate (manager)"},
        {"--renew", NULL, .flag = &renews, .words = "a new certificate for the one of the file"},
        {"--config", "-c", .text = &file, .words = "renew: the configuration file (freshet.yaml)"},
        {.name = NULL},
    };
    int status = cli_options(argc, argv, options, &operands);
    if (status != CLI_DONE)
        return status;
    if (operands > 0)
        return cli_usage("join", "unexpected: %s", argv[1]);
    if (renews)
        return manager || token_text || token_file
                   ? cli_usage("join", "--renew takes them from the file")
                   : renew(file);
    if (manager == NULL || (token_text == NULL) == (token_file == NULL))
        return cli_usage("join", "--manager HOST:PORT, and --token TOKEN or --token-file FILE, are "
                                 "needed");
    if (!take_token(token_text, token_file, &token))
        return cli_usage("join", "--token%s: expected what `freshet pki token NAME` printed, whole",
                         token_text ? "" : "-file");
    return join(manager, name, &token, folder);
}
