// SPDX-License-Identifier: MIT
/*
 * Records that the writer could not decide by what it knows (architecture D7): a sender who is not
 * in the copy of the memberships, a receiver nobody has written to. The writer passes them over;
 * here they wait until the owner of the truth has been asked. On a yes they are appended to
 * chat.commands again, marked as checked; on a no, or no answer, they are refused.
 *
 * While a record of a sender waits here, or has been appended and not come by again, later records
 * of the same sender in the same conversation go the same way, so that they keep their order.
 *
 * This file holds the table; who asks, sends and replies are the three functions of the wire
 * (questions.c). Any thread: one lock, held while the wire's functions run, which therefore do not
 * call back.
 */
#pragma once

#include "message-svc/members.h"
#include "message-svc/rules.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_DOUBTS_MAX 2000                 /* records waiting or on their way */
#define MESSAGE_DOUBTS_BYTES (16 * 1024 * 1024) /* the same */
#define MESSAGE_DOUBTS_NO_MS 1000               /* how long a "no" is believed */
#define MESSAGE_DOUBTS_LOST_MS 10000            /* appended, but never seen again */

struct message_doubts;

struct message_held { /* a record that waits; for the wire */
    uint64_t user;    /* the sender */
    struct message_conv conv;
    int32_t partition;
    uint64_t call_id;
    const char *reply_to, *traceparent, *request_id;
    const uint8_t *value; /* the Command with checked set, packed */
    size_t len;
};

struct message_doubts_wire {
    /* Takes the record over on 0; message_doubts_appended must follow, later. */
    int (*append)(void *arg, struct message_held *held);
    void (*refuse)(void *arg, const struct message_held *held, const struct message_refusal *why);
    void *arg;
};
struct message_doubts *message_doubts_new(const struct message_doubts_wire *wire);
void message_doubts_free(struct message_doubts *d); /* takes NULL; what waits is dropped */

/* ---- Batch thread ---- */

enum message_doubt_state { MESSAGE_DOUBT_NONE, MESSAGE_DOUBT_OPEN, MESSAGE_DOUBT_NO };
struct message_doubt {
    enum message_doubt_state state;
    bool asking;        /* OPEN: no answer yet */
    size_t under_way;   /* OPEN: appended again and not seen yet */
    enum message_no no; /* NO: why */
    bool has_fact;      /* OPEN and answered, in a group: the membership */
    struct message_fact fact;
};
struct message_doubt message_doubts_find(struct message_doubts *d, uint64_t user,
                                         struct message_conv conv);
/* Keeps a copy of the record (held and all it points to). After the commit only.
 * ERR_UNAVAILABLE: too many wait, refuse it. */
int message_doubts_hold(struct message_doubts *d, const struct message_held *held)
    __attribute__((warn_unused_result));
/* A checked record of this sender has come by, whatever became of it; as a replay too, since it may
 * be one that was written without this instance knowing so. Counted once, in the order of the log.
 */
void message_doubts_seen(struct message_doubts *d, uint64_t user, struct message_conv conv,
                         int32_t partition, int64_t offset);
/* The partition is another's now: refuses what waits, forgets what is under way. */
void message_doubts_revoke(struct message_doubts *d, int32_t partition);

/* ---- Questions and answers ---- */

struct message_doubt_key {
    uint64_t user;
    struct message_conv conv;
};
/* Those that have not been asked about, groups or private ones; they count as asked now. */
size_t message_doubts_take(struct message_doubts *d, bool groups, struct message_doubt_key *keys,
                           size_t max);
enum message_answer {
    MESSAGE_ANSWER_YES,
    MESSAGE_ANSWER_NO,        /* and may not know that the group exists */
    MESSAGE_ANSWER_NO_PUBLIC, /* a group that shows itself */
    MESSAGE_ANSWER_MUTED,
    MESSAGE_ANSWER_NONE
};
/* fact: with a yes in a group, else NULL. */
void message_doubts_answer(struct message_doubts *d, struct message_doubt_key key,
                           enum message_answer answer, const struct message_fact *fact);
/* The bus has an appended record, or (err) has given it up. Frees it. */
void message_doubts_appended(struct message_doubts *d, struct message_held *held, int err);
/* Remembers a "no" that was found out otherwise. */
void message_doubts_remember(struct message_doubts *d, uint64_t user, struct message_conv conv,
                             enum message_no no);

/* ---- Upkeep ---- */

void message_doubts_tick(struct message_doubts *d);  /* once a second */
void message_doubts_close(struct message_doubts *d); /* refuses all, and all that comes */
size_t message_doubts_count(struct message_doubts *d);
