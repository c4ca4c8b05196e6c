/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_access_format.c - a record as a line: common, combined, JSON.
 *
 * Trusts:     nothing of a text: clients chose them. What is not printable ASCII, and the quote and
 *             backslash, are escaped: \xHH as nginx does, in JSON \u00HH for the octet HH.
 * Follows:    the Common Log Format of NCSA httpd and its combined extension; RFC 8259 section 7.
 */
#include "edge/edge_access.h"

#include "base/fr_put.h"
#include "base/fr_time.h"

/* Appending that remembers its first failure. */
struct line {
    struct fr_buf *out;
    enum fr_err err;
};

static void
put(struct line *line, struct fr_view text)
{
    if (!line->err)
        line->err = fr_buf_append_view(line->out, text);
}

__attribute__((format(printf, 2, 3))) static void
put_format(struct line *line, const char *format, ...)
{
    va_list args;
    if (line->err)
        return;
    va_start(args, format);
    line->err = fr_buf_vprintf(line->out, format, args);
    va_end(args);
}

static void
put_number(struct line *line, uint64_t number)
{
    char digits[FR_PUT_U64_BYTES];
    put(line, fr_view_make(digits, (size_t)(fr_put_u64(digits, number) - digits)));
}

static void
put_protocol(struct line *line, const struct proxy_log_record *record)
{
    if (record->http2) {
        put(line, FR_VIEW("HTTP/2"));
        return;
    }
    put(line, FR_VIEW("HTTP/1."));
    put_number(line, record->version_minor);
}

static void
put_escaped(struct line *line, struct fr_view text, const char *format)
{
    size_t from = 0;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = (uint8_t)text.ptr[i];
        if (c >= 0x20 && c < 0x7f && c != '"' && c != '\\')
            continue;
        put(line, fr_view_make(text.ptr + from, i - from));
        put_format(line, format, c);
        from = i + 1;
    }
    put(line, fr_view_make(text.ptr + from, text.len - from));
}

static struct fr_view
text_of(const struct proxy_log_record *record, enum proxy_log_text text)
{
    const char *at = (const char *)(record + 1);
    for (int i = 0; i < (int)text; i++)
        at += record->lens[i];
    return fr_view_make(at, record->lens[text]);
}

/* ---- the web's usual formats ---------------------------------------------------------------- */

static void
put_quoted(struct line *line, struct fr_view text)
{
    put(line, FR_VIEW("\""));
    if (text.len == 0)
        put(line, FR_VIEW("-"));
    put_escaped(line, text, "\\x%02X");
    put(line, FR_VIEW("\""));
}

/* "[10/Oct/2026:13:55:36 +0000]", from "2026-10-10T13:55:36.000Z". */
static void
put_time(struct line *line, int64_t wall_us)
{
    static const char months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    char iso[FR_TIME_ISO_BYTES];
    uint64_t month = 0;
    fr_time_format_iso(wall_us, iso);
    if (!fr_view_u64(fr_view_make(iso + 5, 2), &month) || month < 1 || month > 12)
        month = 1; /* a clock outside the years of four digits */
    char text[] = "[10/Oct/2026:13:55:36 +0000]";
    memcpy(text + 1, iso + 8, 2);
    memcpy(text + 4, months + 3 * (month - 1), 3);
    memcpy(text + 8, iso, 4);
    memcpy(text + 13, iso + 11, 8);
    put(line, FR_VIEW(text));
}

