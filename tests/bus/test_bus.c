// SPDX-License-Identifier: MIT
/*
 * What every bus does, whichever implementation is behind it: sending, order, groups, readers.
 * Run once with BUS=local and once with BUS=kafka (bus_fixture.h).
 */
#include "tests/bus/bus_checks.h"

#include <pthread.h>

static int acks_ok, acks_failed;

static void count_ack(void *arg, int err)
{
    (void)arg;
    if (err == 0) {
        acks_ok++;
    } else {
        CHECK_INT(err, ERR_UNAVAILABLE);
        acks_failed++;
    }
}

static bool acked(void *arg)
{
    return acks_ok + acks_failed >= *(int *)arg;
}

static bool wait_acks(int n)
{
    return CHECK(run_until(acked, &n, 15000));
}

static void reset_acks(void)
{
    acks_ok = acks_failed = 0;
}

/* ---- Records ---- */

TEST(records_keep_their_order_key_and_headers)
{
    begin();
    reset_acks();
    struct bus *bus = open_bus("test-1");
    struct sink s;

    sink_read(&s, bus, TOPIC_EVENTS_MESSAGE, BUS_FROM_FIRST);
    for (uint64_t i = 1; i <= 200; i++) {
        struct bus_message m = {
            .topic = TOPIC_EVENTS_MESSAGE,
            .key = {i % 7, UINT64_MAX - i % 7},
            .partition = -1,
            .value = &i,
            .len = sizeof(i),
            .traceparent = i % 2 == 0 ? "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
                                      : "",
            .request_id = i % 3 == 0 ? "r-3" : NULL,
        };
        CHECK_INT(bus_send(bus, &m, count_ack, NULL), 0);
    }
    wait_records(&s, 200);
    wait_acks(200);
    CHECK_INT(acks_ok, 200);
    check_order(&s);
    CHECK(s.turns > 0 && s.turns <= 200);
    for (size_t i = 0; i < s.n; i++) {
        const struct got *g = &s.got[i];

        CHECK_INT(g->key.a, g->number % 7);
        CHECK_INT(g->key.b, UINT64_MAX - g->number % 7);
        CHECK_INT(g->partition, bus_partition_of(bus, TOPIC_EVENTS_MESSAGE, g->key));
        CHECK_STR(g->request_id, g->number % 3 == 0 ? "r-3" : "");
        CHECK_INT(strlen(g->traceparent), g->number % 2 == 0 ? 55 : 0);
        CHECK(g->time_ms > clock_now_ms() - 60000 && g->time_ms <= clock_now_ms() + 1000);
    }
    sink_leave(&s);
    close_bus(bus);
    end();
}

TEST(partitions_tombstones_and_empty_values)
{
    begin();
    struct bus *bus = open_bus("test-1");
    struct sink s;
    struct bus_message m = {.topic = TOPIC_EVENTS_USER, .key = {5, 0}};

    sink_read(&s, bus, TOPIC_EVENTS_USER, BUS_FROM_FIRST);
    m.partition = 3; /* said, not by the hash */
    m.value = "";
    CHECK_INT(bus_send(bus, &m, NULL, NULL), 0);
    m.value = NULL;
    CHECK_INT(bus_send(bus, &m, NULL, NULL), 0);
    m.key = (struct bus_key){0, 0};
    m.value = "12345678";
    m.len = 8;
    CHECK_INT(bus_send(bus, &m, NULL, NULL), 0);
    if (wait_records(&s, 3)) {
        CHECK(!s.got[0].tombstone && s.got[0].len == 0 && s.got[0].partition == 3);
        CHECK(s.got[1].tombstone && s.got[1].key.a == 5 && s.got[1].partition == 3);
        CHECK(!s.got[2].tombstone && s.got[2].len == 8 && s.got[2].key.a == 0);
    }
    sink_leave(&s);
    close_bus(bus);
    end();
}

