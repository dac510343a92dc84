// SPDX-License-Identifier: MIT
/*
 * A sweep ten times a second measures every input buffer. One that was found with bytes of an
 * unfinished request goes to the end of `arriving`, so that list is ordered by age. Between two
 * sweeps the sum may pass the budget by what the network brings in that time.
 */
#include "gateway/conns.h"

#include "common/log.h"
#include "common/metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>

#define SWEEP_MS 100
#define SPARE_CONNECTIONS 1000 /* for HTTP, beside MAX_CONNECTIONS sockets */

struct conn {
    h2o_linklist_t link; /* in `quiet` or `arriving` */
    struct loop *loop;
    h2o_socket_t *socket;
    size_t held; /* bytes of its buffer at the last sweep */
    bool serving, arriving, shed;
};

struct conns {
    struct loop *loop;
    h2o_linklist_t quiet, arriving;
    h2o_timeout_t timeout;
    h2o_timeout_entry_t sweep; /* linked while there is a connection */
    struct metric *shed_total;
};

#define CONN_OF(node) H2O_STRUCT_FROM_MEMBER(struct conn, link, node)

static void on_socket_close(void *data)
{
    struct loop *loop = data;
    atomic_fetch_sub_explicit(&loop->gw->connections, 1, memory_order_relaxed);
}

static void hold(struct conn *c, size_t bytes)
{
    atomic_fetch_add_explicit(&c->loop->gw->request_bytes, (int64_t)bytes - (int64_t)c->held,
                              memory_order_relaxed);
    c->held = bytes;
}

static void forget(struct conn *c)
{
    hold(c, 0);
    h2o_linklist_unlink(&c->link);
    free(c);
}

static void on_conn_close(void *data)
{
    struct conn *c = data;
    on_socket_close(c->loop);
    forget(c);
}

void conns_add(struct loop *loop, h2o_socket_t *socket)
{
    struct conns *conns = loop->conns;
    struct conn *c = calloc(1, sizeof(*c));
    assert(c != NULL);
    c->loop = loop;
    c->socket = socket;
    h2o_linklist_insert(&conns->quiet, &c->link);
    atomic_fetch_add_explicit(&loop->gw->connections, 1, memory_order_relaxed);
    socket->on_close.cb = on_conn_close;
    socket->on_close.data = c;
    if (!h2o_timeout_is_linked(&conns->sweep)) {
        h2o_timeout_link(loop->engine->context.loop, &conns->timeout, &conns->sweep);
    }
}

struct conn *conns_of(h2o_socket_t *socket)
{
    return socket->on_close.data;
}

void conns_set_serving(struct conn *c, bool serving)
{
    c->serving = serving;
}

void conns_release(h2o_socket_t *socket)
{
    struct conn *c = conns_of(socket);
    socket->on_close.cb = on_socket_close;
    socket->on_close.data = c->loop;
    forget(c);
}

bool conns_is_full(const struct gateway *gw)
{
    return atomic_load_explicit(&gw->connections, memory_order_relaxed) >=
           gw->settings->max_connections + SPARE_CONNECTIONS;
}

/* ---- The sweep ---- */

static void move(struct conns *conns, struct conn *c, bool arriving)
{
    if (c->arriving != arriving) {
        c->arriving = arriving;
        h2o_linklist_unlink(&c->link);
        h2o_linklist_insert(arriving ? &conns->arriving : &conns->quiet, &c->link);
    }
}

/* What moves goes to the end of the other list; one that is met there again stays where it is. */
static void measure(struct conns *conns, h2o_linklist_t *list)
{
    h2o_linklist_t *next;
    for (h2o_linklist_t *node = list->next; node != list; node = next) {
        next = node->next;
        struct conn *c = CONN_OF(node);
        if (!c->shed) {
            hold(c, c->socket->input->bytes != NULL ? c->socket->input->capacity : 0);
            move(conns, c, c->socket->input->size > 0 && !c->serving);
        }
    }
}

/* h2o cannot be told to drop a connection; it does so by itself at the end of the stream. */
static void shed(struct conns *conns, struct conn *c)
{
    c->shed = true;
    hold(c, 0);
    shutdown(h2o_socket_get_fd(c->socket), SHUT_RDWR);
    metric_inc(conns->shed_total);
}

static bool is_over_budget(const struct gateway *gw)
{
    return atomic_load_explicit(&gw->request_bytes, memory_order_relaxed) >
           gw->settings->request_memory_mib * 1024 * 1024;
}

static void on_sweep(h2o_timeout_entry_t *entry)
{
    struct conns *conns = H2O_STRUCT_FROM_MEMBER(struct conns, sweep, entry);
    struct gateway *gw = conns->loop->gw;
    measure(conns, &conns->quiet);
    measure(conns, &conns->arriving);
    int count = 0;
    for (h2o_linklist_t *node = conns->arriving.next;
         node != &conns->arriving && is_over_budget(gw); node = node->next) {
        if (!CONN_OF(node)->shed) {
            shed(conns, CONN_OF(node));
            count++;
        }
    }
    if (count > 0) {
        log_warn("unfinished requests hold too much memory: the oldest are closed",
                 "closed=%d budget_mib=%lld", count, (long long)gw->settings->request_memory_mib);
    }
    if (!h2o_linklist_is_empty(&conns->quiet) || !h2o_linklist_is_empty(&conns->arriving)) {
        h2o_timeout_link(conns->loop->engine->context.loop, &conns->timeout, &conns->sweep);
    }
}

static double read_request_bytes(void *arg)
{
    const struct gateway *gw = arg;
    return (double)atomic_load(&gw->request_bytes);
}

void conns_metrics(struct gateway *gw)
{
    metrics_gauge_fn("chat_gateway_request_bytes",
                     "Memory of requests that arrive or are answered.", NULL, read_request_bytes,
                     gw);
}

void conns_loop_init(struct loop *loop)
{
    struct conns *conns = calloc(1, sizeof(*conns));
    assert(conns != NULL);
    conns->loop = loop;
    h2o_linklist_init_anchor(&conns->quiet);
    h2o_linklist_init_anchor(&conns->arriving);
    h2o_timeout_init(loop->engine->context.loop, &conns->timeout, SWEEP_MS);
    conns->sweep.cb = on_sweep;
    conns->shed_total = metrics_counter("chat_gateway_requests_shed_total",
                                        "Unfinished requests closed for their memory.", NULL);
    loop->conns = conns;
}
