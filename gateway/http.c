// SPDX-License-Identifier: MIT
/*
 * One SO_REUSEPORT listener per loop, HTTP/1.1 only: this h2o has no defence against rapid reset of
 * HTTP/2 streams (CVE-2023-44487), so h2c is off and ALPN offers http/1.1 alone.
 *
 * Smuggling (RFC 9112 section 11.2): h2o accepts Content-Length beside Transfer-Encoding, and two
 * of either, and hides both headers from handlers. But the head still stands at the begin of the
 * socket's input when the handler runs, so it is looked at again there, before anything acts on
 * the request; what is ambiguous is refused and its connection closed, with all that follows.
 * h2o also reads "0x26" as the last chunk and takes bare line feeds between chunks: a connection
 * ends with its first chunked request, so nothing behind one is ever read as another.
 */
#include "gateway/http.h"
#include "gateway/loop_engine.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "gateway/conns.h"
#include "gateway/framing.h"
#include "gateway/problem.h"
#include "gateway/rest.h"
#include "gateway/trace.h"
#include "gateway/ws.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define REQUEST_TIMEOUT_MS 30000
#define USER_TIMEOUT_MS 60000 /* data that the peer does not acknowledge for so long ends it */
#define SEND_BUFFER 65536     /* in the kernel; a reader that stops would pin 4 MB otherwise */
#define ACCEPTS_PER_TURN 64
#define DRAIN_LINGER_MS 150

struct http {
    struct gateway *gw;
    SSL_CTX *tls; /* NULL: cleartext */
    int fds[GATEWAY_LOOPS_MAX];
    int port;
};

struct http_listener {
    h2o_socket_t *socket;
    bool paused; /* too many connections */
    bool closing;
    int requests; /* under way */
    int64_t deadline_ms, idle_since_ms;
    atomic_bool drained;
};

struct handler {
    h2o_handler_t super;
    struct loop *loop;
};

/* ---- Requests ---- */

const char *http_header(const struct http_request *request, const char *name, size_t *len_out)
{
    const h2o_req_t *req = request->h2o;
    ssize_t at = h2o_find_header_by_str(&req->headers, name, strlen(name), -1);
    if (at == -1) {
        return NULL;
    }
    *len_out = req->headers.entries[at].value.len;
    return req->headers.entries[at].value.base;
}

const char *http_list_header(const struct http_request *request, const char *name, size_t *len_out)
{
    h2o_req_t *req = request->h2o;
    size_t name_len = strlen(name), len = 0;
    ssize_t at = -1;
    while ((at = h2o_find_header_by_str(&req->headers, name, name_len, at)) != -1) {
        len += req->headers.entries[at].value.len + 1;
    }
    *len_out = len > 0 ? len - 1 : 0;
    if (len == 0) {
        return NULL;
    }
    char *all = h2o_mem_alloc_pool(&req->pool, len), *end = all;
    while ((at = h2o_find_header_by_str(&req->headers, name, name_len, at)) != -1) {
        h2o_iovec_t line = req->headers.entries[at].value;
        memcpy(end, line.base, line.len);
        end[line.len] = ',';
        end += line.len + 1;
    }
    return all;
}

void http_add_header(struct http_request *request, const char *name, const char *value)
{
    h2o_req_t *req = request->h2o;
    h2o_iovec_t copy = h2o_strdup(&req->pool, value, strlen(value));
    h2o_add_header_by_str(&req->pool, &req->res.headers, name, strlen(name), 1, NULL, copy.base,
                          copy.len);
}

void *http_alloc(struct http_request *request, size_t size, void (*gone)(void *memory))
{
    h2o_req_t *req = request->h2o;
    void *p = h2o_mem_alloc_shared(&req->pool, size, gone);
    memset(p, 0, size);
    return p;
}

