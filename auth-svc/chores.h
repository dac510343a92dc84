// SPDX-License-Identifier: MIT
/*
 * What auth-svc does unasked: deletes sessions that are over, and after a start on a bus that
 * forgets tells again which sessions have ended. The database work runs on the fast lane.
 */
#pragma once

#include "auth-svc/store.h"
#include "common/svc.h"

#include <stdatomic.h>

struct auth_chores {
    atomic_bool working;      /* a chore is on a worker: no second one is begun */
    atomic_bool caught_up;    /* ended sessions are on the bus */
    atomic_llong clean_at_ms; /* clock_mono_ms of the next cleaning */
    int64_t access_s;
};

/* Loop thread. begin: at start, before the workers run. tick: once a second. */
int auth_chores_begin(struct auth_chores *chores, struct svc_ctx *ctx, int64_t access_s);
void auth_chores_tick(struct auth_chores *chores, struct svc_ctx *ctx);

/* The steps themselves, for a worker and for tests. clean: more_out says that it stopped at its
 * bound (500 sessions of a kind) and there may be more. tell: calls send for each session that
 * ended within the last two lives of an access token, until that fails. */
int auth_chores_clean_sessions(struct db *db, struct arena *arena, int64_t access_s, bool *more_out)
    __attribute__((warn_unused_result));
int auth_chores_tell_ended(struct db *db, int64_t access_s,
                           int (*send)(void *arg, const struct auth_store_session *session),
                           void *arg) __attribute__((warn_unused_result));
