// SPDX-License-Identifier: MIT
/*
 * The SQLite driver: standalone's databases. The only owner of sqlite3.
 *
 * Files are in WAL mode, so that readers and the one writer don't wait for each other, with
 * synchronous=FULL: a commit is on the disk when it returns. The WAL is moved into the file every
 * 16,000 pages instead of 1,000, which is twice as fast in bulk. Memory databases use SQLite's
 * "memdb" file system, where names that begin with a slash are shared in the process; it has no
 * WAL, so a writer's commit waits for readers and the other way round, in the same busy handler.
 *
 * All DB_BYTES are bound as text: SQLite never finds a blob equal to a text, and db.h doesn't
 * tell them apart. Stored bytes come back as they were; but length() stops at a NUL, and STRICT
 * tables refuse text in BLOB columns.
 */
#include "common/db_impl.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"

#include <sqlite3.h>

#include <assert.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BUSY_MS = 5000, MIGRATE_BUSY_MS = 60000 };

struct sqlite_db {
    struct db base;
    sqlite3 *handle;
    int64_t busy_ms; /* how long to wait for a lock */
    int64_t busy_until_ms;
};

struct sqlite_stmt {
    struct db_stmt base;
    sqlite3_stmt *handle;
};

/* How many connections of the process sleep in on_busy. A lock that is free for microseconds only,
 * between two transactions of one busy thread, is never seen by sleepers: so after a commit that
 * thread gives way to them. */
static atomic_int sleepers;

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/* Called when a lock is held by another. SQLite's own handler sleeps 1 to 100 ms at a time, far
 * longer than our transactions last. */
static int on_busy(void *arg, int times)
{
    struct sqlite_db *db = arg;
    int64_t now_ms = clock_mono_ms();

    if (times == 0) {
        db->busy_until_ms = now_ms + db->busy_ms;
    } else if (now_ms >= db->busy_until_ms) {
        return 0;
    }
    atomic_fetch_add(&sleepers, 1);
    sleep_us(times < 100 ? 20 : times < 500 ? 500 : 5000);
    atomic_fetch_sub(&sleepers, 1);
    return 1;
}

/* ---- Errors ---- */

static int map_error(struct sqlite_db *db, int code, const char *sql)
{
    int base = code & 0xff;

    if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
        code == SQLITE_CONSTRAINT_ROWID) {
        return ERR_DUPLICATE;
    }
    if (base == SQLITE_BUSY || base == SQLITE_LOCKED) {
        log_debug("database is busy", "db=%s", db->base.name);
        return ERR_STALE;
    }
    const char *text = sqlite3_errmsg(db->handle);
    switch (base) {
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_NOMEM:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_PERM:
    case SQLITE_AUTH:
        log_error("database file fails", "db=%s code=%d error=%s", db->base.name, code,
                  LOG_Q(text));
        return ERR_UNAVAILABLE;
    default:
        log_error("statement refused", "db=%s code=%d error=%s sql=%s", db->base.name, code,
                  LOG_Q(text), db_log_sql(sql));
        return ERR_INTERNAL;
    }
}

/* ---- Statements ---- */

static void free_stmt(struct db_stmt *stmt)
{
    sqlite3_finalize(((struct sqlite_stmt *)stmt)->handle);
    free(stmt);
}

static int prepare(struct sqlite_db *db, const char *sql, sqlite3_stmt **handle_out)
{
    uint64_t a, b;
    struct sqlite_stmt *stmt = (struct sqlite_stmt *)db_cache_get(&db->base.cache, sql, &a, &b);

    if (stmt == NULL) {
        sqlite3_stmt *handle = NULL;
        int code =
            sqlite3_prepare_v3(db->handle, sql, -1, SQLITE_PREPARE_PERSISTENT, &handle, NULL);

        if (code != SQLITE_OK) {
            return map_error(db, code, sql);
        }
        stmt = calloc(1, sizeof(*stmt));
        if (stmt == NULL) {
            abort();
        }
        stmt->handle = handle;
        db_cache_put(&db->base.cache, &stmt->base, a, b);
    }
    *handle_out = stmt->handle;
    return 0;
}

