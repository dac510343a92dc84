// SPDX-License-Identifier: MIT
/*
 * The SQL of the writer: positions, what a batch asks, ids, and the transaction that it ends in.
 */
#include "message-svc/store.h"

#include "common/db.h"
#include "common/err.h"
#include "message-svc/store_members.h"
#include "message-svc/store_rows.h"

#include <string.h>

/* ---- Positions ---- */

int message_store_positions(struct db *db, struct arena *arena, const char *log_id,
                            struct message_positions *out)
{
    struct db_rows rows;
    int err = db_query(db, arena, "SELECT partition_no, next FROM send_position WHERE log_id = ?",
                       (struct db_value[]){DB_S(log_id)}, 1, &rows);
    if (err != 0) {
        return err;
    }
    out->at = arena_array(arena, rows.count, sizeof(*out->at));
    out->n = rows.count;
    for (size_t i = 0; i < rows.count; i++) {
        int64_t next = db_at(&rows, i, 1)->i;
        out->at[i] = (struct message_position){
            .partition = (int32_t)db_at(&rows, i, 0)->i, .from = next, .next = next};
    }
    return 0;
}

int message_store_forget_logs(struct db *db, const char *log_id)
{
    return db_exec(db, "DELETE FROM send_position WHERE log_id <> ?",
                   (struct db_value[]){DB_S(log_id)}, 1, NULL);
}

static int move_position(struct db *db, const char *log_id, const struct message_position *p)
{
    int64_t moved = 0;
    if (p->from < 0) {
        int err =
            db_exec(db, "INSERT INTO send_position (log_id, partition_no, next) VALUES (?, ?, ?)",
                    (struct db_value[]){DB_S(log_id), DB_I(p->partition), DB_I(p->next)}, 3, NULL);
        return err == ERR_DUPLICATE ? ERR_STALE : err;
    }
    int err = db_exec(
        db, "UPDATE send_position SET next = ? WHERE log_id = ? AND partition_no = ? AND next = ?",
        (struct db_value[]){DB_I(p->next), DB_S(log_id), DB_I(p->partition), DB_I(p->from)}, 4,
        &moved);
    return err == 0 && moved == 0 ? ERR_STALE : err;
}

/* ---- What a batch asks ---- */

int message_store_known(struct db *db, struct arena *arena, const struct message_client_key *keys,
                        size_t n, struct message_rows *out)
{
    struct db_value *list = arena_alloc(arena, n * 4 * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        list[i * 4] = DB_I(keys[i].conv.a);
        list[i * 4 + 1] = DB_I(keys[i].conv.b);
        list[i * 4 + 2] = DB_I(keys[i].sender_id);
        list[i * 4 + 3] = DB_B(keys[i].client_id.p, keys[i].client_id.n);
    }
    const struct db_lookup what = {
        .columns = MESSAGE_COLUMNS,
        .table = "message m",
        .on = "m.conv_a = k.c1 AND m.conv_b = k.c2 AND m.sender_id = k.c3 AND m.client_id = k.c4",
        .width = 4,
        .text_last = true,
    };
    struct db_rows rows;
    int err = db_query_keys(db, arena, &what, list, n, &rows);
    if (err == 0) {
        message_store_read_rows(arena, &rows, out);
    }
    return err;
}

int message_store_conversations(struct db *db, struct arena *arena, const struct message_conv *keys,
                                size_t n, struct message_conversations *out)
{
    struct db_value *list = arena_alloc(arena, n * 2 * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        list[i * 2] = DB_I(keys[i].a);
        list[i * 2 + 1] = DB_I(keys[i].b);
    }
    const struct db_lookup what = {
        .columns = "c.conv_a, c.conv_b, c.last_seq, c.last_rev, c.updated_at",
        .table = "conversation c",
        .on = "c.conv_a = k.c1 AND c.conv_b = k.c2",
        .width = 2,
    };
    struct db_rows rows;
    int err = db_query_keys(db, arena, &what, list, n, &rows);
    if (err != 0) {
        return err;
    }
    out->at = arena_array(arena, rows.count, sizeof(*out->at));
    out->n = rows.count;
    for (size_t i = 0; i < rows.count; i++) {
        out->at[i] = (struct message_conversation){
            .conv = {(uint64_t)db_at(&rows, i, 0)->i, (uint64_t)db_at(&rows, i, 1)->i},
            .last_seq = (uint64_t)db_at(&rows, i, 2)->i,
            .last_rev = (uint64_t)db_at(&rows, i, 3)->i,
            .updated_at = db_at(&rows, i, 4)->i,
        };
    }
    return 0;
}

