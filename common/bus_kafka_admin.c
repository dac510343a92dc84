// SPDX-License-Identifier: MIT
/*
 * Topics and offsets of the bus over Kafka: made when missing, checked when there, never changed,
 * but that ended sessions are kept longer where they were kept too short.
 *
 * Brokers do not make topics by themselves: the first records of a topic that a broker made would
 * wait for seconds, and it would have the wrong count of partitions. Everything here blocks and is
 * called at the start, from a reader's start, or from the thread pool.
 */
#include "common/bus_kafka.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define OPEN_MS 30000
#define ASK_MS 5000 /* one question */
#define FIRST_ASK_MS 500
#define REFUSED_MS 3000 /* a wrong password does not become right */
#define AGAIN_MS 50

/* ---- What a topic should be ---- */

struct wanted {
    enum topic topic;
    int32_t partitions;
    bool missing;
    char name[KAFKA_NAME_MAX];
};

static size_t wanted_fill(const struct kafka_bus *bus, struct wanted out[TOPIC_COUNT])
{
    size_t n = 0;

    for (int t = 0; t < TOPIC_COUNT; t++) {
        if ((t == TOPIC_REPLY && !bus->owns_reply) ||
            (t == TOPIC_EVENTS_SESSION && bus->base.session_retention_ms == 0)) {
            continue; /* the latter is made by those who know how long it is to be kept */
        }
        struct wanted *w = &out[n++];
        w->topic = (enum topic)t;
        w->partitions = bus_partitions(&bus->base, w->topic);
        w->missing = false;
        kafka_topic_name(bus, w->topic, bus->base.instance, w->name);
    }
    return n;
}

struct topic_config {
    const char *name;
    char value[24];
};

#define CONFIGS_MAX 3

/* Kafka deletes whole segments, and the newest only once nothing is written to it any more: what is
 * kept for minutes needs segments of minutes. */
static size_t configs_of(const struct kafka_bus *bus, enum topic t,
                         struct topic_config out[CONFIGS_MAX])
{
    int64_t retention = bus_topic_retention_ms(t, bus->base.session_retention_ms);
    size_t n = 0;

    out[n++] = (struct topic_config){"max.message.bytes", "2097152"};
    if (retention == 0) {
        out[n++] = (struct topic_config){"cleanup.policy", "compact"};
        return n;
    }
    out[n].name = "retention.ms";
    snprintf(out[n].value, sizeof(out[n].value), "%" PRId64, retention);
    n++;
    if (retention <= TOPIC_HOUR) {
        out[n].name = "segment.ms";
        snprintf(out[n].value, sizeof(out[n].value), "%" PRId64, retention / 2);
        n++;
    }
    return n;
}

static void configure(const struct kafka_bus *bus, rd_kafka_NewTopic_t *topic, enum topic t)
{
    struct topic_config configs[CONFIGS_MAX];
    size_t n = configs_of(bus, t, configs);

    for (size_t i = 0; i < n; i++) {
        rd_kafka_NewTopic_set_config(topic, configs[i].name, configs[i].value);
    }
}

/* ---- Asking and waiting for the admin client ---- */

static rd_kafka_event_t *await(rd_kafka_queue_t *queue, rd_kafka_event_type_t type, int timeout_ms)
{
    int64_t end = clock_mono_ms() + timeout_ms;

    while (true) {
        int64_t left = end - clock_mono_ms();
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, left < 0 ? 0 : (int)left);

        if (event == NULL || rd_kafka_event_type(event) == type) {
            return event;
        }
        rd_kafka_event_destroy(event);
    }
}

static rd_kafka_AdminOptions_t *admin_options(rd_kafka_t *rk, rd_kafka_admin_op_t op,
                                              int timeout_ms)
{
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(rk, op);
    char text[128];

    rd_kafka_AdminOptions_set_request_timeout(options, timeout_ms, text, sizeof(text));
    rd_kafka_AdminOptions_set_operation_timeout(options, timeout_ms, text, sizeof(text));
    return options;
}

/* ---- Making ---- */

/* A cluster that is starting has too few brokers yet. */
static bool is_passing(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT || err == RD_KAFKA_RESP_ERR_NOT_CONTROLLER ||
           err == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR;
}

