// SPDX-License-Identifier: MIT
/*
 * The SQL of the membership copy. A version guards each row by itself, so that writers in any
 * order, and at the same time, leave the newest.
 */
#include "message-svc/store_members.h"

#include "common/db.h"

#include <string.h>

static uint64_t number(const struct db_value *v)
{
    return (uint64_t)v->i;
}

int message_store_members(struct db *db, struct arena *arena, const struct message_pair *keys,
                          size_t n, struct message_members *out)
{
    struct db_value *list = arena_alloc(arena, n * 2 * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        list[i * 2] = DB_I(keys[i].group_id);
        list[i * 2 + 1] = DB_I(keys[i].user_id);
    }
    const struct db_lookup what = {
        .columns = "m.group_id, m.user_id, m.role, m.state, m.muted_until, m.joined_at, "
                   "m.from_seq, m.version",
        .table = "member m",
        .on = "m.group_id = k.c1 AND m.user_id = k.c2",
        .width = 2,
    };
    struct db_rows rows;
    int err = db_query_keys(db, arena, &what, list, n, &rows);
    if (err != 0) {
        return err;
    }
    out->at = arena_array(arena, rows.count, sizeof(*out->at));
    out->n = rows.count;
    for (size_t i = 0; i < rows.count; i++) {
        const struct db_value *v = db_at(&rows, i, 0);
        out->at[i] = (struct message_member){
            .group_id = number(&v[0]),
            .user_id = number(&v[1]),
            .role = (int)v[2].i,
            .active = v[3].i != 0,
            .muted_until = v[4].i,
            .joined_at = v[5].i,
            .from_seq = number(&v[6]),
            .version = number(&v[7]),
        };
    }
    return 0;
}

int message_store_groups(struct db *db, struct arena *arena, const uint64_t *ids, size_t n,
                         struct message_groups *out)
{
    struct db_value *list = arena_alloc(arena, n * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        list[i] = DB_I(ids[i]);
    }
    struct db_rows rows;
    int err = db_query_in(
        db, arena,
        "SELECT group_id, visibility, deleted, version FROM group_copy WHERE group_id IN (%s)",
        NULL, 0, list, n, NULL, 0, &rows);
    if (err != 0) {
        return err;
    }
    out->at = arena_array(arena, rows.count, sizeof(*out->at));
    out->n = rows.count;
    for (size_t i = 0; i < rows.count; i++) {
        const struct db_value *v = db_at(&rows, i, 0);
        out->at[i] = (struct message_group){
            .group_id = number(&v[0]),
            .is_public = v[1].i != 0,
            .deleted = v[2].i != 0,
            .version = number(&v[3]),
        };
    }
    return 0;
}

/* MySQL assigns from left to right, each seeing those before it: so version comes last. */
#define KEEP_NEWER(column)                                                                         \
#column " = IF(VALUES(version) > version, VALUES(" #column "), " #column ")"
/* Of one version the earlier begin is right: who wrote the later one had seen less of the log. */
#define KEEP_EARLIER                                                                               \
    "from_seq = IF(VALUES(version) > version OR (VALUES(version) = version AND "                   \
    "VALUES(from_seq) < from_seq), VALUES(from_seq), from_seq)"

