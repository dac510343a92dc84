// SPDX-License-Identifier: MIT
/*
 * The table of doubts: an entry per sender and conversation. An entry lives while records wait for
 * the answer, and after a yes until the last appended record has come by. Remembered refusals are
 * in a table of their own, which a burst of doubts cannot make large: it is emptied of what is past
 * when it reaches its bound, and of everything if that is not enough.
 */
#include "message-svc/doubts.h"

#include "common/clock.h"
#include "common/err.h"
#include "common/map.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define NOS_MAX 20000

struct waiting {
    struct message_held held; /* first: the wire knows it by this address */
    struct waiting *next;
};

enum stage { STAGE_NEW, STAGE_ASKED, STAGE_YES };

struct entry {
    struct message_doubt_key key;
    enum stage stage;
    int32_t partition;
    struct waiting *first, **end; /* wait for the answer, in the order of the log */
    size_t under_way;             /* appended, not seen */
    int64_t appended_at;          /* the last one; clock_mono_ms */
    bool has_fact;
    struct message_fact fact;
};

struct no {
    enum message_no no;
    int64_t until_ms; /* clock_mono_ms */
};

struct mark {     /* of a partition */
    int64_t next; /* checked records before this offset have been counted */
};

struct message_doubts {
    struct message_doubts_wire wire;
    pthread_mutex_t lock; /* guards all that follows */
    struct map entries, nos;
    struct map marks;   /* (partition, 0): struct mark */
    size_t new_entries; /* stage NEW: nothing to look for when 0 */
    size_t records;     /* of all entries, and those that the wire holds */
    size_t bytes;
    bool closed;
};

/* A private conversation and its sender are (sender, receiver); ids are below 2^53. */
static uint64_t second(struct message_conv conv, uint64_t user)
{
    return message_conv_is_group(conv) ? conv.b | 1ULL << 63 : message_conv_other(conv, user);
}

static struct entry *find(struct message_doubts *d, uint64_t user, struct message_conv conv)
{
    return map_get(&d->entries, user, second(conv, user));
}

/* ---- Life ---- */

struct message_doubts *message_doubts_new(const struct message_doubts_wire *wire)
{
    struct message_doubts *d = calloc(1, sizeof(*d));
    assert(d != NULL);
    d->wire = *wire;
    pthread_mutex_init(&d->lock, NULL);
    map_init(&d->entries);
    map_init(&d->nos);
    map_init(&d->marks);
    return d;
}

static void clear_nos(struct message_doubts *d, int64_t now_ms)
{
    size_t cursor = 0;
    struct map kept;
    map_init(&kept);
    for (struct map_slot *slot; (slot = map_next(&d->nos, &cursor)) != NULL;) {
        struct no *no = slot->value;
        if (no->until_ms > now_ms) {
            map_put(&kept, slot->a, slot->b, no);
        } else {
            free(no);
        }
    }
    map_done(&d->nos);
    d->nos = kept;
}

void message_doubts_free(struct message_doubts *d)
{
    if (d == NULL) {
        return;
    }
    size_t cursor = 0;
    for (struct map_slot *slot; (slot = map_next(&d->entries, &cursor)) != NULL;) {
        struct entry *e = slot->value;
        while (e->first != NULL) {
            struct waiting *w = e->first;
            e->first = w->next;
            free(w);
        }
        free(e);
    }
    clear_nos(d, INT64_MAX);
    cursor = 0;
    for (struct map_slot *slot; (slot = map_next(&d->marks, &cursor)) != NULL;) {
        free(slot->value);
    }
    map_done(&d->entries);
    map_done(&d->nos);
    map_done(&d->marks);
    pthread_mutex_destroy(&d->lock);
    free(d);
}

/* ---- Records ---- */

static size_t text_size(const char *s)
{
    return s == NULL ? 1 : strlen(s) + 1;
}

static size_t held_size(const struct message_held *held)
{
    return sizeof(struct waiting) + held->len + text_size(held->reply_to) +
           text_size(held->traceparent) + text_size(held->request_id);
}

