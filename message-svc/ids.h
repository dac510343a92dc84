// SPDX-License-Identifier: MIT
/*
 * Message ids (architecture D4): unique numbers below 2^53, taken from one counter row in blocks
 * of 1,000. What is left of a block at the end is never used. One thread at a time.
 */
#pragma once

#include "common/arena.h"

#include <stddef.h>
#include <stdint.h>

#define MESSAGE_IDS_BLOCK 1000

struct db;

struct message_ids {
    uint64_t next, end; /* what is left of the block; both 0 at the start */
};

/* n ids into ids_out. May run a transaction of its own: not inside of one. Errors as db_exec;
 * ERR_INTERNAL: the numbers are used up. */
int message_ids_take(struct message_ids *ids, struct db *db, struct arena *arena, size_t n,
                     uint64_t *ids_out) __attribute__((warn_unused_result));
