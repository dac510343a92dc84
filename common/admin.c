// SPDX-License-Identifier: MIT
/*
 * HTTP/1.1 (RFC 9112), as little of it as Prometheus and health checks need, and strictly: a
 * request of at most 8 KiB without a body, one per connection, five seconds from accept to close,
 * 32 connections at a time (the next one is closed at once, so that nobody can make it hold more).
 *
 * Life of a connection: READING until the blank line, ANSWERING, then LINGERING: the write side is
 * shut and input thrown away until the client closes, since closing over unread input would make
 * the kernel send a reset that can overtake the answer.
 */
#include "common/admin.h"

#include "common/err.h"
#include "common/log.h"
#include "common/metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define REQUEST_MAX 8192
#define CONNECTIONS_MAX 32
#define TIMEOUT_MS 5000
#define BACKLOG 64

enum state { READING, ANSWERING, LINGERING };

struct conn {
    struct conn *next, **link; /* in admin->conns */
    struct admin *admin;
    uv_tcp_t tcp;
    uv_timer_t timer;
    int open_handles; /* of these two; freed when both are closed */
    enum state state;
    bool client_done; /* it shut its side; it may still wait for the answer */
    uv_write_t write;
    uv_shutdown_t shutdown;
    struct buf answer;
    size_t len; /* of the request so far */
    char request[REQUEST_MAX];
};

struct admin {
    uv_tcp_t listener;
    const struct admin_ops *ops;
    void *arg;
    struct conn *conns;
    int conn_count; /* all of them, closing ones too */
    int open_count; /* those in conns: a closed one's place is free at once */
    int port;
    bool listener_closed;
};

/* Part of the request; never NUL-terminated. */
struct text {
    const char *at;
    size_t len;
};

static bool text_is(struct text t, const char *s)
{
    return t.len == strlen(s) && memcmp(t.at, s, t.len) == 0;
}

static bool text_is_nocase(struct text t, const char *s)
{
    return t.len == strlen(s) && strncasecmp(t.at, s, t.len) == 0;
}

/* What is before the separator, which is taken too; false and nothing taken when there is none. */
static bool take_until(struct text *rest, const char *separator, struct text *out)
{
    size_t len = strlen(separator);
    const char *end = memmem(rest->at, rest->len, separator, len);
    if (end == NULL) {
        return false;
    }
    *out = (struct text){rest->at, (size_t)(end - rest->at)};
    rest->len -= out->len + len;
    rest->at = end + len;
    return true;
}

/* RFC 9110 section 5.6.2 */
static bool is_token(struct text t)
{
    static const char others[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < t.len; i++) {
        char c = t.at[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') && !(c >= '0' && c <= '9') &&
            (c == '\0' || strchr(others, c) == NULL)) {
            return false;
        }
    }
    return t.len > 0;
}

/* Visible characters, and where `blanks` says so, blanks and bytes above ASCII. */
static bool is_visible(struct text t, bool blanks)
{
    for (size_t i = 0; i < t.len; i++) {
        unsigned char c = (unsigned char)t.at[i];
        if ((c <= ' ' || c >= 0x7f) && !(blanks && (c == ' ' || c == '\t' || c >= 0x80))) {
            return false;
        }
    }
    return true;
}

static struct text trim(struct text t)
{
    while (t.len > 0 && (t.at[0] == ' ' || t.at[0] == '\t')) {
        t.at++;
        t.len--;
    }
    while (t.len > 0 && (t.at[t.len - 1] == ' ' || t.at[t.len - 1] == '\t')) {
        t.len--;
    }
    return t;
}

/* The field lines, each with its line end. Counts Host; a body is refused. */
static bool check_fields(struct text fields, int *hosts_out)
{
    struct text line, name;
    *hosts_out = 0;
    while (take_until(&fields, "\r\n", &line)) {
        /* A blank before the colon or at the line's start (folding) makes the name no token. */
        if (!take_until(&line, ":", &name) || !is_token(name) || !is_visible(line, true)) {
            return false;
        }
        struct text value = trim(line);
        *hosts_out += text_is_nocase(name, "host");
        if (text_is_nocase(name, "transfer-encoding") ||
            (text_is_nocase(name, "content-length") && !text_is(value, "0"))) {
            return false;
        }
    }
    return fields.len == 0;
}

