// SPDX-License-Identifier: MIT
/*
 * Memory that belongs to one request or one batch: allocated piece by piece, freed at once.
 *
 * Allocation cannot fail: out of memory aborts. Sizes that come from outside are bounded by the
 * caller before they get here. An arena is used by one thread at a time; it has no lock.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

struct arena;

/* first: bytes of the first chunk (0: 4 KiB). The caller owns the arena. */
struct arena *arena_new(size_t first);
void arena_free(struct arena *a); /* takes NULL */

/* Forgets everything that was allocated, keeps the first chunk for reuse. */
void arena_reset(struct arena *a);

/* Aligned for any type; never NULL, also for size 0. alloc: uninitialised; zalloc: zeroed. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_zalloc(struct arena *a, size_t size);
void *arena_array(struct arena *a, size_t count, size_t size);   /* zeroed; overflow aborts */
void *arena_memdup(struct arena *a, const void *p, size_t size); /* adds a NUL after the copy */
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *format, ...) __attribute__((format(printf, 2, 3)));
char *arena_vprintf(struct arena *a, const char *format, va_list args)
    __attribute__((format(printf, 2, 0)));

/* Bytes handed out since the last reset. */
size_t arena_used(const struct arena *a);
