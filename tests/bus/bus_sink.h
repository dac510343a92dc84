// SPDX-License-Identifier: MIT
/*
 * A consumer for tests that notes all it is told: records, assignments, gaps, the end.
 */
#pragma once

#include "tests/bus/bus_fixture.h"

#define RECORDS_MAX 20000

struct got {
    enum topic topic;
    int32_t partition;
    int64_t offset, time_ms;
    struct bus_key key;
    uint64_t number; /* the value's first 8 bytes, or 0 */
    size_t len;
    bool tombstone;
    char traceparent[64], request_id[64];
};

struct sink {
    struct bus_consumer *consumer;
    struct got *got;
    size_t n;
    int assigned, revoked, lost, caught_up, gaps, turns;
    size_t n_at_caught_up;
    bool owned[TOPIC_COUNT][PARTITIONS]; /* between on_assign and on_revoke */
    bool held[TOPIC_COUNT][PARTITIONS];  /* between on_revoke and the release */
    bool hold;                           /* do not release by itself */
    bool commit;                         /* commit each record */
    bool pause_at_once;                  /* pause in the first record */
    bool left;
    void (*on_record)(struct sink *sink, struct bus_record *record);
};

static inline void sink_record(void *arg, struct bus_record *record)
{
    struct sink *s = arg;

    if (!CHECK(s->n < RECORDS_MAX)) {
        return;
    }
    struct got *g = &s->got[s->n++];
    *g = (struct got){
        .topic = record->topic,
        .partition = record->partition,
        .offset = record->offset,
        .time_ms = record->time_ms,
        .key = record->key,
        .len = record->len,
        .tombstone = record->value == NULL,
    };
    if (record->len >= sizeof(g->number)) {
        memcpy(&g->number, record->value, sizeof(g->number));
    }
    snprintf(g->traceparent, sizeof(g->traceparent), "%s", record->traceparent);
    snprintf(g->request_id, sizeof(g->request_id), "%s", record->request_id);
    if (s->pause_at_once) {
        s->pause_at_once = false;
        bus_consumer_pause(s->consumer);
    }
    if (s->commit) {
        bus_consumer_commit(s->consumer, record->topic, record->partition, record->offset + 1);
    }
    if (s->on_record != NULL) {
        s->on_record(s, record);
    }
}

static inline void sink_turn(void *arg)
{
    ((struct sink *)arg)->turns++;
}

static inline void sink_assign(void *arg, enum topic topic, int32_t partition)
{
    struct sink *s = arg;

    s->assigned++;
    CHECK(!s->owned[topic][partition]);
    s->owned[topic][partition] = true;
}

static inline void sink_revoke(void *arg, enum topic topic, int32_t partition, bool lost)
{
    struct sink *s = arg;

    s->revoked++;
    s->lost += lost ? 1 : 0;
    CHECK(s->owned[topic][partition]);
    s->owned[topic][partition] = false;
    if (s->hold) {
        s->held[topic][partition] = true;
    } else {
        bus_consumer_release(s->consumer, topic, partition);
    }
}

static inline void sink_caught_up(void *arg)
{
    struct sink *s = arg;

    s->caught_up++;
    s->n_at_caught_up = s->n;
}

static inline void sink_gap(void *arg, enum topic topic, int32_t partition)
{
    (void)topic;
    (void)partition;
    ((struct sink *)arg)->gaps++;
}

static const struct bus_consumer_ops sink_ops = {
    .on_record = sink_record,
    .on_turn = sink_turn,
    .on_assign = sink_assign,
    .on_revoke = sink_revoke,
    .on_caught_up = sink_caught_up,
    .on_gap = sink_gap,
};
