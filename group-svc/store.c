// SPDX-License-Identifier: MIT
/*
 * Every statement of group-svc. What a deleted group or a removal leaves behind stays in its rows
 * (versions never restart), so each question says that it means the living.
 *
 * In a transaction all is read FOR UPDATE: such reads see what is committed now on every database
 * (a plain read may see the state of the transaction's begin). SQLite has one writer at a time and
 * needs no such words.
 */
#include "group-svc/store.h"

#include "common/err.h"
#include "common/map.h"

#include <assert.h>
#include <string.h>

#define GROUP_COLUMNS                                                                              \
    "g.id, g.name, g.name_key, g.description, g.avatar, g.visibility, g.owner_id, g.creator_id, "  \
    "g.member_count, g.created_at, g.updated_at, g.deleted_at, g.version"
#define MEMBER_COLUMNS                                                                             \
    "m.group_id, m.user_id, m.state, m.role, m.muted_until, m.joined_at, m.whole_history, "        \
    "m.version"

enum { GROUP_WIDTH = 13, MEMBER_WIDTH = 8, SEARCH_WINDOW = 5000 };

/* ---- Rows ---- */

static int64_t number(const struct db_rows *rows, size_t row, size_t column)
{
    const struct db_value *v = db_at(rows, row, column);
    return v->type == DB_INT ? v->i : 0;
}

static const char *text(const struct db_rows *rows, size_t row, size_t column)
{
    const struct db_value *v = db_at(rows, row, column);
    return v->type == DB_BYTES ? v->p : "";
}

static void read_group(const struct db_rows *rows, size_t row, struct group_row *out)
{
    *out = (struct group_row){
        .id = (uint64_t)number(rows, row, 0),
        .name = text(rows, row, 1),
        .name_key = text(rows, row, 2),
        .description = text(rows, row, 3),
        .avatar = text(rows, row, 4),
        .is_public = number(rows, row, 5) != 0,
        .owner_id = (uint64_t)number(rows, row, 6),
        .creator_id = (uint64_t)number(rows, row, 7),
        .member_count = number(rows, row, 8),
        .created_at = number(rows, row, 9),
        .updated_at = number(rows, row, 10),
        .deleted_at = number(rows, row, 11),
        .version = (uint64_t)number(rows, row, 12),
    };
}

/* The columns from `at` on; all NULL where an outer join found none. */
static void read_member(const struct db_rows *rows, size_t row, size_t at, struct group_member *out)
{
    *out = (struct group_member){
        .group_id = (uint64_t)number(rows, row, at),
        .user_id = (uint64_t)number(rows, row, at + 1),
        .role = number(rows, row, at + 2) != 0 ? (enum group_role)number(rows, row, at + 3)
                                               : GROUP_NONE,
        .kept = db_at(rows, row, at)->type != DB_NULL,
        .muted_until = number(rows, row, at + 4),
        .joined_at = number(rows, row, at + 5),
        .whole_history = number(rows, row, at + 6) != 0,
        .version = (uint64_t)number(rows, row, at + 7),
    };
}

static void read_members(const struct db_rows *rows, struct arena *arena,
                         struct group_member **members_out, size_t *n_out)
{
    struct group_member *members = arena_array(arena, rows->count, sizeof(*members));

    for (size_t i = 0; i < rows->count; i++) {
        read_member(rows, i, 0, &members[i]);
    }
    *members_out = members;
    *n_out = rows->count;
}

/* ---- Changes ---- */

int group_store_begin(struct db *db)
{
    return db_begin(db);
}

int group_store_commit(struct db *db)
{
    return db_commit(db);
}

void group_store_rollback(struct db *db)
{
    db_rollback(db);
}

