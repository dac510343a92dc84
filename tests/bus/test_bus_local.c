// SPDX-License-Identifier: MIT
/*
 * What only the in-process bus promises: bounds, gaps, compaction, and members on threads that
 * come and go (made for ThreadSanitizer).
 */
#include "tests/bus/bus_checks.h"

#include <pthread.h>

#define FLOOD 300
#define COMMAND_BYTES 16700
#define MEMBERS 3
#define TOTAL 30000

TEST(a_reader_that_falls_out_is_told)
{
    begin();
    struct bus *bus = open_bus("test-1");
    struct sink s;
    char *value = calloc(1, BUS_RECORD_MAX);
    struct bus_message m = {
        .topic = TOPIC_SIGNALS, .partition = 1, .value = value, .len = BUS_RECORD_MAX};

    sink_read(&s, bus, TOPIC_SIGNALS, BUS_FROM_END);
    run_for(50);
    bus_consumer_pause(s.consumer);
    for (uint64_t i = 0; i < FLOOD; i++) {
        memcpy(value, &i, sizeof(i));
        CHECK_INT(bus_send(bus, &m, NULL, NULL), 0);
    }
    bus_consumer_resume(s.consumer);
    run_for(200);
    CHECK_INT(s.gaps, 1);
    CHECK(s.n > 30 && s.n < 50);
    check_order(&s);
    if (s.n > 0) {
        CHECK_INT(s.got[s.n - 1].number, FLOOD - 1);
    }
    sink_leave(&s);
    close_bus(bus);
    free(value);
    end();
}

/* Who works off commands publishes events before it commits: it must not wait for itself. */
TEST(uncommitted_commands_leave_room_for_events)
{
    begin();
    struct bus *bus = open_bus("test-1");
    struct sink s;
    char *value = calloc(1, COMMAND_BYTES);
    struct bus_message command = {
        .topic = TOPIC_COMMANDS, .partition = 1, .value = value, .len = COMMAND_BYTES};
    struct bus_message event = command;
    int sent = 0;

    event.topic = TOPIC_EVENTS_MESSAGE;
    sink_join(&s, bus, "slow", TOPIC_COMMANDS);
    run_for(50);
    while (sent < 10000 && bus_send(bus, &command, NULL, NULL) == 0) {
        sent++;
    }
    CHECK(sent > 2500 && sent < 10000);
    for (int i = 0; i < 500; i++) {
        CHECK_INT(bus_send(bus, &event, NULL, NULL), 0);
    }
    CHECK_INT(bus_send(bus, &command, NULL, NULL), ERR_UNAVAILABLE);
    sink_leave(&s);
    close_bus(bus);
    free(value);
    end();
}

TEST(compacted_topics_keep_the_last_of_each_key)
{
    begin();
    struct bus *bus = open_bus("test-1");
    struct sink s, late;

    sink_read(&s, bus, TOPIC_EVENTS_USER, BUS_FROM_FIRST);
    CHECK_INT(send_number(bus, TOPIC_EVENTS_USER, (struct bus_key){1000, 0}, 1), 0);
    for (uint64_t i = 2; i <= 12000; i++) {
        CHECK_INT(send_number(bus, TOPIC_EVENTS_USER, (struct bus_key){i % 10, 0}, i), 0);
        if (i % 100 == 0) {
            run_until(has_n, &(struct wait_n){&s, (size_t)i}, 1000);
        }
    }
    wait_records(&s, 12000);
    check_order(&s);
    sink_read(&late, bus, TOPIC_EVENTS_USER, BUS_FROM_FIRST);
    CHECK(run_until(is_caught_up, &late, 1000));
    CHECK(late.n >= 11 && late.n < 9000);
    uint64_t last[10] = {0};
    bool old = false;
    for (size_t i = 0; i < late.n; i++) {
        old = old || late.got[i].key.a == 1000;
        if (late.got[i].key.a < 10) {
            last[late.got[i].key.a] = late.got[i].number;
        }
    }
    CHECK(old);
    for (uint64_t k = 0; k < 10; k++) {
        CHECK_INT(last[k], k == 0 ? 12000 : 11990 + k);
    }
    CHECK_INT(s.gaps + late.gaps, 0);
    sink_leave(&s);
    sink_leave(&late);
    close_bus(bus);
    end();
}

TEST(everything_read_is_dropped_in_time)
{
    begin();
    struct bus *bus = open_bus("test-1");
    struct sink s;
    int64_t first, next;

    sink_read(&s, bus, TOPIC_SIGNALS, BUS_FROM_FIRST);
    for (uint64_t i = 1; i <= 15000; i++) {
        CHECK_INT(send_number(bus, TOPIC_SIGNALS, (struct bus_key){1, 0}, i), 0);
        if (i % 500 == 0) {
            wait_records(&s, (size_t)i);
        }
    }
    int32_t p = bus_partition_of(bus, TOPIC_SIGNALS, (struct bus_key){1, 0});
    CHECK_INT(bus_watermarks(bus, TOPIC_SIGNALS, p, &first, &next), 0);
    CHECK_INT(next, 15000);
    CHECK(first > 10000);
    CHECK_INT(s.gaps, 0);
    sink_leave(&s);
    close_bus(bus);
    end();
}

