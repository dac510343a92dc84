// SPDX-License-Identifier: MIT
/* pbjson: what is JSON and what is not, members of a document, filling real messages. */
#include "tests/unit/test.h"

#include "common/err.h"
#include "common/pb.h"
#include "gateway/pbjson.h"
#include "proto/auth.pb-c.h"
#include "proto/group.pb-c.h"
#include "proto/message.pb-c.h"
#include "proto/presence.pb-c.h"

static struct arena *arena; /* of the running test */
static struct pbjson_problem problem;

static void start(void)
{
    arena = arena_new(0);
}

static void stop(void)
{
    arena_free(arena);
}

/* NULL: refused, see problem. */
static struct pbjson_doc *parse_n(const char *text, size_t len, int *err_out)
{
    struct pbjson_doc *doc = NULL;
    *err_out = pbjson_parse(text, len, arena, &doc, &problem);
    return doc;
}

static struct pbjson_doc *parse(const char *text)
{
    int err;
    struct pbjson_doc *doc = parse_n(text, strlen(text), &err);
    if (!CHECK_INT(err, 0)) {
        printf("%s: %s\n", text, problem.detail);
    }
    return doc;
}

static int fill(const char *text, void *message)
{
    struct pbjson_doc *doc = parse(text);
    int err = doc == NULL ? ERR_INTERNAL : pbjson_fill(doc, message, arena, &problem);
    pbjson_free(doc);
    return err;
}

/* Exactly this one field is named, with this reason. */
static void check_refused(const char *text, const ProtobufCMessageDescriptor *type,
                          const char *field, const char *reason)
{
    if (!CHECK_INT(fill(text, pb_new(type, arena)), ERR_INVALID) || !CHECK_INT(problem.count, 1) ||
        !CHECK_STR(problem.errors[0].field, field) ||
        !CHECK_STR(problem.errors[0].reason, reason)) {
        printf("%s\n", text);
    }
}

static const char *text_of(ProtobufCBinaryData bytes)
{
    return arena_strndup(arena, (const char *)bytes.data, bytes.len);
}

/* ---- Texts ---- */

TEST(refused_texts)
{
    static const struct {
        const char *text, *sentence;
    } rows[] = {
        {"", "line 1, column 0: the text ends too early"},
        {"{", "line 1, column 1: the text ends too early"},
        {"{\"a\":1", "line 1, column 6: the text ends too early"},
        {"{\"a\":\"x", "line 1, column 7: the text ends too early"},
        {"[]", "not a JSON object"},
        {"null", "not a JSON object"},
        {"\"a\"", "not a JSON object"},
        {"12", "not a JSON object"},
        {"{}x", "line 1, column 3: something follows the object"},
        {"{} {}", "line 1, column 4: something follows the object"},
        {"{\n \"a\": 1,\n \"a\": 2}", "line 3, column 4: a name stands twice in one object"},
        {"{\"a\":{\"b\":1,\"\\u0062\":2}}", "line 1, column 20: a name stands twice in one object"},
        {"{\"a\":9223372036854775808}", "line 1, column 24: a number is out of range"},
        {"{\"a\":-9223372036854775809}", "line 1, column 25: a number is out of range"},
        {"{\"a\":1e999}", "line 1, column 10: a number is out of range"},
        {"{\"a\\u0000b\":1}", "line 1, column 11: a name contains U+0000"},
        {"{\"a\":\"\xff\"}", "line 1, column 6: not UTF-8"},
        {"{\"a\":\"\xc0\x80\"}", "line 1, column 6: not UTF-8"},
        {"{\"a\":\"\xed\xa0\x80\"}", "line 1, column 6: not UTF-8"},
        {"{\"a\":\"\\ud800\"}", "line 1, column 13: this is not JSON"},
        {"{\"a\":\"\\udc00\\ud800\"}", NULL},
        {"{\"a\":\"\\x41\"}", NULL},
        {"{\"a\":\"\n\"}", NULL},
        {"{'a':1}", NULL},
        {"{a:1}", NULL},
        {"{\"a\":1,}", NULL},
        {"{\"a\":01}", NULL},
        {"{\"a\":+1}", NULL},
        {"{\"a\":NaN}", NULL},
        {"{\"a\":True}", NULL},
        {"{\"a\" 1}", NULL},
        {"{\"a\":[1}", NULL},
        {"/**/{}", NULL},
        {"\xef\xbb\xbf{}", NULL},
        {"}", NULL},
        {"]]]]{", NULL},
    };
    start();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int err;
        pbjson_free(parse_n(rows[i].text, strlen(rows[i].text), &err));
        bool fine = CHECK_INT(err, ERR_BAD_JSON) && CHECK(problem.detail != NULL);
        if (!fine || (rows[i].sentence != NULL && !CHECK_STR(problem.detail, rows[i].sentence))) {
            printf("%s\n", rows[i].text);
        }
    }
    stop();
}

