// SPDX-License-Identifier: MIT
/*
 * Who reads what in the in-process bus: groups, their members and partitions, and readers.
 *
 * A group deals each topic's partitions out in ranges, in the order in which members joined; only
 * partitions whose owner changes are revoked. A partition that is wanted back stays with its owner
 * until the release, and goes to whoever should have it by then.
 *
 * Everything here runs with the world's lock held, on any thread.
 */
#include "common/bus_local_group.h"

#include "common/clock.h"

#include <stdlib.h>
#include <string.h>

/* ---- Waking ---- */

static void wake_consumer(struct local_consumer *c, struct local_wakes *wakes)
{
    if (!c->ready) {
        c->ready = true;
        local_wake(wakes, c->bus);
    }
}

static void wake_control(struct local_consumer *c, struct local_wakes *wakes)
{
    c->control = true;
    c->ready = true;
    local_wake(wakes, c->bus);
}

void local_notify(struct local_topic *topic, int32_t partition, struct local_wakes *wakes)
{
    for (struct local_share *s = topic->shares; s != NULL; s = s->next) {
        struct local_part *part = &s->parts[partition];

        if (part->state == PART_HELD && !part->owner->paused) {
            wake_consumer(part->owner, wakes);
        }
    }
}

/* ---- Dealing out ---- */

static void part_free(struct local_part *part)
{
    part->state = PART_FREE;
    part->owner = NULL;
}

/* A free partition goes to its target. */
static void part_give(struct local_share *share, int32_t p, struct local_wakes *wakes)
{
    struct local_part *part = &share->parts[p];
    int64_t first = share->topic->logs[p].first;

    if (part->target == NULL) {
        return;
    }
    part->state = PART_GIVEN;
    part->owner = part->target;
    part->position = part->committed > first ? part->committed : first;
    wake_control(part->owner, wakes);
}

static void part_settle(struct local_share *share, int32_t p, struct local_wakes *wakes)
{
    struct local_part *part = &share->parts[p];

    if (part->owner == part->target) {
        if (part->state == PART_TAKEN) {
            part->state = PART_HELD; /* its owner never knew */
        }
        return;
    }
    if (part->state == PART_HELD) {
        part->state = PART_TAKEN;
        wake_control(part->owner, wakes);
    } else if (part->state == PART_FREE || part->state == PART_GIVEN) {
        part_free(part);
        part_give(share, p, wakes);
    }
}

static struct local_consumer *next_member(struct local_consumer *c, enum topic topic)
{
    while (c != NULL && !c->base.topics[topic]) {
        c = c->next_in_group;
    }
    return c;
}

/* Member i of n gets the partitions from i * count / n on. */
static void group_deal(struct local_group *group, enum topic topic, struct local_wakes *wakes)
{
    struct local_share *share = group->shares[topic];
    struct local_consumer *member = next_member(group->members, topic);
    int32_t count = share->topic->count;
    int32_t n = (int32_t)share->members, i = 0;

    for (int32_t p = 0; p < count; p++) {
        while (n > 0 && (int64_t)(i + 1) * count / n <= p) {
            member = next_member(member->next_in_group, topic);
            i++;
        }
        share->parts[p].target = member;
        part_settle(share, p, wakes);
    }
}

/* ---- Joining and leaving ---- */

static struct local_share *share_new(struct local_topic *topic, struct local_group *group)
{
    struct local_share *share =
        bus_zalloc(sizeof(*share) + (size_t)topic->count * sizeof(share->parts[0]));

    share->group = group;
    share->topic = topic;
    share->next = topic->shares;
    topic->shares = share;
    for (int32_t p = 0; p < topic->count; p++) {
        share->parts[p].position = share->parts[p].committed = topic->logs[p].first;
    }
    return share;
}

static struct local_group *group_find(struct local_world *world, const char *name)
{
    struct local_group *group = world->groups;

    while (group != NULL && strcmp(group->name, name) != 0) {
        group = group->next;
    }
    if (group == NULL) {
        group = bus_zalloc(sizeof(*group));
        group->name = bus_strdup(name);
        group->next = world->groups;
        world->groups = group;
    }
    return group;
}

