// SPDX-License-Identifier: MIT
/*
 * The worlds of the in-process bus, their logs, and what those keep.
 *
 * A record may go when every group that is joined has committed it: at once when the partition
 * keeps more than its share and every reader is past it too, and when the whole world is full or
 * the topic's time is over even unread by a reader (who is then told of a gap). What a joined
 * group has not committed is never dropped; when nothing may go, the bus is full. It is full at
 * three quarters for what asks for work, so that what the work leads to always has room: who works
 * off commands publishes their events before they are committed. Compacted topics keep the last
 * record of each key as far as that goes.
 *
 * Everything but the section on worlds runs with the world's lock held, on any thread.
 */
#include "common/bus_local_group.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/random.h"

#include <stdlib.h>
#include <string.h>

#define RING_FIRST 64
#define COMPACT_FIRST 1024

static pthread_mutex_t worlds_lock = PTHREAD_MUTEX_INITIALIZER;
static struct local_world *worlds; /* guarded by worlds_lock */

void local_topic_init(struct local_topic *topic, enum topic name, int32_t count)
{
    topic->topic = name;
    topic->count = count;
    topic->logs = bus_zalloc((size_t)count * sizeof(*topic->logs));
    for (int32_t p = 0; p < count; p++) {
        topic->logs[p].topic = name;
        topic->logs[p].partition = p;
        topic->logs[p].compact_at = COMPACT_FIRST;
    }
}

/* ---- The ring ---- */

static struct bus_record **slot(const struct local_log *log, size_t index)
{
    return &log->ring[(log->head + index) & (log->cap - 1)];
}

struct bus_record *local_log_at(const struct local_log *log, size_t index)
{
    return *slot(log, index);
}

size_t local_log_find(const struct local_log *log, int64_t offset)
{
    if (log->count == 0 || offset >= log->next) {
        return log->count;
    }
    int64_t base = local_log_at(log, 0)->offset;
    if (offset <= base) {
        return 0;
    }
    size_t high = log->count; /* without gaps the guess is right at once */
    size_t guess = (size_t)(offset - base);
    if (guess < high && local_log_at(log, guess)->offset == offset) {
        return guess;
    }
    size_t low = 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (local_log_at(log, middle)->offset < offset) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static void ring_resize(struct local_log *log, size_t cap)
{
    struct bus_record **ring = bus_zalloc(cap * sizeof(struct bus_record *));

    for (size_t i = 0; i < log->count; i++) {
        ring[i] = local_log_at(log, i);
    }
    free(log->ring);
    log->ring = ring;
    log->cap = cap;
    log->head = 0;
}

static void ring_push(struct local_log *log, struct bus_record *record)
{
    if (log->count == log->cap) {
        ring_resize(log, log->cap == 0 ? RING_FIRST : log->cap * 2);
    }
    *slot(log, log->count) = record;
    log->count++;
}

static void forget(struct local_world *world, struct local_log *log, struct bus_record *record)
{
    size_t size = bus_record_size(record);

    log->bytes -= size;
    world->bytes -= (int64_t)size;
    bus_record_release(record);
}

static void drop_head(struct local_world *world, struct local_log *log)
{
    struct bus_record *record = local_log_at(log, 0);

    log->head = (log->head + 1) & (log->cap - 1);
    log->count--;
    log->first = record->offset + 1;
    forget(world, log, record);
}

static void ring_shrink(struct local_log *log)
{
    if (log->cap > RING_FIRST && log->count < log->cap / 8) {
        ring_resize(log, log->cap / 4);
    }
}

void local_topic_done(struct local_world *world, struct local_topic *topic)
{
    for (int32_t p = 0; p < topic->count; p++) {
        struct local_log *log = &topic->logs[p];

        while (log->count > 0) {
            drop_head(world, log);
        }
        free(log->ring);
    }
    free(topic->logs);
    free(topic->instance);
}

/* ---- What may go ---- */

/* Everything before it is committed by all groups that are joined (INT64_MAX: none is). */
static int64_t committed_floor(const struct local_topic *topic, int32_t partition)
{
    int64_t floor = INT64_MAX;

    for (const struct local_share *s = topic->shares; s != NULL; s = s->next) {
        if (s->group != NULL && s->members > 0 && s->parts[partition].committed < floor) {
            floor = s->parts[partition].committed;
        }
    }
    return floor;
}

/* Everything before it has also been handed to all readers. 0 while nobody reads at all. */
static int64_t consumed_floor(const struct local_topic *topic, int32_t partition)
{
    int64_t floor = committed_floor(topic, partition);

    for (const struct local_share *s = topic->shares; s != NULL; s = s->next) {
        if (s->group == NULL && s->parts[partition].position < floor) {
            floor = s->parts[partition].position;
        }
    }
    return floor == INT64_MAX ? 0 : floor;
}

static bool head_is_before(const struct local_log *log, int64_t floor)
{
    return log->count > 0 && local_log_at(log, 0)->offset < floor;
}

static bool is_compacted(enum topic topic)
{
    return bus_topic_retention_ms(topic, 0) == 0;
}

static size_t keep_bytes(enum topic topic)
{
    return is_compacted(topic) || topic == TOPIC_EVENTS_SESSION ? LOCAL_KEEP_LONG_BYTES
                                                                : LOCAL_KEEP_BYTES;
}

/* Drops records before `floor` that a later one of the same key replaces. */
static void compact(struct local_world *world, struct local_log *log, int64_t floor)
{
    struct map newest;
    size_t kept = 0;

    map_init(&newest);
    for (size_t i = 0; i < log->count; i++) {
        struct bus_record *r = local_log_at(log, i);
        map_put(&newest, r->key.a, r->key.b, r);
    }
    for (size_t i = 0; i < log->count; i++) {
        struct bus_record *r = local_log_at(log, i);

        if (r->offset < floor && map_get(&newest, r->key.a, r->key.b) != r) {
            forget(world, log, r);
        } else {
            *slot(log, kept++) = r;
        }
    }
    map_done(&newest);
    log->count = kept;
    log->compact_at = kept * 2 > COMPACT_FIRST ? kept * 2 : COMPACT_FIRST;
    ring_shrink(log);
}

/* After an append: what everybody has read goes once it is more than the partition's share. */
static void trim(struct local_world *world, struct local_topic *topic, struct local_log *log)
{
    size_t keep = keep_bytes(log->topic);

    if (is_compacted(log->topic) && log->count >= log->compact_at) {
        compact(world, log, consumed_floor(topic, log->partition));
    }
    if (log->bytes <= keep + keep / 4) {
        return;
    }
    int64_t floor = consumed_floor(topic, log->partition);
    while (log->bytes > keep && head_is_before(log, floor)) {
        drop_head(world, log);
    }
    ring_shrink(log);
}

/* ---- Over all logs ---- */

/* Calls fn for every topic, the reply topics too. */
static void each_topic(struct local_world *world,
                       void (*fn)(struct local_world *world, struct local_topic *topic, void *arg),
                       void *arg)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (t != TOPIC_REPLY) {
            fn(world, &world->topics[t], arg);
        }
    }
    for (struct local_topic *r = world->replies; r != NULL; r = r->next) {
        fn(world, r, arg);
    }
}