TEST(nul_bytes_and_cut_texts)
{
    static const char text[] = "{\"a\":[1,{\"b\":\"\xc3\xbc\\u00fc\"}],\"c\":null}";
    int err;
    start();
    pbjson_free(parse_n("{}\0", 3, &err));
    CHECK_INT(err, ERR_BAD_JSON);
    pbjson_free(parse_n("{\"a\":\"b\0c\"}", 11, &err));
    CHECK_INT(err, ERR_BAD_JSON);
    CHECK(parse_n(NULL, 0, &err) == NULL);
    for (size_t len = 0; len < strlen(text); len++) {
        CHECK(parse_n(text, len, &err) == NULL);
        CHECK_INT(err, ERR_BAD_JSON);
    }
    pbjson_free(parse(text));
    pbjson_free(NULL);
    stop();
}

/* {"a":[[[…]]]}, in all `depth` deep; `inside` stands innermost. */
static char *nested(unsigned depth, const char *inside)
{
    struct buf b;
    buf_init(&b);
    buf_add_str(&b, "{\"a\":");
    for (unsigned i = 1; i < depth; i++) {
        buf_add_char(&b, '[');
    }
    buf_add_str(&b, inside);
    for (unsigned i = 1; i < depth; i++) {
        buf_add_char(&b, ']');
    }
    buf_add_char(&b, '}');
    char *text = arena_strdup(arena, b.data);
    buf_done(&b);
    return text;
}

TEST(depth)
{
    int err;
    start();
    pbjson_free(parse(nested(PBJSON_DEPTH, "1")));
    pbjson_free(
        parse(nested(PBJSON_DEPTH, "\"[[[{{{\\\"[[[\\\\\""))); /* in a string they are text */
    char *text = nested(PBJSON_DEPTH + 1, "\n");
    CHECK(parse_n(text, strlen(text), &err) == NULL);
    CHECK_INT(err, ERR_BAD_JSON);
    CHECK_STR(problem.detail, "line 1, column 21: nested too deep");
    text = nested(100000, "");
    CHECK(parse_n(text, strlen(text), &err) == NULL);
    CHECK_STR(problem.detail, "line 1, column 21: nested too deep");
    stop();
}

static char *list_of(unsigned count)
{
    char *text = arena_alloc(arena, 2UL * count + 10);
    size_t at = 5;
    memcpy(text, "{\"a\":[", 6);
    for (unsigned i = 0; i < count; i++) {
        text[++at] = '1';
        text[++at] = ',';
    }
    memcpy(text + at, "]}", 3);
    return text;
}

TEST(number_of_values)
{
    int err;
    start();
    pbjson_free(parse(list_of(PBJSON_VALUES - 2)));
    char *text = list_of(PBJSON_VALUES);
    CHECK(parse_n(text, strlen(text), &err) == NULL);
    CHECK_INT(err, ERR_BAD_JSON);
    CHECK(strstr(problem.detail, "too many values") != NULL);
    stop();
}

TEST(sentences_quote_nothing)
{
    int err;
    start();
    CHECK(parse_n("{\"password\":\"secret\" \"x\"}", 25, &err) == NULL);
    CHECK_INT(err, ERR_BAD_JSON);
    CHECK(strstr(problem.detail, "secret") == NULL);
    stop();
}

/* ---- Members ---- */

