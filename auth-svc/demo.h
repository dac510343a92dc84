// SPDX-License-Identifier: MIT
/*
 * Two accounts to try the suite with: alice and bob, in a new standalone database in debug mode.
 */
#pragma once

#include "common/rpc.h"
#include "common/svc.h"

/* Begins it on the slow lane, where hashing belongs; nothing happens in other ways of running, or
 * when there are users already. Loop thread, once, after the outbox is there. */
int auth_demo_create(struct svc_ctx *ctx);

#define AUTH_DEMO_PASSWORD_SIZE 15
/* A random password for people to type: "bako-tuni-wepo", 38 bits. */
void auth_demo_make_password(char out[AUTH_DEMO_PASSWORD_SIZE]);
/* Makes the two accounts in an empty database; the passwords are written to line, one line for
 * people, "" when there were users. For a worker and for tests. */
int auth_demo_fill_database(struct rpc_request *rq, char *line, size_t line_size);
