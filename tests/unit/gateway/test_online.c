// SPDX-License-Identifier: MIT
/* The set of users online: snapshots that the test answers, events, pages. */
#include "gateway/online.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/pb.h"
#include "common/rpc.h"
#include "tests/unit/test.h"

static struct gateway gw;
static struct online *online;
static struct arena *arena;
static rpc_reply_fn asked; /* NULL: no question is open */
static void *asked_arg;
static uint64_t asked_cursor;

int rpc_call(struct rpc_client *client, const struct rpc_call *call, rpc_reply_fn fn, void *arg)
{
    (void)client;
    CHECK(asked == NULL);
    asked = fn;
    asked_arg = arg;
    asked_cursor = ((const Chat__ListOnlineRequest *)call->input)->cursor;
    return 0;
}

static void answer(int err, const uint64_t *ids, size_t n, uint64_t version, uint64_t next)
{
    Chat__OnlineList page = CHAT__ONLINE_LIST__INIT;
    page.users = arena_array(arena, n, sizeof(*page.users));
    page.n_users = n;
    page.next_cursor = next;
    for (size_t i = 0; i < n; i++) {
        page.users[i] = pb_new(&chat__user_status__descriptor, arena);
        page.users[i]->user_id = ids[i];
        page.users[i]->online = true;
        page.users[i]->version = version;
    }
    struct rpc_reply reply = {.err = err, .detail = "", .instance = ""};
    reply.body = pb_pack(&page, arena, &reply.len);
    rpc_reply_fn fn = asked;
    CHECK(fn != NULL);
    asked = NULL;
    fn(asked_arg, &reply);
}

static bool event(uint64_t id, bool present, uint64_t version)
{
    Chat__UserStatus s = CHAT__USER_STATUS__INIT;
    s.user_id = id;
    s.online = present;
    s.version = version;
    return online_merge(online, &s);
}

static void begin(void)
{
    arena = arena_new(0);
    clock_freeze(INT64_C(1800000000000), INT64_C(1000000000));
    online = online_new(&gw);
    online_start(online);
    answer(0, (uint64_t[]){1, 2}, 2, 10, 77);
    CHECK_INT(asked_cursor, 77);
    CHECK(event(5, true, 20));
    CHECK(event(3, false, 20) == false);
    answer(0, (uint64_t[]){3, 4}, 2, 10, 0);
    CHECK(online_is_complete(online));
    CHECK(!online_has(online, 3));
    CHECK_INT(online_count(online), 4);
}

static void end(void)
{
    online_free(online);
    arena_free(arena);
    clock_unfreeze();
}

TEST(missed_events)
{
    begin();
    online_restart(online);
    CHECK(!online_is_complete(online));
    CHECK(online_has(online, 1)); /* as far as is known */
    online_tick(online);
    CHECK_INT(asked_cursor, 0);
    CHECK(event(6, true, 30));
    answer(0, (uint64_t[]){2, 5}, 2, 10, 78);
    online_restart(online); /* once more, in the middle */
    answer(0, (uint64_t[]){4}, 1, 10, 79);
    CHECK(asked == NULL); /* that snapshot is not gone on with */
    online_tick(online);
    CHECK_INT(asked_cursor, 0);
    CHECK(event(4, false, 40));
    answer(0, (uint64_t[]){2, 4, 5}, 3, 10, 0);
    CHECK(online_is_complete(online));
    CHECK(!online_has(online, 1) && online_has(online, 2) && !online_has(online, 4));
    CHECK(online_has(online, 5) && !online_has(online, 6));
    CHECK_INT(online_count(online), 2);
    end();
}

TEST(pages)
{
    uint64_t ids[10];
    begin();
    CHECK_INT(online_page(online, 0, ids, 3), 3);
    CHECK(ids[0] == 1 && ids[1] == 2 && ids[2] == 4);
    CHECK_INT(online_page(online, 2, ids, 10), 2);
    CHECK(ids[0] == 4 && ids[1] == 5);
    CHECK_INT(online_page(online, 5, ids, 10), 0);
    CHECK(event(9, true, 50));
    CHECK_INT(online_page(online, 5, ids, 10), 1);
    CHECK_INT(ids[0], 9);
    end();
}