TEST(members)
{
    const char *s = NULL;
    size_t len = 0;
    uint64_t number = 7;
    bool yes = false;
    start();
    struct pbjson_doc *doc =
        parse("{\"s\":\"gr\\u00fc\\u00df\",\"n\":9007199254740991,\"big\":9007199254740992,"
              "\"minus\":-1,\"f\":1.0,\"t\":true,\"no\":null,\"o\":{\"x\":{\"y\":5}},\"l\":[],"
              "\"nul\":\"a\\u0000b\",\"empty\":\"\",\"\":1}");
    CHECK(pbjson_get_string(doc, "s", &s, &len));
    CHECK_INT(len, 6);
    CHECK(memcmp(s, "gr\xc3\xbc\xc3\x9f", 6) == 0);
    CHECK(pbjson_get_string(doc, "empty", &s, &len) && len == 0);
    CHECK(!pbjson_get_string(doc, "nul", &s, &len));
    CHECK(!pbjson_get_string(doc, "n", &s, &len));
    CHECK(!pbjson_get_string(doc, "no", &s, &len));
    CHECK(!pbjson_get_string(doc, "absent", &s, &len));
    CHECK(!pbjson_get_u64(doc, "big", &number) && !pbjson_get_u64(doc, "minus", &number));
    CHECK(!pbjson_get_u64(doc, "f", &number) && !pbjson_get_u64(doc, "s", &number));
    CHECK_INT(number, 7); /* untouched */
    CHECK(pbjson_get_u64(doc, "n", &number) && number == 9007199254740991);
    CHECK(pbjson_get_bool(doc, "t", &yes) && yes);
    CHECK(!pbjson_get_bool(doc, "n", &yes));
    CHECK(pbjson_has(doc, "l") && pbjson_has(doc, "") && pbjson_has(doc, "nul"));
    CHECK(!pbjson_has(doc, "no") && !pbjson_has(doc, "absent"));
    const struct pbjson_doc *inner = pbjson_get_object(doc, "o");
    if (CHECK(inner != NULL) && CHECK(pbjson_get_object(inner, "x") != NULL)) {
        CHECK(pbjson_get_u64(pbjson_get_object(inner, "x"), "y", &number) && number == 5);
    }
    CHECK(pbjson_get_object(doc, "l") == NULL && pbjson_get_object(doc, "no") == NULL);
    pbjson_free(doc);
    stop();
}

TEST(walking)
{
    static const char *const names[] = {"u:2", "g:9", "a", "u:1"};
    void *cursor = NULL;
    start();
    struct pbjson_doc *doc = parse("{\"u:2\":1,\"g:9\":{\"seq\":2},\"a\":null,\"u:1\":3}");
    for (size_t i = 0; i < 4; i++) {
        CHECK_STR(pbjson_next(doc, &cursor), names[i]);
    }
    CHECK(pbjson_next(doc, &cursor) == NULL);
    pbjson_free(doc);
    doc = parse("{}");
    cursor = NULL;
    CHECK(pbjson_next(doc, &cursor) == NULL);
    pbjson_free(doc);
    stop();
}

TEST(echoes)
{
    static const char *const rows[] = {
        "1",     "-9223372036854775808", "\"a\\\"b\"", "\"\\u0000\\u001f\"",   "1.5", "true",
        "false", "[1,\"a\",{}]",         "{\"x\":[]}", "\"\xf0\x9f\x98\x80\"",
    };
    start();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct pbjson_doc *doc = parse(arena_printf(arena, "{ \"id\" : %s }", rows[i]));
        char *text = pbjson_text(doc, "id", arena);
        pbjson_free(doc);
        for (char *c = text; *c != '\0'; c++) { /* jansson writes \u001F */
            *c = *c == 'F' ? 'f' : *c;
        }
        CHECK_STR(text, rows[i]);
    }
    struct pbjson_doc *doc = parse("{\"id\":null}");
    CHECK(pbjson_text(doc, "id", arena) == NULL);
    CHECK(pbjson_text(doc, "absent", arena) == NULL);
    pbjson_free(doc);
    stop();
}

/* ---- Filling ---- */

TEST(fills_text_and_numbers)
{
    Chat__Send send = CHAT__SEND__INIT;
    start();
    CHECK_INT(
        fill("{\"content\":\"gr\xc3\xbc\xc3\x9f \\ud83d\\ude00 \\\"\\\\\\/\\b\\f\\n\\r\\t\\u0001\","
             "\"type\":\"text\",\"receiver_id\":9007199254740991,\"group_id\":0,"
             "\"unknown\":{\"content\":[1.5,\"\\u0000\"]},\"client_id\":null,\"Content\":1}",
             &send),
        0);
    CHECK_STR(text_of(send.content), "gr\xc3\xbc\xc3\x9f \xf0\x9f\x98\x80 \"\\/\b\f\n\r\t\x01");
    CHECK_STR(text_of(send.type), "text");
    CHECK_INT(send.receiver_id, 9007199254740991);
    CHECK_INT(send.client_id.len, 0);
    CHECK_INT(send.reply_to, 0);
    stop();
}