const char *http_reason(int status)
{
    static const struct {
        int status;
        const char *reason;
    } reasons[] = {
        {101, "Switching Protocols"},
        {200, "OK"},
        {201, "Created"},
        {204, "No Content"},
        {304, "Not Modified"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {409, "Conflict"},
        {412, "Precondition Failed"},
        {413, "Content Too Large"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {422, "Unprocessable Content"},
        {426, "Upgrade Required"},
        {429, "Too Many Requests"},
        {500, "Internal Server Error"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
    };
    for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++) {
        if (reasons[i].status == status) {
            return reasons[i].reason;
        }
    }
    return "Unknown";
}

void http_respond(struct http_request *request, int status, const char *content_type,
                  const char *body, size_t len)
{
    static h2o_generator_t generator;
    h2o_req_t *req = request->h2o;
    req->res.status = status;
    req->res.reason = http_reason(status);
    if (content_type != NULL) {
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, content_type,
                       strlen(content_type));
    }
    /* 204 and 304 have no body and no length (RFC 9110 section 8.6). */
    req->res.content_length = status == 204 || status == 304 ? SIZE_MAX : len;
    h2o_start_response(req, &generator);
    h2o_iovec_t vec = h2o_iovec_init(body, len);
    bool none = len == 0 || request->is_head || status == 204 || status == 304;
    h2o_send(req, &vec, none ? 0 : 1, H2O_SEND_STATE_FINAL);
}

static void on_request_gone(void *memory)
{
    struct http_request *request = memory;
    request->loop->listener->requests--;
    conns_set_serving(request->conn, false);
}

/* "http://host/path?query" is as good as the path with that host (RFC 9112 section 3.2.2). */
static void split_absolute(h2o_iovec_t *target, h2o_iovec_t *authority)
{
    static const char *const schemes[] = {"http://", "https://"};
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        size_t n = strlen(schemes[i]);
        if (target->len > n && strncasecmp(target->base, schemes[i], n) == 0) {
            size_t end = n;
            while (end < target->len && target->base[end] != '/' && target->base[end] != '?') {
                end++;
            }
            *authority = h2o_iovec_init(target->base + n, end - n);
            *target = h2o_iovec_init(target->base + end, target->len - end);
            return;
        }
    }
}

static struct http_request *request_new(struct loop *loop, h2o_req_t *req)
{
    struct http_request *r = h2o_mem_alloc_shared(&req->pool, sizeof(*r), on_request_gone);
    loop->listener->requests++;
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    h2o_iovec_t authority = req->authority, target = req->path;
    split_absolute(&target, &authority);
    const char *mark = memchr(target.base, '?', target.len);
    size_t path_len = mark != NULL ? (size_t)(mark - target.base) : target.len;
    *r = (struct http_request){
        .loop = loop,
        .conn = conns_of(socket),
        .method = req->method.base,
        .method_len = req->method.len,
        .path = path_len > 0 ? target.base : "/",
        .path_len = path_len > 0 ? path_len : 1,
        .query = mark != NULL ? mark + 1 : "",
        .query_len = mark != NULL ? target.len - path_len - 1 : 0,
        .body = req->entity.base,
        .body_len = req->entity.len,
        .authority = authority.base,
        .authority_len = authority.len,
        .upgrade = req->upgrade.base,
        .upgrade_len = req->upgrade.len,
        .minor = req->version & 0xff,
        .is_head = h2o_memis(req->method.base, req->method.len, H2O_STRLIT("HEAD")),
        .h2o = req,
    };
    struct sockaddr_storage sa;
    char peer[PROXIES_ADDRESS_SIZE] = "";
    if (req->conn->callbacks->get_peername(req->conn, (struct sockaddr *)&sa) > 0) {
        proxies_address((struct sockaddr *)&sa, peer);
    }
    size_t len = 0;
    const char *value = http_list_header(r, "x-forwarded-for", &len);
    proxies_client(loop->gw->proxies, peer, value, len, r->address);
    value = http_list_header(r, "x-forwarded-proto", &len);
    bool direct = socket->ssl != NULL;
    conns_set_serving(r->conn, true);
    r->https = proxies_https(loop->gw->proxies, peer, value, len, direct);
    return r;
}

