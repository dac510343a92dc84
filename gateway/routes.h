// SPDX-License-Identifier: MIT
/*
 * THE table: each REST path and each WebSocket frame type, what answers it, who may call it. Pure
 * data and matching; rest.c and session.c act on it. Any thread.
 */
#pragma once

#include "common/topics.h"
#include "gateway/limits.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>

enum routes_who {
    ROUTES_ANYONE,
    ROUTES_MAYBE, /* whoever sends a good token is known, the others are nobody */
    ROUTES_USER,
    ROUTES_ADMIN,
};

/* What the gateway does by itself; ACT_RPC: asks the service. */
enum routes_act {
    ACT_RPC,
    ACT_SEND,
    ACT_EDIT,
    ACT_RECALL,
    ACT_ONLINE,
    ACT_SOCKET,
    ACT_SYSTEM,
    ACT_CONNECTIONS,
    ACT_HEALTH,
    ACT_READY,
    ACT_FILE,
    /* Frames: */
    ACT_TYPING,
    ACT_SYNC,
    ACT_PRESENCE,
    ACT_AUTH,
    ACT_PING,
};

struct route {
    const char *method, *path; /* NULL: no REST call. ":id" is a field of the input */
    const char *frame;         /* type of a WebSocket frame; NULL: none */
    enum routes_act act;
    enum routes_who who;
    enum limits_class limit;
    int status;       /* on success */
    enum topic topic; /* ACT_RPC: which service */
    const ProtobufCServiceDescriptor *service;
    const char *rpc;
    const char *key;      /* input field, a number or a name, that picks the partition; NULL: the
                             caller */
    const char *own;      /* input field that stays empty and so means the caller; NULL: none */
    const char *location; /* of what was made: "/api/groups/{group.id}", from the reply; without a
                             slash before it: below the request's own path */
    const char *version;  /* "user.version": the reply's ETag; NULL: none */
    const char *file;     /* ACT_FILE: a file of gateway/web/ */
    const char *only;     /* the one member of the reply that is shown; NULL: all of them */
    bool seen;            /* the reply shows when users were last there */
    bool body_optional;
};

#define ROUTES_PARAMS_MAX 4
struct routes_match {
    const struct route *route; /* NULL: no such path, or not with this method */
    size_t index;
    bool path_exists;
    char allow[64]; /* what the path allows: "GET, HEAD, POST" */
    struct routes_param {
        const char *name, *value; /* name: not terminated; value: as in the path, undecoded */
        size_t name_len, value_len;
    } params[ROUTES_PARAMS_MAX];
    size_t param_count;
};

void routes_match(const char *method, size_t method_len, const char *path, size_t path_len,
                  struct routes_match *match_out);
/* The row of a frame's type; NULL: unknown. */
const struct route *routes_find_frame(const char *type, size_t len);
const struct route *routes_row(size_t index);
size_t routes_count(void);
/* What the method of a row takes and gives; ACT_RPC only. */
const ProtobufCMethodDescriptor *routes_method(const struct route *route);
/* Every rpc of the table exists in its service, and every file in gateway/web/; else the name of
 * the first that does not. Start. */
const char *routes_check(void);