static int make_result(rd_kafka_event_t *event, char *problem, size_t problem_size)
{
    const rd_kafka_CreateTopics_result_t *result;
    size_t n;

    if (event == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        snprintf(problem, problem_size, "Kafka made no topics: %s",
                 event == NULL ? "no answer" : rd_kafka_event_error_string(event));
        return ERR_UNAVAILABLE; /* tried again */
    }
    result = rd_kafka_event_CreateTopics_result(event);
    const rd_kafka_topic_result_t **topics = rd_kafka_CreateTopics_result_topics(result, &n);
    for (size_t i = 0; i < n; i++) {
        rd_kafka_resp_err_t err = rd_kafka_topic_result_error(topics[i]);

        if (err == RD_KAFKA_RESP_ERR_NO_ERROR || err == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS) {
            continue;
        }
        const char *text = rd_kafka_topic_result_error_string(topics[i]);
        snprintf(problem, problem_size, "Kafka refuses to make the topic \"%s\": %s",
                 rd_kafka_topic_result_name(topics[i]),
                 text == NULL ? rd_kafka_err2str(err) : text);
        return is_passing(err) ? ERR_UNAVAILABLE : ERR_INVALID;
    }
    return 0;
}

static int make_missing(struct kafka_bus *bus, const struct wanted *wanted, size_t n, char *problem,
                        size_t problem_size)
{
    rd_kafka_NewTopic_t *topics[TOPIC_COUNT];
    size_t count = 0;
    char text[128];

    for (size_t i = 0; i < n; i++) {
        if (wanted[i].missing) {
            rd_kafka_NewTopic_t *t = rd_kafka_NewTopic_new(wanted[i].name, wanted[i].partitions,
                                                           bus->replication, text, sizeof(text));
            if (t == NULL) {
                snprintf(problem, problem_size, "the topic \"%s\" cannot be made: %s",
                         wanted[i].name, text);
                rd_kafka_NewTopic_destroy_array(topics, count);
                return ERR_INVALID;
            }
            configure(bus, t, wanted[i].topic);
            topics[count++] = t;
        }
    }
    if (count == 0) {
        return 0;
    }
    rd_kafka_queue_t *queue = rd_kafka_queue_new(bus->rk);
    rd_kafka_AdminOptions_t *options =
        admin_options(bus->rk, RD_KAFKA_ADMIN_OP_CREATETOPICS, ASK_MS);
    rd_kafka_CreateTopics(bus->rk, topics, count, options, queue);
    rd_kafka_event_t *event = await(queue, RD_KAFKA_EVENT_CREATETOPICS_RESULT, ASK_MS + 1000);
    int err = make_result(event, problem, problem_size);
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_NewTopic_destroy_array(topics, count);
    return err;
}

/* ---- How long ended sessions are kept ---- */

/* One question about, or one change of, the settings of a topic; takes the resource. NULL with a
 * sentence in problem, else *result_out lives as long as the event. */
