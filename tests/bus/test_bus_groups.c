// SPDX-License-Identifier: MIT
/*
 * Consumer groups and publishers of the bus, whichever implementation is behind it
 * (bus_fixture.h).
 */
#include "tests/bus/bus_checks.h"

#include <pthread.h>

static void send_commands(struct bus *bus, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i <= to; i++) {
        CHECK_INT(send_number(bus, TOPIC_COMMANDS, (struct bus_key){i, 0}, i), 0);
    }
}

struct two {
    struct sink *a, *b;
    size_t n;
};

static bool share_all(void *arg)
{
    const struct two *t = arg;
    int a = owned_count(t->a, TOPIC_COMMANDS), b = owned_count(t->b, TOPIC_COMMANDS);

    return a > 0 && b > 0 && a + b == PARTITIONS;
}

static bool have_together(void *arg)
{
    const struct two *t = arg;

    return t->a->n + t->b->n >= t->n;
}

TEST(two_members_share_the_partitions)
{
    begin();
    struct bus *one = open_bus("svc-1"), *two = open_bus("svc-2");
    struct sink a, b;

    sink_join(&a, one, "group", TOPIC_COMMANDS);
    CHECK(run_until(has_all, &a, 15000));
    sink_join(&b, two, "group", TOPIC_COMMANDS);
    CHECK(run_until(share_all, &(struct two){&a, &b, 0}, 15000));
    CHECK(a.revoked > 0);
    send_commands(one, 1, 200);
    CHECK(run_until(have_together, &(struct two){&a, &b, 200}, 15000));
    run_for(100);
    CHECK_INT(a.n + b.n, 200);
    CHECK(a.n > 0 && b.n > 0);
    check_order(&a);
    check_order(&b);
    for (size_t i = 0; i < a.n; i++) {
        CHECK(a.owned[TOPIC_COMMANDS][a.got[i].partition]);
    }
    for (size_t i = 0; i < b.n; i++) {
        CHECK(b.owned[TOPIC_COMMANDS][b.got[i].partition]);
    }
    sink_leave(&a);
    CHECK(run_until(has_all, &b, 15000));
    sink_leave(&b);
    close_bus(one);
    close_bus(two);
    end();
}

static bool has_held(void *arg)
{
    const struct sink *s = arg;

    for (int p = 0; p < PARTITIONS; p++) {
        if (s->held[TOPIC_COMMANDS][p]) {
            return true;
        }
    }
    return false;
}

static void release_held(struct sink *s)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        if (s->held[TOPIC_COMMANDS][p]) {
            s->held[TOPIC_COMMANDS][p] = false;
            bus_consumer_release(s->consumer, TOPIC_COMMANDS, p);
        }
    }
}

/* The next owner waits for the release, and begins where the one before committed last. */
TEST(a_held_partition_is_waited_for)
{
    begin();
    struct bus *one = open_bus("svc-1"), *two = open_bus("svc-2");
    struct sink a, b;
    int64_t next[PARTITIONS] = {0};

    sink_join(&a, one, "group", TOPIC_COMMANDS);
    a.hold = true;
    CHECK(run_until(has_all, &a, 15000));
    send_commands(one, 1, 100);
    wait_records(&a, 100);
    sink_join(&b, two, "group", TOPIC_COMMANDS);
    CHECK(run_until(has_held, &a, 15000));
    run_for(500);
    for (int32_t p = 0; p < PARTITIONS; p++) {
        CHECK(!(a.held[TOPIC_COMMANDS][p] && b.owned[TOPIC_COMMANDS][p]));
    }
    CHECK_INT(b.n, 0);
    for (size_t i = 0; i < a.n; i++) { /* all but the last of each partition */
        next[a.got[i].partition] = a.got[i].offset;
    }
    for (int32_t p = 0; p < PARTITIONS; p++) {
        bus_consumer_commit(a.consumer, TOPIC_COMMANDS, p, next[p]);
    }
    a.hold = false;
    release_held(&a);
    CHECK(run_until(share_all, &(struct two){&a, &b, 0}, 15000));
    run_for(300);
    CHECK_INT(b.n, owned_count(&b, TOPIC_COMMANDS)); /* one record of each of its partitions */
    for (size_t i = 0; i < b.n; i++) {
        CHECK_INT(b.got[i].offset, next[b.got[i].partition]);
    }
    sink_leave(&a);
    sink_leave(&b);
    close_bus(one);
    close_bus(two);
    end();
}

TEST(what_was_not_committed_comes_again)
{
    begin();
    struct bus *bus = open_bus("svc-1");
    struct sink s;

    sink_join(&s, bus, "group", TOPIC_COMMANDS);
    CHECK(run_until(has_all, &s, 15000));
    send_commands(bus, 1, 40);
    wait_records(&s, 40);
    sink_leave(&s);
    sink_join(&s, bus, "group", TOPIC_COMMANDS); /* nothing was committed */
    s.commit = true;
    wait_records(&s, 40);
    sink_leave(&s);
    send_commands(bus, 41, 60);
    sink_join(&s, bus, "group", TOPIC_COMMANDS); /* all 40 were */
    wait_records(&s, 20);
    for (size_t i = 0; i < s.n; i++) {
        CHECK(s.got[i].number > 40);
    }
    sink_leave(&s);
    sink_join(&s, bus, "another", TOPIC_COMMANDS); /* each group for itself */
    wait_records(&s, 60);
    sink_leave(&s);
    close_bus(bus);
    end();
}

