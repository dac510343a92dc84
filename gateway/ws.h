// SPDX-License-Identifier: MIT
/*
 * WebSockets (RFC 6455): the upgrade, reading and writing frames on h2o's socket, the queue of each
 * socket, heartbeats, close codes. Knows nothing of what frames mean. Loop thread.
 */
#pragma once

#include "gateway/rest.h"
#include "gateway/session.h"

/* GET /api/ws: upgrades, or refuses (ws_upgrade.c). */
void ws_upgrade(struct rest *rest);
/* The socket (h2o_socket_t) speaks WebSocket from here on; its input begins with the request. */
struct session *ws_adopt(struct loop *loop, void *h2o_socket, size_t request_len);

/* Queues a frame (takes a reference of its own); it is written when the turn ends. Over the
 * bound the socket is closed with 4008. */
void ws_send(struct session *s, struct frame *frame);
/* The same for long answers: such frames wait beside the queue and move into it as it empties. What
 * is sent this way stays in order among itself only. */
void ws_send_later(struct session *s, struct frame *frame);
/* Something that was sent so still waits. */
bool ws_is_behind(const struct session *s);
/* Frames of the client are read from now on. */
void ws_ready(struct session *s);
/* Sends what is queued and a close frame, then closes. */
void ws_close(struct session *s, int code, const char *reason);
void ws_free(struct session *s); /* by session_release */

size_t ws_count(struct loop *loop);
/* Calls fn for each session of the loop; fn may close it. */
void ws_each(struct loop *loop, void (*fn)(void *arg, struct session *s), void *arg);
void ws_tick(struct loop *loop);
/* The server is going: `reconnect`, then 1001. */
void ws_drain(struct loop *loop);
void ws_loop_init(struct loop *loop);
void ws_metrics(struct gateway *gw); /* makes them, once at start; bus thread */