int message_store_places(struct db *db, struct arena *arena, const uint64_t *ids, size_t n,
                         struct message_rows *out)
{
    struct db_value *list = arena_alloc(arena, n * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        list[i] = DB_I(ids[i]);
    }
    struct db_rows rows;
    int err = db_query_in(db, arena, "SELECT id, conv_a, conv_b, seq FROM message WHERE id IN (%s)",
                          NULL, 0, list, n, NULL, 0, &rows);
    if (err != 0) {
        return err;
    }
    out->at = arena_array(arena, rows.count, sizeof(*out->at));
    out->n = rows.count;
    for (size_t i = 0; i < rows.count; i++) {
        out->at[i].id = (uint64_t)db_at(&rows, i, 0)->i;
        out->at[i].conv.a = (uint64_t)db_at(&rows, i, 1)->i;
        out->at[i].conv.b = (uint64_t)db_at(&rows, i, 2)->i;
        out->at[i].seq = (uint64_t)db_at(&rows, i, 3)->i;
    }
    return 0;
}

/* ---- Ids ---- */

static int move_ids(struct db *db, struct arena *arena, uint64_t count, uint64_t *first_out)
{
    struct db_rows rows;
    int64_t matched = 0;
    int err = db_exec(db, "UPDATE id_block SET next = next + ? WHERE id = 1",
                      (struct db_value[]){DB_I(count)}, 1, &matched);
    if (err == 0) {
        err = db_query(db, arena, "SELECT next FROM id_block WHERE id = 1", NULL, 0, &rows);
    }
    if (err == 0 && (matched != 1 || rows.count != 1)) {
        return ERR_INTERNAL;
    }
    if (err == 0) {
        *first_out = (uint64_t)db_at(&rows, 0, 0)->i - count;
    }
    return err;
}

int message_store_take_ids(struct db *db, struct arena *arena, uint64_t count, uint64_t *first_out)
{
    uint64_t first = 0;
    int err = db_begin(db);
    if (err != 0) {
        return err;
    }
    err = move_ids(db, arena, count, &first);
    if (err == 0) {
        err = db_commit(db);
    } else {
        db_rollback(db);
    }
    if (err == 0) {
        *first_out = first;
    }
    return err;
}

/* ---- The batch ---- */

static int insert_rows(struct db *db, struct arena *arena, const struct message_write *w)
{
    enum { COLUMNS = 15 };
    struct db_value *values = arena_alloc(arena, w->row_count * COLUMNS * sizeof(*values));
    for (size_t i = 0; i < w->row_count; i++) {
        const struct message_row *row = &w->rows[i];
        const struct db_value of_row[COLUMNS] = {
            DB_I(row->conv.a),
            DB_I(row->conv.b),
            DB_I(row->seq),
            DB_I(row->id),
            DB_I(row->sender_id),
            DB_B(row->client_id.p, row->client_id.n),
            DB_B(row->type.p, row->type.n),
            DB_B(row->content.p, row->content.n),
            DB_I(row->digest),
            DB_I(row->reply_to),
            DB_I(row->created_at),
            DB_I(row->edited_at),
            DB_I(row->recalled),
            DB_I(row->rev),
            DB_I(row->command_offset),
        };
        memcpy(&values[i * COLUMNS], of_row, sizeof(of_row));
    }
    return db_insert(db,
                     "INSERT INTO message (conv_a, conv_b, seq, id, sender_id, client_id, type, "
                     "content, digest, reply_to, created_at, edited_at, recalled, rev, "
                     "command_offset) VALUES",
                     COLUMNS, values, w->row_count, NULL);
}

