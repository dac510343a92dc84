// SPDX-License-Identifier: MIT
/*
 * The membership copy of message-svc, and doubts from the writer to the second coming of their
 * records.
 */
#include "tests/store/message_test.h"

static struct message_member member_of(struct instance *in, uint64_t group, uint64_t user)
{
    struct message_members rows = {0};
    CHECK_INT(
        message_store_members(in->db, in->arena, &(struct message_pair){group, user}, 1, &rows), 0);
    return rows.n == 0 ? (struct message_member){0} : rows.at[0];
}

/* ---- The copy ---- */

TEST(an_older_version_changes_nothing)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct message_fact fact = fact_of(9, 1, CHAT__ROLE__TYPE__ADMIN, 5);
    apply(in, fact);
    apply(in, fact_of(9, 1, CHAT__ROLE__TYPE__NONE, 3));
    apply(in, fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 5));
    struct message_member member = member_of(in, 9, 1);
    CHECK(member.active && member.role == CHAT__ROLE__TYPE__ADMIN && member.version == 5);
    apply(in, fact_of(9, 1, CHAT__ROLE__TYPE__NONE, 8));
    apply(in, fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 7));
    member = member_of(in, 9, 1);
    CHECK(!member.active && member.version == 8); /* the row stays */
    /* Not only the decision, the statement guards too: for writers at the same time. */
    member.version = 6;
    member.active = true;
    CHECK_INT(message_store_put_members(in->db, in->arena, &member, 1), 0);
    member = member_of(in, 9, 1);
    CHECK(!member.active && member.version == 8);
    instance_free(in);
    world_free(world);
}

TEST(facts_in_any_order_end_alike)
{
    static const int roles[] = {1, 0, 2, 3, 0, 1, 2};
    enum { FACTS = 7 };
    for (uint64_t seed = 1; seed < 30; seed++) {
        struct world *world = world_new();
        struct instance *in = instance_new();
        uint64_t state = seed;
        size_t order[FACTS];
        for (size_t i = 0; i < FACTS; i++) {
            order[i] = i;
        }
        for (size_t i = FACTS - 1; i > 0; i--) {
            state = state * 6364136223846793005ULL + 1;
            size_t k = (size_t)(state >> 33) % (i + 1), kept = order[i];
            order[i] = order[k];
            order[k] = kept;
        }
        struct message_fact facts[FACTS];
        for (size_t i = 0; i < FACTS; i++) {
            facts[i] = fact_of(9, 1, roles[order[i]], order[i] + 1);
        }
        size_t half = seed % FACTS; /* in two batches */
        CHECK_INT(message_members_apply(in->db, in->arena, facts, half, NULL, 0), 0);
        CHECK_INT(message_members_apply(in->db, in->arena, facts + half, FACTS - half, NULL, 0), 0);
        struct message_member member = member_of(in, 9, 1);
        CHECK_INT(member.version, FACTS);
        CHECK_INT(member.role, roles[FACTS - 1]);
        instance_free(in);
        world_free(world);
    }
}

TEST(history_begins_at_joining)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    for (int i = 0; i < 3; i++) {
        post(world, (struct letter){.from = 1, .group = 9});
    }
    must_run(in, world, 0, 3);
    struct message_fact joined = fact_of(9, 2, CHAT__ROLE__TYPE__MEMBER, 2);
    joined.joined_at = NOW_MS + 1;
    apply(in, joined);
    CHECK_INT(member_of(in, 9, 2).from_seq, 4);
    CHECK_INT(member_of(in, 9, 1).from_seq, 1); /* whole_history */
    post(world, (struct letter){.from = 2, .group = 9});
    must_run(in, world, 3, 4);
    joined.role = CHAT__ROLE__TYPE__ADMIN;
    joined.version = 3;
    apply(in, joined); /* a role moves nothing */
    CHECK_INT(member_of(in, 9, 2).from_seq, 4);
    apply(in, fact_of(9, 2, CHAT__ROLE__TYPE__NONE, 4));
    struct message_fact again = fact_of(9, 2, CHAT__ROLE__TYPE__MEMBER, 5);
    again.joined_at = NOW_MS + 2;
    apply(in, again);
    CHECK_INT(member_of(in, 9, 2).from_seq, 5);
    again.joined_at = NOW_MS + 3; /* left and came again; the leaving was compacted away */
    again.version = 7;
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 4, 5);
    apply(in, again);
    CHECK_INT(member_of(in, 9, 2).from_seq, 6);
    instance_free(in);
    world_free(world);
}

