// SPDX-License-Identifier: MIT
/*
 * A few worker threads for what blocks or takes long (database reads, password hashes), so that
 * it leaves the loop. Jobs wait in one bounded queue, first in first out.
 *
 * A job tells its result itself, usually by a message to the loop that asked. The pool doesn't
 * look at deadlines: a job that waited too long finds that out when it runs.
 */
#pragma once

#include <stddef.h>

struct pool;

struct pool_config {
    const char *name; /* the metrics' label and the threads' name; at most 12 characters count */
    const char *svc;  /* svc= of the threads' log lines, or NULL */
    size_t threads;   /* at least 1; their stacks have 256 KiB */
    size_t queue;     /* how many jobs may wait; at least 1 */
    /* Run in each thread at its start and end: what only this thread uses, such as its database
     * connection. Both or either may be NULL. */
    void *(*thread_start)(void *arg);
    void (*thread_end)(void *state);
    void *arg; /* for thread_start */
};

/* Starts the threads; the caller owns the pool. A system that can't start a thread aborts. */
struct pool *pool_new(const struct pool_config *config);

/* Puts a job in the queue: run(thread_state, job) on one of the threads. Any thread, also a job.
 * ERR_UNAVAILABLE: the queue is full or the pool is stopping; the job stays the caller's. */
int pool_submit(struct pool *pool, void (*run)(void *thread_state, void *job), void *job)
    __attribute__((warn_unused_result));

size_t pool_queued(struct pool *pool); /* jobs that wait now; any thread */

/* Takes no more jobs, runs what is queued, joins the threads. The owner only, never a job; a
 * second call does nothing. */
void pool_stop(struct pool *pool);
void pool_free(struct pool *pool); /* takes NULL; stops first */
