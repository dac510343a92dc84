// SPDX-License-Identifier: MIT
/*
 * One program for both presence stores: what is told, when, and how often.
 */
#include "tests/store/presence_test.h"

#include "tests/store/presence_calls.h"

/* ---- Coming and going ---- */

TEST(online_and_offline)
{
    begin();
    CHECK_INT(get(7).version, 0);
    CHECK_INT(change("g", 1, T, 7, true), 1);
    CHECK_INT(change("g", 1, T + 1, 7, true), 0); /* known */
    CHECK(get(7).online);
    CHECK_INT(get(7).version, T);
    CHECK_INT(get(7).seen_at, 0);
    CHECK_INT(sweep(T + 2).online, 1);
    CHECK_INT(change("g", 1, T + 1000, 7, false), 0);
    CHECK_INT(sweep(T + 1000 + GRACE - 1).changed.n, 0);
    CHECK(get(7).online); /* still */
    struct presence_swept swept = sweep(T + 1000 + GRACE);
    if (CHECK_INT(swept.changed.n, 1)) {
        CHECK_INT(swept.changed.items[0].user_id, 7);
        CHECK(!swept.changed.items[0].online);
        CHECK_INT(swept.changed.items[0].seen_at, T + 1000);
        CHECK_INT(swept.changed.items[0].version, T + 1000 + GRACE);
    }
    CHECK_INT(swept.online, 0);
    CHECK_INT(sweep(T + 1000 + GRACE).changed.n, 0); /* once */
    CHECK(!get(7).online);
    CHECK_INT(get(7).seen_at, T + 1000);
    CHECK_INT(change("g", 1, T + 9000, 7, true), 1);
    CHECK_INT(get(7).seen_at, 0);
    end();
}

TEST(a_reconnect_shows_nothing)
{
    begin();
    CHECK_INT(change("g", 1, T, 7, true), 1);
    for (int i = 1; i < 10; i++) {
        CHECK_INT(change("g", 1, T + i * 4000, 7, false), 0);
        CHECK_INT(sweep(T + i * 4000 + 1000).changed.n, 0);
        CHECK_INT(change("h", 1, T + i * 4000 + 2000, 7, true), 0);
        CHECK_INT(change("h", 1, T + i * 4000 + 2500, 7, false), 0);
        CHECK_INT(change("g", 1, T + i * 4000 + 3000, 7, true), 0);
    }
    CHECK_INT(get(7).version, T);
    end();
}

TEST(two_gateways)
{
    begin();
    CHECK_INT(change("g", 1, T, 7, true), 1);
    CHECK_INT(change("h", 5, T + 1, 7, true), 0);
    CHECK_INT(change("g", 1, T + 2, 7, false), 0);
    CHECK_INT(sweep(T + GRACE + 2).changed.n, 0);
    CHECK_INT(change("h", 5, T + 6000, 7, false), 0);
    CHECK_INT(change("h", 5, T + 7000, 7, false), 0); /* said twice: the first counts */
    CHECK_INT(sweep(T + 6000 + GRACE).changed.n, 1);
    end();
}

TEST(versions_grow_within_a_millisecond)
{
    begin();
    struct presence_sweep at_once = {.now_ms = T, .retell_ms = RETELL};
    struct presence_swept swept;
    for (int i = 0; i < 5; i++) {
        CHECK_INT(change("g", 1, T, 7, true), 1);
        CHECK_INT(get(7).version, T + 2 * i);
        CHECK_INT(change("g", 1, T, 7, false), 0);
        CHECK_INT(store->ops->sweep(store, arena, &at_once, &swept), 0);
        CHECK_INT(swept.changed.n, 1);
        CHECK_INT(get(7).version, T + 2 * i + 1);
    }
    end();
}

TEST(many_in_one_call)
{
    enum { N = 5000 };
    begin();
    struct presence_report report = report_of("g", 1, T);
    struct presence_change *changes = arena_array(arena, N, sizeof(*changes));
    struct presence_status *statuses = arena_array(arena, N, sizeof(*statuses));
    struct presence_statuses changed;
    for (size_t i = 0; i < N; i++) {
        changes[i] = (struct presence_change){.user_id = 1 + i * 3, .present = true};
        statuses[i].user_id = 1 + (N - 1 - i) * 3;
    }
    attend(report);
    CHECK_INT(store->ops->apply(store, arena, &report, changes, N, &changed), 0);
    CHECK_INT(changed.n, N);
    CHECK_INT(store->ops->apply(store, arena, &report, changes, N, &changed), 0);
    CHECK_INT(changed.n, 0);
    CHECK_INT(store->ops->get(store, arena, statuses, N), 0);
    for (size_t i = 0; i < N; i++) {
        CHECK(statuses[i].online && statuses[i].user_id == 1 + (N - 1 - i) * 3);
    }
    changes[1] = (struct presence_change){.user_id = 9, .present = true}; /* in their order */
    changes[0] = changes[2] = (struct presence_change){.user_id = 9, .present = false};
    CHECK_INT(store->ops->apply(store, arena, &report, changes, 3, &changed), 0);
    CHECK_INT(changed.n, 1);
    CHECK_INT(sweep(T + GRACE).changed.n, 1); /* the last word was that 9 has gone */
    CHECK_INT(store->ops->apply(store, arena, &report, NULL, 0, &changed), 0);
    CHECK_INT(changed.n, 0);
    end();
}

