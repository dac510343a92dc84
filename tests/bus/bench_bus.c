// SPDX-License-Identifier: MIT
/*
 * What a hop through the bus costs: round trips one at a time (question and answer, as an RPC), and
 * records a second from one thread to a reader on another loop, with the CPU time of the process.
 *
 *   BUS=local|kafka build/tests/bus/bench_bus [round trips] [records]
 */
#include "common/bus.h"
#include "common/clock.h"
#include "common/metrics.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define VALUE_LEN 220 /* bytes of a usual record */

static char prefix[64];
static char value[VALUE_LEN];
static int trips, records;

struct side {
    uv_loop_t loop;
    struct bus *bus;
    struct bus_consumer *consumer;
    pthread_t thread;
    uv_async_t stop;
    bool ready;
};

static atomic_int received;
static struct metric *trip_us;
static int64_t sent_us;
static int trips_done;
static struct side asker, answerer;

static void die(const char *what)
{
    printf("%s\n", what);
    exit(EXIT_FAILURE);
}

/* False when the queue is full. */
static bool send_one(struct bus *bus, enum topic topic, uint64_t key)
{
    struct bus_message m = {
        .topic = topic,
        .key = {key, 0},
        .partition = -1,
        .value = value,
        .len = sizeof(value),
        .traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        .request_id = "01J00000000000000000000000",
        .reply_to = "bench-asker",
    };

    return bus_send(bus, &m, NULL, NULL) == 0;
}

static int64_t cpu_us(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L + usage.ru_utime.tv_usec +
           usage.ru_stime.tv_usec;
}

static void open_side(struct side *s, const char *instance)
{
    const char *which = getenv("BUS");
    bool kafka = which != NULL && strcmp(which, "kafka") == 0;
    struct bus_options options = {
        .bootstrap = kafka ? getenv("KAFKA_BOOTSTRAP_SERVERS") : NULL,
        .prefix = prefix,
        .instance = instance,
        .partitions = 12,
        .replication = 1,
        .reply_topic = true,
    };
    char problem[512];

    uv_loop_init(&s->loop);
    if (bus_open(&s->loop, &options, &s->bus, problem, sizeof(problem)) != 0) {
        die(problem);
    }
}

/* ---- The answering side, on a thread of its own ---- */

static void answer(void *arg, struct bus_record *record)
{
    struct side *s = arg;

    if (record->topic == TOPIC_RPC_AUTH) {
        if (!send_one(s->bus, TOPIC_REPLY, 0)) {
            die("no room for a reply");
        }
    } else {
        atomic_fetch_add_explicit(&received, 1, memory_order_relaxed);
    }
}

static void answerer_ready(void *arg)
{
    ((struct side *)arg)->ready = true;
}

static const struct bus_consumer_ops answer_ops = {.on_record = answer,
                                                   .on_caught_up = answerer_ready};

static void answerer_left(void *arg)
{
    (void)arg;
    bus_close(answerer.bus, 1000, NULL, NULL);
}

static void on_stop(uv_async_t *async)
{
    uv_close((uv_handle_t *)async, NULL);
    bus_consumer_leave(answerer.consumer, answerer_left, NULL);
}

static void *answerer_run(void *arg)
{
    (void)arg;
    uv_run(&answerer.loop, UV_RUN_DEFAULT);
    return NULL;
}

static void answerer_start(void)
{
    const enum topic topics[] = {TOPIC_RPC_AUTH, TOPIC_EVENTS_MESSAGE};

    open_side(&answerer, "bench-answerer");
    uv_async_init(&answerer.loop, &answerer.stop, on_stop);
    if (bus_read(answerer.bus, topics, 2, BUS_FROM_END, &answer_ops, &answerer,
                 &answerer.consumer) != 0) {
        die("no reader");
    }
    while (!answerer.ready) {
        uv_run(&answerer.loop, UV_RUN_ONCE);
    }
    pthread_create(&answerer.thread, NULL, answerer_run, NULL);
}

/* ---- The asking side ---- */

static void ask(void)
{
    sent_us = clock_mono_us();
    if (!send_one(asker.bus, TOPIC_RPC_AUTH, (uint64_t)trips_done)) {
        die("no room for a question");
    }
}

static void on_reply(void *arg, struct bus_record *record)
{
    (void)arg;
    (void)record;
    int64_t us = clock_mono_us() - sent_us;
    metric_observe(trip_us, us);
    if (++trips_done < trips) {
        ask();
    }
}

static const struct bus_consumer_ops ask_ops = {.on_record = on_reply};

static void bench_trips(void)
{
    int64_t start = clock_mono_us(), cpu = cpu_us();

    ask();
    while (trips_done < trips) {
        uv_run(&asker.loop, UV_RUN_ONCE);
    }
    int64_t took = clock_mono_us() - start;
    printf("%d round trips (two hops each): mean %" PRId64 " us, p50 %" PRId64 ", p99 %" PRId64
           ", p99.9 %" PRId64 ", max %" PRId64 " us; CPU %.1f us each\n",
           trips, took / trips, metric_quantile(trip_us, 0.5), metric_quantile(trip_us, 0.99),
           metric_quantile(trip_us, 0.999), metric_quantile(trip_us, 1.0),
           (double)(cpu_us() - cpu) / trips);
}

static void bench_flow(void)
{
    int64_t start = clock_mono_us(), cpu = cpu_us();

    for (int i = 0; i < records; i++) {
        while (!send_one(asker.bus, TOPIC_EVENTS_MESSAGE, (uint64_t)i)) {
            uv_run(&asker.loop, UV_RUN_NOWAIT); /* takes the acknowledgements in */
        }
        if (i % 1000 == 0) {
            uv_run(&asker.loop, UV_RUN_NOWAIT);
        }
    }
    while (atomic_load(&received) < records) {
        uv_run(&asker.loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    int64_t took = clock_mono_us() - start;
    printf("%d records of %d bytes to one reader: %.0f a second, CPU %.2f us each\n", records,
           VALUE_LEN, records * 1e6 / (double)took, (double)(cpu_us() - cpu) / records);
}

static void asker_left(void *arg)
{
    (void)arg;
    bus_close(asker.bus, 1000, NULL, NULL);
}

int main(int argc, char **argv)
{
    enum topic topic = TOPIC_REPLY;

    trips = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 5000;
    records = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 500000;
    snprintf(prefix, sizeof(prefix), "b%d-%" PRId64 ".", (int)getpid(), clock_now_ms());
    trip_us = metrics_histogram_us("bench_round_trip_seconds", "Round trips", NULL);
    open_side(&asker, "bench-asker");
    answerer_start();
    if (bus_read(asker.bus, &topic, 1, BUS_FROM_END, &ask_ops, NULL, &asker.consumer) != 0) {
        die("no reader");
    }
    bench_trips();
    bench_flow();
    uv_async_send(&answerer.stop);
    pthread_join(answerer.thread, NULL);
    bus_consumer_leave(asker.consumer, asker_left, NULL);
    uv_run(&asker.loop, UV_RUN_DEFAULT);
    return 0;
}
