// SPDX-License-Identifier: MIT
/* Edits and recalls: who may, what is written, rev, retries, replays. */
#include "tests/store/message_test.h"

#include "common/err.h"
#include "common/rpc.h"
#include "message-svc/handlers.h"
#include "message-svc/questions.h"
#include "message-svc/service.h"

struct change { /* an edit, or (text NULL) a recall */
    uint64_t by;
    const struct message_row *of;
    const char *text;
    int64_t deadline_at;
};

static void change(struct world *world, struct change c)
{
    Chat__Command command = CHAT__COMMAND__INIT;
    Chat__Caller caller = CHAT__CALLER__INIT;
    Chat__Edit edit = CHAT__EDIT__INIT;
    Chat__Recall recall = CHAT__RECALL__INIT;
    size_t len;
    caller.user_id = c.by;
    edit.message_id = recall.message_id = c.of->id;
    edit.seq = recall.seq = c.of->seq;
    command.caller = &caller;
    command.deadline_at = c.deadline_at != 0 ? c.deadline_at : NOW_MS + 5000;
    if (c.text != NULL) {
        edit.content = pb_str(c.text);
        command.op_case = CHAT__COMMAND__OP_EDIT;
        command.edit = &edit;
    } else {
        command.op_case = CHAT__COMMAND__OP_RECALL;
        command.recall = &recall;
    }
    const uint8_t *value = pb_pack(&command, world->arena, &len);
    append_record(world, c.of->conv, value, len);
}

/* A message of user 1 in the group; the row outlives the batch. */
static const struct message_row *sent(struct world *world, struct instance *in, uint64_t group)
{
    post(world, (struct letter){.from = 1, .group = group});
    must_run(in, world, world->n - 1, world->n);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    return arena_memdup(world->arena, in->batch.items[0].row, sizeof(struct message_row));
}

static struct message_row stored(struct instance *in, uint64_t id)
{
    struct message_rows rows = {0};
    CHECK_INT(message_store_by_id(in->db, in->arena, id, &rows), 0);
    CHECK_INT(rows.n, 1);
    return rows.n == 1 ? rows.at[0] : (struct message_row){0};
}

static bool says(const struct message_row *row, const char *text)
{
    return row->content.n == strlen(text) && memcmp(row->content.p, text, row->content.n) == 0;
}

static int run_one(struct world *world, struct instance *in, struct change c)
{
    change(world, c);
    must_run(in, world, world->n - 1, world->n);
    return outcome(in, 0) == MESSAGE_REFUSED ? in->batch.items[0].refusal.err : 0;
}

TEST(a_sender_edits_and_recalls)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    const struct message_row *first = sent(world, in, 9), *second = sent(world, in, 9);
    clock_freeze(NOW_MS + 100, 1100000);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = second, .text = "better"}), 0);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    struct message_row row = stored(in, second->id);
    CHECK(says(&row, "better"));
    CHECK_INT(row.edited_at, NOW_MS + 100);
    CHECK_INT(row.rev, 1);
    CHECK_INT(row.created_at, second->created_at);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = first}), 0);
    row = stored(in, first->id);
    CHECK(row.recalled && says(&row, ""));
    CHECK_INT(row.rev, 2);
    CHECK_INT(stored(in, second->id).rev, 1);
    CHECK_INT(number(in->db, "SELECT last_rev FROM conversation"), 2);
    CHECK_INT(number(in->db, "SELECT last_seq FROM conversation"), 2);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = first, .text = "x"}), ERR_CONFLICT);
    CHECK_INT(sent(world, in, 9)->seq, 3); /* the caches know both counters */
    CHECK_INT(number(in->db, "SELECT last_rev FROM conversation"), 2);
    instance_free(in);
    world_free(world);
}

TEST(others_may_not)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    const struct message_row *row = sent(world, in, 9);
    join_group(in, 9, 2, 2);
    struct message_fact late = fact_of(9, 3, CHAT__ROLE__TYPE__ADMIN, 3);
    late.joined_at = NOW_MS + 1;
    apply(in, late);
    CHECK_INT(run_one(world, in, (struct change){.by = 2, .of = row, .text = "x"}), ERR_FORBIDDEN);
    CHECK_INT(run_one(world, in, (struct change){.by = 2, .of = row}), ERR_FORBIDDEN);
    CHECK_INT(run_one(world, in, (struct change){.by = 3, .of = row}), ERR_NOT_FOUND);
    CHECK_INT(run_one(world, in, (struct change){.by = 4, .of = row}), ERR_NOT_FOUND);
    CHECK_INT(run_one(world, in, (struct change){.by = 0, .of = row}), ERR_UNAUTHENTICATED);
    struct message_row other = *row;
    other.id++;
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = &other}), ERR_NOT_FOUND);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = row, .text = ""}), ERR_INVALID);
    struct message_fact muted = fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 4);
    muted.muted_until = NOW_MS + 60000;
    apply(in, muted);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = row, .text = "x"}), ERR_FORBIDDEN);
    apply(in, fact_of(9, 1, CHAT__ROLE__TYPE__NONE, 5));
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = row, .text = "x"}), ERR_NOT_FOUND);
    CHECK_INT(stored(in, row->id).rev, 0);
    instance_free(in);
    world_free(world);
}