TEST(messages_since_joining_are_seen_though_the_event_came_late)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 0, 1);
    clock_freeze(NOW_MS + 10, 1010000);
    post(world, (struct letter){.from = 1, .group = 9});
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 1, 3);
    struct message_fact joined = fact_of(9, 2, CHAT__ROLE__TYPE__MEMBER, 2);
    joined.joined_at = NOW_MS + 10;
    apply(in, joined);
    CHECK_INT(member_of(in, 9, 2).from_seq, 2);
    instance_free(in);
    world_free(world);
}

static const struct bus_record *group_event(struct world *world, const Chat__GroupEvent *event,
                                            uint64_t user)
{
    size_t len;
    const uint8_t *value = pb_pack(event, world->arena, &len);
    struct bus_record *record = arena_zalloc(world->arena, sizeof(*record));
    *record = (struct bus_record){
        .topic = TOPIC_EVENTS_GROUP, .key = {event->group->id, user}, .value = value, .len = len};
    return record;
}

TEST(events_keep_the_copy)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    Chat__Group group = CHAT__GROUP__INIT;
    Chat__Membership member = CHAT__MEMBERSHIP__INIT;
    Chat__GroupEvent created = CHAT__GROUP_EVENT__INIT, joined = CHAT__GROUP_EVENT__INIT,
                     deleted = CHAT__GROUP_EVENT__INIT;
    struct bus_record tombstone = {.key = {9, 1}},
                      malformed = {.value = (const uint8_t *)"\xff", .len = 1};
    struct bus_record *records[5];
    group.id = 9;
    group.visibility = CHAT__VISIBILITY__TYPE__PUBLIC;
    group.version = 1;
    created.group = joined.group = &group;
    member = (Chat__Membership)CHAT__MEMBERSHIP__INIT;
    member.group_id = 9;
    member.user_id = 1;
    member.role = CHAT__ROLE__TYPE__OWNER;
    member.whole_history = 1;
    member.version = 1;
    joined.member = &member;
    EXPECT_WARNINGS(1);
    records[0] = (struct bus_record *)(uintptr_t)group_event(world, &created, 0);
    records[1] = (struct bus_record *)(uintptr_t)group_event(world, &joined, 1);
    records[2] = &tombstone;
    records[3] = &malformed;
    CHECK_INT(message_members_run(in->db, in->arena, records, 4), 0);
    CHECK(member_of(in, 9, 1).active);
    CHECK_INT(number(in->db, "SELECT visibility FROM group_copy WHERE group_id = 9"), 1);

    group.version = 6;
    deleted.group = &group;
    deleted.deleted = 1;
    member.version = 5;
    member.user_id = 2;
    records[4] = (struct bus_record *)(uintptr_t)group_event(world, &joined, 2);
    records[0] = (struct bus_record *)(uintptr_t)group_event(world, &deleted, 0);
    CHECK_INT(message_members_run(in->db, in->arena, records, 1), 0);
    CHECK(!member_of(in, 9, 1).active);
    CHECK_INT(member_of(in, 9, 1).version, 6);
    CHECK_INT(message_members_run(in->db, in->arena, &records[4], 1), 0); /* late, and older */
    CHECK(!member_of(in, 9, 2).active);
    CHECK_INT(message_members_run(in->db, in->arena, &records[1], 1), 0);
    CHECK(!member_of(in, 9, 1).active);
    instance_free(in);
    world_free(world);
}

/* Deleted and joined in one batch, whatever stands first. */
TEST(deletion_wins_over_older_joins_of_its_batch)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct message_fact facts[] = {fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 3)};
    struct message_group groups[] = {{.group_id = 9, .deleted = true, .version = 6},
                                     {.group_id = 9, .is_public = true, .version = 3}};
    CHECK_INT(message_members_apply(in->db, in->arena, facts, 1, groups, 2), 0);
    CHECK(!member_of(in, 9, 1).active);
    CHECK_INT(number(in->db, "SELECT deleted FROM group_copy"), 1);
    instance_free(in);
    world_free(world);
}

/* ---- May they speak? ---- */

TEST(the_muted_are_silent)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct message_fact fact = fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 1);
    fact.muted_until = NOW_MS + 1;
    apply(in, fact);
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 0, 1);
    CHECK_INT(outcome(in, 0), MESSAGE_REFUSED);
    CHECK_INT(in->batch.items[0].refusal.err, ERR_FORBIDDEN);
    clock_freeze(NOW_MS + 1, 1000000);
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 1, 2);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    instance_free(in);
    world_free(world);
}

