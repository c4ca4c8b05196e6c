/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_buf.c - growing up to the ceiling, never past it.
 */
#include "base/fr_buf.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdio.h>

#define BUF_FIRST_BYTES 256

void
fr_buf_init(struct fr_buf *buf, size_t max_bytes)
{
    fr_require(max_bytes < SIZE_MAX);
    *buf = (struct fr_buf){.max_bytes = max_bytes};
}

void
fr_buf_fini(struct fr_buf *buf)
{
    fr_free(buf->data);
    *buf = (struct fr_buf){.max_bytes = buf->max_bytes};
}

enum fr_err
fr_buf_grow(struct fr_buf *buf, size_t extra_bytes)
{
    if (extra_bytes > buf->max_bytes - buf->len)
        return FR_ERR_FULL;
    size_t needed = buf->len + extra_bytes + 1; /* the NUL */
    if (needed <= buf->cap)
        return FR_OK;
    size_t cap = buf->cap ? buf->cap : BUF_FIRST_BYTES;
    while (cap < needed)
        cap = cap > SIZE_MAX / 2 ? needed : cap * 2;
    if (cap > buf->max_bytes + 1)
        cap = buf->max_bytes + 1;
    char *data = fr_realloc(buf->data, cap);
    if (data == NULL)
        return FR_ERR_NOMEM;
    if (buf->data == NULL)
        data[0] = '\0';
    buf->data = data;
    buf->cap = cap;
    return FR_OK;
}

enum fr_err
fr_buf_append(struct fr_buf *buf, const void *ptr, size_t len)
{
    enum fr_err err = fr_buf_reserve(buf, len);
    if (err != FR_OK)
        return err;
    if (len)
        memcpy(buf->data + buf->len, ptr, len);
    buf->len += len;
    buf->data[buf->len] = '\0';
    return FR_OK;
}

enum fr_err
fr_buf_append_view(struct fr_buf *buf, struct fr_view view)
{
    return fr_buf_append(buf, view.ptr, view.len);
}

enum fr_err
fr_buf_vprintf(struct fr_buf *buf, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    enum fr_err err = len < 0 ? FR_ERR_BUG : fr_buf_reserve(buf, (size_t)len);
    if (err == FR_OK) {
        (void)vsnprintf(buf->data + buf->len, (size_t)len + 1, format, again); /* measured above */
        buf->len += (size_t)len;
    }
    va_end(again);
    return err;
}

enum fr_err
fr_buf_printf(struct fr_buf *buf, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    enum fr_err err = fr_buf_vprintf(buf, format, args);
    va_end(args);
    return err;
}

void
fr_buf_consume(struct fr_buf *buf, size_t bytes)
{
    fr_require(bytes <= buf->len);
    if (bytes == 0)
        return;
    memmove(buf->data, buf->data + bytes, buf->len - bytes + 1);
    buf->len -= bytes;
}

void
fr_buf_clear(struct fr_buf *buf)
{
    buf->len = 0;
    if (buf->data != NULL)
        buf->data[0] = '\0';
}
