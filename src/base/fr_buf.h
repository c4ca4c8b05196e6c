/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_buf.h - a growable byte buffer that cannot be made without its ceiling.
 */
#ifndef FR_BUF_H
#define FR_BUF_H

#include "base/fr_err.h"
#include "base/fr_view.h"

#include <stdarg.h>

struct fr_buf {
    char *data; /* NULL while empty; always NUL-terminated behind len once not NULL */
    size_t len;
    size_t cap;
    size_t max_bytes; /* set once: what is allocated is not above it */
};

void fr_buf_init(struct fr_buf *buf, size_t max_bytes);
void fr_buf_fini(struct fr_buf *buf); /* releases, keeps the ceiling: the buffer is empty again */

/* On failure (FR_ERR_FULL, FR_ERR_NOMEM) nothing was appended. */
FR_MUST_USE enum fr_err fr_buf_append(struct fr_buf *buf, const void *ptr, size_t len);
FR_MUST_USE enum fr_err fr_buf_append_view(struct fr_buf *buf, struct fr_view view);
FR_COLD FR_MUST_USE enum fr_err fr_buf_grow(struct fr_buf *buf, size_t extra_bytes);
static inline FR_MUST_USE enum fr_err
fr_buf_reserve(struct fr_buf *buf, size_t extra_bytes)
{
    return extra_bytes < buf->cap - buf->len ? FR_OK : fr_buf_grow(buf, extra_bytes); /* the NUL */
}
__attribute__((format(printf, 2, 3))) FR_MUST_USE enum fr_err
fr_buf_printf(struct fr_buf *buf, const char *format, ...);
__attribute__((format(printf, 2, 0))) FR_MUST_USE enum fr_err
fr_buf_vprintf(struct fr_buf *buf, const char *format, va_list args);

void fr_buf_consume(struct fr_buf *buf, size_t bytes); /* drops bytes from the front */
void fr_buf_clear(struct fr_buf *buf);                 /* len = 0, memory kept */

static inline struct fr_view
fr_buf_view(const struct fr_buf *buf)
{
    return (struct fr_view){buf->data, buf->len};
}

#endif
