// SPDX-License-Identifier: MIT
/*
 * What db.c, db_migrate.c and the two drivers share. Nobody else includes this.
 *
 * A driver's connection begins with a struct db. db.c keeps the books (metrics, whether a
 * transaction is open or broken), the driver talks to its library and maps and logs its errors.
 */
#pragma once

#include "common/db.h"
#include "common/map.h"

struct db_call { /* one prepared statement */
    const char *sql;
    const struct db_value *params;
    size_t n;
    struct arena *arena; /* NULL: rows are not wanted */
    struct db_rows *rows_out;
    int64_t *affected_out; /* or NULL */
};

struct db_driver {
    bool is_sqlite;
    int (*run)(struct db *db, const struct db_call *call);
    int (*begin)(struct db *db);
    int (*commit)(struct db *db);
    void (*rollback)(struct db *db);
    int (*script)(struct db *db, const char *sql); /* one statement, unprepared */
    /* The migrations' lock. SQLite: a transaction around the whole migration. */
    int (*migrate_begin)(struct db *db);
    int (*migrate_end)(struct db *db, bool good);
    void (*close)(struct db *db); /* frees the whole object */
};

struct db_stmt {           /* a prepared statement, at the head of the driver's */
    uint64_t key_a, key_b; /* keyed hash of the text */
    struct db_stmt *newer, *older;
};

#define DB_CACHE_MAX 256
struct db_cache { /* statements by text; the least recently used one goes first */
    struct map map;
    struct db_stmt *newest, *oldest;
    void (*free_stmt)(struct db_stmt *stmt);
};

struct db {
    const struct db_driver *driver;
    char name[33]; /* of the schema, for metrics and log lines */
    struct metric *statements, *seconds, *unavailable, *stale, *internal;
    int64_t last_id;
    bool in_transaction;
    int broken; /* the error that ended the open transaction, until db_rollback or db_commit */
    struct db_cache cache;
};

/* name: letters, digits, '_', '-', '.' are taken over. */
void db_init(struct db *db, const struct db_driver *driver, const char *name, size_t n,
             void (*free_stmt)(struct db_stmt *stmt));

/* NULL when the text is not known; then the driver prepares and puts it. */
struct db_stmt *db_cache_get(struct db_cache *cache, const char *sql, uint64_t *a_out,
                             uint64_t *b_out);
void db_cache_put(struct db_cache *cache, struct db_stmt *stmt, uint64_t a, uint64_t b);
void db_cache_drop(struct db_cache *cache, struct db_stmt *stmt); /* takes it out and frees it */
void db_cache_clear(struct db_cache *cache);

/* The values of a further row, to be filled in; *cap starts at 0 with rows->columns set. */
struct db_value *db_rows_add(struct db_rows *rows, size_t *cap, struct arena *arena);

/* The text, cut for a log line. */
const char *db_log_sql(const char *sql);

enum db_tls { DB_TLS_OFF, DB_TLS_ON, DB_TLS_VERIFY };
struct db_mysql_url {
    char *host, *user, *password, *schema, *ca; /* user, password, ca: NULL when not given */
    unsigned port;
    enum db_tls tls;
};
/* NULL, or how a right one looks (never the URL itself: it may hold a password). */
const char *db_mysql_url_parse(struct db_mysql_url *out, const char *url);
void db_mysql_url_done(struct db_mysql_url *u);

int db_mysql_open(const char *url, struct db **db_out, char *problem, size_t problem_size);
int db_sqlite_open(const char *url, struct db **db_out, char *problem, size_t problem_size);
