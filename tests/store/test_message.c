// SPDX-License-Identifier: MIT
/*
 * The writer of message-svc: dense seqs, repeats, replays after crashes, rivals, expiry.
 */
#include "tests/store/message_test.h"

static uint64_t seq_of(const struct instance *in, size_t i)
{
    return in->batch.items[i].row == NULL ? 0 : in->batch.items[i].row->seq;
}

/* Every conversation has the seqs 1 to n, its row says n, ids and client_ids are unique. */
static void check_dense(struct db *db)
{
    CHECK_INT(number(db,
                     "SELECT COUNT(*) FROM (SELECT conv_a, conv_b FROM message GROUP BY conv_a, "
                     "conv_b HAVING MIN(seq) <> 1 OR MAX(seq) <> COUNT(*)) t"),
              0);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM conversation c WHERE c.last_seq <> (SELECT COUNT(*) "
                         "FROM message m WHERE m.conv_a = c.conv_a AND m.conv_b = c.conv_b)"),
              0);
    CHECK_INT(number(db, "SELECT COUNT(*) - COUNT(DISTINCT id) FROM message"), 0);
    CHECK_INT(number(db,
                     "SELECT COUNT(*) FROM (SELECT conv_a FROM message GROUP BY conv_a, conv_b, "
                     "sender_id, client_id HAVING COUNT(*) > 1) t"),
              0);
    CHECK_INT(number(db, "SELECT COUNT(*) FROM message m JOIN message p ON p.conv_a = m.conv_a AND "
                         "p.conv_b = m.conv_b AND p.seq = m.seq - 1 "
                         "WHERE p.created_at > m.created_at"),
              0);
}

/* ---- One message ---- */

TEST(stores_a_message)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    post(world, (struct letter){.from = 1, .group = 9, .text = "h\xc3\xa9llo", .client_id = "c1"});
    must_run(in, world, 0, 1);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    const struct message_row *row = in->batch.items[0].row;
    CHECK_INT(row->seq, 1);
    CHECK_INT(row->id, 1);
    CHECK_INT(row->created_at, NOW_MS);
    CHECK_INT(in->batch.stored, 1);
    CHECK(in->batch.committed);

    struct message_rows rows = {0};
    CHECK_INT(message_store_by_id(in->db, in->arena, 1, &rows), 0);
    if (CHECK_INT(rows.n, 1)) {
        CHECK_STR(rows.at[0].content.p, "h\xc3\xa9llo");
        CHECK_STR(rows.at[0].client_id.p, "c1");
        CHECK_STR(rows.at[0].type.p, "text");
        CHECK_INT(rows.at[0].sender_id, 1);
        CHECK(message_conv_equal(rows.at[0].conv, message_conv_group(9)));
        CHECK_INT(rows.at[0].digest, row->digest);
        CHECK_INT(rows.at[0].command_offset, 0);
    }
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM participant"), 0); /* of private ones only */
    check_dense(in->db);
    instance_free(in);
    world_free(world);
}

TEST(private_conversations_get_participants_once)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    post(world, (struct letter){.from = 7, .to = 7}); /* to oneself */
    must_run(in, world, 0, 1);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM participant"), 1);
    post(world, (struct letter){.from = 7, .to = 3});
    must_run(in, world, 1, 2);
    CHECK_INT(outcome(in, 0), MESSAGE_DOUBTED); /* nobody has heard of 3 */
    carry_doubts(in);
    answer(in, false, MESSAGE_ANSWER_YES, NULL);
    deliver_appended(in, world);
    must_run(in, world, 2, 3);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    carry_doubts(in);
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM participant"), 3);
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM participant WHERE conv_a = 3 AND conv_b = 7 "
                             "AND user_id IN (3, 7)"),
              2);
    post(world, (struct letter){.from = 3, .to = 7});
    post(world, (struct letter){.from = 5, .to = 3}); /* 3 is known now */
    must_run(in, world, 3, 5);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    CHECK_INT(outcome(in, 1), MESSAGE_STORED);
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM participant"), 5);
    instance_free(in);
    world_free(world);
}

