// SPDX-License-Identifier: MIT
/*
 * The copy of who belongs to which group (architecture D7): kept from chat.events.group and from
 * answers of group-svc, asked by the writer and the readers. group-svc owns the truth.
 *
 * Versions count per group: an older fact never overwrites a newer one, so facts may come in any
 * order and twice. A removal keeps its row.
 */
#pragma once

#include "message-svc/rules.h"
#include "message-svc/store_members.h"
#include "proto/group.pb-c.h"

struct bus_record;

struct message_fact { /* one membership, as group-svc tells it */
    uint64_t group_id, user_id;
    int role; /* CHAT__ROLE__TYPE__NONE: no member */
    int64_t muted_until, joined_at;
    bool whole_history;
    uint64_t version; /* 0: there was never one */
};
struct message_fact message_members_fact(const Chat__Membership *m);

/*
 * The row after a fact, given the row before (NULL: none), the seq of the last message before the
 * joining as far as is known, and the version at which the group was deleted (0: it was not).
 * False: the fact is old, nothing changes. A member's history begins after that message, or at 1.
 */
bool message_members_next(const struct message_member *before, const struct message_fact *fact,
                          uint64_t last_seq, uint64_t deleted_at, struct message_member *after_out);

enum message_speak { MESSAGE_SPEAK_YES, MESSAGE_SPEAK_NO, MESSAGE_SPEAK_MUTED };
/* May this sender speak here, by the copy? member NULL: no row. A NO is to be checked. */
enum message_speak message_members_may_speak(const struct message_member *member, int64_t now_ms);

/* Keeps facts and groups; at most 1,000 of each. Blocking; errors as db_exec. */
int message_members_apply(struct db *db, struct arena *arena, const struct message_fact *facts,
                          size_t n, const struct message_group *groups, size_t group_count)
    __attribute__((warn_unused_result));
/* A batch of chat.events.group. What cannot be read is logged and left out. */
int message_members_run(struct db *db, struct arena *arena, struct bus_record *const *records,
                        size_t n) __attribute__((warn_unused_result));
