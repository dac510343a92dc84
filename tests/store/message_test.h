// SPDX-License-Identifier: MIT
/*
 * What the tests of message-svc share: a log of commands made by hand, the writer's core on it, and
 * a wire for doubts that only notes. On a SQLite file, on a SQLite memory database and, when
 * DATABASE_URL is set, on that server too; or only on the database whose URL is the first argument.
 * The tables are dropped and made anew. Included once by each test.
 */
#pragma once

#include "common/bus.h"
#include "common/db.h"
#include "common/err.h"
#include "common/map.h"
#include "common/pb.h"
#include "message-svc/ids.h"
#include "message-svc/schema.h"
#include "message-svc/writer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int test_frame_main(int argc, char **argv);
#define main test_frame_main
#include "tests/unit/test.h"
#undef main

enum { PARTITIONS = 4, LOG_MAX = 20000, TOLD_MAX = 1000, NOW = 1700000000 };
#define NOW_MS (NOW * 1000LL)

static const char *url;

struct world { /* what outlives an instance */
    struct arena *arena;
    struct db *db;          /* keeps a memory database alive */
    struct bus_record *log; /* of all partitions, in the order of sending */
    size_t n;
    int64_t ends[PARTITIONS];
};

struct told { /* a refusal, or a record appended again */
    uint64_t user;
    struct message_conv conv;
    int err;
    struct message_held *held; /* appended */
};

struct instance { /* of message-svc */
    struct db *db;
    struct arena *arena; /* of the batch */
    struct message_doubts *doubts;
    struct message_writer *writer;
    struct message_batch batch;
    struct told appended[TOLD_MAX], refused[TOLD_MAX];
    size_t appended_count, refused_count;
    int append_err;
};

/* ---- Databases ---- */

