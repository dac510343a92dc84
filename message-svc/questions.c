// SPDX-License-Identifier: MIT
/*
 * Questions to the owners of the truth. The batch thread asks and does not wait; the answers find
 * the doubts by their keys, so an answer that comes too late finds nothing.
 */
#include "message-svc/questions.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/map.h"
#include "common/pb.h"
#include "message-svc/publish.h"
#include "proto/auth.pb-c.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define KEYS_MAX 500

struct message_questions {
    struct svc_ctx *ctx;
    struct message_doubts *doubts;
};

struct question {
    struct message_questions *q;
    size_t n;
    struct message_doubt_key keys[];
};

struct appended {
    struct message_questions *q;
    struct message_held *held;
};

/* ---- The wire ---- */

static void on_appended(void *arg, int err)
{
    struct appended *a = arg;
    message_doubts_appended(a->q->doubts, a->held, err);
    free(a);
}

static int append(void *arg, struct message_held *held)
{
    struct message_questions *q = arg;
    struct appended *a = malloc(sizeof(*a));
    assert(a != NULL);
    *a = (struct appended){q, held};
    int err = bus_send(svc_bus(q->ctx),
                       &(struct bus_message){
                           .topic = TOPIC_COMMANDS,
                           .key = {held->conv.a, held->conv.b},
                           .partition = held->partition,
                           .value = held->value,
                           .len = held->len,
                           .traceparent = held->traceparent,
                           .request_id = held->request_id,
                       },
                       on_appended, a);
    if (err != 0) {
        free(a);
    }
    return err;
}

static void refuse(void *arg, const struct message_held *held, const struct message_refusal *why)
{
    struct message_questions *q = arg;
    log_set_context(&(struct log_context){
        .traceparent = held->traceparent, .request_id = held->request_id, .user_id = held->user});
    log_debug("doubt refused", "code=%s", err_code(why->err));
    log_set_context(NULL);
    message_publish_refusal(q->ctx, held->reply_to, held->call_id, why, held->traceparent,
                            held->request_id);
}

/* ---- Life ---- */

struct message_questions *message_questions_new(struct svc_ctx *ctx)
{
    struct message_questions *q = calloc(1, sizeof(*q));
    assert(q != NULL);
    q->ctx = ctx;
    q->doubts = message_doubts_new(
        &(struct message_doubts_wire){.append = append, .refuse = refuse, .arg = q});
    return q;
}

void message_questions_free(struct message_questions *q)
{
    if (q != NULL) {
        message_doubts_free(q->doubts);
        free(q);
    }
}

struct message_doubts *message_questions_doubts(const struct message_questions *q)
{
    return q->doubts;
}

/* ---- Answers ---- */

static void answer_all(struct question *question, enum message_answer answer)
{
    for (size_t i = 0; i < question->n; i++) {
        message_doubts_answer(question->q->doubts, question->keys[i], answer, NULL);
    }
}

static void answer_member(struct question *question, size_t i, const Chat__Membership *m)
{
    struct message_fact fact = message_members_fact(m);
    bool is_member = m->role != CHAT__ROLE__TYPE__NONE;
    enum message_answer answer = !is_member && m->group_is_public  ? MESSAGE_ANSWER_NO_PUBLIC
                                 : !is_member                      ? MESSAGE_ANSWER_NO
                                 : m->muted_until > clock_now_ms() ? MESSAGE_ANSWER_MUTED
                                                                   : MESSAGE_ANSWER_YES;
    message_doubts_answer(question->q->doubts, question->keys[i], answer, &fact);
}

static void on_members(void *arg, const struct rpc_reply *reply)
{
    struct question *question = arg;
    struct arena *arena = arena_new(0);
    const Chat__CheckMembersReply *members =
        reply->err != 0
            ? NULL
            : pb_unpack(&chat__check_members_reply__descriptor, arena, reply->body, reply->len);
    if (members == NULL || members->n_members != question->n) {
        answer_all(question, MESSAGE_ANSWER_NONE);
    } else {
        for (size_t i = 0; i < question->n; i++) {
            answer_member(question, i, members->members[i]);
        }
    }
    arena_free(arena);
    free(question);
}

static void on_profiles(void *arg, const struct rpc_reply *reply)
{
    struct question *question = arg;
    struct arena *arena = arena_new(0);
    struct map users;
    const Chat__Profiles *profiles =
        reply->err != 0 ? NULL
                        : pb_unpack(&chat__profiles__descriptor, arena, reply->body, reply->len);
    map_init(&users);
    for (size_t i = 0; profiles != NULL && i < profiles->n_users; i++) {
        map_put(&users, profiles->users[i]->id, 0, question);
    }
    for (size_t i = 0; profiles != NULL && i < profiles->n_left_out_ids; i++) {
        map_put(&users, profiles->left_out_ids[i], 0, question); /* known, but no room */
    }
    for (size_t i = 0; i < question->n; i++) {
        uint64_t receiver = message_conv_other(question->keys[i].conv, question->keys[i].user);
        enum message_answer answer = profiles == NULL                       ? MESSAGE_ANSWER_NONE
                                     : map_get(&users, receiver, 0) != NULL ? MESSAGE_ANSWER_YES
                                                                            : MESSAGE_ANSWER_NO;
        message_doubts_answer(question->q->doubts, question->keys[i], answer, NULL);
    }
    map_done(&users);
    arena_free(arena);
    free(question);
}

