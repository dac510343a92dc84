// SPDX-License-Identifier: MIT
/*
 * The queue of a stream against an array, with random operations.
 */
#include "common/svc_queue.h"

#include "common/random.h"
#include "tests/unit/test.h"

/* The queue keeps and releases records of the bus; here they are only counted. */
static int released;

void bus_record_release(struct bus_record *record)
{
    (void)record;
    released++;
}

static struct svc_item item_of(int32_t partition, enum svc_item_kind kind, struct bus_record *r)
{
    return (struct svc_item){.kind = kind, .partition = partition, .record = r};
}

TEST(keeps_the_order_whatever_is_done_to_it)
{
    enum { MOST = 4000 };
    static struct bus_record records[MOST];
    static struct svc_item model[MOST];
    size_t n = 0, used = 0;
    struct svc_queue q = {0};

    for (int step = 0; step < 20000 && used < MOST; step++) {
        uint64_t what = random_u64() % 8;
        if (what < 4) {
            struct svc_item item = item_of((int32_t)(what % 3), SVC_ITEM_RECORD, &records[used++]);
            svc_queue_add(&q, item);
            model[n++] = item;
        } else if (what == 4) {
            struct svc_item item = item_of(1, SVC_ITEM_RECORD, &records[used++]);
            svc_queue_add_front(&q, item);
            memmove(model + 1, model, n * sizeof(*model));
            model[0] = item;
            n++;
        } else if (n > 0) {
            struct svc_item item = svc_queue_take(&q);
            CHECK(item.record == model[0].record && item.partition == model[0].partition);
            n--;
            memmove(model, model + 1, n * sizeof(*model));
        }
        CHECK_INT(q.count, n);
    }
    for (size_t i = 0; i < n; i++) {
        CHECK(svc_queue_at(&q, i)->record == model[i].record);
    }
    released = 0;
    svc_queue_done(&q);
    CHECK_INT(released, n);
}

TEST(a_partition_is_dropped_but_not_what_was_told_of_it)
{
    static struct bus_record records[4];
    struct svc_queue q = {0};

    svc_queue_add(&q, item_of(1, SVC_ITEM_ASSIGN, NULL));
    svc_queue_add(&q, item_of(1, SVC_ITEM_RECORD, &records[0]));
    svc_queue_add(&q, item_of(2, SVC_ITEM_RECORD, &records[1]));
    svc_queue_add(&q, item_of(1, SVC_ITEM_RECORD, &records[2]));
    released = 0;
    svc_queue_drop_partition(&q, 1);
    CHECK_INT(released, 2);
    CHECK_INT(q.count, 2);
    CHECK_INT(svc_queue_at(&q, 0)->kind, SVC_ITEM_ASSIGN);
    CHECK(svc_queue_at(&q, 1)->record == &records[1]);
    svc_queue_done(&q);
}
