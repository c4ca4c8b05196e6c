/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cli_talk.c - finds a running Freshet's address and asks it something.
 */
#include "cli/cli.h"

#include "cli/cli_client.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The file as far as it can be read for this purpose; NULL when there is none. */
static struct config *
quiet_load(const char *file, enum config_role role)
{
    struct config_diag diag;
    struct config *config = NULL;
    config_diag_init(&diag);
    if (config_load(file, role, &diag, &config) != FR_OK)
        config = NULL;
    config_diag_fini(&diag);
    return config;
}

static struct config *
load_for_address(const char *file)
{
    static const enum config_role roles[] = {CONFIG_ROLE_RUN, CONFIG_ROLE_EDGE,
                                             CONFIG_ROLE_ALLOCATOR, CONFIG_ROLE_MANAGER};
    for (size_t i = 0; i < sizeof(roles) / sizeof(roles[0]); i++) {
        struct config *config = quiet_load(file, roles[i]);
        if (config != NULL)
            return config;
    }
    return NULL;
}

bool
cli_admin_address(const char *admin, const char *file, char *out, size_t out_bytes)
{
    if (admin != NULL)
        return fr_view_copy(fr_view_of(admin), out, out_bytes);
    struct config *config = load_for_address(file);
    bool ok = config != NULL && config->admin != NULL;
    if (ok && config->users.tls.enabled && config->admin_addr.sa.any.sa_family != AF_UNIX)
        ok = snprintf(out, out_bytes, "https://%s", config->admin) < (int)out_bytes;
    else if (ok)
        ok = fr_view_copy(fr_view_of(config->admin), out, out_bytes);
    if (!ok)
        fprintf(stderr,
                "freshet: %s names no admin address: say -c FILE or --admin ADDRESS\n", file);
    config_free(&config);
    return ok;
}

/* Unless the environment has it; empty is as unset. */
static bool
set_default(const char *variable, const char *value)
{
    const char *before = getenv(variable);
    return setenv(variable, value, before == NULL || before[0] == '\0') == 0;
}

/* What the file shows on the stream is shown here too, where neither an option nor the environment
 * says otherwise. */
static bool
use_files(const struct config_control_tls *tls)
{
    return set_default("FRESHET_CA", tls->ca) && set_default("FRESHET_CERT", tls->certificate) &&
           set_default("FRESHET_KEY", tls->key) && set_default("FRESHET_NAME", tls->name);
}

bool
cli_manager_address(const char *manager, const char *file, char *out, size_t out_bytes)
{
    if (manager != NULL)
        return fr_view_copy(fr_view_of(manager), out, out_bytes);
    /* As an edge's: `freshet run` would put a manager of its own where the file names none. */
    struct config *config = quiet_load(file, CONFIG_ROLE_EDGE);
    const char *found = NULL;
    if (config == NULL || (config->manager.listen_count == 0 && config->manager.connect == NULL)) {
        config_free(&config);
        config = load_for_address(file);
    }
    const struct loop_addr *addr = NULL;
    if (config != NULL && config->manager.listen_count > 0) {
        found = config->manager.listen[0].text;
        addr = &config->manager.listen[0].addr;
    } else if (config != NULL) {
        found = config->manager.connect;
        addr = &config->manager.connect_addr;
    }
    bool ok = found != NULL;
    if (ok && config->manager.tls.enabled && addr->sa.any.sa_family != AF_UNIX)
        ok = snprintf(out, out_bytes, "https://%s", found) < (int)out_bytes &&
             use_files(&config->manager.tls);
    else if (ok)
        ok = fr_view_copy(fr_view_of(found), out, out_bytes);
    if (!ok)
        fprintf(stderr, "freshet: %s names no manager: say -c FILE or --manager ADDRESS\n", file);
    config_free(&config);
    return ok;
}

/* {"error": "words"} → the words; otherwise the text itself. */
static void
print_error(const char *address, int status, const struct fr_buf *body)
{
    json_error_t ignored;
    json_t *root = body->len ? json_loadb(body->data, body->len, 0, &ignored) : NULL;
    const char *words = json_string_value(json_object_get(root, "error"));
    if (words != NULL)
        fprintf(stderr, "freshet: %s\n", words);
    else
        fprintf(stderr, "freshet: %s answered %d: %.*s\n", address, status,
                (int)(body->len < 400 ? body->len : 400), body->len ? body->data : "");
    json_decref(root);
}

bool
cli_call(const char *address, const char *method, const char *path, int64_t timeout_us,
         struct fr_buf *out)
{
    int status = 0;
    char why[256];
    enum fr_err err = cli_http(address, method, path, FR_VIEW(""), timeout_us, &status, out, why,
                               sizeof(why));
    if (err != FR_OK) {
        fprintf(stderr, "freshet: %s\nis it running?\n", why);
        return false;
    }
    if (status < 200 || status > 299) {
        print_error(address, status, out);
        return false;
    }
    return true;
}