TEST(refused_values)
{
    static const ProtobufCMessageDescriptor *const send = &chat__send__descriptor;
    static const ProtobufCMessageDescriptor *const member = &chat__member__descriptor;
    static const char range[] = "must be an integer from 0 to 9007199254740991";
    start();
    check_refused("{\"content\":5}", send, "content", "must be a string");
    check_refused("{\"content\":[]}", send, "content", "must be a string");
    check_refused("{\"content\":true}", send, "content", "must be a string");
    check_refused("{\"content\":\"a\\u0000b\"}", send, "content", "must not contain U+0000");
    check_refused("{\"receiver_id\":\"5\"}", send, "receiver_id", "must be an integer");
    check_refused("{\"receiver_id\":1.0}", send, "receiver_id", "must be an integer");
    check_refused("{\"receiver_id\":1e3}", send, "receiver_id", "must be an integer");
    check_refused("{\"receiver_id\":true}", send, "receiver_id", "must be an integer");
    check_refused("{\"receiver_id\":{}}", send, "receiver_id", "must be an integer");
    check_refused("{\"receiver_id\":-1}", send, "receiver_id", range);
    check_refused("{\"receiver_id\":9007199254740992}", send, "receiver_id", range);
    check_refused("{\"receiver_id\":9223372036854775807}", send, "receiver_id", range);
    check_refused("{\"limit\":4294967296}", &chat__list_online_request__descriptor, "limit",
                  "must be an integer from 0 to 4294967295");
    check_refused("{\"include_members\":1}", &chat__get_group_request__descriptor,
                  "include_members", "must be true or false");
    check_refused("{\"include_members\":\"true\"}", &chat__get_group_request__descriptor,
                  "include_members", "must be true or false");
    check_refused("{\"visibility\":\"secret\"}", &chat__create_group_request__descriptor,
                  "visibility", "must be one of private, public");
    check_refused("{\"visibility\":\"PRIVATE\"}", &chat__create_group_request__descriptor,
                  "visibility", "must be one of private, public");
    check_refused("{\"visibility\":1}", &chat__create_group_request__descriptor, "visibility",
                  "must be a string");
    check_refused("{\"role\":\"none\"}", member, "role", "must be one of member, admin, owner");
    check_refused("{\"role\":\"\"}", member, "role", "must be one of member, admin, owner");
    check_refused("{\"muted_until\":5}", member, "muted_until", "must be a time as in RFC 3339");
    check_refused("{\"muted_until\":\"tomorrow\"}", member, "muted_until",
                  "must be a time as in RFC 3339");
    check_refused("{\"user\":[]}", member, "user", "must be an object");
    check_refused("{\"user\":{\"bio\":1}}", member, "user.bio", "must be a string");
    stop();
}

TEST(all_wrong_fields_are_named_up_to_eight)
{
    Chat__Message message = CHAT__MESSAGE__INIT;
    start();
    CHECK_INT(fill("{\"content\":1,\"seq\":\"\",\"id\":3,\"sender\":1}", &message), ERR_INVALID);
    CHECK_INT(problem.count, 3);
    CHECK_STR(problem.errors[0].field, "content"); /* in the order of the text */
    CHECK_STR(problem.errors[2].field, "sender");
    CHECK_STR(problem.detail, "content must be a string");
    CHECK_INT(fill("{\"id\":[],\"seq\":[],\"content\":[],\"type\":[],\"sender_id\":[],"
                   "\"receiver_id\":[],\"group_id\":[],\"client_id\":[],\"reply_to\":[],"
                   "\"rev\":[]}",
                   &message),
              ERR_INVALID);
    CHECK_INT(problem.count, 8);
    CHECK_STR(problem.errors[7].field, "client_id");
    stop();
}