static rd_kafka_event_t *configs_call(struct kafka_bus *bus, rd_kafka_ConfigResource_t *resource,
                                      bool alter, const rd_kafka_ConfigResource_t **result_out,
                                      char *problem, size_t problem_size)
{
    rd_kafka_queue_t *queue = rd_kafka_queue_new(bus->rk);
    rd_kafka_AdminOptions_t *options = admin_options(
        bus->rk, alter ? RD_KAFKA_ADMIN_OP_ALTERCONFIGS : RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS,
        ASK_MS);
    const rd_kafka_ConfigResource_t **results = NULL;
    size_t n = 0;

    (alter ? rd_kafka_AlterConfigs : rd_kafka_DescribeConfigs)(bus->rk, &resource, 1, options,
                                                               queue);
    rd_kafka_event_t *event = await(
        queue, alter ? RD_KAFKA_EVENT_ALTERCONFIGS_RESULT : RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT,
        ASK_MS + 1000);
    const char *text = event == NULL ? "no answer" : rd_kafka_event_error_string(event);
    bool failed = event == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR;
    if (!failed) {
        results = alter ? rd_kafka_AlterConfigs_result_resources(
                              rd_kafka_event_AlterConfigs_result(event), &n)
                        : rd_kafka_DescribeConfigs_result_resources(
                              rd_kafka_event_DescribeConfigs_result(event), &n);
        rd_kafka_resp_err_t err = n == 1 ? rd_kafka_ConfigResource_error(results[0])
                                         : RD_KAFKA_RESP_ERR_UNKNOWN;
        failed = err != RD_KAFKA_RESP_ERR_NO_ERROR;
        text = failed && n == 1 ? rd_kafka_ConfigResource_error_string(results[0]) : NULL;
        text = text == NULL ? rd_kafka_err2str(err) : text;
    }
    if (failed) {
        snprintf(problem, problem_size, "Kafka does not %s how long the topic \"%s\" is kept: %s",
                 alter ? "change" : "tell", rd_kafka_ConfigResource_name(resource), text);
    }
    if (failed && event != NULL) {
        rd_kafka_event_destroy(event);
        event = NULL;
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_ConfigResource_destroy(resource);
    *result_out = event == NULL ? NULL : results[0];
    return event;
}

static bool is_among(const struct topic_config *configs, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(configs[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static int64_t retention_of(const rd_kafka_ConfigResource_t *topic)
{
    size_t n;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(topic, &n);

    for (size_t i = 0; i < n; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);

        if (value != NULL && strcmp(rd_kafka_ConfigEntry_name(entries[i]), "retention.ms") == 0) {
            return strtoll(value, NULL, 10);
        }
    }
    return -1; /* for ever */
}

/* A change replaces all that was set: what is not ours is set again as it was. */
static rd_kafka_ConfigResource_t *sessions_change(const struct kafka_bus *bus,
                                                  const rd_kafka_ConfigResource_t *topic)
{
    struct topic_config configs[CONFIGS_MAX];
    size_t n = configs_of(bus, TOPIC_EVENTS_SESSION, configs), count;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(topic, &count);
    rd_kafka_ConfigResource_t *change =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, rd_kafka_ConfigResource_name(topic));

    for (size_t i = 0; i < n; i++) {
        rd_kafka_ConfigResource_set_config(change, configs[i].name, configs[i].value);
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = rd_kafka_ConfigEntry_name(entries[i]);
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);

        if (value != NULL && !is_among(configs, n, name) &&
            rd_kafka_ConfigEntry_source(entries[i]) ==
                RD_KAFKA_CONFIG_SOURCE_DYNAMIC_TOPIC_CONFIG) {
            rd_kafka_ConfigResource_set_config(change, name, value);
        }
    }
    return change;
}

/* Who reads them from the first one on must find every session whose token may still be good, also
 * when the topic was made by a daemon that was told of a shorter life. Never shortened. */
static int keep_sessions(struct kafka_bus *bus, char *problem, size_t problem_size)
{
    const rd_kafka_ConfigResource_t *topic, *changed;
    char name[KAFKA_NAME_MAX];

    if (bus->base.session_retention_ms == 0) {
        return 0;
    }
    kafka_topic_name(bus, TOPIC_EVENTS_SESSION, NULL, name);
    rd_kafka_event_t *event =
        configs_call(bus, rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, name), false, &topic,
                     problem, problem_size);
    if (event == NULL) {
        return ERR_UNAVAILABLE;
    }
    int64_t kept_ms = retention_of(topic);
    bool enough = kept_ms < 0 || kept_ms >= bus->base.session_retention_ms;
    rd_kafka_ConfigResource_t *change = enough ? NULL : sessions_change(bus, topic);
    rd_kafka_event_destroy(event);
    if (enough) {
        return 0;
    }
    event = configs_call(bus, change, true, &changed, problem, problem_size);
    if (event == NULL) {
        return ERR_UNAVAILABLE;
    }
    rd_kafka_event_destroy(event);
    log_info("ended sessions are kept longer", "topic=%s from_ms=%" PRId64 " to_ms=%" PRId64, name,
             kept_ms, bus->base.session_retention_ms);
    return 0;
}

/* ---- Offsets ---- */