static int on_request(h2o_handler_t *self, h2o_req_t *req)
{
    struct loop *loop = ((struct handler *)self)->loop;
    struct http_request *r = request_new(loop, req);
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    if (loop->listener->closing) {
        req->http1_is_persistent = 0;
    }
    enum framing framing = framing_read(socket->input->bytes, socket->input->size);
    if (framing != FRAMING_PLAIN) {
        req->http1_is_persistent = 0;
    }
    if (framing == FRAMING_UNCLEAR) {
        rest_refuse(r, ERR_BAD_JSON, "the request's framing headers contradict each other");
        return 0;
    }
    rest_handle(r);
    return 0;
}

/* ---- Errors that h2o answers by itself (413, 400, 417) become problems too ---- */

struct error_ostream {
    h2o_ostream_t super;
    h2o_iovec_t body;
};

static void send_replaced(h2o_ostream_t *super, h2o_req_t *req, h2o_iovec_t *bufs, size_t count,
                          h2o_send_state_t state)
{
    struct error_ostream *self = (struct error_ostream *)super;
    (void)bufs;
    (void)count;
    h2o_ostream_send_next(super, req, &self->body, self->body.len > 0, state);
    self->body.len = 0;
}

static void on_error_ostream(h2o_filter_t *filter, h2o_req_t *req, h2o_ostream_t **slot)
{
    (void)filter;
    ssize_t type = h2o_find_header(&req->res.headers, H2O_TOKEN_CONTENT_TYPE, -1);
    if (req->res.status >= 400 && type != -1 &&
        memcmp(req->res.headers.entries[type].value.base, "text/plain", 10) == 0) {
        int err = req->res.status == 413 ? ERR_TOO_LARGE : ERR_BAD_JSON;
        char request_id[TRACE_REQUEST_SIZE];
        ssize_t came = h2o_find_header_by_str(&req->headers, H2O_STRLIT("x-request-id"), -1);
        h2o_iovec_t id = came != -1 ? req->headers.entries[came].value : h2o_iovec_init(NULL, 0);
        trace_request(id.base, id.len, request_id);
        id = h2o_strdup(&req->pool, request_id, strlen(request_id));
        h2o_add_header_by_str(&req->pool, &req->res.headers, H2O_STRLIT("x-request-id"), 0, NULL,
                              id.base, id.len);
        struct problem problem = {
            .err = err,
            .request_id = request_id,
            .status = req->res.status,
            .detail = err == ERR_TOO_LARGE ? "the body is longer than 1 MiB" : req->res.reason,
        };
        struct buf text;
        buf_init(&text);
        problem_print(&text, &problem);
        struct error_ostream *self = (void *)h2o_add_ostream(req, sizeof(*self), slot);
        self->body = h2o_strdup(&req->pool, text.data, text.len);
        self->super.do_send = send_replaced;
        buf_done(&text);
        req->res.headers.entries[type].value = h2o_iovec_init(H2O_STRLIT(PROBLEM_TYPE));
        req->res.content_length = self->body.len;
        slot = &self->super.next;
    }
    h2o_setup_next_ostream(req, slot);
}

