// SPDX-License-Identifier: MIT
/*
 * A bounded cache in two generations: no list to keep in order, one map operation a use.
 */
#include "message-svc/recent.h"

#include "common/map.h"

#include <assert.h>
#include <stdlib.h>

struct message_recent {
    size_t bound; /* of one half */
    struct map young, old;
};

struct message_recent *message_recent_new(size_t bound)
{
    struct message_recent *r = calloc(1, sizeof(*r));
    assert(r != NULL && bound > 0);
    r->bound = bound;
    map_init(&r->young);
    map_init(&r->old);
    return r;
}

static void half_done(struct map *half)
{
    size_t cursor = 0;
    for (struct map_slot *slot; (slot = map_next(half, &cursor)) != NULL;) {
        free(slot->value);
    }
    map_done(half);
}

void message_recent_free(struct message_recent *r)
{
    if (r != NULL) {
        half_done(&r->young);
        half_done(&r->old);
        free(r);
    }
}

static void age(struct message_recent *r)
{
    if (r->young.count >= r->bound) {
        half_done(&r->old);
        r->old = r->young;
        map_init(&r->young);
    }
}

/* The entry, in the young half; NULL: in neither. */
static struct message_recent_value *use(struct message_recent *r, uint64_t a, uint64_t b)
{
    struct message_recent_value *value = map_get(&r->young, a, b);
    if (value == NULL && (value = map_del(&r->old, a, b)) != NULL) {
        age(r);
        map_put(&r->young, a, b, value);
    }
    return value;
}

bool message_recent_get(struct message_recent *r, uint64_t a, uint64_t b,
                        struct message_recent_value *value_out)
{
    const struct message_recent_value *value = use(r, a, b);
    if (value != NULL && value_out != NULL) {
        *value_out = *value;
    }
    return value != NULL;
}

void message_recent_put(struct message_recent *r, uint64_t a, uint64_t b,
                        struct message_recent_value value)
{
    struct message_recent_value *kept = use(r, a, b);
    if (kept == NULL) {
        kept = malloc(sizeof(*kept));
        assert(kept != NULL);
        age(r);
        map_put(&r->young, a, b, kept);
    }
    *kept = value;
}

size_t message_recent_count(const struct message_recent *r)
{
    return r->young.count + r->old.count;
}
