// SPDX-License-Identifier: MIT
/*
 * The queue of a socket. Frames queued in one turn of the loop leave in one write at its end; what
 * the kernel does not take waits until it does. Over its bound the queue is dropped and the socket
 * closed: what was missed is there by seq.
 *
 * What waits at the end of a turn counts against the budget of all sockets; what comes and goes
 * within one is mostly shared and soon gone. A frame that many wait for counts for each of them.
 */
#include "gateway/ws_impl.h"

#include "common/metrics.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define WRITE_FRAMES 64
#define LATER_MAX (8 * 1024 * 1024) /* bytes of answers beside the queue */
#define LATER_STEP 131072           /* moved into the queue at once */

void ws_write_drop_queue(struct ws *w, uint32_t from)
{
    for (uint32_t i = from; i < w->count; i++) {
        w->queued -= w->queue[i]->len;
        metric_add(w->session.loop->gw->metrics.queue_bytes, -(int64_t)w->queue[i]->len);
        frame_release(w->queue[i]);
    }
    w->count = from < w->count ? from : w->count;
}

void ws_write_drop_later(struct ws *w)
{
    struct later *next;
    for (struct later *l = w->later; l != NULL; l = next) {
        next = l->next;
        frame_release(l->frame);
        free(l);
    }
    w->later = NULL;
    w->later_tail = &w->later;
    w->later_bytes = 0;
}

/* ---- The budget of all sockets ---- */

void ws_write_settle(struct ws *w)
{
    uint32_t bytes = w->socket != NULL ? w->queued + w->tls_bytes + w->later_bytes : 0;
    if (bytes != w->held) {
        atomic_fetch_add_explicit(&w->session.loop->gw->socket_bytes,
                                  (int64_t)bytes - (int64_t)w->held, memory_order_relaxed);
        w->held = bytes;
    }
}

int64_t ws_write_share(const struct gateway *gw)
{
    int64_t budget = gw->settings->socket_memory_mib * 1024 * 1024;
    int sockets = atomic_load_explicit(&gw->sockets, memory_order_relaxed);
    bool over = atomic_load_explicit(&gw->socket_bytes, memory_order_relaxed) > budget;
    return over && sockets > 0 ? budget / sockets : INT64_MAX;
}

/* ---- The queue of one ---- */

/* The first n frames are written. */
static void pop(struct ws *w, uint32_t n)
{
    size_t bytes = 0;
    for (uint32_t i = 0; i < n; i++) {
        bytes += w->queue[i]->len;
        frame_release(w->queue[i]);
    }
    w->queued -= (uint32_t)bytes;
    metric_add(w->session.loop->gw->metrics.queue_bytes, -(int64_t)bytes);
    w->count -= n;
    memmove(w->queue, w->queue + n, w->count * sizeof(struct frame *));
    if (w->count == 0 && w->queue != w->few) {
        free(w->queue);
        w->queue = w->few;
        w->cap = QUEUE_FEW;
    }
}

static void mark_dirty(struct ws *w)
{
    if (!w->dirty) {
        struct ws_set *set = w->session.loop->sockets;
        w->dirty = true;
        w->next_dirty = set->dirty;
        set->dirty = w;
        session_keep(&w->session);
        loop_later(w->session.loop, &set->flush);
    }
}

static void enqueue(struct ws *w, struct frame *f)
{
    if (w->count == w->cap) {
        uint32_t cap = w->cap * 4;
        struct frame **q = malloc(cap * sizeof(struct frame *));
        assert(q != NULL);
        memcpy(q, w->queue, w->count * sizeof(struct frame *));
        if (w->queue != w->few) {
            free(w->queue);
        }
        w->queue = q;
        w->cap = cap;
    }
    w->queue[w->count++] = frame_keep(f);
    w->queued += f->len;
    metric_add(w->session.loop->gw->metrics.queue_bytes, f->len);
}

void ws_write_append(struct ws *w, struct frame *f)
{
    enqueue(w, f);
    mark_dirty(w);
}

void ws_write_too_slow(struct ws *w)
{
    ws_write_drop_later(w);
    ws_write_drop_queue(w, w->sent > 0 ? 1 : 0); /* a frame that is begun must end */
    ws_close(&w->session, WSCLOSE_TOO_SLOW, "too slow");
}

void ws_send(struct session *s, struct frame *f)
{
    struct ws *w = ws_of(s);
    if (w->socket == NULL || w->close_code != 0) {
        return;
    }
    ws_write_append(w, f);
    metric_inc(s->loop->gw->metrics.frames_out);
    if (w->queued + w->tls_bytes > GATEWAY_QUEUE_MAX) {
        ws_write_too_slow(w);
    }
}

