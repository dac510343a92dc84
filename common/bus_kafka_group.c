// SPDX-License-Identifier: MIT
/*
 * Members of consumer groups over Kafka: rebalances and commits.
 *
 * librdkafka's rebalance callback only notes what it is told; the loop tells the user afterwards,
 * when the records before it are handed over. A revocation is acknowledged to the group when every
 * partition is released and the commit under way is through (or failed for too long). One commit
 * is under way at a time; what is committed meanwhile goes with the next one.
 */
#include "common/bus_kafka_consumer.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"

#include <stdlib.h>

static struct kafka_consumer *kafka_of(const struct bus_consumer *consumer)
{
    return (struct kafka_consumer *)consumer;
}

/* ---- Callbacks: served with the queue, on the loop or, when closed, in the closing job ---- */

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_consumer *c = opaque;

    if (c->closed) {
        rd_kafka_assign(rk, NULL);
    } else if (err == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        if (c->assign != NULL) {
            rd_kafka_topic_partition_list_destroy(c->assign);
        }
        c->assign = rd_kafka_topic_partition_list_copy(list);
    } else if (err == RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
        c->revoke = true;
        c->lost = rd_kafka_assignment_lost(rk) != 0;
    } else {
        log_warn("rebalance failed", "error=%s", LOG_Q(rd_kafka_err2str(err)));
        rd_kafka_assign(rk, NULL);
    }
}

/* Another member has the partition by now: its commits count. */
static bool is_lost(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION ||
           err == RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID ||
           err == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID || err == RD_KAFKA_RESP_ERR__NO_OFFSET;
}

static void on_commit(rd_kafka_t *rk, rd_kafka_resp_err_t err,
                      rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct kafka_consumer *c = opaque;

    (void)rk;
    if (c->closed) {
        return;
    }
    c->commit_flies = false;
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR || list == NULL) {
        return;
    }
    if (is_lost(err)) {
        log_debug("commit too late", "error=%s", LOG_Q(rd_kafka_err2str(err)));
        return;
    }
    log_warn("commit failed", "error=%s", LOG_Q(rd_kafka_err2str(err)));
    c->commit_after_ms = clock_mono_ms() + BUS_COMMIT_RETRY_MS;
    for (int i = 0; i < list->cnt; i++) {
        enum topic topic;
        struct kafka_part *part =
            kafka_part_of(c, list->elems[i].topic, list->elems[i].partition, &topic);

        if (part != NULL && part->commit < 0 && part->state != KAFKA_NONE) {
            part->commit = list->elems[i].offset; /* again, unless there is a newer one */
            c->commit_wanted = true;
        }
    }
}

void kafka_group_conf(rd_kafka_conf_t *conf)
{
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    rd_kafka_conf_set_offset_commit_cb(conf, on_commit);
}

/* ---- Commits ---- */

static void commit_send(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);

    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; c->parts[t] != NULL && p < bus_partitions(c->base.bus, (enum topic)t);
             p++) {
            struct kafka_part *part = &c->parts[t][p];

            if (part->commit >= 0) {
                rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(c->topics[t]), p)
                    ->offset = part->commit;
                part->commit = -1;
            }
        }
    }
    c->commit_wanted = false;
    if (list->cnt > 0) {
        c->commit_flies = rd_kafka_commit(c->rk, list, 1) == RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static void commit_if_wanted(struct kafka_consumer *c)
{
    if (c->commit_wanted && !c->commit_flies && !c->closed &&
        clock_mono_ms() >= c->commit_after_ms) {
        commit_send(c);
    }
}

static void on_flush(uv_prepare_t *flush)
{
    struct kafka_consumer *c = flush->data;

    uv_prepare_stop(flush);
    commit_if_wanted(c);
}

void kafka_commit(struct bus_consumer *consumer, enum topic topic, int32_t partition, int64_t next)
{
    struct kafka_consumer *c = kafka_of(consumer);
    struct kafka_part *part = &c->parts[topic][partition];

    if (!c->group || c->closed || part->state == KAFKA_NONE ||
        (part->state == KAFKA_TOLD && c->lost)) {
        return;
    }
    part->commit = next;
    c->commit_wanted = true;
    if (!c->commit_flies) {
        uv_prepare_start(&c->flush, on_flush);
    }
}

/* ---- Rebalances ---- */

static void revoke_finish(struct kafka_consumer *c)
{
    if (!c->revoking || c->telling || c->unreleased > 0 || c->closed) {
        return;
    }
    bool patient = c->revoke_by_ms == 0 || clock_mono_ms() < c->revoke_by_ms;
    if (c->revoke_by_ms == 0) {
        c->revoke_by_ms = clock_mono_ms() + BUS_WAIT_MS;
    }
    commit_if_wanted(c);
    if (!c->lost && patient && (c->commit_flies || c->commit_wanted)) {
        return; /* comes back with the commit's result, or with the tick */
    }
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; c->parts[t] != NULL && p < bus_partitions(c->base.bus, (enum topic)t);
             p++) {
            c->parts[t][p].commit = -1;
        }
    }
    c->revoking = c->commit_wanted = false;
    c->revoke_by_ms = 0;
    if (c->leaving) {
        kafka_consumer_close(c);
    } else {
        rd_kafka_assign(c->rk, NULL);
    }
}

