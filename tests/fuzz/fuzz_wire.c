/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_wire.c - streams and report documents from strangers: nothing asserts, leaks or reads past
 * the end; the outcome is the same however the bytes were cut; what was read is written and read
 * again as the same.
 *
 * The first byte chooses stream or document, narrow or ordinary limits, and the size of the pieces.
 */
#include "wire/wire.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TEXT_BYTES_MAX 65536

struct outcome {
    enum wire_error error;
    uint64_t stanzas;
    struct fr_buf again; /* every event, written */
    bool opened, closed;
    bool unwritable; /* a request that could be read in bits but is too large a tag when escaped */
};

static enum fr_err
write_error(struct fr_buf *out, const struct wire_peer_error *error)
{
    char code[256], words[2048];
    fr_insist(fr_view_copy(error->code, code, sizeof(code)));
    fr_insist(fr_view_copy(error->words, words, sizeof(words)));
    return wire_put_error(out, code, words);
}

static bool
on_event(void *ctx, const struct wire_event *event)
{
    struct outcome *outcome = ctx;
    struct fr_buf *out = &outcome->again;
    enum fr_err err = FR_OK;
    switch (event->kind) {
    case WIRE_EVENT_OPEN:
        outcome->opened = true;
        err = wire_put_open(out, event->as.open);
        break;
    case WIRE_EVENT_REPORT:
        err = wire_put_report(out, event->as.report);
        break;
    case WIRE_EVENT_RECONFIGURE:
        if (event->as.reconfigure->operation == WIRE_OPERATION_COUNT)
            break;
        err = wire_put_reconfigure(out, event->as.reconfigure);
        if (err == FR_ERR_RANGE) {
            outcome->unwritable = true;
            err = FR_OK;
        }
        break;
    case WIRE_EVENT_RESULT:
        err = wire_put_result(out, event->as.result);
        break;
    case WIRE_EVENT_ALIVE:
        err = wire_put_alive(out);
        break;
    case WIRE_EVENT_ERROR:
        err = write_error(out, &event->as.error);
        break;
    case WIRE_EVENT_CLOSE:
        outcome->closed = true;
        err = wire_put_close(out);
        break;
    }
    fr_insist(err == FR_OK);
    return true;
}

static void
decode(enum wire_document document, const struct wire_limits *limits, struct fr_view text,
       size_t step, struct outcome *out)
{
    struct wire_decoder *decoder;
    *out = (struct outcome){0};
    fr_buf_init(&out->again, (size_t)16 << 20);
    if (wire_decoder_new(document, limits, on_event, out, &decoder) != FR_OK)
        abort();
    for (size_t at = 0; at < text.len && out->error == WIRE_OK; at += step) {
        size_t len = step < text.len - at ? step : text.len - at;
        char *piece = fr_xalloc(len);
        memcpy(piece, text.ptr + at, len);
        out->error = wire_decoder_feed(decoder, fr_view_make(piece, len));
        fr_free(piece);
    }
    if (out->error == WIRE_OK)
        out->error = wire_decoder_finish(decoder);
    fr_insist((out->error == WIRE_OK) == (wire_decoder_words(decoder)[0] == '\0'));
    out->stanzas = wire_decoder_stanzas(decoder);
    wire_decoder_free(&decoder);
}

static void
check_round_trip(struct outcome *first)
{
    struct outcome second;
    if (!first->opened || first->unwritable)
        return;
    if (!first->closed)
        fr_insist(wire_put_close(&first->again) == FR_OK);
    decode(WIRE_STREAM, NULL, fr_buf_view(&first->again), first->again.len, &second);
    fr_insist(second.error == WIRE_OK);
    fr_insist(fr_view_eq(fr_buf_view(&first->again), fr_buf_view(&second.again)));
    fr_buf_fini(&second.again);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct wire_limits narrow = {
        .stanza_bytes = 700, .depth = 6, .attributes = 5, .servers = 3};
    struct outcome whole, cut;
    if (size < 1 || size > TEXT_BYTES_MAX)
        return 0;
    enum wire_document document = data[0] & 1 ? WIRE_REPORT_DOCUMENT : WIRE_STREAM;
    const struct wire_limits *limits = data[0] & 2 ? &narrow : NULL;
    size_t step = 1 + (data[0] >> 2) % 40;
    struct fr_view text = fr_view_make((const char *)data + 1, size - 1);
    decode(document, limits, text, text.len > 0 ? text.len : 1, &whole);
    decode(document, limits, text, step, &cut);
    fr_insist(whole.error == cut.error);
    fr_insist(whole.stanzas == cut.stanzas);
    fr_insist(fr_view_eq(fr_buf_view(&whole.again), fr_buf_view(&cut.again)));
    if (document == WIRE_STREAM)
        check_round_trip(&whole);
    fr_buf_fini(&whole.again);
    fr_buf_fini(&cut.again);
    return 0;
}
