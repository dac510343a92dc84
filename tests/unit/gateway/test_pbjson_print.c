// SPDX-License-Identifier: MIT
/* pbjson: printing by the conventions of proto/README.md, and that all messages keep to them. */
#include "tests/unit/test.h"

#include "common/err.h"
#include "common/pb.h"
#include "gateway/pbjson.h"
#include "proto/auth.pb-c.h"
#include "proto/group.pb-c.h"
#include "proto/message.pb-c.h"
#include "proto/presence.pb-c.h"

static void check_print(const void *message, const char *text)
{
    struct buf b;
    buf_init(&b);
    buf_add_str(&b, "> "); /* printed at the end of what is there */
    pbjson_print(message, &b);
    CHECK_STR(b.data + 2, text);
    buf_done(&b);
}

static void check_string(const char *s, size_t len, const char *text)
{
    struct buf b;
    buf_init(&b);
    pbjson_print_string(&b, s, len);
    CHECK_STR(b.data, text);
    buf_done(&b);
}
#define T(literal) (literal), sizeof(literal) - 1

TEST(strings)
{
    check_string(NULL, 0, "\"\"");
    check_string(T("plain \x7f/"), "\"plain \x7f/\"");
    check_string(T("\"\\\b\f\n\r\t"), "\"\\\"\\\\\\b\\f\\n\\r\\t\"");
    check_string(T("\0\x01\x1f!"), "\"\\u0000\\u0001\\u001f!\"");
    check_string(T("gr\xc3\xbc\xc3\x9f \xe4\xbd\xa0 \xf0\x9f\x98\x80"),
                 "\"gr\xc3\xbc\xc3\x9f \xe4\xbd\xa0 \xf0\x9f\x98\x80\"");
    check_string(T("\xf4\x8f\xbf\xbf\xef\xbf\xbf"), "\"\xf4\x8f\xbf\xbf\xef\xbf\xbf\"");
#define FFFD "\xef\xbf\xbd"
    check_string(T("a\xff\xfe"
                   "b"),
                 "\"a" FFFD FFFD "b\"");
    check_string(T("cut \xe4\xbd"), "\"cut " FFFD FFFD "\"");
    check_string(T("\xc0\x80"), "\"" FFFD FFFD "\"");
    check_string(T("\xed\xa0\x80"), "\"" FFFD FFFD FFFD "\""); /* a surrogate */
    check_string(T("\xf4\x90\x80\x80"), "\"" FFFD FFFD FFFD FFFD "\"");
    check_string(T("\xe4"
                   "A\x80\xc3\xbc"),
                 "\"" FFFD "A" FFFD "\xc3\xbc\"");
    check_string(T("\xf8\x88\x80\x80\x80"), "\"" FFFD FFFD FFFD FFFD FFFD "\"");
    check_string(T("\xc3\""), "\"" FFFD "\\\"\"");
}

TEST(user)
{
    Chat__User user = CHAT__USER__INIT;
    user.id = 9007199254740991;
    user.username = pb_str("alice");
    user.online = true;
    user.created_at = 1769860800123;
    user.updated_at = -1;
    user.version = 5; /* hidden: numbered from 100 */
    check_print(&user, "{\"id\":9007199254740991,\"username\":\"alice\",\"nickname\":\"\","
                       "\"avatar\":\"\",\"bio\":\"\",\"online\":true,\"last_seen_at\":null,"
                       "\"created_at\":\"2026-01-31T12:00:00.123Z\","
                       "\"updated_at\":\"1969-12-31T23:59:59.999Z\"}");
    Chat__User own = CHAT__USER__INIT;
    own.email_shown_case = CHAT__USER__EMAIL_SHOWN_EMAIL;
    check_print(&own, "{\"id\":0,\"username\":\"\",\"nickname\":\"\",\"avatar\":\"\",\"bio\":\"\","
                      "\"online\":false,\"last_seen_at\":null,\"created_at\":null,"
                      "\"updated_at\":null,\"email\":\"\"}");
}

TEST(message)
{
    Chat__Sender sender = CHAT__SENDER__INIT;
    Chat__Message message = CHAT__MESSAGE__INIT;
    message.id = UINT64_MAX;
    message.content = pb_str("\"hi\"\n");
    check_print(&message, "{\"id\":18446744073709551615,\"seq\":0,\"content\":\"\\\"hi\\\"\\n\","
                          "\"type\":\"\",\"sender_id\":0,\"sender\":null,\"receiver_id\":0,"
                          "\"group_id\":0,\"client_id\":\"\",\"reply_to\":0,\"created_at\":null,"
                          "\"edited_at\":null,\"recalled\":false,\"rev\":0}");
    Chat__SendReply reply = CHAT__SEND_REPLY__INIT;
    Chat__MessageReply got = CHAT__MESSAGE_REPLY__INIT;
    message = (Chat__Message)CHAT__MESSAGE__INIT;
    message.sender = &sender;
    got.message = &message;
    reply.msg_id = 3;
    reply.repeated_send = true; /* hidden */
    check_print(&reply, "{\"message\":null,\"msg_id\":3}");
    check_print(&got, "{\"message\":{\"id\":0,\"seq\":0,\"content\":\"\",\"type\":\"\","
                      "\"sender_id\":0,\"sender\":{\"id\":0,\"username\":\"\",\"nickname\":\"\","
                      "\"avatar\":\"\",\"online\":false},\"receiver_id\":0,\"group_id\":0,"
                      "\"client_id\":\"\",\"reply_to\":0,\"created_at\":null,\"edited_at\":null,"
                      "\"recalled\":false,\"rev\":0}}");
}

