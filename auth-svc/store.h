// SPDX-License-Identifier: MIT
/*
 * Users and sessions in the database: the only SQL of auth-svc. Knows no rules.
 *
 * All functions run on a worker thread with the worker's connection and fail as db.h says
 * (ERR_UNAVAILABLE, ERR_STALE, ERR_INTERNAL) beside what is named here; within a transaction hand
 * ERR_STALE up to auth_store_transact. Texts are NUL-terminated; results live in the arena.
 */
#pragma once

#include "common/arena.h"
#include "common/db.h"
#include "common/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct auth_store_user {
    uint64_t id;
    const char *username, *username_key, *password_hash;
    const char *nickname, *avatar, *bio, *email;
    const char *search_text; /* what q is looked for in; written only */
    int64_t created_at, updated_at;
    uint64_t version;
};

struct auth_store_session {
    uint64_t id, user_id;
    uint32_t generation;
    int64_t rotated_at, created_at, seen_at, expires_at;
    int64_t ended_at; /* 0: it lives */
    const char *device, *address;
};

struct auth_store_users {
    struct auth_store_user *list;
    size_t count;
};
struct auth_store_sessions {
    struct auth_store_session *list;
    size_t count;
};

/* ---- Transactions ---- */

/*
 * Begins, runs, commits; once more from the start when another writer was in the way (ERR_STALE),
 * for at most 3 s. An error of run rolls back and is returned: so to refuse and yet keep what was
 * written, run notes it in arg and returns 0. Never ERR_STALE.
 */
int auth_store_transact(struct db *db, int (*run)(struct db *db, void *arg), void *arg)
    __attribute__((warn_unused_result));
/* For statements outside of a transaction: a lock that could not be had is the world's fault. */
static inline int auth_store_settle_error(int err)
{
    return err == ERR_STALE ? ERR_UNAVAILABLE : err;
}

/* ---- Users ---- */

enum auth_store_lock { AUTH_STORE_READ, AUTH_STORE_LOCK /* till the transaction's end */ };

/* ERR_NOT_FOUND. */
int auth_store_find_user(struct db *db, struct arena *arena, uint64_t id, enum auth_store_lock lock,
                         struct auth_store_user *user_out) __attribute__((warn_unused_result));
int auth_store_find_name(struct db *db, struct arena *arena, const char *username_key,
                         struct auth_store_user *user_out) __attribute__((warn_unused_result));
/* ERR_DUPLICATE: the key is taken. */
int auth_store_insert_user(struct db *db, const struct auth_store_user *user, uint64_t *id_out)
    __attribute__((warn_unused_result));
/* Nickname, avatar, bio, email, search_text, updated_at, version. */
int auth_store_update_profile(struct db *db, const struct auth_store_user *user)
    __attribute__((warn_unused_result));
int auth_store_update_password(struct db *db, uint64_t id, const char *hash)
    __attribute__((warn_unused_result));

struct auth_store_range {
    uint64_t after_id, until_id; /* after_id < id <= until_id */
    const char *q;               /* folded; NULL: all */
    size_t limit;
};
int auth_store_list_users(struct db *db, struct arena *arena, const struct auth_store_range *range,
                          struct auth_store_users *users_out) __attribute__((warn_unused_result));
/* In no order; unknown ids are left out. n at most 500. */
int auth_store_find_users(struct db *db, struct arena *arena, const uint64_t *ids, size_t n,
                          struct auth_store_users *users_out) __attribute__((warn_unused_result));
int auth_store_find_last_user(struct db *db, struct arena *arena, uint64_t *id_out)
    __attribute__((warn_unused_result)); /* the highest id; 0: there is none */

/* ---- Sessions ---- */

int auth_store_insert_session(struct db *db, const struct auth_store_session *session,
                              uint64_t *id_out) __attribute__((warn_unused_result));
int auth_store_find_session(struct db *db, struct arena *arena, uint64_t id,
                            enum auth_store_lock lock, struct auth_store_session *session_out)
    __attribute__((warn_unused_result)); /* ERR_NOT_FOUND; ended ones are found too */
/* Generation, rotated_at, seen_at, expires_at, address. */
int auth_store_update_session(struct db *db, const struct auth_store_session *session)
    __attribute__((warn_unused_result));
/* ended_out: it lived until now. */
int auth_store_end_session(struct db *db, uint64_t id, int64_t now_ms, bool *ended_out)
    __attribute__((warn_unused_result));
/* The user's sessions that live, by id, at most 1,000. */
int auth_store_list_sessions(struct db *db, struct arena *arena, uint64_t user_id, int64_t now_ms,
                             struct auth_store_sessions *sessions_out)
    __attribute__((warn_unused_result));
/* Those that ended since, by id, after an id. */
int auth_store_list_ended(struct db *db, struct arena *arena, int64_t since_ms, uint64_t after_id,
                          size_t limit, struct auth_store_sessions *sessions_out)
    __attribute__((warn_unused_result));
/* Deletes sessions that ended before, or expired before; at most 2 * limit. */
int auth_store_delete_sessions(struct db *db, struct arena *arena, int64_t ended_before_ms,
                               int64_t expired_before_ms, size_t limit, size_t *deleted_out)
    __attribute__((warn_unused_result));
