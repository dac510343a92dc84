// SPDX-License-Identifier: MIT
/* Presence reports on a bus that the test plays: four partitions, some of them broken. */
#include "gateway/reports.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/pb.h"
#include "gateway/interest.h"
#include "tests/unit/test.h"

#include <string.h>

#define PARTITIONS 4
#define USERS 12000

static struct sent {
    int32_t partition;
    Chat__PresenceReport *report;
    bus_ack_fn ack;
    void *arg;
} sent[100];
static size_t sent_n;
static bool refuses;
static struct arena *arena;
static struct gateway gw;

int32_t bus_partitions(const struct bus *bus, enum topic topic)
{
    (void)bus;
    (void)topic;
    return PARTITIONS;
}

int32_t bus_partition_of(const struct bus *bus, enum topic topic, struct bus_key key)
{
    (void)bus;
    (void)topic;
    return (int32_t)(key.a % PARTITIONS);
}

int bus_send(struct bus *bus, const struct bus_message *m, bus_ack_fn ack, void *arg)
{
    if (refuses) {
        return ERR_UNAVAILABLE;
    }
    sent[sent_n++ % 100] = (struct sent){
        .partition = m->partition >= 0 ? m->partition : bus_partition_of(bus, m->topic, m->key),
        .report = pb_unpack(&chat__presence_report__descriptor, arena, m->value, m->len),
        .ack = ack,
        .arg = arg,
    };
    return 0;
}

/* All that was sent is over. */
static void settle(int err)
{
    size_t n = sent_n;
    sent_n = 0;
    for (size_t i = 0; i < n; i++) {
        if (sent[i].ack != NULL) {
            sent[i].ack(sent[i].arg, err);
        }
    }
}

static void begin(void)
{
    arena = arena_new(0);
    clock_freeze(INT64_C(1800000000000), INT64_C(1000000000000));
    gw = (struct gateway){.instance = "gateway-a"};
    gw.reports = reports_new(&gw);
    gw.interest = interest_new(reports_change, &gw);
    reports_tick(gw.reports); /* the first heartbeat */
    CHECK_INT(sent_n, 1);
    CHECK_INT(sent[0].report->what_case, CHAT__PRESENCE_REPORT__WHAT_HEARTBEAT);
    settle(0);
}

static void end(void)
{
    settle(0);
    interest_free(gw.interest);
    reports_free(gw.reports);
    arena_free(arena);
    clock_unfreeze();
    refuses = false;
}

static void open_users(uint64_t first, uint64_t last)
{
    for (uint64_t u = first; u <= last; u++) {
        CHECK_INT(interest_socket_opened(gw.interest, u, 5), 0);
        settle(0);
    }
}

static void ask_for_all(void)
{
    Chat__ResendRequest request = CHAT__RESEND_REQUEST__INIT;
    request.gateway = pb_str(gw.instance);
    request.incarnation = UINT64_C(1800000000000);
    reports_resend(gw.reports, &request);
}

/* How many users the sent parts of `all` hold; each must lie where the user's changes do. */
static size_t users_of_parts(void)
{
    size_t users = 0;
    for (size_t i = 0; i < sent_n; i++) {
        CHECK_INT(sent[i].report->what_case, CHAT__PRESENCE_REPORT__WHAT_ALL);
        const Chat__UserSet *all = sent[i].report->all;
        CHECK(all->n_user_ids <= 5000);
        users += all->n_user_ids;
        for (size_t k = 0; k < all->n_user_ids; k++) {
            CHECK_INT(sent[i].partition, all->user_ids[k] % PARTITIONS);
        }
    }
    return users;
}

static bool is_change(size_t i, uint64_t user, bool present)
{
    const Chat__PresenceReport *r = i < sent_n ? sent[i].report : NULL;
    return r != NULL && r->what_case == CHAT__PRESENCE_REPORT__WHAT_CHANGE &&
           r->change->user_id == user && r->change->present == present;
}

TEST(all_users_lie_in_their_own_partitions)
{
    begin();
    ask_for_all();
    CHECK_INT(sent_n, 1); /* nobody: an empty part */
    CHECK_INT(users_of_parts(), 0);
    settle(0);
    open_users(1, USERS);
    clock_freeze(INT64_C(1800000000000), INT64_C(1002000000000));
    ask_for_all();
    CHECK_INT(users_of_parts(), USERS);
    CHECK_INT(sent_n, PARTITIONS);
    end();
}

TEST(a_lost_change_is_told_again)
{
    begin();
    CHECK_INT(interest_socket_opened(gw.interest, 7, 5), 0);
    CHECK_INT(interest_socket_opened(gw.interest, 8, 5), 0);
    settle(ERR_UNAVAILABLE);
    interest_socket_closed(gw.interest, 8);
    settle(0);
    EXPECT_WARNINGS(2);
    reports_tick(gw.reports);
    CHECK_INT(sent_n, 2);
    size_t of_7 = is_change(0, 7, true) ? 0 : 1;
    CHECK(is_change(of_7, 7, true));
    CHECK(is_change(1 - of_7, 8, false)); /* as it is by now */
    settle(0);
    refuses = true; /* a close that the bus doesn't take */
    interest_socket_closed(gw.interest, 7);
    refuses = false;
    reports_tick(gw.reports);
    CHECK_INT(sent_n, 1);
    CHECK(is_change(0, 7, false));
    settle(0);
    reports_tick(gw.reports);
    CHECK_INT(sent_n, 0);
    end();
}

TEST(a_lost_part_is_told_again)
{
    begin();
    open_users(1, 100);
    ask_for_all();
    CHECK_INT(users_of_parts(), 100);
    settle(ERR_UNAVAILABLE);
    EXPECT_WARNINGS(1);
    reports_tick(gw.reports);
    CHECK_INT(users_of_parts(), 100);
    settle(0);
    reports_tick(gw.reports);
    CHECK_INT(sent_n, 0);
    end();
}
