// SPDX-License-Identifier: MIT
/*
 * Who is online where: the interface of two stores with the same behaviour, store_redis.c (the
 * suite) and store_memory.c (standalone). tests/store/test_presence.c runs one program on both.
 *
 * A user is online while some gateway has sockets of theirs. A gateway is known by its name and
 * incarnation; reports of an older incarnation are ignored, a newer one ends the sessions of those
 * before it. When a user's last gateway goes they are `leaving`, and after a grace time offline.
 *
 * Every change of a status is handed out once, by `apply` or `sweep`, and is kept as untold until
 * `told` says that the bus has it; otherwise a later sweep hands it out again, with its version.
 *
 * Times are ms since 1970. Worker and batch threads: a store of Redis belongs to one thread, the
 * store in memory is shared by all. All functions return 0 or ERR_UNAVAILABLE (Redis; a part may
 * have been done, the same call again is harmless).
 */
#pragma once

#include "common/arena.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct presence_store {
    const struct presence_store_ops *ops;
};

struct presence_status {
    uint64_t user_id;
    bool online;
    int64_t seen_at;  /* 0: online, or never seen */
    uint64_t version; /* per user; 0: never seen */
};

struct presence_statuses { /* a list that grows in an arena */
    struct presence_status *items;
    size_t n, cap;
};
void presence_statuses_add(struct presence_statuses *list, struct arena *arena,
                           struct presence_status status);

struct presence_change {
    uint64_t user_id;
    bool present;
};

struct presence_report { /* what a gateway says of itself */
    const char *gateway;
    uint64_t incarnation;
    int64_t now_ms, lease_ms;
    bool beat;                   /* it lives: its lease begins anew */
    bool leaving;                /* with beat: its lease ends now */
    bool answered;               /* it has answered a request for all its users */
    uint64_t connections, users; /* with beat */
};

enum presence_standing {
    PRESENCE_KNOWN,
    PRESENCE_INCOMPLETE, /* ask it for all its users; only in answer to a beat */
    PRESENCE_OLDER,      /* a newer incarnation is there: ignore it */
};

struct presence_sweep {
    int64_t now_ms;
    int64_t grace_ms;  /* users leaving for so long go offline */
    int64_t retell_ms; /* untold changes are handed out again after so long */
    bool expire;       /* end what leases are over; false: only of gateways that said goodbye */
};
struct presence_swept {
    struct presence_statuses changed; /* to be told */
    struct presence_statuses again;   /* to be told again */
    size_t online;                    /* users online now */
    size_t ended;                     /* gateways whose leases were over */
};

struct presence_gateway {
    const char *name;
    uint64_t incarnation, connections, users;
};

struct presence_store_ops {
    /* Registers the gateway if need be. */
    int (*attend)(struct presence_store *store, struct arena *arena,
                  const struct presence_report *report, enum presence_standing *standing_out);
    /* In order; the gateway was attended before. changed_out: who went online. */
    int (*apply)(struct presence_store *store, struct arena *arena,
                 const struct presence_report *report, const struct presence_change *changes,
                 size_t n, struct presence_statuses *changed_out);
    /* Once a second; several instances may sweep at once. */
    int (*sweep)(struct presence_store *store, struct arena *arena,
                 const struct presence_sweep *sweep, struct presence_swept *swept_out);
    /* Told in these versions; a status that has changed since stays untold. */
    int (*told)(struct presence_store *store, struct arena *arena,
                const struct presence_status *statuses, size_t n);
    /* Fills in statuses by their user_id. */
    int (*get)(struct presence_store *store, struct arena *arena, struct presence_status *statuses,
               size_t n);
    /* Users online, from a cursor on (0: the start). next_out 0: the end. A user who is online all
     * the while is listed once; merged with the changes by version, the list gives the truth. */
    int (*list)(struct presence_store *store, struct arena *arena, uint64_t cursor, size_t limit,
                struct presence_statuses *online_out, uint64_t *next_out);
    int (*gateways)(struct presence_store *store, struct arena *arena,
                    struct presence_gateway **gateways_out, size_t *n_out);
    void (*close)(struct presence_store *store); /* takes NULL */
};

/* Of one thread. ERR_INVALID with one sentence in problem. */
int presence_store_redis_open(const char *addr, const char *password, int64_t db,
                              struct presence_store **store_out, char *problem,
                              size_t problem_size);
/* Of all threads; the caller owns it. */
struct presence_store *presence_store_memory_new(void);