/* `which` is a timestamp to Kafka: -2 is the first offset, -1 the next one. */
static rd_kafka_resp_err_t offsets_try(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list,
                                       int64_t which, int timeout_ms)
{
    for (int i = 0; i < list->cnt; i++) {
        list->elems[i].offset = which;
        list->elems[i].err = RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    rd_kafka_resp_err_t err = rd_kafka_offsets_for_times(rk, list, timeout_ms);
    for (int i = 0; i < list->cnt && err == RD_KAFKA_RESP_ERR_NO_ERROR; i++) {
        err = list->elems[i].err;
    }
    return err;
}

/* A broker may not know yet that it leads a topic that was just made: any error is tried again. */
static int offsets_at(rd_kafka_t *rk, rd_kafka_topic_partition_list_t *list, int64_t which,
                      int64_t end_ms)
{
    const struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000L};

    while (true) {
        int64_t left = end_ms - clock_mono_ms();
        rd_kafka_resp_err_t err = offsets_try(rk, list, which, left > 0 ? (int)left : 1);

        if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            return 0;
        }
        if (clock_mono_ms() + AGAIN_MS >= end_ms) {
            log_warn("no offsets from kafka", "topic=%s error=%s", list->elems[0].topic,
                     LOG_Q(rd_kafka_err2str(err)));
            return ERR_UNAVAILABLE;
        }
        nanosleep(&pause, NULL);
    }
}

int kafka_offsets(rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *list, int timeout_ms,
                  rd_kafka_topic_partition_list_t **first_out,
                  rd_kafka_topic_partition_list_t **next_out)
{
    rd_kafka_topic_partition_list_t *first = rd_kafka_topic_partition_list_copy(list);
    rd_kafka_topic_partition_list_t *next = rd_kafka_topic_partition_list_copy(list);
    int64_t end = clock_mono_ms() + timeout_ms;
    int err = offsets_at(rk, first, RD_KAFKA_OFFSET_BEGINNING, end);

    if (err == 0) {
        err = offsets_at(rk, next, RD_KAFKA_OFFSET_END, end);
    }
    if (err != 0) {
        rd_kafka_topic_partition_list_destroy(first);
        rd_kafka_topic_partition_list_destroy(next);
        return err;
    }
    *first_out = first;
    *next_out = next;
    return 0;
}

/* ---- Checking ---- */

static const struct rd_kafka_metadata_topic *find(const struct rd_kafka_metadata *metadata,
                                                  const char *name)
{
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (strcmp(metadata->topics[i].topic, name) == 0) {
            return &metadata->topics[i];
        }
    }
    return NULL;
}

static bool has_leaders(const struct rd_kafka_metadata_topic *topic)
{
    for (int i = 0; i < topic->partition_cnt; i++) {
        if (topic->partitions[i].leader < 0) {
            return false;
        }
    }
    return topic->partition_cnt > 0;
}

/* Marks what is missing. 0: all there; ERR_UNAVAILABLE: not yet; ERR_INVALID. */
static int check(struct wanted *wanted, size_t n, const struct rd_kafka_metadata *metadata,
                 char *problem, size_t problem_size)
{
    bool ready = true;

    for (size_t i = 0; i < n; i++) {
        struct wanted *w = &wanted[i];
        const struct rd_kafka_metadata_topic *t = find(metadata, w->name);

        w->missing = t == NULL || t->err == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
        if (w->missing || t->err == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE || !has_leaders(t)) {
            snprintf(problem, problem_size, "the topic \"%s\" is not ready", w->name);
            ready = false;
            continue;
        }
        if (t->partition_cnt != w->partitions) {
            bus_partitions_differ(problem, problem_size, w->topic == TOPIC_REPLY, w->partitions,
                                  w->name, t->partition_cnt);
            return ERR_INVALID;
        }
    }
    return ready ? 0 : ERR_UNAVAILABLE;
}

static int ask(struct kafka_bus *bus, int timeout_ms, const struct rd_kafka_metadata **metadata_out,
               char *problem, size_t problem_size)
{
    rd_kafka_resp_err_t err = rd_kafka_metadata(bus->rk, 1, NULL, metadata_out, timeout_ms);

    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        rd_kafka_poll(bus->rk, 0); /* calls on_error: why */
        snprintf(problem, problem_size, "Kafka does not answer at %s: %s", bus->bootstrap,
                 bus->trouble[0] != '\0' ? bus->trouble
                                         : "it closes connections without a word, as when "
                                           "KAFKA_SECURITY_PROTOCOL is not its listener's");
        return ERR_UNAVAILABLE;
    }
    bus->refused_ms = 0;
    return 0;
}

