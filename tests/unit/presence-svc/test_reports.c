// SPDX-License-Identifier: MIT
/*
 * From a report on the bus to an event on the bus, with the store in memory and a bus that the test
 * plays: reports.c, sweep.c, tell.c, handlers.c. The stores themselves: tests/store.
 */
#include "tests/unit/test.h"

#include "common/err.h"
#include "common/metrics.h"
#include "common/pb.h"
#include "presence-svc/handlers.h"
#include "presence-svc/reports.h"
#include "presence-svc/sweep.h"
#include "proto/presence.pb-c.h"

static const int64_t T = INT64_C(1800000000000);

static struct presence_settings settings;
static struct presence_env env;
static struct presence_worker worker;
static struct arena *arena;
static int64_t now_ms; /* since T; also the other clock */

/* The bus: what was sent, and whose acknowledgements are open. */
static struct sent {
    uint64_t key;
    Chat__PresenceEvent *event;
    bus_ack_fn ack;
    void *arg;
} sent[2000];
static size_t sent_n, room; /* room: how many more it takes */

static int fake_send(void *arg, const struct bus_message *message, bus_ack_fn ack, void *ack_arg)
{
    (void)arg;
    CHECK_INT(message->topic, TOPIC_EVENTS_PRESENCE);
    if (room == 0) {
        return ERR_UNAVAILABLE;
    }
    room--;
    sent[sent_n++] = (struct sent){
        .key = message->key.a,
        .event = pb_unpack(&chat__presence_event__descriptor, arena, message->value, message->len),
        .ack = ack,
        .arg = ack_arg,
    };
    return 0;
}

static void acknowledge(int err)
{
    for (size_t i = 0; i < sent_n; i++) {
        if (sent[i].ack != NULL) {
            sent[i].ack(sent[i].arg, err);
            sent[i].ack = NULL;
        }
    }
    sent_n = 0;
}

static void at(int64_t ms)
{
    now_ms = ms;
    clock_freeze(T + ms, (1000000 + ms) * 1000);
}

static void begin(void)
{
    settings = (struct presence_settings){.lease_seconds = 15, .grace_seconds = 5};
    env = (struct presence_env){.settings = &settings, .memory = presence_store_memory_new()};
    presence_env_init(&env, fake_send, NULL);
    worker = (struct presence_worker){.env = &env, .store = env.memory};
    arena = arena_new(0);
    room = 2000;
    at(0);
}

static void end(void)
{
    acknowledge(0);
    presence_env_done(&env);
    env.memory->ops->close(env.memory);
    arena_free(arena);
    clock_unfreeze();
}

/* Sweeps every second up to a time. */
static void sweep_until(int64_t ms)
{
    while (now_ms < ms) {
        at(now_ms + 1000);
        presence_sweep_run(&worker);
    }
}

/* ---- Reports ---- */

static struct bus_record *batch[200];
static size_t batch_n;

static void put(const void *value, size_t len)
{
    struct bus_record *r = arena_zalloc(arena, sizeof(*r));
    r->topic = TOPIC_PRESENCE;
    r->value = value;
    r->len = len;
    r->traceparent = r->request_id = "";
    batch[batch_n++] = r;
}

static void put_report(const Chat__PresenceReport *report)
{
    size_t len;
    uint8_t *data = pb_pack(report, arena, &len);
    put(data, len);
}

static void put_change(const char *gateway, uint64_t incarnation, uint64_t user, bool present)
{
    Chat__PresenceReport report = CHAT__PRESENCE_REPORT__INIT;
    Chat__UserPresent change = CHAT__USER_PRESENT__INIT;
    report.gateway = pb_str(gateway);
    report.incarnation = incarnation;
    report.what_case = CHAT__PRESENCE_REPORT__WHAT_CHANGE;
    report.change = &change;
    change.user_id = user;
    change.present = present;
    put_report(&report);
}

static void put_beat(const char *gateway, uint64_t incarnation, bool leaving)
{
    Chat__PresenceReport report = CHAT__PRESENCE_REPORT__INIT;
    Chat__Heartbeat beat = CHAT__HEARTBEAT__INIT;
    report.gateway = pb_str(gateway);
    report.incarnation = incarnation;
    report.what_case = CHAT__PRESENCE_REPORT__WHAT_HEARTBEAT;
    report.heartbeat = &beat;
    beat.connections = 5;
    beat.users = 4;
    beat.leaving = leaving;
    put_report(&report);
}

static void put_all(const char *gateway, uint64_t incarnation, uint64_t *users, size_t n)
{
    Chat__PresenceReport report = CHAT__PRESENCE_REPORT__INIT;
    Chat__UserSet all = CHAT__USER_SET__INIT;
    report.gateway = pb_str(gateway);
    report.incarnation = incarnation;
    report.what_case = CHAT__PRESENCE_REPORT__WHAT_ALL;
    report.all = &all;
    all.n_user_ids = n;
    all.user_ids = users;
    put_report(&report);
}

