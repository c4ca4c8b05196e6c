/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_stanza.c - elements of the stream into the structs of wire.h.
 *
 * May touch:  base, Expat (through the decoder).
 * Memory:     texts and settings in the decoder's arena; servers, workers, clusters and pools in
 *             lists that stay from stanza to stanza while they are small (LIST_KEEP_BYTES).
 * When full:  WIRE_TOO_MANY.
 * Trusts:     nothing: an element is entered only where the grammar has it, an attribute kept only
 *             when its row agrees.
 * Follows:    schema/freshet-stream.rng.
 */
#include "wire/wire_decode.h"

#include "base/fr_check.h"
#include "base/fr_mem.h"

#define LIST_KEEP_BYTES 65536

/* ---- lists ---------------------------------------------------------------------------------- */

/* A new item of the list, not initialised; NULL when that ended the decoding. */
static void *
list_add(struct wire_decoder *decoder, struct wire__list *list, size_t item_bytes, const char *what)
{
    if (list->count >= decoder->limits.servers) {
        wire__decoder_fail(decoder, WIRE_TOO_MANY, "a stanza has more than %zu %s",
                           decoder->limits.servers, what);
        return NULL;
    }
    if (list->count == list->cap) {
        size_t cap = list->cap > 0 ? list->cap * 2 : 16;
        void *items = fr_realloc(list->items, cap * item_bytes);
        if (items == NULL) {
            wire__decoder_fail(decoder, WIRE_NO_MEMORY, "out of memory");
            return NULL;
        }
        list->items = items;
        list->cap = cap;
    }
    return (char *)list->items + list->count++ * item_bytes;
}

static void
list_drop(struct wire__list *list, size_t item_bytes)
{
    list->count = 0;
    if (list->cap * item_bytes > LIST_KEEP_BYTES) {
        fr_free(list->items);
        list->items = NULL;
        list->cap = 0;
    }
}

void
wire__stanza_drop(struct wire_decoder *decoder)
{
    fr_arena_reset(&decoder->arena);
    list_drop(&decoder->servers, sizeof(struct wire_server));
    list_drop(&decoder->workers, sizeof(struct wire_worker));
    list_drop(&decoder->clusters, sizeof(struct wire_cluster));
    list_drop(&decoder->pools, sizeof(struct wire_pool));
    decoder->open = (struct wire_open){0};
    decoder->report = (struct wire_report){.self = wire_server_none()};
    decoder->request = wire_reconfigure_none();
    decoder->result = (struct wire_result){.generation = WIRE_NONE};
    decoder->peer_error = (struct wire_peer_error){0};
    decoder->has_operation = false;
    decoder->setting_count = 0;
    decoder->frame = NULL;
}

void
wire__stanza_fini(struct wire_decoder *decoder)
{
    fr_arena_fini(&decoder->arena);
    fr_buf_fini(&decoder->text);
    fr_free(decoder->servers.items);
    fr_free(decoder->workers.items);
    fr_free(decoder->clusters.items);
    fr_free(decoder->pools.items);
}

/* ---- attributes ----------------------------------------------------------------------------- */

static void
fail_attribute(struct wire_decoder *decoder, enum wire__attr_step step, const char *element,
               const char *name, const char *value, const char *expected)
{
    if (step == WIRE__ATTR_NO_MEMORY)
        wire__decoder_fail(decoder, WIRE_NO_MEMORY, "out of memory");
    else
        wire__decoder_fail(decoder, WIRE_INVALID, "<%s %s=\"%.40s\">, expected %s", element, name,
                           value, expected);
}

/* All attributes of an element that has no settings; false when that ended the decoding. */
static bool
read_attributes(struct wire_decoder *decoder, const struct wire__table *table, const char **atts,
                void *object)
{
    size_t cursor = 0;
    uint64_t seen = 0;
    for (size_t i = 0; atts[i] != NULL; i += 2) {
        const struct wire__attr *attr = wire__attr_find(table, atts[i], &cursor);
        if (attr == NULL) {
            if (!wire__decoder_strange(decoder, atts[i], false))
                return false;
            continue;
        }
        const char *expected = "";
        enum wire__attr_step step =
            wire__attr_decode(attr, atts[i + 1], object, &decoder->arena, &expected);
        if (step != WIRE__ATTR_OK) {
            fail_attribute(decoder, step, table->element, atts[i], atts[i + 1], expected);
            return false;
        }
        seen |= (uint64_t)1 << (attr - table->attrs);
    }
    for (size_t i = 0; i < table->count; i++) {
        if (table->attrs[i].required && !(seen >> i & 1)) {
            wire__decoder_fail(decoder, WIRE_INVALID, "<%s> lacks its attribute \"%s\"",
                               table->element, table->attrs[i].name);
            return false;
        }
    }
    return true;
}

