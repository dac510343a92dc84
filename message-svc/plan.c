// SPDX-License-Identifier: MIT
/*
 * Decisions about records, one at a time, each seeing what those before it in the batch did: a
 * seq given, a client_id taken, a sender's order broken by a doubt.
 */
#include "message-svc/plan.h"

#include "common/pb.h"
#include "message-svc/change.h"

#include <assert.h>
#include <string.h>

struct sender { /* one sender in one conversation, within this batch */
    bool doubted;
    size_t seen; /* checked records that came by */
};

/* ---- Life ---- */

void message_plan_init(struct message_plan *plan, struct arena *arena, size_t n)
{
    *plan = (struct message_plan){.arena = arena};
    map_init(&plan->known);
    map_init(&plan->members);
    map_init(&plan->groups);
    map_init(&plan->conversations);
    map_init(&plan->targets);
    map_init(&plan->replies);
    map_init(&plan->senders);
    plan->rows = arena_array(arena, n, sizeof(struct message_row *));
    plan->changed = arena_array(arena, n, sizeof(struct message_row *));
    plan->learnt = arena_array(arena, n, sizeof(*plan->learnt));
    plan->started = arena_array(arena, n, sizeof(*plan->started));
}

void message_plan_done(struct message_plan *plan)
{
    map_done(&plan->known);
    map_done(&plan->members);
    map_done(&plan->groups);
    map_done(&plan->conversations);
    map_done(&plan->targets);
    map_done(&plan->replies);
    map_done(&plan->senders);
}

void message_plan_key(struct message_conv conv, uint64_t sender, struct message_text client_id,
                      uint64_t *a_out, uint64_t *b_out)
{
    struct {
        uint64_t a, b, sender;
        char client_id[MESSAGE_CLIENT_ID_MAX];
    } key = {.a = conv.a, .b = conv.b, .sender = sender};
    assert(client_id.n <= sizeof(key.client_id));
    memcpy(key.client_id, client_id.p, client_id.n);
    map_hash_bytes(&key, sizeof(key), a_out, b_out);
}

/* ---- Reading ---- */

static struct message_text text_of(ProtobufCBinaryData b)
{
    return (struct message_text){.p = b.len == 0 ? "" : (const char *)b.data, .n = b.len};
}

void message_plan_refuse(struct message_item *item, enum message_no no)
{
    item->outcome = MESSAGE_REFUSED;
    item->refusal = message_rules_refusal(no);
}

static void read_send(struct message_item *item, const Chat__Send *send)
{
    item->draft = (struct message_draft){
        .content = text_of(send->content),
        .type = text_of(send->type),
        .client_id = text_of(send->client_id),
        .sender_id = item->user,
        .receiver_id = send->receiver_id,
        .group_id = send->group_id,
        .reply_to = send->reply_to,
    };
    if (!message_rules_check(&item->draft, &item->refusal)) {
        item->outcome = MESSAGE_REFUSED;
    } else if (!message_conv_equal(message_rules_conv(&item->draft), item->conv)) {
        /* another partition's writer gives this one's seqs */
        message_plan_refuse(item, MESSAGE_NO_COMMAND);
    } else {
        item->digest = message_rules_digest(&item->draft);
        item->is_send = true;
    }
}

static void read_change(struct message_item *item, uint64_t message_id, uint64_t seq)
{
    if (item->user == 0) {
        message_plan_refuse(item, MESSAGE_NO_CALLER);
        return;
    }
    item->message_id = message_id;
    item->seq = seq;
    item->is_change = true;
}

static void read_edit(struct message_item *item, const Chat__Edit *edit)
{
    item->content = text_of(edit->content);
    if (message_rules_check_content(item->content, &item->refusal)) {
        read_change(item, edit->message_id, edit->seq);
    } else {
        item->outcome = MESSAGE_REFUSED;
    }
}

void message_plan_read(struct message_item *item, struct arena *arena, const void *value,
                       size_t len)
{
    item->outcome = MESSAGE_PASSED;
    item->command = value == NULL ? NULL : pb_unpack(&chat__command__descriptor, arena, value, len);
    if (item->command == NULL) {
        return;
    }
    const Chat__Command *command = item->command;
    item->user = command->caller == NULL ? 0 : command->caller->user_id;
    item->conv = item->key;
    if (command->op_case == CHAT__COMMAND__OP_SEND && command->send != NULL) {
        read_send(item, command->send);
    } else if (command->op_case == CHAT__COMMAND__OP_EDIT && command->edit != NULL) {
        read_edit(item, command->edit);
    } else if (command->op_case == CHAT__COMMAND__OP_RECALL && command->recall != NULL) {
        read_change(item, command->recall->message_id, command->recall->seq);
    } else {
        message_plan_refuse(item, MESSAGE_NO_COMMAND);
    }
}

