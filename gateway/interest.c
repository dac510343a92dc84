// SPDX-License-Identifier: MIT
#include "gateway/interest.h"

#include "common/err.h"
#include "common/map.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

struct entry {
    uint64_t loops;
    uint32_t sockets; /* of a user */
    uint32_t pins;    /* of a conversation */
};

struct interest {
    pthread_mutex_t lock;
    struct map entries; /* key halves: (user, 0), (0, group), (user, INTEREST_WATCHED) */
    struct map pins;    /* conversations that somebody waits on */
    size_t users;
    void (*presence)(void *arg, uint64_t user_id, bool present);
    void *arg;
};

struct interest *interest_new(void (*presence)(void *, uint64_t, bool), void *arg)
{
    struct interest *in = calloc(1, sizeof(*in));
    assert(in != NULL);
    pthread_mutex_init(&in->lock, NULL);
    map_init(&in->entries);
    map_init(&in->pins);
    in->presence = presence;
    in->arg = arg;
    return in;
}

static void free_entries(struct map *m)
{
    size_t cursor = 0;
    struct map_slot *s;
    while ((s = map_next(m, &cursor)) != NULL) {
        free(s->value);
    }
    map_done(m);
}

void interest_free(struct interest *in)
{
    if (in != NULL) {
        free_entries(&in->entries);
        free_entries(&in->pins);
        pthread_mutex_destroy(&in->lock);
        free(in);
    }
}

static struct entry *make(struct map *m, uint64_t a, uint64_t b)
{
    struct entry *e = map_get(m, a, b);
    if (e == NULL) {
        e = calloc(1, sizeof(*e));
        assert(e != NULL);
        map_put(m, a, b, e);
    }
    return e;
}

static void drop_unused(struct map *m, uint64_t a, uint64_t b, struct entry *e)
{
    if (e->loops == 0 && e->sockets == 0 && e->pins == 0) {
        map_del(m, a, b);
        free(e);
    }
}

void interest_add(struct interest *in, uint64_t a, uint64_t b, unsigned loop)
{
    pthread_mutex_lock(&in->lock);
    make(&in->entries, a, b)->loops |= UINT64_C(1) << loop;
    pthread_mutex_unlock(&in->lock);
}

void interest_remove(struct interest *in, uint64_t a, uint64_t b, unsigned loop)
{
    pthread_mutex_lock(&in->lock);
    struct entry *e = map_get(&in->entries, a, b);
    if (e != NULL) {
        e->loops &= ~(UINT64_C(1) << loop);
        drop_unused(&in->entries, a, b, e);
    }
    pthread_mutex_unlock(&in->lock);
}

static uint64_t loops_of(const struct interest *in, uint64_t a, uint64_t b)
{
    const struct entry *e = map_get(&in->entries, a, b);
    return e != NULL ? e->loops : 0;
}

uint64_t interest_of_conversation(struct interest *in, uint64_t a, uint64_t b, bool *pinned_out)
{
    pthread_mutex_lock(&in->lock);
    uint64_t loops;
    if (a == 0) {
        loops = loops_of(in, 0, b);
    } else {
        loops = loops_of(in, a, 0);
        if (a != b) {
            loops |= loops_of(in, b, 0);
        }
    }
    if (pinned_out != NULL) {
        *pinned_out = in->pins.count > 0 && map_get(&in->pins, a, b) != NULL;
    }
    pthread_mutex_unlock(&in->lock);
    return loops;
}

uint64_t interest_of(struct interest *in, uint64_t a, uint64_t b)
{
    pthread_mutex_lock(&in->lock);
    uint64_t loops = loops_of(in, a, b);
    pthread_mutex_unlock(&in->lock);
    return loops;
}

void interest_pin(struct interest *in, uint64_t a, uint64_t b)
{
    pthread_mutex_lock(&in->lock);
    make(&in->pins, a, b)->pins++;
    pthread_mutex_unlock(&in->lock);
}

void interest_unpin(struct interest *in, uint64_t a, uint64_t b)
{
    pthread_mutex_lock(&in->lock);
    struct entry *e = map_get(&in->pins, a, b);
    assert(e != NULL && e->pins > 0);
    e->pins--;
    drop_unused(&in->pins, a, b, e);
    pthread_mutex_unlock(&in->lock);
}

int interest_socket_opened(struct interest *in, uint64_t user_id, int64_t most)
{
    pthread_mutex_lock(&in->lock);
    struct entry *e = make(&in->entries, user_id, 0);
    bool full = e->sockets >= most;
    if (full) {
        drop_unused(&in->entries, user_id, 0, e);
    } else if (e->sockets++ == 0) {
        in->users++;
        in->presence(in->arg, user_id, true);
    }
    pthread_mutex_unlock(&in->lock);
    return full ? ERR_RATE_LIMITED : 0;
}

void interest_socket_closed(struct interest *in, uint64_t user_id)
{
    pthread_mutex_lock(&in->lock);
    struct entry *e = map_get(&in->entries, user_id, 0);
    assert(e != NULL && e->sockets > 0);
    if (--e->sockets == 0) {
        in->users--;
        in->presence(in->arg, user_id, false);
    }
    drop_unused(&in->entries, user_id, 0, e);
    pthread_mutex_unlock(&in->lock);
}

size_t interest_users(struct interest *in)
{
    pthread_mutex_lock(&in->lock);
    size_t n = in->users;
    pthread_mutex_unlock(&in->lock);
    return n;
}

void interest_repeat(struct interest *in, uint64_t user_id)
{
    pthread_mutex_lock(&in->lock);
    const struct entry *e = map_get(&in->entries, user_id, 0);
    in->presence(in->arg, user_id, e != NULL && e->sockets > 0);
    pthread_mutex_unlock(&in->lock);
}

void interest_show_users(struct interest *in,
                         void (*show)(void *arg, const uint64_t *users, size_t n), void *arg)
{
    pthread_mutex_lock(&in->lock);
    uint64_t *list = calloc(in->users + 1, sizeof(*list));
    assert(list != NULL);
    size_t n = 0, cursor = 0;
    struct map_slot *s;
    while ((s = map_next(&in->entries, &cursor)) != NULL) {
        const struct entry *e = s->value;
        if (e->sockets > 0 && n < in->users) {
            list[n++] = s->a;
        }
    }
    show(arg, list, n);
    pthread_mutex_unlock(&in->lock);
    free(list);
}
