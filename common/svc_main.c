// SPDX-License-Identifier: MIT
/*
 * The process: options, settings of all its services, the admin port, signals, and the order of
 * stopping. It owns the main thread; each service has a thread of its own (svc.c).
 *
 * In standalone the last service of the list (the gateway) is stopped first and alone, since its
 * requests need the others.
 */
#include "common/admin.h"
#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"
#include "common/svc_impl.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVICES_MAX 8
#define HARD_STOP_EXTRA_MS 1000

#ifndef CHAT_VERSION
#define CHAT_VERSION "0.1.0"
#endif

static struct {
    size_t n;
    const struct svc *const *services;
    struct svc_ctx *instances[SERVICES_MAX];
    struct svc_settings settings[SERVICES_MAX];
    void *own[SERVICES_MAX];
    uv_loop_t loop;
    uv_async_t wake;
    uv_signal_t term, interrupt;
    uv_timer_t hard_stop;
    struct admin *admin;
    int signals;
    bool stopping, last_stopped_alone;
    atomic_int exit_status; /* -1: nobody asked for the end */
    atomic_bool was_ready, started;
} process;

bool svc_is_ready(struct buf *why)
{
    bool ready = atomic_load(&process.started);
    if (why != NULL) {
        buf_add_char(why, '{');
    }
    bool first = true;
    for (size_t i = 0; i < process.n && ready; i++) {
        struct buf causes;
        buf_init(&causes);
        if (!svc_instance_ready(process.instances[i], &causes)) {
            if (why != NULL) {
                buf_printf(why, "%s\"%s\":{%s}", first ? "" : ",", process.services[i]->name,
                           causes.data);
            }
            first = false;
        }
        buf_done(&causes);
    }
    if (why != NULL) {
        buf_add_char(why, '}');
    }
    ready = ready && first;
    if (ready) {
        atomic_store(&process.was_ready, true);
    }
    return ready;
}

bool svc_process_was_ready(void)
{
    return atomic_load(&process.was_ready) || svc_is_ready(NULL);
}

/* ---- Stopping ---- */

static void on_hard_stop(uv_timer_t *timer)
{
    (void)timer;
    for (size_t i = 0; i < process.n; i++) {
        if (!svc_instance_ended(process.instances[i])) {
            log_error("did not stop within DRAIN_SECONDS", "service=%s", process.services[i]->name);
        }
    }
    _exit(1);
}

static void begin_stop(void)
{
    process.stopping = true;
    uv_timer_start(&process.hard_stop, on_hard_stop,
                   (uint64_t)process.settings[0].drain_seconds * 1000 + HARD_STOP_EXTRA_MS, 0);
    svc_instance_stop(process.instances[process.n - 1]);
}

static void close_all(void)
{
    uv_close((uv_handle_t *)&process.wake, NULL);
    uv_close((uv_handle_t *)&process.term, NULL);
    uv_close((uv_handle_t *)&process.interrupt, NULL);
    uv_close((uv_handle_t *)&process.hard_stop, NULL);
    admin_stop(process.admin);
}

/* A service ended, or somebody asked for the end. */
static void on_wake(uv_async_t *async)
{
    (void)async;
    if (!process.stopping) {
        begin_stop();
        return;
    }
    if (svc_instance_ended(process.instances[process.n - 1]) && !process.last_stopped_alone) {
        process.last_stopped_alone = true;
        for (size_t i = 0; i + 1 < process.n; i++) {
            svc_instance_stop(process.instances[i]);
        }
    }
    size_t ended = 0;
    for (size_t i = 0; i < process.n; i++) {
        ended += svc_instance_ended(process.instances[i]);
    }
    if (ended == process.n && !uv_is_closing((uv_handle_t *)&process.wake)) {
        close_all();
    }
}

static void request_exit(int status)
{
    int unset = -1;
    if (status >= 0) {
        atomic_compare_exchange_strong(&process.exit_status, &unset, status);
    }
    uv_async_send(&process.wake);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)handle;
    if (++process.signals > 1 && number == SIGINT) {
        log_warn("interrupted again: ending at once", " ");
        _exit(130);
    }
    request_exit(0);
}

/* ---- Start ---- */

