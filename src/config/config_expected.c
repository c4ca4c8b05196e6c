/* SPDX-License-Identifier: Apache-2.0 */
/*
 * config_expected.c - what a row takes, in words: for messages and for the reference page.
 *
 * May touch:  base.
 */
#include "config/config_priv.h"

static enum fr_err
print_mapping_words(const struct config__row *row, struct fr_buf *out)
{
    const struct config__row *child = NULL;
    const char *comma = "";
    enum fr_err err = FR_OK;
    if (row->unit[0]) {
        const struct config__row *one = NULL;
        while ((one = config__row_next(row->scope, fr_view_of(row->path), one)) != NULL)
            if (row->unit[0] == '*' || fr_view_is(config__row_key(one), row->unit))
                break;
        err = one ? config__row_expected(one, out) : FR_OK;
        if (!err)
            err = fr_buf_printf(out, ", or ");
    }
    if (!err)
        err = fr_buf_printf(out, "a mapping with some of ");
    while (!err && (child = config__row_next(row->scope, fr_view_of(row->path), child)) != NULL) {
        err = fr_buf_printf(out, "%s%.*s", comma, FR_VIEW_ARG(config__row_key(child)));
        comma = ", ";
    }
    return err;
}

/* Types without bounds are described by a constant. */
static const char *const sentences[CONFIG_TYPE_COUNT_OF] = {
    [CONFIG_TYPE_BOOL] = "true or false",
    [CONFIG_TYPE_NAME] = "a name of letters, digits, '.', '_' and '-', beginning with a letter or "
                         "digit, at most 63",
    [CONFIG_TYPE_POOL_NAMES] = "the name of a pool or a list of at most 8, each once",
    [CONFIG_TYPE_NAME_TEXT] = "a name of letters, digits, '.', '_' and '-', beginning with a "
                              "letter or digit, at most 63",
    [CONFIG_TYPE_TEXT] = "text without control characters, at most 4096 bytes",
    [CONFIG_TYPE_HOST] = "a host name such as example.com, or *.example.com",
    [CONFIG_TYPE_PATH] =
        "a path that begins with '/', without spaces and '#' (and without a query, "
        "but for checks)",
    [CONFIG_TYPE_TOKEN] = "a method such as GET",
    [CONFIG_TYPE_TOKEN_NAME] = "a name such as session-id, without spaces and separators, at most "
                               "128 characters",
    [CONFIG_TYPE_SECRET] = "64 hexadecimal digits, as `openssl rand -hex 32` prints them",
    [CONFIG_TYPE_HEADER] = "the name of a header field, or {Name: value}",
    [CONFIG_TYPE_HEADERS] = "a mapping of at most 32 header fields to their values, none of those "
                            "that frame the answer or are made here",
    [CONFIG_TYPE_LOCATION] = "an http or https URL or a path beginning with one '/', in printable "
                             "ASCII without spaces, with {host}, {path} and {query} and no other "
                             "braces",
    [CONFIG_TYPE_BODY] = "text of at most 16384 bytes, without control characters but tabs and "
                         "line ends",
    [CONFIG_TYPE_FILE_NAME] = "the name of a file below the folder, without '.' and '..' segments",
    [CONFIG_TYPE_STATUS] = "status codes from 100 to 599, one or first-last",
    [CONFIG_TYPE_PORTS] = "ports from 1 to 65535, first-last",
    [CONFIG_TYPE_IP] = "a numeric address without a port, such as 127.0.0.1",
    [CONFIG_TYPE_ADDRESS] = "HOST:PORT or unix:PATH",
    [CONFIG_TYPE_ADMIN] = "unix:PATH, HOST:PORT, or off",
    [CONFIG_TYPE_ADDRESS_TEXT] = "HOST:PORT or unix:PATH",
    [CONFIG_TYPE_LISTEN_ADDRESS] = "HOST:PORT, :PORT or unix:PATH",
    [CONFIG_TYPE_MEMBER_ADDRESS] = "HOST:PORT or unix:PATH",
    [CONFIG_TYPE_COMMAND] = "a list of words, the program first, such as [\"./app\", \"{port}\"]",
    [CONFIG_TYPE_ENVIRONMENT] = "a mapping of variables to their values",
    [CONFIG_TYPE_NETWORKS] =
        "a network (10.0.0.0/8, 2001:db8::/32, an address, or unix:) or a list of them",
    [CONFIG_TYPE_LISTEN] = "an address (HOST:PORT, :PORT or unix:PATH), a mapping with address, or "
                           "a list of them",
    [CONFIG_TYPE_WINDOWS] = "a list of mappings with at, for, and min or max",
    [CONFIG_TYPE_CERTIFICATES] = "a list of mappings with certificate and key",
    [CONFIG_TYPE_MEMBERS] = "a list of addresses (HOST:PORT or unix:PATH) or mappings with address",
    [CONFIG_TYPE_ROUTES] = "a list of routes",
    [CONFIG_TYPE_CLUSTERS] = "a mapping of names to clusters",
    [CONFIG_TYPE_POOLS] = "a mapping of names to pools",
    [CONFIG_TYPE_NAMES] = "a name or a list of names",
    [CONFIG_TYPE_PEERS] = "a list of mappings with name",
    [CONFIG_TYPE_USERS] = "a list of mappings with role and either certificate or token-sha256",
};

enum fr_err
config__row_expected(const struct config__row *row, struct fr_buf *out)
{
    switch (row->type) {
    case CONFIG_TYPE_MAPPING:
        return print_mapping_words(row, out);
    case CONFIG_TYPE_COUNT:
        return fr_buf_printf(out, "a whole number from %s to %s", row->min, row->max);
    case CONFIG_TYPE_BYTES:
        return fr_buf_printf(out, "bytes from %s to %s (with KiB, MiB, GiB, kB, MB, GB, or none)",
                             row->min, row->max);
    case CONFIG_TYPE_DURATION:
        return fr_buf_printf(out, "a duration from %s to %s with its unit (us, ms, s, min, h, d)",
                             row->min, row->max);
    case CONFIG_TYPE_RATIO:
        return fr_buf_printf(out, "a share from %s to %s, such as 0.5 or 50%%", row->min, row->max);
    case CONFIG_TYPE_CHOICE:
    case CONFIG_TYPE_PROVIDER:
        return fr_buf_printf(out, "one of %s", row->unit);
    case CONFIG_TYPE_FLAGS:
        return fr_buf_printf(out, "a list of %s", row->unit);
    case CONFIG_TYPE_STEPS:
        return fr_buf_printf(out, "a list of %s, each once", row->unit);
    default:
        return fr_buf_printf(out, "%s", sentences[row->type] ? sentences[row->type] : "a value");
    }
}
