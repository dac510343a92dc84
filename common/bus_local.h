// SPDX-License-Identifier: MIT
/*
 * The in-process bus, inside: one world per topic prefix, shared by all buses of the process, with
 * one lock. bus_local.c has the buses (loops, wake-ups, sending), bus_local_log.c the logs and
 * what they keep, bus_local_group.c who reads what.
 *
 * A sender appends under the lock and wakes each bus that has a consumer of that partition, once
 * per burst; the bus then takes up to BUS_BATCH_MAX references under one lock and hands them over
 * without it. Records are immutable once they are in a log.
 */
#pragma once

#include "common/bus_impl.h"
#include "common/map.h"

#include <pthread.h>

#define LOCAL_BYTES_MAX (64L * 1024 * 1024) /* of all records of a world */
#define LOCAL_ACKS_MAX 100000               /* acknowledgements waiting for one loop */
/* What a partition keeps after everybody has read it, for those who come later. */
#define LOCAL_KEEP_BYTES (64L * 1024)
#define LOCAL_KEEP_LONG_BYTES (1024L * 1024) /* compacted topics and ended sessions */

struct local_bus;
struct local_consumer;

/* One partition. Entries are sorted by offset; compaction leaves gaps between offsets. */
struct local_log {
    enum topic topic;
    int32_t partition;
    struct bus_record **ring; /* cap is a power of two, or 0 */
    size_t cap, head, count;
    int64_t first, next; /* records before `first` are lost to who has not read them */
    size_t bytes;
    size_t compact_at; /* compacted topics: the count at which to look for superseded records */
};

struct local_topic {
    enum topic topic;
    int32_t count;
    struct local_log *logs;
    struct local_share *shares;
    char *instance; /* TOPIC_REPLY: whose, and how many buses own it */
    int owners;
    struct local_topic *next; /* of the replies */
};

struct local_fence { /* the newest publisher of a name */
    char *name;
    uint64_t epoch;
    struct local_fence *next;
};

struct local_world {
    pthread_mutex_t lock;
    pthread_cond_t committed; /* a group committed, or left */
    int waiting;              /* publishers that wait for it */
    char *prefix;
    struct local_topic topics[TOPIC_COUNT]; /* but TOPIC_REPLY */
    struct local_topic *replies;
    struct map replies_by_name;
    struct local_group *groups;
    struct local_fence *fences;
    int64_t bytes;                /* of all records, at most local_bytes_max */
    int64_t session_retention_ms; /* the longest that a bus wants; 0: none did */
    struct local_world *next;
};

struct local_ack {
    bus_ack_fn fn;
    void *arg;
};

struct local_acks {
    struct local_ack *list;
    size_t n, cap;
};

struct local_bus {
    struct bus base;
    struct local_world *world;
    struct local_topic *reply; /* the own one, or NULL */
    uv_async_t wake;
    uv_timer_t tick;
    atomic_int signalers; /* threads that are about to call uv_async_send */
    /* guarded by the world's lock: */
    bool signalled, closed;
    struct local_acks acks, spare;
    /* of the loop: */
    struct local_consumer *consumers;
    bool closing;
    int open_handles;
    void (*done)(void *arg);
    void *done_arg;
};

/* The buses to wake once the lock is given back. */
struct local_wakes {
    struct local_bus *buses[16];
    size_t n;
};

/* ---- bus_local.c ---- */

void local_lock(struct local_bus *bus);                              /* of its world */
void local_unlock(struct local_bus *bus, struct local_wakes *wakes); /* and wakes them */
/* With the lock held: notes the bus. */
void local_wake(struct local_wakes *wakes, struct local_bus *bus);

/* ---- bus_local_txn.c: rows of the table behind bus.h ---- */

int local_txn_open(struct bus *bus, const char *name, struct bus_txn **txn_out);
int local_txn_publish(struct bus_txn *txn, const struct bus_message *messages, size_t n);
void local_txn_close(struct bus_txn *txn);

/* ---- bus_local_log.c ---- */

uint64_t local_log_id(void); /* random, one per process */
/* Found or made; NULL when it has another number of partitions than the bus. */
struct local_world *local_world_get(const struct bus *bus, int32_t *partitions_out);

/* From here on all with the lock held. Reply topics: NULL when nobody owns it; made if missing;
 * gone with its last owner (takes NULL). */
struct local_topic *local_reply_find(struct local_world *world, const char *instance);
struct local_topic *local_reply_own(struct local_world *world, const char *instance);
void local_reply_disown(struct local_world *world, struct local_topic *topic);

void local_topic_init(struct local_topic *topic, enum topic name, int32_t count);
void local_topic_done(struct local_world *world, struct local_topic *topic);
/* Takes the reference over, gives the record its offset. ERR_UNAVAILABLE: no room (the reference
 * stays with the caller). */
int local_log_append(struct local_world *world, struct local_topic *topic,
                     struct bus_record *record);
/* Up to where records of a topic may fill their world. */
int64_t local_bytes_max(enum topic topic);
/* Room for so many bytes more below `max`, making it if need be. */
bool local_world_reserve(struct local_world *world, size_t bytes, int64_t max);
/* The index of the first entry at or after an offset; count when there is none. */
size_t local_log_find(const struct local_log *log, int64_t offset);
struct bus_record *local_log_at(const struct local_log *log, size_t index);
/* Drops what its topic keeps no longer by age. */
void local_world_expire(struct local_world *world);
