// SPDX-License-Identifier: MIT
/*
 * A user's value in the map is the version and two bits. While the snapshot is read, users who went
 * offline are kept too, so that an older page cannot bring them back; after it they are dropped:
 * events of one user come in order. Dropped is also whom neither the snapshot nor an event since
 * its beginning has named: they went offline in events that were missed.
 */
#include "gateway/online.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/map.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "common/rpc.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define PAGE 5000
#define SORTED_US 1000000 /* the list for pages is at most so old, */
#define SORTED_TIMES 10   /* and so many times what it took to make */
#define ONLINE 1          /* bits of a value; the version is above them */
#define NAMED 2           /* since the snapshot was begun */
#define VERSION_SHIFT 2

struct online {
    struct gateway *gw;
    pthread_rwlock_t lock;
    struct map users;
    size_t count; /* of those online */
    bool started, asking;
    bool restarted; /* the page that is asked for belongs to a snapshot that was given up */
    atomic_bool complete;
    uint64_t cursor;
    struct metric *count_metric;
    pthread_mutex_t sorted_lock; /* taken before the other */
    uint64_t *sorted;            /* who is online, ascending; NULL: not made yet */
    size_t sorted_n;
    int64_t sorted_us, sorted_took_us;
};

struct online *online_new(struct gateway *gw)
{
    struct online *o = calloc(1, sizeof(*o));
    assert(o != NULL);
    o->gw = gw;
    pthread_rwlock_init(&o->lock, NULL);
    pthread_mutex_init(&o->sorted_lock, NULL);
    map_init(&o->users);
    o->count_metric =
        metrics_gauge("chat_gateway_online_users", "Users online, as this gateway knows.", NULL);
    return o;
}

void online_free(struct online *o)
{
    if (o != NULL) {
        map_done(&o->users);
        pthread_rwlock_destroy(&o->lock);
        pthread_mutex_destroy(&o->sorted_lock);
        free(o->sorted);
        free(o);
    }
}

static bool is_online(const void *value)
{
    return ((uintptr_t)value & ONLINE) != 0;
}

/* Never NULL. */
static void *value_of(uint64_t version, bool present)
{
    return (void *)(uintptr_t)((version > 0 ? version : 1) << VERSION_SHIFT | NAMED |
                               (present ? ONLINE : 0));
}

/* With the lock held for writing. */
static bool merge(struct online *o, uint64_t id, uint64_t version, bool present)
{
    void *before = map_get(&o->users, id, 0);
    if (before != NULL && (uintptr_t)before >> VERSION_SHIFT > version) {
        map_put(&o->users, id, 0, (void *)((uintptr_t)before | NAMED));
        return false;
    }
    bool was = is_online(before);
    if (present || !atomic_load(&o->complete)) {
        map_put(&o->users, id, 0, value_of(version, present));
    } else {
        map_del(&o->users, id, 0);
    }
    o->count = o->count + (present && !was) - (!present && was);
    metric_set(o->count_metric, (int64_t)o->count);
    return was != present;
}

bool online_merge(struct online *o, const Chat__UserStatus *s)
{
    pthread_rwlock_wrlock(&o->lock);
    bool changed = merge(o, s->user_id, s->version, s->online);
    pthread_rwlock_unlock(&o->lock);
    return changed;
}

bool online_has(struct online *o, uint64_t id)
{
    pthread_rwlock_rdlock(&o->lock);
    bool yes = is_online(map_get(&o->users, id, 0));
    pthread_rwlock_unlock(&o->lock);
    return yes;
}

size_t online_count(struct online *o)
{
    pthread_rwlock_rdlock(&o->lock);
    size_t n = o->count;
    pthread_rwlock_unlock(&o->lock);
    return n;
}

bool online_is_complete(struct online *o)
{
    return atomic_load(&o->complete);
}

/* ---- Snapshot ---- */

/* With the lock held for writing: the snapshot is complete. */
static void drop_gone(struct online *o)
{
    uint64_t *gone = malloc((o->users.count + 1) * sizeof(*gone));
    assert(gone != NULL);
    size_t n = 0, cursor = 0;
    struct map_slot *s;
    while ((s = map_next(&o->users, &cursor)) != NULL) {
        if (!is_online(s->value) || ((uintptr_t)s->value & NAMED) == 0) {
            gone[n++] = s->a;
            o->count -= is_online(s->value);
        }
    }
    for (size_t i = 0; i < n; i++) {
        map_del(&o->users, gone[i], 0);
    }
    metric_set(o->count_metric, (int64_t)o->count);
    free(gone);
}

