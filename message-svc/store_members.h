// SPDX-License-Identifier: MIT
/*
 * The copy of memberships in the database: tables member and group_copy. Only SQL; members.c knows
 * what the rows mean.
 */
#pragma once

#include "common/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;

struct message_member {
    uint64_t group_id, user_id;
    int role;    /* Chat__Role__Type */
    bool active; /* false: removed; the row stays, so that its version does */
    int64_t muted_until, joined_at;
    uint64_t from_seq; /* the first message that this member sees */
    uint64_t version;
};
struct message_members {
    struct message_member *at;
    size_t n;
};

struct message_group {
    uint64_t group_id;
    bool is_public, deleted;
    uint64_t version;
};
struct message_groups {
    struct message_group *at;
    size_t n;
};

struct message_pair {
    uint64_t group_id, user_id;
};

/* At most 1,000 keys; results as in store.h. */
int message_store_members(struct db *db, struct arena *arena, const struct message_pair *keys,
                          size_t n, struct message_members *out)
    __attribute__((warn_unused_result));
int message_store_groups(struct db *db, struct arena *arena, const uint64_t *ids, size_t n,
                         struct message_groups *out) __attribute__((warn_unused_result));

/* Rows with an older version than the stored one change nothing. Inside a transaction or not. */
int message_store_put_members(struct db *db, struct arena *arena,
                              const struct message_member *members, size_t n)
    __attribute__((warn_unused_result));
/* One transaction. A deleted group also removes its members of a lower version. */
int message_store_put_copy(struct db *db, struct arena *arena, const struct message_member *members,
                           size_t n, const struct message_group *groups, size_t group_count)
    __attribute__((warn_unused_result));

struct message_access { /* one member's view of a group's history */
    bool member;
    uint64_t from_seq, last_seq;
};
int message_store_access(struct db *db, struct arena *arena, uint64_t group_id, uint64_t user_id,
                         struct message_access *out) __attribute__((warn_unused_result));
