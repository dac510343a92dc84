// SPDX-License-Identifier: MIT
/*
 * The asking side of RPC with a wire that only remembers: numbering, replies, deadlines, cancels.
 */
#include "common/rpc.h"

#include "common/pb.h"
#include "common/rpc_server.h"
#include "proto/envelope.pb-c.h"
#include "tests/unit/test.h"

#include <uv.h>

struct sent {
    uint8_t data[4096];
    size_t len;
    int refuse; /* what the next send returns */
    int count;
};

struct answer {
    int calls, err;
    char detail[64], field[32];
    size_t len;
};

static int remember(void *arg, const struct rpc_call *call, const uint8_t *data, size_t len)
{
    struct sent *sent = arg;
    (void)call;
    if (sent->refuse != 0) {
        return sent->refuse;
    }
    CHECK(len <= sizeof(sent->data));
    memcpy(sent->data, data, len);
    sent->len = len;
    sent->count++;
    return 0;
}

static void take(void *arg, const struct rpc_reply *reply)
{
    struct answer *a = arg;
    a->calls++;
    a->err = reply->err;
    a->len = reply->len;
    snprintf(a->detail, sizeof(a->detail), "%s", reply->detail);
    snprintf(a->field, sizeof(a->field), "%s",
             reply->error_count > 0 ? reply->errors[0].field : "");
}

struct world {
    uv_loop_t loop;
    struct sent sent;
    struct rpc_client *client;
};

static void begin(struct world *w)
{
    memset(w, 0, sizeof(*w));
    uv_loop_init(&w->loop);
    struct rpc_wire wire = {.send = remember, .arg = &w->sent};
    w->client = rpc_client_new(&w->loop, "toy-1", &wire);
}

static void end(struct world *w)
{
    rpc_client_close(w->client);
    uv_run(&w->loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&w->loop), 0);
}

static Chat__Request *request_of(struct world *w, struct arena *arena)
{
    return pb_unpack(&chat__request__descriptor, arena, w->sent.data, w->sent.len);
}

static void reply_to(struct world *w, uint64_t id, int err, const char *field)
{
    struct arena *arena = arena_new(0);
    struct rpc_field_error error = {.field = field, .reason = "is odd"};
    size_t len;
    uint8_t *data = rpc_pack_reply(arena, "other-1", id, err, err == 0 ? "" : "a sentence", &error,
                                   field == NULL ? 0 : 1, 0, NULL, &len);
    rpc_client_received(w->client, data, len);
    arena_free(arena);
}

static bool run_until(struct world *w, const struct answer *a, int calls)
{
    for (int i = 0; i < 2000 && a->calls < calls; i++) {
        uv_run(&w->loop, UV_RUN_ONCE);
    }
    return a->calls >= calls;
}

TEST(a_reply_finds_its_call_once)
{
    struct world w;
    begin(&w);
    struct arena *arena = arena_new(0);
    struct answer a = {0};
    struct rpc_caller caller = {.user_id = 7, .session_id = 8, .username = "u", .address = "::1"};
    struct rpc_call call = {
        .method = "Do", .caller = &caller, .body = (const uint8_t *)"xyz", .len = 3};

    CHECK_INT(rpc_call(w.client, &call, take, &a), 0);
    Chat__Request *r = request_of(&w, arena);
    CHECK(pb_equal(r->method, "Do") && pb_equal(r->body, "xyz") && pb_equal(r->reply_to, "toy-1"));
    CHECK_INT(r->caller->user_id, 7);
    CHECK(r->deadline_at > clock_now_ms() && r->deadline_at <= clock_now_ms() + RPC_DEADLINE_MS);
    CHECK_INT(rpc_client_waiting(w.client), 1);
    reply_to(&w, r->id + 1, 0, NULL); /* nobody's */
    CHECK_INT(a.calls, 0);
    reply_to(&w, r->id, ERR_INVALID, "name");
    reply_to(&w, r->id, 0, NULL); /* again */
    CHECK_INT(a.calls, 1);
    CHECK_INT(a.err, ERR_INVALID);
    CHECK_STR(a.detail, "a sentence");
    CHECK_STR(a.field, "name");
    CHECK_INT(rpc_client_waiting(w.client), 0);
    arena_free(arena);
    end(&w);
}

TEST(a_deadline_answers_with_timeout)
{
    struct world w;
    begin(&w);
    struct answer quick = {0}, slow = {0};
    struct rpc_call call = {.method = "Do", .timeout_ms = 1};

    CHECK_INT(rpc_call(w.client, &call, take, &quick), 0);
    call.timeout_ms = 100000; /* more than the wheel holds: its most */
    CHECK_INT(rpc_call(w.client, &call, take, &slow), 0);
    CHECK(run_until(&w, &quick, 1));
    CHECK_INT(quick.err, ERR_TIMEOUT);
    CHECK_INT(slow.calls, 0);
    end(&w);
    CHECK_INT(slow.calls, 1);
    CHECK_INT(slow.err, ERR_UNAVAILABLE); /* closed while it waited */
    CHECK_INT(quick.calls, 1);
}

TEST(a_send_that_is_refused_leaves_nothing_behind)
{
    struct world w;
    begin(&w);
    struct answer a = {0};
    struct rpc_call call = {.method = "Do"};

    w.sent.refuse = ERR_UNAVAILABLE;
    CHECK_INT(rpc_call(w.client, &call, take, &a), ERR_UNAVAILABLE);
    CHECK_INT(rpc_client_waiting(w.client), 0);
    end(&w);
    CHECK_INT(a.calls, 0);
}

TEST(an_expected_call_is_resolved_or_cancelled)
{
    struct world w;
    begin(&w);
    struct answer a = {0}, b = {0};
    uint64_t first, second;

    CHECK_INT(rpc_expect(w.client, 0, take, &a, &first), 0);
    CHECK_INT(rpc_expect(w.client, 0, take, &b, &second), 0);
    CHECK(first != second && first != 0);
    CHECK(rpc_cancel(w.client, second));
    CHECK(!rpc_cancel(w.client, second));
    rpc_resolve(w.client, first, &(struct rpc_reply){.detail = "", .instance = "", .len = 5});
    CHECK_INT(a.calls, 1);
    CHECK_INT(a.len, 5);
    end(&w);
    CHECK_INT(b.calls, 0);
}

TEST(there_is_a_bound)
{
    struct world w;
    begin(&w);
    struct answer a = {0};
    uint64_t id;
    int taken = 0;

    while (taken < 200000 && rpc_expect(w.client, 0, take, &a, &id) == 0) {
        taken++;
    }
    CHECK_INT(taken, 100000);
    CHECK_INT(rpc_client_waiting(w.client), 100000);
    end(&w);
    CHECK_INT(a.calls, 100000);
}

TEST(what_is_no_reply_is_dropped)
{
    EXPECT_WARNINGS(1);
    struct world w;
    begin(&w);
    rpc_client_received(w.client, (const uint8_t *)"\xff\xff\xff", 3);
    end(&w);
}
