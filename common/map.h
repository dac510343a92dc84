// SPDX-License-Identifier: MIT
/*
 * A hash map from a pair of numbers to a pointer. A user, group or session is (id, 0), a
 * conversation is its pair (architecture: a conversation is a pair of numbers).
 *
 * Open addressing with linear probing and backward-shift deletion, keys mixed with a per-process
 * random seed, so that no client can choose colliding ids. Grows and shrinks with its content.
 * Values are borrowed. One thread at a time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct map {
    struct map_slot *slots; /* NULL while empty */
    size_t cap;             /* a power of two */
    size_t count;
};

struct map_slot {
    uint64_t a, b;
    void *value; /* NULL: the slot is free */
};

void map_init(struct map *m);
void map_done(struct map *m); /* frees the table, not the values */

void *map_get(const struct map *m, uint64_t a, uint64_t b); /* NULL: not there */
/* value must not be NULL. Returns the value that was there before, or NULL. */
void *map_put(struct map *m, uint64_t a, uint64_t b, void *value);
void *map_del(struct map *m, uint64_t a, uint64_t b); /* the value that was there, or NULL */

/* Walks all entries: start with *cursor = 0; NULL at the end. The map must not change meanwhile. */
struct map_slot *map_next(const struct map *m, size_t *cursor);

/* A well-mixed hash of a pair; seedless and stable, for partitions and shards. Any thread. */
uint64_t map_hash_stable(uint64_t a, uint64_t b);
/* The first 128 bits of a keyed hash of bytes (keyed per process), to key a map by text. */
void map_hash_bytes(const void *p, size_t n, uint64_t *a_out, uint64_t *b_out);
