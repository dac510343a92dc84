// SPDX-License-Identifier: MIT
/*
 * One thread with an event loop, and the ways to it: posts from other threads, tasks for the end
 * of the turn, a tick each second. The only header that other files need to know of h2o's loop.
 */
#pragma once

#include "common/arena.h"
#include "common/map.h"
#include "gateway/gateway.h"

struct hub;
struct ws_set;
struct profiles_batch;
struct openings;
struct http_listener;
struct conns;

struct loop {
    struct gateway *gw;
    unsigned index;
    struct hub *hub;
    struct ws_set *sockets;
    struct profiles_batch *profiles; /* misses of this turn */
    struct openings *openings;       /* users whose sockets are opening */
    struct map watched;              /* of watch.c: users whose presence is followed here */
    struct http_listener *listener;
    struct conns *conns;
    struct loop_engine *engine; /* h2o's part: loop_engine.h */
    atomic_size_t backlog;      /* weight of the posts under way to this loop */
};

/* A message to a loop, allocated and freed by the poster's module; run owns it from then on. */
struct loop_post {
    void *link[2]; /* zero */
    void (*run)(struct loop *loop, struct loop_post *post);
    size_t weight; /* bytes that it holds on to */
};
void loop_post(struct loop *loop, struct loop_post *post); /* any thread, in order of the calls */

/* Something to be done once, when what has arrived in this turn is handled. Loop thread. */
struct loop_task {
    struct loop_task *next;
    void (*run)(struct loop *loop, struct loop_task *task);
    bool queued;
};
void loop_later(struct loop *loop, struct loop_task *task);

/* A scratch arena for one frame or reply; give it back soon. Loop thread. */
struct arena *loop_arena(struct loop *loop);
void loop_arena_done(struct loop *loop, struct arena *arena);

struct loop *loop_new(struct gateway *gw, unsigned index);
void loop_start(struct loop *loop); /* starts its thread */
/* The loop ends after this turn; loop_join waits for that. */
void loop_stop(struct loop *loop); /* loop thread */
void loop_join(struct loop *loop);