/* ---- Gateways ---- */

TEST(incarnations)
{
    begin();
    CHECK_INT(change("g", 10, T, 7, true), 1);
    CHECK_INT(change("g", 10, T, 8, true), 1);
    CHECK_INT(change("g", 9, T, 9, true), 0); /* older: ignored */
    CHECK_INT(beat("g", 9, T), PRESENCE_OLDER);
    CHECK_INT(change("g", 9, T, 7, false), 0);
    CHECK_INT(sweep(T + GRACE).changed.n, 0);
    CHECK(!get(9).online);
    CHECK_INT(change("g", 11, T + 100, 8, true), 0); /* newer: 7's session is over, 8 is back */
    struct presence_swept swept = sweep(T + 100 + GRACE);
    if (CHECK_INT(swept.changed.n, 1)) {
        CHECK_INT(swept.changed.items[0].user_id, 7);
    }
    CHECK_INT(change("g", 10, T + 9000, 7, true), 0);
    CHECK_INT(beat("g", 10, T + 9000), PRESENCE_OLDER);
    CHECK_INT(beat("g", UINT64_MAX, T + 9000), PRESENCE_INCOMPLETE); /* beyond 2^53 as well */
    CHECK_INT(beat("g", UINT64_MAX - 1, T + 9000), PRESENCE_OLDER);
    CHECK_INT(sweep(T + 9000 + GRACE).changed.n, 1); /* 8 */
    end();
}

TEST(asking_for_all)
{
    begin();
    struct presence_report answer = report_of("g", 1, T);
    answer.answered = true;
    CHECK_INT(attend(answer), PRESENCE_KNOWN); /* nobody had asked: does not count */
    CHECK_INT(beat("g", 1, T), PRESENCE_INCOMPLETE);
    CHECK_INT(beat("g", 1, T), PRESENCE_INCOMPLETE); /* again, until there is an answer */
    CHECK_INT(attend(report_of("g", 1, T)), PRESENCE_KNOWN);
    CHECK_INT(attend(answer), PRESENCE_KNOWN);
    CHECK_INT(beat("g", 1, T), PRESENCE_KNOWN);
    CHECK_INT(beat("g", 2, T), PRESENCE_INCOMPLETE);
    answer = report_of("g", 2, T);
    answer.answered = answer.beat = true;
    CHECK_INT(attend(answer), PRESENCE_KNOWN); /* both in one batch */
    end();
}

TEST(a_lease_runs_out)
{
    begin();
    CHECK_INT(beat("g", 1, T), PRESENCE_INCOMPLETE);
    CHECK_INT(beat("h", 1, T + 10000), PRESENCE_INCOMPLETE);
    for (uint64_t user = 1; user <= 600; user++) {
        CHECK_INT(change(user % 2 == 0 ? "g" : "h", 1, T, user, true), 1);
    }
    CHECK_INT(change("h", 1, T, 2, true), 0);
    CHECK_INT(sweep_with(store, arena, T + LEASE - 1, true).ended, 0);
    CHECK_INT(sweep_with(store, arena, T + LEASE, false).ended, 0); /* told to hold */
    CHECK_INT(sweep_with(store, arena, T + LEASE, true).ended, 1);
    CHECK_INT(sweep_with(store, arena, T + LEASE, true).ended, 0);
    CHECK_INT(sweep(T + LEASE + GRACE - 1).changed.n, 0);
    struct presence_swept swept = sweep(T + LEASE + GRACE);
    CHECK_INT(swept.changed.n, 299); /* 2 is at the other one too */
    CHECK_INT(swept.online, 301);
    CHECK_INT(beat("g", 1, T + 21000), PRESENCE_INCOMPLETE); /* it was only silent */
    CHECK_INT(change("g", 1, T + 21000, 4, true), 1);
    end();
}

