/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_case.h - what the wire tests share: decoding a text in pieces and writing every event back.
 */
#ifndef WIRE_CASE_H
#define WIRE_CASE_H

#include "wire/wire.h"

#include "base/fr_mem.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <setjmp.h>

#include <cmocka.h>

#define WIRE_CASE_OPEN "<stream xmlns='urn:freshet:stream:1' version='1' role='edge' id='e'>"

struct wire_case {
    struct fr_buf again; /* every event, encoded */
    unsigned events, kinds[8];
    unsigned stop_at; /* the callback says stop at this event; 0 = never */
    uint64_t stanzas;
    char words[256];
};

static inline void
wire_case_init(struct wire_case *one)
{
    *one = (struct wire_case){0};
    fr_buf_init(&one->again, (size_t)64 << 20);
}

static inline void
wire_case_fini(struct wire_case *one)
{
    fr_buf_fini(&one->again);
}

static inline bool
wire_case_event(void *ctx, const struct wire_event *event)
{
    struct wire_case *one = ctx;
    enum fr_err err = FR_OK;
    one->events++;
    one->kinds[event->kind]++;
    switch (event->kind) {
    case WIRE_EVENT_OPEN:
        err = wire_put_open(&one->again, event->as.open);
        break;
    case WIRE_EVENT_REPORT:
        err = wire_put_report(&one->again, event->as.report);
        break;
    case WIRE_EVENT_RECONFIGURE:
        if (event->as.reconfigure->operation == WIRE_OPERATION_COUNT)
            err = fr_buf_append(&one->again, "<unknown/>", 10);
        else
            err = wire_put_reconfigure(&one->again, event->as.reconfigure);
        break;
    case WIRE_EVENT_RESULT:
        err = wire_put_result(&one->again, event->as.result);
        break;
    case WIRE_EVENT_ALIVE:
        err = wire_put_alive(&one->again);
        break;
    case WIRE_EVENT_ERROR: {
        char code[WIRE_SETTINGS_MAX], words[WIRE_SETTINGS_MAX];
        assert_true(fr_view_copy(event->as.error.code, code, sizeof(code)));
        assert_true(fr_view_copy(event->as.error.words, words, sizeof(words)));
        err = wire_put_error(&one->again, code, words);
        break;
    }
    case WIRE_EVENT_CLOSE:
        err = wire_put_close(&one->again);
        break;
    }
    assert_int_equal(err, FR_OK);
    return one->events != one->stop_at;
}

/* Decodes text in a piece of `first` bytes (0: none such) and then in pieces of `step`, at least 1.
 */
static inline enum wire_error
wire_case_run(struct wire_case *one, enum wire_document document, const struct wire_limits *limits,
              struct fr_view text, size_t first, size_t step)
{
    struct wire_decoder *decoder;
    enum wire_error error = WIRE_OK;
    size_t at = 0;
    assert_int_equal(wire_decoder_new(document, limits, wire_case_event, one, &decoder), FR_OK);
    while (error == WIRE_OK && at < text.len) {
        size_t len = at == 0 && first > 0 ? first : step;
        if (len > text.len - at)
            len = text.len - at;
        /* A copy of its own, so that a byte read beyond the piece is found out. */
        char *piece = fr_xalloc(len);
        memcpy(piece, text.ptr + at, len);
        error = wire_decoder_feed(decoder, fr_view_make(piece, len));
        fr_free(piece);
        at += len;
    }
    if (error == WIRE_OK)
        error = wire_decoder_finish(decoder);
    else
        assert_int_equal(wire_decoder_feed(decoder, FR_VIEW("<alive/>")), error);
    one->stanzas = wire_decoder_stanzas(decoder);
    (void)snprintf(one->words, sizeof(one->words), "%s", wire_decoder_words(decoder));
    wire_decoder_free(&decoder);
    assert_null(decoder);
    return error;
}

static inline enum wire_error
wire_case_whole(struct wire_case *one, enum wire_document document,
                const struct wire_limits *limits, struct fr_view text)
{
    return wire_case_run(one, document, limits, text, text.len, text.len > 0 ? text.len : 1);
}

#endif
