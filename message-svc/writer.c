// SPDX-License-Identifier: MIT
/*
 * Gathers the facts for a batch (four SELECTs at most in the usual case: memberships, client_ids,
 * conversations not cached, reply targets; a fifth where messages are edited or recalled), lets
 * plan.c decide, and commits.
 *
 * What is cached per partition (its position, the last seq of conversations) is the database's
 * state after our last commit, and true as long as nobody else writes this partition: the
 * position's compare-and-set in the same transaction proves that. Whenever it fails, or anything
 * else does, the caches of the batch's partitions are dropped and read again.
 */
#include "message-svc/writer.h"

#include "common/bus.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "message-svc/ids.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONVERSATIONS_CACHED 8192 /* per partition; twice that at most */
#define USERS_CACHED 65536
#define LIST_MAX 1000 /* keys in one statement */

struct partition {
    int32_t number;
    int64_t from; /* the stored position; -1: no row */
    int64_t next; /* where it stands after this batch */
    struct message_recent *conversations;
};

struct message_writer {
    char log_id[65];
    struct message_doubts *doubts;
    struct message_recent *users;
    struct message_ids ids;
    struct map partitions; /* (number, 0): struct partition; only those whose position is known */
};

/* ---- Life ---- */

struct message_writer *message_writer_new(const char *log_id, struct message_doubts *doubts)
{
    struct message_writer *w = calloc(1, sizeof(*w));
    assert(w != NULL && strlen(log_id) < sizeof(w->log_id));
    snprintf(w->log_id, sizeof(w->log_id), "%s", log_id);
    w->doubts = doubts;
    w->users = message_recent_new(USERS_CACHED);
    map_init(&w->partitions);
    return w;
}

static void partition_free(struct partition *p)
{
    if (p != NULL) {
        message_recent_free(p->conversations);
        free(p);
    }
}

void message_writer_free(struct message_writer *w)
{
    if (w == NULL) {
        return;
    }
    size_t cursor = 0;
    for (struct map_slot *slot; (slot = map_next(&w->partitions, &cursor)) != NULL;) {
        partition_free(slot->value);
    }
    map_done(&w->partitions);
    message_recent_free(w->users);
    free(w);
}

static struct partition *find_partition(const struct message_writer *w, int32_t number)
{
    return map_get(&w->partitions, (uint64_t)number, 0);
}

void message_writer_forget(struct message_writer *w, int32_t partition)
{
    partition_free(map_del(&w->partitions, (uint64_t)partition, 0));
}

/* ---- Positions ---- */

static void add_partition(struct message_writer *w, int32_t number, int64_t position)
{
    struct partition *p = calloc(1, sizeof(*p));
    assert(p != NULL);
    *p = (struct partition){.number = number,
                            .from = position,
                            .next = position,
                            .conversations = message_recent_new(CONVERSATIONS_CACHED)};
    map_put(&w->partitions, (uint64_t)number, 0, p);
}

static int64_t find_position(const struct message_positions *positions, int32_t partition)
{
    for (size_t i = 0; i < positions->n; i++) {
        if (positions->at[i].partition == partition) {
            return positions->at[i].next;
        }
    }
    return -1;
}

static int load_positions(struct message_writer *w, struct db *db, struct arena *arena,
                          struct bus_record *const *records, size_t n)
{
    struct message_positions positions = {0};
    bool loaded = false;
    for (size_t i = 0; i < n; i++) {
        if (find_partition(w, records[i]->partition) != NULL) {
            continue;
        }
        int err = loaded ? 0 : message_store_positions(db, arena, w->log_id, &positions);
        if (err != 0) {
            return err;
        }
        loaded = true;
        add_partition(w, records[i]->partition, find_position(&positions, records[i]->partition));
    }
    return 0;
}

int message_writer_position(struct message_writer *w, struct db *db, struct arena *arena,
                            int32_t partition, int64_t *next_out)
{
    struct message_positions positions = {0};
    int err = message_store_positions(db, arena, w->log_id, &positions);
    if (err == 0) {
        int64_t next = find_position(&positions, partition);
        *next_out = next < 0 ? 0 : next;
    }
    return err;
}

int message_writer_forget_logs(struct message_writer *w, struct db *db)
{
    return message_store_forget_logs(db, w->log_id);
}

/* ---- Facts ---- */

static bool is_new_send(const struct message_item *item)
{
    return item->is_send && !item->replay;
}

