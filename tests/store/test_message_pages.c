// SPDX-License-Identifier: MIT
/*
 * The readers of message-svc: every page against a naive model, sync, and who may read what. The
 * two symbols below stand for questions.c and service.c, so that no bus is needed.
 */
#include "tests/store/message_test.h"

#include "message-svc/handlers.h"
#include "message-svc/page.h"
#include "message-svc/questions.h"
#include "message-svc/service.h"

static struct message_doubts *doubts;
static struct message_fact truth; /* what group-svc would say */
static uint64_t public_group;     /* what group-svc would say */
static int ask_err;
static size_t questions;

struct message_doubts *message_service_doubts(const struct svc_ctx *ctx)
{
    (void)ctx;
    return doubts;
}

int message_questions_check(struct rpc_request *rq, const uint64_t *groups, size_t n,
                            bool *is_public_out)
{
    for (size_t i = 0; i < n; i++) {
        is_public_out[i] = groups[i] == public_group;
    }
    questions++;
    if (ask_err != 0 || truth.version == 0) {
        return ask_err;
    }
    return message_members_apply(rq->db, rq->arena, &truth, 1, NULL, 0);
}

static struct rpc_request request(struct instance *in, uint64_t user)
{
    doubts = in->doubts;
    return (struct rpc_request){.arena = in->arena,
                                .db = in->db,
                                .caller = {.user_id = user},
                                .deadline_ms = NOW_MS + 5000};
}

static int list(struct instance *in, uint64_t user, Chat__ListMessagesRequest *query,
                Chat__MessageList *out)
{
    struct rpc_request rq = request(in, user);
    *out = (Chat__MessageList)CHAT__MESSAGE_LIST__INIT;
    return message_list_messages(&rq, query, out);
}

static Chat__ListMessagesRequest in_group(uint64_t group)
{
    Chat__ListMessagesRequest query = CHAT__LIST_MESSAGES_REQUEST__INIT;
    query.type = CHAT__KIND__TYPE__GROUP;
    query.target_id = group;
    return query;
}

static void fill_group(struct world *world, struct instance *in, uint64_t group, int n)
{
    size_t from = world->n;
    join_group(in, group, 1, 1);
    for (int i = 0; i < n; i++) {
        post(world, (struct letter){.from = 1, .group = group});
    }
    for (size_t at = from; at < world->n; at += 500) {
        must_run(in, world, at, at + 500 < world->n ? at + 500 : world->n);
    }
}

/* ---- Pages ---- */

struct choice { /* of a query; -1: not given */
    int before, after, offset, limit;
};

/* The slow and obvious way: all that match, then the end of it that the page is at. */
static void check_page(const Chat__MessageList *page, struct choice c, int first, int last)
{
    int match[100], n = 0;
    for (int seq = first; seq <= last; seq++) {
        if ((c.before < 0 || seq < c.before) && (c.after < 0 || seq > c.after)) {
            match[n++] = seq;
        }
    }
    if (c.offset >= 0 && c.after < 0) {
        n = n > c.offset ? n - c.offset : 0;
    }
    int count = n < c.limit ? n : c.limit;
    int skip = c.after >= 0 ? 0 : n - count;
    bool good = CHECK_INT(page->n_messages, count) && CHECK_INT(page->has_more, n > count) &&
                CHECK_INT(page->last_seq, last);
    for (int i = 0; good && i < count; i++) {
        good = CHECK_INT(page->messages[i]->seq, match[skip + i]);
    }
    if (!good) {
        printf("    before=%d after=%d offset=%d limit=%d first=%d\n", c.before, c.after, c.offset,
               c.limit, first);
    }
}

static void check_choice(struct instance *in, uint64_t user, struct choice c, int first, int last)
{
    Chat__ListMessagesRequest query = in_group(9);
    Chat__MessageList page;
    query.limit = c.limit;
    if (c.before >= 0) {
        query.before_given_case = CHAT__LIST_MESSAGES_REQUEST__BEFORE_GIVEN_BEFORE;
        query.before = (uint64_t)c.before;
    }
    if (c.after >= 0) {
        query.after_given_case = CHAT__LIST_MESSAGES_REQUEST__AFTER_GIVEN_AFTER;
        query.after = (uint64_t)c.after;
    }
    if (c.offset >= 0) {
        query.offset_given_case = CHAT__LIST_MESSAGES_REQUEST__OFFSET_GIVEN_OFFSET;
        query.offset = (uint64_t)c.offset;
    }
    arena_reset(in->arena);
    if (CHECK_INT(list(in, user, &query, &page), 0)) {
        check_page(&page, c, first, last);
    }
}

