/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_decode.c - bytes of a peer into the elements of a stream: Expat, bridled.
 *
 * May touch:  base, Expat.
 * Trusts:     nothing. Whatever arrives ends in an event or in an enum wire_error with words, and
 *             in the same one however the bytes were cut on their way.
 * Memory:     Expat's own through fr_alloc. It grows with three things only, and each has its
 *             limit: one tag (WIRE_TAG_BYTES), different names (WIRE_STRANGE_NAMES_MAX, since Expat
 *             keeps every name it has ever seen), and depth.
 * Follows:    XML 1.0; Namespaces in XML 1.0; DESIGN section 7 (no DOCTYPE, no instructions).
 * Cost:       no tree, no copy but of texts; one fr_arena_dup a text.
 *
 * Why the result does not depend on the cuts: Expat is given no byte beyond the place where a limit
 * would be passed if the token in hand did not end before. So whether a limit is passed is decided
 * at one and the same byte, and so is every error that stands before it.
 */
#include "wire/wire_decode.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>

#define SLICE_BYTES 32768u /* given to Expat at once: bounds the buffer it keeps */
#define SEPARATOR '|'      /* cannot stand in a namespace's name, Expat sees to that */

const struct wire_limits wire_limits_default = {
    .stanza_bytes = (size_t)1 << 20,
    .depth = 16,
    .attributes = 64,
    .servers = 10000,
};

/* ---- errors --------------------------------------------------------------------------------- */

/* Words travel on in <error words="…"> and into logs: what the peer wrote is shown harmlessly. */
static void
make_printable(char *text)
{
    for (; *text != '\0'; text++) {
        if ((unsigned char)*text < 0x20 || (unsigned char)*text >= 0x7f)
            *text = '?';
    }
}

void
wire__decoder_fail(struct wire_decoder *decoder, enum wire_error error, const char *format, ...)
{
    if (decoder->error != WIRE_OK)
        return;
    decoder->error = error;
    int used =
        snprintf(decoder->words, sizeof(decoder->words),
                 "line %lu, column %lu: ", (unsigned long)XML_GetCurrentLineNumber(decoder->parser),
                 (unsigned long)XML_GetCurrentColumnNumber(decoder->parser) + 1);
    fr_insist(used > 0 && (size_t)used < sizeof(decoder->words));
    va_list args;
    va_start(args, format);
    /* Longer words are cut: they are ASCII by make_printable, so anywhere is a good place. */
    (void)vsnprintf(decoder->words + used, sizeof(decoder->words) - (size_t)used, format, args);
    va_end(args);
    make_printable(decoder->words);
    XML_StopParser(decoder->parser, XML_FALSE);
}

static void
fail_by_expat(struct wire_decoder *decoder)
{
    enum XML_Error code = XML_GetErrorCode(decoder->parser);
    const char *said = XML_ErrorString(code);
    enum wire_error error = WIRE_NOT_WELL_FORMED;
    switch (code) {
    case XML_ERROR_NO_MEMORY:
        error = WIRE_NO_MEMORY;
        break;
    case XML_ERROR_UNDEFINED_ENTITY:
    case XML_ERROR_RECURSIVE_ENTITY_REF:
    case XML_ERROR_ENTITY_DECLARED_IN_PE:
    case XML_ERROR_AMPLIFICATION_LIMIT_BREACH:
        error = WIRE_DOCTYPE;
        break;
    case XML_ERROR_MISPLACED_XML_PI:
        error = WIRE_INSTRUCTION;
        break;
    default:
        break;
    }
    wire__decoder_fail(decoder, error, "%s", said != NULL ? said : "not well-formed");
}

static uint64_t
limit_end(const struct wire_decoder *decoder)
{
    uint64_t stanza = decoder->boundary + decoder->limits.stanza_bytes;
    uint64_t tag = decoder->progress + WIRE_TAG_BYTES;
    return stanza < tag ? stanza : tag;
}

static void
fail_too_large(struct wire_decoder *decoder)
{
    if (decoder->fed >= decoder->boundary + decoder->limits.stanza_bytes)
        wire__decoder_fail(decoder, WIRE_TOO_LARGE, "a stanza has more than %zu bytes",
                           decoder->limits.stanza_bytes);
    else
        wire__decoder_fail(decoder, WIRE_TOO_LARGE, "a tag has more than %d bytes", WIRE_TAG_BYTES);
}

/* ---- names that we do not know -------------------------------------------------------------- */

