// SPDX-License-Identifier: MIT
/*
 * The stream `presence`: what gateways report of their users and of themselves. Batch thread.
 */
#pragma once

#include "common/bus.h"
#include "presence-svc/presence.h"

/* One batch. An error: run it again (harmless to repeat). */
int presence_reports_run(struct presence_worker *worker, struct arena *arena,
                         struct bus_record *const *records, size_t n);