static bool
read_server(struct wire_decoder *decoder, const char **atts, struct wire_server *server)
{
    *server = wire_server_none();
    if (!read_attributes(decoder, &wire__server_table, atts, server))
        return false;
    if (server->id.len > 0 || server->address.len > 0)
        return true;
    wire__decoder_fail(decoder, WIRE_INVALID, "<server> lacks its attribute \"id\" or \"address\"");
    return false;
}

static bool
read_version(struct wire_decoder *decoder, const char **atts)
{
    const char *found = NULL;
    for (size_t i = 0; atts[i] != NULL; i += 2) {
        if (strcmp(atts[i], "version") == 0)
            found = atts[i + 1];
    }
    if (found != NULL && strcmp(found, "1") == 0)
        return true;
    wire__decoder_fail(decoder, WIRE_VERSION_BAD, "stream version \"%.40s\", expected \"%d\"",
                       found != NULL ? found : "", WIRE_VERSION);
    return false;
}

/* ---- settings ------------------------------------------------------------------------------- */

static struct wire_setting *
add_setting(struct wire_decoder *decoder, struct fr_view name, struct fr_view value)
{
    struct wire__frame *frame = decoder->frame;
    if (++decoder->setting_count > WIRE_SETTINGS_MAX) {
        wire__decoder_fail(decoder, WIRE_TOO_MANY, "a request has more than %d settings",
                           WIRE_SETTINGS_MAX);
        return NULL;
    }
    if (value.len > WIRE__VALUE_BYTES) {
        wire__decoder_fail(decoder, WIRE_INVALID, "setting \"%.40s\" has more than %d bytes",
                           name.ptr, WIRE__VALUE_BYTES);
        return NULL;
    }
    if (!wire__setting_name_good(name)) {
        wire__decoder_fail(decoder, WIRE_INVALID, "\"%.40s\" cannot be the name of a setting",
                           name.ptr);
        return NULL;
    }
    struct wire_setting *setting = fr_arena_alloc(&decoder->arena, sizeof(*setting));
    char *name_copy = fr_arena_dup(&decoder->arena, name);
    char *value_copy = fr_arena_dup(&decoder->arena, value);
    if (setting == NULL || name_copy == NULL || value_copy == NULL) {
        wire__decoder_fail(decoder, WIRE_NO_MEMORY, "out of memory");
        return NULL;
    }
    setting->name = fr_view_make(name_copy, name.len);
    setting->value = fr_view_make(value_copy, value.len);
    if (frame != NULL) {
        if (frame->last_child != NULL)
            frame->last_child->next = setting;
        else
            frame->setting->first_child = setting;
        frame->last_child = setting;
    }
    return setting;
}

static bool
text_is_blank(const struct fr_buf *text)
{
    for (size_t i = 0; i < text->len; i++) {
        if (strchr(" \t\r\n", text->data[i]) == NULL || text->data[i] == '\0')
            return false;
    }
    return true;
}

/* Asked only where a text ends: Expat refuses some texts as a whole (with "]]>" in them) that it
 * would have begun to hand out had they come in pieces, and the outcome shall be one. */
static bool
text_fits(struct wire_decoder *decoder)
{
    if (decoder->text.len <= WIRE__VALUE_BYTES)
        return true;
    wire__decoder_fail(decoder, WIRE_INVALID, "setting \"%.40s\" has more than %d bytes",
                       decoder->frame->setting->name.ptr, WIRE__VALUE_BYTES);
    return false;
}

static bool
fail_mixed(struct wire_decoder *decoder)
{
    wire__decoder_fail(decoder, WIRE_INVALID, "text beside elements in setting \"%.40s\"",
                       decoder->frame->setting->name.ptr);
    return false;
}

