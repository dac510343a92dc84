// SPDX-License-Identifier: MIT
/*
 * One function a statement. Rows are locked with FOR UPDATE, which SQLite neither knows nor needs:
 * its transactions begin with the writer's lock. Order of locks: the user, then its sessions.
 */
#include "auth-svc/store.h"

#include "common/clock.h"
#include "common/random.h"

#include <string.h>
#include <time.h>

enum { RETRY_MS = 3000, PAUSE_MAX_MS = 16, SESSIONS_MOST = 1000 };

/* ---- Transactions ---- */

static int run_once(struct db *db, int (*run)(struct db *db, void *arg), void *arg)
{
    int rc = db_begin(db);

    if (rc != 0) {
        return rc;
    }
    rc = run(db, arg);
    if (rc != 0) {
        db_rollback(db);
        return rc;
    }
    return db_commit(db);
}

int auth_store_transact(struct db *db, int (*run)(struct db *db, void *arg), void *arg)
{
    int64_t until_ms = clock_mono_ms() + RETRY_MS;
    uint64_t pause_ms = 1;
    int rc;

    while ((rc = run_once(db, run, arg)) == ERR_STALE && clock_mono_ms() < until_ms) {
        /* Random, so that two in each other's way do not meet again. */
        uint64_t ns = random_u64() % (pause_ms * 1000000);
        nanosleep(&(struct timespec){.tv_nsec = (long)ns}, NULL);
        pause_ms = pause_ms < PAUSE_MAX_MS ? pause_ms * 2 : pause_ms;
    }
    return auth_store_settle_error(rc);
}

/* ---- Users ---- */

#define USER_COLUMNS                                                                               \
    "id, username, username_key, password_hash, nickname, avatar, bio, email, created_at, "        \
    "updated_at, version"

static const char *text_at(const struct db_rows *rows, size_t row, size_t column)
{
    const char *text = db_at(rows, row, column)->p;

    return text != NULL ? text : "";
}

static void read_user(const struct db_rows *rows, size_t row, struct auth_store_user *user)
{
    *user = (struct auth_store_user){
        .id = (uint64_t)db_at(rows, row, 0)->i,
        .username = text_at(rows, row, 1),
        .username_key = text_at(rows, row, 2),
        .password_hash = text_at(rows, row, 3),
        .nickname = text_at(rows, row, 4),
        .avatar = text_at(rows, row, 5),
        .bio = text_at(rows, row, 6),
        .email = text_at(rows, row, 7),
        .search_text = "",
        .created_at = db_at(rows, row, 8)->i,
        .updated_at = db_at(rows, row, 9)->i,
        .version = (uint64_t)db_at(rows, row, 10)->i,
    };
}

static int find_one_user(struct db *db, struct arena *arena, const char *sql, struct db_value key,
                         struct auth_store_user *user_out)
{
    struct db_rows rows;
    int rc = db_query(db, arena, sql, &key, 1, &rows);

    if (rc == 0 && rows.count == 0) {
        rc = ERR_NOT_FOUND;
    }
    if (rc == 0) {
        read_user(&rows, 0, user_out);
    }
    return rc;
}

int auth_store_find_user(struct db *db, struct arena *arena, uint64_t id, enum auth_store_lock lock,
                         struct auth_store_user *user_out)
{
#define SQL "SELECT " USER_COLUMNS " FROM user WHERE id = ?"
    const char *sql = lock == AUTH_STORE_LOCK ? db_sql(db, SQL " FOR UPDATE", SQL) : SQL;
#undef SQL

    return find_one_user(db, arena, sql, DB_I(id), user_out);
}

int auth_store_find_name(struct db *db, struct arena *arena, const char *username_key,
                         struct auth_store_user *user_out)
{
    return find_one_user(db, arena, "SELECT " USER_COLUMNS " FROM user WHERE username_key = ?",
                         DB_S(username_key), user_out);
}

