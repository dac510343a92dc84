// SPDX-License-Identifier: MIT
#include "tests/unit/test.h"

#include "group-svc/rules.h"

#include "common/err.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum { OK = 0, NO = ERR_FORBIDDEN, HIDDEN = ERR_NOT_FOUND };

TEST(who_may_do_what)
{
    static const struct {
        enum group_action action;
        int hidden;  /* an outsider of a private group */
        int outside; /* an outsider of a public group */
        int member, admin, owner;
    } rows[] = {
        {GROUP_SEE, HIDDEN, OK, OK, OK, OK},    {GROUP_SEE_MEMBERS, HIDDEN, NO, OK, OK, OK},
        {GROUP_UPDATE, HIDDEN, NO, NO, OK, OK}, {GROUP_DELETE, HIDDEN, NO, NO, NO, OK},
        {GROUP_ADD, HIDDEN, NO, NO, OK, OK},    {GROUP_JOIN, HIDDEN, OK, OK, OK, OK},
        {GROUP_LEAVE, HIDDEN, NO, OK, OK, OK},  {GROUP_KICK, HIDDEN, NO, NO, OK, OK},
        {GROUP_MUTE, HIDDEN, NO, NO, OK, OK},   {GROUP_SET_ROLE, HIDDEN, NO, NO, NO, OK},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum group_action action = rows[i].action;
        CHECK_INT(group_rules_may(action, GROUP_NONE, false), rows[i].hidden);
        CHECK_INT(group_rules_may(action, GROUP_NONE, true), rows[i].outside);
        for (int is_public = 0; is_public < 2; is_public++) { /* members: all the same */
            CHECK_INT(group_rules_may(action, GROUP_MEMBER, is_public), rows[i].member);
            CHECK_INT(group_rules_may(action, GROUP_ADMIN, is_public), rows[i].admin);
            CHECK_INT(group_rules_may(action, GROUP_OWNER, is_public), rows[i].owner);
        }
    }
}

TEST(kick_and_leave)
{
    static const struct {
        enum group_role who, whom;
        bool below;
    } rows[] = {
        {GROUP_MEMBER, GROUP_MEMBER, false}, {GROUP_MEMBER, GROUP_ADMIN, false},
        {GROUP_MEMBER, GROUP_OWNER, false},  {GROUP_ADMIN, GROUP_MEMBER, true},
        {GROUP_ADMIN, GROUP_ADMIN, false},   {GROUP_ADMIN, GROUP_OWNER, false},
        {GROUP_OWNER, GROUP_MEMBER, true},   {GROUP_OWNER, GROUP_ADMIN, true},
        {GROUP_OWNER, GROUP_OWNER, false},   {GROUP_OWNER, GROUP_NONE, false},
        {GROUP_NONE, GROUP_MEMBER, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        CHECK(group_rules_is_below(rows[i].whom, rows[i].who) == rows[i].below);
    }
    CHECK_INT(group_rules_may_leave(GROUP_MEMBER), 0);
    CHECK_INT(group_rules_may_leave(GROUP_ADMIN), 0);
    CHECK_INT(group_rules_may_leave(GROUP_OWNER), ERR_CONFLICT);
}

/* A text of n times the piece. */
static const char *many(const char *piece, size_t n, size_t *len_out)
{
    static char text[8192];
    size_t len = strlen(piece);
    for (size_t i = 0; i < n; i++) {
        memcpy(text + i * len, piece, len);
    }
    *len_out = n * len;
    return text;
}

TEST(texts)
{
    static const struct {
        const char *(*check)(const void *p, size_t n);
        const char *piece;
        size_t times;
        bool good;
    } rows[] = {
        {group_rules_check_name, "a", 0, false},
        {group_rules_check_name, "a", 1, true},
        {group_rules_check_name, "a", 100, true},
        {group_rules_check_name, "a", 101, false},
        {group_rules_check_name, "\xf0\x9f\x98\x80", 100, true},
        {group_rules_check_name, "\xf0\x9f\x98\x80", 101, false},
        {group_rules_check_name, "a\n", 1, false},
        {group_rules_check_name, "\xff", 1, false},
        {group_rules_check_name, "a b", 3, true},
        {group_rules_check_name, "\u202e", 1, false},
        {group_rules_check_name, "\u2067", 1, false},
        {group_rules_check_name, "a\u200b", 1, false},
        {group_rules_check_name, "\u05d0\u200f", 1, true},
        {group_rules_check_description, "a", 0, true},
        {group_rules_check_description, "a\n", 500, true},
        {group_rules_check_description, "\xe4\xbd\xa0", 1000, true},
        {group_rules_check_description, "\xe4\xbd\xa0", 1001, false},
        {group_rules_check_description, "\x01", 1, false},
        {group_rules_check_request_key, "a", 0, false},
        {group_rules_check_request_key, "~!", 32, true},
        {group_rules_check_request_key, "a", 65, false},
        {group_rules_check_request_key, "a b", 1, false},
        {group_rules_check_request_key, "\xc3\xa9", 1, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t n;
        const char *text = many(rows[i].piece, rows[i].times, &n);
        if (!CHECK_INT(rows[i].check(text, n) == NULL, rows[i].good)) {
            printf("row %zu\n", i);
        }
    }
    CHECK(group_rules_check_name("a\0b", 3) != NULL);
}
