// SPDX-License-Identifier: MIT
/*
 * Messages and conversations in the database, as the writer and the readers need them. All of the
 * service's SQL is in store*.c. Blocking: batch and worker threads, each with its own connection.
 *
 * Errors are those of common/db.h. Results live in the arena; the order of rows is the database's
 * unless said, and an entry that was asked for twice may come twice.
 */
#pragma once

#include "common/arena.h"
#include "message-svc/rules.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct db;
struct message_member;

struct message_row {
    struct message_conv conv;
    uint64_t seq, id, sender_id;
    struct message_text client_id, type, content;
    int64_t digest;
    uint64_t reply_to;
    int64_t created_at, edited_at;
    bool recalled;
    uint64_t rev;
    int64_t command_offset;
    bool changed; /* of a target of edits and recalls: in this batch */
};
struct message_rows {
    struct message_row *at;
    size_t n;
};

struct message_client_key { /* unique; a client's name for its message */
    struct message_conv conv;
    uint64_t sender_id;
    struct message_text client_id;
};

struct message_place {
    struct message_conv conv;
    uint64_t seq;
};

struct message_conversation {
    struct message_conv conv;
    uint64_t last_seq, last_rev;
    int64_t updated_at;
};
struct message_conversations {
    struct message_conversation *at;
    size_t n;
};

struct message_position {
    int32_t partition;
    int64_t from; /* as it was read; -1: there is no row yet */
    int64_t next;
};
struct message_positions {
    struct message_position *at;
    size_t n;
};

/* ---- For the writer ---- */

/* All positions of a log (from and next are equal). */
int message_store_positions(struct db *db, struct arena *arena, const char *log_id,
                            struct message_positions *out) __attribute__((warn_unused_result));
/* Deletes the positions of all logs but this one: when the others are known to be gone. */
int message_store_forget_logs(struct db *db, const char *log_id)
    __attribute__((warn_unused_result));

/* At most 1,000 keys, here and below. */
int message_store_known(struct db *db, struct arena *arena, const struct message_client_key *keys,
                        size_t n, struct message_rows *out) __attribute__((warn_unused_result));
int message_store_conversations(struct db *db, struct arena *arena, const struct message_conv *keys,
                                size_t n, struct message_conversations *out)
    __attribute__((warn_unused_result));
/* Only conv, seq and id are filled in. */
int message_store_places(struct db *db, struct arena *arena, const uint64_t *ids, size_t n,
                         struct message_rows *out) __attribute__((warn_unused_result));

/* Takes `count` ids in a short transaction of its own; safe among instances. */
int message_store_take_ids(struct db *db, struct arena *arena, uint64_t count, uint64_t *first_out)
    __attribute__((warn_unused_result));

/* What one batch changes, in one transaction. */
struct message_write {
    const char *log_id;
    const struct message_position *positions; /* moved from `from` to `next` */
    size_t position_count;
    const struct message_row *rows;
    size_t row_count;
    const struct message_row *changed; /* content, edited_at, recalled, rev */
    size_t changed_count;
    const struct message_conversation *conversations; /* as they are afterwards */
    size_t conversation_count;
    const struct message_conv *started; /* private ones that get their first message */
    size_t started_count;
    const struct message_member *members; /* memberships learnt from group-svc */
    size_t member_count;
    int64_t now_ms;
};
/* ERR_STALE also when a position is not where it was read: another writer is there. On any error
 * nothing is written, but after ERR_UNAVAILABLE it may be, as a whole: read the positions. */
int message_store_write(struct db *db, struct arena *arena, const struct message_write *write)
    __attribute__((warn_unused_result));

/* ---- For readers ---- */

/* The last message of a conversation below seq `end` that is older than before_ms; 0: none. Walks
 * backwards from there. */
int message_store_seq_before(struct db *db, struct arena *arena, struct message_conv conv,
                             int64_t before_ms, uint64_t end, uint64_t *seq_out)
    __attribute__((warn_unused_result));
/* Messages lo..hi of a conversation, ascending, or the other way round; at most limit. */
int message_store_range(struct db *db, struct arena *arena, struct message_conv conv, uint64_t lo,
                        uint64_t hi, size_t limit, bool descending, struct message_rows *out)
    __attribute__((warn_unused_result));
/* The messages at these places; at most 1,000. */
int message_store_at(struct db *db, struct arena *arena, const struct message_place *places,
                     size_t n, struct message_rows *out) __attribute__((warn_unused_result));
/* The seqs from lo to hi of the messages whose last change is after rev, ascending; of those that
 * changed first, at most limit. */
int message_store_changed(struct db *db, struct arena *arena, struct message_conv conv,
                          uint64_t rev, uint64_t lo, uint64_t hi, size_t limit, uint64_t **seqs_out,
                          size_t *n_out) __attribute__((warn_unused_result));
/* out->n is 0 or 1. */
int message_store_by_id(struct db *db, struct arena *arena, uint64_t id, struct message_rows *out)
    __attribute__((warn_unused_result));
