// SPDX-License-Identifier: MIT
/*
 * Load on a running server over the public contract, with raw frames on blocking sockets: what a
 * scripting language would be too slow for. tests/load/run.py starts servers, registers users and
 * prints the table; this program measures one thing and prints it as one JSON line.
 *
 *   bench ack PORT TOKEN RECEIVER COUNT            one send in flight: time to its ack
 *   bench deliver PORT TOKEN RECEIVER PORT2 TOKEN2 RATE SECONDS
 *                                                  open loop: from the intended time to the
 * receiver bench flood PORT TOKEN RECEIVER COUNT WINDOW   acks a second with WINDOW sends in flight
 *   bench idle PORT TOKEN COUNT                    opens sockets, prints a line, holds until EOF
 *   bench fsync DIR COUNT                          floor: 512 bytes and fdatasync
 */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BUFFER (256 * 1024)

struct client {
    int fd;
    size_t len;
    char *data;
};

static void die(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int compare(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *what, int64_t *us, size_t n, double seconds)
{
    qsort(us, n, sizeof(*us), compare);
    printf("{\"what\":\"%s\",\"n\":%zu,\"p50_us\":%" PRId64 ",\"p99_us\":%" PRId64
           ",\"max_us\":%" PRId64 ",\"per_s\":%.0f}\n",
           what, n, us[n / 2], us[n * 99 / 100], us[n - 1], (double)n / seconds);
    fflush(stdout);
}

/* ---- A WebSocket client ---- */

static void write_all(int fd, const char *data, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, data, n);
        if (done < 0 && errno != EINTR) {
            die("write");
        }
        if (done > 0) {
            data += done;
            n -= (size_t)done;
        }
    }
}

static bool fill(struct client *c)
{
    if (c->len == BUFFER) {
        fprintf(stderr, "bench: a frame is larger than the buffer\n");
        exit(1);
    }
    ssize_t n = read(c->fd, c->data + c->len, BUFFER - c->len);
    if (n <= 0) {
        die("the server hung up");
    }
    c->len += (size_t)n;
    return true;
}

/* small: an idle socket that will not read more than its hello. */
static void client_open(struct client *c, int port, const char *token, size_t buffer)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    c->len = 0;
    c->data = malloc(buffer);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
        die("connect");
    }
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    char request[2048];
    int n = snprintf(request, sizeof(request),
                     "GET /api/ws HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\n"
                     "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                     "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat.v1\r\n"
                     "Authorization: Bearer %s\r\n\r\n",
                     port, token);
    write_all(c->fd, request, (size_t)n);
    char *end = NULL;
    while (end == NULL) {
        ssize_t got = read(c->fd, c->data + c->len, buffer - c->len - 1);
        if (got <= 0) {
            die("no answer to the upgrade");
        }
        c->len += (size_t)got;
        c->data[c->len] = '\0';
        end = strstr(c->data, "\r\n\r\n");
    }
    if (strncmp(c->data, "HTTP/1.1 101", 12) != 0) {
        fprintf(stderr, "bench: upgrade refused: %.200s\n", c->data);
        exit(1);
    }
    c->len -= (size_t)(end + 4 - c->data);
    memmove(c->data, end + 4, c->len);
}

static void send_message(struct client *c, const char *receiver, int64_t id, int64_t stamp)
{
    char frame[512], *text = frame + 8;
    int n = snprintf(text, sizeof(frame) - 8,
                     "{\"type\":\"chat_message\",\"id\":%" PRId64
                     ",\"content\":{\"content\":\"t=%" PRId64
                     " a message of an ordinary length, as people write them all day long\","
                     "\"type\":\"text\",\"receiver_id\":%s}}",
                     id, stamp, receiver);
    assert(n > 126 && n < 500);
    /* The mask is zero: allowed, and leaves the text as it is. */
    const char head[8] = {(char)0x81, (char)(0x80 | 126), (char)(n >> 8), (char)(n & 255), 0, 0, 0,
                          0};
    memcpy(frame, head, 8);
    write_all(c->fd, frame, (size_t)n + 8);
}

