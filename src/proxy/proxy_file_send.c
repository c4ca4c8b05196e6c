/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_file_send.c - an open file as a response: conditions, ranges, the head, and the bytes from
 * the kernel's hand to the kernel's hand.
 *
 * May touch:  base, loop, http, config.
 * Memory:     none for the body, whatever its size: pieces of at most PROXY_SEND_BYTES_MAX go out
 *             one after the other, so that a slow client's progress can be seen.
 * When full:  more ranges than the route allows, or more bytes in them than the file has, give the
 *             whole file.
 * Follows:    RFC 9110 sections 8.3 to 8.8, 13, 14, 15.3.7, 15.4.5 and 15.5.17; RFC 2046 section
 *             5.1 for several ranges.
 */
#include "proxy/proxy_priv.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

void
proxy_file_end(struct proxy_exchange *x)
{
    if (!x->file)
        return;
    (void)close(x->file->fd); /* it was only read */
    fr_free(x->file);
    x->file = NULL;
}

/* ---- parts of a body -------------------------------------------------------------------- */

/* What stands in front of a range, where there are several. The first line end belongs to the
 * delimiter, not to the range before. */
static size_t
print_part(const struct proxy_file *file, size_t index, char *out, size_t out_bytes)
{
    const struct http_range *range = &file->ranges[index];
    int len = snprintf(out, out_bytes,
                       "%s--%s\r\nContent-Type: %.*s\r\nContent-Range: bytes %" PRIu64 "-%" PRIu64
                       "/%" PRIu64 "\r\n\r\n",
                       index ? "\r\n" : "", file->boundary, FR_VIEW_ARG(file->type), range->first,
                       range->first + range->bytes - 1, file->size);
    fr_insist(len > 0 && (size_t)len < out_bytes);
    return (size_t)len;
}

static size_t
print_last(const struct proxy_file *file, char *out, size_t out_bytes)
{
    int len = snprintf(out, out_bytes, "\r\n--%s--\r\n", file->boundary);
    fr_insist(len > 0 && (size_t)len < out_bytes);
    return (size_t)len;
}

static uint64_t
body_bytes(struct proxy_file *file)
{
    uint64_t bytes = 0;
    bool several = file->boundary[0] != '\0';
    for (size_t i = 0; i < file->range_count; i++) {
        bytes += file->ranges[i].bytes;
        if (several)
            bytes += print_part(file, i, file->part, sizeof(file->part));
    }
    return several ? bytes + print_last(file, file->part, sizeof(file->part)) : bytes;
}

/* The next piece; ends the exchange behind the last. */
static void
send_next(struct proxy_exchange *x)
{
    struct proxy_file *file = x->file;
    struct iovec iov[2];
    int count = 0;
    if (!file->head_sent) {
        iov[count++] = (struct iovec){x->down_head.data, x->down_head.len};
        file->head_sent = true;
        proxy_note_head(x, x->down_head.len, true);
    }
    bool several = file->boundary[0] != '\0';
    if (file->left == 0 && file->range_next < file->range_count) {
        const struct http_range *range = &file->ranges[file->range_next];
        if (several) {
            size_t len = print_part(file, file->range_next, file->part, sizeof(file->part));
            iov[count++] = (struct iovec){file->part, len};
        }
        file->offset = (int64_t)range->first;
        file->left = range->bytes;
        file->range_next++;
    } else if (file->left == 0 && several && !file->closed) {
        iov[count++] = (struct iovec){file->part, print_last(file, file->part, sizeof(file->part))};
        file->closed = true;
    }
    uint64_t bytes = file->left < PROXY_SEND_BYTES_MAX ? file->left : PROXY_SEND_BYTES_MAX;
    if (count == 0 && bytes == 0) {
        proxy_exchange_reply(x);
        return;
    }
    struct loop_file_piece piece = {file->fd, file->offset, bytes};
    file->offset += (int64_t)bytes;
    file->left -= bytes;
    proxy_exchange_send_file(x, iov, count, &piece, send_next);
}

/* ---- heads ------------------------------------------------------------------------------ */

/* What a cache needs to know, in 304 as in 200 (RFC 9110 section 15.4.5). */
static enum fr_err
print_cache_fields(struct proxy_exchange *x, const struct config_files *files)
{
    struct fr_buf *out = &x->down_head;
    enum fr_err err = fr_buf_printf(out, "ETag: %s\r\n", x->file->etag);
    if (!err && files->cache_control)
        err = fr_buf_printf(out, "Cache-Control: %s\r\n", files->cache_control);
    /* Whether or not there is a neighbour now: there may be one tomorrow. */
    if (!err && files->precompressed)
        err = fr_buf_append_view(out, FR_VIEW("Vary: Accept-Encoding\r\n"));
    return err;
}

