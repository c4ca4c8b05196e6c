/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_structured.c - fuzzes the reader of structured dictionaries.
 *
 * Shape:  the value of a field, one line.
 * Judged: every member lies in the line and has a value its type allows; written anew it reads the
 *         same; what is bad does not become good by what follows it.
 */
#include "http/http_structured.h"

#include "base/fr_check.h"

#include <inttypes.h>
#include <stdio.h>

#define LINE_BYTES_MAX 2048
#define MEMBERS_MAX 256

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct dictionary {
    enum http_step step; /* how it ended */
    size_t count;
    struct http_sf_member members[MEMBERS_MAX];
};

static void
read_all(struct fr_view line, struct dictionary *out)
{
    out->count = 0;
    while (out->count < MEMBERS_MAX &&
           (out->step = http_sf_member_next(&line, &out->members[out->count])) == HTTP_MORE)
        out->count++;
}

static bool
lies_in(struct fr_view part, struct fr_view line)
{
    return part.len == 0 || (part.ptr >= line.ptr && part.ptr + part.len <= line.ptr + line.len);
}

static void
check_member(const struct http_sf_member *member, struct fr_view line)
{
    fr_insist(member->key.len > 0 && lies_in(member->key, line) && lies_in(member->text, line));
    for (size_t i = 0; i < member->key.len; i++)
        fr_insist(member->key.ptr[i] > ' ' &&
                  (member->key.ptr[i] < 'A' || member->key.ptr[i] > 'Z'));
    for (size_t i = 0; i < member->text.len; i++)
        fr_insist(member->text.ptr[i] >= ' ' && member->text.ptr[i] < 0x7f);
    if (member->type == HTTP_SF_BOOLEAN)
        fr_insist(member->integer == 0 || member->integer == 1);
    fr_insist(member->integer > -INT64_C(1000000000000000));
    fr_insist(member->integer < INT64_C(1000000000000000));
}

/* "key=value", the shortest way to write it. DECIMAL keeps no value, so that any will do. */
static int
member_put(char *out, size_t bytes, const struct http_sf_member *m)
{
    static const char *const forms[] = {
        [HTTP_SF_STRING] = "\"%.*s\"",    [HTTP_SF_TOKEN] = "%.*s",  [HTTP_SF_BYTES] = ":%.*s:",
        [HTTP_SF_DISPLAY] = "%%\"%.*s\"", [HTTP_SF_LIST] = "(%.*s)",
    };
    int at = snprintf(out, bytes, "%.*s=", FR_VIEW_ARG(m->key));
    out += at;
    bytes -= (size_t)at;
    switch (m->type) {
    case HTTP_SF_BOOLEAN:
        return at + snprintf(out, bytes, "?%" PRId64, m->integer);
    case HTTP_SF_INTEGER:
        return at + snprintf(out, bytes, "%" PRId64, m->integer);
    case HTTP_SF_DATE:
        return at + snprintf(out, bytes, "@%" PRId64, m->integer);
    case HTTP_SF_DECIMAL:
        return at + snprintf(out, bytes, "1.5");
    case HTTP_SF_STRING:
    case HTTP_SF_TOKEN:
    case HTTP_SF_BYTES:
    case HTTP_SF_DISPLAY:
    case HTTP_SF_LIST:
        break;
    }
    return at + snprintf(out, bytes, forms[m->type], FR_VIEW_ARG(m->text));
}

static void
check_written(const struct dictionary *is)
{
    static struct dictionary again;
    static char text[4 * LINE_BYTES_MAX];
    size_t len = 0;
    for (size_t i = 0; i < is->count; i++) {
        if (i > 0)
            text[len++] = ',';
        len += (size_t)member_put(text + len, sizeof(text) - len, &is->members[i]);
    }
    fr_insist(len < sizeof(text));
    read_all(fr_view_make(text, len), &again);
    fr_insist(again.step == HTTP_DONE && again.count == is->count);
    for (size_t i = 0; i < is->count; i++) {
        const struct http_sf_member *one = &is->members[i], *other = &again.members[i];
        fr_insist(one->type == other->type && fr_view_eq(one->key, other->key));
        fr_insist(fr_view_eq(one->text, other->text));
        fr_insist(one->type == HTTP_SF_DECIMAL || one->integer == other->integer);
    }
}

/* Lines of one field count as if a comma joined them (RFC 9651 section 4.2). */
static void
check_followed(struct fr_view line, const struct dictionary *is)
{
    static struct dictionary longer;
    char text[LINE_BYTES_MAX + 16];
    memcpy(text, line.ptr, line.len);
    memcpy(text + line.len, ",zz=1", 5);
    read_all(fr_view_make(text, line.len + 5), &longer);
    if (is->step == HTTP_BAD) {
        fr_insist(longer.step == HTTP_BAD);
        return;
    }
    fr_insist(is->count == 0 || longer.step == HTTP_DONE);
    fr_insist(is->count == 0 || longer.count == is->count + 1);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct dictionary is;
    struct fr_view line = fr_view_make((const char *)data, size);
    if (size == 0 || size > LINE_BYTES_MAX)
        return 0;
    read_all(line, &is);
    if (is.count + 1 >= MEMBERS_MAX)
        return 0;
    for (size_t i = 0; i < is.count; i++)
        check_member(&is.members[i], line);
    if (is.step == HTTP_DONE)
        check_written(&is);
    check_followed(line, &is);
    return 0;
}
