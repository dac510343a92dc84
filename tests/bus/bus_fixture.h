// SPDX-License-Identifier: MIT
/*
 * What the tests of the bus share: one loop and buses on it.
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
