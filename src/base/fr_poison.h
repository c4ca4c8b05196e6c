/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fr_poison.h - memory that lies on a free list, told to AddressSanitizer.
 *
 * Shape:      a list that keeps freed blocks would hide a use after free: FR_POISON makes the next
 *             touch of one fail, FR_UNPOISON takes that back. In other builds both are nothing.
 */
#ifndef FR_POISON_H
#define FR_POISON_H

#if defined(__SANITIZE_ADDRESS__)
#define FR_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define FR_ASAN 1
#endif
#endif

#ifdef FR_ASAN
#include <sanitizer/asan_interface.h>
#define FR_POISON(ptr, bytes) ASAN_POISON_MEMORY_REGION(ptr, bytes)
#define FR_UNPOISON(ptr, bytes) ASAN_UNPOISON_MEMORY_REGION(ptr, bytes)
#else
#define FR_POISON(ptr, bytes) ((void)(ptr), (void)(bytes))
#define FR_UNPOISON(ptr, bytes) ((void)(ptr), (void)(bytes))
#endif

#endif