static char *copy(char **at, const void *p, size_t n)
{
    char *start = *at;
    memcpy(start, p, n);
    *at += n;
    return start;
}

/* The record and all it points to, in one piece of memory. */
static struct waiting *waiting_new(const struct message_held *held)
{
    struct waiting *w = malloc(held_size(held));
    assert(w != NULL);
    char *at = (char *)(w + 1);
    *w = (struct waiting){.held = *held};
    w->held.value = (const uint8_t *)copy(&at, held->value, held->len);
    w->held.reply_to =
        copy(&at, held->reply_to == NULL ? "" : held->reply_to, text_size(held->reply_to));
    w->held.traceparent =
        copy(&at, held->traceparent == NULL ? "" : held->traceparent, text_size(held->traceparent));
    w->held.request_id =
        copy(&at, held->request_id == NULL ? "" : held->request_id, text_size(held->request_id));
    return w;
}

static void waiting_free(struct message_doubts *d, struct waiting *w)
{
    d->records--;
    d->bytes -= held_size(&w->held);
    free(w);
}

static void refuse(struct message_doubts *d, struct waiting *w, enum message_no no)
{
    struct message_refusal why = message_rules_refusal(no);
    d->wire.refuse(d->wire.arg, &w->held, &why);
    waiting_free(d, w);
}

/* ---- Entries ---- */

static void set_stage(struct message_doubts *d, struct entry *e, enum stage stage)
{
    d->new_entries -= e->stage == STAGE_NEW ? 1 : 0;
    d->new_entries += stage == STAGE_NEW ? 1 : 0;
    e->stage = stage;
}

static struct entry *entry_new(struct message_doubts *d, const struct message_held *held)
{
    struct entry *e = calloc(1, sizeof(*e));
    assert(e != NULL);
    e->key = (struct message_doubt_key){held->user, held->conv};
    e->partition = held->partition;
    e->end = &e->first;
    e->stage = STAGE_NEW;
    d->new_entries++;
    map_put(&d->entries, held->user, second(held->conv, held->user), e);
    return e;
}

static void entry_free(struct message_doubts *d, struct entry *e)
{
    assert(e->first == NULL);
    set_stage(d, e, STAGE_ASKED);
    map_del(&d->entries, e->key.user, second(e->key.conv, e->key.user));
    free(e);
}

static void free_if_done(struct message_doubts *d, struct entry *e)
{
    if (e->stage == STAGE_YES && e->under_way == 0) {
        entry_free(d, e);
    }
}

static void refuse_all(struct message_doubts *d, struct entry *e, enum message_no no)
{
    while (e->first != NULL) {
        struct waiting *w = e->first;
        e->first = w->next;
        refuse(d, w, no);
    }
    e->end = &e->first;
}

static void append(struct message_doubts *d, struct entry *e, struct waiting *w)
{
    if (d->wire.append(d->wire.arg, &w->held) == 0) {
        e->under_way++;
        e->appended_at = clock_mono_ms();
    } else {
        refuse(d, w, MESSAGE_NO_ANSWER);
    }
}

static void remember(struct message_doubts *d, uint64_t user, struct message_conv conv,
                     enum message_no no)
{
    int64_t now_ms = clock_mono_ms();
    struct no *kept = map_get(&d->nos, user, second(conv, user));
    if (kept == NULL) {
        if (d->nos.count >= NOS_MAX) {
            clear_nos(d, now_ms);
        }
        if (d->nos.count >= NOS_MAX) {
            clear_nos(d, INT64_MAX);
        }
        kept = malloc(sizeof(*kept));
        assert(kept != NULL);
        map_put(&d->nos, user, second(conv, user), kept);
    }
    *kept = (struct no){.no = no, .until_ms = now_ms + MESSAGE_DOUBTS_NO_MS};
}

/* ---- Batch thread ---- */