static enum fr_err
print_content_fields(struct proxy_exchange *x, const struct config_files *files)
{
    struct proxy_file *file = x->file;
    struct fr_buf *out = &x->down_head;
    char date[HTTP_DATE_BYTES];
    http_date_format(file->modified_s, date);
    enum fr_err err = fr_buf_printf(out, "Last-Modified: %s\r\nAccept-Ranges: %s\r\n", date,
                                    files->ranges ? "bytes" : "none");
    if (!err && file->boundary[0])
        err = fr_buf_printf(out, "Content-Type: multipart/byteranges; boundary=%s\r\n",
                            file->boundary);
    else if (!err)
        err = fr_buf_printf(out, "Content-Type: %.*s\r\n", FR_VIEW_ARG(file->type));
    if (!err && file->coding.len > 0)
        err = fr_buf_printf(out, "Content-Encoding: %.*s\r\n", FR_VIEW_ARG(file->coding));
    if (!err && x->status == 206 && !file->boundary[0])
        err = fr_buf_printf(out, "Content-Range: bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64 "\r\n",
                            file->ranges[0].first,
                            file->ranges[0].first + file->ranges[0].bytes - 1, file->size);
    if (!err)
        err = fr_buf_printf(out, "Content-Length: %" PRIu64 "\r\n", body_bytes(file));
    return err;
}

static void
send_head_and_body(struct proxy_exchange *x, const struct config_files *files, int status)
{
    proxy_local_prepare(x, status);
    enum fr_err err = proxy_answer_begin(x, status);
    if (!err)
        err = print_cache_fields(x, files);
    if (!err && status != 304)
        err = print_content_fields(x, files);
    if (!err)
        err = proxy_answer_headers(x, files->headers);
    if (!err)
        err = proxy_answer_end(x);
    bool body = status != 304 && x->method != HTTP_HEAD && x->file->range_count > 0;
    if (err || !body) {
        proxy_answer_send(x, err);
        return;
    }
    x->begun = true;
    x->client_framing = HTTP_BODY_LENGTH;
    send_next(x);
}

/* RFC 9110 section 15.5.17. */
static void
answer_unsatisfiable(struct proxy_exchange *x)
{
    proxy_local_prepare(x, 416);
    enum fr_err err = proxy_answer_begin(x, 416);
    if (!err)
        err = fr_buf_printf(&x->down_head,
                            "Content-Range: bytes */%" PRIu64 "\r\nContent-Length: 0\r\n",
                            x->file->size);
    if (!err)
        err = proxy_answer_end(x);
    proxy_answer_send(x, err);
}

/* ---- what is asked for ------------------------------------------------------------------ */

/* Section 14.2: Range is for GET, and If-Range decides whether it counts. One range alone: a
 * second field is no list, so there is nothing to go by. */
static enum http_range_result
find_ranges(struct proxy_exchange *x, const struct http_head *request,
            const struct config_files *files, const struct http_validators *is, int64_t now_s)
{
    struct proxy_file *file = x->file;
    const struct http_field *field = http_head_find(request, HTTP_FIELD_RANGE);
    if (!field || files->ranges == 0 || request->method != HTTP_GET ||
        http_head_next(request, field) || !http_condition_if_range(request, is, now_s))
        return HTTP_RANGE_WHOLE;
    return http_range_parse(field->value, file->size, files->ranges, file->ranges,
                            &file->range_count);
}

void
proxy_file_send(struct proxy_exchange *x, const struct http_head *request,
                const struct config_files *files)
{
    struct proxy_worker *worker = x->worker;
    struct proxy_file *file = x->file;
    int64_t now_s = loop_wall_us(worker->loop) / FR_US_PER_S;
    if (file->modified_s > now_s) /* no Last-Modified may lie behind Date (section 8.8.2.1) */
        file->modified_s = now_s;
    struct http_validators is = {fr_view_of(file->etag), file->modified_s};
    struct proxy_answer failed = {.status = 412, .words = "the file is another one"};
    switch (http_condition_judge(request, &is, now_s)) {
    case HTTP_CONDITION_FAILED:
        proxy_local_answer(x, &failed);
        return;
    case HTTP_CONDITION_NOT_MODIFIED:
        PROXY_COUNT(worker, files_not_modified);
        send_head_and_body(x, files, 304);
        return;
    case HTTP_CONDITION_GO_ON:
        break;
    }
    enum http_range_result ranges = find_ranges(x, request, files, &is, now_s);
    if (ranges == HTTP_RANGE_REFUSED) {
        answer_unsatisfiable(x);
        return;
    }
    PROXY_COUNT(worker, files);
    if (ranges == HTTP_RANGE_WHOLE) {
        file->ranges[0] = (struct http_range){0, file->size};
        file->range_count = file->size > 0;
    } else {
        PROXY_COUNT(worker, files_partial);
        if (file->range_count > 1) /* nobody can foretell it, so no file can hold it on purpose */
            (void)snprintf(file->boundary, sizeof(file->boundary), "%016" PRIx64 "%016" PRIx64,
                           fr_rand_next(&worker->rand), fr_rand_next(&worker->rand));
    }
    send_head_and_body(x, files, ranges == HTTP_RANGE_WHOLE ? 200 : 206);
}
