/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_files.c - a request's path into an open file of a route's folder, or into what is said
 * instead.
 *
 * May touch:  base (folders), http, config.
 * Blocking:   openat2 and fstat on the worker, which is nothing on a local disk whose names are in
 *             memory, and one disk access where they are not (docs/decisions/0015). Network file
 *             systems do not belong behind this.
 * Trusts:     nothing of the request. The path is decoded once and judged as decoded; the kernel
 *             keeps the folder's boundary whatever the name says.
 * Cost:       of a file: openat2, fstat, sendmsg, sendfile, close; one allocation. One openat2 and
 *             fstat more for each neighbour looked for.
 * Follows:    RFC 9110 sections 9.3.1, 9.3.2, 12.5.3, 15.4.2 and 15.5.
 */
#include "base/fr_folder.h"
#include "http/http_path.h"
#include "proxy/proxy_priv.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct found {
    int fd; /* or -errno; -EISDIR for a folder */
    struct stat stat;
};

static struct found
open_file(const struct config_files *files, const char *name)
{
    struct found found = {.fd = -ENOENT};
    found.fd = fr_folder_file(files->fd, name, files->symlinks == CONFIG_SYMLINKS_INSIDE);
    if (found.fd < 0)
        return found;
    int why = 0;
    if (fstat(found.fd, &found.stat) != 0)
        why = EIO;
    else if (S_ISDIR(found.stat.st_mode))
        why = EISDIR;
    else if (!S_ISREG(found.stat.st_mode))
        why = EACCES; /* a FIFO, a device: neither has a length */
    if (why) {
        (void)close(found.fd); /* nothing was written */
        found.fd = -why;
    }
    return found;
}

/* "name/more" or "name.more" in a buffer; false when it does not fit. */
static bool
join(char out[HTTP_PATH_BYTES_MAX], const char *name, const char *between, const char *more)
{
    int len = snprintf(out, HTTP_PATH_BYTES_MAX, "%s%s%s", name, name[0] ? between : "", more);
    return len >= 0 && len < HTTP_PATH_BYTES_MAX;
}

/* The file that a path means; its name for the media type goes into `name`. */
static struct found
look_up(const struct config_files *files, const struct http_path *path,
        char name[HTTP_PATH_BYTES_MAX])
{
    struct found found = {.fd = -ENAMETOOLONG};
    if (!path->folder) {
        (void)join(name, path->name, "", ""); /* it fits: it came from one as long */
        return open_file(files, name);
    }
    if (!join(name, path->name, "/", files->index))
        return found;
    found = open_file(files, name);
    if (found.fd != -ENOENT && found.fd != -ENOTDIR)
        return found.fd == -EISDIR ? (struct found){.fd = -EACCES} : found;
    struct found folder = open_file(files, path->name);
    if (folder.fd == -EISDIR) /* there, but with nothing to show for it */
        folder.fd = -EACCES;
    if (folder.fd >= 0) { /* "file/" names nothing */
        (void)close(folder.fd);
        folder.fd = -ENOTDIR;
    }
    return folder;
}

/* ---- neighbours ------------------------------------------------------------------------- */

/* Takes the neighbour in the place of *file if it is there and no older. Seconds are compared:
 * some tools give their result the source's time without its fraction. */
static bool
take_neighbour(const struct config_files *files, const char *name, const char *ending,
               struct found *file)
{
    char neighbour_name[HTTP_PATH_BYTES_MAX];
    if (!join(neighbour_name, name, "", ending))
        return false;
    struct found neighbour = open_file(files, neighbour_name);
    if (neighbour.fd < 0)
        return false;
    if (neighbour.stat.st_mtim.tv_sec < file->stat.st_mtim.tv_sec) {
        (void)close(neighbour.fd);
        return false;
    }
    (void)close(file->fd);
    *file = neighbour;
    return true;
}

/* The coding that was taken; empty: none. */
static struct fr_view
choose_coding(const struct config_files *files, const struct http_head *request, const char *name,
              struct found *file)
{
    static const struct {
        unsigned flag;
        const char *ending;
        struct fr_view coding;
    } rows[] = {
        {CONFIG_PRECOMPRESSED_BR, ".br", {"br", 2}},
        {CONFIG_PRECOMPRESSED_GZIP, ".gz", {"gzip", 4}},
    };
    const struct http_field *accept = http_head_find_name(request, FR_VIEW("accept-encoding"));
    unsigned weights[2] = {0};
    if (!files->precompressed || !accept)
        return FR_VIEW("");
    for (size_t i = 0; i < 2; i++)
        if (files->precompressed & rows[i].flag)
            weights[i] = http_coding_quality(accept, request, rows[i].coding);
    size_t best = weights[1] > weights[0];
    for (int tries = 0; tries < 2; tries++, best = 1 - best)
        if (weights[best] && take_neighbour(files, name, rows[best].ending, file))
            return rows[best].coding;
    return FR_VIEW("");
}

/* ---- answers ---------------------------------------------------------------------------- */