/* ---- Decisions ---- */

static struct sender *sender_of(struct message_plan *plan, const struct message_item *item)
{
    uint64_t a, b;
    message_plan_key(item->conv, item->draft.sender_id, (struct message_text){"", 0}, &a, &b);
    struct sender *sender = map_get(&plan->senders, a, b);
    if (sender == NULL) {
        sender = arena_zalloc(plan->arena, sizeof(*sender));
        map_put(&plan->senders, a, b, sender);
    }
    return sender;
}

/* The row that this client_id names, stored or about to be. */
static struct message_row *known_row(const struct message_plan *plan,
                                     const struct message_item *item)
{
    uint64_t a, b;
    message_plan_key(item->conv, item->draft.sender_id, item->draft.client_id, &a, &b);
    return map_get(&plan->known, a, b);
}

static void decide_known(struct message_item *item, struct message_row *row)
{
    if (item->replay && row->command_offset == item->offset) {
        item->outcome = MESSAGE_REPLAYED;
        item->row = row;
    } else if (row->digest == item->digest) {
        item->outcome = MESSAGE_REPEATED;
        item->row = row;
    } else {
        message_plan_refuse(item, MESSAGE_NO_SAME_CLIENT_ID);
    }
}

static void doubt(struct message_item *item, struct sender *sender)
{
    item->outcome = MESSAGE_DOUBTED;
    sender->doubted = true;
}

/* A record that comes by again after group-svc said yes. The copy may still be behind that answer
 * (then the answer goes into it), or ahead of it (then the copy is right). Where the answer is
 * forgotten, a copy that says nothing is behind; of one that says no it is not known. */
static bool checked_may_speak(struct message_plan *plan, struct message_item *item,
                              struct message_member *member, const struct message_doubt *found)
{
    const struct message_conversation *conversation =
        map_get(&plan->conversations, item->conv.a, item->conv.b);
    switch (message_members_may_speak(member, plan->now_ms)) {
    case MESSAGE_SPEAK_YES:
        return true;
    case MESSAGE_SPEAK_MUTED:
        message_plan_refuse(item, MESSAGE_NO_MUTED);
        return false;
    case MESSAGE_SPEAK_NO:
        break;
    }
    if (!found->has_fact) {
        if (member != NULL) {
            message_plan_refuse(item, MESSAGE_NO_ANSWER);
        }
        return member == NULL;
    }
    struct message_member *learnt = arena_zalloc(plan->arena, sizeof(*learnt));
    const struct message_group *group = map_get(&plan->groups, item->draft.group_id, 0);
    uint64_t deleted_at = group != NULL && group->deleted ? group->version : 0;
    if (!message_members_next(member, &found->fact, conversation->last_seq, deleted_at, learnt)) {
        message_plan_refuse(item, MESSAGE_NO_MEMBER_PRIVATE);
        return false;
    }
    map_put(&plan->members, learnt->group_id, learnt->user_id, learnt);
    plan->learnt[plan->learnt_count++] = *learnt;
    return true;
}

static bool may_speak_in_group(struct message_plan *plan, struct message_item *item,
                               struct sender *sender, const struct message_doubt *found)
{
    struct message_member *member =
        map_get(&plan->members, item->draft.group_id, item->draft.sender_id);
    if (item->command->checked) {
        return checked_may_speak(plan, item, member, found);
    }
    switch (message_members_may_speak(member, plan->now_ms)) {
    case MESSAGE_SPEAK_YES:
        return true;
    case MESSAGE_SPEAK_MUTED:
        message_plan_refuse(item, MESSAGE_NO_MUTED);
        return false;
    case MESSAGE_SPEAK_NO:
        break;
    }
    if (found->state == MESSAGE_DOUBT_NO) {
        message_plan_refuse(item, found->no);
    } else {
        doubt(item, sender);
    }
    return false;
}