void local_group_join(struct local_consumer *c, const char *name, struct local_wakes *wakes)
{
    struct local_world *world = c->bus->world;
    struct local_group *group = group_find(world, name);
    struct local_consumer **link = &group->members;

    while (*link != NULL) {
        link = &(*link)->next_in_group;
    }
    *link = c;
    c->group = group;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (!c->base.topics[t]) {
            continue;
        }
        if (group->shares[t] == NULL) {
            group->shares[t] = share_new(&world->topics[t], group);
        }
        c->shares[t] = group->shares[t];
        c->shares[t]->members++;
        group_deal(group, (enum topic)t, wakes);
    }
}

void local_reader_start(struct local_consumer *c, enum bus_from from)
{
    struct local_world *world = c->bus->world;

    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (!c->base.topics[t]) {
            continue;
        }
        struct local_topic *topic = t == TOPIC_REPLY ? c->bus->reply : &world->topics[t];
        struct local_share *share = share_new(topic, NULL);
        for (int32_t p = 0; p < topic->count; p++) {
            const struct local_log *log = &topic->logs[p];

            share->parts[p] = (struct local_part){
                .state = PART_HELD,
                .owner = c,
                .position = from == BUS_FROM_FIRST ? log->first : log->next,
                .committed = log->next,
            };
        }
        c->shares[t] = share;
    }
}

static void reclaim(struct local_consumer *c, struct local_share *share, bool force,
                    struct local_wakes *wakes)
{
    for (int32_t p = 0; p < share->topic->count; p++) {
        struct local_part *part = &share->parts[p];

        if (part->owner == c && (force || part->state == PART_GIVEN)) {
            part_free(part);
            part_give(share, p, wakes);
        }
    }
}

void local_consumer_detach(struct local_consumer *c, bool force, struct local_wakes *wakes)
{
    struct local_consumer **link = &c->group->members;

    while (*link != NULL && *link != c) {
        link = &(*link)->next_in_group;
    }
    bool member = *link != NULL;
    if (member) {
        *link = c->next_in_group;
        c->next_in_group = NULL;
    }
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (c->shares[t] == NULL) {
            continue;
        }
        if (member) {
            c->shares[t]->members--;
            group_deal(c->group, (enum topic)t, wakes);
        }
        reclaim(c, c->shares[t], force, wakes);
    }
    pthread_cond_broadcast(&c->bus->world->committed);
}

bool local_consumer_holds(const struct local_consumer *c)
{
    for (int t = 0; c->group != NULL && t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; c->shares[t] != NULL && p < c->shares[t]->topic->count; p++) {
            if (c->shares[t]->parts[p].owner == c) {
                return true;
            }
        }
    }
    return false;
}

void local_reader_stop(struct local_consumer *c)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        struct local_share *share = c->shares[t];

        if (share == NULL) {
            continue;
        }
        struct local_share **link = &share->topic->shares;
        while (*link != share) {
            link = &(*link)->next;
        }
        *link = share->next;
        free(share);
        c->shares[t] = NULL;
    }
}

void local_part_release(struct local_consumer *c, struct local_share *share, int32_t partition,
                        struct local_wakes *wakes)
{
    struct local_part *part = &share->parts[partition];

    if (part->owner != c || part->state != PART_TOLD) {
        return;
    }
    part_free(part);
    part_give(share, partition, wakes);
    wake_control(c, wakes); /* it may be the last one that a leave waits for */
}

/* ---- Handing over ---- */

/* Assignments and revocations first: no record follows its partition's revocation. */
static size_t collect_control(struct local_consumer *c, struct local_item *items, size_t max)
{
    size_t n = 0;

    for (int t = 0; t < TOPIC_COUNT; t++) {
        struct local_share *share = c->shares[t];

        for (int32_t p = 0; share != NULL && p < share->topic->count; p++) {
            struct local_part *part = &share->parts[p];
            bool given = part->state == PART_GIVEN;

            if (part->owner != c || (!given && part->state != PART_TAKEN)) {
                continue;
            }
            if (n == max) {
                return n; /* control stays set */
            }
            part->state = given ? PART_HELD : PART_TOLD;
            items[n++] =
                (struct local_item){given ? ITEM_ASSIGN : ITEM_REVOKE, (enum topic)t, p, NULL};
        }
    }
    c->control = false;
    return n;
}