/* A paused member answers a rebalance too. */
TEST(a_paused_member_gives_partitions_away)
{
    begin();
    struct bus *one = open_bus("svc-1"), *two = open_bus("svc-2");
    struct sink a, b;

    sink_join(&a, one, "group", TOPIC_COMMANDS);
    CHECK(run_until(has_all, &a, 15000));
    bus_consumer_pause(a.consumer);
    send_commands(one, 1, 100);
    run_for(200);
    size_t before = a.n;
    sink_join(&b, two, "group", TOPIC_COMMANDS);
    b.commit = true;
    CHECK(run_until(share_all, &(struct two){&a, &b, 0}, 15000));
    run_for(500);
    CHECK_INT(a.n, before);
    CHECK(b.n > 0);
    bus_consumer_resume(a.consumer);
    CHECK(run_until(have_together, &(struct two){&a, &b, 100}, 15000));
    run_for(100);
    CHECK_INT(a.n + b.n, 100);
    sink_leave(&a);
    sink_leave(&b);
    close_bus(one);
    close_bus(two);
    end();
}

/* ---- Publishers ---- */

struct publish {
    pthread_t thread;
    struct bus_txn *txn;
    uint64_t from;
    size_t n;
    int err;
    int64_t took_ms;
    atomic_bool done;
};

static void *publish_run(void *arg)
{
    struct publish *p = arg;
    struct bus_message m[100];
    uint64_t numbers[100];
    int64_t start = clock_mono_ms();

    for (size_t i = 0; i < p->n; i++) {
        numbers[i] = p->from + i;
        m[i] = (struct bus_message){.topic = TOPIC_EVENTS_GROUP,
                                    .key = {numbers[i], 0},
                                    .partition = -1,
                                    .value = &numbers[i],
                                    .len = sizeof(numbers[i])};
    }
    p->err = bus_txn_publish(p->txn, m, p->n);
    p->took_ms = clock_mono_ms() - start;
    atomic_store(&p->done, true);
    return NULL;
}

static bool is_published(void *arg)
{
    return atomic_load(&((struct publish *)arg)->done);
}

/* On a thread of its own, while the loop goes on. */
static int publish(struct bus_txn *txn, uint64_t from, size_t n, int64_t *took_ms_out)
{
    struct publish p = {.txn = txn, .from = from, .n = n};

    pthread_create(&p.thread, NULL, publish_run, &p);
    CHECK(run_until(is_published, &p, 20000));
    pthread_join(p.thread, NULL);
    *took_ms_out = p.took_ms;
    return p.err;
}

TEST(publishers_publish_in_order_and_fence_each_other)
{
    begin();
    struct bus *bus = open_bus("svc-1");
    struct bus_txn *first = NULL, *second = NULL;
    struct sink group, reader;
    int64_t took_ms;

    sink_join(&group, bus, "group", TOPIC_EVENTS_GROUP);
    group.commit = true;
    CHECK_INT(bus_txn_open(bus, "outbox", &first), 0);
    for (uint64_t i = 0; i < 5; i++) {
        CHECK_INT(publish(first, i * 100 + 1, 100, &took_ms), 0);
    }
    wait_records(&group, 500);
    check_order(&group);
    sink_read(&reader, bus, TOPIC_EVENTS_GROUP, BUS_FROM_FIRST); /* the log ends with a marker */
    CHECK(run_until(is_caught_up, &reader, 10000));
    CHECK_INT(reader.n_at_caught_up, 500);
    run_for(1200);
    CHECK_INT(bus_consumer_lag(reader.consumer), 0);
    CHECK_INT(bus_txn_open(bus, "outbox", &second), 0);
    CHECK_INT(publish(second, 501, 10, &took_ms), 0);
    CHECK_INT(publish(first, 600, 10, &took_ms), ERR_FENCED);
    CHECK_INT(publish(first, 600, 10, &took_ms), ERR_FENCED);
    CHECK_INT(publish(second, 511, 10, &took_ms), 0);
    wait_records(&group, 520);
    run_for(100);
    CHECK_INT(group.n, 520);
    bus_txn_close(first);
    bus_txn_close(second);
    bus_txn_close(NULL);
    sink_leave(&group);
    sink_leave(&reader);
    close_bus(bus);
    end();
}

/* In-process only: what no group has committed would be lost with the process. */
TEST(a_local_publisher_waits_for_the_groups)
{
    if (is_kafka()) {
        return;
    }
    begin();
    struct bus *bus = open_bus("svc-1");
    struct bus_txn *txn = NULL;
    struct sink s;
    int64_t took_ms;

    CHECK_INT(bus_txn_open(bus, "outbox", &txn), 0);
    CHECK_INT(publish(txn, 1, 10, &took_ms), 0); /* no group yet */
    sink_join(&s, bus, "group", TOPIC_EVENTS_GROUP);
    CHECK_INT(publish(txn, 11, 10, &took_ms), ERR_UNAVAILABLE);
    CHECK(took_ms >= 4900 && took_ms < 6000);
    CHECK_INT(s.n, 20);
    s.commit = true;
    CHECK_INT(publish(txn, 11, 10, &took_ms), 0);
    sink_leave(&s);
    CHECK_INT(publish(txn, 21, 10, &took_ms), ERR_UNAVAILABLE); /* nobody would read it */
    CHECK(took_ms < 100);
    bus_txn_close(txn);
    close_bus(bus);
    end();
}