TEST(created_at_never_goes_back)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    post(world, (struct letter){.from = 1, .to = 1});
    must_run(in, world, 0, 1);
    clock_freeze(NOW_MS - 60000, 1000000);
    post(world, (struct letter){.from = 1, .to = 1});
    must_run(in, world, 1, 2);
    CHECK_INT(in->batch.items[0].row->created_at, NOW_MS);
    instance_free(in);
    in = instance_new(); /* the floor is in the database too */
    post(world, (struct letter){.from = 1, .to = 1});
    must_run(in, world, 2, 3);
    CHECK_INT(in->batch.items[0].row->created_at, NOW_MS);
    check_dense(in->db);
    instance_free(in);
    world_free(world);
}

/* ---- Refusals ---- */

TEST(refuses)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    char *large = malloc(MESSAGE_CONTENT_MAX + 2);
    memset(large, 'x', MESSAGE_CONTENT_MAX + 1);
    large[MESSAGE_CONTENT_MAX + 1] = '\0';
    join_group(in, 9, 1, 1);
    post(world, (struct letter){.from = 1, .group = 9, .text = ""});
    post(world, (struct letter){.from = 1, .group = 9, .text = large});
    post(world, (struct letter){.from = 1, .group = 9, .type = "system"});
    post(world, (struct letter){.from = 1, .group = 9, .client_id = "with space"});
    post(world, (struct letter){.from = 0, .group = 9});
    append_record(world, message_conv_group(9), "\xff\xff", 2);
    append_record(world, message_conv_group(9), "", 0);
    const struct bus_record *good = post(world, (struct letter){.from = 1, .group = 9});
    append_record(world, message_conv_group(9 + PARTITIONS), good->value,
                  good->len); /* wrong key */
    must_run(in, world, 0, world->n);
    static const int expected[] = {
        ERR_INVALID, ERR_TOO_LARGE, ERR_INVALID, ERR_INVALID, ERR_UNAUTHENTICATED,
        0,           ERR_INTERNAL,  0,           ERR_INTERNAL};
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        const struct message_item *item = &in->batch.items[i];
        CHECK_INT(item->outcome == MESSAGE_REFUSED ? item->refusal.err : 0, expected[i]);
    }
    CHECK_INT(outcome(in, 5), MESSAGE_PASSED);
    CHECK_INT(outcome(in, 7), MESSAGE_STORED);
    CHECK_INT(seq_of(in, 7), 1);
    must_run(in, world, 0, world->n); /* again: nothing is refused twice */
    for (size_t i = 0; i < in->batch.n; i++) {
        CHECK_INT(outcome(in, i), i == 7 ? MESSAGE_REPLAYED : MESSAGE_PASSED);
    }
    CHECK(!in->batch.committed);
    free(large);
    instance_free(in);
    world_free(world);
}

TEST(reply_to_stands_in_the_same_conversation)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    join_group(in, 8, 1, 1);
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 0, 1);
    uint64_t id = in->batch.items[0].row->id;
    post(world, (struct letter){.from = 1, .group = 9, .reply_to = id});
    post(world, (struct letter){.from = 1, .group = 8, .reply_to = id});
    post(world, (struct letter){.from = 1, .group = 9, .reply_to = 99999});
    must_run(in, world, 1, 4);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    CHECK_INT(in->batch.items[0].row->reply_to, id);
    for (size_t i = 1; i < 3; i++) {
        CHECK_INT(outcome(in, i), MESSAGE_REFUSED);
        CHECK_STR(in->batch.items[i].refusal.fields[0].field, "reply_to");
    }
    check_dense(in->db);
    instance_free(in);
    world_free(world);
}

/* ---- Repeats ---- */