static int bind(sqlite3_stmt *handle, const struct db_value *params, size_t n)
{
    int code = SQLITE_OK;

    assert((size_t)sqlite3_bind_parameter_count(handle) == n);
    for (size_t i = 0; i < n && code == SQLITE_OK; i++) {
        const struct db_value *v = &params[i];
        int at = (int)i + 1;

        if (v->type == DB_INT) {
            code = sqlite3_bind_int64(handle, at, v->i);
        } else if (v->type == DB_BYTES) {
            code = sqlite3_bind_text64(handle, at, v->n > 0 ? v->p : "", v->n, SQLITE_STATIC,
                                       SQLITE_UTF8);
        } else {
            code = sqlite3_bind_null(handle, at);
        }
    }
    return code;
}

static struct db_value read_column(sqlite3_stmt *handle, int column, struct arena *arena)
{
    switch (sqlite3_column_type(handle, column)) {
    case SQLITE_NULL:
        return DB_N();
    case SQLITE_INTEGER:
        return DB_I(sqlite3_column_int64(handle, column));
    case SQLITE_BLOB: {
        const void *p = sqlite3_column_blob(handle, column);
        size_t n = (size_t)sqlite3_column_bytes(handle, column);
        return DB_B(arena_memdup(arena, p != NULL ? p : "", n), n);
    }
    default: { /* text; numbers with a fraction as text too */
        const void *p = sqlite3_column_text(handle, column);
        size_t n = (size_t)sqlite3_column_bytes(handle, column);
        return DB_B(arena_memdup(arena, p != NULL ? p : "", n), n);
    }
    }
}

static int step_all(sqlite3_stmt *handle, const struct db_call *call)
{
    struct db_rows rows = {.columns = (size_t)sqlite3_column_count(handle)};
    size_t cap = 0;
    int code;

    while ((code = sqlite3_step(handle)) == SQLITE_ROW) {
        if (call->arena == NULL) {
            continue;
        }
        struct db_value *row = db_rows_add(&rows, &cap, call->arena);
        for (size_t i = 0; i < rows.columns; i++) {
            row[i] = read_column(handle, (int)i, call->arena);
        }
    }
    if (code == SQLITE_DONE && call->arena != NULL) {
        *call->rows_out = rows;
    }
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

static int sqlite_run(struct db *base, const struct db_call *call)
{
    struct sqlite_db *db = (struct sqlite_db *)base;
    sqlite3_stmt *handle = NULL;
    int rc = prepare(db, call->sql, &handle);

    if (rc != 0) {
        return rc;
    }
    sqlite3_int64 before = sqlite3_total_changes64(db->handle);
    int code = bind(handle, call->params, call->n);
    if (code == SQLITE_OK) {
        code = step_all(handle, call);
    }
    if (code != SQLITE_OK) {
        rc = map_error(db, code, call->sql); /* before the reset, which clears the error text */
    } else {
        /* Statements that change nothing leave the count of the one before. */
        bool changed = sqlite3_total_changes64(db->handle) != before;
        if (call->affected_out != NULL) {
            *call->affected_out = changed ? sqlite3_changes64(db->handle) : 0;
        }
        db->base.last_id = sqlite3_last_insert_rowid(db->handle);
    }
    sqlite3_reset(handle);
    sqlite3_clear_bindings(handle); /* the bound memory is the caller's */
    return rc;
}

static int sqlite_script(struct db *base, const char *sql)
{
    struct sqlite_db *db = (struct sqlite_db *)base;
    int code = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);

    return code == SQLITE_OK ? 0 : map_error(db, code, sql);
}

/* ---- Transactions ---- */

static int run_plain(struct db *base, const char *sql)
{
    return sqlite_run(base, &(struct db_call){.sql = sql});
}

/* IMMEDIATE takes the writer's lock at once: a transaction that reads first and then finds that
 * another has written in between could only fail. */
static int sqlite_begin(struct db *base)
{
    return run_plain(base, "BEGIN IMMEDIATE");
}

static int sqlite_commit(struct db *base)
{
    int rc = run_plain(base, "COMMIT");

    if (atomic_load(&sleepers) > 0) {
        sleep_us(20);
    }
    return rc;
}

static void sqlite_rollback(struct db *base)
{
    struct sqlite_db *db = (struct sqlite_db *)base;

    if (!sqlite3_get_autocommit(db->handle)) { /* some errors roll back by themselves */
        int rc = run_plain(base, "ROLLBACK");
        (void)rc; /* logged; nothing more can be done */
    }
}

static int sqlite_migrate_begin(struct db *base)
{
    struct sqlite_db *db = (struct sqlite_db *)base;

    db->busy_ms = MIGRATE_BUSY_MS;
    int rc = sqlite_begin(base);
    db->busy_ms = BUSY_MS;
    return rc;
}

