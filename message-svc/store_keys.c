// SPDX-License-Identifier: MIT
/*
 * The list of keys is a common table expression, joined first. Its length is rounded up to a power
 * of two, so that few texts have to be prepared; what is too many are keys that match nothing.
 */
#include "message-svc/store_keys.h"

#include "common/buf.h"

#include <assert.h>
#include <string.h>

#define KEYS_MAX 1024

/* MySQL has to be told the types of what stands in no table; ASCII, so that the column's own
 * collation decides and its index can be used. */
static void add_mysql_key(struct buf *text, const struct message_store_lookup *what)
{
    buf_add_str(text, "SELECT ");
    for (size_t i = 0; i < what->width; i++) {
        bool is_text = what->text_last && i + 1 == what->width;
        buf_add_str(text, i > 0 ? ", " : "");
        buf_add_str(text,
                    is_text ? "CAST(? AS CHAR(64) CHARACTER SET ascii)" : "CAST(? AS SIGNED)");
    }
}

static void add_keys(struct buf *text, const struct message_store_lookup *what, size_t n,
                     bool sqlite)
{
    static const char *const sqlite_keys[] = {"(?)", "(?,?)", "(?,?,?)", "(?,?,?,?)"};
    buf_add_str(text, sqlite ? "VALUES " : "");
    for (size_t i = 0; i < n; i++) {
        buf_add_str(text, i == 0 ? "" : sqlite ? "," : " UNION ALL ");
        if (sqlite) {
            buf_add_str(text, sqlite_keys[what->width - 1]);
        } else {
            add_mysql_key(text, what);
        }
    }
}

static void add_statement(struct buf *text, const struct message_store_lookup *what, size_t n,
                          bool sqlite)
{
    static const char *const names[] = {"c1", "c1, c2", "c1, c2, c3", "c1, c2, c3, c4"};
    buf_printf(text, "WITH k (%s) AS (", names[what->width - 1]);
    add_keys(text, what, n, sqlite);
    /* Each in its own words: k first, then the table. */
    buf_printf(text, ") SELECT %s %s FROM k %s %s ON %s", sqlite ? "" : "STRAIGHT_JOIN",
               what->columns, sqlite ? "CROSS JOIN" : "JOIN", what->table, what->on);
}

int message_store_find(struct db *db, struct arena *arena, const struct message_store_lookup *what,
                       const struct db_value *values, size_t n, struct db_rows *rows_out)
{
    size_t rounded = 1;
    struct buf text;
    assert(n <= KEYS_MAX && what->width >= 1 && what->width <= 4);
    if (n == 0) {
        *rows_out = (struct db_rows){0};
        return 0;
    }
    while (rounded < n) {
        rounded *= 2;
    }
    struct db_value *params = arena_array(arena, rounded * what->width, sizeof(*params));
    memcpy(params, values, n * what->width * sizeof(*params));
    for (size_t i = n * what->width; i < rounded * what->width; i++) {
        bool is_text = what->text_last && i % what->width + 1 == what->width;
        params[i] = is_text ? DB_B("", 0) : DB_I(-1);
    }
    buf_init(&text);
    add_statement(&text, what, rounded, db_is_sqlite(db));
    int err = db_query(db, arena, text.data, params, rounded * what->width, rows_out);
    buf_done(&text);
    return err;
}