TEST(a_client_id_is_one_message)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    join_group(in, 9, 2, 2);
    post(world, (struct letter){.from = 1, .group = 9, .text = "a", .client_id = "x"});
    post(world, (struct letter){.from = 1, .group = 9, .text = "a", .client_id = "x"});
    post(world, (struct letter){.from = 1, .group = 9, .text = "b", .client_id = "x"});
    post(world, (struct letter){.from = 2, .group = 9, .text = "a", .client_id = "x"});
    post(world, (struct letter){.from = 1, .group = 9, .text = "a", .client_id = "X"});
    must_run(in, world, 0, 5);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    CHECK_INT(outcome(in, 1), MESSAGE_REPEATED);
    CHECK(in->batch.items[1].row->id == in->batch.items[0].row->id);
    CHECK_INT(outcome(in, 2), MESSAGE_REFUSED);
    CHECK_INT(in->batch.items[2].refusal.err, ERR_INVALID);
    CHECK_STR(in->batch.items[2].refusal.fields[0].field, "client_id");
    CHECK_INT(outcome(in, 3), MESSAGE_STORED); /* another sender's */
    CHECK_INT(outcome(in, 4), MESSAGE_STORED); /* case matters */

    post(world, (struct letter){.from = 1, .group = 9, .text = "a", .client_id = "x"});
    post(world,
         (struct letter){.from = 1, .group = 9, .text = "a", .type = "image", .client_id = "x"});
    post(world,
         (struct letter){.from = 1, .group = 9, .text = "a", .client_id = "x", .reply_to = 1});
    post(world,
         (struct letter){
             .from = 1, .group = 9, .text = "a", .client_id = "x", .deadline_at = NOW_MS - 1});
    must_run(in, world, 5, 9);
    CHECK_INT(outcome(in, 0), MESSAGE_REPEATED);
    CHECK_INT(seq_of(in, 0), 1);
    CHECK_INT(in->batch.items[0].row->content.n, 1);
    CHECK_INT(outcome(in, 1), MESSAGE_REFUSED);
    CHECK_INT(outcome(in, 2), MESSAGE_REFUSED);
    CHECK_INT(outcome(in, 3), MESSAGE_REPEATED); /* only new records expire */
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM message"), 3);
    check_dense(in->db);
    instance_free(in);
    world_free(world);
}

TEST(only_new_records_expire)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    post(world, (struct letter){.from = 1, .to = 1, .deadline_at = NOW_MS - 1});
    post(world, (struct letter){.from = 1, .to = 1, .deadline_at = NOW_MS});
    must_run(in, world, 0, 2);
    CHECK_INT(outcome(in, 0), MESSAGE_PASSED);
    CHECK_INT(outcome(in, 1), MESSAGE_STORED);
    instance_free(in);
    clock_freeze(NOW_MS + 3600000, 1000000);
    in = instance_new(); /* an hour after a crash between commit and publishing */
    must_run(in, world, 0, 2);
    CHECK_INT(outcome(in, 0), MESSAGE_PASSED);
    CHECK_INT(outcome(in, 1), MESSAGE_REPLAYED);
    CHECK_INT(seq_of(in, 1), 1);
    instance_free(in);
    world_free(world);
}

/* A retry that was answered is not taken for the message when the log is read again. */
TEST(a_replayed_retry_is_no_event)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    post(world, (struct letter){.from = 1, .to = 1, .client_id = "x"});
    post(world, (struct letter){.from = 1, .to = 1, .client_id = "x"});
    post(world, (struct letter){.from = 1, .to = 1, .client_id = "x", .text = "other"});
    must_run(in, world, 0, 3);
    instance_free(in);
    in = instance_new();
    must_run(in, world, 0, 3);
    CHECK_INT(outcome(in, 0), MESSAGE_REPLAYED);
    CHECK_INT(outcome(in, 1), MESSAGE_REPEATED);
    CHECK_INT(outcome(in, 2), MESSAGE_REFUSED);
    instance_free(in);
    world_free(world);
}

/* ---- Random batches, crashes, rivals ---- */

static uint64_t random_state;

static uint64_t dice(uint64_t sides)
{
    random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
    return (random_state >> 33) % sides;
}

static void post_random(struct world *world)
{
    char client_id[20];
    uint64_t sender = 1 + dice(5);
    struct letter letter = {.from = sender};
    if (dice(2) == 0) {
        letter.group = 50 + dice(6);
    } else {
        letter.to = sender;
    }
    snprintf(client_id, sizeof(client_id), "%d", (int)dice(400));
    letter.client_id = dice(3) == 0 ? NULL : client_id;
    letter.text = dice(20) == 0 ? "" : "some text";
    letter.deadline_at = dice(15) == 0 ? NOW_MS - 5 : 0;
    post(world, letter);
}

