// SPDX-License-Identifier: MIT
/*
 * What a daemon tells those who run it, by HTTP on a port of its own:
 *   GET /metrics   the metrics (Prometheus text)
 *   GET /healthz   200 while the loop turns
 *   GET /readyz    200, or 503 and what is missing, while the daemon cannot do its work
 *
 * Not for clients and not for the open network: no TLS, no authentication, one request a
 * connection. Everything here runs on the thread of the loop that it was started with. The daemon
 * must ignore SIGPIPE: libuv's writes do not.
 */
#pragma once

#include "common/buf.h"

#include <stdbool.h>
#include <uv.h>

struct admin;

struct admin_ops {
    /* Can the daemon do its work? If not, adds a JSON object to `why` that names what is missing:
     * {"database":"unreachable"}. NULL: always ready. */
    bool (*ready)(void *arg, struct buf *why);
};

/*
 * Listens on an address (IPv4 or IPv6, no name) and port (0: a free one). ops and arg are borrowed
 * until admin_stop. ERR_INVALID: not an address or port; ERR_UNAVAILABLE: cannot listen there.
 * On an error too, something of it is closed by the loop's next turns.
 */
int admin_start(uv_loop_t *loop, const char *bind, int port, const struct admin_ops *ops, void *arg,
                struct admin **admin_out) __attribute__((warn_unused_result));
/* Takes NULL. Closes all sockets; the memory goes in the loop's next turns. */
void admin_stop(struct admin *admin);
/* The port that it listens on. */
int admin_port(const struct admin *admin);
