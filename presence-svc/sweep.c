// SPDX-License-Identifier: MIT
/*
 * Leases are judged only by an instance that has been looking on for a whole lease: after a start,
 * a failing store or a pause of the process, heartbeats may have been waiting unread.
 */
#include "presence-svc/sweep.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"

enum { RETELL_MS = 5000, PAUSE_MS = 5000 };

static int note_told(struct presence_worker *w, struct arena *arena)
{
    struct presence_statuses told;

    presence_teller_take_told(w->env->teller, arena, &told);
    return told.n == 0 ? 0 : w->store->ops->told(w->store, arena, told.items, told.n);
}

static void tell(struct presence_env *env, struct arena *arena, const struct presence_swept *swept)
{
    if (swept->ended > 0) {
        log_info("gateways are gone", "gateways=%zu", swept->ended);
    }
    metric_add(env->ended, (int64_t)swept->ended);
    metric_add(env->to_offline, (int64_t)swept->changed.n);
    metric_add(env->again, (int64_t)swept->again.n);
    metric_set(env->online, (int64_t)swept->online);
    presence_tell_statuses(env->teller, arena, &swept->changed);
    presence_tell_statuses(env->teller, arena, &swept->again);
}

void presence_sweep_run(struct presence_worker *w)
{
    struct presence_env *env = w->env;
    struct arena *arena = arena_new(0);
    struct presence_swept swept;
    int64_t mono_ms = clock_mono_ms(), lease_ms = env->settings->lease_seconds * 1000;

    if (env->swept_mono_ms == 0 || mono_ms - env->swept_mono_ms > PAUSE_MS) {
        env->hold_until_mono_ms = mono_ms + lease_ms;
    }
    env->swept_mono_ms = mono_ms;
    struct presence_sweep sweep = {
        .now_ms = clock_now_ms(),
        .grace_ms = env->settings->grace_seconds * 1000,
        .retell_ms = RETELL_MS,
        .expire = mono_ms >= env->hold_until_mono_ms,
    };
    int err = note_told(w, arena);
    if (err == 0) {
        err = w->store->ops->sweep(w->store, arena, &sweep, &swept);
    }
    if (err == 0) {
        tell(env, arena, &swept);
    } else {
        env->hold_until_mono_ms = mono_ms + lease_ms;
    }
    atomic_store(&env->store_fails, err != 0);
    arena_free(arena);
}