/* Needs to know its conversation, and in a group the membership. */
static bool asks_for_facts(const struct message_item *item)
{
    return is_new_send(item) || item->is_change;
}

static int load_known(struct message_plan *plan, struct db *db, const struct message_batch *batch)
{
    struct message_client_key *keys = arena_array(plan->arena, batch->n, sizeof(*keys));
    struct message_rows rows = {0};
    size_t n = 0;
    for (size_t i = 0; i < batch->n; i++) {
        const struct message_item *item = &batch->items[i];
        if (item->is_send) {
            keys[n++] = (struct message_client_key){item->conv, item->draft.sender_id,
                                                    item->draft.client_id};
        }
    }
    int err = n == 0 ? 0 : message_store_known(db, plan->arena, keys, n, &rows);
    for (size_t i = 0; i < rows.n; i++) {
        uint64_t a, b;
        message_plan_key(rows.at[i].conv, rows.at[i].sender_id, rows.at[i].client_id, &a, &b);
        map_put(&plan->known, a, b, &rows.at[i]);
    }
    return err;
}

/* Adds the pair to the list unless it is there. */
static void add_once(struct map *seen, uint64_t a, uint64_t b, void *list, size_t *n, size_t size,
                     const void *entry)
{
    if (map_get(seen, a, b) == NULL) {
        map_put(seen, a, b, seen);
        memcpy((char *)list + *n * size, entry, size);
        ++*n;
    }
}

static int load_members(struct message_plan *plan, struct db *db, const struct message_batch *batch)
{
    struct message_pair *pairs = arena_array(plan->arena, batch->n, sizeof(*pairs));
    struct message_members rows = {0};
    struct map seen;
    size_t n = 0;
    map_init(&seen);
    for (size_t i = 0; i < batch->n; i++) {
        const struct message_item *item = &batch->items[i];
        if (asks_for_facts(item) && message_conv_is_group(item->conv)) {
            struct message_pair pair = {item->conv.b, item->user};
            add_once(&seen, pair.group_id, pair.user_id, pairs, &n, sizeof(pair), &pair);
        }
    }
    map_done(&seen);
    int err = n == 0 ? 0 : message_store_members(db, plan->arena, pairs, n, &rows);
    for (size_t i = 0; i < rows.n; i++) {
        map_put(&plan->members, rows.at[i].group_id, rows.at[i].user_id, &rows.at[i]);
    }
    return err;
}

/* Of groups whose sender is not in the copy: only these may need to know how a no is told. */
static int load_groups(struct message_plan *plan, struct db *db, const struct message_batch *batch)
{
    uint64_t *ids = arena_array(plan->arena, batch->n, sizeof(*ids));
    struct message_groups rows = {0};
    struct map seen;
    size_t n = 0;
    map_init(&seen);
    for (size_t i = 0; i < batch->n; i++) {
        const struct message_item *item = &batch->items[i];
        uint64_t group = item->draft.group_id;
        if (is_new_send(item) && group != 0) {
            const struct message_member *member =
                map_get(&plan->members, group, item->draft.sender_id);
            if (member == NULL || !member->active) {
                add_once(&seen, group, 0, ids, &n, sizeof(group), &group);
            }
        }
    }
    map_done(&seen);
    int err = n == 0 ? 0 : message_store_groups(db, plan->arena, ids, n, &rows);
    for (size_t i = 0; i < rows.n; i++) {
        map_put(&plan->groups, rows.at[i].group_id, 0, &rows.at[i]);
    }
    return err;
}

/* From the partition's cache, else from the database; those that are nowhere begin at 0. */
static int load_conversations(struct message_writer *w, struct message_plan *plan, struct db *db,
                              const struct message_batch *batch)
{
    struct message_conv *keys = arena_array(plan->arena, batch->n, sizeof(*keys));
    struct message_conversations rows = {0};
    size_t n = 0;
    for (size_t i = 0; i < batch->n; i++) {
        const struct message_item *item = &batch->items[i];
        if (!asks_for_facts(item) ||
            map_get(&plan->conversations, item->conv.a, item->conv.b) != NULL) {
            continue;
        }
        struct message_recent_value value = {0};
        struct message_conversation *c = arena_zalloc(plan->arena, sizeof(*c));
        c->conv = item->conv;
        if (message_recent_get(find_partition(w, item->partition)->conversations, c->conv.a,
                               c->conv.b, &value)) {
            c->last_seq = value.seq;
            c->last_rev = value.rev;
            c->updated_at = value.at;
        } else {
            keys[n++] = c->conv;
        }
        map_put(&plan->conversations, c->conv.a, c->conv.b, c);
    }
    int err = n == 0 ? 0 : message_store_conversations(db, plan->arena, keys, n, &rows);
    for (size_t i = 0; i < rows.n; i++) {
        map_put(&plan->conversations, rows.at[i].conv.a, rows.at[i].conv.b, &rows.at[i]);
    }
    return err;
}

