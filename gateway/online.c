// SPDX-License-Identifier: MIT
/*
 * A user's value in the map is version * 2 + online. While the snapshot is read, users who went
 * offline are kept too, so that an older page cannot bring them back; after it they are dropped:
 * events of one user come in order.
 */
#include "gateway/online.h"

#include "common/log.h"
#include "common/map.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "common/rpc.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define PAGE 5000

struct online {
    struct gateway *gw;
    pthread_rwlock_t lock;
    struct map users;
    size_t count; /* of those online */
    bool started, asking;
    atomic_bool complete;
    uint64_t cursor;
    struct metric *count_metric;
};

struct online *online_new(struct gateway *gw)
{
    struct online *o = calloc(1, sizeof(*o));
    assert(o != NULL);
    o->gw = gw;
    pthread_rwlock_init(&o->lock, NULL);
    map_init(&o->users);
    o->count_metric =
        metrics_gauge("chat_gateway_online_users", "Users online, as this gateway knows.", NULL);
    return o;
}

static bool is_online(const void *value)
{
    return ((uintptr_t)value & 1) != 0;
}

/* Never NULL. */
static void *value_of(uint64_t version, bool present)
{
    return (void *)(uintptr_t)((version > 0 ? version : 1) * 2 + (present ? 1 : 0));
}

/* With the lock held for writing. */
static bool merge(struct online *o, uint64_t id, uint64_t version, bool present)
{
    void *before = map_get(&o->users, id, 0);
    if (before != NULL && (uintptr_t)before >> 1 > version) {
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

static void drop_offline(struct online *o)
{
    uint64_t gone[256];
    size_t n;
    do {
        n = 0;
        size_t cursor = 0;
        struct map_slot *s;
        while (n < 256 && (s = map_next(&o->users, &cursor)) != NULL) {
            if (!is_online(s->value)) {
                gone[n++] = s->a;
            }
        }
        for (size_t i = 0; i < n; i++) {
            map_del(&o->users, gone[i], 0);
        }
    } while (n == 256);
}

static void ask(struct online *o);

static void on_page(void *arg, const struct rpc_reply *reply)
{
    struct online *o = arg;
    o->asking = false;
    if (reply->err != 0) {
        return; /* the tick asks again, from the same page */
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
            drop_offline(o);
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

void online_tick(struct online *o)
{
    if (o->started && !o->asking && !atomic_load(&o->complete)) {
        ask(o);
    }
}

/* ---- Pages ---- */

/* heap: a max-heap of the n smallest so far. */
static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) {
            return;
        }
        if (child + 1 < n && heap[child + 1] > heap[child]) {
            child++;
        }
        if (heap[i] >= heap[child]) {
            return;
        }
        uint64_t t = heap[i];
        heap[i] = heap[child];
        heap[child] = t;
        i = child;
    }
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x, y;
    __builtin_memcpy(&x, a, sizeof(x));
    __builtin_memcpy(&y, b, sizeof(y));
    return (x > y) - (x < y);
}

size_t online_page(struct online *o, uint64_t after, uint64_t *ids_out, size_t n)
{
    size_t count = 0, cursor = 0;
    struct map_slot *s;
    pthread_rwlock_rdlock(&o->lock);
    while ((s = map_next(&o->users, &cursor)) != NULL) {
        if (!is_online(s->value) || s->a <= after) {
            continue;
        }
        if (count < n) {
            ids_out[count++] = s->a;
            for (size_t i = count / 2; count == n && i-- > 0;) {
                sift_down(ids_out, n, i);
            }
        } else if (n > 0 && s->a < ids_out[0]) {
            ids_out[0] = s->a;
            sift_down(ids_out, n, 0);
        }
    }
    pthread_rwlock_unlock(&o->lock);
    qsort(ids_out, count, sizeof(*ids_out), compare_ids);
    return count;
}
