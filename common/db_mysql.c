// SPDX-License-Identifier: MIT
/*
 * The MySQL driver (MariaDB, MySQL and what speaks their protocol), on libmariadb's prepared
 * statements. The only owner of libmariadb.
 *
 * A connection that the server has closed while it was idle is noticed before a statement is sent
 * and replaced, so a restarted server costs no failed request. Within a transaction, and while the
 * migrations' lock is held, a lost connection is an error: what it held is gone with it.
 *
 * Transactions are READ COMMITTED: each statement sees what is committed when it starts, which is
 * what a compare-and-set and a read after a rebalance need, and InnoDB then takes no gap locks, the
 * usual cause of deadlocks between inserts of neighbouring new keys. No code here relies on two
 * SELECTs of a transaction seeing the same.
 */
#include "common/db_impl.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/random.h"

#include <assert.h>
#include <mysql.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CONNECT_S = 3, IO_S = 10, MIGRATE_IO_S = 3600 }; /* an ALTER of a large table is silent */
enum { MIGRATE_WAIT_MS = 60000, BACKOFF_FIRST_MS = 50, BACKOFF_MOST_MS = 1000 };
enum { TELL_MS = 10000 }; /* between two lines about the same failure to connect */

struct mysql_db {
    struct db base;
    struct db_mysql_url url;
    MYSQL *handle; /* NULL: not connected */
    bool migrating;
    int64_t backoff_ms, next_try_ms;
    unsigned told; /* the last failure to connect, and when it was logged */
    int64_t told_ms;
    MYSQL_BIND *params; /* of the running statement; kept for the next */
    size_t params_cap;
};

enum column_kind { INTEGER, BYTES, OTHER };

struct column { /* where libmariadb puts one column of one row */
    enum column_kind kind;
    long long number;
    unsigned long length;
    my_bool is_null, error;
    char text[64]; /* OTHER: dates and numbers with a fraction, as text */
};

struct mysql_stmt {
    struct db_stmt base;
    MYSQL_STMT *handle;
    size_t columns;
    struct column *column;
    MYSQL_BIND *result;
};

static void *must_calloc(size_t count, size_t size)
{
    void *p = calloc(count, size);

    if (p == NULL) {
        abort();
    }
    return p;
}

/* ---- Errors ---- */

/* The servers' numbers; each of their headers names only its own. */
static const struct {
    int error;
    unsigned short codes[36]; /* up to the first 0 */
} errors[] = {
    {ERR_DUPLICATE, {1022, 1062, 1557, 1586}},
    /* Lock timeout, deadlock; MariaDB: the row has changed since it was read; the statement must be
     * prepared again; MySQL: a lock is not free; TiDB: try the commit again, the schema has
     * changed, write conflict. */
    {ERR_STALE, {1205, 1213, 1020, 1615, 3572, 8022, 8028, 9007}},
    /* Disk or table full, out of memory or connections; handshake, access or schema refused;
     * shutting down; host refused; network; a proxy moved us to a server that does not know the
     * statement; read-only after a failover; interrupted, killed, too slow or idle. */
    {ERR_UNAVAILABLE, {1021, 1114, 1040, 1041, 1203, 1226, 1461, 1042, 1043, 1044, 1045,
                       1049, 1053, 1129, 1130, 1152, 1158, 1159, 1160, 1161, 1184, 1243,
                       1290, 1792, 1836, 1317, 1927, 1969, 3024, 3100, 4031}},
};

static int error_of(unsigned code)
{
    for (size_t i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
        for (const unsigned short *at = errors[i].codes; *at != 0; at++) {
            if (*at == code) {
                return errors[i].error;
            }
        }
    }
    /* The client library's own numbers are all about the connection. */
    bool client = (code >= 2000 && code < 3000) || (code >= 5000 && code < 5100);
    return client ? ERR_UNAVAILABLE : ERR_INTERNAL;
}

static void disconnect(struct mysql_db *db)
{
    db_cache_clear(&db->base.cache); /* statements belong to their connection */
    if (db->handle != NULL) {
        mysql_close(db->handle);
        db->handle = NULL;
    }
}

