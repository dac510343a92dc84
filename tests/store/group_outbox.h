// SPDX-License-Identifier: MIT
/*
 * What group-svc told, as its outbox has it.
 */
#pragma once

#include "tests/store/group_test.h"

#include "common/pb.h"
#include "proto/group.pb-c.h"

struct told {
    uint64_t key_a, key_b, partition_a;
    Chat__GroupEvent *event;
};

static inline size_t read_outbox(struct client *c, struct told **told_out)
{
    struct db_rows rows = {0};

    CHECK_INT(db_query(c->db, c->arena,
                       "SELECT topic, key_a, key_b, partition_a, value FROM outbox ORDER BY id",
                       NULL, 0, &rows),
              0);
    *told_out = arena_array(c->arena, rows.count, sizeof(**told_out));
    for (size_t i = 0; i < rows.count; i++) {
        struct told *t = &(*told_out)[i];
        const struct db_value *value = db_at(&rows, i, 4);
        CHECK_INT(db_at(&rows, i, 0)->i, TOPIC_EVENTS_GROUP);
        t->key_a = (uint64_t)db_at(&rows, i, 1)->i;
        t->key_b = (uint64_t)db_at(&rows, i, 2)->i;
        t->partition_a = (uint64_t)db_at(&rows, i, 3)->i;
        t->event = pb_unpack(&chat__group_event__descriptor, c->arena, value->p, value->n);
        if (!CHECK(t->event != NULL)) {
            exit(EXIT_FAILURE);
        }
    }
    return rows.count;
}
