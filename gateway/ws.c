// SPDX-License-Identifier: MIT
/*
 * An idle socket holds no buffer: cleartext is read into one buffer of the loop (h2o is told not to
 * read by itself), begun frames live in the parser only while they last, and the queue is a short
 * array inside the struct.
 */
#include "gateway/ws_impl.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/random.h"
#include "gateway/conns.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CLOSE_WAIT_S 3 /* for the client's close frame, or its end */

static uint32_t now_s(void)
{
    return (uint32_t)(clock_mono_ms() / 1000);
}

/* ---- Closing ---- */

/* What we send, and 1006: without a close frame. What else a client says is counted as one. */
static const int counted_codes[] = {
    WSCLOSE_NORMAL,      WSCLOSE_GOING_AWAY, WSCLOSE_PROTOCOL,      WSCLOSE_UNSUPPORTED,
    WSCLOSE_ABNORMAL,    WSCLOSE_BAD_TEXT,   WSCLOSE_POLICY,        WSCLOSE_TOO_BIG,
    WSCLOSE_AGAIN_LATER, WSCLOSE_EXPIRED,    WSCLOSE_SESSION_ENDED, WSCLOSE_TOO_SLOW,
};
#define COUNTED_CODES (sizeof(counted_codes) / sizeof(counted_codes[0]))
static struct metric *closed_total[COUNTED_CODES + 1]; /* the last: other */

static void count_close(int code)
{
    size_t i = 0;
    while (i < COUNTED_CODES && counted_codes[i] != code) {
        i++;
    }
    metric_inc(closed_total[i]);
}

static double read_socket_bytes(void *arg)
{
    const struct gateway *gw = arg;
    return (double)atomic_load(&gw->socket_bytes);
}

void ws_metrics(struct gateway *gw)
{
    metrics_gauge_fn("chat_gateway_socket_bytes",
                     "Bytes that sockets did not take at once: queues, long answers, TLS.", NULL,
                     read_socket_bytes, gw);
    for (size_t i = 0; i <= COUNTED_CODES; i++) {
        char labels[32] = "code=\"other\"";
        if (i < COUNTED_CODES) {
            snprintf(labels, sizeof(labels), "code=\"%d\"", counted_codes[i]);
        }
        closed_total[i] =
            metrics_counter("chat_gateway_closed_total", "WebSockets closed, by code.", labels);
    }
}

void ws_destroy(struct ws *w)
{
    if (w->socket == NULL) {
        return;
    }
    struct loop *loop = w->session.loop;
    struct gateway *gw = loop->gw;
    count_close(w->close_code != 0 ? w->close_code : WSCLOSE_ABNORMAL);
    h2o_socket_close(w->socket);
    w->socket = NULL;
    ws_write_drop_later(w);
    ws_write_drop_queue(w, 0);
    ws_write_settle(w);
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
    ws_write_drop_later(w);
    ws_write_append(w, f);
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
        ws_destroy(w);
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
        ws_destroy(w);
        return;
    }
    uint8_t *buffer = w->session.loop->sockets->buffer;
    ssize_t n = recv(h2o_socket_get_fd(socket), buffer, READ_BUFFER, MSG_DONTWAIT);
    if (n > 0) {
        feed(w, buffer, (size_t)n);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        ws_destroy(w);
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

static void check(struct ws_set *set, struct ws *w, uint32_t now, int64_t wall_s, int64_t share)
{
    if (w->close_code != 0) {
        uint32_t wait_s = atomic_load(&w->session.loop->gw->draining) ? 1 : CLOSE_WAIT_S;
        if (now - w->close_s >= wait_s) {
            ws_destroy(w);
        }
    } else if (now - w->heard_s >= GATEWAY_SILENCE_S) {
        ws_destroy(w);
    } else if (w->session.expires_at_s <= wall_s) {
        ws_close(&w->session, WSCLOSE_EXPIRED, "token expired");
    } else if (w->held > share) {
        ws_write_too_slow(w);
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
    int64_t share = ws_write_share(loop->gw);
    if (share < INT64_MAX) {
        log_warn("what waits for slow sockets takes too much memory: the slowest are closed",
                 "budget_mib=%lld share_bytes=%lld",
                 (long long)loop->gw->settings->socket_memory_mib, (long long)share);
    }
    struct ws *next;
    for (struct ws *w = set->all; w != NULL; w = next) {
        next = w->next;
        check(set, w, now, wall_s, share);
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
    set->flush.run = ws_write_flush_all;
    set->ping = frame_new(WSFRAME_PING, "", 0);
    loop->sockets = set;
}

/* ---- Beginning and end ---- */

struct session *ws_adopt(struct loop *loop, void *h2o_socket, size_t request_len)
{
    struct ws_set *set = loop->sockets;
    struct ws *w = calloc(1, sizeof(*w));
    assert(w != NULL);
    w->socket = h2o_socket;
    w->socket->data = w;
    conns_release(w->socket);
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