/* Logs, and gives up a connection of which nothing good is known. */
static int failed(struct mysql_db *db, unsigned code, const char *text, const char *sql)
{
    int rc = error_of(code);

    if (rc == ERR_UNAVAILABLE) {
        log_warn("database unavailable", "db=%s server=%s:%u code=%u error=%s", db->base.name,
                 db->url.host, db->url.port, code, LOG_Q(text));
        disconnect(db);
    } else if (rc == ERR_STALE) {
        log_debug("lost to another transaction", "db=%s code=%u", db->base.name, code);
    } else if (rc == ERR_INTERNAL) {
        log_error("statement refused", "db=%s code=%u error=%s sql=%s", db->base.name, code,
                  LOG_Q(text), db_log_sql(sql));
    }
    return rc;
}

/* ---- The connection ---- */

static void set_options(struct mysql_db *db, MYSQL *handle)
{
    unsigned protocol = MYSQL_PROTOCOL_TCP; /* else "localhost" would mean a socket file */
    unsigned connect_s = CONNECT_S;
    unsigned io_s = db->migrating ? MIGRATE_IO_S : IO_S;
    unsigned local_infile = 0; /* no server may ask for our files */
    my_bool enforce = db->url.tls != DB_TLS_OFF, verify = db->url.tls == DB_TLS_VERIFY;

    mysql_options(handle, MYSQL_OPT_PROTOCOL, &protocol);
    mysql_options(handle, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_options(handle, MYSQL_OPT_READ_TIMEOUT, &io_s);
    mysql_options(handle, MYSQL_OPT_WRITE_TIMEOUT, &io_s);
    mysql_options(handle, MYSQL_OPT_LOCAL_INFILE, &local_infile);
    mysql_options(handle, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    /* MariaDB turns lists of 1,000 values into a join with a temporary table; MySQL skips the
     * comment. */
    mysql_options(handle, MYSQL_INIT_COMMAND,
                  "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
                  "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00',"
                  " innodb_lock_wait_timeout = 5"
                  " /*M!100300 , in_predicate_conversion_threshold = 0 */");
    mysql_options(handle, MYSQL_INIT_COMMAND,
                  "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED");
    if (db->url.tls != DB_TLS_OFF) {
        mysql_options(handle, MYSQL_OPT_SSL_ENFORCE, &enforce);
        mysql_options(handle, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, &verify);
        if (db->url.ca != NULL) {
            mysql_options(handle, MYSQL_OPT_SSL_CA, db->url.ca);
        }
    }
}

static void back_off(struct mysql_db *db)
{
    int64_t wait_ms = db->backoff_ms / 2 + (int64_t)(random_u64() % (uint64_t)db->backoff_ms);

    db->next_try_ms = clock_mono_ms() + wait_ms;
    db->backoff_ms = db->backoff_ms * 2 < BACKOFF_MOST_MS ? db->backoff_ms * 2 : BACKOFF_MOST_MS;
}

static void tell_failure(struct mysql_db *db, MYSQL *handle)
{
    unsigned code = mysql_errno(handle);
    int64_t now = clock_mono_ms();

    if (code != db->told || now - db->told_ms >= TELL_MS) {
        log_warn("cannot connect to the database", "db=%s server=%s:%u code=%u error=%s",
                 db->base.name, db->url.host, db->url.port, code, LOG_Q(mysql_error(handle)));
        db->told = code;
        db->told_ms = now;
    }
}

static int reconnect(struct mysql_db *db)
{
    if (clock_mono_ms() < db->next_try_ms) {
        return ERR_UNAVAILABLE; /* logged by the try before */
    }
    MYSQL *handle = mysql_init(NULL);
    if (handle == NULL) {
        abort();
    }
    set_options(db, handle);
    if (mysql_real_connect(handle, db->url.host, db->url.user, db->url.password, db->url.schema,
                           db->url.port, NULL, CLIENT_FOUND_ROWS) == NULL) {
        tell_failure(db, handle);
        mysql_close(handle);
        back_off(db);
        return ERR_UNAVAILABLE;
    }
    db->handle = handle;
    db->backoff_ms = BACKOFF_FIRST_MS;
    db->next_try_ms = 0;
    db->told = 0;
    log_debug("connected to the database", "db=%s server=%s:%u", db->base.name, db->url.host,
              db->url.port);
    return 0;
}

/* A server that has something to say between two statements has closed the connection. */
static bool closed_by_server(struct mysql_db *db)
{
    struct pollfd fd = {.fd = mysql_get_socket(db->handle), .events = POLLIN | POLLRDHUP};

    return poll(&fd, 1, 0) > 0 && mysql_ping(db->handle) != 0;
}

static int need_connection(struct mysql_db *db)
{
    if (db->base.in_transaction || db->migrating) {
        return db->handle != NULL ? 0 : ERR_UNAVAILABLE;
    }
    if (db->handle != NULL && closed_by_server(db)) {
        log_debug("database connection was closed", "db=%s server=%s:%u", db->base.name,
                  db->url.host, db->url.port);
        disconnect(db);
    }
    return db->handle != NULL ? 0 : reconnect(db);
}

static int plain(struct mysql_db *db, const char *sql)
{
    if (mysql_real_query(db->handle, sql, strlen(sql)) != 0) {
        return failed(db, mysql_errno(db->handle), mysql_error(db->handle), sql);
    }
    mysql_free_result(mysql_store_result(db->handle));
    return 0;
}

/* ---- Statements ---- */

static void free_stmt(struct db_stmt *base)
{
    struct mysql_stmt *stmt = (struct mysql_stmt *)base;

    mysql_stmt_close(stmt->handle);
    free(stmt->column);
    free(stmt->result);
    free(stmt);
}

static enum column_kind kind_of(const MYSQL_FIELD *field)
{
    switch (field->type) {
    case MYSQL_TYPE_TINY:
    case MYSQL_TYPE_SHORT:
    case MYSQL_TYPE_INT24:
    case MYSQL_TYPE_LONG:
    case MYSQL_TYPE_LONGLONG:
    case MYSQL_TYPE_YEAR:
        return INTEGER;
    case MYSQL_TYPE_DECIMAL:
    case MYSQL_TYPE_NEWDECIMAL: /* SUM() of integers too */
        return field->decimals == 0 ? INTEGER : BYTES;
    case MYSQL_TYPE_VARCHAR:
    case MYSQL_TYPE_VAR_STRING:
    case MYSQL_TYPE_STRING:
    case MYSQL_TYPE_TINY_BLOB:
    case MYSQL_TYPE_MEDIUM_BLOB:
    case MYSQL_TYPE_LONG_BLOB:
    case MYSQL_TYPE_BLOB:
    case MYSQL_TYPE_JSON:
    case MYSQL_TYPE_ENUM:
    case MYSQL_TYPE_SET:
    case MYSQL_TYPE_NULL:
        return BYTES;
    default:
        return OTHER;
    }
}

/* BYTES get no buffer here: the length comes with the row, then the bytes are fetched right into
 * the arena, however long they are. */
static void bind_columns(struct mysql_stmt *stmt, const MYSQL_RES *about)
{
    const MYSQL_FIELD *fields = mysql_fetch_fields((MYSQL_RES *)about);

    stmt->columns = mysql_stmt_field_count(stmt->handle);
    stmt->column = must_calloc(stmt->columns, sizeof(*stmt->column));
    stmt->result = must_calloc(stmt->columns, sizeof(*stmt->result));
    for (size_t i = 0; i < stmt->columns; i++) {
        struct column *column = &stmt->column[i];
        MYSQL_BIND *bind = &stmt->result[i];

        column->kind = kind_of(&fields[i]);
        bind->length = &column->length;
        bind->is_null = &column->is_null;
        bind->error = &column->error;
        bind->buffer = column->text;
        bind->buffer_type = MYSQL_TYPE_STRING;
        if (column->kind == INTEGER) {
            bind->buffer_type = MYSQL_TYPE_LONGLONG;
            bind->buffer = &column->number;
            bind->buffer_length = sizeof(column->number);
        } else if (column->kind == OTHER) {
            bind->buffer_length = sizeof(column->text);
        }
    }
}

static int prepare(struct mysql_db *db, const char *sql, struct mysql_stmt **stmt_out)
{
    uint64_t a, b;
    struct mysql_stmt *stmt = (struct mysql_stmt *)db_cache_get(&db->base.cache, sql, &a, &b);

    if (stmt == NULL) {
        MYSQL_STMT *handle = mysql_stmt_init(db->handle);

        if (handle == NULL) {
            abort();
        }
        if (mysql_stmt_prepare(handle, sql, strlen(sql)) != 0) {
            int rc = failed(db, mysql_stmt_errno(handle), mysql_stmt_error(handle), sql);
            mysql_stmt_close(handle);
            return rc;
        }
        stmt = must_calloc(1, sizeof(*stmt));
        stmt->handle = handle;
        MYSQL_RES *about = mysql_stmt_result_metadata(handle);
        if (about != NULL) {
            bind_columns(stmt, about);
            mysql_free_result(about);
        }
        db_cache_put(&db->base.cache, &stmt->base, a, b);
    }
    *stmt_out = stmt;
    return 0;
}

static void bind_params(struct mysql_db *db, MYSQL_STMT *handle, const struct db_value *params,
                        size_t n)
{
    assert(mysql_stmt_param_count(handle) == n);
    if (n > db->params_cap) {
        free(db->params);
        db->params = must_calloc(n, sizeof(*db->params));
        db->params_cap = n;
    }
    for (size_t i = 0; i < n; i++) {
        const struct db_value *v = &params[i];
        MYSQL_BIND *bind = &db->params[i];

        memset(bind, 0, sizeof(*bind));
        if (v->type == DB_INT) {
            bind->buffer_type = MYSQL_TYPE_LONGLONG;
            bind->buffer = (void *)&v->i;
        } else if (v->type == DB_BYTES) {
            bind->buffer_type = MYSQL_TYPE_STRING;
            bind->buffer = (void *)(v->n > 0 ? v->p : "");
            bind->buffer_length = v->n;
            bind->length_value = v->n;
        } else {
            bind->buffer_type = MYSQL_TYPE_NULL;
        }
    }
    if (n > 0) {
        mysql_stmt_bind_param(handle, db->params);
    }
}

static struct db_value read_column(struct mysql_stmt *stmt, size_t i, struct arena *arena)
{
    const struct column *column = &stmt->column[i];
    unsigned long got = 0;
    my_bool is_null = 0, error = 0;

    if (column->is_null) {
        return DB_N();
    }
    if (column->kind == INTEGER) {
        return DB_I(column->number);
    }
    if (column->kind == OTHER) {
        return DB_B(arena_memdup(arena, column->text, column->length), column->length);
    }
    char *p = arena_alloc(arena, column->length + 1);
    MYSQL_BIND bind = {.buffer_type = MYSQL_TYPE_STRING,
                       .buffer = p,
                       .buffer_length = column->length,
                       .length = &got,
                       .is_null = &is_null,
                       .error = &error};
    if (column->length > 0) {
        mysql_stmt_fetch_column(stmt->handle, &bind, (unsigned)i, 0);
    }
    p[column->length] = '\0';
    return DB_B(p, column->length);
}

/* Row by row as they come from the server, without libmariadb's own copy of the whole result. */
static int read_rows(struct mysql_stmt *stmt, const struct db_call *call)
{
    struct db_rows rows = {.columns = stmt->columns};
    size_t cap = 0;
    int got;

    mysql_stmt_bind_result(stmt->handle, stmt->result);
    while ((got = mysql_stmt_fetch(stmt->handle)) == 0 || got == MYSQL_DATA_TRUNCATED) {
        struct db_value *row = db_rows_add(&rows, &cap, call->arena);

        for (size_t i = 0; i < rows.columns; i++) {
            row[i] = read_column(stmt, i, call->arena);
        }
    }
    if (got == MYSQL_NO_DATA) {
        *call->rows_out = rows;
    }
    return got == MYSQL_NO_DATA ? 0 : -1;
}

static int execute(struct mysql_stmt *stmt, const struct db_call *call)
{
    if (mysql_stmt_execute(stmt->handle) != 0) {
        return -1;
    }
    if (stmt->columns == 0) {
        if (call->rows_out != NULL) {
            *call->rows_out = (struct db_rows){0};
        }
        return 0;
    }
    int rc = call->arena != NULL ? read_rows(stmt, call) : 0;
    return mysql_stmt_free_result(stmt->handle) != 0 ? -1 : rc; /* reads what is left */
}

static int mysql_db_run(struct db *base, const struct db_call *call)
{
    struct mysql_db *db = (struct mysql_db *)base;
    struct mysql_stmt *stmt = NULL;
    int rc = need_connection(db);

    if (rc == 0) {
        rc = prepare(db, call->sql, &stmt);
    }
    if (rc != 0) {
        return rc;
    }
    assert(stmt != NULL);
    bind_params(db, stmt->handle, call->params, call->n);
    if (execute(stmt, call) != 0) {
        unsigned code = mysql_stmt_errno(stmt->handle);

        rc = failed(db, code, mysql_stmt_error(stmt->handle), call->sql);
        if (code == 1615 && db->handle != NULL) {
            db_cache_drop(&db->base.cache, &stmt->base);
        }
        return rc;
    }
    if (call->affected_out != NULL) {
        *call->affected_out = stmt->columns > 0 ? 0
                                                : (int64_t)mysql_stmt_affected_rows(stmt->handle);
    }
    db->base.last_id = (int64_t)mysql_stmt_insert_id(stmt->handle);
    return 0;
}

static int mysql_db_script(struct db *base, const char *sql)
{
    struct mysql_db *db = (struct mysql_db *)base;
    int rc = need_connection(db);

    return rc == 0 ? plain(db, sql) : rc;
}

/* ---- Transactions ---- */

static int mysql_db_begin(struct db *base)
{
    return mysql_db_script(base, "START TRANSACTION");
}

static int mysql_db_commit(struct db *base)
{
    return mysql_db_script(base, "COMMIT");
}

static void mysql_db_rollback(struct db *base)
{
    struct mysql_db *db = (struct mysql_db *)base;

    if (db->handle != NULL) {
        int rc = plain(db, "ROLLBACK");
        (void)rc; /* logged; without the connection the server rolls back by itself */
    }
}

/* The lock is the server's, its name the schema's. It goes with the connection. */
static int take_lock(struct mysql_db *db)
{
    static const char sql[] = "SELECT GET_LOCK(CONCAT('chat_migrate:', MD5(DATABASE())), 2)";
    int64_t until_ms = clock_mono_ms() + MIGRATE_WAIT_MS;
    struct arena *arena = arena_new(0);
    int64_t got = 0;
    int rc = 0;

    while (rc == 0 && got != 1) {
        struct db_rows rows = {0};

        rc = db_query(&db->base, arena, sql, NULL, 0, &rows);
        got = rc == 0 ? db_at(&rows, 0, 0)->i : 0;
        if (rc == 0 && got != 1 && clock_mono_ms() >= until_ms) {
            log_error("another daemon holds the migrations' lock", "db=%s", db->base.name);
            rc = ERR_UNAVAILABLE;
        }
    }
    arena_free(arena);
    return rc;
}

static int mysql_db_migrate_end(struct db *base, bool good)
{
    struct mysql_db *db = (struct mysql_db *)base;

    (void)good; /* every statement has committed by itself */
    disconnect(db);
    db->migrating = false;
    return 0;
}

static int mysql_db_migrate_begin(struct db *base)
{
    struct mysql_db *db = (struct mysql_db *)base;

    disconnect(db); /* for the longer timeout */
    db->migrating = true;
    int rc = reconnect(db);
    if (rc == 0) {
        rc = take_lock(db);
    }
    if (rc != 0) {
        mysql_db_migrate_end(base, false);
    }
    return rc;
}

/* ---- Opening and closing ---- */

static void mysql_db_close(struct db *base)
{
    struct mysql_db *db = (struct mysql_db *)base;

    disconnect(db);
    db_mysql_url_done(&db->url);
    free(db->params);
    free(db);
}

static const struct db_driver driver = {
    .is_sqlite = false,
    .run = mysql_db_run,
    .begin = mysql_db_begin,
    .commit = mysql_db_commit,
    .rollback = mysql_db_rollback,
    .script = mysql_db_script,
    .migrate_begin = mysql_db_migrate_begin,
    .migrate_end = mysql_db_migrate_end,
    .close = mysql_db_close,
};

static void init_library(void)
{
    if (mysql_library_init(0, NULL, NULL) != 0) {
        abort();
    }
}

int db_mysql_open(const char *url, struct db **db_out, char *problem, size_t problem_size)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct mysql_db *db = must_calloc(1, sizeof(*db));
    const char *wrong = db_mysql_url_parse(&db->url, url);

    if (wrong != NULL) { /* the URL itself may hold a password */
        snprintf(problem, problem_size, "The MySQL URL is wrong: %s.", wrong);
        mysql_db_close(&db->base);
        return ERR_INVALID;
    }
    pthread_once(&once, init_library);
    db_init(&db->base, &driver, db->url.schema, strlen(db->url.schema), free_stmt);
    db->backoff_ms = BACKOFF_FIRST_MS;
    *db_out = &db->base;
    return 0;
}
