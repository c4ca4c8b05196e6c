/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_encode.c - stanzas to XML.
 *
 * May touch:  base.
 * Memory:     appends to the caller's buffer, under the buffer's ceiling; on failure takes back
 *             what it wrote.
 * Trusts:     nothing in the texts: names are refused where they would not be names at the other
 *             end, words are cleaned and cut.
 * Follows:    schema/freshet-stream.rng.
 */
#include "wire/wire_priv.h"

/* What the decoder takes by default: 64 attributes with the name, and a depth of 16, three of which
 * are <stream>, <reconfigure> and the setting itself. */
#define SETTINGS_ATTRIBUTES_MAX 63
#define SETTINGS_DEPTH_MAX 13
#define SETTINGS_TAG_BYTES (WIRE_TAG_BYTES - 2048) /* its name, and the request's, take the rest   \
                                                    */

static void
open_tag(struct wire__out *out, const struct wire__table *table, const void *object)
{
    wire__out_raw(out, "<", 1);
    wire__out_str(out, table->element);
    wire__out_attrs(out, table, object);
}

static void
end_tag(struct wire__out *out, const char *element)
{
    wire__out_raw(out, "</", 2);
    wire__out_str(out, element);
    wire__out_raw(out, ">", 1);
}

static void
put_server(struct wire__out *out, const struct wire_server *server)
{
    /* A server is known by its id or, where the sender does not know that, by its address. */
    if (server->id.len == 0 && server->address.len == 0)
        wire__out_fail(out, FR_ERR_SYNTAX);
    open_tag(out, &wire__server_table, server);
    wire__out_str(out, "/>");
}

static void
put_self(struct wire__out *out, const struct wire_report *report)
{
    if (report->self.id.len == 0 && report->self.address.len == 0)
        wire__out_fail(out, FR_ERR_SYNTAX);
    open_tag(out, &wire__server_table, &report->self);
    if (report->worker_count == 0) {
        wire__out_str(out, "/>");
        return;
    }
    wire__out_raw(out, ">", 1);
    for (size_t i = 0; i < report->worker_count; i++) {
        open_tag(out, &wire__worker_table, &report->workers[i]);
        wire__out_str(out, "/>");
    }
    end_tag(out, "server");
}

static void
put_cluster(struct wire__out *out, const struct wire_cluster *cluster)
{
    open_tag(out, &wire__cluster_table, cluster);
    if (cluster->server_count == 0) {
        wire__out_str(out, "/>");
        return;
    }
    wire__out_raw(out, ">", 1);
    for (size_t i = 0; i < cluster->server_count; i++)
        put_server(out, &cluster->servers[i]);
    end_tag(out, "cluster");
}

static enum fr_err
put_report(struct fr_buf *buf, const struct wire_report *report, bool document)
{
    struct wire__out out;
    wire__out_begin(&out, buf);
    wire__out_str(&out, "<report");
    if (document)
        wire__out_str(&out, " xmlns=\"" WIRE_NAMESPACE "\"");
    wire__out_attrs(&out, &wire__report_table, report);
    wire__out_raw(&out, ">", 1);
    if (report->has_self)
        put_self(&out, report);
    for (size_t i = 0; i < report->cluster_count; i++)
        put_cluster(&out, &report->clusters[i]);
    for (size_t i = 0; i < report->pool_count; i++) {
        open_tag(&out, &wire__pool_table, &report->pools[i]);
        wire__out_str(&out, "/>");
    }
    end_tag(&out, "report");
    wire__out_raw(&out, "\n", 1);
    return wire__out_end(&out);
}

enum fr_err
wire_put_open(struct fr_buf *buf, const struct wire_open *open)
{
    struct wire__out out;
    wire__out_begin(&out, buf);
    wire__out_str(&out, "<stream xmlns=\"" WIRE_NAMESPACE "\"");
    wire__out_attrs(&out, &wire__open_table, open);
    wire__out_str(&out, ">\n");
    return wire__out_end(&out);
}

enum fr_err
wire_put_report(struct fr_buf *buf, const struct wire_report *report)
{
    return put_report(buf, report, false);
}

enum fr_err
wire_put_report_document(struct fr_buf *buf, const struct wire_report *report)
{
    return put_report(buf, report, true);
}

/* ---- reconfigure ---------------------------------------------------------------------------- */

static void
put_setting_text(struct wire__out *out, struct fr_view value)
{
    /* Changing a setting silently would be worse than refusing it. */
    if (value.len > WIRE__VALUE_BYTES || !wire__text_is_good(value))
        wire__out_fail(out, FR_ERR_SYNTAX);
    wire__out_escaped(out, value);
}