TEST(large_values_pass_and_larger_ones_are_refused)
{
    begin();
    reset_acks();
    struct bus *bus = open_bus("test-1");
    struct sink s;
    char *value = calloc(1, BUS_RECORD_MAX + 1);
    struct bus_message m = {
        .topic = TOPIC_COMMANDS, .key = {1, 2}, .value = value, .len = BUS_RECORD_MAX + 1};

    sink_read(&s, bus, TOPIC_COMMANDS, BUS_FROM_FIRST);
    CHECK_INT(bus_send(bus, &m, count_ack, NULL), ERR_TOO_LARGE);
    m.len = BUS_RECORD_MAX;
    CHECK_INT(bus_send(bus, &m, count_ack, NULL), 0);
    if (wait_records(&s, 1)) {
        CHECK_INT(s.got[0].len, BUS_RECORD_MAX);
    }
    wait_acks(1);
    CHECK_INT(acks_ok, 1);
    sink_leave(&s);
    close_bus(bus);
    free(value);
    end();
}

static struct bus_record *kept;

static void keep_first(struct sink *s, struct bus_record *record)
{
    if (s->n == 1) {
        kept = bus_record_keep(record);
    }
}

TEST(a_kept_record_outlives_its_bus)
{
    begin();
    struct bus *bus = open_bus("test-1");
    struct sink s;

    sink_read(&s, bus, TOPIC_COMMANDS, BUS_FROM_FIRST);
    s.on_record = keep_first;
    kept = NULL;
    CHECK_INT(send_number(bus, TOPIC_COMMANDS, (struct bus_key){1, 2}, 77), 0);
    wait_records(&s, 1);
    sink_leave(&s);
    close_bus(bus);
    uint64_t number = 0;
    if (CHECK(kept != NULL)) {
        memcpy(&number, kept->value, sizeof(number));
        CHECK_INT(number, 77);
        CHECK_INT(kept->key.b, 2);
        bus_record_release(kept);
    }
    end();
}

/* ---- Sending from threads, full queue, close ---- */

#define THREADS 4
#define PER_THREAD 2000

struct sender {
    pthread_t thread;
    struct bus *bus;
    uint64_t index;
    int refused;
};

static void *send_many(void *arg)
{
    struct sender *s = arg;

    for (uint64_t i = 0; i < PER_THREAD; i++) {
        uint64_t number = s->index << 32 | i;
        struct bus_message m = {.topic = TOPIC_COMMANDS,
                                .key = {s->index, i % 5},
                                .partition = (int32_t)(i % PARTITIONS),
                                .value = &number,
                                .len = sizeof(number)};
        s->refused += bus_send(s->bus, &m, count_ack, NULL) == 0 ? 0 : 1;
    }
    return NULL;
}

TEST(threads_send_at_once_and_keep_their_order)
{
    begin();
    reset_acks();
    struct bus *bus = open_bus("test-1");
    struct sender senders[THREADS];
    struct sink s;
    int64_t last[THREADS][PARTITIONS];

    memset(last, 0xff, sizeof(last));
    sink_read(&s, bus, TOPIC_COMMANDS, BUS_FROM_FIRST);
    for (uint64_t i = 0; i < THREADS; i++) {
        senders[i] = (struct sender){.bus = bus, .index = i};
        pthread_create(&senders[i].thread, NULL, send_many, &senders[i]);
    }
    wait_records(&s, (size_t)THREADS * PER_THREAD);
    wait_acks(THREADS * PER_THREAD);
    CHECK_INT(acks_failed, 0);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(senders[i].thread, NULL);
        CHECK_INT(senders[i].refused, 0);
    }
    for (size_t i = 0; i < s.n; i++) {
        int64_t *before = &last[s.got[i].number >> 32][s.got[i].partition];
        int64_t number = (int64_t)(s.got[i].number & 0xffffffff);

        CHECK(number > *before);
        *before = number;
    }
    sink_leave(&s);
    close_bus(bus);
    end();
}

/* Kafka's client: nothing is acknowledged to this thread while it sends. In-process: a group that
 * reads nothing. */
