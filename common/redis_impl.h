// SPDX-License-Identifier: MIT
/*
 * What redis.c (commands, rounds), redis_reader.c (answers) and redis_conn.c (sockets, TLS) share.
 * Nobody else includes this.
 */
#pragma once

struct arena;
#include <hiredis/hiredis.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct redis_conn { /* to one server; never blocks except in redis_conn_open */
    char host[256], port[6];
    SSL_CTX *tls; /* NULL: plain */
    int fd;       /* -1: not connected */
    SSL *ssl;
    bool tls_wants_write; /* whatever we want */
    int64_t backoff_ms, next_try_ms;
    char told[96]; /* the last failure, and when it was logged; "": the server answers */
    int64_t told_ms;
};

/* part: an address as redis.h has it. ERR_INVALID with one sentence in problem; the conn is to be
 * "done" in any case. */
int redis_conn_init(struct redis_conn *c, const char *part, size_t n, char *problem,
                    size_t problem_size);
void redis_conn_done(struct redis_conn *c);

/* Connected and not closed by the server since; for times when no answer is outstanding. */
bool redis_conn_alive(struct redis_conn *c);
/* ERR_UNAVAILABLE, logged; silently while the backoff lasts. */
int redis_conn_open(struct redis_conn *c);
void redis_conn_close(struct redis_conn *c);
/* Logs and closes; the next try waits for the backoff. */
void redis_conn_fail(struct redis_conn *c, const char *why);
/* The server has answered: the next failure is a first one again. */
void redis_conn_good(struct redis_conn *c);

/* Bytes moved; 0: nothing at the moment; -1: it broke (logged and closed). */
ssize_t redis_conn_read(struct redis_conn *c, char *p, size_t n);
ssize_t redis_conn_write(struct redis_conn *c, const char *p, size_t n);

/* Its values (struct redis_value) go to the arena in its privdata. NULL without memory. */
redisReader *redis_reader_new(struct arena **arena);