struct message_doubt message_doubts_find(struct message_doubts *d, uint64_t user,
                                         struct message_conv conv)
{
    struct message_doubt found = {.state = MESSAGE_DOUBT_NONE};
    pthread_mutex_lock(&d->lock);
    const struct entry *e = find(d, user, conv);
    const struct no *no = map_get(&d->nos, user, second(conv, user));
    if (e != NULL) {
        found = (struct message_doubt){.state = MESSAGE_DOUBT_OPEN,
                                       .asking = e->stage != STAGE_YES,
                                       .under_way = e->under_way,
                                       .has_fact = e->has_fact,
                                       .fact = e->fact};
    } else if (no != NULL && no->until_ms > clock_mono_ms()) {
        found = (struct message_doubt){.state = MESSAGE_DOUBT_NO, .no = no->no};
    }
    pthread_mutex_unlock(&d->lock);
    return found;
}

int message_doubts_hold(struct message_doubts *d, const struct message_held *held)
{
    int err = 0;
    pthread_mutex_lock(&d->lock);
    if (d->closed || d->records >= MESSAGE_DOUBTS_MAX ||
        d->bytes + held_size(held) > MESSAGE_DOUBTS_BYTES) {
        err = ERR_UNAVAILABLE;
    } else {
        struct entry *e = find(d, held->user, held->conv);
        if (e == NULL) {
            e = entry_new(d, held);
        }
        struct waiting *w = waiting_new(held);
        d->records++;
        d->bytes += held_size(held);
        if (e->stage == STAGE_YES) {
            append(d, e, w);
            free_if_done(d, e);
        } else {
            *e->end = w;
            e->end = &w->next;
        }
    }
    pthread_mutex_unlock(&d->lock);
    return err;
}

/* A batch may be run again after its records were counted, or before. */
static bool count_once(struct message_doubts *d, int32_t partition, int64_t offset)
{
    struct mark *mark = map_get(&d->marks, (uint64_t)partition, 0);
    if (mark == NULL) {
        mark = calloc(1, sizeof(*mark));
        assert(mark != NULL);
        map_put(&d->marks, (uint64_t)partition, 0, mark);
    }
    if (offset < mark->next) {
        return false;
    }
    mark->next = offset + 1;
    return true;
}

void message_doubts_seen(struct message_doubts *d, uint64_t user, struct message_conv conv,
                         int32_t partition, int64_t offset)
{
    pthread_mutex_lock(&d->lock);
    struct entry *e = find(d, user, conv);
    if (count_once(d, partition, offset) && e != NULL && e->under_way > 0) {
        e->under_way--;
        free_if_done(d, e);
    }
    pthread_mutex_unlock(&d->lock);
}

/* Entries for which `which` says yes, collected first: the map must not change during the walk. */
static struct entry **collect(struct message_doubts *d,
                              bool (*which)(const struct entry *e, int64_t arg), int64_t arg,
                              size_t *n_out)
{
    struct entry **list = malloc((d->entries.count + 1) * sizeof(struct entry *));
    size_t n = 0, cursor = 0;
    assert(list != NULL);
    for (struct map_slot *slot; (slot = map_next(&d->entries, &cursor)) != NULL;) {
        if (which(slot->value, arg)) {
            list[n++] = slot->value;
        }
    }
    *n_out = n;
    return list;
}

static void drop(struct message_doubts *d, bool (*which)(const struct entry *e, int64_t arg),
                 int64_t arg)
{
    size_t n;
    struct entry **list = collect(d, which, arg, &n);
    for (size_t i = 0; i < n; i++) {
        refuse_all(d, list[i], MESSAGE_NO_ANSWER);
        entry_free(d, list[i]);
    }
    free(list);
}

static bool in_partition(const struct entry *e, int64_t partition)
{
    return e->partition == partition;
}

void message_doubts_revoke(struct message_doubts *d, int32_t partition)
{
    pthread_mutex_lock(&d->lock);
    drop(d, in_partition, partition);
    pthread_mutex_unlock(&d->lock);
}

/* ---- Questions and answers ---- */

size_t message_doubts_take(struct message_doubts *d, bool groups, struct message_doubt_key *keys,
                           size_t max)
{
    size_t n = 0, cursor = 0;
    pthread_mutex_lock(&d->lock);
    for (struct map_slot *slot;
         d->new_entries > 0 && n < max && (slot = map_next(&d->entries, &cursor)) != NULL;) {
        struct entry *e = slot->value;
        if (e->stage == STAGE_NEW && message_conv_is_group(e->key.conv) == groups) {
            set_stage(d, e, STAGE_ASKED);
            keys[n++] = e->key;
        }
    }
    pthread_mutex_unlock(&d->lock);
    return n;
}