static void ask(struct online *o);

static void on_page(void *arg, const struct rpc_reply *reply)
{
    struct online *o = arg;
    bool of_old = o->restarted;
    o->asking = o->restarted = false;
    if (reply->err != 0 || of_old) {
        return; /* the tick asks again, from the cursor */
    }
    struct arena *arena = arena_new(reply->len * 4);
    Chat__OnlineList *page =
        pb_unpack(&chat__online_list__descriptor, arena, reply->body, reply->len);
    if (page != NULL) {
        pthread_rwlock_wrlock(&o->lock);
        for (size_t i = 0; i < page->n_users; i++) {
            merge(o, page->users[i]->user_id, page->users[i]->version, page->users[i]->online);
        }
        o->cursor = page->next_cursor;
        if (o->cursor == 0) {
            atomic_store(&o->complete, true);
            drop_gone(o);
        }
        pthread_rwlock_unlock(&o->lock);
        if (o->cursor != 0) {
            ask(o);
        } else {
            log_debug("online users known", "users=%zu", o->count);
        }
    }
    arena_free(arena);
}

static void ask(struct online *o)
{
    Chat__ListOnlineRequest input = CHAT__LIST_ONLINE_REQUEST__INIT;
    input.cursor = o->cursor;
    input.limit = PAGE;
    struct rpc_call call = {.topic = TOPIC_RPC_PRESENCE,
                            .method = "ListOnline",
                            .key = o->cursor,
                            .input = &input,
                            .timeout_ms = 2000};
    o->asking = rpc_call(o->gw->rpc, &call, on_page, o) == 0;
}

void online_start(struct online *o)
{
    if (!o->started) {
        o->started = true;
        ask(o);
    }
}

void online_restart(struct online *o)
{
    size_t cursor = 0;
    struct map_slot *s;
    pthread_rwlock_wrlock(&o->lock);
    while ((s = map_next(&o->users, &cursor)) != NULL) {
        s->value = (void *)((uintptr_t)s->value & ~(uintptr_t)NAMED);
    }
    atomic_store(&o->complete, false);
    o->cursor = 0;
    o->restarted = o->asking;
    pthread_rwlock_unlock(&o->lock);
}

void online_tick(struct online *o)
{
    if (o->started && !o->asking && !atomic_load(&o->complete)) {
        ask(o);
    }
}

/* ---- Pages ---- */

static int compare_ids(const void *a, const void *b)
{
    uint64_t x, y;
    __builtin_memcpy(&x, a, sizeof(x));
    __builtin_memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

/* With the lock of the sorted list held. */
static void sort_again(struct online *o)
{
    int64_t begun_us = clock_mono_us();
    size_t n = 0, cursor = 0;
    struct map_slot *s;
    free(o->sorted);
    pthread_rwlock_rdlock(&o->lock);
    o->sorted = malloc((o->count + 1) * sizeof(*o->sorted));
    assert(o->sorted != NULL);
    while ((s = map_next(&o->users, &cursor)) != NULL) {
        if (is_online(s->value)) {
            o->sorted[n++] = s->a;
        }
    }
    pthread_rwlock_unlock(&o->lock);
    qsort(o->sorted, n, sizeof(*o->sorted), compare_ids);
    o->sorted_n = n;
    o->sorted_us = begun_us;
    o->sorted_took_us = clock_mono_us() - begun_us;
}

/* With the same lock: few users are sorted for each page, of many the list is kept a while. */
static bool is_sorted(const struct online *o)
{
    int64_t age_us = clock_mono_us() - o->sorted_us;
    return o->sorted != NULL && age_us < SORTED_US && age_us < SORTED_TIMES * o->sorted_took_us;
}

size_t online_page(struct online *o, uint64_t after, uint64_t *ids_out, size_t n)
{
    pthread_mutex_lock(&o->sorted_lock);
    if (!is_sorted(o)) {
        sort_again(o);
    }
    size_t low = 0, high = o->sorted_n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (o->sorted[middle] > after) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    size_t count = o->sorted_n - low < n ? o->sorted_n - low : n;
    for (size_t i = 0; i < count; i++) {
        ids_out[i] = o->sorted[low + i];
    }
    pthread_mutex_unlock(&o->sorted_lock);
    return count;
}
