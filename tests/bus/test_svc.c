// SPDX-License-Identifier: MIT
/*
 * The skeleton with two toy services in one process, on the in-process bus: calls, refusals,
 * deadlines, questions between services, batches that fail and are run again, the outbox, and a
 * clean stop. One run of the process, looked at from several sides by the checks at its end.
 */
#include "common/clock.h"
#include "common/err.h"
#include "common/pb.h"
#include "common/svc.h"
#include "proto/envelope.pb-c.h"
#include "proto/presence.pb-c.h"
#include "tests/unit/test.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define RECORDS 700

static struct {
    atomic_int done; /* parts of the play that are over; the last one ends the process */
    int ok_err, refused_err, late_err, stale_err, unknown_err, asked_err, expected_err;
    char refused_detail[100], refused_field[50];
    uint64_t answered_id;
    atomic_int seen, runs, failures, out_of_order, worked, assigned, revoked;
    uint64_t last[64];
    atomic_int outbox_events;
    bool stop_called;
} play;

static struct svc_ctx *driver; /* toy-b */

/* ---- toy-a: answers, handles a stream, has an outbox ---- */

static int handle_get(struct rpc_request *rq, const void *in, void *out)
{
    const Chat__GetPresenceRequest *request = in;
    Chat__GetPresenceReply *reply = out;
    if (request->n_user_ids == 0) {
        return rpc_invalid(rq, "user_ids", "must name somebody");
    }
    if (request->user_ids[0] == 99) {
        return ERR_STALE; /* as from a deadlock */
    }
    reply->n_users = 1;
    reply->users = arena_array(rq->arena, 1, sizeof(void *));
    reply->users[0] = pb_new(&chat__user_status__descriptor, rq->arena);
    reply->users[0]->user_id = request->user_ids[0] + rq->caller.user_id;
    return 0;
}

static int handle_slowly(struct rpc_request *rq, const void *in, void *out)
{
    (void)rq;
    (void)in;
    (void)out;
    usleep(400 * 1000);
    return 0;
}

/* Asks toy-a itself again, from a worker, and writes an event. */
static int handle_gateways(struct rpc_request *rq, const void *in, void *out)
{
    (void)in;
    (void)out;
    Chat__GetPresenceRequest question = CHAT__GET_PRESENCE_REQUEST__INIT;
    uint64_t id = 5;
    question.n_user_ids = 1;
    question.user_ids = &id;
    struct rpc_call call = {
        .topic = TOPIC_RPC_PRESENCE, .method = "GetPresence", .key = 5, .input = &question};
    void *answer;
    int err = rpc_ask(rq, &call, &chat__get_presence_reply__descriptor, &answer);
    if (err == 0 && ((Chat__GetPresenceReply *)answer)->users[0]->user_id != 5) {
        err = ERR_INTERNAL;
    }
    if (err == 0) {
        err = db_begin(rq->db);
    }
    for (int i = 0; i < 3 && err == 0; i++) {
        err = outbox_add(rq->db, &(struct outbox_event){
                                     .topic = TOPIC_EVENTS_USER,
                                     .key = {7, 0},
                                     .partition_a = 7,
                                     .value = "event",
                                     .len = 5,
                                     .request_id = "r-1",
                                 });
    }
    if (err == 0) {
        err = db_commit(rq->db);
    }
    outbox_wake(svc_outbox(rq->svc));
    return err;
}

static int run_batch(struct svc_batch *batch, struct bus_record *const *records, size_t n)
{
    if (atomic_fetch_add(&play.runs, 1) % 3 == 1) {
        atomic_fetch_add(&play.failures, 1);
        return ERR_STALE;
    }
    for (size_t i = 0; i < n; i++) {
        uint64_t value;
        CHECK_INT(records[i]->len, sizeof(value));
        memcpy(&value, records[i]->value, sizeof(value));
        int32_t p = records[i]->partition;
        if (value <= play.last[p]) {
            atomic_fetch_add(&play.out_of_order, 1);
        }
        play.last[p] = value;
        struct bus_message echo = {.topic = TOPIC_EVENTS_PRESENCE,
                                   .key = records[i]->key,
                                   .partition = -1,
                                   .value = records[i]->value,
                                   .len = records[i]->len};
        CHECK_INT(svc_batch_send(batch, &echo), 0);
    }
    CHECK(svc_batch_db(batch) != NULL && svc_batch_arena(batch) != NULL);
    atomic_fetch_add(&play.seen, (int)n);
    return 0;
}

