// SPDX-License-Identifier: MIT
/*
 * The usual questions to a presence store, in one call each.
 */
#pragma once

#include "tests/store/presence_test.h"

enum { LEASE = 15000, GRACE = 5000, RETELL = 5000 };
static const int64_t T = INT64_C(1800000000000); /* the tests begin here */

static struct arena *arena; /* of the running test */
static struct presence_store *store;

static inline void begin(void)
{
    arena = arena_new(0);
    store = store_anew();
}

static inline void end(void)
{
    store_release(store);
    arena_free(arena);
}

static inline struct presence_report report_of(const char *gateway, uint64_t incarnation,
                                               int64_t now_ms)
{
    return (struct presence_report){
        .gateway = gateway, .incarnation = incarnation, .now_ms = now_ms, .lease_ms = LEASE};
}

static inline enum presence_standing attend(struct presence_report report)
{
    enum presence_standing standing = PRESENCE_OLDER;

    CHECK_INT(store->ops->attend(store, arena, &report, &standing), 0);
    return standing;
}

static inline enum presence_standing beat(const char *gateway, uint64_t incarnation, int64_t now_ms)
{
    struct presence_report report = report_of(gateway, incarnation, now_ms);

    report.beat = true;
    return attend(report);
}

/* One change; the number of users that went online by it. */
static inline size_t change(const char *gateway, uint64_t incarnation, int64_t now_ms,
                            uint64_t user, bool present)
{
    struct presence_report report = report_of(gateway, incarnation, now_ms);
    struct presence_change c = {.user_id = user, .present = present};
    struct presence_statuses changed = {0};

    if (attend(report) == PRESENCE_OLDER) {
        return 0;
    }
    CHECK_INT(store->ops->apply(store, arena, &report, &c, 1, &changed), 0);
    if (changed.n > 0) {
        CHECK_INT(changed.items[0].user_id, user);
        CHECK(changed.items[0].online);
    }
    return changed.n;
}

static inline struct presence_swept sweep_with(struct presence_store *s, struct arena *a,
                                               int64_t now_ms, bool expire)
{
    struct presence_sweep sweep = {
        .now_ms = now_ms, .grace_ms = GRACE, .retell_ms = RETELL, .expire = expire};
    struct presence_swept swept = {0};

    CHECK_INT(s->ops->sweep(s, a, &sweep, &swept), 0);
    return swept;
}

/* Sweeps, as if all that it gives is told at once. */
static inline struct presence_swept sweep(int64_t now_ms)
{
    struct presence_swept swept = sweep_with(store, arena, now_ms, true);

    CHECK_INT(store->ops->told(store, arena, swept.changed.items, swept.changed.n), 0);
    CHECK_INT(store->ops->told(store, arena, swept.again.items, swept.again.n), 0);
    return swept;
}

static inline struct presence_status get(uint64_t user)
{
    struct presence_status status = {.user_id = user};

    CHECK_INT(store->ops->get(store, arena, &status, 1), 0);
    CHECK_INT(status.user_id, user);
    return status;
}
