// SPDX-License-Identifier: MIT
/*
 * One connection to one Redis server: a non-blocking socket, with TLS (OpenSSL) when asked for.
 * hiredis 0.14 has neither TLS nor timeouts for connecting; here both kinds take the same path.
 *
 * rediss:// always checks the certificate and its name. The process ignores SIGPIPE: OpenSSL
 * writes with write(2).
 */
#include "common/redis_impl.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/random.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECT_MS = 1000,
    BACKOFF_FIRST_MS = 50,
    BACKOFF_MOST_MS = 1000,
    TELL_MS = 10000, /* between two lines about the same failure */
};

/* ---- Addresses ---- */

static int complain(char *problem, size_t problem_size, const char *what)
{
    snprintf(problem, problem_size, "A Redis address is wrong: %s.", what);
    return ERR_INVALID;
}

/* ca: a file, or "" for the system's certificates. */
static int make_tls(struct redis_conn *c, const char *ca, char *problem, size_t problem_size)
{
    c->tls = SSL_CTX_new(TLS_client_method());
    if (c->tls == NULL) {
        abort();
    }
    SSL_CTX_set_min_proto_version(c->tls, TLS1_2_VERSION);
    SSL_CTX_set_verify(c->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_mode(c->tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                 SSL_MODE_RELEASE_BUFFERS);
    int good = ca[0] == '\0' ? SSL_CTX_set_default_verify_paths(c->tls)
                             : SSL_CTX_load_verify_locations(c->tls, ca, NULL);
    ERR_clear_error();
    return good == 1 ? 0 : complain(problem, problem_size, "the file behind ca= holds no CA");
}

/* host:port, [host]:port, or without the port. */
static bool split_address(struct redis_conn *c, const char *s, size_t n)
{
    const char *end = s + n, *host = s, *host_end;

    if (n > 0 && *s == '[') {
        host = s + 1;
        host_end = memchr(host, ']', n - 1);
        s = host_end != NULL ? host_end + 1 : end;
    } else {
        host_end = memchr(s, ':', n);
        host_end = host_end != NULL ? host_end : end;
        s = host_end;
    }
    if (host_end == NULL || host_end == host || (size_t)(host_end - host) >= sizeof(c->host)) {
        return false;
    }
    snprintf(c->host, sizeof(c->host), "%.*s", (int)(host_end - host), host);
    snprintf(c->port, sizeof(c->port), "6379");
    if (s == end) {
        return true;
    }
    size_t digits = (size_t)(end - s) - 1;
    if (*s != ':' || digits < 1 || digits > 5 || strspn(s + 1, "0123456789") < digits) {
        return false;
    }
    snprintf(c->port, sizeof(c->port), "%.*s", (int)digits, s + 1);
    long number = strtol(c->port, NULL, 10);
    return number >= 1 && number <= 65535;
}

int redis_conn_init(struct redis_conn *c, const char *part, size_t n, char *problem,
                    size_t problem_size)
{
    static const char plain[] = "redis://", secure[] = "rediss://";
    const char *question;
    char ca[512] = "";
    bool tls = false;

    *c = (struct redis_conn){.fd = -1, .backoff_ms = BACKOFF_FIRST_MS};
    if (n >= strlen(plain) && strncmp(part, plain, strlen(plain)) == 0) {
        part += strlen(plain);
        n -= strlen(plain);
    } else if (n >= strlen(secure) && strncmp(part, secure, strlen(secure)) == 0) {
        part += strlen(secure);
        n -= strlen(secure);
        tls = true;
    }
    question = memchr(part, '?', n);
    if (question != NULL) {
        size_t rest = n - (size_t)(question - part);

        if (!tls || rest < 5 || rest - 4 >= sizeof(ca) || strncmp(question, "?ca=", 4) != 0) {
            return complain(problem, problem_size, "only rediss:// takes ?ca=FILE");
        }
        snprintf(ca, sizeof(ca), "%.*s", (int)(rest - 4), question + 4);
        n = (size_t)(question - part);
    }
    if (!split_address(c, part, n)) {
        return complain(problem, problem_size, "it is host:port or rediss://host:port?ca=FILE");
    }
    return tls ? make_tls(c, ca, problem, problem_size) : 0;
}

void redis_conn_done(struct redis_conn *c)
{
    redis_conn_close(c);
    SSL_CTX_free(c->tls);
    c->tls = NULL;
}

/* ---- Failures ---- */

void redis_conn_close(struct redis_conn *c)
{
    SSL_free(c->ssl);
    c->ssl = NULL;
    c->tls_wants_write = false;
    if (c->fd >= 0) {
        close(c->fd);
        c->fd = -1;
    }
}

void redis_conn_good(struct redis_conn *c)
{
    c->backoff_ms = BACKOFF_FIRST_MS;
    if (c->told[0] != '\0') {
        log_info("redis answers again", "server=%s:%s", c->host, c->port);
        c->told[0] = '\0';
    }
}

static void tell_failure(struct redis_conn *c, const char *why)
{
    int64_t now = clock_mono_ms();

    if (strncmp(why, c->told, sizeof(c->told) - 1) != 0 || now - c->told_ms >= TELL_MS) {
        log_warn("redis unavailable", "server=%s:%s error=%s", c->host, c->port, LOG_Q(why));
        snprintf(c->told, sizeof(c->told), "%s", why);
        c->told_ms = now;
    }
}

void redis_conn_fail(struct redis_conn *c, const char *why)
{
    int64_t wait_ms = c->backoff_ms / 2 + (int64_t)(random_u64() % (uint64_t)c->backoff_ms);

    tell_failure(c, why);
    redis_conn_close(c);
    c->next_try_ms = clock_mono_ms() + wait_ms;
    c->backoff_ms = c->backoff_ms * 2 < BACKOFF_MOST_MS ? c->backoff_ms * 2 : BACKOFF_MOST_MS;
}

/* ---- Connecting ---- */

static bool wait_for(int fd, short events, int64_t until_ms)
{
    struct pollfd p = {.fd = fd, .events = events};
    int64_t left_ms;

    while ((left_ms = until_ms - clock_mono_ms()) > 0) {
        int n = poll(&p, 1, (int)left_ms);

        if (n != 0 && !(n < 0 && errno == EINTR)) {
            return n > 0;
        }
    }
    errno = ETIMEDOUT;
    return false;
}

/* One address of the host. Returns the socket, or -1 with errno. */
static int connect_to(const struct addrinfo *address, int64_t until_ms)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int error = 0, on = 1;
    socklen_t size = sizeof(error);

    if (fd < 0) {
        return -1;
    }
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        error = errno;
        if (error == EINPROGRESS) {
            error = wait_for(fd, POLLOUT, until_ms) ? 0 : errno;
            if (error == 0) {
                getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
            }
        }
    }
    if (error != 0) {
        close(fd);
        errno = error;
        return -1;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    return fd;
}