/* ---- Questions ---- */

static int call_members(struct question *question, struct arena *arena)
{
    Chat__CheckMembersRequest request = CHAT__CHECK_MEMBERS_REQUEST__INIT;
    request.pairs = arena_array(arena, question->n, sizeof(Chat__Membership *));
    request.n_pairs = question->n;
    for (size_t i = 0; i < question->n; i++) {
        request.pairs[i] = pb_new(&chat__membership__descriptor, arena);
        request.pairs[i]->group_id = question->keys[i].conv.b;
        request.pairs[i]->user_id = question->keys[i].user;
    }
    return rpc_call(svc_rpc(question->q->ctx),
                    &(struct rpc_call){
                        .topic = TOPIC_RPC_GROUP,
                        .method = "CheckMembers",
                        .key = question->keys[0].conv.b,
                        .input = &request,
                        .timeout_ms = MESSAGE_QUESTIONS_TIMEOUT_MS,
                    },
                    on_members, question);
}

static int call_profiles(struct question *question, struct arena *arena)
{
    Chat__GetProfilesRequest request = CHAT__GET_PROFILES_REQUEST__INIT;
    request.ids = arena_array(arena, question->n, sizeof(*request.ids));
    request.n_ids = question->n;
    for (size_t i = 0; i < question->n; i++) {
        request.ids[i] = message_conv_other(question->keys[i].conv, question->keys[i].user);
    }
    return rpc_call(svc_rpc(question->q->ctx),
                    &(struct rpc_call){
                        .topic = TOPIC_RPC_AUTH,
                        .method = "GetProfiles",
                        .key = request.ids[0],
                        .input = &request,
                        .timeout_ms = MESSAGE_QUESTIONS_TIMEOUT_MS,
                    },
                    on_profiles, question);
}

/* False: nothing was left to ask. */
static bool ask_some(struct message_questions *q, bool groups)
{
    struct message_doubt_key keys[KEYS_MAX];
    size_t n = message_doubts_take(q->doubts, groups, keys, KEYS_MAX);
    if (n == 0) {
        return false;
    }
    struct question *question = malloc(sizeof(*question) + n * sizeof(keys[0]));
    struct arena *arena = arena_new(0);
    assert(question != NULL);
    question->q = q;
    question->n = n;
    memcpy(question->keys, keys, n * sizeof(keys[0]));
    int err = groups ? call_members(question, arena) : call_profiles(question, arena);
    if (err != 0) {
        answer_all(question, MESSAGE_ANSWER_NONE);
        free(question);
    }
    arena_free(arena);
    return true;
}

void message_questions_ask(struct message_questions *q)
{
    while (ask_some(q, true)) {
    }
    while (ask_some(q, false)) {
    }
}

/* ---- For readers ---- */

int message_questions_check(struct rpc_request *rq, const uint64_t *groups, size_t n,
                            bool *is_public_out)
{
    Chat__CheckMembersRequest request = CHAT__CHECK_MEMBERS_REQUEST__INIT;
    void *output = NULL;
    request.pairs = arena_array(rq->arena, n, sizeof(Chat__Membership *));
    request.n_pairs = n;
    for (size_t i = 0; i < n; i++) {
        request.pairs[i] = pb_new(&chat__membership__descriptor, rq->arena);
        request.pairs[i]->group_id = groups[i];
        request.pairs[i]->user_id = rq->caller.user_id;
    }
    int err = rpc_ask(rq,
                      &(struct rpc_call){
                          .topic = TOPIC_RPC_GROUP,
                          .method = "CheckMembers",
                          .key = groups[0],
                          .caller = &rq->caller,
                          .input = &request,
                          .timeout_ms = MESSAGE_QUESTIONS_TIMEOUT_MS,
                          .traceparent = rq->traceparent,
                          .request_id = rq->request_id,
                      },
                      &chat__check_members_reply__descriptor, &output);
    if (err != 0) {
        return err;
    }
    const Chat__CheckMembersReply *reply = output;
    struct message_fact *facts = arena_array(rq->arena, reply->n_members, sizeof(*facts));
    size_t known = 0;
    for (size_t i = 0; i < reply->n_members && i < n; i++) {
        is_public_out[i] = reply->members[i]->group_is_public;
        if (reply->members[i]->version > 0) {
            facts[known++] = message_members_fact(reply->members[i]);
        }
    }
    if (reply->n_members != n) {
        return ERR_UNAVAILABLE;
    }
    return known == 0 ? 0 : message_members_apply(rq->db, rq->arena, facts, known, NULL, 0);
}
