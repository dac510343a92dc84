// SPDX-License-Identifier: MIT
/*
 * Starting and ending sinks, waiting for what they should see, and checks on it.
 */
#pragma once

#include "tests/bus/bus_sink.h"

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
