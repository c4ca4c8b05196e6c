/* SPDX-License-Identifier: Apache-2.0 */
/*
 * edge_names.c - members given by name: looked up again and again by a thread of its own, every
 * address a member.
 *
 * May touch:  base, loop, config.
 * Threads:    the control thread, and one that asks the resolver, which blocks. They share a queue
 *             each way under a lock; answers come as a message to the control loop. Workers see
 *             snapshots alone.
 * Life:       the look-up thread starts with the first name. It cannot be stopped inside the
 *             resolver, so nobody waits for it at the end: what it shares is freed by whoever of
 *             the two is last.
 * When full:  EDGE_NAME_ADDRESSES_MAX addresses of a name; the rest is left out. A look-up that
 *             fails changes nothing: the addresses known last stay.
 */
#include "edge/edge_priv.h"

#include "base/fr_check.h"
#include "loop/loop_addr.h"

#include <pthread.h>
#include <signal.h>

#define BOOT_WAIT_S 5 /* for the first answers, before anybody is served */

struct lookup {
    struct fr_list link;
    char *text;              /* "host:port" */
    struct loop_addr server; /* len 0: the system's resolver */
    enum fr_err err;
    size_t count;
    struct loop_addr addrs[EDGE_NAME_ADDRESSES_MAX];
};

struct edge_lookups { /* shared with the thread, under the lock */
    pthread_mutex_t lock;
    pthread_cond_t more, done_more;
    struct fr_list wanted, done; /* of lookup */
    struct loop *loop;
    struct loop_msg msg;
    bool posted, ending;
    struct edge *edge; /* the control thread's alone */
};

struct name {
    struct fr_list link; /* in edge.names */
    char *text;
    bool wanted;  /* scratch: some cluster names it */
    bool asked;   /* a look-up is under way */
    bool failing; /* the last one failed: said so */
    bool known;   /* one has succeeded */
    size_t count;
    struct loop_addr addrs[EDGE_NAME_ADDRESSES_MAX];
};

static void
lookup_free(struct lookup *lookup)
{
    fr_free(lookup->text);
    fr_free(lookup);
}

static void
free_list(struct fr_list *list)
{
    for (struct fr_list *node; (node = fr_list_pop_front(list)) != NULL;)
        lookup_free(FR_CONTAINER(node, struct lookup, link));
}

/* ---- the thread ---------------------------------------------------------------------------- */

static void on_answers(void *ctx);

static void
lookups_free(struct edge_lookups *lookups)
{
    free_list(&lookups->wanted);
    free_list(&lookups->done);
    (void)pthread_mutex_destroy(&lookups->lock); /* nobody else is left */
    (void)pthread_cond_destroy(&lookups->more);
    (void)pthread_cond_destroy(&lookups->done_more);
    fr_free(lookups);
}

static void *
lookup_main(void *ctx)
{
    struct edge_lookups *lookups = ctx;
    (void)pthread_mutex_lock(&lookups->lock);
    while (!lookups->ending) {
        struct fr_list *node = fr_list_pop_front(&lookups->wanted);
        if (node == NULL) {
            (void)pthread_cond_wait(&lookups->more, &lookups->lock);
            continue;
        }
        (void)pthread_mutex_unlock(&lookups->lock);
        struct lookup *lookup = FR_CONTAINER(node, struct lookup, link);
        lookup->err =
            loop_resolve(fr_view_of(lookup->text), lookup->server.len ? &lookup->server : NULL,
                         lookup->addrs, EDGE_NAME_ADDRESSES_MAX, &lookup->count);
        (void)pthread_mutex_lock(&lookups->lock);
        fr_list_push_back(&lookups->done, &lookup->link);
        (void)pthread_cond_signal(&lookups->done_more);
        if (!lookups->posted && !lookups->ending) {
            lookups->posted = true;
            loop_post(lookups->loop, &lookups->msg, on_answers, lookups);
        }
    }
    (void)pthread_mutex_unlock(&lookups->lock);
    lookups_free(lookups);
    return NULL;
}

static bool
start_thread(struct edge *edge)
{
    pthread_t thread;
    sigset_t all, before;
    if (edge->lookups != NULL)
        return true;
    struct edge_lookups *lookups = fr_xalloc(sizeof(*lookups));
    fr_insist(pthread_mutex_init(&lookups->lock, NULL) == 0);
    fr_insist(pthread_cond_init(&lookups->more, NULL) == 0);
    fr_insist(pthread_cond_init(&lookups->done_more, NULL) == 0);
    fr_list_init(&lookups->wanted);
    fr_list_init(&lookups->done);
    lookups->loop = edge->loop;
    lookups->edge = edge;
    sigfillset(&all); /* signals are the control thread's */
    (void)pthread_sigmask(SIG_BLOCK, &all, &before);
    int error = pthread_create(&thread, NULL, lookup_main, lookups);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0) {
        fr_log(FR_LOG_ERROR, "edge", "no thread to look up names", FR_S("why", strerror(error)));
        lookups_free(lookups);
        return false;
    }
    (void)pthread_setname_np(thread, "names"); /* for top and perf only */
    (void)pthread_detach(thread);
    edge->lookups = lookups;
    return true;
}

