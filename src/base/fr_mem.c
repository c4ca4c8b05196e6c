/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_mem.c - the heap behind one door.
 *
 * Threads:  any.
 */
#include "base/fr_mem.h"

#include "base/fr_check.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t fail_countdown; /* tests only, atomic; 0 = never */

static int
must_fail(void)
{
    if (__builtin_expect(__atomic_load_n(&fail_countdown, __ATOMIC_RELAXED) == 0, 1))
        return 0;
    return __atomic_sub_fetch(&fail_countdown, 1, __ATOMIC_RELAXED) == 0;
}

void
fr_mem_fail_after(uint64_t countdown)
{
    __atomic_store_n(&fail_countdown, countdown, __ATOMIC_RELAXED);
}

void *
fr_alloc(size_t bytes)
{
    return must_fail() ? NULL : calloc(1, bytes ? bytes : 1);
}

void *
fr_realloc(void *ptr, size_t bytes)
{
    return must_fail() ? NULL : realloc(ptr, bytes ? bytes : 1);
}

void
fr_free(void *ptr)
{
    free(ptr);
}

__attribute__((noreturn, cold)) static void
out_of_memory(size_t bytes)
{
    fprintf(stderr, "freshet: out of memory (%zu bytes asked for); stopping\n", bytes);
    abort();
}

void *
fr_xalloc(size_t bytes)
{
    void *ptr = calloc(1, bytes ? bytes : 1);
    if (ptr == NULL)
        out_of_memory(bytes);
    return ptr;
}

void *
fr_xrealloc(void *ptr, size_t bytes)
{
    void *grown = realloc(ptr, bytes ? bytes : 1);
    if (grown == NULL)
        out_of_memory(bytes);
    return grown;
}

char *
fr_xstrdup(const char *text)
{
    return text ? fr_xstrndup(text, strlen(text)) : NULL;
}

char *
fr_xstrndup(const char *ptr, size_t len)
{
    char *copy = fr_xalloc(len + 1);
    if (len)
        memcpy(copy, ptr, len);
    return copy;
}

char *
fr_xprintf(const char *format, ...)
{
    va_list args;
    fr_require(format != NULL);
    va_start(args, format);
    int len = vsnprintf(NULL, 0, format, args);
    va_end(args);
    fr_require(len >= 0);
    char *text = fr_xalloc((size_t)len + 1);
    va_start(args, format);
    (void)vsnprintf(text, (size_t)len + 1, format, args); /* the length was just measured */
    va_end(args);
    return text;
}

void
fr_xgrow(void **array, size_t *capacity, size_t needed, size_t item_bytes)
{
    if (needed <= *capacity)
        return;
    size_t grown = *capacity ? *capacity * 2 : 8;
    if (grown < needed)
        grown = needed;
    size_t bytes = 0;
    if (__builtin_mul_overflow(grown, item_bytes, &bytes))
        out_of_memory(SIZE_MAX);
    *array = fr_xrealloc(*array, bytes);
    memset((char *)*array + *capacity * item_bytes, 0, (grown - *capacity) * item_bytes);
    *capacity = grown;
}

void *
fr_xalloc_lines(size_t bytes)
{
    size_t rounded = (bytes + FR_CACHE_LINE - 1) / FR_CACHE_LINE * FR_CACHE_LINE;
    void *ptr = aligned_alloc(FR_CACHE_LINE, rounded ? rounded : FR_CACHE_LINE);
    if (ptr == NULL)
        out_of_memory(bytes);
    memset(ptr, 0, rounded);
    return ptr;
}

void *
fr_mem_map(size_t bytes)
{
    void *ptr = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return ptr == MAP_FAILED ? NULL : ptr;
}

void *
fr_mem_map_large(size_t bytes)
{
    void *ptr = fr_mem_map(bytes);
    if (ptr != NULL)
        (void)madvise(ptr, bytes, MADV_HUGEPAGE); /* a kernel without them says no, and no harm */
    return ptr;
}

void
fr_mem_unmap(void *ptr, size_t bytes)
{
    if (ptr != NULL)
        fr_insist(munmap(ptr, bytes) == 0);
}