/* A whole request up to its blank line: 0 and the path, or the status to refuse it with. */
static int parse_request(struct text head, struct text *path_out)
{
    struct text line, method, target;
    int hosts;
    if (!take_until(&head, "\r\n", &line) || !take_until(&line, " ", &method) ||
        !take_until(&line, " ", &target) || !is_token(method) || !is_visible(target, false)) {
        return 400;
    }
    bool is_11 = text_is(line, "HTTP/1.1");
    if ((!is_11 && !text_is(line, "HTTP/1.0")) || !check_fields(head, &hosts) || hosts > 1 ||
        (is_11 && hosts == 0)) {
        return 400;
    }
    if (!text_is(method, "GET")) {
        return 405;
    }
    if (target.len == 0 || target.at[0] != '/') {
        return 400;
    }
    struct text path = target;
    take_until(&target, "?", &path); /* a query is fine and means nothing */
    *path_out = path;
    return 0;
}

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 400:
        return "Bad Request";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 431:
        return "Request Header Fields Too Large";
    default:
        assert(status == 503);
        return "Service Unavailable";
    }
}

static void put_answer(struct buf *out, int status, const char *type, const struct buf *body)
{
    buf_printf(out,
               "HTTP/1.1 %d %s\r\n"
               "Content-Type: %s\r\n"
               "Content-Length: %zu\r\n"
               "Cache-Control: no-store\r\n"
               "%s"
               "Connection: close\r\n\r\n",
               status, reason_of(status), type, body->len, status == 405 ? "Allow: GET\r\n" : "");
    buf_add(out, body->data, body->len);
}

static int put_ready(const struct admin *admin, struct buf *body)
{
    struct buf why;
    buf_init(&why);
    bool ready = admin->ops->ready == NULL || admin->ops->ready(admin->arg, &why);
    if (ready) {
        buf_add_str(body, "{\"ready\":true}\n");
    } else {
        buf_printf(body, "{\"ready\":false,\"why\":%s}\n", why.len == 0 ? "{}" : why.data);
    }
    buf_done(&why);
    return ready ? 200 : 503;
}