/* Opens the setting `name`, with its attributes as its first children. */
static bool
open_setting(struct wire_decoder *decoder, const char *name, const char **atts, bool top)
{
    if (!top) {
        decoder->frame->has_elements = true;
        if (!text_fits(decoder))
            return false;
        if (!text_is_blank(&decoder->text))
            return fail_mixed(decoder);
        if (!wire__decoder_strange(decoder, name, false))
            return false;
    }
    struct wire_setting *setting = add_setting(decoder, fr_view_of(name), (struct fr_view){0});
    struct wire__frame *frame = fr_arena_alloc(&decoder->arena, sizeof(*frame));
    if (setting == NULL || frame == NULL) {
        wire__decoder_fail(decoder, WIRE_NO_MEMORY, "out of memory"); /* unless it failed before */
        return false;
    }
    frame->setting = setting;
    frame->parent = decoder->frame;
    decoder->frame = frame;
    fr_buf_clear(&decoder->text);
    for (size_t i = 0; atts[i] != NULL; i += 2) {
        if (strchr(atts[i], '|') != NULL || (top && strcmp(atts[i], "name") == 0))
            continue; /* of another namespace, or read already */
        if (!wire__decoder_strange(decoder, atts[i], false))
            return false;
        struct wire_setting *attribute =
            add_setting(decoder, fr_view_of(atts[i]), fr_view_of(atts[i + 1]));
        if (attribute == NULL)
            return false;
        attribute->is_attribute = true;
    }
    return true;
}

static void
close_setting(struct wire_decoder *decoder)
{
    struct wire__frame *frame = decoder->frame;
    if (!text_fits(decoder))
        return;
    if (frame->has_elements) {
        if (!text_is_blank(&decoder->text))
            (void)fail_mixed(decoder); /* the decoder has failed by it */
    } else {
        struct fr_view text = fr_buf_view(&decoder->text);
        while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1]) != NULL)
            text.len--;
        while (text.len > 0 && strchr(" \t\r\n", text.ptr[0]) != NULL) {
            text.ptr++;
            text.len--;
        }
        char *copy = fr_arena_dup(&decoder->arena, text);
        if (copy == NULL)
            wire__decoder_fail(decoder, WIRE_NO_MEMORY, "out of memory");
        frame->setting->value = fr_view_make(copy, copy != NULL ? text.len : 0);
    }
    decoder->frame = frame->parent;
    fr_buf_clear(&decoder->text);
}

void
wire__stanza_text(struct wire_decoder *decoder, const char *ptr, size_t len)
{
    /* One byte too many is kept, as the sign that there were more. */
    size_t room = WIRE__VALUE_BYTES + 1 - decoder->text.len;
    if (fr_buf_append(&decoder->text, ptr, len < room ? len : room) != FR_OK)
        wire__decoder_fail(decoder, WIRE_NO_MEMORY, "out of memory");
}

/* ---- entering ------------------------------------------------------------------------------- */

static bool
enter_stream(struct wire_decoder *decoder, const char **atts)
{
    if (!read_version(decoder, atts) ||
        !read_attributes(decoder, &wire__open_table, atts, &decoder->open))
        return false;
    decoder->place = WIRE__PLACE_STREAM;
    wire__decoder_emit(decoder,
                       &(struct wire_event){.kind = WIRE_EVENT_OPEN, .as.open = &decoder->open});
    /* The stream's own tag is no part of the first stanza. */
    decoder->boundary = decoder->progress;
    return true;
}

static bool
enter_report(struct wire_decoder *decoder, const char **atts)
{
    decoder->place = WIRE__PLACE_REPORT;
    return read_attributes(decoder, &wire__report_table, atts, &decoder->report);
}

static bool
enter_stanza(struct wire_decoder *decoder, const char *name, const char **atts)
{
    if (strcmp(name, "report") == 0)
        return enter_report(decoder, atts);
    if (strcmp(name, "alive") == 0) {
        decoder->place = WIRE__PLACE_ALIVE;
        return true;
    }
    if (strcmp(name, "reconfigure") == 0) {
        decoder->place = WIRE__PLACE_RECONFIGURE;
        return read_attributes(decoder, &wire__reconfigure_table, atts, &decoder->request);
    }
    if (strcmp(name, "result") == 0) {
        decoder->place = WIRE__PLACE_RESULT;
        return read_attributes(decoder, &wire__result_table, atts, &decoder->result);
    }
    if (strcmp(name, "error") == 0) {
        decoder->place = WIRE__PLACE_ERROR;
        return read_attributes(decoder, &wire__error_table, atts, &decoder->peer_error);
    }
    return false;
}