static const char *tls_problem(const SSL *ssl)
{
    long verify = SSL_get_verify_result(ssl);
    unsigned long code = ERR_get_error();

    if (verify != X509_V_OK) {
        return X509_verify_cert_error_string(verify);
    }
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    return reason != NULL ? reason : "TLS was broken off";
}

/* NULL, or what is wrong. */
static const char *shake_hands(struct redis_conn *c, int64_t until_ms)
{
    unsigned char address[sizeof(struct in6_addr)];
    bool is_address = inet_pton(AF_INET, c->host, address) == 1 ||
                      inet_pton(AF_INET6, c->host, address) == 1;
    int rc;

    c->ssl = SSL_new(c->tls);
    if (c->ssl == NULL || SSL_set_fd(c->ssl, c->fd) != 1) {
        abort();
    }
    if (is_address) {
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), c->host);
    } else {
        SSL_set1_host(c->ssl, c->host);
        SSL_set_tlsext_host_name(c->ssl, c->host);
    }
    while ((rc = SSL_connect(c->ssl)) != 1) {
        int error = SSL_get_error(c->ssl, rc);

        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) {
            return tls_problem(c->ssl);
        }
        if (!wait_for(c->fd, error == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until_ms)) {
            return "timeout during the TLS handshake";
        }
    }
    return NULL;
}