TEST(every_page)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    enum { LAST = 7 };
    fill_group(world, in, 8, 3); /* a neighbour */
    fill_group(world, in, 9, 3);
    struct message_fact late = {
        .group_id = 9, .user_id = 2, .role = 1, .joined_at = NOW_MS + 1, .version = 2};
    CHECK_INT(message_members_apply(in->db, in->arena, &late, 1, NULL, 0), 0); /* sees 4 to 7 */
    fill_group(world, in, 9, LAST - 3);
    fill_group(world, in, 10, 3);
    for (int before = -1; before <= LAST + 2; before++) {
        for (int after = -1; after <= LAST + 2; after++) {
            for (int offset = -1; offset <= LAST + 1; offset++) {
                for (int limit = 1; limit <= LAST + 1; limit += 2) {
                    struct choice c = {before, after, offset, limit};
                    check_choice(in, 1, c, 1, LAST);
                    check_choice(in, 2, c, 4, LAST);
                }
            }
        }
    }
    instance_free(in);
    world_free(world);
}

TEST(limits_and_odd_numbers)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    Chat__MessageList page;
    fill_group(world, in, 9, 300);
    Chat__ListMessagesRequest query = in_group(9);
    CHECK_INT(list(in, 1, &query, &page), 0);
    CHECK_INT(page.n_messages, 50);
    CHECK_INT(page.messages[0]->seq, 251);
    query.limit = 100000;
    CHECK_INT(list(in, 1, &query, &page), 0);
    CHECK_INT(page.n_messages, 200);
    query.after_given_case = CHAT__LIST_MESSAGES_REQUEST__AFTER_GIVEN_AFTER;
    query.after = UINT64_MAX;
    CHECK_INT(list(in, 1, &query, &page), 0);
    CHECK(page.n_messages == 0 && !page.has_more && page.last_seq == 300);
    query.before_given_case = CHAT__LIST_MESSAGES_REQUEST__BEFORE_GIVEN_BEFORE;
    query.before = UINT64_MAX;
    query.after = 298;
    CHECK_INT(list(in, 1, &query, &page), 0);
    CHECK_INT(page.n_messages, 2);
    query.type = CHAT__KIND__TYPE__NONE;
    CHECK_INT(list(in, 1, &query, &page), ERR_INVALID);
    query.type = CHAT__KIND__TYPE__PRIVATE;
    query.target_id = UINT64_MAX;
    CHECK_INT(list(in, 1, &query, &page), ERR_INVALID);
    query.target_id = 4711;
    CHECK_INT(list(in, 1, &query, &page), 0); /* nobody has written */
    CHECK(page.n_messages == 0 && page.last_seq == 0);
    CHECK_INT(list(in, 0, &query, &page), ERR_UNAUTHENTICATED);
    instance_free(in);
    world_free(world);
}

static void post_large(struct world *world, uint64_t group, int n)
{
    char *text = arena_alloc(world->arena, MESSAGE_CONTENT_MAX + 1);
    memset(text, 'x', MESSAGE_CONTENT_MAX);
    text[MESSAGE_CONTENT_MAX] = '\0';
    for (int i = 0; i < n; i++) {
        post(world, (struct letter){.from = 1, .group = group, .text = text});
    }
}

TEST(a_page_ends_at_512_kib)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    Chat__MessageList page;
    join_group(in, 9, 1, 1);
    post_large(world, 9, 40);
    must_run(in, world, 0, 40);
    Chat__ListMessagesRequest query = in_group(9);
    CHECK_INT(list(in, 1, &query, &page), 0);
    CHECK_INT(page.n_messages, 31);
    CHECK_INT(page.messages[30]->seq, 40);
    CHECK(page.has_more);
    CHECK(protobuf_c_message_get_packed_size(&page.base) <= RPC_REPLY_MAX - 4096);
    query.after_given_case = CHAT__LIST_MESSAGES_REQUEST__AFTER_GIVEN_AFTER;
    query.after = 0;
    CHECK_INT(list(in, 1, &query, &page), 0);
    CHECK_INT(page.n_messages, 31);
    CHECK_INT(page.messages[0]->seq, 1);
    CHECK(page.has_more);
    instance_free(in);
    world_free(world);
}

