// SPDX-License-Identifier: MIT
/*
 * One request on its way: what the parts of rest share. rest.c walks it from row to reply,
 * rest_answer.c answers, rest_seen.c asks when users were last there. Loop thread.
 */
#pragma once

#include "common/pb.h"
#include "gateway/calls.h"
#include "gateway/pbjson.h"
#include "gateway/problem.h"
#include "gateway/profiles.h"
#include "gateway/rest.h"
#include "gateway/web.h"
#include "proto/message.pb-c.h"

#define REST_JSON "application/json"

struct rest {
    struct http_request *http;
    struct loop *loop;
    struct arena *arena;
    struct routes_match match;
    struct token_claims claims; /* user_id 0: nobody */
    struct rpc_caller caller;
    char request_id[TRACE_REQUEST_SIZE], traceparent[TRACE_PARENT_SIZE];
    int64_t began_us;
    struct call *call;          /* waited for, or NULL */
    struct profiles_wait *wait; /* the same */
    void *reply;                /* a message */
    Chat__Command__OpCase op;   /* of a command; else 0 */
    void *what;                 /* Chat__Send, Chat__Edit, Chat__Recall */
    struct bus_key conversation;
    int status; /* on success */
    struct buf text;
};

struct rest_failure {
    struct problem problem;
    int64_t retry_after_s;
};

/* Counts, adds the headers that all answers have, answers. type NULL: without a body. */
void rest_answer_finish(struct rest *r, int status, const char *type, const char *text, size_t len);
void rest_answer_fail(struct rest *r, struct rest_failure *failure);
void rest_answer_fail_reply(struct rest *r, const struct rpc_reply *reply);
void rest_answer_fail_input(struct rest *r, int err, const struct pbjson_problem *problem);
/* Prints r->reply: 200 or 201 with Location and ETag, 204, or 304. */
void rest_answer_reply(struct rest *r);
/* A file of gateway/web/, or 304 when the client has it. */
void rest_answer_file(struct rest *r, const struct web_file *file);

/* What of rest.c the other acts need: the command of r goes, its reply is the answer. */
void rest_send_command(struct rest *r);
/* Edits and recalls (rest_change.c). */
void rest_change(struct rest *r);

/* Fills in last_seen_at of the users of r->reply who are not online, as far as presence-svc answers
 * soon; then goes on. */
void rest_seen_fill(struct rest *r, void (*then)(struct rest *r));
