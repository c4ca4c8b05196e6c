/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_fault.c - dies at a named place, in test builds.
 */
#include "base/fr_fault.h"

#ifdef FR_FAULT_POINTS

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* FRESHET_FAULT is "name" or "name:N": the N-th pass dies. */
void
fr_fault_point(const char *name)
{
    static unsigned passes; /* of the one place that the environment names */
    const char *wanted = getenv("FRESHET_FAULT");
    size_t len = strlen(name);
    if (wanted == NULL || strncmp(wanted, name, len) != 0)
        return;
    if (wanted[len] != '\0' && wanted[len] != ':')
        return;
    unsigned long which = wanted[len] == ':' ? strtoul(wanted + len + 1, NULL, 10) : 1;
    if (__atomic_add_fetch(&passes, 1, __ATOMIC_RELAXED) == which)
        (void)kill(getpid(), SIGKILL);
}

#else

typedef int fr_fault_nothing; /* an empty unit is not ISO C */

#endif