static void join_all(struct instance *in)
{
    for (uint64_t group = 50; group < 56; group++) {
        for (uint64_t user = 1; user <= 5; user++) {
            join_group(in, group, user, user);
        }
    }
}

TEST(random_batches_are_dense)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    size_t done = 0, stored = 0;
    random_state = 1;
    join_all(in);
    for (int i = 0; i < 60; i++) {
        for (uint64_t k = dice(120); k > 0; k--) {
            post_random(world);
        }
        must_run(in, world, done, world->n);
        stored += in->batch.stored;
        done = world->n;
        if (dice(10) == 0) { /* another instance takes over */
            instance_free(in);
            in = instance_new();
        }
    }
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM message"), stored);
    CHECK(stored > 500);
    check_dense(in->db);
    instance_free(in);
    world_free(world);
}

/* A crash between commit and publish: the same records come again, in other batches. */
TEST(crash_before_publishing)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    uint64_t *seqs = calloc(LOG_MAX, sizeof(*seqs));
    random_state = 2;
    join_all(in);
    for (int i = 0; i < 400; i++) {
        post_random(world);
    }
    must_run(in, world, 0, 400);
    for (size_t i = 0; i < 400; i++) {
        seqs[i] = outcome(in, i) == MESSAGE_STORED ? seq_of(in, i) : 0;
    }
    int64_t count = number(in->db, "SELECT COUNT(*) FROM message");
    instance_free(in);
    in = instance_new();
    for (int i = 0; i < 100; i++) {
        post_random(world);
    }
    for (size_t at = 0; at < world->n;) {
        size_t to = at + 1 + dice(60);
        to = to > world->n ? world->n : to;
        must_run(in, world, at, to);
        for (size_t i = at; i < to && i < 400; i++) {
            CHECK_INT(outcome(in, i - at) == MESSAGE_REPLAYED ? seq_of(in, i - at) : 0, seqs[i]);
            CHECK(outcome(in, i - at) != MESSAGE_STORED);
        }
        count += (int64_t)in->batch.stored;
        at = to;
    }
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM message"), count);
    check_dense(in->db);
    free(seqs);
    instance_free(in);
    world_free(world);
}

/* Two writers, each sure that the partitions are its own, on the same records. */
TEST(zombie_writes_nothing)
{
    struct world *world = world_new();
    struct instance *zombie = instance_new(), *heir = instance_new();
    random_state = 3;
    join_all(zombie);
    for (int i = 0; i < 300; i++) {
        post_random(world);
    }
    must_run(zombie, world, 0, 100);
    must_run(heir, world, 60, 200);
    int64_t count = number(heir->db, "SELECT COUNT(*) FROM message");
    CHECK_INT(run(zombie, world, 100, 150), ERR_STALE);
    CHECK_INT(number(heir->db, "SELECT COUNT(*) FROM message"), count);
    must_run(zombie, world, 100, 150); /* it has read the positions again: all are replays */
    CHECK_INT(zombie->batch.stored, 0);
    must_run(zombie, world, 150, 250); /* and it may even go on */
    CHECK_INT(run(heir, world, 200, 300), ERR_STALE);
    must_run(heir, world, 200, 300);
    check_dense(heir->db);
    instance_free(zombie);
    instance_free(heir);
    world_free(world);
}