static void run_batch(void)
{
    CHECK_INT(presence_reports_run(&worker, arena, batch, batch_n), 0);
    batch_n = 0;
}

static bool is_status(size_t i, uint64_t user, bool online)
{
    return i < sent_n && sent[i].key == user &&
           sent[i].event->what_case == CHAT__PRESENCE_EVENT__WHAT_STATUS &&
           sent[i].event->status->user_id == user && sent[i].event->status->online == online;
}

static bool is_resend(size_t i, const char *gateway, uint64_t incarnation)
{
    return i < sent_n && sent[i].key == 0 &&
           sent[i].event->what_case == CHAT__PRESENCE_EVENT__WHAT_RESEND &&
           pb_equal(sent[i].event->resend->gateway, gateway) &&
           sent[i].event->resend->incarnation == incarnation;
}

/* ---- Tests ---- */

TEST(a_session)
{
    begin();
    put_beat("g", 1, false);
    put_change("g", 1, 7, true);
    put_change("g", 1, 8, true);
    put_change("g", 1, 8, false);
    put_change("g", 1, 8, true);
    run_batch();
    CHECK_INT(sent_n, 3);
    CHECK(is_status(0, 7, true));
    CHECK(is_status(1, 8, true));
    CHECK(is_resend(2, "g", 1)); /* a gateway's first heartbeat is answered so */
    CHECK_INT(sent[0].event->status->version, T);
    acknowledge(0);
    put_all("g", 1, (uint64_t[]){7, 8, 9}, 3);
    put_beat("g", 1, false);
    run_batch();
    CHECK_INT(sent_n, 1);
    CHECK(is_status(0, 9, true));
    acknowledge(0);
    at(1000);
    put_change("g", 1, 7, false);
    run_batch();
    sweep_until(5000);
    CHECK_INT(sent_n, 0);
    CHECK_INT(metric_value(env.online), 3);
    sweep_until(6000);
    CHECK_INT(sent_n, 1);
    CHECK(is_status(0, 7, false));
    CHECK_INT(sent[0].event->status->last_seen_at, T + 1000);
    CHECK_INT(metric_value(env.online), 2);
    acknowledge(0);
    sweep_until(14000);
    CHECK_INT(sent_n, 0); /* nothing twice */
    end();
}

TEST(a_gateway_dies)
{
    begin();
    put_beat("g", 1, false);
    put_all("g", 1, (uint64_t[]){1, 2, 3}, 3);
    run_batch();
    acknowledge(0);
    sweep_until(15000); /* held until now: it looks on only since 1000 */
    sweep_until(20000);
    CHECK_INT(sent_n, 0);
    sweep_until(21000); /* lease over at 16000, and the grace */
    CHECK_INT(sent_n, 3);
    CHECK(!sent[0].event->status->online);
    acknowledge(0);
    put_beat("g", 2, false);
    put_change("g", 1, 1, true); /* older: ignored */
    put_change("g", 2, 2, true);
    run_batch();
    CHECK_INT(sent_n, 2);
    CHECK(is_status(0, 2, true));
    CHECK(is_resend(1, "g", 2));
    end();
}

TEST(a_goodbye)
{
    begin();
    put_beat("g", 1, false);
    put_change("g", 1, 7, true);
    put_beat("g", 1, true);
    run_batch();
    CHECK_INT(sent_n, 1); /* who goes is not asked */
    acknowledge(0);
    sweep_until(6000);
    CHECK_INT(sent_n, 1);
    CHECK(is_status(0, 7, false));
    end();
}

TEST(no_judgement_after_a_pause)
{
    begin();
    put_beat("g", 1, false);
    put_change("g", 1, 7, true);
    run_batch();
    acknowledge(0);
    sweep_until(14000);
    put_beat("g", 1, false);
    run_batch(); /* the lease is to 29000 */
    acknowledge(0);
    at(60000); /* the process slept */
    presence_sweep_run(&worker);
    sweep_until(70000);
    CHECK_INT(sent_n, 0);
    put_beat("g", 1, false); /* had only been waiting */
    run_batch();
    acknowledge(0);
    sweep_until(84000);
    CHECK_INT(sent_n, 0);
    end();
}

TEST(what_the_bus_loses_is_told_again)
{
    begin();
    room = 1;
    put_change("g", 1, 1, true);
    put_change("g", 1, 2, true);
    EXPECT_WARNINGS(1);
    run_batch();
    CHECK_INT(sent_n, 1);
    acknowledge(ERR_UNAVAILABLE);
    room = 100;
    sweep_until(4000);
    CHECK_INT(sent_n, 0);
    sweep_until(5000);
    CHECK_INT(sent_n, 2);
    CHECK_INT(sent[0].event->status->version, T);
    acknowledge(0);
    sweep_until(14000);
    CHECK_INT(sent_n, 0);
    end();
}

