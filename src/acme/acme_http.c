/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acme_http.c - one call of the authority, by libcurl.
 *
 * May touch:  libcurl. Blocks: never on a loop's thread.
 * Limits:     30 s, ACME_BODY_BYTES_MAX, https only, no redirects: what is signed is signed for one
 *             URL.
 */
#include "acme/acme_priv.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define CALL_TIMEOUT_S 30L

static size_t
on_body(char *data, size_t size, size_t count, void *ctx)
{
    struct acme__reply *reply = ctx;
    size_t bytes = size * count;
    return fr_buf_append(&reply->body, data, bytes) == FR_OK ? bytes : 0;
}

/* The value of a field line when it has that name, else an empty view. */
static struct fr_view
value_of(struct fr_view line, const char *name)
{
    size_t len = strlen(name);
    if (line.len <= len || strncasecmp(line.ptr, name, len) != 0 || line.ptr[len] != ':')
        return (struct fr_view){NULL, 0};
    struct fr_view value = fr_view_make(line.ptr + len + 1, line.len - len - 1);
    while (value.len > 0 && (value.ptr[value.len - 1] == '\r' || value.ptr[value.len - 1] == '\n'))
        value.len--;
    return fr_view_trim(value);
}

static void
keep(char **field, struct fr_view value)
{
    if (value.len == 0 || value.len > 4096)
        return;
    fr_free(*field);
    *field = fr_xstrndup(value.ptr, value.len);
}

static size_t
on_field(char *data, size_t size, size_t count, void *ctx)
{
    struct acme__reply *reply = ctx;
    struct fr_view line = fr_view_make(data, size * count);
    uint64_t seconds = 0;
    keep(&reply->nonce, value_of(line, "Replay-Nonce"));
    keep(&reply->location, value_of(line, "Location"));
    struct fr_view retry = value_of(line, "Retry-After");
    if (retry.len > 0 && fr_view_u64(retry, &seconds) && seconds < 30 * 86400ULL)
        reply->retry_after_s = (int64_t)seconds;
    return line.len;
}

static int
on_progress(void *ctx, curl_off_t all_down, curl_off_t down, curl_off_t all_up, curl_off_t up)
{
    const atomic_bool *cancelled = ctx;
    (void)all_down, (void)down, (void)all_up, (void)up;
    return atomic_load(cancelled) ? 1 : 0;
}

static void
configure(CURL *curl, const char *url, const char *ca, const atomic_bool *cancelled,
          struct acme__reply *out)
{
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https");
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, CALL_TIMEOUT_S);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_USERAGENT, "freshet/" FRESHET_VERSION);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, out);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_field);
    (void)curl_easy_setopt(curl, CURLOPT_HEADERDATA, out);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    (void)curl_easy_setopt(curl, CURLOPT_XFERINFODATA, (void *)(uintptr_t)cancelled);
    (void)curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    if (ca)
        (void)curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
}

enum fr_err
acme__http(const char *url, const char *ca, const char *body, bool head,
           const atomic_bool *cancelled, struct acme__reply *out, char why[ACME_WHY_BYTES])
{
    char words[CURL_ERROR_SIZE] = "";
    CURL *curl = curl_easy_init();
    struct curl_slist *fields = NULL;
    memset(out, 0, sizeof(*out));
    fr_buf_init(&out->body, ACME_BODY_BYTES_MAX);
    if (!curl) {
        (void)snprintf(why, ACME_WHY_BYTES, "%s: out of memory", url);
        return FR_ERR_NOMEM;
    }
    configure(curl, url, ca, cancelled, out);
    (void)curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
    if (body) {
        fields = curl_slist_append(NULL, "Content-Type: application/jose+json");
        (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, fields);
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    } else if (head) {
        (void)curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    }
    CURLcode code = curl_easy_perform(curl);
    if (code == CURLE_OK)
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &out->status);
    else
        (void)snprintf(why, ACME_WHY_BYTES, "%.200s: %.150s", url,
                       words[0] ? words : curl_easy_strerror(code));
    curl_slist_free_all(fields);
    curl_easy_cleanup(curl);
    return code == CURLE_OK ? FR_OK : FR_ERR_IO;
}

void
acme__reply_fini(struct acme__reply *reply)
{
    fr_buf_fini(&reply->body);
    fr_free(reply->nonce);
    fr_free(reply->location);
    memset(reply, 0, sizeof(*reply));
}
