// SPDX-License-Identifier: MIT
/*
 * What facts about memberships mean for the copy. Runs on the members stream's batch thread, and
 * on workers that learnt something from group-svc; the versions let them run side by side.
 */
#include "message-svc/members.h"

#include "common/bus.h"
#include "common/log.h"
#include "common/map.h"
#include "common/pb.h"
#include "message-svc/store.h"

#include <stdlib.h>

/* ---- Decisions ---- */

struct message_fact message_members_fact(const Chat__Membership *m)
{
    return (struct message_fact){
        .group_id = m->group_id,
        .user_id = m->user_id,
        .role = (int)m->role,
        .muted_until = m->muted_until,
        .joined_at = m->joined_at,
        .whole_history = m->whole_history != 0,
        .version = m->version,
    };
}

static bool is_same_stay(const struct message_member *before, const struct message_fact *fact)
{
    return before != NULL && before->active && before->joined_at == fact->joined_at;
}

bool message_members_next(const struct message_member *before, const struct message_fact *fact,
                          uint64_t last_seq, uint64_t deleted_at, struct message_member *after_out)
{
    bool stays = is_same_stay(before, fact);
    uint64_t from_seq = fact->whole_history                     ? 1
                        : stays && before->from_seq <= last_seq ? before->from_seq
                                                                : last_seq + 1;
    /* What was learnt through a doubt could not look back: its own event may still do so. */
    bool earlier = stays && fact->version == before->version && from_seq < before->from_seq;
    if ((before != NULL && fact->version <= before->version && !earlier) ||
        fact->version <= deleted_at) {
        return false;
    }
    *after_out = (struct message_member){
        .group_id = fact->group_id,
        .user_id = fact->user_id,
        .role = fact->role,
        .active = fact->role != CHAT__ROLE__TYPE__NONE,
        .muted_until = fact->muted_until,
        .joined_at = fact->joined_at,
        .from_seq = from_seq,
        .version = fact->version,
    };
    return true;
}

enum message_speak message_members_may_speak(const struct message_member *member, int64_t now_ms)
{
    if (member == NULL || !member->active) {
        return MESSAGE_SPEAK_NO;
    }
    return member->muted_until > now_ms ? MESSAGE_SPEAK_MUTED : MESSAGE_SPEAK_YES;
}

/* ---- Keeping ---- */

struct known {            /* what the database says about those that the facts are about */
    struct map members;   /* (group, user): struct message_member; changed by those of the batch */
    struct map groups;    /* (group, 0): struct message_group; without those of the batch */
    struct map last_seqs; /* (group, 0): struct message_conversation */
};

static int read_members(struct db *db, struct arena *arena, const struct message_fact *facts,
                        size_t n, struct known *known)
{
    struct message_pair *pairs = arena_array(arena, n, sizeof(*pairs));
    struct message_members rows = {0};
    for (size_t i = 0; i < n; i++) {
        pairs[i] = (struct message_pair){facts[i].group_id, facts[i].user_id};
    }
    int err = message_store_members(db, arena, pairs, n, &rows);
    for (size_t i = 0; i < rows.n; i++) {
        map_put(&known->members, rows.at[i].group_id, rows.at[i].user_id, &rows.at[i]);
    }
    return err;
}

static int read_groups(struct db *db, struct arena *arena, const struct message_fact *facts,
                       size_t n, struct known *known)
{
    uint64_t *ids = arena_array(arena, n, sizeof(*ids));
    struct message_conv *convs = arena_array(arena, n, sizeof(*convs));
    struct message_groups rows = {0};
    struct message_conversations conversations = {0};
    for (size_t i = 0; i < n; i++) {
        ids[i] = facts[i].group_id;
        convs[i] = message_conv_group(facts[i].group_id);
    }
    int err = message_store_groups(db, arena, ids, n, &rows);
    if (err == 0) {
        err = message_store_conversations(db, arena, convs, n, &conversations);
    }
    for (size_t i = 0; i < rows.n; i++) {
        map_put(&known->groups, rows.at[i].group_id, 0, &rows.at[i]);
    }
    for (size_t i = 0; i < conversations.n; i++) {
        map_put(&known->last_seqs, conversations.at[i].conv.b, 0, &conversations.at[i]);
    }
    return err;
}

/* The last message before the joining that the fact tells of: the event may come after messages
 * that the new member shall see. Costs a statement only where it may move the beginning: of who
 * stays only backwards, so that the messages since then need not be looked at. */
static int seq_before_joining(struct db *db, struct arena *arena, const struct known *known,
                              const struct message_fact *fact, uint64_t *seq_out)
{
    const struct message_conversation *conversation = map_get(&known->last_seqs, fact->group_id, 0);
    const struct message_member *before = map_get(&known->members, fact->group_id, fact->user_id);
    bool stays = is_same_stay(before, fact);
    bool joins = fact->role != CHAT__ROLE__TYPE__NONE && !fact->whole_history;
    bool old = before != NULL &&
               (fact->version < before->version || (fact->version == before->version && !stays));
    *seq_out = conversation == NULL ? 0 : conversation->last_seq;
    if (!joins || old || (stays && before->from_seq <= 1) || conversation == NULL ||
        conversation->updated_at < fact->joined_at) {
        return 0;
    }
    uint64_t end = conversation->last_seq + 1;
    return message_store_seq_before(db, arena, conversation->conv, fact->joined_at,
                                    stays && before->from_seq < end ? before->from_seq : end,
                                    seq_out);
}

