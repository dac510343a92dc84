// SPDX-License-Identifier: MIT
/*
 * One client's protocol state, without sockets: hello, frames in, frames out, acks. ws.c carries
 * its frames; deliver.c pushes events to it. Loop thread.
 */
#pragma once

#include "common/token.h"
#include "gateway/frame.h"
#include "gateway/hub.h"
#include "gateway/limits.h"
#include "gateway/loop.h"

struct session {
    struct hub_entry hub; /* first: a hub entry is a session */
    struct loop *loop;
    uint64_t session_id; /* of the token */
    int64_t expires_at_s;
    char *traceparent;           /* came with the handshake: frames go on in it; NULL */
    struct session_watch *watch; /* users whose presence it follows; NULL: none */
    uint32_t refs;               /* the socket's and one for each answer that is awaited */
    uint8_t asking;              /* questions of its sync and presence frames under way */
    bool v1;                     /* has the subprotocol chat.v1 */
    bool ready;                  /* hello was sent */
    bool closed;                 /* a close frame was queued, or the socket is gone */
};

static inline struct session *session_of(struct hub_entry *e)
{
    return (struct session *)e;
}

/* A socket has opened: asks for what is needed, then says hello and lets frames in (ws_ready). */
void session_open(struct session *s, struct loop *loop, const struct token_claims *claims, bool v1);
/* The user's groups and profile are known; or cannot be, and its sockets are sent away. */
void session_opened(struct hub_user *user);
void session_refused(struct hub_user *user);
/* One text message. */
void session_receive(struct session *s, const char *text, size_t len);
/* The socket is gone: leaves the hub. */
void session_close(struct session *s);
void session_keep(struct session *s);
void session_release(struct session *s); /* the last one frees it: ws_free */

/* Pushes an event's frame, once hello was sent. bare: for sockets without the subprotocol, where it
 * differs; NULL: the same. True: it was queued. */
bool session_push(struct session *s, struct frame *v1, struct frame *bare);