static inline struct db *open_db(void)
{
    struct db *db = NULL;
    char problem[256];
    if (!CHECK_INT(db_open(url, &db, problem, sizeof(problem)), 0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return db;
}

static inline void must(struct db *db, const char *sql)
{
    if (!CHECK_INT(db_exec(db, sql, NULL, 0, NULL), 0)) {
        printf("    %s\n", sql);
    }
}

static inline int64_t number(struct db *db, const char *sql)
{
    struct arena *arena = arena_new(0);
    struct db_rows rows = {0};
    int64_t value = -1;
    if (CHECK_INT(db_query(db, arena, sql, NULL, 0, &rows), 0) && CHECK(rows.count > 0)) {
        value = db_at(&rows, 0, 0)->i;
    }
    arena_free(arena);
    return value;
}

static inline struct db *make_tables(void)
{
    static const char *const tables[] = {"message",  "conversation",  "participant",
                                         "member",   "group_copy",    "send_position",
                                         "id_block", "schema_version"};
    struct db *db = open_db();
    char problem[256] = "", sql[80];
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
        snprintf(sql, sizeof(sql), "DROP TABLE IF EXISTS %s", tables[i]);
        must(db, sql);
    }
    if (!CHECK_INT(db_migrate(db, &(struct db_schema){"message", 1, message_schema_sql}, problem,
                              sizeof(problem)),
                   0)) {
        printf("%s\n", problem);
        exit(EXIT_FAILURE);
    }
    return db;
}

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

/* ---- Instances ---- */

static inline int note_append(void *arg, struct message_held *held)
{
    struct instance *in = arg;
    if (in->append_err == 0) {
        in->appended[in->appended_count++] =
            (struct told){.user = held->user, .conv = held->conv, .held = held};
    }
    return in->append_err;
}

static inline void note_refuse(void *arg, const struct message_held *held,
                               const struct message_refusal *why)
{
    struct instance *in = arg;
    in->refused[in->refused_count++] =
        (struct told){.user = held->user, .conv = held->conv, .err = why->err};
}

static inline struct instance *instance_new(void)
{
    struct instance *in = calloc(1, sizeof(*in));
    in->db = open_db();
    in->arena = arena_new(1 << 16);
    in->doubts = message_doubts_new(
        &(struct message_doubts_wire){.append = note_append, .refuse = note_refuse, .arg = in});
    in->writer = message_writer_new("log-1", in->doubts);
    return in;
}

static inline void instance_free(struct instance *in)
{
    message_writer_free(in->writer);
    message_doubts_free(in->doubts);
    db_close(in->db);
    arena_free(in->arena);
    free(in);
}

/* The records from..to (exclusive) of the log, as one batch, at most 500. */
static inline int run(struct instance *in, const struct world *world, size_t from, size_t to)
{
    struct bus_record *records[500];
    for (size_t i = from; i < to; i++) {
        records[i - from] = &world->log[i];
    }
    arena_reset(in->arena);
    return message_writer_run(in->writer, in->db, in->arena, records, to - from, &in->batch);
}

static inline void must_run(struct instance *in, const struct world *world, size_t from, size_t to)
{
    CHECK_INT(run(in, world, from, to), 0);
}

/* What publish.c does with the doubts of a batch. */
static inline void carry_doubts(struct instance *in)
{
    for (size_t i = 0; i < in->batch.n; i++) {
        struct message_item *item = &in->batch.items[i];
        if (item->outcome == MESSAGE_DOUBTED) {
            Chat__Command checked = *item->command;
            struct message_held held = {.user = item->draft.sender_id,
                                        .conv = item->conv,
                                        .partition = item->partition,
                                        .call_id = item->command->id};
            checked.checked = 1;
            held.value = pb_pack(&checked, in->arena, &held.len);
            CHECK_INT(message_doubts_hold(in->doubts, &held, item->is_public), 0);
        }
        if (item->is_send && item->command->checked && !item->replay) {
            message_doubts_seen(in->doubts, item->draft.sender_id, item->conv);
        }
    }
}

/* What the bus does with appended records. */
static inline void deliver_appended(struct instance *in, struct world *world)
{
    for (size_t i = 0; i < in->appended_count; i++) {
        struct message_held *held = in->appended[i].held;
        append_record(world, held->conv, held->value, held->len);
        message_doubts_appended(in->doubts, held, 0);
    }
    in->appended_count = 0;
}

static inline void answer(struct instance *in, bool groups, enum message_answer answer,
                          const struct message_fact *fact)
{
    struct message_doubt_key keys[100];
    size_t n = message_doubts_take(in->doubts, groups, keys, 100);
    for (size_t i = 0; i < n; i++) {
        message_doubts_answer(in->doubts, keys[i], answer, fact);
    }
}

static inline void join_group(struct instance *in, uint64_t group, uint64_t user, uint64_t version)
{
    struct message_fact fact = {.group_id = group,
                                .user_id = user,
                                .role = CHAT__ROLE__TYPE__MEMBER,
                                .joined_at = (int64_t)version,
                                .whole_history = true,
                                .version = version};
    CHECK_INT(message_members_apply(in->db, in->arena, &fact, 1, NULL, 0), 0);
}

/* ---- Programs ---- */

static inline int run_on(const char *database, int argc, char **argv)
{
    url = database;
    printf("on %.7s%s\n", url, strstr(url, ":memory:") != NULL ? ":memory:" : "…");
    return test_frame_main(argc, argv);
}

int main(int argc, char **argv)
{
    if (argc > 1 && (strncmp(argv[1], "mysql:", 6) == 0 || strncmp(argv[1], "sqlite:", 7) == 0)) {
        char *own = argv[1];
        argv[1] = argv[0];
        return run_on(own, argc - 1, argv + 1);
    }
    char dir[] = "/tmp/test_message.XXXXXX", sqlite_url[80];
    if (mkdtemp(dir) == NULL) {
        return EXIT_FAILURE;
    }
    snprintf(sqlite_url, sizeof(sqlite_url), "sqlite:%s/message.db", dir);
    int failed = run_on(sqlite_url, argc, argv);
    unlink(sqlite_url + strlen("sqlite:"));
    rmdir(dir);
    failed |= run_on("sqlite::memory:message", argc, argv);
    if (getenv("DATABASE_URL") != NULL) {
        failed |= run_on(getenv("DATABASE_URL"), argc, argv);
    }
    return failed;
}
