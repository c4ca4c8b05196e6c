/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_lock.h - a mutex for what threads share and hold for a few dozen instructions.
 *
 * A lock that cannot be made, taken or given back is a bug of ours, not an outcome.
 */
#ifndef FR_LOCK_H
#define FR_LOCK_H

#include "base/fr_check.h"

#include <pthread.h>

struct fr_lock {
    pthread_mutex_t mutex;
};

static inline void
fr_lock_init(struct fr_lock *lock)
{
    fr_insist(pthread_mutex_init(&lock->mutex, NULL) == 0);
}

static inline void
fr_lock_fini(struct fr_lock *lock)
{
    fr_insist(pthread_mutex_destroy(&lock->mutex) == 0);
}

static inline void
fr_lock_take(struct fr_lock *lock)
{
    fr_insist(pthread_mutex_lock(&lock->mutex) == 0);
}

static inline void
fr_lock_give(struct fr_lock *lock)
{
    fr_insist(pthread_mutex_unlock(&lock->mutex) == 0);
}

#endif
