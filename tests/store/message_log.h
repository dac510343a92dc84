// SPDX-License-Identifier: MIT
/*
 * A log of chat.commands made by hand, for tests of message-svc.
 */
#pragma once

#include "tests/store/message_db.h"

#include "common/bus.h"
#include "common/map.h"
#include "common/pb.h"
#include "message-svc/rules.h"
#include "proto/message.pb-c.h"

enum { PARTITIONS = 4, LOG_MAX = 20000, TOLD_MAX = 1000, NOW = 1700000000 };
#define NOW_MS (NOW * 1000LL)

struct world { /* what outlives an instance */
    struct arena *arena;
    struct db *db;          /* keeps a memory database alive */
    struct bus_record *log; /* of all partitions, in the order of sending */
    size_t n;
    int64_t ends[PARTITIONS];
};

/* ---- The log ---- */

static inline struct world *world_new(void)
{
    struct world *world = calloc(1, sizeof(*world));
    world->db = make_tables();
    clock_freeze(NOW_MS, 1000000);
    world->arena = arena_new(1 << 16);
    world->log = calloc(LOG_MAX, sizeof(*world->log));
    return world;
}

static inline void world_free(struct world *world)
{
    arena_free(world->arena);
    db_close(world->db);
    free(world->log);
    free(world);
}

static inline int32_t partition_of(struct message_conv conv)
{
    return (int32_t)(map_hash_stable(conv.a, conv.b) % PARTITIONS);
}

static inline const struct bus_record *append_record(struct world *world, struct message_conv conv,
                                                     const void *value, size_t len)
{
    int32_t partition = partition_of(conv);
    if (world->n == LOG_MAX) {
        abort();
    }
    struct bus_record *record = &world->log[world->n++];
    *record = (struct bus_record){
        .topic = TOPIC_COMMANDS,
        .partition = partition,
        .offset = world->ends[partition]++,
        .key = {conv.a, conv.b},
        .value = arena_memdup(world->arena, value, len),
        .len = len,
        .traceparent = "",
        .request_id = "",
    };
    return record;
}

struct letter { /* a send; zeroes have defaults */
    uint64_t from, to, group;
    const char *text, *client_id, *type;
    uint64_t reply_to;
    int64_t deadline_at;
};

static inline const struct bus_record *post(struct world *world, struct letter letter)
{
    static uint64_t counter;
    Chat__Command command = CHAT__COMMAND__INIT;
    Chat__Caller caller = CHAT__CALLER__INIT;
    Chat__Send send = CHAT__SEND__INIT;
    struct message_conv conv = letter.group != 0 ? message_conv_group(letter.group)
                                                 : message_conv_private(letter.from, letter.to);
    size_t len;
    counter++;
    caller.user_id = letter.from;
    send.content = pb_str(letter.text != NULL ? letter.text : "hello");
    send.type = pb_str(letter.type != NULL ? letter.type : "text");
    send.client_id = pb_str(letter.client_id != NULL
                                ? letter.client_id
                                : arena_printf(world->arena, "made-%" PRIu64, counter));
    send.receiver_id = letter.to;
    send.group_id = letter.group;
    send.reply_to = letter.reply_to;
    command.id = counter;
    command.reply_to = pb_str("gateway-1");
    command.caller = &caller;
    command.deadline_at = letter.deadline_at != 0 ? letter.deadline_at : NOW_MS + 5000;
    command.op_case = CHAT__COMMAND__OP_SEND;
    command.send = &send;
    const uint8_t *value = pb_pack(&command, world->arena, &len);
    return append_record(world, conv, value, len);
}