/* A conversation with messages has a receiver who exists, and so has oneself. */
static bool may_write_to_user(struct message_plan *plan, struct message_item *item,
                              struct sender *sender, const struct message_doubt *found)
{
    const struct message_conversation *conversation =
        map_get(&plan->conversations, item->conv.a, item->conv.b);
    uint64_t receiver = item->draft.receiver_id;
    if (conversation->last_seq > 0 || receiver == item->draft.sender_id || item->command->checked ||
        message_recent_get(plan->users, receiver, 0, NULL)) {
        return true;
    }
    if (found->state == MESSAGE_DOUBT_NO) {
        message_plan_refuse(item, found->no);
    } else {
        doubt(item, sender);
    }
    return false;
}

static bool may_send(struct message_plan *plan, struct message_item *item)
{
    struct sender *sender = sender_of(plan, item);
    struct message_doubt found =
        message_doubts_find(plan->doubts, item->draft.sender_id, item->conv);
    bool open = sender->doubted || (found.state == MESSAGE_DOUBT_OPEN &&
                                    (found.asking || found.under_way > sender->seen));
    if (item->command->checked) {
        sender->seen++;
    } else if (open) {
        doubt(item, sender);
        return false;
    }
    return item->draft.group_id != 0 ? may_speak_in_group(plan, item, sender, &found)
                                     : may_write_to_user(plan, item, sender, &found);
}

/* Messages from before a member's time do not exist for that member. */
static bool may_reply_to(const struct message_plan *plan, struct message_item *item)
{
    if (item->draft.reply_to == 0) {
        return true;
    }
    const struct message_row *target = map_get(&plan->replies, item->draft.reply_to, 0);
    const struct message_member *member =
        map_get(&plan->members, item->draft.group_id, item->draft.sender_id);
    if (target != NULL && message_conv_equal(target->conv, item->conv) &&
        (item->draft.group_id == 0 || member == NULL || target->seq >= member->from_seq)) {
        return true;
    }
    message_plan_refuse(item, MESSAGE_NO_REPLY_TARGET);
    return false;
}

static void store(struct message_plan *plan, struct message_item *item)
{
    struct message_conversation *conversation =
        map_get(&plan->conversations, item->conv.a, item->conv.b);
    struct message_row *row = arena_zalloc(plan->arena, sizeof(*row));
    uint64_t a, b;
    if (conversation->last_seq == 0 && !message_conv_is_group(item->conv)) {
        plan->started[plan->started_count++] = item->conv;
    }
    conversation->last_seq++;
    if (plan->now_ms > conversation->updated_at) {
        conversation->updated_at = plan->now_ms;
    }
    *row = (struct message_row){
        .conv = item->conv,
        .seq = conversation->last_seq,
        .sender_id = item->draft.sender_id,
        .client_id = item->draft.client_id,
        .type = item->draft.type,
        .content = item->draft.content,
        .digest = item->digest,
        .reply_to = item->draft.reply_to,
        .created_at = conversation->updated_at,
        .command_offset = item->offset,
    };
    message_plan_key(row->conv, row->sender_id, row->client_id, &a, &b);
    map_put(&plan->known, a, b, row);
    plan->rows[plan->row_count++] = row;
    message_recent_put(plan->users, item->draft.sender_id, 0, (struct message_recent_value){0});
    if (item->draft.receiver_id != 0) {
        message_recent_put(plan->users, item->draft.receiver_id, 0,
                           (struct message_recent_value){0});
    }
    item->outcome = MESSAGE_STORED;
    item->row = row;
}

bool message_plan_is_due(const struct message_plan *plan, const struct message_item *item)
{
    int64_t deadline = item->command->deadline_at;
    return !item->replay && (deadline <= 0 || deadline >= plan->now_ms);
}

void message_plan_decide(struct message_plan *plan, struct message_item *item)
{
    if (item->is_change) {
        message_change_decide(plan, item);
        return;
    }
    if (!item->is_send) {
        if (item->replay) {
            item->outcome = MESSAGE_PASSED; /* it was refused when it was new */
        }
        return;
    }
    struct message_row *row = known_row(plan, item);
    item->outcome = MESSAGE_PASSED;
    if (row != NULL) {
        decide_known(item, row);
        return;
    }
    if (!message_plan_is_due(plan, item)) {
        return;
    }
    if (may_send(plan, item) && may_reply_to(plan, item)) {
        store(plan, item);
    }
}
