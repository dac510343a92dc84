// SPDX-License-Identifier: MIT
/*
 * A gateway refuses a token whose session has ended because it has read so on the bus; so an end
 * must be there as long as such a token may live. Kafka keeps it. The in-process bus is empty after
 * a start: then the rows, which are kept as long, are told again, and this service is not ready
 * before that is done. After two lives a row is deleted (one would do; the other is for clocks).
 */
#include "auth-svc/chores.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/pb.h"
#include "proto/auth.pb-c.h"

enum { CLEAN_EVERY_MS = 60 * 1000, STEP = 500 };

int auth_chores_clean_sessions(struct db *db, struct arena *arena, int64_t access_s, bool *more_out)
{
    int64_t now_ms = clock_now_ms();
    size_t deleted = 0;
    int rc =
        auth_store_delete_sessions(db, arena, now_ms - 2 * access_s * 1000, now_ms, STEP, &deleted);

    if (rc == 0) {
        *more_out = deleted >= STEP;
    }
    return rc;
}

int auth_chores_tell_ended(struct db *db, int64_t access_s,
                           int (*send)(void *arg, const struct auth_store_session *session),
                           void *arg)
{
    int64_t since_ms = clock_now_ms() - 2 * access_s * 1000;
    struct arena *arena = arena_new(0);
    struct auth_store_sessions ended;
    uint64_t after_id = 0;
    int rc;

    do {
        arena_reset(arena);
        rc = auth_store_list_ended(db, arena, since_ms, after_id, STEP, &ended);
        for (size_t i = 0; rc == 0 && i < ended.count; i++) {
            rc = send(arg, &ended.list[i]);
            after_id = ended.list[i].id;
        }
    } while (rc == 0 && ended.count == STEP);
    arena_free(arena);
    return rc;
}

static int send_ended(void *arg, const struct auth_store_session *session)
{
    struct svc_ctx *ctx = arg;
    struct arena *arena = arena_new(256);
    Chat__SessionEnded event = CHAT__SESSION_ENDED__INIT;
    struct bus_message message = {
        .topic = TOPIC_EVENTS_SESSION,
        .key = {session->user_id, 0},
        .partition = -1,
    };

    event.user_id = session->user_id;
    event.session_id = session->id;
    event.ended_at = session->ended_at;
    message.value = pb_pack(&event, arena, &message.len);
    int rc = bus_send(svc_bus(ctx), &message, NULL, NULL);
    arena_free(arena);
    return rc;
}

/* A worker: telling first, then cleaning; what fails is tried again at the next tick. */
static void run_chores(struct svc_ctx *ctx, struct db *db, void *worker, void *arg)
{
    struct auth_chores *chores = arg;
    struct arena *arena = arena_new(0);
    bool more = false;

    (void)worker;
    if (!atomic_load(&chores->caught_up) &&
        auth_chores_tell_ended(db, chores->access_s, send_ended, ctx) == 0) {
        atomic_store(&chores->caught_up, true);
    }
    if (clock_mono_ms() >= atomic_load(&chores->clean_at_ms)) {
        int rc = auth_chores_clean_sessions(db, arena, chores->access_s, &more);
        if (rc != 0 || !more) {
            atomic_store(&chores->clean_at_ms, clock_mono_ms() + CLEAN_EVERY_MS);
        }
    }
    arena_free(arena);
    atomic_store(&chores->working, false);
}

int auth_chores_begin(struct auth_chores *chores, struct svc_ctx *ctx, int64_t access_s)
{
    chores->access_s = access_s;
    atomic_store(&chores->caught_up, bus_is_durable(svc_bus(ctx)));
    atomic_store(&chores->working, true);
    return svc_work(ctx, RPC_FAST, run_chores, chores);
}

void auth_chores_tick(struct auth_chores *chores, struct svc_ctx *ctx)
{
    if (atomic_load(&chores->caught_up) && clock_mono_ms() < atomic_load(&chores->clean_at_ms)) {
        return;
    }
    if (!atomic_exchange(&chores->working, true) &&
        svc_work(ctx, RPC_FAST, run_chores, chores) != 0) {
        atomic_store(&chores->working, false);
        log_info("chores wait", "reason=%s", "the lane is full");
    }
}
