// SPDX-License-Identifier: MIT
/*
 * The SQL of those who read messages: pages of a conversation, single messages.
 */
#include "message-svc/store_rows.h"

#include "common/db.h"

#include <stdlib.h>

static uint64_t number(const struct db_value *v)
{
    return (uint64_t)v->i;
}

static struct message_text text(const struct db_value *v)
{
    return (struct message_text){.p = v->p, .n = v->n};
}

static struct message_row read_row(const struct db_value *v)
{
    return (struct message_row){
        .conv = {number(&v[0]), number(&v[1])},
        .seq = number(&v[2]),
        .id = number(&v[3]),
        .sender_id = number(&v[4]),
        .client_id = text(&v[5]),
        .type = text(&v[6]),
        .content = text(&v[7]),
        .digest = v[8].i,
        .reply_to = number(&v[9]),
        .created_at = v[10].i,
        .edited_at = v[11].i,
        .recalled = v[12].i != 0,
        .rev = number(&v[13]),
        .command_offset = v[14].i,
    };
}

void message_store_read_rows(struct arena *arena, const struct db_rows *rows,
                             struct message_rows *out)
{
    out->at = arena_array(arena, rows->count, sizeof(*out->at));
    out->n = rows->count;
    for (size_t i = 0; i < rows->count; i++) {
        out->at[i] = read_row(db_at(rows, i, 0));
    }
}

int message_store_range(struct db *db, struct arena *arena, struct message_conv conv, uint64_t lo,
                        uint64_t hi, size_t limit, bool descending, struct message_rows *out)
{
    static const char *const ascending_sql = "SELECT " MESSAGE_COLUMNS
                                             " FROM message m WHERE m.conv_a = ? AND m.conv_b = ? "
                                             "AND m.seq BETWEEN ? AND ? ORDER BY m.seq LIMIT ?";
    static const char *const descending_sql =
        "SELECT " MESSAGE_COLUMNS " FROM message m WHERE m.conv_a = ? AND m.conv_b = ? "
        "AND m.seq BETWEEN ? AND ? ORDER BY m.seq DESC LIMIT ?";
    const struct db_value params[] = {DB_I(conv.a), DB_I(conv.b), DB_I(lo), DB_I(hi), DB_I(limit)};
    struct db_rows rows;
    int err = db_query(db, arena, descending ? descending_sql : ascending_sql, params, 5, &rows);
    if (err == 0) {
        message_store_read_rows(arena, &rows, out);
    }
    return err;
}

int message_store_at(struct db *db, struct arena *arena, const struct message_place *places,
                     size_t n, struct message_rows *out)
{
    struct db_value *list = arena_alloc(arena, n * 3 * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        list[i * 3] = DB_I(places[i].conv.a);
        list[i * 3 + 1] = DB_I(places[i].conv.b);
        list[i * 3 + 2] = DB_I(places[i].seq);
    }
    const struct db_lookup what = {
        .columns = MESSAGE_COLUMNS,
        .table = "message m",
        .on = "m.conv_a = k.c1 AND m.conv_b = k.c2 AND m.seq = k.c3",
        .width = 3,
    };
    struct db_rows rows;
    int err = db_query_keys(db, arena, &what, list, n, &rows);
    if (err == 0) {
        message_store_read_rows(arena, &rows, out);
    }
    return err;
}

static int compare_seqs(const void *left, const void *right)
{
    uint64_t x = *(const uint64_t *)left, y = *(const uint64_t *)right;
    return x < y ? -1 : x > y;
}

int message_store_changed(struct db *db, struct arena *arena, struct message_conv conv,
                          uint64_t rev, uint64_t lo, uint64_t hi, size_t limit, uint64_t **seqs_out,
                          size_t *n_out)
{
    struct db_rows rows;
    const struct db_value params[] = {DB_I(conv.a), DB_I(conv.b), DB_I(rev),
                                      DB_I(lo),     DB_I(hi),     DB_I(limit)};
    int err = db_query(db, arena,
                       "SELECT seq FROM message WHERE conv_a = ? AND conv_b = ? AND rev > ? AND "
                       "seq BETWEEN ? AND ? ORDER BY rev LIMIT ?",
                       params, sizeof(params) / sizeof(params[0]), &rows);
    if (err != 0) {
        return err;
    }
    uint64_t *seqs = arena_array(arena, rows.count, sizeof(*seqs));
    for (size_t i = 0; i < rows.count; i++) {
        seqs[i] = number(db_at(&rows, i, 0));
    }
    if (rows.count > 0) {
        qsort(seqs, rows.count, sizeof(*seqs), compare_seqs);
    }
    *seqs_out = seqs;
    *n_out = rows.count;
    return 0;
}

int message_store_by_id(struct db *db, struct arena *arena, uint64_t id, struct message_rows *out)
{
    struct db_rows rows;
    int err = db_query(db, arena,
                       "SELECT " MESSAGE_COLUMNS " FROM message m WHERE m.id = ? LIMIT 1",
                       (struct db_value[]){DB_I(id)}, 1, &rows);
    if (err == 0) {
        message_store_read_rows(arena, &rows, out);
    }
    return err;
}

int message_store_seq_before(struct db *db, struct arena *arena, struct message_conv conv,
                             int64_t before_ms, uint64_t end, uint64_t *seq_out)
{
    struct db_rows rows;
    int err = db_query(db, arena,
                       "SELECT seq FROM message WHERE conv_a = ? AND conv_b = ? AND seq < ? AND "
                       "created_at < ? ORDER BY seq DESC LIMIT 1",
                       (struct db_value[]){DB_I(conv.a), DB_I(conv.b), DB_I(end), DB_I(before_ms)},
                       4, &rows);
    if (err == 0) {
        *seq_out = rows.count == 0 ? 0 : (uint64_t)db_at(&rows, 0, 0)->i;
    }
    return err;
}
