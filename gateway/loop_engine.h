// SPDX-License-Identifier: MIT
/*
 * h2o's part of a loop, for the files that own h2o: loop.c, http.c, ws.c.
 */
#pragma once

#if !defined(H2O_USE_LIBUV) || H2O_USE_LIBUV != 0
#error "compile with -DH2O_USE_LIBUV=0: libh2o-evloop has other struct layouts than the default"
#endif
#include <h2o.h>

#include "gateway/loop.h"

#include <semaphore.h>

struct loop_engine {
    h2o_context_t context;
    h2o_globalconf_t config; /* one per loop: h2o keeps per-thread slots in it */
    h2o_hostconf_t *host;
    h2o_accept_ctx_t accept;
    h2o_multithread_receiver_t receiver;
    h2o_timeout_t turn; /* 0 ms: end of the turn */
    h2o_timeout_entry_t turn_entry;
    h2o_timeout_t second;
    h2o_timeout_entry_t second_entry;
    struct loop_task *tasks, **tasks_tail;
    struct arena *arenas[4];
    unsigned arena_count;
    sem_t changed; /* posted when the loop has opened, and when it has stopped */
    bool started, stopping;
};
