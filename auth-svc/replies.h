// SPDX-License-Identifier: MIT
/*
 * Rows as the messages of proto/, in the request's arena. Any thread.
 */
#pragma once

#include "auth-svc/store.h"
#include "common/rpc.h"
#include "proto/auth.pb-c.h"

enum auth_replies_view {
    AUTH_REPLIES_PUBLIC,
    AUTH_REPLIES_OWN, /* with the email */
};

/* The texts are borrowed from user. */
Chat__User *auth_replies_make_user(struct arena *arena, const struct auth_store_user *user,
                                   enum auth_replies_view view);
/* As the caller may see it. */
Chat__User *auth_replies_show_user(struct rpc_request *rq, const struct auth_store_user *user);
/* A new access token, and the refresh token of the session's generation. ERR_INTERNAL. */
int auth_replies_fill_grant(struct rpc_request *rq, const struct auth_store_user *user,
                            const struct auth_store_session *session, const char *message,
                            Chat__Grant *out) __attribute__((warn_unused_result));
