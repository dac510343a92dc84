// SPDX-License-Identifier: MIT
/*
 * The table holds at most three quarters of its slots, and at least an eighth, else it is made
 * anew with twice or half the size. An empty map has no table at all: a gateway keeps hundreds of
 * thousands of small maps.
 *
 * Numbers are mixed by two rounds of a 64 by 64 to 128 bit multiplication, folded (the idea of
 * wyhash and FoldHash), text by SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012):
 * since text is compared by these bits alone, nobody may be able to find two texts with equal ones.
 */
#include "common/map.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define CAP_MIN 8

static uint64_t seed[6]; /* four for numbers, two for text */

/* Before main, so that no look-up has to ask whether the seed is there. */
__attribute__((constructor)) static void seed_make(void)
{
    if (getrandom(seed, sizeof(seed), 0) != (ssize_t)sizeof(seed)) {
        fprintf(stderr, "map: no random numbers from the kernel\n");
        abort();
    }
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 u128;
    u128 product = (u128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static size_t slot_of(const struct map *m, uint64_t a, uint64_t b)
{
    uint64_t hash = fold(a ^ seed[0], b ^ seed[1]);
    hash = fold(hash ^ seed[2], seed[3] | 1);
    return (size_t)hash & (m->cap - 1);
}

void map_init(struct map *m)
{
    *m = (struct map){0};
}

void map_done(struct map *m)
{
    free(m->slots);
    map_init(m);
}

/* The slot of the key, or the free slot where it would go. There is always a free one. */
static struct map_slot *find(const struct map *m, uint64_t a, uint64_t b)
{
    size_t i = slot_of(m, a, b);
    while (m->slots[i].value != NULL && (m->slots[i].a != a || m->slots[i].b != b)) {
        i = (i + 1) & (m->cap - 1);
    }
    return &m->slots[i];
}

static void resize(struct map *m, size_t cap)
{
    struct map bigger = {.slots = calloc(cap, sizeof(*bigger.slots)), .cap = cap};
    if (bigger.slots == NULL) {
        fprintf(stderr, "map: cannot allocate %zu slots\n", cap);
        abort();
    }
    bigger.count = m->count;
    for (size_t i = 0; i < m->cap; i++) {
        if (m->slots[i].value != NULL) {
            *find(&bigger, m->slots[i].a, m->slots[i].b) = m->slots[i];
        }
    }
    free(m->slots);
    *m = bigger;
}

void *map_get(const struct map *m, uint64_t a, uint64_t b)
{
    return m->count == 0 ? NULL : find(m, a, b)->value;
}

void *map_put(struct map *m, uint64_t a, uint64_t b, void *value)
{
    assert(value != NULL);
    if (m->cap == 0) {
        resize(m, CAP_MIN);
    }
    struct map_slot *slot = find(m, a, b);
    void *before = slot->value;
    if (before == NULL && (m->count + 1) * 4 > m->cap * 3) {
        resize(m, m->cap * 2);
        slot = find(m, a, b);
    }
    *slot = (struct map_slot){.a = a, .b = b, .value = value};
    m->count += before == NULL;
    return before;
}

/*
 * Closes the hole at i: each later slot of the run moves back if its own place is not between the
 * hole and itself, so that a search never meets a free slot before its key.
 */
static void shift_back(struct map *m, size_t i)
{
    size_t mask = m->cap - 1;
    size_t hole = i;
    for (i = (i + 1) & mask; m->slots[i].value != NULL; i = (i + 1) & mask) {
        size_t own = slot_of(m, m->slots[i].a, m->slots[i].b);
        if (((i - own) & mask) >= ((i - hole) & mask)) {
            m->slots[hole] = m->slots[i];
            hole = i;
        }
    }
    m->slots[hole] = (struct map_slot){0};
}

void *map_del(struct map *m, uint64_t a, uint64_t b)
{
    if (m->count == 0) {
        return NULL;
    }
    struct map_slot *slot = find(m, a, b);
    void *before = slot->value;
    if (before == NULL) {
        return NULL;
    }
    m->count--;
    if (m->count == 0) {
        map_done(m);
        return before;
    }
    shift_back(m, (size_t)(slot - m->slots));
    if (m->cap > CAP_MIN && m->count * 8 < m->cap) {
        resize(m, m->cap / 2);
    }
    return before;
}

struct map_slot *map_next(const struct map *m, size_t *cursor)
{
    while (*cursor < m->cap) {
        struct map_slot *slot = &m->slots[(*cursor)++];
        if (slot->value != NULL) {
            return slot;
        }
    }
    return NULL;
}

uint64_t map_hash_stable(uint64_t a, uint64_t b)
{
    /* Odd digits of pi and e; never change them: partitions and shards depend on the result. */
    uint64_t hash = fold(a ^ 0x243f6a8885a308d3, b ^ 0xb7e151628aed2a6b);
    return fold(hash ^ 0x13198a2e03707345, 0xbf7158809cf4f3c7);
}

struct sip {
    uint64_t v0, v1, v2, v3;
};

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return (x << bits) | (x >> (64 - bits));
}

static void sip_rounds(struct sip *s, int rounds)
{
    while (rounds-- > 0) {
        s->v0 += s->v1;
        s->v2 += s->v3;
        s->v1 = rotate(s->v1, 13) ^ s->v0;
        s->v3 = rotate(s->v3, 16) ^ s->v2;
        s->v0 = rotate(s->v0, 32);
        s->v2 += s->v1;
        s->v0 += s->v3;
        s->v1 = rotate(s->v1, 17) ^ s->v2;
        s->v3 = rotate(s->v3, 21) ^ s->v0;
        s->v2 = rotate(s->v2, 32);
    }
}

static void sip_word(struct sip *s, uint64_t word)
{
    s->v3 ^= word;
    sip_rounds(s, 2);
    s->v0 ^= word;
}

/* Up to eight bytes, the first one lowest, on any machine. */
static uint64_t read_le(const unsigned char *p, size_t n)
{
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++) {
        word |= (uint64_t)p[i] << (8 * i);
    }
    return word;
}

void map_hash_bytes(const void *p, size_t n, uint64_t *a_out, uint64_t *b_out)
{
    struct sip s = {
        .v0 = seed[4] ^ 0x736f6d6570736575,
        .v1 = seed[5] ^ 0x646f72616e646f6d ^ 0xee, /* 0xee: the 128-bit form */
        .v2 = seed[4] ^ 0x6c7967656e657261,
        .v3 = seed[5] ^ 0x7465646279746573,
    };
    const unsigned char *bytes = p;
    size_t left = n;
    for (; left >= 8; left -= 8, bytes += 8) {
        sip_word(&s, read_le(bytes, 8));
    }
    sip_word(&s, read_le(bytes, left) | (uint64_t)n << 56);
    s.v2 ^= 0xee;
    sip_rounds(&s, 4);
    *a_out = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
    s.v1 ^= 0xdd;
    sip_rounds(&s, 4);
    *b_out = s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