static int sqlite_migrate_end(struct db *base, bool good)
{
    int rc = good ? sqlite_commit(base) : 0;

    sqlite_rollback(base);
    return rc;
}

/* ---- Opening and closing ---- */

static void sqlite_close(struct db *base)
{
    struct sqlite_db *db = (struct sqlite_db *)base;

    db_cache_clear(&db->base.cache);
    sqlite3_close(db->handle);
    free(db);
}

static const struct db_driver driver = {
    .is_sqlite = true,
    .run = sqlite_run,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .script = sqlite_script,
    .migrate_begin = sqlite_migrate_begin,
    .migrate_end = sqlite_migrate_end,
    .close = sqlite_close,
};

/* The page cache is small (1 MiB a connection, taken only as pages are read): the kernel keeps
 * the file's pages anyway. */
static int configure(struct sqlite_db *db, bool memory)
{
    static const char *const file_settings = "PRAGMA journal_mode=WAL;"
                                             "PRAGMA synchronous=FULL;"
                                             "PRAGMA wal_autocheckpoint=16000;"
                                             "PRAGMA journal_size_limit=67108864;";
    static const char *const memory_settings = "PRAGMA journal_mode=MEMORY;";
    static const char *const settings = "PRAGMA foreign_keys=ON;"
                                        "PRAGMA cache_size=-1000;"
                                        "PRAGMA temp_store=MEMORY;";
    int64_t until_ms = clock_mono_ms() + BUSY_MS;
    int code;

    sqlite3_busy_handler(db->handle, on_busy, db);
    /* The change to WAL doesn't ask the busy handler when another connection changes it too. */
    while ((code = sqlite3_exec(db->handle, memory ? memory_settings : file_settings, NULL, NULL,
                                NULL)) == SQLITE_BUSY &&
           clock_mono_ms() < until_ms) {
        sleep_us(1000);
    }
    return code == SQLITE_OK ? sqlite3_exec(db->handle, settings, NULL, NULL, NULL) : code;
}

static int open_handle(struct sqlite_db *db, const char *path, bool memory, char *problem,
                       size_t problem_size)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX |
                SQLITE_OPEN_EXRESCODE | SQLITE_OPEN_PRIVATECACHE;
    int code = sqlite3_open_v2(path, &db->handle, flags, memory ? "memdb" : NULL);

    if (code == SQLITE_OK) {
        code = configure(db, memory);
    }
    if (code != SQLITE_OK) {
        snprintf(problem, problem_size, "The database file %s cannot be opened: %s.", path,
                 sqlite3_errmsg(db->handle));
        return ERR_INVALID;
    }
    return 0;
}

/* "auth" of "var/auth.db". */
static void schema_name(const char *path, const char **name_out, size_t *n_out)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    const char *dot = strrchr(name, '.');

    *name_out = name;
    *n_out = dot != NULL && dot > name ? (size_t)(dot - name) : strlen(name);
}

int db_sqlite_open(const char *url, struct db **db_out, char *problem, size_t problem_size)
{
    static const char memory_prefix[] = ":memory:";
    const char *path = url + strlen("sqlite:");
    bool memory = strncmp(path, memory_prefix, sizeof(memory_prefix) - 1) == 0;
    char file[PATH_MAX];
    const char *name;
    size_t name_n;

    path += memory ? sizeof(memory_prefix) - 1 : 0;
    if (path[0] == '\0' && !memory) {
        snprintf(problem, problem_size, "A SQLite URL is sqlite:PATH or sqlite::memory:NAME.");
        return ERR_INVALID;
    }
    if ((size_t)snprintf(file, sizeof(file), "%s%s", memory ? "/memory-" : "", path) >=
        sizeof(file)) {
        snprintf(problem, problem_size, "The path of the SQLite database is too long.");
        return ERR_INVALID;
    }
    struct sqlite_db *db = calloc(1, sizeof(*db));
    if (db == NULL) {
        abort();
    }
    schema_name(path, &name, &name_n);
    db_init(&db->base, &driver, name, name_n, free_stmt);
    db->busy_ms = BUSY_MS;
    int rc = open_handle(db, file, memory, problem, problem_size);
    if (rc != 0) {
        sqlite_close(&db->base);
        return rc;
    }
    *db_out = &db->base;
    return 0;
}