TEST(an_admin_recalls_and_does_not_edit)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    const struct message_row *row = sent(world, in, 9);
    struct message_fact admin = fact_of(9, 2, CHAT__ROLE__TYPE__ADMIN, 2);
    admin.whole_history = true;
    apply(in, admin);
    CHECK_INT(run_one(world, in, (struct change){.by = 2, .of = row, .text = "x"}), ERR_FORBIDDEN);
    CHECK_INT(run_one(world, in, (struct change){.by = 2, .of = row}), 0);
    CHECK(stored(in, row->id).recalled);
    CHECK_INT(in->batch.items[0].row->sender_id, 1);
    instance_free(in);
    world_free(world);
}

TEST(the_same_again_changes_nothing)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    const struct message_row *row = sent(world, in, 9);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = row, .text = "hello"}), 0);
    CHECK_INT(outcome(in, 0), MESSAGE_REPEATED);
    CHECK_INT(stored(in, row->id).edited_at, 0);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = row}), 0);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = row}), 0);
    CHECK_INT(outcome(in, 0), MESSAGE_REPEATED);
    CHECK_INT(stored(in, row->id).rev, 1);
    CHECK_INT(run_one(world, in,
                      (struct change){.by = 1, .of = row, .text = "x", .deadline_at = NOW_MS - 1}),
              0);
    CHECK_INT(outcome(in, 0), MESSAGE_PASSED); /* nobody waits for the refusal */
    instance_free(in);
    world_free(world);
}

TEST(several_changes_in_one_batch)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    const struct message_row *a = sent(world, in, 9), *b = sent(world, in, 9);
    size_t from = world->n;
    change(world, (struct change){.by = 1, .of = a, .text = "one"});
    change(world, (struct change){.by = 1, .of = b, .text = "two"});
    post(world, (struct letter){.from = 1, .group = 9});
    change(world, (struct change){.by = 1, .of = a, .text = "three"});
    change(world, (struct change){.by = 1, .of = a});
    must_run(in, world, from, world->n);
    const struct message_item *items = in->batch.items;
    CHECK(says(items[0].row, "one") && items[0].row->rev == 1);
    CHECK(says(items[1].row, "two") && items[1].row->rev == 2);
    CHECK_INT(items[2].row->seq, 3);
    CHECK(says(items[3].row, "three") && items[3].row->rev == 3 && !items[3].row->recalled);
    CHECK(items[4].row->recalled && items[4].row->rev == 4);
    CHECK_INT(stored(in, a->id).rev, 4);
    CHECK_INT(number(in->db, "SELECT last_rev FROM conversation"), 4);
    instance_free(in);
    world_free(world);
}

/* What the rows show is told again; what a later change has gone over is told by that one. */
TEST(replays_write_nothing)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    const struct message_row *a = sent(world, in, 9), *b = sent(world, in, 9);
    size_t from = world->n;
    change(world, (struct change){.by = 1, .of = a, .text = "one"});
    change(world, (struct change){.by = 1, .of = a, .text = "two"});
    change(world, (struct change){.by = 1, .of = b});
    change(world, (struct change){.by = 2, .of = b});
    must_run(in, world, from, world->n);
    message_writer_forget(in->writer, partition_of(a->conv));
    clock_freeze(NOW_MS + 60000, 61000000); /* whatever the deadline */
    must_run(in, world, from, world->n);
    static const enum message_outcome expected[] = {MESSAGE_PASSED, MESSAGE_REPLAYED,
                                                    MESSAGE_REPLAYED, MESSAGE_PASSED};
    for (size_t i = 0; i < 4; i++) {
        CHECK_INT(outcome(in, i), expected[i]);
    }
    CHECK(says(in->batch.items[1].row, "two") && in->batch.items[1].row->rev == 2);
    CHECK(in->batch.items[2].row->recalled);
    CHECK_INT(number(in->db, "SELECT last_rev FROM conversation"), 3);
    instance_free(in);
    world_free(world);
}