static void
answer_error(struct proxy_exchange *x, int why)
{
    struct proxy_answer answer = {.status = 500, .words = "the file cannot be read"};
    switch (why) {
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
        answer = (struct proxy_answer){.status = 404, .words = "no such file"};
        PROXY_COUNT(x->worker, files_not_found);
        break;
    case EXDEV:
    case ELOOP:
        PROXY_COUNT(x->worker, files_escapes);
        answer = (struct proxy_answer){.status = 403, .words = "this is not served"};
        break;
    case EACCES:
    case EPERM:
    case ENXIO:
        PROXY_COUNT(x->worker, files_forbidden);
        answer = (struct proxy_answer){.status = 403, .words = "this is not served"};
        break;
    case EMFILE:
    case ENFILE:
    case ENOMEM:
        answer = (struct proxy_answer){
            .status = 503, .words = "too many files are open", .retry_after_s = 1};
        PROXY_COUNT(x->worker, files_failed);
        break;
    default:
        PROXY_COUNT(x->worker, files_failed);
    }
    proxy_local_answer(x, &answer);
}

/* RFC 9110 section 15.4.2: a folder's own URL ends in '/', or its relative links would not work.
 * Only the path is said, so that scheme, host and port stay what the client knows. */
static void
answer_folder(struct proxy_exchange *x, const struct http_head *request)
{
    PROXY_COUNT(x->worker, redirects);
    proxy_local_prepare(x, 301);
    enum fr_err err = proxy_answer_begin(x, 301);
    if (!err)
        err = fr_buf_append_view(&x->down_head, FR_VIEW("Location: "));
    if (!err)
        err = http_path_put(request->path, &x->down_head);
    if (!err)
        err = fr_buf_append(&x->down_head, "/", 1);
    if (!err)
        err = http_query_put(request->query, request->has_query, &x->down_head);
    if (!err)
        err = fr_buf_append_view(&x->down_head, FR_VIEW("\r\nContent-Length: 0\r\n"));
    if (!err)
        err = proxy_answer_end(x);
    proxy_answer_send(x, err);
}

/* True: answered with what stands in the way of a name. */
static bool
answer_path(struct proxy_exchange *x, enum http_path_result result, bool fallback)
{
    struct proxy_answer answer = {.status = 400, .words = "the path is not usable"};
    if (result == HTTP_PATH_OK)
        return false;
    if (result != HTTP_PATH_BAD) {
        if (fallback)
            return false;
        answer_error(x, ENOENT); /* what is hidden is not there */
        return true;
    }
    PROXY_COUNT(x->worker, files_escapes);
    proxy_local_answer(x, &answer);
    return true;
}

static bool
is_missing(const struct found *found)
{
    return found->fd == -ENOENT || found->fd == -ENOTDIR || found->fd == -ENAMETOOLONG;
}

static void
take_file(struct proxy_exchange *x, const struct http_head *request,
          const struct config_files *files, const char *name, struct found *found)
{
    struct fr_view coding = choose_coding(files, request, name, found);
    bool ranges = files->ranges > 0 && http_head_find(request, HTTP_FIELD_RANGE);
    size_t count = ranges ? HTTP_RANGES_MAX : 1;
    struct proxy_file *file = fr_alloc(sizeof(*file) + count * sizeof(file->ranges[0]));
    if (!file) {
        (void)close(found->fd);
        proxy_exchange_out_of_memory(x);
        return;
    }
    const struct stat *stat = &found->stat;
    file->fd = found->fd;
    file->size = (uint64_t)stat->st_size;
    file->modified_s = stat->st_mtim.tv_sec;
    file->type = http_media_type(fr_view_of(name));
    file->coding = coding;
    /* Another file, another size or another time: another tag. */
    (void)snprintf(file->etag, sizeof(file->etag), "\"%" PRIx64 "-%" PRIx64 "%08lx-%" PRIx64 "\"",
                   file->size, (uint64_t)stat->st_mtim.tv_sec, (unsigned long)stat->st_mtim.tv_nsec,
                   (uint64_t)stat->st_ino);
    x->file = file;
    if (coding.len > 0)
        PROXY_COUNT(x->worker, files_precompressed);
    proxy_file_send(x, request, files);
}

void
proxy_files_answer(struct proxy_exchange *x, const struct http_head *request,
                   const struct config_route *route)
{
    const struct config_files *files = &route->files;
    struct proxy_answer refusal = {
        .status = 405, .words = "this is for GET and HEAD", .allow = "GET, HEAD"};
    struct http_path path;
    char name[HTTP_PATH_BYTES_MAX];
    struct found found = {.fd = -ENOENT};
    if (request->method != HTTP_GET && request->method != HTTP_HEAD) {
        proxy_local_answer(x, &refusal);
        return;
    }
    if (files->fd < 0) { /* restored from a ledger, and gone since */
        answer_error(x, EIO);
        return;
    }
    struct fr_view wanted = request->path;
    bool below = !files->strip || http_path_strip(wanted, fr_view_of(files->strip), &wanted);
    enum http_path_result result = http_path_decode(wanted, files->hidden, &path);
    if (files->strip && wanted.len == 0)
        path.folder = false; /* "/docs" for "/docs/": the folder itself, to be redirected */
    if (answer_path(x, result, files->fallback != NULL))
        return;
    if (below && result == HTTP_PATH_OK)
        found = look_up(files, &path, name);
    if (found.fd == -EISDIR) {
        answer_folder(x, request);
        return;
    }
    if (is_missing(&found) && files->fallback && join(name, files->fallback, "", ""))
        found = open_file(files, name);
    if (found.fd < 0)
        answer_error(x, -found.fd);
    else
        take_file(x, request, files, name, &found);
}
