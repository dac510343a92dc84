// SPDX-License-Identifier: MIT
#include "common/pool.h"

#include "common/err.h"
#include "common/metrics.h"
#include "tests/unit/test.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

struct state { /* of one thread; without a lock, since nobody else may touch it */
    int jobs;
};

static atomic_int started, ended, ran, last;

static void *start(void *arg)
{
    CHECK(arg == &started);
    atomic_fetch_add(&started, 1);
    return calloc(1, sizeof(struct state));
}

static void end(void *state)
{
    atomic_fetch_add(&ended, 1);
    atomic_fetch_add(&ran, ((struct state *)state)->jobs);
    free(state);
}

static struct pool *make(const char *name, size_t threads, size_t queue)
{
    atomic_store(&started, 0);
    atomic_store(&ended, 0);
    atomic_store(&ran, 0);
    return pool_new(&(struct pool_config){.name = name,
                                          .svc = "test",
                                          .threads = threads,
                                          .queue = queue,
                                          .thread_start = start,
                                          .thread_end = end,
                                          .arg = &started});
}

static void count(void *state, void *job)
{
    (void)job;
    ((struct state *)state)->jobs++;
}

/* Holds its thread until the gate (the job) is opened. */
static void wait_at_gate(void *state, void *job)
{
    atomic_int *gate = job;

    ((struct state *)state)->jobs++;
    atomic_fetch_add(gate, 1);
    while (atomic_load(gate) < 100) {
        sched_yield();
    }
}

static void in_order(void *state, void *job)
{
    int number = *(int *)job;

    ((struct state *)state)->jobs++;
    CHECK_INT(atomic_exchange(&last, number), number - 1);
}

static int64_t gauge(const char *name, const char *labels)
{
    return metric_value(metrics_gauge(name, "", labels));
}

TEST(each_job_runs_once_before_stop_returns)
{
    struct pool *pool = make("once", 4, 16);
    int taken = 0;

    for (int i = 0; i < 20000; i++) {
        taken += pool_submit(pool, count, NULL) == 0 ? 1 : 0;
    }
    pool_stop(pool);
    CHECK_INT(atomic_load(&ran), taken);
    CHECK_INT(atomic_load(&started), 4);
    CHECK_INT(atomic_load(&ended), 4);
    CHECK_INT(gauge("chat_pool_queued_jobs", "pool=\"once\""), 0);
    CHECK_INT(gauge("chat_pool_busy_threads", "pool=\"once\""), 0);
    CHECK_INT(pool_submit(pool, count, NULL), ERR_UNAVAILABLE);
    pool_stop(pool); /* again: nothing */
    pool_free(pool);
}

TEST(one_thread_keeps_the_order)
{
    struct pool *pool = make("order", 1, 8);
    int numbers[1000];

    atomic_store(&last, 0);
    for (int i = 0; i < 1000; i++) {
        numbers[i] = i + 1;
        while (pool_submit(pool, in_order, &numbers[i]) != 0) {
            sched_yield();
        }
    }
    pool_free(pool);
    CHECK_INT(atomic_load(&last), 1000);
}

TEST(the_queue_has_a_bound)
{
    struct pool *pool = make("bound", 2, 3);
    atomic_int gate = 0;

    CHECK_INT(pool_submit(pool, wait_at_gate, &gate), 0);
    CHECK_INT(pool_submit(pool, wait_at_gate, &gate), 0);
    while (atomic_load(&gate) < 2) {
        sched_yield();
    }
    CHECK_INT(gauge("chat_pool_busy_threads", "pool=\"bound\""), 2);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(pool_submit(pool, count, NULL), 0);
    }
    CHECK_INT(pool_queued(pool), 3);
    CHECK_INT(gauge("chat_pool_queued_jobs", "pool=\"bound\""), 3);
    CHECK_INT(pool_submit(pool, count, NULL), ERR_UNAVAILABLE);
    CHECK_INT(metric_value(metrics_counter("chat_pool_refused_total", "", "pool=\"bound\"")), 1);
    atomic_store(&gate, 100);
    pool_stop(pool); /* runs what is queued */
    CHECK_INT(atomic_load(&ran), 5);
    CHECK_INT(metric_value(metrics_histogram_us("chat_pool_wait_seconds", "", "pool=\"bound\"")),
              5);
    pool_free(pool);
}

static void submit_more(void *state, void *job)
{
    struct pool *pool = job;

    ((struct state *)state)->jobs++;
    if (((struct state *)state)->jobs < 100) {
        CHECK_INT(pool_submit(pool, submit_more, pool), 0);
    } else {
        atomic_store(&last, -1);
    }
}

TEST(jobs_submit_jobs)
{
    struct pool *pool = make("chain", 1, 1);

    atomic_store(&last, 0);
    CHECK_INT(pool_submit(pool, submit_more, pool), 0);
    while (atomic_load(&last) != -1) {
        sched_yield();
    }
    pool_free(pool);
    CHECK_INT(atomic_load(&ran), 100);
}

static void *submitter(void *arg)
{
    int *taken = calloc(1, sizeof(*taken));

    for (int i = 0; i < 5000; i++) {
        *taken += pool_submit(arg, count, NULL) == 0 ? 1 : 0;
    }
    return taken;
}

TEST(many_threads_submit)
{
    struct pool *pool = make("many", 3, 64);
    pthread_t threads[4];
    int taken = 0;

    for (size_t i = 0; i < 4; i++) {
        pthread_create(&threads[i], NULL, submitter, pool);
    }
    for (size_t i = 0; i < 4; i++) {
        void *result;

        pthread_join(threads[i], &result);
        taken += *(int *)result;
        free(result);
    }
    pool_free(pool);
    CHECK_INT(atomic_load(&ran), taken);
}

static void look_around(void *state, void *job)
{
    char name[16];
    sigset_t blocked;

    ((struct state *)state)->jobs++;
    pthread_getname_np(pthread_self(), name, sizeof(name));
    CHECK_STR(name, "a-long-name--0");
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    CHECK(sigismember(&blocked, SIGTERM) == 1);
    CHECK(sigismember(&blocked, SIGSEGV) == 0);
    *(int *)job = 1;
}

TEST(threads_have_names_and_no_signals)
{
    struct pool *pool = make("a-long-name-of-a-pool", 1, 1);
    int looked = 0;
    sigset_t blocked;

    CHECK_INT(pool_submit(pool, look_around, &looked), 0);
    pool_free(pool);
    CHECK_INT(looked, 1);
    pthread_sigmask(SIG_BLOCK, NULL, &blocked);
    CHECK(sigismember(&blocked, SIGTERM) == 0); /* the caller's mask is as before */
    pool_free(NULL);
}

static void nothing(void *state, void *job)
{
    CHECK(state == NULL && job == NULL);
}

TEST(without_state)
{
    struct pool *pool = pool_new(&(struct pool_config){.name = "bare", .threads = 1, .queue = 1});

    CHECK_INT(pool_submit(pool, nothing, NULL), 0);
    pool_free(pool);
}
