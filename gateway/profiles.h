// SPDX-License-Identifier: MIT
/*
 * Names and pictures of users, kept so that nothing has to ask for them: a bounded cache of the
 * process, fed by auth-svc's replies and kept fresh by chat.events.user. What is missing in one
 * turn of a loop becomes one question.
 */
#pragma once

#include "gateway/loop.h"
#include "proto/auth.pb-c.h"

struct profiles;

/* Immutable; counted references, from any thread. The texts are NUL-terminated. */
struct profile {
    atomic_uint refs;
    uint64_t id, version; /* version 0: auth-svc does not know this user */
    int64_t created_at, updated_at;
    ProtobufCBinaryData username, nickname, avatar, bio;
    char text[];
};
struct profile *profile_keep(struct profile *profile);
void profile_release(struct profile *profile); /* takes NULL */

struct profiles *profiles_new(void);

/* A reference, or NULL: not in the cache. Any thread. */
struct profile *profiles_get(struct profiles *profiles, uint64_t id);
/* It is in the cache, or may be asked for just now: a change must be told. Any thread. */
bool profiles_wants(struct profiles *profiles, uint64_t id);
/* A profile has changed. Any thread. */
void profiles_changed(struct profiles *profiles, const Chat__User *user);
/* Changes were missed: nothing cached is believed any more. Any thread. */
void profiles_clear(struct profiles *profiles);
/* The profile of what an event says; the caller releases it. */
struct profile *profile_new(const Chat__User *user);

struct profiles_wait;
typedef void (*profiles_fn)(void *arg, int err);
/*
 * True: all of them are in the cache now, fn will not run. Else fn runs once, later on this loop,
 * when they have been asked for (err 0; unknown users have version 0), or cannot be
 * (ERR_UNAVAILABLE, ERR_TIMEOUT). Loop thread.
 */
bool profiles_want(struct loop *loop, const uint64_t *ids, size_t n, profiles_fn fn, void *arg,
                   struct profiles_wait **wait_out);
void profiles_forget(struct profiles_wait *wait); /* fn will not run; loop thread */
void profiles_loop_init(struct loop *loop);
