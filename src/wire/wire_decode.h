/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_decode.h - the decoder's inside, shared by wire_decode.c (bytes, limits, Expat) and
 * wire_stanza.c (elements into structs).
 */
#ifndef WIRE_DECODE_H
#define WIRE_DECODE_H

#include "base/fr_hash.h"
#include "wire/wire_priv.h"

/* Expat declares its amplification limits only to those who know that it was built with DTDs. */
#ifndef XML_DTD
#define XML_DTD
#endif
#include <expat.h>

#define WIRE__DECODER_MAGIC 0x77697265u

/* Where in the stream we are: the innermost open element that we know. */
enum wire__place {
    WIRE__PLACE_NONE, /* outside the root */
    WIRE__PLACE_STREAM,
    WIRE__PLACE_REPORT,
    WIRE__PLACE_SELF,
    WIRE__PLACE_WORKER,
    WIRE__PLACE_CLUSTER,
    WIRE__PLACE_SERVER,
    WIRE__PLACE_POOL,
    WIRE__PLACE_RECONFIGURE,
    WIRE__PLACE_OPERATION,
    WIRE__PLACE_SETTING,
    WIRE__PLACE_RESULT,
    WIRE__PLACE_RESULT_SERVER,
    WIRE__PLACE_ALIVE,
    WIRE__PLACE_ERROR,
};

struct wire__list { /* a stanza's items of one kind, kept from stanza to stanza while small */
    void *items;
    size_t count, cap;
};

struct wire__frame { /* one open element of a settings tree */
    struct wire_setting *setting;
    struct wire_setting *last_child;
    bool has_elements;
    struct wire__frame *parent;
};

struct wire_decoder {
    uint32_t magic;
    /* set once */
    enum wire_document document;
    struct wire_limits limits;
    wire_event_fn fn;
    void *ctx;
    XML_Parser parser;
    struct fr_hash_key hash_key;
    /* how it stands */
    enum wire_error error;
    uint64_t stanzas;
    char words[256];
    /* bytes, counted from the beginning */
    uint64_t fed;      /* handed to Expat */
    uint64_t progress; /* end of the last token that was whole */
    uint64_t boundary; /* where the stanza, or the gap before it, began */
    /* elements */
    enum wire__place place;
    size_t depth; /* open elements, unknown ones included */
    size_t skip;  /* open elements from the outermost unknown one inwards */
    /* the stanza being read; dropped whole after its event */
    struct fr_arena arena;
    struct wire_open open;
    struct wire_report report;
    struct wire_reconfigure request;
    struct wire_result result;
    struct wire_peer_error peer_error;
    struct wire__list servers, workers, clusters, pools;
    bool has_operation;
    size_t setting_count;
    struct wire__frame *frame;
    struct fr_buf text; /* of the innermost setting */
    /* names we do not know, as hashes: Expat keeps each name for ever, so they are rationed */
    uint64_t strange[WIRE_STRANGE_NAMES_MAX * 2];
    size_t strange_count;
    size_t prefix_count;
};

/* Ends the decoding; the first error stays. The words get line and column in front. */
__attribute__((format(printf, 3, 4))) void
wire__decoder_fail(struct wire_decoder *decoder, enum wire_error error, const char *format, ...);
/* Counts a name that this version does not know; false when that ended the decoding. */
bool wire__decoder_strange(struct wire_decoder *decoder, const char *name, bool prefix);
/* Gives an event to the callback and drops the stanza. */
void wire__decoder_emit(struct wire_decoder *decoder, const struct wire_event *event);

/* ---- wire_stanza.c: called only while there is no error ------------------------------------- */

/* A child of decoder->place in our namespace began; false when it is not one that we know. */
bool wire__stanza_enter(struct wire_decoder *decoder, const char *name, const char **atts);
void wire__stanza_leave(struct wire_decoder *decoder);
void wire__stanza_text(struct wire_decoder *decoder, const char *ptr, size_t len);
void wire__stanza_drop(struct wire_decoder *decoder);
void wire__stanza_fini(struct wire_decoder *decoder);

#endif