/* The attributes among a setting's children; true when there is more to say than these. */
static bool
put_setting_attributes(struct wire__out *out, const struct wire_setting *first, bool top)
{
    bool elements = false;
    size_t count = 0;
    for (const struct wire_setting *child = first; child != NULL && out->err == FR_OK;
         child = child->next) {
        if (!wire__setting_name_good(child->name))
            wire__out_fail(out, FR_ERR_SYNTAX);
        if (!child->is_attribute) {
            elements = true;
            continue;
        }
        if (top && fr_view_is(child->name, "name"))
            continue; /* the request's own name says it */
        if (++count > SETTINGS_ATTRIBUTES_MAX)
            wire__out_fail(out, FR_ERR_RANGE);
        /* An attribute twice is not well-formed (XML 1.0 section 3.1). */
        for (const struct wire_setting *before = first; before != child; before = before->next) {
            if (before->is_attribute && fr_view_eq(before->name, child->name))
                wire__out_fail(out, FR_ERR_SYNTAX);
        }
        wire__out_raw(out, " ", 1);
        wire__out_raw(out, child->name.ptr, child->name.len);
        wire__out_raw(out, "=\"", 2);
        put_setting_text(out, child->value);
        wire__out_raw(out, "\"", 1);
    }
    return elements;
}

/* The rest of a start tag whose name is written already, its content and its end tag. */
static void
put_setting(struct wire__out *out, struct fr_view element, const struct wire_setting *setting,
            unsigned depth)
{
    const struct wire_setting *first = setting != NULL ? setting->first_child : NULL;
    if (depth > SETTINGS_DEPTH_MAX)
        wire__out_fail(out, FR_ERR_RANGE);
    size_t before = out->buf->len;
    bool has_elements = put_setting_attributes(out, first, depth == 0);
    if (out->buf->len - before > SETTINGS_TAG_BYTES)
        wire__out_fail(out, FR_ERR_RANGE);
    bool content = has_elements || (setting != NULL && setting->value.len > 0);
    if (!content || out->err != FR_OK) {
        wire__out_str(out, "/>");
        return;
    }
    wire__out_raw(out, ">", 1);
    for (const struct wire_setting *child = first; child != NULL && out->err == FR_OK;
         child = child->next) {
        if (child->is_attribute)
            continue;
        wire__out_raw(out, "<", 1);
        wire__out_raw(out, child->name.ptr, child->name.len);
        put_setting(out, child->name, child, depth + 1);
    }
    if (!has_elements)
        put_setting_text(out, setting->value);
    else if (setting->value.len > 0)
        wire__out_fail(out, FR_ERR_SYNTAX); /* text beside elements has no meaning */
    wire__out_raw(out, "</", 2);
    wire__out_raw(out, element.ptr, element.len);
    wire__out_raw(out, ">", 1);
}

enum fr_err
wire_put_reconfigure(struct fr_buf *buf, const struct wire_reconfigure *request)
{
    struct wire__out out;
    wire__out_begin(&out, buf);
    if ((size_t)request->operation >= WIRE_OPERATION_COUNT)
        return FR_ERR_RANGE;
    if (wire__needs_cluster(request->operation) && request->cluster.len == 0)
        return FR_ERR_SYNTAX;
    bool put = wire__is_put(request->operation);
    struct wire_reconfigure shown = *request;
    if (!put)
        shown.reason = (struct fr_view){0}; /* stands with the operation, as DESIGN shows it */
    open_tag(&out, &wire__reconfigure_table, &shown);
    wire__out_raw(&out, ">", 1);
    const struct wire__table *table = &wire__operation_tables[request->operation];
    open_tag(&out, table, request);
    if (put)
        put_setting(&out, fr_view_of(table->element), request->settings, 0);
    else
        wire__out_str(&out, "/>");
    end_tag(&out, "reconfigure");
    wire__out_raw(&out, "\n", 1);
    return wire__out_end(&out);
}

/* ---- the others ----------------------------------------------------------------------------- */

enum fr_err
wire_put_result(struct fr_buf *buf, const struct wire_result *result)
{
    struct wire__out out;
    wire__out_begin(&out, buf);
    open_tag(&out, &wire__result_table, result);
    if (result->server_count == 0) {
        wire__out_str(&out, "/>\n");
        return wire__out_end(&out);
    }
    wire__out_raw(&out, ">", 1);
    for (size_t i = 0; i < result->server_count; i++)
        put_server(&out, &result->servers[i]);
    end_tag(&out, "result");
    wire__out_raw(&out, "\n", 1);
    return wire__out_end(&out);
}

enum fr_err
wire_put_alive(struct fr_buf *buf)
{
    return fr_buf_append_view(buf, FR_VIEW("<alive/>\n"));
}

enum fr_err
wire_put_error(struct fr_buf *buf, const char *code, const char *words)
{
    struct wire__out out;
    const struct wire_peer_error error = {.code = fr_view_of(code), .words = fr_view_of(words)};
    wire__out_begin(&out, buf);
    open_tag(&out, &wire__error_table, &error);
    wire__out_str(&out, "/>\n");
    return wire__out_end(&out);
}

enum fr_err
wire_put_close(struct fr_buf *buf)
{
    return fr_buf_append_view(buf, FR_VIEW("</stream>\n"));
}