static bool
enter_self(struct wire_decoder *decoder, const char **atts)
{
    if (decoder->report.has_self) {
        wire__decoder_fail(decoder, WIRE_INVALID, "a second <server> directly in a report");
        return false;
    }
    decoder->place = WIRE__PLACE_SELF;
    decoder->report.has_self = true;
    return read_server(decoder, atts, &decoder->report.self);
}

static bool
enter_in_report(struct wire_decoder *decoder, const char *name, const char **atts)
{
    if (strcmp(name, "server") == 0)
        return enter_self(decoder, atts);
    if (strcmp(name, "cluster") == 0) {
        struct wire_cluster *cluster =
            list_add(decoder, &decoder->clusters, sizeof(*cluster), "clusters");
        decoder->place = WIRE__PLACE_CLUSTER;
        if (cluster == NULL)
            return false;
        *cluster = wire_cluster_none();
        return read_attributes(decoder, &wire__cluster_table, atts, cluster);
    }
    if (strcmp(name, "pool") == 0) {
        struct wire_pool *pool = list_add(decoder, &decoder->pools, sizeof(*pool), "pools");
        decoder->place = WIRE__PLACE_POOL;
        if (pool == NULL)
            return false;
        *pool = (struct wire_pool){
            .available = WIRE_NONE, .allocated = WIRE_NONE, .cost = WIRE_NONE};
        return read_attributes(decoder, &wire__pool_table, atts, pool);
    }
    return false;
}

static bool
enter_worker(struct wire_decoder *decoder, const char **atts)
{
    struct wire_worker *worker = list_add(decoder, &decoder->workers, sizeof(*worker), "workers");
    decoder->place = WIRE__PLACE_WORKER;
    if (worker == NULL)
        return false;
    *worker = (struct wire_worker){.cpu = NAN};
    return read_attributes(decoder, &wire__worker_table, atts, worker);
}

static bool
enter_server(struct wire_decoder *decoder, const char **atts)
{
    struct wire_server *server = list_add(decoder, &decoder->servers, sizeof(*server), "servers");
    if (server == NULL)
        return false;
    if (decoder->place == WIRE__PLACE_CLUSTER) {
        struct wire_cluster *clusters = decoder->clusters.items;
        clusters[decoder->clusters.count - 1].server_count++;
        decoder->place = WIRE__PLACE_SERVER;
    } else {
        decoder->place = WIRE__PLACE_RESULT_SERVER;
    }
    return read_server(decoder, atts, server);
}

static bool
enter_operation(struct wire_decoder *decoder, const char *name, const char **atts)
{
    struct wire_reconfigure *request = &decoder->request;
    size_t operation = 0;
    while (operation < WIRE_OPERATION_COUNT &&
           strcmp(wire__operation_tables[operation].element, name) != 0)
        operation++;
    if (operation == WIRE_OPERATION_COUNT)
        return false;
    if (decoder->has_operation) {
        wire__decoder_fail(decoder, WIRE_INVALID, "a second operation, <%s>, in one <reconfigure>",
                           name);
        return false;
    }
    decoder->has_operation = true;
    request->operation = (enum wire_operation)operation;
    if (wire__needs_cluster(request->operation) && request->cluster.len == 0) {
        wire__decoder_fail(decoder, WIRE_INVALID,
                           "<reconfigure> lacks its attribute \"cluster\" for <%s>", name);
        return false;
    }
    const struct wire__table *table = &wire__operation_tables[operation];
    if (!wire__is_put(request->operation)) {
        decoder->place = WIRE__PLACE_OPERATION;
        return read_attributes(decoder, table, atts, request);
    }
    decoder->place = WIRE__PLACE_SETTING;
    if (!read_attributes(decoder, table, atts, request) || !open_setting(decoder, name, atts, true))
        return false;
    request->settings = decoder->frame->setting;
    return true;
}

