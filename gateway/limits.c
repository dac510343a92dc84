// SPDX-License-Identifier: MIT
/*
 * The table is set-associative, like a processor's cache: a key's hash picks a row of eight slots,
 * and only these are looked at. A full row gives up a finished window, else the one that has
 * counted least; so a flood of invented keys costs its own kind first.
 */
#include "gateway/limits.h"

#include "common/clock.h"
#include "common/map.h"

#include <arpa/inet.h>
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define ROWS 4096
#define WAYS 8

struct slot {
    uint64_t hash; /* 0: free */
    int64_t ends_ms;
    int64_t count;
};

struct limits {
    pthread_mutex_t lock;
    struct config_rate rates[4];
    struct slot rows[ROWS][WAYS];
};

struct limits *limits_new(struct config_rate auth, struct config_rate user)
{
    struct limits *l = calloc(1, sizeof(*l));
    assert(l != NULL);
    pthread_mutex_init(&l->lock, NULL);
    l->rates[LIMITS_AUTH] = auth;
    l->rates[LIMITS_USER] = user;
    l->rates[LIMITS_TYPING] = (struct config_rate){.count = 1, .seconds = 1};
    return l;
}

void limits_free(struct limits *l)
{
    if (l != NULL) {
        pthread_mutex_destroy(&l->lock);
        free(l);
    }
}

/* Keyed per process, so that nobody can choose keys that share a row. */
static uint64_t hash_of(enum limits_class class, uint64_t a, uint64_t b)
{
    uint64_t key[3] = {(uint64_t) class, a, b}, hash, unused;
    map_hash_bytes(key, sizeof(key), &hash, &unused);
    return hash != 0 ? hash : 1;
}

static struct slot *find(struct limits *l, uint64_t hash, int64_t now_ms)
{
    struct slot *row = l->rows[hash % ROWS], *worst = &row[0];
    for (size_t i = 0; i < WAYS; i++) {
        if (row[i].hash == hash) {
            return &row[i];
        }
        bool over = row[i].ends_ms <= now_ms, worst_over = worst->ends_ms <= now_ms;
        if ((over && !worst_over) || (over == worst_over && row[i].count < worst->count)) {
            worst = &row[i];
        }
    }
    *worst = (struct slot){.hash = hash};
    return worst;
}

struct limits_verdict limits_ask(struct limits *l, enum limits_class class, uint64_t a, uint64_t b)
{
    struct config_rate rate = l->rates[class];
    if (rate.count == 0) {
        return (struct limits_verdict){.allowed = true};
    }
    int64_t now = clock_mono_ms();
    uint64_t hash = hash_of(class, a, b);
    struct limits_verdict v = {.limit = rate.count};
    pthread_mutex_lock(&l->lock);
    struct slot *s = find(l, hash, now);
    if (s->ends_ms <= now) {
        s->ends_ms = now + rate.seconds * 1000;
        s->count = 0;
    }
    v.allowed = s->count < rate.count;
    if (v.allowed) {
        s->count++;
    }
    v.remaining = rate.count - s->count;
    v.retry_after = (s->ends_ms - now + 999) / 1000;
    pthread_mutex_unlock(&l->lock);
    return v;
}

void limits_address_key(const char *address, uint64_t *a_out, uint64_t *b_out)
{
    struct in6_addr six;
    if (inet_pton(AF_INET6, address, &six) == 1) {
        map_hash_bytes(six.s6_addr, 8, a_out, b_out);
    } else {
        map_hash_bytes(address, strlen(address), a_out, b_out);
    }
}

bool limits_take(struct limits_bucket *b, struct config_rate rate, int64_t mono_ms)
{
    if (rate.count == 0) {
        return true;
    }
    uint32_t now = (uint32_t)mono_ms;
    uint64_t passed = now - b->mono_ms;
    uint64_t regained = passed * (uint64_t)rate.count / (uint64_t)rate.seconds;
    if (regained > 0) { /* else the time goes on counting from before */
        b->spent = regained >= b->spent ? 0 : b->spent - (uint32_t)regained;
        b->mono_ms = now;
    }
    uint64_t most = (uint64_t)rate.count * 2 * 1000;
    if (most > UINT32_MAX - 1000) {
        most = UINT32_MAX - 1000;
    }
    if (b->spent + 1000 > most) {
        return false;
    }
    b->spent += 1000;
    return true;
}