void ws_send_later(struct session *s, struct frame *f)
{
    struct ws *w = ws_of(s);
    if (w->socket == NULL || w->close_code != 0) {
        return;
    }
    if (w->later == NULL && w->queued + f->len < LATER_STEP) {
        ws_send(s, f);
        return;
    }
    if (w->later_bytes + f->len > LATER_MAX) {
        ws_write_too_slow(w);
        return;
    }
    struct later *l = malloc(sizeof(*l));
    assert(l != NULL);
    *l = (struct later){.frame = frame_keep(f)};
    *w->later_tail = l;
    w->later_tail = &l->next;
    w->later_bytes += f->len;
    mark_dirty(w);
}

bool ws_is_behind(const struct session *s)
{
    return ((const struct ws *)s)->later != NULL;
}

static void move_later(struct ws *w)
{
    while (w->later != NULL && w->queued < LATER_STEP) {
        struct later *l = w->later;
        w->later = l->next;
        if (w->later == NULL) {
            w->later_tail = &w->later;
        }
        w->later_bytes -= l->frame->len;
        enqueue(w, l->frame);
        metric_inc(w->session.loop->gw->metrics.frames_out);
        frame_release(l->frame);
        free(l);
    }
}

static size_t gather(const struct ws *w, struct iovec vec[WRITE_FRAMES])
{
    size_t n = w->count < WRITE_FRAMES ? w->count : WRITE_FRAMES;
    for (size_t i = 0; i < n; i++) {
        size_t skip = i == 0 ? w->sent : 0;
        vec[i].iov_base = w->queue[i]->data + skip;
        vec[i].iov_len = w->queue[i]->len - skip;
    }
    return n;
}

/* Everything is written, the close frame too: nothing more comes from us. */
static void finish(struct ws *w)
{
    if (w->close_code != 0 && !w->finished) {
        w->finished = true;
        if (w->socket->ssl == NULL) {
            shutdown(h2o_socket_get_fd(w->socket), SHUT_WR);
        }
    }
}

static void flush(struct ws *w);

static void on_writable(h2o_socket_t *socket, const char *err)
{
    struct ws *w = socket->data;
    w->waiting = false;
    w->tls_bytes = 0;
    if (err != NULL) {
        ws_destroy(w);
        return;
    }
    flush(w);
}

/* False: the socket takes no more, or is gone. */
static bool flush_plain(struct ws *w)
{
    struct iovec vec[WRITE_FRAMES];
    size_t n = gather(w, vec);
    struct msghdr message = {.msg_iov = vec, .msg_iovlen = n};
    ssize_t wrote = sendmsg(h2o_socket_get_fd(w->socket), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (wrote < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            ws_destroy(w);
            return false;
        }
        wrote = 0;
    }
    size_t left = (size_t)wrote;
    uint32_t done = 0;
    while (done < n && left >= vec[done].iov_len) {
        left -= vec[done++].iov_len;
    }
    w->sent = (uint32_t)left + (done == 0 ? w->sent : 0);
    pop(w, done);
    if (done < n) {
        w->waiting = true;
        h2o_socket_notify_write(w->socket, on_writable);
        return false;
    }
    return true;
}

/* h2o encrypts all at once: the frames can go, their bytes count until they are written. */
static bool flush_tls(struct ws *w)
{
    struct iovec vec[WRITE_FRAMES];
    h2o_iovec_t bufs[WRITE_FRAMES];
    size_t n = gather(w, vec);
    for (size_t i = 0; i < n; i++) {
        bufs[i] = h2o_iovec_init(vec[i].iov_base, vec[i].iov_len);
        w->tls_bytes += (uint32_t)vec[i].iov_len;
    }
    w->waiting = true;
    h2o_socket_write(w->socket, bufs, n, on_writable);
    pop(w, (uint32_t)n);
    return false;
}

static void write_all(struct ws *w)
{
    while (w->socket != NULL && !w->waiting) {
        move_later(w);
        if (w->count == 0) {
            finish(w);
            return;
        }
        if (!(w->socket->ssl == NULL ? flush_plain(w) : flush_tls(w))) {
            return;
        }
    }
}

static void flush(struct ws *w)
{
    session_keep(&w->session);
    write_all(w);
    ws_write_settle(w);
    session_release(&w->session);
}

void ws_write_flush_all(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    struct ws_set *set = (struct ws_set *)task;
    struct ws *next, *list = set->dirty;
    set->dirty = NULL; /* who gets more meanwhile is for the next turn */
    for (struct ws *w = list; w != NULL; w = next) {
        next = w->next_dirty;
        w->dirty = false;
        flush(w);
        session_release(&w->session);
    }
}