TEST(a_goodbye)
{
    begin();
    struct presence_report goodbye = report_of("g", 1, T + 10);
    goodbye.beat = goodbye.leaving = true;
    CHECK_INT(beat("g", 1, T), PRESENCE_INCOMPLETE);
    CHECK_INT(change("g", 1, T, 7, true), 1);
    CHECK_INT(attend(goodbye), PRESENCE_KNOWN);
    CHECK_INT(sweep_with(store, arena, T + 20, false).ended, 1);
    CHECK_INT(sweep(T + 20 + GRACE).changed.n, 1);
    struct presence_gateway *gateways;
    size_t n;
    CHECK_INT(store->ops->gateways(store, arena, &gateways, &n), 0);
    CHECK_INT(n, 0);
    CHECK_INT(change("g", 1, T + 9000, 7, true), 1); /* a straggler gets a lease of its own */
    CHECK_INT(sweep(T + 9000 + LEASE).ended, 1);
    CHECK_INT(sweep(T + 9000 + LEASE + GRACE).changed.n, 1);
    end();
}

TEST(list_of_gateways)
{
    begin();
    struct presence_report report = report_of("gateway-a", 1, T);
    struct presence_gateway *gateways;
    size_t n;
    report.beat = true;
    report.connections = 12;
    report.users = 11;
    attend(report);
    beat("gateway-b", 3, T);
    report = report_of("gateway-a", 1, T); /* a change alone keeps the counts */
    attend(report);
    CHECK_INT(store->ops->gateways(store, arena, &gateways, &n), 0);
    if (CHECK_INT(n, 2)) {
        size_t a = strcmp(gateways[0].name, "gateway-a") == 0 ? 0 : 1;
        CHECK_STR(gateways[a].name, "gateway-a");
        CHECK_INT(gateways[a].connections, 12);
        CHECK_INT(gateways[a].users, 11);
        CHECK_STR(gateways[1 - a].name, "gateway-b");
        CHECK_INT(gateways[1 - a].incarnation, 3);
    }
    end();
}

/* ---- Telling ---- */

TEST(untold_comes_again)
{
    begin();
    CHECK_INT(change("g", 1, T, 7, true), 1);
    CHECK_INT(sweep_with(store, arena, T + RETELL - 1, true).again.n, 0);
    struct presence_swept swept = sweep_with(store, arena, T + RETELL, true);
    if (CHECK_INT(swept.again.n, 1)) {
        CHECK_INT(swept.again.items[0].user_id, 7);
        CHECK(swept.again.items[0].online);
        CHECK_INT(swept.again.items[0].version, T);
    }
    CHECK_INT(sweep_with(store, arena, T + RETELL, true).again.n, 0); /* another instance's */
    struct presence_status old = {.user_id = 7, .version = (uint64_t)T - 1};
    CHECK_INT(store->ops->told(store, arena, &old, 1), 0); /* not this one */
    CHECK_INT(sweep_with(store, arena, T + 2 * RETELL, true).again.n, 1);
    CHECK_INT(store->ops->told(store, arena, swept.again.items, 1), 0);
    CHECK_INT(sweep_with(store, arena, T + 3 * RETELL, false).again.n, 0);
    CHECK_INT(store->ops->told(store, arena, NULL, 0), 0);
    CHECK_INT(change("g", 1, T + 20000, 7, false), 0);
    CHECK_INT(sweep_with(store, arena, T + 25000, false).changed.n, 1);
    swept = sweep_with(store, arena, T + 25000 + RETELL, false);
    if (CHECK_INT(swept.again.n, 1)) {
        CHECK(!swept.again.items[0].online);
        CHECK_INT(swept.again.items[0].seen_at, T + 20000);
        CHECK_INT(swept.again.items[0].version, T + 25000);
    }
    end();
}

/* Somebody is reported gone of whom nothing is known: others may have known them. */
TEST(offline_of_the_unknown)
{
    begin();
    CHECK_INT(change("g", 1, T, 7, false), 0);
    CHECK_INT(sweep(T + GRACE).changed.n, 1);
    CHECK_INT(get(7).seen_at, T);
    CHECK_INT(change("g", 1, T + 6000, 7, false), 0); /* known to be offline */
    CHECK_INT(sweep(T + 6000 + GRACE).changed.n, 0);
    end();
}

/* ---- The list ---- */

TEST(list_by_pages)
{
    enum { N = 900 };
    begin();
    for (uint64_t user = 1; user <= N; user++) {
        CHECK_INT(change("g", 1, T + (int64_t)user, user * user, true), 1);
    }
    for (size_t limit = 1; limit < 2000; limit = limit * 7 + 1) {
        uint64_t cursor = 0;
        size_t seen = 0, pages = 0;
        bool known[N + 1] = {false};
        do {
            struct presence_statuses page;
            CHECK_INT(store->ops->list(store, arena, cursor, limit, &page, &cursor), 0);
            CHECK(page.n <= limit);
            for (size_t i = 0; i < page.n; i++) {
                uint64_t root = page.items[i].version - (uint64_t)T;
                CHECK(root >= 1 && root <= N && page.items[i].user_id == root * root);
                CHECK(page.items[i].online && !known[root]);
                known[root] = true;
            }
            seen += page.n;
        } while (cursor != 0 && ++pages < 3 * N);
        CHECK_INT(seen, N);
    }
    end();
}

