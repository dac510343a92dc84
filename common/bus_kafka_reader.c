// SPDX-License-Identifier: MIT
/*
 * Readers of the bus over Kafka: all partitions, no group, from offsets that are asked for first
 * (librdkafka's own "end" would be resolved too late to miss nothing).
 *
 * "Caught up" comes with the end-of-partition event at or past the end that was asked for: the
 * last offsets may be a transaction's markers, which are never handed over.
 */
#include "common/bus_kafka_consumer.h"

#include "common/err.h"
#include "common/log.h"

#include <assert.h>
#include <stdio.h>

/* Readers begin at the start, when a slow cluster may still be at work on the topics just made. */
#define START_MS 30000

void kafka_reader_check(struct kafka_consumer *c)
{
    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; c->parts[t] != NULL && p < bus_partitions(c->base.bus, (enum topic)t);
             p++) {
            struct kafka_part *part = &c->parts[t][p];

            part->caught_up = part->caught_up || part->position >= part->target;
            if (!part->caught_up) {
                return;
            }
        }
    }
    c->caught_up = true;
    if (c->base.ops->on_caught_up != NULL) {
        c->base.ops->on_caught_up(c->base.arg);
    }
}

/* The offset is not in the log any more: librdkafka has given the partition up. */
void kafka_reader_gap(struct kafka_consumer *c, enum topic topic, int32_t partition)
{
    log_warn("records were deleted before they were read", "topic=%s partition=%d",
             bus_topic_name(topic), (int)partition);
    c->parts[topic][partition].position = -1;
    c->reassign = true;
    if (c->base.ops->on_gap != NULL && !c->leaving) {
        c->base.ops->on_gap(c->base.arg, topic, partition);
    }
}

/* Only a new assignment takes such a partition up again (a seek is refused): each partition where
 * it stands, and those from the first record that is left. Between two batches, so that no record
 * comes twice. */
void kafka_reader_serve(struct kafka_consumer *c)
{
    if (!c->reassign || c->closed) {
        return;
    }
    rd_kafka_topic_partition_list_t *list = kafka_held(c);
    for (int i = 0; i < list->cnt; i++) {
        enum topic topic;
        const struct kafka_part *part =
            kafka_part_of(c, list->elems[i].topic, list->elems[i].partition, &topic);

        list->elems[i].offset = part->position < 0 ? RD_KAFKA_OFFSET_BEGINNING : part->position;
    }
    c->reassign = rd_kafka_assign(c->rk, list) != RD_KAFKA_RESP_ERR_NO_ERROR;
    if (c->stopped) {
        rd_kafka_pause_partitions(c->rk, list);
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static rd_kafka_topic_partition_list_t *all_parts(const struct kafka_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16);

    for (int t = 0; t < TOPIC_COUNT; t++) {
        for (int32_t p = 0; c->parts[t] != NULL && p < bus_partitions(c->base.bus, (enum topic)t);
             p++) {
            rd_kafka_topic_partition_list_add(list, rd_kafka_topic_name(c->topics[t]), p);
        }
    }
    return list;
}

static int begin_at(struct kafka_consumer *c, const rd_kafka_topic_partition_list_t *start,
                    const rd_kafka_topic_partition_list_t *next)
{
    for (int i = 0; i < start->cnt; i++) {
        enum topic topic;
        struct kafka_part *part =
            kafka_part_of(c, start->elems[i].topic, start->elems[i].partition, &topic);

        assert(part != NULL);
        part->state = KAFKA_HELD;
        part->position = start->elems[i].offset;
        part->target = next->elems[i].offset;
    }
    rd_kafka_resp_err_t err = rd_kafka_assign(c->rk, start);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        log_warn("kafka refuses a reader", "error=%s", LOG_Q(rd_kafka_err2str(err)));
        return ERR_UNAVAILABLE;
    }
    return 0;
}

int kafka_read(const struct bus_consumer *base, enum bus_from from,
               struct bus_consumer **consumer_out)
{
    struct kafka_consumer *c;
    rd_kafka_topic_partition_list_t *first, *next;
    char group[KAFKA_NAME_MAX]; /* assigning asks for one; nothing is committed to it */

    snprintf(group, sizeof(group), "%s%s-reader", base->bus->prefix, base->bus->instance);
    int err = kafka_consumer_new(base, group, "error", &c);
    if (err != 0) {
        return err;
    }
    rd_kafka_topic_partition_list_t *list = all_parts(c);
    err = kafka_offsets(c->rk, list, START_MS, &first, &next);
    rd_kafka_topic_partition_list_destroy(list);
    if (err == 0) {
        err = begin_at(c, from == BUS_FROM_FIRST ? first : next, next);
        rd_kafka_topic_partition_list_destroy(first);
        rd_kafka_topic_partition_list_destroy(next);
    }
    if (err != 0) {
        c->leaving = true;
        kafka_consumer_close(c);
        return err;
    }
    *consumer_out = &c->base;
    return 0;
}
