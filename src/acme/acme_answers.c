/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acme_answers.c - tokens of http-01 and what is answered to them.
 *
 * Threads:    any. The count is looked at without the lock: nearly always it is 0, and a worker
 *             that reads an old one answers as if the challenge had come a moment earlier.
 * When full:  ACME_TOKENS_MAX; further challenges fail, and are tried again later.
 */
#include "acme/acme_priv.h"

#include "base/fr_lock.h"

#include <string.h>

struct answer {
    char *token, *text;
};

struct acme_answers {
    struct fr_lock lock;
    atomic_uint count;
    struct answer list[ACME_TOKENS_MAX];
};

struct acme_answers *
acme_answers_new(void)
{
    struct acme_answers *answers = fr_xalloc(sizeof(*answers));
    fr_lock_init(&answers->lock);
    return answers;
}

void
acme_answers_free(struct acme_answers **answers)
{
    struct acme_answers *a = *answers;
    *answers = NULL;
    if (!a)
        return;
    for (unsigned i = 0; i < atomic_load(&a->count); i++) {
        fr_free(a->list[i].token);
        fr_free(a->list[i].text);
    }
    fr_lock_fini(&a->lock);
    fr_free(a);
}

bool
acme_answers_find(struct acme_answers *answers, struct fr_view path, char out[ACME_ANSWER_BYTES])
{
    static const struct fr_view prefix = {ACME_PATH, sizeof(ACME_PATH) - 1};
    bool found = false;
    if (atomic_load_explicit(&answers->count, memory_order_relaxed) == 0 ||
        !fr_view_starts(path, prefix))
        return false;
    struct fr_view token = fr_view_make(path.ptr + prefix.len, path.len - prefix.len);
    fr_lock_take(&answers->lock);
    for (unsigned i = 0; i < atomic_load(&answers->count) && !found; i++)
        if (fr_view_is(token, answers->list[i].token))
            found = fr_view_copy(fr_view_of(answers->list[i].text), out, ACME_ANSWER_BYTES);
    fr_lock_give(&answers->lock);
    return found;
}

bool
acme__answers_put(struct acme_answers *answers, const char *token, const char *text)
{
    fr_lock_take(&answers->lock);
    unsigned count = atomic_load(&answers->count);
    bool room = count < ACME_TOKENS_MAX;
    if (room) {
        answers->list[count] = (struct answer){fr_xstrdup(token), fr_xstrdup(text)};
        atomic_store(&answers->count, count + 1);
    }
    fr_lock_give(&answers->lock);
    return room;
}

void
acme__answers_remove(struct acme_answers *answers, const char *token)
{
    fr_lock_take(&answers->lock);
    unsigned count = atomic_load(&answers->count);
    for (unsigned i = 0; i < count; i++) {
        if (strcmp(answers->list[i].token, token) != 0)
            continue;
        fr_free(answers->list[i].token);
        fr_free(answers->list[i].text);
        answers->list[i] = answers->list[count - 1];
        atomic_store(&answers->count, count - 1);
        break;
    }
    fr_lock_give(&answers->lock);
}
