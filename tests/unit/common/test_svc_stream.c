// SPDX-License-Identifier: MIT
/*
 * A stream on a bus that the test plays: what becomes of units whose sends are refused or lost,
 * and of partitions that are taken away meanwhile. The main thread is the loop.
 */
#include "common/svc_stream.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/svc_impl.h"
#include "tests/unit/test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define SENDS_MAX 32

static uv_loop_t loop;
static const struct bus_consumer_ops *ops;
static void *ops_arg;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sent {
    uint64_t number;
    bus_ack_fn ack;
    void *arg;
} sends[SENDS_MAX];
static atomic_int sent, acked, refuse_from, runs, released;
static atomic_llong committed, run_ms, run_gap_ms;
static atomic_bool hold; /* run waits */

/* ---- The bus and the skeleton, as far as a stream sees them ---- */

int bus_send(struct bus *bus, const struct bus_message *message, bus_ack_fn ack, void *arg)
{
    int err = 0;
    (void)bus;
    pthread_mutex_lock(&lock);
    if (atomic_load(&sent) == atomic_load(&refuse_from) || !CHECK(atomic_load(&sent) < SENDS_MAX)) {
        atomic_store(&refuse_from, -1);
        err = ERR_UNAVAILABLE;
    } else {
        struct sent *s = &sends[atomic_load(&sent)];
        *s = (struct sent){.ack = ack, .arg = arg};
        memcpy(&s->number, message->value, sizeof(s->number));
        atomic_fetch_add(&sent, 1);
    }
    pthread_mutex_unlock(&lock);
    return err;
}

int bus_join(struct bus *bus, const char *group, const enum topic *topics, size_t n,
             const struct bus_consumer_ops *its_ops, void *arg, struct bus_consumer **consumer_out)
{
    static int consumer;
    (void)bus;
    (void)group;
    (void)topics;
    (void)n;
    ops = its_ops;
    ops_arg = arg;
    *consumer_out = (struct bus_consumer *)(void *)&consumer;
    return 0;
}

int32_t bus_partitions(const struct bus *bus, enum topic topic)
{
    (void)bus;
    (void)topic;
    return 2;
}

void bus_consumer_commit(struct bus_consumer *consumer, enum topic topic, int32_t partition,
                         int64_t next)
{
    (void)consumer;
    (void)topic;
    (void)partition;
    atomic_store(&committed, next);
}

void bus_consumer_release(struct bus_consumer *consumer, enum topic topic, int32_t partition)
{
    (void)consumer;
    (void)topic;
    (void)partition;
    atomic_fetch_add(&released, 1);
}

void bus_consumer_pause(struct bus_consumer *consumer)
{
    (void)consumer;
}

void bus_consumer_resume(struct bus_consumer *consumer)
{
    (void)consumer;
}

void bus_consumer_leave(struct bus_consumer *consumer, void (*done)(void *arg), void *arg)
{
    (void)consumer;
    done(arg);
}

int64_t bus_consumer_stalled_ms(const struct bus_consumer *consumer)
{
    (void)consumer;
    return 0;
}

struct bus_record *bus_record_keep(struct bus_record *record)
{
    return record;
}

void bus_record_release(struct bus_record *record)
{
    (void)record;
}

static int run(struct svc_batch *batch, struct bus_record *const *records, size_t n)
{
    int err = 0;
    int64_t now = clock_mono_ms();
    atomic_store(&run_gap_ms, now - atomic_exchange(&run_ms, now));
    atomic_fetch_add(&runs, 1);
    while (atomic_load(&hold)) {
        usleep(1000);
    }
    for (size_t i = 0; i < n && err == 0; i++) {
        err = svc_batch_send(batch, &(struct bus_message){.topic = TOPIC_EVENTS_MESSAGE,
                                                          .value = records[i]->value,
                                                          .len = records[i]->len});
    }
    return err;
}

static const struct svc_stream row = {.topic = TOPIC_COMMANDS, .group = "test", .run = run};
static const struct svc table = {.name = "test"};

const struct svc *svc_table(const struct svc_ctx *ctx)
{
    (void)ctx;
    return &table;
}

struct bus *svc_bus(const struct svc_ctx *ctx)
{
    (void)ctx;
    return NULL;
}

uv_loop_t *svc_loop(const struct svc_ctx *ctx)
{
    (void)ctx;
    return &loop;
}

/* ---- Play ---- */