/* Applies the facts one after the other; leaves the changed rows, one per member. */
static int fold(struct db *db, struct arena *arena, const struct message_fact *facts, size_t n,
                struct known *known, struct message_member *changed, size_t *count_out)
{
    size_t count = 0;
    int err = 0;
    struct map at;
    map_init(&at);
    for (size_t i = 0; i < n && err == 0; i++) {
        const struct message_fact *fact = &facts[i];
        const struct message_group *group = map_get(&known->groups, fact->group_id, 0);
        uint64_t last_seq;
        struct message_member *after = arena_zalloc(arena, sizeof(*after));
        err = seq_before_joining(db, arena, known, fact, &last_seq);
        if (err != 0 || !message_members_next(
                            map_get(&known->members, fact->group_id, fact->user_id), fact, last_seq,
                            group != NULL && group->deleted ? group->version : 0, after)) {
            continue;
        }
        map_put(&known->members, fact->group_id, fact->user_id, after);
        struct message_member *slot = map_get(&at, fact->group_id, fact->user_id);
        if (slot == NULL) {
            slot = &changed[count++];
            map_put(&at, fact->group_id, fact->user_id, slot);
        }
        *slot = *after;
    }
    map_done(&at);
    *count_out = count;
    return err;
}

/* One row per group: the newest. */
static size_t newest_groups(struct arena *arena, const struct message_group *groups, size_t n,
                            struct message_group **out)
{
    struct message_group *newest = arena_array(arena, n, sizeof(*newest));
    size_t count = 0;
    struct map at;
    map_init(&at);
    for (size_t i = 0; i < n; i++) {
        struct message_group *slot = map_get(&at, groups[i].group_id, 0);
        if (slot == NULL) {
            slot = &newest[count++];
            map_put(&at, groups[i].group_id, 0, slot);
            *slot = groups[i];
        } else if (groups[i].version > slot->version) {
            *slot = groups[i];
        }
    }
    map_done(&at);
    *out = newest;
    return count;
}

static int apply(struct db *db, struct arena *arena, const struct message_fact *facts, size_t n,
                 const struct message_group *groups, size_t group_count, struct known *known)
{
    struct message_member *changed = arena_array(arena, n, sizeof(*changed));
    struct message_group *newest;
    size_t newest_count = newest_groups(arena, groups, group_count, &newest);
    int err = n == 0 ? 0 : read_members(db, arena, facts, n, known);
    if (err == 0 && n > 0) {
        err = read_groups(db, arena, facts, n, known);
    }
    size_t count = 0;
    if (err == 0) {
        err = fold(db, arena, facts, n, known, changed, &count);
    }
    if (err != 0 || (count == 0 && newest_count == 0)) {
        return err;
    }
    return message_store_put_copy(db, arena, changed, count, newest, newest_count);
}

int message_members_apply(struct db *db, struct arena *arena, const struct message_fact *facts,
                          size_t n, const struct message_group *groups, size_t group_count)
{
    struct known known;
    map_init(&known.members);
    map_init(&known.groups);
    map_init(&known.last_seqs);
    int err = apply(db, arena, facts, n, groups, group_count, &known);
    map_done(&known.members);
    map_done(&known.groups);
    map_done(&known.last_seqs);
    return err;
}

/* ---- Events ---- */

int message_members_run(struct db *db, struct arena *arena, struct bus_record *const *records,
                        size_t n)
{
    struct message_fact *facts = arena_array(arena, n, sizeof(*facts));
    struct message_group *groups = arena_array(arena, n, sizeof(*groups));
    size_t fact_count = 0, group_count = 0;
    for (size_t i = 0; i < n; i++) {
        if (records[i]->value == NULL) {
            continue; /* a tombstone: of something deleted, which has been told */
        }
        const Chat__GroupEvent *event =
            pb_unpack(&chat__group_event__descriptor, arena, records[i]->value, records[i]->len);
        if (event == NULL) {
            log_warn("group event is malformed", "partition=%d offset=%lld", records[i]->partition,
                     (long long)records[i]->offset);
            continue;
        }
        if (event->member != NULL && event->member->version > 0) {
            facts[fact_count++] = message_members_fact(event->member);
        }
        if (event->group != NULL) {
            groups[group_count++] = (struct message_group){
                .group_id = event->group->id,
                .is_public = event->group->visibility == CHAT__VISIBILITY__TYPE__PUBLIC,
                .deleted = event->deleted != 0,
                .version = event->group->version,
            };
        }
    }
    return message_members_apply(db, arena, facts, fact_count, groups, group_count);
}