int group_store_locked_member(struct db *db, struct arena *arena, uint64_t group_id,
                              uint64_t user_id, struct group_member *member_out)
{
    struct db_rows rows;
    int err = db_query(db, arena,
                       db_sql(db,
                              "SELECT " MEMBER_COLUMNS " FROM member m WHERE m.group_id = ? AND "
                              "m.user_id = ? FOR UPDATE",
                              "SELECT " MEMBER_COLUMNS " FROM member m WHERE m.group_id = ? AND "
                              "m.user_id = ?"),
                       (struct db_value[]){DB_I(group_id), DB_I(user_id)}, 2, &rows);

    if (err != 0) {
        return err;
    }
    if (rows.count == 0) {
        *member_out = (struct group_member){.group_id = group_id, .user_id = user_id};
    } else {
        read_member(&rows, 0, 0, member_out);
    }
    return 0;
}

int group_store_lock(struct db *db, struct arena *arena, uint64_t group_id, uint64_t user_id,
                     struct group_row *group_out, struct group_member *member_out)
{
    struct db_rows rows;
    int err = db_query(db, arena,
                       db_sql(db,
                              "SELECT " GROUP_COLUMNS " FROM chat_group g WHERE g.id = ? "
                              "FOR UPDATE",
                              "SELECT " GROUP_COLUMNS " FROM chat_group g WHERE g.id = ?"),
                       (struct db_value[]){DB_I(group_id)}, 1, &rows);

    if (err != 0) {
        return err;
    }
    if (rows.count == 0 || number(&rows, 0, 11) != 0) {
        return ERR_NOT_FOUND;
    }
    err = group_store_locked_member(db, arena, group_id, user_id, member_out);
    if (err == 0) {
        read_group(&rows, 0, group_out);
    }
    return err;
}