TEST(strangers_are_asked_about_and_refused)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 0, 1);
    carry_doubts(in);
    answer(in, true, MESSAGE_ANSWER_NO_PUBLIC, NULL);
    post(world, (struct letter){.from = 1, .group = 8});
    post(world, (struct letter){.from = 1, .to = 77});
    must_run(in, world, 1, 3);
    CHECK_INT(outcome(in, 0), MESSAGE_DOUBTED);
    CHECK_INT(outcome(in, 1), MESSAGE_DOUBTED);
    carry_doubts(in);
    CHECK_INT(message_doubts_count(in->doubts), 2);
    answer(in, true, MESSAGE_ANSWER_NO, NULL);
    answer(in, false, MESSAGE_ANSWER_NO, NULL);
    CHECK_INT(in->refused_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const struct told *told = &in->refused[i];
        CHECK_INT(told->err, told->conv.b == 9   ? ERR_FORBIDDEN
                             : told->conv.b == 8 ? ERR_NOT_FOUND
                                                 : ERR_INVALID);
    }
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 3, 4);
    CHECK_INT(outcome(in, 0), MESSAGE_REFUSED); /* remembered */
    CHECK_INT(in->batch.items[0].refusal.err, ERR_FORBIDDEN);
    join_group(in, 9, 1, 2);
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 4, 5);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED); /* a yes of the copy needs no question */
    clock_freeze(NOW_MS + 1000, 1000000 + 1000000);
    post(world, (struct letter){.from = 1, .group = 8});
    must_run(in, world, 5, 6);
    CHECK_INT(outcome(in, 0), MESSAGE_DOUBTED); /* for a second only */
    CHECK_INT(number(in->db, "SELECT COUNT(*) FROM message"), 1);
    instance_free(in);
    world_free(world);
}

/* ---- The second coming ---- */

static void check_text(struct instance *in, uint64_t seq, const char *text)
{
    struct message_rows rows = {0};
    CHECK_INT(
        message_store_range(in->db, in->arena, message_conv_group(9), seq, seq, 1, false, &rows),
        0);
    if (CHECK_INT(rows.n, 1)) {
        CHECK_STR(rows.at[0].content.p, text);
    }
}

/* However the copy, the answer and the records of a sender fall together, they keep their order. */
TEST(doubted_records_keep_their_order)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct message_fact fact = fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 4);
    join_group(in, 9, 2, 1);
    post(world, (struct letter){.from = 1, .group = 9, .text = "a"});
    post(world, (struct letter){.from = 1, .group = 9, .text = "b"});
    post(world, (struct letter){.from = 2, .group = 9, .text = "other"});
    must_run(in, world, 0, 3);
    CHECK_INT(outcome(in, 0), MESSAGE_DOUBTED);
    CHECK_INT(outcome(in, 1), MESSAGE_DOUBTED);
    CHECK_INT(outcome(in, 2), MESSAGE_STORED); /* others do not wait */
    carry_doubts(in);

    join_group(in, 9, 1, 4); /* the copy comes before the answer */
    post(world, (struct letter){.from = 1, .group = 9, .text = "c"});
    must_run(in, world, 3, 4);
    CHECK_INT(outcome(in, 0), MESSAGE_DOUBTED);
    carry_doubts(in);

    answer(in, true, MESSAGE_ANSWER_YES, &fact);
    CHECK_INT(in->appended_count, 3);
    post(world, (struct letter){.from = 1, .group = 9, .text = "d"}); /* before the appended ones */
    deliver_appended(in, world);
    must_run(in, world, 4, 5);
    CHECK_INT(outcome(in, 0), MESSAGE_DOUBTED);
    carry_doubts(in);
    CHECK_INT(in->appended_count, 1); /* at once: the answer is known */
    deliver_appended(in, world);
    post(world, (struct letter){.from = 1, .group = 9, .text = "e"});
    must_run(in, world, 5, world->n);
    for (size_t i = 0; i < in->batch.n; i++) {
        CHECK_INT(outcome(in, i), MESSAGE_STORED); /* also e, behind the last one under way */
    }
    carry_doubts(in);
    static const char *const texts[] = {"other", "a", "b", "c", "d", "e"};
    for (size_t i = 0; i < 6; i++) {
        check_text(in, i + 1, texts[i]);
    }
    CHECK_INT(message_doubts_count(in->doubts), 0);
    CHECK_INT(message_doubts_find(in->doubts, 1, message_conv_group(9)).state, MESSAGE_DOUBT_NONE);
    instance_free(in);
    world_free(world);
}

