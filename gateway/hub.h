// SPDX-License-Identifier: MIT
/*
 * Which sessions belong to which user and which group on one loop, and nothing else: no sockets, no
 * bus. Tells the process-wide interest table what this loop wants to hear of. Loop thread.
 *
 * Memberships are facts with versions (one counter per group); an older one never overwrites.
 * While a user's groups are being asked for, removals are kept as facts too, so that the answer
 * and the events that came meanwhile merge in either order (architecture D6). Deletions of
 * groups are kept as well, of all groups: the answer may still name one that no event has named.
 */
#pragma once

#include "common/map.h"
#include "gateway/interest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct profile;

/* In each session: its place among its user's. */
struct hub_entry {
    struct hub_user *user; /* NULL: in no hub */
    struct hub_entry *next, **link;
};

struct hub_user {
    uint64_t id;
    struct hub_entry *sessions;
    uint64_t serial; /* tells this one from an earlier one of the same user */
    uint32_t session_count, group_count;
    bool loading, loaded; /* its groups are asked for; are known */
    struct hub_member *members;
    struct map facts;        /* the same by group, until it is loaded: a page of groups is many */
    struct profile *profile; /* owned by whoever loads; NULL before */
};

struct hub_member {
    struct hub_user *user;
    struct hub_group *group;
    struct hub_member *next, **link; /* of the user */
    uint64_t version;
    int64_t sees_from_ms; /* 0: all messages */
    uint32_t at;          /* place in the group's list; UINT32_MAX: no member, only the fact */
};

struct hub_group {
    uint64_t id;
    struct hub_member **members; /* those of this loop */
    uint32_t count, cap, facts;  /* facts: all hub_members, removals too */
};

struct hub {
    struct interest *interest;
    unsigned loop;
    struct map users, groups;
    struct map deleted; /* version + 1 by group, while a user's groups are not known */
    size_t unloaded;    /* such users */
    uint64_t serial;
};

struct hub *hub_new(struct interest *interest, unsigned loop);
void hub_free(struct hub *hub); /* takes NULL; all sessions have left */

/* Adds a session of the user; a new user is not loaded and wants its membership events at once, and
 * all deletions of groups, which interest knows as (0, 0). */
struct hub_user *hub_join(struct hub *hub, struct hub_entry *entry, uint64_t user_id);
/* With the last session the user goes too; release (may be NULL) gets its profile. */
void hub_leave(struct hub *hub, struct hub_entry *entry, void (*release)(struct profile *));
struct hub_user *hub_find_user(const struct hub *hub, uint64_t user_id); /* NULL: not here */
struct hub_group *hub_find_group(const struct hub *hub,
                                 uint64_t group_id); /* NULL: no member here */
bool hub_is_member(const struct hub *hub, uint64_t user_id, uint64_t group_id);

/* The version of what is known of a membership; 0: nothing. */
uint64_t hub_member_version(const struct hub *hub, uint64_t user_id, uint64_t group_id);

/* Messages from before this time (of joining; 0: none) are not for this member. After
 * hub_set_member, and of the same version: else nothing changes. */
void hub_set_history(struct hub *hub, uint64_t user_id, uint64_t group_id, uint64_t version,
                     int64_t sees_from_ms);
/* A membership as of a version; the user need not be here. True: something has changed. */
bool hub_set_member(struct hub *hub, uint64_t user_id, uint64_t group_id, bool member,
                    uint64_t version);
/* The group is gone, with every membership of an older version. */
void hub_drop_group(struct hub *hub, uint64_t group_id, uint64_t version);
/* The user's groups have all been set: forgets the removals. */
void hub_loaded(struct hub *hub, struct hub_user *user);
/* Events were missed: forgets all memberships. Who is here now is to be closed, who joins a user is
 * asked for anew; an answer under way is for an earlier serial. */
void hub_forget(struct hub *hub);