static void
format_common(struct line *line, const struct proxy_log_record *record)
{
    struct fr_view address = text_of(record, PROXY_LOG_ADDRESS);
    struct fr_view method = text_of(record, PROXY_LOG_METHOD);
    put_escaped(line, address.len ? address : FR_VIEW("unix:"), "\\x%02X");
    put(line, FR_VIEW(" - - "));
    put_time(line, record->wall_us);
    put(line, FR_VIEW(" \""));
    if (method.len > 0) {
        put_escaped(line, method, "\\x%02X");
        put(line, FR_VIEW(" "));
    }
    put_escaped(line, text_of(record, PROXY_LOG_TARGET), "\\x%02X");
    if (method.len > 0) {
        put(line, FR_VIEW(" "));
        put_protocol(line, record);
    }
    put(line, record->status < 100 ? FR_VIEW("\" 00") : FR_VIEW("\" "));
    put_number(line, record->status);
    put(line, FR_VIEW(" "));
    put_number(line, record->body_bytes);
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void
put_member(struct line *line, const char *name, struct fr_view text)
{
    if (text.len == 0)
        return;
    put(line, FR_VIEW(",\""));
    put(line, fr_view_of(name));
    put(line, FR_VIEW("\":\""));
    put_escaped(line, text, "\\u%04x");
    put(line, FR_VIEW("\""));
}

static void
put_member_number(struct line *line, const char *lead, uint64_t number)
{
    put(line, fr_view_of(lead));
    put_number(line, number);
}

static uint64_t
unsigned_of(int64_t number)
{
    return number > 0 ? (uint64_t)number : 0;
}

static const char *const cache_words[] = {
    [PROXY_LOG_CACHE_NONE] = "none",     [PROXY_LOG_CACHE_HIT] = "hit",
    [PROXY_LOG_CACHE_STALE] = "stale",   [PROXY_LOG_CACHE_MISS] = "miss",
    [PROXY_LOG_CACHE_BYPASS] = "bypass",
};
static const char *const end_words[] = {
    [PROXY_LOG_DONE] = "done",
    [PROXY_LOG_CUT] = "cut",
    [PROXY_LOG_DROPPED] = "dropped",
};

static void
format_json(struct line *line, const struct proxy_log_record *record)
{
    static const struct {
        const char *name;
        enum proxy_log_text text;
    } texts[] = {
        {"client", PROXY_LOG_ADDRESS},   {"peer", PROXY_LOG_PEER},
        {"method", PROXY_LOG_METHOD},    {"target", PROXY_LOG_TARGET},
        {"host", PROXY_LOG_HOST},        {"referer", PROXY_LOG_REFERER},
        {"user_agent", PROXY_LOG_AGENT}, {"request_id", PROXY_LOG_REQUEST_ID},
        {"trace_id", PROXY_LOG_TRACE},   {"route", PROXY_LOG_ROUTE},
        {"cluster", PROXY_LOG_CLUSTER},  {"member", PROXY_LOG_MEMBER},
    };
    char iso[FR_TIME_ISO_BYTES];
    fr_time_format_iso(record->wall_us, iso);
    put(line, FR_VIEW("{\"time\":\""));
    put(line, fr_view_of(iso));
    put(line, FR_VIEW("\""));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        put_member(line, texts[i].name, text_of(record, texts[i].text));
    if (record->lens[PROXY_LOG_METHOD] > 0) {
        put(line, FR_VIEW(",\"protocol\":\""));
        put_protocol(line, record);
        put(line, FR_VIEW("\""));
        put_member(line, "scheme", record->https ? FR_VIEW("https") : FR_VIEW("http"));
    }
    put_member_number(line, ",\"status\":", record->status);
    put_member(line, "end", fr_view_of(end_words[record->end]));
    put_member(line, "cache", fr_view_of(cache_words[record->cache]));
    put_member_number(line, ",\"attempts\":", record->attempts);
    put_member_number(line, ",\"retries\":", record->attempts > 1 ? record->attempts - 1u : 0u);
    put_member_number(line, ",\"request_bytes\":", record->request_bytes);
    put_member_number(line, ",\"bytes\":", record->body_bytes);
    put_member_number(line, ",\"sent_bytes\":", record->response_bytes);
    put_member_number(line, ",\"duration_us\":", unsigned_of(record->duration_us));
    if (record->first_byte_us >= 0)
        put_member_number(line, ",\"first_byte_us\":", (uint64_t)record->first_byte_us);
    else
        put(line, FR_VIEW(",\"first_byte_us\":null"));
    if (record->cut)
        put(line, FR_VIEW(",\"shortened\":true"));
    put(line, FR_VIEW("}"));
}

enum fr_err
edge_access_format(enum config_access_format format, const struct proxy_log_record *record,
                   struct fr_buf *out)
{
    size_t before = out->len;
    struct line line = {.out = out};
    if (format == CONFIG_ACCESS_JSON) {
        format_json(&line, record);
    } else {
        format_common(&line, record);
        if (format == CONFIG_ACCESS_COMBINED) {
            put(&line, FR_VIEW(" "));
            put_quoted(&line, text_of(record, PROXY_LOG_REFERER));
            put(&line, FR_VIEW(" "));
            put_quoted(&line, text_of(record, PROXY_LOG_AGENT));
        }
    }
    put(&line, FR_VIEW("\n"));
    if (line.err)
        out->len = before;
    return line.err;
}