/* ---- Who may read ---- */

static int get(struct instance *in, uint64_t user, uint64_t id, Chat__MessageReply *out)
{
    struct rpc_request rq = request(in, user);
    Chat__GetMessageRequest query = CHAT__GET_MESSAGE_REQUEST__INIT;
    query.message_id = id;
    *out = (Chat__MessageReply)CHAT__MESSAGE_REPLY__INIT;
    return message_get_message(&rq, &query, out);
}

TEST(only_those_inside_may_read)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    Chat__MessageReply reply;
    Chat__MessageList page;
    truth = (struct message_fact){0};
    public_group = 9;
    fill_group(world, in, 9, 2);
    fill_group(world, in, 8, 1);
    post(world, (struct letter){.from = 3, .to = 3});
    must_run(in, world, 3, 4);
    uint64_t own = in->batch.items[0].row->id;
    CHECK_INT(get(in, 1, 1, &reply), 0);
    CHECK_INT(reply.message->group_id, 9);
    CHECK_INT(reply.message->receiver_id, 0);
    CHECK_INT(get(in, 3, own, &reply), 0);
    CHECK_INT(reply.message->receiver_id, 3);
    CHECK_INT(get(in, 1, own, &reply), ERR_NOT_FOUND);
    CHECK_INT(get(in, 1, 999999, &reply), ERR_NOT_FOUND);
    CHECK_INT(get(in, 1, UINT64_MAX, &reply), ERR_NOT_FOUND);

    questions = 0;
    CHECK_INT(get(in, 2, 1, &reply), ERR_FORBIDDEN);
    CHECK_INT(get(in, 2, 3, &reply), ERR_NOT_FOUND);
    CHECK_INT(questions, 2);
    Chat__ListMessagesRequest query = in_group(9);
    CHECK_INT(list(in, 2, &query, &page), ERR_FORBIDDEN);
    query.target_id = 8;
    CHECK_INT(list(in, 2, &query, &page), ERR_NOT_FOUND);
    CHECK_INT(questions, 2); /* remembered */
    clock_freeze(NOW_MS, 3000000);
    ask_err = ERR_UNAVAILABLE;
    CHECK_INT(list(in, 2, &query, &page), ERR_UNAVAILABLE);
    ask_err = 0;
    truth = (struct message_fact){.group_id = 8,
                                  .user_id = 2,
                                  .role = 1,
                                  .whole_history = true,
                                  .version = 9}; /* the copy is behind */
    CHECK_INT(list(in, 2, &query, &page), 0);
    CHECK_INT(page.n_messages, 1);
    CHECK_INT(list(in, 2, &query, &page), 0);
    CHECK_INT(questions, 4);
    instance_free(in);
    world_free(world);
}

TEST(what_was_said_before_is_not_there)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct message_fact late = {
        .group_id = 9, .user_id = 2, .role = 1, .joined_at = NOW_MS + 1, .version = 2};
    Chat__MessageReply reply;
    fill_group(world, in, 9, 1);
    CHECK_INT(message_members_apply(in->db, in->arena, &late, 1, NULL, 0), 0);
    fill_group(world, in, 9, 1);
    CHECK_INT(get(in, 2, 1, &reply), ERR_NOT_FOUND);
    CHECK_INT(get(in, 2, 2, &reply), 0);
    CHECK_INT(reply.message->seq, 2);
    CHECK_INT(get(in, 1, 1, &reply), 0);
    instance_free(in);
    world_free(world);
}

/* ---- Sync ---- */

static int sync_of(struct instance *in, uint64_t user, const Chat__SyncRequest__Of *of, size_t n,
                   Chat__SyncReply *out)
{
    struct rpc_request rq = request(in, user);
    Chat__SyncRequest query = CHAT__SYNC_REQUEST__INIT;
    query.of = arena_array(in->arena, n, sizeof(*query.of));
    query.n_of = n;
    for (size_t i = 0; i < n; i++) {
        query.of[i] = arena_memdup(in->arena, &of[i], sizeof(of[i]));
    }
    *out = (Chat__SyncReply)CHAT__SYNC_REPLY__INIT;
    return message_sync(&rq, &query, out);
}