static const struct presence_store_ops *real_ops;
static size_t applied, calls;

static int counting_apply(struct presence_store *store, struct arena *a,
                          const struct presence_report *report,
                          const struct presence_change *changes, size_t n,
                          struct presence_statuses *changed_out)
{
    CHECK(n <= 10000);
    applied += n;
    calls++;
    return real_ops->apply(store, a, report, changes, n, changed_out);
}

/* A store has a bounded time for each call. */
TEST(many_users_in_one_batch)
{
    static uint64_t users[5000];
    struct presence_store_ops counting;
    begin();
    real_ops = env.memory->ops;
    counting = *real_ops;
    counting.apply = counting_apply;
    env.memory->ops = &counting;
    put_beat("g", 1, false);
    for (uint64_t part = 0; part < 5; part++) {
        for (uint64_t i = 0; i < 5000; i++) {
            users[i] = part * 5000 + i + 1;
        }
        put_all("g", 1, users, 5000);
    }
    room = 0; /* of the events */
    EXPECT_WARNINGS(3);
    run_batch();
    CHECK_INT(applied, 25000);
    CHECK_INT(calls, 3);
    env.memory->ops = real_ops;
    end();
}

TEST(unreadable_reports)
{
    begin();
    put("\xff\xff", 2);
    put(NULL, 0);
    put_change("", 1, 7, true);
    put_change("a b", 1, 7, true);
    put_change("g", 1, 0, true);
    put_change("g", 1, UINT64_C(1) << 53, true);
    put_change("g", 1, 7, true);
    EXPECT_WARNINGS(6);
    run_batch();
    CHECK_INT(sent_n, 1);
    CHECK(is_status(0, 7, true));
    end();
}

/* ---- Questions ---- */

static struct rpc_request request(void)
{
    return (struct rpc_request){.arena = arena, .worker = &worker};
}

TEST(questions)
{
    begin();
    put_beat("g", 1, false);
    put_all("g", 1, (uint64_t[]){5, 6, 7}, 3);
    run_batch();

    struct rpc_request rq = request();
    Chat__GetPresenceRequest get = CHAT__GET_PRESENCE_REQUEST__INIT;
    Chat__GetPresenceReply got = CHAT__GET_PRESENCE_REPLY__INIT;
    uint64_t users[501] = {9, 7, 7};
    get.user_ids = users;
    get.n_user_ids = 3;
    CHECK_INT(presence_get(&rq, &get, &got), 0);
    CHECK_INT(got.n_users, 3);
    CHECK(!got.users[0]->online && got.users[0]->user_id == 9 && got.users[0]->version == 0);
    CHECK(got.users[2]->online && got.users[2]->user_id == 7);
    get.n_user_ids = 501;
    CHECK_INT(presence_get(&rq, &get, &got), ERR_INVALID);

    Chat__ListOnlineRequest list = CHAT__LIST_ONLINE_REQUEST__INIT;
    Chat__OnlineList page = CHAT__ONLINE_LIST__INIT;
    list.limit = 2;
    CHECK_INT(presence_list_online(&rq, &list, &page), 0);
    CHECK_INT(page.n_users, 2);
    list.cursor = page.next_cursor;
    CHECK_INT(presence_list_online(&rq, &list, &page), 0);
    CHECK_INT(page.n_users, 1);
    CHECK_INT(page.users[0]->version, T);
    CHECK_INT(page.next_cursor, 0);
    list = (Chat__ListOnlineRequest)CHAT__LIST_ONLINE_REQUEST__INIT;
    CHECK_INT(presence_list_online(&rq, &list, &page), 0);
    CHECK_INT(page.n_users, 3);

    Chat__GatewayList gateways = CHAT__GATEWAY_LIST__INIT;
    Chat__Empty empty = CHAT__EMPTY__INIT;
    CHECK_INT(presence_list_gateways(&rq, &empty, &gateways), 0);
    CHECK_INT(gateways.n_gateways, 1);
    CHECK_INT(gateways.gateways[0]->connections, 5);
    end();
}

/* A page of the most users, with the longest numbers, fits into a reply. */
TEST(the_largest_page)
{
    Chat__OnlineList page = CHAT__ONLINE_LIST__INIT;
    Chat__UserStatus status = CHAT__USER_STATUS__INIT;
    Chat__UserStatus *users[10000];
    status.user_id = (UINT64_C(1) << 53) - 1;
    status.online = true;
    status.version = (uint64_t)T * 2;
    for (size_t i = 0; i < 10000; i++) {
        users[i] = &status;
    }
    page.n_users = 10000;
    page.users = users;
    CHECK(protobuf_c_message_get_packed_size(&page.base) < RPC_REPLY_MAX - 4096);
}
