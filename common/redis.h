// SPDX-License-Identifier: MIT
/*
 * Redis: blocking connections to a list of servers, used by one thread at a time (a worker).
 *
 * Shard s lives on server s mod n. Connects at first use, reconnects with backoff (50 ms to 1 s),
 * connect timeout 1 s, command timeout 2 s. The only owner of hiredis.
 */
#pragma once

#include "common/arena.h"

#include <stddef.h>
#include <stdint.h>

struct redis;

/* addr: "host:port[,host:port…]"; each may be rediss://host:port?ca=FILE for TLS. ERR_INVALID with
 * one sentence in problem. Does not connect yet. */
int redis_open(const char *addr, const char *password, int64_t db, struct redis **redis_out,
               char *problem, size_t problem_size);
void redis_close(struct redis *r); /* takes NULL */
size_t redis_servers(const struct redis *r);

enum redis_type { REDIS_NIL, REDIS_INT, REDIS_STR, REDIS_ARRAY, REDIS_ERROR };
struct redis_value {
    enum redis_type type;
    int64_t i;
    const char *s; /* STR, ERROR; NUL behind it */
    size_t n;      /* bytes of s, or number of items */
    const struct redis_value *items;
};

/*
 * A pipeline: redis_add puts a command aside (arguments copied), redis_run sends all to their
 * servers at once and reads all answers, in the order of adding. Answers are in the arena.
 * A single command's error is a REDIS_ERROR value. ERR_UNAVAILABLE: a server cannot be reached, the
 * connection broke, or it is loading or read-only; commands may have been executed, and those for
 * other servers have been. Either way nothing is put aside any more. Up to 64 servers.
 */
void redis_add(struct redis *r, uint32_t shard, const char *const *args, const size_t *lens,
               size_t n);
/* EVALSHA of a script: a literal, of which 64 are kept. It is loaded when a connection needs it;
 * after a SCRIPT FLUSH by somebody else it runs behind the other commands of its run. lens: of
 * args, or NULL when they are strings, as keys are. */
void redis_add_script(struct redis *r, uint32_t shard, const char *script, const char *const *keys,
                      size_t nkeys, const char *const *args, const size_t *lens, size_t nargs);
int redis_run(struct redis *r, struct arena *arena, struct redis_value **answers_out, size_t *n_out)
    __attribute__((warn_unused_result));