int auth_store_insert_user(struct db *db, const struct auth_store_user *user, uint64_t *id_out)
{
    struct db_value row[] = {
        DB_S(user->username),   DB_S(user->username_key), DB_S(user->password_hash),
        DB_S(user->nickname),   DB_S(user->avatar),       DB_S(user->bio),
        DB_S(user->email),      DB_S(user->search_text),  DB_I(user->created_at),
        DB_I(user->updated_at), DB_I(user->version),
    };
    int rc = db_exec(db,
                     "INSERT INTO user (username, username_key, password_hash, nickname, avatar, "
                     "bio, email, search_text, created_at, updated_at, version) "
                     "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                     row, sizeof(row) / sizeof(row[0]), NULL);

    if (rc == 0) {
        *id_out = (uint64_t)db_last_id(db);
    }
    return rc;
}

int auth_store_update_profile(struct db *db, const struct auth_store_user *user)
{
    struct db_value row[] = {
        DB_S(user->nickname),    DB_S(user->avatar),     DB_S(user->bio),     DB_S(user->email),
        DB_S(user->search_text), DB_I(user->updated_at), DB_I(user->version), DB_I(user->id),
    };

    return db_exec(db,
                   "UPDATE user SET nickname = ?, avatar = ?, bio = ?, email = ?, "
                   "search_text = ?, updated_at = ?, version = ? WHERE id = ?",
                   row, sizeof(row) / sizeof(row[0]), NULL);
}

int auth_store_update_password(struct db *db, uint64_t id, const char *hash)
{
    struct db_value row[] = {DB_S(hash), DB_I(id)};

    return db_exec(db, "UPDATE user SET password_hash = ? WHERE id = ?", row, 2, NULL);
}

static void read_users(struct arena *arena, const struct db_rows *rows,
                       struct auth_store_users *users_out)
{
    users_out->count = rows->count;
    users_out->list = arena_array(arena, rows->count, sizeof(*users_out->list));
    for (size_t i = 0; i < rows->count; i++) {
        read_user(rows, i, &users_out->list[i]);
    }
}

/* INSTR rather than LIKE: nothing to escape, and the same in both databases. */
int auth_store_list_users(struct db *db, struct arena *arena, const struct auth_store_range *range,
                          struct auth_store_users *users_out)
{
    struct db_value all[] = {DB_I(range->after_id), DB_I(range->until_id), DB_I(range->limit)};
    struct db_value some[] = {DB_I(range->after_id), DB_I(range->until_id), DB_S(range->q),
                              DB_I(range->limit)};
    struct db_rows rows;
    int rc = range->q == NULL
                 ? db_query(db, arena,
                            "SELECT " USER_COLUMNS " FROM user WHERE id > ? AND id <= ? "
                            "ORDER BY id LIMIT ?",
                            all, 3, &rows)
                 : db_query(db, arena,
                            "SELECT " USER_COLUMNS " FROM user WHERE id > ? AND id <= ? "
                            "AND INSTR(search_text, ?) > 0 ORDER BY id LIMIT ?",
                            some, 4, &rows);

    if (rc == 0) {
        read_users(arena, &rows, users_out);
    }
    return rc;
}

int auth_store_find_users(struct db *db, struct arena *arena, const uint64_t *ids, size_t n,
                          struct auth_store_users *users_out)
{
    struct db_value *list = arena_array(arena, n, sizeof(*list));
    struct db_rows rows;

    for (size_t i = 0; i < n; i++) {
        list[i] = DB_I(ids[i]);
    }
    int rc = db_query_in(db, arena, "SELECT " USER_COLUMNS " FROM user WHERE id IN (%s)", NULL, 0,
                         list, n, NULL, 0, &rows);
    if (rc == 0) {
        read_users(arena, &rows, users_out);
    }
    return rc;
}

int auth_store_find_last_user(struct db *db, struct arena *arena, uint64_t *id_out)
{
    struct db_rows rows;
    int rc = db_query(db, arena, "SELECT COALESCE(MAX(id), 0) FROM user", NULL, 0, &rows);

    if (rc == 0) {
        *id_out = (uint64_t)db_at(&rows, 0, 0)->i;
    }
    return rc;
}

/* ---- Sessions ---- */

#define SESSION_COLUMNS                                                                            \
    "id, user_id, generation, rotated_at, device, address, created_at, seen_at, expires_at, "      \
    "ended_at"

static void read_sessions(struct arena *arena, const struct db_rows *rows,
                          struct auth_store_sessions *sessions_out)
{
    sessions_out->count = rows->count;
    sessions_out->list = arena_array(arena, rows->count, sizeof(*sessions_out->list));
    for (size_t i = 0; i < rows->count; i++) {
        sessions_out->list[i] = (struct auth_store_session){
            .id = (uint64_t)db_at(rows, i, 0)->i,
            .user_id = (uint64_t)db_at(rows, i, 1)->i,
            .generation = (uint32_t)db_at(rows, i, 2)->i,
            .rotated_at = db_at(rows, i, 3)->i,
            .device = text_at(rows, i, 4),
            .address = text_at(rows, i, 5),
            .created_at = db_at(rows, i, 6)->i,
            .seen_at = db_at(rows, i, 7)->i,
            .expires_at = db_at(rows, i, 8)->i,
            .ended_at = db_at(rows, i, 9)->i,
        };
    }
}

int auth_store_insert_session(struct db *db, const struct auth_store_session *session,
                              uint64_t *id_out)
{
    struct db_value row[] = {
        DB_I(session->user_id), DB_I(session->generation), DB_I(session->rotated_at),
        DB_S(session->device),  DB_S(session->address),    DB_I(session->created_at),
        DB_I(session->seen_at), DB_I(session->expires_at),
    };
    int rc =
        db_exec(db,
                "INSERT INTO session (user_id, generation, rotated_at, device, address, "
                "created_at, seen_at, expires_at, ended_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)",
                row, sizeof(row) / sizeof(row[0]), NULL);

    if (rc == 0) {
        *id_out = (uint64_t)db_last_id(db);
    }
    return rc;
}

int auth_store_find_session(struct db *db, struct arena *arena, uint64_t id,
                            enum auth_store_lock lock, struct auth_store_session *session_out)
{
#define SQL "SELECT " SESSION_COLUMNS " FROM session WHERE id = ?"
    const char *sql = lock == AUTH_STORE_LOCK ? db_sql(db, SQL " FOR UPDATE", SQL) : SQL;
#undef SQL
    struct auth_store_sessions found;
    struct db_rows rows;
    int rc = db_query(db, arena, sql, (struct db_value[]){DB_I(id)}, 1, &rows);

    if (rc == 0 && rows.count == 0) {
        rc = ERR_NOT_FOUND;
    }
    if (rc == 0) {
        read_sessions(arena, &rows, &found);
        *session_out = found.list[0];
    }
    return rc;
}

int auth_store_update_session(struct db *db, const struct auth_store_session *session)
{
    struct db_value row[] = {
        DB_I(session->generation), DB_I(session->rotated_at), DB_I(session->seen_at),
        DB_I(session->expires_at), DB_S(session->address),    DB_I(session->id),
    };

    return db_exec(db,
                   "UPDATE session SET generation = ?, rotated_at = ?, seen_at = ?, "
                   "expires_at = ?, address = ? WHERE id = ?",
                   row, sizeof(row) / sizeof(row[0]), NULL);
}

int auth_store_end_session(struct db *db, uint64_t id, int64_t now_ms, bool *ended_out)
{
    struct db_value row[] = {DB_I(now_ms), DB_I(id)};
    int64_t affected = 0;
    int rc = db_exec(db, "UPDATE session SET ended_at = ? WHERE id = ? AND ended_at = 0", row, 2,
                     &affected);

    if (rc == 0) {
        *ended_out = affected > 0;
    }
    return rc;
}

int auth_store_list_sessions(struct db *db, struct arena *arena, uint64_t user_id, int64_t now_ms,
                             struct auth_store_sessions *sessions_out)
{
    struct db_value row[] = {DB_I(user_id), DB_I(now_ms), DB_I(SESSIONS_MOST)};
    struct db_rows rows;
    int rc = db_query(db, arena,
                      "SELECT " SESSION_COLUMNS " FROM session WHERE user_id = ? AND ended_at = 0 "
                      "AND expires_at > ? ORDER BY id LIMIT ?",
                      row, 3, &rows);

    if (rc == 0) {
        read_sessions(arena, &rows, sessions_out);
    }
    return rc;
}

int auth_store_list_ended(struct db *db, struct arena *arena, int64_t since_ms, uint64_t after_id,
                          size_t limit, struct auth_store_sessions *sessions_out)
{
    struct db_value row[] = {DB_I(since_ms), DB_I(after_id), DB_I(limit)};
    struct db_rows rows;
    int rc = db_query(db, arena,
                      "SELECT " SESSION_COLUMNS " FROM session WHERE ended_at > ? AND id > ? "
                      "ORDER BY id LIMIT ?",
                      row, 3, &rows);

    if (rc == 0) {
        read_sessions(arena, &rows, sessions_out);
    }
    return rc;
}

/* One by one and by primary key: a DELETE over a range would lock gaps, and logins meet them. */
static int delete_found(struct db *db, struct arena *arena, const char *sql, struct db_value before,
                        size_t limit, size_t *deleted)
{
    struct db_rows rows = {0};
    int rc = db_query(db, arena, sql, (struct db_value[]){before, DB_I(limit)}, 2, &rows);

    for (size_t i = 0; i < rows.count && rc == 0; i++) {
        rc = db_exec(db, "DELETE FROM session WHERE id = ?", db_at(&rows, i, 0), 1, NULL);
        *deleted += rc == 0;
    }
    return rc;
}

int auth_store_delete_sessions(struct db *db, struct arena *arena, int64_t ended_before_ms,
                               int64_t expired_before_ms, size_t limit, size_t *deleted_out)
{
    size_t deleted = 0;
    int rc = delete_found(db, arena,
                          "SELECT id FROM session WHERE ended_at > 0 AND ended_at < ? LIMIT ?",
                          DB_I(ended_before_ms), limit, &deleted);

    if (rc == 0) {
        rc = delete_found(db, arena, "SELECT id FROM session WHERE expires_at < ? LIMIT ?",
                          DB_I(expired_before_ms), limit, &deleted);
    }
    if (rc == 0) {
        *deleted_out = deleted;
    }
    return rc;
}