/* Hands each complete text frame at hand to take; returns how many there were. */
static size_t take_frames(struct client *c, void (*take)(const char *text, size_t n, void *arg),
                          void *arg)
{
    size_t at = 0, frames = 0;
    while (c->len - at >= 2) {
        const unsigned char *p = (unsigned char *)c->data + at;
        size_t head = 2, n = p[1];
        if (n == 126) {
            head = 4;
            n = c->len - at >= 4 ? (size_t)p[2] << 8 | p[3] : BUFFER;
        }
        if (c->len - at < head + n) {
            break;
        }
        if ((p[0] & 15) == 1) {
            take(c->data + at + head, n, arg);
            frames++;
        } else if ((p[0] & 15) == 8) {
            fprintf(stderr, "bench: the server closed the socket\n");
            exit(1);
        }
        at += head + n;
    }
    c->len -= at;
    memmove(c->data, c->data + at, c->len);
    return frames;
}

static bool has(const char *text, size_t n, const char *word)
{
    return memmem(text, n, word, strlen(word)) != NULL;
}

struct counts {
    size_t acks, errors, hellos, received;
    int64_t *latencies; /* from the stamp in a message's text */
};

static void count_frame(const char *text, size_t n, void *arg)
{
    struct counts *counts = arg;
    if (has(text, n, "\"type\":\"ack\"")) {
        counts->acks++;
    } else if (has(text, n, "\"type\":\"error\"")) {
        counts->errors++;
        fprintf(stderr, "bench: %.*s\n", (int)n, text);
    } else if (has(text, n, "\"type\":\"hello\"")) {
        counts->hellos++;
    } else if (has(text, n, "\"content\":\"t=")) {
        const char *stamp = (const char *)memmem(text, n, "\"t=", 3) + 3;
        if (counts->latencies != NULL) {
            counts->latencies[counts->received] = now_us() - strtoll(stamp, NULL, 10);
        }
        counts->received++;
    }
}

static void wait_hello(struct client *c, struct counts *counts)
{
    size_t before = counts->hellos;
    take_frames(c, count_frame, counts);
    while (counts->hellos == before) {
        fill(c);
        take_frames(c, count_frame, counts);
    }
}

/* ---- What is measured ---- */

static void bench_ack(char **argv)
{
    size_t count = (size_t)strtol(argv[3], NULL, 10);
    int64_t *us = malloc(count * sizeof(*us)), start = now_us();
    struct client c;
    struct counts counts = {0};
    client_open(&c, (int)strtol(argv[0], NULL, 10), argv[1], BUFFER);
    wait_hello(&c, &counts);
    for (size_t i = 0; i < count; i++) {
        int64_t sent = now_us();
        send_message(&c, argv[2], (int64_t)i, 0);
        while (counts.acks + counts.errors <= i) {
            fill(&c);
            take_frames(&c, count_frame, &counts);
        }
        us[i] = now_us() - sent;
    }
    print_times("ack", us, count, (double)(now_us() - start) / 1e6);
}

static void bench_deliver(char **argv)
{
    int64_t rate = strtol(argv[5], NULL, 10), seconds = strtol(argv[6], NULL, 10);
    size_t count = (size_t)(rate * seconds), sent = 0;
    struct client a, b;
    struct counts at_a = {0}, at_b = {.latencies = calloc(count + 1, sizeof(int64_t))};
    client_open(&a, (int)strtol(argv[0], NULL, 10), argv[1], BUFFER);
    client_open(&b, (int)strtol(argv[3], NULL, 10), argv[4], BUFFER);
    wait_hello(&a, &at_a);
    wait_hello(&b, &at_b);
    int64_t start = now_us();
    while (at_b.received < count) {
        int64_t due = start + (int64_t)sent * 1000000 / rate;
        while (sent < count && now_us() >= due) {
            send_message(&a, argv[2], (int64_t)sent, due);
            sent++;
            due = start + (int64_t)sent * 1000000 / rate;
        }
        struct pollfd fds[2] = {{.fd = a.fd, .events = POLLIN}, {.fd = b.fd, .events = POLLIN}};
        int64_t wait_us = sent < count ? due - now_us() : 1000000;
        struct timespec wait = {.tv_sec = wait_us / 1000000,
                                .tv_nsec = wait_us < 0 ? 0 : wait_us % 1000000 * 1000};
        if (ppoll(fds, 2, wait_us < 0 ? &(struct timespec){0} : &wait, NULL) > 0) {
            if (fds[0].revents != 0 && fill(&a)) {
                take_frames(&a, count_frame, &at_a);
            }
            if (fds[1].revents != 0 && fill(&b)) {
                take_frames(&b, count_frame, &at_b);
            }
        }
    }
    print_times("deliver", at_b.latencies, count, (double)(now_us() - start) / 1e6);
}

