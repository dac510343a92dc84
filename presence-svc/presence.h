// SPDX-License-Identifier: MIT
/*
 * What the parts of presence-svc share: the instance's environment and each thread's state.
 */
#pragma once

#include "presence-svc/store.h"
#include "presence-svc/tell.h"

#include <stdatomic.h>

struct metric;

struct presence_settings {
    const char *redis_addr, *redis_password;
    int64_t redis_db, lease_seconds, grace_seconds;
};

struct presence_env { /* one for the instance */
    const struct presence_settings *settings;
    struct presence_store *memory; /* standalone: shared by all threads; NULL: Redis */
    struct presence_teller *teller;
    atomic_bool sweeping;
    atomic_bool store_fails; /* the last sweep did */
    /* The sweep's own; one runs at a time. */
    int64_t swept_mono_ms; /* 0: never */
    int64_t hold_until_mono_ms;
    struct metric *online, *to_online, *to_offline, *again, *ended;
};

struct presence_worker { /* of a worker or batch thread */
    struct presence_env *env;
    struct presence_store *store;
};

/* Metrics and teller of an environment whose settings are there. */
void presence_env_init(struct presence_env *env, presence_send_fn send, void *arg);
void presence_env_done(struct presence_env *env);
