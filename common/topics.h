// SPDX-License-Identifier: MIT
/*
 * Every topic of the suite, once: name, what it keeps, who writes and reads it.
 *
 * A name is KAFKA_TOPIC_PREFIX and the text here ("chat." + "events.message"). Keys are pairs of
 * numbers (struct bus_key), 16 bytes big-endian on the wire. All but the reply topics have
 * KAFKA_PARTITIONS partitions, a reply topic has one.
 */
#pragma once

#include <stdint.h>

#define TOPIC_MINUTES (10LL * 60 * 1000)
#define TOPIC_HOUR (60LL * 60 * 1000)
#define TOPIC_DAYS (7LL * 24 * TOPIC_HOUR)

/* X(symbol, name, retention in ms (0: compacted), key, producer -> consumer) */
#define TOPIC_LIST(X)                                                                              \
    X(RPC_AUTH, "rpc.auth", TOPIC_MINUTES)          /* asked-about entity; anyone -> auth-svc */   \
    X(RPC_GROUP, "rpc.group", TOPIC_MINUTES)        /* the same, group-svc */                      \
    X(RPC_PRESENCE, "rpc.presence", TOPIC_MINUTES)  /* the same, presence-svc */                   \
    X(RPC_MESSAGE, "rpc.message", TOPIC_MINUTES)    /* the same, message-svc */                    \
    X(COMMANDS, "commands", TOPIC_DAYS)             /* conversation; gateway -> message-svc */     \
    X(REPLY, "reply", TOPIC_MINUTES)                /* none; services -> the asking instance */    \
    X(EVENTS_MESSAGE, "events.message", TOPIC_DAYS) /* conversation; message-svc -> gateways */    \
    X(EVENTS_GROUP, "events.group", 0)              /* (group, 0) or (group, user); group-svc ->   \
                                                       message-svc, gateways */                    \
    X(EVENTS_USER, "events.user", 0)                /* (user, 0); auth-svc -> gateways */          \
    X(EVENTS_SESSION, "events.session", TOPIC_HOUR) /* (user, 0); auth-svc -> gateways; kept       \
                                                       max(an hour, 2 access token lives) */       \
    X(PRESENCE, "presence", TOPIC_MINUTES)          /* (user, 0) or (gateway, 0);                  \
                                                       gateway -> presence-svc */                  \
    X(EVENTS_PRESENCE, "events.presence", TOPIC_MINUTES) /* (user, 0); presence-svc -> gateways */ \
    X(SIGNALS, "signals", TOPIC_MINUTES)                 /* conversation; gateway -> gateways */

enum topic {
#define X(symbol, name, retention) TOPIC_##symbol,
    TOPIC_LIST(X)
#undef X
        TOPIC_COUNT,
};