/* The snapshot, and what is told meanwhile, merged by version, is the truth. */
TEST(list_while_users_come_and_go)
{
    enum { N = 300 };
    begin();
    struct presence_status merged[N + 1] = {0};
    for (uint64_t user = 1; user <= N; user += 2) {
        CHECK_INT(change("g", 1, T, user, true), 1);
    }
    uint64_t cursor = 0, next = 1;
    int64_t now = T;
    do {
        struct presence_statuses page;
        CHECK_INT(store->ops->list(store, arena, cursor, 10, &page, &cursor), 0);
        for (size_t i = 0; i < page.n; i++) {
            struct presence_status *m = &merged[page.items[i].user_id];
            *m = page.items[i].version > m->version ? page.items[i] : *m;
        }
        for (int i = 0; i < 8 && next <= N; i++, next++) { /* odd ones go, even ones come */
            now += 10000;
            if (change("g", 1, now, next, next % 2 == 0) == 1) {
                merged[next] = get(next);
            }
            struct presence_swept swept = sweep_with(store, arena, now + GRACE, false);
            for (size_t k = 0; k < swept.changed.n; k++) {
                merged[swept.changed.items[k].user_id] = swept.changed.items[k];
            }
        }
    } while (cursor != 0);
    for (uint64_t user = 1; user <= N; user++) {
        CHECK_INT(merged[user].online, get(user).online);
    }
    end();
}

/* ---- Redis only ---- */

TEST(a_server_loses_its_memory)
{
    if (!on_redis()) {
        return;
    }
    begin();
    struct presence_report answer = report_of("g", 1, T);
    answer.answered = true;
    beat("g", 1, T);
    attend(answer);
    for (uint64_t user = 1; user <= 100; user++) {
        CHECK_INT(change("g", 1, T, user, true), 1);
    }
    CHECK_INT(beat("g", 1, T), PRESENCE_KNOWN);
    for (uint32_t server = 0; server < SERVERS; server++) {
        size_t lost = 0;
        lose_server(server);
        for (uint64_t user = 1; user <= 100; user++) {
            lost += !get(user).online;
        }
        CHECK_INT(lost, 50);
        CHECK_INT(beat("g", 1, T + 1000), PRESENCE_INCOMPLETE); /* noticed, whichever it was */
        for (uint64_t user = 1; user <= 100; user++) {
            change("g", 1, T + 1000, user, true);
            CHECK(get(user).online);
            CHECK(get(user).version >= (uint64_t)T);
        }
        attend(answer);
        CHECK_INT(beat("g", 1, T + 1000), PRESENCE_KNOWN);
    }
    CHECK_INT(beat("g", 0, T), PRESENCE_OLDER);
    end();
}

TEST(what_it_costs)
{
    enum { N = 20000 };
    begin();
    struct presence_report report = report_of("g", 1, T);
    struct presence_change changes[500];
    struct presence_statuses changed;
    attend(report);
    int64_t start_us = clock_mono_us();
    for (uint64_t user = 0; user < N; user += 500) {
        for (uint64_t i = 0; i < 500; i++) {
            changes[i] = (struct presence_change){.user_id = 1 + user + i, .present = true};
        }
        CHECK_INT(store->ops->apply(store, arena, &report, changes, 500, &changed), 0);
    }
    int64_t applied_us = clock_mono_us();
    sweep_with(store, arena, T + 1, true);
    int64_t swept_us = clock_mono_us();
    printf("%d users online in %d ms, one sweep over them %d us\n", N,
           (int)((applied_us - start_us) / 1000), (int)(swept_us - applied_us));
    end();
}

TEST(z_a_server_is_gone)
{
    if (!on_redis()) {
        return;
    }
    begin();
    struct presence_status status = {.user_id = 1};
    struct presence_report report = report_of("g", 1, T);
    enum presence_standing standing;
    struct presence_statuses list;
    uint64_t next;
    stop_server(1);
    log_set_level(LOG_ERROR); /* its warnings are expected */
    CHECK_INT(store->ops->get(store, arena, &status, 1), ERR_UNAVAILABLE); /* its shard */
    CHECK_INT(store->ops->attend(store, arena, &report, &standing), ERR_UNAVAILABLE);
    CHECK_INT(store->ops->list(store, arena, 0, 10, &list, &next), ERR_UNAVAILABLE);
    log_set_level(LOG_WARN);
    end();
}
