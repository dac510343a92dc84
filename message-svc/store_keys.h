// SPDX-License-Identifier: MIT
/*
 * Rows by many keys of several columns, one index look-up each. For store*.c only.
 *
 * "(a, b) IN ((?,?), …)" will not do: MariaDB 10.11 works out its ranges in time that grows with
 * the square of their number (80 ms for 512 keys of the table member, 100 ms of message), and
 * SQLite uses only part of an index for it. A join with the list of keys takes about 2 µs a key on
 * MariaDB and 0.5 on SQLite, whatever the number.
 */
#pragma once

#include "common/db.h"

struct message_store_lookup {
    const char *columns; /* what to select */
    const char *table;   /* "message m" */
    const char *on;      /* "m.conv_a = k.c1 AND m.conv_b = k.c2": the keys are called k */
    size_t width;        /* columns of a key, at most 4: numbers, but for… */
    bool text_last;      /* …an ASCII text in the last column */
};

/* values: n keys. A key that was given twice gives its row twice. At most 1,024 keys. */
int message_store_find(struct db *db, struct arena *arena, const struct message_store_lookup *what,
                       const struct db_value *values, size_t n, struct db_rows *rows_out)
    __attribute__((warn_unused_result));
