// SPDX-License-Identifier: MIT
/*
 * Schemas: reads the text of a schema.sql, and brings a database up to its version step by step.
 *
 * In SQLite a whole migration is one transaction. MySQL commits each CREATE and ALTER by itself:
 * a step that fails half way is executed again from its start at the next try, so its statements
 * must bear that (IF NOT EXISTS). A daemon at a time is let in, the others wait for it.
 */
#include "common/db_impl.h"

#include "common/buf.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum dialect { BOTH, MYSQL, SQLITE };

struct reader { /* walks the text line by line */
    struct db *db;
    const struct db_schema *schema;
    int64_t stored; /* the database's version */
    int64_t step;   /* of the current line; 0 before the first */
    enum dialect dialect;
    bool execute; /* false: only look whether the text is in order */
    struct buf statement;
    char *problem;
    size_t problem_size;
};

static int complain(struct reader *r, const char *what)
{
    snprintf(r->problem, r->problem_size, "The schema of %s is wrong after version %lld: %s.",
             r->schema->name, (long long)r->step, what);
    return ERR_INVALID;
}

static int fail(struct reader *r, int rc)
{
    snprintf(
        r->problem, r->problem_size, "The schema of %s could not be brought to version %lld%s.",
        r->schema->name, (long long)r->step,
        rc == ERR_UNAVAILABLE ? ": its database cannot be reached, see the warning before" : "");
    return rc == ERR_STALE ? ERR_UNAVAILABLE : rc;
}

/* ---- schema_version: one row per step that was done ---- */

static const char make_table[] = "CREATE TABLE IF NOT EXISTS schema_version ("
                                 "name VARCHAR(64) NOT NULL, version BIGINT NOT NULL, "
                                 "applied_at BIGINT NOT NULL, PRIMARY KEY (name, version))";

static int read_version(struct db *db, const char *name, int64_t *version_out)
{
    struct arena *arena = arena_new(0);
    struct db_rows rows;
    int rc = db_query(db, arena,
                      "SELECT COALESCE(MAX(version), 0) FROM schema_version WHERE name = ?",
                      (struct db_value[]){DB_S(name)}, 1, &rows);

    if (rc == 0) {
        *version_out = db_at(&rows, 0, 0)->i;
    }
    arena_free(arena);
    return rc;
}

static int record_step(struct reader *r)
{
    if (!r->execute || r->step <= r->stored) {
        return 0;
    }
    struct db_value row[] = {DB_S(r->schema->name), DB_I(r->step), DB_I(clock_now_ms())};
    int rc = db_insert(r->db, "INSERT INTO schema_version (name, version, applied_at) VALUES", 3,
                       row, 1, NULL);
    if (rc != 0) {
        return fail(r, rc);
    }
    log_info("schema brought forward", "db=%s schema=%s version=%lld", r->db->name, r->schema->name,
             (long long)r->step);
    return 0;
}

/* ---- The text ---- */

static int begin_step(struct reader *r, const char *number)
{
    char *end;

    errno = 0;
    long long version = strtoll(number, &end, 10);
    if (errno != 0 || end == number || strspn(end, " \t\r") != strlen(end) || version <= r->step) {
        return complain(r, "versions must be growing numbers");
    }
    if (r->step > 0) {
        int rc = record_step(r);
        if (rc != 0) {
            return rc;
        }
    }
    r->step = version;
    r->dialect = BOTH;
    return 0;
}