/* B stands before A's second coming, C behind it, all in one batch: C waits for B. */
TEST(the_first_doubt_of_a_batch_holds_the_rest)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct message_fact fact = fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 4);
    post(world, (struct letter){.from = 1, .group = 9, .text = "a"});
    must_run(in, world, 0, 1);
    carry_doubts(in);
    answer(in, true, MESSAGE_ANSWER_YES, &fact);
    post(world, (struct letter){.from = 1, .group = 9, .text = "b"});
    deliver_appended(in, world);
    post(world, (struct letter){.from = 1, .group = 9, .text = "c"});
    must_run(in, world, 1, 4);
    CHECK_INT(outcome(in, 0), MESSAGE_DOUBTED);
    CHECK_INT(outcome(in, 1), MESSAGE_STORED);
    CHECK_INT(outcome(in, 2), MESSAGE_DOUBTED);
    carry_doubts(in);
    answer(in, true, MESSAGE_ANSWER_YES, &fact);
    deliver_appended(in, world);
    must_run(in, world, 4, world->n);
    carry_doubts(in);
    check_text(in, 1, "a");
    check_text(in, 2, "b");
    check_text(in, 3, "c");
    CHECK_INT(message_doubts_count(in->doubts), 0);
    instance_free(in);
    world_free(world);
}

/* Between two that come by again: behind both. */
TEST(all_that_is_under_way_comes_first)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct message_fact fact = fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 4);
    post(world, (struct letter){.from = 1, .group = 9, .text = "a"});
    must_run(in, world, 0, 1);
    carry_doubts(in);
    answer(in, true, MESSAGE_ANSWER_YES, &fact);
    deliver_appended(in, world);
    post(world, (struct letter){.from = 1, .group = 9, .text = "b"});
    post(world, (struct letter){.from = 1, .group = 9, .text = "c"});
    /* b is read first, and only then a again. */
    struct bus_record again = world->log[1], b = world->log[2], c = world->log[3];
    world->log[1] = b;
    world->log[1].offset = 1;
    world->log[2] = again;
    world->log[2].offset = 2;
    world->log[3] = c;
    must_run(in, world, 1, 2);
    CHECK_INT(outcome(in, 0), MESSAGE_DOUBTED);
    carry_doubts(in); /* appended at once, behind c */
    CHECK_INT(message_doubts_find(in->doubts, 1, message_conv_group(9)).under_way, 2);
    deliver_appended(in, world);
    must_run(in, world, 2, 5);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    CHECK_INT(outcome(in, 1), MESSAGE_DOUBTED);
    CHECK_INT(outcome(in, 2), MESSAGE_STORED);
    carry_doubts(in);
    deliver_appended(in, world);
    answer(in, true, MESSAGE_ANSWER_YES, &fact);
    deliver_appended(in, world);
    must_run(in, world, 5, world->n);
    check_text(in, 1, "a");
    check_text(in, 2, "b");
    check_text(in, 3, "c");
    instance_free(in);
    world_free(world);
}

TEST(no_reply_to_what_one_may_not_see)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    join_group(in, 9, 1, 1);
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 0, 1);
    uint64_t early = in->batch.items[0].row->id;
    struct message_fact joined = fact_of(9, 2, CHAT__ROLE__TYPE__MEMBER, 2);
    joined.joined_at = NOW_MS + 1;
    apply(in, joined);
    post(world, (struct letter){.from = 2, .group = 9});
    must_run(in, world, 1, 2);
    uint64_t late = in->batch.items[0].row->id;
    post(world, (struct letter){.from = 2, .group = 9, .reply_to = early});
    post(world, (struct letter){.from = 2, .group = 9, .reply_to = late});
    post(world, (struct letter){.from = 1, .group = 9, .reply_to = early});
    must_run(in, world, 2, 5);
    CHECK_INT(outcome(in, 0), MESSAGE_REFUSED);
    CHECK_INT(outcome(in, 1), MESSAGE_STORED);
    CHECK_INT(outcome(in, 2), MESSAGE_STORED);
    instance_free(in);
    world_free(world);
}