void http_configure(struct loop *loop)
{
    struct loop_engine *e = loop->engine;
    h2o_config_init(&e->config);
    e->config.server_name = h2o_iovec_init(NULL, 0);
    /* Above its own bound h2o closes while the client still writes, which would lose the answer: so
     * what is a little too long is read and refused by rest.c. */
    e->config.max_request_entity_size = 2 * GATEWAY_BODY_MAX;
    e->config.http1.req_timeout = REQUEST_TIMEOUT_MS;
    e->config.http1.upgrade_to_http2 = 0;
    e->config.http2.callbacks.request_shutdown = NULL; /* else disposing soon after aborts */
    e->host = h2o_config_register_host(&e->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_filter_t *filter = h2o_create_filter(&e->host->fallback_path, sizeof(*filter));
    filter->on_setup_ostream = on_error_ostream;
    h2o_pathconf_t *path = h2o_config_register_path(e->host, "/", 0);
    struct handler *handler = (struct handler *)h2o_create_handler(path, sizeof(*handler));
    handler->super.on_req = on_request;
    handler->loop = loop;
}

/* ---- Listeners ---- */

static bool accept_one(struct loop *loop)
{
    h2o_socket_t *socket = h2o_evloop_socket_accept(loop->listener->socket);
    if (socket == NULL) {
        return false;
    }
    conns_add(loop, socket);
    h2o_accept(&loop->engine->accept, socket);
    return true;
}

static void on_accept(h2o_socket_t *socket, const char *err)
{
    struct loop *loop = socket->data;
    if (err != NULL) {
        return;
    }
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        bool full = conns_is_full(loop->gw);
        if (full || !accept_one(loop)) {
            if (full || errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
                log_warn("no room for more connections", "open=%d full=%d",
                         atomic_load(&loop->gw->connections), full);
                loop->listener->paused = true; /* the tick tries again */
                h2o_socket_read_stop(socket);
            }
            return;
        }
    }
}

void http_listen(struct loop *loop)
{
    struct http *http = loop->gw->http;
    struct loop_engine *e = loop->engine;
    struct http_listener *l = calloc(1, sizeof(*l));
    assert(l != NULL);
    loop->listener = l;
    e->accept.ctx = &e->context;
    e->accept.hosts = e->config.hosts;
    e->accept.ssl_ctx = http->tls;
    l->socket = h2o_evloop_socket_create(e->context.loop, http->fds[loop->index],
                                         H2O_SOCKET_FLAG_DONT_READ);
    l->socket->data = loop;
    h2o_socket_read_start(l->socket, on_accept);
}

static int bind_listener(struct http *http, unsigned index, char *problem, size_t problem_size)
{
    const char *host = http->gw->common->bind;
    struct sockaddr_storage sa = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&sa;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&sa;
    socklen_t len;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)http->port);
        len = sizeof(*v4);
    } else if (inet_pton(AF_INET6, host, &v6->sin6_addr) == 1) {
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)http->port);
        len = sizeof(*v6);
    } else {
        snprintf(problem, problem_size, "BIND: \"%s\" is not an IP address", host);
        return ERR_INVALID;
    }
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int on = 1, buffer = SEND_BUFFER, user_timeout = USER_TIMEOUT_MS;
    /* Accepted sockets inherit all of these. */
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof(buffer)) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &user_timeout, sizeof(user_timeout)) != 0 ||
        bind(fd, (struct sockaddr *)&sa, len) != 0 || listen(fd, 4096) != 0) {
        snprintf(problem, problem_size, "cannot listen on %s port %d (PORT): %s", host, http->port,
                 strerror(errno));
        if (fd >= 0) {
            close(fd);
        }
        return ERR_INVALID;
    }
    http->fds[index] = fd;
    if (http->port == 0) {
        len = sizeof(sa);
        getsockname(fd, (struct sockaddr *)&sa, &len);
        http->port = ntohs(sa.ss_family == AF_INET ? v4->sin_port : v6->sin6_port);
    }
    return 0;
}

