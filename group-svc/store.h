// SPDX-License-Identifier: MIT
/*
 * Groups and memberships in the database: all of group-svc's SQL. Decides nothing.
 *
 * Worker threads, each with its own connection. Results live in the arena that was given. Errors
 * are db.h's; where a row may be missing, ERR_NOT_FOUND says so. Ids may be any number: those above
 * GROUP_ID_MAX are simply not there.
 */
#pragma once

#include "common/arena.h"
#include "common/db.h"
#include "group-svc/rules.h"

struct group_row {
    uint64_t id;
    const char *name, *name_key, *description, *avatar;
    bool is_public;
    uint64_t owner_id, creator_id;
    int64_t member_count;
    int64_t created_at, updated_at, deleted_at; /* ms since 1970; deleted_at 0: it lives */
    uint64_t version;
};

struct group_member {
    uint64_t group_id, user_id;
    enum group_role role; /* GROUP_NONE: no member (any more), or the group is deleted */
    bool kept;            /* there is a row, perhaps of one who left */
    int64_t muted_until, joined_at;
    bool whole_history;
    uint64_t version; /* 0: was never a member */
};

#define GROUP_SCHEMA_VERSION 1

/* A transaction: begin, lock, change, commit. The lock on the group's row comes first, so that all
 * changes of one group stand in line, and so do their versions and their rows in the outbox. */
int group_store_begin(struct db *db);
int group_store_commit(struct db *db);
void group_store_rollback(struct db *db);
/* The group and the user's membership, as they are behind the lock. ERR_NOT_FOUND: deleted too. */
int group_store_lock(struct db *db, struct arena *arena, uint64_t group_id, uint64_t user_id,
                     struct group_row *group_out, struct group_member *member_out);
/* Inside the transaction, behind the lock. */
int group_store_locked_member(struct db *db, struct arena *arena, uint64_t group_id,
                              uint64_t user_id, struct group_member *member_out);
/* Gives the new group its id. ERR_DUPLICATE: creator and request key are known. */
int group_store_insert(struct db *db, struct group_row *group, const char *request_key);
int group_store_update(struct db *db, const struct group_row *group); /* all that may change */
/* Inserts or updates, by `kept`. role GROUP_NONE: no longer a member; the row stays. */
int group_store_put_member(struct db *db, const struct group_member *member);

/* ---- Reading, without a lock ---- */

/* The group and the user's membership in one question. ERR_NOT_FOUND: deleted too. */
int group_store_get(struct db *db, struct arena *arena, uint64_t group_id, uint64_t user_id,
                    struct group_row *group_out, struct group_member *member_out);
/* By what made it; a deleted one is found too. */
int group_store_find_request(struct db *db, struct arena *arena, uint64_t creator_id,
                             const char *request_key, uint64_t *group_id_out);
int group_store_member(struct db *db, struct arena *arena, uint64_t group_id, uint64_t user_id,
                       struct group_member *member_out);
int group_store_count_groups(struct db *db, struct arena *arena, uint64_t user_id,
                             int64_t *count_out);
/* Members by user id, behind after_user. */
int group_store_members(struct db *db, struct arena *arena, uint64_t group_id, uint64_t after_user,
                        size_t limit, struct group_member **members_out, size_t *n_out);

struct group_listing {
    uint64_t user_id;   /* whose roles are told, and with `mine`, whose groups are listed */
    bool mine;          /* otherwise all public ones */
    const char *q;      /* folded; NULL or "": all */
    uint64_t before_id; /* groups below this id, the newest first */
    size_t limit;
};
/* roles_out: the user's, beside each group. next_out: before_id of the next page, 0: the end. A
 * search looks at no more than 5,000 groups a page: it may be short, even empty, and go on. */
int group_store_list(struct db *db, struct arena *arena, const struct group_listing *listing,
                     struct group_row **groups_out, enum group_role **roles_out, size_t *n_out,
                     uint64_t *next_out);

/* Memberships of up to 1,000 users, by user and group; no more than `limit`. */
int group_store_memberships(struct db *db, struct arena *arena, const uint64_t *users, size_t n,
                            size_t limit, struct group_member **members_out, size_t *n_out);
/* Those of one user behind a group. */
int group_store_memberships_after(struct db *db, struct arena *arena, uint64_t user_id,
                                  uint64_t after_group, size_t limit,
                                  struct group_member **members_out, size_t *n_out);
/* Which of the groups show themselves to outsiders; one answer for each, at most 1,000. */
int group_store_public(struct db *db, struct arena *arena, const uint64_t *group_ids, size_t n,
                       bool *is_public_out) __attribute__((warn_unused_result));
/* Fills in pairs of group_id and user_id; at most 1,000. */
int group_store_check(struct db *db, struct arena *arena, struct group_member *pairs, size_t n);