static void on_assigned(struct svc_batch *batch, int32_t partition)
{
    (void)batch;
    (void)partition;
    atomic_fetch_add(&play.assigned, 1);
}

static void on_revoked(struct svc_batch *batch, int32_t partition)
{
    (void)batch;
    (void)partition;
    atomic_fetch_add(&play.revoked, 1);
}

static void on_work(struct svc_ctx *ctx, struct db *db, void *worker, void *arg)
{
    (void)ctx;
    CHECK(db != NULL && worker == NULL && arg == &play);
    atomic_fetch_add(&play.worked, 1);
}

static int toy_a_start(struct svc_ctx *ctx, char *problem, size_t size)
{
    (void)problem;
    (void)size;
    return svc_work(ctx, RPC_SLOW, on_work, &play);
}

static const char toy_schema[] =
    "-- version 1\n"
    "-- sqlite\n"
    "CREATE TABLE outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL, key_a "
    "INTEGER NOT NULL, key_b INTEGER NOT NULL, partition_a INTEGER NOT NULL, value BLOB, "
    "traceparent TEXT, request_id TEXT, created_at INTEGER NOT NULL);\n"
    "-- both\n";

static const struct rpc_handler toy_handlers[] = {
    {"GetPresence", handle_get, RPC_FAST},
    {"ListOnline", handle_slowly, RPC_SLOW},
    {"ListGateways", handle_gateways, RPC_FAST},
    {0},
};

static const struct svc_stream toy_streams[] = {
    {.topic = TOPIC_PRESENCE,
     .group = "toy-stream",
     .run = run_batch,
     .assigned = on_assigned,
     .revoked = on_revoked},
    {0},
};

static const struct svc toy_a = {
    .name = "toy-a",
    .about = "answers",
    .rpc = &chat__presence__descriptor,
    .rpc_topic = TOPIC_RPC_PRESENCE,
    .handlers = toy_handlers,
    .schema_name = "toy",
    .schema_version = 1,
    .schema_sql = toy_schema,
    .outbox = true,
    .streams = toy_streams,
    .start = toy_a_start,
};

/* ---- toy-b: asks ---- */

static struct bus_consumer *reader;
static atomic_int echoes;

static void part_done(void)
{
    if (atomic_fetch_add(&play.done, 1) + 1 == 8) {
        svc_shutdown(driver, 0);
    }
}

static void on_ok(void *arg, const struct rpc_reply *reply)
{
    (void)arg;
    play.ok_err = reply->err;
    struct arena *arena = arena_new(0);
    Chat__GetPresenceReply *answer =
        pb_unpack(&chat__get_presence_reply__descriptor, arena, reply->body, reply->len);
    play.answered_id = answer->users[0]->user_id;
    CHECK(strncmp(reply->instance, "toy-a-", 6) == 0);
    arena_free(arena);
    part_done();
}

static void on_refused(void *arg, const struct rpc_reply *reply)
{
    (void)arg;
    play.refused_err = reply->err;
    snprintf(play.refused_detail, sizeof(play.refused_detail), "%s", reply->detail);
    if (CHECK_INT(reply->error_count, 1)) {
        snprintf(play.refused_field, sizeof(play.refused_field), "%s", reply->errors[0].field);
    }
    part_done();
}

static void on_other(void *arg, const struct rpc_reply *reply)
{
    *(int *)arg = reply->err;
    part_done();
}

static void on_event(void *arg, struct bus_record *record)
{
    (void)arg;
    if (record->topic == TOPIC_EVENTS_USER) {
        CHECK_STR(record->request_id, "r-1");
        if (atomic_fetch_add(&play.outbox_events, 1) + 1 == 3) {
            part_done();
        }
    } else if (atomic_fetch_add(&echoes, 1) + 1 == RECORDS) {
        part_done();
    }
}