int group_store_insert(struct db *db, struct group_row *g, const char *request_key)
{
    struct db_value row[] = {
        DB_S(g->name),         DB_S(g->name_key),   DB_S(g->description), DB_S(g->avatar),
        DB_I(g->is_public),    DB_I(g->owner_id),   DB_I(g->creator_id),  DB_S(request_key),
        DB_I(g->member_count), DB_I(g->created_at), DB_I(g->updated_at),  DB_I(g->deleted_at),
        DB_I(g->version),
    };
    int err = db_exec(db,
                      "INSERT INTO chat_group (name, name_key, description, avatar, visibility, "
                      "owner_id, creator_id, request_key, member_count, created_at, updated_at, "
                      "deleted_at, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                      row, sizeof(row) / sizeof(row[0]), NULL);

    if (err == 0) {
        g->id = (uint64_t)db_last_id(db);
    }
    return err;
}

int group_store_update(struct db *db, const struct group_row *g)
{
    struct db_value params[] = {
        DB_S(g->name),       DB_S(g->name_key), DB_S(g->description),  DB_S(g->avatar),
        DB_I(g->is_public),  DB_I(g->owner_id), DB_I(g->member_count), DB_I(g->updated_at),
        DB_I(g->deleted_at), DB_I(g->version),  DB_I(g->id),
    };
    int64_t affected = 0;
    int err = db_exec(db,
                      "UPDATE chat_group SET name = ?, name_key = ?, description = ?, avatar = ?, "
                      "visibility = ?, owner_id = ?, member_count = ?, updated_at = ?, "
                      "deleted_at = ?, version = ? WHERE id = ?",
                      params, sizeof(params) / sizeof(params[0]), &affected);

    assert(err != 0 || affected == 1); /* behind the lock it cannot vanish */
    return err;
}

int group_store_put_member(struct db *db, const struct group_member *m)
{
    if (m->role == GROUP_NONE) {
        assert(m->kept);
        return db_exec(db,
                       "UPDATE member SET state = 0, version = ? WHERE group_id = ? AND "
                       "user_id = ?",
                       (struct db_value[]){DB_I(m->version), DB_I(m->group_id), DB_I(m->user_id)},
                       3, NULL);
    }
    struct db_value params[] = {
        DB_I(1),
        DB_I(m->role),
        DB_I(m->muted_until),
        DB_I(m->joined_at),
        DB_I(m->whole_history),
        DB_I(m->version),
        DB_I(m->group_id),
        DB_I(m->user_id),
    };
    return db_exec(db,
                   m->kept ? "UPDATE member SET state = ?, role = ?, muted_until = ?, "
                             "joined_at = ?, whole_history = ?, version = ? "
                             "WHERE group_id = ? AND user_id = ?"
                           : "INSERT INTO member (state, role, muted_until, joined_at, "
                             "whole_history, version, group_id, user_id) "
                             "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                   params, sizeof(params) / sizeof(params[0]), NULL);
}

/* ---- Single groups and members ---- */

int group_store_get(struct db *db, struct arena *arena, uint64_t group_id, uint64_t user_id,
                    struct group_row *group_out, struct group_member *member_out)
{
    struct db_rows rows;
    int err = db_query(db, arena,
                       "SELECT " GROUP_COLUMNS ", " MEMBER_COLUMNS " FROM chat_group g "
                       "LEFT JOIN member m ON m.group_id = g.id AND m.user_id = ? "
                       "WHERE g.id = ? AND g.deleted_at = 0",
                       (struct db_value[]){DB_I(user_id), DB_I(group_id)}, 2, &rows);

    if (err != 0) {
        return err;
    }
    if (rows.count == 0) {
        return ERR_NOT_FOUND;
    }
    read_group(&rows, 0, group_out);
    read_member(&rows, 0, GROUP_WIDTH, member_out);
    member_out->group_id = group_id;
    member_out->user_id = user_id;
    return 0;
}

int group_store_find_request(struct db *db, struct arena *arena, uint64_t creator_id,
                             const char *request_key, uint64_t *group_id_out)
{
    struct db_rows rows;
    int err = db_query(db, arena,
                       "SELECT id FROM chat_group WHERE creator_id = ? AND request_key = ?",
                       (struct db_value[]){DB_I(creator_id), DB_S(request_key)}, 2, &rows);

    if (err != 0) {
        return err;
    }
    if (rows.count == 0) {
        return ERR_NOT_FOUND;
    }
    *group_id_out = (uint64_t)number(&rows, 0, 0);
    return 0;
}

int group_store_member(struct db *db, struct arena *arena, uint64_t group_id, uint64_t user_id,
                       struct group_member *member_out)
{
    struct group_member pair = {.group_id = group_id, .user_id = user_id};
    int err = group_store_check(db, arena, &pair, 1);

    if (err == 0) {
        *member_out = pair;
    }
    return err;
}

int group_store_count_groups(struct db *db, struct arena *arena, uint64_t user_id,
                             int64_t *count_out)
{
    struct db_rows rows;
    int err = db_query(db, arena,
                       "SELECT COUNT(*) FROM member m JOIN chat_group g ON g.id = m.group_id "
                       "WHERE m.user_id = ? AND m.state = 1 AND g.deleted_at = 0",
                       (struct db_value[]){DB_I(user_id)}, 1, &rows);

    if (err == 0) {
        *count_out = number(&rows, 0, 0);
    }
    return err;
}

int group_store_members(struct db *db, struct arena *arena, uint64_t group_id, uint64_t after_user,
                        size_t limit, struct group_member **members_out, size_t *n_out)
{
    struct db_rows rows;
    int err = db_query(db, arena,
                       "SELECT " MEMBER_COLUMNS " FROM member m WHERE m.group_id = ? AND "
                       "m.user_id > ? AND m.state = 1 ORDER BY m.user_id LIMIT ?",
                       (struct db_value[]){DB_I(group_id), DB_I(after_user), DB_I(limit)}, 3,
                       &rows);

    if (err == 0) {
        read_members(&rows, arena, members_out, n_out);
    }
    return err;
}

/* ---- Lists of groups ---- */

/* The lowest id of the window that a search looks at; 0: the window reaches the end. */
static int find_window(struct db *db, struct arena *arena, const struct group_listing *listing,
                       uint64_t *from_out)
{
    struct db_rows rows;
    struct db_value params[] = {DB_I(listing->user_id), DB_I(listing->before_id),
                                DB_I(SEARCH_WINDOW - 1)};
    int err =
        listing->mine
            ? db_query(db, arena,
                       "SELECT m.group_id FROM member m WHERE m.user_id = ? AND m.state = 1 AND "
                       "m.group_id < ? ORDER BY m.group_id DESC LIMIT 1 OFFSET ?",
                       params, 3, &rows)
            : db_query(db, arena,
                       "SELECT g.id FROM chat_group g WHERE g.visibility = 1 AND "
                       "g.deleted_at = 0 AND g.id < ? ORDER BY g.id DESC LIMIT 1 OFFSET ?",
                       params + 1, 2, &rows);

    if (err == 0) {
        *from_out = rows.count > 0 ? (uint64_t)number(&rows, 0, 0) : 0;
    }
    return err;
}

static int query_groups(struct db *db, struct arena *arena, const struct group_listing *listing,
                        uint64_t from, struct db_rows *rows_out)
{
    struct db_value params[] = {
        DB_I(listing->user_id), DB_I(listing->before_id), DB_I(from),
        DB_S(listing->q),       DB_I(listing->limit + 1),
    };
    bool search = listing->q != NULL && listing->q[0] != '\0';
    const char *sql;

    if (!search) { /* without the two of the search */
        params[2] = params[4];
        sql = listing->mine ? "SELECT " GROUP_COLUMNS ", m.role FROM member m "
                              "JOIN chat_group g ON g.id = m.group_id "
                              "WHERE m.user_id = ? AND m.state = 1 AND m.group_id < ? AND "
                              "g.deleted_at = 0 ORDER BY m.group_id DESC LIMIT ?"
                            : "SELECT " GROUP_COLUMNS ", m.role FROM chat_group g "
                              "LEFT JOIN member m ON m.group_id = g.id AND m.user_id = ? AND "
                              "m.state = 1 WHERE g.visibility = 1 AND g.deleted_at = 0 AND "
                              "g.id < ? ORDER BY g.id DESC LIMIT ?";
    } else {
        sql = listing->mine ? "SELECT " GROUP_COLUMNS ", m.role FROM member m "
                              "JOIN chat_group g ON g.id = m.group_id "
                              "WHERE m.user_id = ? AND m.state = 1 AND m.group_id < ? AND "
                              "m.group_id >= ? AND INSTR(g.name_key, ?) > 0 AND "
                              "g.deleted_at = 0 ORDER BY m.group_id DESC LIMIT ?"
                            : "SELECT " GROUP_COLUMNS ", m.role FROM chat_group g "
                              "LEFT JOIN member m ON m.group_id = g.id AND m.user_id = ? AND "
                              "m.state = 1 WHERE g.visibility = 1 AND g.deleted_at = 0 AND "
                              "g.id < ? AND g.id >= ? AND INSTR(g.name_key, ?) > 0 "
                              "ORDER BY g.id DESC LIMIT ?";
    }
    return db_query(db, arena, sql, params, search ? 5 : 3, rows_out);
}

int group_store_list(struct db *db, struct arena *arena, const struct group_listing *listing,
                     struct group_row **groups_out, enum group_role **roles_out, size_t *n_out,
                     uint64_t *next_out)
{
    struct db_rows rows;
    uint64_t from = 0;
    int err = listing->q != NULL && listing->q[0] != '\0' ? find_window(db, arena, listing, &from)
                                                          : 0;

    if (err == 0) {
        err = query_groups(db, arena, listing, from, &rows);
    }
    if (err != 0) {
        return err;
    }
    size_t n = rows.count < listing->limit ? rows.count : listing->limit;
    struct group_row *groups = arena_array(arena, n, sizeof(*groups));
    enum group_role *roles = arena_array(arena, n, sizeof(*roles));
    for (size_t i = 0; i < n; i++) {
        read_group(&rows, i, &groups[i]);
        roles[i] = (enum group_role)number(&rows, i, GROUP_WIDTH);
    }
    *groups_out = groups;
    *roles_out = roles;
    *n_out = n;
    *next_out = rows.count > n ? groups[n - 1].id : from; /* `from` itself was looked at */
    return 0;
}

/* ---- Memberships ---- */

int group_store_memberships(struct db *db, struct arena *arena, const uint64_t *users, size_t n,
                            size_t limit, struct group_member **members_out, size_t *n_out)
{
    struct db_value *list = arena_array(arena, n, sizeof(*list));
    struct db_value after[] = {DB_I(limit)};
    struct db_rows rows = {0};

    for (size_t i = 0; i < n; i++) {
        list[i] = DB_I(users[i]);
    }
    int err = db_query_in(db, arena,
                          "SELECT " MEMBER_COLUMNS " FROM member m "
                          "JOIN chat_group g ON g.id = m.group_id WHERE m.user_id IN (%s) AND "
                          "m.state = 1 AND g.deleted_at = 0 ORDER BY m.user_id, m.group_id LIMIT ?",
                          NULL, 0, list, n, after, 1, &rows);
    if (err == 0) {
        read_members(&rows, arena, members_out, n_out);
    }
    return err;
}

int group_store_memberships_after(struct db *db, struct arena *arena, uint64_t user_id,
                                  uint64_t after_group, size_t limit,
                                  struct group_member **members_out, size_t *n_out)
{
    struct db_rows rows;
    int err = db_query(db, arena,
                       "SELECT " MEMBER_COLUMNS " FROM member m "
                       "JOIN chat_group g ON g.id = m.group_id WHERE m.user_id = ? AND "
                       "m.state = 1 AND m.group_id > ? AND g.deleted_at = 0 "
                       "ORDER BY m.group_id LIMIT ?",
                       (struct db_value[]){DB_I(user_id), DB_I(after_group), DB_I(limit)}, 3,
                       &rows);

    if (err == 0) {
        read_members(&rows, arena, members_out, n_out);
    }
    return err;
}

int group_store_check(struct db *db, struct arena *arena, struct group_member *pairs, size_t n)
{
    struct db_value *list = arena_array(arena, 2 * n, sizeof(*list));
    struct db_rows rows = {0};
    struct map found;

    for (size_t i = 0; i < n; i++) {
        list[2 * i] = DB_I(pairs[i].group_id);
        list[2 * i + 1] = DB_I(pairs[i].user_id);
    }
    const struct db_lookup what = {
        .columns = MEMBER_COLUMNS ", g.deleted_at, g.version",
        .table = "member m",
        .on = "m.group_id = k.c1 AND m.user_id = k.c2 JOIN chat_group g ON g.id = m.group_id",
        .width = 2,
    };
    int err = db_query_keys(db, arena, &what, list, n, &rows);
    if (err != 0) {
        return err;
    }
    struct group_member *members = arena_array(arena, rows.count, sizeof(*members));
    map_init(&found);
    for (size_t i = 0; i < rows.count; i++) {
        read_member(&rows, i, 0, &members[i]);
        if (number(&rows, i, MEMBER_WIDTH) != 0) { /* the group is gone, and all with it */
            members[i].role = GROUP_NONE;
            members[i].version = (uint64_t)number(&rows, i, MEMBER_WIDTH + 1);
        }
        map_put(&found, members[i].group_id, members[i].user_id, &members[i]);
    }
    for (size_t i = 0; i < n; i++) {
        const struct group_member *m = map_get(&found, pairs[i].group_id, pairs[i].user_id);
        pairs[i] = m != NULL ? *m
                             : (struct group_member){.group_id = pairs[i].group_id,
                                                     .user_id = pairs[i].user_id};
    }
    map_done(&found);
    return 0;
}

int group_store_public(struct db *db, struct arena *arena, const uint64_t *group_ids, size_t n,
                       bool *is_public_out)
{
    struct db_value *list = arena_array(arena, n, sizeof(*list));
    struct db_rows rows = {0};
    struct map found;

    for (size_t i = 0; i < n; i++) {
        list[i] = DB_I(group_ids[i]);
    }
    int err = db_query_in(db, arena,
                          "SELECT id FROM chat_group WHERE id IN (%s) AND visibility = 1 AND "
                          "deleted_at = 0",
                          NULL, 0, list, n, NULL, 0, &rows);
    if (err != 0) {
        return err;
    }
    map_init(&found);
    for (size_t i = 0; i < rows.count; i++) {
        map_put(&found, (uint64_t)number(&rows, i, 0), 0, list);
    }
    for (size_t i = 0; i < n; i++) {
        is_public_out[i] = map_get(&found, group_ids[i], 0) != NULL;
    }
    map_done(&found);
    return 0;
}
