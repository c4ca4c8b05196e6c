/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allocator_fixture.h - an allocator on a folder of its own, and an owner that remembers what it
 * was told. Servers are real processes.
 */
#ifndef ALLOCATOR_FIXTURE_H
#define ALLOCATOR_FIXTURE_H

#include "allocator/allocator.h"
#include "allocator/allocator_priv.h"
#include "provider/provider_proc.h"

#include "base/fr_file.h"
#include "base/fr_mem.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define SEEN_MAX 256
#define SEEN_BYTES 160

struct fixture {
    char folder[64];
    struct loop *loop;
    struct config_cluster *api, *web;
    struct config_pool *local, *rack;
    struct allocator *allocator;
    struct config_diag diag;
    bool needs_release, keeps; /* keeps: does not tell that a member has drained */
    /* told, in order: "join local-1", "leave local-1", "weight local-1 50" */
    char seen[SEEN_MAX][SEEN_BYTES];
    unsigned seen_count, answers, refused, settings;
    enum fr_err err;
    char why[1024], refused_words[1024], note[1024];
    char ids[8][CONFIG_NAME_BYTES];
    size_t id_count;
    struct loop_timer tick;
    bool (*until)(struct fixture *fix);
    unsigned wanted;
    int ticks;
};

static inline void
fixture_saw(struct fixture *fix, const char *what, const struct allocator_server *server,
            const char *more)
{
    assert_in_range(fix->seen_count, 0, SEEN_MAX - 1);
    (void)snprintf(fix->seen[fix->seen_count++], SEEN_BYTES, "%s %s%s", what, server->id, more);
}

static inline void
fixture_join(void *ctx, const struct allocator_server *server)
{
    fixture_saw(ctx, "join", server, "");
}

static inline void
fixture_leave(void *ctx, const struct allocator_server *server)
{
    struct fixture *fix = ctx;
    fixture_saw(fix, "leave", server, "");
    if (!fix->keeps)
        allocator_drained(fix->allocator, fr_view_of(server->id));
}

static inline void
fixture_weight(void *ctx, const struct allocator_server *server)
{
    char more[32];
    (void)snprintf(more, sizeof(more), " %u", server->weight);
    fixture_saw(ctx, "weight", server, more);
}

static inline void
fixture_changed(void *ctx)
{
    (void)ctx;
}

static inline void
fixture_settings(void *ctx)
{
    struct fixture *fix = ctx;
    fix->settings++;
}

static inline void
fixture_refused(void *ctx, const struct config_diag *diag)
{
    struct fixture *fix = ctx;
    struct fr_buf words;
    fr_buf_init(&words, 65536);
    assert_int_equal(config_diag_print_first(diag, &words), FR_OK);
    (void)snprintf(fix->refused_words, sizeof(fix->refused_words), "%.*s",
                   FR_VIEW_ARG(fr_buf_view(&words)));
    fr_buf_fini(&words);
    fix->refused++;
}

static inline void
fixture_note(void *ctx, const struct allocator_server *server, const char *words)
{
    struct fixture *fix = ctx;
    (void)snprintf(fix->note, sizeof(fix->note), "%s: %s", server ? server->id : "-", words);
}

static inline void
fixture_done(void *ctx, const struct allocator_answer *answer)
{
    struct fixture *fix = ctx;
    fix->answers++;
    fix->err = answer->err;
    (void)snprintf(fix->why, sizeof(fix->why), "%s", answer->why ? answer->why : "");
    fix->id_count = answer->server_count;
    for (size_t i = 0; i < answer->server_count && i < 8; i++)
        (void)fr_view_copy(fr_view_of(answer->servers[i].id), fix->ids[i], CONFIG_NAME_BYTES);
}

static inline enum fr_err
fixture_try(struct fixture *fix)
{
    struct allocator_options options = {.state_folder = fix->folder,
                                        .needs_release = fix->needs_release};
    struct allocator_events events = {
        fixture_join,     fixture_leave,   fixture_weight, fixture_changed,
        fixture_settings, fixture_refused, fixture_note,   fix};
    struct config_cluster *clusters[] = {fix->api, fix->web};
    struct config_pool *pools[] = {fix->local, fix->rack};
    config_diag_fini(&fix->diag);
    config_diag_init(&fix->diag);
    return allocator_new(fix->loop, &options, clusters, 2, pools, 2, &events, &fix->diag,
                         &fix->allocator);
}