struct largest {
    struct local_topic *topic;
    struct local_log *log;
};

static void find_largest(struct local_world *world, struct local_topic *topic, void *arg)
{
    struct largest *best = arg;

    (void)world;
    for (int32_t p = 0; p < topic->count; p++) {
        struct local_log *log = &topic->logs[p];

        if ((best->log == NULL || log->bytes > best->log->bytes) &&
            head_is_before(log, committed_floor(topic, p))) {
            *best = (struct largest){topic, log};
        }
    }
}

/* Makes room to a bit below the bound, so that it is not asked for each record: halves the largest
 * log that may lose something, so that a flood drops itself first. */
static void make_room(struct local_world *world, int64_t target)
{
    while (world->bytes > target) {
        struct largest best = {NULL, NULL};

        each_topic(world, find_largest, &best);
        if (best.log == NULL) {
            return;
        }
        size_t half = best.log->bytes / 2;
        int64_t floor = committed_floor(best.topic, best.log->partition);
        do {
            drop_head(world, best.log);
        } while (best.log->bytes > half && world->bytes > target &&
                 head_is_before(best.log, floor));
        ring_shrink(best.log);
    }
}

int64_t local_bytes_max(enum topic topic)
{
    switch (topic) {
    case TOPIC_RPC_AUTH:
    case TOPIC_RPC_GROUP:
    case TOPIC_RPC_PRESENCE:
    case TOPIC_RPC_MESSAGE:
    case TOPIC_COMMANDS:
    case TOPIC_PRESENCE:
    case TOPIC_SIGNALS:
        return LOCAL_BYTES_MAX / 4 * 3;
    default: /* events and replies */
        return LOCAL_BYTES_MAX;
    }
}

bool local_world_reserve(struct local_world *world, size_t bytes, int64_t max)
{
    int64_t more = (int64_t)bytes;

    if (world->bytes + more > max) {
        local_world_expire(world);
        make_room(world, max - max / 8 - more);
    }
    return world->bytes + more <= max;
}

