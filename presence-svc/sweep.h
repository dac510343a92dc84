// SPDX-License-Identifier: MIT
/*
 * What happens without a report: leases run out, those who left go offline, what was not
 * acknowledged is told again. Once a second on a worker's thread, one at a time.
 */
#pragma once

#include "presence-svc/presence.h"

void presence_sweep_run(struct presence_worker *worker);
