// SPDX-License-Identifier: MIT
/*
 * The part of the database client that is the same for all databases: dispatch to the driver,
 * transactions' state, metrics, many-row statements, the cache of prepared statements.
 *
 * A transaction that the database ended by itself (deadlock, lost connection) stays "broken":
 * every further statement fails with the same error until the caller rolls back or tries to
 * commit. Otherwise the statements after the lost one would each commit for themselves.
 */
#include "common/db.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/db_impl.h"
#include "common/err.h"
#include "common/log.h"
#include "common/metrics.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    ROWS_MOST = 256,    /* of one INSERT; the sizes are its quarters */
    LIST_MOST = 1024,   /* entries of one list of keys */
    PARAMS_MOST = 32766 /* SQLite's limit unless built with a higher one; MySQL: 65535 */
};

struct db_value db_text(const char *text)
{
    return text == NULL ? DB_N() : DB_B(text, strlen(text));
}

/* ---- Opening ---- */

int db_open(const char *url, struct db **db_out, char *problem, size_t problem_size)
{
    if (strncmp(url, "mysql:", 6) == 0) {
        return db_mysql_open(url, db_out, problem, problem_size);
    }
    if (strncmp(url, "sqlite:", 7) == 0) {
        return db_sqlite_open(url, db_out, problem, problem_size);
    }
    snprintf(problem, problem_size, "A database URL begins with mysql:// or sqlite:.");
    return ERR_INVALID;
}

static struct metric *error_metric(const char *name, const char *kind)
{
    char labels[80];

    snprintf(labels, sizeof(labels), "db=\"%s\",kind=\"%s\"", name, kind);
    return metrics_counter("chat_db_errors_total", "Failed statements", labels);
}

void db_init(struct db *db, const struct db_driver *driver, const char *name, size_t n,
             void (*free_stmt)(struct db_stmt *stmt))
{
    char labels[48];
    size_t used = 0;

    for (size_t i = 0; i < n && used + 1 < sizeof(db->name); i++) {
        if (isalnum((unsigned char)name[i]) || strchr("_-.", name[i]) != NULL) {
            db->name[used++] = name[i];
        }
    }
    db->name[used] = '\0';
    db->driver = driver;
    db->cache.free_stmt = free_stmt;
    map_init(&db->cache.map);
    snprintf(labels, sizeof(labels), "db=\"%s\"", db->name);
    db->statements = metrics_counter("chat_db_statements_total", "Statements, commits", labels);
    db->seconds = metrics_histogram_us("chat_db_seconds", "Time of a statement or commit", labels);
    db->unavailable = error_metric(db->name, "unavailable");
    db->stale = error_metric(db->name, "stale");
    db->internal = error_metric(db->name, "internal");
}

void db_close(struct db *db)
{
    if (db != NULL) {
        db_rollback(db);
        db->driver->close(db);
    }
}

bool db_is_sqlite(const struct db *db)
{
    return db->driver->is_sqlite;
}

/* ---- One statement ---- */

static int count(struct db *db, int64_t start_us, int rc)
{
    int64_t took_us = clock_mono_us() - start_us;

    metric_inc(db->statements);
    metric_observe(db->seconds, took_us > 0 ? took_us : 0);
    if (rc == ERR_UNAVAILABLE) {
        metric_inc(db->unavailable);
    } else if (rc == ERR_STALE) {
        metric_inc(db->stale);
    } else if (rc == ERR_INTERNAL) {
        metric_inc(db->internal);
    }
    return rc;
}

static int run(struct db *db, const struct db_call *call)
{
    if (db->broken != 0) {
        return db->broken;
    }
    int64_t start_us = clock_mono_us();
    int rc = count(db, start_us, db->driver->run(db, call));
    if (db->in_transaction && (rc == ERR_STALE || rc == ERR_UNAVAILABLE)) {
        db->driver->rollback(db);
        db->broken = rc;
    }
    return rc;
}

int db_exec(struct db *db, const char *sql, const struct db_value *params, size_t n,
            int64_t *affected_out)
{
    return run(
        db, &(struct db_call){.sql = sql, .params = params, .n = n, .affected_out = affected_out});
}

int64_t db_last_id(struct db *db)
{
    return db->last_id;
}

int db_query(struct db *db, struct arena *arena, const char *sql, const struct db_value *params,
             size_t n, struct db_rows *rows_out)
{
    struct db_rows rows = {0};
    int rc = run(db, &(struct db_call){
                         .sql = sql, .params = params, .n = n, .arena = arena, .rows_out = &rows});

    if (rc == 0) {
        *rows_out = rows;
    }
    return rc;
}

