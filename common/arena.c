// SPDX-License-Identifier: MIT
/*
 * A chain of chunks, each filled from its start. The first chunk holds the arena itself, so that a
 * small request costs one malloc, and none once its arena is reused. Chunks double up to 256 KiB;
 * what does not fit gets a chunk of its own size.
 *
 * Under AddressSanitizer the free part of each chunk is poisoned: writing past an allocation and
 * using memory after arena_reset are found there as with malloc.
 */
#include "common/arena.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define REDZONE 16
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#define REDZONE 0
#endif

#define FIRST_DEFAULT 4096
#define CHUNK_MAX ((size_t)256 * 1024)
/* Far above any bound the callers keep; keeps the sums below from wrapping. */
#define SIZE_LIMIT (SIZE_MAX / 4)

struct chunk {
    struct chunk *next;
    size_t cap, used;
    alignas(max_align_t) char data[];
};

struct arena {
    struct chunk *current; /* the newest ordinary chunk; its `next` are the older ones */
    struct chunk *first;   /* the chunk that holds this struct; survives a reset */
    size_t chunk_size;     /* of the next ordinary chunk */
    size_t first_used;     /* what this struct takes of the first chunk */
    size_t handed_out;
};

static size_t align_up(size_t n)
{
    return (n + alignof(max_align_t) - 1) & ~(alignof(max_align_t) - 1);
}

static _Noreturn void out_of_memory(size_t size)
{
    fprintf(stderr, "arena: cannot allocate %zu bytes\n", size);
    abort();
}

static struct chunk *chunk_new(size_t cap)
{
    struct chunk *chunk = malloc(sizeof(*chunk) + cap);
    if (chunk == NULL) {
        out_of_memory(cap);
    }
    chunk->next = NULL;
    chunk->cap = cap;
    chunk->used = 0;
    POISON(chunk->data, cap);
    return chunk;
}

static void chunk_free(struct chunk *chunk)
{
    UNPOISON(chunk->data, chunk->cap);
    free(chunk);
}

static size_t chunk_room(const struct chunk *chunk)
{
    return chunk->cap - chunk->used;
}

static void *chunk_take(struct chunk *chunk, size_t room, size_t size)
{
    void *p = chunk->data + chunk->used;
    chunk->used += room;
    UNPOISON(p, size);
    return p;
}

struct arena *arena_new(size_t first)
{
    size_t own = align_up(sizeof(struct arena));
    struct chunk *chunk = chunk_new(own + align_up(first == 0 ? FIRST_DEFAULT : first));
    struct arena *a = chunk_take(chunk, own, sizeof(*a));
    a->current = chunk;
    a->first = chunk;
    a->chunk_size = chunk->cap;
    a->first_used = own;
    a->handed_out = 0;
    return a;
}

static void free_later_chunks(struct arena *a)
{
    struct chunk *chunk = a->current;
    while (chunk != NULL) {
        struct chunk *next = chunk->next;
        if (chunk != a->first) {
            chunk_free(chunk);
        }
        chunk = next;
    }
}

void arena_free(struct arena *a)
{
    if (a == NULL) {
        return;
    }
    free_later_chunks(a);
    chunk_free(a->first);
}

void arena_reset(struct arena *a)
{
    free_later_chunks(a);
    struct chunk *first = a->first;
    first->next = NULL;
    first->used = a->first_used;
    POISON(first->data + first->used, chunk_room(first));
    a->current = first;
    a->chunk_size = first->cap;
    a->handed_out = 0;
}

/* A large piece goes behind the current chunk, whose room stays in use. */
static void *alloc_large(struct arena *a, size_t room, size_t size)
{
    struct chunk *chunk = chunk_new(room);
    chunk->next = a->current->next;
    a->current->next = chunk;
    return chunk_take(chunk, room, size);
}

static void *alloc_new_chunk(struct arena *a, size_t room, size_t size)
{
    if (a->chunk_size < CHUNK_MAX) {
        a->chunk_size *= 2;
    }
    if (room > a->chunk_size / 4) {
        return alloc_large(a, room, size);
    }
    struct chunk *chunk = chunk_new(a->chunk_size);
    chunk->next = a->current;
    a->current = chunk;
    return chunk_take(chunk, room, size);
}

void *arena_alloc(struct arena *a, size_t size)
{
    if (size > SIZE_LIMIT) {
        out_of_memory(size);
    }
    /* An empty piece still takes room, so that two of them differ. */
    size_t room = align_up((size == 0 ? 1 : size) + REDZONE);
    a->handed_out += size;
    if (room <= chunk_room(a->current)) {
        return chunk_take(a->current, room, size);
    }
    return alloc_new_chunk(a, room, size);
}

void *arena_zalloc(struct arena *a, size_t size)
{
    return memset(arena_alloc(a, size), 0, size);
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total)) {
        out_of_memory(SIZE_MAX);
    }
    return arena_zalloc(a, total);
}

void *arena_memdup(struct arena *a, const void *p, size_t size)
{
    if (size > SIZE_LIMIT) {
        out_of_memory(size);
    }
    char *copy = arena_alloc(a, size + 1);
    if (size > 0) {
        memcpy(copy, p, size);
    }
    copy[size] = '\0';
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_memdup(a, s, strlen(s));
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    return arena_memdup(a, s, strnlen(s, n));
}

char *arena_printf(struct arena *a, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    char *text = arena_vprintf(a, format, args);
    va_end(args);
    return text;
}

char *arena_vprintf(struct arena *a, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, format, args);
    if (len < 0) { /* only a wrong format or a text over 2 GiB: our own bug */
        abort();
    }
    char *text = arena_alloc(a, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, format, again);
    va_end(again);
    return text;
}

size_t arena_used(const struct arena *a)
{
    return a->handed_out;
}
