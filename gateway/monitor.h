// SPDX-License-Identifier: MIT
/*
 * What administrators may look at: /api/monitor/system and /api/monitor/connections. Loop thread.
 */
#pragma once

#include "gateway/rest.h"

bool monitor_is_admin(const struct gateway *gw, const char *username);
void monitor_system(struct rest *rest);
void monitor_connections(struct rest *rest);
