// SPDX-License-Identifier: MIT
/*
 * Two private Redis servers on free ports, ended by their pids.
 */
#pragma once

#include <arpa/inet.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { SERVERS = 2 };

static struct {
    pid_t pid;
    int port;
} servers[SERVERS];
static char redis_addr[64]; /* "": none */

static inline void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* port 0: takes a free one and lets it go again; otherwise whether somebody listens there. */
static inline int try_port(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    socklen_t len = sizeof(a);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int rc = port == 0 ? bind(fd, (struct sockaddr *)&a, len)
                       : connect(fd, (struct sockaddr *)&a, len);
    if (rc == 0 && port == 0) {
        rc = getsockname(fd, (struct sockaddr *)&a, &len);
    }
    close(fd);
    return rc != 0 ? -1 : ntohs(a.sin_port);
}

static inline bool start_servers(void)
{
    for (int i = 0; i < SERVERS; i++) {
        char port[16];
        servers[i].port = try_port(0);
        snprintf(port, sizeof(port), "%d", servers[i].port);
        const char *args[] = {"redis-server", "--port",    port,         "--bind",  "127.0.0.1",
                              "--save",       "",          "--loglevel", "warning", "--appendonly",
                              "no",           "--logfile", "/dev/null",  NULL};
        if (posix_spawnp(&servers[i].pid, args[0], NULL, NULL, (char *const *)(uintptr_t)args,
                         environ) != 0) {
            servers[i].pid = 0;
            return false;
        }
        for (int k = 0; k < 500 && try_port(servers[i].port) < 0; k++) {
            sleep_ms(10);
        }
    }
    snprintf(redis_addr, sizeof(redis_addr), "127.0.0.1:%d,127.0.0.1:%d", servers[0].port,
             servers[1].port);
    return try_port(servers[0].port) > 0 && try_port(servers[1].port) > 0;
}

static inline void stop_server(int i)
{
    if (servers[i].pid > 0) {
        kill(servers[i].pid, SIGKILL);
        waitpid(servers[i].pid, NULL, 0);
        servers[i].pid = 0;
    }
}