TEST(a_full_queue_refuses_at_once)
{
    begin();
    reset_acks();
    struct bus *bus = open_bus("test-1");
    struct sink s;
    char *value = calloc(1, BUS_RECORD_MAX);
    int tries = is_kafka() ? 100100 : 100, sent = 0, refused = 0;
    struct bus_message m = {
        .topic = TOPIC_COMMANDS, .key = {1, 2}, .value = value, .len = BUS_RECORD_MAX};

    m.len = is_kafka() ? 8 : m.len;
    sink_join(&s, bus, "slow", TOPIC_COMMANDS);
    CHECK(run_until(has_all, &s, 15000));
    bus_consumer_pause(s.consumer);
    int64_t start = clock_mono_ms();
    for (int i = 0; i < tries; i++) {
        int err = bus_send(bus, &m, count_ack, NULL);

        sent += err == 0 ? 1 : 0;
        refused += err == ERR_UNAVAILABLE ? 1 : 0;
    }
    CHECK(clock_mono_ms() - start < 10000); /* copies, but waits for nothing */
    CHECK(is_kafka() ? sent == 100000 : sent >= 40 && sent < 70);
    CHECK_INT(sent + refused, tries);
    wait_acks(sent);
    CHECK_INT(acks_ok, sent);
    if (!is_kafka()) { /* once it reads, there is room again */
        s.commit = true;
        bus_consumer_resume(s.consumer);
        wait_records(&s, (size_t)sent);
    }
    CHECK_INT(bus_send(bus, &m, NULL, NULL), 0);
    sink_leave(&s);
    close_bus(bus);
    free(value);
    end();
}

TEST(close_sends_and_acknowledges_what_is_queued)
{
    begin();
    reset_acks();
    struct bus *bus = open_bus("test-1"), *other = open_bus("test-2");
    struct sink s, left_behind;
    uint64_t number = 9;
    struct bus_message m = {
        .topic = TOPIC_COMMANDS, .key = {1, 2}, .value = &number, .len = sizeof(number)};

    sink_read(&s, other, TOPIC_COMMANDS, BUS_FROM_FIRST);
    sink_join(&left_behind, bus, "forgetful", TOPIC_COMMANDS); /* never leaves */
    for (int i = 0; i < 500; i++) {
        CHECK_INT(bus_send(bus, &m, count_ack, NULL), 0);
    }
    bool closed = false;
    bus_close(bus, 5000, set_true, &closed);
    CHECK_INT(bus_send(bus, &m, count_ack, NULL), ERR_UNAVAILABLE);
    CHECK(run_until(is_set, &closed, 15000));
    CHECK_INT(acks_ok, 500);
    CHECK_INT(acks_failed, 0);
    wait_records(&s, 500);
    sink_leave(&s);
    sink_done(&left_behind);
    close_bus(other);
    end();
}

/* ---- Opening ---- */

TEST(another_partition_count_is_refused_with_a_sentence)
{
    begin();
    struct bus *bus = open_bus("test-1"), *second = NULL;
    struct bus_options options = options_of("test-2");
    char problem[512] = "";

    options.partitions = 6;
    CHECK_INT(bus_open(&loop, &options, &second, problem, sizeof(problem)), ERR_INVALID);
    CHECK(second == NULL);
    CHECK(strstr(problem, "KAFKA_PARTITIONS is 6") != NULL);
    CHECK(strstr(problem, prefix) != NULL);
    CHECK(strstr(problem, "4 partitions") != NULL);
    close_bus(bus);
    end();
}

/* Whoever comes first makes the topic; who wants it kept longer changes that, once. */
TEST(ended_sessions_may_be_kept_longer)
{
    static const int64_t hours[] = {0, 1, 3, 2, 3};
    struct bus *buses[5] = {NULL};

    begin();
    for (int i = 0; i < 5; i++) {
        struct bus_options options = options_of("test-1");
        char instance[16], problem[512] = "";

        snprintf(instance, sizeof(instance), "keeper-%d", i);
        options.instance = instance;
        options.session_retention_ms = hours[i] * TOPIC_HOUR;
        if (!CHECK_INT(bus_open(&loop, &options, &buses[i], problem, sizeof(problem)), 0)) {
            printf("%s\n", problem);
            exit(EXIT_FAILURE);
        }
    }
    CHECK_INT(send_number(buses[1], TOPIC_EVENTS_SESSION, (struct bus_key){1, 0}, 1), 0);
    for (int i = 0; i < 5; i++) {
        close_bus(buses[i]);
    }
    end();
}

