/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pki_bed.h - an authority in a folder of its own, for the tests of this room.
 */
#ifndef PKI_BED_H
#define PKI_BED_H

#include "base/fr_mem.h"
#include "pki/pki.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define NOW_S 1800000000

struct bed {
    char folder[64];
    struct pki *pki;
};

static inline int
bed_open(void **state)
{
    struct bed *bed = fr_xalloc(sizeof(*bed));
    char *why = NULL;
    (void)snprintf(bed->folder, sizeof(bed->folder), "/tmp/freshet-pki-XXXXXX");
    assert_non_null(mkdtemp(bed->folder));
    assert_int_equal(pki_init(bed->folder, "test", NOW_S, 10, &why), FR_OK);
    assert_int_equal(pki_open(bed->folder, &bed->pki, &why), FR_OK);
    *state = bed;
    return 0;
}

static inline int
bed_close(void **state)
{
    struct bed *bed = *state;
    char command[128];
    pki_close(&bed->pki);
    (void)snprintf(command, sizeof(command), "rm -r %s", bed->folder);
    assert_int_equal(system(command), 0);
    fr_free(bed);
    return 0;
}

#endif