struct db_value *db_rows_add(struct db_rows *rows, size_t *cap, struct arena *arena)
{
    if (rows->count == *cap) {
        size_t wider = *cap == 0 ? 8 : *cap * 2;
        struct db_value *values = arena_alloc(arena, wider * rows->columns * sizeof(*values));

        if (rows->count > 0) {
            memcpy(values, rows->values, rows->count * rows->columns * sizeof(*values));
        }
        rows->values = values;
        *cap = wider;
    }
    return &rows->values[rows->count++ * rows->columns];
}

const char *db_log_sql(const char *sql)
{
    return log_quote_n(sql, strnlen(sql, 200));
}

/* ---- Many rows, many keys ---- */

/* "(?,?)" so many times, with commas. */
static void add_marks(struct buf *text, size_t entries, size_t width)
{
    for (size_t i = 0; i < entries; i++) {
        buf_add_str(text, i > 0 ? ",(?" : "(?");
        for (size_t k = 1; k < width; k++) {
            buf_add_str(text, ",?");
        }
        buf_add_char(text, ')');
    }
}

int db_insert(struct db *db, const char *head, size_t columns, const struct db_value *values,
              size_t rows, const char *tail)
{
    struct buf text;
    int rc = 0;

    assert(columns > 0 && columns * ROWS_MOST <= PARAMS_MOST);
    buf_init(&text);
    for (size_t chunk = ROWS_MOST; chunk > 0 && rc == 0; chunk /= 4) {
        if (rows < chunk) {
            continue;
        }
        buf_clear(&text);
        buf_add_str(&text, head);
        buf_add_char(&text, ' ');
        add_marks(&text, chunk, columns);
        buf_add_char(&text, ' ');
        buf_add_str(&text, tail != NULL ? tail : "");
        for (; rows >= chunk && rc == 0; rows -= chunk) {
            rc = db_exec(db, text.data, values, chunk * columns, NULL);
            values += chunk * columns;
        }
    }
    buf_done(&text);
    return rc;
}

/* Lengths of lists are rounded up, so that few texts have to be prepared. */
static size_t round_up(size_t n)
{
    size_t rounded = 1;

    assert(n <= LIST_MOST);
    while (rounded < n) {
        rounded *= 2;
    }
    return rounded;
}

static void add_list(struct buf *text, const char *sql, size_t entries)
{
    const char *hole = strstr(sql, "%s");

    assert(hole != NULL && strstr(hole + 2, "%s") == NULL);
    buf_add(text, sql, (size_t)(hole - sql));
    for (size_t i = 0; i < entries; i++) {
        buf_add_str(text, i > 0 ? ",?" : "?");
    }
    buf_add_str(text, hole + 2);
}

static void copy_values(struct db_value **at, const struct db_value *from, size_t n)
{
    if (n > 0) {
        memcpy(*at, from, n * sizeof(*from));
        *at += n;
    }
}

int db_query_in(struct db *db, struct arena *arena, const char *sql, const struct db_value *before,
                size_t before_n, const struct db_value *list, size_t list_n,
                const struct db_value *after, size_t after_n, struct db_rows *rows_out)
{
    struct buf text;

    if (list_n == 0) {
        *rows_out = (struct db_rows){0};
        return 0;
    }
    size_t entries = round_up(list_n);
    size_t n = before_n + entries + after_n;
    struct db_value *params = arena_alloc(arena, n * sizeof(*params));
    struct db_value *at = params;
    copy_values(&at, before, before_n);
    copy_values(&at, list, list_n);
    for (size_t i = list_n; i < entries; i++) {
        copy_values(&at, &list[list_n - 1], 1);
    }
    copy_values(&at, after, after_n);
    buf_init(&text);
    add_list(&text, sql, entries);
    int rc = db_query(db, arena, text.data, params, n, rows_out);
    buf_done(&text);
    return rc;
}

/* MySQL has to be told the types of what stands in no table; ASCII, so that the column's own
 * collation decides and its index can be used. */
static void add_mysql_keys(struct buf *text, const struct db_lookup *what, size_t entries)
{
    for (size_t i = 0; i < entries; i++) {
        buf_add_str(text, i > 0 ? " UNION ALL SELECT " : "SELECT ");
        for (size_t k = 0; k < what->width; k++) {
            bool is_text = what->text_last && k + 1 == what->width;
            buf_add_str(text, k > 0 ? ", " : "");
            buf_add_str(text,
                        is_text ? "CAST(? AS CHAR(64) CHARACTER SET ascii)" : "CAST(? AS SIGNED)");
        }
    }
}

