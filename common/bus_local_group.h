// SPDX-License-Identifier: MIT
/*
 * Consumers of the in-process bus, inside: groups, members, readers, and what is told to them. A
 * reader is a share of its own whose partitions it always holds.
 */
#pragma once

#include "common/bus_local.h"

/*
 * Who has a partition of a share:
 *   FREE -> GIVEN (its owner does not know yet) -> HELD (on_assign was called; records flow)
 *   -> TAKEN (wanted back; its owner does not know yet) -> TOLD (on_revoke was called) -> FREE
 */
enum local_state { PART_FREE, PART_GIVEN, PART_HELD, PART_TAKEN, PART_TOLD };

struct local_part {
    enum local_state state;
    struct local_consumer *owner, *target; /* target: who should have it */
    int64_t position;                      /* next offset to hand over */
    int64_t committed;                     /* a reader: where it is caught up */
};

/* One topic's partitions within a group, or those of one reader. */
struct local_share {
    struct local_group *group; /* NULL: a reader's */
    struct local_topic *topic;
    struct local_share *next; /* of the topic */
    size_t members;           /* of the group that want this topic */
    struct local_part parts[];
};

struct local_group {
    char *name;
    struct local_share *shares[TOPIC_COUNT];
    struct local_consumer *members; /* in order of joining */
    struct local_group *next;
};

struct local_consumer {
    struct bus_consumer base;
    struct local_bus *bus;
    struct local_group *group; /* NULL: a reader */
    struct local_consumer *next_in_bus, *next_in_group;
    /* guarded by the world's lock: */
    struct local_share *shares[TOPIC_COUNT];
    bool ready;   /* records may be there */
    bool control; /* assignments or revocations are to be told */
    bool paused;
    int64_t last_ms; /* when it was last handed a record */
    /* of the loop: */
    size_t cursor; /* the partition to begin with */
    bool caught_up, leaving;
    void (*done)(void *arg);
    void *done_arg;
};

/* One thing to tell a consumer, in order. */
struct local_item {
    enum { ITEM_RECORD, ITEM_ASSIGN, ITEM_REVOKE, ITEM_GAP } kind;
    enum topic topic;
    int32_t partition;
    struct bus_record *record; /* ITEM_RECORD: with a reference */
};

/* ---- bus_local_group.c; all with the lock held ---- */

void local_group_join(struct local_consumer *c, const char *name, struct local_wakes *wakes);
void local_reader_start(struct local_consumer *c, enum bus_from from);
/* No longer a target; what it holds is wanted back. force: also without its release. */
void local_consumer_detach(struct local_consumer *c, bool force, struct local_wakes *wakes);
bool local_consumer_holds(const struct local_consumer *c); /* some partition is still with it */
void local_reader_stop(struct local_consumer *c);
/* The owner gives a partition back. */
void local_part_release(struct local_consumer *c, struct local_share *share, int32_t partition,
                        struct local_wakes *wakes);
/* Wakes whoever reads this partition. */
void local_notify(struct local_topic *topic, int32_t partition, struct local_wakes *wakes);
/* What is to be told and handed over next, at most max items; *more_out: there is more. */
size_t local_collect(struct local_consumer *c, struct local_item *items, size_t max,
                     bool *more_out);
bool local_reader_caught_up(const struct local_consumer *c);
int64_t local_lag(const struct local_consumer *c, int64_t *oldest_ms_out);