int message_store_put_members(struct db *db, struct arena *arena,
                              const struct message_member *members, size_t n)
{
    enum { COLUMNS = 8 };
    struct db_value *values = arena_alloc(arena, n * COLUMNS * sizeof(*values));
    for (size_t i = 0; i < n; i++) {
        const struct message_member *m = &members[i];
        const struct db_value of_row[COLUMNS] = {
            DB_I(m->group_id),    DB_I(m->user_id),   DB_I(m->role),     DB_I(m->active),
            DB_I(m->muted_until), DB_I(m->joined_at), DB_I(m->from_seq), DB_I(m->version)};
        memcpy(&values[i * COLUMNS], of_row, sizeof(of_row));
    }
    return db_insert(
        db,
        "INSERT INTO member (group_id, user_id, role, state, muted_until, joined_at, from_seq, "
        "version) VALUES",
        COLUMNS, values, n,
        db_sql(db,
               "ON DUPLICATE KEY UPDATE " KEEP_NEWER(role) ", " KEEP_NEWER(state) ", " KEEP_NEWER(
                   muted_until) ", " KEEP_NEWER(joined_at) ", " KEEP_EARLIER
                                                           ", " KEEP_NEWER(version),
               "ON CONFLICT (group_id, user_id) DO UPDATE SET role = excluded.role, "
               "state = excluded.state, muted_until = excluded.muted_until, "
               "joined_at = excluded.joined_at, from_seq = excluded.from_seq, "
               "version = excluded.version WHERE excluded.version > member.version OR "
               "(excluded.version = member.version AND excluded.from_seq < member.from_seq)"));
}

static int put_groups(struct db *db, struct arena *arena, const struct message_group *groups,
                      size_t n)
{
    enum { COLUMNS = 4 };
    struct db_value *values = arena_alloc(arena, n * COLUMNS * sizeof(*values));
    for (size_t i = 0; i < n; i++) {
        const struct message_group *g = &groups[i];
        const struct db_value of_row[COLUMNS] = {DB_I(g->group_id), DB_I(g->is_public),
                                                 DB_I(g->deleted), DB_I(g->version)};
        memcpy(&values[i * COLUMNS], of_row, sizeof(of_row));
    }
    return db_insert(
        db, "INSERT INTO group_copy (group_id, visibility, deleted, version) VALUES", COLUMNS,
        values, n,
        db_sql(db,
               "ON DUPLICATE KEY UPDATE " KEEP_NEWER(visibility) ", " KEEP_NEWER(
                   deleted) ", " KEEP_NEWER(version),
               "ON CONFLICT (group_id) DO UPDATE SET visibility = excluded.visibility, "
               "deleted = excluded.deleted, version = excluded.version "
               "WHERE excluded.version > group_copy.version"));
}

static int remove_members(struct db *db, const struct message_group *group)
{
    return db_exec(
        db, "UPDATE member SET state = 0, version = ? WHERE group_id = ? AND version < ?",
        (struct db_value[]){DB_I(group->version), DB_I(group->group_id), DB_I(group->version)}, 3,
        NULL);
}

int message_store_put_copy(struct db *db, struct arena *arena, const struct message_member *members,
                           size_t n, const struct message_group *groups, size_t group_count)
{
    int err = db_begin(db);
    if (err != 0) {
        return err;
    }
    err = message_store_put_members(db, arena, members, n);
    if (err == 0) {
        err = put_groups(db, arena, groups, group_count);
    }
    for (size_t i = 0; i < group_count && err == 0; i++) {
        if (groups[i].deleted) {
            err = remove_members(db, &groups[i]);
        }
    }
    if (err != 0) {
        db_rollback(db);
        return err;
    }
    return db_commit(db);
}

int message_store_access(struct db *db, struct arena *arena, uint64_t group_id, uint64_t user_id,
                         struct message_access *out)
{
    struct db_rows rows;
    int err = db_query(db, arena,
                       "SELECT m.state, m.from_seq, c.last_seq FROM member m LEFT JOIN "
                       "conversation c ON c.conv_a = 0 AND c.conv_b = m.group_id "
                       "WHERE m.group_id = ? AND m.user_id = ?",
                       (struct db_value[]){DB_I(group_id), DB_I(user_id)}, 2, &rows);
    if (err != 0) {
        return err;
    }
    *out = (struct message_access){0};
    if (rows.count > 0) {
        const struct db_value *v = db_at(&rows, 0, 0);
        *out = (struct message_access){.member = v[0].i != 0,
                                       .from_seq = number(&v[1]),
                                       .last_seq = v[2].type == DB_NULL ? 0 : number(&v[2])};
    }
    return 0;
}
