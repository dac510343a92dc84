// SPDX-License-Identifier: MIT
/*
 * SQL: one connection, used by one thread at a time, blocking (worker threads only, never a loop).
 *
 * Two implementations: db_mysql.c (MariaDB, MySQL) and db_sqlite.c. Statements are prepared once
 * per connection and kept by their text, so pass literals or a bounded set of texts. Where the
 * dialects differ, store.c writes both forms side by side with db_sql().
 *
 * A lost connection is opened anew by the next statement outside of a transaction (with backoff);
 * a statement that failed that way is not repeated.
 *
 * DB_BYTES are sent as text. Stored bytes come back unchanged, but in SQL only =, <, IN and the
 * like mean the same everywhere (SQLite: no STRICT tables, no length() of bytes with a NUL).
 */
#pragma once

#include "common/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;

enum db_type { DB_NULL, DB_INT, DB_BYTES };

struct db_value {
    enum db_type type;
    int64_t i;
    const void *p; /* DB_BYTES: text or blob; results have a NUL behind them */
    size_t n;
};

/* Parameters. Sizes of texts are in bytes. */
#define DB_I(value) ((struct db_value){.type = DB_INT, .i = (int64_t)(value)})
#define DB_S(text) db_text(text)
#define DB_B(data, size) ((struct db_value){.type = DB_BYTES, .p = (data), .n = (size)})
#define DB_N() ((struct db_value){.type = DB_NULL})
struct db_value db_text(const char *text); /* NULL becomes SQL NULL */

struct db_rows {
    size_t count, columns;
    struct db_value *values; /* row by row; in the arena that was given */
};
static inline const struct db_value *db_at(const struct db_rows *rows, size_t row, size_t column)
{
    return &rows->values[row * rows->columns + column];
}

/* url: mysql://user:password@host:port/schema[?tls=off|on|verify&ca=FILE] or sqlite:PATH or
 * sqlite::memory:NAME, which all connections of this name in the process share; it is gone when the
 * last of them closes, and there a transaction and the statements of others wait for each other.
 * User, password and schema may hold %XX. Does not connect yet for MySQL; a SQLite file is opened,
 * and made when it isn't there (its folder is not). ERR_INVALID with one sentence in problem. */
int db_open(const char *url, struct db **db_out, char *problem, size_t problem_size);
void db_close(struct db *db); /* takes NULL; rolls back */
bool db_is_sqlite(const struct db *db);
#define db_sql(db, mysql_form, sqlite_form) (db_is_sqlite(db) ? (sqlite_form) : (mysql_form))

/*
 * Errors of all: ERR_DUPLICATE (a unique key; the transaction goes on), ERR_STALE (deadlock or lock
 * timeout: the transaction is rolled back, do it again), ERR_UNAVAILABLE (no connection, or it
 * broke; logged here; the transaction is lost), and ERR_INTERNAL (a statement that the server
 * refuses: our bug; logged with the server's text). After ERR_STALE and ERR_UNAVAILABLE in a
 * transaction every statement fails with the same error until db_rollback or db_commit: nothing is
 * ever written behind a lost transaction.
 */
/* affected_out may be NULL; rows MATCHED by an UPDATE, not only changed; of an upsert it differs by
 * database. */
int db_exec(struct db *db, const char *sql, const struct db_value *params, size_t n,
            int64_t *affected_out) __attribute__((warn_unused_result));
int64_t db_last_id(struct db *db); /* of the last INSERT of one row into an auto-increment table */
int db_query(struct db *db, struct arena *arena, const char *sql, const struct db_value *params,
             size_t n, struct db_rows *rows_out) __attribute__((warn_unused_result));
/* "INSERT INTO t (a, b) VALUES" with `rows` rows of `columns` values, tail (or NULL) appended to
 * each statement: multi-row statements of 256, 64, 16, 4, 1 rows, so that the set of texts is
 * bounded. At most 127 columns. Outside of a transaction each statement commits by itself. */
int db_insert(struct db *db, const char *head, size_t columns, const struct db_value *values,
              size_t rows, const char *tail) __attribute__((warn_unused_result));
/* "…WHERE id IN (%s) AND …" (one %s): fills in `list` question marks, rounded up to a power of two
 * (the last value repeated), at most 1,024. Parameters before the list: `before`, after it:
 * `after`. An empty list asks nothing and gives no rows. Of keys with several columns:
 * db_query_keys. */
int db_query_in(struct db *db, struct arena *arena, const char *sql, const struct db_value *before,
                size_t before_n, const struct db_value *list, size_t list_n,
                const struct db_value *after, size_t after_n, struct db_rows *rows_out)
    __attribute__((warn_unused_result));

struct db_lookup {
    const char *columns; /* what to select */
    const char *table;   /* "message m" */
    const char *on;      /* "m.conv_a = k.c1 AND m.conv_b = k.c2": the keys are called k; further
                            joins may stand behind it */
    size_t width;        /* columns of a key, at most 4: numbers, but for… */
    bool text_last;      /* …an ASCII text in the last column */
};
/*
 * Rows by many keys of several columns, one index look-up each. values: n keys, at most 1,024; a
 * key that is given twice gives its row twice; in any order.
 *
 * "(a, b) IN ((?,?), …)" will not do: MariaDB 10.11 works out its ranges in time that grows with
 * the square of their number (80 ms for 512 keys of the table member, 100 ms of message), and
 * SQLite uses only part of an index for it. A join with the list of keys takes about 2 µs a key on
 * MariaDB and 0.5 on SQLite, whatever the number.
 */
int db_query_keys(struct db *db, struct arena *arena, const struct db_lookup *what,
                  const struct db_value *values, size_t n, struct db_rows *rows_out)
    __attribute__((warn_unused_result));

int db_begin(struct db *db) __attribute__((warn_unused_result)); /* SQLite: BEGIN IMMEDIATE */
/* Whatever it returns, the transaction is over. After ERR_UNAVAILABLE it may have been committed or
 * not. */
int db_commit(struct db *db) __attribute__((warn_unused_result));
void db_rollback(struct db *db); /* nothing outside of a transaction */

/* ---- Schemas ---- */

struct db_schema {
    const char *name; /* "auth" */
    int64_t version;  /* what this daemon needs */
    const char *sql;  /* the file schema.sql, see below */
};
/*
 * Brings the database to the schema's version. The text is a list of steps, each begun by a line
 *     -- version N
 * and holding statements ended by `;` at a line's end. Statements under a line `-- mysql` or
 * `-- sqlite` are for that database only, until `-- both`. Other lines that begin with `--` are
 * comments. Steps above the stored version are executed in order, each recorded in schema_version.
 * One daemon at a time (GET_LOCK, or SQLite's lock), the others wait up to a minute.
 * SQLite: all steps in one transaction. MySQL commits every CREATE and ALTER by itself, and a step
 * that broke off is executed again: write CREATE TABLE IF NOT EXISTS.
 * Not inside of a transaction. ERR_INVALID: the stored version is newer than ours, or the text is
 * wrong; ERR_UNAVAILABLE; ERR_INTERNAL: a statement was refused. One sentence in problem.
 */
int db_migrate(struct db *db, const struct db_schema *schema, char *problem, size_t problem_size);
