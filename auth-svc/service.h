// SPDX-License-Identifier: MIT
/*
 * auth-svc as a table for the skeleton; main.c and the standalone program run it.
 */
#pragma once

#include "common/svc.h"

extern const struct svc auth_svc;