int redis_conn_open(struct redis_conn *c)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    int64_t until_ms = clock_mono_ms() + CONNECT_MS;

    if (clock_mono_ms() < c->next_try_ms) {
        return ERR_UNAVAILABLE; /* logged by the try before */
    }
    int error = getaddrinfo(c->host, c->port, &hints, &list);
    if (error != 0) {
        redis_conn_fail(c, gai_strerror(error));
        return ERR_UNAVAILABLE;
    }
    for (struct addrinfo *at = list; at != NULL && c->fd < 0; at = at->ai_next) {
        c->fd = connect_to(at, until_ms);
    }
    const char *wrong = c->fd < 0 ? strerror(errno) : NULL;
    freeaddrinfo(list);
    if (wrong == NULL && c->tls != NULL) {
        ERR_clear_error();
        wrong = shake_hands(c, until_ms);
    }
    if (wrong != NULL) {
        redis_conn_fail(c, wrong);
        return ERR_UNAVAILABLE;
    }
    return 0;
}

/* ---- Bytes ---- */

/* What a call that moved nothing means: 0 or -1, as below. */
static ssize_t moved_nothing(struct redis_conn *c, ssize_t rc)
{
    const char *why;

    if (c->ssl != NULL) {
        int error = SSL_get_error(c->ssl, (int)rc);

        if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
            c->tls_wants_write = error == SSL_ERROR_WANT_WRITE;
            return 0;
        }
        why = error == SSL_ERROR_ZERO_RETURN ? "closed by the server" : tls_problem(c->ssl);
        ERR_clear_error();
    } else {
        if (rc < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
            return 0;
        }
        why = rc == 0 ? "closed by the server" : strerror(errno);
    }
    redis_conn_fail(c, why);
    return -1;
}

static ssize_t read_some(struct redis_conn *c, char *p, size_t n)
{
    if (c->ssl != NULL) {
        ERR_clear_error();
        return SSL_read(c->ssl, p, (int)n);
    }
    return recv(c->fd, p, n, 0);
}

ssize_t redis_conn_read(struct redis_conn *c, char *p, size_t n)
{
    ssize_t got = read_some(c, p, n);

    return got > 0 ? got : moved_nothing(c, got);
}

ssize_t redis_conn_write(struct redis_conn *c, const char *p, size_t n)
{
    ssize_t put;

    c->tls_wants_write = false;
    if (c->ssl != NULL) {
        ERR_clear_error();
        put = SSL_write(c->ssl, p, n < 1 << 30 ? (int)n : 1 << 30);
    } else {
        put = send(c->fd, p, n, MSG_NOSIGNAL);
    }
    return put > 0 ? put : moved_nothing(c, put);
}

bool redis_conn_alive(struct redis_conn *c)
{
    char byte;

    if (c->fd < 0) {
        return false;
    }
    ssize_t got = read_some(c, &byte, 1);
    bool quiet = got <= 0 &&
                 (c->ssl != NULL ? SSL_get_error(c->ssl, (int)got) == SSL_ERROR_WANT_READ
                                 : got < 0 && (errno == EAGAIN || errno == EINTR));
    if (!quiet) { /* the end, or bytes that nobody asked for */
        ERR_clear_error();
        log_debug("redis connection was closed", "server=%s:%s", c->host, c->port);
        redis_conn_close(c);
    }
    return quiet;
}