static bool admin_ready(void *arg, struct buf *why)
{
    (void)arg;
    return svc_is_ready(why);
}

static int load_settings(void)
{
    char problem[512];
    for (size_t i = 0; i < process.n; i++) {
        const struct svc *svc = process.services[i];
        process.own[i] = calloc(1, svc->settings_size + 1);
        assert(process.own[i] != NULL);
        if (svc_settings_load(svc, process.n > 1, &process.settings[i], process.own[i], problem,
                              sizeof(problem)) != 0) {
            fprintf(stderr, "%s: %s\n", svc->name, problem);
            return ERR_INVALID;
        }
    }
    enum log_level level;
    if (log_parse_level(process.settings[0].log_level, &level) == 0) {
        log_set_level(level);
    }
    return 0;
}

static void tell_start(void)
{
    const struct svc_settings *s = &process.settings[process.n - 1];
    bool standalone = process.n > 1;
    log_info("starting", "version=%s mode=%s instance=%s %s=%s", CHAT_VERSION, s->mode,
             s->instance_id, standalone ? "data_dir" : "kafka",
             LOG_Q(standalone ? s->data_dir : s->kafka_bootstrap));
}

static int start_admin(void)
{
    static const struct admin_ops ops = {.ready = admin_ready};
    const struct svc_settings *s = &process.settings[process.n - 1];
    int err =
        admin_start(&process.loop, s->admin_bind, (int)s->admin_port, &ops, NULL, &process.admin);
    if (err != 0) {
        fprintf(stderr,
                "%s: ADMIN_PORT %lld on %s cannot be listened on; is another one running? 0 takes "
                "a free port\n",
                process.services[process.n - 1]->name, (long long)s->admin_port, s->admin_bind);
        return err;
    }
    log_info("admin port", "address=%s port=%d", s->admin_bind, admin_port(process.admin));
    return 0;
}

static void start_services(void)
{
    for (size_t i = 0; i < process.n; i++) {
        process.instances[i] = svc_instance_new(&(struct svc_instance_options){
            .svc = process.services[i],
            .standalone = process.n > 1,
            .settings = process.settings[i],
            .own_settings = process.own[i],
            .exit = request_exit,
        });
    }
    atomic_store(&process.started, true);
}

static bool handle_options(int argc, char **argv)
{
    const char *name = strrchr(argv[0], '/');
    name = name == NULL ? argv[0] : name + 1;
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        svc_settings_help(name, process.services, process.n);
    } else if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        printf("%s %s\n", name, CHAT_VERSION);
    } else if (argc > 1) {
        fprintf(stderr, "%s: unknown argument %s; see --help\n", name, argv[1]);
        exit(2);
    } else {
        return false;
    }
    return true;
}

static void init_loop(void)
{
    uv_loop_init(&process.loop);
    uv_async_init(&process.loop, &process.wake, on_wake);
    uv_timer_init(&process.loop, &process.hard_stop);
    uv_signal_init(&process.loop, &process.term);
    uv_signal_init(&process.loop, &process.interrupt);
    uv_signal_start(&process.term, on_signal, SIGTERM);
    uv_signal_start(&process.interrupt, on_signal, SIGINT);
}

int svc_main(int argc, char **argv, const struct svc *const *services, size_t n)
{
    assert(n > 0 && n <= SERVICES_MAX);
    process.services = services;
    process.n = n;
    atomic_init(&process.exit_status, -1);
    signal(SIGPIPE, SIG_IGN);
    log_set_service(n > 1 ? "standalone" : services[0]->name);
    if (handle_options(argc, argv)) {
        return 0;
    }
    if (load_settings() != 0) {
        return 1;
    }
    tell_start();
    init_loop();
    if (start_admin() != 0) {
        return 1;
    }
    start_services();
    while (uv_run(&process.loop, UV_RUN_DEFAULT) != 0) {
    }
    for (size_t i = 0; i < n; i++) {
        svc_instance_free(process.instances[i]);
        free(process.own[i]);
    }
    uv_loop_close(&process.loop);
    log_info("ended", "status=%d", atomic_load(&process.exit_status));
    int status = atomic_load(&process.exit_status);
    return status < 0 ? 0 : status;
}
