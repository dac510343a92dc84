// SPDX-License-Identifier: MIT
/*
 * The rules stand in tables, so that one sees at a glance who may do what (api.md sections 2, 3).
 */
#include "group-svc/rules.h"

#include "common/err.h"
#include "common/text.h"

/* The least role for an action; outsiders: may those do it who see a public group from outside? */
static const struct {
    enum group_role least;
    bool outsiders;
} actions[] = {
    [GROUP_SEE] = {GROUP_MEMBER, true},    [GROUP_SEE_MEMBERS] = {GROUP_MEMBER, false},
    [GROUP_UPDATE] = {GROUP_ADMIN, false}, [GROUP_DELETE] = {GROUP_OWNER, false},
    [GROUP_ADD] = {GROUP_ADMIN, false},    [GROUP_JOIN] = {GROUP_MEMBER, true},
    [GROUP_LEAVE] = {GROUP_MEMBER, false}, [GROUP_KICK] = {GROUP_ADMIN, false},
    [GROUP_MUTE] = {GROUP_ADMIN, false},   [GROUP_SET_ROLE] = {GROUP_OWNER, false},
};

int group_rules_may(enum group_action action, enum group_role role, bool is_public)
{
    if (role == GROUP_NONE) {
        if (!is_public) {
            return ERR_NOT_FOUND;
        }
        return actions[action].outsiders ? 0 : ERR_FORBIDDEN;
    }
    return role >= actions[action].least ? 0 : ERR_FORBIDDEN;
}

bool group_rules_is_below(enum group_role target, enum group_role role)
{
    return role >= GROUP_ADMIN && target >= GROUP_MEMBER && target < role;
}

int group_rules_may_leave(enum group_role role)
{
    return role == GROUP_OWNER ? ERR_CONFLICT : 0;
}

const char *group_rules_check_name(const void *p, size_t n)
{
    size_t characters = 0;

    if (!text_is_valid(p, n, TEXT_NAME, &characters)) {
        return "must be one line of UTF-8 without control and invisible characters";
    }
    return characters >= 1 && characters <= GROUP_NAME_CHARACTERS ? NULL
                                                                  : "must have 1 to 100 characters";
}

const char *group_rules_check_description(const void *p, size_t n)
{
    size_t characters = 0;

    if (!text_is_valid(p, n, TEXT_LINES, &characters)) {
        return "must be UTF-8 without control characters";
    }
    return characters <= GROUP_DESCRIPTION_CHARACTERS ? NULL : "must have at most 1000 characters";
}

const char *group_rules_check_request_key(const void *p, size_t n)
{
    const unsigned char *at = p;

    if (n < 1 || n > 64) {
        return "must have 1 to 64 characters";
    }
    for (size_t i = 0; i < n; i++) {
        if (at[i] < '!' || at[i] > '~') {
            return "must be of the ASCII characters ! to ~";
        }
    }
    return NULL;
}