TEST(buses_of_one_log_agree)
{
    begin();
    struct bus *a = open_bus("test-1"), *b = open_bus("test-2");
    struct bus_key key = {123456, 654321};
    int64_t first = -1, next = -1;

    CHECK_STR(bus_log_id(a), bus_log_id(b));
    CHECK(strlen(bus_log_id(a)) > 0);
    CHECK_INT(bus_is_durable(a), is_kafka());
    CHECK(bus_is_connected(a));
    CHECK_INT(bus_partitions(a, TOPIC_COMMANDS), PARTITIONS);
    CHECK_INT(bus_partitions(a, TOPIC_REPLY), 1);
    int32_t p = bus_partition_of(a, TOPIC_COMMANDS, key);
    CHECK_INT(p, bus_partition_of(b, TOPIC_EVENTS_MESSAGE, key));
    CHECK_INT(bus_watermarks(a, TOPIC_COMMANDS, p, &first, &next), 0);
    CHECK_INT(first, 0);
    CHECK_INT(next, 0);
    reset_acks();
    struct bus_message m = {
        .topic = TOPIC_COMMANDS, .key = key, .partition = -1, .value = "", .len = 0};
    CHECK_INT(bus_send(a, &m, count_ack, NULL), 0);
    wait_acks(1);
    CHECK_INT(bus_watermarks(b, TOPIC_COMMANDS, p, &first, &next), 0);
    CHECK_INT(next, 1);
    close_bus(a);
    close_bus(b);
    end();
}

/* ---- Readers ---- */

TEST(readers_from_first_and_from_the_end_catch_up)
{
    begin();
    reset_acks();
    struct bus *bus = open_bus("test-1");
    struct sink first, last, empty;
    uint64_t number;

    for (number = 1; number <= 50; number++) {
        struct bus_message m = {.topic = TOPIC_EVENTS_MESSAGE,
                                .key = {number, 0},
                                .partition = -1,
                                .value = &number,
                                .len = sizeof(number)};
        CHECK_INT(bus_send(bus, &m, count_ack, NULL), 0);
    }
    wait_acks(50);
    sink_read(&first, bus, TOPIC_EVENTS_MESSAGE, BUS_FROM_FIRST);
    sink_read(&last, bus, TOPIC_EVENTS_MESSAGE, BUS_FROM_END);
    sink_read(&empty, bus, TOPIC_SIGNALS, BUS_FROM_FIRST);
    CHECK(run_until(is_caught_up, &first, 15000));
    CHECK(run_until(is_caught_up, &last, 15000));
    CHECK(run_until(is_caught_up, &empty, 15000));
    CHECK_INT(first.n_at_caught_up, 50);
    CHECK_INT(last.n, 0);
    CHECK_INT(send_number(bus, TOPIC_EVENTS_MESSAGE, (struct bus_key){8, 0}, 51), 0);
    wait_records(&last, 1);
    wait_records(&first, 51);
    CHECK_INT(last.got[0].number, 51);
    run_for(100);
    CHECK_INT(first.caught_up, 1);
    CHECK_INT(last.caught_up, 1);
    CHECK_INT(first.gaps + last.gaps + empty.gaps, 0);
    sink_leave(&first);
    sink_leave(&last);
    sink_leave(&empty);
    close_bus(bus);
    end();
}

