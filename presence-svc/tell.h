// SPDX-License-Identifier: MIT
/*
 * Events of presence-svc, onto the bus. A status is told when the bus has acknowledged it: until
 * then the store keeps it as untold. Any thread; acknowledgements come on the loop.
 */
#pragma once

#include "common/arena.h"
#include "common/bus.h"
#include "presence-svc/store.h"

struct presence_teller;

/* As bus_send; arg comes with it. */
typedef int (*presence_send_fn)(void *arg, const struct bus_message *message, bus_ack_fn ack,
                                void *ack_arg);

struct presence_teller *presence_teller_new(presence_send_fn send, void *arg);
/* When nothing sends any more and all acknowledgements are in. Takes NULL. */
void presence_teller_free(struct presence_teller *teller);

/* What the bus doesn't take is left out: it comes again as untold. */
void presence_tell_statuses(struct presence_teller *teller, struct arena *arena,
                            const struct presence_statuses *statuses);
/* Asks a gateway for all its users. Left out like the others: its next heartbeat asks again. */
void presence_tell_resend(struct presence_teller *teller, struct arena *arena, const char *gateway,
                          uint64_t incarnation);
/* Takes what was acknowledged since the last time, for the store to note. */
void presence_teller_take_told(struct presence_teller *teller, struct arena *arena,
                               struct presence_statuses *told_out);
