// SPDX-License-Identifier: MIT
/*
 * Hi-lo ids. A batch that fails after it took ids loses them, which only leaves a hole.
 */
#include "message-svc/ids.h"

#include "common/err.h"
#include "common/log.h"
#include "message-svc/rules.h"
#include "message-svc/store.h"

int message_ids_take(struct message_ids *ids, struct db *db, struct arena *arena, size_t n,
                     uint64_t *ids_out)
{
    for (size_t i = 0; i < n; i++) {
        if (ids->next == ids->end) {
            uint64_t first = 0;
            int err = message_store_take_ids(db, arena, MESSAGE_IDS_BLOCK, &first);
            if (err != 0) {
                return err;
            }
            ids->next = first;
            ids->end = first + MESSAGE_IDS_BLOCK;
        }
        if (ids->next == 0 || ids->next >= MESSAGE_ID_END) {
            log_error("message ids are used up", "next=%llu", (unsigned long long)ids->next);
            return ERR_INTERNAL;
        }
        ids_out[i] = ids->next++;
    }
    return 0;
}