/* ---- names --------------------------------------------------------------------------------- */

static struct name *
find_name(struct edge *edge, const char *text)
{
    FR_LIST_EACH(&edge->names, node) {
        struct name *name = FR_CONTAINER(node, struct name, link);
        if (strcmp(name->text, text) == 0)
            return name;
    }
    return NULL;
}

static void
ask(struct edge *edge, struct name *name)
{
    if (name->asked || !start_thread(edge))
        return;
    struct lookup *lookup = fr_xalloc(sizeof(*lookup));
    const char *server = edge->config->resolver.server;
    if (server != NULL && loop_addr_parse(fr_view_of(server), &lookup->server) != FR_OK)
        lookup->server.len = 0; /* it was read by the configuration: it is an address */
    lookup->text = fr_xstrdup(name->text);
    name->asked = true;
    edge->name_lookups++;
    (void)pthread_mutex_lock(&edge->lookups->lock);
    fr_list_push_back(&edge->lookups->wanted, &lookup->link);
    (void)pthread_cond_signal(&edge->lookups->more);
    (void)pthread_mutex_unlock(&edge->lookups->lock);
}

static void
say_failure(struct edge *edge, struct name *name)
{
    edge->name_failures++;
    if (!name->failing)
        fr_log(FR_LOG_WARN, "edge", "name without an address, those known last stay",
               FR_S("name", name->text), FR_I("addresses", name->count));
    name->failing = true;
}

/* True: its addresses are others now. */
static bool
take_answer(struct edge *edge, const struct lookup *lookup)
{
    struct name *name = find_name(edge, lookup->text);
    if (name == NULL)
        return false; /* no cluster names it any more */
    name->asked = false;
    if (lookup->err != FR_OK) {
        say_failure(edge, name);
        return false;
    }
    bool same = name->known && name->count == lookup->count;
    for (size_t i = 0; same && i < name->count; i++)
        same = loop_addr_equal(&name->addrs[i], &lookup->addrs[i]);
    name->failing = false;
    if (same)
        return false;
    name->known = true;
    name->count = lookup->count;
    memcpy(name->addrs, lookup->addrs, sizeof(name->addrs));
    edge->name_changes++;
    fr_log(FR_LOG_INFO, "edge", "name has new addresses", FR_S("name", name->text),
           FR_I("addresses", name->count));
    return true;
}

static bool
take_answers(struct edge *edge)
{
    struct fr_list done;
    bool changed = false;
    fr_list_init(&done);
    (void)pthread_mutex_lock(&edge->lookups->lock);
    edge->lookups->posted = false;
    for (struct fr_list *node; (node = fr_list_pop_front(&edge->lookups->done)) != NULL;)
        fr_list_push_back(&done, node);
    (void)pthread_mutex_unlock(&edge->lookups->lock);
    FR_LIST_EACH(&done, node)
        changed |= take_answer(edge, FR_CONTAINER(node, struct lookup, link));
    free_list(&done);
    return changed;
}

static void
on_answers(void *ctx)
{
    struct edge_lookups *lookups = ctx;
    struct edge *edge = lookups->edge;
    if (edge->stopping)
        return;
    if (take_answers(edge))
        edge_settings_apply(edge);
}

static void
on_interval(void *ctx)
{
    struct edge *edge = ctx;
    FR_LIST_EACH(&edge->names, node)
        ask(edge, FR_CONTAINER(node, struct name, link));
    if (!fr_list_empty(&edge->names))
        loop_timer_start(edge->loop, &edge->names_timer, edge->config->resolver.interval_us,
                         on_interval, edge);
}

static void
name_free(struct name *name)
{
    fr_list_remove(&name->link);
    fr_free(name->text);
    fr_free(name);
}

static void
want(struct edge *edge, const struct config_cluster *config)
{
    for (size_t i = 0; i < config->member_count; i++) {
        const struct config_member *member = &config->members[i];
        if (member->name == NULL)
            continue;
        struct name *name = find_name(edge, member->name);
        if (name == NULL) {
            name = fr_xalloc(sizeof(*name));
            name->text = fr_xstrdup(member->name);
            fr_list_push_back(&edge->names, &name->link);
        }
        name->wanted = true;
    }
}

