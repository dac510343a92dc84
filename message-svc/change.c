// SPDX-License-Identifier: MIT
/*
 * A message that is already as the command wants it is not changed again: so a client's retry does
 * no harm, and a replay needs no memory of what was done. It publishes the row when the row shows
 * the command's work, and nothing when a later change has gone over it, whose own replay tells.
 */
#include "message-svc/change.h"

#include "message-svc/members.h"

#include <string.h>

static bool is_recall(const struct message_item *item)
{
    return item->command->op_case == CHAT__COMMAND__OP_RECALL;
}

/* The row, if the user may see it; members[0] gets the membership, NULL in a private one. */
static struct message_row *find(const struct message_plan *plan, const struct message_item *item,
                                const struct message_member **member_out)
{
    struct message_row *row = map_get(&plan->targets, item->message_id, 0);
    if (row == NULL || !message_conv_equal(row->conv, item->conv)) {
        return NULL;
    }
    *member_out = NULL;
    if (!message_conv_is_group(row->conv)) {
        return row->conv.a == item->user || row->conv.b == item->user ? row : NULL;
    }
    const struct message_member *member = map_get(&plan->members, row->conv.b, item->user);
    *member_out = member;
    return member != NULL && member->active && row->seq >= member->from_seq ? row : NULL;
}

/* False: refused. */
static bool may_edit(const struct message_plan *plan, struct message_item *item,
                     const struct message_row *row, const struct message_member *member)
{
    enum message_speak speak = member == NULL ? MESSAGE_SPEAK_YES
                                              : message_members_may_speak(member, plan->now_ms);
    if (row->sender_id != item->user) {
        message_plan_refuse(item, MESSAGE_NO_EDITOR);
    } else if (speak != MESSAGE_SPEAK_YES) {
        message_plan_refuse(item, MESSAGE_NO_MUTED);
    } else if (row->recalled) {
        message_plan_refuse(item, MESSAGE_NO_RECALLED);
    } else {
        return true;
    }
    return false;
}

static bool may_recall(struct message_item *item, const struct message_row *row,
                       const struct message_member *member)
{
    if (row->sender_id == item->user ||
        (member != NULL && member->role >= (int)CHAT__ROLE__TYPE__ADMIN)) {
        return true;
    }
    message_plan_refuse(item, MESSAGE_NO_RECALLER);
    return false;
}

static bool is_done(const struct message_item *item, const struct message_row *row)
{
    return is_recall(item) ? row->recalled
                           : row->content.n == item->content.n &&
                                 memcmp(row->content.p, item->content.p, row->content.n) == 0;
}

static void apply(struct message_plan *plan, struct message_item *item, struct message_row *row)
{
    struct message_conversation *conversation =
        map_get(&plan->conversations, row->conv.a, row->conv.b);
    if (is_recall(item)) {
        row->recalled = true;
        row->content = (struct message_text){"", 0};
    } else {
        row->content = item->content;
        row->edited_at = plan->now_ms;
    }
    if (!row->changed) {
        row->changed = true;
        plan->changed[plan->changed_count++] = row;
    }
    row->rev = ++conversation->last_rev;
}

/* What was written is told, whatever the user may do by now: only the row counts, and that the
 * command may be the one that made it so. */
static void decide_replay(struct message_plan *plan, struct message_item *item)
{
    const struct message_row *row = map_get(&plan->targets, item->message_id, 0);
    item->outcome = MESSAGE_PASSED;
    if (row == NULL || !message_conv_equal(row->conv, item->conv) || row->rev == 0 ||
        !is_done(item, row)) {
        return;
    }
    bool was_member = message_conv_is_group(row->conv) &&
                      map_get(&plan->members, row->conv.b, item->user) != NULL;
    if (row->sender_id == item->user || (is_recall(item) && was_member)) {
        item->outcome = MESSAGE_REPLAYED;
        item->row = arena_memdup(plan->arena, row, sizeof(*row));
    }
}

void message_change_decide(struct message_plan *plan, struct message_item *item)
{
    if (item->replay) {
        decide_replay(plan, item);
        return;
    }
    const struct message_member *member;
    struct message_row *row = find(plan, item, &member);
    bool allowed = row != NULL && (is_recall(item) ? may_recall(item, row, member)
                                                   : may_edit(plan, item, row, member));
    if (row == NULL) {
        message_plan_refuse(item, MESSAGE_NO_MESSAGE);
    }
    if (!allowed) {
        if (!message_plan_is_due(plan, item)) {
            item->outcome = MESSAGE_PASSED;
        }
        return;
    }
    if (is_done(item, row)) {
        item->outcome = MESSAGE_REPEATED;
    } else if (message_plan_is_due(plan, item)) {
        apply(plan, item, row);
        item->outcome = MESSAGE_STORED;
    } else {
        item->outcome = MESSAGE_PASSED;
        return;
    }
    /* As it is now: a later record of this batch may change it again. */
    item->row = arena_memdup(plan->arena, row, sizeof(*row));
}
