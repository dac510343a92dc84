// SPDX-License-Identifier: MIT
/*
 * Publishers of the in-process bus: outboxes. All records of a call are appended at once, and the
 * call returns when every group of their topics has committed them: the log dies with the process,
 * so only then may the outbox forget them. One publisher of a name is alive at a time.
 *
 * Called on the publisher's own thread, which waits on the world's condition.
 */
#include "common/bus_local_group.h"

#include "common/err.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct local_bus *local(const struct bus *bus)
{
    return (struct local_bus *)bus;
}

struct local_txn {
    struct bus_txn base;
    struct local_fence *fence; /* lives as long as the world */
    uint64_t epoch;
};

int local_txn_open(struct bus *base, const char *name, struct bus_txn **txn_out)
{
    struct local_bus *bus = local(base);
    struct local_txn *txn = bus_zalloc(sizeof(*txn));

    txn->base = (struct bus_txn){.impl = base->impl, .bus = base, .name = bus_strdup(name)};
    local_lock(bus);
    struct local_fence *fence = bus->world->fences;
    while (fence != NULL && strcmp(fence->name, name) != 0) {
        fence = fence->next;
    }
    if (fence == NULL) {
        fence = bus_zalloc(sizeof(*fence));
        fence->name = bus_strdup(name);
        fence->next = bus->world->fences;
        bus->world->fences = fence;
    }
    txn->fence = fence;
    txn->epoch = ++fence->epoch;
    pthread_cond_broadcast(&bus->world->committed); /* the one before may be waiting */
    local_unlock(bus, &(struct local_wakes){.n = 0});
    *txn_out = &txn->base;
    return 0;
}

void local_txn_close(struct bus_txn *txn)
{
    free(txn->name);
    free(txn);
}

struct published {
    struct local_topic *topic;
    int32_t partition;
    int64_t next;
};

/* 1: every group that ever joined the topic has it; 0: not yet; ERR_UNAVAILABLE: one has no member
 * now, so that its share would be lost with the process. */
static int published_state(const struct published *p)
{
    int state = 1;

    for (const struct local_share *s = p->topic->shares; s != NULL; s = s->next) {
        if (s->group == NULL) {
            continue;
        }
        if (s->members == 0) {
            return ERR_UNAVAILABLE;
        }
        if (s->parts[p->partition].committed < p->next) {
            state = 0;
        }
    }
    return state;
}

static int published_wait(struct local_txn *txn, const struct published *list, size_t n)
{
    struct local_world *world = local(txn->base.bus)->world;
    struct timespec deadline;
    size_t done = 0;
    int state = 1;

    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += BUS_WAIT_MS / 1000;
    world->waiting++;
    while (done < n) {
        state = txn->fence->epoch != txn->epoch ? ERR_FENCED : published_state(&list[done]);
        if (state < 0) {
            break;
        }
        if (state == 1) {
            done++;
        } else if (pthread_cond_timedwait(&world->committed, &world->lock, &deadline) != 0) {
            state = ERR_UNAVAILABLE;
            break;
        }
    }
    world->waiting--;
    return state < 0 ? state : 0;
}

/* With the lock held: all or none. */
static int publish_locked(struct local_txn *txn, struct bus_record **records,
                          struct published *list, size_t n, struct local_wakes *wakes)
{
    struct local_bus *bus = local(txn->base.bus);
    int64_t max = LOCAL_BYTES_MAX;
    size_t bytes = 0;

    if (txn->fence->epoch != txn->epoch) {
        return ERR_FENCED;
    }
    for (size_t i = 0; i < n; i++) {
        list[i].topic = &bus->world->topics[records[i]->topic];
        list[i].partition = records[i]->partition;
        bytes += bus_record_size(records[i]);
        if (local_bytes_max(records[i]->topic) < max) {
            max = local_bytes_max(records[i]->topic);
        }
        if (published_state(&list[i]) < 0) {
            return ERR_UNAVAILABLE;
        }
    }
    if (bus->closed || !local_world_reserve(bus->world, bytes, max)) {
        return ERR_UNAVAILABLE;
    }
    for (size_t i = 0; i < n; i++) {
        if (local_log_append(bus->world, list[i].topic, bus_record_keep(records[i])) != 0) {
            abort(); /* the room was reserved */
        }
        list[i].next = records[i]->offset + 1;
        local_notify(list[i].topic, list[i].partition, wakes);
    }
    return 0;
}

int local_txn_publish(struct bus_txn *base, const struct bus_message *messages, size_t n)
{
    struct local_txn *txn = (struct local_txn *)base;
    struct local_bus *bus = local(base->bus);
    struct bus_record **records = bus_zalloc(n * sizeof(struct bus_record *));
    struct published *list = bus_zalloc(n * sizeof(*list));
    struct local_wakes wakes = {.n = 0};

    for (size_t i = 0; i < n; i++) {
        int32_t partition = messages[i].partition;
        if (partition < 0) {
            partition = bus_partition_of(base->bus, messages[i].topic, messages[i].key);
        }
        records[i] = bus_record_of(&messages[i], partition);
    }
    local_lock(bus);
    int err = publish_locked(txn, records, list, n, &wakes);
    local_unlock(bus, &wakes);
    if (err == 0) {
        local_lock(bus);
        err = published_wait(txn, list, n);
        local_unlock(bus, &(struct local_wakes){.n = 0});
    }
    for (size_t i = 0; i < n; i++) {
        bus_record_release(records[i]);
    }
    free(records);
    free(list);
    return err;
}