static int tls_new(struct http *http, char *problem, size_t problem_size)
{
    const struct gateway_settings *s = http->gw->settings;
    bool cert = s->tls_cert_file[0] != '\0', key = s->tls_key_file[0] != '\0';
    if (!cert && !key) {
        return 0;
    }
    if (!cert || !key) {
        snprintf(problem, problem_size, "TLS_CERT_FILE and TLS_KEY_FILE must be set together");
        return ERR_INVALID;
    }
    static h2o_iovec_t alpn[2]; /* kept by the context; ends with an empty one */
    alpn[0] = h2o_iovec_init(H2O_STRLIT("http/1.1"));
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    assert(ctx != NULL);
    SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS);
    h2o_ssl_register_alpn_protocols(ctx, alpn);
    http->tls = ctx;
    if (SSL_CTX_use_certificate_chain_file(ctx, s->tls_cert_file) != 1) {
        snprintf(problem, problem_size, "TLS_CERT_FILE: no certificate can be read from \"%s\"",
                 s->tls_cert_file);
        return ERR_INVALID;
    }
    if (SSL_CTX_use_PrivateKey_file(ctx, s->tls_key_file, SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(ctx) != 1) {
        snprintf(problem, problem_size,
                 "TLS_KEY_FILE: \"%s\" holds no key that fits the certificate", s->tls_key_file);
        return ERR_INVALID;
    }
    return 0;
}

int http_new(struct gateway *gw, struct http **http_out, char *problem, size_t problem_size)
{
    struct http *http = calloc(1, sizeof(*http));
    assert(http != NULL);
    http->gw = gw;
    http->port = (int)gw->settings->port;
    int err = tls_new(http, problem, problem_size);
    for (unsigned i = 0; err == 0 && i < gw->loop_count; i++) {
        err = bind_listener(http, i, problem, problem_size);
    }
    if (err != 0) {
        for (unsigned i = 0; i < gw->loop_count; i++) {
            if (http->fds[i] > 0) {
                close(http->fds[i]);
            }
        }
        http_free(http);
        return err;
    }
    *http_out = http;
    return 0;
}

void http_free(struct http *http)
{
    if (http != NULL) {
        SSL_CTX_free(http->tls);
        free(http);
    }
}

int http_port(const struct http *http)
{
    return http->port;
}

/* ---- Drain ---- */

struct drain_post {
    struct loop_post post;
    int64_t deadline_ms;
};

static void drain_begin(struct loop *loop, struct loop_post *post)
{
    struct http_listener *l = loop->listener;
    l->deadline_ms = ((struct drain_post *)post)->deadline_ms;
    free(post);
    while (accept_one(loop)) { /* what has connected is served */
    }
    h2o_socket_close(l->socket);
    l->socket = NULL;
    l->closing = true;
    h2o_context_request_shutdown(&loop->engine->context);
    ws_drain(loop);
}

void http_drain(struct loop *loop, int64_t deadline_ms)
{
    struct drain_post *d = calloc(1, sizeof(*d));
    assert(d != NULL);
    d->post.run = drain_begin;
    d->deadline_ms = deadline_ms;
    loop_post(loop, &d->post);
}

/* Polled by the bus thread through posts while it drains. */
static void drain_check(struct loop *loop, struct loop_post *post)
{
    free(post);
    struct http_listener *l = loop->listener;
    int64_t now = clock_mono_ms();
    bool busy = l->requests > 0 || ws_count(loop) > 0;
    if (busy) {
        l->idle_since_ms = 0;
    } else if (l->idle_since_ms == 0) {
        l->idle_since_ms = now;
    }
    if (!busy ? now - l->idle_since_ms >= DRAIN_LINGER_MS : now >= l->deadline_ms) {
        atomic_store(&l->drained, true);
        loop_stop(loop);
    }
}

bool http_is_drained(struct loop *loop)
{
    if (atomic_load(&loop->listener->drained)) {
        return true;
    }
    struct loop_post *check = calloc(1, sizeof(*check));
    assert(check != NULL);
    check->run = drain_check;
    loop_post(loop, check);
    return false;
}

void http_tick(struct loop *loop)
{
    struct http_listener *l = loop->listener;
    if (l->paused && !l->closing && !conns_is_full(loop->gw)) {
        l->paused = false;
        h2o_socket_read_start(l->socket, on_accept);
    }
}
