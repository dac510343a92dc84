// SPDX-License-Identifier: MIT
/*
 * The batches of chat.commands (architecture D2): from records to rows in one transaction, and a
 * plan of what to publish and answer. Knows neither the bus nor RPC: publish.c carries the plan
 * out. One writer per stream, on its batch thread.
 */
#pragma once

#include "message-svc/plan.h"

struct bus_record;
struct message_writer;

/* log_id: of the bus; doubts is borrowed and must live longer. */
struct message_writer *message_writer_new(const char *log_id, struct message_doubts *doubts);
void message_writer_free(struct message_writer *w); /* takes NULL */

struct message_batch { /* what one batch decided, in the order of its records */
    struct message_item *items;
    size_t n;
    size_t stored;
    bool committed; /* there was something to write */
};

/*
 * Decides about records (of any partitions, each in the order of its log) and commits. 0: all of
 * it is written, out says what remains to be told; strings are borrowed from arena and records.
 * An error: nothing is known to be written, nothing may be told; call again with the same records.
 * ERR_STALE and ERR_DUPLICATE: another writer was there. Blocking.
 */
int message_writer_run(struct message_writer *w, struct db *db, struct arena *arena,
                       struct bus_record *const *records, size_t n, struct message_batch *out)
    __attribute__((warn_unused_result));

/* The position of a partition, as far as the database says now. 0 when there is none yet. */
int message_writer_position(struct message_writer *w, struct db *db, struct arena *arena,
                            int32_t partition, int64_t *next_out)
    __attribute__((warn_unused_result));
/* The log is not kept across starts: deletes the positions of all others. */
int message_writer_forget_logs(struct message_writer *w, struct db *db)
    __attribute__((warn_unused_result));
/* Drops what is cached for a partition: it is another's, or may be. */
void message_writer_forget(struct message_writer *w, int32_t partition);
