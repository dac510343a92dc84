// SPDX-License-Identifier: MIT
#include "message-svc/doubts.h"

#include "common/err.h"
#include "tests/unit/test.h"

static struct message_held *appended[MESSAGE_DOUBTS_MAX + 1];
static size_t appended_count, refused_count;
static int append_err, last_refusal;

static int append(void *arg, struct message_held *held)
{
    (void)arg;
    if (append_err == 0) {
        appended[appended_count++] = held;
    }
    return append_err;
}

static void refuse(void *arg, const struct message_held *held, const struct message_refusal *why)
{
    (void)arg;
    (void)held;
    refused_count++;
    last_refusal = why->err;
}

static struct message_doubts *anew(void)
{
    clock_freeze(1000, 1000000);
    appended_count = refused_count = 0;
    append_err = last_refusal = 0;
    return message_doubts_new(&(struct message_doubts_wire){append, refuse, NULL});
}

static int hold(struct message_doubts *d, uint64_t user, struct message_conv conv, const char *text)
{
    struct message_held held = {.user = user,
                                .conv = conv,
                                .partition = (int32_t)conv.b,
                                .reply_to = "gateway-1",
                                .value = (const uint8_t *)text,
                                .len = strlen(text) + 1};
    return message_doubts_hold(d, &held);
}

static void take_and_answer(struct message_doubts *d, bool groups, enum message_answer answer)
{
    struct message_doubt_key keys[100];
    size_t n = message_doubts_take(d, groups, keys, 100);
    for (size_t i = 0; i < n; i++) {
        message_doubts_answer(d, keys[i], answer, NULL);
    }
}

static const struct message_conv group = {0, 9}, private = {1, 9};

TEST(asked_once)
{
    struct message_doubts *d = anew();
    struct message_doubt_key keys[10];
    CHECK_INT(message_doubts_find(d, 1, group).state, MESSAGE_DOUBT_NONE);
    CHECK_INT(hold(d, 1, group, "a"), 0);
    CHECK_INT(hold(d, 1, group, "b"), 0);
    CHECK_INT(hold(d, 1, private, "c"), 0); /* user 9, not group 9 */
    struct message_doubt found = message_doubts_find(d, 1, group);
    CHECK(found.state == MESSAGE_DOUBT_OPEN && found.asking);
    CHECK_INT(message_doubts_take(d, true, keys, 10), 1);
    CHECK(keys[0].user == 1 && message_conv_equal(keys[0].conv, group));
    CHECK_INT(message_doubts_take(d, true, keys, 10), 0);
    CHECK_INT(message_doubts_take(d, false, keys, 10), 1);
    CHECK_INT(hold(d, 1, group, "d"), 0);
    CHECK_INT(message_doubts_take(d, true, keys, 10), 0); /* the question is under way */
    CHECK_INT(message_doubts_count(d), 4);
    message_doubts_free(d);
}

TEST(yes_appends_in_order)
{
    struct message_doubts *d = anew();
    hold(d, 1, group, "a");
    hold(d, 1, group, "b");
    take_and_answer(d, true, MESSAGE_ANSWER_YES);
    hold(d, 1, group, "c");
    if (CHECK_INT(appended_count, 3)) {
        CHECK_STR((const char *)appended[0]->value, "a");
        CHECK_STR((const char *)appended[1]->value, "b");
        CHECK_STR((const char *)appended[2]->value, "c");
        CHECK_STR(appended[2]->reply_to, "gateway-1");
        CHECK_STR(appended[2]->traceparent, "");
    }
    struct message_doubt found = message_doubts_find(d, 1, group);
    CHECK(found.state == MESSAGE_DOUBT_OPEN && !found.asking && found.under_way == 3);
    for (size_t i = 0; i < 3; i++) {
        message_doubts_appended(d, appended[i], 0);
        CHECK_INT(message_doubts_find(d, 1, group).state, MESSAGE_DOUBT_OPEN);
    }
    for (size_t i = 0; i < 3; i++) {
        CHECK_INT(message_doubts_find(d, 1, group).under_way, 3 - i);
        message_doubts_seen(d, 1, group, 9, 10 + (int64_t)i);
    }
    CHECK_INT(message_doubts_find(d, 1, group).state, MESSAGE_DOUBT_NONE);
    CHECK_INT(message_doubts_count(d), 0);
    message_doubts_seen(d, 1, group, 9, 13);
    message_doubts_free(d);
}

TEST(a_record_that_is_run_again_is_counted_once)
{
    struct message_doubts *d = anew();
    hold(d, 1, group, "a");
    hold(d, 1, group, "b");
    take_and_answer(d, true, MESSAGE_ANSWER_YES);
    for (size_t i = 0; i < 2; i++) {
        message_doubts_appended(d, appended[i], 0);
    }
    for (size_t i = 0; i < 3; i++) {
        message_doubts_seen(d, 1, group, 9, 20);
        CHECK_INT(message_doubts_find(d, 1, group).under_way, 1);
    }
    message_doubts_seen(d, 1, group, 9, 21);
    CHECK_INT(message_doubts_find(d, 1, group).state, MESSAGE_DOUBT_NONE);
    message_doubts_free(d);
}