static Chat__SyncRequest__Of of_group(uint64_t group, uint64_t seq)
{
    Chat__SyncRequest__Of of = CHAT__SYNC_REQUEST__OF__INIT;
    of.type = CHAT__KIND__TYPE__GROUP;
    of.target_id = group;
    of.seq = seq;
    return of;
}

TEST(sync_gives_what_was_missed)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    Chat__SyncReply reply;
    truth = (struct message_fact){0};
    fill_group(world, in, 9, 5);
    fill_group(world, in, 8, 3);
    fill_group(world, in, 7, 2);
    post(world, (struct letter){.from = 1, .to = 1});
    must_run(in, world, 10, 11);
    Chat__SyncRequest__Of own = of_group(1, 0);
    own.type = CHAT__KIND__TYPE__PRIVATE;
    const Chat__SyncRequest__Of of[] = {of_group(9, 3),   of_group(8, 0),  own,
                                        of_group(7, 2),   of_group(7, 99), of_group(9, 4),
                                        of_group(1234, 0)};
    CHECK_INT(sync_of(in, 1, of, 7, &reply), 0);
    static const int expected[][2] = {{9, 4}, {9, 5}, {8, 1}, {8, 2}, {8, 3}, {0, 1}, {9, 5}};
    if (CHECK_INT(reply.n_messages, 7)) {
        for (size_t i = 0; i < 7; i++) {
            CHECK_INT(reply.messages[i]->group_id, expected[i][0]);
            CHECK_INT(reply.messages[i]->seq, expected[i][1]);
        }
    }
    CHECK(reply.complete);
    ask_err = ERR_TIMEOUT; /* whether one is in group 1234 cannot be known now */
    CHECK_INT(sync_of(in, 1, of, 7, &reply), 0);
    CHECK_INT(reply.n_messages, 7);
    CHECK(!reply.complete);
    ask_err = 0;
    CHECK_INT(sync_of(in, 1, NULL, 0, &reply), 0);
    CHECK(reply.complete && reply.n_messages == 0);
    const Chat__SyncRequest__Of none = CHAT__SYNC_REQUEST__OF__INIT;
    CHECK_INT(sync_of(in, 1, &none, 1, &reply), ERR_INVALID);
    instance_free(in);
    world_free(world);
}

TEST(sync_begins_at_joining)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    struct message_fact late = {
        .group_id = 9, .user_id = 2, .role = 1, .joined_at = NOW_MS + 1, .version = 2};
    Chat__SyncReply reply;
    fill_group(world, in, 9, 3);
    CHECK_INT(message_members_apply(in->db, in->arena, &late, 1, NULL, 0), 0);
    Chat__SyncRequest__Of of = of_group(9, 0);
    CHECK_INT(sync_of(in, 2, &of, 1, &reply), 0);
    CHECK_INT(reply.n_messages, 0);
    fill_group(world, in, 9, 2);
    for (uint64_t seq = 0; seq <= 6; seq++) {
        uint64_t first = seq < 3 ? 4 : seq + 1;
        of.seq = seq;
        CHECK_INT(sync_of(in, 2, &of, 1, &reply), 0);
        CHECK_INT(reply.n_messages, first <= 5 ? 6 - first : 0);
        CHECK(reply.n_messages == 0 || reply.messages[0]->seq == first);
        CHECK(reply.complete);
    }
    instance_free(in);
    world_free(world);
}

TEST(sync_is_bounded)
{
    struct world *world = world_new();
    struct instance *in = instance_new();
    Chat__SyncReply reply;
    fill_group(world, in, 8, 180);
    fill_group(world, in, 9, 180);
    const Chat__SyncRequest__Of of[] = {of_group(9, 0), of_group(8, 0)};
    CHECK_INT(sync_of(in, 1, of, 2, &reply), 0);
    CHECK_INT(reply.n_messages, 300);
    CHECK(!reply.complete);
    CHECK_INT(reply.messages[179]->seq, 180);
    CHECK_INT(reply.messages[299]->seq, 120);
    size_t from = world->n;
    post_large(world, 9, 40);
    must_run(in, world, from, from + 40);
    const Chat__SyncRequest__Of large[] = {of_group(8, 179), of_group(9, 180)};
    CHECK_INT(sync_of(in, 1, large, 2, &reply), 0);
    CHECK_INT(reply.n_messages, 32);
    CHECK(!reply.complete);
    instance_free(in);
    world_free(world);
}