bool
wire__decoder_strange(struct wire_decoder *decoder, const char *name, bool prefix)
{
    const char *local = strrchr(name, SEPARATOR);
    local = local != NULL ? local + 1 : name;
    size_t len = strlen(local);
    if (len > WIRE__NAME_BYTES) {
        wire__decoder_fail(decoder, WIRE_TOO_LARGE, "a name has more than %d bytes",
                           WIRE__NAME_BYTES);
        return false;
    }
    const size_t slots = sizeof(decoder->strange) / sizeof(decoder->strange[0]);
    uint64_t hash = fr_hash64(&decoder->hash_key, local, len) + prefix;
    hash += hash == 0; /* 0 is the empty slot */
    size_t slot = hash % slots;
    while (decoder->strange[slot] != 0) {
        if (decoder->strange[slot] == hash)
            return true;
        slot = (slot + 1) % slots;
    }
    if (decoder->strange_count >= WIRE_STRANGE_NAMES_MAX ||
        (prefix && decoder->prefix_count >= WIRE_PREFIXES_MAX)) {
        wire__decoder_fail(decoder, WIRE_TOO_MANY, "the stream used too many different %s",
                           prefix ? "namespace prefixes" : "names that are not known here");
        return false;
    }
    decoder->strange[slot] = hash;
    decoder->strange_count++;
    decoder->prefix_count += prefix;
    return true;
}

/* ---- what Expat calls ----------------------------------------------------------------------- */

/* Expat may still call once or twice after it was stopped. */
static bool
running(struct wire_decoder *decoder)
{
    if (decoder->error != WIRE_OK)
        return false;
    decoder->progress = (uint64_t)XML_GetCurrentByteIndex(decoder->parser) +
                        (uint64_t)XML_GetCurrentByteCount(decoder->parser);
    return true;
}

static const char *
local_name(const char *name)
{
    static const char ours[] = WIRE_NAMESPACE "|";
    static_assert(SEPARATOR == '|', "the separator stands in the text above");
    return strncmp(name, ours, sizeof(ours) - 1) == 0 ? name + sizeof(ours) - 1 : NULL;
}

static bool
check_root(struct wire_decoder *decoder, const char *local, const char *name)
{
    const char *wanted = decoder->document == WIRE_STREAM ? "stream" : "report";
    if (local != NULL && strcmp(local, wanted) == 0)
        return true;
    wire__decoder_fail(decoder, WIRE_NAMESPACE_BAD,
                       "the root is \"%.60s\", expected <%s xmlns=\"" WIRE_NAMESPACE "\">", name,
                       wanted);
    return false;
}

static void XMLCALL
on_start(void *ctx, const XML_Char *name, const XML_Char **atts)
{
    struct wire_decoder *decoder = ctx;
    if (!running(decoder))
        return;
    if (++decoder->depth > decoder->limits.depth) {
        wire__decoder_fail(decoder, WIRE_TOO_DEEP, "more than %zu elements inside one another",
                           decoder->limits.depth);
        return;
    }
    if ((size_t)XML_GetSpecifiedAttributeCount(decoder->parser) / 2 > decoder->limits.attributes) {
        wire__decoder_fail(decoder, WIRE_TOO_MANY, "an element has more than %zu attributes",
                           decoder->limits.attributes);
        return;
    }
    const char *local = local_name(name);
    if (decoder->depth == 1 && !check_root(decoder, local, name))
        return;
    if (decoder->depth == 2 && decoder->document == WIRE_STREAM)
        decoder->boundary = (uint64_t)XML_GetCurrentByteIndex(decoder->parser);
    if (decoder->skip == 0 && local != NULL && wire__stanza_enter(decoder, local, atts))
        return;
    if (decoder->error != WIRE_OK)
        return;
    /* Unknown elements are skipped with all that is in them, so that newer peers can say more. */
    decoder->skip++;
    if (!wire__decoder_strange(decoder, name, false))
        return;
    for (size_t i = 0; atts[i] != NULL; i += 2) {
        if (!wire__decoder_strange(decoder, atts[i], false))
            return;
    }
}

static void XMLCALL
on_end(void *ctx, const XML_Char *name)
{
    struct wire_decoder *decoder = ctx;
    (void)name; /* Expat has seen to it that it is the one that was opened */
    if (!running(decoder))
        return;
    decoder->depth--;
    bool stanza = decoder->depth == 1 && decoder->document == WIRE_STREAM;
    if (stanza)
        decoder->stanzas++;
    if (decoder->skip > 0)
        decoder->skip--;
    else
        wire__stanza_leave(decoder);
    if (stanza)
        decoder->boundary = decoder->progress;
}