static int note_log_id(struct kafka_bus *bus, int timeout_ms, char *problem, size_t problem_size)
{
    char *id = rd_kafka_clusterid(bus->rk, timeout_ms);

    if (id == NULL) {
        snprintf(problem, problem_size, "Kafka at %s does not tell its cluster id", bus->bootstrap);
        return ERR_UNAVAILABLE;
    }
    snprintf(bus->base.log_id, sizeof(bus->base.log_id), "%s", id);
    rd_kafka_mem_free(bus->rk, id);
    return 0;
}

/* One try. */
static int make_and_check(struct kafka_bus *bus, struct wanted *wanted, size_t n, int timeout_ms,
                          char *problem, size_t problem_size)
{
    const struct rd_kafka_metadata *metadata;
    int err = ask(bus, timeout_ms, &metadata, problem, problem_size);

    if (err != 0) {
        return err;
    }
    err = check(wanted, n, metadata, problem, problem_size);
    rd_kafka_metadata_destroy(metadata);
    if (err != ERR_UNAVAILABLE) {
        return err;
    }
    int made = make_missing(bus, wanted, n, problem, problem_size);
    return made == 0 ? ERR_UNAVAILABLE : made; /* look again */
}

/* A leader that the metadata names may not know it yet, and would refuse the first records; one
 * that tells offsets takes them. */
static int await_leaders(struct kafka_bus *bus, const struct wanted *wanted, size_t n,
                         int timeout_ms, char *problem, size_t problem_size)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(16), *first, *next;

    for (size_t i = 0; i < n; i++) {
        for (int32_t p = 0; p < wanted[i].partitions; p++) {
            rd_kafka_topic_partition_list_add(list, wanted[i].name, p);
        }
    }
    int err = kafka_offsets(bus->rk, list, timeout_ms, &first, &next);
    rd_kafka_topic_partition_list_destroy(list);
    if (err != 0) {
        snprintf(problem, problem_size, "Kafka at %s has topics without a leader", bus->bootstrap);
        return err;
    }
    rd_kafka_topic_partition_list_destroy(first);
    rd_kafka_topic_partition_list_destroy(next);
    return 0;
}

int kafka_topics_make(struct kafka_bus *bus, char *problem, size_t problem_size)
{
    struct wanted wanted[TOPIC_COUNT];
    size_t n = wanted_fill(bus, wanted);
    int64_t end = clock_mono_ms() + OPEN_MS;
    struct timespec pause = {.tv_nsec = 0};
    int ask_ms = FIRST_ASK_MS; /* little at first: between two questions it is seen what is wrong */
    int err;

    do {
        int64_t left = end - clock_mono_ms();

        nanosleep(&pause, NULL);
        err = make_and_check(bus, wanted, n, left > ask_ms ? ask_ms : (int)left + 1, problem,
                             problem_size);
        if (err == 0) {
            err = keep_sessions(bus, problem, problem_size);
        }
        pause.tv_nsec = AGAIN_MS * 1000000L;
        ask_ms = ask_ms * 2 < ASK_MS ? ask_ms * 2 : ASK_MS;
    } while (err == ERR_UNAVAILABLE && clock_mono_ms() < end &&
             (bus->refused_ms == 0 || clock_mono_ms() - bus->refused_ms < REFUSED_MS));
    if (err == 0) {
        int64_t left = end - clock_mono_ms();

        err = await_leaders(bus, wanted, n, left > ASK_MS ? (int)left : ASK_MS, problem,
                            problem_size);
    }
    return err == 0 ? note_log_id(bus, ASK_MS, problem, problem_size) : err;
}

void kafka_topic_delete(struct kafka_bus *bus, const char *name, int timeout_ms)
{
    rd_kafka_DeleteTopic_t *topic = rd_kafka_DeleteTopic_new(name);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(bus->rk);
    rd_kafka_AdminOptions_t *options =
        admin_options(bus->rk, RD_KAFKA_ADMIN_OP_DELETETOPICS, timeout_ms);

    rd_kafka_DeleteTopics(bus->rk, &topic, 1, options, queue);
    rd_kafka_event_t *event = await(queue, RD_KAFKA_EVENT_DELETETOPICS_RESULT, timeout_ms + 500);
    if (event == NULL || rd_kafka_event_error(event) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        log_warn("reply topic not deleted", "topic=%s", name); /* a script of deploy/ does */
    }
    if (event != NULL) {
        rd_kafka_event_destroy(event);
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    rd_kafka_DeleteTopic_destroy(topic);
}
