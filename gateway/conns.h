// SPDX-License-Identifier: MIT
/*
 * The connections of a loop that speak HTTP, and how much their unfinished requests hold. h2o keeps
 * a request's body in memory until it is whole, so a few hundred clients that stop in the middle of
 * one could fill it: over the gateway's budget the oldest unfinished ones are closed. Knows nothing
 * of what requests say. Loop thread unless said.
 */
#pragma once

#include "gateway/loop_engine.h"

struct conn;

/* Counts the new connection, until it closes. Owned by the socket. */
void conns_add(struct loop *loop, h2o_socket_t *socket);
struct conn *conns_of(h2o_socket_t *socket); /* while it speaks HTTP */
/* A request is whole and being answered (its memory counts, but it is not closed), or no more. */
void conns_set_serving(struct conn *conn, bool serving);
/* The socket speaks WebSocket from here on: still counted as a connection, no longer watched. */
void conns_release(h2o_socket_t *socket);
/* As many connections as may be; any thread. */
bool conns_is_full(const struct gateway *gw);
void conns_loop_init(struct loop *loop);
void conns_metrics(struct gateway *gw); /* once at start; bus thread */