TEST(group_with_and_without_members)
{
    Chat__Group group = CHAT__GROUP__INIT;
    Chat__Member one = CHAT__MEMBER__INIT, two = CHAT__MEMBER__INIT;
    Chat__Member *members[] = {&one, &two};
    static const char head[] = "{\"id\":0,\"name\":\"\",\"description\":\"\",\"avatar\":\"\","
                               "\"visibility\":\"private\",\"owner_id\":0,\"creator_id\":0,"
                               "\"member_count\":4294967295,\"my_role\":null,\"created_at\":null,"
                               "\"updated_at\":null";
    char text[1024];
    group.member_count = UINT32_MAX;
    group.version = 1;
    snprintf(text, sizeof(text), "%s}", head);
    check_print(&group, text);
    one.role = CHAT__ROLE__TYPE__OWNER;
    two.role = (Chat__Role__Type)99; /* of a daemon that is newer */
    group.members = members;
    group.n_members = 2;
    snprintf(text, sizeof(text),
             "%s,\"members\":[{\"user\":null,\"role\":\"owner\",\"muted_until\":null,"
             "\"joined_at\":null},{\"user\":null,\"role\":null,\"muted_until\":null,"
             "\"joined_at\":null}]}",
             head);
    check_print(&group, text);
}

TEST(lists_and_cursors)
{
    Chat__UserList users = CHAT__USER_LIST__INIT;
    Chat__OnlineList online = CHAT__ONLINE_LIST__INIT;
    Chat__Profiles profiles = CHAT__PROFILES__INIT;
    Chat__ListUsersRequest request = CHAT__LIST_USERS_REQUEST__INIT;
    uint64_t ids[] = {1, UINT64_MAX};
    check_print(&users, "{\"users\":[],\"next_cursor\":null}");
    users.next_cursor = pb_str("abc");
    check_print(&users, "{\"users\":[],\"next_cursor\":\"abc\"}");
    check_print(&online, "{\"users\":[],\"next_cursor\":null}");
    online.next_cursor = 7;
    check_print(&online, "{\"users\":[],\"next_cursor\":7}");
    check_print(&profiles, "{\"users\":[]}"); /* left_out_ids is numbered from 50 */
    profiles.left_out_ids = ids;
    profiles.n_left_out_ids = 2;
    check_print(&profiles, "{\"users\":[],\"left_out_ids\":[1,18446744073709551615]}");
    request.limit = INT64_MIN;
    check_print(&request, "{\"q\":\"\",\"limit\":-9223372036854775808,\"cursor\":\"\"}");
}

TEST(nothing_at_all)
{
    Chat__Empty empty = CHAT__EMPTY__INIT;
    Chat__PresenceEvent event = CHAT__PRESENCE_EVENT__INIT;
    check_print(&empty, "{}");
    check_print(&event, "{}"); /* one oneof, not set */
}

/* ---- All messages ---- */

static struct pbjson_problem problem;

/* What is printed is JSON, fills the same message, and prints the same again. */
static void check_round_trip(const ProtobufCMessageDescriptor *type)
{
    struct arena *arena = arena_new(0);
    struct pbjson_doc *doc = NULL;
    struct buf first, second;
    buf_init(&first);
    buf_init(&second);
    pbjson_print(pb_new(type, arena), &first);
    void *message = pb_new(type, arena);
    CHECK_INT(pbjson_parse(first.data, first.len, arena, &doc, &problem), 0);
    if (doc != NULL && CHECK_INT(pbjson_fill(doc, message, arena, &problem), 0)) {
        pbjson_print(message, &second);
        CHECK_STR(second.data, first.data);
    }
    pbjson_free(doc);
    buf_done(&first);
    buf_done(&second);
    arena_free(arena);
}

static bool supported(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_BOOL:
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_ENUM:
    case PROTOBUF_C_TYPE_MESSAGE:
        return true;
    default:
        return false;
    }
}

static bool ends_with(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n > m && strcmp(s + n - m, end) == 0;
}

static void check_conventions(const ProtobufCMessageDescriptor *type, unsigned depth)
{
    if (!CHECK(depth < 8)) { /* recursive messages: protobuf-c would recurse without a bound */
        printf("%s\n", type->name);
        return;
    }
    check_round_trip(type);
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        bool time = ends_with(field->name, "_at") || ends_with(field->name, "_until");
        if (!CHECK(supported(field->type)) ||
            !CHECK(!time || field->type == PROTOBUF_C_TYPE_INT64) ||
            !CHECK(strspn(field->name, "abcdefghijklmnopqrstuvwxyz_") == strlen(field->name))) {
            printf("%s.%s\n", type->name, field->name);
        }
        if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
            check_conventions(field->descriptor, depth + 1);
        }
    }
}

TEST(every_message_keeps_the_conventions)
{
    static const ProtobufCServiceDescriptor *const services[] = {
        &chat__auth__descriptor, &chat__messages__descriptor, &chat__groups__descriptor,
        &chat__presence__descriptor};
    static const ProtobufCMessageDescriptor *const others[] = {
        &chat__command__descriptor,        &chat__send_reply__descriptor,
        &chat__message_event__descriptor,  &chat__signal__descriptor,
        &chat__session_ended__descriptor,  &chat__user_event__descriptor,
        &chat__group_event__descriptor,    &chat__presence_report__descriptor,
        &chat__presence_event__descriptor, &chat__request__descriptor,
        &chat__reply__descriptor,
    };
    for (size_t i = 0; i < sizeof(services) / sizeof(services[0]); i++) {
        for (unsigned m = 0; m < services[i]->n_methods; m++) {
            check_conventions(services[i]->methods[m].input, 0);
            check_conventions(services[i]->methods[m].output, 0);
        }
    }
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        check_conventions(others[i], 0);
    }
}