static size_t collect_part(struct local_consumer *c, struct local_share *share, int32_t p,
                           struct local_item *items, size_t max)
{
    struct local_part *part = &share->parts[p];
    const struct local_log *log = &share->topic->logs[p];
    size_t n = 0;

    if (part->owner != c || part->state != PART_HELD || part->position >= log->next || max == 0) {
        return 0;
    }
    if (part->position < log->first) {
        part->position = log->first;
        if (share->group == NULL) {
            items[n++] = (struct local_item){ITEM_GAP, log->topic, p, NULL};
        }
    }
    size_t at = local_log_find(log, part->position);
    for (; n < max && at < log->count; at++) {
        struct bus_record *r = bus_record_keep(local_log_at(log, at));

        items[n++] = (struct local_item){ITEM_RECORD, log->topic, p, r};
        part->position = r->offset + 1;
    }
    if (at == log->count) {
        part->position = log->next; /* past what compaction took out */
    }
    return n;
}

/* Goes once around all partitions, beginning after the one at which the last turn ended. */
static size_t collect_records(struct local_consumer *c, struct local_item *items, size_t max)
{
    size_t total = 0, n = 0, walked = 0;

    for (int t = 0; t < TOPIC_COUNT; t++) {
        total += c->shares[t] == NULL ? 0 : (size_t)c->shares[t]->topic->count;
    }
    size_t at = total == 0 ? 0 : c->cursor % total;
    for (int round = 0; round < 2 && walked < total; round++) {
        size_t index = 0;

        for (int t = 0; t < TOPIC_COUNT && walked < total; t++) {
            struct local_share *share = c->shares[t];

            for (int32_t p = 0; share != NULL && p < share->topic->count; p++, index++) {
                if (round == 0 ? index < at : index >= at) {
                    continue;
                }
                n += collect_part(c, share, p, items + n, max - n);
                walked++;
                if (n == max) {
                    c->cursor = index + 1;
                    return n;
                }
            }
        }
    }
    return n;
}

size_t local_collect(struct local_consumer *c, struct local_item *items, size_t max, bool *more_out)
{
    size_t n = 0;

    *more_out = false;
    if (!c->ready) {
        return 0;
    }
    if (c->control) {
        n = collect_control(c, items, max);
    }
    if (!c->paused && n < max) {
        size_t control = n;

        n += collect_records(c, items + n, max - n);
        if (n > control) {
            c->last_ms = clock_now_ms();
        }
    }
    *more_out = n == max;
    c->ready = *more_out || c->control;
    return n;
}

/* ---- Questions ---- */

bool local_reader_caught_up(const struct local_consumer *c)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        const struct local_share *share = c->shares[t];

        for (int32_t p = 0; share != NULL && p < share->topic->count; p++) {
            if (share->parts[p].position < share->parts[p].committed) {
                return false;
            }
        }
    }
    return true;
}

int64_t local_lag(const struct local_consumer *c, int64_t *oldest_ms_out)
{
    int64_t lag = 0, oldest = INT64_MAX;

    for (int t = 0; t < TOPIC_COUNT; t++) {
        const struct local_share *share = c->shares[t];

        for (int32_t p = 0; share != NULL && p < share->topic->count; p++) {
            const struct local_log *log = &share->topic->logs[p];
            size_t at = share->parts[p].owner == c ? local_log_find(log, share->parts[p].position)
                                                   : log->count;
            if (at < log->count) {
                lag += (int64_t)(log->count - at);
                int64_t sent = local_log_at(log, at)->time_ms;
                oldest = sent < oldest ? sent : oldest;
            }
        }
    }
    *oldest_ms_out = oldest;
    return lag;
}
