// SPDX-License-Identifier: MIT
/* presence-svc as a table, for its own program and for standalone. */
#pragma once

#include "common/svc.h"

extern const struct svc presence_svc;