static void expire_topic(struct local_world *world, struct local_topic *topic, void *arg)
{
    int64_t retention = bus_topic_retention_ms(topic->topic, world->session_retention_ms);
    int64_t now = *(const int64_t *)arg;

    if (retention == 0) {
        return;
    }
    for (int32_t p = 0; p < topic->count; p++) {
        struct local_log *log = &topic->logs[p];

        if (log->count == 0 || local_log_at(log, 0)->time_ms >= now - retention) {
            continue;
        }
        int64_t floor = committed_floor(topic, p);
        while (head_is_before(log, floor) && local_log_at(log, 0)->time_ms < now - retention) {
            drop_head(world, log);
        }
        ring_shrink(log);
    }
}

void local_world_expire(struct local_world *world)
{
    int64_t now = clock_now_ms();

    each_topic(world, expire_topic, &now);
}

int local_log_append(struct local_world *world, struct local_topic *topic,
                     struct bus_record *record)
{
    struct local_log *log = &topic->logs[record->partition];
    size_t size = bus_record_size(record);

    if (!local_world_reserve(world, size, local_bytes_max(topic->topic))) {
        return ERR_UNAVAILABLE;
    }
    record->offset = log->next++;
    log->bytes += size;
    world->bytes += (int64_t)size;
    ring_push(log, record);
    trim(world, topic, log);
    return 0;
}

/* ---- Worlds ---- */

static struct local_world *world_new(const char *prefix, int32_t partitions)
{
    struct local_world *world = bus_zalloc(sizeof(*world));
    pthread_condattr_t attr;

    pthread_mutex_init(&world->lock, NULL);
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&world->committed, &attr);
    pthread_condattr_destroy(&attr);
    world->prefix = bus_strdup(prefix);
    map_init(&world->replies_by_name);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (t != TOPIC_REPLY) {
            local_topic_init(&world->topics[t], (enum topic)t, partitions);
        }
    }
    return world;
}

/* Found or made; NULL when it has another number of partitions. */
struct local_world *local_world_get(const struct bus *bus, int32_t *partitions_out)
{
    pthread_mutex_lock(&worlds_lock);
    struct local_world *world = worlds;
    while (world != NULL && strcmp(world->prefix, bus->prefix) != 0) {
        world = world->next;
    }
    if (world == NULL) {
        world = world_new(bus->prefix, bus->partitions);
        world->next = worlds;
        worlds = world;
    }
    pthread_mutex_lock(&world->lock);
    if (world->session_retention_ms < bus->session_retention_ms) {
        world->session_retention_ms = bus->session_retention_ms;
    }
    pthread_mutex_unlock(&world->lock);
    pthread_mutex_unlock(&worlds_lock);
    *partitions_out = world->topics[0].count;
    return *partitions_out == bus->partitions ? world : NULL;
}

struct local_topic *local_reply_find(struct local_world *world, const char *instance)
{
    uint64_t a, b;

    map_hash_bytes(instance, strlen(instance), &a, &b);
    return map_get(&world->replies_by_name, a, b);
}

struct local_topic *local_reply_own(struct local_world *world, const char *instance)
{
    struct local_topic *topic = local_reply_find(world, instance);

    if (topic == NULL) {
        uint64_t a, b;

        topic = bus_zalloc(sizeof(*topic));
        local_topic_init(topic, TOPIC_REPLY, 1);
        topic->instance = bus_strdup(instance);
        topic->next = world->replies;
        world->replies = topic;
        map_hash_bytes(instance, strlen(instance), &a, &b);
        map_put(&world->replies_by_name, a, b, topic);
    }
    topic->owners++;
    return topic;
}

void local_reply_disown(struct local_world *world, struct local_topic *topic)
{
    uint64_t a, b;

    if (topic == NULL || --topic->owners > 0) {
        return;
    }
    struct local_topic **link = &world->replies;
    while (*link != topic) {
        link = &(*link)->next;
    }
    *link = topic->next;
    map_hash_bytes(topic->instance, strlen(topic->instance), &a, &b);
    map_del(&world->replies_by_name, a, b);
    local_topic_done(world, topic);
    free(topic);
}

uint64_t local_log_id(void)
{
    static uint64_t id; /* guarded by worlds_lock */

    pthread_mutex_lock(&worlds_lock);
    while (id == 0) {
        id = random_u64();
    }
    uint64_t copy = id;
    pthread_mutex_unlock(&worlds_lock);
    return copy;
}
