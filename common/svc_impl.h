// SPDX-License-Identifier: MIT
/*
 * What the files of the skeleton (svc*.c) share and nobody else sees.
 */
#pragma once

#include "common/svc.h"

const struct svc *svc_table(const struct svc_ctx *ctx);

/* ---- svc.c: one instance of one service, on a thread of its own ---- */

struct svc_instance_options {
    const struct svc *svc;
    bool standalone;
    struct svc_settings settings;
    void *own_settings;       /* settings_size bytes; owned by the caller */
    void (*exit)(int status); /* asks the process to stop; any thread */
};

/* Starts the thread. The context lives until svc_instance_free. */
struct svc_ctx *svc_instance_new(const struct svc_instance_options *options);
void svc_instance_stop(struct svc_ctx *ctx);  /* begins the drain; any thread; once */
bool svc_instance_ended(struct svc_ctx *ctx); /* the thread has nothing more to do; any thread */
void svc_instance_free(struct svc_ctx *ctx);  /* joins the thread */
/* The causes of not being ready as JSON members ("\"bus\":\"…\",…"), as last looked at; true: none.
 * Any thread. */
bool svc_instance_ready(struct svc_ctx *ctx, struct buf *why);
/* Everything in the process was ready at least once. Any thread. */
bool svc_process_was_ready(void);

/* ---- svc_settings.c ---- */

/*
 * Reads the skeleton's settings and the service's own (into own, settings_size bytes), and settles
 * what depends on the way of running: addresses, secret, database. Strings live as long as the
 * process. ERR_INVALID with one sentence in problem.
 */
int svc_settings_load(const struct svc *svc, bool standalone, struct svc_settings *common,
                      void *own, char *problem, size_t problem_size);
/* --help of all the services, the skeleton's rows first. */
void svc_settings_help(const char *program, const struct svc *const *services, size_t n);