static void bench_flood(char **argv)
{
    size_t count = (size_t)strtol(argv[3], NULL, 10), window = (size_t)strtol(argv[4], NULL, 10),
           sent = 0;
    struct client c;
    struct counts counts = {0};
    client_open(&c, (int)strtol(argv[0], NULL, 10), argv[1], BUFFER);
    wait_hello(&c, &counts);
    int64_t start = now_us();
    while (counts.acks + counts.errors < count) {
        while (sent < count && sent - counts.acks - counts.errors < window) {
            send_message(&c, argv[2], (int64_t)sent++, 0);
        }
        fill(&c);
        take_frames(&c, count_frame, &counts);
    }
    double seconds = (double)(now_us() - start) / 1e6;
    printf("{\"what\":\"flood\",\"acks\":%zu,\"errors\":%zu,\"seconds\":%.3f,\"per_s\":%.0f}\n",
           counts.acks, counts.errors, seconds, (double)counts.acks / seconds);
}

static void bench_idle(char **argv)
{
    long count = strtol(argv[2], NULL, 10);
    struct counts counts = {0};
    for (long i = 0; i < count; i++) {
        struct client c;
        client_open(&c, (int)strtol(argv[0], NULL, 10), argv[1], 4096);
        while (counts.hellos <= (size_t)i) {
            take_frames(&c, count_frame, &counts);
            if (counts.hellos <= (size_t)i) {
                ssize_t n = read(c.fd, c.data + c.len, 4096 - c.len);
                if (n <= 0) {
                    die("no hello");
                }
                c.len += (size_t)n;
            }
        }
        free(c.data); /* the descriptor stays open until the end */
    }
    printf("{\"what\":\"idle\",\"sockets\":%ld}\n", count);
    fflush(stdout);
    while (getchar() != EOF) {
    }
}

static void bench_fsync(char **argv)
{
    size_t count = (size_t)strtol(argv[1], NULL, 10);
    int64_t *us = malloc(count * sizeof(*us)), start = now_us();
    char path[4096], block[512] = "floor";
    snprintf(path, sizeof(path), "%s/floor", argv[0]);
    int fd = open(path, O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
    for (size_t i = 0; i < count; i++) {
        int64_t before = now_us();
        if (write(fd, block, sizeof(block)) != (ssize_t)sizeof(block) || fdatasync(fd) != 0) {
            die("fdatasync");
        }
        us[i] = now_us() - before;
    }
    print_times("fsync", us, count, (double)(now_us() - start) / 1e6);
    close(fd);
    unlink(path);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        int args;
        void (*run)(char **argv);
    } modes[] = {
        {"ack", 4, bench_ack},   {"deliver", 7, bench_deliver}, {"flood", 5, bench_flood},
        {"idle", 3, bench_idle}, {"fsync", 2, bench_fsync},
    };
    for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (argc > 1 && strcmp(argv[1], modes[i].name) == 0 && argc - 2 == modes[i].args) {
            modes[i].run(argv + 2);
            return 0;
        }
    }
    fprintf(stderr, "usage: see the head of tests/load/bench.c\n");
    return 2;
}