/* A peer may keep alive by white space, for ever: each of it begins the limit of a stanza anew. By
 * the character and not by the text: how much of a text comes at once is the cuts' doing. */
static void
text_between_stanzas(struct wire_decoder *decoder, const char *ptr, size_t len)
{
    size_t end = len; /* behind the last white space */
    while (end > 0 && ptr[end - 1] != '\n' && ptr[end - 1] != ' ' && ptr[end - 1] != '\t')
        end--;
    if (end > 0)
        decoder->boundary = decoder->progress - (len - end);
}

static void XMLCALL
on_text(void *ctx, const XML_Char *ptr, int len)
{
    struct wire_decoder *decoder = ctx;
    if (!running(decoder))
        return;
    if (decoder->skip == 0 && decoder->place == WIRE__PLACE_SETTING)
        wire__stanza_text(decoder, ptr, (size_t)len);
    else if (decoder->depth == 1 && decoder->document == WIRE_STREAM)
        text_between_stanzas(decoder, ptr, (size_t)len);
}

static void XMLCALL
on_comment(void *ctx, const XML_Char *text)
{
    (void)text; /* only its end counts, as progress */
    (void)running(ctx);
}

static void XMLCALL
on_instruction(void *ctx, const XML_Char *target, const XML_Char *data)
{
    struct wire_decoder *decoder = ctx;
    (void)data; /* whatever it says, it may not be there */
    if (running(decoder))
        wire__decoder_fail(decoder, WIRE_INSTRUCTION, "processing instruction \"%.40s\"", target);
}

static void XMLCALL
on_doctype(void *ctx, const XML_Char *name, const XML_Char *system_id, const XML_Char *public_id,
           int has_internal)
{
    struct wire_decoder *decoder = ctx;
    (void)system_id; /* nothing of it is ever looked at, or fetched */
    (void)public_id;
    (void)has_internal;
    if (running(decoder))
        wire__decoder_fail(decoder, WIRE_DOCTYPE, "document type declaration \"%.40s\"", name);
}

static void XMLCALL
on_declaration(void *ctx, const XML_Char *version, const XML_Char *encoding, int standalone)
{
    struct wire_decoder *decoder = ctx;
    (void)version; /* Expat knows which it can read */
    (void)standalone;
    if (running(decoder) && encoding != NULL && strcasecmp(encoding, "UTF-8") != 0)
        wire__decoder_fail(decoder, WIRE_INVALID, "encoding \"%.40s\", expected UTF-8", encoding);
}

static void XMLCALL
on_namespace(void *ctx, const XML_Char *prefix, const XML_Char *uri)
{
    struct wire_decoder *decoder = ctx;
    (void)uri; /* Expat puts it before the names */
    if (decoder->error == WIRE_OK && prefix != NULL)
        (void)wire__decoder_strange(decoder, prefix, true); /* has failed the decoder if it must */
}

/* ---- events --------------------------------------------------------------------------------- */

