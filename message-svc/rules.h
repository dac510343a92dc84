// SPDX-License-Identifier: MIT
/*
 * What a message may be, and the plain data that the other files share: conversations, texts,
 * refusals. Pure; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MESSAGE_CONTENT_MAX (16 * 1024)
#define MESSAGE_TYPE_MAX 16
#define MESSAGE_CLIENT_ID_MAX 64
#define MESSAGE_ID_END (1ULL << 53) /* ids are below, so that JavaScript reads them exactly */

/* Two users (smaller id, larger id; equal: to oneself), or (0, group id). */
struct message_conv {
    uint64_t a, b;
};
struct message_conv message_conv_private(uint64_t user, uint64_t other);
struct message_conv message_conv_group(uint64_t group);
bool message_conv_is_group(struct message_conv conv);
bool message_conv_equal(struct message_conv x, struct message_conv y);
/* Of a private conversation: the one who is not user (oneself: user). */
uint64_t message_conv_other(struct message_conv conv, uint64_t user);

struct message_text { /* bytes; borrowed */
    const char *p;
    size_t n;
};

/* Why a send is refused; the texts are literals. */
struct message_refusal {
    int err; /* a negative ERR_* */
    const char *detail;
    struct message_field_error {
        const char *field, *reason;
    } fields[6]; /* of ERR_INVALID */
    size_t field_count;
};

/* A send as its sender wrote it. */
struct message_draft {
    struct message_text content, type, client_id;
    uint64_t sender_id, receiver_id, group_id, reply_to;
};

/* True: well-formed. Otherwise why_out says all that is wrong; whether receiver, membership and
 * reply_to hold is not its matter. */
bool message_rules_check(const struct message_draft *draft, struct message_refusal *why_out);
bool message_rules_check_content(struct message_text content, struct message_refusal *why_out);
struct message_conv message_rules_conv(const struct message_draft *draft); /* of a checked one */

/* Of content, type and reply_to: a retry must have the same. Stored: never change it. It guards
 * against a client's mistake, not against an attacker: nobody but the sender can make two of
 * their own messages look alike. */
int64_t message_rules_digest(const struct message_draft *draft);

/* The refusals that several places give. */
enum message_no {
    MESSAGE_NO_MEMBER_PUBLIC,  /* not in the group, which everyone may see */
    MESSAGE_NO_MEMBER_PRIVATE, /* not in the group, or there is none */
    MESSAGE_NO_MUTED,
    MESSAGE_NO_RECEIVER,
    MESSAGE_NO_REPLY_TARGET,
    MESSAGE_NO_SAME_CLIENT_ID, /* known, but with another content, type or reply_to */
    MESSAGE_NO_MESSAGE,        /* not there, or not for this user */
    MESSAGE_NO_EDITOR,
    MESSAGE_NO_RECALLER,
    MESSAGE_NO_RECALLED, /* no edits of what was recalled */
    MESSAGE_NO_ANSWER,   /* whether it may be could not be found out */
    MESSAGE_NO_CALLER,
    MESSAGE_NO_COMMAND, /* not one that this version knows, or under a wrong key */
};
struct message_refusal message_rules_refusal(enum message_no no);
