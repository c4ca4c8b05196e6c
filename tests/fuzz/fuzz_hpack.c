/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_hpack.c - blocks of HPACK read by us and by nghttp2, which must agree on every field and on
 * every error; then what was read is written by us, and nghttp2 must read it again.
 *
 * Input:      blocks, each behind an octet that tells its length; behind 255 comes an octet that
 *             changes the size of the table that we write for.
 */
#include "http/hpack.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <nghttp2/nghttp2.h>

#define BLOCK_FIELDS_MAX 64
#define OUT_BYTES 65536

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct both {
    struct hpack_decoder decoder;
    struct hpack_encoder encoder;
    nghttp2_hd_inflater *inflater; /* of what came */
    nghttp2_hd_inflater *again;    /* of what we wrote of it */
    char out[OUT_BYTES];
};

/* The next field as nghttp2 reads it. */
static enum hpack_step
inflate(nghttp2_hd_inflater *inflater, const uint8_t **at, const uint8_t *end, nghttp2_nv *out)
{
    for (;;) {
        int flags = 0;
        ssize_t used = nghttp2_hd_inflate_hd2(inflater, out, &flags, *at, (size_t)(end - *at), 1);
        if (used < 0)
            return HPACK_BAD;
        *at += used;
        if (flags & NGHTTP2_HD_INFLATE_EMIT)
            return HPACK_FIELD;
        if (flags & NGHTTP2_HD_INFLATE_FINAL) {
            nghttp2_hd_inflate_end_headers(inflater);
            return HPACK_END;
        }
        fr_insist(used > 0 || *at < end);
    }
}

static struct fr_view
view(const uint8_t *bytes, size_t len)
{
    return fr_view_make((const char *)bytes, len);
}

static void
compare(const struct hpack_field *field, const nghttp2_nv *nv)
{
    fr_insist(fr_view_eq(field->name, view(nv->name, nv->namelen)));
    fr_insist(fr_view_eq(field->value, view(nv->value, nv->valuelen)));
    fr_insist(field->never_indexed == !!(nv->flags & NGHTTP2_NV_FLAG_NO_INDEX));
}

/* Ours writes names in lower case; what does not fit any more is left out. */
static char *
write_again(struct both *both, char *at, const struct hpack_field *field)
{
    size_t bytes = hpack_field_bytes_max(field->name.len, field->value.len);
    if (bytes > (size_t)(both->out + OUT_BYTES - at))
        return at;
    char *end = hpack_put_field(&both->encoder, at, field);
    fr_insist((size_t)(end - at) <= bytes);
    return end;
}

static void
read_again(struct both *both, const char *end, const struct hpack_field *fields, size_t count)
{
    const uint8_t *at = (const uint8_t *)both->out;
    nghttp2_nv nv;
    for (size_t i = 0; i < count; i++) {
        fr_insist(inflate(both->again, &at, (const uint8_t *)end, &nv) == HPACK_FIELD);
        fr_insist(fr_view_ieq(fields[i].name, view(nv.name, nv.namelen)));
        fr_insist(fr_view_eq(fields[i].value, view(nv.value, nv.valuelen)));
        fr_insist(fields[i].never_indexed == !!(nv.flags & NGHTTP2_NV_FLAG_NO_INDEX));
    }
    fr_insist(inflate(both->again, &at, (const uint8_t *)end, &nv) == HPACK_END);
}

static struct fr_view
copy(struct fr_view text)
{
    char *bytes = fr_xalloc(text.len + 1);
    if (text.len)
        memcpy(bytes, text.ptr, text.len);
    return fr_view_make(bytes, text.len);
}

/* False: it was refused, by both. */
static bool
block_read(struct both *both, struct fr_view bytes)
{
    struct hpack_field fields[BLOCK_FIELDS_MAX], field;
    struct hpack_block block = hpack_block_begin(bytes);
    const uint8_t *at = (const uint8_t *)bytes.ptr, *end = at + bytes.len;
    char *out = hpack_put_begin(&both->encoder, both->out);
    size_t count = 0;
    enum hpack_step step, theirs;
    nghttp2_nv nv;
    do {
        step = hpack_decode(&both->decoder, &block, &field);
        theirs = inflate(both->inflater, &at, end, &nv);
        fr_insist(step == theirs);
        if (step != HPACK_FIELD)
            break;
        compare(&field, &nv);
        if (count == BLOCK_FIELDS_MAX)
            continue;
        char *put = write_again(both, out, &field);
        if (put == out)
            continue;
        out = put;
        fields[count++] = (struct hpack_field){.name = copy(field.name),
                                               .value = copy(field.value),
                                               .never_indexed = field.never_indexed};
    } while (true);
    hpack_decoder_rest(&both->decoder);
    read_again(both, out, fields, count);
    for (size_t i = 0; i < count; i++) {
        fr_free((void *)(uintptr_t)fields[i].name.ptr);
        fr_free((void *)(uintptr_t)fields[i].value.ptr);
    }
    return step == HPACK_END;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct both *both = fr_xalloc(sizeof(*both));
    hpack_decoder_init(&both->decoder);
    hpack_encoder_init(&both->encoder);
    fr_insist(nghttp2_hd_inflate_new(&both->inflater) == 0);
    fr_insist(nghttp2_hd_inflate_new(&both->again) == 0);
    bool good = true;
    for (size_t at = 0; at < size && good;) {
        size_t len = data[at++];
        if (len == 255 && at < size) {
            uint32_t bytes = (uint32_t)data[at++] * 32;
            hpack_encoder_resize(&both->encoder, bytes);
            fr_insist(nghttp2_hd_inflate_change_table_size(both->again, bytes) == 0);
            continue;
        }
        if (len > size - at)
            len = size - at;
        good = block_read(both, fr_view_make((const char *)data + at, len));
        at += len;
    }
    hpack_decoder_fini(&both->decoder);
    hpack_encoder_fini(&both->encoder);
    nghttp2_hd_inflate_del(both->inflater);
    nghttp2_hd_inflate_del(both->again);
    fr_free(both);
    return 0;
}