static bool wait_for(atomic_int *what, int value)
{
    for (int i = 0; i < 3000 && atomic_load(what) < value; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
    return CHECK_INT(atomic_load(what), value);
}

static void settle(void)
{
    for (int i = 0; i < 200; i++) {
        uv_run(&loop, UV_RUN_NOWAIT);
        usleep(1000);
    }
}

static void give_up(int i)
{
    sends[i].ack(sends[i].arg, ERR_UNAVAILABLE);
    atomic_fetch_add(&acked, 1);
}

static void ack_to(int end)
{
    for (int i = atomic_load(&acked); i < end; i++) {
        sends[i].ack(sends[i].arg, 0);
    }
    atomic_store(&acked, end);
}

static void receive(uint64_t number)
{
    static uint64_t numbers[8];
    static struct bus_record records[8];
    numbers[number] = number;
    records[number] = (struct bus_record){.topic = TOPIC_COMMANDS,
                                          .offset = (int64_t)number,
                                          .value = (const uint8_t *)&numbers[number],
                                          .len = sizeof(numbers[number])};
    ops->on_record(ops_arg, &records[number]);
}

static struct stream *begin(void)
{
    struct stream *s = NULL;
    atomic_store(&sent, 0);
    atomic_store(&acked, 0);
    atomic_store(&runs, 0);
    atomic_store(&released, 0);
    atomic_store(&committed, 0);
    atomic_store(&refuse_from, -1);
    atomic_store(&hold, false);
    uv_loop_init(&loop);
    CHECK_INT(stream_start(NULL, &row, NULL, &s), 0);
    return s;
}

static void end(struct stream *s)
{
    stream_stop(s, NULL, NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&loop), 0);
}

TEST(nothing_is_sent_between_a_loss_and_its_repetition)
{
    struct stream *s = begin();
    receive(1);
    ops->on_turn(ops_arg);
    wait_for(&sent, 1);
    atomic_store(&hold, true);
    receive(2);
    ops->on_turn(ops_arg);
    wait_for(&runs, 2);
    give_up(0);
    atomic_store(&hold, false);
    settle();
    ack_to(atomic_load(&sent));
    settle();
    ack_to(atomic_load(&sent));
    settle();
    CHECK_INT(atomic_load(&sent), 3);
    CHECK_INT(sends[1].number, 1);
    CHECK_INT(sends[2].number, 2);
    CHECK_INT(atomic_load(&committed), 3);
    end(s);
    EXPECT_WARNINGS(1); /* the run that failed */
}

TEST(a_refused_send_is_repeated_once)
{
    struct stream *s = begin();
    atomic_store(&refuse_from, 1);
    receive(1);
    receive(2);
    ops->on_turn(ops_arg);
    wait_for(&sent, 3); /* 1, refused, 1, 2 */
    settle();
    ack_to(3);
    settle();
    CHECK_INT(atomic_load(&sent), 3);
    CHECK_INT(atomic_load(&committed), 3);
    end(s);
    EXPECT_WARNINGS(1); /* the run that failed */
}

TEST(a_partition_is_held_until_its_sends_are_settled)
{
    struct stream *s = begin();
    atomic_store(&refuse_from, 1);
    receive(1);
    receive(2);
    atomic_store(&hold, true);
    ops->on_turn(ops_arg);
    wait_for(&runs, 1);
    ops->on_revoke(ops_arg, TOPIC_COMMANDS, 0, false);
    atomic_store(&hold, false);
    wait_for(&sent, 1);
    settle();
    CHECK_INT(atomic_load(&released), 0);
    ack_to(1);
    wait_for(&released, 1);
    CHECK_INT(atomic_load(&committed), 0);
    CHECK_INT(atomic_load(&runs), 1);
    end(s);
    EXPECT_WARNINGS(1); /* the run that failed */
}

/* What arrives meanwhile does not shorten it. */
TEST(the_pause_before_a_repetition_is_kept)
{
    struct stream *s = begin();
    atomic_store(&refuse_from, 0);
    receive(1);
    ops->on_turn(ops_arg);
    for (int i = 0; i < 30; i++) {
        usleep(1000);
        ops->on_turn(ops_arg);
    }
    wait_for(&runs, 2);
    CHECK(atomic_load(&run_gap_ms) >= 45);
    wait_for(&sent, 1);
    ack_to(1);
    settle();
    CHECK_INT(atomic_load(&committed), 2);
    end(s);
    EXPECT_WARNINGS(1); /* the run that failed */
}