/* ---- Members on threads ---- */

static atomic_int owners[PARTITIONS]; /* how many members hold it */
static atomic_uint seen[TOTAL];       /* how often each record came */
static atomic_int records_seen, rounds;
static atomic_bool stop;

struct member {
    pthread_t thread;
    uv_loop_t loop;
    struct bus *bus;
    struct bus_consumer *consumer;
    uv_timer_t timer;
    int index, ticks;
    bool gone, closed;
};

static void member_record(void *arg, struct bus_record *record)
{
    struct member *m = arg;
    uint64_t number;

    memcpy(&number, record->value, sizeof(number));
    if (atomic_fetch_add(&seen[number], 1) == 0) {
        atomic_fetch_add(&records_seen, 1);
    }
    bus_consumer_commit(m->consumer, record->topic, record->partition, record->offset + 1);
}

static void member_assign(void *arg, enum topic topic, int32_t partition)
{
    (void)arg;
    (void)topic;
    CHECK_INT(atomic_fetch_add(&owners[partition], 1), 0);
}

static void member_revoke(void *arg, enum topic topic, int32_t partition, bool lost)
{
    struct member *m = arg;

    CHECK(!lost);
    CHECK_INT(atomic_fetch_sub(&owners[partition], 1), 1);
    bus_consumer_release(m->consumer, topic, partition);
}

static const struct bus_consumer_ops member_ops = {
    .on_record = member_record, .on_assign = member_assign, .on_revoke = member_revoke};

static void member_left(void *arg)
{
    struct member *m = arg;

    m->gone = true;
    m->consumer = NULL;
    atomic_fetch_add(&rounds, 1);
}

/* Leaves and joins again every few milliseconds, until told to stop. */
static void member_tick(uv_timer_t *timer)
{
    struct member *m = timer->data;
    enum topic topic = TOPIC_COMMANDS;

    if (!m->gone) {
        if (++m->ticks % (3 + m->index) == 0 || atomic_load(&stop)) {
            if (m->ticks > 0) {
                m->ticks = -1000000; /* leaving */
                bus_consumer_leave(m->consumer, member_left, m);
            }
        }
        return;
    }
    if (!atomic_load(&stop)) {
        m->gone = false;
        m->ticks = 0;
        CHECK_INT(bus_join(m->bus, "members", &topic, 1, &member_ops, m, &m->consumer), 0);
        return;
    }
    uv_close((uv_handle_t *)timer, NULL);
    bus_close(m->bus, 1000, set_true, &m->closed);
}

static void *member_run(void *arg)
{
    struct member *m = arg;
    char instance[32];

    snprintf(instance, sizeof(instance), "member-%d", m->index);
    uv_loop_init(&m->loop);
    m->bus = open_on(&m->loop, instance);
    m->gone = true;
    uv_timer_init(&m->loop, &m->timer);
    m->timer.data = m;
    uv_timer_start(&m->timer, member_tick, 0, 2);
    uv_run(&m->loop, UV_RUN_DEFAULT);
    CHECK(m->closed);
    CHECK_INT(uv_loop_close(&m->loop), 0);
    return NULL;
}

static bool all_seen(void *arg)
{
    (void)arg;
    return atomic_load(&records_seen) == TOTAL;
}

TEST(members_come_and_go_on_their_threads)
{
    begin();
    struct bus *bus = open_bus("sender");
    struct member members[MEMBERS] = {0};

    for (int i = 0; i < MEMBERS; i++) {
        members[i].index = i;
        pthread_create(&members[i].thread, NULL, member_run, &members[i]);
    }
    for (uint64_t i = 0; i < TOTAL; i++) {
        CHECK_INT(send_number(bus, TOPIC_COMMANDS, (struct bus_key){i, 0}, i), 0);
        if (i % 64 == 0) {
            run_for(1);
        }
    }
    CHECK(run_until(all_seen, NULL, 20000));
    atomic_store(&stop, true);
    for (int i = 0; i < MEMBERS; i++) {
        pthread_join(members[i].thread, NULL);
    }
    CHECK_INT(atomic_load(&records_seen), TOTAL);
    for (int i = 0; i < TOTAL; i++) { /* each is committed before its partition is let go */
        if (!CHECK_INT(atomic_load(&seen[i]), 1)) {
            break;
        }
    }
    CHECK(atomic_load(&rounds) > 10);
    close_bus(bus);
    end();
}
