// SPDX-License-Identifier: MIT
/*
 * What all files of the gateway share: its settings, and the one running instance.
 *
 * Two kinds of threads work on it: the libuv loop of the skeleton (bus, replies, signals), called
 * the bus thread here, and GATEWAY_THREADS h2o loops (struct loop), each with its own listener,
 * sockets and hub. A module says in its header on which thread it may be called.
 */
#pragma once

#include "common/svc.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GATEWAY_VERSION "1.0.0"
#define GATEWAY_LOOPS_MAX 64
#define GATEWAY_HEARTBEAT_S 25    /* a ping to every socket this often */
#define GATEWAY_SILENCE_S 60      /* a socket that says nothing for so long is closed */
#define GATEWAY_FRAME_MAX 65536   /* bytes of one client frame, fragments together */
#define GATEWAY_QUEUE_MAX 1048576 /* bytes that wait for one slow socket */
#define GATEWAY_BODY_MAX 1048576  /* bytes of a request's body */
#define GATEWAY_CONTENT_MAX 16384 /* bytes of a message's content */
#define GATEWAY_STATUS_MAX                                                                         \
    1000 /* from so many users online, user_status goes to who asked only                          \
          */

struct gateway_settings {
    int64_t port, max_connections, max_sockets_per_user, threads, request_memory_mib;
    int64_t socket_memory_mib;
    const char *allowed_origins, *admin_users, *trusted_proxies;
    const char *tls_cert_file, *tls_key_file;
};

struct gateway_metrics {
    struct metric *sockets, *frames_in, *frames_out, *queue_bytes, *deliveries, *request_us;
};

struct gateway {
    struct svc_ctx *ctx;
    const struct svc_settings *common;
    const struct gateway_settings *settings;
    struct bus *bus;
    struct rpc_client *rpc;
    const char *instance; /* "gateway-<instance>" */
    struct gateway_metrics metrics;

    struct token_keys *keys;
    struct authn *authn;
    struct limits *limits;
    struct origins *origins;
    struct proxies *proxies;
    struct interest *interest;
    struct profiles *profiles;
    struct online *online;
    struct reports *reports;
    struct deliver *deliver;
    struct http *http;

    struct loop *loops[GATEWAY_LOOPS_MAX];
    unsigned loop_count;
    int64_t started_ms; /* since 1970 */

    atomic_int connections;             /* TCP connections, HTTP and WebSocket */
    atomic_int sockets;                 /* WebSockets */
    atomic_int_least64_t request_bytes; /* of requests that arrive or are answered (conns.c) */
    atomic_int_least64_t socket_bytes;  /* that wait for sockets (ws_write.c) */
    atomic_int bare;                    /* those without the subprotocol */
    atomic_bool draining;
};
