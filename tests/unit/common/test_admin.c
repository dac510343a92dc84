// SPDX-License-Identifier: MIT
/* The admin port over real sockets: the three pages, what is refused, limits, stopping. */
#include "tests/unit/test.h"

#include "common/admin.h"
#include "common/err.h"
#include "common/metrics.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

/* The server has a thread of its own; a test is its client, with blocking sockets. */
struct server {
    uv_loop_t loop;
    uv_async_t stop;
    struct admin *admin;
    pthread_t thread;
    atomic_bool ready;
};

static bool is_ready(void *arg, struct buf *why)
{
    struct server *s = arg;
    if (!atomic_load(&s->ready)) {
        buf_add_str(why, "{\"database\":\"unreachable\"}");
        return false;
    }
    return true;
}

static const struct admin_ops ops = {.ready = is_ready};

static void on_stop(uv_async_t *async)
{
    struct server *s = async->data;
    admin_stop(s->admin);
    uv_close((uv_handle_t *)async, NULL);
}

static void *serve(void *arg)
{
    struct server *s = arg;
    uv_run(&s->loop, UV_RUN_DEFAULT);
    return NULL;
}

static void server_start(struct server *s)
{
    signal(SIGPIPE, SIG_IGN);
    memset(s, 0, sizeof(*s));
    uv_loop_init(&s->loop);
    uv_async_init(&s->loop, &s->stop, on_stop);
    s->stop.data = s;
    if (!CHECK_INT(admin_start(&s->loop, "127.0.0.1", 0, &ops, s, &s->admin), 0)) {
        exit(EXIT_FAILURE);
    }
    pthread_create(&s->thread, NULL, serve, s);
}

/* The loop ends by itself only when every handle is closed. */
static void server_stop(struct server *s)
{
    uv_async_send(&s->stop);
    pthread_join(s->thread, NULL);
    CHECK_INT(uv_loop_close(&s->loop), 0);
}

static int connect_to(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    const void *address = &to;
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    CHECK_INT(connect(fd, address, sizeof(to)), 0);
    return fd;
}

static void send_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        data += n;
        len -= (size_t)n;
    }
}

/* Everything until the server closes. */
static void receive_all(int fd, struct buf *out)
{
    char part[4096];
    ssize_t n;
    while ((n = recv(fd, part, sizeof(part), 0)) > 0) {
        buf_add(out, part, (size_t)n);
    }
    CHECK_INT(n, 0); /* closed in order: no reset, no timeout */
    buf_add(out, "", 0);
}

/* Sends text, returns the answer in a buffer of this function. */
static const char *ask(const struct server *s, const char *request, size_t len)
{
    static struct buf answer;
    buf_done(&answer);
    int fd = connect_to(admin_port(s->admin));
    send_all(fd, request, len);
    receive_all(fd, &answer);
    close(fd);
    return answer.data;
}

static const char *get(const struct server *s, const char *path)
{
    char request[512];
    int len = snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    return ask(s, request, (size_t)len);
}

static int status_of(const char *answer)
{
    return strncmp(answer, "HTTP/1.1 ", 9) == 0 ? (int)strtol(answer + 9, NULL, 10) : -1;
}

/* What follows the blank line; checks that Content-Length says how much. */
static const char *body_of(const char *answer)
{
    const char *body = strstr(answer, "\r\n\r\n");
    const char *length = strstr(answer, "Content-Length: ");
    if (!CHECK(body != NULL && length != NULL)) {
        return "";
    }
    CHECK_INT(strtol(length + 16, NULL, 10), strlen(body + 4));
    return body + 4;
}