static int load_replies(struct message_plan *plan, struct db *db, const struct message_batch *batch)
{
    uint64_t *ids = arena_array(plan->arena, batch->n, sizeof(*ids));
    struct message_rows rows = {0};
    size_t n = 0;
    for (size_t i = 0; i < batch->n; i++) {
        const struct message_item *item = &batch->items[i];
        if (is_new_send(item) && item->draft.reply_to != 0) {
            ids[n++] = item->draft.reply_to;
        }
    }
    int err = n == 0 ? 0 : message_store_places(db, plan->arena, ids, n, &rows);
    for (size_t i = 0; i < rows.n; i++) {
        map_put(&plan->replies, rows.at[i].id, 0, &rows.at[i]);
    }
    return err;
}

static int load_targets(struct message_plan *plan, struct db *db, const struct message_batch *batch)
{
    struct message_place *places = arena_array(plan->arena, batch->n, sizeof(*places));
    struct message_rows rows = {0};
    size_t n = 0;
    for (size_t i = 0; i < batch->n; i++) {
        if (batch->items[i].is_change) {
            places[n++] = (struct message_place){batch->items[i].conv, batch->items[i].seq};
        }
    }
    int err = n == 0 ? 0 : message_store_at(db, plan->arena, places, n, &rows);
    /* One that was asked for twice, or is known by its client_id too, is one row all the same. */
    for (size_t i = 0; i < rows.n; i++) {
        const struct message_row *row = &rows.at[i];
        uint64_t a, b;
        message_plan_key(row->conv, row->sender_id, row->client_id, &a, &b);
        struct message_row *known = map_get(&plan->known, a, b);
        map_put(&plan->targets, row->id, 0, known != NULL ? known : &rows.at[i]);
    }
    return err;
}

static int load_facts(struct message_writer *w, struct message_plan *plan, struct db *db,
                      const struct message_batch *batch)
{
    int err = load_known(plan, db, batch);
    if (err == 0) {
        err = load_members(plan, db, batch);
    }
    if (err == 0) {
        err = load_groups(plan, db, batch);
    }
    if (err == 0) {
        err = load_conversations(w, plan, db, batch);
    }
    if (err == 0) {
        err = load_replies(plan, db, batch);
    }
    if (err == 0) {
        err = load_targets(plan, db, batch);
    }
    return err;
}

/* ---- Writing ---- */

static struct message_item *read_items(struct message_writer *w, struct arena *arena,
                                       struct bus_record *const *records, size_t n)
{
    struct message_item *items = arena_array(arena, n, sizeof(*items));
    for (size_t i = 0; i < n; i++) {
        const struct bus_record *record = records[i];
        struct partition *p = find_partition(w, record->partition);
        items[i] = (struct message_item){
            .partition = record->partition,
            .offset = record->offset,
            .key = {record->key.a, record->key.b},
            .traceparent = record->traceparent,
            .request_id = record->request_id,
            .replay = record->offset < p->from,
        };
        if (record->offset >= p->next) {
            p->next = record->offset + 1;
        }
        message_plan_read(&items[i], arena, record->value, record->len);
    }
    return items;
}

/* The positions that this batch moves. */
static size_t list_positions(const struct message_writer *w, const struct message_batch *batch,
                             struct message_position *list)
{
    struct map seen;
    size_t n = 0;
    map_init(&seen);
    for (size_t i = 0; i < batch->n; i++) {
        const struct partition *p = find_partition(w, batch->items[i].partition);
        struct message_position position = {p->number, p->from, p->next};
        if (p->next != p->from) {
            add_once(&seen, (uint64_t)p->number, 1, list, &n, sizeof(position), &position);
        }
    }
    map_done(&seen);
    return n;
}