/* Between the write and the replay the editor was thrown out. */
TEST(a_replay_tells_what_was_written_whoever_has_left)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    const struct message_row *a = sent(world, in, 9), *b = sent(world, in, 9);
    size_t from = world->n;
    change(world, (struct change){.by = 1, .of = a, .text = "one"});
    change(world, (struct change){.by = 1, .of = b});
    must_run(in, world, from, world->n);
    message_writer_forget(in->writer, partition_of(a->conv));
    apply(in, fact_of(9, 1, CHAT__ROLE__TYPE__NONE, 7));
    must_run(in, world, from, world->n);
    CHECK_INT(outcome(in, 0), MESSAGE_REPLAYED);
    CHECK_INT(outcome(in, 1), MESSAGE_REPLAYED);
    instance_free(in);
    world_free(world);
}

TEST(a_retry_sees_an_edit_of_the_same_batch)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct letter letter = {.from = 1, .group = 9, .client_id = "c"};
    join_group(in, 9, 1, 1);
    post(world, letter);
    must_run(in, world, 0, 1);
    const struct message_row *row =
        arena_memdup(world->arena, in->batch.items[0].row, sizeof(struct message_row));
    change(world, (struct change){.by = 1, .of = row, .text = "edited"});
    post(world, letter);
    must_run(in, world, 1, 3);
    CHECK_INT(outcome(in, 1), MESSAGE_REPEATED);
    CHECK(says(in->batch.items[1].row, "edited"));
    instance_free(in);
    world_free(world);
}

TEST(private_messages_too)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    post(world, (struct letter){.from = 1, .to = 1});
    must_run(in, world, 0, 1);
    const struct message_row *row =
        arena_memdup(world->arena, in->batch.items[0].row, sizeof(struct message_row));
    CHECK_INT(run_one(world, in, (struct change){.by = 2, .of = row}), ERR_NOT_FOUND);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = row, .text = "note"}), 0);
    struct message_row now = stored(in, row->id);
    CHECK(says(&now, "note"));
    instance_free(in);
    world_free(world);
}

/* ---- sync by rev ---- */

struct message_doubts *message_service_doubts(const struct svc_ctx *ctx)
{
    (void)ctx;
    return NULL; /* only members ask here */
}

int message_questions_check(struct rpc_request *rq, const uint64_t *groups, size_t n,
                            bool *is_public_out)
{
    (void)rq, (void)groups, (void)n, (void)is_public_out;
    return ERR_UNAVAILABLE;
}

/* The seqs of the answer, one digit each. */
static const char *sync_of(struct instance *in, uint64_t user, uint64_t seq, int64_t rev)
{
    static char seqs[16];
    Chat__SyncRequest__Of of = CHAT__SYNC_REQUEST__OF__INIT, *list[] = {&of};
    Chat__SyncRequest query = CHAT__SYNC_REQUEST__INIT;
    Chat__SyncReply reply = CHAT__SYNC_REPLY__INIT;
    struct rpc_request rq = {.arena = in->arena, .db = in->db, .caller = {.user_id = user}};
    of.type = CHAT__KIND__TYPE__GROUP;
    of.target_id = 9;
    of.seq = seq;
    of.rev_given = rev >= 0;
    of.rev = rev >= 0 ? (uint64_t)rev : 0;
    query.of = list;
    query.n_of = 1;
    CHECK_INT(message_sync(&rq, &query, &reply), 0);
    CHECK(reply.complete);
    size_t n = 0;
    for (; n < reply.n_messages && n < sizeof(seqs) - 1; n++) {
        seqs[n] = (char)('0' + reply.messages[n]->seq);
    }
    seqs[n] = '\0';
    return seqs;
}

TEST(sync_tells_what_has_changed)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    const struct message_row *rows[5];
    join_group(in, 9, 1, 1);
    for (size_t i = 0; i < 5; i++) {
        rows[i] = sent(world, in, 9);
    }
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = rows[2], .text = "x"}), 0);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = rows[0]}), 0);
    CHECK_INT(run_one(world, in, (struct change){.by = 1, .of = rows[4], .text = "y"}), 0);
    CHECK_STR(sync_of(in, 1, 5, 0), "135");
    CHECK_STR(sync_of(in, 1, 4, 0), "135"); /* the fifth as a missed one */
    CHECK_STR(sync_of(in, 1, 5, 1), "15");
    CHECK_STR(sync_of(in, 1, 5, 3), "");
    CHECK_STR(sync_of(in, 1, 5, -1), ""); /* a client that knows no rev */
    CHECK_STR(sync_of(in, 1, 0, 0), "12345");
    struct message_fact late = fact_of(9, 2, CHAT__ROLE__TYPE__MEMBER, 2);
    late.joined_at = NOW_MS + 1; /* sees nothing of before */
    apply(in, late);
    CHECK_STR(sync_of(in, 2, 5, 0), "");
    instance_free(in);
    world_free(world);
}