TEST(replies_reach_the_instance_that_asked)
{
    begin();
    reset_acks();
    struct bus *a = open_bus("gateway-1"), *b = open_bus("svc-1");
    struct sink sa, sb;
    uint64_t number = 4711;
    struct bus_message m = {.topic = TOPIC_REPLY,
                            .reply_to = "gateway-1",
                            .value = &number,
                            .len = sizeof(number),
                            .request_id = "q"};

    sink_read(&sa, a, TOPIC_REPLY, BUS_FROM_END);
    sink_read(&sb, b, TOPIC_REPLY, BUS_FROM_END);
    CHECK_INT(bus_send(b, &m, count_ack, NULL), 0);
    wait_records(&sa, 1);
    CHECK_INT(sa.got[0].number, 4711);
    CHECK_STR(sa.got[0].request_id, "q");
    CHECK_INT(sa.got[0].topic, TOPIC_REPLY);
    m.reply_to = "gateway-gone"; /* refused at once or given up, and nobody else waits for it */
    int err = bus_send(b, &m, count_ack, NULL);
    CHECK(err == 0 || err == ERR_UNAVAILABLE);
    m.reply_to = "gateway-1";
    CHECK_INT(bus_send(b, &m, count_ack, NULL), 0);
    int64_t start = clock_mono_ms();
    wait_records(&sa, 2);
    CHECK(clock_mono_ms() - start < 1000);
    wait_acks(err == 0 ? 3 : 2);
    CHECK_INT(acks_ok, 2);
    CHECK_INT(sb.n, 0);
    sink_leave(&sa);
    sink_leave(&sb);
    close_bus(a);
    close_bus(b);
    end();
}

static bool has_record(void *arg)
{
    return ((const struct sink *)arg)->n > 0;
}

/* An instance that was stopped cleanly and comes back under its name gets its replies again. */
TEST(a_reply_topic_comes_back_with_its_owner)
{
    begin();
    reset_acks();
    struct bus *a = open_bus("gateway-1"), *b = open_bus("svc-1");
    struct sink s;
    uint64_t number = 1;
    struct bus_message m = {
        .topic = TOPIC_REPLY, .reply_to = "gateway-1", .value = &number, .len = sizeof(number)};

    CHECK_INT(bus_send(b, &m, count_ack, NULL), 0);
    wait_acks(1);
    close_bus(a);
    for (int i = 0; i < 10; i++) { /* into the void: only nobody must be hurt */
        int err = bus_send(b, &m, count_ack, NULL);
        CHECK(err == 0 || err == ERR_UNAVAILABLE);
        run_for(50);
    }
    a = open_bus("gateway-1");
    sink_read(&s, a, TOPIC_REPLY, BUS_FROM_END);
    CHECK(run_until(is_caught_up, &s, 10000));
    s.n = 0;
    number = 2;
    int64_t start = clock_mono_ms();
    while (s.n == 0 && clock_mono_ms() - start < 5000) {
        int err = bus_send(b, &m, NULL, NULL);
        CHECK(err == 0 || err == ERR_UNAVAILABLE);
        run_until(has_record, &s, 100);
    }
    CHECK(s.n > 0);
    CHECK(clock_mono_ms() - start < 2000);
    if (getenv("VERBOSE") != NULL) {
        printf("the first reply after %" PRId64 " ms\n", clock_mono_ms() - start);
    }
    sink_leave(&s);
    close_bus(a);
    close_bus(b);
    end();
}

TEST(pause_holds_records_back_and_resume_loses_none)
{
    begin();
    struct bus *bus = open_bus("test-1");
    struct sink s;

    sink_read(&s, bus, TOPIC_COMMANDS, BUS_FROM_FIRST);
    s.pause_at_once = true;
    for (uint64_t i = 1; i <= 5000; i++) {
        CHECK_INT(send_number(bus, TOPIC_COMMANDS, (struct bus_key){i % 9, 0}, i), 0);
    }
    run_for(2600); /* longer than a short pause: Kafka's fetching stops too */
    CHECK(s.n > 0 && s.n <= 1000);
    size_t at_pause = s.n;
    CHECK(bus_consumer_lag(s.consumer) == -1 || bus_consumer_lag(s.consumer) > 0);
    run_for(100);
    CHECK_INT(s.n, at_pause);
    bus_consumer_resume(s.consumer);
    wait_records(&s, 5000);
    bus_consumer_pause(s.consumer);
    bus_consumer_resume(s.consumer);
    CHECK_INT(send_number(bus, TOPIC_COMMANDS, (struct bus_key){1, 0}, 5001), 0);
    wait_records(&s, 5001);
    check_order(&s);
    run_for(1500);
    CHECK_INT(s.n, 5001);
    CHECK_INT(bus_consumer_lag(s.consumer), 0);
    CHECK_INT(bus_consumer_stalled_ms(s.consumer), 0);
    sink_leave(&s);
    close_bus(bus);
    end();
}