void
wire__decoder_emit(struct wire_decoder *decoder, const struct wire_event *event)
{
    bool go_on = decoder->fn(decoder->ctx, event);
    wire__stanza_drop(decoder);
    if (!go_on)
        wire__decoder_fail(decoder, WIRE_STOPPED, "stopped");
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
set_handlers(struct wire_decoder *decoder)
{
    XML_Parser parser = decoder->parser;
    XML_SetUserData(parser, decoder);
    XML_SetElementHandler(parser, on_start, on_end);
    XML_SetCharacterDataHandler(parser, on_text);
    XML_SetCommentHandler(parser, on_comment);
    XML_SetProcessingInstructionHandler(parser, on_instruction);
    XML_SetStartDoctypeDeclHandler(parser, on_doctype);
    XML_SetXmlDeclHandler(parser, on_declaration);
    XML_SetStartNamespaceDeclHandler(parser, on_namespace);
    (void)XML_SetParamEntityParsing(parser, XML_PARAM_ENTITY_PARSING_NEVER); /* cannot fail here */
#if XML_MAJOR_VERSION > 2 || (XML_MAJOR_VERSION == 2 && XML_MINOR_VERSION >= 4)
    /* Entities end the stream anyway; should one slip by, it shall not grow. These calls fail only
     * where Expat was built without DTD support, and then there is nothing to limit. */
    (void)XML_SetBillionLaughsAttackProtectionMaximumAmplification(parser, 2.0f);
    (void)XML_SetBillionLaughsAttackProtectionActivationThreshold(parser, 1 << 20);
#endif
#ifdef FR_EXPAT_CAN_DEFER
    /* Since 2.6 (and in Debian's 2.5) Expat may keep a whole tag for later when it came in pieces:
     * a stanza would wait for the next one. WIRE_TAG_BYTES bounds what this guards against. */
    (void)XML_SetReparseDeferralEnabled(parser, XML_FALSE); /* fails only on a NULL parser */
#endif
    /* Not a secret of ours to keep, but the peer must not know how Expat's tables are keyed. */
    (void)XML_SetHashSalt(parser, (unsigned long)decoder->hash_key.k1 | 1);
}

enum fr_err
wire_decoder_new(enum wire_document document, const struct wire_limits *limits, wire_event_fn fn,
                 void *ctx, struct wire_decoder **out)
{
    static const XML_Memory_Handling_Suite memory = {fr_alloc, fr_realloc, fr_free};
    static const char separator[] = {SEPARATOR, '\0'};
    struct wire_decoder *decoder = fr_alloc(sizeof(*decoder));
    if (decoder == NULL)
        return FR_ERR_NOMEM;
    decoder->document = document;
    decoder->limits = limits != NULL ? *limits : wire_limits_default;
    decoder->fn = fn;
    decoder->ctx = ctx;
    fr_hash_key_random(&decoder->hash_key);
    /* Each setting costs at least four bytes of stanza and sizeof(struct wire_setting) of memory;
     * texts cost what they have and at most sixteen more. */
    fr_arena_init(&decoder->arena, 16384,
                  decoder->limits.stanza_bytes * 4 + WIRE_SETTINGS_MAX * 256 + 65536);
    fr_buf_init(&decoder->text, WIRE__VALUE_BYTES + 1);
    wire__stanza_drop(decoder);
    decoder->parser = XML_ParserCreate_MM("UTF-8", &memory, separator);
    if (decoder->parser == NULL) {
        wire__stanza_fini(decoder);
        fr_free(decoder);
        return FR_ERR_NOMEM;
    }
    set_handlers(decoder);
    decoder->magic = WIRE__DECODER_MAGIC;
    *out = decoder;
    return FR_OK;
}

void
wire_decoder_free(struct wire_decoder **decoder)
{
    if (*decoder == NULL)
        return;
    fr_require((*decoder)->magic == WIRE__DECODER_MAGIC);
    XML_ParserFree((*decoder)->parser);
    wire__stanza_fini(*decoder);
    (*decoder)->magic = 0;
    fr_free(*decoder);
    *decoder = NULL;
}

/* ---- feeding -------------------------------------------------------------------------------- */

static void
parse(struct wire_decoder *decoder, const char *ptr, size_t len, bool last)
{
    decoder->fed += len;
    enum XML_Status status = XML_Parse(decoder->parser, ptr, (int)len, last);
    if (status != XML_STATUS_OK && decoder->error == WIRE_OK)
        fail_by_expat(decoder);
}

enum wire_error
wire_decoder_feed(struct wire_decoder *decoder, struct fr_view bytes)
{
    fr_require(decoder->magic == WIRE__DECODER_MAGIC);
    while (bytes.len > 0 && decoder->error == WIRE_OK) {
        uint64_t end = limit_end(decoder);
        if (decoder->fed >= end) {
            fail_too_large(decoder);
            break;
        }
        uint64_t room = end - decoder->fed;
        size_t len = bytes.len < SLICE_BYTES ? bytes.len : SLICE_BYTES;
        if (len > room)
            len = (size_t)room;
        parse(decoder, bytes.ptr, len, false);
        bytes.ptr += len;
        bytes.len -= len;
    }
    return decoder->error;
}

enum wire_error
wire_decoder_finish(struct wire_decoder *decoder)
{
    fr_require(decoder->magic == WIRE__DECODER_MAGIC);
    if (decoder->error != WIRE_OK)
        return decoder->error;
    parse(decoder, "", 0, true);
    if (decoder->error == WIRE_OK && decoder->document == WIRE_REPORT_DOCUMENT) {
        decoder->stanzas++;
        wire__decoder_emit(decoder, &(struct wire_event){.kind = WIRE_EVENT_REPORT,
                                                         .as.report = &decoder->report});
    }
    return decoder->error;
}

const char *
wire_decoder_words(const struct wire_decoder *decoder)
{
    return decoder->words;
}

uint64_t
wire_decoder_stanzas(const struct wire_decoder *decoder)
{
    return decoder->stanzas;
}