static void tell_revoked(struct kafka_consumer *c, enum topic topic, int32_t partition)
{
    if (c->base.ops->on_revoke != NULL) {
        c->base.ops->on_revoke(c->base.arg, topic, partition, c->lost);
    } else {
        kafka_release(&c->base, topic, partition);
    }
}

/* All partitions at once: the assignors in use know no other way. */
static void revoke_begin(struct kafka_consumer *c)
{
    c->revoking = c->telling = true;
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; c->parts[t] != NULL && p < bus_partitions(c->base.bus, (enum topic)t);
             p++) {
            if (c->parts[t][p].state == KAFKA_HELD) {
                c->parts[t][p].state = KAFKA_TOLD;
                c->unreleased++;
                tell_revoked(c, (enum topic)t, p);
            }
        }
    }
    c->telling = false;
    revoke_finish(c);
}

static void assign_tell(struct kafka_consumer *c, rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; i < list->cnt; i++) {
        enum topic topic;
        struct kafka_part *part =
            kafka_part_of(c, list->elems[i].topic, list->elems[i].partition, &topic);

        if (part == NULL || part->state == KAFKA_HELD) {
            continue;
        }
        part->state = KAFKA_HELD;
        part->position = part->commit = -1;
        if (c->base.ops->on_assign != NULL) {
            c->base.ops->on_assign(c->base.arg, topic, list->elems[i].partition);
        }
    }
}

static void assign_begin(struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = c->assign;

    c->assign = NULL;
    rd_kafka_resp_err_t err = rd_kafka_assign(c->rk, c->leaving ? NULL : list);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        log_warn("assignment refused", "error=%s", LOG_Q(rd_kafka_err2str(err)));
    } else if (!c->leaving) {
        if (c->stopped) {
            rd_kafka_pause_partitions(c->rk, list);
        }
        assign_tell(c, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

void kafka_group_serve(struct kafka_consumer *c)
{
    if (c->closed) {
        return;
    }
    if (c->assign != NULL) {
        assign_begin(c);
    }
    if (c->revoke) {
        c->revoke = false;
        if (!c->revoking) {
            revoke_begin(c);
        }
    }
    if (c->commit_wanted && !c->commit_flies) {
        commit_if_wanted(c);
    }
    revoke_finish(c);
}

void kafka_group_tick(struct kafka_consumer *c)
{
    if (c->group) {
        commit_if_wanted(c);
        revoke_finish(c);
    }
}

void kafka_release(struct bus_consumer *consumer, enum topic topic, int32_t partition)
{
    struct kafka_consumer *c = kafka_of(consumer);
    struct kafka_part *part = &c->parts[topic][partition];

    if (part->state == KAFKA_TOLD && !c->closed) {
        part->state = KAFKA_NONE;
        c->unreleased--;
        revoke_finish(c);
    }
}

/* As a revocation of all, but it ends with the consumer. One that is under way does that too. */
void kafka_group_leave(struct kafka_consumer *c)
{
    if (!c->revoking) {
        c->lost = false;
        revoke_begin(c);
    }
}

/* ---- Joining ---- */

int kafka_join(const struct bus_consumer *base, const char *group,
               struct bus_consumer **consumer_out)
{
    struct kafka_consumer *c;
    int err = kafka_consumer_new(base, group, "earliest", &c);

    if (err != 0) {
        return err;
    }
    c->group = true;
    c->caught_up = true; /* only readers are told */
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(TOPIC_COUNT);
    for (int t = 0; t < TOPIC_COUNT; t++) {
        if (c->topics[t] != NULL) {
            rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(c->topics[t]),
                                              RD_KAFKA_PARTITION_UA);
        }
    }
    rd_kafka_resp_err_t failed = rd_kafka_subscribe(c->rk, list);
    rd_kafka_topic_partition_list_destroy(list);
    if (failed != RD_KAFKA_RESP_ERR_NO_ERROR) {
        log_warn("kafka refuses a group", "error=%s", LOG_Q(rd_kafka_err2str(failed)));
        c->leaving = true;
        kafka_consumer_close(c);
        return ERR_UNAVAILABLE;
    }
    *consumer_out = &c->base;
    return 0;
}