static void ask_all(struct svc_ctx *ctx)
{
    struct rpc_client *client = svc_rpc(ctx);
    Chat__GetPresenceRequest request = CHAT__GET_PRESENCE_REQUEST__INIT;
    uint64_t id = 40;
    struct rpc_caller caller = {.user_id = 2, .username = "u", .address = "", .device = ""};
    struct rpc_call call = {
        .topic = TOPIC_RPC_PRESENCE, .method = "GetPresence", .caller = &caller, .input = &request};
    CHECK_INT(rpc_call(client, &call, on_refused, NULL), 0);
    request.n_user_ids = 1;
    request.user_ids = &id;
    CHECK_INT(rpc_call(client, &call, on_ok, NULL), 0);
    id = 99;
    CHECK_INT(rpc_call(client, &call, on_other, &play.stale_err), 0);
    call.method = "ListOnline";
    Chat__ListOnlineRequest slow = CHAT__LIST_ONLINE_REQUEST__INIT;
    call.input = &slow;
    call.timeout_ms = 100;
    CHECK_INT(rpc_call(client, &call, on_other, &play.late_err), 0);
    call.timeout_ms = 0;
    call.method = "Nonsense";
    CHECK_INT(rpc_call(client, &call, on_other, &play.unknown_err), 0);
    Chat__Empty nothing = CHAT__EMPTY__INIT;
    call.input = &nothing;
    call.method = "ListGateways";
    CHECK_INT(rpc_call(client, &call, on_other, &play.asked_err), 0);
}

static void toy_b_announce(struct svc_ctx *ctx)
{
    static const struct bus_consumer_ops ops = {.on_record = on_event};
    static const enum topic topics[] = {TOPIC_EVENTS_USER, TOPIC_EVENTS_PRESENCE};
    driver = ctx;
    struct buf why;
    buf_init(&why);
    CHECK(svc_is_ready(&why));
    CHECK_STR(why.data, "{}");
    buf_done(&why);
    CHECK_INT(bus_read(svc_bus(ctx), topics, 2, BUS_FROM_FIRST, &ops, NULL, &reader), 0);
    ask_all(ctx);
    for (uint64_t i = 1; i <= RECORDS; i++) {
        struct bus_message m = {.topic = TOPIC_PRESENCE,
                                .key = {i % 5, 0},
                                .partition = -1,
                                .value = &i,
                                .len = sizeof(i)};
        CHECK_INT(bus_send(svc_bus(ctx), &m, NULL, NULL), 0);
    }
}

static void on_reader_left(void *arg)
{
    svc_stopped(arg);
}

static void toy_b_stop(struct svc_ctx *ctx)
{
    play.stop_called = true;
    bus_consumer_leave(reader, on_reader_left, ctx);
}

static const struct svc toy_b = {
    .name = "toy-b", .about = "asks", .announce = toy_b_announce, .stop = toy_b_stop};

TEST(two_services_in_one_process)
{
    setenv("DATA_DIR", ":memory:", 1);
    setenv("ADMIN_PORT", "0", 1);
    setenv("LOG_LEVEL", "warn", 1);
    char name[] = "test_svc", *argv[] = {name, NULL};
    uint64_t before = log_warnings();
    int status = svc_main(1, argv, (const struct svc *const[]){&toy_a, &toy_b}, 2);
    CHECK_INT(status, 0);
    CHECK_INT(play.ok_err, 0);
    CHECK_INT(play.answered_id, 42);
    CHECK_INT(play.refused_err, ERR_INVALID);
    CHECK_STR(play.refused_field, "user_ids");
    CHECK_STR(play.refused_detail, "user_ids must name somebody");
    CHECK_INT(play.late_err, ERR_TIMEOUT);
    CHECK_INT(play.stale_err, ERR_UNAVAILABLE);
    CHECK_INT(play.unknown_err, ERR_INTERNAL);
    CHECK_INT(play.asked_err, 0);
    CHECK_INT(atomic_load(&play.seen), RECORDS);
    CHECK_INT(atomic_load(&play.out_of_order), 0);
    CHECK(atomic_load(&play.failures) > 0);
    CHECK_INT(atomic_load(&play.outbox_events), 3);
    CHECK_INT(atomic_load(&play.worked), 1);
    CHECK_INT(atomic_load(&play.assigned), 12);
    CHECK_INT(atomic_load(&play.revoked), 12);
    CHECK(play.stop_called);
    /* One line for the unknown method, one for each failed batch. */
    EXPECT_WARNINGS(log_warnings() - before);
}