static size_t list_conversations(const struct message_plan *plan, struct message_conversation *list)
{
    struct map seen;
    size_t n = 0;
    map_init(&seen);
    for (size_t i = 0; i < plan->row_count + plan->changed_count; i++) {
        const struct message_row *row = i < plan->row_count ? plan->rows[i]
                                                            : plan->changed[i - plan->row_count];
        const struct message_conv conv = row->conv;
        add_once(&seen, conv.a, conv.b, list, &n, sizeof(*list),
                 map_get(&plan->conversations, conv.a, conv.b));
    }
    map_done(&seen);
    return n;
}

static int give_ids(struct message_writer *w, struct message_plan *plan, struct db *db)
{
    uint64_t *ids = arena_array(plan->arena, plan->row_count, sizeof(*ids));
    int err = message_ids_take(&w->ids, db, plan->arena, plan->row_count, ids);
    for (size_t i = 0; i < plan->row_count && err == 0; i++) {
        plan->rows[i]->id = ids[i];
    }
    return err;
}

/* Only after the commit: what is cached is what is stored. */
static void keep_caches(struct message_writer *w, const struct message_plan *plan,
                        const struct message_batch *batch)
{
    for (size_t i = 0; i < batch->n; i++) {
        const struct message_item *item = &batch->items[i];
        struct partition *p = find_partition(w, item->partition);
        p->from = p->next;
        if (asks_for_facts(item)) {
            const struct message_conversation *c =
                map_get(&plan->conversations, item->conv.a, item->conv.b);
            message_recent_put(
                p->conversations, c->conv.a, c->conv.b,
                (struct message_recent_value){c->last_seq, c->last_rev, c->updated_at});
        }
    }
}

static int write_plan(struct message_writer *w, struct message_plan *plan, struct db *db,
                      struct message_batch *batch)
{
    struct arena *arena = plan->arena;
    struct message_row *rows = arena_array(arena, plan->row_count, sizeof(*rows));
    struct message_row *changed = arena_array(arena, plan->changed_count, sizeof(*changed));
    struct message_position *positions = arena_array(arena, batch->n, sizeof(*positions));
    struct message_conversation *conversations =
        arena_array(arena, plan->row_count + plan->changed_count, sizeof(*conversations));
    int err = give_ids(w, plan, db);
    if (err != 0) {
        return err;
    }
    for (size_t i = 0; i < plan->row_count; i++) {
        rows[i] = *plan->rows[i];
    }
    for (size_t i = 0; i < plan->changed_count; i++) {
        changed[i] = *plan->changed[i];
    }
    struct message_write write = {
        .log_id = w->log_id,
        .positions = positions,
        .position_count = list_positions(w, batch, positions),
        .rows = rows,
        .row_count = plan->row_count,
        .changed = changed,
        .changed_count = plan->changed_count,
        .conversations = conversations,
        .conversation_count = list_conversations(plan, conversations),
        .started = plan->started,
        .started_count = plan->started_count,
        .members = plan->learnt,
        .member_count = plan->learnt_count,
        .now_ms = plan->now_ms,
    };
    batch->committed = write.position_count > 0;
    return batch->committed ? message_store_write(db, arena, &write) : 0;
}

static int run(struct message_writer *w, struct message_plan *plan, struct db *db,
               struct message_batch *batch)
{
    int err = load_facts(w, plan, db, batch);
    if (err != 0) {
        return err;
    }
    for (size_t i = 0; i < batch->n; i++) {
        message_plan_decide(plan, &batch->items[i]);
    }
    err = write_plan(w, plan, db, batch);
    if (err == 0) {
        keep_caches(w, plan, batch);
        batch->stored = plan->row_count;
    }
    return err;
}

int message_writer_run(struct message_writer *w, struct db *db, struct arena *arena,
                       struct bus_record *const *records, size_t n, struct message_batch *out)
{
    struct message_batch batch = {.n = n};
    struct message_plan plan;
    assert(n <= LIST_MAX);
    int err = load_positions(w, db, arena, records, n);
    if (err == 0) {
        batch.items = read_items(w, arena, records, n);
        message_plan_init(&plan, arena, n);
        plan.now_ms = clock_now_ms();
        plan.doubts = w->doubts;
        plan.users = w->users;
        err = run(w, &plan, db, &batch);
        message_plan_done(&plan);
    }
    if (err != 0) {
        for (size_t i = 0; i < n; i++) {
            message_writer_forget(w, records[i]->partition);
        }
        return err;
    }
    *out = batch;
    return 0;
}
