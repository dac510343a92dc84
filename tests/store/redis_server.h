// SPDX-License-Identifier: MIT
/*
 * Redis servers for the tests of its client: started on free ports of 127.0.0.1, ended by their
 * process ids, and by the kernel when the test itself dies.
 */
#pragma once

#include "common/arena.h"
#include "common/random.h"
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static struct arena *arena;

struct server {
    pid_t pid;
    int port, tls_port;
    const char *password;
};

static inline void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static inline int local_socket(int port, struct sockaddr_in *address)
{
    *address = (struct sockaddr_in){.sin_family = AF_INET,
                                    .sin_port = htons((uint16_t)port),
                                    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* Below those that the kernel gives to outgoing connections, so that a server finds its port again.
 */
static inline int free_port(void)
{
    struct sockaddr_in address;
    bool taken = true;
    int port = 0;

    while (taken) {
        port = 20000 + (int)(random_u64() % 12000);
        int fd = local_socket(port, &address);
        taken = bind(fd, (struct sockaddr *)&address, sizeof(address)) != 0;
        close(fd);
    }
    return port;
}

static inline bool listens(int port)
{
    struct sockaddr_in address;
    int fd = local_socket(port, &address);
    bool good = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0;

    close(fd);
    return good;
}

static inline void spawn(pid_t *pid, const char *const *args)
{
    posix_spawn_file_actions_t actions;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
    if (!CHECK_INT(posix_spawnp(pid, args[0], &actions, NULL, (char **)args, environ), 0)) {
        exit(EXIT_FAILURE);
    }
    posix_spawn_file_actions_destroy(&actions);
}

/* On the port that it had before, or a free one. dir: with certificates; NULL: no TLS. */
static inline void start_server(struct server *s, const char *dir)
{
    const char *args[40] = {"setpriv", "--pdeathsig",  "KILL", "redis-server", "--save",
                            "",        "--appendonly", "no",   "--bind",       "127.0.0.1"};
    size_t n = 10;

    s->port = s->port != 0 ? s->port : free_port();
    args[n++] = "--port";
    args[n++] = arena_printf(arena, "%d", s->port);
    if (s->password != NULL) {
        args[n++] = "--requirepass";
        args[n++] = arena_strdup(arena, s->password);
    }
    if (dir != NULL) {
        s->tls_port = s->tls_port != 0 ? s->tls_port : free_port();
        args[n++] = "--tls-port";
        args[n++] = arena_printf(arena, "%d", s->tls_port);
        args[n++] = "--tls-cert-file";
        args[n++] = arena_printf(arena, "%s/cert.pem", dir);
        args[n++] = "--tls-key-file";
        args[n++] = arena_printf(arena, "%s/key.pem", dir);
        args[n++] = "--tls-auth-clients";
        args[n++] = "no";
        args[n++] = "--tls-ca-cert-file";
        args[n++] = arena_printf(arena, "%s/cert.pem", dir);
    }
    spawn(&s->pid, args);
    for (int i = 0; i < 500 && !(listens(s->port) && (dir == NULL || listens(s->tls_port))); i++) {
        sleep_ms(10);
    }
}

static inline void end_server(struct server *s, int signal)
{
    kill(s->pid, signal);
    waitpid(s->pid, NULL, 0);
}