TEST(pages)
{
    struct server s;
    server_start(&s);
    struct metric *m = metrics_counter("t_admin_total", "A test", NULL);
    metric_add(m, 3);

    const char *answer = get(&s, "/metrics");
    CHECK_INT(status_of(answer), 200);
    CHECK(strstr(answer, "Content-Type: text/plain; version=0.0.4") != NULL);
    CHECK(strstr(body_of(answer), "\nt_admin_total 3\n") != NULL);

    answer = get(&s, "/healthz?verbose=1");
    CHECK_INT(status_of(answer), 200);
    CHECK(strstr(answer, "\r\nConnection: close\r\n") != NULL);
    CHECK_STR(body_of(answer), "{\"status\":\"ok\"}\n");

    answer = get(&s, "/readyz");
    CHECK_INT(status_of(answer), 503);
    CHECK_STR(body_of(answer), "{\"ready\":false,\"why\":{\"database\":\"unreachable\"}}\n");
    atomic_store(&s.ready, true);
    answer = get(&s, "/readyz");
    CHECK_INT(status_of(answer), 200);
    CHECK_STR(body_of(answer), "{\"ready\":true}\n");

    CHECK_INT(status_of(get(&s, "/")), 404);
    CHECK_INT(status_of(get(&s, "/metrics/")), 404);
    CHECK_INT(status_of(get(&s, "/metric")), 404);
    server_stop(&s);
}

