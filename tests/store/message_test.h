// SPDX-License-Identifier: MIT
/* Instances of message-svc: its writer on a log made by hand, and a wire for doubts that notes. */
#pragma once

#include "tests/store/message_log.h"

#include "message-svc/ids.h"
#include "message-svc/writer.h"

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
            CHECK_INT(message_doubts_hold(in->doubts, &held), 0);
        }
        if (item->is_send && item->command->checked) {
            message_doubts_seen(in->doubts, item->draft.sender_id, item->conv, item->partition,
                                item->offset);
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

static inline enum message_outcome outcome(const struct instance *in, size_t i)
{
    return in->batch.items[i].outcome;
}

static inline struct message_fact fact_of(uint64_t group, uint64_t user, int role, uint64_t version)
{
    return (struct message_fact){group, user, role, .joined_at = 1000, .version = version};
}

static inline void apply(struct instance *in, struct message_fact fact)
{
    CHECK_INT(message_members_apply(in->db, in->arena, &fact, 1, NULL, 0), 0);
}

static inline void join_group(struct instance *in, uint64_t group, uint64_t user, uint64_t version)
{
    struct message_fact fact = fact_of(group, user, CHAT__ROLE__TYPE__MEMBER, version);
    fact.joined_at = clock_now_ms() + (int64_t)version;
    fact.whole_history = true;
    apply(in, fact);
}