/* A line that begins with "--". */
static int read_comment(struct reader *r, const char *line)
{
    static const struct {
        const char *word;
        enum dialect dialect;
    } words[] = {{"both", BOTH}, {"mysql", MYSQL}, {"sqlite", SQLITE}};
    const char *text = line + 2 + strspn(line + 2, " \t");
    size_t n = strcspn(text, " \t\r");
    bool alone = strspn(text + n, " \t\r") == strlen(text + n);

    if (n == 7 && strncmp(text, "version", n) == 0 && !alone) {
        return r->statement.len > 0 ? complain(r, "a statement has no end")
                                    : begin_step(r, text + n);
    }
    for (size_t i = 0; alone && i < sizeof(words) / sizeof(words[0]); i++) {
        if (n == strlen(words[i].word) && strncmp(text, words[i].word, n) == 0) {
            if (r->statement.len > 0) {
                return complain(r, "a statement has no end");
            }
            r->dialect = words[i].dialect;
        }
    }
    return 0;
}

static int end_statement(struct reader *r)
{
    bool ours = r->dialect == BOTH || (r->dialect == SQLITE) == db_is_sqlite(r->db);
    int rc = 0;

    if (r->step == 0) {
        return complain(r, "a statement stands before the first version");
    }
    if (r->execute && ours && r->step > r->stored) {
        rc = r->db->driver->script(r->db, r->statement.data);
    }
    buf_clear(&r->statement);
    return rc == 0 ? 0 : fail(r, rc);
}

static int read_line(struct reader *r, const char *line, size_t n)
{
    while (n > 0 && strchr(" \t\r", line[n - 1]) != NULL) {
        n--;
    }
    while (n > 0 && (*line == ' ' || *line == '\t')) {
        line++;
        n--;
    }
    if (n >= 2 && line[0] == '-' && line[1] == '-') {
        struct buf copy;

        buf_init(&copy);
        buf_add(&copy, line, n);
        int rc = read_comment(r, copy.data);
        buf_done(&copy);
        return rc;
    }
    if (n == 0) {
        return 0;
    }
    buf_add(&r->statement, line, n);
    buf_add_char(&r->statement, '\n');
    if (line[n - 1] == ';') {
        r->statement.data[r->statement.len - 2] = '\0'; /* without the semicolon */
        return end_statement(r);
    }
    return 0;
}

static int read_text(struct reader *r)
{
    int rc = 0;

    for (const char *at = r->schema->sql; *at != '\0' && rc == 0;) {
        size_t n = strcspn(at, "\n");
        rc = read_line(r, at, n);
        at += n + (at[n] == '\n' ? 1 : 0);
    }
    if (rc == 0 && r->statement.len > 0) {
        rc = complain(r, "the last statement has no end");
    }
    if (rc == 0 && r->step != r->schema->version) {
        rc = complain(r, "the last step is not the version that is asked for");
    }
    return rc == 0 ? record_step(r) : rc;
}

static int pass(struct reader *r, bool execute)
{
    r->execute = execute;
    r->step = 0;
    r->dialect = BOTH;
    buf_init(&r->statement);
    int rc = read_text(r);
    buf_done(&r->statement);
    return rc;
}

static int migrate_locked(struct reader *r)
{
    int rc = r->db->driver->script(r->db, make_table);

    if (rc == 0) {
        rc = read_version(r->db, r->schema->name, &r->stored);
    }
    if (rc != 0) {
        return fail(r, rc);
    }
    if (r->stored > r->schema->version) {
        snprintf(r->problem, r->problem_size,
                 "The schema of %s is at version %lld, newer than this program's %lld.",
                 r->schema->name, (long long)r->stored, (long long)r->schema->version);
        return ERR_INVALID;
    }
    return r->stored == r->schema->version ? 0 : pass(r, true);
}

int db_migrate(struct db *db, const struct db_schema *schema, char *problem, size_t problem_size)
{
    struct reader r = {
        .db = db, .schema = schema, .problem = problem, .problem_size = problem_size};
    int rc = pass(&r, false);

    if (rc != 0) {
        return rc;
    }
    rc = db->driver->migrate_begin(db);
    if (rc != 0) {
        return fail(&r, rc);
    }
    rc = migrate_locked(&r);
    int ended = db->driver->migrate_end(db, rc == 0);
    if (rc == 0 && ended != 0) {
        rc = fail(&r, ended);
    }
    return rc;
}