static void put_answer_to(const struct admin *admin, struct text head, struct buf *out)
{
    static const char json[] = "application/json";
    static const char text[] = "text/plain; charset=utf-8";
    struct buf body;
    struct text path;
    buf_init(&body);
    int status = parse_request(head, &path);
    if (status == 0 && text_is(path, "/metrics")) {
        metrics_show(&body);
        put_answer(out, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
    } else if (status == 0 && text_is(path, "/healthz")) {
        buf_add_str(&body, "{\"status\":\"ok\"}\n");
        put_answer(out, 200, json, &body);
    } else if (status == 0 && text_is(path, "/readyz")) {
        status = put_ready(admin, &body);
        put_answer(out, status, json, &body);
    } else {
        status = status == 0 ? 404 : status;
        buf_printf(&body, "%s\n", reason_of(status));
        put_answer(out, status, text, &body);
    }
    buf_done(&body);
}

static void maybe_free(struct admin *admin)
{
    if (admin->listener_closed && admin->conn_count == 0) {
        free(admin);
    }
}

static void on_conn_handle_closed(uv_handle_t *handle)
{
    struct conn *conn = handle->data;
    if (--conn->open_handles > 0) {
        return;
    }
    struct admin *admin = conn->admin;
    buf_done(&conn->answer);
    free(conn);
    admin->conn_count--;
    maybe_free(admin);
}

/* Any number of times; a write or shutdown under way is cancelled and told so before. */
static void conn_close(struct conn *conn)
{
    if (uv_is_closing((uv_handle_t *)&conn->tcp)) {
        return;
    }
    if (conn->next != NULL) {
        conn->next->link = conn->link;
    }
    *conn->link = conn->next;
    conn->admin->open_count--;
    uv_close((uv_handle_t *)&conn->tcp, on_conn_handle_closed);
    uv_close((uv_handle_t *)&conn->timer, on_conn_handle_closed);
}

static void on_timeout(uv_timer_t *timer)
{
    conn_close(timer->data);
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    if (status < 0) {
        conn_close(shutdown->data);
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct conn *conn = write->data;
    conn->state = LINGERING;
    if (status < 0 || conn->client_done ||
        uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shutdown) < 0) {
        conn_close(conn);
    }
}

static void conn_send(struct conn *conn)
{
    conn->state = ANSWERING;
    uv_buf_t out = uv_buf_init(conn->answer.data, (unsigned)conn->answer.len);
    if (uv_write(&conn->write, (uv_stream_t *)&conn->tcp, &out, 1, on_written) < 0) {
        conn_close(conn);
    }
}

static void refuse_too_large(struct conn *conn)
{
    struct buf body;
    buf_init(&body);
    buf_printf(&body, "%s\n", reason_of(431));
    put_answer(&conn->answer, 431, "text/plain; charset=utf-8", &body);
    buf_done(&body);
    conn_send(conn);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *out)
{
    (void)suggested;
    struct conn *conn = handle->data;
    /* While lingering the request is no longer needed: its place takes what is thrown away. */
    size_t from = conn->state == READING ? conn->len : 0;
    *out = uv_buf_init(conn->request + from, (unsigned)(sizeof(conn->request) - from));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *in)
{
    (void)in;
    struct conn *conn = stream->data;
    if (n < 0) {
        if (n == UV_EOF && conn->state == ANSWERING) {
            conn->client_done = true;
            uv_read_stop(stream);
            return;
        }
        conn_close(conn);
        return;
    }
    if (conn->state != READING) {
        return;
    }
    conn->len += (size_t)n;
    struct text rest = {conn->request, conn->len}, head;
    if (take_until(&rest, "\r\n\r\n", &head)) {
        head.len += 2; /* with its last line's end */
        put_answer_to(conn->admin, head, &conn->answer);
        conn_send(conn);
    } else if (conn->len == sizeof(conn->request)) {
        refuse_too_large(conn);
    }
}

static void conn_open(struct admin *admin)
{
    struct conn *conn = calloc(1, sizeof(*conn));
    if (conn == NULL) {
        abort();
    }
    conn->admin = admin;
    conn->open_handles = 2;
    uv_tcp_init(admin->listener.loop, &conn->tcp);
    uv_timer_init(admin->listener.loop, &conn->timer);
    conn->tcp.data = conn->timer.data = conn->write.data = conn->shutdown.data = conn;
    conn->next = admin->conns;
    conn->link = &admin->conns;
    if (conn->next != NULL) {
        conn->next->link = &conn->next;
    }
    admin->conns = conn;
    admin->conn_count++;
    admin->open_count++;
    uv_timer_start(&conn->timer, on_timeout, TIMEOUT_MS, 0);
    /* Also over the limit: only an accepted socket can be closed. */
    if (uv_accept((uv_stream_t *)&admin->listener, (uv_stream_t *)&conn->tcp) < 0 ||
        admin->open_count > CONNECTIONS_MAX ||
        uv_read_start((uv_stream_t *)&conn->tcp, on_alloc, on_read) < 0) {
        conn_close(conn);
    }
}

static void on_connection(uv_stream_t *listener, int status)
{
    if (status < 0) {
        log_warn("admin port cannot accept", "error=%s", LOG_Q(uv_strerror(status)));
        return;
    }
    conn_open(listener->data);
}

static void on_listener_closed(uv_handle_t *handle)
{
    struct admin *admin = handle->data;
    admin->listener_closed = true;
    maybe_free(admin);
}

static int read_port(struct admin *admin)
{
    struct sockaddr_storage address;
    int size = sizeof(address);
    int err = uv_tcp_getsockname(&admin->listener, (struct sockaddr *)&address, &size);
    const void *p = &address;
    const struct sockaddr_in *in = p;
    const struct sockaddr_in6 *in6 = p;
    admin->port = ntohs(address.ss_family == AF_INET6 ? in6->sin6_port : in->sin_port);
    return err;
}

int admin_start(uv_loop_t *loop, const char *bind, int port, const struct admin_ops *ops, void *arg,
                struct admin **admin_out)
{
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } address;
    if (port < 0 || port > 65535 ||
        (uv_ip4_addr(bind, port, &address.in) < 0 && uv_ip6_addr(bind, port, &address.in6) < 0)) {
        return ERR_INVALID;
    }
    struct admin *admin = calloc(1, sizeof(*admin));
    if (admin == NULL) {
        abort();
    }
    admin->ops = ops;
    admin->arg = arg;
    uv_tcp_init(loop, &admin->listener);
    admin->listener.data = admin;
    int err = uv_tcp_bind(&admin->listener, &address.any, 0);
    if (err == 0) {
        err = uv_listen((uv_stream_t *)&admin->listener, BACKLOG, on_connection);
    }
    if (err == 0) {
        err = read_port(admin);
    }
    if (err != 0) {
        log_error("admin port cannot listen", "address=%s port=%d error=%s", LOG_Q(bind), port,
                  LOG_Q(uv_strerror(err)));
        admin_stop(admin);
        return ERR_UNAVAILABLE;
    }
    *admin_out = admin;
    return 0;
}

void admin_stop(struct admin *admin)
{
    if (admin == NULL) {
        return;
    }
    while (admin->conns != NULL) {
        conn_close(admin->conns);
    }
    uv_close((uv_handle_t *)&admin->listener, on_listener_closed);
}

int admin_port(const struct admin *admin)
{
    return admin->port;
}
