// SPDX-License-Identifier: MIT
/*
 * What the tests of the bus share: one loop, buses on it, and a sink that notes all it is told.
 *
 * BUS=local (the default) or BUS=kafka with KAFKA_BOOTSTRAP_SERVERS chooses the implementation.
 * Each test has topics of its own: the prefix holds the process, the time and a number.
 */
#pragma once

#include "common/bus.h"
#include "common/err.h"
#include "tests/unit/test.h"

#include <unistd.h>
#include <uv.h>

#define PARTITIONS 4
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

static uv_loop_t loop;
static char prefix[64];

static inline bool is_kafka(void)
{
    const char *which = getenv("BUS");
    return which != NULL && strcmp(which, "kafka") == 0;
}

/* ---- The loop ---- */

static inline void on_nothing(uv_timer_t *timer)
{
    (void)timer;
}

static inline bool run_until(bool (*done)(void *arg), void *arg, int timeout_ms)
{
    uv_timer_t tick;
    int64_t end = clock_mono_ms() + timeout_ms;

    uv_timer_init(&loop, &tick);
    uv_timer_start(&tick, on_nothing, 5, 5);
    bool ok = done(arg);
    while (!ok && clock_mono_ms() < end) {
        uv_run(&loop, UV_RUN_ONCE);
        ok = done(arg);
    }
    uv_close((uv_handle_t *)&tick, NULL);
    while (uv_is_active((uv_handle_t *)&tick)) {
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    uv_run(&loop, UV_RUN_NOWAIT);
    return ok;
}

static inline bool never(void *arg)
{
    (void)arg;
    return false;
}

static inline void run_for(int ms)
{
    run_until(never, NULL, ms);
}

static inline bool is_set(void *arg)
{
    return *(bool *)arg;
}

/* ---- Buses ---- */

static inline void begin(void)
{
    static int number;

    if (is_kafka() && getenv("KAFKA_BOOTSTRAP_SERVERS") == NULL) {
        printf("BUS=kafka needs KAFKA_BOOTSTRAP_SERVERS\n");
        exit(EXIT_FAILURE);
    }
    snprintf(prefix, sizeof(prefix), "t%d-%" PRId64 "-%d.", (int)getpid(), clock_now_ms(),
             number++);
    uv_loop_init(&loop);
}

static inline void end(void)
{
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&loop), 0);
}

static inline struct bus_options options_of(const char *instance)
{
    return (struct bus_options){
        .bootstrap = is_kafka() ? getenv("KAFKA_BOOTSTRAP_SERVERS") : NULL,
        .prefix = prefix,
        .instance = instance,
        .partitions = PARTITIONS,
        .replication = 1,
        .session_retention_ms = 3600 * 1000,
        .reply_topic = true,
    };
}

static inline struct bus *open_on(uv_loop_t *on, const char *instance)
{
    struct bus_options options = options_of(instance);
    char problem[512] = "";
    struct bus *bus = NULL;

    if (!CHECK_INT(bus_open(on, &options, &bus, problem, sizeof(problem)), 0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return bus;
}

static inline struct bus *open_bus(const char *instance)
{
    return open_on(&loop, instance);
}

static inline void set_true(void *arg)
{
    *(bool *)arg = true;
}

static inline void close_bus(struct bus *bus)
{
    bool closed = false;

    bus_close(bus, 5000, set_true, &closed);
    CHECK(run_until(is_set, &closed, 10000));
}

static inline int send_number(struct bus *bus, enum topic topic, struct bus_key key,
                              uint64_t number)
{
    struct bus_message m = {
        .topic = topic, .key = key, .partition = -1, .value = &number, .len = sizeof(number)};

    return bus_send(bus, &m, NULL, NULL);
}

/* ---- Sinks ---- */

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

static inline void sink_init(struct sink *s)
{
    *s = (struct sink){.got = calloc(RECORDS_MAX, sizeof(struct got))};
}

static inline void sink_join(struct sink *s, struct bus *bus, const char *group, enum topic topic)
{
    sink_init(s);
    if (!CHECK_INT(bus_join(bus, group, &topic, 1, &sink_ops, s, &s->consumer), 0)) {
        exit(EXIT_FAILURE);
    }
}

static inline void sink_read(struct sink *s, struct bus *bus, enum topic topic, enum bus_from from)
{
    sink_init(s);
    if (!CHECK_INT(bus_read(bus, &topic, 1, from, &sink_ops, s, &s->consumer), 0)) {
        exit(EXIT_FAILURE);
    }
}

static inline void sink_done(struct sink *s)
{
    free(s->got);
    s->got = NULL;
}

static inline void sink_leave(struct sink *s)
{
    bus_consumer_leave(s->consumer, set_true, &s->left);
    CHECK(run_until(is_set, &s->left, 10000));
    sink_done(s);
}

static inline int owned_count(const struct sink *s, enum topic topic)
{
    int n = 0;

    for (int p = 0; p < PARTITIONS; p++) {
        n += s->owned[topic][p] ? 1 : 0;
    }
    return n;
}

struct wait_n {
    const struct sink *sink;
    size_t n;
};

static inline bool has_n(void *arg)
{
    const struct wait_n *w = arg;

    return w->sink->n >= w->n;
}

static inline bool wait_records(const struct sink *s, size_t n)
{
    bool ok = run_until(has_n, &(struct wait_n){s, n}, 15000);

    return CHECK_INT(s->n, n) && ok;
}

static inline bool is_caught_up(void *arg)
{
    return ((const struct sink *)arg)->caught_up > 0;
}

static inline bool has_some(void *arg)
{
    return owned_count(arg, TOPIC_COMMANDS) > 0;
}

static inline bool has_all(void *arg)
{
    return owned_count(arg, TOPIC_COMMANDS) == PARTITIONS;
}

/* Offsets and numbers rise within each partition. */
static inline void check_order(const struct sink *s)
{
    int64_t offsets[PARTITIONS] = {-1, -1, -1, -1};
    uint64_t numbers[PARTITIONS] = {0};

    for (size_t i = 0; i < s->n; i++) {
        const struct got *g = &s->got[i];

        if (!CHECK(g->offset > offsets[g->partition]) ||
            !CHECK(g->number >= numbers[g->partition])) {
            return;
        }
        offsets[g->partition] = g->offset;
        numbers[g->partition] = g->number;
    }
}
