// SPDX-License-Identifier: MIT
/*
 * The worker pool: a ring of jobs under one lock, a condition for "there is something to do".
 *
 * Threads block all signals that are the main thread's to handle, so that a signal never cuts
 * short a system call of a database client. State that the lock guards stands beside it.
 */
#include "common/pool.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/metrics.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Sanitizers' frames are several times larger than ours. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_SIZE ((size_t)2048 * 1024)
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STACK_SIZE ((size_t)2048 * 1024)
#endif
#endif
#ifndef STACK_SIZE
#define STACK_SIZE ((size_t)256 * 1024)
#endif

struct job {
    void (*run)(void *thread_state, void *job);
    void *job;
    int64_t queued_us;
};

struct pool {
    struct pool_config config;
    char name[13];
    pthread_t *threads;
    bool joined; /* the owner's */

    struct metric *queued_jobs, *busy_threads, *refused, *wait;

    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t work;
    struct job *ring; /* config.queue slots */
    size_t first, count;
    size_t named; /* threads that took their number */
    bool stopping;
};

/* Waits for a job. False: the pool is stopping and nothing is left. */
static bool take(struct pool *pool, struct job *job_out)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->count == 0 && !pool->stopping) {
        pthread_cond_wait(&pool->work, &pool->lock);
    }
    bool got = pool->count > 0;
    if (got) {
        *job_out = pool->ring[pool->first];
        pool->first = (pool->first + 1) % pool->config.queue;
        pool->count--;
    }
    pthread_mutex_unlock(&pool->lock);
    return got;
}

static void name_thread(struct pool *pool)
{
    char text[16]; /* the kernel's limit */

    pthread_mutex_lock(&pool->lock);
    unsigned number = (unsigned)(pool->named++ % 100);
    pthread_mutex_unlock(&pool->lock);
    snprintf(text, sizeof(text), "%s-%u", pool->name, number);
    pthread_setname_np(pthread_self(), text);
    if (pool->config.svc != NULL) {
        log_set_service(pool->config.svc);
    }
}

static void *thread_main(void *arg)
{
    struct pool *pool = arg;
    const struct pool_config *config = &pool->config;
    struct job job;

    name_thread(pool);
    void *state = config->thread_start != NULL ? config->thread_start(config->arg) : NULL;
    while (take(pool, &job)) {
        int64_t waited_us = clock_mono_us() - job.queued_us;

        metric_add(pool->queued_jobs, -1);
        metric_observe(pool->wait, waited_us > 0 ? waited_us : 0);
        metric_add(pool->busy_threads, 1);
        job.run(state, job.job);
        metric_add(pool->busy_threads, -1);
    }
    if (config->thread_end != NULL) {
        config->thread_end(state);
    }
    return NULL;
}

static void make_metrics(struct pool *pool)
{
    char labels[32];

    snprintf(labels, sizeof(labels), "pool=\"%s\"", pool->name);
    pool->queued_jobs = metrics_gauge("chat_pool_queued_jobs", "Jobs that wait", labels);
    pool->busy_threads = metrics_gauge("chat_pool_busy_threads", "Threads that run a job", labels);
    pool->refused =
        metrics_counter("chat_pool_refused_total", "Jobs refused: the queue was full", labels);
    pool->wait = metrics_histogram_us("chat_pool_wait_seconds", "Time in the queue", labels);
}

/* New threads inherit the mask: everything but what a fault in the thread itself raises. */
static void block_signals(sigset_t *before_out)
{
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGSYS, SIGPROF};
    sigset_t mask;

    sigfillset(&mask);
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        sigdelset(&mask, own[i]);
    }
    pthread_sigmask(SIG_SETMASK, &mask, before_out);
}

static void start_threads(struct pool *pool)
{
    pthread_attr_t attr;
    sigset_t before;

    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_SIZE);
    block_signals(&before);
    for (size_t i = 0; i < pool->config.threads; i++) {
        int error = pthread_create(&pool->threads[i], &attr, thread_main, pool);

        if (error != 0) {
            log_error("cannot start a thread", "pool=%s error=%s", pool->name,
                      LOG_Q(strerror(error)));
            abort();
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attr);
}

static void *must_calloc(size_t count, size_t size)
{
    void *p = calloc(count, size);

    if (p == NULL) {
        abort();
    }
    return p;
}

struct pool *pool_new(const struct pool_config *config)
{
    struct pool *pool = must_calloc(1, sizeof(*pool));

    assert(config->threads >= 1 && config->queue >= 1);
    pool->config = *config;
    snprintf(pool->name, sizeof(pool->name), "%s", config->name);
    pool->threads = must_calloc(config->threads, sizeof(*pool->threads));
    pool->ring = must_calloc(config->queue, sizeof(*pool->ring));
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work, NULL);
    make_metrics(pool);
    start_threads(pool);
    return pool;
}

int pool_submit(struct pool *pool, void (*run)(void *thread_state, void *job), void *job)
{
    struct job entry = {.run = run, .job = job, .queued_us = clock_mono_us()};

    pthread_mutex_lock(&pool->lock);
    bool room = !pool->stopping && pool->count < pool->config.queue;
    if (room) {
        pool->ring[(pool->first + pool->count) % pool->config.queue] = entry;
        pool->count++;
        metric_add(pool->queued_jobs, 1);
        pthread_cond_signal(&pool->work);
    }
    pthread_mutex_unlock(&pool->lock);
    if (!room) {
        metric_inc(pool->refused);
        return ERR_UNAVAILABLE;
    }
    return 0;
}

size_t pool_queued(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t count = pool->count;
    pthread_mutex_unlock(&pool->lock);
    return count;
}

void pool_stop(struct pool *pool)
{
    if (pool->joined) {
        return;
    }
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pthread_cond_broadcast(&pool->work);
    pthread_mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->config.threads; i++) {
        pthread_join(pool->threads[i], NULL);
    }
    pool->joined = true;
}

void pool_free(struct pool *pool)
{
    if (pool == NULL) {
        return;
    }
    pool_stop(pool);
    pthread_cond_destroy(&pool->work);
    pthread_mutex_destroy(&pool->lock);
    free(pool->ring);
    free(pool->threads);
    free(pool);
}