/* The event is behind the answer: the answer goes into the copy with the message, so that the
 * history of a member begins before their own first message; the event then brings what was said
 * between the joining and that message. */
TEST(an_answer_goes_into_the_copy)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct message_fact fact = fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 4);
    join_group(in, 9, 2, 1);
    post(world, (struct letter){.from = 2, .group = 9});
    must_run(in, world, 0, 1);
    fact.joined_at = NOW_MS + 1;
    clock_freeze(NOW_MS + 2, 1000000);
    post(world, (struct letter){.from = 2, .group = 9});
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 1, 3);
    carry_doubts(in);
    answer(in, true, MESSAGE_ANSWER_YES, &fact);
    deliver_appended(in, world);
    must_run(in, world, 3, 4);
    carry_doubts(in);
    CHECK_INT(outcome(in, 0), MESSAGE_STORED);
    struct message_member member = member_of(in, 9, 1);
    CHECK(member.active && member.version == 4);
    CHECK_INT(member.from_seq, 3);
    apply(in, fact); /* now the event */
    CHECK_INT(member_of(in, 9, 1).from_seq, 2);
    apply(in, fact_of(9, 1, CHAT__ROLE__TYPE__NONE, 5));
    fact.joined_at = 0;
    apply(in, fact); /* what is old changes nothing */
    CHECK(!member_of(in, 9, 1).active);
    instance_free(in);
    world_free(world);
}

/* Who takes the partition over has the record and not the answer. */
TEST(without_the_answer_a_removal_is_not_overruled)
{
    for (int removed = 0; removed < 2; removed++) {
        struct world *world = world_new();
        struct instance *in = instance_new(), *heir = instance_new();
        struct message_fact fact = fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 4);
        post(world, (struct letter){.from = 1, .group = 9});
        must_run(in, world, 0, 1);
        carry_doubts(in);
        answer(in, true, MESSAGE_ANSWER_YES, &fact);
        deliver_appended(in, world);
        if (removed) {
            apply(in, fact_of(9, 1, CHAT__ROLE__TYPE__NONE, 5));
        }
        must_run(heir, world, 1, 2);
        CHECK_INT(outcome(heir, 0), removed ? MESSAGE_REFUSED : MESSAGE_STORED);
        CHECK_INT(heir->batch.items[0].refusal.err, removed ? ERR_UNAVAILABLE : 0);
        instance_free(in);
        instance_free(heir);
        world_free(world);
    }
}

/* Confirmed, and thrown out before the record comes by again. */
TEST(the_copy_may_know_better_than_the_answer)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct message_fact fact = fact_of(9, 1, CHAT__ROLE__TYPE__MEMBER, 4);
    post(world, (struct letter){.from = 1, .group = 9});
    must_run(in, world, 0, 1);
    carry_doubts(in);
    answer(in, true, MESSAGE_ANSWER_YES, &fact);
    deliver_appended(in, world);
    apply(in, fact_of(9, 1, CHAT__ROLE__TYPE__NONE, 5));
    must_run(in, world, 1, 2);
    carry_doubts(in);
    CHECK_INT(outcome(in, 0), MESSAGE_REFUSED);
    CHECK_INT(message_doubts_count(in->doubts), 0);
    instance_free(in);
    world_free(world);
}

TEST(a_late_second_coming_expires)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    post(world, (struct letter){.from = 1, .to = 5});
    must_run(in, world, 0, 1);
    carry_doubts(in);
    answer(in, false, MESSAGE_ANSWER_YES, NULL);
    deliver_appended(in, world);
    clock_freeze(NOW_MS + 5001, 2000000);
    must_run(in, world, 1, 2);
    CHECK_INT(outcome(in, 0), MESSAGE_PASSED);
    carry_doubts(in);
    CHECK_INT(message_doubts_find(in->doubts, 1, message_conv_private(1, 5)).state,
              MESSAGE_DOUBT_NONE);
    instance_free(in);
    world_free(world);
}

/* Replayed, nothing is asked again: no ack was given, the client retries. */
TEST(a_replayed_doubt_is_passed)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    post(world, (struct letter){.from = 1, .to = 5});
    must_run(in, world, 0, 1);
    CHECK_INT(outcome(in, 0), MESSAGE_DOUBTED);
    must_run(in, world, 0, 1);
    CHECK_INT(outcome(in, 0), MESSAGE_PASSED);
    instance_free(in);
    world_free(world);
}