static inline void
fixture_open(struct fixture *fix)
{
    enum fr_err err = fixture_try(fix);
    if (err)
        fail_msg("%s: %s", fr_err_name(err),
                 fix->diag.entry_count ? fix->diag.entries[0].text : "");
}

static inline void
fixture_command(struct fixture *fix, const char *script)
{
    const char *words[] = {"/bin/sh", "-c", script, "{id}"};
    for (size_t i = 0; i < fix->local->command_count; i++)
        fr_free(fix->local->command[i]);
    fr_free(fix->local->command);
    fix->local->command_count = 4;
    fix->local->command = fr_xalloc(5 * sizeof(char *));
    for (size_t i = 0; i < 4; i++)
        fix->local->command[i] = fr_xstrdup(words[i]);
}

static inline void
fixture_rack(struct fixture *fix, size_t count)
{
    fix->rack->servers = fr_xalloc(4 * sizeof(struct config_member));
    fix->rack->server_count = count;
    for (size_t i = 0; i < count; i++) {
        struct config_member *member = &fix->rack->servers[i];
        (void)snprintf(member->id, sizeof(member->id), "rack-at-%zu", i);
        member->address = fr_xprintf("127.0.0.1:%zu", 9 + i);
        member->weight = 70;
        assert_int_equal(loop_addr_parse(fr_view_of(member->address), &member->addr), FR_OK);
    }
}

/* Two clusters: api scales from processes (0..4), web from a list of two addresses. */
static inline void
fixture_make(struct fixture *fix)
{
    memset(fix, 0, sizeof(*fix));
    (void)snprintf(fix->folder, sizeof(fix->folder), "/tmp/freshet-test-XXXXXX");
    assert_non_null(mkdtemp(fix->folder));
    assert_int_equal(loop_new(NULL, &fix->loop), FR_OK);
    config_diag_init(&fix->diag);
    fix->api = config_cluster_new(FR_VIEW("api"));
    fix->web = config_cluster_new(FR_VIEW("web"));
    fix->api->health.kind = fix->web->health.kind = CONFIG_HEALTH_NONE;
    fix->api->scale.enabled = fix->web->scale.enabled = true;
    fix->api->scale.min = fix->web->scale.min = 0;
    fix->api->scale.max = fix->web->scale.max = 4;
    (void)snprintf(fix->api->scale.from[0], CONFIG_NAME_BYTES, "local");
    (void)snprintf(fix->web->scale.from[0], CONFIG_NAME_BYTES, "rack");
    fix->local = config_pool_new(FR_VIEW("local"));
    fr_free(fix->local->provider);
    fix->local->provider = fr_xstrdup("process");
    (void)snprintf(fix->local->host, sizeof(fix->local->host), "127.0.0.1");
    fix->local->port_first = 21001;
    fix->local->port_last = 21040;
    fix->local->stop_timeout_us = 3000000;
    fixture_command(fix, "exec sleep 1000");
    fix->rack = config_pool_new(FR_VIEW("rack"));
    fr_free(fix->rack->provider);
    fix->rack->provider = fr_xstrdup("static");
    fixture_rack(fix, 2);
}

static inline void
fixture_close(struct fixture *fix)
{
    char command[128];
    if (fix->allocator)
        allocator_free(&fix->allocator, false);
    loop_timer_stop(&fix->tick);
    loop_free(&fix->loop);
    config_diag_fini(&fix->diag);
    config_cluster_unref(&fix->api);
    config_cluster_unref(&fix->web);
    config_pool_unref(&fix->local);
    config_pool_unref(&fix->rack);
    (void)snprintf(command, sizeof(command), "rm -rf %s", fix->folder);
    assert_int_equal(system(command), 0);
}