TEST(oneofs_tell_given_from_absent)
{
    Chat__UpdateUserRequest update = CHAT__UPDATE_USER_REQUEST__INIT;
    start();
    CHECK_INT(fill("{\"nickname\":\"\",\"bio\":\"hi\",\"email\":null,\"if_version\":9,"
                   "\"nickname_given\":true}",
                   &update),
              0);
    CHECK_INT(update.nickname_given_case, CHAT__UPDATE_USER_REQUEST__NICKNAME_GIVEN_NICKNAME);
    CHECK_INT(update.nickname.len, 0);
    CHECK_INT(update.avatar_given_case, 0);
    CHECK_STR(text_of(update.bio), "hi");
    CHECK_INT(update.email_given_case, 0);
    CHECK_INT(update.if_version_given_case, 0); /* hidden: numbered from 100 */

    Chat__UpdateGroupRequest group = CHAT__UPDATE_GROUP_REQUEST__INIT;
    CHECK_INT(fill("{\"visibility\":\"public\"}", &group), 0);
    CHECK_INT(group.visibility_given_case, CHAT__UPDATE_GROUP_REQUEST__VISIBILITY_GIVEN_VISIBILITY);
    CHECK_INT(group.visibility, CHAT__VISIBILITY__TYPE__PUBLIC);
    stop();
}

TEST(a_refused_member_of_a_oneof_does_not_take_its_place)
{
    Chat__PresenceReport report = CHAT__PRESENCE_REPORT__INIT;
    start();
    CHECK_INT(fill("{\"change\":{\"user_id\":5},\"heartbeat\":7}", &report), ERR_INVALID);
    CHECK_INT(report.what_case, CHAT__PRESENCE_REPORT__WHAT_CHANGE);
    CHECK_INT(fill("{\"change\":{\"user_id\":5},\"heartbeat\":{\"users\":7}}", &report), 0);
    CHECK_INT(report.what_case, CHAT__PRESENCE_REPORT__WHAT_HEARTBEAT);
    CHECK_INT(report.heartbeat->users, 7);
    stop();
}

TEST(repeated_messages_and_numbers)
{
    Chat__SyncRequest sync = CHAT__SYNC_REQUEST__INIT;
    Chat__GetPresenceRequest presence = CHAT__GET_PRESENCE_REQUEST__INIT;
    start();
    CHECK_INT(fill("{\"of\":[{\"type\":\"group\",\"target_id\":4,\"seq\":7,\"rev\":1,"
                   "\"rev_given\":true},{\"type\":\"private\",\"target_id\":5}]}",
                   &sync),
              0);
    if (CHECK_INT(sync.n_of, 2)) {
        CHECK_INT(sync.of[0]->type, CHAT__KIND__TYPE__GROUP);
        CHECK_INT(sync.of[0]->seq, 7);
        CHECK(sync.of[0]->rev_given);
        CHECK_INT(sync.of[1]->target_id, 5);
        CHECK(!sync.of[1]->rev_given);
    }
    CHECK_INT(fill("{\"user_ids\":[1,9007199254740991,0]}", &presence), 0);
    if (CHECK_INT(presence.n_user_ids, 3)) {
        CHECK_INT(presence.user_ids[1], 9007199254740991);
    }
    CHECK_INT(fill("{\"user_ids\":[]}", &presence), 0);
    CHECK_INT(presence.n_user_ids, 0);
    check_refused("{\"of\":{}}", &chat__sync_request__descriptor, "of", "must be a list");
    check_refused("{\"of\":[{},{\"seq\":\"7\"}]}", &chat__sync_request__descriptor, "of[1].seq",
                  "must be an integer");
    check_refused("{\"of\":[null]}", &chat__sync_request__descriptor, "of[0]", "must be an object");
    check_refused("{\"user_ids\":[1,null]}", &chat__get_presence_request__descriptor, "user_ids[1]",
                  "must be an integer");
    stop();
}

TEST(times)
{
    Chat__Member member = CHAT__MEMBER__INIT;
    start();
    CHECK_INT(fill("{\"muted_until\":\"2026-01-31T13:00:00.5+01:00\",\"joined_at\":null}", &member),
              0);
    CHECK_INT(member.muted_until, 1769860800500);
    CHECK_INT(member.joined_at, 0);
    CHECK_INT(fill("{\"muted_until\":null}", &member), 0);
    CHECK_INT(member.muted_until, 0); /* as it is printed */
    Chat__UpdateMemberRequest update = CHAT__UPDATE_MEMBER_REQUEST__INIT;
    CHECK_INT(fill("{\"role\":null}", &update), 0);
    CHECK_INT(update.muted_until_given_case, 0);
    CHECK_INT(update.role_given_case, 0);
    CHECK_INT(fill("{\"muted_until\":null}", &update), 0);
    CHECK_INT(update.muted_until_given_case,
              CHAT__UPDATE_MEMBER_REQUEST__MUTED_UNTIL_GIVEN_MUTED_UNTIL);
    stop();
}

