// SPDX-License-Identifier: MIT
/*
 * What becomes of each record of a batch (architecture D2): the decisions, without a database.
 * writer.c gathers the facts, calls message_plan_decide for record after record, and writes.
 * Pure but for the table of doubts, which is asked; batch thread.
 */
#pragma once

#include "common/arena.h"
#include "common/map.h"
#include "message-svc/doubts.h"
#include "message-svc/members.h"
#include "message-svc/recent.h"
#include "message-svc/rules.h"
#include "message-svc/store.h"
#include "proto/message.pb-c.h"

enum message_outcome {
    MESSAGE_PASSED,   /* nothing to do: expired, or a replay of something that was not stored */
    MESSAGE_STORED,   /* a new row, or a changed one; its event is to be published */
    MESSAGE_REPLAYED, /* written before, its event is published again */
    MESSAGE_REPEATED, /* a client's retry, or a change that changes nothing: the stored message is
                       * answered */
    MESSAGE_REFUSED,
    MESSAGE_DOUBTED, /* passed over, to be asked about */
};

struct message_item { /* one record */
    /* Of the record: */
    int32_t partition;
    int64_t offset;
    struct message_conv key;
    const char *traceparent, *request_id; /* borrowed from the record */
    Chat__Command *command;               /* NULL: malformed */
    bool replay;                          /* before the partition's position */
    bool is_send;                         /* well-formed, from its conversation's partition */
    uint64_t user;                        /* who asks; 0: nobody */
    struct message_conv conv;
    struct message_draft draft; /* is_send: */
    int64_t digest;
    bool is_change;              /* well-formed; user, conv and what follows are set: */
    uint64_t message_id, seq;    /* of the message to be edited or recalled */
    struct message_text content; /* of an edit */
    /* The decision: */
    enum message_outcome outcome;
    struct message_row *row;        /* STORED, REPLAYED, REPEATED; as it is after this record */
    struct message_refusal refusal; /* REFUSED */
};

struct message_plan {
    struct arena *arena;
    int64_t now_ms;
    struct message_doubts *doubts;
    struct message_recent *users; /* known to exist; grows */
    /* Facts; values live in the arena. The plan adds to them as it decides. */
    struct map known;         /* message_plan_key: struct message_row */
    struct map members;       /* (group, user): struct message_member */
    struct map groups;        /* (group, 0): struct message_group; only where a no is likely */
    struct map conversations; /* conv: struct message_conversation; every new command has one */
    struct map targets;       /* (id, 0): struct message_row; of edits and recalls */
    struct map replies;       /* (id, 0): struct message_row, place only */
    struct map senders;       /* (sender, conversation): what this batch did to its order */
    /* What is to be written. Ids are still 0. */
    struct message_row **rows;
    size_t row_count;
    struct message_row **changed; /* rows of `targets`, each once */
    size_t changed_count;
    struct message_member *learnt; /* memberships from answers of group-svc */
    size_t learnt_count;
    struct message_conv *started; /* private conversations with their first message */
    size_t started_count;
};

/* For at most n records. */
void message_plan_init(struct message_plan *plan, struct arena *arena, size_t n);
void message_plan_done(struct message_plan *plan); /* the maps */

/* Keys of `known`: a keyed hash of 128 bits, taken for the thing itself. */
void message_plan_key(struct message_conv conv, uint64_t sender, struct message_text client_id,
                      uint64_t *a_out, uint64_t *b_out);

/* Reads a record's command into the item: sets command, and is_send or is_change with what belongs
 * to it; or, when it is nothing that could be decided about, the outcome. */
void message_plan_read(struct message_item *item, struct arena *arena, const void *value,
                       size_t len);
/* Decides about the next record; in the order of the log. */
void message_plan_decide(struct message_plan *plan, struct message_item *item);

/* For the parts of the plan: */
void message_plan_refuse(struct message_item *item, enum message_no no);
/* A new record whose asker still waits: only such ones change anything. */
bool message_plan_is_due(const struct message_plan *plan, const struct message_item *item);