/* The keys are a common table expression, joined first. */
static void add_lookup(struct buf *text, const struct db_lookup *what, size_t entries, bool sqlite)
{
    static const char *const names[] = {"c1", "c1, c2", "c1, c2, c3", "c1, c2, c3, c4"};

    buf_printf(text, "WITH k (%s) AS (", names[what->width - 1]);
    if (sqlite) {
        buf_add_str(text, "VALUES ");
        add_marks(text, entries, what->width);
    } else {
        add_mysql_keys(text, what, entries);
    }
    /* Each in its own words: k first, then the table. */
    buf_printf(text, ") SELECT %s %s FROM k %s %s ON %s", sqlite ? "" : "STRAIGHT_JOIN",
               what->columns, sqlite ? "CROSS JOIN" : "JOIN", what->table, what->on);
}

int db_query_keys(struct db *db, struct arena *arena, const struct db_lookup *what,
                  const struct db_value *values, size_t n, struct db_rows *rows_out)
{
    struct buf text;

    assert(what->width >= 1 && what->width <= 4);
    if (n == 0) {
        *rows_out = (struct db_rows){0};
        return 0;
    }
    size_t entries = round_up(n);
    struct db_value *params = arena_array(arena, entries * what->width, sizeof(*params));
    memcpy(params, values, n * what->width * sizeof(*params));
    for (size_t i = n * what->width; i < entries * what->width; i++) { /* these match nothing */
        bool is_text = what->text_last && i % what->width + 1 == what->width;
        params[i] = is_text ? DB_B("", 0) : DB_I(-1);
    }
    buf_init(&text);
    add_lookup(&text, what, entries, db_is_sqlite(db));
    int rc = db_query(db, arena, text.data, params, entries * what->width, rows_out);
    buf_done(&text);
    return rc;
}

/* ---- Transactions ---- */

int db_begin(struct db *db)
{
    int64_t start_us = clock_mono_us();

    assert(!db->in_transaction);
    int rc = count(db, start_us, db->driver->begin(db));
    db->in_transaction = rc == 0;
    return rc;
}

int db_commit(struct db *db)
{
    int64_t start_us = clock_mono_us();
    int rc = db->broken;

    assert(db->in_transaction);
    if (rc == 0) {
        rc = count(db, start_us, db->driver->commit(db));
        if (rc != 0) {
            db->driver->rollback(db);
        }
    }
    db->in_transaction = false;
    db->broken = 0;
    return rc;
}

void db_rollback(struct db *db)
{
    if (db->in_transaction && db->broken == 0) {
        db->driver->rollback(db);
    }
    db->in_transaction = false;
    db->broken = 0;
}

/* ---- Prepared statements by text ---- */

static void unlink_stmt(struct db_cache *cache, struct db_stmt *stmt)
{
    *(stmt->newer != NULL ? &stmt->newer->older : &cache->newest) = stmt->older;
    *(stmt->older != NULL ? &stmt->older->newer : &cache->oldest) = stmt->newer;
}

static void link_newest(struct db_cache *cache, struct db_stmt *stmt)
{
    stmt->newer = NULL;
    stmt->older = cache->newest;
    *(cache->newest != NULL ? &cache->newest->newer : &cache->oldest) = stmt;
    cache->newest = stmt;
}

struct db_stmt *db_cache_get(struct db_cache *cache, const char *sql, uint64_t *a_out,
                             uint64_t *b_out)
{
    map_hash_bytes(sql, strlen(sql), a_out, b_out);
    struct db_stmt *stmt = map_get(&cache->map, *a_out, *b_out);
    if (stmt != NULL && stmt != cache->newest) {
        unlink_stmt(cache, stmt);
        link_newest(cache, stmt);
    }
    return stmt;
}

void db_cache_put(struct db_cache *cache, struct db_stmt *stmt, uint64_t a, uint64_t b)
{
    if (cache->map.count >= DB_CACHE_MAX) {
        db_cache_drop(cache, cache->oldest);
    }
    stmt->key_a = a;
    stmt->key_b = b;
    map_put(&cache->map, a, b, stmt);
    link_newest(cache, stmt);
}

void db_cache_drop(struct db_cache *cache, struct db_stmt *stmt)
{
    map_del(&cache->map, stmt->key_a, stmt->key_b);
    unlink_stmt(cache, stmt);
    cache->free_stmt(stmt);
}

void db_cache_clear(struct db_cache *cache)
{
    while (cache->oldest != NULL) {
        db_cache_drop(cache, cache->oldest);
    }
    map_done(&cache->map);
    map_init(&cache->map);
}
