/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_mem.h - the one way to the heap, so that tests can make it fail.
 *
 * Data path: fr_alloc and friends, NULL when memory is out.  Boot and control code: fr_xalloc,
 * which ends the process with a clear last word (a parent restarts it; the ledger is complete).
 * Contents are zeroed.
 */
#ifndef FR_MEM_H
#define FR_MEM_H

#include <stddef.h>
#include <stdint.h>

void *fr_alloc(size_t bytes);
void *fr_realloc(void *ptr, size_t bytes); /* new bytes are not zeroed; NULL leaves ptr valid */
void fr_free(void *ptr);

void *fr_xalloc(size_t bytes);
void *fr_xrealloc(void *ptr, size_t bytes);
char *fr_xstrdup(const char *text);              /* NULL gives NULL */
char *fr_xstrndup(const char *ptr, size_t len);
__attribute__((format(printf, 1, 2))) char *fr_xprintf(const char *format, ...);

/* Grows *array so that `needed` items of `item_bytes` fit; doubles; new ones are of zeros. Control
 * code only. */
void fr_xgrow(void **array, size_t *capacity, size_t needed, size_t item_bytes);

/* Aligned to a cache line, zeroed; freed with fr_free. */
void *fr_xalloc_lines(size_t bytes);
#define FR_CACHE_LINE 64

/* Whole pages of address space, zeroed, resident from their first touch on; NULL when there are
 * none. The length is to be said again when they are given back. */
void *fr_mem_map(size_t bytes);
/* Likewise, on pages as large as the kernel has, where it can: for what is read here and there in
 * many megabytes, of which the processor cannot keep all addresses of small pages at hand. */
void *fr_mem_map_large(size_t bytes);
void fr_mem_unmap(void *ptr, size_t bytes);

/* Tests only: the allocation that is `countdown` away fails (fr_alloc, fr_realloc); 0 = never. */
void fr_mem_fail_after(uint64_t countdown);

#endif