/* One by one: changes are rare beside new messages. */
static int update_rows(struct db *db, const struct message_write *w)
{
    int err = 0;
    for (size_t i = 0; i < w->changed_count && err == 0; i++) {
        const struct message_row *row = &w->changed[i];
        const struct db_value params[] = {
            DB_B(row->content.p, row->content.n),
            DB_I(row->edited_at),
            DB_I(row->recalled),
            DB_I(row->rev),
            DB_I(row->conv.a),
            DB_I(row->conv.b),
            DB_I(row->seq),
        };
        err = db_exec(db,
                      "UPDATE message SET content = ?, edited_at = ?, recalled = ?, rev = ? "
                      "WHERE conv_a = ? AND conv_b = ? AND seq = ?",
                      params, sizeof(params) / sizeof(params[0]), NULL);
    }
    return err;
}

static int put_conversations(struct db *db, struct arena *arena, const struct message_write *w)
{
    enum { COLUMNS = 5 };
    struct db_value *values = arena_alloc(arena, w->conversation_count * COLUMNS * sizeof(*values));
    for (size_t i = 0; i < w->conversation_count; i++) {
        const struct message_conversation *c = &w->conversations[i];
        const struct db_value of_row[COLUMNS] = {DB_I(c->conv.a), DB_I(c->conv.b),
                                                 DB_I(c->last_seq), DB_I(c->last_rev),
                                                 DB_I(c->updated_at)};
        memcpy(&values[i * COLUMNS], of_row, sizeof(of_row));
    }
    return db_insert(
        db, "INSERT INTO conversation (conv_a, conv_b, last_seq, last_rev, updated_at) VALUES",
        COLUMNS, values, w->conversation_count,
        db_sql(db,
               "ON DUPLICATE KEY UPDATE last_seq = VALUES(last_seq), "
               "last_rev = VALUES(last_rev), updated_at = VALUES(updated_at)",
               "ON CONFLICT (conv_a, conv_b) DO UPDATE SET last_seq = excluded.last_seq, "
               "last_rev = excluded.last_rev, updated_at = excluded.updated_at"));
}

static int put_participants(struct db *db, struct arena *arena, const struct message_write *w)
{
    enum { COLUMNS = 5 };
    struct db_value *values = arena_alloc(arena, w->started_count * 2 * COLUMNS * sizeof(*values));
    size_t n = 0;
    for (size_t i = 0; i < w->started_count; i++) {
        const struct message_conv conv = w->started[i];
        const uint64_t users[] = {conv.a, conv.b};
        for (size_t k = 0; k < (conv.a == conv.b ? 1 : 2); k++) {
            const struct db_value of_row[COLUMNS] = {DB_I(users[k]), DB_I(conv.a), DB_I(conv.b),
                                                     DB_I(0), DB_I(w->now_ms)};
            memcpy(&values[n++ * COLUMNS], of_row, sizeof(of_row));
        }
    }
    return db_insert(
        db, "INSERT INTO participant (user_id, conv_a, conv_b, read_seq, updated_at) VALUES",
        COLUMNS, values, n,
        db_sql(db, "ON DUPLICATE KEY UPDATE read_seq = read_seq",
               "ON CONFLICT (user_id, conv_a, conv_b) DO NOTHING"));
}

static int write_all(struct db *db, struct arena *arena, const struct message_write *w)
{
    int err = 0;
    for (size_t i = 0; i < w->position_count && err == 0; i++) {
        err = move_position(db, w->log_id, &w->positions[i]);
    }
    if (err == 0 && w->member_count > 0) {
        err = message_store_put_members(db, arena, w->members, w->member_count);
    }
    if (err == 0) {
        err = insert_rows(db, arena, w);
    }
    if (err == 0) {
        err = update_rows(db, w);
    }
    if (err == 0) {
        err = put_conversations(db, arena, w);
    }
    if (err == 0) {
        err = put_participants(db, arena, w);
    }
    return err;
}

int message_store_write(struct db *db, struct arena *arena, const struct message_write *write)
{
    int err = db_begin(db);
    if (err != 0) {
        return err;
    }
    err = write_all(db, arena, write);
    if (err != 0) {
        db_rollback(db);
        return err;
    }
    return db_commit(db);
}
