// SPDX-License-Identifier: MIT
/*
 * What both stores share: the list of statuses.
 */
#include "presence-svc/store.h"

#include <string.h>

void presence_statuses_add(struct presence_statuses *list, struct arena *arena,
                           struct presence_status status)
{
    if (list->n == list->cap) {
        size_t cap = list->cap == 0 ? 16 : 2 * list->cap;
        struct presence_status *items = arena_alloc(arena, cap * sizeof(*items));
        if (list->n > 0) {
            memcpy(items, list->items, list->n * sizeof(*items));
        }
        list->items = items;
        list->cap = cap;
    }
    list->items[list->n++] = status;
}
