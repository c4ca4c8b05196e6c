/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_preface.c - PROXY headers: whatever comes, and however it is cut, the verdict is the same.
 */
#include "base/fr_check.h"
#include "base/fr_mem.h"
#include "loop/loop_preface.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* An exact copy, so that ASan sees a read behind what has "arrived". */
static enum loop_preface_step
parse_exact(const uint8_t *data, size_t size, struct loop_preface *out, const char **out_words)
{
    char *copy = fr_xalloc(size ? size : 1);
    if (size)
        memcpy(copy, data, size);
    enum loop_preface_step step = loop_preface_parse(fr_view_make(copy, size), out, out_words);
    fr_free(copy);
    return step;
}

/* What was read can be written, and says the same when it is read again. */
static void
write_again(const struct loop_preface *preface)
{
    uint8_t out[LOOP_PREFACE_OUT_BYTES];
    struct loop_preface again;
    const char *words = NULL;
    size_t len = loop_preface_write(preface->kind == LOOP_PREFACE_LOCAL, &preface->source,
                                    &preface->destination, out);
    fr_insist(parse_exact(out, len, &again, &words) == LOOP_PREFACE_DONE);
    fr_insist(again.bytes == len);
    fr_insist(again.kind == preface->kind);
    fr_insist(loop_addr_equal(&again.source, &preface->source));
    fr_insist(loop_addr_equal(&again.destination, &preface->destination));
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct loop_preface whole, piece;
    const char *words = NULL;
    enum loop_preface_step want = parse_exact(data, size, &whole, &words);
    fr_insist(want != LOOP_PREFACE_BAD || words);
    fr_insist(want != LOOP_PREFACE_MORE || size < LOOP_PREFACE_BYTES_MAX);
    if (want == LOOP_PREFACE_DONE) {
        fr_insist(whole.bytes <= size && whole.bytes <= LOOP_PREFACE_BYTES_MAX);
        write_again(&whole);
    }
    /* As it grows: MORE until the verdict, and then the same one for good. */
    enum loop_preface_step before = LOOP_PREFACE_MORE;
    for (size_t len = 0; len <= size && len <= LOOP_PREFACE_BYTES_MAX + 1; len++) {
        enum loop_preface_step step = parse_exact(data, len, &piece, &words);
        fr_insist(before == LOOP_PREFACE_MORE || step == before);
        fr_insist(step == LOOP_PREFACE_MORE || step == want);
        if (step == LOOP_PREFACE_DONE)
            fr_insist(piece.bytes == whole.bytes && piece.kind == whole.kind &&
                      piece.tls == whole.tls);
        before = step;
    }
    return 0;
}