static inline void
fixture_tick(void *ctx)
{
    struct fixture *fix = ctx;
    if (fix->until(fix)) {
        loop_stop(fix->loop);
        return;
    }
    if (++fix->ticks > 20000)
        fail_msg("nothing happened for twenty seconds; last note: %s", fix->note);
    loop_timer_start(fix->loop, &fix->tick, 1000, fixture_tick, fix);
}

static inline void
fixture_run(struct fixture *fix, bool (*until)(struct fixture *fix))
{
    fix->until = until;
    fix->ticks = 0;
    loop_timer_start(fix->loop, &fix->tick, 0, fixture_tick, fix);
    assert_int_equal(loop_run(fix->loop), FR_OK);
}

static inline bool
until_answered(struct fixture *fix)
{
    return fix->answers >= fix->wanted;
}

static inline void
fixture_answer(struct fixture *fix)
{
    fix->wanted = fix->answers + 1;
    fixture_run(fix, until_answered);
}

static inline void
fixture_allocate(struct fixture *fix, const char *cluster, uint32_t count)
{
    unsigned before = fix->answers;
    allocator_allocate(fix->allocator, fr_view_of(cluster), count, FR_VIEW(""), fixture_done, fix);
    fix->wanted = before + 1;
    fixture_run(fix, until_answered);
}

static inline void
fixture_deallocate(struct fixture *fix, const char *id)
{
    struct fr_view ids[] = {fr_view_of(id)};
    unsigned before = fix->answers;
    allocator_deallocate(fix->allocator, FR_VIEW(""), ids, 1, fixture_done, fix);
    fix->wanted = before + 1;
    fixture_run(fix, until_answered);
}

/* By place in the list. */
static inline bool
fixture_server_at(const struct fixture *fix, size_t index, struct allocator_server *out)
{
    for (const void *at = NULL; allocator_server_next(fix->allocator, &at, out); index--)
        if (index == 0)
            return true;
    return false;
}

static inline bool
fixture_server(struct fixture *fix, const char *id, struct allocator_server *out)
{
    for (const void *at = NULL; allocator_server_next(fix->allocator, &at, out);)
        if (strcmp(out->id, id) == 0)
            return true;
    return false;
}

static inline bool
fixture_has_seen(const struct fixture *fix, const char *what)
{
    for (unsigned i = 0; i < fix->seen_count; i++)
        if (strcmp(fix->seen[i], what) == 0)
            return true;
    return false;
}

/* The ledger file as a reader finds it. */
static inline void
fixture_ledger(struct fixture *fix, struct cluster_ledger *out)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/ledger.yaml", fix->folder);
    config_diag_fini(&fix->diag);
    config_diag_init(&fix->diag);
    enum fr_err err = cluster_ledger_load(path, &fix->diag, out);
    if (err)
        fail_msg("the ledger: %s", fix->diag.entry_count ? fix->diag.entries[0].text : "?");
}

static inline void
fixture_file_read(struct fixture *fix, const char *name, struct fr_buf *out)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", fix->folder, name);
    fr_buf_init(out, 1 << 20);
    assert_int_equal(fr_file_read(path, out, NULL), FR_OK);
}

static inline void
fixture_file_write(struct fixture *fix, const char *name, const char *text)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "%s/%s", fix->folder, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

/* Leaders of server processes of this fixture's instance that live. */
struct fixture_census {
    unsigned leaders, others;
    char ids[64][PROVIDER_MARKER_BYTES];
};
static inline void
fixture_count(void *ctx, const struct provider_proc *proc)
{
    struct fixture_census *census = ctx;
    if (proc->pid != proc->group) {
        census->others++;
        return;
    }
    const char *id = strrchr(proc->marker, '/');
    assert_in_range(census->leaders, 0, 63);
    (void)snprintf(census->ids[census->leaders++], PROVIDER_MARKER_BYTES, "%s", id ? id + 1 : "");
}

static inline void
fixture_census_take(struct fixture *fix, struct fixture_census *out)
{
    char instance[PROVIDER_INSTANCE_BYTES];
    memset(out, 0, sizeof(*out));
    assert_int_equal(provider_instance_read(fix->folder, instance), FR_OK);
    provider_proc_each(fr_view_of(instance), fixture_count, out);
}

#endif