bool
wire__stanza_enter(struct wire_decoder *decoder, const char *name, const char **atts)
{
    switch (decoder->place) {
    case WIRE__PLACE_NONE:
        return decoder->document == WIRE_STREAM ? enter_stream(decoder, atts)
                                                : enter_report(decoder, atts);
    case WIRE__PLACE_STREAM:
        return enter_stanza(decoder, name, atts);
    case WIRE__PLACE_REPORT:
        return enter_in_report(decoder, name, atts);
    case WIRE__PLACE_SELF:
        return strcmp(name, "worker") == 0 && enter_worker(decoder, atts);
    case WIRE__PLACE_CLUSTER:
    case WIRE__PLACE_RESULT:
        return strcmp(name, "server") == 0 && enter_server(decoder, atts);
    case WIRE__PLACE_RECONFIGURE:
        return enter_operation(decoder, name, atts);
    case WIRE__PLACE_SETTING:
        return open_setting(decoder, name, atts, false);
    default:
        return false; /* these have no children that we know */
    }
}

/* ---- leaving -------------------------------------------------------------------------------- */

static void
emit(struct wire_decoder *decoder, struct wire_event event)
{
    decoder->place = WIRE__PLACE_STREAM;
    wire__decoder_emit(decoder, &event);
}

/* Lists may have moved while they grew, so that pointers are set only now. */
static void
join_report(struct wire_decoder *decoder)
{
    struct wire_report *report = &decoder->report;
    report->workers = decoder->workers.items;
    report->worker_count = decoder->workers.count;
    report->clusters = decoder->clusters.items;
    report->cluster_count = decoder->clusters.count;
    report->pools = decoder->pools.items;
    report->pool_count = decoder->pools.count;
    struct wire_server *servers = decoder->servers.items;
    for (size_t i = 0; i < report->cluster_count; i++) {
        struct wire_cluster *cluster = &report->clusters[i];
        cluster->servers = cluster->server_count > 0 ? servers : NULL;
        if (cluster->server_count > 0)
            servers += cluster->server_count;
    }
}

static void
leave_report(struct wire_decoder *decoder)
{
    join_report(decoder);
    if (decoder->document == WIRE_STREAM)
        emit(decoder,
             (struct wire_event){.kind = WIRE_EVENT_REPORT, .as.report = &decoder->report});
    else
        decoder->place = WIRE__PLACE_NONE; /* wire_decoder_finish gives it */
}

static void
leave_setting(struct wire_decoder *decoder)
{
    close_setting(decoder);
    if (decoder->frame == NULL)
        decoder->place = WIRE__PLACE_RECONFIGURE;
}

void
wire__stanza_leave(struct wire_decoder *decoder)
{
    switch (decoder->place) {
    case WIRE__PLACE_NONE:
        break;
    case WIRE__PLACE_STREAM:
        decoder->place = WIRE__PLACE_NONE;
        wire__decoder_emit(decoder, &(struct wire_event){.kind = WIRE_EVENT_CLOSE});
        break;
    case WIRE__PLACE_REPORT:
        leave_report(decoder);
        break;
    case WIRE__PLACE_SELF:
    case WIRE__PLACE_CLUSTER:
    case WIRE__PLACE_POOL:
        decoder->place = WIRE__PLACE_REPORT;
        break;
    case WIRE__PLACE_WORKER:
        decoder->place = WIRE__PLACE_SELF;
        break;
    case WIRE__PLACE_SERVER:
        decoder->place = WIRE__PLACE_CLUSTER;
        break;
    case WIRE__PLACE_OPERATION:
        decoder->place = WIRE__PLACE_RECONFIGURE;
        break;
    case WIRE__PLACE_SETTING:
        leave_setting(decoder);
        break;
    case WIRE__PLACE_RECONFIGURE:
        emit(decoder, (struct wire_event){.kind = WIRE_EVENT_RECONFIGURE,
                                          .as.reconfigure = &decoder->request});
        break;
    case WIRE__PLACE_RESULT_SERVER:
        decoder->place = WIRE__PLACE_RESULT;
        break;
    case WIRE__PLACE_RESULT:
        decoder->result.servers = decoder->servers.items;
        decoder->result.server_count = decoder->servers.count;
        emit(decoder,
             (struct wire_event){.kind = WIRE_EVENT_RESULT, .as.result = &decoder->result});
        break;
    case WIRE__PLACE_ALIVE:
        emit(decoder, (struct wire_event){.kind = WIRE_EVENT_ALIVE});
        break;
    case WIRE__PLACE_ERROR:
        emit(decoder,
             (struct wire_event){.kind = WIRE_EVENT_ERROR, .as.error = decoder->peer_error});
        break;
    }
}
