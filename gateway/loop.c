// SPDX-License-Identifier: MIT
/*
 * A thread that runs an h2o event loop. Knows no HTTP (http.c sets the configuration up) and no
 * sockets (ws.c); gives both their turn ends and ticks.
 */
#include "gateway/loop_engine.h"

#include "common/log.h"
#include "gateway/conns.h"
#include "gateway/http.h"
#include "gateway/ws.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static_assert(sizeof(h2o_multithread_message_t) == sizeof(((struct loop_post *)0)->link),
              "a post begins with h2o's link");

#define SECOND_MS 1000

void loop_post(struct loop *loop, struct loop_post *post)
{
    assert(post->link[0] == NULL && post->run != NULL);
    atomic_fetch_add_explicit(&loop->backlog, post->weight, memory_order_relaxed);
    h2o_multithread_send_message(&loop->engine->receiver, (h2o_multithread_message_t *)post);
}

/* As H2O_STRUCT_FROM_MEMBER, through void: clang takes its cast for a misaligned one. */
#define ENGINE_OF(member, p)                                                                       \
    ((struct loop_engine *)(void *)((char *)(p)-offsetof(struct loop_engine, member)))

static void on_posts(h2o_multithread_receiver_t *receiver, h2o_linklist_t *messages)
{
    struct loop_engine *e = ENGINE_OF(receiver, receiver);
    struct loop *loop = e->context.storage.entries[0].data;
    while (!h2o_linklist_is_empty(messages)) {
        h2o_linklist_t *link = messages->next;
        h2o_linklist_unlink(link);
        struct loop_post *post = (struct loop_post *)(void *)link;
        atomic_fetch_sub_explicit(&loop->backlog, post->weight, memory_order_relaxed);
        post->run(loop, post);
    }
}

void loop_later(struct loop *loop, struct loop_task *task)
{
    struct loop_engine *e = loop->engine;
    if (task->queued) {
        return;
    }
    task->queued = true;
    task->next = NULL;
    *e->tasks_tail = task;
    e->tasks_tail = &task->next;
    if (!h2o_timeout_is_linked(&e->turn_entry)) {
        h2o_timeout_link(e->context.loop, &e->turn, &e->turn_entry);
    }
}

static void on_turn_end(h2o_timeout_entry_t *entry)
{
    struct loop_engine *e = ENGINE_OF(turn_entry, entry);
    struct loop *loop = e->context.storage.entries[0].data;
    struct loop_task *task = e->tasks;
    e->tasks = NULL;
    e->tasks_tail = &e->tasks;
    while (task != NULL) {
        struct loop_task *next = task->next;
        task->queued = false;
        task->run(loop, task);
        task = next;
    }
}

static void on_second(h2o_timeout_entry_t *entry)
{
    struct loop_engine *e = ENGINE_OF(second_entry, entry);
    struct loop *loop = e->context.storage.entries[0].data;
    h2o_timeout_link(e->context.loop, &e->second, &e->second_entry);
    ws_tick(loop);
    http_tick(loop);
}

struct arena *loop_arena(struct loop *loop)
{
    struct loop_engine *e = loop->engine;
    return e->arena_count > 0 ? e->arenas[--e->arena_count] : arena_new(0);
}

void loop_arena_done(struct loop *loop, struct arena *arena)
{
    struct loop_engine *e = loop->engine;
    if (e->arena_count < sizeof(e->arenas) / sizeof(e->arenas[0])) {
        arena_reset(arena);
        e->arenas[e->arena_count++] = arena;
    } else {
        arena_free(arena);
    }
}

struct loop *loop_new(struct gateway *gw, unsigned index)
{
    struct loop *loop = calloc(1, sizeof(*loop));
    struct loop_engine *e = calloc(1, sizeof(*e));
    assert(loop != NULL && e != NULL);
    loop->gw = gw;
    loop->index = index;
    loop->engine = e;
    e->tasks_tail = &e->tasks;
    return loop;
}

/* On the loop's own thread: a socket's buffer belongs to the free list of the thread that made it,
 * and h2o makes sockets here already. */
static void engine_open(struct loop *loop)
{
    struct loop_engine *e = loop->engine;
    http_configure(loop);
    h2o_loop_t *events = h2o_evloop_create();
    h2o_context_init(&e->context, events, &e->config);
    h2o_vector_reserve(NULL, &e->context.storage, 1);
    e->context.storage.entries[0] = (h2o_context_storage_item_t){.data = loop};
    e->context.storage.size = 1;
    h2o_multithread_register_receiver(e->context.queue, &e->receiver, on_posts);
    h2o_timeout_init(events, &e->turn, 0);
    e->turn_entry.cb = on_turn_end;
    h2o_timeout_init(events, &e->second, SECOND_MS);
    e->second_entry.cb = on_second;
    h2o_timeout_link(events, &e->second, &e->second_entry);
    conns_loop_init(loop);
    http_listen(loop);
}

static void *loop_run(void *arg)
{
    struct loop *loop = arg;
    struct loop_engine *e = loop->engine;
    log_set_service("gateway");
    engine_open(loop);
    sem_post(&e->changed);
    while (!e->stopping) {
        if (h2o_evloop_run(e->context.loop, SECOND_MS) != 0 && errno != EINTR) {
            log_error("event loop failed", "error=%s", LOG_Q(strerror(errno)));
        }
    }
    sem_post(&e->changed);
    /* h2o keeps free lists in thread-local memory and cannot give them back: to end here would
     * leak them. The thread ends with the process. */
    while (e->stopping) {
        pause();
    }
    return NULL;
}

static void wait_for_change(struct loop *loop)
{
    while (sem_wait(&loop->engine->changed) != 0) {
    }
}

void loop_start(struct loop *loop)
{
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 512 * 1024);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    sem_init(&loop->engine->changed, 0, 0);
    pthread_t thread;
    int err = pthread_create(&thread, &attr, loop_run, loop);
    assert(err == 0);
    pthread_attr_destroy(&attr);
    pthread_setname_np(thread, "gateway-loop");
    wait_for_change(loop);
    loop->engine->started = true;
}

void loop_stop(struct loop *loop)
{
    loop->engine->stopping = true;
}

void loop_join(struct loop *loop)
{
    if (loop->engine->started) {
        wait_for_change(loop);
        loop->engine->started = false;
    }
}