static enum message_no no_of(const struct entry *e, enum message_answer answer)
{
    if (answer == MESSAGE_ANSWER_NONE) {
        return MESSAGE_NO_ANSWER;
    }
    if (!message_conv_is_group(e->key.conv)) {
        return MESSAGE_NO_RECEIVER;
    }
    if (answer == MESSAGE_ANSWER_MUTED) {
        return MESSAGE_NO_MUTED;
    }
    return answer == MESSAGE_ANSWER_NO_PUBLIC ? MESSAGE_NO_MEMBER_PUBLIC
                                              : MESSAGE_NO_MEMBER_PRIVATE;
}

static void answer_no(struct message_doubts *d, struct entry *e, enum message_answer answer)
{
    enum message_no no = no_of(e, answer);
    if (answer != MESSAGE_ANSWER_NONE) {
        remember(d, e->key.user, e->key.conv, no);
    }
    refuse_all(d, e, no);
    entry_free(d, e);
}

static void answer_yes(struct message_doubts *d, struct entry *e, const struct message_fact *fact)
{
    set_stage(d, e, STAGE_YES);
    e->has_fact = fact != NULL;
    e->fact = fact == NULL ? (struct message_fact){0} : *fact;
    while (e->first != NULL) {
        struct waiting *w = e->first;
        e->first = w->next;
        append(d, e, w);
    }
    e->end = &e->first;
    free_if_done(d, e);
}

void message_doubts_answer(struct message_doubts *d, struct message_doubt_key key,
                           enum message_answer answer, const struct message_fact *fact)
{
    pthread_mutex_lock(&d->lock);
    struct entry *e = find(d, key.user, key.conv);
    if (e != NULL && e->stage == STAGE_ASKED) {
        if (answer == MESSAGE_ANSWER_YES) {
            answer_yes(d, e, fact);
        } else {
            answer_no(d, e, answer);
        }
    }
    pthread_mutex_unlock(&d->lock);
}

void message_doubts_appended(struct message_doubts *d, struct message_held *held, int err)
{
    struct waiting *w = (struct waiting *)held;
    pthread_mutex_lock(&d->lock);
    struct entry *e = err == 0 ? NULL : find(d, held->user, held->conv);
    if (e != NULL && e->under_way > 0) {
        e->under_way--;
        free_if_done(d, e);
    }
    if (err != 0) {
        refuse(d, w, MESSAGE_NO_ANSWER);
    } else {
        waiting_free(d, w);
    }
    pthread_mutex_unlock(&d->lock);
}

void message_doubts_remember(struct message_doubts *d, uint64_t user, struct message_conv conv,
                             enum message_no no)
{
    pthread_mutex_lock(&d->lock);
    remember(d, user, conv, no);
    pthread_mutex_unlock(&d->lock);
}

/* ---- Upkeep ---- */

static bool is_lost(const struct entry *e, int64_t now_ms)
{
    return e->stage == STAGE_YES && now_ms - e->appended_at > MESSAGE_DOUBTS_LOST_MS;
}

static bool is_any(const struct entry *e, int64_t arg)
{
    (void)e;
    (void)arg;
    return true;
}

void message_doubts_tick(struct message_doubts *d)
{
    pthread_mutex_lock(&d->lock);
    drop(d, is_lost, clock_mono_ms());
    clear_nos(d, clock_mono_ms());
    pthread_mutex_unlock(&d->lock);
}

void message_doubts_close(struct message_doubts *d)
{
    pthread_mutex_lock(&d->lock);
    d->closed = true;
    drop(d, is_any, 0);
    pthread_mutex_unlock(&d->lock);
}

size_t message_doubts_count(struct message_doubts *d)
{
    pthread_mutex_lock(&d->lock);
    size_t n = d->records;
    pthread_mutex_unlock(&d->lock);
    return n;
}
