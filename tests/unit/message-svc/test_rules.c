// SPDX-License-Identifier: MIT
#include "message-svc/rules.h"

#include "common/err.h"
#include "tests/unit/test.h"

#define TEXT(literal)                                                                              \
    {                                                                                              \
        literal, sizeof(literal) - 1                                                               \
    }

static const struct message_draft good = {.content = TEXT("hello"),
                                          .type = TEXT("text"),
                                          .client_id = TEXT("c-1"),
                                          .sender_id = 1,
                                          .receiver_id = 2};

static int check(struct message_draft draft, const char **field_out)
{
    struct message_refusal why = {0};
    bool ok = message_rules_check(&draft, &why);
    *field_out = why.field_count > 0 ? why.fields[0].field : "";
    return ok ? 0 : why.err;
}

TEST(content)
{
    static char large[MESSAGE_CONTENT_MAX + 1];
    static const struct {
        struct message_text content;
        int err;
    } rows[] = {
        {TEXT("a"), 0},
        {TEXT(""), ERR_INVALID},
        {TEXT("a\0b"), ERR_INVALID},
        {TEXT("line\nand\ttab\x01"), 0}, /* controls are the client's matter */
        {TEXT("\xf0\x9f\x98\x80"), 0},
        {TEXT("\xff"), ERR_INVALID},
        {TEXT("\xed\xa0\x80"), ERR_INVALID}, /* a surrogate */
        {TEXT("\xc0\xaf"), ERR_INVALID},     /* overlong */
        {TEXT("\xc3"), ERR_INVALID},         /* cut */
        {{large, MESSAGE_CONTENT_MAX}, 0},
        {{large, MESSAGE_CONTENT_MAX + 1}, ERR_TOO_LARGE},
    };
    memset(large, 'x', sizeof(large));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct message_draft draft = good;
        const char *field;
        draft.content = rows[i].content;
        CHECK_INT(check(draft, &field), rows[i].err);
        CHECK_STR(field, rows[i].err == ERR_INVALID ? "content" : "");
    }
}

TEST(type)
{
    static const struct {
        struct message_text type;
        int err;
    } rows[] = {
        {TEXT("text"), 0},
        {TEXT("a_1"), 0},
        {TEXT("abcdefghijklmnop"), 0},
        {TEXT("abcdefghijklmnopq"), ERR_INVALID},
        {TEXT(""), ERR_INVALID},
        {TEXT("Text"), ERR_INVALID},
        {TEXT("a-b"), ERR_INVALID},
        {TEXT("te\0t"), ERR_INVALID},
        {TEXT("system"), ERR_INVALID},
        {TEXT("systems"), 0},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct message_draft draft = good;
        const char *field;
        draft.type = rows[i].type;
        CHECK_INT(check(draft, &field), rows[i].err);
        CHECK_STR(field, rows[i].err != 0 ? "type" : "");
    }
}

TEST(client_id)
{
    static char long_id[MESSAGE_CLIENT_ID_MAX + 1];
    static const struct {
        struct message_text id;
        int err;
    } rows[] = {
        {TEXT("!~"), 0},
        {TEXT(""), ERR_INVALID},
        {TEXT("a b"), ERR_INVALID},
        {TEXT("a\x7f"), ERR_INVALID},
        {TEXT("\xc3\xa9"), ERR_INVALID},
        {{long_id, MESSAGE_CLIENT_ID_MAX}, 0},
        {{long_id, MESSAGE_CLIENT_ID_MAX + 1}, ERR_INVALID},
    };
    memset(long_id, 'x', sizeof(long_id));
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct message_draft draft = good;
        const char *field;
        draft.client_id = rows[i].id;
        CHECK_INT(check(draft, &field), rows[i].err);
        CHECK_STR(field, rows[i].err != 0 ? "client_id" : "");
    }
}

TEST(target)
{
    static const struct {
        uint64_t sender, receiver, group, reply_to;
        int err;
        const char *field;
    } rows[] = {
        {1, 2, 0, 0, 0, ""},
        {1, 1, 0, 0, 0, ""}, /* to oneself */
        {1, 0, 3, 0, 0, ""},
        {1, 0, 0, 0, ERR_INVALID, "receiver_id"},
        {1, 2, 3, 0, ERR_INVALID, "receiver_id"},
        {1, MESSAGE_ID_END, 0, 0, ERR_INVALID, "receiver_id"},
        {1, 0, MESSAGE_ID_END, 0, ERR_INVALID, "group_id"},
        {1, MESSAGE_ID_END - 1, 0, 0, 0, ""},
        {1, 2, 0, UINT64_MAX, ERR_INVALID, "reply_to"},
        {0, 2, 0, 0, ERR_UNAUTHENTICATED, ""},
        {MESSAGE_ID_END, 2, 0, 0, ERR_UNAUTHENTICATED, ""},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct message_draft draft = good;
        const char *field;
        draft.sender_id = rows[i].sender;
        draft.receiver_id = rows[i].receiver;
        draft.group_id = rows[i].group;
        draft.reply_to = rows[i].reply_to;
        CHECK_INT(check(draft, &field), rows[i].err);
        CHECK_STR(field, rows[i].field);
    }
}

TEST(all_that_is_wrong_is_told)
{
    struct message_draft draft = {.sender_id = 1, .reply_to = UINT64_MAX};
    struct message_refusal why;
    CHECK(!message_rules_check(&draft, &why));
    CHECK_INT(why.field_count, 5);
    CHECK_INT(why.err, ERR_INVALID);
}

TEST(conversations)
{
    struct message_conv conv = message_conv_private(9, 3);
    CHECK(conv.a == 3 && conv.b == 9 && !message_conv_is_group(conv));
    CHECK_INT(message_conv_other(conv, 9), 3);
    CHECK_INT(message_conv_other(conv, 3), 9);
    CHECK_INT(message_conv_other(message_conv_private(4, 4), 4), 4);
    CHECK(message_conv_is_group(message_conv_group(7)));
    CHECK(message_conv_equal(conv, message_conv_private(3, 9)));
    CHECK(!message_conv_equal(conv, message_conv_group(9)));
}

TEST(digest_sees_every_part)
{
    struct message_draft draft = good;
    int64_t digest = message_rules_digest(&draft);
    CHECK_INT(digest, 2669266445297780624LL); /* stored: it must never change */
    draft.client_id = (struct message_text)TEXT("other");
    draft.receiver_id = 7;
    CHECK_INT(message_rules_digest(&draft), digest);
    draft.reply_to = 1;
    CHECK(message_rules_digest(&draft) != digest);
    draft = good;
    draft.content = (struct message_text)TEXT("hellp");
    CHECK(message_rules_digest(&draft) != digest);
    draft.content = (struct message_text)TEXT("hello\0\0\0");
    CHECK(message_rules_digest(&draft) != digest);
    draft = good;
    draft.type = (struct message_text)TEXT("texthell");
    draft.content = (struct message_text)TEXT("o");
    CHECK(message_rules_digest(&draft) != digest);
}

TEST(refusals_have_errors)
{
    for (int no = MESSAGE_NO_MEMBER_PUBLIC; no <= MESSAGE_NO_COMMAND; no++) {
        struct message_refusal why = message_rules_refusal((enum message_no)no);
        CHECK(why.err < 0 && why.detail != NULL);
        CHECK((why.err == ERR_INVALID) == (why.field_count == 1));
    }
}
