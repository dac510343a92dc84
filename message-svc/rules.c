// SPDX-License-Identifier: MIT
/*
 * The rules of api.md for messages. No state, no I/O.
 */
#include "message-svc/rules.h"

#include "common/err.h"
#include "common/map.h"
#include "common/text.h"

#include <assert.h>
#include <string.h>

/* ---- Conversations ---- */

struct message_conv message_conv_private(uint64_t user, uint64_t other)
{
    return user < other ? (struct message_conv){user, other} : (struct message_conv){other, user};
}

struct message_conv message_conv_group(uint64_t group)
{
    return (struct message_conv){0, group};
}

bool message_conv_is_group(struct message_conv conv)
{
    return conv.a == 0;
}

bool message_conv_equal(struct message_conv x, struct message_conv y)
{
    return x.a == y.a && x.b == y.b;
}

uint64_t message_conv_other(struct message_conv conv, uint64_t user)
{
    return conv.a == user ? conv.b : conv.a;
}

/* ---- Refusals ---- */

static void add_field(struct message_refusal *why, const char *field, const char *reason)
{
    assert(why->field_count < sizeof(why->fields) / sizeof(why->fields[0]));
    why->err = ERR_INVALID;
    why->detail = "the message is not valid";
    why->fields[why->field_count++] = (struct message_field_error){field, reason};
}

struct message_refusal message_rules_refusal(enum message_no no)
{
    static const struct {
        int err;
        const char *detail, *field;
    } rows[] = {
        [MESSAGE_NO_MEMBER_PUBLIC] = {ERR_FORBIDDEN, "only members may do this", NULL},
        [MESSAGE_NO_MEMBER_PRIVATE] = {ERR_NOT_FOUND, "there is no such group", NULL},
        [MESSAGE_NO_MUTED] = {ERR_FORBIDDEN, "you are muted in this group", NULL},
        [MESSAGE_NO_RECEIVER] = {ERR_INVALID, "is no user", "receiver_id"},
        [MESSAGE_NO_REPLY_TARGET] = {ERR_INVALID, "is no message of this conversation", "reply_to"},
        [MESSAGE_NO_SAME_CLIENT_ID] = {ERR_INVALID, "was used for another message", "client_id"},
        [MESSAGE_NO_MESSAGE] = {ERR_NOT_FOUND, "there is no such message", NULL},
        [MESSAGE_NO_EDITOR] = {ERR_FORBIDDEN, "only its sender may edit a message", NULL},
        [MESSAGE_NO_RECALLER] = {ERR_FORBIDDEN,
                                 "only its sender, or an admin of the group, may recall a message",
                                 NULL},
        [MESSAGE_NO_RECALLED] = {ERR_CONFLICT, "the message was recalled", NULL},
        [MESSAGE_NO_ANSWER] = {ERR_UNAVAILABLE, "this cannot be checked at the moment", NULL},
        [MESSAGE_NO_CALLER] = {ERR_UNAUTHENTICATED, "nobody is logged in", NULL},
        [MESSAGE_NO_COMMAND] = {ERR_INTERNAL, "the command is not understood", NULL},
    };
    struct message_refusal why = {.err = rows[no].err, .detail = rows[no].detail};
    if (rows[no].field != NULL) {
        add_field(&why, rows[no].field, rows[no].detail);
    }
    return why;
}

/* ---- A send ---- */

static bool is_type(struct message_text type)
{
    if (type.n == 0 || type.n > MESSAGE_TYPE_MAX) {
        return false;
    }
    for (size_t i = 0; i < type.n; i++) {
        char c = type.p[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) {
            return false;
        }
    }
    return true;
}

static bool is_client_id(struct message_text id)
{
    if (id.n == 0 || id.n > MESSAGE_CLIENT_ID_MAX) {
        return false;
    }
    for (size_t i = 0; i < id.n; i++) {
        if (id.p[i] < '!' || id.p[i] > '~') {
            return false;
        }
    }
    return true;
}

static void check_target(const struct message_draft *draft, struct message_refusal *why)
{
    if ((draft->receiver_id == 0) == (draft->group_id == 0)) {
        add_field(why, "receiver_id", "or group_id must be given, and not both");
    } else if (draft->receiver_id >= MESSAGE_ID_END) {
        add_field(why, "receiver_id", "is no user");
    } else if (draft->group_id >= MESSAGE_ID_END) {
        add_field(why, "group_id", "is no group");
    }
}

/* False: so long that nothing else is worth saying. */
static bool check_content(struct message_text content, struct message_refusal *why)
{
    if (content.n > MESSAGE_CONTENT_MAX) {
        *why = (struct message_refusal){.err = ERR_TOO_LARGE,
                                        .detail = "the content is longer than 16 KiB"};
        return false;
    }
    if (content.n == 0) {
        add_field(why, "content", "must not be empty");
    } else if (!text_is_valid(content.p, content.n, TEXT_ANY_BUT_NUL, NULL)) {
        add_field(why, "content", "must be UTF-8 without U+0000");
    }
    return true;
}

bool message_rules_check_content(struct message_text content, struct message_refusal *why_out)
{
    struct message_refusal why = {0};
    bool good = check_content(content, &why) && why.field_count == 0;
    if (!good) {
        *why_out = why;
    }
    return good;
}

bool message_rules_check(const struct message_draft *draft, struct message_refusal *why_out)
{
    struct message_refusal why = {0};
    if (draft->sender_id == 0 || draft->sender_id >= MESSAGE_ID_END) {
        *why_out = message_rules_refusal(MESSAGE_NO_CALLER);
        return false;
    }
    if (!check_content(draft->content, &why)) {
        *why_out = why;
        return false;
    }
    if (!is_type(draft->type)) {
        add_field(&why, "type", "must be 1 to 16 of a-z, 0-9 and _");
    } else if (draft->type.n == 6 && memcmp(draft->type.p, "system", 6) == 0) {
        add_field(&why, "type", "is the server's own");
    }
    if (!is_client_id(draft->client_id)) {
        add_field(&why, "client_id", "must be 1 to 64 of the ASCII characters ! to ~");
    }
    if (draft->reply_to >= MESSAGE_ID_END) {
        add_field(&why, "reply_to", "is no message of this conversation");
    }
    check_target(draft, &why);
    if (why.field_count > 0) {
        *why_out = why;
    }
    return why.field_count == 0;
}

struct message_conv message_rules_conv(const struct message_draft *draft)
{
    return draft->group_id != 0 ? message_conv_group(draft->group_id)
                                : message_conv_private(draft->sender_id, draft->receiver_id);
}

/* ---- Digest ---- */

/* Eight bytes at a time, little-endian whatever the machine; the length closes the text. */
static uint64_t mix_text(uint64_t hash, struct message_text text)
{
    for (size_t i = 0; i < text.n; i += 8) {
        uint64_t word = 0;
        for (size_t k = 0; k < 8 && i + k < text.n; k++) {
            word |= (uint64_t)(unsigned char)text.p[i + k] << (8 * k);
        }
        hash = map_hash_stable(hash, word);
    }
    return map_hash_stable(hash, text.n);
}

int64_t message_rules_digest(const struct message_draft *draft)
{
    uint64_t hash = map_hash_stable(0, draft->reply_to);
    hash = mix_text(hash, draft->type);
    return (int64_t)mix_text(hash, draft->content);
}
