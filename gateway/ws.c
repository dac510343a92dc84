// SPDX-License-Identifier: MIT
/*
 * An idle socket holds no buffer: cleartext is read into one buffer of the loop (h2o is told not to
 * read by itself), begun frames live in the parser only while they last, and the queue is a short
 * array inside the struct. Frames queued in one turn leave in one write at its end.
 */
#include "gateway/ws.h"
#include "gateway/loop_engine.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/random.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#define READ_BUFFER 65536
#define QUEUE_FEW 2
#define WRITE_FRAMES 64
#define LATER_MAX (8 * 1024 * 1024) /* bytes of answers beside the queue */
#define LATER_STEP 131072           /* moved into the queue at once */
#define CLOSE_WAIT_S 3              /* for the client's close frame, or its end */

struct later {
    struct later *next;
    struct frame *frame;
};

struct ws {
    struct session session; /* first */
    h2o_socket_t *socket;   /* NULL: closed */
    struct wsframe parser;
    struct ws *next, **link; /* all of the loop */
    struct ws *next_dirty;
    struct frame **queue; /* few, or allocated */
    struct frame *few[QUEUE_FEW];
    uint32_t count, cap;
    uint32_t sent;   /* bytes of the first frame that are written */
    uint32_t queued; /* bytes in the queue, and TLS's under way */
    uint32_t tls_bytes;
    struct later *later, **later_tail;
    uint32_t later_bytes;
    uint32_t heard_s, pinged_s, close_s; /* of the monotonic clock */
    struct limits_bucket bucket;
    int16_t close_code; /* 0: open */
    bool dirty, waiting /* for the socket to take more */, reading, finished;
};

struct ws_set {
    struct loop_task flush; /* first */
    struct ws *all;
    size_t count;
    struct ws *dirty;
    struct frame *ping;
    uint8_t buffer[READ_BUFFER];
};

static void destroy(struct ws *w);

static struct ws *ws_of(struct session *s)
{
    return (struct ws *)s;
}

static uint32_t now_s(void)
{
    return (uint32_t)(clock_mono_ms() / 1000);
}

/* ---- Writing ---- */

static void drop_queue(struct ws *w, uint32_t from)
{
    for (uint32_t i = from; i < w->count; i++) {
        w->queued -= w->queue[i]->len;
        metric_add(w->session.loop->gw->metrics.queue_bytes, -(int64_t)w->queue[i]->len);
        frame_release(w->queue[i]);
    }
    w->count = from < w->count ? from : w->count;
}

static void drop_later(struct ws *w)
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

static void append(struct ws *w, struct frame *f)
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
    mark_dirty(w);
}

static void too_slow(struct ws *w)
{
    drop_later(w);
    drop_queue(w, w->sent > 0 ? 1 : 0); /* a frame that is begun must end */
    ws_close(&w->session, WSCLOSE_TOO_SLOW, "too slow");
}

