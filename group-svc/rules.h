// SPDX-License-Identifier: MIT
/*
 * Who may do what with a group, and what its texts may be. Pure: no I/O, no memory; any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The numbers of the database and of the .proto. */
enum group_role { GROUP_NONE, GROUP_MEMBER, GROUP_ADMIN, GROUP_OWNER };

enum group_action {
    GROUP_SEE,
    GROUP_SEE_MEMBERS,
    GROUP_UPDATE,
    GROUP_DELETE,
    GROUP_ADD,  /* another user */
    GROUP_JOIN, /* add oneself */
    GROUP_LEAVE,
    GROUP_KICK,     /* somebody; whom: group_rules_is_below */
    GROUP_MUTE,     /* the same */
    GROUP_SET_ROLE, /* of another member */
};

#define GROUP_ID_MAX ((UINT64_C(1) << 53) - 1)
#define GROUP_NAME_CHARACTERS 100
#define GROUP_DESCRIPTION_CHARACTERS 1000
#define GROUP_QUERY_CHARACTERS 100

/* role: of the one who asks, GROUP_NONE for outsiders. Returns 0; ERR_NOT_FOUND: may not even know
 * that the group exists; ERR_FORBIDDEN: sees it, but may not do this. */
int group_rules_may(enum group_action action, enum group_role role, bool is_public);
/* Whom the one who asks may kick and mute. target: a member's role. */
bool group_rules_is_below(enum group_role target, enum group_role role);
/* ERR_CONFLICT: an owner must give the group to another first. */
int group_rules_may_leave(enum group_role role);

/* NULL: good. Otherwise why not, to be read after the field's name ("must …"). */
const char *group_rules_check_name(const void *p, size_t n);
const char *group_rules_check_description(const void *p, size_t n);
const char *group_rules_check_request_key(const void *p, size_t n); /* 1 to 64 of ! to ~ */