void
edge_names_sync(struct edge *edge)
{
    const struct cluster_ledger *ledger = allocator_ledger(edge->allocator);
    FR_LIST_EACH(&edge->names, node)
        FR_CONTAINER(node, struct name, link)->wanted = false;
    for (size_t i = 0; i < edge->config->cluster_count; i++)
        want(edge, edge->config->clusters[i]);
    for (size_t i = 0; i < ledger->cluster_count; i++)
        want(edge, ledger->clusters[i]);
    FR_LIST_EACH_SAFE(&edge->names, node) {
        struct name *name = FR_CONTAINER(node, struct name, link);
        if (!name->wanted)
            name_free(name);
        else if (!name->known && !name->failing)
            ask(edge, name);
    }
    if (!fr_list_empty(&edge->names) && !loop_timer_running(&edge->names_timer))
        loop_timer_start(edge->loop, &edge->names_timer, edge->config->resolver.interval_us,
                         on_interval, edge);
}

static bool
all_answered(struct edge *edge)
{
    FR_LIST_EACH(&edge->names, node)
        if (FR_CONTAINER(node, struct name, link)->asked)
            return false;
    return true;
}

void
edge_names_boot(struct edge *edge)
{
    struct timespec until = {.tv_sec = loop_wall_us(edge->loop) / FR_US_PER_S + BOOT_WAIT_S};
    edge_names_sync(edge);
    if (edge->lookups == NULL)
        return;
    for (int late = 0; !all_answered(edge) && late == 0;) {
        (void)pthread_mutex_lock(&edge->lookups->lock);
        if (fr_list_empty(&edge->lookups->done))
            late = pthread_cond_timedwait(&edge->lookups->done_more, &edge->lookups->lock, &until);
        (void)pthread_mutex_unlock(&edge->lookups->lock);
        (void)take_answers(edge); /* nobody is served yet: what changed is applied behind us */
    }
}

void
edge_names_free(struct edge *edge)
{
    loop_timer_stop(&edge->names_timer);
    FR_LIST_EACH_SAFE(&edge->names, node)
        name_free(FR_CONTAINER(node, struct name, link));
    struct edge_lookups *lookups = edge->lookups;
    edge->lookups = NULL;
    if (lookups == NULL)
        return;
    (void)pthread_mutex_lock(&lookups->lock);
    bool posted = lookups->posted;
    if (!posted)
        lookups->ending = true;
    (void)pthread_mutex_unlock(&lookups->lock);
    if (posted) { /* the message is the loop's: it has to be run before its storage goes */
        edge->stopping = true;
        loop_drain_posts(edge->loop);
        (void)pthread_mutex_lock(&lookups->lock);
        lookups->ending = true;
    } else {
        (void)pthread_mutex_lock(&lookups->lock);
    }
    (void)pthread_cond_signal(&lookups->more);
    (void)pthread_mutex_unlock(&lookups->lock);
}

/* ---- members ------------------------------------------------------------------------------- */

static void
add_wanted(struct edge_wanted_list *list, const struct config_member *from, const char *id,
           const struct loop_addr *addr)
{
    if (fr_map_get(list->by_id, fr_view_of(id)))
        return; /* two names of one server are one member */
    void *items = list->items;
    fr_xgrow(&items, &list->cap, list->count + 1, sizeof(*list->items));
    list->items = items;
    struct edge_wanted *wanted = &list->items[list->count++];
    *wanted = (struct edge_wanted){.from = from, .addr = *addr};
    (void)fr_view_copy(fr_view_of(id), wanted->id, sizeof(wanted->id)); /* an id fits */
    (void)fr_map_put(list->by_id, fr_view_of(id), (void *)list->count);
}

const struct edge_wanted *
edge_wanted_find(const struct edge_wanted_list *list, const char *id)
{
    size_t number = (size_t)fr_map_get(list->by_id, fr_view_of(id));
    return number ? &list->items[number - 1] : NULL;
}

void
edge_wanted_free(struct edge_wanted_list *list)
{
    fr_map_free(&list->by_id, NULL);
    fr_free(list->items);
}

void
edge_names_expand(struct edge *edge, const struct config_cluster *config,
                  struct edge_wanted_list *out)
{
    *out = (struct edge_wanted_list){.by_id = fr_map_new()};
    for (size_t i = 0; i < config->member_count; i++) {
        const struct config_member *from = &config->members[i];
        const struct name *name = from->name != NULL ? find_name(edge, from->name) : NULL;
        bool known = name != NULL && name->known;
        if (!known && from->addr.len > 0)
            add_wanted(out, from, from->id, &from->addr);
        for (size_t k = 0; known && k < name->count; k++) {
            char text[LOOP_ADDR_TEXT_BYTES], id[CONFIG_NAME_BYTES];
            bool only = name->count == 1 && from->id_given;
            loop_addr_format(&name->addrs[k], text);
            config_member_id(from->id_given ? from->id : config->name, text, id);
            add_wanted(out, from, only ? from->id : id, &name->addrs[k]);
        }
    }
}