void ws_send(struct session *s, struct frame *f)
{
    struct ws *w = ws_of(s);
    if (w->socket == NULL || w->close_code != 0) {
        return;
    }
    append(w, f);
    metric_inc(s->loop->gw->metrics.frames_out);
    if (w->queued + w->tls_bytes > GATEWAY_QUEUE_MAX) {
        too_slow(w);
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
        too_slow(w);
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

static void move_later(struct ws *w)
{
    while (w->later != NULL && w->queued < LATER_STEP) {
        struct later *l = w->later;
        w->later = l->next;
        if (w->later == NULL) {
            w->later_tail = &w->later;
        }
        w->later_bytes -= l->frame->len;
        append(w, l->frame);
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
        destroy(w);
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
            destroy(w);
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

static void flush(struct ws *w)
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

static void flush_all(struct loop *loop, struct loop_task *task)
{
    (void)loop;
    struct ws_set *set = (struct ws_set *)task;
    struct ws *next;
    for (struct ws *w = set->dirty; w != NULL; w = next) {
        next = w->next_dirty;
        w->dirty = false;
        set->dirty = next;
        flush(w);
        session_release(&w->session);
    }
}

/* ---- Closing ---- */

static void count_close(struct gateway *gw, int code)
{
    (void)gw;
    char labels[32];
    snprintf(labels, sizeof(labels), "code=\"%d\"", code);
    metric_inc(metrics_counter("chat_gateway_closed_total", "WebSockets closed, by code.", labels));
}

static void destroy(struct ws *w)
{
    if (w->socket == NULL) {
        return;
    }
    struct loop *loop = w->session.loop;
    struct gateway *gw = loop->gw;
    count_close(gw, w->close_code != 0 ? w->close_code : 1006);
    h2o_socket_close(w->socket);
    w->socket = NULL;
    drop_later(w);
    drop_queue(w, 0);
    if (w->queue != w->few) {
        free(w->queue);
        w->queue = w->few;
    }
    wsframe_done(&w->parser);
    *w->link = w->next;
    if (w->next != NULL) {
        w->next->link = w->link;
    }
    loop->sockets->count--;
    atomic_fetch_sub(&gw->sockets, 1);
    metric_add(gw->metrics.sockets, -1);
    session_close(&w->session);
    session_release(&w->session);
}

void ws_free(struct session *s)
{
    free(ws_of(s));
}

void ws_close(struct session *s, int code, const char *reason)
{
    struct ws *w = ws_of(s);
    if (w->socket == NULL || w->close_code != 0) {
        return;
    }
    struct frame *f = frame_new_close(code, reason);
    drop_later(w);
    append(w, f);
    frame_release(f);
    w->close_code = (int16_t)code;
    w->close_s = now_s();
    wsframe_done(&w->parser);
    s->closed = true;
    ws_ready(s); /* reads on, to see the client's end */
}

/* ---- Reading ---- */

static void answer_close(struct ws *w, const uint8_t *payload, size_t len)
{
    int code = len >= 2 ? payload[0] << 8 | payload[1] : WSCLOSE_NORMAL;
    ws_close(&w->session, code, "");
}

static bool on_frame(void *arg, enum wsframe_op op, uint8_t *payload, size_t len)
{
    struct ws *w = arg;
    struct gateway *gw = w->session.loop->gw;
    metric_inc(gw->metrics.frames_in);
    if (op != WSFRAME_PONG && op != WSFRAME_CLOSE &&
        !limits_take(&w->bucket, gw->common->rate_frames, clock_mono_ms())) {
        ws_close(&w->session, WSCLOSE_POLICY, "too many frames");
        return false;
    }
    switch (op) {
    case WSFRAME_TEXT:
        session_receive(&w->session, (const char *)payload, len);
        break;
    case WSFRAME_PING: {
        struct frame *pong = frame_new(WSFRAME_PONG, payload, len);
        ws_send(&w->session, pong);
        frame_release(pong);
        break;
    }
    case WSFRAME_CLOSE:
        answer_close(w, payload, len);
        return false;
    default:
        break;
    }
    return w->socket != NULL && w->close_code == 0;
}

static void feed(struct ws *w, uint8_t *data, size_t len)
{
    w->heard_s = now_s();
    if (w->close_code != 0) {
        return; /* what comes after our close frame is not read */
    }
    session_keep(&w->session);
    int code = wsframe_feed(&w->parser, data, len, on_frame, w);
    if (code != 0) {
        static const char *const reasons[] = {"protocol error", "text frames only"};
        ws_close(&w->session, code,
                 code == WSCLOSE_PROTOCOL      ? reasons[0]
                 : code == WSCLOSE_UNSUPPORTED ? reasons[1]
                 : code == WSCLOSE_TOO_BIG     ? "frame too large"
                                               : "not UTF-8");
    }
    session_release(&w->session);
}

static void on_readable_tls(h2o_socket_t *socket, const char *err)
{
    struct ws *w = socket->data;
    if (err != NULL) {
        destroy(w);
        return;
    }
    size_t len = socket->input->size;
    if (len > 0) {
        session_keep(&w->session);
        feed(w, (uint8_t *)socket->input->bytes, len);
        if (w->socket != NULL) {
            h2o_buffer_consume(&socket->input, len);
        }
        session_release(&w->session);
    }
}

static void on_readable(h2o_socket_t *socket, const char *err)
{
    struct ws *w = socket->data;
    if (err != NULL) {
        destroy(w);
        return;
    }
    uint8_t *buffer = w->session.loop->sockets->buffer;
    ssize_t n = recv(h2o_socket_get_fd(socket), buffer, READ_BUFFER, MSG_DONTWAIT);
    if (n > 0) {
        feed(w, buffer, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        destroy(w);
    }
}

void ws_ready(struct session *s)
{
    struct ws *w = ws_of(s);
    if (w->socket == NULL || w->reading) {
        return;
    }
    w->reading = true;
    size_t early = w->socket->input->size; /* came with the request, or right after */
    if (w->socket->ssl == NULL) {
        h2o_socket_dont_read(w->socket, 1);
    }
    h2o_socket_read_start(w->socket, w->socket->ssl == NULL ? on_readable : on_readable_tls);
    if (early > 0) {
        session_keep(s);
        uint8_t *copy = malloc(early);
        assert(copy != NULL);
        memcpy(copy, w->socket->input->bytes, early);
        h2o_buffer_consume(&w->socket->input, early);
        feed(w, copy, early);
        free(copy);
        session_release(s);
    }
}

/* ---- Sweeping ---- */

static void check(struct ws_set *set, struct ws *w, uint32_t now, int64_t wall_s)
{
    if (w->close_code != 0) {
        if (now - w->close_s >= CLOSE_WAIT_S) {
            destroy(w);
        }
    } else if (now - w->heard_s >= GATEWAY_SILENCE_S) {
        destroy(w);
    } else if (w->session.expires_at_s <= wall_s) {
        ws_close(&w->session, WSCLOSE_EXPIRED, "token expired");
    } else if (now - w->pinged_s >= GATEWAY_HEARTBEAT_S) {
        w->pinged_s = now;
        ws_send(&w->session, set->ping);
    }
}

void ws_tick(struct loop *loop)
{
    struct ws_set *set = loop->sockets;
    uint32_t now = now_s();
    int64_t wall_s = clock_now_ms() / 1000;
    struct ws *next;
    for (struct ws *w = set->all; w != NULL; w = next) {
        next = w->next;
        check(set, w, now, wall_s);
    }
}

size_t ws_count(struct loop *loop)
{
    return loop->sockets->count;
}

void ws_each(struct loop *loop, void (*fn)(void *arg, struct session *s), void *arg)
{
    struct ws *next;
    for (struct ws *w = loop->sockets->all; w != NULL; w = next) {
        next = w->next;
        fn(arg, &w->session);
    }
}

void ws_loop_init(struct loop *loop)
{
    struct ws_set *set = calloc(1, sizeof(*set));
    assert(set != NULL);
    set->flush.run = flush_all;
    set->ping = frame_new(WSFRAME_PING, "", 0);
    loop->sockets = set;
}

void ws_loop_done(struct loop *loop)
{
    frame_release(loop->sockets->ping);
    free(loop->sockets);
    loop->sockets = NULL;
}

/* ---- Beginning and end ---- */

struct session *ws_adopt(struct loop *loop, void *h2o_socket, size_t request_len)
{
    struct ws_set *set = loop->sockets;
    struct ws *w = calloc(1, sizeof(*w));
    assert(w != NULL);
    w->socket = h2o_socket;
    w->socket->data = w;
    h2o_buffer_consume(&w->socket->input, request_len);
    free(w->socket->_peername);
    w->socket->_peername = NULL;
    wsframe_init(&w->parser, GATEWAY_FRAME_MAX);
    w->queue = w->few;
    w->cap = QUEUE_FEW;
    w->later_tail = &w->later;
    w->heard_s = w->pinged_s = now_s();
    w->session.refs = 1;
    w->next = set->all;
    w->link = &set->all;
    if (w->next != NULL) {
        w->next->link = &w->next;
    }
    set->all = w;
    set->count++;
    metric_add(loop->gw->metrics.sockets, 1);
    return &w->session;
}

static void say_goodbye(void *arg, struct session *s)
{
    (void)arg;
    char text[128], now[CLOCK_RFC3339_SIZE];
    clock_rfc3339(clock_now_ms(), now);
    /* Spread over some seconds, so that the successor is not overrun. */
    unsigned after_ms = 500 + (unsigned)(random_u64() % 4500);
    int n = snprintf(text, sizeof(text),
                     "{\"type\":\"reconnect\",\"content\":{\"after_ms\":%u},\"timestamp\":\"%s\"}",
                     after_ms, now);
    struct frame *f = frame_new(WSFRAME_TEXT, text, (size_t)n);
    ws_send(s, f);
    frame_release(f);
    ws_close(s, WSCLOSE_GOING_AWAY, "the server is going away");
}

void ws_drain(struct loop *loop)
{
    ws_each(loop, say_goodbye, NULL);
}