TEST(requests_good_and_bad)
{
    static const struct {
        const char *request;
        int status;
    } cases[] = {
        {"GET /healthz HTTP/1.1\r\nhOST:\tx \r\nX-Y: grün=?\r\n\r\n", 200},
        {"GET /healthz HTTP/1.0\r\n\r\n", 200},
        {"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", 200},
        {"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /more HTTP/1.1\r\n", 200},
        {"POST /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405},
        {"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405},
        {"get /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 405},
        {"GET /healthz HTTP/1.1\r\n\r\n", 400},
        {"GET /healthz HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400},
        {"GET /healthz HTTP/1.1\r\nHost : x\r\n\r\n", 400},
        {"GET /healthz HTTP/1.1\r\nHost: x\r\n folded\r\n\r\n", 400},
        {"GET /healthz HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400},
        {"GET /healthz HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n", 400},
        {"GET /healthz HTTP/1.1\r\nHost: x\ry\r\n\r\n", 400},
        {"GET /healthz HTTP/1.1\nHost: x\n\r\n\r\n", 400},
        {"GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody", 400},
        {"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"GET /healthz HTTP/1.2\r\nHost: x\r\n\r\n", 400},
        {"GET /healthz HTTP/2\r\nHost: x\r\n\r\n", 400},
        {"GET /healthz\r\nHost: x\r\n\r\n", 400},
        {"GET  /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /healthz  HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {" GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET http://x/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"GET /health\x7fz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"G(T /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        {"\r\n\r\n", 400},
        {"\x16\x03\x01\x02\r\n\r\n", 400},
    };
    struct server s;
    server_start(&s);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const char *answer = ask(&s, cases[i].request, strlen(cases[i].request));
        if (!CHECK_INT(status_of(answer), cases[i].status)) {
            printf("    for %s\n", log_quote(cases[i].request));
        }
        CHECK((cases[i].status == 405) == (strstr(answer, "\r\nAllow: GET\r\n") != NULL));
        body_of(answer);
    }
    static const char with_nul[] = "GET /healthz\0 HTTP/1.1\r\nHost: x\r\n\r\n";
    CHECK_INT(status_of(ask(&s, with_nul, sizeof(with_nul) - 1)), 400);
    server_stop(&s);
}

TEST(too_long_a_request)
{
    struct server s;
    server_start(&s);
    char request[100000];
    int len = snprintf(request, sizeof(request), "GET /healthz HTTP/1.1\r\nHost: x\r\nA: ");
    memset(request + len, 'a', sizeof(request) - (size_t)len);
    CHECK_INT(status_of(ask(&s, request, sizeof(request))), 431);
    memcpy(request + 8188, "\r\n\r\n", 4); /* just fits */
    CHECK_INT(status_of(ask(&s, request, 8192)), 200);
    memset(request + 8188, 'a', 4);
    memcpy(request + 8189, "\r\n\r\n", 4); /* one too many */
    CHECK_INT(status_of(ask(&s, request, 8193)), 431);
    server_stop(&s);
}

TEST(byte_by_byte_and_half_closed)
{
    static const char request[] = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    struct server s;
    server_start(&s);
    int fd = connect_to(admin_port(s.admin));
    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        send_all(fd, request + i, 1);
        usleep(500);
    }
    shutdown(fd, SHUT_WR);
    struct buf answer = {0};
    receive_all(fd, &answer);
    CHECK_INT(status_of(answer.data), 200);
    close(fd);

    fd = connect_to(admin_port(s.admin)); /* gives up in the middle: closed without a word */
    send_all(fd, request, 10);
    shutdown(fd, SHUT_WR);
    buf_clear(&answer);
    receive_all(fd, &answer);
    CHECK_INT(answer.len, 0);
    close(fd);
    buf_done(&answer);
    server_stop(&s);
}

/* True when the server closes without an answer within the socket's 20 s. */
static bool is_closed_by_server(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) <= 0 && errno != EAGAIN;
}

TEST(silent_clients_are_closed_and_bounded)
{
    enum { LIMIT = 32 };
    struct server s;
    server_start(&s);
    int fds[LIMIT];
    for (int i = 0; i < LIMIT; i++) {
        fds[i] = connect_to(admin_port(s.admin));
    }
    int64_t start = clock_mono_ms();
    int extra = connect_to(admin_port(s.admin));
    errno = 0;
    CHECK(is_closed_by_server(extra));
    CHECK(clock_mono_ms() - start < 3000); /* at once, not after the others' timeout */
    close(extra);
    for (int i = 0; i < LIMIT; i++) {
        errno = 0;
        CHECK(is_closed_by_server(fds[i]));
        close(fds[i]);
    }
    int64_t waited = clock_mono_ms() - start;
    CHECK(waited > 3000 && waited < 15000);
    CHECK_INT(status_of(get(&s, "/healthz")), 200); /* there is room again */
    server_stop(&s);
}

TEST(stops_with_open_connections)
{
    struct server s;
    server_start(&s);
    int idle = connect_to(admin_port(s.admin));
    int half = connect_to(admin_port(s.admin));
    send_all(half, "GET /metr", 9);
    CHECK_INT(status_of(get(&s, "/healthz")), 200); /* by now both are accepted */
    server_stop(&s);
    errno = 0;
    CHECK(is_closed_by_server(idle));
    CHECK(is_closed_by_server(half));
    close(idle);
    close(half);
}

TEST(cannot_listen)
{
    uv_loop_t loop;
    struct admin *first = NULL, *second = NULL;
    uv_loop_init(&loop);
    CHECK_INT(admin_start(&loop, "localhost", 0, &ops, NULL, &first), ERR_INVALID);
    CHECK_INT(admin_start(&loop, "", 0, &ops, NULL, &first), ERR_INVALID);
    CHECK_INT(admin_start(&loop, "127.0.0.1", 65536, &ops, NULL, &first), ERR_INVALID);
    CHECK_INT(admin_start(&loop, "127.0.0.1", -1, &ops, NULL, &first), ERR_INVALID);
    CHECK(first == NULL);
    CHECK_INT(admin_start(&loop, "127.0.0.1", 0, &ops, NULL, &first), 0);
    EXPECT_WARNINGS(1);
    FILE *hidden = fopen("/dev/null", "w");
    log_redirect(hidden);
    CHECK_INT(admin_start(&loop, "127.0.0.1", admin_port(first), &ops, NULL, &second),
              ERR_UNAVAILABLE);
    log_redirect(NULL);
    fclose(hidden);
    CHECK(second == NULL);
    admin_stop(first);
    admin_stop(NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_INT(uv_loop_close(&loop), 0);
}
