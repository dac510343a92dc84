// SPDX-License-Identifier: MIT
/*
 * The frames that ask for much: sync and presence. And what session.c lends to them. Loop thread.
 */
#pragma once

#include "gateway/calls.h"
#include "gateway/pbjson.h"
#include "gateway/session.h"

/* A question of a session that is under way; id NULL: nobody wants an ack. */
struct asked {
    struct session *session;
    const char *id;
    char text[];
};
struct asked *session_asked(struct session *s, const char *id);
void session_answered(struct asked *asked);
void session_ack(struct session *s, const char *id, const char *content, size_t len);
void session_error(struct session *s, const char *id, int err, const char *detail,
                   const struct rpc_field_error *errors, size_t error_count);
void session_fail_reply(struct session *s, const char *id, const struct rpc_reply *reply);

/* A frame's content (NULL: none) into a message; false: refused, and answered. */
bool session_fill(struct session *s, const struct pbjson_doc *content, void *message,
                  const char *id, struct arena *arena);
/* Who asks, to the services; borrows from the session. */
struct rpc_caller session_caller(const struct session *s);
/* Frames that ask a service count among the user's requests; false: too many, and answered. */
bool session_may_ask(struct session *s, const char *id);

void session_sync(struct session *s, const struct pbjson_doc *content, const char *id,
                  struct arena *arena, const char *traceparent);
void session_presence(struct session *s, const struct pbjson_doc *content, const char *id,
                      struct arena *arena, const char *traceparent);