/* ---- From text ---- */

static int fill_text(void *message, const char *field, const char *text)
{
    return pbjson_fill_text(message, field, text, strlen(text), arena, &problem);
}

TEST(from_text)
{
    Chat__ListMessagesRequest list = CHAT__LIST_MESSAGES_REQUEST__INIT;
    Chat__GetGroupRequest group = CHAT__GET_GROUP_REQUEST__INIT;
    Chat__ListUsersRequest users = CHAT__LIST_USERS_REQUEST__INIT;
    Chat__SyncRequest sync = CHAT__SYNC_REQUEST__INIT;
    Chat__UpdateUserRequest update = CHAT__UPDATE_USER_REQUEST__INIT;
    start();
    CHECK_INT(fill_text(&list, "type", "group"), 0);
    CHECK_INT(fill_text(&list, "target_id", "9007199254740991"), 0);
    CHECK_INT(fill_text(&list, "limit", "-9223372036854775808"), 0);
    CHECK_INT(fill_text(&list, "before", "0"), 0);
    CHECK_INT(fill_text(&list, "before_given", "1"), 0); /* a oneof is no field */
    CHECK_INT(list.type, CHAT__KIND__TYPE__GROUP);
    CHECK_INT(list.target_id, 9007199254740991);
    CHECK_INT(list.limit, INT64_MIN);
    CHECK_INT(list.before_given_case, CHAT__LIST_MESSAGES_REQUEST__BEFORE_GIVEN_BEFORE);
    CHECK_INT(list.after_given_case, 0);
    CHECK_INT(fill_text(&group, "include_members", "1"), 0);
    CHECK(group.include_members);
    CHECK_INT(fill_text(&group, "include_members", "false"), 0);
    CHECK(!group.include_members);
    CHECK_INT(fill_text(&users, "q", "gr\xc3\xbc\xc3\x9f"), 0);
    CHECK_STR(text_of(users.q), "gr\xc3\xbc\xc3\x9f");
    CHECK_INT(fill_text(&users, "q", ""), 0);
    CHECK_INT(users.q.len, 0);
    CHECK_INT(fill_text(&users, "unknown", "\xff"), 0);
    CHECK_INT(fill_text(&sync, "of", "x"), 0); /* a repeated field */
    CHECK_INT(sync.n_of, 0);
    CHECK_INT(fill_text(&update, "if_version", "5"), 0); /* hidden */
    CHECK_INT(update.if_version_given_case, 0);
    stop();
}

TEST(refused_in_text)
{
    static const char *const rows[] = {"",
                                       "-",
                                       "+1",
                                       " 1",
                                       "1 ",
                                       "1.0",
                                       "0x1",
                                       "1e3",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "99999999999999999999999999",
                                       "\xff"};
    Chat__ListMessagesRequest list = CHAT__LIST_MESSAGES_REQUEST__INIT;
    Chat__GetGroupRequest group = CHAT__GET_GROUP_REQUEST__INIT;
    Chat__ListUsersRequest users = CHAT__LIST_USERS_REQUEST__INIT;
    start();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        if (!CHECK_INT(fill_text(&list, "limit", rows[i]), ERR_BAD_QUERY)) {
            printf("%s\n", rows[i]);
        }
    }
    CHECK_INT(fill_text(&list, "limit", "x"), ERR_BAD_QUERY);
    CHECK_STR(problem.detail, "limit must be an integer");
    CHECK_INT(fill_text(&list, "before", "-1"), ERR_BAD_QUERY);
    CHECK_INT(list.before_given_case, 0);
    CHECK_STR(problem.detail, "before must be an integer from 0 to 9007199254740991");
    CHECK_INT(fill_text(&list, "type", "both"), ERR_BAD_QUERY);
    CHECK_STR(problem.detail, "type must be one of private, group");
    CHECK_INT(fill_text(&group, "include_members", "yes"), ERR_BAD_QUERY);
    CHECK_STR(problem.detail, "include_members must be true or false");
    CHECK_INT(fill_text(&users, "q", "\xc3"), ERR_BAD_QUERY);
    CHECK_STR(problem.detail, "q must be UTF-8 without U+0000");
    CHECK_INT(pbjson_fill_text(&users, "q", "a\0b", 3, arena, &problem), ERR_BAD_QUERY);
    stop();
}
