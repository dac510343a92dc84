// SPDX-License-Identifier: MIT
/*
 * Rows of the table message, for the files that select them. Not for others.
 */
#pragma once

#include "message-svc/store.h"

struct db_rows;

/* In the order that message_store_read_rows expects; the table is called m. */
#define MESSAGE_COLUMNS                                                                            \
    "m.conv_a, m.conv_b, m.seq, m.id, m.sender_id, m.client_id, m.type, m.content, m.digest, "     \
    "m.reply_to, m.created_at, m.edited_at, m.recalled, m.rev, m.command_offset"

void message_store_read_rows(struct arena *arena, const struct db_rows *rows,
                             struct message_rows *out);