TEST(no_is_remembered_for_a_second)
{
    static const struct {
        enum message_answer answer;
        int err;
        bool remembered;
    } rows[] = {{MESSAGE_ANSWER_NO, ERR_NOT_FOUND, true},
                {MESSAGE_ANSWER_NO_PUBLIC, ERR_FORBIDDEN, true},
                {MESSAGE_ANSWER_MUTED, ERR_FORBIDDEN, true},
                {MESSAGE_ANSWER_NONE, ERR_UNAVAILABLE, false}};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct message_doubts *d = anew();
        hold(d, 1, group, "a");
        hold(d, 1, group, "b");
        take_and_answer(d, true, rows[i].answer);
        CHECK_INT(refused_count, 2);
        CHECK_INT(last_refusal, rows[i].err);
        CHECK_INT(message_doubts_find(d, 1, group).state,
                  rows[i].remembered ? MESSAGE_DOUBT_NO : MESSAGE_DOUBT_NONE);
        clock_freeze(2000, 1000000 + 999000);
        CHECK_INT(message_doubts_find(d, 1, group).state,
                  rows[i].remembered ? MESSAGE_DOUBT_NO : MESSAGE_DOUBT_NONE);
        clock_freeze(2000, 2000000);
        CHECK_INT(message_doubts_find(d, 1, group).state, MESSAGE_DOUBT_NONE);
        message_doubts_tick(d);
        message_doubts_free(d);
    }
}

TEST(given_up_appends_are_refused)
{
    struct message_doubts *d = anew();
    append_err = ERR_UNAVAILABLE;
    hold(d, 1, group, "a");
    take_and_answer(d, true, MESSAGE_ANSWER_YES);
    CHECK_INT(refused_count, 1);
    CHECK_INT(message_doubts_find(d, 1, group).state, MESSAGE_DOUBT_NONE);
    append_err = 0;
    hold(d, 1, group, "b");
    take_and_answer(d, true, MESSAGE_ANSWER_YES);
    message_doubts_appended(d, appended[0], ERR_UNAVAILABLE);
    CHECK_INT(refused_count, 2);
    CHECK_INT(last_refusal, ERR_UNAVAILABLE);
    CHECK_INT(message_doubts_find(d, 1, group).state, MESSAGE_DOUBT_NONE);
    CHECK_INT(message_doubts_count(d), 0);
    message_doubts_free(d);
}

TEST(bounded)
{
    struct message_doubts *d = anew();
    for (uint64_t i = 0; i < MESSAGE_DOUBTS_MAX; i++) {
        CHECK_INT(hold(d, 1 + i % 10, group, "a"), 0);
    }
    CHECK_INT(hold(d, 1, group, "a"), ERR_UNAVAILABLE);
    take_and_answer(d, true, MESSAGE_ANSWER_YES);
    CHECK_INT(hold(d, 1, group, "a"), ERR_UNAVAILABLE); /* appended ones count too */
    message_doubts_appended(d, appended[0], 0);
    CHECK_INT(hold(d, 1, group, "a"), 0);
    for (size_t i = 1; i < appended_count; i++) {
        message_doubts_appended(d, appended[i], 0);
    }
    CHECK_INT(message_doubts_count(d), 0);
    message_doubts_free(d);
}

TEST(revoked_partitions_are_forgotten)
{
    struct message_doubts *d = anew();
    struct message_conv other = message_conv_group(8);
    struct message_doubt_key keys[2];
    hold(d, 1, group, "a");
    hold(d, 1, other, "b");
    CHECK_INT(message_doubts_take(d, true, keys, 2), 2);
    message_doubts_revoke(d, 9);
    CHECK_INT(refused_count, 1);
    CHECK_INT(message_doubts_find(d, 1, group).state, MESSAGE_DOUBT_NONE);
    for (size_t i = 0; i < 2; i++) {
        message_doubts_answer(d, keys[i], MESSAGE_ANSWER_YES, NULL); /* one comes too late */
    }
    CHECK_INT(appended_count, 1);
    message_doubts_appended(d, appended[0], 0);
    message_doubts_free(d);
}

TEST(lost_ones_are_forgotten)
{
    struct message_doubts *d = anew();
    hold(d, 1, group, "a");
    take_and_answer(d, true, MESSAGE_ANSWER_YES);
    message_doubts_appended(d, appended[0], 0);
    message_doubts_tick(d);
    CHECK_INT(message_doubts_find(d, 1, group).state, MESSAGE_DOUBT_OPEN);
    clock_freeze(1000, 1000000 + (MESSAGE_DOUBTS_LOST_MS + 1) * 1000LL);
    message_doubts_tick(d);
    CHECK_INT(message_doubts_find(d, 1, group).state, MESSAGE_DOUBT_NONE);
    message_doubts_free(d);
}

TEST(closing_refuses_all)
{
    struct message_doubts *d = anew();
    hold(d, 1, group, "a");
    hold(d, 2, private, "b");
    message_doubts_close(d);
    CHECK_INT(refused_count, 2);
    CHECK_INT(hold(d, 1, group, "c"), ERR_UNAVAILABLE);
    message_doubts_free(d);
}
