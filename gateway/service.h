// SPDX-License-Identifier: MIT
/* The gateway as a service of the skeleton: one table. */
#pragma once

#include "common/svc.h"

extern const struct svc gateway_svc;
