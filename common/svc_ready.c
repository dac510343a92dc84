// SPDX-License-Identifier: MIT
/*
 * Whether an instance is ready, and if not, why: looked at on its loop by a timer, kept as text
 * for the admin port, which runs on another thread.
 */
#include "common/svc_ctx.h"

#include "common/clock.h"
#include "common/log.h"

#include <stdarg.h>
#include <stdio.h>

#define READY_FIRST_MS 20      /* how often it is looked at, before the first time… */
#define READY_LATER_MS 500     /* …and after */
#define JOIN_PATIENCE_MS 10000 /* an instance beyond the partitions gets none and is ready then */
#define TROUBLE_MS 5000        /* what fails this long makes the daemon not ready */
#define PROBE_MS 2000          /* how often the database is asked for a sign of life */

static void add_json_text(struct buf *out, const char *s)
{
    buf_add_char(out, '"');
    for (; *s != '\0'; s++) {
        if (*s == '"' || *s == '\\') {
            buf_add_char(out, '\\');
        }
        buf_add_char(out, (unsigned char)*s < ' ' ? ' ' : *s);
    }
    buf_add_char(out, '"');
}

struct svc_causes {
    struct buf *out;
};

void svc_not_ready(struct svc_causes *causes, const char *part, const char *format, ...)
{
    char text[300];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (causes->out->len > 0) {
        buf_add_char(causes->out, ',');
    }
    add_json_text(causes->out, part);
    buf_add_char(causes->out, ':');
    add_json_text(causes->out, text);
}

static void on_probe(struct svc_ctx *ctx, struct db *db, void *worker, void *arg)
{
    (void)worker;
    (void)arg;
    struct arena *arena = arena_new(0);
    struct db_rows rows;
    if (db_query(db, arena, "SELECT 1", NULL, 0, &rows) == 0) {
        atomic_store(&ctx->probe_answered_ms, clock_mono_ms());
    }
    arena_free(arena);
}

/* A worker asks the database for a sign of life; what no worker comes to is no sign either. */
static void probe_database(struct svc_ctx *ctx)
{
    int64_t now = clock_mono_ms();
    if (ctx->svc->schema_name != NULL && ctx->server != NULL && !ctx->stopping &&
        now - atomic_load(&ctx->probe_sent_ms) >= PROBE_MS) {
        atomic_store(&ctx->probe_sent_ms, now);
        if (svc_work(ctx, RPC_FAST, on_probe, NULL) != 0) {
            log_warn("no room to ask the database for a sign of life", "queue=%d", QUEUE_MAX);
        }
    }
}

static void look_at_parts(struct svc_ctx *ctx, struct svc_causes *causes)
{
    int64_t now = clock_mono_ms();
    if (!bus_is_connected(ctx->bus)) {
        svc_not_ready(causes, "bus", "no broker can be reached");
    }
    if (ctx->rpc_consumer != NULL) {
        int64_t stalled = bus_consumer_stalled_ms(ctx->rpc_consumer);
        if (ctx->assigned == 0 && now - ctx->joined_ms < JOIN_PATIENCE_MS) {
            svc_not_ready(causes, "rpc", "waits for its partitions");
        } else if (stalled > TROUBLE_MS) {
            svc_not_ready(causes, "rpc", "has received nothing for %lld ms", (long long)stalled);
        }
    }
    for (size_t i = 0; i < ctx->stream_count; i++) {
        int64_t failing = stream_failing_ms(ctx->streams[i]);
        if (failing > TROUBLE_MS) {
            svc_not_ready(causes, stream_name(ctx->streams[i]), "has failed for %lld ms",
                          (long long)failing);
        }
    }
    if (ctx->outbox != NULL && outbox_oldest_ms(ctx->outbox) > TROUBLE_MS) {
        svc_not_ready(causes, "outbox", "its oldest event waits for %lld ms",
                      (long long)outbox_oldest_ms(ctx->outbox));
    }
    int64_t unanswered = atomic_load(&ctx->probe_sent_ms) - atomic_load(&ctx->probe_answered_ms);
    if (ctx->svc->schema_name != NULL && unanswered >= TROUBLE_MS - PROBE_MS) {
        svc_not_ready(causes, "database", "has not answered for %lld ms",
                      (long long)(now - atomic_load(&ctx->probe_answered_ms)));
    }
    if (ctx->svc->ready != NULL) {
        ctx->svc->ready(ctx, causes);
    }
}

void svc_ready_look(struct svc_ctx *ctx)
{
    struct buf text;
    buf_init(&text);
    struct svc_causes causes = {.out = &text};
    if (ctx->stopping) {
        svc_not_ready(&causes, "drain", "is stopping");
    } else {
        look_at_parts(ctx, &causes);
    }
    bool ready = text.len == 0;
    uv_mutex_lock(&ctx->lock);
    bool changed = ready != ctx->ready;
    ctx->ready = ready;
    buf_clear(&ctx->causes);
    buf_add(&ctx->causes, text.data, text.len);
    uv_mutex_unlock(&ctx->lock);
    if (changed && ready) {
        log_info("ready", "instance=%s", ctx->instance);
    } else if (changed && !ctx->stopping) {
        log_warn("not ready", "causes=%s", LOG_Q(text.data));
    }
    buf_done(&text);
}

static void on_ready_timer(uv_timer_t *timer)
{
    struct svc_ctx *ctx = timer->data;
    probe_database(ctx);
    svc_ready_look(ctx);
    if (!ctx->announced && svc_process_was_ready()) {
        ctx->announced = true;
        svc_lead(ctx);
        uv_timer_set_repeat(timer, READY_LATER_MS);
        if (ctx->svc->announce != NULL) {
            ctx->svc->announce(ctx);
        }
    }
}

bool svc_instance_ready(struct svc_ctx *ctx, struct buf *why)
{
    uv_mutex_lock(&ctx->lock);
    bool ready = ctx->ready;
    if (why != NULL && ctx->causes.len > 0) {
        buf_add(why, ctx->causes.data, ctx->causes.len);
    } else if (why != NULL && !ready) {
        buf_add_str(why, "\"start\":\"is starting\"");
    }
    uv_mutex_unlock(&ctx->lock);
    return ready;
}

void svc_ready_start(struct svc_ctx *ctx)
{
    uv_timer_start(&ctx->ready_timer, on_ready_timer, 0, READY_FIRST_MS);
}