TEST(rivals_in_any_order_leave_no_gap)
{
    struct world *world = world_new();
    struct instance *rivals[2] = {instance_new(), instance_new()};
    size_t at[2] = {0, 0}, stale = 0, stored = 0;
    random_state = 4;
    join_all(rivals[0]);
    for (int i = 0; i < 3000; i++) {
        post_random(world);
    }
    while (at[0] < world->n || at[1] < world->n) {
        size_t who = dice(2);
        size_t to = at[who] + dice(150);
        to = to > world->n ? world->n : to;
        int err = run(rivals[who], world, at[who], to);
        if (err == 0) {
            stored += rivals[who]->batch.stored;
            at[who] = to;
        } else {
            CHECK_INT(err, ERR_STALE);
            stale++;
        }
    }
    CHECK(stale > 0);
    CHECK_INT(number(rivals[0]->db, "SELECT COUNT(*) FROM message"), stored);
    check_dense(rivals[0]->db);
    /* One instance alone on the whole log finds the same messages. */
    struct instance *judge = instance_new();
    for (size_t i = 0; i < world->n; i += 500) {
        must_run(judge, world, i, i + 500);
        CHECK_INT(judge->batch.stored, 0);
    }
    instance_free(judge);
    instance_free(rivals[0]);
    instance_free(rivals[1]);
    world_free(world);
}

/* Somebody else's row stands where the cache says that nothing does. */
TEST(duplicate_key_forgets_the_caches)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    post(world, (struct letter){.from = 1, .to = 1});
    post(world, (struct letter){.from = 1, .to = 1});
    must_run(in, world, 0, 1);
    must(in->db,
         "INSERT INTO message (conv_a, conv_b, seq, id, sender_id, client_id, type, content, "
         "digest, reply_to, created_at, edited_at, recalled, rev, command_offset) "
         "VALUES (1, 1, 2, 4000000, 1, 'other', 'text', 'x', 0, 0, 1700000000000, 0, 0, 0, 77)");
    must(in->db, "UPDATE conversation SET last_seq = 2");
    CHECK_INT(run(in, world, 1, 2), ERR_DUPLICATE);
    CHECK_INT(number(in->db, "SELECT next FROM send_position"), 1);
    must_run(in, world, 1, 2);
    CHECK_INT(seq_of(in, 0), 3);
    check_dense(in->db);
    instance_free(in);
    world_free(world);
}

TEST(positions_belong_to_their_log)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    int64_t next = -1;
    post(world, (struct letter){.from = 1, .to = 1, .client_id = "x"});
    int32_t partition = world->log[0].partition;
    must_run(in, world, 0, 1);
    CHECK_INT(message_writer_position(in->writer, in->db, in->arena, partition, &next), 0);
    CHECK_INT(next, 1);

    struct message_writer *other = message_writer_new("log-2", in->doubts);
    struct bus_record *record = &world->log[0];
    CHECK_INT(message_writer_position(other, in->db, in->arena, partition, &next), 0);
    CHECK_INT(next, 0);
    /* The same offset of another log is not the same record: a retry, not a replay. */
    CHECK_INT(message_writer_run(other, in->db, in->arena, &record, 1, &in->batch), 0);
    CHECK_INT(outcome(in, 0), MESSAGE_REPEATED);
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM send_position"), 2);
    CHECK_INT(message_writer_forget_logs(other, in->db), 0);
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM send_position"), 1);
    message_writer_free(other);
    instance_free(in);
    world_free(world);
}

TEST(ids_are_taken_in_blocks)
{
    struct world *world = world_new();
    struct instance *one = instance_new(), *two = instance_new();
    struct message_ids a = {0}, b = {0};
    uint64_t ids[MESSAGE_IDS_BLOCK + 1];
    CHECK_INT(message_ids_take(&a, one->db, one->arena, 1, ids), 0);
    CHECK_INT(ids[0], 1);
    CHECK_INT(message_ids_take(&b, two->db, two->arena, 2, ids), 0);
    CHECK_INT(ids[1], MESSAGE_IDS_BLOCK + 2);
    CHECK_INT(message_ids_take(&a, one->db, one->arena, MESSAGE_IDS_BLOCK, ids), 0);
    CHECK_INT(ids[0], 2);
    CHECK_INT(ids[MESSAGE_IDS_BLOCK - 1], 2 * MESSAGE_IDS_BLOCK + 1);
    CHECK_INT(number(one->db, "SELECT next FROM id_block"), 3 * MESSAGE_IDS_BLOCK + 1);
    instance_free(one);
    instance_free(two);
    world_free(world);
}
